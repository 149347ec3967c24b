//! Serf's spread of a message: how long a user event takes to reach a share of the members, by gossip alone.
//!
//! Every 200 ms each member sends what it has to 3 others, each message `4 × ceil(log10(n + 1))` times in all. Probes and state
//! exchanges, which carry messages as well, are off, so that the gossip is seen alone. The members are in step neither in the
//! reference nor here. Times are in gossip intervals. The reference is a small simulation of the same rules, written by others; beside
//! it stands the formula of Serf's convergence page, `x(r) = 1 / (1 + (n + 1) e^(-0.5 f (1 - loss) r))`, which is about twice as slow as what
//! really happens.

use std::time::Duration;

use thane_core::{Config, Event, Output, Time};

use super::{Cell, Options, PaperTable, Progress, Row, for_each, mean, quantile};
use crate::network::{Latency, Loss, Quality};
use crate::world::{HostId, Observer, ProcessId, World};

/// Members to send to in one interval.
const FANOUT: f64 = 3.0;
/// The name of the event.
const EVENT: &str = "spread";
/// A message is gossiped for far less than this.
const OVER: Duration = Duration::from_secs(12);

/// One line of the reference: members, loss, then intervals until half, 90 %, 99 % and all members have it, copies that a member sends, and the
/// share of runs in which all have it in the end.
struct Reference {
    members: usize,
    loss: f64,
    half: f64,
    nine_tenths: f64,
    ninety_nine: Option<f64>,
    last: f64,
    copies: f64,
    all_reached: f64,
}

const REFERENCE: [Reference; 9] = [
    reference(30, 0.0, [1.2, 1.9, f64::NAN, 2.5], 8.0, 299.0 / 300.0),
    reference(100, 0.0, [1.7, 2.4, 3.1, 3.4], 12.0, 1.0),
    reference(1000, 0.0, [2.6, 3.3, 4.1, 5.1], 16.0, 1.0),
    reference(1000, 0.10, [2.9, 3.7, 4.6, 5.7], 16.0, 299.0 / 300.0),
    reference(1000, 0.25, [3.4, 4.3, 5.4, 6.7], 16.0, 297.0 / 300.0),
    reference(1000, 0.50, [5.0, 6.4, 8.1, 10.1], 16.0, 213.0 / 300.0),
    reference(10_000, 0.0, [3.4, 4.2, 5.0, 6.7], 20.0, 1.0),
    reference(10_000, 0.25, [4.6, 5.6, 6.6, 8.8], 20.0, 1.0),
    reference(10_000, 0.50, [6.7, 8.2, 9.8, 13.5], 20.0, 26.0 / 40.0),
];

const fn reference(members: usize, loss: f64, times: [f64; 4], copies: f64, all_reached: f64) -> Reference {
    let [half, nine_tenths, ninety_nine, last] = times;
    let ninety_nine = if ninety_nine.is_nan() { None } else { Some(ninety_nine) };
    Reference { members, loss, half, nine_tenths, ninety_nine, last, copies, all_reached }
}

/// How one event spread.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    /// When each member that got it did, in gossip intervals after it was sent, in order; the sender's own 0 is the first.
    pub times: Vec<f64>,
    /// Packets that a member sent, on average; each holds the event once.
    pub copies: f64,
    /// How many members there are.
    pub members: usize,
}

impl Spread {
    /// When this share of the members had it; `None` if so many never had.
    pub fn reached(&self, share: f64) -> Option<f64> {
        let wanted = (share * self.members as f64).ceil() as usize;
        self.times.get(wanted.max(1) - 1).copied()
    }
}

/// Notes when each host is told of the event, and counts packets.
#[derive(Debug, Default)]
struct Watch {
    told: Vec<Time>,
    packets: u64,
}

impl Observer for Watch {
    fn output(&mut self, at: Time, _process: ProcessId, output: &Output) {
        match output {
            Output::Event(Event::User(user)) if &*user.name == EVENT => self.told.push(at),
            Output::Send { .. } => self.packets += 1,
            _ => {}
        }
    }
}

/// Sends one event in a cluster that is quiet otherwise.
pub fn spread(members: usize, loss: f64, seed: u64) -> Spread {
    let quality = Quality {
        latency: Latency::Uniform { from: Duration::from_micros(50), to: Duration::from_micros(200) },
        loss: Loss::Uniform(loss),
        ..Quality::good()
    };
    let mut world = World::observed(seed, quality, Watch::default());
    let hosts: Vec<HostId> = (0..members)
        .map(|number| {
            let mut config = Config::lan(format!("m{number}"), world.next_addr());
            config.probe_interval = Duration::ZERO;
            config.probe_timeout = Duration::ZERO;
            config.push_pull_interval = Duration::ZERO;
            config.coordinates = false;
            world.add_host(config)
        })
        .collect();
    let interval = Config::lan("m", world.next_addr()).gossip_interval.as_secs_f64();
    world.start_as_cluster(&hosts);
    // Until everybody has stopped telling that it is there.
    world.run_for(OVER);
    *world.observer_mut() = Watch::default();
    let since = world.now();
    world.command(hosts[0], |node, now| node.user_event(now, EVENT, &[b'x'; 64], false));
    world.run_for(OVER);
    let watch = world.observer();
    let mut times: Vec<f64> = watch.told.iter().map(|at| at.since(since).as_secs_f64() / interval).collect();
    times.sort_unstable_by(f64::total_cmp);
    Spread { times, copies: watch.packets as f64 / members as f64, members }
}

