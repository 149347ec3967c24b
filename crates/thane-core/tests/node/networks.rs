//! Members with addresses on several networks: over which one they are reached, and what those do who know of none.

use std::net::SocketAddr;

use thane_core::{Config, NETWORKS_TAG, Network, Node, QueryParams, Seed, State, Time};
use thane_wire::gossip::{IndirectPing, Message, Ping, ip_bytes};
use thane_wire::tags::{self, Tags};

use super::support::{Bench, VERSIONS, addr, addr_of, alive_with, encode, ms, quiet};

/// The address of the n-th member on the network `site`; [`addr_of`] is what it announces.
fn on_site(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 7946))
}

fn networks(list: &[(&str, SocketAddr)]) -> Vec<Network> {
    list.iter().map(|(name, addr)| Network { name: (*name).to_owned(), addr: *addr }).collect()
}

/// Node `a`, which is on `site` and probes once a second.
fn on_both() -> Config {
    Config {
        networks: networks(&[("site", on_site(1))]),
        probe_interval: ms(1000),
        probe_timeout: ms(300),
        ..quiet("a", addr_of(1))
    }
}

/// What a member announces that is on these networks.
fn meta(networks: &str) -> Vec<u8> {
    tags::encode(&Tags::from([(NETWORKS_TAG.to_owned(), networks.to_owned())]))
}

/// Says that the n-th member is alive and on these networks.
fn announce(bench: &mut Bench, name: &str, n: u8, incarnation: u32, networks: &str) {
    bench.tell(&alive_with(name, incarnation, addr_of(n), &meta(networks), &VERSIONS));
    bench.take_gossip();
    bench.clear();
}

/// Runs until a ping has left; to whom, and with which address for the answer.
fn next_ping(bench: &mut Bench) -> (SocketAddr, Vec<u8>, u16) {
    for _ in 0..10_000 {
        for (to, message) in bench.take_messages() {
            if let Ok(Message::Ping(ping)) = Message::decode(&message) {
                return (to, ping.source_addr.to_vec(), ping.source_port);
            }
        }
        bench.run(ms(1));
    }
    panic!("no ping in ten seconds");
}

#[test]
fn a_member_on_our_network_is_reached_there_and_answers_come_back_the_way_the_ping_went() {
    let mut bench = Bench::new(on_both());
    announce(&mut bench, "b", 2, 1, "site=10.0.0.2:7946");
    assert_eq!(next_ping(&mut bench), (on_site(2), Vec::new(), 0));
    let member = bench.node.member("b").unwrap();
    assert_eq!(
        (member.addr, member.reached_at()),
        (addr_of(2), on_site(2)),
        "the cluster sees what it announces"
    );
    let told = bench.table();
    assert_eq!(told["b"].addr, [127, 0, 0, 2], "and hears it from us");
    assert_eq!(told["a"].addr, [127, 0, 0, 1]);
    assert_eq!(told["a"].meta, meta("site=10.0.0.1:7946"));
}

#[test]
fn whoever_is_on_no_network_of_ours_is_reached_at_the_address_that_it_announces() {
    for networks in ["", "other=10.0.0.2:7946", "site=0.0.0.0:7946", "site=here"] {
        let mut bench = Bench::new(on_both());
        announce(&mut bench, "b", 2, 1, networks);
        assert_eq!(next_ping(&mut bench).0, addr_of(2), "{networks:?}");
    }
    // And a node that is on none pays no heed to the tag.
    let mut bench = Bench::new(Config { networks: Vec::new(), ..on_both() });
    announce(&mut bench, "b", 2, 1, "site=10.0.0.2:7946");
    let (to, source, port) = next_ping(&mut bench);
    assert_eq!((to, source.as_slice(), port), (addr_of(2), &[127, 0, 0, 1][..], 7946));
}

