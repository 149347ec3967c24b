//! Probes: who is asked, what an answer or its absence means, and what it does to the node's own health.

use std::net::SocketAddr;
use std::time::Duration;

use thane_core::{AnswerWay, Cause, Config, Detector, Event, Key, Keyring, State, StreamFailure, TcpProbe};
use thane_wire::gossip::{Ack, IndirectPing, Message, Nack, ip_bytes};

use super::net::{Net, lan};
use super::support::{
    Bench, VERSIONS, addr, addr_of, alive, alive_with, encode, ms, ping, quiet, short, suspect,
};

/// Node `a` with nothing but probes: one a second, with half a second for a direct answer.
pub(crate) fn prober() -> Config {
    Config { probe_interval: ms(1000), probe_timeout: ms(500), ..quiet("a", addr_of(1)) }
}

/// A prober that knows members `b`, `c`, ... with these version bytes, and has nothing left to gossip.
pub(crate) fn knowing(config: Config, versions: &[[u8; 6]]) -> Bench {
    let mut bench = Bench::new(config);
    for (at, versions) in versions.iter().enumerate() {
        let name = char::from(b'b' + at as u8).to_string();
        bench.tell(&alive_with(&name, 1, addr_of(at as u8 + 2), b"", versions));
    }
    bench.take_gossip();
    bench.clear();
    bench
}

/// Runs until the next ping has left: its target and sequence number.
pub(crate) fn next_ping(bench: &mut Bench) -> (SocketAddr, u32) {
    for _ in 0..20_000 {
        let found =
            bench.take_messages().into_iter().find_map(|(to, message)| match Message::decode(&message) {
                Ok(Message::Ping(ping)) => Some((to, ping.seq)),
                _ => None,
            });
        if let Some(found) = found {
            return found;
        }
        bench.run(ms(1));
    }
    panic!("no ping in twenty seconds");
}

pub(crate) fn ack(seq: u32) -> Vec<u8> {
    encode(&Message::Ack(Ack { seq, payload: None }))
}

/// Indirect pings that have been sent: to whom, for which sequence number, and whether a nack is wanted.
pub(crate) fn asked(bench: &mut Bench) -> Vec<(SocketAddr, u32, bool)> {
    let requests = bench.take_messages().into_iter();
    requests
        .filter_map(|(to, message)| match Message::decode(&message) {
            Ok(Message::IndirectPing(request)) => Some((to, request.seq, request.nack)),
            _ => None,
        })
        .collect()
}

pub(crate) fn state(bench: &Bench, at: SocketAddr) -> State {
    bench.node.members().find(|member| member.addr == at).unwrap().state
}

#[test]
fn a_probe_pings_the_only_other_member_and_its_answer_settles_it() {
    let mut bench = knowing(prober(), &[VERSIONS]);
    let (to, seq) = next_ping(&mut bench);
    assert_eq!(to, addr_of(2));
    bench.tell(&ack(seq));
    bench.run(ms(400));
    assert_eq!(state(&bench, addr_of(2)), State::Alive);
    let counters = bench.node.counters();
    assert_eq!((counters.probes, counters.probes_answered, counters.probes_failed), (1, 1, 0));
    let (_, next) = next_ping(&mut bench);
    assert_eq!(next, seq.wrapping_add(1), "one sequence number a probe");
}

#[test]
fn a_probe_names_its_target_and_where_to_answer() {
    let mut bench = knowing(prober(), &[VERSIONS]);
    bench.run(ms(1000));
    let messages = bench.take_messages();
    let Ok(Message::Ping(ping)) = Message::decode(&messages[0].1) else { panic!("{messages:?}") };
    assert_eq!((ping.node, ping.source_node), ("b", "a"));
    assert_eq!((ping.source_addr, ping.source_port), (&[127, 0, 0, 1][..], 7946));
}

