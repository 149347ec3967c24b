//! What the application hears, through bounded queues that never slow the node.
//!
//! The [`Hub`] sits between the driver, which publishes, and any number of [`Events`], which read. A queue that is full
//! counts what it misses; when its reader has emptied it, the reader asks for a marker and the driver, which alone knows
//! the members of this very moment, puts it in. So a queue never holds more than one marker, and everything that follows
//! a marker happened after the state it shows.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use thane_core::{Change, Coalescable, Member, MemberEventKind, UserEvent};
use tokio::sync::{Notify, mpsc};

use crate::driver::Command;
use crate::query::IncomingQuery;

/// How many events wait for a subscriber that does not read; more are counted instead of kept.
pub const EVENT_QUEUE_MAX: usize = 1024;
/// Least time between two log lines about subscribers that do not read.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// Something that happened in the cluster, in the order in which this node saw it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A member joined, or came back. The first event of all is the node's own.
    Joined(Change),
    /// A member left of its own accord, or was told to (force-leave).
    Left(Change),
    /// A member failed.
    Failed(Change),
    /// A member's tags, address or versions changed.
    Updated(Change),
    /// A member was forgotten.
    Reaped(Change),
    /// A member is suspected to have failed; it has some seconds to refute.
    Suspected(Change),
    /// A suspected member answered.
    Refuted(Change),
    /// A user event.
    User(UserEvent),
    /// A query, to be answered with [`IncomingQuery::respond`]. Several subscribers may get it; the first answer counts.
    Query(IncomingQuery),
    /// This subscriber did not read fast enough, and missed events.
    Missed(Missed),
}

impl Event {
    /// The core's event as the application sees it; `None` for a kind that this version of the library does not know. Answers
    /// to queries go to the driver through `commands`.
    pub(crate) fn from_core(event: thane_core::Event, commands: &mpsc::Sender<Command>) -> Option<Self> {
        use thane_core::Event as Core;
        Some(match event {
            Core::Joined(change) => Self::Joined(change),
            Core::Left(change) => Self::Left(change),
            Core::Failed(change) => Self::Failed(change),
            Core::Updated(change) => Self::Updated(change),
            Core::Reaped(change) => Self::Reaped(change),
            Core::Suspected(change) => Self::Suspected(change),
            Core::Refuted(change) => Self::Refuted(change),
            Core::User(event) => Self::User(event),
            Core::Query(event) => Self::Query(IncomingQuery::new(event, commands.clone())),
            _ => return None,
        })
    }
}

/// Holds events back, to tell several as one; see [`thane_core::Coalescer`].
pub type Coalescer = thane_core::Coalescer<Event>;

/// What comes out of a [`Coalescer`].
pub type CoalescedEvent = thane_core::CoalescedEvent<Event>;

impl From<Event> for Coalescable<Event> {
    fn from(event: Event) -> Self {
        match event {
            Event::Joined(change) => Self::Member(MemberEventKind::Join, change),
            Event::Left(change) => Self::Member(MemberEventKind::Leave, change),
            Event::Failed(change) => Self::Member(MemberEventKind::Failed, change),
            Event::Updated(change) => Self::Member(MemberEventKind::Update, change),
            Event::Reaped(change) => Self::Member(MemberEventKind::Reap, change),
            Event::User(event) => Self::User(event),
            other => Self::Other(other),
        }
    }
}

/// What a subscriber gets in place of the events that did not fit its queue.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Missed {
    /// How many events were left out.
    pub count: u64,
    /// All members as they are now, ordered by name; later events build on this. Empty if the node has failed
    /// ([`crate::Stopped::Failed`]).
    pub members: Vec<Member>,
}

/// A subscription. Dropping it ends it; it does not keep the node alive.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), thane::StartError> {
/// use thane::Event;
///
/// let (node, mut events) = thane::Node::builder().name("web-1").bind("127.0.0.1:0").start_with_events().await?;
/// let Some(Event::Joined(change)) = events.next().await else { panic!("our own join comes first") };
/// assert_eq!(&*change.member.name, "web-1");
/// node.shutdown().await;
/// assert_eq!(events.next().await, None);
/// # Ok(())
/// # }
/// ```
pub struct Events {
    queue: Arc<Queue>,
    hub: Arc<Hub>,
}

impl Events {
    /// The next event, in order. `None` when the node has stopped and everything has been read.
    ///
    /// Cancel-safe: a future that is dropped has taken nothing.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            // Ask to be woken before looking, so that nothing published in between is slept through.
            let woken = self.queue.readable.notified();
            match self.queue.take() {
                Taken::Event(event) => return Some(event),
                Taken::Ended => return None,
                Taken::Nothing => {}
                // The driver answers by publishing a marker to this queue.
                Taken::MarkerWanted => self.hub.marker_wanted.notify_one(),
            }
            woken.await;
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        lock(&self.hub.inner).queues.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.queue.state);
        f.debug_struct("Events")
            .field("waiting", &state.events.len())
            .field("missed", &state.missed)
            .finish_non_exhaustive()
    }
}

