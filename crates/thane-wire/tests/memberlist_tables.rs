//! What the tests of memberlist itself assert about bytes, where no recording has it: labels, key rings, checksums,
//! compounds and the limits of compression.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use thane_wire::gossip::{Message, kind};
use thane_wire::limits::{LABEL_BYTES_MAX, PACKET_EXPANDED_BYTES_MAX, STREAM_EXPANDED_BYTES_MAX};
use thane_wire::packet::{Checksum, PacketError};
use thane_wire::stream::{self, PushPull, Role, StreamDecoder, StreamError, StreamMessage};
use thane_wire::{Codec, CodecConfig, Key, Keyring};

const NONCE: [u8; 12] = [3; 12];

fn labelled(label: &str) -> Codec {
    Codec::new(CodecConfig { label: label.to_owned(), ..CodecConfig::default() }).unwrap()
}

fn with_keys(keys: &[&Key]) -> Codec {
    let keyring = Keyring::new(keys.iter().copied().cloned());
    let config =
        CodecConfig { keyring, verify_incoming: true, verify_outgoing: true, ..CodecConfig::default() };
    Codec::new(config).unwrap()
}

/// What a message costs when it is packed with this codec, more than its own bytes.
fn overhead(codec: &Codec, message: &[u8], checksum: Checksum) -> usize {
    codec.seal_packet(&[message], checksum, NONCE).len() - message.len()
}

fn push(codec: &Codec, role: Role, bytes: &[u8]) -> Result<Option<StreamMessage>, StreamError> {
    StreamDecoder::new(role).push(codec, bytes)
}

fn user(payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    stream::encode_user(payload, &mut message);
    message
}

// ---- labels ----

/// memberlist: `label_test.go`, `TestAddLabelHeaderToPacket`, `TestLabelOverhead`.
#[test]
fn a_label_costs_its_length_and_two_bytes() {
    let message = [kind::USER, 1, 2];
    let longest = "x".repeat(LABEL_BYTES_MAX);
    for (label, cost) in [("", 0), ("foo", 5), (longest.as_str(), 257)] {
        let codec = labelled(label);
        assert_eq!(codec.packet_overhead(), cost, "{} bytes of label", label.len());
        assert_eq!(overhead(&codec, &message, Checksum::Omit), cost);
    }
    assert_eq!(labelled("foo").seal_packet(&[message], Checksum::Omit, NONCE), b"\xf4\x03foo\x08\x01\x02");
    let too_long = CodecConfig { label: "x".repeat(256), ..CodecConfig::default() };
    assert!(Codec::new(too_long).is_err());
}

/// memberlist: `label_test.go`, `TestRemoveLabelHeaderFromPacket`.
#[test]
fn a_label_header_is_removed_and_a_broken_one_is_refused() {
    let message = [kind::USER, 9];
    let open = |codec: &Codec, bytes: &[u8]| codec.open_packet(bytes.to_vec().into());
    for (label, header) in [("", &b""[..]), ("f", b"\xf4\x01f"), ("foo", b"\xf4\x03foo")] {
        let opened = open(&labelled(label), &[header, &message].concat()).unwrap();
        assert_eq!(opened.messages, [&message[..]], "{label:?}");
    }
    for broken in [&b"\xf4"[..], b"\xf4\x03", b"\xf4\x03fo", b"\xf4\x00\x08\x09"] {
        assert_eq!(open(&labelled("foo"), broken), Err(PacketError::LabelHeader), "{broken:?}");
    }
    // The case matters, and a beginning is not enough.
    for other in [&b"\xf4\x03Foo\x08\x09"[..], b"\xf4\x02fo\x08\x09", b"\x08\x09"] {
        let refused = open(&labelled("foo"), other);
        assert!(matches!(refused, Err(PacketError::LabelMismatch { .. })), "{other:?}: {refused:?}");
    }
    assert_eq!(open(&labelled(""), b""), Err(PacketError::Empty));
}

/// memberlist: `label_test.go`, `TestAddLabelHeaderToStream`, `TestRemoveLabelHeaderFromStream`. Only who dials says it.
#[test]
fn a_stream_begins_with_the_label_of_the_dialer_and_its_reply_has_none() {
    let (codec, message) = (labelled("foo"), user(b"hello"));
    let sealed = codec.seal_stream(Role::Dialer, &message, NONCE);
    assert_eq!(sealed, [b"\xf4\x03foo", &message[..]].concat());
    let expected = Ok(Some(StreamMessage::User(b"hello"[..].to_vec().into())));
    assert_eq!(push(&codec, Role::Acceptor, &sealed), expected);
    assert_eq!(codec.seal_stream(Role::Acceptor, &message, NONCE), message);
    assert!(push(&codec, Role::Acceptor, &message).is_err(), "a request without the label");
    // Nothing at all is no fault yet: whoever closes now has said nothing.
    assert_eq!(push(&codec, Role::Acceptor, b""), Ok(None));
    assert_eq!(push(&codec, Role::Acceptor, b"\xf4\x03f"), Ok(None));
    let empty = push(&codec, Role::Acceptor, b"\xf4\x00\x08").unwrap_err();
    assert!(!empty.deserves_reply(), "{empty}");
}

