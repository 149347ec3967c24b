//! What a node does not do: waking for nothing, and telling others what they know.

use super::net::{Net, lan};
use super::support::{Bench, ms};

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
