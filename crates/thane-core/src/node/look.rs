//! Looking for oneself: is a member that is accused, or that refused a connection, still there?
//!
//! A process that dies while its machine lives has its port closed: the next connection is refused. That is evidence, where silence
//! is not: a process that is stopped, starved or swapped out still has a kernel that accepts. So a refusal is followed up at once,
//! and a member that hears an accusation looks for itself instead of waiting for its turn in the probe ring.
//!
//! A look is a ping by packet and one over TCP, at the same moment. Any sign of life ends it, and the accused hears with the
//! ping that it is accused, so that it can refute within one round trip. When the connection is refused, others are asked to ping too,
//! and after a short time for all these answers the refusal counts. The first one that counts makes an accusation, which goes to several members
//! directly, so that they look as well. The second one, a quarter of a probe interval later, makes a verdict if enough others accuse the
//! member too. `ARCHITECTURE.md` says why that is safe.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thane_wire::gossip::{Dead, Suspect};

use super::Node;
use super::probe::TCP_PING_PROTOCOL_MIN;
use super::streams::Purpose;
use crate::entry::Answered;
use crate::event::{AnswerWay, Cause, Path, ProbeFailure, Relay, TcpProbe};
use crate::member::State;
use crate::notice::{Layer, Level};
use crate::output::StreamId;
use crate::table::MemberId;
use crate::time::Time;
use crate::timers::{Timer, TimerKey};

/// Most members that are looked at at one time.
pub(super) const LOOKS_MAX: usize = 32;
/// Most connections of looks at one time. One that is open outlives its look for as long as any stream, so that a member that was
/// paused can still write its answer; more than this can only be somebody who accuses members again and again.
pub(super) const LOOK_STREAMS_MAX: usize = 4 * LOOKS_MAX;
/// How often one look tries, at most.
const TRIES_MAX: u32 = 6;
/// Time from a refusal to the next try, as a part of the probe interval: a process that is restarted within it is never declared failed.
const SPACING: f64 = 0.275;
/// How many members are told of an accusation directly.
const WITNESSES: usize = 6;
/// How many others must find a member silent.
const SILENT_WITNESSES: usize = 3;
/// Shortest time between two pings out of turn, as a part of the probe interval.
const GLANCE_GAP: f64 = 0.5;
/// After so many probe intervals, who has heard of an accusation but of no end to it looks for itself, where silence counts.
const LATE_LOOK: u32 = 3;
/// How many of those that hear of an accusation from others than the accuser look for themselves, on average over the whole cluster.
const HEARSAY_LOOKERS: f64 = 3.0;

/// The looks under way, by their sequence numbers.
pub(super) type Looks = BTreeMap<u32, Look>;

/// One look, from its first try to its last.
#[derive(Debug)]
pub(super) struct Look {
    target: Arc<str>,
    addr: SocketAddr,
    begun: Time,
    /// When the last ping left.
    asked: Time,
    stage: Stage,
    /// Ends the stage.
    timer: TimerKey,
    tries: u32,
    /// Refusals that nobody's answer has contradicted.
    refusals: u32,
    /// When the first of them was.
    refused_since: Time,
    /// How many pings of ours have gone out under its number.
    pings: u32,
    relays: Vec<Relay>,
    /// The connection of its last try, which may be over. None if too many were open then.
    stream: Option<StreamId>,
    /// Nothing answered: it is not tried again.
    silent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A ping is under way; only if it stays unanswered, the rest follows.
    Glancing,
    /// Until the next try.
    Waiting,
    /// A ping and a connection are under way.
    Asking,
    /// The connection was refused; an answer by packet, direct or through others, may still come.
    Refused,
}

impl Look {
    pub(super) fn check_invariants(&self) {
        assert!(self.refusals <= self.tries && self.tries <= TRIES_MAX, "{self:?}");
    }
}

impl Node {
    /// How long an answer of this member is awaited before its absence is worth a look: a few of its usual round trips.
    pub(super) fn look_after(&self, id: MemberId) -> Duration {
        let longest = self.config.probe_timeout;
        match self.table[id].answered().and_then(Answered::usual_rtt) {
            Some(rtt) => (rtt * 4).max(longest / 20).min(longest),
            None => longest / 4,
        }
    }

