use std::fs;
use std::sync::Arc;

use thane_core::snapshot::Peer;

use super::*;

/// A directory of the test's own, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("thane-snapshot-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("snapshot")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn alive(name: &str) -> Record {
    Record::Alive(Peer { name: name.into(), addr: "127.0.0.1:7946".parse().unwrap() })
}

fn names(path: &Path) -> Vec<Arc<str>> {
    let opened = open(path.to_owned(), false).unwrap();
    opened.restored("nobody").alive.into_iter().map(|peer| peer.name).collect()
}

/// Waits, with a deadline, until the file says what it should.
fn wait_for(path: &Path, what: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    while !fs::read_to_string(path).is_ok_and(|text| text.contains(what)) {
        assert!(Instant::now() < end, "{what:?} never came into {}", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test]
async fn what_is_recorded_is_written_by_itself_and_read_back() {
    let directory = Directory::new("written");
    let path = directory.file();
    let mut writer = open(path.clone(), false).unwrap().start().unwrap();
    writer.hand_over(alive("a"));
    wait_for(&path, "alive: a 127.0.0.1:7946\n");
    // Nothing follows that could push it out: a timer does.
    writer.hand_over(alive("b"));
    wait_for(&path, "alive: b 127.0.0.1:7946\n");
    writer.hand_over(Record::Gone("a".into()));
    writer.finish().await;
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "alive: a 127.0.0.1:7946\nalive: b 127.0.0.1:7946\nnot-alive: a\n"
    );
    assert_eq!(names(&path), ["b".into()]);
}

#[test]
fn a_line_that_was_cut_off_is_removed_before_the_next_is_written() {
    let directory = Directory::new("cut");
    let path = directory.file();
    fs::write(&path, "alive: a 127.0.0.1:7946\nalive: b 127.").unwrap();
    assert_eq!(names(&path), ["a".into()]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "alive: a 127.0.0.1:7946\n");
}

#[test]
fn a_compaction_that_was_cut_off_between_its_last_steps_loses_nothing() {
    let directory = Directory::new("leftover");
    let path = directory.file();
    let compact = files::with_suffix(&path, ".compact");
    fs::write(&compact, "alive: a 127.0.0.1:7946\nclock: 3\n").unwrap();
    assert_eq!(names(&path), ["a".into()]);
    assert!(!compact.exists());
    // One beside a file that is there is older, or half written.
    fs::write(&compact, "alive: b 127.0.0.1:7946\n").unwrap();
    assert_eq!(names(&path), ["a".into()]);
}

#[tokio::test]
async fn a_file_that_has_grown_long_is_replaced_by_a_short_one_that_says_the_same() {
    let directory = Directory::new("compaction");
    let path = directory.file();
    fs::write(&path, "alive: a 127.0.0.1:7946\n".repeat(20_000)).unwrap();
    let mut writer = open(path.clone(), false).unwrap().start().unwrap();
    writer.hand_over(Record::Marks(Marks { member: 2, event: 7, declined: 0, query: 0, incarnation: 3 }));
    writer.finish().await;
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text, "alive: a 127.0.0.1:7946\nclock: 2\nevent-clock: 7\nquery-clock: 0\n# incarnation: 3\n");
    assert!(!files::with_suffix(&path, ".compact").exists());
}

/// A directory that takes no new file: the old one goes on growing, and nothing is lost.
#[tokio::test]
async fn a_file_that_cannot_be_compacted_is_written_on() {
    let directory = Directory::new("uncompacted");
    let path = directory.file();
    let long = "alive: a 127.0.0.1:7946\n".repeat(20_000);
    fs::write(&path, &long).unwrap();
    // Where the short one would be written there is something that is no file.
    fs::create_dir_all(files::with_suffix(&path, ".compact").join("in the way")).unwrap();
    let mut writer = open(path.clone(), false).unwrap().start().unwrap();
    writer.hand_over(alive("b"));
    wait_for(&path, "alive: b 127.0.0.1:7946\n");
    writer.hand_over(alive("c"));
    writer.finish().await;
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        format!("{long}alive: b 127.0.0.1:7946\nalive: c 127.0.0.1:7946\n")
    );
}

#[tokio::test]
async fn a_file_that_somebody_removes_comes_back_whole() {
    let directory = Directory::new("removed");
    let path = directory.file();
    let mut writer = open(path.clone(), false).unwrap().start().unwrap();
    writer.hand_over(alive("a"));
    wait_for(&path, "alive: a");
    fs::remove_file(&path).unwrap();
    writer.hand_over(alive("b"));
    writer.finish().await;
    assert_eq!(names(&path), ["a".into(), "b".into()]);
}

