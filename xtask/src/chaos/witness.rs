//! Shows to the simulator's checkers what real agents tell: the events of their streams, and, time and again, their lists and numbers.
//!
//! Serf's agents tell no incarnations and nothing of their queries, so the rules about these are left out.

use crate::{
    herd::{Herd, name},
    process::{Killed, output_of},
};
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ChildStdout, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, Instant},
};
use thane_core::{Event, LifeState, Member, State, Stats, Status, Time, UserEvent, Versions};
use thane_sim::check::{
    Checker, ClocksRise, DeliveredAtMostOnce, EventsAreGenuine, Limits, NobodyIsGivenUp, Observation,
    SelfNeverFails, WithinLimits,
};
use thane_sim::{Crash, Ending, HostId, ProcessId};

/// Until a new agent answers.
const PATIENCE: Duration = Duration::from_secs(20);
/// What both programs set by default.
const LIMITS: Limits = Limits {
    queue_depth: 4096,
    min_queue_depth: 0,
    health_score: 8,
    remembered: Duration::from_secs(30),
    complaints: false,
};

/// The checkers, and what listens to the agents for them.
#[derive(Debug)]
pub(super) struct Witness {
    /// The client that listens and asks, at agents of both programs.
    client: PathBuf,
    started: Instant,
    rules: Vec<Box<dyn Checker>>,
    /// How often each agent was started, and what listens to it now.
    listeners: BTreeMap<usize, (u32, Killed)>,
    heard: Receiver<(ProcessId, Event)>,
    teller: Sender<(ProcessId, Event)>,
    /// How much was shown.
    seen: usize,
    /// What broke a rule.
    wrong: Vec<String>,
}

impl Witness {
    pub(super) fn new(client: &Path) -> Self {
        let (teller, heard) = mpsc::channel();
        let rules: Vec<Box<dyn Checker>> = vec![
            Box::new(DeliveredAtMostOnce::default()),
            Box::new(EventsAreGenuine::default()),
            Box::new(SelfNeverFails),
            Box::new(ClocksRise::default()),
            Box::new(NobodyIsGivenUp::default()),
            Box::new(WithinLimits::default()),
        ];
        let (client, listeners) = (client.to_owned(), BTreeMap::new());
        let started = Instant::now();
        Self { client, started, rules, listeners, heard, teller, seen: 0, wrong: Vec::new() }
    }

    pub(super) fn rules(&self) -> impl Iterator<Item = &'static str> {
        self.rules.iter().map(|rule| rule.rule())
    }

    pub(super) fn seen(&self) -> usize {
        self.seen
    }

    /// What broke a rule since the last call.
    pub(super) fn take_wrong(&mut self) -> Vec<String> {
        std::mem::take(&mut self.wrong)
    }

    // ---- from one life of an agent to the next ----

    /// An agent has just been started: listens to its events from when it answers.
    pub(super) fn begins(&mut self, herd: &Herd, agent: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.ask(herd, agent, "info").is_err() {
            ensure!(Instant::now() < deadline, "{} does not answer within {PATIENCE:?}", name(agent));
            thread::sleep(Duration::from_millis(50));
        }
        let life = self.listeners.get(&agent).map_or(1, |(life, _)| life + 1);
        let mut listen = herd.client(agent, &self.client, true);
        listen.args(["monitor", "-format=json", "-log-level=err"]);
        listen.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut listener = Killed(listen.spawn().context("cannot start what listens to an agent")?);
        let stream = listener.0.stdout.take().context("what listens to an agent has an output")?;
        self.listeners.insert(agent, (life, listener));
        let (teller, process) = (self.teller.clone(), self.process(agent));
        thread::spawn(move || read(stream, process, &teller));
        self.show(process, &Observation::Started { name: name(agent), limits: LIMITS });
        Ok(())
    }

    /// An agent was killed.
    pub(super) fn ends(&mut self, agent: usize) {
        self.listen();
        self.show(self.process(agent), &Observation::Stopped(Ending::Crashed(Crash::Process)));
    }

    /// An agent is about to send an event of this name.
    pub(super) fn sends(&mut self, agent: usize, event: &str) {
        let seen = Observation::Sending { name: event.to_owned(), payload: Bytes::new() };
        self.show(self.process(agent), &seen);
    }

    // ---- looking ----

    /// Shows to the checkers what agents have told meanwhile.
    pub(super) fn listen(&mut self) {
        let heard: Vec<_> = self.heard.try_iter().collect();
        for (process, event) in heard {
            self.show(process, &Observation::Told(event));
        }
    }

    /// Asks these agents how they stand, and shows it to the checkers; how many members each lists as alive.
    pub(super) fn ask_all(&mut self, herd: &Herd, agents: &[usize]) -> Result<Vec<usize>> {
        self.listen();
        let mut alive = Vec::new();
        for agent in agents {
            let view = view_in(&self.ask(herd, *agent, "members")?)?;
            let stats = stats_in(&self.ask(herd, *agent, "info")?);
            alive.push(view.iter().filter(|member| member.status == Status::Alive).count());
            let process = self.process(*agent);
            let own = view.iter().find(|member| *member.name == *name(*agent)).cloned();
            let local = own.with_context(|| format!("{} does not list itself", name(*agent)))?;
            let life = LifeState::Alive;
            self.show(process, &Observation::State { local, life, stats });
            self.show(process, &Observation::View(view));
        }
        Ok(alive)
    }

    fn ask(&self, herd: &Herd, agent: usize, command: &str) -> Result<Value> {
        let answer = output_of(herd.client(agent, &self.client, false).args([command, "-format=json"]))?;
        serde_json::from_str(&answer).with_context(|| format!("`{command}` does not answer in JSON"))
    }

    fn process(&self, agent: usize) -> ProcessId {
        let life = self.listeners.get(&agent).map_or(1, |(life, _)| *life);
        ProcessId { host: HostId::numbered(agent), life }
    }

    fn show(&mut self, process: ProcessId, seen: &Observation) {
        self.seen += 1;
        let at = Time::ZERO + self.started.elapsed();
        for rule in &mut self.rules {
            if let Err(wrong) = rule.see(at, process, seen) {
                let name = name(process.host.index());
                self.wrong.push(format!("{name}: {wrong} (the rule: {})", rule.rule()));
            }
        }
    }
}

