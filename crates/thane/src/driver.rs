//! The driver: one task that owns the core and the sockets.
//!
//! It does what the core's contract says: give it one input, take all its outputs, wait for the next input or the next
//! deadline. There are no decisions about the protocol here.
//!
//! Order matters in one place. A node that was busy, or paused, finds packets and an expired timeout at the same time, and
//! the packets may hold the very ack that the timeout is about. So whatever woke the loop, it first takes the packets and
//! stream events that are here (up to a limit, so that a flood cannot stop the clock), and only then judges timeouts.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use thane_core::{
    BroadcastTimeout, CommandError, Config, Input, JoinFailure, KeyCommand, KeyReport, Keyring, Measure,
    Measurements, Node as Core, OpId, Outcome, Output, Prune, QueryId, QueryReply, QueryToken, Replay,
    RespondError, Seed, StreamFailure, StreamId, Tags, Time,
};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::addr;
use crate::advertise;
use crate::error::StartError;
use crate::events::{Event, Events, Hub};
use crate::keyring_file::KeyringWriter;
use crate::log;
use crate::machine::Machine;
use crate::node::{Coalesce, Inner, Last, Node, Stopped};
use crate::query::{Asker, Query, QueryReplies};
use crate::recorder;
use crate::resolve::Resolver;
use crate::snapshot::{self, SnapshotWriter};
use crate::sockets::{self, Sockets};
use crate::streams::{self, StreamEvent, Streams, What};

/// Commands that wait for the driver; further callers wait their turn.
const COMMANDS_MAX: usize = 64;
/// Commands that take time and are under way; the driver takes no further ones then.
const PENDING_MAX: usize = 1024;
/// Packets taken between two looks at the clock.
const PACKETS_AT_ONCE_MAX: usize = 64;
/// Stream events taken between two looks at the clock.
const STREAM_EVENTS_AT_ONCE_MAX: usize = 64;
/// The largest UDP payload there is.
const PACKET_BYTES_MAX: usize = 65_535;
/// Failures to send or write that are reported to the core after one input.
const FAILURES_AT_ONCE_MAX: usize = 64;
/// Most rounds of gossip with nothing to say that are measured for one time of sleep.
const ROUNDS_MEASURED_MAX: u64 = 1000;
/// The longest sleep: long enough to cost nothing, short enough for every timer implementation.
const SLEEP_MAX: Duration = Duration::from_secs(3600);
/// Timers that are overdue for this long tell of a stop or of starvation. Those of the runtime are exact to a millisecond or two.
const LATE: Duration = Duration::from_millis(5);
/// First and longest pause after a socket reported an error of its own, such as too many open files.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What a handle asks of the driver.
pub(crate) enum Command {
    Join { addrs: Vec<SocketAddr>, replay: Replay, reply: Reply<Result<JoinOutcome, CommandError>> },
    SetSeeds { names: Vec<String>, reply: Reply<()> },
    Leave { reply: Reply<Result<(), CommandError>> },
    ForceLeave { name: String, prune: Prune, reply: Reply<Settled> },
    UserEvent { name: String, payload: Bytes, coalesce: Coalesce, reply: Reply<Result<u64, CommandError>> },
    SetTags { tags: Tags, reply: Reply<Settled> },
    Query { query: Query, reply: Reply<Result<QueryReplies, CommandError>> },
    Respond { query: QueryToken, payload: Bytes, reply: Reply<Result<(), RespondError>> },
    Keys { command: KeyCommand, relay_factor: u8, reply: Reply<Result<KeyReport, CommandError>> },
    Read(Box<dyn FnOnce(&Core) + Send>),
    ReadIo { reply: Reply<IoCounters> },
    TakeMeasurements { reply: Reply<Measurements> },
}

type Reply<T> = oneshot::Sender<T>;
type Settled = Result<Result<(), BroadcastTimeout>, CommandError>;

