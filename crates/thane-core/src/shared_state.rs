//! State exchanges among nodes of one process that hold the same of all members: written once for all of them, and not read at all
//! by those that know it already.
//!
//! In a cluster at rest every node sends the same list and has nothing to learn from the one it gets. Among n simulated nodes that is
//! n lists of n records in every interval, by far the most that there is to do. So nodes with one [`crate::Interner`] keep the last few
//! lists in it. A node that holds just what a list says sends that one. A node that is given the very bytes of one of them
//! looks at the list instead, and reads only of those members of whom it does not hold just what is said there. Anything else is written and
//! read in full.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use thane_wire::stream::Role;

use crate::entry::Entry;
use crate::interner::Identity;
use crate::member::{State, Status};
use crate::table::Table;

/// From how many members on lists are shared.
pub(crate) const SHARED_MEMBERS_MIN: usize = 64;
/// How many lists, and how many messages with them, are kept.
const KEPT: usize = 32;

/// What a node holds of all members, as far as others are told.
#[derive(Debug)]
pub(crate) struct Roll {
    /// Each where its name's number in the interner puts it.
    listed: Vec<Option<Listed>>,
    count: usize,
    /// Of all that is listed. Those of other lists differ, as good as always.
    digest: u64,
}

/// What is listed of one member.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) identity: Arc<Identity>,
    pub(crate) incarnation: u32,
    pub(crate) state: State,
    pub(crate) status: Option<Status>,
    pub(crate) status_ltime: u64,
}

impl Listed {
    fn of(entry: &Entry) -> Self {
        Self {
            identity: entry.identity().clone(),
            incarnation: entry.incarnation,
            state: entry.state,
            status: entry.status,
            status_ltime: entry.status_ltime,
        }
    }

    fn is(&self, entry: &Entry) -> bool {
        self.incarnation == entry.incarnation
            && self.state == entry.state
            && self.status == entry.status
            && self.status_ltime == entry.status_ltime
            && (Arc::ptr_eq(&self.identity, entry.identity()) || self.identity == *entry.identity())
    }
}

/// A number that most likely differs for tables that differ in more than what members announce.
fn digest_of(table: &Table) -> u64 {
    let of_entry = |entry: &Entry| {
        let number = u64::from(entry.number().unwrap_or(u32::MAX));
        let states = (entry.state as u64) << 8 | entry.status.map_or(255, |status| status as u64);
        let first = (number << 32 | u64::from(entry.incarnation)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let second = (entry.status_ltime << 16 | states).wrapping_mul(0xa076_1d64_78bd_642f);
        (first ^ second.rotate_left(32)).wrapping_mul(0xe703_7ed1_a0b4_28db)
    };
    table.iter().fold(0, |sum, (_, entry)| sum.wrapping_add(of_entry(entry)))
}

impl Roll {
    /// What a table holds; `None` if one of its members has no number.
    fn of(table: &Table, digest: u64) -> Option<Self> {
        let mut listed = Vec::with_capacity(table.len());
        for (_, entry) in table.iter() {
            let number = entry.number()? as usize;
            if listed.len() <= number {
                listed.resize_with(number + 1, || None);
            }
            listed[number] = Some(Listed::of(entry));
        }
        Some(Self { listed, count: table.len(), digest })
    }

    /// What it holds, by the numbers of names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Listed> {
        self.listed.iter().flatten()
    }

    fn listed_of(&self, entry: &Entry) -> Option<(usize, &Listed)> {
        let number = entry.number()? as usize;
        Some((number, self.listed.get(number)?.as_ref()?))
    }

    /// Whether a table holds the same.
    fn is_of(&self, table: &Table) -> bool {
        self.count == table.len()
            && table
                .iter()
                .all(|(_, entry)| self.listed_of(entry).is_some_and(|(_, listed)| listed.is(entry)))
    }

    /// Those of whom a table does not hold the same, and all suspects: an accusation counts even if it is known.
    fn unlike(&self, table: &Table) -> Vec<&Listed> {
        let mut alike = vec![0_u64; self.listed.len().div_ceil(64)];
        for (_, entry) in table.iter() {
            if let Some((number, listed)) = self.listed_of(entry)
                && listed.is(entry)
                && listed.state != State::Suspect
            {
                alike[number / 64] |= 1 << (number % 64);
            }
        }
        let places = self.listed.iter().enumerate();
        let unlike = places.filter(|(number, _)| alike[number / 64] & 1 << (number % 64) == 0);
        unlike.filter_map(|(_, listed)| listed.as_ref()).collect()
    }
}

