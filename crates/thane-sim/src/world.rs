//! The world: hosts, their clock, and what happens next.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thane_core::{CommandError, Config, Interner, Keyring, Node, OpId, Output, StreamId, Time};

use crate::addresses::Addresses;
use crate::byzantine::Peer;
use crate::clock::Clock;
use crate::disk::Disk;
use crate::drive::Input;
use crate::gate::Gate;
use crate::network::{Effect, FaultId, LinkFault, Network, Quality};
use crate::rng::{SimRng, node_seed};
use crate::sabotage::Saboteur;
use crate::schedule::Schedule;
use crate::streams::{ConnId, Connection, Side};
use crate::trace::{TraceHash, Tracer};

/// A host: a machine with an address, on which one process after another may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostId(pub(crate) u32);

impl HostId {
    /// The host of this place in the order in which hosts were added, from 0. It need not be there yet.
    pub fn numbered(index: usize) -> Self {
        Self(index as u32)
    }

    /// Its place in the order in which hosts were added.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One life of the program on a host. A restart makes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId {
    /// Where it runs.
    pub host: HostId,
    /// Counted from 1 on each host.
    pub life: u32,
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host {} life {}", self.host.0, self.life)
    }
}

/// What goes down in a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Crash {
    /// The process only. Its host closes what was open, and refuses connections to the port.
    Process,
    /// The whole machine: nobody gets any answer.
    Machine,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Without a word.
    Crashed(Crash),
    /// After a graceful leave that was complete.
    Left,
    /// Because its own core told it to stop.
    Stopped,
}

/// How often each thing really happened. Tests use it to prove that a fault that they asked for took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Inputs that nodes were given.
    pub inputs: u64,
    /// Packets that arrived at a running process.
    pub packets_delivered: u64,
    /// Packets lost by chance.
    pub packets_lost: u64,
    /// Of those, how many in a burst of loss.
    pub packets_lost_in_bursts: u64,
    /// Packets larger than the way allowed.
    pub packets_oversized: u64,
    /// Packets for which the queue before a narrow line had no room.
    pub packets_overflowed: u64,
    /// Packets that a partition or cut stopped.
    pub packets_cut: u64,
    /// Packets that were delivered a second time.
    pub packets_duplicated: u64,
    /// Packets that arrived after one that the same sender had sent later (counted in worlds of up to 256 hosts).
    pub packets_reordered: u64,
    /// Packets for a process that was not there, or whose buffer was full while it was paused or slow.
    pub packets_unheard: u64,
    /// Streams that were connected.
    pub streams_opened: u64,
    /// Streams refused because nobody listened.
    pub streams_refused: u64,
    /// Dials that got no answer in time.
    pub streams_timed_out: u64,
    /// Streams that broke while open: by chance, or because one end crashed.
    pub streams_broken: u64,
    /// Of those that broke by chance, how many had brought the beginning of a piece.
    pub streams_cut_short: u64,
    /// Pieces of streams that were cut in two on the way.
    pub streams_split: u64,
    /// Processes started.
    pub starts: u64,
    /// Crashes.
    pub crashes: u64,
    /// Pauses.
    pub pauses: u64,
    /// Hosts that became slow.
    pub slowdowns: u64,
    /// Inputs that had to wait because a slow process was busy with others.
    pub inputs_queued: u64,
    /// Starts of processes whose clock goes wrong.
    pub skewed_starts: u64,
    /// Starts of processes with the files of an earlier one.
    pub restores: u64,
    /// Writes to disks.
    pub disk_writes: u64,
    /// Writes that a disk did not take.
    pub disk_errors: u64,
    /// Disks that became full or began to fail.
    pub disk_faults: u64,
    /// Machines that went down before the last lines of a snapshot were on the disk.
    pub snapshots_torn: u64,
    /// Blocks.
    pub blocks: u64,
    /// Graceful leaves that completed.
    pub leaves: u64,
    /// Partitions and one-way cuts that were made.
    pub partitions: u64,
    /// Faults between some hosts that were made, cuts included.
    pub link_faults: u64,
    /// How often a flapping fault came back.
    pub flaps: u64,
    /// Malformed messages of byzantine peers.
    pub lies_malformed: u64,
    /// Replayed messages of byzantine peers.
    pub lies_replayed: u64,
    /// Forged messages of byzantine peers.
    pub lies_forged: u64,
    /// Messages of byzantine peers that put others where they are not.
    pub lies_impersonating: u64,
}

