//! SF-605: a partition longer than any timeout heals without an operator.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells what it measured"
)]

use std::time::Duration;

use thane_core::{Config, Replay, State, Status};
use thane_sim::bounds::convergence_bound;
use thane_sim::{Crash, HostId, Quality, World};

const HOUR: Duration = Duration::from_secs(3600);

/// Hosts of one cluster that all joined through the first, divided into those before and those from `at` on.
struct Divided {
    world: World,
    hosts: Vec<HostId>,
    at: usize,
}

impl Divided {
    /// `pace`: how many times slower than a LAN's the detector and its gossip are. Days of the LAN's rhythm cost minutes with many
    /// members, and show nothing that a slower rhythm does not: what is remembered, for how long, and who is asked how often, is
    /// not slowed down.
    fn new(seed: u64, size: usize, at: usize, pace: u32) -> Self {
        let mut world = World::new(seed, Quality::good());
        let mut hosts = Vec::new();
        for number in 0..size {
            let mut config = Config::lan(format!("n{number}"), world.next_addr());
            for interval in [
                &mut config.probe_interval,
                &mut config.probe_timeout,
                &mut config.gossip_interval,
                &mut config.push_pull_interval,
            ] {
                *interval *= pace;
            }
            hosts.push(world.add_host(config));
        }
        let first = world.addr(hosts[0]);
        for host in &hosts {
            world.start(*host);
            if host != &hosts[0] {
                world.command(*host, |node, now| node.join(now, &[first], Replay::Ignore).unwrap()).unwrap();
            }
            world.run_for(Duration::from_millis(500));
        }
        let mut divided = Self { world, hosts, at };
        let within = divided.bound();
        assert!(divided.until(within, |it| it.all_see(it.hosts.len())), "the cluster did not form");
        divided
    }

    fn bound(&self) -> Duration {
        let config = self.hosts.iter().find_map(|host| self.world.node(*host)).unwrap().config();
        convergence_bound(config, self.hosts.len())
    }

    fn until(&mut self, within: Duration, condition: impl Fn(&Self) -> bool) -> bool {
        let (step, end) = (Duration::from_secs(10), self.world.now() + within);
        while !condition(self) {
            if self.world.now() >= end {
                return false;
            }
            self.world.run_for(step);
        }
        true
    }

    /// Divides the cluster, and waits until neither side has any memory of the other in its list.
    fn divide(&mut self, for_how_long: Duration) {
        let at = self.at;
        self.world.partition(&self.hosts[..at]);
        self.world.run_for(for_how_long);
        let (one, other) = self.hosts.split_at(at);
        for (ours, theirs) in [(one, other), (other, one)] {
            for (holder, about) in ours.iter().flat_map(|a| theirs.iter().map(move |b| (a, b))) {
                let Some(node) = self.world.node(*holder) else { continue };
                assert_eq!(node.member(self.world.name(*about)), None, "{holder:?} lists {about:?}");
            }
        }
    }

    fn heals(&mut self) {
        self.world.network_mut().heal();
        let healed = self.world.now();
        let running = self.hosts.iter().filter(|host| self.world.node(**host).is_some()).count();
        // Each side asks for the lost about once in four intervals; by chance a few times in vain, if some of them are gone.
        let within = self.world.node(*self.hosts.last().unwrap()).unwrap().config().reconnect_interval * 40
            + self.bound();
        assert!(self.until(within, |it| it.all_see(running)), "it did not heal within {within:?}");
        let took = self.world.now().since(healed);
        println!("{} hosts, divided at {}: healed after {took:?}", self.hosts.len(), self.at);
    }

    /// Whether every running node holds so many members for alive.
    fn all_see(&self, count: usize) -> bool {
        self.hosts.iter().filter_map(|host| self.world.node(*host)).all(|node| {
            let alive = node.members().filter(|it| it.status == Status::Alive && it.state == State::Alive);
            alive.count() == count
        })
    }
}

#[test]
fn sf_605_two_nodes_and_small_clusters_find_each_other_after_three_days() {
    for (seed, size, at, pace) in [(1, 2, 1, 1), (2, 3, 1, 10), (3, 5, 3, 10)] {
        let mut cluster = Divided::new(seed, size, at, pace);
        cluster.divide(72 * HOUR);
        cluster.heals();
    }
}

#[test]
fn sf_605_fifty_nodes_find_each_other_after_three_days() {
    for (seed, at) in [(4, 25), (5, 1)] {
        let mut cluster = Divided::new(seed, 50, at, 100);
        cluster.divide(72 * HOUR);
        cluster.heals();
    }
}

/// Through whom they joined once is long gone, and so are some others.
#[test]
fn sf_605_no_seed_needs_to_be_alive() {
    for (seed, size, at) in [(7, 4, 2), (8, 20, 8)] {
        let mut cluster = Divided::new(seed, size, at, 30);
        for gone in [0, size - 2] {
            cluster.world.crash(cluster.hosts[gone], Crash::Machine);
        }
        cluster.divide(72 * HOUR);
        cluster.heals();
    }
}

/// One side was started anew and knows nobody: the other side finds each of them, be it the small side or the large one.
#[test]
fn sf_605_one_side_that_remembers_is_enough() {
    for (seed, at, fresh) in [(9, 2, 0..2), (10, 2, 2..8), (11, 7, 0..7)] {
        let mut cluster = Divided::new(seed, 8, at, 30);
        cluster.divide(72 * HOUR);
        for host in &cluster.hosts.clone()[fresh] {
            cluster.world.crash(*host, Crash::Process);
            cluster.world.start(*host);
        }
        cluster.heals();
    }
}

/// Longer than a month, after which the lost are asked rarer, but not given up.
#[test]
fn sf_605_forty_days_are_not_too_long() {
    let mut cluster = Divided::new(12, 4, 2, 100);
    cluster.divide(40 * 24 * HOUR);
    cluster.heals();
}
