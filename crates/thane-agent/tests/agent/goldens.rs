//! Runs of Serf's agent, repeated with Thane: see `vectors/README.md`.
//!
//! What the agent says of its own accord must be there line by line and in the order of the recording. A line may go on
//! with what to do about it, and others may follow or stand between: they are ours. Log lines come in an order of
//! their own, since several things happen at once; each must be there.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Agent, DEADLINE};
use crate::own_host::{self, OwnHost};

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
    ("discover_banner", "an agent does not discover and join itself"),
    ("bind_port0", "the banner shows the port that was found"),
    ("bind_port_only", "a port alone means 0.0.0.0, and a private address is announced"),
    ("sig_int_before_ready", "an interrupt during -join leaves"),
    ("cfg_disable_coordinates", "disable_coordinates is honoured"),
    ("sig_usr1", "an agent's own announcement is no message that it received"),
    ("snapshot_life", "the snapshot is written within half a second"),
];

/// Lines of the log that need not be there, or not at that moment.
const VOLATILE: &[&str] = &["Received event", "Serf shutdown detected", "EventMemberUpdate", "script output"];

/// The line that ends the start.
const IS_UP: &str = "==> Log data will now stream in as it occurs:";

/// How many agents run at a time.
const AT_A_TIME: usize = 6;

/// How long a file may take to become as recorded, and how long it is waited for where it never does.
const FILE_PATIENCE: Duration = Duration::from_secs(10);
const FILE_PATIENCE_FOR_DIFFERENT: Duration = Duration::from_secs(1);

