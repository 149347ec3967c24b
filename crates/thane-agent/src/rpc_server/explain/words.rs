//! A piece of evidence as a sentence that a tired person understands.

use thane::{Cause, Evidence, Path, ProbeFailure, Relay, State, TcpProbe};

use super::People;
use crate::format::span;

/// What happened, without a full stop.
pub(super) fn sentence(evidence: &Evidence, before: Option<State>, people: &People) -> String {
    match &evidence.cause {
        Cause::Started => "the agent started".to_owned(),
        Cause::Announced { incarnation, via } => announced(*incarnation, *via, before, people),
        Cause::Refuted { by: Some(by), incarnation, via } => format!(
            "{by} accused it (this agent) under incarnation {incarnation}, heard {}; it refuted with incarnation {}",
            heard(*via, people),
            evidence.incarnation
        ),
        Cause::Refuted { by: None, incarnation, via } => format!(
            "somebody announced it (this agent) under incarnation {incarnation} as it is not, heard {}; it refuted with incarnation {}",
            heard(*via, people),
            evidence.incarnation
        ),
        Cause::ProbeFailed(failure) => probe_failed(failure, &people.own),
        Cause::Accused { by, incarnation, via } => {
            let verb = if before == Some(State::Suspect) { "confirms the suspicion" } else { "accuses it" };
            format!("{by} {verb} (incarnation {incarnation}), heard {}", heard(*via, people))
        }
        Cause::SuspicionExpired { accusers, timeout, .. } => format!(
            "it did not refute within {}, so {} declared it failed; accused by {}",
            span(*timeout),
            people.own,
            accusers.join(", ")
        ),
        Cause::Refused { refusals, since, accusers } => format!(
            "it refused {refusals} connections within {} and answered no ping, so {} declared it failed; accused by {}",
            span(evidence.at.since(*since)),
            people.own,
            accusers.join(", ")
        ),
        Cause::Unsteady { by } => {
            format!(
                "it answers only few pings, so {} takes it for failed; {} found so",
                people.own,
                by.join(", ")
            )
        }
        Cause::Steady { after } => {
            format!("it answers again, after {} in which it did so too seldom", span(*after))
        }
        Cause::DeclaredDead { by, incarnation, via } => {
            format!("{by} declared it failed (incarnation {incarnation}), heard {}", heard(*via, people))
        }
        Cause::SaidGoodbye { via } => format!("it said goodbye, heard {}", heard(*via, people)),
        Cause::LeaveIntent { ltime, via } => leave_intent(*ltime, *via, before, people),
        Cause::JoinIntent { ltime, via } => {
            format!(
                "it says that it is (again) a member (Lamport time {ltime}), heard {}",
                heard(*via, people)
            )
        }
        Cause::Pruned => "force-left with -prune: forgotten at once".to_owned(),
        Cause::TimedOut { after } => format!("forgotten after {}", span(*after)),
        other => format!("{other:?}"),
    }
}

fn announced(incarnation: u32, via: Path, before: Option<State>, people: &People) -> String {
    let what = match before {
        None => "joined",
        Some(State::Suspect) => "refuted the suspicion",
        Some(State::Alive) => "announced itself",
        Some(State::Dead | State::Left | State::Forgotten) => "came back",
    };
    format!("{what} with incarnation {incarnation}, heard {}", heard(via, people))
}

fn heard(via: Path, people: &People) -> String {
    match via {
        Path::Packet(from) => format!("in a packet from {}", people.describe(from)),
        Path::PushPull(with) => format!("in a state exchange with {}", people.describe(with)),
        Path::Local => format!("from {} itself", people.own),
    }
}

fn probe_failed(failure: &ProbeFailure, own: &str) -> String {
    let (asked, unasked): (Vec<&Relay>, Vec<&Relay>) =
        failure.relays.iter().partition(|relay| relay.asked_to_nack || relay.nacked);
    let (nacked, silent): (Vec<&Relay>, Vec<&Relay>) = asked.into_iter().partition(|relay| relay.nacked);
    let mut relays = match (&nacked[..], &silent[..]) {
        ([], []) if unasked.is_empty() => "nobody else could be asked".to_owned(),
        ([], []) => String::new(),
        ([], silent) => format!("{} said nothing at all when asked to probe it for us", names(silent)),
        (nacked, []) => format!("{} heard nothing either when asked to probe it for us", names(nacked)),
        (nacked, silent) => format!(
            "{} heard nothing either, and {} said nothing at all, when asked to probe it for us",
            names(nacked),
            names(silent)
        ),
    };
    if !unasked.is_empty() {
        let and = if relays.is_empty() { "" } else { ", and " };
        relays = format!("{relays}{and}none through {}", names(&unasked));
    }
    let tcp = match failure.tcp {
        TcpProbe::NotTried => "TCP was not tried",
        TcpProbe::Refused => "TCP was refused",
        TcpProbe::NoAnswer => "no answer over TCP",
    };
    let health = match failure.health {
        0 => String::new(),
        score => format!("; {own}'s own health score was {score} then"),
    };
    format!("no answer to {own}'s own probe: none to a ping over UDP; {relays}; {tcp}{health}")
}

/// `b`, `b and c`, `b, c and d`.
fn names(relays: &[&Relay]) -> String {
    let names: Vec<&str> = relays.iter().map(|relay| &*relay.name).collect();
    match &names[..] {
        [] => "nobody".to_owned(),
        [name] => (*name).to_owned(),
        [names @ .., last] => format!("{} and {last}", names.join(", ")),
    }
}

fn leave_intent(ltime: u64, via: Path, before: Option<State>, people: &People) -> String {
    let heard = heard(via, people);
    // A member that was failed can hardly have said so itself.
    if matches!(before, Some(State::Dead | State::Forgotten)) {
        format!("somebody force-left it (Lamport time {ltime}; the message does not say who), heard {heard}")
    } else {
        format!(
            "it leaves, or somebody force-leaves it (Lamport time {ltime}; the message does not say which), heard {heard}"
        )
    }
}
