//! What must hold for any message and for any bytes.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use thane_wire::gossip::{
    Ack, Alive, Dead, IndirectPing, Message, Nack, NodeState, NodeStateKind, Ping, PushPullHeader, Suspect,
};
use thane_wire::msgpack::{Reader, Skipper};
use thane_wire::packet::Checksum;
use thane_wire::stream::{self, PushPull, Role, StreamDecoder, StreamError, StreamMessage};
use thane_wire::{Codec, CodecConfig, Key, Keyring};

const NONCE: [u8; 12] = [7; 12];

/// Names and addresses that a message can borrow from.
#[derive(Debug, Clone)]
struct Parts {
    names: [String; 2],
    bytes: [Vec<u8>; 3],
    meta: Option<Vec<u8>>,
    numbers: (u32, u16, i64),
    flag: bool,
}

fn parts() -> impl Strategy<Value = Parts> {
    let name = || prop_oneof![".{0,8}", "[a-z]{28,36}", "[a-z]{250,260}"];
    let bytes = || prop_oneof![vec(any::<u8>(), 0..20), vec(any::<u8>(), 250..260)];
    let numbers = (any::<u32>(), any::<u16>(), prop_oneof![0_i64..5, any::<i64>()]);
    ([name(), name()], [bytes(), bytes(), bytes()], proptest::option::of(bytes()), numbers, any::<bool>())
        .prop_map(|(names, bytes, meta, numbers, flag)| Parts { names, bytes, meta, numbers, flag })
}

impl Parts {
    fn messages(&self) -> Vec<Message<'_>> {
        let Self { names: [node, from], bytes: [addr, target, versions], meta, numbers, flag } = self;
        let (seq, port, _) = *numbers;
        let (incarnation, meta) = (seq, meta.as_deref());
        let source = Ping { seq, node, source_addr: addr, source_port: port, source_node: from };
        vec![
            Message::Ping(source),
            Message::IndirectPing(IndirectPing {
                seq,
                target,
                port,
                node,
                nack: *flag,
                source_addr: addr,
                source_port: port,
                source_node: from,
            }),
            Message::Ack(Ack { seq, payload: meta }),
            Message::Nack(Nack { seq }),
            Message::Suspect(Suspect { incarnation, node, from }),
            Message::Dead(Dead { incarnation, node, from }),
            Message::Alive(Alive { incarnation, node, addr, port, meta, versions }),
            Message::User(target),
        ]
    }

    fn node(&self) -> NodeState<'_> {
        let Self { names: [name, _], bytes: [addr, _, versions], meta, numbers, .. } = self;
        let (incarnation, port, state) = *numbers;
        let state = match state {
            0 => NodeStateKind::Alive,
            1 => NodeStateKind::Suspect,
            2 => NodeStateKind::Dead,
            3 => NodeStateKind::Left,
            other => NodeStateKind::Unknown(other),
        };
        NodeState { name, addr, port, meta: meta.as_deref(), incarnation, state, versions }
    }
}

fn encoded(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

fn codec() -> impl Strategy<Value = Codec> {
    let key =
        prop_oneof![Just(16_usize), Just(24), Just(32)].prop_flat_map(|length| vec(any::<u8>(), length));
    let flags = (any::<bool>(), any::<bool>());
    ("[a-z]{0,9}", vec(key, 0..3), flags).prop_map(|(label, keys, (compression, padded_envelopes))| {
        Codec::new(CodecConfig {
            label,
            keyring: Keyring::new(keys.iter().map(|key| Key::new(key).unwrap())),
            verify_incoming: true,
            verify_outgoing: true,
            compression,
            padded_envelopes,
            skip_inbound_label_check: false,
        })
        .unwrap()
    })
}

/// Bytes with some of them changed, and perhaps the end cut off.
fn mutated(
    mut bytes: Vec<u8>,
    changes: &[(prop::sample::Index, u8)],
    cut: Option<prop::sample::Index>,
) -> Vec<u8> {
    for (at, byte) in changes {
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len() + 1));
    }
    bytes
}

fn mutation() -> impl Strategy<Value = (Vec<(prop::sample::Index, u8)>, Option<prop::sample::Index>)> {
    let byte = prop_oneof![any::<u8>(), 0xc0_u8..=0xdf, Just(7), Just(9), Just(12), Just(244)];
    (vec((any::<prop::sample::Index>(), byte), 0..6), any::<Option<prop::sample::Index>>())
}

