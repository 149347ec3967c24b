//! A whole node: any inputs in any order. What must hold after each is what the node checks of itself, and that it always gets ahead.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use thane_core::recording::{End, Header, Recorder, Replay};
use thane_core::{
    Answer, Config, Detector, Event, Input, Key, KeyCommand, Keyring, Node, Output, Prune, QueryEnd, QueryId,
    QueryParams, QueryToken, Replay as History, Seed, StreamFailure, StreamId, Time,
};
use thane_wire::gossip::{
    self, Ack, Alive, Dead, IndirectPing, Message, Nack, NodeState, NodeStateKind, Ping, Suspect,
};
use thane_wire::packet::{Checksum, Codec, CodecConfig};
use thane_wire::serf::{
    Join, Leave, PushPullState, Query, QueryResponse, Relay, SerfMessage, UserEvent, UserEvents,
};
use thane_wire::stream::{PushPull, Role};

use crate::cursor::Cursor;

/// Inputs of one run.
const STEPS_MAX: usize = 160;
/// More outputs than this of one input are out of all proportion in a cluster of a few.
const OUTPUTS_MAX: usize = 20_000;
/// So often in a row may it ask to be woken at once.
const WOKEN_AT_ONCE_MAX: usize = 3;
/// Members that meet often, the node's own name among them.
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", ""];
const VERSIONS: [u8; 6] = [1, 5, 2, 2, 5, 5];

pub(crate) fn node(data: &[u8]) {
    let mut cursor = Cursor(data);
    let config = config(&mut cursor);
    let mut run = Run::new(config);
    for _ in 0..STEPS_MAX {
        if cursor.is_over() {
            break;
        }
        run.step(&mut cursor);
    }
    run.finish();
}

fn config(cursor: &mut Cursor<'_>) -> Config {
    let how = cursor.byte();
    let mut config = Config::local("a", addr(0));
    config.keyring = if how & 1 != 0 { Keyring::new([key(1), key(2)]) } else { Keyring::default() };
    config.persist_keyring = how & 2 != 0;
    config.detector = if how & 4 != 0 { Detector::swim() } else { Detector::steady() };
    config.coordinates = how & 8 == 0;
    config.protocol = if how & 16 != 0 { 2 } else { 5 };
    config.compression = how & 32 != 0;
    config.label = if how & 64 != 0 { "l".to_owned() } else { String::new() };
    config.push_pull_interval = Duration::from_secs(u64::from(how & 128 != 0));
    config.event_buffer_size = 8;
    config.query_buffer_size = 8;
    config.max_queue_depth = 64;
    config.reconnect_timeout = Duration::from_secs(60);
    config.tombstone_timeout = Duration::from_secs(60);
    config
}

fn key(byte: u8) -> Key {
    Key::new(&[byte; 16]).expect("16 bytes are a key")
}

fn addr(number: u8) -> SocketAddr {
    match number {
        250 => SocketAddr::from(([0xfd00_u16, 0, 0, 0, 0, 0, 0, 1], 7946)),
        251 => SocketAddr::from(([0, 0, 0, 0, 0, 0xffff, 0x7f00, 2], 7946)),
        _ => SocketAddr::from(([127, 0, 0, number % 8 + 1], 7946)),
    }
}

/// A node and what the world around it remembers.
struct Run {
    node: Node,
    codec: Codec,
    now: Time,
    recorder: Recorder,
    recorded: Vec<u8>,
    /// What the node has asked the world for, the newest last.
    streams: VecDeque<StreamId>,
    pings: VecDeque<(SocketAddr, u32)>,
    asked: VecDeque<QueryToken>,
    asking: VecDeque<QueryId>,
    persisting: VecDeque<u64>,
}

/// What the world remembers of each kind.
const REMEMBERED: usize = 8;

fn remember<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() == REMEMBERED {
        list.pop_front();
    }
    list.push_back(item);
}

