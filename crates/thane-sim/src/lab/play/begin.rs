//! How a run begins, and how faults do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thane_core::{Config, Time};

use super::{MARKS_MAX, Play, Progress, SLICE, Step};
use crate::byzantine::Byzantine;
use crate::clock::Clock;
use crate::disk::DiskFault;
use crate::lab::fault::{Fault, FaultKind, LIES_EVERY, Lies};
use crate::lab::meter::Meter;
use crate::lab::report::{Alarms, FaultMark};
use crate::lab::setup::{Setup, Start};
use crate::network::{Effect, FaultId, Hosts, Latency, LinkFault, Loss, Quality};
use crate::rng::SimRng;
use crate::world::{Crash, HostId, Observer as _, World};

/// How long the gossip may take at most to come to rest before the clock starts.
const FORMING_MAX: Duration = Duration::from_secs(60);

impl<'a> Play<'a> {
    pub(super) fn new(setup: &'a Setup, seed: u64) -> Self {
        let meter = Meter::new(setup);
        let mut world = World::observed(seed, setup.quality.clone(), meter);
        world.network_mut().topology = setup.topology.clone();
        let mut rng = SimRng::new(seed, "lab", 0);
        let payload = (0..setup.load.event_bytes).map(|_| rng.u64() as u8).collect();
        let mut play = Self {
            setup,
            world,
            rng,
            clocks: SimRng::new(seed, "lab clocks", 0),
            agenda: BTreeMap::new(),
            planned: 0,
            zero: Time::ZERO,
            formed_before: None,
            interrupted: false,
            alarms: Alarms::default(),
            marks: Vec::new(),
            samples: Vec::new(),
            joined: 0,
            liars: Vec::new(),
            pitch: SLICE,
            next_sample: Time::ZERO + SLICE,
            next_second: Time::ZERO + Duration::from_secs(1),
            bytes_before: 0,
            peak_bytes: 0.0,
            sizes: BTreeSet::new(),
            for_good: false,
            tags_set: 0,
            member_seconds: 0.0,
            payload,
        };
        for _ in 0..setup.nodes {
            play.add_host();
        }
        play
    }

    /// Adds the next host, with what it keeps and the clock that it has.
    fn add_host(&mut self) -> HostId {
        let index = self.world.hosts().count();
        let config = self.setup.config_of(index, self.world.next_addr());
        let host = self.world.add_host(config);
        if self.setup.snapshots {
            self.world.add_disk(host, true);
        }
        if self.setup.clock_drift > 0.0 {
            let share = (2.0 * self.clocks.unit() - 1.0) * self.setup.clock_drift;
            let drift_ppm = (share * 1e6).round() as i32;
            self.world.set_clock(host, Clock { offset: Duration::ZERO, drift_ppm });
        }
        host
    }

    /// Brings the cluster to the moment when the clock starts, and plans what comes then.
    pub(super) fn form(&mut self, progress: &mut dyn FnMut(&Progress) -> bool) {
        if self.setup.start != Start::Formed {
            let members = self.setup.nodes;
            self.meter().begins(members);
        }
        match self.setup.start {
            Start::Formed => self.form_before(progress),
            Start::Together => {
                self.plan(Time::ZERO, Step::Start { host: HostId(0), is_return: false });
                for host in self.world.hosts().skip(1) {
                    let at = Time::ZERO + self.rng.span(Duration::ZERO, Duration::from_secs(1));
                    self.plan(at, Step::Start { host, is_return: false });
                }
            }
            Start::OneByOne(every) => {
                for host in self.world.hosts() {
                    self.plan(Time::ZERO + every * host.0, Step::Start { host, is_return: false });
                }
            }
        }
        for (number, fault) in self.setup.faults.iter().enumerate() {
            self.plan(self.zero + fault.at, Step::Fault(number));
        }
        let load = self.setup.load;
        self.again(load.events, Step::Event);
        self.again(load.tags, Step::Tags);
        self.again(load.queries, Step::Query);
        self.again(load.churn, Step::Churn { graceful: false });
    }

