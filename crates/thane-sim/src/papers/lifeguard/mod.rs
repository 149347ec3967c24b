//! Lifeguard (Dadgar, Phillips, Currey, DSN 2018): what members that are slow do to the others, and how fast a failure is found.
//!
//! The set-up is section 5's. 128 members rest for 15 s; then C of them, drawn at random, become anomalous in lock-step: they "block
//! immediately before sending or after receiving any protocol message" for D, while their timers go on. *Threshold* runs have one
//! anomaly and give latencies; *Interval* runs repeat it after I of normal operation for 120 s and give false positives and load. A
//! false positive is a failure event about a member that is not anomalous; those raised at members that are not anomalous either are
//! counted apart.
//!
//! # How the fault is mapped
//!
//! The paper's agents are Go programs in which each activity is a task that the fault stops where it sends or has received: one probe
//! hangs in its send, one round of gossip does, the reader has one packet in hand; suspicions, which only wait, run out. Our core sends
//! nothing itself. So [`World::block`] holds what it puts out, and tells it so, as a driver does whose socket is full
//! ([`thane_core::Node::handle_sends_held`]): probing, gossip and state exchanges then wait, make up for one turn each, and a probe
//! whose deadline passed meanwhile fails when it can go on. What arrives waits in a socket's buffer of 256 packets.
//!
//! One figure of the paper's machine has to be put in: how fast a member that was blocked takes up what has waited. With 8 agents on a
//! core, each packet takes some tens of microseconds; 40 are taken. It decides what a member can hear in an interval of 1 or 4 ms,
//! and so much of what SWIM's false positives are with one anomalous member.
//!
//! Bytes are those of packets and streams without compression.
//!
//! [`World::block`]: crate::World::block

mod figures;
mod run;

use std::time::Duration;

use thane_core::Detector;

use self::figures::{BY_MEMBERS, INTERVAL_RUNS, PUBLISHED, RUNS_BY_MEMBERS, TUNING};
pub use self::run::{Fault, Outcome, Rules};
use super::{Cell, Options, PaperTable, Progress, Row, for_each, mean, quantile};
use crate::sweep::seeds;

/// Table II and III: how many members are anomalous.
const MEMBERS: [usize; 9] = [1, 4, 8, 12, 16, 20, 24, 28, 32];
/// Those of them that a sample has.
const MEMBERS_SAMPLED: [usize; 3] = [1, 8, 32];
/// For how long, in milliseconds.
const BLOCKS_MS: [u64; 6] = [128, 512, 2048, 8192, 16_384, 32_768];
/// Table III: with how much between, in milliseconds.
const BETWEEN_MS: [u64; 8] = [1, 4, 16, 64, 256, 1024, 4096, 16_384];
/// The paper's repeats of each cell.
const REPEATS: usize = 10;

/// The rows of the paper's tables, and ours.
pub const ROWS: [Rules; 6] = [
    row("SWIM", Detector::swim()),
    row("LHA-Probe", Detector::lha_probe()),
    row("LHA-Suspicion", Detector::lha_suspicion()),
    row("Buddy System", Detector::buddy()),
    row("Lifeguard", Detector::lifeguard()),
    row("Thane", Detector::thane()),
];

/// Table VII's first column of alphas is the boldest that the paper tried; these are our rules with it.
const THANE_BOLD: Rules = Rules { name: "Thane", detector: Detector::thane(), alpha: 2, beta: 6 };

const fn row(name: &'static str, detector: Detector) -> Rules {
    Rules { name, detector, alpha: 5, beta: 6 }
}

/// What many runs with the same rules gave.
#[derive(Debug, Clone, Default)]
pub struct Collected {
    /// Interval runs, with the members that were anomalous in each.
    pub interval: Vec<(usize, Outcome)>,
    /// Threshold runs.
    pub threshold: Vec<Outcome>,
}

impl Collected {
    /// False positives a run, in all Interval runs or in those with so many anomalous members.
    pub fn false_positives(&self, members: Option<usize>) -> f64 {
        self.mean_of(members, |outcome| outcome.false_positives as f64)
    }

    /// The same, of those at healthy members.
    pub fn false_positives_healthy(&self, members: Option<usize>) -> f64 {
        self.mean_of(members, |outcome| outcome.false_positives_healthy as f64)
    }

