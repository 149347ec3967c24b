//! What a byzantine peer sends.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use thane_core::Config;
use thane_wire::gossip::{
    Ack, Alive, Dead, IndirectPing, Message, Nack, NodeState, NodeStateKind, Ping, Suspect,
};
use thane_wire::packet::{Checksum, Codec, CodecConfig};
use thane_wire::serf::{Join, Leave, PushPullState, Query, QueryResponse, Relay, SerfMessage, UserEvent};
use thane_wire::stream::{PushPull, Role};

use super::Lie;
use crate::rng::SimRng;

/// Packets that it keeps to send them again.
const OVERHEARD_MAX: usize = 64;
/// Names that never were, of which it tells.
const GHOSTS: usize = 3;
/// memberlist's and Serf's minimum, maximum and current protocol.
const VERSIONS: [u8; 6] = [1, 5, 2, 2, 5, 5];

/// Makes messages that no node sends.
#[derive(Debug)]
pub(super) struct Forger {
    codec: Codec,
    name: String,
    addr: SocketAddr,
    /// The members, and where they are.
    members: Vec<(String, SocketAddr)>,
    /// The greatest incarnation that it has heard of each.
    incarnations: BTreeMap<String, u32>,
    /// The greatest Lamport time that it has heard.
    ltime: u64,
    overheard: VecDeque<Vec<u8>>,
}

fn ip_bytes(addr: SocketAddr) -> Vec<u8> {
    match addr.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn nonce(rng: &mut SimRng) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&rng.u64().to_le_bytes());
    nonce
}

impl Forger {
    pub(super) fn new(config: &Config, members: Vec<(String, SocketAddr)>) -> Self {
        let codec = Codec::new(CodecConfig {
            label: config.label.clone(),
            keyring: config.keyring.clone(),
            verify_incoming: config.verify_incoming,
            verify_outgoing: config.verify_outgoing,
            compression: config.compression,
            ..CodecConfig::default()
        });
        Self {
            codec: codec
                .unwrap_or_else(|_too_long| unreachable!("invariant: the cluster's label is short enough")),
            name: config.name.clone(),
            addr: config.advertise,
            members,
            incarnations: BTreeMap::new(),
            ltime: 1,
            overheard: VecDeque::new(),
        }
    }

    /// Keeps a packet, and learns from it what it can read.
    pub(super) fn overhears(&mut self, packet: &[u8]) {
        if self.overheard.len() == OVERHEARD_MAX {
            self.overheard.pop_front();
        }
        self.overheard.push_back(packet.to_vec());
        let Ok(opened) = self.codec.open_packet(Bytes::copy_from_slice(packet)) else { return };
        for message in &opened.messages {
            match Message::decode(message) {
                Ok(
                    Message::Alive(Alive { incarnation, node, .. })
                    | Message::Dead(Dead { incarnation, node, .. }),
                ) if self.members.iter().any(|(name, _)| name == node) => {
                    let known = self.incarnations.entry(node.to_owned()).or_default();
                    *known = incarnation.max(*known);
                }
                Ok(Message::User(payload)) => {
                    if let Ok(
                        SerfMessage::Join(Join { ltime, .. })
                        | SerfMessage::Leave(Leave { ltime, .. })
                        | SerfMessage::UserEvent(UserEvent { ltime, .. })
                        | SerfMessage::Query(Query { ltime, .. }),
                    ) = SerfMessage::decode(payload)
                    {
                        self.ltime = self.ltime.max(ltime);
                    }
                }
                _ => {}
            }
        }
    }

    /// Something that was overheard, as it was.
    pub(super) fn replayed(&self, rng: &mut SimRng) -> Option<Vec<u8>> {
        self.overheard.get(rng.below(self.overheard.len())).cloned()
    }

    /// Something that is not a packet, or one that was changed.
    pub(super) fn malformed(&self, rng: &mut SimRng) -> Option<Vec<u8>> {
        Some(match rng.below(5) {
            0 => random_bytes(rng, 1400),
            // What was overheard, changed beneath the seal if it can be opened.
            1 | 2 => {
                let packet = self.replayed(rng)?;
                match self.codec.open_packet(Bytes::from(packet.clone())) {
                    Ok(opened) if !opened.messages.is_empty() => {
                        let messages: Vec<Vec<u8>> =
                            opened.messages.iter().map(|message| changed(message, rng)).collect();
                        self.seal(&messages, rng)
                    }
                    _ => changed(&packet, rng),
                }
            }
            3 => self.seal(&[changed(&self.message(rng), rng)], rng),
            _ => self.wrapped_in_itself(rng),
        })
    }

