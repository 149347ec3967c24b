//! Invariants about user events.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use thane_core::{Event, Time, UserEvent};

use super::{Checker, Observation};
use crate::world::ProcessId;

/// What tells one user event from another, to Serf: Lamport time, name and payload.
pub type EventKey = (u64, String, Bytes);

fn key_of(event: &UserEvent) -> EventKey {
    (event.ltime, event.name.to_string(), event.payload.clone())
}

/// **Each process delivers each user event at most once.**
#[derive(Debug, Default)]
pub struct DeliveredAtMostOnce {
    seen: BTreeSet<(ProcessId, EventKey)>,
}

impl Checker for DeliveredAtMostOnce {
    fn rule(&self) -> &'static str {
        "each process delivers each user event at most once"
    }

    fn see(&mut self, _: Time, process: ProcessId, seen: &Observation) -> Result<(), String> {
        if let Observation::Told(Event::User(event)) = seen
            && !self.seen.insert((process, key_of(event)))
        {
            return Err(format!("user event {:?} of time {} was delivered again", event.name, event.ltime));
        }
        Ok(())
    }
}

/// **A user event that is delivered was sent**: somebody sent that name and payload before, and it bears one and the same
/// Lamport time everywhere. (Who sends in these worlds never sends the same name and payload twice.)
#[derive(Debug, Default)]
pub struct EventsAreGenuine {
    /// What was sent, and the Lamport time it was first delivered with.
    sent: BTreeMap<(String, Bytes), Option<u64>>,
}

impl Checker for EventsAreGenuine {
    fn rule(&self) -> &'static str {
        "a user event that is delivered was sent by somebody, exactly so"
    }

    fn see(&mut self, _: Time, _: ProcessId, seen: &Observation) -> Result<(), String> {
        match seen {
            Observation::Sending { name, payload } => {
                self.sent.entry((name.clone(), payload.clone())).or_insert(None);
                Ok(())
            }
            Observation::Told(Event::User(event)) => {
                let (ltime, name, payload) = key_of(event);
                match self.sent.get_mut(&(name, payload)) {
                    None => Err(format!("user event {:?} of time {ltime} was never sent", event.name)),
                    Some(known) => match *known.get_or_insert(ltime) {
                        first if first == ltime => Ok(()),
                        first => {
                            Err(format!("user event {:?} has the times {first} and {ltime}", event.name))
                        }
                    },
                }
            }
            _ => Ok(()),
        }
    }

    fn survives_forgery(&mut self, _: usize) -> bool {
        false
    }
}

/// Which user event was delivered by whom, for [`super::agreement::events_agree`].
#[derive(Debug, Default)]
pub struct Delivered {
    by: BTreeMap<EventKey, BTreeSet<ProcessId>>,
}

impl Delivered {
    pub(super) fn see(&mut self, process: ProcessId, seen: &Observation) {
        if let Observation::Told(Event::User(event)) = seen {
            self.by.entry(key_of(event)).or_default().insert(process);
        }
    }

    /// Every user event that was delivered anywhere, and where.
    pub fn iter(&self) -> impl Iterator<Item = (&EventKey, &BTreeSet<ProcessId>)> {
        self.by.iter()
    }

    /// Whether a process delivered the event of this Lamport time and name.
    pub fn has(&self, process: ProcessId, ltime: u64, name: &str, payload: &Bytes) -> bool {
        self.by.get(&(ltime, name.to_owned(), payload.clone())).is_some_and(|by| by.contains(&process))
    }
}
