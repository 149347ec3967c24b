//! Small clusters in the test network: each story once, without chance in it where possible.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thane_core::{
    Candidate, Config, Delegate, Event, Member, Node, Output, Replay, State, Status, Tags, Time, Veto,
};
use thane_sim::bounds::{convergence_bound, suspicion_max};
use thane_sim::{
    Bandwidth, Clock, Crash, Effect, HostId, Hosts, LinkFault, Loss, Observer, ProcessId, Quality, SimRng,
    World,
};

const SECOND: Duration = Duration::from_secs(1);

/// Keeps what applications were told.
#[derive(Debug, Default)]
struct Diary(Vec<(Time, ProcessId, Event)>);

impl Observer for Diary {
    fn output(&mut self, at: Time, process: ProcessId, output: &Output) {
        if let Output::Event(event) = output {
            self.0.push((at, process, event.clone()));
        }
    }

    fn settled(&mut self, _: Time, _: ProcessId, node: &Node) {
        node.check_invariants();
    }
}

impl Diary {
    /// When `holder` was first told of something.
    fn first(&self, holder: HostId, what: impl Fn(&Event) -> bool) -> Option<Time> {
        self.0.iter().find(|(_, process, event)| process.host == holder && what(event)).map(|(at, _, _)| *at)
    }

    fn count(&self, what: impl Fn(&Event) -> bool) -> usize {
        self.0.iter().filter(|(_, _, event)| what(event)).count()
    }
}

/// A cluster of hosts `n0`, `n1`, ... that all joined through the first.
fn cluster(seed: u64, size: usize, quality: Quality) -> (World<Diary>, Vec<HostId>) {
    let mut world = World::observed(seed, quality, Diary::default());
    let hosts: Vec<HostId> = (0..size).map(|number| world.add_lan_host(&format!("n{number}"))).collect();
    let first = world.addr(hosts[0]);
    for &host in &hosts {
        world.start(host);
        if host != hosts[0] {
            world.command(host, |node, now| node.join(now, &[first], Replay::Ignore).unwrap()).unwrap();
        }
        world.run_for(Duration::from_millis(100));
    }
    assert!(world.run_until(10 * SECOND, |world| all_alive(world, &hosts)), "the cluster did not form");
    (world, hosts)
}

fn sees(world: &World<Diary>, holder: HostId, about: HostId, status: Status) -> bool {
    let name = world.name(about);
    world.node(holder).and_then(|node| node.member(name)).is_some_and(|member| member.status == status)
}

fn all_alive(world: &World<Diary>, hosts: &[HostId]) -> bool {
    hosts.iter().all(|holder| {
        hosts.iter().all(|about| {
            let member = world.node(*holder).and_then(|node| node.member(world.name(*about)));
            member.is_some_and(|member| member.status == Status::Alive && member.state == State::Alive)
        })
    })
}

fn bound(world: &World<Diary>, hosts: &[HostId]) -> Duration {
    let config = hosts.iter().find_map(|host| world.node(*host)).unwrap().config();
    convergence_bound(config, hosts.len())
}

#[test]
fn two_nodes_join_and_each_is_told_of_the_other() {
    let (world, hosts) = cluster(1, 2, Quality::good());
    for (holder, about) in [(hosts[0], "n1"), (hosts[1], "n0")] {
        let told = world
            .observer()
            .first(holder, |event| matches!(event, Event::Joined(it) if &*it.member.name == about));
        assert!(told.is_some(), "{holder:?} was not told that {about} joined");
    }
}

#[test]
fn a_healthy_cluster_accuses_nobody_for_ten_minutes() {
    let (mut world, hosts) = cluster(2, 5, Quality::good());
    world.run_for(600 * SECOND);
    assert!(all_alive(&world, &hosts));
    let bad = |event: &Event| matches!(event, Event::Suspected(_) | Event::Failed(_) | Event::Left(_));
    assert_eq!(world.observer().count(bad), 0, "somebody was accused in a healthy cluster");
}

