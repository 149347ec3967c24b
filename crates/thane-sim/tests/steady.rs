//! Members that answer only now and then, in clusters in which some members follow Serf's rules; and the standard mix of faults by these rules.

use std::time::Duration;

use thane_core::{Config, Detector, Status};
use thane_sim::{Effect, HostId, Hosts, LinkFault, Loss, Quality, Rules, Scenario, World};

const MEMBERS: usize = 30;
const SECOND: Duration = Duration::from_secs(1);

fn detector(number: usize) -> Detector {
    if number.is_multiple_of(2) { Detector::steady() } else { Detector::lifeguard() }
}

/// Whether a host holds another for failed.
fn fails(world: &World, host: HostId, other: HostId) -> bool {
    let node = world.node(host).expect("it runs");
    node.members().any(|member| &*member.name == world.name(other) && member.status == Status::Failed)
}

/// Complaints say nothing to Serf's members, so only those that follow the rule need to find the member out, and nobody's list may suffer.
#[test]
fn half_of_a_cluster_fails_an_unsteady_member_and_all_agree_once_it_is_well() {
    for (seed, number) in [(1, MEMBERS - 1), (2, MEMBERS - 2), (3, MEMBERS - 1)] {
        let mut world = World::new(seed, Quality::good());
        let hosts: Vec<HostId> = (0..MEMBERS)
            .map(|number| {
                let config = Config::lan(format!("m{number}"), world.next_addr());
                world.add_host(Config { detector: detector(number), ..config })
            })
            .collect();
        world.start_as_cluster(&hosts);
        world.run_for(SECOND * 5);
        let unsteady = hosts[number];
        let (it, others) = (Hosts::Only(vec![unsteady]), Hosts::AllBut(vec![unsteady]));
        let lossy = Effect::Loss(Loss::Uniform(0.8));
        let fault = world.begin_fault(LinkFault { both_ways: true, ..LinkFault::between(it, others, lossy) });
        let well: Vec<HostId> = hosts.iter().copied().filter(|host| *host != unsteady).collect();
        let judges: Vec<HostId> =
            well.iter().copied().filter(|host| host.index().is_multiple_of(2)).collect();
        let all_judged = |world: &World| judges.iter().all(|host| fails(world, *host, unsteady));
        let nobody_else =
            |world: &World| judges.iter().all(|host| well.iter().all(|other| !fails(world, *host, *other)));
        let found = world.run_until(SECOND * 60, |world| {
            assert!(nobody_else(world), "seed {seed}");
            all_judged(world)
        });
        assert!(found, "seed {seed}: not all that follow the rule have failed it");
        let wavers = world.run_until(SECOND * 30, |world| !all_judged(world) || !nobody_else(world));
        assert!(!wavers, "seed {seed}");
        assert!(world.end_fault(fault));
        let all_agree =
            |world: &World| hosts.iter().all(|host| hosts.iter().all(|other| !fails(world, *host, *other)));
        assert!(world.run_until(SECOND * 300, all_agree), "seed {seed}: the views still differ");
    }
}

/// Fixed seeds, of clusters that are large enough for anybody to complain.
#[test]
fn the_standard_mix_of_faults_keeps_every_rule_by_other_rules_too() {
    let large = (1..).map(Scenario::draw).filter(|scenario| scenario.parameters.hosts >= 14);
    for (number, mut scenario) in large.take(16).enumerate() {
        scenario.parameters.rules = if number % 2 == 0 { Rules::Steady } else { Rules::Mixed };
        if let Err(failure) = scenario.run() {
            panic!("{failure}\n{}", failure.scenario.to_json());
        }
    }
}
