//! Serf's view of members: what the detector's changes mean, intents, forgetting, reconnecting.
//!
//! Source: Serf `serf.go` (handleNodeJoin, handleNodeLeave, handleNodeUpdate, handleNodeLeaveIntent, handleNodeJoinIntent,
//! handlePrune, reap, reconnect).

use std::sync::Arc;
use std::time::Duration;

use thane_wire::gossip;
use thane_wire::serf::{Join, Leave, SerfMessage};

use super::gossip::QUEUE_SURGE;
use super::recent_intents::{IntentKind, Upsert};
use super::streams::Purpose;
use super::{LifeState, Node};
use crate::broadcast_queue::Message;
use crate::event::{Cause, Event, Path};
use crate::formulas::reconnect_chance;
use crate::lamport::LamportJump;
use crate::member::{State, Status};
use crate::notice::{Layer, Level};
use crate::output::OpId;
use crate::table::MemberId;
use crate::timers::Timer;

/// Most members that are told in one pass of the reaper that they are held for leaving.
const ASKED_AT_ONCE_MAX: usize = 64;

impl Node {
    // ---- hooks from the detector ----

    /// The detector found a member alive that it held for dead, left or unknown.
    pub(super) fn member_joined(&mut self, id: MemberId, cause: Cause) {
        let (now, flap) = (self.now, self.config.flap_timeout);
        let entry = &self.table[id];
        let mut status = Status::Alive;
        match entry.status {
            None => {
                if let Some(intent) = self.recent_intents.get(&entry.name) {
                    if intent.kind == IntentKind::Leave {
                        status = Status::Leaving;
                    }
                    let ltime = intent.ltime;
                    self.table[id].status_ltime = ltime;
                } else {
                    self.table[id].status_ltime = 0;
                }
            }
            Some(Status::Failed) if now.since(entry.gone_since()) < flap => self.counters.member_flaps += 1,
            Some(_) => {}
        }
        self.set_status(id, Some(status));
        self.record(id, &cause);
        self.emit(id, Event::Joined, cause);
    }

    /// The detector declared a member dead, or it said goodbye. Whether that is a failure, its intent decides.
    ///
    /// Differs from Serf: only who leaves says goodbye, so that is a leave even if the intent has not arrived yet. Serf reports a
    /// failure then, and a leave once it hears the intent.
    pub(super) fn member_gone(&mut self, id: MemberId, cause: Cause) {
        let said_goodbye = matches!(cause, Cause::SaidGoodbye { .. });
        match self.table[id].status {
            Some(Status::Leaving) => self.member_left(id, cause),
            Some(Status::Alive) if said_goodbye => self.member_left(id, cause),
            Some(Status::Alive) => {
                self.set_status(id, Some(Status::Failed));
                self.record(id, &cause);
                self.emit(id, Event::Failed, cause);
            }
            Some(Status::Left | Status::Failed) | None => self.record(id, &cause),
        }
        let name = self.table[id].name.clone();
        self.no_longer_awaited(&name);
    }

    fn member_left(&mut self, id: MemberId, cause: Cause) {
        self.set_status(id, Some(Status::Left));
        self.record(id, &cause);
        self.emit(id, Event::Left, cause);
    }

    /// The leave intent that made a member leave, as a packet carries it; none for a name so long that it would crowd out the rest, and
    /// none if the member is to be erased: that must reach everybody as it was said.
    pub(super) fn leave_intent_held(&self, id: MemberId) -> Option<Arc<Message>> {
        let entry = &self.table[id];
        if self.awaiting_prune.contains(&entry.name) {
            return None;
        }
        let mut message = Vec::new();
        SerfMessage::Leave(Leave { ltime: entry.status_ltime, node: &entry.name, prune: false })
            .encode(&mut message);
        let framed = Some(frame(&message)).filter(|intent| intent.len() <= self.packet_room() / 8);
        framed.map(|intent| self.shared(None, &intent))
    }

    pub(super) fn member_updated(&mut self, id: MemberId, cause: Cause) {
        self.emit(id, Event::Updated, cause);
    }

    // ---- messages ----

