//! The life of the process: start, wait for what ends it, stop. (Serf: `command.go`, Run and handleSignals.)

use std::sync::Arc;
use std::time::Duration;

use thane::Stopped;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::operations::{Agent, Leaving};
use super::settings::Settings;
use super::signals::{self, Caught, Signals};
use super::start::{Running, start};
use crate::cli::complain;
use crate::exit::Exit;
use crate::format::for_terminal;
use crate::goflags::{GoDuration, Parsed};
use crate::handlers::Handlers;
use crate::logging::{Console, Log, LogLevel};
use crate::metrics::Metrics;
use crate::syslog::SyslogSink;

/// How long handlers that were already due may take to begin and end once the node has stopped. Its own leave is an event
/// too, and scripts take a service off a load balancer by it; and what the snapshot says was delivered must not get lost,
/// because nobody will deliver it again.
const LAST_EVENTS_LIMIT: Duration = Duration::from_secs(2);

/// How long the node may take to say how it is when the process is told to quit. It may be what hangs.
const QUIT_STATS_LIMIT: Duration = Duration::from_secs(1);
/// How long an agent that quits waits until its files are written.
const QUIT_SHUTDOWN_LIMIT: Duration = Duration::from_secs(1);

/// What to do when nobody could be joined.
const UNREACHABLE: &str = "Is an agent running there, with the same -encrypt? The address is its 'Bind addr', not its \
                           'RPC addr'. -retry-join keeps trying.";

/// Runs an agent with these flags.
pub(super) async fn run(console: &Console, flags: &Parsed) -> Exit {
    let settings = match Settings::read(flags) {
        Ok(settings) => settings,
        Err(reason) => return refuse(console, &reason),
    };
    for warning in &settings.warnings {
        console.output(warning);
    }
    if let Err(reason) = signals::ignore_usr2() {
        return refuse(console, &format!("Error catching signals: {reason}"));
    }
    let level = match LogLevel::parse(&settings.log_level) {
        Ok(level) => level,
        Err(unknown) => {
            return refuse(console, &invalid_level(&unknown));
        }
    };
    let log = Log::new(level, console.clone());
    if let Some(facility) = &settings.syslog {
        match SyslogSink::open(facility) {
            Ok(syslog) => log.also_to(syslog),
            Err(reason) => return refuse(console, &reason),
        }
    }
    let mut sinks = JoinSet::new();
    let metrics = match Metrics::start(&settings.metrics(), &mut sinks).await {
        Ok(metrics) => metrics,
        Err(reason) => return refuse(console, &reason),
    };
    let place = match settings.place().await {
        Ok(place) => place,
        Err(reason) => return refuse(console, &reason),
    };
    if let Some(interface) = &place.interface {
        console.output(&format!("Using interface '{interface}' address '{}'", place.bind.ip()));
    }
    if let Err(reason) = log.install() {
        return refuse(console, &format!("Error setting up the log: {reason}"));
    }
    let started = start(console, &log, &metrics, &settings, &place).await;
    let running = match started {
        Ok(running) => {
            metrics.watch(&running.agent.node, &mut sinks);
            running
        }
        Err(reason) => {
            // Differs from Serf, which throws the lines away that would tell what happened before.
            log.open_gate();
            return refuse(console, &reason);
        }
    };
    let latest = settings.clone();
    Supervisor { console, log: &log, flags, settings: &settings, latest, running }.run().await
}

fn invalid_level(unknown: &str) -> String {
    format!("Invalid log level: {unknown}. Valid log levels are: [TRACE DEBUG INFO WARN ERR]")
}

fn refuse(console: &Console, reason: &str) -> Exit {
    console.output(reason);
    Exit::Failure
}

struct Supervisor<'a> {
    console: &'a Console,
    log: &'a Log,
    flags: &'a Parsed,
    /// Those that the agent started with.
    settings: &'a Settings,
    /// Those of the latest reload, of which some hold.
    latest: Settings,
    running: Running,
}

