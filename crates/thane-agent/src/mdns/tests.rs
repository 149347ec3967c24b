//! Against packets of Serf, malformed packets, and agents on loopback.

use std::collections::BTreeSet;
use std::env;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use simple_dns::Packet;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::collect::Collector;
use super::records::{Identity, PACKET_BYTES_MAX};
use super::*;

const RECORDED: [&str; 2] = [
    include_str!("../../tests/vectors/mdns/discover-0.9.4.json"),
    include_str!("../../tests/vectors/mdns/discover-0.10.1.json"),
];
const WITH_SPACE: [&str; 2] = [
    include_str!("../../tests/vectors/mdns/name-with-space-0.9.4.json"),
    include_str!("../../tests/vectors/mdns/name-with-space-0.10.1.json"),
];
const DEADLINE: Duration = Duration::from_secs(30);

struct Recorded {
    to: SocketAddr,
    from: SocketAddr,
    bytes: Vec<u8>,
}

fn recorded(json: &str) -> Vec<Recorded> {
    let document: Value = serde_json::from_str(json).unwrap();
    let packets = document["packets"].as_array().unwrap().iter().filter(|packet| packet["hex"].is_string());
    packets
        .map(|packet| Recorded {
            to: packet["to"].as_str().unwrap().parse().unwrap(),
            from: packet["from"].as_str().unwrap().parse().unwrap(),
            bytes: unhex(packet["hex"].as_str().unwrap()),
        })
        .collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn identity(cluster: &str, node: &str, port: u16) -> Identity {
    let names = Names::new(cluster, node, "serfhost").unwrap();
    Identity::new(names, cluster, SocketAddr::from(([127, 0, 0, 1], port)))
}

fn is_here(address: SocketAddr) -> bool {
    address.ip().is_loopback()
}

/// A packet without its compression, to compare what it says.
fn said(bytes: &[u8]) -> Vec<u8> {
    Packet::parse(bytes).unwrap().build_bytes_vec().unwrap()
}

/// Answers to one question, in any order.
type Answers = BTreeSet<Vec<u8>>;

/// The questions of a recording, with what Serf's agents answered and what Thane's would. At the first question of a recording
/// only alpha was up.
fn questions_and_answers(json: &str, cluster: &str) -> Vec<(Answers, Answers)> {
    let packets = recorded(json);
    let both = [identity(cluster, "alpha", 7946), identity(cluster, "beta", 7947)];
    let questions = packets.iter().enumerate().filter(|(_, packet)| packet.to.port() == PORT);
    questions
        .map(|(at, question)| {
            let answers = packets[at + 1..].iter().take_while(|packet| packet.to.port() != PORT);
            let serfs = answers.map(|packet| said(&packet.bytes)).collect();
            let up = if at == 0 { &both[..1] } else { &both[..] };
            let ours = up.iter().flat_map(|agent| agent.answers(&question.bytes));
            (serfs, ours.map(|bytes| said(&bytes)).collect())
        })
        .collect()
}

#[test]
fn each_recorded_question_is_answered_as_serf_answers_it() {
    let mut same = 0;
    for json in RECORDED {
        for (at, (serfs, ours)) in questions_and_answers(json, "cl").into_iter().enumerate() {
            // "ANY of the instance" and the like name alpha only; Serf answers what it answers.
            assert_eq!(ours, serfs, "to question {at}");
            same += 1;
        }
    }
    // Papercut 34: Serf answers none of the questions that name a cluster with a space.
    let mut listed = 0;
    for json in WITH_SPACE {
        for (at, (serfs, ours)) in questions_and_answers(json, "my cl").into_iter().enumerate() {
            if serfs == ours {
                same += 1;
            } else {
                assert!(serfs.is_subset(&ours), "to question {at} with a space");
                listed += 1;
            }
        }
    }
    assert!(same >= 24, "only {same} questions were compared");
    eprintln!("compat: agent multicast DNS | cases={} same={same} listed={listed}", same + listed);
}

#[test]
fn answers_are_hardly_larger_than_serfs() {
    let packets = recorded(RECORDED[1]);
    let ours = identity("cl", "alpha", 7946).answers(&packets[0].bytes);
    // The host's name comes twice: ours does not point into the data of another record.
    assert_eq!(ours[0].len(), packets[1].bytes.len() + "serfhost".len());
}

/// Papercut 34: Serf never answers the questions for such a name.
#[test]
fn names_with_a_space_are_answered() {
    let agent = identity("my cl", "alpha", 7946);
    let packets = recorded(WITH_SPACE[1]);
    let mut found = Collector::new(names::service("my cl").unwrap(), is_here);
    let answers = agent.answers(&packets[0].bytes);
    assert_eq!(answers.len(), 1);
    assert_eq!(found.take(SocketAddr::from(([10, 0, 0, 1], PORT)), &answers[0]), []);
    assert_eq!(
        found.take(SocketAddr::from(([127, 0, 0, 1], PORT)), &answers[0]),
        ["127.0.0.1:7946".parse().unwrap()]
    );
    let answered = packets.iter().filter(|packet| !agent.answers(&packet.bytes).is_empty()).count();
    // Two of the agents, PTR, ANY, ANY, SRV, TXT, A, A of the host, enumeration, and one for unicast.
    assert_eq!(answered, 11);
}

#[test]
fn recorded_answers_give_the_addresses_once() {
    for json in RECORDED {
        let mut found = Collector::new(names::service("cl").unwrap(), is_here);
        let all: Vec<_> =
            recorded(json).iter().flat_map(|packet| found.take(packet.from, &packet.bytes)).collect();
        assert_eq!(all, ["127.0.0.1:7946".parse().unwrap(), "127.0.0.1:7947".parse().unwrap()]);
    }
}

#[test]
fn an_answer_for_another_cluster_gives_nothing() {
    let question =
        records::question(1, &names::service("other").unwrap(), &[simple_dns::QTYPE::ANY]).unwrap();
    let other = identity("other", "gamma", 7946).answers(&question);
    let mut found = Collector::new(names::service("cl").unwrap(), is_here);
    assert_eq!(other.len(), 1);
    assert_eq!(found.take(SocketAddr::from(([127, 0, 0, 1], PORT)), &other[0]), []);
}

/// As Avahi may tell it: pointer, place and address in packets of their own.
#[test]
fn what_is_missing_is_asked_for() {
    use simple_dns::{QTYPE, TYPE};
    let here = SocketAddr::from(([127, 0, 0, 1], PORT));
    let agent = identity("cl", "alpha", 7946);
    let names = Names::new("cl", "alpha", "serfhost").unwrap();
    let whole = {
        let question = records::question(1, &names.service, &[QTYPE::TYPE(TYPE::PTR)]).unwrap();
        agent.answers(&question).remove(0)
    };
    let mut pointer = Packet::parse(&whole).unwrap();
    pointer.answers.truncate(1);
    let mut place = Packet::parse(&whole).unwrap();
    place.answers = vec![place.answers.remove(1)];
    let mut found = Collector::new(names.service.clone(), is_here);
    assert_eq!(found.take(here, &pointer.build_bytes_vec().unwrap()), []);
    let next = found.next_questions();
    assert_eq!(next.len(), 1);
    assert!(names::same(&next[0].0, &names.instance));
    assert_eq!(found.next_questions().len(), 0, "nothing is asked twice");
    assert_eq!(found.take(here, &place.build_bytes_vec().unwrap()), []);
    let next = found.next_questions();
    assert!(names::same(&next[0].0, &names.host));
    let question = records::question(1, &next[0].0, next[0].1).unwrap();
    let answers = agent.answers(&question);
    assert_eq!(answers.len(), 1);
    assert_eq!(found.take(here, &answers[0]), ["127.0.0.1:7946".parse().unwrap()]);
}

#[test]
fn malformed_packets_are_ignored() {
    let agent = identity("cl", "alpha", 7946);
    let here = SocketAddr::from(([127, 0, 0, 1], PORT));
    for packet in recorded(RECORDED[1]) {
        for length in 0..packet.bytes.len() {
            let mut found = Collector::new(names::service("cl").unwrap(), is_here);
            assert!(agent.answers(&packet.bytes[..length]).is_empty(), "cut to {length} bytes");
            assert!(found.take(here, &packet.bytes[..length]).is_empty(), "cut to {length} bytes");
        }
        for at in 0..packet.bytes.len() {
            for value in [0, 1, 0x3f, 0x40, 0x80, 0xc0, 0xff] {
                let mut changed = packet.bytes.clone();
                changed[at] = value;
                let mut found = Collector::new(names::service("cl").unwrap(), is_here);
                let sizes: usize = agent.answers(&changed).iter().map(Vec::len).sum();
                assert!(sizes < 600 && found.take(here, &changed).len() <= 1);
                assert!(found.next_questions().len() <= 2);
            }
        }
    }
    // Counts that promise 65,535 of everything.
    let mut lies = recorded(RECORDED[1])[1].bytes.clone();
    lies[4..12].fill(0xff);
    assert!(records::parse(&lies).is_none());
}

#[test]
fn many_questions_in_a_packet_get_one_answer() {
    let names = Names::new("cl", "alpha", "serfhost").unwrap();
    let mut packet = Packet::new_query(7);
    let one = records::question(7, &names.service, &[simple_dns::QTYPE::ANY]).unwrap();
    let question = Packet::parse(&one).unwrap().questions.remove(0);
    packet.questions = vec![question; 300];
    let bytes = packet.build_bytes_vec_compressed().unwrap();
    assert!(bytes.len() < PACKET_BYTES_MAX);
    let answers = identity("cl", "alpha", 7946).answers(&bytes);
    assert_eq!(answers.len(), 1);
    assert!(answers[0].len() < 200);
}

#[test]
fn a_round_keeps_a_bounded_number_of_addresses_and_loose_ends() {
    let mut found = Collector::new(names::service("cl").unwrap(), is_here);
    let question = recorded(RECORDED[1]).remove(0).bytes;
    let mut addresses = 0;
    for number in 0..2_000_u16 {
        let names = Names::new("cl", &format!("node-{number}"), "serfhost").unwrap();
        let address = SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 7946));
        let whole = Identity::new(names, "cl", address).answers(&question).remove(0);
        addresses += found.take(address, &whole).len();
        let mut pointer = Packet::parse(&whole).unwrap();
        pointer.answers.truncate(1);
        assert_eq!(found.take(address, &pointer.build_bytes_vec().unwrap()), []);
    }
    assert_eq!(addresses, 512);
    assert_eq!(found.next_questions().len(), 64);
}

