//! Peers that lie: what members make of it, and that they get over it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use thane_core::{Config, Event, Key, Keyring, Node, Output, Replay, State, Status, Time};
use thane_sim::bounds::convergence_bound;
use thane_sim::{Byzantine, HostId, Lie, Observer, ProcessId, Quality, World};

const SECOND: Duration = Duration::from_secs(1);

/// Counts what applications were told.
#[derive(Debug, Default)]
struct Diary {
    suspected: u64,
    refuted: u64,
    user_events: u64,
    /// How many had to stop.
    stopped: usize,
}

impl Observer for Diary {
    fn output(&mut self, _: Time, _: ProcessId, output: &Output) {
        match output {
            Output::Event(Event::Suspected(_)) => self.suspected += 1,
            Output::Event(Event::Refuted(_)) => self.refuted += 1,
            Output::Event(Event::User(_)) => self.user_events += 1,
            _ => {}
        }
    }

    fn settled(&mut self, _: Time, _: ProcessId, node: &Node) {
        node.check_invariants();
    }
}

fn config(name: &str, addr: std::net::SocketAddr, encrypted: bool) -> Config {
    let keyring = Keyring::new(encrypted.then(|| Key::new(&[7; 32]).unwrap()));
    Config { keyring, ..Config::lan(name, addr) }
}

fn all_alive(world: &World<Diary>, hosts: &[HostId]) -> bool {
    hosts.iter().all(|holder| {
        hosts.iter().all(|about| {
            let member = world.node(*holder).and_then(|node| node.member(world.name(*about)));
            member.is_some_and(|member| member.status == Status::Alive && member.state == State::Alive)
        })
    })
}

/// Lets somebody lie to a cluster of five for a minute. Gives the world when all is well again.
fn lied_to(seed: u64, encrypted: bool, has_key: bool, lie: Lie) -> World<Diary> {
    let mut world = World::observed(seed, Quality::good(), Diary::default());
    let hosts: Vec<HostId> = (0..5)
        .map(|number| {
            let config = config(&format!("n{number}"), world.next_addr(), encrypted);
            world.add_host(config)
        })
        .collect();
    let first = world.addr(hosts[0]);
    for &host in &hosts {
        world.start(host);
        world.command(host, |node, now| node.join(now, &[first], Replay::Ignore).unwrap());
    }
    assert!(world.run_until(10 * SECOND, |world| all_alive(world, &hosts)));
    let liar = config("mallory", world.next_addr(), encrypted);
    let what = Byzantine { pace: Duration::from_millis(50), messages: 1200, has_key, lies: vec![lie] };
    world.add_byzantine(liar, what);
    world.run_for(60 * SECOND);
    world.end_byzantine();
    // The last votes are over.
    world.run_for(20 * SECOND);
    let within = convergence_bound(&config("x", world.next_addr(), false), 10);
    let stopped: Vec<HostId> = hosts.iter().copied().filter(|host| world.node(*host).is_none()).collect();
    world.observer_mut().stopped = stopped.len();
    // Whoever had to stop is started again by its operator, without what it believed.
    let running = hosts.iter().find(|host| world.node(**host).is_some()).map(|host| world.addr(*host));
    for host in stopped {
        world.start(host);
        let to = running.unwrap_or(first);
        world.command(host, |node, now| node.join(now, &[to], Replay::Ignore).unwrap());
    }
    assert!(world.run_until(within, |world| all_alive(world, &hosts)), "seed {seed}, {lie:?}");
    world
}

#[test]
fn forged_accusations_are_refuted_and_nobody_is_lost() {
    for seed in 0..5 {
        let world = lied_to(seed, seed % 2 == 0, true, Lie::Forged);
        assert!(world.tally().lies_forged > 500);
        let diary = world.observer();
        assert!(diary.suspected > 10, "nobody believed any accusation");
        assert!(diary.refuted > 10, "nobody answered them");
        assert!(diary.user_events > 0, "a holder of the key is believed");
        assert_eq!(diary.stopped, 0, "a lie stopped somebody");
    }
}

#[test]
fn a_name_that_was_taken_is_voted_about_and_the_cluster_gets_over_it() {
    for seed in 0..5 {
        let world = lied_to(40 + seed, seed % 2 == 0, true, Lie::Impersonating);
        assert!(world.tally().lies_impersonating > 500);
    }
}

#[test]
fn without_the_key_nothing_is_believed() {
    for lie in [Lie::Malformed, Lie::Forged] {
        let world = lied_to(6, true, false, lie);
        let told = world.observer();
        assert_eq!((told.suspected, told.user_events), (0, 0), "{lie:?}");
        let dropped = |host| world.node(host).map_or(0, |node| node.counters().packets_dropped);
        let dropped: u64 = world.hosts().map(dropped).sum();
        assert!(dropped > 300, "only {dropped} packets were dropped");
        assert!(world.hosts().take(5).all(|host| world.node(host).unwrap().stats().members == 5));
    }
}

#[test]
fn malformed_messages_are_dropped_and_counted() {
    for seed in 0..5 {
        let world = lied_to(10 + seed, seed % 2 == 0, true, Lie::Malformed);
        assert!(world.tally().lies_malformed > 500);
        let dropped = |host| world.node(host).map_or(0, |node| node.counters().messages_dropped);
        assert!(world.hosts().map(dropped).sum::<u64>() > 100);
    }
}

#[test]
fn what_was_said_before_moves_nobody() {
    for seed in 0..5 {
        let world = lied_to(20 + seed, seed % 2 == 0, false, Lie::Replayed);
        assert!(world.tally().lies_replayed > 500);
        assert_eq!(world.observer().user_events, 0);
        assert!(world.hosts().take(5).all(|host| world.node(host).unwrap().stats().members == 5));
    }
}

#[test]
fn the_same_seed_tells_the_same_lies() {
    let run = |seed| lied_to(seed, false, true, Lie::Forged).trace_hash();
    assert_eq!(run(30), run(30));
    assert_ne!(run(30), run(31));
}
