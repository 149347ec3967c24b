//! What looks on and measures. It costs a bit for each pair of members and nothing that grows with time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thane_core::{Change, Event, Node, Output, QueryId, QueryReply, Time};

use super::report::Sample;
use super::setup::{Setup, index_of};
use super::timeline::{EntryKind, Logs, in_words};
use crate::check::{Observation, Watch};
use crate::world::{Ending, Observer, ProcessId};

/// Spreads are kept of this many user events, and outcomes of this many queries; of later ones nothing is.
pub(super) const MESSAGES_MAX: usize = 2000;
/// Crashes are kept of this many members; later ones are only counted as faults.
const CRASHES_MAX: usize = 5000;

/// Names that are no member's, of which anything is kept.
const FALSE_NAMES_MAX: usize = 500;

/// A user event that has not reached a member within this time after it was sent has been missed, even if the member then goes.
const EXCUSED: Duration = Duration::from_secs(60);

/// The name of a user event: which of the run's it is.
pub(super) fn event_name(number: usize) -> String {
    format!("lab-{number}")
}

/// One member as it is, whatever the others believe.
#[derive(Debug, Default)]
pub(super) struct Seat {
    /// Whether its process runs and means to stay.
    pub(super) is_up: bool,
    /// When its process started last.
    pub(super) up_since: Time,
    /// Whether it was ever down.
    pub(super) was_down: bool,
    /// Until when it stands still, or stood last.
    pub(super) paused_until: Option<Time>,
    /// Until when a fault cut its ways to others, the last time.
    pub(super) cut_until: Option<Time>,
    /// Until when a fault made its line worse, the last time.
    pub(super) impaired_until: Option<Time>,
    /// Faults of its own line.
    pub(super) impairments: u32,
    /// Members in its list that are up.
    right: u32,
    /// Members in its list that are not.
    wrong: u32,
    /// In how many lists it is.
    listed: u32,
    /// The crash of it that is not over.
    crash: Option<usize>,
    pub(super) packets: u64,
    pub(super) packet_bytes: u64,
    pub(super) stream_bytes: u64,
}

/// A crash and who noticed so far.
#[derive(Debug)]
pub(super) struct CrashRecord {
    pub(super) member: u32,
    pub(super) at: Time,
    pub(super) silent: bool,
    pub(super) suspected: Option<Time>,
    pub(super) delays: Vec<f32>,
    /// Set when the crash is over: how many did not know.
    pub(super) unaware: Option<usize>,
}

/// A message and whom it reached so far.
#[derive(Debug)]
pub(super) struct MessageRecord {
    pub(super) at: Time,
    pub(super) members: usize,
    pub(super) delays: Vec<f32>,
    /// A bit for each member that has it.
    reached: Box<[u64]>,
}

/// A query and what came back.
#[derive(Debug)]
pub(super) struct QueryRecord {
    pub(super) at: Time,
    pub(super) members: usize,
    pub(super) acks: usize,
    pub(super) last: Option<f64>,
}

/// A change after which all views should become right.
#[derive(Debug)]
pub(super) struct AgreementRecord {
    pub(super) what: String,
    pub(super) at: Time,
    pub(super) agreed: Option<Time>,
}

/// How a cluster comes to be whose members start while it is looked on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beginning {
    /// The first so many members make the cluster.
    founders: usize,
    /// Of these, those that are still to start for the first time.
    left: usize,
    pub(super) last_start: Option<Time>,
    /// When all lists were right for the first time after that.
    pub(super) complete: Option<Time>,
}

/// Somebody declared failed who is up. Whether that was wrong is judged with the network at hand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doubtful {
    pub(super) at: Time,
    pub(super) by: u32,
    pub(super) about: u32,
}

