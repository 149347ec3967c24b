//! Finding the cluster by names when nobody else is left (SF-305, SF-605).

use thane_core::{Network, Replay, Status};

use super::net::{Net, lan};
use super::support::ms;

/// Whether node `at` wants its seeds looked up; forgets that it did.
fn asked(net: &mut Net, at: usize) -> bool {
    std::mem::take(&mut net.nodes[at].seed_lookups) > 0
}

/// Lets time pass until node `at` wants its seeds; how long that took, if it did within `limit_ms`.
fn next_lookup(net: &mut Net, at: usize, limit_ms: u64) -> Option<u64> {
    let start = net.now;
    net.run_until(ms(limit_ms), |net| net.nodes[at].seed_lookups > 0);
    asked(net, at).then(|| net.now.since(start).as_millis() as u64)
}

fn answer(net: &mut Net, at: usize, with: &[usize]) {
    let addrs: Vec<_> = with.iter().map(|at| net.addr(*at)).collect();
    let now = net.now;
    net.nodes[at].node.handle_seeds_looked_up(now, &addrs);
    net.pump();
}

/// The others died at the addresses that were known, and the names lead to where the cluster is now.
#[test]
fn sf_305_a_cluster_that_moved_is_found_by_its_names() {
    let mut net = Net::new((0..4).map(lan));
    for at in 1..3 {
        net.join(at, 0);
    }
    assert!(net.run_until(ms(20_000), |net| net.status(2, "n1") == Some(Status::Alive)));
    net.nodes[2].node.seeds_changed(net.now, 1);
    assert_eq!(next_lookup(&mut net, 2, 60_000), None, "it has company");
    net.down.extend([0, 1]);
    next_lookup(&mut net, 2, 300_000).expect("it is alone at last");
    // The names still lead to those that are gone, or nowhere.
    let mut last = 0;
    for with in [&[0, 1][..], &[], &[0]] {
        answer(&mut net, 2, with);
        let pause = next_lookup(&mut net, 2, 200_000).expect("it goes on");
        assert!(pause > last, "pauses grow: {last} ms, {pause} ms");
        last = pause;
    }
    answer(&mut net, 2, &[3]);
    assert!(net.run_until(ms(5_000), |net| {
        net.status(2, "n3") == Some(Status::Alive) && net.status(3, "n2") == Some(Status::Alive)
    }));
    assert_eq!(next_lookup(&mut net, 2, 60_000), None, "it has company again");
}

#[test]
fn a_name_that_stands_for_us_alone_is_no_way_to_others() {
    let mut net = Net::new([lan(0)]);
    net.nodes[0].node.seeds_changed(net.now, 1);
    net.pump();
    assert!(asked(&mut net, 0), "at once");
    answer(&mut net, 0, &[0]);
    assert!(net.nodes[0].noticed("seeds_failed"));
    // On none of its networks.
    let mut config = lan(0);
    let at = "192.0.2.7:7946".parse().unwrap();
    config.networks = vec![Network { name: "site".to_owned(), addr: at }];
    let mut multihomed = Net::new([config]);
    multihomed.nodes[0].node.seeds_changed(multihomed.now, 1);
    multihomed.pump();
    multihomed.nodes[0].node.handle_seeds_looked_up(multihomed.now, &[at]);
    multihomed.pump();
    assert!(multihomed.nodes[0].noticed("seeds_failed"));
    assert_eq!(multihomed.nodes[0].node.counters().streams_dialed, 0);
    let longest = (0..12).map(|_| {
        let pause = next_lookup(&mut net, 0, 200_000).expect("for ever");
        answer(&mut net, 0, &[]);
        pause
    });
    let longest = longest.max().unwrap();
    assert!((90_000..=150_000).contains(&longest), "two minutes, more or less: {longest} ms");
    assert!(net.nodes[0].done.is_empty(), "nobody else waits for these joins");
}

/// Old events are for those who were there before.
#[test]
fn the_first_join_through_seeds_brings_no_history() {
    let mut net = Net::new([lan(0), lan(1)]);
    let now = net.now;
    net.nodes[0].node.user_event(now, "history", b"", false).unwrap();
    net.nodes[1].node.seeds_changed(now, 1);
    net.pump();
    answer(&mut net, 1, &[0]);
    assert!(net.run_until(ms(5_000), |net| net.all_see(2)));
    net.run(ms(60_000));
    let user = |event: &&thane_core::Event| matches!(event, thane_core::Event::User(_));
    assert_eq!(net.nodes[1].events.iter().find(user), None);
}

/// A join of which one address does not answer goes on until the timeout, and so does its cluster meanwhile.
#[test]
fn what_happens_while_a_join_waits_for_its_last_address_is_news() {
    let mut net = Net::new((0..4).map(lan));
    net.join(1, 0);
    let now = net.now;
    net.nodes[0].node.user_event(now, "history", b"", false).unwrap();
    net.run(ms(2_000));
    net.silent.insert(net.addr(3));
    let (now, seeds) = (net.now, [net.addr(0), net.addr(3)]);
    net.nodes[2].node.join(now, &seeds, Replay::Ignore).unwrap();
    net.run(ms(1_000));
    assert_eq!(net.status(2, "n1"), Some(Status::Alive));
    // No gossip brings the event, only the exchange that a member begins.
    net.no_udp.insert(net.addr(2));
    let now = net.now;
    net.nodes[0].node.user_event(now, "news", b"", false).unwrap();
    net.join(0, 2);
    assert_eq!(net.nodes[2].done, [], "the join goes on");
    let user = |event: &thane_core::Event| match event {
        thane_core::Event::User(event) => Some(event.name.to_string()),
        _ => None,
    };
    let heard: Vec<String> = net.nodes[2].events.iter().filter_map(user).collect();
    assert_eq!(heard, ["news"]);
}

#[test]
fn without_names_and_after_a_leave_nothing_is_looked_up() {
    let mut net = Net::new([lan(0), lan(1)]);
    let now = net.now;
    net.nodes[0].node.seeds_changed(now, 2);
    net.pump();
    assert!(asked(&mut net, 0));
    // What is under way ends first, and nothing follows.
    net.nodes[0].node.seeds_changed(now, 0);
    answer(&mut net, 0, &[]);
    assert_eq!(next_lookup(&mut net, 0, 300_000), None);

    net.nodes[1].node.seeds_changed(net.now, 1);
    net.pump();
    assert!(asked(&mut net, 1));
    let now = net.now;
    net.nodes[1].node.leave(now).unwrap();
    answer(&mut net, 1, &[0]);
    assert!(net.nodes[1].node.join(net.now, &[], Replay::Old).is_err());
    assert_eq!(next_lookup(&mut net, 1, 300_000), None);
}
