//! From the node's events to the log, the streams and the handlers.

use std::sync::Arc;

use thane::{CoalesceConfig, CoalescedEvent, Coalescer, Event, Events, Periods, Time};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::event::{self, AgentEvent};
use super::operations::Agent;
use crate::handlers::Handlers;
use crate::rpc_server::streams::Timing;

/// How long events are held. (Serf: `config.go` of its agent and `agent.go`, Create.)
const HELD: CoalesceConfig = CoalesceConfig { members: Some(Periods::AGENT), user: Some(Periods::AGENT) };

/// Logs each event at once and gives it, coalesced, to the streams and the handlers, none of which can hold it up. Streams that ask
/// for it get each event at once. Ends when the node has stopped and everything that was held is told.
pub(super) async fn deliver_events(
    mut events: Events,
    agent: Arc<Agent>,
    handlers: watch::Receiver<Handlers>,
) {
    let mut delivery = Delivery {
        own_name: agent.node.name().to_owned(),
        agent,
        handlers,
        coalescer: Coalescer::new(HELD),
        start: Instant::now(),
    };
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => delivery.take(event),
                None => break,
            },
            () = delivery.held_long_enough() => {}
        }
        delivery.tell();
    }
    delivery.coalescer.flush();
    delivery.tell();
}

struct Delivery {
    agent: Arc<Agent>,
    own_name: String,
    /// Those of the latest reload.
    handlers: watch::Receiver<Handlers>,
    coalescer: Coalescer,
    /// The coalescer's time zero.
    start: Instant,
}

impl Delivery {
    fn now(&self) -> Time {
        Time::from_start(self.start.elapsed())
    }

    /// Waits until something that is held is due; forever if nothing is.
    async fn held_long_enough(&self) {
        match self.coalescer.poll_timeout() {
            Time::NEVER => std::future::pending().await,
            due => sleep_until(self.start + due.since_start()).await,
        }
    }

    fn take(&mut self, event: Event) {
        if let Some(metrics) = &self.agent.metrics {
            metrics.library_event(&event);
            if let Event::Query(query) = &event {
                metrics.query(&query.name);
            }
        }
        if let Some(line) = event::log_line(&event, &self.own_name) {
            if is_ours(&event) {
                debug!(target: "thane::serf", "{line}");
            } else {
                info!(target: "thane::serf", "{line}");
            }
        }
        if let Event::Missed(missed) = &event {
            warn!(target: "agent", "{} events were lost: the agent was held up for too long", missed.count);
            // What was told last of each member is not what happened last.
            self.coalescer.flush();
            self.tell();
            self.coalescer = Coalescer::new(HELD);
        }
        if let Some(event) = AgentEvent::from_library(&event, &self.own_name) {
            self.agent.streams.deliver(&event, Timing::AtOnce);
        }
        self.coalescer.push(self.now(), event);
    }

    /// Tells what is due.
    fn tell(&mut self) {
        while let Some(event) = self.coalescer.poll(self.now()) {
            let ours = matches!(&event, CoalescedEvent::Pass(event) if is_ours(event));
            let Some(event) = AgentEvent::from_coalesced(event, &self.own_name) else { continue };
            if ours {
                debug!(target: "agent", "Received event: {}", event.describe());
            } else {
                info!(target: "agent", "Received event: {}", event.describe());
            }
            self.agent.streams.deliver(&event, Timing::Coalesced);
            self.handlers.borrow().deliver(&Arc::new(event));
        }
    }
}

/// Serf has no lines about suspicion; scripts that count its lines must not meet them at its levels.
fn is_ours(event: &Event) -> bool {
    matches!(event, Event::Suspected(_) | Event::Refuted(_))
}
