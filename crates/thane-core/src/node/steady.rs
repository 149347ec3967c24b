//! Members that answer only now and then: those that lose most of their packets, or hear nothing for half of the time.
//!
//! They are never failed by suspicion alone, because every accusation reaches them in the end, and a refutation clears it. So what counts
//! here is not an accusation but a share of pings that were lost. (Rapid's edge detector is the model: Suresh et al., ATC 2018, section 6.)
//!
//! A **trial** is five pings in a quick row, without relays or TCP. A node tries whom its probe did not reach directly, and a few nodes of the cluster
//! try a member that is accused or complained of. If four pings are lost while the member is known to live (it answered one, or others, or it has just
//! refuted or accused somebody), the node **complains**. Silence without a sign of life is no complaint: that is for the suspicion to
//! judge, as ever, so that a member that is paused is treated no worse. When five others complain of a member within 30 probe
//! intervals, and a trial of our own has lost three pings of five (two, if eight complain), it is **unsteady**: the application is told that it failed. For the detector it stays
//! alive, is probed, and can be complained of further; when for 60 intervals not two have complained, it is back: a fault that comes and goes
//! every 20 s does not bring it back each time. A member that is dead is not judged; when it comes back and five complain of it by then, it stays failed.
//! (Its intent to join does not help it: some that were never away send one.)
//!
//! Nobody takes complaints on faith: from the second on, each node tries the member for itself. Those who hear badly complain of everybody, and several of
//! them may agree on one member by chance; whoever hears well finds that member answering.
//!
//! A complaint travels as an accusation of incarnation 0, which every other implementation takes for out of date and drops.
//!
//! Who is itself unsteady complains of all others, so nobody complains who has lost three of its own last ten pings, and the complaints of those who are
//! complained of count for nothing. Nor does anybody believe the death notices of an unsteady member, who may not have heard the answer of the one that it accused.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use thane_wire::gossip::{Dead, Suspect};

use super::Node;
use crate::event::{Cause, Event, Path};
use crate::member::{State, Status};
use crate::notice::{Layer, Level};
use crate::table::MemberId;
use crate::time::Time;
use crate::timers::Timer;

/// Pings in a trial.
const PINGS: usize = 5;
/// After the last of them, so many probe intervals are left for late answers: who is merely slow loses nothing.
const PATIENCE: u32 = 2;
/// So many of them lost make a complaint.
const LOST: usize = 4;
/// So many different members must complain.
const COMPLAINTS: usize = 5;
/// With so many in a third of the time that they count, more would say nothing new: nobody tries the member or passes complaints on.
const ENOUGH: usize = 8;
/// With fewer complaints than this an unsteady member is steady again.
const QUIET: usize = 2;
/// How long a complaint counts, in probe intervals.
const WINDOW: u32 = 30;
/// An unsteady member is back after so many windows without complaints.
const BACK_AFTER: u32 = 2;
/// How long a sign of life counts, in probe intervals: it must be about as old as the trial.
const LIFE: u32 = 3;
/// So many of them lost in a trial of our own, and we believe the complaints of others. One less than a complaint needs: a member that answers
/// one ping in five answers three of five in one trial of seventeen, and is then tried again.
const BELIEVED: usize = 3;
/// The same of complaints that are [`ENOUGH`]: so many members are not wrong all at once about one who answers us well, and of a thousand nodes
/// some would need five trials to see three pings lost, which is half a minute.
const BELIEVED_OF_MANY: usize = 2;
/// From so many complaints on each node tries the member for itself.
const DOUBTED: usize = 2;
/// Who has answered everything in a trial is not tried again for the same complaints for so many probe intervals.
const REST: u32 = 4;
/// A suspect who is accused only by members that others complain of has so many probe intervals more, in which we try it.
const LAST_CHANCE: u32 = 4;
/// So many nodes at most, of the whole cluster, begin to try a member for themselves in one probe interval.
const CHECKS: f64 = 1000.0;
/// How many nodes try a member of whom they hear an accusation or a complaint, on average over the whole cluster.
const HEARSAY_TRIALS: f64 = 6.0;
/// Of a node's last ten pings so many must have been answered for it to complain of others.
const OWN_ANSWERS: u32 = 7;
/// Clusters with fewer members have too few who could complain.
const MEMBERS_MIN: usize = 2 * COMPLAINTS + 2;
/// Most trials at one time.
pub(super) const TRIALS_MAX: usize = 16;
/// Most members that are watched.
pub(super) const WATCHED_MAX: usize = 256;
/// Complaints kept of one member.
const KEPT_MAX: usize = 32;
/// Complaints passed on in one probe interval, at most.
const PASSED_ON_MAX: u32 = 64;
/// Complaints that wait to be gossiped beside one statement about each member, at most: while packets cannot leave, more would only pile up.
const WAITING_MAX: usize = 64;

