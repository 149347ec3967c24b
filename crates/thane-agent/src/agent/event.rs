//! An event on its way to streams and handlers.

use std::net::IpAddr;

use thane::{
    Cause, Change, CoalescedEvent, Event, IncomingQuery, Member, MemberEventKind, RespondError, UserEvent,
};
use thane_wire::rpc;
use thane_wire::rpc::EventName;

use super::filter::EventFilter;

/// An event in Serf's terms.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AgentEvent {
    /// Something happened to members.
    Members {
        /// What.
        event: EventName,
        /// To whom: one member, or several to whom the same happened within a short time.
        members: Vec<Member>,
        /// Who suspects the member, for `member-suspect`.
        by: Option<String>,
    },
    /// A user event.
    User(UserEvent),
    /// A query, which the first that has an answer answers.
    Query(IncomingQuery),
}

impl AgentEvent {
    /// The event as Serf's clients know it; `None` for those that are Thane's alone and have no name there. `own_name`
    /// is who accuses when our own probe failed.
    pub(crate) fn from_library(event: &Event, own_name: &str) -> Option<Self> {
        let (name, change) = match event {
            Event::Joined(change) => (EventName::MemberJoin, change),
            Event::Left(change) => (EventName::MemberLeave, change),
            Event::Failed(change) => (EventName::MemberFailed, change),
            Event::Updated(change) => (EventName::MemberUpdate, change),
            Event::Reaped(change) => (EventName::MemberReap, change),
            Event::Suspected(change) => (EventName::MemberSuspect, change),
            Event::User(event) => return Some(Self::User(event.clone())),
            Event::Query(query) => return Some(Self::Query(query.clone())),
            _ => return None,
        };
        let by = match name {
            EventName::MemberSuspect => accuser(change, own_name),
            _ => None,
        };
        Some(Self::Members { event: name, members: vec![change.member.clone()], by })
    }

    /// What the coalescer tells, as Serf's clients know it; `None` as for [`Self::from_library`].
    pub(crate) fn from_coalesced(event: CoalescedEvent, own_name: &str) -> Option<Self> {
        Some(match event {
            CoalescedEvent::Members { kind, changes } => {
                let event = match kind {
                    MemberEventKind::Join => EventName::MemberJoin,
                    MemberEventKind::Leave => EventName::MemberLeave,
                    MemberEventKind::Failed => EventName::MemberFailed,
                    MemberEventKind::Update => EventName::MemberUpdate,
                    MemberEventKind::Reap => EventName::MemberReap,
                };
                let members = changes.into_iter().map(|change| change.member).collect();
                Self::Members { event, members, by: None }
            }
            CoalescedEvent::User(event) => Self::User(event),
            CoalescedEvent::Pass(event) => return Self::from_library(&event, own_name),
        })
    }

    /// Its type in `SERF_EVENT` and in log lines: `member-join`, `user`.
    pub(crate) fn kind(&self) -> &str {
        match self {
            Self::Members { event, .. } => event.name(),
            Self::User(_) => "user",
            Self::Query(_) => "query",
        }
    }

    /// How the log names it. (Serf: `event.go`, the String methods.)
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Members { event, .. } => event.name().to_owned(),
            Self::User(event) => format!("user-event: {}", event.name),
            Self::Query(query) => format!("query: {}", query.name),
        }
    }

    /// Whether it passes a filter.
    pub(crate) fn passes(&self, filter: &EventFilter) -> bool {
        match self {
            Self::Members { event, .. } => filter.wants_member_event(event),
            Self::User(event) => filter.wants_user_event(&event.name),
            Self::Query(query) => filter.wants_query(&query.name),
        }
    }

    /// The record that streams send. `query_id` is the number by which the client answers it, if it is a query.
    pub(crate) fn to_record(&self, query_id: u64) -> rpc::Record {
        match self {
            Self::Members { event, members, by } => rpc::Record::Members(rpc::MemberEvent {
                event: event.clone(),
                members: members.iter().map(rpc_member).collect(),
                by: by.clone(),
            }),
            Self::User(event) => rpc::Record::User(rpc::UserEvent {
                ltime: event.ltime,
                name: event.name.to_string(),
                payload: (!event.payload.is_empty()).then(|| event.payload.to_vec()),
                coalesce: event.coalesce,
            }),
            Self::Query(query) => rpc::Record::Query(rpc::QueryEvent {
                id: query_id,
                ltime: query.ltime,
                name: query.name.to_string(),
                payload: (!query.payload.is_empty()).then(|| query.payload.to_vec()),
            }),
        }
    }
}

/// Answers a query.
///
/// # Errors
/// In Serf's words, which speak of keys whatever the query.
pub(crate) async fn respond(query: &IncomingQuery, answer: Vec<u8>) -> Result<(), String> {
    query.respond(answer).await.map_err(|refusal| {
        let refusal = match refusal {
            // It was known when we heard of it, and is forgotten only after its deadline.
            RespondError::Unknown => RespondError::Late,
            other => other,
        };
        format!("failed to respond to key query: {refusal}")
    })
}