/// What was joined so far.
#[derive(Clone, Default)]
struct Joins {
    calls: Arc<Mutex<Vec<Vec<String>>>>,
    changed: Arc<Notify>,
}

impl Joins {
    fn add(&self, addresses: Vec<String>) -> usize {
        let count = addresses.len();
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(addresses);
        self.changed.notify_one();
        count
    }

    fn all(&self) -> BTreeSet<String> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).iter().flatten().cloned().collect()
    }

    async fn wait_for(&self, wanted: &[&str]) {
        self.wait_within(DEADLINE, wanted).await;
    }

    async fn wait_within(&self, limit: Duration, wanted: &[&str]) {
        let wanted: BTreeSet<String> = wanted.iter().map(|address| (*address).to_owned()).collect();
        let waiting = async {
            while !self.all().is_superset(&wanted) {
                self.changed.notified().await;
            }
        };
        let outcome = timeout(limit, waiting).await;
        assert!(outcome.is_ok(), "{wanted:?} were to be joined, but only {:?} were", self.all());
    }
}

fn on_loopback(cluster: &str, node: &str, advertise: &str) -> MdnsConfig {
    MdnsConfig {
        cluster: cluster.to_owned(),
        node: node.to_owned(),
        host: "host".to_owned(),
        advertise: advertise.parse().unwrap(),
        interface: Some("lo".to_owned()),
        disable_ipv4: false,
        disable_ipv6: false,
    }
}

