use std::time::Duration;

use bytes::Bytes;
use thane_wire::Key;

use super::*;
use crate::input::Input;
use crate::node::{Node, Prune, Replay as History, StreamFailure};
use crate::output::StreamId;
use crate::query::{KeyCommand, QueryEnd, QueryId, QueryParams, QueryToken};
use crate::snapshot::{Marks, Peer, Restored, SeenEvent};
use crate::time::Time;

fn addr(text: &str) -> std::net::SocketAddr {
    text.parse().unwrap()
}

fn key(byte: u8) -> Key {
    Key::new(&[byte; 16]).unwrap()
}

/// One of each kind, with values that are not the defaults.
fn inputs() -> Vec<Input> {
    let (there, stream) = (addr("10.0.0.2:7946"), StreamId(300));
    let peer = |name: &str| Peer { name: name.into(), addr: there };
    let params = QueryParams {
        filter_nodes: vec!["a".into(), "b".into()],
        filter_tags: vec![("role".into(), "^web$".into())],
        request_ack: true,
        relay_factor: 2,
        timeout: Some(Duration::from_millis(1500)),
        end: QueryEnd::AtDeadline,
    };
    vec![
        Input::Timeout,
        Input::Packet { from: there, packet: Bytes::from_static(b"not a packet") },
        Input::SendFailed { to: there, error: "network is unreachable".into() },
        Input::SendsHeld,
        Input::SendsResumed,
        Input::StreamAccepted { from: addr("[fe80::1%3]:5") },
        Input::StreamConnected { stream },
        Input::StreamData { stream, bytes: Bytes::from_static(&[0; 200]) },
        Input::StreamEnded { stream },
        Input::StreamFailed { stream, failure: StreamFailure::Refused("refused".into()) },
        Input::StreamFailed { stream, failure: StreamFailure::TimedOut("late".into()) },
        Input::StreamFailed { stream, failure: StreamFailure::Other(String::new()) },
        Input::KeyringPersisted { token: u64::MAX, result: Err("no space left on device".into()) },
        Input::KeyringPersisted { token: 0, result: Ok(()) },
        Input::SeedsLookedUp { addrs: vec![there, addr("[2001:db8::2]:7946")] },
        Input::SeedsChanged { count: 2 },
        Input::Restore(Restored {
            marks: Marks { member: 1, event: 2, declined: 3, query: 4, incarnation: 5 },
            alive: vec![peer("b"), peer("")],
            failed: vec![peer("c")],
            lost: vec![peer("d")],
            seen: vec![SeenEvent { ltime: 9, digest: u64::MAX }],
        }),
        Input::Join { addrs: vec![there], replay: History::Old },
        Input::Join { addrs: vec![], replay: History::Ignore },
        Input::ForceLeave { name: "c".into(), prune: Prune::Erase },
        Input::ForceLeave { name: "ü".into(), prune: Prune::Keep },
        Input::UserEvent { name: "deploy".into(), payload: Bytes::from_static(&[255]), coalesce: true },
        Input::SetTags([("role".to_owned(), "db".to_owned())].into()),
        Input::Query { name: "uptime".into(), payload: Bytes::new(), params },
        Input::Query { name: "q".into(), payload: Bytes::new(), params: QueryParams::default() },
        Input::CancelQuery(QueryId(1)),
        Input::Respond { query: QueryToken(7), payload: Bytes::from_static(b"up") },
        Input::Keys { command: KeyCommand::Install(key(1)), relay_factor: 1 },
        Input::Keys { command: KeyCommand::Use(key(1)), relay_factor: 0 },
        Input::Keys { command: KeyCommand::Remove(key(2)), relay_factor: 0 },
        Input::Keys { command: KeyCommand::List, relay_factor: 0 },
        Input::Leave,
    ]
}

fn header() -> Header {
    let mut config = Config::wan("a", addr("10.0.0.1:7946"));
    config.keyring = thane_wire::Keyring::new([key(2), key(3)]);
    config.tags = [("dc".to_owned(), "north".to_owned())].into();
    config.indirect_checks = 7;
    config.coordinates = false;
    Header::new(config, Seed::from(4), 1_790_000_000_123_456_789)
}

/// A node is told all of [`inputs`], a second and a bit apart, and recorded.
fn recorded() -> Vec<u8> {
    let header = header();
    let mut file = Vec::new();
    let mut recorder = Recorder::new(&header, &mut file);
    let mut node = Node::new(header.config, header.seed, Time::ZERO).unwrap();
    let mut now = Time::ZERO;
    for input in inputs() {
        now += Duration::from_nanos(1_000_000_321);
        recorder.input(now, &input, &mut file);
        node.handle(now, input);
        while let Some(output) = node.poll_output() {
            recorder.output(&output);
        }
    }
    recorder.settle(&mut file);
    recorder.end(End::Stopped, &mut file);
    file
}

/// All entries, or the first error.
fn read(file: &[u8]) -> Result<(Vec<Entry>, usize), RecordingError> {
    let mut recording = Recording::open(file)?;
    let mut entries = Vec::new();
    while let Some(entry) = recording.next_entry()? {
        entries.push(entry);
    }
    Ok((entries, recording.torn_bytes()))
}

