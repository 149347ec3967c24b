//! What was measured in one run. Times are seconds since the clock started, which is when the cluster had formed unless the run is
//! about that.

use serde::Serialize;

use super::timeline::Timeline;

/// Everything about one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The seed that it came from.
    pub seed: u64,
    /// Members in the beginning.
    pub nodes: usize,
    /// Virtual seconds measured.
    pub seconds: f64,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
    /// Virtual seconds that the cluster took to form before the clock started; `null` if it formed afterwards.
    pub formed_before: Option<f64>,
    /// A hash of everything that every node did: the same seed and settings give the same.
    pub trace: String,
    /// Each crash and who noticed.
    pub crashes: Vec<Crash>,
    /// Members declared failed, and why.
    pub alarms: Alarms,
    /// How each user event spread.
    pub events: Vec<Spread>,
    /// What came of the queries.
    pub queries: Queries,
    /// What the network carried.
    pub traffic: Traffic,
    /// How the cluster came to be; `null` if it had formed before the clock started.
    pub start: Option<Started>,
    /// How long it took after each change until all views were right.
    pub agreements: Vec<Agreement>,
    /// Different cluster sizes that members believed in, looked at once a second.
    pub view_sizes: usize,
    /// Members whose view was wrong in the end.
    pub views_wrong_at_end: usize,
    /// How things went over time.
    pub samples: Vec<Sample>,
    /// What went wrong, and when.
    pub faults: Vec<FaultMark>,
    /// The suspicions of one member, if any member was suspected.
    pub timeline: Option<Timeline>,
    /// What byzantine peers did, if there were any.
    pub lies: Option<Lied>,
    /// The first rule of the protocol that was broken; the run ended there. `null` where none was, or rules were not looked at.
    pub broken_rule: Option<BrokenRule>,
}

/// What byzantine peers sent, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Lied {
    /// Messages that they sent, in packets and over streams.
    pub sent: u64,
    /// Packets and messages that members refused: what cannot be read, or makes no sense.
    pub refused: u64,
    /// Names that never were, and that some member listed.
    pub false_names: usize,
    /// User events that nobody sent, and that were delivered, each counted at each member.
    pub false_events: u64,
    /// Members that stopped since most of the others took somebody else for the owner of their name.
    pub stopped: u64,
}

/// A rule of the protocol that was broken.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BrokenRule {
    /// When.
    pub at: f64,
    /// The member that broke it.
    pub member: String,
    /// The rule, as a sentence.
    pub rule: String,
    /// What broke it.
    pub what: String,
}

/// A process that ended without a word, and who noticed when.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Crash {
    /// Whose.
    pub member: String,
    /// When.
    pub at: f64,
    /// Whether the machine went with it, so that nobody got any answer.
    pub silent: bool,
    /// Seconds until the first member suspected it.
    pub suspected: Option<f64>,
    /// Seconds until the first member knew.
    pub first: Option<f64>,
    /// Seconds until half of those that should know did.
    pub half: Option<f64>,
    /// Seconds until the last one knew; `null` while some do not.
    pub last: Option<f64>,
    /// Members that got to know.
    pub aware: usize,
    /// Members that did not, until it came back or the run ended.
    pub unaware: usize,
    /// Seconds until each of the members knew, sorted.
    #[serde(skip)]
    pub delays: Vec<f32>,
}

/// How often members declared others failed, by what was true at that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Alarms {
    /// It was down.
    pub right: u64,
    /// It had been down, and was back for less than a minute.
    pub outdated: u64,
    /// It stood still.
    pub paused: u64,
    /// There was no way between the two.
    pub cut_off: u64,
    /// Its own line lost or delayed packets by a fault, or it had stood still within the last ten seconds.
    pub impaired: u64,
    /// It was up, well and reachable.
    pub wrong: u64,
    /// Of these, those by members that were well themselves.
    pub wrong_at_healthy: u64,
    /// How many members were wrongly declared failed by somebody.
    pub wronged_members: u64,
    /// Milliseconds until those who were wrong took it back: half of them.
    pub back_after_ms_median: Option<u64>,
    /// The same of the slowest.
    pub back_after_ms_max: Option<u64>,
    /// Of the wrong ones, those not taken back until the end.
    pub not_back: u64,
    /// How often members began to suspect others that were up.
    pub suspicions_of_the_living: u64,
    /// How often members began to suspect others that were down.
    pub suspicions_of_the_dead: u64,
}

