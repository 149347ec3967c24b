//! The run of a scenario.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::Bytes;
use thane_core::{
    Config, Key, KeyReport, Keyring, LifeState, Member, OpId, Outcome, Prune, Replay, Status, Tags, Time,
};

use super::deeds::Rotation;
use super::{Action, Failure, FailureCause, Prepare, Profile, Report, Scenario};
use crate::bounds::{convergence_bound, event_spread_bound, typical_healing};
use crate::check::agreement::{Truth, disagreements, events_agree};
use crate::check::{Observation, Watch};
use crate::network::Quality;
use crate::rng::SimRng;
use crate::world::{Ending, HostId, ProcessId, World};

/// How often the run looks after joins.
const TICK: Duration = Duration::from_millis(250);
/// How often it looks whether the cluster agrees.
const LOOK: Duration = Duration::from_millis(500);
/// A process that could join nobody tries again after this long, as `retry-join` does.
const JOIN_RETRY: Duration = Duration::from_secs(5);
/// How long the last vote about a name takes at most.
const VOTE_TIME: Duration = Duration::from_secs(15);
/// The cluster agrees when it has done so for this long.
const STEADY: Duration = Duration::from_secs(10);

pub(super) fn run(scenario: &Scenario, prepare: &Prepare<'_>) -> Result<Report, Box<Failure>> {
    let mut run = Run::new(scenario);
    prepare(&mut run.world);
    let result = catch_unwind(AssertUnwindSafe(|| run.all_of_it())).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().cloned();
        let message = message.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(FailureCause::Panic(message.unwrap_or_else(|| "without a message".into())))
    });
    result.map_err(|cause| {
        let history = run.world.observer().history().map(str::to_owned).collect();
        Box::new(Failure {
            scenario: scenario.clone(),
            at: run.world.now(),
            tally: *run.world.tally(),
            cause,
            history,
        })
    })
}

/// How far a process has come with joining the others.
#[derive(Debug, Clone, Copy)]
pub(super) enum Joining {
    /// It is the first of all, or has joined.
    Done,
    /// The command is under way.
    Trying(OpId),
    /// It tries again then.
    RetryAt(Time),
}

/// What is known of the process on a host besides its node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Program {
    pub(super) process: ProcessId,
    pub(super) joining: Joining,
    /// The Lamport time from which on it hears all user events.
    pub(super) listens_from: u64,
    /// What was before this Lamport time it has dealt with in an earlier life.
    pub(super) dealt_with: u64,
}

