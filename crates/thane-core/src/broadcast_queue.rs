//! Messages waiting to be gossiped, each a limited number of times.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::output::OpId;

/// Bytes that each part of a compound adds to its own.
pub(crate) const PART_BYTES: usize = 2;

/// A queue that hands out its messages least transmitted first, then longest first, then newest first.
/// (memberlist: `queue.go`, `TransmitLimitedQueue`. Differs from it: the numbers that tell newer from older never start again.)
#[derive(Debug, Default)]
pub(crate) struct BroadcastQueue {
    order: BTreeSet<Place>,
    entries: BTreeMap<u64, Entry>,
    by_name: BTreeMap<Arc<str>, u64>,
    next_number: u64,
    /// Commands whose message has been sent often enough, was replaced or was pruned, in that order.
    finished: Vec<OpId>,
}

/// A message's place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    transmits: u32,
    length: Reverse<usize>,
    number: Reverse<u64>,
}

#[derive(Debug)]
struct Entry {
    message: Bytes,
    /// A message that goes in front of this one and behind it, in the same packet.
    escort: Option<Bytes>,
    transmits: u32,
    name: Option<Arc<str>>,
    op: Option<OpId>,
}

impl Entry {
    fn place(&self, number: u64) -> Place {
        Place { transmits: self.transmits, length: Reverse(self.length()), number: Reverse(number) }
    }

    /// Bytes of all its parts, without what a packet adds for the first.
    fn length(&self) -> usize {
        let escort = self.escort.as_ref().map_or(0, |escort| 2 * (escort.len() + PART_BYTES));
        self.message.len() + escort
    }

    fn parts(&self) -> usize {
        if self.escort.is_some() { 3 } else { 1 }
    }
}

impl BroadcastQueue {
    /// Queues a statement about `name`, replacing an older one about it.
    pub(crate) fn queue_named(&mut self, name: Arc<str>, message: Bytes, op: Option<OpId>) {
        self.queue_escorted(name, message, None, op);
    }

    /// The same with an `escort`: a message without which this one would be misunderstood. It travels in every packet with it, in front
    /// of it and behind it, because memberlist may handle the parts of a packet from the last to the first.
    pub(crate) fn queue_escorted(
        &mut self,
        name: Arc<str>,
        message: Bytes,
        escort: Option<Bytes>,
        op: Option<OpId>,
    ) {
        if let Some(old) = self.by_name.get(&name).copied() {
            self.remove(old);
        }
        self.insert(Some(name), message, escort, op);
    }

    /// Gives an escort to the statement about `name` that is waiting, if there is one that has none.
    pub(crate) fn escort(&mut self, name: &str, escort: Bytes) {
        let Some(number) = self.by_name.get(name).copied() else { return };
        let Some(entry) = self.entries.get_mut(&number).filter(|entry| entry.escort.is_none()) else {
            return;
        };
        self.order.remove(&entry.place(number));
        entry.escort = Some(escort);
        self.order.insert(entry.place(number));
    }

    /// Queues a message that replaces nothing.
    pub(crate) fn queue(&mut self, message: Bytes, op: Option<OpId>) {
        self.insert(None, message, None, op);
    }

    fn insert(&mut self, name: Option<Arc<str>>, message: Bytes, escort: Option<Bytes>, op: Option<OpId>) {
        let number = self.next_number;
        self.next_number += 1;
        if let Some(name) = &name {
            self.by_name.insert(name.clone(), number);
        }
        let entry = Entry { message, escort, transmits: 0, name, op };
        self.order.insert(entry.place(number));
        self.entries.insert(number, entry);
    }

    fn remove(&mut self, number: u64) {
        let Some(entry) = self.entries.remove(&number) else { return };
        self.order.remove(&entry.place(number));
        if let Some(name) = &entry.name
            && self.by_name.get(name) == Some(&number)
        {
            self.by_name.remove(name);
        }
        self.finished.extend(entry.op);
    }

    /// Appends messages to `out` until `room` bytes, with `overhead` bytes lost a message, or `parts_max` messages are reached; each
    /// counts as sent once. Gives the bytes used.
    pub(crate) fn take(
        &mut self,
        overhead: usize,
        room: usize,
        transmit_limit: u32,
        parts_max: usize,
        out: &mut Vec<Bytes>,
    ) -> usize {
        let mut used = 0;
        let mut taken = Vec::new();
        let last_tier = self.order.last().map_or(0, |place| place.transmits);
        let mut tier = self.order.first().map_or(u32::MAX, |place| place.transmits);
        while tier <= last_tier && out.len() < parts_max {
            let free = room.saturating_sub(used + overhead);
            if free == 0 {
                break;
            }
            // The longest message of the tier that still fits, the newest of several.
            let from = Place { transmits: tier, length: Reverse(free), number: Reverse(u64::MAX) };
            let Some(place) =
                self.order.range(from..).next().copied().filter(|place| place.transmits == tier)
            else {
                // Nothing fits in this tier; go to the next one that is there.
                let beyond =
                    Place { transmits: tier + 1, length: Reverse(usize::MAX), number: Reverse(u64::MAX) };
                match self.order.range(beyond..).next() {
                    Some(place) => tier = place.transmits,
                    None => break,
                }
                continue;
            };
            let number = place.number.0;
            let entry = self.entries.get(&number).expect("invariant: every place has its entry");
            if out.len() + entry.parts() > parts_max {
                break;
            }
            self.order.remove(&place);
            used += entry.length() + overhead;
            out.extend(entry.escort.clone());
            out.push(entry.message.clone());
            out.extend(entry.escort.clone());
            taken.push(number);
        }
        for number in taken {
            let entry = self.entries.get_mut(&number).expect("invariant: taken entries are still there");
            entry.transmits += 1;
            if entry.transmits >= transmit_limit {
                self.remove(number);
            } else {
                self.order.insert(entry.place(number));
            }
        }
        used
    }

    /// Drops the most transmitted, then shortest, then oldest messages until at most `depth_max` are left. Gives how many went.
    pub(crate) fn prune(&mut self, depth_max: usize) -> usize {
        let mut dropped = 0;
        while self.entries.len() > depth_max
            && let Some(place) = self.order.last().copied()
        {
            self.remove(place.number.0);
            dropped += 1;
        }
        dropped
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Commands that were waiting for a message that has now left the queue.
    pub(crate) fn take_finished(&mut self) -> Vec<OpId> {
        std::mem::take(&mut self.finished)
    }

    pub(crate) fn check_invariants(&self) {
        assert_eq!(self.order.len(), self.entries.len(), "every entry has one place");
        for (name, number) in &self.by_name {
            let entry = self.entries.get(number);
            assert!(
                entry.is_some_and(|e| e.name.as_ref() == Some(name)),
                "the name {name} leads to its entry"
            );
        }
    }
}

#[cfg(test)]
mod tests;
