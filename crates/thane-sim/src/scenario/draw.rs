//! Drawing a scenario from a seed.

use std::time::Duration;

use thane_core::{Prune, Replay, Time};

use super::{Action, Parameters, Planned, Profile, Scenario};
use crate::network::{Latency, Loss, Quality};
use crate::rng::SimRng;
use crate::world::{Crash, HostId};

const SECOND: Duration = Duration::from_secs(1);

impl Scenario {
    /// The standard mix: 3 to 32 hosts, half of the time small clusters; each kind of fault is on in some seeds and off in
    /// others, so that they are met alone and together.
    pub fn draw(seed: u64) -> Self {
        let mut rng = SimRng::new(seed, "parameters", 0);
        let parameters = draw_parameters(seed, &mut rng);
        let mut rng = SimRng::new(seed, "plan", 0);
        let plan = draw_plan(&parameters, &mut rng);
        Self { parameters, plan }
    }
}

fn draw_parameters(seed: u64, rng: &mut SimRng) -> Parameters {
    let hosts = if rng.chance(0.6) { rng.between(3, 8) } else { rng.between(9, 32) };
    // Half of the clusters form in peace.
    let faults_from = if rng.chance(0.5) { Time::ZERO } else { Time::ZERO + SECOND * 30 };
    let faults_until = faults_from + rng.span(SECOND * 20, SECOND * 90);
    let share = |rng: &mut SimRng, on: f64, most: f64| if rng.chance(on) { rng.unit() * most } else { 0.0 };
    let least = rng.span(Duration::from_micros(100), Duration::from_millis(20));
    let spread = rng.span(Duration::ZERO, Duration::from_millis(30));
    let quality = Quality {
        latency: Latency::Uniform { from: least, to: least + spread },
        loss: Loss::Uniform(share(rng, 0.6, 0.3)),
        duplication: share(rng, 0.5, 0.2),
        reordering: share(rng, 0.5, 0.3),
        reordering_delay: rng.span(Duration::from_millis(10), SECOND),
        mtu: None,
        bandwidth: None,
        stream_breaks: share(rng, 0.5, 0.2),
        stream_splits: share(rng, 0.7, 0.9),
    };
    Parameters {
        seed,
        hosts,
        profile: if rng.chance(0.7) { Profile::Lan } else { Profile::Local },
        encrypted: rng.chance(0.25),
        labelled: rng.chance(0.2),
        compressed: rng.chance(0.25),
        replay: if rng.chance(0.3) { Replay::Old } else { Replay::Ignore },
        faults_from,
        faults_until,
        quality,
    }
}

fn draw_plan(parameters: &Parameters, rng: &mut SimRng) -> Vec<Planned> {
    let hosts: Vec<HostId> = (0..parameters.hosts as u32).map(HostId).collect();
    let mut plan = Vec::new();
    let mut add = |at: Time, action| plan.push(Planned { at, action });
    add(Time::ZERO, Action::Start(hosts[0]));
    // All at once, or one after the other.
    let spread = if rng.chance(0.3) { Duration::ZERO } else { SECOND * 10 };
    for &host in &hosts[1..] {
        add(Time::ZERO + rng.span(Duration::ZERO, spread), Action::Start(host));
    }
    let (from, until) = (parameters.faults_from, parameters.faults_until);
    let span = until.since(from);
    let count = rng.between(2, 6 + parameters.hosts / 2);
    for _ in 0..count {
        let at = from + rng.span(Duration::ZERO, span);
        for planned in draw_fault(&hosts, rng, at, until) {
            add(planned.at, planned.action);
        }
    }
    for _ in 0..rng.between(0, 12) {
        let (at, host) = (from + rng.span(Duration::ZERO, span), one_of(&hosts, rng));
        let action = if rng.chance(0.7) { Action::UserEvent(host) } else { Action::SetTags(host) };
        add(at, action);
    }
    // Stable, so that what was drawn first comes first at one and the same moment.
    plan.sort_by_key(|planned| planned.at);
    plan
}

fn one_of(hosts: &[HostId], rng: &mut SimRng) -> HostId {
    hosts[rng.below(hosts.len())]
}

/// One fault, and what ends it.
fn draw_fault(hosts: &[HostId], rng: &mut SimRng, at: Time, until: Time) -> Vec<Planned> {
    let host = one_of(hosts, rng);
    let later = at + rng.span(Duration::from_millis(100), SECOND * 60);
    let planned = |at: Time, action| Planned { at, action };
    match rng.below(100) {
        // Three of four come back.
        0..=29 => {
            let crash = if rng.chance(0.5) { Crash::Process } else { Crash::Machine };
            let mut both = vec![planned(at, Action::Crash(host, crash))];
            if rng.chance(0.75) {
                both.push(planned(later.min(until), Action::Start(host)));
            }
            both
        }
        30..=54 => {
            let most = until.since(at).min(SECOND * 40);
            vec![planned(at, Action::Pause(host, rng.span(Duration::from_millis(50), most)))]
        }
        55..=69 => {
            let side: Vec<HostId> = hosts.iter().copied().filter(|_| rng.chance(0.5)).collect();
            let side = if rng.chance(0.3) { vec![host] } else { side };
            // Some last until all faults stop, so that both sides have given each other up.
            let end = if rng.chance(0.5) { until } else { later.min(until) };
            vec![planned(at, Action::Partition(side)), planned(end, Action::Heal)]
        }
        70..=79 => {
            let other = one_of(hosts, rng);
            vec![planned(at, Action::CutOneWay(host, other)), planned(later.min(until), Action::Heal)]
        }
        80..=89 => {
            let mut both = vec![planned(at, Action::Leave(host))];
            if rng.chance(0.6) {
                both.push(planned((later + SECOND * 8).min(until), Action::Start(host)));
            }
            both
        }
        _ => {
            let prune = if rng.chance(0.3) { Prune::Erase } else { Prune::Keep };
            vec![planned(at, Action::ForceLeave { by: one_of(hosts, rng), target: host, prune })]
        }
    }
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
