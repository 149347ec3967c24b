use super::*;

#[tokio::test]
async fn addresses_need_no_server_and_names_of_the_machine_none_of_ours() {
    // Nobody is at this address to be asked.
    let resolver = Resolver::new(vec!["127.0.83.53:9".parse().unwrap()]);
    for (host, expected) in [("10.0.0.1", "10.0.0.1:7"), ("::1", "[::1]:7"), ("localhost", "127.0.0.1:7")] {
        let found = resolver.addresses(&Place::new(host.to_owned(), None, 7)).await.unwrap();
        assert!(found.contains(&expected.parse().unwrap()), "{host}: {found:?}");
    }
}

#[test]
fn the_systems_reasons_become_go_s_and_say_what_to_do() {
    for (said, expected) in [
        (
            "failed to lookup address information: Name or service not known",
            "lookup x.example: no such host; check the spelling, or ask a DNS server that knows this name",
        ),
        (
            "failed to lookup address information: Temporary failure in name resolution",
            "lookup x.example: the DNS servers of this machine do not answer (see /etc/resolv.conf)",
        ),
        ("something else", "lookup x.example: something else"),
    ] {
        let problem = Problem::of_the_system("x.example", &io::Error::other(said));
        assert_eq!(problem.to_string(), expected);
    }
}
