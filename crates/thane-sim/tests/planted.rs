//! Each checker is proven on real runs: one host's processes get a bug, everything else is as always, and exactly the rule that the bug
//! breaks must be found broken. (`checkers.rs` does the same with what the checkers see, for what no bug of a process alone brings about.)
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use thane_core::{
    Config, Event, Key, Node, Output, QueryReply, Replay, Seed, State, Status, StopReason, Tags, Time,
};
use thane_sim::check::Watch;
use thane_sim::{
    Action, Crash, FailureCause, HostId, Parameters, Planned, ProcessId, Profile, Quality, Rules, Saboteur,
    Scenario, World,
};
use thane_wire::gossip::{Alive, Dead, encode_user};
use thane_wire::packet::{Checksum, Codec, CodecConfig};
use thane_wire::serf::{KeyRequest, QUERY_FLAG_NO_BROADCAST, Query, SerfMessage};

const SECOND: Duration = Duration::from_secs(1);
/// Whose processes get the bug.
const BROKEN: usize = 1;
/// Who leaves for good.
const LEAVER: usize = 3;

fn at(seconds: u32) -> Time {
    Time::ZERO + SECOND * seconds
}

fn name(number: usize) -> String {
    format!("n{number}")
}

fn addr(number: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number as u8 + 1], 7946))
}

/// Five hosts in good order until 20 s; events and new tags at 25 s; the third crashes and is back later; the fourth leaves for good.
fn scenario() -> Scenario {
    let mut world = World::new(0, Quality::good());
    let hosts: Vec<HostId> = (0..5).map(|number| world.add_lan_host(&name(number))).collect();
    let planned = |seconds, action| Planned { at: at(seconds), action };
    let mut plan: Vec<Planned> = hosts.iter().map(|host| planned(0, Action::Start(*host))).collect();
    plan.push(planned(25, Action::UserEvent(hosts[0])));
    plan.push(planned(25, Action::SetTags(hosts[BROKEN])));
    plan.push(planned(30, Action::Crash(hosts[2], Crash::Process)));
    plan.push(planned(50, Action::Start(hosts[2])));
    plan.push(planned(60, Action::Leave(hosts[LEAVER])));
    let parameters = Parameters {
        seed: 1,
        hosts: 5,
        profile: Profile::Lan,
        rules: Rules::Thane,
        encrypted: true,
        labelled: false,
        compressed: false,
        replay: Replay::Ignore,
        faults_from: at(20),
        faults_until: at(90),
        quality: Quality::good(),
    };
    Scenario { parameters, plan }
}

/// The words of the rule that a run breaks, or of what was not agreed upon.
fn found(scenario: &Scenario, prepare: impl Fn(&mut World<Watch>)) -> Result<(), String> {
    match scenario.run_with(&prepare) {
        Ok(_) => Ok(()),
        Err(failure) => Err(match failure.cause {
            FailureCause::Violation(violation) => violation.rule.to_owned(),
            FailureCause::Disagreement { about, differences, .. } => {
                format!("{about}: {}", differences.join("; "))
            }
            FailureCause::Panic(message) => panic!("{message}"),
        }),
    }
}

