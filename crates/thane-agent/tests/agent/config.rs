//! What configuration files and a reload do to a running agent.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;
use thane_wire::rpc::{Request, error_text};

use crate::harness::{Agent, DEADLINE};

/// A directory that goes away with this.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("thane-config-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        drop(fs::remove_dir_all(&self.0));
    }
}

#[test]
fn a_token_from_a_file_is_asked_for() {
    let directory = Directory::new("auth");
    let file = directory.write("c.toml", "rpc_auth = \"sesame\"\nnode_name = \"guarded\"\n");
    let agent = Agent::start(&[&format!("-config-file={file}")]);
    let mut client = agent.client();
    let refused = client.ask(2, &Request::Members, 1);
    assert_eq!(refused, [json!({"Error": error_text::AUTH_REQUIRED, "Seq": 2})]);
    let accepted = client.ask(3, &Request::Auth { key: "sesame".to_owned() }, 1);
    assert_eq!(accepted, [json!({"Error": "", "Seq": 3})]);
    assert_eq!(client.ask(4, &Request::Members, 2)[1]["Members"][0]["Name"], "guarded");
}

#[test]
fn a_reload_replaces_handlers_level_and_tags_and_names_what_needs_a_restart() {
    let directory = Directory::new("reload");
    let (old, new) = (directory.0.join("old"), directory.0.join("new"));
    let handler = |file: &PathBuf| format!("user:go=echo ran >> {}", file.display());
    let config = |handler: &str, tag: &str, more: &str| {
        format!(
            r#"{{"event_handlers": ["{handler}"], "tags": {{"v": "{tag}"}}, "node_name": "first"{more}}}"#
        )
    };
    let file = directory.write("c.json", &config(&handler(&old), "1", ""));
    let agent = Agent::start(&[&format!("-config-file={file}")]);
    let mut client = agent.client();
    let mut event = |seq| {
        let payload = Vec::new().into();
        let sent = client.ask(seq, &Request::Event { name: "go".into(), payload, coalesce: false }, 1);
        assert_eq!(sent, [json!({"Error": "", "Seq": seq})]);
    };
    event(2);
    let deadline = Instant::now() + DEADLINE;
    let wait_for = |file: &PathBuf| {
        while !file.exists() {
            assert!(Instant::now() < deadline, "{} was not written", file.display());
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    wait_for(&old);
    directory.write(
        "c.json",
        &config(
            &handler(&new),
            "2",
            r#", "log_level": "debug", "retry_interval": "9s", "leave_on_terminate": true"#,
        ),
    );
    agent.signal("HUP");
    agent.wait_for("[INFO] agent: configuration reloaded; to change retry_interval restart the agent");
    event(3);
    wait_for(&new);
    assert_eq!(fs::read_to_string(&old).unwrap(), "ran\n", "the old handler is gone");
    agent.wait_for("[DEBUG]");
    let stats = agent.client().ask(2, &Request::Stats, 2);
    assert_eq!(stats[1]["tags"], json!({"v": "2"}));
    assert_eq!(stats[1]["event_handlers"], json!({"user:go": handler(&new).split_once('=').unwrap().1}));
    // What it reloads, it obeys.
    agent.signal("TERM");
    let (status, output) = agent.wait();
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(output.contains("==> Gracefully shutting down agent...\n"), "{output}");
}

/// Papercuts 21 and 22: a reload keeps the tags of a tags file, and tags that do not fit never get into it.
#[test]
fn a_tags_file_survives_reloads_and_tags_that_do_not_fit() {
    let directory = Directory::new("tags");
    let file = directory.write("t.json", "{\"a\":\"1\"}");
    let agent = Agent::start(&[&format!("-tags-file={file}")]);
    let mut client = agent.client();
    let mut set = |seq, value: &str| {
        let tags = Some([("b".to_owned(), value.to_owned())].into());
        client.ask(seq, &Request::Tags { tags, delete: None }, 1)
    };
    assert_eq!(set(2, "2"), [json!({"Error": "", "Seq": 2})]);
    let kept = "{\n  \"a\": \"1\",\n  \"b\": \"2\"\n}";
    assert_eq!(fs::read_to_string(&file).unwrap(), kept);
    let refused = "Encoded length of tags exceeds limit of 512 bytes";
    assert_eq!(set(3, &"y".repeat(600)), [json!({"Error": refused, "Seq": 3})]);
    agent.signal("HUP");
    agent.wait_for("agent: configuration reloaded");
    assert_eq!(fs::read_to_string(&file).unwrap(), kept);
    assert_eq!(agent.client().ask(2, &Request::Stats, 2)[1]["tags"], json!({"a": "1", "b": "2"}));
}

#[test]
fn an_interrupt_can_be_told_not_to_leave() {
    let directory = Directory::new("skip");
    let file = directory.write("c.json", r#"{"skip_leave_on_interrupt": true}"#);
    let agent = Agent::start(&[&format!("-config-file={file}")]);
    agent.signal("INT");
    let (status, output) = agent.wait();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(!output.contains("requesting graceful leave"), "{output}");
}

#[test]
fn a_key_ring_file_encrypts() {
    let directory = Directory::new("keyring");
    let keys = "[\"ZWTL+bgjHyQPhJRKcFe3ccirc2SFHmc/Nw67l8NQfdk=\", \"MDEyMzQ1Njc4OWFiY2RlZg==\"]";
    let file = directory.write("k.json", keys);
    let first = Agent::start(&["-node=first", &format!("-keyring-file={file}")]);
    let output = first.wait_for("[INFO] agent: Restored keyring with 2 keys from ");
    assert!(output.contains("                      Encrypted: true\n"), "{output}");
    let join = format!("-join={}", first.address("Bind addr"));
    Agent::start(&["-node=second", "-encrypt=ZWTL+bgjHyQPhJRKcFe3ccirc2SFHmc/Nw67l8NQfdk=", &join])
        .wait_for("Synced with 1");
    let (status, _output) = Agent::spawn(&["-node=third", &join]).wait();
    assert_eq!(status.code(), Some(1), "without a key nobody joins");
    assert_eq!(fs::read_to_string(&file).unwrap(), keys, "nothing changed, nothing is written");
}

#[test]
fn metrics_go_to_statsd_and_are_served_to_prometheus() {
    let directory = Directory::new("metrics");
    let statsd = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    statsd.set_read_timeout(Some(DEADLINE)).unwrap();
    // Free a moment ago; nobody else here takes ports of this address.
    let free = std::net::TcpListener::bind("127.0.0.9:0").unwrap().local_addr().unwrap();
    let text = format!(r#"{{"statsd_addr": "{}", "metrics_addr": "{free}"}}"#, statsd.local_addr().unwrap());
    let file = directory.write("c.json", &text);
    let agent = Agent::start(&[&format!("-config-file={file}")]);
    drop(agent.client());
    let (deadline, mut received) = (Instant::now() + DEADLINE, String::new());
    while !received.contains("serf-agent.agent.ipc.accept:1") {
        assert!(Instant::now() < deadline, "{received}");
        let mut datagram = [0; 2048];
        match statsd.recv(&mut datagram) {
            Ok(bytes) => received.push_str(&String::from_utf8_lossy(&datagram[..bytes])),
            // A machine that was suspended interrupts what has a time limit.
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::Interrupted),
        }
    }
    let mut page = std::net::TcpStream::connect(free).unwrap();
    page.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    page.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200")
            && answer.contains("thane_metrics_lost_total{sink=\"statsd\"} 0\n"),
        "{answer}"
    );
}

/// Only whole intervals of ten seconds are shown, so this takes about as long.
#[test]
fn sigusr1_writes_the_last_minute_to_standard_error() {
    let directory = Directory::new("usr1");
    let errors = directory.0.join("stderr");
    let agent = Agent::command(&["-event-handler=user=true"]);
    let command_line: Vec<_> = agent.get_args().map(std::ffi::OsStr::to_owned).collect();
    // The harness keeps standard output; a shell puts the other one into a file.
    let mut command = std::process::Command::new("/bin/sh");
    command
        .args(["-c", "exec 2>\"$0\"; exec \"$@\""])
        .arg(&errors)
        .arg(env!("CARGO_BIN_EXE_thane"))
        .args(command_line);
    let agent = Agent::run(command);
    agent.wait_for("Log data will now stream in");
    let payload = Vec::new().into();
    agent.client().ask(2, &Request::Event { name: "deploy now".into(), payload, coalesce: false }, 1);
    let deadline = Instant::now() + DEADLINE;
    let wanted = [
        "[C] 'serf-agent.agent.ipc.accept': Count: 1 Sum: 1.000 LastUpdated: ",
        "[C] 'serf-agent.serf.events.deploy_now': Count: 1 Sum: 1.000 LastUpdated: ",
        "[S] 'serf-agent.agent.invoke.true': Count: 1 Sum: ",
        "[S] 'serf-agent.memberlist.gossip': Count: ",
        // How well it feels depends on the machine.
        "[G] 'serf-agent.memberlist.health.score': ",
    ];
    loop {
        agent.signal("USR1");
        std::thread::sleep(Duration::from_millis(250));
        let dump = fs::read_to_string(&errors).unwrap();
        if wanted.iter().all(|line| dump.contains(line)) {
            return;
        }
        assert!(Instant::now() < deadline, "{dump}");
    }
}

#[test]
fn the_banner_names_the_cluster_to_discover() {
    let agent = Agent::start(&["-discover=a cluster of its own"]);
    let banner = agent.wait_for("mDNS cluster");
    assert!(banner.contains("\n                   mDNS cluster: a cluster of its own\n"), "{banner}");
    let (status, output) = Agent::spawn(&["-discover=x", "-mdns-iface=nosuch0"]).wait();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(
        output.starts_with("==> Invalid mDNS network interface: route ip+net: no such network interface"),
        "{output}"
    );
}

/// What a key ring file, a tags file and a snapshot have in common: the next start finds what the last one left.
#[test]
fn a_snapshot_finds_the_cluster_again() {
    let directory = Directory::new("snapshot");
    let snapshot = format!("-snapshot={}", directory.0.join("snap").display());
    let first = Agent::start(&["-node=first"]);
    let join = format!("-join={}", first.address("Bind addr"));
    let second = Agent::start(&["-node=second", &snapshot, &join]);
    assert!(second.said().contains("                       Snapshot: true\n"), "{}", second.said());
    first.wait_for("EventMemberJoin: second");
    second.signal("TERM");
    assert_eq!(second.wait().0.code(), Some(1));
    let again = Agent::start(&["-node=second", &snapshot]);
    again.wait_for("EventMemberJoin: first");
}
