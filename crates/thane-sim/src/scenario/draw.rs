//! Drawing a scenario from a seed.

use std::time::Duration;

use thane_core::{Prune, Replay, Time};

use super::{Action, Parameters, Planned, Profile, Rules, Scenario};
use crate::byzantine::{Byzantine, Lie};
use crate::clock::Clock;
use crate::disk::DiskFault;
use crate::network::{
    Bandwidth, Bursts, Effect, Hosts, Latency, LinkFault, Loss, Matrix, Quality, Topology, ZoneLink, Zones,
};
use crate::rng::SimRng;
use crate::world::{Crash, HostId};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

impl Scenario {
    /// The standard mix: 3 to 32 hosts, half of the time small clusters; each kind of fault is on in some seeds and off in
    /// others, so that they are met alone and together.
    pub fn draw(seed: u64) -> Self {
        let mut rng = SimRng::new(seed, "parameters", 0);
        let rules = draw_rules(&mut SimRng::new(seed, "rules", 0));
        let parameters = draw_parameters(seed, rules, &mut rng);
        let mut rng = SimRng::new(seed, "plan", 0);
        let plan = draw_plan(&parameters, &mut rng);
        Self { parameters, plan }
    }
}

/// Mostly those that are on unless somebody chooses others.
fn draw_rules(rng: &mut SimRng) -> Rules {
    match rng.below(10) {
        0 => Rules::Serf,
        1 => Rules::Eager,
        2 => Rules::Steady,
        3 => Rules::Mixed,
        _ => Rules::Thane,
    }
}

fn draw_parameters(seed: u64, rules: Rules, rng: &mut SimRng) -> Parameters {
    let hosts = if rng.chance(0.6) { rng.between(3, 8) } else { rng.between(9, 32) };
    // Half of the clusters form in peace.
    let faults_from = if rng.chance(0.5) { Time::ZERO } else { Time::ZERO + SECOND * 30 };
    let faults_until = faults_from + rng.span(SECOND * 20, SECOND * 90);
    let quality = draw_quality(rng);
    Parameters {
        seed,
        hosts,
        profile: if rng.chance(0.7) { Profile::Lan } else { Profile::Local },
        rules,
        encrypted: rng.chance(0.25),
        labelled: rng.chance(0.2),
        compressed: rng.chance(0.25),
        replay: if rng.chance(0.3) { Replay::Old } else { Replay::Ignore },
        faults_from,
        faults_until,
        quality,
    }
}

fn draw_quality(rng: &mut SimRng) -> Quality {
    let share = |rng: &mut SimRng, on: f64, most: f64| if rng.chance(on) { rng.unit() * most } else { 0.0 };
    let least = rng.span(Duration::from_micros(100), MS * 20);
    let spread = rng.span(Duration::ZERO, MS * 30);
    let latency = match rng.below(5) {
        0 => Latency::Constant(least),
        1 => Latency::Normal { mean: least, deviation: spread },
        2 => Latency::Lognormal { median: least, sigma: rng.unit() * 1.5 },
        3 => Latency::Pareto { least: least / 4, shape: 1.0 + rng.unit() * 2.0 },
        _ => Latency::Uniform { from: least, to: least + spread },
    };
    let loss = if rng.chance(0.25) {
        Loss::Bursts(Bursts {
            every: rng.span(SECOND, SECOND * 30),
            lasting: rng.span(MS * 20, SECOND * 5),
            within: 0.5 + rng.unit() / 2.0,
            between: share(rng, 0.3, 0.05),
        })
    } else {
        Loss::Uniform(share(rng, 0.5, 0.3))
    };
    Quality {
        latency,
        loss,
        duplication: share(rng, 0.5, 0.2),
        reordering: share(rng, 0.5, 0.3),
        reordering_delay: rng.span(MS * 10, SECOND),
        mtu: rng.chance(0.15).then(|| rng.between(576, 1420)),
        bandwidth: rng.chance(0.15).then(|| draw_bandwidth(rng)),
        stream_breaks: share(rng, 0.5, 0.2),
        stream_splits: share(rng, 0.7, 0.9),
    }
}

fn draw_bandwidth(rng: &mut SimRng) -> Bandwidth {
    Bandwidth {
        // From a dozen small packets a second to what no cluster of this size fills.
        bytes_per_second: rng.between(1_000, 20_000) as u64,
        queue_bytes: rng.between(600, 6_000) as u64,
    }
}

