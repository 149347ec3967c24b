//! The invariants, as checkers that look on.
//!
//! A [`Watch`] sits in a [`crate::World`] as its observer. It turns what it sees into [`Observation`]s, plain data, and
//! shows each to every [`Checker`]; the first one that objects stops the world with a [`Violation`]. What must hold only
//! once faults have stopped is in [`agreement`].
//!
//! Between the world and the checkers a *tamper* may be put, which changes observations: the tests plant with it the bug
//! that each checker must catch, and so prove that it would.

pub mod agreement;
mod events;
mod limits;
mod membership;
mod queries;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use thane_core::{
    Event, LifeState, Member, Node, Occupancy, Output, QueryEvent, QueryId, QueryReply, Stats, StopReason,
    Time,
};

use crate::world::{Ending, HostId, Observer, ProcessId};

pub use events::{Delivered, DeliveredAtMostOnce, EventKey, EventsAreGenuine};
pub use limits::WithinLimits;
pub use membership::{
    ClocksRise, IncarnationsRise, LeftStaysLeft, NeverStopsItself, NobodyIsGivenUp, PeaceIsQuiet,
    SelfNeverFails,
};
pub use queries::{QueriesEnd, Replies};

/// Something that happened at one process, as plain data.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// It began, under this name.
    Started {
        /// Its name.
        name: String,
        /// The limits that its configuration sets.
        limits: Limits,
    },
    /// It ended.
    Stopped(Ending),
    /// Its application is about to send a user event.
    Sending {
        /// Name.
        name: String,
        /// Payload.
        payload: Bytes,
    },
    /// Its application was told something.
    Told(Event),
    /// Its core asked to be stopped.
    AskedToStop(StopReason),
    /// How it stands after an input.
    State {
        /// What it believes about itself.
        local: Member,
        /// Where it is between start and stop.
        life: LifeState,
        /// Its numbers.
        stats: Stats,
    },
    /// Its application has asked a question, which is over at the latest then.
    Asked {
        /// Its number.
        query: QueryId,
        /// The deadline.
        until: Time,
    },
    /// Its application was given a reply.
    Replied {
        /// To which question.
        query: QueryId,
        /// What came.
        reply: QueryReply,
    },
    /// Its application is about to tell the cluster that a member has left, perhaps itself.
    Dismissing {
        /// The member's name.
        name: String,
    },
    /// The names that it does not list and looks for: members that were forgotten as failed. Sampled, before its view.
    Seeking(Vec<String>),
    /// What it believes about all members: sampled, and after each of its events.
    View(Vec<Member>),
    /// How full its queues, tables and buffers are: sampled.
    Sizes(Vec<Occupancy>),
    /// Of the whole world, not of a process: whether from now on nothing is wrong with network, machines and processes.
    Calm(bool),
}

/// The limits of a node that checkers hold it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Depth of each of Serf's queues.
    pub queue_depth: usize,
    /// Least depth of each of Serf's queues when it depends on the members; 0 when it does not.
    pub min_queue_depth: usize,
    /// The health score stays below this.
    pub health_score: u32,
    /// A dead member is remembered by the detector at least this long.
    pub remembered: Duration,
    /// Whether members complain of each other ([`thane_core::Detector::unsteady`]).
    pub complaints: bool,
}

/// A rule that every observation must keep.
pub trait Checker: fmt::Debug {
    /// The rule, as a sentence.
    fn rule(&self) -> &'static str;

    /// Looks at one observation.
    ///
    /// # Errors
    /// What breaks the rule.
    fn see(&mut self, at: Time, process: ProcessId, seen: &Observation) -> Result<(), String>;

    /// From now on somebody who is believed may forge so many messages. Whether the rule holds all the same.
    fn survives_forgery(&mut self, messages: usize) -> bool {
        let _ = messages;
        true
    }
}

/// A rule was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When, in virtual time.
    pub at: Time,
    /// At which process.
    pub process: ProcessId,
    /// The rule, as a sentence.
    pub rule: &'static str,
    /// What broke it.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}, {}: {}\n  the rule: {}", self.at, self.process, self.what, self.rule)
    }
}

