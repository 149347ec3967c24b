//! What is known of one member. There is one entry for each member of a cluster of any size, so it is kept short: what several nodes
//! may share is behind one pointer, what few members have behind another, and the first piece of evidence, the only one that most
//! members ever have, takes twelve bytes.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use thane_wire::coordinate::Coordinate;

use crate::event::{AnswerWay, Cause, Path};
use crate::interner::Identity;
use crate::member::{Member, State, Status, Versions};
use crate::node::Evidence;
use crate::suspicion::Suspicion;
use crate::time::Time;
use crate::vivaldi::LatencyFilter;

/// How many of the last changes of a member are kept as evidence.
pub(crate) const EVIDENCE_MAX: usize = 8;

/// What is known of a member. What it announces (name, address, metadata, versions) is read through the entry itself.
#[derive(Debug)]
pub(crate) struct Entry {
    identity: Arc<Identity>,
    /// That of its identity, which all entries have elsewhere in memory; [`u32::MAX`] for none.
    number: u32,
    pub(crate) incarnation: u32,
    pub(crate) state: State,
    pub(crate) status: Option<Status>,
    /// Its only evidence, unless there is more in `rare`.
    first: Option<Joining>,
    state_since: Time,
    pub(crate) status_ltime: u64,
    rare: Option<Box<Rare>>,
}

// A hundred million of them fit into the memory of one ordinary machine.
const _: () = assert!(size_of::<Option<Entry>>() == 56);

/// What only some members have.
#[derive(Debug, Default)]
struct Rare {
    /// Where it is to be reached, if that is not the address that it announces.
    route: Option<Arc<SocketAddr>>,
    /// When it became leaving, failed or left, for the reaper.
    gone_since: Time,
    suspicion: Option<Box<Suspicion>>,
    measured: Option<Box<Measured>>,
    answered: Option<Answered>,
    evidence: Vec<Evidence>,
}

/// What probes have told of a member's place in the network.
#[derive(Debug)]
pub(crate) struct Measured {
    /// As it was received.
    pub(crate) coordinate: Coordinate,
    pub(crate) filter: LatencyFilter,
}

/// When and how a member last answered a probe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    pub(crate) at: Time,
    /// The last one measured; [`u32::MAX`] for none, or for more than an hour.
    rtt_us: u32,
    pub(crate) way: AnswerWay,
}

const _: () = assert!(size_of::<Option<Answered>>() == 16);

impl Answered {
    pub(crate) fn new(at: Time, rtt: Option<Duration>, way: AnswerWay) -> Self {
        let rtt_us = rtt.map_or(u32::MAX, |rtt| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX));
        Self { at, rtt_us, way }
    }

    /// The round trip of this very answer, if it came directly.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.usual_rtt().filter(|_| self.way == AnswerWay::Direct)
    }

    /// The last round trip that is still to be expected.
    pub(crate) fn usual_rtt(&self) -> Option<Duration> {
        (self.rtt_us < u32::MAX).then(|| Duration::from_micros(self.rtt_us.into()))
    }
}

/// The evidence that an announcement from an IPv4 address brought a member in, at the moment of its last change of state.
#[derive(Debug, Clone, Copy)]
struct Joining {
    incarnation: u32,
    from: Ipv4Addr,
    port: u16,
    health: u8,
    in_exchange: bool,
}

impl Joining {
    /// The short form, if the evidence has one.
    fn of(evidence: &Evidence, since: Time) -> Option<Self> {
        let Cause::Announced { incarnation, via } = &evidence.cause else { return None };
        let (in_exchange, addr) = match via {
            Path::Packet(SocketAddr::V4(addr)) => (false, addr),
            Path::PushPull(SocketAddr::V4(addr)) => (true, addr),
            _ => return None,
        };
        let health = u8::try_from(evidence.health).ok()?;
        let plain = evidence.at == since
            && evidence.state == State::Alive
            && evidence.incarnation == *incarnation
            && evidence.rtt.is_none();
        plain.then(|| Self {
            incarnation: *incarnation,
            from: *addr.ip(),
            port: addr.port(),
            health,
            in_exchange,
        })
    }

    fn evidence(self, since: Time) -> Evidence {
        let addr = SocketAddr::V4(SocketAddrV4::new(self.from, self.port));
        let via = if self.in_exchange { Path::PushPull(addr) } else { Path::Packet(addr) };
        Evidence {
            at: since,
            state: State::Alive,
            incarnation: self.incarnation,
            cause: Cause::Announced { incarnation: self.incarnation, via },
            health: self.health.into(),
            rtt: None,
        }
    }
}

