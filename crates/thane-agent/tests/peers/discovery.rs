//! Finding each other by multicast DNS, either way round.

use std::process;

use crate::harness::{BOTH, Profile, with_cluster};

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
            cluster.wait_until_all_alive(&[&first, &found]);
            assert!(found.log().contains(&format!("mDNS cluster: {name}")), "{}", found.log());
            cluster.wait_for("the line that says so", || {
                let log = found.log();
                if log.contains("[INFO] agent.mdns: Joined ") { Ok(()) } else { Err(log) }
            });
        });
    }
}
