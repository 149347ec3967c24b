//! Times short pieces of work on a machine that does other things as well.

use std::time::{Duration, Instant};

/// How long one batch takes at least: long enough for the clock's own cost to vanish, and short enough for most batches to run
/// without another program in between.
const BATCH_MIN: Duration = Duration::from_micros(250);
/// How many batches of each piece of work are timed.
const ROUNDS: usize = 101;

/// The only place that reads the clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the code under test takes time as an input; this measures that code"
)]
pub(crate) fn clock() -> Instant {
    Instant::now()
}

/// One piece of work.
pub(crate) type Work<'a> = Box<dyn FnMut() + 'a>;

/// What became of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// Median of the rounds, in nanoseconds.
    pub(crate) median_ns: f64,
    /// Distance of the quartiles, as a share of the median.
    pub(crate) spread: f64,
}

/// Times all pieces of work. Each round runs one batch of each, so that a disturbance of some seconds falls on one round of all
/// and not on all rounds of one; the median then leaves it out.
pub(crate) fn measure(works: &mut [Work<'_>]) -> Vec<Timing> {
    let batches: Vec<u32> = works.iter_mut().map(calibrate).collect();
    let mut samples = vec![Vec::with_capacity(ROUNDS); works.len()];
    for _round in 0..ROUNDS {
        for ((work, batch), samples) in works.iter_mut().zip(&batches).zip(&mut samples) {
            // Other work has been in the caches meanwhile.
            work();
            samples.push(run(work, *batch).as_secs_f64() * 1e9 / f64::from(*batch));
        }
    }
    samples.into_iter().map(summarise).collect()
}

/// How often the work must be done to take [`BATCH_MIN`]. Finding out warms it up.
fn calibrate(work: &mut Work<'_>) -> u32 {
    let mut batch = 1;
    while run(work, batch) < BATCH_MIN {
        batch *= 2;
    }
    batch
}

fn run(work: &mut Work<'_>, batch: u32) -> Duration {
    let start = clock();
    for _ in 0..batch {
        work();
    }
    start.elapsed()
}

fn summarise(mut samples: Vec<f64>) -> Timing {
    samples.sort_by(f64::total_cmp);
    let at = |share: usize| samples[(samples.len() - 1) * share / 4];
    Timing { median_ns: at(2), spread: (at(3) - at(1)) / at(2) }
}