/// Opens a packet and reads everything in it; whatever comes out, it must come out.
fn read_packet(codec: &Codec, bytes: Vec<u8>) {
    if let Ok(opened) = codec.open_packet(bytes.into()) {
        for message in &opened.messages {
            if let Ok(message) = Message::decode(message) {
                // What was read can be written, and is then read as the same.
                assert_eq!(Message::decode(&encoded(&message)).as_ref(), Ok(&message));
            }
        }
    }
}

/// Feeds a stream in pieces that end at these places.
fn read_stream(
    codec: &Codec,
    role: Role,
    bytes: &[u8],
    ends: &[prop::sample::Index],
) -> Result<Option<StreamMessage>, StreamError> {
    let mut ends: Vec<usize> = ends.iter().map(|end| end.index(bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut decoder = StreamDecoder::new(role);
    let mut start = 0;
    for end in ends {
        if let Some(message) = decoder.push(codec, &bytes[start..end])? {
            return Ok(Some(message));
        }
        start = end;
    }
    Ok(None)
}

fn read_whole_stream(codec: &Codec, role: Role, bytes: &[u8]) -> Result<Option<StreamMessage>, StreamError> {
    let decoded = read_stream(codec, role, bytes, &[]);
    if let Ok(Some(StreamMessage::PushPull(exchange))) = &decoded {
        assert_eq!(exchange.nodes().count(), exchange.header.nodes);
    }
    decoded
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_round_trip(parts in parts()) {
        for message in parts.messages() {
            let bytes = encoded(&message);
            prop_assert_eq!(Message::decode(&bytes), Ok(message.clone()));
            let trailed = [&bytes[..], b"?"].concat();
            if !matches!(message, Message::User(_)) {
                prop_assert_eq!(Message::decode(&trailed), Ok(message));
            }
        }
        let mut record = Vec::new();
        parts.node().encode(&mut record);
        prop_assert_eq!(NodeState::decode(&record), Ok(parts.node()));
    }

    #[test]
    fn a_message_that_breaks_off_is_no_message(parts in parts(), cut: prop::sample::Index) {
        for message in parts.messages() {
            let bytes = encoded(&message);
            if !matches!(message, Message::User(_)) {
                prop_assert!(Message::decode(&bytes[..cut.index(bytes.len())]).is_err());
            }
        }
    }

    #[test]
    fn packets_round_trip(parts in parts(), codec in codec(), count in 1..9_usize, checksum: bool) {
        let messages: Vec<Vec<u8>> = parts.messages()[..count.min(8)].iter().map(encoded).collect();
        let checksum = if checksum { Checksum::Add } else { Checksum::Omit };
        let sealed = codec.seal_packet(&messages, checksum, NONCE);
        let opened = codec.open_packet(sealed.into()).unwrap();
        prop_assert_eq!(opened.messages, messages);
        prop_assert_eq!(opened.dropped, []);
    }

    #[test]
    fn sealing_adds_no_more_than_the_stated_overhead(codec in codec(), payload in vec(any::<u8>(), 1..300)) {
        let sealed = codec.seal_packet(&[&payload], Checksum::Omit, NONCE);
        prop_assert!(sealed.len() <= payload.len() + codec.packet_overhead());
    }

    #[test]
    fn push_pulls_round_trip(
        all in vec(parts(), 0..6),
        user_state in vec(any::<u8>(), 0..300),
        codec in codec(),
        join: bool,
        ends in vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut records = Vec::new();
        for parts in &all {
 parts.node().encode(&mut records);
}
        let mut message = Vec::new();
        PushPull::encode(join, all.len(), &records, &user_state, &mut message);
        for (from, to) in [(Role::Dialer, Role::Acceptor), (Role::Acceptor, Role::Dialer)] {
            let sealed = codec.seal_stream(from, &message, NONCE);
            let Ok(Some(StreamMessage::PushPull(exchange))) = read_stream(&codec, to, &sealed, &ends) else {
                return Err(TestCaseError::fail("no push/pull"));
            };
            let header = PushPullHeader { nodes: all.len(), user_state_len: user_state.len(), join };
            prop_assert_eq!(exchange.header, header);
            prop_assert_eq!(&exchange.user_state[..], &user_state[..]);
            let nodes: Vec<_> = exchange.nodes().collect();
            let expected: Vec<_> = all.iter().map(|parts| Ok(parts.node())).collect();
            prop_assert_eq!(nodes, expected);
        }
    }

    #[test]
    fn user_messages_round_trip_on_streams(payload in vec(any::<u8>(), 0..400), codec in codec()) {
        let mut message = Vec::new();
        stream::encode_user(&payload, &mut message);
        let sealed = codec.seal_stream(Role::Dialer, &message, NONCE);
        let decoded = read_stream(&codec, Role::Acceptor, &sealed, &[]);
        prop_assert_eq!(decoded, Ok(Some(StreamMessage::User(Bytes::from(payload)))));
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..400), codec in codec()) {
        read_packet(&codec, bytes.clone());
        let plain = Codec::new(CodecConfig::default()).unwrap();
        for kind in 0..16 {
            let message = [&[kind], &bytes[..]].concat();
            read_packet(&plain, message.clone());
            for role in [Role::Dialer, Role::Acceptor] {
                drop(read_whole_stream(&plain, role, &message));
            }
        }
        if let Ok(node) = NodeState::decode(&bytes) {
            let mut again = Vec::new();
            node.encode(&mut again);
            prop_assert_eq!(NodeState::decode(&again), Ok(node));
        }
    }

    #[test]
    fn changed_packets_are_survived(
        parts in parts(),
        compression: bool,
        checksum: bool,
        (changes, cut) in mutation(),
    ) {
        let codec = Codec::new(CodecConfig { compression, ..CodecConfig::default() }).unwrap();
        let messages: Vec<Vec<u8>> = parts.messages().iter().map(encoded).collect();
        let checksum = if checksum { Checksum::Add } else { Checksum::Omit };
        read_packet(&codec, mutated(codec.seal_packet(&messages, checksum, NONCE), &changes, cut));
        for message in messages {
            read_packet(&codec, mutated(message, &changes, cut));
        }
    }

    #[test]
    fn changed_envelopes_never_open(parts in parts(), at: prop::sample::Index, flip in 1..=255_u8) {
        let keyring = Keyring::new([Key::new(&[1; 16]).unwrap()]);
        let config = CodecConfig { keyring, verify_incoming: true, verify_outgoing: true, ..CodecConfig::default() };
        let codec = Codec::new(config).unwrap();
        let mut sealed = codec.seal_packet(&[encoded(&parts.messages()[6])], Checksum::Omit, NONCE);
        // The version byte is not authenticated.
        let at = 1 + at.index(sealed.len() - 1);
        sealed[at] ^= flip;
        prop_assert!(codec.open_packet(sealed.into()).is_err());
    }

    #[test]
    fn changed_streams_end_the_same_in_any_pieces(
        all in vec(parts(), 0..3),
        user_state in vec(any::<u8>(), 0..40),
        codec in codec(),
        plain: bool,
        (changes, cut) in mutation(),
        ends in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let codec = if plain { Codec::new(CodecConfig::default()).unwrap() } else { codec };
        let mut records = Vec::new();
        for parts in &all {
 parts.node().encode(&mut records);
}
        let mut message = Vec::new();
        PushPull::encode(true, all.len(), &records, &user_state, &mut message);
        let bytes = mutated(codec.seal_stream(Role::Dialer, &message, NONCE), &changes, cut);
        let whole = read_whole_stream(&codec, Role::Acceptor, &bytes);
        prop_assert_eq!(read_stream(&codec, Role::Acceptor, &bytes, &ends), whole.clone());
        let every_byte: Vec<_> = (0..bytes.len()).collect();
        let mut decoder = StreamDecoder::new(Role::Acceptor);
        let mut single = Ok(None);
        for at in every_byte {
            single = decoder.push(&codec, &bytes[at..=at]);
            if single != Ok(None) {
                break;
            }
        }
        prop_assert_eq!(single, whole);
    }

    #[test]
    fn a_skipper_finds_the_same_end_in_any_pieces(bytes in vec(prop_oneof![any::<u8>(), 0x80_u8..0xe0], 0..60)) {
        let mut reader = Reader::new(&bytes);
        let whole = reader.skip().map(|()| reader.position());
        let mut skipper = Skipper::new();
        let pieces = (0..=bytes.len()).map(|end| skipper.advance(&bytes[..end]));
        let first = pieces.into_iter().find(|end| *end != Err(thane_wire::DecodeError::Truncated));
        prop_assert_eq!(first.unwrap_or(Err(thane_wire::DecodeError::Truncated)), whole);
    }
}
