//! `thane sim heal`: partitions of any length, and the time until the cluster is one again.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use thane_sim::healing::{Division, Healed, heal_all};
use thane_sim::sweep::seeds;

use super::asked::{count, no_arguments, none_of, number};
use crate::cli::progress::Progress;
use crate::cli::{Failure, Output};
use crate::goflags::{FlagSet, Parsed};

pub(super) fn flags() -> FlagSet {
    FlagSet::new(
        "sim heal",
        "sim heal [flags]",
        "Divides clusters for a while, joins the network again, and measures how long the parts take to be one cluster, beside\n\
         the longest time that their settings allow. Draws clusters of 2 to 500 members, partitions of 1 s to 72 h, seeds that\n\
         live or die, and up to 30 % loss; or takes one division from the flags.",
    )
    .int("cases", 20, "How many are drawn.")
    .int("base", 0, "The number that they are drawn from; another one gives other cases.")
    .int("seed", 0, "The case that is drawn from this seed alone; with -nodes, the seed of that division.")
    .int(
        "inputs",
        3_000_000,
        "What one case may cost, in messages and timers; a larger cluster or a longer partition runs at a slower pace.",
    )
    .int("nodes", 0, "One division of this many members, instead of drawn ones.")
    .int("here", 1, "With -nodes: members on the first one's side.")
    .int("seconds", 3600, "With -nodes: how long the partition lasts.")
    .int("loss", 0, "With -nodes: percent of packets that are lost, all the time.")
    .int("dead-seeds", 0, "With -nodes: members, from the first on, that die when the partition begins.")
    .int("pace", 1, "With -nodes: how many times slower than in a LAN members are probed and gossiped to.")
    .example("thane sim heal -cases 100 -base 7")
    .example("thane sim heal -nodes 50 -here 25 -seconds 259200 -loss 10 -pace 100")
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    no_arguments(parsed)?;
    let is_given = parsed.is_set("nodes");
    let divisions = if is_given {
        none_of(parsed, &["cases", "base", "inputs"], "beside -nodes")?;
        vec![given(parsed)?]
    } else {
        none_of(parsed, &["here", "seconds", "loss", "dead-seeds", "pace"], "without -nodes")?;
        drawn(parsed, output)?
    };
    let count = divisions.len();
    let threads = available_parallelism().map_or(1, NonZeroUsize::get);
    let progress = Progress::start(&format!("0 of {count} divisions"));
    let results =
        heal_all(&divisions, threads, |done| progress.note(&format!("{done} of {count} divisions")));
    drop(progress);
    let mut failed = 0;
    for (division, result) in divisions.iter().zip(results) {
        match result {
            Ok(Healed { took, bound, .. }) => {
                let (took, bound) = (took.as_secs(), bound.as_secs());
                output.line(&format!("{division}: one again after {took} s, at most {bound} s"))?;
            }
            Err(unhealed) => {
                failed += 1;
                output.line(&format!("NOT HEALED: {unhealed}"))?;
                if !is_given {
                    let (seed, inputs) = (division.seed, parsed.int("inputs"));
                    output.line(&format!("  again: thane sim heal -seed {seed} -inputs {inputs}"))?;
                }
            }
        }
    }
    match failed {
        0 => Ok(()),
        failed => {
            Err(Failure::Aside(format!("{failed} of {count} clusters did not become one again in time.")))
        }
    }
}

fn drawn(parsed: &Parsed, output: &mut Output) -> Result<Vec<Division>, Failure> {
    let inputs = count(parsed, "inputs")? as u64;
    if parsed.is_set("seed") {
        none_of(parsed, &["cases", "base"], "beside -seed")?;
        return Ok(vec![Division::draw(number(parsed, "seed")?, inputs)]);
    }
    let (cases, base) = (count(parsed, "cases")?, number(parsed, "base")?);
    output.line(&format!(
        "{cases} cases from the number {base}: thane sim heal -cases {cases} -base {base} -inputs {inputs}"
    ))?;
    Ok(seeds(base, cases).into_iter().map(|seed| Division::draw(seed, inputs)).collect())
}

fn given(parsed: &Parsed) -> Result<Division, Failure> {
    let loss = number(parsed, "loss")?;
    if loss >= 100 {
        return Err(Failure::mendable(
            format!("-loss is {loss}"),
            "-loss takes per cent of packets, from 0 to 99; with all of them lost nothing is ever one.",
        ));
    }
    let division = Division {
        seed: number(parsed, "seed")?,
        hosts: number(parsed, "nodes")? as usize,
        here: number(parsed, "here")? as usize,
        lasting: Duration::from_secs(number(parsed, "seconds")?),
        loss: loss as f64 / 100.0,
        dead_seeds: number(parsed, "dead-seeds")? as usize,
        pace: u32::try_from(number(parsed, "pace")?).unwrap_or(u32::MAX),
    };
    let (hosts, here, dead) = (division.hosts, division.here, division.dead_seeds);
    if here == 0
        || here >= hosts
        || dead >= here
        || hosts > 100_000
        || !(1..=100_000).contains(&division.pace)
    {
        return Err(Failure::mendable(
            format!("-nodes {hosts} -here {here} -dead-seeds {dead} -pace {} is no division", division.pace),
            "-here is at least 1 and less than -nodes, -dead-seeds less than -here, -pace at least 1.",
        ));
    }
    Ok(division)
}