fn recall<T: Copy>(list: &VecDeque<T>, cursor: &mut Cursor<'_>) -> Option<T> {
    let at = usize::from(cursor.byte()) % list.len().max(1);
    list.iter().rev().nth(at).copied()
}

impl Run {
    fn new(config: Config) -> Self {
        let codec = Codec::new(CodecConfig {
            label: config.label.clone(),
            keyring: config.keyring.clone(),
            verify_incoming: true,
            verify_outgoing: true,
            compression: false,
            padded_envelopes: false,
            skip_inbound_label_check: false,
        });
        let mut recorded = Vec::new();
        let header = Header::new(config.clone(), Seed::from(1), 0);
        let mut run = Self {
            node: Node::new(config, Seed::from(1), Time::ZERO).expect("these settings are accepted"),
            codec: codec.expect("the label is short"),
            now: Time::ZERO,
            recorder: Recorder::new(&header, &mut recorded),
            recorded,
            streams: VecDeque::new(),
            pings: VecDeque::new(),
            asked: VecDeque::new(),
            asking: VecDeque::new(),
            persisting: VecDeque::new(),
        };
        run.drain();
        run
    }

    fn tell(&mut self, input: Input) {
        self.recorder.input(self.now, &input, &mut self.recorded);
        match self.node.handle(self.now, input) {
            Answer::Query(Ok(id)) => remember(&mut self.asking, id),
            Answer::Stream(Some(stream)) => remember(&mut self.streams, stream),
            _ => {}
        }
        self.drain();
        self.node.check_invariants();
    }

    /// Takes what the node wants done, and remembers what can be answered.
    fn drain(&mut self) {
        let mut count = 0;
        while let Some(output) = self.node.poll_output() {
            self.recorder.output(&output);
            count += 1;
            assert!(count <= OUTPUTS_MAX, "one input leads to {count} outputs and more");
            match output {
                Output::Send { to, packet } => self.sent(to, packet),
                Output::Dial { stream, .. } => remember(&mut self.streams, stream),
                Output::Event(Event::Query(query)) => remember(&mut self.asked, query.token),
                Output::PersistKeyring { token, .. } => remember(&mut self.persisting, token),
                _ => {}
            }
        }
    }

    fn sent(&mut self, to: SocketAddr, packet: Vec<u8>) {
        // Keys may have changed; then we understand it as little as others do.
        let Ok(opened) = self.codec.open_packet(packet.into()) else { return };
        for message in &opened.messages {
            if let Ok(Message::Ping(ping)) = Message::decode(message) {
                remember(&mut self.pings, (to, ping.seq));
            }
        }
    }

    fn step(&mut self, cursor: &mut Cursor<'_>) {
        match cursor.byte() % 16 {
            0 => self.wait(cursor),
            1..=3 => self.wake(cursor),
            4 => {
                let input = Input::Packet { from: addr(cursor.byte()), packet: bytes(cursor.long_bytes()) };
                self.tell(input);
            }
            5..=8 => self.packet(cursor),
            9 => self.ack(cursor),
            10..=11 => self.stream(cursor),
            12..=13 => self.command(cursor),
            14 => self.query(cursor),
            _ => self.trouble(cursor),
        }
    }

    /// Time passes without the node being woken.
    fn wait(&mut self, cursor: &mut Cursor<'_>) {
        let spans = [1, 50, 200, 1_000, 10_000, 61_000, 3_600_000, 90_000_000];
        self.now += Duration::from_millis(cursor.pick(&spans));
        self.tell(Input::Timeout);
    }

    /// The node is woken when it asked for it, some times.
    fn wake(&mut self, cursor: &mut Cursor<'_>) {
        for _ in 0..=cursor.byte() % 16 {
            let due = self.node.poll_timeout();
            if due == Time::NEVER {
                return;
            }
            self.now = self.now.max(due);
            // What it does then may be due at the same moment: a round of gossip for what it has to say now.
            for _ in 0..WOKEN_AT_ONCE_MAX {
                self.tell(Input::Timeout);
                if self.node.poll_timeout() > self.now {
                    break;
                }
            }
            assert!(self.node.poll_timeout() > self.now, "it asks to be woken in the past, for ever");
        }
    }