fn draw_plan(parameters: &Parameters, rng: &mut SimRng) -> Vec<Planned> {
    let hosts: Vec<HostId> = (0..parameters.hosts as u32).map(HostId).collect();
    let mut plan = Vec::new();
    let mut add = |at: Time, action| plan.push(Planned { at, action });
    for action in draw_surroundings(parameters, &hosts, rng) {
        add(Time::ZERO, action);
    }
    add(Time::ZERO, Action::Start(hosts[0]));
    // All at once, or one after the other.
    let spread = if rng.chance(0.3) { Duration::ZERO } else { SECOND * 10 };
    for &host in &hosts[1..] {
        add(Time::ZERO + rng.span(Duration::ZERO, spread), Action::Start(host));
    }
    let (from, until) = (parameters.faults_from, parameters.faults_until);
    let span = until.since(from);
    let kinds = Kind::draw_some(rng);
    for _ in 0..rng.between(2, 6 + parameters.hosts / 2) {
        let at = from + rng.span(Duration::ZERO, span);
        let kind = kinds[rng.below(kinds.len())];
        for planned in draw_fault(kind, &hosts, rng, at, until) {
            add(planned.at, planned.action);
        }
    }
    if rng.chance(0.2) {
        add(from + rng.span(Duration::ZERO, span / 2), Action::Byzantine(draw_byzantine(rng)));
    }
    for planned in draw_workload(parameters, &hosts, rng) {
        add(planned.at, planned.action);
    }
    // Stable, so that what was drawn first comes first at one and the same moment.
    plan.sort_by_key(|planned| planned.at);
    plan
}

/// Where hosts are, which clocks they have, and whether they keep files.
fn draw_surroundings(parameters: &Parameters, hosts: &[HostId], rng: &mut SimRng) -> Vec<Action> {
    let mut actions = Vec::new();
    // The local profile's time-outs are for one machine.
    if parameters.profile == Profile::Lan && rng.chance(0.25) {
        actions.push(Action::Topology(if rng.chance(0.3) {
            Topology::Matrix { rtt: Matrix::azure(), spread: rng.unit() * 0.1 }
        } else {
            draw_zones(rng)
        }));
    }
    if rng.chance(0.3) {
        for &host in hosts {
            if rng.chance(0.5) {
                continue;
            }
            let drift_ppm = rng.between(0, 200_000) as i32 - 100_000;
            let clock = Clock { offset: rng.span(Duration::ZERO, SECOND * 1_000_000), drift_ppm };
            actions.push(Action::Clock(host, clock));
        }
    }
    if rng.chance(0.5) {
        let rejoin_after_leave = rng.chance(0.3);
        actions.extend(hosts.iter().map(|host| Action::Disk(*host, rejoin_after_leave)));
    }
    actions
}

fn draw_zones(rng: &mut SimRng) -> Topology {
    let names = ["a", "b", "c", "d"];
    let names = &names[..rng.between(2, 4)];
    let mut zones = Zones::even(names, Latency::Constant(rng.span(MS, MS * 60)));
    if rng.chance(0.5) {
        let latency = Latency::Uniform { from: MS * 50, to: rng.span(MS * 50, MS * 150) };
        zones.links.push(ZoneLink {
            from: names[0].into(),
            to: names[1].into(),
            one_way: rng.chance(0.5),
            latency,
            loss: Loss::NONE,
        });
    }
    Topology::Zones(zones)
}

fn draw_byzantine(rng: &mut SimRng) -> Byzantine {
    let all = [Lie::Malformed, Lie::Replayed, Lie::Forged, Lie::Impersonating];
    let mut lies: Vec<Lie> = all.into_iter().filter(|_| rng.chance(0.4)).collect();
    if lies.is_empty() {
        lies.push(Lie::Replayed);
    }
    Byzantine {
        pace: rng.span(MS * 50, SECOND),
        messages: rng.between(10, 300) as u32,
        has_key: rng.chance(0.5),
        lies,
    }
}

