//! `cargo xtask fuzz`: libFuzzer on every target, with the stable toolchain.
//!
//! rustc's own coverage pass for libFuzzer is an LLVM pass like any other, so `-Cpasses` turns it on without a nightly compiler. What is
//! built that way lies in a target folder of its own. Two runs at a time are what two cores can do.

mod run;

use crate::{Outcome, arguments::Arguments, process::cargo};
use anyhow::{Context as _, Result, bail};
use run::{Findings, Job, Limits};
use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
};

/// Turns coverage on, as libFuzzer wants it.
const FLAGS: [&str; 8] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=4",
    "--cfg",
    "fuzzing",
];

/// Where it is built, and where inputs are kept between runs.
const FOLDER: &str = "target/fuzz";
/// The inputs that are in the repository.
const CORPUS: &str = "fuzz/corpus";
/// Two cores.
const AT_ONCE: usize = 2;

pub(super) fn run(mut arguments: Arguments) -> Result<Outcome> {
    let list = arguments.flag("--list");
    let keep = arguments.flag("--keep");
    let only = arguments.value("--target", String::new())?;
    let seconds: u32 = arguments.value("--seconds", 60)?;
    let reproduce = arguments.value("--input", String::new())?;
    arguments.finish()?;
    let all = targets()?;
    if list {
        for target in &all {
            println!("{:<14} {}", target.name, target.about);
        }
        return Ok(Outcome::Held);
    }
    let chosen: Vec<Target> =
        all.into_iter().filter(|target| only.is_empty() || target.name == only).collect();
    if chosen.is_empty() {
        bail!("there is no target `{only}`; --list names them");
    }
    let program = build()?;
    if !reproduce.is_empty() {
        let [target] = &chosen[..] else { bail!("--input needs --target as well") };
        return run::reproduce(&program, &target.name, Path::new(&reproduce));
    }
    println!("{} targets, {seconds} s each, {AT_ONCE} at a time\n", chosen.len());
    println!(
        "{:<14} {:>10} {:>8} {:>9} {:>9} {:>6}  found",
        "target", "runs", "runs/s", "coverage", "features", "new"
    );
    let findings = run_all(&program, &chosen, seconds)?;
    if keep {
        for target in &chosen {
            minimise(&program, target)?;
        }
    }
    tell(&findings);
    Ok(Outcome::held_if(findings.iter().all(|findings| findings.artifacts.is_empty() && findings.ended_well)))
}

/// What the table in `fuzz/src/lib.rs` says of a target.
#[derive(Clone, Debug)]
struct Target {
    name: String,
    about: String,
    bytes_max: usize,
}

/// The targets, read from the source: to ask the crate itself it would have to be built first.
fn targets() -> Result<Vec<Target>> {
    let source = fs::read_to_string("fuzz/src/lib.rs").context("cannot read fuzz/src/lib.rs")?;
    let (_, table) = source.split_once("pub const TARGETS").context("fuzz/src/lib.rs has no TARGETS")?;
    let (table, _) = table.split_once("];").context("TARGETS has no end")?;
    let entries = table.split("Target {").skip(1);
    let targets: Option<Vec<Target>> = entries.map(target_of).collect();
    let targets = targets.context("TARGETS in fuzz/src/lib.rs cannot be read")?;
    if targets.is_empty() {
        bail!("TARGETS in fuzz/src/lib.rs is empty");
    }
    Ok(targets)
}

fn target_of(entry: &str) -> Option<Target> {
    let text = |field: &str| {
        let (_, rest) = entry.split_once(&format!("{field}: \""))?;
        rest.split_once('"').map(|(text, _)| text.to_owned())
    };
    let (_, number) = entry.split_once("bytes_max: ")?;
    let bytes_max = number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    Some(Target { name: text("name")?, about: text("about")?, bytes_max })
}

