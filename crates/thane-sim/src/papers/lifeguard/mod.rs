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
//! ([`thane_core::Node::handle_sends_held`]): probing and gossip then wait, make up for one turn each, and a probe
//! whose deadline passed meanwhile fails when it can go on. An exchange of state that falls due opens its stream, as memberlist's does, and is given up
//! when nothing could be written for 10 s.
//!
//! What of the paper's machine has to be put in, since what a member can hear between two anomalies depends on it:
//!
//! * *Who waits for what.* memberlist reads packets in one task and serves each stream, in and out, in one of its own. After an anomaly
//!   each goes on with the message that it has in hand, so that an exchange of state is not held up by hundreds of packets. It brings
//!   refutations that wait far behind in the socket's buffer. See [`World::block`].
//! * *What waits.* memberlist asks for 2 MiB of socket buffer and gets what Linux allows by default, 416 KiB as the kernel counts: some
//!   180 full packets, or 550 small ones. What comes then is lost.
//! * *How fast a member takes it up.* A Go program of that time allocates 64 KiB for each packet, unpacks it (compression is on by
//!   default) and decodes its parts by reflection: some tens of microseconds. 40 are taken. It is the one free parameter: with 10, one
//!   anomalous member has half the false positives of the paper; with 25 or 30, 0.65 times as many; with 40, 0.7 times.
//! * *Who shares a core.* 8 agents are pinned to each of 16 cores. Members that catch up on the same core at the same time take turns.
//! * *When members began.* One after the other, within 30 s: Serf tries failed members again every 30 s from its start, and these
//!   exchanges, too, bring news to those that are blocked.
//!
//! # How close it comes
//!
//! One run of each of 22 cells that stand for the grid, at each of the nine numbers of anomalous members: SWIM's median first
//! detection is 12.1 to 12.4 s (12.44 published), by the few anomalies sampled. Its false positives, by Figure 2, are 0.7 times the paper's with one anomalous member,
//! 1.1 times with 12, 1.4 times with 24 and with 32: an accusation that an anomalous member makes is believed by more of the other anomalous ones
//! here than there, where whatever else runs on their cores delays it.
//!
//! Lifeguard's are few, so that it takes several runs of each cell to tell more than their size. In two to ten runs of each cell in which there are
//! any (blocks of 2 s and more), they come to 0.97 times the paper's in all, and by the number of anomalous members to
//!
//! | members | 1 | 4 | 8 | 12 | 16 | 20 | 24 | 28 | 32 |
//! | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
//! | a run of the grid | 0.03 | 0.20 | 0.48 | 0.72 | 1.1 | 1.5 | 1.6 | 2.3 | 2.6 |
//! | times the paper's | 0.8 | 0.66 | 2.1 | 1.5 | 0.95 | 0.96 | 0.89 | 0.81 | 1.02 |
//! | give or take | 0.3 | 0.07 | 0.2 | 0.1 | 0.07 | 0.06 | 0.07 | 0.07 | 0.10 |
//!
//! Here an anomalous member has about as many whatever their number: 2.4 in a pass over the 48 cells with 4 of them, 2.9 with 8, 3.4 with 16, 3.8 with
//! 32. In the paper it is 3.6 with 4, 1.4 with 8, 1.9 with 12, and again 3.6 with 16, for which we know no reason. No model in which a member does no less harm among 8
//! than among 4 is within a factor of 1.5 of both. Most come from blocks of 8 s and more with 1 or 4 ms between. A member accuses, at the end
//! of its first block, whom it was just probing; the refutation waits behind hundreds of packets; of these it takes up some 25 after
//! each block, and after 63 s the suspicion is over. With 20 µs a packet there are 1.4 times as many as in the paper with 8, but already
//! with 30 SWIM's with one member are too few.
//!
//! With many anomalous members it matters that an exchange of state is given up after 10 s: if those that fall due in a block all took place at
//! its end, members would confirm each other's suspicions by them, and false positives would be 1.8 times the paper's with 28 and 2.5 times with
//! 32. Whether relays say sooner that they hear nothing makes no difference.
//!
//! Bytes are those of packets and streams without compression.
//!
//! [`World::block`]: crate::World::block

mod cells;
mod figures;
mod run;

use thane_core::Detector;

pub use self::cells::Grid;
use self::cells::REPEATS;
use self::figures::{BY_MEMBERS, INTERVAL_RUNS, PUBLISHED, RUNS_BY_MEMBERS, TUNING};
pub use self::run::{Fault, Outcome, Rules};
use super::{Cell, Options, PaperTable, Progress, Row, for_each, quantile};
use crate::sweep::seeds;

/// The rows of the paper's tables, and ours.
pub const ROWS: [Rules; 7] = [
    row("SWIM", Detector::swim()),
    row("LHA-Probe", Detector::lha_probe()),
    row("LHA-Suspicion", Detector::lha_suspicion()),
    row("Buddy System", Detector::buddy()),
    row("Lifeguard", Detector::lifeguard()),
    row("Thane", Detector::thane()),
    row("Thane, eager", Detector::eager()),
];
/// Where SWIM, Lifeguard, Thane's default and Thane's eager rules stand among them.
const MAIN: [usize; 4] = [0, 4, 5, 6];

