use std::fs;

use bytes::Bytes;
use thane_core::recording::{Entry, Recording};

use super::*;

/// A directory of the test's own, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("thane-recorder-{name}-{}", std::process::id()));
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

fn config() -> Config {
    Config::lan("a", "127.0.0.1:7946".parse().unwrap())
}

fn packet(bytes: usize) -> Input {
    Input::Packet { from: "127.0.0.2:7946".parse().unwrap(), packet: Bytes::from(vec![7; bytes]) }
}

/// How many inputs a recording has, and how it ends.
fn read(file: &[u8]) -> (u64, Option<End>) {
    let mut recording = Recording::open(file).unwrap();
    let mut inputs = 0;
    while let Some(entry) = recording.next_entry().unwrap() {
        inputs += u64::from(matches!(entry, Entry::Input { .. }));
    }
    (inputs, recording.end())
}

#[tokio::test]
async fn a_disk_that_does_not_keep_up_ends_the_recording_without_a_gap() {
    let directory = Directory::new("behind");
    let path = directory.0.join("trace");
    let mut recorder = open(path, u64::MAX).unwrap().start(&config(), Seed::from(1)).unwrap();
    // A writer that hangs: nobody takes anything from the queue.
    let (pieces, waiting) = sync_channel(PIECES_MAX);
    recorder.state.as_mut().unwrap().pieces = pieces;
    let mut told = 0;
    while recorder.state.is_some() {
        recorder.input(Time::ZERO, &packet(60_000));
        told += 1;
        assert!(told < 10_000, "what waits must be bounded");
    }
    for _ in 0..5 {
        recorder.input(Time::ZERO, &packet(1));
    }
    assert_eq!(recorder.unrecorded(), 5);
    // The disk comes back: what waited is whole, and says why nothing follows.
    let mut file: Vec<u8> = waiting.try_iter().flatten().collect();
    recorder.input(Time::ZERO, &packet(1));
    file.extend(waiting.try_iter().flatten());
    assert_eq!(read(&file), (told, Some(End::Behind)));
    recorder.finish().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_disk_that_is_full_ends_the_recording_and_nothing_else() {
    let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let opened = Opened { path: "trace".into(), file, limit: u64::MAX };
    let mut recorder = opened.start(&config(), Seed::from(1)).unwrap();
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while recorder.unrecorded() == 0 {
        recorder.input(Time::ZERO, &packet(PIECE_BYTES));
        assert!(std::time::Instant::now() < end, "the failure never became known");
        std::thread::yield_now();
    }
    recorder.finish().await;
}

#[tokio::test]
async fn what_waits_is_written_when_the_core_is_gone() {
    let directory = Directory::new("dropped");
    let path = directory.0.join("trace");
    let mut recorder = open(path.clone(), u64::MAX).unwrap().start(&config(), Seed::from(1)).unwrap();
    recorder.input(Time::ZERO, &packet(1));
    let finished = std::mem::replace(&mut recorder.finished, oneshot::channel().1);
    // As when a panic unwinds the driver.
    drop(recorder);
    finished.await.unwrap();
    assert_eq!(read(&fs::read(path).unwrap()), (1, None));
}

#[test]
fn other_files_are_left_alone() {
    let directory = Directory::new("other");
    let path = directory.0.join("notes");
    fs::write(&path, "not a recording").unwrap();
    let problem = open(path.clone(), u64::MAX).unwrap_err().to_string();
    assert!(problem.contains("exists and is no recording"), "{problem}");
    assert_eq!(fs::read(&path).unwrap(), b"not a recording");
    let problem = open(directory.0.clone(), u64::MAX).unwrap_err().to_string();
    assert!(problem.contains("exists and is no recording"), "{problem}");
    // The place of the recording before this one.
    let (path, beside) = (directory.0.join("trace"), directory.0.join("trace.1"));
    fs::write(&path, MAGIC).unwrap();
    fs::write(&beside, "not a recording either").unwrap();
    let problem = open(path.clone(), u64::MAX).unwrap_err().to_string();
    assert!(problem.contains("trace.1 exists and is no recording"), "{problem}");
    assert_eq!(
        (fs::read(&path).unwrap(), fs::read(&beside).unwrap()),
        (MAGIC.to_vec(), b"not a recording either".to_vec())
    );
    let problem = open(directory.0.join("missing/trace"), u64::MAX).unwrap_err().to_string();
    assert!(problem.contains("no such file or directory"), "{problem}");
}