/// The observer of a run.
#[derive(Debug)]
pub(super) struct Meter {
    words: usize,
    /// How many members there are in all, with those that will join.
    members: usize,
    /// One a member, and after those one for each name that is no member's: that one is never up.
    pub(super) seats: Vec<Seat>,
    /// Names that are no member's, which byzantine peers have made up or members have misread, and their places.
    false_names: BTreeMap<String, u32>,
    pub(super) false_events: u64,
    /// Members that stopped over their name.
    pub(super) stopped: u64,
    /// A bit for each member that each one lists as alive.
    lists: Vec<Box<[u64]>>,
    up: u32,
    /// Members that are up and whose list is right.
    exact: u32,
    right: u64,
    wrong: u64,
    pub(super) crashes: Vec<CrashRecord>,
    pub(super) events: Vec<MessageRecord>,
    /// User events that were sent, with those of which nothing is kept.
    sent: usize,
    pub(super) queries: Vec<QueryRecord>,
    running_queries: BTreeMap<(u32, QueryId), usize>,
    pub(super) beginning: Option<Beginning>,
    pub(super) agreements: Vec<AgreementRecord>,
    open_agreements: usize,
    pub(super) doubtful: Vec<Doubtful>,
    /// Who wrongly holds whom failed, since when.
    pub(super) wronged: BTreeMap<(u32, u32), Time>,
    pub(super) wronged_members: BTreeSet<u32>,
    /// Seconds until those who were wrong took it back.
    pub(super) back_after: Vec<f32>,
    pub(super) right_alarms: u64,
    pub(super) suspicions_of_the_living: u64,
    pub(super) suspicions_of_the_dead: u64,
    pub(super) logs: Logs,
    /// The rules of the protocol, if they are looked at.
    pub(super) rules: Option<Watch>,
    /// All bytes sent.
    pub(super) bytes: u64,
    /// Totals since the last sample was taken.
    since: Sample,
}

impl Meter {
    /// For the members of this setup; told in full of the one that it watches, or else of whom it turns out.
    pub(super) fn new(setup: &Setup) -> Self {
        let members = setup.nodes + setup.joining();
        let watch = setup.watch.map(|number| number as u32 - 1);
        let false_names = if setup.liars() > 0 { FALSE_NAMES_MAX } else { 0 };
        let words = (members + false_names).div_ceil(64);
        Self {
            words,
            members,
            seats: std::iter::repeat_with(Seat::default).take(members).collect(),
            false_names: BTreeMap::new(),
            false_events: 0,
            stopped: 0,
            lists: vec![vec![0; words].into(); members],
            up: 0,
            exact: 0,
            right: 0,
            wrong: 0,
            crashes: Vec::new(),
            events: Vec::new(),
            sent: 0,
            queries: Vec::new(),
            running_queries: BTreeMap::new(),
            beginning: None,
            agreements: Vec::new(),
            open_agreements: 0,
            doubtful: Vec::new(),
            wronged: BTreeMap::new(),
            wronged_members: BTreeSet::new(),
            back_after: Vec::new(),
            right_alarms: 0,
            suspicions_of_the_living: 0,
            suspicions_of_the_dead: 0,
            logs: Logs::new(watch),
            rules: setup.rules.then(Watch::default),
            bytes: 0,
            since: Sample::default(),
        }
    }

    /// Forgets what was measured while the cluster formed. What the members believe stays.
    pub(super) fn reset(&mut self) {
        for seat in &mut self.seats {
            (seat.packets, seat.packet_bytes, seat.stream_bytes) = (0, 0, 0);
        }
        self.doubtful.clear();
        self.wronged.clear();
        self.suspicions_of_the_living = 0;
        (self.bytes, self.since) = (0, Sample::default());
        self.logs.clear();
    }

    // ---- what the run tells ----

    /// A process is about to end without a word.
    pub(super) fn crashing(&mut self, member: u32, at: Time, silent: bool) {
        if self.crashes.len() < CRASHES_MAX {
            self.seats[member as usize].crash = Some(self.crashes.len());
            let (suspected, unaware) = (None, None);
            let delays = Vec::new();
            self.crashes.push(CrashRecord { member, at, silent, suspected, delays, unaware });
        }
        self.logs.add(at, member, member, EntryKind::Down, || "its process ended".to_owned());
    }

