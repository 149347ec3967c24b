//! The text of snapshots: read as Serf reads it, written so that Serf reads it, whole or cut off anywhere.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::collections::BTreeMap;

use serde_json::Value;
use thane_core::snapshot::{Marks, Peer, Record, Restored, SeenEvent, SnapshotLog};
use thane_wire::snapshot::{Replay, replay};

const CASES: &str = include_str!("../../thane-wire/tests/vectors/serf/snapshots.json");
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../thane-wire/tests/vectors/serf/snapshots/");
const AGENTS: [&str; 3] = [
    include_str!("vectors/agent/snapshot-joined.txt"),
    include_str!("vectors/agent/snapshot-after-restart-and-failure.txt"),
    include_str!("vectors/agent/snapshot-leaves.txt"),
];

fn files() -> Vec<(String, Vec<u8>)> {
    let all: Value = serde_json::from_str(CASES).unwrap();
    let mut files: Vec<_> = all["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| case["file"].as_str().unwrap().to_owned())
        .map(|name| (name.clone(), std::fs::read(format!("{FOLDER}{name}")).unwrap()))
        .collect();
    files.extend(AGENTS.iter().map(|text| ((*text).to_owned(), text.as_bytes().to_vec())));
    files
}

fn log_of(file: &[u8]) -> SnapshotLog {
    SnapshotLog::replay(file, false).log
}

fn peer(name: &str, last: u8) -> Peer {
    Peer { name: name.into(), addr: ([10, 0, 0, last], 7946).into() }
}

/// Appends what waits to the file.
fn append(log: &mut SnapshotLog, file: &mut Vec<u8>) {
    file.extend_from_slice(log.to_append());
    log.appended();
}

/// What Serf would take from a file, with clocks as [`Marks`].
fn as_serf(file: &[u8]) -> (BTreeMap<String, String>, Marks) {
    let Replay { alive, clock, event_clock, query_clock, .. } = replay(file, false);
    (
        alive,
        Marks { member: clock, event: event_clock, query: query_clock, incarnation: 0, ..Marks::default() },
    )
}

#[test]
fn files_of_serf_say_here_what_they_say_there() {
    let all = files();
    assert_eq!(all.len(), 25);
    let mut listed = 0;
    for (name, file) in &all {
        for rejoin_after_leave in [false, true] {
            let serf = replay(file, rejoin_after_leave);
            let found = SnapshotLog::replay(file, rejoin_after_leave);
            let restored = found.log.restored("");
            let addressed = serf
                .alive
                .iter()
                .filter(|(name, addr)| !name.is_empty() && addr.parse::<std::net::SocketAddr>().is_ok());
            let alive: Vec<(String, String)> =
                restored.alive.iter().map(|peer| (peer.name.to_string(), peer.addr.to_string())).collect();
            let expected: Vec<(String, String)> =
                addressed.map(|(name, addr)| (name.clone(), addr.clone())).collect();
            assert_eq!(alive, expected, "{name}");
            assert_eq!(found.whole_bytes, serf.whole_bytes, "{name}");
            assert!(restored.failed.is_empty(), "{name}: Serf writes no such remark");
            let clocks = [
                (serf.clock, restored.marks.member),
                (serf.event_clock, restored.marks.event),
                (serf.query_clock, restored.marks.query),
            ];
            let mut absurd = 0;
            for (theirs, ours) in clocks {
                absurd += usize::from(theirs > 1 << 40);
                assert_eq!(ours, if theirs > 1 << 40 { 0 } else { theirs }, "{name}");
            }
            assert_eq!(found.absurd.len(), absurd, "{name}");
            listed += usize::from(absurd > 0 && rejoin_after_leave);
        }
    }
    let same = all.len() - listed;
    eprintln!("compat: what snapshots restore | cases={} same={same} listed={listed}", all.len());
}

#[test]
fn a_clock_near_the_end_of_the_numbers_is_not_believed() {
    let found = SnapshotLog::replay(
        b"clock: 18446744073709551615\nevent-clock: 5\n# incarnation: 4294967295\n",
        false,
    );
    assert_eq!(found.absurd, ["clock: 18446744073709551615", "# incarnation: 4294967295"]);
    assert_eq!(found.log.restored("").marks, Marks { event: 5, declined: 5, ..Marks::default() });
    // The true clock is lower, and counts for Serf too, which takes the last line.
    let mut log = found.log;
    log.record(Record::Marks(Marks { member: 3, event: 5, query: 0, incarnation: 2, ..Marks::default() }));
    assert_eq!(log.to_append(), b"clock: 3\n# incarnation: 2\n");
}

/// A life with all kinds of records.
fn life() -> (SnapshotLog, Vec<u8>) {
    let mut log = log_of(b"");
    let mut file = Vec::new();
    let marks =
        |member, event| Record::Marks(Marks { member, event, query: 1, incarnation: 2, ..Marks::default() });
    for record in [
        Record::Alive(peer("own", 1)),
        Record::Alive(peer("b c", 2)),
        marks(1, 0),
        Record::Alive(peer("d", 3)),
        Record::Failed(peer("b c", 2)),
        marks(2, 7),
        Record::Alive(peer("e", 4)),
        Record::Gone("d".into()),
        Record::Alive(peer("e", 5)),
        Record::Failed(peer("f", 6)),
    ] {
        log.record(record);
        append(&mut log, &mut file);
    }
    (log, file)
}

#[test]
fn serf_reads_what_is_written_and_so_do_we() {
    let (log, file) = life();
    let text = String::from_utf8(file.clone()).unwrap();
    assert_eq!(
        text,
        "alive: own 10.0.0.1:7946\nalive: b c 10.0.0.2:7946\nclock: 1\nquery-clock: 1\n# incarnation: 2\n\
         alive: d 10.0.0.3:7946\nnot-alive: b c\n# failed: b c 10.0.0.2:7946\nclock: 2\nevent-clock: 7\n\
         alive: e 10.0.0.4:7946\nnot-alive: d\nalive: e 10.0.0.5:7946\n# failed: f 10.0.0.6:7946\n"
    );
    assert_eq!(replay(&file, false).skipped_count, 0, "nothing that Serf would warn about");
    let (alive, marks) = as_serf(&file);
    assert_eq!(alive.keys().collect::<Vec<_>>(), ["e", "own"]);
    assert_eq!(marks, Marks { member: 2, event: 7, query: 1, incarnation: 0, ..Marks::default() });
    let expected = Restored {
        // No event is told: of those up to the clock nothing is known but that.
        marks: Marks { incarnation: 2, declined: 7, ..marks },
        lost: Vec::new(),
        alive: vec![peer("e", 5)],
        failed: vec![peer("b c", 2), peer("f", 6)],
        seen: Vec::new(),
    };
    assert_eq!(log.restored("own"), expected);
    assert_eq!(log_of(&file).restored("own"), expected);
    assert_eq!(log_of(&log.compacted()).restored("own"), expected);
    assert_eq!(as_serf(&log.compacted()), as_serf(&file));
}

/// Issue: a node may be killed at any moment, in the middle of a write.
#[test]
fn a_file_cut_off_anywhere_says_what_its_whole_lines_said() {
    let (_, file) = life();
    for cut in 0..=file.len() {
        let found = SnapshotLog::replay(&file[..cut], false);
        let whole = file[..cut].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        assert_eq!(found.whole_bytes, whole);
        assert_eq!(found.skipped_count, 0);
        assert_eq!(found.log.restored("own"), log_of(&file[..whole]).restored("own"), "cut at {cut}");
        // And the next life goes on in it.
        let mut log = found.log;
        let mut next = file[..whole].to_vec();
        log.record(Record::Alive(peer("new", 9)));
        append(&mut log, &mut next);
        assert!(log_of(&next).restored("own").alive.contains(&peer("new", 9)));
    }
}

#[test]
fn garbage_before_and_after_costs_only_itself() {
    let (_, file) = life();
    for garbage in [
        &b"\0\0\0\0\n"[..],
        b"\xff\xfe\n",
        b"alive:\n",
        b"\n\n",
        b"clock: x\n",
        b"#\n",
        b"# failed:\n",
        b"# failed: x\n",
        b"# incarnation: x\n",
        b"# seen: 1\n",
        b"# seen: x 0\n",
        b"# seen: 1 g\n",
        b"# seen: 18446744073709551615 0\n",
        b"# declined: x\n",
        b"# declined: 18446744073709551615\n",
    ] {
        let damaged = [garbage, &file, garbage].concat();
        assert_eq!(log_of(&damaged).restored("own"), log_of(&file).restored("own"), "{garbage:?}");
    }
}

/// Differs from Serf, whose node takes old events again after it left and came back.
#[test]
fn whoever_leaves_forgets_the_others_and_not_what_it_has_seen() {
    let (mut log, mut file) = life();
    log.record(Record::Leave);
    append(&mut log, &mut file);
    log.record(Record::Alive(peer("late", 8)));
    log.record(Record::Marks(Marks { member: 3, event: 7, query: 1, incarnation: 2, ..Marks::default() }));
    append(&mut log, &mut file);
    assert!(file.ends_with(b"leave\nclock: 2\nevent-clock: 7\nquery-clock: 1\nclock: 3\n"));
    let marks = Marks { member: 3, event: 7, declined: 7, query: 1, incarnation: 2 };
    let alone = Restored { marks, ..Restored::default() };
    assert_eq!(log_of(&file).restored("own"), alone);
    assert_eq!(log_of(&log.compacted()).restored("own"), alone);

    let found = SnapshotLog::replay(&file, true).log.restored("own");
    assert_eq!(found.alive, [peer("e", 5)]);
    assert_eq!(found.failed, [peer("b c", 2), peer("f", 6)]);
}

#[test]
fn a_name_that_would_break_the_file_is_left_out() {
    let mut log = log_of(b"");
    log.record(Record::Alive(peer("a\nleave", 2)));
    log.record(Record::Failed(peer("b\nclock: 9", 2)));
    log.record(Record::Alive(peer("c", 3)));
    assert_eq!(log.to_append(), b"alive: c 10.0.0.3:7946\n");
    assert_eq!(log.unwritable(), 2);
}

#[test]
fn a_disk_that_takes_nothing_costs_a_bounded_memory_and_no_knowledge() {
    let mut log = log_of(b"");
    for n in 0..40_000_u32 {
        log.record(Record::Alive(peer("a", n as u8)));
        assert!(log.to_append().len() <= 256 * 1024);
    }
    assert!(log.must_compact());
    let text = log.compacted();
    assert_eq!(log_of(&text).restored("").alive, [peer("a", (39_999_u32) as u8)]);
    log.replaced(text.len() as u64);
    assert!(!log.is_dirty());
}

#[test]
fn a_file_is_compacted_when_it_is_long_for_what_it_says() {
    let mut log = log_of(b"");
    let mut file = Vec::new();
    while !log.wants_compaction() {
        log.record(Record::Alive(peer("a", 1)));
        log.record(Record::Gone("a".into()));
        append(&mut log, &mut file);
        assert!(file.len() <= 128 * 1024 + 64, "Serf's limit for few members");
    }
    assert!(file.len() > 128 * 1024);
    let text = log.compacted();
    log.replaced(text.len() as u64);
    assert!(!log.wants_compaction());
}

/// Serf: `snapshot.go`, `snapshotMaxSize`.
#[test]
fn files_are_compacted_when_they_are_as_long_as_recorded() {
    let all: Value = serde_json::from_str(include_str!("vectors/serf/small.json")).unwrap();
    let rows = all["snapshot_compaction"].as_array().unwrap();
    for row in rows {
        let alive = row["alive_nodes"].as_u64().unwrap();
        let limit = row["compact_when_file_larger_than"].as_u64().unwrap() as usize;
        let mut file: Vec<u8> =
            (0..alive).flat_map(|n| format!("alive: n{n} 10.0.0.1:7946\n").into_bytes()).collect();
        let padding = limit - file.len();
        file.push(b'#');
        file.resize(file.len() + padding - 2, b' ');
        file.push(b'\n');
        assert_eq!(file.len(), limit);
        assert!(!log_of(&file).wants_compaction(), "{row}");
        file.insert(file.len() - 1, b' ');
        assert!(log_of(&file).wants_compaction(), "{row}");
    }
    eprintln!("compat: when snapshots are compacted | cases={0} same={0} listed=0", rows.len());
}

#[test]
fn after_lost_records_the_whole_state_sets_things_right() {
    let (mut log, mut file) = life();
    let state = Restored {
        marks: Marks { member: 9, event: 9, declined: 7, query: 9, incarnation: 9 },
        alive: vec![peer("own", 1), peer("b c", 2), peer("g", 7)],
        failed: vec![peer("e", 5)],
        lost: vec![peer("h", 8), peer("i", 9)],
        seen: vec![SeenEvent::of(9, "deploy", b"")],
    };
    log.record(Record::Lost(peer("h", 8)));
    log.record(Record::Lost(peer("j", 10)));
    log.record(Record::Everything(state.clone()));
    append(&mut log, &mut file);
    let restored = log_of(&file).restored("own");
    assert_eq!(restored.marks, state.marks);
    assert_eq!(restored.alive, [peer("b c", 2), peer("g", 7)]);
    assert_eq!(restored.failed, state.failed);
    assert_eq!(restored.lost, state.lost);
    assert_eq!(restored.seen, state.seen);
}

/// Members that failed and were forgotten are looked for in the next life too.
#[test]
fn the_lost_are_remembered_until_they_are_found() {
    let (mut log, mut file) = life();
    log.record(Record::Lost(peer("f", 6)));
    log.record(Record::Lost(peer("e", 5)));
    append(&mut log, &mut file);
    let text = String::from_utf8(file.clone()).unwrap();
    assert!(text.ends_with("# lost: f 10.0.0.6:7946\nnot-alive: e\n# lost: e 10.0.0.5:7946\n"), "{text}");
    assert_eq!(replay(&file, false).skipped_count, 0, "nothing that Serf would warn about");
    let restored = log_of(&file).restored("own");
    assert_eq!((&restored.alive, &restored.failed), (&vec![], &vec![peer("b c", 2)]));
    assert_eq!(restored.lost, [peer("e", 5), peer("f", 6)]);
    assert_eq!(log.restored("own"), restored);
    assert_eq!(log_of(&log.compacted()).restored("own"), restored);
    // One comes back, the other is told to have left.
    log.record(Record::Alive(peer("f", 7)));
    log.record(Record::Gone("e".into()));
    append(&mut log, &mut file);
    for log in [&log, &log_of(&file)] {
        let restored = log.restored("own");
        assert_eq!((restored.alive, restored.lost), (vec![peer("f", 7)], vec![]));
    }
    // Whoever leaves looks for nobody.
    log.record(Record::Lost(peer("f", 7)));
    log.record(Record::Leave);
    append(&mut log, &mut file);
    assert!(log_of(&file).restored("own").lost.is_empty());
}

#[test]
fn the_lost_in_a_file_are_bounded() {
    let lines: Vec<String> = (0..3000).map(|at| format!("# lost: m{at:04} 10.0.0.9:7946\n")).collect();
    let mut log = log_of(lines.concat().as_bytes());
    assert_eq!(log.restored("").lost.len(), 1024);
    log.record(Record::Lost(peer("one more", 1)));
    assert_eq!(log.restored("").lost.len(), 1024);
}

fn seen(ltime: u64, name: &str) -> SeenEvent {
    SeenEvent::of(ltime, name, b"")
}

/// A life in which events were delivered: 4 and 6, and 5 not yet; before that, 3 and all below were declined.
fn life_with_events() -> (SnapshotLog, Vec<u8>) {
    let mut log = log_of(b"");
    let mut file = Vec::new();
    for (event, newest) in [(seen(6, "c"), 6), (seen(4, "a"), 6), (seen(6, "b"), 6)] {
        log.record(Record::Seen(event));
        log.record(Record::Marks(Marks { event: newest, declined: 3, ..Marks::default() }));
        append(&mut log, &mut file);
    }
    (log, file)
}

#[test]
fn events_are_remembered_one_by_one() {
    let (log, file) = life_with_events();
    let text = String::from_utf8(file.clone()).unwrap();
    let digest = seen(6, "c").digest;
    assert!(text.starts_with(&format!("# declined: 3\n# seen: 6 {digest:016x}\nevent-clock: 6\n# seen: 4 ")));
    assert_eq!(replay(&file, false).skipped_count, 0, "nothing that Serf would warn about");
    let restored = log_of(&file).restored("");
    assert_eq!(restored.marks, Marks { event: 6, declined: 3, ..Marks::default() });
    let mut expected = [seen(4, "a"), seen(6, "b"), seen(6, "c")];
    expected.sort_unstable();
    assert_eq!(restored.seen, expected);
    assert_eq!(log.restored(""), restored);
    assert_eq!(log_of(&log.compacted()).restored(""), restored);
    // The digest is part of the format: FNV-1a, with the byte ff between name and payload.
    assert_eq!(SeenEvent::of(1, "", b"").digest, 0xaf64_724c_8602_eb6e);
}

/// Serf tells no events: of those of its own life nothing is known but the clock.
#[test]
fn after_a_life_under_serf_all_up_to_its_clock_counts_as_seen() {
    let (_, mut file) = life_with_events();
    file.extend_from_slice(b"event-clock: 9\n");
    let restored = log_of(&file).restored("");
    assert_eq!(restored.marks, Marks { event: 9, declined: 9, ..Marks::default() });
    assert!(restored.seen.is_empty());
    // And so it stays in the life after it.
    let mut log = log_of(&file);
    log.record(Record::Seen(seen(11, "d")));
    append(&mut log, &mut file);
    let restored = log_of(&file).restored("");
    assert_eq!(restored.marks, Marks { event: 11, declined: 9, ..Marks::default() });
    assert_eq!(restored.seen, [seen(11, "d")]);
    // Even if other lines come first, before there is any event to tell.
    let mut file = b"event-clock: 9\n".to_vec();
    let mut log = log_of(&file);
    log.record(Record::Marks(Marks { member: 5, event: 9, declined: 9, ..Marks::default() }));
    append(&mut log, &mut file);
    log.record(Record::Seen(seen(11, "d")));
    log.record(Record::Marks(Marks { member: 5, event: 11, declined: 9, ..Marks::default() }));
    append(&mut log, &mut file);
    let restored = log_of(&file).restored("");
    assert_eq!((restored.marks.event, restored.marks.declined), (11, 9));
    assert_eq!(restored.seen, [seen(11, "d")]);
}

/// What reaches a node while it leaves is delivered, so whoever comes back from a leave must know of it, one by one.
#[test]
fn events_that_are_delivered_during_a_leave_are_remembered_for_a_rejoin() {
    let mut log = SnapshotLog::replay(b"", true).log;
    let mut file = Vec::new();
    for record in [Record::Seen(seen(1, "before")), Record::Leave, Record::Seen(seen(4, "during"))] {
        log.record(record);
        append(&mut log, &mut file);
    }
    log.record(Record::Marks(Marks { event: 4, ..Marks::default() }));
    append(&mut log, &mut file);
    let restored = SnapshotLog::replay(&file, true).log.restored("");
    assert_eq!(restored.marks, Marks { event: 4, ..Marks::default() });
    assert_eq!(restored.seen, [seen(1, "before"), seen(4, "during")], "2 and 3 are still to come");
    // Without a rejoin all of that is the past.
    let restored = log_of(&file).restored("");
    assert_eq!((restored.marks.event, restored.marks.declined), (4, 4));
}

#[test]
fn wherever_a_file_with_events_breaks_off_none_that_it_tells_is_wanted_again() {
    let (_, file) = life_with_events();
    for cut in 0..=file.len() {
        let restored = log_of(&file[..cut]).restored("");
        let told = file[..cut].split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
        for line in told.filter_map(|line| std::str::from_utf8(line).ok()?.strip_prefix("# seen: ")) {
            let (ltime, digest) = line.trim_end().split_once(' ').unwrap();
            let event =
                SeenEvent { ltime: ltime.parse().unwrap(), digest: u64::from_str_radix(digest, 16).unwrap() };
            assert!(event.ltime <= restored.marks.declined || restored.seen.contains(&event), "cut at {cut}");
            assert!(restored.marks.declined >= 3, "cut at {cut}: what was declined stays so");
        }
        assert!(restored.marks.declined <= 3, "cut at {cut}: nothing that is not told counts as seen");
    }
}

#[test]
fn a_thousand_events_are_told_one_by_one_and_all_before_them_at_once() {
    let mut log = log_of(b"");
    let mut file = Vec::new();
    for ltime in 1..=3000 {
        log.record(Record::Seen(seen(ltime, "e")));
        log.record(Record::Marks(Marks { event: ltime, ..Marks::default() }));
        append(&mut log, &mut file);
    }
    let restored = log_of(&file).restored("");
    assert_eq!(restored, log.restored(""));
    assert_eq!(restored.marks.declined, 1976);
    assert_eq!(restored.seen.len(), 1024);
    let text = log.compacted();
    assert!(text.len() < 64 * 1024, "{} bytes", text.len());
    assert_eq!(log_of(&text).restored(""), restored);
}

/// More events of one Lamport time than are told one by one, some of them in the file already.
#[test]
fn a_time_that_is_given_up_is_declined_as_a_whole() {
    let mut log = log_of(b"");
    let mut file = Vec::new();
    for half in 0..2 {
        for at in 0..600 {
            log.record(Record::Seen(seen(7, &format!("e{half}-{at}"))));
        }
        log.record(Record::Marks(Marks { event: 7, ..Marks::default() }));
        append(&mut log, &mut file);
    }
    let restored = log_of(&file).restored("");
    assert_eq!((restored.marks.declined, restored.seen.len()), (7, 0));
    assert_eq!(log_of(&log.compacted()).restored(""), restored);
}