/// Complaints that are known at a glance: a power of two.
const AT_A_GLANCE: usize = 256;

/// Who is watched, who is being tried, and how well this node is heard itself.
#[derive(Debug)]
pub(super) struct Steadiness {
    /// By the keyed hash of the name. They are looked up for every packet and for most messages.
    watched: BTreeMap<u64, Watched>,
    /// The hash of the name of whoever is watched and reached at an address, by [`place`].
    speakers: BTreeMap<u128, u64>,
    /// Complaints that were counted, by their keyed hash, until they count no more. Gossip brings each a dozen times.
    counted: Vec<(u64, Time)>,
    trials: BTreeMap<u32, Trial>,
    /// One bit for each of the last ten direct pings of ours: whether it was answered.
    own: u16,
    ticking: bool,
    /// Complaints passed on since the last tick.
    passed_on: u32,
}

impl Default for Steadiness {
    fn default() -> Self {
        Self {
            watched: BTreeMap::new(),
            speakers: BTreeMap::new(),
            counted: Vec::new(),
            trials: BTreeMap::new(),
            own: OWN_PINGS,
            ticking: false,
            passed_on: 0,
        }
    }
}

/// Ten bits.
const OWN_PINGS: u16 = (1 << 10) - 1;

/// An address as a number, ports included.
fn place(addr: SocketAddr) -> u128 {
    let ip = match addr.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    ip.to_bits().rotate_left(16) ^ u128::from(addr.port())
}

/// That somebody complained.
#[derive(Debug)]
struct Complaint {
    by: Arc<str>,
    /// The hash of that name.
    hash: u64,
    at: Time,
}

/// What is held against a member.
#[derive(Debug)]
struct Watched {
    name: Arc<str>,
    addr: SocketAddr,
    /// Who complained and when, each only once, the oldest first.
    complaints: Vec<Complaint>,
    /// Its last sign of life.
    lived: Option<Time>,
    /// When something was last said of it.
    heard_of: Time,
    /// Since when it is held for unsteady.
    unsteady: Option<Time>,
    /// When it last came back from being dead.
    returned: Option<Time>,
    /// When we last tried it.
    tried: Option<Time>,
    /// Before this there is no need to see for ourselves again.
    checked: Option<Time>,
    /// When our last trial of it was over, and how many pings it had lost.
    found: Option<(Time, usize)>,
}

impl Watched {
    fn new(name: Arc<str>, addr: SocketAddr) -> Self {
        Self {
            name,
            addr,
            complaints: Vec::new(),
            lived: None,
            heard_of: Time::ZERO,
            unsteady: None,
            returned: None,
            tried: None,
            checked: None,
            found: None,
        }
    }

    fn says_enough(&self, now: Time, window: Duration) -> bool {
        self.complaints_within(now, window / 3) >= ENOUGH
    }

    fn complaints_within(&self, now: Time, span: Duration) -> usize {
        self.complaints.iter().filter(|it| now.since(it.at) < span).count()
    }
}

/// A row of pings.
#[derive(Debug)]
struct Trial {
    target: Arc<str>,
    addr: SocketAddr,
    begun: Time,
    /// The numbers of the pings.
    pings: Vec<u32>,
    answered: usize,
}

impl Steadiness {
    pub(super) fn held(&self) -> (usize, usize) {
        (self.watched.len(), self.trials.len())
    }

