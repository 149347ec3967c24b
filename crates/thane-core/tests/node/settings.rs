//! Settings at their limits. They come from outside as well: a recording has them at its front.

use std::time::Duration;

use thane_core::{Config, State, Time};

use super::support::{Bench, addr_of, alive, suspect};

/// The longest span, and the largest multiplier or number of members.
const SPAN_MAX: Duration = Duration::from_nanos(i64::MAX as u64);
const FACTOR_MAX: u32 = 10_000;

fn problems(change: impl Fn(&mut Config)) -> Vec<&'static str> {
    let mut config = Config::lan("a", addr_of(1));
    change(&mut config);
    config.validate().err().unwrap_or_default().into_iter().map(|problem| problem.field).collect()
}

#[test]
fn numbers_that_no_cluster_needs_are_refused() {
    assert_eq!(problems(|_config| {}), [""; 0]);
    assert_eq!(problems(|config| config.gossip_nodes = usize::MAX), ["gossip_nodes"]);
    assert_eq!(
        problems(|config| config.suspicion_max_timeout_mult = FACTOR_MAX + 1),
        ["suspicion_max_timeout_mult"]
    );
    assert_eq!(problems(|config| config.reconnect_interval = Duration::MAX), ["reconnect_interval"]);
}

/// All spans and factors are the largest ones, but those of the probes and of gossip may be short.
fn largest(interval: Duration) -> Config {
    Config {
        tcp_timeout: SPAN_MAX,
        indirect_checks: FACTOR_MAX as usize,
        retransmit_mult: FACTOR_MAX,
        suspicion_mult: FACTOR_MAX,
        suspicion_max_timeout_mult: FACTOR_MAX,
        awareness_max_multiplier: FACTOR_MAX,
        query_timeout_mult: FACTOR_MAX,
        gossip_nodes: FACTOR_MAX as usize,
        push_pull_interval: SPAN_MAX,
        probe_interval: interval,
        probe_timeout: interval,
        gossip_interval: interval,
        gossip_to_the_dead_time: SPAN_MAX,
        dead_node_reclaim_time: SPAN_MAX,
        broadcast_timeout: SPAN_MAX,
        leave_propagate_delay: SPAN_MAX,
        reap_interval: SPAN_MAX,
        reconnect_interval: SPAN_MAX,
        reconnect_timeout: SPAN_MAX,
        tombstone_timeout: SPAN_MAX,
        flap_timeout: SPAN_MAX,
        recent_intent_timeout: SPAN_MAX,
        queue_check_interval: SPAN_MAX,
        max_queue_depth: usize::MAX,
        ..Config::lan("a", addr_of(1))
    }
}

#[test]
fn a_node_lives_with_the_largest_numbers() {
    for interval in [Duration::from_millis(1), Duration::from_secs(1), SPAN_MAX] {
        let mut bench = Bench::new(largest(interval));
        for n in 2..8 {
            let name = format!("m{n}");
            bench.tell(&alive(&name, 1, addr_of(n)));
            bench.tell(&suspect(&name, 1, "x"));
            assert_eq!(bench.node.member(&name).unwrap().state, State::Suspect);
        }
        // A recording that lasts longer is refused.
        let end = Time::from_start(Duration::from_secs(100 * 365 * 24 * 3600));
        for _wake in 0..200 {
            bench.now = bench.now.max(bench.node.poll_timeout()).min(end);
            bench.node.handle_timeout(bench.now);
            bench.collect();
        }
        assert!(bench.node.occupancy().all(|it| it.held <= it.limit));
    }
}
