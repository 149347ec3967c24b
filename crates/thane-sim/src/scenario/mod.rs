//! A mix of faults drawn from a seed, and the run of it under all checkers.

mod deeds;
mod draw;
mod file;
mod order;
mod run;

pub use file::PlanError;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thane_core::{Detector, Prune, Replay, Time};

use crate::byzantine::Byzantine;
use crate::check::{Violation, Watch};
use crate::clock::Clock;
use crate::disk::DiskFault;
use crate::network::{LinkFault, Quality, Topology};
use crate::trace::TraceHash;
use crate::world::{Crash, HostId, Tally, World};

/// What is drawn once for a whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Where everything comes from.
    pub seed: u64,
    /// Hosts, each with a name of its own.
    pub hosts: usize,
    /// The settings: LAN or local profile.
    pub profile: Profile,
    /// By which rules they judge each other.
    #[serde(default)]
    pub rules: Rules,
    /// Whether packets and streams are encrypted.
    pub encrypted: bool,
    /// Whether the cluster has a label.
    pub labelled: bool,
    /// Whether packets are compressed.
    pub compressed: bool,
    /// Whether joins ask for old user events.
    #[serde(with = "file::ReplayWord")]
    pub replay: Replay,
    /// When the faults begin.
    #[serde(with = "file::moment")]
    pub faults_from: Time,
    /// When they stop.
    #[serde(with = "file::moment")]
    pub faults_until: Time,
    /// The network while there are faults.
    pub quality: Quality,
}

/// Which of Serf's profiles the nodes run with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// For one data centre.
    Lan,
    /// For one machine.
    Local,
}

/// By which rules the nodes find failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rules {
    /// [`Detector::thane`] everywhere.
    #[default]
    Thane,
    /// Serf's rules everywhere: [`Detector::lifeguard`].
    Serf,
    /// [`Detector::eager`] everywhere.
    Eager,
    /// [`Detector::steady`] everywhere.
    Steady,
    /// Of each four hosts one with each of these, the first with [`Detector::steady`].
    Mixed,
}

impl Rules {
    /// As in a plan.
    pub fn name(self) -> &'static str {
        match self {
            Self::Thane => "thane",
            Self::Serf => "serf",
            Self::Eager => "eager",
            Self::Steady => "steady",
            Self::Mixed => "mixed",
        }
    }

    /// Those of the host of this number.
    pub(crate) fn of(self, number: usize) -> Detector {
        match (self, number % 4) {
            (Self::Steady, _) | (Self::Mixed, 0) => Detector::steady(),
            (Self::Serf, _) | (Self::Mixed, 1) => Detector::lifeguard(),
            (Self::Thane, _) | (Self::Mixed, 2) => Detector::thane(),
            (Self::Eager | Self::Mixed, _) => Detector::eager(),
        }
    }
}

