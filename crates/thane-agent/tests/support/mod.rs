//! What the tests of the command line share: recorded calls, running the program, comparing what it says.

#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

pub(crate) mod fake_agent;
pub(crate) mod terminal;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

/// A recorded call of Serf's command line.
#[derive(Debug, Deserialize)]
pub(crate) struct Golden {
    pub(crate) name: String,
    pub(crate) argv: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) exit_code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn goldens(json: &str) -> Vec<Golden> {
    serde_json::from_str(json).unwrap()
}

/// What a call said, and how it ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) exit_code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program, untouched by the environment of whoever runs the tests.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thane"));
    command.env_remove("SERF_RPC_ADDR").env_remove("SERF_RPC_AUTH").stdin(Stdio::null());
    command
}

/// The recorded calls of `cli_states.json`, which were made while something happened, by name.
pub(crate) fn state_goldens() -> BTreeMap<String, Golden> {
    let all = goldens(include_str!("../goldens/cli_states.json"));
    all.into_iter().map(|golden| (golden.name.clone(), golden)).collect()
}

/// Tells how many recordings gave the same, for the table of `cargo xtask compat`.
pub(crate) fn tell_compat(what: &str, same: usize, listed: usize) {
    eprintln!("compat: command line: {what} | cases={} same={same} listed={listed}", same + listed);
}

/// Runs the program to its end.
pub(crate) fn thane<A: AsRef<str>>(arguments: &[A], env: &BTreeMap<String, String>) -> Answer {
    let output = program().envs(env).args(arguments.iter().map(AsRef::as_ref)).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Answer { exit_code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Compares a stream with the recorded one, in which a help text is left out but for what it names.
pub(crate) fn check_stream(what: &str, found: &str, recorded: &str) {
    let Some(start) = recorded.find("<usage text") else {
        return assert_eq!(found, recorded, "{what}");
    };
    let (before, usage) = recorded.split_at(start);
    let help = found
        .strip_prefix(before)
        .unwrap_or_else(|| panic!("{what} should begin with {before:?}: {found:?}"));
    assert!(help.starts_with("Usage: thane "), "{what} should have a help text: {found:?}");
    let words = usage.trim_end().trim_end_matches('>').split_whitespace().skip(2);
    for word in words.filter(|word| !["flags", "commands"].contains(word)) {
        let is_listed = |line: &str| {
            let first = line.split_whitespace().next().unwrap_or_default();
            first == word || first.split_once('=').is_some_and(|(flag, _)| flag == word)
        };
        assert!(help.lines().any(is_listed), "{what}: {word} is not in the help: {help}");
    }
}

/// Compares standard error with the recorded one. A call that fails may say one line more there, how to mend it, and
/// must do so where no help text says it. One that succeeds may not, but for two that did less than they were asked to.
pub(crate) fn check_stderr(answer: &Answer, golden: &Golden) {
    let (name, recorded) = (&golden.name, golden.stderr.as_str());
    if recorded.contains("<usage text") {
        return check_stream(&format!("standard error of {name}"), &answer.stderr, recorded);
    }
    let hint = answer
        .stderr
        .strip_prefix(recorded)
        .unwrap_or_else(|| panic!("standard error of {name} should begin with {recorded:?}: {answer:?}"));
    let is_hint = hint.lines().count() == 1 && hint.ends_with(".\n") || hint.ends_with("?\n");
    if golden.exit_code == 0 {
        let note = match name.as_str() {
            "force_leave" | "force_leave_prune" | "force_leave_unknown"
                if golden.argv.ends_with(&["nosuch".to_owned()]) =>
            {
                "The agent knows no member named \"nosuch\"; 'thane members' lists the names.\n"
            }
            "join_partial" => {
                "Not reached: 1 of the 2 addresses. 'thane join' with one at a time says which, and why.\n"
            }
            _ => "",
        };
        assert_eq!(hint, note, "standard error of {name}");
    } else if golden.stdout.contains("<usage text") {
        assert!(hint.is_empty() || is_hint, "the hint of {name}: {answer:?}");
    } else {
        assert!(is_hint, "{name} should say how to mend it: {answer:?}");
    }
}

/// `count` ports of four digits, free for UDP and TCP. Columns are then as wide as in the recordings.
pub(crate) fn short_ports(count: usize) -> Vec<u16> {
    let first = 2000 + (std::process::id() % 5000) as u16;
    let candidates = (first..9999).chain(2000..first).filter(|port| ![7373, 7946].contains(port));
    let bind = |port| {
        Some((TcpListener::bind(("127.0.0.1", port)).ok()?, UdpSocket::bind(("127.0.0.1", port)).ok()?))
    };
    // Held together until all are found, so that none is found twice.
    let held: Vec<_> =
        candidates.filter_map(|port| bind(port).map(|sockets| (port, sockets))).take(count).collect();
    assert_eq!(held.len(), count, "too few free ports below 10000");
    held.into_iter().map(|(port, _sockets)| port).collect()
}

/// Waits until `found` has something, and fails with the last reason why not after a minute.
pub(crate) fn wait_for<T>(what: &str, mut found: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match found() {
            Ok(value) => return value,
            Err(reason) if Instant::now() > deadline => panic!("waited a minute for {what}: {reason}"),
            Err(_not_yet) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// A process that is killed when the test is over.
#[derive(Debug)]
pub(crate) struct Reaped(pub(crate) Child);

impl Reaped {
    /// Waits for the end of the process, and gives its exit code.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        wait_for("the end of a process", || match self.0.try_wait().unwrap() {
            Some(status) => Ok(status.code()),
            None => Err("it goes on".to_owned()),
        })
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// The rows of a table with their tags sorted, in any order: what is left to chance in Serf's own tables.
pub(crate) fn rows(table: &str) -> BTreeSet<String> {
    let sorted_tags = |cell: &str| {
        let (padding, cell) = cell.split_at(cell.len() - cell.trim_start().len());
        let mut tags: Vec<&str> = cell.split(',').collect();
        tags.sort_unstable();
        format!("{padding}{}", tags.join(","))
    };
    let row =
        |line: &str| line.split("  ").map(sorted_tags).collect::<Vec<_>>().join("  ").trim_end().to_owned();
    table.lines().map(row).collect()
}

/// The lines in an order of their own, because members answer in any; without the time that it took.
pub(crate) fn told(text: &str) -> Vec<String> {
    let steady = |line: &str| match line.split_once("Query time: ") {
        Some(_) => "Query time".to_owned(),
        None => line.trim_end_matches(',').to_owned(),
    };
    let mut lines: Vec<String> = text.lines().map(steady).collect();
    lines.sort_unstable();
    lines
}

/// What `info` says of the agent itself; the rest are counters, or belongs to the machine.
pub(crate) fn stable_info(text: &str) -> Vec<String> {
    let is_volatile = |line: &str| {
        ["arch", "cpu_count", "goroutines", "max_procs", "os", "version"]
            .map(|key| format!("\t{key} = "))
            .iter()
            .any(|key| line.starts_with(key))
            || ["_time = ", "_queue = ", "coordinate_resets = ", "health_score = "]
                .iter()
                .any(|key| line.contains(key))
    };
    // Of those the key alone counts.
    let stable = |line: &str| {
        if is_volatile(line) { line.split(" = ").next().unwrap().to_owned() } else { line.to_owned() }
    };
    text.lines().map(stable).collect()
}
