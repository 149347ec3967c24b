//! An agent among those that mean it ill, and under an operating system that does.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thane_wire::rpc::Request;

use crate::harness::{Agent, Client, DEADLINE};

fn ok(seq: u64) -> Value {
    json!({"Error": "", "Seq": seq})
}

fn event(name: &str) -> Request {
    Request::Event { name: name.to_owned(), payload: None, coalesce: false }
}

/// Requests of all kinds with some of their bytes changed, the same in every run.
fn malformed(round: u64) -> Vec<u8> {
    let requests = [
        Request::Handshake { version: 1 },
        event("x"),
        Request::Join { existing: Some(vec!["127.0.0.1:1".to_owned()]), replay: false },
        Request::MembersFiltered { tags: None, status: "al.*".to_owned(), name: String::new() },
        Request::Stream { filter: "user".to_owned(), immediate: false },
        Request::Stop { stop: 9 },
    ];
    let mut bytes = Vec::new();
    for (seq, request) in (1..).zip(&requests) {
        request.encode(seq, &mut bytes);
    }
    // Numerical Recipes' generator; its high bits are the random ones.
    let mut state = round;
    for _change in 0..=round % 4 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (state >> 40) as usize % bytes.len();
        bytes[at] = (state >> 32) as u8;
    }
    bytes
}

#[test]
fn malformed_requests_do_not_disturb_those_who_listen() {
    const EVENTS: u64 = 200;
    let agent = Agent::start(&["-node=alpha"]);
    let mut listener = agent.client();
    assert_eq!(
        listener.ask(2, &Request::Stream { filter: "user:ours".to_owned(), immediate: false }, 1),
        [ok(2)]
    );
    assert_eq!(listener.ask(3, &Request::Monitor { log_level: "err".to_owned() }, 1), [ok(3)]);
    let address = agent.address("RPC addr");
    let attackers = thread::spawn(move || {
        let mut staying = Vec::new();
        for round in 0..400 {
            let mut client = Client::connect(&address);
            client.send(&malformed(round));
            // Every other one stays, as far as the agent lets it, and reads nothing.
            if round % 2 == 0 {
                staying.push(client);
            }
        }
        staying
    });
    let mut sender = agent.client();
    for seq in 2..2 + EVENTS {
        assert_eq!(sender.ask(seq, &event("ours"), 1), [ok(seq)]);
    }
    let (mut ltimes, mut errors) = (Vec::new(), 0);
    while ltimes.len() < EVENTS as usize {
        let header = listener.take(1).remove(0);
        let body = listener.take(1).remove(0);
        match header["Seq"].as_u64() {
            Some(2) => ltimes.push(body["LTime"].as_u64().unwrap()),
            Some(3) => errors += 1,
            _ => panic!("{header} {body}"),
        }
    }
    assert!(ltimes.is_sorted_by(|a, b| a < b), "events are lost or out of order: {ltimes:?}");
    let _staying = attackers.join().unwrap();
    agent.wait_for("[ERR] agent.ipc: Failed to evaluate request");
    assert_eq!(agent.client().ask(2, &Request::Members, 2)[0], ok(2), "after {errors} errors and more");
}

#[test]
fn an_agent_that_was_suspended_comes_back_and_accuses_nobody() {
    let seed = Agent::start(&["-node=ash"]);
    let join = format!("-join={}", seed.address("Bind addr"));
    let other = Agent::start(&["-node=birch", &join]);
    let held_up = Agent::start(&["-node=cedar", &join]);
    for agent in [&seed, &other, &held_up] {
        agent.wait_until("a cluster of three", |output| output.matches("EventMemberJoin: ").count() >= 3);
    }
    held_up.signal("STOP");
    for agent in [&seed, &other] {
        agent.wait_for("EventMemberFailed: cedar 127.0.0.1");
    }
    held_up.signal("CONT");
    for agent in [&seed, &other] {
        agent.wait_until("cedar's return", |output| output.matches("EventMemberJoin: cedar").count() >= 2);
    }
    held_up.wait_for("this node did not run for");
    // Whoever accuses does so at once: all its timers are overdue.
    let deadline = Instant::now() + Duration::from_secs(3);
    while Instant::now() < deadline {
        let members = held_up.client().ask(2, &Request::Members, 2).remove(1);
        let members = members["Members"].as_array().unwrap();
        assert!(members.iter().all(|member| member["Status"] == "alive"), "{members:?}");
        thread::sleep(Duration::from_millis(100));
    }
    for (agent, accused) in [(&seed, "birch"), (&other, "ash"), (&held_up, "ash"), (&held_up, "birch")] {
        let output = agent.said();
        assert!(!output.contains(&format!("EventMemberFailed: {accused}")), "{output}");
    }
}

