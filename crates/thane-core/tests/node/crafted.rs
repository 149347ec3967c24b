//! Crafted and malformed packets and streams: what a real node made of them, and that those it drops change nothing here.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use thane_core::{Config, Key, Keyring};
use thane_wire::stream::{Role, StreamDecoder, StreamMessage};

use super::support::{Bench, VERSIONS, addr, addr_of, alive, hex, ping, quiet, text, unhex};

const PACKETS: &str = include_str!("../../../thane-wire/tests/vectors/gossip/crafted_packets.json");
const STREAMS: &str = include_str!("../../../thane-wire/tests/vectors/gossip/crafted_streams.json");

fn rows(text: &str) -> Vec<Value> {
    let Value::Array(rows) = serde_json::from_str(text).unwrap() else { panic!("not an array") };
    assert!(rows.len() > 50);
    rows
}

/// The recorded receiver, with the row's deviations.
fn receiver(row: &Value) -> Bench {
    let settings = &row["config"];
    let keys = settings["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    let config = Config {
        label: settings["label"].as_str().unwrap_or_default().to_owned(),
        keyring: Keyring::new(keys.iter().map(|key| Key::new(&unhex(text(key))).unwrap())),
        verify_incoming: settings["verify_incoming"].as_bool().unwrap_or(true),
        skip_inbound_label_check: settings["skip_inbound_label_check"].as_bool().unwrap_or(false),
        // Serf's old protocol announces no metadata without a role, like the recorded node.
        protocol: 2,
        ..quiet("node-a", addr_of(1))
    };
    let peer = Config { skip_inbound_label_check: false, ..config.clone() };
    let mut bench = Bench::new(config);
    // What the node sends has its label, whether or not a proxy takes the labels from what it receives.
    bench.codec = super::support::codec_of(&peer);
    bench.clear();
    bench
}

/// The recorded node had no Serf on top; see the transitions.
fn with_serf(hexed: &str) -> Vec<u8> {
    let six = hexed.replace("a356736ea6010502000000", "a356736ea6010502020502");
    unhex(&six.replace("a356736ea7010502000000", "a356736ea7010502020502"))
}

#[test]
fn packets_have_the_effects_that_they_had_on_a_real_node() {
    let all: Value = serde_json::from_str(include_str!("../vectors/gossip/crafted_effects.json")).unwrap();
    let effects: BTreeMap<&str, &Value> =
        all.as_array().unwrap().iter().map(|row| (text(&row["id"]), row)).collect();
    let (mut same, mut otherwise) = (0, 0);
    for row in rows(PACKETS) {
        let id = text(&row["id"]);
        let Some(effect) = effects.get(id) else { continue };
        // That those to drop change nothing is shown by `packets_that_must_be_dropped_change_nothing`.
        if row["verdict"] == "drop" {
            let nothing = effect["replies"] == json!([]) && effect["events"] == json!([]);
            assert_eq!(nothing, !TAKEN_BY_A_REAL_NODE.contains(&id), "{id}");
            *(if nothing { &mut same } else { &mut otherwise }) += 1;
            continue;
        }
        if id == "alive-self-mapped" {
            otherwise += 1;
            continue; // See `the_two_forms_of_our_own_address_are_no_conflict`.
        }
        let mut bench = receiver(&row);
        bench.take_events();
        bench.packet(addr("127.0.0.5:5555"), &with_serf(text(&row["hex"])));
        let events: Vec<String> = bench.take_events();
        if row["verdict"] == "member" && decided_otherwise(id) || id == "alive-vsn-cur-outside" {
            otherwise += 1;
            assert!(events.is_empty() && bench.sent.is_empty(), "{id} is dropped here");
            assert_eq!(bench.node.members().count(), 1, "{id}");
            continue;
        }
        same += 1;
        let wanted: Vec<String> =
            effect["events"].as_array().unwrap().iter().map(|event| text(event).into()).collect();
        assert_eq!(events, wanted, "{id}");
        assert_eq!(u64::from(bench.node.stats().health_score), effect["health"].as_u64().unwrap(), "{id}");
        let replies = effect["replies"].as_array().unwrap().iter();
        let wanted: Vec<(String, String)> =
            replies.map(|reply| (text(&reply[0]).to_owned(), text(&reply[1]).to_owned())).collect();
        let wanted = vec![wanted; effect["times"].as_u64().unwrap_or(1) as usize].concat();
        let got: Vec<(String, String)> = bench
            .take_messages()
            .into_iter()
            // An answer takes a statement about ourselves along, which the recorded node had sent already.
            .filter(|(_, message)| message[0] != 4)
            .map(|(to, message)| (to.to_string(), hex(&message)))
            .collect();
        assert_eq!(got, wanted, "{id}");
    }
    assert_eq!((same, otherwise), (143, 16));
    let cases = effects.len();
    eprintln!("compat: effects of crafted packets | cases={cases} same={same} listed={otherwise}");
}

/// What a real node takes and ours drops: padding of which only the last byte is looked at, and 300 layers.
const TAKEN_BY_A_REAL_NODE: [&str; 3] =
    ["neg-enc-v0-pad0", "neg-enc-v0-pad-garbage", "neg-nested-compound-300"];

/// Statements that a real node believes and ours does not: unknown versions, unusable addresses, no name.
fn decided_otherwise(id: &str) -> bool {
    id.starts_with("alive-vsn-len") && !["6", "7"].iter().any(|len| id.ends_with(len))
        || ["alive-vsn-nil", "alive-addr-empty", "alive-addr-3", "alive-addr-5", "alive-name-empty"]
            .contains(&id)
}