    fn own_ping(&mut self, answered: bool) {
        self.own = (self.own << 1 | u16::from(answered)) & OWN_PINGS;
    }

    /// Whether a complaint counts already.
    fn is_counted(&self, complaint: u64, now: Time) -> bool {
        let at = self.counted.get(complaint as usize & (AT_A_GLANCE - 1));
        at.is_some_and(|(known, until)| *known == complaint && now < *until)
    }

    fn count(&mut self, complaint: u64, until: Time) {
        if self.counted.is_empty() {
            self.counted.resize(AT_A_GLANCE, (0, Time::ZERO));
        }
        self.counted[complaint as usize & (AT_A_GLANCE - 1)] = (complaint, until);
    }

    fn forget(&mut self, hash: u64) -> Option<Watched> {
        let forgotten = self.watched.remove(&hash)?;
        self.speakers.retain(|_, watched| *watched != hash);
        if !forgotten.complaints.is_empty() {
            // They would be news again.
            self.counted.clear();
        }
        Some(forgotten)
    }
}

impl Node {
    /// Whether the rule is on, and there are enough who could complain.
    fn judges_steadiness(&self) -> bool {
        self.config.detector.unsteady
            && !self.config.probe_interval.is_zero()
            && self.table.live() >= MEMBERS_MIN
    }

    fn window(&self) -> Duration {
        self.config.probe_interval * WINDOW
    }

    fn watched(&self, name: &str) -> Option<&Watched> {
        self.steadiness.watched.get(&self.table.hash_of(name))
    }

    fn watched_mut(&mut self, name: &str) -> Option<&mut Watched> {
        self.steadiness.watched.get_mut(&self.table.hash_of(name))
    }

    fn is_unsteady(&self, name: &str) -> bool {
        self.watched(name).is_some_and(|it| it.unsteady.is_some())
    }

    // ---- our own pings ----

    /// The ping of a probe of ours was answered in time, directly or not.
    pub(super) fn ping_had_answer(&mut self, directly: bool, name: &Arc<str>) {
        if !self.config.detector.unsteady {
            return;
        }
        if directly {
            self.steadiness.own_ping(true);
        } else {
            self.lives(name);
        }
    }

    /// The direct ping of a probe was not answered in time.
    pub(super) fn ping_was_lost(&mut self, id: MemberId) {
        if self.judges_steadiness() {
            // What is lost by a member that others complain of says nothing about us.
            if self.complaints_that_count(&self.table[id].name) < QUIET {
                self.steadiness.own_ping(false);
            }
            self.try_member(id);
        }
    }

    // ---- what is heard of a member ----

    /// A member has shown that it lives, by a word of its own.
    pub(super) fn lives(&mut self, name: &str) {
        let now = self.now;
        if !self.steadiness.watched.is_empty()
            && let Some(watched) = self.watched_mut(name)
        {
            watched.lived = Some(now);
        }
    }

    /// A packet came from this address. A member that speaks while it is suspect does not hear that it is; whoever hears it tries it.
    pub(super) fn speaks(&mut self, from: SocketAddr) {
        if self.steadiness.speakers.is_empty() {
            return;
        }
        let now = self.now;
        let Some(hash) = self.steadiness.speakers.get(&place(from)) else { return };
        let Some(watched) = self.steadiness.watched.get_mut(hash).filter(|it| it.addr == from) else {
            return;
        };
        watched.lived = Some(now);
        let name = watched.name.clone();
        if let Some(id) = self.table.find(&name).filter(|id| self.table[*id].state == State::Suspect)
            && self.judges_steadiness()
        {
            self.try_member(id);
        }
    }

    /// A member is accused, by us or by another.
    pub(super) fn watch_accused(&mut self, id: MemberId) {
        if self.judges_steadiness() && self.watch(id).is_some() {
            self.try_by_chance(id);
        }
    }