    fn mean_of(&self, members: Option<usize>, of: impl Fn(&Outcome) -> f64) -> f64 {
        let runs = self.interval.iter().filter(|(with, _)| members.is_none_or(|members| members == *with));
        mean(&runs.map(|(_, outcome)| of(outcome)).collect::<Vec<_>>()).unwrap_or(0.0)
    }

    fn all(&self, of: impl Fn(&Outcome) -> &Vec<f64>) -> Vec<f64> {
        self.threshold.iter().flat_map(|outcome| of(outcome).iter().copied()).collect()
    }

    /// Seconds to the first detection that this share of the anomalous members were found in.
    pub fn first(&self, share: f64) -> Option<f64> {
        quantile(&self.all(|outcome| &outcome.first), share)
    }

    fn full(&self, share: f64) -> Option<f64> {
        quantile(&self.all(|outcome| &outcome.full), share)
    }

    fn back(&self, share: f64) -> Option<f64> {
        quantile(&self.all(|outcome| &outcome.back), share)
    }

    fn false_for(&self, share: f64) -> Option<f64> {
        let all: Vec<f64> =
            self.interval.iter().flat_map(|(_, outcome)| outcome.false_for.iter().copied()).collect();
        quantile(&all, share)
    }

    /// Messages that a member sent in a second.
    pub fn messages(&self) -> f64 {
        self.rate(|outcome| outcome.messages)
    }

    /// Bytes that a member sent in a second.
    pub fn bytes(&self) -> f64 {
        self.rate(|outcome| outcome.bytes)
    }

    fn rate(&self, of: impl Fn(&Outcome) -> u64) -> f64 {
        let (sum, time) = self.interval.iter().fold((0.0, 0.0), |(sum, time), (_, outcome)| {
            (sum + of(outcome) as f64, time + outcome.watched.as_secs_f64())
        });
        sum / time / run::MEMBERS as f64
    }
}

/// Runs these cells with each of these rules; the seeds of a cell are the same for all rules.
pub fn collect(
    rules: &[Rules],
    interval: &[Fault],
    threshold: &[Fault],
    options: &Options,
    progress: &Progress<'_>,
) -> Vec<Collected> {
    let faults: Vec<Fault> = interval.iter().chain(threshold).copied().collect();
    let repeats = options.repeats.max(1);
    let seeds = seeds(options.base, faults.len() * repeats);
    let runs: Vec<(usize, Fault, u64)> = (0..rules.len())
        .flat_map(|rule| {
            let seeds = &seeds;
            faults.iter().enumerate().flat_map(move |(at, fault)| {
                (0..repeats).map(move |repeat| (rule, *fault, seeds[at * repeats + repeat]))
            })
        })
        .collect();
    let outcomes = for_each(
        &runs,
        options.threads,
        |(rule, fault, seed)| run::run(&rules[*rule], fault, *seed),
        |done| progress(done, runs.len()),
    );
    let mut collected = vec![Collected::default(); rules.len()];
    for ((rule, fault, _), outcome) in runs.iter().zip(outcomes) {
        match fault.between {
            Some(_) => collected[*rule].interval.push((fault.members, outcome)),
            None => collected[*rule].threshold.push(outcome),
        }
    }
    collected
}

/// Interval cells: those of the paper, or those with some numbers of anomalous members.
fn interval_cells(full: bool) -> Vec<Fault> {
    let members: &[usize] = if full { &MEMBERS } else { &MEMBERS_SAMPLED };
    let mut cells = Vec::new();
    for members in members {
        for block in BLOCKS_MS {
            for between in BETWEEN_MS {
                let (block, between) = (Duration::from_millis(block), Some(Duration::from_millis(between)));
                cells.push(Fault { members: *members, block, between });
            }
        }
    }
    cells
}

/// Threshold cells: those of the paper, or those whose anomalies last long enough to be found.
fn threshold_cells(full: bool) -> Vec<Fault> {
    let members: &[usize] = if full { &MEMBERS } else { &MEMBERS_SAMPLED };
    let blocks: &[u64] = if full { &BLOCKS_MS } else { &BLOCKS_MS[3..] };
    let cell =
        |members: usize, block: u64| Fault { members, block: Duration::from_millis(block), between: None };
    members.iter().flat_map(|members| blocks.iter().map(move |block| cell(*members, *block))).collect()
}

