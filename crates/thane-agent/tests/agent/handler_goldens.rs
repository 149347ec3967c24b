//! What Serf's agent was recorded to do with event handlers, done again with Thane's: see `vectors/README.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use thane_wire::rpc::{Query, Request};

use crate::harness::{Agent, Client, DEADLINE, hex, unhex};

#[derive(Deserialize)]
struct Recorded {
    behaviour: Vec<Behaviour>,
    environments: Vec<Environment>,
}

#[derive(Deserialize)]
struct Behaviour {
    name: String,
    versions: Vec<String>,
    handlers: Vec<String>,
    actions: Vec<Action>,
    files: BTreeMap<String, String>,
    log: Vec<String>,
}

#[derive(Deserialize)]
struct Action {
    argv: Vec<String>,
    exit_code: i32,
    stdout: String,
}

#[derive(Clone, Deserialize)]
struct Environment {
    name: String,
    versions: Vec<String>,
    environ: Vec<String>,
    stdin: String,
}

fn recorded() -> Recorded {
    serde_json::from_str(include_str!("vectors/handlers.json")).unwrap()
}

/// A folder of the test's own, removed with what is in it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("thane-handlers-{}-{name}", std::process::id()));
        _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// Scripts at a time.
const AT_ONCE: usize = 4;

/// What Thane does otherwise on purpose.
enum Differs {
    /// Handlers run at the same time: each in its own order.
    Lanes,
    /// A query is answered while the script of another handler runs.
    NotHeldUp,
    /// The handler that is done first answers, not the first one in the configuration.
    FirstDone,
    /// Output that was cut is told of.
    TruncationTold,
    /// An RPC client hears of a query while its handler runs: there is a test for it beside this one.
    StreamFirst,
}

fn differs(name: &str) -> Option<Differs> {
    Some(match name {
        "sequential" => Differs::Lanes,
        "blocks_query_events" => Differs::NotHeldUp,
        "query_two_handlers" => Differs::FirstDone,
        "output_truncated" | "query_output_truncated" => Differs::TruncationTold,
        "rpc_and_handler_both_answer" => Differs::StreamFirst,
        _ => return None,
    })
}

#[test]
fn handlers_do_what_serfs_were_recorded_to_do() {
    let recorded = recorded().behaviour;
    let next = Mutex::new(recorded.iter());
    thread::scope(|scope| {
        for _worker in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let case = next.lock().unwrap().next();
                    let Some(case) = case else { return };
                    Replay::of(case).check(case);
                }
            });
        }
    });
    let count = |cases: &mut dyn Iterator<Item = &Behaviour>| -> usize {
        cases.map(|case| case.versions.len()).sum()
    };
    let cases = count(&mut recorded.iter());
    let listed = count(&mut recorded.iter().filter(|case| differs(&case.name).is_some()));
    eprintln!("compat: agent event handlers | cases={cases} same={} listed={listed}", cases - listed);
}

/// What came of a case.
struct Replay {
    stdouts: Vec<String>,
    files: BTreeMap<String, String>,
    log: Vec<String>,
}

