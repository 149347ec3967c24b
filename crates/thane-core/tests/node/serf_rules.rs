//! Rules of Serf's layer that stand in no recording: defaults, versions, what a fresh node says, and a few that Serf breaks.

use std::collections::BTreeSet;
use std::time::Duration;

use thane_core::{
    CommandError, Config, Event, Key, KeyCommand, Keyring, Node, Outcome, QueryParams, QueryReply, Seed,
    Status, Tags, Time,
};
use thane_wire::filter::Filter;
use thane_wire::serf::{KeyResponse, Leave, PushPullState, Query, QueryResponse, SerfMessage};

use super::support::{Bench, VERSIONS, addr_of, alive, alive_with, ms, quiet, user};

/// Serf: `config.go`, `DefaultConfig`, with the protocol that its agent sets.
#[test]
fn the_defaults_are_those_of_serfs_agent() {
    let config = Config::lan("a", addr_of(1));
    let hours = |count: u64| Duration::from_secs(count * 3600);
    let spans = [
        (config.broadcast_timeout, ms(5_000)),
        (config.leave_propagate_delay, ms(1_000)),
        (config.reap_interval, ms(15_000)),
        (config.reconnect_interval, ms(30_000)),
        (config.reconnect_timeout, hours(24)),
        (config.tombstone_timeout, hours(24)),
        (config.flap_timeout, ms(60_000)),
        (config.recent_intent_timeout, ms(300_000)),
        (config.queue_check_interval, ms(30_000)),
    ];
    for (at, (span, expected)) in spans.into_iter().enumerate() {
        assert_eq!(span, expected, "number {at}");
    }
    assert_eq!(
        (config.event_buffer_size, config.query_buffer_size, config.query_timeout_mult),
        (512, 512, 16)
    );
    assert_eq!((config.query_size_limit, config.query_response_size_limit), (1024, 1024));
    assert_eq!((config.user_event_size_limit, thane_core::USER_EVENT_BYTES_MAX), (512, 9216));
    assert_eq!((config.queue_depth_warning, config.max_queue_depth, config.min_queue_depth), (128, 4096, 0));
    assert!(config.name_conflict_resolution && config.coordinates && config.tags.is_empty());
    assert_eq!(config.protocol, 5);
}

/// Serf: `serf.go`, `Create`: protocols 2 to 5, and what memberlist announces for each.
#[test]
fn a_node_speaks_protocols_2_to_5_and_announces_them_as_serf_does() {
    let config = |protocol| Config { protocol, ..quiet("a", addr_of(1)) };
    for protocol in 2..=5 {
        let mut bench = Bench::new(config(protocol));
        assert_eq!(bench.table()["a"].versions, [1, 5, 2, 2, 5, protocol]);
    }
    for protocol in [0, 1, 6] {
        let wrong = Node::new(config(protocol), Seed::from(1), Time::ZERO).unwrap_err();
        assert!(format!("{wrong:?}").contains("protocol"), "{wrong:?}");
    }
}

/// Serf: `serf.go`, `Query`: queries exist from protocol 4 on; below it a node still passes on what others ask.
#[test]
fn a_node_below_protocol_4_asks_nothing_and_takes_part_in_queries() {
    let mut bench = Bench::new(Config { protocol: 3, ..quiet("a", addr_of(1)) });
    let refused = bench.node.query(bench.now, "q", b"", &QueryParams::default());
    assert_eq!(refused, Err(CommandError::NotSupported));
    bench.take_events();
    bench.tell(&user(&query_message(&Query { ltime: 4, name: "q", ..from_b() })));
    assert!(matches!(bench.events.as_slice(), [Event::Query(query)] if &*query.name == "q"));
    assert_eq!(bench.node.stats().query_queue, 1);
}

fn from_b() -> Query<'static> {
    Query {
        ltime: 1,
        id: 7,
        addr: &[127, 0, 0, 2],
        port: 7946,
        source_node: "b",
        filters: None,
        flags: 0,
        relay_factor: 0,
        timeout_ns: 1_000_000_000,
        name: "",
        payload: None,
    }
}

fn query_message(query: &Query<'_>) -> Vec<u8> {
    let mut message = Vec::new();
    SerfMessage::Query(query.clone()).encode(&mut message);
    message
}

