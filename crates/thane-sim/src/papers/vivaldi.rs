//! Network coordinates: how soon and how well they foretell round-trip times, on matrices measured in real networks.
//!
//! In each cycle every member measures one other, chosen evenly, without noise; members do so one after the other. The error is
//! |estimate − time| / time, over all ordered pairs whose time is known. Two sets of rules run side by side: the paper's (two dimensions and a height)
//! and Serf's (eight dimensions, a height, an adjustment and gravity), which are the ones that every member runs
//! ([`thane_core::vivaldi`], bit for bit Serf's). The paper's own matrix of 1740 hosts is not to be had, so what is printed beside
//! ours is a reference: the same rules, written by others, on the same matrices.
//!
//! Times also change. The second table moves through slices of time and asks how well coordinates foretell the *next* slice, and
//! how far they wander meanwhile, with and without the latency filter. (Ledlie, Gardner, Seltzer: Network Coordinates in the Wild, NSDI 2007.)

use std::time::Duration;

use thane_core::vivaldi::{LatencyFilter, VivaldiClient, VivaldiConfig, distance, raw_distance};

use super::{Cell, Options, PaperTable, Progress, Row, for_each, mean, quantile};
use crate::network::Matrix;
use crate::rng::SimRng;

/// After how many cycles the error is taken.
const CYCLES: [usize; 5] = [10, 30, 100, 300, 1000];
/// Members of the `PlanetLab` matrices.
const PLANETLAB_HOSTS: usize = 490;
/// Devices of the Seattle slices.
const SEATTLE_DEVICES: usize = 99;
/// How many others each device measures in a slice, always the same ones.
const NEIGHBOURS: usize = 16;
/// Slices before drift and error are counted.
const WARM_UP: usize = 12;

/// Measured times in milliseconds; NaN where there is none.
#[derive(Debug, Clone)]
pub struct Times {
    name: &'static str,
    places: usize,
    ms: Vec<f64>,
}

impl Times {
    /// Rows of unsigned 16-bit numbers, the low byte first, in units of this many milliseconds; 0 is missing.
    fn from_u16le(name: &'static str, bytes: &[u8], places: usize, unit_ms: f64) -> Self {
        let (numbers, rest) = bytes.as_chunks::<2>();
        assert!(
            rest.is_empty() && numbers.len() == places * places,
            "{name} is no square of {places} places"
        );
        let time = |number: &[u8; 2]| match u16::from_le_bytes(*number) {
            0 => f64::NAN,
            number => f64::from(number) * unit_ms,
        };
        let mut ms: Vec<f64> = numbers.iter().map(time).collect();
        for place in 0..places {
            ms[place * places + place] = f64::NAN;
        }
        Self { name, places, ms }
    }

    /// All times of a matrix between different places.
    pub fn from_matrix(name: &'static str, matrix: &Matrix) -> Self {
        let places = matrix.places();
        let time = |index: usize| {
            let (from, to) = (index / places, index % places);
            if from == to { f64::NAN } else { matrix.rtt(from, to).as_secs_f64() * 1e3 }
        };
        Self { name, places, ms: (0..places * places).map(time).collect() }
    }

    fn between(&self, from: usize, to: usize) -> Option<f64> {
        Some(self.ms[from * self.places + to]).filter(|ms| ms.is_finite())
    }
}

/// What one set of rules reached on one matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Accuracy {
    /// The median relative error after 10, 30, 100, 300 and 1000 cycles.
    pub medians: Vec<f64>,
    /// The relative error at the end that 90 % of the pairs do not exceed.
    pub p90: f64,
    /// The median absolute error at the end, in milliseconds.
    pub absolute_ms: f64,
}

/// The paper's rules: two dimensions and a height, nothing else.
pub fn plain_rules() -> VivaldiConfig {
    VivaldiConfig {
        dimensionality: 2,
        adjustment_window: 0,
        latency_filter: 1,
        // So weak that it moves nothing.
        gravity_rho: 1e9,
        ..VivaldiConfig::default()
    }
}

fn clients(config: &VivaldiConfig, count: usize) -> Vec<VivaldiClient> {
    let client = match VivaldiClient::new(config.clone()) {
        Ok(client) => client,
        Err(wrong) => unreachable!("invariant: the rules of an experiment are sound: {wrong}"),
    };
    vec![client; count]
}