fn scaled(options: &Options) -> Options {
    let repeats = options.repeats.max(1) * if options.full { REPEATS } else { 1 };
    Options { repeats, ..*options }
}

/// Tables IV, V and VI and Figure 2.
pub fn tables(options: &Options, progress: &Progress<'_>) -> Vec<PaperTable> {
    let options = scaled(options);
    let (interval, threshold) = (interval_cells(options.full), threshold_cells(options.full));
    let collected = collect(&ROWS, &interval, &threshold, &options, progress);
    let runs = format!("{} Interval runs a row; the paper had 4320", interval.len() * options.repeats);
    vec![
        false_positive_table(&collected, &runs),
        by_members_table(&collected, &runs, options.full),
        latency_table(&collected, threshold.len() * options.repeats),
        load_table(&collected, &runs),
    ]
}

fn published(name: &str) -> Option<&'static figures::Published> {
    PUBLISHED.iter().find(|row| row.name == name)
}

/// One row for each of the rules.
fn rows(
    collected: &[Collected],
    cells: impl Fn(&Collected, Option<&figures::Published>) -> Vec<Cell>,
) -> Vec<Row> {
    let rows = ROWS.iter().zip(collected);
    rows.map(|(rules, it)| Row { name: rules.name.to_owned(), cells: cells(it, published(rules.name)) })
        .collect()
}

fn percent(part: f64, of: f64) -> Option<f64> {
    (of > 0.0).then(|| 100.0 * part / of)
}

fn false_positive_table(collected: &[Collected], runs: &str) -> PaperTable {
    let swim = (collected[0].false_positives(None), collected[0].false_positives_healthy(None));
    let paper_swim = PUBLISHED[0].false_positives;
    let cells = |it: &Collected, paper: Option<&figures::Published>| {
        let ours = (it.false_positives(None), it.false_positives_healthy(None));
        let paper = paper.map(|row| row.false_positives);
        let never = it.mean_of(None, |outcome| outcome.never_back as f64);
        vec![
            Cell { ours: Some(ours.0), paper: paper.map(|it| it.0 / INTERVAL_RUNS) },
            Cell { ours: Some(ours.1), paper: paper.map(|it| it.1 / INTERVAL_RUNS) },
            Cell { ours: percent(ours.0, swim.0), paper: paper.and_then(|it| percent(it.0, paper_swim.0)) },
            Cell { ours: percent(ours.1, swim.1), paper: paper.and_then(|it| percent(it.1, paper_swim.1)) },
            Cell::ours(it.false_for(0.5)),
            Cell::ours(it.false_for(0.99)),
            Cell::ours(percent(never, ours.0)),
        ]
    };
    PaperTable {
        title: "Lifeguard: false positives (FP), and those at healthy members (FP-)".to_owned(),
        source: format!("Table IV, alpha 5, beta 6; {runs}"),
        key: "rules",
        columns: ["FP a run", "FP- a run", "FP % SWIM", "FP- % SWIM", "back s", "p99", "not %"].map(str::to_owned).into(),
        rows: rows(collected, cells),
        notes: vec![
            "'back' is the time until a falsely failed member is back where it was failed, 'not' the share that is still failed when \
             the run ends. The paper has no such columns."
                .to_owned(),
        ],
    }
}

fn by_members_table(collected: &[Collected], runs: &str, full: bool) -> PaperTable {
    let members: &[usize] = if full { &MEMBERS } else { &MEMBERS_SAMPLED };
    let find =
        |name: &str| ROWS.iter().position(|row| row.name == name).map_or(&collected[0], |at| &collected[at]);
    let (swim, lifeguard, thane) = (find("SWIM"), find("Lifeguard"), find("Thane"));
    let row = |members: usize| {
        let paper = BY_MEMBERS.iter().find(|(with, ..)| *with == members);
        let cell = |it: &Collected, paper: Option<f64>| Cell {
            ours: Some(it.false_positives(Some(members))),
            paper: paper.map(|all| all / RUNS_BY_MEMBERS),
        };
        Row {
            name: members.to_string(),
            cells: vec![
                cell(swim, paper.map(|row| row.1)),
                cell(lifeguard, paper.map(|row| row.2)),
                cell(thane, None),
            ],
        }
    };
    PaperTable {
        title: "Lifeguard: false positives a run by the number of anomalous members".to_owned(),
        source: format!("Figure 2, read off the plot; {runs}"),
        key: "anomalous",
        columns: ["SWIM", "Lifeguard", "Thane"].map(str::to_owned).into(),
        rows: members.iter().map(|members| row(*members)).collect(),
        notes: Vec::new(),
    }
}