impl Tally {
    /// All counts by name, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("inputs", self.inputs),
            ("packets delivered", self.packets_delivered),
            ("packets lost", self.packets_lost),
            ("packets lost in bursts", self.packets_lost_in_bursts),
            ("packets oversized", self.packets_oversized),
            ("packets overflowed", self.packets_overflowed),
            ("packets cut", self.packets_cut),
            ("packets duplicated", self.packets_duplicated),
            ("packets reordered", self.packets_reordered),
            ("packets unheard", self.packets_unheard),
            ("streams opened", self.streams_opened),
            ("streams refused", self.streams_refused),
            ("streams timed out", self.streams_timed_out),
            ("streams broken", self.streams_broken),
            ("streams cut short", self.streams_cut_short),
            ("streams split", self.streams_split),
            ("starts", self.starts),
            ("crashes", self.crashes),
            ("pauses", self.pauses),
            ("slowdowns", self.slowdowns),
            ("inputs queued", self.inputs_queued),
            ("skewed starts", self.skewed_starts),
            ("restores", self.restores),
            ("disk writes", self.disk_writes),
            ("disk errors", self.disk_errors),
            ("disk faults", self.disk_faults),
            ("snapshots torn", self.snapshots_torn),
            ("blocks", self.blocks),
            ("leaves", self.leaves),
            ("partitions", self.partitions),
            ("link faults", self.link_faults),
            ("flaps", self.flaps),
            ("malformed messages", self.lies_malformed),
            ("replayed messages", self.lies_replayed),
            ("forged messages", self.lies_forged),
            ("impersonations", self.lies_impersonating),
        ]
        .into_iter()
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        self.inputs += other.inputs;
        self.packets_delivered += other.packets_delivered;
        self.packets_lost += other.packets_lost;
        self.packets_lost_in_bursts += other.packets_lost_in_bursts;
        self.packets_oversized += other.packets_oversized;
        self.packets_overflowed += other.packets_overflowed;
        self.packets_cut += other.packets_cut;
        self.packets_duplicated += other.packets_duplicated;
        self.packets_reordered += other.packets_reordered;
        self.packets_unheard += other.packets_unheard;
        self.streams_opened += other.streams_opened;
        self.streams_refused += other.streams_refused;
        self.streams_timed_out += other.streams_timed_out;
        self.streams_broken += other.streams_broken;
        self.streams_cut_short += other.streams_cut_short;
        self.streams_split += other.streams_split;
        self.starts += other.starts;
        self.crashes += other.crashes;
        self.pauses += other.pauses;
        self.slowdowns += other.slowdowns;
        self.inputs_queued += other.inputs_queued;
        self.skewed_starts += other.skewed_starts;
        self.restores += other.restores;
        self.disk_writes += other.disk_writes;
        self.disk_errors += other.disk_errors;
        self.disk_faults += other.disk_faults;
        self.snapshots_torn += other.snapshots_torn;
        self.blocks += other.blocks;
        self.leaves += other.leaves;
        self.partitions += other.partitions;
        self.link_faults += other.link_faults;
        self.flaps += other.flaps;
        self.lies_malformed += other.lies_malformed;
        self.lies_replayed += other.lies_replayed;
        self.lies_forged += other.lies_forged;
        self.lies_impersonating += other.lies_impersonating;
    }
}

/// Looks on. It sees everything and changes nothing.
pub trait Observer {
    /// A process has begun; its first outputs come next.
    fn started(&mut self, at: Time, process: ProcessId, node: &Node) {
        let _ = (at, process, node);
    }

    /// A process has ended.
    fn stopped(&mut self, at: Time, process: ProcessId, ending: Ending) {
        let _ = (at, process, ending);
    }

    /// A node put out something; the world acts on it next.
    fn output(&mut self, at: Time, process: ProcessId, output: &Output) {
        let _ = (at, process, output);
    }

    /// A node was given an input and has put out everything that follows from it.
    fn settled(&mut self, at: Time, process: ProcessId, node: &Node) {
        let _ = (at, process, node);
    }

    /// Whether the observer has seen enough: the world then stands still.
    fn halted(&self) -> bool {
        false
    }
}