impl Replay {
    fn of(case: &Behaviour) -> Self {
        let folder = Folder::new(&case.name);
        let mut command = Agent::command(&["-node=alpha", "-log-level=debug"]);
        command.args(case.handlers.iter().map(|handler| format!("-event-handler={handler}")));
        if case.name == "query_output_truncated" {
            fs::write(folder.0.join("limit.json"), r#"{"query_response_size_limit": 9000}"#).unwrap();
            command.arg("-config-file=limit.json");
        }
        command.current_dir(&folder.0);
        let agent = Agent::run(command);
        // Each was given its first command when the start had been told to the handlers.
        agent.wait_for("Received event: member-join");
        let rpc = agent.address("RPC addr");
        let stdouts: Vec<String> = case.actions.iter().map(|action| act(action, &rpc, &case.name)).collect();
        let wanted = case.log.iter().filter(|line| !is_by_luck(line, case)).count();
        let told = |said: &str| {
            let mut log = told(said);
            log.retain(|line| !is_by_luck(line, case));
            log
        };
        let differs = differs(&case.name);
        let enough = |log: &[String]| match differs {
            Some(Differs::StreamFirst) => true,
            // The answer that is not late has no line of its own.
            Some(Differs::NotHeldUp) => log.len() + 1 >= wanted,
            Some(Differs::TruncationTold) => log.len() > wanted,
            _ => log.len() >= wanted,
        };
        agent.wait_until(&format!("the log of {}: {:#?}", case.name, case.log), |said| enough(&told(said)));
        let deadline = Instant::now() + DEADLINE;
        let files = loop {
            let names = case.files.keys();
            let files: BTreeMap<String, String> =
                names.map(|name| (name.clone(), folder.read(name))).collect();
            let lengths =
                |files: &BTreeMap<String, String>| -> usize { files.values().map(String::len).sum() };
            if lengths(&files) >= lengths(&case.files) || Instant::now() > deadline {
                break files;
            }
            thread::sleep(Duration::from_millis(10));
        };
        // The lines of one message come one by one; at the end all are there.
        agent.signal("TERM");
        let (_status, said) = agent.wait();
        Self { stdouts, files, log: told(&said) }
    }

    fn check(&self, case: &Behaviour) {
        let name = &case.name;
        let same_outputs = || {
            for (found, action) in self.stdouts.iter().zip(&case.actions) {
                assert_eq!(lines(found), lines(&action.stdout), "{name}");
            }
        };
        let same_files = || {
            for (file, content) in &case.files {
                assert_eq!(lines(&self.files[file]), lines(content), "{file} of {name}");
            }
        };
        let mut log = self.log.clone();
        let expected = case.log.iter().filter(|line| !is_by_luck(line, case));
        let mut expected: Vec<String> = expected.map(|line| steady(line)).collect();
        match differs(name) {
            None => {
                same_outputs();
                same_files();
            }
            Some(Differs::Lanes) => {
                // What is left of a line without its time.
                let letters: String =
                    self.files["log"].lines().filter_map(|line| line.chars().next()).collect();
                assert_eq!(letters.replace('C', ""), "ABAB", "each lane keeps its order");
                assert_eq!(letters.matches('C').count(), 2, "{letters}");
            }
            Some(Differs::NotHeldUp) => {
                let answered = |stdout: &&String| stdout.contains("Response from 'alpha': hi\n");
                assert_eq!(self.stdouts.iter().filter(answered).count(), 2, "{:?}", self.stdouts);
                let late = |line: &String| line.contains("response is past the deadline");
                expected.retain(|line| !late(line));
            }
            Some(Differs::FirstDone) => {
                let answers = ["Response from 'alpha': first\n", "Response from 'alpha': second\n"];
                let answered = answers.iter().filter(|answer| self.stdouts[0].contains(**answer)).count();
                assert_eq!(answered, 1, "{:?}", self.stdouts);
                assert!(self.stdouts[0].contains("Total Responses: 1\n"));
            }
            Some(Differs::TruncationTold) => {
                same_outputs();
                expected.push(
                    "[WARN] agent: Script 'seq 1 3000' generated 13893 bytes of output, truncated to 8192"
                        .to_owned(),
                );
            }
            Some(Differs::StreamFirst) => return,
        }
        log.sort();
        expected.sort();
        assert_eq!(log, expected, "the log of {name}");
    }
}

/// Whether it depends on the machine that a script was found slow. A script is for certain if it sleeps for longer than the
/// second that it may take, and if it was slow in the recording.
fn is_by_luck(line: &str, case: &Behaviour) -> bool {
    let is_certain = || case.log.iter().any(|recorded| recorded == line && !line.contains("sleep 1"));
    line.contains("slow, execution exceeding") && !is_certain()
}

/// Gives a command to the agent; what it printed.
fn act(action: &Action, rpc: &str, name: &str) -> String {
    let (command, rest) = action.argv.split_first().unwrap();
    // Where an answer is not meant to be late, there is time for it on a busy machine.
    let patient = |argument: &String| match argument.as_str() {
        "-timeout=300ms" | "-timeout=1s" if name != "late_response" => "-timeout=3s".to_owned(),
        _ => argument.clone(),
    };
    let output = Command::new(env!("CARGO_BIN_EXE_thane"))
        .env_remove("SERF_RPC_AUTH")
        .arg(command)
        .arg(format!("-rpc-addr={rpc}"))
        .args(rest.iter().map(patient))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(action.exit_code), "{:?} of {name}", action.argv);
    String::from_utf8(output.stdout).unwrap()
}