    /// Compounds within compounds, more than anybody has a use for.
    fn wrapped_in_itself(&self, rng: &mut SimRng) -> Vec<u8> {
        let mut inner = self.message(rng);
        for _ in 0..rng.between(1, 40) {
            // A compound of one: type 7, one part, its length.
            let length = inner.len().min(60_000) as u16;
            let mut outer = vec![7, 1];
            outer.extend_from_slice(&length.to_be_bytes());
            outer.append(&mut inner);
            inner = outer;
        }
        self.seal(&[inner], rng)
    }

    /// A packet of lies, sealed as the truth is.
    pub(super) fn forged(&self, rng: &mut SimRng) -> Vec<u8> {
        let messages: Vec<Vec<u8>> = (0..rng.between(1, 4)).map(|_| self.message(rng)).collect();
        self.seal(&messages, rng)
    }

    /// Somebody is where somebody else is.
    pub(super) fn impersonating(&self, rng: &mut SimRng) -> Vec<u8> {
        let none = (self.name.clone(), self.addr);
        let (victim, _) = rng.pick(&self.members).unwrap_or(&none);
        let (_, elsewhere) = rng.pick(&self.members).unwrap_or(&none);
        let incarnation = self.incarnation(victim, rng);
        let addr = ip_bytes(*elsewhere);
        let mut out = Vec::new();
        Message::Alive(Alive {
            incarnation,
            node: victim,
            addr: &addr,
            port: elsewhere.port(),
            meta: None,
            versions: &VERSIONS,
        })
        .encode(&mut out);
        self.seal(&[out], rng)
    }

    fn seal(&self, messages: &[Vec<u8>], rng: &mut SimRng) -> Vec<u8> {
        self.codec.seal_packet(messages, Checksum::Omit, nonce(rng))
    }

    /// What it says on a stream.
    pub(super) fn stream(&self, rng: &mut SimRng, lie: Lie) -> Vec<u8> {
        let message = self.exchange(rng);
        if lie == Lie::Forged {
            return self.codec.seal_stream(Role::Dialer, &message, nonce(rng));
        }
        match rng.below(3) {
            0 => random_bytes(rng, 3000),
            1 => self.codec.seal_stream(Role::Dialer, &changed(&message, rng), nonce(rng)),
            _ => changed(&self.codec.seal_stream(Role::Dialer, &message, nonce(rng)), rng),
        }
    }

    /// An exchange of states in which hardly anything is true.
    fn exchange(&self, rng: &mut SimRng) -> Vec<u8> {
        let (mut records, mut count) = (Vec::new(), 0);
        let (mut ltimes, mut left) = (Vec::new(), Vec::new());
        for (name, addr) in &self.members {
            if rng.chance(0.3) {
                continue;
            }
            let addr = ip_bytes(*addr);
            let kinds =
                [NodeStateKind::Alive, NodeStateKind::Suspect, NodeStateKind::Dead, NodeStateKind::Left];
            let state = NodeState {
                name,
                addr: &addr,
                port: self.addr.port(),
                meta: None,
                incarnation: self.incarnation(name, rng),
                state: kinds[rng.below(kinds.len())],
                versions: &VERSIONS,
            };
            state.encode(&mut records);
            count += 1;
            ltimes.push((name.as_str(), self.time(rng)));
            if rng.chance(0.2) {
                left.push(name.as_str());
            }
        }
        let state = PushPullState {
            ltime: self.time(rng),
            status_ltimes: ltimes,
            left_members: Some(left),
            event_ltime: self.time(rng),
            query_ltime: self.time(rng),
            ..PushPullState::default()
        };
        let mut user_state = Vec::new();
        SerfMessage::PushPull(state).encode(&mut user_state);
        let mut out = Vec::new();
        PushPull::encode(rng.chance(0.5), count, &records, &user_state, &mut out);
        out
    }

    fn incarnation(&self, name: &str, rng: &mut SimRng) -> u32 {
        let known = self.incarnations.get(name).copied().unwrap_or(0);
        let ahead = if rng.chance(0.1) { 1 << 20 } else { 4 };
        known.saturating_add(rng.below(ahead) as u32)
    }

    fn time(&self, rng: &mut SimRng) -> u64 {
        let ahead = if rng.chance(0.05) { 1 << 20 } else { 40 };
        self.ltime + rng.below(ahead) as u64
    }

