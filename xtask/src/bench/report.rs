//! What a bench has found: a table, JSON, and which of the bars held.

use super::{Cluster, Times, storm::Alarm, storm::Spell};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// How soon a Thane cluster shall know of a killed process, as a part of Serf's time.
const QUARTER: f64 = 0.25;

#[derive(Debug)]
pub(super) struct Report<'a> {
    clusters: &'a [Cluster],
    spells: &'a [Spell],
    bars: Vec<Bar>,
}

/// Something that was asked for, and whether it is so.
#[derive(Debug)]
struct Bar {
    what: String,
    held: bool,
}

impl<'a> Report<'a> {
    pub(super) fn of(clusters: &'a [Cluster], spells: &'a [Spell]) -> Self {
        let [serf, thane, mixed] = [0, 1, 2].map(|at| &clusters[at]);
        let all_know = |cluster: &Cluster| median(&cluster.killed.last);
        let ratio = |cluster| all_know(cluster) / all_know(serf);
        let mut bars = vec![
            Bar {
                what: format!(
                    "Thane tells all of a killed process in at most a quarter of Serf's time: {:.2} of it",
                    ratio(thane)
                ),
                held: ratio(thane) <= QUARTER,
            },
            Bar {
                what: format!("a mixed cluster is no later than Serf: {:.2} of its time", ratio(mixed)),
                held: ratio(mixed) <= 1.0,
            },
        ];
        for cluster in [thane, mixed] {
            let (ours, serfs) = (cluster.alarms.len(), serf.alarms.len());
            bars.push(Bar {
                what: format!(
                    "{} has no more false alarms in the storm than Serf: {ours} and {serfs}",
                    cluster.kind
                ),
                held: no_more(ours, serfs),
            });
        }
        bars.push(Bar {
            what: format!("outside the storm Thane tells of nobody that lives: {}", thane.others_told),
            held: thane.others_told == 0,
        });
        Self { clusters, spells, bars }
    }

    pub(super) fn held(&self) -> bool {
        self.bars.iter().all(|bar| bar.held)
    }

    pub(super) fn table(&self) -> String {
        let mut out = String::from("==> seconds until members know: median (least to most)\n");
        let columns = ["killed: first", "killed: all", "paused: first", "paused: all"];
        _ = writeln!(out, "    {:6}{}", "", columns.map(|it| format!("{it:>22}")).concat());
        for Cluster { kind, killed, paused, .. } in self.clusters {
            let figures = [&killed.first, &killed.last, &paused.first, &paused.last];
            _ = writeln!(out, "    {kind:6}{}", figures.map(|it| format!("{:>22}", summary(it))).concat());
        }
        let stops = self.spells.iter().filter(|spell| !spell.starved).count();
        _ = writeln!(
            out,
            "==> false alarms while members were stopped ({stops} times) and starved ({} times)",
            self.spells.len() - stops
        );
        let columns = ["of stopped", "of starved", "of well ones", "alarms", "members told", "otherwise"];
        _ = writeln!(out, "    {:6}{}", "", columns.map(|it| format!("{it:>14}")).concat());
        for Cluster { kind, alarms, others_told, .. } in self.clusters {
            let of = |wanted: Option<bool>| {
                let starved = |it: &&Alarm| it.spell.map(|(spell, _)| spell.starved) == wanted;
                alarms.iter().filter(starved).count()
            };
            let told: usize = alarms.iter().map(|it| it.told_by).sum();
            let figures = [of(Some(false)), of(Some(true)), of(None), alarms.len(), told, *others_told];
            _ = writeln!(out, "    {kind:6}{}", figures.map(|it| format!("{it:>14}")).concat());
        }
        for Cluster { kind, alarms, .. } in self.clusters {
            for alarm in alarms {
                _ = writeln!(out, "    {kind:6}{alarm}");
            }
        }
        for bar in &self.bars {
            _ = writeln!(out, "==> {:12} {}", if bar.held { "held" } else { "DID NOT HOLD" }, bar.what);
        }
        out
    }

    pub(super) fn json(&self) -> Value {
        let times = |times: &Times| json!({"first": times.first, "all": times.last});
        let alarm = |alarm: &Alarm| {
            json!({
                "member": alarm.victim,
                "judge": alarm.judge,
                "told_by": alarm.told_by,
                "judge_was_sick": alarm.judge_was_sick,
                "spell": alarm.spell.map(|(spell, after)| json!({
                    "kind": if spell.starved { "starved" } else { "stopped" },
                    "seconds": after.as_secs_f64(),
                })),
            })
        };
        let cluster = |cluster: &Cluster| {
            json!({
                "cluster": cluster.kind,
                "agents": cluster.herd.len(),
                "killed_seconds": times(&cluster.killed),
                "paused_seconds": times(&cluster.paused),
                "false_alarms": cluster.alarms.iter().map(alarm).collect::<Vec<_>>(),
                "false_alarms_otherwise": cluster.others_told,
            })
        };
        json!({
            "clusters": self.clusters.iter().map(cluster).collect::<Vec<_>>(),
            "spells": self.spells.len(),
            "bars": self.bars.iter().map(|bar| json!({"what": bar.what, "held": bar.held})).collect::<Vec<_>>(),
            "held": self.held(),
        })
    }
}

/// Whether a count is no more than another, as far as counts of chance can tell: two standard deviations of their difference are allowed.
fn no_more(ours: usize, serfs: usize) -> bool {
    ours as f64 <= serfs as f64 + 2.0 * ((ours + serfs) as f64).sqrt()
}

fn summary(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if values.is_empty() { "-".into() } else { format!("{:.2} ({least:.2} to {most:.2})", median(values)) }
}

/// The middle one, or the mean of the two in the middle; NaN of none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match (sorted.len() / 2, sorted.len() % 2) {
        (_, _) if sorted.is_empty() => f64::NAN,
        (middle, 0) => f64::midpoint(sorted[middle - 1], sorted[middle]),
        (middle, _) => sorted[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn chance_is_allowed_for() {
        assert!(no_more(3, 3) && no_more(12, 8));
        assert!(!no_more(10, 1));
    }
}
