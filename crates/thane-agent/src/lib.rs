//! The `thane` program: the agent, and the commands that drive one, with Serf's names, flags, outputs and exit codes.
//!
//! This is a program, not a library for others (that is the crate `thane`): what is public here is for its `main`, and for those who
//! throw bytes at its decoders.

mod agent;
mod cli;
mod client;
pub mod decoders;
mod demo;
mod exit;
mod format;
mod goflags;
mod handlers;
mod hostport;
mod logging;
mod losses;
mod mdns;
mod metrics;
mod rpc_server;
mod syslog;
mod terminal;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command that the arguments of this process ask for.
pub fn run() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    cli::run(&arguments).into()
}
