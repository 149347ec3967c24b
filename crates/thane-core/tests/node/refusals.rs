//! A member that refuses connections, and looking for oneself: what counts against a member, and what speaks for it.

use std::net::SocketAddr;

use bytes::Bytes;
use thane_core::{AnswerWay, Cause, Config, Detector, State, StreamFailure, TcpProbe};
use thane_wire::gossip::{Ack, Message, Nack};

use super::net::{Net, lan};
use super::probing::{ack, asked, knowing, next_ping, prober};
use super::support::{Bench, VERSIONS, addr_of, alive, dead, encode, ms, ping, quiet, suspect};

/// A node that does not probe by itself in these tests.
fn listener() -> Config {
    quiet("a", addr_of(1))
}

/// `b` is pinged and refuses the connection that follows; then time passes until that counts. Gives the number of the ping.
fn refused_once(bench: &mut Bench) -> u32 {
    let seq = loop {
        let (target, seq) = next_ping(bench);
        if target == addr_of(2) {
            break seq;
        }
        bench.tell(&ack(seq));
    };
    assert!(bench.dials.is_empty(), "an answer has its time");
    bench.run(ms(125));
    refuse(bench);
    seq
}

/// Refuses the connections to `b` that are under way.
fn refuse(bench: &mut Bench) {
    let dials = std::mem::take(&mut bench.dials);
    assert!(!dials.is_empty() && dials.iter().all(|(_, to)| *to == addr_of(2)), "{dials:?}");
    for (stream, _) in dials {
        let refused = StreamFailure::Refused("connection refused".into());
        bench.node.handle_stream_failed(bench.now, stream, refused);
    }
    bench.collect();
}

/// Refuses connections to `b` until it is declared failed, for at most `span`. How many it took, the first one included.
fn refusals_until_failed(bench: &mut Bench, span_ms: u64) -> Option<u32> {
    for _ in 0..span_ms {
        bench.run(ms(1));
        // All others are well.
        for (to, message) in bench.take_messages() {
            if let Ok(Message::Ping(ping)) = Message::decode(&message)
                && to != addr_of(2)
            {
                bench.tell_from(to, &ack(ping.seq));
            }
        }
        if bench.node.member("b").unwrap().state == State::Dead {
            let evidence = bench.node.evidence("b");
            let Cause::Refused { refusals, .. } = evidence.last().unwrap().cause else { return None };
            return Some(refusals);
        }
        if bench.dials.iter().any(|(_, to)| *to == addr_of(2)) {
            bench.dials.retain(|(_, to)| *to == addr_of(2));
            refuse(bench);
        }
    }
    None
}

fn state(bench: &Bench) -> State {
    bench.node.member("b").unwrap().state
}

fn accusations(bench: &mut Bench) -> Vec<(SocketAddr, Bytes)> {
    bench.take_messages().into_iter().filter(|(_, message)| message[0] == 3).collect()
}

#[test]
fn a_refusal_asks_others_then_accuses_and_tells_witnesses_directly() {
    let mut bench = knowing(prober(), &[VERSIONS; 9]);
    let seq = refused_once(&mut bench);
    let relays = asked(&mut bench);
    assert_eq!(relays.len(), 3);
    assert!(relays.iter().all(|(to, number, nack)| *to != addr_of(2) && *number != seq && !nack));
    bench.run(ms(120));
    assert_eq!(state(&bench), State::Alive, "the others have time to answer");
    bench.run(ms(10));
    assert_eq!(state(&bench), State::Suspect);
    let evidence = bench.node.evidence("b");
    let Cause::ProbeFailed(failure) = &evidence.last().unwrap().cause else { panic!("{evidence:?}") };
    assert_eq!((failure.tcp, failure.relays.len()), (TcpProbe::Refused, 3));
    assert!(failure.relays.iter().all(|relay| !relay.asked_to_nack), "their silence says nothing");
    let told = accusations(&mut bench);
    assert_eq!(told.len(), 6, "{told:?}");
    assert!(told.iter().all(|(to, message)| *to != addr_of(2) && *message == suspect("b", 1, "a")));
}

