//! SWIM (Das, Gupta, Motivala, DSN 2002): first detection, load, false positives, completeness, and a group under 10 % loss.
//!
//! What runs is [`thane_core::Node`] with [`Detector::swim`] and the paper's settings: a period of 2 s and `k` relays. Where it is not
//! what the paper analyses, we say what is compared instead:
//!
//! * The paper's analysis lets each member ping a random one in each period; its implementation, and ours, goes round a shuffled ring
//!   (section 4.3). With `m` others, a crashed member goes unpinged for `t` periods with probability `S(t)^m`, where
//!   `S(t) = 1 - t/m + t³/6m³` is the chance that one ring does not come round to it ([`periods_expected`]). Both tend to the same
//!   mean, e/(e-1) = 1.582 periods.
//! * The paper counts in whole periods that all members begin together. Ours begin when they like, so a detection counts as many periods
//!   as had begun when the ping was sent that found nobody.
//! * A false positive is a probe that fails: what suspicion does about it afterwards is not in the formula.
//! * No ping goes over TCP, and there are no state exchanges: the paper has neither.

use std::time::Duration;

use thane_core::{Cause, Config, Detector, Event, Output, Replay, Time};
use thane_wire::gossip::Message;
use thane_wire::packet::{Codec, CodecConfig};

use super::{Cell, Options, PaperTable, Progress, Row, for_each, mean, quantile};
use crate::network::{Loss, Quality};
use crate::rng::SimRng;
use crate::sweep::seeds;
use crate::world::{Crash, HostId, Observer, ProcessId, World};

/// The paper's protocol period T'.
const PERIOD: Duration = Duration::from_secs(2);
/// e/(e-1): periods until the first detection, in a large group.
const FIRST_DETECTION: f64 = 1.581_976_706_869_326_4;
/// Sizes of group that are run; the paper's were 6 to 56.
const SIZES: [usize; 5] = [6, 13, 28, 42, 56];
/// Figure 4: the processes that join, and for how long they are watched.
const FIGURE_4: (usize, Duration) = (17, Duration::from_secs(175));

/// What is seen from outside.
#[derive(Debug)]
struct Watch {
    codec: Codec,
    sent: u64,
    /// The first probe of the crashed member that was lost.
    found: Option<Time>,
    /// When each member was last pinged by each other, in periods of the pinger; and the longest gap.
    pings: Vec<u64>,
    last_ping: Vec<Vec<Option<u64>>>,
    gap_max: u64,
    failed: Vec<bool>,
}

impl Watch {
    fn new(members: usize) -> Self {
        let codec = CodecConfig { skip_inbound_label_check: true, ..CodecConfig::default() };
        Self {
            codec: Codec::new(codec).expect("invariant: no label is too long"),
            sent: 0,
            found: None,
            pings: vec![0; members],
            last_ping: vec![vec![None; members]; members],
            gap_max: 0,
            failed: vec![false; members],
        }
    }

    fn ping_sent(&mut self, by: usize, packet: &[u8]) {
        let opened = self.codec.open_packet(packet.to_vec().into()).ok();
        for message in opened.iter().flat_map(|opened| &opened.messages) {
            let Ok(Message::Ping(ping)) = Message::decode(message) else { continue };
            let Some(target) = number(ping.node) else { continue };
            self.pings[by] += 1;
            let now = self.pings[by];
            if let Some(last) = self.last_ping[by][target].replace(now) {
                self.gap_max = self.gap_max.max(now - last);
            }
        }
    }
}

impl Observer for Watch {
    fn output(&mut self, _at: Time, process: ProcessId, output: &Output) {
        match output {
            Output::Send { packet, .. } => {
                self.sent += 1;
                self.ping_sent(process.host.index(), packet);
            }
            Output::Event(Event::Suspected(change)) => {
                if let Cause::ProbeFailed(failure) = &change.cause {
                    self.found.get_or_insert(failure.sent);
                }
            }
            Output::Event(Event::Failed(change)) => {
                if let Some(member) = number(&change.member.name) {
                    self.failed[member] = true;
                }
            }
            _ => {}
        }
    }
}

/// Members are named by their numbers.
fn number(name: &str) -> Option<usize> {
    name.strip_prefix("m-")?.parse().ok()
}