/// Serf: `serf.go`, `Create` and `Stats`: the first thing told is the own join; clocks stand at 1, and nothing else is there.
#[test]
fn a_fresh_node_tells_of_itself_first_and_its_clocks_stand_at_one() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    assert_eq!(bench.take_events(), ["join:a"]);
    let own = bench.node.local();
    assert_eq!((own.status, own.status_ltime, own.incarnation), (Status::Alive, 0, 1));
    let stats = bench.node.stats();
    assert_eq!((stats.member_time, stats.event_time, stats.query_time), (1, 1, 1));
    assert_eq!((stats.members, stats.failed, stats.left, stats.health_score), (1, 0, 0, 0));
    assert_eq!((stats.intent_queue, stats.event_queue, stats.query_queue), (0, 0, 0));
    assert_eq!((stats.encrypted, stats.coordinate_resets), (false, Some(0)));
}

/// Serf: `serf.go`, `UserEvent`, reads its clock and moves it in two steps, so that of two equal events at one moment one can vanish.
#[test]
fn two_equal_events_in_a_row_are_two() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.take_events();
    let first = bench.node.user_event(bench.now, "deploy", b"1", false).unwrap();
    let second = bench.node.user_event(bench.now, "deploy", b"1", false).unwrap();
    bench.collect();
    assert!(second > first);
    assert_eq!(bench.take_events(), [format!("user:deploy@{first}"), format!("user:deploy@{second}")]);
}

/// Serf: `serf.go`, `Query`: two queries at one moment can share a Lamport time, by which alone their answers are collected; its
/// numbers have 31 bits.
#[test]
fn queries_asked_at_once_have_numbers_of_their_own() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.tell(&alive("b", 1, addr_of(2)));
    bench.take_gossip();
    let count = 64;
    for _ in 0..count {
        bench.node.query(bench.now, "q", b"", &QueryParams::default()).unwrap();
    }
    bench.collect();
    let mut seen = BTreeSet::new();
    for message in bench.take_gossip() {
        if message[0] == 8
            && let Ok(SerfMessage::Query(query)) = SerfMessage::decode(&message[1..])
        {
            seen.insert((query.ltime, query.id));
        }
    }
    let times: BTreeSet<u64> = seen.iter().map(|(ltime, _)| *ltime).collect();
    assert_eq!((seen.len(), times.len()), (count, count));
    assert!(seen.iter().any(|(_, id)| *id > i32::MAX as u32), "half of the numbers need the 32nd bit");
}

/// Serf: `query.go`, encodeFilters: the names come first, then one filter a tag.
#[test]
fn a_query_carries_a_filter_of_names_and_one_for_each_tag() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.tell(&alive("b", 1, addr_of(2)));
    bench.take_gossip();
    let params = QueryParams {
        filter_nodes: vec!["b".into(), "c".into()],
        filter_tags: vec![("role".into(), "^web".into()), ("datacenter".into(), "aws$".into())],
        ..QueryParams::default()
    };
    bench.node.query(bench.now, "q", b"", &params).unwrap();
    bench.collect();
    let gossip = bench.take_gossip();
    let message = gossip.iter().find(|message| message[0] == 8).unwrap();
    let Ok(SerfMessage::Query(query)) = SerfMessage::decode(&message[1..]) else { panic!("no query") };
    let filters: Vec<Filter<'_>> =
        query.filters.unwrap().into_iter().map(|filter| Filter::decode(filter).unwrap()).collect();
    assert_eq!(filters.len(), 3);
    assert!(matches!(&filters[0], Filter::Nodes(names) if *names == ["b", "c"]), "{filters:?}");
    for (filter, (key, expression)) in filters[1..].iter().zip(&params.filter_tags) {
        assert!(
            matches!(filter, Filter::Tag { tag, expr } if tag == key && expr == expression),
            "{filter:?}"
        );
    }
}

