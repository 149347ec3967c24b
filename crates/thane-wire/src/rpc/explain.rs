//! `explain` and `diagnose`: what an agent knows of a member and of itself. Commands of Thane; Serf's agent does not know them.
//!
//! All moments are nanoseconds since 1970 on the agent's clock, all spans are nanoseconds.

use super::fields::{LIST_ENTRIES_MAX, lossy, write_list};
use crate::DecodeError;
use crate::msgpack::{Reader, Writer};
use crate::serf::list;

/// Why a member is in the state it is in, as one agent sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Explanation {
    /// The agent that explains.
    pub agent: String,
    /// Its health score now; 0 is healthy.
    pub health: u32,
    /// When it explains.
    pub now_ns: i64,
    /// The member's name.
    pub name: String,
    /// Its address, `ip:port`.
    pub addr: String,
    /// Where the agent sends to it, `ip:port`; empty from an agent that does not say.
    pub reached_at: String,
    /// The network over which it is reached, if both are on one; else empty.
    pub network: String,
    /// What Serf's users see: `alive`, `leaving`, `left`, `failed`.
    pub status: String,
    /// What the failure detector holds: `alive`, `suspect`, `dead`, `left`, `forgotten`.
    pub state: String,
    /// Since when.
    pub since_ns: i64,
    /// Its incarnation.
    pub incarnation: u32,
    /// When a suspect will be declared dead.
    pub verdict_ns: Option<i64>,
    /// Its last answer to a probe of this agent.
    pub answered: Option<Answered>,
    /// The last changes, the oldest first.
    pub evidence: Vec<EvidenceRecord>,
    /// What to do about it, in sentences.
    pub advice: Vec<String>,
}

/// A member's last answer to a probe.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answered {
    /// When.
    pub at_ns: i64,
    /// The round trip, if it was a direct one.
    pub rtt_ns: Option<i64>,
    /// `direct`, `relayed`, `tcp` or `tcp-only`.
    pub way: String,
}

/// One change in a member's life. Text that does not apply is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EvidenceRecord {
    /// When.
    pub at_ns: i64,
    /// What the failure detector held afterwards.
    pub state: String,
    /// The incarnation it was about.
    pub incarnation: u32,
    /// The agent's own health score then.
    pub health: u32,
    /// What happened, in one word of a fixed set: `announced`, `refuted`, `probe-failed`, `accused`, `suspicion-expired`, ...
    pub kind: String,
    /// The same in a sentence.
    pub text: String,
    /// Who accuses.
    pub by: Vec<String>,
    /// How the news came: `packet`, `push-pull`, `local`.
    pub path: String,
    /// From which address.
    pub from: String,
    /// The last round trip measured until then.
    pub rtt_ns: Option<i64>,
    /// For `suspicion-expired`: how long the member was given.
    pub timeout_ns: Option<i64>,
    /// For `probe-failed`: the members that were asked to probe as well.
    pub relays: Vec<String>,
    /// Those of them that said that they heard nothing either.
    pub nacked: Vec<String>,
    /// What came of a ping over TCP: `refused`, `no-answer`, `not-tried`.
    pub tcp: String,
    /// For intents: their Lamport time.
    pub ltime: u64,
}

impl Explanation {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let names = [
            "Agent",
            "Health",
            "Now",
            "Name",
            "Addr",
            "Status",
            "State",
            "Since",
            "Incarnation",
            "Verdict",
            "Answered",
            "Evidence",
            "Advice",
            "Reached",
            "Network",
        ];
        let mut it = Self::default();
        reader.fields("explanation", &names, |index, r| {
            match index {
                0 => it.agent = lossy(r, "Agent")?,
                1 => it.health = r.u32("Health")?,
                2 => it.now_ns = r.i64("Now")?,
                3 => it.name = lossy(r, "Name")?,
                4 => it.addr = lossy(r, "Addr")?,
                5 => it.status = lossy(r, "Status")?,
                6 => it.state = lossy(r, "State")?,
                7 => it.since_ns = r.i64("Since")?,
                8 => it.incarnation = r.u32("Incarnation")?,
                9 => it.verdict_ns = optional(r, "Verdict")?,
                10 => it.answered = if r.nil()? { None } else { Some(Answered::read(r)?) },
                11 => it.evidence = records(r)?,
                13 => it.reached_at = lossy(r, "Reached")?,
                14 => it.network = lossy(r, "Network")?,
                _ => it.advice = texts(r, "Advice")?,
            }
            Ok(())
        })?;
        Ok(it)
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.map(15).str("Addr").str(&self.addr).str("Advice");
        write_list(w, Some(&self.advice));
        w.str("Agent").str(&self.agent).str("Answered");
        match &self.answered {
            None => _ = w.nil(),
            Some(answered) => {
                w.map(3).str("At").int(answered.at_ns).str("Rtt");
                write_optional(w, answered.rtt_ns);
                w.str("Way").str(&answered.way);
            }
        }
        w.str("Evidence").array(self.evidence.len());
        for record in &self.evidence {
            record.write(w);
        }
        w.str("Health").uint(self.health).str("Incarnation").uint(self.incarnation);
        w.str("Name").str(&self.name).str("Network").str(&self.network).str("Now").int(self.now_ns);
        w.str("Reached").str(&self.reached_at).str("Since").int(self.since_ns);
        w.str("State").str(&self.state).str("Status").str(&self.status).str("Verdict");
        write_optional(w, self.verdict_ns);
    }
}

