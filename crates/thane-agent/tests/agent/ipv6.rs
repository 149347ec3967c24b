//! SF-684: IPv6 addresses to join, with and without brackets, ports, names and zones.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use crate::harness::Agent;

/// Whether this machine has IPv6 at all. Where it has not, the test says that it showed nothing.
fn has_ipv6() -> bool {
    let has = TcpListener::bind("[::1]:0").is_ok();
    if !has {
        eprintln!("this machine has no IPv6 loopback address; nothing was tested");
    }
    has
}

/// `thane join` through the agent at this RPC address: its exit code and what it printed.
fn join(mut program: Command, rpc_addr: &str, address: &str) -> (Option<i32>, String) {
    let output = program.args(["join", &format!("-rpc-addr={rpc_addr}"), address]).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn thane() -> Command {
    Command::new(env!("CARGO_BIN_EXE_thane"))
}

#[test]
fn sf_684_ipv6_members_are_joined_by_flags_files_and_commands() {
    if !has_ipv6() {
        return;
    }
    let first = Agent::start(&["-node=first", "-bind=[::1]:0"]);
    let address = first.address("Bind addr");
    assert!(address.starts_with("[::1]:"), "{address}");
    let port = address.rsplit(':').next().unwrap();
    let long = format!("[0:0:0:0:0:0:0:1]:{port}");
    let directory = std::env::temp_dir().join(format!("thane-ipv6-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join("c.json");
    fs::write(&file, format!(r#"{{"start_join": ["{long}"]}}"#)).unwrap();
    let by_file = format!("-config-file={}", file.display());
    let named = format!("-join=first/{address}");
    let retried = format!("-retry-join={address}");
    let agents =
        [("flag", format!("-join={address}")), ("named", named), ("file", by_file), ("retried", retried)]
            .map(|(name, flag)| (name, Agent::start(&[&format!("-node={name}"), "-bind=[::1]:0", &flag])));
    let commanded = Agent::start(&["-node=commanded", "-bind=[::1]:0"]);
    let (code, said) = join(thane(), &commanded.address("RPC addr"), &address);
    assert_eq!((code, said.as_str()), (Some(0), "Successfully joined cluster by contacting 1 nodes.\n"));
    for name in agents.iter().map(|(name, _agent)| *name).chain(["commanded"]) {
        first.wait_for(&format!("EventMemberJoin: {name} ::1"));
    }
    for agent in agents.iter().map(|(_name, agent)| agent).chain([&commanded]) {
        agent.wait_for("EventMemberJoin: first ::1");
    }
    // What cannot be meant is refused with the reason, and joins nobody.
    for (given, part) in [
        ("[::1", "brackets belong around an IPv6 address and nowhere else"),
        ("[::1]7946", "brackets belong around an IPv6 address and nowhere else"),
        ("[::1]:99999", "is no port"),
        ("fe80::1", "is link-local: name the interface that it is on, as in [fe80::1%eth0]:7946"),
        ("[::1%]:7946", "lookup ::1%"),
    ] {
        let (code, said) = join(thane(), &commanded.address("RPC addr"), given);
        assert_eq!(code, Some(1), "{given}: {said}");
        assert!(said.contains(part), "{given}: {said}");
    }
    drop(fs::remove_dir_all(directory));
}

/// A missing port is the joining agent's own, so that two agents need two addresses; and only a network interface has a zone.
#[test]
#[cfg(target_os = "linux")]
fn sf_684_ipv6_members_are_joined_without_ports_and_with_zones() {
    use crate::own_host::OwnHost;
    let Some(host) = OwnHost::possible() else {
        eprintln!("this machine makes no namespaces with interfaces; nothing was tested");
        return;
    };
    let flags = |node: &str, bind: &str, rpc: &str, more: &[&str]| {
        let flags = ["agent", &format!("-node={node}"), &format!("-bind={bind}")].map(String::from);
        let more = more.iter().map(|flag| (*flag).to_owned());
        flags.into_iter().chain([format!("-rpc-addr=127.0.0.1:{rpc}")]).chain(more).collect::<Vec<String>>()
    };
    let program = env!("CARGO_BIN_EXE_thane");
    let first = Agent::run(host.start(
        "fd00::12/64 fe80::12/64",
        program,
        &flags("first", "[fd00::12]:7946", "7373", &[]),
    ));
    first.wait_for("Log data will now stream in");
    let beside = |flags: &[String]| {
        let mut command = host.beside(first.id(), program);
        command.args(flags);
        let agent = Agent::run(command);
        agent.wait_for("Log data will now stream in");
        agent
    };
    let bare = beside(&flags("bare", "[::1]:7946", "7374", &["-join=fd00::12"]));
    let bracketed = beside(&flags("bracketed", "127.0.0.1:7946", "7375", &["-join=[fd00::12]"]));
    for name in ["bare ::1", "bracketed 127.0.0.1"] {
        first.wait_for(&format!("EventMemberJoin: {name}"));
    }
    // One that listens on all addresses, the link-local one among them, which no member can announce.
    let all = beside(&flags("all", "[::]:7950", "7376", &["-advertise=[fd00::12]:7950"]));
    let (code, said) = join(host.beside(first.id(), program), "127.0.0.1:7374", "[fe80::12%v0]:7950");
    assert_eq!((code, said.as_str()), (Some(0), "Successfully joined cluster by contacting 1 nodes.\n"));
    for agent in [&bare, &bracketed, &first] {
        agent.wait_for("EventMemberJoin: all fd00::12");
    }
    all.wait_for("EventMemberJoin: bare ::1");
    let (code, said) = join(host.beside(first.id(), program), "127.0.0.1:7374", "[fe80::12%v9]:7950");
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("Failed to resolve [fe80::12%v9]:7950: lookup fe80::12%v9: no such host"),
        "{said}"
    );
}
