//! Partitions of any length, and the time until the parts are one cluster again.
//!
//! A [`Division`] is one experiment: a cluster forms, is divided, perhaps loses those through whom it formed, and is joined again
//! after seconds or days; from then on it must be one cluster within [`crate::bounds::healing_bound`], without an operator.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use thane_core::{Config, Node, Replay, State, Status, Time};

use crate::bounds::{convergence_bound, healing_bound};
use crate::network::{Loss, Quality};
use crate::rng::SimRng;
use crate::world::{Crash, HostId, World};

/// The longest partition that is drawn.
const LONGEST: Duration = Duration::from_secs(72 * 3600);
/// The largest cluster that is drawn.
const LARGEST: usize = 500;
/// How often a cluster is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// It is one again when it has been so for this long: a partition may be over before anybody has noticed it.
const STEADY: Duration = Duration::from_secs(10);

/// A cluster that is divided for a while.
#[derive(Debug, Clone, PartialEq)]
pub struct Division {
    /// Where everything is drawn from.
    pub seed: u64,
    /// Hosts before the partition, 2 or more. All joined through the first.
    pub hosts: usize,
    /// Hosts on the first one's side, at least 1 and fewer than all.
    pub here: usize,
    /// How long the partition lasts.
    pub lasting: Duration,
    /// Share of packets that are lost, all the time, 0 to 1.
    pub loss: f64,
    /// Machines that die for good at the beginning of the partition: the first one, through whom all joined, and those after it, as long as
    /// somebody is left there.
    pub dead_seeds: usize,
    /// How many times slower than a LAN's the detector and its gossip are. Days of a LAN's rhythm cost minutes with many members, and show
    /// nothing that a slower rhythm does not: what is remembered, for how long, and who is asked how often, is not slowed down.
    pub pace: u32,
}

/// A cluster that became one again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Healed {
    /// How long it took.
    pub took: Duration,
    /// How long it might have taken.
    pub bound: Duration,
    /// Inputs that its nodes were given: what it cost.
    pub inputs: u64,
}

/// A cluster that did not.
#[derive(Debug, Clone, PartialEq)]
pub struct Unhealed {
    /// What was tried.
    pub division: Division,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Unhealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  {}", self.division, self.what)
    }
}

impl std::error::Error for Unhealed {}

impl fmt::Display for Division {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let there = self.hosts - self.here;
        write!(
            f,
            "seed {}: {} + {there} hosts, divided for {:.0} s, {:.0} % loss, {} dead seeds, pace {}",
            self.seed,
            self.here,
            self.lasting.as_secs_f64(),
            self.loss * 100.0,
            self.dead_seeds,
            self.pace
        )
    }
}

impl Division {
    /// Draws one: 2 to 500 hosts, 1 s to 72 h, up to 30 % loss, the seeds alive or dead. Small clusters and short partitions are as likely as
    /// large and long ones. The pace is chosen so that it costs about this many inputs at most.
    pub fn draw(seed: u64, inputs: u64) -> Self {
        let mut rng = SimRng::new(seed, "division", 0);
        let hosts = (logarithmic(&mut rng, 2.0, LARGEST as f64 + 1.0) as usize).clamp(2, LARGEST);
        let lasting = Duration::from_secs_f64(logarithmic(&mut rng, 1.0, LONGEST.as_secs_f64()));
        let here = rng.between(1, hosts - 1);
        let loss = if rng.chance(0.5) { rng.unit() * 0.3 } else { 0.0 };
        let dead_seeds = if rng.chance(0.5) { 0 } else { rng.between(1, 3).min(here - 1) };
        // A node is given some ten inputs a second in a LAN's rhythm.
        let cost = hosts as f64 * lasting.as_secs_f64() * 10.0;
        let pace = (cost / inputs.max(1) as f64).ceil().clamp(1.0, 1000.0) as u32;
        Self { seed, hosts, here, lasting, loss, dead_seeds, pace }
    }

    /// Runs it.
    ///
    /// # Errors
    /// When the cluster does not form, or is not one again within the bound.
    ///
    /// # Panics
    /// When it has fewer than 2 hosts, or a side has none.
    pub fn run(&self) -> Result<Healed, Box<Unhealed>> {
        assert!(self.here >= 1 && self.here < self.hosts, "each side has a host: {self}");
        let unhealed = |what: String| Box::new(Unhealed { division: self.clone(), what });
        let quality = Quality { loss: Loss::Uniform(self.loss), ..Quality::good() };
        let mut world = World::new(self.seed, quality);
        let hosts: Vec<HostId> = (0..self.hosts)
            .map(|number| {
                let config = self.config(&format!("n{number}"), &world);
                world.add_host(config)
            })
            .collect();
        let config = self.config("n0", &World::new(0, Quality::good()));
        Self::form(&mut world, &hosts);
        let within = convergence_bound(&config, self.hosts);
        if !until(&mut world, within, |world| self.is_one(world, &hosts)) {
            return Err(unhealed(format!("it did not form within {within:?}")));
        }
        world.partition(&hosts[..self.here]);
        for host in &hosts[..self.dead_seeds] {
            world.crash(*host, Crash::Machine);
        }
        world.run_for(self.lasting);
        world.network_mut().heal();
        let (healed, bound) = (world.now(), healing_bound(&config, self));
        let Some(one) = self.one_since(&mut world, &hosts, healed + bound) else {
            let wrong = self.wrong(&world, &hosts);
            return Err(unhealed(format!("not one cluster within {bound:?}: {wrong}")));
        };
        Ok(Healed { took: one.since(healed), bound, inputs: world.tally().inputs })
    }