/// Changes observations on their way to the checkers; false drops one.
pub type Tamper = Box<dyn FnMut(Time, ProcessId, &mut Observation) -> bool + Send>;

/// Time between two samples of a node's whole view.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// The last happenings that a failure report shows.
const HISTORY_MAX: usize = 60;

/// All checkers, looking on. See the module's documentation.
pub struct Watch {
    checkers: Vec<Box<dyn Checker + Send>>,
    /// What was delivered where, for [`agreement`].
    delivered: Delivered,
    /// Who replied to what.
    replies: Replies,
    tamper: Option<Tamper>,
    violation: Option<Violation>,
    history: VecDeque<String>,
    /// When the whole view of each host's node is looked at next, and whether an event asks for it at once.
    samples: Vec<(Time, bool)>,
    /// Commands that ended, for who gave them.
    finished: Vec<(ProcessId, thane_core::OpId, thane_core::Outcome)>,
    /// Queries that were delivered, for who answers them.
    questions: Vec<(ProcessId, QueryEvent)>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("violation", &self.violation).finish_non_exhaustive()
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            checkers: vec![
                Box::new(SelfNeverFails),
                Box::new(IncarnationsRise::default()),
                Box::new(ClocksRise::default()),
                Box::new(LeftStaysLeft::default()),
                Box::new(NeverStopsItself),
                Box::new(NobodyIsGivenUp::default()),
                Box::new(PeaceIsQuiet::default()),
                Box::new(QueriesEnd::default()),
                Box::new(DeliveredAtMostOnce::default()),
                Box::new(EventsAreGenuine::default()),
                Box::new(WithinLimits::default()),
            ],
            delivered: Delivered::default(),
            replies: Replies::default(),
            tamper: None,
            violation: None,
            history: VecDeque::new(),
            samples: Vec::new(),
            finished: Vec::new(),
            questions: Vec::new(),
        }
    }
}

impl Watch {
    /// From now on something changes what the checkers see.
    pub fn tamper(&mut self, tamper: Tamper) {
        self.tamper = Some(tamper);
    }

    /// The first broken rule, if one was broken.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// What happened last, one line each.
    pub fn history(&self) -> impl Iterator<Item = &str> {
        self.history.iter().map(String::as_str)
    }

    /// Which user event was delivered where.
    pub fn delivered(&self) -> &Delivered {
        &self.delivered
    }

    /// Who replied to which query.
    pub fn replies(&self) -> &Replies {
        &self.replies
    }

    /// Takes the commands that have ended since the last call.
    pub fn take_finished(&mut self) -> Vec<(ProcessId, thane_core::OpId, thane_core::Outcome)> {
        std::mem::take(&mut self.finished)
    }

    /// Tells the checkers whether from now on nothing is wrong in the whole world.
    pub fn calm(&mut self, at: Time, is_calm: bool) {
        self.see(at, ProcessId { host: HostId(0), life: 0 }, Observation::Calm(is_calm));
    }

    /// Takes the queries that were delivered since the last call.
    pub fn take_questions(&mut self) -> Vec<(ProcessId, QueryEvent)> {
        std::mem::take(&mut self.questions)
    }

    /// From now on somebody who is believed may forge so many messages: rules that hold only among the honest are given up.
    pub fn expect_forgery(&mut self, messages: usize) {
        self.checkers.retain_mut(|checker| checker.survives_forgery(messages));
    }

    /// Adds a line to the history: what the scenario did.
    pub fn note(&mut self, at: Time, line: &str) {
        if self.history.len() == HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(format!("{at} {line}"));
    }

    /// Shows one observation to all checkers.
    pub fn see(&mut self, at: Time, process: ProcessId, mut seen: Observation) {
        if let Some(tamper) = self.tamper.as_mut()
            && !tamper(at, process, &mut seen)
        {
            return;
        }
        match &seen {
            Observation::Told(event) => self.note(at, &format!("{process}: {}", in_short(event))),
            Observation::Started { name, .. } => self.note(at, &format!("{process}: {name} starts")),
            Observation::Stopped(ending) => self.note(at, &format!("{process}: {ending:?}")),
            _ => {}
        }
        self.delivered.see(process, &seen);
        self.replies.see(process, &seen);
        for checker in &mut self.checkers {
            if let Err(what) = checker.see(at, process, &seen)
                && self.violation.is_none()
            {
                self.violation = Some(Violation { at, process, rule: checker.rule(), what });
            }
        }
    }

