//! Who is probed when, and what follows.
//!
//! One member is probed an interval, in a ring that is shuffled after each round (SWIM, section 4.3). A probe is a ping; without
//! an answer in time, others are asked to ping for us and a ping goes over TCP. Silence until the deadline makes the
//! member suspect. Lifeguard stretches the deadline by our own health and has the relays say when they hear nothing either.
//! Source: memberlist `state.go`, probeNode.

use std::net::SocketAddr;
use std::sync::Arc;

use thane_wire::gossip::{Ack, IndirectPing, Suspect, ip_bytes};

use super::Node;
use super::streams::Purpose;
use crate::event::{AnswerWay, Cause, Path, ProbeFailure, Relay, TcpProbe};
use crate::measure::Measure;
use crate::member::State;
use crate::notice::{Layer, Level};
use crate::table::MemberId;
use crate::time::Time;
use crate::timers::{Timer, TimerKey};

/// The memberlist protocol version from which a peer answers pings over TCP.
pub(super) const TCP_PING_PROTOCOL_MIN: u8 = 3;
/// The memberlist protocol version from which a peer can send nacks.
const NACK_PROTOCOL_MIN: u8 = 4;

/// The one probe that may be under way, and where the ring stands.
#[derive(Debug, Default)]
pub(super) struct Prober {
    ring_at: usize,
    /// A tick fell due while a probe was under way; at most one is remembered.
    tick_pending: bool,
    current: Option<Probe>,
}

impl Prober {
    pub(super) fn current(&self) -> Option<&Probe> {
        self.current.as_ref()
    }
}

/// A probe under way.
#[derive(Debug)]
pub(super) struct Probe {
    seq: u32,
    target: Arc<str>,
    addr: SocketAddr,
    /// What the target's incarnation was when the probe began: the one that is accused if it fails.
    incarnation: u32,
    sent: Time,
    /// When it ends if everybody is waited for.
    due: Time,
    /// When it ends.
    deadline: Time,
    /// Whether others have been asked.
    indirect: bool,
    /// The ping itself could not be sent: then success says nothing about our own health.
    unsendable: bool,
    relays: Vec<(SocketAddr, Relay)>,
    nacks_expected: u32,
    tcp: TcpProbe,
    tcp_answered: bool,
    /// For its two stages: a probe that is answered needs no waking.
    timers: [TimerKey; 2],
}

impl Probe {
    /// Relays that have said that they heard nothing.
    fn nacks(&self) -> u32 {
        self.relays.iter().filter(|(_, relay)| relay.nacked).count() as u32
    }

    /// Whether it ends early, because nobody else need be waited for.
    fn is_cut_short(&self) -> bool {
        self.deadline < self.due
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.nacks_expected as usize <= self.relays.len(), "nacks are expected only of relays");
        assert!(self.sent <= self.deadline, "a probe ends after it began");
        assert!(self.indirect || self.relays.is_empty(), "relays are asked only in the second stage");
    }
}

impl Node {
    pub(super) fn probe_tick(&mut self) {
        self.timers.set(self.now + self.config.probe_interval, Timer::ProbeTick);
        if self.prober.current.is_some() {
            self.prober.tick_pending = true;
        } else {
            self.probe_next();
        }
    }

    /// Probes the next member of the ring that is neither ourselves nor gone.
    fn probe_next(&mut self) {
        for _ in 0..=self.table.ring().len() {
            if self.prober.ring_at >= self.table.ring().len() {
                let window = self.config.gossip_to_the_dead_time;
                self.table.forget_and_shuffle(self.now, window, self.own, &mut self.rng);
                self.prober.ring_at = 0;
            }
            let id = self.table.ring()[self.prober.ring_at];
            self.prober.ring_at += 1;
            if id != self.own && self.table[id].is_live() {
                self.probe(id);
                return;
            }
        }
    }

