//! Recorded bytes: what memberlist and Serf agents wrote, and crafted ones with the verdict that they must get.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod captured_packets;
mod captured_streams;
mod crafted;

use serde_json::{Value, json};
use thane_wire::gossip::{Alive, Message, NodeState, NodeStateKind};
use thane_wire::{Codec, CodecConfig, Key, Keyring};

fn load(text: &str) -> Vec<Value> {
    let Value::Array(rows) = serde_json::from_str(text).unwrap() else { panic!("not an array") };
    assert!(!rows.is_empty());
    rows
}

fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The settings of the node that wrote the bytes, or that is to read them.
fn codec(row: &Value) -> Codec {
    let config = &row["config"];
    let known =
        ["keys", "label", "compression", "verify_incoming", "verify_outgoing", "skip_inbound_label_check"];
    for setting in config.as_object().unwrap().keys() {
        assert!(known.contains(&setting.as_str()), "{setting}");
    }
    let flag = |name: &str, default| config[name].as_bool().unwrap_or(default);
    let keys = config["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    Codec::new(CodecConfig {
        label: config["label"].as_str().unwrap_or_default().to_owned(),
        keyring: Keyring::new(keys.iter().map(|key| Key::new(&hex(key.as_str().unwrap())).unwrap())),
        verify_incoming: flag("verify_incoming", true),
        verify_outgoing: flag("verify_outgoing", true),
        compression: flag("compression", false),
        padded_envelopes: row["envelope"]["version"] == 0,
        skip_inbound_label_check: flag("skip_inbound_label_check", false),
    })
    .unwrap()
}

/// The nonce of the recorded envelope, or any.
fn nonce(row: &Value) -> [u8; 12] {
    row["envelope"]["nonce"].as_str().map_or([0; 12], |nonce| hex(nonce).try_into().unwrap())
}

/// Bytes as the recordings show them.
fn shown(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| json!({"hex": to_hex(bytes)}))
}

/// A decoded message in the shape of the recordings.
fn describe(message: &Message<'_>) -> Value {
    let filled = |fields: Value| -> Value {
        // The fields of a ping's source are left out when they are empty.
        let Value::Object(mut fields) = fields else { panic!("not an object") };
        fields.retain(|name, value| {
            let empty = *value == json!("") || *value == json!(0) || *value == json!({"hex": ""});
            !(name.starts_with("Source") && empty)
        });
        Value::Object(fields)
    };
    match message {
        Message::Ping(ping) => json!({"type": "ping", "fields": filled(json!({
            "Node": ping.node, "SeqNo": ping.seq, "SourceAddr": shown(Some(ping.source_addr)),
            "SourceNode": ping.source_node, "SourcePort": ping.source_port,
        }))}),
        Message::IndirectPing(ping) => json!({"type": "indirect_ping", "fields": filled(json!({
            "Nack": ping.nack, "Node": ping.node, "Port": ping.port, "SeqNo": ping.seq,
            "SourceAddr": shown(Some(ping.source_addr)), "SourceNode": ping.source_node,
            "SourcePort": ping.source_port, "Target": shown(Some(ping.target)),
        }))}),
        Message::Ack(ack) => {
            json!({"type": "ack", "fields": {"Payload": shown(ack.payload), "SeqNo": ack.seq}})
        }
        Message::Nack(nack) => json!({"type": "nack", "fields": {"SeqNo": nack.seq}}),
        Message::Suspect(suspect) => json!({"type": "suspect", "fields": {
            "From": suspect.from, "Incarnation": suspect.incarnation, "Node": suspect.node,
        }}),
        Message::Dead(dead) => json!({"type": "dead", "fields": {
            "From": dead.from, "Incarnation": dead.incarnation, "Node": dead.node,
        }}),
        Message::Alive(Alive { incarnation, node, addr, port, meta, versions }) => {
            json!({"type": "alive", "fields": {
                "Addr": shown(Some(addr)), "Incarnation": incarnation, "Meta": shown(*meta), "Node": node,
                "Port": port, "Vsn": shown(Some(versions)),
            }})
        }
        Message::User(payload) => describe_user(payload),
        other => panic!("a message the recordings do not have: {other:?}"),
    }
}

/// Long payloads are recorded by their length and first bytes.
fn describe_user(payload: &[u8]) -> Value {
    json!({"type": "user", "len": payload.len(), "hex": to_hex(payload)})
}

fn assert_user_payload(id: &str, payload: &[u8], expected: &Value) {
    assert_eq!(expected["type"], "user", "{id}");
    assert_eq!(expected["len"], payload.len(), "{id}");
    match (expected["hex"].as_str(), expected["head"].as_str()) {
        (Some(whole), None) => assert_eq!(to_hex(payload), whole, "{id}"),
        (None, Some(head)) => assert!(to_hex(payload).starts_with(head), "{id}"),
        _ => panic!("{id} has no payload recorded"),
    }
}

fn describe_node(node: &NodeState<'_>) -> Value {
    let state = match node.state {
        NodeStateKind::Alive => 0,
        NodeStateKind::Suspect => 1,
        NodeStateKind::Dead => 2,
        NodeStateKind::Left => 3,
        other => panic!("a state the recordings do not have: {other:?}"),
    };
    json!({
        "Addr": shown(Some(node.addr)), "Incarnation": node.incarnation, "Meta": shown(node.meta),
        "Name": node.name, "Port": node.port, "State": state, "Vsn": shown(Some(node.versions)),
    })
}
