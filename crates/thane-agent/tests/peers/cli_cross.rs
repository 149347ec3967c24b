//! Each command line against agents of both kinds, and both command lines side by side.

use crate::harness::{Agent, Answer, BOTH, Cluster, Kind, Profile, with_cluster, with_programs};
use std::collections::{BTreeMap, BTreeSet};

/// A Thane agent and a Serf agent with tags, in one cluster.
fn pair(cluster: &Cluster) -> [Agent; 2] {
    let [thane, serf] = BOTH.map(|kind| cluster.agent(kind).tag("role", "web").start());
    serf.join(&thane);
    cluster.wait_until_settled(&[&thane, &serf]);
    [thane, serf]
}

/// The lines of an answer as a set: the order of members is arbitrary.
fn lines(answer: &Answer) -> BTreeSet<&str> {
    answer.stdout.lines().map(str::trim_end).collect()
}

#[test]
fn both_programs_print_the_same_table_of_members_of_either_agent() {
    with_cluster(Profile::Local, |cluster| {
        let agents = pair(cluster);
        for flags in [&["members"][..], &["members", "-detailed"], &["members", "-format=text"]] {
            let mut answers = Vec::new();
            for agent in &agents {
                for program in BOTH {
                    answers.push(agent.cli(program, flags).succeeded());
                }
            }
            for answer in &answers {
                assert_eq!(answer.stdout.lines().count(), 2, "{answer:#?}");
                assert_eq!(lines(answer), lines(&answers[0]));
                assert_eq!(answer.stderr, "");
            }
        }
    });
}

#[test]
fn both_programs_print_the_same_json_of_the_same_agent() {
    with_cluster(Profile::Local, |cluster| {
        for kind in BOTH {
            let lone = cluster.agent(kind).tag("b", "<2>").tag("a", "1").start();
            for command in [&["members", "-format=json"][..], &["members", "-format=json", "-name=nobody"]] {
                let [thane, serf] = BOTH.map(|program| lone.cli(program, command).succeeded().stdout);
                assert_eq!(thane, serf, "byte for byte");
            }
        }
    });
}

/// `info`'s text as section and key to value.
fn info(agent: &Agent, program: Kind) -> BTreeMap<(String, String), String> {
    let answer = agent.cli(program, &["info"]).succeeded();
    let mut section = "";
    let mut values = BTreeMap::new();
    for line in answer.stdout.lines() {
        if let Some((key, value)) = line.strip_prefix('\t').and_then(|line| line.split_once(" = ")) {
            values.insert((section.to_owned(), key.to_owned()), value.to_owned());
        } else {
            section = line.strip_suffix(':').unwrap_or_else(|| panic!("{line:?} is no section: {answer:#?}"));
        }
    }
    values
}

#[test]
fn info_has_the_same_keys_on_both_kinds_and_the_same_values_through_both_programs() {
    with_cluster(Profile::Local, |cluster| {
        let agents = pair(cluster);
        let mut key_sets = Vec::new();
        for agent in &agents {
            let mut answers = BOTH.map(|program| info(agent, program));
            for answer in &mut answers {
                for (key, expected) in [
                    (("agent", "name"), agent.name()),
                    (("serf", "members"), "2"),
                    (("serf", "failed"), "0"),
                    (("serf", "left"), "0"),
                    (("serf", "encrypted"), "false"),
                    (("serf", "event_time"), "1"),
                    (("tags", "role"), "web"),
                    (("runtime", "os"), "linux"),
                ] {
                    let key = (key.0.to_owned(), key.1.to_owned());
                    assert_eq!(
                        answer.get(&key).map(String::as_str),
                        Some(expected),
                        "{key:?} of {}",
                        agent.name()
                    );
                }
                // Both programs ask one after the other, so what changes by itself may differ.
                answer.retain(|(section, key), _| {
                    section != "runtime" && key != "health_score" && !key.ends_with("_queue")
                });
            }
            assert_eq!(answers[0], answers[1]);
            key_sets.push(info(agent, Kind::Serf).into_keys().collect::<BTreeSet<_>>());
            let json = BOTH.map(|program| agent.cli(program, &["info", "-format=json"]).succeeded().stdout);
            for text in json {
                let document: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
                assert_eq!(document["agent"]["name"], agent.name());
            }
        }
        assert_eq!(key_sets[0], key_sets[1]);
    });
}

