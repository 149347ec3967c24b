//! The checks of an agent itself, by what it counts.

use super::finding::{Finding, Severity};
use super::view::View;
use crate::format::span;

/// Broadcasts in one queue from which Serf's agent warns, too. (Serf: `config.go`, `QueueDepthWarning`.)
const QUEUE_MAX: u64 = 128;

/// The packet size that passes almost every network unsplit.
const PACKET_BYTES: u64 = 1400;

/// Streams that fail now and then have many causes, a member that restarts or a port scan; with so many, something is closed.
const STREAMS_FAILED_MIN: u64 = 3;

/// A counter that should stay where it is.
struct Watched {
    counter: &'static str,
    severity: Severity,
    kind: &'static str,
    /// What was counted, after the number.
    what: &'static str,
    remedy: &'static str,
}

const WATCHED: &[Watched] = &[
    Watched {
        counter: "packets_undecryptable",
        severity: Severity::Error,
        kind: "undecryptable",
        what: "packets could not be decrypted with our keys, or came without encryption",
        remedy: "The sender has another key, or none: compare 'thane keys -list' and the key ring file there. A member that was down during a rotation needs the new key in its key ring.",
    },
    Watched {
        counter: "packets_mislabeled",
        severity: Severity::Warning,
        kind: "wrong-label",
        what: "packets bore another cluster's label, or none",
        remedy: "The sender belongs to another cluster, or one of the two has a wrong label; take the address of this agent out of its join list, or give both the same label.",
    },
    Watched {
        counter: "packets_dropped",
        severity: Severity::Warning,
        kind: "unreadable",
        what: "packets could not be read",
        remedy: "Something else than an agent sends to this port, or a sender encrypts while this agent has no key.",
    },
    Watched {
        counter: "name_conflicts",
        severity: Severity::Error,
        kind: "name-conflict",
        what: "announcements claimed a name that another address holds",
        remedy: "Two agents use one name: its log line 'is claimed by' names both addresses. Give one of them another -node name. After a member moved to another address this ends by itself.",
    },
    Watched {
        counter: "pauses",
        severity: Severity::Warning,
        kind: "paused",
        what: "times this agent did not run for longer than its probe interval",
        remedy: "The process was stopped, swapped out or starved, or its virtual machine was paused. Give it CPU and memory; others suspect it meanwhile.",
    },
    Watched {
        counter: "refutations",
        severity: Severity::Warning,
        kind: "accused",
        what: "times others accused this agent and it had to refute",
        remedy: "Its answers come late or get lost: look at this machine's load and network. 'thane explain' with its own name says who accuses it.",
    },
    Watched {
        counter: "lamport_jumps_refused",
        severity: Severity::Warning,
        kind: "clock-jump",
        what: "messages were refused because their Lamport time was absurdly far ahead",
        remedy: "A member sends corrupt or forged times; its log line names the sender.",
    },
    Watched {
        counter: "member_flaps",
        severity: Severity::Warning,
        kind: "flapping",
        what: "members failed or left and were back at once",
        remedy: "Look for processes that restart in a loop, and for a lossy network between.",
    },
    Watched {
        counter: "members_refused",
        severity: Severity::Warning,
        kind: "members-refused",
        what: "members were refused for an unusable address or versions that do not fit",
        remedy: "The agent's log says whom and why ('refused to admit').",
    },
    Watched {
        counter: "broadcasts_pruned",
        severity: Severity::Warning,
        kind: "broadcasts-lost",
        what: "messages were dropped because a queue was full",
        remedy: "More is sent than gossip can spread: send fewer and smaller events, or raise the queue limits.",
    },
    Watched {
        counter: "streams_refused",
        severity: Severity::Warning,
        kind: "streams-refused",
        what: "TCP connections of members were refused because too many were open",
        remedy: "Something opens connections and holds them: look who is connected to the gossip port.",
    },
    Watched {
        counter: "io_packets_unsent",
        severity: Severity::Warning,
        kind: "packets-unsent",
        what: "packets were lost because the system had no room to send them",
        remedy: "The network card or the socket buffer is overrun: look at this machine's traffic and net.core.wmem_max.",
    },
    Watched {
        counter: "io_send_errors",
        severity: Severity::Warning,
        kind: "send-errors",
        what: "packets were refused by the operating system when sending",
        remedy: "A firewall or a missing route of this machine refuses them; the log line 'could not be sent' names the address.",
    },
    Watched {
        counter: "io_accept_errors",
        severity: Severity::Warning,
        kind: "accept-errors",
        what: "connections could not be accepted",
        remedy: "Most often too few file descriptors: raise the limit (ulimit -n, LimitNOFILE).",
    },
    Watched {
        counter: "agent_handler_events_dropped",
        severity: Severity::Warning,
        kind: "handler-drops",
        what: "events were not given to an event handler that is too slow",
        remedy: "Make the script quick, or have it hand the work on; the log line 'is too slow' names it.",
    },
    Watched {
        counter: "agent_rpc_records_dropped",
        severity: Severity::Warning,
        kind: "rpc-drops",
        what: "records were not given to an RPC client that does not read",
        remedy: "The log line 'Dropping' names the client: it reads too slowly, or hangs.",
    },
];