/// One member learns the time to another.
fn measure(
    clients: &mut [VivaldiClient],
    filter: &mut LatencyFilter,
    from: usize,
    to: usize,
    ms: f64,
    rng: &mut SimRng,
) {
    let theirs = clients[to].coordinate().clone();
    let rtt = Duration::from_secs_f64(ms / 1e3);
    // A time over ten seconds is refused, as it is by a member: it then learns nothing from it.
    let _learnt = clients[from].update(filter, &theirs, rtt, &mut || rng.unit()).is_ok();
}

/// Runs one set of rules on one matrix from one seed.
pub fn accuracy(times: &Times, rules: &VivaldiConfig, seed: u64) -> Accuracy {
    let mut rng = SimRng::new(seed, "vivaldi", 0);
    let mut clients = clients(rules, times.places);
    let mut medians = Vec::new();
    for cycle in 1..=CYCLES[CYCLES.len() - 1] {
        for from in 0..times.places {
            // Evenly among all others.
            let to = (from + 1 + rng.below(times.places - 1)) % times.places;
            if let Some(ms) = times.between(from, to) {
                // Members rarely meet the same peer twice, so there is nothing to filter.
                measure(&mut clients, &mut LatencyFilter::default(), from, to, ms, &mut rng);
            }
        }
        if CYCLES.contains(&cycle) {
            medians.extend(quantile(&errors(times, &clients), 0.5));
        }
    }
    let absolute: Vec<f64> =
        pairs(times).map(|(from, to, ms)| (estimate_ms(&clients, from, to) - ms).abs()).collect();
    Accuracy {
        medians,
        p90: quantile(&errors(times, &clients), 0.9).unwrap_or(f64::NAN),
        absolute_ms: quantile(&absolute, 0.5).unwrap_or(f64::NAN),
    }
}

fn pairs(times: &Times) -> impl Iterator<Item = (usize, usize, f64)> + '_ {
    (0..times.places * times.places).filter_map(|index| {
        let (from, to) = (index / times.places, index % times.places);
        Some((from, to, times.between(from, to)?))
    })
}

fn estimate_ms(clients: &[VivaldiClient], from: usize, to: usize) -> f64 {
    distance(clients[from].coordinate(), clients[to].coordinate())
        .map_or(f64::NAN, |it| it.as_secs_f64() * 1e3)
}

fn errors(times: &Times, clients: &[VivaldiClient]) -> Vec<f64> {
    pairs(times).map(|(from, to, ms)| (estimate_ms(clients, from, to) - ms).abs() / ms).collect()
}

/// Microsoft's regions, and two slices of `PlanetLab`.
pub fn matrices() -> Vec<Times> {
    vec![
        Times::from_matrix("Azure, 50 regions", &Matrix::azure()),
        Times::from_u16le(
            "PlanetLab, 490 hosts, slice 1",
            include_bytes!("../../data/planetlab-t01.u16le"),
            PLANETLAB_HOSTS,
            0.1,
        ),
        Times::from_u16le(
            "PlanetLab, 490 hosts, slice 10",
            include_bytes!("../../data/planetlab-t10.u16le"),
            PLANETLAB_HOSTS,
            0.1,
        ),
    ]
}

/// A set of rules, with its reference for each of [`matrices`]: medians, then, where it is known, the 90th percentile and the
/// absolute error.
struct Rules {
    name: &'static str,
    config: VivaldiConfig,
    reference: [[Option<f64>; 7]; 3],
}

fn rules() -> [Rules; 2] {
    let medians_only = |medians: [f64; 5]| std::array::from_fn(|at| medians.get(at).copied());
    [
        Rules {
            name: "2-D + height (paper)",
            config: plain_rules(),
            reference: [
                medians_only([0.441, 0.289, 0.122, 0.084, 0.077]),
                medians_only([0.464, 0.352, 0.125, 0.104, 0.093]),
                medians_only([0.459, 0.334, 0.117, 0.100, 0.088]),
            ],
        },
        Rules {
            name: "Serf's",
            config: VivaldiConfig::default(),
            reference: [
                [0.302, 0.216, 0.087, 0.068, 0.063, 0.217, 7.4].map(Some),
                [0.361, 0.333, 0.121, 0.090, 0.080, 0.340, 8.9].map(Some),
                [0.355, 0.320, 0.111, 0.082, 0.073, 0.287, 8.1].map(Some),
            ],
        },
    ]
}

