//! The application's say: who is admitted, who is told of a conflict, how long the gone are remembered.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use thane_core::{
    Candidate, Config, Delegate, ExchangeError, Member, Outcome, State, Status, Versions, Veto,
};
use thane_wire::gossip::NodeStateKind;
use thane_wire::serf::{Leave, SerfMessage};
use thane_wire::stream::{PushPull, Role, StreamDecoder, StreamMessage};

use super::net::{Net, lan};
use super::support::{
    Bench, VERSIONS, addr_of, alive, alive_with, dead, encode_record, ms, quiet, suspect, user,
};

/// Writes down what it is asked, admits nobody whose name begins with a cross, and forgets members as it is told.
#[derive(Debug, Default)]
struct Scribe {
    asked: Mutex<Vec<String>>,
    forget: Mutex<Vec<(String, Duration)>>,
}

impl Scribe {
    fn new() -> Arc<Self> {
        Arc::default()
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn write(&self, line: String) {
        self.asked.lock().unwrap().push(line);
    }
}

impl Delegate for Scribe {
    fn admit_member(&self, member: &Candidate<'_>) -> Result<(), Veto> {
        self.write(format!("{}:{}", member.name, member.state));
        if member.name.starts_with('x') {
            return Err(Veto::new(format!("{} is a stranger", member.name)));
        }
        Ok(())
    }

    fn name_conflict(&self, holder: &Member, claimant: &Candidate<'_>) {
        self.write(format!("{} at {} or {}", holder.name, holder.addr, claimant.addr));
    }

