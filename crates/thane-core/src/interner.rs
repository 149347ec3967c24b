//! What members announce of themselves, kept once for several nodes.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use crate::broadcast_queue::Message;
use crate::name_index::NameIndex;
use crate::rng::Seed;
use crate::shared_state::SharedStates;
use crate::table::{MEMBERS_MAX, MemberId};

/// How many messages an interner remembers.
const MESSAGES: usize = 1 << 18;

/// What a member without tags announces as them.
const NO_TAGS: &[u8] = &[0xff, 0x80];

/// What a member announces of itself.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) name: Arc<str>,
    /// Exactly as announced: an IPv4 address in mapped form stays [`IpAddr::V6`], because Go compares the bytes.
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    pub(crate) meta: Bytes,
    pub(crate) versions: [u8; 6],
    /// What only an interner's copy has.
    numbered: Option<Box<Numbered>>,
}

/// What many nodes need of one member.
#[derive(Debug)]
struct Numbered {
    /// The number of its name in the interner.
    number: u32,
    /// What is said of it while it is alive under an incarnation: in state exchanges, and by gossip.
    alive_record: OnceLock<(u32, Box<[u8]>)>,
    alive_message: OnceLock<(u32, Arc<Message>)>,
}

impl Numbered {
    fn new(number: u32) -> Self {
        Self { number, alive_record: OnceLock::new(), alive_message: OnceLock::new() }
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.is(&Announced {
                name: &other.name,
                ip: other.ip,
                port: other.port,
                meta: &other.meta,
                versions: other.versions,
            })
    }
}

/// An identity as it was heard, still in the bytes of the message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Announced<'a> {
    pub(crate) name: &'a str,
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    pub(crate) meta: &'a [u8],
    pub(crate) versions: [u8; 6],
}

impl Identity {
    /// Whether they are the same in all but the name.
    pub(crate) fn is(&self, heard: &Announced<'_>) -> bool {
        self.port == heard.port
            && self.ip == heard.ip
            && self.versions == heard.versions
            && self.meta == heard.meta
    }

    fn of(heard: &Announced<'_>, name: Arc<str>, number: Option<u32>) -> Self {
        let meta = match heard.meta {
            // These need no count of who shares them.
            [] => Bytes::new(),
            NO_TAGS => Bytes::from_static(NO_TAGS),
            other => Bytes::copy_from_slice(other),
        };
        Self {
            name,
            ip: heard.ip,
            port: heard.port,
            meta,
            versions: heard.versions,
            numbered: number.map(|number| Box::new(Numbered::new(number))),
        }
    }

    /// The number of its name in the interner, if there is one.
    pub(crate) fn number(&self) -> Option<u32> {
        Some(self.numbered.as_ref()?.number)
    }

    /// What a state exchange says of it while it is alive, ready-made if many nodes say it; `encode` makes it.
    pub(crate) fn alive_record(&self, incarnation: u32, encode: impl FnOnce(&mut Vec<u8>)) -> Option<&[u8]> {
        let record = ready(&self.numbered.as_ref()?.alive_record, incarnation, || {
            let mut record = Vec::new();
            encode(&mut record);
            record.into()
        });
        record.map(|record| &**record)
    }

    /// The announcement that is gossiped of it, ready-made if many nodes gossip it.
    pub(crate) fn alive_message(
        &self,
        incarnation: u32,
        make: impl FnOnce() -> Arc<Message>,
    ) -> Option<&Arc<Message>> {
        ready(&self.numbered.as_ref()?.alive_message, incarnation, make)
    }
}

/// What is ready for this incarnation. Only that of the first one that is asked for is kept, as hardly any member has several.
fn ready<T>(place: &OnceLock<(u32, T)>, incarnation: u32, make: impl FnOnce() -> T) -> Option<&T> {
    let (known, ready) = place.get_or_init(|| (incarnation, make()));
    (*known == incarnation).then_some(ready)
}

/// Lets several nodes of one process keep a single copy of what each member announces, of messages that many of them queue, and of what they tell
/// each other in state exchanges. For a simulation, in which all nodes know the same members, this is the larger part of the memory and of
/// the work; a node alone needs none. See [`crate::Config::interner`].
///
/// Sharing shows in nothing but memory and time, and in the order in which a state exchange lists members, which means nothing: nodes
/// that share behave as those that do not. A copy is kept for each of at most 2^20 names,
/// the one heard last, as long as the interner lives.
#[derive(Debug, Clone)]
pub struct Interner(Arc<Mutex<Shared>>);

#[derive(Debug)]
struct Shared {
    by_name: NameIndex,
    identities: Vec<Arc<Identity>>,
    /// Messages that nodes have queued lately, each where its hash puts it.
    messages: Vec<Option<Arc<Message>>>,
    states: SharedStates,
}

impl Interner {
    /// An interner that holds nothing. `seed` keys its hash, so that names from a network cannot be chosen to collide.
    pub fn new(seed: Seed) -> Self {
        let (by_name, identities, messages) = (NameIndex::new(seed), Vec::new(), Vec::new());
        Self(Arc::new(Mutex::new(Shared { by_name, identities, messages, states: SharedStates::default() })))
    }