/// Builds the program, and gives its path.
fn build() -> Result<PathBuf> {
    let version = Command::new("rustc").arg("-vV").output().context("cannot ask rustc for its version")?;
    let version = String::from_utf8(version.stdout).context("rustc's version is no text")?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    // With a target named, the flags are not for build scripts, which could not be linked with them.
    let arguments = ["build", "--package=thane-fuzz", "--bin=fuzz", "--profile=fuzz", "--target", host];
    let built = cargo()
        .args(arguments)
        .args(["--target-dir", FOLDER])
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"))
        .status()
        .context("cannot run cargo")?;
    if !built.success() {
        bail!("the fuzz targets could not be built; libFuzzer needs a C++ compiler");
    }
    Ok(Path::new(FOLDER).join(host).join("fuzz/fuzz"))
}

fn job(program: &Path, target: &Target, seconds: u32) -> Result<Job> {
    let folder = |of: &str| -> Result<PathBuf> {
        let path = Path::new(FOLDER).join(of).join(&target.name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    };
    let kept = Path::new(CORPUS).join(&target.name);
    fs::create_dir_all(&kept).with_context(|| format!("cannot make {}", kept.display()))?;
    Ok(Job {
        program: program.to_owned(),
        target: target.name.clone(),
        corpus: folder("corpus")?,
        kept,
        artifacts: folder("findings")?,
        limits: Limits { seconds, bytes_max: target.bytes_max },
    })
}

/// Runs all, some at a time, and prints a line for each when it is done.
fn run_all(program: &Path, targets: &[Target], seconds: u32) -> Result<Vec<Findings>> {
    let jobs: VecDeque<Job> =
        targets.iter().map(|target| job(program, target, seconds)).collect::<Result<_>>()?;
    let (waiting, done) = (Mutex::new(jobs), Mutex::new(Vec::new()));
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(job) = next() {
                    let findings = job.run();
                    if let Ok(findings) = &findings {
                        println!("{findings}");
                    }
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(findings);
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect()
}

/// Replaces what the repository keeps by the fewest inputs that reach the same code, those of earlier runs here included.
fn minimise(program: &Path, target: &Target) -> Result<()> {
    let job = job(program, target, 0)?;
    let fresh = job.kept.with_extension("minimised");
    drop(fs::remove_dir_all(&fresh));
    fs::create_dir_all(&fresh).with_context(|| format!("cannot make {}", fresh.display()))?;
    job.merge_into(&fresh)?;
    fs::remove_dir_all(&job.kept).with_context(|| format!("cannot remove {}", job.kept.display()))?;
    fs::rename(&fresh, &job.kept).with_context(|| format!("cannot rename {}", fresh.display()))?;
    let count = fs::read_dir(&job.kept)?.count();
    println!("{}: {count} inputs are kept", target.name);
    Ok(())
}

fn tell(findings: &[Findings]) {
    let failed: Vec<&Findings> =
        findings.iter().filter(|one| !one.artifacts.is_empty() || !one.ended_well).collect();
    if failed.is_empty() {
        println!(
            "\nnothing failed; what reached new code is in {FOLDER}/corpus, --keep puts it into {CORPUS}"
        );
        return;
    }
    for one in failed {
        println!("\n{}: {}", one.target, one.reason);
        for artifact in &one.artifacts {
            let path = artifact.display();
            println!("  {path}");
            println!("  see it fail:  cargo xtask fuzz --target {} --input {path}", one.target);
            println!("  make it a test, run from then on by `cargo test -p thane-fuzz`:");
            println!("                cp {path} {CORPUS}/{}/", one.target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_targets_is_read() {
        std::env::set_current_dir(crate::root()).expect("the repository is there");
        let targets = targets().expect("it can be read");
        let packet = targets.iter().find(|target| target.name == "packet").expect("packets are fuzzed");
        assert_eq!(packet.bytes_max, 4096);
        let folders = fs::read_dir(CORPUS).expect("there is a corpus").count();
        assert_eq!(folders, targets.len(), "one folder of the corpus for each target");
    }
}
