//! The command line against a cluster of three agents, call by call as it was recorded from Serf.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{
    Answer, Golden, Reaped, check_stderr, check_stream, goldens, program, rows, short_ports, stable_info,
    state_goldens, tell_compat, thane, told, wait_for,
};

/// Name, recorded ports of gossip and RPC, and flags of each agent in the recording.
const AGENTS: [(&str, [u16; 2], &[&str]); 3] = [
    (
        "alpha",
        [7946, 7373],
        &[
            "-tag=role=web",
            "-tag=dc=east",
            "-event-handler=query:load=echo 0.42",
            "-event-handler=query:multi=printf 'a\\nb\\n\\n'",
            "-event-handler=query:fail=echo oops; exit 3",
            "-event-handler=query:empty=true",
            "-event-handler=member-join,user:deploy=cat >/dev/null",
        ],
    ),
    ("beta", [7947, 7374], &["-tag=role=db", "-event-handler=query:load=echo 1.5"]),
    ("gamma-with-a-long-name", [7948, 7375], &[]),
];

/// The agents, on ports of their own in place of the recorded ones.
struct Cluster {
    processes: Vec<Reaped>,
    /// The port that stands for each recorded one.
    ports: BTreeMap<u16, u16>,
    /// What alpha has printed.
    alpha_said: Arc<Mutex<String>>,
}

impl Cluster {
    fn start() -> Self {
        let recorded: Vec<u16> = AGENTS.iter().flat_map(|(_, ports, _)| *ports).collect();
        let ports: BTreeMap<u16, u16> = recorded.iter().copied().zip(short_ports(recorded.len())).collect();
        let processes = AGENTS.iter().map(|(name, [gossip, rpc], flags)| {
            let child = program()
                .args(["agent", &format!("-node={name}")])
                .arg(format!("-bind=127.0.0.1:{}", ports[gossip]))
                .arg(format!("-rpc-addr=127.0.0.1:{}", ports[rpc]))
                .args((*gossip != 7946).then(|| format!("-retry-join=127.0.0.1:{}", ports[&7946])))
                .arg("-retry-interval=1s")
                .args(*flags)
                .stdout(if *name == "alpha" { Stdio::piped() } else { Stdio::null() })
                .spawn();
            Reaped(child.unwrap())
        });
        let mut processes: Vec<Reaped> = processes.collect();
        let alpha_said = Arc::new(Mutex::new(String::new()));
        let (stdout, said) = (processes[0].0.stdout.take().unwrap(), Arc::clone(&alpha_said));
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                *said.lock().unwrap() += &(line + "\n");
            }
        });
        let cluster = Self { processes, ports, alpha_said };
        for (name, [_, rpc], _) in AGENTS {
            cluster.wait_for_members(rpc, &format!("{name} to see three members"), |members| {
                members.lines().filter(|line| line.contains("  alive")).count() == 3
            });
        }
        cluster
    }

    /// `text` with this cluster's ports for the recorded ones.
    fn here(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // By way of names that no port has, because a port of ours may be one of the recorded ones.
        for recorded in self.ports.keys() {
            text = text.replace(&format!("127.0.0.1:{recorded}"), &format!("127.0.0.1:<{recorded}>"));
            text = text.replace(&format!("\"port\": {recorded}"), &format!("\"port\": <{recorded}>"));
        }
        for (recorded, ours) in &self.ports {
            text = text.replace(&format!("<{recorded}>"), &ours.to_string());
        }
        text
    }

    fn ask(&self, golden: &Golden) -> Answer {
        let address = golden.env.get("SERF_RPC_ADDR").map_or("127.0.0.1:7373", String::as_str);
        let env = BTreeMap::from([("SERF_RPC_ADDR".to_owned(), self.here(address))]);
        // On a busy machine answers take longer than Serf's did.
        let patient = |argument: &String| argument.replace("-timeout=1s", "-timeout=3s");
        let arguments: Vec<String> =
            golden.argv[1..].iter().map(|argument| self.here(&patient(argument))).collect();
        thane(&arguments, &env)
    }

    fn alpha(&self, arguments: &[&str]) -> Answer {
        let env = BTreeMap::from([("SERF_RPC_ADDR".to_owned(), self.here("127.0.0.1:7373"))]);
        thane(arguments, &env)
    }

    /// Sends a signal to the agent of this index by name: `STOP`, `CONT`.
    fn signal(&self, agent: usize, name: &str) {
        let id = self.processes[agent].0.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    fn wait_for_members(&self, rpc: u16, what: &str, is_good: impl Fn(&str) -> bool) {
        let env = BTreeMap::from([("SERF_RPC_ADDR".to_owned(), self.here(&format!("127.0.0.1:{rpc}")))]);
        wait_for(what, || {
            let answer = thane(&["members"], &env);
            if is_good(&answer.stdout) { Ok(()) } else { Err(answer.stdout) }
        });
    }
}

