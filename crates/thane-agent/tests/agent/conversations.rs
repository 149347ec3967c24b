//! Conversations recorded from Serf that need an agent of their own: with a token, with keys, that is about to leave, whose neighbour
//! comes and goes. See `vectors/README.md`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thane_wire::rpc::{Request, RequestDecoder};

use crate::harness::{Agent, Client, DEADLINE, hex, unhex};

const K1: &str = "ZWTL+bgjHyQPhJRKcFe3ccirc2SFHmc/Nw67l8NQfdk=";
const K2: &str = "WbL6oaTPom+7RG7Q/INbJWKy09OLar/Hf2SuOAdoQE4=";

/// The recorded address of beta. Ours have as many characters, so that they can stand in for it in recorded bytes.
const RECORDED_BETA: &str = "127.0.0.1:7947";

/// The recordings of this file by name, each used once.
struct Recordings(BTreeMap<String, Value>);

impl Recordings {
    fn load() -> Self {
        let all: Vec<Value> = serde_json::from_str(include_str!("vectors/conversations.json")).unwrap();
        Self(all.into_iter().map(|one| (one["name"].as_str().unwrap().to_owned(), one)).collect())
    }

    fn steps(&self, name: &str) -> Vec<Value> {
        self.0[name]["steps"].as_array().unwrap().clone()
    }
}

/// Two agents that know each other, at an address of their own.
struct Pair {
    alpha: Agent,
    beta: Agent,
    beta_address: String,
}

/// `127.A.B.C` with single digits, which no other test uses.
fn short_address() -> String {
    static USED: AtomicUsize = AtomicUsize::new(0);
    let number = std::process::id() as usize * 16 + USED.fetch_add(1, Ordering::Relaxed);
    format!("127.{}.{}.{}", 2 + number % 8, 1 + number / 8 % 9, 1 + number / 72 % 9)
}

impl Pair {
    fn start(alpha: &[&str], beta: &[&str]) -> Self {
        let host = short_address();
        let (alpha_bind, beta_bind) = (format!("-bind={host}:7946"), format!("-bind={host}:7947"));
        let alpha = Agent::start(&[&["-node=alpha", &alpha_bind][..], alpha].concat());
        let join = format!("-join={host}:7946");
        let beta = Agent::start(&[&["-node=beta", &beta_bind, &join][..], beta].concat());
        for agent in [&alpha, &beta] {
            agent.wait_until("two members", |said| said.matches("EventMemberJoin: ").count() == 2);
        }
        // Both joins are held for a second, together or one by one, and are no part of what follows.
        alpha.wait_until("the event of beta's join", |said| {
            let (_, after) = said.split_once("EventMemberJoin: beta").unwrap_or_default();
            after.contains("Received event: member-join")
        });
        let beta_address = format!("{host}:7947");
        Self { alpha, beta, beta_address }
    }

    fn replay(&self, recordings: &Recordings, name: &str) {
        self.replay_with(&recordings.steps(name), name, |_moment| {});
    }

    /// Replays with alpha; `at` is told of each moment: `send N`, or the event that is expected next.
    fn replay_with(&self, steps: &[Value], name: &str, at: impl FnMut(&str)) {
        Replay::new(&self.alpha, &self.beta_address).run(steps, name, at);
    }

    /// Waits until alpha holds beta for failed.
    fn wait_for_failure(&self) {
        self.alpha.wait_for("EventMemberFailed: beta");
    }
}

struct Replay {
    client: Client,
    beta_address: String,
}

impl Replay {
    fn new(agent: &Agent, beta_address: &str) -> Self {
        Self { client: agent.connect(), beta_address: beta_address.to_owned() }
    }

