//! Each checker is proven: a run that keeps all rules is shown to it with one bug planted, and it must object.

use std::time::Duration;

use thane_core::{Event, LifeState, Replay, State, Status, StopReason, Time};
use thane_sim::check::Observation;
use thane_sim::{
    Action, Ending, Failure, FailureCause, HostId, Parameters, Planned, ProcessId, Profile, Quality, Report,
    Rules, Scenario, World,
};

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u32) -> Time {
    Time::ZERO + SECOND * seconds
}

/// Four hosts; events and tags at 15 s; the third crashes and comes back; the fourth leaves at 60 s for good.
fn scenario() -> Scenario {
    let mut world = World::new(0, Quality::good());
    let hosts: Vec<HostId> = (0..4).map(|number| world.add_lan_host(&format!("n{number}"))).collect();
    let planned = |seconds, action| Planned { at: at(seconds), action };
    let mut plan: Vec<Planned> = hosts.iter().map(|host| planned(0, Action::Start(*host))).collect();
    plan.push(planned(15, Action::UserEvent(hosts[1])));
    plan.push(planned(15, Action::SetTags(hosts[0])));
    plan.push(planned(20, Action::Crash(hosts[2], thane_sim::Crash::Process)));
    plan.push(planned(45, Action::Start(hosts[2])));
    plan.push(planned(60, Action::Leave(hosts[3])));
    let parameters = Parameters {
        seed: 1,
        hosts: 4,
        profile: Profile::Lan,
        rules: Rules::Thane,
        encrypted: false,
        labelled: false,
        compressed: false,
        replay: Replay::Ignore,
        faults_from: Time::ZERO,
        faults_until: at(90),
        quality: Quality::good(),
    };
    Scenario { parameters, plan }
}

/// What a planted bug does to what the checkers see.
trait Lie: FnMut(Time, ProcessId, &mut Observation) -> bool + Clone + Send + 'static {}
impl<T: FnMut(Time, ProcessId, &mut Observation) -> bool + Clone + Send + 'static> Lie for T {}

fn run(lie: impl Lie) -> Result<Report, Box<Failure>> {
    scenario().run_with(&move |world| world.observer_mut().tamper(Box::new(lie.clone())))
}

/// Plants a bug and gives the words of the rule that it broke.
fn broken(lie: impl Lie) -> String {
    let failure = match run(lie) {
        Ok(report) => panic!("no checker saw the planted bug: {report:?}"),
        Err(failure) => failure,
    };
    match failure.cause {
        FailureCause::Violation(violation) => violation.rule.to_owned(),
        FailureCause::Disagreement { about, differences, .. } => {
            format!("{about}: {}", differences.join("; "))
        }
        FailureCause::Panic(message) => panic!("{message}"),
    }
}

fn is_host(process: ProcessId, index: usize) -> bool {
    process.host.index() == index
}

#[test]
fn without_a_planted_bug_nobody_objects() {
    if let Err(failure) = run(|_, _, _| true) {
        panic!("{failure}");
    }
}

#[test]
fn a_node_that_believes_itself_failed_is_caught() {
    let rule = broken(|now, process, seen| {
        if let Observation::State { local, .. } = seen
            && is_host(process, 1)
            && now > at(10)
        {
            local.status = Status::Failed;
        }
        true
    });
    assert_eq!(rule, "a node's own view of itself never fails while it runs");
}

#[test]
fn a_node_that_believes_itself_suspect_is_caught() {
    let rule = broken(|_, process, seen| {
        if let Observation::State { local, life: LifeState::Alive, .. } = seen
            && is_host(process, 0)
        {
            local.state = State::Suspect;
        }
        true
    });
    assert_eq!(rule, "a node's own view of itself never fails while it runs");
}

#[test]
fn an_incarnation_that_falls_is_caught() {
    let rule = broken(|now, process, seen| {
        if let Observation::View(view) = seen
            && is_host(process, 1)
            && now > at(12)
        {
            view.iter_mut().filter(|member| &*member.name == "n0").for_each(|member| member.incarnation = 0);
        }
        true
    });
    assert_eq!(
        rule,
        "the incarnation that a node holds of a member never falls while it remembers the member"
    );
}

#[test]
fn a_lamport_clock_that_falls_is_caught() {
    for clock in 0..3 {
        let rule = broken(move |now, process, seen| {
            if let Observation::State { stats, .. } = seen
                && is_host(process, 1)
            {
                let high = if now < at(16) { 1000 } else { 0 };
                match clock {
                    0 => stats.member_time = high,
                    1 => stats.event_time = high,
                    _ => stats.query_time = high,
                }
            }
            true
        });
        assert_eq!(rule, "Lamport clocks never fall", "clock {clock}");
    }
}

#[test]
fn a_node_that_stops_itself_is_caught() {
    let rule = broken(|now, _, seen| {
        if now > at(5) {
            *seen = Observation::AskedToStop(StopReason::NameConflict { matching: 0, responses: 3 });
        }
        true
    });
    assert_eq!(rule, "a node does not stop itself while its name is its own");
}

