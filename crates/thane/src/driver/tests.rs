use super::*;
use crate::Prune;

async fn node() -> Node {
    Node::builder().name("a").bind("127.0.0.1:0").start().await.unwrap()
}

#[tokio::test]
async fn a_bug_in_the_core_stops_the_node_and_nothing_else() {
    let (node, mut events) = Node::builder().name("a").bind("127.0.0.1:0").start_with_events().await.unwrap();
    let bystander = self::node().await;
    node.inject(Command::Read(Box::new(|_core| panic!("planted")))).await;
    match node.stopped().await {
        Stopped::Failed(text) => {
            assert!(text.contains("planted") && text.contains("please report it"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    // Nobody hangs, and everybody is told.
    assert_eq!(node.user_event("e", "", Coalesce::No).await, Err(CommandError::Stopped));
    assert_eq!(node.leave().await, Err(crate::LeaveError::Stopped));
    assert_eq!(node.join(["127.0.0.1:1"]).await, Err(crate::JoinError::Stopped));
    assert!(node.force_leave("b", Prune::Keep).await.is_err());
    assert!(node.members().await.is_empty());
    assert_eq!(&*node.local_member().await.name, "a");
    node.shutdown().await;
    let ended = async { while events.next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the subscription ends");
    assert_eq!(bystander.members().await.len(), 1);
}

#[test]
fn a_node_survives_its_runtime_as_a_stopped_one() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let (node, mut events) = first
        .block_on(async { Node::builder().name("a").bind("127.0.0.1:0").start_with_events().await.unwrap() });
    drop(first);
    runtime().block_on(async {
        assert!(matches!(node.stopped().await, Stopped::Failed(text) if text.contains("runtime")));
        assert_eq!(node.set_tags(Tags::new()).await, Err(CommandError::Stopped.into()));
        while events.next().await.is_some() {}
        node.shutdown().await;
    });
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_up_to_a_second_and_are_forgotten_after_a_success() {
    let mut pause = Pause::default();
    assert!(pause.is_over());
    let mut lengths = Vec::new();
    for _ in 0..10 {
        pause.begin();
        assert!(!pause.is_over());
        lengths.push(pause.length.as_millis());
        tokio::time::advance(pause.length).await;
        assert!(pause.is_over());
    }
    assert_eq!(lengths, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    pause.clear();
    pause.begin();
    assert_eq!(pause.length, PAUSE_MIN);
}

#[test]
fn that_packets_are_held_is_told_before_all_else() {
    let mut failures = Failures::default();
    let stream = |_| Failure::Keyring { token: 1, result: Ok(()) };
    failures.others.extend((0..2 * FAILURES_AT_ONCE_MAX).map(stream));
    for told in 0..FAILURES_AT_ONCE_MAX {
        assert!(matches!(failures.next(told), Some(Failure::Keyring { .. })));
    }
    assert!(failures.next(FAILURES_AT_ONCE_MAX).is_none(), "the rest waits for the next input");
    // The last of what was told made the core send, and the socket was full.
    failures.sends_held = true;
    assert!(matches!(failures.next(FAILURES_AT_ONCE_MAX), Some(Failure::SendsHeld)));
    assert!(failures.next(FAILURES_AT_ONCE_MAX + 1).is_none(), "it is told once");
    failures.sends_held = true;
    assert!(matches!(failures.next(0), Some(Failure::SendsHeld)));
}
