//! What Serf's coalescers told, and where ours differs on purpose.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;
use thane_wire::tags;

use super::*;
use crate::event::{Cause, Path};
use crate::member::{Member, State, Status, Versions};

fn recorded() -> Value {
    serde_json::from_str(include_str!("../../tests/vectors/serf/coalesce.json")).unwrap()
}

fn change(name: &str, role: &str) -> Change {
    let own_tags = [("role".to_owned(), role.to_owned())].into();
    let member = Member {
        name: name.into(),
        addr: "127.0.0.1:7946".parse().unwrap(),
        meta: tags::encode(&own_tags).into(),
        status: Status::Alive,
        state: State::Alive,
        state_since: Time::ZERO,
        incarnation: 1,
        status_ltime: 1,
        versions: Versions::default(),
        route: None,
    };
    Change { member, cause: Cause::Announced { incarnation: 1, via: Path::Local } }
}

fn member_event(kind: &str, name: &str, role: &str) -> Event {
    let change = change(name, role);
    match kind {
        "member-join" => Event::Joined(change),
        "member-leave" => Event::Left(change),
        "member-failed" => Event::Failed(change),
        "member-update" => Event::Updated(change),
        "member-reap" => Event::Reaped(change),
        other => panic!("{other}"),
    }
}

fn user(ltime: u64, name: &str, payload: &str, coalesce: bool) -> Event {
    Event::User(UserEvent {
        ltime,
        name: name.into(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        coalesce,
    })
}

fn both() -> Coalescer {
    Coalescer::new(CoalesceConfig { members: Some(Periods::AGENT), user: Some(Periods::AGENT) })
}

fn at(millis: u64) -> Time {
    Time::ZERO + Duration::from_millis(millis)
}

fn polled(coalescer: &mut Coalescer, now: Time) -> Vec<CoalescedEvent> {
    std::iter::from_fn(|| coalescer.poll(now)).collect()
}

/// The events in the form of the recordings, in the order in which they came: `member-join` and its members, `name=role` for updates.
fn shown(events: &[CoalescedEvent]) -> Vec<(&'static str, Vec<String>)> {
    let show = |event: &CoalescedEvent| {
        let CoalescedEvent::Members { kind, changes } = event else { panic!("{event:?}") };
        let names = changes.iter().map(|change| match kind {
            MemberEventKind::Update => format!("{}={}", change.member.name, change.member.tags()["role"]),
            _ => change.member.name.to_string(),
        });
        let kind = match kind {
            MemberEventKind::Join => "member-join",
            MemberEventKind::Leave => "member-leave",
            MemberEventKind::Failed => "member-failed",
            MemberEventKind::Update => "member-update",
            MemberEventKind::Reap => "member-reap",
        };
        (kind, names.collect())
    };
    events.iter().map(show).collect()
}

#[test]
fn members_are_told_as_recorded() {
    let recorded = recorded();
    let cases = recorded["member"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
    let (mut rounds, mut listed) = (0, 0);
    for case in cases {
        let mut coalescer = both();
        for (number, round) in case["rounds"].as_array().unwrap().iter().enumerate() {
            for event in round["in"].as_array().unwrap() {
                let text = |key: &str| event[key].as_str().unwrap();
                coalescer.push(Time::ZERO, member_event(text("event"), text("member"), text("role")));
            }
            coalescer.flush();
            let mut expected: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for (kind, names) in round["flushed"].as_object().unwrap() {
                expected.insert(
                    kind,
                    names.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect(),
                );
            }
            // Serf repeats an update that it has told already. That is its defect, and the one difference.
            if case["name"] == "stale_latest_is_kept" && number == 3 {
                assert_eq!(expected.remove("member-update"), Some(vec!["c=1"]));
                listed += 1;
            }
            rounds += 1;
            let found = shown(&polled(&mut coalescer, Time::ZERO));
            assert_eq!(found.len(), expected.len(), "{case}: {found:?}");
            for (kind, names) in found {
                assert_eq!(names, expected[kind], "{case}");
            }
        }
    }
    let same = rounds - listed;
    eprintln!("compat: coalescing of member events | cases={rounds} same={same} listed={listed}");
}

#[test]
fn user_events_are_told_as_recorded() {
    let recorded = recorded();
    let cases = recorded["user"].as_array().unwrap();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let mut coalescer = both();
        for round in case["rounds"].as_array().unwrap() {
            for event in round["in"].as_array().unwrap() {
                let text = |key: &str| event[key].as_str().unwrap();
                let (ltime, coalesce) =
                    (event["ltime"].as_u64().unwrap(), event["coalesce"].as_bool().unwrap());
                coalescer.push(Time::ZERO, user(ltime, text("name"), text("payload"), coalesce));
                let passed = polled(&mut coalescer, Time::ZERO).len();
                assert_eq!(passed == 0, event["handled"].as_bool().unwrap(), "{event}");
            }
            coalescer.flush();
            let mut found: Vec<String> = polled(&mut coalescer, Time::ZERO)
                .iter()
                .map(|event| {
                    let CoalescedEvent::User(event) = event else { panic!("{event:?}") };
                    format!("{}@{}:{}", event.name, event.ltime, String::from_utf8_lossy(&event.payload))
                })
                .collect();
            found.sort();
            let expected: Vec<&str> = round["flushed_sorted"]
                .as_array()
                .unwrap()
                .iter()
                .map(|event| event.as_str().unwrap())
                .collect();
            assert_eq!(found, expected, "{case}");
        }
    }
    eprintln!("compat: coalescing of user events | cases={0} same={0} listed=0", cases.len());
}

#[test]
fn kinds_and_names_come_in_order() {
    let mut coalescer = both();
    for (kind, name) in [
        ("member-reap", "a"),
        ("member-update", "b"),
        ("member-failed", "d"),
        ("member-failed", "c"),
        ("member-leave", "e"),
        ("member-join", "z"),
    ] {
        coalescer.push(Time::ZERO, member_event(kind, name, "r"));
    }
    let kinds: Vec<_> = shown(&polled(&mut coalescer, at(1000)));
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        kinds,
        [
            ("member-join", names(&["z"])),
            ("member-leave", names(&["e"])),
            ("member-failed", names(&["c", "d"])),
            ("member-update", names(&["b=r"])),
            ("member-reap", names(&["a"])),
        ]
    );
}

