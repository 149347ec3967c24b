//! One node on a bench: inputs go in, outputs are sorted into heaps to look at.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use thane_core::{
    Config, Event, Node, Notice, OpId, Outcome, Output, QueryId, QueryReply, Seed, StopReason, StreamId, Time,
};
use thane_wire::gossip::{Ack, Alive, Dead, Message, NodeState, NodeStateKind, Ping, Suspect, ip_bytes};
use thane_wire::packet::{Checksum, Codec, CodecConfig};
use thane_wire::stream::{PushPull, Role, StreamDecoder, StreamMessage};

/// Versions of a present-day member.
pub(crate) const VERSIONS: [u8; 6] = [1, 5, 2, 2, 5, 5];

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The address of the n-th made-up member.
pub(crate) fn addr_of(n: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, n], 7946))
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    assert_eq!(text.len() % 2, 0, "whole bytes");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no string"))
}

/// A configuration in which nothing happens by itself: probes are rare (their interval also sets how long suspicions last), there is
/// no gossip and no exchange, and packets are plain and uncompressed.
pub(crate) fn quiet(name: &str, at: SocketAddr) -> Config {
    Config {
        probe_interval: ms(3_600_000),
        gossip_interval: Duration::ZERO,
        push_pull_interval: Duration::ZERO,
        compression: false,
        ..Config::lan(name, at)
    }
}

/// The codec that a peer with the same settings would have.
pub(crate) fn codec_of(config: &Config) -> Codec {
    Codec::new(CodecConfig {
        label: config.label.clone(),
        keyring: config.keyring.clone(),
        verify_incoming: config.verify_incoming,
        verify_outgoing: config.verify_outgoing,
        compression: config.compression,
        padded_envelopes: false,
        skip_inbound_label_check: config.skip_inbound_label_check,
    })
    .unwrap()
}

// ---- messages ----

pub(crate) fn alive(name: &str, incarnation: u32, at: SocketAddr) -> Vec<u8> {
    alive_with(name, incarnation, at, b"", &VERSIONS)
}

pub(crate) fn alive_with(
    name: &str,
    incarnation: u32,
    at: SocketAddr,
    meta: &[u8],
    versions: &[u8],
) -> Vec<u8> {
    let (ip, len) = ip_bytes(at.ip());
    let meta = (!meta.is_empty()).then_some(meta);
    encode(&Message::Alive(Alive {
        incarnation,
        node: name,
        addr: &ip[..len],
        port: at.port(),
        meta,
        versions,
    }))
}

pub(crate) fn suspect(name: &str, incarnation: u32, from: &str) -> Vec<u8> {
    encode(&Message::Suspect(Suspect { incarnation, node: name, from }))
}

pub(crate) fn dead(name: &str, incarnation: u32, from: &str) -> Vec<u8> {
    encode(&Message::Dead(Dead { incarnation, node: name, from }))
}

pub(crate) fn ping(node: &str, seq: u32) -> Vec<u8> {
    encode(&Message::Ping(Ping { seq, node, source_addr: &[], source_port: 0, source_node: "" }))
}

pub(crate) fn user(payload: &[u8]) -> Vec<u8> {
    encode(&Message::User(payload))
}

pub(crate) fn encode(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

pub(crate) fn encode_record(
    name: &str,
    incarnation: u32,
    at: SocketAddr,
    state: NodeStateKind,
    versions: &[u8],
) -> Vec<u8> {
    let (ip, len) = ip_bytes(at.ip());
    let mut out = Vec::new();
    NodeState { name, addr: &ip[..len], port: at.port(), meta: None, incarnation, state, versions }
        .encode(&mut out);
    out
}

/// One member as a push/pull shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) state: String,
    pub(crate) incarnation: u32,
    pub(crate) addr: Vec<u8>,
    pub(crate) port: u16,
    pub(crate) meta: Vec<u8>,
    pub(crate) versions: Vec<u8>,
}

