//! `thane sim` and `thane sim run`: one setup, over one or several seeds.

use std::fs::File;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use thane_sim::lab::{self, KEYS, Setup, SetupError, Study, html, text};

use crate::cli::encoding::{Format, as_json, with_format};
use crate::cli::interrupt::note_interrupts;
use crate::cli::progress::Progress;
use crate::cli::{Failure, Output};
use crate::goflags::{FlagSet, Parsed};

/// More runs than this are a slip.
const SEEDS_MAX: i64 = 100_000;

pub(super) fn flags() -> FlagSet {
    with_runs(with_setup(FlagSet::new(
        "sim run",
        "sim run [flags] [SCENARIO|FILE.toml|KEY=VALUE]...",
        "The same as thane sim: simulates a cluster and tells what was measured.",
    )))
}

/// Adds what says which cluster.
pub(super) fn with_setup(flags: FlagSet) -> FlagSet {
    let flags = flags
        .mixed()
        .string("scenario", "", "Begin with this scenario; 'thane sim list' shows them.")
        .string("file", "", "Begin with what this TOML file says.");
    let flags =
        KEYS.iter().filter(|key| key.has_flag).fold(flags, |flags, key| flags.string(key.name, "", key.help));
    flags
        .string("crash", "", "So many processes die: the same as -fault 'crash N at 10s'.")
        .list(
            "fault",
            "Something that goes wrong, as 'partition 30% at 10s for 60s'; can be given more than once.",
        )
        .list("set", "Any setting, as KEY=VALUE; 'thane sim keys' lists them; can be given more than once.")
}

/// Adds what says how often, and where the results go.
pub(super) fn with_runs(flags: FlagSet) -> FlagSet {
    with_format(
        flags
            .string(
                "seed",
                "",
                "The number that all chance comes from; a new one each time if none is given.",
            )
            .int("seeds", 1, "How many runs, with this seed and those that follow it.")
            .int("threads", 0, "Runs at a time; 0 for as many as there are processors.")
            .string("html", "", "Write a report with charts into this file; it opens without a network."),
    )
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    let setup = setup(parsed)?;
    let runs = Runs::of(parsed)?;
    let command = format!("thane sim {} {}", setup.arguments(), runs.arguments()).replace("  ", " ");
    if runs.format == Format::Text {
        output.line(&format!("Simulating {} nodes: {}", setup.nodes, setup.title()))?;
        output.line(&format!("{}: {command}", runs.seeds_told()))?;
    }
    let study = runs.study(&setup, "")?;
    runs.write_html(|| html::page(&study, &command))?;
    match runs.format {
        Format::Json => output.line(&as_json(&study.document(&command))?)?,
        Format::Text => tell(&study, &command, output)?,
    }
    Ok(())
}

fn tell(study: &Study, command: &str, output: &mut Output) -> Result<(), Failure> {
    if study.reports.is_empty() {
        return Err(Failure::told("It was stopped before anything was measured."));
    }
    output.line("")?;
    for finding in text::findings(study) {
        output.line(&finding)?;
    }
    output.line("")?;
    output.line(&text::table(study))?;
    output.line("")?;
    output.line(&format!("To run it again: {command}"))?;
    Ok(())
}

/// The setup that flags and arguments describe.
pub(super) fn setup(parsed: &Parsed) -> Result<Setup, Failure> {
    let setup = begun(parsed)?;
    setup.complete().map_err(|wrong| told(&wrong))?;
    Ok(setup)
}

/// The same if more is to be said: whether all of it can be together is not known yet.
pub(super) fn begun(parsed: &Parsed) -> Result<Setup, Failure> {
    let read = |path: &str| std::fs::read_to_string(path).map_err(|error| error.to_string());
    let mut setup = Setup::reading(read);
    if parsed.is_set("file") {
        setup = from_file(setup, parsed.string("file"))?;
    }
    if parsed.is_set("scenario") {
        setup = setup.with("scenario", parsed.string("scenario")).map_err(|wrong| told(&wrong))?;
    }
    for argument in parsed.args() {
        setup = with_argument(setup, argument)?;
    }
    let mut set = |key: &str, value: &str| {
        setup = std::mem::take(&mut setup).with(key, value).map_err(|wrong| told(&wrong))?;
        Ok::<(), Failure>(())
    };
    for key in KEYS.iter().filter(|key| key.has_flag && parsed.is_set(key.name)) {
        set(key.name, parsed.string(key.name))?;
    }
    for pair in parsed.list("set") {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            Failure::mendable(format!("-set has '{pair}'"), "Write -set KEY=VALUE, as -set suspicion_mult=6.")
        })?;
        set(key.trim(), value.trim())?;
    }
    if parsed.is_set("crash") {
        set("fault", &format!("crash {} at 10s", parsed.string("crash")))?;
    }
    for fault in parsed.list("fault") {
        set("fault", fault)?;
    }
    Ok(setup)
}

/// A file, a scenario, or keys and values, on top of what was said before.
pub(super) fn with_argument(setup: Setup, argument: &str) -> Result<Setup, Failure> {
    let is_file = !argument.contains('=')
        && std::path::Path::new(argument).extension().is_some_and(|extension| extension == "toml");
    if is_file {
        return from_file(setup, argument);
    }
    let mut setup = setup;
    for item in argument.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (key, value) = item.split_once('=').unwrap_or(("scenario", item));
        setup = setup.with(key.trim(), value.trim()).map_err(|wrong| told(&wrong))?;
    }
    Ok(setup)
}

