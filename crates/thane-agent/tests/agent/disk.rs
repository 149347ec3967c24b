//! Files that an agent keeps: on a disk that takes nothing, and when the agent is killed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use thane_wire::rpc::Request;

use crate::harness::{Agent, DEADLINE};

const KEYS: [&str; 2] = ["MDEyMzQ1Njc4OWFiY2RlZg==", "ZmVkY2JhOTg3NjU0MzIxMA=="];

/// A directory of the test's own, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("thane-disk-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// What sets one tag.
fn set(key: &str, value: &str) -> Request {
    Request::Tags { tags: Some([(key.to_owned(), value.to_owned())].into()), delete: None }
}

fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

/// An agent that may not make any file longer than it is, as on a full disk. `release` makes room.
#[cfg(target_os = "linux")]
struct OnFullDisk(Agent);

#[cfg(target_os = "linux")]
impl OnFullDisk {
    fn start(flags: &[&str]) -> Self {
        let agent = Agent::command(flags);
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; ulimit -S -f 0; exec \"$0\" \"$@\""]);
        command.arg(agent.get_program()).args(agent.get_args());
        let agent = Agent::run(command);
        agent.wait_for("==> Log data will now stream in as it occurs:");
        Self(agent)
    }

    fn release(&self) {
        let status = Command::new("prlimit")
            .args(["--fsize=unlimited:", "--pid", &self.0.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success(), "the limit cannot be raised");
    }
}

/// Whatever cannot be written is told once, with what to do, and once when it is over; requests that need the disk are refused as
/// by Serf; the agent goes on, and what was saved before stays.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_costs_one_line_a_file_and_nothing_that_was_saved() {
    let directory = Directory::new("full");
    let [snapshot, ring, tags] = ["snapshot", "ring", "tags"].map(|name| directory.path(name));
    let before = ["alive: gone 127.0.0.1:9\nclock: 4\n", &format!("[\"{}\"]", KEYS[0]), "{\"a\": \"1\"}"];
    for (path, content) in [&snapshot, &ring, &tags].into_iter().zip(before) {
        fs::write(path, content).unwrap();
    }
    let contents = || [&snapshot, &ring, &tags].map(|path| fs::read_to_string(path).unwrap());
    let agent = OnFullDisk::start(&[
        "-node=a",
        &format!("-snapshot={snapshot}"),
        &format!("-keyring-file={ring}"),
        &format!("-tags-file={tags}"),
    ]);
    let told = format!("[ERR] serf: the snapshot {snapshot} cannot be written: file too large; make room");
    agent.0.wait_for(&told);

    let mut client = agent.0.client();
    let refused = client.ask(2, &set("b", "2"), 1)[0]["Error"].as_str().unwrap().to_owned();
    let expected = format!("Failed to write tags file: open {tags}: file too large; nothing has changed");
    assert!(refused.starts_with(&expected), "{refused}");
    let members = client.ask(3, &Request::Members, 2);
    assert_eq!(members[1]["Members"][0]["Tags"], json!({"a": "1"}), "{members:?}");

    let installed = client.ask(4, &Request::InstallKey { key: KEYS[1].to_owned() }, 2);
    assert_eq!(installed[0]["Error"], "1/1 nodes reported failure");
    let why = installed[1]["Messages"]["a"].as_str().unwrap();
    assert_eq!(why, format!("Failed to write keyring file: open {ring}: file too large"));
    let told_ring =
        format!("[ERR] serf: Failed to write keyring file: open {ring}: file too large; make room");
    agent.0.wait_for(&told_ring);
    // As in Serf the key is in use: without it the agent would be locked out by the next step.
    let list = client.ask(5, &Request::ListKeys, 2);
    assert_eq!(list[1]["Keys"].as_object().unwrap().len(), 2, "{list:?}");
    assert_eq!(contents(), before, "what was saved stays");

    agent.release();
    agent.0.wait_for(&format!("the snapshot {snapshot} is written again"));
    agent.0.wait_for(&format!("the key ring file {ring} is written again"));
    assert_eq!(client.ask(6, &set("b", "2"), 1), [json!({"Error": "", "Seq": 6})]);
    let [snapshot_now, ring_now, tags_now] = contents();
    assert!(
        snapshot_now.starts_with(before[0]) && snapshot_now.contains("alive: a 127.0.0.1:"),
        "{snapshot_now}"
    );
    assert!(KEYS.iter().all(|key| ring_now.contains(key)), "{ring_now}");
    assert_eq!(tags_now, "{\n  \"a\": \"1\",\n  \"b\": \"2\"\n}");
    let said = agent.0.said();
    assert_eq!((count(&said, &told), count(&said, &told_ring)), (1, 1), "each is told once:\n{said}");
}

