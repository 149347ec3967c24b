//! Members by name: an open-addressed table of their numbers, found by a keyed hash of the name.
//!
//! A node looks up a name for every message it hears, so a look-up should touch as little memory as it can. A slot has four bytes: the
//! member's number and eleven bits of its name's hash, which tell nearly all other names without reading them. Slots are tried one
//! after the other, so that they mostly lie in one cache line. The names themselves stay where the members are.
//!
//! The hash is keyed by the node's seed: nobody who does not know it can choose names that collide. Nothing is ever listed in the
//! order of the slots, so the key shows in no behaviour.

use crate::rng::Seed;
use crate::table::MemberId;

/// Bits of a slot that hold a member's number and one, so that zero is an empty slot. [`crate::table::MEMBERS_MAX`] fits.
const ID_BITS: u32 = 21;
const ID_MASK: u32 = (1 << ID_BITS) - 1;
/// Fewest slots of an index that is in use.
const SLOTS_MIN: usize = 16;

const _: () = assert!(crate::table::MEMBERS_MAX < ID_MASK as usize);

/// A map from names to members. Whoever asks says what the name of a member is.
#[derive(Debug)]
pub(crate) struct NameIndex {
    key: [u64; 2],
    /// A power of two of them, or none; at least a quarter is empty.
    slots: Vec<u32>,
    len: usize,
}

impl NameIndex {
    /// An empty index with a key of its own.
    pub(crate) fn new(seed: Seed) -> Self {
        let (words, _) = seed.0.as_chunks::<8>();
        let [a, b, c, d] = [0, 1, 2, 3].map(|at| u64::from_le_bytes(words[at]));
        // An odd multiplier loses nothing; the constants keep a seed of mostly zeroes from being a weak key.
        let key = [a ^ c.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15, (b ^ d ^ 0xa076_1d64_78bd_642f) | 1];
        Self { key, slots: Vec::new(), len: 0 }
    }

    pub(crate) fn find<'a>(&self, name: &str, name_of: impl Fn(MemberId) -> &'a str) -> Option<MemberId> {
        if self.len == 0 {
            return None;
        }
        let hash = self.hash(name.as_bytes());
        let mask = self.slots.len() - 1;
        let mut at = self.home(hash);
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            if slot & !ID_MASK == tag(hash) {
                let id = member(slot);
                if name_of(id) == name {
                    return Some(id);
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// Which members these names most likely belong to.
    ///
    /// For many names at once: no look-up waits for the memory that another one needs.
    pub(crate) fn likely<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<MemberId> {
        let first = |name: &str| {
            let hash = self.hash(name.as_bytes());
            let slot = self.slots[self.home(hash)];
            (slot != 0 && slot & !ID_MASK == tag(hash)).then(|| member(slot))
        };
        if self.len == 0 { Vec::new() } else { names.filter_map(first).collect() }
    }

    /// Adds a member whose name is not there. `name_of` must know it already.
    pub(crate) fn insert<'a>(&mut self, name: &str, id: MemberId, name_of: impl Fn(MemberId) -> &'a str) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.grow(self.slots.len() * 2, name_of);
        }
        self.put(name, id);
        self.len += 1;
    }

    /// Makes room for a number of members in all, so that it need not be made bit by bit.
    pub(crate) fn expect<'a>(&mut self, members: usize, name_of: impl Fn(MemberId) -> &'a str) {
        let slots = (members * 4).div_ceil(3).next_power_of_two();
        if slots > self.slots.len() && slots > SLOTS_MIN {
            self.grow(slots, name_of);
        }
    }

    fn put(&mut self, name: &str, id: MemberId) {
        let hash = self.hash(name.as_bytes());
        let mask = self.slots.len() - 1;
        let mut at = self.home(hash);
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = tag(hash) | (id.0 + 1);
    }

    fn grow<'a>(&mut self, slots: usize, name_of: impl Fn(MemberId) -> &'a str) {
        let slots = slots.max(SLOTS_MIN);
        let old = std::mem::replace(&mut self.slots, vec![0; slots]);
        for slot in old.into_iter().filter(|slot| *slot != 0) {
            self.put(name_of(member(slot)), member(slot));
        }
    }

    /// Removes a member; `name_of` must still know its name, and those of all others.
    pub(crate) fn remove<'a>(&mut self, id: MemberId, name_of: impl Fn(MemberId) -> &'a str) {
        let mask = self.slots.len() - 1;
        let mut hole = self.home(self.hash(name_of(id).as_bytes()));
        while member(self.slots[hole]) != id {
            assert_ne!(self.slots[hole], 0, "invariant: a member that is removed is in the index");
            hole = (hole + 1) & mask;
        }
        // Those behind it move up, unless the hole lies before the first slot in which they may be.
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let slot = self.slots[at];
            if slot == 0 {
                break;
            }
            let home = self.home(self.hash(name_of(member(slot)).as_bytes()));
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.slots[hole] = slot;
                hole = at;
            }
        }
        self.slots[hole] = 0;
        self.len -= 1;
    }

    /// Forgets all, and gives the memory back.
    pub(crate) fn clear(&mut self) {
        (self.slots, self.len) = (Vec::new(), 0);
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The first slot to look at.
    fn home(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.slots.len() - 1)
    }

    /// The keyed hash that the index uses.
    pub(crate) fn hash(&self, bytes: &[u8]) -> u64 {
        let [start, factor] = self.key;
        let mut hash = start ^ bytes.len() as u64;
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            hash = fold(hash ^ u64::from_le_bytes(*word), factor);
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        fold(fold(hash ^ u64::from_le_bytes(last), factor), start | 1)
    }
}