    fn forget_after(&self, member: &Member, default: Duration) -> Duration {
        let forget = self.forget.lock().unwrap();
        forget.iter().find(|(name, _)| **name == *member.name).map_or(default, |(_, span)| *span)
    }
}

fn watched(config: Config, scribe: &Arc<Scribe>) -> Config {
    Config { delegate: Some(Arc::<Scribe>::clone(scribe)), ..config }
}

fn bench(scribe: &Arc<Scribe>) -> Bench {
    let mut bench = Bench::new(watched(quiet("a", addr_of(1)), scribe));
    bench.clear();
    bench
}

fn names(bench: &Bench) -> Vec<String> {
    bench.node.members().map(|member| member.name.to_string()).collect()
}

#[test]
fn an_announcement_is_put_to_the_application_and_a_veto_ignores_it() {
    let scribe = Scribe::new();
    let mut bench = bench(&scribe);
    bench.tell(&alive("b", 1, addr_of(2)));
    bench.tell(&alive("x", 1, addr_of(3)));
    assert_eq!(scribe.take(), ["b:alive", "x:alive"]);
    assert_eq!(names(&bench), ["a", "b"]);
    assert_eq!(bench.node.counters().members_refused, 1);
    let told = bench.notices.iter().find(|notice| notice.kind == "member_refused").unwrap();
    assert_eq!(told.text, "refused to admit x: x is a stranger");
    // It is asked again each time, stale or not, but never about ourselves.
    bench.tell(&alive("b", 1, addr_of(2)));
    bench.tell(&alive("a", 7, addr_of(1)));
    assert_eq!(scribe.take(), ["b:alive"]);
    assert_eq!(bench.node.counters().refutations, 1, "what is said of us is answered as ever");
    // Many refusals are a few lines in the log.
    bench.notices.clear();
    for _ in 0..1000 {
        bench.tell(&alive("x", 1, addr_of(3)));
    }
    assert_eq!(bench.node.counters().members_refused, 1001);
    assert!(bench.notices.len() <= 20, "{} notices", bench.notices.len());
}

/// memberlist: `state.go`, aliveNode: with a delegate, what has no versions is ignored.
#[test]
fn an_announcement_without_versions_is_ignored() {
    let scribe = Scribe::new();
    let mut bench = bench(&scribe);
    bench.tell(&alive("b", 1, addr_of(2)));
    bench.tell(&alive_with("b", 2, addr_of(2), b"", &[]));
    assert_eq!(bench.node.member("b").unwrap().incarnation, 1);
    assert_eq!(scribe.take(), ["b:alive"]);
}

/// memberlist: `state.go`, mergeRemoteState: `NotifyMerge` only if the exchange is part of a join.
#[test]
fn only_a_join_is_put_to_the_application_as_a_whole() {
    let scribe = Scribe::new();
    let mut bench = bench(&scribe);
    let records = [
        encode_record("b", 1, addr_of(2), NodeStateKind::Alive, &VERSIONS),
        encode_record("c", 1, addr_of(3), NodeStateKind::Suspect, &VERSIONS),
        encode_record("d", 1, addr_of(4), NodeStateKind::Dead, &VERSIONS),
        encode_record("e", 1, addr_of(5), NodeStateKind::Left, &VERSIONS),
    ];
    bench.push(false, &records);
    assert_eq!(scribe.take(), ["b:alive"]);
    bench.push(true, &records);
    assert_eq!(scribe.take(), ["b:alive", "c:suspect", "d:dead", "e:left", "b:alive"]);
}

#[test]
fn what_the_application_sees_is_what_was_said() {
    #[derive(Debug)]
    struct Judge;
    impl Delegate for Judge {
        fn admit_member(&self, member: &Candidate<'_>) -> Result<(), Veto> {
            assert_eq!(member.addr, addr_of(2), "port 0 is ours, and a mapped address is an IPv4 one");
            assert_eq!(member.tags()["role"], "web");
            assert_eq!((member.incarnation, member.state), (9, State::Alive));
            assert_eq!(member.versions, Versions { delegate_current: 4, ..expected() });
            Ok(())
        }
    }
    fn expected() -> Versions {
        Versions {
            protocol_min: 1,
            protocol_max: 5,
            protocol_current: 2,
            delegate_min: 2,
            delegate_max: 5,
            delegate_current: 5,
        }
    }
    let config = Config { delegate: Some(Arc::new(Judge)), ..quiet("a", addr_of(1)) };
    let mut bench = Bench::new(config);
    let mapped = "[::ffff:127.0.0.2]:0".parse().unwrap();
    bench.tell(&alive_with("b", 9, mapped, b"\xff\x81\xa4role\xa3web", &[1, 5, 2, 2, 5, 4]));
    assert_eq!(bench.node.members().count(), 2);
}

/// The other side is told; nothing is taken over, not even what would have been admitted by itself.
#[test]
fn a_join_that_is_vetoed_by_the_other_side_fails_with_its_reason() {
    let scribe = Scribe::new();
    let mut bench = bench(&scribe);
    let records = [
        encode_record("b", 1, addr_of(2), NodeStateKind::Alive, &VERSIONS),
        encode_record("x", 1, addr_of(3), NodeStateKind::Alive, &VERSIONS),
    ];
    let mut request = Vec::new();
    PushPull::encode(true, 2, &records.concat(), &[], &mut request);
    let sealed = bench.codec.seal_stream(Role::Dialer, &request, [8; 12]);
    let reply = bench.stream(&sealed).unwrap();
    let said = StreamDecoder::new(Role::Dialer).push(&bench.codec, &reply).unwrap();
    assert_eq!(said, Some(StreamMessage::Error("x is a stranger".into())));
    assert_eq!(names(&bench), ["a"]);
    assert_eq!(bench.node.counters().merges_refused, 1);
    assert!(bench.noticed("stream_failed"));
    // And as the joining side reads it.
    let mut net = Net::new([watched(lan(0), &scribe), Config { name: "x1".into(), ..lan(1) }]);
    net.join(1, 0);
    net.run(ms(10_000));
    let Some((_, Outcome::Join { contacted: 0, failed })) = net.nodes[1].done.first() else {
        panic!("{:?}", net.nodes[1].done)
    };
    assert_eq!(failed[0].error, ExchangeError::Remote("x1 is a stranger".into()));
    assert_eq!(names(&net.nodes[0]), ["n0"]);
    assert_eq!(names(&net.nodes[1]), ["x1"]);
}

#[test]
fn a_join_that_our_own_application_vetoes_fails_with_its_reason() {
    let scribe = Scribe::new();
    let stranger = Config { name: "x0".into(), ..lan(0) };
    let mut net = Net::new([stranger, watched(lan(1), &scribe)]);
    net.join(1, 0);
    net.run(ms(60_000));
    let Some((_, Outcome::Join { contacted: 0, failed })) = net.nodes[1].done.first() else {
        panic!("{:?}", net.nodes[1].done)
    };
    assert_eq!(failed[0].error, ExchangeError::Vetoed(Veto::new("x0 is a stranger")));
    assert_eq!(failed[0].to_string(), "Failed to join 127.0.0.1:7946: x0 is a stranger");
    // The other side took us in when we called; what it then says about itself is ignored.
    assert_eq!(names(&net.nodes[1]), ["n1"]);
    assert!(net.nodes[1].node.counters().members_refused > 0);
}

/// memberlist: `state.go`, aliveNode, `NotifyConflict`.
#[test]
fn the_application_is_told_who_claims_whose_name() {
    let scribe = Scribe::new();
    let mut bench = bench(&scribe);
    bench.tell(&alive("b", 1, addr_of(2)));
    scribe.take();
    bench.tell(&alive("b", 2, addr_of(3)));
    bench.tell(&alive("a", 2, addr_of(9)));
    assert_eq!(
        scribe.take(),
        ["b:alive", "b at 127.0.0.2:7946 or 127.0.0.3:7946", "a at 127.0.0.1:7946 or 127.0.0.9:7946"]
    );
    // Who is not admitted conflicts with nobody.
    bench.tell(&alive("x", 2, addr_of(9)));
    assert_eq!(scribe.take(), ["x:alive"]);
    assert_eq!(bench.node.counters().name_conflicts, 2);
}

/// Serf: `serf.go`, reap, `ReconnectTimeoutOverride`: asked for the failed and for those that left.
#[test]
fn the_application_says_how_long_the_gone_are_remembered() {
    let scribe = Scribe::new();
    *scribe.forget.lock().unwrap() = vec![
        ("failed-short".into(), ms(60_000)),
        ("left-short".into(), ms(120_000)),
        ("failed-long".into(), ms(7_200_000)),
        ("left-long".into(), ms(7_200_000)),
    ];
    let config = Config {
        reconnect_timeout: ms(3_600_000),
        tombstone_timeout: ms(3_600_000),
        ..quiet("a", addr_of(1))
    };
    let mut bench = Bench::new(watched(config, &scribe));
    let all = ["failed-short", "failed", "failed-long", "left-short", "left", "left-long"];
    for (at, name) in all.into_iter().enumerate() {
        bench.tell(&alive(name, 1, addr_of(10 + at as u8)));
        if name.starts_with("left") {
            let mut intent = Vec::new();
            SerfMessage::Leave(Leave { ltime: 5, node: name, prune: false }).encode(&mut intent);
            bench.tell(&user(&intent));
            bench.tell(&dead(name, 1, name));
        } else {
            bench.tell(&suspect(name, 1, "z"));
            bench.tell(&dead(name, 1, "z"));
        }
    }
    let gone = |bench: &Bench| {
        let gone = bench.node.members().filter(|member| member.status != Status::Alive);
        gone.map(|member| member.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(gone(&bench).len(), 6);
    bench.run(ms(90_000));
    assert_eq!(gone(&bench), ["failed", "failed-long", "left", "left-long", "left-short"]);
    bench.run(ms(60_000));
    assert_eq!(gone(&bench), ["failed", "failed-long", "left", "left-long"]);
    bench.run(ms(3_600_000));
    assert_eq!(gone(&bench), ["failed-long", "left-long"]);
    bench.run(ms(3_600_000));
    assert_eq!(gone(&bench), Vec::<String>::new());
}