#[test]
fn it_takes_more_refusals_the_fewer_others_accuse() {
    // Members besides us and `b`, accusers among them, and the refusals after which `b` is failed.
    let cases = [(0, 0, 3), (1, 0, 6), (1, 1, 2), (8, 0, 6), (8, 1, 4), (8, 2, 2), (8, 4, 2)];
    for (others, accusers, wanted) in cases {
        let case = format!("{others} others, of whom {accusers} accuse");
        let mut bench = knowing(prober(), &vec![VERSIONS; others + 1]);
        refused_once(&mut bench);
        for accuser in 0..accusers {
            bench.tell(&suspect("b", 1, &char::from(b'c' + accuser).to_string()));
        }
        assert_eq!(refusals_until_failed(&mut bench, 3900), Some(wanted), "{case}");
        let evidence = bench.node.evidence("b");
        let Cause::Refused { since, accusers: named, .. } = &evidence.last().unwrap().cause else { panic!() };
        assert!(bench.now.since(*since) >= ms(275) * (wanted - 1), "{case}: they are apart");
        assert_eq!(named.len(), (usize::from(accusers) + 1).min(4), "{case}: {named:?}");
        assert_eq!(bench.node.counters().verdicts_by_refusal, 1, "{case}");
    }
}

#[test]
fn whoever_doubts_itself_needs_more() {
    let mut bench = knowing(prober(), &[VERSIONS; 9]);
    bench.tell(&suspect("a", 1, "x"));
    bench.tell(&suspect("a", 2, "x"));
    // So that answers on the way to `b` do not heal it.
    while bench.node.stats().health_score < 7 {
        let incarnation = bench.node.local().incarnation;
        bench.tell(&suspect("a", incarnation, "x"));
    }
    refused_once(&mut bench);
    assert!(bench.node.stats().health_score > 0);
    bench.tell(&suspect("b", 1, "c"));
    bench.tell(&suspect("b", 1, "d"));
    assert_eq!(refusals_until_failed(&mut bench, 3000), Some(4));
}

/// Any sign of life ends a look, whatever was refused before it.
#[test]
fn whoever_speaks_is_not_failed_for_refusing() {
    type Sign = fn(&mut Bench, u32);
    let signs: [(&str, Sign); 6] = [
        ("nothing", |_, _| {}),
        ("the probe's ping is answered", |bench, seq| bench.tell_from(addr_of(77), &ack(seq))),
        ("a packet comes from its address", |bench, _| bench.tell_from(addr_of(2), &ping("a", 5))),
        ("it announces itself", |bench, _| bench.tell(&alive("b", 2, addr_of(2)))),
        ("a relay reaches it", |bench, _| {
            let relayed = asked(bench).first().expect("relays are asked").1;
            bench.tell_from(addr_of(77), &ack(relayed));
        }),
        ("we were paused meanwhile", |bench, _| {
            bench.now += ms(5000);
            bench.node.handle_timeout(bench.now);
            bench.collect();
        }),
    ];
    for (case, sign) in signs {
        let mut bench = knowing(prober(), &[VERSIONS; 9]);
        let seq = refused_once(&mut bench);
        sign(&mut bench, seq);
        bench.tell(&suspect("b", 2, "c"));
        bench.tell(&suspect("b", 2, "d"));
        // Nobody dials again, so that nothing but the first refusal speaks against it.
        bench.dials.clear();
        bench.run(ms(126));
        let accused = accusations(&mut bench).iter().any(|(_, message)| *message == suspect("b", 2, "a"));
        assert_eq!(accused, case == "nothing", "{case}");
        assert_eq!(bench.node.counters().verdicts_by_refusal, 0, "{case}");
    }
}

