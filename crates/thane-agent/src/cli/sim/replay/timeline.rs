//! What a step of a replay is to a person: a few lines, most often none.

use std::collections::BTreeMap;

use thane::recording::{Event, Input, Node, Outcome, Output, Step};
use thane::{Evidence, Level, Notice, State, Time};

use super::moment::Clocks;
use crate::rpc_server::explain::{Clock, People, record};
use crate::terminal::Style;

/// What is shown.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) member: Option<String>,
    pub(super) from: Option<Time>,
    pub(super) to: Option<Time>,
    pub(super) all: bool,
}

impl Filter {
    fn wants(&self, name: &str) -> bool {
        self.member.as_ref().is_none_or(|member| member == name)
    }

    fn shows(&self, line: &Line) -> bool {
        let is_meant = match (&self.member, &line.member) {
            (None, _) => true,
            (Some(wanted), Some(member)) => wanted == member,
            // A node that was paused itself is a reason to doubt what it says of others.
            (Some(_), None) => line.kind == "paused",
        };
        let is_due = self.from.is_none_or(|from| line.at >= from) && self.to.is_none_or(|to| line.at <= to);
        is_meant && is_due && (self.all || !line.is_ordinary)
    }
}

/// One line.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) at: Time,
    /// One word of a fixed set, or the kind of a notice.
    pub(super) kind: &'static str,
    pub(super) member: Option<String>,
    pub(super) text: String,
    /// Shown only if all is.
    is_ordinary: bool,
}

impl Line {
    /// How its time is shown on a terminal.
    pub(super) fn style(&self) -> Option<Style> {
        Style::of_status(match self.kind {
            "failed" => "failed",
            "suspected" | "accused" => "leaving",
            "joined" | "refuted" => "alive",
            _ => return None,
        })
    }
}

/// Follows the members through a replay.
#[derive(Debug)]
pub(super) struct Timeline {
    own: String,
    /// What the detector held of each, to tell a first announcement from one that refutes.
    states: BTreeMap<String, State>,
    /// Those that are suspect, with the last piece of evidence that was shown: further accusers make no event.
    suspects: BTreeMap<String, Option<Evidence>>,
}

impl Timeline {
    /// Of the node of this name.
    pub(super) fn new(own: &str) -> Self {
        Self { own: own.to_owned(), states: BTreeMap::new(), suspects: BTreeMap::new() }
    }

    /// The lines of a step, after which the node is as given.
    pub(super) fn of(&mut self, step: &Step, node: &Node, filter: &Filter, clocks: &Clocks) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut line = |kind, member: Option<&str>, text, is_ordinary| {
            let line = Line { at: step.at, kind, member: member.map(str::to_owned), text, is_ordinary };
            if filter.shows(&line) {
                lines.push(line);
            }
        };
        if let Some((kind, member, text, is_ordinary)) = step.input.as_ref().and_then(input) {
            line(kind, member, text, is_ordinary);
        }
        for output in &step.outputs {
            match output {
                Output::Event(event) => {
                    let (kind, member, text) =
                        self.event(step.at, event, node, clocks, |name| filter.wants(name));
                    line(kind, member.as_deref(), text, false);
                }
                Output::Notice(Notice { level, kind, member, text, .. }) => {
                    line(kind, member.as_deref(), text.clone(), *level < Level::Warn);
                }
                Output::Done { outcome, .. } => line("done", None, done(outcome), false),
                Output::Stop(reason) => line("stop", None, reason.to_string(), false),
                other => {
                    if let Some((kind, text)) = traffic(other) {
                        line(kind, None, text, true);
                    }
                }
            }
        }
        for (member, text) in self.further_accusers(node, clocks) {
            line("accused", Some(&member), text, false);
        }
        lines
    }

    fn event(
        &mut self,
        at: Time,
        event: &Event,
        node: &Node,
        clocks: &Clocks,
        wanted: impl Fn(&str) -> bool,
    ) -> (&'static str, Option<String>, String) {
        let (kind, change) = match event {
            Event::Joined(change) => ("joined", change),
            Event::Left(change) => ("left", change),
            Event::Failed(change) => ("failed", change),
            Event::Updated(change) => ("updated", change),
            Event::Reaped(change) => ("reaped", change),
            Event::Suspected(change) => ("suspected", change),
            Event::Refuted(change) => ("refuted", change),
            Event::User(event) => {
                let size = event.payload.len();
                let text =
                    format!("{} with {size} bytes of payload (Lamport time {})", event.name, event.ltime);
                return ("user-event", None, text);
            }
            Event::Query(query) => {
                return ("query", None, format!("{} asks {} of this agent", query.source, query.name));
            }
            _ => return ("other", None, format!("{event:?}")),
        };
        let member = &change.member;
        let evidence = Evidence {
            at,
            state: member.state,
            incarnation: member.incarnation,
            cause: change.cause.clone(),
            health: node.stats().health_score,
            rtt: None,
        };
        let name = member.name.to_string();
        let text = if wanted(&name) { self.sentence(&name, &evidence, node, clocks) } else { String::new() };
        if member.state == State::Suspect {
            self.suspects.insert(name.clone(), node.evidence(&name).pop());
        } else {
            self.suspects.remove(&name);
        }
        if kind == "reaped" {
            self.states.remove(&name);
        } else {
            self.states.insert(name.clone(), member.state);
        }
        (kind, Some(name), text)
    }

    /// Whoever accused a suspect after the first one.
    fn further_accusers(&mut self, node: &Node, clocks: &Clocks) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (name, shown) in &self.suspects {
            let evidence = node.evidence(name);
            if evidence.last() == shown.as_ref() {
                continue;
            }
            let from = shown.as_ref().and_then(|shown| evidence.iter().rposition(|piece| piece == shown));
            for piece in &evidence[from.map_or(0, |at| at + 1)..] {
                found.push((name.clone(), self.sentence(name, piece, node, clocks)));
            }
        }
        for (name, _text) in &found {
            self.suspects.insert(name.clone(), node.evidence(name).pop());
        }
        found
    }

    fn sentence(&self, name: &str, evidence: &Evidence, node: &Node, clocks: &Clocks) -> String {
        let members: Vec<_> = node.members().collect();
        let people = People::new(&self.own, &members);
        let clock = Clock::at(evidence.at, clocks.unix_ns(evidence.at));
        let record = record(evidence, self.states.get(name).copied(), &people, &clock);
        match record.health {
            0 => record.text,
            _ if record.kind == "probe-failed" => record.text,
            score => format!("{} (this agent's own health score was {score})", record.text),
        }
    }
}

