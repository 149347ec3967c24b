//! Conversations recorded from Serf, replayed against Thane: see `vectors/README.md`.

use serde_json::{Value, json};
use thane_wire::rpc::Request;

use crate::harness::{Agent, unhex};

#[test]
fn recorded_conversations_go_as_they_went_with_serf() {
    let alpha = Agent::start(&["-node=alpha", "-tag=role=web", "-tag=dc=east"]);
    let beta = Agent::start(&["-node=beta", "-tag=role=db", "-tag=dc=west"]);
    let existing = Some(vec![beta.address("Bind addr")]);
    let joined = alpha.client().ask(2, &Request::Join { existing, replay: false }, 2);
    assert_eq!(joined, [json!({"Error": "", "Seq": 2}), json!({"Num": 1})]);
    let conversations: Vec<Value> = serde_json::from_str(include_str!("vectors/rpc.json")).unwrap();
    assert!(conversations.len() > 30);
    for conversation in &conversations {
        replay(&alpha, conversation);
    }
    let cases = conversations.len();
    eprintln!("compat: RPC conversations, one client | cases={cases} same={cases} listed=0");
    // Whatever they said, the agent goes on.
    assert_eq!(alpha.client().ask(2, &Request::Stop { stop: 0 }, 1), [json!({"Error": "", "Seq": 2})]);
}

fn replay(agent: &Agent, conversation: &Value) {
    let name = conversation["name"].as_str().unwrap();
    let mut client = agent.connect();
    for (number, step) in conversation["steps"].as_array().unwrap().iter().enumerate() {
        if let Some(bytes) = step["send"].as_str() {
            client.send(&unhex(bytes));
        } else if let Some(expected) = step["expect"].as_array() {
            let found = client.take(expected.len()).into_iter().map(steady).collect::<Vec<_>>();
            let expected = expected.iter().cloned().map(steady).collect::<Vec<_>>();
            assert_eq!(found, expected, "step {number} of {name}");
        } else {
            assert_eq!(client.until_closed(), Vec::<Value>::new(), "step {number} of {name}");
        }
    }
}

/// The value without what differs from run to run.
fn steady(mut value: Value) -> Value {
    for section in ["runtime", "serf"] {
        if let Some(entries) = value.get_mut(section).and_then(Value::as_object_mut) {
            entries.values_mut().for_each(|entry| *entry = Value::Null);
        }
    }
    if let Some(members) = value.get_mut("Members").and_then(Value::as_array_mut) {
        members.sort_by_key(|member| member["Name"].as_str().unwrap_or_default().to_owned());
        for member in members {
            member["Port"] = Value::Null;
            let addr = member["Addr"]["$bin"].as_str().unwrap_or_default();
            assert_eq!(addr.len(), 8, "an IPv4 address has four bytes: {member}");
        }
    }
    value
}
