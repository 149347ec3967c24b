//! Whole nodes together: joining, leaving, failing, coming back, and two clusters that must not mix.

use std::net::SocketAddr;

use thane_core::{
    Cause, CommandError, Config, ExchangeError, Key, Keyring, LifeState, Outcome, Path, Prune, Replay, State,
    Status, StopReason, StreamFailure, Tags, Time,
};
use thane_wire::gossip::{Message, ip_bytes};
use thane_wire::serf::{Leave, MemberRecord, QueryResponse, SerfMessage};

use super::net::{Net, lan};
use super::support::{
    Bench, VERSIONS, addr, addr_of, alive, alive_with, dead, hex, ms, quiet, suspect, text, unhex, user,
};

fn outcome(bench: &Bench) -> &Outcome {
    &bench.done.last().expect("a command has ended").1
}

// ---- joining ----

#[test]
fn five_nodes_that_join_one_of_them_all_know_each_other() {
    let mut net = Net::joined(5);
    for (at, bench) in net.nodes.iter().enumerate().skip(1) {
        assert_eq!(*outcome(bench), Outcome::Join { contacted: 1, failed: Vec::new() }, "node {at}");
    }
    for bench in &mut net.nodes {
        let mut joins: Vec<String> = bench.take_events();
        joins.sort();
        assert_eq!(joins, ["join:n0", "join:n1", "join:n2", "join:n3", "join:n4"], "each once");
    }
}

#[test]
fn a_join_counts_the_addresses_that_answered_and_says_what_became_of_the_others() {
    let mut net = Net::new([lan(0), lan(1)]);
    let nobody = addr("127.0.0.99:7946");
    let now = net.now;
    net.nodes[1].node.join(now, &[nobody, addr_of(1)], Replay::Ignore).unwrap();
    net.pump();
    let Outcome::Join { contacted: 1, failed } = outcome(&net.nodes[1]) else {
        panic!("{:?}", net.nodes[1].done)
    };
    assert_eq!(failed.len(), 1);
    assert_eq!(
        failed[0].to_string(),
        format!("Failed to join {nobody}: dial tcp {nobody}: connection refused")
    );
    assert!(net.all_see(2));
}

#[test]
fn a_join_without_addresses_ends_at_once() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.node.join(Time::ZERO, &[], Replay::Old).unwrap();
    bench.collect();
    assert_eq!(*outcome(&bench), Outcome::Join { contacted: 0, failed: Vec::new() });
    assert_eq!(bench.node.stats().intent_queue, 0, "nobody to tell");
}

/// memberlist: `memberlist_test.go`, `TestMemberlist_Join_DeadNode`.
#[test]
fn a_peer_that_accepts_and_never_answers_fails_the_join_in_time() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.node.join(Time::ZERO, &[addr_of(2)], Replay::Old).unwrap();
    bench.collect();
    bench.node.handle_stream_connected(bench.now, bench.dials[0].0);
    bench.run(ms(10_001));
    let Outcome::Join { contacted: 0, failed } = outcome(&bench) else { panic!("{:?}", bench.done) };
    assert_eq!(failed[0].error, ExchangeError::TimedOut(ms(10_000)));
    assert_eq!(bench.closed.len(), 1);
}

#[test]
fn a_node_that_has_left_does_not_join_again() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.node.leave(Time::ZERO).unwrap();
    assert_eq!(bench.node.join(Time::ZERO, &[], Replay::Old), Err(CommandError::JoinAfterLeave));
}

#[test]
fn nodes_that_speak_older_serf_protocols_join_too() {
    for (ours, theirs) in [(2, 5), (5, 2), (3, 4)] {
        let role = || Tags::from([("role".to_owned(), "web".to_owned())]);
        let config = |at, protocol| Config { protocol, tags: role(), ..lan(at) };
        let net = Net::joined_with([config(0, ours), config(1, theirs)]);
        for (bench, other) in [(&net.nodes[0], "n1"), (&net.nodes[1], "n0")] {
            let tags = bench.node.member(other).unwrap().tags();
            assert_eq!(tags.get("role").map(String::as_str), Some("web"), "{ours} and {theirs}");
        }
    }
}

