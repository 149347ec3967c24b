//! What holds for every packet, wherever it comes from and goes to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::latency::Latency;
use super::loss::Loss;
use crate::span;

/// How good the network is. Change it at any time through [`crate::World::network_mut`]. Fields that TOML or JSON leave out are
/// those of [`Quality::good`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quality {
    /// How long a packet takes, on top of what the [`super::Topology`] adds for how far apart two hosts are.
    pub latency: Latency,
    /// Which packets are lost. Streams survive it: what is lost is sent again, later.
    pub loss: Loss,
    /// Share of packets that arrive twice, 0 to 1.
    pub duplication: f64,
    /// Share of packets that are held back, 0 to 1, so that later ones overtake them.
    pub reordering: f64,
    /// The longest time that a packet is held back by `reordering`.
    #[serde(with = "span")]
    pub reordering_delay: Duration,
    /// The largest IP packet, in bytes; larger ones are lost, as with "do not fragment" and no word back. Streams fit themselves
    /// into it.
    pub mtu: Option<usize>,
    /// What each host's line out carries.
    pub bandwidth: Option<Bandwidth>,
    /// Share of writes to a stream during which the stream breaks, 0 to 1.
    pub stream_breaks: f64,
    /// Share of a stream's deliveries that bring only a part of the bytes, cut anywhere, 0 to 1.
    pub stream_splits: f64,
}

/// What a line carries. A packet takes its length divided by the rate to be sent, after all that were sent before it; when
/// more bytes than the queue holds wait, it is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bandwidth {
    /// Rate in bytes a second, IP and UDP headers (28 bytes a packet) included.
    pub bytes_per_second: u64,
    /// How many bytes may wait.
    pub queue_bytes: u64,
}

impl Quality {
    /// A local network in good order: 0.2 to 0.5 ms, nothing lost. Streams still arrive in pieces, as they may.
    pub fn good() -> Self {
        Self {
            latency: Latency::Uniform { from: Duration::from_micros(200), to: Duration::from_micros(500) },
            loss: Loss::NONE,
            duplication: 0.0,
            reordering: 0.0,
            reordering_delay: Duration::ZERO,
            mtu: None,
            bandwidth: None,
            stream_breaks: 0.0,
            stream_splits: 0.3,
        }
    }
}

impl Default for Quality {
    fn default() -> Self {
        Self::good()
    }
}
