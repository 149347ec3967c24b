//! Against what Serf's sinks were recorded to send, with real sockets.

use std::collections::BTreeSet;
use std::net::UdpSocket;

use serde_json::Value;
use thane::{Counters, Measure, Measurements, Stats};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::library::Numbers;
use super::*;

const RECORDED: [&str; 2] = [
    include_str!("../../tests/vectors/telemetry/sinks-0.9.4.json"),
    include_str!("../../tests/vectors/telemetry/sinks-0.10.1.json"),
];
const DUMPS: [&str; 4] = [
    include_str!("../../tests/vectors/telemetry/usr1-0.9.4.txt"),
    include_str!("../../tests/vectors/telemetry/usr1-0.10.1.txt"),
    include_str!("../../tests/vectors/telemetry/usr1-with-sinks-0.9.4.txt"),
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
    counters.query_acks = 1;
    counters.query_responses = 1;
    let mut stats = Stats::default();
    (stats.members, stats.live, stats.suspect, stats.failed, stats.health_score) = (4, 3, 1, 1, 1);
    stats.local_state_bytes = 500;
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
    metrics.measured(&measurements());
}

/// One of each kind.
fn measurements() -> Vec<Measurement> {
    let mut measured = Measurements::default();
    measured.add_time(Measure::GossipRound, Duration::from_micros(300));
    measured.add_time(Measure::Probe, Duration::from_millis(7));
    measured.add_time(Measure::StateExchange, Duration::from_millis(3));
    measured.add(Measure::RemoteState, 245.0);
    measured.add(Measure::MessageSent, 19.0);
    measured.add(Measure::MessageReceived, 19.0);
    measured.add_time(Measure::CoordinateMoved, Duration::from_micros(61));
    measured.add_time(Measure::SnapshotAppend, Duration::from_micros(108));
    measured.add_time(Measure::SnapshotCompact, Duration::from_millis(20));
    measured.kept.into()
}

fn local_udp() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

fn receive(socket: &UdpSocket) -> String {
    let mut buffer = [0; 4_096];
    let length = loop {
        match socket.recv(&mut buffer) {
            // A machine that was suspended interrupts what has a time limit.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            outcome => break outcome.unwrap(),
        }
    };
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
    let names = |json: &str| -> BTreeSet<String> {
        let document: Value = serde_json::from_str(json).unwrap();
        document["statsd_metric_names"].as_object().unwrap().keys().cloned().collect()
    };
    let serfs: BTreeSet<String> = RECORDED.iter().flat_map(|json| names(json)).collect();
    // The recorded agents had no reason to compact their snapshot, and did not begin a state exchange themselves.
    let beyond = ["serf.the.last", "serf.snapshot.compact", "memberlist.pushPullNode"];
    let unknown: Vec<_> =
        ours.difference(&serfs).filter(|name| !beyond.iter().any(|known| name.contains(known))).collect();
    assert!(unknown.is_empty(), "Serf has no such metrics: {unknown:?}");
    let (missing, same): (Vec<String>, Vec<String>) =
        RECORDED.iter().flat_map(|json| names(json)).partition(|name| !ours.contains(name));
    // Of Go's runtime Thane has only a counterpart of the number of goroutines.
    assert!(missing.iter().all(|name| name.contains(".runtime.")), "Serf has these as well: {missing:?}");
    let cases = same.len() + missing.len();
    eprintln!(
        "compat: agent telemetry, names of metrics | cases={cases} same={} listed={}",
        same.len(),
        missing.len()
    );
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
    check_format(&text);
    assert!(events + queries <= 66, "{events} and {queries}");
    assert!(text.contains("thane_user_events_total{name=\"other\"}"));
    assert!(text.contains("thane_queries_total{name=\"other\"}"));
}

#[tokio::test]
async fn the_dump_has_serfs_lines_and_gauges_name_the_host_only_beside_a_sink() {
    let recorded = || DUMPS.iter().flat_map(|dump| dump.lines());
    let forms: BTreeSet<String> = recorded().map(form).collect();
    let mut ours: BTreeSet<String> = BTreeSet::new();
    for (statsd_addr, gauge) in [
        (None, "'serf-agent.memberlist.health.score': 1.000"),
        (Some("127.0.0.1:9".to_owned()), "'serf-agent.serfhost.memberlist.health.score': 1.000"),
    ] {
        let config = MetricsConfig { host: "serfhost".to_owned(), statsd_addr, ..MetricsConfig::default() };
        let (text, _tasks) = loop {
            let interval = || Timestamp::now().as_second().div_euclid(10);
            let begun = interval();
            let (metrics, tasks) = start(config.clone()).await;
            tell_all(&metrics);
            let running = metrics.dump();
            let later = Timestamp::now() + Duration::from_secs(11);
            let text = {
                let mut state = metrics.lock();
                state.intervals.advance(later);
                state.intervals.dump(&metrics.shared.gauge_prefix)
            };
            // Otherwise what was told is in two intervals.
            if interval() == begun {
                assert_eq!(running, "", "the running interval is not shown");
                break (text, tasks);
            }
        };
        assert!(text.contains(gauge), "{text}");
        for line in text.lines() {
            assert!(forms.contains(&form(line)), "no line of Serf's looks like {line}");
        }
        ours.extend(text.lines().map(kind_and_name));
        assert!(
            text.contains("[C] 'serf-agent.memberlist.udp.sent': Count: 3 Sum: 555.000 LastUpdated: "),
            "{text}"
        );
        assert!(
            text.contains("[S] 'serf-agent.agent.invoke.echo_hi_there': Count: 1 Sum: 1.698 LastUpdated: ")
        );
        assert!(text.contains("[C] 'serf-agent.serf.events.deploy:x_y': Count: 1 Sum: 1.000 LastUpdated: "));
    }
    // A dump without a sink told of an event of another name.
    let same = |line: &&str| ours.contains(&kind_and_name(line)) || line.contains("serf.events.deploy'");
    let (same, missing): (Vec<&str>, Vec<&str>) = recorded().partition(same);
    assert!(missing.iter().all(|line| line.contains(".runtime.")), "Serf has these as well: {missing:#?}");
    let cases = same.len() + missing.len();
    eprintln!(
        "compat: agent telemetry, lines of dumps | cases={cases} same={} listed={}",
        same.len(),
        missing.len()
    );
}

