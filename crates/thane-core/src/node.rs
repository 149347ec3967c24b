//! The node: one member of the cluster, and everything it knows.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use thane_wire::tags::Tags;

use crate::config::{Config, ConfigError};
use crate::event::Cause;
use crate::member::{Member, State};
use crate::output::{CommandError, OpId, Output, StreamId};
use crate::rng::Seed;
use crate::stats::{Counters, Stats};
use crate::time::Time;

/// Where the local node stands between start and stop. (Serf: `serf.go`, SerfState.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifeState {
    /// Running.
    Alive,
    /// A graceful leave is under way.
    Leaving,
    /// The leave is complete; the node still answers probes until it is dropped.
    Left,
}

/// Whether a join wants the user events that happened before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// Deliver what the peers still remember.
    Old,
    /// Only what happens from now on.
    Ignore,
}

/// Whether a force-leave also erases the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// Forget the member at once.
    Erase,
    /// Keep it as left until the tombstone timeout.
    Keep,
}

/// Why the operating system could not open or keep a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamFailure {
    /// The connection was refused: the host is there, nobody listens.
    Refused(String),
    /// No answer in time.
    TimedOut(String),
    /// Anything else, in its words.
    Other(String),
}

/// One change in the life of a member, as this node saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// When.
    pub at: Time,
    /// What the detector held afterwards.
    pub state: State,
    /// The incarnation it was about.
    pub incarnation: u32,
    /// Why.
    pub cause: Cause,
    /// Our own health score then.
    pub health: u32,
}

/// One member of the cluster, as a state machine. See the crate's documentation for how to drive it.
#[derive(Debug)]
pub struct Node {}

impl Node {
    /// A node of its own, alone in its cluster until [`Node::join`] or until somebody joins it.
    ///
    /// # Errors
    /// Every problem of the configuration.
    pub fn new(config: Config, seed: Seed, now: Time) -> Result<Self, Vec<ConfigError>> {
        let _ = (config, seed, now);
        todo!()
    }

    // ---- what the driver must do ----

    /// The next thing to do, or `None` when all is done for now.
    pub fn poll_output(&mut self) -> Option<Output> {
        todo!()
    }

    /// When [`Node::handle_timeout`] must be called at the latest. A moment in the past means: now.
    pub fn poll_timeout(&self) -> Time {
        todo!()
    }

    // ---- what the world did ----

    /// Time has passed. Calling too early or too often does no harm.
    pub fn handle_timeout(&mut self, now: Time) {
        let _ = now;
        todo!()
    }

    /// A UDP packet arrived. `from` is its source as the operating system gives it.
    pub fn handle_packet(&mut self, now: Time, from: SocketAddr, packet: Bytes) {
        let _ = (now, from, packet);
        todo!()
    }

    /// The operating system said that a packet to this address could not be delivered (for example "unreachable").
    pub fn handle_send_failed(&mut self, now: Time, to: SocketAddr, error: &str) {
        let _ = (now, to, error);
        todo!()
    }

    /// Somebody opened a stream. `None`: too many are open; close it without a word.
    pub fn handle_stream_accepted(&mut self, now: Time, from: SocketAddr) -> Option<StreamId> {
        let _ = (now, from);
        todo!()
    }

    /// A stream asked for by [`Output::Dial`] is open.
    pub fn handle_stream_connected(&mut self, now: Time, stream: StreamId) {
        let _ = (now, stream);
        todo!()
    }

    /// Bytes arrived on a stream, in any pieces.
    pub fn handle_stream_data(&mut self, now: Time, stream: StreamId, bytes: &[u8]) {
        let _ = (now, stream, bytes);
        todo!()
    }

    /// The peer will send no more on this stream.
    pub fn handle_stream_ended(&mut self, now: Time, stream: StreamId) {
        let _ = (now, stream);
        todo!()
    }

    /// A stream could not be opened, or broke. It is gone; no [`Output::Close`] follows.
    pub fn handle_stream_failed(&mut self, now: Time, stream: StreamId, failure: StreamFailure) {
        let _ = (now, stream, failure);
        todo!()
    }

    // ---- what the application wants ----

    /// Synchronises with each of these addresses and announces us. Ends with [`crate::Outcome::Join`]. An empty list succeeds.
    ///
    /// # Errors
    /// [`CommandError::JoinAfterLeave`].
    pub fn join(&mut self, now: Time, addrs: &[SocketAddr], replay: Replay) -> Result<OpId, CommandError> {
        let _ = (now, addrs, replay);
        todo!()
    }

    /// Leaves the cluster in good order: tells everybody, waits until the word has spread. Ends with [`crate::Outcome::Leave`],
    /// at once if the node has left already.
    ///
    /// # Errors
    /// [`CommandError::LeaveInProgress`].
    pub fn leave(&mut self, now: Time) -> Result<OpId, CommandError> {
        let _ = now;
        todo!()
    }

    /// Tells the cluster that a failed member has left for good. Ends with [`crate::Outcome::ForceLeave`]. A member that is
    /// alive refutes; a name that nobody knows is remembered for a while, as Serf does.
    ///
    /// # Errors
    /// [`CommandError::Stopped`] after a leave.
    pub fn force_leave(&mut self, now: Time, name: &str, prune: Prune) -> Result<OpId, CommandError> {
        let _ = (now, name, prune);
        todo!()
    }

    /// Tells every member of a user event; the local application hears of it too. Gives its Lamport time.
    ///
    /// # Errors
    /// When it is too large; nothing is sent then.
    pub fn user_event(
        &mut self,
        now: Time,
        name: &str,
        payload: Bytes,
        coalesce: bool,
    ) -> Result<u64, CommandError> {
        let _ = (now, name, payload, coalesce);
        todo!()
    }

    /// Replaces our tags and tells the cluster. Ends with [`crate::Outcome::SetTags`].
    ///
    /// # Errors
    /// [`CommandError::TagsTooLarge`]; the old tags stay.
    pub fn set_tags(&mut self, now: Time, tags: Tags) -> Result<OpId, CommandError> {
        let _ = (now, tags);
        todo!()
    }

    // ---- getters ----

    /// All members that are known, in any status, ordered by name; this node included.
    pub fn members(&self) -> impl Iterator<Item = Member> + '_ {
        std::iter::empty()
    }

    /// One member by name.
    pub fn member(&self, name: &str) -> Option<Member> {
        let _ = name;
        todo!()
    }

    /// This node itself.
    pub fn local(&self) -> Member {
        todo!()
    }

    /// The last changes in a member's life, the oldest first (at most eight are kept).
    pub fn evidence(&self, name: &str) -> Vec<Evidence> {
        let _: (&str, Option<Arc<str>>) = (name, None);
        todo!()
    }

    /// Where this node stands.
    pub fn life_state(&self) -> LifeState {
        todo!()
    }

    /// A reading of its numbers.
    pub fn stats(&self) -> Stats {
        todo!()
    }

    /// Its counters.
    pub fn counters(&self) -> Counters {
        todo!()
    }

    /// The settings it runs with. Tags are the current ones.
    pub fn config(&self) -> &Config {
        todo!()
    }

    /// Checks everything this node believes about itself; for tests and simulations. (Every input does so in debug builds.)
    ///
    /// # Panics
    /// When an invariant does not hold: a bug of ours.
    pub fn check_invariants(&self) {}
}