/// What came of a join, by address.
#[derive(Debug)]
pub(crate) struct JoinOutcome {
    pub(crate) contacted: usize,
    pub(crate) failed: Vec<JoinFailure>,
}

/// Counts of what happened between the operating system and the protocol. Each only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct IoCounters {
    /// Packets dropped because the operating system had no room to send them.
    pub packets_unsent: u64,
    /// Packets that the operating system refused to send.
    pub send_errors: u64,
    /// Errors when receiving packets; most are late news of earlier ones that could not be delivered.
    pub receive_errors: u64,
    /// Errors when accepting streams, such as too many open files.
    pub accept_errors: u64,
    /// Streams closed because there were too many, or because too much waited to be written.
    pub streams_overflowed: u64,
    /// Lines of the snapshot that were left out because the disk was slow. The whole state is written afterwards.
    pub snapshot_records_lost: u64,
    /// Events left out because a subscriber did not read, one for each such subscriber.
    pub events_missed: u64,
    /// Inputs of the core that came after the recording had ended: at its size limit, or because the disk was slow or failed.
    pub inputs_unrecorded: u64,
}

/// The files that a node keeps.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Where changes of the key ring are written.
    pub(crate) keyring: Option<PathBuf>,
    /// What is known of the node's earlier life, and where it goes on being written.
    pub(crate) snapshot: Option<snapshot::Opened>,
    /// Where all that the core is told is written.
    pub(crate) recording: Option<recorder::Opened>,
}

/// Names of others, and who tells what they stand for.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) resolver: Resolver,
    /// Those to find the cluster by.
    pub(crate) seeds: Vec<String>,
}

/// Starts a node on sockets that are open.
pub(crate) fn start(
    config: Config,
    seed: Seed,
    sockets: Sockets,
    files: Files,
    names: Names,
) -> Result<(Node, Events), StartError> {
    let start = Instant::now();
    let flush_max = config.tcp_timeout;
    let mut core = Machine::new(config, seed, files.recording)?;
    let snapshot = match files.snapshot {
        Some(opened) => {
            let restored = opened.restored(&core.config().name);
            core.handle(Time::ZERO, Input::Restore(restored));
            Some(opened.start()?)
        }
        None => None,
    };
    warn_of_openness(core.config());
    let (commands_in, commands) = mpsc::channel(COMMANDS_MAX);
    let (stop_in, stop) = watch::channel(false);
    let (stopped_in, stopped) = watch::channel(None);
    let hub = Arc::new(Hub::default());
    let events = hub.subscribe();
    let last = Arc::new(OnceLock::new());
    let node = Node::new(Inner {
        name: core.config().name.clone(),
        local_addr: sockets.addr,
        advertise_addr: core.config().advertise,
        networks: core.config().networks.clone(),
        start,
        first_self: core.local(),
        commands: commands_in.clone(),
        stop: stop_in,
        stopped,
        last: Arc::clone(&last),
        hub: Arc::clone(&hub),
        resolver: names.resolver.clone(),
    });
    core.handle(Time::ZERO, Input::SeedsChanged { count: names.seeds.len() });
    let driver = Driver {
        core,
        start,
        sockets,
        packet: vec![0; PACKET_BYTES_MAX],
        streams: Streams::new(flush_max),
        commands,
        commands_in,
        stop,
        hub: Arc::clone(&hub),
        pending: BTreeMap::new(),
        askers: BTreeMap::new(),
        abandoned: Arc::new(Notify::new()),
        keyring: files.keyring.map(KeyringWriter::start),
        snapshot,
        names,
        lookups: JoinSet::new(),
        unresolved: Vec::new(),
        failures: Failures::default(),
        sends_held: false,
        io: IoCounters::default(),
        measurements: None,
        receive_pause: Pause::default(),
        accept_pause: Pause::default(),
        must_stop: None,
    };
    tokio::spawn(supervise(driver, Ending { hub, last, stopped: stopped_in }));
    Ok((node, events))
}