/// Tells the user events that an agent's stream brings, until it ends.
fn read(stream: ChildStdout, process: ProcessId, teller: &Sender<(ProcessId, Event)>) {
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let Some(event) = user_event_in(&line) else { continue };
        if teller.send((process, Event::User(event))).is_err() {
            return;
        }
    }
}

/// The user event in a line of a stream, if it is one.
fn user_event_in(line: &str) -> Option<UserEvent> {
    let record: Value = serde_json::from_str(line).ok()?;
    if record["event"] != "user" {
        return None;
    }
    Some(UserEvent {
        ltime: record["ltime"].as_u64()?,
        name: record["name"].as_str()?.into(),
        payload: Bytes::copy_from_slice(record["payload"]["text"].as_str().unwrap_or_default().as_bytes()),
        coalesce: record["coalesce"] == true,
    })
}

/// The members that an answer lists. What agents do not tell is left at nothing.
fn view_in(answer: &Value) -> Result<Vec<Member>> {
    let listed = answer["members"].as_array().context("a list of members has no members")?;
    listed.iter().map(|member| member_in(member).context("a list has a member that cannot be read")).collect()
}

fn member_in(member: &Value) -> Option<Member> {
    let (status, state) = match member["status"].as_str()? {
        "alive" => (Status::Alive, State::Alive),
        "failed" => (Status::Failed, State::Dead),
        "leaving" => (Status::Leaving, State::Alive),
        "left" => (Status::Left, State::Left),
        _ => return None,
    };
    Some(Member {
        name: member["name"].as_str()?.into(),
        addr: member["addr"].as_str()?.parse::<SocketAddr>().ok()?,
        meta: Bytes::new(),
        status,
        state,
        state_since: Time::ZERO,
        incarnation: 0,
        status_ltime: 0,
        versions: Versions::default(),
        route: None,
    })
}

/// The numbers in an answer.
fn stats_in(answer: &Value) -> Stats {
    let number = |key: &str| answer["serf"][key].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
    let count = |key: &str| usize::try_from(number(key)).unwrap_or(usize::MAX);
    Stats {
        members: count("members"),
        failed: count("failed"),
        left: count("left"),
        health_score: u32::try_from(number("health_score")).unwrap_or(u32::MAX),
        member_time: number("member_time"),
        event_time: number("event_time"),
        query_time: number("query_time"),
        intent_queue: count("intent_queue"),
        event_queue: count("event_queue"),
        query_queue: count("query_queue"),
        ..Stats::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_agents_print_becomes_observations() {
        let line = r#"{"record":"event","event":"user","ltime":7,"name":"deploy","payload":{"text":"","base64":""},"coalesce":true}"#;
        let event = user_event_in(line).unwrap();
        assert_eq!((event.ltime, &*event.name, event.payload.len()), (7, "deploy", 0));
        assert_eq!(user_event_in(r#"{"record":"log","line":"x"}"#), None);
        let list = r#"{"members":[{"name":"a","addr":"10.0.0.1:7946","status":"alive"},{"name":"b","addr":"10.0.0.2:7946","status":"failed"}]}"#;
        let view = view_in(&serde_json::from_str(list).unwrap()).unwrap();
        assert_eq!(view.iter().map(|it| it.status).collect::<Vec<_>>(), [Status::Alive, Status::Failed]);
        assert!(view_in(&Value::Null).is_err());
        let stats = stats_in(&serde_json::from_str(r#"{"serf":{"event_time":"9","members":"2"}}"#).unwrap());
        assert_eq!((stats.event_time, stats.members), (9, 2));
    }
}