fn from_file(setup: Setup, path: &str) -> Result<Setup, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::mendable(
            format!("The file '{path}' cannot be read: {error}"),
            "It should be a TOML file; docs/simulator.md tells what may be in it.",
        )
    })?;
    setup.with_toml(&text).map_err(|wrong| {
        Failure::mendable(format!("{path}: {wrong}"), "'thane sim keys' lists what can be set.")
    })
}

pub(super) fn told(wrong: &SetupError) -> Failure {
    Failure::mendable(
        format!("This cannot be simulated: {wrong}"),
        "'thane sim list' shows the scenarios, 'thane sim keys' what can be set.",
    )
}

/// How often, how fast, and where the results go.
pub(super) struct Runs {
    pub(super) seed: u64,
    count: u64,
    threads: NonZeroUsize,
    pub(super) format: Format,
    html: Option<(String, File)>,
}

impl Runs {
    pub(super) fn of(parsed: &Parsed) -> Result<Self, Failure> {
        let seed = match parsed.string("seed") {
            "" => fresh_seed(),
            given => given.parse().map_err(|_not_a_number| {
                Failure::mendable(format!("-seed is '{given}'"), "-seed takes a whole number of 0 or more.")
            })?,
        };
        let count = match parsed.int("seeds") {
            count @ 1..=SEEDS_MAX => count as u64,
            other => {
                return Err(Failure::mendable(
                    format!("-seeds is {other}"),
                    format!("-seeds takes a number from 1 to {SEEDS_MAX}."),
                ));
            }
        };
        let threads = match usize::try_from(parsed.int("threads")) {
            Ok(threads) => NonZeroUsize::new(threads),
            Err(_negative) => {
                return Err(Failure::mendable(
                    format!("-threads is {}", parsed.int("threads")),
                    "-threads takes a number of 0 or more; 0 stands for all processors.",
                ));
            }
        };
        let threads = threads.or_else(|| available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
        let path = parsed.string("html");
        // Now, so that nobody waits for a run whose report cannot be kept.
        let html = (!path.is_empty()).then(|| File::create(path).map(|file| (path.to_owned(), file)));
        let html = html.transpose().map_err(|error| {
            Failure::mendable(
                format!("The report '{path}' cannot be written: {error}"),
                "-html takes the name of a file in a folder that is there.",
            )
        })?;
        Ok(Self { seed, count, threads, format: Format::of(parsed)?, html })
    }

    /// How many runs there are to be of each setup.
    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    /// The flags that give the same runs again.
    pub(super) fn arguments(&self) -> String {
        if self.count == 1 {
            format!("-seed {}", self.seed)
        } else {
            format!("-seed {} -seeds {}", self.seed, self.count)
        }
    }

    pub(super) fn seeds_told(&self) -> String {
        if self.count == 1 {
            format!("Seed {}", self.seed)
        } else {
            format!("Seeds {} to {}", self.seed, self.seed.wrapping_add(self.count - 1))
        }
    }

    /// Runs a setup, with a line of progress that begins with `what`.
    pub(super) fn study(&self, setup: &Setup, what: &str) -> Result<Study, Failure> {
        let seeds: Vec<u64> = (0..self.count).map(|number| self.seed.wrapping_add(number)).collect();
        let line = Progress::start("starting");
        let stop: &AtomicBool = note_interrupts();
        let (begun, since) = (AtomicUsize::new(0), Instant::now());
        let several = if self.count > 1 { format!(" of {} runs", self.count) } else { String::new() };
        let study = lab::study(setup, &seeds, self.threads, &|place, progress| {
            let run = begun.fetch_max(place, Ordering::Relaxed).max(place) + 1;
            let run = if several.is_empty() { String::new() } else { format!("run {run}{several}, ") };
            let lab::Progress { now, of, up, differing, .. } = *progress;
            line.note(&if progress.is_forming {
                format!("{what}{run}forming the cluster: {up} of {} nodes are up, {differing} do not know all", setup.nodes)
            } else {
                let speed = speed(now, since.elapsed());
                let (now, of) = (now.as_secs_f64(), of.as_secs_f64());
                format!("{what}{run}{now:.0} of {of:.0} s of virtual time{speed}, {up} nodes up, {differing} with a wrong list")
            });
            !stop.load(Ordering::Relaxed)
        });
        drop(line);
        study.map_err(|wrong| told(&wrong))
    }

    /// Writes the report, if one was asked for.
    pub(super) fn write_html(&self, page: impl FnOnce() -> String) -> Result<(), Failure> {
        let Some((path, file)) = &self.html else { return Ok(()) };
        let mut file = file;
        file.write_all(page().as_bytes()).map_err(|error| {
            Failure::mendable(format!("The report '{path}' cannot be written: {error}"), "Is the disk full?")
        })
    }
}

/// How many seconds of virtual time pass in one.
fn speed(now: Duration, elapsed: Duration) -> String {
    if elapsed < Duration::from_secs(1) {
        return String::new();
    }
    format!(" ({:.0} x real time)", now.as_secs_f64() / elapsed.as_secs_f64())
}

/// A seed that nobody chose, short enough to be typed.
fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    // The standard library seeds its hash tables from the system's randomness.
    RandomState::new().hash_one(0) % 1_000_000
}