/// The line that Serf's log has for an event, without its level: scripts look for these. (Serf: `serf.go`,
/// handleNodeJoin and its neighbours.)
pub(crate) fn log_line(event: &Event, own_name: &str) -> Option<String> {
    let line =
        |word: &str, change: &Change| format!("{word}: {} {}", change.member.name, change.member.addr.ip());
    Some(match event {
        Event::Joined(change) => line("EventMemberJoin", change),
        // A member that announces its own leave is gone by its own word; a failed one can only have been told to.
        Event::Left(change) if matches!(change.cause, Cause::LeaveIntent { .. }) => {
            line("EventMemberLeave (forced)", change)
        }
        Event::Left(change) => line("EventMemberLeave", change),
        Event::Failed(change) => line("EventMemberFailed", change),
        Event::Updated(change) => format!("EventMemberUpdate: {}", change.member.name),
        Event::Reaped(change) if change.cause == Cause::Pruned => line("EventMemberReap (forced)", change),
        Event::Reaped(change) => format!("EventMemberReap: {}", change.member.name),
        Event::Suspected(change) => {
            let by = accuser(change, own_name).unwrap_or_else(|| "unknown".to_owned());
            format!("{} by {by}", line("EventMemberSuspect", change))
        }
        Event::Refuted(change) => line("EventMemberRefute", change),
        _ => return None,
    })
}

fn accuser(change: &Change, own_name: &str) -> Option<String> {
    match &change.cause {
        Cause::Accused { by, .. } => Some(by.to_string()),
        Cause::ProbeFailed(_) => Some(own_name.to_owned()),
        _ => None,
    }
}

/// A member as RPC shows it.
pub(crate) fn rpc_member(member: &Member) -> rpc::Member {
    let addr = match member.addr.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let versions = &member.versions;
    rpc::Member {
        name: member.name.to_string(),
        addr: Some(addr),
        port: member.addr.port(),
        tags: member.tags(),
        status: member.status.to_string(),
        versions: [
            versions.protocol_min,
            versions.protocol_max,
            versions.protocol_current,
            versions.delegate_min,
            versions.delegate_max,
            versions.delegate_current,
        ],
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use thane::{Path, State, Status, Time, Versions};
    use thane_wire::tags;

    use super::*;

    /// A member for tests.
    pub(crate) fn member(name: &str, ip: &str, own_tags: &[(&str, &str)]) -> Member {
        let own_tags = own_tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Member {
            name: name.into(),
            addr: format!("{ip}:7946").parse().unwrap(),
            meta: tags::encode(&own_tags).into(),
            status: Status::Alive,
            state: State::Alive,
            state_since: Time::ZERO,
            incarnation: 1,
            status_ltime: 1,
            versions: Versions {
                protocol_min: 1,
                protocol_max: 5,
                protocol_current: 2,
                delegate_min: 2,
                delegate_max: 5,
                delegate_current: 5,
            },
            route: None,
        }
    }

    fn change(cause: Cause) -> Change {
        Change { member: member("beta", "10.0.0.2", &[]), cause }
    }

    #[test]
    fn log_lines_are_those_that_scripts_look_for() {
        let via = Path::Local;
        for (event, expected) in [
            (Event::Joined(change(Cause::Started)), "EventMemberJoin: beta 10.0.0.2"),
            (Event::Left(change(Cause::SaidGoodbye { via })), "EventMemberLeave: beta 10.0.0.2"),
            (
                Event::Left(change(Cause::LeaveIntent { ltime: 3, via })),
                "EventMemberLeave (forced): beta 10.0.0.2",
            ),
            (Event::Updated(change(Cause::Announced { incarnation: 2, via })), "EventMemberUpdate: beta"),
            (Event::Reaped(change(Cause::Pruned)), "EventMemberReap (forced): beta 10.0.0.2"),
            (
                Event::Reaped(change(Cause::TimedOut { after: Duration::from_secs(9) })),
                "EventMemberReap: beta",
            ),
        ] {
            assert_eq!(log_line(&event, "alpha").unwrap(), expected);
        }
    }

    #[test]
    fn a_suspicion_names_the_accuser() {
        let via = Path::Local;
        let accused = Event::Suspected(change(Cause::Accused { by: "gamma".into(), incarnation: 1, via }));
        let event = AgentEvent::from_library(&accused, "alpha").unwrap();
        let AgentEvent::Members { event, by, .. } = event else { panic!("{event:?}") };
        assert_eq!((event, by.as_deref()), (EventName::MemberSuspect, Some("gamma")));
        assert_eq!(log_line(&accused, "alpha").unwrap(), "EventMemberSuspect: beta 10.0.0.2 by gamma");
    }

    #[test]
    fn members_have_four_or_sixteen_address_bytes() {
        let four = rpc_member(&member("a", "127.0.0.1", &[("role", "web")]));
        assert_eq!((four.addr, four.port, four.status.as_str()), (Some(vec![127, 0, 0, 1]), 7946, "alive"));
        assert_eq!(four.versions, [1, 5, 2, 2, 5, 5]);
        let sixteen = rpc_member(&member("a", "[::1]", &[]));
        assert_eq!(sixteen.addr.map(|addr| addr.len()), Some(16));
    }
}
