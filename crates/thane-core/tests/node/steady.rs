//! Members that answer only now and then: who complains of them, whose complaints count, and how they come back.

use std::net::SocketAddr;
use std::time::Duration;

use thane_core::{Cause, Config, Detector, Event, State, Status};
use thane_wire::gossip::Message;
use thane_wire::serf::{Join, Leave, SerfMessage};

use super::probing::{ack, knowing, prober};
use super::support::{Bench, VERSIONS, addr_of, alive, dead, ms, suspect, user};

/// Node `a` with so many others, `b` the first of them.
fn among(others: usize, detector: Detector) -> Bench {
    knowing(Config { detector, ..prober() }, &vec![VERSIONS; others])
}

fn complaint(of: &str, by: &str) -> Vec<u8> {
    suspect(of, 0, by)
}

fn view(bench: &Bench, name: &str) -> (Option<Status>, State) {
    let member = bench.node.members().find(|member| &*member.name == name).unwrap();
    (Some(member.status), member.state)
}

/// Lets everybody answer each ping after `late`; of those to `b` only each for which `answers` says so, which is told its number.
/// Gives the complaints that were gossiped meanwhile.
fn run(bench: &mut Bench, span: Duration, late: Duration, answers: impl FnMut(usize) -> bool) -> usize {
    run_with(bench, &[addr_of(2)], span, late, answers)
}

/// The same, of those at these addresses.
fn run_with(
    bench: &mut Bench,
    those: &[SocketAddr],
    span: Duration,
    late: Duration,
    mut answers: impl FnMut(usize) -> bool,
) -> usize {
    let (end, mut pings, mut complaints) = (bench.now + span, 0, 0);
    let mut waiting: Vec<(_, u32)> = Vec::new();
    while bench.now < end {
        for (to, message) in bench.take_messages() {
            match Message::decode(&message) {
                Ok(Message::Ping(ping)) if those.contains(&to) => {
                    if answers(pings) {
                        waiting.push((bench.now + late, ping.seq));
                    }
                    pings += 1;
                }
                Ok(Message::Ping(ping)) => waiting.push((bench.now, ping.seq)),
                _ => {}
            }
        }
        for (_, seq) in waiting.extract_if(.., |(due, _)| *due <= bench.now).collect::<Vec<_>>() {
            bench.tell(&ack(seq));
        }
        let told = bench.take_gossip();
        let is_complaint = |message: &bytes::Bytes| match Message::decode(message) {
            Ok(Message::Suspect(suspect)) => suspect.incarnation == 0 && suspect.from == "a",
            _ => false,
        };
        complaints += usize::from(told.iter().any(is_complaint));
        bench.run(ms(10));
    }
    complaints
}

const AT_ONCE: Duration = Duration::ZERO;
/// Within this a node that hears complaints has tried the member for itself.
const TRIED: Duration = Duration::from_millis(4500);

#[test]
fn five_who_complain_fail_a_member_that_its_own_word_does_not_bring_back() {
    for (detector, others, complainers, fails) in [
        (Detector::steady(), 12, 5, true),
        (Detector::steady(), 12, 4, false),
        (Detector::steady(), 9, 5, false),
        (Detector::thane(), 12, 5, false),
        (Detector::lifeguard(), 12, 5, false),
    ] {
        let case = format!("{complainers} of {others}, {}", detector.unsteady);
        let mut bench = among(others, detector);
        for by in ["c", "d", "e", "f", "g"].into_iter().take(complainers) {
            bench.tell(&complaint("b", by));
            // Twice from the same one is once.
            bench.tell(&complaint("b", by));
        }
        bench.tell(&complaint("b", "b"));
        bench.tell(&complaint("b", "nobody"));
        let wanted = if fails { Status::Failed } else { Status::Alive };
        assert_eq!(view(&bench, "b").0, Some(Status::Alive), "{case}: we have not tried it");
        run(&mut bench, TRIED, AT_ONCE, |ping| ping % 5 >= 3);
        assert_eq!(view(&bench, "b").0, Some(wanted), "{case}");
        let failed = bench.events.iter().find_map(|event| match event {
            Event::Failed(change) => Some(change.cause.clone()),
            _ => None,
        });
        if fails {
            let Some(Cause::Unsteady { by }) = failed else { panic!("{case}: {failed:?}") };
            assert_eq!(by.len(), complainers, "{case}");
        } else {
            assert_eq!(failed, None, "{case}");
        }
        bench.clear();
        bench.tell(&alive("b", 2, addr_of(2)));
        assert_eq!(view(&bench, "b").0, Some(wanted), "{case}: its word alone");
        run(&mut bench, ms(52_000), AT_ONCE, |_| true);
        assert_eq!(view(&bench, "b").0, Some(wanted), "{case}: it stays so for sixty seconds");
        run(&mut bench, ms(10_000), AT_ONCE, |_| true);
        assert_eq!(view(&bench, "b").0, Some(Status::Alive), "{case}");
        let back = bench.take_events().iter().filter(|event| *event == "join:b").count();
        assert_eq!(back, usize::from(fails), "{case}");
    }
}