    /// Whether a connection to this member says anything.
    pub(super) fn answers_over_tcp(&self, id: MemberId) -> bool {
        self.config.tcp_pings && self.table[id].protocol_max() >= TCP_PING_PROTOCOL_MIN
    }

    // ---- why a look begins ----

    /// A new suspicion of a member that is accused by somebody else. Those who hear it from the accuser itself look; of the many
    /// that hear of it later only a few do, so that not all members of a large cluster turn to one at the same time.
    pub(super) fn consider_looking(&mut self, id: MemberId, accuser: &str, via: Path) {
        if !self.config.detector.look_for_yourself {
            return;
        }
        let first_hand = match via {
            Path::Packet(from) => self.speaks_from(accuser, from),
            Path::PushPull(_) => true,
            Path::Local => return,
        };
        let others = self.table.live().saturating_sub(2).max(1);
        if first_hand || self.rng.unit() < HEARSAY_LOOKERS / others as f64 {
            // Not all in the same instant.
            let delay = (self.config.probe_timeout / 20).mul_f64(self.rng.unit());
            self.begin_look(id, Stage::Waiting, delay);
        } else if self.config.detector.silent_witnesses
            && self.looks.len() < LOOKS_MAX / 2
            && !self.is_to_be_looked_at(id)
        {
            self.begin_look(id, Stage::Waiting, self.config.probe_interval * LATE_LOOK);
        }
    }

    /// Whether there is a look at this member, begun or not.
    fn is_to_be_looked_at(&self, id: MemberId) -> bool {
        let name = &self.table[id].name;
        self.looks.values().any(|look| look.target == *name)
    }

    /// Whether this is the address of the member of this name.
    fn speaks_from(&self, name: &str, from: SocketAddr) -> bool {
        self.table.find(name).is_some_and(|id| self.table[id].reached_at() == from)
    }

    /// Somebody accuses a member that we know to be dead: it has missed that news, which is sent only so many times.
    pub(super) fn tell_of_death(&mut self, id: MemberId, accuser: &str, via: Path) {
        let Path::Packet(from) = via else { return };
        if self.config.detector.look_for_yourself && self.speaks_from(accuser, from) {
            let (name, incarnation) = (self.table[id].name.clone(), self.table[id].incarnation);
            let own = self.own_name();
            let mut message = Vec::new();
            Dead { incarnation, node: &name, from: &own }.encode(&mut message);
            let checksum = self.checksum_by_name(accuser);
            self.send(from, checksum, &[message]);
        }
    }

    /// A probe's connection was refused while its ping is unanswered.
    pub(super) fn probe_was_refused(&mut self, id: MemberId) {
        if self.config.detector.refusals
            && let Some(seq) = self.begin_look(id, Stage::Refused, self.look_after(id))
        {
            self.ask_relays(seq, id);
        }
    }

    /// Somebody is accused: machines often fall silent together. Where silence counts, one other member is pinged at once, out of turn.
    pub(super) fn glance_around(&mut self) {
        let next =
            self.last_glance.map_or(self.now, |last| last + self.config.probe_interval.mul_f64(GLANCE_GAP));
        if !self.config.detector.silent_witnesses || self.now < next {
            return;
        }
        let own = self.own;
        let chosen =
            self.table.choose(&mut self.rng, 1, |id, entry| id != own && entry.state == State::Alive);
        let Some(id) = chosen.first().copied() else { return };
        if let Some(seq) = self.begin_look(id, Stage::Glancing, self.look_after(id)) {
            self.last_glance = Some(self.now);
            if let Some(look) = self.looks.get_mut(&seq) {
                look.pings = 1;
            }
            let entry = &self.table[id];
            let (to, ping) = (entry.reached_at(), self.encode_ping(seq, &entry.name));
            let checksum = self.checksum_for(id);
            self.send_with_gossip(to, checksum, ping);
        }
    }

