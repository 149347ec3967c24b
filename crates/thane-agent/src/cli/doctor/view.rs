//! What one agent says of the cluster and of itself.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::client::{Client, Explanation, Member, RpcError, Stats};

/// Of so many members in trouble each is explained; a cluster with more of them has one cause.
const EXPLAINED_MAX: usize = 8;

/// An agent's view.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Where its RPC is.
    pub(super) rpc_addr: String,
    pub(super) members: Vec<Member>,
    pub(super) diagnosis: Stats,
    /// How far its wall clock is ahead of ours, in milliseconds.
    pub(super) clock_ahead_ms: i64,
}

impl View {
    /// Asks an agent.
    pub(super) fn of(rpc_addr: &str, client: &mut Client) -> Result<Self, RpcError> {
        let diagnosis = client.diagnose()?;
        let mut members = client.members()?;
        members.sort_by(|a, b| a.name.cmp(&b.name));
        let mut view = Self { rpc_addr: rpc_addr.to_owned(), members, diagnosis, clock_ahead_ms: 0 };
        // Only the wall clock of this section is wanted; a second question, because the first may have taken seconds.
        if let Ok(theirs) = client.explain(view.name()).map(|why| why.now_ns / 1_000_000) {
            let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
            view.clock_ahead_ms = theirs.saturating_sub(i64::try_from(ours).unwrap_or(i64::MAX));
        }
        Ok(view)
    }

    /// Explains the first few members that are not simply alive or left.
    pub(super) fn troubled_members(&self, client: &mut Client) -> Result<Vec<Explanation>, RpcError> {
        let is_troubled = |member: &&Member| {
            matches!(member.status.as_str(), "failed" | "leaving")
                || self.section("suspect").contains_key(&member.name)
        };
        let mut explanations = Vec::new();
        for member in self.members.iter().filter(is_troubled).take(EXPLAINED_MAX) {
            match client.explain(&member.name) {
                Ok(why) => explanations.push(why),
                // It was forgotten meanwhile.
                Err(RpcError::Agent(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(explanations)
    }

    /// The agent's name.
    pub(super) fn name(&self) -> &str {
        self.text("agent", "name")
    }

    /// A section of the diagnosis; empty if the agent sent none.
    pub(super) fn section(&self, section: &str) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.diagnosis.get(section).unwrap_or(&NONE)
    }

    /// A value; empty if the agent sent none.
    pub(super) fn text(&self, section: &str, key: &str) -> &str {
        self.section(section).get(key).map_or("", String::as_str)
    }

    /// A number; 0 if the agent sent none.
    pub(super) fn number(&self, section: &str, key: &str) -> u64 {
        self.text(section, key).parse().unwrap_or(0)
    }

    /// Since how long the recent counters count.
    pub(super) fn window(&self) -> Duration {
        Duration::from_secs(self.number("recent", "window_seconds"))
    }

    /// How long the agent has run.
    pub(super) fn uptime(&self) -> Duration {
        Duration::from_secs(self.number("agent", "uptime_seconds"))
    }

    /// Whether it encrypts.
    pub(super) fn is_encrypted(&self) -> bool {
        self.text("health", "encrypted") == "true"
    }
}
