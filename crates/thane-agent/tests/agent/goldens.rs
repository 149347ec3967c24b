//! Runs of Serf's agent, repeated with Thane: see `vectors/README.md`.
//!
//! What the agent says of its own accord must be there line by line and in the order of the recording. A line may go on
//! with what to do about it, and others may follow or stand between: they are ours. Log lines come in an order of
//! their own, since several things happen at once; each must be there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;

use crate::harness::Agent;

/// Recordings that Thane answers differently on purpose; each is in COMPATIBILITY.md.
const DIFFERENT: &[(&str, &str)] = &[
    ("cfg_compression", "enable_compression in a file is honoured"),
    ("cfg_validate_names", "validate_node_names is honoured"),
    ("cfg_mdns", "the key mdns is that of the newest Serf"),
    ("cfg_msgpack_key", "MsgpackUseNewTimeFormat is a key of the newest Serf"),
    ("cfg_event_limit_9k", "an event that fits no packet is refused"),
    ("tagsfile_toobig", "tags that do not fit never get into the file"),
    ("tagsfile_hup", "tags in a tags file survive a reload"),
    ("hup_changes", "the stats list the handlers of the latest reload"),
];

/// Lines of the log that need not be there, or not at that moment.
const VOLATILE: &[&str] = &["Received event", "Serf shutdown detected", "EventMemberUpdate", "script output"];

/// How many agents run at a time.
const AT_A_TIME: usize = 6;

#[test]
fn agents_do_what_serfs_did() {
    let goldens: Vec<Value> = serde_json::from_str(include_str!("vectors/agent.json")).unwrap();
    assert!(goldens.len() > 100);
    for (name, _reason) in DIFFERENT {
        assert!(goldens.iter().any(|golden| golden["name"] == *name), "there is no recording {name}");
    }
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _worker in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(golden) = goldens.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let name = golden["name"].as_str().unwrap();
                    let differs = DIFFERENT.iter().find(|(different, _reason)| *different == name);
                    match (replay(golden), differs) {
                        (Ok(()), None) | (Err(_), Some(_)) => {}
                        (Err(reason), None) => wrong.lock().unwrap().push(format!("{name}: {reason}")),
                        (Ok(()), Some((_name, reason))) => wrong
                            .lock()
                            .unwrap()
                            .push(format!("{name}: is as recorded, although {reason}: take it off the list")),
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), goldens.len(), wrong.join("\n\n"));
    let (cases, listed) = (goldens.len(), DIFFERENT.len());
    eprintln!("compat: agent start and signals | cases={cases} same={} listed={listed}", cases - listed);
}

/// Repeats one recording.
///
/// # Errors
/// What differs.
fn replay(golden: &Value) -> Result<(), String> {
    let host = Host::new(golden["name"].as_str().unwrap());
    for (name, text) in golden["files"].as_object().unwrap() {
        host.write(name, text.as_str().unwrap());
    }
    let argv = golden["argv"].as_array().unwrap().iter();
    let argv: Vec<String> = argv.map(|argument| host.ours(argument.as_str().unwrap())).collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_thane"));
    command
        .args(["agent", &format!("-rpc-addr={}:7373", host.address)])
        .args(&argv)
        .current_dir(&host.directory);
    let agent = Agent::run(command);
    let expected = golden["stdout"].as_str().unwrap();
    let runs = agent.comes_up();
    if runs != golden["runs"].as_bool().unwrap() && !expected.contains("Log data will now") {
        return Err(format!("comes up: {runs}\n{}", agent.said()));
    }
    for step in golden["steps"].as_array().unwrap() {
        host.step(&agent, step)?;
    }
    if let Some(signal) = golden["stopped_with"].as_str() {
        if !runs {
            return Err(format!("does not come up:\n{}", agent.said()));
        }
        // What is to be seen only after a while, such as a join that is tried again.
        let awaited: Vec<&str> =
            log_lines(expected).into_iter().filter(|line| line.contains("oin")).collect();
        agent.wait_until("what was recorded", |output| {
            let output = host.seen(output);
            awaited.iter().all(|line| output.contains(line))
        });
        agent.signal(signal);
    }
    let (status, output) = agent.wait();
    let output = host.seen(&output);
    let failed = |what: String| Err(format!("{what}\n--- Serf:\n{expected}\n--- Thane:\n{output}"));
    let exit_code = status.code().map(i64::from);
    if exit_code != golden["exit_code"].as_i64() {
        return failed(format!("exit code {exit_code:?}"));
    }
    let mut rest: Vec<&str> = output.lines().collect();
    for line in own_lines(expected) {
        match rest.iter().position(|ours| ours.starts_with(line)) {
            Some(position) => drop(rest.drain(..=position)),
            None => return failed(format!("{line:?} is missing or misplaced")),
        }
    }
    match log_lines(expected).into_iter().find(|line| !output.contains(line)) {
        Some(line) => failed(format!("{line:?} is missing")),
        None => Ok(()),
    }
}

