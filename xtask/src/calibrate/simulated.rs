//! The course with simulated members.

use super::{Course, Measured, PATIENCE, REST, SETTLE, next_victims};
use crate::herd::{What, failed, joined, name};
use anyhow::{Result, ensure};
use std::{collections::BTreeMap, time::Duration};
use thane_core::{Event, Output, Replay, Time};
use thane_sim::{Crash, HostId, Latency, Observer, ProcessId, Quality, SimRng, World};

/// One way over loopback, with what a process takes to wake up.
const LOOPBACK: Duration = Duration::from_micros(100);

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

    /// Seconds until each host learnt this.
    fn spans(&self, what: &What, since: Time) -> Vec<f64> {
        self.times(what).values().map(|at| at.since(since).as_secs_f64()).collect()
    }
}

pub(super) fn measure(course: Course) -> Result<Measured> {
    let quality = Quality { latency: Latency::Constant(LOOPBACK), ..Quality::good() };
    let mut world = World::observed(course.seed, quality, Diary::default());
    let hosts: Vec<HostId> = (0..course.agents).map(|agent| world.add_lan_host(&name(agent))).collect();
    world.start_as_cluster(&hosts);
    let (mut rng, mut measured) = (SimRng::new(course.seed, "calibrate", 1), Measured::default());
    world.run_for(SETTLE);
    for number in 0..course.events {
        let event = format!("calibrate-{number}");
        let since = world.now();
        world.command(hosts[rng.below(course.agents)], |node, now| node.user_event(now, &event, b"", false));
        let what = What::Event(event);
        wait(&mut world, &what, course.agents)?;
        measured.spread(world.observer().spans(&what, since));
        world.run_for(REST);
        world.observer_mut().0.clear();
    }
    for _ in 0..course.rounds {
        kill(&mut world, &hosts, &mut rng, &mut measured)?;
    }
    Ok(measured)
}

fn kill(world: &mut World<Diary>, hosts: &[HostId], rng: &mut SimRng, measured: &mut Measured) -> Result<()> {
    let (victims, rest) = next_victims(rng, hosts.len());
    world.run_for(rest);
    world.observer_mut().0.clear();
    let since = world.now();
    for victim in &victims {
        world.crash(hosts[*victim], Crash::Process);
    }
    for victim in &victims {
        wait(world, &failed(*victim), hosts.len() - victims.len())?;
        measured.death(&world.observer().spans(&failed(*victim), since));
    }
    world.observer_mut().0.clear();
    let survivor = (0..hosts.len()).find(|host| !victims.contains(host)).unwrap_or_default();
    for victim in &victims {
        world.start(hosts[*victim]);
        let seed = world.addr(hosts[survivor]);
        world.command(hosts[*victim], |node, now| node.join(now, &[seed], Replay::Ignore));
    }
    for victim in &victims {
        // All others, and it of itself.
        wait(world, &joined(*victim), hosts.len())?;
    }
    Ok(())
}

fn wait(world: &mut World<Diary>, what: &What, hosts: usize) -> Result<()> {
    let told = world.run_until(PATIENCE, |world| world.observer().times(what).len() == hosts);
    ensure!(told, "{what:?} is known to {} of {hosts} simulated members", world.observer().times(what).len());
    Ok(())
}