/// Table VII's first column of alphas is the boldest that the paper tried; these are our rules with it.
const THANE_BOLD: Rules = Rules { name: "Thane", detector: Detector::thane(), alpha: 2, beta: 6 };

const fn row(name: &'static str, detector: Detector) -> Rules {
    Rules { name, detector, alpha: 5, beta: 6 }
}

/// An Interval run.
#[derive(Debug, Clone)]
pub struct Counted {
    /// What was run.
    pub fault: Fault,
    /// How often it counts.
    pub weight: u32,
    /// What it gave.
    pub outcome: Outcome,
}

/// What many runs with the same rules gave.
#[derive(Debug, Clone, Default)]
pub struct Collected {
    /// Interval runs.
    pub interval: Vec<Counted>,
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
        let runs =
            self.interval.iter().filter(|run| members.is_none_or(|members| members == run.fault.members));
        let (sum, weights) = runs.fold((0.0, 0.0), |(sum, weights), run| {
            let weight = f64::from(run.weight);
            (sum + weight * of(&run.outcome), weights + weight)
        });
        if weights > 0.0 { sum / weights } else { 0.0 }
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
            self.interval.iter().flat_map(|run| run.outcome.false_for.iter().copied()).collect();
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
        let time = self.mean_of(None, |outcome| outcome.watched.as_secs_f64());
        self.mean_of(None, |outcome| of(outcome) as f64) / time / run::MEMBERS as f64
    }
}

/// Runs these cells with each of these rules; the seeds of a cell are the same for all rules.
pub fn collect(rules: &[Rules], grid: &Grid, options: &Options, progress: &Progress<'_>) -> Vec<Collected> {
    let threshold = grid.threshold.iter().map(|fault| (*fault, 1));
    let cells: Vec<(Fault, u32)> = grid.interval.iter().copied().chain(threshold).collect();
    let repeats = options.repeats.max(1);
    let seeds = seeds(options.base, cells.len() * repeats);
    let runs: Vec<(usize, (Fault, u32), u64)> = (0..rules.len())
        .flat_map(|rule| {
            let seeds = &seeds;
            cells.iter().enumerate().flat_map(move |(at, cell)| {
                (0..repeats).map(move |repeat| (rule, *cell, seeds[at * repeats + repeat]))
            })
        })
        .collect();
    let outcomes = for_each(
        &runs,
        options.threads,
        |(rule, (fault, _), seed)| run::run(&rules[*rule], fault, *seed),
        |done| progress(done, runs.len()),
    );
    let mut collected = vec![Collected::default(); rules.len()];
    for ((rule, (fault, weight), _), outcome) in runs.into_iter().zip(outcomes) {
        match fault.between {
            Some(_) => collected[rule].interval.push(Counted { fault, weight, outcome }),
            None => collected[rule].threshold.push(outcome),
        }
    }
    collected
}

fn scaled(options: &Options) -> Options {
    let repeats = options.repeats.max(1) * if options.full { REPEATS } else { 1 };
    Options { repeats, ..*options }
}

