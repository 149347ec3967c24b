//! Serf's messages, tags, filters and coordinates against recordings of Serf 0.9.4 ("old") and of its newest source
//! ("new"). In the recordings bytes are `{"hex": "..."}`, and nil is null.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

use serde_json::{Map, Value, json};
use thane_wire::coordinate::Coordinate;
use thane_wire::filter::Filter;
use thane_wire::serf::{
    KeyResponse, MemberRecord, PushPullState, QueryResponse, RESPONSE_FLAG_ACK, Relay, SerfMessage,
    UserEvents, kind,
};
use thane_wire::tags::{self, Tags};
use thane_wire::{DecodeError, limits};

fn vectors(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn bytes_json(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| json!({ "hex": hex(bytes) }))
}

fn encoded(message: &SerfMessage<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

/// A message as the recordings tell it.
fn message_json(message: &SerfMessage<'_>) -> Value {
    match message {
        SerfMessage::Leave(m) => json!({ "LTime": m.ltime, "Node": m.node, "Prune": m.prune }),
        SerfMessage::Join(m) => json!({ "LTime": m.ltime, "Node": m.node }),
        SerfMessage::PushPull(m) => push_pull_json(m),
        SerfMessage::UserEvent(m) => json!({
            "LTime": m.ltime, "Name": m.name, "Payload": bytes_json(m.payload), "CC": m.coalesce,
        }),
        SerfMessage::Query(m) => json!({
            "LTime": m.ltime, "ID": m.id, "Addr": bytes_json(Some(m.addr)), "Port": m.port,
            "SourceNode": m.source_node,
            "Filters": m.filters.as_ref().map(|all| all.iter().map(|f| bytes_json(Some(f))).collect::<Vec<_>>()),
            "Flags": m.flags, "RelayFactor": m.relay_factor, "Timeout": m.timeout_ns, "Name": m.name,
            "Payload": bytes_json(m.payload),
        }),
        SerfMessage::QueryResponse(m) => json!({
            "LTime": m.ltime, "ID": m.id, "From": m.from, "Flags": m.flags, "Payload": bytes_json(m.payload),
        }),
        SerfMessage::ConflictResponse(m) => m.as_ref().map_or(Value::Null, member_json),
        SerfMessage::KeyRequest(m) => json!({ "Key": bytes_json(Some(m.key)) }),
        SerfMessage::KeyResponse(m) => json!({
            "Result": m.result, "Message": m.message, "Keys": m.keys, "PrimaryKey": m.primary_key,
        }),
        SerfMessage::Relay(m) => relay_json(m),
        other => panic!("{other:?} is not in the recordings"),
    }
}

fn push_pull_json(state: &PushPullState<'_>) -> Value {
    let slot = |slot: &UserEvents<'_>| {
        let event = |(name, payload): &(&str, Option<&[u8]>)| json!({ "Name": name, "Payload": bytes_json(*payload) });
        json!({ "LTime": slot.ltime, "Events": slot.events.iter().map(event).collect::<Vec<_>>() })
    };
    let times: Map<_, _> =
        state.status_ltimes.iter().map(|(name, time)| ((*name).to_owned(), json!(time))).collect();
    json!({
        "LTime": state.ltime, "StatusLTimes": times, "LeftMembers": state.left_members,
        "EventLTime": state.event_ltime, "QueryLTime": state.query_ltime,
        "Events": state.events.as_ref().map(|slots| {
            slots.iter().map(|s| s.as_ref().map_or(Value::Null, slot)).collect::<Vec<_>>()
        }),
    })
}

fn member_json(member: &MemberRecord<'_>) -> Value {
    let [protocol_min, protocol_max, protocol_cur, delegate_min, delegate_max, delegate_cur] =
        member.versions;
    let tags =
        member.tags.as_ref().map(|tags| tags.iter().copied().collect::<std::collections::BTreeMap<_, _>>());
    json!({
        "Name": member.name, "Addr": bytes_json(Some(member.addr)), "Port": member.port, "Tags": tags,
        "Status": member.status, "ProtocolMin": protocol_min, "ProtocolMax": protocol_max,
        "ProtocolCur": protocol_cur, "DelegateMin": delegate_min, "DelegateMax": delegate_max,
        "DelegateCur": delegate_cur,
    })
}