#[test]
fn each_member_is_probed_once_a_round() {
    let mut bench = knowing(prober(), &[VERSIONS; 6]);
    for _ in 0..5 {
        let mut round: Vec<SocketAddr> = Vec::new();
        for _ in 0..6 {
            let (to, seq) = next_ping(&mut bench);
            bench.tell(&ack(seq));
            round.push(to);
        }
        round.sort_unstable();
        assert_eq!(round, (2..8).map(addr_of).collect::<Vec<_>>());
    }
}

#[test]
fn an_answer_to_another_probe_does_not_count() {
    let mut bench = knowing(prober(), &[VERSIONS]);
    let (_, seq) = next_ping(&mut bench);
    bench.tell(&ack(seq.wrapping_add(1)));
    bench.tell(&ack(seq.wrapping_sub(1)));
    bench.run(ms(1000));
    assert_eq!(state(&bench, addr_of(2)), State::Suspect);
}

#[test]
fn silence_makes_suspect_and_the_evidence_says_what_was_tried() {
    let mut bench = knowing(prober(), &[VERSIONS; 4]);
    let (target, seq) = next_ping(&mut bench);
    bench.clear();
    bench.run(ms(500));
    let asked = asked(&mut bench);
    assert_eq!(asked.len(), 3, "three of the others are asked: {asked:?}");
    for (relay, same_seq, nack) in &asked {
        assert!(*relay != target && *relay != addr_of(1));
        assert_eq!((*same_seq, *nack), (seq, true), "the probe's own number");
    }
    bench.tell_from(asked[0].0, &encode(&Message::Nack(Nack { seq })));
    bench.run(ms(499));
    assert_eq!(state(&bench, target), State::Alive, "not before its time");
    bench.run(ms(1));
    assert_eq!(state(&bench, target), State::Suspect);
    let name = bench.node.members().find(|member| member.addr == target).unwrap().name;
    let evidence = bench.node.evidence(&name);
    let Cause::ProbeFailed(failure) = &evidence.last().unwrap().cause else { panic!("{evidence:?}") };
    assert_eq!((failure.relays.len(), failure.nacks), (3, 1));
    let nacked: Vec<&str> = failure.relays.iter().filter(|it| it.nacked).map(|it| &*it.name).collect();
    let name_at = |addr| bench.node.members().find(|member| member.addr == addr).unwrap().name;
    assert_eq!(nacked, [&*name_at(asked[0].0)]);
    assert_eq!(failure.tcp, TcpProbe::NoAnswer);
    assert_eq!(failure.health, 2, "two nacks are missing");
    assert!(matches!(bench.events.last(), Some(Event::Suspected(_))));
    let ends = bench.node.suspicion_ends(&name).unwrap();
    assert!(ends > bench.node.evidence(&name).last().unwrap().at, "it has some time left");
}

#[test]
fn the_last_answer_is_kept_with_its_time_way_and_round_trip() {
    let mut bench = knowing(prober(), &[VERSIONS]);
    assert_eq!(bench.node.last_answer("b"), None);
    let (_, seq) = next_ping(&mut bench);
    bench.run(ms(40));
    bench.tell(&ack(seq));
    let answer = bench.node.last_answer("b").unwrap();
    // The ping left within the last millisecond of the search for it.
    let is_about = |rtt: Option<Duration>, wanted: u64| {
        rtt.is_some_and(|rtt| rtt >= ms(wanted) && rtt <= ms(wanted + 1))
    };
    assert!(is_about(answer.rtt, 40) && answer.way == AnswerWay::Direct, "{answer:?}");
    // Late, when others might have been asked: no round trip can be told from it.
    let (_, seq) = next_ping(&mut bench);
    bench.run(ms(600));
    bench.tell(&ack(seq));
    let late = bench.node.last_answer("b").unwrap();
    assert!(late.at > answer.at);
    assert_eq!((late.rtt, late.way), (None, AnswerWay::Relayed));
    // The evidence of a change tells the round trip of the answers before it.
    let (_, seq) = next_ping(&mut bench);
    bench.run(ms(30));
    bench.tell(&ack(seq));
    next_ping(&mut bench);
    bench.run(ms(1000));
    let evidence = bench.node.evidence("b");
    assert!(evidence[0].rtt.is_none() && is_about(evidence.last().unwrap().rtt, 30), "{evidence:?}");
    assert_eq!(bench.node.suspicion_ends("a"), None);
}

