//! Nodes that start again with what they had written down, on a network under the tests' control.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "node/net.rs"]
#[allow(dead_code, reason = "shared with other tests, which use more of it")]
mod net;
#[path = "node/support.rs"]
#[allow(dead_code, reason = "shared with other tests, which use more of it")]
mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use thane_core::snapshot::{Marks, Peer, Restored, SeenEvent};
use thane_core::{Config, Event, Node, Prune, Replay, Seed, State, Status, Time};
use thane_wire::gossip::NodeStateKind;
use thane_wire::serf::{PushPullState, SerfMessage};

use self::net::{Net, lan};
use self::support::{Bench, addr, addr_of, ms, quiet};

/// Stops a node without a word and starts it again with what it would have written down.
fn restart(net: &mut Net, at: usize) -> Restored {
    let written = net.nodes[at].node.to_restore();
    start_with(net, at, written.clone());
    written
}

fn start_with(net: &mut Net, at: usize, restored: Restored) {
    net.down.remove(&at);
    let mut bench = Bench::seeded(lan(at), 900 + at as u64);
    bench.node = Node::new(lan(at), Seed::from(901 + at as u64), net.now).unwrap();
    bench.now = net.now;
    bench.clear();
    bench.node.restore(net.now, restored);
    net.nodes[at] = bench;
}

fn user_events(net: &Net, at: usize) -> Vec<String> {
    let user = |event: &Event| match event {
        Event::User(event) => Some(event.name.to_string()),
        _ => None,
    };
    net.nodes[at].events.iter().filter_map(user).collect()
}

fn fire(net: &mut Net, at: usize, name: &str) {
    let now = net.now;
    net.nodes[at].node.user_event(now, name, b"", false).unwrap();
    net.pump();
}

/// SF-692: a node that comes back hears of what it missed, not of all that the cluster remembers.
#[test]
fn sf_692_a_restarted_node_takes_what_it_missed_and_nothing_twice() {
    let mut net = Net::joined(3);
    fire(&mut net, 0, "seen");
    assert!(net.run_until(ms(5_000), |net| user_events(net, 2) == ["seen"]));
    let written = net.nodes[2].node.to_restore();
    assert_eq!((written.marks.event, written.seen.len()), (1, 1));
    net.down.insert(2);
    net.run(ms(30_000));
    fire(&mut net, 0, "missed");
    net.run(ms(2_000));
    start_with(&mut net, 2, written);
    assert!(net.run_until(ms(5_000), |net| net.all_see(3)));
    net.run(ms(60_000));
    assert_eq!(user_events(&net, 2), ["missed"], "once, although exchanges bring both again and again");
    assert_eq!(net.nodes[2].node.marks().event, 2);
}

/// SF-465: a join at the start, which declines history, comes before the rejoin or after it; what was missed is no history.
#[test]
fn sf_465_a_join_at_the_start_does_not_decline_what_was_missed() {
    let mut net = Net::joined(3);
    fire(&mut net, 0, "seen");
    assert!(net.run_until(ms(5_000), |net| user_events(net, 2) == ["seen"]));
    let written = net.nodes[2].node.to_restore();
    net.down.insert(2);
    net.run(ms(30_000));
    fire(&mut net, 0, "missed");
    net.run(ms(2_000));
    // The members that the snapshot names do not answer, so that only the join finds the cluster.
    let nowhere = |peer: &Peer| Peer { name: peer.name.clone(), addr: addr("127.0.9.9:7946") };
    let alive = written.alive.iter().map(nowhere).collect();
    start_with(&mut net, 2, Restored { alive, ..written.clone() });
    let (now, peer) = (net.now, net.addr(0));
    net.nodes[2].node.join(now, &[peer], Replay::Ignore).unwrap();
    assert!(net.run_until(ms(5_000), |net| net.all_see(3)));
    assert_eq!(user_events(&net, 2), ["missed"]);

    // Whoever has left on purpose joins like somebody new.
    net.down.insert(2);
    start_with(&mut net, 2, Restored { marks: written.marks, ..Restored::default() });
    let (now, peer) = (net.now, net.addr(0));
    net.nodes[2].node.join(now, &[peer], Replay::Ignore).unwrap();
    assert!(net.run_until(ms(5_000), |net| net.all_see(3)));
    net.run(ms(60_000));
    assert!(user_events(&net, 2).is_empty());
}

