//! One run of a setup: the world, what is done to it and when, and the report.

mod begin;
mod finish;

use std::collections::BTreeMap;
use std::time::Duration;

use thane_core::{QueryParams, Replay, Tags, Time};

use super::fault::{FaultKind, Target};
use super::meter::{Doubtful, Meter, Seat, event_name};
use super::report::{Alarms, FaultMark, Report, Sample};
use super::setup::{End, Setup, SetupError, Start};
use crate::check::Observation;
use crate::network::FaultId;
use crate::rng::SimRng;
use crate::world::{Crash, HostId, Observer as _, World};

/// How long an application waits before it tries again to join.
const RETRY_JOIN: Duration = Duration::from_secs(5);
/// How long after a member has come back, or a cut was over, the news of its end may still go round.
const NEWS_LASTS: Duration = Duration::from_secs(60);
/// How long after a pause, or a fault of its line, a member is not taken for well.
const TROUBLE_HANGS_OVER: Duration = Duration::from_secs(10);
/// As often as this the run looks up: at alarms, and whether somebody wants it to stop.
const SLICE: Duration = Duration::from_millis(100);
/// Samples that are kept; if there are more, two become one.
const SAMPLES_MAX: usize = 600;
/// Faults that are told in a report.
const MARKS_MAX: usize = 500;

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Whether the cluster is still forming, before its clock starts.
    pub is_forming: bool,
    /// Virtual time since the clock started, or since forming began.
    pub now: Duration,
    /// How long the run takes at most, forming not counted.
    pub of: Duration,
    /// Members that are up.
    pub up: usize,
    /// Members whose list is not right.
    pub differing: usize,
}

/// Runs a setup once. `progress` is told how far it is, many times; if it gives false, the run ends with what was measured so far.
///
/// # Errors
/// When something is missing in the setup.
pub fn run(
    setup: &Setup,
    seed: u64,
    progress: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Report, SetupError> {
    setup.complete()?;
    let mut play = Play::new(setup, seed);
    play.form(progress);
    play.go_on(progress);
    Ok(play.finish())
}

/// Something that will be done.
#[derive(Debug)]
enum Step {
    /// A fault begins.
    Fault(usize),
    /// A fault of some members or of their ways ends.
    Mend {
        fault: usize,
        hosts: Vec<HostId>,
        link: Option<FaultId>,
    },
    /// A process starts (again) and joins.
    Start {
        host: HostId,
        is_return: bool,
    },
    /// A process that has found nobody tries again.
    Retry(HostId),
    /// A fault that ends by itself is over.
    Over,
    /// The next member of a rolling restart has its turn.
    Turn {
        fault: usize,
        left: Vec<HostId>,
    },
    Event,
    Tags,
    Query,
    /// A member goes, gracefully or not.
    Churn {
        graceful: bool,
    },
}

struct Play<'a> {
    setup: &'a Setup,
    world: World<Meter>,
    rng: SimRng,
    /// Where the clocks' errors come from.
    clocks: SimRng,
    /// What will be done, in order of time and then of planning.
    agenda: BTreeMap<(Time, u64), Step>,
    planned: u64,
    /// When the clock started.
    zero: Time,
    formed_before: Option<Duration>,
    interrupted: bool,
    alarms: Alarms,
    marks: Vec<FaultMark>,
    samples: Vec<Sample>,
    /// Members that have joined since, beyond the first ones.
    joined: usize,
    /// The hosts of byzantine peers.
    liars: Vec<HostId>,
    /// Virtual time from one sample to the next.
    pitch: Duration,
    next_sample: Time,
    next_second: Time,
    /// All bytes sent until the last second began.
    bytes_before: u64,
    peak_bytes: f64,
    sizes: std::collections::BTreeSet<u32>,
    /// Whether something goes wrong for good, so that the run never settles.
    for_good: bool,
    tags_set: u64,
    /// Up members' seconds, for rates.
    member_seconds: f64,
    payload: Vec<u8>,
}