/// Runs it with the bug in one host, and gives the words of the rule that was broken.
fn broken_by(bug: &(impl Saboteur + Clone + 'static)) -> String {
    let prepare = |world: &mut World<Watch>| {
        let host = world.hosts().nth(BROKEN).unwrap();
        world.sabotage(host, bug.clone());
    };
    found(&scenario(), prepare).expect_err("no checker saw the planted bug")
}

/// Replaces the node by a new one, which goes on from `what` the old one remembers.
fn reborn(node: &Node, now: Time, what: impl FnOnce(&mut thane_core::snapshot::Restored)) -> Node {
    let mut restored = node.to_restore();
    what(&mut restored);
    let mut new = Node::new(node.config().clone(), Seed([9; 32]), now).unwrap();
    new.restore(now, restored);
    new
}

#[test]
fn the_same_run_without_a_bug_keeps_every_rule() {
    assert_eq!(found(&scenario(), |_| {}), Ok(()));
}

/// What a node does with its outputs.
#[derive(Debug, Clone)]
struct Outputs(fn(Time, Output) -> Vec<Output>);

impl Saboteur for Outputs {
    fn puts_out(&mut self, now: Time, _: ProcessId, output: Output) -> Vec<Output> {
        (self.0)(now, output)
    }
}

/// What a node does to itself after an input; the count is kept between calls.
#[derive(Debug, Clone)]
struct Meddles(fn(&mut u32, Time, &mut Node), u32);

impl Saboteur for Meddles {
    fn meddles(&mut self, now: Time, _: ProcessId, node: &mut Node) {
        (self.0)(&mut self.1, now, node);
    }
}

#[test]
fn an_event_that_is_delivered_twice_is_found() {
    let rule = broken_by(&Outputs(|_, output| match output {
        Output::Event(Event::User(_)) => vec![output.clone(), output],
        _ => vec![output],
    }));
    assert_eq!(rule, "each process delivers each user event at most once");
}

#[test]
fn an_event_that_is_delivered_with_another_payload_is_found() {
    let rule = broken_by(&Outputs(|_, mut output| {
        if let Output::Event(Event::User(event)) = &mut output {
            event.payload = Bytes::from_static(b"forged");
        }
        vec![output]
    }));
    assert_eq!(rule, "a user event that is delivered was sent by somebody, exactly so");
}

#[test]
fn an_event_that_is_swallowed_is_found() {
    let text = broken_by(&Outputs(|_, output| match output {
        Output::Event(Event::User(_)) => Vec::new(),
        _ => vec![output],
    }));
    assert!(text.starts_with("user events: host 1 life 1 missed"), "{text}");
}

#[test]
fn a_node_that_forgets_its_clocks_is_found() {
    let rule = broken_by(&Meddles(
        |done, now, node| {
            if *done == 0 && now > at(40) {
                *done = 1;
                *node = reborn(node, now, |it| it.marks.member = 0);
            }
        },
        0,
    ));
    assert_eq!(rule, "Lamport clocks never fall");
}

#[test]
fn a_node_whose_incarnation_falls_is_found() {
    let rule = broken_by(&Meddles(
        |done, now, node| {
            // Its new tags raised it.
            if *done == 0 && now > at(40) {
                *done = 1;
                let incarnation = node.local().incarnation;
                assert!(incarnation > 1);
                let mut config = node.config().clone();
                config.tags = Tags::new();
                let mut restored = node.to_restore();
                restored.marks.incarnation = 0;
                *node = Node::new(config, Seed([9; 32]), now).unwrap();
                node.restore(now, restored);
            }
        },
        0,
    ));
    assert_eq!(
        rule,
        "the incarnation that a node holds of a member never falls while it remembers the member"
    );
}

#[test]
fn a_node_that_forgets_whom_it_knew_is_found() {
    let rule = broken_by(&Meddles(
        |done, now, node| {
            if *done == 0 && now > at(40) {
                *done = 1;
                *node = reborn(node, now, |it| {
                    it.alive.clear();
                    it.failed.clear();
                });
            }
        },
        0,
    ));
    assert_eq!(
        rule,
        "a member of which nobody said that it left is listed or looked for by everyone who knew it"
    );
}

/// Tells the node something that nobody said, as if it came from that member.
fn forge(node: &mut Node, now: Time, from: usize, message: &[u8]) {
    let codec = Codec::new(CodecConfig {
        label: String::new(),
        keyring: node.keyring().clone(),
        verify_incoming: true,
        verify_outgoing: true,
        compression: false,
        padded_envelopes: false,
        skip_inbound_label_check: false,
    });
    let packet = codec.unwrap().seal_packet(&[message], Checksum::Omit, [0; 12]);
    node.handle_packet(now, addr(from), packet.into());
}

#[test]
fn a_departed_member_that_comes_back_by_hearsay_is_found() {
    let rule = broken_by(&Meddles(
        |done, now, node| {
            let gone = node.member(&name(LEAVER)).is_some_and(|it| it.status == Status::Left);
            if *done == 0 && gone && now > at(75) {
                *done = 1;
                let mut message = Vec::new();
                let versions = node.config().version_bytes();
                Alive {
                    incarnation: 9,
                    node: &name(LEAVER),
                    addr: &[10, 0, 0, LEAVER as u8 + 1],
                    port: 7946,
                    meta: None,
                    versions: &versions,
                }
                .encode(&mut message);
                forge(node, now, LEAVER, &message);
            }
        },
        0,
    ));
    assert_eq!(rule, "a member that left gracefully is not alive again without its own restart");
}

/// It goes on believing the worst of another, whatever that one says.
#[test]
fn a_node_that_never_believes_a_refutation_is_found() {
    let text = broken_by(&Meddles(
        |_, now, node| {
            let victim = node.member(&name(4)).filter(|it| it.state == State::Alive && now > at(40));
            if let Some(victim) = victim {
                let mut message = Vec::new();
                Dead { incarnation: victim.incarnation, node: &name(4), from: &name(0) }.encode(&mut message);
                forge(node, now, 0, &message);
            }
        },
        0,
    ));
    assert!(text.starts_with("members: ") && text.contains("n1 about n4, which runs: failed"), "{text}");
}

#[test]
fn a_node_that_stops_without_reason_is_found() {
    let rule = broken_by(&Outputs(|now, output| {
        if now > at(40) {
            vec![Output::Stop(StopReason::NameConflict { matching: 0, responses: 3 })]
        } else {
            vec![output]
        }
    }));
    assert_eq!(rule, "a node does not stop itself while its name is its own");
}

/// Hears no packet and opens no stream for a while, before there are any faults.
#[derive(Debug, Clone)]
struct Deaf;

impl Saboteur for Deaf {
    fn hears(&mut self, now: Time, _: ProcessId, _: SocketAddr, _: &mut Bytes) -> bool {
        now < at(5)
    }

    fn puts_out(&mut self, now: Time, _: ProcessId, output: Output) -> Vec<Output> {
        match output {
            Output::Dial { .. } if now > at(5) => Vec::new(),
            _ => vec![output],
        }
    }
}

#[test]
fn a_node_that_accuses_members_in_peace_is_found() {
    assert_eq!(broken_by(&Deaf), "while there is no fault nobody who runs is suspected or failed");
}

/// A query in the end is asked by whoever sent a user event then; all hosts have the bug, so that it has it too.
fn query_broken_by(bug: fn(Time, Output) -> Vec<Output>) -> String {
    let prepare = |world: &mut World<Watch>| {
        let hosts: Vec<HostId> = world.hosts().collect();
        for host in hosts {
            world.sabotage(host, Outputs(bug));
        }
    };
    found(&scenario(), prepare).expect_err("no checker saw the planted bug")
}

#[test]
fn a_query_that_hears_a_member_twice_or_never_ends_or_goes_unanswered_is_found() {
    let rule = "a query hears each member at most once, and ends by its deadline";
    let twice = query_broken_by(|_, output| match output {
        Output::Reply { reply: QueryReply::Response { .. }, .. } => vec![output.clone(), output],
        _ => vec![output],
    });
    assert_eq!(twice, rule);
    let after_the_end = query_broken_by(|_, output| match output {
        Output::Reply { reply: QueryReply::Done, .. } => vec![output.clone(), output],
        _ => vec![output],
    });
    assert_eq!(after_the_end, rule);
    let endless = query_broken_by(|_, output| match output {
        Output::Reply { reply: QueryReply::Done, .. } => Vec::new(),
        _ => vec![output],
    });
    assert_eq!(endless, rule);
    let unanswered = broken_by(&Outputs(|_, output| match output {
        Output::Event(Event::Query(_)) => Vec::new(),
        _ => vec![output],
    }));
    assert_eq!(unanswered, "a query: n1 did not acknowledge and answer");
}

/// A process whose ring gets a key back that was removed.
#[test]
fn a_key_that_stays_in_one_ring_is_found() {
    let text = broken_by(&Meddles(
        |_, now, node| {
            let first = Key::new(&[7; 32]).unwrap();
            let [only] = node.keyring().keys() else { return };
            if *only == first {
                return;
            }
            let mut payload = Vec::new();
            SerfMessage::KeyRequest(KeyRequest { key: first.as_bytes() }).encode(&mut payload);
            let query = Query {
                ltime: node.stats().query_time,
                id: 1,
                addr: &[10, 0, 0, 1],
                port: 7946,
                source_node: "n0",
                filters: None,
                flags: QUERY_FLAG_NO_BROADCAST,
                relay_factor: 0,
                timeout_ns: 1_000_000_000,
                name: "_serf_install-key",
                payload: Some(&payload),
            };
            let (mut message, mut framed) = (Vec::new(), Vec::new());
            SerfMessage::Query(query).encode(&mut message);
            encode_user(&message, &mut framed);
            forge(node, now, 0, &framed);
        },
        0,
    ));
    assert!(text.starts_with("keys: n1 holds"), "{text}");
}

/// A queue without a limit: a node that floods itself.
#[test]
fn a_queue_that_grows_without_limit_is_found() {
    #[derive(Debug, Clone)]
    struct Unlimited;
    impl Saboteur for Unlimited {
        fn meddles(&mut self, now: Time, _: ProcessId, node: &mut Node) {
            // At once, before it knows anybody.
            if node.config().max_queue_depth == 4096 {
                let config = Config { max_queue_depth: 1 << 20, ..node.config().clone() };
                *node = Node::new(config, Seed([9; 32]), now).unwrap();
            }
            if now > at(15) {
                for number in 0..9000 {
                    node.user_event(now, &format!("flood-{number}"), b"", false).unwrap();
                }
            }
        }

        fn puts_out(&mut self, _: Time, _: ProcessId, output: Output) -> Vec<Output> {
            match output {
                Output::Event(Event::User(_)) => Vec::new(),
                _ => vec![output],
            }
        }
    }
    assert_eq!(broken_by(&Unlimited), "queues and tables stay within their limits");
}
