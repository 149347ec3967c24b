//! Byzantine peers: hosts on which no node runs but somebody who sends what no node would.
//!
//! Such a host overhears what others send, and sends, at a pace and up to a number, messages that are malformed, replayed or
//! forged; packets with any source address, and streams that it breaks off or leaves hanging. With the cluster's key (or in a
//! cluster without keys) its lies are sealed as the truth is. What can still be promised then is less: see
//! [`Byzantine::can_forge`].

mod forger;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thane_core::{Config, StreamId};
use thane_wire::Key;

use self::forger::Forger;
use crate::network::Fate;
use crate::rng::SimRng;
use crate::span;
use crate::world::{Happening, HostId, Observer, ProcessId, World};

/// What a byzantine peer overhears: one packet in this many.
const OVERHEARS_ONE_IN: usize = 8;
/// How long its streams stay silent at most before it says something.
const HESITATION_MAX: Duration = Duration::from_secs(2);

/// What a byzantine peer does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Byzantine {
    /// Mean time between two of its messages.
    #[serde(with = "span")]
    pub pace: Duration,
    /// How many messages it sends at most.
    pub messages: u32,
    /// Whether it has the cluster's keys. Without keys in the cluster it needs none.
    pub has_key: bool,
    /// What it sends, each as often as the others.
    pub lies: Vec<Lie>,
}

/// A kind of message that no node sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lie {
    /// Bytes that are nothing, or something that was changed, cut off or wrapped in itself.
    Malformed,
    /// What somebody else has sent before.
    Replayed,
    /// Well-formed and untrue: others dead, alive, gone; members, events and queries that never were.
    Forged,
    /// Others where they are not. Whoever believes that votes against the true owner of a name, who stops when the vote is
    /// lost, as Serf does.
    Impersonating,
}

impl Byzantine {
    /// Whether members will believe what it makes up: then names may appear that never were, who left may seem to come back, and
    /// events are delivered that nobody sent; a process may stop because it loses the vote over its name. Malformed messages are
    /// forged ones with luck. Otherwise every promise holds.
    pub fn can_forge(&self, encrypted: bool) -> bool {
        can_forge(self.has_key, encrypted, self.lies.iter().copied())
    }
}

/// The same of what it has and tells.
pub(crate) fn can_forge(has_key: bool, encrypted: bool, mut lies: impl Iterator<Item = Lie>) -> bool {
    (has_key || !encrypted) && lies.any(|lie| lie != Lie::Replayed)
}

/// A byzantine peer at work.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) host: HostId,
    what: Byzantine,
    forger: Forger,
    rng: SimRng,
    sent: u32,
    streams: u64,
    is_active: bool,
}

impl<O: Observer> World<O> {
    /// Adds a host on which a byzantine peer begins its work at once. Of `config` it takes the address, the name, the label and
    /// the keys. It knows all hosts that were added before.
    ///
    /// # Panics
    /// When another host has the address.
    pub fn add_byzantine(&mut self, config: Config, what: Byzantine) -> HostId {
        let others: Vec<(String, SocketAddr)> =
            self.hosts.iter().map(|host| (host.config.name.clone(), host.config.advertise)).collect();
        let mut known = config.clone();
        if !what.has_key && !known.keyring.is_empty() {
            known.keyring = thane_wire::Keyring::new(Key::new(&[99; 32]).ok());
        }
        let number = self.byzantine.len() as u64;
        let mut rng = SimRng::new(self.seed, "byzantine", number);
        let forger = Forger::new(&known, others);
        let host = self.add_host(config);
        let wait = rng.span(Duration::ZERO, what.pace * 2);
        let peer = Peer { host, what, forger, rng, sent: 0, streams: 0, is_active: true };
        self.byzantine.push(peer);
        self.schedule(self.now + wait, Happening::Lie { peer: number as usize });
        host
    }

    /// Ends the work of all byzantine peers; their machines go down.
    pub fn end_byzantine(&mut self) {
        let all: Vec<HostId> = self.byzantine.iter().map(|peer| peer.host).collect();
        for host in all {
            self.end_byzantine_on(host);
        }
    }

