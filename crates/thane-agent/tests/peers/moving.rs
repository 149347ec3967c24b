//! Moving a running cluster from Serf to Thane and back, one machine at a time: the other program is started with the
//! configuration directory, key ring, tags file, snapshot, handlers, name and address of the first.

use crate::harness::{Agent, BOTH, Cluster, Kind, Load, Profile, members_through, with_cluster};
use std::collections::BTreeSet;
use std::time::Duration;

const FIRST_KEY: &str = "dGhpcnR5LXR3byBieXRlcyBmb3IgdGhlc2UgdGVzdHM=";
const SECOND_KEY: &str = "YW4gb3RoZXIga2V5IG9mIHRoaXJ0eS10d28gYnl0ZXM=";

/// How long a member may still be held for failed or left once its agent runs again. On an idle machine it is about a second.
const RETURN_MAX: Duration = Duration::from_secs(60);

/// How a machine's agent is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By the service manager, and the other program is there before anybody notices.
    Restart,
    /// By the service manager; the others have noticed before the other program is started.
    Stop,
    /// By `leave`, after which the others hold it for left.
    Leave,
    /// By a crash, which the others notice.
    Crash,
}

impl End {
    /// What the others hold the machine for before it is back, if they are given the time to notice.
    fn status(self) -> Option<&'static str> {
        match self {
            Self::Restart => None,
            Self::Stop | Self::Crash => Some("failed"),
            Self::Leave => Some("left"),
        }
    }
}

fn others<'a>(machines: &'a [Agent], than: &Agent) -> Vec<&'a Agent> {
    machines.iter().filter(|machine| machine.name() != than.name()).collect()
}

/// Waits until each of `machines` has handled all events that were sent, each once.
#[track_caller]
pub(crate) fn wait_for_events(cluster: &Cluster, machines: &[&Agent], sent: &[String]) {
    let sent: BTreeSet<&String> = sent.iter().collect();
    for machine in machines {
        cluster.wait_for("all events to be handled", || {
            let noted = machine.noted_user_events();
            let seen: BTreeSet<&String> = noted.iter().collect();
            let twice: Vec<_> =
                seen.iter().filter(|name| noted.iter().filter(|n| n == *name).count() > 1).collect();
            assert!(twice.is_empty(), "{} handled twice: {twice:?}", machine.name());
            if seen == sent {
                return Ok(());
            }
            let missing: Vec<_> = sent.difference(&seen).take(9).collect();
            let strange: Vec<_> = seen.difference(&sent).take(9).collect();
            Err(format!("{} misses {missing:?} and has {strange:?}", machine.name()))
        });
    }
}

/// Waits until the snapshot says all that the agent knows: what is not there yet when it crashes, nobody can know of.
pub(crate) fn wait_for_snapshot(cluster: &Cluster, machine: &Agent) {
    cluster.wait_for("the snapshot to be written", || {
        let info = machine.own_cli(&["info"]).stdout;
        let snapshot = machine.snapshot();
        for (clock, line) in [("event_time = ", "event-clock: "), ("member_time = ", "clock: ")] {
            let time = info.lines().find_map(|row| row.trim().strip_prefix(clock)?.parse::<u64>().ok());
            let time = time.ok_or_else(|| info.clone())?;
            let written = snapshot.lines().rev().find_map(|row| row.strip_prefix(line)?.parse().ok());
            if written != Some(time - 1) {
                return Err(format!("{clock}{time}, but {written:?} in {snapshot}"));
            }
        }
        Ok(())
    });
}

fn wait_for_status(cluster: &Cluster, machines: &[Agent], machine: &Agent, status: &str) {
    let others = others(machines, machine);
    let mut expected: Vec<_> = others.iter().map(|other| (other.name(), "alive")).collect();
    expected.push((machine.name(), status));
    cluster.wait_for_members(&others, &expected);
}

/// Ends the machine's agent and starts the other program in its place, while events flow on the others.
fn move_machine(cluster: &Cluster, machines: &[Agent], machine: &Agent, end: End, load: &Load) {
    let others = others(machines, machine);
    load.expect_answers(None);
    // What arrives while Serf leaves is handled and not noted in its snapshot; and what either program has noted, it may end
    // before it has handled it. No successor could know of that.
    load.send_through(&[]);
    let all: Vec<&Agent> = machines.iter().collect();
    wait_for_events(cluster, &all, &load.sent());
    match end {
        End::Restart | End::Stop => {
            machine.signal("TERM");
            assert_eq!(machine.wait_for_end(), Some(1), "an end without a leave");
        }
        End::Leave => {
            machine.own_cli(&["leave"]).succeeded();
            assert_eq!(machine.wait_for_end(), Some(0));
        }
        End::Crash => {
            wait_for_snapshot(cluster, machine);
            machine.kill();
        }
    }
    load.send_through(&others);
    if let Some(status) = end.status() {
        wait_for_status(cluster, machines, machine, status);
    }
    machine.hand_over_to(machine.kind().other());
    machine.start();
    let expected: Vec<_> = machines.iter().map(|machine| (machine.name(), "alive")).collect();
    cluster.wait_for_members_within(RETURN_MAX, &all, &expected);
    load.send_through(&all);
    load.check();
}

