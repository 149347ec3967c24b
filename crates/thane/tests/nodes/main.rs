//! Whole nodes on loopback: real sockets, short intervals, conditions with deadlines.
#![allow(clippy::unwrap_used, reason = "in a test it is the check")]

mod clusters;
mod delegate;
mod directory;
mod dns;
mod dns_server;
mod hostile;
mod keys;
mod lifecycle;
mod measurements;
mod queries;
mod recordings;
mod snapshots;

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use thane::{Builder, Config, Event, Events, Node, Profile, Status};

/// Long enough for a busy machine; what is waited for takes well under a second.
const DEADLINE: Duration = Duration::from_secs(60);

/// A node to be on a free port of loopback, with intervals short enough for tests.
fn builder(name: &str) -> Builder {
    Node::builder().name(name).bind("127.0.0.1:0").profile(Profile::Local).configure(hasten)
}

fn hasten(config: &mut Config) {
    config.probe_interval = Duration::from_millis(200);
    config.probe_timeout = Duration::from_millis(100);
    config.gossip_interval = Duration::from_millis(20);
    config.push_pull_interval = Duration::from_secs(1);
    config.leave_propagate_delay = Duration::from_millis(100);
    // Streams of a busy machine may stand still for a while.
    config.tcp_timeout = Duration::from_secs(20);
}

/// A free port of an IP that no other test uses, so that a node gets it again when it comes back.
fn own_address() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let (process, number) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    format!("127.{}.{}.{}:0", 60 + process / 250 % 40, process % 250, number % 250 + 1)
}

async fn start(name: &str) -> Node {
    builder(name).start().await.unwrap()
}

/// Nodes of these names in one cluster, each knowing all the others.
async fn cluster<const N: usize>(names: [&str; N]) -> [Node; N] {
    let mut nodes = Vec::new();
    for name in names {
        nodes.push(start(name).await);
    }
    let seed = nodes[0].local_addr().to_string();
    for node in &nodes[1..] {
        assert_eq!(node.join([&seed]).await.unwrap().contacted, 1);
    }
    for node in &nodes {
        for name in names {
            wait_for_status(node, name, Status::Alive).await;
        }
    }
    nodes.try_into().expect("as many nodes as names")
}

async fn status(node: &Node, name: &str) -> Option<Status> {
    node.member(name).await.map(|member| member.status)
}

async fn wait_for_status(node: &Node, name: &str, wanted: Status) {
    eventually(&format!("{} sees {name} as {wanted}", node.name()), async || {
        status(node, name).await == Some(wanted)
    })
    .await;
}

/// Waits until the condition holds.
async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    in_time(what, holds).await;
}

/// What the future gives, or a failure that names what did not happen.
async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(DEADLINE, future).await;
    done.unwrap_or_else(|_elapsed| panic!("not within {DEADLINE:?}: {what}"))
}

/// The first event for which `wanted` gives something; those before it are passed over.
async fn event<T>(events: &mut Events, what: &str, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
    in_time(what, async {
        loop {
            let event = events.next().await.unwrap_or_else(|| panic!("the node stopped before: {what}"));
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    })
    .await
}
