//! Crafted bytes and the verdict that each must get.
//!
//! The verdicts of packets: `accept` (every message decodes), `partial` (some do, some parts are dropped), `nothing` (no
//! message and no fault), `drop`, `any` (only survive). Of streams: `accept`, `close` (a fault without a reply), `reply`
//! (a fault that the peer is told of), `wait` (not all there). `member` decodes like `accept`; what happens then is
//! for the membership layer to decide, and its tests have the same cases.

use serde_json::Value;
use thane_wire::gossip::{Message, Ping};
use thane_wire::stream::{Role, StreamDecoder, StreamError, StreamMessage};

use super::{codec, hex, load};

#[test]
fn packets_get_their_verdict() {
    let rows = load(include_str!("../vectors/gossip/crafted_packets.json"));
    for row in &rows {
        let case = format!("{} ({})", row["id"], row["why"]);
        let opened = codec(row).open_packet(hex(row["hex"].as_str().unwrap()).into());
        let verdict = match &opened {
            Err(_) => "drop",
            Ok(opened) => {
                let good = opened.messages.iter().filter(|bytes| Message::decode(bytes).is_ok()).count();
                match (good, opened.messages.len() - good + opened.dropped.len()) {
                    (0, 0) => "nothing",
                    (0, _) => "drop",
                    (_, 0) => "accept",
                    _ => "partial",
                }
            }
        };
        match row["verdict"].as_str().unwrap() {
            "any" => {}
            "member" => assert_eq!(verdict, "accept", "{case}: {opened:?}"),
            expected => assert_eq!(verdict, expected, "{case}: {opened:?}"),
        }
    }
    eprintln!("compat: gossip packets, crafted | cases={0} same={0} listed=0", rows.len());
}

fn decode(row: &Value, piece: usize) -> Result<Option<StreamMessage>, StreamError> {
    let mut decoder = StreamDecoder::new(Role::Acceptor);
    for piece in hex(row["hex"].as_str().unwrap()).chunks(piece) {
        if let Some(message) = decoder.push(&codec(row), piece)? {
            return Ok(Some(message));
        }
    }
    Ok(None)
}

#[test]
fn streams_get_their_verdict() {
    let rows = load(include_str!("../vectors/gossip/crafted_streams.json"));
    for row in &rows {
        let case = format!("{} ({})", row["id"], row["why"]);
        let decoded = decode(row, usize::MAX);
        let verdict = match &decoded {
            Ok(None) => "wait",
            Ok(Some(StreamMessage::PushPull(exchange))) if exchange.nodes().all(|node| node.is_ok()) => {
                "accept"
            }
            Ok(Some(StreamMessage::Ping(body))) if Ping::decode(body).is_ok() => "accept",
            Ok(Some(StreamMessage::User(_))) => "accept",
            Ok(Some(message)) => panic!("{case}: {message:?}"),
            Err(error) if error.deserves_reply() => "reply",
            Err(_) => "close",
        };
        match row["verdict"].as_str().unwrap() {
            "member" => assert_eq!(verdict, "accept", "{case}: {decoded:?}"),
            expected => assert_eq!(verdict, expected, "{case}: {decoded:?}"),
        }
        assert_eq!(decode(row, 1), decoded, "{case}, byte by byte");
    }
    eprintln!("compat: gossip streams, crafted | cases={0} same={0} listed=0", rows.len());
}
