//! How long a cluster may take to agree once faults stop, derived from its settings.
//!
//! Serf's rules heal by chance: which member is tried next, with whom state is exchanged next. Such a bound therefore
//! holds with a probability; here each part is wide enough that it fails less than once in 10^9 tries. Most clusters
//! agree far sooner: [`typical_healing`] says how soon.

use std::time::Duration;

use thane_core::Config;

use crate::healing::Division;
use crate::portable::{exp, ln};

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
/// 6. **Steadiness**, where [`thane_core::Detector::unsteady`] is on: the last trials end, their complaints count for 60 probe intervals, and as many
///    must pass without two of them. (thane-core: `node/steady.rs`.)
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
        + if config.detector.unsteady { config.probe_interval * UNSTEADY_INTERVALS } else { Duration::ZERO }
}

/// Probe intervals after which an unsteady member is steady again everywhere, once it answers: a trial, and twice what a complaint is kept for.
const UNSTEADY_INTERVALS: u32 = 10 + 2 * 60;
/// How much rarer than a failed member one is asked that was forgotten as failed. (thane-core: `node/rejoin.rs`.)
const LOST_INTERVALS: f64 = 4.0;
/// Most forgotten members that one node asks at one time. (The same.)
const LOST_ASKED_AT_ONCE: f64 = 8.0;

/// The longest time from the end of a partition until its two sides are one cluster again, whatever it lasted, with packets lost
/// all the while.
///
/// It is the sum of what may have to happen one after the other:
///
/// 1. **Old streams die**, and those who were just being probed are found: `3 × tcp_timeout` and one probe of the longest kind.
/// 2. **Meetings.** Let a side have `a` living members and the other `b`, and `d` be the dead that both remember. Each
///    `reconnect_interval` every member of the one side tries, with probability `min(1, (b + d) / a)`, one of the `b + d` that it holds for
///    failed: together they reach the other side `min(a, b + d) × b / (b + d)` times an interval, and the other side them likewise.
///    A stream comes about although packets are lost, with probability `(1 - loss)²` at least. Two meetings are needed, as the
///    first only raises the incarnations of those who are held for dead; each takes `PATIENCE` over that rate.
///    After a partition of `reconnect_timeout` both sides have forgotten each other, and ask by a ping every
///    fourth interval, each member `(b + d) / a` of the lost, at most eight. One meeting suffices then, as nobody is held for dead any more.
/// 3. **A suspicion** of the longest kind: what a state exchange says of the dead begins with one. Twice, as hearsay may meet hearsay.
/// 4. **Gossip** of what the meeting brought, twice, slowed by loss.
/// 5. **Anti-entropy** for the share of members that gossip misses: `q = e^(-R (1 - q))` when each hearer passes a message on
///    `R = (1 - loss) × retransmit limit` times (the final size of an epidemic). A member that missed it exchanges state with one that did
///    not within `1 + PATIENCE / ln(1 / q)` push/pull intervals.
///
/// With the LAN profile and without loss: 16 min for two nodes, 7 min for 50 and 11 min for 500 divided in halves. After three days and
/// with 30 % loss: 96 min for two nodes, 16 min for 500.
pub fn healing_bound(config: &Config, division: &Division) -> Duration {
    let n = division.hosts;
    let kept = (1.0 - division.loss).max(0.1);
    let dead = division.dead_seeds as f64;
    let (here, there) = ((division.here as f64 - dead).max(1.0), (n - division.here) as f64);
    let met = |a: f64, b: f64, most: f64| a * ((b + dead) / a).min(most) * b / (b + dead);
    let rate = (met(here, there, 1.0) + met(there, here, 1.0)) * kept.powi(2);
    let mut meetings = config.reconnect_interval.mul_f64(2.0 * PATIENCE / rate + 2.0);
    let found = suspicion_max(config, n) * 2 + config.probe_interval * n as u32;
    if division.lasting + found >= config.reconnect_timeout {
        // A ping, its ack and the stream that follows.
        let rate =
            (met(here, there, LOST_ASKED_AT_ONCE) + met(there, here, LOST_ASKED_AT_ONCE)) * kept.powi(4);
        let interval = config.reconnect_interval.mul_f64(LOST_INTERVALS);
        meetings = meetings.max(interval.mul_f64(PATIENCE / rate + 2.0));
    }
    let sick = config.probe_interval * config.awareness_max_multiplier;
    config.tcp_timeout * 3
        + sick
        + meetings
        + suspicion_max(config, n) * 2
        + gossip_time(config, n).mul_f64(2.0 / kept)
        + anti_entropy_after_gossip(config, n, kept)
}

/// Time in which anti-entropy reaches those whom gossip missed. `kept` is the share of packets that arrive.
fn anti_entropy_after_gossip(config: &Config, n: usize, kept: f64) -> Duration {
    let passed_on = kept * transmits(config, n);
    // The final size of an epidemic, from above.
    let missed = (0..50).fold(0.5, |missed: f64, _| exp(-passed_on * (1.0 - missed)));
    let rounds = 1.0 + PATIENCE / ln(1.0 / missed.clamp(1e-9, 0.9));
    push_pull_interval(config, n).mul_f64(rounds)
}

/// How often a hearer passes a message on. (memberlist: `util.go`, retransmitLimit.)
fn transmits(config: &Config, n: usize) -> f64 {
    f64::from(config.retransmit_mult) * ((n + 1) as f64).log10().ceil()
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
    config.gossip_interval.mul_f64(transmits(config, n) * (n.max(2) as f64).log2().ceil())
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