    fn probe(&mut self, id: MemberId) {
        self.counters.probes += 1;
        let seq = self.next_seq();
        let span = self.awareness.scale(self.config.probe_interval);
        let entry = &self.table[id];
        let (name, addr, incarnation, state) =
            (entry.name.clone(), entry.reached_at(), entry.incarnation, entry.state);
        let deadline = self.now + span;
        // The look's timer sets the next one.
        let look_after = self.look_after(id);
        let looks = self.config.detector.refusals
            && self.answers_over_tcp(id)
            && look_after < self.config.probe_timeout;
        let first = if looks {
            self.timers.set(self.now + look_after, Timer::ProbeLook { seq })
        } else {
            self.timers.set(self.now + self.config.probe_timeout, Timer::ProbeTimeout { seq })
        };
        let timers = [first, self.timers.set(deadline, Timer::ProbeDeadline { seq })];
        self.prober.current = Some(Probe {
            seq,
            target: name.clone(),
            addr,
            incarnation,
            sent: self.now,
            due: deadline,
            deadline,
            indirect: false,
            unsendable: false,
            relays: Vec::new(),
            nacks_expected: 0,
            tcp: TcpProbe::NotTried,
            tcp_answered: false,
            timers,
        });
        let ping = self.encode_ping(seq, &name);
        let checksum = self.checksum_for(id);
        if state == State::Suspect && self.config.detector.buddy {
            // Lifeguard's buddy system: a suspect hears the accusation together with the ping, so that it can answer at once.
            let own = self.own_name();
            let mut accusation = Vec::new();
            Suspect { incarnation, node: &name, from: &own }.encode(&mut accusation);
            self.send(addr, checksum, &[ping, accusation]);
        } else {
            self.send_with_gossip(addr, checksum, ping);
        }
    }

    /// The answer takes longer than a few round trips: if the process is gone, a connection says so at once.
    pub(super) fn probe_look(&mut self, seq: u32) {
        let Some(probe) = self.prober.current.as_mut().filter(|probe| probe.seq == seq) else { return };
        let timeout = probe.sent + self.config.probe_timeout;
        probe.timers[0] = self.timers.set(timeout, Timer::ProbeTimeout { seq });
        if self.held.is_none()
            && let Some(id) = self.table.find(&probe.target)
        {
            self.probe_over_tcp(id);
        }
    }

    /// The direct ping is late. While packets cannot leave, nobody can be asked; and a ping that has left late has its time from then on.
    pub(super) fn probe_timeout(&mut self, seq: u32) {
        if let Some(probe) = &self.prober.current
            && probe.seq == seq
            && !probe.indirect
            && self.held.is_none()
            && self.now.since(probe.sent) >= self.config.probe_timeout
        {
            if let Some(id) = self.table.find(&probe.target) {
                self.ping_was_lost(id);
            }
            self.probe_indirectly();
        }
    }

    /// Whether there is a probe whose deadline has passed.
    pub(super) fn probe_is_over(&self) -> bool {
        self.prober.current.as_ref().is_some_and(|probe| probe.deadline <= self.now)
    }

    /// Packets can leave again, for the first time since `held`. The probe under way goes on from where it stood; its deadline was not
    /// moved by the wait.
    pub(super) fn resume_probe(&mut self, held: Time) {
        let now = self.now;
        let Some(probe) = &mut self.prober.current else { return };
        let (seq, deadline) = (probe.seq, probe.deadline);
        if now < deadline && probe.sent >= held {
            // The ping itself leaves only now.
            probe.sent = now;
            probe.timers[0] = self.timers.set(now + self.config.probe_timeout, Timer::ProbeTimeout { seq });
            return;
        }
        if now >= deadline && !probe.indirect {
            self.probe_indirectly();
        } else {
            self.probe_timeout(seq);
        }
        if now >= deadline {
            self.probe_deadline(seq);
        }
    }

    /// Sends the ping over TCP as well, once a probe, if there is time for it.
    fn probe_over_tcp(&mut self, id: MemberId) {
        let answers = self.answers_over_tcp(id);
        let Some(probe) = &mut self.prober.current else { return };
        if answers && probe.tcp == TcpProbe::NotTried {
            probe.tcp = TcpProbe::NoAnswer;
            if self.now < probe.deadline {
                let (addr, seq, target) = (probe.addr, probe.seq, probe.target.clone());
                let allowed = probe.deadline.since(self.now);
                self.dial(addr, Purpose::Ping { seq, target }, allowed);
            }
        }
    }

