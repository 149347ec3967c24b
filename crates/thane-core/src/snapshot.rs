//! What a node writes down so that it finds its cluster again and takes nothing twice: the text of a snapshot file, without
//! the file.
//!
//! The node says what happens ([`Record`]); a [`SnapshotLog`] turns that into lines in Serf's format, knows when the file has
//! grown too long, and gives the text of a shorter one. Who owns the log does the writing:
//!
//! ```
//! use thane_core::snapshot::{Marks, Record, SnapshotLog};
//!
//! let found = SnapshotLog::replay(b"alive: web-2 10.0.0.2:7946\nevent-clock: 7\nalive: web", false);
//! assert_eq!(found.whole_bytes, 42, "what follows was cut off: remove it before appending");
//! let mut log = found.log;
//! assert_eq!(log.restored("web-1").alive[0].addr, "10.0.0.2:7946".parse().unwrap());
//!
//! log.record(Record::Marks(Marks { event: 8, ..Marks::default() }));
//! assert_eq!(log.to_append(), b"event-clock: 8\n");
//! ```
//!
//! Beside Serf's lines there are remarks, which Serf passes over: `# failed: NAME ADDRESS`, a member that failed and may come
//! back; `# lost: NAME ADDRESS`, one that failed so long ago that it was forgotten; `# incarnation: N`, our own; `# seen: TIME DIGEST`, a user event that was delivered; and `# declined: TIME`, up to which
//! events are not told one by one, because they were all delivered, or declined as history.
//! Source: Serf `snapshot.go`.

mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

pub use thane_wire::snapshot::SkippedLine;
use thane_wire::snapshot::{self, Line, LineError, address_text};

use self::seen::Seen;
pub use self::seen::SeenEvent;
use crate::event::{Cause, Change, Event};
use crate::lamport::LAMPORT_JUMP_MAX;
use crate::member::Status;
use crate::node::LOST_MAX;

/// A file shorter than this is never compacted, in bytes. (Serf: `snapshot.go`, `snapshotCompactionThreshold`.)
const COMPACTION_BYTES_MIN: u64 = 128 * 1024;
/// A file is compacted when it has more bytes than this for each member. (Serf: `snapshot.go`, `snapshotBytesPerNode`, twice.)
const BYTES_PER_MEMBER_MAX: u64 = 2 * 128;
/// Lines that may wait to be appended, in bytes. When there are more, they are given up for a compaction, which says the same.
const WAITING_BYTES_MAX: usize = 256 * 1024;
/// Largest incarnation that is believed of a file: a damaged one must not take us to the end of the numbers.
const INCARNATION_MAX: u32 = 1 << 31;

/// How far a node has come: the newest times that it need not see again, and its incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// Newest time seen on the member clock.
    pub member: u64,
    /// Newest time of a user event that was delivered, or declined as history.
    pub event: u64,
    /// User events up to this time are not wanted again: all were delivered, or declined as history. Of later ones
    /// [`Restored::seen`] tells which were delivered.
    pub declined: u64,
    /// Newest time of a query that was taken, or declined as history.
    pub query: u64,
    /// The node's own incarnation.
    pub incarnation: u32,
}

/// A member of an earlier life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name; empty if an old file does not tell it.
    pub name: Arc<str>,
    /// Where it was reached.
    pub addr: SocketAddr,
}

/// What a restarted node is told of its earlier life, see [`crate::Node::restore`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// How far it had come.
    pub marks: Marks,
    /// Members that were alive then.
    pub alive: Vec<Peer>,
    /// Members that had failed then, and had not been forgotten.
    pub failed: Vec<Peer>,
    /// Members that failed and were forgotten, and are still looked for.
    pub lost: Vec<Peer>,
    /// User events later than [`Marks::declined`] that were delivered.
    pub seen: Vec<SeenEvent>,
}

/// Something to write down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A member is alive, at this address.
    Alive(Peer),
    /// A member failed.
    Failed(Peer),
    /// A member that failed was forgotten, as its time was over.
    Lost(Peer),
    /// A member left, or was forgotten in another way.
    Gone(Arc<str>),
    /// A user event was delivered.
    Seen(SeenEvent),
    /// How far the node has come.
    Marks(Marks),
    /// The node leaves. From here on only marks are written.
    Leave,
    /// The whole state, after some records were lost. Members that it does not list are gone.
    Everything(Restored),
}

