//! Who wants which events.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::warn;

use super::outbox::{Outbox, Pushed, Source};
use super::pending::PendingQueries;
use crate::agent::event::AgentEvent;
use crate::agent::filter::EventFilter;

/// All event streams of all clients.
#[derive(Default)]
pub(crate) struct Streams {
    all: Mutex<Vec<EventStream>>,
}

/// When a stream is told of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timing {
    /// Together with others, after they were held for a while, as Serf does it.
    Coalesced,
    /// As soon as the agent knows, each event for itself.
    AtOnce,
}

impl Timing {
    pub(super) fn of_stream(immediate: bool) -> Self {
        if immediate { Self::AtOnce } else { Self::Coalesced }
    }
}

struct EventStream {
    filters: Vec<EventFilter>,
    timing: Timing,
    seq: u64,
    source: Source,
    outbox: Arc<Outbox>,
    /// The queries that the client may answer.
    pending: Arc<PendingQueries>,
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").field("count", &self.lock().len()).finish_non_exhaustive()
    }
}

impl Streams {
    /// Sends the events that pass `filters` to a client, from now on.
    pub(super) fn add(
        &self,
        filters: Vec<EventFilter>,
        timing: Timing,
        seq: u64,
        source: Source,
        outbox: Arc<Outbox>,
        pending: Arc<PendingQueries>,
    ) {
        self.lock().push(EventStream { filters, timing, seq, source, outbox, pending });
    }

    /// Ends a stream of a client.
    pub(super) fn remove(&self, source: Source, client: &Arc<Outbox>) {
        self.lock().retain(|stream| stream.source != source || !Arc::ptr_eq(&stream.outbox, client));
    }

    /// Ends all streams of a client.
    pub(super) fn remove_client(&self, client: &Arc<Outbox>) {
        self.lock().retain(|stream| !Arc::ptr_eq(&stream.outbox, client));
    }

    /// Sends an event to each stream of this timing that wants it, once; never waits.
    pub(crate) fn deliver(&self, event: &AgentEvent, timing: Timing) {
        // The same for all, unless it is a query: each stream has a number of its own for that.
        let mut record = None;
        let mut due = Vec::new();
        self.lock().retain(|stream| {
            if stream.timing != timing || !stream.filters.iter().any(|filter| event.passes(filter)) {
                return true;
            }
            let mut bytes = Vec::new();
            if let AgentEvent::Query(query) = event {
                let id = stream.pending.add(query.clone());
                event.to_record(id).encode(stream.seq, &mut bytes);
            } else {
                record.get_or_insert_with(|| event.to_record(0)).encode(stream.seq, &mut bytes);
            }
            match stream.outbox.record(stream.source, bytes) {
                Pushed::Queued | Pushed::Dropped => true,
                Pushed::DroppedAndDue(count) => {
                    due.push((stream.outbox.client, count));
                    true
                }
                Pushed::Gone => false,
            }
        });
        for (client, count) in due {
            warn!(
                target: "agent.ipc",
                "Dropping event to ipc.client: {client} ({count} records dropped so far)"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<EventStream>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use thane::UserEvent;
    use thane_wire::rpc::{Incoming, Record, ResponseDecoder};

    use super::*;

    fn deploy() -> AgentEvent {
        let payload = Bytes::from_static(b"v1");
        AgentEvent::User(UserEvent { ltime: 9, name: "deploy".into(), payload, coalesce: false })
    }

    async fn records(outbox: &Outbox) -> Vec<(u64, Record)> {
        outbox.end();
        let (mut decoder, mut batch, mut records) = (ResponseDecoder::new(), Vec::new(), Vec::new());
        while outbox.next_batch(&mut batch).await {
            decoder.push(&batch);
            while let Some(incoming) = decoder.next_incoming().unwrap() {
                let Incoming::Record { seq, record } = incoming else { panic!("{incoming:?}") };
                records.push((seq, record));
            }
        }
        records
    }

    #[tokio::test]
    async fn each_stream_that_wants_an_event_gets_it_once() {
        let (streams, outbox) = (Streams::default(), Arc::new(Outbox::new("127.0.0.1:1".parse().unwrap())));
        for (seq, filters) in [(5, "user,user:deploy"), (6, "user:other"), (7, "*"), (8, "member-join")] {
            let filters = EventFilter::parse_list(filters).unwrap();
            streams.add(filters, Timing::Coalesced, seq, Source(seq), Arc::clone(&outbox), Arc::default());
        }
        streams.deliver(&deploy(), Timing::Coalesced);
        streams.remove(Source(7), &outbox);
        streams.deliver(&deploy(), Timing::Coalesced);
        let records = records(&outbox).await;
        let seqs: Vec<u64> = records.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(seqs, [5, 7, 5]);
        let Record::User(event) = &records[0].1 else { panic!("{records:?}") };
        assert_eq!(
            (event.ltime, event.name.as_str(), event.payload.as_deref()),
            (9, "deploy", Some(&b"v1"[..]))
        );
    }

    #[tokio::test]
    async fn a_stream_hears_of_events_in_its_own_time() {
        let (streams, outbox) = (Streams::default(), Arc::new(Outbox::new("127.0.0.1:1".parse().unwrap())));
        for (seq, timing) in [(5, Timing::Coalesced), (6, Timing::AtOnce)] {
            let all = EventFilter::parse_list("*").unwrap();
            streams.add(all, timing, seq, Source(seq), Arc::clone(&outbox), Arc::default());
        }
        streams.deliver(&deploy(), Timing::AtOnce);
        streams.deliver(&deploy(), Timing::Coalesced);
        let seqs: Vec<u64> = records(&outbox).await.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(seqs, [6, 5]);
    }

    #[tokio::test]
    async fn the_streams_of_a_client_that_is_gone_are_forgotten() {
        let (streams, outbox) = (Streams::default(), Arc::new(Outbox::new("127.0.0.1:1".parse().unwrap())));
        let all = EventFilter::parse_list("*").unwrap();
        streams.add(all, Timing::Coalesced, 1, Source(1), Arc::clone(&outbox), Arc::default());
        outbox.abandon();
        streams.deliver(&deploy(), Timing::Coalesced);
        assert_eq!(streams.lock().len(), 0);
    }
}