fn begin(port: u16, config: MdnsConfig) -> (MdnsHandle, Joins) {
    let joins = Joins::default();
    let pace =
        Pace { port, poll_interval: Duration::from_millis(500), poll_window: Duration::from_millis(300) };
    let report = joins.clone();
    let handle = start_at(pace, config, move |addresses| {
        let count = report.add(addresses);
        async move { Ok(count) }
    });
    (handle.unwrap(), joins)
}

fn free_port() -> u16 {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn agents_find_each_other_but_not_themselves_nor_other_clusters() {
    let port = free_port();
    let (_one, one) = begin(port, on_loopback(r"my \cl", "one", "127.0.0.1:7001"));
    let (_two, two) = begin(port, on_loopback(r"my \cl", "two", "127.0.0.1:7002"));
    let (_three, three) = begin(port, on_loopback(r"my \cl", "three", "[::1]:7003"));
    let (_other, other) = begin(port, on_loopback("other", "four", "127.0.0.1:7004"));
    one.wait_for(&["127.0.0.1:7002", "[::1]:7003"]).await;
    two.wait_for(&["127.0.0.1:7001", "[::1]:7003"]).await;
    three.wait_for(&["127.0.0.1:7001", "127.0.0.1:7002"]).await;
    for (joins, own) in [(one, "127.0.0.1:7001"), (two, "127.0.0.1:7002"), (three, "[::1]:7003")] {
        assert!(!joins.all().contains(own));
        assert!(!joins.all().contains("127.0.0.1:7004"));
    }
    assert_eq!(other.all().len(), 0);
}

#[tokio::test]
async fn agents_find_each_other_over_ipv6_alone() {
    let port = free_port();
    let interfaces = sockets::interfaces(None).unwrap();
    let sent = match sockets::Asker::open(&interfaces, false, true, port) {
        Ok(asker) => asker.ask(b"x").await,
        Err(error) => Err(error),
    };
    if let Err(error) = sent {
        // Loopback alone has no route for groups of IPv6 unless somebody sets one.
        println!("skipped: this machine sends nothing to groups of IPv6: {error}");
        return;
    }
    let v6_only = |node: &str, advertise: &str| MdnsConfig {
        disable_ipv4: true,
        interface: None,
        ..on_loopback("six", node, advertise)
    };
    let (_one, one) = begin(port, v6_only("one", "[::1]:7001"));
    let (_two, two) = begin(port, v6_only("two", "[::1]:7002"));
    one.wait_for(&["[::1]:7002"]).await;
    two.wait_for(&["[::1]:7001"]).await;
}

#[tokio::test]
async fn joined_addresses_are_joined_together_and_only_once() {
    let (offers, offered) = mpsc::channel(8);
    let joins = Joins::default();
    let report = joins.clone();
    let own = "127.0.0.1:1".parse().unwrap();
    let running = tokio::spawn(joiner::run(own, offered, move |addresses| {
        let count = report.add(addresses);
        async move { Ok(count) }
    }));
    for address in ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:2"] {
        offers.send(address.parse().unwrap()).await.unwrap();
    }
    joins.wait_for(&["127.0.0.1:2", "127.0.0.1:3"]).await;
    for address in ["127.0.0.1:2", "127.0.0.1:4"] {
        offers.send(address.parse().unwrap()).await.unwrap();
    }
    joins.wait_for(&["127.0.0.1:4"]).await;
    drop(offers);
    running.await.unwrap();
    let calls = joins.calls.lock().unwrap().clone();
    assert_eq!(calls, [vec!["127.0.0.1:2", "127.0.0.1:3"], vec!["127.0.0.1:4"]]);
}

