use super::*;
use thane_core::JoinFailure;

#[test]
fn ports_are_found_where_memberlist_finds_them() {
    let recorded = [
        ("1.2.3.4", "1.2.3.4", None),
        ("1.2.3.4:80", "1.2.3.4", Some(80)),
        ("::1", "::1", None),
        ("[::1]", "::1", None),
        ("[::1]:80", "::1", Some(80)),
        ("localhost", "localhost", None),
        ("localhost:80", "localhost", Some(80)),
        (":80", "", Some(80)),
        ("", "", None),
        ("a:b:c", "a:b:c", None),
        ("[fe80::1%eth0]", "fe80::1%eth0", None),
        ("fe80::1%eth0", "fe80::1%eth0", None),
        ("2001:db8::1", "2001:db8::1", None),
    ];
    for (text, host, port) in recorded {
        assert_eq!(split_port(text), Ok((host.to_owned(), port)), "{text:?}");
    }
    eprintln!("compat: ports of addresses to join | cases={0} same={0} listed=0", recorded.len());
}

#[test]
fn unusable_addresses_to_join_are_explained() {
    for (text, part) in [
        ("", "host is empty"),
        (":7946", "host is empty"),
        ("/10.0.0.1", "name before the slash is empty"),
        ("name/", "host is empty"),
        ("10.0.0.1:65536", "\"65536\" is no port"),
        ("10.0.0.1:", "\"\" is no port"),
        ("10.0.0.1:http", "\"http\" is no port"),
        ("[::1", "brackets"),
        ("[[::1]]:80", "brackets"),
        (
            "[fe80::1]:80",
            "fe80::1 is link-local: name the interface that it is on, as in [fe80::1%eth0]:7946",
        ),
    ] {
        let problem = split_join(text, 7946);
        assert!(problem.as_ref().is_err_and(|problem| problem.contains(part)), "{text:?}: {problem:?}");
    }
}

#[test]
fn hosts_and_services_are_told_apart() {
    let host = |host: &str, port| Ok(Place::Host { host: host.to_owned(), port });
    let service = |name: &str, port| Ok(Place::Service { name: name.to_owned(), port });
    for (text, expected) in [
        ("name/10.0.0.9:7946", host("10.0.0.9", 7946)),
        ("name/10.0.0.9", host("10.0.0.9", 1)),
        ("seed.example", host("seed.example", 1)),
        ("not_a_service.example", host("not_a_service.example", 1)),
        ("_serf._tcp.example.com", service("_serf._tcp.example.com", None)),
        ("_serf._tcp.example.com:7950", service("_serf._tcp.example.com", Some(7950))),
        ("dnssrv+serf.service.consul", service("serf.service.consul", None)),
        ("name/dnssrv+_serf._tcp.example.com:7950", service("_serf._tcp.example.com", Some(7950))),
    ] {
        assert_eq!(split_join(text, 1), expected, "{text:?}");
    }
}

#[tokio::test]
async fn addresses_to_listen_on_take_serfs_forms() {
    for (text, addr) in [
        ("127.0.0.1", "127.0.0.1:7946"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("[::1]", "[::1]:7946"),
        ("[::1]:80", "[::1]:80"),
        (":7950", "0.0.0.0:7950"),
        ("0.0.0.0", "0.0.0.0:7946"),
    ] {
        let found = resolve_listen("bind", text, 7946).await;
        assert_eq!(
            found.as_ref().map(ToString::to_string).ok().as_deref(),
            Some(addr),
            "{text:?}: {found:?}"
        );
    }
    let bare = resolve_listen("bind", "::1", 7946).await.unwrap_err().to_string();
    assert!(bare.contains("address ::1: too many colons in address"), "{bare}");
    assert!(bare.contains("[::1]"), "{bare}");
}

#[tokio::test]
async fn what_cannot_be_resolved_keeps_its_own_text_and_the_rest_goes_on() {
    let given = ["10.0.0.1".to_owned(), "/x".to_owned(), "b/[::1]:9".to_owned()];
    let (targets, failed) = resolve_join(&Resolver::default(), &given, 7).await;
    let found: Vec<_> =
        targets.iter().map(|target| (target.addr.to_string(), target.given.as_str())).collect();
    assert_eq!(found, [("10.0.0.1:7".to_owned(), "10.0.0.1"), ("[::1]:9".to_owned(), "b/[::1]:9")]);
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].0, "/x");
    assert!(failed[0].1.starts_with("Failed to resolve /x: "), "{failed:?}");
}

#[test]
fn failures_are_told_under_the_text_that_was_given() {
    let addr: SocketAddr = "10.0.0.1:7".parse().unwrap();
    let target = |given: &str| JoinTarget { addr, given: given.to_owned() };
    let failure = JoinFailure {
        addr,
        error: thane_core::ExchangeError::Dial { addr, error: "connect: connection refused".to_owned() },
    };
    let blamed = JoinTarget::blame(&[target("seed"), target("10.0.0.1:7")], &[failure.clone(), failure]);
    let given: Vec<_> = blamed.iter().map(|(given, _)| given.as_str()).collect();
    assert_eq!(given, ["seed", "10.0.0.1:7"]);
    assert_eq!(blamed[0].1, "Failed to join 10.0.0.1:7: dial tcp 10.0.0.1:7: connect: connection refused");
}
