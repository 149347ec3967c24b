//! `thane query`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::connection::{connect, failed, with_connection};
use super::encoding::as_json;
use super::interrupt::when_interrupted;
use super::progress::Progress;
use super::tags::tag_map;
use super::{Failure, Output};
use crate::client::{Client, Query, QueryRecord, QueryRecordKind, Record};
use crate::exit::Exit;
use crate::goflags::{FlagSet, Parsed};

pub(super) fn flags() -> FlagSet {
    with_connection(FlagSet::new(
        "query",
        "query [flags] NAME [PAYLOAD]",
        "Asks the members of the cluster a question and shows what they answer, as it comes. An agent answers with the\n\
         output of its handler for the query; one without a handler only acknowledges it. The query is over when all\n\
         members that are meant have answered, and at the latest when its time is up (Serf's agents always wait for\n\
         that). Flags come before the name; what follows it is the payload, even if it looks like a flag.",
    ))
    .string("format", "text", "How to print: text, as it comes, or json, in the end.")
    .list("node", "Name of a member to ask; all others are not asked.")
    .list("tag", "Ask only members with this tag, as key=regexp. All must match.")
    .duration("timeout", "How long to take answers. 0 leaves it to the agent.")
    .bool("no-ack", false, "Do not have members acknowledge the query.")
    .int("relay-factor", 0, "Through how many other members each answer is sent as well, 0 to 255.")
    .int("first", 0, "End as soon as so many members have answered. 0 means all.")
    .int("quorum", 0, "As -first, but fail (exit code 1) if fewer answer in time.")
    .bool("until-timeout", false, "Wait until the time is up even if all have answered.")
    .example("thane query uptime")
    .example("thane query -tag role=web -timeout=2s load")
    .example("thane query -quorum=2 has-backup db7")
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    let (name, payload) = match parsed.args() {
        [] => return Err(Failure::Usage("A query name must be specified.")),
        [name] => (name, None),
        [name, _payload] => (name, Some(parsed.arg_bytes(1).to_vec())),
        [_, _, ..] => {
            return Err(Failure::Usage(
                "Too many command line arguments. Only a name and payload must be specified.",
            ));
        }
    };
    let tags = tag_map(parsed, "tag")?;
    let relay_factor = u8::try_from(parsed.int("relay-factor")).map_err(|_out_of_range| {
        Failure::mendable("Relay factor must be between 0 and 255", "0, the default, relays nothing.")
    })?;
    let (first, quorum) = (count(parsed, "first")?, count(parsed, "quorum")?);
    let mut client = connect(parsed)?;
    let is_json = match parsed.string("format") {
        "text" => false,
        "json" => true,
        other => {
            return Err(Failure::mendable(format!("Invalid format: {other}"), "-format is text or json."));
        }
    };
    let nodes = parsed.list("node");
    let query = Query {
        filter_nodes: (!nodes.is_empty()).then(|| nodes.to_vec()),
        filter_tags: (!tags.is_empty()).then_some(tags),
        request_ack: !parsed.bool("no-ack"),
        relay_factor,
        timeout_ns: parsed.duration("timeout").as_nanos(),
        name: name.clone(),
        payload,
        end_when_answered: !parsed.bool("until-timeout"),
    };
    // Serf's ends with this exit code and without a word.
    when_interrupted(Exit::Failure, None);
    client.query(&query).map_err(|error| failed("sending query", &error))?;
    if !is_json {
        output.line(&format!("Query '{name}' dispatched"))?;
    }
    let mut answers =
        Answers { enough: Some(first.max(quorum)).filter(|count| *count > 0), ..Answers::default() };
    answers.collect(&mut client, (!is_json).then_some(&mut *output))?;
    answers.report(is_json, query.request_ack, output)?;
    let count = answers.responses.len();
    if count < quorum {
        return Err(Failure::Aside(format!("Quorum not reached: {count} of {quorum} members answered.")));
    }
    Ok(())
}

/// The value of a flag that counts members.
fn count(parsed: &Parsed, flag: &str) -> Result<usize, Failure> {
    usize::try_from(parsed.int(flag)).map_err(|_negative| {
        Failure::mendable(
            format!("Invalid count for -{flag}: {}", parsed.int(flag)),
            "It is a number of members, or 0.",
        )
    })
}

/// What has come so far.
#[derive(Debug, Default)]
struct Answers {
    acks: BTreeSet<String>,
    responses: BTreeMap<String, Vec<u8>>,
    /// The answers to wait for; all if `None`.
    enough: Option<usize>,
}

impl Answers {
    /// Takes records until the query is over or there are enough answers, and shows each on `output`.
    fn collect(&mut self, client: &mut Client, mut output: Option<&mut Output>) -> Result<(), Failure> {
        let progress = Progress::start("waiting for answers");
        while self.enough.is_none_or(|enough| self.responses.len() < enough) {
            let record = client.next_record(None).map_err(|error| failed("waiting for answers", &error))?;
            let Some(Record::Result(QueryRecord { kind, from, payload })) = record else { continue };
            let payload = payload.unwrap_or_default();
            match kind {
                QueryRecordKind::Done => break,
                // Serf's agents send some of these when a query ends.
                _ if from.is_empty() => continue,
                QueryRecordKind::Ack if self.acks.insert(from.clone()) => {
                    if let Some(output) = output.as_deref_mut() {
                        progress.clear();
                        output.line(&format!("Ack from '{from}'"))?;
                    }
                }
                QueryRecordKind::Response if !self.responses.contains_key(&from) => {
                    if let Some(output) = output.as_deref_mut() {
                        progress.clear();
                        let line = payload.strip_suffix(b"\n").unwrap_or(&payload);
                        output.line_with_bytes(&format!("Response from '{from}': "), line)?;
                    }
                    self.responses.insert(from, payload);
                }
                _ => {}
            }
            let (acks, responses) = (self.acks.len(), self.responses.len());
            progress.note(&format!("{acks} acks, {responses} responses, waiting for more"));
        }
        Ok(())
    }

    fn report(&self, is_json: bool, with_acks: bool, output: &mut Output) -> Result<(), Failure> {
        if is_json {
            return Ok(output.line(&as_json(&Document::of(self))?)?);
        }
        if with_acks {
            output.line(&format!("Total Acks: {}", self.acks.len()))?;
        }
        output.line(&format!("Total Responses: {}", self.responses.len()))?;
        Ok(())
    }
}

/// The JSON form, whose keys scripts know.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    /// `null` if there are none, as Go writes a list that was never made.
    acks: Option<&'a BTreeSet<String>>,
    responses: BTreeMap<&'a str, String>,
}

impl<'a> Document<'a> {
    fn of(answers: &'a Answers) -> Self {
        let text = |payload: &[u8]| String::from_utf8_lossy(payload).into_owned();
        Self {
            acks: Some(&answers.acks).filter(|acks| !acks.is_empty()),
            responses: answers
                .responses
                .iter()
                .map(|(from, payload)| (from.as_str(), text(payload)))
                .collect(),
        }
    }
}
