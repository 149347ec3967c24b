//! The queries that a client has been told of and may answer.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use thane::{IncomingQuery, Time};

/// Queries of one client that are remembered. Of more at a time the oldest is forgotten; Serf remembers all.
const PENDING_MAX: usize = 1024;

/// By the number in their record, which begins with 1 on each connection and grows by one each time.
#[derive(Debug, Default)]
pub(super) struct PendingQueries {
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    last_id: u64,
    queries: BTreeMap<u64, IncomingQuery>,
}

impl PendingQueries {
    /// Remembers a query; gives its number.
    pub(super) fn add(&self, query: IncomingQuery) -> u64 {
        let mut pending = self.lock();
        pending.last_id += 1;
        let id = pending.last_id;
        if pending.queries.len() >= PENDING_MAX {
            pending.queries.pop_first();
        }
        pending.queries.insert(id, query);
        id
    }

    /// The query of this number, unless it is over. What is over is forgotten.
    pub(super) fn find(&self, id: u64, now: Time) -> Option<IncomingQuery> {
        let mut pending = self.lock();
        pending.queries.retain(|_id, query| query.deadline > now);
        pending.queries.get(&id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
