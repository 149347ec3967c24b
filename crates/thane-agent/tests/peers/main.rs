//! Thane beside the real Serf.
//!
//! Each test starts agents of both kinds as processes on loopback addresses of their own, drives them through both
//! command lines, and waits until both say the same. After every test the agents' logs are read: a
//! warning or an error that the story does not explain fails the test, because Thane must never send anything that
//! Serf complains about, and must understand all that Serf sends.
//!
//! `cargo xtask test` installs `serf` and runs them. Variables:
//!
//! - `THANE_WITHOUT_PEERS=1` skips them, for machines that cannot have `serf`;
//! - `THANE_PROGRAM` and `SERF_PROGRAM` name other programs to play the two parts. With `THANE_PROGRAM=serf` the
//!   tests themselves are checked: what they ask of Thane, Serf must do as well.
//!
//! The story of a network that is cut needs network namespaces: root, or a system that lets everybody have them.

mod cli_cross;
mod coordinates;
mod discovery;
mod encryption;
mod events;
mod harness;
mod healing;
mod joining;
mod leaving_and_failing;
mod lifecycle;
mod moving;
mod networks;
mod queries;
mod quiet_logs;
mod recordings;
mod returning;
mod rotation;
mod tags;
mod telemetry;