#[test]
fn the_two_forms_of_our_own_address_are_no_conflict() {
    let row = rows(PACKETS).into_iter().find(|row| row["id"] == "alive-self-mapped").unwrap();
    let mut bench = receiver(&row);
    bench.packet(addr_of(5), &with_serf(text(&row["hex"])));
    let counters = bench.node.counters();
    assert_eq!((counters.name_conflicts, counters.refutations), (0, 1), "what it claims is answered instead");
}

/// What a node is and knows, but for counters.
fn standing(bench: &mut Bench) -> String {
    let members: Vec<_> = bench.node.members().collect();
    format!("{:?} {members:?} {:?}", bench.node.stats(), bench.node.life_state())
}

#[test]
fn packets_that_must_be_dropped_change_nothing() {
    let mut dropped = 0;
    for row in rows(PACKETS) {
        if !["drop", "nothing"].contains(&text(&row["verdict"])) {
            continue;
        }
        dropped += 1;
        let mut bench = receiver(&row);
        let before = standing(&mut bench);
        bench.take_events();
        bench.packet(addr("127.0.0.5:5555"), &unhex(text(&row["hex"])));
        assert_eq!(standing(&mut bench), before, "{}", row["id"]);
        assert!(
            bench.take_events().is_empty() && bench.sent.is_empty() && bench.dials.is_empty(),
            "{}",
            row["id"]
        );
        let counters = bench.node.counters();
        if row["verdict"] == "drop" {
            assert!(counters.packets_dropped + counters.messages_dropped > 0, "{} is counted", row["id"]);
            assert!(!bench.notices.is_empty(), "{} is told", row["id"]);
        }
    }
    assert!(dropped > 60, "{dropped}");
}

/// Streams of all verdicts, whole and byte by byte: the reply is of the right kind, and only good exchanges change anything.
#[test]
fn streams_get_the_reply_that_they_deserve() {
    for row in rows(STREAMS) {
        let id = text(&row["id"]);
        let bytes = unhex(text(&row["hex"]));
        for piece in [usize::MAX, 1] {
            if piece == 1 && bytes.len() > 20_000 {
                continue;
            }
            let mut bench = receiver(&row);
            let before = standing(&mut bench);
            let stream = bench.node.handle_stream_accepted(bench.now, addr_of(9)).unwrap();
            for piece in bytes.chunks(piece) {
                bench.node.handle_stream_data(bench.now, stream, piece);
            }
            bench.collect();
            let reply = bench.written.remove(&stream).unwrap_or_default();
            let closed = bench.closed.contains(&stream);
            let kind = match StreamDecoder::new(Role::Dialer).push(&bench.codec, &reply) {
                Ok(Some(StreamMessage::PushPull(_))) => "state",
                Ok(Some(StreamMessage::Ack(_))) => "ack",
                Ok(Some(StreamMessage::Error(_))) => "error",
                Ok(None) if reply.is_empty() => "none",
                other => panic!("{id}: {other:?}"),
            };
            let verdict = text(&row["verdict"]);
            match verdict {
                "accept" | "member" => assert!(closed, "{id}"),
                "reply" => assert_eq!((kind, closed), ("error", true), "{id}"),
                "close" => assert_eq!((kind, closed), ("none", true), "{id}"),
                "wait" => assert_eq!((kind, closed), ("none", false), "{id}"),
                other => panic!("{id}: {other}"),
            }
            if !["accept", "member"].contains(&verdict) {
                assert_eq!(standing(&mut bench), before, "{id}");
            }
            // A stream that waits is given up in time.
            bench.run(super::support::ms(10_001));
            assert!(bench.closed.contains(&stream), "{id}");
        }
    }
}

/// `tcp-neg-vsn-incompat`, `tcp-neg-vsn-dead-incompat` and others: the reply is sent, and what does not fit is left out.
#[test]
fn members_with_unfitting_versions_are_left_out_of_an_exchange_alone() {
    use thane_wire::gossip::NodeStateKind::{Alive, Dead};
    let misfit = [7, 9, 8, 2, 5, 5];
    for (state, known) in [(Alive, false), (Dead, false)] {
        let mut bench = Bench::new(quiet("node-a", addr_of(1)));
        let records = [
            super::support::encode_record("odd", 1, addr_of(2), state, &misfit),
            super::support::encode_record("good", 1, addr_of(3), Alive, &VERSIONS),
        ];
        bench.push(true, &records);
        assert_eq!(bench.node.member("odd").is_some(), known);
        assert!(bench.node.member("good").is_some());
    }
    let mut bench = Bench::new(quiet("node-a", addr_of(1)));
    bench.push(true, &[super::support::encode_record("odd", 1, addr_of(2), Alive, &misfit)]);
    assert_eq!(bench.node.members().count(), 1);
    assert!(bench.noticed("stream_failed"), "an exchange of which nothing fits has failed");
}

#[test]
fn a_flood_of_nonsense_is_told_a_few_times_and_counted() {
    let mut bench = Bench::new(quiet("node-a", addr_of(1)));
    for n in 0..10_000_u32 {
        bench.packet(addr_of(5), &[&[99], &n.to_be_bytes()[..]].concat());
    }
    assert!(bench.notices.len() <= 20, "{} notices", bench.notices.len());
    let counters = bench.node.counters();
    assert_eq!(counters.packets_dropped + counters.messages_dropped, 10_000);
    assert_eq!(counters.notices_suppressed, 10_000 - bench.notices.len() as u64);
    bench.run(super::support::ms(10_000));
    bench.packet(addr_of(5), &[99]);
    assert_eq!(bench.notices.last().unwrap().suppressed, counters.notices_suppressed);
    bench.tell(&ping("node-a", 1));
    bench.tell(&alive("b", 1, addr_of(2)));
    assert_eq!(bench.node.members().count(), 2, "and it works on");
}
