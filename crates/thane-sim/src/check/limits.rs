//! Invariants about size.

use std::collections::{BTreeMap, BTreeSet};

use thane_core::Time;

use super::{Checker, Limits, Observation};
use crate::world::ProcessId;

/// Complaints that wait to be gossiped are at most one a member, and so many more. (thane-core: `node/steady.rs`.)
const COMPLAINTS_MAX: usize = 64;
/// Names that one message may bring.
const FORGED_NAMES_A_MESSAGE: usize = 50;

/// **Queues and tables stay within their limits**: a node lists no more members than there are names; its queue of
/// statements about members holds at most one a member, and complaints besides where members complain of each other; Serf's queues stay within twice the configured depth; the health score
/// stays below the configured worst; and whatever else others can fill stays within the limit that the core names for it
/// ([`thane_core::Node::occupancy`]).
#[derive(Debug, Default)]
pub struct WithinLimits {
    names: BTreeSet<String>,
    /// Names that may have been forged.
    forged: usize,
    limits: BTreeMap<ProcessId, Limits>,
}

impl Checker for WithinLimits {
    fn rule(&self) -> &'static str {
        "queues and tables stay within their limits"
    }

    fn see(&mut self, _: Time, process: ProcessId, seen: &Observation) -> Result<(), String> {
        match seen {
            Observation::Started { name, limits } => {
                self.names.insert(name.clone());
                self.limits.insert(process, *limits);
                Ok(())
            }
            Observation::Stopped(_) => {
                self.limits.remove(&process);
                Ok(())
            }
            Observation::State { stats, .. } => {
                let Some(limits) = self.limits.get(&process) else { return Ok(()) };
                let names = self.names.len() + self.forged;
                let depth = if limits.min_queue_depth > 0 {
                    limits.min_queue_depth.max(2 * stats.members)
                } else {
                    limits.queue_depth
                };
                // Between two looks at them a queue may hold twice that.
                let depth = 2 * depth;
                let complaints = if limits.complaints { names + COMPLAINTS_MAX } else { 0 };
                let rows = [
                    ("members", stats.members, names),
                    ("living members", stats.live, names),
                    ("statements about members", stats.membership_queue, names + complaints),
                    ("queued intents", stats.intent_queue, depth),
                    ("queued user events", stats.event_queue, depth),
                    ("queued queries", stats.query_queue, depth),
                    ("health score", stats.health_score as usize, limits.health_score as usize - 1),
                ];
                match rows.into_iter().find(|(_, is, limit)| is > limit) {
                    Some((what, is, limit)) => Err(format!("{what}: {is}, over the limit of {limit}")),
                    None => Ok(()),
                }
            }
            Observation::Sizes(sizes) => match sizes.iter().find(|it| it.held > it.limit) {
                Some(it) => Err(format!("{}: {}, over the limit of {}", it.what, it.held, it.limit)),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn survives_forgery(&mut self, messages: usize) -> bool {
        // A message that is changed names as many as fit one packet.
        self.forged += messages * FORGED_NAMES_A_MESSAGE;
        true
    }
}
