//! The membership table: one entry a member, for the failure detector and for Serf's layer alike.
//!
//! The two layers forget at different times: the detector after `gossip_to_the_dead_time`, Serf after a day, or at once when
//! pruned. An entry is there as long as one of them remembers: [`State::Forgotten`] means that the detector does not, no
//! [`Entry::status`] that Serf does not.

use std::net::{IpAddr, SocketAddr};
use std::ops::{Index, IndexMut};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thane_wire::coordinate::Coordinate;

use crate::event::AnswerWay;
use crate::member::{Member, State, Status, Versions};
use crate::name_index::NameIndex;
use crate::node::Evidence;
use crate::rng::Rng;
use crate::suspicion::Suspicion;
use crate::time::Time;
use crate::vivaldi::LatencyFilter;

/// Most members that are remembered. A cluster that reports more is attacking us, or needs another design.
pub(crate) const MEMBERS_MAX: usize = 1 << 20;
/// How many of the last changes of a member are kept as evidence.
pub(crate) const EVIDENCE_MAX: usize = 8;
/// How many entries lie in one piece of memory. A single one of them all would be up to twice as large as needed, and would
/// move on its way there.
const CHUNK_ENTRIES: usize = 256;

/// A member's place in the table; used again after the member is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MemberId(u32);

/// What is known of a member.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: Arc<str>,
    /// Exactly as announced: an IPv4 address in mapped form stays [`IpAddr::V6`], because Go compares the bytes.
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    /// Where it is to be reached, if that is not the address that it announces. Few members have one.
    route: Option<Arc<SocketAddr>>,
    pub(crate) meta: Bytes,
    pub(crate) versions: [u8; 6],
    pub(crate) incarnation: u32,
    pub(crate) state: State,
    pub(crate) state_since: Time,
    pub(crate) status: Option<Status>,
    pub(crate) status_ltime: u64,
    /// When it became leaving, failed or left, for the reaper.
    pub(crate) gone_since: Time,
    pub(crate) suspicion: Option<Box<Suspicion>>,
    pub(crate) measured: Option<Box<Measured>>,
    pub(crate) answered: Option<Answered>,
    evidence: Vec<Evidence>,
}

/// What probes have told of a member's place in the network.
#[derive(Debug)]
pub(crate) struct Measured {
    /// As it was received.
    pub(crate) coordinate: Coordinate,
    pub(crate) filter: LatencyFilter,
}

/// When and how a member last answered a probe. There is one for each member, so it is kept short.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    pub(crate) at: Time,
    /// [`u32::MAX`] for none, or for more than an hour.
    rtt_us: u32,
    pub(crate) way: AnswerWay,
}

const _: () = assert!(size_of::<Option<Answered>>() == 16);

impl Answered {
    pub(crate) fn new(at: Time, rtt: Option<Duration>, way: AnswerWay) -> Self {
        let rtt_us = rtt.map_or(u32::MAX, |rtt| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX));
        Self { at, rtt_us, way }
    }

    pub(crate) fn rtt(&self) -> Option<Duration> {
        (self.rtt_us < u32::MAX).then(|| Duration::from_micros(self.rtt_us.into()))
    }
}

impl Entry {
    /// The address that it announces.
    pub(crate) fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip.to_canonical(), self.port)
    }

    /// Where to send to it.
    pub(crate) fn reached_at(&self) -> SocketAddr {
        self.route.as_deref().copied().unwrap_or_else(|| self.addr())
    }

    /// Changes where to send to it; `None` for the address that it announces. What was measured over another way says nothing
    /// about this one. Returns whether this is a change.
    pub(crate) fn reach_at(&mut self, route: Option<SocketAddr>) -> bool {
        let route = route.filter(|route| *route != self.addr());
        if self.route.as_deref() == route.as_ref() {
            return false;
        }
        self.route = route.map(Arc::new);
        self.measured = None;
        self.answered = None;
        true
    }

    /// Changes the address. What was measured at another one says nothing about this one.
    /// Differs from Serf: it goes on with the round trips to the old address.
    pub(crate) fn move_to(&mut self, ip: IpAddr, port: u16) {
        if self.addr() != SocketAddr::new(ip.to_canonical(), port) {
            self.measured = None;
            self.answered = None;
        }
        self.ip = ip;
        self.port = port;
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self.state, State::Alive | State::Suspect)
    }

    /// Greatest memberlist protocol it understands.
    pub(crate) fn protocol_max(&self) -> u8 {
        self.versions[1]
    }

    pub(crate) fn evidence(&self) -> &[Evidence] {
        &self.evidence
    }

    pub(crate) fn add_evidence(&mut self, evidence: Evidence) {
        if self.evidence.len() == EVIDENCE_MAX {
            self.evidence.remove(0);
        } else if self.evidence.is_empty() {
            // Most members only ever join: one record, exactly.
            self.evidence.reserve_exact(1);
        }
        self.evidence.push(evidence);
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
            route: self.route.clone(),
        }
    }
}

