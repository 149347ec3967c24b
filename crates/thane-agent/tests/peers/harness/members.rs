//! The member list as either command line tells it.

use super::{Agent, Kind};
use serde_json::Value;
use std::collections::BTreeMap;

/// One row of `members -format=json`. Rows sort by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) status: String,
    /// `IP:PORT`.
    pub(crate) address: String,
    pub(crate) port: u64,
    pub(crate) tags: BTreeMap<String, String>,
    /// `min`, `max` and `version` of the Serf protocol.
    pub(crate) protocol: BTreeMap<String, u64>,
}

/// What the command line of `kind` lists when it asks `agent`, sorted by name, or why it cannot.
pub(crate) fn members_through(kind: Kind, agent: &Agent) -> Result<Vec<Member>, String> {
    let answer = agent.cli(kind, &["members", "-format=json"]);
    if answer.code != Some(0) {
        return Err(format!("{answer:?}"));
    }
    let mut members = parse(&answer.stdout).ok_or_else(|| format!("not a list of members: {answer:?}"))?;
    members.sort();
    Ok(members)
}

/// Name and status of each member that the command line of `kind` lists when it asks `agent`.
pub(crate) fn statuses_through(kind: Kind, agent: &Agent) -> Result<Vec<(String, String)>, String> {
    let members = members_through(kind, agent)?.into_iter();
    Ok(members.map(|member| (member.name, member.status)).collect())
}

/// Name and status of each member, sorted by name.
pub(crate) fn statuses(members: &[Member]) -> Vec<(&str, &str)> {
    members.iter().map(|member| (member.name.as_str(), member.status.as_str())).collect()
}

fn parse(text: &str) -> Option<Vec<Member>> {
    let document: Value = serde_json::from_str(text).ok()?;
    match document.get("members")? {
        Value::Null => Some(Vec::new()),
        Value::Array(rows) => rows.iter().map(parse_row).collect(),
        _ => None,
    }
}

fn parse_row(row: &Value) -> Option<Member> {
    let text = |key: &str| row.get(key)?.as_str().map(str::to_owned);
    let tags = row.get("tags")?.as_object()?.iter();
    let protocol = row.get("protocol")?.as_object()?.iter();
    Some(Member {
        name: text("name")?,
        status: text("status")?,
        address: text("addr")?,
        port: row.get("port")?.as_u64()?,
        tags: tags
            .map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect::<Option<_>>()?,
        protocol: protocol.map(|(key, value)| Some((key.clone(), value.as_u64()?))).collect::<Option<_>>()?,
    })
}