fn relay_json(relay: &Relay<'_>) -> Value {
    let dest = relay.dest.unwrap();
    let ip = match dest.ip() {
        std::net::IpAddr::V4(ip) => hex(&ip.octets()),
        std::net::IpAddr::V6(ip) => hex(&ip.octets()),
    };
    json!({
        "DestAddr": { "IP": { "hex": ip }, "Port": dest.port(), "Zone": "" }, "DestName": relay.dest_name,
        "inner_type": relay.inner[0], "inner": message_json(&SerfMessage::decode(relay.inner).unwrap()),
    })
}

/// What our types do not keep apart: a nil map of status times, and nil for a query's address, are empty.
fn normalised(mut expected: Value) -> Value {
    let Value::Object(fields) = &mut expected else { return expected };
    if let Some(times) = fields.get_mut("StatusLTimes").filter(|times| times.is_null()) {
        *times = json!({});
    }
    for field in ["Addr", "Key"] {
        if let Some(bytes) = fields.get_mut(field).filter(|bytes| bytes.is_null()) {
            *bytes = json!({ "hex": "" });
        }
    }
    if let Some(Value::Array(filters)) = fields.get_mut("Filters") {
        filters
            .iter_mut()
            .filter(|filter| filter.is_null())
            .for_each(|filter| *filter = json!({ "hex": "" }));
    }
    expected
}

#[test]
fn every_message_is_read_and_written_as_serf_does() {
    let all = vectors(include_str!("vectors/serf/messages.json"));
    let all = all.as_array().unwrap();
    for vector in all {
        let name = vector["name"].as_str().unwrap();
        let old = vector.get("hex").or(vector.get("hex_old")).unwrap().as_str().unwrap();
        let new = vector.get("hex").or(vector.get("hex_new")).unwrap().as_str().unwrap();
        for hex_text in [old, new] {
            let bytes = unhex(hex_text);
            let message = SerfMessage::decode(&bytes).unwrap();
            assert_eq!(u64::from(message.kind()), vector["type"].as_u64().unwrap(), "{name}");
            assert_eq!(message_json(&message), normalised(vector["fields"].clone()), "{name}");
            // We write as the old library does; maps come out in the recorded order because reading keeps it.
            if name != "push_pull_nil_collections" {
                assert_eq!(hex(&encoded(&message)), old, "{name}");
            }
        }
    }
    eprintln!("compat: Serf's messages | cases={0} same={0} listed=0", all.len());
}

#[test]
fn odd_encodings_are_taken_as_current_serf_takes_them() {
    let cases = vectors(include_str!("vectors/serf/decode_tolerance.json"));
    let cases = cases.as_array().unwrap();
    let mut listed = 0;
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let verdict = case.get("both").or(case.get("new")).unwrap();
        let body = unhex(case["hex"].as_str().unwrap());
        let with_type = |kind: u8| [&[kind], &body[..]].concat();
        let message = |kind: u8| {
            SerfMessage::decode(&with_type(kind))
                .map(|message| message_json(&message))
                .map_err(|error| (name, error))
        };
        let read = match case["kind"].as_str().unwrap() {
            "join" => message(kind::JOIN),
            "leave" => message(kind::LEAVE),
            "user_event" => message(kind::USER_EVENT),
            "query" => message(kind::QUERY),
            "push_pull" => message(kind::PUSH_PULL),
            "key_response" => message(kind::KEY_RESPONSE),
            "member" if name == "member_nil" => {
                assert_eq!(message(kind::CONFLICT_RESPONSE), Ok(Value::Null));
                continue;
            }
            // An address as an array of numbers over 127 cannot be borrowed. No Serf writes that.
            "member" => {
                assert!(message(kind::CONFLICT_RESPONSE).is_err(), "{name}");
                listed += 1;
                continue;
            }
            "coordinate" => {
                let read = Coordinate::decode_ack(&with_type(1)).unwrap().unwrap();
                check_coordinate(&read, &verdict["value"]);
                continue;
            }
            "filter_node" => {
                let body = with_type(0);
                let Ok(Filter::Nodes(names)) = Filter::decode(&body) else { panic!("{name}") };
                assert_eq!(json!(names), verdict["value"].as_array().map_or(json!([]), |list| json!(list)));
                continue;
            }
            "tags" => {
                // Of an array for a map Serf keeps the first pair, by accident; it is an error all the same.
                if name == "tags_array" {
                    assert!(tags::decode(&body).is_empty(), "{name}");
                    listed += 1;
                    continue;
                }
                let expected = verdict.get("value").or(verdict.get("partial")).unwrap();
                let expected = if expected.is_null() { json!({}) } else { expected.clone() };
                assert_eq!(json!(tags::decode(&body)), expected, "{name}");
                continue;
            }
            other => panic!("{name}: unknown kind {other}"),
        };
        match verdict["outcome"].as_str().unwrap() {
            "ok" => assert_eq!(read, Ok(normalised(verdict["value"].clone())), "{name}"),
            _ => assert!(read.is_err(), "{name}: {read:?}"),
        }
    }
    let (cases, same) = (cases.len(), cases.len() - listed);
    eprintln!("compat: odd encodings of Serf's messages | cases={cases} same={same} listed={listed}");
}

