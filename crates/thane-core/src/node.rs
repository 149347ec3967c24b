//! The node: one member of the cluster, and everything it knows.
//!
//! This file holds the state, the entry points and the helpers that every part uses. The protocol itself is in the parts:
//!
//! | part | what |
//! | --- | --- |
//! | `packets` | a packet's way in, pings and acks, sending |
//! | `membership` | alive, suspect, dead, refutation: the detector's state machine |
//! | `probe` | who is probed when, and what follows |
//! | `look` | looking for oneself at whoever is accused or refuses connections |
//! | `steady` | members that answer only now and then |
//! | `gossip` | rounds, piggyback, what goes into a packet |
//! | `held` | when packets cannot leave for a while |
//! | `streams` | TCP exchanges from dial to close |
//! | `push_pull` | full state: writing it and merging it |
//! | `newcomers` | full state out of turn, while many are new to each other |
//! | `recent_intents` | intents about names that are not members yet |
//! | `status` | Serf's view of members: hooks from the detector, intents, reaping, reconnecting |
//! | `commands` | join, leave, force-leave, tags: commands that take time |
//! | `user_events` | user events |
//! | `coordinates` | coordinates in acks |
//! | `queries` | queries that arrive: delivering, answering, relaying |
//! | `asking` | queries of our own and their replies |
//! | `conflict` | the vote over our name |
//! | `keys` | key management over the cluster |
//! | `rejoin` | finding the cluster again after a restart or a long partition |
//! | `seeds` | finding it by names, when nobody else is left |
//! | `occupancy` | how full everything is, and its limits |
//! | `evidence` | why members are in their states, and what was dropped |

mod asking;
mod commands;
mod conflict;
mod coordinates;
mod evidence;
mod gossip;
mod held;
mod keys;
mod look;
mod membership;
mod newcomers;
mod occupancy;
mod packets;
mod probe;
mod push_pull;
mod queries;
mod recent_intents;
mod rejoin;
mod seeds;
mod status;
mod steady;
mod streams;
mod user_events;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thane_wire::Keyring;
use thane_wire::packet::{Codec, CodecConfig};
use thane_wire::tags::Tags;

use self::asking::Asking;
use self::commands::Op;
pub use self::evidence::{DroppedPacket, Evidence};
use self::gossip::{GossipClock, Spread};
use self::held::Held;
use self::keys::PersistingTable;
use self::look::{Look, Looks};
use self::newcomers::Newcomers;
pub use self::occupancy::Occupancy;
use self::packets::RelayedPing;
use self::probe::Prober;
use self::queries::{Delivered, QueryBuffer};
use self::recent_intents::RecentIntents;
pub(crate) use self::rejoin::LOST_MAX;
use self::rejoin::Rejoin;
use self::seeds::Seeds;
use self::steady::Steadiness;
use self::streams::Stream;
use self::user_events::EventBuffer;
use crate::awareness::Awareness;
use crate::broadcast_queue::BroadcastQueue;
use crate::config::{Config, ConfigError};
use crate::entry::Entry;
use crate::event::{Cause, Change, Event};
use crate::interner::Announced;
use crate::lamport::LamportClock;
use crate::measure::{Measure, Measurements};
use crate::member::{Member, State, Status};
use crate::notice::{Layer, Level, Notice};
use crate::notice_limit::NoticeLimit;
use crate::output::{CommandError, OpId, Output, StreamId};
use crate::pattern::PatternCache;
use crate::query::{KeyCommand, QueryId, QueryParams, QueryToken, RespondError};
use crate::rng::{Rng, Seed};
use crate::shared_state::OwnRoll;
use crate::stats::{Counters, Stats};
use crate::table::{MemberId, Table};
use crate::time::Time;
use crate::timers::{Timer, Timers};
use crate::vivaldi::VivaldiClient;

/// Where the local node stands between start and stop. (Serf: `serf.go`, `SerfState`.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifeState {
    /// Running.
    Alive,
    /// A graceful leave is under way.
    Leaving,
    /// The leave is complete; the node still answers probes until it is dropped.
    Left,
}