impl Answered {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut it = Self::default();
        reader.fields("answer", &["At", "Rtt", "Way"], |index, r| {
            match index {
                0 => it.at_ns = r.i64("At")?,
                1 => it.rtt_ns = optional(r, "Rtt")?,
                _ => it.way = lossy(r, "Way")?,
            }
            Ok(())
        })?;
        Ok(it)
    }
}

impl EvidenceRecord {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let names = [
            "At",
            "State",
            "Incarnation",
            "Health",
            "Kind",
            "Text",
            "By",
            "Path",
            "From",
            "Rtt",
            "Timeout",
            "Relays",
            "Nacked",
            "Tcp",
            "LTime",
        ];
        let mut it = Self::default();
        reader.fields("evidence", &names, |index, r| {
            match index {
                0 => it.at_ns = r.i64("At")?,
                1 => it.state = lossy(r, "State")?,
                2 => it.incarnation = r.u32("Incarnation")?,
                3 => it.health = r.u32("Health")?,
                4 => it.kind = lossy(r, "Kind")?,
                5 => it.text = lossy(r, "Text")?,
                6 => it.by = texts(r, "By")?,
                7 => it.path = lossy(r, "Path")?,
                8 => it.from = lossy(r, "From")?,
                9 => it.rtt_ns = optional(r, "Rtt")?,
                10 => it.timeout_ns = optional(r, "Timeout")?,
                11 => it.relays = texts(r, "Relays")?,
                12 => it.nacked = texts(r, "Nacked")?,
                13 => it.tcp = lossy(r, "Tcp")?,
                _ => it.ltime = r.u64("LTime")?,
            }
            Ok(())
        })?;
        Ok(it)
    }

    fn write(&self, w: &mut Writer<'_>) {
        w.map(15).str("At").int(self.at_ns).str("By");
        write_list(w, Some(&self.by));
        w.str("From").str(&self.from).str("Health").uint(self.health);
        w.str("Incarnation").uint(self.incarnation).str("Kind").str(&self.kind);
        w.str("LTime").uint(self.ltime).str("Nacked");
        write_list(w, Some(&self.nacked));
        w.str("Path").str(&self.path).str("Relays");
        write_list(w, Some(&self.relays));
        w.str("Rtt");
        write_optional(w, self.rtt_ns);
        w.str("State").str(&self.state).str("Tcp").str(&self.tcp).str("Text").str(&self.text);
        w.str("Timeout");
        write_optional(w, self.timeout_ns);
    }
}

fn records(reader: &mut Reader<'_>) -> Result<Vec<EvidenceRecord>, DecodeError> {
    Ok(list(reader, "Evidence", LIST_ENTRIES_MAX, EvidenceRecord::read)?.unwrap_or_default())
}

fn texts(reader: &mut Reader<'_>, field: &'static str) -> Result<Vec<String>, DecodeError> {
    Ok(list(reader, field, LIST_ENTRIES_MAX, |r| lossy(r, field))?.unwrap_or_default())
}

fn optional(reader: &mut Reader<'_>, field: &'static str) -> Result<Option<i64>, DecodeError> {
    if reader.nil()? { Ok(None) } else { reader.i64(field).map(Some) }
}

fn write_optional(w: &mut Writer<'_>, number: Option<i64>) {
    match number {
        None => _ = w.nil(),
        Some(number) => _ = w.int(number),
    }
}
