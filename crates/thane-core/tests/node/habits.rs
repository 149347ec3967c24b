//! What memberlist does as a habit and no recording shows: defaults, when things begin, who is chosen, what is told to whom.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use thane_core::{Config, LifeState, State, Tags};
use thane_wire::gossip::{Ack, Alive, Message, NodeStateKind, Ping};
use thane_wire::packet::Checksum;
use thane_wire::serf::{SerfMessage, UserEvent};
use thane_wire::stream::{self, Role, StreamDecoder, StreamMessage};

use super::net::{Net, lan};
use super::support::{
    Bench, VERSIONS, addr_of, alive, alive_with, dead, encode, encode_record, ms, ping, quiet, suspect, user,
};

fn event(name: &str, ltime: u64) -> Vec<u8> {
    let mut message = Vec::new();
    SerfMessage::UserEvent(UserEvent { ltime, name, payload: None, coalesce: false }).encode(&mut message);
    user(&message)
}

// ---- defaults ----

/// memberlist: `config.go`, `DefaultLANConfig`, `DefaultWANConfig`, `DefaultLocalConfig`.
#[test]
fn the_presets_are_memberlists() {
    type Field<T> = fn(&Config) -> T;
    let at = addr_of(1);
    let (lan, wan, local) = (Config::lan("a", at), Config::wan("a", at), Config::local("a", at));
    let all = [&lan, &wan, &local];
    let spans: [(&str, Field<Duration>, [u64; 3]); 7] = [
        ("tcp_timeout", |config| config.tcp_timeout, [10_000, 30_000, 1_000]),
        ("push_pull_interval", |config| config.push_pull_interval, [30_000, 60_000, 15_000]),
        ("probe_interval", |config| config.probe_interval, [1_000, 5_000, 1_000]),
        ("probe_timeout", |config| config.probe_timeout, [500, 3_000, 200]),
        ("gossip_interval", |config| config.gossip_interval, [200, 500, 100]),
        ("gossip_to_the_dead_time", |config| config.gossip_to_the_dead_time, [30_000, 60_000, 15_000]),
        ("dead_node_reclaim_time", |config| config.dead_node_reclaim_time, [0, 0, 0]),
    ];
    for (name, span, expected) in spans {
        assert_eq!(all.map(span), expected.map(ms), "{name}");
    }
    let numbers: [(&str, Field<usize>, [usize; 3]); 7] = [
        ("indirect_checks", |config| config.indirect_checks, [3, 3, 1]),
        ("retransmit_mult", |config| config.retransmit_mult as usize, [4, 4, 2]),
        ("suspicion_mult", |config| config.suspicion_mult as usize, [4, 6, 3]),
        ("suspicion_max_timeout_mult", |config| config.suspicion_max_timeout_mult as usize, [6; 3]),
        ("awareness_max_multiplier", |config| config.awareness_max_multiplier as usize, [8; 3]),
        ("gossip_nodes", |config| config.gossip_nodes, [3, 4, 3]),
        ("udp_buffer_size", |config| config.udp_buffer_size, [1_400; 3]),
    ];
    for (name, number, expected) in numbers {
        assert_eq!(all.map(number), expected, "{name}");
    }
    for config in all {
        assert!(config.tcp_pings && config.compression && config.verify_incoming && config.verify_outgoing);
        assert!(config.keyring.is_empty() && config.label.is_empty() && !config.skip_inbound_label_check);
        assert_eq!(config.version_bytes(), VERSIONS);
    }
}

// ---- beginnings ----

