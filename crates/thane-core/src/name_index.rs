//! Members by name, found by a hash of it.
//!
//! A node looks up a name for every message it hears. Ordered by the names themselves, each look-up follows a dozen pointers to compare
//! text; ordered by a hash, nearly all comparisons are of numbers that lie side by side. The order is fixed by the names alone, so
//! iteration is deterministic, which a table that scatters by a random key would not be.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::table::MemberId;

/// A map from names to members, in the order of the names' hashes.
#[derive(Debug, Default)]
pub(crate) struct NameIndex {
    entries: BTreeMap<Hashed, MemberId>,
}

#[derive(Debug)]
struct Hashed {
    hash: u64,
    name: Arc<str>,
}

/// A name to look for, or one that is there.
trait Key {
    fn parts(&self) -> (u64, &str);
}

impl Key for Hashed {
    fn parts(&self) -> (u64, &str) {
        (self.hash, &self.name)
    }
}

impl Key for (u64, &str) {
    fn parts(&self) -> (u64, &str) {
        *self
    }
}

impl<'a> Borrow<dyn Key + 'a> for Hashed {
    fn borrow(&self) -> &(dyn Key + 'a) {
        self
    }
}

impl Ord for dyn Key + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl PartialOrd for dyn Key + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Key + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn Key + '_ {}

impl Ord for Hashed {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl PartialOrd for Hashed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Hashed {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Hashed {}

impl NameIndex {
    pub(crate) fn find(&self, name: &str) -> Option<MemberId> {
        self.entries.get(&(hash(name), name) as &dyn Key).copied()
    }

    /// The index's own copy of a name.
    pub(crate) fn shared(&self, name: &str) -> Option<Arc<str>> {
        let (found, _) = self.entries.get_key_value(&(hash(name), name) as &dyn Key)?;
        Some(found.name.clone())
    }

    pub(crate) fn insert(&mut self, name: Arc<str>, id: MemberId) {
        self.entries.insert(Hashed { hash: hash(&name), name }, id);
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.entries.remove(&(hash(name), name) as &dyn Key);
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// All members, in an order that depends on nothing but their names.
    pub(crate) fn ids(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.entries.values().copied()
    }
}

/// FNV-1a. Names that somebody chose to collide cost a comparison of text each, nothing more.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