impl Play<'_> {
    fn plan(&mut self, at: Time, step: Step) {
        self.agenda.insert((at, self.planned), step);
        self.planned += 1;
    }

    fn meter(&mut self) -> &mut Meter {
        self.world.observer_mut()
    }

    /// Runs to the end, or until somebody wants no more.
    fn go_on(&mut self, progress: &mut dyn FnMut(&Progress) -> bool) {
        let end = self.zero + self.setup.duration;
        while self.world.now() < end && !self.interrupted && !self.world.observer().halted() {
            let step_at = self.agenda.first_key_value().map_or(Time::NEVER, |((at, _), _)| *at);
            let until =
                step_at.min(self.next_sample).min(self.next_second).min(self.world.now() + SLICE).min(end);
            let before = self.world.now();
            self.world.run_to(until);
            self.member_seconds += until.since(before).as_secs_f64() * self.meter().up() as f64;
            self.judge();
            self.take_samples();
            while self.agenda.first_key_value().is_some_and(|((at, _), _)| *at <= until) {
                if let Some((_, step)) = self.agenda.pop_first() {
                    self.act(step);
                }
            }
            self.interrupted = !progress(&self.how_far(false));
            if self.setup.end == End::Agreed && self.is_settled() {
                return;
            }
        }
    }

    fn how_far(&self, is_forming: bool) -> Progress {
        let meter = self.world.observer();
        let now = self.world.now().since(self.zero);
        let (up, differing) = (meter.up(), meter.differing());
        Progress { is_forming, now, of: self.setup.duration, up, differing }
    }

    /// Whether nothing more will happen and all views are right.
    fn is_settled(&self) -> bool {
        let is_load = |step: &Step| matches!(step, Step::Event | Step::Tags | Step::Query | Step::Retry(_));
        // The agenda may be long, and is looked at last.
        !self.for_good
            && self.world.observer().all_agreed()
            && self.world.observer().agrees()
            && self.agenda.values().all(is_load)
    }

    // ---- measuring ----

    fn take_samples(&mut self) {
        let now = self.world.now();
        if now >= self.next_second {
            let sizes: Vec<u32> = self.meter().sizes().collect();
            self.sizes.extend(sizes);
            let (total, up) = (self.meter().bytes, self.meter().up().max(1));
            let span = 1.0 + now.since(self.next_second).as_secs_f64();
            self.peak_bytes = self.peak_bytes.max((total - self.bytes_before) as f64 / up as f64 / span);
            self.bytes_before = total;
            self.next_second = now + Duration::from_secs(1);
        }
        if now < self.next_sample {
            return;
        }
        let zero = self.zero;
        let sample = self.meter().sample(now, zero);
        self.samples.push(sample);
        if self.samples.len() >= SAMPLES_MAX {
            let pairs = self.samples.chunks(2).map(|pair| {
                let mut both = pair[0];
                pair[1..].iter().for_each(|next| both.absorb(next));
                both
            });
            self.samples = pairs.collect();
            self.pitch *= 2;
        }
        self.next_sample = now + self.pitch;
    }

    /// Tells wrong failures from those that were to be expected.
    fn judge(&mut self) {
        for doubtful in std::mem::take(&mut self.meter().doubtful) {
            let Doubtful { at, by, about } = doubtful;
            let connected = self.world.network_mut().connects(HostId(by), HostId(about));
            let recently = |time: Option<Time>, span| time.is_some_and(|time| at.since(time) < span);
            let meter = self.world.observer();
            let (seat, judge) = (&meter.seats[about as usize], &meter.seats[by as usize]);
            if seat.paused_until.is_some_and(|until| at < until) {
                self.alarms.paused += 1;
            } else if !connected {
                self.alarms.cut_off += 1;
            } else if (seat.was_down && at.since(seat.up_since) < NEWS_LASTS)
                || recently(seat.cut_until, NEWS_LASTS)
            {
                self.alarms.outdated += 1;
            } else if is_impaired(seat, at) {
                self.alarms.impaired += 1;
            } else {
                let is_healthy = !is_impaired(judge, at);
                self.alarms.wrong += 1;
                self.alarms.wrong_at_healthy += u64::from(is_healthy);
                self.meter().was_wrong(doubtful);
            }
        }
    }

    // ---- doing ----

    fn act(&mut self, step: Step) {
        let now = self.world.now();
        match step {
            Step::Fault(fault) => self.begin(fault),
            Step::Mend { fault, hosts, link } => {
                if let Some(link) = link {
                    self.world.end_fault(link);
                }
                for host in hosts.iter().filter(|host| self.liars.contains(host)) {
                    self.world.end_byzantine_on(*host);
                }
                self.mended(self.setup.faults[fault].kind, &hosts, now);
                let title = self.setup.faults[fault].title();
                self.meter().changed(format!("end of {title}"), now);
            }
            Step::Start { host, is_return } => self.start(host, is_return),
            Step::Retry(host) => {
                if self.world.node(host).is_some_and(|node| node.stats().live == 1) {
                    self.join(host);
                }
            }
            // That it was planned has kept the run from ending before.
            Step::Over => {}
            Step::Turn { fault, left } => self.turn(fault, left),
            Step::Event => {
                self.send_event();
                self.again(self.setup.load.events, Step::Event);
            }
            Step::Tags => {
                self.update_tags();
                self.again(self.setup.load.tags, Step::Tags);
            }
            Step::Query => {
                self.ask();
                self.again(self.setup.load.queries, Step::Query);
            }
            Step::Churn { graceful } => {
                for host in self.pick(&Target::Count(1)) {
                    self.take_away(host, graceful, Crash::Process, Some(self.setup.load.away));
                    self.meter().changed("churn".to_owned(), now);
                }
                self.again(self.setup.load.churn, Step::Churn { graceful: !graceful });
            }
        }
    }

    /// What is known of members' lines from now on, after the end of a fault of `hosts`.
    fn mended(&mut self, kind: FaultKind, hosts: &[HostId], now: Time) {
        if matches!(kind, FaultKind::Byzantine { .. }) {
            // Nothing was wrong with the members or with their lines.
            return;
        }
        for host in hosts {
            let seat = &mut self.meter().seats[host.index()];
            seat.impairments = seat.impairments.saturating_sub(1);
            match kind {
                FaultKind::Flapping | FaultKind::Deaf | FaultKind::Mute => seat.cut_until = Some(now),
                _ => seat.impaired_until = Some(now),
            }
        }
        if kind == FaultKind::Partition {
            // Each side has declared the other failed.
            self.meter().seats.iter_mut().for_each(|seat| seat.cut_until = Some(now));
        }
    }

    /// Plans what happens at this rate, a little irregularly.
    fn again(&mut self, rate: f64, step: Step) {
        if rate > 0.0 {
            let span = Duration::from_secs_f64((0.5 + self.rng.unit()) / rate);
            let at = self.world.now() + span;
            self.plan(at, step);
        }
    }

    /// Draws members that are up and not paused, in order of the draw.
    fn pick(&mut self, target: &Target) -> Vec<HostId> {
        if let Target::Node(number) = target {
            let host = HostId(*number as u32 - 1);
            let is_up = self.meter().seats.get(host.index()).is_some_and(|seat| seat.is_up);
            return if is_up { vec![host] } else { Vec::new() };
        }
        let world = &self.world;
        let seats = world.observer().seats.iter().zip(0..);
        let mut there: Vec<HostId> = seats
            .filter(|(seat, _)| seat.is_up)
            .map(|(_, number)| HostId(number))
            .filter(|host| !world.is_paused(*host))
            .collect();
        let count = target.count(self.setup.nodes).min(there.len());
        for index in 0..count {
            let other = index + self.rng.below(there.len() - index);
            there.swap(index, other);
        }
        there.truncate(count);
        there
    }

    fn start(&mut self, host: HostId, is_return: bool) {
        let now = self.world.now();
        if self.world.node(host).is_some() {
            // Its leave is not complete yet.
            self.plan(now + Duration::from_secs(1), Step::Start { host, is_return });
            return;
        }
        if is_return {
            self.meter().changed("return of members".to_owned(), now);
        }
        if is_return && self.setup.snapshots {
            // It looks for the others itself, as long as its snapshot names some.
            self.world.restart(host);
            self.plan(now + RETRY_JOIN, Step::Retry(host));
        } else {
            self.world.start(host);
            self.join(host);
        }
    }

    /// Lets a process join through members that are up: the first while the cluster comes to be, otherwise up to three by chance.
    fn join(&mut self, host: HostId) {
        let now = self.world.now();
        let is_founder = self.setup.start != Start::Formed
            && host.index() < self.setup.nodes
            && self.world.process(host).is_some_and(|process| process.life == 1);
        if is_founder && host == HostId(0) {
            return;
        }
        let through = if is_founder && self.meter().seats.first().is_some_and(|first| first.is_up) {
            vec![HostId(0)]
        } else {
            let mut some = self.pick(&Target::Count(4));
            some.retain(|other| *other != host);
            some.truncate(3);
            some
        };
        if !through.is_empty() {
            let addrs: Vec<_> = through.iter().map(|other| self.world.addr(*other)).collect();
            // A node that leaves or has stopped does not join, and that is right.
            let _refused = self.world.command(host, |node, now| node.join(now, &addrs, Replay::Ignore));
        }
        self.plan(now + RETRY_JOIN, Step::Retry(host));
    }

    /// A member goes away, and comes back after this time if there is one.
    fn take_away(&mut self, host: HostId, graceful: bool, crash: Crash, back: Option<Duration>) {
        let now = self.world.now();
        if graceful {
            let (process, name) = (self.world.process(host), self.world.name(host).to_owned());
            self.meter().show(now, process, || Observation::Dismissing { name });
            self.meter().leaving(host.0, now);
            // A node that is leaving already goes on with that.
            let _refused = self.world.leave(host);
        } else {
            self.meter().crashing(host.0, now, crash == Crash::Machine);
            self.world.crash(host, crash);
        }
        if let Some(back) = back {
            self.plan(now + back, Step::Start { host, is_return: true });
        }
    }

    fn send_event(&mut self) {
        let now = self.world.now();
        if let Some(&host) = self.pick(&Target::Count(1)).first() {
            let number = self.meter().sending(now);
            let (name, payload) = (event_name(number), self.payload.clone());
            let process = self.world.process(host);
            let sent = (name.clone(), payload.clone());
            self.meter().show(now, process, || Observation::Sending { name: sent.0, payload: sent.1.into() });
            // Over the limit of this setup's nodes, nothing is sent, and the report shows that nobody got it.
            let _refused = self.world.command(host, |node, now| node.user_event(now, &name, &payload, false));
        }
    }

    fn update_tags(&mut self) {
        if let Some(&host) = self.pick(&Target::Count(1)).first() {
            self.tags_set += 1;
            let tags = Tags::from([("version".to_owned(), self.tags_set.to_string())]);
            let _refused = self.world.command(host, |node, now| node.set_tags(now, tags));
        }
    }

    fn ask(&mut self) {
        let now = self.world.now();
        if let Some(&host) = self.pick(&Target::Count(1)).first() {
            let params = QueryParams { request_ack: true, ..QueryParams::default() };
            let asked = self.world.command(host, |node, now| node.query(now, "lab", b"", &params));
            if let Some(Ok(query)) = asked {
                self.meter().asked(host.0, query, now);
            }
        }
    }
}

