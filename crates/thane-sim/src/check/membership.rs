//! Invariants about members.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thane_core::{Event, LifeState, State, Status, Time};

use super::{Checker, Observation};
use crate::world::{Ending, ProcessId};

/// **A node's own view of itself never fails while it runs.** Before a leave it is alive for both layers, in one; after
/// its own leave it is left, and never failed.
#[derive(Debug, Clone, Copy)]
pub struct SelfNeverFails;

impl Checker for SelfNeverFails {
    fn rule(&self) -> &'static str {
        "a node's own view of itself never fails while it runs"
    }

    fn see(&mut self, _: Time, _: ProcessId, seen: &Observation) -> Result<(), String> {
        let Observation::State { local, life, .. } = seen else { return Ok(()) };
        let fine = match life {
            LifeState::Alive => local.status == Status::Alive && local.state == State::Alive,
            LifeState::Leaving => {
                local.status != Status::Failed && matches!(local.state, State::Alive | State::Left)
            }
            LifeState::Left => local.status == Status::Left && local.state == State::Left,
        };
        if fine {
            Ok(())
        } else {
            Err(format!("it is {life:?} and believes itself {} / {}", local.status, local.state))
        }
    }
}

/// **What a node knows of a member's incarnation never falls** while it remembers the member. The detector forgets a
/// dead member after `gossip_to_the_dead_time`; what it hears after that begins anew.
#[derive(Debug, Default)]
pub struct IncarnationsRise {
    /// What each process last held of each member: incarnation, state, since when.
    held: BTreeMap<(ProcessId, String), (u32, State, Time)>,
    remembered: Duration,
}