/// What is done to the cluster that is no fault.
fn draw_workload(parameters: &Parameters, hosts: &[HostId], rng: &mut SimRng) -> Vec<Planned> {
    let (from, until) = (parameters.faults_from, parameters.faults_until);
    let span = until.since(from);
    let mut plan = Vec::new();
    let mut add = |at: Time, action| plan.push(Planned { at, action });
    for _ in 0..rng.between(0, 12) {
        let (at, host) = (from + rng.span(Duration::ZERO, span), one_of(hosts, rng));
        let action = match rng.below(10) {
            0..=5 => Action::UserEvent(host),
            6 | 7 => Action::SetTags(host),
            _ => Action::Query(host),
        };
        add(at, action);
    }
    if parameters.encrypted {
        for _ in 0..rng.between(0, 2) {
            add(from + rng.span(Duration::ZERO, span), Action::RotateKeys(one_of(hosts, rng)));
        }
    }
    // All of them, or as many as there is time for, one after the other.
    if rng.chance(0.15) {
        let leaves = rng.chance(0.5);
        let pause = rng.span(SECOND * 2, SECOND * 10);
        let mut at = from;
        for &host in hosts {
            let again = at + pause;
            if again > until {
                break;
            }
            let end = if leaves { Action::Leave(host) } else { Action::Crash(host, Crash::Process) };
            add(at, end);
            add(again, Action::Restart(host));
            at = again + rng.span(Duration::ZERO, SECOND * 5);
        }
    }
    // Members come and go all the time.
    if rng.chance(0.1) {
        for _ in 0..parameters.hosts * 2 {
            let (at, host) = (from + rng.span(Duration::ZERO, span), one_of(hosts, rng));
            let crash = if rng.chance(0.5) { Crash::Process } else { Crash::Machine };
            let again = if rng.chance(0.5) { Action::Start(host) } else { Action::Restart(host) };
            add(at, Action::Crash(host, crash));
            add((at + rng.span(MS * 100, SECOND * 10)).min(until), again);
        }
    }
    plan
}

fn one_of(hosts: &[HostId], rng: &mut SimRng) -> HostId {
    hosts[rng.below(hosts.len())]
}

/// A kind of fault. Each is on in some seeds and off in others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Crash,
    Pause,
    Block,
    Slow,
    Disk,
    Partition,
    OneWay,
    Bridge,
    Flapping,
    BadWay,
    Leave,
    ForceLeave,
}

impl Kind {
    const ALL: [Self; 12] = [
        Self::Crash,
        Self::Pause,
        Self::Block,
        Self::Slow,
        Self::Disk,
        Self::Partition,
        Self::OneWay,
        Self::Bridge,
        Self::Flapping,
        Self::BadWay,
        Self::Leave,
        Self::ForceLeave,
    ];

    /// One at least.
    fn draw_some(rng: &mut SimRng) -> Vec<Self> {
        let mut some: Vec<Self> = Self::ALL.into_iter().filter(|_| rng.chance(0.4)).collect();
        if some.is_empty() {
            some.push(Self::ALL[rng.below(Self::ALL.len())]);
        }
        some
    }
}

/// One fault, and what ends it.
fn draw_fault(kind: Kind, hosts: &[HostId], rng: &mut SimRng, at: Time, until: Time) -> Vec<Planned> {
    let host = one_of(hosts, rng);
    let later = (at + rng.span(MS * 100, SECOND * 60)).min(until);
    let left = until.since(at);
    let planned = |at: Time, action| Planned { at, action };
    let again = |rng: &mut SimRng| if rng.chance(0.5) { Action::Start(host) } else { Action::Restart(host) };
    match kind {
        // Three of four come back.
        Kind::Crash => {
            let crash = if rng.chance(0.5) { Crash::Process } else { Crash::Machine };
            let mut both = vec![planned(at, Action::Crash(host, crash))];
            if rng.chance(0.75) {
                both.push(planned(later, again(rng)));
            }
            both
        }
        Kind::Pause => {
            let span = rng.span(MS * 50, left.min(SECOND * 40).max(MS * 50));
            vec![planned(at, Action::Pause(host, span))]
        }
        Kind::Block => {
            let span = rng.span(MS * 50, left.min(SECOND * 30).max(MS * 50));
            vec![planned(at, Action::Block(host, span))]
        }
        Kind::Slow => {
            // From hardly noticeable to hopeless.
            let each = MS * (1 << rng.below(9));
            vec![planned(at, Action::Slow(host, each, later.since(at)))]
        }
        Kind::Disk => {
            let fault = if rng.chance(0.5) { DiskFault::Full } else { DiskFault::Failing };
            vec![planned(at, Action::BreakDisk(host, fault, later.since(at)))]
        }
        Kind::Partition => {
            let side = draw_side(hosts, host, rng);
            // Some last until all faults stop, so that both sides have given each other up.
            let end = if rng.chance(0.5) { until } else { later };
            vec![planned(at, Action::Partition(side)), planned(end, Action::Heal)]
        }
        Kind::OneWay if rng.chance(0.5) => {
            let other = one_of(hosts, rng);
            vec![planned(at, Action::CutOneWay(host, other)), planned(later, Action::Heal)]
        }
        Kind::OneWay | Kind::Bridge | Kind::Flapping | Kind::BadWay => {
            let end = if rng.chance(0.3) { until } else { later };
            vec![planned(at, Action::Fault(draw_link_fault(kind, hosts, host, rng), end.since(at)))]
        }
        Kind::Leave => {
            let mut both = vec![planned(at, Action::Leave(host))];
            if rng.chance(0.6) {
                both.push(planned((later + SECOND * 8).min(until), again(rng)));
            }
            both
        }
        Kind::ForceLeave => {
            let prune = if rng.chance(0.3) { Prune::Erase } else { Prune::Keep };
            vec![planned(at, Action::ForceLeave { by: one_of(hosts, rng), target: host, prune })]
        }
    }
}