    /// A member has begun to leave: from now on the others should not list it.
    pub(super) fn leaving(&mut self, member: u32, at: Time) {
        self.set_up(member, false, at);
    }

    /// So many members, the first ones, will start, and are to be a cluster then.
    pub(super) fn begins(&mut self, members: usize) {
        self.beginning =
            Some(Beginning { founders: members, left: members, last_start: None, complete: None });
    }

    /// Something has changed: from now on it is measured how long it takes until all views are right.
    pub(super) fn changed(&mut self, what: String, at: Time) {
        // One open measurement of a kind is enough: churn changes something all the time.
        if self.agreements.iter().rev().take(64).any(|it| it.agreed.is_none() && it.what == what) {
            return;
        }
        self.agreements.push(AgreementRecord { what, at, agreed: None });
        self.open_agreements += 1;
    }

    /// A user event is about to be sent. Gives its number, by which it is known.
    pub(super) fn sending(&mut self, at: Time) -> usize {
        let number = self.sent;
        self.sent += 1;
        if number < MESSAGES_MAX {
            let (members, reached) = (self.up as usize, vec![0; self.words].into());
            self.events.push(MessageRecord { at, members, delays: Vec::new(), reached });
        }
        number
    }

    /// A query was asked.
    pub(super) fn asked(&mut self, by: u32, query: QueryId, at: Time) {
        if self.queries.len() < MESSAGES_MAX {
            self.running_queries.insert((by, query), self.queries.len());
            self.queries.push(QueryRecord { at, members: self.up as usize, acks: 0, last: None });
        }
    }

    /// A doubtful failure was wrong.
    pub(super) fn was_wrong(&mut self, doubtful: Doubtful) {
        self.since.wrong_alarms += 1;
        self.wronged_members.insert(doubtful.about);
        // It may have come back before this was judged.
        if self.lists_it(doubtful.by, doubtful.about) {
            self.back_after.push(0.0);
        } else {
            self.wronged.insert((doubtful.by, doubtful.about), doubtful.at);
        }
    }

    /// Shows something to the rules that no output tells.
    pub(super) fn show(&mut self, at: Time, process: Option<ProcessId>, seen: impl FnOnce() -> Observation) {
        if let (Some(rules), Some(process)) = (&mut self.rules, process) {
            rules.see(at, process, seen());
        }
    }

    /// From now on somebody who is believed may forge so many messages.
    pub(super) fn expect_forgery(&mut self, messages: usize) {
        if let Some(rules) = &mut self.rules {
            rules.expect_forgery(messages);
        }
    }

    // ---- what the run asks ----

    /// How many names were listed that never were.
    pub(super) fn false_names(&self) -> usize {
        self.false_names.len()
    }

    /// Whether every member that is up lists exactly those that are up.
    pub(super) fn agrees(&self) -> bool {
        self.exact == self.up
    }

    /// Whether a member's list is right.
    fn is_exact(&self, member: usize) -> bool {
        let seat = &self.seats[member];
        seat.right == self.up && seat.wrong == 0
    }

    /// Members that are up.
    pub(super) fn up(&self) -> usize {
        self.up as usize
    }

    /// Members that are up and whose list is not right.
    pub(super) fn differing(&self) -> usize {
        (self.up - self.exact) as usize
    }

    /// Whether all that changed has been agreed on, and the cluster came to be.
    pub(super) fn all_agreed(&self) -> bool {
        self.open_agreements == 0 && self.beginning.is_none_or(|it| it.complete.is_some())
    }

    /// How many members each one that is up lists.
    pub(super) fn sizes(&self) -> impl Iterator<Item = u32> {
        self.seats.iter().filter(|seat| seat.is_up).map(|seat| seat.right + seat.wrong)
    }

    /// How many of those that are up list a member that is not.
    pub(super) fn listed(&self, member: u32) -> usize {
        let lists = self.seats.iter().zip(0..).filter(|(seat, _)| seat.is_up);
        lists.filter(|(_, by)| self.lists_it(*by, member)).count()
    }

