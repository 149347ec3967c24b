//! A driver whose packets do not leave: what waits for it, what goes on, and what is made up for.

use std::net::SocketAddr;

use thane_core::{Config, Detector, State};

use super::probing::{ack, asked, knowing, next_ping, prober, state};
use super::support::{Bench, VERSIONS, addr_of, ms, quiet, suspect};

/// A probe has begun whose ping the driver cannot send.
fn pinging_into_a_full_socket(detector: Detector) -> (Bench, SocketAddr, u32) {
    let mut bench = knowing(Config { detector, ..prober() }, &[VERSIONS; 4]);
    let probes = bench.node.counters().probes;
    while bench.node.counters().probes == probes {
        bench.now = bench.node.poll_timeout();
        bench.node.handle_timeout(bench.now);
    }
    bench.node.handle_sends_held(bench.now);
    bench.collect();
    let (target, seq) = next_ping(&mut bench);
    (bench, target, seq)
}

fn resume(bench: &mut Bench) {
    bench.node.handle_sends_resumed(bench.now);
    bench.collect();
}

#[test]
fn a_ping_that_leaves_late_has_its_time_from_then_on() {
    let (mut bench, target, seq) = pinging_into_a_full_socket(Detector::thane());
    bench.run(ms(400));
    resume(&mut bench);
    bench.run(ms(300));
    assert_eq!(asked(&mut bench), [], "300 ms are not late for an answer");
    bench.tell(&ack(seq));
    bench.run(ms(100));
    assert_eq!(state(&bench, target), State::Alive);
    assert_eq!(bench.node.counters().probes_failed, 0);
}

#[test]
fn nobody_is_accused_while_packets_do_not_leave_and_one_turn_is_made_up_for() {
    let (mut bench, target, _) = pinging_into_a_full_socket(Detector::lifeguard());
    bench.run(ms(20_000));
    assert!(bench.sent.is_empty(), "one probe hangs, and no other begins");
    assert_eq!(bench.node.stats().suspect, 0);
    resume(&mut bench);
    assert_eq!(state(&bench, target), State::Suspect, "its time is long over");
    let pings = bench.take_messages().into_iter().filter(|(_, message)| message[0] == 0).count();
    assert_eq!(pings, 1, "the turn that was missed");
}

#[test]
fn the_second_stage_waits_too() {
    let mut bench = knowing(prober(), &[VERSIONS; 4]);
    let (target, seq) = next_ping(&mut bench);
    bench.run(ms(300));
    bench.node.handle_sends_held(bench.now);
    bench.run(ms(400));
    assert_eq!(asked(&mut bench), []);
    resume(&mut bench);
    assert_eq!(asked(&mut bench).len(), 3, "the relays are asked as soon as they can be");
    bench.tell(&ack(seq));
    bench.run(ms(500));
    assert_eq!(state(&bench, target), State::Alive);
}

#[test]
fn suspicions_go_on_by_the_plain_rules() {
    let (mut bench, ..) = pinging_into_a_full_socket(Detector::lifeguard());
    bench.tell(&suspect("d", 1, "c"));
    bench.tell(&suspect("d", 1, "e"));
    // Probes an hour apart would make the suspicion last for hours; these are a second apart.
    bench.run(ms(60_000));
    assert_eq!(state(&bench, addr_of(4)), State::Dead);
}

#[test]
fn our_own_rules_conclude_nothing_from_what_was_missed() {
    let (mut bench, target, _) = pinging_into_a_full_socket(Detector::thane());
    bench.tell(&suspect("d", 1, "c"));
    bench.tell(&suspect("d", 1, "e"));
    bench.run(ms(60_000));
    assert_eq!(state(&bench, addr_of(4)), State::Suspect, "its answer could not have been asked for");
    resume(&mut bench);
    assert_eq!((state(&bench, target), bench.node.stats().health_score), (State::Alive, 1));
    bench.run(ms(1000));
    assert_eq!(state(&bench, addr_of(4)), State::Suspect, "it is given the lost time");
    bench.run(ms(30_000));
    assert_eq!(state(&bench, addr_of(4)), State::Dead, "and no more than that");
}

/// A process that is stopped often finds its socket full first: the same time is lost in both ways, and given back once.
#[test]
fn a_pause_while_packets_do_not_leave_is_given_back_once() {
    for held_first in [true, false] {
        let (mut bench, ..) = pinging_into_a_full_socket(Detector::thane());
        if !held_first {
            resume(&mut bench);
            bench.node.handle_timeout(bench.now);
        }
        bench.tell(&suspect("d", 1, "c"));
        let ends = bench.node.suspicion_ends("d").unwrap();
        let stopped = bench.now;
        bench.now = bench.node.poll_timeout().max(bench.now) + ms(60_000);
        if held_first {
            bench.node.handle_timeout(bench.now);
        }
        bench.node.handle_sends_held(bench.now);
        bench.collect();
        assert_eq!(bench.node.counters().pauses, 1);
        bench.run(ms(500));
        resume(&mut bench);
        let given = bench.node.suspicion_ends("d").unwrap().since(ends);
        assert_eq!(given, bench.now.since(stopped), "held first: {held_first}");
    }
}

/// memberlist opens the stream while its packets are stuck, and gives it up when it could not be served; ours waits for better times.
#[test]
fn exchanges_of_state_go_on_by_the_plain_rules_and_are_made_up_for_by_ours() {
    for (detector, dials) in [(Detector::lifeguard(), [3, 0]), (Detector::thane(), [0, 1])] {
        let config = Config { detector, push_pull_interval: ms(10_000), ..quiet("a", addr_of(1)) };
        let mut bench = knowing(config, &[VERSIONS; 4]);
        bench.node.handle_sends_held(bench.now);
        bench.collect();
        bench.dials.clear();
        bench.run(ms(30_000));
        assert_eq!(bench.dials.len(), dials[0], "while packets do not leave");
        bench.dials.clear();
        resume(&mut bench);
        assert_eq!(bench.dials.len(), dials[1], "when they leave again");
    }
}
