//! Members that an agent finds by DNS names (SF-305).

use crate::dns_server::{DnsServer, Record};
use crate::harness::Agent;

fn port(agent: &Agent) -> u16 {
    agent.address("Bind addr").rsplit_once(':').unwrap().1.parse().unwrap()
}

#[test]
fn sf_305_retry_join_looks_its_names_up_anew_and_heals_by_them() {
    let dns = DnsServer::start("127.0.0.1");
    dns.set("here.test", [Record::address("127.0.0.1")]);
    let server = format!("-dns-server={}", dns.addr());
    let c = Agent::start(&["-node=c", &server, "-retry-join=_serf._tcp.test", "-retry-interval=1s"]);
    c.wait_for("Join failed: ");
    let reason = format!(
        "Failed to resolve _serf._tcp.test: lookup _serf._tcp.test on {}: no such host; check the spelling",
        dns.addr()
    );
    c.wait_for(&reason);

    let a = Agent::start(&["-node=a"]);
    dns.set("_serf._tcp.test", [Record::service("here.test", port(&a))]);
    c.wait_for("Join completed. Synced with 1 initial agents");
    c.wait_for("EventMemberJoin: a 127.0.0.1");

    // The cluster comes up elsewhere while this agent is alone.
    drop(a);
    let b = Agent::start(&["-node=b"]);
    dns.set("_serf._tcp.test", [Record::service("here.test", port(&b))]);
    c.wait_for("serf: Joined others through the seeds");
    c.wait_for("EventMemberJoin: b 127.0.0.1");
}

#[test]
fn sf_305_join_takes_services_and_several_servers_from_a_file() {
    let (useless, dns) = (DnsServer::start("127.0.0.1"), DnsServer::start("127.0.0.1"));
    useless.behave(crate::dns_server::Manner::Refusing);
    let a = Agent::start(&["-node=a"]);
    dns.set("here.test", [Record::address("127.0.0.1")]);
    dns.set("a.service.test", [Record::service("here.test", port(&a))]);
    let file = std::env::temp_dir().join(format!("thane-dns-servers-{}.json", std::process::id()));
    let servers = serde_json::json!({"dns_servers": [useless.addr(), dns.addr()]});
    std::fs::write(&file, servers.to_string()).unwrap();
    let flag = format!("-config-file={}", file.display());
    let c = Agent::start(&["-node=c", &flag, "-join=dnssrv+a.service.test"]);
    std::fs::remove_file(&file).unwrap();
    c.wait_for("Join completed. Synced with 1 initial agents");
    c.wait_for("EventMemberJoin: a 127.0.0.1");
    assert!(!useless.take_asked().is_empty());
}

#[test]
fn a_dns_server_that_is_no_address_is_refused_with_the_remedy() {
    let (status, said) = Agent::spawn(&["-dns-server=dns.example"]).wait();
    assert_eq!(status.code(), Some(1));
    let expected = "==> Failed to start the Serf agent: Error creating Serf: Invalid DNS server 'dns.example': it must be an \
                    IP address, with a port if that is not 53, such as 127.0.0.1:8600; write -dns-server=ADDR:PORT";
    assert!(said.contains(expected), "{said}");
}