/// memberlist: `memberlist_test.go`, `TestMemberlist_Join_with_Labels`, also with encryption.
#[test]
fn clusters_of_different_labels_do_not_mix() {
    let key = || Keyring::new([Key::new(&[7; 16]).unwrap()]);
    for keyring in [Keyring::default(), key()] {
        for (ours, theirs, mix) in
            [("blue", "blue", true), ("blue", "red", false), ("blue", "", false), ("", "red", false)]
        {
            let config =
                |at, label: &str| Config { label: label.to_owned(), keyring: keyring.clone(), ..lan(at) };
            let mut net = Net::new([config(0, ours), config(1, theirs)]);
            net.join(1, 0);
            net.run(ms(12_000));
            let contacted = matches!(outcome(&net.nodes[1]), Outcome::Join { contacted: 1, .. });
            assert_eq!(contacted, mix, "{ours:?} and {theirs:?}: {:?}", net.nodes[1].done);
            assert_eq!(net.all_see(2), mix, "{ours:?} and {theirs:?}");
            // Nor by packet.
            let packet = net.nodes[1].codec.seal_packet(
                &[alive("m", 1, addr_of(9))],
                thane_wire::packet::Checksum::Omit,
                [1; 12],
            );
            net.nodes[0].packet(addr_of(2), &packet);
            assert_eq!(net.nodes[0].node.member("m").is_some(), mix, "{ours:?} and {theirs:?}");
        }
    }
}

#[test]
fn with_a_key_nothing_is_sent_or_accepted_in_the_clear() {
    let keyring = Keyring::new([Key::new(&[9; 32]).unwrap()]);
    let config =
        |at| Config { keyring: keyring.clone(), label: "blue".into(), compression: false, ..lan(at) };
    let mut net = Net::joined_with([config(0), config(1), config(2)]);
    net.nodes[0].node.user_event(net.now, "secret-deploy", b"payload", false).unwrap();
    net.run(ms(60_000));
    for bench in &mut net.nodes {
        assert!(bench.take_events().contains(&"user:secret-deploy@1".to_owned()));
    }
    assert!(net.packets.len() > 100);
    let plain = |bytes: &[u8]| {
        ["secret-deploy", "payload", "Incarnation"]
            .iter()
            .any(|word| bytes.windows(word.len()).any(|w| w == word.as_bytes()))
    };
    assert!(!net.packets.iter().any(|(_, _, packet)| plain(packet)));
    // What is not encrypted, or under another key, changes nothing.
    let other = Config { keyring: Keyring::new([Key::new(&[8; 32]).unwrap()]), ..config(5) };
    for stranger in [Config { keyring: Keyring::default(), ..config(4) }, other] {
        let codec = super::support::codec_of(&stranger);
        let packet =
            codec.seal_packet(&[alive("m", 1, addr_of(9))], thane_wire::packet::Checksum::Omit, [1; 12]);
        let dropped = net.nodes[0].node.counters().packets_dropped;
        net.nodes[0].packet(addr_of(9), &packet);
        assert_eq!(net.nodes[0].node.counters().packets_dropped, dropped + 1);
        let mut net = Net::new([config(0), stranger]);
        net.join(1, 0);
        net.run(ms(12_000));
        assert!(!net.all_see(2));
        assert_eq!(net.nodes[0].node.members().count(), 1);
    }
}

/// The three stages of introducing encryption: members converge in each.
#[test]
fn encryption_can_be_introduced_in_a_running_cluster() {
    let keyring = Keyring::new([Key::new(&[9; 32]).unwrap()]);
    let stage = |at, (verify_incoming, verify_outgoing)| Config {
        keyring: keyring.clone(),
        verify_incoming,
        verify_outgoing,
        ..lan(at)
    };
    let plain = |at| lan(at);
    Net::joined_with([plain(0), stage(1, (false, false))]);
    Net::joined_with([stage(0, (false, false)), stage(1, (false, true))]);
    Net::joined_with([stage(0, (false, true)), stage(1, (true, true))]);
}

// ---- leaving ----

