//! The answer to `explain`: what the node knows of a member, with moments on the wall clock and sentences for people.

mod advice;
mod words;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thane::{AnswerWay, Cause, Evidence, LastAnswer, Member, Path, State, TcpProbe, Time};
use thane_wire::rpc::{Answered, EvidenceRecord, Explanation};

use crate::format::go_quote;
use crate::goflags::nearest;

/// Explains the state of the member of this name.
///
/// # Errors
/// Nobody has that name; says which one may have been meant.
pub(super) async fn explain(node: &thane::Node, name: &str) -> Result<Explanation, String> {
    let members = node.members().await;
    let known = Known {
        agent: node.name().to_owned(),
        clock: Clock::now(node.now()),
        members,
        evidence: node.evidence(name).await,
        health: node.stats().await.health_score,
        answered: node.last_answer(name).await,
        suspicion_ends: node.suspicion_ends(name).await,
    };
    known.explain(name)
}

/// What a node knows at one moment: of all members, and of the one that is asked about.
#[derive(Debug)]
pub(crate) struct Known {
    /// The node's name.
    pub(crate) agent: String,
    pub(crate) clock: Clock,
    pub(crate) members: Vec<Member>,
    /// Of the one member, as the rest.
    pub(crate) evidence: Vec<Evidence>,
    /// The node's own health score.
    pub(crate) health: u32,
    pub(crate) answered: Option<LastAnswer>,
    pub(crate) suspicion_ends: Option<Time>,
}

impl Known {
    /// The explanation of the member of this name.
    ///
    /// # Errors
    /// Nobody has that name; says which one may have been meant.
    pub(crate) fn explain(&self, name: &str) -> Result<Explanation, String> {
        let Self { agent, clock, members, evidence, health, answered, suspicion_ends } = self;
        let Some(member) = members.iter().find(|member| &*member.name == name) else {
            return Err(unknown(name, members));
        };
        let people = People::new(agent, members);
        let own_tags = members.iter().find(|it| it.name.as_ref() == agent.as_str()).map(|own| &own.meta[..]);
        let network =
            own_tags.filter(|_| name != agent).and_then(|own| thane::shared_network(own, &member.meta));
        let answered = answered.as_ref().map(|answer| Answered {
            at_ns: clock.unix_ns(answer.at),
            rtt_ns: answer.rtt.map(span_ns),
            way: way_name(answer.way).to_owned(),
        });
        let mut explanation = Explanation {
            agent: agent.clone(),
            health: *health,
            now_ns: clock.unix_now_ns,
            name: name.to_owned(),
            addr: member.addr.to_string(),
            reached_at: member.reached_at().to_string(),
            // A tag that was set by hand is no network that is used.
            network: network.filter(|(_, at)| *at == member.reached_at()).map(|it| it.0).unwrap_or_default(),
            status: member.status.to_string(),
            state: member.state.to_string(),
            since_ns: clock.unix_ns(member.state_since),
            incarnation: member.incarnation,
            verdict_ns: suspicion_ends.map(|end| clock.unix_ns(end)),
            answered,
            evidence: Vec::new(),
            advice: advice::advice(member, evidence, *health, agent),
        };
        let mut before = None;
        for piece in evidence {
            explanation.evidence.push(record(piece, before, &people, clock));
            before = Some(piece.state);
        }
        Ok(explanation)
    }
}

fn unknown(name: &str, members: &[Member]) -> String {
    let meant = nearest(name, members.iter().map(|member| &*member.name));
    let meant = meant.map(|near| format!("; did you mean {}?", go_quote(near))).unwrap_or_default();
    format!("no member is named {}{meant}", go_quote(name))
}

/// One change, after which the detector held something else than `before`.
pub(crate) fn record(
    evidence: &Evidence,
    before: Option<State>,
    people: &People,
    clock: &Clock,
) -> EvidenceRecord {
    let (path, from) = match via(&evidence.cause) {
        Some(Path::Packet(from)) => ("packet", from.to_string()),
        Some(Path::PushPull(with)) => ("push-pull", with.to_string()),
        Some(Path::Local) => ("local", String::new()),
        None => ("", String::new()),
    };
    let mut record = EvidenceRecord {
        at_ns: clock.unix_ns(evidence.at),
        state: evidence.state.to_string(),
        incarnation: evidence.incarnation,
        health: evidence.health,
        kind: kind(&evidence.cause, before).to_owned(),
        text: words::sentence(evidence, before, people),
        path: path.to_owned(),
        from,
        rtt_ns: evidence.rtt.map(span_ns),
        ..EvidenceRecord::default()
    };
    match &evidence.cause {
        Cause::Refuted { by, .. } => record.by = by.iter().map(ToString::to_string).collect(),
        Cause::ProbeFailed(failure) => {
            record.by = vec![people.own.clone()];
            for relay in &failure.relays {
                record.relays.push(relay.name.to_string());
                if relay.nacked {
                    record.nacked.push(relay.name.to_string());
                }
            }
            tcp_name(failure.tcp).clone_into(&mut record.tcp);
        }
        Cause::Accused { by, .. } | Cause::DeclaredDead { by, .. } => record.by = vec![by.to_string()],
        Cause::SuspicionExpired { accusers, timeout, .. } => {
            record.by = accusers.iter().map(ToString::to_string).collect();
            record.timeout_ns = Some(span_ns(*timeout));
        }
        Cause::Refused { accusers, .. } => {
            record.by = accusers.iter().map(ToString::to_string).collect();
        }
        Cause::Unsteady { by } => record.by = by.iter().map(ToString::to_string).collect(),
        Cause::LeaveIntent { ltime, .. } | Cause::JoinIntent { ltime, .. } => record.ltime = *ltime,
        _ => {}
    }
    record
}