/// Paths that lead to no file: the start says which and why, and nothing is left running.
#[test]
fn files_that_cannot_be_used_are_named_at_the_start() {
    let directory = Directory::new("unusable");
    let here = directory.0.to_str().unwrap();
    for (flag, reason) in [
        (
            "-snapshot",
            format!("Failed to setup snapshot: failed to open snapshot: open {here}: is a directory"),
        ),
        ("-keyring-file", format!("{here}: is a directory")),
        ("-tags-file", format!("Failed to read tags file: open {here}: is a directory")),
    ] {
        let (status, said) = Agent::spawn(&[&format!("{flag}={here}")]).wait();
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains(&reason), "{reason:?} is not in {said}");
    }
}

/// Killed at any moment, an agent leaves the tags that it has said are set, or those that it was about to set.
#[test]
fn a_tags_file_is_replaced_whole_even_by_an_agent_that_is_killed() {
    let directory = Directory::new("killed");
    let path = directory.path("tags");
    let pad = "x".repeat(300);
    let mut last = 0;
    for round in 0..6 {
        let agent = Agent::start(&["-node=a", &format!("-tags-file={path}")]);
        let mut client = agent.client();
        let answered = std::thread::spawn({
            let pad = pad.clone();
            move || {
                let mut answered = last;
                // Until the agent is gone.
                for step in last + 1.. {
                    let tags = [("step".to_owned(), step.to_string()), ("pad".to_owned(), pad.clone())];
                    let mut bytes = Vec::new();
                    Request::Tags { tags: Some(tags.into()), delete: None }.encode(step + 2, &mut bytes);
                    client.send(&bytes);
                    match client.first() {
                        Some(answer) => assert_eq!(answer["Error"], "", "{answer}"),
                        None => break,
                    }
                    answered = step;
                }
                answered
            }
        });
        // Once it has begun, at another moment in each round.
        let begun = std::time::Instant::now();
        while step_in(&path).is_none_or(|step| step <= last) {
            assert!(begun.elapsed() < DEADLINE, "no tags were set");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(1_337 * round));
        agent.signal("KILL");
        let answered = answered.join().unwrap();
        let step = step_in(&path).unwrap();
        assert!(fs::read_to_string(&path).unwrap().contains(&pad));
        assert!(step == answered || step == answered + 1, "{step} in the file, {answered} answered");
        last = step;
    }
}

/// The step that a tags file was written in; `None` before there is one. What is there is always whole.
fn step_in(path: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let tags: serde_json::Value = serde_json::from_str(&text).unwrap();
    Some(tags["step"].as_str().unwrap().parse().unwrap())
}

/// The lines that Serf's users look for after a restart.
#[test]
fn a_restart_with_a_snapshot_is_told_in_serfs_words() {
    let directory = Directory::new("rejoin");
    let snapshot = format!("-snapshot={}", directory.path("snapshot"));
    let a = Agent::start(&["-node=a"]);
    let address = a.address("Bind addr");
    let b = Agent::start(&["-node=b", &snapshot, "-rejoin", &format!("-join={address}")]);
    a.wait_for("EventMemberJoin: b");
    b.signal("INT");
    assert_eq!(b.wait().0.code(), Some(0));
    let b = Agent::start(&["-node=b", &snapshot, "-rejoin"]);
    for line in [
        "[INFO] serf: Ignoring previous leave in snapshot".to_owned(),
        format!("[INFO] serf: Attempting re-join to previously known node: a: {address}"),
        format!("[INFO] serf: Re-joined to previously known node: a: {address}"),
    ] {
        b.wait_for(&line);
    }
    // Without anybody there.
    drop((a, b));
    let b = Agent::start(&["-node=b", &snapshot, "-rejoin"]);
    b.wait_for("[WARN] serf: Failed to re-join any previously known node");
}
