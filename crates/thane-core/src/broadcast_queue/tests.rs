//! The queue against recorded traces of memberlist's and of Serf's, and the tables of memberlist's own tests.

use serde_json::Value;

use super::*;
use crate::formulas::retransmit_limit;

/// A message that begins with its id.
fn message(id: &str, len: usize) -> Arc<Message> {
    about(None, id, len)
}

fn about(name: Option<&str>, id: &str, len: usize) -> Arc<Message> {
    let mut bytes = id.as_bytes().to_vec();
    assert!(bytes.len() <= len, "{id} fits");
    bytes.resize(len, 0);
    Message::new(name.map(Arc::from).as_ref(), &bytes)
}

fn id(message: &Arc<Message>) -> String {
    String::from_utf8(message.iter().copied().take_while(|byte| *byte != 0).collect()).unwrap()
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|id| id.as_str().unwrap().to_owned()).collect()
}

fn number(value: &Value, field: &str) -> usize {
    value[field].as_u64().unwrap() as usize
}

fn take(queue: &mut BroadcastQueue, overhead: usize, room: usize, limit: u32) -> Vec<String> {
    let mut out = Vec::new();
    let used = queue.take(overhead, room, limit, usize::MAX, &mut out);
    assert_eq!(used, out.iter().map(|message| message.len() + overhead).sum::<usize>());
    assert!(used <= room, "{used} bytes in {room}");
    queue.check_invariants();
    out.iter().map(id).collect()
}

/// Each message's id is that of the command that waits for it: `m012` is command 12.
fn op_of(id: &str) -> OpId {
    OpId(id.trim_start_matches('m').parse().unwrap())
}

fn finished(queue: &mut BroadcastQueue) -> Vec<String> {
    queue.take_finished().into_iter().map(|op| format!("m{:03}", op.0)).collect()
}

/// Whether messages of one length come in another order, or one is in the place of another of its length.
fn turned_round(got: &[String], wanted: &[String], lengths: &BTreeMap<String, usize>, op: &Value) -> bool {
    let by_length = |ids: &[String]| ids.iter().map(|id| lengths[id]).collect::<Vec<usize>>();
    assert_eq!(by_length(got), by_length(wanted), "{op}: {got:?}");
    got != wanted
}

/// Differs from memberlist: the numbers that tell newer from older start again there whenever the queue is empty, even for a moment, so
/// that an older message may pass for the newer one. Where that shows, ours has another message of the same length.
#[test]
fn every_recorded_trace_of_memberlist_is_ours_too() {
    let all: Value = serde_json::from_str(include_str!("../../tests/vectors/gossip/queue.json")).unwrap();
    let (mut steps, mut odd_steps) = (0, 0);
    for trace in all["traces"].as_array().unwrap() {
        let limit = retransmit_limit(number(trace, "retransmit_mult") as u32, number(trace, "num_nodes"));
        let mut queue = BroadcastQueue::new(Seed::from(0));
        let mut lengths = BTreeMap::new();
        for (at, op) in trace["ops"].as_array().unwrap().iter().enumerate() {
            steps += 1;
            let mut odd = false;
            match op["op"].as_str().unwrap() {
                kind @ ("queue_named" | "queue_unique") => {
                    let id = op["id"].as_str().unwrap();
                    lengths.insert(id.to_owned(), number(op, "len"));
                    let name = op["name"].as_str().filter(|_| kind == "queue_named");
                    queue.queue(about(name, id, number(op, "len")), None, Some(op_of(id)));
                }
                "get" => {
                    let got = take(&mut queue, number(op, "overhead"), number(op, "limit"), limit);
                    odd |= turned_round(&got, &strings(&op["got"]), &lengths, op);
                }
                "prune" => {
                    let before = queue.len();
                    let dropped = queue.prune(number(op, "limit"));
                    assert_eq!(before - dropped, queue.len());
                }
                other => panic!("an operation that this test does not know: {other}"),
            }
            odd |= turned_round(&finished(&mut queue), &strings(&op["finished"]), &lengths, op);
            assert_eq!(queue.len(), number(op, "queued_after"), "step {at}: {op}");
            assert_eq!(queue.is_empty(), op["queued_after"] == 0, "step {at}: {op}");
            queue.check_invariants();
            odd_steps += usize::from(odd);
        }
    }
    assert_eq!(steps, 276);
    assert!(odd_steps <= 8, "{odd_steps} steps differ among messages of one length");
    let same = steps - odd_steps;
    eprintln!("compat: broadcast queue, steps | cases={steps} same={same} listed={odd_steps}");
}