#[test]
fn a_crash_is_found_by_all_within_the_longest_suspicion() {
    for crash in [Crash::Process, Crash::Machine] {
        let (mut world, hosts) = cluster(3, 5, Quality::good());
        world.crash(hosts[4], crash);
        let config = world.node(hosts[0]).unwrap().config();
        let at_most = config.probe_interval * 6 + suspicion_max(config, 5);
        let found = world.run_until(at_most, |world| {
            hosts[..4].iter().all(|host| sees(world, *host, hosts[4], Status::Failed))
        });
        assert!(found, "{crash:?} was not found within {at_most:?}");
        assert!(all_alive(&world, &hosts[..4]), "and nobody else was harmed");
    }
}

#[test]
fn a_crashed_process_comes_back_under_its_name() {
    let (mut world, hosts) = cluster(4, 4, Quality::good());
    world.crash(hosts[1], Crash::Process);
    assert!(world.run_until(60 * SECOND, |world| sees(world, hosts[0], hosts[1], Status::Failed)));
    world.start(hosts[1]);
    let first = world.addr(hosts[0]);
    world.command(hosts[1], |node, now| node.join(now, &[first], Replay::Ignore).unwrap());
    assert!(world.run_until(60 * SECOND, |world| all_alive(world, &hosts)), "it did not come back");
}

#[test]
fn a_graceful_leave_is_left_everywhere_and_never_failed() {
    let (mut world, hosts) = cluster(5, 5, Quality::good());
    world.leave(hosts[2]).unwrap().unwrap();
    let rest: Vec<HostId> = hosts.iter().copied().filter(|host| *host != hosts[2]).collect();
    let left = |world: &World<Diary>| {
        world.node(hosts[2]).is_none() && rest.iter().all(|host| sees(world, *host, hosts[2], Status::Left))
    };
    assert!(world.run_until(30 * SECOND, left), "the leave did not reach everybody");
    world.run_for(300 * SECOND);
    assert!(left(&world), "it did not stay left");
    assert_eq!(world.observer().count(|event| matches!(event, Event::Failed(_))), 0);
    assert_eq!(world.tally().leaves, 1);
}

#[test]
fn a_short_pause_fails_nobody() {
    let (mut world, hosts) = cluster(6, 5, Quality::good());
    // Less than the shortest suspicion: whoever is accused has time to speak up.
    world.pause(hosts[3], 3 * SECOND);
    world.run_for(120 * SECOND);
    assert!(all_alive(&world, &hosts));
    assert_eq!(world.observer().count(|event| matches!(event, Event::Failed(_))), 0);
}

#[test]
fn a_node_that_was_paused_for_long_accuses_nobody() {
    let (mut world, hosts) = cluster(7, 5, Quality::good());
    world.pause(hosts[3], 60 * SECOND);
    assert!(world.run_until(60 * SECOND, |world| sees(world, hosts[0], hosts[3], Status::Failed)));
    let within = bound(&world, &hosts);
    assert!(world.run_until(within, |world| all_alive(world, &hosts)), "it did not come back");
    let wrong = world.observer().first(hosts[3], |event| matches!(event, Event::Failed(_)));
    assert_eq!(wrong, None, "the paused node held others for failed");
}

#[test]
fn a_long_partition_heals_by_itself() {
    let (mut world, hosts) = cluster(8, 6, Quality::good());
    world.partition(&hosts[..3]);
    let split = |world: &World<Diary>| {
        hosts[..3].iter().all(|a| {
            hosts[3..]
                .iter()
                .all(|b| sees(world, *a, *b, Status::Failed) && sees(world, *b, *a, Status::Failed))
        })
    };
    assert!(world.run_until(120 * SECOND, split), "the sides did not take each other for failed");
    // Longer than anybody gossips to the dead.
    world.run_for(300 * SECOND);
    world.network_mut().heal();
    let within = bound(&world, &hosts);
    assert!(world.run_until(within, |world| all_alive(world, &hosts)), "it did not heal within {within:?}");
    assert!(world.tally().packets_cut > 0);
}

