//! The paper's own figures (arXiv 1707.00788v2).

/// A row of Tables IV, V and VI, at alpha 5 and beta 6.
#[derive(Debug, Clone, Copy)]
pub(super) struct Published {
    /// Its name, as in [`super::Rules::name`].
    pub(super) name: &'static str,
    /// Table IV: false positives in 4320 runs, and those at healthy members.
    pub(super) false_positives: (f64, f64),
    /// Table V, seconds: first detection, median, 99 % and 99.9 %.
    pub(super) first: [f64; 3],
    /// Table V, seconds: full dissemination, median, 99 % and 99.9 %.
    pub(super) full: [f64; 3],
    /// Table VI: millions of messages, and GiB.
    pub(super) load: (f64, f64),
}

/// Runs of a configuration in the Interval experiment, from which Tables IV and VI come.
pub(super) const INTERVAL_RUNS: f64 = 4320.0;

pub(super) const PUBLISHED: [Published; 5] = [
    Published {
        name: "SWIM",
        false_positives: (339_002.0, 1326.0),
        first: [12.44, 16.96, 19.40],
        full: [12.90, 16.93, 20.17],
        load: (435.33, 149.15),
    },
    Published {
        name: "LHA-Probe",
        false_positives: (229_574.0, 436.0),
        first: [12.42, 17.75, 20.10],
        full: [12.90, 17.98, 20.56],
        load: (428.62, 134.28),
    },
    Published {
        name: "LHA-Suspicion",
        false_positives: (10_174.0, 89.0),
        first: [12.42, 17.47, 25.41],
        full: [12.89, 17.33, 23.80],
        load: (484.55, 158.87),
    },
    Published {
        name: "Buddy System",
        false_positives: (318_935.0, 591.0),
        first: [12.45, 17.12, 19.16],
        full: [12.92, 17.18, 19.81],
        load: (435.62, 147.67),
    },
    Published {
        name: "Lifeguard",
        false_positives: (5193.0, 25.0),
        first: [12.45, 17.90, 21.20],
        full: [12.91, 18.05, 21.68],
        load: (481.42, 146.13),
    },
];

/// Figure 2, read off the plot: false positives of SWIM and of Lifeguard in the 480 runs with so many anomalous members.
pub(super) const BY_MEMBERS: [(usize, f64, f64); 9] = [
    (1, 900.0, 18.0),
    (4, 6000.0, 145.0),
    (8, 11_000.0, 110.0),
    (12, 23_000.0, 230.0),
    (16, 35_000.0, 570.0),
    (20, 45_000.0, 750.0),
    (24, 59_000.0, 840.0),
    (28, 77_000.0, 1350.0),
    (32, 82_000.0, 1200.0),
];

/// Interval runs for each number of anomalous members.
pub(super) const RUNS_BY_MEMBERS: f64 = 480.0;

/// Table VII: Lifeguard in percent of SWIM at alpha 5. Alpha, beta; then median, 99 % and 99.9 % of first detection, the same of full
/// dissemination, false positives, and those at healthy members.
pub(super) const TUNING: [(u32, u32, [f64; 8]); 9] = [
    (2, 2, [53.14, 69.81, 76.08, 55.12, 73.07, 76.20, 98.37, 31.15]),
    (2, 4, [54.10, 72.88, 75.41, 56.28, 76.96, 75.11, 43.64, 22.47]),
    (2, 6, [54.34, 75.53, 80.36, 56.74, 79.15, 78.58, 24.16, 13.65]),
    (4, 2, [82.96, 94.28, 99.07, 84.42, 97.05, 92.17, 37.72, 20.29]),
    (4, 4, [83.04, 96.17, 93.71, 84.03, 96.69, 95.14, 8.04, 9.50]),
    (4, 6, [83.12, 96.82, 94.69, 84.42, 96.52, 92.71, 3.18, 4.83]),
    (5, 2, [99.76, 104.95, 112.32, 99.92, 105.73, 107.64, 26.61, 15.38]),
    (5, 4, [99.52, 102.71, 111.44, 99.61, 105.08, 107.93, 5.43, 5.05]),
    (5, 6, [100.08, 105.54, 109.28, 100.08, 106.62, 107.49, 1.53, 1.89]),
];
