//! Members that meet, talk, leave and fail.

use thane::{
    Cause, Coalesce, CommandError, Event, JoinError, LifeState, Prune, SetTagsError, StartError, Status, Tags,
};

use super::{builder, cluster, event, eventually, start, status, wait_for_status};

#[tokio::test]
async fn two_nodes_meet_and_each_hears_of_it() {
    let (a, mut a_events) = builder("a").start_with_events().await.unwrap();
    let (b, mut b_events) = builder("b").start_with_events().await.unwrap();
    let report = b.join([a.local_addr().to_string()]).await.unwrap();
    assert_eq!((report.contacted, report.failed), (1, Vec::new()));
    for (events, names) in [(&mut a_events, ["a", "b"]), (&mut b_events, ["b", "a"])] {
        for name in names {
            let joined = event(events, name, |event| match event {
                Event::Joined(change) => Some(change.clone()),
                _ => None,
            });
            assert_eq!(&*joined.await.member.name, name);
        }
    }
    let seen = b.member("a").await.unwrap();
    assert_eq!((seen.addr, seen.status), (a.advertise_addr(), Status::Alive));
    assert_eq!(a.stats().await.live, 2);
    assert!(!a.evidence("b").await.is_empty(), "there is a reason why b is alive");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_meet_through_one_of_them_on_a_threaded_runtime() {
    let nodes = cluster(["a", "b", "c"]).await;
    for node in &nodes {
        let names: Vec<_> = node.members().await.iter().map(|member| member.name.to_string()).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }
    eventually("they gossip", async || nodes[0].counters().await.packets_sent > 0).await;
    assert_eq!(nodes[0].io_counters().await.send_errors, 0);
}

#[tokio::test]
async fn several_addresses_are_all_tried_and_one_is_enough() {
    let a = start("a").await;
    let b = start("b").await;
    let (_held, nobody) = refusing_port();
    let given = [format!("127.0.0.1:{nobody}"), format!("a/{}", a.local_addr())];
    let report = b.join(&given).await.unwrap();
    assert_eq!(report.contacted, 1);
    assert_eq!(report.failed.len(), 1, "{report:?}");
    assert_eq!(report.failed[0].0, given[0]);
    assert_eq!(b.join(Vec::<String>::new()).await.unwrap().contacted, 0, "an empty list succeeds");
}

/// SF-684: IPv6 addresses to join, with their brackets, and with the name of a member before them. memberlist:
/// `memberlist_test.go`, `TestMemberlist_Join_IPv6`.
#[tokio::test]
async fn sf_684_members_meet_over_ipv6() {
    let a = match builder("a").bind("[::1]:0").start().await {
        Ok(node) => node,
        // A machine without IPv6 has nothing to test here.
        Err(StartError::Listen { error, .. }) if error.raw_os_error().is_some() => return,
        Err(error) => panic!("{error}"),
    };
    let (b, c) = (builder("b").bind("[::1]:0"), builder("c").bind("[::1]:0"));
    let (b, c) = (b.start().await.unwrap(), c.start().await.unwrap());
    let port = a.local_addr().port();
    for (node, address) in [(&b, format!("[::1]:{port}")), (&c, format!("a/[::1]:{port}"))] {
        let report = node.join([&address]).await.unwrap();
        assert_eq!((report.contacted, report.failed), (1, Vec::new()), "{address}");
    }
    // By gossip from one to the other, and with addresses that all of them can use.
    wait_for_status(&b, "c", Status::Alive).await;
    assert_eq!(b.member("c").await.unwrap().addr, c.local_addr());
    let refused = a.join(["[::1"]).await.unwrap_err().to_string();
    assert!(refused.contains("brackets"), "{refused}");
}

#[tokio::test]
async fn an_unreachable_seed_is_told_in_serfs_words() {
    let node = start("a").await;
    let (_held, port) = refusing_port();
    let error = node.join([format!("127.0.0.1:{port}")]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "1 error occurred:\n\t* Failed to join 127.0.0.1:{port}: dial tcp 127.0.0.1:{port}: connect: connection refused\n\n"
        )
    );
    let error = node.join(["name.invalid"]).await.unwrap_err();
    let JoinError::NoneContacted(failed) = &error else { panic!("{error:?}") };
    assert_eq!(failed[0].0, "name.invalid");
    assert!(failed[0].1.starts_with("Failed to resolve name.invalid"), "{failed:?}");
    assert_eq!(node.members().await.len(), 1, "a failed join changes nothing");
}

