//! Nodes that stop and start again with their snapshots.

use std::fs;

use thane::{Builder, Coalesce, Event, Node, Replay, Status};

use super::directory::Directory;
use super::{builder, event, eventually, own_address, start, wait_for_status};

/// A node that keeps a snapshot, on a port that it will have again.
async fn first_life(name: &str, directory: &Directory) -> (Node, impl Fn() -> Builder) {
    let path = directory.path(name);
    let first = builder(name).bind(own_address()).snapshot_path(&path).start().await.unwrap();
    let (name, addr) = (name.to_owned(), first.local_addr().to_string());
    (first, move || builder(&name).bind(addr.clone()).snapshot_path(&path))
}

fn user_event(event: &Event) -> Option<String> {
    match event {
        Event::User(event) => Some(event.name.to_string()),
        _ => None,
    }
}

/// SF-448, SF-465, SF-692, ML-311.
#[tokio::test]
async fn a_node_that_was_killed_finds_its_cluster_and_hears_nothing_twice() {
    let directory = Directory::new("killed");
    let a = start("a").await;
    let (b, again) = first_life("b", &directory).await;
    let mut events = b.events();
    b.join([a.local_addr().to_string()]).await.unwrap();
    a.user_event("seen", "", Coalesce::No).await.unwrap();
    assert_eq!(event(&mut events, "the event", user_event).await, "seen");
    let path = directory.path("b");
    // By the timer, without anything that follows.
    eventually("the snapshot has it", async || {
        fs::read_to_string(&path).is_ok_and(|text| text.contains("event-clock: 1\n"))
    })
    .await;
    // What the file holds at this moment is what a kill leaves.
    let killed = fs::read(&path).unwrap();
    b.shutdown().await;
    fs::write(&path, [killed.as_slice(), b"alive: c 127."].concat()).unwrap();
    wait_for_status(&a, "b", Status::Failed).await;
    a.user_event("missed", "", Coalesce::No).await.unwrap();

    let (b, mut events) = again().start_with_events().await.unwrap();
    wait_for_status(&b, "a", Status::Alive).await;
    wait_for_status(&a, "b", Status::Alive).await;
    assert_eq!(event(&mut events, "an event", user_event).await, "missed");
    assert!(b.local_member().await.incarnation >= 2, "above its last life");
    // Even if it asks for all that the others remember.
    b.join_with([a.local_addr().to_string()], Replay::Old).await.unwrap();
    a.user_event("next", "", Coalesce::No).await.unwrap();
    assert_eq!(event(&mut events, "an event", user_event).await, "next");
}

#[tokio::test]
async fn a_node_that_left_comes_back_alone_unless_told_otherwise() {
    let directory = Directory::new("left");
    let a = start("a").await;
    let (b, again) = first_life("b", &directory).await;
    b.join([a.local_addr().to_string()]).await.unwrap();
    wait_for_status(&b, "a", Status::Alive).await;
    b.leave().await.unwrap();
    b.shutdown().await;
    let text = fs::read_to_string(directory.path("b")).unwrap();
    assert!(text.contains("\nleave\nclock: "), "{text}");

    let b = again().start().await.unwrap();
    assert_eq!(b.members().await.len(), 1);
    b.join([a.local_addr().to_string()]).await.unwrap();
    wait_for_status(&a, "b", Status::Alive).await;
    b.leave().await.unwrap();
    b.shutdown().await;

    // Whoever may rejoin after a leave must say so before it leaves, too.
    let b = again().rejoin_after_leave(true).start().await.unwrap();
    wait_for_status(&b, "a", Status::Alive).await;
    b.leave().await.unwrap();
    b.shutdown().await;
    let b = again().rejoin_after_leave(true).start().await.unwrap();
    wait_for_status(&b, "a", Status::Alive).await;
    wait_for_status(&a, "b", Status::Alive).await;
}

/// A file that Serf wrote, with its own lines and those of its old versions.
#[tokio::test]
async fn a_snapshot_of_serf_starts_a_node() {
    let directory = Directory::new("serf");
    let a = start("a").await;
    let path = directory.path("b");
    let port = a.local_addr().port();
    fs::write(
        &path,
        format!(
            "alive: b 127.0.0.1:7947\nalive: a 127.0.0.1:{port}\nclock: 4\ncoordinate: {{}}\nevent-clock: 9\nquery-clock: 3\n"
        ),
    )
    .unwrap();
    let b = builder("b").snapshot_path(&path).start().await.unwrap();
    wait_for_status(&b, "a", Status::Alive).await;
    let stats = b.stats().await;
    assert!(stats.member_time >= 5 && stats.event_time == 10 && stats.query_time == 4, "{stats:?}");
    b.shutdown().await;
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.ends_with('\n'), "{text}");
    for line in text.lines() {
        let known =
            ["alive: ", "not-alive: ", "clock: ", "event-clock: ", "query-clock: ", "coordinate: ", "#"];
        assert!(known.iter().any(|known| line.starts_with(known)), "Serf would warn of {line:?}");
    }
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_opened_is_no_start() {
    let directory = Directory::new("unopened");
    let path = directory.path("no").join("snapshot");
    let text = builder("a").snapshot_path(&path).start().await.unwrap_err().to_string();
    assert!(text.starts_with("Failed to setup snapshot: failed to open snapshot: open "), "{text}");
    assert!(text.ends_with("no such file or directory"), "{text}");
}

/// SF-333: a member that had failed when we stopped is looked for too, and the rest of a line that was cut off is no hindrance.
#[tokio::test]
async fn sf_333_a_snapshot_leads_back_to_a_member_that_had_failed() {
    let directory = Directory::new("failed");
    let a = builder("a").bind(own_address()).start().await.unwrap();
    let at = a.local_addr().to_string();
    let (b, again) = first_life("b", &directory).await;
    b.join([&at]).await.unwrap();
    wait_for_status(&b, "a", Status::Alive).await;
    a.shutdown().await;
    wait_for_status(&b, "a", Status::Failed).await;
    b.shutdown().await;
    let path = directory.path("b");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(&format!("\nnot-alive: a\n# failed: a {at}\n")), "{text}");
    fs::write(&path, [text.as_bytes(), b"garbage\n\0\0\nalive: a 10."].concat()).unwrap();

    let b = again().start().await.unwrap();
    let a = builder("a").bind(at).start().await.unwrap();
    wait_for_status(&b, "a", Status::Alive).await;
    wait_for_status(&a, "b", Status::Alive).await;
}
