//! User events: sending them, and delivering each once.
//!
//! Source: Serf `serf.go` (`UserEvent`, handleUserEvent).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use thane_wire::serf::{SerfMessage, UserEvent as UserEventMessage};

use super::Node;
use super::status::Queue;
use crate::broadcast_queue::PART_BYTES;
use crate::config::USER_EVENT_BYTES_MAX;
use crate::event::{Event, UserEvent};
use crate::lamport::LamportJump;
use crate::notice::{Layer, Level};
use crate::output::{CommandError, Output};
use crate::snapshot::SeenEvent;

/// Most bytes of names and payloads that are remembered against repetition. Over it, the oldest Lamport times are given up, and
/// nothing that old is accepted again.
pub(crate) const EVENT_BUFFER_BYTES_MAX: usize = 8 << 20;
/// What an event costs beyond its name and payload, for the limit above.
const EVENT_COST: usize = 64;

type NameAndPayload = (Arc<str>, Bytes);

/// What has been delivered lately, by Lamport time.
#[derive(Debug)]
pub(super) struct EventBuffer {
    slots: BTreeMap<u64, Vec<NameAndPayload>>,
    /// How many Lamport times are remembered.
    size: u64,
    bytes: usize,
    /// Events before this time are not wanted.
    min_time: u64,
    /// The newest that was delivered.
    newest: u64,
    /// Those that an earlier life delivered.
    before: BTreeSet<SeenEvent>,
    /// How many Lamport times were given up because of the limit on bytes.
    times_given_up: u64,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    News,
    Duplicate,
    /// Before what was asked for.
    Unwanted,
    /// Too old to tell whether it is a repetition.
    TooOld,
}

impl EventBuffer {
    pub(super) fn new(size: u64) -> Self {
        Self {
            slots: BTreeMap::new(),
            size,
            bytes: 0,
            min_time: 0,
            newest: 0,
            before: BTreeSet::new(),
            times_given_up: 0,
        }
    }

    /// Events at or before this time of a peer's clock are history.
    pub(super) fn ignore_before(&mut self, time: u64) {
        self.min_time = self.min_time.max(time);
    }

    /// Goes on where an earlier life ended: nothing up to `declined` is wanted, and nothing of what was `seen`.
    pub(super) fn restore(&mut self, newest: u64, declined: u64, seen: Vec<SeenEvent>) {
        self.ignore_before(declined + 1);
        self.newest = self.newest.max(newest);
        self.before.extend(seen.into_iter().filter(|event| event.ltime > declined));
    }

    /// Events up to this time are not wanted.
    pub(super) fn declined(&self) -> u64 {
        self.min_time.saturating_sub(1)
    }

    /// Later ones that were delivered, in this life or the last.
    pub(super) fn seen(&self) -> Vec<SeenEvent> {
        let now = self.slots.iter().flat_map(|(ltime, events)| {
            events.iter().map(|(name, payload)| SeenEvent::of(*ltime, name, payload))
        });
        self.before.iter().copied().chain(now).filter(|event| event.ltime >= self.min_time).collect()
    }

    /// The newest time of which an event was delivered, or declined as history.
    pub(super) fn newest(&self) -> u64 {
        self.newest.max(self.declined())
    }

