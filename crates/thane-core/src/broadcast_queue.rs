//! Messages waiting to be gossiped, each a limited number of times.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Deref;
use std::sync::Arc;

use crate::name_index::NameIndex;
use crate::output::OpId;
use crate::rng::Seed;
use crate::table::MemberId;

/// Slots that an empty queue keeps.
const SLOTS_KEPT: usize = 64;

/// Bytes that each part of a compound adds to its own.
pub(crate) const PART_BYTES: usize = 2;

/// A message as it is queued, shared by all who queue it in one process.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Whom it is a statement about, which replaces an older one; `None` for a message that replaces nothing.
    about: Option<Arc<str>>,
    bytes: Box<[u8]>,
}

impl Message {
    pub(crate) fn new(about: Option<&Arc<str>>, bytes: &[u8]) -> Arc<Self> {
        Arc::new(Self { about: about.cloned(), bytes: bytes.into() })
    }

    /// Whether it is just this one, a statement or not. Statements of the same bytes are about the same member.
    pub(crate) fn is(&self, is_statement: bool, bytes: &[u8]) -> bool {
        self.about.is_some() == is_statement && *self.bytes == *bytes
    }
}

impl Deref for Message {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A queue that hands out its messages least transmitted first, then longest first, then newest first.
/// (memberlist: `queue.go`, `TransmitLimitedQueue`. Differs from it: the numbers that tell newer from older never start again.)
///
/// Whoever joins a large cluster queues a message about each of its members, so an entry takes 24 bytes, and its place in the order
/// four.
#[derive(Debug)]
pub(crate) struct BroadcastQueue {
    /// Entries by their slot.
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// The slots of messages that went out equally often and are equally long, the oldest first. No list is empty.
    order: BTreeMap<Rank, VecDeque<u32>>,
    /// The slots of statements, as if they were members' numbers.
    by_name: NameIndex,
    next_number: u64,
    /// Commands that wait for a message, by its number. There are few.
    ops: BTreeMap<u64, OpId>,
    /// For a message, by its number, another that goes in front of it and behind it, in the same packet. There are few.
    escorts: BTreeMap<u64, Arc<Message>>,
    /// Commands whose message has been sent often enough, was replaced or was pruned, in that order.
    finished: Vec<OpId>,
    /// Slots of the packet that is being filled; empty in between.
    taken: Vec<u32>,
}

/// What messages are ordered by, before their age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    transmits: u32,
    length: Reverse<usize>,
}

#[derive(Debug)]
struct Entry {
    message: Arc<Message>,
    /// Counted from the queue's first message on.
    number: u64,
    transmits: u32,
    /// Bytes of all its parts, without what a packet adds for the first.
    length: u32,
}

const _: () = assert!(size_of::<Option<Entry>>() == 24);

impl Entry {
    fn rank(&self) -> Rank {
        Rank { transmits: self.transmits, length: Reverse(self.length as usize) }
    }

    fn parts(&self) -> usize {
        if self.length as usize > self.message.len() { 3 } else { 1 }
    }
}

