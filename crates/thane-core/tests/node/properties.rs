//! Any sequence of inputs: no panic, every invariant holds, and the same again gives the same.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use thane_core::{
    Config, Key, Keyring, Node, Output, Prune, Replay, Seed, StreamFailure, StreamId, Tags, Time,
};
use thane_wire::gossip::{Ack, Message, Nack, NodeStateKind};
use thane_wire::packet::{Checksum, Codec};
use thane_wire::serf::{
    Join, Leave, PushPullState, Query, QueryResponse, Relay, SerfMessage, UserEvent, UserEvents,
};
use thane_wire::stream::{PushPull, Role};

use super::support::{
    VERSIONS, addr_of, alive_with, codec_of, dead, encode, encode_record, ping, quiet, suspect, user,
};

/// Names that meet often: the node's own is among them.
const NAMES: [&str; 5] = ["a", "b", "c", "d", ""];

#[derive(Debug, Clone)]
enum Step {
    Wait(Duration),
    /// Woken too early or too late.
    WakeAfter(Duration),
    Packet(Vec<Vec<u8>>),
    Garbage(Vec<u8>),
    /// A whole stream in pieces of this size, perhaps ended or broken before its end.
    Stream {
        request: Vec<u8>,
        piece: usize,
        cut: usize,
    },
    /// What becomes of the stream that was dialed last.
    Dialed(Fate),
    Join(u8),
    Leave,
    ForceLeave(usize, bool),
    UserEvent(usize),
    SetTags(usize),
    SendFailed(u8),
}

#[derive(Debug, Clone)]
enum Fate {
    Refused,
    Connected,
    Answered(Vec<u8>),
    Ended,
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&NAMES[..])
}

/// Small numbers mostly, and the ends.
fn incarnation() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..6_u32, 1 => Just(u32::MAX), 1 => Just(u32::MAX - 1), 1 => any::<u32>()]
}

fn ltime() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..40_u64, 2 => 500..700_u64, 1 => Just(u64::MAX), 1 => any::<u64>()]
}

fn place() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        8 => (1..6_u8).prop_map(addr_of),
        1 => Just("[::ffff:127.0.0.2]:7946".parse().unwrap()),
        1 => Just("[2001:db8::1]:0".parse().unwrap()),
    ]
}

fn versions() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![6 => Just(VERSIONS.to_vec()), 1 => Just(vec![]), 1 => prop::collection::vec(0..7_u8, 0..9)]
}

fn serf_message() -> impl Strategy<Value = Vec<u8>> {
    let encoded = |message: SerfMessage<'_>| {
        let mut out = Vec::new();
        message.encode(&mut out);
        user(&out)
    };
    prop_oneof![
        (ltime(), name(), any::<bool>())
            .prop_map(move |(ltime, node, prune)| encoded(SerfMessage::Leave(Leave { ltime, node, prune }))),
        (ltime(), name()).prop_map(move |(ltime, node)| encoded(SerfMessage::Join(Join { ltime, node }))),
        (ltime(), name(), prop::collection::vec(any::<u8>(), 0..60)).prop_map(
            move |(ltime, name, payload)| {
                encoded(SerfMessage::UserEvent(UserEvent {
                    ltime,
                    name,
                    payload: Some(&payload),
                    coalesce: false,
                }))
            }
        ),
        (ltime(), 0..4_u32, any::<u8>(), prop::collection::vec(any::<u8>(), 0..10), 0..4_usize).prop_map(
            move |(ltime, id, relay_factor, bytes, name)| {
                let names = ["deploy", "_serf_ping", "_serf_conflict", "_serf_install-key"];
                encoded(SerfMessage::Query(Query {
                    ltime,
                    id,
                    addr: &[127, 0, 0, 2],
                    port: 7946,
                    source_node: "b",
                    filters: (id == 3).then(|| vec![&bytes[..]]),
                    flags: id,
                    relay_factor,
                    timeout_ns: 1_000_000_000,
                    name: names[name],
                    payload: Some(&bytes),
                }))
            }
        ),
        (ltime(), 0..4_u32, name(), prop::collection::vec(any::<u8>(), 0..10)).prop_map(
            move |(ltime, id, from, payload)| {
                let payload = Some(&payload[..]);
                encoded(SerfMessage::QueryResponse(QueryResponse { ltime, id, from, flags: id & 1, payload }))
            }
        ),
        (name(), place(), prop::collection::vec(any::<u8>(), 0..10)).prop_map(
            move |(dest_name, dest, inner)| {
                encoded(SerfMessage::Relay(Relay { dest: Some(dest), dest_name, inner: &inner }))
            }
        ),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| user(&bytes)),
    ]
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (name(), incarnation(), place(), 0..3_usize, versions()).prop_map(|(name, incarnation, at, meta, versions)| {
            alive_with(name, incarnation, at, &vec![b'm'; meta], &versions)
        }),
        3 => (name(), incarnation(), name()).prop_map(|(name, incarnation, from)| suspect(name, incarnation, from)),
        3 => (name(), incarnation(), name()).prop_map(|(name, incarnation, from)| dead(name, incarnation, from)),
        2 => (name(), any::<u32>()).prop_map(|(name, seq)| ping(name, seq)),
        1 => any::<u32>().prop_map(|seq| encode(&Message::Ack(Ack { seq, payload: None }))),
        1 => any::<u32>().prop_map(|seq| encode(&Message::Nack(Nack { seq }))),
        3 => serf_message(),
    ]
}

