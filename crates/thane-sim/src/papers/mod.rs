//! What published papers measured, measured again with this core, and printed beside it.
//!
//! Each paper is a file: its set-up, its figures as data with their source, and a function that gives [`PaperTable`]s. SWIM and Lifeguard
//! are conformance: if the plain modes miss the papers, the simulator is wrong, and nothing that it says about our own rules counts.

pub mod lifeguard;
pub mod rapid;
pub mod spread;
pub mod swim;
pub mod vivaldi;

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;

/// How much to run, and from which number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How often each cell of an experiment is repeated, each time with another seed; 1 or more.
    pub repeats: usize,
    /// Every cell of the paper's grids, not a sample of them.
    pub full: bool,
    /// Runs at a time. Results do not depend on it.
    pub threads: usize,
    /// The number that all seeds are drawn from.
    pub base: u64,
}

/// Is told how many runs are done, and of how many.
pub type Progress<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// A paper that can be run again.
#[derive(Debug, Clone, Copy)]
pub struct Paper {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Authors, title, place and year.
    pub citation: &'static str,
    /// Runs it.
    pub run: fn(&Options, &Progress<'_>) -> Vec<PaperTable>,
}

/// All of them, sorted by name.
pub const PAPERS: &[Paper] = &[
    Paper {
        name: "lifeguard",
        citation: "Dadgar, Phillips, Currey: Lifeguard: Local Health Awareness for More Accurate Failure Detection, DSN 2018",
        run: lifeguard::tables,
    },
    Paper {
        name: "lifeguard-tuning",
        citation: "The same, Table VII: other alphas and betas",
        run: lifeguard::tuning,
    },
    Paper {
        name: "rapid",
        citation: "Suresh, Malkhi, Gopalan, Porto Carreiro, Lokhandwala: Stable and Consistent Membership at Scale with Rapid, ATC 2018",
        run: rapid::tables,
    },
    Paper {
        name: "rapid-exact",
        citation: "The same, its failure scenarios over many seeds, with Thane's steady rules alone",
        run: rapid::exact,
    },
    Paper {
        name: "spread",
        citation: "Serf's convergence page, and a simulation of its gossip",
        run: spread::tables,
    },
    Paper {
        name: "swim",
        citation: "Das, Gupta, Motivala: SWIM: Scalable Weakly-consistent Infection-style Process Group Membership Protocol, DSN 2002",
        run: swim::tables,
    },
    Paper {
        name: "vivaldi",
        citation: "Dabek, Cox, Kaashoek, Morris: Vivaldi: A Decentralized Network Coordinate System, SIGCOMM 2004",
        run: vivaldi::tables,
    },
];

/// One table of a paper, with our figures beside its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PaperTable {
    /// What it shows.
    pub title: String,
    /// Where the paper's figures stand, and how many runs ours come from.
    pub source: String,
    /// What the rows are told apart by.
    pub key: &'static str,
    /// The names of the columns, with units.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
    /// What must be known to compare them.
    pub notes: Vec<String>,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// One for each column.
    pub cells: Vec<Cell>,
}

/// One figure twice; `None` where one of us has none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cell {
    /// What was measured here.
    pub ours: Option<f64>,
    /// What the paper says.
    pub paper: Option<f64>,
}

impl Cell {
    /// A figure that both have.
    pub fn both(ours: f64, paper: f64) -> Self {
        Self { ours: Some(ours), paper: Some(paper) }
    }

    /// A figure that the paper does not have.
    pub fn ours(ours: Option<f64>) -> Self {
        Self { ours, paper: None }
    }
}