    fn begin_look(&mut self, id: MemberId, stage: Stage, lasts: Duration) -> Option<u32> {
        let entry = &self.table[id];
        let (target, addr) = (entry.name.clone(), entry.reached_at());
        let fits = id != self.own && entry.is_live() && self.answers_over_tcp(id);
        if !fits || self.held.is_some() {
            return None;
        }
        // One that has not begun gives way: it may be meant for much later.
        let begun = |look: &Look| look.tries > 0 || look.stage != Stage::Waiting;
        if let Some((seq, look)) = self.looks.iter().find(|(_, look)| look.target == target) {
            if begun(look) {
                return None;
            }
            let (seq, timer) = (*seq, look.timer);
            self.timers.cancel(timer);
            self.looks.remove(&seq);
        }
        if self.looks.len() >= LOOKS_MAX {
            self.counters.looks_over_limit += 1;
            return None;
        }
        // One that waits may be over before it begins.
        self.counters.looks += u64::from(stage != Stage::Waiting);
        let seq = self.next_seq();
        let timer = self.timers.set(self.now + lasts, Timer::LookStep { seq });
        let look = Look {
            target,
            addr,
            begun: self.now,
            asked: self.now,
            stage,
            timer,
            tries: u32::from(stage == Stage::Refused),
            refusals: 0,
            refused_since: self.now,
            pings: 0,
            relays: Vec::new(),
            stream: None,
            silent: false,
        };
        self.looks.insert(seq, look);
        Some(seq)
    }

    // ---- how it goes on ----

    /// A stage of a look is over.
    pub(super) fn look_step(&mut self, seq: u32) {
        let Some(look) = self.looks.get(&seq) else { return };
        let Some(id) = self.table.find(&look.target).filter(|id| self.table[*id].is_live()) else {
            self.end_look(seq);
            return;
        };
        match look.stage {
            Stage::Glancing => self.look_once(seq, id),
            Stage::Waiting if look.tries < TRIES_MAX => self.look_once(seq, id),
            // Who was not tried over TCP has not been silent there.
            Stage::Asking
                if self.config.detector.silent_witnesses
                    && look.stream.is_some()
                    && self.hears_well(&look.relays) =>
            {
                self.silence_counts(seq, id);
            }
            // Neither a word nor a refusal: that is for the probes and the suspicion to judge.
            Stage::Waiting | Stage::Asking => {
                self.end_look(seq);
            }
            Stage::Refused => self.refusal_counts(seq, id),
        }
    }

    fn enter(&mut self, seq: u32, stage: Stage, lasts: Duration) {
        if let Some(look) = self.looks.get_mut(&seq) {
            look.stage = stage;
            self.timers.cancel(look.timer);
            look.timer = self.timers.set(self.now + lasts, Timer::LookStep { seq });
        }
    }

    fn look_once(&mut self, seq: u32, id: MemberId) {
        self.enter(seq, Stage::Asking, self.config.probe_timeout);
        let Some(look) = self.looks.get_mut(&seq) else { return };
        self.counters.looks += u64::from(look.tries == 0 && look.pings == 0);
        look.tries += 1;
        look.pings += 1;
        look.asked = self.now;
        let (addr, target) = (look.addr, look.target.clone());
        let ping = Bytes::from(self.encode_ping(seq, &target));
        let checksum = self.checksum_for(id);
        let entry = &self.table[id];
        if let Some(suspicion) = entry.suspicion() {
            let (incarnation, from) = (entry.incarnation, &suspicion.accusers()[0]);
            let mut accusation = Vec::new();
            Suspect { incarnation, node: &target, from }.encode(&mut accusation);
            // The accusation comes first: then the answer to the ping can carry the refutation.
            self.send(addr, checksum, &[accusation.into(), ping]);
        } else {
            self.send(addr, checksum, &[ping]);
        }
        if self.config.detector.silent_witnesses {
            self.ask_relays(seq, id);
        }
        let stream = if self.look_streams() < LOOK_STREAMS_MAX {
            Some(self.dial(addr, Purpose::Look { seq, target }, self.config.tcp_timeout))
        } else {
            self.counters.looks_over_limit += 1;
            None
        };
        if let Some(look) = self.looks.get_mut(&seq) {
            look.stream = stream;
        }
    }

