//! SF-256: members with addresses on several networks. What a member announces need not be where all others reach it.

use std::io::ErrorKind;
use std::net::UdpSocket;

use crate::harness::{Agent, Cluster, Kind, Profile, with_cluster};

/// An address of the story at which nobody answers: what a member announces to those who are elsewhere.
struct Elsewhere(UdpSocket);

impl Elsewhere {
    fn new(cluster: &Cluster) -> Self {
        let socket = UdpSocket::bind((cluster.agent(Kind::Thane).ip(), 7946)).expect("the address is free");
        socket.set_nonblocking(true).expect("a socket need not block");
        Self(socket)
    }

    fn flag(&self) -> String {
        format!("-advertise={}", self.0.local_addr().expect("a bound socket has an address"))
    }

    /// Fails if anybody has sent a packet here.
    #[track_caller]
    fn assert_nobody_came(&self) {
        let came = self.0.recv_from(&mut [0; 2048]);
        assert!(matches!(&came, Err(error) if error.kind() == ErrorKind::WouldBlock), "{came:?}");
    }
}

/// Waits until `agent` has had an answer of `member` over UDP, without the help of others.
#[track_caller]
fn wait_for_direct_answer(cluster: &Cluster, agent: &Agent, member: &str) {
    cluster.wait_for(&format!("{} to reach {member}", agent.name()), || {
        // It may not have heard of the member yet, and says so.
        let told = agent.cli(Kind::Thane, &["explain", "-format=json", member]);
        if told.stdout.contains(r#""way": "direct""#) { Ok(()) } else { Err(format!("{told:?}")) }
    });
}

/// Waits until all members have answered a question of `agent`. A busy one may not answer in time, and is asked again.
#[track_caller]
fn wait_for_answers(cluster: &Cluster, agent: &Agent) {
    cluster.wait_for("all members to answer", || {
        let answer = agent.cli(Kind::Serf, &["reachability"]);
        let are_all = answer.stdout.contains("Successfully contacted all live nodes");
        if answer.code == Some(0) && are_all { Ok(()) } else { Err(format!("{answer:?}")) }
    });
}

/// Two members of one site who announce addresses at which only the rest of the world reaches them, and those addresses.
fn site(cluster: &Cluster, networks: bool) -> ([Agent; 2], [Elsewhere; 2]) {
    let announced = [Elsewhere::new(cluster), Elsewhere::new(cluster)];
    let mut agents = Vec::new();
    for elsewhere in &announced {
        let launch = cluster.agent(Kind::Thane);
        let ip = launch.ip();
        let mut launch = launch.flag(elsewhere.flag());
        if networks {
            launch = launch.flag(format!("-advertise-network=site={ip}"));
        }
        if let Some(seed) = agents.first() {
            launch = launch.joining(seed);
        }
        agents.push(launch.start());
    }
    (agents.try_into().expect("two agents were started"), announced)
}

#[test]
fn sf_256_members_of_one_network_reach_each_other_there_whatever_they_announce() {
    with_cluster(Profile::Local, |cluster| {
        let ([first, second], announced) = site(cluster, true);
        cluster.wait_until_all_alive(&[&first, &second]);
        wait_for_direct_answer(cluster, &first, second.name());
        wait_for_direct_answer(cluster, &second, first.name());
        // A question goes out by gossip, and its answers come back to whoever asked.
        wait_for_answers(cluster, &second);
        let told = first.cli(Kind::Serf, &["members"]).succeeded().stdout;
        assert!(told.contains(&format!("  alive  thane_networks=site={}", first.gossip_address())), "{told}");
        assert!(!told.contains(&format!("  {}  alive", first.gossip_address())), "what is announced: {told}");
        let line = format!("{} is reached at {}, on network site", second.name(), second.gossip_address());
        cluster.wait_for("the first member to say so", || {
            let log = first.log();
            if log.contains(&line) { Ok(()) } else { Err(format!("{line:?} is missing in {log}")) }
        });
        // Neither ever tried the other where it announces itself.
        for elsewhere in &announced {
            elsewhere.assert_nobody_came();
        }
    });
}

/// Without the network, the same two members lose each other: it is the network that the story above rests on.
#[test]
fn sf_256_without_a_network_the_announced_address_is_all_there_is() {
    with_cluster(Profile::Local, |cluster| {
        cluster.tolerate_lost_members();
        let ([first, second], _announced) = site(cluster, false);
        cluster.wait_for("the first member to fail", || {
            let log = second.log();
            if log.contains(&format!("EventMemberFailed: {}", first.name())) { Ok(()) } else { Err(log) }
        });
    });
}

#[test]
fn sf_256_a_member_that_knows_no_networks_is_served_by_those_that_do() {
    for kind in [Kind::Thane, Kind::Serf] {
        with_cluster(Profile::Local, |cluster| {
            // It finds nobody at the announced addresses, and the others tell it so.
            cluster.tolerate_lost_members();
            let ([first, second], _announced) = site(cluster, true);
            let third = cluster.agent(kind).joining(&first).start();
            wait_for_direct_answer(cluster, &first, third.name());
            wait_for_direct_answer(cluster, &second, third.name());
            cluster.wait_until_all_alive(&[&first, &second, &third]);
        });
    }
}

#[test]
fn sf_256_a_serf_agent_is_reached_on_the_network_that_its_tag_names() {
    with_cluster(Profile::Local, |cluster| {
        let thane = cluster.agent(Kind::Thane);
        let flag = format!("-advertise-network=site={}", thane.ip());
        let thane = thane.flag(flag).start();
        let serf = cluster.agent(Kind::Serf);
        let (ip, announced) = (serf.ip(), Elsewhere::new(cluster));
        let serf = serf
            .flag(announced.flag())
            .tag("thane_networks", &format!("site={ip}:7946"))
            .joining(&thane)
            .start();
        cluster.wait_until_all_alive(&[&thane, &serf]);
        wait_for_direct_answer(cluster, &thane, serf.name());
        // The Serf agent answers pings that name no address to where they came from, and questions to who asked.
        wait_for_answers(cluster, &thane);
        announced.assert_nobody_came();
    });
}
