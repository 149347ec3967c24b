//! A deterministic network of cores: virtual time, faults, invariants.
//!
//! A [`World`] runs many [`thane_core::Node`]s, the very code that runs in production, on virtual hosts. Time jumps from
//! one event to the next; the network between the hosts delays, loses, doubles, reorders and cuts ([`Network`]); hosts
//! start processes, crash, pause, slow down, go by wrong clocks ([`Clock`]), write to full disks ([`DiskFault`]) and come back
//! with or without their files; others lie ([`Byzantine`]). Everything is drawn from one seed, and the same seed gives the same run
//! bit for bit ([`World::trace_hash`]).
//!
//! ```
//! use std::time::Duration;
//! use thane_core::Replay;
//! use thane_sim::{Quality, World};
//!
//! let mut world = World::new(42, Quality::good());
//! let a = world.add_lan_host("a");
//! let b = world.add_lan_host("b");
//! world.start(a);
//! world.start(b);
//! let a_addr = world.addr(a);
//! world.command(b, |node, now| node.join(now, &[a_addr], Replay::Ignore));
//! let joined = world.run_until(Duration::from_secs(5), |world| {
//!     [a, b].iter().all(|host| world.node(*host).is_some_and(|node| node.stats().live == 2))
//! });
//! assert!(joined);
//! ```
//!
//! On top of it stand the things that find bugs: [`check`] holds the invariants as checkers that look on after every
//! step, [`bounds`] says how long the cluster may take to agree once faults stop, [`Scenario`] draws a mix of faults from
//! a seed and runs it under all checkers, and [`sweep`] does so for many seeds.

mod addresses;
pub mod bounds;
mod byzantine;
pub mod check;
mod clock;
mod disk;
mod drive;
mod gate;
pub mod healing;
pub mod lab;
mod network;
pub mod papers;
mod portable;
mod rng;
mod sabotage;
mod scenario;
mod schedule;
pub mod shrink;
mod slow;
pub mod span;
mod streams;
pub mod sweep;
mod trace;
mod warm;
mod world;

pub use byzantine::{Byzantine, Lie};
pub use clock::Clock;
pub use disk::DiskFault;
pub use network::{
    Bandwidth, Bursts, Effect, FaultId, Flapping, Hosts, LATENCY_MAX, Latency, LinkFault, Loss, Matrix,
    Network, Quality, Topology, Zone, ZoneLink, Zones,
};
pub use rng::SimRng;
pub use sabotage::Saboteur;
pub use scenario::{
    Action, Failure, FailureCause, Parameters, PlanError, Planned, Prepare, Profile, Report, Rules, Scenario,
};
pub use trace::TraceHash;
pub use world::{Crash, Ending, HostId, Observer, ProcessId, Tally, Unobserved, World};