// ---- keys ----

/// memberlist: `keyring_test.go`, `TestKeyRing_MultiKeyEncryptDecrypt`.
#[test]
fn whatever_one_of_our_keys_sealed_is_opened_and_after_its_removal_no_more() {
    let (old, new) = (Key::new(&[1; 16]).unwrap(), Key::new(&[2; 32]).unwrap());
    let message = [kind::USER, 5];
    let sealed_old = with_keys(&[&old]).seal_packet(&[message], Checksum::Omit, NONCE);
    let mut both = with_keys(&[&new, &old]);
    let sealed_new = both.seal_packet(&[message], Checksum::Omit, NONCE);
    for sealed in [&sealed_old, &sealed_new] {
        assert_eq!(both.open_packet(sealed.clone().into()).unwrap().messages, [&message[..]]);
    }
    assert!(with_keys(&[&old]).open_packet(sealed_new.clone().into()).is_err(), "the primary key seals");
    both.keyring_mut().remove(&old).unwrap();
    assert_eq!(both.open_packet(sealed_old.into()), Err(PacketError::Decrypt { keys: 1 }));
    assert!(both.open_packet(sealed_new.into()).is_ok());
}

/// memberlist: `keyring_test.go`, `TestKeyring_EmptyRing`; `memberlist_test.go`, `TestCreate_secretKeyEmpty`.
#[test]
fn without_a_key_nothing_is_encrypted() {
    let codec = with_keys(&[]);
    let message = [kind::USER, 5];
    assert_eq!(codec.seal_packet(&[message], Checksum::Omit, NONCE), message);
    assert_eq!(codec.packet_overhead(), 0);
}

/// memberlist: `security_test.go`, `TestEncryptDecrypt_V0` and `_V1`; the frame of streams, whose length and label are
/// authenticated with it.
#[test]
fn an_encrypted_stream_says_its_length_and_stands_for_no_other_label() {
    let keyring = Keyring::new([Key::new(&[7; 16]).unwrap()]);
    let codec = |label: &str, padded_envelopes| {
        Codec::new(CodecConfig {
            label: label.to_owned(),
            keyring: keyring.clone(),
            verify_incoming: true,
            verify_outgoing: true,
            padded_envelopes,
            ..CodecConfig::default()
        })
        .unwrap()
    };
    let mut message = Vec::new();
    stream::encode_error("a reply", &mut message);
    for (padded, length) in [(false, message.len() + 29), (true, (message.len() / 16 + 1) * 16 + 29)] {
        let sealed = codec("foo", padded).seal_stream(Role::Acceptor, &message, NONCE);
        assert_eq!(sealed[0], kind::ENCRYPT);
        assert_eq!(sealed[1..5], u32::try_from(length).unwrap().to_be_bytes());
        assert_eq!(sealed.len(), 5 + length);
        let read = |label: &str| push(&codec(label, false), Role::Dialer, &sealed);
        assert_eq!(read("foo"), Ok(Some(StreamMessage::Error("a reply".to_owned()))));
        assert!(read("bar").is_err(), "the reply bears no label, but is bound to it");
    }
}

// ---- checksums and compounds ----

/// memberlist: `net_test.go`, `TestRawSendUdp_CRC`, `TestIngestPacket_CRC`.
#[test]
fn a_checksum_costs_five_bytes_and_finds_any_change() {
    let message = [kind::USER, 1, 2, 3];
    let codec = labelled("");
    assert_eq!(overhead(&codec, &message, Checksum::Omit), 0);
    assert_eq!(overhead(&codec, &message, Checksum::Add), 5);
    let sealed = codec.seal_packet(&[message], Checksum::Add, NONCE);
    for at in 1..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        let refused = codec.open_packet(changed.into());
        assert!(matches!(refused, Err(PacketError::Checksum { .. })), "byte {at}: {refused:?}");
    }
}

/// memberlist: `util_test.go`, `TestMakeCompoundMessage`, `TestDecodeCompoundMessage`, `_NumberOfPartsOverflow`, `_Trunc`.
#[test]
fn a_compound_costs_two_bytes_and_two_for_each_part_and_what_is_cut_off_is_lost() {
    let (codec, part) = (labelled(""), [kind::USER, 4, 5]);
    let sealed = codec.seal_packet(&[part, part, part], Checksum::Omit, NONCE);
    assert_eq!(sealed.len(), 3 * part.len() + 3 * 2 + 2);
    let opened = codec.open_packet(sealed.clone().into()).unwrap();
    assert_eq!((opened.messages.len(), opened.dropped.len()), (3, 0));
    assert_eq!(opened.messages, [&part[..]; 3]);
    let opened = codec.open_packet(sealed[..sealed.len() - 1].to_vec().into()).unwrap();
    assert_eq!(opened.messages.len(), 2);
    assert_eq!(opened.dropped, [PacketError::CompoundTruncated(1)]);
    let without_table = codec.open_packet(vec![kind::COMPOUND, 128].into());
    assert_eq!(without_table, Err(PacketError::CompoundTruncated(128)));
    // A message alone needs no compound.
    assert_eq!(codec.seal_packet(&[part], Checksum::Omit, NONCE), part);
}