    /// A packet of some messages.
    fn packet(&mut self, cursor: &mut Cursor<'_>) {
        let from = addr(cursor.byte());
        let mut messages = Vec::new();
        for _ in 0..=cursor.byte() % 4 {
            messages.push(message(cursor));
        }
        self.send(from, &messages, cursor);
    }

    fn send(&mut self, from: SocketAddr, messages: &[Vec<u8>], cursor: &mut Cursor<'_>) {
        let checksum = if cursor.flag() { Checksum::Add } else { Checksum::Omit };
        let packet = self.codec.seal_packet(messages, checksum, [0; 12]);
        self.tell(Input::Packet { from, packet: packet.into() });
    }

    /// An answer to a ping that was sent.
    fn ack(&mut self, cursor: &mut Cursor<'_>) {
        let Some((to, seq)) = recall(&self.pings, cursor) else { return };
        let from = if cursor.byte() == 7 { addr(cursor.byte()) } else { to };
        let mut message = Vec::new();
        if cursor.byte() % 8 == 7 {
            Message::Nack(Nack { seq }).encode(&mut message);
        } else {
            Message::Ack(Ack { seq, payload: Some(cursor.bytes()) }).encode(&mut message);
        }
        self.send(from, &[message], cursor);
    }

    fn stream(&mut self, cursor: &mut Cursor<'_>) {
        let what = cursor.byte() % 8;
        if what == 0 {
            return self.tell(Input::StreamAccepted { from: addr(cursor.byte()) });
        }
        let Some(stream) = recall(&self.streams, cursor) else { return };
        let input = match what {
            1 => Input::StreamConnected { stream },
            2 => Input::StreamEnded { stream },
            3 => {
                let text = "as it happens".to_owned();
                let failure = match cursor.byte() % 3 {
                    0 => StreamFailure::Refused(text),
                    1 => StreamFailure::TimedOut(text),
                    _ => StreamFailure::Other(text),
                };
                Input::StreamFailed { stream, failure }
            }
            4 => Input::StreamData { stream, bytes: bytes(cursor.long_bytes()) },
            _ => {
                let mut message = Vec::new();
                exchange(cursor, &mut message);
                // The node may have dialed or accepted; the other end writes a label only if it dialed.
                let role = if cursor.flag() { Role::Dialer } else { Role::Acceptor };
                let sealed = self.codec.seal_stream(role, &message, [0; 12]);
                Input::StreamData { stream, bytes: sealed.into() }
            }
        };
        self.tell(input);
    }

    fn command(&mut self, cursor: &mut Cursor<'_>) {
        let input = match cursor.byte() % 9 {
            0 => {
                let replay = if cursor.flag() { History::Old } else { History::Ignore };
                let addrs = (0..cursor.byte() % 12).map(|_| addr(cursor.byte())).collect();
                Input::Join { addrs, replay }
            }
            1 if cursor.byte().is_multiple_of(4) => Input::Leave,
            1 | 2 => {
                let prune = if cursor.flag() { Prune::Erase } else { Prune::Keep };
                Input::ForceLeave { name: cursor.pick(&NAMES).to_owned(), prune }
            }
            3 => Input::UserEvent {
                name: cursor.text().to_owned(),
                payload: bytes(cursor.long_bytes()),
                coalesce: cursor.flag(),
            },
            4 => {
                let tags = (0..cursor.byte() % 4)
                    .map(|_| (cursor.pick(&["role", "dc", ""]).to_owned(), cursor.text().to_owned()));
                Input::SetTags(tags.collect())
            }
            5 => {
                let command = match cursor.byte() % 4 {
                    0 => KeyCommand::Install(key(cursor.byte() % 4)),
                    1 => KeyCommand::Use(key(cursor.byte() % 4)),
                    2 => KeyCommand::Remove(key(cursor.byte() % 4)),
                    _ => KeyCommand::List,
                };
                Input::Keys { command, relay_factor: cursor.byte() }
            }
            6 => {
                let Some(query) = recall(&self.asked, cursor) else { return };
                Input::Respond { query, payload: bytes(cursor.long_bytes()) }
            }
            7 => {
                let Some(query) = recall(&self.asking, cursor) else { return };
                Input::CancelQuery(query)
            }
            _ => Input::SeedsChanged { count: usize::from(cursor.byte() % 3) },
        };
        self.tell(input);
    }