impl Deref for Entry {
    type Target = Identity;

    fn deref(&self) -> &Identity {
        &self.identity
    }
}

impl Entry {
    /// A member that neither layer remembers yet.
    pub(crate) fn new(identity: Arc<Identity>, now: Time) -> Self {
        Self {
            number: identity.number().unwrap_or(u32::MAX),
            identity,
            incarnation: 0,
            state: State::Forgotten,
            status: None,
            first: None,
            state_since: now,
            status_ltime: 0,
            rare: None,
        }
    }

    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// The number of its name in the interner, if it has one.
    pub(crate) fn number(&self) -> Option<u32> {
        Some(self.number).filter(|number| *number < u32::MAX)
    }

    /// Changes what it announces. What was measured at another address says nothing about the new one.
    /// Differs from Serf: it goes on with the round trips to the old address.
    pub(crate) fn set_identity(&mut self, identity: Arc<Identity>) {
        let before = self.addr();
        self.number = identity.number().unwrap_or(u32::MAX);
        self.identity = identity;
        if before != self.addr() {
            self.forget_measurements();
        }
    }

    /// The address that it announces.
    pub(crate) fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip.to_canonical(), self.port)
    }

    /// Where to send to it.
    pub(crate) fn reached_at(&self) -> SocketAddr {
        self.route().map_or_else(|| self.addr(), |route| **route)
    }

    fn route(&self) -> Option<&Arc<SocketAddr>> {
        self.rare.as_ref()?.route.as_ref()
    }

    /// Changes where to send to it; `None` for the address that it announces. What was measured over another way says nothing
    /// about this one. Returns whether this is a change.
    pub(crate) fn reach_at(&mut self, route: Option<SocketAddr>) -> bool {
        let route = route.filter(|route| *route != self.addr());
        if self.route().map(|known| **known) == route {
            return false;
        }
        self.rare().route = route.map(Arc::new);
        self.forget_measurements();
        true
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self.state, State::Alive | State::Suspect)
    }

    /// Greatest memberlist protocol it understands.
    pub(crate) fn protocol_max(&self) -> u8 {
        self.versions[1]
    }

    /// When the detector's state last changed.
    pub(crate) fn state_since(&self) -> Time {
        self.state_since
    }

    /// For the table, which counts states.
    pub(crate) fn set_state(&mut self, state: State, now: Time) {
        // The short form of evidence holds no time of its own.
        self.spell_out_evidence();
        self.state = state;
        self.state_since = now;
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    // ---- what few have ----

    /// When it became leaving, failed or left; the start of time if never.
    pub(crate) fn gone_since(&self) -> Time {
        self.rare.as_ref().map_or(Time::ZERO, |rare| rare.gone_since)
    }

    pub(crate) fn set_gone_since(&mut self, at: Time) {
        self.rare().gone_since = at;
    }

    pub(crate) fn suspicion(&self) -> Option<&Suspicion> {
        self.rare.as_ref()?.suspicion.as_deref()
    }

    pub(crate) fn suspicion_mut(&mut self) -> Option<&mut Suspicion> {
        self.rare.as_mut()?.suspicion.as_deref_mut()
    }

    pub(crate) fn set_suspicion(&mut self, suspicion: Suspicion) {
        self.rare().suspicion = Some(Box::new(suspicion));
    }

    pub(crate) fn take_suspicion(&mut self) -> Option<Box<Suspicion>> {
        self.rare.as_mut()?.suspicion.take()
    }

    pub(crate) fn measured(&self) -> Option<&Measured> {
        self.rare.as_ref()?.measured.as_deref()
    }

    pub(crate) fn set_measured(&mut self, measured: Measured) {
        self.rare().measured = Some(Box::new(measured));
    }

    /// Forgets its coordinate and the round trips to it.
    pub(crate) fn forget_measured(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.measured = None;
        }
    }

    fn forget_measurements(&mut self) {
        if let Some(rare) = &mut self.rare {
            (rare.measured, rare.answered) = (None, None);
        }
    }

    pub(crate) fn answered(&self) -> Option<&Answered> {
        self.rare.as_ref()?.answered.as_ref()
    }

    pub(crate) fn set_answered(&mut self, answered: Answered) {
        self.rare().answered = Some(answered);
    }

    // ---- evidence ----

    /// Its last changes, the oldest first.
    pub(crate) fn evidence(&self) -> Vec<Evidence> {
        match (&self.first, &self.rare) {
            (Some(first), _) => vec![first.evidence(self.state_since)],
            (None, Some(rare)) => rare.evidence.clone(),
            (None, None) => Vec::new(),
        }
    }

    pub(crate) fn add_evidence(&mut self, evidence: Evidence) {
        let is_first = self.first.is_none() && self.rare.as_ref().is_none_or(|rare| rare.evidence.is_empty());
        if is_first && let Some(short) = Joining::of(&evidence, self.state_since) {
            self.first = Some(short);
            return;
        }
        self.spell_out_evidence();
        let kept = &mut self.rare().evidence;
        if kept.len() == EVIDENCE_MAX {
            kept.remove(0);
        } else if kept.is_empty() {
            kept.reserve_exact(1);
        }
        kept.push(evidence);
    }

    /// Turns the short form of the first evidence into the full one.
    fn spell_out_evidence(&mut self) {
        if let Some(first) = self.first.take() {
            let evidence = first.evidence(self.state_since);
            self.rare().evidence = vec![evidence];
        }
    }

    pub(crate) fn view(&self) -> Member {
        Member {
            name: self.name.clone(),
            addr: self.addr(),
            meta: self.meta.clone(),
            status: self.status.unwrap_or(Status::Left),
            state: self.state,
            state_since: self.state_since,
            incarnation: self.incarnation,
            status_ltime: self.status_ltime,
            versions: Versions::from_bytes(self.versions),
            route: self.route().cloned(),
        }
    }

    pub(crate) fn check_invariants(&self) {
        let name = &self.name;
        assert!(self.state != State::Forgotten || self.status.is_some(), "{name} is remembered by nobody");
        assert_eq!(
            self.state == State::Suspect,
            self.suspicion().is_some(),
            "{name}: suspect exactly while a suspicion runs"
        );
        if let Some(suspicion) = self.suspicion() {
            suspicion.check_invariants();
        }
        let full = self.rare.as_ref().map_or(0, |rare| rare.evidence.len());
        assert!(
            full <= EVIDENCE_MAX && (self.first.is_none() || full == 0),
            "{name}: {full} pieces of evidence"
        );
        assert!(self.measured().is_none() || self.status.is_some(), "{name} is erased and has a coordinate");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interner::{Announced, identify};

    fn at(secs: u64) -> Time {
        Time::ZERO + Duration::from_secs(secs)
    }

    fn announced(at: Time, incarnation: u32, via: Path) -> Evidence {
        let cause = Cause::Announced { incarnation, via };
        Evidence { at, state: State::Alive, incarnation, cause, health: 2, rtt: None }
    }

    #[test]
    fn evidence_in_short_reads_as_it_was_given() {
        let heard = Announced {
            name: "a",
            ip: [10, 0, 0, 1].into(),
            port: 7946,
            meta: b"",
            versions: [1, 5, 2, 2, 5, 5],
        };
        let four: SocketAddr = "10.0.0.9:7946".parse().unwrap();
        let six: SocketAddr = "[fd00::9]:7946".parse().unwrap();
        for via in [Path::Packet(four), Path::PushPull(four), Path::Packet(six), Path::Local] {
            let mut entry = Entry::new(identify(None, None, &heard), at(0));
            entry.set_state(State::Alive, at(1));
            let mut given = vec![announced(at(1), 7, via)];
            entry.add_evidence(given[0].clone());
            let short = matches!(via, Path::Packet(SocketAddr::V4(_)) | Path::PushPull(SocketAddr::V4(_)));
            assert_eq!(entry.rare.is_none(), short, "{via:?}");
            assert_eq!(entry.evidence(), given);
            // Neither another incarnation nor another state changes what was known then.
            entry.incarnation = 8;
            entry.set_state(State::Left, at(2));
            assert_eq!(entry.evidence(), given);
            for more in 2..12 {
                given.push(announced(at(more), 8, via));
                entry.add_evidence(given.last().unwrap().clone());
                given.drain(..given.len().saturating_sub(EVIDENCE_MAX));
                assert_eq!(entry.evidence(), given);
            }
        }
    }
}