#[test]
fn a_one_way_cut_between_two_harms_nobody_because_others_relay() {
    let (mut world, hosts) = cluster(9, 5, Quality::good());
    world.cut_one_way(hosts[0], hosts[1]);
    world.run_for(120 * SECOND);
    assert!(all_alive(&world, &hosts));
    assert!(world.tally().packets_cut > 0);
    assert_eq!(world.observer().count(|event| matches!(event, Event::Failed(_))), 0);
}

#[test]
fn user_events_and_tags_reach_everybody_once_over_a_bad_network() {
    let mut quality = Quality::good();
    (quality.loss, quality.duplication, quality.reordering) = (Loss::Uniform(0.2), 0.2, 0.3);
    quality.reordering_delay = Duration::from_millis(300);
    (quality.stream_breaks, quality.stream_splits) = (0.1, 0.9);
    let (mut world, hosts) = cluster(10, 6, Quality::good());
    world.network_mut().quality = quality;
    for number in 0..5_u8 {
        let payload = Bytes::from(vec![number; 20]);
        world.command(hosts[2], |node, now| node.user_event(now, "deploy", &payload, false).unwrap());
    }
    let mut tags = Tags::new();
    tags.insert("role".into(), "web".into());
    world.command(hosts[4], |node, now| node.set_tags(now, tags.clone()).unwrap());
    let within = bound(&world, &hosts);
    let told = |world: &World<Diary>, host: HostId| {
        let here = |process: &ProcessId| process.host == host;
        world.observer().0.iter().filter(|(_, at, event)| here(at) && matches!(event, Event::User(_))).count()
    };
    assert!(world.run_until(within, |world| hosts.iter().all(|host| told(world, *host) == 5)));
    let tagged = |world: &World<Diary>| {
        hosts.iter().all(|host| world.node(*host).and_then(|node| node.member("n4")).unwrap().tags() == tags)
    };
    assert!(world.run_until(within, tagged), "the tags did not reach everybody");
    world.run_for(60 * SECOND);
    assert!(hosts.iter().all(|host| told(&world, *host) == 5), "an event was delivered twice");
    let tally = world.tally();
    for (what, count) in [
        ("lost", tally.packets_lost),
        ("duplicated", tally.packets_duplicated),
        ("reordered", tally.packets_reordered),
        ("broken", tally.streams_broken),
        ("cut short", tally.streams_cut_short),
        ("split", tally.streams_split),
    ] {
        assert!(count > 0, "nothing was {what}");
    }
}

#[test]
fn dialing_nobody_is_refused_and_dialing_a_dead_machine_times_out() {
    let mut world = World::observed(11, Quality::good(), Diary::default());
    let (a, b, c) = (world.add_lan_host("a"), world.add_lan_host("b"), world.add_lan_host("c"));
    world.start(a);
    world.crash(c, Crash::Machine);
    let to = [world.addr(b), world.addr(c)];
    world.command(a, |node, now| node.join(now, &to, Replay::Ignore).unwrap());
    world.run_for(60 * SECOND);
    assert_eq!((world.tally().streams_refused, world.tally().streams_timed_out), (1, 1));
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let run = |seed| {
        let mut quality = Quality::good();
        (quality.loss, quality.duplication) = (Loss::Uniform(0.1), 0.1);
        let (mut world, hosts) = cluster(seed, 5, quality);
        world.crash(hosts[1], Crash::Machine);
        world.run_for(60 * SECOND);
        world.trace_hash()
    };
    assert_eq!(run(12), run(12));
    assert_ne!(run(12), run(13));
}

