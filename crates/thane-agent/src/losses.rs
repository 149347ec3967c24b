//! What this process dropped because somebody did not keep up, for `thane doctor`. There is one agent in a process, and those who
//! drop have nothing else in common.

use std::sync::atomic::{AtomicU64, Ordering};

/// Events that did not fit into the lane of a handler.
pub(crate) static HANDLER_EVENTS: Loss = Loss(AtomicU64::new(0));

/// Records of streams and monitors that an RPC client did not take.
pub(crate) static RPC_RECORDS: Loss = Loss(AtomicU64::new(0));

/// A count that only grows.
#[derive(Debug)]
pub(crate) struct Loss(AtomicU64);

impl Loss {
    /// One more was lost.
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were lost.
    pub(crate) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
