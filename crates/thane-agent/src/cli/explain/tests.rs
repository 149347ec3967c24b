use thane_wire::rpc::Answered;

use super::*;

const SECOND: i64 = 1_000_000_000;
/// 2026-11-21 03:12:20 UTC.
const NOW: i64 = 1_795_230_740 * SECOND;

fn record(ago_s: i64, state: &str, kind: &str, text: &str) -> EvidenceRecord {
    EvidenceRecord {
        at_ns: NOW - ago_s * SECOND,
        state: state.to_owned(),
        incarnation: 1,
        kind: kind.to_owned(),
        text: text.to_owned(),
        ..EvidenceRecord::default()
    }
}

fn failed() -> Explanation {
    let mut probe = record(17, "suspect", "probe-failed", "no answer to web-1's own probe");
    probe.by = vec!["web-1".to_owned()];
    probe.path = "local".to_owned();
    probe.health = 1;
    probe.rtt_ns = Some(412_345);
    probe.relays = ["db-1", "db-2", "web-2"].map(str::to_owned).into();
    probe.nacked = ["db-1", "web-2"].map(str::to_owned).into();
    probe.tcp = "refused".to_owned();
    let mut expired =
        record(12, "dead", "suspicion-expired", "it did not refute within 4.8s, so web-1 declared it failed");
    expired.by = vec!["web-1".to_owned(), "db-2".to_owned()];
    expired.path = "local".to_owned();
    expired.timeout_ns = Some(4_800_000_000);
    let mut joined = record(
        90_000,
        "alive",
        "joined",
        "joined with incarnation 1, heard in a state exchange with db-2 (10.0.0.4:7946)",
    );
    joined.path = "push-pull".to_owned();
    joined.from = "10.0.0.4:7946".to_owned();
    joined.health = 2;
    Explanation {
        agent: "web-1".to_owned(),
        health: 0,
        now_ns: NOW,
        name: "db-1".to_owned(),
        addr: "10.0.0.3:7946".to_owned(),
        reached_at: "10.0.0.3:7946".to_owned(),
        network: String::new(),
        status: "failed".to_owned(),
        state: "dead".to_owned(),
        since_ns: NOW - 12 * SECOND,
        incarnation: 1,
        verdict_ns: None,
        answered: Some(Answered {
            at_ns: NOW - 18 * SECOND,
            rtt_ns: Some(412_345),
            way: "direct".to_owned(),
        }),
        evidence: vec![joined, probe, expired],
        advice: vec![
            "TCP to 10.0.0.3:7946 was refused: the machine lives and the process is gone.".to_owned(),
        ],
    }
}

#[test]
fn a_failed_member_is_told_as_a_timeline() {
    let text = as_text(&failed(), &TimeZone::UTC, 80);
    let expected = "\
db-1 (10.0.0.3:7946) is failed since 03:12:08 (12s ago), as web-1 sees it.
Its last answer to a probe of web-1 came at 03:12:02 (18s ago), round trip
0.4ms.

2026-11-20 02:12:20  25h ago  alive    joined with incarnation 1, heard in a
                                       state exchange with db-2 (10.0.0.4:7946)
                                       (this agent's own health score was 2).
           03:12:03  17s ago  suspect  no answer to web-1's own probe.
           03:12:08  12s ago  dead     it did not refute within 4.8s, so web-1
                                       declared it failed.

What to look at:
- TCP to 10.0.0.3:7946 was refused: the machine lives and the process is gone.";
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn a_suspect_is_told_how_long_it_has() {
    let mut why = failed();
    why.status = "alive".to_owned();
    why.state = "suspect".to_owned();
    why.verdict_ns = Some(NOW + 3_500_000_000);
    why.answered = None;
    why.evidence.clear();
    why.advice.clear();
    let expected = "\
db-1 (10.0.0.3:7946) is suspected to have failed since 03:12:08 (12s ago), as web-1 sees it.
Unless it refutes, it is declared failed within 3.5s.
It has never answered a probe of web-1.

web-1 has seen no change of db-1.";
    assert_eq!(as_text(&why, &TimeZone::UTC, 100), expected);
    (why.reached_at, why.network) = ("192.168.7.3:7946".to_owned(), "site".to_owned());
    let text = as_text(&why, &TimeZone::UTC, 100);
    assert_eq!(text.lines().nth(1), Some("web-1 reaches it at 192.168.7.3:7946, on network site."));
}

#[test]
fn json_has_the_documented_shape() {
    let expected = r#"{
  "agent": "web-1",
  "agent_health_score": 0,
  "now": "2026-11-21T03:12:20.000Z",
  "member": {
    "name": "db-1",
    "addr": "10.0.0.3:7946",
    "reached_at": "192.168.7.3:7946",
    "network": "site",
    "status": "failed",
    "state": "dead",
    "since": "2026-11-21T03:12:08.000Z",
    "incarnation": 1,
    "verdict_at": null
  },
  "last_answer": {
    "at": "2026-11-21T03:12:02.000Z",
    "way": "direct",
    "rtt_ms": 0.412
  },
  "evidence": [
    {
      "at": "2026-11-21T03:12:03.000Z",
      "seconds_ago": 17.0,
      "kind": "probe-failed",
      "state": "suspect",
      "incarnation": 1,
      "text": "no answer to web-1's own probe",
      "by": [
        "web-1"
      ],
      "path": "local",
      "from": "",
      "agent_health_score": 1,
      "rtt_ms": 0.412,
      "probe": {
        "relays": [
          "db-1",
          "db-2",
          "web-2"
        ],
        "nacked": [
          "db-1",
          "web-2"
        ],
        "tcp": "refused"
      }
    },
    {
      "at": "2026-11-21T03:12:08.000Z",
      "seconds_ago": 12.0,
      "kind": "suspicion-expired",
      "state": "dead",
      "incarnation": 1,
      "text": "it did not refute within 4.8s, so web-1 declared it failed",
      "by": [
        "web-1",
        "db-2"
      ],
      "path": "local",
      "from": "",
      "agent_health_score": 0,
      "rtt_ms": null,
      "timeout_seconds": 4.8
    }
  ],
  "advice": [
    "TCP to 10.0.0.3:7946 was refused: the machine lives and the process is gone."
  ]
}"#;
    let mut why = failed();
    why.evidence.remove(0);
    (why.reached_at, why.network) = ("192.168.7.3:7946".to_owned(), "site".to_owned());
    assert_eq!(as_json(&Document::of(&why)).unwrap(), expected);
}
