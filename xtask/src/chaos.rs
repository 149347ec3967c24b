//! `cargo xtask chaos`: real agents, real faults.
//!
//! Each agent lives in a network namespace of its own, all of them joined by one bridge; every other one is Serf's. The chore
//! runs itself again inside fresh namespaces for mounts and networks: these, and all within, are gone as soon as its processes
//! are, whatever ends them. Loss and cuts are rules of nftables; delay is netem's, where the kernel has that. Clocks are left
//! alone: to step one would step the whole machine's.
//!
//! What agents tell is shown to the simulator's checkers, as far as their logs say what these look at: user events. Who is there is asked of the
//! agents themselves.

use crate::{
    Outcome,
    arguments::Arguments,
    herd::{Herd, News, Place, What, failed, joined, name},
    process::{find, succeeds, succeeds_quietly},
    serf, swarm,
};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    collections::BTreeSet,
    env,
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use thane_core::{Event, Time, UserEvent};
use thane_sim::check::{Checker, DeliveredAtMostOnce, EventsAreGenuine, Observation};
use thane_sim::{HostId, ProcessId};

/// Says to the chore that it runs inside its namespaces already, and which programs to use.
const INSIDE: &str = "THANE_CHAOS_PROGRAMS";
/// All agents' addresses begin so.
const NETWORK: [u8; 3] = [10, 77, 0];
/// Until all know all again. Serf's agents try a failed member twice a minute, one of all failed at a time.
const PATIENCE: Duration = Duration::from_secs(240);
/// How long loss, delay and one-way cuts last.
const SPELL: Duration = Duration::from_secs(40);
/// How long a member is stopped.
const STOPPED: Duration = Duration::from_secs(20);

pub(crate) fn run(mut arguments: Arguments) -> Result<Outcome> {
    let agents: usize = arguments.value("--agents", 8)?;
    let partition = Duration::from_secs(arguments.value("--partition", 90)?);
    let program = arguments.value("--program", String::new())?;
    arguments.finish()?;
    ensure!((4..=200).contains(&agents), "chaos needs 4 to 200 agents, not {agents}");
    if let Some(programs) = env::var_os(INSIDE) {
        let programs: Vec<PathBuf> = env::split_paths(&programs).collect();
        let [serf, thane] = &programs[..] else { bail!("{INSIDE} names two programs") };
        return Chaos::start(serf, thane, agents)?.run(partition);
    }
    println!("==> Serf, to be in the same cluster");
    let serf = serf::find_or_install()?.context("there is no `serf` to run beside")?;
    for (tool, package) in [("ip", "iproute2"), ("nft", "nftables"), ("unshare", "util-linux")] {
        ensure!(
            find(tool).is_some() || serf::install(package)?,
            "`{tool}` is not there; install the package `{package}`"
        );
    }
    let thane = if program.is_empty() {
        swarm::build_release()?
    } else {
        find(&program).with_context(|| format!("cannot find the program `{program}`"))?.canonicalize()?
    };
    inside(&[serf, thane], agents, partition)
}

/// Runs this program again, in namespaces of its own.
fn inside(programs: &[PathBuf], agents: usize, partition: Duration) -> Result<Outcome> {
    let mut command = Command::new("unshare");
    // Not root: then as root of a namespace for users, where the kernel allows it.
    if !serf::is_root()? {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]).arg("--");
    command.arg(env::current_exe()?).arg("chaos").arg(format!("--agents={agents}"));
    command.arg(format!("--partition={}", partition.as_secs()));
    command.env(INSIDE, env::join_paths(programs)?);
    Ok(Outcome::held_if(succeeds(&mut command)?))
}

/// The agents, what was sent, and what did not hold.
#[derive(Debug)]
struct Chaos {
    herd: Herd,
    agents: usize,
    started: Instant,
    rules: Vec<Box<dyn Checker>>,
    /// How often each agent was started, for the checkers.
    lives: Vec<u32>,
    events: usize,
    wrong: Vec<String>,
    /// Failures told of members that were running and could be reached.
    false_alarms: usize,
}

