//! Queries: conversations recorded from Serf, and what handlers answer.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thane_wire::rpc::{Query, Request};

use crate::harness::{Agent, Client, unhex};

/// Two agents that know each other. Gives the first.
fn pair(alpha: &[&str], beta: &[&str]) -> (Agent, Agent) {
    let (alpha, beta) = (Agent::start(alpha), Agent::start(beta));
    let existing = Some(vec![beta.address("Bind addr")]);
    let joined = alpha.client().ask(2, &Request::Join { existing, replay: false }, 2);
    assert_eq!(joined, [json!({"Error": "", "Seq": 2}), json!({"Num": 1})]);
    beta.wait_for("EventMemberJoin: alpha");
    (alpha, beta)
}

#[test]
fn recorded_queries_go_as_they_went_with_serf() {
    let (alpha, _beta) = pair(
        &["-node=alpha", "-tag=role=web", "-tag=dc=east"],
        &["-node=beta", "-tag=role=db", "-tag=dc=west", "-event-handler=query:load=echo 0.42"],
    );
    // Beta has told its coordinate once alpha has probed it.
    let coordinate = Request::GetCoordinate { node: "beta".to_owned() };
    let (mut client, start) = (alpha.client(), Instant::now());
    while client.ask(2, &coordinate, 2)[1]["Ok"] != json!(true) {
        assert!(start.elapsed() < Duration::from_secs(30), "alpha does not learn where beta is");
    }
    let conversations: Vec<Value> = serde_json::from_str(include_str!("vectors/queries.json")).unwrap();
    assert!(conversations.len() > 15);
    for conversation in &conversations {
        replay(&alpha, conversation);
    }
    let cases = conversations.len();
    eprintln!("compat: RPC conversations, queries | cases={cases} same={cases} listed=0");
}

/// Sends as recorded, each time after so many values as had come by then. All values must be the recorded ones, in any order.
fn replay(agent: &Agent, conversation: &Value) {
    let name = conversation["name"].as_str().unwrap();
    let mut client = agent.connect();
    let (mut found, mut recorded) = (Vec::new(), Vec::new());
    for step in conversation["steps"].as_array().unwrap() {
        if let Some(bytes) = step["send"].as_str() {
            client.send(&unhex(&patient(bytes)));
        } else {
            let expected = step["expect"].as_array().unwrap();
            found.extend(client.take(expected.len()).into_iter().map(steady));
            recorded.extend(expected.iter().cloned().map(steady));
        }
    }
    let sorted = |mut values: Vec<Value>| {
        values.sort_by_key(Value::to_string);
        values
    };
    assert_eq!(sorted(found), sorted(recorded), "{name}");
}

/// A request in hexadecimal digits that gives 3 s for the answers instead of 1 s or 1.5 s.
fn patient(bytes: &str) -> String {
    /// The key `Timeout` and the first byte of its value.
    const KEY: &str = "a754696d656f7574ce";
    let longer = format!("{KEY}b2d05e00");
    ["3b9aca00", "59682f00"]
        .iter()
        .fold(bytes.to_owned(), |bytes, short| bytes.replace(&format!("{KEY}{short}"), &longer))
}

/// The value without what differs from run to run.
fn steady(mut value: Value) -> Value {
    if let Some(ltime) = value.get_mut("LTime") {
        *ltime = Value::Null;
    }
    if let Some(coordinate) = value.get_mut("Coord").and_then(Value::as_object_mut)
        && !coordinate["Vec"].is_null()
    {
        assert_eq!(coordinate["Vec"].as_array().map(Vec::len), Some(8), "{coordinate:?}");
        coordinate.values_mut().for_each(|entry| *entry = Value::Null);
    }
    value
}

/// Asks, and gives all records up to the last.
fn ask(client: &mut Client, query: Query) -> Vec<Value> {
    assert_eq!(client.ask(7, &Request::Query(query), 1), [json!({"Error": "", "Seq": 7})]);
    let mut records = Vec::new();
    loop {
        let [header, record] = client.take(2).try_into().unwrap();
        assert_eq!(header, json!({"Error": "", "Seq": 7}));
        if record["Type"] == json!("done") {
            return records;
        }
        records.push(record);
    }
}

