//! Event handlers: shell commands that run when events happen. (Serf: `event_handler.go` and `invoke.go`.)
//!
//! Differs from Serf, which runs all scripts one after the other and delivers nothing to anybody meanwhile: here each
//! `-event-handler` has a lane of its own, in which its events wait in order. A slow script delays neither the other
//! handlers nor the streams of RPC clients. What a script sees is the same.
//!
//! A script that hangs costs its lane, which is bounded, and a log line a minute. `event_handler_timeout` ends it; without
//! that key scripts run as long as they like and outlive the agent, as in Serf.

mod group;
mod invoke;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinSet;
use tracing::{error, warn};

use crate::agent::Agent;
use crate::agent::event::AgentEvent;
use crate::agent::filter::EventFilter;
use crate::losses::{self, NoticeLimit};
use crate::metrics::Metrics;
use invoke::Run;

/// Events waiting in one handler's lane. Further ones are dropped and counted.
const LANE_EVENTS_MAX: usize = 1024;

/// A handler as configured: `FILTER[,FILTER...]=SCRIPT` or `SCRIPT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HandlerSpec {
    filters: Vec<EventFilter>,
    script: Arc<str>,
}

/// A handler whose filter is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InvalidHandler {
    filter: String,
    script: String,
}

impl fmt::Display for InvalidHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Invalid event script: Event '{}' invoking '{}'; an event is {}",
            self.filter,
            self.script,
            EventFilter::SYNTAX
        )
    }
}

impl HandlerSpec {
    /// Reads a handler. The first `=` ends the filters; without one the whole text is the script, for every event.
    ///
    /// # Errors
    /// The first part that is no filter.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidHandler> {
        let (filters, script) = text.split_once('=').unwrap_or(("", text));
        let filters = EventFilter::parse_list(filters)
            .map_err(|filter| InvalidHandler { filter, script: script.to_owned() })?;
        Ok(Self { filters, script: script.into() })
    }

    /// `TYPE:NAME` and the script, for each filter, as `stats` lists them.
    pub(crate) fn listing(&self) -> impl Iterator<Item = (String, String)> {
        self.filters.iter().map(|filter| (filter.listing(), self.script.to_string()))
    }
}

/// Who the scripts run for.
#[derive(Debug, Clone)]
pub(crate) struct Handlers {
    lanes: Arc<[Lane]>,
}

#[derive(Debug)]
struct Lane {
    spec: HandlerSpec,
    queue: mpsc::Sender<Arc<AgentEvent>>,
    metrics: Option<Metrics>,
    drops: std::sync::Mutex<Trouble>,
}

/// Something that goes wrong again and again, and is told seldom.
#[derive(Debug, Default)]
struct Trouble {
    count: u64,
    notices: NoticeLimit,
}

impl Trouble {
    /// Counts it once more; how often it has happened, if it is time to say so.
    fn count(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        self.notices.is_due(now).then_some(self.count)
    }
}

impl Handlers {
    /// Starts a lane for each handler. A script that runs for longer than `limit` is ended. The tasks end when this and all
    /// its clones are gone and the lanes are empty; a script that has a limit is told to end when its task is dropped.
    pub(crate) fn start(
        specs: &[HandlerSpec],
        limit: Option<Duration>,
        agent: &Agent,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let lanes = specs.iter().map(|spec| {
            let (queue, events) = mpsc::channel(LANE_EVENTS_MAX);
            let metrics = agent.metrics.clone();
            let runner =
                Runner { spec: spec.clone(), limit, node: agent.node.clone(), metrics: metrics.clone() };
            tasks.spawn(runner.run(events));
            Lane { spec: spec.clone(), queue, metrics, drops: std::sync::Mutex::default() }
        });
        Self { lanes: lanes.collect() }
    }