    fn query(&mut self, cursor: &mut Cursor<'_>) {
        let params = QueryParams {
            filter_nodes: (0..cursor.byte() % 3).map(|_| cursor.pick(&NAMES).to_owned()).collect(),
            filter_tags: (0..cursor.byte() % 2)
                .map(|_| ("role".to_owned(), cursor.text().to_owned()))
                .collect(),
            request_ack: cursor.flag(),
            relay_factor: cursor.byte(),
            timeout: cursor.flag().then(|| Duration::from_millis(cursor.number())),
            end: if cursor.flag() { QueryEnd::AtDeadline } else { QueryEnd::WhenAnswered },
        };
        let (name, payload) = (cursor.text().to_owned(), bytes(cursor.bytes()));
        self.tell(Input::Query { name, payload, params });
    }

    /// What the machine below does.
    fn trouble(&mut self, cursor: &mut Cursor<'_>) {
        let input = match cursor.byte() % 6 {
            0 => Input::SendFailed { to: addr(cursor.byte()), error: "network is unreachable".to_owned() },
            1 => Input::SendsHeld,
            2 => Input::SendsResumed,
            3 => {
                let Some(token) = recall(&self.persisting, cursor) else { return };
                let result = if cursor.flag() { Ok(()) } else { Err("no space left on device".to_owned()) };
                Input::KeyringPersisted { token, result }
            }
            4 => {
                Input::SeedsLookedUp { addrs: (0..cursor.byte() % 4).map(|_| addr(cursor.byte())).collect() }
            }
            _ => {
                // Time that does not pass.
                self.now = Time::ZERO.max(self.now);
                Input::Timeout
            }
        };
        self.tell(input);
    }

    /// The same again gives the same, from what was written down of it.
    fn finish(mut self) {
        self.recorder.settle(&mut self.recorded);
        self.recorder.end(End::Stopped, &mut self.recorded);
        let mut replay = Replay::new(&self.recorded).expect("we can read what we write");
        while let Some(_step) = replay.step().unwrap_or_else(|error| panic!("{error}")) {}
        assert_eq!(replay.end(), Some(End::Stopped));
    }
}

fn bytes(of: &[u8]) -> Bytes {
    Bytes::copy_from_slice(of)
}

/// A message of memberlist's or Serf's.
fn message(cursor: &mut Cursor<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let (name, from) = (cursor.pick(&NAMES), cursor.pick(&NAMES));
    let incarnation = cursor.small();
    let at = addr(cursor.byte());
    let (ip, len) = gossip::ip_bytes(at.ip());
    match cursor.byte() % 12 {
        0..=2 => Message::Alive(Alive {
            incarnation,
            node: name,
            addr: &ip[..len],
            port: at.port(),
            meta: Some(cursor.bytes()),
            versions: if cursor.byte() == 9 { cursor.bytes() } else { &VERSIONS },
        })
        .encode(&mut out),
        3 => Message::Suspect(Suspect { incarnation, node: name, from }).encode(&mut out),
        4 => Message::Dead(Dead { incarnation, node: name, from }).encode(&mut out),
        5 => {
            let ping = Ping {
                seq: incarnation,
                node: name,
                source_addr: &ip[..len],
                source_port: 7946,
                source_node: from,
            };
            Message::Ping(ping).encode(&mut out);
        }
        6 => Message::IndirectPing(IndirectPing {
            seq: incarnation,
            target: &ip[..len],
            port: at.port(),
            node: name,
            nack: cursor.flag(),
            source_addr: &[],
            source_port: 0,
            source_node: "",
        })
        .encode(&mut out),
        7 => Message::User(cursor.long_bytes()).encode(&mut out),
        _ => {
            let mut inner = Vec::new();
            serf(cursor, name, &ip[..len], &mut inner);
            gossip::encode_user(&inner, &mut out);
        }
    }
    out
}

