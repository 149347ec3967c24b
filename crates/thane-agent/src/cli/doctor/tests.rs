use std::collections::BTreeMap;

use thane_wire::rpc::EvidenceRecord;

use super::*;
use crate::client::{Explanation, Member};

fn member(name: &str, last_octet: u8, status: &str) -> Member {
    Member {
        name: name.to_owned(),
        addr: Some(vec![10, 0, 0, last_octet]),
        port: 7946,
        status: status.to_owned(),
        versions: [1, 5, 2, 2, 5, 4],
        ..Member::default()
    }
}

fn view(name: &str, members: &[(&str, u8, &str)], values: &[(&str, &str, &str)]) -> View {
    let mut diagnosis: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let fixed =
        [("agent", "name", name), ("agent", "uptime_seconds", "100000"), ("recent", "window_seconds", "600")];
    for (section, key, value) in fixed.iter().chain(values) {
        diagnosis.entry((*section).to_owned()).or_default().insert((*key).to_owned(), (*value).to_owned());
    }
    let members = members.iter().map(|(name, octet, status)| member(name, *octet, status)).collect();
    View { rpc_addr: format!("{name}:7373"), members, diagnosis, clock_ahead_ms: 0 }
}

const ALIVE: &[(&str, u8, &str)] = &[("a", 1, "alive"), ("b", 2, "alive")];

/// What was found; scripts may rely on the words, so each must be in the document.
fn kinds(findings: &[Finding]) -> Vec<(&'static str, Severity)> {
    let document = include_str!("../../../../../docs/json.md");
    for finding in findings {
        assert!(document.contains(&format!("`{}`", finding.kind)), "docs/json.md lacks {}", finding.kind);
    }
    findings.iter().map(|finding| (finding.kind, finding.severity)).collect()
}