#[test]
fn an_agent_goes_on_when_nobody_reads_its_output_any_longer() {
    let mut child = Killed(Agent::command(&["-node=alpha", "-log-level=debug"]).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let address = lines.find_map(|line| {
        let line = line.unwrap();
        line.contains("RPC addr: ").then(|| line.split('\'').nth(1).unwrap().to_owned())
    });
    drop(lines);
    let mut client = Client::connect(&address.unwrap());
    assert_eq!(client.ask(1, &Request::Handshake { version: 1 }, 1), [ok(1)]);
    for seq in 2..50 {
        assert_eq!(client.ask(seq, &event("said"), 1), [ok(seq)]);
    }
    assert_eq!(client.ask(50, &Request::Leave, 1), [ok(50)]);
    let deadline = Instant::now() + DEADLINE;
    let status = loop {
        if let Some(status) = child.0.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "the agent did not end");
        thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(status.code(), Some(0));
}

/// Whoever reads the log stops, and goes on later: lines are lost meanwhile, their number is told, and nothing else waits.
#[test]
fn a_reader_of_the_log_that_hangs_costs_lines_and_nothing_else() {
    let mut child = Killed(Agent::command(&["-node=alpha", "-log-level=debug"]).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let mut read_until = |wanted: &str| -> String {
        lines.by_ref().map(Result::unwrap).find(|line| line.contains(wanted)).unwrap()
    };
    let banner = read_until("RPC addr: ");
    read_until("Log data will now stream in");
    let mut client = Client::connect(banner.split('\'').nth(1).unwrap());
    assert_eq!(client.ask(1, &Request::Handshake { version: 1 }, 1), [ok(1)]);
    // The pipe takes 64 KiB and the queue 1,024 lines; these are far more.
    let payload = Some(vec![b'x'; 400]);
    for seq in 2..1_900 {
        let event = Request::Event { name: "said".to_owned(), payload: payload.clone(), coalesce: false };
        assert_eq!(client.ask(seq, &event, 1), [ok(seq)]);
    }
    let told = read_until("lines left out: standard output does not keep up");
    let count: u64 = told.trim().trim_start_matches('(').split(' ').next().unwrap().parse().unwrap();
    assert!(count > 100, "{told}");
    assert_eq!(client.ask(2_000, &event("after"), 1), [ok(2_000)]);
    read_until("Received event: user-event: after");
}

/// A process that ends with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[test]
fn a_script_that_never_ends_holds_up_neither_the_agent_nor_its_end() {
    let agent = Agent::start(&["-node=alpha", "-event-handler=exec sleep 1000"]);
    agent.wait_for("Script 'exec sleep 1000' slow");
    let mut client = agent.client();
    for seq in 2..1200 {
        assert_eq!(client.ask(seq, &event("load"), 1), [ok(seq)]);
    }
    agent.wait_for("Script 'exec sleep 1000' is too slow: 1024 events wait for it");
    let children = Command::new("pgrep").arg("-P").arg(agent.id().to_string()).stderr(Stdio::null()).output();
    agent.signal("INT");
    let (status, output) = agent.wait();
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(
        output.contains("[WARN] agent: Handlers are still running, and nobody waits for them any longer"),
        "{output}"
    );
    for script in String::from_utf8(children.unwrap().stdout).unwrap().lines() {
        // It would sleep on for a while after the test.
        _ = Command::new("kill").arg(script).status();
    }
}

/// Serf tries again in a tight loop, with a log line each.
#[test]
#[cfg(target_os = "linux")]
fn an_agent_without_free_descriptors_says_so_once_and_waits_before_it_accepts_again() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 40; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_thane"), "agent"]);
    command.args(["-node=alpha", "-profile=local", "-bind=127.0.0.1:0", "-rpc-addr=127.0.0.1:0"]);
    let agent = Agent::run(command);
    agent.wait_for("Log data will now stream in");
    let address = agent.address("RPC addr");
    let clients: Vec<_> = (0..60).map(|_| std::net::TcpStream::connect(&address).unwrap()).collect();
    let failed = "[ERR] agent.ipc: Failed to accept client: ";
    agent.wait_for(failed);
    // What a tight loop would cost in this time: all of it.
    let (before, window) = (cpu_ticks(agent.id()), Duration::from_secs(1));
    thread::sleep(window);
    let spent = cpu_ticks(agent.id()) - before;
    assert!(spent < 50, "{spent} of 100 ticks were spent on nothing");
    assert_eq!(agent.said().matches(failed).count(), 1, "{}", agent.said());
    drop(clients);
    // Once there are descriptors again, clients are answered.
    let mut client = Client::connect(&address);
    assert_eq!(client.ask(1, &Request::Handshake { version: 1 }, 1), [ok(1)]);
}

/// Processor time of a process, in hundredths of a second. (Linux: `/proc/PID/stat`, fields 14 and 15.)
#[cfg(target_os = "linux")]
fn cpu_ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_name, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}