    /// What happened since the last sample.
    pub(super) fn sample(&mut self, now: Time, since: Time) -> Sample {
        self.look_for_agreement(now);
        let up = u64::from(self.up);
        let wrong_entries = (up * up).saturating_sub(self.right) + self.wrong;
        let sample = Sample {
            at: now.since(since).as_secs_f64(),
            up: self.up as usize,
            differing: self.differing(),
            wrong_entries,
            ..self.since
        };
        self.since = Sample::default();
        sample
    }

    fn look_for_agreement(&mut self, now: Time) {
        if let Some(beginning) = &mut self.beginning
            && beginning.left == 0
            && self.exact == self.up
        {
            beginning.complete.get_or_insert(now);
        }
        if self.open_agreements > 0 && self.agrees() {
            for record in self.agreements.iter_mut().rev().filter(|record| record.agreed.is_none()) {
                record.agreed = Some(now);
            }
            self.open_agreements = 0;
        }
    }

    // ---- lists ----

    fn lists_it(&self, by: u32, about: u32) -> bool {
        let (word, bit) = (about as usize / 64, about % 64);
        self.lists
            .get(by as usize)
            .is_some_and(|list| list.get(word).is_some_and(|word| word >> bit & 1 == 1))
    }

    /// `by` lists `about`, or does not any more.
    fn set_listed(&mut self, by: u32, about: u32, listed: bool) {
        if self.lists_it(by, about) == listed || about as usize / 64 >= self.words {
            return;
        }
        self.lists[by as usize][about as usize / 64] ^= 1 << (about % 64);
        let is_right = self.seats[about as usize].is_up;
        let (was, counts) = (self.counts_as_exact(by), self.seats[by as usize].is_up);
        let step = |count: &mut u32| *count = if listed { *count + 1 } else { *count - 1 };
        let long_step = |count: &mut u64| *count = if listed { *count + 1 } else { *count - 1 };
        step(&mut self.seats[about as usize].listed);
        let seat = &mut self.seats[by as usize];
        step(if is_right { &mut seat.right } else { &mut seat.wrong });
        if counts {
            long_step(if is_right { &mut self.right } else { &mut self.wrong });
        }
        match (was, self.counts_as_exact(by)) {
            (false, true) => self.exact += 1,
            (true, false) => self.exact -= 1,
            _ => {}
        }
    }

    fn counts_as_exact(&self, member: u32) -> bool {
        self.seats[member as usize].is_up && self.is_exact(member as usize)
    }

    /// A member is up, or not any more: what was right in the lists is wrong now, and the other way round.
    fn set_up(&mut self, member: u32, up: bool, now: Time) {
        let index = member as usize;
        if self.seats[index].is_up == up {
            return;
        }
        if !up {
            self.excuse(member, now);
        }
        self.seats[index].is_up = up;
        let (right, wrong) = (u64::from(self.seats[index].right), u64::from(self.seats[index].wrong));
        if up {
            self.up += 1;
            (self.right, self.wrong) = (self.right + right, self.wrong + wrong);
        } else {
            self.up -= 1;
            self.seats[index].was_down = true;
            (self.right, self.wrong) = (self.right - right, self.wrong - wrong);
        }
        if self.seats[index].listed > 0 {
            for by in 0..self.lists.len() as u32 {
                if !self.lists_it(by, member) {
                    continue;
                }
                let seat = &mut self.seats[by as usize];
                let counts = u64::from(seat.is_up);
                if up {
                    (seat.right, seat.wrong) = (seat.right + 1, seat.wrong - 1);
                    (self.right, self.wrong) = (self.right + counts, self.wrong - counts);
                } else {
                    (seat.right, seat.wrong) = (seat.right - 1, seat.wrong + 1);
                    (self.right, self.wrong) = (self.right - counts, self.wrong + counts);
                }
            }
        }
        let is_exact = |seat: &&Seat| seat.is_up && seat.right == self.up && seat.wrong == 0;
        self.exact = self.seats.iter().filter(is_exact).count() as u32;
    }

