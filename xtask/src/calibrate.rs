//! `cargo xtask calibrate`: does the simulator foretell what real agents on this machine do?
//!
//! A cluster of real agents on loopback and a simulated one of the same size and settings go through the same: members are killed one
//! after the other, each comes back, user events are sent. What is compared are means: how soon the first and the last member
//! knew of a death, and when half of the members and the last one had an event.

use crate::{
    Outcome,
    arguments::Arguments,
    herd::{Herd, News, Place, What, failed, joined, name},
    process, swarm,
};
use anyhow::{Context as _, Result, ensure};
use std::{
    collections::BTreeMap,
    path::Path,
    thread,
    time::{Duration, Instant},
};
use thane_core::{Event, Output, Time};
use thane_sim::{Crash, HostId, Latency, Observer, ProcessId, Quality, SimRng, World};

/// Until all know all, or until all know of a death.
const PATIENCE: Duration = Duration::from_secs(120);
/// From one death or event to the next.
const REST: Duration = Duration::from_secs(2);
/// One way over loopback, with what a process takes to wake up.
const LOOPBACK: Duration = Duration::from_micros(100);
/// Simulated deaths and events for each real one: the prediction should be surer than the measurement.
const SIMULATED_FOR_EACH: usize = 10;

/// Seconds, one a death or an event.
#[derive(Debug, Default)]
struct Measured {
    first_knows: Vec<f64>,
    all_know: Vec<f64>,
    event_at_half: Vec<f64>,
    event_at_all: Vec<f64>,
}

pub(crate) fn run(mut arguments: Arguments) -> Result<Outcome> {
    let agents: usize = arguments.value("--agents", 50)?;
    let kills: usize = arguments.value("--kills", 40)?;
    let events: usize = arguments.value("--events", 40)?;
    let within: f64 = arguments.value("--within", 15.0)?;
    let seed: u64 = arguments.value("--seed", u64::from(std::process::id()))?;
    let program = arguments.value("--program", String::new())?;
    arguments.finish()?;
    ensure!(kills > 0 && events > 0, "there must be something to compare: at least one kill and one event");
    let program = if program.is_empty() {
        swarm::build_release()?
    } else {
        process::find(&program).with_context(|| format!("cannot find the program `{program}`"))?
    };
    println!("==> {agents} real agents; members are drawn from --seed {seed}");
    let real = measure(&program, agents, kills, events, seed)?;
    println!("==> {agents} simulated ones");
    let simulated = simulate(agents, kills * SIMULATED_FOR_EACH, events * SIMULATED_FOR_EACH, seed)?;
    Ok(report(&real, &simulated, within))
}

// ---- real agents ----

fn measure(program: &Path, agents: usize, kills: usize, events: usize, seed: u64) -> Result<Measured> {
    let mut herd = Herd::start(&vec![program; agents], Place::loopback(0))?;
    herd.wait_for_all(PATIENCE)?;
    let (mut rng, mut measured) = (SimRng::new(seed, "calibrate", 0), Measured::default());
    // What joining has stirred up settles.
    thread::sleep(REST * 5);
    for number in 0..events {
        real_event(&mut herd, rng.below(agents), number, &mut measured)?;
    }
    println!("    {events} events are told");
    for number in 1..=kills {
        let victim = rng.below(agents);
        herd.take_news();
        // Anywhere in the probe intervals of the others.
        thread::sleep(rng.span(REST, REST * 2));
        let since = Instant::now();
        herd.kill(victim);
        let (first, last) = herd.wait_for_others(victim, &failed(victim), PATIENCE)?;
        measured.first_knows.push(first.duration_since(since).as_secs_f64());
        measured.all_know.push(last.duration_since(since).as_secs_f64());
        herd.take_news();
        herd.revive(victim)?;
        herd.wait_for_others(victim, &joined(victim), PATIENCE)?;
        if number % 10 == 0 {
            println!("    {number} of {kills} deaths are known");
        }
    }
    Ok(measured)
}

fn real_event(herd: &mut Herd, sender: usize, number: usize, measured: &mut Measured) -> Result<()> {
    herd.take_news();
    let event = format!("calibrate-{number}");
    herd.ask(sender, &["event", &event])?;
    let (what, agents) = (What::Event(event), herd.len());
    let times = |news: &[News]| {
        let mut times = BTreeMap::new();
        for it in news.iter().filter(|it| it.what == what) {
            times.entry(it.agent).or_insert(it.at);
        }
        times
    };
    herd.wait(PATIENCE, |news| times(news).len() == agents).context("an event does not reach everybody")?;
    let times = times(&herd.take_news());
    let since = times[&sender];
    let spans = times.values().map(|at| at.saturating_duration_since(since).as_secs_f64());
    spread(spans.collect(), measured);
    thread::sleep(REST);
    Ok(())
}

