//! Finding each other by multicast DNS, either way round.

use std::process;
use std::time::Duration;

use crate::harness::{BOTH, Profile, with_cluster};

/// More than two of the rounds in which both ask, once a minute: on a busy machine either may miss the second in which the other
/// answers.
const ROUNDS: Duration = Duration::from_secs(150);

/// The first agent is up when the second one asks, so it is the second that finds the first, and joins it. (The first asks again
/// only after a minute.) Both announce addresses of loopback, which each takes from the other because both are on one machine.
#[test]
fn whoever_comes_second_finds_the_first() {
    for second in BOTH {
        with_cluster(Profile::Local, |cluster| {
            // What Serf says when it has found only itself, or somebody who is not up yet.
            cluster.tolerate("[ERR] agent.mdns: Failed to join");
            let name = format!("found-by-{}-{}", second.word(), process::id());
            let start = |kind| cluster.agent(kind).flag(format!("-discover={name}")).start();
            let first = start(second.other());
            let found = start(second);
            let both = [(first.name(), "alive"), (found.name(), "alive")];
            cluster.wait_for_members_within(ROUNDS, &[&first, &found], &both);
            assert!(found.log().contains(&format!("mDNS cluster: {name}")), "{}", found.log());
            cluster.wait_within(ROUNDS, "the line that says so", || {
                let log = found.log();
                if log.contains("[INFO] agent.mdns: Joined ") { Ok(()) } else { Err(log) }
            });
        });
    }
}
