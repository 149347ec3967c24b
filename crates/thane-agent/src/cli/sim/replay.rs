//! `thane sim replay`: a recorded life of an agent, played again.

mod moment;
mod timeline;

use std::fs::File;
use std::io::{self, Read as _};

use jiff::tz::TimeZone;
use serde::Serialize;
use thane::recording::{End, Replay, ReplayError};
use thane::{State, Time};

use self::moment::{Clocks, Moment};
use self::timeline::{Filter, Line, Timeline};
use crate::cli::encoding::{Format, as_json, with_format};
use crate::cli::explain::{self, utc, width};
use crate::cli::{Failure, Output};
use crate::client::Explanation;
use crate::format::{span, table, wrap};
use crate::goflags::{FlagSet, Parsed};
use crate::rpc_server::explain::{Clock, Known};
use crate::terminal::Style;

/// A recording is read into memory; larger ones were not made with any sensible limit.
const FILE_BYTES_MAX: u64 = 4 << 30;

pub(super) fn flags() -> FlagSet {
    let flags = FlagSet::new(
        "sim replay",
        "sim replay [flags] FILE",
        "Plays what 'thane agent -record FILE' has recorded: the same core is told the same again, decides the same again,\n\
         and tells why. The lines show each change of a member with its evidence, what the agent was asked to do, and\n\
         warnings. At the end it is said whether all decisions were those that the agent made.\n\
         \n\
         A moment is a time of day of this machine's zone (03:14:05), a date and time (2026-03-01 03:14:05, or with a\n\
         zone as in RFC 3339), or the time since the start of the agent (90s, 2h5m).",
    )
    .string("member", "", "Show only what concerns this member.")
    .string("from", "", "Show only what happened from this moment on.")
    .string("to", "", "Show only what happened up to this moment.")
    .string("until", "", "Stop at this moment, and tell what the agent knew then: of -member, what 'thane explain' would have told.")
    .bool("all", false, "Show also what is ordinary: notices of all levels, packets and streams in both directions.");
    with_format(flags)
        .example("thane sim replay -member web-3 agent.rec")
        .example("thane sim replay -member web-3 -until 03:14:05 agent.rec")
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    let [path] = parsed.args() else {
        return Err(Failure::Usage("One recording must be given."));
    };
    let format = Format::of(parsed)?;
    let file = read(path)?;
    let replay = Replay::new(&file).map_err(|error| unplayable(path, &error))?;
    let clocks = Clocks::of(replay.header().started_unix_ns, TimeZone::system());
    let asked = Asked::of(parsed, &clocks)?;
    match format {
        Format::Text => as_text(replay, &asked, &clocks, path, output),
        Format::Json => as_document(replay, &asked, &clocks, path, output),
    }
}

/// What the flags ask for.
struct Asked {
    filter: Filter,
    until: Option<Time>,
}

impl Asked {
    fn of(parsed: &Parsed, clocks: &Clocks) -> Result<Self, Failure> {
        let moment = |flag: &'static str| match parsed.string(flag) {
            "" => Ok(None),
            text => Moment::read(text, clocks).map(Some).map_err(|problem| {
                Failure::mendable(
                    format!("-{flag}={text} is no moment: {problem}"),
                    "Write 03:14:05, \"2026-03-01 03:14:05\", or the time since the start, 2h5m.",
                )
            }),
        };
        let member = Some(parsed.string("member")).filter(|name| !name.is_empty()).map(str::to_owned);
        let filter = Filter { member, from: moment("from")?, to: moment("to")?, all: parsed.bool("all") };
        Ok(Self { filter, until: moment("until")? })
    }
}

fn read(path: &str) -> Result<Vec<u8>, Failure> {
    let failed = |error: &io::Error| Failure::told(format!("The recording {path} cannot be read: {error}"));
    let file = File::open(path).map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Failure::told(format!("{path} has more than 4 GiB; that is no recording")));
    }
    Ok(bytes)
}