#[test]
fn a_leave_is_told_to_all_and_ends_after_a_moment() {
    let mut net = Net::joined(3);
    let now = net.now;
    net.nodes[1].node.leave(now).unwrap();
    net.pump();
    assert_eq!(net.nodes[1].node.life_state(), LifeState::Leaving);
    assert_eq!(net.nodes[1].node.leave(now), Err(CommandError::LeaveInProgress));
    assert!(net.run_until(ms(8000), |net| net.nodes[1].node.life_state() == LifeState::Left));
    assert_eq!(*outcome(&net.nodes[1]), Outcome::Leave);
    for at in [0, 1, 2] {
        assert_eq!(net.status(at, "n1"), Some(Status::Left), "node {at}");
        assert!(net.nodes[at].take_events().contains(&"left:n1".to_owned()), "node {at}");
    }
    let evidence = net.nodes[0].node.evidence("n1");
    assert!(evidence.iter().any(|seen| matches!(seen.cause, Cause::SaidGoodbye { .. })), "{evidence:?}");
    // It still answers, and leaving once more is no news.
    net.nodes[1].node.leave(net.now).unwrap();
    net.run(ms(1));
    assert_eq!(net.nodes[1].done.iter().filter(|(_, outcome)| *outcome == Outcome::Leave).count(), 2);
    net.down.insert(1);
    net.run(ms(60_000));
    assert!(!net.nodes[0].take_events().contains(&"failed:n1".to_owned()));
}

#[test]
fn a_leave_that_cannot_be_told_goes_on_after_its_timeouts() {
    // No gossip: the broadcasts never go out.
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.tell(&alive("b", 1, addr_of(2)));
    bench.node.leave(bench.now).unwrap();
    for (millis, left) in [(4999, false), (5000, false), (1000, false), (1, true)] {
        bench.run(ms(millis));
        assert_eq!(bench.node.life_state() == LifeState::Left, left, "after {millis} ms more");
    }
    assert_eq!(bench.notices.iter().filter(|notice| notice.kind == "leave_late").count(), 2);
    assert_eq!(bench.node.local().status, Status::Left);
}

#[test]
fn a_node_alone_leaves_without_waiting_for_anybody() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.node.leave(bench.now).unwrap();
    bench.run(ms(1000));
    assert_eq!(bench.node.life_state(), LifeState::Left);
    assert_eq!(bench.take_events(), ["join:a", "left:a"]);
}

#[test]
fn a_node_that_has_left_answers_probes_and_no_accusations() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.node.leave(bench.now).unwrap();
    bench.run(ms(2000));
    bench.take_gossip();
    bench.clear();
    bench.tell(&suspect("a", 5, "b"));
    bench.tell(&dead("a", 6, "b"));
    bench.tell(&alive("a", 7, addr_of(1)));
    assert_eq!(bench.node.local().incarnation, 1);
    assert_eq!(bench.node.stats().membership_queue, 0);
    bench.tell(&super::support::ping("a", 1));
    assert_eq!(bench.take_messages().len(), 1);
}

#[test]
fn a_node_that_left_comes_back_when_started_anew() {
    let mut net = Net::joined(3);
    net.nodes[1].node.leave(net.now).unwrap();
    net.run(ms(10_000));
    // The same name at the same address, with nothing remembered.
    let mut fresh = Bench::seeded(lan(1), 77);
    fresh.now = net.now;
    fresh.node.handle_timeout(net.now);
    net.nodes[1] = fresh;
    net.join(1, 0);
    assert!(net.run_until(ms(20_000), |net| net.all_see(3)));
    net.run(ms(120_000));
    assert!(net.all_see(3));
    assert!(net.nodes[1].node.local().incarnation > 1, "it had to refute its own goodbye");
}

// ---- failing ----

