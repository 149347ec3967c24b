//! Requests, responses and records that the recordings do not hold.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

use std::collections::BTreeMap;

use thane_wire::DecodeError;
use thane_wire::coordinate::Coordinate;
use thane_wire::limits::RPC_BODY_BYTES_MAX;
use thane_wire::rpc::{
    Answered, Command, EventName, EvidenceRecord, Explanation, Incoming, KeyReply, LIST_ENTRIES_MAX, Member,
    MemberEvent, Query, Record, Request, RequestDecoder, Response, ResponseBody, ResponseDecoder,
    ValueDecoder, error_text,
};

fn member(name: &str) -> Member {
    Member {
        name: name.to_owned(),
        addr: Some(vec![10, 0, 0, 1]),
        port: 7946,
        tags: BTreeMap::from([("role".to_owned(), "web".to_owned())]),
        status: "alive".to_owned(),
        versions: [1, 5, 2, 2, 5, 4],
    }
}

fn record_bytes(record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    record.encode(3, &mut out);
    out
}

fn read_record(bytes: &[u8]) -> Result<Option<Incoming>, DecodeError> {
    let mut client = ResponseDecoder::new();
    client.push(bytes);
    client.next_incoming()
}

fn explanation() -> Explanation {
    let record = EvidenceRecord {
        at_ns: 1_700_000_000_000_000_000,
        state: "dead".to_owned(),
        incarnation: u32::MAX,
        health: 3,
        kind: "suspicion-expired".to_owned(),
        text: "a sentence".to_owned(),
        by: vec!["b".to_owned(), "c".to_owned()],
        path: "packet".to_owned(),
        from: "10.0.0.2:7946".to_owned(),
        rtt_ns: Some(40_000),
        timeout_ns: Some(4_000_000_000),
        relays: vec!["b".to_owned(), "c".to_owned(), "e".to_owned()],
        nacked: vec!["b".to_owned(), "e".to_owned()],
        tcp: "refused".to_owned(),
        ltime: u64::MAX,
    };
    Explanation {
        agent: "a".to_owned(),
        health: 1,
        now_ns: 1_700_000_001_000_000_000,
        name: "d".to_owned(),
        addr: "[::1]:7946".to_owned(),
        reached_at: "10.9.0.4:7946".to_owned(),
        network: "site".to_owned(),
        status: "failed".to_owned(),
        state: "dead".to_owned(),
        since_ns: -5,
        incarnation: 7,
        verdict_ns: Some(9),
        answered: Some(Answered { at_ns: 8, rtt_ns: None, way: "relayed".to_owned() }),
        evidence: vec![record, EvidenceRecord::default()],
        advice: vec!["look".to_owned()],
    }
}

fn every_request() -> Vec<Request> {
    let text = || "x".to_owned();
    let map = || Some(BTreeMap::from([(text(), "y".repeat(40)), ("z".to_owned(), text())]));
    vec![
        Request::Handshake { version: -1 },
        Request::Auth { key: text() },
        Request::Event { name: text(), payload: Some(vec![0; 300]), coalesce: true },
        Request::ForceLeave { node: text(), prune: true },
        Request::Join { existing: Some(vec![text(), text()]), replay: true },
        Request::Members,
        Request::MembersFiltered { tags: map(), status: text(), name: text() },
        Request::Stream { filter: text(), immediate: false },
        Request::Stream { filter: text(), immediate: true },
        Request::Monitor { log_level: text() },
        Request::Stop { stop: u64::MAX },
        Request::Leave,
        Request::InstallKey { key: text() },
        Request::UseKey { key: text() },
        Request::RemoveKey { key: text() },
        Request::ListKeys,
        Request::Tags { tags: map(), delete: Some(vec![text()]) },
        Request::Query(Query {
            filter_nodes: Some(vec![text()]),
            filter_tags: map(),
            request_ack: true,
            relay_factor: 255,
            timeout_ns: -5,
            name: text(),
            payload: Some(vec![]),
            end_when_answered: true,
        }),
        Request::Query(Query { name: text(), ..Query::default() }),
        Request::Respond { id: 300, payload: Some(vec![1]) },
        Request::Stats,
        Request::GetCoordinate { node: text() },
        Request::Explain { node: text() },
        Request::Diagnose,
        Request::Unknown { command: "later".to_owned() },
    ]
}

