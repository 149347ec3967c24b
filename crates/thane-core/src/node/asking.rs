//! Queries of our own: asking, collecting replies, and knowing when all have answered.
//!
//! Besides the application's, there are two kinds that the node asks by itself: the vote over its name (`conflict`) and the key
//! commands (`keys`).
//! Source: Serf `serf.go` (`Query`, `handleQueryResponse`), `query.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thane_wire::filter::Filter;
use thane_wire::gossip::ip_bytes;
use thane_wire::serf::{QUERY_FLAG_ACK, Query, QueryResponse, RESPONSE_FLAG_ACK, SerfMessage};

use super::Node;
use super::conflict::Vote;
use super::keys::KeyRound;
use super::status::Queue;
use crate::broadcast_queue::PART_BYTES;
use crate::formulas::query_timeout;
use crate::member::Status;
use crate::output::{CommandError, Output};
use crate::query::{QueryEnd, QueryId, QueryParams, QueryReply};
use crate::table::MemberId;
use crate::timers::{Timer, TimerKey};

/// Most queries of ours that may be under way at one time.
pub(crate) const ASKED_MAX: usize = 1024;
/// Once a query has been acknowledged or answered by this many, and twice as many as there are members, no more is taken from those
/// who are no members.
const STRANGERS_MAX: usize = 64;
/// The Serf protocol version from which queries exist.
pub(super) const QUERY_PROTOCOL_MIN: u8 = 4;

/// Names a query on the wire.
pub(super) type WireId = (u64, u32);

/// Queries under way, by their identity on the wire.
#[derive(Debug, Default)]
pub(super) struct Asking {
    asked: BTreeMap<WireId, Asked>,
    next: u64,
}

#[derive(Debug)]
struct Asked {
    purpose: Purpose,
    wants_acks: bool,
    acks: BTreeSet<Arc<str>>,
    responses: BTreeSet<Arc<str>>,
    /// Who is meant and has not answered, if the query ends with the last of them. Who fails or leaves is taken off; who joins later may
    /// answer, but nobody waits for it.
    awaited: Option<BTreeSet<Arc<str>>>,
    deadline: TimerKey,
}

/// Who asks.
#[derive(Debug)]
pub(super) enum Purpose {
    Application(QueryId),
    Vote(Vote),
    Keys(KeyRound),
}

/// What is asked.
#[derive(Debug, Default)]
pub(super) struct Question<'a> {
    pub(super) name: &'a str,
    pub(super) payload: Option<&'a [u8]>,
    pub(super) params: QueryParams,
}

impl Asking {
    pub(super) fn len(&self) -> usize {
        self.asked.len()
    }

    pub(super) fn is_voting(&self) -> bool {
        self.asked.values().any(|asked| matches!(asked.purpose, Purpose::Vote(_)))
    }
}

impl Node {
    pub(super) fn start_query(
        &mut self,
        name: &str,
        payload: &[u8],
        params: &QueryParams,
    ) -> Result<QueryId, CommandError> {
        if self.config.protocol < QUERY_PROTOCOL_MIN {
            return Err(CommandError::NotSupported);
        }
        let id = QueryId(self.asking.next);
        let question =
            Question { name, payload: (!payload.is_empty()).then_some(payload), params: params.clone() };
        self.ask(&question, Purpose::Application(id))?;
        self.asking.next += 1;
        Ok(id)
    }

    /// The caller no longer wants replies; the query itself cannot be taken back.
    pub(super) fn drop_query(&mut self, id: QueryId) {
        let found = self.asking.asked.iter().find_map(|(wire, asked)| {
            matches!(asked.purpose, Purpose::Application(asker) if asker == id).then_some(*wire)
        });
        if let Some(asked) = found.and_then(|wire| self.asking.asked.remove(&wire)) {
            self.timers.cancel(asked.deadline);
        }
    }

    /// How long a query runs unless told otherwise.
    pub(super) fn default_query_timeout(&self) -> Duration {
        query_timeout(self.config.gossip_interval, self.config.query_timeout_mult, self.table.live())
    }

