//! The network between hosts: how long packets take, which are lost, doubled or overtaken, and who can reach whom.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rng::SimRng;
use crate::scenario::span;
use crate::world::HostId;

/// How good the network is. Change it at any time through [`crate::World::network_mut`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// The shortest time a packet takes.
    #[serde(with = "span")]
    pub latency: Duration,
    /// Up to this much is added to each packet, each amount equally likely. Packets closer together than this may overtake.
    #[serde(with = "span")]
    pub jitter: Duration,
    /// Share of packets that are lost, 0 to 1. Streams survive it: what is lost is sent again, later.
    pub loss: f64,
    /// Share of packets that arrive twice, 0 to 1.
    pub duplication: f64,
    /// Share of packets that are held back, 0 to 1, so that later ones overtake them.
    pub reordering: f64,
    /// The longest time that a packet is held back by `reordering`.
    #[serde(with = "span")]
    pub reordering_delay: Duration,
    /// Share of writes to a stream during which the stream breaks, 0 to 1.
    pub stream_breaks: f64,
    /// Share of a stream's deliveries that bring only a part of the bytes, cut anywhere, 0 to 1.
    pub stream_splits: f64,
}

impl Quality {
    /// A local network in good order: 0.2 to 0.5 ms, nothing lost. Streams still arrive in pieces, as they may.
    pub fn good() -> Self {
        Self {
            latency: Duration::from_micros(200),
            jitter: Duration::from_micros(300),
            loss: 0.0,
            duplication: 0.0,
            reordering: 0.0,
            reordering_delay: Duration::ZERO,
            stream_breaks: 0.0,
            stream_splits: 0.3,
        }
    }
}

/// The state of the network: its quality, and who is cut off from whom.
#[derive(Debug, Clone)]
pub struct Network {
    /// How good it is.
    pub quality: Quality,
    /// The side of the partition each host is on; hosts on different sides cannot talk. Missing hosts are on side 0.
    sides: Vec<u32>,
    /// Pairs (from, to) that are cut in this one direction.
    cuts: BTreeSet<(HostId, HostId)>,
}

/// How a packet fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives after this long, and perhaps once more after the second.
    Arrives { after: Duration, again: Option<Duration>, held_back: bool },
    /// Bad luck.
    Lost,
    /// No way there at the moment.
    Cut,
}

impl Network {
    /// A network without partitions.
    pub fn new(quality: Quality) -> Self {
        Self { quality, sides: Vec::new(), cuts: BTreeSet::new() }
    }

    /// Puts these hosts on a side of their own: nobody else reaches them, or they anybody else.
    pub fn isolate(&mut self, hosts: &[HostId]) {
        let side = self.sides.iter().max().map_or(1, |greatest| greatest + 1);
        for host in hosts {
            let index = host.index();
            if self.sides.len() <= index {
                self.sides.resize(index + 1, 0);
            }
            self.sides[index] = side;
        }
    }

    /// Cuts one direction only: what `from` sends does not reach `to`.
    pub fn cut_one_way(&mut self, from: HostId, to: HostId) {
        self.cuts.insert((from, to));
    }

    /// Ends every partition and one-way cut.
    pub fn heal(&mut self) {
        self.sides.clear();
        self.cuts.clear();
    }

    /// Whether a packet sent now has a way there. A host always reaches itself.
    pub fn reaches(&self, from: HostId, to: HostId) -> bool {
        from == to || (self.side(from) == self.side(to) && !self.cuts.contains(&(from, to)))
    }

    /// Whether there is a way there and back, as a stream needs.
    pub fn connects(&self, a: HostId, b: HostId) -> bool {
        self.reaches(a, b) && self.reaches(b, a)
    }

    fn side(&self, host: HostId) -> u32 {
        self.sides.get(host.index()).copied().unwrap_or(0)
    }

    /// How long one packet takes, without faults.
    pub(crate) fn delay(&self, rng: &mut SimRng) -> Duration {
        rng.span(self.quality.latency, self.quality.latency + self.quality.jitter)
    }

    pub(crate) fn packet_fate(&self, rng: &mut SimRng, from: HostId, to: HostId) -> Fate {
        if !self.reaches(from, to) {
            return Fate::Cut;
        }
        if from != to && rng.chance(self.quality.loss) {
            return Fate::Lost;
        }
        let mut after = self.delay(rng);
        let held_back = rng.chance(self.quality.reordering);
        if held_back {
            after += rng.span(Duration::ZERO, self.quality.reordering_delay);
        }
        let again = rng
            .chance(self.quality.duplication)
            .then(|| self.delay(rng) + rng.span(Duration::ZERO, self.quality.reordering_delay));
        Fate::Arrives { after, again, held_back }
    }

    /// How long a piece of a stream takes: what the network loses is sent again after 0.2 s, 0.4 s, 0.8 s and so on.
    pub(crate) fn stream_delay(&self, rng: &mut SimRng) -> Duration {
        let mut delay = self.delay(rng);
        let mut again = Duration::from_millis(200);
        // Ten losses in a row would be an outage, not loss.
        for _ in 0..10 {
            if !rng.chance(self.quality.loss) {
                break;
            }
            delay += again;
            again *= 2;
        }
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_cut_both_ways_and_one_way_cuts_only_one() {
        let [a, b, c] = [0, 1, 2].map(HostId);
        let mut network = Network::new(Quality::good());
        network.isolate(&[b]);
        assert!(!network.reaches(a, b) && !network.reaches(b, a) && network.connects(a, c));
        network.isolate(&[c]);
        assert!(!network.reaches(b, c), "two isolated groups do not reach each other");
        network.heal();
        network.cut_one_way(a, c);
        assert!(!network.reaches(a, c) && network.reaches(c, a) && !network.connects(c, a));
        network.heal();
        assert!(network.connects(a, b) && network.connects(a, c));
    }

    #[test]
    fn faults_come_about_as_often_as_asked() {
        let mut quality = Quality::good();
        (quality.loss, quality.duplication, quality.reordering) = (0.3, 0.5, 0.2);
        let (network, mut rng) = (Network::new(quality), SimRng::new(1, "test", 0));
        let (mut lost, mut doubled, mut held) = (0, 0, 0);
        for _ in 0..10_000 {
            match network.packet_fate(&mut rng, HostId(0), HostId(1)) {
                Fate::Lost => lost += 1,
                Fate::Arrives { again, held_back, .. } => {
                    doubled += i32::from(again.is_some());
                    held += i32::from(held_back);
                }
                Fate::Cut => panic!("nothing is cut"),
            }
        }
        assert!((2700..3300).contains(&lost), "{lost} of 10000 lost");
        assert!((3200..3800).contains(&doubled), "{doubled} of 7000 doubled");
        assert!((1200..1600).contains(&held), "{held} of 7000 held back");
    }
}
