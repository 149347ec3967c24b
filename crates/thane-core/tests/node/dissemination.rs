//! Gossip: to whom it goes, how often, what fits into a packet, and how often full state is exchanged.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use thane_core::{CommandError, Config, Detector, Key, Keyring, Time};
use thane_wire::gossip::Message;
use thane_wire::packet::Checksum;
use thane_wire::serf::{SerfMessage, UserEvent};

use super::support::{
    Bench, VERSIONS, addr_of, alive, alive_with, dead, ms, ping, quiet, suspect, text, user,
};

/// Node `a` that gossips every 100 ms to three members and does nothing else.
fn gossiper() -> Config {
    Config { gossip_interval: ms(100), retransmit_mult: 4, ..quiet("a", addr_of(1)) }
}

/// Nothing left to gossip, nothing seen.
fn settled(mut bench: Bench) -> Bench {
    bench.take_gossip();
    bench.clear();
    bench
}

fn receivers(bench: &mut Bench) -> Vec<SocketAddr> {
    let mut to: Vec<SocketAddr> = bench.take_messages().into_iter().map(|(to, _)| to).collect();
    to.sort_unstable();
    to.dedup();
    to
}

#[test]
fn the_dead_are_gossiped_to_for_a_while_and_those_who_left_never() {
    // Whether the member is gone by its own word, how long ago, and whether it hears gossip.
    let window = 30_000;
    for (who, after, hears) in
        [("c", window - 1000, true), ("c", window + 1000, false), ("b", 0, false), ("b", 1000, false)]
    {
        let mut bench = Bench::new(gossiper());
        bench.tell(&alive("b", 1, addr_of(2)));
        bench.tell(&dead("b", 1, who));
        let mut bench = settled(bench);
        bench.run(ms(after));
        bench.clear();
        bench.tell(&alive("z", 1, addr_of(3)));
        bench.node.user_event(bench.now, "deploy", b"", false).unwrap();
        bench.run(ms(300));
        let to_b: Vec<_> = bench.take_messages().into_iter().filter(|(to, _)| *to == addr_of(2)).collect();
        assert_eq!(!to_b.is_empty(), hears, "declared dead by {who}, {after} ms ago");
        assert!(
            to_b.iter().all(|(_, message)| message[0] == 4),
            "events are not spent on the dead: {to_b:?}"
        );
    }
}

#[test]
fn each_round_goes_to_as_many_members_as_configured_and_each_message_out_as_often_as_the_limit_says() {
    let mut bench = Bench::new(gossiper());
    for n in 2..10 {
        bench.tell(&alive(&format!("m{n}"), 1, addr_of(n)));
    }
    let mut bench = settled(bench);
    bench.node.user_event(bench.now, "deploy", b"", false).unwrap();
    bench.run(ms(100));
    assert_eq!(receivers(&mut bench).len(), 3);
    bench.run(ms(100));
    assert_eq!(receivers(&mut bench).len(), 1, "nine members: four transmissions in all");
    bench.run(ms(1000));
    assert_eq!(receivers(&mut bench), []);
}

#[test]
fn gossip_rides_on_pings_and_acks_and_counts_as_sent() {
    let mut bench = Bench::new(Config { retransmit_mult: 1, ..quiet("a", addr_of(1)) });
    bench.take_gossip();
    bench.clear();
    bench.tell(&alive("b", 1, addr_of(2)));
    bench.tell(&ping("a", 3));
    let messages = bench.take_messages();
    let kinds: Vec<u8> = messages.iter().map(|(_, message)| message[0]).collect();
    assert_eq!(kinds, [2, 4], "an ack and an alive");
    assert_eq!(messages[1].1, alive("b", 1, addr_of(2)));
    assert_eq!(bench.node.stats().membership_queue, 0);
}