#[test]
fn who_hears_an_accusation_from_the_accuser_looks_and_tells_the_accused() {
    let mut bench = knowing(listener(), &[VERSIONS; 30]);
    bench.tell_from(addr_of(3), &suspect("b", 1, "c"));
    bench.run(ms(26));
    let [(stream, to)] = bench.dials[..] else { panic!("one dial: {:?}", bench.dials) };
    assert_eq!(to, addr_of(2));
    let told: Vec<Bytes> = bench.take_messages().into_iter().map(|(_, message)| message).collect();
    assert_eq!(told[0], suspect("b", 1, "c"), "the accusation comes first: the answer can refute it");
    let Ok(Message::Ping(asked)) = Message::decode(&told[1]) else { panic!("{told:?}") };
    // It answers over TCP: we do not join the accusers.
    let seq = asked.seq;
    bench.node.handle_stream_connected(bench.now, stream);
    bench.node.handle_stream_data(bench.now, stream, &ack(seq));
    bench.run(ms(2000));
    let counters = bench.node.counters();
    assert_eq!((counters.looks, counters.looks_answered), (1, 1));
    assert!(bench.node.evidence("b").iter().all(|piece| !matches!(piece.cause, Cause::ProbeFailed(_))));
}

/// An accusation of `b` begins a look, which is answered over TCP before the packet comes back.
#[test]
fn an_answer_over_tcp_that_was_only_faster_says_nothing_about_udp() {
    let mut bench = knowing(prober(), &[VERSIONS; 9]);
    let ping_b = |bench: &mut Bench| loop {
        let (target, seq) = next_ping(bench);
        if target == addr_of(2) {
            return seq;
        }
        bench.tell(&ack(seq));
    };
    let seq = ping_b(&mut bench);
    bench.run(ms(1));
    bench.tell(&ack(seq));
    assert_eq!(bench.node.last_answer("b").unwrap().way, AnswerWay::Direct);
    bench.clear();
    bench.tell_from(addr_of(3), &suspect("b", 1, "c"));
    bench.run(ms(26));
    let [(stream, _)] = bench.dials[..] else { panic!("one dial: {:?}", bench.dials) };
    let look = pinged(&mut bench, addr_of(2)).unwrap();
    bench.node.handle_stream_connected(bench.now, stream);
    bench.node.handle_stream_data(bench.now, stream, &ack(look));
    let answer = bench.node.last_answer("b").unwrap();
    assert_eq!((answer.at, answer.way, answer.rtt), (bench.now, AnswerWay::Tcp, None));
    bench.tell(&alive("b", 2, addr_of(2)));
    bench.clear();
    // Its round trip is known as before: the next ping that gets lost is noticed as soon.
    ping_b(&mut bench);
    bench.dials.clear();
    bench.run(ms(26));
    assert_eq!(bench.dials.len(), 1);
}

/// The number of a ping to this address, if one was sent.
fn pinged(bench: &mut Bench, at: SocketAddr) -> Option<u32> {
    bench.take_messages().into_iter().find_map(|(to, message)| match Message::decode(&message) {
        Ok(Message::Ping(ping)) if to == at => Some(ping.seq),
        _ => None,
    })
}

/// The eager ask others with the first try of a look: what comes back then may have come through them.
#[test]
fn an_answer_that_others_may_have_brought_is_not_called_direct() {
    for (detector, way) in [(Detector::thane(), AnswerWay::Direct), (Detector::eager(), AnswerWay::Relayed)] {
        let mut bench = knowing(Config { detector, ..listener() }, &[VERSIONS; 30]);
        bench.tell_from(addr_of(3), &suspect("b", 1, "c"));
        answer_glances(&mut bench);
        bench.run(ms(26));
        let look = pinged(&mut bench, addr_of(2)).unwrap();
        bench.tell_from(addr_of(77), &ack(look));
        let answer = bench.node.last_answer("b").unwrap();
        assert_eq!((answer.way, answer.rtt.is_some()), (way, way == AnswerWay::Direct));
    }
}

