//! All numbers as Prometheus reads them, under Thane's names. (Prometheus: exposition formats, text format 0.0.4.)

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use super::Kind;
use super::library::Reading;
use super::names::Name;

/// What has been counted since the start, other than by the library's counters, which come from their last reading.
#[derive(Debug, Default)]
pub(super) struct Totals {
    metrics: BTreeMap<Name, Total>,
}

/// Observations of one metric, in the unit of its family.
#[derive(Debug, Default)]
struct Total {
    count: u64,
    sum: f64,
    /// How many are at most each bound of a histogram.
    buckets: Vec<u64>,
}

impl Totals {
    pub(super) fn add(&mut self, name: &Name, kind: Kind, count: u64, value: f64) {
        // A gauge has no total, and what the library counts is served from there.
        if kind == Kind::Gauge {
            return;
        }
        let Some((shape, _label)) = family(name) else { return };
        let total = self.metrics.entry(name.clone()).or_default();
        total.count += count;
        match shape.form {
            Form::Counter => total.sum += value,
            Form::Histogram(scale) => {
                let value = value * scale.unit();
                total.sum += value;
                total.buckets.resize(scale.bounds().len(), 0);
                for (bucket, bound) in total.buckets.iter_mut().zip(scale.bounds()) {
                    *bucket += if value <= *bound { count } else { 0 };
                }
            }
        }
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
    Histogram(Scale),
}

/// What is measured, which decides the buckets of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scale {
    /// Work on this machine: from a tenth of a millisecond, where all should be, to a second, where something is wrong.
    Local,
    /// Round trips and what consists of them: finest between the millisecond of a data centre and the second of a probe's
    /// usual interval, with a bucket for each step by which Lifeguard may stretch it.
    Network,
    /// Scripts: most take less than the second after which the log calls them slow; some take minutes.
    Script,
    /// A message, which shares a packet of 1,400 bytes with others.
    Message,
    /// A state, some hundred bytes a member.
    State,
}

impl Scale {
    /// By what to multiply Serf's unit, milliseconds or bytes, to get Prometheus' base unit, seconds or bytes.
    fn unit(self) -> f64 {
        match self {
            Self::Local | Self::Network | Self::Script => 0.001,
            Self::Message | Self::State => 1.0,
        }
    }

    /// The upper ends of the buckets, in seconds or bytes.
    fn bounds(self) -> &'static [f64] {
        match self {
            Self::Local => &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0],
            Self::Network => {
                &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0]
            }
            Self::Script => &[0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0],
            Self::Message => &[32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 1_400.0],
            Self::State => &[512.0, 2_048.0, 8_192.0, 32_768.0, 131_072.0, 524_288.0, 2_097_152.0],
        }
    }
}

/// The family and the label under which a metric appears; `None` for those that the library's counters have already.
fn family(name: &Name) -> Option<(Shape, Option<(&'static str, &str)>)> {
    let counter = |name, help| Shape { name, help, form: Form::Counter };
    let histogram = |name, scale, help| Shape { name, help, form: Form::Histogram(scale) };
    let Some(chosen) = name.chosen.as_deref() else {
        return member_event(name.fixed)
            .map(|event| (MEMBER_EVENTS, Some(("event", event))))
            .or_else(|| unlabelled(name.fixed).map(|shape| (shape, None)));
    };
    Some(match name.fixed {
        "agent.invoke" => {
            let help = "Run time of handler scripts.";
            (histogram("thane_handler_seconds", Scale::Script, help), Some(("script", chosen)))
        }
        "agent.handler.dropped" => {
            let help = "Events that a handler did not get because too many waited for it.";
            (counter("thane_handler_events_dropped_total", help), Some(("script", chosen)))
        }
        "agent.handler.killed" => {
            let help = "Handler scripts that were ended because they ran for too long.";
            (counter("thane_handler_kills_total", help), Some(("script", chosen)))
        }
        "serf.events" => {
            (counter("thane_user_events_total", "User events delivered, by name."), Some(("name", chosen)))
        }
        "serf.queries" => {
            (counter("thane_queries_total", "Queries delivered, by name."), Some(("name", chosen)))
        }
        _ => return None,
    })
}

const MEMBER_EVENTS: Shape = Shape {
    name: "thane_member_events_total",
    help: "Members that joined, left, failed or changed, as this node saw it.",
    form: Form::Counter,
};

fn member_event(fixed: &str) -> Option<&'static str> {
    Some(match fixed {
        "serf.member.join" => "join",
        "serf.member.left" => "leave",
        "serf.member.failed" => "failed",
        "serf.member.update" => "update",
        _ => return None,
    })
}

