//! Round trips between members of both kinds, as either program estimates them.

use std::collections::BTreeMap;

use crate::harness::{Agent, BOTH, Kind, Profile, with_cluster};

/// What `serf rtt` says of two members, in milliseconds, asked of this agent.
fn estimate(agent: &Agent, a: &str, b: &str) -> Result<f64, String> {
    let answer = agent.cli(Kind::Serf, &["rtt", a, b]);
    let milliseconds = answer
        .stdout
        .strip_prefix(&format!("Estimated {a} <-> {b} rtt: "))
        .and_then(|rest| rest.trim_end().strip_suffix(" ms"))
        .and_then(|number| number.parse().ok());
    milliseconds.ok_or_else(|| format!("asked {} for {a} and {b}: {answer:?}", agent.name()))
}

/// Each agent probes a member a second, so after some seconds everybody has measured everybody. Serf's agents take our
/// coordinates, and we theirs, without a word in any log; both programs' agents give estimates for every pair.
#[test]
fn every_agent_estimates_every_round_trip() {
    with_cluster(Profile::Local, |cluster| {
        let seed = cluster.agent(Kind::Serf).start();
        let mut agents = vec![seed.clone()];
        let others = [Kind::Thane, Kind::Serf, Kind::Thane];
        agents.extend(others.map(|kind| cluster.agent(kind).joining(&seed).start()));
        cluster.wait_until_all_alive(&agents.iter().collect::<Vec<_>>());
        let estimates = cluster.wait_for("all round trips at all agents", || {
            let mut estimates = BTreeMap::new();
            for asked in &agents {
                for (n, a) in agents.iter().enumerate() {
                    for b in &agents[n + 1..] {
                        let rtt = estimate(asked, a.name(), b.name())?;
                        estimates.insert((asked.name(), a.name(), b.name()), rtt);
                    }
                }
            }
            Ok(estimates)
        });
        assert_eq!(estimates.len(), 4 * 6);
        for (pair, rtt) in &estimates {
            assert!((0.0..1000.0).contains(rtt), "{rtt} ms for {pair:?} on one machine");
        }
        for agent in &agents {
            for program in BOTH {
                let stats = agent.cli(program, &["info"]).succeeded().stdout;
                assert!(stats.contains("coordinate_resets = 0"), "{}: {stats}", agent.name());
            }
            let log = agent.log();
            // Neither program has anything to say about coordinates that it takes.
            let refused = |line: &&str| line.contains("oordinate") || line.contains("ping version");
            assert_eq!(log.lines().find(refused), None, "{}", agent.name());
        }
    });
}