    /// A message of Serf's layer, from gossip or sent directly.
    pub(super) fn serf_message(&mut self, payload: &[u8], via: Path) {
        if payload.is_empty() {
            return;
        }
        let message = match SerfMessage::decode(payload) {
            Ok(message) => message,
            Err(error) => {
                self.drop_message(Layer::Serf, "serf_message_dropped", || {
                    format!("dropped a message of type {}: {error}", payload[0])
                });
                return;
            }
        };
        let news = match &message {
            SerfMessage::Leave(leave) => {
                let news = self.leave_intent(leave, via);
                news.then_some(Queue::Intents)
            }
            SerfMessage::Join(join) => self.join_intent(join.ltime, join.node, via).then_some(Queue::Intents),
            SerfMessage::UserEvent(event) => {
                let payload = event.payload.unwrap_or_default();
                let news = self.user_event_arrived(event.ltime, event.name, payload, event.coalesce);
                news.then_some(Queue::Events)
            }
            SerfMessage::Query(query) => self.query_arrived(query).then_some(Queue::Queries),
            SerfMessage::QueryResponse(response) => {
                self.query_response_arrived(response);
                None
            }
            SerfMessage::Relay(relay) => {
                self.relay_arrived(relay);
                None
            }
            _ => {
                self.drop_message(Layer::Serf, "serf_message_dropped", || {
                    format!("dropped a message of type {}, which does not travel by itself", payload[0])
                });
                None
            }
        };
        // Rebroadcast byte for byte: extra keys that we do not know survive.
        if let Some(queue) = news {
            self.queue_serf(queue, payload, None);
        }
    }

    /// Queues a Serf message (its own type byte first) for gossip.
    pub(super) fn queue_serf(&mut self, queue: Queue, message: &[u8], op: Option<OpId>) {
        let message = self.shared(None, &frame(message));
        let surge = self.queue_depth_max().saturating_mul(QUEUE_SURGE);
        let queue = match queue {
            Queue::Intents => &mut self.intents,
            Queue::Queries => &mut self.queries,
            Queue::Events => &mut self.events,
        };
        queue.queue(message, None, op);
        if queue.len() > surge {
            self.counters.broadcasts_pruned += queue.prune(surge) as u64;
        }
    }

    pub(super) fn refuse_jump(&mut self, ltime: u64) {
        self.counters.lamport_jumps_refused += 1;
        self.notice(Level::Warn, Layer::Serf, "lamport_jump", None, || {
            format!("dropped a message with Lamport time {ltime}, absurdly far ahead of ours")
        });
    }

    // ---- intents ----

    /// Somebody leaves, or is told to. True if others should hear of it from us.
    pub(super) fn leave_intent(&mut self, leave: &Leave<'_>, via: Path) -> bool {
        if self.member_clock.witness(leave.ltime) == Err(LamportJump) {
            self.refuse_jump(leave.ltime);
            return false;
        }
        let Some(id) = self.serf_knows(leave.node) else {
            self.forget_lost(leave.node);
            return self.remember_intent(leave.node, IntentKind::Leave, leave.ltime);
        };
        let held = self.table[id].status_ltime;
        if id == self.own && self.life == LifeState::Alive {
            // We are not leaving: say so, and do not help the rumour. Differs from Serf: it ignores a forced leave that somebody issued at
            // the very time of our own join intent, and whoever heard that leave first holds us for leaving from then on.
            if leave.ltime >= held && leave.ltime > 0 {
                self.send_join_intent();
            }
            return false;
        }
        if leave.ltime <= held {
            return false;
        }
        self.counters.intents_accepted += 1;
        // Always, even if nothing else changes: otherwise the intent would go round for ever.
        self.table[id].status_ltime = leave.ltime;
        let cause = Cause::LeaveIntent { ltime: leave.ltime, via };
        match self.table[id].status {
            Some(Status::Alive) => {
                self.set_status(id, Some(Status::Leaving));
                self.record(id, &cause);
            }
            Some(Status::Failed) => self.member_left(id, cause),
            Some(Status::Leaving | Status::Left) => {}
            None => return false,
        }
        if !leave.prune
            && self.table[id].status == Some(Status::Left)
            && let Some(intent) = self.leave_intent_held(id)
        {
            // The goodbye or the death notice came first and may still be waiting.
            self.statements.escort(&self.table[id].name, intent);
        }
        if leave.prune {
            self.prune(id);
        }
        true
    }