/// Multiplies and lays the two halves of the product over each other.
fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    (wide >> 64) as u64 ^ wide as u64
}

/// The bits of a slot that tell names apart.
fn tag(hash: u64) -> u32 {
    (hash as u32) << ID_BITS
}

/// Whose slot this is. Not for empty ones, for which it gives a number that nobody has.
fn member(slot: u32) -> MemberId {
    MemberId((slot & ID_MASK).wrapping_sub(1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn finds_what_a_map_finds_whatever_comes_and_goes() {
        let mut rng = Rng::new(Seed::from(4));
        let mut index = NameIndex::new(Seed::from(3));
        let names: Vec<String> = (0..300).map(|number| format!("node-{number}")).collect();
        let name_of = |id: MemberId| names[id.0 as usize].as_str();
        let mut model: BTreeMap<&str, MemberId> = BTreeMap::new();
        for _ in 0..20_000 {
            let number = rng.below(names.len());
            let (name, id) = (names[number].as_str(), MemberId(number as u32));
            assert_eq!(index.find(name, name_of), model.get(name).copied());
            // Mostly full at times, mostly empty at others.
            if model.contains_key(name) {
                model.remove(name);
                index.remove(id, name_of);
            } else {
                model.insert(name, id);
                index.insert(name, id, name_of);
            }
            assert_eq!(index.len(), model.len());
        }
        for (number, name) in names.iter().enumerate() {
            let expected = model.get(name.as_str()).map(|_| MemberId(number as u32));
            assert_eq!(index.find(name, name_of), expected, "{name}");
        }
    }

    #[test]
    fn the_key_decides_which_names_collide() {
        let hashes = |seed: u64| {
            let index = NameIndex::new(Seed::from(seed));
            ["a", "b", "node-1", "node-10", "", "\0"].map(|name| index.hash(name.as_bytes()))
        };
        let (one, other) = (hashes(1), hashes(2));
        assert_eq!(one, hashes(1));
        for at in 0..one.len() {
            assert_ne!(one[at], other[at]);
            assert!(one[at + 1..].iter().all(|hash| *hash != one[at]), "no two of a few names collide");
        }
    }
}
