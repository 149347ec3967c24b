//! `thane reachability`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::connection::{connect, failed, with_connection};
use super::encoding::{Format, as_json, with_format};
use super::interrupt::when_interrupted;
use super::progress::Progress;
use super::{Failure, Output};
use crate::client::{Client, Query, QueryRecord, QueryRecordKind, Record};
use crate::exit::Exit;
use crate::goflags::{FlagSet, Parsed};

/// The query that every member acknowledges and none answers. (Serf: `internal_query.go`.)
const PING: &str = "_serf_ping";

/// How long to look out for acks too many, once all that should come are there.
///
/// Differs from Serf, which always waits for the query's deadline. So do we where its agent is asked, which logs an error
/// when a client goes before that.
const GRACE: Duration = Duration::from_millis(500);

/// What may be wrong if acks are missing or too many. (Serf: `command/reachability.go`; scripts may look for it.)
const TIPS: &str = "Troubleshooting tips:\n\
    * Ensure that the bind addr:port is accessible by all other nodes\n\
    * If an advertise address is set, ensure it routes to the bind address\n\
    * Check that no nodes are behind a NAT\n\
    * If nodes are behind firewalls or iptables, check that Serf traffic is permitted (UDP and TCP)\n\
    * Verify networking equipment is functional";

pub(super) fn flags() -> FlagSet {
    with_format(with_connection(FlagSet::new(
        "reachability",
        "reachability [flags]",
        "Has every member acknowledge a query, and compares who did with who is alive. It ends soon after the last\n\
         member has, and at the latest when the query's time is up (Serf's agents always wait for that).",
    )))
    .bool("verbose", false, "Show each ack as it comes, and how long they took.")
    .example("thane reachability -verbose")
}

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    let format = Format::of(parsed)?;
    let is_verbose = parsed.bool("verbose") && format == Format::Text;
    let mut client = connect(parsed)?;
    let members = client.members().map_err(|error| failed("getting members", &error))?;
    let live: BTreeSet<String> =
        members.iter().filter(|member| member.status == "alive").map(|member| member.name.clone()).collect();
    if format == Format::Text {
        output.line(&format!("Total members: {}, live members: {}", members.len(), live.len()))?;
    }
    when_interrupted(Exit::Failure, (format == Format::Text).then_some("Test interrupted"));
    let may_end_early = client.is_thane();
    let query = Query { name: PING.to_owned(), request_ack: true, ..Query::default() };
    let start = Instant::now();
    client.query(&query).map_err(|error| failed("sending query", &error))?;
    if format == Format::Text {
        output.line("Starting reachability test...")?;
    }
    let mut test = Test { live, may_end_early, ..Test::default() };
    test.collect(&mut client, start, is_verbose.then_some(&mut *output))?;
    let took = start.elapsed();
    if is_verbose {
        let (query, last) = (took.as_secs_f64(), test.last.as_secs_f64());
        output.line(&format!("Query time: {query:.2} sec, time to last response: {last:.2} sec"))?;
    }
    match format {
        Format::Text => test.verdict(output),
        Format::Json => test.document(members.len(), took, output),
    }
}

#[derive(Debug, Default)]
struct Test {
    live: BTreeSet<String>,
    may_end_early: bool,
    acks: BTreeSet<String>,
    duplicates: BTreeSet<String>,
    /// When the last ack came.
    last: Duration,
}

impl Test {
    fn collect(
        &mut self,
        client: &mut Client,
        start: Instant,
        mut output: Option<&mut Output>,
    ) -> Result<(), Failure> {
        let progress = Progress::start("waiting for acks");
        let mut deadline = None;
        loop {
            let record = client.next_record(deadline).map_err(|error| failed("waiting for acks", &error))?;
            let (kind, from) = match record {
                Some(Record::Result(QueryRecord { kind, from, .. })) => (kind, from),
                Some(_) => continue,
                // All are there, and nothing odd came since.
                None => return Ok(()),
            };
            match kind {
                QueryRecordKind::Done => return Ok(()),
                QueryRecordKind::Ack if !from.is_empty() => {
                    self.last = start.elapsed();
                    let is_new = self.acks.insert(from.clone());
                    if let Some(output) = output.as_deref_mut() {
                        progress.clear();
                        output.line(&format!("\tAck from '{from}'"))?;
                    }
                    if !is_new {
                        self.duplicates.insert(from);
                    }
                }
                _ => {}
            }
            if self.may_end_early && deadline.is_none() && self.live.is_subset(&self.acks) {
                deadline = Some(Instant::now() + GRACE);
            }
            let (acks, live) = (self.acks.len(), self.live.len());
            progress.note(&format!("{acks} of {live} live members have answered, waiting for more"));
        }
    }

    fn missing(&self) -> Vec<&str> {
        self.live.difference(&self.acks).map(String::as_str).collect()
    }

    fn unexpected(&self) -> Vec<&str> {
        self.acks.difference(&self.live).map(String::as_str).collect()
    }

    fn verdict(&self, output: &mut Output) -> Result<(), Failure> {
        for name in &self.duplicates {
            output.line(&format!("Duplicate response from '{name}'"))?;
        }
        if !self.duplicates.is_empty() {
            output.line(
                "Duplicate responses means there is a misconfiguration. Verify that node names are unique.",
            )?;
        }
        let list = |names: &[&str]| names.iter().flat_map(|name| ["\t", name, "\n"]).collect::<String>();
        let (missing, unexpected) = (self.missing(), self.unexpected());
        if !missing.is_empty() {
            output.line(&format!(
                "Received less acks than live nodes! Missing acks from:\n{}This could mean Serf gossip packets are \
                 being lost due to a misconfiguration or network issue.\n\n{TIPS}",
                list(&missing)
            ))?;
        } else if !unexpected.is_empty() {
            output.line(&format!(
                "Received more acks than live nodes! Acks from non-live nodes:\n{}This could mean Serf is detecting \
                 false-failures due to a misconfiguration or network issue.\n\n{TIPS}",
                list(&unexpected)
            ))?;
        } else {
            output.line("Successfully contacted all live nodes")?;
        }
        self.result()
    }

    fn document(&self, members: usize, took: Duration, output: &mut Output) -> Result<(), Failure> {
        output.line(&as_json(&Document {
            members,
            live: self.live.len(),
            acks: self.acks.iter().map(String::as_str).collect(),
            missing: self.missing(),
            unexpected: self.unexpected(),
            duplicates: self.duplicates.iter().map(String::as_str).collect(),
            seconds: took.as_secs_f64(),
            seconds_to_last_ack: self.last.as_secs_f64(),
        })?)?;
        self.result()
    }

    fn result(&self) -> Result<(), Failure> {
        let remedy = if !self.missing().is_empty() {
            "Run 'thane members' on the members that are missing: do they know this one, and is it alive there?"
        } else if !self.unexpected().is_empty() {
            "Run it again in a while: they may be on their way back."
        } else if !self.duplicates.is_empty() {
            "Give each agent a -node of its own."
        } else {
            return Ok(());
        };
        Err(Failure::Aside(remedy.to_owned()))
    }
}

#[derive(Serialize)]
struct Document<'a> {
    members: usize,
    live: usize,
    acks: Vec<&'a str>,
    missing: Vec<&'a str>,
    unexpected: Vec<&'a str>,
    duplicates: Vec<&'a str>,
    seconds: f64,
    seconds_to_last_ack: f64,
}
