//! Full state exchanges: writing what we know, and merging what a peer knows.
//!
//! Source: memberlist `net.go` and `state.go` (sendLocalState, mergeRemoteState, mergeState); Serf `delegate.go`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use thane_wire::gossip::{Alive, Dead, NodeState, NodeStateKind, Suspect, ip_bytes};
use thane_wire::serf::{PushPullState, SerfMessage, UserEvents};
use thane_wire::stream::{PushPull, Role};

use super::streams::{Purpose, Stream};
use super::{LifeState, Node};
use crate::delegate::{Candidate, Veto};
use crate::event::{Cause, Path};
use crate::formulas::push_pull_scale;
use crate::interner::Identity;
use crate::member::{State, Status};
use crate::notice::{Layer, Level};
use crate::output::{ExchangeError, OpId};
use crate::shared_state::{Form, Listed, SHARED_MEMBERS_MIN, SharedMessage};
use crate::timers::Timer;

impl Node {
    /// Exchanges state with one random live member, rarer in large clusters.
    pub(super) fn push_pull_tick(&mut self) {
        let scale = push_pull_scale(self.table.known());
        self.timers.set(self.now + self.config.push_pull_interval * scale, Timer::PushPullTick);
        self.allow_extra_push_pulls();
        if !self.push_pull_must_wait() {
            self.push_pull_with_somebody();
        }
    }

    pub(super) fn push_pull_with_somebody(&mut self) {
        let own = self.own;
        let chosen =
            self.table.choose(&mut self.rng, 1, |id, entry| id != own && entry.state == State::Alive);
        if let Some(id) = chosen.first() {
            let to = self.table[*id].reached_at();
            self.dial(to, Purpose::PushPull { join: false, op: None }, self.config.tcp_timeout);
        }
    }

    // ---- writing ----

    /// A push/pull message of everything we know, as it goes onto the stream.
    pub(super) fn sealed_state(&mut self, role: Role, join: bool, nonce: [u8; 12]) -> Bytes {
        if let Some(bytes) = self.shared_state(role, join, nonce) {
            return bytes;
        }
        let members = self.table.ring().iter().map(|id| &self.table[*id]);
        let records = members.map(|entry| (&**entry.identity(), entry.incarnation, entry.state));
        let known = self.table.iter().filter(|(_, entry)| entry.status.is_some());
        let status_ltimes = known.map(|(_, entry)| (&*entry.name, entry.status_ltime)).collect();
        let message = self.encode_state(join, records, status_ltimes);
        self.codec.seal_stream(role, &message, nonce).into()
    }

    /// The same for a node that shares with others of its process what it knows.
    fn shared_state(&mut self, role: Role, join: bool, nonce: [u8; 12]) -> Option<Bytes> {
        let interner = self.config.interner.clone()?;
        let config = self.codec.config();
        if self.table.len() < SHARED_MEMBERS_MIN || !config.keyring.is_empty() {
            return None;
        }
        let form = Form {
            role,
            join,
            compression: config.compression,
            label: config.label.clone(),
            user_state: self.encode_user_state(Vec::new(), false).into(),
        };
        let (table, own_roll) = (&self.table, &mut self.own_roll);
        let roll = interner.states(|states| own_roll.update(table, states))?;
        if let Some(bytes) = interner.states(|states| states.message(&roll, &form)) {
            return Some(bytes);
        }
        let records = roll.iter().map(|held| (&*held.identity, held.incarnation, held.state));
        let known = roll.iter().filter(|held| held.status.is_some());
        let status_ltimes = known.map(|held| (&*held.identity.name, held.status_ltime)).collect();
        let message = self.encode_state(join, records, status_ltimes);
        let bytes = Bytes::from(self.codec.seal_stream(role, &message, nonce));
        interner.states(|states| states.add(roll, form, bytes.clone()));
        Some(bytes)
    }

    /// The state exchange of a node of the same process that begins with the very bytes that have arrived, if we can read it.
    pub(super) fn shared_message(&self, role: Role, bytes: &[u8]) -> Option<Arc<SharedMessage>> {
        let message = self.config.interner.as_ref()?.states(|states| states.find(bytes))?;
        let (form, config) = (&message.form, self.codec.config());
        let is_readable = form.role != role
            && form.label == config.label
            && !config.skip_inbound_label_check
            && config.keyring.is_empty();
        is_readable.then_some(message)
    }