    /// An accusation that no other implementation would take for one. Says whether it was. What a peer's list says names no accuser, so
    /// that it is nobody's complaint.
    pub(super) fn is_complaint(&mut self, suspect: &Suspect<'_>, via: &Path) -> bool {
        if suspect.incarnation > 0 {
            if self.config.detector.unsteady {
                self.lives(suspect.from);
            }
            return false;
        }
        let number = self.table.hash_of(suspect.from) ^ self.table.hash_of(suspect.node).rotate_left(32);
        if self.steadiness.is_counted(number, self.now) {
            return true;
        }
        if self.judges_steadiness()
            && matches!(via, Path::Packet(_))
            && suspect.node != suspect.from
            && let (Some(id), Some(_)) = (self.table.find(suspect.node), self.table.find(suspect.from))
            && id != self.own
        {
            let complainer = self.table.intern(suspect.from);
            self.complaint(id, &complainer);
        }
        true
    }

    fn complaint(&mut self, id: MemberId, complainer: &Arc<str>) {
        let (now, window, hash) = (self.now, self.window(), self.table.hash_of(complainer));
        let number = hash ^ self.table.hash_of(&self.table[id].name).rotate_left(32);
        self.lives(complainer);
        let Some(watched) = self.watch(id) else { return };
        if watched.complaints.iter().any(|it| it.hash == hash && now.since(it.at) < window) {
            return;
        }
        watched.complaints.retain(|it| it.hash != hash && now.since(it.at) < window * BACK_AFTER);
        if watched.complaints.len() >= KEPT_MAX {
            watched.complaints.remove(0);
        }
        let enough = watched.says_enough(now, window);
        watched.complaints.push(Complaint { by: complainer.clone(), hash, at: now });
        self.steadiness.count(number, now + window);
        self.counters.complaints += 1;
        if !enough {
            self.pass_on(id, complainer);
        }
        self.judge_steadiness(id);
        if !self.is_unsteady(&self.table[id].name) {
            self.try_by_chance(id);
        }
    }

    fn pass_on(&mut self, id: MemberId, complainer: &str) {
        let has_room = self.statements.len() < self.table.known() + WAITING_MAX;
        if has_room && self.steadiness.passed_on < PASSED_ON_MAX {
            self.steadiness.passed_on += 1;
            let mut message = Vec::new();
            Suspect { incarnation: 0, node: &self.table[id].name, from: complainer }.encode(&mut message);
            let message = self.shared(None, &message);
            self.statements.queue(message, None, None);
        }
    }

    /// The record of a member, a new one if there is room.
    fn watch(&mut self, id: MemberId) -> Option<&mut Watched> {
        let (now, name, addr) = (self.now, &self.table[id].name, self.table[id].reached_at());
        let hash = self.table.hash_of(name);
        let is_known = self.steadiness.watched.contains_key(&hash);
        if id == self.own || self.steadiness.watched.len() >= WATCHED_MAX && !is_known {
            return None;
        }
        if !self.steadiness.ticking {
            self.steadiness.ticking = true;
            self.timers.set(self.now + self.config.probe_interval, Timer::SteadyTick);
        }
        let watched = self.steadiness.watched.entry(hash).or_insert_with(|| Watched::new(name.clone(), addr));
        if !is_known || watched.addr != addr {
            self.steadiness.speakers.retain(|_, it| *it != hash);
            self.steadiness.speakers.insert(place(addr), hash);
        }
        (watched.heard_of, watched.addr) = (now, addr);
        Some(watched)
    }

    // ---- trials ----

    fn try_by_chance(&mut self, id: MemberId) {
        let others = self.table.live().saturating_sub(2).max(1);
        if self.rng.unit() < HEARSAY_TRIALS / others as f64 {
            self.try_member(id);
        }
    }

    /// A trial for the sake of all: it may end with a complaint.
    fn try_member(&mut self, id: MemberId) {
        let (name, rest) = (&self.table[id].name, self.window() / 10);
        let tried = self.watched(name).and_then(|watched| watched.tried);
        if self.may_try(id) && self.has_news(name) && tried.is_none_or(|at| self.now.since(at) >= rest) {
            self.begin_trial(id);
        }
    }

