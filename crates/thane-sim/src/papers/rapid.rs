//! Rapid's failure scenarios: do members see the right ones gone, all of them, and nobody else?
//!
//! Rapid agrees on each change of the membership, so that processes report few different sizes and never a member gone that is
//! healthy. Gossip agrees on nothing; here it is measured what that costs, with Serf's rules and with ours: a start through one seed, and then
//! ten members of many that crash, that lose what is sent to them for 20 s in every 40 s, or that lose 80 % of their packets. (The
//! paper's text has the loss on what they send, its caption on what they receive, so both are run.)

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thane_core::{Config, Detector, Event, Output, Replay, Time};

use super::{Cell, Options, PaperTable, Progress, Row, for_each, mean, quantile};
use crate::network::{Effect, Hosts, LinkFault, Loss, Quality};
use crate::world::{Crash, HostId, Observer, ProcessId, World};

/// How many members are faulty.
const FAULTY: usize = 10;
/// How long a fault lasts.
const FAULT: Duration = Duration::from_secs(300);
/// Before the fault.
const QUIET: Duration = Duration::from_secs(5);
/// How long a start may take.
const START: Duration = Duration::from_secs(300);
/// The size of the paper's cluster, and of the one that is run when not everything is asked for.
const MEMBERS: (usize, usize) = (1000, 100);

/// What happens to the faulty members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Their processes end.
    Crash,
    /// What is sent to them is lost for 20 s in every 40 s.
    FlipFlop,
    /// 80 % of what is sent to them is lost.
    LossIn,
    /// 80 % of what they send is lost.
    LossOut,
}

impl Scenario {
    fn title(self) -> &'static str {
        match self {
            Self::Crash => "10 crash",
            Self::FlipFlop => "10 hear nothing for 20 s in every 40 s",
            Self::LossIn => "10 lose 80 % of what is sent to them",
            Self::LossOut => "10 lose 80 % of what they send",
        }
    }
}

/// What the healthy members told of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Removal {
    /// Seconds until every healthy member had removed every faulty one at the same time; `None` if that was never so.
    pub all_removed: Option<f64>,
    /// Share of (healthy member, faulty member) pairs in which the faulty one is removed in the end.
    pub removed_at_end: f64,
    /// Failures told of healthy members.
    pub healthy_removed: u64,
    /// How often a faulty one came back.
    pub returns: u64,
    /// Different sizes of the cluster that healthy members saw.
    pub sizes: usize,
}

/// What the healthy members see.
#[derive(Debug, Default)]
struct Watch {
    faulty: BTreeSet<String>,
    faulty_hosts: BTreeSet<HostId>,
    /// Members that each host takes for there.
    size: BTreeMap<HostId, usize>,
    sizes: BTreeSet<usize>,
    /// Pairs of a healthy host and a faulty member that it has removed.
    removed: BTreeSet<(HostId, String)>,
    all_removed: Option<Time>,
    healthy_removed: u64,
    returns: u64,
    healthy: usize,
}

impl Observer for Watch {
    fn output(&mut self, at: Time, process: ProcessId, output: &Output) {
        let Output::Event(event) = output else { return };
        let host = process.host;
        if self.faulty_hosts.contains(&host) {
            return;
        }
        let size = self.size.entry(host).or_default();
        match event {
            Event::Joined(change) => {
                *size += 1;
                if self.faulty.contains(&*change.member.name) {
                    self.returns += 1;
                    self.removed.remove(&(host, change.member.name.to_string()));
                }
            }
            Event::Failed(change) => {
                *size = size.saturating_sub(1);
                if self.faulty.contains(&*change.member.name) {
                    self.removed.insert((host, change.member.name.to_string()));
                    if self.removed.len() == self.healthy * self.faulty.len() {
                        self.all_removed.get_or_insert(at);
                    }
                } else {
                    self.healthy_removed += 1;
                }
            }
            _ => return,
        }
        self.sizes.insert(*size);
    }
}

fn config(detector: Detector, number: usize, world: &World<Watch>) -> Config {
    Config { detector, ..Config::lan(format!("m{number}"), world.next_addr()) }
}

