//! Against what Serf's sinks were recorded to send, with real sockets.

use std::collections::BTreeSet;
use std::net::UdpSocket;

use serde_json::Value;
use thane::{Counters, Stats};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::library::Numbers;
use super::*;

const RECORDED: &str = include_str!("../../tests/vectors/telemetry/sinks-0.10.1.json");
const DUMPS: [&str; 3] = [
    include_str!("../../tests/vectors/telemetry/usr1-0.9.4.txt"),
    include_str!("../../tests/vectors/telemetry/usr1-0.10.1.txt"),
    include_str!("../../tests/vectors/telemetry/usr1-with-sinks-0.10.1.txt"),
];
const DEADLINE: Duration = Duration::from_secs(30);

/// Starts with this configuration; the tasks end with the set.
async fn start(config: MetricsConfig) -> (Metrics, JoinSet<()>) {
    let mut tasks = JoinSet::new();
    let metrics = Metrics::start(&config, &mut tasks).await.unwrap();
    (metrics, tasks)
}

fn numbers() -> Numbers {
    let mut counters = Counters::default();
    counters.packets_sent = 3;
    counters.packet_bytes_sent = 555;
    counters.packets_received = 2;
    counters.packet_bytes_received = 368;
    counters.push_pulls = 1;
    counters.stream_bytes_sent = 253;
    counters.streams_accepted = 1;
    counters.alive_accepted = 3;
    counters.suspect_accepted = 1;
    counters.dead_accepted = 1;
    counters.probes = 2;
    let mut stats = Stats::default();
    (stats.members, stats.live, stats.failed, stats.health_score) = (4, 3, 1, 1);
    Numbers { counters, io: thane::IoCounters::default(), stats, tasks: 9 }
}

/// Everything that the recorded run of Serf had reason to tell, and that Thane knows.
fn tell_all(metrics: &Metrics) {
    metrics.read(&numbers());
    metrics.ipc_accepted();
    metrics.ipc_command();
    metrics.handler_ran("echo hi there", Duration::from_micros(1_698));
    metrics.named("serf.events", "deploy:x y");
    metrics.query("load");
    for name in ["serf.member.join", "serf.member.failed", "serf.member.update"] {
        metrics.incr(name);
    }
    metrics.incr("serf.query_acks");
    metrics.incr("serf.query_responses");
    metrics.timer("serf.snapshot.appendLine", Duration::from_micros(108));
}

fn local_udp() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