impl Checker for IncarnationsRise {
    fn rule(&self) -> &'static str {
        "the incarnation that a node holds of a member never falls while it remembers the member"
    }

    fn see(&mut self, at: Time, process: ProcessId, seen: &Observation) -> Result<(), String> {
        match seen {
            Observation::Started { limits, .. } => self.remembered = limits.remembered,
            Observation::Stopped(_) => self.held.retain(|(holder, _), _| *holder != process),
            Observation::View(view) => {
                for member in view {
                    let now = (member.incarnation, member.state, member.state_since);
                    let name = member.name.to_string();
                    let Some((held, state, since)) = self.held.insert((process, name), now) else { continue };
                    let forgettable = match state {
                        State::Forgotten => true,
                        State::Dead | State::Left => at.since(since) >= self.remembered,
                        State::Alive | State::Suspect => false,
                    };
                    if member.incarnation < held && !forgettable && member.state != State::Forgotten {
                        return Err(format!(
                            "incarnation of {} fell from {held} ({state} since {since}) to {} ({})",
                            member.name, member.incarnation, member.state
                        ));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// **Lamport clocks never fall**: neither of the three, in one life of a process.
#[derive(Debug, Default)]
pub struct ClocksRise {
    held: BTreeMap<ProcessId, [u64; 3]>,
}

impl Checker for ClocksRise {
    fn rule(&self) -> &'static str {
        "Lamport clocks never fall"
    }

    fn see(&mut self, _: Time, process: ProcessId, seen: &Observation) -> Result<(), String> {
        match seen {
            Observation::Stopped(_) => {
                self.held.remove(&process);
            }
            Observation::State { stats, .. } => {
                let now = [stats.member_time, stats.event_time, stats.query_time];
                if let Some(held) = self.held.insert(process, now) {
                    for (clock, (before, after)) in
                        ["member", "event", "query"].iter().zip(held.into_iter().zip(now))
                    {
                        if after < before {
                            return Err(format!("its {clock} clock fell from {before} to {after}"));
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// **A member that left never comes back by hearsay.** Once a member has left gracefully and a node has heard its goodbye,
/// that node does not call it joined again until the member itself has started anew. Whoever knows of the leave only by
/// an intent cannot tell a stale refutation from a new one, and is not held to it. Nor is one that has heard a goodbye of a lower incarnation
/// than an earlier life of the member had: what somebody far off still holds of that life looks like a new start.
#[derive(Debug, Default)]
pub struct LeftStaysLeft {
    names: BTreeMap<u32, String>,
    /// The highest incarnation that each name itself ever had, in any life.
    highest: BTreeMap<String, u32>,
    /// Names whose last process left gracefully and was not started since.
    gone: BTreeSet<String>,
    /// Whose goodbye each process has heard since then, and when.
    heard: BTreeMap<(ProcessId, String), Time>,
}

impl Checker for LeftStaysLeft {
    fn rule(&self) -> &'static str {
        "a member that left gracefully is not alive again without its own restart"
    }

    fn see(&mut self, at: Time, process: ProcessId, seen: &Observation) -> Result<(), String> {
        match seen {
            Observation::Started { name, .. } => {
                self.names.insert(process.host.0, name.clone());
                self.gone.remove(name);
                self.heard.retain(|(_, left), _| left != name);
            }
            // Most inputs change nothing here, so the name is copied only when there is something to keep.
            Observation::State { local, .. }
                if self.highest.get(&*local.name).is_none_or(|highest| *highest < local.incarnation) =>
            {
                self.highest.insert(local.name.to_string(), local.incarnation);
            }
            Observation::Stopped(ending) => {
                if let (Ending::Left, Some(name)) = (ending, self.names.get(&process.host.0)) {
                    self.gone.insert(name.clone());
                }
                self.heard.retain(|(holder, _), _| *holder != process);
            }
            Observation::View(view) => {
                for member in view.iter().filter(|member| member.state == State::Left) {
                    let highest = self.highest.get(&*member.name).copied().unwrap_or(0);
                    if self.gone.contains(&*member.name) && member.incarnation >= highest {
                        self.heard.entry((process, member.name.to_string())).or_insert(at);
                    }
                }
            }
            Observation::Told(Event::Joined(change)) => {
                let name = change.member.name.to_string();
                if let Some(since) = self.heard.get(&(process, name)) {
                    return Err(format!(
                        "{} joined, but it left, and its goodbye was known here at {since}: {:?}",
                        change.member.name, change.cause
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn survives_forgery(&mut self, _: usize) -> bool {
        false
    }
}

/// **Nobody is given up**: a member that a node once held for alive or failed it goes on listing, or goes on looking for, until
/// somebody says that it left. So no living member stays dead for good: whoever lost it tries to reach it as long as both live.
#[derive(Debug, Default)]
pub struct NobodyIsGivenUp {
    /// Whom each process must not give up.
    owed: BTreeMap<ProcessId, BTreeSet<String>>,
    /// Whom each process looks for without listing it.
    sought: BTreeMap<ProcessId, BTreeSet<String>>,
    /// Names of which somebody, somewhere, once said that they left: that may be heard late, and is reason enough.
    departed: BTreeSet<String>,
    /// Processes that are going themselves owe nobody anything.
    going: BTreeSet<ProcessId>,
}

impl NobodyIsGivenUp {
    fn depart(&mut self, name: &str) {
        if self.departed.insert(name.to_owned()) {
            self.owed.values_mut().for_each(|owed| {
                owed.remove(name);
            });
        }
    }
}

impl Checker for NobodyIsGivenUp {
    fn rule(&self) -> &'static str {
        "a member of which nobody said that it left is listed or looked for by everyone who knew it"
    }

    fn see(&mut self, _: Time, process: ProcessId, seen: &Observation) -> Result<(), String> {
        match seen {
            Observation::Stopped(_) => {
                self.owed.remove(&process);
                self.sought.remove(&process);
                self.going.remove(&process);
            }
            Observation::Dismissing { name } => self.depart(name),
            Observation::State { life, .. } if *life != LifeState::Alive => {
                self.going.insert(process);
            }
            Observation::Seeking(names) => {
                self.sought.insert(process, names.iter().cloned().collect());
            }
            Observation::View(view) if !self.going.contains(&process) => {
                let gone = view.iter().filter(|it| matches!(it.status, Status::Leaving | Status::Left));
                let gone: Vec<String> = gone.map(|it| it.name.to_string()).collect();
                for name in &gone {
                    self.depart(name);
                }
                let owed = self.owed.entry(process).or_default();
                let listed: BTreeSet<&str> = view.iter().map(|member| &*member.name).collect();
                let sought = self.sought.get(&process);
                let lost = |name: &&String| {
                    !listed.contains(name.as_str()) && !sought.is_some_and(|them| them.contains(*name))
                };
                if let Some(name) = owed.iter().find(lost) {
                    return Err(format!("{name} is neither listed nor looked for any more"));
                }
                for member in view.iter().filter(|it| matches!(it.status, Status::Alive | Status::Failed)) {
                    if !self.departed.contains(&*member.name) && !owed.contains(&*member.name) {
                        owed.insert(member.name.to_string());
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn survives_forgery(&mut self, _: usize) -> bool {
        false
    }
}

/// **Peace is quiet**: while there is no fault at all, nobody who runs is suspected or held to have failed.
#[derive(Debug, Default)]
pub struct PeaceIsQuiet {
    is_calm: bool,
    running: BTreeMap<ProcessId, String>,
}

impl Checker for PeaceIsQuiet {
    fn rule(&self) -> &'static str {
        "while there is no fault nobody who runs is suspected or failed"
    }

    fn see(&mut self, _: Time, process: ProcessId, seen: &Observation) -> Result<(), String> {
        match seen {
            Observation::Calm(is_calm) => self.is_calm = *is_calm,
            Observation::Started { name, .. } => {
                self.running.insert(process, name.clone());
            }
            Observation::Stopped(_) => {
                self.running.remove(&process);
            }
            Observation::Told(Event::Suspected(change) | Event::Failed(change)) if self.is_calm => {
                let name = &change.member.name;
                if self.running.values().any(|running| running == &**name) {
                    return Err(format!("{name} runs and is {}: {:?}", change.member.state, change.cause));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// **No core asks to be stopped**: every name in these worlds belongs to one host, so nobody ever claims another's.
#[derive(Debug, Clone, Copy)]
pub struct NeverStopsItself;

impl Checker for NeverStopsItself {
    fn rule(&self) -> &'static str {
        "a node does not stop itself while its name is its own"
    }

    fn see(&mut self, _: Time, _: ProcessId, seen: &Observation) -> Result<(), String> {
        match seen {
            Observation::AskedToStop(reason) => Err(reason.to_string()),
            _ => Ok(()),
        }
    }

    fn survives_forgery(&mut self, _: usize) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use thane_core::{Cause, Change, Config, Member, Node, Path, Seed, Stats};

    use super::super::Limits;
    use super::*;
    use crate::world::HostId;

    fn member(incarnation: u32, state: State) -> Member {
        let config = Config::lan("n1", SocketAddr::from(([10, 0, 0, 2], 7946)));
        let member = Node::new(config, Seed::from(1), Time::ZERO).unwrap().local();
        Member { incarnation, state, ..member }
    }

    /// Whether a join of `n1` that host 0 tells of is objected to. Its lives had these incarnations, and the last one has said goodbye.
    fn objects(lives: &[u32]) -> bool {
        let mut checker = LeftStaysLeft::default();
        let mut see = |process, seen| checker.see(Time::ZERO, process, &seen);
        let process = |host, life| ProcessId { host: HostId(host), life };
        let limits = Limits {
            queue_depth: 1,
            min_queue_depth: 0,
            health_score: 8,
            remembered: Duration::from_secs(30),
            complaints: false,
        };
        for (life, incarnation) in (1..).zip(lives) {
            let it = process(1, life);
            let local = member(*incarnation, State::Alive);
            see(it, Observation::Started { name: "n1".to_owned(), limits }).unwrap();
            see(it, Observation::State { local, life: LifeState::Alive, stats: Stats::default() }).unwrap();
        }
        let last = *lives.last().unwrap();
        see(process(1, lives.len() as u32), Observation::Stopped(Ending::Left)).unwrap();
        see(process(0, 1), Observation::View(vec![member(last, State::Left)])).unwrap();
        let cause = Cause::Announced { incarnation: last + 1, via: Path::Local };
        let joined = Change { member: member(last + 1, State::Alive), cause };
        see(process(0, 1), Observation::Told(Event::Joined(joined))).is_err()
    }

    #[test]
    fn only_the_goodbye_of_the_highest_incarnation_is_the_last_word() {
        for (lives, wanted) in [(&[1][..], true), (&[1, 2], true), (&[3, 3], true), (&[3, 1], false)] {
            assert_eq!(objects(lives), wanted, "{lives:?}");
        }
    }
}
