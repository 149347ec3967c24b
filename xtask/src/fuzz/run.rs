//! One run of libFuzzer, and what it says of itself.

use crate::Outcome;
use anyhow::{Context as _, Result, bail};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What one input may cost: libFuzzer ends the run over it.
const INPUT_SECONDS_MAX: u32 = 5;
const MEMORY_MIB_MAX: u32 = 1024;
/// More at once is out of all proportion to inputs of a few kilobytes.
const ALLOCATION_MIB_MAX: u32 = 64;

/// How long to look, and at what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) seconds: u32,
    pub(super) bytes_max: usize,
}

/// A target and its folders.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) program: PathBuf,
    pub(super) target: String,
    /// Where inputs that reach new code go.
    pub(super) corpus: PathBuf,
    /// Those in the repository.
    pub(super) kept: PathBuf,
    /// Where inputs that fail go.
    pub(super) artifacts: PathBuf,
    pub(super) limits: Limits,
}

/// What came of a run.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) target: String,
    runs: u64,
    runs_per_second: u64,
    coverage: u64,
    features: u64,
    new_inputs: u64,
    /// The inputs that failed in this run.
    pub(super) artifacts: Vec<PathBuf>,
    /// Why it ended early, in libFuzzer's or the panic's words.
    pub(super) reason: String,
    pub(super) ended_well: bool,
}

impl Job {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("THANE_FUZZ_TARGET", &self.target).stdout(Stdio::null()).stderr(Stdio::piped());
        command.arg(format!("-artifact_prefix={}/", self.artifacts.display()));
        command.arg(format!("-max_len={}", self.limits.bytes_max));
        command.arg(format!("-timeout={INPUT_SECONDS_MAX}"));
        command.arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"));
        command.arg(format!("-malloc_limit_mb={ALLOCATION_MIB_MAX}"));
        command
    }

    /// Runs it to its end.
    pub(super) fn run(&self) -> Result<Findings> {
        let before = artifacts(&self.artifacts)?;
        let mut command = self.command();
        command.args(["-print_final_stats=1", "-use_value_profile=0"]);
        command.arg(format!("-max_total_time={}", self.limits.seconds));
        let output = command.arg(&self.corpus).arg(&self.kept).output();
        let output = output.with_context(|| format!("cannot run {}", self.program.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let mut findings = Findings::of(&said);
        findings.target.clone_from(&self.target);
        findings.ended_well = output.status.success();
        findings.artifacts =
            artifacts(&self.artifacts)?.into_iter().filter(|file| !before.contains(file)).collect();
        Ok(findings)
    }

    /// Puts the fewest inputs that reach all that was reached into a folder.
    pub(super) fn merge_into(&self, folder: &Path) -> Result<()> {
        let mut command = self.command();
        let merged = command.arg("-merge=1").arg(folder).arg(&self.kept).arg(&self.corpus).output();
        let merged = merged.with_context(|| format!("cannot run {}", self.program.display()))?;
        if !merged.status.success() {
            bail!(
                "{}: the corpus could not be minimised:\n{}",
                self.target,
                String::from_utf8_lossy(&merged.stderr)
            );
        }
        Ok(())
    }
}

/// Runs one input, with all that it says.
pub(super) fn reproduce(program: &Path, target: &str, input: &Path) -> Result<Outcome> {
    let mut command = Command::new(program);
    command.env("THANE_FUZZ_TARGET", target).arg(format!("-timeout={INPUT_SECONDS_MAX}")).arg(input);
    let status = command.status().with_context(|| format!("cannot run {}", program.display()))?;
    Ok(Outcome::held_if(status.success()))
}

fn artifacts(folder: &Path) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    files.map(|file| Ok(file?.path())).collect()
}

impl Findings {
    /// Reads what libFuzzer has said.
    fn of(said: &str) -> Self {
        let mut findings = Self::default();
        for line in said.lines() {
            let number = |after: &str| {
                let (_, rest) = line.split_once(after)?;
                rest.trim_start().split(' ').next()?.parse().ok()
            };
            if line.starts_with('#') {
                findings.coverage = number("cov: ").unwrap_or(findings.coverage);
                findings.features = number("ft: ").unwrap_or(findings.features);
                findings.new_inputs += u64::from(line.contains("\tNEW "));
            }
            findings.runs = number("stat::number_of_executed_units:").unwrap_or(findings.runs);
            findings.runs_per_second =
                number("stat::average_exec_per_sec:").unwrap_or(findings.runs_per_second);
            if findings.reason.is_empty()
                && (line.contains("panicked at") || line.contains("ERROR: libFuzzer"))
            {
                line.trim_start_matches(['=', ' ']).clone_into(&mut findings.reason);
            } else if findings.reason.ends_with(':') {
                // The panic's own words are on the next line.
                findings.reason = format!("{} {line}", findings.reason);
            }
        }
        findings
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, runs, runs_per_second, coverage, features, new_inputs, .. } = self;
        let found = if self.ended_well { "-" } else { &self.reason };
        write!(
            f,
            "{target:<14} {runs:>10} {runs_per_second:>8} {coverage:>9} {features:>9} {new_inputs:>6}  {found}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_read() {
        let said = "#2\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 40Mb\n\
                    #90\tNEW    cov: 15 ft: 17 corp: 2/4b lim: 4 exec/s: 0 rss: 40Mb L: 3/3 MS: 1 CopyPart-\n\
                    #4096\tpulse  cov: 15 ft: 18 corp: 2/4b lim: 4 exec/s: 2048 rss: 41Mb\n\
                    thread '<unnamed>' panicked at fuzz/src/wire.rs:42:5:\n\
                    left is not right\n\
                    ==7== ERROR: libFuzzer: deadly signal\n\
                    stat::number_of_executed_units: 4711\n\
                    stat::average_exec_per_sec:     2048\n";
        let findings = Findings::of(said);
        assert_eq!((findings.runs, findings.runs_per_second), (4711, 2048));
        assert_eq!((findings.coverage, findings.features, findings.new_inputs), (15, 18, 1));
        assert!(findings.reason.ends_with("fuzz/src/wire.rs:42:5: left is not right"), "{}", findings.reason);
    }
}