    /// How many connections of looks there are, also of looks that are over.
    pub(super) fn look_streams(&self) -> usize {
        self.streams.values().filter(|stream| matches!(stream.purpose(), Purpose::Look { .. })).count()
    }

    /// The connection was refused. Its machine answers, so that packets have had their chance as well; yet they get a little more time.
    pub(super) fn look_refused(&mut self, seq: u32) {
        let Some(look) = self.looks.get(&seq).filter(|look| look.stage == Stage::Asking) else { return };
        if !self.config.detector.refusals {
            self.end_look(seq);
            return;
        }
        let Some(id) = self.table.find(&look.target) else { return };
        self.enter(seq, Stage::Refused, self.look_after(id));
        self.ask_relays(seq, id);
    }

    /// Others may reach it where we do not.
    fn ask_relays(&mut self, seq: u32, id: MemberId) {
        let own = self.own;
        let relays = self.table.choose(&mut self.rng, self.config.indirect_checks, |other, entry| {
            other != own && other != id && entry.state == State::Alive
        });
        let mut named = Vec::with_capacity(relays.len());
        for relay in &relays {
            // Where silence counts, it counts more if others say that they hear us, and that they hear nothing either.
            let nack = self.config.detector.silent_witnesses && self.sends_nacks(*relay);
            let message = self.encode_indirect_ping(seq, id, nack);
            let (to, checksum) = (self.table[*relay].reached_at(), self.checksum_for(*relay));
            self.send(to, checksum, &[message]);
            named.push(Relay { name: self.table[*relay].name.clone(), asked_to_nack: nack, nacked: false });
        }
        if let Some(look) = self.looks.get_mut(&seq) {
            look.relays = named;
        }
    }

    /// Nobody has contradicted the refusal.
    fn refusal_counts(&mut self, seq: u32, id: MemberId) {
        self.enter(seq, Stage::Waiting, self.config.probe_interval.mul_f64(SPACING));
        let Some(look) = self.looks.get_mut(&seq) else { return };
        look.refusals += 1;
        if look.refusals == 1 {
            look.refused_since = self.now;
            self.accuse_by_look(seq, id, TcpProbe::Refused);
        }
        self.judge(id);
    }

    /// Whether we have no reason to doubt ourselves: our health is good, or a relay that we asked just now has told us that it heard us
    /// and hears nothing of the member either. Many relays that are silent themselves say nothing about us.
    fn hears_well(&self, relays: &[Relay]) -> bool {
        self.awareness.score() == 0 || relays.iter().any(|relay| relay.nacked)
    }

    /// A relay of a look hears nothing either.
    pub(super) fn look_nacked(&mut self, from: SocketAddr, seq: u32) {
        if let Some(look) = self.looks.get_mut(&seq) {
            let from_there = |relay: &&mut Relay| {
                self.table.find(&relay.name).is_some_and(|id| self.table[id].reached_at() == from)
            };
            if let Some(relay) = look.relays.iter_mut().find(from_there) {
                relay.nacked = true;
            }
        }
    }

    /// Nothing has answered, and we have no reason to doubt ourselves.
    fn silence_counts(&mut self, seq: u32, id: MemberId) {
        self.enter(seq, Stage::Waiting, self.config.probe_interval);
        let Some(look) = self.looks.get_mut(&seq) else { return };
        (look.silent, look.tries) = (true, TRIES_MAX);
        let relays = look.relays.clone();
        self.accuse_by_look(seq, id, TcpProbe::NoAnswer);
        self.look_at_silent_relays(&relays);
        self.judge(id);
    }

    /// A relay that says neither yes nor no, while another one does, may be gone as well. If all are silent, it is rather us; and
    /// those that cannot say no are silent in any case.
    fn look_at_silent_relays(&mut self, relays: &[Relay]) {
        if !relays.iter().any(|relay| relay.nacked) {
            return;
        }
        for relay in relays.iter().filter(|relay| relay.asked_to_nack && !relay.nacked) {
            if let Some(id) = self.table.find(&relay.name).filter(|id| self.table[*id].state == State::Alive)
            {
                self.begin_look(id, Stage::Waiting, self.config.probe_timeout / 20);
            }
        }
    }

