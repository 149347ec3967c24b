use thane::{ProbeFailure, Relay, Status};

use super::*;
use crate::agent::event::tests::member;

fn people() -> People {
    People {
        own: "a".to_owned(),
        by_addr: BTreeMap::from([("10.0.0.2:7946".parse().unwrap(), "b".to_owned())]),
        by_ip: BTreeMap::from([
            ("10.0.0.2".parse().unwrap(), Some("b".to_owned())),
            ("10.0.0.9".parse().unwrap(), None),
        ]),
    }
}

fn evidence(state: State, cause: Cause) -> Evidence {
    Evidence { at: Time::ZERO, state, incarnation: 4, cause, health: 0, rtt: None }
}

fn packet(from: &str) -> Path {
    Path::Packet(from.parse().unwrap())
}

/// After a refused connection nobody is asked to say that it hears nothing.
#[test]
fn relays_that_were_not_asked_to_say_so_are_not_called_silent() {
    let relay = |name: &str| Relay { name: name.into(), asked_to_nack: false, nacked: false };
    let failure = ProbeFailure {
        sent: Time::ZERO,
        relays: vec![relay("c"), relay("d")],
        nacks: 0,
        tcp: TcpProbe::Refused,
        health: 0,
    };
    let it = evidence(State::Suspect, Cause::ProbeFailed(failure));
    assert_eq!(
        words::sentence(&it, Some(State::Alive), &people()),
        "no answer to a's own probe: none to a ping over UDP; none through c and d; TCP was refused"
    );
}

#[test]
fn each_cause_has_a_sentence_and_a_kind() {
    let probe = |relays: usize, nacks: u32, tcp, health| {
        let relays: Vec<Relay> = ["c", "d", "e"][..relays]
            .iter()
            .zip(0..)
            .map(|(name, at)| Relay { name: (*name).into(), asked_to_nack: true, nacked: at < nacks })
            .collect();
        Cause::ProbeFailed(ProbeFailure { sent: Time::ZERO, relays, nacks, tcp, health })
    };
    let via = packet("10.0.0.2:7946");
    let expired = Cause::SuspicionExpired {
        accusers: vec!["a".into(), "b".into()],
        since: Time::ZERO,
        timeout: Duration::from_millis(4_200),
    };
    for (cause, before, state, kind_wanted, text) in [
        (Cause::Started, None, State::Alive, "started", "the agent started"),
        (
            Cause::Announced { incarnation: 1, via: Path::PushPull("10.0.0.2:40000".parse().unwrap()) },
            None,
            State::Alive,
            "joined",
            "joined with incarnation 1, heard in a state exchange with b (10.0.0.2:40000)",
        ),
        (
            Cause::Announced { incarnation: 5, via },
            Some(State::Suspect),
            State::Alive,
            "refuted",
            "refuted the suspicion with incarnation 5, heard in a packet from b (10.0.0.2:7946)",
        ),
        (
            Cause::Announced { incarnation: 5, via: packet("10.0.0.9:1") },
            Some(State::Dead),
            State::Alive,
            "came-back",
            "came back with incarnation 5, heard in a packet from 10.0.0.9:1",
        ),
        (
            Cause::Refuted { by: Some("b".into()), incarnation: 3, via },
            Some(State::Alive),
            State::Alive,
            "refuted",
            "b accused it (this agent) under incarnation 3, heard in a packet from b (10.0.0.2:7946); it refuted with incarnation 4",
        ),
        (
            probe(3, 3, TcpProbe::Refused, 0),
            Some(State::Alive),
            State::Suspect,
            "probe-failed",
            "no answer to a's own probe: none to a ping over UDP; c, d and e heard nothing either when asked to probe it for us; TCP was refused",
        ),
        (
            probe(3, 1, TcpProbe::NoAnswer, 2),
            Some(State::Alive),
            State::Suspect,
            "probe-failed",
            "no answer to a's own probe: none to a ping over UDP; c heard nothing either, and d and e said nothing at all, when asked to probe it for us; no answer over TCP; a's own health score was 2 then",
        ),
        (
            probe(0, 0, TcpProbe::NotTried, 0),
            Some(State::Alive),
            State::Suspect,
            "probe-failed",
            "no answer to a's own probe: none to a ping over UDP; nobody else could be asked; TCP was not tried",
        ),
        (
            Cause::Accused { by: "b".into(), incarnation: 4, via },
            Some(State::Suspect),
            State::Suspect,
            "accused",
            "b confirms the suspicion (incarnation 4), heard in a packet from b (10.0.0.2:7946)",
        ),
        (
            expired,
            Some(State::Suspect),
            State::Dead,
            "suspicion-expired",
            "it did not refute within 4.2s, so a declared it failed; accused by a, b",
        ),
        (
            Cause::LeaveIntent { ltime: 7, via },
            Some(State::Dead),
            State::Dead,
            "leave-intent",
            "somebody force-left it (Lamport time 7; the message does not say who), heard in a packet from b (10.0.0.2:7946)",
        ),
        (
            Cause::LeaveIntent { ltime: 7, via },
            Some(State::Alive),
            State::Alive,
            "leave-intent",
            "it leaves, or somebody force-leaves it (Lamport time 7; the message does not say which), heard in a packet from b (10.0.0.2:7946)",
        ),
    ] {
        assert_eq!(kind(&cause, before), kind_wanted, "{cause:?}");
        assert_eq!(words::sentence(&evidence(state, cause), before, &people()), text);
    }
}