/// Whatever comes back over TCP but the ack of that very ping says nothing of the member, and nothing of our streams.
#[test]
fn a_wrong_answer_to_a_ping_over_tcp_is_counted_as_that() {
    for (answer, failed) in [(0_u32, 0), (1, 1)] {
        let mut bench = knowing(listener(), &[VERSIONS; 30]);
        bench.tell_from(addr_of(3), &suspect("b", 1, "c"));
        bench.run(ms(26));
        let [(stream, _)] = bench.dials[..] else { panic!("one dial: {:?}", bench.dials) };
        let look = pinged(&mut bench, addr_of(2)).unwrap();
        bench.node.handle_stream_connected(bench.now, stream);
        bench.node.handle_stream_data(bench.now, stream, &ack(look.wrapping_add(answer)));
        bench.collect();
        let counters = bench.node.counters();
        assert_eq!((counters.tcp_pings_failed, counters.looks_answered), (failed, 1 - failed));
        assert_eq!((counters.streams_failed, counters.messages_dropped), (0, failed));
        assert_eq!(bench.noticed("message_dropped"), failed > 0);
    }
}

fn look_connections(bench: &Bench) -> usize {
    bench.node.occupancy().find(|it| it.what == "connections of looks").unwrap().held
}

#[test]
fn a_connection_that_is_not_open_ends_with_its_look() {
    let mut bench = knowing(listener(), &[VERSIONS; 30]);
    bench.tell_from(addr_of(3), &suspect("b", 1, "c"));
    bench.run(ms(26));
    assert_eq!((bench.dials.len(), look_connections(&bench)), (1, 1));
    bench.tell_from(addr_of(2), &ping("a", 5));
    assert_eq!(look_connections(&bench), 0);
    // An open one waits for its answer, which a member may give after a pause, as long as others do.
    bench.tell_from(addr_of(4), &suspect("c", 1, "d"));
    bench.dials.clear();
    bench.run(ms(26));
    let [(stream, _)] = bench.dials[..] else { panic!("one dial: {:?}", bench.dials) };
    bench.node.handle_stream_connected(bench.now, stream);
    bench.run(ms(5_000));
    assert_eq!(look_connections(&bench), 1);
    bench.run(ms(6_000));
    assert_eq!(look_connections(&bench), 0);
    // Nothing is wrong with our streams because a member was silent.
    let counters = bench.node.counters();
    assert_eq!((counters.streams_failed, counters.tcp_pings_failed), (0, 1));
}

/// The accused is paused: its machine accepts, and nobody answers.
#[test]
fn however_often_a_member_is_accused_connections_to_it_are_few() {
    let mut bench = knowing(listener(), &[VERSIONS; 30]);
    let (mut dials, mut most) = (0, 0);
    for incarnation in 1..350 {
        bench.tell_from(addr_of(3), &suspect("b", incarnation, "c"));
        bench.run(ms(26));
        for (stream, _) in std::mem::take(&mut bench.dials) {
            bench.node.handle_stream_connected(bench.now, stream);
            dials += 1;
        }
        bench.tell_from(addr_of(3), &alive("b", incarnation + 1, addr_of(2)));
        most = most.max(look_connections(&bench));
    }
    assert_eq!((dials, most), (128, 128));
    assert!(bench.node.occupancy().all(|it| it.held <= it.limit));
    let counters = bench.node.counters();
    assert_eq!((counters.looks, counters.looks_over_limit), (349, 349 - 128));
}

/// Who could not be tried over TCP, because too many connections are open, was not silent there.
#[test]
fn the_eager_do_not_take_for_silent_whom_they_did_not_try() {
    for (connections, accuses) in [(127, true), (128, false)] {
        let mut bench = knowing(Config { detector: Detector::eager(), ..listener() }, &[VERSIONS; 30]);
        for incarnation in 1..=connections {
            bench.tell_from(addr_of(3), &suspect("b", incarnation, "c"));
            answer_glances(&mut bench);
            bench.run(ms(26));
            for (stream, _) in std::mem::take(&mut bench.dials) {
                bench.node.handle_stream_connected(bench.now, stream);
            }
            bench.tell_from(addr_of(3), &alive("b", incarnation + 1, addr_of(2)));
            bench.clear();
        }
        assert_eq!(look_connections(&bench), connections as usize);
        bench.clear();
        bench.tell_from(addr_of(4), &suspect("e", 1, "d"));
        bench.run(ms(600));
        let accused = accusations(&mut bench).iter().any(|(_, message)| *message == suspect("e", 1, "a"));
        assert_eq!(accused, accuses, "{connections} connections");
    }
}

