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
mod rpc_server;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Names, tags and payloads are text everywhere behind this point; other bytes become U+FFFD.
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    cli::run(&arguments).into()
}