    /// A trial for our own sake: others complain of the member, and we have not seen it ourselves. Not all nodes of a large cluster begin at
    /// the same time.
    fn check_member(&mut self, id: MemberId) {
        let others = self.table.live().saturating_sub(2).max(1);
        let checked = self.watched(&self.table[id].name).and_then(|watched| watched.checked);
        if self.may_try(id)
            && checked.is_none_or(|until| self.now >= until)
            && self.rng.unit() < CHECKS / others as f64
        {
            self.begin_trial(id);
        }
    }

    /// Whether a complaint of ours would be news: what we complain of we do not complain of again while it counts, nor do we join enough others.
    fn has_news(&self, name: &str) -> bool {
        let Some(watched) = self.watched(name) else { return true };
        let (now, window, own) = (self.now, self.window(), &self.table[self.own].name);
        let complained = watched.complaints.iter().any(|it| it.by == *own && now.since(it.at) < window);
        !complained && !watched.says_enough(now, window)
    }

    fn may_try(&self, id: MemberId) -> bool {
        let name = &self.table[id].name;
        self.table[id].is_live()
            && self.held.is_none()
            && self.steadiness.trials.len() < TRIALS_MAX
            && self.steadiness.own.count_ones() >= OWN_ANSWERS
            && !self.steadiness.trials.values().any(|trial| trial.target == *name)
    }

    fn begin_trial(&mut self, id: MemberId) {
        let now = self.now;
        let (name, addr) = (self.table[id].name.clone(), self.table[id].reached_at());
        let Some(watched) = self.watch(id) else { return };
        watched.tried = Some(now);
        let number = self.next_seq();
        let trial = Trial { target: name, addr, begun: now, pings: Vec::new(), answered: 0 };
        self.steadiness.trials.insert(number, trial);
        self.trial_step(number);
    }

    /// The next ping of a trial, or its end.
    pub(super) fn trial_step(&mut self, number: u32) {
        let Some(trial) = self.steadiness.trials.get(&number) else { return };
        let (target, addr, sent) = (trial.target.clone(), trial.addr, trial.pings.len());
        let Some(id) = self.table.find(&target).filter(|id| self.table[*id].is_live()) else {
            self.steadiness.trials.remove(&number);
            return;
        };
        if sent == PINGS {
            self.trial_over(number, id);
            return;
        }
        let seq = self.next_seq();
        let ping = self.encode_ping(seq, &target);
        let checksum = self.checksum_for(id);
        self.send(addr, checksum, &[ping]);
        if let Some(trial) = self.steadiness.trials.get_mut(&number) {
            trial.pings.push(seq);
        }
        let wait = if sent + 1 == PINGS {
            self.config.probe_interval * PATIENCE
        } else {
            self.config.probe_timeout / 2
        };
        self.timers.set(self.now + wait, Timer::TrialStep { number });
    }

    /// An answer with the number of a trial's ping. Says whether it was one.
    pub(super) fn trial_answered(&mut self, seq: u32) -> bool {
        let mut trials = self.steadiness.trials.iter_mut();
        let Some((number, trial)) = trials.find(|(_, trial)| trial.pings.contains(&seq)) else {
            return false;
        };
        trial.answered += 1;
        let (number, name) = (*number, trial.target.clone());
        // An answer may come more often than it was asked for.
        let settled = PINGS.saturating_sub(trial.answered) < BELIEVED_OF_MANY;
        self.lives(&name);
        if settled && let Some(id) = self.table.find(&name) {
            self.trial_over(number, id);
        }
        true
    }

    fn trial_over(&mut self, number: u32, id: MemberId) {
        let Some(trial) = self.steadiness.trials.remove(&number) else { return };
        let lost = PINGS.saturating_sub(trial.answered);
        let (now, early) = (self.now, self.config.probe_interval * LIFE);
        // Whoever has answered everything need not be asked again soon; of whoever has not, the next trial may say more.
        let rest = if trial.pings.len() == trial.answered { REST } else { 1 };
        let rest = self.config.probe_interval * rest;
        let Some(watched) = self.watched_mut(&trial.target) else { return };
        watched.found = Some((now, lost));
        watched.checked = Some(now + rest);
        let lives = watched.lived.is_some_and(|at| at + early >= trial.begun);
        let hears = self.steadiness.own.count_ones() >= OWN_ANSWERS;
        if lost >= LOST && lives && hears && self.has_news(&trial.target) {
            let own = self.own_name();
            self.complaint(id, &own);
        } else {
            self.judge_steadiness(id);
        }
    }