/// memberlist's own messages go first in a packet, but not so that nothing else ever goes out.
#[test]
fn users_messages_are_not_starved_by_a_restless_cluster() {
    let mut bench = Bench::new(gossiper());
    for n in 2..250 {
        bench.tell(&alive_with(&format!("member-{n}"), 1, addr_of(n), &[b'x'; 200], &VERSIONS));
    }
    bench.clear();
    bench.node.user_event(bench.now, "deploy", &[1; 100], false).unwrap();
    bench.run(ms(100));
    let users = bench.take_messages().into_iter().filter(|(_, message)| message[0] == 8).count();
    assert!(users >= 2, "{users} of three packets carry the event");
}

// ---- sizes ----

/// Packets of every kind under every setting stay within the configured size (plus the checksum, which is not counted, as in
/// memberlist), and have no more parts than every generation reads.
#[test]
fn no_packet_is_too_large_or_has_too_many_parts() {
    let keyring = Keyring::new([Key::new(&[1; 32]).unwrap()]);
    for size in [512, 1400, 9000, 65_000] {
        for encrypted in [false, true] {
            let config = Config {
                udp_buffer_size: size,
                label: "blue".into(),
                keyring: if encrypted { keyring.clone() } else { Keyring::default() },
                probe_interval: ms(1000),
                compression: size == 1400,
                ..gossiper()
            };
            check_sizes(config, size);
        }
    }
}

fn check_sizes(config: Config, size: usize) {
    let mut bench = Bench::new(config);
    let mut packets = 0;
    let mut fullest = (0, 0);
    for n in 2..220 {
        let name = format!("m{n}");
        bench.tell(&alive_with(&name, 1, addr_of(n), &vec![b'x'; usize::from(n) % 40], &VERSIONS));
        if n % 3 == 0 {
            bench.tell(&suspect(&name, 1, "x"));
        }
    }
    for n in 0..200_u64 {
        let mut event = Vec::new();
        let name = format!("e{n}");
        SerfMessage::UserEvent(UserEvent {
            ltime: n,
            name: &name,
            payload: Some(&vec![7; n as usize]),
            coalesce: false,
        })
        .encode(&mut event);
        bench.tell(&user(&event));
    }
    for step in 0..30 {
        bench.run(ms(100));
        bench.tell(&ping("a", step));
        for (_, packet) in std::mem::take(&mut bench.sent) {
            packets += 1;
            assert!(packet.len() <= size + 5, "{} bytes of {size}", packet.len());
            let opened = bench.codec.open_packet(packet.clone().into()).unwrap();
            assert_eq!(opened.dropped, []);
            assert!(opened.messages.len() <= 127, "{} parts", opened.messages.len());
            fullest = fullest.max((packet.len(), opened.messages.len()));
        }
    }
    assert!(packets > 50, "{packets}");
    if !bench.codec.config().compression && size <= 1400 {
        assert!(fullest.0 > size - 60, "room is used: {fullest:?} of {size}");
    }
    if size == 65_000 {
        assert_eq!(fullest.1, 127);
    }
}

#[test]
fn a_checksum_goes_to_those_who_know_it() {
    for (versions, checksum) in [([1, 5, 2, 2, 5, 5], true), ([1, 4, 2, 2, 5, 5], false)] {
        let mut bench = Bench::new(gossiper());
        bench.tell(&alive_with("b", 1, addr_of(2), b"", &versions));
        bench.run(ms(200));
        assert!(!bench.sent.is_empty());
        for (_, packet) in &bench.sent {
            assert_eq!(packet[0] == 12, checksum, "{versions:?}");
        }
    }
}

// ---- full state ----

/// memberlist: `state.go`, pushPullTrigger; one exchange an interval up to 32 members, then rarer.
#[test]
fn exchanges_become_rarer_as_the_cluster_grows() {
    for (members, wanted) in [(2, 20), (32, 20), (33, 10), (64, 10), (65, 6)] {
        let mut bench = Bench::new(Config { push_pull_interval: ms(10_000), ..quiet("a", addr_of(1)) });
        for n in 2..=members {
            bench.tell(&alive(&format!("m{n}"), 1, addr_of(n)));
        }
        // The one that so many newcomers are worth is no ordinary one.
        bench.run(ms(1_000));
        bench.dials.clear();
        bench.run(ms(200_000));
        let exchanges = bench.dials.len();
        assert!(exchanges.abs_diff(wanted) <= 1, "{members} members: {exchanges} exchanges, not {wanted}");
    }
}