/// Tables IV, V and VI, Figure 2, and Table VII from a small sample.
pub fn tables(options: &Options, progress: &Progress<'_>) -> Vec<PaperTable> {
    let options = scaled(options);
    let grid = if options.full { Grid::full() } else { Grid::sample() };
    let runs = |grid: &Grid, rules: usize| {
        (grid.interval.len() + grid.threshold.len()) * options.repeats.max(1) * rules
    };
    let tuning_grid = if options.full { Grid::full() } else { Grid::tuning_sample() };
    let (first, then) = (runs(&grid, ROWS.len()), runs(&tuning_grid, tuning_rules().len()));
    let collected = collect(&ROWS, &grid, &options, &|done, _| progress(done, first + then));
    let runs = if options.full {
        format!("{} Interval runs a row, as in the paper", grid.interval.len() * options.repeats)
    } else {
        format!(
            "{} Interval runs a row that stand for the 4320 of the paper; -full runs them all",
            grid.interval.len() * options.repeats
        )
    };
    let mut tables = vec![
        false_positive_table(&collected, &runs),
        by_members_table(&collected, &runs),
        latency_table(&collected, grid.threshold.len() * options.repeats),
        load_table(&collected, &runs),
    ];
    tables.extend(tuning_tables(&tuning_grid, &options, &|done, _| progress(first + done, first + then)));
    tables
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

fn by_members_table(collected: &[Collected], runs: &str) -> PaperTable {
    let mut members: Vec<usize> = collected[0].interval.iter().map(|run| run.fault.members).collect();
    members.sort_unstable();
    members.dedup();
    let row = |members: usize| {
        let paper = BY_MEMBERS.iter().find(|(with, ..)| *with == members);
        let cells = MAIN.iter().map(|at| {
            let paper = match ROWS[*at].name {
                "SWIM" => paper.map(|row| row.1),
                "Lifeguard" => paper.map(|row| row.2),
                _ => None,
            };
            Cell {
                ours: Some(collected[*at].false_positives(Some(members))),
                paper: paper.map(|all| all / RUNS_BY_MEMBERS),
            }
        });
        Row { name: members.to_string(), cells: cells.collect() }
    };
    PaperTable {
        title: "Lifeguard: false positives a run by the number of anomalous members".to_owned(),
        source: format!("Figure 2, read off the plot; {runs}"),
        key: "anomalous",
        columns: MAIN.map(|at| ROWS[at].name.to_owned()).into(),
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
    let grid = if options.full { Grid::full() } else { Grid::sample() };
    tuning_tables(&grid, &options, progress)
}

/// Table VII's rows, SWIM before them and ours after them.
fn tuning_rules() -> Vec<Rules> {
    let lifeguard = |(alpha, beta)| Rules { name: "Lifeguard", detector: Detector::lifeguard(), alpha, beta };
    let mut rules = vec![ROWS[0]];
    rules.extend(TUNING.iter().map(|(alpha, beta, _)| lifeguard((*alpha, *beta))));
    rules.extend([ROWS[5], THANE_BOLD, ROWS[6]]);
    rules
}

fn tuning_tables(grid: &Grid, options: &Options, progress: &Progress<'_>) -> Vec<PaperTable> {
    let rules = tuning_rules();
    let collected = collect(&rules, grid, options, progress);
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
            grid.interval.len() * options.repeats,
            grid.threshold.len() * options.repeats
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
    use std::time::Duration;

    use super::*;

    /// Interval cells of the sample with so many anomalous members that have nearly all false positives.
    fn cells(members: usize) -> Vec<(Fault, u32)> {
        let ms = Duration::from_millis;
        let mut cells = Vec::new();
        for (block, between, weight) in [
            (2048, 1, 1),
            (8192, 1, 1),
            (8192, 4, 1),
            (16_384, 1, 1),
            (16_384, 4, 1),
            (16_384, 64, 3),
            (32_768, 4, 2),
            (32_768, 64, 3),
        ] {
            cells.push((Fault { members, block: ms(block), between: Some(ms(between)) }, weight));
        }
        cells
    }

    /// False positives in all 48 Interval cells with these members: the others have next to none.
    fn in_all_cells(it: &Collected) -> f64 {
        it.interval.iter().map(|run| f64::from(run.weight) * run.outcome.false_positives as f64).sum()
    }

    /// Section 5, Table V and Figure 2: the plain rules come out as published, or nothing here counts.
    #[test]
    fn swim_and_lifeguard_come_out_as_published_and_our_rules_accuse_nobody_falsely() {
        let options = Options { repeats: 1, full: false, threads: 2, base: 1 };
        let block = Duration::from_millis(16_384);
        let threshold = vec![Fault { members: 32, block, between: None }];
        let grid = Grid { interval: cells(8), threshold };
        let collected = collect(&[ROWS[0], ROWS[4]], &grid, &options, &|_, _| {});
        let (swim, lifeguard) = (&collected[0], &collected[1]);
        for (name, it, published) in [("SWIM", swim, 12.44), ("Lifeguard", lifeguard, 12.45)] {
            let median = it.first(0.5).unwrap();
            assert!(
                (published - 0.5..published + 0.5).contains(&median),
                "{name}: median first detection {median} s"
            );
        }
        let (_, all_swim, all_lifeguard) = BY_MEMBERS[2];
        let expected = all_swim / REPEATS as f64;
        let ours = in_all_cells(swim);
        assert!(
            (expected / 1.5..expected * 1.5).contains(&ours),
            "SWIM: {ours} false positives, published {expected}"
        );
        let share = in_all_cells(lifeguard) / ours;
        assert!(
            share < 0.05,
            "Lifeguard: {share} of SWIM's false positives, published {}",
            all_lifeguard / all_swim
        );

        let grid = Grid { interval: cells(32).split_off(4), ..grid };
        let collected = collect(&[ROWS[5], ROWS[6]], &grid, &options, &|_, _| {});
        for (name, it, median, latest) in
            [("Thane", &collected[0], 12.44 + 0.5, 20.0), ("eager", &collected[1], 2.5, 6.0)]
        {
            assert!(in_all_cells(it) < 0.5, "{name}: {} false positives", in_all_cells(it));
            let (first, last) = (it.first(0.5).unwrap(), it.first(1.0).unwrap());
            assert!(first < median && last < latest, "{name}: first detection {first} s, at most {last} s");
            // Now and then somebody misses the news, and has it from the next exchange of state: of 128 members each begins one in 90 s.
            let (most, last) = (it.back(0.9).unwrap(), it.back(1.0).unwrap());
            assert!(
                most < 1.0 && last < 180.0,
                "{name}: 9 of 10 back after {most} s, the last after {last} s"
            );
        }
    }
}