    /// How many Lamport times are remembered, and how many bytes.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.slots.len(), self.bytes)
    }

    /// Remembered events by Lamport time.
    pub(super) fn slots(&self) -> impl Iterator<Item = (u64, &Vec<NameAndPayload>)> {
        self.slots.iter().map(|(ltime, events)| (*ltime, events))
    }

    /// Takes an event, with our clock already past it.
    fn admit(&mut self, ltime: u64, clock: u64, name: &str, payload: &[u8]) -> Verdict {
        if ltime < self.min_time {
            return Verdict::Unwanted;
        }
        let oldest = clock.saturating_sub(self.size);
        if ltime < oldest {
            return Verdict::TooOld;
        }
        // Differs from Serf: there a slot is kept, and told to peers in state exchanges, until an event whose time is the same modulo
        // the buffer's size takes its place; all of them are too old to be taken by then.
        while let Some(first) = self.slots.first_entry()
            && *first.key() < oldest
        {
            self.bytes -= cost(&first.remove());
        }
        while self.before.first().is_some_and(|event| event.ltime < oldest) {
            self.before.pop_first();
        }
        if !self.before.is_empty() && self.before.contains(&SeenEvent::of(ltime, name, payload)) {
            return Verdict::Duplicate;
        }
        let slot = self.slots.entry(ltime).or_default();
        if slot.iter().any(|(n, p)| **n == *name && **p == *payload) {
            return Verdict::Duplicate;
        }
        slot.push((name.into(), Bytes::copy_from_slice(payload)));
        self.newest = self.newest.max(ltime);
        self.bytes += EVENT_COST + name.len() + payload.len();
        // Differs from Serf: it remembers any number of events of one Lamport time, of any size. What is given up here must not be
        // delivered a second time, so nothing that old is taken from then on.
        while self.bytes > EVENT_BUFFER_BYTES_MAX
            && let Some((ltime, events)) = self.slots.pop_first()
        {
            self.bytes -= cost(&events);
            self.min_time = self.min_time.max(ltime + 1);
            self.times_given_up += 1;
        }
        Verdict::News
    }
}

fn cost(events: &[NameAndPayload]) -> usize {
    events.iter().map(|(name, payload)| EVENT_COST + name.len() + payload.len()).sum()
}

impl Node {
    pub(super) fn send_user_event(
        &mut self,
        name: &str,
        payload: &[u8],
        coalesce: bool,
    ) -> Result<u64, CommandError> {
        let limit = self.config.user_event_size_limit.min(USER_EVENT_BYTES_MAX);
        if name.len() + payload.len() > limit {
            return Err(CommandError::UserEventTooLarge { limit });
        }
        let ltime = self.event_clock.time();
        let payload_field = (!payload.is_empty()).then_some(payload);
        let mut message = Vec::new();
        SerfMessage::UserEvent(UserEventMessage { ltime, name, payload: payload_field, coalesce })
            .encode(&mut message);
        if message.len() > limit {
            return Err(CommandError::EncodedUserEventTooLarge { limit });
        }
        // Differs from Serf: there such a message waits in the queue for ever.
        let room = self.packet_room().saturating_sub(PART_BYTES + 1);
        if message.len() > room {
            return Err(CommandError::NeverFits { size: message.len(), room });
        }
        self.event_clock.increment();
        self.user_event_arrived(ltime, name, payload, coalesce);
        self.queue_serf(Queue::Events, &message, None);
        Ok(ltime)
    }

    /// Delivers an event unless it has been seen. True if it is news.
    pub(super) fn user_event_arrived(
        &mut self,
        ltime: u64,
        name: &str,
        payload: &[u8],
        coalesce: bool,
    ) -> bool {
        if self.event_clock.witness(ltime) == Err(LamportJump) {
            self.refuse_jump(ltime);
            return false;
        }
        match self.event_buffer.admit(ltime, self.event_clock.time(), name, payload) {
            Verdict::News => {
                self.counters.user_events_delivered += 1;
                self.counters.user_event_times_given_up = self.event_buffer.times_given_up;
                let event = UserEvent {
                    ltime,
                    name: name.into(),
                    payload: Bytes::copy_from_slice(payload),
                    coalesce,
                };
                self.outputs.push_back(Output::Event(Event::User(event)));
                true
            }
            Verdict::Duplicate => {
                self.counters.user_events_duplicate += 1;
                false
            }
            Verdict::Unwanted => {
                self.counters.user_events_unwanted += 1;
                false
            }
            Verdict::TooOld => {
                self.counters.user_events_too_old += 1;
                let (clock, size) = (self.event_clock.time(), self.config.event_buffer_size);
                self.notice(Level::Warn, Layer::Serf, "user_event_too_old", None, || {
                    format!("dropped user event {name:?} of time {ltime}: more than {size} behind our clock, {clock}")
                });
                false
            }
        }
    }
}
