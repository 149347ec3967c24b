//! Intents about names that are not members yet: an intent may overtake the announcement.
//!
//! When many join at once, a node hears the intents of most of them before it hears of them, so they are kept in little memory.

use std::sync::Arc;
use std::time::Duration;

use crate::name_index::NameIndex;
use crate::rng::Seed;
use crate::table::MemberId;
use crate::time::Time;

/// Most intents about unknown members that are remembered.
pub(crate) const RECENT_INTENTS_MAX: usize = 1 << 16;

/// Which intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IntentKind {
    Join,
    Leave,
}

/// The last intent about each of some names.
#[derive(Debug)]
pub(super) struct RecentIntents {
    /// The places of names in `entries`, as if they were members' numbers.
    by_name: NameIndex,
    pub(super) entries: Vec<RecentIntent>,
}

#[derive(Debug)]
pub(super) struct RecentIntent {
    pub(super) name: Arc<str>,
    pub(super) kind: IntentKind,
    pub(super) ltime: u64,
    recorded: Time,
}

/// What became of an intent.
pub(super) enum Upsert {
    News,
    Old,
    Refused,
}

impl RecentIntents {
    /// No intents. `seed` keys the look-up of names.
    pub(super) fn new(seed: Seed) -> Self {
        Self { by_name: NameIndex::new(seed), entries: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.by_name.find(name, |at| &self.entries[at.0 as usize].name).map(|at| at.0 as usize)
    }

    pub(super) fn get(&self, name: &str) -> Option<&RecentIntent> {
        self.find(name).map(|at| &self.entries[at])
    }

    /// Keeps the intent if it is newer than what is known; only then is it news. (Serf: upsertIntent.) A name that is not known yet is
    /// kept as `named` has it.
    pub(super) fn upsert(
        &mut self,
        name: &str,
        kind: IntentKind,
        ltime: u64,
        now: Time,
        named: impl FnOnce(&str) -> Arc<str>,
    ) -> Upsert {
        if let Some(at) = self.find(name) {
            let known = &mut self.entries[at];
            if ltime <= known.ltime {
                return Upsert::Old;
            }
            (known.kind, known.ltime, known.recorded) = (kind, ltime, now);
            return Upsert::News;
        }
        if name.is_empty() || self.entries.len() >= RECENT_INTENTS_MAX {
            return Upsert::Refused;
        }
        if self.entries.len() == self.entries.capacity() {
            // By less than a doubling: a large cluster fills many of these at once.
            self.entries.reserve_exact(self.entries.len() / 4 + 4);
        }
        let at = MemberId(self.entries.len() as u32);
        self.entries.push(RecentIntent { name: named(name), kind, ltime, recorded: now });
        let entries = &self.entries;
        self.by_name.insert(name, at, |at| &entries[at.0 as usize].name);
        Upsert::News
    }

    /// Forgets those that are older than this.
    pub(super) fn reap(&mut self, now: Time, timeout: Duration) {
        let is_recent = |intent: &RecentIntent| now.since(intent.recorded) <= timeout;
        if self.entries.iter().all(is_recent) {
            return;
        }
        self.by_name.clear();
        self.entries.retain(is_recent);
        self.entries.shrink_to_fit();
        let entries = &self.entries;
        for (at, intent) in (0..).zip(entries) {
            self.by_name.insert(&intent.name, MemberId(at), |at| &entries[at.0 as usize].name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upsert(intents: &mut RecentIntents, name: &str, kind: IntentKind, ltime: u64, now: Time) -> Upsert {
        intents.upsert(name, kind, ltime, now, |name| name.into())
    }

    #[test]
    fn the_memory_for_intents_is_bounded() {
        let mut intents = RecentIntents::new(Seed::from(1));
        let now = Time::ZERO;
        for at in 0..RECENT_INTENTS_MAX {
            let kept = upsert(&mut intents, &format!("n{at}"), IntentKind::Join, 1, now);
            assert!(matches!(kept, Upsert::News));
        }
        assert!(matches!(upsert(&mut intents, "one more", IntentKind::Join, 1, now), Upsert::Refused));
        assert!(
            matches!(upsert(&mut intents, "n7", IntentKind::Leave, 2, now), Upsert::News),
            "known names still change"
        );
        assert!(
            matches!(upsert(&mut intents, "n7", IntentKind::Join, 2, now), Upsert::Old),
            "of equals the first one stays"
        );
        intents.reap(now + Duration::from_secs(300), Duration::from_secs(300));
        assert_eq!(intents.len(), RECENT_INTENTS_MAX);
        intents.reap(now + Duration::from_secs(301), Duration::from_secs(300));
        assert_eq!(intents.len(), 0);
    }

    #[test]
    fn those_that_stay_are_found_when_others_go() {
        let mut intents = RecentIntents::new(Seed::from(1));
        let at = |secs| Time::ZERO + Duration::from_secs(secs);
        for number in 0..100 {
            upsert(&mut intents, &format!("n{number}"), IntentKind::Join, number + 1, at(number % 3));
        }
        intents.reap(at(10), Duration::from_secs(9));
        for number in 0..100 {
            let found = intents.get(&format!("n{number}")).map(|intent| intent.ltime);
            assert_eq!(found, (number % 3 > 0).then_some(number + 1));
        }
        assert!(matches!(upsert(&mut intents, "n0", IntentKind::Join, 1, at(10)), Upsert::News));
    }
}