#[test]
fn what_we_refute_is_evidence_about_ourselves() {
    let mut bench = knowing(prober(), &[VERSIONS]);
    bench.tell(&suspect("a", 1, "b"));
    let evidence = bench.node.evidence("a");
    let Cause::Refuted { by, incarnation, .. } = &evidence.last().unwrap().cause else {
        panic!("{evidence:?}")
    };
    assert_eq!((by.as_deref(), *incarnation, evidence.last().unwrap().incarnation), (Some("b"), 1, 2));
}

#[test]
fn packets_that_cannot_be_used_are_counted_by_reason_and_the_last_one_is_kept() {
    let mut bench = Bench::new(Config { label: "ours".into(), ..prober() });
    bench.packet(addr_of(7), &ack(1));
    let counters = bench.node.counters();
    assert_eq!(
        (counters.packets_dropped, counters.packets_mislabeled, counters.packets_undecryptable),
        (1, 1, 0)
    );
    assert_eq!(bench.node.last_dropped_packet().unwrap().from, addr_of(7));
    let mut bench = Bench::new(Config { keyring: Keyring::new([Key::new(&[1; 32]).unwrap()]), ..prober() });
    bench.packet(addr_of(8), &[7; 64]);
    let counters = bench.node.counters();
    assert_eq!((counters.packets_mislabeled, counters.packets_undecryptable), (0, 1));
    assert_eq!(bench.node.last_dropped_packet().unwrap().from, addr_of(8));
}

#[test]
fn a_late_answer_through_a_relay_is_as_good_as_a_direct_one() {
    let mut bench = knowing(prober(), &[VERSIONS; 2]);
    let (target, seq) = next_ping(&mut bench);
    bench.run(ms(900));
    bench.tell_from(addr_of(9), &ack(seq));
    bench.run(ms(400));
    assert_eq!(state(&bench, target), State::Alive);
    assert_eq!(bench.node.counters().probes_answered, 1);
}

/// memberlist: `state_test.go`, the tests of `ProbeNode_Awareness`, and of its protocol without nacks.
#[test]
fn health_follows_from_nacks() {
    const OLD: [u8; 6] = [1, 3, 2, 2, 5, 5];
    // Relays, nacks that arrive, the score before, the score after a failed probe.
    type Case<'a> = (&'a str, &'a [[u8; 6]], usize, u32, u32);
    let cases: [Case<'_>; 7] = [
        ("all nacks arrive", &[VERSIONS; 3], 2, 0, 0),
        ("all nacks arrive, and the score was 1", &[VERSIONS; 3], 2, 1, 1),
        ("one nack is missing", &[VERSIONS; 3], 1, 0, 1),
        ("both nacks are missing", &[VERSIONS; 3], 0, 0, 2),
        ("relays that know no nacks", &[OLD; 3], 0, 0, 1),
        ("relays that know no nacks cannot send any", &[OLD; 3], 2, 0, 1),
        ("nobody to ask", &[VERSIONS], 0, 0, 1),
    ];
    for (case, versions, nacks, before, after) in cases {
        let mut bench = knowing(prober(), versions);
        if before > 0 {
            bench.tell(&suspect("a", 1, "x"));
            bench.take_gossip();
        }
        assert_eq!(bench.node.stats().health_score, before, "{case}");
        let (target, seq) = next_ping(&mut bench);
        bench.run(ms(500));
        let relays = asked(&mut bench);
        for (relay, _, _) in relays.iter().take(nacks) {
            bench.tell_from(*relay, &encode(&Message::Nack(Nack { seq })));
        }
        bench.run(ms(500 + 1000 * u64::from(before) - 1));
        assert_eq!(state(&bench, target), State::Alive, "{case}: a doubtful node waits longer");
        bench.run(ms(1));
        assert_eq!(state(&bench, target), State::Suspect, "{case}");
        assert_eq!(bench.node.stats().health_score, after, "{case}");
    }
}