/// memberlist: `state.go`, schedule: each activity begins after a random part of its interval.
#[test]
fn nodes_that_start_together_do_not_act_together() {
    type Activity = (&'static str, fn(&mut Config), fn(&Bench) -> bool);
    let activities: [Activity; 3] = [
        ("probes", |config| config.probe_interval = ms(1000), |bench| !bench.sent.is_empty()),
        ("gossip", |config| config.gossip_interval = ms(1000), |bench| !bench.sent.is_empty()),
        ("exchanges", |config| config.push_pull_interval = ms(1000), |bench| !bench.dials.is_empty()),
    ];
    for (activity, choose, has_begun) in activities {
        let mut beginnings = BTreeSet::new();
        for seed in 0..40 {
            let mut config = quiet("a", addr_of(1));
            choose(&mut config);
            let mut bench = Bench::seeded(config, seed);
            bench.tell(&alive("b", 1, addr_of(2)));
            bench.sent.clear();
            let begun = (0..1000).find(|_| {
                bench.run(ms(1));
                has_begun(&bench)
            });
            beginnings.insert(begun.unwrap_or_else(|| panic!("{activity} begin within the interval")));
        }
        assert!(beginnings.len() > 30, "{activity} of forty nodes begin at {beginnings:?}");
        assert!(beginnings.iter().any(|at| *at < 250) && beginnings.iter().any(|at| *at > 750), "{activity}");
    }
}

/// An answer is accepted from whoever knows the number, so it must not be guessed.
#[test]
fn the_numbers_of_pings_begin_anywhere() {
    let first = |seed| {
        let config = Config { probe_interval: ms(1000), probe_timeout: ms(500), ..quiet("a", addr_of(1)) };
        let mut bench = Bench::seeded(config, seed);
        bench.tell(&alive("b", 1, addr_of(2)));
        bench.sent.clear();
        bench.run(ms(1000));
        let (_, message) = bench.take_messages().remove(0);
        Ping::decode(&message[1..]).unwrap().seq
    };
    let numbers: BTreeSet<u32> = (0..20).map(first).collect();
    assert_eq!(numbers.len(), 20);
    assert!(numbers.last().unwrap() - numbers.first().unwrap() > u32::MAX / 2, "{numbers:?}");
}

// ---- who is chosen ----

#[test]
fn the_dead_and_those_who_left_are_neither_probed_nor_asked_to_probe() {
    let config = Config { probe_interval: ms(1000), probe_timeout: ms(500), ..quiet("a", addr_of(1)) };
    let mut bench = Bench::new(config);
    for n in 2..=6 {
        bench.tell(&alive(&format!("m{n}"), 1, addr_of(n)));
    }
    bench.tell(&dead("m2", 1, "x"));
    bench.tell(&dead("m3", 1, "m3"));
    bench.take_gossip();
    bench.clear();
    bench.run(ms(12_000));
    let (mut probed, mut asked) = (BTreeSet::new(), BTreeSet::new());
    for (to, message) in bench.take_messages() {
        match Message::decode(&message).unwrap() {
            Message::Ping(_) => probed.insert(to),
            Message::IndirectPing(_) => asked.insert(to),
            _ => false,
        };
    }
    let living: BTreeSet<SocketAddr> = (4..=6).map(addr_of).collect();
    assert_eq!(probed, living);
    assert!(!asked.is_empty() && asked.is_subset(&living), "{asked:?}");
}

/// memberlist: `util_test.go`, `TestKRandomNodes`: of eight with two to choose from, exactly those two.
#[test]
fn of_few_who_can_be_chosen_none_is_missed() {
    for seed in 0..20 {
        let config = Config { gossip_interval: ms(100), retransmit_mult: 4, ..quiet("a", addr_of(1)) };
        let mut bench = Bench::seeded(config, seed);
        for n in 2..=8 {
            bench.tell(&alive(&format!("m{n}"), 1, addr_of(n)));
        }
        for n in 4..=8 {
            let name = format!("m{n}");
            bench.tell(&dead(&name, 1, &name));
        }
        bench.take_gossip();
        bench.clear();
        bench.node.user_event(bench.now, "deploy", b"", false).unwrap();
        bench.run(ms(100));
        let mut to: Vec<SocketAddr> = bench.take_messages().into_iter().map(|(to, _)| to).collect();
        to.sort_unstable();
        assert_eq!(to, [addr_of(2), addr_of(3)], "seed {seed}");
    }
}

// ---- what is told ----

/// Differs from memberlist: there the last message of a burst comes first.
#[test]
fn messages_of_one_packet_are_delivered_in_their_order() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.take_events();
    let messages: Vec<Vec<u8>> = (1..=5).map(|n| event(&format!("e{n}"), n)).collect();
    let packet = bench.codec.seal_packet(&messages, Checksum::Omit, [0; 12]);
    bench.packet(addr_of(9), &packet);
    assert_eq!(bench.take_events(), ["user:e1@1", "user:e2@2", "user:e3@3", "user:e4@4", "user:e5@5"]);
}