impl Chaos {
    fn start(serf: &Path, thane: &Path, agents: usize) -> Result<Self> {
        println!("==> {agents} namespaces on one bridge");
        build_network(agents)?;
        let programs: Vec<&Path> =
            (0..agents).map(|agent| if agent % 2 == 0 { thane } else { serf }).collect();
        let herd = Herd::start(&programs, Place::Namespaces(NETWORK))?;
        Ok(Self {
            herd,
            agents,
            started: Instant::now(),
            rules: vec![Box::new(DeliveredAtMostOnce::default()), Box::new(EventsAreGenuine::default())],
            lives: vec![1; agents],
            events: 0,
            wrong: Vec::new(),
            false_alarms: 0,
        })
    }

    fn run(mut self, partition: Duration) -> Result<Outcome> {
        self.herd.wait_for_all(PATIENCE)?;
        println!("    all know all; even numbers are Thane's, odd ones Serf's");
        self.calm("nothing is wrong")?;
        self.everywhere("20 % of all packets are lost", "numgen random mod 100 < 20 drop")?;
        self.delay()?;
        self.one_way()?;
        self.partition(partition)?;
        for victim in [self.agents - 2, self.agents - 1] {
            self.kill(victim)?;
        }
        for victim in [2, 3] {
            self.stop(victim)?;
        }
        self.calm("nothing is wrong any more")?;
        Ok(self.report())
    }

    // ---- what happens ----

    fn calm(&mut self, title: &str) -> Result<()> {
        println!("==> {title}");
        self.event_reaches_all()?;
        self.all_agree()
    }

    /// A rule for what every agent sends. Nobody may be told failed, and what is sent arrives.
    fn everywhere(&mut self, title: &str, rule: &str) -> Result<()> {
        println!("==> {title}, for {SPELL:?}");
        for agent in 0..self.agents {
            filter(agent, rule)?;
        }
        self.event_reaches_all()?;
        thread::sleep(SPELL);
        self.end_of_filters()?;
        self.count_false_alarms(&[]);
        self.all_agree()
    }

    fn delay(&mut self) -> Result<()> {
        let netem = |agent, words: &str| {
            let line = format!("tc qdisc {words}");
            in_namespace(agent).args(["sh", "-c", &line]).stderr(Stdio::null()).status()
        };
        if !netem(0, "add dev eth0 root netem delay 40ms 20ms")?.success() {
            println!("==> no delay: this kernel has no netem");
            return Ok(());
        }
        println!("==> every packet takes 40 ms longer, give or take 20, for {SPELL:?}");
        for agent in 1..self.agents {
            ensure!(netem(agent, "add dev eth0 root netem delay 40ms 20ms")?.success(), "tc failed");
        }
        self.event_reaches_all()?;
        thread::sleep(SPELL);
        for agent in 0..self.agents {
            ensure!(netem(agent, "del dev eth0 root")?.success(), "tc failed");
        }
        self.count_false_alarms(&[]);
        self.all_agree()
    }

    /// What 0 sends to 1, and what 3 sends to 2, is lost. Others reach them, so nobody may be told failed.
    fn one_way(&mut self) -> Result<()> {
        println!("==> {} does not reach {}, nor {} {}, for {SPELL:?}", name(0), name(1), name(3), name(2));
        filter(0, &drop_to(&[1]))?;
        filter(3, &drop_to(&[2]))?;
        self.event_reaches_all()?;
        thread::sleep(SPELL);
        self.end_of_filters()?;
        self.count_false_alarms(&[]);
        self.all_agree()
    }

    /// Two halves, agents of both programs in each.
    fn partition(&mut self, span: Duration) -> Result<()> {
        println!("==> a partition into two halves, for {span:?}");
        let half = self.agents / 2;
        let (here, there): (Vec<usize>, Vec<usize>) = (0..self.agents).partition(|agent| *agent < half);
        for agent in &here {
            filter(*agent, &drop_to(&there))?;
        }
        for agent in &there {
            filter(*agent, &drop_to(&here))?;
        }
        self.send_event(0)?;
        thread::sleep(span);
        self.send_event(self.agents - 1)?;
        // Each side tells the other side failed, and that is right.
        self.look();
        self.end_of_filters()?;
        let healed = Instant::now();
        self.all_agree()?;
        println!("    one cluster again {:.1?} after it ended", healed.elapsed());
        self.event_reaches_all()
    }