/// Two nacks end the probe where silence counts; the third relay had no time to send its own.
#[test]
fn a_probe_that_ends_early_blames_no_relay_for_silence() {
    let mut bench = knowing(Config { detector: Detector::eager(), ..prober() }, &[VERSIONS; 4]);
    let (target, seq) = next_ping(&mut bench);
    bench.run(ms(500));
    let relays = asked(&mut bench);
    assert_eq!(relays.len(), 3);
    for (relay, _, _) in &relays[..2] {
        bench.tell_from(*relay, &encode(&Message::Nack(Nack { seq })));
    }
    bench.run(ms(100));
    assert_eq!(state(&bench, target), State::Suspect, "before its time");
    assert_eq!(bench.node.stats().health_score, 0);
}

#[test]
fn one_relay_cannot_speak_for_all() {
    let mut bench = knowing(prober(), &[VERSIONS; 4]);
    let (_, seq) = next_ping(&mut bench);
    bench.run(ms(500));
    let relay = asked(&mut bench)[0].0;
    for _ in 0..5 {
        bench.tell_from(relay, &encode(&Message::Nack(Nack { seq })));
    }
    bench.run(ms(500));
    assert_eq!(bench.node.stats().health_score, 2);
}

#[test]
fn nobody_but_those_who_were_asked_says_that_our_network_is_fine() {
    let mut bench = knowing(prober(), &[VERSIONS; 6]);
    let (target, seq) = next_ping(&mut bench);
    bench.run(ms(500));
    let relays: Vec<SocketAddr> = asked(&mut bench).iter().map(|(relay, ..)| *relay).collect();
    assert_eq!(relays.len(), 3);
    // The member that is probed, two that were not asked, and nobody's address.
    let others: Vec<SocketAddr> = (2..9).map(addr_of).filter(|addr| !relays.contains(addr)).collect();
    assert!(others.contains(&target) && others.len() == 4, "{others:?}");
    for other in others {
        bench.tell_from(other, &encode(&Message::Nack(Nack { seq })));
    }
    bench.tell_from(relays[0], &encode(&Message::Nack(Nack { seq })));
    bench.run(ms(500));
    assert_eq!(bench.node.stats().health_score, 2, "two of the three have not answered");
}

#[test]
fn an_answered_probe_improves_health() {
    let mut bench = knowing(prober(), &[VERSIONS]);
    bench.tell(&suspect("a", 1, "x"));
    assert_eq!(bench.node.stats().health_score, 1);
    let (_, seq) = next_ping(&mut bench);
    bench.tell(&ack(seq));
    assert_eq!(bench.node.stats().health_score, 0);
}

#[test]
fn a_packet_that_could_not_be_sent_asks_others_at_once() {
    let mut bench = knowing(prober(), &[VERSIONS; 3]);
    bench.tell(&suspect("a", 1, "x"));
    bench.take_gossip();
    let (target, seq) = next_ping(&mut bench);
    bench.node.handle_send_failed(bench.now, target, "host is unreachable");
    bench.collect();
    assert_eq!(asked(&mut bench).len(), 2);
    bench.tell(&ack(seq));
    assert_eq!(bench.node.stats().health_score, 1, "such a success says nothing about our own health");
    assert_eq!(state(&bench, target), State::Alive);
}

/// Lifeguard's buddy system.
#[test]
fn a_suspect_hears_the_accusation_with_the_ping_and_nothing_else() {
    // It would look for itself before its probe.
    let config = Config { detector: Detector::lifeguard(), ..prober() };
    let mut bench = knowing(config, &[VERSIONS]);
    bench.tell(&suspect("b", 1, "x"));
    bench.tell(&alive("z", 1, addr_of(99)));
    let accusation = suspect("b", 1, "a");
    let found = (0..3000).find_map(|_| {
        bench.run(ms(1));
        let messages = bench.take_messages();
        messages.iter().any(|(to, _)| *to == addr_of(2)).then_some(messages)
    });
    let to_b: Vec<_> = found.unwrap().into_iter().filter(|(to, _)| *to == addr_of(2)).collect();
    assert_eq!(to_b.len(), 2, "{to_b:?}");
    assert_eq!(to_b[0].1[0], 0, "first the ping");
    assert_eq!(to_b[1].1, accusation);
}