/// Acks and answers come in any order.
fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// The lines of an agent's log about events and scripts, with the lines that belong to them.
fn told(said: &str) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    let log = said.split_once("as it occurs:\n\n").map_or("", |(_start, log)| log);
    for line in log.lines() {
        // `    2026/11/21 19:45:38 [INFO] agent: text`
        let is_first = line.starts_with("    2") && line.get(24..25) == Some("[");
        match (is_first, told.last_mut()) {
            (true, _) => told.push(line[24..].to_owned()),
            (false, Some(last)) if !line.is_empty() && !line.starts_with("==> ") => {
                last.push('\n');
                last.push_str(line);
            }
            _ => {}
        }
    }
    let about =
        ["Script '", "Event '", "Error invoking", "Failed to respond", "Received event", "Requesting "];
    told.retain(|line| {
        let text = line.split_once("] agent: ").map_or("", |(_level, text)| text);
        about.iter().any(|start| text.starts_with(start))
    });
    told.iter().map(|line| steady(line)).collect()
}

/// Shells say it in words of their own when they do not find a command.
fn steady(line: &str) -> String {
    match line.split_once("script output: /bin/sh: ") {
        Some((start, end)) if end.ends_with("not found") => format!("{start}script output: not found"),
        _ => line.to_owned(),
    }
}

fn query(name: &str, payload: &[u8], timeout: Duration) -> Request {
    let payload = (!payload.is_empty()).then(|| payload.to_vec());
    let timeout_ns = timeout.as_nanos() as i64;
    Request::Query(Query { name: name.to_owned(), payload, timeout_ns, ..Query::default() })
}

/// With Serf, the stream of a client hears of a query only when the handlers are done; here it is the client who is first.
#[test]
fn of_a_client_and_a_handler_the_first_to_answer_is_heard() {
    let agent =
        Agent::start(&["-node=alpha", "-log-level=debug", "-event-handler=query=sleep 3; echo handler"]);
    let mut client = agent.client();
    client.ask(2, &Request::Stream { filter: "query".to_owned(), immediate: false }, 1);
    let mut asker = agent.client();
    asker.ask(2, &query("q", b"", Duration::from_secs(30)), 1);
    let event = client.take_until(|value| value["Event"] == "query");
    let id = event["ID"].as_u64().unwrap();
    let answer = client.ask(3, &Request::Respond { id, payload: Some(b"client".to_vec()) }, 1);
    assert_eq!(answer, [serde_json::json!({"Error": "", "Seq": 3})]);
    let response = asker.take_until(|value| value["Type"] == "response");
    assert_eq!(response["Payload"]["$bin"], hex(b"client"));
    agent.wait_for(
        "[WARN] agent: Failed to respond to query 'query: q': failed to respond to key query: response already sent",
    );
}

/// Everything that the agent gives to scripts and that does not come from whoever started it.
const DUMP: &str = "{ env | grep -E '^(SERF_|OUTER=)' | sort; echo ---; od -An -v -tx1 | tr -d ' \\n'; echo; echo ===; } >> dump";