#[test]
fn events_wait_for_quiet_and_never_longer_than_the_period() {
    let mut coalescer = both();
    assert_eq!(coalescer.poll_timeout(), Time::NEVER);
    coalescer.push(at(100), member_event("member-join", "a", ""));
    assert_eq!(coalescer.poll_timeout(), at(1100));
    assert_eq!(coalescer.poll(at(1099)), None);
    assert_eq!(polled(&mut coalescer, at(1100)).len(), 1);
    assert_eq!(coalescer.poll_timeout(), Time::NEVER);

    // One every 900 ms: never quiet, so the period since the first ends it.
    for (number, millis) in [5000, 5900, 6800, 7700].into_iter().enumerate() {
        coalescer.push(at(millis), member_event("member-join", &format!("m{number}"), ""));
        assert_eq!(coalescer.poll(at(millis)), None);
    }
    assert_eq!(coalescer.poll_timeout(), at(8000));
    let told = shown(&polled(&mut coalescer, at(8000)));
    assert_eq!(told[0].1, ["m0", "m1", "m2", "m3"]);

    // The stages wait each for itself.
    coalescer.push(at(9000), user(1, "deploy", "", true));
    coalescer.push(at(9500), member_event("member-failed", "a", ""));
    assert!(matches!(polled(&mut coalescer, at(10_000))[..], [CoalescedEvent::User(_)]));
    assert!(matches!(polled(&mut coalescer, at(10_500))[..], [CoalescedEvent::Members { .. }]));
}