#[test]
fn an_accused_member_that_lives_refutes_and_nobody_fails() {
    let mut net = Net::joined(3);
    let incarnation = net.nodes[0].node.member("n1").unwrap().incarnation;
    net.nodes[0].tell(&suspect("n1", incarnation, "n2"));
    assert_eq!(net.nodes[0].node.member("n1").unwrap().state, State::Suspect);
    assert!(net.run_until(ms(5000), |net| net.nodes[0].node.member("n1").unwrap().state == State::Alive));
    assert!(net.nodes[0].events.iter().any(|event| short(event) == "refute:n1"));
    net.run(ms(60_000));
    assert!(net.all_see(3));
}

// ---- the ping over TCP ----

/// memberlist: `state_test.go`, `ProbeNode_FallbackTCP`.
#[test]
fn an_answer_over_tcp_saves_a_member_whose_packets_are_lost() {
    let mut bench = knowing(prober(), &[VERSIONS]);
    let (target, seq) = next_ping(&mut bench);
    bench.run(ms(500));
    let [(stream, to)] = bench.dials[..] else { panic!("one dial: {:?}", bench.dials) };
    assert_eq!(to, target);
    bench.node.handle_stream_connected(bench.now, stream);
    bench.collect();
    let written = bench.written[&stream].clone();
    let Ok(Message::Ping(ping)) = Message::decode(&written) else { panic!("{written:?}") };
    assert_eq!((ping.seq, ping.node), (seq, "b"));
    bench.node.handle_stream_data(bench.now, stream, &ack(seq));
    bench.run(ms(600));
    assert_eq!(state(&bench, target), State::Alive);
    assert_eq!(bench.node.counters().probes_answered_by_tcp_only, 1);
    assert!(bench.noticed("udp_failing"));
}

#[test]
fn no_answer_over_tcp_saves_nobody() {
    // What the peer does, and what the evidence says of it.
    type Peer = fn(&mut Bench, u32);
    let cases: [(&str, Peer, TcpProbe); 5] = [
        ("is silent", |_, _| {}, TcpProbe::NoAnswer),
        (
            "refuses",
            |bench, _| {
                let refused = StreamFailure::Refused("connection refused".into());
                bench.node.handle_stream_failed(bench.now, bench.dials[0].0, refused);
            },
            TcpProbe::Refused,
        ),
        (
            "answers another ping",
            |bench, seq| {
                bench.node.handle_stream_connected(bench.now, bench.dials[0].0);
                bench.node.handle_stream_data(bench.now, bench.dials[0].0, &ack(seq.wrapping_add(1)));
            },
            TcpProbe::NoAnswer,
        ),
        (
            "answers with something else",
            |bench, _| {
                bench.node.handle_stream_connected(bench.now, bench.dials[0].0);
                bench.node.handle_stream_data(bench.now, bench.dials[0].0, &ping("a", 1));
            },
            TcpProbe::NoAnswer,
        ),
        (
            "closes",
            |bench, _| {
                bench.node.handle_stream_connected(bench.now, bench.dials[0].0);
                bench.node.handle_stream_ended(bench.now, bench.dials[0].0);
            },
            TcpProbe::NoAnswer,
        ),
    ];
    for (case, peer, wanted) in cases {
        let mut bench = knowing(prober(), &[VERSIONS]);
        let (target, seq) = next_ping(&mut bench);
        bench.run(ms(500));
        peer(&mut bench, seq);
        bench.run(ms(500));
        assert_eq!(state(&bench, target), State::Suspect, "the peer {case}");
        let evidence = bench.node.evidence("b");
        let Cause::ProbeFailed(failure) = &evidence.last().unwrap().cause else { panic!("{evidence:?}") };
        assert_eq!(failure.tcp, wanted, "the peer {case}");
    }
}