/// What ends an agent.
enum End {
    /// It has left, or its name was lost: the process did what it was asked to.
    Orderly,
    /// It ends without having left, or could not do its work.
    Abrupt,
    /// It was told to quit: it stops where it is.
    Quit,
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
        if matches!(end, End::Quit) {
            // What waits for the disk, of a recording above all, is what somebody who quits an agent wants to look at.
            _ = timeout(QUIT_SHUTDOWN_LIMIT, self.running.agent.node.shutdown()).await;
            return Exit::Quit;
        }
        self.stop().await;
        match end {
            End::Orderly => Exit::Success,
            End::Abrupt => Exit::Failure,
            End::Quit => Exit::Quit,
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
                    self.keep_seeds().await;
                }
            }
        }
    }

    /// Whoever was joined by name or address is looked for again should the agent ever be alone. Serf forgets them.
    async fn keep_seeds(&self) {
        let Settings { start_join, retry_join, .. } = self.settings;
        self.running.agent.node.set_seeds(start_join.iter().chain(retry_join)).await;
    }

    /// Does what a signal asks for; `None` if the agent goes on.
    async fn react(&mut self, caught: Caught, signals: &mut Signals) -> Option<End> {
        if caught == Caught::Quit {
            return Some(self.quit().await);
        }
        self.console.output(&format!("Caught signal: {caught}"));
        match caught {
            Caught::Interrupt if self.latest.skip_leave_on_interrupt => Some(End::Abrupt),
            Caught::Terminated if !self.latest.leave_on_terminate => Some(End::Abrupt),
            Caught::Interrupt | Caught::Terminated => Some(self.leave(signals).await),
            Caught::Hangup => {
                self.reload().await;
                None
            }
            Caught::Quit => Some(End::Quit),
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
            second = signals.next() => match second {
                Caught::Quit => self.quit().await,
                _ => End::Abrupt,
            },
            () = sleep(*leave_limit) => {
                let limit = leave_limit.as_secs();
                self.console.output(&format!("The leave took longer than {limit}s; the agent stops without it"));
                End::Abrupt
            }
        }
    }

    /// Says on standard error how things stand, where Go's runtime writes what its goroutines do.
    async fn quit(&self) -> End {
        complain("SIGQUIT: quit\n");
        match timeout(QUIT_STATS_LIMIT, self.running.agent.stats()).await {
            Ok(stats) => {
                for (name, section) in stats {
                    complain(&format!("{name}:\n"));
                    for (key, value) in section {
                        complain(&for_terminal(&format!("\t{key} = {value}\n")));
                    }
                }
            }
            Err(_elapsed) => complain("the node does not answer\n"),
        }
        End::Quit
    }

    /// Reads flags and files again and does what they say where that is possible. If they cannot be read, all stays.
    async fn reload(&mut self) {
        self.console.output("Reloading configuration...");
        let new = match Settings::read(self.flags) {
            Ok(new) => new,
            Err(reason) => {
                self.console.output(&reason);
                self.console.output("Failed to reload configs");
                return;
            }
        };
        for warning in &new.warnings {
            self.console.output(warning);
        }
        match LogLevel::parse(&new.log_level) {
            Ok(level) => self.log.set_level(level),
            Err(unknown) => self.console.output(&invalid_level(&unknown)),
        }
        self.replace_handlers(&new);
        self.replace_tags(&new).await;
        let later = self.settings.changed_for_later(&new);
        if later.is_empty() {
            info!(target: "agent", "configuration reloaded");
        } else {
            info!(target: "agent", "configuration reloaded; to change {} restart the agent", later.join(", "));
        }
        self.latest = new;
    }

    /// Later events go to the new handlers; those that wait for the old ones still do.
    fn replace_handlers(&mut self, new: &Settings) {
        let unchanged = new.handlers == self.latest.handlers;
        if unchanged && new.handler_timeout == self.latest.handler_timeout {
            return;
        }
        let Running { agent, handlers, lanes, .. } = &mut self.running;
        handlers.send_replace(Handlers::start(&new.handlers, new.handler_timeout, agent, lanes));
        agent.list_handlers(&new.handlers);
    }

    /// Tags that clients have changed since go back to what is configured, as in Serf. With a tags file there is nothing to
    /// go back to: what was set stays. (Serf empties the tags and the file.)
    async fn replace_tags(&self, new: &Settings) {
        let failed = |reason: &str| self.console.output(&format!("Failed to update tags: {reason}"));
        if self.settings.tags_file.is_some() {
            if !new.tags.is_empty() {
                failed("Tags config not allowed while using tag files; the tags stay as they are");
            }
            return;
        }
        let agent = &self.running.agent;
        if agent.node.tags().await != new.tags
            && let Err(reason) = agent.set_tags(new.tags.clone()).await
        {
            failed(&reason);
        }
    }

    async fn stop(self) {
        let Running { agent, mut server, mut events, discovery, handlers, mut lanes, .. } = self.running;
        // Nobody is joined any more, and no handler is given another event.
        drop((discovery, handlers));
        info!(target: "agent", "requesting serf shutdown");
        if agent.leaving() != Leaving::Done {
            warn!(target: "thane::serf", "Shutdown without a Leave");
        }
        agent.node.shutdown().await;
        server.shutdown().await;
        // Whoever cuts a leave short wants the end now.
        if agent.leaving() != Leaving::UnderWay {
            let last_events = async {
                while events.join_next().await.is_some() {}
                while lanes.join_next().await.is_some() {}
            };
            if timeout(LAST_EVENTS_LIMIT, last_events).await.is_err() {
                warn!(target: "agent", "Handlers are still running, and nobody waits for them any longer");
            }
        }
        // Scripts that have a time limit end here; the others outlive the agent, as with Serf.
        lanes.shutdown().await;
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
            warn!(target: "thane::serf", "{outcome}");
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