impl Record {
    /// What is to be written down of an event; nothing of most.
    pub fn of(event: &Event) -> Option<Self> {
        // The address at which we reach it: that is what is wanted after a restart.
        let peer =
            |member: &crate::Member| Peer { name: Arc::clone(&member.name), addr: member.reached_at() };
        match event {
            // Differs from Serf: there a new address is only seen when the member joins again.
            Event::Joined(change) | Event::Updated(change) => Some(Self::Alive(peer(&change.member))),
            Event::Failed(change) => Some(Self::Failed(peer(&change.member))),
            Event::Reaped(Change { member, cause: Cause::TimedOut { .. } })
                if member.status == Status::Failed =>
            {
                Some(Self::Lost(peer(member)))
            }
            Event::Left(change) | Event::Reaped(change) => Some(Self::Gone(Arc::clone(&change.member.name))),
            Event::User(event) => Some(Self::Seen(SeenEvent::of(event.ltime, &event.name, &event.payload))),
            Event::Suspected(_) | Event::Refuted(_) | Event::Query(_) => None,
        }
    }
}

/// What was found in a file.
#[derive(Debug)]
pub struct Found {
    /// The log, as it stands at the end of the file.
    pub log: SnapshotLog,
    /// Length in bytes of the file up to its last newline. What follows was cut off in the middle of a line.
    pub whole_bytes: usize,
    /// The first lines that could not be read.
    pub skipped: Vec<SkippedLine>,
    /// How many could not be read.
    pub skipped_count: usize,
    /// Whether the node had left, and is to look for the others all the same.
    pub ignored_leave: bool,
    /// Clocks or an incarnation too large to be true, which are taken as absent.
    pub absurd: Vec<String>,
}

/// The lines of a snapshot.
#[derive(Debug, Default)]
pub struct SnapshotLog {
    rejoin_after_leave: bool,
    /// Addresses by name. Those of a file are kept as they were found.
    alive: BTreeMap<String, String>,
    failed: BTreeMap<String, String>,
    /// At most [`LOST_MAX`].
    lost: BTreeMap<String, String>,
    seen: Seen,
    marks: Marks,
    /// What of that the file (with what waits for it) says.
    written: Marks,
    left: bool,
    /// Lines that are not in the file yet.
    waiting: Vec<u8>,
    /// Lines were given up: only a compacted file says what they said.
    must_compact: bool,
    file_bytes: u64,
    unwritable: u64,
}

impl SnapshotLog {
    /// Reads a file. A `leave` in it forgets what came before, unless `rejoin_after_leave`.
    pub fn replay(file: &[u8], rejoin_after_leave: bool) -> Found {
        let replayed = snapshot::replay(file, rejoin_after_leave);
        let mut log = Self {
            rejoin_after_leave,
            alive: replayed.alive,
            file_bytes: replayed.whole_bytes as u64,
            ..Self::default()
        };
        let ignored_leave = log.read_remarks(&file[..replayed.whole_bytes]);
        let mut absurd = Vec::new();
        let clocks = [
            ("clock", replayed.clock, &mut log.marks.member),
            ("event-clock", replayed.event_clock, &mut log.marks.event),
            ("query-clock", replayed.query_clock, &mut log.marks.query),
        ];
        for (what, value, mark) in clocks {
            if value > LAMPORT_JUMP_MAX {
                absurd.push(format!("{what}: {value}"));
            } else {
                *mark = value;
            }
        }
        if log.marks.incarnation > INCARNATION_MAX {
            absurd.push(format!("# incarnation: {}", log.marks.incarnation));
            log.marks.incarnation = 0;
        }
        _ = log.seen.take_unwritten();
        _ = log.seen.take_given_up();
        log.written = log.marks;
        (log.marks.event, log.marks.declined) = log.dealt_with();
        let declined = log.marks.declined;
        log.seen.forget_up_to(declined);
        Found {
            log,
            whole_bytes: replayed.whole_bytes,
            skipped: replayed.skipped,
            skipped_count: replayed.skipped_count,
            ignored_leave,
            absurd,
        }
    }

