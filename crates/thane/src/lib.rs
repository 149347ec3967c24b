//! Cluster membership to embed: find the other members of a service, hear when one joins, leaves or fails, and tell all
//! of them something. It lives in a [Serf](https://github.com/hashicorp/serf) cluster as an equal, beside Serf's agents.
//!
//! ```no_run
//! use thane::{Event, Node};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let (node, mut events) = Node::builder().name("web-1").tag("role", "web").start_with_events().await?;
//! node.join(["10.0.0.7", "seed.example:7946"]).await?;
//! while let Some(event) = events.next().await {
//!     match event {
//!         Event::Joined(change) => println!("{} is at {}", change.member.name, change.member.addr),
//!         Event::Failed(change) => println!("{} failed: {:?}", change.member.name, change.cause),
//!         other => println!("{other:?}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! * [`Node::builder`] has the settings; [`Config`] has all of them.
//! * [`Node`] is a handle: [`Node::join`], [`Node::members`], [`Node::user_event`], [`Node::set_tags`], [`Node::leave`].
//! * [`Node::query`] asks some or all members and gives their answers as they come; [`Event::Query`] is to be answered.
//! * [`Node::install_key`] and its neighbours change the keys of the whole cluster.
//! * [`Builder::delegate`] gives the application a say in who is admitted and how long the gone are remembered.
//! * [`Builder::snapshot_path`] has a restarted node find its cluster by itself; [`Builder::seeds`] has any node find it by
//!   DNS names, looked up anew whenever nobody else is left.
//! * [`Events`] is a subscription. Its queue is bounded: who does not read misses events and is told so, and never slows
//!   the node.
//!
//! # Leaving, stopping, dropping
//!
//! [`Node::leave`] tells the cluster that the node goes on purpose; it stays up to answer the others. [`Node::shutdown`]
//! stops it and frees its ports. Without a leave before it, the others see the node fail after some seconds, which is
//! right for a crash and wrong for a deployment. Dropping the last handle is a shutdown that nobody waits for.
//!
//! # What runs
//!
//! One tokio task owns the protocol's state machine ([`thane_core`], which does no I/O) and both sockets; each TCP stream
//! has a task of its own, and all of them end with the node. Current-thread and multi-thread runtimes both work, and
//! several nodes may run in one process: there is no global state. Log lines go to [`tracing`] under the targets
//! `thane::memberlist`, `thane::serf` and `thane::driver`, with the fields `kind`, `member` and `suppressed`.
//!
//! A bug of ours never takes the process down: the node stops, says why in one error line, and [`Node::stopped`] returns
//! [`Stopped::Failed`].

mod addr;
mod advertise;
mod builder;
mod driver;
mod error;
mod events;
pub mod files;
mod keyring_file;
mod keys;
#[cfg(test)]
#[cfg(unix)]
mod killed;
mod log;
mod machine;
mod node;
mod query;
mod recorder;
mod resolve;
mod snapshot;
mod sockets;
mod streams;

pub use addr::DEFAULT_PORT;
pub use advertise::machine_ip;
pub use builder::{Builder, Profile};
pub use driver::IoCounters;
pub use error::{
    ForceLeaveError, JoinError, KeysError, LeaveError, QueryError, RespondError, SetTagsError, StartError,
};
pub use events::{CoalescedEvent, Coalescer, EVENT_QUEUE_MAX, Event, Events, Missed};
pub use node::{Coalesce, JoinReport, Node, Stopped};
pub use query::{IncomingQuery, Query, QueryReplies, REPLY_QUEUE_MAX, Reply};
pub use thane_core::{
    AnswerWay, BroadcastTimeout, Candidate, Cause, Change, CoalesceConfig, CommandError, Config, ConfigError,
    Coordinate, Counters, Delegate, Detector, DroppedPacket, Evidence, ExchangeError, JoinFailure, Key,
    KeyCommand, KeyError, KeyReport, Keyring, LastAnswer, Layer, Level, LifeState, Measure, Measurement,
    Measurements, Member, MemberEventKind, NAME_BYTES_MAX, NETWORKS_MAX, NETWORKS_TAG, Network, Notice, Path,
    Pattern, PatternError, Periods, ProbeFailure, Prune, Relay, Replay, State, Stats, Status, StopReason,
    Tags, TcpProbe, Time, USER_EVENT_BYTES_MAX, UnknownDetector, UserEvent, Versions, Veto, announced_tags,
    shared_network,
};

/// Recordings of nodes ([`Builder::record`]), to read and to play again. What they hold is in the core's terms.
pub mod recording {
    pub use thane_core::recording::*;
    pub use thane_core::{Answer, Event, Input, Node, Outcome, Output};
}

/// The README's example must compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
