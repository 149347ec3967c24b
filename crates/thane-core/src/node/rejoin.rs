//! Finding the cluster again: after a restart, and after a partition that lasted longer than members are remembered.
//!
//! Source: Serf `serf.go` (handleRejoin). Differs from Serf: it tries each known member once and gives up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thane_wire::packet::Checksum;

use super::streams::Purpose;
use super::{LifeState, Node, Replay};
use crate::event::{Cause, Path};
use crate::lamport::LAMPORT_JUMP_MAX;
use crate::member::Status;
use crate::notice::{Layer, Level};
use crate::output::{OpId, Outcome};
use crate::snapshot::{Marks, Peer, Restored, SeenEvent};
use crate::table::MemberId;
use crate::time::Time;
use crate::timers::Timer;

/// How many members are tried at the same time.
const TRIED_AT_ONCE: usize = 4;
/// First and longest pause after all were tried in vain.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(120);
/// Most members that were forgotten as failed and are still looked for; the one lost first makes room for another.
pub(crate) const LOST_MAX: usize = 1024;
/// How much rarer than a failed member a lost one is asked.
const LOST_INTERVALS: u32 = 4;
/// One that has been lost for longer than this is asked rarer still, but never given up: nobody knows how long a partition lasts.
const LONG_LOST_TIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// How much rarer than others a long lost member is asked.
const LONG_LOST_RARITY: usize = 16;
/// Most lost members that one node asks at one time.
pub(super) const LOST_ASKED_AT_ONCE: usize = 8;

/// What is under way to find others.
#[derive(Debug, Default)]
pub(super) struct Rejoin {
    /// The members of the earlier life, as long as we are alone. Those that were alive come first.
    known: Vec<Peer>,
    failed_from: usize,
    /// Where each of them was, for the whole of this life: whoever knows one of them is of our cluster.
    earlier: BTreeMap<Arc<str>, SocketAddr>,
    next: usize,
    pause: Duration,
    trying: Option<OpId>,
    /// Until then nothing that happened while we were away is declined as history.
    missed_until: Time,
    /// Who is being tried.
    tried: Vec<Peer>,
    lost: BTreeMap<Arc<str>, Lost>,
    /// Lost members that were asked whether they are there, by the ping's number.
    asked: BTreeMap<u32, Arc<str>>,
    is_ticking: bool,
}

/// A member that failed and was forgotten.
#[derive(Debug)]
struct Lost {
    addr: SocketAddr,
    since: Time,
}

impl Rejoin {
    /// How many lost members are looked for, and how many of them are being asked.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.lost.len(), self.asked.len())
    }
}

impl Node {
    /// Tells a node that has just started of its earlier life: its clocks and its incarnation go on from there, what it has seen
    /// is not delivered again, and it looks for the members it knew until it finds one.
    ///
    /// Times too large to be true are ignored, with a notice.
    pub fn restore(&mut self, now: Time, restored: Restored) {
        self.advance(now);
        self.restore_marks(restored.marks, restored.seen);
        let own = self.own_name();
        let (mut alive, mut failed) = (restored.alive, restored.failed);
        // Whoever was at our own address was ourselves, under another name: we would find nobody but us there.
        let is_other = |peer: &Peer| peer.name != own && !self.is_own_address(peer.addr);
        alive.retain(is_other);
        failed.retain(is_other);
        for peer in restored.lost.iter().filter(|peer| peer.name != own).chain(&failed) {
            self.remember_lost(Arc::clone(&peer.name), peer.addr);
        }
        self.rejoin.failed_from = alive.len();
        self.rejoin.known = alive;
        self.rejoin.known.append(&mut failed);
        if !self.rejoin.known.is_empty() {
            self.rejoin.missed_until = Time::NEVER;
        }
        let earlier = self.rejoin.known.iter().map(|peer| (Arc::clone(&peer.name), peer.addr));
        self.rejoin.earlier = earlier.collect();
        self.has_cluster |= !self.rejoin.known.is_empty();
        self.shuffle_known();
        self.rejoin_step();
        self.settle();
    }

