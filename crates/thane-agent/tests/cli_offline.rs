//! The command line where no agent is needed: every recorded call of Serf's must give the same streams and exit code.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Command, Output};

use serde::Deserialize;

/// A recorded call.
#[derive(Deserialize)]
struct Golden {
    name: String,
    argv: Vec<String>,
    env: BTreeMap<String, String>,
    exit_code: i32,
    stdout: String,
    stderr: String,
}

/// Where recorded calls expected an agent.
const RECORDED_ADDRESS: &str = "127.0.0.1:7373";

/// Commands of Serf's that this version does not have.
const MISSING: [&str; 4] = ["keys", "query", "reachability", "rtt"];

fn goldens() -> Vec<Golden> {
    serde_json::from_str(include_str!("goldens/cli_offline.json")).unwrap()
}

fn thane(arguments: &[String], env: &BTreeMap<String, String>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thane"));
    command
        .env_remove("SERF_RPC_ADDR")
        .env_remove("SERF_RPC_AUTH")
        .envs(env)
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// An address that refuses connections. Nobody else is given its port for a while.
fn closed_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Compares a stream with the recorded one, in which a help text may be left out.
fn check_stream(what: &str, found: &str, recorded: &str) {
    let Some(start) = recorded.find("<usage text") else {
        return assert_eq!(found, recorded, "{what}");
    };
    let (before, usage) = recorded.split_at(start);
    let help = found
        .strip_prefix(before)
        .unwrap_or_else(|| panic!("{what} should begin with {before:?}: {found:?}"));
    assert!(help.starts_with("Usage: thane "), "{what} should have a help text: {found:?}");
    let mut words = usage.trim_end().trim_end_matches('>').split_whitespace();
    for word in
        words.by_ref().skip(2).filter(|word| !["flags", "commands"].contains(word) && !MISSING.contains(word))
    {
        let is_listed = |line: &str| {
            let first = line.split_whitespace().next().unwrap_or_default();
            first == word || first.split_once('=').is_some_and(|(flag, _)| flag == word)
        };
        assert!(help.lines().any(is_listed), "{what}: {word} is not in the help: {help}");
    }
}

#[test]
fn every_recorded_call_is_answered_alike() {
    let unreachable = closed_address();
    for golden in goldens() {
        let name = &golden.name;
        let mut env = golden.env.clone();
        // The usual port may well be somebody's agent on the machine that runs this test.
        if golden.stdout.contains(RECORDED_ADDRESS) {
            env.insert("SERF_RPC_ADDR".to_owned(), unreachable.clone());
        }
        let answer = thane(&golden.argv[1..], &env);
        let (stdout, stderr) = (text(&answer.stdout), text(&answer.stderr));
        assert_eq!(answer.status.code(), Some(golden.exit_code), "exit code of {name}: {stdout}{stderr}");
        match name.as_str() {
            _ if golden.stdout.contains("Agent Protocol") => {
                let version = format!("{}\n", env!("CARGO_PKG_VERSION"));
                let recorded = golden.stdout.split_once('\n').unwrap().1;
                assert_eq!(stdout, format!("{version}{recorded}"), "{name}");
            }
            _ if name.starts_with("keygen_") || name == "badflag_keygen" => {
                assert_eq!(stdout.len(), golden.stdout.len(), "{name}: {stdout:?}");
                assert!(stdout.ends_with("=\n"), "{name}: {stdout:?}");
            }
            "rpcaddr_badhost" => {
                // How the resolver failed depends on the machine.
                let stable = "Error connecting to Serf agent: dial tcp: lookup nosuchhost.invalid";
                assert!(
                    golden.stdout.starts_with(stable) && stdout.starts_with(stable),
                    "{name}: {stdout:?}"
                );
            }
            // Serf's has no words at all.
            "help_version" => assert!(stderr.starts_with("Usage: thane version\n"), "{name}: {stderr:?}"),
            _ => check_stream(
                &format!("standard output of {name}"),
                &stdout,
                &golden.stdout.replace(RECORDED_ADDRESS, &unreachable),
            ),
        }
        if stdout.starts_with("Error connecting") {
            assert!(
                stderr.lines().count() == 1 && stderr.contains("-rpc-addr"),
                "hint of {name}: {stderr:?}"
            );
        } else if name != "help_version" {
            check_stream(&format!("standard error of {name}"), &stderr, &golden.stderr);
        }
    }
}

#[test]
fn commands_that_are_to_come_say_so() {
    for command in MISSING {
        let answer = thane(&[command.to_owned(), "-h".to_owned()], &BTreeMap::new());
        assert_eq!(answer.status.code(), Some(1), "{command}");
        let stdout = text(&answer.stdout);
        assert_eq!(stdout.lines().count(), 1, "{stdout}");
        assert!(stdout.contains(&format!("'{command}'")), "{stdout}");
    }
}

#[test]
fn two_keys_are_never_the_same() {
    let key = || thane(&["keygen".to_owned()], &BTreeMap::new()).stdout;
    assert_ne!(key(), key());
}