    /// Somebody is back, or was never away. True if others should hear of it from us.
    pub(super) fn join_intent(&mut self, ltime: u64, node: &str, via: Path) -> bool {
        if self.member_clock.witness(ltime) == Err(LamportJump) {
            self.refuse_jump(ltime);
            return false;
        }
        let Some(id) = self.serf_knows(node) else {
            return self.remember_intent(node, IntentKind::Join, ltime);
        };
        if ltime <= self.table[id].status_ltime {
            return false;
        }
        self.counters.intents_accepted += 1;
        self.table[id].status_ltime = ltime;
        let cause = Cause::JoinIntent { ltime, via };
        match self.table[id].status {
            Some(Status::Leaving) => {
                self.set_status(id, Some(Status::Alive));
                self.record(id, &cause);
            }
            // It was failed although it lives (see `steady`), and then force-left: it objects.
            Some(Status::Left) if self.table[id].is_live() => self.member_joined(id, cause),
            _ => {}
        }
        true
    }

    /// A peer lists a member as left, with the status time it holds. The true time of the leave is unknown; one past the status
    /// time makes it count.
    ///
    /// Differs from Serf: about a member that is live here, a list no newer than what we hold is ignored. It is the list of
    /// somebody who has not heard yet that the member came back. And about a member that we too hold for leaving or left there is
    /// nothing to make count: there, its status time grows by one with every exchange and overtakes real intents.
    pub(super) fn listed_as_left(&mut self, name: &str, listed: u64, via: Path) {
        let mut ltime = listed.saturating_add(1);
        if let Some(id) = self.serf_knows(name)
            && id != self.own
        {
            let entry = &self.table[id];
            if entry.is_live() && listed <= entry.status_ltime {
                return;
            }
            if matches!(entry.status, Some(Status::Leaving | Status::Left)) {
                ltime = listed;
            }
        }
        self.leave_intent(&Leave { ltime, node: name, prune: false }, via);
    }

    /// A peer holds a status time of ours that is newer than the one we know: of an earlier life, or of a leave intent that never
    /// reached us, by which it may hold us for leaving. Say that we are here.
    ///
    /// Differs from Serf: it takes the time over in silence, and then has nothing with which to refute.
    pub(super) fn peer_holds_of_us(&mut self, ltime: u64) {
        if ltime > self.table[self.own].status_ltime && self.life == LifeState::Alive {
            self.send_join_intent();
        }
    }

    fn serf_knows(&self, name: &str) -> Option<MemberId> {
        self.table.find(name).filter(|id| self.table[*id].status.is_some())
    }

    fn remember_intent(&mut self, name: &str, kind: IntentKind, ltime: u64) -> bool {
        let interner = self.config.interner.as_ref();
        let named = |name: &str| interner.and_then(|it| it.name(name)).unwrap_or_else(|| name.into());
        match self.recent_intents.upsert(name, kind, ltime, self.now, named) {
            Upsert::News => true,
            Upsert::Old => false,
            Upsert::Refused => {
                self.counters.recent_intents_dropped += 1;
                false
            }
        }
    }

    /// Announces us to Serf's layer everywhere: after a join, and against a rumour of our leaving. Who is in fact leaving says
    /// nothing: its leave must stay the last word.
    pub(super) fn send_join_intent(&mut self) {
        if self.life != LifeState::Alive {
            return;
        }
        let ltime = self.member_clock.time();
        let own = self.own_name();
        self.join_intent(ltime, &own, Path::Local);
        let mut message = Vec::new();
        SerfMessage::Join(Join { ltime, node: &own }).encode(&mut message);
        self.queue_serf(Queue::Intents, &message, None);
    }

    // ---- forgetting ----

    /// Force-leave with prune: a member that is still leaving first gets the time to finish.
    ///
    /// Differs from Serf: it waits holding its membership lock, and then erases even a member that has refuted meanwhile.
    fn prune(&mut self, id: MemberId) {
        if self.table[id].status == Some(Status::Leaving) {
            let wait = self.config.broadcast_timeout + self.config.leave_propagate_delay;
            let name = self.table[id].name.clone();
            if self.awaiting_prune.insert(name.clone()) {
                self.timers.set(self.now + wait, Timer::PruneWait { name });
            }
        } else {
            self.erase_unless_live(id);
        }
    }

    pub(super) fn prune_wait_over(&mut self, name: &Arc<str>) {
        self.awaiting_prune.remove(name);
        if let Some(id) = self.serf_knows(name) {
            self.erase_unless_live(id);
        }
    }

