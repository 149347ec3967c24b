//! Changing the key of a running cluster of both kinds: nobody who is there is locked out, and whoever was away gets back in.

use crate::encryption::tolerate_refusals;
use crate::harness::{Agent, Answer, BOTH, Cluster, Kind, Load, Profile, statuses_through, with_cluster};
use crate::moving::wait_for_events;

/// Base64 of 32 bytes each.
const KEYS: [&str; 5] = [
    "dGhpcnR5LXR3byBieXRlcyBmb3IgdGhlc2UgdGVzdHM=",
    "YW4gb3RoZXIga2V5IG9mIHRoaXJ0eS10d28gYnl0ZXM=",
    "YSB0aGlyZCBrZXkgb2YgdGhpcnR5LXR3byBieXRlcyE=",
    "Zm91cnRoIGtleSBvZiAzMiBieXRlcyBmb3IgdGVzdHM=",
    "ZmlmdGgga2V5IHRoYXQgaGFzIDMyIGJ5dGVzIGFzIHQ=",
];

/// Two machines of each kind in one cluster, all with this key in their key rings.
fn mixed_cluster(cluster: &Cluster, key: &str) -> Vec<Agent> {
    cluster.tolerate_lost_members();
    // A client that has all answers goes before the query's end.
    cluster.tolerate("[ERR] agent.ipc: Failed to stream ");
    let machines: Vec<Agent> = (0..4)
        .map(|number| {
            let kind = BOTH[number % 2];
            let machine = cluster.machine(kind, &format!("{}-{number}", kind.word()));
            machine.keyring(&[key]).snapshot().start()
        })
        .collect();
    for machine in &machines[1..] {
        machine.join(&machines[0]);
    }
    cluster.wait_until_settled(&machines.iter().collect::<Vec<_>>());
    machines
}

/// One step of a rotation. An operator repeats it if a busy member did not answer in time, and so does this.
fn step(cluster: &Cluster, agent: &Agent, program: Kind, flag: &str, key: &str) -> Answer {
    cluster.wait_for("the key to be changed on all", || {
        let answer = agent.cli(program, &["keys", flag, key]);
        if answer.code == Some(0) { Ok(answer) } else { Err(format!("{answer:?}")) }
    })
}

/// Waits until each of `machines` has exactly these keys in its file, the one in use first.
fn wait_for_keys(cluster: &Cluster, machines: &[&Agent], keys: &[&str]) {
    for machine in machines {
        cluster.wait_for("the key ring file", || {
            let found = machine.keyring();
            if found == keys { Ok(()) } else { Err(format!("{} has {found:?}", machine.name())) }
        });
    }
}

/// Ends the machine's agent as a crash would, once its snapshot names the others, so that its next life finds them.
fn crash(cluster: &Cluster, machine: &Agent, others: &[&Agent]) {
    cluster.wait_for("the snapshot to name all", || machine.remembers(others));
    machine.kill();
}

/// Waits until `count` more queries were answered by all.
fn wait_for_queries(cluster: &Cluster, load: &Load, count: usize) {
    let enough = load.queries() + count;
    cluster.wait_for("queries to be answered by all", || {
        load.check();
        if load.queries() >= enough { Ok(()) } else { Err(format!("{} of {enough}", load.queries())) }
    });
}

/// Nobody was ever told that one of `machines` failed.
#[track_caller]
fn check_nobody_failed(machines: &[&Agent]) {
    for watcher in machines {
        for (event, name) in watcher.noted_member_events() {
            let is_live = machines.iter().any(|machine| machine.name() == name);
            assert!(!is_live || event != "member-failed", "{name} failed for {}", watcher.name());
        }
    }
}

#[test]
fn keys_are_rotated_from_every_side_under_load_and_nobody_notices() {
    with_cluster(Profile::Lan, |cluster| {
        let machines = mixed_cluster(cluster, KEYS[0]);
        let all: Vec<&Agent> = machines.iter().collect();
        let load = Load::start(&all);
        load.expect_answers(Some(4));
        let drivers = [
            (&machines[0], Kind::Thane),
            (&machines[1], Kind::Serf),
            (&machines[2], Kind::Serf),
            (&machines[3], Kind::Thane),
        ];
        for ((agent, program), keys) in drivers.into_iter().zip(KEYS.windows(2)) {
            let (old, new) = (keys[0], keys[1]);
            step(cluster, agent, program, "-install", new);
            wait_for_keys(cluster, &all, &[old, new]);
            step(cluster, agent, program, "-use", new);
            wait_for_keys(cluster, &all, &[new, old]);
            wait_for_queries(cluster, &load, 1);
            step(cluster, agent, program, "-remove", old);
            wait_for_keys(cluster, &all, &[new]);
        }
        wait_for_queries(cluster, &load, 1);
        wait_for_events(cluster, &all, &load.finish());
        check_nobody_failed(&all);
        cluster.wait_until_all_alive(&all);
    });
}