    /// A state exchange of a node of the same process, with those members only of whom we do not hold just what it says. It is judged as
    /// if all had been there: an announcement, a death or a status time that is held already changes nothing.
    pub(super) fn news_of(&self, message: &SharedMessage) -> Option<PushPull> {
        // A delegate wants to see everybody, a command may want to know who was met, and who leaves has rules of his own.
        let plain = self.config.delegate.is_none()
            && self.ops.is_empty()
            && self.life == LifeState::Alive
            && self.table[self.own].status == Some(Status::Alive);
        if !plain {
            return None;
        }
        let news = self.own_roll.news_in(&self.table, message);
        // An exchange is refused if none of it fits; of a part of it that cannot be said.
        let fits =
            |listed: &&Listed| listed.state != State::Alive || self.versions_fit(&listed.identity.versions);
        let form = &message.form;
        let SerfMessage::PushPull(of_serf) = SerfMessage::decode(&form.user_state).ok()? else { return None };
        news.iter().all(fits).then(|| exchange_of(form.join, &news, of_serf))
    }

    /// A push/pull message with these members, and in Serf's half those with their status times.
    fn encode_state<'a>(
        &self,
        join: bool,
        members: impl Iterator<Item = (&'a Identity, u32, State)>,
        status_ltimes: Vec<(&'a str, u64)>,
    ) -> Vec<u8> {
        let count = self.table.known();
        let mut records = Vec::with_capacity(128 * count);
        for (identity, incarnation, state) in members {
            encode_record(identity, incarnation, state, &mut records);
        }
        let user_state = self.encode_user_state(status_ltimes, true);
        let mut message = Vec::with_capacity(records.len() + user_state.len() + 64);
        PushPull::encode(join, count, &records, &user_state, &mut message);
        message
    }

    /// Serf's half: the clocks, who has which status time, who has left, and recent user events.
    /// Differs from Serf: it sends a slot for each of its 512 Lamport times, empty or not.
    fn encode_user_state(&self, status_ltimes: Vec<(&str, u64)>, with_left: bool) -> Vec<u8> {
        let left: &[_] = if with_left { self.table.left() } else { &[] };
        let left = left.iter().map(|id| &*self.table[*id].name).collect();
        let events = self.event_buffer.slots().map(|(ltime, events)| {
            let events = events.iter().map(|(name, payload)| (&**name, Some(&payload[..]))).collect();
            Some(UserEvents { ltime, events })
        });
        let state = PushPullState {
            ltime: self.member_clock.time(),
            status_ltimes,
            left_members: Some(left),
            event_ltime: self.event_clock.time(),
            events: Some(events.collect()),
            query_ltime: self.query_clock.time(),
        };
        let mut bytes = Vec::with_capacity(24 * state.status_ltimes.len() + 128);
        SerfMessage::PushPull(state).encode(&mut bytes);
        bytes
    }

    // ---- merging ----

    /// Takes over what a peer knows; `part_of` is the command whose exchange it is.
    ///
    /// Differs from Serf, which judges an exchange as a whole: a member whose versions do not fit is left out, and the exchange fails only if
    /// nothing of it fits.
    pub(super) fn merge(
        &mut self,
        peer: SocketAddr,
        remote: &PushPull,
        part_of: Option<OpId>,
    ) -> Result<(), ExchangeError> {
        let via = Path::PushPull(peer);
        let own_name = self.own_name();
        // Asked before the members are merged: afterwards everybody is known.
        let is_history = self.declines_history_of(remote, part_of);
        self.catching_up = self.is_news_to_us_alone();
        if self.catching_up {
            self.table.expect(remote.header.nodes);
        }
        let (mut fitting, mut has_others) = (0, false);
        let mut misfit: Option<Arc<str>> = None;
        for record in remote.nodes() {
            match record {
                Ok(record) if record.state == NodeStateKind::Alive && !self.record_fits(&record) => {
                    misfit = Some(self.table.intern(record.name));
                }
                Ok(record) => {
                    fitting += 1;
                    has_others |= *record.name != *own_name;
                    self.merge_record(&record, &own_name, via);
                }
                Err(error) => self.drop_message(Layer::Memberlist, "record_dropped", || {
                    format!("dropped one member's record in a state exchange with {peer}: {error}")
                }),
            }
        }
        self.catching_up = false;
        self.newcomers_merged();
        if let Some(name) = misfit {
            let error = ExchangeError::Versions { name };
            if fitting == 0 {
                return Err(error);
            }
            self.notice(Level::Warn, Layer::Memberlist, "versions", None, || {
                format!("left out of a state exchange with {peer}: {error}")
            });
        }
        self.counters.push_pulls += 1;
        if !remote.user_state.is_empty() {
            self.merge_user_state(peer, remote, is_history);
        }
        // An address of others may have become our own: then we have met ourselves, and nobody else has heard of us.
        self.has_cluster |= has_others || fitting == 0;
        Ok(())
    }

    /// Whether a peer's state can be news to nobody but us: we know nobody, have told our state to nobody else, and nobody else is about
    /// to hear it. All who could learn something from us are then in the peer's cluster, where each member announces itself.
    ///
    /// Differs from Serf: whoever joins a cluster of n members there gossips all n of them anew, to members that know them.
    fn is_news_to_us_alone(&self) -> bool {
        let exchanging = |stream: &Stream| !matches!(stream.purpose(), Purpose::Ping { .. });
        !self.has_cluster && self.table.len() == 1 && !self.streams.values().any(exchanging)
    }

    /// Whether the application lets us be one cluster with a peer and all whom it knows. (memberlist: `state.go`, mergeRemoteState,
    /// `NotifyMerge`: it is asked only about exchanges that are part of a join, on either side.)
    pub(super) fn admit_exchange(&mut self, remote: &PushPull, join: bool) -> Result<(), Veto> {
        let Some(delegate) = self.config.delegate.as_ref().filter(|_| join) else { return Ok(()) };
        let port = self.config.bind_port;
        // Records that cannot be read are dropped later, with a notice.
        let records = remote.nodes().filter_map(Result::ok);
        let candidates: Vec<Candidate<'_>> =
            records.filter_map(|record| Candidate::recorded(&record, port)).collect();
        let verdict = delegate.admit_merge(&candidates);
        self.counters.merges_refused += u64::from(verdict.is_err());
        verdict
    }

    fn record_fits(&self, record: &NodeState<'_>) -> bool {
        record.versions.len() < 6 || self.versions_fit(record.versions)
    }

    /// What a peer believes, said as a message: somebody it holds dead is first suspected here, and may speak up.
    fn merge_record(&mut self, record: &NodeState<'_>, own_name: &Arc<str>, via: Path) {
        let (incarnation, node) = (record.incarnation, record.name);
        match record.state {
            NodeStateKind::Alive => {
                let alive = Alive {
                    incarnation,
                    node,
                    addr: record.addr,
                    port: record.port,
                    meta: record.meta,
                    versions: record.versions,
                };
                self.alive(&alive, via);
            }
            NodeStateKind::Left => {
                let dead = Dead { incarnation, node, from: node };
                self.dead(&dead, Cause::SaidGoodbye { via }, via);
            }
            NodeStateKind::Dead | NodeStateKind::Suspect => {
                let suspect = Suspect { incarnation, node, from: own_name };
                let cause = Cause::Accused { by: own_name.clone(), incarnation, via };
                self.suspect(&suspect, cause, via);
            }
            _ => {}
        }
    }

    fn merge_user_state(&mut self, peer: SocketAddr, remote: &PushPull, is_history: bool) {
        let state = match SerfMessage::decode(&remote.user_state) {
            Ok(SerfMessage::PushPull(state)) => state,
            Ok(_) => {
                self.drop_message(Layer::Serf, "user_state_dropped", || {
                    format!("the state exchange with {peer} carries another message than Serf's state")
                });
                return;
            }
            Err(error) => {
                self.drop_message(Layer::Serf, "user_state_dropped", || {
                    format!("dropped Serf's half of a state exchange with {peer}: {error}")
                });
                return;
            }
        };
        if !self.witness_peers_clocks(&state) {
            return;
        }
        self.merge_intents(&state, Path::PushPull(peer));
        if is_history {
            self.event_buffer.ignore_before(state.event_ltime);
        }
        for slot in state.events.into_iter().flatten().flatten() {
            for (name, payload) in slot.events {
                self.user_event_arrived(slot.ltime, name, payload.unwrap_or_default(), false);
            }
        }
        self.caught_up();
    }

    /// The peer's clocks stand past everything it has seen: ours come to stand no lower. False if one of them is absurd; then
    /// nothing of its state is believed.
    fn witness_peers_clocks(&mut self, state: &PushPullState<'_>) -> bool {
        let clocks = [
            (&mut self.member_clock, state.ltime),
            (&mut self.event_clock, state.event_ltime),
            (&mut self.query_clock, state.query_ltime),
        ];
        let mut absurd = None;
        for (clock, theirs) in clocks {
            if theirs > 0 && clock.witness(theirs - 1).is_err() {
                absurd = Some(theirs);
            }
        }
        if let Some(theirs) = absurd {
            self.refuse_jump(theirs);
            return false;
        }
        true
    }

    fn merge_intents(&mut self, state: &PushPullState<'_>, via: Path) {
        let own_name = self.own_name();
        let left = state.left_members.as_deref().unwrap_or_default();
        let mut left_sorted: Vec<&str> = left.to_vec();
        left_sorted.sort_unstable();
        if !left.is_empty() {
            let ltime_of: BTreeMap<&str, u64> = state.status_ltimes.iter().copied().collect();
            for name in left {
                let listed = ltime_of.get(name).copied().unwrap_or(0);
                self.listed_as_left(name, listed, via);
            }
        }
        for (name, ltime) in &state.status_ltimes {
            if left_sorted.binary_search(name).is_ok() {
                continue;
            }
            if **name == *own_name {
                self.peer_holds_of_us(*ltime);
            } else {
                // Nothing learned in an exchange is gossiped on.
                self.join_intent(*ltime, name, via);
            }
        }
    }
}

/// Appends the record of one member, unless the detector does not remember it.
fn encode_record(identity: &Identity, incarnation: u32, state: State, out: &mut Vec<u8>) {
    let kind = match state {
        State::Alive => NodeStateKind::Alive,
        State::Suspect => NodeStateKind::Suspect,
        State::Dead => NodeStateKind::Dead,
        State::Left => NodeStateKind::Left,
        State::Forgotten => return,
    };
    let encode = |out: &mut Vec<u8>| {
        let (addr, addr_len) = ip_bytes(identity.ip);
        NodeState {
            name: &identity.name,
            addr: &addr[..addr_len],
            port: identity.port,
            meta: (!identity.meta.is_empty()).then_some(&identity.meta[..]),
            incarnation,
            state: kind,
            versions: &identity.versions,
        }
        .encode(out);
    };
    let ready = if state == State::Alive { identity.alive_record(incarnation, encode) } else { None };
    match ready {
        Some(record) => out.extend_from_slice(record),
        None => encode(out),
    }
}

/// A state exchange of these members only. `of_serf` is Serf's half without any.
fn exchange_of<'a>(join: bool, members: &[&'a Listed], mut of_serf: PushPullState<'a>) -> PushPull {
    let (mut records, mut left) = (Vec::new(), Vec::new());
    for held in members {
        let name = &*held.identity.name;
        encode_record(&held.identity, held.incarnation, held.state, &mut records);
        of_serf.status_ltimes.extend(held.status.map(|_| (name, held.status_ltime)));
        left.extend((held.status == Some(Status::Left)).then_some(name));
    }
    of_serf.left_members = Some(left);
    let count = members.iter().filter(|held| held.state != State::Forgotten).count();
    let mut user_state = Vec::new();
    SerfMessage::PushPull(of_serf).encode(&mut user_state);
    PushPull::new(join, count, records.into(), user_state.into())
}

#[cfg(test)]
mod tests;
