//! Members that leave, crash, pause and return, each seen from both kinds.

use crate::harness::{Agent, BOTH, Cluster, Kind, Profile, with_cluster};

/// One watcher of each kind and a member of `kind` that joined through the watcher of the other kind.
fn watched(cluster: &Cluster, kind: Kind) -> (Agent, Agent, Agent) {
    let thane = cluster.agent(Kind::Thane).start();
    let serf = cluster.agent(Kind::Serf).joining(&thane).start();
    let seed = if kind == Kind::Thane { &serf } else { &thane };
    let member = cluster.agent(kind).joining(seed).start();
    cluster.wait_until_settled(&[&thane, &serf, &member]);
    (thane, serf, member)
}

/// Waits until both watchers list the member with `status`, and each other as alive.
#[track_caller]
fn wait_for_status(cluster: &Cluster, watchers: [&Agent; 2], member: &Agent, status: &str) {
    let [first, second] = watchers;
    let expected = [(first.name(), "alive"), (second.name(), "alive"), (member.name(), status)];
    cluster.wait_for_members(&watchers, &expected);
}

fn a_member_leaves(leave: impl Fn(&Agent)) {
    for kind in BOTH {
        with_cluster(Profile::Local, |cluster| {
            // A member that returns hears from the others that it has left, and refutes that.
            cluster.tolerate("[WARN] memberlist: Refuting a dead message");
            cluster.tolerate("[WARN] memberlist: answering a death notice by ");
            let (thane, serf, member) = watched(cluster, kind);
            leave(&member);
            assert_eq!(member.wait_for_end(), Some(0), "a graceful leave ends with 0");
            wait_for_status(cluster, [&thane, &serf], &member, "left");
            member.start();
            member.join(&thane);
            cluster.wait_until_all_alive(&[&thane, &serf, &member]);
        });
    }
}

#[test]
fn a_member_leaves_by_its_own_command_and_returns() {
    a_member_leaves(|member| {
        let answer = member.own_cli(&["leave"]).succeeded();
        assert_eq!(answer.stdout, "Graceful leave complete\n");
    });
}

#[test]
fn a_member_leaves_by_the_other_programs_command_and_returns() {
    a_member_leaves(|member| {
        let answer = member.cli(member.kind().other(), &["leave"]).succeeded();
        assert_eq!(answer.stdout, "Graceful leave complete\n");
    });
}

#[test]
fn a_member_leaves_on_interrupt_and_returns() {
    a_member_leaves(|member| member.signal("INT"));
}

#[test]
fn a_crashed_member_fails_and_is_back_once_it_runs_again() {
    for kind in BOTH {
        with_cluster(Profile::Local, |cluster| {
            cluster.tolerate_lost_members();
            let (thane, serf, member) = watched(cluster, kind);
            member.kill();
            wait_for_status(cluster, [&thane, &serf], &member, "failed");
            // It joins by the seed in its flags.
            member.start();
            cluster.wait_until_all_alive(&[&thane, &serf, &member]);
        });
    }
}

#[test]
fn a_crash_is_seen_with_the_default_timing() {
    for kind in BOTH {
        with_cluster(Profile::Lan, |cluster| {
            cluster.tolerate_lost_members();
            let (thane, serf, member) = watched(cluster, kind);
            member.kill();
            wait_for_status(cluster, [&thane, &serf], &member, "failed");
        });
    }
}

#[test]
fn a_terminated_member_does_not_leave_but_fails() {
    for kind in BOTH {
        with_cluster(Profile::Local, |cluster| {
            cluster.tolerate_lost_members();
            let (thane, serf, member) = watched(cluster, kind);
            member.signal("TERM");
            assert_eq!(member.wait_for_end(), Some(1));
            wait_for_status(cluster, [&thane, &serf], &member, "failed");
        });
    }
}

#[test]
fn a_paused_member_fails_and_refutes_that_when_it_goes_on() {
    for kind in BOTH {
        with_cluster(Profile::Local, |cluster| {
            cluster.tolerate_lost_members();
            let (thane, serf, member) = watched(cluster, kind);
            member.signal("STOP");
            wait_for_status(cluster, [&thane, &serf], &member, "failed");
            member.signal("CONT");
            cluster.wait_until_all_alive(&[&thane, &serf, &member]);
        });
    }
}

