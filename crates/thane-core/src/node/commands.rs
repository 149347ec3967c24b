//! Commands that take time: join, leave, force-leave, new tags. Each is an [`Op`] that ends with [`Output::Done`].

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use thane_wire::gossip::ip_from_bytes;
use thane_wire::limits::META_BYTES_MAX;
use thane_wire::serf::{Leave, SerfMessage};
use thane_wire::stream::PushPull;
use thane_wire::tags::Tags;

use super::status::Queue;
use super::streams::Purpose;
use super::{LifeState, Node, Prune, Replay};
use crate::event::{Cause, Path};
use crate::member::Status;
use crate::networks;
use crate::notice::{Layer, Level};
use crate::output::{BroadcastTimeout, CommandError, ExchangeError, JoinFailure, OpId, Outcome, Output};
use crate::timers::{Timer, TimerKey};

/// How many addresses of one join are tried at the same time.
const JOIN_PARALLEL_MAX: usize = 8;

/// A command under way.
#[derive(Debug)]
pub(super) struct Op {
    stage: Stage,
    timer: Option<TimerKey>,
}

/// What a command is waiting for.
#[derive(Debug)]
enum Stage {
    /// Exchanges with the addresses of a join.
    Joining(Joining),
    /// The leave intent to spread.
    LeaveIntent,
    /// The goodbye to spread.
    Goodbye,
    /// The last moments of a leave, in which probes are still answered.
    Lingering,
    /// A force-leave's intent to spread.
    ForceLeave,
    /// The announcement of new tags to spread.
    SetTags,
    /// All members to answer a question about their keys.
    Keys,
}

#[derive(Debug)]
struct Joining {
    waiting: VecDeque<SocketAddr>,
    open: usize,
    contacted: usize,
    failed: Vec<JoinFailure>,
    past: Past,
}

/// What a join makes of events from before it.
#[derive(Debug)]
enum Past {
    Wanted,
    /// Those of clusters that we join.
    Declined {
        /// Whether we belonged to a cluster before. What its members tell is not history but news.
        has_cluster: bool,
        /// Members that we have met since the join began, if we did, and by nobody of that cluster.
        met: BTreeSet<Arc<str>>,
    },
}

impl Node {
    fn new_op(&mut self, stage: Stage) -> OpId {
        let id = OpId(self.next_op);
        self.next_op += 1;
        self.ops.insert(id, Op { stage, timer: None });
        id
    }

    fn enter_stage(&mut self, id: OpId, stage: Stage, limit: Option<std::time::Duration>) {
        let timer = limit.map(|limit| self.timers.set(self.now + limit, Timer::OpStage { op: id }));
        if let Some(old) = self.ops.insert(id, Op { stage, timer })
            && let Some(old) = old.timer
        {
            self.timers.cancel(old);
        }
    }

    /// A command that ends with what the members say about their keys.
    pub(super) fn new_keys_op(&mut self) -> OpId {
        self.new_op(Stage::Keys)
    }

    /// Takes back a command that could not be begun.
    pub(super) fn drop_op(&mut self, id: OpId) {
        self.ops.remove(&id);
    }

    pub(super) fn finish(&mut self, id: OpId, outcome: Outcome) {
        if let Some(op) = self.ops.remove(&id) {
            if let Some(timer) = op.timer {
                self.timers.cancel(timer);
            }
            if self.rejoin_over(id, &outcome) || self.seeds_over(id, &outcome) {
                return;
            }
            self.outputs.push_back(Output::Done { op: id, outcome });
        }
    }

    /// The broadcast that a command waited for has been sent often enough (or was replaced).
    pub(super) fn op_broadcast_finished(&mut self, id: OpId) {
        match self.ops.get(&id).map(|op| &op.stage) {
            Some(Stage::LeaveIntent) => self.leave_the_detector(id),
            Some(Stage::Goodbye) => self.linger(id),
            Some(Stage::ForceLeave) => self.finish(id, Outcome::ForceLeave(Ok(()))),
            Some(Stage::SetTags) => self.finish(id, Outcome::SetTags(Ok(()))),
            Some(Stage::Joining(_) | Stage::Lingering | Stage::Keys) | None => {}
        }
    }

    /// Broadcasts that nobody is left to hear: whoever waits for them goes on.
    ///
    /// Differs from Serf: the last of a cluster that leaves together waits for the whole broadcast timeout.
    pub(super) fn release_without_audience(&mut self) {
        if self.ops.is_empty() || self.detector_has_company() {
            return;
        }
        let waiting = |op: &Op| !matches!(op.stage, Stage::Joining(_) | Stage::Lingering | Stage::Keys);
        let alone: Vec<OpId> = self.ops.iter().filter(|(_, op)| waiting(op)).map(|(id, _)| *id).collect();
        for id in alone {
            self.op_broadcast_finished(id);
        }
    }

