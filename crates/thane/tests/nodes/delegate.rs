//! An application that has a say.

use std::time::Duration;

use thane::{Candidate, Delegate, Member, Node, Status, Veto};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::{builder, cluster, eventually, in_time, status, wait_for_status};

/// Admits only members of one role, and tells of conflicts.
#[derive(Debug)]
struct OneRole {
    role: &'static str,
    conflicts: UnboundedSender<(String, u16)>,
}

impl Delegate for OneRole {
    fn admit_member(&self, member: &Candidate<'_>) -> Result<(), Veto> {
        if member.tags().get("role").is_some_and(|role| role == self.role) {
            return Ok(());
        }
        Err(Veto::new(format!("{} is no {}", member.name, self.role)))
    }

    fn name_conflict(&self, holder: &Member, claimant: &Candidate<'_>) {
        // The test may have heard enough.
        _ = self.conflicts.send((holder.name.to_string(), claimant.addr.port()));
    }
}

async fn join(node: &Node, other: &Node) -> Result<thane::JoinReport, thane::JoinError> {
    node.join([other.local_addr().to_string()]).await
}

#[tokio::test]
async fn a_veto_ends_a_join_in_either_direction_with_its_reason() {
    let (conflicts, _kept) = unbounded_channel();
    let choosy = builder("choosy").tag("role", "web").delegate(OneRole { role: "web", conflicts });
    let choosy = choosy.start().await.unwrap();
    let stranger = builder("stranger").tag("role", "db").start().await.unwrap();
    for (from, to, remark) in [(&stranger, &choosy, "remote error: "), (&choosy, &stranger, "")] {
        let text = join(from, to).await.unwrap_err().to_string();
        let wanted = format!("Failed to join {}: {remark}stranger is no web", to.local_addr());
        assert!(text.contains(&wanted), "{text:?} has no {wanted:?}");
        assert_eq!(status(&choosy, "stranger").await, None);
    }
    assert_eq!(choosy.counters().await.merges_refused, 2);
    let friend = builder("friend").tag("role", "web").start().await.unwrap();
    join(&friend, &choosy).await.unwrap();
    wait_for_status(&friend, "choosy", Status::Alive).await;
    wait_for_status(&choosy, "friend", Status::Alive).await;
}

#[tokio::test]
async fn the_application_hears_of_a_name_that_two_claim() {
    let (conflicts, mut told) = unbounded_channel();
    let node = builder("watcher").tag("role", "web").delegate(OneRole { role: "web", conflicts });
    let node = node.configure(|config| config.name_conflict_resolution = false).start().await.unwrap();
    let builder =
        || builder("twin").tag("role", "web").configure(|config| config.name_conflict_resolution = false);
    let (first, second) = (builder().start().await.unwrap(), builder().start().await.unwrap());
    join(&first, &node).await.unwrap();
    wait_for_status(&node, "twin", Status::Alive).await;
    // Whether the join counts as a success is not the point here.
    _ = join(&second, &node).await;
    let (name, port) = in_time("the conflict is told", told.recv()).await.unwrap();
    assert_eq!((name.as_str(), port), ("twin", second.local_addr().port()));
}

/// Forgets who has failed at once.
#[derive(Debug)]
struct Forgetful;

impl Delegate for Forgetful {
    fn forget_after(&self, member: &Member, default: Duration) -> Duration {
        if member.status == Status::Failed { Duration::ZERO } else { default }
    }
}

#[tokio::test]
async fn the_application_says_how_long_a_failed_member_is_remembered() {
    let [long, dying] = cluster(["long", "dying"]).await;
    let short = builder("short").delegate(Forgetful);
    let short =
        short.configure(|config| config.reap_interval = Duration::from_millis(50)).start().await.unwrap();
    join(&short, &long).await.unwrap();
    wait_for_status(&short, "dying", Status::Alive).await;
    dying.shutdown().await;
    wait_for_status(&long, "dying", Status::Failed).await;
    eventually("short has forgotten it", async || status(&short, "dying").await.is_none()).await;
    assert_eq!(status(&long, "dying").await, Some(Status::Failed));
}