/// Whether a member's own trouble may be why it is taken for failed, or takes others for it.
fn is_impaired(seat: &Seat, at: Time) -> bool {
    let recently = |until: Option<Time>| until.is_some_and(|until| at.since(until) < TROUBLE_HANGS_OVER);
    seat.impairments > 0 || recently(seat.paused_until) || recently(seat.impaired_until)
}

#[cfg(test)]
mod tests {
    use thane_core::{Event, Output};

    use super::*;
    use crate::sabotage::Saboteur;
    use crate::world::ProcessId;

    /// Tells its application each user event twice.
    #[derive(Debug)]
    struct Repeats;

    impl Saboteur for Repeats {
        fn puts_out(&mut self, _: Time, _: ProcessId, output: Output) -> Vec<Output> {
            let is_event = matches!(output, Output::Event(Event::User(_)));
            if is_event { vec![output.clone(), output] } else { vec![output] }
        }
    }

    #[test]
    fn a_rule_that_is_broken_ends_the_run_and_is_told() {
        for (rules, broken) in [(true, true), (false, false)] {
            let setup = format!("nodes=5, events=1, duration=30s, rules={rules}");
            let setup = Setup::parse(&setup).unwrap_or_else(|wrong| panic!("{wrong}"));
            let mut play = Play::new(&setup, 1);
            play.form(&mut |_| true);
            play.world.sabotage(HostId(2), Repeats);
            play.go_on(&mut |_| true);
            let report = play.finish();
            assert_eq!(report.seconds < 20.0, broken, "{} s", report.seconds);
            let told = report.broken_rule.map(|it| (it.member, it.rule));
            let rule = "each process delivers each user event at most once".to_owned();
            assert_eq!(told, broken.then(|| ("node-3".to_owned(), rule)));
        }
    }
}