/// How a user event spread.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    /// When it was sent.
    pub at: f64,
    /// Members that were there.
    pub members: usize,
    /// Members that got it.
    pub reached: usize,
    /// Seconds until half of them had it.
    pub half: Option<f64>,
    /// Seconds until 99 of 100 had it.
    pub nearly_all: Option<f64>,
    /// Seconds until the last one had it; `null` if some never did.
    pub all: Option<f64>,
    /// Seconds until each had it, sorted.
    #[serde(skip)]
    pub delays: Vec<f32>,
}

/// What came of the queries.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Queries {
    /// Asked.
    pub asked: usize,
    /// Acknowledgements that should have come.
    pub acks_expected: u64,
    /// Those that came in time.
    pub acks: u64,
    /// Seconds until the last one that came: half of the queries were faster.
    pub last_ack_median: Option<f64>,
}

/// What the network carried: payloads, without the headers of UDP, TCP and IP.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Traffic {
    /// UDP packets that a member sent in a second, on average.
    pub packets: f64,
    /// Their bytes.
    pub packet_bytes: f64,
    /// Bytes that a member wrote to TCP streams in a second, on average.
    pub stream_bytes: f64,
    /// All bytes of the member that sent most, in a second.
    pub busiest_bytes: f64,
    /// All bytes in the second of the run in which most were sent, a member.
    pub peak_bytes: f64,
}

/// How a cluster came to be whose first process started with the clock.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Started {
    /// When the last process started; `null` if the run ended before.
    pub last: Option<f64>,
    /// When, with all of them started, each member's list held exactly the members that were up, for the first time; `null` if never.
    pub complete: Option<f64>,
}

/// A change, and how long until all views were right.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agreement {
    /// What changed.
    pub what: String,
    /// When.
    pub at: f64,
    /// Seconds until every member's list was right; `null` if it never was again.
    pub after: Option<f64>,
}

/// The cluster at one moment; counts are of the time since the sample before.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Sample {
    /// When.
    pub at: f64,
    /// Members that are up.
    pub up: usize,
    /// Members whose list is not that of the members that are up.
    pub differing: usize,
    /// Wrong entries in all lists together.
    pub wrong_entries: u64,
    /// UDP packets sent.
    pub packets: u64,
    /// Their bytes.
    pub packet_bytes: u64,
    /// Bytes written to TCP streams.
    pub stream_bytes: u64,
    /// Members declared failed that were up, well and reachable.
    pub wrong_alarms: u64,
    /// Suspicions begun.
    pub suspicions: u64,
}

impl Sample {
    /// Takes the sample that follows this one into it.
    pub(super) fn absorb(&mut self, next: &Self) {
        let (packets, packet_bytes) = (self.packets + next.packets, self.packet_bytes + next.packet_bytes);
        *self = Self {
            packets,
            packet_bytes,
            stream_bytes: self.stream_bytes + next.stream_bytes,
            wrong_alarms: self.wrong_alarms + next.wrong_alarms,
            suspicions: self.suspicions + next.suspicions,
            differing: self.differing.max(next.differing),
            wrong_entries: self.wrong_entries.max(next.wrong_entries),
            at: next.at,
            up: next.up,
        };
    }
}

/// A fault, as it is drawn into charts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FaultMark {
    /// What.
    pub what: String,
    /// From when.
    pub from: f64,
    /// Until when; the same moment if it was over at once or never is.
    pub until: f64,
}
