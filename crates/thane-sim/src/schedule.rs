//! What will happen, in order.
//!
//! A radix heap: it needs that nothing is scheduled before what was taken last, which time grants, and then moves each entry a few times
//! from one list to another, all of them short and read from end to end. A binary heap of as many compares and moves along a path that
//! lies in memory here and there. Ties are never left to chance: entries come in order of time, then of scheduling.

use std::time::Duration;

use thane_core::Time;

/// One list for each bit in which an entry's key may first differ from that of the entry taken last.
const LISTS: usize = 128;

/// Something, and when it happens.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// The time in the upper half, the number in the lower.
    key: u128,
    /// Where the rest of it is.
    place: u32,
}

/// Everything that is scheduled.
#[derive(Debug)]
pub(crate) struct Schedule<T> {
    lists: Vec<Vec<Entry>>,
    /// One bit a list: whether there is something in it.
    filled: u128,
    /// The key of what was taken last, or one below all that are left.
    last: u128,
    /// Numbers everything, from one on.
    next_number: u64,
    things: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Schedule<T> {
    pub(crate) fn new() -> Self {
        Self {
            lists: (0..LISTS).map(|_| Vec::new()).collect(),
            filled: 0,
            last: 0,
            next_number: 1,
            things: Vec::new(),
            free: Vec::new(),
        }
    }

    /// The number that the next thing gets.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Schedules something, not before what was taken last.
    pub(crate) fn add(&mut self, at: Time, thing: T) {
        let key = nanos(at) << 64 | u128::from(self.next_number);
        self.next_number += 1;
        debug_assert!(key > self.last, "{at} lies before what has happened");
        let place = if let Some(place) = self.free.pop() {
            self.things[place as usize] = Some(thing);
            place
        } else {
            self.things.push(Some(thing));
            (self.things.len() - 1) as u32
        };
        self.put(Entry { key, place });
    }

    /// Puts an entry where the first bit says in which its key differs from the last one, which lies below it.
    fn put(&mut self, entry: Entry) {
        let list = 127 - (entry.key ^ self.last).leading_zeros() as usize;
        self.lists[list].push(entry);
        self.filled |= 1 << list;
    }

    /// Takes what happens next, if that is not after `until`.
    pub(crate) fn take(&mut self, until: Time) -> Option<(Time, T)> {
        let until = nanos(until) << 64 | u128::from(u64::MAX);
        // Whoever differs in a lower bit only comes before all who differ in a higher one.
        let list = self.lists.get(self.filled.trailing_zeros() as usize)?;
        let (at, first) = list.iter().enumerate().min_by_key(|(_, entry)| entry.key)?;
        let (at, first) = (at, *first);
        if first.key > until {
            return None;
        }
        self.last = first.key;
        self.take_apart(self.filled.trailing_zeros() as usize, at);
        self.free.push(first.place);
        let thing = self.things[first.place as usize].take()?;
        Some((Time::from_start(Duration::from_nanos((first.key >> 64) as u64)), thing))
    }

    /// Moves the entries of a list, but for the one that is the last one now, to where they differ from that.
    fn take_apart(&mut self, list: usize, last: usize) {
        let mut entries = std::mem::take(&mut self.lists[list]);
        entries.swap_remove(last);
        self.filled &= !(1 << list);
        for entry in entries.drain(..) {
            self.put(entry);
        }
        // They all went to lists before this one. Its memory is kept for those that come.
        self.lists[list] = entries;
    }
}

fn nanos(at: Time) -> u128 {
    at.since_start().as_nanos()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::rng::SimRng;

    fn at(nanos: u64) -> Time {
        Time::from_start(Duration::from_nanos(nanos))
    }

    #[test]
    fn things_come_in_order_of_time_then_of_scheduling() {
        let mut rng = SimRng::new(7, "schedule", 0);
        let mut schedule = Schedule::new();
        let mut expected: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        let (mut now, mut taken) = (0, 0);
        for number in 0..20_000 {
            // Some at the very moment, some soon, some in an hour; many at the same time.
            let span = [0, 0, 3, 1000, 1_000_000_000, 3_600_000_000_000][rng.between(0, 5)];
            let when = now + if span > 3 { rng.between(0, span) as u64 } else { span as u64 };
            schedule.add(at(when), number);
            expected.insert((when, number), number);
            let until = now + rng.between(0, 400_000) as u64;
            while let Some((time, thing)) = schedule.take(at(until)) {
                let ((first, _), other) = expected.pop_first().unwrap();
                assert_eq!((time, thing), (at(first), other));
                taken += 1;
            }
            assert!(expected.first_key_value().is_none_or(|((first, _), _)| *first > until));
            now = until;
        }
        assert!(taken > 10_000, "{taken} were taken on the way");
        while let Some((_, thing)) = schedule.take(Time::NEVER) {
            assert_eq!(Some(thing), expected.pop_first().map(|(_, other)| other));
        }
        assert!(expected.is_empty());
    }
}