/// Runs one scenario among members that know each other.
pub fn removal(scenario: Scenario, detector: Detector, members: usize, seed: u64) -> Removal {
    let mut world = World::observed(seed, Quality::good(), Watch::default());
    let hosts: Vec<HostId> = (0..members)
        .map(|number| {
            let config = config(detector, number, &world);
            world.add_host(config)
        })
        .collect();
    world.start_as_cluster(&hosts);
    world.run_for(QUIET);
    let faulty = hosts[members - FAULTY..].to_vec();
    *world.observer_mut() = Watch {
        faulty: faulty.iter().map(|host| world.name(*host).to_owned()).collect(),
        faulty_hosts: faulty.iter().copied().collect(),
        size: hosts.iter().map(|host| (*host, members)).collect(),
        healthy: members - FAULTY,
        ..Watch::default()
    };
    let since = world.now();
    let (to_them, from_them) = (
        |effect| LinkFault::between(Hosts::AllBut(faulty.clone()), Hosts::Only(faulty.clone()), effect),
        |effect| LinkFault::between(Hosts::Only(faulty.clone()), Hosts::AllBut(faulty.clone()), effect),
    );
    let spell = Duration::from_secs(20);
    match scenario {
        Scenario::Crash => faulty.iter().for_each(|host| world.crash(*host, Crash::Machine)),
        Scenario::FlipFlop => {
            world.begin_fault(to_them(Effect::Cut).flapping(spell, spell));
        }
        Scenario::LossIn => {
            world.begin_fault(to_them(Effect::Loss(Loss::Uniform(0.8))));
        }
        Scenario::LossOut => {
            world.begin_fault(from_them(Effect::Loss(Loss::Uniform(0.8))));
        }
    }
    world.run_for(if scenario == Scenario::Crash { FAULT / 4 } else { FAULT });
    let watch = world.observer();
    Removal {
        all_removed: watch.all_removed.map(|at| at.since(since).as_secs_f64()),
        removed_at_end: watch.removed.len() as f64 / ((members - FAULTY) * FAULTY) as f64,
        healthy_removed: watch.healthy_removed,
        returns: watch.returns,
        sizes: watch.sizes.len(),
    }
}

/// Starts a cluster as the paper does: one seed, ten seconds later all others at once. Seconds until all know all, from the start of the others,
/// and the different sizes that were seen.
pub fn bootstrap(detector: Detector, members: usize, seed: u64) -> (Option<f64>, usize) {
    let mut world = World::observed(seed, Quality::good(), Watch::default());
    let hosts: Vec<HostId> = (0..members)
        .map(|number| {
            let config = config(detector, number, &world);
            world.add_host(config)
        })
        .collect();
    world.start(hosts[0]);
    world.run_for(Duration::from_secs(10));
    let (since, seed_addr) = (world.now(), world.addr(hosts[0]));
    for host in &hosts[1..] {
        world.start(*host);
        world.command(*host, |node, now| node.join(now, &[seed_addr], Replay::Ignore));
    }
    let complete =
        world.run_until(START, |world| world.observer().size.values().all(|size| *size == members));
    let took = complete.then(|| world.now().since(since).as_secs_f64());
    (took, world.observer().sizes.len())
}

