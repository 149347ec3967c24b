//! The `thane` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    thane_agent::run()
}