    fn run(&mut self, steps: &[Value], name: &str, mut at: impl FnMut(&str)) {
        // Answers of one sequence number come first, then its log records.
        let mut answers = BTreeMap::<u64, usize>::new();
        for (number, step) in steps.iter().enumerate() {
            at(&format!("send {number}"));
            if let Some(bytes) = step["send"].as_str() {
                answers.extend(monitors(&unhex(bytes)).into_iter().map(|seq| (seq, 0)));
                let ours = hex(self.beta_address.as_bytes());
                self.client.send(&unhex(&bytes.replace(&hex(RECORDED_BETA.as_bytes()), &ours)));
            } else if let Some(expected) = step["expect"].as_array() {
                let (expected, logs) = without_logs(expected, &mut answers);
                self.expect(&expected, logs, &mut answers, &format!("step {number} of {name}"), &mut at);
            } else {
                let rest: Vec<Value> = self.client.until_closed();
                let is_log = |value: &Value| value.get("Log").is_some() || value["Error"] == json!("");
                assert!(rest.iter().all(is_log), "step {number} of {name}: {rest:?}");
            }
        }
    }

    /// Takes values until there are all that are expected; each record of an event when it is due.
    fn expect(
        &mut self,
        expected: &[Value],
        mut logs: Vec<String>,
        answers: &mut BTreeMap<u64, usize>,
        what: &str,
        at: &mut impl FnMut(&str),
    ) {
        let mut found = Vec::new();
        let deadline = Instant::now() + DEADLINE;
        while found.len() < expected.len() || !logs.is_empty() {
            assert!(Instant::now() < deadline, "{what}: {found:?}, still without {logs:?}");
            let next = expected.get(found.len() + 1).and_then(|value| value["Event"].as_str());
            if let Some(event) = next {
                at(event);
            }
            let value = self.client.take(1).remove(0);
            if let Some(line) = value["Log"].as_str() {
                logs.retain(|log| !line.ends_with(log.as_str()));
                continue;
            }
            // What is not an answer announces a line of the log.
            if let Some(left) = value["Seq"].as_u64().and_then(|seq| answers.get_mut(&seq)) {
                if *left == 0 {
                    continue;
                }
                *left -= 1;
            }
            found.push(value);
        }
        let [found, expected] = [found, expected.to_vec()].map(|values| {
            let mut values: Vec<Value> = values.into_iter().map(steady).collect();
            values.sort_by_key(Value::to_string);
            values
        });
        assert_eq!(found, expected, "{what}");
    }
}

/// The sequence numbers of requests for the log.
fn monitors(bytes: &[u8]) -> Vec<u64> {
    let mut decoder = RequestDecoder::new();
    decoder.push(bytes);
    let requests = std::iter::from_fn(|| decoder.next_request().ok().flatten());
    requests.filter(|(_, request)| matches!(request, Request::Monitor { .. })).map(|(seq, _)| seq).collect()
}

/// What is expected but for log lines, and these; counts the answers of sequence numbers that have a monitor.
fn without_logs(expected: &[Value], answers: &mut BTreeMap<u64, usize>) -> (Vec<Value>, Vec<String>) {
    let (mut values, mut logs) = (Vec::<Value>::new(), Vec::new());
    for value in expected {
        match value["Log"].as_str() {
            Some(line) => {
                logs.push(line.to_owned());
                // The header of the record.
                values.pop();
            }
            None => values.push(value.clone()),
        }
    }
    for (seq, left) in answers {
        *left += values.iter().filter(|value| value["Seq"].as_u64() == Some(*seq)).count();
    }
    (values, logs)
}

