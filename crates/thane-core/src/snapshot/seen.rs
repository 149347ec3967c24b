//! Which user events were delivered lately, so that the next life neither takes one twice nor misses one.
//!
//! Serf remembers the newest Lamport time only. But events of one burst arrive in any order, and two nodes may give their events the
//! same time: whoever stops between the two takes the later one for the end of the story.

use std::collections::BTreeSet;

/// Most delivered events that a file remembers one by one; of older ones it says that they were all delivered.
const SEEN_MAX: usize = 1024;

/// A user event that was delivered, as a snapshot remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeenEvent {
    /// Its Lamport time.
    pub ltime: u64,
    /// What stands for its name and payload: FNV-1a of 64 bits over the name, a byte `ff`, and the payload.
    pub digest: u64,
}

impl SeenEvent {
    /// Of an event.
    pub fn of(ltime: u64, name: &str, payload: &[u8]) -> Self {
        // No name contains this byte: names are UTF-8.
        let bytes = name.bytes().chain([0xff]).chain(payload.iter().copied());
        let digest = bytes.fold(0xcbf2_9ce4_8422_2325, |digest: u64, byte| {
            (digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self { ltime, digest }
    }

    /// As in a remark: `12 9f86d081884c7d65`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (ltime, digest) = text.split_once(' ')?;
        Some(Self { ltime: ltime.parse().ok()?, digest: u64::from_str_radix(digest, 16).ok()? })
    }

    pub(super) fn remark(self) -> String {
        format!(" seen: {} {:016x}", self.ltime, self.digest)
    }
}

/// The events that a file tells one by one.
#[derive(Debug, Default)]
pub(super) struct Seen {
    events: BTreeSet<SeenEvent>,
    /// Those of them that are not in the file yet.
    unwritten: BTreeSet<SeenEvent>,
    /// Some were given up, and the file does not say so yet.
    given_up: bool,
}

impl Seen {
    /// Adds one. Gives the time up to which events are no longer told one by one, if this one was one too many.
    pub(super) fn insert(&mut self, event: SeenEvent) -> Option<u64> {
        if self.events.insert(event) {
            self.unwritten.insert(event);
        }
        if self.events.len() <= SEEN_MAX {
            return None;
        }
        let oldest = self.events.first()?.ltime;
        self.forget_up_to(oldest);
        self.given_up = true;
        Some(oldest)
    }

    /// Leaves out those of this time and before.
    pub(super) fn forget_up_to(&mut self, ltime: u64) {
        for set in [&mut self.events, &mut self.unwritten] {
            while set.first().is_some_and(|event| event.ltime <= ltime) {
                set.pop_first();
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.events.clear();
        self.unwritten.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The newest time.
    pub(super) fn newest(&self) -> Option<u64> {
        self.events.last().map(|event| event.ltime)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = SeenEvent> {
        self.events.iter().copied()
    }

    pub(super) fn has_unwritten(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Those that the file lacks; from now on it is taken to have them.
    pub(super) fn take_unwritten(&mut self) -> BTreeSet<SeenEvent> {
        std::mem::take(&mut self.unwritten)
    }

    /// Whether some were given up since this was asked last; from now on the file is taken to say so.
    pub(super) fn take_given_up(&mut self) -> bool {
        std::mem::take(&mut self.given_up)
    }
}