/// A member that is back for long joins another cluster like anybody.
#[test]
fn the_past_of_another_cluster_is_declined_also_after_a_restart() {
    let mut net = Net::joined_with([lan(0), lan(1)]);
    let written = net.nodes[1].node.to_restore();
    start_with(&mut net, 1, written);
    assert!(net.run_until(ms(5_000), |net| net.all_see(2)));
    net.run(ms(10_000));
    net.nodes.push(Bench::seeded(lan(2), 102));
    fire(&mut net, 2, "history");
    net.run(ms(500));
    let (now, peer) = (net.now, net.addr(2));
    let before = net.nodes[1].node.marks().event;
    net.nodes[1].node.join(now, &[peer], Replay::Ignore).unwrap();
    net.pump();
    assert!(net.nodes[1].node.marks().event > before);
    assert!(user_events(&net, 1).is_empty(), "{:?}", user_events(&net, 1));
}

/// SF-448: events of one burst arrive in any order, and two may bear one Lamport time. Whoever stops after the later one has not
/// seen the earlier.
#[test]
fn sf_448_events_that_overtook_others_do_not_hide_them_after_a_restart() {
    let mut net = Net::joined(3);
    let heard_alone: Vec<SeenEvent> =
        [(2, "second"), (3, "third")].map(|(ltime, name)| SeenEvent::of(ltime, name, b"")).into();
    let mut written = net.nodes[2].node.to_restore();
    net.down.insert(2);
    for name in ["first", "second", "third"] {
        fire(&mut net, 0, name);
    }
    net.run(ms(2_000));
    (written.marks.event, written.seen) = (3, heard_alone);
    start_with(&mut net, 2, written);
    assert!(net.run_until(ms(5_000), |net| net.all_see(3)));
    net.run(ms(60_000));
    assert_eq!(user_events(&net, 2), ["first"]);
    // And the life after that knows what both have seen.
    restart(&mut net, 2);
    assert!(net.run_until(ms(5_000), |net| net.all_see(3)));
    net.run(ms(60_000));
    assert_eq!(user_events(&net, 2), [""; 0]);
}

/// SF-465: what an earlier life has seen is known before the first peer speaks, whoever speaks first.
#[test]
fn sf_465_a_peer_that_speaks_first_brings_nothing_twice() {
    let mut net = Net::joined(3);
    fire(&mut net, 0, "seen");
    assert!(net.run_until(ms(5_000), |net| user_events(net, 2) == ["seen"]));
    let written = net.nodes[2].node.to_restore();
    net.down.insert(2);
    fire(&mut net, 0, "missed");
    net.run(ms(2_000));
    let nobody = Restored { alive: Vec::new(), ..written };
    start_with(&mut net, 2, nobody);
    net.join(0, 2);
    assert!(net.run_until(ms(5_000), |net| net.all_see(3)));
    net.run(ms(60_000));
    assert_eq!(user_events(&net, 2), ["missed"]);
}

/// SF-465: whether old events are wanted is asked of a join. A node that comes back to its own cluster has missed some, and takes
/// them, however its own search and a join without replay fall together.
#[test]
fn sf_465_a_join_without_replay_does_not_cost_what_a_restarted_node_missed() {
    for join_first in [false, true] {
        let mut net = Net::joined(3);
        fire(&mut net, 0, "seen");
        assert!(net.run_until(ms(5_000), |net| user_events(net, 2) == ["seen"]));
        let written = net.nodes[2].node.to_restore();
        net.down.insert(2);
        fire(&mut net, 0, "missed");
        net.run(ms(2_000));
        start_with(&mut net, 2, written);
        if !join_first {
            net.run(ms(100));
        }
        let (now, peer) = (net.now, net.addr(0));
        net.nodes[2].node.join(now, &[peer], Replay::Ignore).unwrap();
        assert!(net.run_until(ms(5_000), |net| net.all_see(3)));
        net.run(ms(60_000));
        assert_eq!(user_events(&net, 2), ["missed"]);
    }
}