#[test]
fn silence_confirms_nothing() {
    let mut bench = knowing(listener(), &[VERSIONS; 30]);
    bench.tell_from(addr_of(3), &suspect("b", 1, "c"));
    let before = bench.node.suspicion_ends("b");
    bench.clear();
    bench.run(ms(700));
    assert_eq!(
        (bench.dials.len(), accusations(&mut bench).len()),
        (1, 1),
        "one look, nothing said but to `b`"
    );
    assert_eq!(bench.node.suspicion_ends("b"), before);
}

#[test]
fn of_many_that_hear_an_accusation_from_others_few_look() {
    let mut lookers = 0;
    for seed in 0..300 {
        let mut bench = Bench::seeded(listener(), seed);
        for n in 2..62 {
            bench.tell(&alive(&format!("m{n}"), 1, addr_of(n)));
        }
        bench.tell(&suspect("m9", 1, "m8"));
        bench.run(ms(26));
        lookers += bench.dials.len();
    }
    // Three of the 59 others on average: 15 of 300.
    assert!((5..32).contains(&lookers), "{lookers} of 300 looked");
}

#[test]
fn an_accused_member_refutes_with_its_answer() {
    let mut bench = Bench::new(quiet("b", addr_of(2)));
    bench.take_gossip();
    bench.clear();
    let packet = bench.codec.seal_packet(
        &[suspect("b", 1, "c"), ping("b", 9)],
        thane_wire::packet::Checksum::Omit,
        [0; 12],
    );
    bench.packet(addr_of(1), &packet);
    let answer: Vec<Bytes> = bench.take_messages().into_iter().map(|(_, message)| message).collect();
    assert_eq!(answer[0], encode(&Message::Ack(Ack { seq: 9, payload: None })));
    let Ok(Message::Alive(refutation)) = Message::decode(&answer[1]) else { panic!("{answer:?}") };
    assert_eq!((refutation.node, refutation.incarnation), ("b", 2));
}

#[test]
fn when_many_refuse_at_once_it_is_rather_the_network() {
    let names: Vec<String> = (2..11).map(|n| char::from(b'b' + n - 2).to_string()).collect();
    // How many of nine refuse, and whether they are failed before their suspicions could have ended.
    for (refusing, failed) in [(3, true), (6, false)] {
        let mut bench = knowing(prober(), &[VERSIONS; 9]);
        for name in &names[..refusing] {
            let from = |n: u8| char::from(b'b' + n).to_string();
            bench.tell_from(addr_of(9), &suspect(name, 1, &from(7)));
            bench.tell_from(addr_of(10), &suspect(name, 1, &from(8)));
        }
        for _ in 0..2500 {
            bench.run(ms(1));
            for (stream, to) in std::mem::take(&mut bench.dials) {
                if (2..2 + refusing as u8).any(|n| addr_of(n) == to) {
                    let refused = StreamFailure::Refused("connection refused".into());
                    bench.node.handle_stream_failed(bench.now, stream, refused);
                }
            }
        }
        let gone = names.iter().filter(|name| bench.node.member(name).unwrap().state == State::Dead).count();
        assert_eq!(gone, if failed { refusing } else { 0 }, "{refusing} refuse");
    }
}

