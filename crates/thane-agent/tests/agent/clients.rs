//! What RPC clients get, and what those get that behave badly.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thane_wire::rpc::Request;

use crate::harness::{Agent, DEADLINE};

fn event(name: &str, payload: Vec<u8>) -> Request {
    Request::Event { name: name.to_owned(), payload: Some(payload), coalesce: false }
}

fn ok(seq: u64) -> Value {
    json!({"Error": "", "Seq": seq})
}

#[test]
fn streams_get_each_event_once_until_they_are_stopped() {
    let agent = Agent::start(&["-node=alpha"]);
    let mut client = agent.client();
    let stream = |filter: &str| Request::Stream { filter: filter.to_owned(), immediate: false };
    assert_eq!(client.ask(2, &stream("user"), 1), [ok(2)]);
    let again = client.ask(2, &stream("user"), 1);
    assert_eq!(again, [json!({"Error": "Stream with given sequence exists", "Seq": 2})]);
    assert_eq!(client.ask(3, &stream("user:deploy,user"), 1), [ok(3)]);
    assert_eq!(client.ask(4, &stream("query"), 1), [ok(4)]);
    let mut found = client.ask(5, &event("deploy", vec![0, 1, 255]), 5);
    let record = |payload: Value, ltime: u64, name: &str| json!({"Coalesce": false, "Event": "user", "LTime": ltime, "Name": name, "Payload": payload});
    let deploy = record(json!({"$bin": "0001ff"}), 1, "deploy");
    found.sort_by_key(|value| value["Seq"].as_u64());
    assert_eq!(found, [deploy.clone(), deploy, ok(2), ok(3), ok(5)]);
    assert_eq!(client.ask(6, &Request::Stop { stop: 3 }, 1), [ok(6)]);
    let mut found = client.ask(7, &event("other", Vec::new()), 3);
    found.sort_by_key(|value| value["Seq"].as_u64());
    assert_eq!(found, [record(Value::Null, 2, "other"), ok(2), ok(7)]);
}

#[test]
fn streams_tell_of_members_and_only_who_asks_hears_of_suspicion() {
    let alpha = Agent::start(&["-node=alpha"]);
    let mut client = alpha.client();
    for (seq, filter) in [(2, "*"), (3, "member-suspect")] {
        let stream = Request::Stream { filter: filter.to_owned(), immediate: true };
        assert_eq!(client.ask(seq, &stream, 1), [ok(seq)]);
    }
    let beta =
        Agent::start(&["-node=beta", "-tag=role=db", &format!("-join={}", alpha.address("Bind addr"))]);
    let joined = client.take(2);
    assert_eq!((&joined[0], &joined[1]["Event"]), (&ok(2), &json!("member-join")));
    let member = &joined[1]["Members"][0];
    assert_eq!((&member["Name"], &member["Status"]), (&json!("beta"), &json!("alive")));
    assert_eq!((&member["Addr"], &member["Tags"]), (&json!({"$bin": "7f000001"}), &json!({"role": "db"})));
    // It dies without a word.
    drop(beta);
    let suspected = client.take(2);
    assert_eq!((&suspected[0], &suspected[1]["Event"]), (&ok(3), &json!("member-suspect")));
    assert_eq!((&suspected[1]["By"], &suspected[1]["Members"][0]["Name"]), (&json!("alpha"), &json!("beta")));
    let failed = client.take(2);
    assert_eq!((&failed[0], &failed[1]["Event"]), (&ok(2), &json!("member-failed")));
    assert_eq!(failed[1]["Members"][0]["Status"], json!("failed"));
    client.ask(4, &Request::ForceLeave { node: "beta".to_owned(), prune: true }, 0);
    assert_eq!(client.take_until(|value| value.get("Event").is_some())["Event"], json!("member-leave"));
    assert_eq!(client.take_until(|value| value.get("Event").is_some())["Event"], json!("member-reap"));
    alpha.wait_for("EventMemberFailed: beta 127.0.0.1");
    alpha.wait_for("agent: Force leaving node (prune): beta");
}