#[test]
fn a_member_that_changes_its_networks_is_reached_elsewhere_from_then_on() {
    let mut bench = Bench::new(on_both());
    bench.tell(&alive_with("b", 1, addr_of(2), &meta("site=10.0.0.2:7946"), &VERSIONS));
    let told: Vec<&str> = bench
        .notices
        .iter()
        .filter(|notice| notice.kind == "member_route")
        .map(|notice| &*notice.text)
        .collect();
    assert_eq!(told, ["b is reached at 10.0.0.2:7946, on network site"]);
    for (incarnation, networks, expected) in [
        (2, "site=10.0.0.9:7946", on_site(9)),
        (3, "", addr_of(2)),
        (4, "site=10.0.0.2:1", addr("10.0.0.2:1")),
    ] {
        announce(&mut bench, "b", 2, incarnation, networks);
        assert_eq!(bench.node.member("b").unwrap().reached_at(), expected, "{networks:?}");
    }
    // Its return from death is an announcement like any other.
    bench.run(ms(30_000));
    assert_ne!(bench.node.member("b").unwrap().state, State::Alive, "nobody answered");
    announce(&mut bench, "b", 2, 9, "site=10.0.0.7:7946");
    assert_eq!(bench.node.member("b").unwrap().reached_at(), on_site(7));
}

#[test]
fn of_several_common_networks_the_one_that_we_name_first_is_taken() {
    let config = Config { networks: networks(&[("fast", addr_of(101)), ("site", on_site(1))]), ..on_both() };
    let mut bench = Bench::new(config);
    announce(&mut bench, "b", 2, 1, "site=10.0.0.2:7946,fast=127.0.0.102:7946");
    assert_eq!(next_ping(&mut bench).0, addr_of(102));
}

/// The requester knows the target only by the address that it announces.
#[test]
fn a_relay_reaches_the_target_over_the_network_that_it_shares_with_it() {
    let mut bench = Bench::new(Config { probe_interval: ms(3_600_000), ..on_both() });
    announce(&mut bench, "b", 2, 1, "site=10.0.0.2:7946");
    let (ip, len) = ip_bytes(addr_of(2).ip());
    for (target, node, expected) in [
        (&ip[..len], "b", on_site(2)),
        // Another address than the one we know is the requester's affair.
        (&[127, 0, 0, 77][..], "b", addr_of(77)),
        (&[127, 0, 0, 77][..], "nobody", addr_of(77)),
    ] {
        bench.tell(&encode(&Message::IndirectPing(IndirectPing {
            seq: 7,
            target,
            port: 7946,
            node,
            nack: false,
            source_addr: &[],
            source_port: 0,
            source_node: "c",
        })));
        let pinged = bench.take_messages().into_iter().find_map(|(to, message)| {
            matches!(Message::decode(&message), Ok(Message::Ping(_))).then_some(to)
        });
        assert_eq!(pinged, Some(expected), "{node} at {target:?}");
    }
}

/// It names the address that it announces, as whoever knows of no networks does.
#[test]
fn a_ping_of_a_member_on_our_network_is_answered_there() {
    let mut bench = Bench::new(Config { probe_interval: ms(3_600_000), ..on_both() });
    announce(&mut bench, "b", 2, 1, "site=10.0.0.2:7946");
    for (source_node, expected) in [("b", on_site(2)), ("nobody", addr_of(2))] {
        let (ip, len) = ip_bytes(addr_of(2).ip());
        let source_addr = &ip[..len];
        let ping = Ping { seq: 3, node: "a", source_addr, source_port: 7946, source_node };
        bench.tell(&encode(&Message::Ping(ping)));
        let answered: Vec<SocketAddr> = bench.take_messages().into_iter().map(|(to, _message)| to).collect();
        assert_eq!(answered, [expected], "{source_node}");
    }
}

#[test]
fn a_request_to_relay_names_the_announced_address_and_no_way_back() {
    let mut bench = Bench::new(on_both());
    announce(&mut bench, "b", 2, 1, "site=10.0.0.2:7946");
    announce(&mut bench, "c", 3, 1, "site=10.0.0.3:7946");
    for _ in 0..5_000 {
        for (to, message) in bench.take_messages() {
            if let Ok(Message::IndirectPing(request)) = Message::decode(&message) {
                let (target, relay) = if request.node == "b" { (2, 3) } else { (3, 2) };
                assert_eq!(to, on_site(relay), "the relay itself is reached over the network");
                assert_eq!((request.target, request.port), (&[127, 0, 0, target][..], 7946));
                assert_eq!((request.source_addr, request.source_port), (&[][..], 0));
                return;
            }
        }
        bench.run(ms(1));
    }
    panic!("nobody was asked");
}