/// What happened, as one word of a fixed set that scripts may rely on.
fn kind(cause: &Cause, before: Option<State>) -> &'static str {
    match cause {
        Cause::Started => "started",
        Cause::Announced { .. } => match before {
            None => "joined",
            Some(State::Suspect) => "refuted",
            Some(State::Alive) => "announced",
            Some(State::Dead | State::Left | State::Forgotten) => "came-back",
        },
        Cause::Refuted { .. } => "refuted",
        Cause::ProbeFailed(_) => "probe-failed",
        Cause::Accused { .. } => "accused",
        Cause::SuspicionExpired { .. } => "suspicion-expired",
        Cause::Refused { .. } => "connections-refused",
        Cause::Unsteady { .. } => "unsteady",
        Cause::Steady { .. } => "steady-again",
        Cause::DeclaredDead { .. } => "declared-dead",
        Cause::SaidGoodbye { .. } => "said-goodbye",
        Cause::LeaveIntent { .. } => "leave-intent",
        Cause::JoinIntent { .. } => "join-intent",
        Cause::Pruned => "pruned",
        Cause::TimedOut { .. } => "timed-out",
        _ => "other",
    }
}

fn via(cause: &Cause) -> Option<Path> {
    match cause {
        Cause::Announced { via, .. }
        | Cause::Refuted { via, .. }
        | Cause::Accused { via, .. }
        | Cause::DeclaredDead { via, .. }
        | Cause::SaidGoodbye { via }
        | Cause::LeaveIntent { via, .. }
        | Cause::JoinIntent { via, .. } => Some(*via),
        Cause::Started
        | Cause::ProbeFailed(_)
        | Cause::SuspicionExpired { .. }
        | Cause::Refused { .. }
        | Cause::Unsteady { .. }
        | Cause::Steady { .. } => Some(Path::Local),
        _ => None,
    }
}

fn tcp_name(tcp: TcpProbe) -> &'static str {
    match tcp {
        TcpProbe::NotTried => "not-tried",
        TcpProbe::Refused => "refused",
        TcpProbe::NoAnswer => "no-answer",
    }
}

fn way_name(way: AnswerWay) -> &'static str {
    match way {
        AnswerWay::Direct => "direct",
        AnswerWay::Relayed => "relayed",
        AnswerWay::Tcp => "tcp",
        AnswerWay::TcpOnly => "tcp-only",
    }
}

fn span_ns(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

/// The node's clock beside the wall clock, read at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    node_now: Time,
    /// Nanoseconds since 1970.
    pub(crate) unix_now_ns: i64,
}

impl Clock {
    /// `node_now` is what the node's clock says now.
    pub(crate) fn now(node_now: Time) -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { node_now, unix_now_ns: span_ns(unix) }
    }

    /// `node_now` was this many nanoseconds after 1970.
    pub(crate) fn at(node_now: Time, unix_now_ns: i64) -> Self {
        Self { node_now, unix_now_ns }
    }

    /// A moment on the node's clock, past or future, as nanoseconds since 1970. If the wall clock was set meanwhile, as if it
    /// always had been.
    pub(crate) fn unix_ns(&self, at: Time) -> i64 {
        let ahead = span_ns(at.since(self.node_now));
        let ago = span_ns(self.node_now.since(at));
        self.unix_now_ns.saturating_add(ahead).saturating_sub(ago)
    }
}

/// Who is behind an address.
#[derive(Debug)]
pub(crate) struct People {
    /// The agent itself.
    own: String,
    by_addr: BTreeMap<SocketAddr, String>,
    /// Of addresses that one member has alone: a stream comes from any of its ports.
    by_ip: BTreeMap<IpAddr, Option<String>>,
}

impl People {
    pub(crate) fn new(own: &str, members: &[Member]) -> Self {
        let mut by_ip: BTreeMap<IpAddr, Option<String>> = BTreeMap::new();
        for member in members {
            by_ip
                .entry(member.addr.ip())
                .and_modify(|name| *name = None)
                .or_insert_with(|| Some(member.name.to_string()));
        }
        let by_addr = members.iter().map(|member| (member.addr, member.name.to_string())).collect();
        Self { own: own.to_owned(), by_addr, by_ip }
    }

    /// `web-2 (10.0.0.2:7946)`, or the address alone.
    fn describe(&self, addr: SocketAddr) -> String {
        let by_ip = || self.by_ip.get(&addr.ip()).and_then(Option::as_ref);
        match self.by_addr.get(&addr).or_else(by_ip) {
            Some(name) => format!("{name} ({addr})"),
            None => addr.to_string(),
        }
    }
}

#[cfg(test)]
mod tests;