    pub(super) fn ask(&mut self, question: &Question<'_>, purpose: Purpose) -> Result<(), CommandError> {
        if self.asking.asked.len() >= ASKED_MAX {
            return Err(CommandError::TooManyQueries { limit: ASKED_MAX });
        }
        let params = &question.params;
        let timeout = params.timeout.filter(|t| !t.is_zero()).unwrap_or_else(|| self.default_query_timeout());
        let filters = encode_filters(params);
        let own = &self.table[self.own];
        let (addr, addr_len) = ip_bytes(own.ip);
        let (source_node, port) = (own.name.clone(), own.port);
        let wire = (self.query_clock.time(), self.rng.u32());
        let query = Query {
            ltime: wire.0,
            id: wire.1,
            addr: &addr[..addr_len],
            port,
            source_node: &source_node,
            filters: (!filters.is_empty()).then(|| filters.iter().map(Vec::as_slice).collect()),
            flags: if params.request_ack { QUERY_FLAG_ACK } else { 0 },
            relay_factor: params.relay_factor,
            timeout_ns: i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX),
            name: question.name,
            payload: question.payload,
        };
        let mut message = Vec::new();
        SerfMessage::Query(query.clone()).encode(&mut message);
        let limit = self.config.query_size_limit;
        if message.len() > limit {
            return Err(CommandError::QueryTooLarge { limit });
        }
        let room = self.packet_room().saturating_sub(PART_BYTES + 1);
        if message.len() > room {
            return Err(CommandError::NeverFits { size: message.len(), room });
        }
        let awaited = (params.end == QueryEnd::WhenAnswered).then(|| self.names_meant(&query));
        let is_vote = matches!(purpose, Purpose::Vote(_));
        let deadline = self.timers.set(self.now + timeout, Timer::QueryEnd { ltime: wire.0, id: wire.1 });
        let asked = Asked {
            purpose,
            wants_acks: params.request_ack,
            acks: BTreeSet::new(),
            responses: BTreeSet::new(),
            awaited,
            deadline,
        };
        self.asking.asked.insert(wire, asked);
        // We are a member like the others: we hear our own query, and answer it if it means us.
        self.query_arrived(&query);
        // Differs from Serf: a question asked while nobody is there does not wait for whoever joins later, when it is long over.
        if is_vote || self.detector_has_company() {
            self.queue_serf(Queue::Queries, &message, None);
        }
        Ok(())
    }

    /// The names of the members that are live now, our own among them.
    pub(super) fn live_names(&self) -> BTreeSet<Arc<str>> {
        let alive = |status| matches!(status, Some(Status::Alive | Status::Leaving));
        let live = self.table.iter().filter(|(_, entry)| entry.is_live() && alive(entry.status));
        live.map(|(_, entry)| entry.name.clone()).collect()
    }

    /// The live members that the query means, as far as we know their tags.
    fn names_meant(&mut self, query: &Query<'_>) -> BTreeSet<Arc<str>> {
        let alive = |status| matches!(status, Some(Status::Alive | Status::Leaving));
        let live = self.table.iter().filter(|(_, entry)| entry.is_live() && alive(entry.status));
        let live: Vec<MemberId> = live.map(|(id, _)| id).collect();
        let mut meant = BTreeSet::new();
        for id in live {
            if self.is_meant(query, id) {
                meant.insert(self.table[id].name.clone());
            }
        }
        meant
    }

    /// A member failed or left: nobody waits for its answers any longer, and what waited for it alone is over.
    pub(super) fn no_longer_awaited(&mut self, name: &str) {
        let mut over = Vec::new();
        for (wire, asked) in &mut self.asking.asked {
            if let Some(awaited) = &mut asked.awaited
                && awaited.remove(name)
                && awaited.is_empty()
            {
                over.push(*wire);
            }
        }
        for wire in over {
            self.query_over(wire);
        }
    }

    // ---- replies ----

    pub(super) fn query_response_arrived(&mut self, response: &QueryResponse<'_>) {
        let wire = (response.ltime, response.id);
        let Some(asked) = self.asking.asked.get_mut(&wire) else {
            self.counters.query_responses_late += 1;
            return;
        };
        let is_ack = response.flags & RESPONSE_FLAG_ACK != 0;
        // Members always have room, so that no invented name takes it from them.
        let is_member = self.table.find(response.from).is_some_and(|id| self.table[id].status.is_some());
        let heard = if is_ack { &asked.acks } else { &asked.responses };
        let limit = STRANGERS_MAX + 2 * self.table.with_status();
        if !is_member && heard.len() >= limit && !heard.contains(response.from) {
            self.counters.query_responses_over_limit += 1;
            return;
        }
        let from = self.table.intern(response.from);
        let news = if is_ack {
            asked.wants_acks && asked.acks.insert(from.clone())
        } else {
            asked.responses.insert(from.clone())
        };
        let count = match (is_ack, news) {
            (true, true) => &mut self.counters.query_acks,
            (false, true) => &mut self.counters.query_responses,
            (true, false) => &mut self.counters.query_acks_duplicate,
            (false, false) => &mut self.counters.query_responses_duplicate,
        };
        *count += 1;
        if !news {
            return;
        }
        let payload = response.payload.unwrap_or_default();
        match &mut asked.purpose {
            Purpose::Application(query) => {
                let reply = if is_ack {
                    QueryReply::Ack { from }
                } else {
                    QueryReply::Response { from, payload: Bytes::copy_from_slice(payload) }
                };
                self.outputs.push_back(Output::Reply { query: *query, reply });
            }
            Purpose::Vote(vote) if !is_ack => {
                let own = &self.table[self.own];
                vote.count(payload, own.ip, own.port);
            }
            Purpose::Keys(round) if !is_ack => round.count(&from, payload),
            Purpose::Vote(_) | Purpose::Keys(_) => {}
        }
        let is_done = asked.responses.contains(response.from)
            && (!asked.wants_acks || asked.acks.contains(response.from));
        if is_done
            && let Some(awaited) = &mut asked.awaited
            && awaited.remove(response.from)
            && awaited.is_empty()
        {
            self.query_over(wire);
        }
    }

    /// All have answered, or the time is up.
    pub(super) fn query_over(&mut self, wire: WireId) {
        let Some(asked) = self.asking.asked.remove(&wire) else { return };
        self.timers.cancel(asked.deadline);
        match asked.purpose {
            Purpose::Application(query) => {
                self.outputs.push_back(Output::Reply { query, reply: QueryReply::Done });
            }
            Purpose::Vote(vote) => self.vote_over(&vote),
            Purpose::Keys(round) => self.key_round_over(round),
        }
    }
}

/// The filter by name first, then one a tag.
fn encode_filters(params: &QueryParams) -> Vec<Vec<u8>> {
    let mut filters = Vec::new();
    let mut add = |filter: &Filter<'_>| {
        let mut bytes = Vec::new();
        filter.encode(&mut bytes);
        filters.push(bytes);
    };
    if !params.filter_nodes.is_empty() {
        add(&Filter::Nodes(params.filter_nodes.iter().map(String::as_str).collect()));
    }
    for (tag, expr) in &params.filter_tags {
        add(&Filter::Tag { tag, expr });
    }
    filters
}
