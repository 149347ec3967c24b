//! A host's disk: the snapshot and the key ring that its processes leave to the next ones, and what goes wrong with writing them.
//!
//! What is written when is as in the crate `thane` (`snapshot.rs`): lines wait up to half a second, a write that fails is tried
//! again after a growing pause, a file that has grown too long is replaced by a shorter one. What a crash leaves differs: a
//! process that ends leaves all that it had written; a machine loses what its kernel had not yet brought to the disk,
//! perhaps up to the middle of a line, and perhaps finds zeros there.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thane_core::snapshot::{Marks, Record, SnapshotLog};
use thane_core::{Keyring, Node, Output, Time};
use thane_wire::keyring_file;

use crate::drive::Input;
use crate::rng::SimRng;
use crate::world::{Crash, Ending, Happening, HostId, Observer, ProcessId, World};

/// How long a line may wait before it is written.
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);
/// Longest pause between attempts to write.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// What a kernel has had for this long is on the disk. (Linux: `vm.dirty_expire_centisecs`.)
const WRITE_BACK: Duration = Duration::from_secs(30);
/// Room that a full disk has left, in bytes: the last write is cut off there.
const LAST_ROOM_BYTES: usize = 40;

/// What is wrong with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskFault {
    /// There is no room: a write is cut off, and those after it bring nothing.
    Full,
    /// Half of all writes fail, after any part of them.
    Failing,
}

/// A write that the disk did not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WriteError;

/// A host's disk, and the process's part that writes to it.
#[derive(Debug)]
pub(crate) struct Disk {
    rejoin_after_leave: bool,
    fault: Option<DiskFault>,
    /// How often it got a fault, so that only the last one is ended.
    faults: u64,
    room: usize,
    snapshot: Vec<u8>,
    keyring: Option<Vec<u8>>,
    /// Lengths of the snapshot and since when the kernel had so much of it, as long as that may not be on the disk. What is
    /// before the first is.
    unsynced: VecDeque<(Time, usize)>,
    /// How much of it is on the disk for certain.
    synced: usize,
    rng: SimRng,
    writer: Option<Writer>,
}

/// What the running process keeps in memory.
#[derive(Debug)]
struct Writer {
    log: SnapshotLog,
    /// Length of the file without the rest of a write that failed.
    bytes: usize,
    marks: Marks,
    trouble: Option<Duration>,
    retry_at: Time,
    last_flush: Option<Time>,
    /// When the next flush is scheduled.
    due: Option<Time>,
}

impl Disk {
    fn new(rejoin_after_leave: bool, rng: SimRng) -> Self {
        Self {
            rejoin_after_leave,
            fault: None,
            faults: 0,
            room: 0,
            snapshot: Vec::new(),
            keyring: None,
            unsynced: VecDeque::new(),
            synced: 0,
            rng,
            writer: None,
        }
    }

    /// How much of this many bytes the disk takes.
    fn takes(&mut self, bytes: usize) -> Result<(), (usize, WriteError)> {
        match self.fault {
            None => Ok(()),
            Some(DiskFault::Full) if bytes <= self.room => {
                self.room -= bytes;
                Ok(())
            }
            Some(DiskFault::Full) => Err((std::mem::take(&mut self.room), WriteError)),
            Some(DiskFault::Failing) if self.rng.chance(0.5) => Ok(()),
            Some(DiskFault::Failing) => Err((self.rng.between(0, bytes), WriteError)),
        }
    }

    /// Appends what waits, or replaces the whole file. False when that failed.
    fn flush(&mut self, now: Time) -> bool {
        let Some(mut writer) = self.writer.take() else { return true };
        writer.last_flush = Some(now);
        let done =
            if writer.log.must_compact() { self.compact(&mut writer) } else { self.append(&mut writer, now) };
        if done.is_ok() {
            writer.trouble = None;
            if writer.log.wants_compaction() {
                // A failure costs nothing but room.
                _ = self.compact(&mut writer);
            }
        } else {
            let pause = writer.trouble.map_or(FLUSH_INTERVAL, |pause| (pause * 2).min(RETRY_MAX));
            writer.trouble = Some(pause);
            writer.retry_at = now + pause;
        }
        self.writer = Some(writer);
        done.is_ok()
    }

    fn append(&mut self, writer: &mut Writer, now: Time) -> Result<(), WriteError> {
        // The rest of a write that failed, on which the next line must not be glued.
        self.snapshot.truncate(writer.bytes);
        let text = writer.log.to_append().to_vec();
        if let Err((part, error)) = self.takes(text.len()) {
            self.snapshot.extend_from_slice(&text[..part]);
            return Err(error);
        }
        self.snapshot.extend_from_slice(&text);
        writer.bytes = self.snapshot.len();
        writer.log.appended();
        self.unsynced.push_back((now, writer.bytes));
        while let Some(&(since, bytes)) = self.unsynced.front()
            && now.since(since) >= WRITE_BACK
        {
            self.synced = bytes;
            self.unsynced.pop_front();
        }
        Ok(())
    }

