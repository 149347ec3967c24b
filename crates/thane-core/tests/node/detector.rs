//! The parts of the detector, each on and off: every switch makes the difference that it is named for, and no other.

use thane_core::{Config, Detector, State};
use thane_wire::gossip::Message;

use super::probing::{asked, indirect_ping, knowing, next_ping, prober, state};
use super::support::{Bench, VERSIONS, addr_of, ms, quiet, suspect};

const CONSTRUCTORS: [Detector; 8] = [
    Detector::swim(),
    Detector::lha_probe(),
    Detector::lha_suspicion(),
    Detector::buddy(),
    Detector::lifeguard(),
    Detector::thane(),
    Detector::eager(),
    Detector::steady(),
];

fn with(detector: Detector) -> Config {
    Config { detector, ..prober() }
}

#[test]
fn lifeguard_is_its_three_parts_and_the_default_has_them_all() {
    let of = |detector: Detector| (detector.lha_probe, detector.lha_suspicion, detector.buddy);
    let parts = CONSTRUCTORS.map(of);
    let wanted = [
        (false, false, false),
        (true, false, false),
        (false, true, false),
        (false, false, true),
        (true, true, true),
        (true, true, true),
        (true, true, true),
        (true, true, true),
    ];
    assert_eq!(parts, wanted);
    assert_eq!(Config::lan("a", addr_of(1)).detector, Detector::thane());
}

#[test]
fn only_lha_probe_keeps_a_health_score_and_asks_for_nacks() {
    for detector in CONSTRUCTORS {
        let mut bench = knowing(with(detector), &[VERSIONS; 4]);
        bench.tell(&suspect("a", 1, "x"));
        bench.take_gossip();
        let score = bench.node.stats().health_score;
        assert_eq!(score, u32::from(detector.lha_probe), "{detector:?}: after an accusation");
        let (target, _) = next_ping(&mut bench);
        bench.run(ms(500));
        let nacks: Vec<bool> = asked(&mut bench).iter().map(|(_, _, nack)| *nack).collect();
        assert_eq!(nacks, [detector.lha_probe; 3], "{detector:?}");
        // With a score of 1 a probe takes twice its time.
        bench.run(ms(500));
        let wanted = if detector.lha_probe { State::Alive } else { State::Suspect };
        assert_eq!(state(&bench, target), wanted, "{detector:?}: after one interval");
    }
}

#[test]
fn only_lha_suspicion_waits_for_confirmations_and_passes_them_on() {
    for detector in CONSTRUCTORS {
        let mut bench = knowing(Config { detector, ..quiet("a", addr_of(1)) }, &[VERSIONS; 9]);
        // Ten members and mult 4: the shortest suspicion is four intervals, the longest six times that.
        let interval = bench.node.config().probe_interval;
        let ends = |bench: &Bench| bench.node.suspicion_ends("b").unwrap().since(bench.now);
        bench.tell(&suspect("b", 1, "x"));
        let longest = if detector.lha_suspicion { 24 } else { 4 };
        assert_eq!(ends(&bench), interval * longest, "{detector:?}");
        bench.take_gossip();
        bench.tell(&suspect("b", 1, "y"));
        bench.tell(&suspect("b", 1, "z"));
        assert_eq!(ends(&bench), interval * 4, "{detector:?}: confirmed by all who are hoped for");
        let confirmed = bench.take_gossip();
        assert_eq!(!confirmed.is_empty(), detector.lha_suspicion, "{detector:?}: {confirmed:?}");
    }
}

#[test]
fn only_the_buddy_system_tells_a_suspect_with_the_ping() {
    for detector in CONSTRUCTORS {
        // Looking for oneself tells it too, before any probe.
        let detector = Detector { look_for_yourself: false, ..detector };
        let mut bench = knowing(with(detector), &[VERSIONS]);
        bench.tell(&suspect("b", 1, "x"));
        bench.take_gossip();
        bench.clear();
        let found = (0..3000).find_map(|_| {
            bench.run(ms(1));
            let messages = bench.take_messages();
            (!messages.is_empty()).then_some(messages)
        });
        let kinds: Vec<u8> = found.unwrap().iter().map(|(_, message)| message[0]).collect();
        let told = kinds == [0, 3];
        assert_eq!(told, detector.buddy, "{detector:?}: {kinds:?}");
    }
}

#[test]
fn only_a_node_that_doubts_itself_after_a_pause_spares_the_others() {
    for pause_doubt in [true, false] {
        let detector = Detector { pause_doubt, ..Detector::thane() };
        let mut bench = knowing(with(detector), &[VERSIONS]);
        let (target, _) = next_ping(&mut bench);
        bench.run(ms(600));
        // It wakes ten seconds late.
        bench.now += ms(10_000);
        bench.node.handle_timeout(bench.now);
        bench.collect();
        let wanted = if pause_doubt { State::Alive } else { State::Suspect };
        assert_eq!(state(&bench, target), wanted, "pause_doubt {pause_doubt}");
        assert_eq!(bench.node.counters().pauses, u64::from(pause_doubt));
    }
}

#[test]
fn only_early_nacks_come_while_they_still_count() {
    for early_nacks in [true, false] {
        let detector = Detector { early_nacks, ..Detector::thane() };
        let mut bench = knowing(Config { detector, ..quiet("a", addr_of(1)) }, &[VERSIONS; 2]);
        bench.tell_from(addr_of(3), &indirect_ping(4711, addr_of(2), true));
        bench.clear();
        let nacked = |bench: &mut Bench| {
            let messages = bench.take_messages();
            messages.iter().any(|(_, message)| matches!(Message::decode(message), Ok(Message::Nack(_))))
        };
        // 80 % of the half second that a direct ping may take.
        bench.run(ms(400));
        assert_eq!(nacked(&mut bench), early_nacks, "early_nacks {early_nacks}: after 80 %");
        bench.run(ms(100));
        assert_eq!(nacked(&mut bench), !early_nacks, "early_nacks {early_nacks}: after all of it");
        bench.run(ms(1000));
        assert!(!nacked(&mut bench), "early_nacks {early_nacks}: once is enough");
    }
}