/// A TCP port that refuses connections for as long as the socket is held: nobody listens, and nobody else gets it.
fn refusing_port() -> (tokio::net::TcpSocket, u16) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

#[tokio::test]
async fn tags_travel_and_are_checked() {
    let [a, b] = cluster(["a", "b"]).await;
    let mut events = b.events();
    let tags = Tags::from([("role".to_owned(), "db".to_owned())]);
    a.set_tags(tags.clone()).await.unwrap();
    assert_eq!(a.tags().await, tags);
    let updated = event(&mut events, "a's tags", |event| match event {
        Event::Updated(change) => Some(change.member.clone()),
        _ => None,
    })
    .await;
    assert_eq!((&*updated.name, updated.tags()), ("a", tags.clone()));

    let large = Tags::from([("role".to_owned(), "x".repeat(600))]);
    assert_eq!(a.set_tags(large).await, Err(SetTagsError::Refused(CommandError::TagsTooLarge)));
    assert_eq!(a.tags().await, tags, "the old ones stay");
}

#[tokio::test]
async fn user_events_go_both_ways_and_to_the_sender() {
    let [a, b] = cluster(["a", "b"]).await;
    for (from, to) in [(&a, &b), (&b, &a)] {
        let mut here = from.events();
        let mut there = to.events();
        let payload = format!("by {}", from.name()).into_bytes();
        let ltime = from.user_event("deploy", payload.clone(), Coalesce::No).await.unwrap();
        for events in [&mut here, &mut there] {
            let heard = event(events, "the event", |event| match event {
                Event::User(event) => Some(event.clone()),
                _ => None,
            });
            let heard = heard.await;
            assert_eq!((heard.ltime, &*heard.name, heard.coalesce), (ltime, "deploy", false));
            assert_eq!(heard.payload, payload);
        }
    }
    assert!(matches!(
        a.user_event("large", vec![0; 1024], Coalesce::Yes).await,
        Err(CommandError::UserEventTooLarge { .. } | CommandError::EncodedUserEventTooLarge { .. })
    ));
}

#[tokio::test]
async fn a_leave_is_seen_as_such_and_is_final() {
    let [a, b] = cluster(["a", "b"]).await;
    let mut events = b.events();
    a.leave().await.unwrap();
    assert_eq!(a.life_state().await, LifeState::Left);
    let left = event(&mut events, "a leaves", |event| match event {
        Event::Left(change) => Some(Ok(change.member.name.to_string())),
        // Even if its goodbye overtakes its intent.
        Event::Failed(change) => Some(Err(change.clone())),
        _ => None,
    });
    assert_eq!(left.await, Ok("a".to_owned()));
    assert_eq!(a.leave().await, Ok(()), "leaving twice is leaving");
    assert_eq!(a.join([b.local_addr().to_string()]).await, Err(JoinError::AfterLeave));
    a.shutdown().await;
    assert_eq!(status(&b, "a").await, Some(Status::Left));
}

#[tokio::test]
async fn a_leave_whose_caller_gives_up_goes_on() {
    let [a, b] = cluster(["a", "b"]).await;
    // Polled once: the command is sent, its answer is not waited for.
    let mut leave = Box::pin(a.leave());
    assert!(
        std::future::poll_fn(|context| std::task::Poll::Ready(leave.as_mut().poll(context).is_pending()))
            .await
    );
    drop(leave);
    wait_for_status(&b, "a", Status::Left).await;
}

#[tokio::test]
async fn a_shutdown_without_leave_is_seen_as_a_failure_with_evidence() {
    let [a, b, c] = cluster(["a", "b", "c"]).await;
    let mut events = b.events();
    a.shutdown().await;
    let cause = event(&mut events, "a fails", |event| match event {
        Event::Failed(change) if &*change.member.name == "a" => Some(change.cause.clone()),
        _ => None,
    });
    assert!(matches!(
        cause.await,
        Cause::SuspicionExpired { .. }
            | Cause::Refused { .. }
            | Cause::DeclaredDead { .. }
            | Cause::ProbeFailed(_)
    ));
    wait_for_status(&c, "a", Status::Failed).await;

    b.force_leave("a", Prune::Keep).await.unwrap();
    wait_for_status(&b, "a", Status::Left).await;
    wait_for_status(&c, "a", Status::Left).await;
    b.force_leave("a", Prune::Erase).await.unwrap();
    assert_eq!(status(&b, "a").await, None, "a is forgotten at once");
}