/// An ack without its payload; any other message as it is.
fn without_payload(message: Bytes) -> Bytes {
    match Message::decode(&message) {
        Ok(Message::Ack(ack)) => encode(&Message::Ack(Ack { seq: ack.seq, payload: None })).into(),
        _ => message,
    }
}

// ---- the bench ----

pub(crate) struct Bench {
    pub(crate) node: Node,
    pub(crate) now: Time,
    pub(crate) codec: Codec,
    pub(crate) sent: Vec<(SocketAddr, Vec<u8>)>,
    pub(crate) events: Vec<Event>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) written: BTreeMap<StreamId, Vec<u8>>,
    pub(crate) closed: BTreeSet<StreamId>,
    pub(crate) dials: Vec<(StreamId, SocketAddr)>,
    pub(crate) done: Vec<(OpId, Outcome)>,
    pub(crate) replies: Vec<(QueryId, QueryReply)>,
    pub(crate) stops: Vec<StopReason>,
    /// How often the node wanted its seeds looked up.
    pub(crate) seed_lookups: usize,
}

impl Bench {
    pub(crate) fn new(config: Config) -> Self {
        Self::seeded(config, 1)
    }

    pub(crate) fn seeded(config: Config, seed: u64) -> Self {
        let codec = codec_of(&config);
        let node = Node::new(config, Seed::from(seed), Time::ZERO).unwrap();
        let mut bench = Self {
            node,
            now: Time::ZERO,
            codec,
            sent: Vec::new(),
            events: Vec::new(),
            notices: Vec::new(),
            written: BTreeMap::new(),
            closed: BTreeSet::new(),
            dials: Vec::new(),
            done: Vec::new(),
            replies: Vec::new(),
            stops: Vec::new(),
            seed_lookups: 0,
        };
        bench.collect();
        bench
    }

