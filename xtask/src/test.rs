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
    io::{self, BufRead as _, BufReader},
    process::Command,
    time::Instant,
};

/// The test binary that runs Thane beside Serf, as arguments of `cargo test`.
const PEER_TESTS: [&str; 4] = ["--package", "thane-agent", "--test", "peers"];

/// Tells that test binary to skip its tests, saying so.
const WITHOUT_PEERS: &str = "THANE_WITHOUT_PEERS";

/// Names the clients of others that could not be had, whose tests skip themselves then.
const WITHOUT_CLIENTS: &str = "THANE_WITHOUT_CLIENTS";

/// The packages whose tests live in real time, with processes and sockets: a machine that stands still for seconds can fail any of them.
/// Everything else is deterministic, and a failure there is one.
const IN_REAL_TIME: [&str; 2] = ["thane", "thane-agent"];

/// So many tests of a run may be unlucky. If more fail, it is not the machine.
const UNLUCKY: usize = 3;

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
        command.args(["test", "--workspace", "--no-fail-fast"]);
        if peers != Peers::Run {
            command.env(WITHOUT_PEERS, "1");
        }
        if !missing.is_empty() {
            let names: Vec<&str> = missing.iter().map(|one| one.client).collect();
            command.env(WITHOUT_CLIENTS, names.join(","));
        }
        println!("    {}", line_of(&command));
        // One pipe for both, since cargo tells on one which test binary it is whose results are on the other.
        let (output, input) = io::pipe().context("cannot make a pipe")?;
        command.stdout(input.try_clone().context("cannot share a pipe")?).stderr(input);
        let mut child = command.spawn().context("cannot start cargo")?;
        drop(command);
        let mut counted = Counted::default();
        for line in BufReader::new(output).lines() {
            let line = line.context("cannot read the output of the tests")?;
            println!("{line}");
            counted.add(&line);
        }
        let succeeded = child.wait()?.success();
        println!("    {} after {:.0?}", if succeeded { "passed" } else { "FAILED" }, started.elapsed());

        let unlucky = counted.try_again()?;
        let not_run = if peers == Peers::Run { Vec::new() } else { peer_tests()? };
        self.remarks.extend(unlucky.iter().map(|name| {
            format!("PASSED ONLY WHEN RUN AGAIN, alone, which is a fault of the test or worse: {name}")
        }));
        self.passed += counted.passed.saturating_sub(not_run.len() + missing.len());
        self.failed += counted.failed;
        self.skipped += counted.ignored + not_run.len() + missing.len();
        self.remarks.extend(missing.iter().map(|one| {
            format!("NOT RUN, for the client `{}` could not be installed: {}", one.client, one.test)
        }));
        self.remarks.extend(counted.failures.iter().map(|failure| format!("FAILED: test {}", failure.test)));
        for target in &counted.cut_short {
            self.count(&format!("the tests of `{target}`, which ended before they were over"), false);
        }
        if !succeeded && counted.failed == 0 && counted.cut_short.is_empty() && unlucky.is_empty() {
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

/// What cargo says when a test binary failed, before the arguments that run it.
const RERUN: &str = "error: test failed, to rerun pass `";

/// The results that the test binaries print.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    passed: usize,
    failed: usize,
    ignored: usize,
    failures: Vec<Failure>,
    /// Test binaries that ended before their tests were over, as a crash of the whole process ends them.
    cut_short: Vec<String>,
}

/// A test that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    test: String,
    /// The arguments with which cargo runs the binary that has it, once cargo has told them.
    target: Vec<String>,
}

impl Failure {
    /// Whether real time may be to blame.
    fn may_be_bad_luck(&self) -> bool {
        let of = |package: &str| self.target.starts_with(&["-p".to_owned(), package.to_owned()]);
        IN_REAL_TIME.into_iter().any(of)
    }
}

impl Counted {
    /// Takes one line of output into account.
    fn add(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            self.failures.push(Failure { test: name.to_owned(), target: Vec::new() });
        }
        if let Some(target) = line.strip_prefix(RERUN).and_then(|rest| rest.strip_suffix('`')) {
            let mut is_explained = false;
            for failure in self.failures.iter_mut().filter(|failure| failure.target.is_empty()) {
                failure.target = target.split(' ').map(str::to_owned).collect();
                is_explained = true;
            }
            if !is_explained {
                self.cut_short.push(target.to_owned());
            }
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

    /// Runs those that real time may have failed once more, each alone. Counts as passed those that pass then; their names.
    fn try_again(&mut self) -> Result<Vec<String>> {
        let (unlucky, sure): (Vec<Failure>, Vec<Failure>) =
            std::mem::take(&mut self.failures).into_iter().partition(Failure::may_be_bad_luck);
        self.failures = sure;
        if unlucky.len() > UNLUCKY {
            self.failures.extend(unlucky);
            return Ok(Vec::new());
        }
        let mut passed = Vec::new();
        for failure in unlucky {
            heading(&format!("once more, alone: {}", failure.test));
            let mut command = cargo();
            command.arg("test").args(&failure.target).args(["--", "--exact", &failure.test]);
            if succeeds(&mut command)? {
                self.failed -= 1;
                self.passed += 1;
                passed.push(failure.test);
            } else {
                self.failures.push(failure);
            }
        }
        Ok(passed)
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
        let failures = vec![failure("a::c", &[])];
        assert_eq!(counted, Counted { passed: 41, failed: 1, ignored: 3, failures, ..Counted::default() });
    }

    #[test]
    fn a_failure_belongs_to_the_binary_that_cargo_names_after_it() {
        let mut counted = Counted::default();
        for line in [
            "test a::b ... FAILED",
            "test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.21s",
            "error: test failed, to rerun pass `-p thane-agent --test peers`",
            "test c ... FAILED",
            "error: test failed, to rerun pass `-p thane-core --lib`",
            "error: test failed, to rerun pass `-p thane --test nodes`",
            "test d ... FAILED",
        ] {
            counted.add(line);
        }
        let expected = [
            failure("a::b", &["-p", "thane-agent", "--test", "peers"]),
            failure("c", &["-p", "thane-core", "--lib"]),
            failure("d", &[]),
        ];
        assert_eq!(counted.failures, expected);
        assert_eq!(counted.cut_short, ["-p thane --test nodes"], "it names no test that failed");
        assert_eq!(expected.map(|failure| failure.may_be_bad_luck()), [true, false, false]);
    }

    #[test]
    fn many_failures_are_nobodys_bad_luck() {
        let failures = vec![failure("a", &["-p", "thane"]); UNLUCKY + 1];
        let mut counted =
            Counted { failed: failures.len(), failures: failures.clone(), ..Counted::default() };
        assert_eq!(counted.try_again().expect("nothing is run"), Vec::<String>::new());
        assert_eq!(counted.failures, failures);
    }

    fn failure(test: &str, target: &[&str]) -> Failure {
        Failure { test: test.to_owned(), target: target.iter().map(|&part| part.to_owned()).collect() }
    }
}
