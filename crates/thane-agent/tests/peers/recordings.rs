//! Recordings of an agent whose cluster is Serf's.

use crate::harness::{Cluster, Kind, Profile, with_cluster};

/// Plays the recording of this name, and gives what it says.
#[track_caller]
fn replay(cluster: &Cluster, name: &str) -> String {
    let mut command = Kind::Thane.command();
    let output = command.args(["sim", "replay"]).arg(cluster.path(name)).output().expect("it can be started");
    let told = String::from_utf8(output.stdout).expect("it tells text");
    assert!(output.status.success(), "{told}");
    told
}

#[test]
fn a_life_among_serf_agents_is_played_again_as_it_was() {
    with_cluster(Profile::Local, |cluster| {
        cluster.tolerate_lost_members();
        let serf = cluster.agent(Kind::Serf).start();
        let record = format!("-record={}", cluster.path("thane.rec").display());
        let thane = cluster.agent(Kind::Thane).joining(&serf).flag(record).start();
        let victim = cluster.agent(Kind::Serf).joining(&thane).start();
        cluster.wait_until_settled(&[&thane, &serf, &victim]);
        serf.own_cli(&["event", "deploy", "7"]).succeeded();
        thane.own_cli(&["tags", "-set", "role=web"]).succeeded();
        victim.kill();
        let failed = [(thane.name(), "alive"), (serf.name(), "alive"), (victim.name(), "failed")];
        cluster.wait_for_members(&[&thane, &serf], &failed);
        cluster.wait_for("the recording to tell of all", || {
            let told = replay(cluster, "thane.rec");
            let name = victim.name();
            let all = [format!("{name} failed: "), "user-event: deploy".into(), "Same as recorded: ".into()];
            if all.iter().all(|part| told.contains(part)) { Ok(()) } else { Err(told) }
        });
    });
}