/// Differs from Serf: many intents fill every packet there, and an event that needs more than what they leave is never sent.
#[test]
fn many_intents_do_not_keep_a_large_event_waiting() {
    let mut bench = Bench::new(Config { gossip_interval: ms(100), ..quiet("a", addr_of(1)) });
    for n in 2..5 {
        bench.tell(&alive(&format!("m{n}"), 1, addr_of(n)));
    }
    for n in 0..600_u32 {
        let mut intent = Vec::new();
        let node = format!("unknown-{n}-{}", "x".repeat(80));
        SerfMessage::Leave(Leave { ltime: u64::from(n) + 1, node: &node, prune: false }).encode(&mut intent);
        bench.tell(&user(&intent));
    }
    for n in 5..250 {
        bench.tell(&alive_with(&format!("member-{n}"), 1, addr_of(n), &[b'x'; 200], &VERSIONS));
    }
    bench.clear();
    bench.node.user_event(bench.now, "deploy", &[1; 450], false).unwrap();
    bench.run(ms(200));
    let is_event = |message: &[u8]| message.starts_with(&[8, 3]);
    let sent = bench.take_messages().into_iter().filter(|(_, message)| is_event(message)).count();
    assert!(sent >= 1, "two rounds to three members each");
    assert!(bench.node.stats().intent_queue > 0, "intents still wait");
}

/// Differs from Serf: a member that runs with another version, and the same tags, is not told of there.
#[test]
fn a_member_with_new_versions_is_an_update() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.tell(&alive("b", 1, addr_of(2)));
    assert_eq!(bench.take_events(), ["join:a", "join:b"]);
    let mut older = VERSIONS;
    older[5] = 4;
    bench.tell(&alive_with("b", 2, addr_of(2), b"", &older));
    assert_eq!(bench.take_events().len(), 1, "one update");
    assert_eq!(bench.node.member("b").unwrap().versions.delegate_current, 4);
    bench.tell(&alive_with("b", 3, addr_of(2), b"", &older));
    assert!(bench.take_events().is_empty(), "nothing has changed");
}

/// Differs from Serf: a peer that has not heard of a return takes the member for one that left, and who believes it holds it for
/// leaving, so that its next crash passes for a leave.
#[test]
fn a_stale_list_of_those_who_left_does_not_touch_a_member_that_lives() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.tell(&alive("b", 1, addr_of(2)));
    let mut join = Vec::new();
    SerfMessage::Join(thane_wire::serf::Join { ltime: 9, node: "b" }).encode(&mut join);
    bench.tell(&user(&join));
    assert_eq!(bench.node.member("b").unwrap().status_ltime, 9);
    let listed = |ltime| {
        let mut state = Vec::new();
        SerfMessage::PushPull(PushPullState {
            ltime: 12,
            status_ltimes: vec![("b", ltime)],
            left_members: Some(vec!["b"]),
            event_ltime: 1,
            events: None,
            query_ltime: 1,
        })
        .encode(&mut state);
        state
    };
    for ltime in [3, 8, 9] {
        bench.push_with(false, &[], &listed(ltime));
        assert_eq!(bench.node.member("b").unwrap().status, Status::Alive, "listed at {ltime}");
    }
    bench.push_with(false, &[], &listed(10));
    assert_eq!(bench.node.member("b").unwrap().status, Status::Leaving, "a newer leave counts");
}

/// Serf: `serf_test.go`, the names of statuses; `internal_query.go`, the prefix of internal queries.
#[test]
fn statuses_have_serfs_names() {
    let all = [Status::Alive, Status::Leaving, Status::Left, Status::Failed];
    assert_eq!(all.map(|status| status.to_string()), ["alive", "leaving", "left", "failed"]);
}

/// Serf: `internal_query.go`: what members ask each other is not shown to the application, and a ping is answered by its ack alone.
#[test]
fn internal_queries_are_not_told() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.tell(&alive("b", 1, addr_of(2)));
    bench.clear();
    let own =
        query_message(&Query { ltime: 2, id: 1, name: "_serf_conflict", payload: Some(b"a"), ..from_b() });
    let ping = query_message(&Query { ltime: 3, id: 2, name: "_serf_ping", ..from_b() });
    for message in [&own, &ping] {
        bench.tell(&user(message));
    }
    assert!(bench.events.is_empty() && bench.sent.is_empty(), "{:?}", bench.events);
    assert_eq!(bench.node.marks().query, 3, "they count for the snapshot all the same");
    bench.tell(&user(&query_message(&Query { ltime: 4, id: 3, name: "foo", ..from_b() })));
    assert_eq!(bench.events.len(), 1);
}