fn sorted_members(json: &str) -> Value {
    let mut value: Value = serde_json::from_str(json).unwrap();
    if let Some(members) = value["members"].as_array_mut() {
        members.sort_by_key(|member| member["name"].to_string());
    }
    value
}

/// How often members are asked again if not all have answered as recorded.
const ASKED_AGAIN_MAX: usize = 4;

/// Whether a recorded call asks all members something.
fn is_for_all(name: &str) -> bool {
    ["query", "reachability", "keys"].iter().any(|command| name.starts_with(command))
}

fn check(cluster: &Cluster, golden: &Golden) {
    let name = &golden.name;
    let recorded = cluster.here(&golden.stdout);
    let mut answer = cluster.ask(golden);
    if is_for_all(name) {
        // A busy member may not answer in time, and is asked again.
        for _ in 0..ASKED_AGAIN_MAX {
            if answer.exit_code == Some(golden.exit_code) && told(&answer.stdout) == told(&recorded) {
                break;
            }
            answer = cluster.ask(golden);
        }
    }
    let found = &answer.stdout;
    assert_eq!(answer.exit_code, Some(golden.exit_code), "exit code of {name}: {answer:?}");
    if name.contains("json") && name.starts_with("members") {
        assert_eq!(sorted_members(found), sorted_members(&recorded), "{name}");
        // Indentation and the order of keys: the same lines, whatever the order of members.
        let lines = |text: &str| {
            let mut lines: Vec<String> =
                text.lines().map(|line| line.trim_end_matches(',').to_owned()).collect();
            lines.sort_unstable();
            lines
        };
        assert_eq!(lines(found), lines(&recorded), "{name}");
    } else if name == "info_json" {
        let [found, recorded] = [found, &recorded].map(|text| serde_json::from_str::<Value>(text).unwrap());
        for section in ["agent", "event_handlers", "tags"] {
            assert_eq!(found[section], recorded[section], "{name}");
        }
        assert!(answer.stdout.contains("\\u003e/dev/null"), "{name}: {answer:?}");
    } else if name.starts_with("info") && golden.exit_code == 0 {
        assert_eq!(stable_info(found), stable_info(&recorded), "{name}");
    } else if name.starts_with("members") && golden.exit_code == 0 {
        assert_eq!(rows(found), rows(&recorded), "{name}");
    } else if golden.exit_code == 0 && name.starts_with("rtt") {
        let words = |text: &str| text.split_once(" rtt: ").map(|(before, _)| before.to_owned());
        assert_eq!(words(found), words(&recorded), "{name}");
        assert!(found.ends_with(" ms\n"), "{name}: {found}");
    } else if is_for_all(name) {
        assert_eq!(told(found), told(&recorded), "{name}");
    } else {
        check_stream(name, found, &recorded);
    }
    check_stderr(&answer, golden);
}