/// Runs all of it, at 100 members, or at the paper's 1000 when everything is asked for.
pub fn tables(options: &Options, progress: &Progress<'_>) -> Vec<PaperTable> {
    let members = if options.full { MEMBERS.0 } else { MEMBERS.1 };
    let seeds = crate::sweep::seeds(options.base, options.repeats * 3);
    let rules = [("Serf's rules", Detector::lifeguard()), ("ours", Detector::thane())];
    let scenarios = [Scenario::Crash, Scenario::FlipFlop, Scenario::LossIn, Scenario::LossOut];
    let mut runs = Vec::new();
    for scenario in scenarios {
        for (name, detector) in rules {
            runs.extend(seeds.iter().map(|seed| (scenario, name, detector, *seed)));
        }
    }
    let total = runs.len() + seeds.len();
    let removals = for_each(
        &runs,
        options.threads,
        |(scenario, _, detector, seed)| removal(*scenario, *detector, members, *seed),
        |done| progress(done, total),
    );
    let starts = for_each(
        &seeds,
        options.threads,
        |seed| bootstrap(Detector::thane(), members, *seed),
        |done| progress(runs.len() + done, total),
    );
    let rows = removals.chunks(seeds.len()).zip(runs.chunks(seeds.len())).map(|(of_rules, runs)| {
        let (scenario, name, ..) = runs[0];
        row(&format!("{}: {name}", scenario.title()), of_rules)
    });
    let columns = [
        "runs with all removed",
        "seconds, slowest",
        "removed at the end",
        "healthy removed",
        "returns",
        "sizes",
    ];
    let removal_table = PaperTable {
        title: format!("Removing {FAULTY} faulty members of {members}"),
        source: "The paper (section 7): Rapid removes exactly the faulty ones, memberlist never all of those with loss. Figures are means of the runs."
            .to_owned(),
        key: "what happens, by whose rules",
        columns: columns.map(str::to_owned).to_vec(),
        rows: rows.collect(),
        notes: vec![
            "`removed at the end` is the share of (healthy, faulty) pairs; members that lose packets but still answer some keep refuting."
                .to_owned(),
        ],
    };
    vec![removal_table, start_table(members, &starts)]
}

fn row(name: &str, removals: &[Removal]) -> Row {
    let exact: Vec<f64> = removals.iter().filter_map(|it| it.all_removed).collect();
    let mean_of = |figure: fn(&Removal) -> f64| mean(&removals.iter().map(figure).collect::<Vec<_>>());
    Row {
        name: name.to_owned(),
        cells: vec![
            Cell::ours(Some(exact.len() as f64 / removals.len() as f64)),
            Cell::ours(quantile(&exact, 1.0)),
            Cell::ours(mean_of(|it| it.removed_at_end)),
            Cell::ours(mean_of(|it| it.healthy_removed as f64)),
            Cell::ours(mean_of(|it| it.returns as f64)),
            Cell::ours(mean_of(|it| it.sizes as f64)),
        ],
    }
}

fn start_table(members: usize, starts: &[(Option<f64>, usize)]) -> PaperTable {
    let took: Vec<f64> = starts.iter().filter_map(|(took, _)| *took).collect();
    let sizes: Vec<f64> = starts.iter().map(|(_, sizes)| *sizes as f64).collect();
    // The paper has figures for a thousand members only, of those that are run here.
    let at_thousand = |figure: f64| (members == MEMBERS.0).then_some(figure);
    let row = |name: &str, took, sizes| Row { name: name.to_owned(), cells: vec![took, sizes] };
    let paper = |figure| Cell { ours: None, paper: at_thousand(figure) };
    PaperTable {
        title: format!("Starting {members} members through one seed"),
        source: "Figure 5 and table 1; processes there report sizes once a second, here every change counts."
            .to_owned(),
        key: "system",
        columns: vec!["seconds".to_owned(), "different sizes seen".to_owned()],
        rows: vec![
            row("Thane", Cell::ours(mean(&took)), Cell::ours(mean(&sizes))),
            row("memberlist", paper(45.0), paper(901.0)),
            row("Rapid", paper(28.0), paper(4.0)),
        ],
        notes: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_crash_are_removed_and_nobody_else() {
        for detector in [Detector::lifeguard(), Detector::thane()] {
            let removal = removal(Scenario::Crash, detector, 40, 17);
            assert!(removal.all_removed.is_some_and(|seconds| seconds < 30.0), "{removal:?}");
            assert_eq!(
                (removal.removed_at_end, removal.healthy_removed, removal.returns),
                (1.0, 0, 0),
                "{removal:?}"
            );
        }
    }

    #[test]
    fn a_start_through_one_seed_is_complete() {
        let (took, sizes) = bootstrap(Detector::thane(), 40, 3);
        assert!(took.is_some_and(|seconds| seconds < 30.0), "{took:?}");
        assert!(sizes > 1);
    }
}
