//! A packet's way in, pings and their answers, and sending.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use thane_wire::DecodeError;
use thane_wire::gossip::{Ack, IndirectPing, Message, Nack, Ping, ip_bytes, ip_from_bytes};
use thane_wire::packet::Checksum;
use thane_wire::serf::{self, SerfMessage};

use super::Node;
use crate::entry::Entry;
use crate::event::{AnswerWay, Cause, Path};
use crate::measure::Measure;
use crate::member::State;
use crate::notice::Layer;
use crate::output::Output;
use crate::table::MemberId;
use crate::timers::Timer;

/// Most pings that are relayed for others at one time.
pub(super) const RELAYED_PINGS_MAX: usize = 4096;
/// After which part of the probe timeout a relay says that it hears nothing (Lifeguard, section 4.1: 80 %).
/// Differs from Serf: it waits for the whole of it. With the usual settings, half of the requester's time has passed when it asks and the
/// relay takes the other half, so that its nack always comes too late, and every failed probe counts against the requester's own health.
const NACK_AFTER: f64 = 0.8;
/// The memberlist protocol version from which a peer understands the checksum header.
const CHECKSUM_PROTOCOL_MIN: u8 = 5;

/// A ping that we sent because somebody asked for it.
#[derive(Debug)]
pub(crate) struct RelayedPing {
    requester: SocketAddr,
    /// The requester's sequence number.
    seq: u32,
    wants_nack: bool,
    /// The nack is due or sent; the answer may still come.
    overdue: bool,
}

/// The bytes of an IP as pings carry it; none at all for no address.
#[derive(Debug)]
pub(super) struct ReplyIp {
    bytes: [u8; 16],
    len: usize,
}

