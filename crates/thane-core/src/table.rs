//! The membership table: one entry a member, for the failure detector and for Serf's layer alike.
//!
//! The two layers forget at different times: the detector after `gossip_to_the_dead_time`, Serf after a day, or at once when
//! pruned. An entry is there as long as one of them remembers: [`State::Forgotten`] means that the detector does not, no
//! [`Entry::status`] that Serf does not.

use std::ops::{Index, IndexMut};
use std::sync::Arc;
use std::time::Duration;

use crate::entry::Entry;
use crate::interner::{Announced, Interner, identify};
use crate::member::{State, Status};
use crate::name_index::NameIndex;
use crate::rng::{Rng, Seed};
use crate::time::Time;

/// Most members that are remembered. A cluster that reports more is attacking us, or needs another design.
pub(crate) const MEMBERS_MAX: usize = 1 << 20;
/// How many entries lie in one piece of memory. A single one of them all would be up to twice as large as needed, and would
/// move on its way there.
const CHUNK_ENTRIES: usize = 256;

/// From how many members on a table is too large for the caches that are near.
const FETCH_MEMBERS_MIN: usize = 512;

/// A member's place in the table; used again after the member is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MemberId(pub(crate) u32);

/// All members, this node included.
#[derive(Debug)]
pub(crate) struct Table {
    by_name: NameIndex,
    /// Where other nodes of this process keep what members announce.
    interner: Option<Interner>,
    /// Places by their number, in chunks of [`CHUNK_ENTRIES`]; all but the last are full.
    chunks: Vec<Vec<Option<Entry>>>,
    free: Vec<MemberId>,
    /// Members the detector remembers, in the order in which they are probed.
    ring: Vec<MemberId>,
    live: usize,
    suspect: usize,
    /// Members with status failed, in the order in which they failed.
    failed: Vec<MemberId>,
    /// Members with status left, in the order in which they left.
    left: Vec<MemberId>,
    /// Members with status alive.
    status_alive: usize,
    /// Members with any status.
    with_status: usize,
    /// How often something may have changed of what a state exchange tells.
    version: u64,
}

impl Table {
    /// A table without members. `seed` keys the look-up of names.
    pub(crate) fn new(seed: Seed, interner: Option<Interner>) -> Self {
        Self {
            by_name: NameIndex::new(seed),
            interner,
            chunks: Vec::new(),
            free: Vec::new(),
            ring: Vec::new(),
            live: 0,
            suspect: 0,
            failed: Vec::new(),
            left: Vec::new(),
            status_alive: 0,
            with_status: 0,
            version: 0,
        }
    }

    /// A number that grows whenever something may have changed of what a state exchange tells of members.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// An entry, to note in it what no state exchange tells.
    pub(crate) fn aside(&mut self, id: MemberId) -> &mut Entry {
        self.place_mut(id).as_mut().expect("invariant: a member id in use names an entry")
    }

    /// Adds a member that the detector takes for dead until its announcement has been judged, as memberlist does.
    pub(crate) fn add(&mut self, heard: &Announced<'_>, now: Time, rng: &mut Rng) -> MemberId {
        debug_assert!(self.find(heard.name).is_none(), "{} is in the table already", heard.name);
        let identity = identify(self.interner.as_ref(), None, heard);
        let id = self.place(Entry::new(identity, now));
        let chunks = &self.chunks;
        self.by_name.insert(heard.name, id, |id| name_in(chunks, id));
        self.enter_ring(id, rng);
        id
    }

    /// Makes room for a number of members in all, which are about to be added.
    pub(crate) fn expect(&mut self, members: usize) {
        let chunks = &self.chunks;
        self.by_name.expect(members.min(MEMBERS_MAX), |id| name_in(chunks, id));
    }

    /// Takes over what a member announces now.
    pub(crate) fn identify(&mut self, id: MemberId, heard: &Announced<'_>) {
        let known = self[id].identity();
        if !known.is(heard) {
            let identity = identify(self.interner.as_ref(), Some(known), heard);
            self[id].set_identity(identity);
        }
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
        self.version += 1;
        chunk.push(Some(entry));
        MemberId((last * CHUNK_ENTRIES + chunk.len() - 1) as u32)
    }

    fn slot_mut(&mut self, id: MemberId) -> &mut Option<Entry> {
        self.version += 1;
        self.place_mut(id)
    }

    fn place_mut(&mut self, id: MemberId) -> &mut Option<Entry> {
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
        self.by_name.find(name, |id| name_in(&self.chunks, id))
    }