fn check_coordinate(read: &Coordinate, expected: &Value) {
    let vec: Vec<f64> = expected["Vec"]
        .as_array()
        .map_or(vec![], |axes| axes.iter().map(|axis| axis.as_f64().unwrap()).collect());
    assert_eq!(read.vec, vec);
    for (read, field) in [(read.error, "Error"), (read.adjustment, "Adjustment"), (read.height, "Height")] {
        match expected[field].as_f64() {
            Some(number) => assert!(read.to_bits() == number.to_bits(), "{field}: {read} for {number}"),
            None => assert!(read.is_nan(), "{field}: {read}"),
        }
    }
}

fn tags_of(value: &Value) -> Tags {
    value.as_object().map_or_else(Tags::new, |map| {
        map.iter().map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect()
    })
}

/// The recorded set of as many tags as need a longer head.
fn sixteen_tags() -> Tags {
    (0..16).map(|n| (format!("k{n:02}"), "v".to_owned())).collect()
}

#[test]
fn tags_are_written_and_read_as_serf_does() {
    let all = vectors(include_str!("vectors/serf/tags.json"));
    let (written, read) = (all["encode"].as_array().unwrap(), all["decode"].as_array().unwrap());
    for case in written {
        // The metadata of Serf's second protocol version is the bare role; here it is only read.
        if case["protocol_version"] == 2 {
            let meta = unhex(case["hex"].as_str().unwrap());
            assert_eq!(tags::decode(&meta), tags_of(&case["decoded"]), "{}", case["name"]);
            continue;
        }
        // Of one only the beginning and the length were written down.
        let beginning = case["hex_prefix"].as_str();
        let set = if beginning.is_some() { sixteen_tags() } else { tags_of(&case["tags"]) };
        let meta = tags::encode(&set);
        assert_eq!(meta.len() as u64, case["len"].as_u64().unwrap(), "{}", case["name"]);
        assert_eq!(tags::decode(&meta), set);
        if let Some(beginning) = beginning {
            assert!(hex(&meta).starts_with(beginning), "{}", case["name"]);
            continue;
        }
        let fits = meta.len() <= limits::META_BYTES_MAX;
        assert_eq!(fits, case["fits_512"].as_bool().unwrap(), "{}", case["name"]);
        let recorded = case.get("hex").or(case.get("hex_old")).unwrap().as_str().unwrap();
        assert_eq!(tags::decode(&unhex(recorded)), set, "{}", case["name"]);
        // A recording's order is random, ours ascending.
        if set.len() < 2 {
            assert_eq!(hex(&meta), recorded, "{}", case["name"]);
        }
    }
    for case in read {
        assert_eq!(tags::decode(&unhex(case["hex"].as_str().unwrap())), tags_of(&case["decoded"]), "{case}");
    }
    eprintln!("compat: tags | cases={0} same={0} listed=0", written.len() + read.len());
}