/// Five of them need three lost pings of ours beside theirs.
#[test]
fn where_eight_complain_two_lost_pings_of_our_own_bear_them_out() {
    for (lost, fails) in [(2, true), (1, false)] {
        let mut bench = among(12, Detector::steady());
        for by in ["c", "d", "e", "f", "g", "h", "i"] {
            bench.tell(&complaint("b", by));
        }
        run(&mut bench, TRIED, AT_ONCE, |ping| ping % 5 >= lost);
        assert_eq!(view(&bench, "b").0, Some(Status::Alive), "seven, and {lost} lost");
        bench.tell(&complaint("b", "j"));
        let wanted = if fails { Status::Failed } else { Status::Alive };
        assert_eq!(view(&bench, "b").0, Some(wanted), "eight, and {lost} lost");
    }
}

/// It lives, and objects; others take it back, as they do with each live member that somebody told to leave.
#[test]
fn who_is_force_left_while_it_is_held_for_unsteady_comes_back() {
    let mut bench = among(12, Detector::steady());
    for by in ["c", "d", "e", "f", "g"] {
        bench.tell(&complaint("b", by));
    }
    run(&mut bench, TRIED, AT_ONCE, |ping| ping % 5 >= 3);
    assert_eq!(view(&bench, "b"), (Some(Status::Failed), State::Alive));
    let mut leave = Vec::new();
    SerfMessage::Leave(Leave { ltime: 50, node: "b", prune: false }).encode(&mut leave);
    bench.tell(&user(&leave));
    assert_eq!(view(&bench, "b"), (Some(Status::Left), State::Alive));
    run(&mut bench, ms(3_000), AT_ONCE, |_| true);
    bench.clear();
    for (ltime, status) in [(50, Status::Left), (51, Status::Alive)] {
        let mut join = Vec::new();
        SerfMessage::Join(Join { ltime, node: "b" }).encode(&mut join);
        bench.tell(&user(&join));
        assert_eq!(view(&bench, "b"), (Some(status), State::Alive), "a join intent of {ltime}");
    }
    assert_eq!(bench.take_events(), ["join:b"]);
}

/// Those whom others complain of complain of everybody.
#[test]
fn the_complaints_of_those_who_are_complained_of_count_for_nothing() {
    let mut bench = among(12, Detector::steady());
    for of in ["c", "d", "e"] {
        for by in ["l", "m"] {
            bench.tell(&complaint(of, by));
        }
    }
    for by in ["c", "d", "e", "f", "g", "h", "i"] {
        bench.tell(&complaint("b", by));
    }
    run(&mut bench, TRIED, AT_ONCE, |ping| ping % 5 >= 3);
    assert_eq!(view(&bench, "b").0, Some(Status::Alive), "only four of seven count");
    bench.tell(&complaint("b", "j"));
    assert_eq!(view(&bench, "b").0, Some(Status::Failed));
}

#[test]
fn while_many_are_unsteady_it_is_rather_the_network() {
    let mut bench = among(12, Detector::steady());
    for of in ["b", "c", "d", "e", "f"] {
        for by in ["h", "i", "j", "k", "l"] {
            bench.tell(&complaint(of, by));
        }
    }
    let those: Vec<_> = (2..=6).map(addr_of).collect();
    run_with(&mut bench, &those, TRIED, AT_ONCE, |_| false);
    assert_eq!(bench.node.stats().failed, 3, "a quarter of thirteen");
}