impl ReplyIp {
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Node {
    pub(super) fn packet_arrived(&mut self, from: SocketAddr, packet: Bytes) {
        self.counters.packets_received += 1;
        self.counters.packet_bytes_received += packet.len() as u64;
        match self.codec.open_packet(packet) {
            Ok(opened) => {
                for error in &opened.dropped {
                    self.packet_dropped(from, error);
                }
                let messages: Vec<_> =
                    opened.messages.iter().map(|message| Message::decode(message)).collect();
                if messages.len() > 1 {
                    self.table.fetch(messages.iter().flatten().filter_map(whom));
                }
                for message in messages {
                    self.message_arrived(from, message);
                }
                if !self.looks.is_empty() {
                    self.heard_from(from);
                }
                self.speaks(from);
            }
            Err(error) => self.packet_dropped(from, &error),
        }
    }

    fn message_arrived(&mut self, from: SocketAddr, message: Result<Message<'_>, DecodeError>) {
        let via = Path::Packet(from);
        let decoded = match message {
            Ok(decoded) => decoded,
            Err(error) => {
                self.drop_message(Layer::Memberlist, "message_dropped", || {
                    format!("dropped a message from {from}: {error}")
                });
                return;
            }
        };
        match decoded {
            Message::Ping(ping) => self.ping_arrived(from, &ping),
            Message::IndirectPing(request) => self.indirect_ping_arrived(from, &request),
            Message::Ack(ack) => self.ack_arrived(&ack),
            Message::Nack(nack) => self.nack_arrived(from, nack.seq),
            Message::Alive(alive) => self.alive(&alive, via),
            Message::Suspect(suspect) if self.is_complaint(&suspect, &via) => {}
            Message::Suspect(suspect) => {
                let cause = Cause::Accused {
                    by: self.table.intern(suspect.from),
                    incarnation: suspect.incarnation,
                    via,
                };
                self.suspect(&suspect, cause, via);
            }
            Message::Dead(dead) => {
                let cause = if dead.node == dead.from {
                    Cause::SaidGoodbye { via }
                } else {
                    let by = self.table.intern(dead.from);
                    Cause::DeclaredDead { by, incarnation: dead.incarnation, via }
                };
                self.dead(&dead, cause, via);
            }
            Message::User(payload) => {
                self.measure(Measure::MessageReceived, payload.len() as f64);
                self.serf_message(payload, via);
            }
            other => self.drop_message(Layer::Memberlist, "message_dropped", || {
                format!("dropped a message from {from}: {other:?} does not belong in a packet")
            }),
        }
    }

    // ---- pings ----

    fn ping_arrived(&mut self, from: SocketAddr, ping: &Ping<'_>) {
        if !ping.node.is_empty() && *ping.node != *self.table[self.own].name {
            let (node, own) = (ping.node.to_owned(), self.own_name());
            self.drop_message(Layer::Memberlist, "ping_for_another", || {
                format!("{from} pings {node} here, but this is {own}; is an old address still in use?")
            });
            return;
        }
        let to = self.way_back(ping.source_node, ping.source_addr, ping.source_port, from);
        let mut message = Vec::new();
        let payload = self.ack_payload();
        Ack { seq: ping.seq, payload: payload.as_deref() }.encode(&mut message);
        let checksum = self.checksum_by_name(ping.source_node);
        self.send_with_gossip(to, checksum, message);
    }

    fn indirect_ping_arrived(&mut self, from: SocketAddr, request: &IndirectPing<'_>) {
        let Some(target) = ip_from_bytes(request.target) else {
            self.drop_message(Layer::Memberlist, "message_dropped", || {
                format!("{from} asks to probe an address of neither 4 nor 16 bytes")
            });
            return;
        };
        if self.relayed_pings.len() >= RELAYED_PINGS_MAX {
            self.drop_message(Layer::Memberlist, "relay_limit", || {
                format!("{from} asks for a probe, but {RELAYED_PINGS_MAX} are under way for others already")
            });
            return;
        }
        self.counters.indirect_probes_relayed += 1;
        let port = if request.port == 0 { self.config.bind_port } else { request.port };
        let to = self.way_to(request.node, SocketAddr::new(target.to_canonical(), port));
        let seq = self.next_seq();
        let requester = self.way_back(request.source_node, request.source_addr, request.source_port, from);
        self.relayed_pings.insert(
            seq,
            RelayedPing { requester, seq: request.seq, wants_nack: request.nack, overdue: false },
        );
        self.timers.set(self.now + self.nack_after(), Timer::RelayExpired { seq });
        let checksum = self.checksum_by_name(request.node);
        let message = self.encode_ping(seq, request.node);
        self.send_with_gossip(to, checksum, message);
    }

    /// How long a relay waits before it says that it hears nothing.
    fn nack_after(&self) -> Duration {
        if self.config.detector.early_nacks {
            self.config.probe_timeout.mul_f64(NACK_AFTER)
        } else {
            self.config.probe_timeout
        }
    }

    /// First the nack, while it can still arrive in time; the answer itself is awaited until the whole probe timeout is over.
    pub(super) fn relay_expired(&mut self, seq: u32) {
        let Some(relayed) = self.relayed_pings.get_mut(&seq) else { return };
        if std::mem::replace(&mut relayed.overdue, true) {
            self.relayed_pings.remove(&seq);
            return;
        }
        let (requester, seq_asked, wants_nack) = (relayed.requester, relayed.seq, relayed.wants_nack);
        let rest = self.config.probe_timeout.saturating_sub(self.nack_after());
        self.timers.set(self.now + rest, Timer::RelayExpired { seq });
        if wants_nack {
            let mut message = Vec::new();
            Nack { seq: seq_asked }.encode(&mut message);
            self.send_with_gossip(requester, Checksum::Omit, message);
        }
    }

    fn ack_arrived(&mut self, ack: &Ack<'_>) {
        if let Some(relayed) = self.relayed_pings.remove(&ack.seq) {
            let mut message = Vec::new();
            Ack { seq: relayed.seq, payload: None }.encode(&mut message);
            self.send_with_gossip(relayed.requester, Checksum::Omit, message);
        } else if !self.lost_answered(ack.seq)
            && !self.look_answered(ack.seq, AnswerWay::Direct)
            && !self.trial_answered(ack.seq)
        {
            self.probe_acked(ack);
        }
    }

    /// A ping from us, told with our own name and address so that the answer finds us.
    pub(super) fn encode_ping(&self, seq: u32, node: &str) -> Vec<u8> {
        let (addr, source_port) = self.source();
        let ping = Ping {
            seq,
            node,
            source_addr: addr.as_slice(),
            source_port,
            source_node: &self.table[self.own].name,
        };
        let mut message = Vec::new();
        ping.encode(&mut message);
        message
    }

    /// The address to which answers are to be sent, as a ping carries it; none for back to where the ping came from.
    ///
    /// On several networks no single address is right for all: only the way that the ping took is known to work.
    pub(super) fn source(&self) -> (ReplyIp, u16) {
        let own = &self.table[self.own];
        if self.config.networks.is_empty() {
            let (bytes, len) = ip_bytes(own.ip);
            (ReplyIp { bytes, len }, own.port)
        } else {
            (ReplyIp { bytes: [0; 16], len: 0 }, 0)
        }
    }

    /// Where to send what is meant for the member of this name at this address: over the network that we share, if it is
    /// that member.
    pub(super) fn way_to(&self, name: &str, announced: SocketAddr) -> SocketAddr {
        let known = self.table.find(name).map(|id| &self.table[id]);
        known.filter(|entry| entry.addr() == announced).map_or(announced, Entry::reached_at)
    }

    /// Where an answer goes: to the member and address named in the request if there is one, else back to where the packet came
    /// from, which is known to work.
    fn way_back(&self, name: &str, addr: &[u8], port: u16, from: SocketAddr) -> SocketAddr {
        match ip_from_bytes(addr).map(|ip: IpAddr| ip.to_canonical()) {
            Some(ip) if port != 0 => self.way_to(name, SocketAddr::new(ip, port)),
            _ => from,
        }
    }

    // ---- sending ----

    /// Whether packets to this member carry a checksum.
    /// Differs from Serf: it knows the receiver only on some paths and leaves the checksum out on the others.
    pub(super) fn checksum_for(&self, id: MemberId) -> Checksum {
        if self.table[id].protocol_max() >= CHECKSUM_PROTOCOL_MIN { Checksum::Add } else { Checksum::Omit }
    }

    pub(super) fn checksum_by_name(&self, name: &str) -> Checksum {
        match self.table.find(name) {
            Some(id) if self.table[id].state != State::Forgotten => self.checksum_for(id),
            _ => Checksum::Omit,
        }
    }

    /// Sends messages as one packet.
    pub(super) fn send(&mut self, to: SocketAddr, checksum: Checksum, messages: &[impl AsRef<[u8]>]) {
        let nonce = self.rng.nonce();
        let packet = self.codec.seal_packet(messages, checksum, nonce);
        self.counters.packets_sent += 1;
        self.counters.packet_bytes_sent += packet.len() as u64;
        self.outputs.push_back(Output::Send { to, packet });
    }
}

/// The member whose entry is looked at for this message.
fn whom<'a>(message: &Message<'a>) -> Option<&'a str> {
    let Message::User(payload) = message else { return message.about() };
    if !matches!(payload.first(), Some(&(serf::kind::JOIN | serf::kind::LEAVE))) {
        return None;
    }
    match SerfMessage::decode(payload) {
        Ok(SerfMessage::Join(join)) => Some(join.node),
        Ok(SerfMessage::Leave(leave)) => Some(leave.node),
        _ => None,
    }
}