fn latency_table(collected: &[Collected], runs: usize) -> PaperTable {
    const SHARES: [f64; 3] = [0.5, 0.99, 0.999];
    let cells = |it: &Collected, paper: Option<&figures::Published>| {
        let first = SHARES
            .iter()
            .enumerate()
            .map(|(at, share)| Cell { ours: it.first(*share), paper: paper.map(|row| row.first[at]) });
        let full = SHARES
            .iter()
            .enumerate()
            .map(|(at, share)| Cell { ours: it.full(*share), paper: paper.map(|row| row.full[at]) });
        first.chain(full).chain([Cell::ours(it.back(0.5)), Cell::ours(it.back(0.99))]).collect()
    };
    let found = collected[0].all(|outcome| &outcome.first).len();
    PaperTable {
        title: "Lifeguard: seconds from the anomaly to its first detection, and until every healthy member knows".to_owned(),
        source: format!("Table V, alpha 5, beta 6; {runs} Threshold runs a row, {found} detections by SWIM; the paper had 540 runs"),
        key: "rules",
        columns: ["first", "p99", "p99.9", "all", "p99", "p99.9", "back", "p99"].map(str::to_owned).into(),
        rows: rows(collected, cells),
        notes: vec![
            "'back' is the time from the end of the anomaly until nobody takes the member for failed. The paper has no such column."
                .to_owned(),
        ],
    }
}

fn load_table(collected: &[Collected], runs: &str) -> PaperTable {
    // The paper gives sums; a run lasts some 130 s for its 128 members.
    const MEMBER_SECONDS: f64 = INTERVAL_RUNS * 128.0 * 130.0;
    let (messages, bytes) = (collected[0].messages(), collected[0].bytes());
    let paper_swim = PUBLISHED[0].load;
    let cells = |it: &Collected, paper: Option<&figures::Published>| {
        let load = paper.map(|row| row.load);
        let gib = f64::from(1 << 30);
        vec![
            Cell { ours: Some(it.messages()), paper: load.map(|load| load.0 * 1e6 / MEMBER_SECONDS) },
            Cell { ours: Some(it.bytes()), paper: load.map(|load| load.1 * gib / MEMBER_SECONDS) },
            Cell {
                ours: percent(it.messages(), messages),
                paper: load.and_then(|it| percent(it.0, paper_swim.0)),
            },
            Cell { ours: percent(it.bytes(), bytes), paper: load.and_then(|it| percent(it.1, paper_swim.1)) },
        ]
    };
    PaperTable {
        title: "Lifeguard: what a member sends in a second".to_owned(),
        source: format!("Table VI, alpha 5, beta 6; {runs}"),
        key: "rules",
        columns: ["messages", "bytes", "messages % SWIM", "bytes % SWIM"].map(str::to_owned).into(),
        rows: rows(collected, cells),
        notes: Vec::new(),
    }
}