    /// Our probe of a member failed. Where silence counts, it counts as a look, and those who shall look too are told directly.
    pub(super) fn probe_was_silent(&mut self, id: MemberId, accusation: &Suspect<'_>, relays: &[Relay]) {
        if !self.config.detector.silent_witnesses || !self.hears_well(relays) {
            return;
        }
        let lasts = self.config.probe_interval;
        if let Some(look) =
            self.begin_look(id, Stage::Waiting, lasts).and_then(|seq| self.looks.get_mut(&seq))
        {
            (look.silent, look.tries) = (true, TRIES_MAX);
            look.relays = relays.to_vec();
            self.tell_witnesses(id, accusation);
            self.look_at_silent_relays(relays);
            self.judge(id);
        }
    }

    fn accuse_by_look(&mut self, seq: u32, id: MemberId, tcp: TcpProbe) {
        let Some(look) = self.looks.get(&seq) else { return };
        let mut relays = look.relays.clone();
        if tcp == TcpProbe::Refused {
            // A nack would come long after the refusal counts.
            for relay in &mut relays {
                relay.asked_to_nack = false;
            }
        }
        let failure = ProbeFailure {
            sent: look.begun,
            nacks: relays.iter().filter(|relay| relay.nacked).count() as u32,
            relays,
            tcp,
            health: self.awareness.score(),
        };
        let (target, addr) = (look.target.clone(), look.addr);
        self.notice(Level::Info, Layer::Memberlist, "probe_failed", Some(target.clone()), || {
            let what =
                if tcp == TcpProbe::Refused { "refuses connections and" } else { "is silent over TCP and" };
            format!("suspecting {target}: {addr} {what} answers no ping")
        });
        let own = self.own_name();
        let accusation = Suspect { incarnation: self.table[id].incarnation, node: &target, from: &own };
        self.suspect(&accusation, Cause::ProbeFailed(failure), Path::Local);
        self.tell_witnesses(id, &accusation);
    }

    /// Tells those who accuse the member too, and some others, so that these look for themselves.
    fn tell_witnesses(&mut self, id: MemberId, accusation: &Suspect<'_>) {
        let own = self.own;
        let Some(suspicion) = self.table[id].suspicion() else { return };
        if self.config.detector.silent_witnesses && suspicion.accusers().len() > SILENT_WITNESSES {
            // There are as many as it takes.
            return;
        }
        let alive = |it: &MemberId| *it != own && *it != id && self.table[*it].state == State::Alive;
        let mut told: Vec<MemberId> =
            suspicion.accusers().iter().filter_map(|name| self.table.find(name)).filter(alive).collect();
        told.truncate(WITNESSES);
        let more = self.table.choose(&mut self.rng, WITNESSES - told.len(), |other, entry| {
            other != own && other != id && entry.state == State::Alive && !told.contains(&other)
        });
        told.extend(more);
        let mut message = Vec::new();
        accusation.encode(&mut message);
        let message = Bytes::from(message);
        for witness in told {
            let (to, checksum) = (self.table[witness].reached_at(), self.checksum_for(witness));
            self.send(to, checksum, std::slice::from_ref(&message));
        }
    }

    // ---- how it ends ----

    /// An answer with a look's number, by packet or over TCP. Says whether it was one.
    pub(super) fn look_answered(&mut self, seq: u32, way: AnswerWay) -> bool {
        let Some(look) = self.end_look(seq) else { return false };
        self.counters.looks_answered += 1;
        // Whether a packet came directly or through others cannot be told once they have been asked, nor which of two pings it answers.
        let is_direct = look.pings == 1 && look.relays.is_empty();
        let way = if way == AnswerWay::Direct && !is_direct { AnswerWay::Relayed } else { way };
        self.note_answer(&look.target, look.asked, way);
        true
    }

    /// The member is gone, or has spoken: there is nothing to look for.
    pub(super) fn look_over(&mut self, name: &str) {
        self.end_looks(|look| *look.target == *name);
    }

    /// A packet from this address: whoever is there lives.
    pub(super) fn heard_from(&mut self, from: SocketAddr) {
        self.end_looks(|look| look.addr == from);
    }

