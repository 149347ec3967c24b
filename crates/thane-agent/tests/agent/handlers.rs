//! Event handlers as scripts see them.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use thane_wire::rpc::{Query, Request};

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

/// A named pipe that this test holds open: a script that reads from it hangs until the test is over.
struct Hang {
    path: PathBuf,
    held: fs::File,
}

impl Hang {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("thane-agent-test-{}-hang-{name}", std::process::id()));
        _ = fs::remove_file(&path);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        // Open both ways, so that neither side waits for the other.
        let held = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        Self { path, held }
    }

    fn script(&self) -> String {
        format!("exec cat {}", self.path.display())
    }
}

impl Drop for Hang {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.path);
    }
}

/// What the agent serves at `/metrics`.
fn metrics(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// The value of a sample whose line begins so; 0 if there is none.
fn sample(text: &str, start: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(start));
    line.map_or(0.0, |line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
}

/// A port that was free a moment ago, of an address that is the test's alone.
fn free_address(ip: &str) -> String {
    std::net::TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap().to_string()
}

/// One handler that hangs costs a queue of 1,024 events and a line a minute; another handler and the stream of a client get
/// every event meanwhile, and queries are answered.
#[test]
fn sf_369_a_handler_that_hangs_blocks_nothing_else() {
    const EVENTS: usize = 1_100;
    let (hang, file) = (Hang::new("sf369"), Scratch::new("sf369"));
    let metrics_addr = free_address("127.0.0.41");
    let agent = Agent::start(&[
        &format!("-metrics-addr={metrics_addr}"),
        &format!("-event-handler=user={}", hang.script()),
        &format!("-event-handler=user:last=echo $SERF_USER_EVENT >> {}", file.path()),
        "-event-handler=query=echo alive",
    ]);
    let (mut stream, mut sender) = (agent.client(), agent.client());
    stream.ask(2, &Request::Stream { filter: "user".to_owned(), immediate: false }, 1);
    for number in 0..EVENTS {
        let name = if number + 1 == EVENTS { "last".to_owned() } else { format!("e{number}") };
        sender.ask(3, &event(&name, ""), 1);
        let record = stream.take_until(|value| value["Event"] == "user");
        assert_eq!(record["Name"], name.as_str(), "the stream has every event, in order");
    }
    assert_eq!(file.wait_for("last"), "last\n");
    let query = Query { name: "q".to_owned(), timeout_ns: 10_000_000_000, ..Query::default() };
    sender.ask(4, &Request::Query(query), 1);
    let response = sender.take_until(|value| value["Type"] == "response");
    assert_eq!(response["Payload"]["$bin"], "616c6976650a");
    let text = metrics(&metrics_addr);
    let script = hang.script();
    // One is being handled, and 1,024 wait.
    let dropped = sample(&text, &format!("thane_handler_events_dropped_total{{script=\"{script}\"}}"));
    assert!((dropped - (EVENTS - 1_025) as f64).abs() < f64::EPSILON, "{dropped} dropped");
    agent.wait_for("slow, execution exceeding 1s");
    agent.wait_for("is too slow: 1024");
    let said = agent.said();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains(&script)).collect();
    let about = |words: &str| lines.iter().filter(|line| line.contains(words)).count();
    assert_eq!(about("slow, execution exceeding 1s"), 1, "{lines:#?}");
    assert_eq!(about("is too slow: 1024 events wait for it and 1 were dropped so far"), 1, "{lines:#?}");
    assert_eq!(lines.len(), 2, "{lines:#?}");
}

#[test]
fn a_handler_with_a_time_limit_is_ended_and_the_next_event_gets_its_turn() {
    let (hang, file) = (Hang::new("limit"), Scratch::new("limit"));
    let metrics_addr = free_address("127.0.0.42");
    let script = format!("echo $SERF_USER_EVENT >> {}; {}", file.path(), hang.script());
    let agent = Agent::start(&[
        "-event-handler-timeout=6s",
        &format!("-metrics-addr={metrics_addr}"),
        &format!("-event-handler=user={script}"),
    ]);
    let mut client = agent.client();
    client.ask(2, &event("one", ""), 1);
    client.ask(3, &event("two", ""), 1);
    assert_eq!(file.wait_for("two"), "one\ntwo\n");
    agent.wait_for("was ended after 6s, 1 times so far");
    let deadline = Instant::now() + DEADLINE;
    while sample(&metrics(&metrics_addr), "thane_handler_kills_total{") < 2.0 {
        assert!(Instant::now() < deadline, "{}", metrics(&metrics_addr));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(agent.said().matches("was ended after").count(), 1, "one line a minute");
}

/// A worker that a script started, that has closed its output and ignores the request to end, is ended with it.
#[test]
fn nothing_that_a_script_started_outlives_its_time_limit() {
    let alive = Hang::new("worker");
    let worker = format!(
        "trap \"\" TERM; exec 3>{} >/dev/null 2>&1; echo up >&3; while :; do sleep 1; done",
        alive.path.display()
    );
    let script = format!("sh -c '{worker}' & wait");
    let agent = Agent::start(&["-event-handler-timeout=6s", &format!("-event-handler=user={script}")]);
    let mut lines = BufReader::new(fs::File::open(&alive.path).unwrap());
    agent.client().ask(2, &event("e", ""), 1);
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in 0..2 {
            let mut said = String::new();
            let length = lines.read_line(&mut said).unwrap();
            if tell.send((length, said)).is_err() || length == 0 {
                return line;
            }
        }
        2
    });
    assert_eq!(told.recv_timeout(DEADLINE).expect("the worker came up").1, "up\n");
    // The pipe ends when nobody has it open for writing any more.
    drop(alive);
    assert_eq!(told.recv_timeout(DEADLINE).expect("the worker is gone").0, 0);
}

/// Without a time limit a script outlives its agent, as with Serf: it may be what restarts the agent. With one it does not, for
/// nobody would end it any more.
#[test]
fn a_script_outlives_its_agent_unless_it_has_a_time_limit() {
    for limit in [None, Some("-event-handler-timeout=1h")] {
        let (alive, go) = (Hang::new("alive"), Hang::new("go"));
        // It holds the first pipe open for as long as it lives.
        let script = format!(
            "exec 3>{}; echo up >&3; read go <{}; echo on >&3",
            alive.path.display(),
            go.path.display()
        );
        let mut flags = vec![format!("-event-handler=user={script}")];
        flags.extend(limit.map(str::to_owned));
        let agent = Agent::start(&flags.iter().map(String::as_str).collect::<Vec<_>>());
        let mut lines = BufReader::new(fs::File::open(&alive.path).unwrap());
        agent.client().ask(2, &event("e", ""), 1);
        let mut said = String::new();
        lines.read_line(&mut said).unwrap();
        agent.signal("TERM");
        let (status, output) = agent.wait();
        assert_eq!(status.code(), Some(1), "{output}");
        (&go.held).write_all(b"go\n").unwrap();
        let expected = if limit.is_some() { "" } else { "on\n" };
        let mut rest = String::new();
        // From now on only the script has it open for writing.
        drop(alive);
        lines.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, expected, "with {limit:?}");
    }
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
