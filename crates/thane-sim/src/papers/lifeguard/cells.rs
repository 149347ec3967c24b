//! The grids of the experiments, and a sample of them that stands for the whole.
//!
//! All cells, ten times each, take hours. In the sample every third number of anomalous members stands for its two neighbours as well,
//! and cells that give much the same stand for each other: blocks shorter than a probe fail nobody, and after a second of normal operation
//! nearly everything that was false is refuted. Each cell that is run counts as often as there are cells that it stands for, so that means
//! over the sample can be set beside means over the grid.

use std::time::Duration;

use super::run::Fault;

/// Table II and III: how many members are anomalous.
const MEMBERS: [u64; 9] = [1, 4, 8, 12, 16, 20, 24, 28, 32];
/// For how long, in milliseconds.
const BLOCKS_MS: [u64; 6] = [128, 512, 2048, 8192, 16_384, 32_768];
/// Table III: with how much between, in milliseconds.
const BETWEEN_MS: [u64; 8] = [1, 4, 16, 64, 256, 1024, 4096, 16_384];
/// The paper's repeats of each cell.
pub(super) const REPEATS: usize = 10;

/// What the sample has of each, with how many it stands for.
const MEMBERS_SAMPLED: [(u64, u32); 3] = [(4, 3), (16, 3), (28, 3)];
/// Blocks that stand for others, each with the times between that are run with it.
type Blocks<'a> = (&'a [(u64, u32)], &'a [(u64, u32)]);
const BLOCKS_SAMPLED: [Blocks<'static>; 3] = [
    (&[(512, 2)], &[(16, 8)]),
    (&[(2048, 1)], &[(1, 1), (4, 1), (16, 6)]),
    (&[(8192, 1), (16_384, 1), (32_768, 1)], &[(1, 1), (4, 2), (64, 2), (1024, 3)]),
];

/// Which cells are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    /// Cells of the Interval experiment, each with how many it stands for.
    pub interval: Vec<(Fault, u32)>,
    /// Cells of the Threshold experiment.
    pub threshold: Vec<Fault>,
}

impl Grid {
    /// All of the paper's.
    pub fn full() -> Self {
        let all = |of: &[u64]| of.iter().map(|it| (*it, 1)).collect::<Vec<_>>();
        Self {
            interval: interval(&all(&MEMBERS), &all(&BLOCKS_MS), &all(&BETWEEN_MS)),
            threshold: threshold(&MEMBERS, &BLOCKS_MS),
        }
    }

    /// The sample. Of the Threshold experiment, whose runs are short, it has all numbers of members, and only anomalies that last long enough
    /// to be found.
    pub fn sample() -> Self {
        let cells =
            BLOCKS_SAMPLED.iter().flat_map(|(blocks, between)| interval(&MEMBERS_SAMPLED, blocks, between));
        Self { interval: cells.collect(), threshold: threshold(&MEMBERS, &BLOCKS_MS[3..]) }
    }

    /// A smaller one for Table VII, which has many rows: cells in which Lifeguard has false positives.
    pub fn tuning_sample() -> Self {
        let between = [(1, 1), (4, 1), (16, 1), (64, 2)];
        Self {
            interval: interval(&[(28, 1)], &[(16_384, 1)], &between),
            threshold: threshold(&[28], &BLOCKS_MS[3..]),
        }
    }
}

fn interval(members: &[(u64, u32)], blocks: &[(u64, u32)], between: &[(u64, u32)]) -> Vec<(Fault, u32)> {
    let mut cells = Vec::new();
    for (members, by_members) in members {
        for (block, by_block) in blocks {
            for (between, by_between) in between {
                let fault = fault(*members, *block, Some(*between));
                cells.push((fault, by_members * by_block * by_between));
            }
        }
    }
    cells
}

fn threshold(members: &[u64], blocks: &[u64]) -> Vec<Fault> {
    members.iter().flat_map(|members| blocks.iter().map(|block| fault(*members, *block, None))).collect()
}

fn fault(members: u64, block: u64, between: Option<u64>) -> Fault {
    let ms = Duration::from_millis;
    Fault { members: members as usize, block: ms(block), between: between.map(ms) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grids_are_the_papers_and_the_sample_stands_for_all_of_it() {
        let (full, sample) = (Grid::full(), Grid::sample());
        assert_eq!((full.interval.len() * REPEATS, full.threshold.len() * REPEATS), (4320, 540));
        assert_eq!(sample.interval.iter().map(|(_, weight)| weight).sum::<u32>(), 432);
        assert!(sample.interval.iter().all(|(cell, _)| full.interval.contains(&(*cell, 1))));
        assert!(sample.threshold.iter().all(|cell| full.threshold.contains(cell)));
    }
}