/// The value without what differs from run to run.
fn steady(mut value: Value) -> Value {
    if let Some(ltime) = value.get_mut("LTime") {
        *ltime = Value::Null;
    }
    for section in ["runtime", "serf"] {
        if let Some(entries) = value.get_mut(section).and_then(Value::as_object_mut) {
            entries.values_mut().for_each(|entry| *entry = Value::Null);
        }
    }
    if let Some(members) = value.get_mut("Members").and_then(Value::as_array_mut) {
        members.sort_by_key(|member| member["Name"].as_str().unwrap_or_default().to_owned());
        for member in members {
            let addr = member["Addr"]["$bin"].as_str().unwrap_or_default().len();
            member["Addr"] = addr.into();
        }
    }
    // Serf 0.10.1 and newer ones differ in their first letter.
    if let Some(messages) = value.get_mut("Messages").and_then(Value::as_object_mut) {
        for message in messages.values_mut() {
            *message = message.as_str().unwrap().to_lowercase().into();
        }
    }
    // How a name cannot be resolved depends on the machine, and its ports on the run.
    if let Some(error) = value["Error"].as_str()
        && let Some((before, reason)) = error.split_once("Failed to resolve ")
    {
        let name = reason.split_once(": ").unwrap().0;
        value["Error"] = format!("{before}Failed to resolve {name}").into();
    }
    value
}

/// Tells how many recordings gave the same, for the table of `cargo xtask compat`.
fn tell(what: &str, same: usize, listed: usize) {
    eprintln!("compat: RPC conversations, {what} | cases={} same={same} listed={listed}", same + listed);
}

#[test]
fn an_agent_with_a_token_lets_in_who_has_it() {
    let recordings = Recordings::load();
    let folder = Folder::new("conversation-auth");
    let file = folder.0.join("auth.json");
    std::fs::write(&file, json!({"rpc_auth": "sesame"}).to_string()).unwrap();
    let bind = format!("-bind={}:7946", short_address());
    let alpha = Agent::start(&["-node=alpha", &bind, &format!("-config-file={}", file.display())]);
    let same = [
        "auth_empty",
        "auth_required_no_body_command",
        "auth_required_unknown_command",
        "auth_then_join_error",
        "auth_wrong_then_right_then_wrong",
    ];
    for name in same {
        Replay::new(&alpha, RECORDED_BETA).run(&recordings.steps(name), name, |_moment| {});
    }
    // Differs from Serf, which refuses the body once more as if it were a request.
    let name = "auth_required_command_with_body";
    let mut steps = recordings.steps(name);
    let refusals = steps[3]["expect"].as_array_mut().unwrap();
    assert_eq!(refusals.len(), 2);
    refusals.pop();
    Replay::new(&alpha, RECORDED_BETA).run(&steps, name, |_moment| {});
    tell("with a token", same.len(), 1);
}

#[test]
fn two_agents_answer_as_recorded() {
    let recordings = Recordings::load();
    let pair = Pair::start(&["-tag=role=web", "-tag=dc=east"], &["-tag=role=db", "-tag=dc=west"]);
    let same = [
        "edge_nil_fields",
        "force_leave",
        "force_leave_self",
        "join",
        "monitor_debug",
        "monitor_levels",
        "stats",
        "stop_stream_and_monitor",
        "stream_payload_forms",
        "stream_user",
        "stream_user_coalesced",
    ];
    for name in same {
        pair.replay(&recordings, name);
    }
    // Differs from Serf, which closes the connection at bytes where it expects text.
    for (name, seq) in [("edge_bin_for_string", 2), ("edge_str_bin", 3)] {
        let mut steps = recordings.steps(name);
        assert_eq!(steps.pop(), Some(json!({"closed": true})));
        let mut replay = Replay::new(&pair.alpha, &pair.beta_address);
        replay.run(&steps, name, |_moment| {});
        assert_eq!(replay.client.take(1), [json!({"Error": "", "Seq": seq})], "{name}");
    }
    // Differs from Serf, which closes the connection without a word.
    let mut steps = recordings.steps("members_filtered_bad_regex");
    assert_eq!(steps.pop(), Some(json!({"closed": true})));
    let mut replay = Replay::new(&pair.alpha, &pair.beta_address);
    replay.run(&steps, "members_filtered_bad_regex", |_moment| {});
    let [header, body] = replay.client.take(2).try_into().unwrap();
    assert!(header["Error"].as_str().unwrap().starts_with("Failed to compile regex: "), "{header}");
    assert_eq!(body, json!({"Members": []}));
    tell("two agents", same.len(), 3);
}

