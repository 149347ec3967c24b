//! `thane agent -record` and `thane sim replay`: a cluster in which one member is killed, and why, told again afterwards.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use support::{Answer, Reaped, program, thane, wait_for};

/// A directory of the test's own, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("thane-replay-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A loopback address that no other run of this test uses.
fn address(number: usize) -> String {
    let id = std::process::id();
    format!("127.{}.{}.{number}", 64 + id % 191, id / 191 % 256)
}

fn run(arguments: &[&str]) -> Answer {
    let env = BTreeMap::from([
        ("SERF_RPC_ADDR".to_owned(), format!("{}:7373", address(1))),
        ("COLUMNS".to_owned(), "100".to_owned()),
        ("TZ".to_owned(), "UTC".to_owned()),
    ]);
    thane(arguments, &env)
}

fn json(arguments: &[&str]) -> Value {
    let answer = run(arguments);
    assert_eq!(answer.exit_code, Some(0), "{answer:?}");
    serde_json::from_str(&answer.stdout).unwrap()
}

/// Agents `n1`, which records, `n2` and `n3`, that know each other.
fn start(recording: &Path) -> Vec<Reaped> {
    let agents = (1..=3).map(|number| {
        let child = program()
            .args(["agent", "-profile=local", &format!("-node=n{number}")])
            .arg(format!("-bind={}:7946", address(number)))
            .arg(format!("-rpc-addr={}:7373", address(number)))
            .args((number > 1).then(|| format!("-retry-join={}:7946", address(1))))
            .args((number == 1).then(|| format!("-record={}", recording.display())))
            .arg("-retry-interval=1s")
            .stdout(Stdio::null())
            .spawn();
        Reaped(child.unwrap())
    });
    let agents = agents.collect();
    wait_for("all members to be known", || {
        let members = run(&["members", "-status=alive"]).stdout;
        if members.lines().count() == 3 { Ok(()) } else { Err(members) }
    });
    agents
}

/// The pieces of evidence without what depends on when one asks.
fn evidence(explanation: &Value) -> Vec<Value> {
    let mut pieces = explanation["evidence"].as_array().unwrap().clone();
    for piece in &mut pieces {
        let fields = piece.as_object_mut().unwrap();
        fields.remove("seconds_ago");
        // Two clocks were read, one after the other.
        fields.remove("at");
    }
    pieces
}

#[test]
fn a_recorded_agent_tells_afterwards_why_a_member_was_declared_failed() {
    let directory = Directory::new();
    let recording = directory.0.join("n1.rec");
    let path = recording.to_str().unwrap();
    let mut agents = start(&recording);
    agents[2].0.kill().unwrap();
    wait_for("n3 to fail", || {
        let members = run(&["members", "-status=failed"]).stdout;
        if members.contains("n3") { Ok(()) } else { Err(members) }
    });
    let live = json(&["explain", "-format=json", "n3"]);
    // While it runs, and after it was killed: what is in the file is whole.
    let so_far = json(&["sim", "replay", "-format=json", path]);
    assert_eq!((&so_far["same_as_recorded"], &so_far["end"]), (&Value::Bool(true), &Value::Null));
    assert_eq!(run(&["force-leave", "-prune", "n3"]).exit_code, Some(0));
    assert_eq!(run(&["leave"]).exit_code, Some(0));
    assert_eq!(agents[0].exit_code(), Some(0));

    let replay = json(&["sim", "replay", "-format=json", "-member=n3", path]);
    assert_eq!((&replay["same_as_recorded"], replay["end"].as_str()), (&Value::Bool(true), Some("stopped")));
    assert!(replay["outputs"].as_u64().unwrap() > 30, "{replay}");
    let timeline = replay["timeline"].as_array().unwrap();
    let kinds: Vec<&str> = timeline.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    for kind in ["joined", "suspected", "failed", "command", "reaped"] {
        assert!(kinds.contains(&kind), "{kind} is missing: {kinds:?}");
    }
    assert!(timeline.iter().all(|line| line["member"] == "n3"), "{replay}");

    // At the moment it failed the replay knows what the agent knew.
    let failed = timeline.iter().find(|line| line["kind"] == "failed").unwrap();
    let until = format!("{}s", failed["seconds"].as_f64().unwrap() + 0.001);
    let arguments = ["sim", "replay", "-format=json", "-member=n3", "-until", &until, path];
    let then = json(&arguments);
    assert_eq!(evidence(&then["explanation"]), evidence(&live), "{then} {live}");
    assert_eq!(then["explanation"]["member"]["status"], "failed");
    let text = run(&["sim", "replay", "-member=n3", "-until", &until, path]).stdout;
    assert!(text.contains("n3 failed: ") && text.contains("What to look at:\n- "), "{text}");
    assert!(text.contains("Same as recorded: "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let everybody = run(&["sim", "replay", "-until", &until, path]).stdout;
    assert!(everybody.contains(&format!("n2  {}:7946  alive", address(2))), "{everybody}");

    // Past the end there is nothing to be known.
    let late = run(&["sim", "replay", "-until=100h", path]).stdout;
    assert!(late.contains(", where the recording ends:") && late.contains("the agent stopped"), "{late}");
    let late = json(&["sim", "replay", "-format=json", "-until=100h", path]);
    assert_eq!(late["moment"], late["timeline"].as_array().unwrap().last().unwrap()["at"], "{late}");

    let whole = fs::read(&recording).unwrap();
    a_damaged_file_is_told(&directory, &whole);
}

fn a_damaged_file_is_told(directory: &Directory, whole: &[u8]) {
    let path = directory.0.join("damaged.rec");
    let replayed = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        run(&["sim", "replay", path.to_str().unwrap()])
    };
    let mut changed = whole.to_vec();
    let middle = whole.len() / 2;
    changed[middle] ^= 1;
    let answer = replayed(&changed);
    assert_eq!(answer.exit_code, Some(1), "{answer:?}");
    let stdout = &answer.stdout;
    assert!(stdout.contains("is damaged at byte ") || stdout.contains("last entry is not whole"), "{stdout}");
    // What comes before is shown.
    assert!(stdout.contains("n1 joined: the agent started"), "{stdout}");

    let answer = replayed(&whole[..middle]);
    assert!(answer.exit_code == Some(0) && answer.stdout.contains("killed, or still"), "{answer:?}");
    let answer = replayed(b"alive: n1 127.0.0.1:7946\n");
    assert!(answer.exit_code == Some(1) && answer.stdout.contains("is not a recording"), "{answer:?}");
}

#[test]
fn what_cannot_be_played_or_recorded_is_told() {
    let answer = run(&["sim", "replay", "/nowhere/n1.rec"]);
    assert!(answer.exit_code == Some(1) && answer.stdout.contains("cannot be read"), "{answer:?}");
    let answer = run(&["sim", "replay"]);
    assert!(answer.stdout.starts_with("One recording must be given."), "{answer:?}");
    let agent = ["agent", "-bind=127.0.0.1:0", "-rpc-addr=127.0.0.1:0", "-record=/nowhere/n1.rec"];
    let answer = run(&agent);
    assert_eq!(answer.exit_code, Some(1), "{answer:?}");
    assert!(answer.stdout.contains("/nowhere/n1.rec: no such file or directory"), "{answer:?}");
}