/// All members, this node included.
#[derive(Debug, Default)]
pub(crate) struct Table {
    by_name: NameIndex,
    /// Places by their number, in chunks of [`CHUNK_ENTRIES`]; all but the last are full.
    chunks: Vec<Vec<Option<Entry>>>,
    free: Vec<MemberId>,
    /// Members the detector remembers, in the order in which they are probed.
    ring: Vec<MemberId>,
    live: usize,
    /// Members with status failed, in the order in which they failed.
    failed: Vec<MemberId>,
    /// Members with status left, in the order in which they left.
    left: Vec<MemberId>,
    /// Members with status alive.
    status_alive: usize,
    /// Members with any status.
    with_status: usize,
}

impl Table {
    /// Adds a member that the detector takes for dead until its announcement has been judged, as memberlist does.
    pub(crate) fn add(
        &mut self,
        name: Arc<str>,
        ip: IpAddr,
        port: u16,
        now: Time,
        rng: &mut Rng,
    ) -> MemberId {
        assert!(self.by_name.find(&name).is_none(), "{name} is in the table already");
        let entry = Entry {
            name: name.clone(),
            ip,
            port,
            route: None,
            meta: Bytes::new(),
            versions: [0; 6],
            incarnation: 0,
            state: State::Forgotten,
            state_since: now,
            status: None,
            status_ltime: 0,
            gone_since: Time::ZERO,
            suspicion: None,
            measured: None,
            answered: None,
            evidence: Vec::new(),
        };
        let id = self.place(entry);
        self.by_name.insert(name, id);
        self.enter_ring(id, rng);
        id
    }

    /// Puts an entry where one has been removed, or at the end.
    fn place(&mut self, entry: Entry) -> MemberId {
        if let Some(id) = self.free.pop() {
            *self.slot_mut(id) = Some(entry);
            return id;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_ENTRIES) {
            self.chunks.push(Vec::new());
        }
        let last = self.chunks.len() - 1;
        let chunk = &mut self.chunks[last];
        chunk.push(Some(entry));
        MemberId((last * CHUNK_ENTRIES + chunk.len() - 1) as u32)
    }

    fn slot_mut(&mut self, id: MemberId) -> &mut Option<Entry> {
        &mut self.chunks[id.0 as usize / CHUNK_ENTRIES][id.0 as usize % CHUNK_ENTRIES]
    }

    /// The detector remembers this member from now on, as dead; it takes a random place in the ring.
    pub(crate) fn enter_ring(&mut self, id: MemberId, rng: &mut Rng) {
        assert_eq!(self[id].state, State::Forgotten, "only a forgotten member enters the ring");
        let last = self.ring.len();
        self.ring.push(id);
        let at = rng.below(last);
        self.ring.swap(at, last);
        self[id].state = State::Dead;
    }

    pub(crate) fn find(&self, name: &str) -> Option<MemberId> {
        self.by_name.find(name)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// The entry behind an id that may be out of use by now.
    pub(crate) fn get(&self, id: MemberId) -> Option<&Entry> {
        let at = id.0 as usize;
        self.chunks.get(at / CHUNK_ENTRIES)?.get(at % CHUNK_ENTRIES)?.as_ref()
    }

    /// The table's own name of a member, shared, or a new one.
    pub(crate) fn intern(&self, name: &str) -> Arc<str> {
        self.by_name.shared(name).unwrap_or_else(|| Arc::from(name))
    }

    /// All members, in a fixed order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (MemberId, &Entry)> {
        self.by_name.ids().map(|id| (id, &self[id]))
    }

    pub(crate) fn ring(&self) -> &[MemberId] {
        &self.ring
    }

    /// How many members the detector remembers: the "n" of its formulas.
    pub(crate) fn known(&self) -> usize {
        self.ring.len()
    }

    /// How many members are alive or suspect, this node included.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// How many members Serf knows, in any status: the "n" of its formulas.
    pub(crate) fn with_status(&self) -> usize {
        self.with_status
    }

    pub(crate) fn status_alive(&self) -> usize {
        self.status_alive
    }

    /// How many members have status leaving.
    pub(crate) fn leaving(&self) -> usize {
        self.with_status - self.status_alive - self.failed.len() - self.left.len()
    }

    pub(crate) fn failed(&self) -> &[MemberId] {
        &self.failed
    }

    pub(crate) fn left(&self) -> &[MemberId] {
        &self.left
    }

    /// Changes the detector's state of a member it remembers. [`State::Forgotten`] is [`Table::forget`]'s.
    pub(crate) fn set_state(&mut self, id: MemberId, state: State, now: Time) {
        assert_ne!(state, State::Forgotten);
        let entry = &mut self[id];
        assert_ne!(entry.state, State::Forgotten, "{} is not in the ring", entry.name);
        let was_live = entry.is_live();
        entry.state = state;
        entry.state_since = now;
        let is_live = entry.is_live();
        self.live = self.live + usize::from(is_live) - usize::from(was_live);
    }