/// One subscriber's queue.
#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    readable: Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    events: VecDeque<Event>,
    /// Events left out since the queue was last full.
    missed: u64,
    marker_wanted: bool,
    ended: bool,
}

enum Taken {
    Event(Event),
    Nothing,
    MarkerWanted,
    Ended,
}

impl Queue {
    fn take(&self) -> Taken {
        let mut state = lock(&self.state);
        match state.events.pop_front() {
            Some(event) => Taken::Event(event),
            None if state.ended => Taken::Ended,
            None if state.missed > 0 => {
                state.marker_wanted = true;
                Taken::MarkerWanted
            }
            None => Taken::Nothing,
        }
    }

    /// Whether there was room for it.
    fn publish(&self, event: Event) -> bool {
        let mut state = lock(&self.state);
        // Once something is missing, everything is left out until the marker, or the order would lie.
        if state.missed > 0 || state.events.len() >= EVENT_QUEUE_MAX {
            state.missed += 1;
            return false;
        }
        state.events.push_back(event);
        drop(state);
        self.readable.notify_one();
        true
    }

    /// Puts the marker in if the reader waits for it, or in any case at the end.
    fn mark(&self, members: &mut dyn FnMut() -> Vec<Member>, at_the_end: bool) {
        let mut state = lock(&self.state);
        if state.missed > 0 && (state.marker_wanted || at_the_end) {
            let missed = Missed { count: std::mem::take(&mut state.missed), members: members() };
            state.events.push_back(Event::Missed(missed));
            state.marker_wanted = false;
        } else if !at_the_end {
            return;
        }
        state.ended |= at_the_end;
        drop(state);
        self.readable.notify_one();
    }
}

/// All subscribers of one node.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    inner: Mutex<HubInner>,
    /// A subscriber has read its queue to the end and waits for its marker.
    pub(crate) marker_wanted: Notify,
}

#[derive(Debug, Default)]
struct HubInner {
    queues: Vec<Arc<Queue>>,
    ended: bool,
    /// Events left out so far, of all subscribers, and how many of them were told.
    missed: u64,
    missed_told: u64,
    /// When they were.
    told_at: Option<Instant>,
}

impl HubInner {
    /// Counts events that were left out. How many there are to be told of, if it is time.
    fn count_missed(&mut self, count: u64, now: Instant) -> Option<u64> {
        self.missed += count;
        if self.told_at.is_some_and(|told| now.duration_since(told) < TELL_INTERVAL) {
            return None;
        }
        self.told_at = Some(now);
        Some(self.missed - std::mem::replace(&mut self.missed_told, self.missed))
    }
}

impl Hub {
    /// A subscription to everything that is published from now on.
    pub(crate) fn subscribe(self: &Arc<Self>) -> Events {
        let queue = Arc::new(Queue::default());
        let mut inner = lock(&self.inner);
        if inner.ended {
            lock(&queue.state).ended = true;
        } else {
            inner.queues.push(Arc::clone(&queue));
        }
        drop(inner);
        Events { queue, hub: Arc::clone(self) }
    }

    /// Gives an event to every subscriber.
    pub(crate) fn publish(&self, event: Event) {
        let mut inner = lock(&self.inner);
        // The last one gets the event itself: with one subscriber, the usual case, nothing is cloned.
        let Some((last, others)) = inner.queues.split_last() else { return };
        let full = others.iter().filter(|queue| !queue.publish(event.clone())).count();
        let full = full + usize::from(!last.publish(event));
        if full == 0 {
            return;
        }
        let told = inner.count_missed(full as u64, Instant::now());
        drop(inner);
        if let Some(count) = told {
            tracing::warn!(target: "thane::driver", kind = "events_missed", "a subscriber does not read its events: {count} were left out since this was last told; it gets the members of that moment when it reads on");
        }
    }

    /// How many events were left out, of all subscribers.
    pub(crate) fn missed(&self) -> u64 {
        lock(&self.inner).missed
    }

    /// Answers those who wait for their marker. `members` is asked only if there are any.
    pub(crate) fn mark(&self, members: &mut dyn FnMut() -> Vec<Member>) {
        for queue in &lock(&self.inner).queues {
            queue.mark(members, false);
        }
    }

    /// Ends all subscriptions, once they are read, and those to come. Later calls do nothing.
    pub(crate) fn end(&self, members: &mut dyn FnMut() -> Vec<Member>) {
        let mut inner = lock(&self.inner);
        inner.ended = true;
        for queue in std::mem::take(&mut inner.queues) {
            queue.mark(members, true);
        }
    }
}

/// The lists stay consistent between any two statements, so a panic elsewhere does not spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
