//! Scenarios as text: what a failure prints, and what replays it.

use serde::{Deserialize, Serialize};
use thane_core::{Prune, Replay};

use super::{Action, Scenario};
use crate::world::HostId;

/// Most hosts that a plan from a file may have: more fit no machine.
const HOSTS_MAX: usize = 100_000;

/// Why a text is no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanError(String);

impl std::fmt::Display for PlanError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not a plan: {}", self.0)
    }
}

impl std::error::Error for PlanError {}

impl Scenario {
    /// The whole scenario in one line of JSON. Spans are written as `1500ms`, times as the span since the start, and
    /// both may be numbers of seconds; hosts are numbered from 0.
    ///
    /// # Panics
    /// Never: every field has a form in JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("invariant: numbers, words and lists all have a form in JSON")
    }

    /// Reads what [`Scenario::to_json`] wrote, in one line or many, perhaps changed by hand.
    ///
    /// # Errors
    /// What is not JSON, has other fields, names a host that the plan does not have, or is not in order of time.
    pub fn from_json(text: &str) -> Result<Self, PlanError> {
        let scenario: Self = serde_json::from_str(text).map_err(|error| PlanError(error.to_string()))?;
        let hosts = scenario.parameters.hosts;
        if !(1..=HOSTS_MAX).contains(&hosts) {
            return Err(PlanError(format!("it has {hosts} hosts, but must have 1 to {HOSTS_MAX}")));
        }
        for planned in &scenario.plan {
            if let Some(host) = planned.action.hosts().into_iter().find(|host| host.index() >= hosts) {
                return Err(PlanError(format!(
                    "host {} of {:?} is not among its {hosts} hosts",
                    host.0, planned
                )));
            }
        }
        if !scenario.plan.is_sorted_by_key(|planned| planned.at) {
            return Err(PlanError("its steps are not in order of time".into()));
        }
        Ok(scenario)
    }
}

impl Action {
    /// The hosts that it is about.
    pub fn hosts(&self) -> Vec<HostId> {
        self.clone().hosts_mut().into_iter().map(|host| *host).collect()
    }

    fn hosts_mut(&mut self) -> Vec<&mut HostId> {
        match self {
            Self::Start(host)
            | Self::Crash(host, _)
            | Self::Pause(host, _)
            | Self::UserEvent(host)
            | Self::SetTags(host)
            | Self::Clock(host, _)
            | Self::Disk(host, _)
            | Self::Slow(host, ..)
            | Self::Block(host, _)
            | Self::BreakDisk(host, ..)
            | Self::Restart(host)
            | Self::Query(host)
            | Self::RotateKeys(host)
            | Self::Leave(host) => vec![host],
            Self::Fault(fault, _) => fault.hosts_mut(),
            Self::Partition(side) => side.iter_mut().collect(),
            Self::CutOneWay(from, to) => vec![from, to],
            Self::ForceLeave { by, target, .. } => vec![by, target],
            Self::Heal | Self::Topology(_) | Self::Byzantine(_) => Vec::new(),
        }
    }

    /// The same about other hosts. `None` when one that it cannot do without is gone.
    pub(crate) fn with_hosts(&self, map: impl Fn(HostId) -> Option<HostId>) -> Option<Self> {
        if let Self::Partition(side) = self {
            let side: Vec<HostId> = side.iter().filter_map(|host| map(*host)).collect();
            return (!side.is_empty()).then_some(Self::Partition(side));
        }
        if let Self::Fault(fault, span) = self {
            return Some(Self::Fault(fault.with_hosts(map)?, *span));
        }
        let mut moved = self.clone();
        for host in moved.hosts_mut() {
            *host = map(*host)?;
        }
        Some(moved)
    }
}

/// A [`thane_core::Time`] as the span since the start.
pub(super) mod moment {
    use serde::{Deserializer, Serializer};
    use thane_core::Time;

    use crate::span;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
    pub(in crate::scenario) fn serialize<S: Serializer>(moment: &Time, to: S) -> Result<S::Ok, S::Error> {
        span::serialize(&moment.since_start(), to)
    }

    pub(in crate::scenario) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Time, D::Error> {
        span::deserialize(from).map(Time::from_start)
    }
}

/// How [`Replay`] is written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Replay", rename_all = "snake_case")]
pub(super) enum ReplayWord {
    Old,
    Ignore,
}

/// How [`Prune`] is written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Prune", rename_all = "snake_case")]
pub(super) enum PruneWord {
    Erase,
    Keep,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drawn_scenario_survives_being_written_and_read() {
        for seed in 0..300 {
            let scenario = Scenario::draw(seed);
            assert_eq!(Scenario::from_json(&scenario.to_json()), Ok(scenario), "seed {seed}");
        }
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_the_reason() {
        let good = Scenario::draw(1).to_json();
        let refused = |text: &str| Scenario::from_json(text).expect_err("it is no plan").to_string();
        assert!(refused("{}").contains("missing field `parameters`"));
        assert!(
            refused(&good.replacen("\"plan\":[", "\"plan\":[{\"at\":0.0,\"action\":{\"start\":4000}},", 1))
                .contains("host 4000")
        );
        assert!(
            refused(&good.replacen("\"plan\":[", "\"plan\":[{\"at\":9e5,\"action\":\"heal\"},", 1))
                .contains("not in order of time")
        );
        assert!(
            refused(&good.replacen("\"plan\":[", "\"plan\":[{\"at\":-1,\"action\":\"heal\"},", 1))
                .contains("-1 s")
        );
    }
}
