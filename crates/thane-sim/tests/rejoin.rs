//! User events around restarts: SF-448, SF-465 and SF-692. Nodes crash, leave, come back with and without their snapshot, join
//! again and again, and are cut off for a while; events go out in bursts over a network that loses, doubles and reorders.
//!
//! The promise that is checked: a member delivers an event at most once in all its lives, and at least once if any node that runs
//! in the end has delivered it and the member did not decline it. The only excuse is what a disk did not have yet: up to half a
//! second before a crash.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thane_core::snapshot::{Marks, Record, Restored, SnapshotLog};
use thane_core::{Event, Node, Outcome, Output, Replay, Status, Time};
use thane_sim::{Crash, Ending, HostId, Loss, Observer, ProcessId, Quality, SimRng, World};

const SECOND: Duration = Duration::from_secs(1);
/// What a crash may cost: lines wait this long before they are written.
const UNWRITTEN: Duration = Duration::from_millis(500);
/// Five that keep a snapshot and never leave, one that keeps one and leaves, one that keeps none.
const FAITHFUL: usize = 5;
const LEAVER: usize = 5;
const FORGETFUL: usize = 6;
const HOSTS: usize = 7;

/// A host's snapshot file, as it grows.
#[derive(Debug, Default)]
struct Disk {
    log: SnapshotLog,
    file: Vec<u8>,
    /// Length of the file at each moment it grew.
    lengths: Vec<(Time, usize)>,
}

impl Disk {
    fn append(&mut self, at: Time) {
        if self.log.is_dirty() {
            self.file.extend_from_slice(self.log.to_append());
            self.log.appended();
            self.lengths.push((at, self.file.len()));
        }
    }

    fn length_at(&self, at: Time) -> usize {
        self.lengths.iter().take_while(|(then, _)| *then <= at).last().map_or(0, |(_, length)| *length)
    }
}

/// Writes the snapshots and keeps what was delivered.
#[derive(Debug, Default)]
struct Watch {
    disks: BTreeMap<HostId, Disk>,
    delivered: Vec<(Time, ProcessId, String)>,
    crashed: BTreeMap<ProcessId, Time>,
    /// Whose join reached somebody.
    joined: BTreeSet<ProcessId>,
}

impl Observer for Watch {
    fn output(&mut self, at: Time, process: ProcessId, output: &Output) {
        if let Output::Done { outcome: Outcome::Join { contacted: 1.., .. }, .. } = output {
            self.joined.insert(process);
        }
        let Output::Event(event) = output else { return };
        if let Event::User(event) = event {
            self.delivered.push((at, process, event.name.to_string()));
        }
        if let (Some(disk), Some(record)) = (self.disks.get_mut(&process.host), Record::of(event)) {
            disk.log.record(record);
        }
    }

    fn settled(&mut self, at: Time, process: ProcessId, node: &Node) {
        if let Some(disk) = self.disks.get_mut(&process.host) {
            disk.log.record(Record::Marks(node.marks()));
            disk.append(at);
        }
    }

    fn stopped(&mut self, at: Time, process: ProcessId, ending: Ending) {
        if let Ending::Crashed(_) = ending {
            self.crashed.insert(process, at);
        }
    }
}

/// What a run may contain.
#[derive(Debug, Clone, Copy)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a thing that may happen or not, apart from the others"
)]
struct Story {
    /// Running members join others without replay, and so do those that come back.
    joins: bool,
    /// Some are cut off for a while.
    partitions: bool,
    /// The leaver leaves and returns, the forgetful one crashes and returns.
    others: bool,
    /// The restarted are told the newest time only, as by a file of Serf. This must be caught.
    as_serf: bool,
}

struct Run {
    world: World<Watch>,
    hosts: Vec<HostId>,
    rng: SimRng,
    story: Story,
    sent: u32,
    sent_at: BTreeMap<String, Time>,
    /// When each life began to follow the events of the cluster.
    follows_from: BTreeMap<ProcessId, Time>,
    /// Who comes back when.
    returns: BTreeMap<HostId, Time>,
    heals: Option<Time>,
}

impl Run {
    fn begin(seed: u64, story: Story) -> Self {
        let mut world = World::observed(seed, Quality::good(), Watch::default());
        let hosts: Vec<HostId> = (0..HOSTS).map(|number| world.add_lan_host(&format!("n{number}"))).collect();
        for &host in &hosts[..=LEAVER] {
            world.observer_mut().disks.insert(host, Disk::default());
        }
        let first = world.addr(hosts[0]);
        for &host in &hosts {
            world.start(host);
            world.command(host, |node, now| node.join(now, &[first], Replay::Ignore).unwrap()).unwrap();
        }
        let mut run = Self {
            world,
            hosts,
            rng: SimRng::new(seed, "story", 0),
            story,
            sent: 0,
            sent_at: BTreeMap::new(),
            follows_from: BTreeMap::new(),
            returns: BTreeMap::new(),
            heals: None,
        };
        assert!(run.world.run_until(90 * SECOND, all_alive), "seed {seed}: no cluster");
        // Whoever crashes before the first lines are written comes back as somebody who never was a member.
        run.world.run_for(2 * UNWRITTEN);
        for &host in &run.hosts {
            run.follows_from.insert(run.world.process(host).unwrap(), run.world.now());
        }
        let quality = &mut run.world.network_mut().quality;
        (quality.loss, quality.duplication, quality.reordering) = (Loss::Uniform(0.05), 0.05, 0.3);
        quality.reordering_delay = Duration::from_millis(400);
        quality.stream_breaks = 0.02;
        run
    }

