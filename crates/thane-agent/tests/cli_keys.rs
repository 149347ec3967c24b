//! The key commands against an encrypted cluster of two agents, call by call as recorded from Serf.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Answer, Reaped, check_stderr, goldens, program, short_ports, thane, told, wait_for};

/// The keys of the recording: alpha has both from the start, beta the first.
const KEYS: [&str; 2] =
    ["ZWTL+bgjHyQPhJRKcFe3ccirc2SFHmc/Nw67l8NQfdk=", "WbL6oaTPom+7RG7Q/INbJWKy09OLar/Hf2SuOAdoQE4="];

struct Pair {
    beta: Reaped,
    _alpha: Reaped,
    env: BTreeMap<String, String>,
}

impl Pair {
    fn start() -> Self {
        let ports = short_ports(4);
        let agent = |name: &str, key: &str, gossip: usize, rpc: usize, joins: Option<usize>| {
            let child = program()
                .args(["agent", "-profile=local", &format!("-node={name}"), &format!("-encrypt={key}")])
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
        let pair = Self { beta, _alpha: alpha, env };
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
    let goldens = goldens(include_str!("goldens/cli_keys.json"));
    for golden in &goldens {
        if golden.name == "keys_list_partial" {
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
    eprintln!("compat: command line: keys | cases={0} same={0} listed=0", goldens.len());
}