/// Table VII: Lifeguard with other alphas and betas, and our own rules, in percent of SWIM at alpha 5.
pub fn tuning(options: &Options, progress: &Progress<'_>) -> Vec<PaperTable> {
    let options = scaled(options);
    let lifeguard = |(alpha, beta)| Rules { name: "Lifeguard", detector: Detector::lifeguard(), alpha, beta };
    let mut rules = vec![ROWS[0]];
    rules.extend(TUNING.iter().map(|(alpha, beta, _)| lifeguard((*alpha, *beta))));
    rules.extend([ROWS[5], THANE_BOLD]);
    let (interval, threshold) = (interval_cells(options.full), threshold_cells(options.full));
    let collected = collect(&rules, &interval, &threshold, &options, progress);
    let (swim, others) = (&collected[0], collected.iter().zip(&rules).skip(1));
    let values = |it: &Collected| {
        let latencies =
            [it.first(0.5), it.first(0.99), it.first(0.999), it.full(0.5), it.full(0.99), it.full(0.999)];
        let mut values = latencies.to_vec();
        values.extend([Some(it.false_positives(None)), Some(it.false_positives_healthy(None))]);
        values
    };
    let of_swim = values(swim);
    let rows = others.enumerate().map(|(at, (it, rules))| {
        let paper = TUNING.get(at).map(|row| row.2);
        let cells = values(it).into_iter().zip(&of_swim).enumerate().map(|(column, (ours, swim))| Cell {
            ours: ours.zip(*swim).and_then(|(ours, swim)| percent(ours, swim)),
            paper: paper.map(|row| row[column]),
        });
        Row { name: format!("{} {} {}", rules.name, rules.alpha, rules.beta), cells: cells.collect() }
    });
    vec![PaperTable {
        title: "Lifeguard with other alphas and betas, in percent of SWIM at alpha 5".to_owned(),
        source: format!(
            "Table VII; {} Interval and {} Threshold runs a row",
            interval.len() * options.repeats,
            threshold.len() * options.repeats
        ),
        key: "rules",
        columns: ["first", "p99", "p99.9", "all", "p99", "p99.9", "FP", "FP-"].map(str::to_owned).into(),
        rows: rows.collect(),
        notes: vec![
            "The paper hopes for 3 confirmations throughout. The core, like memberlist, hopes for alpha - 2: with alpha 2 a suspicion \
             does not wait for any, and beta changes nothing."
                .to_owned(),
        ],
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Interval cells with 8 anomalous members whose anomalies are long and close together. All other cells with 8 give next to no
    /// false positives, so that these sums stand for all 48.
    fn cells() -> Vec<Fault> {
        let mut cells = interval_cells(true);
        cells.retain(|cell| {
            let between = cell.between.unwrap_or_default();
            cell.members == 8
                && cell.block >= Duration::from_millis(8192)
                && between <= Duration::from_millis(256)
        });
        assert_eq!(cells.len(), 15);
        cells
    }

    /// Section 5, Table V and Figure 2: the plain rules come out as published, or nothing here counts. 30 runs and 3 longer ones are
    /// few, so the bounds are wider than those of `thane sim paper lifeguard -full`.
    #[test]
    fn swim_and_lifeguard_come_out_as_published_and_our_rules_accuse_nobody_falsely() {
        let options = Options { repeats: 1, full: false, threads: 2, base: 1 };
        let threshold = [Fault { members: 32, block: Duration::from_millis(16_384), between: None }];
        let collected = collect(&[ROWS[0], ROWS[4]], &cells(), &threshold, &options, &|_, _| {});
        let few: Vec<Fault> = cells().into_iter().step_by(5).collect();
        let thane = &collect(&[ROWS[5]], &few, &threshold, &options, &|_, _| {})[0];
        let (swim, lifeguard) = (&collected[0], &collected[1]);
        for (name, it, published) in [("SWIM", swim, 12.44), ("Lifeguard", lifeguard, 12.45)] {
            let median = it.first(0.5).unwrap();
            assert!(
                (published - 0.7..published + 0.7).contains(&median),
                "{name}: median first detection {median} s"
            );
        }
        let (_, all_swim, all_lifeguard) = BY_MEMBERS[2];
        let sum = |it: &Collected| {
            it.interval.iter().map(|(_, outcome)| outcome.false_positives as f64).sum::<f64>()
        };
        let expected = all_swim / REPEATS as f64;
        let ours = sum(swim);
        assert!(
            (expected / 1.7..expected * 1.7).contains(&ours),
            "SWIM: {ours} false positives, published {expected}"
        );
        let share = sum(lifeguard) / ours;
        assert!(
            share < 0.15,
            "Lifeguard: {share} of SWIM's false positives, published {}",
            all_lifeguard / all_swim
        );
        assert!(sum(thane) < 0.5, "our own rules: {}", sum(thane));
        assert!(thane.first(0.5).unwrap() < 12.44 + 0.7);
    }
}
