//! The command line against the bytes that Serf's agent sent to Serf's own: it must ask the same, and say the same.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use support::fake_agent::{Reply, agent};
use support::{Answer, Golden, Reaped, check_stderr, program, rows, thane, told};
use thane_wire::rpc::{KeyReply, Request, RequestDecoder, ResponseBody, Stats};

/// A recorded call, with what went over its connection after the handshake.
#[derive(Deserialize)]
struct Recording {
    #[serde(flatten)]
    golden: Golden,
    exchanges: Vec<Exchange>,
}

#[derive(Clone, Deserialize)]
struct Exchange {
    send: String,
    reply: String,
    /// The agent closed the connection instead of an answer.
    closes: bool,
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

impl Exchange {
    fn request(&self) -> (u64, Request) {
        let mut decoder = RequestDecoder::new();
        decoder.push(&unhex(&self.send));
        decoder.next_request().unwrap().unwrap()
    }

    /// The reply for another sequence number than the recorded one.
    fn reply(&self, recorded_seq: u64, seq: u64) -> Reply {
        let mut bytes = unhex(&self.reply);
        let field = [&[0xa3][..], b"Seq", &[u8::try_from(recorded_seq).unwrap()]].concat();
        for at in 0..bytes.len().saturating_sub(4) {
            if bytes[at..].starts_with(&field) {
                bytes[at + 4] = u8::try_from(seq).unwrap();
            }
        }
        Reply { bytes, hangs_up: self.closes, ..Reply::default() }
    }
}

/// Without what only Thane asks for, and with one form for no filter at all.
fn plain(request: &Request) -> Request {
    let mut request = request.clone();
    if let Request::Query(query) = &mut request {
        query.end_when_answered = false;
        query.filter_tags = query.filter_tags.take().filter(|tags| !tags.is_empty());
    }
    request
}

/// An agent that says what the recorded one said, to the same requests in the same order. What they may ask besides is whether it is one
/// of Thane's, who has a key, and who is a member.
fn recorded_agent(exchanges: &Arc<Mutex<VecDeque<Exchange>>>) -> String {
    let exchanges = Arc::clone(exchanges);
    agent("", move |seq, request| {
        let mut left = exchanges.lock().unwrap();
        let (recorded_seq, expected) = left.front().map(Exchange::request).unwrap();
        match request {
            request if plain(request) == plain(&expected) => {
                left.pop_front().unwrap().reply(recorded_seq, seq)
            }
            Request::Stats => Reply::new(seq, "", Some(ResponseBody::Stats(Stats::new()))),
            Request::ListKeys => Reply::new(seq, "none", Some(ResponseBody::Keys(KeyReply::default()))),
            Request::Members => Reply::new(seq, "", Some(ResponseBody::Members(Vec::new()))),
            other => panic!("{other:?} is not {expected:?}"),
        }
    })
}

/// Follows the log and the events until all that was recorded is there, and interrupts then.
fn interrupted(golden: &Golden, env: &BTreeMap<String, String>) -> Answer {
    let mut command = program();
    command.args(&golden.argv[1..]).envs(env).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Reaped(command.spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let count = golden.stdout.lines().count();
    let mut stdout: Vec<String> = lines.by_ref().take(count).collect();
    assert!(Command::new("kill").args(["-INT", &child.0.id().to_string()]).status().unwrap().success());
    stdout.extend(lines);
    let stderr = std::io::read_to_string(child.0.stderr.take().unwrap()).unwrap();
    Answer { exit_code: child.exit_code(), stdout: stdout.join("\n") + "\n", stderr }
}

#[test]
fn the_bytes_of_serfs_agent_give_what_serf_printed() {
    let recordings: Vec<Recording> = serde_json::from_str(include_str!("goldens/cli_client.json")).unwrap();
    let cases = recordings.len();
    for Recording { golden, exchanges } in recordings {
        let name = &golden.name;
        let left = Arc::new(Mutex::new(VecDeque::from(exchanges)));
        let mut env = golden.env.clone();
        env.insert("SERF_RPC_ADDR".to_owned(), recorded_agent(&left));
        let answer =
            if name == "monitor" { interrupted(&golden, &env) } else { thane(&golden.argv[1..], &env) };
        assert_eq!(answer.exit_code, Some(golden.exit_code), "{name}: {answer:?}");
        match name.as_str() {
            name if name.starts_with("members") && golden.exit_code == 0 => {
                assert_eq!(rows(&answer.stdout), rows(&golden.stdout), "{name}");
            }
            name if name.starts_with("keys") || name == "reachability" || name == "monitor" => {
                assert_eq!(told(&answer.stdout), told(&golden.stdout), "{name}");
            }
            _ => assert_eq!(answer.stdout, golden.stdout, "{name}"),
        }
        check_stderr(&answer, &golden);
        // An interrupted monitor just goes, where Serf's stops both streams first; the agent cannot tell.
        let unasked = left
            .lock()
            .unwrap()
            .iter()
            .filter(|one| !matches!(one.request().1, Request::Stop { .. }))
            .count();
        assert_eq!(unasked, 0, "{name} did not ask for all");
    }
    eprintln!("compat: command line: with the bytes of Serf's agent | cases={cases} same={cases} listed=0");
}
