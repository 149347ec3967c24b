//! Every kind of packet, and state exchanges, from message to wire and back.

use std::hint::black_box;

use bytes::Bytes;
use thane_core::Tags;
use thane_wire::coordinate::Coordinate;
use thane_wire::gossip::{
    Ack, Alive, Dead, IndirectPing, Message, Nack, NodeState, NodeStateKind, Ping, Suspect,
};
use thane_wire::limits::COMPOUND_PARTS_MAX;
use thane_wire::packet::Checksum;
use thane_wire::serf::{self, PushPullState, SerfMessage};
use thane_wire::stream::{PushPull, Role, StreamDecoder, StreamMessage};
use thane_wire::{Codec, CodecConfig, Key, Keyring, tags};

use crate::timing::{self, Timing, Work};

/// Bytes of a packet, as the presets of [`thane_core::Config`] have it.
const PACKET_BYTES: usize = 1400;
/// What the driver reads from a stream at once.
pub(crate) const CHUNK_BYTES: usize = 16 * 1024;
/// Both versions: memberlist's and Serf's minimum, maximum and current.
pub(crate) const VERSIONS: [u8; 6] = [1, 5, 2, 2, 5, 5];
/// The bytes are thrown away, so this one may repeat.
const NONCE: [u8; 12] = [7; 12];

/// One line of the table: without encryption, with AES-128 and with AES-256.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) cells: [Cell; 3],
}

/// One way to seal one message.
#[derive(Debug)]
pub(crate) struct Cell {
    /// Bytes on the wire.
    pub(crate) bytes: usize,
    pub(crate) encode_ns: f64,
    pub(crate) decode_ns: f64,
}

/// How far the rounds were apart (see [`Timing::spread`]).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Noise {
    pub(crate) median: f64,
    pub(crate) worst: f64,
}

/// What goes over the wire, and how.
struct Case {
    name: String,
    compression: bool,
    load: Load,
}

enum Load {
    /// Messages of one packet.
    Packet(Vec<Content>),
    /// A state exchange of this many members, over a stream.
    PushPull(Vec<NodeRecord>),
}

/// One message of a packet.
enum Content {
    Gossip(Message<'static>),
    /// In memberlist's user message.
    Serf(SerfMessage<'static>),
    /// An announcement of a member of its own.
    Alive(NodeRecord),
    /// With the coordinate in it.
    AckOf(Coordinate),
}

/// A member as an alive message or a push/pull tells of it.
pub(crate) struct NodeRecord {
    name: String,
    addr: [u8; 4],
    meta: Vec<u8>,
}

impl NodeRecord {
    /// A member as there are many: a name of 12 bytes, three tags, one of them its own, and an address of a private network.
    pub(crate) fn new(number: usize) -> Self {
        // Hexadecimal digits that do not repeat from member to member, for the sake of the compressed rows.
        let id = format!("{:012x}", (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16);
        let tags = [("role", "web"), ("dc", "eu-west-1"), ("id", &id)];
        let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let [_, b, c, d] = (number as u32).to_be_bytes();
        Self { name: format!("web-{number:08}"), addr: [10, b, c, d], meta: tags::encode(&Tags::from(tags)) }
    }

    fn alive(&self) -> Alive<'_> {
        Alive {
            incarnation: 3,
            node: &self.name,
            addr: &self.addr,
            port: 7946,
            meta: Some(&self.meta),
            versions: &VERSIONS,
        }
    }

    fn state(&self) -> NodeState<'_> {
        NodeState {
            name: &self.name,
            addr: &self.addr,
            port: 7946,
            meta: Some(&self.meta),
            incarnation: 3,
            state: NodeStateKind::Alive,
            versions: &VERSIONS,
        }
    }
}

/// The whole message of a state exchange, both layers' halves.
pub(crate) fn push_pull(members: &[NodeRecord]) -> Vec<u8> {
    let mut records = Vec::new();
    for member in members {
        member.state().encode(&mut records);
    }
    let state = PushPullState {
        ltime: 70,
        status_ltimes: members.iter().map(|member| (member.name.as_str(), 64)).collect(),
        left_members: Some(Vec::new()),
        event_ltime: 12,
        events: Some(Vec::new()),
        query_ltime: 3,
    };
    let mut user_state = Vec::new();
    SerfMessage::PushPull(state).encode(&mut user_state);
    let mut message = Vec::new();
    PushPull::encode(true, members.len(), &records, &user_state, &mut message);
    message
}

impl Content {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Gossip(message) => message.encode(&mut out),
            Self::Serf(message) => {
                out.push(thane_wire::gossip::kind::USER);
                message.encode(&mut out);
            }
            Self::Alive(member) => member.alive().encode(&mut out),
            Self::AckOf(coordinate) => {
                let mut payload = Vec::new();
                coordinate.encode_ack(&mut payload);
                Ack { seq: 80_001, payload: Some(&payload) }.encode(&mut out);
            }
        }
        out
    }
}