#[test]
fn what_is_recorded_is_read_again() {
    let file = recorded();
    let recording = Recording::open(&file).unwrap();
    let (found, expected) = (recording.header(), header());
    assert_eq!(format!("{:?}", found.config), format!("{:?}", expected.config));
    // Keys are not shown.
    assert_eq!(found.config.keyring, expected.config.keyring);
    assert_eq!(found.seed, expected.seed);
    assert_eq!(found.started_unix_ns, expected.started_unix_ns);
    let (entries, torn) = read(&file).unwrap();
    let mut now = Time::ZERO;
    let found = entries.iter().filter_map(|entry| match entry {
        Entry::Input { at, input } => Some((*at, input.clone())),
        _ => None,
    });
    for ((at, input), expected) in found.zip(inputs()) {
        now += Duration::from_nanos(1_000_000_321);
        assert_eq!((at, input), (now, expected));
    }
    assert_eq!(entries.iter().filter(|entry| matches!(entry, Entry::Input { .. })).count(), inputs().len());
    assert_eq!(entries.last(), Some(&Entry::End(End::Stopped)));
    assert_eq!(torn, 0);
}

#[test]
fn a_replay_decides_the_same() {
    let file = recorded();
    let mut replay = Replay::new(&file).unwrap();
    let mut outputs = 0;
    while let Some(step) = replay.step().unwrap() {
        outputs += step.outputs.len() as u64;
    }
    assert!(outputs > 25, "the inputs must lead to something: {outputs}");
    assert_eq!(replay.checked(), outputs);
    assert_eq!(replay.inputs(), inputs().len() as u64);
    assert_eq!(replay.end(), Some(End::Stopped));
}

#[test]
fn another_decision_is_found_at_the_input_that_led_to_it() {
    // Recorded by a node that asks nobody when a probe gets no answer; replayed as one that does.
    let recorded = recorded();
    let (entries, _) = read(&recorded).unwrap();
    let mut other = header();
    other.config.tags.clear();
    let mut file = Vec::new();
    let mut recorder = Recorder::new(&other, &mut file);
    for entry in entries {
        if let Entry::Input { at, input } = entry {
            recorder.input(at, &input, &mut file);
        } else if let Entry::Outputs { count, hash } = entry {
            recorder.entry_for_test(count, hash, &mut file);
        }
    }
    let mut replay = Replay::new(&file).unwrap();
    let error = loop {
        match replay.step() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the difference was not noticed"),
            Err(error) => break error,
        }
    };
    let ReplayError::Difference(difference) = error else { panic!("{error}") };
    // Our own join shows the tags.
    assert!(difference.input <= 1, "{difference}");
}

#[test]
fn each_changed_byte_is_noticed() {
    let file = recorded();
    let whole = read(&file).unwrap();
    for at in 0..file.len() {
        let mut changed = file.clone();
        changed[at] ^= 0x20;
        match read(&changed) {
            Err(_) => {}
            // A length that now reaches beyond the end looks like a file that was cut off there.
            Ok((entries, torn)) => {
                assert!(torn > 0 && entries.len() < whole.0.len(), "byte {at} was not noticed");
            }
        }
    }
}

#[test]
fn an_entry_that_is_missing_is_noticed() {
    let file = recorded();
    // Two entries of the same bytes but for the checksum.
    let mut recording = Recording::open(&file).unwrap();
    let mut bounds = vec![recording.position()];
    while recording.next_entry().unwrap().is_some() {
        bounds.push(recording.position());
    }
    for pair in bounds[..bounds.len() - 1].windows(2) {
        let cut = [&file[..pair[0]], &file[pair[1]..]].concat();
        assert!(matches!(read(&cut), Err(RecordingError::Damaged { at, .. }) if at == pair[0]));
    }
}

#[test]
fn what_was_cut_off_is_read_up_to_there() {
    let file = recorded();
    let begun = Recording::open(&file).unwrap().position();
    let mut longest = 0;
    for length in 0..file.len() {
        match read(&file[..length]) {
            Ok((entries, torn)) => {
                assert!(length >= begun && entries.len() >= longest);
                assert!(torn < length);
                longest = entries.len();
            }
            Err(RecordingError::NotARecording) => assert!(length < MAGIC.len()),
            Err(RecordingError::Empty) => assert!(length < begun),
            Err(error) => panic!("{length} bytes: {error}"),
        }
    }
    // As after a power cut on some file systems.
    let mut zeros = file[..file.len() - 3].to_vec();
    zeros.extend([0; 100]);
    assert!(read(&zeros).is_err() || read(&zeros).unwrap().1 > 0);
}

#[test]
fn no_recording_lasts_longer_than_a_node_can() {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    for (after, is_read) in [(90 * YEAR, true), (101 * YEAR, false), (Time::NEVER.since_start(), false)] {
        let mut file = Vec::new();
        let mut recorder = Recorder::new(&header(), &mut file);
        recorder.input(Time::ZERO + after, &Input::Timeout, &mut file);
        recorder.end(End::Stopped, &mut file);
        match read(&file) {
            Ok(_entries) => assert!(is_read, "{after:?}"),
            Err(error) => {
                assert!(!is_read && matches!(error, RecordingError::Malformed { .. }), "{after:?}: {error}");
            }
        }
    }
}

#[test]
fn other_files_are_told_apart() {
    assert_eq!(read(b"").unwrap_err(), RecordingError::NotARecording);
    assert_eq!(read(b"alive: node 127.0.0.1:7946\n").unwrap_err(), RecordingError::NotARecording);
    assert_eq!(read(b"THANEREC\x02\x00").unwrap_err(), RecordingError::Format(2));
}