    /// What was lost while we were paused, or could not send, proves nothing.
    pub(super) fn abandon_trials(&mut self) {
        self.steadiness.trials.clear();
    }

    // ---- verdicts ----

    /// Whether a death notice comes from somebody who would not have heard that it is wrong.
    pub(super) fn is_notice_of_unsteady(&self, dead: &Dead<'_>) -> bool {
        dead.node != dead.from && !self.is_trusted(dead.from)
    }

    /// Whether a member is neither unsteady nor complained of by others, who would be as likely to complain of it by mistake as it of them.
    fn is_trusted(&self, name: &str) -> bool {
        self.steadiness.watched.is_empty() || self.is_trusted_hash(self.table.hash_of(name))
    }

    fn is_trusted_hash(&self, hash: u64) -> bool {
        let (now, window) = (self.now, self.window());
        let watched = self.steadiness.watched.get(&hash);
        watched.is_none_or(|it| it.unsteady.is_none() && it.complaints_within(now, window) < QUIET)
    }

    /// The time of a suspect is over. Says whether it must have more, because nobody accuses it but members that others complain of, and
    /// we have not found it silent ourselves.
    pub(super) fn accusers_are_unsteady(&mut self, id: MemberId) -> bool {
        let Some(suspicion) = self.table[id].suspicion() else { return false };
        if !self.judges_steadiness() || suspicion.accusers().iter().any(|by| self.is_trusted(by)) {
            return false;
        }
        let fresh = self.config.probe_interval * LAST_CHANCE;
        let watched = self.watched(&self.table[id].name);
        let found = watched.and_then(|watched| watched.found).filter(|(at, _)| self.now.since(*at) < fresh);
        match found {
            Some((_, lost)) => lost < PINGS,
            None if self.may_try(id) && self.watch(id).is_some() => {
                self.begin_trial(id);
                true
            }
            // It is being tried.
            None => self.steadiness.trials.values().any(|trial| trial.target == self.table[id].name),
        }
    }

    /// How much more time it has.
    pub(super) fn last_chance(&self) -> Duration {
        self.config.probe_interval * LAST_CHANCE
    }

    /// Who complains of a member and whose word counts.
    fn trusted_complainers(&self, name: &str) -> impl Iterator<Item = &Arc<str>> {
        let (now, window) = (self.now, self.window());
        let complaints = self.watched(name).map(|watched| watched.complaints.as_slice());
        let counts = move |it: &&Complaint| now.since(it.at) < window && self.is_trusted_hash(it.hash);
        complaints.unwrap_or_default().iter().filter(counts).map(|it| &it.by)
    }

    fn complaints_that_count(&self, name: &str) -> usize {
        self.trusted_complainers(name).count()
    }

    /// Whether a trial of our own bears out what others say.
    fn believes_complaints(&self, id: MemberId) -> bool {
        let name = &self.table[id].name;
        let Some((at, lost)) = self.watched(name).and_then(|watched| watched.found) else { return false };
        let needed = if self.complaints_that_count(name) >= ENOUGH { BELIEVED_OF_MANY } else { BELIEVED };
        lost >= needed && self.now.since(at) < self.window()
    }

    /// Whether so many are unsteady that it is rather the network.
    fn too_many_are_unsteady(&self) -> bool {
        let unsteady = self.steadiness.watched.values().filter(|it| it.unsteady.is_some()).count();
        unsteady >= self.table.known() / 4
    }