/// A member that has only the old key is down while the others change to a new one, and comes back.
fn sf_579_a_member_returns(kind: Kind) {
    with_cluster(Profile::Lan, |cluster| {
        tolerate_refusals(cluster);
        for text in [
            "[WARN] serf: Failed to re-join",
            // As long as it is alone, what it hears of the others waits for somebody to tell it to.
            "messages wait in the event queue",
            "[WARN] memberlist: dropped a packet from ",
            "[WARN] memberlist: Refuting an alive message for ",
            "[WARN] memberlist: answering an announcement that we did not make",
        ] {
            cluster.tolerate(text);
        }
        let machines = mixed_cluster(cluster, KEYS[0]);
        let (away, live): (Vec<&Agent>, Vec<&Agent>) = {
            let at = machines.iter().rposition(|machine| machine.kind() == kind).expect("one of each kind");
            let is_away = |machine: &&Agent| machine.name() == machines[at].name();
            machines.iter().partition(is_away)
        };
        let away = away[0];
        let all: Vec<&Agent> = machines.iter().collect();
        let load = Load::start(&live);
        load.expect_answers(Some(live.len()));
        crash(cluster, away, &live);
        let mut without: Vec<_> = live.iter().map(|machine| (machine.name(), "alive")).collect();
        without.push((away.name(), "failed"));
        cluster.wait_for_members(&live, &without);

        // Those who are there change the key. Each step succeeds, and says who was not asked.
        let [old, new] = [KEYS[0], KEYS[1]];
        for flag in ["-install", "-use"] {
            let answer = step(cluster, live[0], Kind::Thane, flag, new);
            assert!(answer.stderr.contains(&format!("they have failed: {}. ", away.name())), "{answer:#?}");
        }
        wait_for_keys(cluster, &live, &[new, old]);
        wait_for_keys(cluster, &[away], &[old]);

        // It is not let in as it is, and disturbs nobody.
        away.start();
        wait_for_queries(cluster, &load, 2);
        assert_eq!(
            statuses_through(Kind::Thane, away),
            Ok(vec![(away.name().to_owned(), "alive".to_owned())])
        );
        cluster.wait_for_members(&live, &without);

        // First way: the new key goes into its key ring before it starts.
        away.signal("TERM");
        away.wait_for_end();
        away.write_keyring(&[new, old]);
        away.start();
        cluster.wait_until_all_alive(&all);
        step(cluster, away, kind.other(), "-remove", old);
        wait_for_keys(cluster, &all, &[new]);

        // It misses a whole rotation, with the old key removed everywhere.
        let [old, new] = [KEYS[1], KEYS[2]];
        crash(cluster, away, &live);
        cluster.wait_for_members(&live, &without);
        for (flag, key) in [("-install", new), ("-use", new), ("-remove", old)] {
            step(cluster, live[1], live[1].kind(), flag, key);
        }
        wait_for_keys(cluster, &live, &[new]);

        // Second way, without touching its files: the others use the old key again until it is back.
        for flag in ["-install", "-use"] {
            step(cluster, live[0], Kind::Thane, flag, old);
        }
        away.start();
        cluster.wait_until_all_alive(&all);
        for (flag, key) in [("-install", new), ("-use", new), ("-remove", old)] {
            step(cluster, live[2], Kind::Thane, flag, key);
        }
        wait_for_keys(cluster, &all, &[new]);

        cluster.wait_until_all_alive(&all);
        wait_for_queries(cluster, &load, 1);
        let sent = load.finish();
        wait_for_events(cluster, &live, &sent);
        check_nobody_failed(&live);
    });
}

#[test]
fn sf_579_a_thane_member_that_was_down_during_a_rotation_gets_back_in() {
    sf_579_a_member_returns(Kind::Thane);
}

#[test]
fn sf_579_a_serf_member_that_was_down_during_a_rotation_gets_back_in() {
    sf_579_a_member_returns(Kind::Serf);
}
