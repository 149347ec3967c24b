//! The last minute in memory, in intervals of ten seconds. (armon/go-metrics: `inmem.go` and `inmem_signal.go`.)

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Kind;
use super::names::Name;

/// Length of an interval, in seconds.
const INTERVAL_SECONDS: i64 = 10;

/// Intervals kept, the running one included.
const INTERVALS_MAX: usize = 6;

/// When something was observed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Timestamp,
    pub(super) since_start: Duration,
}

/// What was observed in the last minute.
#[derive(Debug)]
pub(super) struct Intervals {
    kept: VecDeque<Interval>,
}

#[derive(Debug)]
struct Interval {
    start: Timestamp,
    metrics: BTreeMap<(Kind, Name), Aggregate>,
}

/// Observations of one metric in one interval.
#[derive(Debug, Clone)]
struct Aggregate {
    count: u64,
    sum: f64,
    sum_of_squares: f64,
    min: f64,
    max: f64,
    last: f64,
    updated: Moment,
}

impl Intervals {
    pub(super) fn new(now: Timestamp) -> Self {
        let first = Interval { start: start_of(now), metrics: BTreeMap::new() };
        Self { kept: VecDeque::from([first]) }
    }

    /// Begins a new interval if it is time. An interval without any metric is not kept.
    pub(super) fn advance(&mut self, now: Timestamp) {
        let start = start_of(now);
        if self.kept.back().is_some_and(|running| running.start == start) {
            return;
        }
        self.kept.push_back(Interval { start, metrics: BTreeMap::new() });
        while self.kept.len() > INTERVALS_MAX {
            self.kept.pop_front();
        }
    }

    /// Adds `count` observations that come to `value` together; a gauge has this value from now on.
    pub(super) fn add(&mut self, name: &Name, kind: Kind, count: u64, value: f64, updated: Moment) {
        let Some(running) = self.kept.back_mut() else { return };
        let each = value / count.max(1) as f64;
        let fresh = || Aggregate {
            count: 0,
            sum: 0.0,
            sum_of_squares: 0.0,
            min: each,
            max: each,
            last: value,
            updated,
        };
        let aggregate = running.metrics.entry((kind, name.clone())).or_insert_with(fresh);
        aggregate.count += count;
        aggregate.sum += value;
        aggregate.sum_of_squares += each * each * count as f64;
        aggregate.min = aggregate.min.min(each);
        aggregate.max = aggregate.max.max(each);
        aggregate.last = value;
        aggregate.updated = updated;
    }

    /// All intervals but the running one.
    pub(super) fn dump(&self, gauge_prefix: &str) -> String {
        let mut text = String::new();
        for interval in self.kept.iter().take(self.kept.len().saturating_sub(1)) {
            let time = go_time(interval.start);
            for ((kind, name), aggregate) in &interval.metrics {
                // Writing to a String cannot fail.
                _ = match kind {
                    Kind::Gauge => {
                        let name = name.under(gauge_prefix).text();
                        writeln!(text, "[{time}][G] '{name}': {:.3}", aggregate.last)
                    }
                    Kind::Counter => {
                        writeln!(text, "[{time}][C] '{}': {}", name.text(), aggregate.describe())
                    }
                    Kind::Timer => writeln!(text, "[{time}][S] '{}': {}", name.text(), aggregate.describe()),
                };
            }
        }
        text
    }
}

impl Aggregate {
    fn deviation(&self) -> f64 {
        let count = self.count as f64;
        let divisor = count * (count - 1.0);
        let variance = (count * self.sum_of_squares - self.sum * self.sum) / divisor;
        // What rounding leaves of equal values is no deviation.
        if divisor <= 0.0 || variance <= f64::EPSILON * self.sum_of_squares { 0.0 } else { variance.sqrt() }
    }

    fn describe(&self) -> String {
        let Self { count, sum, min, max, .. } = self;
        let updated = format!(
            "{} m=+{}.{:09}",
            go_time(self.updated.now),
            self.updated.since_start.as_secs(),
            self.updated.since_start.subsec_nanos()
        );
        let deviation = self.deviation();
        if deviation == 0.0 {
            return format!("Count: {count} Sum: {sum:.3} LastUpdated: {updated}");
        }
        let mean = sum / *count as f64;
        format!(
            "Count: {count} Min: {min:.3} Mean: {mean:.3} Max: {max:.3} Stddev: {deviation:.3} Sum: {sum:.3} \
             LastUpdated: {updated}"
        )
    }
}

fn start_of(now: Timestamp) -> Timestamp {
    let seconds = now.as_second().div_euclid(INTERVAL_SECONDS) * INTERVAL_SECONDS;
    Timestamp::from_second(seconds).unwrap_or(now)
}

/// A time as Go prints it: `2026-11-21 19:49:24.5 +0000 UTC`.
fn go_time(time: Timestamp) -> String {
    let local = time.to_zoned(TimeZone::system());
    let fraction = format!("{:09}", local.subsec_nanosecond());
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    let zone = local.strftime("%z %Z").to_string();
    format!("{}{dot}{fraction} {zone}", local.strftime("%Y-%m-%d %H:%M:%S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Moment {
        let now = Timestamp::from_second(1_700_000_000 + second).unwrap();
        Moment { now, since_start: Duration::new(3, 626_376) }
    }

    #[test]
    fn a_completed_interval_is_written_as_serf_writes_it() {
        let mut intervals = Intervals::new(at(0).now);
        for (value, second) in [(19.0, 1), (113.0, 2), (32.0, 3)] {
            intervals.add(&Name::plain("serf.msgs.sent"), Kind::Timer, 1, value, at(second));
        }
        intervals.add(&Name::plain("serf.events"), Kind::Counter, 3, 3.0, at(3));
        intervals.add(&Name::plain("memberlist.health.score"), Kind::Gauge, 1, 2.0, at(4));
        assert_eq!(intervals.dump(""), "", "the running interval is not shown");
        intervals.advance(at(11).now);
        let (start, updated) = (go_time(at(0).now), go_time(at(3).now));
        assert_eq!(
            intervals.dump("serfhost."),
            format!(
                "[{start}][G] 'serf-agent.serfhost.memberlist.health.score': 2.000\n\
                 [{start}][C] 'serf-agent.serf.events': Count: 3 Sum: 3.000 LastUpdated: {updated} m=+3.000626376\n\
                 [{start}][S] 'serf-agent.serf.msgs.sent': Count: 3 Min: 19.000 Mean: 54.667 Max: 113.000 \
                 Stddev: 50.935 Sum: 164.000 LastUpdated: {updated} m=+3.000626376\n"
            )
        );
    }

    #[test]
    fn one_minute_is_kept() {
        let mut intervals = Intervals::new(at(0).now);
        for second in (0..300).step_by(10) {
            intervals.advance(at(second).now);
            intervals.add(&Name::plain("serf.events"), Kind::Counter, 1, 1.0, at(second));
        }
        assert_eq!(intervals.dump("").lines().count(), INTERVALS_MAX - 1);
    }

    #[test]
    fn times_are_written_as_go_writes_them() {
        let time: Timestamp = "2026-11-21T19:49:05.68484824Z".parse().unwrap();
        let text = go_time(time);
        assert!(text.contains(":05.68484824 +") || text.contains(":05.68484824 -"), "{text}");
        assert!(!go_time("2026-11-21T19:49:00Z".parse().unwrap()).contains('.'));
    }
}