/// SF-465: while a join without replay is under way, a peer that gets there first brings no history either.
#[test]
fn sf_465_history_is_declined_whoever_brings_it_during_the_join() {
    let mut net = Net::joined_with([lan(0), lan(1)]);
    fire(&mut net, 0, "history");
    net.run(ms(2_000));
    net.nodes.push(Bench::seeded(lan(2), 102));
    let now = net.now;
    // Of the two addresses the first does not answer for a while: a stream to it stays open.
    let silent = addr("127.0.9.9:7946");
    let joiner = &mut net.nodes[2];
    joiner.now = now;
    joiner.node.join(now, &[silent], Replay::Ignore).unwrap();
    joiner.collect();
    joiner.dials.clear();
    net.join(0, 2);
    assert!(net.run_until(ms(5_000), |net| net.all_see(3)));
    assert_eq!(user_events(&net, 2), [""; 0]);
    fire(&mut net, 1, "news");
    net.run(ms(60_000));
    assert_eq!(user_events(&net, 2), ["news"]);
}

/// Members that join their seeds again and again, to be sure, lose no event that is on its way to them.
#[test]
fn a_join_within_the_own_cluster_declines_nothing() {
    let mut net = Net::joined(3);
    net.run(ms(2_000));
    let now = net.now;
    // So far only its sender has it: the packets to the third are lost.
    net.no_udp.insert(net.addr(2));
    net.nodes[0].node.user_event(now, "news", b"", false).unwrap();
    net.run(ms(100));
    assert_eq!(user_events(&net, 2), [""; 0]);
    let (now, peer) = (net.now, net.addr(0));
    net.nodes[2].node.join(now, &[peer], Replay::Ignore).unwrap();
    net.run(ms(1_000));
    assert_eq!(user_events(&net, 2), ["news"]);
}

/// What a join declined as history is not history that the next life takes.
#[test]
fn events_that_were_declined_once_stay_declined() {
    let mut net = Net::new([lan(0), lan(1)]);
    fire(&mut net, 0, "history");
    let (now, peer) = (net.now, net.addr(0));
    net.nodes[1].node.join(now, &[peer], Replay::Ignore).unwrap();
    assert!(net.run_until(ms(5_000), |net| net.all_see(2)));
    assert!(user_events(&net, 1).is_empty());
    restart(&mut net, 1);
    assert!(net.run_until(ms(5_000), |net| net.all_see(2)));
    net.run(ms(60_000));
    assert!(user_events(&net, 1).is_empty());
}

#[test]
fn queries_that_were_taken_are_not_taken_again() {
    let mut net = Net::joined(2);
    let now = net.now;
    net.nodes[1]
        .node
        .restore(now, Restored { marks: Marks { query: 50, ..Marks::default() }, ..Restored::default() });
    assert_eq!(net.nodes[1].node.marks().query, 50);
    let before = net.nodes[1].node.counters().queries_too_old;
    net.nodes[0].node.query(now, "old", b"", &thane_core::QueryParams::default()).unwrap();
    net.run_until(ms(5_000), |net| net.nodes[1].node.counters().queries_too_old > before);
    assert!(net.nodes[1].node.counters().queries_too_old > before);
    assert!(!net.nodes[1].events.iter().any(|event| matches!(event, Event::Query(_))));
}

/// ML-311: whoever restarts is heard at once, though its peers hold it for dead under its last incarnation.
#[test]
fn ml_311_a_restarted_node_goes_on_above_its_last_incarnation() {
    let mut net = Net::joined(2);
    let written = net.nodes[1].node.to_restore();
    net.down.insert(1);
    assert!(net.run_until(ms(60_000), |net| net.status(0, "n1") == Some(Status::Failed)));
    let held = net.nodes[0].node.member("n1").unwrap().incarnation;
    start_with(&mut net, 1, written);
    assert_eq!(net.nodes[1].node.local().incarnation, held + 1);
    assert!(net.run_until(ms(1_000), |net| net.status(0, "n1") == Some(Status::Alive)));
    assert_eq!(net.nodes[0].node.member("n1").unwrap().incarnation, held + 1, "no refutation was needed");
}

#[test]
fn times_and_numbers_too_large_to_be_true_change_nothing() {
    let mut bench = Bench::new(lan(0));
    let marks = Marks { member: u64::MAX, event: 1, query: 1, incarnation: 0, ..Marks::default() };
    bench.node.restore(bench.now, Restored { marks, ..Restored::default() });
    bench.collect();
    assert!(bench.noticed("restored_absurd"));
    assert_eq!(bench.node.marks(), Marks { incarnation: 1, ..Marks::default() });
}