pub(super) struct Run<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) world: World<Watch>,
    hosts: Vec<HostId>,
    pub(super) rng: SimRng,
    programs: BTreeMap<HostId, Program>,
    /// How the last process of each host ended.
    endings: BTreeMap<HostId, Ending>,
    /// Hosts that were ever started.
    started: BTreeSet<HostId>,
    /// Names that ever left, or were forced to.
    ever_left: BTreeSet<HostId>,
    /// Hosts whose last leave everybody must have heard.
    pub(super) heard_leaving: BTreeSet<HostId>,
    /// Commands about keys that have ended, with what the members said.
    pub(super) key_reports: BTreeMap<(ProcessId, OpId), KeyReport>,
    pub(super) sent: u64,
    /// The keys with which processes are started.
    pub(super) keys: Keyring,
    /// New keys that were made.
    pub(super) keys_made: u8,
    pub(super) rotation: Option<Rotation>,
    pub(super) keys_rotated: u64,
    pub(super) asked: u64,
    /// Byzantine peers.
    pub(super) liars: u32,
    /// Whether one of them is believed, and what it tells may be found anywhere.
    pub(super) forged: bool,
    /// What was heard of events up to this time is not held against anybody, since somebody may have forged it.
    events_from: u64,
    operator_joins: u64,
    pub(super) operator_restarts: u64,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let parameters = &scenario.parameters;
        let mut world = World::observed(parameters.seed, Quality::good(), Watch::default());
        let hosts = (0..parameters.hosts)
            .map(|number| {
                let config = config(scenario, format!("n{number}"), world.next_addr());
                world.add_host(Config { detector: parameters.rules.of(number), ..config })
            })
            .collect();
        Self {
            scenario,
            world,
            hosts,
            rng: SimRng::new(parameters.seed, "run", 0),
            programs: BTreeMap::new(),
            endings: BTreeMap::new(),
            started: BTreeSet::new(),
            ever_left: BTreeSet::new(),
            heard_leaving: BTreeSet::new(),
            key_reports: BTreeMap::new(),
            sent: 0,
            keys: config(scenario, "keys".into(), ([10, 0, 0, 1], 1).into()).keyring,
            keys_made: 0,
            rotation: None,
            keys_rotated: 0,
            asked: 0,
            liars: 0,
            forged: false,
            events_from: 0,
            operator_joins: 0,
            operator_restarts: 0,
        }
    }

    fn all_of_it(&mut self) -> Result<Report, FailureCause> {
        self.faults()?;
        let healed_at = self.world.now();
        self.peace()?;
        let healing = self.agree("members")?.since(healed_at);
        if self.forged {
            let times = self.running().into_iter().filter_map(|host| self.world.node(host));
            self.events_from = times.map(|node| node.stats().event_time).max().unwrap_or(0);
        }
        self.calm(true);
        self.good_order()?;
        let config = self.config();
        Ok(Report {
            seed: self.scenario.parameters.seed,
            hosts: self.hosts.len(),
            tally: *self.world.tally(),
            healing,
            healing_typical: typical_healing(config, self.hosts.len()),
            operator_joins: self.operator_joins,
            operator_restarts: self.operator_restarts,
            queries_asked: self.asked,
            keys_rotated: self.keys_rotated,
            events_sent: self.sent,
            virtual_time: self.world.now().since_start(),
            trace: self.world.trace_hash(),
        })
    }

    /// All of the plan, with the network as bad as was drawn.
    fn faults(&mut self) -> Result<(), FailureCause> {
        let parameters = &self.scenario.parameters;
        let mut bad = false;
        self.calm(true);
        for planned in &self.scenario.plan {
            if !bad && planned.at >= parameters.faults_from {
                self.worsen()?;
                bad = true;
            }
            self.run_to(planned.at)?;
            self.act(&planned.action);
            self.still_fine()?;
        }
        if !bad {
            self.worsen()?;
        }
        self.run_to(parameters.faults_until)
    }

    /// The network becomes as bad as was drawn.
    fn worsen(&mut self) -> Result<(), FailureCause> {
        self.run_to(self.scenario.parameters.faults_from)?;
        self.calm(false);
        self.world.network_mut().quality = self.scenario.parameters.quality.clone();
        Ok(())
    }

    /// Ends all faults, waits until what was begun under them is over, and sees to it that the parts of the cluster can
    /// find each other at all. From then on the cluster must heal by itself.
    fn peace(&mut self) -> Result<(), FailureCause> {
        let network = self.world.network_mut();
        network.quality = Quality::good();
        network.heal();
        self.world.end_byzantine();
        if self.forged {
            // The last votes about names end.
            self.run_to(self.world.now() + VOTE_TIME)?;
        }
        while self.hosts.iter().any(|host| self.is_under_way(*host)) {
            self.run_to(self.world.now() + TICK)?;
        }
        self.rekey_the_locked_out()?;
        self.restart_the_impersonated();
        if self.programs.is_empty() {
            // Nobody is left to agree with anybody.
            self.start(self.hosts[0]);
        }
        while self.hosts.iter().any(|host| self.is_joining(*host)) {
            self.run_to(self.world.now() + TICK)?;
        }
        self.join_strangers()
    }

    /// Whether a host is held up still, or its process is about to leave: who seems to run may soon be nobody.
    fn is_under_way(&self, host: HostId) -> bool {
        let leaves = self.world.node(host).is_some_and(|node| node.life_state() != LifeState::Alive);
        leaves || self.world.is_paused(host) || self.world.is_blocked(host)
    }

    // ---- time ----

    pub(super) fn run_to(&mut self, until: Time) -> Result<(), FailureCause> {
        while self.world.now() < until {
            let next = (self.world.now() + TICK).min(until);
            self.world.run_to(next);
            self.still_fine()?;
            self.look_after_programs();
        }
        self.still_fine()
    }

    pub(super) fn still_fine(&self) -> Result<(), FailureCause> {
        match self.world.observer().violation() {
            Some(violation) => Err(FailureCause::Violation(violation.clone())),
            None => Ok(()),
        }
    }

    /// Waits until all views agree, and stay so. Gives the moment since when.
    pub(super) fn agree(&mut self, about: &'static str) -> Result<Time, FailureCause> {
        // The first host's rules are those that take longest, wherever there are several.
        let detector = self.scenario.parameters.rules.of(0);
        let config = Config { detector, ..self.config().clone() };
        let bound = convergence_bound(&config, self.hosts.len());
        let mut deadline = self.world.now() + bound;
        // Once for each of them: those who become strangers again and again do not agree.
        let joins_max = self.operator_joins + self.hosts.len() as u64;
        let mut since = None;
        loop {
            // Who tried to reach a failed member may hear that it had left, and stop: then they have become strangers.
            let joins = self.operator_joins;
            self.join_strangers()?;
            if (joins + 1..=joins_max).contains(&self.operator_joins) {
                deadline = self.world.now() + bound;
            }
            let differences = self.differences();
            let now = self.world.now();
            if differences.is_empty() {
                let since = *since.get_or_insert(now);
                if now.since(since) >= STEADY {
                    return Ok(since);
                }
            } else {
                since = None;
                if now >= deadline {
                    return Err(FailureCause::Disagreement { bound, about, differences });
                }
            }
            self.run_to(now + LOOK)?;
        }
    }

    /// Waits until every user event that anybody heard was heard by all that listened.
    pub(super) fn events_spread(&mut self) -> Result<(), FailureCause> {
        let bound = event_spread_bound(self.config(), self.hosts.len());
        let deadline = self.world.now() + bound;
        loop {
            let listening = self
                .running()
                .into_iter()
                .filter_map(|host| self.programs.get(&host))
                .map(|program| (program.process, program.listens_from.max(self.events_from)))
                .collect();
            let differences = events_agree(self.world.observer().delivered(), &listening);
            if differences.is_empty() {
                return Ok(());
            }
            if self.world.now() >= deadline {
                return Err(FailureCause::Disagreement { bound, about: "user events", differences });
            }
            self.run_to(self.world.now() + LOOK)?;
        }
    }

    // ---- what is believed, and what is so ----

    pub(super) fn config(&self) -> &Config {
        self.world.node(self.running()[0]).map(thane_core::Node::config).expect("invariant: it runs")
    }

    pub(super) fn running(&self) -> Vec<HostId> {
        self.hosts.iter().copied().filter(|host| self.world.node(*host).is_some()).collect()
    }

    fn differences(&mut self) -> Vec<String> {
        let mut truth = BTreeMap::new();
        let mut views = BTreeMap::new();
        for host in self.started.clone() {
            let name = self.world.name(host).to_owned();
            let Some(node) = self.world.node(host) else {
                let ending = self.endings.get(&host).copied().unwrap_or(Ending::Stopped);
                let ever_left = self.forged || self.ever_left.contains(&host);
                let leave_was_heard = self.heard_leaving.contains(&host);
                truth.insert(name, Truth::Ended { ending, ever_left, leave_was_heard });
                continue;
            };
            if node.life_state() != LifeState::Alive {
                return vec![format!("{name} is about to leave")];
            }
            let view: Vec<Member> = node.members().filter(|member| !self.was_made_up(member)).collect();
            let (at, life) = (self.world.now(), self.programs[&host].process);
            truth.insert(name.clone(), Truth::Runs(life, node.local()));
            views.insert(name, self.world.observer_mut().through_tamper(at, life, view));
        }
        disagreements(&truth, &views)
    }

    /// Whether a liar is to blame for this member: it never ran, and is listed among those who are gone until it is
    /// forgotten. To believe that it still lives is wrong even so, since no probe of it is answered.
    fn was_made_up(&self, member: &Member) -> bool {
        self.forged
            && matches!(member.status, Status::Failed | Status::Left)
            && !self.started.iter().any(|host| self.world.name(*host) == &*member.name)
    }

    /// Parts of the cluster that know nothing of each other cannot find each other: an operator joins them. Two running
    /// processes are in one part if one of them lists the other as alive or failed (those it tries to reach for ever), and
    /// no liar has persuaded it to try in vain, where the other is not.
    fn join_strangers(&mut self) -> Result<(), FailureCause> {
        loop {
            let running = self.running();
            let mut part: BTreeMap<HostId, usize> =
                running.iter().enumerate().map(|(number, host)| (*host, number)).collect();
            for &a in &running {
                for member in self.world.node(a).into_iter().flat_map(thane_core::Node::members) {
                    let tried = matches!(member.status, Status::Alive | Status::Failed);
                    let b = running.iter().copied().find(|host| self.world.name(*host) == &*member.name);
                    let where_it_is = |b: &HostId| !self.forged || self.world.addr(*b) == member.addr;
                    if let (true, Some(b)) = (tried, b.filter(where_it_is)) {
                        let (keep, lose) = (part[&a], part[&b]);
                        part.values_mut().filter(|it| **it == lose).for_each(|it| *it = keep);
                    }
                }
            }
            let Some(&first) = running.first() else { return Ok(()) };
            let Some(stranger) = running.iter().copied().find(|host| part[host] != part[&first]) else {
                return Ok(());
            };
            self.operator_joins += 1;
            let to = self.world.addr(first);
            self.join(stranger, &[to]);
            while self.is_joining(stranger) {
                self.run_to(self.world.now() + TICK)?;
            }
        }
    }

    // ---- programs ----

    fn is_joining(&self, host: HostId) -> bool {
        self.programs.get(&host).is_some_and(|program| !matches!(program.joining, Joining::Done))
    }

    fn start(&mut self, host: HostId) {
        let process = self.world.start(host);
        let first = self.started.is_empty();
        let joining = if first { Joining::Done } else { Joining::RetryAt(self.world.now()) };
        let listens_from = if first { 0 } else { u64::MAX };
        self.begin_program(host, Program { process, joining, listens_from, dealt_with: 0 });
    }

    pub(super) fn begin_program(&mut self, host: HostId, program: Program) {
        self.started.insert(host);
        self.endings.remove(&host);
        self.heard_leaving.remove(&host);
        self.programs.insert(host, program);
        self.look_after_programs();
    }

    fn join(&mut self, host: HostId, to: &[SocketAddr]) {
        let replay = self.scenario.parameters.replay;
        let joining = match self.world.command(host, |node, now| node.join(now, to, replay)) {
            Some(Ok(op)) => Joining::Trying(op),
            // It leaves, and will join nobody any more.
            Some(Err(_)) => Joining::Done,
            None => Joining::RetryAt(self.world.now() + JOIN_RETRY),
        };
        if let Some(program) = self.programs.get_mut(&host) {
            program.joining = joining;
        }
        self.joins_done();
    }

    /// Forgets processes that have ended, takes note of joins that have, and lets others try again.
    fn look_after_programs(&mut self) {
        let gone: Vec<HostId> =
            self.programs.keys().copied().filter(|host| self.world.process(*host).is_none()).collect();
        for host in gone {
            self.programs.remove(&host);
            // Crashes are noted where they are made: what ends by itself has left.
            let stopped = self.world.was_stopped(host);
            self.endings.entry(host).or_insert(if stopped { Ending::Stopped } else { Ending::Left });
        }
        self.answer_questions();
        self.joins_done();
        self.go_on_with_keys();
        let now = self.world.now();
        let due: Vec<HostId> = self
            .programs
            .iter()
            .filter(|(_, program)| matches!(program.joining, Joining::RetryAt(at) if at <= now))
            .map(|(host, _)| *host)
            .collect();
        for host in due {
            let found = self.world.node(host).is_some_and(|node| node.stats().live > 1);
            if let (true, Some(program)) = (found, self.programs.get_mut(&host))
                && program.process.life > 1
                && self.world.snapshot(host).is_some()
            {
                // It has found the others by itself.
                program.joining = Joining::Done;
                program.listens_from = self.world.node(host).map_or(0, |node| node.stats().event_time);
                continue;
            }
            // The first of all, and three others: an operator lists more than one.
            let others: Vec<HostId> = self.started.iter().copied().filter(|other| *other != host).collect();
            let mut to: Vec<SocketAddr> =
                (0..3).filter_map(|_| self.rng.pick(&others).map(|other| self.world.addr(*other))).collect();
            to.sort_unstable();
            to.dedup();
            let alone = self.running().len() == 1;
            if alone && let Some(program) = self.programs.get_mut(&host) {
                // Nobody is there to be joined: this one begins the cluster anew, and others join it. What it has dealt with before, even if it
                // has left since, it will not take from somebody whose clock begins at nothing.
                (program.joining, program.listens_from) = (Joining::Done, program.dealt_with);
                continue;
            }
            self.join(host, &to);
        }
    }

    fn joins_done(&mut self) {
        for (process, op, outcome) in self.world.observer_mut().take_finished() {
            if let Outcome::Keys(report) = outcome {
                self.key_reports.insert((process, op), report);
                continue;
            }
            let (Some(program), Outcome::Join { contacted, .. }) =
                (self.programs.get_mut(&process.host), outcome)
            else {
                continue;
            };
            if program.process != process || !matches!(program.joining, Joining::Trying(own) if own == op) {
                continue;
            }
            if contacted == 0 {
                program.joining = Joining::RetryAt(self.world.now() + JOIN_RETRY);
                continue;
            }
            program.joining = Joining::Done;
            let heard = self.world.node(process.host).map_or(0, |node| node.stats().event_time);
            program.listens_from = match self.scenario.parameters.replay {
                Replay::Old => program.dealt_with,
                Replay::Ignore => heard,
            };
        }
    }

    // ---- actions ----

    pub(super) fn act(&mut self, action: &Action) {
        self.look_after_programs();
        let now = self.world.now();
        self.world.observer_mut().note(now, &format!("-- {action:?}"));
        match action {
            Action::Start(host) => {
                if self.world.node(*host).is_none() {
                    self.start(*host);
                }
            }
            Action::Crash(host, crash) => {
                if self.world.node(*host).is_some() {
                    self.world.crash(*host, *crash);
                    self.programs.remove(host);
                    self.endings.insert(*host, Ending::Crashed(*crash));
                }
            }
            Action::Pause(host, span) => self.world.pause(*host, *span),
            Action::Partition(side) => self.world.partition(side),
            Action::CutOneWay(from, to) => self.world.cut_one_way(*from, *to),
            Action::Heal => self.world.network_mut().heal(),
            Action::UserEvent(host) => self.user_event(*host),
            Action::SetTags(host) => {
                let mut tags = Tags::new();
                tags.insert("version".into(), self.rng.below(1000).to_string());
                self.world.command(*host, |node, now| node.set_tags(now, tags));
            }
            Action::Leave(host) => {
                self.dismissing(*host, *host);
                if matches!(self.world.leave(*host), Some(Ok(_))) {
                    self.ever_left.insert(*host);
                }
            }
            Action::ForceLeave { by, target, prune } => self.force_leave(*by, *target, *prune),
            more => self.act_on_more(more),
        }
    }

    fn user_event(&mut self, host: HostId) {
        let Some(program) = self.programs.get(&host).copied() else { return };
        if self.world.is_paused(host) {
            return;
        }
        let name = format!("deploy-{}", self.rng.below(3));
        // No two alike, so that each can be told from all others.
        let mut payload = format!("{}/", self.sent).into_bytes();
        payload.resize(payload.len() + self.rng.below(200), b'x');
        let payload = Bytes::from(payload);
        let sending = Observation::Sending { name: name.clone(), payload: payload.clone() };
        let now = self.world.now();
        self.world.observer_mut().see(now, program.process, sending);
        let sent = self.world.command(host, |node, now| node.user_event(now, &name, &payload, false));
        self.sent += u64::from(matches!(sent, Some(Ok(_))));
    }

    fn force_leave(&mut self, by: HostId, target: HostId, prune: Prune) {
        if by == target {
            return;
        }
        let name = self.world.name(target).to_owned();
        self.dismissing(by, target);
        if let Some(Ok(_)) = self.world.command(by, |node, now| node.force_leave(now, &name, prune)) {
            self.ever_left.insert(target);
        }
    }

    /// Answers what was asked since the last look. Who is paused or gone answers nothing.
    fn answer_questions(&mut self) {
        for (process, question) in self.world.observer_mut().take_questions() {
            if self.world.process(process.host) == Some(process) {
                self.world.command(process.host, |node, now| node.respond(now, question.token, b"here"));
            }
        }
    }

    /// Tells the checkers that somebody is about to say that a member has left.
    fn dismissing(&mut self, by: HostId, target: HostId) {
        if let Some(process) = self.world.process(by) {
            let (now, name) = (self.world.now(), self.world.name(target).to_owned());
            self.world.observer_mut().see(now, process, Observation::Dismissing { name });
        }
    }
}

pub(super) fn config(scenario: &Scenario, name: String, addr: SocketAddr) -> Config {
    let parameters = &scenario.parameters;
    let mut config = match parameters.profile {
        Profile::Lan => Config::lan(name, addr),
        Profile::Local => Config::local(name, addr),
    };
    config.compression = parameters.compressed;
    if parameters.labelled {
        config.label = "sim".into();
    }
    if parameters.encrypted {
        let key = Key::new(&[7; 32]).expect("invariant: 32 bytes make a key");
        config.keyring = Keyring::new([key]);
    }
    config
}
