//! Queries of other nodes, relays, and the one query of our own: the vote over our name.
//!
//! A node answers here what every member must: acknowledgements, votes, and relays for others. Queries for the application are
//! passed on but not delivered yet.
//! Source: Serf `serf.go` (handleQuery, resolveNodeConflict), `internal_query.go`, `query.go` (relayResponse).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thane_wire::filter::Filter;
use thane_wire::gossip::{encode_user, ip_bytes, ip_from_bytes};
use thane_wire::serf::{
    self, KeyResponse, MemberRecord, QUERY_FLAG_ACK, QUERY_FLAG_NO_BROADCAST, Query, QueryResponse,
    RESPONSE_FLAG_ACK, Relay, SerfMessage,
};
use thane_wire::tags;

use super::Node;
use super::status::Queue;
use crate::formulas::query_timeout;
use crate::lamport::LamportJump;
use crate::member::{State, Status};
use crate::notice::{Layer, Level};
use crate::output::{Output, StopReason};
use crate::timers::Timer;

/// Prefix of queries that members answer among themselves.
const INTERNAL_PREFIX: &str = "_serf_";
const CONFLICT_QUERY: &str = "_serf_conflict";
/// Most queries that are remembered against repetition, over all Lamport times.
const QUERIES_REMEMBERED_MAX: usize = 1 << 16;
/// The memberlist protocol version from which a member understands relays.
const RELAY_PROTOCOL_MIN: u8 = 5;
/// Most relays that one answer asks for, whatever the query says.
const RELAYS_MAX: usize = 255;

/// Which queries have been seen lately, by Lamport time.
#[derive(Debug)]
pub(super) struct QueryBuffer {
    slots: BTreeMap<u64, BTreeSet<u32>>,
    size: u64,
    remembered: usize,
    min_time: u64,
}

impl QueryBuffer {
    pub(super) fn new(size: u64) -> Self {
        Self { slots: BTreeMap::new(), size, remembered: 0, min_time: 0 }
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
        while self.remembered > QUERIES_REMEMBERED_MAX
            && let Some((ltime, ids)) = self.slots.pop_first()
        {
            self.remembered -= ids.len();
            self.min_time = self.min_time.max(ltime + 1);
        }
        Some(news)
    }
}

/// Whether every member can read this query: its filters and a key query's payload begin with a type byte, which not every member looks
/// for. Differs from Serf: what is not whole goes no further here.
fn is_whole(query: &Query<'_>) -> bool {
    let needs_payload =
        matches!(query.name.strip_prefix(INTERNAL_PREFIX), Some("install-key" | "use-key" | "remove-key"));
    query.filters.iter().flatten().all(|filter| !filter.is_empty())
        && (!needs_payload || query.payload.is_some_and(|payload| !payload.is_empty()))
}

/// A vote under way over who may bear our name.
#[derive(Debug)]
pub(super) struct Vote {
    ltime: u64,
    id: u32,
    responses: usize,
    matching: usize,
    voters: BTreeSet<Arc<str>>,
    /// Who else claims the name, and under which incarnation.
    rival: (SocketAddr, u32),
}

