//! Tests of one whole node, and of a few together, through the interface that a driver uses.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod calm;
mod crafted;
mod delegate;
mod detector;
mod dissemination;
mod habits;
mod held;
mod leaving;
mod measures;
mod net;
mod networks;
mod probing;
mod properties;
mod queries;
mod rebirth;
mod refusals;
mod seeds;
mod serf_rules;
mod settings;
mod steady;
mod support;
mod transitions;
mod whole;
