//! What a node measures for those who ask: times by its own clock, sizes of messages.

use thane_core::{Config, Measure, Node};

use super::net::{Net, lan};
use super::support::ms;

/// What was measured of one kind since the last call.
fn taken(node: &mut Node, wanted: Measure) -> Vec<f64> {
    let taken = node.take_measurements();
    assert_eq!(taken.missed, 0);
    taken.kept.iter().filter(|one| one.measure == wanted).map(|one| one.value).collect()
}

#[test]
fn nothing_is_measured_before_somebody_asks() {
    let mut net = Net::joined(2);
    net.run(ms(30_000));
    assert!(net.nodes[0].node.take_measurements().kept.is_empty());
    net.run(ms(30_000));
    assert!(!net.nodes[0].node.take_measurements().kept.is_empty());
}

#[test]
fn each_probe_is_measured_once_and_a_silent_member_costs_the_whole_interval() {
    // A refused connection would end the probe sooner.
    let mut net = Net::joined_with((0..2).map(|at| Config { tcp_pings: false, ..lan(at) }));
    net.nodes[0].node.take_measurements();
    let before = net.nodes[0].node.counters().probes_answered;
    net.run(ms(10_000));
    let answered = net.nodes[0].node.counters().probes_answered - before;
    let took = taken(&mut net.nodes[0].node, Measure::Probe);
    assert!(answered >= 9 && took.len() as u64 == answered, "{took:?} for {answered} probes");
    assert!(took.iter().all(|seconds| *seconds == 0.0), "this network has no delay: {took:?}");
    net.down.insert(1);
    assert!(net.run_until(ms(10_000), |net| net.nodes[0].node.stats().suspect == 1), "n1 becomes suspect");
    let interval = lan(0).probe_interval.as_secs_f64();
    let took = taken(&mut net.nodes[0].node, Measure::Probe);
    assert!(took.iter().any(|seconds| *seconds >= interval), "{took:?}");
    assert_eq!(net.nodes[0].node.stats().live, 2, "a suspect is alive still");
}

#[test]
fn messages_are_measured_where_they_leave_and_where_they_arrive() {
    let mut net = Net::joined(2);
    net.run(ms(5_000));
    for bench in &mut net.nodes {
        bench.node.take_measurements();
    }
    let now = net.now;
    net.nodes[0].node.user_event(now, "deploy", &[7; 300], false).unwrap();
    net.run(ms(2_000));
    let sent = taken(&mut net.nodes[0].node, Measure::MessageSent);
    let received = taken(&mut net.nodes[1].node, Measure::MessageReceived);
    assert!(!sent.is_empty() && sent.iter().all(|bytes| (310.0..400.0).contains(bytes)), "{sent:?}");
    assert_eq!(sent, received, "this network loses nothing");
}

#[test]
fn state_exchanges_have_a_time_and_sizes() {
    let mut net = Net::new([lan(0), lan(1)]);
    for bench in &mut net.nodes {
        bench.node.take_measurements();
    }
    assert_eq!(net.nodes[1].node.stats().local_state_bytes, 0, "none has taken place");
    net.join(1, 0);
    let ours = net.nodes[1].node.stats().local_state_bytes as f64;
    let remote = taken(&mut net.nodes[0].node, Measure::RemoteState);
    assert_eq!(remote, [ours], "what one sends the other receives");
    assert_eq!(taken(&mut net.nodes[1].node, Measure::StateExchange), [0.0]);
    net.down.insert(0);
    net.join(1, 0);
    assert_eq!(taken(&mut net.nodes[1].node, Measure::StateExchange).len(), 1, "one that failed, too");
}

#[test]
fn a_round_trip_moves_the_coordinate_by_what_is_measured() {
    let mut net = Net::joined(2);
    net.nodes[0].node.take_measurements();
    let before = net.nodes[0].node.coordinate().unwrap();
    let moved = |net: &Net| net.nodes[0].node.coordinate().unwrap() != before;
    assert!(net.run_until(ms(10_000), moved), "no probe moved it");
    let steps = taken(&mut net.nodes[0].node, Measure::CoordinateMoved);
    assert_eq!(steps.len(), 1, "{steps:?}");
    let after = net.nodes[0].node.coordinate().unwrap();
    let distance = thane_core::vivaldi::distance(&before, &after).unwrap();
    assert!((steps[0] - distance.as_secs_f64()).abs() < f64::EPSILON);
}

#[test]
fn rounds_of_gossip_are_counted_though_there_is_nothing_to_say() {
    let mut net = Net::new([lan(0)]);
    net.run(ms(10_000));
    let rounds = net.nodes[0].node.counters().gossip_rounds;
    // Up to the last input, at most a second ago.
    assert!((45..=51).contains(&rounds), "{rounds} rounds in ten seconds");
}