/// What else decides about the bytes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) role: Role,
    pub(crate) join: bool,
    pub(crate) compression: bool,
    pub(crate) label: String,
    /// Serf's half, without the members.
    pub(crate) user_state: Bytes,
}

/// A message that many nodes send.
#[derive(Debug)]
pub(crate) struct SharedMessage {
    pub(crate) form: Form,
    roll: Arc<Roll>,
    pub(crate) bytes: Bytes,
}

impl SharedMessage {
    /// Whether this piece lies in it from there on.
    pub(crate) fn has_at(&self, at: usize, piece: &[u8]) -> bool {
        let there = self.bytes.get(at..at.saturating_add(piece.len()));
        there.is_some_and(|there| std::ptr::eq(there, piece))
    }
}

/// The last few lists and messages.
#[derive(Debug, Default)]
pub(crate) struct SharedStates {
    rolls: VecDeque<Arc<Roll>>,
    messages: VecDeque<Arc<SharedMessage>>,
}

impl SharedStates {
    fn roll_of(&mut self, table: &Table) -> Option<Arc<Roll>> {
        let digest = digest_of(table);
        if let Some(known) = self.rolls.iter().find(|roll| roll.digest == digest && roll.is_of(table)) {
            return Some(known.clone());
        }
        let roll = Arc::new(Roll::of(table, digest)?);
        keep(&mut self.rolls, roll.clone());
        Some(roll)
    }

    pub(crate) fn message(&self, roll: &Arc<Roll>, form: &Form) -> Option<Bytes> {
        let mut messages = self.messages.iter();
        let known = messages.find(|message| Arc::ptr_eq(&message.roll, roll) && message.form == *form)?;
        Some(known.bytes.clone())
    }

    pub(crate) fn add(&mut self, roll: Arc<Roll>, form: Form, bytes: Bytes) {
        keep(&mut self.messages, Arc::new(SharedMessage { form, roll, bytes }));
    }

    /// The message that these bytes are the beginning of: not such as it, but itself.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<Arc<SharedMessage>> {
        // While it is kept, nothing else can lie where it does.
        self.messages.iter().find(|message| message.has_at(0, bytes)).cloned()
    }
}

/// Adds to what is kept; the oldest goes.
fn keep<T>(kept: &mut VecDeque<T>, new: T) {
    if kept.len() == KEPT {
        kept.pop_front();
    }
    kept.push_back(new);
}

/// Which list a node's own is.
#[derive(Debug, Default)]
pub(crate) struct OwnRoll {
    /// Weak, because it is large and every node of a cluster in motion has another.
    roll: std::sync::Weak<Roll>,
    /// The table's version of which this holds.
    version: Option<u64>,
}

impl OwnRoll {
    /// The list that says what this table holds.
    pub(crate) fn update(&mut self, table: &Table, states: &mut SharedStates) -> Option<Arc<Roll>> {
        let known = self.roll.upgrade().filter(|_| self.version == Some(table.version()));
        let roll = known.or_else(|| states.roll_of(table))?;
        *self = Self { roll: Arc::downgrade(&roll), version: Some(table.version()) };
        Some(roll)
    }

    /// What a message says of members that this table does not hold just so.
    pub(crate) fn news_in<'a>(&self, table: &Table, message: &'a SharedMessage) -> Vec<&'a Listed> {
        let is_own = self.version == Some(table.version())
            && self.roll.strong_count() > 0
            && std::ptr::eq(self.roll.as_ptr(), Arc::as_ptr(&message.roll));
        if is_own && table.suspect() == 0 { Vec::new() } else { message.roll.unlike(table) }
    }
}