/// Serf warns of this too. (memberlist: `memberlist.go`, `setAlive`.)
fn warn_of_openness(config: &Config) {
    if config.keyring.is_empty() && advertise::is_public(config.advertise.ip()) {
        tracing::warn!(target: "thane::memberlist", kind = "public_unencrypted", "{} is a public address and encryption is off: anybody who reaches it can join this cluster; give all nodes a key", config.advertise);
    }
}

/// Runs the driver in a task of its own, so that a panic, which is a bug of ours, ends this node and nothing else.
async fn supervise(driver: Driver, ending: Ending) {
    let stopped = match tokio::spawn(driver.run()).await {
        Ok((stopped, last)) => {
            // Nobody else sets it.
            _ = ending.last.set(last);
            stopped
        }
        Err(error) => {
            let text = match error.try_into_panic() {
                Ok(panic) => format!("a bug in thane, please report it: {}", panic_text(&*panic)),
                Err(error) => error.to_string(),
            };
            tracing::error!(target: "thane::driver", kind = "node_failed", "the node has stopped: {text}");
            Stopped::Failed(text)
        }
    };
    ending.end();
    ending.stopped.send_replace(Some(stopped));
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic without a text")
}

/// What must happen when the node has stopped, even if only because the runtime is dropped under it.
struct Ending {
    hub: Arc<Hub>,
    last: Arc<OnceLock<Last>>,
    stopped: watch::Sender<Option<Stopped>>,
}

impl Ending {
    fn end(&self) {
        self.hub.end(&mut || self.last.get().map(|last| last.core.members().collect()).unwrap_or_default());
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.end();
    }
}

/// The task's state.
struct Driver {
    core: Machine,
    /// Zero on the core's clock.
    start: Instant,
    sockets: Sockets,
    /// Where packets are received.
    packet: Vec<u8>,
    streams: Streams,
    commands: mpsc::Receiver<Command>,
    /// Given to each query that is delivered, for its answer.
    commands_in: mpsc::Sender<Command>,
    stop: watch::Receiver<bool>,
    hub: Arc<Hub>,
    /// Who waits for the end of which command.
    pending: BTreeMap<OpId, Pending>,
    /// Who waits for replies to which query.
    askers: BTreeMap<QueryId, Asker>,
    /// One of them may have stopped waiting.
    abandoned: Arc<Notify>,
    keyring: Option<KeyringWriter>,
    snapshot: Option<SnapshotWriter>,
    names: Names,
    /// The seeds that are being looked up: one task at most.
    lookups: JoinSet<Found>,
    /// What was told of seeds that stand for nothing.
    unresolved: Vec<String>,
    /// What went wrong while doing what the core said, to be told to it afterwards.
    failures: Failures,
    /// The UDP socket took no more packets when last tried, and has not said that it does again.
    sends_held: bool,
    io: IoCounters,
    /// What we measured ourselves; `None` until somebody wants to know.
    measurements: Option<Measurements>,
    receive_pause: Pause,
    accept_pause: Pause,
    must_stop: Option<Stopped>,
}

/// What the seeds stand for.
#[derive(Debug, Default)]
struct Found {
    addrs: Vec<SocketAddr>,
    /// Why some stand for nothing.
    unresolved: Vec<String>,
}

enum Pending {
    Join(Reply<Result<JoinOutcome, CommandError>>),
    Leave(Reply<Result<(), CommandError>>),
    Settle(Reply<Settled>),
    Keys(Reply<Result<KeyReport, CommandError>>),
}

enum Failure {
    Send {
        to: SocketAddr,
        error: String,
    },
    Stream {
        stream: StreamId,
        failure: StreamFailure,
    },
    Keyring {
        token: u64,
        result: Result<(), String>,
    },
    /// The UDP socket takes no more packets for now.
    SendsHeld,
}

