//! The command line where no agent is needed: every recorded call of Serf's must give the same streams and exit code.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};
use support::{check_stderr, check_stream, goldens, tell_compat, thane};

/// Where recorded calls expected an agent.
const RECORDED_ADDRESS: &str = "127.0.0.1:7373";

/// An address that refuses connections while the socket is held: nobody listens, and nobody else gets the port.
fn closed_address() -> (Socket, String) {
    let held = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    held.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = held.local_addr().unwrap().as_socket().unwrap().to_string();
    (held, address)
}

#[test]
fn every_recorded_call_is_answered_alike() {
    let (_held, unreachable) = closed_address();
    let recorded = goldens(include_str!("goldens/cli_offline.json"));
    let mut listed = 0;
    for golden in &recorded {
        let name = &golden.name;
        let mut env = golden.env.clone();
        // The usual port may well be somebody's agent on the machine that runs this test.
        if golden.stdout.contains(RECORDED_ADDRESS) {
            env.insert("SERF_RPC_ADDR".to_owned(), unreachable.clone());
        }
        let answer = thane(&golden.argv[1..], &env);
        assert_eq!(answer.exit_code, Some(golden.exit_code), "exit code of {name}: {answer:?}");
        match name.as_str() {
            _ if golden.stdout.contains("Agent Protocol") => {
                let recorded = golden.stdout.split_once('\n').unwrap().1;
                assert_eq!(answer.stdout, format!("{}\n{recorded}", env!("CARGO_PKG_VERSION")), "{name}");
            }
            _ if name.starts_with("keygen_") || name == "badflag_keygen" => {
                assert_eq!(answer.stdout.len(), golden.stdout.len(), "{name}: {answer:?}");
                assert!(answer.stdout.ends_with("=\n"), "{name}: {answer:?}");
            }
            "rpcaddr_badhost" => {
                // How the resolver failed depends on the machine.
                let stable = "Error connecting to Serf agent: dial tcp: lookup nosuchhost.invalid";
                assert!(golden.stdout.starts_with(stable), "{golden:?}");
                assert!(answer.stdout.starts_with(stable), "{name}: {answer:?}");
            }
            _ => {
                let recorded = golden.stdout.replace(RECORDED_ADDRESS, &unreachable);
                check_stream(&format!("standard output of {name}"), &answer.stdout, &recorded);
            }
        }
        if name == "help_version" {
            // Serf's has no words at all.
            listed += 1;
            assert!(answer.stderr.starts_with("Usage: thane version\n"), "{name}: {answer:?}");
        } else {
            check_stderr(&answer, golden);
        }
    }
    tell_compat("without an agent", recorded.len() - listed, listed);
}

#[test]
fn slips_in_names_and_values_are_answered_with_what_may_have_been_meant() {
    for (arguments, exit_code, hint) in [
        (&["mebmers"][..], 127, "There is no command 'mebmers'; did you mean 'members'?\n"),
        (&["bogus"], 127, "There is no command 'bogus'\n"),
        (&["members", "-stauts=alive"], 1, "There is no flag -stauts; did you mean -status?\n"),
        (&["agent", "-jion=10.0.0.1"], 1, "There is no flag -jion; did you mean -join?\n"),
        (
            &["agent", "-retry-max=x"],
            1,
            "-retry-max takes a whole number of at most 63 bits, as in -retry-max=5.\n",
        ),
        (
            &["query", "-timeout=5", "x"],
            1,
            "-timeout takes a number with a unit, as in -timeout=500ms, 5s, 1m30s or 2h.\n",
        ),
        (&["query", "-first=-1", "x"], 1, "It is a number of members, or 0.\n"),
        (&["event", "-coalesce=maybe", "x"], 1, "Write -coalesce, -coalesce=true or -coalesce=false.\n"),
        (&["members", "-name"], 1, "Write -name=VALUE or -name VALUE.\n"),
    ] {
        let answer = thane(arguments, &BTreeMap::new());
        assert_eq!(answer.exit_code, Some(exit_code), "{arguments:?}: {answer:?}");
        assert!(answer.stderr.ends_with(hint), "{arguments:?}: {answer:?}");
    }
}

#[test]
fn two_keys_are_never_the_same() {
    let key = || thane(&["keygen"], &BTreeMap::new()).stdout;
    assert_ne!(key(), key());
}