#[test]
fn scripts_see_what_serfs_were_recorded_to_see() {
    let folder = Folder::new("environments");
    let mut command = Agent::command(&[
        "-node=alpha",
        "-tag=role=web",
        "-tag=my-tag.x=v 1",
        "-tag=Dc=east=1",
        "-tag=a-b=1",
        "-tag=a_b=2",
    ]);
    command.arg(format!("-event-handler={}", DUMP.replacen('{', "*={", 1))).current_dir(&folder.0);
    let alpha = Agent::run(command);
    let mut client = alpha.client();
    let mut story = Story { folder: &folder, seen: 0 };
    let recorded = recorded().environments;
    let mut same = 0;
    let mut expect = |names: &[&str]| {
        for name in names {
            let case = recorded.iter().find(|case| case.name == *name).unwrap();
            story.next(case);
            same += case.versions.len();
        }
    };
    expect(&["member-join_self"]);
    let beta =
        Agent::start(&["-node=be ta", "-tag=role=d\tb", "-tag=note=line1\nline2\tx", "-tag=comma=a,b=c"]);
    let gamma = Agent::start(&["-node=gamma"]);
    // The two are one cluster, so that alpha learns of both at the same moment.
    let join = || Request::Join { existing: Some(vec![beta.address("Bind addr")]), replay: false };
    assert_eq!(gamma.client().ask(2, &join(), 2)[1], serde_json::json!({"Num": 1}));
    beta.wait_for("EventMemberJoin: gamma");
    assert_eq!(client.ask(2, &join(), 2)[1], serde_json::json!({"Num": 1}));
    expect(&["member-join_two"]);
    let tags = Some([("x".to_owned(), "1".to_owned())].into());
    gamma.client().ask(2, &Request::Tags { tags, delete: None }, 1);
    expect(&["member-update"]);
    tell_events(&mut client, &mut expect);
    for (seq, payload, name) in [(20, &b"15m"[..], "query"), (21, b"", "query_nopayload")] {
        client.ask(seq, &query("load", payload, Duration::from_millis(200)), 1);
        expect(&[name]);
        client.take_until(|value| value["Type"] == "done");
    }
    drop(beta);
    expect(&["member-failed"]);
    client.ask(30, &Request::ForceLeave { node: "be ta".to_owned(), prune: false }, 1);
    expect(&["member-leave_forced"]);
    client.ask(31, &Request::ForceLeave { node: "be ta".to_owned(), prune: true }, 1);
    expect(&["member-reap"]);
    gamma.signal("INT");
    expect(&["member-leave"]);
    alpha.signal("INT");
    // Serf's agent is gone before the script, if it runs at all, has read anything. Ours waits for it.
    let own_leave = recorded.iter().find(|case| case.name == "member-leave_self").unwrap();
    assert_eq!(own_leave.stdin, "");
    let stdin = hex(b"alpha\t127.0.0.1\tweb\tDc=east=1,a-b=1,a_b=2,my-tag.x=v 1,role=web\n");
    story.next(&Environment { stdin, ..own_leave.clone() });
    let cases: usize = recorded.iter().map(|case| case.versions.len()).sum();
    let listed = own_leave.versions.len();
    assert_eq!(same + listed, cases, "no case is left out");
    eprintln!("compat: agent event handlers, what scripts see | cases={cases} same={same} listed={listed}");
}

fn tell_events(client: &mut Client, expect: &mut impl FnMut(&[&str])) {
    let events: [(&str, &str, &[u8], bool); 6] = [
        ("user_coalesced", "deploy", b"v1", true),
        ("user_newline", "deploy", b"v1\n", false),
        ("user_nopayload", "restart", b"", false),
        ("user_emptypayload", "restart", b"", false),
        ("user_special", "na me=x", b"a\tb\nc", false),
        ("user_binary", "bin", b"\0\xff\n\0", false),
    ];
    for (seq, (case, name, payload, coalesce)) in (10..).zip(events) {
        // One that has none, and one that has an empty one.
        let payload = (case != "user_nopayload").then(|| payload.to_vec());
        client.ask(seq, &Request::Event { name: name.to_owned(), payload, coalesce }, 1);
        expect(&[case]);
    }
}

/// What the scripts have written, one after the other.
struct Story<'a> {
    folder: &'a Folder,
    seen: usize,
}

impl Story<'_> {
    fn next(&mut self, case: &Environment) {
        let deadline = Instant::now() + DEADLINE;
        let dump = loop {
            let all = self.folder.read("dump");
            let mut dumps = all.split_inclusive("===\n").filter(|dump| dump.ends_with("===\n"));
            if let Some(dump) = dumps.nth(self.seen) {
                break dump.to_owned();
            }
            assert!(Instant::now() < deadline, "no script ran for {}:\n{all}", case.name);
            thread::sleep(Duration::from_millis(10));
        };
        self.seen += 1;
        let (environ, stdin) = dump.trim_end_matches("===\n").split_once("---\n").unwrap();
        // Two tags share this one.
        let variables = |variables: &mut dyn Iterator<Item = String>| -> Vec<String> {
            let mut variables: Vec<String> =
                variables.map(|variable| variable.replace("SERF_TAG_A_B=2", "SERF_TAG_A_B=1")).collect();
            variables.sort();
            variables
        };
        let found = variables(&mut environ.lines().map(str::to_owned));
        assert_eq!(found, variables(&mut case.environ.iter().cloned()), "{}", case.name);
        let sorted = |bytes: Vec<u8>| -> Vec<Vec<u8>> {
            // Tags are in any order; a comma may also be within one, but on both sides.
            let mut parts: Vec<Vec<u8>> =
                bytes.split(|byte| matches!(byte, b',' | b'\t' | b'\n')).map(<[u8]>::to_vec).collect();
            parts.sort();
            parts
        };
        assert_eq!(sorted(unhex(stdin.trim_end())), sorted(unhex(&case.stdin)), "{}", case.name);
    }
}
