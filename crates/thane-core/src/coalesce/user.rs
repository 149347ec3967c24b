//! The stage that holds user events.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Room;
use crate::event::UserEvent;

/// Most events held. With so many the wait is over at once.
pub(super) const HELD_MAX: usize = 1024;

/// The newest events of each name: several, if they share their time.
#[derive(Debug, Default)]
pub(super) struct UserStage {
    held: BTreeMap<Arc<str>, Vec<UserEvent>>,
    count: usize,
}

impl UserStage {
    pub(super) fn hold(&mut self, event: UserEvent) -> Room {
        let same_name = self.held.entry(event.name.clone()).or_default();
        let newest = same_name.first().map_or(0, |held| held.ltime);
        if event.ltime > newest {
            self.count -= same_name.len();
            same_name.clear();
        }
        if event.ltime >= newest {
            same_name.push(event);
            self.count += 1;
        }
        if self.count < HELD_MAX { Room::Some } else { Room::Full }
    }

    /// Tells all, by name, and those of one name in the order in which they came.
    pub(super) fn flush(&mut self) -> impl Iterator<Item = UserEvent> + use<> {
        self.count = 0;
        std::mem::take(&mut self.held).into_values().flatten()
    }
}
