//! Queries and keys over clusters of both kinds, asked through both programs.

use crate::harness::{Agent, Answer, BOTH, Cluster, Kind, Profile, with_cluster};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Base64 of 32 bytes each.
const OLD_KEY: &str = "dGhpcnR5LXR3byBieXRlcyBmb3IgdGhlc2UgdGVzdHM=";
const NEW_KEY: &str = "YW4gb3RoZXIga2V5IG9mIHRoaXJ0eS10d28gYnl0ZXM=";
const THIRD_KEY: &str = "YSB0aGlyZCBrZXkgb2YgdGhpcnR5LXR3byBieXRlcyE=";

/// A Thane agent and a Serf agent whose handlers answer.
fn pair(cluster: &Cluster) -> [Agent; 2] {
    let [thane, serf] = BOTH.map(|kind| {
        let handler = format!("-event-handler=query:who=echo {}; cat", kind.word());
        cluster.agent(kind).tag("kind", kind.word()).flag(handler).start()
    });
    serf.join(&thane);
    cluster.wait_until_settled(&[&thane, &serf]);
    [thane, serf]
}

/// The lines in any order.
fn lines(answer: &Answer) -> BTreeSet<&str> {
    answer.stdout.lines().collect()
}

#[test]
fn both_kinds_answer_the_queries_of_both_through_both_programs() {
    with_cluster(Profile::Local, |cluster| {
        let agents = pair(cluster);
        for flags in [
            &["query", "-timeout=1s", "who", "in"][..],
            &["query", "-timeout=1s", "-tag=kind=^ser", "who"],
            &["query", "-timeout=1s", "-no-ack", "-relay-factor=1", "who", "in"],
            &["query", "-timeout=1s", "-format=json", "-node=nobody", "who"],
            &["query", "-timeout=1s", "_serf_ping"],
            &["reachability"],
        ] {
            // A busy member may not answer in time, and is asked again.
            cluster.wait_for("four answers alike", || {
                let mut answers = Vec::new();
                for agent in &agents {
                    for program in BOTH {
                        answers.push(agent.cli(program, flags));
                    }
                }
                let is_like_first =
                    |answer: &Answer| answer.code == Some(0) && lines(answer) == lines(&answers[0]);
                let alike = answers.iter().all(is_like_first);
                if alike { Ok(()) } else { Err(format!("{flags:?}: {answers:#?}")) }
            });
        }
        // A client that has enough goes before the query's end.
        cluster.tolerate("[ERR] agent.ipc: Failed to stream ");
        let start = Instant::now();
        let answer = agents[0].own_cli(&["query", "-timeout=1h", "who"]).succeeded();
        assert!(answer.stdout.ends_with("Total Acks: 2\nTotal Responses: 2\n"), "{answer:#?}");
        let answer = agents[1].cli(Kind::Thane, &["query", "-timeout=1h", "-first=2", "who"]).succeeded();
        assert!(answer.stdout.ends_with("Total Responses: 2\n"), "{answer:#?}");
        assert!(start.elapsed() < Duration::from_secs(60), "it waited for the deadline");
    });
}

#[test]
fn keys_are_rotated_from_either_side_and_no_member_is_locked_out() {
    // The local profile sends each message twice at most, which does not always reach four members.
    with_cluster(Profile::Lan, |cluster| {
        let thane = cluster.agent(Kind::Thane).key(OLD_KEY).start();
        let serf = cluster.agent(Kind::Serf).key(OLD_KEY).joining(&thane).start();
        let agents = [&thane, &serf];
        cluster.wait_until_settled(&agents);
        let rotate = |agent: &Agent, program: Kind, old: &str, new: &str| {
            for (flag, key) in [("-install", new), ("-use", new), ("-remove", old)] {
                cluster.wait_for("the key to be changed on both", || {
                    let answer = agent.cli(program, &["keys", flag, key]);
                    if answer.code == Some(0) { Ok(()) } else { Err(format!("{answer:?}")) }
                });
            }
            cluster.wait_for("both to list the new key alone", || {
                let answer = agent.cli(program, &["keys", "-list"]);
                let listed = answer.stdout.ends_with(&format!("\n{new}  [2/2]\n"));
                if answer.code == Some(0) && listed { Ok(()) } else { Err(format!("{answer:?}")) }
            });
        };
        rotate(&thane, Kind::Thane, OLD_KEY, NEW_KEY);
        rotate(&serf, Kind::Serf, NEW_KEY, OLD_KEY);
        rotate(&serf, Kind::Thane, OLD_KEY, NEW_KEY);
        rotate(&thane, Kind::Serf, NEW_KEY, OLD_KEY);

        // A member that lacks a key: the others have it from before it came.
        // Those who come late answer what was asked by a member that was alone, which has no room for that.
        cluster.tolerate("[WARN] serf: Failed to deliver query response, dropping");
        let [lone_thane, lone_serf] = BOTH.map(|kind| {
            let lone = cluster.agent(kind).key(THIRD_KEY).start();
            // What it asks while it is alone, others may hear when it has joined.
            for flag in ["-install", "-use"] {
                lone.own_cli(&["keys", flag, OLD_KEY]).succeeded();
            }
            lone
        });
        lone_thane.join(&lone_serf);
        lone_thane.join(&thane);
        let all = [&thane, &serf, &lone_thane, &lone_serf];
        cluster.wait_until_settled(&all);
        // Of a busy member that does not answer in time another thing is said, and it is asked again.
        let refused = |agent: &Agent, program: Kind, why: &[String]| {
            cluster.wait_for("all to say who lacks the key", || {
                let refusal = agent.cli(program, &["keys", "-use", THIRD_KEY]);
                assert_eq!(refusal.code, Some(1), "{refusal:#?}");
                let is_told = why.iter().all(|why| refusal.stdout.contains(why));
                if is_told { Ok(()) } else { Err(format!("{refusal:#?}")) }
            });
        };
        let lacking = [&thane, &serf].map(|lacking| format!("failed:  {}", lacking.name()));
        for program in BOTH {
            refused(&lone_thane, program, &lacking);
        }
        let known = "2 of 4 live members are known to have the key".to_owned();
        refused(&lone_serf, Kind::Thane, &[known]);
        for agent in all {
            cluster.wait_for("all members to be reached", || {
                let answer = agent.own_cli(&["reachability"]);
                if answer.code == Some(0) { Ok(()) } else { Err(answer.stdout) }
            });
        }
    });
}