/// Keeps when half of the members and when all had an event.
fn spread(mut spans: Vec<f64>, measured: &mut Measured) {
    spans.sort_unstable_by(f64::total_cmp);
    measured.event_at_half.extend(spans.get(spans.len() / 2));
    measured.event_at_all.extend(spans.last());
}

// ---- simulated ones ----

/// Keeps who learnt what when.
#[derive(Debug, Default)]
struct Diary(Vec<(Time, HostId, What)>);

impl Observer for Diary {
    fn output(&mut self, at: Time, process: ProcessId, output: &Output) {
        let Output::Event(event) = output else { return };
        let what = match event {
            Event::Joined(change) => What::Joined(change.member.name.to_string()),
            Event::Failed(change) => What::Failed(change.member.name.to_string()),
            Event::User(user) => What::Event(user.name.to_string()),
            _ => return,
        };
        self.0.push((at, process.host, what));
    }
}

impl Diary {
    /// When each host first learnt this.
    fn times(&self, what: &What) -> BTreeMap<HostId, Time> {
        let mut times = BTreeMap::new();
        for (at, host, _) in self.0.iter().filter(|(_, _, it)| it == what) {
            times.entry(*host).or_insert(*at);
        }
        times
    }
}

fn simulate(agents: usize, kills: usize, events: usize, seed: u64) -> Result<Measured> {
    let quality = Quality { latency: Latency::Constant(LOOPBACK), ..Quality::good() };
    let mut world = World::observed(seed, quality, Diary::default());
    let hosts: Vec<HostId> = (0..agents).map(|agent| world.add_lan_host(&name(agent))).collect();
    world.start_as_cluster(&hosts);
    let (mut rng, mut measured) = (SimRng::new(seed, "calibrate", 1), Measured::default());
    world.run_for(REST * 5);
    for number in 0..events {
        let sender = hosts[rng.below(agents)];
        let event = format!("calibrate-{number}");
        let since = world.now();
        world.command(sender, |node, now| node.user_event(now, &event, b"", false));
        let what = What::Event(event);
        wait(&mut world, &what, agents)?;
        let times = world.observer().times(&what);
        spread(times.values().map(|at| at.since(since).as_secs_f64()).collect(), &mut measured);
        world.run_for(REST);
        world.observer_mut().0.clear();
    }
    for _ in 0..kills {
        let victim = rng.below(agents);
        world.run_for(rng.span(REST, REST * 2));
        world.observer_mut().0.clear();
        let since = world.now();
        world.crash(hosts[victim], Crash::Process);
        wait(&mut world, &failed(victim), agents - 1)?;
        let times = world.observer().times(&failed(victim));
        measured.first_knows.extend(times.values().min().map(|at| at.since(since).as_secs_f64()));
        measured.all_know.extend(times.values().max().map(|at| at.since(since).as_secs_f64()));
        world.observer_mut().0.clear();
        world.start(hosts[victim]);
        let seed_addr = world.addr(hosts[usize::from(victim == 0)]);
        world.command(hosts[victim], |node, now| node.join(now, &[seed_addr], thane_core::Replay::Ignore));
        // All others, and it of itself.
        wait(&mut world, &joined(victim), agents)?;
    }
    Ok(measured)
}

fn wait(world: &mut World<Diary>, what: &What, hosts: usize) -> Result<()> {
    let told = world.run_until(PATIENCE, |world| world.observer().times(what).len() == hosts);
    ensure!(told, "{what:?} is known to {} of {hosts} simulated members", world.observer().times(what).len());
    Ok(())
}

// ---- beside each other ----

fn report(real: &Measured, simulated: &Measured, within: f64) -> Outcome {
    println!("==> mean seconds, real and foretold");
    println!("    {:34} {:>8} {:>10} {:>10}", "", "real", "simulated", "apart");
    let rows = [
        ("a death is known to the first", &real.first_knows, &simulated.first_knows),
        ("a death is known to all", &real.all_know, &simulated.all_know),
        ("an event is at half of the members", &real.event_at_half, &simulated.event_at_half),
        ("an event is at all", &real.event_at_all, &simulated.event_at_all),
    ];
    let mut held = true;
    for (what, real, simulated) in rows {
        let apart = (mean(simulated) / mean(real) - 1.0) * 100.0;
        held &= apart.abs() <= within;
        println!("    {what:34} {:>8.3} {:>10.3} {apart:>+8.1} %", mean(real), mean(simulated));
    }
    println!("==> {} (at most {within} % is asked for)", if held { "held" } else { "DID NOT HOLD" });
    Outcome::held_if(held)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
