//! Hostile bytes never cost more memory than `limits` states. This is a program of its own because it replaces the
//! allocator to count what is held, and one test because a second would be counted too.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use bytes::Bytes;
use peak_alloc::PeakAlloc;
use thane_wire::gossip::{Message, NodeState, kind};
use thane_wire::limits::{
    PACKET_MEMORY_FIXED, PACKET_MEMORY_PER_BYTE, STREAM_EXPANDED_BYTES_MAX, STREAM_MEMORY_EXPANSION,
    STREAM_MEMORY_FIXED, STREAM_MEMORY_PER_BYTE,
};
use thane_wire::packet::Checksum;
use thane_wire::stream::{self, Role, StreamDecoder};
use thane_wire::{Codec, CodecConfig, Key, Keyring};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Most bytes held at once while `work` runs, beyond what was held before.
fn peak<T>(work: impl FnOnce() -> T) -> usize {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let result = work();
    let peak = ALLOCATOR.peak_usage() - before;
    drop(result);
    peak
}

fn plain() -> Codec {
    Codec::new(CodecConfig::default()).unwrap()
}

fn encrypting() -> Codec {
    let keyring = Keyring::new([Key::new(&[1; 32]).unwrap(), Key::new(&[2; 16]).unwrap()]);
    let config =
        CodecConfig { keyring, verify_incoming: true, verify_outgoing: true, ..CodecConfig::default() };
    Codec::new(config).unwrap()
}

/// A compress message, whatever it holds.
fn compressed(message: &[u8]) -> Vec<u8> {
    let config = CodecConfig { compression: true, ..CodecConfig::default() };
    Codec::new(config).unwrap().seal_stream(Role::Acceptor, message, [0; 12])
}

/// A compound of as many equal parts as it can hold.
fn compound(part: &[u8], count: u8) -> Vec<u8> {
    let length = u16::try_from(part.len()).unwrap().to_be_bytes();
    [vec![kind::COMPOUND, count], length.repeat(count.into()), part.repeat(count.into())].concat()
}

/// Bytes that look random and are the same on each run.
fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    (0..length).map(|_at| next()).collect()
}

fn user_stream(announced: u32, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![kind::USER, 0x81, 0xaa];
    message.extend_from_slice(b"UserMsgLen\xce");
    message.extend_from_slice(&announced.to_be_bytes());
    message.extend_from_slice(payload);
    message
}

fn push_pull_stream(nodes: u32, user_state: u32, rest: &[u8]) -> Vec<u8> {
    let mut message = vec![kind::PUSH_PULL, 0x82, 0xa5];
    message.extend_from_slice(b"Nodes\xce");
    message.extend_from_slice(&nodes.to_be_bytes());
    message.push(0xac);
    message.extend_from_slice(b"UserStateLen\xce");
    message.extend_from_slice(&user_state.to_be_bytes());
    message.extend_from_slice(rest);
    message
}

fn hostile_packets() -> Vec<(&'static str, Vec<u8>)> {
    let zeros = |length: usize| compressed(&[&[kind::USER], &vec![0; length][..]].concat());
    let empty_parts = compound(&[], 255);
    let mut packets = vec![
        ("expands just to the limit", zeros((1 << 20) - 1)),
        ("expands over the limit", zeros(1 << 20)),
        ("expands without end", zeros(16 << 20)),
        ("parts that expand together", compound(&zeros(100_000), 255)),
        ("parts that expand a little", compound(&zeros(40), 255)),
        ("many parts that expand a little", compressed(&compound(&compound(&zeros(8), 255), 9))),
        ("empty parts", empty_parts.clone()),
        ("empty parts in parts", compound(&empty_parts, 127)),
        ("empty parts in parts that expand", compressed(&compound(&compound(&empty_parts, 100), 2))),
        ("one-byte parts in parts that expand", compressed(&compound(&compound(&[8], 255), 80))),
        ("compounds without parts", compound(&[kind::COMPOUND, 255], 255)),
        (
            "a compress buffer of numbers",
            [&b"\x09\x81\xa3Buf\xdd\0\0\xf0\0"[..], &vec![0xcc; 0x1_e000]].concat(),
        ),
        ("a compress buffer that is not there", b"\x09\x81\xa3Buf\xdb\xff\xff\xff\xff".to_vec()),
    ];
    packets.extend((0..40).map(|seed| ("noise", noise(1_400, seed))));
    packets.extend(
        (0..8).map(|seed| ("a compound of noise", [&[kind::COMPOUND], &noise(60_000, seed)[..]].concat())),
    );
    packets.extend((0..40).map(|seed| {
        let head = b"\x09\x81\xa3Buf\xda\x40\0".to_vec();
        ("compressed noise", [head, noise(0x4000, seed)].concat())
    }));
    packets
}