/// Members with the paper's settings, on a network that loses this share of packets; they are added, not started.
fn group(seed: u64, members: usize, relays: usize, loss: f64) -> (World<Watch>, Vec<HostId>) {
    let quality = Quality { loss: Loss::Uniform(loss), ..Quality::good() };
    let mut world = World::observed(seed, quality, Watch::new(members));
    let hosts = (0..members)
        .map(|number| {
            let config = Config {
                detector: Detector::swim(),
                probe_interval: PERIOD,
                probe_timeout: PERIOD / 4,
                indirect_checks: relays,
                tcp_pings: false,
                push_pull_interval: Duration::ZERO,
                // 3 ceil(ln(n + 1)) periods, and as many transmissions, for the sizes of Figure 4.
                suspicion_mult: 7,
                retransmit_mult: 5,
                compression: false,
                coordinates: false,
                ..Config::lan(format!("m-{number}"), world.next_addr())
            };
            world.add_host(config)
        })
        .collect();
    (world, hosts)
}

/// Starts them all, as a group that knows itself, and waits until they have nothing left to say.
fn start(world: &mut World<Watch>, hosts: &[HostId]) {
    world.start_as_cluster(hosts);
    world.run_until(Duration::from_secs(120), |world| {
        hosts.iter().all(|host| {
            world.node(*host).is_some_and(|node| {
                let stats = node.stats();
                stats.live == hosts.len() && stats.membership_queue + stats.intent_queue == 0
            })
        })
    });
}

/// Periods until a crashed member is pinged for the first time.
fn first_detection(members: usize, seed: u64) -> f64 {
    let (mut world, hosts) = group(seed, members, 1, 0.0);
    start(&mut world, &hosts);
    let mut chance = SimRng::new(seed, "crash", 0);
    world.run_for(chance.span(Duration::ZERO, PERIOD * members as u32));
    world.crash(hosts[chance.below(members)], Crash::Machine);
    let crashed = world.now();
    world.observer_mut().found = None;
    world.run_until(PERIOD * (3 * members as u32), |world| world.observer().found.is_some());
    let waited = world.observer().found.map_or(Duration::MAX, |sent| sent.since(crashed));
    (waited.as_secs_f64() / PERIOD.as_secs_f64()).ceil().max(1.0)
}

/// The mean number of periods until a crash is first found, for shuffled rings, by the formula in the module's documentation.
pub fn periods_expected(members: usize) -> f64 {
    let others = (members - 1) as f64;
    let unpinged = |t: f64| {
        let one = if t < others { 1.0 - t / others + t.powi(3) / (6.0 * others.powi(3)) } else { 0.0 };
        one.powf(others)
    };
    (0..members).map(|periods| unpinged(periods as f64)).sum()
}

/// What a quiet group shows: packets that a member sends in a period, and the longest time between two pings of one member by another,
/// in periods.
fn quiet(members: usize, seed: u64) -> (f64, u64) {
    let (mut world, hosts) = group(seed, members, 1, 0.0);
    start(&mut world, &hosts);
    world.run_for(PERIOD * 5);
    world.observer_mut().sent = 0;
    let periods = 4 * members as u32;
    world.run_for(PERIOD * periods);
    let watch = world.observer();
    (watch.sent as f64 / f64::from(periods) / members as f64, watch.gap_max)
}

/// Probes and those that failed, in a group of 30 whose packets arrive with probability `delivery`.
fn false_positives(delivery: f64, relays: usize, seed: u64) -> (u64, u64) {
    let (mut world, hosts) = group(seed, 30, relays, 0.0);
    start(&mut world, &hosts);
    let probes = |world: &World<Watch>| {
        let nodes = hosts.iter().filter_map(|host| world.node(*host));
        nodes.fold((0, 0), |(all, failed), node| {
            let counters = node.counters();
            (all + counters.probes, failed + counters.probes_failed)
        })
    };
    let before = probes(&world);
    world.network_mut().quality.loss = Loss::Uniform(1.0 - delivery);
    world.run_for(PERIOD * 200);
    let after = probes(&world);
    (after.0 - before.0, after.1 - before.1)
}

/// The paper's PM(F): a member that is fine is taken for failed within a period, at `q_f` = 1.
pub fn false_positive_expected(delivery: f64, relays: i32) -> f64 {
    (1.0 - delivery.powi(2)) * (1.0 - delivery.powi(4)).powi(relays) * FIRST_DETECTION
}

