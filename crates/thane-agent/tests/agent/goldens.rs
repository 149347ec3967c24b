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

/// A recording that Thane answers differently on purpose; each is in COMPATIBILITY.md.
struct Different {
    name: &'static str,
    why: &'static str,
    /// What of each difference must be told, in their order; there are no others.
    differences: &'static [&'static str],
    /// What the output contains.
    says: &'static str,
}

const DIFFERENT: &[Different] = &[
    Different {
        name: "cfg_compression",
        why: "enable_compression in a file is honoured",
        differences: &["\"    Message Compression Enabled: true\" is missing"],
        says: "    Message Compression Enabled: false",
    },
    Different {
        name: "cfg_validate_names",
        why: "validate_node_names is honoured",
        differences: &["comes up: false"],
        says: "==> Invalid node name: 'bad name!' contains invalid characters",
    },
    Different {
        name: "cfg_mdns",
        why: "the key mdns is that of the newest Serf",
        differences: &["comes up: true"],
        says: "                   mDNS cluster: x",
    },
    Different {
        name: "cfg_msgpack_key",
        why: "MsgpackUseNewTimeFormat is a key of the newest Serf",
        differences: &["comes up: true"],
        says: "agent: shutdown complete",
    },
    Different {
        name: "cfg_event_limit_9k",
        why: "an event that fits no packet is refused",
        differences: &[
            "Error sending event: message of 9031 bytes encoded never fits a packet of 1395 bytes",
        ],
        says: "agent: shutdown complete",
    },
    Different {
        name: "tagsfile_toobig",
        why: "tags that do not fit never get into the file",
        differences: &["t.json has mode None and None"],
        says: "agent: shutdown complete",
    },
    Different {
        name: "tagsfile_hup",
        why: "tags in a tags file survive a reload",
        differences: &[r#"t.json has mode Some("0o644") and Some("{\"a\":\"1\"}")"#],
        says: "agent: shutdown complete",
    },
    Different {
        name: "hup_changes",
        why: "the stats list the handlers of the latest reload",
        differences: &["event_handlers: user:b = true runtime:"],
        says: "agent: shutdown complete",
    },
    Different {
        name: "discover_banner",
        why: "an agent does not discover and join itself",
        differences: &[
            "agent: joining: [127.0.0.1:7946] replay: false\" is missing",
            "agent: joined: 1 nodes\" is missing",
            "agent.mdns: Joined 1 hosts\" is missing",
        ],
        says: "                   mDNS cluster: cl",
    },
    Different {
        name: "bind_port0",
        why: "the banner shows the port that was found, another one each time",
        differences: &["serfhost 127.0.0.1:", "Bind addr: '127.0.0.1:0'\" is missing"],
        says: "Bind addr: '127.0.0.1:",
    },
    Different {
        name: "bind_port_only",
        why: "a port alone means 0.0.0.0, and a private address is announced",
        differences: &["Bind addr: ':7950'\" is missing", "EventMemberJoin: serfhost ::\" is missing"],
        says: "EventMemberJoin: serfhost 10.11.12.13",
    },
    Different {
        name: "sig_int_before_ready",
        why: "an interrupt during -join leaves",
        differences: &["comes up: true", "exit code Some(0)"],
        says: "==> Gracefully shutting down agent...",
    },
    Different {
        name: "cfg_disable_coordinates",
        why: "disable_coordinates is honoured",
        differences: &["Could not find a coordinate for node \"serfhost\""],
        says: "agent: shutdown complete",
    },
    Different {
        name: "sig_usr1",
        why: "an agent's own announcement is no message that it received",
        differences: &["\"[C] 'serf-agent.memberlist.msg.alive': Count: \" is missing on standard error"],
        says: "agent: shutdown complete",
    },
    Different {
        name: "snapshot_life",
        why: "the snapshot is written within half a second",
        differences: &["query-clock: 1"],
        says: "agent: shutdown complete",
    },
];

impl Different {
    /// What of the outcome is not as listed.
    fn missed(&self, outcome: &Outcome) -> Option<&'static str> {
        let found = &outcome.differences;
        if found.is_empty() {
            Some("is as recorded: take it off the list")
        } else if found.len() != self.differences.len()
            || !found.iter().zip(self.differences).all(|(found, listed)| found.contains(listed))
        {
            Some("differs in another way than listed")
        } else if !outcome.output.contains(self.says) {
            Some("does not say what is listed")
        } else {
            None
        }
    }
}

/// Lines of the log that need not be there, or not at that moment.
const VOLATILE: &[&str] = &["Received event", "Serf shutdown detected", "EventMemberUpdate", "script output"];

/// The line that ends the start.
const IS_UP: &str = "==> Log data will now stream in as it occurs:";

/// How many agents run at a time.
const AT_A_TIME: usize = 6;

