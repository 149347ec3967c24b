//! The answer to `diagnose`: what `thane doctor` judges. Sections of text, as those of `stats`, so that a later version may add.
//!
//! | section | what |
//! | --- | --- |
//! | `agent` | name, version, address, uptime in seconds, wall clock in milliseconds since 1970 |
//! | `health` | health score, queue depths |
//! | `settings` | what bears on faults: packet size, intervals |
//! | `total` | every counter since the start |
//! | `recent` | what was added to it in the last `window_seconds` |
//! | `suspect` | members under suspicion |
//! | `tcp_only` | members that answered our last probe over TCP alone |
//! | `dropped` | the last packet that could not be used |
//! | `keys`, `primary_keys`, `key_messages` | of all members, if encryption is on; `keys_asked` and `keys_answered` in `health` |

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use thane::{AnswerWay, Node, State};
use thane_wire::rpc::Stats;

use super::explain::Clock;
use super::history::{History, Readings};
use crate::losses;

/// How long the members may take to tell their keys; one that is paused would hold the answer up for longer.
const KEYS_PATIENCE: Duration = Duration::from_secs(30);

/// What an agent keeps to judge itself by.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics {
    history: History,
}

impl Diagnostics {
    /// Takes a reading; to be called every [`super::history::INTERVAL`].
    pub(super) async fn sample(&self, node: &Node) {
        self.history.add(Instant::now(), readings(node).await);
    }

    /// Everything there is.
    pub(super) async fn diagnose(&self, node: &Node) -> Stats {
        let total = readings(node).await;
        let uptime = node.now().since_start();
        let (window, recent) = self.history.recent(Instant::now(), &total, uptime);
        let mut sections = Stats::from([
            ("agent".to_owned(), agent_section(node)),
            ("health".to_owned(), health_section(node).await),
            ("settings".to_owned(), settings_section(node).await),
            ("total".to_owned(), numbers(&total)),
            ("recent".to_owned(), numbers(&recent)),
        ]);
        let windows = sections.entry("recent".to_owned()).or_default();
        windows.insert("window_seconds".to_owned(), window.as_secs().to_string());
        self.add_members(node, &mut sections).await;
        add_dropped(node, &mut sections).await;
        add_keys(node, &mut sections).await;
        sections
    }

    async fn add_members(&self, node: &Node, sections: &mut Stats) {
        let (mut suspect, mut tcp_only) = (BTreeMap::new(), BTreeMap::new());
        for member in node.members().await {
            if member.state == State::Suspect {
                suspect.insert(member.name.to_string(), member.addr.to_string());
            }
            let answer = node.last_answer(&member.name).await;
            if answer.is_some_and(|answer| answer.way == AnswerWay::TcpOnly) {
                tcp_only.insert(member.name.to_string(), member.addr.to_string());
            }
        }
        sections.insert("suspect".to_owned(), suspect);
        sections.insert("tcp_only".to_owned(), tcp_only);
    }
}

/// The core's counters, those of the sockets (`io_...`) and those of the agent (`agent_...`).
async fn readings(node: &Node) -> Readings {
    let mut readings: Readings = node.counters().await.iter().collect();
    let io = node.io_counters().await;
    readings.extend([
        ("io_packets_unsent", io.packets_unsent),
        ("io_send_errors", io.send_errors),
        ("io_receive_errors", io.receive_errors),
        ("io_accept_errors", io.accept_errors),
        ("io_streams_overflowed", io.streams_overflowed),
        ("io_snapshot_records_lost", io.snapshot_records_lost),
        ("io_events_missed", io.events_missed),
        ("io_inputs_unrecorded", io.inputs_unrecorded),
        ("agent_handler_events_dropped", losses::HANDLER_EVENTS.total()),
        ("agent_rpc_records_dropped", losses::RPC_RECORDS.total()),
    ]);
    readings
}

fn numbers(readings: &Readings) -> BTreeMap<String, String> {
    readings.iter().map(|(name, count)| ((*name).to_owned(), count.to_string())).collect()
}

fn section<const N: usize>(entries: [(&str, String); N]) -> BTreeMap<String, String> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn agent_section(node: &Node) -> BTreeMap<String, String> {
    let clock = Clock::now(node.now());
    section([
        ("name", node.name().to_owned()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("addr", node.advertise_addr().to_string()),
        ("uptime_seconds", node.now().since_start().as_secs().to_string()),
        ("wall_clock_ms", (clock.unix_now_ns / 1_000_000).to_string()),
    ])
}

async fn health_section(node: &Node) -> BTreeMap<String, String> {
    let stats = node.stats().await;
    section([
        ("health_score", stats.health_score.to_string()),
        ("membership_queue", stats.membership_queue.to_string()),
        ("intent_queue", stats.intent_queue.to_string()),
        ("event_queue", stats.event_queue.to_string()),
        ("query_queue", stats.query_queue.to_string()),
        ("encrypted", stats.encrypted.to_string()),
    ])
}

async fn settings_section(node: &Node) -> BTreeMap<String, String> {
    let Some(config) = node.config().await else { return BTreeMap::new() };
    section([
        ("udp_buffer_size", config.udp_buffer_size.to_string()),
        ("probe_interval_ms", config.probe_interval.as_millis().to_string()),
        ("probe_timeout_ms", config.probe_timeout.as_millis().to_string()),
        ("tombstone_timeout_seconds", config.tombstone_timeout.as_secs().to_string()),
        ("label", config.label),
    ])
}

async fn add_dropped(node: &Node, sections: &mut Stats) {
    let Some(dropped) = node.last_dropped_packet().await else { return };
    let seconds = node.now().since(dropped.at).as_secs().to_string();
    let dropped = section([
        ("from", dropped.from.to_string()),
        ("seconds_ago", seconds),
        ("error", dropped.error.to_string()),
    ]);
    sections.insert("dropped".to_owned(), dropped);
}

async fn add_keys(node: &Node, sections: &mut Stats) {
    if !node.stats().await.encrypted {
        return;
    }
    let health = sections.entry("health".to_owned()).or_default();
    let report = match tokio::time::timeout(KEYS_PATIENCE, node.list_keys()).await {
        Ok(Ok(report)) => report,
        Ok(Err(refusal)) => {
            health.insert("keys_failure".to_owned(), refusal.to_string());
            return;
        }
        Err(_elapsed) => {
            let text = format!("not all members told their keys within {} seconds", KEYS_PATIENCE.as_secs());
            health.insert("keys_failure".to_owned(), text);
            return;
        }
    };
    health.insert("keys_asked".to_owned(), report.nodes.to_string());
    health.insert("keys_answered".to_owned(), report.responses.to_string());
    let counts = |counts: &BTreeMap<String, usize>| {
        counts.iter().map(|(key, count)| (key.clone(), count.to_string())).collect()
    };
    sections.insert("keys".to_owned(), counts(&report.keys));
    sections.insert("primary_keys".to_owned(), counts(&report.primary_keys));
    sections.insert("key_messages".to_owned(), report.messages);
}