/// Differs from memberlist: there pings and their answers go without one.
#[test]
fn pings_and_their_answers_bear_a_checksum_for_those_who_know_it() {
    for (versions, knows) in [(VERSIONS, true), ([1, 4, 2, 2, 5, 5], false)] {
        let config = Config { probe_interval: ms(1000), probe_timeout: ms(500), ..quiet("a", addr_of(1)) };
        let mut bench = Bench::new(config);
        bench.tell(&alive_with("b", 1, addr_of(2), b"", &versions));
        bench.sent.clear();
        bench.run(ms(1000));
        let ping = encode(&Message::Ping(Ping {
            seq: 7,
            node: "a",
            source_addr: &[127, 0, 0, 2],
            source_port: 7946,
            source_node: "b",
        }));
        bench.tell(&ping);
        assert_eq!(bench.sent.len(), 2, "a ping and an answer");
        for (to, packet) in &bench.sent {
            assert_eq!((*to, packet[0] == 12), (addr_of(2), knows), "{versions:?}");
        }
    }
}

/// Differs from memberlist: it queues the refutation under its address, beside what it said of itself before.
#[test]
fn of_what_we_say_about_ourselves_only_the_newest_waits() {
    let mut bench = Bench::new(Config { retransmit_mult: 1, ..quiet("a", addr_of(1)) });
    bench.take_gossip();
    bench.node.set_tags(bench.now, Tags::from([("role".to_owned(), "web".to_owned())])).unwrap();
    bench.collect();
    bench.tell(&suspect("a", 2, "b"));
    let said = bench.take_gossip();
    let about_us: Vec<_> = said.iter().filter(|message| message[0] == 4).collect();
    let [message] = about_us[..] else { panic!("{said:?}") };
    assert_eq!(Alive::decode(&message[1..]).unwrap().incarnation, 3);
}

/// What some members cannot read is not passed on: of version bytes there are six or more, or none.
#[test]
fn an_announcement_with_a_few_version_bytes_is_refused_even_of_a_known_member() {
    for length in 0..=8 {
        let versions = [&VERSIONS[..], &[9, 9]].concat();
        let mut bench = Bench::new(Config { retransmit_mult: 1, ..quiet("a", addr_of(1)) });
        bench.tell(&alive("b", 1, addr_of(2)));
        bench.take_gossip();
        bench.tell(&alive_with("b", 2, addr_of(2), b"", &versions[..length]));
        let taken = length == 0 || length >= 6;
        assert_eq!(bench.node.member("b").unwrap().incarnation, if taken { 2 } else { 1 }, "{length} bytes");
        let passed_on = bench.take_gossip();
        assert_eq!(passed_on.len(), usize::from(taken), "{length} bytes");
        assert_eq!(bench.node.counters().members_refused, u64::from(!taken), "{length} bytes");
        assert_eq!(bench.table()["b"].versions, VERSIONS, "peers are told all six");
    }
}

#[test]
fn a_record_in_an_unknown_state_is_passed_over() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    let record = |n: u8, state| encode_record(&format!("m{n}"), 1, addr_of(n), state, &VERSIONS);
    bench.push(true, &[record(2, NodeStateKind::Unknown(9)), record(3, NodeStateKind::Alive)]);
    assert!(bench.node.member("m2").is_none() && bench.node.member("m3").is_some());
}

// ---- streams ----

/// A ping over a stream is answered with the bare number, though packets carry our coordinate.
#[test]
fn a_ping_over_a_stream_is_answered_without_payload_and_one_for_another_not_at_all() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    for (name, answered) in [("a", true), ("", true), ("b", false)] {
        let reply = bench.stream(&ping(name, 77)).expect("the stream is closed");
        if !answered {
            assert!(reply.is_empty(), "{name:?}: {reply:?}");
            continue;
        }
        let read = StreamDecoder::new(Role::Dialer).push(&bench.codec, &reply).unwrap();
        let Some(StreamMessage::Ack(body)) = read else { panic!("{read:?}") };
        assert_eq!(Ack::decode(&body).unwrap(), Ack { seq: 77, payload: None });
    }
}