#[test]
fn agents_do_what_serfs_did() {
    let goldens: Vec<Value> = serde_json::from_str(include_str!("vectors/agent.json")).unwrap();
    assert!(goldens.len() > 100);
    for (name, _reason) in DIFFERENT {
        assert!(goldens.iter().any(|golden| golden["name"] == *name), "there is no recording {name}");
    }
    let own_host = OwnHost::possible();
    let (next, wrong, left_out) = (AtomicUsize::new(0), Mutex::new(Vec::new()), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _worker in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(golden) = goldens.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let name = golden["name"].as_str().unwrap();
                    if own_host.is_none() && golden["host"].is_string() {
                        left_out.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    let differs = DIFFERENT.iter().find(|(different, _reason)| *different == name);
                    match (replay(golden, own_host, differs.is_some()), differs) {
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
    let (wrong, left_out) = (wrong.into_inner().unwrap(), left_out.into_inner());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), goldens.len(), wrong.join("\n\n"));
    let (cases, listed) = (goldens.len(), DIFFERENT.len());
    let same = cases - listed - left_out;
    if left_out > 0 {
        eprintln!(
            "this machine makes no namespaces with interfaces: {left_out} recordings were not replayed"
        );
    }
    eprintln!("compat: agent start and signals | cases={cases} same={same} listed={listed}");
}

/// Repeats one recording.
///
/// # Errors
/// What differs.
fn replay(golden: &Value, own_host: Option<OwnHost>, is_different: bool) -> Result<(), String> {
    let on = own_host.filter(|_host| golden["host"].is_string());
    let host = Host::new(golden["name"].as_str().unwrap(), on, is_different);
    for (name, text) in golden["files"].as_object().unwrap() {
        host.write(name, text.as_str().unwrap());
    }
    let _taken = golden["taken"].as_str().map(|address| TcpListener::bind(host.ours(address)).unwrap());
    let agent = host.start(golden);
    let expected = golden["stdout"].as_str().unwrap();
    let runs = agent.says(golden["until"].as_str().unwrap_or(IS_UP));
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
        let all_there = |output: &str| {
            let output = host.seen(output);
            awaited.iter().all(|line| output.contains(line))
        };
        if !is_different {
            agent.wait_until("what was recorded", all_there);
        }
        agent.signal(signal);
    }
    let (status, output) = agent.wait();
    let output = host.seen(&output);
    let failed = |what: String| Err(format!("{what}\n--- Serf:\n{expected}\n--- Thane:\n{output}"));
    let exit_code = status.code().map(i64::from);
    if exit_code != golden["exit_code"].as_i64() {
        return failed(format!("exit code {exit_code:?}"));
    }
    let complaints = host.complaints();
    for line in golden["stderr"].as_str().unwrap_or_default().lines() {
        if !complaints.contains(line) {
            return failed(format!("{line:?} is missing on standard error:\n{complaints}"));
        }
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

/// What stands for Serf's host: a directory, and a loopback address of its own or a host of its own, so that all can use
/// Serf's ports.
struct Host {
    directory: PathBuf,
    address: String,
    own: Option<OwnHost>,
    patience: Duration,
}

impl Host {
    fn new(name: &str, own: Option<OwnHost>, is_different: bool) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(format!("thane-golden-{process}-{name}"));
        fs::create_dir_all(directory.join("d")).unwrap();
        let address = match own {
            Some(_own) => "127.0.0.1".to_owned(),
            None => format!("127.{}.{}.{}", 100 + process % 100, process / 100 % 250, 1 + number % 250),
        };
        let patience = if is_different { FILE_PATIENCE_FOR_DIFFERENT } else { FILE_PATIENCE };
        Self { directory, address, own, patience }
    }

    /// Starts the agent of a recording.
    fn start(&self, golden: &Value) -> Agent {
        let argv = golden["argv"].as_array().unwrap().iter();
        let argv = argv.map(|argument| self.ours(argument.as_str().unwrap()));
        let mut command = if let Some(own) = self.own {
            let arguments: Vec<String> = std::iter::once("agent".to_owned()).chain(argv).collect();
            let v0 = if golden["host"] == "two interfaces" { "10.11.12.13/24" } else { "" };
            own.start(v0, env!("CARGO_BIN_EXE_thane"), &arguments)
        } else {
            let mut command = Command::new(env!("CARGO_BIN_EXE_thane"));
            command.arg("agent").arg(format!("-rpc-addr={}:7373", self.address)).args(argv);
            command
        };
        command.current_dir(&self.directory);
        command.stderr(fs::File::create(self.directory.join("standard-error")).unwrap());
        Agent::run(command)
    }

    /// What the agent wrote to standard error.
    fn complaints(&self) -> String {
        fs::read_to_string(self.directory.join("standard-error")).unwrap_or_default()
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
        ["Node name: '", "EventMemberJoin: ", "EventMemberLeave: ", "EventMemberUpdate: "].iter().fold(
            text,
            |text, label| {
                text.replace(&format!("{label}{}", name.trim()), &format!("{label}{}", own_host::NAME))
            },
        )
    }

    fn step(&self, agent: &Agent, step: &Value) -> Result<(), String> {
        if let Some(name) = step["write_file"].as_str() {
            self.write(name, step["content"].as_str().unwrap());
        } else if let Some(signal) = step["signal"].as_str() {
            self.signal(agent, signal);
        } else if let Some(name) = step["file"].as_str() {
            self.check_file(name, step)?;
        } else {
            let argv =
                step["cli"].as_array().unwrap().iter().skip(1).map(|argument| argument.as_str().unwrap());
            let mut command = match self.own {
                Some(own) => own.beside(agent.id(), env!("CARGO_BIN_EXE_thane")),
                None => Command::new(env!("CARGO_BIN_EXE_thane")),
            };
            let command = command.args(argv).env("SERF_RPC_ADDR", format!("{}:7373", self.address));
            let output = command.output().unwrap();
            let host_name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
            let found = self.seen(&String::from_utf8_lossy(&output.stdout));
            let found = match found.strip_prefix(host_name.trim()) {
                Some(rest) => words(&format!("{}{rest}", own_host::NAME)),
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

    /// Sends a signal and waits for what it does.
    fn signal(&self, agent: &Agent, signal: &str) {
        match signal {
            "HUP" if agent.said().contains("==> Caught signal: interrupt") => agent.signal(signal),
            "HUP" => {
                agent.signal(signal);
                agent.wait_until("the end of the reload", |output| {
                    output.contains("agent: configuration reloaded")
                        || output.contains("==> Failed to reload configs")
                });
            }
            // Nothing is known before the first interval is over.
            "USR1" => {
                let deadline = Instant::now() + DEADLINE;
                while !self.complaints().contains("serf-agent.serf.member.join") {
                    assert!(Instant::now() < deadline, "no metrics were written:\n{}", self.complaints());
                    agent.signal(signal);
                    thread::sleep(Duration::from_millis(100));
                }
            }
            _ => {
                agent.signal(signal);
                if signal == "INT" {
                    agent.wait_for("==> Caught signal: interrupt");
                }
            }
        }
    }

    /// Waits until a file is as recorded.
    fn check_file(&self, name: &str, step: &Value) -> Result<(), String> {
        let path = self.directory.join(name);
        let deadline = Instant::now() + self.patience;
        loop {
            let content = fs::read_to_string(&path).ok();
            let found = fs::metadata(&path).ok();
            let mode = found.map(|found| format!("0o{:o}", found.permissions().mode() & 0o777));
            if content.as_deref() == step["content"].as_str() && mode.as_deref() == step["mode"].as_str() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(format!("{name} has mode {mode:?} and {content:?} instead of {step}"));
            }
            thread::sleep(Duration::from_millis(10));
        }
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