    /// This message: most likely the very one that another node has queued.
    pub(crate) fn message(&self, about: Option<&Arc<str>>, message: &[u8]) -> Arc<Message> {
        let mut shared = self.lock();
        if shared.messages.is_empty() {
            shared.messages = vec![None; MESSAGES];
        }
        let at = shared.by_name.hash(message) as usize % MESSAGES;
        match &mut shared.messages[at] {
            Some(known) if known.is(about.is_some(), message) => known.clone(),
            place => place.insert(Message::new(about, message)).clone(),
        }
    }

    /// The name of a member that some node knows.
    pub(crate) fn name(&self, name: &str) -> Option<Arc<str>> {
        let shared = self.lock();
        let found = shared.by_name.find(name, |id| &shared.identities[id.0 as usize].name)?;
        Some(shared.identities[found.0 as usize].name.clone())
    }

    /// Looks into, or adds to, the state exchanges that are shared.
    pub(crate) fn states<R>(&self, look: impl FnOnce(&mut SharedStates) -> R) -> R {
        look(&mut self.lock().states)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Whoever panicked while holding it left nothing half done that matters: a copy too few or too many.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn identity(&self, heard: &Announced<'_>) -> Arc<Identity> {
        let mut shared = self.lock();
        let Shared { by_name, identities, .. } = &mut *shared;
        let found = by_name.find(heard.name, |id| &identities[id.0 as usize].name);
        if let Some(id) = found {
            let known = &mut identities[id.0 as usize];
            if !known.is(heard) {
                *known = Arc::new(Identity::of(heard, known.name.clone(), known.number()));
            }
            return known.clone();
        }
        let number = Some(identities.len() as u32).filter(|number| (*number as usize) < MEMBERS_MAX);
        let identity = Arc::new(Identity::of(heard, heard.name.into(), number));
        if let Some(number) = number {
            let id = MemberId(number);
            identities.push(identity.clone());
            by_name.insert(heard.name, id, |id| &identities[id.0 as usize].name);
        }
        identity
    }
}

/// The identity that was heard: `known` itself if it is the same, the shared copy, or a new one.
pub(crate) fn identify(
    interner: Option<&Interner>,
    known: Option<&Arc<Identity>>,
    heard: &Announced<'_>,
) -> Arc<Identity> {
    match (known, interner) {
        (Some(known), _) if known.is(heard) => known.clone(),
        (_, Some(interner)) => interner.identity(heard),
        (known, None) => {
            let name = known.map_or_else(|| heard.name.into(), |known| known.name.clone());
            Arc::new(Identity::of(heard, name, None))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard<'a>(name: &'a str, port: u16, meta: &'a [u8]) -> Announced<'a> {
        Announced { name, ip: [10, 0, 0, 1].into(), port, meta, versions: [1, 5, 2, 2, 5, 5] }
    }

    #[test]
    fn the_same_announcement_is_kept_once() {
        let interner = Interner::new(Seed::from(1));
        let one = identify(Some(&interner), None, &heard("a", 7946, b"x"));
        let same = identify(Some(&interner), None, &heard("a", 7946, b"x"));
        assert!(Arc::ptr_eq(&one, &same));
        let other = identify(Some(&interner), None, &heard("b", 7946, b"x"));
        assert_ne!(one, other);
        let moved = identify(Some(&interner), Some(&one), &heard("a", 7947, b"x"));
        assert_eq!((moved.port, one.port), (7947, 7946), "who knows the old one keeps it");
        assert!(Arc::ptr_eq(&moved.name, &one.name));
        assert!(Arc::ptr_eq(&one, &identify(Some(&interner), Some(&one), &heard("a", 7946, b"x"))));
    }

    #[test]
    fn the_same_message_is_kept_once() {
        let interner = Interner::new(Seed::from(1));
        let [one, same, other] =
            [&b"a message"[..], b"a message", b"another"].map(|bytes| interner.message(None, bytes));
        assert!(Arc::ptr_eq(&one, &same) && **other == *b"another");
        let about = interner.message(Some(&"a".into()), b"a message");
        assert!(**about == **one && about != one, "the same bytes, but as a statement");
    }

    #[test]
    fn a_node_alone_keeps_its_own() {
        let one = identify(None, None, &heard("a", 7946, b""));
        let other = identify(None, None, &heard("a", 7946, b""));
        assert!(one == other && !Arc::ptr_eq(&one, &other));
        assert!(Arc::ptr_eq(&one, &identify(None, Some(&one), &heard("a", 7946, b""))));
    }

    #[test]
    fn who_has_no_tags_announces_so() {
        assert_eq!(thane_wire::tags::encode(&thane_wire::tags::Tags::new()), NO_TAGS);
    }

    #[test]
    fn what_is_ready_is_only_for_its_incarnation() {
        let interner = Interner::new(Seed::from(1));
        let shared = identify(Some(&interner), None, &heard("a", 7946, b""));
        let record = |incarnation: u8| shared.alive_record(incarnation.into(), |out| out.push(incarnation));
        assert_eq!((record(3), record(4), record(3)), (Some(&[3][..]), None, Some(&[3][..])));
        let alone = identify(None, None, &heard("a", 7946, b""));
        assert_eq!(alone.alive_record(3, |out| out.push(3)), None, "a node alone keeps nothing ready");
    }
}