    /// Forms the cluster in a network that is in order, and starts the clock.
    fn form_before(&mut self, progress: &mut dyn FnMut(&Progress) -> bool) {
        let latency = self.setup.quality.latency;
        self.world.network_mut().quality = Quality { latency, ..Quality::good() };
        let hosts: Vec<HostId> = self.world.hosts().collect();
        self.world.start_as_cluster(&hosts);
        // Everybody still passes on what everybody knows; that is not what is measured.
        let mut go_on = progress(&self.how_far(true));
        while go_on && !self.world.observer().halted() && self.world.now() < Time::ZERO + FORMING_MAX {
            self.world.run_for(Duration::from_secs(1));
            go_on = progress(&self.how_far(true));
            let is_quiet =
                |host: &HostId| self.world.node(*host).is_some_and(|node| node.stats().membership_queue == 0);
            if self.world.observer().agrees() && hosts.iter().all(is_quiet) {
                break;
            }
        }
        self.interrupted = !go_on;
        let now = self.world.now();
        self.formed_before = Some(now.since_start());
        self.zero = now;
        self.next_sample = now + self.pitch;
        self.next_second = now + Duration::from_secs(1);
        self.world.network_mut().quality = self.setup.quality.clone();
        self.meter().reset();
    }

    // ---- faults ----

    pub(super) fn begin(&mut self, number: usize) {
        let fault = &self.setup.faults[number];
        let now = self.world.now();
        let hosts = if fault.kind.brings_hosts() { Vec::new() } else { self.pick(&fault.target) };
        self.mark(fault, now);
        match fault.kind {
            FaultKind::Crash | FaultKind::PowerLoss | FaultKind::Leave => {
                let crash = if fault.kind == FaultKind::PowerLoss { Crash::Machine } else { Crash::Process };
                self.meter().changed(fault.title(), now);
                for host in hosts {
                    self.take_away(host, fault.kind == FaultKind::Leave, crash, fault.lasting);
                }
            }
            FaultKind::Pause => {
                let span = fault.lasting.unwrap_or_default();
                for host in hosts {
                    self.world.pause(host, span);
                    self.meter().seats[host.index()].paused_until = Some(now + span);
                }
                self.plan(now + span, Step::Over);
            }
            FaultKind::Slow(_) | FaultKind::Block | FaultKind::DiskFull | FaultKind::DiskFailing => {
                self.burden(number, hosts);
            }
            FaultKind::RollingRestart => {
                let mut left = hosts;
                left.sort_unstable_by(|a, b| b.cmp(a));
                self.turn(number, left);
                return;
            }
            FaultKind::Join => {
                self.meter().changed(fault.title(), now);
                for _ in 0..fault.target.count(self.setup.nodes) {
                    let index = self.setup.nodes + self.joined;
                    self.joined += 1;
                    let there = self.world.hosts().nth(index);
                    let host = there.unwrap_or_else(|| self.add_host());
                    self.start(host, false);
                }
            }
            FaultKind::Byzantine { lies, has_key } => self.let_lie(number, lies, has_key),
            FaultKind::Partition
            | FaultKind::Flapping
            | FaultKind::Deaf
            | FaultKind::Mute
            | FaultKind::Loss(_)
            | FaultKind::Delay(_) => self.impair(number, hosts),
        }
        if let Some(every) = fault.every.filter(|_| !fault.kind.has_own_beat()) {
            self.plan(now + every, Step::Fault(number));
        }
    }

    /// Hosts appear on which somebody lies.
    fn let_lie(&mut self, number: usize, lies: Lies, has_key: bool) {
        let fault = &self.setup.faults[number];
        // Members have the numbers of their hosts, so those that are still to join have theirs first.
        while self.world.hosts().count() < self.setup.nodes + self.setup.joining() {
            self.add_host();
        }
        let pace = fault.every.unwrap_or(LIES_EVERY);
        let span = fault.lasting.unwrap_or(self.setup.duration).as_secs_f64();
        // So many that their end is that of the fault.
        let messages = (2.0 * span / pace.as_secs_f64()).ceil() as u32 + 1;
        let what = Byzantine { pace, messages, has_key, lies: lies.kinds().collect() };
        let mut hosts = Vec::new();
        for _ in 0..fault.target.count(self.setup.nodes) {
            if what.can_forge(!self.setup.config.keyring.is_empty()) {
                self.meter().expect_forgery(messages as usize);
            }
            let name = format!("liar-{}", self.liars.len() + 1);
            let advertise = self.world.next_addr();
            let config = Config { name, advertise, ..self.setup.config.clone() };
            let host = self.world.add_byzantine(config, what.clone());
            self.liars.push(host);
            hosts.push(host);
        }
        self.mend_later(number, hosts, None);
    }

