//! The charts: what is on them, as numbers.

use serde::Serialize;

use crate::lab::report::{Report, Sample, Spread};
use crate::lab::statistics::quantile;
use crate::lab::study::Study;

/// Points of a curve; more would not be seen.
const POINTS_MAX: usize = 240;
/// Faults that are shaded on a chart.
const MARKS_MAX: usize = 60;

/// One chart.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    pub(super) id: &'static str,
    #[serde(skip)]
    pub(super) title: String,
    #[serde(skip)]
    pub(super) about: String,
    x: Axis,
    y: Axis,
    series: Vec<Series>,
    marks: Vec<Mark>,
}

/// What an axis counts.
#[derive(Debug, Serialize)]
struct Axis {
    label: &'static str,
    /// `s`, `share`, `count` or `bytes`.
    unit: &'static str,
    /// Where it ends; with the greatest value if nothing is said.
    max: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Series {
    name: String,
    /// Which of the colours.
    colour: usize,
    /// `line`, `step` or `bars`; a band goes along with a line.
    kind: &'static str,
    points: Vec<[f64; 2]>,
    /// Least and most, for each point.
    band: Vec<[f64; 2]>,
}

/// A fault.
#[derive(Debug, Serialize)]
struct Mark {
    what: String,
    from: f64,
    until: f64,
}

/// All charts that have something on them, for one study or for two.
pub(super) fn charts(studies: &[(&str, &Study)]) -> Vec<Chart> {
    [detection(studies), spreading(studies), views(studies), alarms(studies), traffic(studies)]
        .into_iter()
        .filter(|chart| chart.series.iter().any(|series| !series.points.is_empty()))
        .collect()
}

/// `A: what`, or just what.
fn named(study: &str, what: &str) -> String {
    match (study, what) {
        ("", _) => what.to_owned(),
        (_, "") => study.to_owned(),
        _ => format!("{study}: {what}"),
    }
}

/// Every n-th of many, and the last.
fn thinned<T: Copy>(points: &[T]) -> Vec<T> {
    let step = points.len().div_ceil(POINTS_MAX).max(1);
    let mut thin: Vec<T> = points.iter().step_by(step).copied().collect();
    if points.len() % step != 1 && step > 1 {
        thin.extend(points.last());
    }
    thin
}

fn seeds_note(studies: &[(&str, &Study)]) -> String {
    let first = studies.first().and_then(|(_, study)| study.reports.first());
    match first {
        Some(report) if studies.iter().any(|(_, study)| study.reports.len() > 1) => {
            format!(" This is the run with seed {}.", report.seed)
        }
        _ => String::new(),
    }
}

fn detection(studies: &[(&str, &Study)]) -> Chart {
    let mut series = Vec::new();
    for (number, (name, study)) in studies.iter().enumerate() {
        let crashes: Vec<_> = study.reports.iter().flat_map(|report| &report.crashes).collect();
        let mut all: Vec<f32> = crashes.iter().flat_map(|crash| &crash.delays).copied().collect();
        let pairs = all.len() + crashes.iter().map(|crash| crash.unaware).sum::<usize>();
        all.sort_by(f32::total_cmp);
        let curve = |sorted: &[f32], of: usize| {
            let points: Vec<[f64; 2]> = sorted
                .iter()
                .enumerate()
                .map(|(index, delay)| [f64::from(*delay), (index + 1) as f64 / of.max(1) as f64])
                .collect();
            thinned(&points)
        };
        let mut first: Vec<f32> = crashes.iter().filter_map(|crash| crash.delays.first()).copied().collect();
        first.sort_by(f32::total_cmp);
        let (first_colour, all_colour) = if studies.len() > 1 { (number + 2, number) } else { (2, 0) };
        for (what, colour, points) in [
            ("the first member knows", first_colour, curve(&first, crashes.len())),
            ("members that know", all_colour, curve(&all, pairs)),
        ] {
            series.push(Series { name: named(name, what), colour, kind: "step", points, band: Vec::new() });
        }
    }
    Chart {
        id: "detection",
        title: "How fast crashes are known".to_owned(),
        about: "The share of crashes of which the first member knew, and of all members that knew of a crash, within a \
                time. Right is slow; a curve that does not reach the top leaves members untold."
            .to_owned(),
        x: Axis { label: "time since the crash", unit: "s", max: None },
        y: Axis { label: "share", unit: "share", max: Some(1.0) },
        series,
        marks: Vec::new(),
    }
}

fn spreading(studies: &[(&str, &Study)]) -> Chart {
    let mut series = Vec::new();
    for (number, (name, study)) in studies.iter().enumerate() {
        let events: Vec<&Spread> = study.reports.iter().flat_map(|report| &report.events).collect();
        let (mut points, mut band) = (Vec::new(), Vec::new());
        for percent in 1..=100_u32 {
            let share = f64::from(percent) / 100.0;
            let reached = |event: &&Spread| {
                let needed = (share * event.members as f64).ceil() as usize;
                event.delays.get(needed.max(1) - 1).copied()
            };
            let mut times: Vec<f32> = events.iter().filter_map(reached).collect();
            // Once half of the events have not come that far there is no middle one.
            if times.is_empty() || times.len() * 2 < events.len() {
                break;
            }
            times.sort_by(f32::total_cmp);
            let at = |share| quantile(&times, share).map_or(0.0, f64::from);
            points.push([at(0.5), share]);
            band.push([at(0.05), at(0.95)]);
        }
        let name = named(name, "events, half of them faster");
        series.push(Series { name, colour: number, kind: "line", points, band });
    }
    Chart {
        id: "spread",
        title: "How a user event spreads".to_owned(),
        about: "The share of the members that have an event within a time after it was sent: the event in the middle, and \
                between which times 90 % of the events are."
            .to_owned(),
        x: Axis { label: "time since it was sent", unit: "s", max: None },
        y: Axis { label: "members", unit: "share", max: Some(1.0) },
        series,
        marks: Vec::new(),
    }
}

/// A chart over the time of the first run of each study.
fn over_time(
    studies: &[(&str, &Study)],
    id: &'static str,
    title: &str,
    about: &str,
    y: Axis,
    curves: impl Fn(&Report) -> Vec<(&'static str, &'static str, Vec<[f64; 2]>)>,
) -> Chart {
    let mut series = Vec::new();
    for (number, (name, study)) in studies.iter().enumerate() {
        let Some(report) = study.reports.first() else { continue };
        for (place, (what, kind, points)) in curves(report).into_iter().enumerate() {
            let colour = if studies.len() > 1 { number + 2 * place } else { [0, 2][place % 2] };
            series.push(Series { name: named(name, what), colour, kind, points, band: Vec::new() });
        }
    }
    let first = studies.first().and_then(|(_, study)| study.reports.first());
    let faults = first.map(|report| report.faults.as_slice()).unwrap_or_default();
    let marks = faults.iter().take(MARKS_MAX);
    let marks = marks.map(|it| Mark { what: it.what.clone(), from: it.from, until: it.until }).collect();
    let end =
        studies.iter().filter_map(|(_, study)| Some(study.reports.first()?.seconds)).fold(0.0, f64::max);
    Chart {
        id,
        title: title.to_owned(),
        about: format!("{about}{}", seeds_note(studies)),
        x: Axis { label: "time", unit: "s", max: Some(end) },
        y,
        series,
        marks,
    }
}

fn views(studies: &[(&str, &Study)]) -> Chart {
    over_time(
        studies,
        "views",
        "Members whose list is wrong",
        "How many members list somebody who is not there, or miss somebody who is.",
        Axis { label: "members", unit: "count", max: None },
        |report| {
            let curve: Vec<[f64; 2]> =
                binned(&report.samples).iter().map(|sample| [sample.at, sample.differing as f64]).collect();
            vec![("members with a wrong list", "step", curve)]
        },
    )
}

fn alarms(studies: &[(&str, &Study)]) -> Chart {
    let mut chart = over_time(
        studies,
        "alarms",
        "Suspicions and false alarms",
        "How many suspicions members began, and how often one was declared failed that was up, well and reachable; for each \
         stretch of time.",
        Axis { label: "number", unit: "count", max: None },
        |report| {
            let bins = coarse(&report.samples);
            let curve = |of: fn(&Sample) -> u64| bins.iter().map(|bin| [bin.at, of(bin) as f64]).collect();
            vec![
                ("suspicions", "bars", curve(|bin| bin.suspicions)),
                ("false alarms", "bars", curve(|bin| bin.wrong_alarms)),
            ]
        },
    );
    if chart.series.iter().all(|series| series.points.iter().all(|[_, count]| *count <= 0.0)) {
        chart.series.clear();
    }
    chart
}

fn traffic(studies: &[(&str, &Study)]) -> Chart {
    over_time(
        studies,
        "traffic",
        "What a member sends",
        "Bytes a second that a member sends on average, without the headers of UDP, TCP and IP.",
        Axis { label: "a member, a second", unit: "bytes", max: None },
        |report| {
            let bins = coarse(&report.samples);
            let mut before = 0.0;
            let mut spans: Vec<f64> = Vec::new();
            for bin in &bins {
                spans.push((bin.at - before).max(1e-3));
                before = bin.at;
            }
            let curve = |of: fn(&Sample) -> u64| {
                let rate =
                    |(bin, span): (&Sample, &f64)| [bin.at, of(bin) as f64 / span / bin.up.max(1) as f64];
                bins.iter().zip(&spans).map(rate).collect()
            };
            vec![
                ("over UDP", "line", curve(|bin| bin.packet_bytes)),
                ("over TCP", "line", curve(|bin| bin.stream_bytes)),
            ]
        },
    )
}

/// Samples put together so that no more points are left than can be seen.
fn binned(samples: &[Sample]) -> Vec<Sample> {
    merged(samples, POINTS_MAX)
}

/// The same for what is counted in stretches of time: those should be wide enough to compare.
fn coarse(samples: &[Sample]) -> Vec<Sample> {
    merged(samples, 60)
}

fn merged(samples: &[Sample], most: usize) -> Vec<Sample> {
    let step = samples.len().div_ceil(most).max(1);
    let bins = samples.chunks(step).map(|chunk| {
        let mut bin = chunk[0];
        chunk[1..].iter().for_each(|next| bin.absorb(next));
        bin
    });
    bins.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_loses_nothing() {
        let samples: Vec<Sample> = (1..=1000_u32)
            .map(|number| Sample {
                at: f64::from(number),
                packets: 1,
                differing: number as usize % 7,
                ..Sample::default()
            })
            .collect();
        let bins = coarse(&samples);
        assert!(bins.len() <= 60, "{}", bins.len());
        assert_eq!(bins.iter().map(|bin| bin.packets).sum::<u64>(), 1000);
        assert_eq!(bins.last().map(|bin| bin.at), Some(1000.0));
        assert!(bins.iter().all(|bin| bin.differing == 6), "each bin has its worst moment");
    }

    #[test]
    fn thin_curves_keep_both_ends() {
        for count in [1, 2, 239, 240, 241, 480, 481, 1000, 100_001] {
            let points: Vec<usize> = (0..count).collect();
            let thin = thinned(&points);
            assert!(thin.len() <= POINTS_MAX + 1, "{count}: {}", thin.len());
            assert_eq!((thin.first(), thin.last()), (points.first(), points.last()), "{count}");
        }
    }
}
