//! What goes into a packet, and the rounds that send it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thane_wire::gossip::kind;
use thane_wire::limits::COMPOUND_PARTS_MAX;
use thane_wire::packet::Checksum;

use super::Node;
use crate::broadcast_queue::{Message, PART_BYTES};
use crate::formulas::retransmit_limit;
use crate::measure::Measure;
use crate::member::State;
use crate::notice::{Layer, Level};
use crate::time::Time;
use crate::timers::Timer;

/// Bytes of a compound's header.
const COMPOUND_BYTES: usize = 2;
/// Between two looks at their depth, Serf's queues may grow to this many times it. Differs from Serf: there a flood of messages fills
/// the memory until the next look.
pub(super) const QUEUE_SURGE: usize = 2;

/// Shortest time between two extra rounds of gossip, as a part of the gossip interval.
const SPREAD_GAP: f64 = 0.1;

/// When news last got a round of gossip of their own.
#[derive(Debug, Default)]
pub(super) struct Spread {
    last: Option<Time>,
    /// Further news wait for the next one.
    pending: bool,
}

/// When rounds of gossip are due. While there is nothing to say, no timer is set for them: a node that idles need not wake five times
/// a second. The rounds keep their time: the next one is when it would have been.
#[derive(Debug, Default)]
pub(super) struct GossipClock {
    /// When the next round is due, or was while it slept. `None`: never.
    next: Option<Time>,
    /// Whether a timer is set for it.
    awake: bool,
}

impl GossipClock {
    pub(super) fn start(&mut self, first: Time) {
        self.next = Some(first);
    }

    /// How many rounds have passed in sleep before `now`.
    fn slept(&self, now: Time, interval: Duration) -> u32 {
        match self.next {
            Some(next) if !self.awake && next < now => {
                let rounds = now.since(next).as_nanos().div_ceil(interval.as_nanos());
                u32::try_from(rounds).unwrap_or(u32::MAX)
            }
            _ => 0,
        }
    }
}

impl Node {
    pub(super) fn gossip_sleeps(&self) -> bool {
        self.gossip_clock.next.is_some() && !self.gossip_clock.awake
    }

    /// Whether rounds are to take place. While somebody is suspect they do in any case: from a round that is late, the node sees that
    /// it was paused, and gives suspects the lost time back.
    pub(super) fn gossip_is_wanted(&self) -> bool {
        self.table.known() > 1 && !self.nothing_to_gossip() || self.table.suspect() > 0
    }

    /// Rounds that took place in sleep, with nothing to say, since the last one that was counted.
    pub(super) fn gossip_rounds_slept(&self) -> u64 {
        self.gossip_clock.slept(self.now, self.config.gossip_interval).into()
    }

    /// The end of every input: if there is something to say by now, the next round will say it.
    pub(super) fn wake_gossip(&mut self) {
        if !self.gossip_sleeps() || !self.gossip_is_wanted() {
            return;
        }
        let interval = self.config.gossip_interval;
        let slept = self.gossip_clock.slept(self.now, interval);
        self.counters.gossip_rounds += u64::from(slept);
        if let Some(next) = &mut self.gossip_clock.next {
            *next += interval * slept;
            self.timers.set(*next, Timer::GossipTick);
            self.gossip_clock.awake = true;
        }
    }

    pub(super) fn gossip_tick(&mut self) {
        self.gossip_clock = GossipClock { next: Some(self.now + self.config.gossip_interval), awake: false };
        if !self.gossip_must_wait() {
            self.gossip_round();
        }
    }

    /// Sends what is queued to a few random members. The recently dead are among them, so that they may refute.
    /// (memberlist: `state.go`, gossip.)
    pub(super) fn gossip_round(&mut self) {
        self.counters.gossip_rounds += 1;
        self.gossip_once();
    }

    /// Something was queued that is worth a round of its own. A round more often than every [`SPREAD_GAP`] it does not get; then it waits
    /// that long. What is sent now need not be sent later: the number of transmissions stays the same.
    pub(super) fn spread_at_once(&mut self) {
        let interval = self.config.gossip_interval;
        if !self.config.detector.spread_at_once || interval.is_zero() || self.spread.pending {
            return;
        }
        let next = self.spread.last.map_or(self.now, |last| last + interval.mul_f64(SPREAD_GAP));
        if next <= self.now {
            self.spread.last = Some(self.now);
            self.counters.extra_gossip_rounds += 1;
            if !self.gossip_must_wait() {
                self.gossip_once();
            }
        } else {
            self.spread.pending = true;
            self.timers.set(next, Timer::SpreadNow);
        }
    }

    pub(super) fn spread_delayed(&mut self) {
        self.spread.pending = false;
        self.spread_at_once();
    }

    fn gossip_once(&mut self) {
        if self.nothing_to_gossip() {
            return;
        }
        let (own, now, window) = (self.own, self.now, self.config.gossip_to_the_dead_time);
        let receivers = self.table.choose(&mut self.rng, self.config.gossip_nodes, |id, entry| {
            id != own
                && match entry.state {
                    State::Alive | State::Suspect => true,
                    State::Dead => now.since(entry.state_since()) <= window,
                    State::Left | State::Forgotten => false,
                }
        });
        for id in receivers {
            let mut messages = Vec::new();
            if self.table[id].state == State::Dead {
                // It needs to hear what is said about members, to refute it. Intents and events are for the living: each is sent only
                // so many times. Differs from Serf: there they are spent on the dead as well.
                self.take_statements(self.packet_room(), &mut messages);
            } else {
                self.take_gossip(self.packet_room(), &mut messages);
            }
            if messages.is_empty() {
                continue;
            }
            let (to, checksum) = (self.table[id].reached_at(), self.checksum_for(id));
            self.send(to, checksum, &parts(&messages));
        }
    }

