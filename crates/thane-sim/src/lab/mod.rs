//! What would my cluster do? A [`Setup`] says which cluster, on which network, with which faults; [`run`] runs it once
//! and measures; [`Study`] puts the runs of several seeds together; [`text`] and [`html`] show them.
//!
//! ```
//! use thane_sim::lab::{self, Setup};
//!
//! let setup = Setup::parse("nodes=20, loss=2%, fault=crash 2 at 5s, duration=40s").unwrap();
//! let report = lab::run(&setup, 7, &mut |_| true).unwrap();
//! assert_eq!(report.crashes.len(), 2);
//! assert!(report.crashes.iter().all(|crash| crash.unaware == 0));
//! assert_eq!(report.alarms.wrong, 0);
//! ```
//!
//! Nothing of the protocol is here: a setup becomes a [`crate::World`] of real cores, and what is measured is what they put out.

mod fault;
mod gallery;
pub mod html;
mod keys;
mod measures;
mod meter;
mod play;
mod report;
mod setup;
mod statistics;
mod study;
pub mod text;
mod timeline;
mod values;

pub use fault::{FAULT_KINDS, Fault, FaultKind, Lies, Target};
pub use gallery::{GALLERY, Named};
pub use keys::{KEYS, Key};
pub use measures::{Better, MEASURES, Measure, Unit};
pub use play::{Progress, run};
pub use report::{
    Agreement, Alarms, BrokenRule, Crash, FaultMark, Lied, Queries, Report, Sample, Spread, Started, Traffic,
};
pub use setup::{End, Load, NODES_MAX, Other, ReadFile, Setup, SetupError, Start};
pub use statistics::{Summary, quantile};
pub use study::{Comparison, Study, study};
pub use timeline::{Entry, EntryKind, Timeline};
