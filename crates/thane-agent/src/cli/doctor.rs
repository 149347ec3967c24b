//! `thane doctor`.

mod checks;
mod finding;
mod own;
mod view;

use serde::Serialize;

use super::connection::{connect, connect_to, failed, with_connection};
use super::encoding::{Format, as_json, with_format};
use super::explain::width;
use super::progress::Progress;
use super::{Failure, Output};
use crate::format::wrap;
use crate::goflags::{FlagSet, Parsed};
use crate::terminal::Style;
use finding::{Finding, Severity};
use view::View;

pub(super) fn flags() -> FlagSet {
    with_format(with_connection(FlagSet::new(
        "doctor",
        "doctor [flags]",
        "Looks for what is wrong with an agent or its cluster as operators meet it: members that fail or are stuck, ports\n\
         that are closed one way, packets that cannot be read, keys that do not agree, names in use twice, a machine that\n\
         pauses, queues that grow, and more. Each finding says what to do about it. An agent knows its own view only;\n\
         name others with -peer-rpc to have their views compared.\n\n\
         Exit code 0: nothing but notes; 1: errors or warnings were found, or the agent could not be asked.",
    )))
    .list("peer-rpc", "RPC address of another agent of the cluster, to compare its view. May be repeated.")
    .example("thane doctor")
    .example("thane doctor -peer-rpc=10.0.0.2:7373 -peer-rpc=10.0.0.3:7373")
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    let format = Format::of(parsed)?;
    let progress = Progress::start("asking the agent...");
    let mut client = connect(parsed)?;
    let own = View::of(parsed.string("rpc-addr"), &mut client)
        .map_err(|error| failed("asking for a diagnosis", &error))?;
    let troubled = own.troubled_members(&mut client).map_err(|error| failed("explaining members", &error))?;
    let (mut peers, mut findings) = (Vec::new(), Vec::new());
    for address in parsed.list("peer-rpc") {
        progress.note(&format!("asking {address}..."));
        let peer = connect_to(address, parsed).and_then(|mut client| {
            View::of(address, &mut client).map_err(|error| failed("asking for a diagnosis", &error))
        });
        match peer {
            Ok(peer) => peers.push(peer),
            Err(failure) => findings.push(checks::unreachable_peer(address, &failure)),
        }
    }
    drop(progress);
    findings.extend(checks::all(&own, &troubled, &peers));
    findings.sort_by_key(|finding| finding.severity);
    let report =
        Report { own: &own, peers: &peers, findings: &findings, unchecked: checks::unchecked(&own, &peers) };
    match format {
        Format::Text => output.styled_lines(&report.as_text(width()), severity_colour)?,
        Format::Json => output.line(&as_json(&report.document())?)?,
    }
    match report.count(Severity::Error) + report.count(Severity::Warning) {
        0 => Ok(()),
        _ => Err(Failure::Aside(format!("{}.", report.summary()))),
    }
}

/// The colour of the word that a finding begins with; its other lines are indented.
fn severity_colour(line: &str) -> Option<(usize, Style)> {
    let colours =
        [(Severity::Error, Style::Bad), (Severity::Warning, Style::Doubtful), (Severity::Note, Style::Dim)];
    let found =
        colours.into_iter().find(|(severity, _)| line.starts_with(&format!("{:<7}  ", severity.name())));
    found.map(|(severity, style)| (severity.name().len(), style))
}

struct Report<'a> {
    own: &'a View,
    peers: &'a [View],
    findings: &'a [Finding],
    unchecked: Vec<String>,
}

impl Report<'_> {
    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// `2 errors, 1 warning, 1 note`.
    fn summary(&self) -> String {
        let counts: Vec<String> = [Severity::Error, Severity::Warning, Severity::Note]
            .into_iter()
            .map(|severity| (self.count(severity), severity.name()))
            .filter(|(count, _)| *count > 0)
            .map(|(count, name)| format!("{count} {name}{}", if count == 1 { "" } else { "s" }))
            .collect();
        if counts.is_empty() { "nothing found".to_owned() } else { counts.join(", ") }
    }

    fn as_text(&self, width: usize) -> String {
        let mut lines = vec![wrap(
            &format!(
                "{} sees {} members, {} of them alive: {}.",
                self.own.name(),
                self.own.members.len(),
                self.own.members.iter().filter(|member| member.status == "alive").count(),
                self.summary()
            ),
            width,
            0,
        )];
        for finding in self.findings {
            lines.push(String::new());
            let head = format!("{:<7}  {}: ", finding.severity.name(), finding.subject);
            lines.push(wrap(&format!("{head}{}", finding.what), width, 9));
            lines.push(wrap(&format!("         -> {}", finding.remedy), width, 12));
        }
        if !self.unchecked.is_empty() {
            lines.push(String::new());
            lines.push("Not looked at:".to_owned());
            lines.extend(self.unchecked.iter().map(|text| wrap(&format!("- {text}"), width, 2)));
        }
        lines.join("\n")
    }

    fn document(&self) -> Document<'_> {
        Document {
            agent: self.own.name(),
            healthy: self.count(Severity::Error) + self.count(Severity::Warning) == 0,
            views: std::iter::once(self.own).chain(self.peers).map(View::name).collect(),
            findings: self.findings,
            unchecked: &self.unchecked,
        }
    }
}

/// The JSON form.
#[derive(Serialize)]
struct Document<'a> {
    agent: &'a str,
    /// Whether there are neither errors nor warnings.
    healthy: bool,
    /// The agents whose views were looked at.
    views: Vec<&'a str>,
    /// Errors first, then warnings, then notes.
    findings: &'a [Finding],
    unchecked: &'a [String],
}

#[cfg(test)]
mod tests;
