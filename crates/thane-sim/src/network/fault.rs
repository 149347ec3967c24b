//! Faults of some of the ways between hosts, for some time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::latency::Latency;
use super::loss::Loss;
use super::quality::Bandwidth;
use crate::span;
use crate::world::HostId;

/// A fault of the network between some hosts: from whom, to whom, and what happens to what is sent there.
///
/// A one-way fault names only `from` and `to`; a fault of one host's line out has `to = Hosts::All`; a partition is a
/// [`Effect::Cut`] between two sides, both ways; if some hosts are on neither side, they bridge it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkFault {
    /// Who sends.
    #[serde(default)]
    pub from: Hosts,
    /// Who should receive.
    #[serde(default)]
    pub to: Hosts,
    /// Whether the opposite direction has the fault too.
    #[serde(default)]
    pub both_ways: bool,
    /// What happens.
    pub effect: Effect,
    /// Whether it comes and goes.
    #[serde(default)]
    pub flapping: Option<Flapping>,
}

/// Some hosts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hosts {
    /// All.
    #[default]
    All,
    /// These, by number in the order in which they were added, from 0.
    Only(Vec<HostId>),
    /// All others.
    AllBut(Vec<HostId>),
}

/// What happens to packets. A host always reaches itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// None arrives. Streams need both directions.
    Cut,
    /// Some are lost besides those that the network loses everywhere.
    Loss(Loss),
    /// They take longer by this much.
    Delay(Latency),
    /// Share of packets that arrive twice, 0 to 1.
    Duplication(f64),
    /// Some are held back, so that later ones overtake them.
    Reordering {
        /// Share of packets, 0 to 1.
        share: f64,
        /// The longest time.
        #[serde(with = "span")]
        delay: Duration,
    },
    /// Larger IP packets than this many bytes are lost.
    Mtu(usize),
    /// A narrow line. Each sender that the fault names has one of its own; if it names no senders but receivers, each of these. Of a
    /// fault that concerns both ways each of them has a second one, for the other direction.
    Bandwidth(Bandwidth),
}

/// Whose line something goes through, and in which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Line {
    /// From this host.
    Out(HostId),
    /// To this host.
    In(HostId),
}

/// A fault that comes and goes; it begins with being there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flapping {
    /// How long it is there each time.
    #[serde(with = "span")]
    pub on: Duration,
    /// How long it is not.
    #[serde(with = "span")]
    pub off: Duration,
}

/// A fault that was made, to end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FaultId(pub(crate) u64);

impl Hosts {
    /// Whether this host is one of them.
    pub fn has(&self, host: HostId) -> bool {
        match self {
            Self::All => true,
            Self::Only(some) => some.contains(&host),
            Self::AllBut(some) => !some.contains(&host),
        }
    }
}

impl Hosts {
    fn named(&mut self) -> &mut [HostId] {
        match self {
            Self::All => &mut [],
            Self::Only(some) | Self::AllBut(some) => some,
        }
    }

    /// The same without those that `map` drops. `None` when none is left.
    fn with_hosts(&self, map: impl Fn(HostId) -> Option<HostId>) -> Option<Self> {
        let moved = |some: &[HostId]| some.iter().filter_map(|host| map(*host)).collect::<Vec<_>>();
        match self {
            Self::All => Some(Self::All),
            Self::Only(some) => Some(moved(some)).filter(|some| !some.is_empty()).map(Self::Only),
            Self::AllBut(some) => Some(Self::AllBut(moved(some))),
        }
    }
}

impl LinkFault {
    /// The hosts that it names.
    pub(crate) fn hosts_mut(&mut self) -> Vec<&mut HostId> {
        self.from.named().iter_mut().chain(self.to.named()).collect()
    }

    /// The same between other hosts. `None` when one side has none left.
    pub(crate) fn with_hosts(&self, map: impl Fn(HostId) -> Option<HostId>) -> Option<Self> {
        let (from, to) = (self.from.with_hosts(&map)?, self.to.with_hosts(&map)?);
        Some(Self { from, to, ..self.clone() })
    }

    /// What these hosts send to those is changed so.
    pub fn between(from: Hosts, to: Hosts, effect: Effect) -> Self {
        Self { from, to, both_ways: false, effect, flapping: None }
    }

    /// No host of one side reaches one of the other, and the other way round. Hosts on neither side reach both.
    pub fn partition(side: Vec<HostId>, other: Vec<HostId>) -> Self {
        Self { both_ways: true, ..Self::between(Hosts::Only(side), Hosts::Only(other), Effect::Cut) }
    }

    /// The same, coming and going.
    #[must_use]
    pub fn flapping(self, on: Duration, off: Duration) -> Self {
        Self { flapping: Some(Flapping { on, off }), ..self }
    }

    /// The line that what `from` sends to `to` goes through, where it concerns that: that of whom the fault names.
    pub(super) fn line(&self, from: HostId, to: HostId) -> Line {
        let is_forward = self.from.has(from) && self.to.has(to);
        let names_receivers = self.from == Hosts::All && self.to != Hosts::All;
        if is_forward == names_receivers { Line::In(to) } else { Line::Out(from) }
    }

    /// Whether it concerns what `from` sends to `to`.
    pub fn concerns(&self, from: HostId, to: HostId) -> bool {
        from != to
            && ((self.from.has(from) && self.to.has(to))
                || (self.both_ways && self.from.has(to) && self.to.has(from)))
    }
}