    /// Ends the work of the byzantine peer on this host; its machine goes down. Does nothing if there is none.
    pub fn end_byzantine_on(&mut self, host: HostId) {
        if let Some(peer) = self.byzantine.iter_mut().find(|peer| peer.host == host) {
            peer.is_active = false;
            self.hosts[host.index()].machine_down = true;
        }
    }

    /// A packet is sent: whoever overhears it keeps it.
    pub(crate) fn overhear(&mut self, packet: &[u8]) {
        for peer in self.byzantine.iter_mut().filter(|peer| peer.is_active) {
            if peer.rng.below(OVERHEARS_ONE_IN) == 0 {
                peer.forger.overhears(packet);
            }
        }
    }

    /// The next message of a byzantine peer.
    pub(crate) fn lie(&mut self, number: usize) {
        let peer = &mut self.byzantine[number];
        if !peer.is_active || peer.sent >= peer.what.messages {
            return;
        }
        peer.sent += 1;
        let wait = peer.rng.span(Duration::ZERO, peer.what.pace * 2).max(Duration::from_millis(1));
        self.schedule(self.now + wait, Happening::Lie { peer: number });
        let peer = &mut self.byzantine[number];
        // Where nothing ever ran nobody is lied to.
        let targets: Vec<HostId> = (self.hosts.iter().zip(0..))
            .filter(|(host, _)| host.life > 0)
            .map(|(_, number)| HostId(number))
            .collect();
        let (Some(&target), Some(&lie)) = (peer.rng.pick(&targets), peer.rng.pick(&peer.what.lies)) else {
            return;
        };
        match lie {
            Lie::Malformed => self.tally.lies_malformed += 1,
            Lie::Replayed => self.tally.lies_replayed += 1,
            Lie::Forged => self.tally.lies_forged += 1,
            Lie::Impersonating => self.tally.lies_impersonating += 1,
        }
        let peer = &mut self.byzantine[number];
        if matches!(lie, Lie::Malformed | Lie::Forged) && peer.rng.chance(0.2) {
            self.open_lying_stream(number, target, lie);
            return;
        }
        let packet = match lie {
            Lie::Malformed => peer.forger.malformed(&mut peer.rng),
            Lie::Replayed => peer.forger.replayed(&mut peer.rng),
            Lie::Forged => Some(peer.forger.forged(&mut peer.rng)),
            Lie::Impersonating => Some(peer.forger.impersonating(&mut peer.rng)),
        };
        // UDP believes any source address.
        let from =
            if peer.rng.chance(0.5) { *peer.rng.pick(&targets).unwrap_or(&peer.host) } else { peer.host };
        let (host, Some(packet)) = (peer.host, packet) else { return };
        let fate = self.network.packet_fate(&mut self.rng, self.now, host, target, packet.len());
        if let Fate::Arrives { after, .. } = fate {
            let number = self.schedule.next_number();
            let bytes = Bytes::from(packet);
            self.schedule(self.now + after, Happening::Packet { to: target, from, bytes, number });
        }
    }

    fn open_lying_stream(&mut self, number: usize, target: HostId, lie: Lie) {
        let to = self.addr(target);
        let peer = &mut self.byzantine[number];
        let stream = StreamId(peer.streams);
        peer.streams += 1;
        let bytes = peer.forger.stream(&mut peer.rng, lie);
        let wait = peer.rng.span(Duration::from_millis(10), HESITATION_MAX);
        let closes = peer.rng.chance(0.5);
        // No node runs there, so nobody hears of what comes back; its kernel answers with a reset.
        let process = ProcessId { host: peer.host, life: 0 };
        self.dial(process, stream, to, Duration::from_secs(10));
        self.schedule(self.now + wait, Happening::LieOnStream { peer: number, stream, bytes, closes });
    }

    pub(crate) fn lie_on_stream(&mut self, number: usize, stream: StreamId, bytes: Vec<u8>, closes: bool) {
        let host = self.byzantine[number].host;
        self.write(host, stream, bytes.into());
        if closes {
            self.close(host, stream);
        }
    }
}