fn unlabelled(fixed: &str) -> Option<Shape> {
    let (name, form, help) = match fixed {
        "agent.ipc.accept" => ("thane_rpc_clients_total", Form::Counter, "RPC clients accepted."),
        "agent.ipc.command" => ("thane_rpc_commands_total", Form::Counter, "RPC commands received."),
        "memberlist.gossip" => (
            "thane_gossip_round_seconds",
            Form::Histogram(Scale::Local),
            "Time to decide and send a round of gossip.",
        ),
        "memberlist.probeNode" => (
            "thane_probe_seconds",
            Form::Histogram(Scale::Network),
            "Time from a probe's ping to its verdict.",
        ),
        "memberlist.pushPullNode" => {
            let help = "Time that a state exchange took, from its dial to its end.";
            ("thane_state_exchange_seconds", Form::Histogram(Scale::Network), help)
        }
        "memberlist.size.remote" => {
            ("thane_remote_state_bytes", Form::Histogram(Scale::State), "Size of the states that peers sent.")
        }
        "serf.msgs.sent" => {
            let help = "Size of the intents, events and queries gossiped, once for each packet.";
            ("thane_message_sent_bytes", Form::Histogram(Scale::Message), help)
        }
        "serf.msgs.received" => {
            let help = "Size of the intents, events, queries and answers that arrived.";
            ("thane_message_received_bytes", Form::Histogram(Scale::Message), help)
        }
        "serf.coordinate.adjustment-ms" => {
            let help = "By how much a probe moved this node's coordinate.";
            ("thane_coordinate_moved_seconds", Form::Histogram(Scale::Network), help)
        }
        "serf.snapshot.appendLine" => (
            "thane_snapshot_append_seconds",
            Form::Histogram(Scale::Local),
            "Time to append to the snapshot.",
        ),
        "serf.snapshot.compact" => (
            "thane_snapshot_compact_seconds",
            Form::Histogram(Scale::Local),
            "Time to write the snapshot anew.",
        ),
        _ => return None,
    };
    Some(Shape { name, help, form })
}

/// The whole text. `missed` says how many measurements the library had no room for, `dropped` for each sink how many
/// metrics it lost.
pub(super) fn text(totals: &Totals, reading: &Reading, missed: u64, dropped: &[(&str, u64)]) -> String {
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
        ("snapshot_records_lost", io.snapshot_records_lost),
        ("events_missed", io.events_missed),
        ("inputs_unrecorded", io.inputs_unrecorded),
    ] {
        let help = format!("{} Between the node and the operating system.", sentence(name));
        text.family(&format!("thane_io_{name}_total"), "counter", &help, [(&[][..], value)]);
    }
    let help = "Measurements left out because too many came within a second.";
    text.family("thane_measurements_lost_total", "counter", help, [(&[][..], missed)]);
    let labels: Vec<[(&str, &str); 1]> = dropped.iter().map(|(sink, _)| [("sink", *sink)]).collect();
    let lost = labels.iter().zip(dropped).map(|(label, (_, count))| (&label[..], *count));
    text.family("thane_metrics_lost_total", "counter", "Metrics that a sink did not take.", lost);
    text.0
}

fn stats(text: &mut Text, reading: &Reading) {
    let stats = &reading.last.stats;
    let members = [("alive", stats.live), ("failed", stats.failed), ("left", stats.left)];
    text.labelled("thane_members", "Members known, by status; suspects count as alive.", "status", &members);
    let suspects = "Members held for suspect.";
    text.family("thane_suspects", "gauge", suspects, [(&[][..], stats.suspect)]);
    let state = "Size of this node's state as the last exchange sent it; 0 before the first.";
    text.family("thane_local_state_bytes", "gauge", state, [(&[][..], stats.local_state_bytes)]);
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

/// A metric of a family, with its labels.
type Labelled<'a> = (Vec<(&'a str, &'a str)>, &'a Total);

/// What was counted in families: the order of the names is not that of their families.
fn agent(text: &mut Text, totals: &Totals) {
    let mut families: BTreeMap<Shape, Vec<Labelled<'_>>> = BTreeMap::new();
    for (name, total) in &totals.metrics {
        if let Some((shape, label)) = family(name) {
            families.entry(shape).or_default().push((label.into_iter().collect(), total));
        }
    }
    for (shape, metrics) in families {
        match shape.form {
            Form::Counter => {
                let values = metrics.iter().map(|(label, total)| (&label[..], total.sum));
                text.family(shape.name, "counter", shape.help, values);
            }
            Form::Histogram(scale) => {
                text.heading(shape.name, "histogram", shape.help);
                for (label, total) in &metrics {
                    text.histogram(shape.name, label, scale, total);
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

    fn histogram(&mut self, name: &str, label: &[(&str, &str)], scale: Scale, total: &Total) {
        let bucket_name = format!("{name}_bucket");
        let bounds = scale.bounds().iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        let counts = total.buckets.iter().copied().chain([total.count]);
        for (bound, count) in bounds.zip(counts) {
            let mut labels = label.to_vec();
            labels.push(("le", &bound));
            self.sample(&bucket_name, &labels, count);
        }
        self.sample(&format!("{name}_sum"), label, total.sum);
        self.sample(&format!("{name}_count"), label, total.count);
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