    fn probe_indirectly(&mut self) {
        let Some(probe) = &mut self.prober.current else { return };
        probe.indirect = true;
        let seq = probe.seq;
        let Some(target_id) = self.table.find(&probe.target) else { return };
        let own = self.own;
        let relays = self.table.choose(&mut self.rng, self.config.indirect_checks, |id, entry| {
            id != own && id != target_id && entry.state == State::Alive
        });
        let mut nacks_expected = 0;
        let mut asked = Vec::with_capacity(relays.len());
        for relay in &relays {
            let nack = self.config.detector.lha_probe && self.sends_nacks(*relay);
            nacks_expected += u32::from(nack);
            let message = self.encode_indirect_ping(seq, target_id, nack);
            let (to, checksum) = (self.table[*relay].reached_at(), self.checksum_for(*relay));
            self.send_with_gossip(to, checksum, message);
            asked.push((
                to,
                Relay { name: self.table[*relay].name.clone(), asked_to_nack: nack, nacked: false },
            ));
        }
        if let Some(probe) = &mut self.prober.current {
            probe.relays = asked;
            probe.nacks_expected = nacks_expected;
        }
        self.probe_over_tcp(target_id);
    }

    /// Whether this member, asked to ping for us, can say that it hears nothing.
    pub(super) fn sends_nacks(&self, relay: MemberId) -> bool {
        self.table[relay].protocol_max() >= NACK_PROTOCOL_MIN
    }

    pub(super) fn encode_indirect_ping(&self, seq: u32, target: MemberId, nack: bool) -> Vec<u8> {
        let (own, target) = (&self.table[self.own], &self.table[target]);
        let (own_addr, source_port) = self.source();
        let (target_addr, target_len) = ip_bytes(target.ip);
        let request = IndirectPing {
            seq,
            target: &target_addr[..target_len],
            port: target.port,
            node: &target.name,
            nack,
            source_addr: own_addr.as_slice(),
            source_port,
            source_node: &own.name,
        };
        let mut message = Vec::new();
        request.encode(&mut message);
        message
    }

    /// An answer, direct or through a relay; the two cannot be told apart.
    pub(super) fn probe_acked(&mut self, ack: &Ack<'_>) {
        let Some(probe) = self.prober.current.take_if(|probe| probe.seq == ack.seq) else { return };
        self.counters.probes_answered += 1;
        self.look_over(&probe.target);
        let rtt = self.now.since(probe.sent);
        if !probe.indirect && rtt <= self.config.probe_timeout {
            // Nobody else was asked, so this is the time to the member and back.
            self.round_trip_measured(&probe.target, rtt, ack.payload.unwrap_or_default());
        }
        let way = if probe.indirect { AnswerWay::Relayed } else { AnswerWay::Direct };
        self.note_answer(&probe.target, probe.sent, way);
        self.ping_had_answer(way == AnswerWay::Direct, &probe.target);
        if !probe.unsendable {
            self.awareness.apply(-1);
        }
        self.probe_over(&probe);
    }

    /// A relay heard nothing either: our own network is fine. Only who was asked for it counts, and once.
    pub(super) fn nack_arrived(&mut self, from: SocketAddr, seq: u32) {
        if let Some(probe) = &mut self.prober.current
            && probe.seq == seq
        {
            let asked = |(at, relay): &&mut (SocketAddr, Relay)| *at == from && relay.asked_to_nack;
            let Some((_, relay)) = probe.relays.iter_mut().find(asked) else { return };
            let news = !std::mem::replace(&mut relay.nacked, true);
            // Two others hear us and not the member: where silence counts, more of it would say no more, however unwell we felt before.
            let soon = self.now + self.config.probe_timeout / 20;
            if news && probe.nacks() == 2 && self.config.detector.silent_witnesses && soon < probe.deadline {
                probe.deadline = soon;
                self.timers.cancel(probe.timers[1]);
                probe.timers[1] = self.timers.set(soon, Timer::ProbeDeadline { seq });
            }
        } else {
            self.look_nacked(from, seq);
        }
    }

    pub(super) fn tcp_ping_answered(&mut self, seq: u32) {
        if let Some(probe) = &mut self.prober.current
            && probe.seq == seq
        {
            probe.tcp_answered = true;
            let target = probe.target.clone();
            self.look_over(&target);
            self.ping_had_answer(false, &target);
        }
    }