/// Nobody looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A node's deadline is reached. `deadline` tells a current wake-up from one that was overtaken.
    Wake { process: ProcessId, deadline: Time },
    /// A packet arrives.
    Packet { to: HostId, from: HostId, bytes: Bytes, number: u64 },
    /// A pause is over.
    Resume { process: ProcessId, until: Time },
    /// A connection request arrives.
    Syn { conn: ConnId, attempt: u32 },
    /// A dial has taken as long as it may.
    DialDeadline { conn: ConnId },
    /// The next piece of a stream arrives.
    Pipe { conn: ConnId, from: Side },
    /// A block is over.
    Unblock { process: ProcessId, until: Time },
    /// A process that was blocked takes up the next of what waits for it.
    CatchUp { process: ProcessId },
    /// A flapping fault comes or goes.
    Flap { fault: FaultId },
    /// A slow process has done what the next input takes.
    Work { process: ProcessId },
    /// What a process wants to have on its disk is written.
    Flush { process: ProcessId, due: Time },
    /// A key ring was written, or could not be.
    KeyringWritten { process: ProcessId, token: u64, result: Result<(), String> },
    /// A byzantine peer sends something.
    Lie { peer: usize },
    /// A byzantine peer writes to a stream.
    LieOnStream { peer: usize, stream: StreamId, bytes: Vec<u8>, closes: bool },
    /// A disk has no fault any more.
    DiskMended { host: HostId, number: u64 },
    /// A slow machine has its speed back.
    SlowEnds { host: HostId, number: u64 },
    /// A fault has lasted as long as it should.
    FaultEnds { fault: FaultId },
}

/// A host and the process on it.
#[derive(Debug)]
pub(crate) struct Host {
    /// In a box: a step needs hardly anything of it, and most of the rest of a host.
    pub(crate) config: Box<Config>,
    /// Processes started so far; the current or last one bears this number.
    pub(crate) life: u32,
    pub(crate) node: Option<Box<Node>>,
    pub(crate) machine_down: bool,
    pub(crate) paused_until: Option<Time>,
    /// What arrived during a pause, in order.
    pub(crate) deferred: VecDeque<Input>,
    /// The clock of the next process, and of the one that runs.
    pub(crate) clock: Clock,
    /// How long each input takes, on a slow machine.
    pub(crate) each_takes: Duration,
    /// How often it became slow, so that only the last one is ended.
    pub(crate) slowdowns: u64,
    /// Whether the next input that waits for a slow machine is under way.
    pub(crate) working: bool,
    /// Whether its last process ended because its own core told it to.
    pub(crate) was_stopped: bool,
    /// What its processes leave to the next ones.
    pub(crate) disk: Option<Box<Disk>>,
    /// While its exchange with the others is blocked.
    pub(crate) gate: Option<Box<Gate>>,
    /// How long its process takes over each input that has waited at the gate.
    pub(crate) catch_up_each: Duration,
    /// The deadline that a wake-up is scheduled for.
    pub(crate) wake: Option<Time>,
    /// Wake-ups in a row at one and the same moment.
    pub(crate) spins: u32,
    pub(crate) streams: BTreeMap<StreamId, (ConnId, Side)>,
    /// The leave after which the process ends.
    pub(crate) last_leave: Option<OpId>,
    /// The greatest packet number heard from each host, to count reordering.
    pub(crate) heard: Vec<u64>,
    /// The bug that its processes have, if one was planted.
    pub(crate) saboteur: Option<Box<dyn Saboteur>>,
}

/// Virtual hosts on a virtual network in virtual time. See the crate's documentation.
#[derive(Debug)]
pub struct World<O = Unobserved> {
    pub(crate) seed: u64,
    pub(crate) now: Time,
    pub(crate) schedule: Schedule<Happening>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) addrs: Addresses,
    pub(crate) network: Network,
    pub(crate) rng: SimRng,
    pub(crate) conns: BTreeMap<ConnId, Connection>,
    pub(crate) next_conn: u64,
    /// Those that send what no node would.
    pub(crate) byzantine: Vec<Peer>,
    pub(crate) trace: Tracer,
    pub(crate) tally: Tally,
    /// What members announce, kept once for all nodes.
    interner: Interner,
    pub(crate) observer: O,
}

