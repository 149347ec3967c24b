//! Encrypted clusters: every key size, key rings, and who is refused.

use crate::harness::{BOTH, Cluster, Kind, Profile, with_cluster};
use std::fs;

/// Base64 of 16, 24 and 32 bytes.
const KEYS: [&str; 3] = [
    "bm90IGEgc2VjcmV0IGF0IQ==",
    "YSBrZXkgZm9yIHRlc3RzIGFsb25lISEh",
    "dGhpcnR5LXR3byBieXRlcyBmb3IgdGhlc2UgdGVzdHM=",
];

/// Another key of 32 bytes.
const OTHER_KEY: &str = "YW4gb3RoZXIga2V5IG9mIHRoaXJ0eS10d28gYnl0ZXM=";

/// What both kinds log when bytes arrive that they cannot decrypt, or that are encrypted and should not be, and what
/// the side that sent them logs.
pub(crate) fn tolerate_refusals(cluster: &Cluster) {
    for text in [
        "[ERR] memberlist: failed to receive: ",
        "[ERR] memberlist: Decrypt packet failed: ",
        "[ERR] memberlist: Failed to decode",
        "[WARN] memberlist: Got ping for unexpected node",
        "[ERR] memberlist: Received encrypted",
        "[ERR] memberlist: Msg type ",
        "[WARN] agent: error joining: ",
        "[WARN] memberlist: a stream with ",
        "answers a ping over TCP with: none of our ",
    ] {
        cluster.tolerate(text);
    }
}

#[test]
fn a_cluster_of_both_kinds_runs_with_a_key_of_every_size() {
    for key in KEYS {
        with_cluster(Profile::Local, |cluster| {
            let seed = cluster.agent(Kind::Thane).key(key).recording("user").start();
            let serf = cluster.agent(Kind::Serf).key(key).recording("user").joining(&seed).start();
            let thane = cluster.agent(Kind::Thane).key(key).recording("user").joining(&serf).start();
            let agents = [&seed, &serf, &thane];
            cluster.wait_until_all_alive(&agents);
            serf.own_cli(&["tags", "-set", "sealed=yes"]).succeeded();
            thane.own_cli(&["tags", "-set", "sealed=yes"]).succeeded();
            cluster.wait_until_all_alive(&agents);
            for sender in agents {
                sender.own_cli(&["event", "-coalesce=false", sender.name()]).succeeded();
            }
            for agent in agents {
                cluster.wait_for("an event from each", || {
                    let count = agent.recorded().len();
                    if count == 3 { Ok(()) } else { Err(format!("{count} events at {}", agent.name())) }
                });
                assert!(agent.log().contains("Encrypted: true"), "{}", agent.log());
            }
        });
    }
}

#[test]
fn a_crash_in_an_encrypted_cluster_is_seen_by_both_kinds() {
    with_cluster(Profile::Local, |cluster| {
        cluster.tolerate_lost_members();
        let thane = cluster.agent(Kind::Thane).key(KEYS[2]).start();
        let serf = cluster.agent(Kind::Serf).key(KEYS[2]).joining(&thane).start();
        for kind in BOTH {
            let member = cluster.named_agent(kind, kind.word()).key(KEYS[2]).joining(&serf).start();
            cluster.wait_until_settled(&[&thane, &serf, &member]);
            member.kill();
            cluster.wait_for_members(
                &[&thane, &serf],
                &[(thane.name(), "alive"), (serf.name(), "alive"), (member.name(), "failed")],
            );
            cluster.prune(&thane, Kind::Thane, &member, &serf);
            cluster.wait_until_all_alive(&[&thane, &serf]);
        }
    });
}

/// Neither may join the other, by command or at the start, and both stay alone.
fn refuse_each_other(first: Option<&str>, second: Option<&str>) {
    with_cluster(Profile::Local, |cluster| {
        tolerate_refusals(cluster);
        let launch = |kind, key: Option<&str>| {
            let launch = cluster.agent(kind);
            if let Some(key) = key { launch.key(key) } else { launch }
        };
        for (first_kind, second_kind) in [(Kind::Thane, Kind::Serf), (Kind::Serf, Kind::Thane)] {
            let (one, two) = (launch(first_kind, first).start(), launch(second_kind, second).start());
            for (joiner, target) in [(&one, &two), (&two, &one)] {
                let answer = joiner.own_cli(&["join", &target.gossip_address()]);
                answer.refused("Error joining the cluster: ");
            }
            let late = launch(second_kind, second).joining(&one).build();
            let answer = late.start_to_its_end();
            assert_eq!(answer.code, Some(1), "a join at the start that fails ends the agent: {answer:#?}");
            for alone in [&one, &two] {
                cluster.wait_until_all_alive(&[alone]);
            }
        }
    });
}

#[test]
fn agents_with_different_keys_refuse_each_other() {
    refuse_each_other(Some(KEYS[2]), Some(OTHER_KEY));
}

#[test]
fn agents_with_keys_of_different_sizes_refuse_each_other() {
    refuse_each_other(Some(KEYS[0]), Some(KEYS[1]));
}

#[test]
fn an_encrypted_and_an_unencrypted_agent_refuse_each_other() {
    refuse_each_other(Some(KEYS[2]), None);
}

#[test]
fn a_serf_agent_with_a_ring_of_keys_and_thane_agents_with_its_first_key_are_one_cluster() {
    with_cluster(Profile::Local, |cluster| {
        let path = cluster.path("ring.json");
        fs::write(&path, format!("[{:?}, {OTHER_KEY:?}]\n", KEYS[2])).expect("the key ring can be written");
        let ring = format!("-keyring-file={}", path.display());
        let serf = cluster.agent(Kind::Serf).flag(ring).recording("user").start();
        let first = cluster.agent(Kind::Thane).key(KEYS[2]).recording("user").joining(&serf).start();
        let second = cluster.agent(Kind::Thane).key(KEYS[2]).recording("user").joining(&serf).start();
        let agents = [&serf, &first, &second];
        cluster.wait_until_all_alive(&agents);
        for agent in agents {
            agent.own_cli(&["event", "-coalesce=false", agent.name()]).succeeded();
        }
        for agent in agents {
            cluster.wait_for("an event from each", || {
                let count = agent.recorded().len();
                if count == 3 { Ok(()) } else { Err(format!("{count} events at {}", agent.name())) }
            });
        }
    });
}
