//! One cluster of both kinds, whoever joins whom.

use crate::harness::{Agent, BOTH, Cluster, Kind, Profile, members_through, with_cluster};

fn three_agents_join_one_by_one(seed: Kind, joiners: [Kind; 2]) {
    with_cluster(Profile::Local, |cluster| {
        let seed = cluster.agent(seed).start();
        let [second, third] = joiners.map(|kind| cluster.agent(kind).joining(&seed).start());
        cluster.wait_until_all_alive(&[&seed, &second, &third]);
    });
}

#[test]
fn serf_agents_join_a_thane_seed() {
    three_agents_join_one_by_one(Kind::Thane, [Kind::Serf, Kind::Serf]);
}

#[test]
fn thane_agents_join_a_serf_seed() {
    three_agents_join_one_by_one(Kind::Serf, [Kind::Thane, Kind::Thane]);
}

#[test]
fn one_of_each_joins_a_thane_seed_with_the_default_timing() {
    with_cluster(Profile::Lan, |cluster| {
        let seed = cluster.agent(Kind::Thane).start();
        let [second, third] = BOTH.map(|kind| cluster.agent(kind).joining(&seed).start());
        cluster.wait_until_all_alive(&[&seed, &second, &third]);
    });
}

#[test]
fn ten_agents_started_apart_become_one_cluster_by_the_join_command_of_either_program() {
    with_cluster(Profile::Lan, |cluster| {
        let agents: Vec<Agent> = (0..10).map(|n| cluster.agent(BOTH[n % 2]).start()).collect();
        for n in 1..agents.len() {
            // A chain: each agent joins the one before it, asked by its own program, then by the other, in turn.
            let (joiner, target) = (&agents[n], &agents[n - 1]);
            let program = if n % 4 < 2 { joiner.kind() } else { joiner.kind().other() };
            let answer = joiner.join_by(program, &[&target.gossip_address()]);
            assert_eq!(answer.stdout, "Successfully joined cluster by contacting 1 nodes.\n");
        }
        cluster.wait_until_all_alive(&agents.iter().collect::<Vec<_>>());
    });
}

#[test]
fn ten_agents_that_know_one_seed_find_each_other() {
    with_cluster(Profile::Local, |cluster| {
        let seed = cluster.agent(Kind::Serf).start();
        let mut agents = vec![seed.clone()];
        agents.extend((1..10).map(|n| cluster.agent(BOTH[n % 2]).joining(&seed).start()));
        cluster.wait_until_all_alive(&agents.iter().collect::<Vec<_>>());
    });
}

#[test]
fn two_mixed_clusters_become_one_through_a_single_join() {
    for joiner in BOTH {
        with_cluster(Profile::Local, |cluster| {
            let (first_thane, first_serf) = pair(cluster);
            let (second_thane, second_serf) = pair(cluster);
            let joining = if joiner == Kind::Thane { &first_thane } else { &first_serf };
            joining.join(&second_serf);
            cluster.wait_until_all_alive(&[&first_thane, &first_serf, &second_thane, &second_serf]);
        });
    }
}

fn pair(cluster: &Cluster) -> (Agent, Agent) {
    let thane = cluster.agent(Kind::Thane).start();
    let serf = cluster.agent(Kind::Serf).joining(&thane).start();
    cluster.wait_until_all_alive(&[&thane, &serf]);
    (thane, serf)
}

#[test]
fn a_join_counts_the_addresses_that_answered_and_fails_only_if_none_did() {
    with_cluster(Profile::Local, |cluster| {
        cluster.tolerate("[WARN] agent: error joining: ");
        let nobody = cluster.agent(Kind::Serf).build().gossip_address();
        for kind in BOTH {
            let joiner = cluster.agent(kind).start();
            let [thane, serf] = BOTH.map(|kind| cluster.agent(kind).start());
            for program in BOTH {
                let answer = joiner.cli(program, &["join", &nobody]).refused("Error joining the cluster: ");
                assert!(answer.stdout.contains(&nobody), "the address is named: {answer:#?}");
            }
            let (thane_address, serf_address) = (thane.gossip_address(), serf.gossip_address());
            // Again if a busy machine held one of the two up for longer than a join waits.
            cluster.wait_for("both to be joined", || {
                let answer = joiner.own_cli(&["join", &nobody, &thane_address, &serf_address]);
                let are_joined = answer.stdout == "Successfully joined cluster by contacting 2 nodes.\n";
                if are_joined { Ok(()) } else { Err(format!("{answer:?}")) }
            });
            cluster.wait_until_all_alive(&[&joiner, &thane, &serf]);
        }
    });
}

#[test]
fn a_member_can_be_joined_by_name_and_address() {
    with_cluster(Profile::Local, |cluster| {
        for kind in BOTH {
            let target = cluster.agent(kind.other()).start();
            let joiner = cluster.agent(kind).start();
            let target_with_name = format!("{}/{}", target.name(), target.gossip_address());
            joiner.join_by(kind, &[&target_with_name]);
            cluster.wait_until_all_alive(&[&joiner, &target]);
        }
    });
}

#[test]
fn a_join_is_retried_until_the_seed_is_there() {
    for kind in BOTH {
        with_cluster(Profile::Local, |cluster| {
            cluster.tolerate("[WARN] agent: error joining: ");
            cluster.tolerate("[WARN] agent: Join failed: ");
            let seed = cluster.agent(kind.other()).build();
            let retry = format!("-retry-join={}", seed.ip());
            let joiner = cluster.agent(kind).flag(retry).flag("-retry-interval=1s").start();
            cluster.wait_for("a first attempt that fails", || {
                if joiner.log().contains("Join failed") { Ok(()) } else { Err(joiner.log()) }
            });
            seed.start();
            cluster.wait_until_all_alive(&[&seed, &joiner]);
        });
    }
}

#[test]
fn an_advertised_address_is_the_one_that_others_see_and_probe() {
    with_cluster(Profile::Local, |cluster| {
        let seed = cluster.agent(Kind::Serf).start();
        for kind in BOTH {
            // It listens on the other port too: advertised alone, that port would not answer probes.
            let launch = cluster.agent(kind);
            let ip = launch.ip();
            let member = launch
                .flag(format!("-bind={ip}:7950"))
                .flag(format!("-advertise={ip}:7950"))
                .flag(format!("-join={}", seed.gossip_address()))
                .start();
            let rows = cluster.wait_for("the seed to list the member", || {
                let rows = members_through(kind, &seed)?;
                if rows.iter().any(|row| row.name == member.name()) {
                    Ok(rows)
                } else {
                    Err(format!("{rows:?}"))
                }
            });
            let row = rows.iter().find(|row| row.name == member.name()).expect("it is listed");
            assert_eq!((row.address.as_str(), row.port), (format!("{ip}:7950").as_str(), 7950));
            assert_eq!(row.status, "alive");
        }
    });
}