#[test]
fn a_node_that_stops_is_found_failed_by_all_and_comes_back_in_its_next_life() {
    let mut net = Net::joined(4);
    for bench in &mut net.nodes {
        bench.clear();
    }
    net.down.insert(2);
    assert!(net.run_until(ms(60_000), |net| net.all_see(3)));
    for at in [0, 1, 3] {
        assert_eq!(net.status(at, "n2"), Some(Status::Failed));
        let events = net.nodes[at].take_events();
        assert_eq!(events.iter().filter(|event| *event == "failed:n2").count(), 1, "{events:?}");
        assert_told_how(&net.nodes[at]);
    }
    net.nodes[2] = Bench::seeded(lan(2), 78);
    net.nodes[2].now = net.now;
    net.nodes[2].node.handle_timeout(net.now);
    net.down.clear();
    net.join(2, 3);
    assert!(net.run_until(ms(20_000), |net| net.all_see(4)));
    assert!(net.nodes[0].take_events().contains(&"join:n2".to_owned()));
}

/// The evidence leads from accusation to verdict, with who and over which way.
fn assert_told_how(bench: &Bench) {
    let evidence = bench.node.evidence("n2");
    assert!(evidence.len() <= 8);
    assert!(evidence.windows(2).all(|pair| pair[0].at <= pair[1].at), "{evidence:?}");
    let accused = evidence.iter().any(|seen| match &seen.cause {
        Cause::ProbeFailed(failure) => failure.sent < seen.at && seen.state == State::Suspect,
        Cause::Accused { by, via: Path::Packet(_) | Path::PushPull(_), .. } => by.starts_with('n'),
        _ => false,
    });
    assert!(accused, "{evidence:?}");
    let verdict = evidence.last().unwrap();
    assert_eq!(verdict.state, State::Dead);
    match &verdict.cause {
        Cause::SuspicionExpired { accusers, since, timeout } => {
            assert!(!accusers.is_empty() && accusers.len() <= 4, "{accusers:?}");
            assert_eq!(*since + *timeout, verdict.at);
        }
        Cause::Refused { refusals, since, accusers } => {
            assert!(*refusals >= 2 && *since < verdict.at);
            assert!((2..=4).contains(&accusers.len()), "{accusers:?}");
        }
        Cause::DeclaredDead { by, via: Path::Packet(_), .. } => assert!(by.starts_with('n')),
        other => panic!("{other:?}"),
    }
}

#[test]
fn at_most_eight_changes_are_kept_as_evidence() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    for incarnation in 1..30 {
        bench.tell(&alive("b", incarnation, addr_of(2)));
        bench.tell(&suspect("b", incarnation, &format!("accuser{incarnation}")));
        bench.tell(&dead("b", incarnation, "c"));
    }
    let evidence = bench.node.evidence("b");
    assert_eq!(evidence.len(), 8);
    let last = evidence.last().unwrap();
    assert_eq!((last.incarnation, last.state), (29, State::Dead));
    assert_eq!(
        last.cause,
        Cause::DeclaredDead { by: "c".into(), incarnation: 29, via: Path::Packet(addr_of(200)) }
    );
    assert_eq!(bench.node.evidence("nobody"), []);
}

#[test]
fn a_failed_member_is_forgotten_by_the_detector_first_and_by_serf_a_day_later() {
    let mut net = Net::joined(2);
    net.down.insert(1);
    assert!(net.run_until(ms(60_000), |net| net.status(0, "n1") == Some(Status::Failed)));
    net.run(ms(35_000));
    assert_eq!(net.nodes[0].node.member("n1").unwrap().state, State::Forgotten);
    assert!(net.nodes[0].table().len() == 1, "peers are not told of it any more");
    let day = 24 * 3600 * 1000;
    net.run(ms(day - 60_000));
    assert_eq!(net.status(0, "n1"), Some(Status::Failed));
    net.run(ms(90_000));
    assert_eq!(net.status(0, "n1"), None);
    assert_eq!(net.nodes[0].take_events().last().unwrap(), "reap:n1");
}

#[test]
fn a_failed_member_is_tried_again_and_its_return_noticed() {
    let mut net = Net::joined(2);
    net.down.insert(1);
    assert!(net.run_until(ms(60_000), |net| net.status(0, "n1") == Some(Status::Failed)));
    net.run(ms(300_000));
    // It was only cut off: nobody joins anybody.
    net.nodes[1].now = net.now;
    net.down.clear();
    assert!(net.run_until(ms(120_000), |net| net.all_see(2)), "found by reconnecting");
}

