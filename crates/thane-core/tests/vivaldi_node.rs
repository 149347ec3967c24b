//! Coordinates in a node: what its acks carry, what it learns from those of others, and what it forgets.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use thane_core::{Config, Coordinate, Level, Node, Notice, Output, Prune, Seed, Time, vivaldi};
use thane_wire::gossip::{Ack, Alive, Dead, Message, Ping};
use thane_wire::packet::{Checksum, Codec, CodecConfig};

const PEER: [u8; 4] = [127, 0, 0, 2];

fn addr(ip: [u8; 4]) -> SocketAddr {
    SocketAddr::from((ip, 7946))
}

/// One node that probes once a second and otherwise keeps quiet, and the network around it.
struct Bench {
    node: Node,
    now: Time,
    codec: Codec,
    /// To whom, and each message of the packets.
    sent: Vec<(SocketAddr, Vec<u8>)>,
    notices: Vec<Notice>,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            gossip_interval: Duration::ZERO,
            push_pull_interval: Duration::ZERO,
            compression: false,
            tcp_pings: false,
            ..Config::lan("self", addr([127, 0, 0, 1]))
        };
        change(&mut config);
        let codec = Codec::new(CodecConfig::default()).unwrap();
        let node = Node::new(config, Seed::from(1), Time::ZERO).unwrap();
        let mut bench = Self { node, now: Time::ZERO, codec, sent: Vec::new(), notices: Vec::new() };
        bench.collect();
        bench
    }

    fn with_peer(change: impl FnOnce(&mut Config)) -> Self {
        let mut bench = Self::new(change);
        bench.announce(1, PEER);
        bench
    }

    fn collect(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Send { to, packet } => {
                    let opened = self.codec.open_packet(packet.into()).unwrap();
                    self.sent.extend(opened.messages.iter().map(|message| (to, message.to_vec())));
                }
                Output::Notice(notice) => self.notices.push(notice),
                _ => {}
            }
        }
    }

    fn tell(&mut self, from: SocketAddr, message: &Message<'_>) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let packet = self.codec.seal_packet(&[bytes], Checksum::Omit, [0; 12]);
        self.node.handle_packet(self.now, from, packet.into());
        self.collect();
    }

    fn announce(&mut self, incarnation: u32, ip: [u8; 4]) {
        let alive = Alive {
            incarnation,
            node: "peer",
            addr: &ip,
            port: 7946,
            meta: None,
            versions: &[1, 5, 2, 2, 5, 5],
        };
        self.tell(addr(ip), &Message::Alive(alive));
    }

    fn wake(&mut self) {
        self.now = self.now.max(self.node.poll_timeout());
        self.node.handle_timeout(self.now);
        self.collect();
    }

    /// Waits for the next ping to the peer and gives its sequence number.
    fn next_ping(&mut self) -> u32 {
        for _ in 0..1000 {
            let pings = std::mem::take(&mut self.sent).into_iter().find_map(|(to, message)| {
                match Message::decode(&message) {
                    Ok(Message::Ping(ping)) if to.ip() != addr([127, 0, 0, 1]).ip() => Some(ping.seq),
                    _ => None,
                }
            });
            if let Some(seq) = pings {
                return seq;
            }
            self.wake();
        }
        panic!("the peer is never probed");
    }

    /// Answers the next ping after this long.
    fn answer(&mut self, after: Duration, payload: Option<&[u8]>) {
        let seq = self.next_ping();
        let at = self.now + after;
        while self.node.poll_timeout() <= at {
            self.wake();
        }
        self.now = at;
        self.tell(addr(PEER), &Message::Ack(Ack { seq, payload }));
    }

    fn counter(&self, name: &str) -> u64 {
        self.node.counters().iter().find(|(counter, _)| *counter == name).unwrap().1
    }
}

fn payload(coordinate: &Coordinate) -> Vec<u8> {
    let mut payload = Vec::new();
    coordinate.encode_ack(&mut payload);
    payload
}