fn receive(socket: &UdpSocket) -> String {
    let mut buffer = [0; 4_096];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[tokio::test]
async fn statsd_gets_serfs_names_in_serfs_lines() {
    let (socket, address) = local_udp();
    let config =
        MetricsConfig { host: "serfhost".to_owned(), statsd_addr: Some(address), ..MetricsConfig::default() };
    let (metrics, _tasks) = start(config).await;
    tell_all(&metrics);
    metrics.incr("serf.the.last");
    let lines = tokio::task::spawn_blocking(move || {
        let mut lines = Vec::new();
        while !lines.iter().any(|line: &String| line.contains("serf.the.last")) {
            lines.extend(receive(&socket).lines().map(str::to_owned));
        }
        lines
    })
    .await
    .unwrap();
    assert!(lines.contains(&"serf-agent.memberlist.udp.sent:555.000000|c".to_owned()), "{lines:?}");
    assert!(lines.contains(&"serf-agent.agent.invoke.echo_hi_there:1.698000|ms".to_owned()), "{lines:?}");
    let ours: BTreeSet<String> = lines.iter().map(|line| name_and_type(line)).collect();
    let document: Value = serde_json::from_str(RECORDED).unwrap();
    let serfs: BTreeSet<String> =
        document["statsd_metric_names"].as_object().unwrap().keys().cloned().collect();
    let unknown: Vec<_> = ours.difference(&serfs).filter(|name| !name.contains("serf.the.last")).collect();
    assert!(unknown.is_empty(), "Serf has no such metrics: {unknown:?}");
    // What Thane has no number for: Go's memory, the time of single rounds, the size of single messages.
    let missing: Vec<&str> = serfs
        .difference(&ours)
        .map(|name| name.trim_start_matches("serf-agent.").trim_start_matches("serfhost."))
        .collect();
    for name in missing {
        let known = name.starts_with("runtime.")
            || name.starts_with("serf.msgs.")
            || name.starts_with("memberlist.size.")
            || [
                "memberlist.gossip|ms",
                "memberlist.probeNode|ms",
                "memberlist.node.instances.suspect|g",
                "serf.coordinate.adjustment-ms|ms",
            ]
            .contains(&name);
        assert!(known, "{name} is missing");
    }
}

fn name_and_type(line: &str) -> String {
    let (name, rest) = line.rsplit_once(':').unwrap();
    let (value, kind) = rest.split_once('|').unwrap();
    assert_eq!(value.split_once('.').unwrap().1.len(), 6, "{line} has six decimals");
    format!("{name}|{kind}")
}

#[tokio::test]
async fn datagrams_stay_below_their_limit() {
    let (socket, address) = local_udp();
    let config = MetricsConfig { statsd_addr: Some(address), ..MetricsConfig::default() };
    let (metrics, _tasks) = start(config).await;
    let reading = tokio::task::spawn_blocking(move || {
        let (mut lines, mut largest, mut datagrams) = (0, 0, 0);
        while lines < 1_000 {
            let text = receive(&socket);
            assert!(text.ends_with('\n'));
            lines += text.lines().count();
            largest = largest.max(text.len());
            datagrams += 1;
        }
        (lines, largest, datagrams)
    });
    for _ in 0..1_000 {
        metrics.ipc_command();
    }
    let (lines, largest, datagrams) = reading.await.unwrap();
    assert_eq!(lines, 1_000);
    assert!((1_300..=1_400).contains(&largest), "{largest} bytes");
    assert!(datagrams < 50, "{datagrams} datagrams for 1,000 lines");
}

#[tokio::test]
async fn statsite_gets_the_same_over_a_stream_and_again_after_it_was_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let config = MetricsConfig { statsite_addr: Some(address), ..MetricsConfig::default() };
    let (metrics, _tasks) = start(config).await;
    metrics.named("serf.events", "deploy:x y");
    let (stream, _) = timeout(DEADLINE, listener.accept()).await.unwrap().unwrap();
    let mut lines = BufReader::new(stream).lines();
    for expected in ["serf-agent.serf.events:1.000000|c", "serf-agent.serf.events.deploy_x_y:1.000000|c"] {
        assert_eq!(timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().unwrap(), expected);
    }
    drop(lines);
    // The agent learns it from a write; then it comes back by itself.
    let again = async {
        loop {
            metrics.ipc_command();
            if let Ok(accepted) = timeout(Duration::from_millis(50), listener.accept()).await {
                return accepted.unwrap().0;
            }
        }
    };
    let stream = timeout(DEADLINE, again).await.unwrap();
    metrics.ipc_accepted();
    let mut lines = BufReader::new(stream).lines();
    let found = async {
        while lines.next_line().await.unwrap().unwrap() != "serf-agent.agent.ipc.accept:1.000000|c" {}
    };
    timeout(DEADLINE, found).await.unwrap();
    assert!(
        metrics.shared.sinks[0].dropped.load(Ordering::Relaxed) > 0,
        "what was lost meanwhile is counted"
    );
}

#[tokio::test]
async fn a_sink_that_takes_nothing_costs_a_bounded_queue() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let config = MetricsConfig { statsite_addr: Some(address), ..MetricsConfig::default() };
    let (metrics, _tasks) = start(config).await;
    for _ in 0..QUEUE_MAX + 500 {
        metrics.ipc_command();
    }
    assert_eq!(metrics.shared.sinks[0].dropped.load(Ordering::Relaxed), 500);
    assert!(metrics.prometheus().contains("thane_metrics_lost_total{sink=\"statsite\"} 500\n"));
}

/// Papercut 44: names of events become names of metrics, but not without end.
#[tokio::test]
async fn names_that_others_choose_are_capped() {
    let (metrics, _tasks) = start(MetricsConfig::default()).await;
    for number in 0..10_000 {
        metrics.named("serf.events", &format!("event-{number}"));
        metrics.query(&"q".repeat(number % 500 + 1));
    }
    let text = metrics.prometheus();
    let events = text.lines().filter(|line| line.starts_with("thane_user_events_total{")).count();
    let queries = text.lines().filter(|line| line.starts_with("thane_queries_total{")).count();
    assert!(events + queries <= 66, "{events} and {queries}");
    assert!(text.contains("thane_user_events_total{name=\"other\"}"));
    assert!(text.contains("thane_queries_total{name=\"other\"}"));
}