#[test]
fn without_the_rule_or_without_tcp_nothing_is_looked_at() {
    let off = |detector| Config { detector, ..prober() };
    let cases = [
        ("Serf's rules", off(Detector::lifeguard()), VERSIONS),
        (
            "both rules off",
            off(Detector { refusals: false, look_for_yourself: false, ..Detector::thane() }),
            VERSIONS,
        ),
        ("no pings over TCP", Config { tcp_pings: false, ..prober() }, VERSIONS),
        ("a member that knows none", prober(), [1, 2, 2, 2, 5, 5]),
    ];
    for (case, config, versions) in cases {
        let mut bench = knowing(config, &[versions; 4]);
        bench.tell_from(addr_of(3), &suspect("b", 1, "c"));
        next_ping(&mut bench);
        bench.run(ms(450));
        assert_eq!(bench.dials, [], "{case}");
        assert_eq!(bench.node.counters().looks, 0, "{case}");
    }
}

#[test]
fn news_of_a_death_go_out_at_once_but_not_without_limit() {
    for spread_at_once in [true, false] {
        let detector = Detector { spread_at_once, ..Detector::thane() };
        let config = Config { gossip_interval: ms(200), detector, ..quiet("a", addr_of(1)) };
        let mut bench = knowing(config, &[VERSIONS; 30]);
        bench.run(ms(1));
        for n in 0..20 {
            let name = char::from(b'b' + n).to_string();
            bench.tell(&dead(&name, 1, "z"));
        }
        let rounds = bench.node.counters().extra_gossip_rounds;
        assert_eq!(rounds, u64::from(spread_at_once), "in one instant");
        bench.run(ms(2000));
        let rounds = bench.node.counters().extra_gossip_rounds;
        assert_eq!(rounds, 2 * u64::from(spread_at_once), "what came after the first went with the second");
    }
}

#[test]
fn a_restart_within_a_moment_fails_nobody() {
    for down in [50, 100, 200] {
        let mut net = Net::joined(5);
        for seed in 0..10 {
            net.down.insert(2);
            net.run(ms(down));
            net.down.remove(&2);
            net.nodes[2] = Bench::seeded(lan(2), 500 + seed);
            net.nodes[2].now = net.now;
            net.nodes[2].node.handle_timeout(net.now);
            net.join(2, 3);
            net.run(ms(7_000));
            for at in [0, 1, 3, 4] {
                let events = net.nodes[at].take_events();
                assert!(!events.contains(&"failed:n2".to_owned()), "down {down} ms, node {at}: {events:?}");
            }
        }
    }
}

/// Whoever is pinged out of turn is well.
fn answer_glances(bench: &mut Bench) {
    for (to, message) in bench.take_messages() {
        if let Ok(Message::Ping(ping)) = Message::decode(&message) {
            bench.tell_from(to, &ack(ping.seq));
        }
    }
}

/// Only where the setting asks for it, and only if the node has no reason to doubt itself, or a relay vouches for it.
#[test]
fn silence_found_by_four_is_a_verdict_for_the_eager() {
    // The rules, whether we are healthy, whether a relay tells us that it hears nothing either, how many others accuse, and whether `b`
    // is failed at once.
    let cases = [
        (Detector::eager(), true, false, 3, true),
        (Detector::eager(), true, true, 2, false),
        (Detector::eager(), false, false, 3, false),
        (Detector::eager(), false, true, 3, true),
        (Detector::thane(), true, true, 3, false),
    ];
    for (detector, healthy, vouched, accusers, failed) in cases {
        let eager = detector.silent_witnesses;
        let case = format!("eager {eager}, healthy {healthy}, vouched {vouched}, {accusers} others");
        let mut bench = knowing(Config { detector, ..listener() }, &[VERSIONS; 9]);
        if !healthy {
            bench.tell(&suspect("a", 1, "x"));
        }
        bench.clear();
        for n in 0..accusers {
            bench.tell_from(addr_of(3 + n), &suspect("b", 1, &char::from(b'c' + n).to_string()));
        }
        answer_glances(&mut bench);
        bench.run(ms(450));
        let relays = asked(&mut bench);
        assert_eq!(relays.len(), if eager { 3 } else { 0 }, "{case}");
        assert!(relays.iter().all(|(_, _, nack)| *nack), "{case}");
        if let Some((relay, seq, _)) = relays.first().filter(|_| vouched) {
            bench.tell_from(*relay, &encode(&Message::Nack(Nack { seq: *seq })));
        }
        bench.run(ms(50));
        assert_eq!(state(&bench), State::Suspect, "{case}: its answer has half a second");
        bench.run(ms(30));
        assert_eq!(state(&bench) == State::Dead, failed, "{case}");
        let confirmed = bench.node.counters().verdicts_by_silence;
        assert_eq!(confirmed, u64::from(failed), "{case}");
    }
}

