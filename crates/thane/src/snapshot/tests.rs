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
    writer.hand_over(Record::Marks(Marks { member: 2, event: 7, query: 0, incarnation: 3 }));
    writer.finish().await;
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text, "alive: a 127.0.0.1:7946\nclock: 2\nevent-clock: 7\nquery-clock: 0\n# incarnation: 3\n");
    assert!(!files::with_suffix(&path, ".compact").exists());
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