/// What Serf's convergence page says of this share of the members, in intervals.
fn page(members: usize, loss: f64, share: f64) -> f64 {
    let growth = 0.5 * FANOUT * (1.0 - loss);
    ((members as f64 + 1.0) * share / (1.0 - share)).ln() / growth
}

/// Runs all of it; clusters of 10,000 members only when everything is asked for.
pub fn tables(options: &Options, progress: &Progress<'_>) -> Vec<PaperTable> {
    let lines: Vec<&Reference> =
        REFERENCE.iter().filter(|line| options.full || line.members <= 1000).collect();
    let repeats = options.repeats * 10;
    let seeds = crate::sweep::seeds(options.base, repeats);
    let mut runs = Vec::new();
    for (line, reference) in lines.iter().enumerate() {
        // A large cluster takes long to build, and says more.
        let count = if reference.members > 1000 { options.repeats } else { repeats };
        runs.extend(seeds[..count].iter().map(|seed| (line, *seed)));
    }
    // The large clusters come last, and one at a time: each takes gigabytes.
    let (small, large) = runs.split_at(runs.partition_point(|(line, _)| lines[*line].members <= 1000));
    let run = |(line, seed): &(usize, u64)| spread(lines[*line].members, lines[*line].loss, *seed);
    let mut spreads = for_each(small, options.threads, run, |done| progress(done, runs.len()));
    spreads.extend(for_each(large, 1, run, |done| progress(small.len() + done, runs.len())));
    let mut rows = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let of_line: Vec<&Spread> = runs
            .iter()
            .zip(&spreads)
            .filter(|((line, _), _)| *line == at)
            .map(|(_, spread)| spread)
            .collect();
        rows.push(row(line, &of_line));
    }
    let columns = ["half", "90 %", "99 %", "last", "copies", "all reached", "half, Serf's page"];
    vec![PaperTable {
        title: "Gossip intervals (200 ms) until a user event is at so many members".to_owned(),
        source: format!(
            "Serf's rules, gossip alone; {} runs of ours, up to 300 of the reference.",
            runs.len()
        ),
        key: "members, loss",
        columns: columns.map(str::to_owned).to_vec(),
        rows,
        notes: vec![format!(
            "`all reached` is the share of runs in which no member was missed by gossip; state exchanges bring the event to those.{}",
            if options.full { "" } else { " Clusters of 10,000 come with --full." }
        )],
    }]
}

fn row(line: &Reference, spreads: &[&Spread]) -> Row {
    let mean_of = |share: f64| {
        let times: Vec<f64> = spreads.iter().filter_map(|spread| spread.reached(share)).collect();
        mean(&times)
    };
    let last: Vec<f64> = spreads.iter().filter_map(|spread| quantile(&spread.times, 1.0)).collect();
    let copies: Vec<f64> = spreads.iter().map(|spread| spread.copies).collect();
    let reached = spreads.iter().filter(|spread| spread.times.len() == spread.members).count();
    let cell = |ours: Option<f64>, paper: f64| Cell { ours, paper: Some(paper) };
    Row {
        name: format!("{}, {:.0} %", line.members, line.loss * 100.0),
        cells: vec![
            cell(mean_of(0.5), line.half),
            cell(mean_of(0.9), line.nine_tenths),
            Cell { ours: mean_of(0.99).filter(|_| line.ninety_nine.is_some()), paper: line.ninety_nine },
            cell(mean(&last), line.last),
            cell(mean(&copies), line.copies),
            cell(Some(reached as f64 / spreads.len() as f64), line.all_reached),
            Cell { ours: None, paper: Some(page(line.members, line.loss, 0.5)) },
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 members, nothing lost: the reference's figures, within what 20 runs can say.
    #[test]
    fn an_event_spreads_as_fast_as_serfs_rules_say() {
        let reference = &REFERENCE[1];
        let spreads: Vec<Spread> =
            crate::sweep::seeds(4, 20).iter().map(|seed| spread(100, 0.0, *seed)).collect();
        let row = row(reference, &spreads.iter().collect::<Vec<_>>());
        for (cell, column) in row.cells.iter().zip(["half", "90 %", "99 %", "last", "copies", "all reached"])
        {
            let (ours, paper) = (cell.ours.expect("we measure it"), cell.paper.expect("it is known"));
            assert!((ours / paper - 1.0).abs() <= 0.2, "{column}: {ours:.2}, reference {paper}");
        }
    }

    /// 30 nodes: half after 0.46 s, 99 % after 1.07 s. (Serf's convergence page.)
    #[test]
    fn the_page_is_computed_as_it_computes_itself() {
        assert!((page(30, 0.0, 0.5) * 0.2 - 0.46).abs() < 0.01);
        assert!((page(30, 0.0, 0.99) * 0.2 - 1.07).abs() < 0.01);
    }
}