    fn compact(&mut self, writer: &mut Writer) -> Result<(), WriteError> {
        let text = writer.log.compacted();
        self.takes(text.len()).map_err(|(_, error)| error)?;
        writer.bytes = text.len();
        writer.log.replaced(text.len() as u64);
        self.snapshot = text;
        self.sync();
        Ok(())
    }

    fn sync(&mut self) {
        self.unsynced.clear();
        self.synced = self.snapshot.len();
    }

    /// What a machine that goes down leaves of the file. True when something was lost.
    fn lose_unsynced(&mut self, now: Time) -> bool {
        while let Some(&(since, bytes)) = self.unsynced.front()
            && now.since(since) >= WRITE_BACK
        {
            self.synced = bytes;
            self.unsynced.pop_front();
        }
        self.unsynced.clear();
        let length = self.snapshot.len();
        let kept = self.rng.between(self.synced.min(length), length);
        self.snapshot.truncate(kept);
        if kept < length && self.rng.chance(0.2) {
            // The length of the file came to the disk, its bytes did not.
            self.snapshot.resize(length, 0);
        }
        self.synced = self.snapshot.len();
        kept < length
    }

    fn empty(&mut self) {
        self.snapshot.clear();
        self.keyring = None;
        self.sync();
    }

    /// Reads the snapshot as a process that starts does, and begins to write it.
    fn open(&mut self, name: &str) -> thane_core::snapshot::Restored {
        let found = SnapshotLog::replay(&self.snapshot, self.rejoin_after_leave);
        self.snapshot.truncate(found.whole_bytes);
        self.synced = self.synced.min(found.whole_bytes);
        self.unsynced.retain_mut(|(_, bytes)| {
            *bytes = (*bytes).min(found.whole_bytes);
            *bytes > 0
        });
        let restored = found.log.restored(name);
        self.writer = Some(Writer {
            log: found.log,
            bytes: found.whole_bytes,
            marks: Marks::default(),
            trouble: None,
            retry_at: Time::ZERO,
            last_flush: None,
            due: None,
        });
        restored
    }

    fn keyring(&self) -> Option<Keyring> {
        keyring_file::parse(self.keyring.as_deref()?).ok()
    }

    fn write_keyring(&mut self, keyring: &Keyring) -> Result<(), String> {
        let text = keyring_file::encode(keyring).into_bytes();
        // Written beside the old file, and then put in its place.
        self.takes(text.len()).map_err(|(_, WriteError)| "no space left on device".to_owned())?;
        self.keyring = Some(text);
        Ok(())
    }
}

impl<O: Observer> World<O> {
    /// Gives a host a disk, on which its processes keep a snapshot and their key ring. Only [`World::restart`] gives them to
    /// the next process.
    pub fn add_disk(&mut self, host: HostId, rejoin_after_leave: bool) {
        let rng = SimRng::new(self.seed, "disk", u64::from(host.0));
        let it = &mut self.hosts[host.index()];
        it.disk = Some(Box::new(Disk::new(rejoin_after_leave, rng)));
        it.config.persist_keyring = true;
    }

    /// Starts a new process with the files of the last one: it goes on with the keys of its key ring file, and looks
    /// for the members of its snapshot. As [`World::start`] when the host has no disk, or nothing is on it.
    ///
    /// # Panics
    /// When one is running there.
    pub fn restart(&mut self, host: HostId) -> ProcessId {
        let on_disk = self.hosts[host.index()].disk.as_ref();
        if on_disk.is_some_and(|disk| !disk.snapshot.is_empty() || disk.keyring.is_some()) {
            self.tally.restores += 1;
        }
        self.start_process(host)
    }

    /// A disk is full or fails, for this long. The last call holds. Does nothing to a host without a disk.
    pub fn break_disk(&mut self, host: HostId, fault: DiskFault, span: Duration) {
        let Some(disk) = &mut self.hosts[host.index()].disk else { return };
        disk.faults += 1;
        disk.fault = Some(fault);
        disk.room = disk.rng.below(LAST_ROOM_BYTES);
        let number = disk.faults;
        self.tally.disk_faults += 1;
        self.schedule(self.now + span, Happening::DiskMended { host, number });
    }

    /// What the snapshot on a host's disk holds now.
    pub fn snapshot(&self, host: HostId) -> Option<&[u8]> {
        self.hosts[host.index()].disk.as_ref().map(|disk| disk.snapshot.as_slice())
    }

    pub(crate) fn disk_mended(&mut self, host: HostId, number: u64) {
        if let Some(disk) = self.hosts[host.index()].disk.as_mut().filter(|disk| disk.faults == number) {
            disk.fault = None;
        }
    }