    /// A view as the checkers would see it: with what the tamper does to it.
    pub fn through_tamper(&mut self, at: Time, process: ProcessId, view: Vec<Member>) -> Vec<Member> {
        let mut seen = Observation::View(view);
        if let Some(tamper) = self.tamper.as_mut()
            && !tamper(at, process, &mut seen)
        {
            return Vec::new();
        }
        match seen {
            Observation::View(view) => view,
            _ => Vec::new(),
        }
    }

    fn sample_of(&mut self, process: ProcessId) -> &mut (Time, bool) {
        let index = process.host.index();
        if self.samples.len() <= index {
            self.samples.resize(index + 1, (Time::ZERO, false));
        }
        &mut self.samples[index]
    }
}

impl Observer for Watch {
    fn started(&mut self, at: Time, process: ProcessId, node: &Node) {
        let config = node.config();
        let limits = Limits {
            queue_depth: config.max_queue_depth,
            min_queue_depth: config.min_queue_depth,
            health_score: config.awareness_max_multiplier,
            remembered: config.gossip_to_the_dead_time,
            complaints: config.detector.unsteady,
        };
        self.see(at, process, Observation::Started { name: config.name.clone(), limits });
    }

    fn stopped(&mut self, at: Time, process: ProcessId, ending: Ending) {
        self.see(at, process, Observation::Stopped(ending));
    }

    fn output(&mut self, at: Time, process: ProcessId, output: &Output) {
        match output {
            Output::Event(event) => {
                self.sample_of(process).1 = true;
                if let Event::Query(question) = event {
                    self.questions.push((process, question.clone()));
                }
                self.see(at, process, Observation::Told(event.clone()));
            }
            Output::Done { op, outcome } => self.finished.push((process, *op, outcome.clone())),
            Output::Reply { query, reply } => {
                self.see(at, process, Observation::Replied { query: *query, reply: reply.clone() });
            }
            Output::Stop(reason) => self.see(at, process, Observation::AskedToStop(reason.clone())),
            _ => {}
        }
    }

    fn settled(&mut self, at: Time, process: ProcessId, node: &Node) {
        let state = Observation::State { local: node.local(), life: node.life_state(), stats: node.stats() };
        self.see(at, process, state);
        let sample = self.sample_of(process);
        if sample.1 || sample.0 <= at {
            *sample = (at + SAMPLE_INTERVAL, false);
            node.check_invariants();
            let sought = node.lost_members().map(|peer| peer.name.to_string()).collect();
            self.see(at, process, Observation::Seeking(sought));
            self.see(at, process, Observation::View(view_of(node, at)));
            self.see(at, process, Observation::Sizes(node.occupancy().collect()));
        }
    }

    fn halted(&self) -> bool {
        self.violation.is_some()
    }
}

/// What a node believes about all members, with its own clock's times turned into the world's: each as long ago as the
/// node thinks it is.
fn view_of(node: &Node, at: Time) -> Vec<Member> {
    let mut members: Vec<Member> = node.members().collect();
    if node.now() != at {
        for member in &mut members {
            let age = node.now().since(member.state_since);
            member.state_since = Time::from_start(at.since_start().saturating_sub(age));
        }
    }
    members
}

fn in_short(event: &Event) -> String {
    let change = |what: &str, change: &thane_core::Change| {
        let member = &change.member;
        format!(
            "{what} {} ({}, {}, incarnation {}, ltime {}): {:?}",
            member.name, member.status, member.state, member.incarnation, member.status_ltime, change.cause
        )
    };
    match event {
        Event::Joined(it) => change("joined", it),
        Event::Left(it) => change("left", it),
        Event::Failed(it) => change("failed", it),
        Event::Updated(it) => change("updated", it),
        Event::Reaped(it) => change("reaped", it),
        Event::Suspected(it) => change("suspected", it),
        Event::Refuted(it) => change("refuted", it),
        other => format!("{other:?}"),
    }
}