    /// Changes what Serf's layer holds of a member, and keeps its lists in step.
    pub(crate) fn set_status(&mut self, id: MemberId, status: Option<Status>, now: Time) {
        let before = self[id].status;
        if before == status {
            return;
        }
        match before {
            Some(Status::Failed) => remove_swap(&mut self.failed, id),
            Some(Status::Left) => remove_swap(&mut self.left, id),
            Some(Status::Alive) => self.status_alive -= 1,
            Some(Status::Leaving) | None => {}
        }
        match status {
            Some(Status::Failed) => self.failed.push(id),
            Some(Status::Left) => self.left.push(id),
            Some(Status::Alive) => self.status_alive += 1,
            Some(Status::Leaving) | None => {}
        }
        self.with_status = self.with_status + usize::from(status.is_some()) - usize::from(before.is_some());
        let entry = &mut self[id];
        entry.status = status;
        if status.is_none() {
            entry.measured = None;
        }
        // A failed member that is then said to have left keeps the time of its failure, as Serf has it.
        let going = matches!(status, Some(Status::Leaving | Status::Failed | Status::Left));
        if going && before != Some(Status::Failed) {
            entry.gone_since = now;
        }
    }

    /// The detector forgets members that have been dead or left for longer than `window`, and shuffles its ring.
    /// `own` always stays.
    pub(crate) fn forget_and_shuffle(&mut self, now: Time, window: Duration, own: MemberId, rng: &mut Rng) {
        let mut ring = std::mem::take(&mut self.ring);
        ring.retain(|id| {
            let entry = &mut self[*id];
            let gone = *id != own
                && matches!(entry.state, State::Dead | State::Left)
                && now.since(entry.state_since) > window;
            if gone {
                entry.state = State::Forgotten;
            }
            if gone && entry.status.is_none() {
                self.remove(*id);
            }
            !gone
        });
        rng.shuffle(&mut ring);
        self.ring = ring;
    }

    /// Removes an entry that neither layer remembers.
    pub(crate) fn remove_if_unknown(&mut self, id: MemberId) {
        if self[id].state == State::Forgotten && self[id].status.is_none() {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: MemberId) {
        if let Some(entry) = self.slot_mut(id).take() {
            self.by_name.remove(&entry.name);
            self.free.push(id);
        }
    }

    /// Up to `k` distinct members of the ring that satisfy `wanted`, uniformly. Few draws suffice while most members satisfy;
    /// otherwise the ring is searched whole, so that nobody is missed in small or broken clusters.
    pub(crate) fn choose(
        &self,
        rng: &mut Rng,
        k: usize,
        wanted: impl Fn(MemberId, &Entry) -> bool,
    ) -> Vec<MemberId> {
        let mut chosen: Vec<MemberId> = Vec::with_capacity(k);
        if self.ring.len() > 8 * k {
            for _ in 0..4 * k {
                let id = self.ring[rng.below(self.ring.len())];
                if !chosen.contains(&id) && wanted(id, &self[id]) {
                    chosen.push(id);
                    if chosen.len() == k {
                        return chosen;
                    }
                }
            }
        }
        let mut all: Vec<MemberId> = self.ring.iter().copied().filter(|id| wanted(*id, &self[*id])).collect();
        for at in 0..k.min(all.len()) {
            let other = at + rng.below(all.len() - at);
            all.swap(at, other);
        }
        all.truncate(k);
        all
    }

    pub(crate) fn check_invariants(&self) {
        let entries = || self.by_name.ids().map(|id| &self[id]);
        assert_eq!(self.live, entries().filter(|e| e.is_live()).count(), "live members");
        assert_eq!(self.ring.len(), entries().filter(|e| e.state != State::Forgotten).count(), "ring");
        assert_eq!(self.with_status, entries().filter(|e| e.status.is_some()).count(), "with status");
        for (list, status) in [(&self.failed, Status::Failed), (&self.left, Status::Left)] {
            assert_eq!(list.len(), entries().filter(|e| e.status == Some(status)).count(), "{status} list");
            assert!(list.iter().all(|id| self[*id].status == Some(status)), "{status} list holds only such");
        }
        for entry in entries() {
            assert!(
                entry.state != State::Forgotten || entry.status.is_some(),
                "{} is remembered by nobody",
                entry.name
            );
            assert_eq!(
                entry.state == State::Suspect,
                entry.suspicion.is_some(),
                "{}: suspect exactly while a suspicion runs",
                entry.name
            );
            if let Some(suspicion) = &entry.suspicion {
                suspicion.check_invariants();
            }
            assert!(entry.evidence.len() <= EVIDENCE_MAX);
            assert!(
                entry.measured.is_none() || entry.status.is_some(),
                "{} is erased and has a coordinate",
                entry.name
            );
        }
    }
}

/// Removes one element, the last one moving into its place, as Serf's lists do.
fn remove_swap(list: &mut Vec<MemberId>, id: MemberId) {
    if let Some(at) = list.iter().position(|other| *other == id) {
        list.swap_remove(at);
    }
}

impl Index<MemberId> for Table {
    type Output = Entry;

    fn index(&self, id: MemberId) -> &Entry {
        self.get(id).expect("invariant: a member id in use names an entry")
    }
}

impl IndexMut<MemberId> for Table {
    fn index_mut(&mut self, id: MemberId) -> &mut Entry {
        self.slot_mut(id).as_mut().expect("invariant: a member id in use names an entry")
    }
}
