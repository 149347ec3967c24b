//! What is left on a host's disk, what goes wrong with it, and what the next process makes of it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use thane_core::snapshot::SnapshotLog;
use thane_core::{Config, Event, Key, KeyCommand, Keyring, Node, Outcome, Output, Replay, Status, Time};
use thane_sim::{Crash, DiskFault, HostId, Observer, ProcessId, Quality, World};

const SECOND: Duration = Duration::from_secs(1);

/// Keeps the ends of commands and what applications were told.
#[derive(Debug, Default)]
struct Diary {
    done: Vec<(ProcessId, Outcome)>,
    told: Vec<(ProcessId, Event)>,
}

impl Observer for Diary {
    fn output(&mut self, _: Time, process: ProcessId, output: &Output) {
        match output {
            Output::Done { outcome, .. } => self.done.push((process, outcome.clone())),
            Output::Event(event) => self.told.push((process, event.clone())),
            _ => {}
        }
    }

    fn settled(&mut self, _: Time, _: ProcessId, node: &Node) {
        node.check_invariants();
    }
}

fn key(byte: u8) -> Key {
    Key::new(&[byte; 32]).unwrap()
}

/// A cluster whose hosts all have disks, and which agrees.
fn cluster(
    seed: u64,
    size: usize,
    rejoin_after_leave: bool,
    keyring: &Keyring,
) -> (World<Diary>, Vec<HostId>) {
    let mut world = World::observed(seed, Quality::good(), Diary::default());
    let hosts: Vec<HostId> = (0..size)
        .map(|number| {
            let config = Config::lan(format!("n{number}"), world.next_addr());
            let host = world.add_host(Config { keyring: keyring.clone(), ..config });
            world.add_disk(host, rejoin_after_leave);
            host
        })
        .collect();
    let first = world.addr(hosts[0]);
    for &host in &hosts {
        world.start(host);
        world.command(host, |node, now| node.join(now, &[first], Replay::Ignore).unwrap());
    }
    assert!(world.run_until(10 * SECOND, |world| hosts.iter().all(|host| live(world, *host) == size)));
    world.run_for(2 * SECOND);
    (world, hosts)
}

fn live(world: &World<Diary>, host: HostId) -> usize {
    world.node(host).map_or(0, |node| node.stats().live)
}

/// How many others the snapshot on a host's disk holds for alive.
fn listed(world: &World<Diary>, host: HostId) -> usize {
    SnapshotLog::replay(world.snapshot(host).unwrap(), false).log.restored(world.name(host)).alive.len()
}

#[test]
fn a_process_with_its_files_finds_its_cluster_and_one_without_is_alone() {
    let (mut world, hosts) = cluster(1, 4, false, &Keyring::default());
    for with_files in [true, false] {
        world.crash(hosts[3], Crash::Process);
        world.run_for(2 * SECOND);
        let before = world.tally().restores;
        if with_files {
            assert!(world.restart(hosts[3]).life > 1);
        } else {
            world.start(hosts[3]);
        }
        assert_eq!(live(&world, hosts[3]), 1);
        world.run_for(3 * SECOND);
        let found = live(&world, hosts[3]) == 4;
        assert_eq!((found, world.tally().restores > before), (with_files, with_files));
    }
}

#[test]
fn who_left_looks_for_nobody_unless_told_to() {
    for rejoin_after_leave in [false, true] {
        let (mut world, hosts) = cluster(2, 3, rejoin_after_leave, &Keyring::default());
        world.leave(hosts[2]).unwrap().unwrap();
        assert!(world.run_until(20 * SECOND, |world| world.node(hosts[2]).is_none()));
        world.restart(hosts[2]);
        world.run_for(10 * SECOND);
        assert_eq!(live(&world, hosts[2]), if rejoin_after_leave { 3 } else { 1 });
    }
}