impl World {
    /// An empty world that nobody looks on.
    pub fn new(seed: u64, quality: Quality) -> Self {
        Self::observed(seed, quality, Unobserved)
    }
}

impl<O: Observer> World<O> {
    /// An empty world with somebody looking on.
    pub fn observed(seed: u64, quality: Quality, observer: O) -> Self {
        Self {
            seed,
            now: Time::ZERO,
            schedule: Schedule::new(),
            hosts: Vec::new(),
            addrs: Addresses::default(),
            network: Network::new(quality),
            rng: SimRng::new(seed, "network", 0),
            conns: BTreeMap::new(),
            next_conn: 0,
            byzantine: Vec::new(),
            trace: Tracer::default(),
            tally: Tally::default(),
            interner: Interner::new(seed.into()),
            observer,
        }
    }

    // ---- building ----

    /// The address that the next host should have: 10.0.0.1:7946 and upwards.
    pub fn next_addr(&self) -> SocketAddr {
        let number = self.hosts.len() as u32 + 1;
        SocketAddr::new(Ipv4Addr::from_bits(0x0a00_0000 + number).into(), 7946)
    }

    /// Adds a host whose processes run with this configuration. Nothing runs on it yet.
    ///
    /// # Panics
    /// When another host has the address.
    pub fn add_host(&mut self, config: Config) -> HostId {
        let host = HostId(self.hosts.len() as u32);
        let taken = self.addrs.add(config.advertise, host);
        assert!(taken, "two hosts have the address {}", config.advertise);
        self.hosts.push(Host {
            config: Box::new(config),
            life: 0,
            node: None,
            machine_down: false,
            paused_until: None,
            deferred: VecDeque::new(),
            disk: None,
            clock: Clock::RIGHT,
            each_takes: Duration::ZERO,
            slowdowns: 0,
            working: false,
            was_stopped: false,
            gate: None,
            catch_up_each: Duration::ZERO,
            wake: None,
            spins: 0,
            streams: BTreeMap::new(),
            last_leave: None,
            heard: Vec::new(),
            saboteur: None,
        });
        host
    }

    /// Adds a host with the LAN profile and the next free address.
    pub fn add_lan_host(&mut self, name: &str) -> HostId {
        self.add_host(Config::lan(name, self.next_addr()))
    }

    // ---- what can be done to it ----

    /// Starts a new process on the host, which knows nothing of earlier ones. Brings a machine up that was down.
    ///
    /// # Panics
    /// When one is running there, or when the configuration is refused.
    pub fn start(&mut self, host: HostId) -> ProcessId {
        self.empty_disk(host);
        self.start_process(host)
    }

    pub(crate) fn start_process(&mut self, host: HostId) -> ProcessId {
        let now = self.now;
        let keys = self.keys_on_disk(host);
        let it = &mut self.hosts[host.index()];
        assert!(it.node.is_none(), "a process is running on {host:?}");
        it.life += 1;
        it.machine_down = false;
        it.heard.clear();
        let seed = node_seed(self.seed, host.0, it.life);
        let mut config = Config::clone(&it.config);
        config.interner.get_or_insert_with(|| self.interner.clone());
        if let Some(keys) = keys {
            config.keyring = keys;
        }
        let shown = it.clock.shows(now);
        let mut node = match Node::new(config, seed, shown) {
            Ok(node) => node,
            Err(wrong) => panic!("the configuration of {} is refused: {wrong:?}", it.config.name),
        };
        let process = ProcessId { host, life: it.life };
        self.tally.starts += 1;
        self.tally.skewed_starts += u64::from(it.clock != Clock::RIGHT);
        self.observer.started(now, process, &node);
        self.read_disk(host, &mut node, shown);
        self.hosts[host.index()].node = Some(Box::new(node));
        self.drain(host);
        process
    }

    /// Ends the process without a word. Does nothing if none is running, except that a machine goes down.
    pub fn crash(&mut self, host: HostId, crash: Crash) {
        if self.hosts[host.index()].node.is_some() {
            self.tally.crashes += 1;
            self.end(host, Ending::Crashed(crash));
        }
        self.hosts[host.index()].machine_down |= crash == Crash::Machine;
    }