/// Figure 4: members that nobody has ever taken for failed, and the smallest view in the end.
fn lossy_group(loss: f64, relays: usize, seed: u64) -> (f64, f64) {
    let (members, watched) = FIGURE_4;
    let (mut world, hosts) = group(seed, members, relays, loss);
    let first = world.addr(hosts[0]);
    for &host in &hosts {
        world.start(host);
        if host != hosts[0] {
            _ = world.command(host, |node, now| node.join(now, &[first], Replay::Ignore));
        }
        world.run_for(Duration::from_secs(5));
    }
    world.run_for(watched.saturating_sub(Duration::from_secs(5) * members as u32));
    let stable = world.observer().failed.iter().filter(|failed| !**failed).count();
    let smallest = hosts.iter().filter_map(|host| world.node(*host)).map(|node| node.stats().live).min();
    (stable as f64, smallest.unwrap_or(0) as f64)
}

/// Runs everything.
pub fn tables(options: &Options, progress: &Progress<'_>) -> Vec<PaperTable> {
    let repeats = options.repeats.max(1) * if options.full { 1000 } else { 100 };
    let seeds = seeds(options.base, repeats);
    let few = &seeds[..(repeats / 10).max(1)];
    let detections: Vec<(usize, u64)> =
        SIZES.iter().flat_map(|size| seeds.iter().map(move |seed| (*size, *seed))).collect();
    let all = detections.len() + SIZES.len() + 3 * few.len() + 2 * few.len();
    let found = for_each(
        &detections,
        options.threads,
        |(size, seed)| first_detection(*size, *seed),
        |done| progress(done, all),
    );
    let mut done = detections.len();
    let quiets = for_each(
        &SIZES,
        options.threads,
        |size| quiet(*size, options.base),
        |some| progress(done + some, all),
    );
    done += SIZES.len();
    let mut tables = vec![detection_table(repeats, &found, &quiets)];
    let probes: Vec<(usize, u64)> =
        [1, 3, 5].iter().flat_map(|k| few.iter().map(move |seed| (*k, *seed))).collect();
    let failed = for_each(
        &probes,
        options.threads,
        |(relays, seed)| false_positives(0.95, *relays, *seed),
        |some| progress(done + some, all),
    );
    done += probes.len();
    tables.push(false_positive_table(few.len(), &failed));
    let groups: Vec<(f64, u64)> =
        [0.1, 0.3].iter().flat_map(|loss| few.iter().map(move |seed| (*loss, *seed))).collect();
    let sizes = for_each(
        &groups,
        options.threads,
        |(loss, seed)| lossy_group(*loss, 1, *seed),
        |some| progress(done + some, all),
    );
    tables.push(figure_4_table(few.len(), &sizes));
    tables
}

fn detection_table(repeats: usize, found: &[f64], quiets: &[(f64, u64)]) -> PaperTable {
    let rows = SIZES.iter().enumerate().map(|(at, size)| {
        let found = &found[at * repeats..(at + 1) * repeats];
        let (load, gap) = quiets[at];
        Row {
            name: size.to_string(),
            cells: vec![
                Cell { ours: mean(found), paper: Some(FIRST_DETECTION) },
                Cell::ours(Some(periods_expected(*size))),
                Cell::ours(quantile(found, 0.99)),
                Cell::both(load, 2.0),
                Cell::both(gap as f64, (2 * size - 1) as f64),
            ],
        }
    });
    PaperTable {
        title: "SWIM: first detection, load, completeness".to_owned(),
        source: format!("Sections 3.1, 4.3 and Figures 2 and 3a; {repeats} crashes a row"),
        key: "members",
        columns: ["first found, mean", "rings, exact", "p99", "sent a period", "longest gap"].map(str::to_owned).into(),
        rows: rows.collect(),
        notes: vec![
            "All in periods of 2 s. The paper's mean is that of its analysis for large groups, e/(e-1); 'rings, exact' is that of what \
             runs, a shuffled ring a member. The paper's gap is the most that it allows, 2n-1."
                .to_owned(),
        ],
    }
}

fn false_positive_table(repeats: usize, failed: &[(u64, u64)]) -> PaperTable {
    let rows = [1_usize, 3, 5].iter().enumerate().map(|(at, relays)| {
        let runs = &failed[at * repeats..(at + 1) * repeats];
        let (all, failed) = runs.iter().fold((0, 0), |sum, run| (sum.0 + run.0, sum.1 + run.1));
        let ours = failed as f64 / all as f64 * FIRST_DETECTION;
        Row {
            name: relays.to_string(),
            cells: vec![
                Cell::both(ours, false_positive_expected(0.95, *relays as i32)),
                Cell::ours(Some(all as f64)),
                Cell::ours(Some(failed as f64)),
            ],
        }
    });
    PaperTable {
        title: "SWIM: false positives, packet delivery 0.95, no suspicion".to_owned(),
        source: format!("Section 3.2, PM(F); {repeats} runs a row, 30 members"),
        key: "relays k",
        columns: ["PM(F)", "probes", "failed"].map(str::to_owned).into(),
        rows: rows.collect(),
        notes: vec![
            "PM(F) is the share of probes that fail, times e/(e-1), as in the paper's formula.".to_owned(),
        ],
    }
}