#[test]
fn joining_through_the_other_programs_command_line_works() {
    with_cluster(Profile::Local, |cluster| {
        for kind in BOTH {
            let one = cluster.agent(kind).start();
            let two = cluster.agent(kind.other()).start();
            let answer = one.join_by(kind.other(), &[&two.gossip_address()]);
            assert_eq!(answer.stdout, "Successfully joined cluster by contacting 1 nodes.\n");
            cluster.wait_until_all_alive(&[&one, &two]);
        }
    });
}

#[test]
fn the_address_of_the_agent_can_come_from_the_environment_and_a_flag_wins() {
    with_cluster(Profile::Local, |cluster| {
        let agents = pair(cluster);
        for agent in &agents {
            let address = agent.rpc_address();
            for program in BOTH {
                let answer = program.run_with(["info"], &[("SERF_RPC_ADDR", &address)]).succeeded();
                assert!(answer.stdout.contains(&format!("name = {}", agent.name())), "{answer:#?}");
                let flag = format!("--rpc-addr={address}");
                let wrong = [("SERF_RPC_ADDR", "127.0.0.1:1")];
                let answer = program.run_with(["info", &flag], &wrong).succeeded();
                assert!(answer.stdout.contains(&format!("name = {}", agent.name())), "{answer:#?}");
            }
        }
    });
}

#[test]
fn a_token_that_the_agent_does_not_ask_for_is_refused_by_both_kinds() {
    with_cluster(Profile::Local, |cluster| {
        for agent in pair(cluster) {
            for program in BOTH {
                for command in ["members", "info", "leave"] {
                    let answer = agent.cli(program, &[command, "-rpc-auth=secret"]);
                    answer.refused("Error connecting to Serf agent: Invalid authentication token");
                }
                let address = agent.rpc_address();
                let variables = [("SERF_RPC_ADDR", address.as_str()), ("SERF_RPC_AUTH", "secret")];
                program.run_with(["members"], &variables).refused("Invalid authentication token");
                agent.cli(program, &["members"]).succeeded();
            }
        }
    });
}

#[test]
fn a_monitor_says_so_when_the_agent_ends() {
    with_cluster(Profile::Local, |cluster| {
        for kind in BOTH {
            let agent = cluster.agent(kind).start();
            let monitors = BOTH.map(|program| cluster.monitor(program, &agent));
            agent.kill();
            for monitor in &monitors {
                cluster.wait_for("the monitor's last words", || {
                    let text = monitor.text();
                    let last_words = "Remote side ended the monitor! This usually means that the\n\
                                      remote side has exited or crashed.\n";
                    if text.ends_with(last_words) { Ok(()) } else { Err(text) }
                });
            }
        }
    });
}

#[test]
fn a_monitor_shows_the_log_lines_of_the_level_it_asks_for() {
    with_cluster(Profile::Local, |cluster| {
        for agent in pair(cluster) {
            for program in BOTH {
                agent.cli(program, &["monitor", "-log-level=LOUD"]).refused("Unknown log level: LOUD");
                let monitor = cluster.monitor(program, &agent);
                cluster.wait_for("the joining of the agent itself in the backlog", || {
                    let text = monitor.text();
                    let line = format!("[INFO] serf: EventMemberJoin: {} {}", agent.name(), agent.ip());
                    if text.contains(&line) { Ok(()) } else { Err(text) }
                });
            }
        }
    });
}

/// Whether scripts can tell the two apart: by the exit code, or by where something is printed. Ours may add a hint on stderr to an
/// error on stdout.
fn alike(thane: &Answer, serf: &Answer) -> bool {
    let hint = thane.code != Some(0) && !thane.stderr.is_empty() && !thane.stdout.is_empty();
    thane.code == serf.code
        && thane.stdout.is_empty() == serf.stdout.is_empty()
        && (hint || thane.stderr.is_empty() == serf.stderr.is_empty())
}