    fn kill(&mut self, victim: usize) -> Result<()> {
        println!("==> {} is killed, and starts again", name(victim));
        self.look();
        let since = Instant::now();
        self.herd.kill(victim);
        let (first, last) = self.herd.wait_for_others(victim, &failed(victim), PATIENCE)?;
        let after = |at: Instant| at.duration_since(since).as_secs_f64();
        println!(
            "    the first member knew after {:.2} s, the last after {:.2} s",
            after(first),
            after(last)
        );
        self.count_false_alarms(&[victim]);
        self.lives[victim] += 1;
        self.herd.revive(victim)?;
        self.herd.wait_for_others(victim, &joined(victim), PATIENCE)?;
        self.look();
        self.all_agree()
    }

    fn stop(&mut self, victim: usize) -> Result<()> {
        println!("==> {} is stopped for {STOPPED:?}", name(victim));
        self.look();
        self.herd.signal(victim, "STOP")?;
        thread::sleep(STOPPED);
        self.herd.signal(victim, "CONT")?;
        let since = Instant::now();
        self.all_agree()?;
        println!("    it is back with all {:.1?} after it goes on", since.elapsed());
        self.count_false_alarms(&[victim]);
        Ok(())
    }

    fn end_of_filters(&self) -> Result<()> {
        (0..self.agents).try_for_each(|agent| filter(agent, ""))
    }

    // ---- what must hold ----

    fn send_event(&mut self, sender: usize) -> Result<String> {
        let event = format!("chaos-{}", self.events);
        self.events += 1;
        let seen = Observation::Sending { name: event.clone(), payload: bytes::Bytes::new() };
        self.show(sender, &seen);
        self.herd.ask(sender, &["event", &event])?;
        Ok(event)
    }

    /// An event of a Thane agent and one of a Serf agent, which all agents must be told of.
    fn event_reaches_all(&mut self) -> Result<()> {
        for sender in [0, 1] {
            let event = self.send_event(sender)?;
            let (what, agents) = (What::Event(event.clone()), self.agents);
            let told = |news: &[News]| {
                news.iter().filter(|it| it.what == what).map(|it| it.agent).collect::<BTreeSet<_>>()
            };
            if self.herd.wait(PATIENCE, |news| told(news).len() == agents).is_err() {
                self.wrong.push(format!("the event {event} of {} did not reach everybody", name(sender)));
            }
        }
        self.count_false_alarms(&[]);
        Ok(())
    }

    /// Waits until each agent lists each as alive.
    fn all_agree(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut dissent = None;
            for agent in 0..self.agents {
                let listed = self.herd.ask(agent, &["members", "-format=json"])?;
                let alive = alive_in(&listed)?;
                if alive != self.agents {
                    dissent =
                        Some(format!("{} lists {alive} of {} members as alive", name(agent), self.agents));
                    break;
                }
            }
            let Some(dissent) = dissent else { return Ok(()) };
            if Instant::now() > deadline {
                self.wrong.push(format!("after {PATIENCE:?} {dissent}"));
                return Ok(());
            }
            thread::sleep(Duration::from_millis(500));
        }
    }

    /// Takes the news, shows events to the checkers, and counts failures told of members other than these.
    fn count_false_alarms(&mut self, gone: &[usize]) {
        for news in self.take_news() {
            if let What::Failed(whom) = &news.what
                && !gone.iter().any(|agent| name(*agent) == *whom)
            {
                println!("    {} tells {whom} failed, which lives", name(news.agent));
                self.false_alarms += 1;
            }
        }
    }

    /// Takes the news and shows events to the checkers; failures told meanwhile are right.
    fn look(&mut self) {
        self.take_news();
    }

    fn take_news(&mut self) -> Vec<News> {
        let all = self.herd.take_news();
        for news in &all {
            if let What::Event(event) = &news.what {
                let event = UserEvent {
                    ltime: 0,
                    name: event.as_str().into(),
                    payload: bytes::Bytes::new(),
                    coalesce: false,
                };
                self.show(news.agent, &Observation::Told(Event::User(event)));
            }
        }
        all
    }

    fn show(&mut self, agent: usize, seen: &Observation) {
        let at = Time::ZERO + self.started.elapsed();
        let process = ProcessId { host: HostId::numbered(agent), life: self.lives[agent] };
        for rule in &mut self.rules {
            if let Err(wrong) = rule.see(at, process, seen) {
                self.wrong.push(format!("{}: {wrong} (the rule: {})", name(agent), rule.rule()));
            }
        }
    }

    fn report(&self) -> Outcome {
        println!("==> {} events, {} failures told of members that lived", self.events, self.false_alarms);
        for wrong in &self.wrong {
            println!("    {wrong}");
        }
        let held = self.wrong.is_empty();
        println!("==> {}", if held { "held" } else { "DID NOT HOLD" });
        Outcome::held_if(held)
    }
}