#[test]
fn what_happens_to_members_is_held_and_told_together_unless_a_stream_wants_it_at_once() {
    let alpha = Agent::start(&["-node=alpha"]);
    // Our own join was held, too; it is not part of what follows.
    alpha.wait_for("agent: Received event: member-join");
    let (mut held, mut at_once) = (alpha.client(), alpha.client());
    for (client, immediate) in [(&mut held, false), (&mut at_once, true)] {
        let stream = Request::Stream { filter: "member-join,member-update".to_owned(), immediate };
        assert_eq!(client.ask(2, &stream, 1), [ok(2)]);
    }
    // The second change hides the first one.
    let began = Instant::now();
    for (seq, role) in [(3, "web"), (4, "db")] {
        let tags = Some([("role".to_owned(), role.to_owned())].into());
        at_once.ask(seq, &Request::Tags { tags, delete: None }, 0);
        let told = at_once.take_until(|value| value.get("Event").is_some());
        assert_eq!(
            (&told["Event"], &told["Members"][0]["Tags"]),
            (&json!("member-update"), &json!({"role": role}))
        );
    }
    let both_were_held = began.elapsed() < Duration::from_millis(900);
    let mut told = held.take_until(|value| value.get("Event").is_some());
    if !both_were_held && told["Members"][0]["Tags"] == json!({"role": "web"}) {
        // A machine this slow makes two windows of it.
        told = held.take_until(|value| value.get("Event").is_some());
    }
    assert_eq!((&told["Event"], told["Members"].as_array().unwrap().len()), (&json!("member-update"), 1));
    assert_eq!(told["Members"][0]["Tags"], json!({"role": "db"}));
    // What was told is not told again with the next event. (In Serf it is, with every one.)
    let beta = Agent::start(&["-node=beta", &format!("-join={}", alpha.address("Bind addr"))]);
    let told = held.take_until(|value| value.get("Event").is_some());
    assert_eq!((&told["Event"], &told["Members"][0]["Name"]), (&json!("member-join"), &json!("beta")));
    let tags = Some([("role".to_owned(), "cache".to_owned())].into());
    held.ask(5, &Request::Tags { tags, delete: None }, 1);
    let told = held.take_until(|value| value.get("Event").is_some());
    assert_eq!(told["Members"][0]["Tags"], json!({"role": "cache"}));
    drop(beta);
}

#[test]
fn user_events_whose_sender_allows_it_are_held_and_the_newest_of_a_name_is_told() {
    let agent = Agent::start(&["-node=alpha"]);
    let mut client = agent.client();
    assert_eq!(client.ask(2, &Request::Stream { filter: "user".to_owned(), immediate: false }, 1), [ok(2)]);
    // In one piece, so that all three are there within the second that the first is held.
    let mut bytes = Vec::new();
    for (seq, name, coalesce) in [(3, "deploy", true), (4, "deploy", true), (5, "at once", false)] {
        Request::Event { name: name.to_owned(), payload: None, coalesce }.encode(seq, &mut bytes);
    }
    client.send(&bytes);
    let mut next = || {
        let told = client.take_until(|value| value.get("Event").is_some());
        (told["Name"].as_str().unwrap().to_owned(), told["LTime"].as_u64().unwrap())
    };
    assert_eq!([next(), next()], [("at once".to_owned(), 3), ("deploy".to_owned(), 2)]);
}

#[test]
fn a_monitor_gets_the_backlog_and_what_follows() {
    let agent = Agent::start(&["-node=alpha", "-log-level=err"]);
    let mut client = agent.client();
    let monitor = |level: &str| Request::Monitor { log_level: level.to_owned() };
    for (level, message) in [("verbose", "Unknown log level: VERBOSE"), ("", "Unknown log level: ")] {
        assert_eq!(client.ask(2, &monitor(level), 1), [json!({"Error": message, "Seq": 2})]);
    }
    assert_eq!(client.ask(3, &monitor("debug"), 1), [ok(3)]);
    let has = |text: &'static str| {
        move |value: &Value| value["Log"].as_str().is_some_and(|log| log.ends_with(text))
    };
    client.take_until(has("[INFO] agent: Serf agent starting"));
    client.take_until(has("[INFO] serf: EventMemberJoin: alpha 127.0.0.1"));
    let again = client.ask(4, &monitor("info"), 0);
    assert!(again.is_empty());
    client.take_until(|value| *value == json!({"Error": "Monitor already exists", "Seq": 4}));
    client.ask(5, &event("deploy", b"x".to_vec()), 0);
    client.take_until(has(
        "[DEBUG] agent: Requesting user event send: deploy. Coalesced: false. Payload: \"x\"",
    ));
    assert!(!agent.said().contains("[INFO]"), "the agent's own level is another: {}", agent.said());
}

#[test]
fn coordinates_are_told_of_members_that_have_one() {
    let agent = Agent::start(&["-node=alpha"]);
    let mut client = agent.client();
    let own = client.ask(2, &Request::GetCoordinate { node: "alpha".to_owned() }, 2);
    let fresh = json!({"Adjustment": 0.0, "Error": 1.5, "Height": 1e-5, "Vec": vec![0.0; 8]});
    assert_eq!(own, [json!({"Error": "", "Seq": 2}), json!({"Coord": fresh, "Ok": true})]);
    let nobody = client.ask(3, &Request::GetCoordinate { node: "nobody".to_owned() }, 2);
    assert_eq!((&nobody[0]["Error"], &nobody[1]["Ok"]), (&json!(""), &json!(false)));
}

