//! `thane demo --plain` tells its whole story, and `--keep` leaves a cluster that works.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::process::{Command, Stdio};

use support::{Reaped, program, thane};

#[test]
fn each_step_of_the_story_happens_and_is_told() {
    let answer = thane(&["demo", "--plain"], &BTreeMap::new());
    let story = &answer.stdout;
    assert_eq!((answer.exit_code, answer.stderr.as_str()), (Some(0), ""), "{story}");
    let mut rest = story.as_str();
    for told in [
        "ok   started: all three agents answer",
        "ok   joined: each agent sees three members alive",
        "ok   stopped: cedar is dead",
        "cedar is suspected to have failed, by ",
        "ok   suspected: ",
        " suspects cedar to have failed",
        "sees: cedar failed",
        "ok   failed: both others take it for failed",
        "ok   back: everybody sees three members alive again",
        "ok   event: all three agents have it",
        "sees: cedar left",
        "sees: birch left",
        "ok   left: all three left one after the other, and ended with exit code 0",
        "All 8 steps happened",
    ] {
        let at = rest.find(told).unwrap_or_else(|| panic!("{told:?} is not told, or too early: {story}"));
        rest = &rest[at + told.len()..];
    }
    for observer in ["ash", "birch", "cedar"] {
        assert!(story.contains(&format!("{observer} sees: user event 'deploy' with 'v1.2.3'")), "{story}");
    }
    assert!(!story.contains('\u{1b}'), "plain lines have no escapes: {story:?}");
}

/// The commands that `--keep` prints, as they stand.
fn commands(story: &str) -> Vec<Vec<String>> {
    let program = env!("CARGO_BIN_EXE_thane");
    let command = |line: &str| {
        let rest = line.trim_start().strip_prefix(program)?;
        Some(rest.split_whitespace().map(String::from).collect())
    };
    story.lines().filter_map(command).collect()
}

/// The processes of a kept cluster; killed when dropped, in case that their leaving is what failed.
struct Kept(Vec<String>);

impl Drop for Kept {
    fn drop(&mut self) {
        // Most often they are gone already, and there is nobody to tell.
        _ = Command::new("kill").arg("-9").args(&self.0).stderr(Stdio::null()).status();
    }
}

#[cfg(unix)]
#[test]
fn a_kept_cluster_does_what_its_instructions_say() {
    let answer = thane(&["demo", "--plain", "--keep"], &BTreeMap::new());
    let id = |line: &str| Some(line.split_once("  process ")?.1.split_whitespace().next()?.to_owned());
    let kept = Kept(answer.stdout.lines().filter_map(id).collect());
    assert_eq!((answer.exit_code, kept.0.len()), (Some(0), 3), "{answer:?}");
    let commands = commands(&answer.stdout);
    let names: Vec<&str> = commands.iter().map(|command| command[0].as_str()).collect();
    assert_eq!(
        names,
        ["members", "monitor", "event", "tags", "info", "leave", "leave", "leave"],
        "{answer:?}"
    );
    for command in &commands {
        if command[0] == "monitor" {
            let mut monitor = Reaped(program().args(command).stdout(Stdio::piped()).spawn().unwrap());
            let mut lines = BufReader::new(monitor.0.stdout.take().unwrap()).lines().map(Result::unwrap);
            assert!(lines.any(|line| line.contains("EventMemberJoin: cedar")), "the agent's log");
            continue;
        }
        let outcome = thane(command, &BTreeMap::new());
        assert_eq!(outcome.exit_code, Some(0), "{command:?}: {outcome:?}");
        if command[0] == "members" {
            let alive = outcome.stdout.lines().filter(|line| line.contains("  alive  ")).count();
            assert_eq!(alive, 3, "{outcome:?}");
        }
    }
    let logs = answer.stdout.lines().find_map(|line| line.trim().strip_prefix("logs in ")).unwrap();
    assert_eq!(std::fs::read_dir(logs).unwrap().count(), 3);
    std::fs::remove_dir_all(logs).unwrap();
}

#[cfg(unix)]
#[test]
fn an_interrupted_demonstration_stops_its_agents() {
    let mut demo = Reaped(program().args(["demo", "--plain"]).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let before: Vec<String> = lines.by_ref().take_while(|line| !line.contains("Killing cedar")).collect();
    let address =
        |line: &String| line.split_whitespace().find(|word| word.starts_with("127.0.0.1:")).map(String::from);
    // One more stands in the sentence about the join.
    let addresses: BTreeSet<String> =
        before.iter().filter_map(address).filter(|word| !word.ends_with('.')).collect();
    assert_eq!(addresses.len(), 3, "{before:?}");
    assert!(Command::new("kill").args(["-INT", &demo.0.id().to_string()]).status().unwrap().success());
    assert_eq!(lines.last().as_deref(), Some("Interrupted; all three agents are stopped."));
    assert_eq!(demo.exit_code(), Some(1));
    for address in addresses {
        UdpSocket::bind(&address).unwrap_or_else(|error| panic!("an agent still holds {address}: {error}"));
    }
}
