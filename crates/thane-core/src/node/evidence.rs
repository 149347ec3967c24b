//! What an operator asks when a member is not what it should be: the evidence kept for each change, when a member last answered,
//! how long a suspect still has, and whose packets could not be used.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thane_wire::packet::PacketError;

use super::Node;
use crate::entry::Answered;
use crate::event::{AnswerWay, Cause, LastAnswer};
use crate::member::State;
use crate::notice::{Layer, Level};
use crate::table::MemberId;
use crate::time::Time;

/// One change in the life of a member, as this node saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// When.
    pub at: Time,
    /// What the detector held afterwards.
    pub state: State,
    /// The incarnation it was about.
    pub incarnation: u32,
    /// Why.
    pub cause: Cause,
    /// Our own health score then.
    pub health: u32,
    /// The member's last round trip measured until then, whole microseconds; `None` if it had not answered a direct ping of ours.
    pub rtt: Option<Duration>,
}

/// A packet, or a part of one, that could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedPacket {
    /// When it came.
    pub at: Time,
    /// From where.
    pub from: SocketAddr,
    /// What is wrong with it.
    pub error: PacketError,
}

impl Node {
    /// The last changes in a member's life, the oldest first; at most eight are kept.
    pub fn evidence(&self, name: &str) -> Vec<Evidence> {
        self.table.find(name).map(|id| self.table[id].evidence()).unwrap_or_default()
    }

    /// A member's last answer to a probe of ours. `None` if there was none.
    pub fn last_answer(&self, name: &str) -> Option<LastAnswer> {
        let answered = self.table[self.table.find(name)?].answered()?;
        Some(LastAnswer { at: answered.at, rtt: answered.rtt(), way: answered.way })
    }

    /// When a suspect will be declared dead if it does not refute and nobody else accuses it. `None` for others.
    pub fn suspicion_ends(&self, name: &str) -> Option<Time> {
        let entry = &self.table[self.table.find(name)?];
        Some(entry.suspicion()?.ends())
    }

    /// Who accuses a suspect, the first accuser first. Empty for others.
    pub fn accusers(&self, name: &str) -> Vec<Arc<str>> {
        let suspicion = self.table.find(name).and_then(|id| self.table[id].suspicion());
        suspicion.map(|suspicion| suspicion.accusers().to_vec()).unwrap_or_default()
    }

    /// The last packet that could not be used.
    pub fn last_dropped_packet(&self) -> Option<&DroppedPacket> {
        self.last_dropped_packet.as_ref()
    }

    /// Keeps the evidence for a change that has just been made.
    pub(super) fn record(&mut self, id: MemberId, cause: &Cause) {
        let (now, health) = (self.now, self.awareness.score());
        let entry = &mut self.table[id];
        let (state, incarnation) = (entry.state, entry.incarnation);
        let rtt = entry.answered().and_then(Answered::rtt);
        entry.add_evidence(Evidence { at: now, state, incarnation, cause: cause.clone(), health, rtt });
    }

    /// A member has answered a probe that left at `sent`.
    pub(super) fn note_answer(&mut self, target: &Arc<str>, sent: Time, way: AnswerWay) {
        if let Some(id) = self.table.find(target) {
            let rtt = match way {
                AnswerWay::Direct => Some(self.now.since(sent)),
                // It was only faster than the packet.
                AnswerWay::Tcp => self.table[id].answered().and_then(Answered::usual_rtt),
                AnswerWay::Relayed | AnswerWay::TcpOnly => None,
            };
            self.table.aside(id).set_answered(Answered::new(self.now, rtt, way));
        }
    }

    pub(super) fn packet_dropped(&mut self, from: SocketAddr, error: &PacketError) {
        use PacketError::{Decrypt, Envelope, LabelHeader, LabelMismatch, LabelUnexpected};
        self.counters.packets_dropped += 1;
        match error {
            Decrypt { .. } | Envelope(_) => self.counters.packets_undecryptable += 1,
            LabelHeader | LabelMismatch { .. } | LabelUnexpected => self.counters.packets_mislabeled += 1,
            _ => {}
        }
        self.last_dropped_packet = Some(DroppedPacket { at: self.now, from, error: error.clone() });
        self.notice(Level::Warn, Layer::Memberlist, "packet_dropped", None, || {
            format!("dropped a packet from {from}: {error}")
        });
    }
}