#[test]
fn a_failed_member_that_is_forced_to_leave_has_left_for_all() {
    for kind in BOTH {
        for by in BOTH {
            with_cluster(Profile::Local, |cluster| {
                cluster.tolerate_lost_members();
                let (thane, serf, member) = watched(cluster, kind);
                member.kill();
                wait_for_status(cluster, [&thane, &serf], &member, "failed");
                let asked = if by == Kind::Thane { &thane } else { &serf };
                let answer = asked.own_cli(&["force-leave", member.name()]).succeeded();
                assert_eq!(answer.stdout, "", "success is silent");
                wait_for_status(cluster, [&thane, &serf], &member, "left");
                member.start();
                cluster.wait_until_all_alive(&[&thane, &serf, &member]);
            });
        }
    }
}

#[test]
fn a_failed_member_that_is_pruned_is_gone_for_all() {
    for kind in BOTH {
        for by in BOTH {
            with_cluster(Profile::Local, |cluster| {
                cluster.tolerate_lost_members();
                let (thane, serf, member) = watched(cluster, kind);
                member.kill();
                wait_for_status(cluster, [&thane, &serf], &member, "failed");
                let (asked, other) = if by == Kind::Thane { (&thane, &serf) } else { (&serf, &thane) };
                cluster.prune(asked, by.other(), &member, other);
                cluster.wait_until_all_alive(&[&thane, &serf]);
                member.start();
                cluster.wait_until_all_alive(&[&thane, &serf, &member]);
            });
        }
    }
}

#[test]
fn a_running_member_refutes_a_forced_leave() {
    for kind in BOTH {
        with_cluster(Profile::Local, |cluster| {
            let (thane, serf, member) = watched(cluster, kind);
            let asked = if kind == Kind::Thane { &serf } else { &thane };
            let before = serf.log().len();
            asked.own_cli(&["force-leave", member.name()]).succeeded();
            // The member refutes with a join message, which Serf's log shows.
            let refutation = format!("messageJoinType: {}", member.name());
            cluster.wait_for("the refutation to reach Serf", || {
                let news = serf.log().split_off(before);
                if news.contains(&refutation) { Ok(()) } else { Err(news) }
            });
            cluster.wait_until_all_alive(&[&thane, &serf, &member]);
        });
    }
}

#[test]
fn a_forced_leave_of_an_unknown_name_succeeds_in_silence() {
    with_cluster(Profile::Local, |cluster| {
        let [thane, serf] = BOTH.map(|kind| cluster.agent(kind).start());
        serf.join(&thane);
        cluster.wait_until_all_alive(&[&thane, &serf]);
        for agent in [&thane, &serf] {
            for program in BOTH {
                let answer = agent.cli(program, &["force-leave", "nobody"]).succeeded();
                assert_eq!(answer.stdout, "");
            }
        }
        cluster.wait_until_all_alive(&[&thane, &serf]);
    });
}

#[test]
fn half_of_ten_members_crash_and_the_other_half_agrees_on_it() {
    with_cluster(Profile::Local, |cluster| {
        cluster.tolerate_lost_members();
        let seed = cluster.agent(Kind::Thane).start();
        let mut agents = vec![seed.clone()];
        agents.extend((1..10).map(|n| cluster.agent(BOTH[n % 2]).joining(&seed).start()));
        cluster.wait_until_all_alive(&agents.iter().collect::<Vec<_>>());
        let (dead, living) = agents.split_at(5);
        for agent in dead {
            agent.kill();
        }
        let mut expected: Vec<_> = living.iter().map(|agent| (agent.name(), "alive")).collect();
        expected.extend(dead.iter().map(|agent| (agent.name(), "failed")));
        let living: Vec<_> = living.iter().collect();
        cluster.wait_for_members(&living, &expected);
        for agent in dead {
            agent.start();
        }
        // The seed crashed too, so those that return know each other at once, and one join ties them to the rest.
        dead[0].join(living[0]);
        cluster.wait_until_all_alive(&agents.iter().collect::<Vec<_>>());
    });
}
