//! `thane explain` and `thane doctor` on a cluster with one member killed and one suspended.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Answer, Reaped, program, thane, wait_for};

const KEY: &str = "T9jncgl9mbLus+baTTa7q7nPSUrXwbDi2dhbtqir37s=";

struct Cluster {
    agents: Vec<Reaped>,
}

impl Cluster {
    /// Agents `n1`, `n2`, ... that know each other.
    fn start(size: usize) -> Self {
        let agents = (1..=size).map(|number| {
            let child = program()
                .args(["agent", "-profile=local", &format!("-node=n{number}"), &format!("-encrypt={KEY}")])
                .arg(format!("-bind={}:7946", address(number)))
                .arg(format!("-rpc-addr={}:7373", address(number)))
                .args((number > 1).then(|| format!("-retry-join={}:7946", address(1))))
                .arg("-retry-interval=1s")
                .stdout(Stdio::null())
                .spawn();
            Reaped(child.unwrap())
        });
        let cluster = Self { agents: agents.collect() };
        for number in 1..=size {
            wait_for("all members to be known", || {
                let members = ask(number, &["members", "-status=alive"]).stdout;
                if members.lines().count() == size { Ok(()) } else { Err(members) }
            });
        }
        cluster
    }

    fn signal(&self, number: usize, name: &str) {
        let id = self.agents[number - 1].0.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }
}

/// A loopback address that no other run of this test uses.
fn address(number: usize) -> String {
    let id = std::process::id();
    format!("127.{}.{}.{number}", 64 + id % 191, id / 191 % 256)
}

fn ask(number: usize, arguments: &[&str]) -> Answer {
    let env = BTreeMap::from([
        ("SERF_RPC_ADDR".to_owned(), format!("{}:7373", address(number))),
        ("COLUMNS".to_owned(), "100".to_owned()),
    ]);
    thane(arguments, &env)
}

fn explain(number: usize, name: &str) -> Value {
    let answer = ask(number, &["explain", "-format=json", name]);
    assert_eq!(answer.exit_code, Some(0), "{answer:?}");
    serde_json::from_str(&answer.stdout).unwrap()
}

fn kinds(of: &Value) -> Vec<&str> {
    of["evidence"].as_array().unwrap().iter().map(|record| record["kind"].as_str().unwrap()).collect()
}

fn wait_for_status(number: usize, name: &str, status: &str) {
    wait_for(&format!("{name} to be {status}"), || {
        let found = explain(number, name);
        if found["member"]["status"] == status { Ok(()) } else { Err(found.to_string()) }
    });
}

#[test]
fn a_killed_and_a_suspended_member_are_explained_and_found() {
    let mut cluster = Cluster::start(4);
    wait_for("the agent to be found well", || {
        let well = ask(1, &["doctor"]);
        if well.exit_code == Some(0) { Ok(()) } else { Err(format!("{well:?}")) }
    });
    let joined = explain(1, "n2");
    assert_eq!(kinds(&joined).first(), Some(&"joined"));
    assert!(joined["evidence"][0]["text"].as_str().unwrap().contains("a state exchange with "), "{joined}");

    cluster.agents[1].0.kill().unwrap();
    cluster.signal(3, "STOP");
    wait_for_status(1, "n2", "failed");
    wait_for_status(1, "n3", "failed");

    // Whoever found it out knows what its probe tried, and one of the two did.
    let killed = [explain(1, "n2"), explain(4, "n2")];
    let probes = killed.iter().flat_map(|why| why["evidence"].as_array().unwrap());
    let refused = probes.filter(|record| record["kind"] == "probe-failed");
    assert!(refused.filter(|record| record["probe"]["tcp"] == "refused").count() > 0, "{killed:?}");
    let suspended = [explain(1, "n3"), explain(4, "n3")];
    let probes = suspended.iter().flat_map(|why| why["evidence"].as_array().unwrap());
    let silent = probes.filter(|record| record["kind"] == "probe-failed");
    assert!(silent.filter(|record| record["probe"]["tcp"] == "no-answer").count() > 0, "{suspended:?}");
    let text = ask(1, &["explain", "n2"]).stdout;
    let first = format!("n2 ({}:7946) is failed since ", address(2));
    assert!(text.starts_with(&first) && text.contains("What to look at:\n- "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");

    let peer = format!("-peer-rpc={}:7373", address(4));
    wait_for("both agents to see the same", || {
        let answer = ask(1, &["doctor", "-format=json", &peer]);
        // The other agent may not answer at once.
        let Ok(report) = serde_json::from_str::<Value>(&answer.stdout) else {
            return Err(format!("{answer:?}"));
        };
        let found = |kind: &str| -> Vec<String> {
            let findings = report["findings"].as_array().unwrap().iter();
            let of_kind = findings.filter(|finding| finding["kind"] == kind);
            of_kind.map(|finding| finding["subject"].to_string()).collect()
        };
        let failed = found("member-failed");
        let are_told = failed.len() == 2 && failed[0].contains("n2") && failed[1].contains("n3");
        let are_asked = report["views"] == serde_json::json!(["n1", "n4"]);
        let is_unwell = answer.exit_code == Some(1) && report["healthy"] == false;
        let are_same = found("views-differ").is_empty();
        if are_told && are_asked && is_unwell && are_same { Ok(()) } else { Err(report.to_string()) }
    });
    let nobody = ask(1, &["doctor", "-peer-rpc=127.0.0.1:1"]);
    assert!(
        nobody.exit_code == Some(1) && nobody.stdout.contains("127.0.0.1:1: Error connecting"),
        "{nobody:?}"
    );

    cluster.signal(3, "CONT");
    wait_for_status(1, "n3", "alive");
    assert!(kinds(&explain(1, "n3")).contains(&"came-back"), "{}", explain(1, "n3"));
    // It knows who accused it, and that it did not run.
    wait_for("n3 to have refuted", || {
        let own = explain(3, "n3");
        if kinds(&own).contains(&"refuted") { Ok(()) } else { Err(own.to_string()) }
    });
    let own = ask(3, &["doctor"]);
    assert!(own.stdout.contains("this agent did not run for longer"), "{own:?}");

    assert_eq!(ask(1, &["force-leave", "n2"]).exit_code, Some(0));
    wait_for_status(1, "n2", "left");
    let text = ask(1, &["explain", "n2"]).stdout;
    assert!(text.contains("somebody force-left it") || text.contains("Somebody decided"), "{text}");
}

#[test]
fn a_name_that_nobody_has_is_an_error_with_the_nearest_one() {
    let address = format!("{}:7373", address(9));
    let child = program()
        .args(["agent", "-profile=local", "-node=web-1", "-bind=127.0.0.1:0"])
        .arg(format!("-rpc-addr={address}"))
        .stdout(Stdio::null())
        .spawn();
    let _agent = Reaped(child.unwrap());
    let answer = wait_for("the agent to answer", || {
        let answer = ask(9, &["explain", "wbe-1"]);
        if answer.stdout.contains("connecting") { Err(answer.stdout) } else { Ok(answer) }
    });
    let expected = "Error explaining 'wbe-1': no member is named \"wbe-1\"; did you mean \"web-1\"?\n";
    assert_eq!((answer.exit_code, answer.stdout.as_str()), (Some(1), expected));
    assert_eq!(answer.stderr, "'thane members' lists the names.\n");
    let usage = ask(9, &["explain"]);
    assert!(usage.exit_code == Some(1) && usage.stdout.starts_with("The name of one member must be given."));
}
