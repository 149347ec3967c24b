//! What a node does not do: waking for nothing, and telling others what they know.

use thane_core::Config;
use thane_wire::gossip::NodeStateKind;

use super::net::{Net, lan};
use super::support::{Bench, VERSIONS, addr_of, alive, encode_record, ms, quiet};

#[test]
fn a_node_with_nothing_to_gossip_is_not_woken_for_it() {
    let mut net = Net::new([lan(0)]);
    net.run(ms(5000));
    let (node, end) = (&mut net.nodes[0].node, net.now + ms(10_000));
    let rounds = node.counters().gossip_rounds;
    let mut wakes = 0;
    while node.poll_timeout() <= end {
        let due = node.poll_timeout();
        node.handle_timeout(due);
        wakes += 1;
    }
    assert!(wakes <= 15, "{wakes} in ten seconds, of which ten to look for somebody to probe");
    // The rounds go on being counted, as a metric of Serf's name has it: up to the last input, at most a second ago.
    let counted = node.counters().gossip_rounds - rounds;
    assert!((45..=55).contains(&counted), "{counted} rounds in ten seconds");
}

#[test]
fn news_is_gossiped_at_the_round_that_was_due_anyhow() {
    let mut net = Net::joined(2);
    net.run(ms(20_000));
    let node = &mut net.nodes[0].node;
    let now = net.now;
    node.user_event(now, "deploy", b"", false).unwrap();
    let wait = node.poll_timeout().since(now);
    assert!(wait <= ms(200), "a round of gossip is due within its interval: {wait:?}");
}

#[test]
fn who_joins_alone_gossips_only_itself() {
    let mut net = Net::new((0..6).map(lan));
    for at in 1..5 {
        net.join(at, 0);
    }
    net.run(ms(60_000));
    assert!(net.nodes[..5].iter().all(|bench| bench.node.stats().live == 5));
    let queued = |bench: &Bench| bench.node.stats().membership_queue;
    assert!(net.nodes[..5].iter().all(|bench| queued(bench) == 0), "all has been said");
    net.join(5, 0);
    assert_eq!(net.nodes[5].node.stats().live, 6, "it knows all");
    assert_eq!(queued(&net.nodes[5]), 1, "and only itself is news");
    assert!(net.run_until(ms(20_000), |net| net.all_see(6)));
}

#[test]
fn who_joins_with_a_cluster_of_its_own_tells_it_of_the_other() {
    // 0 and 1 are one cluster, 2 and 3 another; 1 joins 2.
    let mut net = Net::new((0..4).map(lan));
    net.join(1, 0);
    net.join(3, 2);
    net.run(ms(20_000));
    net.join(1, 2);
    let told = net.run_until(ms(5_000), |net| net.all_see(4));
    assert!(told, "gossip tells both clusters, long before their next state exchange");
}

/// A node that only exchanges state: every 3,000 s, for the first time after more than 600 s, and out of turn after 100 to 200 s. It has heard of these
/// members at once.
fn one_that_knows(others: u8) -> Bench {
    let new = |seed| {
        let config =
            Config { push_pull_interval: ms(3_000_000), probe_interval: ms(0), ..quiet("a", addr_of(1)) };
        let mut bench = Bench::seeded(config, seed);
        let records: Vec<Vec<u8>> = (2..2 + others).map(record).collect();
        bench.push(true, &records);
        bench
    };
    let is_late = |seed: &u64| {
        let mut bench = new(*seed);
        bench.run(ms(600_000));
        bench.dials.is_empty()
    };
    new((1..10).find(is_late).unwrap())
}

fn record(number: u8) -> Vec<u8> {
    encode_record(&format!("m{number}"), 1, addr_of(number), NodeStateKind::Alive, &VERSIONS)
}

/// How many exchanges begin before the next one could be late.
fn exchanges(bench: &mut Bench) -> usize {
    bench.dials.clear();
    bench.run(ms(200_000));
    bench.dials.len()
}

#[test]
fn an_exchange_that_brings_somebody_new_is_followed_by_another() {
    let mut bench = one_that_knows(40);
    assert_eq!(exchanges(&mut bench), 0, "the first is the cluster as it is");
    bench.push(false, &[record(50)]);
    assert_eq!(exchanges(&mut bench), 1);
    bench.push(false, &[record(50)]);
    assert_eq!(exchanges(&mut bench), 0, "nobody new");
}

#[test]
fn gossip_of_a_crowd_is_followed_by_an_exchange() {
    let mut bench = one_that_knows(60);
    let mut told = |numbers: std::ops::Range<u8>| {
        numbers.for_each(|number| bench.tell(&alive(&format!("m{number}"), 1, addr_of(number))));
        exchanges(&mut bench)
    };
    assert_eq!(told(70..73), 0, "three of more than sixty are none");
    assert_eq!(told(73..76), 1, "six are");
    assert_eq!(told(76..79), 0, "it is counted anew");
    assert_eq!(bench.node.counters().extra_push_pulls, 1);
}

#[test]
fn exchanges_out_of_turn_are_few_whatever_comes() {
    let mut bench = one_that_knows(40);
    let mut begun = 0;
    for number in 50..80 {
        bench.push(false, &[record(number)]);
        begun += exchanges(&mut bench);
    }
    // In the 6,000 s there was one ordinary exchange: eight for it, eight for the one to come.
    assert!((9..=17).contains(&begun), "{begun}");
}
