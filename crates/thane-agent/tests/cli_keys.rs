//! The key commands against an encrypted cluster of two agents, call by call as recorded from Serf.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use support::{
    Answer, Golden, Reaped, check_stderr, goldens, program, short_ports, stable_info, state_goldens,
    tell_compat, thane, told, wait_for,
};

/// The keys of the recording: alpha has both from the start, beta the first.
const KEYS: [&str; 2] =
    ["ZWTL+bgjHyQPhJRKcFe3ccirc2SFHmc/Nw67l8NQfdk=", "WbL6oaTPom+7RG7Q/INbJWKy09OLar/Hf2SuOAdoQE4="];

struct Pair {
    beta: Reaped,
    alpha: Reaped,
    env: BTreeMap<String, String>,
}

impl Pair {
    fn start() -> Self {
        let ports = short_ports(4);
        let agent = |name: &str, key: &str, gossip: usize, rpc: usize, joins: Option<usize>| {
            let child = program()
                // With the slowest profile all have eight seconds to answer.
                .args(["agent", "-profile=wan", &format!("-node={name}"), &format!("-encrypt={key}")])
                .arg(format!("-bind=127.0.0.1:{}", ports[gossip]))
                .arg(format!("-rpc-addr=127.0.0.1:{}", ports[rpc]))
                .args(joins.map(|seed| format!("-retry-join=127.0.0.1:{}", ports[seed])))
                .stdout(Stdio::null())
                .spawn();
            Reaped(child.unwrap())
        };
        let env = BTreeMap::from([("SERF_RPC_ADDR".to_owned(), format!("127.0.0.1:{}", ports[1]))]);
        let alpha = agent("alpha", KEYS[1], 0, 1, None);
        // The order matters: what alpha asks while it is alone, beta may hear when it has joined.
        for flag in ["-install", "-use"] {
            wait_for("alpha to have both keys", || {
                let answer = thane(&["keys", flag, KEYS[0]], &env);
                if answer.exit_code == Some(0) { Ok(()) } else { Err(answer.stdout) }
            });
        }
        let beta = agent("beta", KEYS[0], 2, 3, Some(0));
        let pair = Self { beta, alpha, env };
        wait_for("two members", || {
            let answer = pair.ask(&["members", "-status=alive"]);
            if answer.stdout.lines().count() == 2 { Ok(()) } else { Err(answer.stdout) }
        });
        pair
    }

    fn ask(&self, arguments: &[&str]) -> Answer {
        thane(arguments, &self.env)
    }
}

/// In lower case: Serf 0.10.2 and Thane begin some of the members' messages so.
fn small(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().map(|line| line.to_lowercase()).collect()
}

#[test]
fn keys_are_managed_as_recorded() {
    let pair = Pair::start();
    // Papercut 25 of Serf: it would use the key on alpha alone, and beta could no longer talk to it.
    let answer = pair.ask(&["keys", "-use", KEYS[1]]);
    assert_eq!(answer.exit_code, Some(1), "{answer:?}");
    assert_eq!(
        answer.stdout,
        "==> Changing primary key on all members...\nfailed:  beta  requested key is not in the keyring\n\n\
         Error changing primary key: 1/2 nodes reported failure\n"
    );
    let states = state_goldens();
    let recorded = goldens(include_str!("goldens/cli_keys.json"));
    for golden in &recorded {
        if golden.name == "keys_list_partial" {
            let info = pair.ask(&["info"]);
            assert_eq!(stable_info(&info.stdout), stable_info(&states["info_encrypted"].stdout));
            let beta = pair.beta.0.id().to_string();
            assert!(Command::new("kill").args(["-STOP", &beta]).status().unwrap().success());
        }
        let answer = thane(&golden.argv[1..], &pair.env);
        assert_eq!(answer.exit_code, Some(golden.exit_code), "{}: {answer:?}", golden.name);
        assert_eq!(small(told(&answer.stdout)), small(told(&golden.stdout)), "{}", golden.name);
        check_stderr(&answer, golden);
        if golden.name == "keys_list3" {
            let document: Value =
                serde_json::from_str(&pair.ask(&["keys", "-list", "-format=json"]).stdout).unwrap();
            assert_eq!(
                (&document["keys"][KEYS[1]], &document["nodes"]),
                (&1.into(), &2.into()),
                "{document}"
            );
        }
    }
    a_monitor_tells_what_happens_as_recorded(pair, &states["monitor_events_then_agent_killed"]);
    tell_compat("keys", recorded.len() + 2, 0);
}

/// The blocks of events, without what differs from run to run.
fn events(text: &str) -> Vec<String> {
    let steady = |line: &str| match line.split_once("LTime: ") {
        Some((before, _)) => before.to_owned(),
        None => match (line.split_once("\"Port\":"), line.split_once(", \"ProtocolCur\"")) {
            (Some((before, _)), Some((_, after))) => format!("{before}{after}"),
            _ => line.to_owned(),
        },
    };
    let mut events: Vec<String> = Vec::new();
    for line in text.lines() {
        match line {
            "Event Info:" => events.push(String::new()),
            line if line.starts_with('\t') => *events.last_mut().unwrap() += &(steady(line) + "\n"),
            _ => {}
        }
    }
    events
}

fn a_monitor_tells_what_happens_as_recorded(mut pair: Pair, golden: &Golden) {
    let beta = pair.beta.0.id().to_string();
    assert!(Command::new("kill").args(["-CONT", &beta]).status().unwrap().success());
    wait_for("beta to be back", || {
        let answer = pair.ask(&["members", "-status=alive"]);
        if answer.stdout.lines().count() == 2 { Ok(()) } else { Err(answer.stdout) }
    });
    let mut command = program();
    command.args(&golden.argv[1..]).envs(&pair.env).stdout(Stdio::piped());
    let mut monitor = Reaped(command.spawn().unwrap());
    let stdout = monitor.0.stdout.take().unwrap();
    let (line, lines) = mpsc::channel();
    thread::spawn(move || {
        BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|it| line.send(it))
    });
    let mut text = String::new();
    for (call, told) in [
        (&["event", "-coalesce=false", "deploy", "hi"][..], "\tPayload: []byte{0x68, 0x69}"),
        (&["query", "q1"], "\tName: \"q1\""),
        (&["tags", "-set", "k=v"], "\tEvent: \"member-update\""),
    ] {
        // Again if need be: the monitor may not have begun to listen.
        wait_for(told, || {
            assert_eq!(pair.ask(call).exit_code, Some(0), "{call:?}");
            while let Ok(line) = lines.recv_timeout(Duration::from_secs(2)) {
                text.extend([line.as_str(), "\n"]);
                if line == told {
                    return Ok(());
                }
            }
            Err(text.clone())
        });
    }
    pair.alpha.0.kill().unwrap();
    // The monitor ends with the agent, and its lines with it.
    for line in lines {
        text.extend([line.as_str(), "\n"]);
    }
    let mut found = events(&text);
    for event in events(&golden.stdout) {
        let at = found.iter().position(|one| *one == event);
        assert!(at.is_some(), "{event} in {text}");
        found.drain(..=at.unwrap());
    }
    let end = golden.stdout.rsplit_once("\n\n").unwrap().1;
    assert!(text.ends_with(&format!("\n\n{end}")), "{text}");
    assert_eq!(monitor.exit_code(), Some(golden.exit_code));
}