    /// Our own remarks, and the lines that overrule them. Whether a leave was passed over.
    fn read_remarks(&mut self, file: &[u8]) -> bool {
        let mut ignored_leave = false;
        // In a life that ended with a leave, all that it heard is the past.
        let mut is_over = false;
        for line in file.split(|byte| *byte == b'\n') {
            match Line::parse(line) {
                Ok(Line::Comment(text)) if is_over && text.starts_with(" seen: ") => {}
                Ok(Line::Comment(text)) => self.read_remark(text),
                Ok(Line::Alive { name, .. } | Line::NotAlive { name }) => {
                    is_over = false;
                    self.failed.remove(name);
                    self.lost.remove(name);
                }
                Ok(Line::EventClock(ltime)) if ltime <= LAMPORT_JUMP_MAX => {
                    self.marks.event = ltime;
                    // Held against what is told up to this line: later lines may be ours again.
                    (_, self.marks.declined) = self.dealt_with();
                }
                Ok(Line::Leave) if self.rejoin_after_leave => ignored_leave = true,
                Ok(Line::Leave) => {
                    is_over = true;
                    self.failed.clear();
                    self.lost.clear();
                    self.seen.clear();
                    self.marks.declined = 0;
                }
                _ => {}
            }
        }
        ignored_leave
    }

    fn read_remark(&mut self, text: &str) {
        let Some((what, rest)) = text.split_once(": ") else { return };
        let believed = |ltime: &u64| *ltime <= LAMPORT_JUMP_MAX;
        match what {
            " failed" | " lost" => {
                let Some((name, addr)) = rest.rsplit_once(' ') else { return };
                self.failed.remove(name);
                if what == " lost" {
                    self.insert_lost(name, addr);
                } else {
                    self.lost.remove(name);
                    self.failed.insert(name.to_owned(), addr.to_owned());
                }
            }
            " incarnation" => self.marks.incarnation = rest.parse().unwrap_or(self.marks.incarnation),
            " seen" => {
                if let Some(event) = SeenEvent::parse(rest).filter(|event| believed(&event.ltime)) {
                    self.saw(event);
                }
            }
            " declined" => {
                if let Some(ltime) = rest.parse().ok().filter(believed) {
                    self.marks.declined = self.marks.declined.max(ltime);
                }
            }
            _ => {}
        }
    }

    fn saw(&mut self, event: SeenEvent) {
        if let Some(given_up) = self.seen.insert(event) {
            self.marks.declined = self.marks.declined.max(given_up);
        }
    }

    /// The newest time of an event that was delivered or declined, and the time up to which all were. When the clock has moved
    /// past every event that is told, somebody else has written it (Serf tells no events), or we had left: then nothing up to it
    /// is wanted again.
    fn dealt_with(&self) -> (u64, u64) {
        let told = self.marks.declined.max(self.seen.newest().unwrap_or(0));
        let declined = if self.marks.event > told { self.marks.event } else { self.marks.declined };
        (self.marks.event.max(told), declined)
    }

    /// What the node of this name should know of its earlier life. Members whose address cannot be read are left out.
    pub fn restored(&self, own_name: &str) -> Restored {
        let peers = |of: &BTreeMap<String, String>| -> Vec<Peer> {
            let others = of.iter().filter(|(name, _)| *name != own_name);
            others
                .filter_map(|(name, addr)| {
                    Some(Peer { name: name.as_str().into(), addr: addr.parse().ok()? })
                })
                .collect()
        };
        let (event, declined) = self.dealt_with();
        Restored {
            marks: Marks { event, declined, ..self.marks },
            alive: peers(&self.alive),
            failed: peers(&self.failed),
            lost: peers(&self.lost),
            seen: self.seen.iter().filter(|event| event.ltime > declined).collect(),
        }
    }

    /// Takes something to be written.
    pub fn record(&mut self, record: Record) {
        match record {
            Record::Marks(marks) => self.mark(marks),
            Record::Leave => self.leave(),
            Record::Everything(state) => self.replace(&state),
            // Events are delivered until the end. Differs from Serf: it does not note them.
            Record::Seen(event) if self.left && self.rejoin_after_leave => self.saw(event),
            // What others do while we leave is no longer our business. (Serf: snapshot.go, Leave.)
            _ if self.left => {}
            Record::Alive(peer) => self.alive(&peer),
            Record::Failed(peer) => self.failed(&peer),
            Record::Lost(peer) => self.lost(&peer),
            Record::Seen(event) => self.saw(event),
            Record::Gone(name) => self.gone(&name),
        }
    }

