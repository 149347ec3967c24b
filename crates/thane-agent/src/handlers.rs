//! Event handlers: shell commands that run when events happen. (Serf: `event_handler.go` and `invoke.go`.)
//!
//! Differs from Serf, which runs all scripts one after the other and delivers nothing to anybody meanwhile: here each
//! `-event-handler` has a lane of its own, in which its events wait in order. A slow script delays neither the other
//! handlers nor the streams of RPC clients. What a script sees is the same.

mod invoke;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinSet;
use tracing::warn;

use crate::agent::Agent;
use crate::agent::event::AgentEvent;
use crate::agent::filter::EventFilter;
use crate::losses::{self, NoticeLimit};
use crate::metrics::Metrics;

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
    drops: std::sync::Mutex<Drops>,
}

#[derive(Debug, Default)]
struct Drops {
    count: u64,
    notices: NoticeLimit,
}

impl Handlers {
    /// Starts a lane for each handler. The tasks end when this and all its clones are gone and the lanes are empty.
    pub(crate) fn start(specs: &[HandlerSpec], agent: &Agent, tasks: &mut JoinSet<()>) -> Self {
        let lanes = specs.iter().map(|spec| {
            let (queue, events) = mpsc::channel(LANE_EVENTS_MAX);
            tasks.spawn(run_lane(spec.clone(), events, agent.node.clone(), agent.metrics.clone()));
            Lane { spec: spec.clone(), queue, drops: std::sync::Mutex::default() }
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
        let mut drops = self.drops.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        drops.count += 1;
        losses::HANDLER_EVENTS.count();
        if !drops.notices.is_due(Instant::now()) {
            return;
        }
        let (count, script) = (drops.count, &self.spec.script);
        warn!(
            target: "agent",
            "Script '{script}' is too slow: {LANE_EVENTS_MAX} events wait for it and {count} were dropped so far"
        );
    }
}

async fn run_lane(
    spec: HandlerSpec,
    mut events: mpsc::Receiver<Arc<AgentEvent>>,
    node: thane::Node,
    metrics: Option<Metrics>,
) {
    while let Some(event) = events.recv().await {
        // Each filter is a handler of its own: an event that passes two runs the script twice, as in Serf.
        for _match in spec.filters.iter().filter(|filter| event.passes(filter)) {
            let own_tags = node.tags().await;
            let start = Instant::now();
            invoke::run(&spec.script, &event, node.name(), &own_tags).await;
            if let Some(metrics) = &metrics {
                metrics.handler_ran(&spec.script, start.elapsed());
            }
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
