//! A study as text for a terminal.

use super::measures::{Better, MEASURES, Measure, seconds};
use super::report::{Lied, Report, Started};
use super::statistics::Summary;
use super::study::{Comparison, Study};

/// What a study has shown, in a few sentences, the most important first.
pub fn findings(study: &Study) -> Vec<String> {
    let reports = &study.reports;
    let mut told: Vec<String> = of_starts(study).into_iter().collect();
    let crashes: Vec<_> = reports.iter().flat_map(|report| &report.crashes).collect();
    if !crashes.is_empty() {
        let unaware: usize = crashes.iter().map(|crash| crash.unaware).sum();
        let last = crashes.iter().filter_map(|crash| crash.delays.last()).copied().fold(0.0, f32::max);
        let number = counted(crashes.len() as u64, "crash", "crashes");
        told.push(if unaware == 0 {
            format!("Every member knew of {number} within {}.", seconds(f64::from(last)))
        } else {
            let pairs = counted(unaware as u64, "time a member was", "times a member was");
            format!("Of {number}, not everybody was told in time: {pairs} not told of one.")
        });
    }
    let wrong: u64 = reports.iter().map(|report| report.alarms.wrong).sum();
    told.push(if wrong == 0 {
        "No healthy member was declared failed.".to_owned()
    } else {
        let members: u64 = reports.iter().map(|report| report.alarms.wronged_members).sum();
        format!(
            "{} declared failed by somebody, {} in all.",
            counted(members, "healthy member was", "healthy members were"),
            counted(wrong, "time", "times")
        )
    });
    let events: Vec<_> = reports.iter().flat_map(|report| &report.events).collect();
    if !events.is_empty() {
        let missed = events.iter().filter(|event| event.reached < event.members).count() as u64;
        let number = counted(events.len() as u64, "user event", "user events");
        told.push(if missed == 0 {
            format!("{number} reached every member.")
        } else {
            format!("Of {number}, {missed} did not reach every member that was there.")
        });
    }
    told.extend(of_lies(reports));
    if study.setup.rules {
        let mut broken = reports.iter().filter_map(|it| Some((it.seed, it.broken_rule.as_ref()?)));
        told.push(match broken.next() {
            None if study.setup.is_forged() => {
                "Every rule of the protocol that holds in such company was kept.".to_owned()
            }
            None => "Every rule of the protocol was kept.".to_owned(),
            Some((seed, it)) => format!(
                "A rule of the protocol was broken (seed {seed}, after {}, at {}): {}. The rule: {}.",
                seconds(it.at),
                it.member,
                it.what,
                it.rule
            ),
        });
    }
    let open = reports.iter().flat_map(|report| &report.agreements).filter(|it| it.after.is_none());
    let mut never: Vec<&str> = open.map(|it| it.what.as_str()).collect();
    never.dedup();
    if !never.is_empty() {
        never.truncate(5);
        told.push(format!("The lists did not all become right again after: {}.", never.join("; ")));
    }
    if reports.iter().any(|report| report.interrupted) {
        told.push("It was stopped before its end.".to_owned());
    }
    told
}

/// How the cluster came to be.
fn of_starts(study: &Study) -> Option<String> {
    let starts: Vec<_> = study.reports.iter().filter_map(|report| report.start).collect();
    let slowest = |of: fn(&Started) -> Option<f64>| {
        let times: Option<Vec<f64>> = starts.iter().map(of).collect();
        Some(times?.into_iter().fold(0.0, f64::max))
    };
    let nodes = study.setup.nodes;
    if starts.is_empty() {
        return None;
    }
    let Some(last) = slowest(|it| it.last) else {
        return Some(format!("Not all {nodes} members had started by the end."));
    };
    let started = format!("All {nodes} members had started after {}", seconds(last));
    Some(match (slowest(|it| it.complete), slowest(|it| Some(it.complete? - it.last?))) {
        (Some(complete), Some(more)) => {
            format!(
                "{started}, and knew each other {} later, {} after the first start.",
                seconds(more),
                seconds(complete)
            )
        }
        _ => format!("{started}, but did not all come to know each other."),
    })
}

