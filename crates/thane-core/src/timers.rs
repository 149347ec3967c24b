//! Everything that will happen later, as one ordered table with one earliest moment.

use std::collections::BTreeMap;

use crate::output::{OpId, StreamId};
use crate::table::MemberId;
use crate::time::Time;

/// What is to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Begin the next probe.
    ProbeTick,
    /// The direct ping of probe `seq` is not answered as soon as usual: look whether anybody listens.
    ProbeLook { seq: u32 },
    /// The direct ping of probe `seq` is late: ask others.
    ProbeTimeout { seq: u32 },
    /// Probe `seq` is over.
    ProbeDeadline { seq: u32 },
    /// A stage of look `seq` is over.
    LookStep { seq: u32 },
    /// The next ping of a trial, or its end.
    TrialStep { number: u32 },
    /// Who answers only now and then, and who does again?
    SteadyTick,
    /// A ping relayed for somebody got no answer.
    RelayExpired { seq: u32 },
    /// Gossip to some members.
    GossipTick,
    /// News could not go out at once because others just had.
    SpreadNow,
    /// Exchange full state with one member.
    PushPullTick,
    /// Exchange full state out of turn, because many are new to each other.
    ExtraPushPull,
    /// A member's suspicion runs out. `serial` tells it from a later suspicion of the same member.
    SuspicionEnd { member: MemberId, serial: u64 },
    /// A stream has made no progress for too long.
    StreamDeadline { stream: StreamId },
    /// Forget members that are long gone.
    ReapTick,
    /// Try to reach a failed member.
    ReconnectTick,
    /// Look at the queues' depth.
    QueueTick,
    /// A stage of a command has taken too long, or its waiting is over.
    OpStage { op: OpId },
    /// A query of ours ends.
    QueryEnd { ltime: u64, id: u32 },
    /// Try the members of an earlier life anew.
    RejoinTick,
    /// Look whether anybody else is there, or try the seeds anew.
    SeedsTick,
    /// Ask a member that was forgotten as failed whether it is there.
    LostTick,
    /// A leaving member that is to be erased has had time to finish.
    PruneWait { name: std::sync::Arc<str> },
}

/// Names one entry, to cancel it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerKey(Time, u64);

/// Timers ordered by time, then by the order in which they were set.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    entries: BTreeMap<TimerKey, Timer>,
    next_number: u64,
}

impl Timers {
    pub(crate) fn set(&mut self, at: Time, timer: Timer) -> TimerKey {
        let key = TimerKey(at, self.next_number);
        self.next_number += 1;
        self.entries.insert(key, timer);
        key
    }

    pub(crate) fn cancel(&mut self, key: TimerKey) {
        self.entries.remove(&key);
    }

    /// The earliest moment, or [`Time::NEVER`].
    pub(crate) fn next_at(&self) -> Time {
        self.entries.first_key_value().map_or(Time::NEVER, |(key, _)| key.0)
    }

    /// Takes the earliest timer that is due.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<Timer> {
        let first = self.entries.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}
