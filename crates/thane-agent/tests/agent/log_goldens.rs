//! The logs of several agents, line by line as Serf's agents were recorded to write them: see `vectors/README.md`.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::json;
use thane_wire::rpc::Request;

use crate::harness::Agent;

/// Where alpha is, which was recorded at 127.0.0.1.
const ALPHA_IP: &str = "127.0.84.1";

/// A busy machine, and what the others think of who was held up.
const BY_LUCK: [&str; 5] = [
    "this node did not run for",
    "suspecting ",
    "answering a suspicion by ",
    "Was able to connect to ",
    "Failed fallback ping: ",
];

#[derive(Deserialize)]
struct Story {
    name: String,
    version: String,
    lines: BTreeSet<String>,
}

/// The distinct lines of a log from INFO up, without their times and with names for addresses.
fn lines(said: &str, names: &[(&str, &str)]) -> BTreeSet<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in said.lines().filter(|line| !line.is_empty()) {
        // `    2026/11/21 19:45:38 [INFO] agent: text`, and what follows it.
        if line.starts_with("    2") && line.get(24..25) == Some("[") {
            lines.push(line[24..].to_owned());
        } else if line.starts_with("==> ") {
            // The agent itself, not its log.
        } else if let Some(last) = lines.last_mut() {
            last.push('\n');
            last.push_str(line);
        }
    }
    let named = |line: String| {
        let line = match line.split_once("client: ") {
            Some((start, _address)) => format!("{start}client: CLIENT"),
            None => line,
        };
        let line = names.iter().fold(line, |line, (address, name)| line.replace(address, name));
        line.replace(ALPHA_IP, "127.0.0.1")
    };
    let is_by_luck = |line: &str| BY_LUCK.iter().any(|words| line.contains(words));
    lines.into_iter().filter(|line| !line.starts_with("[DEBUG]") && !is_by_luck(line)).map(named).collect()
}

/// Lines that are ours to word otherwise; each is in COMPATIBILITY.md.
fn is_listed(story: &Story, line: &str) -> bool {
    // Before 0.10 the address of a failed join had no port.
    (story.version == "0.9.4" && line.contains("* Failed to join 127.0.0.1: dial"))
        // Two lines of Serf's, one of ours.
        || line.starts_with("[ERR] memberlist: Conflicting address for beta.")
        || line.starts_with("[ERR] serf: Node name conflicts with another node")
}

/// What Thane says instead of two of those.
fn is_ours(line: &str) -> bool {
    line == "[ERR] serf: beta is claimed by BETA and held by SECOND; names must be unique"
}

#[test]
fn logs_have_the_lines_that_serfs_were_recorded_to_have() {
    let stories: Vec<Story> = serde_json::from_str(include_str!("vectors/logs.json")).unwrap();
    let found = tell();
    let (mut same, mut listed) = (0, 0);
    for story in &stories {
        let (_name, found) = found.iter().find(|(name, _lines)| *name == story.name).unwrap();
        for line in &story.lines {
            if found.contains(line) {
                same += 1;
            } else {
                assert!(is_listed(story, line), "{:?} is missing in {} of {found:#?}", line, story.name);
                listed += 1;
            }
        }
        // Of the winner of a name only the end of its log was kept.
        if story.version == "0.10.1" && story.name != "name_conflict_first_beta" {
            let beyond: Vec<&String> =
                found.iter().filter(|line| !story.lines.contains(*line) && !is_ours(line)).collect();
            assert!(beyond.is_empty(), "{} has no {beyond:#?}", story.name);
        }
    }
    eprintln!("compat: agent log lines | cases={} same={same} listed={listed}", same + listed);
}

/// Plays the stories; the lines of each.
fn tell() -> Vec<(&'static str, BTreeSet<String>)> {
    // Taken and given back, so that nobody listens there yet. No other test uses this IP, so nobody else will either.
    let taken = std::net::TcpListener::bind((ALPHA_IP, 0)).unwrap();
    let alpha_addr = taken.local_addr().unwrap().to_string();
    drop(taken);
    // With the slowest profile there are eight seconds for the votes about beta's name.
    let retry = format!("-retry-join={alpha_addr}");
    let beta = Agent::start(&["-node=beta", "-profile=wan", &retry, "-retry-interval=1s"]);
    beta.wait_for("retrying in 1s");
    beta.wait_for("Received event: member-join");
    let alpha = Agent::start(&["-node=alpha", &format!("-bind={alpha_addr}")]);
    beta.wait_for("Join completed");
    beta.wait_for("EventMemberJoin: alpha");
    let beta_addr = beta.address("Bind addr");
    let names = [(alpha_addr.as_str(), "ALPHA"), (beta_addr.as_str(), "BETA")];
    let mut told = vec![("retry_join_until_success", lines(&beta.said(), &names))];
    let mut client = alpha.client();
    for (seq, name) in (2..).zip(["a", "b", "c"]) {
        let event = Request::Event { name: name.to_owned(), payload: None, coalesce: false };
        client.ask(seq, &event, 1);
    }
    let join = |agent: &Agent, replay: bool| {
        agent.wait_for("Received event: member-join");
        let existing = Some(vec![alpha_addr.clone()]);
        let joined = agent.client().ask(2, &Request::Join { existing, replay }, 2);
        assert_eq!(joined[1], json!({"Num": 1}));
        agent.wait_until("the other members' event", |said| said.matches("event: member-join").count() == 2);
        lines(&agent.said(), &names)
    };
    let gamma = Agent::start(&["-node=gamma"]);
    told.push(("join_without_replay", join(&gamma, false)));
    let delta = Agent::start(&["-node=delta"]);
    told.push(("join_with_replay", join(&delta, true)));
    beta.wait_for("EventMemberJoin: gamma");
    beta.wait_for("EventMemberJoin: delta");
    drop(gamma);
    alpha.wait_for("EventMemberFailed: gamma");
    delta.wait_for("EventMemberFailed: gamma");
    let second = Agent::start(&["-node=beta", "-profile=wan", &format!("-join={alpha_addr}")]);
    let second_addr = second.address("Bind addr");
    let (status, said) = second.wait();
    assert_eq!(status.code(), Some(0), "{said}");
    let all = [names[0], names[1], (second_addr.as_str(), "SECOND")];
    told.push(("name_conflict_second_beta", lines(&said, &all)));
    told.push(("name_conflict_first_beta", lines(&beta.said(), &all)));
    told
}