/// What went wrong and has not been told yet.
#[derive(Default)]
struct Failures {
    /// The UDP socket takes no more packets for now.
    sends_held: bool,
    others: VecDeque<Failure>,
}

impl Failures {
    /// The next one to tell, if `told` of them have been told after this input.
    ///
    /// That packets are held is told in any case, and so before it can be told that they leave again: the core would otherwise wait
    /// for that for ever. The others have to wait for the next input at some point, since doing what the core says may fail
    /// again and again.
    fn next(&mut self, told: usize) -> Option<Failure> {
        if std::mem::take(&mut self.sends_held) {
            return Some(Failure::SendsHeld);
        }
        if told < FAILURES_AT_ONCE_MAX { self.others.pop_front() } else { None }
    }
}

impl Driver {
    async fn run(mut self) -> (Stopped, Last) {
        // A fresh socket counts as not writable until the runtime has looked; the first packets would be dropped.
        if let Err(error) = self.sockets.udp.writable().await {
            tracing::debug!(target: "thane::driver", kind = "udp_writable", %error, "the UDP socket is not ready");
        }
        self.drain();
        let stopped = self.serve().await;
        // Nobody gets an answer any more.
        self.askers.clear();
        self.io.events_missed = self.hub.missed();
        self.streams.shutdown().await;
        if let Some(keyring) = self.keyring.take() {
            keyring.finish().await;
        }
        if let Some(mut snapshot) = self.snapshot.take() {
            snapshot.catch_up(&self.core);
            self.io.snapshot_records_lost = snapshot.lost();
            snapshot.finish().await;
        }
        tracing::debug!(target: "thane::driver", kind = "node_stopped", "the node has stopped: {stopped:?}");
        self.io.inputs_unrecorded = self.core.unrecorded();
        (stopped, Last { core: self.core.finish().await, io: self.io })
    }