    /// Stops the process from doing anything for this long, as a stopped or starved one. Packets wait in its socket's
    /// buffer, streams in the kernel. Pausing a paused process prolongs its pause.
    pub fn pause(&mut self, host: HostId, span: Duration) {
        let until = self.now + span;
        let it = &mut self.hosts[host.index()];
        if it.node.is_none() || it.paused_until.is_some_and(|already| already >= until) {
            return;
        }
        it.paused_until = Some(until);
        let process = ProcessId { host, life: it.life };
        self.tally.pauses += 1;
        self.schedule(until, Happening::Resume { process, until });
    }

    /// Makes a machine slow for this long: each input takes its process this much time, one after the other, timers too.
    /// What arrives meanwhile waits in its socket's buffer. The last call holds.
    pub fn slow(&mut self, host: HostId, each: Duration, span: Duration) {
        let it = &mut self.hosts[host.index()];
        it.each_takes = each;
        it.slowdowns += 1;
        let number = it.slowdowns;
        self.tally.slowdowns += 1;
        self.schedule(self.now + span, Happening::SlowEnds { host, number });
    }

    /// Gives a host a clock, for all processes that are started on it from now on.
    ///
    /// # Panics
    /// When a process is running there: no clock goes another way while somebody reads it.
    pub fn set_clock(&mut self, host: HostId, clock: Clock) {
        let it = &mut self.hosts[host.index()];
        assert!(it.node.is_none(), "a process reads the clock of {host:?}");
        it.clock = clock;
    }

    /// Gives the node a command, as its application would, and does what follows from it. `None` when no process is
    /// running, or when it is paused.
    pub fn command<R>(&mut self, host: HostId, command: impl FnOnce(&mut Node, Time) -> R) -> Option<R> {
        let now = self.now;
        let it = &mut self.hosts[host.index()];
        if it.paused_until.is_some() {
            return None;
        }
        let result = command(it.node.as_mut()?, it.clock.shows(now));
        self.drain(host);
        Some(result)
    }

    /// Tells the node to leave, and ends its process when the leave is complete.
    ///
    /// # Errors
    /// As [`Node::leave`].
    pub fn leave(&mut self, host: HostId) -> Option<Result<OpId, CommandError>> {
        // The end of a leave may be among the very next outputs, so the number must be known before they are taken.
        let now = self.now;
        let it = &mut self.hosts[host.index()];
        if it.paused_until.is_some() {
            return None;
        }
        let result = it.node.as_mut()?.leave(it.clock.shows(now));
        if let Ok(op) = &result {
            it.last_leave = Some(*op);
            self.leave_on_disk(host);
        }
        self.drain(host);
        Some(result)
    }

    /// Splits these hosts off from all others, and counts it.
    pub fn partition(&mut self, hosts: &[HostId]) {
        self.tally.partitions += 1;
        self.network.isolate(hosts);
    }

    /// Cuts one direction between two hosts, and counts it.
    pub fn cut_one_way(&mut self, from: HostId, to: HostId) {
        self.tally.partitions += 1;
        self.network.cut_one_way(from, to);
    }

    /// Plants a bug in the processes of a host, those that run later too. For tests of what looks on.
    pub fn sabotage(&mut self, host: HostId, saboteur: impl Saboteur + 'static) {
        self.hosts[host.index()].saboteur = Some(Box::new(saboteur));
    }

    /// Makes a fault between some hosts, which lasts until it is ended or the network is healed.
    pub fn begin_fault(&mut self, fault: LinkFault) -> FaultId {
        self.tally.link_faults += 1;
        self.tally.partitions += u64::from(matches!(fault.effect, Effect::Cut));
        let flapping = fault.flapping;
        let id = self.network.add(fault);
        if let Some(flapping) = flapping {
            self.schedule(self.now + flapping.on, Happening::Flap { fault: id });
        }
        id
    }

    /// Makes a fault between some hosts that ends by itself.
    pub fn fault_for(&mut self, fault: LinkFault, span: Duration) -> FaultId {
        let id = self.begin_fault(fault);
        self.schedule(self.now + span, Happening::FaultEnds { fault: id });
        id
    }

    /// Ends a fault. False if it had ended already.
    pub fn end_fault(&mut self, fault: FaultId) -> bool {
        self.network.remove(fault)
    }