/// What must hold between two moves: the machine has its keys and tags and answers, whichever program runs.
fn check_machines(cluster: &Cluster, machines: &[Agent], load: &Load, keys: &[&str], tags: &[&str]) {
    load.expect_answers(Some(machines.len()));
    let before = load.queries();
    for machine in machines {
        assert_eq!(machine.keyring(), keys, "the key ring of {}", machine.name());
        for program in BOTH {
            // A busy machine may not answer in time, and is asked again.
            cluster.wait_for("all keys to be on all machines", || {
                let answer = machine.cli(program, &["keys", "-list"]);
                let row = |key: &&str| format!("{key}  [{}/{}]", machines.len(), machines.len());
                let listed = keys.iter().all(|key| answer.stdout.contains(&row(key)));
                if answer.code == Some(0) && listed { Ok(()) } else { Err(format!("{answer:?}")) }
            });
            let members = members_through(program, machine).expect("the members are listed");
            for member in members {
                let own: Vec<(&str, &str)> =
                    member.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
                let expected: Vec<(&str, &str)> =
                    tags.iter().map(|tag| (*tag, member.name.as_str())).collect();
                assert_eq!(own, expected, "the tags of {} at {}", member.name, machine.name());
            }
        }
    }
    cluster.wait_for("a query that all answer", || {
        load.check();
        if load.queries() > before { Ok(()) } else { Err(format!("{} queries", load.queries())) }
    });
}

/// Nobody was told more often that a member failed than it did, and what is told last is that it is there.
fn check_member_events(cluster: &Cluster, machines: &[Agent], failures: usize) {
    for watcher in machines {
        for machine in others(machines, watcher) {
            let of_machine = || -> Vec<String> {
                let noted = watcher.noted_member_events().into_iter();
                let of_machine =
                    noted.filter(|(kind, name)| name == machine.name() && kind != "member-update");
                of_machine.map(|(kind, _)| kind).collect()
            };
            // The newest may still be held, to be told together with others.
            cluster.wait_for("the handlers to be told that all are there", || {
                let told = of_machine();
                let is_there = told.last().is_some_and(|kind| kind == "member-join");
                if is_there {
                    Ok(())
                } else {
                    Err(format!("{} of {}: {told:?}", watcher.name(), machine.name()))
                }
            });
            let told = of_machine();
            let failed = told.iter().filter(|kind| *kind == "member-failed").count();
            assert!(failed <= failures, "{} of {}: {told:?}", watcher.name(), machine.name());
        }
    }
}

#[test]
fn a_running_cluster_is_moved_from_serf_to_thane_and_back_one_machine_at_a_time() {
    with_cluster(Profile::Lan, |cluster| {
        cluster.tolerate_lost_members();
        // Serf begins anew at incarnation 1, and so does Thane with a snapshot of Serf's: they hear of what was announced before.
        cluster.tolerate("[WARN] memberlist: Refuting an alive message for ");
        cluster.tolerate("[WARN] memberlist: answering an announcement that we did not make");
        // A client that has all answers goes before the query's end.
        cluster.tolerate("[ERR] agent.ipc: Failed to stream ");
        let machines: Vec<Agent> = (1..=4)
            .map(|number| {
                let machine = cluster.machine(Kind::Serf, &format!("machine-{number}"));
                let machine = machine.keyring(&[FIRST_KEY]).tags_file().snapshot();
                machine.with("rejoin_after_leave", true).start()
            })
            .collect();
        let tag_all = |key: &str| {
            for machine in &machines {
                machine.own_cli(&["tags", "-set", &format!("{key}={}", machine.name())]).succeeded();
            }
        };
        tag_all("from-serf");
        for machine in &machines {
            machine.join(&machines[0]);
        }
        let all: Vec<&Agent> = machines.iter().collect();
        cluster.wait_until_settled(&all);
        let load = Load::start(&all);

        let forth = [End::Stop, End::Leave, End::Restart, End::Leave];
        let mut keys = vec![FIRST_KEY];
        for (number, (machine, end)) in machines.iter().zip(forth).enumerate() {
            move_machine(cluster, &machines, machine, end, &load);
            if number == 1 {
                // Two of each kind write the new key into their files.
                for (program, flag) in [(Kind::Serf, "-install"), (Kind::Thane, "-use")] {
                    // Again, as an operator would, if a busy machine did not answer in time.
                    cluster.wait_for("the key to be changed on all", || {
                        let answer = machine.cli(program, &["keys", flag, SECOND_KEY]);
                        if answer.code == Some(0) { Ok(()) } else { Err(format!("{answer:?}")) }
                    });
                }
                keys.insert(0, SECOND_KEY);
            }
            check_machines(cluster, &machines, &load, &keys, &["from-serf"]);
        }
        // Once more the same program: now its own lines follow Serf's in the snapshot.
        // What it is asked to send just before it ends goes to nobody.
        load.send_through(&[]);
        wait_for_events(cluster, &all, &load.sent());
        machines[0].signal("TERM");
        machines[0].wait_for_end();
        load.send_through(&others(&machines, &machines[0]));
        machines[0].start();
        cluster.wait_until_all_alive(&all);
        tag_all("from-thane");
        cluster.wait_until_all_alive(&all);
        let back = [End::Crash, End::Restart, End::Crash, End::Stop];
        for (machine, end) in machines.iter().zip(back) {
            move_machine(cluster, &machines, machine, end, &load);
            check_machines(cluster, &machines, &load, &keys, &["from-serf", "from-thane"]);
        }

        assert!(machines.iter().all(|machine| machine.kind() == Kind::Serf));
        let sent = load.finish();
        assert!(sent.len() > 50, "only {} events were sent", sent.len());
        wait_for_events(cluster, &all, &sent);
        // Each machine went twice, and the first once more, not always by failing; a busy machine may lose one more.
        check_member_events(cluster, &machines, 4);
    });
}
