//! The `thane` program: the agent, and the commands that drive one, with Serf's names, flags, outputs and exit codes.

mod agent;
mod cli;
mod client;
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

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    cli::run(&arguments).into()
}