fn check_packets() {
    let sealed = hostile_packets().into_iter().filter(|(_, packet)| packet.len() < 65_000);
    let sealed =
        sealed.map(|(what, packet)| (what, encrypting().seal_packet(&[packet], Checksum::Add, [0; 12])));
    for (codec, packets) in
        [(plain(), hostile_packets()), (encrypting(), hostile_packets()), (encrypting(), sealed.collect())]
    {
        for (what, packet) in packets {
            let length = packet.len();
            let allowed = PACKET_MEMORY_FIXED + PACKET_MEMORY_PER_BYTE * length;
            let packet = Bytes::from(packet);
            let held = peak(|| codec.open_packet(packet.clone()));
            assert!(held <= allowed, "{what}: {length} bytes held {held}, allowed are {allowed}");
        }
    }
}

fn check_messages() {
    for seed in 0..2_000 {
        let body = noise(120, seed);
        for kind in [0, 1, 2, 3, 4, 5, 8, 11] {
            let lying = [&[kind, 0x9f, 0xdb, 0xff, 0xff, 0xff, 0xff], &body[..]].concat();
            assert_eq!(peak(|| Message::decode(&lying).is_ok()), 0, "reading a message borrows");
            let map = [&[kind, 0xdf, 0xff, 0xff, 0xff, 0xff], &body[..]].concat();
            assert_eq!(peak(|| Message::decode(&map).is_ok()), 0, "reading a message borrows");
        }
        assert_eq!(peak(|| NodeState::decode(&body).is_ok()), 0, "reading a record borrows");
    }
}

fn hostile_streams() -> Vec<(&'static str, Codec, Vec<u8>)> {
    let sealed = |message: &[u8]| encrypting().seal_stream(Role::Acceptor, message, [0; 12]);
    let mut user = Vec::new();
    stream::encode_user(&noise(3 << 20, 1), &mut user);
    vec![
        ("a frame that is only announced", encrypting(), vec![kind::ENCRYPT, 1, 0x40, 0, 0, 0, 1]),
        (
            "a frame of noise",
            encrypting(),
            [&[kind::ENCRYPT, 0, 0x10, 0, 0], &noise(1 << 20, 2)[..]].concat(),
        ),
        ("a user message that is only announced", plain(), user_stream(20 << 20, b"x")),
        ("a user message", plain(), user.clone()),
        ("an encrypted user message", encrypting(), sealed(&user)),
        ("records that are only announced", plain(), push_pull_stream(1 << 20, 20 << 20, &[0xc0; 100])),
        ("records of nothing", plain(), push_pull_stream(1 << 20, 0, &vec![0xc0; 1 << 20])),
        (
            "a record without end",
            plain(),
            push_pull_stream(1, 0, &[&[0xdd, 255, 255, 255, 255], &vec![1; 1 << 20][..]].concat()),
        ),
        (
            "a header without end",
            plain(),
            [&[kind::PUSH_PULL, 0xdf, 255, 255, 255, 255], &vec![0xa0; 1 << 20][..]].concat(),
        ),
        ("a deep record", plain(), push_pull_stream(1, 0, &vec![0x91; 1 << 16])),
        (
            "a ping without end",
            plain(),
            [&[kind::PING, 0xdb, 255, 255, 255, 255], &vec![1; 1 << 20][..]].concat(),
        ),
        ("a compressed message that is not there", plain(), b"\x09\x81\xa3Buf\xdb\xff\xff\xff\xff".to_vec()),
    ]
}

/// Most bytes held while the stream arrives in pieces of this length.
fn stream_peak(codec: &Codec, bytes: &[u8], piece: usize) -> usize {
    peak(|| {
        let mut decoder = StreamDecoder::new(Role::Acceptor);
        let mut result = Ok(None);
        for piece in bytes.chunks(piece) {
            result = decoder.push(codec, piece);
            if !matches!(result, Ok(None)) {
                break;
            }
        }
        (decoder, result)
    })
}

fn check_streams() {
    for (what, codec, bytes) in hostile_streams() {
        let length = bytes.len();
        let allowed = STREAM_MEMORY_FIXED + STREAM_MEMORY_PER_BYTE * length;
        for piece in [17, 1_500, 70_000] {
            let held = stream_peak(&codec, &bytes, piece);
            assert!(held <= allowed, "{what}: {length} bytes held {held}, allowed are {allowed}");
        }
    }
    for seed in 0..64 {
        let bytes = [&[seed as u8 % 14], &noise(4_000, seed)[..]].concat();
        let allowed = STREAM_MEMORY_FIXED + STREAM_MEMORY_PER_BYTE * bytes.len() + STREAM_MEMORY_EXPANSION;
        assert!(stream_peak(&plain(), &bytes, 100) <= allowed);
    }
    for expanded in [STREAM_EXPANDED_BYTES_MAX, STREAM_EXPANDED_BYTES_MAX + 1] {
        let bytes = compressed(&vec![kind::USER; expanded]);
        let allowed = STREAM_MEMORY_FIXED + STREAM_MEMORY_PER_BYTE * bytes.len() + STREAM_MEMORY_EXPANSION;
        let held = stream_peak(&plain(), &bytes, 70_000);
        assert!(held <= allowed, "{expanded} bytes from {} held {held}, allowed are {allowed}", bytes.len());
        assert!(held > STREAM_EXPANDED_BYTES_MAX / 2, "the data did not expand at all");
    }
}

#[test]
fn hostile_bytes_cost_no_more_memory_than_stated() {
    check_messages();
    check_packets();
    check_streams();
}