/// What time does to coordinates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wandering {
    /// The median relative error against the slice that comes next.
    pub error: f64,
    /// How far a coordinate moves from one slice to the next, in milliseconds: the mean.
    pub drift_ms: f64,
}

/// Runs one set of rules over the Seattle slices.
pub fn wandering(slices: &[Times], rules: &VivaldiConfig, seed: u64) -> Wandering {
    let mut rng = SimRng::new(seed, "wandering", 0);
    let mut clients = clients(rules, SEATTLE_DEVICES);
    let neighbours: Vec<Vec<usize>> = (0..SEATTLE_DEVICES)
        .map(|from| {
            let mut others: Vec<usize> = (0..SEATTLE_DEVICES).filter(|other| *other != from).collect();
            for at in 0..NEIGHBOURS {
                let other = at + rng.below(others.len() - at);
                others.swap(at, other);
            }
            others.truncate(NEIGHBOURS);
            others
        })
        .collect();
    let mut filters = vec![vec![LatencyFilter::default(); NEIGHBOURS]; SEATTLE_DEVICES];
    let (mut wrong, mut moved) = (Vec::new(), Vec::new());
    for (number, slice) in slices.iter().enumerate() {
        let before: Vec<_> = clients.iter().map(|client| client.coordinate().clone()).collect();
        for at in 0..NEIGHBOURS {
            for from in 0..SEATTLE_DEVICES {
                let to = neighbours[from][at];
                if let Some(ms) = slice.between(from, to) {
                    measure(&mut clients, &mut filters[from][at], from, to, ms, &mut rng);
                }
            }
        }
        let Some(next) = slices.get(number + 1).filter(|_| number >= WARM_UP) else { continue };
        wrong.extend(errors(next, &clients));
        // The distance of a place to itself counts its height twice; that part is not movement.
        let way = |(client, was): (&VivaldiClient, &_)| {
            let raw = raw_distance(client.coordinate(), was)?;
            Some((raw - client.coordinate().height.min(was.height) * 2.0) * 1e3)
        };
        moved.extend(clients.iter().zip(&before).filter_map(way));
    }
    Wandering { error: quantile(&wrong, 0.5).unwrap_or(f64::NAN), drift_ms: mean(&moved).unwrap_or(f64::NAN) }
}

/// Round trips between personal devices of one city, slice of time after slice.
pub fn seattle() -> Vec<Times> {
    include_bytes!("../../data/seattle.u16le")
        .chunks(SEATTLE_DEVICES * SEATTLE_DEVICES * 2)
        .map(|slice| Times::from_u16le("Seattle, 99 devices", slice, SEATTLE_DEVICES, 1.0))
        .collect()
}

/// Runs all of it.
pub fn tables(options: &Options, progress: &Progress<'_>) -> Vec<PaperTable> {
    let (matrices, rules) = (matrices(), rules());
    // Three seeds, as the reference has, unless more are wanted.
    let seeds = crate::sweep::seeds(options.base, options.repeats.max(3));
    let mut runs = Vec::new();
    for matrix in 0..matrices.len() {
        for rule in 0..rules.len() {
            runs.extend(seeds.iter().map(|seed| (matrix, rule, *seed)));
        }
    }
    let reached = for_each(
        &runs,
        options.threads,
        |(matrix, rule, seed)| accuracy(&matrices[*matrix], &rules[*rule].config, *seed),
        |done| progress(done, runs.len()),
    );
    let mut rows = Vec::new();
    for (at, of_seeds) in reached.chunks(seeds.len()).enumerate() {
        let (matrix, rule) = (at / rules.len(), at % rules.len());
        let mut figures: Vec<f64> =
            (0..CYCLES.len()).map(|it| mean_of(of_seeds, |run| run.medians[it])).collect();
        figures.push(mean_of(of_seeds, |run| run.p90));
        figures.push(mean_of(of_seeds, |run| run.absolute_ms));
        let cells = figures
            .iter()
            .zip(rules[rule].reference[matrix])
            .map(|(ours, paper)| Cell { ours: Some(*ours), paper })
            .collect();
        rows.push(Row { name: format!("{}: {}", matrices[matrix].name, rules[rule].name), cells });
    }
    let mut columns: Vec<String> = CYCLES.iter().map(|cycles| format!("{cycles} cycles")).collect();
    columns.extend(["90 %".to_owned(), "error ms".to_owned()]);
    let accuracy = PaperTable {
        title: "Median relative error of coordinates after so many cycles".to_owned(),
        source: format!(
            "Beside ours: the same rules, written by others, on the same matrices. {} seeds each.",
            seeds.len()
        ),
        key: "matrix and rules",
        columns,
        rows,
        notes: vec![
            "The paper reports a median error of 11 % on 1740 hosts (the King matrix, which is not to be had any more)."
                .to_owned(),
        ],
    };
    vec![accuracy, wandering_table(&seeds)]
}