/// Four of five pings lost, and a sign of life: that is a complaint. Silence is none, and late is not lost.
#[test]
fn only_a_member_that_lives_and_answers_too_seldom_is_complained_of() {
    type Answers = fn(usize) -> bool;
    let cases: [(&str, Duration, Answers, bool); 4] = [
        ("one of six", AT_ONCE, |ping| ping % 6 == 5, true),
        ("silent", AT_ONCE, |_| false, false),
        ("each second one", AT_ONCE, |ping| ping % 2 == 1, false),
        ("a second and a half late", ms(1500), |_| true, false),
    ];
    for (case, late, answers, complains) in cases {
        for (detector, on) in [(Detector::steady(), true), (Detector::thane(), false)] {
            // Nobody is asked to help: relays would.
            let config = Config { detector, indirect_checks: 0, tcp_pings: false, ..prober() };
            let mut bench = knowing(config, &[VERSIONS; 12]);
            let complaints = run(&mut bench, ms(40_000), late, answers);
            assert_eq!(complaints > 0, complains && on, "{case}, {on}: {complaints}");
            assert!(complaints <= 2, "{case}: {complaints} in forty seconds");
        }
    }
}

/// A member that is deaf accuses all others; who hears it, while it is itself suspect, knows that it lives.
#[test]
fn a_member_that_speaks_and_hears_nothing_is_complained_of() {
    for (from, complains) in [(addr_of(2), true), (addr_of(3), false)] {
        let config = Config { detector: Detector::steady(), tcp_pings: false, ..prober() };
        let mut bench = knowing(config, &[VERSIONS; 12]);
        bench.tell(&suspect("b", 1, "e"));
        bench.tell_from(from, &speech(from));
        let complaints = run(&mut bench, ms(3_500), AT_ONCE, |_| false);
        assert_eq!(complaints > 0, complains, "heard from {from}");
    }
}

/// An accusation that changes nothing.
fn speech(from: SocketAddr) -> Vec<u8> {
    let by = if from == addr_of(2) { "b" } else { "c" };
    suspect("nobody", 1, by)
}

/// However many complain: a member that answers us is there.
#[test]
fn complaints_of_a_member_that_answers_us_are_not_believed() {
    let mut bench = among(12, Detector::steady());
    for by in ["c", "d", "e", "f", "g", "h", "i", "j"] {
        bench.tell(&complaint("b", by));
    }
    run(&mut bench, ms(29_000), AT_ONCE, |_| true);
    assert_eq!(view(&bench, "b"), (Some(Status::Alive), State::Alive));
    assert_eq!(bench.node.stats().failed, 0);
}

/// Three who hear badly accuse the same member, and we have missed its answer to them.
#[test]
fn a_suspect_of_those_who_are_complained_of_has_more_time_if_it_answers_us() {
    for (answers, fails) in [(true, false), (false, true)] {
        let mut bench = among(12, Detector::steady());
        for of in ["k", "l", "m"] {
            for by in ["d", "e"] {
                bench.tell(&complaint(of, by));
            }
        }
        for by in ["k", "l", "m"] {
            bench.tell(&suspect("b", 1, by));
        }
        // Those who are complained of are tried too, and answer.
        run(&mut bench, ms(25_000), AT_ONCE, |_| answers);
        let wanted = if fails { Status::Failed } else { Status::Alive };
        assert_eq!(view(&bench, "b").0, Some(wanted), "answers: {answers}");
    }
}

/// Nobody is told a second time of one that has failed; but one that comes back, and of whom five complain, stays failed.
#[test]
fn a_dead_member_is_judged_when_it_comes_back() {
    for (complainers, back) in [(5, false), (4, true)] {
        let case = format!("{complainers} complaints");
        let mut bench = among(12, Detector::steady());
        bench.tell(&dead("b", 1, "m"));
        for by in ["c", "d", "e", "f", "g"].into_iter().take(complainers) {
            bench.tell(&complaint("b", by));
        }
        run(&mut bench, TRIED, AT_ONCE, |_| false);
        assert_eq!(view(&bench, "b"), (Some(Status::Failed), State::Dead), "{case}");
        assert_eq!(bench.node.counters().unsteady_verdicts, 0, "{case}");
        bench.clear();
        bench.tell(&alive("b", 2, addr_of(2)));
        let wanted = if back { Status::Alive } else { Status::Failed };
        assert_eq!(view(&bench, "b"), (Some(wanted), State::Alive), "{case}");
        let told: &[&str] = if back { &["join:b"] } else { &[] };
        assert_eq!(bench.take_events(), told, "{case}");
        assert_eq!(bench.node.counters().unsteady_verdicts, u64::from(!back), "{case}");
        run(&mut bench, ms(65_000), AT_ONCE, |_| true);
        assert_eq!(view(&bench, "b"), (Some(Status::Alive), State::Alive), "{case}");
    }
}
