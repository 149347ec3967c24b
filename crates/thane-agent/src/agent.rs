//! `thane agent`: the process around a node. (Serf: `cmd/serf/command/agent`.)
//!
//! [`run`] reads the flags, starts the node and the RPC server, and waits for what ends the agent: a signal, a leave
//! over RPC, the loss of its name, or a cluster that cannot be joined. Everything it says goes to standard output, as
//! Serf's agent does it. All of it runs on one thread; see [`crate::logging::Console`] for the only other one.

mod address;
mod banner;
mod base64_key;
mod config;
mod delivery;
pub(crate) mod event;
pub(crate) mod filter;
mod host;
mod keyring_file;
pub(crate) mod keys;
mod operations;
mod settings;
mod signals;
mod start;
mod supervise;
mod tags_file;
#[cfg(test)]
mod test_directory;

/// What the agent reads, for those who throw bytes at it.
pub(crate) mod readers {
    use std::collections::BTreeMap;

    use super::{base64_key, config, tags_file};

    pub(crate) fn configuration(name: &str, text: &[u8]) -> Result<(), String> {
        config::understand(name, text).map(|_layer| ())
    }

    pub(crate) fn tags(text: &[u8]) -> Result<BTreeMap<String, String>, String> {
        tags_file::decode(text)
    }

    pub(crate) fn tags_text(tags: &BTreeMap<String, String>) -> String {
        tags_file::encode(tags)
    }

    pub(crate) fn key(text: &str) -> Result<Vec<u8>, String> {
        base64_key::decode(text)
    }
}

pub(crate) use operations::Agent;
pub(crate) use settings::flags;

use std::time::Duration;

use crate::cli::complain;
use crate::exit::Exit;
use crate::goflags::FlagError;
use crate::logging::Console;

/// How long the end of the process waits for standard output.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// Threads for host name look-ups, which the operating system offers only as blocking calls.
const LOOKUP_THREADS_MAX: usize = 4;

/// Runs an agent until it ends. `arguments` begin after the command's name.
pub(crate) fn run(arguments: &[String]) -> Exit {
    let console = match Console::stdout() {
        Ok(console) => console,
        Err(reason) => {
            complain(&format!("cannot start a thread: {reason}\n"));
            return Exit::Failure;
        }
    };
    let exit = run_on(&console, arguments);
    console.flush(FLUSH_LIMIT);
    exit
}

fn run_on(console: &Console, arguments: &[String]) -> Exit {
    let flags = flags();
    let parsed = match flags.parse(arguments) {
        Ok(parsed) => parsed,
        Err(FlagError::Help) => {
            complain(&flags.help());
            return Exit::Success;
        }
        Err(mistake) => {
            complain(&format!("{mistake}\n"));
            console.output(flags.help().trim_end());
            if let Some(hint) = flags.hint(&mistake) {
                // Last, where it is seen.
                console.flush(FLUSH_LIMIT);
                complain(&format!("{hint}\n"));
            }
            return Exit::Failure;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(LOOKUP_THREADS_MAX)
        .build();
    match runtime {
        Ok(runtime) => {
            let exit = runtime.block_on(supervise::run(console, &parsed));
            // A look-up that still waits for its answer must not hold up the end.
            runtime.shutdown_background();
            exit
        }
        Err(reason) => {
            console.output(&format!("Error starting the runtime: {reason}"));
            Exit::Failure
        }
    }
}