impl PaperTable {
    /// As text: ours and the paper's stand side by side in each column, and where only we have a figure, it stands alone.
    pub fn text(&self) -> String {
        let mut out = format!("{}\n{}\n\n", self.title, self.source);
        let first = self.rows.iter().map(|row| row.name.len()).chain([self.key.len()]).max().unwrap_or(0);
        let mut lines = vec![format!("{:<first$}", self.key), " ".repeat(first)];
        lines.extend(self.rows.iter().map(|row| format!("{:<first$}", row.name)));
        for (at, column) in self.columns.iter().enumerate() {
            let cells: Vec<Cell> = self.rows.iter().map(|row| row.cells[at]).collect();
            let has_paper = cells.iter().any(|cell| cell.paper.is_some());
            let ours: Vec<String> = figures(cells.iter().map(|cell| cell.ours));
            let paper: Vec<String> = figures(cells.iter().map(|cell| cell.paper));
            let width = |head: &str, cells: &[String]| {
                cells.iter().map(String::len).chain([head.len()]).max().unwrap_or(0)
            };
            let mut left = width("ours", &ours);
            let right = if has_paper { width("paper", &paper) } else { 0 };
            let gap = usize::from(has_paper);
            left = left.max(column.len().saturating_sub(right + gap));
            let total = left + gap + right;
            _ = write!(lines[0], "  {column:>total$}");
            _ = write!(lines[1], "  {:>left$}", "ours");
            if has_paper {
                _ = write!(lines[1], " {:>right$}", "paper");
            }
            for (line, (ours, paper)) in lines[2..].iter_mut().zip(ours.iter().zip(&paper)) {
                _ = write!(line, "  {ours:>left$}");
                if has_paper {
                    _ = write!(line, " {paper:>right$}");
                }
            }
        }
        for line in lines {
            out.push_str(line.trim_end());
            out.push('\n');
        }
        for note in &self.notes {
            out.push('\n');
            out.push_str(&wrapped(note, 100));
        }
        out
    }
}

/// A column of figures; where all are whole numbers, they are counts, and need no decimals.
fn figures(values: impl Iterator<Item = Option<f64>> + Clone) -> Vec<String> {
    let are_counts = values.clone().flatten().all(|value| value.fract() == 0.0);
    let shown = |value: Option<f64>| match value {
        Some(count) if are_counts => format!("{count:.0}"),
        _ => figure(value),
    };
    values.map(shown).collect()
}

/// A figure with three or four digits that count; a dash for none.
fn figure(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(value) if value.abs() >= 1000.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 100.0 => format!("{value:.1}"),
        Some(value) if value.abs() >= 0.1 => format!("{value:.2}"),
        Some(value) if value.abs() >= 0.001 => format!("{value:.4}"),
        Some(value) => format!("{value:.1e}"),
    }
}

/// A paragraph in lines of at most this many characters, where words allow.
fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        if used > 0 && used + 1 + word.len() > width {
            out.push('\n');
            used = 0;
        }
        if used > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += word.len();
    }
    out.push('\n');
    out
}

/// Does something for each of many, on several threads, and gives the results in the order of what they were made from. `done` is told
/// after each how many are done.
pub fn for_each<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    each: impl Fn(&T) -> R + Sync,
    done: impl Fn(usize) + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { return };
                    let result = each(item);
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.push((at, result));
                    done(results.len());
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

/// The value that this share (0 to 1) of the sorted values does not exceed; `None` of none.
pub(crate) fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    crate::lab::quantile(&sorted, share)
}

/// The mean; `None` of none.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_ours_beside_the_papers() {
        let table = PaperTable {
            title: "Load".to_owned(),
            source: "Figure 2".to_owned(),
            key: "members",
            columns: vec!["messages sent".to_owned(), "back s".to_owned()],
            rows: vec![
                Row { name: "6".to_owned(), cells: vec![Cell::both(2.0, 2.01), Cell::ours(None)] },
                Row {
                    name: "10000".to_owned(),
                    cells: vec![Cell::both(1234.4, 0.0005), Cell::ours(Some(0.0))],
                },
            ],
            notes: vec!["A note.".to_owned()],
        };
        let lines = [
            "Load",
            "Figure 2",
            "",
            "members  messages sent  back s",
            "           ours  paper    ours",
            "6          2.00   2.01       -",
            "10000      1234 5.0e-4       0",
            "",
            "A note.",
            "",
        ];
        let wanted = lines.join("\n");
        assert_eq!(table.text(), wanted);
    }

    #[test]
    fn results_come_in_order_from_any_number_of_threads() {
        let items: Vec<u64> = (0..100).collect();
        for threads in [0, 1, 7] {
            let seen = AtomicUsize::new(0);
            let squares = for_each(
                &items,
                threads,
                |it| it * it,
                |done| {
                    seen.fetch_max(done, Ordering::Relaxed);
                },
            );
            assert_eq!(squares, items.iter().map(|it| it * it).collect::<Vec<_>>());
            assert_eq!(seen.into_inner(), 100);
        }
    }

    #[test]
    fn quantiles_and_means() {
        let values = [5.0, 1.0, 3.0, 2.0, 4.0];
        assert_eq!(
            (quantile(&values, 0.5), quantile(&values, 1.0), quantile(&[], 0.5)),
            (Some(3.0), Some(5.0), None)
        );
        assert_eq!((mean(&values), mean(&[])), (Some(3.0), None));
    }
}