impl Node {
    // ---- queries of others ----

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
                self.drop_message(Layer::Serf, "query_too_old", || {
                    format!(
                        "dropped query {:?} of time {}: far behind our clock, {clock}",
                        query.name, query.ltime
                    )
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
        let pass_on = whole && query.flags & QUERY_FLAG_NO_BROADCAST == 0;
        if self.is_meant(query) {
            if query.flags & QUERY_FLAG_ACK != 0 {
                self.respond(query, RESPONSE_FLAG_ACK, None);
            }
            self.answer_internal(query);
        }
        pass_on
    }

    /// Whether all filters admit us. Filters by tag need regular expressions, which come with the delivery of queries; until then
    /// such a query is passed on and not answered, as an expression that does not compile would be.
    fn is_meant(&self, query: &Query<'_>) -> bool {
        let own = &self.table[self.own].name;
        query.filters.iter().flatten().all(|filter| match Filter::decode(filter) {
            Ok(Filter::Nodes(names)) => names.iter().any(|name| **name == **own),
            _ => false,
        })
    }

    fn answer_internal(&mut self, query: &Query<'_>) {
        let Some(what) = query.name.strip_prefix(INTERNAL_PREFIX) else { return };
        match what {
            "conflict" => self.answer_conflict(query),
            "install-key" | "use-key" | "remove-key" | "list-keys" => {
                let refusal = KeyResponse {
                    result: false,
                    message: "this member cannot change or list keys at run time; restart it with the new key",
                    ..KeyResponse::default()
                };
                let mut payload = Vec::new();
                SerfMessage::KeyResponse(refusal).encode(&mut payload);
                self.respond(query, 0, Some(&payload));
            }
            _ => {}
        }
    }

    /// Somebody asks who bears a name. About our own we do not vote.
    fn answer_conflict(&mut self, query: &Query<'_>) {
        let Ok(name) = std::str::from_utf8(query.payload.unwrap_or_default()) else { return };
        if *name == *self.own_name() {
            return;
        }
        let found = self.table.find(name).map(|id| &self.table[id]).filter(|entry| entry.status.is_some());
        let mut payload = Vec::new();
        match found {
            Some(entry) => {
                let (addr, addr_len) = ip_bytes(entry.ip);
                let tags = tags::decode(&entry.meta);
                let record = MemberRecord {
                    name,
                    addr: &addr[..addr_len],
                    port: entry.port,
                    tags: Some(tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()),
                    status: match entry.status {
                        None => 0,
                        Some(Status::Alive) => 1,
                        Some(Status::Leaving) => 2,
                        Some(Status::Left) => 3,
                        Some(Status::Failed) => 4,
                    },
                    versions: entry.versions,
                };
                SerfMessage::ConflictResponse(Some(record)).encode(&mut payload);
            }
            None => SerfMessage::ConflictResponse(None).encode(&mut payload),
        }
        self.respond(query, 0, Some(&payload));
    }

    /// Sends an answer or an acknowledgement straight to the originator, and the copies that it asked for through others.
    fn respond(&mut self, query: &Query<'_>, flags: u32, payload: Option<&[u8]>) {
        let Some(ip) = ip_from_bytes(query.addr) else { return };
        let to = SocketAddr::new(ip.to_canonical(), query.port);
        let own = self.own_name();
        let response = QueryResponse { ltime: query.ltime, id: query.id, from: &own, flags, payload };
        let mut message = Vec::new();
        SerfMessage::QueryResponse(response).encode(&mut message);
        if message.len() > self.config.query_response_size_limit {
            let limit = self.config.query_response_size_limit;
            self.notice(Level::Warn, Layer::Serf, "response_too_large", None, || {
                format!("an answer to {} exceeds the limit of {limit} bytes and is not sent", query.name)
            });
            return;
        }
        self.counters.query_responses_sent += 1;
        self.send_serf_directly(to, query.source_node, &message);
        self.relay_copies(query, to, &message);
    }

    fn relay_copies(&mut self, query: &Query<'_>, dest: SocketAddr, inner: &[u8]) {
        let copies = usize::from(query.relay_factor).min(RELAYS_MAX);
        if copies == 0 || self.table.with_status() < copies + 1 {
            return;
        }
        let relay = Relay { dest: Some(dest), dest_name: query.source_node, inner };
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
                && *entry.name != *query.source_node
        });
        for id in chosen {
            let (to, name) = (self.table[id].addr(), self.table[id].name.clone());
            self.send_serf_directly(to, &name, &message);
        }
    }

    pub(super) fn send_serf_directly(&mut self, to: SocketAddr, name: &str, message: &[u8]) {
        let mut framed = Vec::with_capacity(message.len() + 1);
        encode_user(message, &mut framed);
        let checksum = self.checksum_by_name(name);
        self.send(to, checksum, &[Bytes::from(framed)]);
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
                let (name, inner) = (relay.dest_name, relay.inner);
                self.send_serf_directly(dest, name, inner);
            }
            _ => {
                self.counters.relays_refused += 1;
                let name = relay.dest_name;
                self.notice(Level::Warn, Layer::Serf, "relay_refused", None, || {
                    format!("refused to pass a message on to {name:?}: not an answer to a member's query")
                });
            }
        }
    }

    // ---- the vote over our name ----

    /// Another node claims our name: ask everybody whom they know by it. One vote at a time.
    pub(super) fn start_vote(&mut self, rival: SocketAddr, rival_incarnation: u32) {
        if !self.config.name_conflict_resolution || self.vote.is_some() || self.said_goodbye {
            return;
        }
        let ltime = self.query_clock.time();
        let id = self.rng.u32();
        let own = &self.table[self.own];
        let (addr, addr_len) = ip_bytes(own.ip);
        let timeout: Duration =
            query_timeout(self.config.gossip_interval, self.config.query_timeout_mult, self.table.live());
        let name = own.name.clone();
        let query = Query {
            ltime,
            id,
            addr: &addr[..addr_len],
            port: own.port,
            source_node: &name,
            filters: None,
            flags: 0,
            relay_factor: 0,
            timeout_ns: i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX),
            name: CONFLICT_QUERY,
            payload: Some(name.as_bytes()),
        };
        let mut message = Vec::new();
        SerfMessage::Query(query.clone()).encode(&mut message);
        // Our own copy coming back must not look new.
        self.query_arrived(&query);
        self.queue_serf(Queue::Queries, &message, None);
        let rival = (rival, rival_incarnation);
        self.vote = Some(Vote { ltime, id, responses: 0, matching: 0, voters: BTreeSet::new(), rival });
        self.timers.set(self.now + timeout, Timer::VoteEnd { ltime, id });
    }

    pub(super) fn query_response_arrived(&mut self, response: &QueryResponse<'_>) {
        let own = &self.table[self.own];
        let (own_ip, own_port) = (own.ip, own.port);
        let Some(vote) = &mut self.vote else { return };
        if (vote.ltime, vote.id) != (response.ltime, response.id) || response.flags & RESPONSE_FLAG_ACK != 0 {
            return;
        }
        let Ok(SerfMessage::ConflictResponse(ballot)) =
            SerfMessage::decode(response.payload.unwrap_or_default())
        else {
            return;
        };
        if !vote.voters.insert(response.from.into()) {
            return;
        }
        vote.responses += 1;
        let names_us = ballot.is_some_and(|record| {
            let same_ip =
                ip_from_bytes(record.addr).is_some_and(|ip| ip.to_canonical() == own_ip.to_canonical());
            same_ip && record.port == own_port
        });
        vote.matching += usize::from(names_us);
    }

    /// The majority keeps the name.
    /// Differs from Serf: without a single ballot it gives up, and two namesakes alone both stop. Here the one with the higher
    /// incarnation goes on, of equals the one with the lower address.
    pub(super) fn vote_ended(&mut self, ltime: u64, id: u32) {
        let Some(vote) = self.vote.take_if(|vote| (vote.ltime, vote.id) == (ltime, id)) else { return };
        let own = &self.table[self.own];
        let survives = if vote.responses == 0 {
            let (rival, incarnation) = vote.rival;
            (own.incarnation, std::cmp::Reverse(own.addr())) > (incarnation, std::cmp::Reverse(rival))
        } else {
            vote.matching > vote.responses / 2
        };
        let (matching, responses) = (vote.matching, vote.responses);
        if survives {
            self.notice(Level::Info, Layer::Serf, "vote_won", None, || {
                format!("majority in name conflict resolution [{matching} / {responses}]")
            });
        } else {
            self.outputs.push_back(Output::Stop(StopReason::NameConflict { matching, responses }));
        }
    }
}
