//! Measurements of a whole node: the core's and the driver's.

use std::collections::BTreeSet;

use thane::{Coalesce, Measure};

use super::directory::Directory;
use super::{DEADLINE, builder, cluster};

#[tokio::test]
async fn a_running_node_measures_all_that_it_does() {
    let directory = Directory::new("measurements");
    let [other] = cluster(["other"]).await;
    let node = builder("measured").snapshot_path(directory.path("snapshot")).start().await.unwrap();
    assert!(node.take_measurements().await.kept.is_empty(), "the first call begins it");
    node.join([other.local_addr().to_string()]).await.unwrap();
    node.user_event("deploy", "v1", Coalesce::No).await.unwrap();
    let wanted = [
        Measure::GossipRound,
        Measure::Probe,
        Measure::StateExchange,
        Measure::RemoteState,
        Measure::MessageSent,
        Measure::MessageReceived,
        Measure::CoordinateMoved,
        Measure::SnapshotAppend,
    ];
    let mut found: BTreeSet<Measure> = BTreeSet::new();
    let all = async {
        while !wanted.iter().all(|wanted| found.contains(wanted)) {
            let taken = node.take_measurements().await;
            for one in &taken.kept {
                assert!(one.value >= 0.0 && one.value.is_finite(), "{one:?}");
                found.insert(one.measure);
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let outcome = tokio::time::timeout(DEADLINE, all).await;
    assert!(outcome.is_ok(), "only {found:?}");
    node.shutdown().await;
    assert!(node.take_measurements().await.kept.is_empty());
    other.shutdown().await;
}
