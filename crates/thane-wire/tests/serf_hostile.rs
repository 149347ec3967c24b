//! Whatever arrives, reading it never panics, and what was read can be written and read again.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

use proptest::prelude::*;
use thane_wire::coordinate::Coordinate;
use thane_wire::filter::Filter;
use thane_wire::serf::{EVENTS_MAX, LIST_ENTRIES_MAX, SerfMessage};
use thane_wire::snapshot::{Line, replay};
use thane_wire::{DecodeError, keyring_file, tags};

fn check(bytes: &[u8]) {
    if let Ok(message) = SerfMessage::decode(bytes) {
        let mut out = Vec::new();
        message.encode(&mut out);
        assert_eq!(SerfMessage::decode(&out), Ok(message));
    }
    if let Ok(filter) = Filter::decode(bytes) {
        let mut out = Vec::new();
        filter.encode(&mut out);
        assert_eq!(Filter::decode(&out), Ok(filter));
    }
    if let Ok(Some(coordinate)) = Coordinate::decode_ack(bytes) {
        let mut out = Vec::new();
        coordinate.encode_ack(&mut out);
        assert!(Coordinate::decode_ack(&out).unwrap().is_some());
    }
    let set = tags::decode(bytes);
    assert_eq!(tags::decode(&tags::encode(&set)), set);
    if let Ok(line) = Line::parse(bytes) {
        let mut out = Vec::new();
        if line.encode(&mut out).is_ok() {
            assert_eq!(Line::parse(&out[..out.len() - 1]), Ok(line));
        }
    }
    assert!(replay(bytes, false).whole_bytes <= bytes.len());
    _ = keyring_file::parse(bytes);
}

fn recorded_messages() -> Vec<Vec<u8>> {
    let all: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("vectors/serf/messages.json")).unwrap();
    let hex = |case: &serde_json::Value| {
        let text = case.get("hex").or(case.get("hex_old")).unwrap().as_str().unwrap().to_owned();
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    all.iter().map(hex).collect()
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&bytes);
    }

    #[test]
    fn damaged_messages_are_survived(
        message in prop::sample::select(recorded_messages()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = message;
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check(&bytes);
        check(&bytes[..cut.index(bytes.len() + 1)]);
    }
}

#[test]
fn a_message_cut_anywhere_is_truncated() {
    for message in recorded_messages().into_iter().filter(|message| message[0] != 9 && message.len() < 300) {
        for end in 0..message.len() {
            assert_eq!(SerfMessage::decode(&message[..end]), Err(DecodeError::Truncated));
        }
    }
}

#[test]
fn counts_beyond_their_limits_are_refused_before_anything_is_built() {
    // A push/pull with one list of nils.
    let push_pull = |field: &[u8], count: usize| {
        let mut bytes = [b"\x02\x81", field, b"\xdd"].concat();
        bytes.extend_from_slice(&u32::try_from(count).unwrap().to_be_bytes());
        bytes.resize(bytes.len() + count, 0xc0);
        bytes
    };
    assert!(SerfMessage::decode(&push_pull(b"\xa6Events", EVENTS_MAX)).is_ok());
    let refused = SerfMessage::decode(&push_pull(b"\xa6Events", EVENTS_MAX + 1)).map(|_| ());
    assert!(matches!(refused, Err(DecodeError::TooLarge { what: "Events", .. })), "{refused:?}");
    let refused = SerfMessage::decode(&push_pull(b"\xabLeftMembers", LIST_ENTRIES_MAX + 1)).map(|_| ());
    assert!(matches!(refused, Err(DecodeError::TooLarge { what: "LeftMembers", .. })), "{refused:?}");
    // The limit of events holds for all slots together.
    let slot = [&b"\x81\xa6Events\xdd\x00\x00\x80\x01"[..], &vec![0xc0; 0x8001]].concat();
    let bytes = [b"\x02\x81\xa6Events\x92", &slot[..], &slot[..]].concat();
    let refused = SerfMessage::decode(&bytes).map(|_| ());
    assert!(matches!(refused, Err(DecodeError::TooLarge { what: "Events", .. })), "{refused:?}");
}