#[test]
fn a_node_that_was_alone_for_a_day_finds_those_it_knew_when_they_return() {
    let mut net = Net::joined(3);
    let written = net.nodes[2].node.to_restore();
    net.down.extend([0, 1]);
    start_with(&mut net, 2, written.clone());
    net.run(ms(24 * 3_600_000));
    assert!(net.nodes[2].noticed("rejoin_failed"));
    assert!(net.nodes[2].done.is_empty(), "nobody waits for these attempts");
    // The pauses grow: a day has 43,200 of two seconds.
    let dials = net.nodes[2].node.counters().streams_dialed;
    assert!((700..5_000).contains(&dials), "{dials}");
    start_with(&mut net, 0, Restored::default());
    assert!(net.run_until(ms(200_000), |net| net.status(2, "n0") == Some(Status::Alive)));
    assert_eq!(net.status(0, "n2"), Some(Status::Alive));
    let dialed = net.nodes[2].node.counters().streams_dialed;
    net.run(ms(20_000));
    assert!(net.nodes[2].node.counters().streams_dialed <= dialed + 3, "it has stopped looking");
}

#[test]
fn the_dead_among_those_it_knew_do_not_keep_a_node_from_its_cluster() {
    let mut net = Net::new([lan(0), lan(1)]);
    let nobody =
        (2..40).map(|n| Peer { name: format!("gone{n}").into(), addr: addr(&format!("127.0.9.{n}:7946")) });
    let mut alive: Vec<Peer> = nobody.collect();
    alive.push(Peer { name: "n0".into(), addr: net.addr(0) });
    start_with(&mut net, 1, Restored { alive, ..Restored::default() });
    assert!(net.run_until(ms(1_000), |net| net.all_see(2)));
    assert!(net.nodes[1].noticed("rejoined"));
}

/// SF-333: members that had failed are known too, when nobody else is there.
#[test]
fn sf_333_a_node_finds_a_member_that_had_failed() {
    let mut net = Net::joined(2);
    net.down.insert(1);
    assert!(net.run_until(ms(60_000), |net| net.status(0, "n1") == Some(Status::Failed)));
    let written = restart(&mut net, 0);
    assert_eq!(written.failed.len(), 1);
    net.run(ms(10_000));
    start_with(&mut net, 1, Restored::default());
    assert!(net.run_until(ms(60_000), |net| net.all_see(2)));
}

/// Times short enough for a partition to outlast them.
fn forgetful(at: usize) -> Config {
    Config { reconnect_timeout: ms(60_000), ..lan(at) }
}

/// SF-605: a partition longer than any timeout heals without an operator.
#[test]
fn sf_605_the_halves_of_a_partition_find_each_other_after_they_have_forgotten_each_other() {
    let mut net = Net::joined_with((0..4).map(forgetful));
    net.cut_off = vec![net.addr(0), net.addr(1)];
    let forgotten = |net: &Net| {
        net.status(0, "n2").is_none()
            && net.status(1, "n3").is_none()
            && net.status(2, "n0").is_none()
            && net.status(3, "n1").is_none()
    };
    assert!(net.run_until(ms(600_000), forgotten));
    net.run(ms(3_600_000));
    assert!(forgotten(&net));
    net.cut_off.clear();
    assert!(net.run_until(ms(1_200_000), |net| net.all_see(4)));
}

/// SF-605: the same, when every node was started anew while the cluster was divided.
#[test]
fn sf_605_the_halves_find_each_other_even_if_all_were_restarted_meanwhile() {
    let mut net = Net::joined_with((0..4).map(forgetful));
    net.cut_off = vec![net.addr(0), net.addr(1)];
    let forgotten = |net: &Net| {
        let apart = [(0, "n2"), (0, "n3"), (1, "n2"), (1, "n3"), (2, "n0"), (2, "n1"), (3, "n0"), (3, "n1")];
        apart.into_iter().all(|(at, name)| net.status(at, name).is_none())
    };
    assert!(net.run_until(ms(600_000), forgotten));
    for at in 0..4 {
        let written = restart(&mut net, at);
        assert_eq!((written.failed.len(), written.lost.len()), (0, 2));
        net.run(ms(5_000));
    }
    net.run(ms(3_600_000));
    assert!(forgotten(&net));
    net.cut_off.clear();
    assert!(net.run_until(ms(1_200_000), |net| net.all_see(4)));
}