    /// A fault of the ways from and to these hosts.
    fn impair(&mut self, number: usize, hosts: Vec<HostId>) {
        let fault = &self.setup.faults[number];
        let these = Hosts::Only(hosts.clone());
        let both =
            |effect| LinkFault { both_ways: true, ..LinkFault::between(Hosts::All, these.clone(), effect) };
        let link = match fault.kind {
            FaultKind::Partition => LinkFault {
                both_ways: true,
                ..LinkFault::between(these, Hosts::AllBut(hosts.clone()), Effect::Cut)
            },
            FaultKind::Flapping => {
                let every = fault.every.unwrap_or(Duration::from_secs(1));
                both(Effect::Cut).flapping(every, every)
            }
            FaultKind::Deaf => LinkFault::between(Hosts::All, these, Effect::Cut),
            FaultKind::Mute => LinkFault::between(these, Hosts::All, Effect::Cut),
            FaultKind::Loss(share) => both(Effect::Loss(Loss::Uniform(share))),
            FaultKind::Delay(by) => both(Effect::Delay(Latency::Constant(by))),
            _ => return,
        };
        // Who is on the wrong side of a partition is as well as the others.
        let impaired = if fault.kind == FaultKind::Partition { Vec::new() } else { hosts };
        for host in &impaired {
            self.meter().seats[host.index()].impairments += 1;
        }
        let link = self.world.begin_fault(link);
        self.mend_later(number, impaired, Some(link));
    }

    /// A fault of these machines.
    fn burden(&mut self, number: usize, hosts: Vec<HostId>) {
        let fault = &self.setup.faults[number];
        let span = fault.lasting.unwrap_or(self.setup.duration);
        for &host in &hosts {
            match fault.kind {
                FaultKind::Slow(each) => self.world.slow(host, each, span),
                FaultKind::Block => self.world.block(host, span),
                FaultKind::DiskFull => self.world.break_disk(host, DiskFault::Full, span),
                FaultKind::DiskFailing => self.world.break_disk(host, DiskFault::Failing, span),
                _ => {}
            }
        }
        // Nobody notices the disk of another.
        let impaired = if fault.kind.is_of_disks() { Vec::new() } else { hosts };
        for host in &impaired {
            self.meter().seats[host.index()].impairments += 1;
        }
        self.mend_later(number, impaired, None);
    }

    fn mend_later(&mut self, number: usize, hosts: Vec<HostId>, link: Option<FaultId>) {
        match self.setup.faults[number].lasting {
            Some(lasting) => {
                let at = self.world.now() + lasting;
                self.plan(at, Step::Mend { fault: number, hosts, link });
            }
            None => self.for_good = true,
        }
    }

    /// The next one of a rolling restart: the last in the list.
    pub(super) fn turn(&mut self, number: usize, mut left: Vec<HostId>) {
        let fault = &self.setup.faults[number];
        let now = self.world.now();
        let Some(host) = left.pop() else { return };
        if self.meter().seats[host.index()].is_up {
            self.meter().changed("a restart".to_owned(), now);
            self.take_away(host, true, Crash::Process, fault.lasting);
        }
        if !left.is_empty() {
            let every = fault.every.unwrap_or(Duration::from_secs(1));
            self.plan(now + every, Step::Turn { fault: number, left });
        }
    }

    fn mark(&mut self, fault: &Fault, now: Time) {
        let from = now.since(self.zero).as_secs_f64();
        let until = match fault.kind {
            FaultKind::Crash | FaultKind::PowerLoss | FaultKind::Leave | FaultKind::Join => from,
            _ => from + fault.over_after(self.setup.nodes).unwrap_or(self.setup.duration).as_secs_f64(),
        };
        let until = until.min(self.setup.duration.as_secs_f64());
        if self.marks.len() < MARKS_MAX {
            self.marks.push(FaultMark { what: fault.title(), from, until });
        }
    }
}
