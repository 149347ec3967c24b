//! What the agent counts, and where the numbers go.
//!
//! Names and forms are those of Serf's telemetry, so that what reads Serf's numbers reads ours: statsd over UDP,
//! statsite over TCP, and the last minute in memory, which SIGUSR1 writes to standard error. Thane alone also serves
//! Prometheus' text at `/metrics` on an address of its own. (Serf: `command/agent/command.go`, `setupAgent`, and
//! armon/go-metrics.)
//!
//! The library keeps counters and never pushes; once a second [`Metrics::watch`] reads them and passes on what was
//! added. So a counter arrives as one sum a second, not once for each packet. Times and sizes, of which a sum says
//! little, are passed on one by one. What the agent does itself arrives at once.
//!
//! No sink can slow or stop the agent: each takes from a queue of [`QUEUE_MAX`] metrics, and what finds it full is
//! dropped and counted. Names that others choose, those of user events and queries, are capped in number.

mod http;
mod interval;
mod library;
mod names;
mod prometheus;
mod sinks;

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use thane::{Event, Measurement, Node};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, Sender};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

use interval::Intervals;
use library::Reading;
use names::{Family, Known, Name};

/// Metrics that wait for a sink. (armon/go-metrics: `statsd.go`.)
const QUEUE_MAX: usize = 4096;

/// Time between two readings of the library's counters.
const READ_INTERVAL: Duration = Duration::from_secs(1);

/// Measurements of the library passed on between two chances for the sinks to send them.
const MEASUREMENTS_AT_ONCE: usize = QUEUE_MAX / 4;

/// Where metrics go. Memory is always one of the places.
#[derive(Debug, Clone, Default)]
pub(crate) struct MetricsConfig {
    /// The machine's host name, which goes into the names of gauges as soon as there is a sink.
    pub(crate) host: String,
    /// `statsd_addr`: `host:port`, over UDP.
    pub(crate) statsd_addr: Option<String>,
    /// `statsite_addr`: `host:port`, over TCP.
    pub(crate) statsite_addr: Option<String>,
    /// `metrics_addr`: `host:port` on which to serve Prometheus' text.
    pub(crate) metrics_addr: Option<String>,
}

/// All that is counted. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    /// Put before the names of gauges: the host, with a dot, or nothing.
    gauge_prefix: String,
    started: Instant,
    sinks: Vec<Sink>,
    state: Mutex<State>,
}

struct Sink {
    kind: &'static str,
    queue: Sender<Sample>,
    dropped: Arc<AtomicU64>,
}

struct State {
    intervals: Intervals,
    known: Known,
    totals: prometheus::Totals,
    reading: Reading,
    /// Measurements that the library had no room for.
    measurements_lost: u64,
}

/// How a metric is summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Gauge,
    Counter,
    Timer,
}

/// A metric on its way to a sink.
#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: Name,
    kind: Kind,
    value: f64,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("sinks", &self.shared.sinks.len()).finish_non_exhaustive()
    }
}

impl Metrics {
    /// Starts the sinks, the Prometheus listener and the dump on SIGUSR1, all as tasks in `tasks`; they end when those
    /// are dropped. Until this was called SIGUSR1 ends the process. It must be called within a tokio runtime.
    ///
    /// A sink that cannot be reached is no error; it is tried again every few seconds.
    ///
    /// # Errors
    /// What to show if `metrics_addr` cannot be listened on, or signals cannot be caught.
    pub(crate) async fn start(config: &MetricsConfig, tasks: &mut JoinSet<()>) -> Result<Self, String> {
        let mut sinks = Vec::new();
        let configured = [("statsd", &config.statsd_addr), ("statsite", &config.statsite_addr)];
        for (kind, address) in configured {
            let Some(address) = address.clone().filter(|address| !address.is_empty()) else { continue };
            let (queue, samples) = mpsc::channel(QUEUE_MAX);
            let dropped = Arc::new(AtomicU64::new(0));
            sinks.push(Sink { kind, queue, dropped: Arc::clone(&dropped) });
            tasks.spawn(sinks::run(kind, address, samples, dropped));
        }
        let gauge_prefix = if sinks.is_empty() { String::new() } else { format!("{}.", config.host) };
        let now = Timestamp::now();
        let state = State {
            intervals: Intervals::new(now),
            known: Known::default(),
            totals: prometheus::Totals::default(),
            reading: Reading::default(),
            measurements_lost: 0,
        };
        let shared = Shared { gauge_prefix, started: Instant::now(), sinks, state: Mutex::new(state) };
        let metrics = Self { shared: Arc::new(shared) };
        if let Some(address) = config.metrics_addr.as_deref().filter(|address| !address.is_empty()) {
            let listener = TcpListener::bind(address)
                .await
                .map_err(|error| format!("Error starting metrics listener on {address}: {error}"))?;
            tasks.spawn(http::serve(listener, metrics.clone()));
        }
        let mut asked = signal(SignalKind::user_defined1())
            .map_err(|error| format!("SIGUSR1 cannot be caught: {error}"))?;
        let dumping = metrics.clone();
        tasks.spawn(async move {
            while asked.recv().await.is_some() {
                dumping.dump_to_stderr();
            }
        });
        Ok(metrics)
    }