fn state() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop::sample::select(vec![
        NodeStateKind::Alive,
        NodeStateKind::Suspect,
        NodeStateKind::Dead,
        NodeStateKind::Left,
    ]);
    let record = (name(), incarnation(), place(), kind, versions()).prop_map(
        |(name, incarnation, at, kind, versions)| encode_record(name, incarnation, at, kind, &versions),
    );
    let serf = (
        ltime(),
        prop::collection::vec((name(), ltime()), 0..4),
        prop::collection::vec(name(), 0..3),
        ltime(),
    );
    (prop::collection::vec(record, 0..5), serf, any::<bool>()).prop_map(|(records, serf, join)| {
        let (ltime, status_ltimes, left, event_ltime) = serf;
        let events = Some(vec![
            None,
            Some(UserEvents { ltime: event_ltime, events: vec![("e", None), ("f", Some(b"x"))] }),
        ]);
        let state = PushPullState {
            ltime,
            status_ltimes,
            left_members: Some(left),
            event_ltime,
            events,
            query_ltime: ltime,
        };
        let mut user_state = Vec::new();
        SerfMessage::PushPull(state).encode(&mut user_state);
        let mut out = Vec::new();
        PushPull::encode(join, records.len(), &records.concat(), &user_state, &mut out);
        out
    })
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => state(), 1 => message(), 1 => prop::collection::vec(any::<u8>(), 0..80)]
}

fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![
        6 => (0..2000_u64).prop_map(Duration::from_millis),
        2 => (0..200_u64).prop_map(Duration::from_secs),
        1 => (0..200_u64).prop_map(|hours| Duration::from_secs(hours * 3600)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3000_u64).prop_map(|millis| Step::Wait(Duration::from_millis(millis))),
        2 => span().prop_map(Step::WakeAfter),
        12 => prop::collection::vec(message(), 1..5).prop_map(Step::Packet),
        2 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Step::Garbage),
        4 => (request(), 1..100_usize, 0..2000_usize).prop_map(|(request, piece, cut)| Step::Stream { request, piece, cut }),
        4 => prop_oneof![
            Just(Fate::Refused),
            Just(Fate::Connected),
            request().prop_map(Fate::Answered),
            Just(Fate::Ended),
        ].prop_map(Step::Dialed),
        2 => (1..6_u8).prop_map(Step::Join),
        1 => Just(Step::Leave),
        2 => (0..NAMES.len(), any::<bool>()).prop_map(|(name, prune)| Step::ForceLeave(name, prune)),
        2 => (0..600_usize).prop_map(Step::UserEvent),
        1 => (0..600_usize).prop_map(Step::SetTags),
        1 => (1..6_u8).prop_map(Step::SendFailed),
    ]
}

/// A node under test: everything that it puts out is kept as text, to compare runs.
struct Run {
    node: Node,
    codec: Codec,
    now: Time,
    dialed: Option<StreamId>,
    trace: String,
}

impl Run {
    fn new(config: Config, seed: u64) -> Self {
        let codec = codec_of(&config);
        let node = Node::new(config, Seed::from(seed), Time::ZERO).unwrap();
        Self { node, codec, now: Time::ZERO, dialed: None, trace: String::new() }
    }

    fn step(&mut self, step: &Step) {
        let now = self.now;
        match step {
            Step::Wait(span) => self.wait(*span),
            Step::WakeAfter(span) => {
                self.now += *span;
                self.node.handle_timeout(self.now);
            }
            Step::Packet(messages) => {
                let packet = self.codec.seal_packet(messages, Checksum::Add, [3; 12]);
                self.node.handle_packet(now, addr_of(9), packet.into());
            }
            Step::Garbage(bytes) => self.node.handle_packet(now, addr_of(9), Bytes::copy_from_slice(bytes)),
            Step::Stream { request, piece, cut } => self.stream(request, *piece, *cut),
            Step::Dialed(fate) => self.dialed(fate),
            Step::Join(peer) => drop(self.node.join(now, &[addr_of(*peer), addr_of(77)], Replay::Ignore)),
            Step::Leave => drop(self.node.leave(now)),
            Step::ForceLeave(name, prune) => {
                let prune = if *prune { Prune::Erase } else { Prune::Keep };
                drop(self.node.force_leave(now, NAMES[*name], prune));
            }
            Step::UserEvent(len) => drop(self.node.user_event(now, "deploy", &vec![1; *len], true)),
            Step::SetTags(len) => {
                drop(self.node.set_tags(now, Tags::from([("role".to_owned(), "x".repeat(*len))])));
            }
            Step::SendFailed(peer) => self.node.handle_send_failed(now, addr_of(*peer), "unreachable"),
        }
        self.collect();
        self.node.check_invariants();
    }

    fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        while self.node.poll_timeout() <= end {
            self.now = self.now.max(self.node.poll_timeout());
            self.node.handle_timeout(self.now);
            self.collect();
        }
        self.now = end;
    }

    fn stream(&mut self, request: &[u8], piece: usize, cut: usize) {
        let Some(stream) = self.node.handle_stream_accepted(self.now, addr_of(9)) else { return };
        let sealed = self.codec.seal_stream(Role::Dialer, request, [4; 12]);
        let whole = &sealed[..sealed.len().min(cut)];
        for piece in whole.chunks(piece) {
            self.node.handle_stream_data(self.now, stream, piece);
        }
        match cut % 3 {
            0 => self.node.handle_stream_ended(self.now, stream),
            1 => self.node.handle_stream_failed(self.now, stream, StreamFailure::Other("reset".into())),
            _ => {}
        }
    }

    fn dialed(&mut self, fate: &Fate) {
        let Some(stream) = self.dialed else { return };
        match fate {
            Fate::Refused => {
                self.node.handle_stream_failed(self.now, stream, StreamFailure::Refused("no".into()));
            }
            Fate::Connected => self.node.handle_stream_connected(self.now, stream),
            Fate::Answered(answer) => {
                self.node.handle_stream_connected(self.now, stream);
                let sealed = self.codec.seal_stream(Role::Acceptor, answer, [5; 12]);
                self.node.handle_stream_data(self.now, stream, &sealed);
            }
            Fate::Ended => self.node.handle_stream_ended(self.now, stream),
        }
    }

    fn collect(&mut self) {
        use std::fmt::Write as _;
        while let Some(output) = self.node.poll_output() {
            match &output {
                Output::Send { packet, .. } => {
                    assert!(packet.len() <= self.node.config().udp_buffer_size + 5, "{} bytes", packet.len());
                    let opened = self.codec.open_packet(packet.clone().into()).unwrap();
                    assert_eq!(opened.dropped, []);
                    assert!(opened.messages.iter().all(|message| Message::decode(message).is_ok()));
                }
                Output::Dial { stream, .. } => self.dialed = Some(*stream),
                _ => {}
            }
            writeln!(self.trace, "{output:?}").unwrap();
        }
    }
}

fn config(encrypted: bool) -> Config {
    let keyring = if encrypted { Keyring::new([Key::new(&[6; 16]).unwrap()]) } else { Keyring::default() };
    Config {
        keyring,
        label: if encrypted { "blue".into() } else { String::new() },
        compression: encrypted,
        probe_interval: Duration::from_secs(1),
        gossip_interval: Duration::from_millis(200),
        push_pull_interval: Duration::from_secs(30),
        dead_node_reclaim_time: Duration::from_secs(u64::from(encrypted)),
        ..quiet("a", addr_of(1))
    }
}

proptest! {
    // `PROPTEST_CASES` asks for more than the 256 of every day.
    #[test]
    fn no_sequence_of_inputs_breaks_a_node(
        steps in prop::collection::vec(step(), 1..80),
        encrypted in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut runs = [Run::new(config(encrypted), seed), Run::new(config(encrypted), seed)];
        for run in &mut runs {
            for step in &steps {
                run.step(step);
            }
            // Whatever happened, it works on and nothing is left behind.
            run.wait(Duration::from_secs(60));
            run.node.check_invariants();
        }
        let [first, second] = runs;
        prop_assert_eq!(first.trace, second.trace, "the same inputs give the same outputs");
        prop_assert_eq!(first.node.stats(), second.node.stats());
        prop_assert_eq!(first.node.counters(), second.node.counters());
    }
}

#[test]
fn another_seed_gives_other_outputs() {
    let trace = |seed| {
        let mut run = Run::new(config(false), seed);
        run.step(&Step::Packet(vec![alive_with("b", 1, addr_of(2), b"", &VERSIONS)]));
        run.wait(Duration::from_secs(10));
        run.trace
    };
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1), trace(2));
}
