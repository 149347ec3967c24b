//! What agents of both kinds tell statsd of one and the same story.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::harness::{Agent, BOTH, Cluster, Kind, Profile, with_cluster};

/// A statsd that keeps what it gets, by name and type.
struct Sink {
    socket: UdpSocket,
    values: Arc<Values>,
}

impl Sink {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let values = Arc::new(Values::default());
        let (reading, kept) = (socket.try_clone().unwrap(), Arc::clone(&values));
        thread::spawn(move || read(&reading, &kept));
        Self { socket, values }
    }

    fn values(&self) -> BTreeMap<String, Vec<f64>> {
        self.values.lock().unwrap().clone()
    }

    fn agent(&self, cluster: &Cluster, kind: Kind) -> Agent {
        let file = cluster.path(&format!("statsd-{}.json", kind.word()));
        let text = format!(r#"{{"statsd_addr": "{}"}}"#, self.socket.local_addr().unwrap());
        fs::write(&file, text).unwrap();
        let snapshot = cluster.path(&format!("{}.snapshot", kind.word()));
        let launch = cluster.agent(kind).flag(format!("-config-file={}", file.display()));
        launch.flag(format!("-snapshot={}", snapshot.display())).flag("-event-handler=query=echo x").start()
    }
}

type Values = Mutex<BTreeMap<String, Vec<f64>>>;

/// Reads until an empty datagram comes.
fn read(socket: &UdpSocket, values: &Values) {
    let mut buffer = [0; 2_048];
    while let Ok((length @ 1.., _from)) = socket.recv_from(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let mut values = values.lock().unwrap();
        for line in text.lines() {
            let (name, rest) = line.rsplit_once(':').unwrap_or_else(|| panic!("{line}"));
            let (value, kind) = rest.split_once('|').unwrap_or_else(|| panic!("{line}"));
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
            values.entry(format!("{name}|{kind}")).or_default().push(value);
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // The reader ends with it.
        if let Ok(address) = self.socket.local_addr() {
            self.socket.send_to(&[], address).ok();
        }
    }
}

/// Names of Go's runtime, of which Thane has no counterpart; and those that are told only now and then, by chance in the one
/// agent and not in the other.
const NOT_COMPARED: [&str; 4] =
    [".runtime.", "memberlist.health.score", "memberlist.degraded", "memberlist.queue.broadcasts"];

/// Both agents join each other, see a third member come, change and fail, and hear events and queries. What the one tells by
/// whatever name, so does the other; and the numbers that must be equal are.
#[test]
fn both_tell_statsd_the_same_names() {
    with_cluster(Profile::Local, |cluster| {
        cluster.tolerate_lost_members();
        // Serf says so of a script that does not read its input.
        cluster.tolerate("[ERR] Error writing payload: ");
        let sinks = BOTH.map(|kind| (kind, Sink::start()));
        let agents = sinks.each_ref().map(|(kind, sink)| sink.agent(cluster, *kind));
        let [first, second] = &agents;
        first.join(second);
        second.join(first);
        let third = cluster.agent(Kind::Serf).joining(first).start();
        cluster.wait_until_settled(&[first, second, &third]);
        for agent in &agents {
            agent.own_cli(&["event", "deploy:x y", "payload"]).succeeded();
            agent.own_cli(&["query", "-timeout=5s", "load"]).succeeded();
            agent.own_cli(&["tags", "-set", "a=b"]).succeeded();
        }
        third.kill();
        cluster.wait_for("both to tell the same names", || {
            let [ours, theirs] = sinks.each_ref().map(|(_kind, sink)| {
                let mut names: Vec<String> = sink.values().into_keys().collect();
                names.retain(|name| !NOT_COMPARED.iter().any(|part| name.contains(part)));
                names
            });
            let told = |name: &str| theirs.iter().any(|theirs| theirs == name);
            let missing: Vec<&String> = theirs.iter().filter(|name| !ours.contains(name)).collect();
            // Versions of Serf before 0.10 know less.
            let newer = ["memberlist.size.", "memberlist.node.instances."];
            let unknown: Vec<&String> = ours
                .iter()
                .filter(|name| !told(name) && !newer.iter().any(|newer| name.contains(newer)))
                .collect();
            let failed = theirs.iter().any(|name| name.contains("serf.member.failed"));
            match (failed, missing.as_slice(), unknown.as_slice()) {
                (true, [], []) => Ok(()),
                _ => Err(format!("Serf alone tells {missing:?}, Thane alone {unknown:?}")),
            }
        });
        // Whatever is counted about members, events and queries comes to the same.
        cluster.wait_for("both to tell the same numbers", || {
            let sums = sinks.each_ref().map(|(_kind, sink)| {
                let mut sums = sink.values();
                sums.retain(|name, _values| name.ends_with("|c") && name.contains(".serf."));
                sums.into_iter().map(|(name, values)| (name, values.iter().sum::<f64>())).collect::<Vec<_>>()
            });
            if sums[0] == sums[1] { Ok(()) } else { Err(format!("{sums:#?}")) }
        });
    });
}
