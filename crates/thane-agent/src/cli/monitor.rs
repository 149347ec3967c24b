//! `thane monitor`.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::connection::{connect, failed, with_connection};
use super::encoding::{Format, as_json_line};
use super::interrupt::when_interrupted;
use super::members::Entry;
use super::{Failure, Output};
use crate::client::{Member, Record};
use crate::exit::Exit;
use crate::format::go_quote;
use crate::goflags::{FlagSet, Parsed};

pub(super) fn flags() -> FlagSet {
    with_connection(FlagSet::new(
        "monitor",
        "monitor [flags]",
        "Shows an agent's last log lines, then new ones and every event as they come, until it is interrupted or\n\
         the agent stops. The level may be finer than the one that the agent itself logs at.",
    ))
    .string("log-level", "INFO", "Least level of the log lines: trace, debug, info, warn or err.")
    .string("format", "text", "How to print: text, or json, one document a line.")
    .example("thane monitor -log-level=debug")
    .example("thane monitor -log-level=err -format=json | jq 'select(.event == \"member-failed\")'")
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    let format = Format::of(parsed)?;
    let mut client = connect(parsed)?;
    client.stream("*").map_err(|error| failed("starting stream", &error))?;
    client.monitor(parsed.string("log-level")).map_err(|error| failed("starting monitor", &error))?;
    when_interrupted(Exit::Success, None);
    while let Ok(record) = client.next_record(None) {
        match (record, format) {
            (None, _) => {}
            (Some(record), Format::Json) => output.line(&as_json_line(&Document::of(&record))?)?,
            (Some(Record::Log(line)), Format::Text) => output.line(&line)?,
            (Some(record), Format::Text) => output.line(&event_info(&record))?,
        }
    }
    Err(Failure::told(
        "\nRemote side ended the monitor! This usually means that the\nremote side has exited or crashed.",
    ))
}

/// A record in its JSON form; `record` tells the two apart.
#[derive(Serialize)]
#[serde(tag = "record", rename_all = "lowercase")]
enum Document<'a> {
    Log { line: &'a str },
    Event(EventEntry<'a>),
}

/// An event; keys that do not belong to its kind are left out.
#[derive(Default, Serialize)]
struct EventEntry<'a> {
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<Entry<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ltime: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Payload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coalesce: Option<bool>,
}

/// A payload, which may be any bytes.
#[derive(Serialize)]
struct Payload {
    /// What of it is text; other bytes are U+FFFD.
    text: String,
    base64: String,
}

impl Payload {
    fn of(bytes: Option<&[u8]>) -> Self {
        let bytes = bytes.unwrap_or_default();
        Self { text: String::from_utf8_lossy(bytes).into_owned(), base64: STANDARD.encode(bytes) }
    }
}

impl<'a> Document<'a> {
    fn of(record: &'a Record) -> Self {
        Self::Event(match record {
            Record::Log(line) => return Self::Log { line },
            Record::Members(event) => EventEntry {
                event: event.event.name(),
                members: Some(event.members.iter().map(Entry::of).collect()),
                ..EventEntry::default()
            },
            Record::User(event) => EventEntry {
                event: "user",
                ltime: Some(event.ltime),
                name: Some(&event.name),
                payload: Some(Payload::of(event.payload.as_deref())),
                coalesce: Some(event.coalesce),
                ..EventEntry::default()
            },
            Record::Query(event) => EventEntry {
                event: "query",
                id: Some(event.id),
                ltime: Some(event.ltime),
                name: Some(&event.name),
                payload: Some(Payload::of(event.payload.as_deref())),
                ..EventEntry::default()
            },
            _ => EventEntry { event: "unknown", ..EventEntry::default() },
        })
    }
}

