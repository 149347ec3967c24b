//! `cargo xtask test`: everything that must hold before a change is done.

use crate::{
    Outcome,
    arguments::Arguments,
    clients::{self, Missing},
    compat,
    process::{cargo, line_of, output_of, succeeds},
    serf, tidy,
};
use anyhow::{Context as _, Result};
use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

/// The test binary that runs Thane beside Serf, as arguments of `cargo test`.
const PEER_TESTS: [&str; 4] = ["--package", "thane-agent", "--test", "peers"];

/// Tells that test binary to skip its tests, saying so.
const WITHOUT_PEERS: &str = "THANE_WITHOUT_PEERS";

/// Names the clients of others that could not be had, whose tests skip themselves then.
const WITHOUT_CLIENTS: &str = "THANE_WITHOUT_CLIENTS";

/// Whether the tests beside Serf run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peers {
    Run,
    /// The caller asked to go without them.
    NotWanted,
    /// Serf could not be had.
    Missing,
}

/// What was run, for the closing line. Tests count one by one, each other check counts as one.
#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
    /// What has to be said once more at the end.
    remarks: Vec<String>,
}

pub(crate) fn run(mut arguments: Arguments) -> Result<Outcome> {
    let without_peers = arguments.flag("--without-peers");
    arguments.finish()?;
    let mut tally = Tally::default();

    heading("Serf, which Thane is tested beside");
    let peers = if without_peers {
        println!("    --without-peers: the tests beside Serf will not run");
        Peers::NotWanted
    } else if serf::find_or_install()?.is_some() {
        Peers::Run
    } else {
        Peers::Missing
    };

    heading("RPC clients that others wrote for Serf");
    let missing = clients::install()?;

    tally.check("format", cargo().args(["fmt", "--all", "--check"]))?;
    let lint = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    tally.check("lints", cargo().args(lint))?;
    tally.tests(peers, &missing)?;
    let mut documentation = cargo();
    documentation.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    tally.check("documentation", &mut documentation)?;
    tally.complaints("tidy", tidy::check)?;
    tally.complaints("topics of Serf's behaviour", compat::check_topics)?;
    Ok(tally.close(peers))
}

impl Tally {
    /// Runs one check and counts it.
    fn check(&mut self, name: &str, command: &mut Command) -> Result<()> {
        heading(name);
        let started = Instant::now();
        let passed = succeeds(command)?;
        println!("    {} after {:.0?}", if passed { "passed" } else { "FAILED" }, started.elapsed());
        self.count(name, passed);
        Ok(())
    }

    /// Runs one check of our own, which says what is wrong in lines, and counts it.
    fn complaints(&mut self, name: &str, check: fn() -> Result<Vec<String>>) -> Result<()> {
        heading(name);
        let complaints = check()?;
        self.count(name, complaints.is_empty());
        for complaint in complaints {
            println!("    {complaint}");
        }
        Ok(())
    }

    fn count(&mut self, name: &str, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
            self.remarks.push(format!("FAILED: {name}"));
        }
    }

    /// Runs all tests, doc tests included, and counts them one by one.
    fn tests(&mut self, peers: Peers, missing: &[Missing]) -> Result<()> {
        heading("tests");
        let started = Instant::now();
        let mut command = cargo();
        command.args(["test", "--workspace", "--no-fail-fast"]).stdout(Stdio::piped());
        if peers != Peers::Run {
            command.env(WITHOUT_PEERS, "1");
        }
        if !missing.is_empty() {
            let names: Vec<&str> = missing.iter().map(|one| one.client).collect();
            command.env(WITHOUT_CLIENTS, names.join(","));
        }
        println!("    {}", line_of(&command));
        let mut child = command.spawn().context("cannot start cargo")?;
        let output = child.stdout.take().context("the output is piped")?;
        let mut counted = Counted::default();
        for line in BufReader::new(output).lines() {
            let line = line.context("cannot read the output of the tests")?;
            println!("{line}");
            counted.add(&line);
        }
        let succeeded = child.wait()?.success();
        println!("    {} after {:.0?}", if succeeded { "passed" } else { "FAILED" }, started.elapsed());

        let not_run = if peers == Peers::Run { Vec::new() } else { peer_tests()? };
        self.passed += counted.passed.saturating_sub(not_run.len() + missing.len());
        self.failed += counted.failed;
        self.skipped += counted.ignored + not_run.len() + missing.len();
        self.remarks.extend(missing.iter().map(|one| {
            format!("NOT RUN, for the client `{}` could not be installed: {}", one.client, one.test)
        }));
        self.remarks.extend(counted.failures.iter().map(|name| format!("FAILED: test {name}")));
        if !succeeded && counted.failed == 0 {
            self.count("building or running the tests", false);
        }
        if !not_run.is_empty() {
            self.remarks.push(format!("NOT RUN, for they need `serf`: {}", not_run.join(", ")));
        }
        Ok(())
    }

    fn close(self, peers: Peers) -> Outcome {
        heading("result");
        for remark in &self.remarks {
            println!("    {remark}");
        }
        let held = self.failed == 0 && peers != Peers::Missing;
        if peers == Peers::Missing {
            println!("    FAILED: `serf` is missing; install it, or accept that with --without-peers");
        }
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped);
        Outcome::held_if(held)
    }
}

fn heading(text: &str) {
    println!("\n==> {text}");
}

/// The names of the tests beside Serf.
fn peer_tests() -> Result<Vec<String>> {
    let listing = output_of(cargo().arg("test").args(PEER_TESTS).args(["--", "--list"]))?;
    Ok(listing.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

/// The results that the test binaries print.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    passed: usize,
    failed: usize,
    ignored: usize,
    failures: Vec<String>,
}

impl Counted {
    /// Takes one line of output into account.
    fn add(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            self.failures.push(name.to_owned());
        }
        let Some(result) = line.strip_prefix("test result: ") else { return };
        for part in result.split([';', '.']) {
            let Some((number, what)) = part.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<usize>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_binaries_add_up() {
        let mut counted = Counted::default();
        for line in [
            "running 3 tests",
            "test a::b ... ok",
            "test a::c ... FAILED",
            "test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.21s",
            "test result: ok. 40 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 1.00s",
        ] {
            counted.add(line);
        }
        let expected = Counted { passed: 41, failed: 1, ignored: 3, failures: vec!["a::c".to_owned()] };
        assert_eq!(counted, expected);
    }
}
