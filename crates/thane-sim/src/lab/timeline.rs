//! The suspicions of a member as they went: who accused it, who believed that, who confirmed, when it answered.

use std::collections::BTreeMap;

use serde::Serialize;
use thane_core::{Cause, Node, Time};

use super::setup::name_of;

/// Suspicions are kept of this many members.
const MEMBERS_MAX: usize = 48;
/// By this many members each, those that notice first.
const OBSERVERS_MAX: usize = 120;
/// And no more entries than this of each member.
const ENTRIES_MAX: usize = 4000;

/// What happened to a member, as others saw it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timeline {
    /// The member.
    pub member: String,
    /// What happened, in order of time.
    pub entries: Vec<Entry>,
    /// Whether there was more than is kept.
    pub is_cut: bool,
}

/// One thing that one member saw.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// When, in seconds.
    pub at: f64,
    /// Who saw it, or the member itself.
    pub seen_by: String,
    /// What it was.
    pub kind: EntryKind,
    /// Why, in words: who said so, what was tried.
    pub why: String,
}

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// The member's process ended.
    Down,
    /// The member's process started.
    Up,
    /// Somebody began to suspect it.
    Suspected,
    /// Another accuser came to a suspicion that was there.
    Confirmed,
    /// A suspicion was given up: it had answered.
    Refuted,
    /// Somebody declared it failed.
    Failed,
    /// Somebody took it back.
    Back,
}

impl EntryKind {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Up => "up",
            Self::Suspected => "suspected",
            Self::Confirmed => "confirmed",
            Self::Refuted => "refuted",
            Self::Failed => "failed",
            Self::Back => "back",
        }
    }
}

/// What is kept while a run goes on.
#[derive(Debug, Default)]
pub(super) struct Logs {
    /// The only member to keep anything of, if one was chosen.
    only: Option<u32>,
    by_member: BTreeMap<u32, Log>,
    /// Whom each member suspects now, of those that are kept, with the number of accusers it knows of.
    suspecting: BTreeMap<u32, Vec<(u32, usize)>>,
}

#[derive(Debug, Default)]
struct Log {
    observers: Vec<u32>,
    /// By whom, what and why.
    entries: Vec<(Time, u32, EntryKind, String)>,
    is_cut: bool,
}

impl Logs {
    pub(super) fn new(only: Option<u32>) -> Self {
        Self { only, ..Self::default() }
    }

    /// Keeps what happened to `about`, as `by` saw it. `why` is asked only if it is kept.
    pub(super) fn add(
        &mut self,
        at: Time,
        by: u32,
        about: u32,
        kind: EntryKind,
        why: impl FnOnce() -> String,
    ) {
        let is_own = matches!(kind, EntryKind::Down | EntryKind::Up);
        let is_new = !self.by_member.contains_key(&about);
        if self.only.is_some_and(|only| only != about) || (is_new && self.by_member.len() >= MEMBERS_MAX) {
            return;
        }
        let log = self.by_member.entry(about).or_default();
        if log.entries.len() >= ENTRIES_MAX {
            log.is_cut = true;
            return;
        }
        if !is_own && !log.observers.contains(&by) {
            if log.observers.len() >= OBSERVERS_MAX {
                log.is_cut = true;
                return;
            }
            log.observers.push(by);
        }
        log.entries.push((at, by, kind, why()));
        match kind {
            EntryKind::Suspected => self.suspecting.entry(by).or_default().push((about, 1)),
            EntryKind::Refuted | EntryKind::Failed | EntryKind::Back => self.forget(by, Some(about)),
            EntryKind::Down | EntryKind::Up => self.forget(by, None),
            EntryKind::Confirmed => {}
        }
    }

    /// Whether anything is kept that `by` saw of `about`.
    pub(super) fn knows(&self, by: u32, about: u32) -> bool {
        self.by_member.get(&about).is_some_and(|log| log.observers.contains(&by))
    }

    fn forget(&mut self, by: u32, about: Option<u32>) {
        if let Some(suspects) = self.suspecting.get_mut(&by) {
            suspects.retain(|(suspect, _)| about.is_some_and(|about| about != *suspect));
            if suspects.is_empty() {
                self.suspecting.remove(&by);
            }
        }
    }

    /// Looks whether a suspicion that `by` holds has found more accusers. Costs nothing at members that suspect nobody.
    pub(super) fn look(&mut self, at: Time, by: u32, node: &Node) {
        let Some(suspects) = self.suspecting.get_mut(&by) else { return };
        for (about, known) in suspects {
            let accusers = node.accusers(&name_of(*about as usize));
            let Some(log) = self.by_member.get_mut(about) else { continue };
            for accuser in accusers.iter().skip(*known) {
                log.entries.push((at, by, EntryKind::Confirmed, format!("{accuser} accuses it too")));
            }
            *known = accusers.len().max(*known);
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.only);
    }

    /// The timeline of one member: of the first that `prefer` likes, else of the one with most entries.
    pub(super) fn into_timeline(mut self, prefer: impl Fn(u32) -> bool, since: Time) -> Option<Timeline> {
        let liked = self.by_member.keys().copied().find(|member| prefer(*member));
        let most = self.by_member.iter().max_by_key(|(_, log)| log.entries.len()).map(|(member, _)| *member);
        let member = liked.or(most)?;
        let log = self.by_member.remove(&member)?;
        let entries = log.entries.into_iter().map(|(at, by, kind, why)| Entry {
            at: at.since(since).as_secs_f64(),
            seen_by: name_of(by as usize),
            kind,
            why,
        });
        Some(Timeline { member: name_of(member as usize), entries: entries.collect(), is_cut: log.is_cut })
    }
}

/// A cause in words.
pub(super) fn in_words(cause: &Cause) -> String {
    match cause {
        Cause::ProbeFailed(failure) => {
            let relays: Vec<&str> = failure.relays.iter().map(|relay| &*relay.name).collect();
            let asked = match relays[..] {
                [] => "asked nobody else".to_owned(),
                _ => format!("asked {}", relays.join(", ")),
            };
            format!(
                "its own probe got no answer; {asked}, {} heard nothing either; TCP: {:?}; own health {}",
                failure.nacks, failure.tcp, failure.health
            )
        }
        Cause::Accused { by, .. } => format!("{by} accuses it"),
        Cause::SuspicionExpired { accusers, timeout, .. } => {
            let others = accusers.len().saturating_sub(1);
            format!("no answer within {:.1} s; {others} had confirmed", timeout.as_secs_f64())
        }
        Cause::DeclaredDead { by, .. } => format!("{by} says that it is dead"),
        Cause::Announced { incarnation, .. } => format!("it answers with incarnation {incarnation}"),
        other => format!("{other:?}"),
    }
}
