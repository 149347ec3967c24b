//! The log on its way to a client that monitors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use thane_wire::rpc::Record;

use super::outbox::{Outbox, Pushed, Source};
use crate::logging::{LogSink, Taken};

/// Log lines for a client that monitors.
#[derive(Debug)]
pub(super) struct MonitorSink {
    outbox: Arc<Outbox>,
    seq: u64,
    source: Source,
    stopped: AtomicBool,
}

impl MonitorSink {
    pub(super) fn new(outbox: Arc<Outbox>, seq: u64, source: Source) -> Self {
        Self { outbox, seq, source, stopped: false.into() }
    }

    /// The client asked for no more.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Sequence number of the request that began it.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }
}

impl LogSink for MonitorSink {
    fn is_gone(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn take(&self, line: &Arc<str>) -> Taken {
        if self.is_gone() {
            return Taken::Gone;
        }
        let mut bytes = Vec::with_capacity(line.len() + 32);
        Record::Log(line.to_string()).encode(self.seq, &mut bytes);
        match self.outbox.record(self.source, bytes) {
            Pushed::Queued => Taken::Queued,
            Pushed::Dropped => Taken::Dropped,
            Pushed::DroppedAndDue(count) => Taken::DroppedAndDue(format!(
                "Dropping logs to ipc.client: {} ({count} records dropped so far)",
                self.outbox.client
            )),
            Pushed::Gone => Taken::Gone,
        }
    }
}