#[test]
fn an_ipv6_address_has_sixteen_bytes() {
    let six = Agent::start(&["-node=six", "-bind=[::1]:0"]);
    let mut steps = Recordings::load().steps("members_ipv6");
    // Its port is the run's own.
    let port: u64 = six.address("Bind addr").rsplit(':').next().unwrap().parse().unwrap();
    steps[3]["expect"][1]["Members"][0]["Port"] = port.into();
    Replay::new(&six, RECORDED_BETA).run(&steps, "members_ipv6", |_moment| {});
    tell("IPv6", 1, 0);
}

#[test]
fn a_query_lasts_as_long_as_the_profile_says() {
    let alpha = Agent::start(&["-node=alpha"]);
    let mut began = Instant::now();
    let steps = Recordings::load().steps("query_default_timeout");
    let last_send = format!("send {}", steps.iter().rposition(|step| step["send"].is_string()).unwrap());
    Replay::new(&alpha, RECORDED_BETA).run(&steps, "query_default_timeout", |moment| {
        if moment == last_send {
            began = Instant::now();
        } else if moment == format!("send {}", steps.len() - 5) {
            // The answer is to come too late.
            std::thread::sleep(Duration::from_millis(310));
        }
    });
    assert!(began.elapsed() >= Duration::from_millis(3200), "it ended after {:?}", began.elapsed());
    tell("the default timeout", 1, 0);
}

#[test]
fn whoever_listens_hears_the_agents_end() {
    let alpha = Agent::start(&["-node=alpha"]);
    alpha.wait_for("Received event: member-join");
    let steps = Recordings::load().steps("stream_agent_terminates");
    let end = format!("send {}", steps.len() - 1);
    Replay::new(&alpha, RECORDED_BETA).run(&steps, "stream_agent_terminates", |moment| {
        if moment == end {
            alpha.signal("TERM");
        }
    });
    tell("an agent that is terminated", 1, 0);
}

#[test]
fn leaving_agents_answer_as_recorded() {
    let recordings = Recordings::load();
    let pair = Pair::start(&[], &[]);
    Replay::new(&pair.beta, RECORDED_BETA).run(&recordings.steps("leave"), "leave", |_moment| {});
    assert_eq!(pair.beta.wait().0.code(), Some(0));

    // With this profile a leave takes some five seconds, and what is to happen meanwhile does so on a busy machine, too.
    let slow_leave = ["-profile=wan"];
    let pair = Pair::start(&slow_leave, &slow_leave);
    pair.replay_with(&recordings.steps("commands_while_leaving"), "commands_while_leaving", |moment| {
        if moment == "send 2" {
            pair.alpha.signal("INT");
            pair.alpha.wait_for("Gracefully shutting down agent...");
        }
    });

    let pair = Pair::start(&slow_leave, &slow_leave);
    let [mut first, mut second] = [(); 2].map(|()| Replay::new(&pair.alpha, RECORDED_BETA));
    let mut steps = recordings.steps("leave_first_client");
    // Differs from Serf, where the second client cuts the first one's leave short.
    assert_eq!(steps.pop(), Some(json!({"closed": true})));
    first.run(&steps, "leave_first_client", |_moment| {});
    pair.alpha.wait_for("Graceful leave triggered");
    second.run(&recordings.steps("leave_second_client"), "leave_second_client", |_moment| {});
    assert_eq!(first.client.until_closed(), [json!({"Error": "", "Seq": 2})]);
    assert_eq!(pair.alpha.wait().0.code(), Some(0));
    tell("leaving", 3, 1);
}

/// The steps with only what is told of one member. Differs from Serf, which tells updates of others again and again.
fn only_of(member: &str, mut steps: Vec<Value>) -> Vec<Value> {
    for step in &mut steps {
        let Some(expected) = step["expect"].as_array_mut() else { continue };
        let mut kept = Vec::<Value>::new();
        for mut value in std::mem::take(expected) {
            if value.get("Event").is_some() {
                value["Members"].as_array_mut().unwrap().retain(|told| told["Name"] == member);
                if value["Members"] == json!([]) {
                    kept.pop();
                    continue;
                }
            }
            kept.push(value);
        }
        *expected = kept;
    }
    steps
}