    /// What was seen before a pause of ours proves nothing after it.
    pub(super) fn abandon_looks(&mut self) {
        self.end_looks(|_look| true);
    }

    fn end_looks(&mut self, is_over: impl Fn(&Look) -> bool) {
        if !self.looks.is_empty() {
            let over = self.looks.iter().filter(|(_, look)| is_over(look));
            let over: Vec<u32> = over.map(|(seq, _)| *seq).collect();
            for seq in over {
                self.end_look(seq);
            }
        }
    }

    /// A connection that is not open yet is given up with the look.
    fn end_look(&mut self, seq: u32) -> Option<Look> {
        let look = self.looks.remove(&seq)?;
        self.timers.cancel(look.timer);
        if let Some(stream) = look.stream {
            self.give_up_dialing(stream);
        }
        Some(look)
    }

    /// Declares a member failed that has refused us often enough, by the number of others that accuse it.
    pub(super) fn judge(&mut self, id: MemberId) {
        let entry = &self.table[id];
        let (name, incarnation) = (entry.name.clone(), entry.incarnation);
        let Some(look) = self.looks.values().find(|look| look.target == name) else { return };
        let Some(suspicion) = entry.suspicion() else { return };
        let own = self.own_name();
        let others = suspicion.accusers().iter().filter(|accuser| **accuser != own).count();
        let (refusals, since) = (look.refusals, look.refused_since);
        if look.silent {
            if self.hears_well(&look.relays) {
                self.judge_silent(id, others);
            }
            return;
        }
        if refusals < self.refusals_needed(id, others) || self.too_many_refuse() {
            return;
        }
        let accusers = suspicion.accusers().to_vec();
        self.counters.verdicts_by_refusal += 1;
        self.notice(Level::Info, Layer::Memberlist, "refused_verdict", Some(name.clone()), || {
            format!("{name} has refused {refusals} connections, {others} others accuse it too; it is failed")
        });
        let cause = Cause::Refused { refusals, since, accusers };
        self.dead(&Dead { incarnation, node: &name, from: &own }, cause, Path::Local);
    }

    /// Declares a silent member failed when three others accuse it too, or all that could.
    fn judge_silent(&mut self, id: MemberId, others: usize) {
        let possible = self.able_witnesses(id, SILENT_WITNESSES);
        let Some(suspicion) = self.table[id].suspicion() else { return };
        if possible == 0 || others < possible {
            return;
        }
        let (since, accusers) = (suspicion.since(), suspicion.accusers().to_vec());
        let timeout = self.now.since(since);
        let (name, incarnation, own) =
            (self.table[id].name.clone(), self.table[id].incarnation, self.own_name());
        self.counters.verdicts_by_silence += 1;
        self.notice(Level::Info, Layer::Memberlist, "silent_verdict", Some(name.clone()), || {
            format!("{name} answers neither us nor {others} others; it is failed")
        });
        let cause = Cause::SuspicionExpired { accusers, since, timeout };
        self.dead(&Dead { incarnation, node: &name, from: &own }, cause, Path::Local);
    }

    /// How many others could speak against a member, up to `most`.
    fn able_witnesses(&self, id: MemberId, most: usize) -> usize {
        let able = |it: &&MemberId| **it != self.own && **it != id && self.table[**it].state == State::Alive;
        self.table.ring().iter().filter(able).take(most).count()
    }

    /// How many refusals it takes. The fewer others speak against the member, the more; if there is nobody who could, three.
    fn refusals_needed(&self, id: MemberId, others: usize) -> u32 {
        let possible = self.able_witnesses(id, 2);
        let needed = match others {
            _ if possible == 0 => 3,
            _ if others >= possible => 2,
            1.. => 4,
            0 => TRIES_MAX,
        };
        // Whoever has reason to doubt itself needs more.
        if self.awareness.score() > 0 { needed + 2 } else { needed }
    }

    /// Many at the same time: that is rather a network that refuses than so many processes that died.
    fn too_many_refuse(&self) -> bool {
        let refusing = self.looks.values().filter(|look| look.refusals > 0).count();
        refusing > (self.table.known() / 3).clamp(2, LOOKS_MAX / 2)
    }
}