#[test]
fn every_recorded_selection_of_serf_is_ours_too() {
    let all: Value =
        serde_json::from_str(include_str!("../../tests/vectors/serf/broadcast_selection.json")).unwrap();
    let cases = all["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 7);
    for case in cases {
        let limit = retransmit_limit(number(case, "retransmit_mult") as u32, number(case, "node_count"));
        let mut queues = ["intent", "query", "event"].map(|name| {
            let mut queue = BroadcastQueue::new(Seed::from(0));
            for new in case["queued_in_order"][name].as_array().into_iter().flatten() {
                queue.queue(message(new["id"].as_str().unwrap(), number(new, "len")), None, None);
            }
            queue
        });
        let (overhead, room) = (number(case, "overhead"), number(case, "limit"));
        for call in case["get_broadcasts_calls"].as_array().unwrap() {
            let (mut sent, mut out) = (Vec::new(), Vec::new());
            let mut used = 0;
            for queue in &mut queues {
                used += queue.take(overhead, room - used, limit, usize::MAX, &mut out);
                sent.extend(std::mem::take(&mut out).iter().map(id));
            }
            assert_eq!(sent, strings(&call["sent"]), "{} {call}", case["name"]);
            let left: Vec<u64> = queues.iter().map(|queue| queue.len() as u64).collect();
            let wanted: Vec<u64> =
                call["left"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
            assert_eq!(left, wanted, "{} {call}", case["name"]);
        }
    }
    eprintln!("compat: Serf's selection of broadcasts | cases={0} same={0} listed=0", cases.len());
}

/// memberlist: `queue_test.go`, `TestTransmitLimited_GetBroadcasts`.
#[test]
fn overhead_counts_for_each_message() {
    for (overhead, wanted) in [(2, 4), (3, 3)] {
        let mut queue = BroadcastQueue::new(Seed::from(0));
        for at in 0..4 {
            queue.queue(message(&format!("m{at}"), 18), None, None);
        }
        assert_eq!(take(&mut queue, overhead, 80, 10).len(), wanted, "overhead {overhead}");
    }
}

/// memberlist: `queue_test.go`, `TestTransmitLimited_GetBroadcasts_Limit`.
#[test]
fn a_message_goes_out_as_often_as_the_limit_says() {
    let mut queue = BroadcastQueue::new(Seed::from(0));
    for at in 0..4 {
        queue.queue(message(&format!("m{at}"), 18), None, None);
    }
    let rounds: Vec<usize> = (0..4).map(|_| take(&mut queue, 3, 80, 2).len()).collect();
    assert_eq!(rounds, [3, 3, 2, 0]);
}

/// memberlist: `queue_test.go`, `TestTransmitLimited_Prune` and `TestTransmitLimited_Queue`.
#[test]
fn the_oldest_of_equals_are_pruned_and_replaced_messages_are_finished() {
    let mut queue = BroadcastQueue::new(Seed::from(0));
    for at in 0..4 {
        let (name, id) = (format!("node{at}"), format!("m{at}"));
        queue.queue(about(Some(&name), &id, 18), None, Some(OpId(at)));
    }
    assert_eq!(queue.prune(2), 2);
    assert_eq!(queue.take_finished(), [OpId(0), OpId(1)]);
    queue.queue(about(Some("node3"), "m9", 18), None, Some(OpId(9)));
    assert_eq!(
        queue.take_finished(),
        [OpId(3)],
        "a newer statement about the same member replaces the older one"
    );
    assert_eq!(take(&mut queue, 0, 1000, 5), ["m9", "m2"], "and counts as the newest");
    assert_eq!(BroadcastQueue::new(Seed::from(0)).prune(0), 0, "an unused queue has nothing to lose");
}

#[test]
fn a_packet_takes_no_more_parts_than_allowed() {
    let mut queue = BroadcastQueue::new(Seed::from(0));
    for at in 0..300 {
        queue.queue(message(&format!("m{at}"), 5), None, None);
    }
    let mut out = vec![Message::new(None, b"first")];
    queue.take(2, 100_000, 4, 127, &mut out);
    assert_eq!(out.len(), 127, "the messages that were there already count");
}

#[test]
fn an_escort_goes_in_front_and_behind_and_counts_with_its_message() {
    let mut queue = BroadcastQueue::new(Seed::from(0));
    queue.queue(about(Some("a"), "m1", 10), Some(message("e1", 6)), Some(OpId(1)));
    queue.queue(about(Some("b"), "m2", 20), None, None);
    // 10 + 2 × (6 + 2) bytes: longer than the other, which is what decides who comes first.
    assert_eq!(take(&mut queue, 2, 27, 4), ["m2"], "all of it must fit");
    assert_eq!(take(&mut queue, 2, 28, 4), ["e1", "m1", "e1"]);
    queue.escort("b", message("e2", 6));
    queue.escort("b", message("e3", 6));
    queue.escort("nobody", message("e4", 6));
    assert_eq!(take(&mut queue, 2, 1000, 4), ["e2", "m2", "e2", "e1", "m1", "e1"]);
    let mut out = vec![Message::new(None, b"")];
    queue.take(2, 1000, 4, 6, &mut out);
    assert_eq!(out.len(), 4, "all of it within the number of parts");
    queue.queue(about(Some("a"), "m3", 10), None, None);
    assert_eq!(queue.take_finished(), [OpId(1)]);
    assert_eq!(take(&mut queue, 2, 14, 4), ["m3"], "the escort went with the message that was replaced");
}