#[test]
fn two_halves_of_a_cluster_find_each_other_again() {
    let mut net = Net::joined(4);
    let half = [addr_of(3), addr_of(4)];
    net.cut_off = half.to_vec();
    let split = |net: &Net| (0..4).all(|at| net.nodes[at].node.stats().failed == 2);
    assert!(net.run_until(ms(120_000), split));
    net.cut_off.clear();
    assert!(net.run_until(ms(300_000), |net| net.all_see(4)));
    net.run(ms(60_000));
    assert!(net.all_see(4));
}

// ---- force-leave and tags ----

#[test]
fn a_failed_member_can_be_told_to_have_left_and_be_erased() {
    for prune in [Prune::Keep, Prune::Erase] {
        let mut net = Net::joined(3);
        net.down.insert(2);
        assert!(net.run_until(ms(60_000), |net| net.all_see(2)));
        net.nodes[0].node.force_leave(net.now, "n2", prune).unwrap();
        net.run(ms(5000));
        assert_eq!(*outcome(&net.nodes[0]), Outcome::ForceLeave(Ok(())));
        for at in [0, 1] {
            let wanted = (prune == Prune::Keep).then_some(Status::Left);
            assert_eq!(net.status(at, "n2"), wanted, "node {at}, {prune:?}");
        }
    }
}

#[test]
fn a_living_member_refutes_a_force_leave() {
    let mut net = Net::joined(3);
    net.nodes[0].node.force_leave(net.now, "n2", Prune::Erase).unwrap();
    net.run(ms(30_000));
    assert!(net.all_see(3));
    for bench in &mut net.nodes {
        let events = bench.take_events();
        assert!(
            !events.iter().any(|event| event.starts_with("left") || event.starts_with("reap")),
            "{events:?}"
        );
    }
}

#[test]
fn commands_after_a_leave_are_refused() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.node.leave(bench.now).unwrap();
    bench.run(ms(2000));
    assert_eq!(bench.node.force_leave(bench.now, "b", Prune::Keep), Err(CommandError::Stopped));
    assert_eq!(bench.node.set_tags(bench.now, Tags::new()), Err(CommandError::Stopped));
}

#[test]
fn new_tags_reach_all_and_too_many_are_refused() {
    let mut net = Net::joined(3);
    let tags = Tags::from([("role".to_owned(), "db".to_owned())]);
    net.nodes[1].node.set_tags(net.now, tags.clone()).unwrap();
    net.run(ms(5000));
    assert_eq!(*outcome(&net.nodes[1]), Outcome::SetTags(Ok(())));
    for bench in &mut net.nodes {
        assert_eq!(bench.node.member("n1").unwrap().tags(), tags);
        assert_eq!(bench.take_events().iter().filter(|event| *event == "update:n1").count(), 1);
    }
    let huge = Tags::from([("role".to_owned(), "x".repeat(600))]);
    assert_eq!(net.nodes[1].node.set_tags(net.now, huge), Err(CommandError::TagsTooLarge));
    assert_eq!(net.nodes[1].node.local().tags(), tags);
}

#[test]
fn a_command_whose_message_does_not_get_out_in_time_says_so() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.tell(&alive("b", 1, addr_of(2)));
    bench.node.force_leave(bench.now, "c", Prune::Keep).unwrap();
    bench.run(ms(4999));
    assert_eq!(bench.done, []);
    bench.run(ms(2));
    let Outcome::ForceLeave(Err(timeout)) = outcome(&bench) else { panic!("{:?}", bench.done) };
    assert_eq!(timeout.0, ms(5000));
    bench.node.set_tags(bench.now, Tags::new()).unwrap();
    bench.run(ms(5001));
    assert!(matches!(outcome(&bench), Outcome::SetTags(Err(_))));
}

// ---- accusations near the end of the numbers ----

