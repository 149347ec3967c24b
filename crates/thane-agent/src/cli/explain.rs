//! `thane explain`.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::connection::{connect, failed, with_connection};
use super::encoding::{Format, as_json, with_format};
use super::{Failure, Output};
use crate::client::{EvidenceRecord, Explanation};
use crate::format::{span, wrap};
use crate::goflags::{FlagSet, Parsed};
use crate::terminal::{self, Style};

/// Text is broken at this column unless the terminal, or `COLUMNS`, says that there is less room.
const WIDTH: usize = 100;
/// Narrower than this, breaking lines helps nobody.
const WIDTH_MIN: usize = 40;

/// Moments longer ago than this are told with their date.
const DATED_NS: i64 = 20 * 3600 * 1_000_000_000;

pub(super) fn flags() -> FlagSet {
    with_format(with_connection(FlagSet::new(
        "explain",
        "explain [flags] NAME",
        "Tells why a member is in the state it is in: each of its last changes as the agent saw it, who accused it and\n\
         over which way that came, what the agent's own probe tried, how well the agent itself was, and what to look at\n\
         next. At most eight changes are kept. Agents may see a member differently: ask another one with -rpc-addr.",
    )))
    .example("thane explain web-3")
    .example("thane explain -rpc-addr=10.0.0.2:7373 web-3")
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    let [name] = parsed.args() else {
        return Err(Failure::Usage("The name of one member must be given."));
    };
    let explanation =
        connect(parsed)?.explain(name).map_err(|error| failed(&format!("explaining '{name}'"), &error))?;
    match Format::of(parsed)? {
        Format::Text => print(&explanation, output)?,
        Format::Json => output.line(&as_json(&Document::of(&explanation))?)?,
    }
    Ok(())
}

/// Prints an explanation for people.
pub(super) fn print(explanation: &Explanation, output: &mut Output) -> Result<(), Failure> {
    let text = as_text(explanation, &TimeZone::system(), width());
    output.styled_lines(&text, |line| {
        line.starts_with("What to look at:").then_some((line.len(), Style::Bold))
    })?;
    Ok(())
}

/// How wide text may be.
pub(super) fn width() -> usize {
    let columns = terminal::stdout_columns().or_else(terminal::columns_variable);
    columns.map_or(WIDTH, |columns| columns.clamp(WIDTH_MIN, WIDTH))
}

fn as_text(why: &Explanation, zone: &TimeZone, width: usize) -> String {
    let clock = |at_ns: i64| clock_text(at_ns, why.now_ns, zone);
    let state = match (why.status.as_str(), why.state.as_str()) {
        ("alive", "suspect") => "suspected to have failed",
        (status, _) => status,
    };
    let (name, addr, agent) = (&why.name, &why.addr, &why.agent);
    let since = format!("since {} ({} ago)", clock(why.since_ns), ago(why.since_ns, why.now_ns));
    let mut lines = vec![wrap(&format!("{name} ({addr}) is {state} {since}, as {agent} sees it."), width, 0)];
    if !why.network.is_empty() {
        let (at, network) = (&why.reached_at, &why.network);
        lines.push(wrap(&format!("{agent} reaches it at {at}, on network {network}."), width, 0));
    }
    if let Some(verdict) = why.verdict_ns {
        let left = ago(why.now_ns, verdict);
        lines.push(wrap(&format!("Unless it refutes, it is declared failed within {left}."), width, 0));
    }
    lines.extend(last_answer(why, &clock).map(|text| wrap(&text, width, 0)));
    lines.push(String::new());
    if why.evidence.is_empty() {
        lines.push(format!("{agent} has seen no change of {name}."));
    }
    let times: Vec<[String; 2]> = why
        .evidence
        .iter()
        .map(|record| [clock(record.at_ns), format!("{} ago", ago(record.at_ns, why.now_ns))])
        .collect();
    let longest = |column: usize| times.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let (at_width, ago_width) = (longest(0), longest(1));
    for (record, [at, ago]) in why.evidence.iter().zip(&times) {
        let head = format!("{at:>at_width$}  {ago:>ago_width$}  {:<7}  ", record.state);
        lines.push(wrap(&format!("{head}{}", sentence(record)), width, head.chars().count()));
    }
    if !why.advice.is_empty() {
        lines.push(String::new());
        lines.push("What to look at:".to_owned());
        lines.extend(why.advice.iter().map(|advice| wrap(&format!("- {advice}"), width, 2)));
    }
    lines.join("\n")
}

/// The sentence with what belongs to it: how well we were, where the sentence does not say so.
fn sentence(record: &EvidenceRecord) -> String {
    let text = &record.text;
    match record.health {
        0 => format!("{text}."),
        _ if record.kind == "probe-failed" => format!("{text}."),
        score => format!("{text} (this agent's own health score was {score})."),
    }
}