/// An address may have gone to a member of another cluster meanwhile.
#[test]
fn whoever_has_taken_the_address_of_a_lost_member_is_left_alone() {
    let mut net = Net::joined_with((0..2).map(forgetful));
    net.down.insert(1);
    assert!(net.run_until(ms(600_000), |net| net.status(0, "n1").is_none()));
    let stranger = Config::lan("stranger", net.addr(1));
    net.nodes[1] = Bench::seeded(stranger.clone(), 77);
    net.nodes[1].node = Node::new(stranger, Seed::from(78), net.now).unwrap();
    net.nodes[1].clear();
    net.down.remove(&1);
    net.run(ms(3_600_000));
    assert_eq!(net.nodes[0].node.stats().members, 1);
    assert_eq!(net.nodes[1].node.stats().members, 1);
    assert!(net.nodes[1].noticed("ping_for_another"), "it was asked by name");
}

/// Machines come and go in one cluster: a member at the address of a lost one does not hear of it.
#[test]
fn a_lost_member_whose_address_has_gone_to_another_is_no_longer_looked_for() {
    let mut net = Net::joined_with((0..2).map(forgetful));
    net.down.insert(1);
    assert!(net.run_until(ms(600_000), |net| net.status(0, "n1").is_none()));
    let newcomer = Config::lan("newcomer", net.addr(1));
    net.nodes[1] = Bench::seeded(newcomer.clone(), 77);
    net.nodes[1].node = Node::new(newcomer, Seed::from(78), net.now).unwrap();
    net.nodes[1].clear();
    net.down.remove(&1);
    net.join(1, 0);
    assert!(net.run_until(ms(10_000), |net| net.status(0, "newcomer") == Some(Status::Alive)));
    net.run(ms(3_600_000));
    assert!(!net.nodes[1].noticed("ping_for_another"));
    assert_eq!(net.nodes[0].node.stats().members, 2);
}

/// Whoever has lost more than it can remember forgets those that it lost first, and asks all others in turn.
#[test]
fn the_memory_for_lost_members_is_bounded() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    let address = |at: u16| SocketAddr::from(([10, 1, (at >> 8) as u8, at as u8], 7946));
    let failed = (0..1030).map(|at| Peer { name: format!("f{at:04}").into(), addr: address(at) });
    let restored = Restored { failed: failed.collect(), ..Restored::default() };
    bench.node.restore(Time::ZERO, restored);
    bench.run(ms(3 * 24 * 3_600_000));
    let asked: BTreeSet<SocketAddr> = bench.sent.iter().map(|(to, _)| *to).collect();
    let wanted: BTreeSet<SocketAddr> = (6..1030).map(address).collect();
    assert_eq!(asked, wanted);
}

#[test]
fn a_lost_member_that_is_told_to_have_left_is_no_longer_looked_for() {
    let mut net = Net::joined_with((0..2).map(forgetful));
    net.down.insert(1);
    assert!(net.run_until(ms(600_000), |net| net.status(0, "n1").is_none()));
    let now = net.now;
    net.nodes[0].node.force_leave(now, "n1", Prune::Keep).unwrap();
    net.pump();
    assert_eq!(net.nodes[0].node.counters().lost_given_up, 1, "so that the snapshot can be told");
    assert_eq!(net.nodes[0].node.to_restore().lost, []);
    net.packets.clear();
    net.run(ms(3_600_000));
    let to_lost = net.packets.iter().filter(|(_, to, _)| *to == net.addr(1)).count();
    assert_eq!(to_lost, 0);
}

#[test]
fn a_node_that_leaves_stops_looking() {
    let mut net = Net::joined(2);
    net.down.insert(1);
    restart(&mut net, 0);
    net.run(ms(5_000));
    let now = net.now;
    net.nodes[0].node.leave(now).unwrap();
    net.run(ms(30_000));
    let dialed = net.nodes[0].node.counters().streams_dialed;
    net.run(ms(600_000));
    assert_eq!(net.nodes[0].node.counters().streams_dialed, dialed);
    assert_eq!(net.nodes[0].node.local().state, State::Left);
}

/// A machine that was renamed finds itself in what it wrote down under its old name.
#[test]
fn a_node_under_a_new_name_does_not_take_itself_for_its_cluster() {
    let mut net = Net::new([lan(0), lan(1)]);
    let old_name = Peer { name: "before".into(), addr: net.addr(1) };
    net.down.insert(0);
    let other = Peer { name: "n0".into(), addr: net.addr(0) };
    start_with(&mut net, 1, Restored { alive: vec![old_name, other], ..Restored::default() });
    net.run(ms(10_000));
    assert!(!net.nodes[1].noticed("rejoined"));
    assert!(net.nodes[1].dials.iter().all(|(_stream, to)| *to != net.addr(1)));
    start_with(&mut net, 0, Restored::default());
    assert!(net.run_until(ms(60_000), |net| net.all_see(2)), "it goes on looking for the other");
}