fn figure_4_table(repeats: usize, sizes: &[(f64, f64)]) -> PaperTable {
    let rows = [("10 %", Some(12.0)), ("30 %", None)].into_iter().enumerate().map(|(at, (name, paper))| {
        let runs = &sizes[at * repeats..(at + 1) * repeats];
        let (stable, smallest): (Vec<f64>, Vec<f64>) = runs.iter().copied().unzip();
        let whole = smallest.iter().filter(|size| **size >= FIGURE_4.0 as f64).count();
        Row {
            name: name.to_owned(),
            cells: vec![
                Cell { ours: mean(&stable), paper },
                Cell::ours(mean(&smallest)),
                Cell::ours(Some(100.0 * whole as f64 / repeats as f64)),
            ],
        }
    });
    PaperTable {
        title: "SWIM: 17 processes that join one after the other, after 175 s".to_owned(),
        source: format!("Figure 4, SWIM+Inf+Susp; {repeats} runs a row"),
        key: "loss",
        columns: ["stable members", "smallest view", "runs with 17 of 17 %"].map(str::to_owned).into(),
        rows: rows.collect(),
        notes: vec![
            "Stable members are those that nobody has taken for failed. The paper's members stay out once they are; ours answer and \
             come back, which the smallest view at the end shows."
                .to_owned(),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 3.1: e/(e-1) periods in large groups, a little less in small ones, and no trend beyond.
    #[test]
    fn a_crash_is_first_found_when_the_analysis_says() {
        assert!((periods_expected(100_000) - FIRST_DETECTION).abs() < 1e-4);
        let seeds = seeds(1, 200);
        for size in [6, 28] {
            let found = for_each(&seeds, 2, |seed| first_detection(size, *seed), |_| {});
            let (ours, expected) = (mean(&found).unwrap(), periods_expected(size));
            // One period is about the standard deviation; this is three standard errors.
            assert!((ours - expected).abs() < 0.21, "{size} members: {ours} periods, expected {expected}");
        }
    }

    /// Figure 2: two messages a period, whatever the size; section 4.3: at most 2n-1 periods between two pings of one member.
    #[test]
    fn the_load_does_not_depend_on_the_size_and_nobody_is_forgotten() {
        for size in [6, 28, 56] {
            let (load, gap) = quiet(size, 1);
            assert!((load - 2.0).abs() < 0.02, "{size} members: {load} messages a period");
            assert!((size as u64..2 * size as u64).contains(&gap), "{size} members: {gap} periods");
        }
    }

    /// Section 3.2, PM(F): the table's values, and what is measured at a packet delivery of 0.95.
    #[test]
    fn false_positives_are_as_many_as_the_formula_says() {
        for (delivery, relays, value) in [(0.95, 1, 2.86e-2), (0.95, 3, 9.84e-4), (0.99, 1, 1.24e-3)] {
            let ours = false_positive_expected(delivery, relays);
            assert!((ours / value - 1.0).abs() < 0.01, "{delivery} {relays}: {ours}");
        }
        let runs = for_each(&seeds(2, 2), 2, |seed| false_positives(0.95, 1, *seed), |_| {});
        let (all, failed) = runs.iter().fold((0, 0), |sum, run| (sum.0 + run.0, sum.1 + run.1));
        let share = false_positive_expected(0.95, 1) / FIRST_DETECTION;
        let (expected, deviation) = (share * all as f64, (share * (1.0 - share) * all as f64).sqrt());
        assert!(all > 11_000);
        assert!(
            (failed as f64 - expected).abs() < 4.0 * deviation,
            "{failed} of {all} probes, expected {expected}"
        );
    }

    /// Figure 4: with dissemination by infection and suspicion, 12 of 17 stayed stable at 10 % loss.
    #[test]
    fn a_group_under_loss_stays_at_least_as_stable_as_published() {
        let runs = for_each(&seeds(3, 4), 2, |seed| lossy_group(0.1, 1, *seed), |_| {});
        for (stable, smallest) in runs {
            assert!(stable >= 12.0 && smallest >= 12.0, "{stable} stable, {smallest} in the smallest view");
        }
    }
}