#[test]
fn gossip_exchanges_and_answers_take_the_network_too() {
    let mut bench = Bench::new(Config {
        probe_interval: ms(3_600_000),
        gossip_interval: ms(100),
        push_pull_interval: ms(5_000),
        ..on_both()
    });
    announce(&mut bench, "b", 2, 1, "site=10.0.0.2:7946");
    // An answer to a question of b, which names the address that b announces.
    let mut asker =
        Bench::new(Config { networks: networks(&[("site", on_site(2))]), ..quiet("b", addr_of(2)) });
    announce(&mut asker, "a", 1, 1, "");
    let params =
        QueryParams { request_ack: true, filter_nodes: vec!["a".to_owned()], ..QueryParams::default() };
    asker.node.query(asker.now, "load", b"", &params).unwrap();
    asker.collect();
    for message in asker.take_gossip() {
        bench.tell(&message);
    }
    let ours = bench.take_messages();
    assert!(!ours.is_empty() && ours.iter().all(|(to, _message)| *to == on_site(2)), "{ours:?}");
    bench.node.user_event(bench.now, "deploy", b"", false).unwrap();
    bench.run(ms(1000));
    let gossip = bench.take_messages();
    assert!(!gossip.is_empty() && gossip.iter().all(|(to, _message)| *to == on_site(2)), "{gossip:?}");
    bench.run(ms(10_000));
    assert!(!bench.dials.is_empty(), "an exchange is due");
    assert!(bench.dials.iter().all(|(_stream, to)| *to == on_site(2)), "{:?}", bench.dials);
}

#[test]
fn networks_that_nobody_could_use_are_refused_together() {
    let config = Config {
        networks: networks(&[
            ("site", on_site(1)),
            ("site", on_site(2)),
            ("a b", on_site(3)),
            ("wild", addr("0.0.0.0:7946")),
            ("portless", addr("10.0.0.1:0")),
        ]),
        ..quiet("a", addr_of(1))
    };
    let wrong = Node::new(config, Seed::from(1), Time::ZERO).unwrap_err();
    let values: Vec<&str> = wrong.iter().map(|problem| &*problem.value).collect();
    assert_eq!(values, ["\"site\"", "\"a b\"", "wild=0.0.0.0:7946", "portless=10.0.0.1:0"]);
    let many = (0..17).map(|n| (format!("n{n}"), on_site(n))).collect::<Vec<_>>();
    let many = many.iter().map(|(name, addr)| (&**name, *addr)).collect::<Vec<_>>();
    let wrong =
        Node::new(Config { networks: networks(&many), ..quiet("a", addr_of(1)) }, Seed::from(1), Time::ZERO);
    assert_eq!(wrong.unwrap_err()[0].value, "17");
}

/// Whoever leaves its address out of a ping is on several networks: only the way that the ping took is known to work.
#[test]
fn a_ping_that_names_no_address_is_answered_where_it_came_from() {
    let mut bench = Bench::new(Config { probe_interval: ms(3_600_000), ..on_both() });
    announce(&mut bench, "b", 2, 1, "site=10.0.0.2:7946");
    let ping = Ping { seq: 3, node: "a", source_addr: &[], source_port: 0, source_node: "b" };
    bench.tell_from(addr_of(2), &encode(&Message::Ping(ping)));
    let answered: Vec<SocketAddr> = bench.take_messages().into_iter().map(|(to, _message)| to).collect();
    assert_eq!(answered, [addr_of(2)]);
}

#[test]
fn a_member_is_meant_by_the_networks_that_it_announces() {
    let mut bench = Bench::new(on_both());
    for (expr, meant) in [("^site=10\\.0\\.0\\.1:7946$", true), ("^$", false), ("lan=", false)] {
        bench.clear();
        let filter_tags = vec![(NETWORKS_TAG.to_owned(), expr.to_owned())];
        let params = QueryParams { filter_tags, ..QueryParams::default() };
        bench.node.query(bench.now, "where", b"", &params).unwrap();
        bench.collect();
        assert_eq!(bench.take_events().len(), usize::from(meant), "{expr}");
    }
}