#[test]
fn no_ping_goes_over_tcp_where_it_is_off_or_not_understood() {
    let off = Config { tcp_pings: false, ..prober() };
    for (config, versions) in [(off, VERSIONS), (prober(), [1, 2, 2, 2, 5, 5])] {
        let mut bench = knowing(config, &[versions]);
        let (target, _) = next_ping(&mut bench);
        bench.run(ms(1000));
        assert_eq!(bench.dials, []);
        assert_eq!(state(&bench, target), State::Suspect);
        let evidence = bench.node.evidence("b");
        let Cause::ProbeFailed(failure) = &evidence.last().unwrap().cause else { panic!("{evidence:?}") };
        assert_eq!(failure.tcp, TcpProbe::NotTried);
    }
}

#[test]
fn a_member_that_loses_only_packets_stays_alive_in_its_cluster() {
    let mut net = Net::joined(3);
    net.no_udp.insert(addr_of(2));
    net.run(ms(120_000));
    assert!(net.all_see(3));
    assert!(net.nodes[0].node.counters().probes_answered_by_tcp_only > 0);
}

// ---- the other side ----

#[test]
fn pings_are_answered_where_they_ask_for_it() {
    let own = ping("a", 7);
    let named = encode(&Message::Ping(thane_wire::gossip::Ping {
        seq: 7,
        node: "a",
        source_addr: &[127, 0, 0, 50],
        source_port: 9999,
        source_node: "x",
    }));
    let from = addr("127.0.0.77:5555");
    let cases: [(&str, Vec<u8>, Option<SocketAddr>); 4] = [
        ("for us", own, Some(from)),
        ("for nobody in particular", ping("", 7), Some(from)),
        ("for another", ping("b", 7), None),
        ("for us, to be answered elsewhere", named, Some(addr("127.0.0.50:9999"))),
    ];
    for (case, message, answered) in cases {
        let mut bench = Bench::new(quiet("a", addr_of(1)));
        bench.take_gossip();
        bench.clear();
        bench.tell_from(from, &message);
        let answers: Vec<_> = bench.take_messages();
        let wanted: Vec<_> = answered.into_iter().map(|to| (to, ack(7).into())).collect();
        assert_eq!(answers, wanted, "{case}");
    }
}

#[test]
fn three_pings_in_one_packet_get_three_answers() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    let pings = [ping("a", 1), ping("a", 2), ping("a", 3)];
    let packet = bench.codec.seal_packet(&pings, thane_wire::packet::Checksum::Omit, [0; 12]);
    bench.packet(addr_of(9), &packet);
    let acks = bench.take_messages().into_iter().filter(|(_, message)| message[0] == 2);
    let seqs: Vec<u32> = acks.map(|(_, message)| Ack::decode(&message[1..]).unwrap().seq).collect();
    assert_eq!(seqs, [1, 2, 3]);
}

pub(crate) fn indirect_ping(seq: u32, target: SocketAddr, nack: bool) -> Vec<u8> {
    let (ip, len) = ip_bytes(target.ip());
    encode(&Message::IndirectPing(IndirectPing {
        seq,
        target: &ip[..len],
        port: target.port(),
        node: "b",
        nack,
        source_addr: &[127, 0, 0, 3],
        source_port: 7946,
        source_node: "c",
    }))
}