    /// A stage ran out of time.
    pub(super) fn op_stage_over(&mut self, id: OpId) {
        let limit = self.config.broadcast_timeout;
        match self.ops.get(&id).map(|op| &op.stage) {
            Some(Stage::LeaveIntent) => {
                self.leave_late("intent");
                self.leave_the_detector(id);
            }
            Some(Stage::Goodbye) => {
                self.leave_late("goodbye");
                self.linger(id);
            }
            Some(Stage::Lingering) => {
                self.life = LifeState::Left;
                self.finish(id, Outcome::Leave);
            }
            Some(Stage::ForceLeave) => self.finish(id, Outcome::ForceLeave(Err(BroadcastTimeout(limit)))),
            Some(Stage::SetTags) => self.finish(id, Outcome::SetTags(Err(BroadcastTimeout(limit)))),
            Some(Stage::Joining(_) | Stage::Keys) | None => {}
        }
    }

    // ---- join ----

    pub(super) fn start_join(&mut self, addrs: &[SocketAddr], replay: Replay) -> Result<OpId, CommandError> {
        if self.life != LifeState::Alive {
            return Err(CommandError::JoinAfterLeave);
        }
        let past = match replay {
            Replay::Ignore => Past::Declined { has_cluster: self.has_cluster, met: BTreeSet::new() },
            Replay::Old => Past::Wanted,
        };
        let joining = Joining {
            waiting: addrs.iter().copied().collect(),
            open: 0,
            contacted: 0,
            failed: Vec::new(),
            past,
        };
        let id = self.new_op(Stage::Joining(joining));
        self.join_step(id);
        Ok(id)
    }

    /// Opens further exchanges of a join, or ends it.
    fn join_step(&mut self, id: OpId) {
        loop {
            let Some(Op { stage: Stage::Joining(joining), .. }) = self.ops.get_mut(&id) else { return };
            if joining.open < JOIN_PARALLEL_MAX
                && let Some(to) = joining.waiting.pop_front()
            {
                joining.open += 1;
                self.dial(to, Purpose::PushPull { join: true, op: Some(id) }, self.config.tcp_timeout);
                continue;
            }
            if joining.open > 0 {
                return;
            }
            let (contacted, failed) = (joining.contacted, std::mem::take(&mut joining.failed));
            if contacted > 0 {
                self.send_join_intent();
            }
            self.finish(id, Outcome::Join { contacted, failed });
            return;
        }
    }

    pub(super) fn join_exchange_over(
        &mut self,
        id: OpId,
        addr: SocketAddr,
        result: Result<(), ExchangeError>,
    ) {
        let Some(Op { stage: Stage::Joining(joining), .. }) = self.ops.get_mut(&id) else { return };
        joining.open -= 1;
        match result {
            Ok(()) => joining.contacted += 1,
            Err(error) => joining.failed.push(JoinFailure { addr, error }),
        }
        self.join_step(id);
    }

    /// Whether the events that a peer tells are history, which a join under way declines. `part_of` is the command whose exchange it is.
    ///
    /// A join may go on for long after it has found the cluster, because another address does not answer. What the members met so far
    /// tell us then, in exchanges apart from it, is news.
    ///
    /// Differs from Serf: there each exchange that is part of a join counts, even with a member of our own cluster (whose latest event
    /// we then never deliver), and an exchange that the peer begins does not.
    pub(super) fn declines_history_of(&self, remote: &PushPull, part_of: Option<OpId>) -> bool {
        let own = self.own_name();
        // Of ourselves we have nothing to learn: a list of seeds may be the same everywhere.
        let mut names = remote.nodes().flatten().map(|record| *record.name == *own).peekable();
        let is_ourselves = names.peek().is_some() && names.all(|is_own| is_own);
        if is_ourselves || self.is_owed_events() {
            return false;
        }
        let nobody = BTreeSet::new();
        self.ops.iter().any(|(id, op)| match &op.stage {
            Stage::Joining(Joining { past: Past::Declined { .. }, contacted: 1.., .. })
                if part_of != Some(*id) =>
            {
                !self.shares_member(remote, &nobody)
            }
            Stage::Joining(Joining { past: Past::Declined { has_cluster, met }, .. }) => {
                !(*has_cluster && self.shares_member(remote, met))
            }
            _ => false,
        })
    }

    /// Whether the peer knows somebody whom we knew, now or in an earlier life, before we met those: then it belongs to our cluster.
    fn shares_member(&self, remote: &PushPull, met: &BTreeSet<Arc<str>>) -> bool {
        let own = self.own_name();
        remote.nodes().flatten().filter(|record| *record.name != *own).any(|record| {
            let Some(ip) = ip_from_bytes(record.addr) else { return false };
            // As the table has it, whichever form of an IPv4 address the record bears.
            let addr = SocketAddr::new(ip.to_canonical(), self.port_of(record.port));
            let entry = self.table.find(record.name).map(|id| &self.table[id]);
            let is_ours = entry.is_some_and(|entry| {
                entry.status.is_some_and(|status| status != Status::Left)
                    && entry.addr() == addr
                    && !met.contains(record.name)
            });
            // Of an earlier life we know where its members were reached, which need not be what they announce.
            let route = networks::route(&self.config.networks, record.meta.unwrap_or_default());
            is_ours
                || self.knew_earlier(record.name, addr)
                || route.is_some_and(|(_network, at)| self.knew_earlier(record.name, at))
        })
    }