    /// How far this node has come.
    pub fn marks(&self) -> Marks {
        Marks {
            member: self.member_clock.time().saturating_sub(1),
            event: self.event_buffer.newest(),
            declined: self.event_buffer.declined(),
            query: self.query_buffer.newest(),
            incarnation: self.own_incarnation,
        }
    }

    /// All that a snapshot holds of this node.
    pub fn to_restore(&self) -> Restored {
        let peers = |wanted: fn(Status) -> bool| {
            let members = self.table.iter().filter(|(_, entry)| entry.status.is_some_and(wanted));
            members
                .map(|(_, entry)| Peer { name: entry.name.clone(), addr: entry.reached_at() })
                .collect::<Vec<Peer>>()
        };
        let mut alive = peers(|status| matches!(status, Status::Alive | Status::Leaving));
        // Those of the earlier life that we have not found yet must not be lost with this one. (Those that had failed then are
        // among the lost.)
        let sought = &self.rejoin.known[..self.rejoin.failed_from.min(self.rejoin.known.len())];
        alive.extend(sought.iter().filter(|peer| !self.is_listed(&peer.name)).cloned());
        Restored {
            marks: self.marks(),
            alive,
            failed: peers(|status| status == Status::Failed),
            lost: self.lost_members().collect(),
            seen: self.event_buffer.seen(),
        }
    }

    /// Whether this is where others reach us, on any network.
    pub(super) fn is_own_address(&self, addr: SocketAddr) -> bool {
        addr == self.config.advertise || self.config.networks.iter().any(|network| network.addr == addr)
    }

    /// Whether the earlier life knew a member of this name, there.
    pub(super) fn knew_earlier(&self, name: &str, addr: SocketAddr) -> bool {
        self.rejoin.earlier.get(name) == Some(&addr)
    }

    /// Whether the earlier life knew a member there.
    pub(super) fn knew_somebody_at(&self, addr: SocketAddr) -> bool {
        self.rejoin.earlier.values().any(|at| *at == addr)
    }

    fn restore_marks(&mut self, marks: Marks, seen: Vec<SeenEvent>) {
        let Marks { member, event, declined, query, incarnation } = marks;
        if [member, event, declined, query].into_iter().any(|mark| mark > LAMPORT_JUMP_MAX) {
            self.notice(Level::Warn, Layer::Serf, "restored_absurd", None, || {
                format!(
                    "ignoring the clocks of the snapshot ({member}, {event}, {query}): too large to be true"
                )
            });
        } else {
            // The check above is the one that they make.
            _ = self.member_clock.witness(member);
            _ = self.event_clock.witness(event);
            _ = self.query_clock.witness(query);
            self.event_buffer.restore(event, declined, seen);
            self.query_buffer.ignore_before(query + 1);
        }
        if incarnation >= self.own_incarnation {
            // Above anything said about our earlier life, so that nobody goes on holding us for dead.
            self.own_incarnation = incarnation;
            let next = incarnation.saturating_add(1);
            self.announce_ourselves(Cause::Announced { incarnation: next, via: Path::Local }, None);
        }
    }

    fn shuffle_known(&mut self) {
        let (alive, failed) = self.rejoin.known.split_at_mut(self.rejoin.failed_from);
        self.rng.shuffle(alive);
        self.rng.shuffle(failed);
    }

    /// Whether user events that a join would decline as history are those that we missed: we were a member when they were
    /// sent. What we have seen is before the time that `restore` has set.
    ///
    /// Differs from Serf: there a join at the start declines them, if it comes before the rejoin.
    pub(super) fn is_owed_events(&self) -> bool {
        self.now < self.rejoin.missed_until
    }

    /// A peer has told us all that it knows. Another one may know more, of an event that is just being passed on.
    pub(super) fn caught_up(&mut self) {
        if self.rejoin.missed_until == Time::NEVER {
            self.rejoin.missed_until = self.now + self.config.broadcast_timeout;
        }
    }

