//! The life of the process: start, wait for what ends it, stop. (Serf: `command.go`, Run and handleSignals.)

use std::sync::Arc;
use std::time::Duration;

use thane::{Stopped, Tags};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::operations::{Agent, Leaving};
use super::settings::Settings;
use super::signals::{Caught, Signals};
use super::start::{Running, start};
use crate::exit::Exit;
use crate::goflags::{GoDuration, Parsed};
use crate::logging::{Console, Log, LogLevel};

/// How long handlers that were already due may take to begin and end once the agent has left: its own leave is an
/// event too, and scripts take a service off a load balancer by it.
const LAST_EVENTS_LIMIT: Duration = Duration::from_secs(2);

/// What to do when nobody could be joined.
const UNREACHABLE: &str = "Is an agent running there, with the same -encrypt? The address is its 'Bind addr', not its \
                           'RPC addr'. -retry-join keeps trying.";

/// Runs an agent with these flags.
pub(super) async fn run(console: &Console, flags: &Parsed) -> Exit {
    let settings = match Settings::from_flags(flags).await {
        Ok(settings) => settings,
        Err(reason) => return refuse(console, &reason),
    };
    for warning in &settings.warnings {
        console.output(warning);
    }
    let level = match LogLevel::parse(&settings.log_level) {
        Ok(level) => level,
        Err(unknown) => {
            let valid = "[TRACE DEBUG INFO WARN ERR]";
            return refuse(console, &format!("Invalid log level: {unknown}. Valid log levels are: {valid}"));
        }
    };
    if let Some(interface) = &settings.interface {
        console.output(&format!("Using interface '{interface}' address '{}'", settings.bind.ip()));
    }
    let log = Log::new(level, console.clone());
    if let Err(reason) = log.install() {
        return refuse(console, &format!("Error setting up the log: {reason}"));
    }
    let started = start(console, &log, &settings).await;
    let running = match started {
        Ok(running) => running,
        Err(reason) => {
            // Differs from Serf, which throws the lines away that would tell what happened before.
            log.open_gate();
            return refuse(console, &reason);
        }
    };
    Supervisor { console, log: &log, level, settings: &settings, running }.run().await
}

fn refuse(console: &Console, reason: &str) -> Exit {
    console.output(reason);
    Exit::Failure
}

struct Supervisor<'a> {
    console: &'a Console,
    log: &'a Log,
    level: LogLevel,
    settings: &'a Settings,
    running: Running,
}

/// What ends an agent.
enum End {
    /// It has left, or its name was lost: the process did what it was asked to.
    Orderly,
    /// It ends without having left, or could not do its work.
    Abrupt,
}