/// Whether a join wants the user events that happened before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// Deliver what the peers still remember.
    Old,
    /// Only what happens from now on.
    Ignore,
}

/// Whether a force-leave also erases the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// Forget the member at once.
    Erase,
    /// Keep it as left until the tombstone timeout.
    Keep,
}

/// Why the operating system could not open or keep a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamFailure {
    /// The connection was refused: the host is there, nobody listens.
    Refused(String),
    /// No answer in time.
    TimedOut(String),
    /// Anything else, in its words.
    Other(String),
}

/// One member of the cluster, as a state machine. See the crate's documentation for how to drive it.
#[derive(Debug)]
pub struct Node {
    config: Config,
    codec: Codec,
    rng: Rng,
    now: Time,
    timers: Timers,
    outputs: VecDeque<Output>,
    /// Packets so far in which users' messages went along; every fourth is theirs first.
    mixed_packets: u32,
    /// Whether we have exchanged state with anybody in this life, or knew others in the last one.
    has_cluster: bool,
    /// Whether what is being merged is the first that we hear, and news to nobody else (see `push_pull`).
    catching_up: bool,
    /// Who has come since the last exchange of state.
    newcomers: Newcomers,
    counters: Counters,
    /// What was measured and not taken yet; `None` until somebody wants to know.
    measurements: Option<Measurements>,
    /// Size of our state as it was last sent.
    local_state_bytes: usize,
    notice_limit: NoticeLimit,

    life: LifeState,
    /// Whether the detector's half of the leave is done: from then on, what is said about us is no longer answered.
    said_goodbye: bool,
    table: Table,
    own: MemberId,
    /// The last incarnation of ours that was issued. Only ever raised.
    own_incarnation: u32,
    /// Our tags as the wire has them.
    own_meta: Bytes,
    awareness: Awareness,
    prober: Prober,
    /// Set while packets cannot leave.
    held: Option<Held>,
    looks: Looks,
    steadiness: Steadiness,
    /// When a member was last pinged out of turn.
    last_glance: Option<Time>,
    spread: Spread,
    relayed_pings: BTreeMap<u32, RelayedPing>,
    next_seq: u32,
    gossip_clock: GossipClock,
    next_suspicion: u64,
    /// When a member was last told of what we hold against it (see `membership`), so that it is told once an interval.
    reminded: BTreeMap<MemberId, Time>,
    /// For operators: whose packets are not understood.
    last_dropped_packet: Option<DroppedPacket>,
    /// Our place in the network; `None` when coordinates are turned off.
    vivaldi: Option<VivaldiClient>,

    /// For exchanges with nodes of the same process.
    own_roll: OwnRoll,
    streams: BTreeMap<StreamId, Stream>,
    next_stream: u64,
    ops: BTreeMap<OpId, Op>,
    next_op: u64,

    /// Statements about members, one a member.
    statements: BroadcastQueue,
    /// Serf's three queues. Their messages carry memberlist's user type byte already.
    intents: BroadcastQueue,
    queries: BroadcastQueue,
    events: BroadcastQueue,

    member_clock: LamportClock,
    event_clock: LamportClock,
    query_clock: LamportClock,
    recent_intents: RecentIntents,
    /// Members that are leaving and are to be erased once they have left.
    awaiting_prune: BTreeSet<Arc<str>>,
    event_buffer: EventBuffer,
    query_buffer: QueryBuffer,
    /// The expressions of query filters seen last.
    patterns: PatternCache,
    asking: Asking,
    delivered: Delivered,
    /// Key ring changes that are made and wait to be written, before they are answered.
    persisting: PersistingTable,
    next_persist: u64,
    rejoin: Rejoin,
    seeds: Seeds,
}

