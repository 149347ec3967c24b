//! How full everything is whose size others can drive up, and the limit that each keeps.

use super::Node;
use super::asking::ASKED_MAX;
use super::gossip::QUEUE_SURGE;
use super::keys::PERSISTING_MAX;
use super::look::{LOOK_STREAMS_MAX, LOOKS_MAX};
use super::membership::REMINDED_MAX;
use super::packets::RELAYED_PINGS_MAX;
use super::queries::{QUERIES_REMEMBERED_MAX, UNANSWERED_MAX};
use super::recent_intents::RECENT_INTENTS_MAX;
use super::rejoin::{LOST_ASKED_AT_ONCE, LOST_MAX};
use super::steady::{TRIALS_MAX, WATCHED_MAX};
use super::streams::INBOUND_STREAMS_MAX;
use super::user_events::EVENT_BUFFER_BYTES_MAX;
use crate::table::MEMBERS_MAX;

/// A queue, table or buffer of a node: how much it holds, and the most that it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occupancy {
    /// What is counted, in the plural.
    pub what: &'static str,
    /// How much is held.
    pub held: usize,
    /// The most that is ever held.
    pub limit: usize,
}

impl Node {
    /// Everything that grows with what others send, beside its limit. Looking costs a pass over the open streams.
    pub fn occupancy(&self) -> impl Iterator<Item = Occupancy> + use<> {
        let surge = self.queue_depth_max().saturating_mul(QUEUE_SURGE);
        let (event_times, event_bytes) = self.event_buffer.held();
        let (watched, trials) = self.steadiness.held();
        let (lost, lost_asked) = self.rejoin.held();
        [
            ("members", self.table.len(), MEMBERS_MAX),
            ("queued statements", self.statements.len(), MEMBERS_MAX),
            ("queued intents", self.intents.len(), surge),
            ("queued user events", self.events.len(), surge),
            ("queued queries", self.queries.len(), surge),
            ("inbound streams", self.inbound_streams(), INBOUND_STREAMS_MAX),
            ("pings relayed for others", self.relayed_pings.len(), RELAYED_PINGS_MAX),
            ("looks", self.looks.len(), LOOKS_MAX),
            ("members watched", watched, WATCHED_MAX),
            ("trials", trials, TRIALS_MAX),
            ("connections of looks", self.look_streams(), LOOK_STREAMS_MAX),
            ("members to be pruned", self.awaiting_prune.len(), MEMBERS_MAX),
            ("members reminded", self.reminded.len(), REMINDED_MAX),
            ("remembered intents", self.recent_intents.len(), RECENT_INTENTS_MAX),
            ("remembered times of user events", event_times, self.config.event_buffer_size),
            ("bytes of remembered user events", event_bytes, EVENT_BUFFER_BYTES_MAX),
            ("remembered queries", self.query_buffer.remembered(), QUERIES_REMEMBERED_MAX),
            ("queries under way", self.asking.len(), ASKED_MAX),
            ("unanswered queries", self.delivered.len(), UNANSWERED_MAX),
            ("key rings to be written", self.persisting.len(), PERSISTING_MAX),
            ("lost members", lost, LOST_MAX),
            ("lost members asked", lost_asked, LOST_ASKED_AT_ONCE),
        ]
        .into_iter()
        .map(|(what, held, limit)| Occupancy { what, held, limit })
    }
}
