//! The snapshot's file: read at the start, appended to while the node runs.
//!
//! A thread of its own does the writing; the driver hands it records through a bounded queue and never waits. When the queue is
//! full, records are counted and left out, and as soon as there is room the whole state follows. A disk that is full or a file that
//! cannot be written costs one error line; what could not be written is kept, within a limit, and tried again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use thane_core::snapshot::{Marks, Record, Restored, SnapshotLog};
use thane_core::{Event, Measure, Measurements};
use tokio::sync::oneshot;

use crate::error::StartError;
use crate::files;
use crate::keyring_file::file_error;

/// Records that wait for the disk; further ones are left out, and the whole state follows.
const RECORDS_MAX: usize = 2048;
/// How long a line may wait before it is written. (Serf: `snapshot.go`, `flushInterval`; there without a timer.)
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);
/// Longest pause between attempts to write to a disk that does not take it. (Serf: `snapshot.go`, `snapshotErrorRecoveryInterval`.)
const RETRY_MAX: Duration = Duration::from_secs(30);
/// No snapshot is larger; what is, is something else.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// How long a node that stops waits for the disk.
const FINISH_MAX: Duration = Duration::from_secs(5);

/// A file that has been opened and read.
#[derive(Debug)]
pub(crate) struct Opened {
    path: PathBuf,
    file: File,
    log: SnapshotLog,
    /// Length of the file, which ends in a whole line.
    bytes: u64,
}