/// A node that was not woken for this much longer than it asked for takes itself for paused (stopped, swapped out, starved), when
/// this is longer than its probe interval.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Room for outputs that is kept from one input to the next.
const OUTPUTS_KEPT: usize = 64;
/// Above this size the invariants, which look at every member, are no longer checked after every input of a debug build.
const CHECKED_MEMBERS_MAX: usize = 48;

impl Node {
    /// A node of its own, alone in its cluster until [`Node::join`] or until somebody joins it.
    ///
    /// # Errors
    /// Every problem of the configuration.
    pub fn new(config: Config, seed: Seed, now: Time) -> Result<Self, Vec<ConfigError>> {
        config.validate()?;
        let codec = Codec::new(CodecConfig {
            label: config.label.clone(),
            keyring: config.keyring.clone(),
            verify_incoming: config.verify_incoming,
            verify_outgoing: config.verify_outgoing,
            compression: config.compression,
            padded_envelopes: false,
            skip_inbound_label_check: config.skip_inbound_label_check,
        })
        .map_err(|_too_long| {
            let value = format!("{} bytes", config.label.len());
            vec![ConfigError { field: "label", value, rule: "must have at most 255 bytes" }]
        })?;
        let vivaldi = config.coordinates.then(VivaldiClient::default);
        let mut rng = Rng::new(seed);
        let mut table = Table::new(seed, config.interner.clone());
        let own_meta = Bytes::from(config.encode_meta(&config.tags));
        let ourselves = Announced {
            name: &config.name,
            ip: config.advertise.ip().to_canonical(),
            port: config.advertise.port(),
            meta: &own_meta,
            versions: config.version_bytes(),
        };
        let own = table.add(&ourselves, now, &mut rng);
        let next_seq = rng.u32();
        let mut node = Self {
            // Without the health score there is only one score, healthy.
            awareness: Awareness::new(if config.detector.lha_probe {
                config.awareness_max_multiplier
            } else {
                1
            }),
            recent_intents: RecentIntents::new(seed),
            awaiting_prune: BTreeSet::new(),
            event_buffer: EventBuffer::new(config.event_buffer_size as u64),
            query_buffer: QueryBuffer::new(config.query_buffer_size as u64),
            patterns: PatternCache::default(),
            config,
            codec,
            rng,
            now,
            timers: Timers::default(),
            outputs: VecDeque::new(),
            mixed_packets: 0,
            has_cluster: false,
            catching_up: false,
            newcomers: Newcomers::default(),
            counters: Counters::default(),
            measurements: None,
            local_state_bytes: 0,
            notice_limit: NoticeLimit::default(),
            life: LifeState::Alive,
            said_goodbye: false,
            table,
            own,
            own_incarnation: 0,
            own_meta,
            prober: Prober::default(),
            held: None,
            looks: Looks::new(),
            steadiness: Steadiness::default(),
            last_glance: None,
            spread: Spread::default(),
            relayed_pings: BTreeMap::new(),
            next_seq,
            gossip_clock: GossipClock::default(),
            next_suspicion: 0,
            reminded: BTreeMap::new(),
            last_dropped_packet: None,
            vivaldi,
            own_roll: OwnRoll::default(),
            streams: BTreeMap::new(),
            next_stream: 0,
            ops: BTreeMap::new(),
            next_op: 0,
            statements: BroadcastQueue::new(seed),
            intents: BroadcastQueue::new(seed),
            queries: BroadcastQueue::new(seed),
            events: BroadcastQueue::new(seed),
            member_clock: LamportClock::new(),
            event_clock: LamportClock::new(),
            query_clock: LamportClock::new(),
            asking: Asking::default(),
            delivered: Delivered::default(),
            persisting: PersistingTable::new(),
            next_persist: 0,
            rejoin: Rejoin::default(),
            seeds: Seeds::default(),
        };
        node.announce_ourselves(Cause::Started, None);
        node.start_ticking();
        node.settle();
        Ok(node)
    }