#[test]
fn a_verdict_by_refusals_names_them_and_the_accusers() {
    let accusers = vec!["a".into(), "b".into(), "c".into()];
    let cause = Cause::Refused { refusals: 2, since: Time::ZERO, accusers };
    assert_eq!(kind(&cause, Some(State::Suspect)), "connections-refused");
    let mut verdict = evidence(State::Dead, cause);
    verdict.at = Time::from_start(Duration::from_millis(275));
    assert_eq!(
        words::sentence(&verdict, Some(State::Suspect), &people()),
        "it refused 2 connections within 275ms and answered no ping, so a declared it failed; accused by a, b, c"
    );
}

#[test]
fn a_member_that_answers_too_seldom_is_told_apart_from_one_that_is_gone() {
    let unsteady = evidence(State::Alive, Cause::Unsteady { by: vec!["c".into(), "d".into()] });
    assert_eq!(kind(&unsteady.cause, Some(State::Alive)), "unsteady");
    assert_eq!(
        words::sentence(&unsteady, Some(State::Alive), &people()),
        "it answers only few pings, so a takes it for failed; c, d found so"
    );
    let steady = evidence(State::Alive, Cause::Steady { after: Duration::from_secs(40) });
    assert_eq!(kind(&steady.cause, Some(State::Alive)), "steady-again");
    assert_eq!(
        words::sentence(&steady, Some(State::Alive), &people()),
        "it answers again, after 40s in which it did so too seldom"
    );
    // While it is held for that it lives. If its process ends then, that is what counts.
    let mut member = member("b", "10.0.0.2", &[]);
    member.status = Status::Failed;
    let told = |member: &Member, known: &[Evidence]| advice::advice(member, known, 0, "a").join(" ");
    let advice = told(&member, std::slice::from_ref(&unsteady));
    assert!(advice.contains("b lives, but c, d found that most pings"), "{advice}");
    member.state = State::Dead;
    let refused = Cause::Refused { refusals: 2, since: Time::ZERO, accusers: vec!["a".into()] };
    let advice = told(&member, &[unsteady, evidence(State::Dead, refused)]);
    assert!(advice.contains("the process is gone") && !advice.contains("lives, but"), "{advice}");
}

#[test]
fn moments_are_told_on_the_wall_clock() {
    let clock = Clock { node_now: Time::from_start(Duration::from_secs(10)), unix_now_ns: 1_000_000_000_000 };
    let at = |seconds| clock.unix_ns(Time::from_start(Duration::from_secs(seconds)));
    assert_eq!((at(10), at(4), at(13)), (1_000_000_000_000, 994_000_000_000, 1_003_000_000_000));
}

#[tokio::test]
async fn a_name_that_nobody_has_is_refused_with_the_one_that_may_be_meant() {
    let node = thane::Node::builder().name("web-1").bind("127.0.0.1:0").start().await.unwrap();
    assert_eq!(
        explain(&node, "wbe-1").await.unwrap_err(),
        r#"no member is named "wbe-1"; did you mean "web-1"?"#
    );
    assert_eq!(explain(&node, "other").await.unwrap_err(), r#"no member is named "other""#);
    let why = explain(&node, "web-1").await.unwrap();
    assert_eq!(
        (why.status.as_str(), why.evidence[0].kind.as_str(), why.advice.len()),
        ("alive", "started", 0)
    );
    node.shutdown().await;
}