#[test]
fn filters_are_written_and_read_as_serf_does() {
    let all = vectors(include_str!("vectors/serf/filters.json"));
    let written = all["encode"].as_array().unwrap();
    for case in written {
        let recorded = case["hex"].as_str().unwrap();
        let bytes = unhex(recorded);
        let filter = Filter::decode(&bytes).unwrap();
        match &filter {
            Filter::Nodes(names) => assert_eq!(json!(names), case["fields"], "{}", case["name"]),
            Filter::Tag { tag, expr } => {
                assert_eq!(json!({ "Tag": tag, "Expr": expr }), case["fields"], "{}", case["name"]);
            }
            other => panic!("{other:?}"),
        }
        let mut out = Vec::new();
        filter.encode(&mut out);
        assert_eq!(hex(&out), recorded, "{}", case["name"]);
    }
    let undecodable = [
        "unknown_type",
        "garbage_body",
        "type_only",
        "malformed_filter",
        "nil_filter",
        "re_invalid_utf8_expr",
    ];
    for case in all["evaluate"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        for filter in case["filters_hex"].as_array().unwrap() {
            let readable = Filter::decode(&unhex(filter.as_str().unwrap())).is_ok();
            assert_eq!(readable, !undecodable.contains(&name), "{name}");
        }
    }
    eprintln!("compat: filters, written | cases={0} same={0} listed=0", written.len());
}

#[test]
fn names_that_are_not_utf8_do_not_spoil_a_node_filter() {
    assert_eq!(Filter::decode(b"\x00\x92\xa1\xff\xa1b"), Ok(Filter::Nodes(vec!["b"])));
}

#[test]
fn coordinates_travel_in_acknowledgements_as_serf_sends_them() {
    let all = vectors(include_str!("vectors/serf/coordinate_payloads.json"));
    let (written, read) = (all["vectors"].as_array().unwrap(), all["handle"].as_array().unwrap());
    for case in written {
        let recorded = case["hex"].as_str().unwrap();
        let coordinate = Coordinate::decode_ack(&unhex(recorded)).unwrap().unwrap();
        check_coordinate(&coordinate, &case["coordinate"]);
        let mut out = Vec::new();
        coordinate.encode_ack(&mut out);
        assert_eq!(hex(&out), recorded, "{}", case["name"]);
    }
    for case in read {
        let read = Coordinate::decode_ack(&unhex(case["payload_hex"].as_str().unwrap()));
        // Serf logs an error exactly when it cannot read the payload.
        assert_eq!(read.is_err(), case["log_level"] == "[ERR]", "{}", case["name"]);
        if case["accepted"] == true {
            assert_eq!(read.unwrap().unwrap().vec.len(), 8, "{}", case["name"]);
        }
    }
    eprintln!("compat: coordinates in acks | cases={0} same={0} listed=0", written.len() + read.len());
    assert_eq!(Coordinate::decode_ack(&[]), Ok(None));
    assert_eq!(Coordinate::decode_ack(&[2, 0x80]), Err(DecodeError::UnknownType(2)));
}

#[test]
fn whole_sessions_of_both_libraries_are_read_and_written_back() {
    let mut cases = 0;
    for session in [
        include_str!("vectors/serf/live_session_0.9.4.json"),
        include_str!("vectors/serf/live_session_newest.json"),
    ] {
        for record in vectors(session).as_array().unwrap() {
            cases += 1;
            let bytes = unhex(record["hex"].as_str().unwrap());
            if record["hook"] == "ack_payload" {
                let coordinate = Coordinate::decode_ack(&bytes).unwrap().unwrap();
                let mut out = Vec::new();
                coordinate.encode_ack(&mut out);
                assert_eq!(out, bytes);
                continue;
            }
            let message = SerfMessage::decode(&bytes).unwrap();
            check_session_fields(&message, &record["decoded"]);
            let again = encoded(&message);
            assert_eq!(SerfMessage::decode(&again).unwrap(), message);
            // The newest library writes a query's timeout and a relay's port in signed form.
            if !matches!(message, SerfMessage::Query(_) | SerfMessage::Relay(_)) {
                assert_eq!(hex(&again), hex(&bytes));
            }
        }
    }
    eprintln!("compat: messages of live sessions | cases={cases} same={cases} listed=0");
}

fn check_session_fields(message: &SerfMessage<'_>, decoded: &Value) {
    match message {
        SerfMessage::Relay(relay) => {
            assert_eq!(relay.inner[0], kind::QUERY_RESPONSE);
            assert!(relay.dest.is_some());
        }
        SerfMessage::PushPull(state) => {
            let (read, slots) = (push_pull_json(state), state.events.as_ref().unwrap());
            for field in ["LTime", "StatusLTimes", "LeftMembers", "EventLTime", "QueryLTime"] {
                assert_eq!(read[field], decoded[field]);
            }
            assert_eq!(
                json!(slots.iter().filter(|slot| slot.is_none()).count()),
                decoded["events_nil_slots"]
            );
        }
        other => assert_eq!(message_json(other), *decoded),
    }
}

