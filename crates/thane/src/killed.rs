//! Processes that tests kill (-9) in the middle of their work.
//!
//! The victim is this very test program, told to run one test that does nothing unless it is a victim. It writes a line for
//! each step that it has taken.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const PATH: &str = "THANE_TEST_VICTIM_PATH";
const FROM: &str = "THANE_TEST_VICTIM_FROM";
/// What marks the lines of a victim among those of the test program.
const MARK: &str = "victim has done ";

/// A running victim. It is killed when this goes away.
pub(crate) struct Victim {
    child: Child,
    steps: Receiver<(u64, Instant)>,
}

/// What a victim has said before it was killed.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) steps: Vec<(u64, Instant)>,
}

impl Said {
    /// The last step that was told this long before the end, by the clock of who listens.
    pub(crate) fn before(&self, end: Instant, margin: Duration) -> u64 {
        let told = self.steps.iter().rev().find(|(_, at)| *at + margin <= end);
        told.map_or(0, |(step, _)| *step)
    }
}

impl Victim {
    /// Starts the test of this full name as a victim that works on `path` and counts its steps from `from`.
    pub(crate) fn start(test: &str, path: &Path, from: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(PATH, path)
            .env(FROM, from.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (told, steps) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // The name of the test comes first in the same line.
                let step = line.split(MARK).nth(1).and_then(|step| step.parse().ok());
                if step.is_some_and(|step| told.send((step, Instant::now())).is_err()) {
                    return;
                }
            }
        });
        Self { child, steps }
    }

    /// Waits until the victim has begun.
    pub(crate) fn first_step(&self) -> (u64, Instant) {
        self.steps.recv_timeout(Duration::from_secs(60)).expect("the victim begins")
    }

    /// Kills it: what it had said, and when it was killed.
    pub(crate) fn kill(mut self) -> (Said, Instant) {
        let end = Instant::now();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // The sender ends with the pipe.
        (Said { steps: self.steps.iter().collect() }, end)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It may have been killed already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// For the victim: what it works on, and from which step; `None` in a process that is none.
pub(crate) fn orders() -> Option<(PathBuf, u64)> {
    Some((std::env::var_os(PATH)?.into(), std::env::var(FROM).ok()?.parse().ok()?))
}

/// For the victim: tells a step, and returns only when it is told.
pub(crate) fn tell(step: u64) {
    let mut stdout = std::io::stdout().lock();
    // If nobody hears it, it ends.
    if writeln!(stdout, "{MARK}{step}").and_then(|()| stdout.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Moments to kill at, drawn from a seed that is printed: each the time to wait after the victim has begun.
pub(crate) fn moments(count: usize, longest: Duration) -> Vec<Duration> {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
    let seed = std::env::var("THANE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(seed);
    println!("kill moments of THANE_TEST_SEED={seed}");
    let mut state = seed;
    let draws = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        longest.mul_f64(f64::from(state >> 8) / f64::from(1 << 24))
    });
    draws.take(count).collect()
}