/// One thing done to the world. What is not possible when its time comes (say, to pause a process that is not running) is
/// left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Start a process, which joins through others until it succeeds.
    Start(HostId),
    /// End a process without a word.
    Crash(HostId, Crash),
    /// Let a process stand still.
    Pause(HostId, #[serde(with = "crate::span")] Duration),
    /// Split these hosts off.
    Partition(Vec<HostId>),
    /// Cut one direction.
    CutOneWay(HostId, HostId),
    /// End all partitions, cuts and faults between some hosts.
    Heal,
    /// Put hosts where they are, at the beginning.
    Topology(Topology),
    /// Give a host a clock that goes wrong, before anything runs on it.
    Clock(HostId, Clock),
    /// Give a host a disk, on which its processes keep a snapshot and their key ring; with true, who left is to look for the
    /// others all the same.
    Disk(HostId, bool),
    /// Change what some hosts send to some others, for this long.
    Fault(LinkFault, #[serde(with = "crate::span")] Duration),
    /// Let a machine take so long over each input, for this long.
    Slow(HostId, #[serde(with = "crate::span")] Duration, #[serde(with = "crate::span")] Duration),
    /// Let whatever a process exchanges with others wait, for this long, while its timers go on.
    Block(HostId, #[serde(with = "crate::span")] Duration),
    /// Break a host's disk, for this long.
    BreakDisk(HostId, DiskFault, #[serde(with = "crate::span")] Duration),
    /// Start a process with the files of the last one.
    Restart(HostId),
    /// Let a peer begin to send what no node would, until all faults stop.
    Byzantine(Byzantine),
    /// Ask all members something.
    Query(HostId),
    /// Bring a new key in and the old one out, each step when the last one was done by all.
    RotateKeys(HostId),
    /// Send a user event.
    UserEvent(HostId),
    /// Change the tags.
    SetTags(HostId),
    /// Leave gracefully.
    Leave(HostId),
    /// Tell the cluster that a member has left for good, whether or not that is true.
    ForceLeave {
        /// Who tells.
        by: HostId,
        /// Whom it is about.
        target: HostId,
        /// Whether the member is erased too.
        #[serde(with = "file::PruneWord")]
        prune: Prune,
    },
}

/// An action and its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// When.
    #[serde(with = "file::moment")]
    pub at: Time,
    /// What.
    pub action: Action,
}

/// A cluster, its faults, and what is done to it. Drawn with [`Scenario::draw`], put together by hand, or read from a file
/// ([`Scenario::from_json`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What holds for the whole run.
    pub parameters: Parameters,
    /// What is done, in order of time.
    pub plan: Vec<Planned>,
}

impl Scenario {
    /// Runs it under all checkers. Faults first; then the network heals, and the cluster must agree within
    /// [`crate::bounds::convergence_bound`]; then events, tags, a crash and a leave in good order must reach everybody.
    ///
    /// # Errors
    /// The first rule that was broken, with everything that is needed to run it again.
    pub fn run(&self) -> Result<Report, Box<Failure>> {
        self.run_with(&|_| {})
    }

    /// The same in a world in which something is changed before anything happens: a planted bug, to prove that a checker catches
    /// it, through [`World::sabotage`] or [`Watch::tamper`].
    ///
    /// # Errors
    /// As [`Scenario::run`].
    pub fn run_with(&self, prepare: &Prepare<'_>) -> Result<Report, Box<Failure>> {
        run::run(self, prepare)
    }
}

/// What is done to a world whose hosts are there and on which nothing runs yet.
pub type Prepare<'a> = dyn Fn(&mut World<Watch>) + 'a;

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let it = &self.parameters;
        writeln!(f, "seed {}: {} hosts, {:?} profile, {:?} rules", it.seed, it.hosts, it.profile, it.rules)?;
        writeln!(
            f,
            "  encrypted {}, labelled {}, compressed {}, joins ask for {:?} events",
            it.encrypted, it.labelled, it.compressed, it.replay
        )?;
        writeln!(f, "  faults from {} until {}, with {:?}", it.faults_from, it.faults_until, it.quality)?;
        for planned in &self.plan {
            writeln!(f, "  {} {:?}", planned.at, planned.action)?;
        }
        Ok(())
    }
}

/// A run that kept all rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// Hosts.
    pub hosts: usize,
    /// What really happened.
    pub tally: Tally,
    /// Time from the end of the faults until all views agreed, and stayed so.
    pub healing: Duration,
    /// [`crate::bounds::typical_healing`] for it.
    pub healing_typical: Duration,
    /// How often an operator had to join parts that knew nothing of each other.
    pub operator_joins: u64,
    /// How often an operator had to start a process anew because it lacked the keys of the others, or lost its name to a liar.
    pub operator_restarts: u64,
    /// Queries asked while there were faults.
    pub queries_asked: u64,
    /// Changes of keys that all members carried out while there were faults.
    pub keys_rotated: u64,
    /// User events sent.
    pub events_sent: u64,
    /// Virtual time that passed.
    pub virtual_time: Duration,
    /// The hash of the whole run.
    pub trace: TraceHash,
}

/// A run that broke a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// What was run.
    pub scenario: Scenario,
    /// When it failed, in virtual time.
    pub at: Time,
    /// What really happened until then.
    pub tally: Tally,
    /// What failed.
    pub cause: FailureCause,
    /// The last happenings, one a line.
    pub history: Vec<String>,
}

/// How a run failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureCause {
    /// A checker objected.
    Violation(Violation),
    /// The cluster did not come to agree within the bound; what it disagreed about in the end.
    Disagreement {
        /// The bound.
        bound: Duration,
        /// What was to be agreed on.
        about: &'static str,
        /// The differences.
        differences: Vec<String>,
    },
    /// The code panicked: an assertion of the core, or an invariant that it checks itself.
    Panic(String),
}

impl fmt::Display for FailureCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation(violation) => write!(f, "{violation}"),
            Self::Disagreement { bound, about, differences } => {
                write!(f, "no agreement about {about} within {bound:?}:")?;
                for difference in differences.iter().take(20) {
                    write!(f, "\n  {difference}")?;
                }
                Ok(())
            }
            Self::Panic(message) => write!(f, "panic: {message}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.scenario)?;
        writeln!(f, "the last things that happened:")?;
        for line in &self.history {
            writeln!(f, "  {line}")?;
        }
        write!(f, "FAILED at {}: {}", self.at, self.cause)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests;