    fn erase_unless_live(&mut self, id: MemberId) {
        if id != self.own && !self.table[id].is_live() {
            self.erase(id, Cause::Pruned);
        }
    }

    fn erase(&mut self, id: MemberId, cause: Cause) {
        self.emit(id, Event::Reaped, cause);
        self.set_status(id, None);
        self.table.remove_if_unknown(id);
    }

    /// Forgets members that have been gone for long enough, and old intents.
    pub(super) fn reap_tick(&mut self) {
        self.timers.set(self.now + self.config.reap_interval, Timer::ReapTick);
        let lists = [
            (self.table.failed().to_vec(), self.config.reconnect_timeout),
            (self.table.left().to_vec(), self.config.tombstone_timeout),
        ];
        for (list, timeout) in lists {
            for id in list {
                if self.table[id].is_live() {
                    // Held for unsteady: it is there.
                    continue;
                }
                let after = self.now.since(self.table[id].gone_since());
                let timeout = self.forget_after(id, timeout);
                if after > timeout && id != self.own {
                    self.member_timed_out(id);
                    self.erase(id, Cause::TimedOut { after });
                }
            }
        }
        self.recent_intents.reap(self.now, self.config.recent_intent_timeout);
        self.ask_the_leaving();
    }

    /// How long a member that is gone is remembered: the application may know better.
    fn forget_after(&self, id: MemberId, default: Duration) -> Duration {
        match &self.config.delegate {
            Some(delegate) => delegate.forget_after(&self.table[id].view(), default),
            None => default,
        }
    }

    /// Members that have been leaving for longer than any leave takes, and yet answer probes, have not heard what is said about them:
    /// an intent is gossiped only so many times. They are told directly, so that they can object.
    fn ask_the_leaving(&mut self) {
        if self.table.leaving() == 0 {
            return;
        }
        let enough = 2 * self.config.broadcast_timeout + self.config.leave_propagate_delay;
        let (own, now) = (self.own, self.now);
        let overdue = self.table.iter().filter(|(id, entry)| {
            *id != own
                && entry.status == Some(Status::Leaving)
                && entry.is_live()
                && now.since(entry.gone_since()) > enough
        });
        let overdue: Vec<MemberId> = overdue.map(|(id, _)| id).take(ASKED_AT_ONCE_MAX).collect();
        for id in overdue {
            let (name, ltime, to) =
                (self.table[id].name.clone(), self.table[id].status_ltime, self.table[id].reached_at());
            let mut message = Vec::new();
            SerfMessage::Leave(Leave { ltime, node: &name, prune: false }).encode(&mut message);
            self.send_serf_directly(to, &name, &message);
        }
    }

    // ---- reconnecting ----

    /// Now and then, tries to reach one failed member. The whole cluster together tries each about once an interval.
    pub(super) fn reconnect_tick(&mut self) {
        self.timers.set(self.now + self.config.reconnect_interval, Timer::ReconnectTick);
        let failed = self.table.failed();
        if failed.is_empty() || self.life != LifeState::Alive {
            return;
        }
        let chance = reconnect_chance(self.table.with_status(), failed.len(), self.table.left().len());
        let at = self.rng.below(failed.len());
        if self.rng.unit() > f64::from(chance) {
            return;
        }
        let entry = &self.table[self.table.failed()[at]];
        let (to, name) = (entry.reached_at(), entry.name.clone());
        self.notice(Level::Info, Layer::Serf, "reconnect", Some(name.clone()), || {
            format!("trying to reach failed member {name} at {to}")
        });
        self.dial(to, Purpose::PushPull { join: true, op: None }, self.config.tcp_timeout);
    }

    /// Whether a member other than ourselves is alive for Serf: only then is there anybody to wait for.
    pub(super) fn has_company(&self) -> bool {
        let own_is_alive = self.table[self.own].status == Some(Status::Alive);
        self.table.status_alive() > usize::from(own_is_alive)
    }

    /// The same for the detector.
    pub(super) fn detector_has_company(&self) -> bool {
        let own_is_live = matches!(self.table[self.own].state, State::Alive | State::Suspect);
        self.table.live() > usize::from(own_is_live)
    }
}

/// A Serf message (its own type byte first) as a part of a packet.
fn frame(message: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(message.len() + 1);
    gossip::encode_user(message, &mut framed);
    framed
}

/// One of Serf's gossip queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queue {
    Intents,
    Queries,
    Events,
}

#[cfg(test)]
mod tests;
