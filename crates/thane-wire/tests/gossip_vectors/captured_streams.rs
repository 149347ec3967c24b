//! Both directions of streams between memberlist nodes and between Serf agents.

use serde_json::{Value, json};
use thane_wire::gossip::{Ack, Message, NodeState, Ping};
use thane_wire::stream::{self, PushPull, Role, StreamDecoder, StreamMessage};

use super::{assert_user_payload, codec, describe, describe_node, hex, load, nonce, to_hex};

fn rows() -> Vec<Value> {
    load(include_str!("../vectors/gossip/streams.json"))
}

/// Who wrote the stream.
fn writer(row: &Value) -> Role {
    match row["by"].as_str() {
        Some("dialer") => Role::Dialer,
        Some("acceptor") => Role::Acceptor,
        other => panic!("{other:?}"),
    }
}

fn reader(row: &Value) -> Role {
    match writer(row) {
        Role::Dialer => Role::Acceptor,
        Role::Acceptor => Role::Dialer,
    }
}

/// Decodes the stream from pieces of this length; nothing may come before the last piece.
fn decode(row: &Value, bytes: &[u8], piece: usize) -> StreamMessage {
    let (id, codec) = (&row["id"], codec(row));
    let mut decoder = StreamDecoder::new(reader(row));
    let mut pieces = bytes.chunks(piece);
    loop {
        let piece = pieces.next().unwrap_or_else(|| panic!("{id}: it is not whole at its end"));
        if let Some(message) = decoder.push(&codec, piece).unwrap_or_else(|error| panic!("{id}: {error}")) {
            assert_eq!(pieces.next(), None, "{id}");
            return message;
        }
    }
}

fn nodes(exchange: &PushPull) -> Vec<NodeState<'_>> {
    exchange.nodes().map(Result::unwrap).collect()
}

fn recorded(row: &Value) -> &Value {
    let [message] = &row["messages"].as_array().unwrap()[..] else { panic!("{}", row["id"]) };
    message
}

#[test]
fn each_decodes_to_the_recorded_fields() {
    let rows = rows();
    for row in &rows {
        let (id, recorded) = (row["id"].as_str().unwrap(), recorded(row));
        let bytes = hex(row["hex"].as_str().unwrap());
        match decode(row, &bytes, bytes.len()) {
            StreamMessage::PushPull(exchange) => {
                let header = json!({
                    "Join": exchange.header.join, "Nodes": exchange.header.nodes,
                    "UserStateLen": exchange.header.user_state_len,
                });
                assert_eq!(header, recorded["header"], "{id}");
                let nodes = nodes(&exchange);
                assert_eq!(nodes.len(), exchange.header.nodes, "{id}");
                // Of many records only the first ones were written down.
                for (node, recorded) in nodes.iter().zip(recorded["nodes"].as_array().unwrap()) {
                    assert_eq!(describe_node(node), *recorded, "{id}");
                }
                assert_eq!(exchange.user_state.len(), exchange.header.user_state_len, "{id}");
                if let Some(state) = recorded["user_state"].as_str() {
                    assert_eq!(to_hex(&exchange.user_state), state, "{id}");
                }
            }
            StreamMessage::User(payload) => assert_user_payload(id, &payload, recorded),
            StreamMessage::Ping(body) => {
                assert_eq!(describe(&Message::Ping(Ping::decode(&body).unwrap())), *recorded, "{id}");
            }
            StreamMessage::Ack(body) => {
                assert_eq!(describe(&Message::Ack(Ack::decode(&body).unwrap())), *recorded, "{id}");
            }
            StreamMessage::Error(text) => {
                assert_eq!(json!({"type": "err", "fields": {"Error": text}}), *recorded, "{id}");
            }
            other => panic!("{id}: {other:?}"),
        }
    }
    let cases = rows.len();
    eprintln!("compat: gossip streams, captured | cases={cases} same={cases} listed=0");
}

#[test]
fn the_pieces_in_which_it_arrives_make_no_difference() {
    for row in rows() {
        let bytes = hex(row["hex"].as_str().unwrap());
        let whole = decode(&row, &bytes, bytes.len());
        for piece in [1, 2, 3, 7, 64] {
            assert_eq!(decode(&row, &bytes, piece), whole, "{} in pieces of {piece}", row["id"]);
        }
    }
}

#[test]
fn sealing_gives_the_same_stream() {
    let mut compared = 0;
    for row in rows() {
        let bytes = hex(row["hex"].as_str().unwrap());
        let message = decode(&row, &bytes, bytes.len());
        let mut encoded = Vec::new();
        match &message {
            StreamMessage::PushPull(exchange) => {
                let mut records = Vec::new();
                for node in nodes(exchange) {
                    node.encode(&mut records);
                }
                let (count, join) = (exchange.header.nodes, exchange.header.join);
                PushPull::encode(join, count, &records, &exchange.user_state, &mut encoded);
            }
            StreamMessage::User(payload) => stream::encode_user(payload, &mut encoded),
            StreamMessage::Ping(body) => Ping::decode(body).unwrap().encode(&mut encoded),
            StreamMessage::Ack(body) => Ack::decode(body).unwrap().encode(&mut encoded),
            StreamMessage::Error(text) => stream::encode_error(text, &mut encoded),
            other => panic!("{other:?}"),
        }
        let sealed = codec(&row).seal_stream(writer(&row), &encoded, nonce(&row));
        // Compressors may differ, and newer peers write larger numbers in the signed family.
        if row["compressed"] == true || recorded(&row)["signed"] == true {
            assert_eq!(decode(&row, &sealed, sealed.len()), message, "{}", row["id"]);
        } else {
            assert_eq!(sealed, bytes, "{}", row["id"]);
            compared += 1;
        }
    }
    assert!(compared > 100, "only {compared} streams were compared byte by byte");
}
