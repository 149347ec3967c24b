//! What waits to be written to one client.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::logging::RING_LINES;
use crate::losses::{self, NoticeLimit};

/// Records of one stream or monitor waiting for one client. The newest are dropped beyond that. (Serf: `ipc.go`, 512
/// for both.)
pub(super) const RECORDS_MAX: usize = 512;

/// Bytes waiting for one client, whatever they are of. Records are dropped beyond that; responses are not, but the
/// client's next request then waits.
const BYTES_MAX: usize = 4 << 20;

/// Bytes taken for one write.
const BATCH_BYTES: usize = 64 << 10;

/// Room for so many entries is kept when the queue is empty.
const ENTRIES_KEPT: usize = 16;

// The backlog of a monitor fits its queue.
const _: () = assert!(RING_LINES <= RECORDS_MAX);

/// Whose records they are: a number that a client's streams and monitors never share, also over time. Sequence numbers
/// may repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source(pub(super) u64);

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It is in the queue.
    Queued,
    /// It is lost.
    Dropped,
    /// It is lost, so many were before, and it is time to say so.
    DroppedAndDue(u64),
    /// The client is gone.
    Gone,
}

/// The queue of one client: filled by anybody without waiting, emptied by the task that writes to its socket.
pub(super) struct Outbox {
    /// Who it is, for the log.
    pub(super) client: SocketAddr,
    queue: Mutex<Queue>,
    /// Something was put in, or the end was announced.
    filled: Notify,
    /// Something was written, or the socket is gone.
    emptied: Notify,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Records in the queue, by source.
    waiting: BTreeMap<Source, usize>,
    /// Responses that were put in and are not written yet.
    responses: usize,
    /// Of them, those in the batch being written.
    responses_in_batch: usize,
    state: State,
    dropped: u64,
    notices: NoticeLimit,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// What is in the queue will be written, nothing more is put in.
    Ending,
    /// The socket is gone.
    Gone,
}