    async fn serve(&mut self) -> Stopped {
        let sleep = tokio::time::sleep_until(self.start);
        tokio::pin!(sleep);
        loop {
            if let Some(stopped) = self.must_stop.take() {
                return stopped;
            }
            sleep.as_mut().reset(self.wake_at());
            tokio::select! {
                requested = self.stop.changed() => {
                    return if requested.is_ok() { Stopped::Requested } else { Stopped::Dropped };
                }
                // The packets are taken below, whatever woke us.
                ready = self.sockets.udp.readable(), if self.receive_pause.is_over() => {
                    if let Err(error) = ready {
                        self.receive_failed(&error);
                    }
                }
                // After an error, too, packets are tried again: they then tell what is wrong.
                _ready = self.sockets.udp.writable(), if self.sends_held => {
                    self.sends_held = false;
                    self.core.handle(self.now(), Input::SendsResumed);
                    self.drain();
                }
                accepted = self.sockets.tcp.accept(), if self.accept_pause.is_over() => self.accepted(accepted),
                Some(event) = self.streams.events.recv() => self.stream_event(event),
                Some(ended) = self.streams.tasks.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(target: "thane::driver", kind = "stream_failed", %error, "a stream has stopped: a bug in thane, please report it");
                    }
                }
                Some(command) = self.commands.recv(), if self.pending.len() < PENDING_MAX => self.command(command),
                () = self.hub.marker_wanted.notified() => self.hub.mark(&mut || self.core.members().collect()),
                () = self.abandoned.notified() => self.forget_abandoned_queries(),
                Some(found) = self.lookups.join_next() => self.seeds_looked_up(found),
                Some((token, result)) = written(&mut self.keyring) => {
                    self.core.handle(self.now(), Input::KeyringPersisted { token, result });
                    self.drain();
                }
                () = &mut sleep => {}
            }
            if self.now().since(self.core.poll_timeout()) >= LATE {
                // A process that goes on after a stop is told of its timers first and of its sockets only at the next turn of the runtime (the
                // stop interrupts its wait). The answers that arrived meanwhile must count before the time in which they did not come.
                tokio::task::yield_now().await;
            }
            let busy = self.receive_packets() | self.receive_stream_events();
            let now = self.now();
            if self.core.poll_timeout() <= now {
                self.timeout(now);
            }
            if busy {
                // A socket that always has more would keep this task running for ever, and the runtime's thread with
                // it: our streams' tasks, and those of the application, get their turn.
                tokio::task::yield_now().await;
            }
        }
    }

    fn now(&self) -> Time {
        Time::from_start(self.start.elapsed())
    }

    /// Has the core do what is due. What that took is a round of gossip's time if there was one: its packets are what is
    /// sent then.
    fn timeout(&mut self, now: Time) {
        let rounds = self.core.counters().gossip_rounds;
        self.core.handle(now, Input::Timeout);
        self.drain();
        let rounds = self.core.counters().gossip_rounds - rounds;
        if rounds > 0 {
            let took = self.now().since(now);
            if let Some(measurements) = &mut self.measurements {
                // Those before the last one were slept through, with nothing to say.
                for _ in 1..rounds.min(ROUNDS_MEASURED_MAX) {
                    measurements.add_time(Measure::GossipRound, Duration::ZERO);
                }
                measurements.add_time(Measure::GossipRound, took);
            }
        }
    }

    /// The next moment at which something must be done by the clock.
    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let core = now + self.core.poll_timeout().since(self.now()).min(SLEEP_MAX);
        // A pause that is over needs no waking; it is forgotten when the socket works again.
        let pauses = [self.receive_pause.until, self.accept_pause.until].into_iter().flatten();
        pauses.filter(|until| *until > now).fold(core, Instant::min)
    }

    // ---- inputs ----

    /// Takes the packets that are here; true if there may be more.
    fn receive_packets(&mut self) -> bool {
        for _ in 0..PACKETS_AT_ONCE_MAX {
            if !self.receive_pause.is_over() {
                return false;
            }
            match self.sockets.udp.try_recv_from(&mut self.packet) {
                Ok((bytes, from)) => {
                    self.receive_pause.clear();
                    let packet = Bytes::copy_from_slice(&self.packet[..bytes]);
                    self.core.handle(self.now(), Input::Packet { from: sockets::canonical(from), packet });
                    self.drain();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => self.receive_failed(&error),
            }
        }
        true
    }

    fn receive_failed(&mut self, error: &io::Error) {
        self.io.receive_errors += 1;
        tracing::debug!(target: "thane::driver", kind = "receive_error", %error, "a packet could not be received");
        // Some systems report here that an earlier packet found nobody. That is no reason to stop listening.
        if !matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset) {
            self.receive_pause.begin();
        }
    }

    /// Takes the stream events that are here; true if there may be more.
    fn receive_stream_events(&mut self) -> bool {
        for _ in 0..STREAM_EVENTS_AT_ONCE_MAX {
            match self.streams.events.try_recv() {
                Ok(event) => self.stream_event(event),
                Err(_none) => return false,
            }
        }
        true
    }

    fn stream_event(&mut self, StreamEvent { stream, what }: StreamEvent) {
        // The core may have closed it while this was on its way.
        if !self.streams.is_open(stream) {
            return;
        }
        let now = self.now();
        match what {
            What::Connected => {
                self.streams.connected(stream);
                self.core.handle(now, Input::StreamConnected { stream });
            }
            What::Data(bytes) => _ = self.core.handle(now, Input::StreamData { stream, bytes }),
            What::Ended => _ = self.core.handle(now, Input::StreamEnded { stream }),
            What::Failed(failure) => {
                self.streams.abort(stream);
                self.core.handle(now, Input::StreamFailed { stream, failure });
            }
        }
        self.drain();
    }

    fn accepted(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        let (socket, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                self.io.accept_errors += 1;
                self.accept_pause.begin();
                tracing::warn!(target: "thane::driver", kind = "accept_error", "Error accepting TCP connection: {error}; if it says too many open files, raise the limit (ulimit -n)");
                return;
            }
        };
        self.accept_pause.clear();
        if !self.streams.has_room() {
            self.overflowed(from);
            return;
        }
        // `None`: the core has said why. The socket is closed without a word.
        let from = sockets::canonical(from);
        if let Some(stream) = self.core.accept(self.now(), Input::StreamAccepted { from }) {
            // There is room, as just seen.
            _ = self.streams.accept(stream, socket);
        }
        self.drain();
    }

    fn overflowed(&mut self, peer: SocketAddr) {
        self.io.streams_overflowed += 1;
        tracing::debug!(target: "thane::driver", kind = "stream_overflow", %peer, "too many streams, one is closed");
    }

    fn command(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Join { addrs, replay, reply } => {
                match self.core.begin(now, Input::Join { addrs, replay }) {
                    Ok(op) => _ = self.pending.insert(op, Pending::Join(reply)),
                    Err(error) => answer(reply, Err(error)),
                }
            }
            Command::Leave { reply } => match self.core.begin(now, Input::Leave) {
                Ok(op) => {
                    // Before the leave's own events: whoever leaves remembers the others as they were.
                    if let Some(snapshot) = &mut self.snapshot {
                        snapshot.leave();
                    }
                    self.pending.insert(op, Pending::Leave(reply));
                }
                Err(error) => answer(reply, Err(error)),
            },
            Command::SetSeeds { names, reply } => {
                self.core.handle(now, Input::SeedsChanged { count: names.len() });
                self.names.seeds = names;
                answer(reply, ());
            }
            Command::ForceLeave { name, prune, reply } => {
                let begun = self.core.begin(now, Input::ForceLeave { name, prune });
                self.settle(begun, reply);
            }
            Command::SetTags { tags, reply } => {
                let begun = self.core.begin(now, Input::SetTags(tags));
                self.settle(begun, reply);
            }
            Command::UserEvent { name, payload, coalesce, reply } => {
                let coalesce = coalesce == Coalesce::Yes;
                answer(reply, self.core.user_event(now, Input::UserEvent { name, payload, coalesce }));
            }
            Command::Query { query, reply } => {
                answer(reply, self.query(now, query));
            }
            Command::Respond { query, payload, reply } => {
                answer(reply, self.core.respond(now, Input::Respond { query, payload }));
            }
            Command::Keys { command, relay_factor, reply } => {
                match self.core.begin(now, Input::Keys { command, relay_factor }) {
                    Ok(op) => _ = self.pending.insert(op, Pending::Keys(reply)),
                    Err(error) => answer(reply, Err(error)),
                }
            }
            Command::Read(read) => read(&self.core),
            Command::ReadIo { reply } => {
                self.io.snapshot_records_lost = self.snapshot.as_ref().map_or(0, SnapshotWriter::lost);
                self.io.events_missed = self.hub.missed();
                self.io.inputs_unrecorded = self.core.unrecorded();
                answer(reply, self.io);
            }
            Command::TakeMeasurements { reply } => answer(reply, self.take_measurements()),
        }
        self.drain();
    }

    /// The core's measurements and our own, from the first call on.
    fn take_measurements(&mut self) -> Measurements {
        let mut taken = self.core.take_measurements();
        taken.append(std::mem::take(self.measurements.get_or_insert_default()));
        if let Some(snapshot) = &self.snapshot {
            taken.append(snapshot.take_measurements());
        }
        taken
    }

    fn settle(&mut self, begun: Result<OpId, CommandError>, reply: Reply<Settled>) {
        match begun {
            Ok(op) => _ = self.pending.insert(op, Pending::Settle(reply)),
            Err(error) => answer(reply, Err(error)),
        }
    }

    fn query(&mut self, now: Time, query: Query) -> Result<QueryReplies, CommandError> {
        let Query { name, payload, params } = query;
        let id = self.core.query(now, Input::Query { name, payload, params })?;
        let (asker, replies) = Asker::new(&self.abandoned);
        self.askers.insert(id, asker);
        Ok(replies)
    }

    fn forget_abandoned_queries(&mut self) {
        let now = self.now();
        let abandoned = self.askers.iter().filter(|(_, asker)| asker.is_abandoned());
        let abandoned: Vec<QueryId> = abandoned.map(|(query, _)| *query).collect();
        for query in abandoned {
            self.askers.remove(&query);
            self.core.handle(now, Input::CancelQuery(query));
        }
        self.drain();
    }

    // ---- outputs ----

    /// Does everything the core wants done now, and tells it what did not work.
    fn drain(&mut self) {
        self.do_outputs();
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.catch_up(&self.core);
        }
    }

    fn do_outputs(&mut self) {
        let mut told = 0;
        loop {
            while let Some(output) = self.core.poll_output() {
                self.perform(output);
            }
            let now = self.now();
            let failure = self.failures.next(told);
            told += 1;
            match failure {
                Some(Failure::Send { to, error }) => {
                    self.core.handle(now, Input::SendFailed { to, error });
                }
                Some(Failure::SendsHeld) => {
                    self.core.handle(now, Input::SendsHeld);
                }
                Some(Failure::Stream { stream, failure }) => {
                    self.core.handle(now, Input::StreamFailed { stream, failure });
                }
                Some(Failure::Keyring { token, result }) => {
                    self.core.handle(now, Input::KeyringPersisted { token, result });
                }
                None => return,
            }
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Send { to, packet } => self.send(to, &packet),
            Output::Dial { stream, to, timeout } => {
                if self.streams.dial(stream, to, timeout).is_err() {
                    self.overflowed(to);
                    let failure = StreamFailure::Other("too many streams are open".to_owned());
                    self.failures.others.push_back(Failure::Stream { stream, failure });
                }
            }
            Output::Write { stream, bytes } => {
                if self.streams.write(stream, bytes).is_err() {
                    self.io.streams_overflowed += 1;
                    self.streams.abort(stream);
                    let failure = StreamFailure::Other("too much waits to be written".to_owned());
                    self.failures.others.push_back(Failure::Stream { stream, failure });
                }
            }
            Output::Close { stream } => {
                self.streams.close(stream);
                self.failures.others.retain(
                    |failure| !matches!(failure, Failure::Stream { stream: failed, .. } if *failed == stream),
                );
            }
            Output::Event(event) => self.event(event),
            Output::Reply { query, reply } => self.reply(query, reply),
            Output::PersistKeyring { token, keyring } => self.persist_keyring(token, keyring),
            Output::Done { op, outcome } => self.done(op, outcome),
            Output::LookUpSeeds => self.look_up_seeds(),
            Output::Notice(notice) => log::tell(&notice),
            Output::Stop(reason) => self.must_stop = Some(Stopped::NameConflict(reason.to_string())),
            other => tracing::warn!(target: "thane::driver", kind = "unknown_output", "not done: {other:?}"),
        }
    }

    fn send(&mut self, to: SocketAddr, packet: &[u8]) {
        match self.sockets.udp.try_send_to(packet, sockets::as_seen_by(self.sockets.addr, to)) {
            Ok(_bytes) => {}
            // The protocol lives with loss; waiting would hold up everything else.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.io.packets_unsent += 1;
                if !self.sends_held {
                    self.sends_held = true;
                    self.failures.sends_held = true;
                }
            }
            Err(error) => {
                self.io.send_errors += 1;
                if self.failures.others.len() < FAILURES_AT_ONCE_MAX {
                    self.failures.others.push_back(Failure::Send { to, error: streams::describe(&error) });
                }
            }
        }
    }

    fn event(&mut self, event: thane_core::Event) {
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.event(&event);
        }
        match Event::from_core(event, &self.commands_in) {
            Some(event) => self.hub.publish(event),
            None => {
                tracing::warn!(target: "thane::driver", kind = "unknown_event", "an event of an unknown kind");
            }
        }
    }

    fn reply(&mut self, query: QueryId, reply: QueryReply) {
        if let Some(asker) = self.askers.get(&query)
            && !asker.tell(reply)
        {
            self.askers.remove(&query);
        }
    }

    fn look_up_seeds(&mut self) {
        let (resolver, seeds) = (self.names.resolver.clone(), self.names.seeds.clone());
        let port = self.sockets.addr.port();
        self.lookups.spawn(async move {
            let (targets, failed) = addr::resolve_join(&resolver, &seeds, port).await;
            let addrs = targets.into_iter().map(|target| target.addr).collect();
            Found { addrs, unresolved: failed.into_iter().map(|(_given, why)| why).collect() }
        });
    }

    fn seeds_looked_up(&mut self, found: Result<Found, JoinError>) {
        let Found { addrs, unresolved } = found.unwrap_or_else(|error| {
            tracing::error!(target: "thane::driver", kind = "lookup_failed", %error, "a lookup has stopped: a bug in thane, please report it");
            Found::default()
        });
        // A name that nobody has is told once, however often it is tried.
        if unresolved != self.unresolved {
            for why in &unresolved {
                tracing::warn!(target: "thane::serf", kind = "seed_unresolved", "{why}");
            }
            self.unresolved = unresolved;
        }
        self.core.handle(self.now(), Input::SeedsLookedUp { addrs });
        self.drain();
    }

    fn persist_keyring(&mut self, token: u64, keyring: Keyring) {
        let begun = match &self.keyring {
            Some(writer) => writer.write(token, keyring),
            None => Err("the node has no key ring file".to_owned()),
        };
        if begun.is_err() {
            self.failures.others.push_back(Failure::Keyring { token, result: begun });
        }
    }

    fn done(&mut self, op: OpId, outcome: Outcome) {
        match (self.pending.remove(&op), outcome) {
            (Some(Pending::Join(reply)), Outcome::Join { contacted, failed }) => {
                answer(reply, Ok(JoinOutcome { contacted, failed }));
            }
            (Some(Pending::Leave(reply)), Outcome::Leave) => answer(reply, Ok(())),
            (Some(Pending::Settle(reply)), Outcome::ForceLeave(result) | Outcome::SetTags(result)) => {
                answer(reply, Ok(result));
            }
            (Some(Pending::Keys(reply)), Outcome::Keys(report)) => answer(reply, Ok(report)),
            (pending, outcome) => {
                // The core answers each command once and in kind; dropping the reply tells the caller otherwise.
                debug_assert!(false, "{op:?} ended as {outcome:?}, known: {}", pending.is_some());
                tracing::error!(target: "thane::driver", kind = "unknown_outcome", "{op:?} ended as {outcome:?}: a bug in thane, please report it");
            }
        }
    }
}

/// What the writer of the key ring has done; never, if there is none.
async fn written(keyring: &mut Option<KeyringWriter>) -> Option<(u64, Result<(), String>)> {
    match keyring {
        Some(keyring) => keyring.written().await,
        None => std::future::pending().await,
    }
}

/// Answers a caller, who may have given up.
fn answer<T>(reply: Reply<T>, value: T) {
    drop(reply.send(value));
}

/// A pause after errors of a socket, doubled from one to the next.
#[derive(Debug, Default)]
struct Pause {
    until: Option<Instant>,
    length: Duration,
}

impl Pause {
    fn begin(&mut self) {
        self.length = (self.length * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        self.until = Some(Instant::now() + self.length);
    }

    /// Whether there is none, or it has passed.
    fn is_over(&self) -> bool {
        self.until.is_none_or(|until| until <= Instant::now())
    }

    /// The socket works again.
    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests;
