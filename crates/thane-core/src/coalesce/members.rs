//! The stage that holds what happens to members.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{MemberEventKind, Room};
use crate::event::Change;

/// Most members held. With so many the wait is over at once.
pub(super) const HELD_MAX: usize = 1 << 16;
/// Most members whose last event is remembered. Of one that is forgotten, an event may be told twice.
pub(super) const TOLD_MAX: usize = 1 << 17;

/// What happened last to each member, and what was told of it.
#[derive(Debug, Default)]
pub(super) struct MemberStage {
    /// Since the last flush.
    held: BTreeMap<Arc<str>, (MemberEventKind, Change)>,
    /// The kind that was told last. Members that were forgotten by the cluster are not in it: they can only join again.
    told: BTreeMap<Arc<str>, MemberEventKind>,
}

impl MemberStage {
    pub(super) fn hold(&mut self, kind: MemberEventKind, change: Change) -> Room {
        self.held.insert(change.member.name.clone(), (kind, change));
        if self.held.len() < HELD_MAX { Room::Some } else { Room::Full }
    }

    /// Tells, kind by kind, what is news.
    ///
    /// Differs from Serf: what was told is not told again. There, an update stays among the events that are held, and every later
    /// flush repeats it with the tags of back then.
    pub(super) fn flush(&mut self) -> impl Iterator<Item = (MemberEventKind, Vec<Change>)> + use<> {
        let mut news: BTreeMap<MemberEventKind, Vec<Change>> = BTreeMap::new();
        for (name, (kind, change)) in std::mem::take(&mut self.held) {
            let before = match kind {
                MemberEventKind::Reap => self.told.remove(&name),
                kind => self.told.insert(name, kind),
            };
            if before != Some(kind) || kind == MemberEventKind::Update {
                news.entry(kind).or_default().push(change);
            }
        }
        while self.told.len() > TOLD_MAX {
            self.told.pop_first();
        }
        news.into_iter()
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.held.len() + self.told.len()
    }
}
