//! A goodbye and the intent that makes it a leave: they travel together, and either alone is enough.

use std::time::Duration;

use thane_core::{Config, Detector, Member, Status};
use thane_wire::gossip::NodeStateKind;
use thane_wire::serf::{Leave, PushPullState, SerfMessage};

use super::support::{Bench, VERSIONS, addr_of, alive, dead, encode_record, ms, ping, quiet, suspect, user};

/// Node `a` in a cluster with `b` and `c`, with nothing left to say.
fn bench() -> Bench {
    // What others are told waits for the rounds, so that it can be looked at.
    let detector = Detector { spread_at_once: false, ..Detector::default() };
    let config = Config { gossip_interval: ms(100), retransmit_mult: 2, detector, ..quiet("a", addr_of(1)) };
    with_names(config, "b")
}

fn with_names(config: Config, b: &str) -> Bench {
    let mut bench = Bench::new(config);
    bench.tell(&alive(b, 1, addr_of(2)));
    bench.tell(&alive("c", 1, addr_of(3)));
    bench.take_gossip();
    bench.clear();
    bench
}

fn leave(node: &str, ltime: u64) -> Vec<u8> {
    let mut message = Vec::new();
    SerfMessage::Leave(Leave { ltime, node, prune: false }).encode(&mut message);
    user(&message)
}

fn of(bench: &Bench, name: &str) -> Member {
    bench.node.member(name).unwrap()
}

/// The messages of each packet that was sent since the last look and is sent within `span`.
fn packets(bench: &mut Bench, span: Duration) -> Vec<Vec<Vec<u8>>> {
    bench.run(span);
    let packets = std::mem::take(&mut bench.sent).into_iter();
    let open = |packet: Vec<u8>| bench.codec.open_packet(packet.into()).unwrap().messages;
    packets.map(|(_, packet)| open(packet).iter().map(|message| message.to_vec()).collect()).collect()
}

/// Those of these packets that tell of a death or a goodbye.
fn telling(packets: Vec<Vec<Vec<u8>>>) -> Vec<Vec<Vec<u8>>> {
    packets.into_iter().filter(|messages| messages.iter().any(|message| message[0] == 5)).collect()
}

#[test]
fn our_goodbye_goes_out_between_two_copies_of_our_leave_intent() {
    let mut bench = bench();
    let ltime = bench.node.stats().member_time;
    bench.node.leave(bench.now).unwrap();
    bench.collect();
    let sent = packets(&mut bench, ms(5000));
    assert_eq!(sent[0], [leave("a", ltime)], "the intent goes ahead");
    let goodbyes = telling(sent);
    let expected = vec![leave("a", ltime), dead("a", 1, "a"), leave("a", ltime)];
    assert_eq!(goodbyes, vec![expected; 2], "as often as any other message");
}

#[test]
fn the_goodbye_of_another_is_passed_on_with_the_intent_that_we_know() {
    for from in ["b", "c"] {
        let mut bench = bench();
        bench.tell(&leave("b", 9));
        packets(&mut bench, ms(1000));
        bench.tell(&dead("b", 1, from));
        let told = telling(packets(&mut bench, ms(1000)));
        let expected = vec![leave("b", 9), dead("b", 1, from), leave("b", 9)];
        assert_eq!(
            told,
            vec![expected; 2],
            "by {from}: a death notice too may be the first that somebody hears"
        );
        assert_eq!(bench.take_events(), ["left:b"]);
    }
}

#[test]
fn an_intent_that_comes_after_the_goodbye_still_joins_it() {
    let mut bench = bench();
    bench.tell(&dead("b", 1, "b"));
    let alone = |bench: &mut Bench| {
        bench.sent.clear();
        bench.tell(&ping("", 1));
        bench.take_messages().into_iter().map(|(_, message)| message.to_vec()).skip(1).collect::<Vec<_>>()
    };
    assert_eq!(alone(&mut bench), [dead("b", 1, "b")]);
    bench.tell(&leave("b", 9));
    let told = telling(packets(&mut bench, ms(1000)));
    assert_eq!(told.len(), 1);
    let expected = [leave("b", 9), dead("b", 1, "b"), leave("b", 9)];
    assert!(told[0].windows(3).any(|window| window == expected), "{told:?}");
}