/// Admits only names that begin as its own does.
#[derive(Debug)]
struct OneFamily(&'static str);

impl Delegate for OneFamily {
    fn admit_member(&self, member: &Candidate<'_>) -> Result<(), Veto> {
        if member.name.starts_with(self.0) { Ok(()) } else { Err(Veto::new("a stranger")) }
    }

    fn forget_after(&self, _: &Member, _: Duration) -> Duration {
        60 * SECOND
    }
}

/// The application's say is a part of the node: it takes part in a simulation, which repeats bit for bit.
#[test]
fn two_clusters_whose_applications_admit_no_strangers_stay_apart() {
    let run = || {
        let mut world = World::observed(17, Quality::good(), Diary::default());
        let mut hosts = Vec::new();
        for name in ["a0", "a1", "a2", "b0", "b1", "b2"] {
            let family: &'static str = if name.starts_with('a') { "a" } else { "b" };
            let delegate: Arc<dyn Delegate> = Arc::new(OneFamily(family));
            let config = Config::lan(name, world.next_addr());
            hosts.push(world.add_host(Config { delegate: Some(delegate), ..config }));
        }
        let addrs: Vec<_> = hosts.iter().map(|host| world.addr(*host)).collect();
        for &host in &hosts {
            world.start(host);
            // By mistake everybody joins everybody.
            world.command(host, |node, now| node.join(now, &addrs, Replay::Ignore).unwrap()).unwrap();
            world.run_for(SECOND);
        }
        let (a, b) = hosts.split_at(3);
        world.run_for(120 * SECOND);
        assert!(all_alive(&world, a) && all_alive(&world, b));
        let sees_three = |world: &World<Diary>| {
            hosts.iter().all(|host| world.node(*host).is_none_or(|node| node.stats().members == 3))
        };
        assert!(sees_three(&world), "strangers were admitted");
        world.crash(a[2], Crash::Process);
        assert!(world.run_until(60 * SECOND, |world| sees(world, a[0], a[2], Status::Failed)));
        assert!(world.run_until(120 * SECOND, |world| world.node(a[0]).unwrap().stats().members == 2));
        world.trace_hash().value()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_clock_that_is_fast_or_slow_shows_in_how_often_a_node_acts() {
    let mut world = World::new(18, Quality::good());
    let hosts: Vec<HostId> = ["fast", "slow", "right"].iter().map(|name| world.add_lan_host(name)).collect();
    world.set_clock(hosts[0], Clock { offset: 1000 * SECOND, drift_ppm: 500_000 });
    world.set_clock(hosts[1], Clock { offset: Duration::ZERO, drift_ppm: -500_000 });
    for &host in &hosts {
        world.start(host);
        let first = world.addr(hosts[0]);
        world.command(host, |node, now| node.join(now, &[first], Replay::Ignore).unwrap());
    }
    world.run_for(100 * SECOND);
    let probes = |host: HostId| world.node(host).unwrap().counters().probes as f64;
    let right = probes(hosts[2]);
    assert!((1.35..1.65).contains(&(probes(hosts[0]) / right)), "{} to {right}", probes(hosts[0]));
    assert!((0.4..0.6).contains(&(probes(hosts[1]) / right)), "{} to {right}", probes(hosts[1]));
    assert!(hosts.iter().all(|host| world.node(*host).unwrap().stats().live == 3));
    assert!((1148..=1150).contains(&world.node(hosts[0]).unwrap().now().since_start().as_secs()));
    assert_eq!(world.tally().skewed_starts, 2);
}

#[test]
fn a_slow_process_answers_one_after_the_other_and_forgets_what_its_buffer_does_not_hold() {
    let (mut world, hosts) = cluster(19, 8, Quality::good());
    let delivered = |world: &World<Diary>| world.tally().packets_delivered;
    world.slow(hosts[1], Duration::from_millis(50), 60 * SECOND);
    world.run_for(20 * SECOND);
    assert!(world.tally().inputs_queued > 0, "nothing ever waited");
    assert_eq!(world.tally().slowdowns, 1);
    assert!(all_alive(&world, &hosts), "50 ms each are fast enough");
    // Two inputs a second are not: probes alone are more.
    world.slow(hosts[1], Duration::from_millis(500), 60 * SECOND);
    let before = delivered(&world);
    world.run_for(60 * SECOND);
    assert!(delivered(&world) > before);
    let accused = |event: &Event| matches!(event, Event::Suspected(it) if &*it.member.name == "n1");
    assert!(world.observer().count(accused) > 0, "nobody noticed how slow it is");
    // With its speed back it is as good as new.
    let within = bound(&world, &hosts);
    assert!(world.run_until(within, |world| all_alive(world, &hosts)));
}

#[test]
fn a_narrow_line_makes_the_core_drop_and_streams_slow_but_the_cluster_lives() {
    let (mut world, hosts) = cluster(20, 6, Quality::good());
    world.network_mut().quality.bandwidth = Some(Bandwidth { bytes_per_second: 3000, queue_bytes: 3000 });
    for number in 0..40_u8 {
        let payload = Bytes::from(vec![number; 400]);
        world.command(hosts[2], |node, now| node.user_event(now, "deploy", &payload, false).unwrap());
    }
    world.run_for(20 * SECOND);
    assert!(world.tally().packets_overflowed > 0, "nothing was dropped");
    world.network_mut().quality.bandwidth = None;
    let within = bound(&world, &hosts);
    assert!(world.run_until(within, |world| all_alive(world, &hosts)));
}

#[test]
fn packets_that_are_too_large_for_the_way_are_lost_and_streams_bring_what_they_carried() {
    let (mut world, hosts) = cluster(21, 6, Quality::good());
    world.network_mut().quality.mtu = Some(576);
    for number in 0..5 {
        // Bytes that no compression makes shorter.
        let mut rng = SimRng::new(number, "payload", 0);
        let payload: Vec<u8> = (0..400).map(|_| rng.below(256) as u8).collect();
        world.command(hosts[2], |node, now| node.user_event(now, "deploy", &payload, false).unwrap());
    }
    let within = bound(&world, &hosts);
    let told = |world: &World<Diary>, host: HostId| {
        let user =
            |(_, at, event): &&(Time, ProcessId, Event)| at.host == host && matches!(event, Event::User(_));
        world.observer().0.iter().filter(user).count()
    };
    assert!(world.run_until(within, |world| hosts.iter().all(|host| told(world, *host) == 5)));
    assert!(world.tally().packets_oversized > 0, "everything fitted");
}

#[test]
fn what_one_half_says_reaches_the_other_over_a_host_that_reaches_both() {
    let (mut world, hosts) = cluster(22, 7, Quality::good());
    world.fault_for(LinkFault::partition(hosts[..3].to_vec(), hosts[3..6].to_vec()), 50 * SECOND);
    world.run_for(SECOND);
    // Each is sent a few times only, and half of what the bridge sends goes back to where it came from: more than one is tried.
    for number in 0..5_u8 {
        world.command(hosts[0], |node, now| node.user_event(now, "deploy", &[number], false).unwrap());
        world.run_for(SECOND);
    }
    let heard = |world: &World<Diary>| {
        let heard = |host: &HostId| world.observer().first(*host, |event| matches!(event, Event::User(_)));
        hosts.iter().all(|host| heard(host).is_some())
    };
    assert!(world.run_until(40 * SECOND, heard), "the bridge does not hold");
    assert!(world.tally().packets_cut > 0);
    world.run_for(60 * SECOND);
    let within = bound(&world, &hosts);
    assert!(world.run_until(within, |world| all_alive(world, &hosts)));
}

#[test]
fn a_member_that_hears_nothing_every_twenty_seconds_is_there_again_when_it_ends() {
    let (mut world, hosts) = cluster(23, 6, Quality::good());
    let deaf = LinkFault::between(Hosts::All, Hosts::Only(vec![hosts[5]]), Effect::Cut);
    world.fault_for(deaf.flapping(20 * SECOND, 20 * SECOND), 130 * SECOND);
    world.run_for(131 * SECOND);
    assert_eq!(world.tally().flaps, 3, "on at 0, 40, 80 and 120 seconds");
    assert_eq!(world.network().faults().count(), 0, "it has ended");
    let within = bound(&world, &hosts);
    assert!(world.run_until(within, |world| all_alive(world, &hosts)));
}
