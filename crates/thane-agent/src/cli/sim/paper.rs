//! `thane sim paper`: what published papers measured, measured again and printed beside it.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

use serde::Serialize;
use thane_sim::papers::{Options, PAPERS, Paper, PaperTable};

use super::asked::number;
use crate::cli::encoding::{Format, as_json, with_format};
use crate::cli::progress::Progress;
use crate::cli::{Failure, Output};
use crate::format::for_terminal;
use crate::goflags::{FlagError, FlagSet, Parsed, nearest};

pub(super) fn flags() -> FlagSet {
    let flags = FlagSet::new(
        "sim paper",
        "sim paper [flags] [NAME]",
        "Runs a published experiment again with the very code that an agent runs, and prints its tables with the paper's\n\
         figures beside. Without a name it lists the papers. The plain rules must come out as published; if they did not,\n\
         nothing that the simulator says about other rules would count.",
    );
    with_format(flags)
        .int("repeats", 1, "How often each cell is run, each time with another seed.")
        .bool("full", false, "Run all cells and repeats that the paper had. That can take hours.")
        .int("base", 0, "The number that the seeds are drawn from; another one gives other seeds.")
        .int("threads", 0, "Runs at a time; 0 for as many as there are processors.")
        .example("thane sim paper swim")
        .example("thane sim paper -format json lifeguard")
}

/// What `-format json` prints.
#[derive(Serialize)]
struct Document<'a> {
    paper: &'a str,
    citation: &'a str,
    base: u64,
    tables: Vec<PaperTable>,
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    let Some((name, rest)) = parsed.args().split_first() else { return list(parsed, output) };
    let paper = PAPERS.iter().find(|paper| paper.name == name).ok_or_else(|| no_such(name))?;
    if rest.is_empty() {
        return one(paper, parsed, output);
    }
    // `thane sim paper swim -full`: flags after the name mean what they would before it.
    match flags().parse(rest) {
        Ok(late)
            if late.args().is_empty()
                && !["format", "repeats", "full", "base", "threads"]
                    .iter()
                    .any(|flag| parsed.is_set(flag)) =>
        {
            one(paper, &late, output)
        }
        Ok(_) => Err(Failure::told("Flags go before the paper's name, and there is one name.")),
        Err(FlagError::Help) => Err(Failure::NothingToDo),
        Err(error) => Err(Failure::mendable(error.to_string(), "'thane sim paper -h' lists the flags.")),
    }
}

fn no_such(name: &str) -> Failure {
    let meant = nearest(name, PAPERS.iter().map(|paper| paper.name));
    let meant = meant.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
    Failure::mendable(
        format!("There is no paper '{}'{meant}", for_terminal(name)),
        "'thane sim paper' without a name lists them.",
    )
}

fn list(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Listed {
        name: &'static str,
        citation: &'static str,
    }
    let papers: Vec<Listed> =
        PAPERS.iter().map(|paper| Listed { name: paper.name, citation: paper.citation }).collect();
    match Format::of(parsed)? {
        Format::Json => output.line(&as_json(&papers)?)?,
        Format::Text => {
            let width = papers.iter().map(|paper| paper.name.len()).max().unwrap_or(0);
            for paper in papers {
                output.line(&format!("{:<width$}  {}", paper.name, paper.citation))?;
            }
        }
    }
    Ok(())
}

fn one(paper: &Paper, parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    let format = Format::of(parsed)?;
    let threads = match number(parsed, "threads")? {
        0 => available_parallelism().map_or(1, NonZeroUsize::get),
        threads => threads as usize,
    };
    let options = Options {
        repeats: number(parsed, "repeats")?.clamp(1, 100_000) as usize,
        full: parsed.bool("full"),
        threads,
        base: number(parsed, "base")?,
    };
    let progress = Progress::start(&format!("{}: the first runs", paper.name));
    let tables = (paper.run)(&options, &|done, all| progress.note(&format!("{done} of {all} runs")));
    drop(progress);
    if format == Format::Json {
        let document = Document { paper: paper.name, citation: paper.citation, base: options.base, tables };
        output.line(&as_json(&document)?)?;
        return Ok(());
    }
    output.line(&format!("{}\n", paper.citation))?;
    for table in tables {
        output.line(&table.text())?;
    }
    let full = if options.full { " -full" } else { "" };
    let (repeats, base) = (options.repeats, options.base);
    output.line(&format!(
        "The same again: thane sim paper -repeats {repeats} -base {base}{full} {}",
        paper.name
    ))?;
    Ok(())
}