#[test]
fn wrong_arguments_get_the_same_exit_code_on_the_same_stream_from_both_programs() {
    with_cluster(Profile::Local, |cluster| {
        cluster.tolerate("[WARN] memberlist: Failed to resolve ");
        cluster.tolerate("[WARN] agent: error joining: ");
        let agents = pair(cluster);
        let lines: [&[&str]; 29] = [
            &["members", "-nonsense"],
            &["members", "-format"],
            &["members", "-format=xml"],
            &["members", "-detailed=perhaps"],
            &["members", "-tag", "novalue"],
            &["members", "-tag", "=x"],
            &["members", "-status=nothing"],
            &["members", "extra"],
            &["members", "-h"],
            &["members", "--help"],
            &["info", "-format=xml"],
            &["join"],
            &["join", "-replay=2", "127.0.0.1"],
            &["join", "127.0.0.1:99999"],
            &["join", "no-such-host.invalid"],
            &["event"],
            &["event", "a", "b", "c"],
            &["event", "-coalesce", "false", "a", "b"],
            &["event", "deploy", "-coalesce=false"],
            &["force-leave"],
            &["force-leave", "a", "b"],
            &["force-leave", "-h"],
            &["tags"],
            &["tags", "-set", "novalue"],
            &["tags", "-set", "=novalue"],
            &["tags", "-delete", "absent"],
            &["monitor", "-log-level="],
            &["leave", "-x"],
            &["leave", "-h"],
        ];
        for agent in &agents {
            for line in lines {
                let [thane, serf] = BOTH.map(|program| agent.cli(program, line));
                assert!(alike(&thane, &serf), "{thane:#?}\nis not like\n{serf:#?}");
            }
        }
        cluster.wait_until_all_alive(&[&agents[0], &agents[1]]);
    });
}

#[test]
fn commands_that_ask_no_agent_behave_the_same_in_both_programs() {
    with_programs(|| {
        let lines: [&[&str]; 18] = [
            &[],
            &["-h"],
            &["--help"],
            &["help"],
            &["nonsense"],
            &[""],
            &["-version"],
            &["--version"],
            &["-v"],
            &["version"],
            &["version", "extra"],
            &["keygen"],
            &["keygen", "extra"],
            &["event", "deploy", "-v"],
            &["-rpc-addr=127.0.0.1:1", "members"],
            &["agent", "-h"],
            &["keygen", "-h"],
            &["members", "--rpc-addr"],
        ];
        for line in lines {
            let [thane, serf] = BOTH.map(|program| program.run(line));
            assert!(alike(&thane, &serf), "{thane:#?}\nis not like\n{serf:#?}");
        }
    });
}

#[test]
fn a_dead_rpc_address_is_named_by_every_command() {
    with_programs(|| {
        for program in BOTH {
            for (command, argument) in [
                ("members", None),
                ("info", None),
                ("join", Some("127.0.0.1")),
                ("leave", None),
                ("force-leave", Some("a")),
                ("event", Some("a")),
                ("monitor", None),
            ] {
                let line = [command, "-rpc-addr=127.0.0.1:1"].into_iter().chain(argument);
                let answer = program.run(line).refused("Error connecting to Serf agent: ");
                assert!(answer.stdout.contains("127.0.0.1:1"), "{answer:#?}");
            }
            for bad in ["127.0.0.1", "no-such-host.invalid:7373", ":::"] {
                let answer = program.run(["members", "-rpc-addr", bad]);
                answer.refused("Error connecting to Serf agent: ");
            }
        }
    });
}

#[test]
fn the_version_tells_the_agent_protocol_as_upgrade_scripts_read_it() {
    with_programs(|| {
        for program in BOTH {
            let answer = program.run(["version"]).succeeded();
            let lines: Vec<_> = answer.stdout.lines().collect();
            assert_eq!(lines.len(), 2, "{answer:#?}");
            assert_eq!(lines[1], "Agent Protocol: 5 (Understands back to: 2)");
        }
    });
}

#[test]
fn a_key_made_by_either_program_starts_an_agent_of_the_other() {
    with_cluster(Profile::Local, |cluster| {
        for program in BOTH {
            let key = program.run(["keygen"]).succeeded().stdout;
            let key = key.strip_suffix('\n').expect("a line");
            assert_eq!(key.len(), 44, "32 bytes in base64: {key:?}");
            assert_ne!(program.run(["keygen"]).succeeded().stdout.trim(), key, "keys are random");
            let one = cluster.agent(program.other()).key(key).start();
            let two = cluster.agent(program).key(key).joining(&one).start();
            cluster.wait_until_all_alive(&[&one, &two]);
        }
    });
}
