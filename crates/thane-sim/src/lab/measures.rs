//! What a run is judged by: one number each.

use super::report::{Crash, Report, Spread};
use super::statistics::quantile;

/// One thing that is measured, as one number a run.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    /// Its name in JSON.
    pub key: &'static str,
    /// The heading it stands under.
    pub group: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    /// What it is counted in.
    pub unit: Unit,
    /// Which of two values is the better one.
    pub better: Better,
    /// Its value in a run; `None` if there was nothing to measure.
    pub of: fn(&Report) -> Option<f64>,
}

/// What a measure is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds of virtual time.
    Seconds,
    /// A number of things.
    Count,
    /// A share of a whole, 0 to 1.
    Share,
    /// Things a second.
    PerSecond,
    /// Bytes a second.
    BytesPerSecond,
}

/// Which of two values is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// The lower.
    Lower,
    /// The higher.
    Higher,
    /// Neither.
    Neither,
}

impl Unit {
    /// Its name in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Count => "count",
            Self::Share => "share",
            Self::PerSecond => "per_second",
            Self::BytesPerSecond => "bytes_per_second",
        }
    }

    /// A value for people: `840 ms`, `12.3 s`, `1.4 kB/s`.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Seconds => seconds(value),
            Self::Count if value.fract() == 0.0 => format!("{value:.0}"),
            Self::Count => format!("{value:.1}"),
            Self::Share => format!("{:.2} %", value * 100.0),
            Self::PerSecond => format!("{value:.2} /s"),
            Self::BytesPerSecond => match value {
                0.0..1e3 => format!("{value:.0} B/s"),
                1e3..1e6 => format!("{:.2} kB/s", value / 1e3),
                _ => format!("{:.2} MB/s", value / 1e6),
            },
        }
    }
}

/// A span for people.
pub(super) fn seconds(value: f64) -> String {
    match value {
        0.0..0.9995 => format!("{:.0} ms", value * 1e3),
        0.0..10.0 => format!("{value:.2} s"),
        0.0..120.0 => format!("{value:.1} s"),
        0.0..7200.0 => format!("{:.1} min", value / 60.0),
        _ => format!("{:.1} h", value / 3600.0),
    }
}

/// The middle one, the value of those that have one.
fn median(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    at_quantile(values, 0.5)
}

fn at_quantile(values: impl Iterator<Item = Option<f64>>, share: f64) -> Option<f64> {
    let mut there: Vec<f64> = values.flatten().collect();
    there.sort_by(f64::total_cmp);
    quantile(&there, share)
}

/// The same where no value means "never": those count as the slowest, and if it falls among them there is none.
fn at_quantile_or_never(times: impl Iterator<Item = Option<f64>>, share: f64) -> Option<f64> {
    at_quantile(times.map(|time| Some(time.unwrap_or(f64::INFINITY))), share).filter(|time| time.is_finite())
}

fn of_crashes(report: &Report, of: fn(&Crash) -> Option<f64>) -> Option<f64> {
    at_quantile_or_never(report.crashes.iter().map(of), 0.5)
}

/// The time within which this share of all members knew of all crashes; those that never did count as the slowest.
fn of_all_who_should_know(report: &Report, share: f64) -> Option<f64> {
    let told = |crash: &Crash| crash.delays.iter().map(|delay| Some(f64::from(*delay))).collect::<Vec<_>>();
    let all = report
        .crashes
        .iter()
        .flat_map(|crash| told(crash).into_iter().chain(std::iter::repeat_n(None, crash.unaware)));
    at_quantile_or_never(all, share)
}

fn of_events(report: &Report, of: fn(&Spread) -> Option<f64>) -> Option<f64> {
    at_quantile_or_never(report.events.iter().map(of), 0.5)
}

/// A value that only makes sense where there is something to count it in.
fn if_any(there: bool, value: u64) -> Option<f64> {
    there.then_some(value as f64)
}

const fn lower(
    group: &'static str,
    key: &'static str,
    title: &'static str,
    unit: Unit,
    of: fn(&Report) -> Option<f64>,
) -> Measure {
    Measure { key, group, title, unit, better: Better::Lower, of }
}

const START: &str = "Coming to be";
const CRASHES: &str = "Finding crashes";
const ALARMS: &str = "False alarms";
const SPREAD: &str = "Spreading user events";
const VIEWS: &str = "Agreeing on who is there";
const LIES: &str = "Lies";
const TRAFFIC: &str = "Traffic of a member";