fn named(name: &str) -> Query {
    Query { name: name.to_owned(), request_ack: true, end_when_answered: true, ..Query::default() }
}

#[test]
fn sf_398_a_query_over_the_rpc_may_end_when_all_have_answered() {
    let (alpha, _beta) =
        pair(&["-node=alpha", "-event-handler=query=echo a"], &["-node=beta", "-event-handler=query=echo b"]);
    let start = Instant::now();
    let records = ask(&mut alpha.client(), Query { timeout_ns: 60_000_000_000, ..named("load") });
    assert_eq!(records.len(), 4, "{records:?}");
    assert!(start.elapsed() < Duration::from_secs(30), "it waited for the deadline");
}

#[test]
fn handlers_answer_as_serfs_do() {
    let agent = Agent::start(&[
        "-node=alpha",
        "-log-level=debug",
        "-event-handler=query:both=echo out; echo err >&2",
        "-event-handler=query:fails=echo partial; exit 1",
        "-event-handler=query:silent=true",
        "-event-handler=query:a=head -c 990 /dev/zero | tr '\\0' x",
        "-event-handler=query:b=head -c 960 /dev/zero | tr '\\0' x",
        "-event-handler=query:late=sleep 2; echo late",
        "-event-handler=query:input=echo \"$SERF_EVENT|$SERF_QUERY_NAME|$SERF_QUERY_LTIME\"; cat",
        "-event-handler=query:twice=echo one",
        "-event-handler=query:twice=sleep 2; echo two",
    ]);
    let mut client = agent.client();
    let mut answer = |name: &str, timeout_ms: i64| {
        let query =
            Query { timeout_ns: timeout_ms * 1_000_000, payload: Some(b"in".to_vec()), ..named(name) };
        let mut records = ask(&mut client, query);
        assert_eq!(records.remove(0), json!({"From": "alpha", "Payload": null, "Type": "ack"}), "{name}");
        records.pop().map(|record| {
            assert_eq!((&record["From"], &record["Type"]), (&json!("alpha"), &json!("response")), "{name}");
            String::from_utf8(unhex(record["Payload"]["$bin"].as_str().unwrap())).unwrap()
        })
    };
    assert_eq!(answer("both", 30_000).as_deref(), Some("out\nerr\n"));
    let input = answer("input", 30_000).unwrap();
    assert!(input.starts_with("query|input|") && input.ends_with("\nin\n"), "{input}");
    assert_eq!(answer("b", 30_000).map(|text| text.len()), Some(960));
    assert_eq!(answer("twice", 30_000).as_deref(), Some("one\n"));
    // What the script of `a` says must come in time to be refused.
    for (silent, timeout_ms) in
        [("fails", 1_000), ("silent", 1_000), ("a", 6_000), ("late", 1_000), ("nobody", 1_000)]
    {
        assert_eq!(answer(silent, timeout_ms), None, "{silent}");
    }
    for line in [
        "[ERR] agent: Error invoking script 'echo partial; exit 1': exit status 1",
        "[INFO] agent: Received event: query: both",
        "[DEBUG] agent: Requesting query send: both. Payload: \"in\"",
        "[DEBUG] agent: Event 'query' script output: out",
        "[WARN] agent: Failed to respond to query 'query: twice': failed to respond to key query: response already sent",
        "[WARN] agent: Failed to respond to query 'query: a': failed to respond to key query: response exceeds limit of 1024 bytes",
        "[WARN] agent: Failed to respond to query 'query: late': failed to respond to key query: response is past the deadline",
    ] {
        agent.wait_for(line);
    }
}

#[test]
fn a_query_ends_with_the_connection_that_asked() {
    let agent = Agent::start(&["-node=alpha"]);
    for _round in 0..300 {
        // More than a client may have, and more than a node may have if none ended.
        let mut client = agent.client();
        for seq in 2..7 {
            let query = Query { timeout_ns: 3_600_000_000_000, ..named("forever") };
            assert_eq!(client.ask(seq, &Request::Query(query), 1)[0]["Error"], json!(""), "{seq}");
            client.take(2);
        }
    }
}