/// Kind, member, text, and whether it is ordinary.
type Told<'a> = (&'static str, Option<&'a str>, String, bool);

/// What the world did or an operator wanted.
fn input(input: &Input) -> Option<Told<'_>> {
    let command = |text: String| Some(("command", None, text, false));
    let ordinary = |kind, text: String| Some((kind, None, text, true));
    match input {
        Input::Timeout
        | Input::StreamConnected { .. }
        | Input::StreamEnded { .. }
        | Input::SeedsChanged { count: 0 } => None,
        Input::Packet { from, packet } => ordinary("received", format!("{} bytes from {from}", packet.len())),
        Input::SendFailed { to, error } => {
            Some(("unsent", None, format!("the packet to {to} could not be sent: {error}"), false))
        }
        Input::StreamAccepted { from } => ordinary("accepted", format!("a stream from {from}")),
        Input::StreamData { stream, bytes } => {
            ordinary("received", format!("{} bytes on stream {}", bytes.len(), stream.0))
        }
        Input::StreamFailed { stream, failure } => {
            ordinary("stream-failed", format!("stream {}: {failure:?}", stream.0))
        }
        Input::KeyringPersisted { result, .. } => match result {
            Ok(()) => ordinary("keyring", "the key ring was written".to_owned()),
            Err(error) => {
                Some(("keyring", None, format!("the key ring could not be written: {error}"), false))
            }
        },
        Input::SeedsLookedUp { addrs } => {
            ordinary("seeds", format!("the seeds stand for {} addresses", addrs.len()))
        }
        Input::SeedsChanged { count } => ordinary("seeds", format!("there are {count} seeds to join")),
        Input::Restore(restored) => {
            let (alive, failed) = (restored.alive.len(), restored.failed.len());
            Some((
                "snapshot",
                None,
                format!("of an earlier life {alive} live members and {failed} failed ones are known"),
                false,
            ))
        }
        Input::Join { addrs, .. } => {
            let addrs: Vec<String> = addrs.iter().map(ToString::to_string).collect();
            command(format!("join {}", addrs.join(" ")))
        }
        Input::Leave => command("leave".to_owned()),
        Input::ForceLeave { name, prune } => {
            let prune = if *prune == thane::Prune::Erase { " -prune" } else { "" };
            Some(("command", Some(name), format!("force-leave{prune} {name}"), false))
        }
        Input::UserEvent { name, payload, .. } => {
            command(format!("event {name} with {} bytes of payload", payload.len()))
        }
        Input::SetTags(tags) => command(format!("tags {tags:?}")),
        Input::Query { name, .. } => command(format!("query {name}")),
        Input::CancelQuery(_) => ordinary("command", "no more answers are wanted".to_owned()),
        Input::Respond { payload, .. } => {
            ordinary("command", format!("answer a query with {} bytes", payload.len()))
        }
        Input::Keys { command: wanted, .. } => command(format!("keys {wanted:?}")),
        Input::SendsHeld => Some(("unsent", None, "no packet can be sent for now".to_owned(), false)),
        Input::SendsResumed => Some(("unsent", None, "packets can be sent again".to_owned(), false)),
    }
}

fn done(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Join { contacted, failed } => {
            let failed: Vec<String> = failed.iter().map(ToString::to_string).collect();
            let more = if failed.is_empty() { String::new() } else { format!("; {}", failed.join("; ")) };
            format!("join: {contacted} contacted{more}")
        }
        Outcome::Leave => "leave".to_owned(),
        Outcome::ForceLeave(result) => format!("force-leave{}", late(result)),
        Outcome::SetTags(result) => format!("tags{}", late(result)),
        Outcome::Keys(report) => format!(
            "keys: {} of {} members answered, {} of them with an error",
            report.responses, report.nodes, report.errors
        ),
        other => format!("{other:?}"),
    }
}

fn late(result: &Result<(), thane::BroadcastTimeout>) -> String {
    result.as_ref().err().map(|error| format!(": {error}")).unwrap_or_default()
}

/// What goes out.
fn traffic(output: &Output) -> Option<(&'static str, String)> {
    Some(match output {
        Output::Send { to, packet } => ("sent", format!("{} bytes to {to}", packet.len())),
        Output::Dial { stream, to, .. } => ("dial", format!("stream {} to {to}", stream.0)),
        Output::Write { stream, bytes } => ("sent", format!("{} bytes on stream {}", bytes.len(), stream.0)),
        Output::Close { stream } => ("close", format!("stream {}", stream.0)),
        Output::PersistKeyring { .. } => ("keyring", "the key ring is to be written".to_owned()),
        Output::LookUpSeeds => ("seeds", "the seeds are looked up".to_owned()),
        _ => return None,
    })
}