    /// Starts each recurring activity after a random part of its interval, so that nodes started together do not act together.
    fn start_ticking(&mut self) {
        let ticks = [
            (self.config.probe_interval, Timer::ProbeTick),
            (self.config.gossip_interval, Timer::GossipTick),
            (self.config.push_pull_interval, Timer::PushPullTick),
        ];
        for (interval, timer) in ticks {
            if interval > Duration::ZERO {
                let first = self.now + interval.mul_f64(self.rng.unit());
                if timer == Timer::GossipTick {
                    self.gossip_clock.start(first);
                } else {
                    self.timers.set(first, timer);
                }
            }
        }
        self.timers.set(self.now + self.config.reap_interval, Timer::ReapTick);
        self.timers.set(self.now + self.config.reconnect_interval, Timer::ReconnectTick);
        self.timers.set(self.now + self.config.queue_check_interval, Timer::QueueTick);
    }

    // ---- what the driver must do ----

    /// The next thing to do, or `None` when all is done for now.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() && self.outputs.capacity() > OUTPUTS_KEPT {
            // Learning a large cluster makes an event a member at once; what held them is not needed again.
            self.outputs = VecDeque::new();
        }
        output
    }

    /// When [`Node::handle_timeout`] must be called at the latest. A moment in the past means: now.
    pub fn poll_timeout(&self) -> Time {
        self.timers.next_at()
    }

    // ---- what the world did ----

    /// Time has passed. Calling too early or too often does no harm.
    pub fn handle_timeout(&mut self, now: Time) {
        self.advance(now);
        while let Some(timer) = self.timers.pop_due(self.now) {
            self.fire(timer);
        }
        self.settle();
    }

    /// A UDP packet arrived. `from` is its source as the operating system gives it.
    pub fn handle_packet(&mut self, now: Time, from: SocketAddr, packet: Bytes) {
        self.advance(now);
        self.packet_arrived(from, packet);
        self.settle();
    }

    /// The operating system said that a packet to this address could not be delivered (for example "unreachable").
    pub fn handle_send_failed(&mut self, now: Time, to: SocketAddr, error: &str) {
        self.advance(now);
        self.send_failed(to, error);
        self.settle();
    }

    /// Somebody opened a stream. `None`: too many are open; close it without a word.
    pub fn handle_stream_accepted(&mut self, now: Time, from: SocketAddr) -> Option<StreamId> {
        self.advance(now);
        let stream = self.stream_accepted(from);
        self.settle();
        stream
    }

    /// A stream asked for by [`Output::Dial`] is open.
    pub fn handle_stream_connected(&mut self, now: Time, stream: StreamId) {
        self.advance(now);
        self.stream_connected(stream);
        self.settle();
    }

    /// Bytes arrived on a stream, in any pieces.
    pub fn handle_stream_data(&mut self, now: Time, stream: StreamId, bytes: &[u8]) {
        self.advance(now);
        self.stream_data(stream, bytes);
        self.settle();
    }

    /// The peer will send no more on this stream.
    pub fn handle_stream_ended(&mut self, now: Time, stream: StreamId) {
        self.advance(now);
        self.stream_ended(stream);
        self.settle();
    }

    /// A stream could not be opened, or broke. It is gone; no [`Output::Close`] follows.
    pub fn handle_stream_failed(&mut self, now: Time, stream: StreamId, failure: StreamFailure) {
        self.advance(now);
        self.stream_failed(stream, failure);
        self.settle();
    }

    // ---- what the application wants ----

    /// Synchronises with each of these addresses and announces us. Ends with [`crate::Outcome::Join`]. An empty list succeeds.
    ///
    /// # Errors
    /// [`CommandError::JoinAfterLeave`].
    pub fn join(&mut self, now: Time, addrs: &[SocketAddr], replay: Replay) -> Result<OpId, CommandError> {
        self.advance(now);
        let op = self.start_join(addrs, replay);
        self.settle();
        op
    }

    /// Leaves the cluster in good order: tells everybody, waits until the word has spread. Ends with [`crate::Outcome::Leave`],
    /// at once if the node has left already.
    ///
    /// # Errors
    /// [`CommandError::LeaveInProgress`].
    pub fn leave(&mut self, now: Time) -> Result<OpId, CommandError> {
        self.advance(now);
        let op = self.start_leave();
        self.settle();
        op
    }

    /// Tells the cluster that a failed member has left for good. Ends with [`crate::Outcome::ForceLeave`]. A member that is
    /// alive refutes; a name that nobody knows is remembered for a while, as Serf does.
    ///
    /// # Errors
    /// [`CommandError::Stopped`] after a leave.
    pub fn force_leave(&mut self, now: Time, name: &str, prune: Prune) -> Result<OpId, CommandError> {
        self.advance(now);
        let op = self.start_force_leave(name, prune);
        self.settle();
        op
    }

    /// Tells every member of a user event; the local application hears of it too. Gives its Lamport time.
    ///
    /// # Errors
    /// When it is too large; nothing is sent then.
    pub fn user_event(
        &mut self,
        now: Time,
        name: &str,
        payload: &[u8],
        coalesce: bool,
    ) -> Result<u64, CommandError> {
        self.advance(now);
        let ltime = self.send_user_event(name, payload, coalesce);
        self.settle();
        ltime
    }

    /// Replaces our tags and tells the cluster. Ends with [`crate::Outcome::SetTags`].
    ///
    /// # Errors
    /// [`CommandError::TagsTooLarge`]; the old tags stay.
    pub fn set_tags(&mut self, now: Time, tags: Tags) -> Result<OpId, CommandError> {
        self.advance(now);
        let op = self.start_set_tags(tags);
        self.settle();
        op
    }

    /// Asks a question of some or all members. Its replies come as [`Output::Reply`], the last one [`crate::QueryReply::Done`].
    ///
    /// # Errors
    /// When it is too large, or too many are under way; nothing is sent then.
    pub fn query(
        &mut self,
        now: Time,
        name: &str,
        payload: &[u8],
        params: &QueryParams,
    ) -> Result<QueryId, CommandError> {
        self.advance(now);
        let query = self.start_query(name, payload, params);
        self.settle();
        query
    }

    /// Wants no more replies to a query of ours. None follow, not even the last one.
    pub fn cancel_query(&mut self, now: Time, query: QueryId) {
        self.advance(now);
        self.drop_query(query);
        self.settle();
    }

    /// Answers a query that was delivered with [`Event::Query`], once.
    ///
    /// # Errors
    /// When it cannot be answered (any more), or not with so much.
    pub fn respond(&mut self, now: Time, query: QueryToken, payload: &[u8]) -> Result<(), RespondError> {
        self.advance(now);
        let result = self.answer_query(query, payload);
        self.settle();
        result
    }

    /// Changes the key rings of all live members, or asks for their keys. Ends with [`crate::Outcome::Keys`]. `relay_factor` as in
    /// [`QueryParams::relay_factor`].
    ///
    /// # Errors
    /// When too many queries are under way.
    pub fn keys(&mut self, now: Time, command: &KeyCommand, relay_factor: u8) -> Result<OpId, CommandError> {
        self.advance(now);
        let op = self.start_keys(command, relay_factor);
        self.settle();
        op
    }

    /// The key ring of [`Output::PersistKeyring`] has been written, or could not be.
    pub fn handle_keyring_persisted(&mut self, now: Time, token: u64, result: Result<(), String>) {
        self.advance(now);
        self.keyring_persisted(token, result);
        self.settle();
    }

    // ---- getters ----

    /// All members that are known, in any status, ordered by name; this node included.
    pub fn members(&self) -> impl Iterator<Item = Member> + '_ {
        let known = self.table.iter().map(|(_, entry)| entry).filter(|entry| entry.status.is_some());
        let mut known: Vec<&Entry> = known.collect();
        known.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        known.into_iter().map(Entry::view)
    }

    /// One member by name.
    pub fn member(&self, name: &str) -> Option<Member> {
        let entry = &self.table[self.table.find(name)?];
        entry.status.map(|_| entry.view())
    }

    /// This node itself.
    pub fn local(&self) -> Member {
        self.table[self.own].view()
    }

    /// The time of the last input.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Where this node stands.
    pub fn life_state(&self) -> LifeState {
        self.life
    }

    /// A reading of its numbers.
    pub fn stats(&self) -> Stats {
        Stats {
            members: self.table.with_status(),
            live: self.table.live(),
            suspect: self.table.suspect(),
            failed: self.table.failed().len(),
            left: self.table.left().len(),
            health_score: self.awareness.score(),
            member_time: self.member_clock.time(),
            event_time: self.event_clock.time(),
            query_time: self.query_clock.time(),
            membership_queue: self.statements.len(),
            intent_queue: self.intents.len(),
            event_queue: self.events.len(),
            query_queue: self.queries.len(),
            local_state_bytes: self.local_state_bytes,
            encrypted: !self.codec.config().keyring.is_empty(),
            coordinate_resets: self.vivaldi.as_ref().map(VivaldiClient::resets),
        }
    }

    /// Its counters.
    pub fn counters(&self) -> Counters {
        let slept = self.gossip_rounds_slept();
        Counters { gossip_rounds: self.counters.gossip_rounds + slept, ..self.counters }
    }

    /// What was measured since the last call. The first call is what begins it: a node that nobody asks measures nothing.
    pub fn take_measurements(&mut self) -> Measurements {
        std::mem::take(self.measurements.get_or_insert_default())
    }

    /// Keeps a measurement, if somebody wants them.
    fn measure(&mut self, measure: Measure, value: f64) {
        if let Some(measurements) = &mut self.measurements {
            measurements.add(measure, value);
        }
    }

    /// The keys it seals and opens with at present; empty without encryption. (Those of its configuration are where it began.)
    pub fn keyring(&self) -> &Keyring {
        &self.codec.config().keyring
    }

    /// The settings it runs with. Tags are the current ones.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Checks everything this node believes about itself; for tests and simulations. (Every input does so in debug builds, as long
    /// as the cluster is small.)
    ///
    /// # Panics
    /// When an invariant does not hold: a bug of ours.
    pub fn check_invariants(&self) {
        self.table.check_invariants();
        for queue in [&self.statements, &self.intents, &self.queries, &self.events] {
            queue.check_invariants();
        }
        let own = &self.table[self.own];
        assert!(
            matches!(own.state, State::Alive | State::Left),
            "a node never believes itself {}; it refutes",
            own.state
        );
        assert_eq!(own.state == State::Left, self.said_goodbye, "left exactly after the goodbye");
        assert_eq!(own.incarnation, self.own_incarnation, "the table holds the last incarnation issued");
        assert!(own.status.is_some(), "Serf's layer always knows ourselves");
        assert!(!self.gossip_sleeps() || !self.gossip_is_wanted(), "gossip sleeps only while there is none");
        for stream in self.streams.values() {
            stream.check_invariants();
        }
        if let Some(probe) = self.prober.current() {
            probe.check_invariants();
        }
        self.looks.values().for_each(Look::check_invariants);
    }

    // ---- used by every part ----

    /// Moves time on. A node that was not woken when it asked for it doubts itself before it doubts others.
    fn advance(&mut self, now: Time) {
        // What was handled last shows that it ran until then, even if timers are overdue.
        let expected = self.timers.next_at().max(self.now);
        self.now = self.now.max(now);
        let late = self.now.since(expected);
        if self.config.detector.pause_doubt && late > PAUSE_MIN.max(self.config.probe_interval) {
            self.was_paused(late);
        }
    }

    /// After a pause, silence proves nothing: acks and refutations may still wait in our own socket. Nobody is accused for what
    /// happened meanwhile, every suspect gets the lost time back, and a fresh view is asked for at once.
    fn was_paused(&mut self, late: Duration) {
        self.counters.pauses += 1;
        self.notice(Level::Warn, Layer::Memberlist, "paused", None, || {
            format!("this node did not run for {late:?}; it doubts itself before it doubts others")
        });
        self.awareness.apply(1);
        self.abandon_probe();
        self.abandon_looks();
        self.abandon_trials();
        self.excuse_suspects(late);
        if let Some(held) = &mut self.held {
            held.excused += late;
        }
        self.push_pull_with_somebody();
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::ProbeTick => self.probe_tick(),
            Timer::ProbeLook { seq } => self.probe_look(seq),
            Timer::ProbeTimeout { seq } => self.probe_timeout(seq),
            Timer::ProbeDeadline { seq } => self.probe_deadline(seq),
            Timer::LookStep { seq } => self.look_step(seq),
            Timer::TrialStep { number } => self.trial_step(number),
            Timer::SteadyTick => self.steady_tick(),
            Timer::RelayExpired { seq } => self.relay_expired(seq),
            Timer::GossipTick => self.gossip_tick(),
            Timer::SpreadNow => self.spread_delayed(),
            Timer::PushPullTick => self.push_pull_tick(),
            Timer::ExtraPushPull => self.extra_push_pull(),
            Timer::SuspicionEnd { member, serial } => self.suspicion_ended(member, serial),
            Timer::StreamDeadline { stream } => self.stream_deadline(stream),
            Timer::ReapTick => self.reap_tick(),
            Timer::ReconnectTick => self.reconnect_tick(),
            Timer::QueueTick => self.queue_tick(),
            Timer::OpStage { op } => self.op_stage_over(op),
            Timer::QueryEnd { ltime, id } => self.query_over((ltime, id)),
            Timer::PruneWait { name } => self.prune_wait_over(&name),
            Timer::RejoinTick => self.rejoin_step(),
            Timer::SeedsTick => self.seeds_step(),
            Timer::LostTick => self.lost_tick(),
        }
    }

    /// The end of every input: commands whose broadcasts are through go on, and in debug builds the invariants are checked.
    fn settle(&mut self) {
        self.release_without_audience();
        loop {
            let mut finished = self.statements.take_finished();
            finished.extend(self.intents.take_finished());
            if finished.is_empty() {
                break;
            }
            for op in finished {
                self.op_broadcast_finished(op);
            }
        }
        self.wake_gossip();
        if cfg!(debug_assertions) && self.table.len() <= CHECKED_MEMBERS_MAX {
            self.check_invariants();
        }
    }

    fn own_name(&self) -> Arc<str> {
        self.table[self.own].name.clone()
    }

    fn next_seq(&mut self) -> u32 {
        self.next_seq = self.next_seq.wrapping_add(1);
        self.next_seq
    }

    fn emit(&mut self, id: MemberId, kind: fn(Change) -> Event, cause: Cause) {
        let entry = &self.table[id];
        if entry.status.is_some() {
            let member = entry.view();
            self.outputs.push_back(Output::Event(kind(Change { member, cause })));
        }
    }

    fn notice(
        &mut self,
        level: Level,
        layer: Layer,
        kind: &'static str,
        member: Option<Arc<str>>,
        text: impl FnOnce() -> String,
    ) {
        match self.notice_limit.admit(kind, self.now) {
            Some(suppressed) => {
                let notice = Notice { level, layer, kind, member, text: text(), suppressed };
                self.outputs.push_back(Output::Notice(notice));
            }
            None => self.counters.notices_suppressed += 1,
        }
    }

    /// A message that makes no sense: counted, told, dropped.
    fn drop_message(&mut self, layer: Layer, kind: &'static str, text: impl FnOnce() -> String) {
        self.counters.messages_dropped += 1;
        self.notice(Level::Warn, layer, kind, None, text);
    }

    fn set_status(&mut self, id: MemberId, status: Option<Status>) {
        self.table.set_status(id, status, self.now);
    }
}