#[test]
fn every_request_is_read_as_written() {
    let mut agent = RequestDecoder::new();
    for (seq, request) in every_request().into_iter().enumerate() {
        let mut bytes = Vec::new();
        request.encode(seq as u64, &mut bytes);
        agent.push(&bytes);
        assert_eq!(agent.next_request(), Ok(Some((seq as u64, request))));
        assert_eq!(agent.next_request(), Ok(None));
    }
}

#[test]
fn every_response_is_read_as_written() {
    let keys = KeyReply {
        keys: Some(BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 1000)])),
        messages: BTreeMap::from([("n".to_owned(), "m".to_owned())]),
        nodes: 3,
        responses: 2,
        errors: 1,
    };
    let coordinate = Coordinate { vec: vec![0.5; 8], error: 1.5, adjustment: -0.25, height: 1e-5 };
    let cases = [
        (Command::Join, ResponseBody::Join { contacted: 200 }),
        (Command::Members, ResponseBody::Members(vec![member("a"), Member::default()])),
        (Command::MembersFiltered, ResponseBody::Members(vec![])),
        (Command::InstallKey, ResponseBody::Keys(KeyReply::default())),
        (Command::ListKeys, ResponseBody::Keys(keys)),
        (Command::Stats, ResponseBody::Stats(BTreeMap::from([("agent".to_owned(), BTreeMap::new())]))),
        (Command::GetCoordinate, ResponseBody::Coordinate(None)),
        (Command::Explain, ResponseBody::Explanation(Box::default())),
        (Command::Explain, ResponseBody::Explanation(Box::new(explanation()))),
        (Command::Diagnose, ResponseBody::Diagnosis(BTreeMap::from([("keys".to_owned(), BTreeMap::new())]))),
        (Command::GetCoordinate, ResponseBody::Coordinate(Some(coordinate))),
    ];
    let mut client = ResponseDecoder::new();
    for (seq, (command, body)) in (5..).zip(cases) {
        let response = Response { seq, error: String::new(), body: Some(body) };
        let mut bytes = Vec::new();
        response.encode(&mut bytes);
        client.expect(seq, command);
        client.push(&bytes);
        assert_eq!(client.next_incoming(), Ok(Some(Incoming::Response(response))));
        assert_eq!(client.next_incoming(), Ok(None));
    }
}

#[test]
fn records_may_come_before_the_response_that_is_awaited() {
    let mut bytes = record_bytes(&Record::Log("[INFO] x".to_owned()));
    Response::new(9, "").encode(&mut bytes);
    let mut client = ResponseDecoder::new();
    client.expect(9, Command::Stop);
    client.push(&bytes);
    let log = Incoming::Record { seq: 3, record: Record::Log("[INFO] x".to_owned()) };
    assert_eq!(client.next_incoming(), Ok(Some(log)));
    assert_eq!(client.next_incoming(), Ok(Some(Incoming::Response(Response::new(9, "")))));
}

#[test]
fn a_refusal_has_no_body_whatever_was_asked() {
    for error in [error_text::AUTH_REQUIRED, error_text::HANDSHAKE_REQUIRED, error_text::UNSUPPORTED_COMMAND]
    {
        let mut bytes = Vec::new();
        Response::new(1, error).encode(&mut bytes);
        for command in [Command::Join, Command::ListKeys, Command::Members, Command::Stats] {
            let mut client = ResponseDecoder::new();
            client.expect(1, command);
            client.push(&bytes);
            assert_eq!(client.next_incoming(), Ok(Some(Incoming::Response(Response::new(1, error)))));
        }
    }
}

#[test]
fn a_suspicion_names_its_accuser() {
    let record = Record::Members(MemberEvent {
        event: EventName::MemberSuspect,
        members: vec![member("late")],
        by: Some("accuser".to_owned()),
    });
    let bytes = record_bytes(&record);
    let start = b"\x83\xa2By\xa7accuser\xa5Event\xaemember-suspect\xa7Members\x91";
    assert!(bytes.windows(start.len()).any(|part| part == start));
    assert_eq!(read_record(&bytes), Ok(Some(Incoming::Record { seq: 3, record })));
}

#[test]
fn records_of_a_later_agent_are_read_as_far_as_possible() {
    let header = b"\x82\xa5Error\xa0\xa3Seq\x03";
    let bytes = [&header[..], b"\x83\xa5Event\xacmember-moved\xa7Members\x90\xa3New\x91\x01"].concat();
    let moved = MemberEvent { event: EventName::Other("member-moved".to_owned()), members: vec![], by: None };
    let record = Record::Members(moved);
    assert_eq!(read_record(&bytes), Ok(Some(Incoming::Record { seq: 3, record })));
    let nothing = [&header[..], b"\x81\xa3New\x01"].concat();
    assert!(matches!(read_record(&nothing), Err(DecodeError::Malformed(_))));
}