    /// A member goes: what was sent shortly before and has not reached it will not, and nobody promised that it would.
    fn excuse(&mut self, member: u32, now: Time) {
        let up_since = self.seats[member as usize].up_since;
        let (word, bit) = (member as usize / 64, member % 64);
        let recent = self.events.iter_mut().rev().take_while(|event| now.since(event.at) < EXCUSED);
        for event in recent.filter(|event| event.at >= up_since) {
            if event.reached.get(word).is_some_and(|word| word >> bit & 1 == 0) {
                event.members = event.members.saturating_sub(1);
            }
        }
    }

    /// The process of a member is gone, and its list with it.
    fn clear_list(&mut self, member: u32) {
        for word in 0..self.words {
            let mut bits = std::mem::take(&mut self.lists[member as usize][word]);
            while bits != 0 {
                let about = word * 64 + bits.trailing_zeros() as usize;
                self.seats[about].listed -= 1;
                bits &= bits - 1;
            }
        }
        let seat = &mut self.seats[member as usize];
        (seat.right, seat.wrong) = (0, 0);
    }

    // ---- what the members say ----

    /// The member of this name.
    fn member(&self, name: &str) -> Option<u32> {
        index_of(name).filter(|index| *index < self.members).map(|index| index as u32)
    }

    /// Somebody lists a name that is no member's, or does not any more.
    fn listed_falsely(&mut self, by: u32, name: &str, listed: bool) {
        let number = match self.false_names.get(name) {
            Some(number) => *number,
            None if listed && self.false_names.len() < FALSE_NAMES_MAX => {
                let number = self.seats.len() as u32;
                self.seats.push(Seat::default());
                self.false_names.insert(name.to_owned(), number);
                number
            }
            None => return,
        };
        self.set_listed(by, number, listed);
    }

    fn told(&mut self, at: Time, by: u32, event: &Event) {
        match event {
            Event::Joined(change) => match self.member(&change.member.name) {
                Some(about) => self.joined(at, by, about, change),
                None => self.listed_falsely(by, &change.member.name, true),
            },
            Event::Failed(change) => match self.member(&change.member.name) {
                Some(about) => self.failed(at, by, about, change),
                None => self.listed_falsely(by, &change.member.name, false),
            },
            Event::Left(change) => match self.member(&change.member.name) {
                Some(about) => self.set_listed(by, about, false),
                None => self.listed_falsely(by, &change.member.name, false),
            },
            Event::Suspected(change) => {
                if let Some(about) = self.member(&change.member.name) {
                    self.suspected(at, by, about, change);
                }
            }
            Event::Refuted(change) => {
                if let Some(about) = self.member(&change.member.name) {
                    self.logs.add(at, by, about, EntryKind::Refuted, || in_words(&change.cause));
                }
            }
            Event::User(event) => {
                let number = event.name.strip_prefix("lab-").and_then(|number| number.parse::<usize>().ok());
                self.false_events += u64::from(number.is_none_or(|number| number >= self.sent));
                let record = number.and_then(|number| self.events.get_mut(number));
                if let Some(record) = record.filter(|_| self.seats[by as usize].is_up) {
                    record.delays.push(at.since(record.at).as_secs_f32());
                    if let Some(word) = record.reached.get_mut(by as usize / 64) {
                        *word |= 1 << (by % 64);
                    }
                }
            }
            _ => {}
        }
    }

    fn joined(&mut self, at: Time, by: u32, about: u32, change: &Change) {
        self.set_listed(by, about, true);
        if !self.wronged.is_empty()
            && let Some(since) = self.wronged.remove(&(by, about))
        {
            self.back_after.push(at.since(since).as_secs_f32());
        }
        if self.logs.knows(by, about) {
            self.logs.add(at, by, about, EntryKind::Back, || in_words(&change.cause));
        }
    }

