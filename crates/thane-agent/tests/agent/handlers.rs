//! Event handlers as scripts see them.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;
use thane_wire::rpc::Request;

use crate::harness::{Agent, DEADLINE};

/// A file that scripts write to, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("thane-agent-test-{}-{name}", std::process::id())))
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }

    fn wait_for(&self, text: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let found = fs::read_to_string(&self.0).unwrap_or_default();
            if found.contains(text) {
                return found;
            }
            assert!(Instant::now() < deadline, "{text:?} did not come in:\n{found}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A test that failed early has no file.
        _ = fs::remove_file(&self.0);
    }
}

fn event(name: &str, payload: &str) -> Request {
    Request::Event { name: name.to_owned(), payload: Some(payload.as_bytes().to_vec()), coalesce: false }
}

#[test]
fn a_script_sees_its_event_in_environment_and_input() {
    let file = Scratch::new("sees");
    let script = format!(
        "user=echo \"$SERF_EVENT|$SERF_SELF_NAME|$SERF_SELF_ROLE|$SERF_TAG_MY_TAG|$SERF_USER_EVENT|$SERF_USER_LTIME|$OUTER\" >> {0}; cat >> {0}; echo end >> {0}",
        file.path()
    );
    let agent = Agent::start(&[
        "-node=alpha",
        "-tag=role=web",
        "-tag=my-tag=v 1",
        &format!("-event-handler={script}"),
    ]);
    let answer = agent.client().ask(2, &event("na me=x", "payload"), 1);
    assert_eq!(answer, [json!({"Error": "", "Seq": 2})]);
    let found = file.wait_for("end");
    assert_eq!(found, "user|alpha|web|v 1|na me=x|1|inherited\npayload\nend\n");
}

#[test]
fn members_come_in_lines_and_a_script_that_fails_is_told() {
    let file = Scratch::new("members");
    let script = format!("-event-handler=member-join=cat >> {}; exit 7", file.path());
    let agent = Agent::start(&["-node=alpha", "-tag=role=web", "-tag=dc=east", &script]);
    assert_eq!(file.wait_for("alpha"), "alpha\t127.0.0.1\tweb\tdc=east,role=web\n");
    let output = agent.wait_for("[ERR] agent: Error invoking script 'cat >> ");
    assert!(output.contains("; exit 7': exit status 7"), "{output}");
}

#[test]
fn a_slow_script_delays_neither_other_scripts_nor_streams() {
    let (slow, fast) = (Scratch::new("slow"), Scratch::new("fast"));
    let agent = Agent::start(&[
        &format!("-event-handler=user=echo begun >> {}; exec sleep 60", slow.path()),
        &format!("-event-handler=user=echo $SERF_USER_EVENT >> {}", fast.path()),
    ]);
    let mut client = agent.client();
    assert_eq!(
        client.ask(2, &Request::Stream { filter: "user".to_owned(), immediate: false }, 1),
        [json!({"Error": "", "Seq": 2})]
    );
    client.ask(3, &event("one", ""), 3);
    slow.wait_for("begun");
    let (mut names, answers) = (Vec::new(), client.ask(4, &event("two", ""), 3));
    names.extend(answers.iter().filter_map(|value| value["Name"].as_str()));
    assert_eq!(names, ["two"]);
    assert_eq!(fast.wait_for("two"), "one\ntwo\n");
    agent.wait_for("slow, execution exceeding 1s");
}

#[test]
fn filters_choose_and_an_event_that_passes_two_runs_twice() {
    let file = Scratch::new("filters");
    let agent = Agent::start(&[
        &format!("-event-handler=user,user:deploy=echo hit $SERF_USER_EVENT >> {}", file.path()),
        &format!("-event-handler=query=echo never >> {}", file.path()),
    ]);
    let mut client = agent.client();
    client.ask(2, &event("deploy", ""), 1);
    client.ask(3, &event("other", ""), 1);
    assert_eq!(file.wait_for("other"), "hit deploy\nhit deploy\nhit other\n");
}

#[test]
fn the_own_leave_still_reaches_the_handlers() {
    let file = Scratch::new("leave");
    let agent =
        Agent::start(&["-node=alpha", &format!("-event-handler=member-leave=cat >> {}", file.path())]);
    agent.signal("INT");
    let (status, output) = agent.wait();
    assert_eq!(status.code(), Some(0), "{output}");
    assert_eq!(file.wait_for("alpha"), "alpha\t127.0.0.1\t\t\n");
}