/// A relay that is silent while another is not may be gone as well; if all are silent, it is rather us.
#[test]
fn the_eager_look_at_relays_that_are_silent_beside_others() {
    for nacks in 0..=3 {
        let mut bench = knowing(Config { detector: Detector::eager(), ..listener() }, &[VERSIONS; 9]);
        bench.clear();
        bench.tell_from(addr_of(3), &suspect("b", 1, "c"));
        answer_glances(&mut bench);
        bench.run(ms(450));
        let relays = asked(&mut bench);
        for (relay, seq, _) in &relays[..nacks] {
            bench.tell_from(*relay, &encode(&Message::Nack(Nack { seq: *seq })));
        }
        bench.clear();
        bench.run(ms(120));
        let mut pinged = Vec::new();
        for (to, message) in bench.take_messages() {
            if matches!(Message::decode(&message), Ok(Message::Ping(_))) {
                pinged.push(to);
            }
        }
        let wanted = if nacks == 0 { 0 } else { 3 - nacks };
        assert_eq!(pinged.len(), wanted, "{nacks} nacks: {pinged:?}");
        assert!(relays[nacks..].iter().all(|(relay, ..)| nacks == 0 || pinged.contains(relay)), "{pinged:?}");
    }
}

/// Nor is there more to be looked at if those that said nothing cannot say that they hear nothing: members of old versions.
#[test]
fn relays_that_cannot_nack_are_not_silent() {
    let old = [1, 3, 2, 2, 5, 4];
    for (versions, looked_at) in [(VERSIONS, 2), (old, 0)] {
        let mut bench = knowing(
            Config { detector: Detector::eager(), ..listener() },
            &[VERSIONS, VERSIONS, versions, versions],
        );
        bench.tell_from(addr_of(3), &suspect("b", 1, "c"));
        answer_glances(&mut bench);
        bench.run(ms(450));
        let relays = asked(&mut bench);
        assert_eq!(relays.len(), 3);
        let (_, seq, _) = relays[0];
        bench.tell_from(addr_of(3), &encode(&Message::Nack(Nack { seq })));
        bench.run(ms(120));
        let (d, e) = (addr_of(4), addr_of(5));
        let sent = bench.take_messages().into_iter();
        let pings = sent.filter(|(to, message)| (*to == d || *to == e) && message[0] == 0);
        assert_eq!(pings.count(), looked_at, "{versions:?}");
    }
}

/// Who has heard of an accusation by hearsay may look much later; a look that is about to begin does not wait for that.
#[test]
fn hearsay_does_not_put_off_a_look_that_is_due() {
    let mut bench = knowing(Config { detector: Detector::eager(), ..listener() }, &[VERSIONS; 60]);
    bench.tell_from(addr_of(3), &suspect("b", 1, "c"));
    answer_glances(&mut bench);
    bench.run(ms(450));
    let relays = asked(&mut bench);
    let [(vouching, seq, _), (silent, ..), _] = relays[..] else { panic!("three relays: {relays:?}") };
    bench.tell_from(vouching, &encode(&Message::Nack(Nack { seq })));
    while accusations(&mut bench).is_empty() {
        bench.run(ms(1));
    }
    let name = bench.node.members().find(|member| member.addr == silent).unwrap().name;
    bench.tell_from(addr_of(77), &suspect(&name, 1, "b"));
    bench.run(ms(30));
    assert!(pinged(&mut bench, silent).is_some());
}

