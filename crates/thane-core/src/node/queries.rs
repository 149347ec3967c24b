//! Queries that arrive: passing them on, acknowledging, delivering, answering, and relaying answers for others.
//!
//! Source: Serf `serf.go` (`handleQuery`), `query.go` (`respond`, `relayResponse`), `internal_query.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thane_wire::gossip::{encode_user, ip_from_bytes};
use thane_wire::serf::{
    self, QUERY_FLAG_ACK, QUERY_FLAG_NO_BROADCAST, Query, QueryResponse, RESPONSE_FLAG_ACK, Relay,
    SerfMessage,
};
use thane_wire::tags;

use super::Node;
use crate::event::Event;
use crate::filter;
use crate::lamport::LamportJump;
use crate::member::{State, Status};
use crate::networks::NETWORKS_TAG;
use crate::notice::{Layer, Level};
use crate::output::Output;
use crate::query::{QueryEvent, QueryToken, RespondError};
use crate::table::MemberId;
use crate::time::Time;

/// Prefix of queries that members answer among themselves.
const INTERNAL_PREFIX: &str = "_serf_";
/// Most queries that are remembered against repetition, over all Lamport times.
pub(super) const QUERIES_REMEMBERED_MAX: usize = 1 << 16;
/// Most delivered queries that may wait for the application's answer at one time; the oldest is given up for a new one.
pub(crate) const UNANSWERED_MAX: usize = 1024;
/// The memberlist protocol version from which a member understands relays.
const RELAY_PROTOCOL_MIN: u8 = 5;

/// Which queries have been seen lately, by Lamport time.
#[derive(Debug)]
pub(super) struct QueryBuffer {
    slots: BTreeMap<u64, BTreeSet<u32>>,
    size: u64,
    remembered: usize,
    min_time: u64,
    /// The newest that was taken.
    newest: u64,
}

impl QueryBuffer {
    pub(super) fn new(size: u64) -> Self {
        Self { slots: BTreeMap::new(), size, remembered: 0, min_time: 0, newest: 0 }
    }

    /// Queries before this time are history (of an earlier life, from a snapshot).
    pub(super) fn ignore_before(&mut self, time: u64) {
        self.min_time = self.min_time.max(time);
    }

    /// The newest time of which a query was taken, or declined as history.
    pub(super) fn newest(&self) -> u64 {
        self.newest.max(self.min_time.saturating_sub(1))
    }

    /// How many are remembered.
    pub(super) fn remembered(&self) -> usize {
        self.remembered
    }

    /// Whether the query is news, with our clock already past it. `None`: too old to tell.
    fn admit(&mut self, ltime: u64, id: u32, clock: u64) -> Option<bool> {
        let oldest = clock.saturating_sub(self.size).max(self.min_time);
        if ltime < oldest {
            return None;
        }
        while let Some(first) = self.slots.first_entry()
            && *first.key() < oldest
        {
            self.remembered -= first.remove().len();
        }
        let news = self.slots.entry(ltime).or_default().insert(id);
        self.remembered += usize::from(news);
        self.newest = self.newest.max(ltime);
        while self.remembered > QUERIES_REMEMBERED_MAX
            && let Some((ltime, ids)) = self.slots.pop_first()
        {
            self.remembered -= ids.len();
            self.min_time = self.min_time.max(ltime + 1);
        }
        Some(news)
    }
}

/// Where an answer goes.
#[derive(Debug, Clone)]
pub(super) struct ReplyTo {
    ltime: u64,
    id: u32,
    addr: Option<SocketAddr>,
    name: String,
    relay_factor: u8,
}

impl ReplyTo {
    pub(super) fn new(query: &Query<'_>) -> Self {
        Self {
            ltime: query.ltime,
            id: query.id,
            addr: ip_from_bytes(query.addr).map(|ip| SocketAddr::new(ip.to_canonical(), query.port)),
            name: query.source_node.to_owned(),
            relay_factor: query.relay_factor,
        }
    }
}

/// Queries that were delivered and may still be answered.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    waiting: BTreeMap<QueryToken, Unanswered>,
    next: u64,
}