/// All findings about the agent whose view this is.
pub(super) fn checks(view: &View) -> Vec<Finding> {
    let mut findings: Vec<Finding> = WATCHED.iter().filter_map(|watched| counted(view, watched)).collect();
    findings.extend(health(view));
    findings.extend(queues(view));
    findings.extend(packet_size(view));
    findings.extend(streams(view));
    findings
}

/// What was counted lately is a finding; what was only counted long ago is a note.
fn counted(view: &View, watched: &Watched) -> Option<Finding> {
    let number = |section: &str| {
        let count = view.number(section, watched.counter);
        // The sum of all drops, of which the others are parts that have their own finding.
        let parts = ["packets_undecryptable", "packets_mislabeled"];
        let parts: u64 = match watched.counter {
            "packets_dropped" => parts.iter().map(|part| view.number(section, part)).sum(),
            _ => 0,
        };
        count.saturating_sub(parts)
    };
    let (recent, total) = (number("recent"), number("total"));
    // "1 time", "2 times"; the other sentences read well enough with any number.
    let counted = |count: u64| match watched.what.strip_prefix("times ") {
        Some(rest) if count == 1 => format!("1 time {rest}"),
        _ => format!("{count} {}", watched.what),
    };
    let (severity, mut what) = match (recent, total) {
        (_, 0) => return None,
        (0, total) => {
            let uptime = span(view.uptime());
            (Severity::Note, format!("{} since its start {uptime} ago, none lately", counted(total)))
        }
        (recent, _) => (watched.severity, format!("{} in the last {}", counted(recent), span(view.window()))),
    };
    if watched.counter.starts_with("packets_") && !view.section("dropped").is_empty() {
        let (from, error) = (view.text("dropped", "from"), view.text("dropped", "error"));
        let ago = span(std::time::Duration::from_secs(view.number("dropped", "seconds_ago")));
        what = format!("{what}; the last packet that was dropped came {ago} ago from {from}: {error}");
    }
    Some(Finding::new(severity, watched.kind, view.name(), what, watched.remedy))
}

fn health(view: &View) -> Option<Finding> {
    let score = view.number("health", "health_score");
    if score == 0 {
        return None;
    }
    let what = format!("its health score is {score} (0 is healthy): it misses answers that it should get");
    let remedy = "It gives others more time now, and finds failures later. If it stays up, look at this machine's load and network; one that others do not find dead may be the one in trouble.";
    Some(Finding::new(Severity::Warning, "unhealthy", view.name(), what, remedy))
}

fn queues(view: &View) -> Vec<Finding> {
    let queues = ["membership_queue", "intent_queue", "event_queue", "query_queue"];
    let full = queues.into_iter().map(|queue| (queue, view.number("health", queue)));
    full.filter(|(_, depth)| *depth > QUEUE_MAX)
        .map(|(queue, depth)| {
            let what = format!("{depth} messages wait in its {}", queue.replace('_', " "));
            let remedy = "After a large join or a burst of events that passes in seconds. If it stays, more is sent than gossip can spread.";
            Finding::new(Severity::Warning, "queue-depth", view.name(), what, remedy)
        })
        .collect()
}

/// State exchanges and joins go over TCP. A closed TCP port fails nobody, since pings come through over UDP, and is seen in these
/// alone. (Pings over TCP are counted apart: a member that is paused answers none, and its port is open.)
fn streams(view: &View) -> Option<Finding> {
    let count = view.number("recent", "streams_failed");
    if count < STREAMS_FAILED_MIN {
        return None;
    }
    let mut what = format!("{count} TCP connections with members failed in the last {}", span(view.window()));
    let failed = view.members.iter().filter(|member| member.status == "failed").count();
    if failed > 0 {
        // It is tried again and again.
        what = format!("{what}; members that are failed ({failed}) may be why");
        let remedy = "See to the failed members first. If connections fail afterwards, too, the gossip port is closed for TCP.";
        return Some(Finding::new(Severity::Note, "streams-failed", view.name(), what, remedy));
    }
    let remedy = "UDP comes through, since no member is failed, so the gossip port (7946 unless set) is likely closed for TCP: open it between all machines, both ways. Joins and state exchanges need it. The log line 'a stream with' names the address and the reason; one of no member is a health check or a port scan.";
    Some(Finding::new(Severity::Warning, "streams-failed", view.name(), what, remedy))
}

fn packet_size(view: &View) -> Option<Finding> {
    let size = view.number("settings", "udp_buffer_size");
    if size <= PACKET_BYTES {
        return None;
    }
    let is_failing = view.number("recent", "io_send_errors") > 0
        || view.number("recent", "probes_answered_by_tcp_only") > 0;
    let severity = if is_failing { Severity::Warning } else { Severity::Note };
    let what = format!("its packets have up to {size} bytes, more than most networks pass unsplit");
    let remedy = "If members suspect each other although all are well, set udp_buffer_size to 1400 on all agents: packets that are split get lost more easily, or never pass.";
    Some(Finding::new(severity, "packet-size", view.name(), what, remedy))
}