    fn failed(&mut self, at: Time, by: u32, about: u32, change: &Change) {
        self.set_listed(by, about, false);
        let seat = &self.seats[about as usize];
        if seat.is_up {
            self.doubtful.push(Doubtful { at, by, about });
        } else {
            self.right_alarms += 1;
        }
        if let Some(crash) = seat.crash {
            let record = &mut self.crashes[crash];
            record.delays.push(at.since(record.at).as_secs_f32());
        }
        self.logs.add(at, by, about, EntryKind::Failed, || in_words(&change.cause));
    }

    fn suspected(&mut self, at: Time, by: u32, about: u32, change: &Change) {
        self.since.suspicions += 1;
        let seat = &self.seats[about as usize];
        if seat.is_up {
            self.suspicions_of_the_living += 1;
        } else {
            self.suspicions_of_the_dead += 1;
        }
        if let Some(crash) = seat.crash {
            self.crashes[crash].suspected.get_or_insert(at);
        }
        self.logs.add(at, by, about, EntryKind::Suspected, || in_words(&change.cause));
    }
}

impl Observer for Meter {
    fn started(&mut self, at: Time, process: ProcessId, node: &Node) {
        let index = process.host.index();
        let member = index as u32;
        if let Some(crash) = self.seats[index].crash.take() {
            self.crashes[crash].unaware = Some(self.listed(member));
        }
        self.seats[index].up_since = at;
        self.seats[index].paused_until = None;
        self.set_up(member, true, at);
        if let Some(beginning) = &mut self.beginning
            && process.life == 1
            && index < beginning.founders
        {
            beginning.left -= 1;
            beginning.last_start = (beginning.left == 0).then_some(at);
        }
        if process.life > 1 {
            self.logs.add(at, member, member, EntryKind::Up, || "its process started again".to_owned());
        }
        if let Some(rules) = &mut self.rules {
            rules.started(at, process, node);
        }
    }

    fn stopped(&mut self, at: Time, process: ProcessId, ending: Ending) {
        let member = process.host.index() as u32;
        if ending == Ending::Stopped {
            self.stopped += 1;
            let why = || "it stopped, since most of the others took somebody else for the owner of its name";
            self.logs.add(at, member, member, EntryKind::Down, || why().to_owned());
        }
        self.set_up(member, false, at);
        self.clear_list(member);
        self.wronged.retain(|(by, about), _| *by != member && *about != member);
        self.running_queries.retain(|(by, _), _| *by != member);
        if let Some(rules) = &mut self.rules {
            rules.stopped(at, process, ending);
        }
    }

    fn output(&mut self, at: Time, process: ProcessId, output: &Output) {
        let index = process.host.index();
        match output {
            Output::Send { packet, .. } => {
                let seat = &mut self.seats[index];
                seat.packets += 1;
                seat.packet_bytes += packet.len() as u64;
                self.bytes += packet.len() as u64;
                self.since.packets += 1;
                self.since.packet_bytes += packet.len() as u64;
            }
            Output::Write { bytes, .. } => {
                self.seats[index].stream_bytes += bytes.len() as u64;
                self.bytes += bytes.len() as u64;
                self.since.stream_bytes += bytes.len() as u64;
            }
            Output::Event(event) => self.told(at, index as u32, event),
            Output::Reply { query, reply: QueryReply::Ack { .. } } => {
                let record = self.running_queries.get(&(index as u32, *query));
                if let Some(record) = record.and_then(|number| self.queries.get_mut(*number)) {
                    record.acks += 1;
                    record.last = Some(at.since(record.at).as_secs_f64());
                }
            }
            _ => {}
        }
        if let Some(rules) = &mut self.rules {
            rules.output(at, process, output);
            // Nobody here waits for the ends of commands, and nobody answers queries.
            let (_, _) = (rules.take_finished(), rules.take_questions());
        }
    }

    fn settled(&mut self, at: Time, process: ProcessId, node: &Node) {
        self.logs.look(at, process.host.index() as u32, node);
        self.look_for_agreement(at);
        if let Some(rules) = &mut self.rules {
            rules.settled(at, process, node);
        }
    }

    fn halted(&self) -> bool {
        self.rules.as_ref().is_some_and(Watch::halted)
    }
}
