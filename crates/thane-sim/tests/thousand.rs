//! A thousand nodes join through one seed.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells what it measured"
)]

use std::time::Duration;

use thane_core::{Config, Replay};
use thane_sim::bounds::push_pull_interval;
use thane_sim::{HostId, Quality, World};

const NODES: usize = 1000;

/// The hash of the run and the virtual time that it took until every node knew all.
fn bootstrap(seed: u64) -> (u64, Duration) {
    let mut world = World::new(seed, Quality::good());
    let hosts: Vec<HostId> = (0..NODES)
        .map(|number| {
            let mut config = Config::lan(format!("node-{number}"), world.next_addr());
            // Compression costs more processor time here than it saves: virtual bytes are free.
            config.compression = false;
            world.add_host(config)
        })
        .collect();
    let first = world.addr(hosts[0]);
    for &host in &hosts {
        world.start(host);
        if host != hosts[0] {
            world.command(host, |node, now| node.join(now, &[first], Replay::Ignore).unwrap()).unwrap();
        }
        world.run_for(Duration::from_millis(10));
    }
    // Gossip reaches nearly all at once; who missed a thing hears it in the next exchange of its own, or the one after.
    let at_most = push_pull_interval(&Config::lan("a", first), NODES) * 2;
    let knows_all = |world: &World| {
        hosts.iter().all(|host| {
            world.node(*host).is_some_and(|node| {
                let stats = node.stats();
                stats.live == NODES && stats.failed == 0 && stats.left == 0
            })
        })
    };
    let converged = world.run_until(at_most, knows_all);
    let least = hosts.iter().filter_map(|host| world.node(*host)).map(|node| node.stats().live).min();
    assert!(converged, "after {at_most:?} some node knows only {least:?} of {NODES} members");
    // It stays so: nobody is accused.
    let took = world.now().since_start();
    world.run_for(Duration::from_secs(10));
    assert!(knows_all(&world), "the cluster did not stay whole");
    println!("{NODES} nodes agreed after {took:?}: {:?}", world.tally());
    (world.trace_hash().value(), took)
}

#[test]
fn a_thousand_nodes_join_through_one_seed_and_the_run_repeats_bit_for_bit() {
    let (first, second) = std::thread::scope(|scope| {
        let other = scope.spawn(|| bootstrap(1));
        (bootstrap(1), other.join().unwrap())
    });
    assert_eq!(first, second, "the same seed gave two different runs");
}