/// A bridge in this namespace, and an agent's namespace at each of its ports.
fn build_network(agents: usize) -> Result<()> {
    // Names of namespaces are files: they go into memory that only we see.
    let mut script = String::from("set -e\nmount -t tmpfs tmpfs /run\nmkdir /run/netns\n");
    script.push_str("ip link set lo up\nip link add bridge type bridge\nip link set bridge up\n");
    for agent in 0..agents {
        let (namespace, ip) = (name(agent), Place::Namespaces(NETWORK).ip(agent));
        _ = writeln!(script, "ip netns add {namespace}");
        _ = writeln!(script, "ip link add port{agent} type veth peer name eth0 netns {namespace}");
        _ = writeln!(script, "ip link set port{agent} master bridge up");
        _ = writeln!(script, "ip -n {namespace} addr add {ip}/24 dev eth0");
        _ = writeln!(script, "ip -n {namespace} link set lo up\nip -n {namespace} link set eth0 up");
    }
    succeeds_quietly(Command::new("sh").args(["-c", &script])).context("cannot build the network")
}

fn in_namespace(agent: usize) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &name(agent)]);
    command
}

/// What happens to all that an agent sends to others; nothing for an empty rule.
fn filter(agent: usize, rule: &str) -> Result<()> {
    let rules = format!(
        "flush ruleset\ntable inet chaos {{ chain output {{ type filter hook output priority 0;\noif lo accept\n{rule}\n}} }}\n"
    );
    let mut child = in_namespace(agent).args(["nft", "-f", "-"]).stdin(Stdio::piped()).spawn()?;
    child.stdin.take().context("nft has an input")?.write_all(rules.as_bytes())?;
    ensure!(child.wait()?.success(), "nft refuses the rules for {}: {rule}", name(agent));
    Ok(())
}

/// The rule that drops what is sent to these.
fn drop_to(agents: &[usize]) -> String {
    let place = Place::Namespaces(NETWORK);
    let addresses: Vec<String> = agents.iter().map(|agent| place.ip(*agent).to_string()).collect();
    format!("ip daddr {{ {} }} drop", addresses.join(", "))
}

/// How many members a list in JSON holds as alive.
fn alive_in(list: &str) -> Result<usize> {
    let list: serde_json::Value = serde_json::from_str(list).context("a list of members is no JSON")?;
    let members = list["members"].as_array().context("a list of members has no members")?;
    Ok(members.iter().filter(|member| member["status"] == "alive").count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_are_alive_are_counted() {
        let list = r#"{"members":[{"name":"a","status":"alive"},{"name":"b","status":"failed"}]}"#;
        assert_eq!(alive_in(list).unwrap(), 1);
        assert!(alive_in("no").is_err());
    }

    #[test]
    fn rules_name_the_addresses_of_agents() {
        assert_eq!(drop_to(&[0, 9]), "ip daddr { 10.77.0.1, 10.77.0.10 } drop");
    }
}