#[test]
fn stats_have_serfs_sections_and_keys() {
    let agent = Agent::start(&[
        "-node=alpha",
        "-tag=role=web",
        "-event-handler=user:deploy=true",
        "-event-handler=true",
    ]);
    let stats = agent.client().ask(2, &Request::Stats, 2).remove(1);
    assert_eq!(stats["agent"], json!({"name": "alpha"}));
    assert_eq!(stats["tags"], json!({"role": "web"}));
    assert_eq!(stats["event_handlers"], json!({"*:": "true", "user:deploy": "true"}));
    assert_eq!((&stats["serf"]["members"], &stats["serf"]["encrypted"]), (&json!("1"), &json!("false")));
    let keys = |section: &str| stats[section].as_object().unwrap().len();
    assert_eq!((keys("runtime"), keys("serf")), (6, 12));
}

#[test]
fn a_bad_expression_is_answered_and_the_connection_goes_on() {
    let agent = Agent::start(&["-node=alpha"]);
    let mut client = agent.client();
    let filtered =
        |name: &str| Request::MembersFiltered { tags: None, status: String::new(), name: name.to_owned() };
    let refused = client.ask(2, &filtered("["), 2);
    assert!(refused[0]["Error"].as_str().unwrap().starts_with("Failed to compile regex: "), "{refused:?}");
    assert_eq!(refused[1], json!({"Members": []}));
    let found = client.ask(3, &filtered("al.*"), 2);
    assert_eq!(found[1]["Members"][0]["Name"], json!("alpha"));
}

#[test]
fn hostile_bytes_cost_their_connection_and_nothing_else() {
    let agent = Agent::start(&["-node=alpha"]);
    // Announces of 4 GiB, nesting without end, a key of the wrong type.
    let large_text = [&[0x82, 0xa7][..], b"Command", &[0xdb, 0xff, 0xff, 0xff, 0xff]].concat();
    for bytes in [
        vec![0xdd; 64],
        vec![0x91; 4096],
        vec![0xc1],
        vec![0x81, 0xc0, 0xc0],
        [large_text, vec![b'x'; 2 << 20]].concat(),
    ] {
        let mut client = agent.connect();
        client.send(&bytes);
        // Some only announce more than is there; for those the end of the client's side decides.
        drop(client);
    }
    let mut endless = agent.connect();
    endless.send(&[&[0x82, 0xa7][..], b"Command", &[0xdb, 0x7f, 0xff, 0xff, 0xff]].concat());
    for _chunk in 0..40 {
        endless.send(&vec![b'x'; 64 << 10]);
    }
    assert_eq!(endless.until_closed(), Vec::<Value>::new());
    agent.wait_for("[ERR] agent.ipc: Failed to evaluate request: decode failed:");
    assert_eq!(agent.client().ask(2, &Request::Members, 2)[0], ok(2));
}

#[test]
fn a_client_that_does_not_read_is_let_go_and_costs_the_others_nothing() {
    let agent = Agent::start(&["-node=alpha", "-log-level=info"]);
    let mut idle = agent.client();
    idle.ask(2, &Request::Stream { filter: "*".to_owned(), immediate: false }, 1);
    idle.ask(3, &Request::Monitor { log_level: "debug".to_owned() }, 0);
    let mut busy = agent.client();
    let payload = vec![b'x'; 400];
    let mut seq = 2;
    let deadline = Instant::now() + 2 * DEADLINE;
    while !agent.said().contains("has read nothing for 10s; its connection is closed") {
        assert!(Instant::now() < deadline, "the client was not let go:\n{}", agent.said().len());
        for _burst in 0..50 {
            seq += 1;
            assert_eq!(busy.ask(seq, &event("load", payload.clone()), 1), [ok(seq)]);
        }
    }
    let drops = agent.said().matches("Dropping ").count();
    assert_eq!(drops, 1, "one line a minute, however many of the {seq} events were dropped");
}

#[test]
fn a_client_over_the_limit_is_refused() {
    let agent = Agent::start(&["-node=alpha"]);
    let clients: Vec<_> = (0..256).map(|_client| agent.client()).collect();
    assert_eq!(agent.connect().until_closed(), Vec::<Value>::new());
    agent.wait_for("256 clients are connected already");
    drop(clients);
    let deadline = Instant::now() + DEADLINE;
    loop {
        let mut client = agent.connect();
        let mut hello = Vec::new();
        Request::Handshake { version: 1 }.encode(1, &mut hello);
        client.send(&hello);
        if client.first() == Some(ok(1)) {
            break;
        }
        assert!(Instant::now() < deadline, "there is no room although all clients have gone");
    }
}