    fn judge_steadiness(&mut self, id: MemberId) {
        let name = self.table[id].name.clone();
        // Whoever is dead has its verdict; should it come back, it is judged then.
        if self.table[id].status != Some(Status::Alive)
            || self.is_unsteady(&name)
            || self.complaints_that_count(&name) < COMPLAINTS
            || !self.believes_complaints(id)
            || self.too_many_are_unsteady()
        {
            return;
        }
        let now = self.now;
        let by: Vec<Arc<str>> = self.trusted_complainers(&name).cloned().collect();
        let Some(watched) = self.watched_mut(&name) else { return };
        watched.unsteady = Some(now);
        self.counters.unsteady_verdicts += 1;
        self.notice(Level::Info, Layer::Memberlist, "unsteady", Some(name.clone()), || {
            format!(
                "{name} answers only few pings, {} members say; it is failed until it answers again",
                by.len()
            )
        });
        let cause = Cause::Unsteady { by };
        self.set_status(id, Some(Status::Failed));
        self.record(id, &cause);
        self.emit(id, Event::Failed, cause);
    }

    /// A member that was dead for the detector is alive. True if it is held for unsteady all the same, and so not back yet: it was before it
    /// died, or five complain of it.
    pub(super) fn unsteady_returns(&mut self, id: MemberId) -> bool {
        let (now, name) = (self.now, self.table[id].name.clone());
        if self.steadiness.watched.is_empty() || self.watched(&name).is_none() {
            return false;
        }
        let by: Vec<Arc<str>> = self.trusted_complainers(&name).cloned().collect();
        let judged = by.len() >= COMPLAINTS && self.judges_steadiness() && !self.too_many_are_unsteady();
        let is_failed = self.table[id].status == Some(Status::Failed);
        let Some(watched) = self.watched_mut(&name) else { return false };
        (watched.lived, watched.returned) = (Some(now), Some(now));
        let was_unsteady = watched.unsteady.is_some();
        if is_failed && !was_unsteady && judged {
            watched.unsteady = Some(now);
            self.counters.unsteady_verdicts += 1;
            self.record(id, &Cause::Unsteady { by });
        }
        is_failed && (was_unsteady || judged)
    }

    /// Once an interval while anybody is watched: who is steady again, and who need not be watched any longer.
    pub(super) fn steady_tick(&mut self) {
        (self.steadiness.ticking, self.steadiness.passed_on) = (false, 0);
        let (now, window) = (self.now, self.window());
        // The key of a hash decides about nothing.
        let mut those: Vec<_> =
            self.steadiness.watched.iter().map(|(hash, it)| (it.name.clone(), *hash)).collect();
        those.sort_unstable();
        for (name, hash) in those {
            let Some(watched) = self.steadiness.watched.get_mut(&hash) else { continue };
            watched.complaints.retain(|it| now.since(it.at) < window * BACK_AFTER);
            let Some(id) = self.table.find(&name) else {
                self.steadiness.forget(hash);
                continue;
            };
            if watched.unsteady.is_none() && self.complaints_that_count(&name) >= DOUBTED {
                if self.believes_complaints(id) {
                    self.judge_steadiness(id);
                } else {
                    self.check_member(id);
                }
            }
            let Some(watched) = self.steadiness.watched.get_mut(&hash) else { continue };
            let over = match watched.unsteady {
                None => {
                    watched.complaints_within(now, window) == 0 && now.since(watched.heard_of) > window / 2
                }
                // A member that has left, or was erased, is not ours to bring back.
                Some(_) if self.table[id].status != Some(Status::Failed) => true,
                // While it is dead, nobody tries it; what was found before then grows old.
                Some(_) if !self.table[id].is_live() => watched.complaints.is_empty(),
                Some(since) => {
                    watched.complaints.len() < QUIET
                        && now.since(since) >= window
                        && watched.returned.is_none_or(|at| now.since(at) >= window)
                }
            };
            if over && let Some(since) = self.steadiness.forget(hash).and_then(|it| it.unsteady) {
                self.is_steady_again(id, since);
            }
        }
        if !self.steadiness.watched.is_empty() {
            self.steadiness.ticking = true;
            self.timers.set(now + self.config.probe_interval, Timer::SteadyTick);
        }
    }

    fn is_steady_again(&mut self, id: MemberId, since: Time) {
        if self.table[id].status == Some(Status::Failed)
            && matches!(self.table[id].state, State::Alive | State::Suspect)
        {
            self.member_joined(id, Cause::Steady { after: self.now.since(since) });
        }
    }
}