#[test]
fn what_a_full_disk_did_not_take_is_written_when_there_is_room() {
    for fault in [DiskFault::Full, DiskFault::Failing] {
        let (mut world, hosts) = cluster(3, 2, false, &Keyring::default());
        assert_eq!(listed(&world, hosts[1]), 1, "the other");
        world.break_disk(hosts[1], fault, 60 * SECOND);
        let to = world.addr(hosts[0]);
        let more: Vec<HostId> = (2..12).map(|number| world.add_lan_host(&format!("n{number}"))).collect();
        for host in more {
            world.start(host);
            world.command(host, |node, now| node.join(now, &[to], Replay::Ignore).unwrap());
            world.run_for(SECOND);
        }
        world.run_for(10 * SECOND);
        assert_eq!(live(&world, hosts[1]), 12);
        assert!(world.tally().disk_errors > 0, "{fault:?}: every write was taken");
        if fault == DiskFault::Full {
            assert!(listed(&world, hosts[1]) < 11, "a full disk took it all");
        }
        // The longest pause between two tries is 30 s.
        world.run_for(95 * SECOND);
        assert_eq!(listed(&world, hosts[1]), 11, "{fault:?}: something was not written again");
    }
}

#[test]
fn a_machine_that_goes_down_loses_its_last_lines_and_the_next_process_makes_do() {
    let mut torn = 0;
    for seed in 0..20 {
        let (mut world, hosts) = cluster(seed, 3, false, &Keyring::default());
        world.run_for(40 * SECOND);
        let known = world.snapshot(hosts[1]).unwrap().to_vec();
        for number in 0..5_u8 {
            world.command(hosts[0], |node, now| node.user_event(now, "deploy", &[number], false).unwrap());
            world.run_for(SECOND);
        }
        let before = world.snapshot(hosts[1]).unwrap().len();
        world.crash(hosts[1], Crash::Machine);
        let after = world.snapshot(hosts[1]).unwrap();
        assert!(after.starts_with(&known[..known.len().min(after.len())]), "what was on the disk changed");
        assert!(after.len() <= before);
        torn += world.tally().snapshots_torn;
        world.run_for(5 * SECOND);
        world.restart(hosts[1]);
        assert!(world.run_until(30 * SECOND, |world| live(world, hosts[1]) == 3), "seed {seed}");
    }
    assert!(torn >= 10, "only {torn} of 20 lost anything");
}

#[test]
fn keys_that_were_changed_are_those_of_the_next_process_and_a_full_disk_is_told() {
    let old = Keyring::new([key(1)]);
    let (mut world, hosts) = cluster(5, 3, false, &old);
    let change = |world: &mut World<Diary>, command: KeyCommand| {
        world.observer_mut().done.clear();
        world.command(hosts[0], |node, now| node.keys(now, &command, 0).unwrap()).unwrap();
        let ended = |world: &World<Diary>| !world.observer().done.is_empty();
        assert!(world.run_until(30 * SECOND, ended));
        match world.observer().done[0].1.clone() {
            Outcome::Keys(report) => report,
            other => panic!("{other:?}"),
        }
    };
    world.break_disk(hosts[1], DiskFault::Full, 20 * SECOND);
    let report = change(&mut world, KeyCommand::Install(key(2)));
    assert_eq!(report.errors, 1, "{report:?}");
    world.run_for(30 * SECOND);
    for command in [KeyCommand::Install(key(2)), KeyCommand::Use(key(2)), KeyCommand::Remove(key(1))] {
        let report = change(&mut world, command);
        assert_eq!((report.errors, report.responses), (0, 3), "{report:?}");
    }
    world.crash(hosts[2], Crash::Machine);
    world.run_for(SECOND);
    world.restart(hosts[2]);
    assert_eq!(world.node(hosts[2]).unwrap().config().keyring.primary(), Some(&key(2)));
    world.run_for(5 * SECOND);
    assert_eq!(live(&world, hosts[2]), 3, "it speaks with the new key");
    let failed = |host: HostId| {
        let member = world.node(host).and_then(|node| node.member("n2"));
        member.is_none_or(|member| member.status != Status::Alive)
    };
    assert!(!hosts.iter().any(|host| failed(*host)));
}
