//! Exchanges among nodes that share what they know come to the same as those among nodes that do not.

use std::net::SocketAddr;

use bytes::Bytes;
use thane_wire::gossip::{NodeState, NodeStateKind};
use thane_wire::serf::{PushPullState, SerfMessage};
use thane_wire::stream::{PushPull, Role};

use crate::config::Config;
use crate::interner::Interner;
use crate::node::{Node, Replay};
use crate::output::{Output, StreamId};
use crate::rng::Seed;
use crate::time::Time;

const MEMBERS: u8 = 100;
const NOW: Time = Time::ZERO;

/// What a list says of one member.
struct Listed {
    number: u8,
    incarnation: u32,
    state: NodeStateKind,
    meta: &'static [u8],
    ltime: u64,
}

impl Listed {
    fn alive(number: u8) -> Self {
        Self { number, incarnation: 3, state: NodeStateKind::Alive, meta: b"", ltime: 5 }
    }

    fn name(&self) -> String {
        format!("member-{}", self.number)
    }
}

/// A whole list as a stream brings it.
fn list(members: &[Listed]) -> Vec<u8> {
    let names: Vec<String> = members.iter().map(Listed::name).collect();
    let mut records = Vec::new();
    for (listed, name) in members.iter().zip(&names) {
        NodeState {
            name,
            addr: &[10, 0, 1, listed.number],
            port: 7946,
            meta: (!listed.meta.is_empty()).then_some(listed.meta),
            incarnation: listed.incarnation,
            state: listed.state,
            versions: &[1, 5, 2, 2, 5, 4],
        }
        .encode(&mut records);
    }
    let is_left = |(listed, _): &(&Listed, &String)| listed.state == NodeStateKind::Left;
    let left = members.iter().zip(&names).filter(is_left).map(|(_, name)| &**name).collect();
    let mut user_state = Vec::new();
    SerfMessage::PushPull(PushPullState {
        ltime: 20,
        status_ltimes: members.iter().zip(&names).map(|(listed, name)| (&**name, listed.ltime)).collect(),
        left_members: Some(left),
        event_ltime: 1,
        events: Some(Vec::new()),
        query_ltime: 1,
    })
    .encode(&mut user_state);
    let mut message = Vec::new();
    PushPull::encode(false, members.len(), &records, &user_state, &mut message);
    message
}

fn node(name: &str, last: u8, interner: Option<&Interner>) -> Node {
    let addr = SocketAddr::from(([10, 0, 0, last], 7946));
    let config = Config { compression: false, interner: interner.cloned(), ..Config::lan(name, addr) };
    Node::new(config, Seed::from(u64::from(last)), NOW).unwrap()
}

/// Somebody opens a stream to a node and writes this; all that follows, but for the bytes of its own list, which may be in any order.
fn told(node: &mut Node, pieces: &[&[u8]]) -> Vec<Output> {
    while node.poll_output().is_some() {}
    let stream = node.handle_stream_accepted(NOW, SocketAddr::from(([10, 0, 0, 9], 40_000))).unwrap();
    for bytes in pieces {
        node.handle_stream_data(NOW, stream, bytes);
    }
    let all = std::iter::from_fn(|| node.poll_output());
    all.map(|output| match output {
        Output::Write { stream, bytes } => Output::Write { stream, bytes: vec![0; bytes.len()].into() },
        other => other,
    })
    .collect()
}

/// The list of a node, as it writes it to a stream that it opens.
fn list_of(node: &mut Node) -> Bytes {
    while node.poll_output().is_some() {}
    node.join(NOW, &[SocketAddr::from(([10, 0, 0, 2], 7946))], Replay::Ignore).unwrap();
    let mut dialed: Option<StreamId> = None;
    while let Some(output) = node.poll_output() {
        if let Output::Dial { stream, .. } = output {
            dialed = Some(stream);
        }
    }
    node.handle_stream_connected(NOW, dialed.unwrap());
    let mut outputs = std::iter::from_fn(|| node.poll_output());
    let written = outputs.find_map(|output| match output {
        Output::Write { bytes, .. } => Some(bytes),
        _ => None,
    });
    written.unwrap()
}

