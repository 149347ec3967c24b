//! How long a cluster may take to agree once faults stop, derived from its settings.
//!
//! Serf's rules heal by chance: which member is tried next, with whom state is exchanged next. Such a bound therefore
//! holds with a probability; here each part is wide enough that it fails less than once in 10^9 tries. Most clusters
//! agree far sooner: [`typical_healing`] says how soon.

use std::time::Duration;

use thane_core::Config;

/// −ln(10⁻⁹): a part that succeeds with probability p a round takes at most this many divided by p rounds.
const PATIENCE: f64 = 20.8;

/// The longest time from the moment the last fault stops until all views agree, in a cluster of up to `n` names.
///
/// It is the sum of what may have to happen one after the other:
///
/// 1. **Old streams die**: one that hangs since before, `tcp_timeout`, in each of its three stages.
/// 2. **Detection.** A member that is dead for good is probed at the latest when the probe ring comes round: `n` probes,
///    each of which takes up to `probe_interval × awareness_max_multiplier` at a node that believes itself sick. Then it
///    has the longest suspicion: `suspicion_max_timeout_mult × suspicion_mult × max(1, log10 n) × probe_interval`. Hearsay
///    from a state exchange also begins with a suspicion, so it may come twice.
/// 3. **Reconnection.** Each `reconnect_interval` a node tries with probability `min(1, failed / alive)` one of its failed
///    members, each equally likely: so any one of them with probability `≥ 1 / n`. A meeting of two sides that hold each other
///    for dead only raises both incarnations; the next one brings the news. That makes two meetings, of
///    `n × PATIENCE` rounds at most.
/// 4. **Anti-entropy.** News that gossip no longer carries spreads by push/pull. Each round at least half of those that
///    do not know yet meet one that does, once half of all know: `log2 n` doublings, then `PATIENCE / ln 2` halvings, of one
///    (stretched) `push_pull_interval` each.
/// 5. **Gossip** of what these produce: twice the time that a message is retransmitted.
pub fn convergence_bound(config: &Config, n: usize) -> Duration {
    let names = n.max(2) as f64;
    let streams = config.tcp_timeout * 3;
    let ring = config.probe_interval.mul_f64(names * f64::from(config.awareness_max_multiplier));
    let reconnection = config.reconnect_interval.mul_f64(2.0 * names * PATIENCE);
    streams
        + ring
        + suspicion_max(config, n) * 2
        + reconnection
        + anti_entropy(config, n)
        + gossip_time(config, n) * 2
}

/// The time within which most clusters agree once faults stop: half of all runs must be no slower.
///
/// Where each side holds the other for dead, the smaller one tries at every reconnect interval, and two meetings are
/// needed; a suspicion and two state exchanges follow.
pub fn typical_healing(config: &Config, n: usize) -> Duration {
    config.reconnect_interval * 3 + suspicion_max(config, n) + push_pull_interval(config, n) * 2
}

/// The longest time from a user event to its delivery by all, in a cluster that has agreed and has no faults: gossip
/// reaches all or nearly all, anti-entropy the rest (see [`convergence_bound`]).
pub fn event_spread_bound(config: &Config, n: usize) -> Duration {
    gossip_time(config, n) * 2 + anti_entropy(config, n)
}

/// The longest suspicion of a member in a cluster of `n`. (memberlist: `state.go`, suspectNode.)
pub fn suspicion_max(config: &Config, n: usize) -> Duration {
    let stretch = (n.max(1) as f64).log10().max(1.0);
    config
        .probe_interval
        .mul_f64(f64::from(config.suspicion_mult) * f64::from(config.suspicion_max_timeout_mult) * stretch)
}

/// Time between state exchanges in a cluster of `n`. (memberlist: `util.go`, pushPullScale.)
pub fn push_pull_interval(config: &Config, n: usize) -> Duration {
    let stretch = if n <= 32 { 1.0 } else { ((n as f64).log2() - 5.0).ceil() + 1.0 };
    config.push_pull_interval.mul_f64(stretch)
}

/// Time during which a message is passed on: as many rounds as it is retransmitted, and each of the `log2 n` generations
/// of hearers begins that anew.
fn gossip_time(config: &Config, n: usize) -> Duration {
    let transmits = f64::from(config.retransmit_mult) * ((n + 1) as f64).log10().ceil();
    config.gossip_interval.mul_f64(transmits * (n.max(2) as f64).log2().ceil())
}

fn anti_entropy(config: &Config, n: usize) -> Duration {
    let rounds = (n.max(2) as f64).log2().ceil() + PATIENCE / std::f64::consts::LN_2;
    push_pull_interval(config, n).mul_f64(rounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lan() -> Config {
        Config::lan("a", "10.0.0.1:7946".parse().unwrap())
    }

    #[test]
    fn suspicion_and_push_pull_follow_the_published_tables() {
        // memberlist's numbers: 24 s up to 10 members, 48 s at 100, 72 s at 1000.
        for (n, seconds) in [(1, 24), (10, 24), (100, 48), (1000, 72)] {
            assert_eq!(suspicion_max(&lan(), n), Duration::from_secs(seconds), "{n} members");
        }
        for (n, stretch) in [(2, 1), (32, 1), (33, 2), (64, 2), (65, 3), (128, 3), (129, 4)] {
            assert_eq!(push_pull_interval(&lan(), n), Duration::from_secs(30) * stretch, "{n} members");
        }
    }

    #[test]
    fn bounds_grow_with_the_cluster_and_with_the_settings() {
        let mut slow = lan();
        slow.reconnect_interval *= 2;
        assert!(convergence_bound(&slow, 10) > convergence_bound(&lan(), 10));
        assert!(convergence_bound(&lan(), 20) > convergence_bound(&lan(), 10));
        assert!(typical_healing(&lan(), 10) < convergence_bound(&lan(), 3));
        assert!(event_spread_bound(&lan(), 10) < convergence_bound(&lan(), 3));
    }
}