impl Delivered {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[derive(Debug)]
struct Unanswered {
    reply_to: ReplyTo,
    deadline: Time,
    answered: bool,
}

impl Node {
    /// A query came by. True if it should be passed on.
    pub(super) fn query_arrived(&mut self, query: &Query<'_>) -> bool {
        if self.query_clock.witness(query.ltime) == Err(LamportJump) {
            self.refuse_jump(query.ltime);
            return false;
        }
        let clock = self.query_clock.time();
        match self.query_buffer.admit(query.ltime, query.id, clock) {
            Some(true) => {}
            Some(false) => return false,
            None => {
                self.counters.queries_too_old += 1;
                let (name, ltime) = (query.name, query.ltime);
                self.notice(Level::Debug, Layer::Serf, "query_too_old", None, || {
                    format!("dropped query {name:?} of time {ltime}: before what we take, or far behind our clock, {clock}")
                });
                return false;
            }
        }
        self.counters.queries_accepted += 1;
        let whole = is_whole(query);
        if !whole {
            self.drop_message(Layer::Serf, "query_malformed", || {
                format!("query {:?} of {:?} is malformed and not passed on", query.name, query.source_node)
            });
        }
        if self.is_meant(query, self.own) {
            if query.flags & QUERY_FLAG_ACK != 0 {
                self.reply(&ReplyTo::new(query), RESPONSE_FLAG_ACK, None);
            }
            match query.name.strip_prefix(INTERNAL_PREFIX) {
                Some(what) => self.answer_internal(query, what),
                None => self.deliver_query(query),
            }
        }
        whole && query.flags & QUERY_FLAG_NO_BROADCAST == 0
    }

    /// Whether all filters of a query admit this member. Of ourselves the configured tags count, as in Serf: below protocol 3 we announce only
    /// one of them. Our networks are not among the configured tags: of them it counts what we announce.
    pub(super) fn is_meant(&mut self, query: &Query<'_>, id: MemberId) -> bool {
        let entry = &self.table[id];
        let own_tags = (id == self.own).then_some(&self.config.tags);
        let is_on_networks = !self.config.networks.is_empty();
        let tag = |key: &str| match own_tags {
            Some(tags) if key != NETWORKS_TAG || !is_on_networks => tags.get(key).map(String::as_bytes),
            _ => tags::raw_value(&entry.meta, key),
        };
        let filters = query.filters.iter().flatten().copied();
        filter::admits(filters, &entry.name, tag, &mut self.patterns)
    }

    fn answer_internal(&mut self, query: &Query<'_>, what: &str) {
        match what {
            "ping" => {}
            "conflict" => self.answer_conflict(query),
            "install-key" | "use-key" | "remove-key" | "list-keys" => self.answer_keys(query, what),
            _ => {
                let name = query.name;
                self.notice(Level::Warn, Layer::Serf, "internal_query_unknown", None, || {
                    format!(
                        "no answer to {name:?}: this version knows no such question; see members -detailed"
                    )
                });
            }
        }
    }

    pub(super) fn answer_internally(&mut self, query: &Query<'_>, payload: &[u8]) {
        self.reply(&ReplyTo::new(query), 0, Some(payload));
    }

    fn deliver_query(&mut self, query: &Query<'_>) {
        let now = self.now;
        self.delivered.waiting.retain(|_, unanswered| unanswered.deadline >= now);
        if self.delivered.waiting.len() >= UNANSWERED_MAX {
            self.delivered.waiting.pop_first();
            self.counters.queries_given_up += 1;
        }
        let token = QueryToken(self.delivered.next);
        self.delivered.next += 1;
        let timeout = Duration::from_nanos(u64::try_from(query.timeout_ns).unwrap_or(0));
        let deadline = now + timeout;
        let unanswered = Unanswered { reply_to: ReplyTo::new(query), deadline, answered: false };
        self.delivered.waiting.insert(token, unanswered);
        self.outputs.push_back(Output::Event(Event::Query(QueryEvent {
            token,
            ltime: query.ltime,
            name: query.name.into(),
            payload: Bytes::copy_from_slice(query.payload.unwrap_or_default()),
            source: self.table.intern(query.source_node),
            deadline,
        })));
    }

    // ---- answers ----

    pub(super) fn answer_query(&mut self, token: QueryToken, payload: &[u8]) -> Result<(), RespondError> {
        let unanswered = self.delivered.waiting.get(&token).ok_or(RespondError::Unknown)?;
        let reply_to = unanswered.reply_to.clone();
        if unanswered.answered {
            return Err(RespondError::AlreadySent);
        }
        if self.now > unanswered.deadline {
            return Err(RespondError::Late);
        }
        let limit = self.config.query_response_size_limit;
        let own = self.own_name();
        let payload = (!payload.is_empty()).then_some(payload);
        if encode_response(&reply_to, &own, 0, payload).len() > limit {
            return Err(RespondError::TooLarge { limit });
        }
        if let Some(unanswered) = self.delivered.waiting.get_mut(&token) {
            unanswered.answered = true;
        }
        self.reply(&reply_to, 0, payload);
        Ok(())
    }

