//! Agents of both kinds as processes, and the means to watch and drive them.

mod agent;
mod cluster;
mod halves;
mod load;
mod logs;
mod loopback;
mod machine;
mod members;
mod program;
mod recorder;

pub(crate) use agent::Agent;
pub(crate) use cluster::{Cluster, Launch, Profile, with_cluster};
pub(crate) use halves::Halves;
pub(crate) use load::Load;
pub(crate) use machine::Machine;
pub(crate) use members::{Member, members_through, statuses_through};
pub(crate) use program::{Answer, BOTH, Kind, with_programs};
pub(crate) use recorder::{Monitor, Recorded};