    pub(crate) fn flap(&mut self, fault: FaultId) {
        let Some((on, span)) = self.network.flap(fault) else { return };
        self.tally.flaps += u64::from(on);
        // A fault that is there or away for no time at all would stop the clock.
        self.schedule(self.now + span.max(Duration::from_millis(1)), Happening::Flap { fault });
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The network, to change its quality or to heal it.
    pub fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    // ---- time ----

    /// Lets the next thing happen. False when nothing ever will, or when the observer has seen enough.
    pub fn step(&mut self) -> bool {
        if self.observer.halted() {
            return false;
        }
        self.step_until(Time::NEVER)
    }

    /// Lets the next thing happen, unless that is later than this.
    fn step_until(&mut self, until: Time) -> bool {
        let Some((at, what)) = self.schedule.take(until) else { return false };
        debug_assert!(at >= self.now, "time went back from {} to {at}", self.now);
        self.now = at;
        self.happen(what);
        true
    }

    /// Lets everything happen up to and including this moment, and sets the clock to it.
    pub fn run_to(&mut self, until: Time) {
        while !self.observer.halted() && self.step_until(until) {}
        if self.observer.halted() {
            return;
        }
        self.now = self.now.max(until);
    }

    /// Lets this much time pass.
    pub fn run_for(&mut self, span: Duration) {
        self.run_to(self.now + span);
    }

    /// Lets time pass until the condition holds, at most this long; it is looked at every 50 ms of virtual time. True if
    /// it came to hold.
    pub fn run_until(&mut self, at_most: Duration, mut condition: impl FnMut(&Self) -> bool) -> bool {
        let deadline = self.now + at_most;
        loop {
            if condition(self) {
                return true;
            }
            if self.now >= deadline || self.observer.halted() {
                return false;
            }
            self.run_to((self.now + Duration::from_millis(50)).min(deadline));
        }
    }

    // ---- getters ----

    /// The time now.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The seed that everything is drawn from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// All hosts, in the order in which they were added.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> + use<O> {
        (0..self.hosts.len() as u32).map(HostId)
    }

    /// The node running on a host.
    pub fn node(&self, host: HostId) -> Option<&Node> {
        self.hosts[host.index()].node.as_deref()
    }

    /// The process running on a host.
    pub fn process(&self, host: HostId) -> Option<ProcessId> {
        let it = &self.hosts[host.index()];
        it.node.is_some().then_some(ProcessId { host, life: it.life })
    }

    /// Whether the process on a host is paused.
    pub fn is_paused(&self, host: HostId) -> bool {
        self.hosts[host.index()].paused_until.is_some()
    }

    /// A host's address.
    pub fn addr(&self, host: HostId) -> SocketAddr {
        self.hosts[host.index()].config.advertise
    }

    /// Whether the last process on a host ended because its own core told it to.
    pub fn was_stopped(&self, host: HostId) -> bool {
        self.hosts[host.index()].was_stopped
    }

    /// Gives a host other keys, for the processes that are started on it from now on. A key ring file on its disk has its own.
    pub fn set_keyring(&mut self, host: HostId, keyring: Keyring) {
        self.hosts[host.index()].config.keyring = keyring;
    }

    /// The name of a host's processes.
    pub fn name(&self, host: HostId) -> &str {
        &self.hosts[host.index()].config.name
    }

    /// A hash of everything that every node has put out so far.
    pub fn trace_hash(&self) -> TraceHash {
        self.trace.hash()
    }

    /// What has really happened so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Who looks on.
    pub fn observer(&self) -> &O {
        &self.observer
    }

    /// Who looks on.
    pub fn observer_mut(&mut self) -> &mut O {
        &mut self.observer
    }

    // ---- within ----

    pub(crate) fn schedule(&mut self, at: Time, what: Happening) {
        self.schedule.add(at.max(self.now), what);
    }

    /// Ends the process on a host: its node is dropped, its streams close or go silent.
    pub(crate) fn end(&mut self, host: HostId, ending: Ending) {
        let it = &mut self.hosts[host.index()];
        if it.node.take().is_none() {
            return;
        }
        let process = ProcessId { host, life: it.life };
        it.paused_until = None;
        it.working = false;
        it.was_stopped = ending == Ending::Stopped;
        it.deferred.clear();
        it.gate = None;
        it.wake = None;
        it.last_leave = None;
        if ending == Ending::Left {
            self.tally.leaves += 1;
        }
        self.close_disk(host, ending);
        self.drop_streams(host, ending);
        self.observer.stopped(self.now, process, ending);
    }
}