    /// A member is met for the first time. Whoever is introduced by a member of ours is one of ours, and not of a cluster that we join:
    /// what it tells, when it exchanges state with us while a join goes on, is news.
    pub(super) fn joins_meet(&mut self, name: &str, via: Path) {
        let joins_others = |op: &Op| {
            matches!(op.stage, Stage::Joining(Joining { past: Past::Declined { has_cluster: true, .. }, .. }))
        };
        // Whoever has no cluster of its own asks nobody whose member a peer is.
        if !self.ops.values().any(joins_others) {
            return;
        }
        let (Path::Packet(from) | Path::PushPull(from)) = via else { return };
        let knew_introducer = self.knew_somebody_at(from);
        let at_its_address =
            self.table.iter().filter(|(_, entry)| entry.is_live() && entry.reached_at() == from);
        let introducer = at_its_address.map(|(_, entry)| entry.name.clone()).next();
        for op in self.ops.values_mut() {
            let Stage::Joining(Joining { past: Past::Declined { has_cluster: true, met }, .. }) =
                &mut op.stage
            else {
                continue;
            };
            let is_introduced = introducer.as_ref().is_some_and(|introducer| !met.contains(introducer));
            if !knew_introducer && !is_introduced {
                met.insert(name.into());
            }
        }
    }

    // ---- leave ----

    /// Intent, goodbye, lingering: see Serf `serf.go`, Leave. A stage that runs out of time is told and the leave goes on.
    pub(super) fn start_leave(&mut self) -> Result<OpId, CommandError> {
        match self.life {
            LifeState::Alive => {}
            LifeState::Leaving => return Err(CommandError::LeaveInProgress),
            LifeState::Left => {
                let id = self.new_op(Stage::Lingering);
                self.finish(id, Outcome::Leave);
                return Ok(id);
            }
        }
        self.life = LifeState::Leaving;
        let own = self.own_name();
        let message = self.own_leave_intent(&own, false);
        let id = self.new_op(Stage::LeaveIntent);
        if self.has_company() {
            self.queue_serf(Queue::Intents, &message, Some(id));
            self.enter_stage(id, Stage::LeaveIntent, Some(self.config.broadcast_timeout));
        } else {
            self.leave_the_detector(id);
        }
        Ok(id)
    }

    /// Takes the next Lamport time for a leave intent, applies it here, and gives the message.
    fn own_leave_intent(&mut self, node: &str, prune: bool) -> Vec<u8> {
        let leave = Leave { ltime: self.member_clock.time(), node, prune };
        self.member_clock.increment();
        self.leave_intent(&leave, Path::Local);
        let mut message = Vec::new();
        SerfMessage::Leave(leave).encode(&mut message);
        message
    }

    fn leave_the_detector(&mut self, id: OpId) {
        self.enter_stage(id, Stage::Goodbye, Some(self.config.broadcast_timeout));
        self.say_goodbye(id);
        if !self.detector_has_company() {
            self.linger(id);
        }
    }

    fn linger(&mut self, id: OpId) {
        self.enter_stage(id, Stage::Lingering, Some(self.config.leave_propagate_delay));
    }

    fn leave_late(&mut self, what: &str) {
        let limit = self.config.broadcast_timeout;
        self.notice(Level::Warn, Layer::Serf, "leave_late", None, || {
            format!("the {what} of our leave was not passed on often enough within {limit:?}; leaving all the same")
        });
    }

    // ---- force-leave and tags ----

    pub(super) fn start_force_leave(&mut self, name: &str, prune: Prune) -> Result<OpId, CommandError> {
        if self.life == LifeState::Left {
            return Err(CommandError::Stopped);
        }
        let message = self.own_leave_intent(name, prune == Prune::Erase);
        let id = self.new_op(Stage::ForceLeave);
        if self.has_company() {
            self.queue_serf(Queue::Intents, &message, Some(id));
            self.enter_stage(id, Stage::ForceLeave, Some(self.config.broadcast_timeout));
        } else {
            self.finish(id, Outcome::ForceLeave(Ok(())));
        }
        Ok(id)
    }

    pub(super) fn start_set_tags(&mut self, tags: Tags) -> Result<OpId, CommandError> {
        if self.said_goodbye {
            return Err(CommandError::Stopped);
        }
        let meta = self.config.encode_meta(&tags);
        if meta.len() > META_BYTES_MAX {
            return Err(CommandError::TagsTooLarge);
        }
        self.config.tags = tags;
        self.own_meta = Bytes::from(meta);
        let id = self.new_op(Stage::SetTags);
        let incarnation = self.own_incarnation.saturating_add(1);
        self.announce_ourselves(Cause::Announced { incarnation, via: Path::Local }, Some(id));
        if self.detector_has_company() {
            self.enter_stage(id, Stage::SetTags, Some(self.config.broadcast_timeout));
        } else {
            self.finish(id, Outcome::SetTags(Ok(())));
        }
        Ok(id)
    }
}