    /// Sends one message, and in what is left of the packet, whatever is queued.
    pub(super) fn send_with_gossip(&mut self, to: SocketAddr, checksum: Checksum, message: Vec<u8>) {
        if self.nothing_to_gossip() {
            return self.send(to, checksum, &[message]);
        }
        let room = self.packet_room().saturating_sub(message.len() + PART_BYTES);
        let mut messages = vec![Message::new(None, &message)];
        self.take_gossip(room, &mut messages);
        self.send(to, checksum, &parts(&messages));
    }

    /// A message for the queues, a statement if it is `about` somebody. Simulated nodes keep one copy of what many of them queue.
    pub(super) fn shared(&self, about: Option<&Arc<str>>, message: &[u8]) -> Arc<Message> {
        match &self.config.interner {
            Some(interner) => interner.message(about, message),
            None => Message::new(about, message),
        }
    }

    /// Bytes that parts of one packet, with [`PART_BYTES`] each, may take together.
    pub(super) fn packet_room(&self) -> usize {
        self.config.udp_buffer_size.saturating_sub(COMPOUND_BYTES + self.codec.packet_overhead())
    }

    fn nothing_to_gossip(&self) -> bool {
        self.statements.is_empty()
            && self.intents.is_empty()
            && self.queries.is_empty()
            && self.events.is_empty()
    }

    /// Fills `room` bytes: statements about members first, then intents, queries and events.
    ///
    /// Differs from Serf: while others wait, statements get at most three quarters of a packet, so that a restless cluster does not
    /// starve its users' messages. And one packet in four is filled the other way round, so that neither many intents nor the size
    /// of an event keeps it waiting.
    fn take_gossip(&mut self, room: usize, out: &mut Vec<Arc<Message>>) {
        if self.nothing_to_gossip() {
            return;
        }
        if self.intents.is_empty() && self.queries.is_empty() && self.events.is_empty() {
            self.take_statements(room, out);
            return;
        }
        self.mixed_packets = self.mixed_packets.wrapping_add(1);
        if self.mixed_packets.is_multiple_of(4) {
            let used = self.take_users_messages(room, true, out);
            self.take_statements(room - used, out);
        } else {
            let used = self.take_statements(room / 4 * 3, out);
            self.take_users_messages(room - used, false, out);
        }
    }

    /// Takes what belongs to Serf's layer; from the last queue to the first if `events_first`. Gives the bytes taken.
    fn take_users_messages(&mut self, room: usize, events_first: bool, out: &mut Vec<Arc<Message>>) -> usize {
        let limit = retransmit_limit(self.config.retransmit_mult, self.table.with_status());
        let (mut used, before) = (0, out.len());
        let mut queues = [&mut self.intents, &mut self.queries, &mut self.events];
        if events_first {
            queues.reverse();
        }
        for queue in queues {
            used += queue.take(PART_BYTES, room - used, limit, COMPOUND_PARTS_MAX, out);
        }
        self.measure_sent(&out[before..]);
        used
    }

    fn take_statements(&mut self, room: usize, out: &mut Vec<Arc<Message>>) -> usize {
        let limit = retransmit_limit(self.config.retransmit_mult, self.table.known());
        let before = out.len();
        let used = self.statements.take(PART_BYTES, room, limit, COMPOUND_PARTS_MAX, out);
        self.measure_sent(&out[before..]);
        used
    }

    /// Measures the messages of Serf's layer among these.
    fn measure_sent(&mut self, messages: &[Arc<Message>]) {
        for message in messages.iter().filter(|message| message.first() == Some(&kind::USER)) {
            // Without memberlist's byte for messages of its users.
            self.measure(Measure::MessageSent, (message.len() - 1) as f64);
        }
    }

    /// The depth to which each of Serf's queues is cut back.
    pub(super) fn queue_depth_max(&self) -> usize {
        match self.config.min_queue_depth {
            0 => self.config.max_queue_depth,
            min => min.max(2 * self.table.with_status()),
        }
    }

    /// Looks at the depth of Serf's queues. (Serf: `serf.go`, checkQueueDepth.)
    pub(super) fn queue_tick(&mut self) {
        self.timers.set(self.now + self.config.queue_check_interval, Timer::QueueTick);
        let max = self.queue_depth_max();
        let queues =
            [("intent", &mut self.intents), ("query", &mut self.queries), ("event", &mut self.events)];
        let depths = queues.map(|(name, queue)| (name, queue.len(), queue.prune(max)));
        for (name, depth, dropped) in depths {
            self.counters.broadcasts_pruned += dropped as u64;
            if depth >= self.config.queue_depth_warning {
                self.notice(Level::Warn, Layer::Serf, "queue_depth", None, || {
                    format!("{depth} messages wait in the {name} queue; {dropped} of them over the limit were dropped")
                });
            }
        }
    }
}

/// The bytes of these messages.
fn parts(messages: &[Arc<Message>]) -> Vec<&[u8]> {
    messages.iter().map(|message| &***message).collect()
}
