//! Clusters that were stopped as a whole, or cut in two for longer than anybody is remembered.

use crate::harness::{Agent, BOTH, Halves, Kind, Profile, with_cluster};
use std::fs;

/// SF-333: all are killed at once, one of them had failed before and comes back without its disk; they find each other without
/// an operator.
#[test]
fn sf_333_live_a_cluster_whose_members_were_all_killed_finds_itself_again() {
    with_cluster(Profile::Local, |cluster| {
        cluster.tolerate_lost_members();
        for text in [
            // Serf tries once, while the others do not run yet.
            "[WARN] serf: Failed to re-join any previously known node",
            "[WARN] memberlist: Refuting an alive message for ",
            "[WARN] memberlist: answering an announcement that we did not make",
        ] {
            cluster.tolerate(text);
        }
        let machines: Vec<Agent> = (0..5)
            .map(|number| {
                let kind = BOTH[number % 2];
                let machine = cluster.machine(kind, &format!("{}-{number}", kind.word()));
                machine.snapshot().with("reconnect_interval", "250ms").start()
            })
            .collect();
        for machine in &machines[1..] {
            machine.join(&machines[0]);
        }
        let all: Vec<&Agent> = machines.iter().collect();
        cluster.wait_until_settled(&all);

        let (lost, others) = all.split_last().expect("there are five");
        lost.kill();
        let mut expected: Vec<_> = others.iter().map(|machine| (machine.name(), "alive")).collect();
        expected.push((lost.name(), "failed"));
        cluster.wait_for_members(others, &expected);
        let remark = format!("# failed: {} {}\n", lost.name(), lost.gossip_address());
        for machine in others.iter().filter(|machine| machine.kind() == Kind::Thane) {
            let live: Vec<&Agent> =
                others.iter().copied().filter(|other| other.name() != machine.name()).collect();
            cluster.wait_for("the snapshot to be written", || {
                machine.remembers(&live)?;
                if machine.snapshot().contains(&remark) { Ok(()) } else { Err(machine.snapshot()) }
            });
        }

        for machine in others {
            machine.signal("KILL");
        }
        for machine in others {
            assert_eq!(machine.wait_for_end(), None);
        }
        // Whoever was down has nothing to find the others by. They remember it.
        fs::remove_file(lost.snapshot_path()).expect("the snapshot can be removed");
        lost.start();
        // Serf's first: when each of them looks for the others, nobody answers.
        for kind in [Kind::Serf, Kind::Thane] {
            for machine in others.iter().filter(|machine| machine.kind() == kind) {
                machine.start();
            }
        }
        cluster.wait_until_all_alive(&all);
    });
}

/// SF-605: each half has forgotten the other when the network is whole again.
#[test]
fn sf_605_live_a_partition_that_outlasts_all_memory_heals_by_itself() {
    with_cluster(Profile::Local, |cluster| {
        let Some(halves) = Halves::make() else { return };
        cluster.tolerate_lost_members();
        cluster.tolerate("network is unreachable");
        cluster.tolerate("no route to host");
        cluster.tolerate("i/o timeout");
        let start = |kind: Kind, half: usize, host: u8| {
            let name = format!("{}-{host}", kind.word());
            let machine = cluster.machine_at(kind, &name, Halves::address(half, host));
            let machine = machine.with("reconnect_interval", "500ms").with("reconnect_timeout", "2s");
            machine.within(halves.prefix(half)).start()
        };
        let near = [start(Kind::Thane, 0, 1), start(Kind::Serf, 0, 2)];
        let far = [start(Kind::Serf, 1, 5), start(Kind::Thane, 1, 6)];
        let all = [&near[0], &near[1], &far[0], &far[1]];
        for agent in &all[1..] {
            agent.join(&near[0]);
        }
        cluster.wait_until_settled(&all);

        halves.cut();
        for half in [&near, &far] {
            cluster.wait_until_all_alive(&[&half[0], &half[1]]);
        }
        halves.mend();
        cluster.wait_until_all_alive(&all);
    });
}
