//! How an agent ends: signals, leaves over RPC, exit codes.

use serde_json::json;
use thane::recording::{End, Recording};
use thane_wire::rpc::Request;

use crate::harness::Agent;

/// With this profile a leave takes some five seconds, and what is to happen meanwhile does so on a busy machine, too.
const SLOW_LEAVE: &str = "-profile=wan";

#[test]
fn an_interrupt_leaves_and_exits_with_0() {
    let agent = Agent::start(&["-node=alone"]);
    agent.signal("INT");
    let (status, output) = agent.wait();
    assert_eq!(status.code(), Some(0), "{output}");
    let mut rest = output.as_str();
    for text in [
        "==> Caught signal: interrupt\n==> Gracefully shutting down agent...\n",
        "[INFO] agent: requesting graceful leave from Serf\n",
        "[INFO] serf: EventMemberLeave: alone 127.0.0.1\n",
        "[INFO] agent: requesting serf shutdown\n",
        "[INFO] agent: shutdown complete\n",
    ] {
        rest =
            rest.split_once(text).unwrap_or_else(|| panic!("{text:?} is missing or misplaced:\n{output}")).1;
    }
    assert!(!output.contains("Shutdown without a Leave"), "{output}");
}

#[test]
fn a_terminated_agent_does_not_leave_and_exits_with_1() {
    let agent = Agent::start(&["-node=alone"]);
    agent.signal("TERM");
    let (status, output) = agent.wait();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("==> Caught signal: terminated\n"), "{output}");
    assert!(output.contains("[WARN] serf: Shutdown without a Leave\n"), "{output}");
    assert!(!output.contains("graceful leave"), "{output}");
}

#[test]
fn a_second_signal_ends_a_leave_with_1() {
    let first = Agent::start(&["-node=first", SLOW_LEAVE]);
    let second =
        Agent::start(&["-node=second", SLOW_LEAVE, &format!("-join={}", first.address("Bind addr"))]);
    second.signal("INT");
    second.wait_for("requesting graceful leave from Serf");
    second.signal("TERM");
    let (status, output) = second.wait();
    assert_eq!(status.code(), Some(1), "{output}");
}

#[test]
fn a_hangup_reloads_and_takes_back_tags_set_over_rpc() {
    let agent = Agent::start(&["-node=alone", "-tag=a=1"]);
    let mut client = agent.client();
    let tags = Some([("b".to_owned(), "2".to_owned())].into());
    assert_eq!(client.ask(2, &Request::Tags { tags, delete: None }, 1), [json!({"Error": "", "Seq": 2})]);
    agent.signal("HUP");
    agent.wait_for("==> Caught signal: hangup\n==> Reloading configuration...\n");
    agent.wait_for("agent: configuration reloaded");
    let stats = client.ask(3, &Request::Stats, 2);
    assert_eq!(stats[1]["tags"], json!({"a": "1"}));
}

#[test]
fn a_leave_over_rpc_is_answered_before_the_agent_ends_with_0() {
    let agent = Agent::start(&["-node=alone"]);
    let mut client = agent.client();
    assert_eq!(client.ask(2, &Request::Leave, 1), [json!({"Error": "", "Seq": 2})]);
    assert_eq!(client.until_closed(), Vec::<serde_json::Value>::new());
    let (status, output) = agent.wait();
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(output.contains("[INFO] agent.ipc: Graceful leave triggered\n"), "{output}");
}

#[test]
fn a_second_leave_is_refused_and_the_first_one_completes() {
    let first = Agent::start(&["-node=first", SLOW_LEAVE]);
    let second =
        Agent::start(&["-node=second", SLOW_LEAVE, &format!("-join={}", first.address("Bind addr"))]);
    first.wait_for("EventMemberJoin: second");
    let (mut one, mut other) = (second.client(), second.client());
    let mut bytes = Vec::new();
    Request::Leave.encode(2, &mut bytes);
    one.send(&bytes);
    second.wait_for("requesting graceful leave from Serf");
    let refused = other.ask(2, &Request::Leave, 1);
    assert_eq!(refused, [json!({"Error": "Leave already in progress", "Seq": 2})]);
    assert_eq!(one.take(1), [json!({"Error": "", "Seq": 2})]);
    let (status, output) = second.wait();
    assert_eq!(status.code(), Some(0), "{output}");
    first.wait_for("EventMemberLeave: second 127.0.0.1");
}

#[test]
fn a_leave_goes_on_when_its_client_has_gone_and_joins_are_refused_meanwhile() {
    let first = Agent::start(&["-node=first", SLOW_LEAVE]);
    let address = first.address("Bind addr");
    let second = Agent::start(&["-node=second", SLOW_LEAVE, &format!("-join={address}")]);
    let (mut one, mut other) = (second.client(), second.client());
    let mut bytes = Vec::new();
    Request::Leave.encode(2, &mut bytes);
    one.send(&bytes);
    second.wait_for("requesting graceful leave from Serf");
    drop(one);
    let refused = other.ask(2, &Request::Join { existing: Some(vec![address]), replay: false }, 2);
    assert_eq!(
        refused,
        [json!({"Error": "Serf can't Join after Leave or Shutdown", "Seq": 2}), json!({"Num": 0})]
    );
    let (status, output) = second.wait();
    assert_eq!(status.code(), Some(0), "{output}");
}

/// Whoever quits an agent wants to see what it did: the recording is whole.
#[test]
fn an_agent_that_quits_ends_its_recording_first() {
    let path = std::env::temp_dir().join(format!("thane-quit-{}", std::process::id()));
    let agent = Agent::start(&["-node=alone", &format!("-record={}", path.display())]);
    agent.signal("QUIT");
    let (status, output) = agent.wait();
    let file = std::fs::read(&path);
    drop(std::fs::remove_file(&path));
    assert_eq!(status.code(), Some(2), "{output}");
    let file = file.unwrap();
    let mut recording = Recording::open(&file).unwrap();
    while recording.next_entry().unwrap().is_some() {}
    assert_eq!(recording.end(), Some(End::Stopped));
}