impl BroadcastQueue {
    /// An empty queue. `seed` keys the look-up of names.
    pub(crate) fn new(seed: Seed) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            order: BTreeMap::new(),
            by_name: NameIndex::new(seed),
            next_number: 0,
            ops: BTreeMap::new(),
            escorts: BTreeMap::new(),
            finished: Vec::new(),
            taken: Vec::new(),
        }
    }

    /// Queues a message; a statement replaces an older one about the same member.
    ///
    /// An `escort` is a message without which this one would be misunderstood. It travels in every packet with it, in front
    /// of it and behind it, because memberlist may handle the parts of a packet from the last to the first.
    pub(crate) fn queue(&mut self, message: Arc<Message>, escort: Option<Arc<Message>>, op: Option<OpId>) {
        let Some(name) = message.about.clone() else {
            self.insert(message, escort, op);
            return;
        };
        if let Some(old) = self.by_name.find(&name, |slot| name_in(&self.entries, slot)) {
            self.remove(old.0);
        }
        let slot = self.insert(message, escort, op);
        let entries = &self.entries;
        self.by_name.insert(&name, MemberId(slot), |slot| name_in(entries, slot));
    }

    /// Gives an escort to the statement about `name` that is waiting, if there is one that has none.
    pub(crate) fn escort(&mut self, name: &str, escort: Arc<Message>) {
        let Some(slot) = self.by_name.find(name, |slot| name_in(&self.entries, slot)) else { return };
        if self.entry(slot.0).parts() > 1 {
            return;
        }
        self.leave_order(slot.0);
        let Some(entry) = self.entries[slot.0 as usize].as_mut() else { return };
        entry.length += escort_bytes(&escort);
        let (number, rank) = (entry.number, entry.rank());
        self.escorts.insert(number, escort);
        self.enter_order(slot.0, number, rank);
    }

    fn entry(&self, slot: u32) -> &Entry {
        self.entries[slot as usize].as_ref().expect("invariant: every place has its entry")
    }

    fn insert(&mut self, message: Arc<Message>, escort: Option<Arc<Message>>, op: Option<OpId>) -> u32 {
        let number = self.next_number;
        self.next_number += 1;
        if let Some(op) = op {
            self.ops.insert(number, op);
        }
        let mut length = message.len() as u32;
        if let Some(escort) = escort {
            length += escort_bytes(&escort);
            self.escorts.insert(number, escort);
        }
        let entry = Entry { message, number, transmits: 0, length };
        let rank = entry.rank();
        let slot = self.free.pop().unwrap_or_else(|| {
            if self.entries.len() == self.entries.capacity() {
                // By less than a doubling: a large cluster fills many of these at once.
                self.entries.reserve_exact(self.entries.len() / 4 + 4);
            }
            self.entries.push(None);
            (self.entries.len() - 1) as u32
        });
        self.entries[slot as usize] = Some(entry);
        self.enter_order(slot, number, rank);
        slot
    }

    fn enter_order(&mut self, slot: u32, number: u64, rank: Rank) {
        let list = self.order.entry(rank).or_default();
        // Mostly the newest of its rank, or the oldest: whoever is looked at in between is most likely in no cache.
        let is_older = |other: &u32| number_in(&self.entries, *other) < number;
        if list.back().is_none_or(is_older) {
            list.push_back(slot);
        } else if !list.front().is_some_and(is_older) {
            list.push_front(slot);
        } else {
            list.insert(list.partition_point(is_older), slot);
        }
    }

    fn leave_order(&mut self, slot: u32) {
        let (rank, number) = (self.entry(slot).rank(), self.entry(slot).number);
        if let Some(list) = self.order.get_mut(&rank) {
            let at = list.partition_point(|other| number_in(&self.entries, *other) < number);
            debug_assert_eq!(list.get(at), Some(&slot), "every entry has its place");
            list.remove(at);
            if list.is_empty() {
                self.order.remove(&rank);
            }
        }
    }

    fn remove(&mut self, slot: u32) {
        self.leave_order(slot);
        self.drop_entry(slot);
    }

    /// Removes an entry that has left the order.
    fn drop_entry(&mut self, slot: u32) {
        if self.entries[slot as usize].as_ref().is_some_and(|entry| entry.message.about.is_some()) {
            let entries = &self.entries;
            self.by_name.remove(MemberId(slot), |slot| name_in(entries, slot));
        }
        if let Some(entry) = self.entries[slot as usize].take() {
            self.free.push(slot);
            if !self.ops.is_empty() {
                self.finished.extend(self.ops.remove(&entry.number));
            }
            if entry.parts() > 1 {
                self.escorts.remove(&entry.number);
            }
        }
        if self.is_empty() && self.entries.len() > SLOTS_KEPT {
            // What a storm of news took is not needed in the calm that follows.
            (self.entries, self.free, self.order) = (Vec::new(), Vec::new(), BTreeMap::new());
            self.by_name.clear();
        }
    }

    /// Appends messages to `out` until `room` bytes, with `overhead` bytes lost a message, or `parts_max` messages are reached; each
    /// counts as sent once. Gives the bytes used.
    pub(crate) fn take(
        &mut self,
        overhead: usize,
        room: usize,
        transmit_limit: u32,
        parts_max: usize,
        out: &mut Vec<Arc<Message>>,
    ) -> usize {
        let mut used = 0;
        let last_tier = self.order.last_key_value().map_or(0, |(rank, _)| rank.transmits);
        let mut tier = self.order.first_key_value().map_or(u32::MAX, |(rank, _)| rank.transmits);
        while tier <= last_tier && out.len() < parts_max {
            let free = room.saturating_sub(used + overhead);
            if free == 0 {
                break;
            }
            // The longest messages of the tier that still fit, the newest first. Once one fits, no longer one will.
            let from = Rank { transmits: tier, length: Reverse(free) };
            let Some((rank, list)) =
                self.order.range_mut(from..).next().filter(|(rank, _)| rank.transmits == tier)
            else {
                // Nothing fits in this tier; go to the next one that is there.
                let beyond = Rank { transmits: tier + 1, length: Reverse(usize::MAX) };
                match self.order.range(beyond..).next() {
                    Some((rank, _)) => tier = rank.transmits,
                    None => break,
                }
                continue;
            };
            let (rank, length) = (*rank, rank.length.0);
            let mut is_full = false;
            while used + overhead + length <= room
                && out.len() < parts_max
                && let Some(&slot) = list.back()
            {
                let entry = self.entries[slot as usize].as_ref();
                let entry = entry.expect("invariant: every place has its entry");
                is_full = out.len() + entry.parts() > parts_max;
                if is_full {
                    break;
                }
                list.pop_back();
                used += overhead + length;
                let escort = if entry.parts() > 1 { self.escorts.get(&entry.number) } else { None };
                out.extend(escort.cloned());
                out.push(entry.message.clone());
                out.extend(escort.cloned());
                self.taken.push(slot);
            }
            if list.is_empty() {
                self.order.remove(&rank);
            }
            if is_full {
                break;
            }
        }
        let mut taken = std::mem::take(&mut self.taken);
        for slot in taken.drain(..) {
            let entry = self.entries[slot as usize].as_mut();
            let entry = entry.expect("invariant: taken entries are still there");
            entry.transmits += 1;
            if entry.transmits >= transmit_limit {
                self.drop_entry(slot);
            } else {
                let (number, rank) = (entry.number, entry.rank());
                self.enter_order(slot, number, rank);
            }
        }
        self.taken = taken;
        used
    }

    /// Drops the most transmitted, then shortest, then oldest messages until at most `depth_max` are left. Gives how many went.
    pub(crate) fn prune(&mut self, depth_max: usize) -> usize {
        let mut dropped = 0;
        while self.len() > depth_max
            && let Some(slot) = self.order.last_key_value().and_then(|(_, list)| list.front().copied())
        {
            self.remove(slot);
            dropped += 1;
        }
        dropped
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Commands that were waiting for a message that has now left the queue.
    pub(crate) fn take_finished(&mut self) -> Vec<OpId> {
        std::mem::take(&mut self.finished)
    }

    pub(crate) fn check_invariants(&self) {
        let places: usize = self.order.values().map(VecDeque::len).sum();
        assert_eq!(places, self.len(), "every entry has one place");
        for (rank, list) in &self.order {
            assert!(!list.is_empty(), "nobody has rank {rank:?}");
            assert!(list.iter().is_sorted_by_key(|slot| number_in(&self.entries, *slot)), "the oldest first");
            let mut ranks = list.iter().map(|slot| self.entries[*slot as usize].as_ref().map(Entry::rank));
            assert!(ranks.all(|other| other == Some(*rank)), "each entry is where its rank says");
        }
        let mut named = 0;
        for (slot, entry) in self.entries.iter().enumerate() {
            if let Some(name) = entry.as_ref().and_then(|entry| entry.message.about.as_ref()) {
                let found = self.by_name.find(name, |slot| name_in(&self.entries, slot));
                assert_eq!(found, Some(MemberId(slot as u32)), "the name {name} leads to its entry");
                named += 1;
            }
        }
        assert_eq!(self.by_name.len(), named, "no other name leads anywhere");
        assert!(self.taken.is_empty(), "nothing is between the places");
        let escorted = self.entries.iter().flatten().filter(|entry| entry.parts() > 1);
        let escorted: Vec<u64> = escorted.map(|entry| entry.number).collect();
        assert!(escorted.iter().all(|number| self.escorts.contains_key(number)), "escorts are there");
        assert_eq!(self.escorts.len(), escorted.len(), "and no others");
    }
}

/// The name of the statement in a slot that is in use.
fn name_in(entries: &[Option<Entry>], slot: MemberId) -> &str {
    let entry = entries[slot.0 as usize].as_ref();
    let name = entry.and_then(|entry| entry.message.about.as_deref());
    name.expect("invariant: the index leads to statements that are there")
}

/// Bytes that an escort adds to a message: it goes twice.
fn escort_bytes(escort: &[u8]) -> u32 {
    2 * (escort.len() + PART_BYTES) as u32
}

fn number_in(entries: &[Option<Entry>], slot: u32) -> u64 {
    entries[slot as usize].as_ref().expect("invariant: every place has its entry").number
}

#[cfg(test)]
mod tests;
