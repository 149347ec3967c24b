//! Tags: given at the start, changed while running, read by the other kind and used to choose members.

use crate::harness::{Agent, BOTH, Cluster, Kind, Member, Profile, members_through, with_cluster};
use std::collections::BTreeMap;

fn tags_of(name: &str, members: &[Member]) -> BTreeMap<String, String> {
    members.iter().find(|member| member.name == name).map(|member| member.tags.clone()).unwrap_or_default()
}

fn tags<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Waits until `observer` lists these tags of `member`, through either command line.
#[track_caller]
fn wait_for_tags(cluster: &Cluster, observer: &Agent, member: &Agent, expected: &BTreeMap<String, String>) {
    for kind in BOTH {
        cluster.wait_for("the new tags", || {
            let seen = tags_of(member.name(), &members_through(kind, observer)?);
            if seen == *expected { Ok(()) } else { Err(format!("{} sees {seen:?}", observer.name())) }
        });
    }
}

#[test]
fn tags_given_at_the_start_are_read_by_the_other_kind() {
    with_cluster(Profile::Local, |cluster| {
        let given = [
            ("role", "web"),
            ("dc", "east-1"),
            ("empty", ""),
            ("equation", "a=b,c=d"),
            ("ünïcode", "grüße 世界"),
            ("space d", " a b "),
            ("markup", "<a href=\"x\">&amp;</a>"),
        ];
        let seed = cluster.agent(Kind::Thane).start();
        for kind in BOTH {
            let mut launch = cluster.agent(kind).joining(&seed);
            for (key, value) in given {
                launch = launch.tag(key, value);
            }
            let member = launch.start();
            let observer = cluster.agent(kind.other()).joining(&seed).start();
            wait_for_tags(cluster, &observer, &member, &tags(given));
            wait_for_tags(cluster, &seed, &member, &tags(given));
        }
    });
}

#[test]
fn tags_changed_on_one_kind_reach_the_other() {
    with_cluster(Profile::Local, |cluster| {
        let [thane, serf] = BOTH.map(|kind| cluster.agent(kind).tag("old", "1").tag("kept", "2").start());
        serf.join(&thane);
        cluster.wait_until_all_alive(&[&thane, &serf]);
        for (changed, observer) in [(&thane, &serf), (&serf, &thane)] {
            for (program, value) in [(Kind::Thane, "by thane"), (Kind::Serf, "by serf")] {
                let new = format!("new={value}");
                let answer = changed.cli(program, &["tags", "-set", &new, "-delete", "old"]).succeeded();
                assert_eq!(answer.stdout, "Successfully updated agent tags\n");
                wait_for_tags(cluster, observer, changed, &tags([("kept", "2"), ("new", value)]));
            }
        }
        cluster.wait_until_all_alive(&[&thane, &serf]);
    });
}

#[test]
fn a_member_that_returns_with_other_tags_is_seen_with_those() {
    with_cluster(Profile::Local, |cluster| {
        cluster.tolerate_lost_members();
        for kind in BOTH {
            let observer = cluster.agent(kind.other()).start();
            let first = cluster.named_agent(kind, "reborn").joining(&observer).tag("life", "first");
            let ip = first.ip();
            let first = first.start();
            wait_for_tags(cluster, &observer, &first, &tags([("life", "first")]));
            first.kill();
            cluster.wait_for_members(&[&observer], &[(observer.name(), "alive"), ("reborn", "failed")]);
            let second =
                cluster.named_agent_at(kind, "reborn", ip).joining(&observer).tag("life", "second").start();
            wait_for_tags(cluster, &observer, &second, &tags([("life", "second")]));
            cluster.wait_until_all_alive(&[&observer, &second]);
        }
    });
}

#[test]
fn tags_too_long_for_a_packet_are_refused_and_change_nothing() {
    with_cluster(Profile::Local, |cluster| {
        cluster.tolerate("[ERR] agent: Failed to set tags: Encoded length of tags exceeds limit");
        let [thane, serf] = BOTH.map(|kind| cluster.agent(kind).tag("kept", "1").start());
        serf.join(&thane);
        cluster.wait_until_all_alive(&[&thane, &serf]);
        let too_long = format!("long={}", "x".repeat(600));
        for (agent, observer) in [(&thane, &serf), (&serf, &thane)] {
            for program in BOTH {
                let answer = agent.cli(program, &["tags", "-set", &too_long]);
                answer.refused("Error setting tags: Encoded length of tags exceeds limit of 512 bytes");
            }
            wait_for_tags(cluster, observer, agent, &tags([("kept", "1")]));
            wait_for_tags(cluster, agent, agent, &tags([("kept", "1")]));
        }
    });
}

#[test]
fn members_can_be_chosen_by_tag_status_and_name_through_either_program() {
    with_cluster(Profile::Local, |cluster| {
        let [thane, serf] =
            BOTH.map(|kind| cluster.agent(kind).tag("role", kind.word()).tag("rack", "a7").start());
        serf.join(&thane);
        cluster.wait_until_all_alive(&[&thane, &serf]);
        let choices: [(&[&str], &[&str]); 11] = [
            (&["-tag", "role=thane"], &["thane-1"]),
            (&["-tag=role=se.f"], &["serf-2"]),
            (&["-tag", "role=ser"], &[]),
            (&["-tag", "rack=a[0-9]"], &["serf-2", "thane-1"]),
            (&["-tag", "rack=a7", "-tag", "role=serf"], &["serf-2"]),
            (&["-tag", "absent="], &["serf-2", "thane-1"]),
            (&["-tag", "absent=.+"], &[]),
            (&["-name", "thane-.*"], &["thane-1"]),
            (&["-name", "thane"], &[]),
            (&["-status", "alive"], &["serf-2", "thane-1"]),
            (&["-status", "failed"], &[]),
        ];
        for (flags, expected) in choices {
            for agent in [&thane, &serf] {
                for program in BOTH {
                    let arguments = [&["members"], flags].concat();
                    let answer = agent.cli(program, &arguments).succeeded();
                    let mut names: Vec<_> =
                        answer.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
                    names.sort_unstable();
                    assert_eq!(names, expected, "{answer:#?} of {}", agent.name());
                }
            }
        }
    });
}
