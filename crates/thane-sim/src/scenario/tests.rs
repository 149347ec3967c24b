//! Plans put together by hand.

use std::time::Duration;

use thane_core::{Replay, Time};

use super::{Action, Parameters, Planned, Profile, Rules, Scenario};
use crate::network::{Loss, Quality};
use crate::world::HostId;

fn at(millis: u64) -> Time {
    Time::from_start(Duration::from_millis(millis))
}

/// Faults from 20 s until 30 s, and this plan with its times in milliseconds.
fn scenario(hosts: usize, plan: impl IntoIterator<Item = (u64, Action)>) -> Scenario {
    let parameters = Parameters {
        seed: 1,
        hosts,
        profile: Profile::Local,
        rules: Rules::Thane,
        encrypted: false,
        labelled: false,
        compressed: false,
        replay: Replay::Ignore,
        faults_from: at(20_000),
        faults_until: at(30_000),
        quality: Quality::good(),
    };
    let plan = plan.into_iter().map(|(millis, action)| Planned { at: at(millis), action });
    Scenario { parameters, plan: plan.collect() }
}

#[test]
fn the_last_one_may_be_about_to_leave_when_the_faults_stop() {
    let alone = scenario(2, [(0, Action::Start(HostId(0))), (29_990, Action::Leave(HostId(0)))]);
    let report = alone.run().unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!((report.tally.starts, report.tally.leaves), (2, 1), "somebody is started in its place");
}

#[test]
fn the_network_gets_as_bad_as_was_drawn_even_if_nothing_is_planned_then() {
    let mut quiet = scenario(4, (0..4).map(|host| (u64::from(host) * 100, Action::Start(HostId(host)))));
    let lost =
        |scenario: &Scenario| scenario.run().unwrap_or_else(|failure| panic!("{failure}")).tally.packets_lost;
    assert_eq!(lost(&quiet), 0);
    quiet.parameters.quality.loss = Loss::Uniform(0.3);
    assert!(lost(&quiet) > 10);
}