#[test]
fn refutations_count_up_to_the_last_number_and_never_start_again() {
    let last = u32::MAX;
    for (accused, answered, exhausted) in
        [(last - 2, last - 1, false), (last - 1, last, false), (last, last, true)]
    {
        let mut bench = Bench::new(quiet("a", addr_of(1)));
        bench.tell(&suspect("a", accused, "b"));
        assert_eq!(bench.node.local().incarnation, answered, "accused at {accused}");
        assert_eq!(bench.noticed("incarnation_exhausted"), exhausted, "accused at {accused}");
        assert_eq!(bench.node.local().state, State::Alive);
    }
}

// ---- pauses ----

#[test]
fn a_node_that_was_paused_doubts_itself_and_accuses_nobody() {
    let mut net = Net::joined(3);
    net.run(ms(10_000));
    // Node 0 hears that node 1 is suspected, and sleeps through the rest of that suspicion and the answer.
    let incarnation = net.nodes[0].node.member("n1").unwrap().incarnation;
    net.down.insert(0);
    net.nodes[0].tell(&suspect("n1", incarnation, "n0"));
    net.run(ms(100));
    let before = net.nodes[0].node.counters();
    net.now += ms(600_000);
    let now = net.now;
    net.nodes[0].clear();
    net.nodes[0].node.handle_timeout(now);
    net.nodes[0].now = now;
    net.nodes[0].collect();
    let after = net.nodes[0].node.counters();
    assert_eq!(after.pauses, before.pauses + 1);
    assert!(net.nodes[0].noticed("paused"));
    assert!(net.nodes[0].node.stats().health_score >= 1);
    assert_ne!(net.nodes[0].node.member("n1").unwrap().state, State::Dead, "it gets the lost time back");
    assert!(!net.nodes[0].dials.is_empty(), "a fresh view is asked for at once");
    assert!(!net.nodes[0].take_events().contains(&"failed:n1".to_owned()));
    for at in [1, 2] {
        net.nodes[at].node.handle_timeout(now);
        net.nodes[at].now = now;
    }
    net.down.clear();
    net.run(ms(60_000));
    assert!(net.all_see(3));
}

// ---- one name, two nodes ----

fn claimed(config: Config) -> (Bench, u64, u32) {
    let mut bench = Bench::new(config);
    bench.tell(&alive("self", 1, addr("127.0.0.9:27946")));
    let query = bench.take_gossip().into_iter().find(|message| message[0] == 8).expect("a vote has begun");
    let Ok(SerfMessage::Query(query)) = SerfMessage::decode(&query[1..]) else { panic!("{query:?}") };
    assert_eq!((query.name, query.payload), ("_serf_conflict", Some(&b"self"[..])));
    (bench, query.ltime, query.id)
}

