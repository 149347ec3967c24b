//! The protocol's arithmetic, as pure functions.

use std::time::Duration;

/// How often one broadcast is sent in a cluster of `n` members. (memberlist: `util.go`, retransmitLimit.)
pub(crate) fn retransmit_limit(mult: u32, n: usize) -> u32 {
    mult * ceil_log10_of_next(n)
}

/// The shortest suspicion in a cluster of `n`. (memberlist: `util.go`, suspicionTimeout.)
pub(crate) fn suspicion_timeout(mult: u32, n: usize, interval: Duration) -> Duration {
    let scale_thousandths = (1000.0 * (n.max(1) as f64).log10().max(1.0)).floor() as u128;
    let nanos = u128::from(mult) * scale_thousandths * interval.as_nanos() / 1000;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// How long a suspect has in total once `confirmations` of the hoped-for `k` have come. (Lifeguard, section 4, "LHA-Suspicion";
/// memberlist: `suspicion.go`, remainingSuspicionTime, without the elapsed part.)
pub(crate) fn suspicion_total(confirmations: u32, k: u32, min: Duration, max: Duration) -> Duration {
    if k == 0 {
        return min;
    }
    let fraction = (f64::from(confirmations) + 1.0).ln() / (f64::from(k) + 1.0).ln();
    let seconds = max.as_secs_f64() - fraction * (max.as_secs_f64() - min.as_secs_f64());
    // memberlist cuts to whole milliseconds.
    let total = Duration::from_millis((seconds.max(0.0) * 1000.0).floor() as u64);
    total.max(min)
}

/// By how much the time between state exchanges is stretched. (memberlist: `util.go`, pushPullScale.)
pub(crate) fn push_pull_scale(n: usize) -> u32 {
    const THRESHOLD: usize = 32;
    if n <= THRESHOLD { 1 } else { ((n as f64).log2() - 5.0).ceil() as u32 + 1 }
}

/// How long a query may be answered by default. (Serf: `query.go`, `DefaultQueryTimeout`.)
pub(crate) fn query_timeout(gossip_interval: Duration, mult: u32, n: usize) -> Duration {
    gossip_interval * mult * ceil_log10_of_next(n).max(1)
}

/// How likely a member is to try one of the failed now: all members together try each about once an interval. May exceed 1.
/// (Serf: `serf.go`, reconnect; in single precision, as there.)
pub(crate) fn reconnect_chance(members: usize, failed: usize, left: usize) -> f32 {
    let others = members.saturating_sub(failed + left).max(1);
    failed as f32 / others as f32
}

/// `ceil(log10(n + 1))` without rounding errors: the number of decimal digits of `n`, 0 for 0.
fn ceil_log10_of_next(n: usize) -> u32 {
    n.checked_ilog10().map_or(0, |digits| digits + 1)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::Config;

    /// Rows that the real implementation computed.
    fn recorded(formula: &str) -> Vec<Value> {
        let all: Value = serde_json::from_str(include_str!("../tests/vectors/gossip/formulas.json")).unwrap();
        let rows = all[formula].as_array().unwrap();
        assert!(rows.len() > 10, "{formula}");
        rows.clone()
    }

    #[test]
    fn every_recorded_row_is_ours_too() {
        let number = |row: &Value, field: &str| row[field].as_u64().unwrap();
        let ms = |row: &Value, field: &str| Duration::from_millis(number(row, field));
        for row in recorded("retransmit_limit") {
            let got = retransmit_limit(number(&row, "mult") as u32, number(&row, "n") as usize);
            assert_eq!(u64::from(got), number(&row, "limit"), "{row}");
        }
        for row in recorded("push_pull_scale") {
            let got = push_pull_scale(number(&row, "n") as usize);
            assert_eq!(u64::from(got), number(&row, "multiplier"), "{row}");
        }
        for row in recorded("suspicion_timeout") {
            let (mult, n) = (number(&row, "mult") as u32, number(&row, "n") as usize);
            let got = suspicion_timeout(mult, n, ms(&row, "interval_ms"));
            assert_eq!(got, Duration::from_nanos(number(&row, "timeout_ns")), "{row}");
        }
        for row in recorded("remaining_suspicion") {
            let (n, k) = (number(&row, "n") as u32, number(&row, "k") as u32);
            let total = suspicion_total(n, k, ms(&row, "min_ms"), ms(&row, "max_ms"));
            let remaining = total.as_millis() as i64 - number(&row, "elapsed_ms") as i64;
            assert_eq!(remaining, row["remaining_ms"].as_i64().unwrap(), "{row}");
        }
        let all = ["retransmit_limit", "push_pull_scale", "suspicion_timeout", "remaining_suspicion"];
        let cases: usize = all.iter().map(|formula| recorded(formula).len()).sum();
        eprintln!("compat: formulas | cases={cases} same={cases} listed=0");
    }

    fn serfs(formula: &str) -> Vec<Value> {
        let all: Value = serde_json::from_str(include_str!("../tests/vectors/serf/small.json")).unwrap();
        all[formula].as_array().unwrap().clone()
    }

    #[test]
    fn failed_members_are_tried_as_often_as_recorded() {
        let rows = serfs("reconnect_probability");
        assert_eq!(rows.len(), 6);
        for row in &rows {
            let number = |field: &str| row[field].as_u64().unwrap() as usize;
            let got = reconnect_chance(number("members"), number("failed"), number("left"));
            let wanted = row["probability"].as_f64().unwrap();
            assert_eq!(f64::from(got).to_bits(), wanted.to_bits(), "{row}: {got}");
        }
        eprintln!("compat: chance to try a failed member | cases={0} same={0} listed=0", rows.len());
    }

    #[test]
    fn queries_live_as_long_as_recorded() {
        let all: Value = serde_json::from_str(include_str!("../tests/vectors/serf/queries.json")).unwrap();
        let rows = all["default_timeouts"].as_array().unwrap();
        assert_eq!(rows.len(), 18);
        let at = "127.0.0.1:7946".parse().unwrap();
        let presets = [
            ("lan_ms", Config::lan("a", at)),
            ("wan_ms", Config::wan("a", at)),
            ("local_ms", Config::local("a", at)),
        ];
        for row in rows {
            let number = |field: &str| row[field].as_u64().unwrap();
            for (field, config) in &presets {
                let members = number("alive_members") as usize;
                let got = query_timeout(config.gossip_interval, config.query_timeout_mult, members);
                assert_eq!(got, Duration::from_millis(number(field)), "{row} {field}");
            }
        }
        eprintln!("compat: default timeouts of queries | cases={0} same={0} listed=0", rows.len());
    }

    /// Rows of Serf's own copy of the formula, by its count of members.
    #[test]
    fn serfs_retransmissions_are_the_same() {
        let rows = serfs("retransmit_limit");
        for row in &rows {
            let members = row["known_members"].as_u64().unwrap() as usize;
            for (mult, field) in [(4, "mult_4"), (2, "mult_2")] {
                let got = retransmit_limit(mult, members);
                assert_eq!(u64::from(got), row[field].as_u64().unwrap(), "{row}");
            }
        }
        eprintln!("compat: Serf's retransmit limit | cases={0} same={0} listed=0", rows.len());
    }

    #[test]
    fn retransmissions_follow_the_digits_of_the_cluster_size() {
        for (mult, n, wanted) in [(3, 0, 0), (3, 1, 3), (3, 99, 6), (4, 9, 4), (4, 10, 8), (4, 100, 12)] {
            assert_eq!(retransmit_limit(mult, n), wanted, "mult {mult}, n {n}");
        }
    }

    /// memberlist: `util_test.go`, `TestSuspicionTimeout`.
    #[test]
    fn suspicion_grows_with_the_logarithm_of_the_cluster() {
        let cases = [(5, 3000), (10, 3000), (50, 5094), (100, 6000), (500, 8094), (1000, 9000)];
        for (n, wanted_ms) in cases {
            let got = suspicion_timeout(3, n, Duration::from_secs(1));
            assert_eq!(got, Duration::from_millis(wanted_ms), "n {n}");
        }
    }

    /// memberlist: `suspicion_test.go`, with k 3, min 2 s, max 30 s; the table there subtracts the elapsed time.
    #[test]
    fn confirmations_shorten_a_suspicion() {
        let cases = [(0, 30_000), (1, 16_000), (2, 7_810), (3, 2_000), (4, 2_000)];
        for (confirmations, wanted_ms) in cases {
            let got = suspicion_total(confirmations, 3, Duration::from_secs(2), Duration::from_secs(30));
            assert_eq!(got, Duration::from_millis(wanted_ms), "confirmations {confirmations}");
        }
        let got = suspicion_total(0, 0, Duration::from_secs(2), Duration::from_secs(30));
        assert_eq!(got, Duration::from_secs(2), "without hope for confirmations the shortest time applies");
    }

    #[test]
    fn exchanges_become_rarer_in_large_clusters() {
        for (n, wanted) in [(0, 1), (32, 1), (33, 2), (64, 2), (65, 3), (128, 3)] {
            assert_eq!(push_pull_scale(n), wanted, "n {n}");
        }
    }

    #[test]
    fn queries_live_longer_in_larger_clusters() {
        let ms = Duration::from_millis;
        for (n, wanted) in [(1, 3_200), (9, 3_200), (10, 6_400), (99, 6_400), (100, 9_600)] {
            assert_eq!(query_timeout(ms(200), 16, n), ms(wanted), "n {n}");
        }
    }
}