#[test]
fn exchanges_go_to_live_members_only() {
    let mut bench = Bench::new(Config {
        push_pull_interval: ms(1000),
        reconnect_interval: ms(3_600_000),
        // It would look at the suspect as well.
        detector: Detector::lifeguard(),
        ..quiet("a", addr_of(1))
    });
    for (n, state) in [(2, "alive"), (3, "suspect"), (4, "dead"), (5, "left")] {
        let name = format!("m{n}");
        bench.tell(&alive(&name, 1, addr_of(n)));
        match state {
            "suspect" => bench.tell(&suspect(&name, 1, "x")),
            "dead" => bench.tell(&dead(&name, 1, "x")),
            "left" => bench.tell(&dead(&name, 1, &name)),
            _ => {}
        }
    }
    bench.dials.clear();
    bench.run(ms(15_000));
    assert!(bench.dials.len() >= 14);
    assert!(bench.dials.iter().all(|(_, to)| *to == addr_of(2)));
}

#[test]
fn a_zero_interval_turns_an_activity_off() {
    let mut config = gossiper();
    config.gossip_interval = ms(0);
    config.probe_interval = ms(0);
    config.probe_timeout = ms(0);
    config.push_pull_interval = ms(0);
    let mut bench = Bench::new(config);
    bench.tell(&alive("b", 1, addr_of(2)));
    bench.run(ms(3_600_000));
    assert_eq!((bench.sent.len(), bench.dials.len()), (0, 0));
}

/// Serf: `serf.go`, checkQueueDepth; recorded limits of `getQueueMax`.
#[test]
fn a_queue_is_cut_to_its_limit() {
    let all: serde_json::Value = serde_json::from_str(include_str!("../vectors/serf/small.json")).unwrap();
    let rows = all["queue_limit"].as_array().unwrap();
    assert!(rows.len() >= 6);
    let mut listed = 0;
    for row in rows {
        let number = |field: &str| row[field].as_u64().unwrap() as usize;
        let (mut members, limit) = (number("members"), number("limit"));
        if number("min_queue_depth") == 0 {
            // Their number does not count; thousands of them would take long and show nothing else.
            members = members.min(9);
        }
        // A node is always a member of its own cluster.
        if members == 0 {
            listed += 1;
            continue;
        }
        let mut bench = Bench::new(Config {
            max_queue_depth: number("max_queue_depth"),
            min_queue_depth: number("min_queue_depth"),
            ..quiet("a", addr_of(1))
        });
        for n in 2..=members as u8 {
            bench.tell(&alive(&format!("m{n}"), 1, addr_of(n)));
        }
        let events = limit + 10;
        for n in 0..events {
            let name = format!("e{n}");
            bench.node.user_event(bench.now, &name, b"", false).unwrap();
        }
        bench.run(ms(30_000));
        assert_eq!(bench.node.stats().event_queue, limit, "{row}");
        assert_eq!(bench.node.counters().broadcasts_pruned, 10, "{row}");
        assert_eq!(bench.noticed("queue_depth"), events >= 128, "{row}: the depth from which it is told");
    }
    let (cases, same) = (rows.len(), rows.len() - listed);
    eprintln!("compat: limits of queues | cases={cases} same={same} listed={listed}");
}

// ---- user events ----