#[test]
fn a_member_that_fails_and_returns_within_the_window_is_not_told() {
    let mut coalescer = both();
    coalescer.push(at(0), member_event("member-join", "a", ""));
    assert_eq!(polled(&mut coalescer, at(1000)).len(), 1);
    coalescer.push(at(5000), member_event("member-failed", "a", ""));
    coalescer.push(at(5900), member_event("member-join", "a", ""));
    // Its last state is the one that was told, as in Serf; the window ends, and the next failure is told.
    assert_eq!(polled(&mut coalescer, at(6900)), []);
    assert_eq!(coalescer.poll_timeout(), Time::NEVER);
    coalescer.push(at(9000), member_event("member-failed", "a", ""));
    assert_eq!(shown(&polled(&mut coalescer, at(10_000))), [("member-failed", vec!["a".to_owned()])]);
}

#[test]
fn a_window_that_is_over_takes_no_late_event() {
    let mut coalescer = both();
    coalescer.push(at(0), member_event("member-join", "a", ""));
    // Nobody polled in time; the update is the first of the next window all the same, and does not hide the join.
    coalescer.push(at(1500), member_event("member-update", "a", "x"));
    assert_eq!(shown(&polled(&mut coalescer, at(1500))), [("member-join", vec!["a".to_owned()])]);
    assert_eq!(coalescer.poll_timeout(), at(2500));
}

#[test]
fn other_events_overtake_those_that_are_held() {
    let mut coalescer = both();
    coalescer.push(Time::ZERO, member_event("member-join", "a", ""));
    coalescer.push(Time::ZERO, Event::Suspected(change("b", "")));
    coalescer.push(Time::ZERO, Event::Refuted(change("b", "")));
    coalescer.push(Time::ZERO, user(1, "deploy", "", false));
    assert!(matches!(
        polled(&mut coalescer, Time::ZERO)[..],
        [
            CoalescedEvent::Pass(Event::Suspected(_)),
            CoalescedEvent::Pass(Event::Refuted(_)),
            CoalescedEvent::User(_)
        ]
    ));
}

#[test]
fn a_stage_without_periods_passes_everything() {
    let zero = Periods { coalesce: Duration::from_secs(3), quiescent: Duration::ZERO };
    for stage in [None, Some(zero)] {
        let mut coalescer = Coalescer::new(CoalesceConfig { members: stage, user: stage });
        coalescer.push(Time::ZERO, member_event("member-join", "a", ""));
        coalescer.push(Time::ZERO, member_event("member-join", "a", ""));
        coalescer.push(Time::ZERO, user(1, "deploy", "", true));
        assert_eq!(polled(&mut coalescer, Time::ZERO).len(), 3, "{stage:?}");
        assert_eq!(coalescer.poll_timeout(), Time::NEVER);
    }
}

#[test]
fn what_is_remembered_stays_bounded() {
    let mut coalescer = both();
    for number in 0..members::HELD_MAX {
        coalescer.push(Time::ZERO, member_event("member-failed", &format!("m{number:05}"), ""));
    }
    // So many at once do not wait.
    let told = shown(&polled(&mut coalescer, Time::ZERO));
    assert_eq!(told[0].1.len(), members::HELD_MAX);
    // Those who are forgotten by the cluster are forgotten here.
    for number in 0..members::HELD_MAX {
        coalescer.push(Time::ZERO, member_event("member-reap", &format!("m{number:05}"), ""));
    }
    assert_eq!(shown(&polled(&mut coalescer, Time::ZERO))[0].1.len(), members::HELD_MAX);
    assert_eq!(coalescer.members.as_ref().unwrap().1.remembered(), 0);

    for ltime in 0..user::HELD_MAX as u64 {
        coalescer.push(Time::ZERO, user(7, "deploy", &ltime.to_string(), true));
    }
    assert_eq!(polled(&mut coalescer, Time::ZERO).len(), user::HELD_MAX);
    assert_eq!(coalescer.poll_timeout(), Time::NEVER);
}