/// What is found in a view of `a` with these values.
fn check(values: &[(&str, &str, &str)], wanted: &[(&'static str, Severity)]) {
    let findings = checks::all(&view("a", ALIVE, values), &[], &[]);
    assert_eq!(kinds(&findings), wanted, "{values:?}");
    assert!(
        findings.iter().all(|finding| !finding.what.is_empty() && finding.remedy.len() > 20),
        "{findings:?}"
    );
}

#[test]
fn a_healthy_agent_has_no_findings() {
    check(
        &[("recent", "probes", "600"), ("total", "probes", "100000"), ("health", "encrypted", "false")],
        &[],
    );
}

#[test]
fn what_counts_lately_matters_and_what_was_long_ago_is_a_note() {
    for (counter, kind, severity) in [
        ("packets_undecryptable", "undecryptable", Severity::Error),
        ("packets_mislabeled", "wrong-label", Severity::Warning),
        ("name_conflicts", "name-conflict", Severity::Error),
        ("pauses", "paused", Severity::Warning),
        ("lamport_jumps_refused", "clock-jump", Severity::Warning),
        ("io_send_errors", "send-errors", Severity::Warning),
        ("agent_handler_events_dropped", "handler-drops", Severity::Warning),
        ("agent_rpc_records_dropped", "rpc-drops", Severity::Warning),
    ] {
        check(&[("recent", counter, "3"), ("total", counter, "9")], &[(kind, severity)]);
        check(&[("recent", counter, "0"), ("total", counter, "9")], &[(kind, Severity::Note)]);
    }
}

#[test]
fn dropped_packets_are_told_once_by_their_reason_and_with_their_sender() {
    let values = [
        ("recent", "packets_dropped", "5"),
        ("total", "packets_dropped", "5"),
        ("recent", "packets_undecryptable", "5"),
        ("total", "packets_undecryptable", "5"),
        ("dropped", "from", "10.0.0.9:7946"),
        ("dropped", "seconds_ago", "3"),
        ("dropped", "error", "none of our 1 keys opens the envelope"),
    ];
    check(&values, &[("undecryptable", Severity::Error)]);
    let findings = checks::all(&view("a", ALIVE, &values), &[], &[]);
    assert!(findings[0].what.contains("came 3.0s ago from 10.0.0.9:7946: none of our"), "{findings:?}");
    check(
        &[("recent", "packets_dropped", "1"), ("total", "packets_dropped", "1")],
        &[("unreadable", Severity::Warning)],
    );
}

#[test]
fn health_queues_ports_and_packet_sizes_are_looked_at() {
    check(&[("health", "health_score", "2")], &[("unhealthy", Severity::Warning)]);
    check(&[("health", "event_queue", "128")], &[]);
    check(&[("health", "event_queue", "129")], &[("queue-depth", Severity::Warning)]);
    check(&[("tcp_only", "b", "10.0.0.2:7946")], &[("udp-blocked", Severity::Warning)]);
    check(&[("settings", "udp_buffer_size", "1400")], &[]);
    check(&[("settings", "udp_buffer_size", "9000")], &[("packet-size", Severity::Note)]);
    check(
        &[("settings", "udp_buffer_size", "9000"), ("recent", "probes_answered_by_tcp_only", "1")],
        &[("packet-size", Severity::Warning)],
    );
}

#[test]
fn keys_must_be_on_all_members_and_one_of_them_in_use() {
    let encrypted = ("health", "encrypted", "true");
    let (asked, answered) = (("health", "keys_asked", "3"), ("health", "keys_answered", "3"));
    let good = [encrypted, asked, answered, ("keys", "K1", "3"), ("primary_keys", "K1", "3")];
    check(&good, &[]);
    check(
        &[encrypted, asked, answered, ("keys", "K1", "3"), ("keys", "K2", "2")],
        &[("key-coverage", Severity::Error)],
    );
    check(
        &[encrypted, asked, answered, ("primary_keys", "K1", "2"), ("primary_keys", "K2", "1")],
        &[("primary-keys-differ", Severity::Warning)],
    );
    check(&[encrypted, asked, ("health", "keys_answered", "2")], &[("keys-silent", Severity::Warning)]);
    check(
        &[encrypted, ("health", "keys_failure", "too many queries")],
        &[("keys-unknown", Severity::Warning)],
    );
}

#[test]
fn a_report_tells_keys_apart_without_giving_them_away() {
    let (first, second) =
        ("T9jncgl9mbLus+baTTa7q7nPSUrXwbDi2dhbtqir37s=", "mP5l5NpJ6SKQB0bP7DRfk6aJeT6x604J3ToJKJYH1Fs=");
    let values = [
        ("health", "encrypted", "true"),
        ("health", "keys_asked", "3"),
        ("health", "keys_answered", "3"),
        ("keys", first, "2"),
        ("keys", second, "3"),
        ("primary_keys", first, "1"),
        ("primary_keys", second, "2"),
    ];
    let own = view("a", ALIVE, &values);
    let findings = checks::all(&own, &[], &[]);
    assert_eq!(
        kinds(&findings),
        [("key-coverage", Severity::Error), ("primary-keys-differ", Severity::Warning)]
    );
    assert_eq!(findings[0].subject, "key T9jn...");
    assert_eq!(findings[1].what, "members seal with different keys: T9jn... by 1, mP5l... by 2");
    let report = Report { own: &own, peers: &[], findings: &findings, unchecked: Vec::new() };
    for text in [report.as_text(10_000), as_json(&report.document()).unwrap()] {
        assert!(!text.contains(&first[..5]) && !text.contains(&second[..5]), "{text}");
    }
}

#[test]
fn streams_that_fail_while_nobody_does_mean_a_closed_port() {
    check(&[("recent", "streams_failed", "2"), ("total", "streams_failed", "9")], &[]);
    check(&[("recent", "streams_failed", "3")], &[("streams-failed", Severity::Warning)]);
    let own = view(
        "a",
        &[("a", 1, "alive"), ("b", 2, "failed"), ("c", 3, "alive")],
        &[("recent", "streams_failed", "3")],
    );
    let mut found = kinds(&checks::all(&own, &[], &[]));
    found.retain(|(kind, _)| *kind != "member-failed");
    assert_eq!(found, [("streams-failed", Severity::Note)]);
}

#[test]
fn what_is_not_measured_is_said() {
    let own = view("a", ALIVE, &[("settings", "udp_buffer_size", "1400"), ("health", "encrypted", "true")]);
    let unchecked = checks::unchecked(&own, &[view("b", ALIVE, &[])]);
    assert_eq!(unchecked.len(), 1, "{unchecked:?}");
    assert!(
        unchecked[0].starts_with("the MTU of the paths") && unchecked[0].contains("-s 1400"),
        "{unchecked:?}"
    );
}

#[test]
fn versions_that_differ_are_a_note() {
    let mut own = view("a", ALIVE, &[]);
    own.members[1].versions = [1, 5, 2, 2, 4, 4];
    assert_eq!(kinds(&checks::all(&own, &[], &[])), [], "what is understood may differ");
    own.members[1].versions[5] = 5;
    assert_eq!(kinds(&checks::all(&own, &[], &[])), [("versions-differ", Severity::Note)]);
}

#[test]
fn an_agent_without_company_is_told_so() {
    let own = view("a", &[("a", 1, "alive")], &[]);
    assert_eq!(kinds(&checks::all(&own, &[], &[])), [("alone", Severity::Note)]);
    let own = view("a", &[("a", 1, "alive"), ("b", 2, "left")], &[]);
    assert_eq!(kinds(&checks::all(&own, &[], &[])), [("alone", Severity::Error)]);
}

#[test]
fn views_are_compared_member_by_member() {
    let own = view("a", &[("a", 1, "alive"), ("b", 2, "alive"), ("c", 3, "failed"), ("d", 4, "left")], &[]);
    let mut peer =
        view("b", &[("a", 1, "alive"), ("b", 2, "alive"), ("c", 3, "alive"), ("e", 5, "alive")], &[]);
    peer.clock_ahead_ms = -5_000;
    let findings = checks::all(&own, &[], &[peer]);
    let seen: Vec<(&str, &str, &str)> = findings
        .iter()
        .map(|finding| (finding.kind, finding.subject.as_str(), finding.what.as_str()))
        .filter(|(kind, ..)| *kind != "member-failed")
        .collect();
    assert_eq!(
        seen,
        [
            ("views-differ", "c", "a holds it for failed, b for alive"),
            ("views-differ", "e", "b holds it for alive, a does not know it"),
            ("clocks-differ", "b", "its wall clock is 5.0s behind that of a"),
        ]
    );
    let moved = view("b", &[("a", 1, "alive"), ("b", 9, "alive")], &[]);
    let findings = checks::all(&view("a", ALIVE, &[]), &[], &[moved]);
    assert_eq!(findings[0].what, "a has it at 10.0.0.2:7946, b at 10.0.0.9:7946");
    let strangers = view("z", &[("z", 9, "alive")], &[]);
    let findings = checks::all(&view("a", ALIVE, &[]), &[], &[strangers]);
    assert_eq!(findings[0].what, "a and z do not know each other: they are in different clusters");
}

fn failed_b() -> Explanation {
    let record = EvidenceRecord {
        at_ns: 5_000_000_000,
        state: "suspect".to_owned(),
        kind: "probe-failed".to_owned(),
        text: "no answer".to_owned(),
        ..EvidenceRecord::default()
    };
    Explanation {
        agent: "a".to_owned(),
        now_ns: 20_000_000_000,
        name: "b".to_owned(),
        addr: "10.0.0.2:7946".to_owned(),
        reached_at: "10.0.0.2:7946".to_owned(),
        status: "failed".to_owned(),
        state: "dead".to_owned(),
        since_ns: 8_000_000_000,
        evidence: vec![record],
        advice: vec!["Start it.".to_owned()],
        ..Explanation::default()
    }
}

#[test]
fn members_in_trouble_are_told_with_their_cause() {
    let own = view("a", &[("a", 1, "alive"), ("b", 2, "failed"), ("c", 3, "alive")], &[]);
    let mut why = failed_b();
    let wanted = Finding::new(
        Severity::Error,
        "member-failed",
        "b (10.0.0.2:7946)",
        "failed 12s ago: no answer",
        "Start it. 'thane explain b' tells all.",
    );
    assert_eq!(checks::all(&own, &[why.clone()], &[]), [wanted]);
    (why.status, why.state) = ("alive".to_owned(), "suspect".to_owned());
    let own = view("a", ALIVE, &[]);
    assert_eq!(kinds(&checks::all(&own, &[why.clone()], &[])), [("member-suspect", Severity::Warning)]);
    why.status = "leaving".to_owned();
    assert_eq!(kinds(&checks::all(&own, &[why.clone()], &[])), [("member-leaving", Severity::Note)]);
    why.now_ns = 100_000_000_000;
    assert_eq!(kinds(&checks::all(&own, &[why], &[])), [("member-stuck-leaving", Severity::Warning)]);
}

#[test]
fn the_report_reads_well_and_has_the_documented_shape() {
    let own = view("a", &[("a", 1, "alive"), ("b", 2, "failed"), ("c", 3, "alive")], &[]);
    let findings = checks::all(&own, &[failed_b()], &[]);
    let report = Report {
        own: &own,
        peers: &[],
        findings: &findings,
        unchecked: vec!["keys: encryption is off at a".to_owned()],
    };
    let text = "\
a sees 3 members, 2 of them alive: 1 error.

error    b (10.0.0.2:7946): failed 12s ago: no answer
         -> Start it. 'thane explain b' tells all.

Not looked at:
- keys: encryption is off at a";
    assert_eq!(report.as_text(80), text);
    let json = r#"{
  "agent": "a",
  "healthy": false,
  "views": [
    "a"
  ],
  "findings": [
    {
      "severity": "error",
      "kind": "member-failed",
      "subject": "b (10.0.0.2:7946)",
      "what": "failed 12s ago: no answer",
      "remedy": "Start it. 'thane explain b' tells all."
    }
  ],
  "unchecked": [
    "keys: encryption is off at a"
  ]
}"#;
    assert_eq!(as_json(&report.document()).unwrap(), json);
}