/// Another list than that of all members as they were first: who is missing, newer, older, suspect, dead, gone, back.
fn otherwise() -> Vec<Listed> {
    let changed = |number: u8| {
        let listed = Listed::alive(number);
        match number {
            0 => None,
            1 => Some(Listed { incarnation: 4, meta: b"news", ..listed }),
            2 => Some(Listed { incarnation: 2, ..listed }),
            3 => Some(Listed { state: NodeStateKind::Suspect, ..listed }),
            4 => Some(Listed { state: NodeStateKind::Dead, ..listed }),
            5 => Some(Listed { state: NodeStateKind::Left, ltime: 9, ..listed }),
            6 => Some(Listed { ltime: 7, ..listed }),
            _ => Some(listed),
        }
    };
    (0..MEMBERS).filter_map(changed).collect()
}

#[test]
fn only_news_of_a_shared_list_are_read_and_they_come_to_the_same_as_all_of_it() {
    let first: Vec<Listed> = (0..MEMBERS).map(Listed::alive).collect();
    for (of_sender, of_receiver) in [(&first, &otherwise()), (&otherwise(), &first), (&first, &first)] {
        let interner = Interner::new(Seed::from(1));
        let (mut sender, mut shares) =
            (node("sender", 1, Some(&interner)), node("receiver", 2, Some(&interner)));
        let mut alone = node("receiver", 2, None);
        // Whoever is unknown cannot be accused, so everybody hears of all first.
        for learned in [&first, of_sender] {
            let _ = told(&mut sender, &[&list(learned)]);
        }
        for receiver in [&mut shares, &mut alone] {
            for learned in [&first, of_receiver] {
                let _ = told(receiver, &[&list(learned)]);
            }
        }
        // At first the sender itself is news, afterwards nothing but who is suspect or held to be newer.
        for round in 0..3 {
            let bytes = list_of(&mut sender);
            let message = shares.shared_message(Role::Acceptor, &bytes).expect("the list is known");
            let news = shares.news_of(&message).expect("it can be read");
            let read = news.nodes().count();
            assert!(read < 12 && (round > 0 || read > 0), "{read} records were read in round {round}");
            let copy = bytes.to_vec();
            assert!(shares.shared_message(Role::Acceptor, &copy).is_none(), "a copy is read in full");
            // Whole; in two pieces; in two pieces of which only one is of the list's own memory.
            let (begin, rest) = bytes.split_at(bytes.len() / 2);
            let pieces = match round {
                0 => vec![&bytes[..]],
                1 => vec![begin, rest],
                _ => vec![begin, &copy[begin.len()..]],
            };
            assert_eq!(told(&mut shares, &pieces), told(&mut alone, &pieces), "round {round}");
            assert!(shares.members().eq(alone.members()));
            assert_eq!((shares.stats(), shares.counters()), (alone.stats(), alone.counters()));
        }
    }
}

#[test]
fn who_holds_the_same_sends_the_same_piece_of_memory() {
    let interner = Interner::new(Seed::from(1));
    let [mut one, mut other] = ["one", "other"].map(|name| node(name, name.len() as u8, Some(&interner)));
    let first: Vec<Listed> = (0..MEMBERS).map(Listed::alive).collect();
    for node in [&mut one, &mut other] {
        let _ = told(node, &[&list(&first)]);
    }
    for _ in 0..2 {
        let _ = told(&mut one, &[&list_of(&mut other)]);
        let _ = told(&mut other, &[&list_of(&mut one)]);
    }
    assert_eq!(list_of(&mut one).as_ptr(), list_of(&mut other).as_ptr());
}