    // ---- the members of the earlier life ----

    /// Tries the next few, or pauses before all are tried anew. Whoever has found company has found the cluster.
    pub(super) fn rejoin_step(&mut self) {
        if self.life != LifeState::Alive || self.detector_has_company() {
            self.rejoin.known = Vec::new();
        }
        if self.rejoin.known.is_empty() || self.rejoin.trying.is_some() {
            return;
        }
        let some: Vec<Peer> =
            self.rejoin.known.iter().skip(self.rejoin.next).take(TRIED_AT_ONCE).cloned().collect();
        if some.is_empty() {
            self.rejoin_pause();
            return;
        }
        self.rejoin.next += some.len();
        for peer in &some {
            self.notice(Level::Info, Layer::Serf, "rejoin", Some(Arc::clone(&peer.name)), || {
                format!("Attempting re-join to previously known node: {}: {}", peer.name, peer.addr)
            });
        }
        let addrs: Vec<SocketAddr> = some.iter().map(|peer| peer.addr).collect();
        // What happened while we were away is delivered; what we have seen is before the time that `restore` has set.
        if let Ok(op) = self.start_join(&addrs, Replay::Old) {
            self.rejoin.trying = Some(op);
            self.rejoin.tried = some;
        }
    }

    fn rejoin_pause(&mut self) {
        self.rejoin.next = 0;
        self.shuffle_known();
        self.rejoin.pause = (self.rejoin.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        // Nodes that were started together do not knock together.
        let pause = self.rejoin.pause.mul_f64(0.75 + 0.5 * self.rng.unit());
        self.notice(Level::Warn, Layer::Serf, "rejoin_failed", None, || {
            format!(
                "Failed to re-join any previously known node; the next attempt is in {} s",
                pause.as_secs().max(1)
            )
        });
        self.timers.set(self.now + pause, Timer::RejoinTick);
    }

    /// The end of a command, if it was one of ours here: nobody else waits for it.
    pub(super) fn rejoin_over(&mut self, op: OpId, outcome: &Outcome) -> bool {
        if self.rejoin.trying != Some(op) {
            return false;
        }
        self.rejoin.trying = None;
        let tried = std::mem::take(&mut self.rejoin.tried);
        match outcome {
            // An address of old may have become our own: an exchange with ourselves finds nobody.
            Outcome::Join { contacted: 1.., failed } if self.detector_has_company() => {
                self.rejoin.known = Vec::new();
                let has_failed = |peer: &Peer| failed.iter().any(|failure| failure.addr == peer.addr);
                if let Some(peer) = tried.into_iter().find(|peer| !has_failed(peer)) {
                    self.notice(Level::Info, Layer::Serf, "rejoined", Some(Arc::clone(&peer.name)), || {
                        format!("Re-joined to previously known node: {}: {}", peer.name, peer.addr)
                    });
                }
            }
            _ => self.rejoin_step(),
        }
        true
    }

    // ---- members that were forgotten ----

    /// Goes on looking for a member that failed and is about to be forgotten: its side of a partition may be alive and well.
    pub(super) fn remember_lost(&mut self, name: Arc<str>, addr: SocketAddr) {
        if name.is_empty() {
            return;
        }
        if self.rejoin.lost.len() >= LOST_MAX
            && !self.rejoin.lost.contains_key(&name)
            && let Some(first) = self.rejoin.lost.iter().min_by_key(|(_, lost)| lost.since)
        {
            let first = Arc::clone(first.0);
            self.rejoin.lost.remove(&first);
        }
        self.rejoin.lost.insert(name, Lost { addr, since: self.now });
        if !std::mem::replace(&mut self.rejoin.is_ticking, true) {
            self.timers.set(self.now + LOST_INTERVALS * self.config.reconnect_interval, Timer::LostTick);
        }
    }

    /// Whether somebody of this name is a member at present, in any status.
    fn is_listed(&self, name: &str) -> bool {
        self.table.find(name).is_some_and(|id| self.table[id].status.is_some())
    }

    /// Members that failed, were forgotten and are still looked for.
    pub fn lost_members(&self) -> impl Iterator<Item = Peer> {
        let lost = self.rejoin.lost.iter().filter(|(name, _)| !self.is_listed(name));
        lost.map(|(name, lost)| Peer { name: Arc::clone(name), addr: lost.addr })
    }

    /// The failed member is erased because its time is over.
    pub(super) fn member_timed_out(&mut self, id: MemberId) {
        let entry = &self.table[id];
        if entry.status == Some(Status::Failed) {
            let (name, addr) = (entry.name.clone(), entry.reached_at());
            self.remember_lost(name, addr);
        }
    }

    /// Somebody says that the member is gone for good.
    pub(super) fn forget_lost(&mut self, name: &str) {
        self.counters.lost_given_up += u64::from(self.rejoin.lost.remove(name).is_some());
    }

    /// Asks lost members whether they are there; together the members ask each about once an interval, as with those that have failed.
    pub(super) fn lost_tick(&mut self) {
        self.drop_found();
        self.rejoin.asked.clear();
        let lost = self.rejoin.lost.len();
        self.rejoin.is_ticking = lost > 0;
        if !self.rejoin.is_ticking {
            return;
        }
        self.timers.set(self.now + LOST_INTERVALS * self.config.reconnect_interval, Timer::LostTick);
        if self.life != LifeState::Alive {
            return;
        }
        let share = lost as f64 / self.table.status_alive().max(1) as f64;
        let certain = (share as usize).min(LOST_ASKED_AT_ONCE);
        let one_more = self.rng.unit() < share.fract();
        for _ in 0..(certain + usize::from(one_more)).min(LOST_ASKED_AT_ONCE) {
            let at = self.rng.below(lost);
            self.ask_lost(at);
        }
    }

    /// Those that are members again are no longer lost. Nor are those whose address has gone to another member: machines come and
    /// go, and whoever lives there now need not hear of its forerunners.
    fn drop_found(&mut self) {
        let live = self.table.iter().filter(|(_, entry)| entry.is_live());
        let taken: BTreeSet<SocketAddr> = live.map(|(_, entry)| entry.reached_at()).collect();
        let table = &self.table;
        let known = |name: &str| table.find(name).is_some_and(|id| table[id].status.is_some());
        let (before, mut found) = (self.rejoin.lost.len(), 0);
        self.rejoin.lost.retain(|name, lost| {
            let is_known = known(name);
            found += usize::from(is_known);
            !is_known && !taken.contains(&lost.addr)
        });
        self.counters.lost_given_up += (before - found - self.rejoin.lost.len()) as u64;
    }

    /// It is asked by name, with a ping: its address may have gone to a member of some other cluster, which must not be joined with
    /// ours.
    fn ask_lost(&mut self, at: usize) {
        let Some((name, lost)) = self.rejoin.lost.iter().nth(at) else { return };
        let (name, to) = (Arc::clone(name), lost.addr);
        if self.now.since(lost.since) > LONG_LOST_TIME && self.rng.below(LONG_LOST_RARITY) > 0 {
            return;
        }
        let seq = self.next_seq();
        let ping = self.encode_ping(seq, &name);
        self.rejoin.asked.insert(seq, name);
        self.send(to, Checksum::Omit, &[ping]);
    }

    /// Whether the ack is that of a lost member; then we exchange state with it, and are one cluster again.
    pub(super) fn lost_answered(&mut self, seq: u32) -> bool {
        let Some(name) = self.rejoin.asked.remove(&seq) else { return false };
        if let Some(lost) = self.rejoin.lost.get(&name) {
            let to = lost.addr;
            self.notice(Level::Info, Layer::Serf, "reconnect", Some(name.clone()), || {
                format!("{name}, forgotten as failed, answers at {to}; joining it again")
            });
            self.dial(to, Purpose::PushPull { join: true, op: None }, self.config.tcp_timeout);
        }
        true
    }
}
