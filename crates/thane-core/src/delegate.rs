//! What the application has a say in: who is admitted, who is told of a conflict, how long the gone are remembered.
//!
//! Source: Serf `merge_delegate.go` (`MergeDelegate`), `config.go` (`ReconnectTimeoutOverrider`); memberlist `merge_delegate.go`,
//! `alive_delegate.go`, `conflict_delegate.go`.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use thane_wire::gossip::{Alive, NodeState, NodeStateKind, ip_from_bytes};
use thane_wire::tags::{self, Tags};
use thiserror::Error;

use crate::member::{Member, State, Versions};

/// The application's say in what the node does; given with [`crate::Config::delegate`]. Each method has a default that changes nothing.
///
/// The node calls it in the middle of an input, so it must answer at once: while it thinks, no probe is answered. It must not panic;
/// that ends the node. What it remembers is its own affair (a `Mutex` will do, for the node is the only one who calls it). A
/// node is as deterministic as its delegate: in a simulation it should read no clock and draw nothing at random.
///
/// ```
/// use std::sync::Arc;
/// use thane_core::{Candidate, Config, Delegate, Veto};
///
/// /// Keeps another data centre's members out, whoever joins whom.
/// #[derive(Debug)]
/// struct OneDataCentre(String);
///
/// impl Delegate for OneDataCentre {
///     fn admit_member(&self, member: &Candidate<'_>) -> Result<(), Veto> {
///         if member.tags().get("dc") == Some(&self.0) {
///             return Ok(());
///         }
///         Err(Veto::new(format!("{} is not of {}", member.name, self.0)))
///     }
/// }
///
/// let mut config = Config::lan("a", "127.0.0.1:7946".parse().unwrap());
/// config.delegate = Some(Arc::new(OneDataCentre("north".into())));
/// ```
pub trait Delegate: fmt::Debug + Send + Sync {
    /// Whether this member, which has just been announced by gossip or in an exchange, may be one of us. A veto ignores the
    /// announcement. Asked at each, thus often about the same one. Never about ourselves, except that
    /// [`Delegate::admit_merge`], unless it is replaced, puts what the others know of us to it as well. A member that is vetoed only after
    /// it was admitted will fail, as its refutations are not heard. (memberlist: `AliveDelegate.NotifyAlive`.)
    ///
    /// # Errors
    /// The veto.
    fn admit_member(&self, member: &Candidate<'_>) -> Result<(), Veto> {
        let _ = member;
        Ok(())
    }

    /// Whether we may become one cluster with these: all that the other side of a join knows, in any state, perhaps an earlier life
    /// of ours among them. Asked in a join of ours, in somebody's with us, and when a failed member is reached again. A veto ends the
    /// exchange; nothing of it is taken over, and the other side is told the reason. By default each of them is put to
    /// [`Delegate::admit_member`]. (memberlist: `MergeDelegate.NotifyMerge`. Serf: `MergeDelegate`, which is this and
    /// [`Delegate::admit_member`] in one.)
    ///
    /// # Errors
    /// The veto.
    fn admit_merge(&self, members: &[Candidate<'_>]) -> Result<(), Veto> {
        members.iter().try_for_each(|member| self.admit_member(member))
    }

    /// A name that `holder` bears is claimed from another address; the claim is refused. Told at every such announcement, thus
    /// often. If the name is ours, the cluster is asked to vote next. (memberlist: `ConflictDelegate.NotifyConflict`.)
    fn name_conflict(&self, holder: &Member, claimant: &Candidate<'_>) {
        let _ = (holder, claimant);
    }

    /// How long this member, which has failed or left (see [`Member::status`]), is listed after it did. (One that failed is
    /// still asked now and then whether it is back.) `default` is
    /// [`crate::Config::reconnect_timeout`] or [`crate::Config::tombstone_timeout`]. Asked about each such member at every
    /// [`crate::Config::reap_interval`]. (Serf: `ReconnectTimeoutOverrider.ReconnectTimeout`.)
    fn forget_after(&self, member: &Member, default: Duration) -> Duration {
        let _ = member;
        default
    }
}

/// Why somebody is not admitted, in words that the other side will read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct Veto {
    reason: String,
}

impl Veto {
    /// A veto with this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// A member as others tell of it, before it is believed.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Candidate<'a> {
    /// The name that it bears.
    pub name: &'a str,
    /// Where it says it can be reached. IPv4 addresses are always shown as such, however they were announced.
    pub addr: SocketAddr,
    /// Its tags as they came; see [`Candidate::tags`].
    pub meta: &'a [u8],
    /// What the teller's failure detector holds; for an announcement [`State::Alive`].
    pub state: State,
    /// Its incarnation.
    pub incarnation: u32,
    /// Protocol versions; all zero if the teller does not know them.
    pub versions: Versions,
}

impl<'a> Candidate<'a> {
    /// Decodes its tags.
    pub fn tags(&self) -> Tags {
        tags::decode(self.meta)
    }

    /// From an announcement; `None` if its address cannot be used. `bind_port` stands in for port 0.
    pub(crate) fn announced(alive: &Alive<'a>, bind_port: u16) -> Option<Self> {
        Some(Self {
            name: alive.node,
            addr: addr(alive.addr, alive.port, bind_port)?,
            meta: alive.meta.unwrap_or_default(),
            state: State::Alive,
            incarnation: alive.incarnation,
            versions: versions(alive.versions),
        })
    }

    /// From a peer's table; `None` for what would not be taken over either.
    pub(crate) fn recorded(record: &NodeState<'a>, bind_port: u16) -> Option<Self> {
        let state = match record.state {
            NodeStateKind::Alive => State::Alive,
            NodeStateKind::Suspect => State::Suspect,
            NodeStateKind::Dead => State::Dead,
            NodeStateKind::Left => State::Left,
            _ => return None,
        };
        Some(Self {
            name: record.name,
            addr: addr(record.addr, record.port, bind_port)?,
            meta: record.meta.unwrap_or_default(),
            state,
            incarnation: record.incarnation,
            versions: versions(record.versions),
        })
    }
}

fn addr(ip: &[u8], port: u16, bind_port: u16) -> Option<SocketAddr> {
    let port = if port == 0 { bind_port } else { port };
    ip_from_bytes(ip).map(|ip| SocketAddr::new(ip.to_canonical(), port))
}

fn versions(bytes: &[u8]) -> Versions {
    bytes.first_chunk().map(|six| Versions::from_bytes(*six)).unwrap_or_default()
}