/// Recorded largest payloads that Serf takes.
#[test]
fn the_largest_user_event_is_serfs() {
    let all: serde_json::Value = serde_json::from_str(include_str!("../vectors/serf/small.json")).unwrap();
    let rows = all["user_event_largest_payload"].as_array().unwrap();
    for row in rows {
        let number = |field: &str| row[field].as_u64().unwrap() as usize;
        let config = Config {
            user_event_size_limit: number("limit"),
            udp_buffer_size: 65_000,
            event_buffer_size: 1,
            ..quiet("a", addr_of(1))
        };
        let name = "n".repeat(number("name_len"));
        for (more, fits) in [(0, true), (1, false)] {
            let mut bench = Bench::new(config.clone());
            let mut event = Vec::new();
            let ltime = number("ltime") as u64 - 1;
            SerfMessage::UserEvent(UserEvent { ltime, name: "x", payload: None, coalesce: false })
                .encode(&mut event);
            bench.tell(&user(&event));
            let payload = vec![0; number("largest_payload") + more];
            let sent = bench.node.user_event(bench.now, &name, &payload, false);
            assert_eq!(sent.is_ok(), fits, "{row} and {more} more: {sent:?}");
            if fits {
                assert_eq!(sent, Ok(number("ltime") as u64));
            }
        }
    }
    eprintln!("compat: largest user events | cases={0} same={0} listed=0", rows.len());
}

#[test]
fn a_user_event_that_never_fits_a_packet_is_refused_at_once() {
    let config = Config { user_event_size_limit: 9216, ..quiet("a", addr_of(1)) };
    let mut bench = Bench::new(config);
    let refused = bench.node.user_event(Time::ZERO, "n", &[0; 1400], false).unwrap_err();
    assert_eq!(refused, CommandError::NeverFits { size: 1431, room: 1395 });
    bench.node.user_event(Time::ZERO, "n", &[0; 1300], false).unwrap();
    assert_eq!(bench.node.stats().event_queue, 1);
    assert_eq!(bench.node.stats().event_time, 2);
}

#[test]
fn a_user_event_is_delivered_once_however_often_it_comes() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.take_events();
    let mut counts = BTreeMap::new();
    for round in 0..3 {
        for n in [5, 4, 600, 87, 88, 5, 700] {
            let mut event = Vec::new();
            SerfMessage::UserEvent(UserEvent { ltime: n, name: "e", payload: None, coalesce: false })
                .encode(&mut event);
            bench.tell(&user(&event));
        }
        for event in bench.take_events() {
            *counts.entry(event).or_insert(0) += 1;
        }
        assert!(counts.values().all(|count| *count == 1), "round {round}: {counts:?}");
    }
    let delivered: Vec<&str> = counts.keys().map(String::as_str).collect();
    assert_eq!(
        delivered,
        ["user:e@4", "user:e@5", "user:e@600", "user:e@700"],
        "87 and 88 are 512 and more behind 601"
    );
    let counters = bench.node.counters();
    assert_eq!(counters.user_events_delivered, 4);
    assert!(counters.user_events_too_old >= 2);
    assert!(bench.noticed("user_event_too_old"));
}

#[test]
fn queued_statements_are_what_was_heard() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.take_gossip();
    bench.tell(&alive("b", 3, addr_of(2)));
    bench.tell(&suspect("b", 3, "c"));
    let gossip = bench.take_gossip();
    assert_eq!(
        gossip,
        vec![suspect("b", 3, "c"); gossip.len()],
        "the newest statement replaced the older one"
    );
    assert_eq!(gossip.len(), 4);
    let Ok(Message::Suspect(said)) = Message::decode(&gossip[0]) else { panic!() };
    assert_eq!(text(&said.from.into()), "c", "the accuser's name stays");
    let packet = bench.codec.seal_packet(&[dead("b", 3, "d")], Checksum::Add, [0; 12]);
    bench.packet(addr_of(7), &packet);
    assert_eq!(bench.take_gossip()[0], dead("b", 3, "d"));
}

/// Differs from Serf: between two looks at the queues' depth, a flood of messages fills them to twice that depth, not the memory.
#[test]
fn a_flood_of_messages_stays_within_its_limit_between_two_looks() {
    let mut bench = Bench::new(Config { max_queue_depth: 50, ..quiet("a", addr_of(1)) });
    bench.tell(&alive("b", 1, addr_of(2)));
    for n in 0..1000 {
        bench.node.user_event(bench.now, &format!("e{n}"), b"", false).unwrap();
        assert!(bench.node.occupancy().all(|it| it.held <= it.limit));
    }
    assert_eq!(bench.node.stats().event_queue, 100);
    assert_eq!(bench.node.counters().broadcasts_pruned, 900);
}