/// Recorded ballots of real nodes. Differs from Serf: without one, it gives up its name.
#[test]
fn every_recorded_vote_ends_the_same_way() {
    let all: serde_json::Value =
        serde_json::from_str(include_str!("../vectors/serf/conflict_votes.json")).unwrap();
    let cases = all["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 16);
    for case in cases {
        let (mut bench, ltime, id) = claimed(quiet("self", addr("127.0.0.1:27946")));
        for ballot in case["responses"].as_array().into_iter().flatten() {
            let payload = ballot["payload"]["hex"].as_str().map(unhex);
            let from = text(&ballot["from"]);
            let mut response = Vec::new();
            SerfMessage::QueryResponse(QueryResponse {
                ltime,
                id,
                from,
                flags: 0,
                payload: payload.as_deref(),
            })
            .encode(&mut response);
            bench.tell(&user(&response));
        }
        assert_eq!(bench.stops, [], "not before its end");
        bench.run(ms(60_000));
        let survives = case["name"] == "no_responses" || case["survives"] == true;
        assert_eq!(bench.stops.is_empty(), survives, "{}", case["name"]);
    }
    let listed = cases.iter().filter(|case| case["name"] == "no_responses").count();
    let (cases, same) = (cases.len(), cases.len() - listed);
    eprintln!("compat: votes over a name | cases={cases} same={same} listed={listed}");
}

#[test]
fn without_a_ballot_the_newer_namesake_stays_or_of_equals_the_lower_address() {
    let ours = addr("127.0.0.5:7946");
    for (theirs, incarnation, survives) in [
        ("127.0.0.9:7946", 0, true),
        ("127.0.0.9:7946", 1, true),
        ("127.0.0.2:7946", 1, false),
        ("127.0.0.9:7946", 2, false),
    ] {
        let mut bench = Bench::new(quiet("self", ours));
        bench.tell(&alive("self", incarnation, addr(theirs)));
        bench.run(ms(60_000));
        assert_eq!(bench.stops.is_empty(), survives, "{theirs} at {incarnation}");
        if !survives {
            assert_eq!(bench.stops, [StopReason::NameConflict { matching: 0, responses: 0 }]);
        }
    }
}

#[test]
fn of_two_namesakes_the_cluster_keeps_the_one_it_knows() {
    let mut net = Net::joined_with((0..4).map(lan));
    let mut rival = Bench::seeded(Config { name: "n1".into(), ..lan(4) }, 9);
    rival.now = net.now;
    rival.node.handle_timeout(net.now);
    net.nodes.push(rival);
    net.join(4, 0);
    net.run(ms(60_000));
    assert_eq!(net.nodes[1].stops, [], "known to all");
    assert!(
        matches!(net.nodes[4].stops[..], [StopReason::NameConflict { matching: 0, responses: 1.. }, ..]),
        "{:?}",
        net.nodes[4].stops
    );
    for at in [0, 2, 3] {
        assert_eq!(net.nodes[at].node.member("n1").unwrap().addr, addr_of(2));
    }
}

#[test]
fn a_vote_can_be_turned_off_and_only_one_is_held_at_a_time() {
    let rival = alive("self", 1, addr_of(9));
    let mut bench = Bench::new(Config { name_conflict_resolution: false, ..quiet("self", addr_of(1)) });
    bench.tell(&rival);
    assert_eq!(bench.node.stats().query_queue, 0);
    assert_eq!(bench.node.counters().name_conflicts, 1);
    let mut bench = Bench::new(quiet("self", addr_of(1)));
    for _ in 0..5 {
        bench.tell(&rival);
    }
    assert_eq!(bench.node.stats().query_queue, 1);
}

#[test]
fn asked_for_a_name_a_member_tells_what_it_knows() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.tell(&alive("b", 1, addr_of(2)));
    bench.take_gossip();
    bench.clear();
    for (ltime, name, known) in [(1, "b", Some(true)), (2, "nobody", Some(false)), (3, "a", None)] {
        let (ip, len) = ip_bytes(addr_of(9).ip());
        let query = thane_wire::serf::Query {
            ltime,
            id: 5,
            addr: &ip[..len],
            port: 7946,
            source_node: "z",
            filters: None,
            flags: 0,
            relay_factor: 0,
            timeout_ns: 1_000_000_000,
            name: "_serf_conflict",
            payload: Some(name.as_bytes()),
        };
        let mut message = Vec::new();
        SerfMessage::Query(query).encode(&mut message);
        bench.tell(&user(&message));
        let answers = bench.take_messages();
        assert_eq!(answers.len(), usize::from(known.is_some()), "{name}");
        for (to, answer) in answers {
            assert_eq!(to, addr_of(9));
            let Ok(Message::User(payload)) = Message::decode(&answer) else { panic!("{answer:?}") };
            let Ok(SerfMessage::QueryResponse(response)) = SerfMessage::decode(payload) else { panic!() };
            assert_eq!((response.ltime, response.id, response.from), (ltime, 5, "a"));
            let ballot = SerfMessage::decode(response.payload.unwrap()).unwrap();
            let SerfMessage::ConflictResponse(record) = ballot else { panic!("{ballot:?}") };
            assert_eq!(record.is_some(), known == Some(true), "{name}");
            if let Some(MemberRecord { name, addr, port, status, .. }) = record {
                assert_eq!((name, hex(addr).as_str(), port, status), ("b", "7f000002", 7946, 1));
            }
        }
    }
}

// ---- intents against time and liars ----