#[tokio::test]
async fn the_dump_has_serfs_lines_and_gauges_name_the_host_only_beside_a_sink() {
    let forms: BTreeSet<String> = DUMPS.iter().flat_map(|dump| dump.lines()).map(form).collect();
    for (statsd_addr, gauge) in [
        (None, "'serf-agent.memberlist.health.score': 1.000"),
        (Some("127.0.0.1:9".to_owned()), "'serf-agent.serfhost.memberlist.health.score': 1.000"),
    ] {
        let config = MetricsConfig { host: "serfhost".to_owned(), statsd_addr, ..MetricsConfig::default() };
        let (metrics, _tasks) = start(config).await;
        tell_all(&metrics);
        assert_eq!(metrics.dump(), "", "the running interval is not shown");
        let later = Timestamp::now() + Duration::from_secs(11);
        let text = {
            let mut state = metrics.lock();
            state.intervals.advance(later);
            state.intervals.dump(&metrics.shared.gauge_prefix)
        };
        assert!(text.contains(gauge), "{text}");
        for line in text.lines() {
            assert!(forms.contains(&form(line)), "no line of Serf's looks like {line}");
        }
        assert!(
            text.contains("[C] 'serf-agent.memberlist.udp.sent': Count: 3 Sum: 555.000 LastUpdated: "),
            "{text}"
        );
        assert!(
            text.contains("[S] 'serf-agent.agent.invoke.echo_hi_there': Count: 1 Sum: 1.698 LastUpdated: ")
        );
        assert!(text.contains("[C] 'serf-agent.serf.events.deploy:x_y': Count: 1 Sum: 1.000 LastUpdated: "));
    }
}

/// A line with its name and numbers left out.
fn form(line: &str) -> String {
    let (start, rest) = line.split_once(" '").unwrap();
    let (_name, rest) = rest.split_once("': ").unwrap();
    let mut form = String::new();
    for letter in format!("{start} {rest}").chars() {
        match letter {
            '0'..='9' if form.ends_with('0') => {}
            '0'..='9' => form.push('0'),
            other => form.push(other),
        }
    }
    form
}

#[tokio::test]
async fn sigusr1_does_not_end_the_process() {
    let (metrics, _tasks) = start(MetricsConfig::default()).await;
    let mut also = signal(SignalKind::user_defined1()).unwrap();
    let sent = std::process::Command::new("kill").arg("-USR1").arg(std::process::id().to_string()).status();
    assert!(sent.unwrap().success());
    assert!(timeout(DEADLINE, also.recv()).await.unwrap().is_some());
    drop(metrics);
}

async fn ask(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut response)).await.unwrap().unwrap();
    response
}

#[tokio::test]
async fn prometheus_text_is_served_at_metrics() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let config = MetricsConfig { metrics_addr: Some(address.clone()), ..MetricsConfig::default() };
    let (metrics, _tasks) = start(config).await;
    tell_all(&metrics);
    metrics.handler_ran("odd \"\\\n", Duration::from_secs(2));
    // Connections that say nothing take places, but not all.
    let _silent = TcpStream::connect(&address).await.unwrap();
    let response = ask(&address, "GET /metrics?x=y HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: text/plain; version=0.0.4"));
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
    for line in [
        "# HELP thane_packets_sent_total Packets sent since the start.",
        "# TYPE thane_packets_sent_total counter",
        "thane_packets_sent_total 3",
        "thane_members{status=\"alive\"} 3",
        "thane_health_score 1",
        "thane_rpc_commands_total 1",
        "thane_user_events_total{name=\"deploy:x y\"} 1",
        "thane_member_events_total{event=\"failed\"} 1",
        "thane_handler_seconds_sum{script=\"odd \\\"\\\\\\n\"} 2",
        "thane_handler_seconds_count{script=\"odd \\\"\\\\\\n\"} 1",
    ] {
        assert!(body.lines().any(|have| have == line), "no {line} in\n{body}");
    }
    check_format(body);
    assert!(ask(&address, "GET / HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 404 "));
    assert!(ask(&address, "POST /metrics HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 405 "));
    assert!(ask(&address, "nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    let head = ask(&address, "HEAD /metrics HTTP/1.1\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"));
}

/// Each family once, with its heading before its samples, and each sample with a number.
fn check_format(body: &str) {
    let mut families = BTreeSet::new();
    let mut family = String::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap().to_owned();
            assert!(families.insert(family.clone()), "{family} comes twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(rest.starts_with(&format!("{family} ")), "{line} after {family}");
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with(&family) && value.parse::<f64>().is_ok(), "{line} in {family}");
        }
    }
    assert!(families.len() > 50);
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = MetricsConfig { metrics_addr: Some(address.clone()), ..MetricsConfig::default() };
    let refusal = Metrics::start(&config, &mut JoinSet::new()).await.unwrap_err();
    assert!(refusal.starts_with(&format!("Error starting metrics listener on {address}: ")), "{refusal}");
}

#[tokio::test]
async fn a_node_is_read_every_second() {
    let (metrics, mut tasks) = start(MetricsConfig::default()).await;
    let node = Node::builder().name("read").bind("127.0.0.1:0").start().await.unwrap();
    metrics.watch(&node, &mut tasks);
    let read = async {
        while !metrics.prometheus().contains("thane_members{status=\"alive\"} 1\n") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, read).await.unwrap();
    node.shutdown().await;
}