fn mean_of(runs: &[Accuracy], figure: impl Fn(&Accuracy) -> f64) -> f64 {
    runs.iter().map(figure).sum::<f64>() / runs.len() as f64
}

fn wandering_table(seeds: &[u64]) -> PaperTable {
    let slices = seattle();
    let row = |name: &str, filter: usize| {
        let config = VivaldiConfig { latency_filter: filter, ..VivaldiConfig::default() };
        let runs: Vec<Wandering> = seeds.iter().map(|seed| wandering(&slices, &config, *seed)).collect();
        let mean = |figure: fn(&Wandering) -> f64| runs.iter().map(figure).sum::<f64>() / runs.len() as f64;
        let cells = vec![Cell::ours(Some(mean(|run| run.error))), Cell::ours(Some(mean(|run| run.drift_ms)))];
        Row { name: name.to_owned(), cells }
    };
    PaperTable {
        title: "Coordinates while times change: 99 personal devices in Seattle".to_owned(),
        source: format!(
            "{} slices of time, {NEIGHBOURS} fixed peers measured in each; Serf's rules, counted after {WARM_UP} slices.",
            slices.len()
        ),
        key: "latency filter",
        columns: vec!["error against the next slice".to_owned(), "drift ms a slice".to_owned()],
        rows: vec![row("none", 1), row("median of 3 (Serf's)", 3), row("median of 5", 5)],
        notes: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A matrix that a space can hold exactly is learnt nearly exactly; one of chance is not.
    #[test]
    fn places_on_a_line_are_found_and_chance_is_not() {
        let places = 12;
        let line = |index: usize| (index / places).abs_diff(index % places) as f64 * 10.0;
        let ms = (0..places * places)
            .map(|index| if line(index) > 0.0 { line(index) } else { f64::NAN })
            .collect();
        let straight = accuracy(&Times { name: "line", places, ms }, &VivaldiConfig::default(), 1);
        assert!(straight.medians[4] < 0.03, "{straight:?}");
        let mut rng = SimRng::new(1, "test", 0);
        let ms = (0..places * places)
            .map(|index| if line(index) > 0.0 { 10.0 + rng.unit() * 200.0 } else { f64::NAN })
            .collect();
        let chance = accuracy(&Times { name: "chance", places, ms }, &VivaldiConfig::default(), 1);
        assert!(chance.medians[4] > 3.0 * straight.medians[4], "{chance:?}");
    }

    /// Serf's rules within 10 % of the reference once they have settled, and within a quarter on the way there, where three runs of the reference
    /// on 50 places say less; on the matrix that is small enough for every test run.
    #[test]
    fn serfs_rules_reach_what_they_reach_elsewhere() {
        let azure = &matrices()[0];
        let seeds = crate::sweep::seeds(2004, 6);
        let runs: Vec<Accuracy> =
            seeds.iter().map(|seed| accuracy(azure, &VivaldiConfig::default(), *seed)).collect();
        let reference = rules()[1].reference[0];
        for (at, wanted) in reference.iter().enumerate() {
            let wanted = wanted.expect("Serf's rules have all references");
            let ours = match at {
                5 => mean_of(&runs, |run| run.p90),
                6 => mean_of(&runs, |run| run.absolute_ms),
                at => mean_of(&runs, |run| run.medians[at]),
            };
            let tolerance = if at < 3 { 0.25 } else { 0.10 };
            assert!((ours / wanted - 1.0).abs() <= tolerance, "column {at}: {ours:.3}, reference {wanted}");
        }
    }

    #[test]
    fn the_filter_keeps_coordinates_calmer_while_times_change() {
        let slices = seattle();
        assert_eq!(slices.len(), 48);
        let run = |latency_filter| {
            wandering(&slices, &VivaldiConfig { latency_filter, ..VivaldiConfig::default() }, 7)
        };
        let (without, with) = (run(1), run(3));
        assert!(with.drift_ms < without.drift_ms && with.error < without.error, "{without:?}, {with:?}");
    }
}