/// Opens the file, new if there is none, and reads it.
///
/// Of a file that was cut off in the middle of a line, the rest of that line is removed. If there is only the file that a
/// compaction was about to put in its place, that is taken.
pub(crate) fn open(path: PathBuf, rejoin_after_leave: bool) -> Result<Opened, StartError> {
    let wrong = |problem: String| StartError::Snapshot { path: path.clone(), problem };
    let failed = |error: &io::Error| wrong(format!("open {}: {}", path.display(), file_error(error)));
    let compact = files::with_suffix(&path, ".compact");
    if matches!(path.try_exists(), Ok(false)) && matches!(compact.try_exists(), Ok(true)) {
        files::rename(&compact, &path).map_err(|error| failed(&error))?;
        tracing::warn!(target: "thane::serf", kind = "snapshot_recovered", "the snapshot {} is missing; using {}, left by a compaction that was cut off", path.display(), compact.display());
    }
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    files::set_mode(&mut options, 0o644);
    let mut file = options.open(&path).map_err(|error| failed(&error))?;
    let size = file.metadata().map_err(|error| failed(&error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(wrong(format!("{} has {size} bytes; that is no snapshot", path.display())));
    }
    let mut content = Vec::new();
    // It may grow while we read; what follows is not ours.
    (&mut file).take(FILE_BYTES_MAX).read_to_end(&mut content).map_err(|error| failed(&error))?;
    let found = SnapshotLog::replay(&content, rejoin_after_leave);
    warn_of(&path, &found);
    if found.ignored_leave {
        tracing::info!(target: "thane::serf", kind = "snapshot_leave", "Ignoring previous leave in snapshot");
    }
    let bytes = found.whole_bytes as u64;
    if bytes < size {
        file.set_len(bytes).map_err(|error| failed(&error))?;
    }
    Ok(Opened { path, file, log: found.log, bytes })
}

fn warn_of(path: &Path, found: &thane_core::snapshot::Found) {
    for line in &found.skipped {
        tracing::warn!(target: "thane::serf", kind = "snapshot_line", "line {} of the snapshot {} is passed over: {}", line.number, path.display(), line.error);
    }
    let more = found.skipped_count.saturating_sub(found.skipped.len());
    if more > 0 {
        tracing::warn!(target: "thane::serf", kind = "snapshot_line", "{more} more lines of the snapshot {} are passed over", path.display());
    }
    for line in &found.absurd {
        tracing::warn!(target: "thane::serf", kind = "snapshot_line", "the snapshot {} says {line:?}, which cannot be true and is ignored", path.display());
    }
}

impl Opened {
    /// What the node of this name should know of its earlier life.
    pub(crate) fn restored(&self, own_name: &str) -> Restored {
        self.log.restored(own_name)
    }

    /// Starts the thread.
    pub(crate) fn start(self) -> Result<SnapshotWriter, StartError> {
        let (records, received) = sync_channel(RECORDS_MAX);
        let (done, finished) = oneshot::channel();
        let path = self.path.clone();
        let measured = Measured::default();
        let writer = Writer {
            path: self.path,
            file: self.file,
            log: self.log,
            bytes: self.bytes,
            trouble: None,
            compact_after: None,
            unwritable_told: 0,
            measured: Arc::clone(&measured),
        };
        let body = move || {
            writer.run(&received);
            // Nobody waits if the runtime is gone.
            _ = done.send(());
        };
        std::thread::Builder::new()
            .name("thane-snapshot".to_owned())
            .spawn(body)
            .map_err(|error| StartError::Snapshot { path, problem: format!("no thread for it: {error}") })?;
        Ok(SnapshotWriter {
            records,
            finished,
            marks: Marks::default(),
            given_up: 0,
            lost: 0,
            left: false,
            behind: None,
            measured,
        })
    }
}

/// The driver's end.
#[derive(Debug)]
pub(crate) struct SnapshotWriter {
    records: SyncSender<Record>,
    finished: oneshot::Receiver<()>,
    /// Those that were handed over last.
    marks: Marks,
    /// Of the members that are looked for, how many had been given up by then.
    given_up: u64,
    lost: u64,
    left: bool,
    /// Records were left out; since when the state has not been handed over.
    behind: Option<Instant>,
    measured: Measured,
}

impl SnapshotWriter {
    /// Takes note of an event.
    pub(crate) fn event(&mut self, event: &Event) {
        if let Some(record) = Record::of(event) {
            self.hand_over(record);
        }
    }

    /// Takes note of how far the node has come, and makes up for what was left out.
    pub(crate) fn catch_up(&mut self, core: &thane_core::Node) {
        let marks = core.marks();
        if marks != self.marks && self.hand_over(Record::Marks(marks)) {
            self.marks = marks;
        }
        let given_up = core.counters().lost_given_up;
        if given_up != self.given_up {
            // No event tells of them: they are no members.
            self.given_up = given_up;
            self.hand_over(Record::Everything(core.to_restore()));
        }
        if self.behind.is_some_and(|since| since.elapsed() >= FLUSH_INTERVAL) {
            self.behind = None;
            if self.hand_over(Record::Everything(core.to_restore())) && self.left {
                self.hand_over(Record::Leave);
            }
        }
    }

    /// The node leaves.
    pub(crate) fn leave(&mut self) {
        self.left = true;
        self.hand_over(Record::Leave);
    }

    /// How many records were left out because the disk was slow.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// How long writing took since the last call. The first call is what begins it.
    pub(crate) fn take_measurements(&self) -> Measurements {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(measured.get_or_insert_default())
    }

    fn hand_over(&mut self, record: Record) -> bool {
        match self.records.try_send(record) {
            Ok(()) => true,
            // Without its thread, which can only end by a bug of ours, the node does better than none.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.lost += 1;
                self.behind.get_or_insert_with(Instant::now);
                false
            }
        }
    }

    /// Waits, within a limit, until everything is on the disk.
    pub(crate) async fn finish(self) {
        drop(self.records);
        if tokio::time::timeout(FINISH_MAX, self.finished).await.is_err() {
            tracing::error!(target: "thane::serf", kind = "snapshot_error", "the disk does not take the snapshot within {FINISH_MAX:?}; its last lines may be missing");
        }
    }
}

/// What the thread has measured; `None` until somebody wants to know.
type Measured = Arc<Mutex<Option<Measurements>>>;

/// The thread's state.
struct Writer {
    path: PathBuf,
    file: File,
    log: SnapshotLog,
    /// Length of the file without the rest of a write that failed.
    bytes: u64,
    trouble: Option<Trouble>,
    /// A compaction failed; the next may be tried then.
    compact_after: Option<Instant>,
    unwritable_told: u64,
    measured: Measured,
}

/// The disk does not take what we write.
struct Trouble {
    pause: Duration,
    retry_at: Instant,
}