/// Two relays that hear us and not the member end a probe early, however long our own health would have it last.
#[test]
fn for_the_eager_two_nacks_end_a_probe() {
    for (detector, wanted) in [(Detector::eager(), State::Suspect), (Detector::thane(), State::Alive)] {
        let mut bench = knowing(Config { detector, ..prober() }, &[VERSIONS; 9]);
        bench.tell(&suspect("a", 1, "x"));
        loop {
            let (target, seq) = next_ping(&mut bench);
            if target == addr_of(2) {
                break;
            }
            bench.tell_from(target, &ack(seq));
            let incarnation = bench.node.local().incarnation;
            bench.tell(&suspect("a", incarnation, "x"));
        }
        assert!(bench.node.stats().health_score > 0);
        bench.run(ms(510));
        for (relay, seq, _) in asked(&mut bench).iter().take(2) {
            assert_eq!(state(&bench), State::Alive);
            bench.tell_from(*relay, &encode(&Message::Nack(Nack { seq: *seq })));
        }
        bench.run(ms(30));
        assert_eq!(state(&bench), wanted, "{detector:?}");
    }
}

/// News of a death is sent only so many times. Who has missed it and accuses the member is told, if we hear it from itself.
#[test]
fn who_accuses_the_dead_is_told_of_the_death() {
    let cases = [
        (Detector::thane(), 4, 1, true),
        (Detector::thane(), 5, 1, false),
        (Detector::thane(), 4, 0, false),
        // It has heard of a later life of the member, which we have not.
        (Detector::thane(), 4, 2, false),
        (Detector::lifeguard(), 4, 1, false),
    ];
    for (detector, from, incarnation, told) in cases {
        let case = format!("{detector:?}, from {from}, incarnation {incarnation}");
        let mut bench = knowing(Config { detector, ..listener() }, &[VERSIONS; 9]);
        bench.tell_from(addr_of(3), &dead("b", 1, "c"));
        bench.clear();
        bench.tell_from(addr_of(from), &suspect("b", incarnation, "d"));
        let sent = bench.take_messages();
        assert_eq!(sent == [(addr_of(4), dead("b", 1, "a").into())], told, "{case}: {sent:?}");
        assert_eq!(sent.is_empty(), !told, "{case}: {sent:?}");
    }
}

/// Machines often fall silent together: each accusation is a reason to ping somebody else as well, but not too often.
#[test]
fn the_eager_glance_at_one_other_member_when_somebody_is_accused() {
    for (detector, answered) in
        [(Detector::eager(), true), (Detector::eager(), false), (Detector::thane(), true)]
    {
        let eager = detector.silent_witnesses;
        let mut bench = knowing(Config { detector, ..listener() }, &[VERSIONS; 9]);
        bench.clear();
        let pings = |bench: &mut Bench| -> Vec<(SocketAddr, u32)> {
            let sent = bench.take_messages().into_iter();
            sent.filter_map(|(to, message)| match Message::decode(&message) {
                Ok(Message::Ping(ping)) => Some((to, ping.seq)),
                _ => None,
            })
            .collect()
        };
        bench.tell_from(addr_of(77), &suspect("b", 1, "c"));
        let glance = pings(&mut bench);
        assert_eq!(glance.len(), usize::from(eager));
        bench.tell_from(addr_of(77), &suspect("d", 1, "c"));
        assert!(pings(&mut bench).is_empty(), "not so soon again");
        let Some((target, seq)) = glance.first().copied() else { continue };
        assert!(target != addr_of(1) && target != addr_of(2), "{target}");
        if answered {
            bench.tell_from(target, &ack(seq));
        }
        bench.run(ms(130));
        let again = pings(&mut bench).iter().filter(|(to, _)| *to == target).count();
        // The second accusation may be of the very member that was glanced at, which is then looked at for that.
        let accused = target == addr_of(4);
        assert!(accused || again == usize::from(!answered), "answered {answered}: {again} more to {target}");
    }
}