#[test]
fn a_user_message_over_a_stream_is_taken_like_one_in_a_packet_and_an_empty_one_ignored() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.take_events();
    let mut message = Vec::new();
    stream::encode_user(&event("deploy", 3)[1..], &mut message);
    assert_eq!(bench.stream(&message), Some(Vec::new()), "no reply");
    assert_eq!(bench.take_events(), ["user:deploy@3"]);
    let before = bench.node.counters();
    let mut empty = Vec::new();
    stream::encode_user(b"", &mut empty);
    assert_eq!(bench.stream(&empty), Some(Vec::new()));
    assert_eq!(bench.node.counters().messages_dropped, before.messages_dropped);
    assert_eq!(bench.take_events(), [""; 0]);
}

// ---- memberlist's open wounds ----

/// ML-311: a member that starts again at incarnation 1 is held for dead at a higher one by peers that it never talks to.
#[test]
fn ml_311_a_restarted_member_that_remembers_nothing_is_told_and_speaks_up() {
    let mut net = Net::joined(3);
    // A long life: its incarnation is far above that with which it will start again.
    for _ in 0..5 {
        let incarnation = net.nodes[2].node.local().incarnation;
        net.nodes[2].tell(&suspect("n2", incarnation, "x"));
        net.run(ms(3_000));
    }
    let last = net.nodes[2].node.local().incarnation;
    assert!(last > 5);
    net.down.insert(2);
    assert!(net.run_until(ms(60_000), |net| net.all_see(2)));
    net.nodes[2] = Bench::seeded(lan(2), 79);
    net.nodes[2].now = net.now;
    net.nodes[2].node.handle_timeout(net.now);
    net.down.clear();
    // It has joined nobody: all that n1 hears is one announcement, as gossip would bring it.
    net.nodes[1].tell(&alive("n2", 1, addr_of(3)));
    assert_eq!(net.nodes[1].node.member("n2").unwrap().state, State::Dead);
    assert!(net.run_until(ms(1_000), |net| net.nodes[2].node.local().incarnation > last), "it was told");
    net.join(2, 0);
    assert!(net.run_until(ms(20_000), |net| net.all_see(3)));
}

/// ML-312: what a peer still believes of a member that we have forgotten does not bring it back.
#[test]
fn ml_312_nobody_returns_from_the_dead_by_hearsay() {
    let config = Config { probe_interval: ms(1000), probe_timeout: ms(500), ..quiet("a", addr_of(1)) };
    let mut bench = Bench::new(config);
    bench.tell(&alive("b", 5, addr_of(2)));
    bench.tell(&dead("b", 5, "c"));
    bench.run(ms(40_000));
    assert_eq!(bench.node.member("b").unwrap().state, State::Forgotten);
    bench.take_events();
    for incarnation in [1, 4, 5] {
        bench.tell(&alive("b", incarnation, addr_of(2)));
        bench.push(false, &[encode_record("b", incarnation, addr_of(2), NodeStateKind::Alive, &VERSIONS)]);
    }
    assert_eq!(bench.take_events(), [""; 0]);
    assert_eq!(bench.node.member("b").unwrap().state, State::Forgotten);
    assert_eq!(bench.table().len(), 1, "and is not told to others");
    // Its own word, with a newer number, does.
    bench.tell(&alive("b", 6, addr_of(2)));
    assert_eq!(bench.take_events(), ["join:b"]);
}

/// After a leave the node goes on with its work for others, until it is shut down.
#[test]
fn a_node_that_has_left_still_gossips_and_relays() {
    let mut net = Net::joined(3);
    net.nodes[1].node.leave(net.now).unwrap();
    assert!(net.run_until(ms(8_000), |net| net.nodes[1].node.life_state() == LifeState::Left));
    let relayed = net.nodes[1].node.counters().indirect_probes_relayed;
    net.nodes[1].tell(&super::probing::indirect_ping(5, addr_of(3), true));
    net.pump();
    assert_eq!(net.nodes[1].node.counters().indirect_probes_relayed, relayed + 1);
    net.nodes[1].tell(&alive("newcomer", 1, addr_of(77)));
    assert!(net.run_until(ms(5_000), |net| net.nodes[0].node.member("newcomer").is_some()), "news goes on");
}