fn somewhere() -> Coordinate {
    Coordinate {
        vec: vec![0.01, 0.02, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        error: 0.5,
        adjustment: 0.0,
        height: 0.001,
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn an_ack_carries_our_coordinate_and_a_direct_one_moves_us() {
    let mut bench = Bench::with_peer(|_| {});
    let ping = Ping { seq: 7, node: "self", source_addr: &[], source_port: 0, source_node: "" };
    let told = |bench: &mut Bench| {
        bench.sent.clear();
        bench.tell(addr(PEER), &Message::Ping(ping));
        // Gossip may follow in the same packet.
        let Ok(Message::Ack(ack)) = Message::decode(&bench.sent[0].1) else { panic!("no ack") };
        assert_eq!(ack.seq, 7);
        assert_eq!(ack.payload.unwrap().len(), 130);
        Coordinate::decode_ack(ack.payload.unwrap()).unwrap()
    };
    let fresh = Coordinate { vec: vec![0.0; 8], error: 1.5, adjustment: 0.0, height: 10.0e-6 };
    assert_eq!(told(&mut bench), Some(fresh.clone()));
    assert_eq!(bench.node.cached_coordinate("self"), Some(fresh.clone()), "known from the start");
    assert_eq!(bench.node.cached_coordinate("peer"), None);
    assert_eq!(bench.node.cached_coordinate("nobody"), None);

    bench.answer(ms(80), Some(&payload(&somewhere())));
    let moved = bench.node.coordinate().unwrap();
    assert!(moved.vec[0] < 0.0 && moved.error < 1.5, "{moved:?}");
    assert_eq!(told(&mut bench), Some(moved.clone()));
    assert_eq!(bench.node.cached_coordinate("self"), Some(moved));
    assert_eq!(bench.node.cached_coordinate("peer"), Some(somewhere()), "as it was received");
    assert_eq!(bench.node.stats().coordinate_resets, Some(0));

    for _ in 0..200 {
        bench.answer(ms(80), Some(&payload(&somewhere())));
    }
    let (own, peer) = (bench.node.coordinate().unwrap(), bench.node.cached_coordinate("peer").unwrap());
    let estimate = vivaldi::distance(&own, &peer).unwrap();
    assert!((ms(79)..ms(81)).contains(&estimate), "after many round trips of 80 ms: {estimate:?}");
}

/// What becomes of each payload and round trip that Serf was recorded with.
#[test]
fn payloads_and_round_trips_are_taken_as_recorded() {
    let recorded = include_str!("vectors/vivaldi/payloads.json");
    let recorded: Value = serde_json::from_str(recorded).unwrap();
    let (mut counts, mut listed) = ([0; 4], 0);
    let cases = recorded["handle"].as_array().unwrap();
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let hex = case["payload_hex"].as_str().unwrap();
        let payload: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        // A negative round trip cannot happen on our clock.
        let Some(rtt) = case["rtt_ns"].as_u64().map(Duration::from_nanos) else {
            listed += 1;
            continue;
        };
        let mut bench = Bench::with_peer(|config| {
            config.probe_interval = Duration::from_secs(60);
            config.probe_timeout = Duration::from_secs(30);
        });
        let before = bench.node.coordinate();
        bench.answer(rtt, Some(&payload));
        let [rejected, unreadable, zero] =
            ["coordinate_rejected", "coordinate_unreadable", "coordinate_zero_rtt"].map(|c| bench.counter(c));
        // Differs from Serf: out of bounds, see `vivaldi`.
        let refused_by_us = ["negative_height", "negative_error"].contains(&name);
        listed += usize::from(refused_by_us);
        let accepted = case["accepted"].as_bool().unwrap() && !refused_by_us;
        assert_eq!(bench.node.cached_coordinate("peer").is_some(), accepted, "{name}");
        assert_eq!(bench.node.coordinate() != before, accepted, "{name}");
        assert_eq!(zero, u64::from(accepted && rtt.is_zero()), "{name}");
        let told: Vec<Level> = bench.notices.iter().map(|notice| notice.level).collect();
        let wanted = match case["log_level"].as_str().unwrap() {
            "[ERR]" => (0, 1, vec![Level::Warn]),
            "[TRACE]" => (1, 0, vec![Level::Debug]),
            _ if refused_by_us => (1, 0, vec![Level::Debug]),
            _ => (0, 0, vec![]),
        };
        assert_eq!((rejected, unreadable, told), wanted, "{name}");
        counts[usize::from(accepted) + 2 * usize::from(unreadable == 1)] += 1;
        assert_eq!(bench.counter("probes_answered"), 1, "{name}: the probe is answered all the same");
    }
    assert_eq!(counts, [9, 5, 4, 0], "refused or empty, accepted, unreadable");
    let (cases, same) = (cases.len(), cases.len() - listed);
    eprintln!("compat: coordinates from peers | cases={cases} same={same} listed={listed}");
}

#[test]
fn only_a_direct_answer_in_time_is_measured() {
    let mut bench = Bench::with_peer(|_| {});
    // The others are asked after 500 ms; from then on nobody knows which way an answer came.
    bench.answer(ms(501), Some(&payload(&somewhere())));
    assert_eq!((bench.counter("probes_answered"), bench.node.cached_coordinate("peer")), (1, None));
    bench.answer(ms(10), None);
    assert_eq!((bench.counter("probes_answered"), bench.node.cached_coordinate("peer")), (2, None));
    bench.answer(ms(499), Some(&payload(&somewhere())));
    assert_eq!(bench.node.cached_coordinate("peer"), Some(somewhere()));
}

#[test]
fn without_coordinates_nothing_is_told_and_nothing_learnt() {
    let mut bench = Bench::with_peer(|config| config.coordinates = false);
    assert_eq!(bench.node.coordinate(), None);
    assert_eq!(bench.node.stats().coordinate_resets, None);
    bench.answer(ms(10), Some(&payload(&somewhere())));
    assert_eq!(bench.counter("probes_answered"), 1);
    assert_eq!(bench.node.cached_coordinate("peer"), None);
    assert_eq!(bench.node.cached_coordinate("self"), None);
    bench.sent.clear();
    let ping = Ping { seq: 7, node: "self", source_addr: &[], source_port: 0, source_node: "" };
    bench.tell(addr(PEER), &Message::Ping(ping));
    let Ok(Message::Ack(ack)) = Message::decode(&bench.sent[0].1) else { panic!("no ack") };
    assert_eq!(ack.payload, None);
}

#[test]
fn a_coordinate_goes_with_the_member_and_with_its_address() {
    let mut bench = Bench::with_peer(|_| {});
    bench.answer(ms(10), Some(&payload(&somewhere())));
    let goodbye = Dead { incarnation: 1, node: "peer", from: "peer" };
    bench.tell(addr(PEER), &Message::Dead(goodbye));
    assert_eq!(bench.node.cached_coordinate("peer"), Some(somewhere()), "kept while the member is known");
    bench.announce(2, PEER);
    assert_eq!(bench.node.cached_coordinate("peer"), Some(somewhere()), "it is where it was");
    bench.tell(addr(PEER), &Message::Dead(Dead { incarnation: 2, node: "peer", from: "peer" }));
    bench.announce(3, [127, 0, 0, 3]);
    assert_eq!(bench.node.cached_coordinate("peer"), None, "nothing is known of its new place");

    bench.answer(ms(10), Some(&payload(&somewhere())));
    assert_eq!(bench.node.cached_coordinate("peer"), Some(somewhere()));
    bench.tell(addr(PEER), &Message::Dead(Dead { incarnation: 3, node: "peer", from: "self" }));
    bench.node.force_leave(bench.now, "peer", Prune::Erase).unwrap();
    for _ in 0..1000 {
        if bench.node.member("peer").is_none() {
            break;
        }
        bench.wake();
    }
    assert_eq!(bench.node.member("peer"), None);
    assert_eq!(bench.node.cached_coordinate("peer"), None);
}