#[test]
fn a_lamport_time_absurdly_far_ahead_is_refused_everywhere() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.tell(&alive("b", 1, addr_of(2)));
    bench.take_gossip();
    let before = bench.node.stats();
    for ltime in [u64::MAX, u64::MAX - 1, (1 << 40) + 2] {
        let messages = [
            SerfMessage::Leave(Leave { ltime, node: "b", prune: true }),
            SerfMessage::Join(thane_wire::serf::Join { ltime, node: "b" }),
            SerfMessage::UserEvent(thane_wire::serf::UserEvent {
                ltime,
                name: "e",
                payload: None,
                coalesce: false,
            }),
        ];
        for message in messages {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            bench.tell(&user(&bytes));
        }
    }
    assert_eq!(bench.node.stats(), before);
    assert_eq!(bench.node.counters().lamport_jumps_refused, 9);
    assert_eq!(bench.node.member("b").unwrap().status, Status::Alive);
    // In a state exchange, nothing of such a peer's state is believed.
    let state = thane_wire::serf::PushPullState {
        ltime: u64::MAX,
        status_ltimes: vec![("b", 5)],
        left_members: Some(vec!["b"]),
        event_ltime: 1,
        events: None,
        query_ltime: 1,
    };
    let mut bytes = Vec::new();
    SerfMessage::PushPull(state).encode(&mut bytes);
    bench.push_with(false, &[], &bytes);
    let after = bench.node.stats();
    // Our own state has been sent, which is all that the exchange did.
    assert_eq!(thane_core::Stats { local_state_bytes: before.local_state_bytes, ..after }, before);
    assert_eq!(bench.node.member("b").unwrap().status, Status::Alive);
}

#[test]
fn a_rumour_of_our_leaving_is_denied_and_not_passed_on() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.take_gossip();
    let mut rumour = Vec::new();
    SerfMessage::Leave(Leave { ltime: 30, node: "a", prune: true }).encode(&mut rumour);
    bench.tell(&user(&rumour));
    let said: Vec<_> = bench.take_gossip();
    let mut denial = Vec::new();
    SerfMessage::Join(thane_wire::serf::Join { ltime: 31, node: "a" }).encode(&mut denial);
    assert!(!said.is_empty() && said.iter().all(|message| *message == user(&denial)), "{said:?}");
    assert_eq!(bench.node.local().status, Status::Alive);
}

// ---- streams ----

#[test]
fn too_many_streams_are_refused_and_room_comes_back() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    let mut open = 0;
    while bench.node.handle_stream_accepted(bench.now, addr_of(9)).is_some() {
        open += 1;
        assert!(open <= 4096, "some bound");
    }
    bench.collect();
    assert!(open >= 128, "memberlist takes 128");
    assert_eq!(bench.node.counters().streams_refused, 1);
    bench.run(ms(10_001));
    assert_eq!(bench.closed.len(), open, "silent streams are closed in time");
    assert!(bench.node.handle_stream_accepted(bench.now, addr_of(9)).is_some());
}

/// memberlist: `net_test.go`, `TestTCPPushPull`: the reply shows the table as it was before the merge.
#[test]
fn the_reply_to_an_exchange_shows_what_was_known_before_it() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    let record = super::support::encode_record(
        "b",
        3,
        addr_of(2),
        thane_wire::gossip::NodeStateKind::Alive,
        &VERSIONS,
    );
    let reply = bench.push(true, &[record]);
    assert!(reply.header.join, "the reply repeats the request's kind");
    assert_eq!(reply.nodes().count(), 1);
    assert_eq!(bench.table().len(), 2);
}

#[test]
fn a_refused_dial_of_a_plain_exchange_is_told_and_nothing_else() {
    let mut bench = Bench::new(Config { push_pull_interval: ms(1000), ..quiet("a", addr_of(1)) });
    bench.tell(&alive_with("b", 1, addr_of(2), b"", &VERSIONS));
    bench.run(ms(1000));
    let (stream, to): (_, SocketAddr) = bench.dials[0];
    assert_eq!(to, addr_of(2));
    bench.node.handle_stream_failed(bench.now, stream, StreamFailure::Refused("connection refused".into()));
    bench.collect();
    assert!(bench.noticed("stream_failed"));
    assert_eq!(bench.node.member("b").unwrap().state, State::Alive);
    assert!(!bench.take_events().iter().any(|event| event.starts_with("suspect")));
}