/// A device that takes nothing stands for a full disk.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_keeps_what_waits_until_there_is_room() {
    let directory = Directory::new("full");
    let path = directory.file();
    fs::write(&path, "").unwrap();
    let opened = open(path.clone(), false).unwrap();
    let full = OpenOptions::new().append(true).open("/dev/full").unwrap();
    let mut writer = Writer {
        path: path.clone(),
        file: full,
        log: opened.log,
        bytes: 0,
        trouble: None,
        compact_after: None,
        unwritable_told: 0,
        measured: Measured::default(),
    };
    writer.log.record(alive("a"));
    writer.flush();
    assert!(writer.trouble.is_some());
    assert!(writer.log.is_dirty(), "it is kept");
    // Not before the pause is over.
    writer.trouble.as_mut().unwrap().retry_at = Instant::now() + Duration::from_secs(3600);
    writer.file = opened.file;
    writer.flush();
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
    writer.trouble.as_mut().unwrap().retry_at = Instant::now();
    writer.log.record(alive("b"));
    writer.flush();
    assert!(writer.trouble.is_none());
    assert_eq!(names(&path), ["a".into(), "b".into()]);
}

#[tokio::test]
async fn a_queue_that_is_full_is_made_up_for_with_the_whole_state() {
    let (records, received) = sync_channel(1);
    let (_done, finished) = oneshot::channel();
    let mut writer = SnapshotWriter {
        records,
        finished,
        marks: Marks::default(),
        given_up: 0,
        lost: 0,
        left: false,
        behind: None,
        measured: Measured::default(),
    };
    assert!(writer.hand_over(alive("a")));
    assert!(!writer.hand_over(alive("b")));
    assert_eq!(writer.lost(), 1);
    assert_eq!(received.recv().unwrap(), alive("a"));
    let config = thane_core::Config::lan("c", "127.0.0.1:7946".parse().unwrap());
    let core = thane_core::Node::new(config, thane_core::Seed::from(1), thane_core::Time::ZERO).unwrap();
    writer.marks = core.marks();
    writer.behind = Some(Instant::now().checked_sub(FLUSH_INTERVAL).unwrap());
    writer.catch_up(&core);
    assert_eq!(received.recv().unwrap(), Record::Everything(core.to_restore()));
    assert!(writer.behind.is_none());
}

/// A member that is looked for and told to have left is not looked for after a restart either.
#[tokio::test]
async fn a_lost_member_that_is_given_up_is_given_up_in_the_file() {
    let directory = Directory::new("given-up");
    let path = directory.0.join("snapshot");
    fs::write(&path, "# lost: b 10.0.0.2:7946\n# lost: c 10.0.0.3:7946\n").unwrap();
    let opened = open(path.clone(), false).unwrap();
    let config = thane_core::Config::lan("a", "127.0.0.1:7946".parse().unwrap());
    let mut core = thane_core::Node::new(config, thane_core::Seed::from(1), thane_core::Time::ZERO).unwrap();
    core.restore(thane_core::Time::ZERO, opened.restored("a"));
    let mut writer = opened.start().unwrap();
    core.force_leave(thane_core::Time::ZERO, "b", thane_core::Prune::Keep).unwrap();
    writer.catch_up(&core);
    writer.finish().await;
    let restored = open(path, false).unwrap().restored("a");
    let lost: Vec<&str> = restored.lost.iter().map(|peer| &*peer.name).collect();
    assert_eq!(lost, ["c"]);
}

#[test]
fn a_file_that_cannot_be_opened_is_named_in_serfs_words() {
    let directory = Directory::new("unopened");
    let path = directory.0.join("missing").join("snapshot");
    let error = open(path.clone(), false).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "Failed to setup snapshot: failed to open snapshot: open {}: no such file or directory",
            path.display()
        )
    );
}

// ---- SF-333: cut off or damaged anywhere ----

/// A life of a few members, line by line; `None` for an address is a failed member's.
const LIFE: [&str; 14] = [
    "alive: alpha 10.0.0.1:7946",
    "alive: bravo 10.0.0.2:7946",
    "clock: 3",
    "# incarnation: 2",
    "alive: charlie 10.0.0.3:7946",
    "not-alive: bravo",
    "# failed: bravo 10.0.0.2:7946",
    "event-clock: 7",
    "alive: delta [2001:db8::4]:7946",
    "not-alive: alpha",
    "query-clock: 5",
    "coordinate: {}",
    "alive: bravo 10.0.0.22:7946",
    "event-clock: 9",
];