    fn mark(&mut self, marks: Marks) {
        self.marks = Marks {
            member: self.marks.member.max(marks.member),
            event: self.marks.event.max(marks.event),
            declined: self.marks.declined.max(marks.declined),
            query: self.marks.query.max(marks.query),
            incarnation: self.marks.incarnation.max(marks.incarnation),
        };
    }

    fn alive(&mut self, peer: &Peer) {
        let addr = address_text(peer.addr);
        let has_failed = self.failed.remove(&*peer.name).is_some();
        self.lost.remove(&*peer.name);
        if !has_failed && self.alive.get(&*peer.name) == Some(&addr) {
            return;
        }
        if self.write(Line::Alive { name: &peer.name, addr: &addr }) {
            self.alive.insert(peer.name.to_string(), addr);
        }
    }

    fn failed(&mut self, peer: &Peer) {
        self.gone(&peer.name);
        let addr = address_text(peer.addr);
        let remark = failed_remark(&peer.name, &addr);
        if self.write(Line::Comment(&remark)) {
            self.failed.insert(peer.name.to_string(), addr);
        }
    }

    fn lost(&mut self, peer: &Peer) {
        if self.alive.contains_key(&*peer.name) {
            self.gone(&peer.name);
        }
        let addr = address_text(peer.addr);
        if self.write(Line::Comment(&lost_remark(&peer.name, &addr))) {
            self.failed.remove(&*peer.name);
            self.insert_lost(&peer.name, &addr);
        }
    }

    /// Whichever has to make room is in the file until it is compacted.
    fn insert_lost(&mut self, name: &str, addr: &str) {
        if self.lost.len() >= LOST_MAX && !self.lost.contains_key(name) {
            self.lost.pop_first();
        }
        self.lost.insert(name.to_owned(), addr.to_owned());
    }

    fn gone(&mut self, name: &str) {
        let was_alive = self.alive.remove(name).is_some();
        let had_failed = self.failed.remove(name).is_some();
        let was_lost = self.lost.remove(name).is_some();
        if was_alive || had_failed || was_lost {
            self.write(Line::NotAlive { name });
        }
    }

    fn leave(&mut self) {
        if std::mem::replace(&mut self.left, true) {
            return;
        }
        if !self.rejoin_after_leave {
            self.alive.clear();
            self.failed.clear();
            self.lost.clear();
            self.seen.clear();
        }
        self.write(Line::Leave);
        // Differs from Serf, where a node that left and returns may take old user events again: whoever reads the leave forgets the
        // clocks before it, so they follow it anew.
        self.written = Marks { incarnation: self.written.incarnation, ..Marks::default() };
    }

    /// Writes the difference to what is known.
    fn replace(&mut self, state: &Restored) {
        self.mark(state.marks);
        if self.left {
            return;
        }
        for event in &state.seen {
            self.saw(*event);
        }
        let listed = state.alive.iter().chain(&state.failed).chain(&state.lost);
        let listed: BTreeSet<&str> = listed.map(|peer| &*peer.name).collect();
        let known = self.alive.keys().chain(self.failed.keys()).chain(self.lost.keys());
        let gone: Vec<String> = known.filter(|name| !listed.contains(name.as_str())).cloned().collect();
        for name in gone {
            self.gone(&name);
        }
        for peer in &state.alive {
            self.alive(peer);
        }
        for peer in &state.failed {
            if !self.failed.contains_key(&*peer.name) {
                self.failed(peer);
            }
        }
        for peer in &state.lost {
            if !self.lost.contains_key(&*peer.name) {
                self.lost(peer);
            }
        }
    }

    /// Whether the line could be written; if not, it is counted.
    fn write(&mut self, line: Line<'_>) -> bool {
        let written = line.encode(&mut self.waiting);
        self.unwritable += u64::from(written.is_err());
        if self.waiting.len() > WAITING_BYTES_MAX {
            self.waiting = Vec::new();
            self.must_compact = true;
        }
        written.is_ok()
    }

