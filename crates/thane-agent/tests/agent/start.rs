//! How an agent comes up, or says why it does not.

use std::process::Command;

use serde_json::json;
use thane_wire::rpc::Request;

use crate::harness::Agent;

#[test]
fn the_banner_follows_serfs_layout_and_the_log_follows_the_banner() {
    let agent = Agent::start(&[
        "-node=n1",
        "-profile=local",
        "-encrypt=MDEyMzQ1Njc4OWFiY2RlZg==",
        "-disable-compression",
    ]);
    let output = agent.wait_for("[INFO] agent: Received event: member-join");
    let (bind, rpc) = (agent.address("Bind addr"), agent.address("RPC addr"));
    assert!(!bind.ends_with(":0") && !rpc.ends_with(":0"), "ports are the real ones: {bind} {rpc}");
    let expected = format!(
        "==> Starting Serf agent...
==> Starting Serf agent RPC...
==> Serf agent running!
                      Node name: 'n1'
                      Bind addr: '{bind}'
                       RPC addr: '{rpc}'
                      Encrypted: true
                       Snapshot: false
                        Profile: local
    Message Compression Enabled: false

==> Log data will now stream in as it occurs:

    "
    );
    assert!(output.starts_with(&expected), "{output}");
    // A busy machine may have held it up, of which it tells.
    let is_meant = |line: &&str| !line.contains("this node did not run for");
    let log: Vec<&str> = output[expected.len() - 4..].lines().filter(is_meant).collect();
    for (line, text) in log.iter().zip([
        "[INFO] agent: Serf agent starting",
        "[INFO] serf: EventMemberJoin: n1 127.0.0.1",
        "[INFO] agent: Received event: member-join",
    ]) {
        let time = &line[4..23];
        assert!(time.chars().filter(char::is_ascii_digit).count() == 14, "{line}");
        assert_eq!(&line[24..], text);
    }
}

#[test]
fn what_cannot_start_says_which_and_what_to_do_and_exits_with_1() {
    let first = Agent::start(&["-node=first"]);
    let taken_rpc = format!("-rpc-addr={}", first.address("RPC addr"));
    let taken_bind = format!("-bind={}", first.address("Bind addr"));
    let large = format!("-tag=x={}", "y".repeat(600));
    for (flags, message, remedy) in [
        (vec!["-tag=x"], "==> Error: Invalid tag: 'x'", "KEY=VALUE"),
        (
            vec!["-encrypt=YWJj"],
            "==> Failed to start the Serf agent: Error creating Serf: Failed to create memberlist: key size must be 16, 24 or 32 bytes",
            "'thane keygen'",
        ),
        (
            vec!["-log-level=loud"],
            "==> Invalid log level: LOUD. Valid log levels are: [TRACE DEBUG INFO WARN ERR]",
            "WARN",
        ),
        (
            vec!["-protocol=6"],
            "==> Failed to start the Serf agent: Error creating Serf: Protocol version '6' too high",
            "Must be in range: [2, 5]",
        ),
        (
            vec![large.as_str()],
            "==> Failed to start the Serf agent: Error creating Serf: Encoded length of tags exceeds limit of 512 bytes",
            "shorten some of -tag",
        ),
        (
            vec!["-snapshot=no/such/directory/snap"],
            "==> Failed to start the Serf agent: Error creating Serf: Failed to setup snapshot: failed to open snapshot: open no/such/directory/snap: no such file or directory",
            "",
        ),
        (
            vec!["-rpc-addr=127.0.0.1"],
            "==> Error starting RPC listener: listen tcp: address 127.0.0.1: missing port in address",
            "-rpc-addr=HOST:PORT",
        ),
        (vec![taken_rpc.as_str()], "bind: address already in use", "with -rpc-addr"),
        (
            vec![taken_bind.as_str()],
            "==> Failed to start the Serf agent: Error creating Serf: Failed to create memberlist: Could not set up \
             network transport: failed to obtain an address: Failed to start TCP listener on \"127.0.0.1\" port ",
            "bind: address already in use; is another agent running? choose another port with -bind=HOST:PORT\n",
        ),
        (
            vec!["-bind=192.0.2.1:7946"],
            "listen tcp 192.0.2.1:7946: bind: cannot assign requested address",
            "choose one with -bind",
        ),
        (
            vec!["-join=127.0.0.1:1"],
            "\n==> 1 error occurred:\n\t* Failed to join 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused\n",
            "==> Is an agent running there, with the same -encrypt?",
        ),
    ] {
        let (status, output) = Agent::spawn(&flags).wait();
        assert_eq!(status.code(), Some(1), "{flags:?}:\n{output}");
        assert!(output.contains(message) && output.contains(remedy), "{flags:?}:\n{output}");
    }
}

#[test]
fn lines_held_back_are_shown_when_the_start_fails() {
    let (_status, output) = Agent::spawn(&["-join=127.0.0.1:1"]).wait();
    assert!(output.contains("[INFO] agent: joining: [127.0.0.1:1] replay: false"), "{output}");
}

#[test]
fn flag_mistakes_go_to_standard_error_with_the_help_on_standard_output() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thane"));
    let output = command.args(["agent", "-protocol=x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "invalid value \"x\" for flag -protocol: parse error\n-protocol takes a whole number of at most 63 bits, as \
         in -protocol=5.\n"
    );
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(help.starts_with("==> Usage: thane agent [flags]") && help.contains("-event-handler"), "{help}");
}

#[test]
fn members_of_join_and_retry_join_are_joined() {
    let first = Agent::start(&["-node=first"]);
    let address = first.address("Bind addr");
    let second = Agent::start(&["-node=second", &format!("-join={address}"), "-replay"]);
    let output = second.said();
    assert!(output.contains("==> Joining cluster...(replay: true)\n"), "{output}");
    assert!(output.contains("\n    Join completed. Synced with 1 initial agents\n"), "{output}");
    let retry = format!("-retry-join={address}");
    let third = Agent::start(&["-node=third", &retry, "-retry-interval=1s"]);
    third.wait_for("[INFO] agent: Join completed. Synced with 1 initial agents");
    first.wait_for("EventMemberJoin: third 127.0.0.1");
}

#[test]
fn retries_to_join_end_the_agent_when_they_are_used_up() {
    let flags = ["-retry-join=127.0.0.1:1", "-retry-interval=10ms", "-retry-max=1"];
    let (status, output) = Agent::spawn(&flags).wait();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("==> Warning: 'RetryInterval' is too low. Setting to 1s\n"), "{output}");
    assert_eq!(output.matches("[INFO] agent: Joining cluster...(replay: false)").count(), 2, "{output}");
    assert!(output.contains("\n, retrying in 1s\n"), "{output}");
    assert!(
        output.contains(
            "[ERR] agent: maximum retry join attempts made, exiting; none of -retry-join could be joined\n"
        ),
        "{output}"
    );
}

#[test]
fn an_ipv6_agent_shows_sixteen_address_bytes() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("this machine has no IPv6; nothing was tested");
        return;
    }
    let agent = Agent::start(&["-node=six", "-bind=[::1]:0"]);
    let answer = agent.client().ask(2, &Request::Members, 2);
    let member = &answer[1]["Members"][0];
    assert_eq!(member["Addr"], json!({"$bin": "00000000000000000000000000000001"}));
    assert_eq!((&member["Name"], &member["Tags"]), (&json!("six"), &json!({})));
}
