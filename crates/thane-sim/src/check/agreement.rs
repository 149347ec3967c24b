//! What must hold once faults have stopped and the cluster has had its time: no two opinions, and the right ones.

use std::collections::BTreeMap;

use thane_core::{Key, Keyring, Member, State, Status};

use super::Delivered;
use crate::world::{Ending, ProcessId};

/// What is really the case with a name.
#[derive(Debug, Clone, PartialEq)]
pub enum Truth {
    /// It runs, and knows this of itself.
    Runs(ProcessId, Member),
    /// Its last process ended so. `Ending::Left` means that the whole leave was done.
    Ended {
        /// How.
        ending: Ending,
        /// Whether it left, or somebody forced it to, at any time: then its failure may be taken for a leave.
        ever_left: bool,
        /// Whether all of the leave happened while the network was in order, so that everybody must know of it.
        leave_was_heard: bool,
    },
}

/// Compares what all running processes believe with the truth and with one another. Empty when they agree:
///
/// * A member that runs is alive in every view, for both layers, with its current incarnation, tags and address.
/// * A member that crashed for good is failed in every view that lists it. If the name ever left, or was forced to, in an
///   earlier life, stale news of that may turn the failure into a leave (Serf: serf.md, left lists of push/pull).
/// * A member that left is left in every view that lists it. If nobody may have heard the leave (the network was cut, or
///   lost too much) it may have failed instead.
/// * No two views differ about a member that is gone. (Views may omit it: nobody tells a newcomer of the dead.)
/// * No view lists a name that never was.
pub fn disagreements(truth: &BTreeMap<String, Truth>, views: &BTreeMap<String, Vec<Member>>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (holder, view) in views {
        let listed: BTreeMap<&str, &Member> = view.iter().map(|member| (&*member.name, member)).collect();
        for (name, real) in truth {
            match (real, listed.get(name.as_str())) {
                (Truth::Runs(..), None) => wrong.push(format!("{holder} does not know {name}, which runs")),
                (Truth::Runs(_, own), Some(seen)) => {
                    if let Some(difference) = differs_from_itself(own, seen) {
                        wrong.push(format!("{holder} about {name}, which runs: {difference}"));
                    }
                }
                (Truth::Ended { ending, ever_left, leave_was_heard }, Some(seen)) => {
                    let may_fail = !(*ending == Ending::Left && *leave_was_heard);
                    let may_leave = *ending == Ending::Left || *ever_left;
                    let fine = match seen.status {
                        Status::Failed => may_fail,
                        Status::Left => may_leave,
                        Status::Alive | Status::Leaving => false,
                    };
                    if !fine {
                        wrong.push(format!(
                            "{holder} believes {name} {} / {}, which ended: {ending:?}",
                            seen.status, seen.state
                        ));
                    }
                }
                (Truth::Ended { .. }, None) => {}
            }
        }
        for name in listed.keys().filter(|name| !truth.contains_key(**name)) {
            wrong.push(format!("{holder} lists {name}, which never was"));
        }
    }
    wrong.extend(two_opinions(truth, views));
    wrong
}

fn differs_from_itself(own: &Member, seen: &Member) -> Option<String> {
    if seen.status != Status::Alive || seen.state != State::Alive {
        return Some(format!(
            "{} / {} since {}, ltime {}, but it is at {}",
            seen.status, seen.state, seen.state_since, seen.status_ltime, own.status_ltime
        ));
    }
    if seen.incarnation != own.incarnation {
        return Some(format!("incarnation {}, but it is at {}", seen.incarnation, own.incarnation));
    }
    if seen.meta != own.meta {
        return Some("tags that it no longer has".into());
    }
    (seen.addr != own.addr).then(|| format!("at {}, but it is at {}", seen.addr, own.addr))
}

fn two_opinions(truth: &BTreeMap<String, Truth>, views: &BTreeMap<String, Vec<Member>>) -> Vec<String> {
    let mut opinions: BTreeMap<&str, BTreeMap<Status, Vec<&str>>> = BTreeMap::new();
    for (holder, view) in views {
        for member in
            view.iter().filter(|member| matches!(truth.get(&*member.name), Some(Truth::Ended { .. })))
        {
            opinions.entry(&member.name).or_default().entry(member.status).or_default().push(holder);
        }
    }
    opinions
        .into_iter()
        .filter(|(_, held)| held.len() > 1)
        .map(|(name, held)| format!("opinions about {name} differ: {held:?}"))
        .collect()
}

/// Compares the key rings of all running processes: after a rotation each holds the same keys, and seals with the same one.
pub fn keyrings_agree(rings: &BTreeMap<String, Keyring>) -> Vec<String> {
    let Some((first, expected)) = rings.first_key_value() else { return Vec::new() };
    let sorted = |ring: &Keyring| {
        let mut keys: Vec<String> = ring.keys().iter().map(Key::to_base64).collect();
        keys.sort_unstable();
        keys
    };
    let mut wrong = Vec::new();
    for (name, ring) in rings {
        if ring.primary() != expected.primary() {
            wrong.push(format!("{name} seals with another key than {first}"));
        }
        if sorted(ring) != sorted(expected) {
            wrong.push(format!("{name} holds {:?}, but {first} holds {:?}", sorted(ring), sorted(expected)));
        }
    }
    wrong
}

/// Compares which user events were delivered. If one process that was there all the time delivered an event, each of them
/// must have: anti-entropy brings what gossip lost, within the 512 Lamport times that nodes remember.
///
/// `listening` gives for each running process the Lamport time from which on it must have heard everything: a join that
/// ignores old events forgoes those before it.
pub fn events_agree(delivered: &Delivered, listening: &BTreeMap<ProcessId, u64>) -> Vec<String> {
    let mut wrong = Vec::new();
    for ((ltime, name, _), by) in delivered.iter() {
        if !by.iter().any(|process| listening.contains_key(process)) {
            continue;
        }
        for (process, from) in listening {
            if ltime >= from && !by.contains(process) {
                wrong.push(format!(
                    "{process} missed user event {name:?} of time {ltime} (it listens from {from})"
                ));
            }
        }
    }
    wrong
}