/// Serf: `serf.go`, `Create` and `SetTags`: up to 512 bytes, encoded.
#[test]
fn tags_take_512_bytes_and_not_one_more() {
    let tags = |bytes: usize| -> Tags { [("k".to_owned(), "v".repeat(bytes))].into() };
    // The frame, the head of the map, the key with its head, the head of the value.
    let largest = 512 - 1 - 1 - 2 - 3;
    let config = |bytes| Config { tags: tags(bytes), ..quiet("a", addr_of(1)) };
    let mut bench = Bench::new(config(largest));
    assert_eq!(bench.table()["a"].meta.len(), 512);
    assert!(Node::new(config(largest + 1), Seed::from(1), Time::ZERO).is_err());
    assert_eq!(bench.node.set_tags(bench.now, tags(largest + 1)), Err(CommandError::TagsTooLarge));
    assert_eq!(bench.node.local().tags(), tags(largest), "nothing has changed");
}

/// What newer versions add to a message travels on, whoever passes it: the bytes are the received ones.
#[test]
fn a_gossiped_message_is_passed_on_with_all_that_it_carries() {
    // A user event of time 5 named `e`, with one key more than there should be, and two bytes after its end.
    let event =
        b"\x03\x85\xa2CC\xc2\xa5LTime\x05\xa4Name\xa1e\xa7Payload\xc0\xa7Version\x92\x01\xc4\x01x\x00\x07";
    let intent = b"\x01\x83\xa5LTime\x07\xa4Node\xa1z\xa4Zone\xa4west\x00";
    for message in [&event[..], intent] {
        let mut bench = Bench::new(quiet("a", addr_of(1)));
        bench.tell(&alive("b", 1, addr_of(2)));
        bench.take_gossip();
        let heard = user(message);
        bench.tell(&heard);
        assert_eq!(bench.node.counters().messages_dropped, 0);
        assert!(bench.take_gossip().iter().any(|sent| *sent == heard));
    }
}

/// Differs from Serf, which keeps and passes on an intent about a member without a name.
#[test]
fn an_intent_about_nobody_is_not_kept() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.tell(&alive("b", 1, addr_of(2)));
    bench.take_gossip();
    for (node, passed_on) in [("", 0), ("somebody", 1)] {
        let mut leave = Vec::new();
        SerfMessage::Leave(Leave { ltime: 5, node, prune: false }).encode(&mut leave);
        bench.tell(&user(&leave));
        assert_eq!(bench.node.stats().intent_queue, passed_on, "{node:?}");
    }
}

/// Serf's own test of a storm: two leaves of one member, with a return between them that nobody heard, go round once each.
#[test]
fn two_leaves_with_an_unheard_return_between_do_not_echo() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.tell(&alive("b", 1, addr_of(2)));
    bench.take_gossip();
    for round in 0..3 {
        for ltime in [5, 7] {
            let mut leave = Vec::new();
            SerfMessage::Leave(Leave { ltime, node: "b", prune: false }).encode(&mut leave);
            bench.tell(&user(&leave));
        }
        let expected = if round == 0 { 2 } else { 0 };
        assert_eq!(bench.node.stats().intent_queue, expected, "round {round}");
        bench.take_gossip();
    }
}

/// The query that waits to be gossiped.
fn asked(bench: &mut Bench) -> (u64, u32) {
    let found = bench.take_gossip().into_iter().find_map(|message| {
        match SerfMessage::decode(message.strip_prefix(&[8])?) {
            Ok(SerfMessage::Query(query)) => Some((query.ltime, query.id)),
            _ => None,
        }
    });
    found.unwrap()
}

fn answer(bench: &mut Bench, (ltime, id): (u64, u32), flags: u32, payload: Option<&[u8]>) {
    let mut message = Vec::new();
    let response = QueryResponse { ltime, id, from: "b", flags, payload };
    SerfMessage::QueryResponse(response).encode(&mut message);
    bench.tell(&user(&message));
}

/// Serf: an ack that came while its query ended could end the asking node in 0.9.4.
#[test]
fn what_comes_after_the_end_of_a_query_is_nothing() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.tell(&alive("b", 1, addr_of(2)));
    bench.take_gossip();
    let params = QueryParams {
        request_ack: true,
        timeout: Some(ms(1_000)),
        filter_nodes: vec!["b".into()],
        ..QueryParams::default()
    };
    bench.node.query(bench.now, "q", b"", &params).unwrap();
    bench.collect();
    let query = asked(&mut bench);
    answer(&mut bench, query, 1, None);
    assert!(matches!(bench.replies.as_slice(), [(_, QueryReply::Ack { from })] if &**from == "b"));
    bench.run(ms(1_000));
    let ended = bench.replies.len();
    for (flags, payload) in [(1, None), (0, Some(&b"late"[..]))] {
        answer(&mut bench, query, flags, payload);
    }
    assert_eq!(bench.replies.len(), ended);
    assert_eq!(bench.node.counters().query_responses_late, 2);
}

