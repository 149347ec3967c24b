//! Members that come back, and members that do not: who was restarted is not stuck as failed (ML-311), and nobody comes back by
//! hearsay (ML-312).

use std::time::Duration;

use thane_core::{Config, Event, Node, Seed, State, Status, Tags};
use thane_wire::gossip::NodeStateKind;

use super::net::{Net, lan};
use super::support::{Bench, VERSIONS, addr_of, alive, dead, encode_record, ms, quiet};

/// Nobody exchanges state but to join: what is left is gossip.
fn by_gossip_alone(at: usize) -> Config {
    Config { push_pull_interval: Duration::ZERO, ..lan(at) }
}

/// Starts a node that remembers nothing of an earlier life.
fn start_anew(net: &mut Net, at: usize) {
    net.down.remove(&at);
    let config = net.nodes[at].node.config().clone();
    let mut bench = Bench::seeded(config.clone(), 700 + at as u64);
    bench.node = Node::new(config, Seed::from(800 + at as u64), net.now).unwrap();
    bench.now = net.now;
    bench.clear();
    net.nodes[at] = bench;
}

fn kill(net: &mut Net, at: usize) {
    net.down.insert(at);
    let name = format!("n{at}");
    let failed = |net: &Net| {
        (0..net.nodes.len())
            .filter(|other| !net.down.contains(other))
            .all(|other| net.status(other, &name) == Some(Status::Failed))
    };
    assert!(net.run_until(ms(60_000), failed), "{name} is found failed by all");
}

/// Three members remember `n2` under a high incarnation as failed. It starts anew, under incarnation 1, and joins through a newcomer
/// that has never heard of it: nobody tells it what is held against it, and what it says of itself is stale news to the others.
fn restarted_behind_their_backs(pause: Duration) {
    let mut net = Net::joined_with((0..4).map(by_gossip_alone));
    for round in 0..5 {
        let tags = Tags::from([("round".to_owned(), round.to_string())]);
        let now = net.now;
        net.nodes[2].node.set_tags(now, tags).unwrap();
        net.run(ms(3_000));
    }
    assert!(net.nodes[0].node.member("n2").unwrap().incarnation >= 6);
    kill(&mut net, 2);
    net.run(pause);
    // The one through which it comes has just started itself.
    kill(&mut net, 3);
    start_anew(&mut net, 3);
    net.join(3, 0);
    assert!(net.run_until(ms(10_000), |net| net.status(0, "n3") == Some(Status::Alive)));
    assert_eq!(net.status(3, "n2"), None, "who is dead is told to nobody as a member");
    start_anew(&mut net, 2);
    assert_eq!(net.nodes[2].node.local().incarnation, 1);
    net.join(2, 3);
    assert!(net.run_until(ms(5_000), |net| net.all_see(4)), "it is stuck as failed");
    assert!(net.nodes[2].node.local().incarnation >= 7, "it has answered what was held against it");
}

#[test]
fn ml_311_a_restarted_member_is_not_stuck_as_failed() {
    restarted_behind_their_backs(Duration::ZERO);
}

#[test]
fn ml_311_nor_when_the_detector_has_forgotten_it() {
    restarted_behind_their_backs(ms(600_000));
}

/// One that was asleep all the time still holds the departed for alive, and says so when it wakes.
#[test]
fn ml_312_a_member_that_is_gone_does_not_come_back_by_hearsay() {
    for (leaves, asleep) in [(false, 20_000), (false, 600_000), (true, 20_000), (true, 600_000)] {
        let mut net = Net::joined(4);
        net.down.insert(3);
        if leaves {
            let now = net.now;
            net.nodes[2].node.leave(now).unwrap();
            assert!(net.run_until(ms(20_000), |net| net.status(0, "n2") == Some(Status::Left)));
            net.down.insert(2);
        } else {
            kill(&mut net, 2);
        }
        net.run(ms(asleep));
        for at in [0, 1] {
            net.nodes[at].clear();
        }
        net.down.remove(&3);
        assert_eq!(net.status(3, "n2"), Some(Status::Alive), "it has slept");
        let gone = if leaves { Status::Left } else { Status::Failed };
        net.run(ms(600_000));
        for at in [0, 1] {
            assert_eq!(net.status(at, "n2"), Some(gone), "n{at}");
            let back =
                |event: &&Event| matches!(event, Event::Joined(change) if &*change.member.name == "n2");
            let ghosts: Vec<&Event> = net.nodes[at].events.iter().filter(back).collect();
            assert!(ghosts.is_empty(), "leaves {leaves}, asleep {asleep}: {ghosts:?}");
        }
        assert_ne!(net.status(3, "n2"), Some(Status::Alive), "the sleeper has found out");
        assert!((0..4).filter(|at| *at != 2).all(|at| net.status(at, "n3") == Some(Status::Alive)));
    }
}

/// The same, word by word: neither gossip nor an exchange brings back under its old number who is dead or forgotten.
#[test]
fn ml_312_only_a_higher_incarnation_brings_a_member_back() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.tell(&alive("b", 5, addr_of(2)));
    bench.tell(&dead("b", 5, "c"));
    for forgotten in [false, true] {
        if forgotten {
            // The ring comes round, and who has been dead for longer than it is gossiped to falls out of it.
            bench.run(ms(4 * 3_600_000));
            assert_eq!(bench.node.member("b").unwrap().state, State::Forgotten);
        }
        bench.clear();
        bench.tell(&alive("b", 5, addr_of(2)));
        bench.push(false, &[encode_record("b", 5, addr_of(2), NodeStateKind::Alive, &VERSIONS)]);
        assert_eq!(bench.take_events(), Vec::<String>::new(), "forgotten {forgotten}");
        assert_eq!(bench.node.member("b").unwrap().status, Status::Failed);
    }
    bench.tell(&alive("b", 6, addr_of(2)));
    assert_eq!(bench.take_events(), ["join:b"]);
}