#[test]
fn members_that_come_and_go_are_told_as_recorded() {
    let recordings = Recordings::load();
    let pair = Pair::start(&["-tag=role=web", "-tag=dc=east"], &["-tag=role=db", "-tag=dc=west"]);
    let host = pair.beta_address.strip_suffix(":7947").unwrap().to_owned();
    let mut gamma = None;
    let steps = only_of("gamma", recordings.steps("stream_member"));
    pair.replay_with(&steps, "stream_member", |moment| {
        let ask = |gamma: &Option<Agent>, request: &Request| {
            gamma.as_ref().unwrap().client().ask(2, request, 1);
        };
        match moment {
            "member-join" if gamma.is_none() => {
                let (bind, join) = (format!("-bind={host}:7948"), format!("-join={host}:7946"));
                gamma = Some(Agent::start(&["-node=gamma", "-tag=role=cache", &bind, &join]));
            }
            "member-update" => {
                let tags = Some([("x".to_owned(), "1".to_owned())].into());
                ask(&gamma, &Request::Tags { tags, delete: None });
            }
            "member-leave" => ask(&gamma, &Request::Leave),
            _ => {}
        }
    });

    let mut pair = Pair::start(&["-tag=role=web", "-tag=b=2"], &["-tag=role=db"]);
    let steps = only_of("beta", recordings.steps("stream_member_failed_left_reap"));
    let mut replay = Replay::new(&pair.alpha, RECORDED_BETA);
    replay.run(&steps, "stream_member_failed_left_reap", |moment| {
        if moment == "member-failed" {
            pair.beta.kill();
        }
    });
    tell("members that come and go", 0, 2);
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("thane-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn keys_are_managed_as_recorded() {
    let recordings = Recordings::load();
    let folder = Folder::new("conversation-keys");
    let ring = folder.0.join("keyring.json");
    std::fs::write(&ring, json!([K1, K2]).to_string()).unwrap();
    let (ring, beta) = (format!("-keyring-file={}", ring.display()), format!("-encrypt={K1}"));
    let mut pair = Pair::start(&[&ring], &[&beta]);
    pair.replay(&recordings, "keys_rotation");

    // Differs from Serf, which uses a key that one member lacks, and cuts that one off.
    let steps = recordings.steps("keys_errors");
    let (cut_off, rest) = steps.split_at(6);
    let mut replay = Replay::new(&pair.alpha, &pair.beta_address);
    replay.run(&cut_off[..2], "keys_errors", |_moment| {});
    for (step, error) in [(2, "1/2 nodes reported failure"), (4, "2/2 nodes reported failure")] {
        replay.client.send(&unhex(cut_off[step]["send"].as_str().unwrap()));
        let [header, body] = replay.client.take(2).try_into().unwrap();
        assert_eq!(header["Error"], error, "{body}");
        assert_eq!(body["Messages"]["beta"], "requested key is not in the keyring", "{body}");
    }
    // From there on the recorded beta is cut off.
    pair.beta.kill();
    pair.wait_for_failure();
    replay.run(rest, "keys_errors", |_moment| {});
    drop(replay);
    for name in ["keys_nil_body", "keys_with_failed_member"] {
        pair.replay(&recordings, name);
    }
    tell("keys", 3, 1);
}

#[test]
fn a_member_that_is_suspended_is_missed_among_those_with_keys() {
    let encrypted = format!("-encrypt={K1}");
    let flags = [encrypted.as_str()];
    let pair = Pair::start(&flags, &flags);
    pair.beta.signal("STOP");
    pair.replay(&Recordings::load(), "keys_partial");
    tell("a silent member", 1, 0);
}
