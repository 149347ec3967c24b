//! The vote over our name: another node claims it, and the cluster says whom it knows by it.
//!
//! Source: Serf `serf.go` (`resolveNodeConflict`), `internal_query.go` (`handleConflict`).

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};

use thane_wire::gossip::{ip_bytes, ip_from_bytes};
use thane_wire::serf::{MemberRecord, Query, SerfMessage};
use thane_wire::tags;

use super::Node;
use super::asking::{Purpose, Question};
use crate::member::Status;
use crate::notice::{Layer, Level};
use crate::output::{Output, StopReason};
use crate::query::{QueryEnd, QueryParams};

const CONFLICT_QUERY: &str = "_serf_conflict";

/// A vote under way over who may bear our name.
#[derive(Debug)]
pub(super) struct Vote {
    responses: usize,
    matching: usize,
    /// Who else claims the name, and under which incarnation.
    rival: (SocketAddr, u32),
}

impl Vote {
    /// Takes one member's ballot; an unreadable one does not count.
    pub(super) fn count(&mut self, ballot: &[u8], own_ip: IpAddr, own_port: u16) {
        let Ok(SerfMessage::ConflictResponse(record)) = SerfMessage::decode(ballot) else { return };
        self.responses += 1;
        let names_us = record.is_some_and(|record| {
            let ip = ip_from_bytes(record.addr);
            ip.is_some_and(|ip| ip.to_canonical() == own_ip.to_canonical()) && record.port == own_port
        });
        self.matching += usize::from(names_us);
    }
}

impl Node {
    /// Another node claims our name: ask everybody whom they know by it. One vote at a time.
    pub(super) fn start_vote(&mut self, rival: SocketAddr, rival_incarnation: u32) {
        if !self.config.name_conflict_resolution || self.said_goodbye || self.asking.is_voting() {
            return;
        }
        let name = self.own_name();
        let params = QueryParams { end: QueryEnd::AtDeadline, ..QueryParams::default() };
        let question = Question { name: CONFLICT_QUERY, payload: Some(name.as_bytes()), params };
        let vote = Vote { responses: 0, matching: 0, rival: (rival, rival_incarnation) };
        if let Err(error) = self.ask(&question, Purpose::Vote(vote)) {
            self.notice(Level::Error, Layer::Serf, "vote_failed", None, || {
                format!("cannot ask the cluster who bears our name: {error}")
            });
        }
    }

    /// The majority keeps the name.
    /// Differs from Serf: without a single ballot it gives up, and two namesakes alone both stop. Here the one with the higher
    /// incarnation goes on, of equals the one with the lower address.
    pub(super) fn vote_over(&mut self, vote: &Vote) {
        let own = &self.table[self.own];
        let survives = if vote.responses == 0 {
            let (rival, incarnation) = vote.rival;
            (own.incarnation, Reverse(own.addr())) > (incarnation, Reverse(rival))
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

    /// Somebody asks who bears a name. About our own we do not vote.
    pub(super) fn answer_conflict(&mut self, query: &Query<'_>) {
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
        self.answer_internally(query, &payload);
    }
}
