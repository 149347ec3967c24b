//! One run: a cluster comes to rest, some of its members are blocked in lock-step, and everything that is said is counted.

use std::time::Duration;

use thane_core::{Config, Detector, Event, Output, Time};

use crate::network::{Latency, Quality};
use crate::rng::SimRng;
use crate::world::{HostId, Observer, ProcessId, World};

/// Members of the paper's cluster.
pub(super) const MEMBERS: usize = 128;
/// Time without a fault before the first one.
const QUIESCE: Duration = Duration::from_secs(15);
/// In which time all are started, one after the other: what a member does every 30 s, it does at another moment than the others.
const STARTED_WITHIN: Duration = Duration::from_secs(30);
/// How long anomalies are repeated, and how long a single one is watched.
pub(super) const WATCHED: Duration = Duration::from_secs(120);
/// What a member that was blocked takes over each packet that waited, if it has its core to itself: to read, unpack and decode it.
pub(super) const CATCH_UP: Duration = Duration::from_micros(40);
/// Members whose processes share a core, and so the time in which to catch up: the paper pins 8 agents to each of 16 cores.
const MEMBERS_A_CORE: usize = 8;

/// The settings of one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// The row's name.
    pub name: &'static str,
    /// Which parts of the detector are on.
    pub detector: Detector,
    /// Lifeguard's alpha.
    pub alpha: u32,
    /// Lifeguard's beta.
    pub beta: u32,
}

/// The faults of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// How many members are anomalous.
    pub members: usize,
    /// How long each anomaly lasts.
    pub block: Duration,
    /// Time between anomalies; `None` for a single one.
    pub between: Option<Duration>,
}

/// What one run gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Failure events about members that are not anomalous.
    pub false_positives: u64,
    /// Those of them at members that are not anomalous either.
    pub false_positives_healthy: u64,
    /// From the beginning of the anomaly to the first failure event about each anomalous member, in seconds.
    pub first: Vec<f64>,
    /// From there until every healthy member has raised one.
    pub full: Vec<f64>,
    /// For each false positive, how long its member stayed failed where it was raised.
    pub false_for: Vec<f64>,
    /// False positives whose member was still failed at the end.
    pub never_back: u64,
    /// From the end of the anomaly until nobody takes the failed member for failed any more.
    pub back: Vec<f64>,
    /// Packets and pieces of streams sent.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Virtual time watched.
    pub watched: Duration,
}

/// Counts failure events.
#[derive(Debug)]
struct Watch {
    anomalous: Vec<bool>,
    /// Set when the anomaly begins.
    began: Option<Time>,
    outcome: Outcome,
    /// Since when each member takes each other for failed.
    failed: Vec<Vec<Option<Time>>>,
    first: Vec<Option<Time>>,
    /// Healthy members that have raised an event about each anomalous one, ever.
    told: Vec<Vec<bool>>,
    full: Vec<Option<Time>>,
    /// When the last that held it failed has taken it back.
    back: Vec<Option<Time>>,
}

/// Members are named by their numbers.
fn number(name: &str) -> Option<usize> {
    name.strip_prefix("m-")?.parse().ok()
}

impl Watch {
    fn new(members: usize) -> Self {
        Self {
            anomalous: vec![false; members],
            began: None,
            outcome: Outcome::default(),
            failed: vec![vec![None; members]; members],
            first: vec![None; members],
            told: vec![vec![false; members]; members],
            full: vec![None; members],
            back: vec![None; members],
        }
    }

    fn failed(&mut self, at: Time, observer: usize, member: usize) {
        self.failed[observer][member] = Some(at);
        if !self.anomalous[member] {
            self.outcome.false_positives += 1;
            self.outcome.false_positives_healthy += u64::from(!self.anomalous[observer]);
            return;
        }
        self.first[member].get_or_insert(at);
        self.told[member][observer] = true;
        let everybody = (0..self.anomalous.len()).all(|it| self.anomalous[it] || self.told[member][it]);
        if everybody {
            self.full[member].get_or_insert(at);
        }
    }

    fn joined(&mut self, at: Time, observer: usize, member: usize) {
        let Some(since) = self.failed[observer][member].take() else { return };
        if !self.anomalous[member] {
            self.outcome.false_for.push(at.since(since).as_secs_f64());
        } else if self.failed.iter().all(|by| by[member].is_none()) {
            self.back[member] = Some(at);
        }
    }

    fn everybody_back(&self) -> bool {
        self.failed.iter().flatten().all(Option::is_none)
    }
}