struct Entry {
    /// `None` for a response.
    source: Option<Source>,
    bytes: Vec<u8>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Outbox {
    pub(super) fn new(client: SocketAddr) -> Self {
        Self { client, queue: Mutex::default(), filled: Notify::new(), emptied: Notify::new() }
    }

    /// Puts in a response. It is never dropped: [`responses_written`](Self::responses_written) keeps a client from
    /// asking for more than it takes.
    pub(super) fn respond(&self, bytes: Vec<u8>) {
        let mut queue = self.lock();
        if queue.state == State::Open {
            queue.responses += 1;
            queue.push(None, bytes);
        }
        drop(queue);
        self.filled.notify_one();
    }

    /// Puts in a record, unless its source has its share already.
    pub(super) fn record(&self, source: Source, bytes: Vec<u8>) -> Pushed {
        let mut queue = self.lock();
        if queue.state != State::Open {
            return Pushed::Gone;
        }
        if !queue.has_room(source, bytes.len()) {
            return queue.count_drop(Instant::now());
        }
        queue.push(Some(source), bytes);
        drop(queue);
        self.filled.notify_one();
        Pushed::Queued
    }

    /// Puts in a record as soon as there is room for it; `false` if the client is gone.
    pub(super) async fn record_when_room(&self, source: Source, bytes: Vec<u8>) -> bool {
        loop {
            // Made before the check: a notification in between is kept for it.
            let emptied = self.emptied.notified();
            {
                let mut queue = self.lock();
                if queue.state != State::Open {
                    return false;
                }
                if queue.has_room(source, bytes.len()) {
                    queue.push(Some(source), bytes);
                    break;
                }
            }
            emptied.await;
        }
        self.filled.notify_one();
        true
    }

    /// Waits until every response is written, or the client is gone.
    pub(super) async fn responses_written(&self) {
        loop {
            // Made before the check: a notification in between is kept for it.
            let emptied = self.emptied.notified();
            {
                let queue = self.lock();
                if queue.responses == 0 || queue.state == State::Gone {
                    return;
                }
            }
            emptied.await;
        }
    }

    /// Replaces the contents of `batch` with what is to be written next; waits for it. `false` at the end.
    pub(super) async fn next_batch(&self, batch: &mut Vec<u8>) -> bool {
        batch.clear();
        loop {
            let filled = self.filled.notified();
            {
                let mut queue = self.lock();
                if queue.take_batch(batch) {
                    return true;
                }
                if queue.state != State::Open {
                    return false;
                }
            }
            filled.await;
        }
    }

    /// The last batch is on its way to the client.
    pub(super) fn batch_written(&self) {
        let mut queue = self.lock();
        queue.responses -= queue.responses_in_batch;
        queue.responses_in_batch = 0;
        drop(queue);
        self.emptied.notify_waiters();
    }

    /// Nothing more will be put in.
    pub(super) fn end(&self) {
        let mut queue = self.lock();
        if queue.state == State::Open {
            queue.state = State::Ending;
        }
        drop(queue);
        self.filled.notify_one();
    }

    /// The socket is gone, and so is what waits for it.
    pub(super) fn abandon(&self) {
        let mut queue = self.lock();
        *queue = Queue { state: State::Gone, ..Queue::default() };
        drop(queue);
        self.filled.notify_one();
        self.emptied.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn has_room(&self, source: Source, bytes: usize) -> bool {
        let waiting = self.waiting.get(&source).copied().unwrap_or(0);
        waiting < RECORDS_MAX && self.bytes + bytes <= BYTES_MAX
    }

    fn push(&mut self, source: Option<Source>, bytes: Vec<u8>) {
        self.bytes += bytes.len();
        if let Some(source) = source {
            *self.waiting.entry(source).or_default() += 1;
        }
        self.entries.push_back(Entry { source, bytes });
    }

    fn take_batch(&mut self, batch: &mut Vec<u8>) -> bool {
        while let Some(entry) = self.entries.pop_front() {
            // At least one goes, however large.
            if !batch.is_empty() && batch.len() + entry.bytes.len() > BATCH_BYTES {
                self.entries.push_front(entry);
                break;
            }
            self.bytes -= entry.bytes.len();
            match entry.source {
                Some(source) => self.count_taken(source),
                None => self.responses_in_batch += 1,
            }
            batch.extend_from_slice(&entry.bytes);
        }
        if self.entries.is_empty() {
            self.entries.shrink_to(ENTRIES_KEPT);
        }
        !batch.is_empty()
    }

    fn count_taken(&mut self, source: Source) {
        if let Some(waiting) = self.waiting.get_mut(&source) {
            *waiting -= 1;
            if *waiting == 0 {
                self.waiting.remove(&source);
            }
        }
    }

    fn count_drop(&mut self, now: Instant) -> Pushed {
        self.dropped += 1;
        losses::RPC_RECORDS.count();
        if self.notices.is_due(now) { Pushed::DroppedAndDue(self.dropped) } else { Pushed::Dropped }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn outbox() -> Outbox {
        Outbox::new("127.0.0.1:1".parse().unwrap())
    }

    async fn batch(outbox: &Outbox) -> Vec<u8> {
        let mut batch = Vec::new();
        assert!(outbox.next_batch(&mut batch).await);
        batch
    }

    #[tokio::test]
    async fn each_source_has_its_share_and_the_newest_are_dropped() {
        let outbox = outbox();
        for number in 0..RECORDS_MAX {
            assert_eq!(outbox.record(Source(1), vec![number as u8]), Pushed::Queued);
        }
        assert_eq!(outbox.record(Source(1), vec![1]), Pushed::DroppedAndDue(1));
        assert_eq!(outbox.record(Source(1), vec![2]), Pushed::Dropped, "one notice is enough for a while");
        assert_eq!(outbox.record(Source(2), vec![3]), Pushed::Queued, "another source is not concerned");
        outbox.respond(vec![4]);
        let batch = batch(&outbox).await;
        assert_eq!((batch.len(), batch[0], &batch[RECORDS_MAX..]), (RECORDS_MAX + 2, 0, &[3, 4][..]));
    }

    #[test]
    fn a_client_that_never_reads_costs_its_queue_and_a_notice_a_minute() {
        let (outbox, start) = (outbox(), Instant::now());
        for _record in 0..RECORDS_MAX {
            assert_eq!(outbox.record(Source(1), vec![0; 100]), Pushed::Queued);
        }
        let before = losses::RPC_RECORDS.total();
        let mut queue = outbox.lock();
        // Ten minutes with a record every ten milliseconds.
        let told: Vec<Pushed> = (0..60_000)
            .map(|tick| queue.count_drop(start + std::time::Duration::from_millis(10) * tick))
            .filter(|pushed| *pushed != Pushed::Dropped)
            .collect();
        let expected: Vec<Pushed> = (0..10).map(|minute| Pushed::DroppedAndDue(minute * 6000 + 1)).collect();
        assert_eq!(told, expected, "each notice says how many are lost so far");
        assert_eq!((queue.entries.len(), queue.bytes), (RECORDS_MAX, RECORDS_MAX * 100));
        assert!(losses::RPC_RECORDS.total() >= before + 60_000, "the doctor is told");
    }

    #[tokio::test]
    async fn bytes_are_bounded_whatever_the_source() {
        let outbox = outbox();
        let large = vec![0; BYTES_MAX / 4];
        for source in 0..4 {
            assert_eq!(outbox.record(Source(source), large.clone()), Pushed::Queued);
        }
        assert_eq!(outbox.record(Source(9), vec![0]), Pushed::DroppedAndDue(1));
        assert_eq!(batch(&outbox).await.len(), large.len(), "an entry larger than a batch goes alone");
        assert_eq!(outbox.record(Source(9), vec![0]), Pushed::Queued);
    }

    #[tokio::test]
    async fn the_end_lets_what_waits_go_first() {
        let outbox = outbox();
        outbox.respond(vec![1]);
        outbox.end();
        assert_eq!(outbox.record(Source(1), vec![2]), Pushed::Gone);
        assert_eq!(batch(&outbox).await, [1]);
        assert!(!outbox.next_batch(&mut Vec::new()).await);
    }

    #[tokio::test]
    async fn responses_are_awaited_until_written_or_hopeless() {
        for is_written in [true, false] {
            let outbox = Arc::new(outbox());
            outbox.respond(vec![1]);
            let waiting = tokio::spawn({
                let outbox = Arc::clone(&outbox);
                async move { outbox.responses_written().await }
            });
            batch(&outbox).await;
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            if is_written {
                outbox.batch_written();
            } else {
                outbox.abandon();
            }
            waiting.await.unwrap();
        }
    }
}