/// What so many lines of it say, worked out by hand: alive, failed, and the three clocks.
fn said_by(lines: usize) -> (Vec<String>, Vec<String>, [u64; 3]) {
    let mut alive = std::collections::BTreeMap::new();
    let mut failed = std::collections::BTreeMap::new();
    let mut clocks = [0; 3];
    for line in 1..=lines {
        match line {
            1 => _ = alive.insert("alpha", "10.0.0.1:7946"),
            2 => _ = alive.insert("bravo", "10.0.0.2:7946"),
            3 => clocks[0] = 3,
            5 => _ = alive.insert("charlie", "10.0.0.3:7946"),
            6 => _ = alive.remove("bravo"),
            7 => _ = failed.insert("bravo", "10.0.0.2:7946"),
            8 => clocks[1] = 7,
            9 => _ = alive.insert("delta", "[2001:db8::4]:7946"),
            10 => _ = alive.remove("alpha"),
            11 => clocks[2] = 5,
            13 => {
                failed.remove("bravo");
                alive.insert("bravo", "10.0.0.22:7946");
            }
            14 => clocks[1] = 9,
            _ => {}
        }
    }
    let list = |of: std::collections::BTreeMap<&str, &str>| {
        of.iter().map(|(name, addr)| format!("{name} {addr}")).collect()
    };
    (list(alive), list(failed), clocks)
}

fn texts(peers: &[Peer]) -> Vec<String> {
    peers.iter().map(|peer| format!("{} {}", peer.name, peer.addr)).collect()
}

/// Starts a node with it, which asserts its own invariants.
fn start_node(restored: Restored) {
    let config = thane_core::Config::lan("c", "127.0.0.1:7946".parse().unwrap());
    let mut node = thane_core::Node::new(config, thane_core::Seed::from(1), thane_core::Time::ZERO).unwrap();
    node.restore(thane_core::Time::ZERO, restored);
    while node.poll_output().is_some() {}
}

#[test]
fn sf_333_a_snapshot_cut_off_at_any_byte_says_what_was_whole_and_is_written_on() {
    let directory = Directory::new("cut-anywhere");
    let path = directory.file();
    let whole = LIFE.map(|line| format!("{line}\n")).concat();
    for end in 0..=whole.len() {
        // A write that failed may also leave garbage behind what it wrote.
        for tail in ["", "\0\0\0\0", "\u{fffd}x"] {
            fs::write(&path, [&whole.as_bytes()[..end], tail.as_bytes()].concat()).unwrap();
            let lines = whole[..end].matches('\n').count();
            let (alive, failed, [member, event, query]) = said_by(lines);
            let opened = open(path.clone(), false).unwrap();
            let restored = opened.restored("c");
            assert_eq!(
                (texts(&restored.alive), texts(&restored.failed)),
                (alive.clone(), failed),
                "{end} bytes"
            );
            let Marks { member: m, event: e, query: q, .. } = restored.marks;
            assert_eq!([m, e, q], [member, event, query], "{end} bytes");
            start_node(restored);
            // The next line is not glued to what was cut off.
            let mut log = opened.log;
            log.record(Record::Alive(Peer { name: "echo".into(), addr: "10.0.0.5:7946".parse().unwrap() }));
            let mut file = opened.file;
            file.write_all(log.to_append()).unwrap();
            let again = open(path.clone(), false).unwrap().restored("c");
            let mut expected = alive;
            expected.push("echo 10.0.0.5:7946".to_owned());
            assert_eq!(texts(&again.alive), expected, "{end} bytes");
        }
    }
}

/// A damaged byte costs its own line, and the next one if it was the line's end; never another, and never the start.
#[test]
fn sf_333_a_damaged_byte_costs_no_more_than_its_line() {
    let directory = Directory::new("damaged");
    let path = directory.file();
    // One line a member, none of which takes another back.
    let names = ["alpha", "bravo", "charlie", "delta", "echo"];
    let lines = names.map(|name| match name {
        "delta" => "# failed: delta 10.0.0.9:7946\n".to_owned(),
        name => format!("alive: {name} 10.0.0.9:7946\n"),
    });
    let whole = lines.concat();
    let mut at = 0;
    for (damaged, line) in lines.iter().enumerate() {
        for _ in 0..line.len() {
            for byte in [0, b'\n', b' ', b'#', b'0', 0xff, b'\r'] {
                let mut bytes = whole.clone().into_bytes();
                bytes[at] = byte;
                fs::write(&path, &bytes).unwrap();
                let restored = open(path.clone(), false).unwrap().restored("c");
                let known: Vec<&str> =
                    restored.alive.iter().chain(&restored.failed).map(|peer| &*peer.name).collect();
                let lost =
                    if whole.as_bytes()[at] == b'\n' { damaged..=damaged + 1 } else { damaged..=damaged };
                for (i, name) in names.iter().enumerate() {
                    assert!(
                        lost.contains(&i) || known.contains(name),
                        "{name} with {byte} at {at}: {known:?}"
                    );
                }
                start_node(restored);
            }
            at += 1;
        }
    }
}

