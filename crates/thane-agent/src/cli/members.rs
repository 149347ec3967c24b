//! `thane members`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;

use super::connection::{connect, failed, with_connection};
use super::encoding::{Format, as_json, with_format};
use super::tags::tag_map;
use super::{Failure, Output, complain};
use crate::client::{Member, MemberFilter, ip_of};
use crate::goflags::{FlagSet, Parsed};
use crate::terminal::Style;

const ROLE_WARNING: &str = "Deprecation warning: 'Role' has been replaced with 'Tags'";

pub(super) fn flags() -> FlagSet {
    with_format(with_connection(FlagSet::new(
        "members",
        "members [flags]",
        "Lists the members of the cluster as an agent sees them: name, address, status and tags. Status is alive,\n\
         leaving, left or failed. A filter is a regular expression that must match from end to end; alternatives\n\
         stand in parentheses.",
    )))
    .bool("detailed", false, "Also show which protocol versions a member speaks.")
    .string("name", "", "List only members whose name matches.")
    .string("status", "", "List only members whose status matches.")
    .string("role", "", "List only members whose tag 'role' matches; -tag role=... says the same.")
    .list("tag", "List only members whose tag matches, as key=regexp.")
    .example("thane members -status=alive -tag role=web")
    .example("thane members -status='(left|failed)'")
    .example("thane members -format=json")
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    let wants_json = parsed.string("format") == "json";
    let mut tags = tag_map(parsed, "tag")?;
    let role = parsed.string("role");
    if !role.is_empty() {
        // Differs from Serf: it prints the warning in front of JSON too, which no parser takes.
        if wants_json {
            complain(&format!("{ROLE_WARNING}\n"));
        } else {
            output.line(ROLE_WARNING)?;
        }
        tags.insert("role".to_owned(), role.to_owned());
    }
    let filter = MemberFilter {
        tags,
        status: parsed.string("status").to_owned(),
        name: parsed.string("name").to_owned(),
    };
    let mut members =
        connect(parsed)?.members_filtered(&filter).map_err(|error| failed("retrieving members", &error))?;
    // Serf lists them in whatever order its table has; nobody can depend on that.
    members.sort_by(|a, b| a.name.cmp(&b.name));
    match Format::of(parsed)? {
        Format::Text if parsed.bool("detailed") => output.table(&detailed_rows(&members), TAGS, colour)?,
        Format::Text => output.table(&members.iter().map(columns).collect::<Vec<_>>(), TAGS, colour)?,
        Format::Json => output.line(&as_json(&Document::of(&members))?)?,
    }
    Ok(())
}

/// The address as Go joins it: `1.2.3.4:7946` or `[::1]:7946`.
fn address(member: &Member) -> String {
    match ip_of(member) {
        Some(ip) => SocketAddr::new(ip, member.port).to_string(),
        None => format!("<nil>:{}", member.port),
    }
}

/// Serf's own protocol versions of a member.
fn protocol(member: &Member) -> Protocol {
    let [_, _, _, min, max, version] = member.versions;
    Protocol { max, min, version }
}

/// The column of the status, and that of the tags, which may be long.
const STATUS: usize = 2;
const TAGS: usize = 3;

fn columns(member: &Member) -> [String; 4] {
    let tags: Vec<String> = member.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    [member.name.clone(), address(member), member.status.clone(), tags.join(",")]
}

fn detailed_rows(members: &[Member]) -> Vec<[String; 6]> {
    let row = |member: &Member| {
        let [name, address, status, tags] = columns(member);
        let Protocol { max, min, version } = protocol(member);
        let version = format!("Protocol Version: {version}");
        let range = format!("Available Protocol Range: [{min}, {max}]");
        [name, address, status, tags, version, range]
    };
    members.iter().map(row).collect()
}

fn colour(column: usize, cell: &str) -> Option<Style> {
    if column == STATUS { Style::of_status(cell) } else { None }
}

/// The JSON form, whose keys and their order scripts know.
#[derive(Serialize)]
struct Document<'a> {
    /// `null` rather than an empty list, as Go writes a list that was never made.
    members: Option<Vec<Entry<'a>>>,
}

/// One member, as every command prints it.
#[derive(Serialize)]
pub(super) struct Entry<'a> {
    name: &'a str,
    addr: String,
    port: u16,
    tags: &'a BTreeMap<String, String>,
    status: &'a str,
    protocol: Protocol,
}

#[derive(Serialize)]
struct Protocol {
    max: u8,
    min: u8,
    version: u8,
}

impl<'a> Entry<'a> {
    pub(super) fn of(member: &'a Member) -> Self {
        Self {
            name: &member.name,
            addr: address(member),
            port: member.port,
            tags: &member.tags,
            status: &member.status,
            protocol: protocol(member),
        }
    }
}

impl<'a> Document<'a> {
    fn of(members: &'a [Member]) -> Self {
        let entries: Vec<Entry<'a>> = members.iter().map(Entry::of).collect();
        Self { members: Some(entries).filter(|entries| !entries.is_empty()) }
    }
}