// ---- compression ----

fn compressing() -> Codec {
    Codec::new(CodecConfig { compression: true, ..CodecConfig::default() }).unwrap()
}

/// memberlist: `util_test.go`, `TestCompressDecompressPayload`. Streams are compressed whatever comes of it, packets only to
/// become smaller.
#[test]
fn packets_are_compressed_where_it_helps_and_streams_always() {
    let codec = compressing();
    let mut noise = 1_u32;
    let mut random = || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 24) as u8
    };
    let incompressible: Vec<u8> = std::iter::once(kind::USER).chain((0..300).map(|_| random())).collect();
    let repetitive = [&[kind::USER], &[b'a'; 300][..]].concat();
    for (message, smaller) in [(&incompressible, false), (&repetitive, true)] {
        let packet = codec.seal_packet(&[message], Checksum::Omit, NONCE);
        assert_eq!(packet[0] == kind::COMPRESS, smaller);
        assert!(packet.len() <= message.len());
        assert_eq!(codec.open_packet(packet.into()).unwrap().messages, [&message[..]]);
    }
    let sealed = codec.seal_stream(Role::Dialer, &user(&incompressible), NONCE);
    assert_eq!(sealed[0], kind::COMPRESS);
    assert!(sealed.len() > incompressible.len());
    let read = push(&codec, Role::Acceptor, &sealed);
    assert_eq!(read, Ok(Some(StreamMessage::User(incompressible.into()))));
}

/// memberlist: `util_test.go`, `TestDecompressPayload_Limit`. Differs from it: a packet has a limit of its own.
#[test]
fn what_expands_beyond_the_limit_is_refused() {
    let codec = compressing();
    let expanding_to = |bytes: usize| codec.seal_stream(Role::Dialer, &vec![kind::USER; bytes], NONCE);
    // What it expands to is no message; beyond the limit nobody comes to see that.
    let too_large = |bytes: usize| {
        let read = push(&codec, Role::Acceptor, &expanding_to(bytes));
        let refused = read.unwrap_err().to_string();
        refused.contains("expanded size")
    };
    assert!(!too_large((20 << 20) + 1));
    assert!(too_large(STREAM_EXPANDED_BYTES_MAX + 1));
    for (bytes, fits) in [(PACKET_EXPANDED_BYTES_MAX, true), (PACKET_EXPANDED_BYTES_MAX + 1, false)] {
        let opened = codec.open_packet(expanding_to(bytes).into());
        assert_eq!(opened.is_ok(), fits, "{bytes} bytes");
    }
}

// ---- streams ----

/// memberlist: `net_test.go`, `TestReadRemoteState_Limits`, `TestReadUserMsg_Limit`.
#[test]
fn announced_sizes_beyond_the_limits_close_a_stream_at_once() {
    let codec = labelled("");
    let announced = |nodes: u32, state: u32| {
        let head = [&[kind::PUSH_PULL, 0x82, 0xa5], &b"Nodes\xce"[..], &nodes.to_be_bytes()].concat();
        [&head[..], b"\xacUserStateLen\xce", &state.to_be_bytes()].concat()
    };
    for (nodes, state, refused) in
        [(10_000_000, 0, true), (0, 30_000_000, true), ((1 << 20) + 1, 0, true), (1 << 20, 20 << 20, false)]
    {
        let read = push(&codec, Role::Acceptor, &announced(nodes, state));
        assert_eq!(read.is_err(), refused, "{nodes} nodes and {state} bytes");
        if let Err(error) = read {
            assert!(!error.deserves_reply(), "{error}");
        }
    }
    let message = [&[kind::USER, 0x81, 0xaa], &b"UserMsgLen\xce"[..], &30_000_000_u32.to_be_bytes()].concat();
    assert!(push(&codec, Role::Acceptor, &message).is_err());
}

/// A message of no bytes is delivered when it comes in a packet; on a stream the application decides.
#[test]
fn empty_user_messages_are_messages() {
    assert_eq!(Message::decode(&[kind::USER]), Ok(Message::User(b"")));
    let read = push(&labelled(""), Role::Acceptor, &user(b""));
    assert_eq!(read, Ok(Some(StreamMessage::User(Vec::new().into()))));
}

/// The parts of a state exchange may arrive one by one, with more after them than was announced.
#[test]
fn bytes_after_a_state_exchange_are_ignored() {
    let mut message = Vec::new();
    PushPull::encode(true, 0, &[], b"state", &mut message);
    message.extend_from_slice(b"trailing");
    let Ok(Some(StreamMessage::PushPull(read))) = push(&labelled(""), Role::Acceptor, &message) else {
        panic!("no state exchange")
    };
    assert_eq!(read.user_state, &b"state"[..]);
}
