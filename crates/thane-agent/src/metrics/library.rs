//! From the library's counters to Serf's metrics.

use thane::{Counters, IoCounters, Measure, Measurement, Stats};

use super::Kind;

/// Readings between two samples of the queues. (Serf: `config.go`, `QueueCheckInterval`, 30 s.)
const READINGS_PER_QUEUE_SAMPLE: u64 = 30;

/// Readings after which a gauge is told again even if it did not change, so that each interval in memory has it.
const READINGS_PER_GAUGE: u64 = 10;

/// Numbers of the library at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Numbers {
    pub(super) counters: Counters,
    pub(super) io: IoCounters,
    pub(super) stats: Stats,
    /// Tasks of the runtime.
    pub(super) tasks: usize,
}

/// What to record: the name, how many observations, and what they come to together.
type Observation = (&'static str, Kind, u64, f64);

/// The last numbers read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) last: Numbers,
    readings: u64,
}

impl Reading {
    /// What was added since the last reading.
    pub(super) fn take(&mut self, numbers: &Numbers) -> Vec<Observation> {
        let first = self.readings == 0;
        let (before, now) = (&self.last, numbers);
        let mut observed: Vec<Observation> = Vec::new();
        for (name, count, value) in COUNTERS {
            let (values, counts) = (value(&now.counters).saturating_sub(value(&before.counters)), *count);
            let counts =
                counts.map_or(values, |count| count(&now.counters).saturating_sub(count(&before.counters)));
            if values > 0 {
                observed.push((name, Kind::Counter, counts.max(1), values as f64));
            }
        }
        let probes = now.counters.probes.saturating_sub(before.counters.probes);
        if now.stats.health_score > 0 && probes > 0 {
            observed.push(("memberlist.degraded.probe", Kind::Counter, probes, probes as f64));
        }
        let again = self.readings.is_multiple_of(READINGS_PER_GAUGE);
        for (name, value) in GAUGES {
            let number = value(now);
            if first || again || number != value(before) {
                observed.push((name, Kind::Gauge, 1, number as f64));
            }
        }
        if self.readings % READINGS_PER_QUEUE_SAMPLE == READINGS_PER_QUEUE_SAMPLE - 1 {
            for (name, value) in QUEUES {
                observed.push((name, Kind::Timer, 1, value(&now.stats) as f64));
            }
        }
        self.last = *numbers;
        self.readings += 1;
        observed
    }
}

type Count = fn(&Counters) -> u64;
type Gauge = (&'static str, fn(&Numbers) -> u64);
type Queue = (&'static str, fn(&Stats) -> usize);

/// Serf's counters: the name, what counts the observations if that is not the value itself, and the value.
const COUNTERS: &[(&str, Option<Count>, Count)] = &[
    ("memberlist.udp.sent", Some(|c| c.packets_sent), |c| c.packet_bytes_sent),
    ("memberlist.udp.received", Some(|c| c.packets_received), |c| c.packet_bytes_received),
    ("memberlist.tcp.sent", Some(|c| c.push_pulls), |c| c.stream_bytes_sent),
    ("memberlist.tcp.accept", None, |c| c.streams_accepted),
    ("memberlist.tcp.connect", None, |c| c.streams_dialed),
    ("memberlist.msg.alive", None, |c| c.alive_accepted),
    ("memberlist.msg.suspect", None, |c| c.suspect_accepted),
    ("memberlist.msg.dead", None, |c| c.dead_accepted),
    ("memberlist.degraded.timeout", None, |c| c.suspicions_expired_unconfirmed),
    ("serf.member.flap", None, |c| c.member_flaps),
    ("serf.query_acks", None, |c| c.query_acks),
    ("serf.query_responses", None, |c| c.query_responses),
    ("serf.query_duplicate_acks", None, |c| c.query_acks_duplicate),
    ("serf.query_duplicate_responses", None, |c| c.query_responses_duplicate),
    ("serf.coordinate.rejected", None, |c| c.coordinate_rejected),
    ("serf.coordinate.zero-rtt", None, |c| c.coordinate_zero_rtt),
];

/// Gauges.
const GAUGES: &[Gauge] = &[
    ("memberlist.health.score", |n| n.stats.health_score.into()),
    // Differs from Serf, which reads this number two bytes too early, in the middle of the message.
    ("memberlist.size.local", |n| n.stats.local_state_bytes as u64),
    ("memberlist.node.instances.alive", |n| n.stats.live.saturating_sub(n.stats.suspect) as u64),
    ("memberlist.node.instances.suspect", |n| n.stats.suspect as u64),
    ("memberlist.node.instances.dead", |n| n.stats.failed as u64),
    ("memberlist.node.instances.left", |n| n.stats.left as u64),
    // Tasks are to this program what goroutines are to Serf.
    ("runtime.num_goroutines", |n| n.tasks as u64),
];

/// Under which name Serf tells what the library measured, and its value in Serf's unit.
pub(super) fn sample(measurement: &Measurement) -> Option<(&'static str, f64)> {
    let (value, milliseconds) = (measurement.value, measurement.value * 1_000.0);
    Some(match measurement.measure {
        Measure::GossipRound => ("memberlist.gossip", milliseconds),
        Measure::Probe => ("memberlist.probeNode", milliseconds),
        Measure::StateExchange => ("memberlist.pushPullNode", milliseconds),
        Measure::RemoteState => ("memberlist.size.remote", value),
        Measure::MessageSent => ("serf.msgs.sent", value),
        Measure::MessageReceived => ("serf.msgs.received", value),
        Measure::CoordinateMoved => ("serf.coordinate.adjustment-ms", milliseconds),
        Measure::SnapshotAppend => ("serf.snapshot.appendLine", milliseconds),
        Measure::SnapshotCompact => ("serf.snapshot.compact", milliseconds),
        _ => return None,
    })
}

const QUEUES: &[Queue] = &[
    ("serf.queue.Intent", |s| s.intent_queue),
    ("serf.queue.Event", |s| s.event_queue),
    ("serf.queue.Query", |s| s.query_queue),
    ("memberlist.queue.broadcasts", |s| s.membership_queue),
];
