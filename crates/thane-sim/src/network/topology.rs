//! How far apart hosts are.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::latency::Latency;
use super::loss::Loss;
use super::matrix::Matrix;
use crate::rng::SimRng;
use crate::world::HostId;

/// How far apart hosts are: what is added to [`super::Quality::latency`] for a packet from one host to another.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Topology {
    /// All side by side: nothing is added.
    #[default]
    Flat,
    /// In zones.
    Zones(Zones),
    /// At measured places: the first host at the first place, and so on; after the last place the first again. Half of
    /// the round-trip time is added in each direction.
    Matrix {
        /// The times.
        rtt: Matrix,
        /// Up to this share is added to each packet's time, each share equally likely.
        #[serde(default)]
        spread: f64,
    },
}

/// Hosts in zones, say data centres. Within a zone nothing is added to the network's latency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zones {
    /// The zones, in the order in which hosts fill them.
    pub zones: Vec<Zone>,
    /// What lies between particular zones.
    #[serde(default)]
    pub links: Vec<ZoneLink>,
    /// What lies between all other zones: latency, one way. None by default.
    #[serde(default = "zero")]
    pub latency: Latency,
}

fn zero() -> Latency {
    Latency::ZERO
}

/// A zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// How many hosts it takes before the next zone's turn comes. After the last zone the first takes that many again. So 1 in
    /// each zone deals hosts out evenly.
    #[serde(default = "one")]
    pub hosts: usize,
}

fn one() -> usize {
    1
}

/// What lies between two zones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoneLink {
    /// From this zone, by its name.
    pub from: String,
    /// To this one.
    pub to: String,
    /// Whether it holds for this direction only.
    #[serde(default)]
    pub one_way: bool,
    /// Latency, one way.
    pub latency: Latency,
    /// What is lost, besides what the network loses everywhere.
    #[serde(default = "none")]
    pub loss: Loss,
}

fn none() -> Loss {
    Loss::NONE
}

impl Zones {
    /// Evenly filled zones of these names, this far apart.
    pub fn even(names: &[&str], latency: Latency) -> Self {
        let zones = names.iter().map(|name| Zone { name: (*name).to_owned(), hosts: 1 }).collect();
        Self { zones, links: Vec::new(), latency }
    }

    /// The zone of a host.
    ///
    /// # Panics
    /// When there are no zones, or none takes any hosts.
    pub fn zone_of(&self, host: HostId) -> &Zone {
        let total: usize = self.zones.iter().map(|zone| zone.hosts).sum();
        assert!(total > 0, "zones that take no hosts");
        let mut place = host.index() % total;
        for zone in &self.zones {
            if place < zone.hosts {
                return zone;
            }
            place -= zone.hosts;
        }
        unreachable!("invariant: the place is within the sum");
    }

    /// What lies between the zones of two hosts: the link that names them, if one does, and its number. A later link overrules
    /// an earlier one.
    fn link(&self, from: HostId, to: HostId) -> Option<(usize, &ZoneLink)> {
        let (from, to) = (&self.zone_of(from).name, &self.zone_of(to).name);
        let fits = |it: &ZoneLink| {
            (it.from == *from && it.to == *to) || (!it.one_way && it.from == *to && it.to == *from)
        };
        self.links.iter().enumerate().rev().find(|(_, link)| fits(link))
    }
}

impl Topology {
    /// What a packet's way adds to its time.
    pub(super) fn delay(&self, from: HostId, to: HostId, rng: &mut SimRng) -> Duration {
        match self {
            Self::Flat => Duration::ZERO,
            Self::Zones(zones) => match zones.link(from, to) {
                Some((_, link)) => link.latency.draw(rng),
                None if zones.zone_of(from).name == zones.zone_of(to).name => Duration::ZERO,
                None => zones.latency.draw(rng),
            },
            Self::Matrix { rtt, spread } => {
                let half = rtt.rtt(from.index(), to.index()) / 2;
                if *spread > 0.0 { half.mul_f64(1.0 + spread * rng.unit()) } else { half }
            }
        }
    }

    /// What its way loses besides, and a number for that way's link.
    pub(super) fn loss(&self, from: HostId, to: HostId) -> Option<(usize, Loss)> {
        let Self::Zones(zones) = self else { return None };
        let (number, link) = zones.link(from, to)?;
        (!link.loss.is_none()).then_some((number, link.loss))
    }
}