    /// The keyed hash of a name.
    pub(crate) fn hash_of(&self, name: &str) -> u64 {
        self.by_name.hash(name.as_bytes())
    }

    /// Brings the entries of these names into the processor's caches, for whoever is about to look at one after the other. In a large table
    /// hardly any entry is there, and waiting for each in turn takes longer than all the rest.
    pub(crate) fn fetch<'a>(&self, names: impl Iterator<Item = &'a str>) {
        if self.len() >= FETCH_MEMBERS_MIN {
            let entries = self.by_name.likely(names).into_iter().filter_map(|id| self.get(id));
            // The name as well: it is compared, and lies elsewhere.
            let touch = |entry: &Entry| entry.incarnation ^ entry.name.bytes().next().map_or(0, u32::from);
            std::hint::black_box(entries.fold(0, |sum, entry| sum ^ touch(entry)));
        }
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
        self.find(name).map_or_else(|| Arc::from(name), |id| self[id].name.clone())
    }

    /// All members, in the order of their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (MemberId, &Entry)> {
        let places = self.chunks.iter().flatten().enumerate();
        places.filter_map(|(at, place)| Some((MemberId(at as u32), place.as_ref()?)))
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

    /// How many members are suspect.
    pub(crate) fn suspect(&self) -> usize {
        self.suspect
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
        let (was_live, was_suspect) = (entry.is_live(), entry.state == State::Suspect);
        entry.set_state(state, now);
        let is_live = entry.is_live();
        self.live = self.live + usize::from(is_live) - usize::from(was_live);
        self.suspect = self.suspect + usize::from(state == State::Suspect) - usize::from(was_suspect);
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
            entry.forget_measured();
        }
        // A failed member that is then said to have left keeps the time of its failure, as Serf has it.
        let going = matches!(status, Some(Status::Leaving | Status::Failed | Status::Left));
        if going && before != Some(Status::Failed) {
            entry.set_gone_since(now);
        }
    }

    /// The detector forgets members that have been dead or left for longer than `window`, and shuffles its ring.
    /// `own` always stays.
    pub(crate) fn forget_and_shuffle(&mut self, now: Time, window: Duration, own: MemberId, rng: &mut Rng) {
        let mut ring = std::mem::take(&mut self.ring);
        ring.retain(|id| {
            let entry = &self[*id];
            let gone = *id != own
                && matches!(entry.state, State::Dead | State::Left)
                && now.since(entry.state_since()) > window;
            if gone {
                self[*id].state = State::Forgotten;
                self.remove_if_unknown(*id);
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
        let chunks = &self.chunks;
        self.by_name.remove(id, |id| name_in(chunks, id));
        *self.slot_mut(id) = None;
        self.free.push(id);
    }

    /// Up to `k` distinct members of the ring that satisfy `wanted`, uniformly. Few draws suffice while most members satisfy;
    /// otherwise the ring is searched whole, so that nobody is missed in small or broken clusters.
    pub(crate) fn choose(
        &self,
        rng: &mut Rng,
        k: usize,
        wanted: impl Fn(MemberId, &Entry) -> bool,
    ) -> Vec<MemberId> {
        let mut chosen: Vec<MemberId> = Vec::with_capacity(k.min(self.ring.len()));
        if self.ring.len() / 8 > k {
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
        let entries = || self.iter().map(|(_, entry)| entry);
        assert_eq!(self.len(), entries().count(), "members by name");
        assert!(
            self.iter().all(|(id, entry)| self.find(&entry.name) == Some(id)),
            "each name leads to its member"
        );
        assert_eq!(self.live, entries().filter(|e| e.is_live()).count(), "live members");
        assert_eq!(self.suspect, entries().filter(|e| e.state == State::Suspect).count(), "suspects");
        assert_eq!(self.ring.len(), entries().filter(|e| e.state != State::Forgotten).count(), "ring");
        assert_eq!(self.with_status, entries().filter(|e| e.status.is_some()).count(), "with status");
        for (list, status) in [(&self.failed, Status::Failed), (&self.left, Status::Left)] {
            assert_eq!(list.len(), entries().filter(|e| e.status == Some(status)).count(), "{status} list");
            assert!(list.iter().all(|id| self[*id].status == Some(status)), "{status} list holds only such");
        }
        entries().for_each(Entry::check_invariants);
    }
}

/// The name of a member that is there.
fn name_in(chunks: &[Vec<Option<Entry>>], id: MemberId) -> &str {
    let at = id.0 as usize;
    let entry = chunks[at / CHUNK_ENTRIES][at % CHUNK_ENTRIES].as_ref();
    &entry.expect("invariant: the index leads to members that are there").name
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