impl Load {
    fn encode(&self, codec: &Codec) -> Vec<u8> {
        match self {
            Self::Packet(contents) => {
                let messages: Vec<Vec<u8>> = contents.iter().map(Content::encode).collect();
                codec.seal_packet(&messages, Checksum::Add, NONCE)
            }
            Self::PushPull(members) => codec.seal_stream(Role::Dialer, &push_pull(members), NONCE),
        }
    }

    /// Reads everything that a node reads of it, and gives how many messages or members there were.
    fn decode(&self, codec: &Codec, sealed: &Bytes) -> usize {
        match self {
            Self::Packet(_) => decode_packet(codec, sealed),
            Self::PushPull(_) => decode_push_pull(codec, sealed),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Packet(contents) => contents.len(),
            Self::PushPull(members) => members.len(),
        }
    }
}

fn decode_packet(codec: &Codec, sealed: &Bytes) -> usize {
    let opened = codec.open_packet(sealed.clone()).unwrap();
    for message in &opened.messages {
        match Message::decode(message).unwrap() {
            Message::User(payload) => {
                black_box(SerfMessage::decode(payload).unwrap());
            }
            Message::Ack(Ack { payload: Some(payload), .. }) => {
                black_box(Coordinate::decode_ack(payload).unwrap());
            }
            other => {
                black_box(other);
            }
        }
    }
    opened.messages.len()
}

fn decode_push_pull(codec: &Codec, sealed: &Bytes) -> usize {
    let mut decoder = StreamDecoder::new(Role::Acceptor);
    for chunk in sealed.chunks(CHUNK_BYTES) {
        let Some(message) = decoder.push(codec, chunk).unwrap() else { continue };
        let StreamMessage::PushPull(exchange) = message else { panic!("another message than was sent") };
        black_box(SerfMessage::decode(&exchange.user_state).unwrap());
        return exchange.nodes().filter(|node| black_box(node).is_ok()).count();
    }
    0
}

/// Times every kind of packet and stream.
pub(crate) fn measure() -> (Vec<Row>, Noise) {
    let cases = cases();
    let mut cells = Vec::new();
    let mut works: Vec<Work<'_>> = Vec::new();
    for case in &cases {
        for codec in codecs(case.compression) {
            let sealed = Bytes::from(case.load.encode(&codec));
            assert_eq!(case.load.decode(&codec, &sealed), case.load.len(), "{} is read whole", case.name);
            cells.push(sealed.len());
            let sender = codec.clone();
            works.push(Box::new(move || {
                black_box(black_box(&case.load).encode(black_box(&sender)));
            }));
            works.push(Box::new(move || {
                black_box(case.load.decode(black_box(&codec), black_box(&sealed)));
            }));
        }
    }
    let timings = timing::measure(&mut works);
    let mut cells = cells.iter().zip(timings.chunks_exact(2)).map(|(bytes, timings)| Cell {
        bytes: *bytes,
        encode_ns: timings[0].median_ns,
        decode_ns: timings[1].median_ns,
    });
    let rows = cases
        .iter()
        .map(|case| Row {
            name: case.name.clone(),
            cells: std::array::from_fn(|_| cells.next().expect("each case has three cells")),
        })
        .collect();
    (rows, noise(&timings))
}

fn noise(timings: &[Timing]) -> Noise {
    let mut spreads: Vec<f64> = timings.iter().map(|timing| timing.spread).collect();
    spreads.sort_by(f64::total_cmp);
    Noise { median: spreads[spreads.len() / 2], worst: spreads[spreads.len() - 1] }
}

/// The ways to seal, in the order of a row's cells.
fn codecs(compression: bool) -> [Codec; 3] {
    let keys: [&[u8]; 3] = [&[], &[16; 16], &[32; 32]];
    keys.map(|key| {
        let keyring = Keyring::new((!key.is_empty()).then(|| Key::new(key).unwrap()));
        Codec::new(CodecConfig {
            keyring,
            verify_incoming: true,
            verify_outgoing: true,
            compression,
            ..CodecConfig::default()
        })
        .unwrap()
    })
}