    fn running(&self) -> Vec<HostId> {
        self.hosts.iter().copied().filter(|host| self.world.node(*host).is_some()).collect()
    }

    /// One thing after another for so long; then everything is mended, and time passes until nothing can be on its way.
    fn play(&mut self, span: Duration) {
        let end = self.world.now() + span;
        while self.world.now() < end {
            self.act();
            let pause = self.rng.span(Duration::from_millis(20), 3 * SECOND);
            self.world.run_for(pause);
            self.bring_back(self.world.now());
        }
        self.world.network_mut().heal();
        self.world.network_mut().quality = Quality::good();
        let latest = self.returns.values().max().copied().unwrap_or(end);
        self.world.run_to(latest);
        self.bring_back(latest);
        assert!(self.world.run_until(1200 * SECOND, all_alive), "seed {}: no cluster", self.world.seed());
        self.world.run_for(300 * SECOND);
    }

    fn act(&mut self) {
        let running = self.running();
        let at = *self.rng.pick(&running).unwrap();
        match self.rng.below(10) {
            0..=4 => self.burst(&running),
            5 | 6 if running.len() > 3 => self.take_down(at),
            7 if self.story.joins => {
                let to = self.world.addr(*self.rng.pick(&running).unwrap());
                self.world.command(at, |node, now| _ = node.join(now, &[to], Replay::Ignore));
            }
            8 if self.story.partitions && self.heals.is_none() => {
                let cut = self.rng.between(1, 3);
                self.world.partition(&running[..cut.min(running.len())]);
                self.heals = Some(self.world.now() + self.rng.span(5 * SECOND, 90 * SECOND));
            }
            _ => {}
        }
    }

    /// Some events at nearly the same time, from several nodes: some of them get one Lamport time.
    fn burst(&mut self, running: &[HostId]) {
        for _ in 0..self.rng.between(1, 5) {
            let host = *self.rng.pick(running).unwrap();
            let follows = self.world.process(host).is_some_and(|life| self.follows_from.contains_key(&life));
            if !follows {
                continue;
            }
            self.sent += 1;
            let name = format!("event-{}", self.sent);
            self.sent_at.insert(name.clone(), self.world.now());
            self.world.command(host, |node, now| _ = node.user_event(now, &name, b"", false));
        }
    }

    fn take_down(&mut self, host: HostId) {
        let back = self.world.now() + self.rng.span(SECOND, 60 * SECOND);
        if host == self.hosts[LEAVER] {
            if self.story.others && self.returns.is_empty() {
                self.world.observer_mut().disks.get_mut(&host).unwrap().log.record(Record::Leave);
                self.world.leave(host);
                self.returns.insert(host, back + 15 * SECOND);
            }
        } else if host != self.hosts[FORGETFUL] || self.story.others {
            self.world.crash(host, Crash::Process);
            self.returns.insert(host, back);
            self.tear(host);
        }
    }

    /// Of the last half second the file has only a part.
    fn tear(&mut self, host: HostId) {
        let now = self.world.now();
        let cut = self.rng.unit();
        let Some(disk) = self.world.observer_mut().disks.get_mut(&host) else { return };
        let sure = disk.length_at(Time::from_start(now.since_start().saturating_sub(UNWRITTEN)));
        let kept = sure + ((disk.file.len() - sure) as f64 * cut) as usize;
        disk.file.truncate(kept);
    }

    fn bring_back(&mut self, now: Time) {
        if self.heals.is_some_and(|at| at <= now) {
            self.world.network_mut().heal();
            self.heals = None;
        }
        let due: Vec<HostId> =
            self.returns.iter().filter(|(_, at)| **at <= now).map(|(host, _)| *host).collect();
        for host in due {
            if self.world.node(host).is_none() {
                self.returns.remove(&host);
                self.restart(host);
            }
        }
    }

    fn restart(&mut self, host: HostId) {
        let name = self.world.name(host).to_owned();
        let running = self.running();
        let as_serf = self.story.as_serf;
        let restored = self.world.observer_mut().disks.get_mut(&host).map(|disk| {
            let found = SnapshotLog::replay(&disk.file, false);
            disk.file.truncate(found.whole_bytes);
            (disk.log, disk.lengths) = (found.log, Vec::new());
            let restored = disk.log.restored(&name);
            if as_serf { as_serf_would(restored) } else { restored }
        });
        self.world.start(host);
        if let Some(restored) = restored {
            self.world.command(host, |node, now| node.restore(now, restored));
        }
        let faithful = host.index() < FAITHFUL;
        if !faithful || (self.story.joins && self.rng.chance(0.5)) {
            let to = self.world.addr(*self.rng.pick(&running).unwrap());
            self.world.command(host, |node, now| _ = node.join(now, &[to], Replay::Ignore));
        }
        self.world.run_for(5 * SECOND);
        if let Some(life) = self.world.process(host) {
            // Whoever joins in vain is joined by others later, and begins to follow then; nothing is asked of it.
            let has_company = self.world.node(host).is_some_and(|node| node.stats().live > 1);
            if has_company {
                self.follows_from.insert(life, self.world.now());
            }
        }
    }

