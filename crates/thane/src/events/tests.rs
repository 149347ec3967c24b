use super::*;
use std::time::Duration;

fn user(n: u64) -> Event {
    Event::User(UserEvent { ltime: n, name: "n".into(), payload: bytes::Bytes::new(), coalesce: false })
}

fn ltime(event: Option<Event>) -> u64 {
    let Some(Event::User(event)) = event else { panic!("a user event, not {event:?}") };
    event.ltime
}

fn nobody() -> Vec<Member> {
    Vec::new()
}

#[tokio::test]
async fn a_full_queue_counts_and_ends_with_one_marker_in_its_place() {
    let hub = Arc::new(Hub::default());
    let mut slow = hub.subscribe();
    let overflow = EVENT_QUEUE_MAX as u64 + 10;
    for n in 0..overflow {
        hub.publish(user(n));
    }
    assert_eq!(lock(&slow.queue.state).events.len(), EVENT_QUEUE_MAX);
    for n in 0..EVENT_QUEUE_MAX as u64 {
        assert_eq!(ltime(slow.next().await), n);
    }
    // Still missing until the marker: this one must not come before it.
    hub.publish(user(overflow));
    let marker = tokio::spawn(async move {
        let marker = slow.next().await;
        (marker, slow)
    });
    hub.marker_wanted.notified().await;
    hub.mark(&mut nobody);
    hub.publish(user(overflow + 1));
    let (marker, mut slow) = marker.await.unwrap();
    assert_eq!(marker, Some(Event::Missed(Missed { count: 11, members: Vec::new() })));
    assert_eq!(ltime(slow.next().await), overflow + 1);
}

#[tokio::test]
async fn nobody_gets_a_marker_without_having_missed_something() {
    let hub = Arc::new(Hub::default());
    let mut events = hub.subscribe();
    hub.mark(&mut || unreachable!("nobody asked"));
    hub.publish(user(1));
    hub.end(&mut || unreachable!("nobody missed anything"));
    assert_eq!(ltime(events.next().await), 1);
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn the_end_brings_the_marker_first() {
    let hub = Arc::new(Hub::default());
    let mut events = hub.subscribe();
    for n in 0..=EVENT_QUEUE_MAX as u64 {
        hub.publish(user(n));
    }
    hub.end(&mut nobody);
    for n in 0..EVENT_QUEUE_MAX as u64 {
        assert_eq!(ltime(events.next().await), n);
    }
    assert!(matches!(events.next().await, Some(Event::Missed(Missed { count: 1, .. }))));
    assert_eq!(events.next().await, None);
    assert_eq!(hub.subscribe().next().await, None, "a subscription after the end is at its end");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_read_loses_nothing() {
    let hub = Arc::new(Hub::default());
    let mut events = hub.subscribe();
    assert!(tokio::time::timeout(Duration::from_millis(1), events.next()).await.is_err());
    hub.publish(user(7));
    assert_eq!(ltime(events.next().await), 7);
}

#[test]
fn a_dropped_subscription_is_forgotten() {
    let hub = Arc::new(Hub::default());
    let (first, second) = (hub.subscribe(), hub.subscribe());
    drop(first);
    assert_eq!(lock(&hub.inner).queues.len(), 1);
    assert!(Arc::ptr_eq(&lock(&hub.inner).queues[0], &second.queue));
}

/// Issue: a subscriber that hangs costs a bounded queue and one log line a minute.
#[test]
fn what_hanging_subscribers_miss_is_counted_and_told_once_a_minute() {
    let hub = Arc::new(Hub::default());
    let (_hangs, _hangs_too) = (hub.subscribe(), hub.subscribe());
    for n in 0..EVENT_QUEUE_MAX as u64 + 5 {
        hub.publish(user(n));
    }
    assert_eq!(hub.missed(), 10);
    let mut inner = HubInner::default();
    let start = Instant::now();
    let told: Vec<(u64, u64)> = (0..200)
        .filter_map(|second| Some((second, inner.count_missed(1, start + Duration::from_secs(second))?)))
        .collect();
    assert_eq!(told, [(0, 1), (60, 60), (120, 60), (180, 60)]);
}