    /// Sends an answer or an acknowledgement straight to the originator, and the copies that it asked for through others.
    pub(super) fn reply(&mut self, reply_to: &ReplyTo, flags: u32, payload: Option<&[u8]>) {
        let own = self.own_name();
        let message = encode_response(reply_to, &own, flags, payload);
        let limit = self.config.query_response_size_limit;
        if message.len() > limit {
            let name = reply_to.name.clone();
            self.notice(Level::Warn, Layer::Serf, "response_too_large", None, || {
                format!("an answer to {name} exceeds the limit of {limit} bytes and is not sent")
            });
            return;
        }
        self.counters.query_responses_sent += 1;
        let Some(to) = reply_to.addr else { return };
        if reply_to.name == *own && to == self.table[self.own].addr() {
            // Our own question: no need to go through the network.
            if let Ok(SerfMessage::QueryResponse(response)) = SerfMessage::decode(&message) {
                self.query_response_arrived(&response);
            }
            return;
        }
        let way = self.way_to(&reply_to.name, to);
        self.send_serf_directly(way, &reply_to.name, &message);
        self.relay_copies(reply_to, to, &message);
    }

    fn relay_copies(&mut self, reply_to: &ReplyTo, dest: SocketAddr, inner: &[u8]) {
        let copies = usize::from(reply_to.relay_factor);
        if copies == 0 || self.table.with_status() < copies + 1 {
            return;
        }
        let relay = Relay { dest: Some(dest), dest_name: &reply_to.name, inner };
        let mut message = Vec::new();
        SerfMessage::Relay(relay).encode(&mut message);
        if message.len() > self.config.query_response_size_limit {
            return;
        }
        let own = self.own;
        let chosen = self.table.choose(&mut self.rng, copies, |id, entry| {
            id != own
                && entry.status == Some(Status::Alive)
                && entry.protocol_max() >= RELAY_PROTOCOL_MIN
                && *entry.name != *reply_to.name
        });
        for id in chosen {
            let (to, name) = (self.table[id].reached_at(), self.table[id].name.clone());
            self.send_serf_directly(to, &name, &message);
        }
    }

    pub(super) fn send_serf_directly(&mut self, to: SocketAddr, name: &str, message: &[u8]) {
        let mut framed = Vec::with_capacity(message.len() + 1);
        encode_user(message, &mut framed);
        let checksum = self.checksum_by_name(name);
        self.send(to, checksum, &[framed]);
    }

    /// Somebody asks us to pass an answer on.
    /// Differs from Serf: it passes anything on to anybody. Here it must be an answer, and its receiver a member.
    pub(super) fn relay_arrived(&mut self, relay: &Relay<'_>) {
        let is_answer = relay.inner.first() == Some(&serf::kind::QUERY_RESPONSE);
        let known = relay.dest.filter(|dest| {
            self.table
                .find(relay.dest_name)
                .is_some_and(|id| self.table[id].addr() == *dest && self.table[id].state != State::Forgotten)
        });
        match known {
            Some(dest) if is_answer => {
                self.counters.relayed += 1;
                let way = self.way_to(relay.dest_name, dest);
                self.send_serf_directly(way, relay.dest_name, relay.inner);
            }
            _ => {
                self.counters.relays_refused += 1;
                let name: Arc<str> = relay.dest_name.into();
                self.notice(Level::Warn, Layer::Serf, "relay_refused", None, || {
                    format!("refused to pass a message on to {name:?}: not an answer to a member's query")
                });
            }
        }
    }
}

/// Whether this query is whole: its filters and a key query's payload begin with a type byte.
/// Differs from Serf: what is not whole goes no further here.
fn is_whole(query: &Query<'_>) -> bool {
    let needs_payload =
        matches!(query.name.strip_prefix(INTERNAL_PREFIX), Some("install-key" | "use-key" | "remove-key"));
    query.filters.iter().flatten().all(|filter| !filter.is_empty())
        && (!needs_payload || query.payload.is_some_and(|payload| !payload.is_empty()))
}

fn encode_response(reply_to: &ReplyTo, own: &str, flags: u32, payload: Option<&[u8]>) -> Vec<u8> {
    let response = QueryResponse { ltime: reply_to.ltime, id: reply_to.id, from: own, flags, payload };
    let mut message = Vec::new();
    SerfMessage::QueryResponse(response).encode(&mut message);
    message
}