    /// Reads the library's counters from now on, in a task in `tasks`.
    pub(crate) fn watch(&self, node: &Node, tasks: &mut JoinSet<()>) {
        let (metrics, node) = (self.clone(), node.clone());
        tasks.spawn(async move {
            let mut ticks = interval(READ_INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let (counters, io, stats) =
                    (node.counters().await, node.io_counters().await, node.stats().await);
                let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
                metrics.read(&library::Numbers { counters, io, stats, tasks });
                let mut taken = node.take_measurements().await;
                metrics.lock().measurements_lost += taken.missed;
                for some in taken.kept.make_contiguous().chunks(MEASUREMENTS_AT_ONCE) {
                    metrics.measured(some);
                    // The sinks get their turn, before what is to be said overflows their queues.
                    tokio::task::yield_now().await;
                }
            }
        });
    }

    /// Counts an event of the library: members and user events, with the names of the latter.
    pub(crate) fn library_event(&self, event: &Event) {
        match event {
            Event::Joined(_) => self.incr("serf.member.join"),
            Event::Left(_) => self.incr("serf.member.left"),
            Event::Failed(_) => self.incr("serf.member.failed"),
            Event::Updated(_) => self.incr("serf.member.update"),
            Event::User(event) => self.named("serf.events", &event.name),
            _ => {}
        }
    }

    /// Counts a query that was delivered to this node.
    pub(crate) fn query(&self, name: &str) {
        self.named("serf.queries", name);
    }

    /// Counts a client of the RPC server.
    pub(crate) fn ipc_accepted(&self) {
        self.incr("agent.ipc.accept");
    }

    /// Counts a command that came over RPC.
    pub(crate) fn ipc_command(&self) {
        self.incr("agent.ipc.command");
    }

    /// Notes how long a handler's script took.
    pub(crate) fn handler_ran(&self, script: &str, took: Duration) {
        let mut state = self.lock();
        let name = state.known.name(Family::Script, "agent.invoke", script);
        self.record(&mut state, &name, Kind::Timer, 1, took.as_secs_f64() * 1_000.0);
    }

    /// Counts an event that found a handler's lane full.
    pub(crate) fn handler_dropped(&self, script: &str) {
        self.count_for_script("agent.handler.dropped", script);
    }

    /// Counts a script that was ended because it ran for too long.
    pub(crate) fn handler_killed(&self, script: &str) {
        self.count_for_script("agent.handler.killed", script);
    }

    fn count_for_script(&self, fixed: &'static str, script: &str) {
        let mut state = self.lock();
        let name = state.known.name(Family::Script, fixed, script);
        self.record(&mut state, &name, Kind::Counter, 1, 1.0);
    }

    fn incr(&self, name: &'static str) {
        self.record(&mut self.lock(), &Name::plain(name), Kind::Counter, 1, 1.0);
    }

    /// Passes on what the library measured.
    fn measured(&self, measurements: &[Measurement]) {
        let mut state = self.lock();
        for (name, value) in measurements.iter().filter_map(library::sample) {
            self.record(&mut state, &Name::plain(name), Kind::Timer, 1, value);
        }
    }

    /// The completed intervals of the last minute, a line for each metric, as Serf writes them.
    pub(crate) fn dump(&self) -> String {
        let now = Timestamp::now();
        let mut state = self.lock();
        state.intervals.advance(now);
        state.intervals.dump(&self.shared.gauge_prefix)
    }

    /// All numbers since the start, as Prometheus reads them.
    pub(crate) fn prometheus(&self) -> String {
        let dropped: Vec<(&str, u64)> =
            self.shared.sinks.iter().map(|sink| (sink.kind, sink.dropped.load(Ordering::Relaxed))).collect();
        let state = self.lock();
        prometheus::text(&state.totals, &state.reading, state.measurements_lost, &dropped)
    }

    fn named(&self, family: &'static str, name: &str) {
        let mut state = self.lock();
        self.record(&mut state, &Name::plain(family), Kind::Counter, 1, 1.0);
        let name = state.known.name(Family::Event, family, name);
        self.record(&mut state, &name, Kind::Counter, 1, 1.0);
    }

    fn read(&self, numbers: &library::Numbers) {
        let mut state = self.lock();
        for (name, kind, count, value) in state.reading.take(numbers) {
            self.record(&mut state, &Name::plain(name), kind, count, value);
        }
    }

    /// Passes on `count` observations that come to `value` together.
    fn record(&self, state: &mut State, name: &Name, kind: Kind, count: u64, value: f64) {
        let now = Timestamp::now();
        state.intervals.advance(now);
        state.intervals.add(
            name,
            kind,
            count,
            value,
            interval::Moment { now, since_start: self.shared.started.elapsed() },
        );
        state.totals.add(name, kind, count, value);
        for sink in &self.shared.sinks {
            let name = if kind == Kind::Gauge { name.under(&self.shared.gauge_prefix) } else { name.clone() };
            if sink.queue.try_send(Sample { name, kind, value }).is_err() {
                sink.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Standard error may be a pipe that nobody reads, so a thread of its own waits for it, and only one at a time.
    fn dump_to_stderr(&self) {
        static WRITING: AtomicBool = AtomicBool::new(false);
        if WRITING.swap(true, Ordering::AcqRel) {
            debug!(target: "agent", "The last dump of metrics is still being written to standard error");
            return;
        }
        let text = self.dump();
        let writing = std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            // Who closed standard error does not want the dump.
            _ = std::io::stderr().write_all(text.as_bytes());
            WRITING.store(false, Ordering::Release);
        });
        if let Err(error) = writing {
            WRITING.store(false, Ordering::Release);
            warn!(target: "agent", "Metrics cannot be written to standard error: {error}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
