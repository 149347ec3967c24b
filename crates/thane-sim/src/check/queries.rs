//! Invariants about queries.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thane_core::{QueryId, QueryReply, Time};

use super::{Checker, Observation};
use crate::world::ProcessId;

/// Who replied to which query, for whoever asked.
#[derive(Debug, Default)]
pub struct Replies {
    /// Who acknowledged, and who answered.
    by: BTreeMap<(ProcessId, QueryId), [BTreeSet<String>; 2]>,
}

impl Replies {
    pub(super) fn see(&mut self, process: ProcessId, seen: &Observation) {
        let Observation::Replied { query, reply } = seen else { return };
        let (of, from) = match reply {
            QueryReply::Ack { from } => (0, from),
            QueryReply::Response { from, .. } => (1, from),
            QueryReply::Done => return,
        };
        self.by.entry((process, *query)).or_default()[of].insert(from.to_string());
    }

    /// Whether the member acknowledged this process's query, and whether it answered it.
    pub fn of(&self, process: ProcessId, query: QueryId, member: &str) -> (bool, bool) {
        let by = self.by.get(&(process, query));
        let has = |of: usize| by.is_some_and(|by| by[of].contains(member));
        (has(0), has(1))
    }
}

/// A timer that runs this much late is not taken for one that was lost.
const LATE: Duration = Duration::from_millis(100);

/// **Queries end, and nobody is heard twice**: what comes back from a query is at most one acknowledgement and one answer a
/// member, then the end, by its deadline (or as soon after as its node runs), then nothing.
#[derive(Debug, Default)]
pub struct QueriesEnd {
    asked: BTreeMap<(ProcessId, QueryId), Asked>,
}

#[derive(Debug)]
struct Asked {
    until: Time,
    acks: BTreeSet<String>,
    answers: BTreeSet<String>,
    is_over: bool,
    /// When its node was first seen running after the deadline.
    late_since: Option<Time>,
}

impl Asked {
    fn replied(&mut self, reply: &QueryReply) -> Result<(), String> {
        if self.is_over {
            return Err(format!("{reply:?} came after the end"));
        }
        let (from, heard, what) = match reply {
            QueryReply::Ack { from } => (from, &mut self.acks, "acknowledgement"),
            QueryReply::Response { from, .. } => (from, &mut self.answers, "answer"),
            QueryReply::Done => {
                self.is_over = true;
                return Ok(());
            }
        };
        if heard.insert(from.to_string()) { Ok(()) } else { Err(format!("a second {what} of {from}")) }
    }
}

impl QueriesEnd {
    /// Queries of this process that should be over by now.
    fn overdue(&mut self, at: Time, process: ProcessId) -> Option<String> {
        let first = (process, QueryId(0));
        let own = self.asked.range_mut(first..).take_while(|((asker, _), _)| *asker == process);
        for ((_, query), asked) in own.filter(|(_, asked)| !asked.is_over && asked.until < at) {
            let since = *asked.late_since.get_or_insert(at);
            if at.since(since) > LATE {
                return Some(format!("query {} should have ended at {}", query.0, asked.until));
            }
        }
        None
    }
}

impl Checker for QueriesEnd {
    fn rule(&self) -> &'static str {
        "a query hears each member at most once, and ends by its deadline"
    }

    fn see(&mut self, at: Time, process: ProcessId, seen: &Observation) -> Result<(), String> {
        match seen {
            Observation::Asked { query, until } => {
                let asked = Asked {
                    until: *until,
                    acks: BTreeSet::new(),
                    answers: BTreeSet::new(),
                    is_over: false,
                    late_since: None,
                };
                self.asked.insert((process, *query), asked);
                Ok(())
            }
            // Queries that nobody here asked are another's business: nothing is known of them.
            Observation::Replied { query, reply } => match self.asked.get_mut(&(process, *query)) {
                Some(asked) => asked.replied(reply).map_err(|what| format!("query {}: {what}", query.0)),
                None => Ok(()),
            },
            Observation::State { .. } => self.overdue(at, process).map_or(Ok(()), Err),
            Observation::Stopped(_) => {
                self.asked.retain(|(asker, _), _| *asker != process);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
