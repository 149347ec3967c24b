//! Snapshot files, whole and damaged, replayed as Serf replays them.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

use serde_json::{Value, json};
use thane_wire::snapshot::{Line, Replay, replay};

const CASES: &str = include_str!("vectors/serf/snapshots.json");

fn cases() -> Vec<(Value, Vec<u8>)> {
    let all: Value = serde_json::from_str(CASES).unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/serf/snapshots/");
    let load = |case: &Value| {
        let file = std::fs::read(format!("{folder}{}", case["file"].as_str().unwrap())).unwrap();
        assert_eq!(file.len() as u64, case["size"].as_u64().unwrap(), "{}", case["name"]);
        (case.clone(), file)
    };
    all["cases"].as_array().unwrap().iter().map(load).collect()
}

fn replay_json(state: &Replay) -> Value {
    let alive: Vec<_> =
        state.alive.iter().map(|(name, addr)| json!({ "name": name, "addr": addr })).collect();
    json!({
        "clock": state.clock, "event_clock": state.event_clock, "query_clock": state.query_clock, "alive": alive,
    })
}

#[test]
fn every_file_is_replayed_as_serf_replays_it() {
    let all = cases();
    assert_eq!(all.len(), 22);
    for (case, file) in &all {
        assert_eq!(replay_json(&replay(file, false)), case["replay"], "{}", case["name"]);
        assert_eq!(replay_json(&replay(file, true)), case["replay_rejoin_after_leave"], "{}", case["name"]);
    }
    eprintln!("compat: snapshots | cases={0} same={0} listed=0", all.len());
}

#[test]
fn an_unfinished_line_is_found() {
    for (case, file) in cases() {
        let whole = replay(&file, false).whole_bytes;
        assert!(whole == 0 || file[whole - 1] == b'\n', "{}", case["name"]);
        assert!(!file[whole..].contains(&b'\n'), "{}", case["name"]);
        let truncated = case["name"].as_str().unwrap().starts_with("truncated");
        assert_eq!(whole < file.len(), truncated, "{}", case["name"]);
    }
}

#[test]
fn readable_lines_are_written_as_they_were() {
    for (case, file) in cases() {
        for line in file.split_inclusive(|byte| *byte == b'\n') {
            let Some((b'\n', text)) = line.split_last() else { continue };
            if let Ok(parsed) = Line::parse(text) {
                let mut out = Vec::new();
                parsed.encode(&mut out).unwrap();
                assert_eq!(out, line, "{}", case["name"]);
            }
        }
    }
}

#[test]
fn a_compacted_file_holds_the_same() {
    for (case, file) in cases() {
        let state = replay(&file, true);
        let mut compacted = Vec::new();
        assert_eq!(state.encode_compacted(&mut compacted), 0, "{}", case["name"]);
        assert_eq!(replay_json(&replay(&compacted, true)), replay_json(&state), "{}", case["name"]);
    }
}
