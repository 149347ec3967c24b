//! Questions over real sockets.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use thane::{CommandError, Event, IncomingQuery, Node, Query, QueryError, QueryReplies, Reply, RespondError};

use super::{builder, cluster, event, in_time, start};

/// Has a node answer every query with its own name.
fn answering(node: &Node) {
    let (mut events, name) = (node.events(), node.name().to_owned());
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Event::Query(query) = event {
                query.respond(name.clone()).await.unwrap();
            }
        }
    });
}

/// Who acknowledged, and who answered what.
async fn all(mut replies: QueryReplies) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut acks, mut responses) = (BTreeSet::new(), BTreeSet::new());
    in_time("the query ends", async {
        while let Some(reply) = replies.next().await {
            match reply {
                Reply::Ack { from } => assert!(acks.insert(from.to_string()), "{from} acknowledged twice"),
                Reply::Response { from, payload } => {
                    assert_eq!(payload, from.as_bytes());
                    assert!(responses.insert(from.to_string()), "{from} answered twice");
                }
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    assert_eq!(replies.dropped(), 0);
    (acks, responses)
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

/// A query of which the deadline is far away.
fn long(name: &str) -> Query {
    Query::new(name).timeout(Duration::from_secs(600))
}

/// The next query that this node hears of.
async fn next_query(events: &mut thane::Events) -> IncomingQuery {
    event(events, "a query", |event| match event {
        Event::Query(query) => Some(query.clone()),
        _ => None,
    })
    .await
}

/// SF-398, SF-509: a query ends as soon as all who can answer have, long before its deadline.
#[tokio::test]
async fn sf_398_509_all_are_asked_and_the_end_comes_with_the_last_answer() {
    let nodes = cluster(["a", "b", "c"]).await;
    nodes.iter().for_each(answering);
    let replies = nodes[0].query(long("q").acks()).await.unwrap();
    assert_eq!(all(replies).await, (set(["a", "b", "c"]), set(["a", "b", "c"])));
    let replies = nodes[1].query(long("q").relay_factor(1)).await.unwrap();
    assert_eq!(all(replies).await, (set([]), set(["a", "b", "c"])));
}

#[tokio::test]
async fn filters_choose_who_is_asked() {
    let a = builder("a").tag("role", "web").start().await.unwrap();
    let b = builder("b").tag("role", "db").start().await.unwrap();
    for node in [&a, &b] {
        answering(node);
    }
    a.join([b.local_addr().to_string()]).await.unwrap();
    for (query, wanted) in [
        (long("q").to_nodes(["b", "nobody"]), set(["b"])),
        (long("q").to_nodes(["a"]).to_nodes(["b"]), set(["a", "b"])),
        (long("q").to_tag("role", "^w"), set(["a"])),
        (long("q").to_tag("role", "d.*b$"), set(["b"])),
        (long("q").to_tag("role", "^(web|db)$").to_nodes(["a"]), set(["a"])),
    ] {
        let text = format!("{query:?}");
        assert_eq!(all(a.query(query).await.unwrap()).await.1, wanted, "{text}");
    }
}

#[tokio::test]
async fn without_all_answers_or_when_asked_to_it_ends_at_the_deadline() {
    let a = start("a").await;
    let timeout = Duration::from_secs(2);
    for query in [Query::new("silence").acks(), Query::new("silence").acks().until_deadline()] {
        let begun = Instant::now();
        let replies = a.query(query.timeout(timeout)).await.unwrap();
        assert_eq!(all(replies).await, (set(["a"]), set([])));
        assert!(begun.elapsed() >= timeout);
    }
    answering(&a);
    let begun = Instant::now();
    let replies = a.query(Query::new("q").timeout(timeout).until_deadline()).await.unwrap();
    assert_eq!(all(replies).await.1, set(["a"]));
    assert!(begun.elapsed() >= timeout, "although all had answered");
}

#[tokio::test]
async fn a_query_says_who_asks_and_takes_one_answer() {
    let (a, mut events) = builder("a").start_with_events().await.unwrap();
    let mut second = a.events();
    let replies = a.query(long("what").payload("this")).await.unwrap();
    let query = next_query(&mut events).await;
    assert_eq!((&*query.name, &*query.payload, &*query.source), ("what", b"this".as_slice(), "a"));
    assert!(query.deadline.since(a.now()) > Duration::from_secs(500));
    // Another subscriber has the same one.
    let same = next_query(&mut second).await;
    assert_eq!(same, query);

    let error = query.respond(vec![b'x'; 1024]).await.unwrap_err();
    assert_eq!(error, RespondError::TooLarge { limit: 1024 });
    assert_eq!(error.to_string(), "response exceeds limit of 1024 bytes");
    same.respond("a").await.unwrap();
    let error = query.respond("again").await.unwrap_err();
    assert_eq!((&error, error.to_string().as_str()), (&RespondError::AlreadySent, "response already sent"));
    assert_eq!(all(replies).await.1, set(["a"]));
    a.shutdown().await;
    assert_eq!(query.respond("a").await, Err(RespondError::Stopped));
}

#[tokio::test]
async fn an_answer_after_the_deadline_is_refused() {
    let (a, mut events) = builder("a").start_with_events().await.unwrap();
    let replies = a.query(Query::new("q").timeout(Duration::from_millis(50))).await.unwrap();
    let query = next_query(&mut events).await;
    assert_eq!(all(replies).await.1, set([]));
    // The end and the deadline are the same moment; an answer must come after it.
    while a.now() <= query.deadline {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let error = query.respond("late").await.unwrap_err();
    assert_eq!((&error, error.to_string().as_str()), (&RespondError::Late, "response is past the deadline"));
}

#[tokio::test]
async fn too_large_a_question_is_refused() {
    let a = start("a").await;
    let error = a.query(Query::new("q").payload(vec![0; 1024])).await.unwrap_err();
    assert_eq!(error, QueryError::Refused(CommandError::QueryTooLarge { limit: 1024 }));
    assert_eq!(error.to_string(), "query exceeds limit of 1024 bytes");
    a.shutdown().await;
    assert_eq!(a.query(Query::new("q")).await.unwrap_err(), QueryError::Stopped);
}

/// As many as may be under way, twice: those that are dropped make room.
#[tokio::test]
async fn who_no_longer_listens_makes_room_for_others() {
    let a = start("a").await;
    let mut replies = Vec::new();
    for _ in 0..1024 {
        replies.push(a.query(long("q")).await.unwrap());
    }
    let full = a.query(long("q")).await.unwrap_err();
    assert_eq!(full, QueryError::Refused(CommandError::TooManyQueries { limit: 1024 }));
    replies.clear();
    super::eventually("there is room again", async || a.query(long("q")).await.is_ok()).await;
}

#[tokio::test]
async fn a_query_ends_with_its_node() {
    let a = start("a").await;
    let mut replies = a.query(long("q")).await.unwrap();
    a.shutdown().await;
    assert_eq!(in_time("the end", replies.next()).await, None);
}