#[test]
fn an_event_that_is_delivered_twice_is_caught() {
    let mut kept = None;
    let rule = broken(move |now, process, seen| {
        if is_host(process, 0) {
            match (&*seen, &kept) {
                (Observation::Told(Event::User(_)), None) => kept = Some(seen.clone()),
                (Observation::State { .. }, Some(event)) if now > at(18) => *seen = event.clone(),
                _ => {}
            }
        }
        true
    });
    assert_eq!(rule, "each process delivers each user event at most once");
}

#[test]
fn an_event_that_nobody_sent_or_whose_time_changed_is_caught() {
    let rule = "a user event that is delivered was sent by somebody, exactly so";
    let name = broken(|_, _, seen| {
        if let Observation::Told(Event::User(event)) = seen {
            event.name = "forged".into();
        }
        true
    });
    assert_eq!(name, rule);
    let time = broken(|_, process, seen| {
        if let Observation::Told(Event::User(event)) = seen
            && is_host(process, 0)
        {
            event.ltime += 1;
        }
        true
    });
    assert_eq!(time, rule);
}

#[test]
fn every_size_over_its_limit_is_caught() {
    for which in 0..7 {
        let rule = broken(move |_, process, seen| {
            if let Observation::State { stats, .. } = seen
                && is_host(process, 1)
            {
                match which {
                    0 => stats.members = 5,
                    1 => stats.live = 5,
                    2 => stats.membership_queue = 5,
                    3 => stats.intent_queue = 9000,
                    4 => stats.event_queue = 9000,
                    5 => stats.query_queue = 9000,
                    _ => stats.health_score = 8,
                }
            }
            true
        });
        assert_eq!(rule, "queues and tables stay within their limits", "size {which}");
    }
}

#[test]
fn whatever_the_core_itself_says_is_over_its_limit_is_caught() {
    let mut world = World::new(0, Quality::good());
    let host = world.add_lan_host("n0");
    world.start(host);
    let count = world.node(host).map_or(0, |node| node.occupancy().count());
    assert!(count > 10, "{count}");
    for which in 0..count {
        let rule = broken(move |_, process, seen| {
            if let Observation::Sizes(sizes) = seen
                && is_host(process, 1)
            {
                sizes[which].held = sizes[which].limit + 1;
            }
            true
        });
        assert_eq!(rule, "queues and tables stay within their limits", "size {which}");
    }
}

/// Changes what host 1 believes about a member, in the end only: checkers that look on all the time shall not see it first.
fn believes(name: &'static str, change: impl Fn(&mut thane_core::Member) + Clone + Send + 'static) -> String {
    broken(move |now, process, seen| {
        if let Observation::View(view) = seen
            && is_host(process, 1)
            && now > at(85)
        {
            view.iter_mut().filter(|member| &*member.name == name).for_each(&change);
        }
        true
    })
}

#[test]
fn views_that_are_wrong_in_the_end_are_caught() {
    let of = |text: String, part: &str| assert!(text.contains(part), "{text:?} does not say {part:?}");
    of(believes("n2", |member| member.status = Status::Failed), "n1 about n2, which runs: failed / alive");
    of(believes("n2", |member| member.status = Status::Leaving), "n1 about n2, which runs: leaving");
    of(believes("n2", |member| member.state = State::Suspect), "n1 about n2, which runs: alive / suspect");
    of(believes("n2", |member| member.incarnation += 1), "n1 about n2, which runs: incarnation");
    of(believes("n0", |member| member.meta = "x".into()), "n1 about n0, which runs: tags");
    of(believes("n2", |member| member.addr.set_port(1)), "n1 about n2, which runs: at");
    of(believes("n3", |member| member.status = Status::Alive), "n1 believes n3 alive");
    of(believes("n3", |member| member.status = Status::Failed), "opinions about n3 differ");
    of(believes("n3", |member| member.name = "ghost".into()), "n1 lists ghost, which never was");
    // It says that it looks for it, so that it is not found to have given it up before.
    let unknown = broken(|now, process, seen| {
        match seen {
            Observation::View(view) if is_host(process, 1) && now > at(85) => {
                view.retain(|member| &*member.name != "n2");
            }
            Observation::Seeking(names) => names.push("n2".into()),
            _ => {}
        }
        true
    });
    of(unknown, "n1 does not know n2, which runs");
}

#[test]
fn a_crash_that_is_taken_for_a_leave_is_caught() {
    // n3 is made to have crashed: that all call it left is then wrong.
    let text = broken(|_, _, seen| {
        if let Observation::View(view) = seen {
            view.iter_mut()
                .filter(|member| member.status == Status::Failed)
                .for_each(|member| member.status = Status::Left);
        }
        !matches!(seen, Observation::Stopped(Ending::Left))
    });
    assert!(text.contains("left / "), "{text}");
}

#[test]
fn an_event_that_one_node_never_hears_is_caught() {
    let text = broken(|_, process, seen| {
        !(is_host(process, 0) && matches!(seen, Observation::Told(Event::User(_))))
    });
    assert!(text.starts_with("user events: host 0 life 1 missed user event"), "{text}");
}