/// Follows alpha until an event has come through, then interrupts the monitor as a person would.
fn monitor_ends_well_when_interrupted(cluster: &Cluster) {
    let address = cluster.here("127.0.0.1:7373");
    let mut command = program();
    command.args(["monitor", "-log-level=debug"]).env("SERF_RPC_ADDR", address).stdout(Stdio::piped());
    let mut monitor = Reaped(command.spawn().unwrap());
    let mut lines = BufReader::new(monitor.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(
        lines.any(|line| line.ends_with("[INFO] serf: EventMemberJoin: beta 127.0.0.1")),
        "the log so far"
    );
    assert_eq!(cluster.alpha(&["event", "-coalesce=false", "seen", "hi"]).exit_code, Some(0));
    assert!(lines.any(|line| line == "\tName: \"seen\""), "the event");
    assert_eq!(lines.next().as_deref(), Some("\tPayload: []byte{0x68, 0x69}"));
    assert!(Command::new("kill").args(["-INT", &monitor.0.id().to_string()]).status().unwrap().success());
    assert!(!lines.any(|line| line.starts_with("Remote side")), "an interrupt is no failure");
    assert_eq!(monitor.exit_code(), Some(0));
}

/// A query and a reachability test that are interrupted end as recorded: exit code 1, no totals.
fn interrupted_queries_fail(cluster: &Cluster, states: &BTreeMap<String, Golden>) {
    for (arguments, seen, end) in [
        (&["query", "-timeout=1h", "-until-timeout", "fail"][..], "Ack from 'beta'", None),
        (&["reachability"], "Starting reachability test...", Some("Test interrupted")),
    ] {
        if arguments[0] == "reachability" {
            assert!(
                states["reachability_sigint"]
                    .stdout
                    .ends_with("Starting reachability test...\nTest interrupted\n")
            );
            // Somebody who does not answer keeps it waiting.
            cluster.signal(1, "STOP");
        }
        let end: Vec<String> = end.into_iter().map(String::from).collect();
        // A reachability test takes three seconds, and may be over on a busy machine before it is interrupted.
        wait_for("an interrupt in time", || {
            let address = cluster.here("127.0.0.1:7373");
            let mut command = program();
            command.args(arguments).env("SERF_RPC_ADDR", address).stdout(Stdio::piped());
            let mut child = Reaped(command.spawn().unwrap());
            let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
            assert!(lines.any(|line| line == seen), "{arguments:?}");
            let id = child.0.id().to_string();
            assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
            let rest: Vec<String> = lines.filter(|line| !line.starts_with("Ack from")).collect();
            assert_eq!(child.exit_code(), Some(1), "{arguments:?}");
            if rest == end { Ok(()) } else { Err(format!("{arguments:?}: {rest:?}")) }
        });
        cluster.signal(1, "CONT");
    }
    cluster.wait_for_members(7373, "beta to be alive again", |members| {
        members.lines().any(|line| line.starts_with("beta ") && line.contains("  alive  "))
    });
}

/// SF-398 and SF-509: a query ends when those who can answer have, or when there are enough answers.
fn a_query_ends_with_enough_answers(cluster: &Cluster) {
    let total = |answer: &Answer| answer.stdout.lines().last().map(str::to_owned);
    for (flags, exit_code, responses) in [
        (&["-node=alpha", "-node=beta"][..], 0, "Total Responses: 2"),
        (&["-first=1"], 0, "Total Responses: 1"),
        (&["-quorum=2"], 0, "Total Responses: 2"),
    ] {
        let start = Instant::now();
        let answer = cluster.alpha(&[&["query", "-timeout=1h"], flags, &["load"]].concat());
        assert_eq!(
            (answer.exit_code, total(&answer).as_deref()),
            (Some(exit_code), Some(responses)),
            "{answer:?}"
        );
        assert!(start.elapsed() < Duration::from_secs(60), "{flags:?}");
    }
    wait_for("two of three answers", || {
        let answer = cluster.alpha(&["query", "-timeout=3s", "-quorum=3", "load"]);
        assert_eq!(answer.exit_code, Some(1), "{answer:?}");
        let are_two = total(&answer).as_deref() == Some("Total Responses: 2")
            && answer.stderr == "Quorum not reached: 2 of 3 members answered.\n";
        if are_two { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    let answer = cluster.alpha(&["query", "-timeout=1h", "-format=json", "-first=1", "-node=alpha", "multi"]);
    assert_eq!(serde_json::from_str::<Value>(&answer.stdout).unwrap()["Responses"]["alpha"], "a\nb\n\n");
    wait_for("all to be reached", || {
        let answer = cluster.alpha(&["reachability", "-format=json"]);
        let document: Value = serde_json::from_str(&answer.stdout).unwrap();
        assert_eq!(document["live"], 3, "{answer:?}");
        let are_all = document["acks"].as_array().map(Vec::len) == Some(3);
        if are_all { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    let answer = cluster.alpha(&["rtt", "-format=json", "beta"]);
    let document: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert!(document["to"] == "alpha" && document["rtt_ms"].is_number(), "{answer:?}");
}

/// What was recorded while somebody interrupted, or tags were odd.
fn odd_calls_end_as_recorded(cluster: &Cluster, states: &BTreeMap<String, Golden>) {
    // Differ from Serf: the warning goes to standard error, the agent answers, and a bar in a tag is just a character.
    let golden = &states["members_role_json"];
    let answer = cluster.ask(golden);
    let recorded = cluster.here(&golden.stdout);
    let (warning, document) = recorded.split_once('\n').unwrap();
    assert_eq!((answer.exit_code, answer.stdout.as_str()), (Some(0), document));
    assert_eq!(answer.stderr.trim_end(), warning);
    let answer = cluster.ask(&states["members_badregex"]);
    assert_eq!(answer.exit_code, Some(1));
    assert!(answer.stdout.starts_with("Error retrieving members: Failed to compile regex: "), "{answer:?}");
    let odd = ["tags", "-set", "p=x|y", "-set", "q= sp ", "-set", "a=2", "-set", "e="];
    assert_eq!(cluster.alpha(&odd).exit_code, Some(0));
    let golden = &states["members_pipe_in_tag"];
    let (found, recorded) = (cluster.ask(golden).stdout, cluster.here(&golden.stdout));
    assert_eq!(rows(&found), rows(&recorded.replace("x  y", "x|y")));
    assert_eq!(
        cluster.alpha(&["tags", "-delete=p", "-delete=q", "-delete=a", "-delete=e"]).exit_code,
        Some(0)
    );

    let golden = &states["join_unresolvable"];
    let answer = cluster.ask(golden);
    // The rest is how this machine's resolver says it.
    let (stable, _) = golden.stdout.split_once(": lookup").unwrap();
    assert_eq!((answer.exit_code, answer.stdout.starts_with(stable)), (Some(1), true), "{answer:?}");

    let golden = &states["monitor_lower"];
    let address = cluster.here("127.0.0.1:7373");
    let mut command = program();
    command.args(&golden.argv[1..]).env("SERF_RPC_ADDR", address).stdout(Stdio::piped());
    let mut monitor = Reaped(command.spawn().unwrap());
    let mut lines = BufReader::new(monitor.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("[ERR] agent: Error invoking script")));
    assert!(Command::new("kill").args(["-INT", &monitor.0.id().to_string()]).status().unwrap().success());
    let is_expected = |line: &String| line.contains(" [ERR] ") || line.starts_with(['\t', 'E']);
    assert_eq!(lines.find(|line| !is_expected(line)), None);
    assert_eq!(monitor.exit_code(), Some(golden.exit_code));
}

/// Two of three members die, are forced to leave and are pruned; then the last one leaves.
fn a_cluster_that_dies_is_told_as_recorded(cluster: &mut Cluster, states: &BTreeMap<String, Golden>) {
    // First they only stop: that takes the last one a dozen seconds to be sure of, and so they are still called alive.
    for member in [1, 2] {
        cluster.signal(member, "STOP");
    }
    check(cluster, &states["reachability_fewer"]);
    for process in &mut cluster.processes[1..] {
        process.0.kill().unwrap();
    }
    cluster.wait_for_members(7373, "both to be failed", |members| members.matches("  failed").count() == 2);
    for name in ["members_failed", "members_failed_filter", "reachability_failed"] {
        check(cluster, &states[name]);
    }
    let golden = &states["info_failed"];
    let steady = |text: &str| {
        let mut lines = stable_info(text);
        // How badly it feels depends on what it tried.
        lines.iter_mut().filter(|line| line.contains("health_score")).for_each(|line| line.truncate(13));
        lines
    };
    assert_eq!(steady(&cluster.ask(golden).stdout), steady(&golden.stdout), "info_failed");
    check(cluster, &states["force_leave_ok"]);
    cluster.wait_for_members(7373, "beta to have left", |members| members.contains("  left    role=db"));
    for name in ["members_left", "force_leave_prune", "force_leave_prune_left"] {
        check(cluster, &states[name]);
    }
    cluster.wait_for_members(7373, "both to be forgotten", |members| members.lines().count() == 1);
    for name in ["members_pruned", "leave"] {
        check(cluster, &states[name]);
    }
    let golden = &states["leave_agent_exit"];
    assert_eq!(cluster.processes[0].exit_code(), Some(golden.exit_code));
    wait_for("the agent's last lines", || {
        let said = cluster.alpha_said.lock().unwrap().clone();
        let mut rest = said.as_str();
        for line in golden.stdout.lines() {
            let Some((_, after)) = rest.split_once(line) else { return Err(format!("{line} in {said}")) };
            rest = after;
        }
        Ok(())
    });
}

#[test]
fn a_cluster_answers_as_recorded() {
    let mut cluster = Cluster::start();
    let live = goldens(include_str!("goldens/cli_live.json"));
    for golden in &live {
        check(&cluster, golden);
    }
    let states = state_goldens();
    monitor_ends_well_when_interrupted(&cluster);
    interrupted_queries_fail(&cluster, &states);
    a_query_ends_with_enough_answers(&cluster);
    odd_calls_end_as_recorded(&cluster, &states);
    a_cluster_that_dies_is_told_as_recorded(&mut cluster, &states);
    tell_compat("with a cluster", live.len(), 0);
    // Listed: the warning of -role, a bad expression, a bar in a tag, a query that is over before anybody can interrupt it.
    tell_compat("while members fail and leave", 16, 4);
}