    fn message(&self, rng: &mut SimRng) -> Vec<u8> {
        let mut out = Vec::new();
        let none = (self.name.clone(), self.addr);
        let (victim, victim_addr) = rng.pick(&self.members).unwrap_or(&none);
        let (other, other_addr) = rng.pick(&self.members).unwrap_or(&none);
        let (incarnation, seq) = (self.incarnation(victim, rng), rng.below(1000) as u32);
        let (bytes, other_bytes) = (ip_bytes(*victim_addr), ip_bytes(*other_addr));
        let port = victim_addr.port();
        let ghost = format!("ghost-{}", rng.below(GHOSTS));
        let meta = random_bytes(rng, 40);
        let own = ip_bytes(self.addr);
        let alive = Alive { incarnation, node: victim, addr: &bytes, port, meta: None, versions: &VERSIONS };
        let message = match rng.below(15) {
            0 => Message::Suspect(Suspect { incarnation, node: victim, from: other }),
            1 => Message::Dead(Dead { incarnation, node: victim, from: other }),
            2 => Message::Dead(Dead { incarnation, node: victim, from: victim }),
            3 => Message::Alive(Alive { meta: Some(&meta), ..alive }),
            4 => Message::Alive(Alive { node: &ghost, ..alive }),
            5 => Message::Alive(Alive { node: &self.name, addr: &own, ..alive }),
            6 => Message::Ping(Ping {
                seq,
                node: victim,
                source_addr: &other_bytes,
                source_port: port,
                source_node: other,
            }),
            7 => Message::IndirectPing(IndirectPing {
                seq,
                target: &bytes,
                port,
                node: victim,
                nack: rng.chance(0.5),
                source_addr: &other_bytes,
                source_port: port,
                source_node: other,
            }),
            8 => Message::Ack(Ack { seq, payload: Some(&meta) }),
            9 => Message::Nack(Nack { seq }),
            _ => return self.serf_message(victim, (other, *other_addr), rng),
        };
        message.encode(&mut out);
        out
    }

    fn serf_message(&self, victim: &str, (other, addr): (&str, SocketAddr), rng: &mut SimRng) -> Vec<u8> {
        let ltime = self.time(rng);
        let id = rng.below(1000) as u32;
        let bytes = ip_bytes(addr);
        let payload = random_bytes(rng, 60);
        let mut inner = Vec::new();
        let message = match rng.below(6) {
            0 => SerfMessage::Leave(Leave { ltime, node: victim, prune: rng.chance(0.2) }),
            1 => SerfMessage::Join(Join { ltime, node: victim }),
            2 => SerfMessage::UserEvent(UserEvent {
                ltime,
                name: "forged",
                payload: Some(&payload),
                coalesce: false,
            }),
            3 => SerfMessage::Query(Query {
                ltime,
                id,
                addr: &bytes,
                port: addr.port(),
                source_node: other,
                filters: None,
                flags: rng.below(4) as u32,
                relay_factor: rng.below(5) as u8,
                timeout_ns: 2_000_000_000,
                name: "forged",
                payload: Some(&payload),
            }),
            4 => SerfMessage::QueryResponse(QueryResponse {
                ltime,
                id,
                from: other,
                flags: rng.below(2) as u32,
                payload: Some(&payload),
            }),
            _ => {
                SerfMessage::Join(Join { ltime, node: victim }).encode(&mut inner);
                SerfMessage::Relay(Relay { dest: Some(addr), dest_name: other, inner: &inner })
            }
        };
        let mut body = Vec::new();
        message.encode(&mut body);
        let mut out = Vec::new();
        Message::User(&body).encode(&mut out);
        out
    }
}

fn random_bytes(rng: &mut SimRng, most: usize) -> Vec<u8> {
    (0..rng.between(0, most)).map(|_| rng.below(256) as u8).collect()
}

/// Some bytes other, some missing, or some twice.
fn changed(bytes: &[u8], rng: &mut SimRng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes.is_empty() {
        return bytes;
    }
    match rng.below(4) {
        0 => bytes.truncate(rng.below(bytes.len())),
        1 => {
            let at = rng.below(bytes.len());
            let again = bytes[at..].to_vec();
            bytes.extend_from_slice(&again);
        }
        _ => {
            for _ in 0..rng.between(1, 8) {
                let at = rng.below(bytes.len());
                bytes[at] = rng.below(256) as u8;
            }
        }
    }
    bytes
}