    /// Puts an event into the lane of each handler that wants it; never waits.
    pub(crate) fn deliver(&self, event: &Arc<AgentEvent>) {
        for lane in
            self.lanes.iter().filter(|lane| lane.spec.filters.iter().any(|filter| event.passes(filter)))
        {
            // A lane that is closed ends with the agent, and its events with it.
            if let Err(TrySendError::Full(_)) = lane.queue.try_send(Arc::clone(event)) {
                lane.count_drop();
            }
        }
    }
}

impl Lane {
    fn count_drop(&self) {
        let script = &self.spec.script;
        losses::HANDLER_EVENTS.count();
        if let Some(metrics) = &self.metrics {
            metrics.handler_dropped(script);
        }
        let mut drops = self.drops.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(count) = drops.count(Instant::now()) {
            warn!(
                target: "agent",
                "Script '{script}' is too slow: {LANE_EVENTS_MAX} events wait for it and {count} were dropped so far"
            );
        }
    }
}

/// Runs one handler's script for one event after the other.
struct Runner {
    spec: HandlerSpec,
    limit: Option<Duration>,
    node: thane::Node,
    metrics: Option<Metrics>,
}

impl Runner {
    async fn run(self, mut events: mpsc::Receiver<Arc<AgentEvent>>) {
        let script = &self.spec.script;
        let mut kills = Trouble::default();
        while let Some(event) = events.recv().await {
            // Each filter is a handler of its own: an event that passes two runs the script twice, as in Serf.
            for _match in self.spec.filters.iter().filter(|filter| event.passes(filter)) {
                let own_tags = self.node.tags().await;
                let start = Instant::now();
                let run = invoke::run(script, &event, self.node.name(), &own_tags, self.limit).await;
                if let Some(metrics) = &self.metrics {
                    metrics.handler_ran(script, start.elapsed());
                }
                if run == Run::OutOfTime {
                    self.count_kill(&mut kills);
                }
            }
        }
    }

    fn count_kill(&self, kills: &mut Trouble) {
        let script = &self.spec.script;
        if let Some(metrics) = &self.metrics {
            metrics.handler_killed(script);
        }
        if let (Some(count), Some(limit)) = (kills.count(Instant::now()), self.limit) {
            error!(target: "agent", "Script '{script}' was ended after {limit:?}, {count} times so far");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_equals_sign_ends_the_filters() {
        for (text, filters, script) in [
            ("./x.sh", "*", "./x.sh"),
            ("=x.sh", "*", "x.sh"),
            ("user=X=1; echo $X", "user", "X=1; echo $X"),
            ("member-join,user:deploy=a b", "member-join,user:deploy", "a b"),
            ("*=FOO=1 ./x.sh", "*", "FOO=1 ./x.sh"),
            ("user=", "user", ""),
            ("", "*", ""),
        ] {
            let spec = HandlerSpec::parse(text).unwrap();
            assert_eq!(spec.filters, EventFilter::parse_list(filters).unwrap(), "{text}");
            assert_eq!(&*spec.script, script, "{text}");
        }
    }

    #[test]
    fn bad_filters_are_named_with_their_script() {
        for (text, message) in [
            ("bogus=x.sh", "Invalid event script: Event 'bogus' invoking 'x.sh'"),
            ("member-join:x=y.sh", "Invalid event script: Event 'member-join:x' invoking 'y.sh'"),
            ("FOO=1 ./x.sh", "Invalid event script: Event 'FOO' invoking '1 ./x.sh'"),
            ("user, query=x", "Invalid event script: Event ' query' invoking 'x'"),
        ] {
            let found = HandlerSpec::parse(text).unwrap_err().to_string();
            assert!(found.starts_with(message) && found.contains("; an event is *, member-join,"), "{found}");
        }
    }

    #[test]
    fn stats_list_each_filter() {
        let spec = HandlerSpec::parse("user,user:deploy=x").unwrap();
        let listing: Vec<_> = spec.listing().collect();
        assert_eq!(listing, [("user:".into(), "x".into()), ("user:deploy".into(), "x".into())]);
    }
}