    /// What the file lacks. After appending it, call [`SnapshotLog::appended`]; if that did not work, this gives it again, with
    /// what was recorded since.
    pub fn to_append(&mut self) -> &[u8] {
        let (new, old) = (self.marks, self.written);
        // Before the clock: a file that breaks off in between must not seem to have been written by somebody else. Also when no
        // event is left to be told: the file may tell some that have been given up since.
        if new.declined > old.declined && (self.seen.take_given_up() || !self.seen.is_empty()) {
            self.write(Line::Comment(&declined_remark(new.declined)));
        }
        for event in self.seen.take_unwritten() {
            self.write(Line::Comment(&event.remark()));
        }
        let clocks = [
            (new.member > old.member, Line::Clock(new.member)),
            (new.event > old.event, Line::EventClock(new.event)),
            (new.query > old.query, Line::QueryClock(new.query)),
        ];
        for (_, line) in clocks.into_iter().filter(|(moved, _)| *moved) {
            self.write(line);
        }
        if new.incarnation > old.incarnation {
            self.write(Line::Comment(&incarnation_remark(new.incarnation)));
        }
        self.written = new;
        &self.waiting
    }

    /// All that was to be appended is in the file.
    pub fn appended(&mut self) {
        self.file_bytes += self.waiting.len() as u64;
        self.waiting = Vec::new();
    }

    /// Whether the file lacks anything.
    pub fn is_dirty(&self) -> bool {
        !self.waiting.is_empty()
            || self.seen.has_unwritten()
            || self.marks != self.written
            || self.must_compact
    }

    /// Whether too much waited, so that nothing but [`SnapshotLog::compacted`] holds all of it.
    pub fn must_compact(&self) -> bool {
        self.must_compact
    }

    /// Whether the node has left.
    pub fn has_left(&self) -> bool {
        self.left
    }

    /// Whether the file is so long, for what it says, that it should be replaced by [`SnapshotLog::compacted`].
    pub fn wants_compaction(&self) -> bool {
        let members = self.alive.len() + self.failed.len() + self.lost.len();
        self.file_bytes > COMPACTION_BYTES_MIN.max(BYTES_PER_MEMBER_MAX * members as u64)
    }

    /// The text of a file that says the same as the present one with all that waits. After putting it in the file's place, call
    /// [`SnapshotLog::replaced`].
    pub fn compacted(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let lines = |line: Line<'_>, text: &mut Vec<u8>| -> Result<(), LineError> { line.encode(text) };
        for (name, addr) in &self.alive {
            // What is in the maps has been written before, so it can be.
            _ = lines(Line::Alive { name, addr }, &mut text);
        }
        for (name, addr) in &self.failed {
            _ = lines(Line::Comment(&failed_remark(name, addr)), &mut text);
        }
        for (name, addr) in &self.lost {
            _ = lines(Line::Comment(&lost_remark(name, addr)), &mut text);
        }
        if self.left {
            _ = lines(Line::Leave, &mut text);
        }
        let Marks { member, event, query, incarnation, declined } = self.marks;
        if !self.seen.is_empty() {
            _ = lines(Line::Comment(&declined_remark(declined)), &mut text);
        }
        for event in self.seen.iter() {
            _ = lines(Line::Comment(&event.remark()), &mut text);
        }
        for line in [Line::Clock(member), Line::EventClock(event), Line::QueryClock(query)] {
            _ = lines(line, &mut text);
        }
        if incarnation > 0 {
            _ = lines(Line::Comment(&incarnation_remark(incarnation)), &mut text);
        }
        text
    }

    /// The file now holds [`SnapshotLog::compacted`], of this length in bytes, and nothing was recorded in between.
    pub fn replaced(&mut self, bytes: u64) {
        self.file_bytes = bytes;
        self.waiting = Vec::new();
        _ = self.seen.take_unwritten();
        self.must_compact = false;
        _ = self.seen.take_given_up();
        self.written = self.marks;
    }

    /// How many records could not be written because of a line break in a member's name.
    pub fn unwritable(&self) -> u64 {
        self.unwritable
    }
}

fn lost_remark(name: &str, addr: &str) -> String {
    format!(" lost: {name} {addr}")
}

fn failed_remark(name: &str, addr: &str) -> String {
    format!(" failed: {name} {addr}")
}

fn declined_remark(ltime: u64) -> String {
    format!(" declined: {ltime}")
}

fn incarnation_remark(incarnation: u32) -> String {
    format!(" incarnation: {incarnation}")
}