#[test]
fn key_lists_have_the_lengths_that_serf_counts() {
    let all = vectors(include_str!("vectors/serf/key_list_truncation.json"));
    let key = all["key"].as_str().unwrap();
    let cases = all["cases"].as_array().unwrap();
    for case in cases {
        let count = |field: &str| usize::try_from(case[field].as_u64().unwrap_or(0)).unwrap();
        // Nothing was sent where not even an empty list fits.
        let Some(length) = case["encoded_len"].as_u64() else { continue };
        let mut payload = Vec::new();
        SerfMessage::KeyResponse(KeyResponse {
            result: true,
            message: case["message"].as_str().unwrap(),
            keys: Some(vec![key; count("keys_out")]).filter(|keys| !keys.is_empty()),
            primary_key: if case["has_primary"] == true { key } else { "" },
        })
        .encode(&mut payload);
        let response = SerfMessage::QueryResponse(QueryResponse {
            ltime: case["query_ltime"].as_u64().unwrap(),
            id: u32::try_from(case["query_id"].as_u64().unwrap()).unwrap(),
            from: &"n".repeat(count("node_name_len")),
            flags: 0,
            payload: Some(&payload),
        });
        assert_eq!(encoded(&response).len() as u64, length, "{case}");
    }
    eprintln!("compat: lengths of key lists | cases={0} same={0} listed=0", cases.len());
}

#[test]
fn a_push_pull_without_empty_slots_is_short() {
    let state =
        PushPullState { ltime: 1, events: Some(vec![]), left_members: Some(vec![]), ..Default::default() };
    assert!(encoded(&SerfMessage::PushPull(state)).len() < 80);
}

#[test]
fn entries_that_are_not_utf8_cost_only_themselves_in_a_push_pull() {
    let bytes = b"\x02\x83\xabLeftMembers\x92\xa1\xff\xa1b\xacStatusLTimes\x82\xa1\xff\x01\xa1b\x02\
                  \xa6Events\x91\x82\xa5LTime\x03\xa6Events\x92\x81\xa4Name\xa1\xff\x81\xa4Name\xa1c";
    let Ok(SerfMessage::PushPull(state)) = SerfMessage::decode(bytes) else { panic!() };
    assert_eq!(state.left_members, Some(vec!["b"]));
    assert_eq!(state.status_ltimes, [("b", 2)]);
    assert_eq!(state.events, Some(vec![Some(UserEvents { ltime: 3, events: vec![("c", None)] })]));
    // Elsewhere there is nothing left without the name.
    assert_eq!(SerfMessage::decode(b"\x01\x81\xa4Node\xa1\xff"), Err(DecodeError::NotUtf8 { field: "Node" }));
}

#[test]
fn a_relay_to_nowhere_is_readable() {
    for ip in [&b"\xc0"[..], b"\xa0", b"\xa3abc"] {
        let bytes = [b"\x09\x81\xa8DestAddr\x82\xa2IP", ip, b"\xa4Port\x07rest"].concat();
        let message = SerfMessage::decode(&bytes).unwrap();
        assert_eq!(message, SerfMessage::Relay(Relay { dest: None, dest_name: "", inner: b"rest" }));
    }
    let too_high =
        SerfMessage::decode(b"\x09\x81\xa8DestAddr\x82\xa2IP\xa4abcd\xa4Port\xce\x00\x01\x00\x00").unwrap();
    assert_eq!(too_high, SerfMessage::Relay(Relay { dest: None, dest_name: "", inner: b"" }));
}

#[test]
fn acknowledgements_are_marked() {
    let ack = QueryResponse { ltime: 9, id: 1, from: "b", flags: RESPONSE_FLAG_ACK, payload: None };
    assert_eq!(
        encoded(&SerfMessage::QueryResponse(ack)),
        b"\x05\x85\xa5Flags\x01\xa4From\xa1b\xa2ID\x01\xa5LTime\x09\xa7Payload\xc0"
    );
}

#[test]
fn unknown_types_and_empty_messages_are_refused() {
    assert_eq!(SerfMessage::decode(&[10, 0x80]), Err(DecodeError::UnknownType(10)));
    assert_eq!(SerfMessage::decode(&[]), Err(DecodeError::Truncated));
}
