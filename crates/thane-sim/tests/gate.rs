//! The gate between a process and the network.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use thane_core::{Config, Detector, Replay, State};
use thane_sim::{HostId, Quality, World};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Ten members that know each other and follow SWIM's rules.
fn cluster(seed: u64) -> (World, Vec<HostId>) {
    let mut world = World::new(seed, Quality::good());
    let hosts: Vec<HostId> = (0..10)
        .map(|number| {
            let config = Config::lan(format!("node-{number}"), world.next_addr());
            world.add_host(Config { detector: Detector::swim(), ..config })
        })
        .collect();
    let first = world.addr(hosts[0]);
    for &host in &hosts {
        world.start(host);
        if host != hosts[0] {
            world.command(host, |node, now| node.join(now, &[first], Replay::Ignore).unwrap()).unwrap();
        }
    }
    let whole = world.run_until(MS(10_000), |world| {
        hosts.iter().all(|host| world.node(*host).is_some_and(|node| node.stats().live == 10))
    });
    assert!(whole);
    world.run_for(MS(5_000));
    (world, hosts)
}

fn suspects_of(world: &World, host: HostId) -> usize {
    let members = world.node(host).unwrap().members();
    members.filter(|member| matches!(member.state, State::Suspect | State::Dead)).count()
}

#[test]
fn a_blocked_member_is_accused_accuses_one_itself_and_is_taken_back() {
    let (mut world, hosts) = cluster(3);
    let blocked = hosts[4];
    // It has just sent a ping, whose ack is under way: one that had come already would be taken first when the block ends.
    let probes = |world: &World| world.node(blocked).unwrap().counters().probes;
    let before = probes(&world);
    while probes(&world) == before {
        assert!(world.step());
    }
    let probes = probes(&world);
    world.block(blocked, MS(7_000));
    world.run_for(MS(6_900));
    assert!(world.is_blocked(blocked));
    assert!(
        hosts.iter().all(|host| *host == blocked || suspects_of(&world, *host) >= 1),
        "everybody accuses it"
    );
    assert_eq!(suspects_of(&world, blocked), 0, "it accuses nobody yet: its only probe hangs");
    assert!(world.node(blocked).unwrap().counters().probes <= probes + 2);
    world.run_for(MS(101));
    assert!(!world.is_blocked(blocked));
    let accuses = world.run_until(MS(50), |world| suspects_of(world, blocked) == 1);
    assert!(accuses, "that probe is lost as soon as it can go on");
    world.run_for(MS(5_000));
    assert!(hosts.iter().all(|host| suspects_of(&world, *host) == 0), "both answer, and everybody hears it");
    assert_eq!(world.tally().blocks, 1);
}

/// The tag `role` of one host's member, as another host knows it.
fn role_of(world: &World, member: HostId, at: HostId) -> Option<String> {
    let name = world.node(member).unwrap().local().name;
    let known = world.node(at).unwrap().member(&name)?;
    known.tags().get("role").map(ToString::to_string)
}

#[test]
fn an_exchange_of_state_brings_news_although_older_packets_wait() {
    for (block, arrives) in [(MS(4_000), "in time"), (MS(14_000), "after whoever made it has given up")] {
        let (mut world, hosts) = cluster(5);
        let (blocked, other) = (hosts[4], hosts[1]);
        // Of the packets only the one in hand is taken up, which has come before the news.
        world.set_catch_up(blocked, MS(100_000));
        world.block(blocked, block);
        world.run_for(MS(2_000));
        let tags = [("role".to_owned(), "web".to_owned())].into();
        world.command(other, |node, now| node.set_tags(now, tags).unwrap()).unwrap();
        let to = world.addr(blocked);
        world.command(other, |node, now| node.join(now, &[to], Replay::Ignore).unwrap()).unwrap();
        world.run_for(block.saturating_sub(MS(2_001)));
        assert!(world.is_blocked(blocked));
        assert_eq!(role_of(&world, other, blocked), None, "its own exchanges wait too");
        world.run_for(MS(51));
        assert_eq!(role_of(&world, other, blocked).as_deref(), Some("web"), "{arrives}");
    }
}

#[test]
fn what_waits_is_taken_up_one_by_one_and_the_next_block_stops_it() {
    let (mut world, hosts) = cluster(4);
    let blocked = hosts[4];
    world.set_catch_up(blocked, MS(10));
    world.block(blocked, MS(4_000));
    world.run_for(MS(4_000));
    let received = |world: &World| world.node(blocked).unwrap().counters().packets_received;
    let before = received(&world);
    world.run_for(MS(35));
    let taken = received(&world) - before;
    assert!((2..=3).contains(&taken), "{taken} packets in 35 ms, with what else waits");
    world.block(blocked, MS(1_000));
    let before = received(&world);
    world.run_for(MS(999));
    assert_eq!(received(&world), before);
    world.run_for(MS(3_000));
    assert!(received(&world) > before + 10, "it has caught up");
}
