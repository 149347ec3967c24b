//! A whole life of a mixed cluster in which no Serf agent has anything to complain about.
//!
//! Every story ends with a look at the Serf agents' logs; these are the stories that try most kinds of message in
//! one run, with nothing tolerated.

use crate::harness::{Agent, BOTH, Kind, Profile, with_cluster};

/// A key of 32 bytes.
const KEY: &str = "dGhpcnR5LXR3byBieXRlcyBmb3IgdGhlc2UgdGVzdHM=";

fn serf_says_nothing_bad(flags: &[&str]) {
    with_cluster(Profile::Lan, |cluster| {
        let launch = |kind| {
            let launch = cluster.agent(kind).tag("role", "web").recording("user");
            flags.iter().fold(launch, |launch, flag| launch.flag(*flag))
        };
        let seed = launch(Kind::Serf).start();
        let mut agents = vec![seed.clone()];
        agents.extend((1..6).map(|n| launch(BOTH[n % 2]).joining(&seed).start()));
        let all: Vec<&Agent> = agents.iter().collect();
        cluster.wait_until_all_alive(&all);

        for (n, agent) in agents.iter().enumerate() {
            // Long and repetitive, so that compression has something to do.
            let payload = "all work and no play ".repeat(n * 4);
            agent.own_cli(&["event", "-coalesce=false", "work", &payload]).succeeded();
            agent.own_cli(&["tags", "-set", &format!("number={n}")]).succeeded();
        }
        for agent in &agents {
            cluster.wait_for("all events", || {
                let count = agent.recorded().len();
                if count == agents.len() {
                    Ok(())
                } else {
                    Err(format!("{count} events at {}", agent.name()))
                }
            });
        }
        cluster.wait_until_all_alive(&all);
        for agent in &agents {
            for program in BOTH {
                agent.cli(program, &["info"]).succeeded();
            }
        }

        // A full exchange of state with each Serf agent, started from both sides.
        for agent in &agents[1..] {
            agent.join(&seed);
            seed.join(agent);
        }

        let (leavers, stayers) = agents.split_at(2);
        for agent in leavers {
            agent.own_cli(&["leave"]).succeeded();
            assert_eq!(agent.wait_for_end(), Some(0));
        }
        let mut expected: Vec<_> = stayers.iter().map(|agent| (agent.name(), "alive")).collect();
        expected.extend(leavers.iter().map(|agent| (agent.name(), "left")));
        cluster.wait_for_members(&stayers.iter().collect::<Vec<_>>(), &expected);
    });
}

#[test]
fn serf_finds_nothing_wrong_in_a_plain_cluster() {
    serf_says_nothing_bad(&[]);
}

#[test]
fn serf_finds_nothing_wrong_in_an_encrypted_cluster() {
    serf_says_nothing_bad(&[&format!("-encrypt={KEY}")]);
}

#[test]
fn serf_finds_nothing_wrong_without_compression() {
    serf_says_nothing_bad(&["-disable-compression"]);
}

#[test]
fn serf_finds_nothing_wrong_with_an_older_protocol_version() {
    serf_says_nothing_bad(&["-protocol=4"]);
}
