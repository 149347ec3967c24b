//! Members that are found by DNS names (SF-305).

use std::time::{Duration, Instant};

use thane::{JoinError, Node, Status};

use super::dns_server::{DnsServer, Manner, Record};
use super::{builder, in_time, start, wait_for_status};

/// A node that asks this server.
async fn asking(name: &str, dns: &DnsServer) -> Node {
    builder(name).dns_servers([dns.addr()]).start().await.unwrap()
}

/// Why nobody was found by this name.
async fn problem(node: &Node, name: &str) -> String {
    match in_time("an answer about a name", node.join([name])).await {
        Err(JoinError::NoneContacted(failed)) => {
            assert_eq!(failed.len(), 1, "{failed:?}");
            assert_eq!(failed[0].0, name);
            failed[0].1.clone()
        }
        other => panic!("{name} should lead nowhere, not to {other:?}"),
    }
}

#[tokio::test]
async fn sf_305_service_names_lead_to_members_and_are_looked_up_anew() {
    let dns = DnsServer::start("127.0.0.1");
    let (a, b, c) = (start("a").await, start("b").await, asking("c", &dns).await);
    let service = "_serf._tcp.cluster.test";
    dns.set("localhost4.test", [Record::address("127.0.0.1")]);
    dns.set(service, [Record::service("localhost4.test", a.local_addr().port())]);
    assert_eq!(c.join([service]).await.unwrap().contacted, 1);
    wait_for_status(&c, "a", Status::Alive).await;
    assert!(dns.take_asked().contains(&format!("udp SRV {service}")));

    // The same name at another time: nothing of the last answer is kept.
    dns.set(service, [Record::service("localhost4.test", b.local_addr().port())]);
    assert_eq!(c.join([service]).await.unwrap().contacted, 1);
    wait_for_status(&c, "b", Status::Alive).await;

    // Names without underscores are services if that is said, and a port that is written counts.
    dns.set("serf.service.test", [Record::service("localhost4.test", 1)]);
    let written = format!("dnssrv+serf.service.test:{}", a.local_addr().port());
    assert_eq!(c.join([written]).await.unwrap().contacted, 1);
}

#[tokio::test]
async fn sf_305_host_names_stand_for_all_their_addresses() {
    let dns = DnsServer::start("127.0.0.1");
    let (a, c) = (start("a").await, asking("c", &dns).await);
    // Nobody is at the first two: all are tried. Aliases lead on.
    let addresses = ["127.0.83.1", "127.0.83.2", "127.0.0.1"].map(Record::address);
    dns.set("members.test", addresses);
    dns.set("seed.test", [Record::Alias("members.test".to_owned())]);
    let report = c.join([format!("seed.test:{}", a.local_addr().port())]).await.unwrap();
    assert_eq!((report.contacted, report.failed.len()), (1, 2), "{report:?}");
    wait_for_status(&c, "a", Status::Alive).await;
    let asked = dns.take_asked();
    assert!(asked.contains(&"udp A seed.test".to_owned()), "{asked:?}");
    assert!(asked.contains(&"udp AAAA seed.test".to_owned()), "{asked:?}");

    // So does one that has only the newer kind: nobody is there, and that is all that is wrong.
    dns.set("six.test", [Record::address("::1")]);
    let text = problem(&c, "six.test:9").await;
    assert!(text.starts_with("Failed to join [::1]:9: "), "{text}");
    dns.take_asked();

    // Literal addresses, and names of the machine itself, need no server.
    let port = a.local_addr().port();
    assert!(c.join([format!("127.0.0.1:{port}"), format!("localhost:{port}")]).await.unwrap().contacted >= 2);
    assert_eq!(dns.take_asked(), Vec::<String>::new());
}

#[tokio::test]
async fn sf_305_an_answer_too_long_for_a_packet_comes_by_tcp() {
    let dns = DnsServer::start("127.0.0.1");
    let (a, c) = (start("a").await, asking("c", &dns).await);
    dns.behave(Manner::Truncating);
    dns.set("here.test", [Record::address("127.0.0.1")]);
    dns.set("_serf._tcp.test", [Record::service("here.test", a.local_addr().port())]);
    assert_eq!(c.join(["_serf._tcp.test"]).await.unwrap().contacted, 1);
    let asked = dns.take_asked();
    assert!(asked.contains(&"tcp SRV _serf._tcp.test".to_owned()), "{asked:?}");
}

#[tokio::test]
async fn sf_305_a_server_that_does_not_help_is_passed_over() {
    let (first, second) = (DnsServer::start("127.0.0.1"), DnsServer::start("127.0.0.1"));
    first.behave(Manner::Refusing);
    let a = start("a").await;
    second.set("here.test", [Record::address("127.0.0.1")]);
    let c = builder("c").dns_servers([first.addr(), second.addr()]).start().await.unwrap();
    assert_eq!(c.join([format!("here.test:{}", a.local_addr().port())]).await.unwrap().contacted, 1);
    assert!(!first.take_asked().is_empty());
}

