//! All numbers as Prometheus reads them, under Thane's names. (Prometheus: exposition formats, text format 0.0.4.)

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use super::Kind;
use super::library::Reading;
use super::names::Name;

/// What the agent itself has counted since its start. The library's counters come from their last reading instead.
#[derive(Debug, Default)]
pub(super) struct Totals {
    metrics: BTreeMap<Name, (u64, f64)>,
}

impl Totals {
    pub(super) fn add(&mut self, name: &Name, kind: Kind, count: u64, value: f64) {
        // A gauge has no total, and what the library counts is served from there.
        if kind == Kind::Gauge || family(name).is_none() {
            return;
        }
        let total = self.metrics.entry(name.clone()).or_default();
        total.0 += count;
        total.1 += value;
    }
}

/// Metrics of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    name: &'static str,
    help: &'static str,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Counter,
    /// Milliseconds here, seconds there: Prometheus' base unit.
    Summary,
}

/// The family and the label under which the agent's own metrics appear; `None` for those of the library.
fn family(name: &Name) -> Option<(Shape, Option<(&'static str, &str)>)> {
    let counter = |name, help| Shape { name, help, form: Form::Counter };
    let summary = |name, help| Shape { name, help, form: Form::Summary };
    let chosen = name.chosen.as_deref();
    Some(match (name.fixed, chosen) {
        ("agent.ipc.accept", _) => (counter("thane_rpc_clients_total", "RPC clients accepted."), None),
        ("agent.ipc.command", _) => (counter("thane_rpc_commands_total", "RPC commands received."), None),
        ("agent.invoke", Some(script)) => {
            (summary("thane_handler_seconds", "Run time of handler scripts."), Some(("script", script)))
        }
        ("serf.events", Some(event)) => {
            (counter("thane_user_events_total", "User events delivered, by name."), Some(("name", event)))
        }
        ("serf.queries", Some(query)) => {
            (counter("thane_queries_total", "Queries delivered, by name."), Some(("name", query)))
        }
        (fixed, None) => match fixed {
            "serf.member.join" => (MEMBER_EVENTS, Some(("event", "join"))),
            "serf.member.left" => (MEMBER_EVENTS, Some(("event", "leave"))),
            "serf.member.failed" => (MEMBER_EVENTS, Some(("event", "failed"))),
            "serf.member.update" => (MEMBER_EVENTS, Some(("event", "update"))),
            "serf.query_acks" => {
                (counter("thane_query_acks_total", "Acks to queries asked by this agent."), None)
            }
            "serf.query_responses" => {
                (counter("thane_query_responses_total", "Responses to queries asked by this agent."), None)
            }
            "serf.snapshot.appendLine" => {
                (summary("thane_snapshot_append_seconds", "Time to append a line to the snapshot."), None)
            }
            "serf.snapshot.compact" => {
                (summary("thane_snapshot_compact_seconds", "Time to compact the snapshot."), None)
            }
            _ => return None,
        },
        _ => return None,
    })
}

const MEMBER_EVENTS: Shape = Shape {
    name: "thane_member_events_total",
    help: "Members that joined, left, failed or changed, as this node saw it.",
    form: Form::Counter,
};

/// The whole text. `dropped` has for each sink how many metrics it lost.
pub(super) fn text(totals: &Totals, reading: &Reading, dropped: &[(&str, u64)]) -> String {
    let mut text = Text::default();
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    text.family("thane_build_info", "gauge", "The version that runs.", [(&version[..], 1)]);
    stats(&mut text, reading);
    agent(&mut text, totals);
    for (name, value) in reading.last.counters.iter() {
        let help = sentence(name);
        text.family(&format!("thane_{name}_total"), "counter", &help, [(&[][..], value)]);
    }
    let io = reading.last.io;
    for (name, value) in [
        ("packets_unsent", io.packets_unsent),
        ("send_errors", io.send_errors),
        ("receive_errors", io.receive_errors),
        ("accept_errors", io.accept_errors),
        ("streams_overflowed", io.streams_overflowed),
    ] {
        let help = format!("{} On the sockets of the node.", sentence(name));
        text.family(&format!("thane_io_{name}_total"), "counter", &help, [(&[][..], value)]);
    }
    let labels: Vec<[(&str, &str); 1]> = dropped.iter().map(|(sink, _)| [("sink", *sink)]).collect();
    let lost = labels.iter().zip(dropped).map(|(label, (_, count))| (&label[..], *count));
    text.family("thane_metrics_lost_total", "counter", "Metrics that a sink did not take.", lost);
    text.0
}

fn stats(text: &mut Text, reading: &Reading) {
    let stats = &reading.last.stats;
    let members = [("alive", stats.live), ("failed", stats.failed), ("left", stats.left)];
    text.labelled("thane_members", "Members known, by status; suspects count as alive.", "status", &members);
    let queues = [
        ("membership", stats.membership_queue),
        ("intent", stats.intent_queue),
        ("event", stats.event_queue),
        ("query", stats.query_queue),
    ];
    text.labelled("thane_queue_depth", "Messages that wait to be gossiped.", "queue", &queues);
    let clocks = [("member", stats.member_time), ("event", stats.event_time), ("query", stats.query_time)];
    text.labelled("thane_lamport_time", "Lamport clocks.", "clock", &clocks);
    let health = "Lifeguard's local health; 0 is healthy.";
    text.family("thane_health_score", "gauge", health, [(&[][..], stats.health_score)]);
    let encrypted = "Whether what the node sends is encrypted.";
    text.family("thane_encrypted", "gauge", encrypted, [(&[][..], u8::from(stats.encrypted))]);
    text.family("thane_tasks", "gauge", "Tasks of the agent's runtime.", [(&[][..], reading.last.tasks)]);
}

/// The labels of a metric, how many observations it has, and what they come to.
type Total<'a> = (Vec<(&'static str, &'a str)>, u64, f64);

/// What the agent counted itself, in families: the order of the names is not that of their families.
fn agent(text: &mut Text, totals: &Totals) {
    let mut families: BTreeMap<Shape, Vec<Total<'_>>> = BTreeMap::new();
    for (name, (count, sum)) in &totals.metrics {
        if let Some((shape, label)) = family(name) {
            families.entry(shape).or_default().push((label.into_iter().collect(), *count, *sum));
        }
    }
    for (shape, metrics) in families {
        match shape.form {
            Form::Counter => {
                let values = metrics.iter().map(|(label, _count, sum)| (&label[..], *sum));
                text.family(shape.name, "counter", shape.help, values);
            }
            Form::Summary => {
                text.heading(shape.name, "summary", shape.help);
                for (label, count, milliseconds) in &metrics {
                    text.sample(&format!("{}_sum", shape.name), label, milliseconds / 1_000.0);
                    text.sample(&format!("{}_count", shape.name), label, count);
                }
            }
        }
    }
}

/// `packets_sent` as a sentence.
fn sentence(name: &str) -> String {
    let words = name.replace('_', " ");
    let mut letters = words.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    format!("{}{} since the start.", first.unwrap_or_default(), letters.as_str())
}

#[derive(Debug, Default)]
struct Text(String);

impl Text {
    fn labelled(&mut self, name: &str, help: &str, label: &str, values: &[(&str, impl Display)]) {
        self.heading(name, "gauge", help);
        for (which, value) in values {
            self.sample(name, &[(label, which)], value);
        }
    }

    /// A family; nothing at all if it has no metric.
    fn family<'a>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        values: impl IntoIterator<Item = (&'a [(&'a str, &'a str)], impl Display)>,
    ) {
        for (number, (labels, value)) in values.into_iter().enumerate() {
            if number == 0 {
                self.heading(name, kind, help);
            }
            self.sample(name, labels, value);
        }
    }

    fn heading(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (number, (label, text)) in labels.iter().enumerate() {
            // Writing to a String cannot fail.
            _ = write!(self.0, "{}{label}=\"{}\"", if number == 0 { '{' } else { ',' }, escaped(text));
        }
        // Writing to a String cannot fail.
        _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