#[test]
fn names_that_are_not_utf8_are_repaired_by_clients_and_refused_by_agents() {
    let bytes = b"\x82\xa5Error\xa0\xa3Seq\x03\x81\xa3Log\xa2x\xff";
    let record = Record::Log("x\u{fffd}".to_owned());
    assert_eq!(read_record(bytes), Ok(Some(Incoming::Record { seq: 3, record })));
    assert_eq!(
        Request::decode(&Command::Event, b"\x81\xa4Name\xa1\xff"),
        Err(DecodeError::NotUtf8 { field: "Name" })
    );
}

#[test]
fn bytes_in_any_form_are_a_payload() {
    for payload in [&b"\xa2\xc8\x01"[..], b"\xc4\x02\xc8\x01", b"\x92\xcc\xc8\x01", b"\x92\xd1\x00\xc8\x01"] {
        let body = [b"\x81\xa7Payload", payload].concat();
        let expected = Request::Respond { id: 0, payload: Some(vec![200, 1]) };
        assert_eq!(Request::decode(&Command::Respond, &body), Ok(expected), "{payload:x?}");
    }
}

#[test]
fn a_header_can_be_refused_before_its_body_arrives() {
    let mut agent = RequestDecoder::new();
    agent.push(b"\x82\xa7Command\xa5event\xa3Seq\x02");
    assert_eq!(agent.next_request(), Ok(None));
    let header = agent.pending_header().unwrap();
    assert_eq!((&header.command, header.seq), (&Command::Event, 2));
    agent.push(b"\xc0");
    assert!(agent.next_request().unwrap().is_some());
    assert_eq!(agent.pending_header(), None);
}

#[test]
fn a_value_beyond_the_limit_ends_the_stream() {
    let mut values = ValueDecoder::new();
    values.push(&[0xc6, 0xff, 0xff, 0xff, 0xff]);
    let piece = vec![0; 1 << 20];
    for _megabyte in 0..RPC_BODY_BYTES_MAX / piece.len() {
        assert_eq!(values.next_value(), Ok(None));
        values.push(&piece);
    }
    for _time in 0..2 {
        assert!(matches!(values.next_value(), Err(DecodeError::TooLarge { what: "an RPC value", .. })));
        values.push(&[0xc0]);
    }
}

#[test]
fn a_value_of_the_largest_size_is_taken() {
    let mut bytes = vec![0xc6];
    bytes.extend_from_slice(&u32::try_from(RPC_BODY_BYTES_MAX - 5).unwrap().to_be_bytes());
    bytes.resize(RPC_BODY_BYTES_MAX, 7);
    let mut values = ValueDecoder::new();
    values.push(&bytes);
    values.push(&[0xc3]);
    assert_eq!(values.next_value(), Ok(Some(&bytes[..])));
    assert_eq!(values.next_value(), Ok(Some(&[0xc3][..])));
    assert_eq!(values.next_value(), Ok(None));
}

#[test]
fn a_large_value_in_single_bytes_takes_linear_time() {
    // A quadratic decoder would look at 10^12 bytes here.
    let mut bytes = vec![0xdd, 0x00, 0x10, 0x00, 0x00];
    bytes.resize(5 + (1 << 20), 0xc0);
    let mut values = ValueDecoder::new();
    for byte in &bytes[..bytes.len() - 1] {
        values.push(&[*byte]);
        assert_eq!(values.next_value(), Ok(None));
    }
    values.push(&[0xc0]);
    assert_eq!(values.next_value().unwrap().unwrap().len(), bytes.len());
}

#[test]
fn lists_beyond_their_limit_are_refused() {
    let count = LIST_ENTRIES_MAX + 1;
    let mut body = b"\x81\xa8Existing\xdd".to_vec();
    body.extend_from_slice(&u32::try_from(count).unwrap().to_be_bytes());
    body.resize(body.len() + count, 0xc0);
    let refused = Request::decode(&Command::Join, &body);
    assert!(matches!(refused, Err(DecodeError::TooLarge { what: "Existing", .. })), "{refused:?}");
}

#[test]
fn what_is_no_value_ends_the_stream() {
    let mut values = ValueDecoder::new();
    values.push(&[0xc1, 0xc0]);
    for _time in 0..2 {
        assert!(matches!(values.next_value(), Err(DecodeError::Malformed(_))));
    }
}
