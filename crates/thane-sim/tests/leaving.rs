//! A graceful leave must look like one: whoever hears a goodbye should have the leave intent by then, or it takes the member for
//! failed until the intent arrives.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use thane_core::{Cause, Config, Event, Node, Output, Path, Replay, Status, Time};
use thane_sim::{HostId, Loss, Observer, ProcessId, Quality, World};

const SECOND: Duration = Duration::from_secs(1);

/// How the others saw the leave.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    failed: u32,
    left: u32,
    /// Of those that saw it leave, how many had not heard its intent. Serf would have reported a failure.
    without_intent: u32,
}

#[derive(Debug, Default)]
struct Watch {
    /// The name of the one that leaves, and the Lamport time of its intent.
    leaver: Option<(String, u64)>,
    seen: Seen,
}

impl Observer for Watch {
    fn output(&mut self, _at: Time, _process: ProcessId, output: &Output) {
        let (Some((name, ltime)), Output::Event(event)) = (&self.leaver, output) else { return };
        match event {
            Event::Failed(change) if *change.member.name == **name => self.seen.failed += 1,
            Event::Left(change) if *change.member.name == **name => {
                self.seen.left += 1;
                // An exchange of states tells both at once; Serf reads the goodbye first there, and nobody can help it.
                let by_gossip = matches!(change.cause, Cause::SaidGoodbye { via: Path::Packet(_) });
                let unheard = change.member.status_ltime < *ltime;
                self.seen.without_intent += u32::from(by_gossip && unheard);
            }
            _ => {}
        }
    }
}

/// Lets one of `members` leave, `count` times, each time with a seed of its own.
fn leaves(members: usize, loss: f64, count: u64) -> Seen {
    let mut total = Seen::default();
    for seed in 0..count {
        let mut world = World::observed(seed, Quality::good(), Watch::default());
        for number in 0..members {
            let config = Config::local(format!("n{number}"), world.next_addr());
            world.add_host(config);
        }
        let hosts: Vec<HostId> = world.hosts().collect();
        let first = world.addr(hosts[0]);
        for &host in &hosts {
            world.start(host);
            world.command(host, |node, now| node.join(now, &[first], Replay::Ignore).unwrap());
        }
        let all_there = |world: &World<Watch>| {
            let alive_at = |host| {
                let node: &Node = world.node(host).unwrap();
                node.members().filter(|member| member.status == Status::Alive).count()
            };
            world.hosts().all(|host| alive_at(host) == members)
        };
        assert!(world.run_until(60 * SECOND, all_there), "seed {seed}");
        // What the start has to tell is told, and the leave begins at some moment between two rounds of gossip.
        world.run_for(2 * SECOND + Duration::from_millis(seed % 500));
        world.network_mut().quality.loss = Loss::Uniform(loss);
        let ltime = world.node(hosts[1]).unwrap().stats().member_time;
        world.observer_mut().leaver = Some((world.name(hosts[1]).to_owned(), ltime));
        world.leave(hosts[1]).unwrap().unwrap();
        world.run_for(30 * SECOND);
        let seen = world.observer().seen;
        total.failed += seen.failed;
        // The leaver itself sees it too.
        total.left += seen.left - 1;
        total.without_intent += seen.without_intent;
    }
    total
}

/// The local profile sends each message twice, so that in a cluster this small an intent often misses somebody. While the goodbye
/// travelled alone, one in eighteen of four members (some 50 of 900), and one in five of eight (210 of 1,050), saw a failure.
///
/// Measured over 41 batches of these sizes, each of other seeds: among four members 0 or 1 failed or unheard in a batch, 0.02 to 0.15 on average;
/// among eight 2 to 16 failed, 7.7 on average with a standard deviation of 3.3, and 0 to 3 unheard. The limits are far above all that luck
/// does, and far below what the rule prevents.
#[test]
fn a_leave_is_seen_as_a_leave_with_few_retransmissions_and_loss() {
    for (members, loss, count, at_most) in [(4, 0.0, 300, 12), (4, 0.05, 300, 12), (8, 0.0, 150, 60)] {
        let seen = leaves(members, loss, count);
        // Whom the goodbye itself does not reach finds the member failed by its probes. That is all that is left.
        assert!(seen.failed <= at_most, "{members} members, {loss} lost: {seen:?}");
        assert!(seen.without_intent <= at_most, "{members} members, {loss} lost: {seen:?}");
        assert_eq!(u64::from(seen.left), count * (members as u64 - 1), "all hear of it in the end");
    }
}