impl Writer {
    fn run(mut self, records: &Receiver<Record>) {
        let mut last_flush: Option<Instant> = None;
        loop {
            let next = match self.flush_due(last_flush) {
                None => records.recv().map_err(|_gone| RecvTimeoutError::Disconnected),
                Some(at) => records.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match next {
                Ok(record) => {
                    let is_leave = record == Record::Leave;
                    self.log.record(record);
                    self.tell_unwritable();
                    if is_leave {
                        self.flush();
                        self.sync();
                        last_flush = Some(Instant::now());
                    }
                    if self.flush_due(last_flush).is_none_or(|at| at > Instant::now()) {
                        continue;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.flush();
            last_flush = Some(Instant::now());
        }
        self.trouble = None;
        self.flush();
        self.sync();
    }

    /// When what waits must be written: half a second after the last time, later in trouble, never if nothing waits.
    fn flush_due(&self, last: Option<Instant>) -> Option<Instant> {
        if !self.log.is_dirty() {
            return None;
        }
        let due = last.map_or_else(Instant::now, |last| last + FLUSH_INTERVAL);
        Some(self.trouble.as_ref().map_or(due, |trouble| trouble.retry_at.max(due)))
    }

    /// Writes what waits; the whole file anew if it has grown too long, or is gone, or too much waits.
    fn flush(&mut self) {
        if self.trouble.as_ref().is_some_and(|trouble| trouble.retry_at > Instant::now()) {
            return;
        }
        let is_gone = matches!(self.path.try_exists(), Ok(false));
        let result = if is_gone || self.log.must_compact() { self.compact() } else { self.append() };
        match result {
            Ok(()) => {
                self.shorten();
                if self.trouble.take().is_some() {
                    tracing::info!(target: "thane::serf", kind = "snapshot_recovered", "the snapshot {} is written again", self.path.display());
                }
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Takes note of how long it took to write something.
    fn measure(&self, measure: Measure, begun: Instant) {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(measurements) = &mut *measured {
            measurements.add_time(measure, begun.elapsed());
        }
    }

    fn append(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        let length = self.file.metadata()?.len();
        if length > self.bytes {
            // The rest of a write that failed, on which our next line must not be glued.
            self.file.set_len(self.bytes)?;
        }
        // Somebody else may have cut it.
        self.bytes = self.bytes.min(length);
        let text = self.log.to_append();
        self.file.write_all(text)?;
        self.bytes += text.len() as u64;
        self.log.appended();
        self.measure(Measure::SnapshotAppend, begun);
        Ok(())
    }

    /// Compacts the file if it has grown too long. A failure costs nothing but room on the disk, and is tried again later.
    fn shorten(&mut self) {
        let may = self.compact_after.is_none_or(|after| after <= Instant::now());
        if !may || !self.log.wants_compaction() {
            return;
        }
        match self.compact() {
            Ok(()) => self.compact_after = None,
            Err(error) => {
                if self.compact_after.is_none() {
                    tracing::error!(target: "thane::serf", kind = "snapshot_error", "the snapshot {} cannot be compacted: {}; it goes on growing. Its directory must be writable", self.path.display(), file_error(&error));
                }
                self.compact_after = Some(Instant::now() + RETRY_MAX);
            }
        }
    }

    /// Puts a shorter file in the place of this one. If that fails this one stays, and stays in use.
    fn compact(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        let text = self.log.compacted();
        let beside = files::with_suffix(&self.path, ".compact");
        files::write_beside(&beside, &self.path, &text, 0o644)?;
        let file = OpenOptions::new().read(true).append(true).open(&beside)?;
        files::rename(&beside, &self.path)?;
        self.file = file;
        self.bytes = text.len() as u64;
        self.log.replaced(self.bytes);
        self.measure(Measure::SnapshotCompact, begun);
        Ok(())
    }

    fn failed(&mut self, error: &io::Error) {
        let pause =
            self.trouble.as_ref().map_or(FLUSH_INTERVAL, |trouble| (trouble.pause * 2).min(RETRY_MAX));
        if self.trouble.is_none() {
            tracing::error!(target: "thane::serf", kind = "snapshot_error", "the snapshot {} cannot be written: {}; make room, or make the file and its directory writable. The node goes on and tries again; if it stops before that works, it may not find its cluster again by itself, and may deliver events again", self.path.display(), file_error(error));
        }
        self.trouble = Some(Trouble { pause, retry_at: Instant::now() + pause });
    }

    fn sync(&mut self) {
        if let Err(error) = self.file.sync_all() {
            self.failed(&error);
        }
    }

    fn tell_unwritable(&mut self) {
        let count = self.log.unwritable();
        if count > 0 && self.unwritable_told == 0 {
            tracing::warn!(target: "thane::serf", kind = "snapshot_name", "a member with a line break in its name is left out of the snapshot: rename it");
        }
        self.unwritable_told = count;
    }
}

#[cfg(test)]
mod tests;