/// An address that leads back to ourselves although it is not the one we announce.
#[test]
fn an_exchange_with_ourselves_ends_no_search() {
    let mut bench = Bench::new(lan(0));
    let way_around = Peer { name: "before".into(), addr: addr("127.0.9.9:7946") };
    bench.node.restore(bench.now, Restored { alive: vec![way_around], ..Restored::default() });
    bench.collect();
    let (dialed, _to) = bench.dials[0];
    bench.node.handle_stream_connected(bench.now, dialed);
    bench.collect();
    let request = bench.written.remove(&dialed).unwrap();
    let reply = bench.stream(&request).unwrap();
    bench.node.handle_stream_data(bench.now, dialed, &reply);
    bench.collect();
    assert!(bench.node.counters().push_pulls >= 2, "we have spoken with ourselves");
    assert!(!bench.noticed("rejoined"));
    bench.dials.clear();
    bench.run(ms(5_000));
    assert!(!bench.dials.is_empty(), "it goes on looking");
}

/// What a node writes down anew while it looks for its cluster names those that it looks for.
#[test]
fn members_that_are_looked_for_are_written_down_until_they_are_found() {
    let mut bench = Bench::new(lan(0));
    let peer = |name: &str, at: &str| Peer { name: name.into(), addr: addr(at) };
    let alive = vec![peer("b", "127.0.9.2:7946"), peer("c", "127.0.9.3:7946")];
    let failed = vec![peer("d", "127.0.9.4:7946")];
    let restored = Restored { alive: alive.clone(), failed: failed.clone(), ..Restored::default() };
    bench.node.restore(bench.now, restored);
    bench.collect();
    let written = bench.node.to_restore();
    let found: BTreeSet<&str> = written.alive.iter().map(|peer| &*peer.name).collect();
    assert_eq!(found, BTreeSet::from(["n0", "b", "c"]));
    assert_eq!(written.lost, failed);
}

/// The two forms of one IPv4 address name one member.
#[test]
fn a_peer_of_ours_is_known_by_either_form_of_an_address() {
    for known in [true, false] {
        let mut bench = Bench::new(quiet("a", addr_of(1)));
        bench.push(
            true,
            &[support::encode_record("b", 1, addr_of(2), NodeStateKind::Alive, &support::VERSIONS)],
        );
        bench.node.join(bench.now, &[addr("127.0.9.9:7946")], Replay::Ignore).unwrap();
        bench.collect();
        let name = if known { "b" } else { "x" };
        let mapped = addr("[::ffff:127.0.0.2]:7946");
        let record = support::encode_record(name, 1, mapped, NodeStateKind::Alive, &support::VERSIONS);
        let mut state = Vec::new();
        SerfMessage::PushPull(PushPullState { event_ltime: 9, ..PushPullState::default() })
            .encode(&mut state);
        bench.push_with(true, &[record], &state);
        assert_eq!(bench.node.marks().declined == 0, known, "{:?}", bench.node.marks());
    }
}

/// A join may hang on a dead address while the cluster goes on. Somebody whom a member of ours introduces meanwhile is one of ours, though
/// its own list names nobody whom we know.
#[test]
fn sf_465_whoever_a_member_introduces_during_a_join_brings_news() {
    for by_a_member in [true, false] {
        let mut bench = Bench::new(quiet("a", addr_of(1)));
        let record = |name, at| support::encode_record(name, 1, at, NodeStateKind::Alive, &support::VERSIONS);
        bench.push(true, &[record("b", addr_of(2))]);
        bench.node.join(bench.now, &[addr("127.0.9.9:7946")], Replay::Ignore).unwrap();
        bench.collect();
        let from = if by_a_member { addr_of(2) } else { addr_of(8) };
        bench.packet(from, &support::alive_with("x", 1, addr_of(3), b"", &support::VERSIONS));
        let mut state = Vec::new();
        SerfMessage::PushPull(PushPullState { event_ltime: 9, ..PushPullState::default() })
            .encode(&mut state);
        bench.push_with(true, &[record("x", addr_of(3))], &state);
        assert_eq!(bench.node.marks().declined == 0, by_a_member, "{:?}", bench.node.marks());
    }
}