/// How long a file may take to become as recorded, or to differ as listed.
const FILE_PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn agents_do_what_serfs_did() {
    let goldens: Vec<Value> = serde_json::from_str(include_str!("vectors/agent.json")).unwrap();
    assert!(goldens.len() > 100);
    for Different { name, .. } in DIFFERENT {
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
                    let listed = DIFFERENT.iter().find(|different| different.name == name);
                    let outcome =
                        replay(golden, own_host, listed.map_or(&[], |different| different.differences));
                    let complaint = match listed {
                        None if outcome.differences.is_empty() => None,
                        None => Some("differs".to_owned()),
                        Some(different) => different
                            .missed(&outcome)
                            .map(|missed| format!("{missed}, although {}", different.why)),
                    };
                    if let Some(complaint) = complaint {
                        let Outcome { differences, output } = outcome;
                        let (found, expected) = (differences.join("\n"), golden["stdout"].as_str().unwrap());
                        wrong.lock().unwrap().push(format!(
                            "{name}: {complaint}:\n{found}\n--- Serf:\n{expected}\n--- Thane:\n{output}"
                        ));
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

/// How a recording went.
struct Outcome {
    /// What was not as recorded, in the order of the run.
    differences: Vec<String>,
    output: String,
}

/// Repeats one recording; `listed` are the differences that are meant.
fn replay(golden: &Value, own_host: Option<OwnHost>, listed: &'static [&'static str]) -> Outcome {
    let on = own_host.filter(|_host| golden["host"].is_string());
    let host = Host::new(golden["name"].as_str().unwrap(), on, listed);
    for (name, text) in golden["files"].as_object().unwrap() {
        host.write(name, text.as_str().unwrap());
    }
    let _taken = golden["taken"].as_str().map(|address| TcpListener::bind(host.ours(address)).unwrap());
    let agent = host.start(golden);
    let expected = golden["stdout"].as_str().unwrap();
    let mut differences = Vec::new();
    let runs = agent.says(golden["until"].as_str().unwrap_or(IS_UP));
    let stopped_with = golden["stopped_with"].as_str();
    let comes_as_recorded = runs == golden["runs"].as_bool().unwrap()
        || (expected.contains("Log data will now") && (runs || stopped_with.is_none()));
    if comes_as_recorded {
        for step in golden["steps"].as_array().unwrap() {
            differences.extend(host.step(&agent, step).err());
        }
        if stopped_with.is_some() {
            // What is to be seen only after a while, such as a join that is tried again.
            let mut awaited = log_lines(expected);
            awaited.retain(|line| {
                let missing = format!("{line:?} is missing");
                line.contains("oin") && !listed.iter().any(|listed| missing.contains(listed))
            });
            agent.wait_until("what was recorded", |output| {
                let output = host.seen(output);
                awaited.iter().all(|line| output.contains(line))
            });
        }
    } else {
        differences.push(format!("comes up: {runs}"));
    }
    match stopped_with {
        Some(signal) if runs => agent.signal(signal),
        None if runs && !comes_as_recorded => agent.signal("TERM"),
        _ => {}
    }
    let (status, output) = agent.wait();
    let output = host.seen(&output);
    let exit_code = status.code().map(i64::from);
    if exit_code != golden["exit_code"].as_i64() {
        differences.push(format!("exit code {exit_code:?}"));
    }
    if comes_as_recorded {
        let complaints = host.complaints();
        let lines = golden["stderr"].as_str().unwrap_or_default().lines();
        let missing = lines.filter(|line| !complaints.contains(line));
        differences
            .extend(missing.map(|line| format!("{line:?} is missing on standard error:\n{complaints}")));
        differences.extend(missing_lines(expected, &output));
    }
    Outcome { differences, output }
}

/// Lines that should be in the output.
fn missing_lines(expected: &str, output: &str) -> Vec<String> {
    let mut missing = Vec::new();
    let mut rest: Vec<&str> = output.lines().collect();
    for line in own_lines(expected) {
        match rest.iter().position(|ours| ours.starts_with(line)) {
            Some(position) => drop(rest.drain(..=position)),
            None => missing.push(format!("{line:?} is missing or misplaced")),
        }
    }
    let log = log_lines(expected).into_iter().filter(|line| !output.contains(line));
    missing.extend(log.map(|line| format!("{line:?} is missing")));
    missing
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
    /// The differences that are meant.
    listed: &'static [&'static str],
}

impl Host {
    fn new(name: &str, own: Option<OwnHost>, listed: &'static [&'static str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(format!("thane-golden-{process}-{name}"));
        fs::create_dir_all(directory.join("d")).unwrap();
        let address = match own {
            Some(_own) => "127.0.0.1".to_owned(),
            None => format!("127.{}.{}.{}", 100 + process % 100, process / 100 % 250, 1 + number % 250),
        };
        Self { directory, address, own, listed }
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
        ["Node name: '", "EventMemberJoin: ", "EventMemberLeave: ", "EventMemberUpdate: ", "Ack from '"]
            .iter()
            .fold(text, |text, label| {
                text.replace(&format!("{label}{}", name.trim()), &format!("{label}{}", own_host::NAME))
            })
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
            // On a busy machine an answer takes longer than Serf's did.
            let argv =
                argv.map(|argument| if argument == "-timeout=300ms" { "-timeout=3s" } else { argument });
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
                // What the node counts itself is read from time to time, so it may come an interval later.
                let all = ["serf.member.join'", "memberlist.gossip'"];
                let deadline = Instant::now() + 2 * DEADLINE;
                while !all.iter().all(|name| self.complaints().contains(name)) {
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

    /// Waits until a file is as recorded, or until it differs as listed.
    fn check_file(&self, name: &str, step: &Value) -> Result<(), String> {
        let path = self.directory.join(name);
        let deadline = Instant::now() + FILE_PATIENCE;
        loop {
            let content = fs::read_to_string(&path).ok();
            let found = fs::metadata(&path).ok();
            let mode = found.map(|found| format!("0o{:o}", found.permissions().mode() & 0o777));
            let is_same =
                content.as_deref() == step["content"].as_str() && mode.as_deref() == step["mode"].as_str();
            let found = format!("{name} has mode {mode:?} and {content:?}");
            let is_listed = self.listed.iter().any(|listed| found.contains(listed));
            let is_late = Instant::now() >= deadline;
            // A file that is to differ may be as recorded on its way there.
            if is_same && (self.listed.is_empty() || is_late) {
                return Ok(());
            }
            if is_listed || is_late {
                return Err(format!("{found} instead of {step}"));
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
