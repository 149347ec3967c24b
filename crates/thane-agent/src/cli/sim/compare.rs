//! `thane sim compare`: two settings beside each other, over the same seeds.

use thane_sim::lab::{Comparison, Setup, html, text};

use super::run::{Runs, begun, told, with_argument, with_runs, with_setup};
use crate::cli::encoding::{Format, as_json};
use crate::cli::{Failure, Output};
use crate::goflags::{FlagSet, Parsed};

pub(super) fn flags() -> FlagSet {
    with_runs(with_setup(FlagSet::new(
        "sim compare",
        "sim compare [flags] A B",
        "Runs two settings over the same seeds, and shows each measure of both and how B is beside A. The flags hold for both; A\n\
         and B say what differs: a scenario, a file, or keys and values with commas between them. - changes nothing.",
    )))
    .example("thane sim compare -scenario crash -seeds 5 - suspicion_mult=2")
    .example("thane sim compare -scenario lossy detector=serf detector=thane")
    .example("thane sim compare -html both.html today.toml tomorrow.toml")
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    let [a, b] = parsed.args() else {
        return Err(Failure::Usage("Two settings must be given, A and B."));
    };
    let base = begun(&parsed.without_args())?;
    let side = |argument: &str| {
        let setup = match argument {
            "-" => base.clone(),
            other => with_argument(base.clone(), other)?,
        };
        setup.complete().map_err(|wrong| told(&wrong))?;
        Ok::<_, Failure>(setup)
    };
    let (setup_a, setup_b) = (side(a)?, side(b)?);
    let runs = Runs::of(parsed)?;
    let command = command(&base, a, b, &runs);
    if runs.format == Format::Text {
        output.line(&format!("A: {} nodes: {}", setup_a.nodes, setup_a.title()))?;
        output.line(&format!("B: {} nodes: {}", setup_b.nodes, setup_b.title()))?;
        output.line(&format!("{}: {command}", runs.seeds_told()))?;
    }
    let a = runs.study(&setup_a, "A: ")?;
    if a.is_interrupted(runs.count()) {
        return Err(stopped());
    }
    let both = Comparison { a, b: runs.study(&setup_b, "B: ")? };
    if both.b.reports.is_empty() {
        return Err(stopped());
    }
    runs.write_html(|| html::comparison_page(&both, &command))?;
    match runs.format {
        Format::Json => output.line(&as_json(&both.document(&command))?)?,
        Format::Text => tell(&both, &command, output)?,
    }
    Ok(())
}

fn command(base: &Setup, a: &str, b: &str, runs: &Runs) -> String {
    let shared = [base.arguments(), runs.arguments()].join(" ");
    let quoted = |side: &str| if side.contains(' ') { format!("'{side}'") } else { side.to_owned() };
    format!("thane sim compare {} {} {}", shared.trim(), quoted(a), quoted(b))
}

fn stopped() -> Failure {
    Failure::told("It was stopped before both were measured.")
}

fn tell(both: &Comparison, command: &str, output: &mut Output) -> Result<(), Failure> {
    for (name, study) in [("A", &both.a), ("B", &both.b)] {
        output.line("")?;
        for finding in text::findings(study) {
            output.line(&format!("{name}: {finding}"))?;
        }
    }
    output.line("")?;
    output.line(&text::comparison(both))?;
    output.line("")?;
    output.line(&format!("To run it again: {command}"))?;
    Ok(())
}