/// An event as Serf prints it: each field in Go's syntax. Serf's fields come in any order, ours are sorted.
fn event_info(record: &Record) -> String {
    let fields = match record {
        Record::Members(event) => {
            let members: Vec<String> = event.members.iter().map(go_member).collect();
            vec![
                ("Event", go_quote(event.event.name())),
                ("Members", format!("[]interface {{}}{{{}}}", members.join(", "))),
            ]
        }
        Record::User(event) => vec![
            ("Coalesce", event.coalesce.to_string()),
            ("Event", go_quote("user")),
            ("LTime", go_number(event.ltime)),
            ("Name", go_quote(&event.name)),
            (
                "Payload",
                event.payload.as_deref().map_or_else(|| "<nil>".to_owned(), |bytes| go_bytes("byte", bytes)),
            ),
        ],
        Record::Query(event) => vec![
            ("Event", go_quote("query")),
            ("ID", go_number(event.id)),
            ("LTime", go_number(event.ltime)),
            ("Name", go_quote(&event.name)),
            (
                "Payload",
                event.payload.as_deref().map_or_else(|| "<nil>".to_owned(), |bytes| go_bytes("byte", bytes)),
            ),
        ],
        _ => vec![("Event", go_quote("unknown"))],
    };
    let mut text = "Event Info:".to_owned();
    for (key, value) in fields {
        write!(text, "\n\t{key}: {value}").expect("invariant: writing to a String cannot fail");
    }
    text
}

fn go_member(member: &Member) -> String {
    let [protocol_min, protocol_max, protocol_cur, delegate_min, delegate_max, delegate_cur] =
        member.versions;
    let tags: Vec<String> =
        member.tags.iter().map(|(key, value)| format!("{}:{}", go_quote(key), go_quote(value))).collect();
    let fields = [
        (
            "Addr",
            member.addr.as_deref().map_or_else(|| "interface {}(nil)".to_owned(), |ip| go_bytes("uint8", ip)),
        ),
        ("DelegateCur", go_number(delegate_cur)),
        ("DelegateMax", go_number(delegate_max)),
        ("DelegateMin", go_number(delegate_min)),
        ("Name", go_quote(&member.name)),
        ("Port", go_number(member.port)),
        ("ProtocolCur", go_number(protocol_cur)),
        ("ProtocolMax", go_number(protocol_max)),
        ("ProtocolMin", go_number(protocol_min)),
        ("Status", go_quote(&member.status)),
        ("Tags", format!("map[interface {{}}]interface {{}}{{{}}}", tags.join(", "))),
    ];
    let fields: Vec<String> = fields.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("map[interface {{}}]interface {{}}{{{}}}", fields.join(", "))
}

/// Serf's client decodes numbers over 127 as unsigned, and Go writes those in hexadecimal.
fn go_number(number: impl Into<u64>) -> String {
    match number.into() {
        small @ ..=127 => small.to_string(),
        large => format!("{large:#x}"),
    }
}

fn go_bytes(element: &str, bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:#x}")).collect();
    format!("[]{element}{{{}}}", bytes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use thane_wire::rpc::{EventName, MemberEvent, UserEvent};

    #[test]
    fn events_look_as_serf_prints_them() {
        let user = |payload: Option<&[u8]>, ltime| {
            event_info(&Record::User(UserEvent {
                ltime,
                name: "de\"ploy".to_owned(),
                payload: payload.map(<[u8]>::to_vec),
                coalesce: false,
            }))
        };
        assert_eq!(
            user(Some(b"hi"), 1),
            "Event Info:\n\tCoalesce: false\n\tEvent: \"user\"\n\tLTime: 1\n\tName: \"de\\\"ploy\"\n\tPayload: []byte{0x68, 0x69}"
        );
        assert!(user(None, 128).ends_with("LTime: 0x80\n\tName: \"de\\\"ploy\"\n\tPayload: <nil>"));

        let member = Member {
            name: "alpha".to_owned(),
            addr: Some(vec![127, 0, 0, 1]),
            port: 7946,
            tags: [("k".to_owned(), "v".to_owned())].into(),
            status: "alive".to_owned(),
            versions: [1, 5, 2, 2, 5, 5],
        };
        let event = MemberEvent { event: EventName::MemberUpdate, members: vec![member], by: None };
        assert_eq!(
            event_info(&Record::Members(event)),
            "Event Info:\n\tEvent: \"member-update\"\n\tMembers: []interface {}{map[interface {}]interface {}{\
             \"Addr\":[]uint8{0x7f, 0x0, 0x0, 0x1}, \"DelegateCur\":5, \"DelegateMax\":5, \"DelegateMin\":2, \
             \"Name\":\"alpha\", \"Port\":0x1f0a, \"ProtocolCur\":2, \"ProtocolMax\":5, \"ProtocolMin\":1, \
             \"Status\":\"alive\", \"Tags\":map[interface {}]interface {}{\"k\":\"v\"}}}"
        );
    }
}