/// What byzantine peers achieved.
fn of_lies(reports: &[Report]) -> Option<String> {
    let lies: Vec<_> = reports.iter().filter_map(|report| report.lies).collect();
    if lies.is_empty() {
        return None;
    }
    let sum = |of: fn(&Lied) -> u64| lies.iter().map(of).sum::<u64>();
    let sent = counted(sum(|it| it.sent), "message of byzantine peers", "messages of byzantine peers");
    let mut came = Vec::new();
    for (count, one, more) in [
        (
            sum(|it| it.false_names as u64),
            "name was listed that never was",
            "names were listed that never were",
        ),
        (sum(|it| it.false_events), "false user event was delivered", "false user events were delivered"),
        (sum(|it| it.stopped), "member lost its name and stopped", "members lost their names and stopped"),
    ] {
        if count > 0 {
            came.push(counted(count, one, more));
        }
    }
    Some(if came.is_empty() {
        format!("Of {sent} none made a member list a false name, deliver a false event or stop.")
    } else {
        format!("By {sent}, {}.", came.join(", "))
    })
}

fn counted(number: u64, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

/// The measures of a study as a table.
pub fn table(study: &Study) -> String {
    let several = study.reports.len() > 1;
    let mut lines = Vec::new();
    for (index, (measure, summary)) in there(study).into_iter().enumerate() {
        heading(&mut lines, measure, index == 0, &|| {
            if several { format!("{:>13}{:>13}{:>13}", "median", "least", "most") } else { String::new() }
        });
        let show = |value| measure.unit.show(value);
        let values = if several {
            let Summary { median, min, max, .. } = summary;
            format!("{:>13}{:>13}{:>13}", show(median), show(min), show(max))
        } else {
            format!("{:>13}", show(summary.median))
        };
        lines.push(format!("  {:<WIDTH$}{values}", measure.title));
    }
    lines.join("\n")
}

/// The width of the column of titles.
const WIDTH: usize = 40;

fn there(study: &Study) -> Vec<(&'static Measure, Summary)> {
    MEASURES.iter().filter_map(|measure| Some((measure, study.summary(measure)?))).collect()
}

/// A measure's group, if the line before was of another one.
fn heading(lines: &mut Vec<String>, measure: &Measure, is_first: bool, columns: &dyn Fn() -> String) {
    let position = MEASURES.iter().position(|it| it.key == measure.key).unwrap_or(0);
    let is_said = MEASURES[..position]
        .iter()
        .any(|it| it.group == measure.group && lines.iter().any(|line| line.starts_with(it.group)));
    if is_said {
        return;
    }
    if !is_first {
        lines.push(String::new());
    }
    lines.push(format!("{:<width$}{}", measure.group, columns(), width = WIDTH + 2).trim_end().to_owned());
}

/// Two studies as a table: each measure's medians over the seeds, and what B is beside A.
pub fn comparison(both: &Comparison) -> String {
    let mut lines = Vec::new();
    for measure in MEASURES {
        let (a, b) = (both.a.summary(measure), both.b.summary(measure));
        if a.is_none() && b.is_none() {
            continue;
        }
        let is_first = lines.is_empty();
        heading(&mut lines, measure, is_first, &|| format!("{:>13}{:>13}  {}", "A", "B", "B beside A"));
        let show = |it: Option<Summary>| it.map_or_else(|| "-".to_owned(), |it| measure.unit.show(it.median));
        let verdict = verdict(measure, both);
        let line = format!("  {:<WIDTH$}{:>13}{:>13}  {verdict}", measure.title, show(a), show(b));
        lines.push(line.trim_end().to_owned());
    }
    lines.join("\n")
}

/// How B is beside A: by how much, and whether that is better for certain, which it is when all runs have the measure and none of one
/// is as good as any of the other.
pub(super) fn verdict(measure: &Measure, both: &Comparison) -> String {
    let (Some(a), Some(b)) = (both.a.summary(measure), both.b.summary(measure)) else { return String::new() };
    if a.median.to_bits() == b.median.to_bits() {
        return "same".to_owned();
    }
    let change = if a.median > 0.0 {
        let percent = (b.median / a.median - 1.0) * 100.0;
        if percent.abs() < 0.5 {
            return "about the same".to_owned();
        }
        if percent.abs() < 300.0 {
            format!("{percent:+.0} %")
        } else {
            format!("x {:.1}", b.median / a.median)
        }
    } else {
        format!("+ {}", measure.unit.show(b.median))
    };
    let is_in_all = a.count == both.a.reports.len() && b.count == both.b.reports.len();
    let apart = is_in_all && a.count > 1 && b.count > 1 && (b.max < a.min || b.min > a.max);
    let is_better = match measure.better {
        Better::Lower => Some(b.median < a.median),
        Better::Higher => Some(b.median > a.median),
        Better::Neither => None,
    };
    match (apart, is_better) {
        (true, Some(true)) => format!("{change}, better in every run"),
        (true, Some(false)) => format!("{change}, worse in every run"),
        _ => change,
    }
}