/// This host alone, or half of all.
fn draw_side(hosts: &[HostId], host: HostId, rng: &mut SimRng) -> Vec<HostId> {
    let side: Vec<HostId> = hosts.iter().copied().filter(|_| rng.chance(0.5)).collect();
    if rng.chance(0.3) || side.is_empty() { vec![host] } else { side }
}

fn draw_link_fault(kind: Kind, hosts: &[HostId], host: HostId, rng: &mut SimRng) -> LinkFault {
    let side = draw_side(hosts, host, rng);
    let fault = match kind {
        Kind::Bridge => {
            // Whoever is on neither side reaches both.
            let bridges = rng.between(1, 2.min(hosts.len() - 2));
            let bridging: Vec<HostId> = (0..bridges).map(|_| one_of(hosts, rng)).collect();
            let (mut left, mut right) = (Vec::new(), Vec::new());
            for host in hosts.iter().filter(|host| !bridging.contains(host)) {
                if rng.chance(0.5) { left.push(*host) } else { right.push(*host) }
            }
            LinkFault::partition(left, right)
        }
        Kind::OneWay => LinkFault::between(Hosts::AllBut(side.clone()), Hosts::Only(side), Effect::Cut),
        Kind::Flapping => {
            let cut = LinkFault::between(Hosts::AllBut(side.clone()), Hosts::Only(side), Effect::Cut);
            let cut = LinkFault { both_ways: rng.chance(0.5), ..cut };
            cut.flapping(rng.span(MS * 200, SECOND * 20), rng.span(MS * 200, SECOND * 20))
        }
        _ => {
            let effect = match rng.below(6) {
                0 => Effect::Loss(Loss::Uniform(rng.unit() * 0.9)),
                1 => Effect::Delay(Latency::Constant(rng.span(MS, MS * 400))),
                2 => Effect::Duplication(rng.unit()),
                3 => Effect::Reordering { share: rng.unit(), delay: rng.span(MS * 10, SECOND) },
                4 => Effect::Mtu(rng.between(576, 1420)),
                _ => Effect::Bandwidth(draw_bandwidth(rng)),
            };
            // Of a host's line, or of a pair.
            let other = if rng.chance(0.5) { Hosts::All } else { Hosts::Only(vec![one_of(hosts, rng)]) };
            LinkFault::between(Hosts::Only(vec![host]), other, effect)
        }
    };
    LinkFault { both_ways: fault.both_ways || (kind == Kind::BadWay && rng.chance(0.5)), ..fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_draws_the_same_and_another_seed_does_not() {
        assert_eq!(Scenario::draw(1), Scenario::draw(1));
        assert_ne!(Scenario::draw(1), Scenario::draw(2));
    }

    #[test]
    fn plans_are_in_order_and_over_when_faults_stop() {
        for seed in 0..200 {
            let scenario = Scenario::draw(seed);
            assert!(scenario.plan.is_sorted_by_key(|planned| planned.at), "seed {seed}");
            let start = Time::ZERO + SECOND * 10;
            let end = scenario.parameters.faults_until.max(start);
            assert!(scenario.plan.iter().all(|planned| planned.at <= end), "seed {seed}");
        }
    }
}