    /// Empties the files of a host on which a process starts that should know nothing.
    pub(crate) fn empty_disk(&mut self, host: HostId) {
        if let Some(disk) = &mut self.hosts[host.index()].disk {
            disk.empty();
        }
    }

    /// The keys with which the next process on a host starts, when its files have some.
    pub(crate) fn keys_on_disk(&self, host: HostId) -> Option<Keyring> {
        self.hosts[host.index()].disk.as_ref().and_then(|disk| disk.keyring())
    }

    /// Gives a new node what the snapshot holds, before anything else happens to it.
    pub(crate) fn read_disk(&mut self, host: HostId, node: &mut Node, now: Time) {
        let it = &mut self.hosts[host.index()];
        if let Some(disk) = &mut it.disk {
            let restored = disk.open(&it.config.name);
            node.restore(now, restored);
        }
    }

    /// Takes note of what is to be written down of an output.
    pub(crate) fn note_on_disk(&mut self, process: ProcessId, output: &Output) {
        let Some(disk) = &mut self.hosts[process.host.index()].disk else { return };
        match output {
            Output::Event(event) => {
                if let (Some(writer), Some(record)) = (&mut disk.writer, Record::of(event)) {
                    writer.log.record(record);
                }
            }
            Output::PersistKeyring { token, keyring } => {
                let result = disk.write_keyring(keyring);
                self.tally.disk_errors += u64::from(result.is_err());
                let took = self.rng.span(Duration::from_micros(100), Duration::from_millis(20));
                let token = *token;
                self.schedule(self.now + took, Happening::KeyringWritten { process, token, result });
            }
            _ => {}
        }
    }

    pub(crate) fn keyring_written(&mut self, process: ProcessId, token: u64, result: Result<(), String>) {
        if self.is_current(process) {
            self.give(process.host, Input::KeyringWritten { token, result });
        }
    }

    /// Takes note of how far a node has come, after an input.
    pub(crate) fn catch_up_on_disk(&mut self, process: ProcessId, node: &Node) {
        let Some(disk) = &mut self.hosts[process.host.index()].disk else { return };
        let Some(writer) = &mut disk.writer else { return };
        let marks = node.marks();
        if marks != writer.marks {
            writer.log.record(Record::Marks(marks));
            writer.marks = marks;
        }
        self.schedule_flush(process);
    }

    fn schedule_flush(&mut self, process: ProcessId) {
        let now = self.now;
        let disk = self.hosts[process.host.index()].disk.as_mut();
        let Some(writer) = disk.and_then(|disk| disk.writer.as_mut()) else { return };
        if writer.due.is_some() || !writer.log.is_dirty() {
            return;
        }
        let due = writer.last_flush.map_or(now, |last| last + FLUSH_INTERVAL).max(now);
        let due = if writer.trouble.is_some() { due.max(writer.retry_at) } else { due };
        writer.due = Some(due);
        self.schedule(due, Happening::Flush { process, due });
    }

    /// Writes what waits. A process that is paused writes nothing.
    pub(crate) fn flush(&mut self, process: ProcessId, due: Time) {
        if !self.is_current(process) {
            return;
        }
        let it = &mut self.hosts[process.host.index()];
        let paused_until = it.paused_until;
        let Some(disk) = &mut it.disk else { return };
        let Some(writer) = disk.writer.as_mut().filter(|writer| writer.due == Some(due)) else { return };
        if let Some(until) = paused_until {
            writer.due = Some(until);
            self.schedule(until, Happening::Flush { process, due: until });
            return;
        }
        writer.due = None;
        self.tally.disk_writes += 1;
        if !disk.flush(self.now) {
            self.tally.disk_errors += 1;
        }
        self.schedule_flush(process);
    }

    /// A node has begun to leave: that is brought to the disk at once.
    pub(crate) fn leave_on_disk(&mut self, host: HostId) {
        let now = self.now;
        let Some(disk) = &mut self.hosts[host.index()].disk else { return };
        if let Some(writer) = &mut disk.writer {
            writer.log.record(Record::Leave);
            if disk.flush(now) {
                disk.sync();
            }
        }
    }

    /// What is on the disk once the process has ended.
    pub(crate) fn close_disk(&mut self, host: HostId, ending: Ending) {
        let now = self.now;
        let Some(disk) = &mut self.hosts[host.index()].disk else { return };
        match ending {
            Ending::Left | Ending::Stopped => {
                if disk.flush(now) {
                    disk.sync();
                }
            }
            Ending::Crashed(Crash::Process) => {}
            Ending::Crashed(Crash::Machine) => {
                let torn = disk.lose_unsynced(now);
                self.tally.snapshots_torn += u64::from(torn);
            }
        }
        disk.writer = None;
    }
}
