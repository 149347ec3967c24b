//! From `tracing` events to lines.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::Log;

/// Gives every event to a [`Log`]. Spans are ignored: none of Serf's lines has one.
pub(super) struct LogLayer {
    log: Log,
}

impl LogLayer {
    pub(super) fn new(log: Log) -> Self {
        Self { log }
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut sentence = Sentence::default();
        event.record(&mut sentence);
        let metadata = event.metadata();
        self.log.write((*metadata.level()).into(), component(metadata.target()), &sentence.finish());
    }
}

/// The name by which a line's source goes in Serf's log.
fn component(target: &str) -> &str {
    target.strip_prefix("thane::").unwrap_or(target)
}

/// The message of an event and, where the library left out others of its kind, how many.
#[derive(Default)]
struct Sentence {
    text: String,
    suppressed: u64,
}

impl Sentence {
    fn finish(mut self) -> String {
        if self.suppressed > 0 {
            // Writing to a String cannot fail.
            _ = write!(self.text, " ({} similar lines left out)", self.suppressed);
        }
        self.text
    }
}

impl Visit for Sentence {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "suppressed" {
            self.suppressed = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.text);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a String cannot fail.
            _ = write!(self.text, "{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_those_of_serf() {
        for (target, expected) in [
            ("thane::serf", "serf"),
            ("thane::memberlist", "memberlist"),
            ("agent", "agent"),
            ("agent.ipc", "agent.ipc"),
        ] {
            assert_eq!(component(target), expected);
        }
    }
}