fn unplayable(path: &str, error: &ReplayError) -> Failure {
    Failure::told(format!("{path}: {error}"))
}

/// How far a recording was played.
#[derive(Clone, Copy)]
struct Reached {
    at: Time,
    /// Whether there is no more of it; what was asked for may be later.
    is_all: bool,
}

/// Plays until the end or the moment that was asked for, whichever comes first; `show` gets each line.
fn play(
    replay: &mut Replay<'_>,
    asked: &Asked,
    clocks: &Clocks,
    mut show: impl FnMut(&Line) -> Result<(), Failure>,
) -> Result<Result<Reached, ReplayError>, Failure> {
    let mut timeline = Timeline::new(&replay.header().config.name);
    let mut last = Time::ZERO;
    loop {
        if let Some(until) = asked.until {
            match replay.next_at() {
                Ok(Some(next)) if next > until => return Ok(Ok(Reached { at: until, is_all: false })),
                Ok(_due_or_none) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
        match replay.step() {
            Ok(Some(step)) => {
                last = step.at;
                for line in timeline.of(&step, replay.node(), &asked.filter, clocks) {
                    show(&line)?;
                }
            }
            Ok(None) => return Ok(Ok(Reached { at: last, is_all: true })),
            Err(error) => return Ok(Err(error)),
        }
    }
}

fn as_text(
    mut replay: Replay<'_>,
    asked: &Asked,
    clocks: &Clocks,
    path: &str,
    output: &mut Output,
) -> Result<(), Failure> {
    let (header, width) = (replay.header(), width());
    let config = &header.config;
    let begin = format!(
        "{} ({}) as thane {} recorded it from {} on.",
        config.name,
        config.advertise,
        header.version,
        clocks.full(Time::ZERO)
    );
    output.line(&wrap(&begin, width, 0))?;
    output.line("")?;
    let played = play(&mut replay, asked, clocks, |line| {
        let head = format!("{}  ", clocks.short(line.at));
        // A sentence that begins with its kind needs no other heading.
        let kind = if line.text.starts_with(line.kind) { String::new() } else { format!("{}: ", line.kind) };
        let member = line.member.as_ref().map(|member| format!("{member} ")).unwrap_or_default();
        let text = format!("{head}{member}{kind}{}", line.text);
        let style = line.style();
        let column = head.chars().count();
        output.styled_lines(&wrap(&text, width, column), |shown| {
            style.filter(|_| !shown.starts_with(' ')).map(|style| (column.min(shown.len()), style))
        })?;
        Ok(())
    })?;
    output.line("")?;
    let reached = played.map_err(|error| unplayable(path, &error))?;
    if asked.until.is_some() {
        let at = reached.at;
        let ends = if reached.is_all { ", where the recording ends" } else { "" };
        output.line(&format!("At {}{ends}:", clocks.full(at)))?;
        match &asked.filter.member {
            Some(name) => explain::print(&explanation(&replay, name, at, clocks)?, output)?,
            None => output.line(members(&replay, at).trim_end())?,
        }
        output.line("")?;
    }
    output.styled_lines(&wrap(&verdict(&replay, reached), width, 0), |line| {
        line.starts_with("Same as recorded").then_some((16, Style::Bold))
    })?;
    Ok(())
}

/// What `thane explain` would have told then.
fn explanation(replay: &Replay<'_>, name: &str, at: Time, clocks: &Clocks) -> Result<Explanation, Failure> {
    let node = replay.node();
    let known = Known {
        agent: node.config().name.clone(),
        clock: Clock::at(at, clocks.unix_ns(at)),
        members: node.members().collect(),
        evidence: node.evidence(name),
        health: node.stats().health_score,
        answered: node.last_answer(name),
        suspicion_ends: node.suspicion_ends(name),
    };
    known.explain(name).map_err(|problem| Failure::told(format!("At that time {problem}")))
}

/// All members as the agent saw them.
fn members(replay: &Replay<'_>, at: Time) -> String {
    let rows: Vec<[String; 4]> = replay
        .node()
        .members()
        .map(|member| {
            let status = match member.state {
                State::Suspect => "suspect".to_owned(),
                _ => member.status.to_string(),
            };
            let since = format!("for {}", span(at.since(member.state_since)));
            [member.name.to_string(), member.addr.to_string(), status, since]
        })
        .collect();
    table(&rows)
}

/// Whether it was the same, and why there is no more.
fn verdict(replay: &Replay<'_>, reached: Reached) -> String {
    let (outputs, inputs) = (replay.checked(), replay.inputs());
    let mut text = format!("Same as recorded: {outputs} outputs of {inputs} inputs");
    if !reached.is_all {
        text.push_str(" up to then.");
        return text;
    }
    text.push_str(match replay.end() {
        Some(End::Stopped) => ". It ends because the agent stopped.",
        Some(End::SizeLimit) => {
            ". It ends because the file had reached its limit (-record-limit); the agent went on."
        }
        Some(End::Behind) => ". It ends because the disk did not keep up; the agent went on.",
        None => ". It ends without a reason: the agent was killed, or still runs.",
    });
    if replay.torn_bytes() > 0 {
        text.push_str(" Its last entry is not whole and was left out.");
    }
    text
}

/// The JSON form. Moments are RFC 3339 in UTC.
#[derive(Serialize)]
struct Document<'a> {
    agent: &'a str,
    addr: String,
    version: &'a str,
    started: String,
    timeline: Vec<Entry>,
    /// With `-until`: the moment that was reached, which is the end of the recording if that comes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    moment: Option<String>,
    /// With `-until` and `-member`: what `thane explain` would have printed then.
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<explain::Document<'a>>,
    same_as_recorded: bool,
    /// Where it first differs, or what is wrong with the file; `null` if nothing is.
    problem: Option<String>,
    outputs: u64,
    inputs: u64,
    /// `stopped`, `size-limit` or `behind`; `null` if the agent was killed or still runs, or not all was played.
    end: Option<&'static str>,
}

#[derive(Serialize)]
struct Entry {
    at: String,
    /// Seconds since the start.
    seconds: f64,
    kind: &'static str,
    member: Option<String>,
    text: String,
}

fn as_document(
    mut replay: Replay<'_>,
    asked: &Asked,
    clocks: &Clocks,
    path: &str,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut timeline = Vec::new();
    let played = play(&mut replay, asked, clocks, |line| {
        timeline.push(Entry {
            at: utc(clocks.unix_ns(line.at)),
            seconds: line.at.since_start().as_secs_f64(),
            kind: line.kind,
            member: line.member.clone(),
            text: line.text.clone(),
        });
        Ok(())
    })?;
    let why = match (&played, &asked.filter.member) {
        (Ok(reached), Some(name)) if asked.until.is_some() => {
            Some(explanation(&replay, name, reached.at, clocks)?)
        }
        _ => None,
    };
    let header = replay.header();
    let document = Document {
        agent: &header.config.name,
        addr: header.config.advertise.to_string(),
        version: &header.version,
        started: utc(clocks.unix_ns(Time::ZERO)),
        timeline,
        moment: played
            .as_ref()
            .ok()
            .filter(|_| asked.until.is_some())
            .map(|reached| utc(clocks.unix_ns(reached.at))),
        explanation: why.as_ref().map(explain::Document::of),
        same_as_recorded: played.is_ok(),
        problem: played.as_ref().err().map(|error| format!("{path}: {error}")),
        outputs: replay.checked(),
        inputs: replay.inputs(),
        end: replay.end().map(|end| match end {
            End::Stopped => "stopped",
            End::SizeLimit => "size-limit",
            End::Behind => "behind",
        }),
    };
    output.line(&as_json(&document)?)?;
    match played {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::Aside(format!("{path}: {error}"))),
    }
}