impl Supervisor<'_> {
    async fn run(mut self) -> Exit {
        let end = match Signals::catch() {
            Ok(mut signals) => match self.start_join(&mut signals).await {
                None => self.wait(&mut signals).await,
                Some(end) => end,
            },
            Err(reason) => {
                self.console.output(&format!("Error catching signals: {reason}"));
                End::Abrupt
            }
        };
        // Whatever was held back until now is shown, on every way out.
        self.log.open_gate();
        self.stop().await;
        match end {
            End::Orderly => Exit::Success,
            End::Abrupt => Exit::Failure,
        }
    }

    /// Joins the members of `-join`; `None` if the agent goes on.
    async fn start_join(&mut self, signals: &mut Signals) -> Option<End> {
        let (console, settings) = (self.console, self.settings);
        if settings.start_join.is_empty() {
            return None;
        }
        console.output(&format!("Joining cluster...(replay: {})", settings.replay_on_join));
        let agent = Arc::clone(&self.running.agent);
        let join = agent.join(&settings.start_join, settings.replay_on_join);
        tokio::pin!(join);
        loop {
            let joined = tokio::select! {
                joined = &mut join => joined,
                caught = signals.next() => match self.react(caught, signals).await {
                    None => continue,
                    end => return end,
                },
            };
            return match joined {
                Ok(contacted) => {
                    console.info(&format!("Join completed. Synced with {contacted} initial agents"));
                    None
                }
                Err(reason) => {
                    self.log.open_gate();
                    console.output(&reason);
                    console.output(UNREACHABLE);
                    Some(End::Abrupt)
                }
            };
        }
    }

    /// Waits for what ends the agent.
    async fn wait(&mut self, signals: &mut Signals) -> End {
        self.console.blank();
        self.console.output("Log data will now stream in as it occurs:");
        self.console.blank();
        self.log.open_gate();
        let agent = Arc::clone(&self.running.agent);
        let retry_join = retry_join(&agent, self.settings);
        tokio::pin!(retry_join);
        let mut retries = true;
        loop {
            tokio::select! {
                caught = signals.next() => if let Some(end) = self.react(caught, signals).await {
                    return end;
                },
                () = agent.shutdown_requested() => return End::Orderly,
                reason = agent.node.stopped() => return node_stopped(&reason),
                joined = &mut retry_join, if retries => {
                    retries = false;
                    if joined.is_err() {
                        error!(target: "agent", "maximum retry join attempts made, exiting; none of -retry-join could be joined");
                        return End::Abrupt;
                    }
                }
            }
        }
    }

    /// Does what a signal asks for; `None` if the agent goes on.
    async fn react(&self, caught: Caught, signals: &mut Signals) -> Option<End> {
        self.console.output(&format!("Caught signal: {caught}"));
        match caught {
            Caught::Interrupt => Some(self.leave(signals).await),
            Caught::Terminated => Some(End::Abrupt),
            Caught::Hangup => {
                self.reload().await;
                None
            }
        }
    }

    /// Leaves before the end; a second signal or the time limit ends it without.
    async fn leave(&self, signals: &mut Signals) -> End {
        let Running { agent, leave_limit, .. } = &self.running;
        self.console.output("Gracefully shutting down agent...");
        tokio::select! {
            left = agent.leave_or_wait() => match left {
                Ok(()) => End::Orderly,
                Err(reason) => {
                    self.console.output(&format!("Error: {reason}"));
                    End::Abrupt
                }
            },
            _second = signals.next() => End::Abrupt,
            () = sleep(*leave_limit) => {
                let limit = leave_limit.as_secs();
                self.console.output(&format!("The leave took longer than {limit}s; the agent stops without it"));
                End::Abrupt
            }
        }
    }

    /// Serf reads flags and files again; there are only flags, which are what they were. Tags that clients have changed
    /// since go back to them, as in Serf.
    async fn reload(&self) {
        self.console.output("Reloading configuration...");
        self.log.set_level(self.level);
        let agent = &self.running.agent;
        let configured: &Tags = &self.settings.tags;
        if agent.node.tags().await != *configured
            && let Err(reason) = agent.set_tags(configured.clone()).await
        {
            self.console.output(&format!("Failed to update tags: {reason}"));
        }
        info!(target: "agent", "configuration reloaded: flags cannot change while the agent runs");
    }

    async fn stop(self) {
        let Running { agent, mut server, mut events, mut lanes, .. } = self.running;
        info!(target: "agent", "requesting serf shutdown");
        if agent.leaving() != Leaving::Done {
            warn!(target: "thane::serf", "Shutdown without a Leave");
        }
        agent.node.shutdown().await;
        server.shutdown().await;
        if agent.leaving() == Leaving::Done {
            let last_events = async {
                while events.join_next().await.is_some() {}
                while lanes.join_next().await.is_some() {}
            };
            if timeout(LAST_EVENTS_LIMIT, last_events).await.is_err() {
                warn!(target: "agent", "Handlers that are still running are left to themselves");
            }
        }
        info!(target: "agent", "shutdown complete");
    }
}

/// Joins the members of `-retry-join`, again and again.
///
/// # Errors
/// When the attempts are used up.
async fn retry_join(agent: &Agent, settings: &Settings) -> Result<(), ()> {
    if settings.retry_join.is_empty() {
        return Ok(());
    }
    let interval =
        GoDuration::from_nanos(i64::try_from(settings.retry_interval.as_nanos()).unwrap_or(i64::MAX));
    let mut failures = 0;
    loop {
        info!(target: "agent", "Joining cluster...(replay: {})", settings.replay_on_join);
        match agent.join(&settings.retry_join, settings.replay_on_join).await {
            Ok(contacted) => {
                info!(target: "agent", "Join completed. Synced with {contacted} initial agents");
                return Ok(());
            }
            Err(reason) => {
                failures += 1;
                if settings.retry_max > 0 && failures > settings.retry_max {
                    return Err(());
                }
                warn!(target: "agent", "Join failed: {reason}, retrying in {interval}");
            }
        }
        sleep(settings.retry_interval).await;
    }
}

/// The node stopped by itself. A lost name is no failure of the process: starting it again would only lose again.
fn node_stopped(reason: &Stopped) -> End {
    let end = match reason {
        Stopped::NameConflict(outcome) => {
            error!(target: "thane::serf", "{outcome}");
            End::Orderly
        }
        Stopped::Failed(reason) => {
            error!(target: "thane::serf", "the node has failed: {reason}");
            End::Abrupt
        }
        _ => End::Abrupt,
    };
    warn!(target: "agent", "Serf shutdown detected, quitting");
    end
}