fn last_answer(why: &Explanation, clock: &impl Fn(i64) -> String) -> Option<String> {
    if why.name == why.agent {
        return None;
    }
    let agent = &why.agent;
    Some(match &why.answered {
        None => format!("It has never answered a probe of {agent}."),
        Some(answered) => {
            let how = match (answered.way.as_str(), answered.rtt_ns) {
                (_, Some(rtt)) => format!("round trip {}", span(duration(rtt))),
                ("tcp", _) => "over TCP, which was tried together with UDP".to_owned(),
                ("tcp-only", _) => "over TCP only, UDP did not come through".to_owned(),
                _ => "late, or through another member".to_owned(),
            };
            let at = answered.at_ns;
            format!(
                "Its last answer to a probe of {agent} came at {} ({} ago), {how}.",
                clock(at),
                ago(at, why.now_ns)
            )
        }
    })
}

fn duration(ns: i64) -> Duration {
    Duration::from_nanos(u64::try_from(ns).unwrap_or(0))
}

fn ago(at_ns: i64, now_ns: i64) -> String {
    span(duration(now_ns.saturating_sub(at_ns)))
}

/// The time of day here, with the date if it was not just now.
fn clock_text(at_ns: i64, now_ns: i64, zone: &TimeZone) -> String {
    let Ok(at) = Timestamp::from_nanosecond(at_ns.into()) else { return "?".to_owned() };
    let form = if now_ns.saturating_sub(at_ns) > DATED_NS { "%Y-%m-%d %H:%M:%S" } else { "%H:%M:%S" };
    at.to_zoned(zone.clone()).strftime(form).to_string()
}

/// The JSON form. Moments are RFC 3339 in UTC; spans are numbers, with their unit in the key.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    agent: &'a str,
    agent_health_score: u32,
    now: String,
    member: MemberEntry<'a>,
    /// `null` if it never answered a probe of this agent.
    last_answer: Option<AnswerEntry<'a>>,
    evidence: Vec<RecordEntry<'a>>,
    advice: &'a [String],
}

#[derive(Serialize)]
struct MemberEntry<'a> {
    name: &'a str,
    /// The address that it announces.
    addr: &'a str,
    /// Where the agent sends to it: on a network that both are on, or else the same.
    reached_at: &'a str,
    /// That network.
    network: Option<&'a str>,
    status: &'a str,
    state: &'a str,
    since: String,
    incarnation: u32,
    /// Of a suspect: when it is declared failed.
    verdict_at: Option<String>,
}

#[derive(Serialize)]
struct AnswerEntry<'a> {
    at: String,
    way: &'a str,
    rtt_ms: Option<f64>,
}

#[derive(Serialize)]
struct RecordEntry<'a> {
    at: String,
    seconds_ago: f64,
    kind: &'a str,
    state: &'a str,
    incarnation: u32,
    text: &'a str,
    by: &'a [String],
    path: &'a str,
    from: &'a str,
    agent_health_score: u32,
    rtt_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probe: Option<ProbeEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ltime: Option<u64>,
}

#[derive(Serialize)]
struct ProbeEntry<'a> {
    relays: &'a [String],
    nacked: &'a [String],
    tcp: &'a str,
}

impl<'a> Document<'a> {
    pub(super) fn of(why: &'a Explanation) -> Self {
        Self {
            agent: &why.agent,
            agent_health_score: why.health,
            now: utc(why.now_ns),
            member: MemberEntry {
                name: &why.name,
                addr: &why.addr,
                reached_at: if why.reached_at.is_empty() { &why.addr } else { &why.reached_at },
                network: (!why.network.is_empty()).then_some(&why.network),
                status: &why.status,
                state: &why.state,
                since: utc(why.since_ns),
                incarnation: why.incarnation,
                verdict_at: why.verdict_ns.map(utc),
            },
            last_answer: why.answered.as_ref().map(|answered| AnswerEntry {
                at: utc(answered.at_ns),
                way: &answered.way,
                rtt_ms: answered.rtt_ns.map(millis),
            }),
            evidence: why.evidence.iter().map(|record| RecordEntry::of(record, why.now_ns)).collect(),
            advice: &why.advice,
        }
    }
}

impl<'a> RecordEntry<'a> {
    fn of(record: &'a EvidenceRecord, now_ns: i64) -> Self {
        let probe = || ProbeEntry { relays: &record.relays, nacked: &record.nacked, tcp: &record.tcp };
        Self {
            at: utc(record.at_ns),
            seconds_ago: millis(now_ns.saturating_sub(record.at_ns)) / 1e3,
            kind: &record.kind,
            state: &record.state,
            incarnation: record.incarnation,
            text: &record.text,
            by: &record.by,
            path: &record.path,
            from: &record.from,
            agent_health_score: record.health,
            rtt_ms: record.rtt_ns.map(millis),
            timeout_seconds: record.timeout_ns.map(|ns| millis(ns) / 1e3),
            probe: (record.kind == "probe-failed").then(probe),
            ltime: record.kind.ends_with("-intent").then_some(record.ltime),
        }
    }
}

/// Milliseconds, to the microsecond.
fn millis(ns: i64) -> f64 {
    (ns / 1000) as f64 / 1e3
}

pub(super) fn utc(at_ns: i64) -> String {
    Timestamp::from_nanosecond(at_ns.into())
        .map_or_else(|_out_of_range| String::new(), |at| format!("{at:.3}"))
}

#[cfg(test)]
mod tests;
