//! One node that knows many members.

use std::net::SocketAddr;
use std::time::Duration;

use allocation_counter::{measure as count, opt_out as uncounted};
use thane_core::{Config, Node, Output, Seed, StreamFailure, Time};
use thane_wire::gossip::{Ack, Message};
use thane_wire::packet::Checksum;
use thane_wire::{Codec, CodecConfig};

use crate::messages::{CHUNK_BYTES, NodeRecord, push_pull};
use crate::timing::clock;

/// How many nodes learn, and how many stretches of idle time are timed; the table shows the median.
const ROUNDS: usize = 7;
/// Over how many seconds of the node's time the cost of an idle one is averaged, in each stretch. What falls due more rarely
/// than once a second is in it: the reaper, a new order of the ring, the start of a state exchange.
const IDLE_SECONDS: u32 = 60;

/// What one node costs.
#[derive(Debug)]
pub(crate) struct Row {
    /// How many members it knows besides itself.
    pub(crate) members: usize,
    /// Bytes it holds for each, with nothing left to gossip.
    pub(crate) bytes: f64,
    /// Bytes it held for each at worst while it learned them: with the stream's bytes, and the news still to be gossiped.
    pub(crate) peak_bytes: f64,
    /// How long it took to learn all of them from one state exchange.
    pub(crate) learn: Duration,
    /// What a second without news costs: its gossip rounds, its probe, and whatever falls due more rarely.
    pub(crate) idle_second: Duration,
}

/// A node learns this many members from one state exchange, spreads the word until it has no more to say, and is then left alone.
pub(crate) fn measure(members: usize) -> Row {
    let message = push_pull(&(0..members).map(NodeRecord::new).collect::<Vec<_>>());
    let mut learning = Vec::with_capacity(ROUNDS);
    uncounted(|| learning.extend((0..ROUNDS).map(|_round| Bed::new().learn(&message))));

    let mut bed = Bed::new();
    let learned = count(|| _ = bed.learn(&message));
    assert_eq!(bed.node.stats().live, members + 1, "all members were learned");
    let settled = count(|| bed.run_until_quiet());

    let mut idle = Vec::with_capacity(ROUNDS);
    uncounted(|| idle.extend((0..ROUNDS).map(|_round| bed.idle() / IDLE_SECONDS)));
    assert_eq!(bed.node.stats().live, members + 1, "nobody was lost meanwhile");
    Row {
        members,
        bytes: (learned.bytes_current + settled.bytes_current) as f64 / members as f64,
        peak_bytes: learned.bytes_max as f64 / members as f64,
        learn: median(learning),
        idle_second: median(idle),
    }
}

fn median(mut spans: Vec<Duration>) -> Duration {
    spans.sort_unstable();
    spans[spans.len() / 2]
}

/// The node, and a stand-in for everybody else.
struct Bed {
    node: Node,
    now: Time,
    /// How everybody seals packets.
    codec: Codec,
}

impl Bed {
    fn new() -> Self {
        let mut config = Config::lan("benchmarked", SocketAddr::from(([10, 255, 255, 1], 7946)));
        // How fast and how often the news is passed on does not change what is held when that is over.
        config.retransmit_mult = 1;
        config.udp_buffer_size = 65_000;
        config.compression = false;
        let now = Time::ZERO;
        let node = Node::new(config, Seed::from(1), now).unwrap();
        let codec = Codec::new(CodecConfig::default()).unwrap();
        let mut bed = Self { node, now, codec };
        bed.run_for(Duration::from_secs(1));
        bed
    }

    /// Somebody joins who knows them all. Gives how long it took to take them over.
    fn learn(&mut self, message: &[u8]) -> Duration {
        let start = clock();
        let stream = self.node.handle_stream_accepted(self.now, ([10, 0, 0, 0], 50_000).into()).unwrap();
        for chunk in message.chunks(CHUNK_BYTES) {
            self.node.handle_stream_data(self.now, stream, chunk);
            self.answer();
        }
        start.elapsed()
    }

    /// Gives how long [`IDLE_SECONDS`] took.
    fn idle(&mut self) -> Duration {
        let start = clock();
        self.run_for(Duration::from_secs(1) * IDLE_SECONDS);
        start.elapsed()
    }

    /// Time passes until no broadcast is waiting.
    fn run_until_quiet(&mut self) {
        while self.node.stats().membership_queue > 0 {
            self.run_for(Duration::from_secs(1));
        }
    }

    fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.node.poll_timeout() <= end {
            self.now = self.now.max(self.node.poll_timeout());
            self.node.handle_timeout(self.now);
            self.answer();
        }
        self.now = end;
    }

    /// Does what the node asks for: every member answers its pings, none accepts a stream.
    fn answer(&mut self) {
        while let Some(output) = self.node.poll_output() {
            match output {
                Output::Send { to, packet } => {
                    if let Some(ack) = self.ack(packet) {
                        self.node.handle_packet(self.now, to, ack.into());
                    }
                }
                Output::Dial { stream, .. } => {
                    let failure = StreamFailure::Refused("not part of this measurement".to_owned());
                    self.node.handle_stream_failed(self.now, stream, failure);
                }
                _told => {}
            }
        }
    }

    /// The answer to a packet, if a ping is its first message.
    fn ack(&self, packet: Vec<u8>) -> Option<Vec<u8>> {
        let opened = self.codec.open_packet(packet.into()).unwrap();
        let Ok(Message::Ping(ping)) = Message::decode(opened.messages.first()?) else { return None };
        let mut ack = Vec::new();
        Ack { seq: ping.seq, payload: None }.encode(&mut ack);
        Some(self.codec.seal_packet(&[ack], Checksum::Add, [0; 12]))
    }
}
