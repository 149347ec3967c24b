//! How an agent starts, fails to start, and ends: the same for both programs.

use crate::harness::{BOTH, Cluster, Kind, Launch, Profile, with_cluster};
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// How many leaves may be over before their second signal.
const LEAVES_MAX: usize = 5;

#[test]
fn the_exit_code_tells_a_leave_from_an_end_without_one() {
    with_cluster(Profile::Local, |cluster| {
        for kind in BOTH {
            let interrupted = cluster.agent(kind).start();
            interrupted.signal("INT");
            assert_eq!(interrupted.wait_for_end(), Some(0));

            let terminated = cluster.agent(kind).start();
            terminated.signal("TERM");
            assert_eq!(terminated.wait_for_end(), Some(1));

            let told = cluster.agent(kind).start();
            told.own_cli(&["leave"]).succeeded();
            assert_eq!(told.wait_for_end(), Some(0));
        }
    });
}

#[test]
fn a_second_signal_during_a_leave_ends_the_agent_at_once() {
    with_cluster(Profile::Local, |cluster| {
        cluster.tolerate_lost_members();
        for kind in BOTH {
            // The leave takes about a second, and on a busy machine it may be over before the second signal comes.
            let is_ended = (0..LEAVES_MAX).any(|_| {
                let seed = cluster.agent(kind.other()).start();
                let agent = cluster.agent(kind).joining(&seed).start();
                cluster.wait_until_all_alive(&[&seed, &agent]);
                agent.signal("INT");
                let deadline = Instant::now() + Duration::from_secs(60);
                while !agent.log().contains("Gracefully shutting down agent...") {
                    assert!(Instant::now() < deadline, "the leave does not begin: {}", agent.log());
                    std::thread::sleep(Duration::from_millis(5));
                }
                agent.signal("INT");
                let code = agent.wait_for_end();
                assert!(matches!(code, Some(0 | 1)), "{code:?}: {}", agent.log());
                code == Some(1)
            });
            assert!(is_ended, "{} leaves to their end in spite of a second signal", kind.word());
        }
    });
}

#[test]
fn an_agent_says_at_its_start_what_it_runs_with() {
    with_cluster(Profile::Local, |cluster| {
        let banners = BOTH.map(|kind| {
            let agent = cluster.named_agent(kind, "alpha").start();
            let log = agent.log().replace(&agent.ip().to_string(), "IP");
            let banner = log.split("Log data will now stream").next().expect("a first part").to_owned();
            agent.own_cli(&["leave"]).succeeded();
            agent.wait_for_end();
            banner
        });
        assert_eq!(banners[0].replace("Thane agent", "Serf agent"), banners[1]);
    });
}

#[test]
fn an_unreachable_seed_ends_the_start_with_its_address() {
    with_cluster(Profile::Local, |cluster| {
        cluster.tolerate("[WARN] agent: error joining: ");
        let nobody = cluster.agent(Kind::Serf).build();
        for kind in BOTH {
            let answer = cluster.agent(kind).joining(&nobody).build().start_to_its_end();
            assert_eq!(answer.code, Some(1), "{answer:#?}");
            assert!(answer.stdout.contains(&nobody.ip().to_string()), "the seed is named: {answer:#?}");
        }
    });
}

#[test]
fn an_occupied_rpc_address_ends_the_start_with_that_address() {
    with_cluster(Profile::Local, |cluster| {
        for kind in BOTH {
            let agent = cluster.agent(kind).build();
            let address = agent.rpc_address();
            let _occupied = TcpListener::bind(&address).expect("the address is free");
            let answer = agent.start_to_its_end();
            assert_eq!(answer.code, Some(1), "{answer:#?}");
            assert!(answer.stdout.contains(&address), "the address is named: {answer:#?}");
        }
    });
}

#[test]
fn an_occupied_gossip_address_ends_the_start_with_that_address() {
    with_cluster(Profile::Local, |cluster| {
        for kind in BOTH {
            let agent = cluster.agent(kind).build();
            let _occupied = TcpListener::bind(agent.gossip_address()).expect("the address is free");
            let answer = agent.start_to_its_end();
            assert_eq!(answer.code, Some(1), "{answer:#?}");
            assert!(answer.stdout.contains(&agent.ip().to_string()), "the address is named: {answer:#?}");
        }
    });
}

/// Starts both programs with `flags`; both must refuse with exit code 1, on the same streams.
#[track_caller]
fn both_refuse_to_start(cluster: &Cluster, flags: &[&str]) {
    let [thane, serf] = BOTH.map(|kind| {
        let launch: Launch<'_> = cluster.agent(kind);
        let agent = flags.iter().fold(launch, |launch, flag| launch.flag(*flag)).build();
        agent.start_to_its_end()
    });
    for answer in [&thane, &serf] {
        assert_eq!(answer.code, Some(1), "{flags:?}: {answer:#?}");
        assert!(!answer.stdout.is_empty(), "{flags:?}: {answer:#?}");
    }
    assert_eq!(
        thane.stderr.is_empty(),
        serf.stderr.is_empty(),
        "{flags:?}: {thane:#?}\nis not like\n{serf:#?}"
    );
}

#[test]
fn a_wrong_flag_or_value_ends_the_start_in_the_same_way_for_both_programs() {
    with_cluster(Profile::Local, |cluster| {
        let long_tag = format!("-tag=long={}", "x".repeat(600));
        for flags in [
            &["-nonsense"][..],
            &["-encrypt=short"],
            &["-encrypt=dGhpcyBpcyBub3QgYSBrZXk="],
            &["-tag=novalue"],
            &["-tag==x"],
            &[&long_tag],
            &["-profile=desert"],
            &["-log-level=loud"],
            &["-bind=999.1.2.3"],
            &["-bind=127.0.0.1:port"],
            &["-advertise=no-such-host.invalid"],
            &["-protocol=1"],
            &["-protocol=6"],
            &["-protocol=five"],
            &["-event-handler=nonsense=script.sh"],
            &["-rpc-addr=nowhere"],
            &["-retry-interval=5"],
            &["-broadcast-timeout=soon"],
            &["-keyring-file=/nonexistent/keyring.json"],
            &["-iface=no-such-interface"],
        ] {
            both_refuse_to_start(cluster, flags);
        }
    });
}

#[test]
fn an_agent_with_a_taken_name_gives_way() {
    for (first, second) in [(Kind::Thane, Kind::Serf), (Kind::Serf, Kind::Thane)] {
        // With the fastest profile all votes must come within 1.6 s, or whoever asks for them ends.
        with_cluster(Profile::Lan, |cluster| {
            for text in [
                "Name conflict",
                "Node name conflicts with",
                "name conflict resolution",
                "Conflicting address",
                "is claimed by",
            ] {
                cluster.tolerate(text);
            }
            cluster.tolerate_lost_members();
            let holder = cluster.named_agent(first, "contested").start();
            let witness = cluster.agent(first).joining(&holder).start();
            let other = cluster.agent(second).joining(&holder).start();
            cluster.wait_until_all_alive(&[&holder, &witness, &other]);
            let late = cluster.named_agent(second, "contested").build();
            late.spawn();
            cluster.wait_for("the late agent to run", || {
                if late.log().contains("Log data will now stream") { Ok(()) } else { Err(late.log()) }
            });
            // Its own join may fail because the others refuse the name, or succeed; the vote follows either way.
            late.own_cli(&["join", &holder.gossip_address()]);
            assert_eq!(late.wait_for_end(), Some(0), "{}", late.log());
            cluster.wait_until_all_alive(&[&holder, &witness, &other]);
        });
    }
}