/// What the agent says itself, up to the usage text, which is in our own words.
fn own_lines(expected: &str) -> Vec<&str> {
    let is_log = |line: &str| ["    [", "\t", ", "].iter().any(|start| line.starts_with(start));
    let lines = expected.lines().filter(|line| !line.is_empty() && !is_log(line));
    lines.map(|line| line.split("<usage text").next().unwrap_or_default()).collect()
}

/// The log lines that must be there.
fn log_lines(expected: &str) -> Vec<&str> {
    let lines = expected.lines().filter(|line| line.starts_with("    ["));
    lines.filter(|line| !VOLATILE.iter().any(|volatile| line.contains(volatile))).collect()
}

/// What stands for Serf's host: a directory, and a loopback address of its own, so that all can use Serf's ports.
struct Host {
    directory: PathBuf,
    address: String,
}

impl Host {
    fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(format!("thane-golden-{process}-{name}"));
        fs::create_dir_all(directory.join("d")).unwrap();
        let address = format!("127.{}.{}.{}", 100 + process % 100, process / 100 % 250, 1 + number % 250);
        Self { directory, address }
    }

    fn write(&self, name: &str, text: &str) {
        if !name.ends_with('/') {
            let path = self.directory.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, self.ours(text)).unwrap();
        }
    }

    /// A text with our address in place of Serf's.
    fn ours(&self, text: &str) -> String {
        text.replace("127.0.0.1", &self.address)
    }

    /// The output as it would be on Serf's host: its name and address, and no times.
    fn seen(&self, output: &str) -> String {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let mut text = String::new();
        for line in output.lines() {
            // `    2006/01/02 15:04:05 [`
            match line.get(..25) {
                Some(start) if start.starts_with("    2") && start.ends_with('[') => {
                    text.push_str("    ");
                    text.push_str(&line[24..]);
                }
                _ => text.push_str(line),
            }
            text.push('\n');
        }
        let text = text.replace(&self.address, "127.0.0.1");
        ["Node name: '", "EventMemberJoin: ", "EventMemberLeave: ", "EventMemberUpdate: "]
            .iter()
            .fold(text, |text, label| {
                text.replace(&format!("{label}{}", name.trim()), &format!("{label}serfhost"))
            })
    }

    fn step(&self, agent: &Agent, step: &Value) -> Result<(), String> {
        if let Some(name) = step["write_file"].as_str() {
            self.write(name, step["content"].as_str().unwrap());
        } else if let Some(signal) = step["signal"].as_str() {
            assert_eq!(signal, "HUP");
            agent.signal(signal);
            agent.wait_until("the end of the reload", |output| {
                output.contains("agent: configuration reloaded")
                    || output.contains("==> Failed to reload configs")
            });
        } else if let Some(name) = step["file"].as_str() {
            self.check_file(name, step)?;
        } else {
            let argv =
                step["cli"].as_array().unwrap().iter().skip(1).map(|argument| argument.as_str().unwrap());
            let output = Command::new(env!("CARGO_BIN_EXE_thane"))
                .args(argv)
                .env("SERF_RPC_ADDR", format!("{}:7373", self.address))
                .output()
                .unwrap();
            let host_name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
            let found = self.seen(&String::from_utf8_lossy(&output.stdout));
            let found = match found.strip_prefix(host_name.trim()) {
                Some(rest) => words(&format!("serfhost{rest}")),
                None => words(&found),
            };
            let expected = words(step["stdout"].as_str().unwrap());
            let is_stats = step["cli"][1] == "info";
            let same =
                if is_stats { found.contains(&handlers_of(&expected)) } else { found.starts_with(&expected) };
            if !same || output.status.code().map(i64::from) != step["exit_code"].as_i64() {
                return Err(format!(
                    "{}: {:?}:\n{found}\ninstead of\n{expected}",
                    step["cli"], output.status
                ));
            }
        }
        Ok(())
    }

    fn check_file(&self, name: &str, step: &Value) -> Result<(), String> {
        let path = self.directory.join(name);
        let content = fs::read_to_string(&path).ok();
        let mode = fs::metadata(path).ok().map(|found| format!("0o{:o}", found.permissions().mode() & 0o777));
        if content.as_deref() != step["content"].as_str() || mode.as_deref() != step["mode"].as_str() {
            return Err(format!("{name} has mode {mode:?} and {content:?} instead of {step}"));
        }
        Ok(())
    }
}

/// Words separated by one space, and tags in one order: Serf shows them in any.
fn words(text: &str) -> String {
    let sorted = |word: &str| {
        let mut tags: Vec<&str> = word.split(',').collect();
        tags.sort_unstable();
        tags.join(",")
    };
    text.split_whitespace().map(sorted).collect::<Vec<_>>().join(" ")
}

/// The part of the stats that does not differ from run to run.
fn handlers_of(stats: &str) -> String {
    let from = stats.find("event_handlers:").unwrap();
    stats[from..stats.find("runtime:").unwrap()].trim().to_owned()
}

impl Drop for Host {
    fn drop(&mut self) {
        // What cannot be removed is left to the system.
        drop(fs::remove_dir_all(&self.directory));
    }
}