fn serf(cursor: &mut Cursor<'_>, name: &str, ip: &[u8], out: &mut Vec<u8>) {
    let ltime = cursor.number();
    let id = cursor.small();
    match cursor.byte() % 8 {
        0 => SerfMessage::Leave(Leave { ltime, node: name, prune: cursor.flag() }).encode(out),
        1 => SerfMessage::Join(Join { ltime, node: name }).encode(out),
        2 | 3 => {
            let event = UserEvent { ltime, name: cursor.text(), payload: None, coalesce: cursor.flag() };
            SerfMessage::UserEvent(event).encode(out);
        }
        4 | 5 => {
            let internal =
                ["_serf_ping", "_serf_conflict", "_serf_install-key", "_serf_use-key", "_serf_list-keys"];
            let query = Query {
                ltime,
                id,
                addr: ip,
                port: 7946,
                source_node: name,
                filters: cursor.flag().then(|| vec![cursor.bytes()]),
                flags: u32::from(cursor.byte() % 4),
                relay_factor: cursor.byte(),
                timeout_ns: cursor.number() as i64,
                name: if cursor.flag() { cursor.text() } else { cursor.pick(&internal) },
                payload: Some(cursor.bytes()),
            };
            SerfMessage::Query(query).encode(out);
        }
        6 => {
            let response = QueryResponse {
                ltime,
                id,
                from: name,
                flags: u32::from(cursor.byte() % 2),
                payload: Some(cursor.bytes()),
            };
            SerfMessage::QueryResponse(response).encode(out);
        }
        _ => {
            let relay = Relay { dest: Some(addr(cursor.byte())), dest_name: name, inner: cursor.bytes() };
            SerfMessage::Relay(relay).encode(out);
        }
    }
}

/// A whole exchange of state.
fn exchange(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) {
    let mut records = Vec::new();
    let count = usize::from(cursor.byte() % 6);
    for _ in 0..count {
        let at = addr(cursor.byte());
        let (ip, len) = gossip::ip_bytes(at.ip());
        let states = [NodeStateKind::Alive, NodeStateKind::Suspect, NodeStateKind::Dead, NodeStateKind::Left];
        let record = NodeState {
            name: cursor.pick(&NAMES),
            addr: &ip[..len],
            port: at.port(),
            meta: Some(cursor.bytes()),
            incarnation: cursor.small(),
            state: cursor.pick(&states),
            versions: &VERSIONS,
        };
        record.encode(&mut records);
    }
    let mut state = Vec::new();
    if cursor.flag() {
        let names = (0..cursor.byte() % 4).map(|_| cursor.pick(&NAMES)).collect::<Vec<&str>>();
        let user = UserEvents { ltime: cursor.number(), events: vec![(cursor.text(), Some(cursor.bytes()))] };
        SerfMessage::PushPull(PushPullState {
            ltime: cursor.number(),
            status_ltimes: names.iter().map(|name| (*name, cursor.number())).collect(),
            left_members: Some(names),
            event_ltime: cursor.number(),
            events: Some(vec![None, Some(user)]),
            query_ltime: cursor.number(),
        })
        .encode(&mut state);
    }
    PushPull::encode(cursor.flag(), count, &records, &state, out);
}