/// All measures, in the order in which they are shown.
pub const MEASURES: &[Measure] = &[
    Measure {
        better: Better::Neither,
        ..lower(START, "start_last", "the last member starts after", Unit::Seconds, |it| it.start?.last)
    },
    lower(START, "start_complete", "all know each other after", Unit::Seconds, |it| it.start?.complete),
    lower(START, "start_complete_since_last", "that is, after the last start", Unit::Seconds, |it| {
        let start = it.start?;
        Some(start.complete? - start.last?)
    }),
    lower(CRASHES, "crash_suspected", "first suspicion after", Unit::Seconds, |it| {
        of_crashes(it, |crash| crash.suspected)
    }),
    lower(CRASHES, "crash_first", "first member knows after", Unit::Seconds, |it| {
        of_crashes(it, |crash| crash.first)
    }),
    lower(CRASHES, "crash_half", "half of the members know after", Unit::Seconds, |it| {
        of_crashes(it, |crash| crash.half)
    }),
    lower(CRASHES, "crash_last", "the last member knows after", Unit::Seconds, |it| {
        of_crashes(it, |crash| crash.last)
    }),
    lower(CRASHES, "crash_known_p90", "90 % of all members know within", Unit::Seconds, |it| {
        of_all_who_should_know(it, 0.9)
    }),
    lower(CRASHES, "crash_known_p99", "99 % of all members know within", Unit::Seconds, |it| {
        of_all_who_should_know(it, 0.99)
    }),
    lower(CRASHES, "crash_slowest", "slowest of all reports", Unit::Seconds, |it| {
        let last = |crash: &Crash| crash.delays.last().map(|delay| f64::from(*delay));
        at_quantile(it.crashes.iter().map(last), 1.0)
    }),
    lower(CRASHES, "crash_unaware", "members never told of a crash", Unit::Count, |it| {
        if_any(!it.crashes.is_empty(), it.crashes.iter().map(|crash| crash.unaware as u64).sum())
    }),
    lower(ALARMS, "wrong_alarms", "failures declared of healthy members", Unit::Count, |it| {
        Some(it.alarms.wrong as f64)
    }),
    lower(ALARMS, "wrong_alarms_at_healthy", "of these declared by healthy members", Unit::Count, |it| {
        if_any(it.alarms.wrong > 0, it.alarms.wrong_at_healthy)
    }),
    lower(ALARMS, "wronged_members", "members wrongly declared failed", Unit::Count, |it| {
        if_any(it.alarms.wrong > 0, it.alarms.wronged_members)
    }),
    lower(ALARMS, "back_after", "taken back after", Unit::Seconds, |it| {
        it.alarms.back_after_ms_median.map(|millis| millis as f64 / 1e3)
    }),
    lower(ALARMS, "back_after_slowest", "taken back after, slowest", Unit::Seconds, |it| {
        it.alarms.back_after_ms_max.map(|millis| millis as f64 / 1e3)
    }),
    lower(ALARMS, "not_back", "not taken back by the end", Unit::Count, |it| {
        if_any(it.alarms.wrong > 0, it.alarms.not_back)
    }),
    lower(ALARMS, "failed_while_paused", "failures declared of paused members", Unit::Count, |it| {
        if_any(it.alarms.paused > 0, it.alarms.paused)
    }),
    lower(ALARMS, "failed_while_impaired", "failures declared of impaired members", Unit::Count, |it| {
        if_any(it.alarms.impaired > 0, it.alarms.impaired)
    }),
    lower(ALARMS, "failed_while_cut_off", "failures declared across a cut", Unit::Count, |it| {
        if_any(it.alarms.cut_off > 0, it.alarms.cut_off)
    }),
    lower(ALARMS, "failed_late", "failures told of who was back already", Unit::Count, |it| {
        if_any(it.alarms.outdated > 0, it.alarms.outdated)
    }),
    lower(ALARMS, "suspicions_of_the_living", "suspicions of members that were up", Unit::Count, |it| {
        Some(it.alarms.suspicions_of_the_living as f64)
    }),
    lower(SPREAD, "event_half", "half of the members have it after", Unit::Seconds, |it| {
        of_events(it, |event| event.half)
    }),
    lower(SPREAD, "event_nearly_all", "99 % of the members have it after", Unit::Seconds, |it| {
        of_events(it, |event| event.nearly_all)
    }),
    lower(SPREAD, "event_all", "the last member has it after", Unit::Seconds, |it| {
        of_events(it, |event| event.all)
    }),
    lower(SPREAD, "event_slowest", "slowest of all deliveries", Unit::Seconds, |it| {
        let last = |event: &Spread| event.delays.last().map(|delay| f64::from(*delay));
        at_quantile(it.events.iter().map(last), 1.0)
    }),
    lower(SPREAD, "event_missed", "deliveries missing", Unit::Count, |it| {
        let missed = it.events.iter().map(|event| event.members.saturating_sub(event.reached) as u64);
        if_any(!it.events.is_empty(), missed.sum())
    }),
    Measure {
        better: Better::Higher,
        ..lower(SPREAD, "query_acks", "queries: acknowledged by", Unit::Share, |it| {
            (it.queries.acks_expected > 0).then(|| it.queries.acks as f64 / it.queries.acks_expected as f64)
        })
    },
    lower(SPREAD, "query_last_ack", "queries: last acknowledgement after", Unit::Seconds, |it| {
        it.queries.last_ack_median
    }),
    lower(VIEWS, "agreement", "after a change all lists are right in", Unit::Seconds, |it| {
        median(it.agreements.iter().map(|agreement| agreement.after))
    }),
    lower(VIEWS, "agreement_slowest", "the slowest time", Unit::Seconds, |it| {
        at_quantile(it.agreements.iter().map(|agreement| agreement.after), 1.0)
            .filter(|_| it.agreements.len() > 1)
    }),
    lower(VIEWS, "agreement_missing", "changes never agreed on", Unit::Count, |it| {
        let open = it.agreements.iter().filter(|agreement| agreement.after.is_none()).count();
        if_any(!it.agreements.is_empty(), open as u64)
    }),
    lower(VIEWS, "views_differing_most", "most members with a wrong list at a time", Unit::Count, |it| {
        it.samples.iter().map(|sample| sample.differing).max().map(|most| most as f64)
    }),
    lower(VIEWS, "views_wrong_at_end", "members with a wrong list at the end", Unit::Count, |it| {
        Some(it.views_wrong_at_end as f64)
    }),
    lower(VIEWS, "view_sizes", "different cluster sizes seen", Unit::Count, |it| Some(it.view_sizes as f64)),
    Measure {
        better: Better::Neither,
        ..lower(LIES, "lies", "messages of byzantine peers", Unit::Count, |it| Some(it.lies?.sent as f64))
    },
    Measure {
        better: Better::Higher,
        ..lower(LIES, "lies_refused", "packets and messages refused", Unit::Count, |it| {
            Some(it.lies?.refused as f64)
        })
    },
    lower(LIES, "false_names", "names listed that never were", Unit::Count, |it| {
        Some(it.lies?.false_names as f64)
    }),
    lower(LIES, "false_events", "false user events, deliveries", Unit::Count, |it| {
        Some(it.lies?.false_events as f64)
    }),
    lower(LIES, "stopped", "members that lost their name and stopped", Unit::Count, |it| {
        Some(it.lies?.stopped as f64)
    }),
    lower(TRAFFIC, "packets", "UDP packets sent", Unit::PerSecond, |it| Some(it.traffic.packets)),
    lower(TRAFFIC, "packet_bytes", "bytes in UDP packets", Unit::BytesPerSecond, |it| {
        Some(it.traffic.packet_bytes)
    }),
    lower(TRAFFIC, "stream_bytes", "bytes sent over TCP", Unit::BytesPerSecond, |it| {
        Some(it.traffic.stream_bytes)
    }),
    lower(TRAFFIC, "busiest_bytes", "the busiest member sends", Unit::BytesPerSecond, |it| {
        Some(it.traffic.busiest_bytes)
    }),
    lower(TRAFFIC, "peak_bytes", "in the busiest second", Unit::BytesPerSecond, |it| {
        Some(it.traffic.peak_bytes)
    }),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn values_are_shown_as_people_read_them() {
        for (unit, value, shown) in [
            (Unit::Seconds, 0.0, "0 ms"),
            (Unit::Seconds, 0.9999, "1.00 s"),
            (Unit::Seconds, 12.34, "12.3 s"),
            (Unit::Seconds, 600.0, "10.0 min"),
            (Unit::Count, 3.0, "3"),
            (Unit::Count, 3.5, "3.5"),
            (Unit::Share, 0.9999, "99.99 %"),
            (Unit::BytesPerSecond, 1234.0, "1.23 kB/s"),
        ] {
            assert_eq!(unit.show(value), shown);
        }
    }

    #[test]
    fn keys_are_there_once() {
        let keys: BTreeSet<&str> = MEASURES.iter().map(|measure| measure.key).collect();
        assert_eq!(keys.len(), MEASURES.len());
    }
}
