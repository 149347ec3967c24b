//! A member as the application sees it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use thane_wire::tags::{self, Tags};

use crate::time::Time;

/// What Serf's users see of a member. (Serf: `serf.go`, `MemberStatus`.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// In the cluster, suspected or not.
    Alive,
    /// Has announced that it leaves.
    Leaving,
    /// Has left.
    Left,
    /// Has failed.
    Failed,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Alive => "alive",
            Self::Leaving => "leaving",
            Self::Left => "left",
            Self::Failed => "failed",
        })
    }
}

/// What the failure detector holds of a member. (memberlist: `state.go`.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Answers probes, as far as we know.
    Alive,
    /// Accused; it has until the suspicion's end to refute.
    Suspect,
    /// Declared dead.
    Dead,
    /// Left by its own word.
    Left,
    /// No longer remembered by the detector; Serf's layer still lists it as failed or left.
    Forgotten,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Dead => "dead",
            Self::Left => "left",
            Self::Forgotten => "forgotten",
        })
    }
}

/// The protocol versions that a member announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Versions {
    /// Least memberlist protocol understood.
    pub protocol_min: u8,
    /// Greatest memberlist protocol understood.
    pub protocol_max: u8,
    /// memberlist protocol spoken.
    pub protocol_current: u8,
    /// Least Serf protocol understood.
    pub delegate_min: u8,
    /// Greatest Serf protocol understood.
    pub delegate_max: u8,
    /// Serf protocol spoken.
    pub delegate_current: u8,
}

impl Versions {
    pub(crate) fn from_bytes(b: [u8; 6]) -> Self {
        Self {
            protocol_min: b[0],
            protocol_max: b[1],
            protocol_current: b[2],
            delegate_min: b[3],
            delegate_max: b[4],
            delegate_current: b[5],
        }
    }
}

/// A member at one moment. Cheap to clone: name and metadata are shared.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its name, unique in the cluster.
    pub name: Arc<str>,
    /// The address that it announces. IPv4 addresses are always shown as such, however they were announced.
    pub addr: SocketAddr,
    /// Its tags as they came; see [`Member::tags`].
    pub meta: Bytes,
    /// What Serf's users see.
    pub status: Status,
    /// What the failure detector holds.
    pub state: State,
    /// When the detector's state last changed.
    pub state_since: Time,
    /// Its incarnation: only the member itself raises it, to refute.
    pub incarnation: u32,
    /// Lamport time of the last intent that was applied to it.
    pub status_ltime: u64,
    /// Protocol versions.
    pub versions: Versions,
    /// Its address on a network that we are on as well ([`crate::Config::networks`]), if it is not the one that it announces.
    pub route: Option<Arc<SocketAddr>>,
}

impl Member {
    /// Where this node sends to it.
    pub fn reached_at(&self) -> SocketAddr {
        self.route.as_deref().copied().unwrap_or(self.addr)
    }

    /// Decodes its tags.
    pub fn tags(&self) -> Tags {
        tags::decode(&self.meta)
    }
}
