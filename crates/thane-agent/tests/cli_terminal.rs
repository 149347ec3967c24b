//! What people see: the commands on a terminal.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::sync::{Arc, Condvar, Mutex};

use support::fake_agent::{Reply, agent, ask, member, with_members};
use support::program;
use support::terminal::OnTerminal;
use thane_wire::rpc::{KeyReply, Member, QueryRecord, QueryRecordKind, Record, Request, ResponseBody};

/// Runs a command on a terminal to its end.
fn shown(
    address: &str,
    columns: u16,
    variables: &[(&str, &str)],
    arguments: &[&str],
) -> (Option<i32>, String) {
    let mut command = program();
    command.env_remove("NO_COLOR").env_remove("COLUMNS").env("TERM", "xterm");
    command.env("SERF_RPC_ADDR", address).envs(variables.iter().copied()).args(arguments);
    OnTerminal::start(&mut command, columns).finish()
}

fn tagged_members() -> Vec<Member> {
    let mut alpha = member("alpha", &[10, 0, 0, 1]);
    let tags = [("dc", "east"), ("evil", "\x1b[2J"), ("role", "web"), ("version", "12")];
    alpha.tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let mut beta = member("beta", &[10, 0, 0, 2]);
    "failed".clone_into(&mut beta.status);
    vec![alpha, beta]
}

#[test]
fn members_fit_the_terminal_and_a_pipe_gets_every_byte() {
    let address = agent("", with_members(&tagged_members()));
    let (exit_code, text) = shown(&address, 56, &[("NO_COLOR", "1")], &["members"]);
    assert_eq!(
        text,
        "alpha  10.0.0.1:7946  alive   dc=east,evil=\\x1b[2J,\n                              role=web,version=12\n\
         beta   10.0.0.2:7946  failed\n"
    );
    assert_eq!(exit_code, Some(0));
    let (_, narrow) = shown(&address, 40, &[("NO_COLOR", "1")], &["members"]);
    assert_eq!(
        narrow,
        "alpha  10.0.0.1:7946  alive\n    dc=east,evil=\\x1b[2J,role=web,\n    version=12\n\
         beta   10.0.0.2:7946  failed\n"
    );
    let (_, detailed) = shown(&address, 60, &[("NO_COLOR", "1")], &["members", "-detailed"]);
    assert!(detailed.contains("Available Protocol Range: [2, 5]\n    dc=east,"), "{detailed}");
    // Scripts see the table of Serf, however narrow the terminal is that they run in.
    let piped = ask(&address, &["members"]);
    assert_eq!(
        piped.stdout,
        "alpha  10.0.0.1:7946  alive   dc=east,evil=\x1b[2J,role=web,version=12\nbeta   10.0.0.2:7946  failed\n"
    );
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let address = agent("", with_members(&tagged_members()));
    let (_, coloured) = shown(&address, 120, &[], &["members"]);
    assert!(coloured.contains("  \x1b[32malive\x1b[0m   dc=east"), "{coloured:?}");
    assert!(coloured.contains("  \x1b[1;31mfailed\x1b[0m\n"), "{coloured:?}");
    let plain: String = coloured.replace("\x1b[32m", "").replace("\x1b[1;31m", "").replace("\x1b[0m", "");
    for without in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        assert_eq!(shown(&address, 120, &[without], &["members"]).1, plain, "{without:?}");
    }
    assert!(!ask(&address, &["members"]).stdout.contains("\x1b[32m"));
    let (_, json) = shown(&address, 120, &[], &["members", "-format=json"]);
    assert!(!json.contains('\x1b'), "{json:?}");
}

/// Lets the agent go on, once.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    fn pass(&self) {
        drop(self.1.wait_while(self.0.lock().unwrap(), |is_open| !*is_open).unwrap());
    }
}

#[test]
fn what_takes_long_says_so_on_a_terminal_and_leaves_no_trace() {
    for (arguments, waiting, answer) in [
        (&["query", "load"][..], "waiting for answers (", "Total Responses: 1\n"),
        (&["reachability"], "waiting for acks (", "Missing acks from:\n\talpha\n"),
        (
            &["keys", "-list"],
            "waiting for all members to answer (",
            "==> Keys gathered, listing cluster keys...",
        ),
        (&["join", "10.0.0.9"], "waiting for the addresses to answer (", "by contacting 1 nodes."),
        (&["leave"], "waiting until the members are told (", "Graceful leave complete"),
        (&["tags", "-set", "a=b"], "waiting until the members are told (", "Successfully updated"),
        (&["force-leave", "x"], "waiting until the members are told (", ""),
    ] {
        let gate = Arc::new(Gate::default());
        let holding = Arc::clone(&gate);
        let address = agent("", move |seq, request| {
            let body = match request {
                Request::Members => Some(ResponseBody::Members(vec![member("alpha", &[10, 0, 0, 1])])),
                Request::Stats => Some(ResponseBody::Stats(std::collections::BTreeMap::default())),
                Request::ListKeys => {
                    holding.pass();
                    Some(ResponseBody::Keys(KeyReply::default()))
                }
                Request::Join { .. } => {
                    holding.pass();
                    Some(ResponseBody::Join { contacted: 1 })
                }
                Request::Query(_) => None,
                _ => {
                    holding.pass();
                    None
                }
            };
            let mut reply = Reply::new(seq, "", body);
            if let Request::Query(query) = request {
                let record = |kind, from: &str| QueryRecord { kind, from: from.to_owned(), payload: None };
                if query.name == "load" {
                    Record::Result(record(QueryRecordKind::Response, "alpha")).encode(seq, &mut reply.later);
                }
                Record::Result(record(QueryRecordKind::Done, "")).encode(seq, &mut reply.later);
                let holding = Arc::clone(&holding);
                reply.wait = Some(Box::new(move || holding.pass()));
            }
            reply
        });
        let mut command = program();
        command.env("TERM", "xterm").env("SERF_RPC_ADDR", &address).args(arguments);
        let mut running = OnTerminal::start(&mut command, 80);
        running.wait_for(waiting);
        gate.open();
        let (exit_code, text) = running.finish();
        assert!(text.contains("\r\x1b[K"), "{arguments:?} leaves its line: {text:?}");
        assert!(text.contains(answer), "{arguments:?}: {text:?}");
        assert_eq!(exit_code, Some(i32::from(arguments[0] == "reachability")), "{arguments:?}: {text:?}");

        // Into a pipe nothing of it comes.
        let piped = ask(&address, arguments);
        assert!(!piped.stdout.contains("waiting") && !piped.stderr.contains("waiting"), "{piped:?}");
    }
}
