//! A script and all that it started, as one group of processes that can be signalled together.
//!
//! The system call for it has no safe wrapper in the standard library. The shell that runs the script has one.

use std::process::{Command, Stdio};

use tracing::debug;

/// The processes of one run. If this is dropped before [`Group::is_over`] they are told to end: an agent that limits
/// how long its scripts may run leaves none behind that nobody has asked to end.
#[derive(Debug)]
pub(super) struct Group {
    /// The group's number, which is that of its first process; `None` once there is nothing to signal.
    id: Option<u32>,
}

impl Group {
    /// The group whose first process is `id`.
    pub(super) fn new(id: Option<u32>) -> Self {
        Self { id }
    }

    /// Nothing of it is left that anybody waits for.
    pub(super) fn is_over(&mut self) {
        self.id = None;
    }

    /// Asks all of them to end.
    pub(super) async fn terminate(&self) {
        self.signal("TERM").await;
    }

    /// Whether any of them is left.
    pub(super) async fn is_alive(&self) -> bool {
        self.signal("0").await
    }

    /// Ends all of them.
    pub(super) async fn kill(&self) {
        self.signal("KILL").await;
    }

    /// Whether there was anybody to signal.
    async fn signal(&self, signal: &str) -> bool {
        let Some(id) = self.id else { return false };
        // That they are gone already is no failure.
        match tokio::process::Command::from(kill_command(id, signal)).status().await {
            Ok(status) => status.success(),
            Err(error) => {
                debug!(target: "agent", "The processes of group {id} could not be signalled: {error}");
                false
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // Nobody is left who could be told of a failure.
            _ = kill_command(id, "TERM").status();
        }
    }
}

fn kill_command(group: u32, signal: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "kill -s \"$0\" -- \"-$1\"", signal, &group.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
