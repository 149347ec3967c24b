//! Packets that memberlist's library and Serf's agents sent.

use bytes::Bytes;
use serde_json::Value;
use thane_wire::gossip::Message;
use thane_wire::limits::COMPOUND_PARTS_MAX;
use thane_wire::packet::Checksum;

use super::{assert_user_payload, codec, describe, hex, load, nonce};

fn rows() -> Vec<Value> {
    load(include_str!("../vectors/gossip/packets.json"))
}

fn open(row: &Value) -> Vec<Bytes> {
    let id = &row["id"];
    let opened = codec(row).open_packet(hex(row["hex"].as_str().unwrap()).into());
    let opened = opened.unwrap_or_else(|error| panic!("{id}: {error}"));
    assert_eq!(opened.dropped, [], "{id}");
    opened.messages
}

#[test]
fn each_decodes_to_the_recorded_fields_and_encodes_to_the_same_bytes() {
    let rows = rows();
    for row in &rows {
        let id = row["id"].as_str().unwrap();
        let messages = open(row);
        let recorded = row["messages"].as_array().unwrap();
        assert_eq!(messages.len(), recorded.len(), "{id}");
        for (bytes, recorded) in messages.iter().zip(recorded) {
            let message = Message::decode(bytes).unwrap_or_else(|error| panic!("{id}: {error}"));
            match message {
                Message::User(payload) => assert_user_payload(id, payload, recorded),
                _ => assert_eq!(describe(&message), *recorded, "{id}"),
            }
            let mut again = Vec::new();
            message.encode(&mut again);
            assert_eq!(again, **bytes, "{id}");
        }
    }
    let cases = rows.len();
    eprintln!("compat: gossip packets, captured | cases={cases} same={cases} listed=0");
}

#[test]
fn sealing_gives_the_same_packet() {
    let mut compared = 0;
    for row in rows() {
        let messages = open(&row);
        if messages.len() > COMPOUND_PARTS_MAX {
            continue;
        }
        let checksum = if row["checksum"] == true { Checksum::Add } else { Checksum::Omit };
        let sealed = codec(&row).seal_packet(&messages, checksum, nonce(&row));
        if row["compressed"] == true {
            // Compressors may differ; what they say may not.
            let id = &row["id"];
            let opened =
                codec(&row).open_packet(sealed.into()).unwrap_or_else(|error| panic!("{id}: {error}"));
            assert_eq!(opened.messages, messages, "{id}");
        } else {
            assert_eq!(sealed, hex(row["hex"].as_str().unwrap()), "{}", row["id"]);
            compared += 1;
        }
    }
    assert!(compared > 150, "only {compared} packets were compared byte by byte");
}