fn cases() -> Vec<Case> {
    let case = |name: &str, contents| Case {
        name: name.to_owned(),
        compression: false,
        load: Load::Packet(contents),
    };
    let mut cases: Vec<Case> = gossip_messages()
        .into_iter()
        .chain(serf_messages())
        .map(|(name, content)| case(name, vec![content]))
        .collect();
    cases.push(case("compound: 10 alive", alives(10)));
    let full = full_packet();
    let full_name = format!("full packet: {full} alive");
    cases.push(case(&full_name, alives(full)));
    for (name, contents) in [("ping".to_owned(), vec![Content::Gossip(ping())]), (full_name, alives(full))] {
        cases.push(Case {
            name: format!("{name}, compressed"),
            compression: true,
            load: Load::Packet(contents),
        });
    }
    for (members, compression) in [(100, false), (1_000, false), (1_000, true)] {
        let name = format!("push/pull: {members} nodes{}", if compression { ", compressed" } else { "" });
        let load = Load::PushPull((0..members).map(NodeRecord::new).collect());
        cases.push(Case { name, compression, load });
    }
    cases
}

fn alives(count: usize) -> Vec<Content> {
    (0..count).map(NodeRecord::new).map(Content::Alive).collect()
}

/// How many announcements fit a packet that is encrypted but not compressed.
fn full_packet() -> usize {
    let [_, codec, _] = codecs(false);
    let fits = |count: &usize| Load::Packet(alives(*count)).encode(&codec).len() <= PACKET_BYTES;
    (1..=COMPOUND_PARTS_MAX).take_while(fits).last().unwrap()
}

const TARGET: &str = "web-00000042";
const SOURCE: &str = "web-00000007";

fn ping() -> Message<'static> {
    Message::Ping(Ping {
        seq: 80_001,
        node: TARGET,
        source_addr: &[10, 0, 0, 7],
        source_port: 7946,
        source_node: SOURCE,
    })
}

fn gossip_messages() -> Vec<(&'static str, Content)> {
    let indirect = IndirectPing {
        seq: 80_001,
        target: &[10, 0, 0, 42],
        port: 7946,
        node: TARGET,
        nack: true,
        source_addr: &[10, 0, 0, 7],
        source_port: 7946,
        source_node: SOURCE,
    };
    let coordinate = Coordinate {
        vec: (1..=8).map(|axis| f64::from(axis) / 999.0).collect(),
        error: 0.2,
        adjustment: 0.001,
        height: 0.000_1,
    };
    vec![
        ("ping", Content::Gossip(ping())),
        ("indirect ping", Content::Gossip(Message::IndirectPing(indirect))),
        ("ack", Content::Gossip(Message::Ack(Ack { seq: 80_001, payload: None }))),
        ("ack with a coordinate", Content::AckOf(coordinate)),
        ("nack", Content::Gossip(Message::Nack(Nack { seq: 80_001 }))),
        (
            "suspect",
            Content::Gossip(Message::Suspect(Suspect { incarnation: 3, node: TARGET, from: SOURCE })),
        ),
        ("alive, 3 tags", Content::Alive(NodeRecord::new(42))),
        ("dead", Content::Gossip(Message::Dead(Dead { incarnation: 3, node: TARGET, from: SOURCE }))),
    ]
}

fn serf_messages() -> Vec<(&'static str, Content)> {
    let event = serf::UserEvent { ltime: 12, name: "deploy", payload: Some(&[b'x'; 64]), coalesce: true };
    let query = serf::Query {
        ltime: 3,
        id: 3_405_691_582,
        addr: &[10, 0, 0, 7],
        port: 7946,
        source_node: SOURCE,
        filters: Some(Vec::new()),
        flags: serf::QUERY_FLAG_ACK,
        relay_factor: 0,
        timeout_ns: 9_600_000_000,
        name: "load",
        payload: Some(&[b'x'; 64]),
    };
    let response = serf::QueryResponse {
        ltime: 3,
        id: 3_405_691_582,
        from: TARGET,
        flags: 0,
        payload: Some(&[b'x'; 64]),
    };
    let relay = serf::Relay {
        dest: Some(([10, 0, 0, 7], 7946).into()),
        dest_name: SOURCE,
        inner: b"\x05 a response as it would be sent directly, about as long as this line of text is",
    };
    vec![
        ("join intent", Content::Serf(SerfMessage::Join(serf::Join { ltime: 64, node: TARGET }))),
        (
            "leave intent",
            Content::Serf(SerfMessage::Leave(serf::Leave { ltime: 65, node: TARGET, prune: false })),
        ),
        ("user event, 64 bytes", Content::Serf(SerfMessage::UserEvent(event))),
        ("query, 64 bytes", Content::Serf(SerfMessage::Query(query))),
        ("query response, 64 bytes", Content::Serf(SerfMessage::QueryResponse(response))),
        ("relay, 80 bytes", Content::Serf(SerfMessage::Relay(relay))),
    ]
}
