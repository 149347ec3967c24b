//! Starting and stopping, and what callers and subscribers see of it.

use std::net::SocketAddr;

use thane::{
    Coalesce, CommandError, EVENT_QUEUE_MAX, Event, JoinError, Key, LeaveError, Node, StartError, Status,
    Stopped,
};

use super::{builder, cluster, eventually, in_time, own_address, start, wait_for_status};

#[tokio::test]
async fn an_occupied_port_is_named_with_the_remedy() {
    let first = start("a").await;
    let error = builder("b").bind(first.local_addr().to_string()).start().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&first.local_addr().to_string()), "{text}");
    assert!(text.contains("another node? choose another port with Builder::bind"), "{text}");
}

#[tokio::test]
async fn unusable_settings_are_reported_together_and_by_name() {
    let error = builder("").protocol(9).start().await.unwrap_err();
    let StartError::Config(problems) = &error else { panic!("{error}") };
    let fields: Vec<_> = problems.iter().map(|problem| problem.field).collect();
    assert_eq!(fields, ["name", "protocol"]);

    for (bind, part) in [
        ("::1", "too many colons in address"),
        ("name.invalid", "lookup name.invalid"),
        ("127.0.0.1:x", "no port"),
    ] {
        let text = builder("a").bind(bind).start().await.unwrap_err().to_string();
        assert!(text.contains("bind") && text.contains(part), "{bind}: {text}");
    }
    let text = builder("a").advertise("[::]:1").start().await.unwrap_err().to_string();
    assert!(text.contains("advertise"), "{text}");
    let text = builder("a").interface("nosuch0").start().await.unwrap_err().to_string();
    assert!(text.contains("nosuch0"), "{text}");
}

#[tokio::test]
async fn addresses_are_what_was_asked_for() {
    let node = builder("a").advertise("10.9.8.7").start().await.unwrap();
    assert_eq!(node.name(), "a");
    assert_ne!(node.local_addr().port(), 0);
    assert_eq!(node.advertise_addr(), SocketAddr::from(([10, 9, 8, 7], node.local_addr().port())));
    assert_eq!(node.local_member().await.addr, node.advertise_addr());
    let node = builder("b").advertise("10.9.8.7:9").start().await.unwrap();
    assert_eq!(node.advertise_addr(), SocketAddr::from(([10, 9, 8, 7], 9)));
}

#[tokio::test]
async fn a_wildcard_node_talks_to_ipv4_members() {
    let a = builder("a").bind("[::]:0").advertise("127.0.0.1").start().await;
    let a = match a {
        Ok(node) => node,
        // A machine without IPv6 has nothing to test here.
        Err(StartError::Listen { error, .. }) if error.raw_os_error().is_some() => return,
        Err(error) => panic!("{error}"),
    };
    let b = start("b").await;
    b.join([a.advertise_addr().to_string()]).await.unwrap();
    wait_for_status(&a, "b", Status::Alive).await;
    // Probes go over UDP, both ways.
    for node in [&a, &b] {
        eventually("a probe is answered", async || node.counters().await.probes_answered > 0).await;
    }
    assert_eq!(a.io_counters().await.send_errors, 0);
}

#[tokio::test]
async fn dropping_the_last_handle_stops_the_node_and_frees_the_port() {
    let (node, mut events) = builder("a").bind(own_address()).start_with_events().await.unwrap();
    let addr = node.local_addr();
    let other = node.clone();
    drop(node);
    assert_eq!(other.members().await.len(), 1, "one handle is enough");
    drop(other);
    in_time("the subscription ends", async { while events.next().await.is_some() {} }).await;
    builder("b").bind(addr.to_string()).start().await.expect("the port is free");
}

#[tokio::test]
async fn shutdown_is_idempotent_and_leaves_answers_not_hangs() {
    let a = builder("a").bind(own_address()).start().await.unwrap();
    let b = start("b").await;
    b.join([a.local_addr().to_string()]).await.unwrap();
    wait_for_status(&a, "b", Status::Alive).await;
    let addr = a.local_addr();
    let waiting = {
        let a = a.clone();
        tokio::spawn(async move { a.stopped().await })
    };
    a.shutdown().await;
    let again = builder("c").bind(addr.to_string()).start().await;
    assert!(again.is_ok(), "the port is free when shutdown returns: {again:?}");
    a.shutdown().await;
    assert_eq!(waiting.await.unwrap(), Stopped::Requested);
    assert_eq!(a.stopped().await, Stopped::Requested);

    assert_eq!(a.user_event("e", "", Coalesce::No).await, Err(CommandError::Stopped));
    assert_eq!(a.join([b.local_addr().to_string()]).await, Err(JoinError::Stopped));
    assert_eq!(a.leave().await, Err(LeaveError::Stopped));
    assert_eq!(a.events().next().await, None);
    // What it knew last can still be read.
    assert_eq!(a.members().await.len(), 2);
    assert_eq!(&*a.local_member().await.name, "a");
    assert_eq!(a.stats().await.members, 2);
    assert!(a.counters().await.streams_accepted >= 1);
}

#[tokio::test]
async fn nodes_of_one_process_share_nothing() {
    let [a, _b] = cluster(["a", "b"]).await;
    // The same name twice in one process, in clusters that have not met.
    let other = start("a").await;
    assert_eq!(other.members().await.len(), 1);
    assert_eq!(a.members().await.len(), 2);
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_gets_one_marker_and_slows_nobody() {
    let (node, mut slow) = builder("a").start_with_events().await.unwrap();
    let mut sent = 0;
    while sent < EVENT_QUEUE_MAX + 100 {
        node.user_event("e", "", Coalesce::No).await.unwrap();
        sent += 1;
    }
    // The node answered all the while. Our own join took a place in the queue.
    let mut read = 0;
    let missed = in_time("the marker", async {
        loop {
            match slow.next().await.expect("the node runs") {
                Event::Missed(missed) => return missed,
                _ => read += 1,
            }
        }
    })
    .await;
    assert_eq!(read, EVENT_QUEUE_MAX);
    assert_eq!(missed.count, (sent + 1 - read) as u64);
    assert_eq!(node.io_counters().await.events_missed, missed.count);
    assert_eq!(missed.members.len(), 1);
    assert_eq!(&*missed.members[0].name, "a");
    // From here on nothing is missing.
    node.user_event("after", "", Coalesce::No).await.unwrap();
    match in_time("the next event", slow.next()).await {
        Some(Event::User(event)) => assert_eq!(&*event.name, "after"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn secrets_stay_out_of_debug_output() {
    let key = Key::new(&[0xab; 16]).unwrap();
    let text = format!("{:?}", Node::builder().key(key.clone()));
    assert!(!text.contains("171") && !text.contains(&key.to_base64()), "{text}");
}
