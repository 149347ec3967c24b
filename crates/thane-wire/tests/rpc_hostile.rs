//! Whatever a client or an agent sends, reading it never panics and does not depend on how the bytes are cut up.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

use proptest::prelude::*;
use thane_wire::rpc::{
    Command, Incoming, Record, Request, RequestDecoder, ResponseBody, ResponseDecoder, ResponseHeader,
};

const COMMANDS: [&str; 20] = [
    "handshake",
    "auth",
    "event",
    "force-leave",
    "join",
    "members",
    "members-filtered",
    "stream",
    "monitor",
    "stop",
    "leave",
    "install-key",
    "use-key",
    "remove-key",
    "list-keys",
    "tags",
    "query",
    "respond",
    "stats",
    "get-coordinate",
];

fn requests(bytes: &[u8], piece: usize) -> (Vec<(u64, Request)>, bool) {
    let (mut agent, mut all) = (RequestDecoder::new(), Vec::new());
    for bytes in bytes.chunks(piece) {
        agent.push(bytes);
        loop {
            match agent.next_request() {
                Ok(Some(request)) => all.push(request),
                Ok(None) => break,
                Err(_) => return (all, true),
            }
        }
    }
    (all, false)
}

fn incoming(bytes: &[u8], piece: usize) -> (Vec<Incoming>, bool) {
    let (mut client, mut all) = (ResponseDecoder::new(), Vec::new());
    for (seq, name) in (0..).zip(COMMANDS) {
        client.expect(seq, Command::from_name(name));
    }
    for bytes in bytes.chunks(piece) {
        client.push(bytes);
        loop {
            match client.next_incoming() {
                Ok(Some(incoming)) => all.push(incoming),
                Ok(None) => break,
                Err(_) => return (all, true),
            }
        }
    }
    (all, false)
}

/// What was sent in the recorded conversations, chunk by chunk.
fn recorded() -> Vec<Vec<u8>> {
    let all: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("vectors/rpc/client_0.10.1.json")).unwrap();
    let unhex = |text: &str| {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let events = all.iter().flat_map(|conversation| conversation["events"].as_array().unwrap());
    events
        .filter_map(|event| event.get("hex")?.as_str().map(unhex))
        .filter(|bytes: &Vec<u8>| bytes.len() < 2000)
        .collect()
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for name in COMMANDS {
            let command = Command::from_name(name);
            if let Ok(request) = Request::decode(&command, &bytes) {
                prop_assert_eq!(request.command(), command.clone());
            }
            _ = ResponseBody::decode(&command, &bytes);
        }
        _ = Record::decode(&bytes);
        _ = ResponseHeader::decode(&bytes);
        requests(&bytes, 300);
        incoming(&bytes, 300);
    }

    #[test]
    fn damaged_conversations_do_not_depend_on_how_they_are_cut_up(
        message in prop::sample::select(recorded()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        piece in 1_usize..40,
    ) {
        let mut bytes = message;
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assert_eq!(requests(&bytes, piece), requests(&bytes, usize::MAX));
        // Floating-point numbers may have become NaN, which equals nothing.
        prop_assert_eq!(format!("{:?}", incoming(&bytes, piece)), format!("{:?}", incoming(&bytes, usize::MAX)));
    }

    #[test]
    fn what_an_agent_reads_it_would_read_again(bytes in prop::sample::select(recorded())) {
        for (seq, request) in requests(&bytes, usize::MAX).0 {
            let mut out = Vec::new();
            request.encode(seq, &mut out);
            prop_assert_eq!(requests(&out, usize::MAX), (vec![(seq, request)], false));
        }
    }
}