#[tokio::test]
async fn what_cannot_work_is_refused_with_a_reason() {
    let never = |_addresses: Vec<String>| async { Ok(0) };
    let refused = |config: MdnsConfig| start(config, never).unwrap_err().to_string();
    let good = on_loopback("cl", "node", "127.0.0.1:7946");
    let both_off = MdnsConfig { disable_ipv4: true, disable_ipv6: true, ..good.clone() };
    assert!(refused(both_off).contains("both turned off"));
    let long = MdnsConfig { cluster: "x".repeat(60), ..good.clone() };
    assert!(refused(long).contains("66 bytes between two dots"));
    let nowhere = MdnsConfig { interface: Some("nowhere0".to_owned()), ..good };
    assert_eq!(
        refused(nowhere),
        "interface 'nowhere0' does not exist or has no address; check mdns.interface and interface"
    );
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// The real Serf on the same machine: it is found, and finds us. Both use the interface of the default route, for Serf
/// does not use loopback for groups unless somebody allows it.
///
/// Serf asks once at its start and then once a minute. So we listen first, and wait for more than two of its rounds: on a
/// busy machine either side may miss the second in which the other answers.
#[tokio::test]
async fn serf_and_thane_find_each_other() {
    const ROUNDS: Duration = Duration::from_secs(150);
    if env::var_os("THANE_WITHOUT_PEERS").is_some() {
        return;
    }
    // An address that nobody else has: a port that was free a moment ago may be taken by the time Serf wants it.
    let address = Ipv4Addr::from((0x7f50_0000 | (std::process::id() & 0xf_ffff)) + 1);
    // Serf joins what it finds: a listener takes note of it.
    let ours = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cluster = format!("peers-{address}");
    let advertise = ours.local_addr().unwrap().to_string();
    let (_thane, joins) =
        begin(PORT, MdnsConfig { interface: None, ..on_loopback(&cluster, "thane", &advertise) });
    let serf = Command::new("serf")
        .args(["agent", "-node=serf", &format!("-discover={cluster}")])
        .args([format!("-bind={address}:7946"), format!("-rpc-addr={address}:7373")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _serf = Killed(serf.expect("serf, or THANE_WITHOUT_PEERS=1, is needed"));
    joins.wait_within(ROUNDS, &[&format!("{address}:7946")]).await;
    let found = timeout(ROUNDS, ours.accept()).await;
    assert!(found.is_ok(), "Serf did not come to the address that we answered with");
}