    pub(super) fn tcp_ping_refused(&mut self, seq: u32) {
        if let Some(probe) = &mut self.prober.current
            && probe.seq == seq
        {
            probe.tcp = TcpProbe::Refused;
            if let Some(id) = self.table.find(&probe.target) {
                self.probe_was_refused(id);
            }
        }
    }

    /// The operating system could not deliver to this address.
    pub(super) fn send_failed(&mut self, to: SocketAddr, error: &str) {
        self.notice(Level::Debug, Layer::Memberlist, "send_failed", None, || {
            format!("a packet to {to} could not be sent: {error}")
        });
        if let Some(probe) = &mut self.prober.current
            && probe.addr == to
            && !probe.indirect
        {
            probe.unsendable = true;
            self.probe_indirectly();
        }
    }

    pub(super) fn probe_deadline(&mut self, seq: u32) {
        if self.held.is_some() {
            // It is judged when packets can leave again: its ping may not have left, and nobody could be asked.
            return;
        }
        let Some(probe) = self.prober.current.take_if(|probe| probe.seq == seq) else { return };
        let target = probe.target.clone();
        if probe.tcp_answered {
            self.counters.probes_answered += 1;
            self.counters.probes_answered_by_tcp_only += 1;
            self.note_answer(&target, probe.sent, AnswerWay::TcpOnly);
            self.notice(Level::Warn, Layer::Memberlist, "udp_failing", Some(target.clone()), || {
                format!(
                    "{target} answers over TCP but not over UDP; check that UDP port {} is open both ways",
                    probe.addr.port()
                )
            });
            if !probe.unsendable {
                self.awareness.apply(-1);
            }
        } else {
            self.probe_failed(&probe);
        }
        self.probe_over(&probe);
    }

    fn probe_failed(&mut self, probe: &Probe) {
        self.counters.probes_failed += 1;
        let nacks = probe.nacks();
        let refused = probe.tcp == TcpProbe::Refused && self.config.detector.refusals;
        let missing = if refused || probe.is_cut_short() {
            // Its machine answered us, or two relays did and the third had no time to: our own network is fine.
            0
        } else if probe.nacks_expected > 0 {
            (probe.nacks_expected - nacks) as i32
        } else {
            1
        };
        self.awareness.apply(missing);
        let health = self.awareness.score();
        let relays: Vec<Relay> = probe.relays.iter().map(|(_, relay)| relay.clone()).collect();
        let asked = relays.clone();
        let failure = ProbeFailure { sent: probe.sent, relays, nacks, tcp: probe.tcp, health };
        let target = probe.target.clone();
        if self.table.find(&target).is_some_and(|id| self.table[id].is_live()) {
            self.notice(Level::Info, Layer::Memberlist, "probe_failed", Some(target.clone()), || {
                format!("suspecting {target}: no answer, directly or through {} others", failure.relays.len())
            });
        }
        let own = self.own_name();
        let accusation = Suspect { incarnation: probe.incarnation, node: &target, from: &own };
        self.suspect(&accusation, Cause::ProbeFailed(failure), Path::Local);
        if let Some(id) = self.table.find(&target) {
            self.probe_was_silent(id, &accusation, &asked);
        }
    }

    /// Drops the probe under way without a verdict.
    pub(super) fn abandon_probe(&mut self) {
        if let Some(probe) = self.prober.current.take() {
            for timer in probe.timers {
                self.timers.cancel(timer);
            }
            self.prober.tick_pending = false;
        }
    }

    /// The member was declared failed meanwhile: there is nothing left to find out.
    pub(super) fn probe_is_settled(&mut self, name: &str) {
        if self.config.detector.refusals
            && let Some(probe) = self.prober.current.take_if(|probe| *probe.target == *name)
        {
            self.probe_over(&probe);
        }
    }

    fn probe_over(&mut self, probe: &Probe) {
        for timer in probe.timers {
            self.timers.cancel(timer);
        }
        self.measure(Measure::Probe, self.now.since(probe.sent).as_secs_f64());
        if std::mem::take(&mut self.prober.tick_pending) {
            self.probe_next();
        }
    }
}
