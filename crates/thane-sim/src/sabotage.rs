//! Bugs planted on purpose, to prove that the checkers catch them.

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use thane_core::{Node, Output, Time};

use crate::world::ProcessId;

/// Stands between the world and the processes of one host and makes them misbehave, as a core with a bug would: what they
/// hear, what they put out, what they are. Everything else of the run is real, and what follows from the bug follows.
///
/// Each method does nothing unless it is written. A saboteur is asked in the order of the run, so one that is
/// deterministic keeps the run so. See [`crate::World::sabotage`].
pub trait Saboteur: fmt::Debug + Send {
    /// A packet is about to be given to the node. It may be changed; with false the node never hears of it.
    fn hears(&mut self, at: Time, process: ProcessId, from: SocketAddr, packet: &mut Bytes) -> bool {
        let _ = (at, process, from, packet);
        true
    }

    /// The node put this out; what is returned is done and seen in its place.
    fn puts_out(&mut self, at: Time, process: ProcessId, output: Output) -> Vec<Output> {
        let _ = (at, process);
        vec![output]
    }

    /// The node was given an input; what it puts out is taken next. It may be told things that nobody said, or be
    /// replaced altogether.
    fn meddles(&mut self, at: Time, process: ProcessId, node: &mut Node) {
        let _ = (at, process, node);
    }
}