/// The first of the system's servers being down is no reason to find nobody, however many hosts a service has.
#[tokio::test]
async fn sf_305_hosts_of_a_service_are_looked_up_side_by_side() {
    let (first, second) = (DnsServer::start("127.0.0.1"), DnsServer::start("127.0.0.1"));
    first.behave(Manner::Silent);
    let a = start("a").await;
    let port = a.local_addr().port();
    let hosts = ["one.test", "two.test", "three.test", "four.test", "five.test"];
    for host in hosts {
        second.set(host, [Record::address("127.0.0.1")]);
    }
    second.set("_serf._tcp.test", hosts.map(|host| Record::service(host, port)));
    let c = builder("c").dns_servers([first.addr(), second.addr()]).start().await.unwrap();
    let report = in_time("a join by a service", c.join(["_serf._tcp.test"])).await.unwrap();
    assert!(report.contacted >= 1, "{report:?}");
}

#[tokio::test]
async fn sf_305_what_is_wrong_with_a_name_is_said_with_the_remedy() {
    let dns = DnsServer::start("127.0.0.1");
    let c = asking("c", &dns).await;
    let server = dns.addr();
    dns.set("empty.test", []);
    dns.set("_empty._tcp.test", []);
    dns.set("_closed._tcp.test", [Record::service(".", 0)]);
    dns.set("_lost._tcp.test", [Record::service("nowhere.test", 1)]);
    dns.set("loop.test", [Record::Alias("end.test".to_owned())]);
    for (name, parts) in [
        (
            "nowhere.test",
            [format!("lookup nowhere.test on {server}: no such host"), "check the spelling".into()],
        ),
        (
            "empty.test",
            [format!("lookup empty.test on {server}: the name has no A or AAAA record"), "dnssrv+".into()],
        ),
        (
            "loop.test",
            [format!("lookup loop.test on {server}: the name has no A or AAAA record"), "dnssrv+".into()],
        ),
        (
            "_empty._tcp.test",
            [
                format!("lookup _empty._tcp.test on {server}: the name has no SRV record"),
                "PRIORITY WEIGHT PORT HOST".into(),
            ],
        ),
        ("_closed._tcp.test", ["offered nowhere".into(), server.clone()]),
        (
            "_lost._tcp.test",
            ["none of the hosts in its SRV records has an address".into(), "lookup nowhere.test".into()],
        ),
        ("dnssrv+a..b", ["no DNS name".into(), "lookup a..b".into()]),
    ] {
        let text = problem(&c, name).await;
        assert!(text.starts_with(&format!("Failed to resolve {name}: lookup ")), "{text}");
        for part in parts {
            assert!(text.contains(&part), "{part:?} is not in {text}");
        }
    }
    dns.behave(Manner::Refusing);
    let text = problem(&c, "nowhere.test").await;
    assert!(text.contains("answers REFUSED for A") && text.contains("ask another one"), "{text}");
}

#[tokio::test]
async fn sf_305_servers_that_say_nothing_or_nonsense_cost_a_limited_time() {
    let dns = DnsServer::start("127.0.0.1");
    let c = asking("c", &dns).await;
    dns.behave(Manner::Babbling);
    let text = problem(&c, "_serf._tcp.test").await;
    assert!(text.contains("no usable answer for SRV records: it cannot be read"), "{text}");
    dns.behave(Manner::Silent);
    let start = Instant::now();
    let text = problem(&c, "_serf._tcp.test").await;
    assert!(text.contains("no usable answer for SRV records"), "{text}");
    assert!(text.contains("reachable by UDP and TCP?"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    // The question was repeated meanwhile: packets get lost.
    assert!(dns.take_asked().len() >= 3);
    let server = dns.addr();
    drop(dns);
    let text = problem(&c, "_serf._tcp.test").await;
    assert!(text.contains(&format!("on {server}: no usable answer")), "{text}");
}

#[tokio::test]
async fn dns_servers_are_addresses_and_not_too_many() {
    let text = builder("a").dns_servers(["dns.example"]).start().await.unwrap_err().to_string();
    assert!(
        text.starts_with("DNS server address \"dns.example\" cannot be used: it must be an IP address"),
        "{text}"
    );
    let text = builder("a").dns_servers(["127.0.0.1"; 9]).start().await.unwrap_err().to_string();
    assert!(text.contains("there are 9, and 8 is the most"), "{text}");
}

/// SF-605 too: no partition is too long, wherever the cluster is now.
#[tokio::test]
async fn sf_305_a_node_that_was_cut_off_finds_the_cluster_where_its_name_leads_now() {
    let dns = DnsServer::start("127.0.0.1");
    let c = builder("c").dns_servers([dns.addr()]).seeds(["_serf._tcp.test"]).start().await.unwrap();
    // At first the name is not even there.
    super::eventually("the name was asked for", async || !dns.take_asked().is_empty()).await;
    let a = start("a").await;
    dns.set("here.test", [Record::address("127.0.0.1")]);
    dns.set("_serf._tcp.test", [Record::service("here.test", a.local_addr().port())]);
    wait_for_status(&c, "a", Status::Alive).await;

    // The whole cluster goes, and comes up elsewhere.
    a.shutdown().await;
    let b = start("b").await;
    dns.set("_serf._tcp.test", [Record::service("here.test", b.local_addr().port())]);
    wait_for_status(&c, "b", Status::Alive).await;
    wait_for_status(&b, "c", Status::Alive).await;
}

#[tokio::test]
async fn seeds_can_be_given_later_and_taken_back() {
    let (a, c) = (start("a").await, start("c").await);
    c.set_seeds([a.local_addr().to_string()]).await;
    wait_for_status(&c, "a", Status::Alive).await;
    let seeds: [&str; 0] = [];
    c.set_seeds(seeds).await;
    c.shutdown().await;
    c.set_seeds(["too.late"]).await;
}