    /// Runs until the cluster has been one for [`STEADY`], in its own pace. Gives since when; `None` if it is not at the deadline.
    fn one_since(&self, world: &mut World, hosts: &[HostId], deadline: Time) -> Option<Time> {
        let pace = self.pace.max(1);
        let mut since = None;
        loop {
            let now = world.now();
            if self.is_one(world, hosts) {
                let since = *since.get_or_insert(now);
                if now.since(since) >= STEADY * pace {
                    return Some(since);
                }
                // All pairs are looked at, and with a slow pace nothing changes soon.
                world.run_for(LOOK * pace);
                continue;
            }
            since = None;
            if now >= deadline {
                return None;
            }
            world.run_for(LOOK);
        }
    }

    /// Whether everybody who runs holds everybody who runs for alive, and nobody else.
    fn is_one(&self, world: &World, hosts: &[HostId]) -> bool {
        let running: Vec<&Node> = hosts.iter().filter_map(|host| world.node(*host)).collect();
        // The counts first: they cost nothing.
        running.iter().all(|node| node.stats().live == running.len())
            && running.iter().all(|node| running.iter().all(|other| self.holds_for_alive(node, other)))
    }

    /// While packets are lost somebody is always suspected for a moment, and nothing is wrong with that.
    fn holds_for_alive(&self, node: &Node, other: &Node) -> bool {
        let may_be_suspected = self.loss > 0.0;
        node.member(&other.config().name).is_some_and(|member| {
            member.status == Status::Alive && (may_be_suspected || member.state == State::Alive)
        })
    }

    /// A few of those who do not hold each other for alive.
    fn wrong(&self, world: &World, hosts: &[HostId]) -> String {
        let running: Vec<&Node> = hosts.iter().filter_map(|host| world.node(*host)).collect();
        let pairs = running.iter().flat_map(|a| running.iter().map(move |b| (*a, *b)));
        let apart: Vec<String> = pairs
            .filter(|(a, b)| !self.holds_for_alive(a, b))
            .map(|(a, b)| {
                let held = a.member(&b.config().name);
                let held = held.map_or("unknown".into(), |it| format!("{} / {}", it.status, it.state));
                format!("{} holds {} for {held}", a.config().name, b.config().name)
            })
            .collect();
        let too_many = running.iter().filter(|node| node.stats().live > running.len()).count();
        format!(
            "{} pairs apart, among them {}; {too_many} list somebody who does not run",
            apart.len(),
            apart.iter().take(5).cloned().collect::<Vec<_>>().join("; ")
        )
    }

    fn config(&self, name: &str, world: &World) -> Config {
        let mut config = Config::lan(name, world.next_addr());
        for interval in [
            &mut config.probe_interval,
            &mut config.probe_timeout,
            &mut config.gossip_interval,
            &mut config.push_pull_interval,
        ] {
            *interval *= self.pace.max(1);
        }
        config
    }

    fn form(world: &mut World, hosts: &[HostId]) {
        let seed = world.addr(hosts[0]);
        for host in hosts {
            world.start(*host);
            if *host != hosts[0] {
                world.command(*host, |node, now| node.join(now, &[seed], Replay::Ignore));
            }
            world.run_for(Duration::from_millis(50));
        }
        // What was lost on the way to the seed is tried again, as `retry-join` does.
        for _ in 0..20 {
            world.run_for(Duration::from_secs(15));
            let alone = |host: &&HostId| world.node(**host).is_some_and(|node| node.stats().members < 2);
            let alone: Vec<HostId> = hosts.iter().filter(alone).copied().collect();
            for host in alone.iter().filter(|host| **host != hosts[0]) {
                world.command(*host, |node, now| node.join(now, &[seed], Replay::Ignore));
            }
            if alone.is_empty() {
                break;
            }
        }
    }
}

/// Between the two, each order of magnitude as likely as any other.
fn logarithmic(rng: &mut SimRng, from: f64, to: f64) -> f64 {
    crate::portable::exp(rng.unit() * crate::portable::ln(to / from)) * from
}

fn until(world: &mut World, within: Duration, condition: impl Fn(&World) -> bool) -> bool {
    let deadline = world.now() + within;
    while !condition(world) {
        if world.now() >= deadline {
            return false;
        }
        world.run_for(LOOK);
    }
    true
}

/// Runs many, on several threads; `progress` is told how many are done. The results come in the order of the divisions.
pub fn heal_all(
    divisions: &[Division],
    threads: usize,
    progress: impl Fn(usize) + Sync,
) -> Vec<Result<Healed, Box<Unhealed>>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(division) = divisions.get(place) else { return };
                    let result = division.run();
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.insert(place, result);
                    progress(results.len());
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}