/// `[C] 'serf-agent.agent.ipc.accept'` of a line.
fn kind_and_name(line: &str) -> String {
    let (_time, rest) = line.split_once(" UTC]").unwrap_or(("", line));
    let kind = rest.find("[G]").or_else(|| rest.find("[C]")).or_else(|| rest.find("[S]")).unwrap();
    rest[kind..].split_once("':").unwrap().0.to_owned()
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

/// A sample as a scraper reads it: the name, the labels in their order, the value.
type Sampled = (String, Vec<(String, String)>, f64);

/// Reads one line of the format, strictly. (Prometheus: exposition formats, text format.)
fn read_sample(line: &str) -> Sampled {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name, true), "{line}");
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            assert!(is_name(label, false), "{line}");
            let (value, after) = read_quoted(value);
            labels.push((label.to_owned(), value));
            rest = after;
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').unwrap_or_else(|| panic!("{line}"));
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    (name.to_owned(), labels, value.parse().unwrap_or_else(|_| panic!("{line}")))
}

fn is_name(name: &str, colons: bool) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(good)
}

/// A label's value without its escapes, and what follows its closing quote.
fn read_quoted(text: &str) -> (String, &str) {
    let (mut value, mut letters) = (String::new(), text.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match letters.next() {
                Some((_, '\\')) => '\\',
                Some((_, '"')) => '"',
                Some((_, 'n')) => '\n',
                other => panic!("escape {other:?} in {text}"),
            }),
            other => value.push(other),
        }
    }
    panic!("no closing quote in {text}")
}

/// Each family once, its headings before its samples, its name fit for its type; no sample twice; histograms whose buckets
/// grow up to their count.
fn check_format(body: &str) {
    assert!(body.ends_with('\n'));
    let (mut families, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    let mut histogram: Vec<Sampled> = Vec::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            check_histogram(&family, &std::mem::take(&mut histogram));
            let (name, help) = rest.split_once(' ').unwrap();
            family = name.to_owned();
            assert!(families.insert(family.clone()), "{family} comes twice");
            assert!(family.starts_with("thane_") && help.ends_with('.'), "{line}");
            kind.clear();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, type_) = rest.split_once(' ').unwrap();
            assert!(name == family && kind.is_empty(), "{line} after {family}");
            kind = type_.to_owned();
            assert!(["counter", "gauge", "histogram"].contains(&type_), "{line}");
            assert_eq!(name.ends_with("_total"), type_ == "counter", "{line}");
        } else {
            let sample = read_sample(line);
            assert!(seen.insert(line.rsplit_once(' ').unwrap().0.to_owned()), "{line} comes twice");
            if kind == "histogram" {
                histogram.push(sample);
            } else {
                assert!(sample.0 == family && !kind.is_empty(), "{line} in {family}");
            }
        }
    }
    check_histogram(&family, &histogram);
    assert!(families.len() > 70, "{} families", families.len());
}

fn check_histogram(family: &str, samples: &[Sampled]) {
    let (mut last, mut bound) = (0.0, f64::NEG_INFINITY);
    for (name, labels, value) in samples {
        match name.strip_prefix(family) {
            Some("_bucket") => {
                let (le, to) = labels.last().unwrap();
                let to: f64 = to.parse().unwrap();
                assert!(le == "le" && to > bound && *value >= last, "{name} {labels:?}");
                (last, bound) = (*value, to);
            }
            Some("_sum") => assert!(bound.is_infinite() && *value >= 0.0, "{name} {labels:?}"),
            Some("_count") => {
                assert!((value - last).abs() < f64::EPSILON, "{name} {labels:?}: {value}, not {last}");
                (last, bound) = (0.0, f64::NEG_INFINITY);
            }
            _ => panic!("{name} in {family}"),
        }
    }
    assert!(bound == f64::NEG_INFINITY, "{family} ends in its middle");
}

#[tokio::test]
async fn histograms_count_each_value_in_all_buckets_that_hold_it() {
    let (metrics, _tasks) = start(MetricsConfig::default()).await;
    metrics.measured(&measurements());
    let mut slow = Measurements::default();
    slow.add_time(Measure::Probe, Duration::from_secs(20));
    metrics.measured(slow.kept.make_contiguous());
    let body = metrics.prometheus();
    for line in [
        "thane_probe_seconds_bucket{le=\"0.005\"} 0",
        "thane_probe_seconds_bucket{le=\"0.01\"} 1",
        "thane_probe_seconds_bucket{le=\"10\"} 1",
        "thane_probe_seconds_bucket{le=\"+Inf\"} 2",
        "thane_probe_seconds_sum 20.007",
        "thane_probe_seconds_count 2",
        "thane_remote_state_bytes_bucket{le=\"512\"} 1",
        "thane_remote_state_bytes_sum 245",
    ] {
        assert!(body.lines().any(|have| have == line), "no {line} in\n{body}");
    }
    check_format(&body);
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