#[test]
fn nobody_is_said_to_leave_who_did_not() {
    let mut bench = bench();
    bench.tell(&suspect("b", 1, "c"));
    bench.tell(&dead("b", 1, "c"));
    let told = telling(packets(&mut bench, ms(1000)));
    assert_eq!(told, vec![vec![dead("b", 1, "c")]; 2]);
    assert_eq!(bench.take_events(), ["suspect:b", "failed:b"]);
}

#[test]
fn a_very_long_name_travels_alone() {
    let name = "n".repeat(200);
    let config = Config { gossip_interval: ms(100), retransmit_mult: 2, ..quiet("a", addr_of(1)) };
    let mut bench = with_names(config, &name);
    bench.tell(&leave(&name, 9));
    packets(&mut bench, ms(1000));
    bench.tell(&dead(&name, 1, &name));
    let told = telling(packets(&mut bench, ms(1000)));
    assert_eq!(told, vec![vec![dead(&name, 1, &name)]; 2]);
}

/// Differs from Serf: it reports a failure, and a leave as soon as the intent arrives.
#[test]
fn a_goodbye_whose_intent_is_late_or_lost_is_a_leave() {
    let mut bench = bench();
    bench.tell(&dead("b", 1, "b"));
    assert_eq!(bench.take_events(), ["left:b"]);
    assert_eq!((of(&bench, "b").status, of(&bench, "b").status_ltime), (Status::Left, 0));
    bench.tell(&leave("b", 9));
    assert_eq!(bench.take_events(), [""; 0], "it is no news");
    assert_eq!((of(&bench, "b").status, of(&bench, "b").status_ltime), (Status::Left, 9));
    assert!(bench.take_gossip().contains(&leave("b", 9).into()), "but others may not know it");
    bench.tell(&alive("b", 2, addr_of(2)));
    assert_eq!(bench.take_events(), ["join:b"]);
}

/// The members' half of an exchange is read before the half with the intents.
#[test]
fn a_leave_learned_in_an_exchange_is_a_leave_and_passed_on_as_one() {
    let mut bench = bench();
    let state = PushPullState {
        ltime: 12,
        status_ltimes: vec![("a", 0), ("b", 9), ("c", 0)],
        left_members: Some(vec!["b"]),
        event_ltime: 1,
        events: Some(vec![]),
        query_ltime: 1,
    };
    let mut user_state = Vec::new();
    SerfMessage::PushPull(state).encode(&mut user_state);
    let left = encode_record("b", 1, addr_of(2), NodeStateKind::Left, &VERSIONS);
    bench.push_with(false, &[left], &user_state);
    assert_eq!(bench.take_events(), ["left:b"]);
    assert_eq!(of(&bench, "b").status_ltime, 9);
    let told = telling(packets(&mut bench, ms(1000)));
    assert_eq!(told, vec![vec![leave("b", 9), dead("b", 1, "b"), leave("b", 9)]; 2]);
}

/// An intent of the same Lamport time that does not say so would keep others from erasing the member.
#[test]
fn an_order_to_erase_a_member_is_not_overtaken_by_an_intent_without_it() {
    let erase = |name, ltime| {
        let mut message = Vec::new();
        SerfMessage::Leave(Leave { ltime, node: name, prune: true }).encode(&mut message);
        user(&message)
    };
    for order in [[dead("b", 1, "c"), erase("b", 9)], [erase("b", 9), dead("b", 1, "c")]] {
        let mut bench = bench();
        for message in &order {
            bench.tell(message);
        }
        let told = telling(packets(&mut bench, ms(1000)));
        assert!(!told.concat().contains(&leave("b", 9)), "{told:?}");
    }
}
