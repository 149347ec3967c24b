//! Hangups: at an easy moment, under load, and while the agent still joins; and other signals before it is up.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thane_wire::rpc::Request;

use crate::harness::{Agent, Client, DEADLINE};

/// A directory with a configuration file that can be replaced.
struct Config {
    directory: PathBuf,
}

impl Config {
    fn new(name: &str, text: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("thane-reload-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let config = Self { directory };
        config.replace(text);
        config
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// Replaces the file at once, so that nobody reads half of it.
    fn replace(&self, text: &str) {
        fs::write(self.path("new"), text).unwrap();
        fs::rename(self.path("new"), self.path("c.json")).unwrap();
    }

    fn flag(&self) -> String {
        format!("-config-file={}", self.path("c.json"))
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        drop(fs::remove_dir_all(&self.directory));
    }
}

fn ok(seq: u64) -> Value {
    json!({"Error": "", "Seq": seq})
}

fn send_event(client: &mut Client, seq: u64, name: &str) {
    let event = Request::Event { name: name.to_owned(), payload: Vec::new().into(), coalesce: false };
    assert_eq!(client.ask(seq, &event, 1), [ok(seq)]);
}

fn reloads(output: &str) -> usize {
    output.matches("agent: configuration reloaded").count()
}

/// Waits until the configuration of this round holds, which its tag tells.
fn wait_for_round(client: &mut Client, seq: &mut u64, round: u64) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let stats = client.ask(*seq, &Request::Stats, 2);
        *seq += 1;
        if stats[1]["tags"] == json!({"round": round.to_string()}) {
            return;
        }
        assert!(Instant::now() < deadline, "round {round} is not read: {}", stats[1]);
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Each event goes to the handlers of its time, whichever those are, and to no others; the last configuration holds.
#[test]
fn hangups_under_load_lose_no_event_and_the_last_configuration_holds() {
    const ROUNDS: u64 = 20;
    const EVENTS_A_ROUND: u64 = 5;
    let config = Config::new("busy", "{}");
    let text = |round: u64| {
        let (ran, slow) = (config.path("ran"), config.path("slow"));
        format!(
            r#"{{"tags": {{"round": "{round}"}}, "log_level": "debug",
                "event_handlers": ["user:load=echo {round} >> {ran}", "user:slow=echo {round} >> {slow}; exec sleep 1000"]}}"#
        )
    };
    config.replace(&text(0));
    let agent = Agent::start(&["-node=alpha", &config.flag(), "-event-handler=user:end=true"]);
    let mut client = agent.client();
    // A script that never ends is no reason to wait.
    send_event(&mut client, 2, "slow");
    agent.wait_for("Received event: user-event: slow");
    let mut seq = 3;
    for round in 1..=ROUNDS {
        config.replace(&text(round));
        agent.signal("HUP");
        for _ in 0..EVENTS_A_ROUND {
            send_event(&mut client, seq, "load");
            seq += 1;
        }
        // Several pending signals are one; in every other round nothing is awaited. Of several reloads each may be the one that
        // counts, so what it brought is awaited, not how many there were.
        if round % 2 == 0 {
            wait_for_round(&mut client, &mut seq, round);
        }
    }
    let wanted = ROUNDS * EVENTS_A_ROUND;
    let deadline = Instant::now() + DEADLINE;
    let ran = || fs::read_to_string(config.path("ran")).unwrap_or_default();
    while ran().lines().count() < wanted as usize {
        assert!(Instant::now() < deadline, "{} of {wanted}:\n{}", ran().lines().count(), agent.said());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(ran().lines().count() as u64, wanted, "no event was handled twice");
    let rounds: Vec<u64> = ran().lines().map(|line| line.parse().unwrap()).collect();
    assert!(rounds.iter().all(|round| *round <= ROUNDS));
    wait_for_round(&mut client, &mut seq, ROUNDS);
    // The last handlers are those that run now.
    send_event(&mut client, seq, "load");
    agent.wait_until("the last event", |_output| ran().lines().count() as u64 > wanted);
    assert_eq!(ran().lines().last(), Some(ROUNDS.to_string().as_str()));
    // Nobody is left behind: the slow script goes with the test.
    let scripts = std::process::Command::new("pgrep").arg("-P").arg(agent.id().to_string()).output();
    for script in String::from_utf8(scripts.unwrap().stdout).unwrap().lines() {
        // It may have ended.
        _ = std::process::Command::new("kill").arg(script).status();
    }
}

#[test]
fn a_hangup_changes_what_an_interrupt_does() {
    let config = Config::new("interrupt", "{}");
    let agent = Agent::start(&[&config.flag()]);
    config.replace(r#"{"skip_leave_on_interrupt": true}"#);
    agent.signal("HUP");
    agent.wait_until("the reload", |output| reloads(output) == 1);
    agent.signal("INT");
    let (status, output) = agent.wait();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(!output.contains("requesting graceful leave"), "{output}");
}

#[test]
fn what_a_hangup_cannot_change_stays_and_is_named() {
    let config = Config::new("later", r#"{"rpc_auth": "old", "start_join": [], "retry_join": []}"#);
    let agent = Agent::start(&[&config.flag()]);
    config.replace(
        r#"{"rpc_auth": "new", "bind": "127.0.0.9", "advertise_networks": ["lan"], "leave_on_terminate": true,
            "retry_join": ["127.0.0.1:1"]}"#,
    );
    agent.signal("HUP");
    let output = agent.wait_for("[INFO] agent: configuration reloaded; to change ");
    let line = output.lines().find(|line| line.contains("configuration reloaded")).unwrap();
    for key in ["rpc_auth", "advertise_networks", "retry_join"] {
        assert!(line.contains(key), "{key} is not named: {line}");
    }
    assert!(!line.contains("leave_on_terminate"), "{line}");
    let mut client = agent.client();
    for (seq, key, expected) in [(2, "new", "Invalid authentication token"), (3, "old", "")] {
        let answer = client.ask(seq, &Request::Auth { key: key.to_owned() }, 1);
        assert_eq!(answer, [json!({"Error": expected, "Seq": seq})]);
    }
    assert!(!agent.said().contains("joining: [127.0.0.1:1]"), "nobody is joined anew");
}

/// Serf dies of them. Whoever is joined here takes the connection and says nothing.
#[test]
fn signals_during_the_first_join_do_what_they_do_later() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let join = format!("-join={}", silent.local_addr().unwrap());
    let config = Config::new("joining", "{}");
    let start = || {
        let agent = Agent::spawn(&["-profile=wan", &join, &config.flag()]);
        let (connection, _from) = silent.accept().unwrap();
        (agent, connection)
    };
    let (agent, _connection) = start();
    // Clients are answered meanwhile, as by Serf: of one member.
    let members = agent.client().ask(2, &Request::Members, 2);
    assert_eq!(members[1]["Members"].as_array().unwrap().len(), 1);
    config.replace(r#"{"leave_on_terminate": true}"#);
    agent.signal("HUP");
    agent.wait_for("==> Caught signal: hangup\n==> Reloading configuration...\n");
    agent.signal("TERM");
    let (status, output) = agent.wait();
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(output.contains("[INFO] agent: configuration reloaded"), "{output}");
    assert!(output.contains("requesting graceful leave from Serf"), "{output}");
    assert!(!output.contains("Join completed"), "{output}");

    let (agent, _connection) = start();
    agent.signal("INT");
    let (status, output) = agent.wait();
    assert_eq!(status.code(), Some(0), "{output}");

    config.replace("{}");
    let (agent, _connection) = start();
    agent.signal("TERM");
    let (status, output) = agent.wait();
    assert_eq!(status.code(), Some(1), "{output}");
}
