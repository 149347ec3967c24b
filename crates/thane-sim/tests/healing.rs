//! Divided clusters become one again, within the bound that is derived from their settings.
#![allow(clippy::print_stdout, reason = "a test tells what it measured")]

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use thane_core::Config;
use thane_sim::bounds::{convergence_bound, healing_bound};
use thane_sim::healing::{Division, heal_all};
use thane_sim::sweep::seeds;

const HOUR: Duration = Duration::from_secs(3600);

/// So many on the first side, and on the other.
fn halves(here: usize, there: usize) -> Division {
    Division { seed: 1, hosts: here + there, here, lasting: HOUR, loss: 0.0, dead_seeds: 0, pace: 1 }
}

fn all_heal(divisions: &[Division]) {
    let results = heal_all(divisions, 2, |_| {});
    assert_eq!(results.len(), divisions.len());
    let mut failures = Vec::new();
    for (division, result) in divisions.iter().zip(results) {
        match result {
            Ok(it) => println!("{division}: one again after {:.0?}, at most {:.0?}", it.took, it.bound),
            Err(unhealed) => failures.push(unhealed.to_string()),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn clusters_heal_whatever_the_partition_lasted() {
    let seconds = Duration::from_secs;
    all_heal(&[
        Division { lasting: seconds(1), ..halves(1, 1) },
        Division { lasting: seconds(30), loss: 0.2, ..halves(20, 20) },
        Division { lasting: seconds(600), loss: 0.3, ..halves(10, 10) },
        Division { lasting: seconds(300), loss: 0.1, ..halves(1, 99) },
        // Nearly as long as the failed are remembered, and longer.
        Division { lasting: HOUR * 23, pace: 10, ..halves(2, 1) },
        Division { lasting: HOUR * 25, loss: 0.1, dead_seeds: 3, pace: 100, ..halves(4, 16) },
        Division { lasting: HOUR * 72, loss: 0.3, pace: 20, ..halves(1, 1) },
        Division { lasting: HOUR * 72, dead_seeds: 2, pace: 30, ..halves(3, 2) },
    ]);
}

/// Others each time.
#[test]
fn drawn_partitions_heal() {
    let base = RandomState::new().build_hasher().finish() >> 24;
    println!("base {base}");
    let drawn = seeds(base, 60).into_iter().map(|seed| Division::draw(seed, 200_000));
    let small: Vec<Division> = drawn.filter(|it| it.hosts <= 40).take(12).collect();
    all_heal(&small);
}

/// The figures that ARCHITECTURE.md states.
#[test]
fn the_bound_follows_the_settings() {
    let lan = Config::lan("a", ([10, 0, 0, 1], 7946).into());
    let minutes = |division: &Division| healing_bound(&lan, division).as_secs() / 60;
    let cases = [
        halves(1, 1),
        Division { lasting: HOUR * 72, loss: 0.3, ..halves(1, 1) },
        halves(25, 25),
        halves(250, 250),
        Division { lasting: HOUR * 72, loss: 0.3, ..halves(250, 250) },
        halves(1, 499),
    ];
    assert_eq!(cases.each_ref().map(minutes), [16, 96, 7, 11, 16, 21]);
    let mut slow = lan.clone();
    slow.reconnect_interval *= 2;
    assert!(healing_bound(&slow, &halves(1, 1)) > healing_bound(&lan, &halves(1, 1)));
    assert!(
        healing_bound(&lan, &Division { loss: 0.3, ..halves(1, 1) }) > healing_bound(&lan, &halves(1, 1))
    );
    // A partition is one fault of the many that the other bound is for.
    assert!(healing_bound(&lan, &halves(5, 5)) < convergence_bound(&lan, 10));
}