/// Serf: `query.go`, relayResponse, may choose the node that asked, whose copy then says what it has heard already.
#[test]
fn a_relay_never_goes_through_the_one_who_asked() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    for n in 2..5 {
        bench.tell(&alive(["b", "c", "d"][n as usize - 2], 1, addr_of(n)));
    }
    bench.take_gossip();
    for id in 1..50 {
        bench.clear();
        let query = Query { ltime: 4, id, flags: 1, relay_factor: 2, name: "q", ..from_b() };
        bench.tell(&user(&query_message(&query)));
        let sent = bench.take_messages();
        let relayed: Vec<_> = sent.iter().filter(|(_, message)| message.starts_with(&[8, 9])).collect();
        assert_eq!(relayed.len(), 2);
        assert!(relayed.iter().all(|(to, _)| *to != addr_of(2)), "query {id}");
    }
}

/// Differs from Serf, which counts the empty text that other commands send as a primary key.
#[test]
fn only_a_list_of_keys_names_a_primary() {
    let key = Key::new(&[7; 16]).unwrap();
    let config = Config { keyring: Keyring::new([key.clone()]), ..quiet("a", addr_of(1)) };
    let mut bench = Bench::new(config);
    bench.tell(&alive("b", 1, addr_of(2)));
    bench.take_gossip();
    bench.node.keys(bench.now, &KeyCommand::Install(Key::new(&[8; 16]).unwrap()), 0).unwrap();
    bench.collect();
    let query = asked(&mut bench);
    let mut body = Vec::new();
    let response = KeyResponse { result: true, message: "", keys: None, primary_key: "" };
    SerfMessage::KeyResponse(response).encode(&mut body);
    answer(&mut bench, query, 0, Some(&body));
    bench.run(ms(10_000));
    let Some((_, Outcome::Keys(report))) = bench.done.first() else { panic!("{:?}", bench.done) };
    assert!(report.primary_keys.is_empty() && report.keys.is_empty(), "{report:?}");
    assert!(report.responses >= 1 && report.errors == 0, "{report:?}");
}

/// A node that seals with key 7, also has key 8, and knows one other member, `b`.
fn with_two_keys() -> (Bench, Key, Key) {
    let [used, other] = [7, 8].map(|byte| Key::new(&[byte; 16]).unwrap());
    let keyring = Keyring::new([used.clone(), other.clone()]);
    let mut bench = Bench::new(Config { keyring, ..quiet("a", addr_of(1)) });
    bench.tell(&alive("b", 1, addr_of(2)));
    bench.take_gossip();
    (bench, used, other)
}

/// Starts the command and lets `b` answer the look at its ring.
fn look_first(bench: &mut Bench, command: &KeyCommand, ring: Option<&KeyResponse<'_>>) {
    bench.node.keys(bench.now, command, 0).unwrap();
    bench.collect();
    let query = asked(bench);
    if let Some(ring) = ring {
        let mut body = Vec::new();
        SerfMessage::KeyResponse(ring.clone()).encode(&mut body);
        answer(bench, query, 0, Some(&body));
    }
}

/// The command ends without a second question, and its report names `b` with these words.
#[track_caller]
fn check_refused(bench: &mut Bench, result: &str, words: &str) {
    bench.run(ms(10_000));
    let Some((_, Outcome::Keys(report))) = bench.done.first() else { panic!("{:?}", bench.done) };
    assert_eq!(report.result(), Err(result.to_owned()), "{report:?}");
    assert!(report.messages["b"].contains(words), "{report:?}");
    assert_eq!(report.messages.len(), 1, "{report:?}");
    let more: Vec<_> = bench.take_gossip();
    let asks = more.iter().filter_map(|message| SerfMessage::decode(message.strip_prefix(&[8])?).ok());
    let names: Vec<_> = asks
        .filter_map(|message| match message {
            SerfMessage::Query(query) => Some(query.name.to_owned()),
            _ => None,
        })
        .filter(|name| name != "_serf_list-keys")
        .collect();
    assert!(names.is_empty(), "nobody is asked to change anything: {names:?}");
}