    /// What is wrong with what was delivered.
    fn faults(&self) -> Vec<String> {
        let watch = self.world.observer();
        let mut wrong = Vec::new();
        let mut by_host: BTreeMap<HostId, BTreeMap<&str, (Time, ProcessId)>> = BTreeMap::new();
        for (at, process, event) in &watch.delivered {
            let before = by_host.entry(process.host).or_default().insert(event, (*at, *process));
            let Some((then, life)) = before else { continue };
            let keeps_a_file = process.host.index() != FORGETFUL;
            let unwritten = watch.crashed.get(&life).is_some_and(|crash| then + UNWRITTEN >= *crash);
            if life == *process || (keeps_a_file && !unwritten) {
                wrong.push(format!("{process} delivered {event} again, which {life} had at {then}"));
            }
        }
        // What those that run have delivered in this life they tell everybody.
        let current: BTreeSet<ProcessId> =
            self.hosts.iter().filter_map(|host| self.world.process(*host)).collect();
        let told = watch.delivered.iter().filter(|(_, process, _)| current.contains(process));
        let told: BTreeSet<&str> = told.map(|(_, _, event)| event.as_str()).collect();
        for (number, host) in self.hosts.iter().enumerate() {
            let had = by_host.get(host);
            let life = self.world.process(*host).unwrap();
            let from = match self.follows_from.get(&life) {
                _ if number < FAITHFUL => Time::ZERO,
                Some(from) => *from,
                None => continue,
            };
            for event in &told {
                let missing = !had.is_some_and(|had| had.contains_key(event));
                if missing && self.sent_at[*event] > from {
                    wrong.push(format!("{life} never delivered {event}, sent at {}", self.sent_at[*event]));
                }
            }
        }
        if self.story.partitions {
            return wrong;
        }
        for (_, life, event) in &watch.delivered {
            // Who joined in vain has declined nothing; others find it, and tell it all.
            let has_declined = life.host.index() == FORGETFUL && watch.joined.contains(life);
            let Some(from) = self.follows_from.get(life).filter(|_| has_declined) else { continue };
            if self.sent_at[event] + 60 * SECOND < *from {
                wrong.push(format!(
                    "{life}, which knows nothing of earlier lives, delivered history: {event}"
                ));
            }
        }
        wrong
    }
}

/// What a file of Serf says of events: the newest time, and that nothing up to it is wanted.
fn as_serf_would(restored: Restored) -> Restored {
    let marks = Marks { declined: restored.marks.event, ..restored.marks };
    Restored { marks, seen: Vec::new(), ..restored }
}

fn all_alive(world: &World<Watch>) -> bool {
    world.hosts().all(|holder| {
        world.node(holder).is_some_and(|node| {
            node.members().filter(|member| member.status == Status::Alive).count() == HOSTS
        })
    })
}

/// Plays the story with many seeds. Gives what went wrong.
fn faults_of(story: Story, seeds: std::ops::Range<u64>) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut sent, mut crashes, mut starts) = (0, 0, 0);
    for seed in seeds {
        let mut run = Run::begin(seed, story);
        run.play(240 * SECOND);
        wrong.extend(run.faults().into_iter().map(|fault| format!("seed {seed}: {fault}")));
        sent += run.sent;
        crashes += run.world.tally().crashes;
        starts += run.world.tally().starts;
    }
    assert!(sent > 1000 && crashes > 50 && starts > crashes, "{sent} events, {crashes} crashes");
    wrong
}

fn holds(story: Story, seeds: std::ops::Range<u64>) {
    let wrong = faults_of(story, seeds);
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

const CRASHES: Story = Story { joins: false, partitions: false, others: false, as_serf: false };

#[test]
fn sf_448_bursts_of_events_survive_crashes_without_loss_or_repetition() {
    holds(CRASHES, 1..21);
}

#[test]
fn sf_465_joins_without_replay_and_partitions_cost_no_member_an_event() {
    holds(Story { joins: true, partitions: true, ..CRASHES }, 101..121);
}

#[test]
fn sf_692_who_returns_takes_what_it_missed_and_who_knows_nothing_takes_no_history() {
    holds(Story { joins: true, others: true, ..CRASHES }, 201..221);
}

/// The checker is worth something: it catches what a snapshot with the newest time alone does.
#[test]
fn a_snapshot_that_knows_only_the_newest_time_is_caught() {
    let wrong = faults_of(Story { as_serf: true, ..CRASHES }, 1..16);
    assert!(wrong.iter().any(|fault| fault.contains("never delivered")), "{wrong:?}");
}