    /// Sorts what the node wants done.
    pub(crate) fn collect(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Send { to, packet } => self.sent.push((to, packet)),
                Output::Dial { stream, to, .. } => self.dials.push((stream, to)),
                Output::Write { stream, bytes } => self.written.entry(stream).or_default().extend(bytes),
                Output::Close { stream } => {
                    self.closed.insert(stream);
                }
                Output::Event(event) => self.events.push(event),
                Output::Done { op, outcome } => self.done.push((op, outcome)),
                Output::Reply { query, reply } => self.replies.push((query, reply)),
                Output::Notice(notice) => self.notices.push(notice),
                Output::Stop(reason) => self.stops.push(reason),
                Output::LookUpSeeds => self.seed_lookups += 1,
                other => panic!("an output that this bench does not know: {other:?}"),
            }
        }
    }

    /// Forgets all outputs so far.
    pub(crate) fn clear(&mut self) {
        self.sent.clear();
        self.events.clear();
        self.notices.clear();
        self.dials.clear();
        self.done.clear();
    }

    /// Raw bytes as they would come from the network.
    pub(crate) fn packet(&mut self, from: SocketAddr, packet: &[u8]) {
        self.node.handle_packet(self.now, from, Bytes::copy_from_slice(packet));
        self.collect();
    }

    /// One message of a peer, in a packet of the node's own settings.
    pub(crate) fn tell(&mut self, message: &[u8]) {
        self.tell_from(addr_of(200), message);
    }

    pub(crate) fn tell_from(&mut self, from: SocketAddr, message: &[u8]) {
        let packet = self.codec.seal_packet(&[message], Checksum::Omit, [7; 12]);
        self.packet(from, &packet);
    }

    /// Wakes the node whenever it asks for it, until `span` has passed.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.node.poll_timeout() <= end {
            self.now = self.now.max(self.node.poll_timeout());
            self.node.handle_timeout(self.now);
            self.collect();
        }
        self.now = end;
        self.node.handle_timeout(self.now);
        self.collect();
    }

    /// Messages of all packets sent since the last call, with their receivers; acks without the coordinate that they may carry.
    pub(crate) fn take_messages(&mut self) -> Vec<(SocketAddr, Bytes)> {
        let mut messages = Vec::new();
        for (to, packet) in std::mem::take(&mut self.sent) {
            let opened = self.codec.open_packet(packet.into()).unwrap();
            assert_eq!(opened.dropped, [], "our own packets are whole");
            messages.extend(opened.messages.into_iter().map(|message| (to, without_payload(message))));
        }
        messages
    }

    /// Takes all that waits to be gossiped, by pinging until the answers carry no more. No time passes.
    pub(crate) fn take_gossip(&mut self) -> Vec<Bytes> {
        let mut gossip = Vec::new();
        loop {
            let stats = self.node.stats();
            if stats.membership_queue + stats.intent_queue + stats.event_queue + stats.query_queue == 0 {
                return gossip;
            }
            let before = std::mem::take(&mut self.sent);
            self.tell(&ping("", 99));
            let answer = self.take_messages();
            self.sent = before;
            gossip.extend(answer.into_iter().map(|(_, message)| message).filter(|message| message[0] != 2));
        }
    }

    /// A whole inbound stream; gives what the node wrote to it, if it closed it.
    pub(crate) fn stream(&mut self, request: &[u8]) -> Option<Vec<u8>> {
        let id = self.node.handle_stream_accepted(self.now, addr_of(201)).unwrap();
        self.node.handle_stream_data(self.now, id, request);
        self.collect();
        let reply = self.written.remove(&id).unwrap_or_default();
        self.closed.contains(&id).then_some(reply)
    }

    /// A push/pull of a peer that knows nobody: the node's reply.
    pub(crate) fn pull(&mut self) -> PushPull {
        self.push(false, &[])
    }

    /// A push/pull of a peer that knows these members: the node's reply.
    pub(crate) fn push(&mut self, join: bool, records: &[Vec<u8>]) -> PushPull {
        self.push_with(join, records, &[])
    }

    pub(crate) fn push_with(&mut self, join: bool, records: &[Vec<u8>], user_state: &[u8]) -> PushPull {
        let mut request = Vec::new();
        PushPull::encode(join, records.len(), &records.concat(), user_state, &mut request);
        let sealed = self.codec.seal_stream(Role::Dialer, &request, [8; 12]);
        let reply = self.stream(&sealed).unwrap();
        match StreamDecoder::new(Role::Dialer).push(&self.codec, &reply).unwrap() {
            Some(StreamMessage::PushPull(state)) => state,
            other => panic!("no push/pull but {other:?}"),
        }
    }

    /// The detector's table, as peers see it.
    pub(crate) fn table(&mut self) -> BTreeMap<String, Row> {
        let reply = self.pull();
        reply
            .nodes()
            .map(|record| {
                let record = record.unwrap();
                let row = Row {
                    state: format!("{:?}", record.state).to_lowercase(),
                    incarnation: record.incarnation,
                    addr: record.addr.to_vec(),
                    port: record.port,
                    meta: record.meta.unwrap_or_default().to_vec(),
                    versions: record.versions.to_vec(),
                };
                (record.name.to_owned(), row)
            })
            .collect()
    }

    /// `join:a`, `failed:b`, ... for every event since the last call.
    pub(crate) fn take_events(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events).iter().map(short).collect()
    }

    pub(crate) fn noticed(&self, kind: &str) -> bool {
        self.notices.iter().any(|notice| notice.kind == kind)
    }
}

/// An event as a word and a name.
pub(crate) fn short(event: &Event) -> String {
    let (word, change) = match event {
        Event::Joined(change) => ("join", change),
        Event::Left(change) => ("left", change),
        Event::Failed(change) => ("failed", change),
        Event::Updated(change) => ("update", change),
        Event::Reaped(change) => ("reap", change),
        Event::Suspected(change) => ("suspect", change),
        Event::Refuted(change) => ("refute", change),
        Event::Query(query) => return format!("query:{}@{}", query.name, query.ltime),
        Event::User(event) => return format!("user:{}@{}", event.name, event.ltime),
        other => panic!("an event that these tests do not know: {other:?}"),
    };
    format!("{word}:{}", change.member.name)
}
