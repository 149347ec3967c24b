//! Round trips between members, as the library tells them.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::time::Duration;

use thane::Node;
use tokio::time::{sleep, timeout};

async fn start(name: &str, coordinates: bool) -> Node {
    let builder = Node::builder().name(name).bind("127.0.0.1:0");
    builder
        .configure(move |config| {
            config.probe_interval = Duration::from_millis(50);
            config.probe_timeout = Duration::from_millis(40);
            config.coordinates = coordinates;
        })
        .start()
        .await
        .unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn members_that_probe_each_other_know_how_far_apart_they_are() {
    let (web, db) = (start("web", true).await, start("db", true).await);
    assert_eq!(web.coordinate().await, web.cached_coordinate("web").await);
    assert_eq!(web.rtt("web", "db").await, None, "nobody has been met yet");
    web.join([db.local_addr().to_string()]).await.unwrap();
    let measured = async {
        loop {
            if let (Some(a), Some(b)) = (web.rtt("web", "db").await, db.rtt("web", "db").await) {
                break (a, b);
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    let (a, b) = timeout(Duration::from_secs(20), measured).await.expect("both are measured in time");
    for rtt in [a, b] {
        assert!(Duration::ZERO < rtt && rtt < Duration::from_secs(1), "{rtt:?} on one machine");
    }
    assert!(web.cached_coordinate("db").await.is_some());
    assert_ne!(web.coordinate().await.unwrap().vec, [0.0; 8], "it has moved");
    assert_eq!(web.rtt("web", "nobody").await, None);
    assert_eq!(web.stats().await.coordinate_resets, Some(0));
}

#[tokio::test(flavor = "current_thread")]
async fn a_node_without_coordinates_has_none() {
    let alone = start("alone", false).await;
    assert_eq!(alone.coordinate().await, None);
    assert_eq!(alone.cached_coordinate("alone").await, None);
    assert_eq!(alone.stats().await.coordinate_resets, None);
}