// ---- kill -9 ----

#[cfg(unix)]
mod killed {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;

    use super::*;
    use crate::killed::{Victim, moments, orders, tell};

    /// Members that come, fail and go in turn.
    const MEMBERS: u64 = 40;
    /// How often the victim is killed.
    const ROUNDS: usize = 6;
    /// How much later than after half a second a line may be in the file of a busy machine.
    const SLACK: Duration = Duration::from_secs(2);

    /// Long, so that the file is compacted again and again.
    fn name(step: u64) -> String {
        format!("member-{}-{}", step % MEMBERS, "x".repeat(150))
    }

    /// Tells by itself of which step it is.
    fn addr(step: u64) -> SocketAddr {
        let [.., a, b, c] = step.to_be_bytes();
        ([10, a, b, c], 7946).into()
    }

    fn record_of(step: u64) -> Record {
        let peer = Peer { name: name(step).as_str().into(), addr: addr(step) };
        match step / MEMBERS % 3 {
            0 => Record::Alive(peer),
            1 => Record::Failed(peer),
            _ => Record::Gone(peer.name),
        }
    }

    /// What is known after so many steps: by name, the address and whether it is alive.
    type Known = BTreeMap<String, (SocketAddr, bool)>;

    fn take_step(known: &mut Known, step: u64) {
        match step / MEMBERS % 3 {
            0 => _ = known.insert(name(step), (addr(step), true)),
            1 => _ = known.insert(name(step), (addr(step), false)),
            _ => _ = known.remove(&name(step)),
        }
    }

    /// The victim: writes as fast as it can, a burst at a time.
    #[test]
    fn victim() {
        let Some((path, from)) = orders() else { return };
        let mut writer = open(path, false).unwrap().start().unwrap();
        let mut hand_over = |record: Record| {
            // The driver would leave it out and make up for it; here each is to come in order.
            while !writer.hand_over(record.clone()) {
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        for step in from.. {
            hand_over(record_of(step));
            hand_over(Record::Marks(Marks { event: step, ..Marks::default() }));
            if step % 100 == 0 {
                tell(step);
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Killed at random moments, while it appends and while it compacts: the file can always be read, it is that of some moment,
    /// and of one not much earlier than the kill. Nothing that was in it before is lost.
    #[test]
    fn a_node_killed_at_any_moment_keeps_what_it_had_saved() {
        let directory = Directory::new("killed");
        let path = directory.file();
        let (mut known, mut last, mut seen, mut compacted) = (Known::new(), 0, 0, 0);
        for wait in moments(ROUNDS, Duration::from_secs(4)) {
            let victim = Victim::start("snapshot::tests::killed::victim", &path, last + 1);
            let (_, begun) = victim.first_step();
            // How long the machine stood still for us; the victim's writer may have stood still with us.
            let (mut stall, mut last_look) = (Duration::ZERO, begun);
            let mut longest = 0;
            while begun.elapsed() < wait {
                stall = stall.max(last_look.elapsed());
                last_look = Instant::now();
                // What anybody could read in the file is saved.
                if let Ok(content) = fs::read(&path) {
                    let marks = SnapshotLog::replay(&content, false).log.restored("").marks;
                    assert!(marks.event >= seen, "the file went back from {seen} to {}", marks.event);
                    seen = marks.event;
                    compacted += usize::from((content.len() as u64) < longest);
                    longest = content.len() as u64;
                }
                std::thread::sleep(Duration::from_millis(7));
            }
            let (said, end) = victim.kill();
            let told = said.before(end, FLUSH_INTERVAL + SLACK + stall.max(last_look.elapsed()));
            let restored = open(path.clone(), false).unwrap().restored("");
            let event = restored.marks.event;
            assert!(event >= seen && event >= told, "saved {event}; seen {seen}, told {told}");
            seen = event;
            // The members may be a few lines ahead of the clock, which is written behind them.
            let found: Known = restored
                .alive
                .iter()
                .map(|peer| (peer, true))
                .chain(restored.failed.iter().map(|peer| (peer, false)))
                .map(|(peer, alive)| (peer.name.to_string(), (peer.addr, alive)))
                .collect();
            while last < event {
                last += 1;
                take_step(&mut known, last);
            }
            let ahead = (0..=2 * RECORDS_MAX as u64).find(|_| {
                let is_it = known == found;
                if !is_it {
                    last += 1;
                    take_step(&mut known, last);
                }
                is_it
            });
            assert!(ahead.is_some(), "the file is that of no moment after step {event}");
        }
        println!("{last} steps, {compacted} compactions seen");
        assert!(compacted > 0, "no compaction was met");
    }
}