fn ring<'a>(keys: &[&'a str], primary_key: &'a str, message: &'a str) -> KeyResponse<'a> {
    KeyResponse { result: true, message, keys: Some(keys.to_vec()), primary_key }
}

/// Differs from Serf, where all but `b` forget the key, and can read nothing of `b` any more.
#[test]
fn a_key_that_a_live_member_seals_with_is_not_removed() {
    let texts = [7, 8].map(|byte| Key::new(&[byte; 16]).unwrap().to_base64());
    let [used, other] = [texts[0].as_str(), texts[1].as_str()];
    // An old Serf does not name the primary key, which is in front.
    for primary in [other, ""] {
        let (mut bench, _, key) = with_two_keys();
        look_first(&mut bench, &KeyCommand::Remove(key), Some(&ring(&[other, used], primary, "")));
        check_refused(&mut bench, "1/2 nodes reported failure", "removing the primary key is not allowed");
    }
}

/// Whoever is silent may seal with the key, or lack it.
#[test]
fn with_a_silent_member_no_key_is_removed_or_used() {
    for command in [KeyCommand::Remove, KeyCommand::Use] {
        let (mut bench, _, key) = with_two_keys();
        look_first(&mut bench, &command(key), None);
        check_refused(&mut bench, "1/2 nodes reported success", "no answer");
    }
}

/// So may whoever shows but some of its keys; for a removal it tells enough.
#[test]
fn a_cut_list_of_keys_is_no_leave_to_use_one_that_it_does_not_show() {
    let texts = [7, 8].map(|byte| Key::new(&[byte; 16]).unwrap().to_base64());
    let cut = ring(&[&texts[0]], &texts[0], "truncated key list response, showing first 1 of 30 keys");
    let (mut bench, _, key) = with_two_keys();
    look_first(&mut bench, &KeyCommand::Use(key), Some(&cut));
    check_refused(&mut bench, "1/2 nodes reported failure", "cut short");

    let (mut bench, _, key) = with_two_keys();
    look_first(&mut bench, &KeyCommand::Remove(key), Some(&cut));
    check_goes_on(&mut bench);
}

/// The second question is asked, and its answer ends the command.
#[track_caller]
fn check_goes_on(bench: &mut Bench) {
    let query = asked(bench);
    let mut body = Vec::new();
    SerfMessage::KeyResponse(KeyResponse { result: true, ..KeyResponse::default() }).encode(&mut body);
    answer(bench, query, 0, Some(&body));
    let Some((_, Outcome::Keys(report))) = bench.done.first() else { panic!("{:?}", bench.done) };
    assert_eq!((report.result(), report.responses), (Ok(()), 2), "{report:?}");
}

#[test]
fn a_key_that_nobody_seals_with_is_removed() {
    let texts = [7, 8].map(|byte| Key::new(&[byte; 16]).unwrap().to_base64());
    let (mut bench, _, key) = with_two_keys();
    let both = ring(&[&texts[0], &texts[1]], &texts[0], "");
    look_first(&mut bench, &KeyCommand::Remove(key), Some(&both));
    check_goes_on(&mut bench);
}

/// Answers bear any name that their sender likes. Those of members are taken whatever came before.
#[test]
fn invented_names_answer_a_query_only_so_often() {
    let mut bench = Bench::new(quiet("a", addr_of(1)));
    bench.tell(&alive("b", 1, addr_of(2)));
    bench.take_gossip();
    bench.node.query(bench.now, "q", b"", &QueryParams::default()).unwrap();
    bench.collect();
    let (ltime, id) = asked(&mut bench);
    for at in 0..200 {
        let from = format!("invented-{at}");
        let mut message = Vec::new();
        SerfMessage::QueryResponse(QueryResponse { ltime, id, from: &from, flags: 0, payload: None })
            .encode(&mut message);
        bench.tell(&user(&message));
    }
    let taken = 64 + 2 * 2;
    assert_eq!(bench.replies.len(), taken);
    assert_eq!(bench.node.counters().query_responses_over_limit, 200 - taken as u64);
    answer(&mut bench, (ltime, id), 0, Some(b"here"));
    assert!(matches!(bench.replies.last(), Some((_, QueryReply::Response { from, .. })) if &**from == "b"));
}
