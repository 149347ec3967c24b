//! Cluster membership as one deterministic state machine: SWIM with Lifeguard, and Serf's layer above it.
//!
//! A [`Node`] owns no socket, thread, clock, file or global randomness. Given the same configuration, [`Seed`] and
//! inputs it gives the same outputs, bit for bit: the driver in the crate `thane` and the simulator run the very same code.
//!
//! # The contract
//!
//! There are four kinds of methods:
//!
//! * **`handle_…`**: what the world did. A packet arrived, a stream connected, time passed.
//! * **commands** ([`Node::join`], [`Node::leave`], [`Node::user_event`], ...): what the application wants.
//! * **`poll_…`**: what the driver must do now ([`Node::poll_output`]) and when it must come back at the latest
//!   ([`Node::poll_timeout`]).
//! * **getters**, which change nothing.
//!
//! All of the first two kinds can be given as a value as well, an [`Input`] to [`Node::handle`]: for drivers that are recorded, and
//! for whoever draws inputs at random.
//!
//! The rule: **after every `handle_…` and every command, take outputs until there are none**, then wait for input or for
//! [`Node::poll_timeout`], whichever comes first. Outputs of one stream are in order; everything is in the order in which
//! it was decided. Time never goes back: a moment earlier than the last one is taken as the last one.
//!
//! ```
//! use thane_core::{Config, Node, Output, Seed, Time};
//!
//! let config = Config::lan("a", "127.0.0.1:7946".parse().unwrap());
//! let mut now = Time::ZERO;
//! let mut node = Node::new(config, Seed::from(7), now).unwrap();
//! // Our own join is the first thing we hear of.
//! assert!(matches!(node.poll_output(), Some(Output::Event(_))));
//! while let Some(output) = node.poll_output() {
//!     println!("the driver does {output:?}");
//! }
//! // One deadline, not many timers.
//! now = node.poll_timeout();
//! node.handle_timeout(now);
//! assert_eq!(node.members().count(), 1);
//! ```

mod awareness;
mod broadcast_queue;
mod coalesce;
mod config;
mod delegate;
mod detector;
mod entry;
mod event;
mod filter;
mod formulas;
mod input;
mod interner;
mod lamport;
mod measure;
mod member;
mod name_index;
mod networks;
mod node;
mod notice;
mod notice_limit;
mod output;
mod output_hash;
mod pattern;
mod query;
pub mod recording;
mod rng;
mod shared_state;
pub mod snapshot;
mod stats;
mod suspicion;
mod table;
mod time;
mod timers;
pub mod vivaldi;

pub use coalesce::{Coalescable, CoalesceConfig, CoalescedEvent, Coalescer, MemberEventKind, Periods};
pub use config::{Config, ConfigError, NAME_BYTES_MAX, USER_EVENT_BYTES_MAX};
pub use delegate::{Candidate, Delegate, Veto};
pub use detector::{Detector, UnknownDetector};
pub use event::{
    AnswerWay, Cause, Change, Event, LastAnswer, Path, ProbeFailure, Relay, TcpProbe, UserEvent,
};
pub use input::{Answer, Input};
pub use interner::Interner;
pub use measure::{Measure, Measurement, Measurements};
pub use member::{Member, State, Status, Versions};
pub use networks::{
    NETWORK_NAME_BYTES_MAX, NETWORKS_MAX, NETWORKS_TAG, Network, announced_tags, shared_network,
};
pub use node::{DroppedPacket, Evidence, LifeState, Node, Occupancy, Prune, Replay, StreamFailure};
pub use notice::{Layer, Level, Notice};
pub use output::{
    BroadcastTimeout, CommandError, ExchangeError, JoinFailure, OpId, Outcome, Output, StopReason, StreamId,
};
pub use output_hash::OutputHash;
pub use pattern::{Pattern, PatternError};
pub use query::{
    KeyCommand, KeyReport, QueryEnd, QueryEvent, QueryId, QueryParams, QueryReply, QueryToken, RespondError,
};
pub use rng::Seed;
pub use stats::{Counters, Stats};
pub use thane_wire::coordinate::Coordinate;
pub use thane_wire::tags::Tags;
pub use thane_wire::{Key, KeyError, Keyring};
pub use time::Time;