#[test]
fn a_ping_is_relayed_and_its_answer_or_silence_reported() {
    // Whether the target answers, whether a nack is wanted, and what the requester hears.
    let cases =
        [(true, true, Some(2)), (true, false, Some(2)), (false, true, Some(11)), (false, false, None)];
    for (answers, nack, heard) in cases {
        let case = format!("target answers: {answers}, nack wanted: {nack}");
        let mut bench = knowing(prober(), &[VERSIONS; 2]);
        bench.tell_from(addr_of(3), &indirect_ping(4711, addr_of(2), nack));
        let (to, seq) = next_ping(&mut bench);
        assert_eq!(to, addr_of(2), "{case}");
        assert_ne!(seq, 4711, "a relay uses its own numbers");
        if answers {
            bench.tell_from(addr_of(2), &ack(seq));
        }
        bench.run(ms(500));
        let reports: Vec<_> = bench
            .take_messages()
            .into_iter()
            .filter(|(to, m)| *to == addr_of(3) && [2, 11].contains(&m[0]))
            .collect();
        assert_eq!(reports.first().map(|(_, message)| message[0]), heard, "{case}");
        assert!(reports.len() <= 1, "{case}");
        if let Some((_, report)) = reports.first() {
            let seq = if report[0] == 2 {
                Ack::decode(&report[1..]).unwrap().seq
            } else {
                Nack::decode(&report[1..]).unwrap().seq
            };
            assert_eq!(seq, 4711, "{case}");
        }
        bench.tell_from(addr_of(2), &ack(seq));
        bench.clear();
    }
}

#[test]
fn a_relay_that_lives_saves_a_member_that_we_cannot_reach() {
    let mut net = Net::joined_with((0..4).map(|at| Config { tcp_pings: false, ..lan(at) }));
    // Only between these two: their packets to each other are lost.
    net.lost_between = Some((addr_of(1), addr_of(2)));
    net.run(ms(60_000));
    assert!(net.all_see(4));
    assert_eq!(net.nodes.iter().map(|bench| bench.node.counters().probes_failed).sum::<u64>(), 0);
    assert!(
        net.nodes[2].node.counters().indirect_probes_relayed
            + net.nodes[3].node.counters().indirect_probes_relayed
            > 0
    );
}

// ---- suspicion ----

/// memberlist: `state_test.go`, `ProbeNode_Suspect_Dogpile`: mult 5, max mult 2, interval 100 ms, so that three confirmations are
/// hoped for.
#[test]
fn a_dogpile_of_accusers_shortens_the_wait() {
    let cases = [
        (2, 0, 500),
        (3, 0, 500),
        (4, 0, 500),
        (5, 0, 1000),
        (6, 0, 1000),
        (6, 1, 750),
        (6, 2, 604),
        (6, 3, 500),
        (6, 4, 500),
    ];
    for (members, confirmations, wanted_ms) in cases {
        let case = format!("{members} members, {confirmations} confirmations");
        let config = Config {
            suspicion_mult: 5,
            suspicion_max_timeout_mult: 2,
            probe_interval: ms(100),
            probe_timeout: ms(50),
            tcp_pings: false,
            ..quiet("a", addr_of(1))
        };
        let mut bench = knowing(config, &vec![VERSIONS; members - 1]);
        bench.tell(&suspect("b", 1, "a"));
        for accuser in 0..confirmations {
            bench.tell(&suspect("b", 1, &format!("accuser{accuser}")));
        }
        bench.run(ms(wanted_ms - 25));
        assert_eq!(bench.node.member("b").unwrap().state, State::Suspect, "{case}: too early");
        bench.run(ms(50));
        assert_eq!(bench.node.member("b").unwrap().state, State::Dead, "{case}: too late");
    }
}

/// memberlist: `suspicion_test.go`, `TestSuspicion_Timer_Immediate`, and a confirmation after the end.
#[test]
fn a_confirmation_that_comes_late_enough_ends_the_suspicion_at_once_and_only_once() {
    let config = Config { probe_interval: ms(30_000), probe_timeout: ms(500), ..quiet("a", addr_of(1)) };
    let mut bench = knowing(config, &[VERSIONS; 5]);
    bench.tell(&suspect("b", 1, "a"));
    // With mult 4 and 30 s, the shortest suspicion is 120 s and the longest 720 s; with one confirmation it is 341 s.
    bench.run(ms(400_000));
    assert_eq!(bench.node.member("b").unwrap().state, State::Suspect);
    bench.tell(&suspect("b", 1, "d"));
    bench.run(ms(0));
    assert_eq!(bench.node.member("b").unwrap().state, State::Dead);
    bench.tell(&suspect("b", 1, "f"));
    bench.run(ms(1_000_000));
    assert_eq!(bench.take_events().iter().filter(|event| *event == "failed:b").count(), 1);
}