impl Observer for Watch {
    fn output(&mut self, at: Time, process: ProcessId, output: &Output) {
        if self.began.is_none() {
            return;
        }
        let observer = process.host.index();
        match output {
            Output::Send { packet, .. } => {
                self.outcome.messages += 1;
                self.outcome.bytes += packet.len() as u64;
            }
            Output::Write { bytes, .. } => {
                self.outcome.messages += 1;
                self.outcome.bytes += bytes.len() as u64;
            }
            Output::Event(Event::Failed(change)) => {
                if let Some(member) = number(&change.member.name) {
                    self.failed(at, observer, member);
                }
            }
            Output::Event(Event::Joined(change)) => {
                if let Some(member) = number(&change.member.name) {
                    self.joined(at, observer, member);
                }
            }
            _ => {}
        }
    }
}

/// All 128 on one machine: 50 to 200 µs from one to another, and nothing is lost.
fn loopback() -> Quality {
    Quality {
        latency: Latency::Uniform { from: Duration::from_micros(50), to: Duration::from_micros(200) },
        stream_splits: 0.0,
        ..Quality::good()
    }
}

/// Runs one cell of a grid once.
pub(super) fn run(rules: &Rules, fault: &Fault, seed: u64) -> Outcome {
    let mut world = World::observed(seed, loopback(), Watch::new(MEMBERS));
    let hosts: Vec<HostId> = (0..MEMBERS)
        .map(|number| {
            let config = Config {
                detector: rules.detector,
                suspicion_mult: rules.alpha,
                suspicion_max_timeout_mult: rules.beta,
                compression: false,
                ..Config::lan(format!("m-{number}"), world.next_addr())
            };
            world.add_host(config)
        })
        .collect();
    for host in &hosts {
        world.start(*host);
        world.run_for(STARTED_WITHIN / MEMBERS as u32);
    }
    world.introduce(&hosts);
    world.run_for(QUIESCE);

    let mut chance = SimRng::new(seed, "anomalous", 0);
    let mut anomalous: Vec<HostId> = Vec::new();
    while anomalous.len() < fault.members {
        let host = hosts[chance.below(hosts.len())];
        if !anomalous.contains(&host) {
            anomalous.push(host);
            world.observer_mut().anomalous[host.index()] = true;
        }
    }
    for host in &anomalous {
        let core = |host: &HostId| host.index() / MEMBERS_A_CORE;
        let sharing = anomalous.iter().filter(|it| core(it) == core(host)).count();
        world.set_catch_up(*host, CATCH_UP * sharing as u32);
    }
    let began = world.now();
    world.observer_mut().began = Some(began);
    match fault.between {
        None => single(&mut world, &anomalous, fault.block),
        Some(between) => repeated(&mut world, &anomalous, fault.block, between),
    }
    let watched = world.now().since(began);
    let watch = world.observer_mut();
    let mut outcome = std::mem::take(&mut watch.outcome);
    outcome.watched = watched;
    let end = began + fault.block;
    for host in &anomalous {
        let member = host.index();
        let seconds = |at: Option<Time>, from: Time| at.map(|at| at.since(from).as_secs_f64());
        outcome.first.extend(seconds(watch.first[member], began));
        outcome.full.extend(seconds(watch.full[member], began));
        if fault.between.is_none() {
            outcome.back.extend(seconds(watch.back[member], end));
        }
    }
    for by in &watch.failed {
        let still =
            by.iter().enumerate().filter(|(member, since)| since.is_some() && !watch.anomalous[*member]);
        outcome.never_back += still.count() as u64;
    }
    outcome
}

/// One anomaly, until all is well again or the time is up.
fn single(world: &mut World<Watch>, anomalous: &[HostId], block: Duration) {
    for host in anomalous {
        world.block(*host, block);
    }
    world.run_for(block);
    // What is said last in the block needs a moment to be acted on.
    world.run_for(Duration::from_secs(1));
    let rest = WATCHED.saturating_sub(block);
    world.run_until(rest, |world| {
        world.observer().everybody_back()
            && world.hosts().all(|host| world.node(host).is_some_and(|node| node.stats().suspect == 0))
    });
}

/// One anomaly after the other, until the time is up.
fn repeated(world: &mut World<Watch>, anomalous: &[HostId], block: Duration, between: Duration) {
    let end = world.now() + WATCHED;
    while world.now() < end {
        for host in anomalous {
            world.block(*host, block);
        }
        world.run_for(block);
        world.run_for(between);
    }
}
