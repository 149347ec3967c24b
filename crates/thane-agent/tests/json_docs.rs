//! `docs/json.md` says what the commands print: each of its examples is run, and what comes must have the same shape.
//!
//! With `THANE_BLESS=1` the examples are written anew from what the commands print.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use support::{Answer, Reaped, program, thane, wait_for};

const KEY: &str = "T9jncgl9mbLus+baTTa7q7nPSUrXwbDi2dhbtqir37s=";

/// Addresses as they stand in the text, and those of this run.
fn addresses() -> [(&'static str, String); 3] {
    let id = std::process::id();
    ["127.0.0.1", "127.0.0.2", "127.0.0.9"].map(|shown| {
        let last = shown.rsplit('.').next().unwrap();
        (shown, format!("127.{}.{}.{last}", 64 + id % 191, 100 + id / 191 % 100))
    })
}

fn here(text: &str) -> String {
    addresses().iter().fold(text.to_owned(), |text, (shown, ours)| text.replace(shown, ours))
}

fn there(text: &str) -> String {
    addresses().iter().fold(text.to_owned(), |text, (shown, ours)| text.replace(ours, shown))
}

fn start(name: &str, address: &str, flags: &[&str]) -> Reaped {
    let mut command = program();
    command.args(["agent", &format!("-node={name}"), &format!("-encrypt={KEY}")]);
    command.args([here(&format!("-bind={address}:7946")), here(&format!("-rpc-addr={address}:7373"))]);
    Reaped(command.args(flags.iter().map(|flag| here(flag))).stdout(Stdio::null()).spawn().unwrap())
}

fn ask(arguments: &[String]) -> Answer {
    // The leave is for another agent, so that the one that is asked all the time stays.
    let agent = if arguments[0] == "leave" { "127.0.0.2:7373" } else { "127.0.0.1:7373" };
    let env = BTreeMap::from([("SERF_RPC_ADDR".to_owned(), here(agent))]);
    thane(&arguments.iter().map(|argument| here(argument)).collect::<Vec<_>>(), &env)
}

/// The first event that a monitor prints, after as many lines of the log as there are.
fn monitored(arguments: &[String]) -> String {
    let mut command = program();
    command.args(arguments).env("SERF_RPC_ADDR", here("127.0.0.1:7373")).stdout(Stdio::piped());
    let mut monitor = Reaped(command.spawn().unwrap());
    let mut lines = BufReader::new(monitor.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let log = lines.next().unwrap();
    let event: Vec<String> = ["event", "-coalesce=false", "deploy", "v42"].map(String::from).to_vec();
    assert_eq!(ask(&event).exit_code, Some(0));
    let event = lines.find(|line| line.contains(r#""event""#)).unwrap();
    format!("{log}\n{event}\n")
}

/// The examples: the command and what is printed under it, and where that stands in the text.
fn examples(text: &str) -> Vec<(Vec<String>, std::ops::Range<usize>)> {
    const COMMAND: &str = "```sh\nthane ";
    const OUTPUT: &str = "```json\n";
    let mut found = Vec::new();
    for (at, _) in text.match_indices(COMMAND) {
        let rest = &text[at + COMMAND.len()..];
        let command = rest.lines().next().unwrap().split(' ').map(String::from).collect();
        let begin = at + COMMAND.len() + rest.find(OUTPUT).unwrap() + OUTPUT.len();
        found.push((command, begin..begin + text[begin..].find("```").unwrap()));
    }
    found
}

/// What a value is made of. An empty list and null may stand for anything.
fn same_shape(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => true,
        (Value::Array(a), Value::Array(b)) => a.iter().zip(b).all(|(a, b)| same_shape(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.keys().eq(b.keys()) && a.values().zip(b.values()).all(|(a, b)| same_shape(a, b))
        }
        _ => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

fn documents(text: &str) -> Vec<Value> {
    serde_json::Deserializer::from_str(text).into_iter().map(Result::unwrap).collect()
}

/// How often members are asked again if not all have answered.
const ASKED_AGAIN_MAX: usize = 4;

/// What the command prints, if that has the shape of what is shown, or the examples are to be written anew.
fn try_example(command: &[String], shown: &[Value]) -> Result<String, String> {
    let line = command.join(" ");
    let printed = if command[0] == "monitor" {
        monitored(command)
    } else {
        let answer = ask(command);
        let fails = ["rtt -format=json nobody", "doctor"].iter().any(|start| line.starts_with(start));
        if answer.exit_code != Some(i32::from(fails)) || !fails && !answer.stderr.is_empty() {
            return Err(format!("{line}: {answer:?}"));
        }
        answer.stdout
    };
    let found = documents(&printed);
    let is_same = found.len() == shown.len() && found.iter().zip(shown).all(|(a, b)| same_shape(a, b));
    if printed.ends_with('\n') && (is_same || std::env::var_os("THANE_BLESS").is_some()) {
        return Ok(printed);
    }
    Err(format!("{line} prints something else:\n{printed}"))
}

#[test]
fn examples_are_what_the_commands_print() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/json.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let _a = start("a", "127.0.0.1", &[]);
    let _b = start(
        "b",
        "127.0.0.2",
        &[
            "-retry-join=127.0.0.1",
            "-retry-interval=1s",
            "-tag=role=web",
            "-event-handler=query:uptime=uptime",
        ],
    );
    let words = |line: &str| line.split(' ').map(String::from).collect::<Vec<_>>();
    wait_for("two members with coordinates", || {
        let both = [ask(&words("members -status=alive")), ask(&words("rtt b"))];
        if both[0].stdout.lines().count() == 2 && both[1].exit_code == Some(0) {
            Ok(())
        } else {
            Err(format!("{both:?}"))
        }
    });

    let mut outputs = Vec::new();
    let examples = examples(&text);
    assert!(examples.len() >= 16);
    for (command, place) in &examples {
        let shown = documents(&text[place.clone()]);
        let mut outcome = try_example(command, &shown);
        // A busy member may not answer in time, and is asked again.
        for _ in 0..ASKED_AGAIN_MAX {
            if outcome.is_ok() || !["query", "reachability", "keys"].contains(&command[0].as_str()) {
                break;
            }
            outcome = try_example(command, &shown);
        }
        outputs.push(there(&outcome.unwrap_or_else(|difference| panic!("{difference}"))));
    }
    if std::env::var_os("THANE_BLESS").is_some() {
        let mut blessed = text.clone();
        for ((_, place), output) in examples.iter().zip(&outputs).rev() {
            blessed.replace_range(place.clone(), output);
        }
        std::fs::write(&path, blessed).unwrap();
    }
}

#[test]
fn every_command_with_the_flag_has_an_example() {
    let text = include_str!("../../../docs/json.md");
    let list = thane(&["-h"], &BTreeMap::new()).stderr;
    let commands = list.lines().filter_map(|line| line.strip_prefix("    ")?.split(' ').next());
    let mut with_flag = 0;
    for command in commands.filter(|command| !command.is_empty()) {
        if thane(&[command, "-h"], &BTreeMap::new()).stderr.contains("-format=") {
            with_flag += 1;
            assert!(text.contains(&format!("\nthane {command} -format=json")), "{command} has no example");
        }
    }
    assert!(with_flag >= 16, "{list}");
}

#[test]
fn failures_are_json_with_the_words_of_the_text() {
    let nowhere = ("SERF_RPC_ADDR".to_owned(), "127.0.0.1:1".to_owned());
    let env = BTreeMap::from([nowhere]);
    for (command, error) in [
        (&["event"][..], "An event name must be specified."),
        (
            &["event", "a"],
            "Error connecting to Serf agent: dial tcp 127.0.0.1:1: connect: connection refused",
        ),
        (&["query"], "A query name must be specified."),
        (&["query", "-relay-factor=256", "a"], "Relay factor must be between 0 and 255"),
        (&["members"], "Error connecting to Serf agent: dial tcp 127.0.0.1:1: connect: connection refused"),
        (&["members", "-tag=x"], "Error: Invalid tag: 'x'"),
        (&["join"], "At least one address to join must be specified."),
        (&["force-leave"], "A node name must be specified to force leave."),
        (&["tags"], "The flags ask for nothing."),
        (&["keys", "-list", "-use=a"], "Only one of -install, -use, -remove, or -list allowed"),
        (&["leave"], "Error connecting to Serf agent: dial tcp 127.0.0.1:1: connect: connection refused"),
        (&["monitor"], "Error connecting to Serf agent: dial tcp 127.0.0.1:1: connect: connection refused"),
    ] {
        let arguments = [&[command[0], "-format=json"], &command[1..]].concat();
        let answer = thane(&arguments, &env);
        assert_eq!((answer.exit_code, answer.stderr.as_str()), (Some(1), ""), "{arguments:?}: {answer:?}");
        assert_eq!(answer.stdout.lines().count(), 1, "{answer:?}");
        let document: Value = serde_json::from_str(&answer.stdout).unwrap();
        assert_eq!(document["error"], error, "{arguments:?}");
        assert!(document["hint"].is_string(), "{arguments:?}: {answer:?}");
    }
    // What asks for no JSON gets none, nor does a form that there is not.
    let answer = thane(&["event", "-format=xml", "a"], &env);
    assert_eq!(answer.stdout, "Encoding error: Invalid output format \"xml\"\n");
}
