//! A few nodes on a network without delay, over which the tests have full control.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use thane_core::{Config, Replay, Status, StreamFailure, StreamId, Time};

use super::support::{Bench, addr_of, ms};

/// Nodes by their place; node `i` has the address [`addr_of`]`(i + 1)` unless its configuration says otherwise.
pub(crate) struct Net {
    pub(crate) nodes: Vec<Bench>,
    /// Nodes that have stopped: no packet, no stream, no time.
    pub(crate) down: BTreeSet<usize>,
    /// Addresses whose packets are lost, both ways.
    pub(crate) no_udp: BTreeSet<SocketAddr>,
    /// Addresses to which a stream neither opens nor fails.
    pub(crate) silent: BTreeSet<SocketAddr>,
    /// Two addresses whose packets to each other are lost.
    pub(crate) lost_between: Option<(SocketAddr, SocketAddr)>,
    /// Addresses that reach each other and nobody else, by packet or stream.
    pub(crate) cut_off: Vec<SocketAddr>,
    /// All packets delivered or lost: from, to, bytes.
    pub(crate) packets: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    links: BTreeMap<(usize, StreamId), (usize, StreamId)>,
    pub(crate) now: Time,
}

/// A LAN node with the name of its place: `n0`, `n1`, ...
pub(crate) fn lan(at: usize) -> Config {
    Config::lan(format!("n{at}"), addr_of(at as u8 + 1))
}

impl Net {
    pub(crate) fn new(configs: impl IntoIterator<Item = Config>) -> Self {
        let nodes = configs
            .into_iter()
            .enumerate()
            .map(|(at, config)| Bench::seeded(config, at as u64 + 100))
            .collect();
        Self {
            nodes,
            down: BTreeSet::new(),
            no_udp: BTreeSet::new(),
            silent: BTreeSet::new(),
            lost_between: None,
            cut_off: Vec::new(),
            packets: Vec::new(),
            links: BTreeMap::new(),
            now: Time::ZERO,
        }
    }

    /// So many LAN nodes that have all joined the first one and know each other.
    pub(crate) fn joined(count: usize) -> Self {
        Self::joined_with((0..count).map(lan))
    }

    pub(crate) fn joined_with(configs: impl IntoIterator<Item = Config>) -> Self {
        let mut net = Self::new(configs);
        let count = net.nodes.len();
        for at in 1..count {
            net.join(at, 0);
        }
        assert!(net.run_until(ms(20_000), |net| net.all_see(count)), "{count} nodes find each other");
        net
    }

    pub(crate) fn addr(&self, at: usize) -> SocketAddr {
        self.nodes[at].node.config().advertise
    }

    pub(crate) fn join(&mut self, at: usize, peer: usize) {
        let peer = self.addr(peer);
        let now = self.now;
        self.nodes[at].node.join(now, &[peer], Replay::Old).unwrap();
        self.pump();
    }

    /// Whether each running node holds so many members for alive.
    pub(crate) fn all_see(&self, count: usize) -> bool {
        let alive =
            |bench: &Bench| bench.node.members().filter(|member| member.status == Status::Alive).count();
        (0..self.nodes.len()).filter(|at| !self.down.contains(at)).all(|at| alive(&self.nodes[at]) == count)
    }

    pub(crate) fn status(&self, at: usize, name: &str) -> Option<Status> {
        self.nodes[at].node.member(name).map(|member| member.status)
    }

    /// Delivers until nobody has anything to say.
    pub(crate) fn pump(&mut self) {
        loop {
            let mut idle = true;
            for at in 0..self.nodes.len() {
                self.nodes[at].collect();
                if !self.down.contains(&at) {
                    idle &= !self.deliver_from(at);
                }
            }
            if idle {
                return;
            }
        }
    }

    fn deliver_from(&mut self, at: usize) -> bool {
        let bench = &mut self.nodes[at];
        let (sent, dials) = (std::mem::take(&mut bench.sent), std::mem::take(&mut bench.dials));
        let (written, closed) = (std::mem::take(&mut bench.written), std::mem::take(&mut bench.closed));
        let busy = !(sent.is_empty() && dials.is_empty() && written.is_empty() && closed.is_empty());
        let from = self.addr(at);
        for (to, packet) in sent {
            self.packets.push((from, to, packet.clone()));
            let cut = self.lost_between.is_some_and(|(a, b)| (a, b) == (from, to) || (b, a) == (from, to));
            if cut || self.apart(from, to) || self.no_udp.contains(&from) || self.no_udp.contains(&to) {
                continue;
            }
            if let Some(peer) = self.at_address(to) {
                self.nodes[peer].node.handle_packet(self.now, from, Bytes::from(packet.clone()));
                self.nodes[peer].collect();
            }
        }
        for (stream, to) in dials {
            self.connect(at, stream, from, to);
        }
        for (stream, bytes) in written {
            if let Some((peer, theirs)) = self.links.get(&(at, stream)).copied() {
                self.nodes[peer].node.handle_stream_data(self.now, theirs, &bytes);
                self.nodes[peer].collect();
            }
        }
        for stream in closed {
            if let Some((peer, theirs)) = self.links.remove(&(at, stream)) {
                self.nodes[peer].node.handle_stream_ended(self.now, theirs);
                self.nodes[peer].collect();
            }
        }
        busy
    }

    /// Nodes that listen at an address. (Two may bear the same name, never the same address.)
    fn at_address(&self, addr: SocketAddr) -> Option<usize> {
        (0..self.nodes.len()).find(|at| self.addr(*at) == addr && !self.down.contains(at))
    }

    fn apart(&self, a: SocketAddr, b: SocketAddr) -> bool {
        self.cut_off.contains(&a) != self.cut_off.contains(&b)
    }

    fn connect(&mut self, at: usize, stream: StreamId, from: SocketAddr, to: SocketAddr) {
        if self.silent.contains(&to) {
            return;
        }
        let reachable = self.at_address(to).filter(|_| !self.apart(from, to));
        let accepted = reachable.and_then(|peer| {
            let theirs = self.nodes[peer].node.handle_stream_accepted(self.now, from)?;
            Some((peer, theirs))
        });
        if let Some((peer, theirs)) = accepted {
            self.links.insert((at, stream), (peer, theirs));
            self.links.insert((peer, theirs), (at, stream));
            self.nodes[at].node.handle_stream_connected(self.now, stream);
        } else {
            // A machine without the program refuses; nobody hears from one that is cut off.
            let failure = if self.apart(from, to) {
                StreamFailure::TimedOut("no answer".into())
            } else {
                StreamFailure::Refused("connection refused".into())
            };
            self.nodes[at].node.handle_stream_failed(self.now, stream, failure);
        }
        self.nodes[at].collect();
    }

    /// Lets time pass, waking each node when it asks for it.
    pub(crate) fn run(&mut self, span: Duration) {
        self.run_until(span, |_| false);
    }

    /// Lets time pass until something holds; false if it does not within `span`.
    pub(crate) fn run_until(&mut self, span: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + span;
        loop {
            self.pump();
            if holds(self) {
                return true;
            }
            let running = (0..self.nodes.len()).filter(|at| !self.down.contains(at));
            let next = running.clone().map(|at| self.nodes[at].node.poll_timeout()).min().unwrap_or(end);
            if next > end {
                self.now = end;
                return false;
            }
            self.now = self.now.max(next);
            for at in running.collect::<Vec<_>>() {
                self.nodes[at].now = self.now;
                if self.nodes[at].node.poll_timeout() <= self.now {
                    self.nodes[at].node.handle_timeout(self.now);
                    self.nodes[at].collect();
                }
            }
        }
    }
}
