//! A gate between a process and the network: the fault of the Lifeguard paper.
//!
//! While a host is blocked, its process runs and its timers go off, but whatever it exchanges with others waits: "immediately before
//! sending or after receiving any protocol message" (Dadgar, Phillips, Currey, DSN 2018, section 5). What it wants to send or write
//! stays at the gate in order, and the core is told that its packets do not leave ([`Node::handle_sends_held`]), as any driver
//! would whose socket is full. Packets that arrive wait in the socket's buffer, which can overflow. What is no message does not wait: a
//! connection that is opened, refused or lost.
//!
//! When the block ends, what waited to go out goes, and the core goes on. memberlist reads packets in one task, and each stream in
//! another. So what a stream has brought is taken up at once, each stream for itself. Packets are taken up one by one, each taking
//! [`World::set_catch_up`]; the first one at once, because the process had it in hand. The next block stops that wherever it is. So
//! somebody who is blocked again and again, with little time in between, falls behind and lives on old news, as the paper's members
//! do, until an exchange of state brings fresh ones.
//!
//! Streams keep their deadlines meanwhile, as memberlist's do. What it wants to write and cannot until the exchange is given up is never
//! written. A request that somebody else has made is read by the kernel, so that no deadline of its reader counts while it waits; whoever
//! made it may have given up when the reply comes, and what it said is taken over all the same.
//!
//! [`Node::handle_sends_held`]: thane_core::Node::handle_sends_held

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use thane_core::{Output, StreamId, Time};

use crate::drive::Input;
use crate::streams::ConnId;
use crate::world::{Happening, Host, HostId, Observer, ProcessId, World};

/// What a socket keeps for a process that does not read, as [`buffered`] counts it: what Linux gives, unless its administrator allows more,
/// to a process that asks for more, as memberlist does.
const SOCKET_BUFFER_BYTES: usize = 2 * 212_992;

/// What waits on both sides.
#[derive(Debug)]
pub(crate) struct Gate {
    /// When it opens; `None` when it is open, and what waited is being taken up.
    closed_until: Option<Time>,
    /// What is to go out, and since when.
    out: VecDeque<(Time, Output)>,
    /// Packets that have come in.
    packets: VecDeque<Input>,
    /// What the packets take of the socket's buffer.
    buffered: usize,
    /// What has come in on streams.
    streams: VecDeque<Input>,
    /// Whether taking up the next packet is scheduled.
    catching_up: bool,
}

impl Gate {
    fn new() -> Self {
        Self {
            closed_until: None,
            out: VecDeque::new(),
            packets: VecDeque::new(),
            buffered: 0,
            streams: VecDeque::new(),
            catching_up: false,
        }
    }

    /// Whether something that has come in on this connection waits.
    fn keeps_of(&self, conn: ConnId) -> bool {
        self.streams.iter().any(|input| matches!(input, Input::Accept { conn: of, .. } | Input::Data { conn: of, .. } if *of == conn))
    }

    /// Gives up what a node wanted to write before this moment to a stream that it closes now. Says whether anything is left to write.
    fn give_up(&mut self, now: Time, closed: StreamId) -> bool {
        let is_of = |output: &Output| matches!(output, Output::Write { stream, .. } if *stream == closed);
        self.out.retain(|(since, output)| *since == now || !is_of(output));
        self.out.iter().any(|(_, output)| is_of(output))
    }
}

/// What a packet takes of a socket's buffer: Linux counts the memory that holds it, which is its bytes and those for its headers and
/// for what the kernel notes about it, in blocks of a power of two.
fn buffered(packet: &Bytes) -> usize {
    const HEADERS: usize = 60;
    const NOTES_INSIDE: usize = 320;
    const NOTES_BESIDE: usize = 256;
    (packet.len() + HEADERS + NOTES_INSIDE).next_power_of_two() + NOTES_BESIDE
}

impl Host {
    /// Whether a packet that arrives is lost because too many wait already.
    pub(crate) fn gate_overflows(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.buffered >= SOCKET_BUFFER_BYTES)
    }

    /// Gives the input back if nothing keeps it; otherwise it waits.
    pub(crate) fn admit(&mut self, input: Input) -> Option<Input> {
        let Some(gate) = &mut self.gate else { return Some(input) };
        let waits = match &input {
            Input::Packet { bytes, .. } => {
                gate.buffered += buffered(bytes);
                gate.packets.push_back(input);
                return None;
            }
            Input::Accept { .. } | Input::Data { .. } => gate.closed_until.is_some(),
            Input::Ended { conn, .. } | Input::Failed { conn, .. } => gate.keeps_of(*conn),
            // Nobody said anything: the kernel answers for the process, or its own disk does.
            Input::Connected { .. } | Input::KeyringWritten { .. } => false,
        };
        if waits {
            gate.streams.push_back(input);
            return None;
        }
        Some(input)
    }

    /// Whether anything waits to go out.
    pub(crate) fn holds_outputs(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| !gate.out.is_empty())
    }

    /// Gives the output back if nothing keeps it.
    pub(crate) fn hold(&mut self, now: Time, output: Output) -> Option<Output> {
        let Some(gate) = self.gate.as_mut().filter(|gate| gate.closed_until.is_some()) else {
            return Some(output);
        };
        let waits = match &output {
            Output::Close { stream } => gate.give_up(now, *stream),
            Output::Dial { .. } => false,
            _ => true,
        };
        if waits {
            gate.out.push_back((now, output));
            return None;
        }
        Some(output)
    }
}

impl<O: Observer> World<O> {
    /// Blocks all exchange of the process with others for this long, in both directions, while its timers go on (see the module's
    /// documentation). Blocking a blocked process prolongs the block. Does nothing if no process runs.
    pub fn block(&mut self, host: HostId, span: Duration) {
        let until = self.now + span;
        let it = &mut self.hosts[host.index()];
        if it.node.is_none() {
            return;
        }
        let gate = it.gate.get_or_insert_with(|| Box::new(Gate::new()));
        if gate.closed_until.is_some_and(|already| already >= until) {
            return;
        }
        gate.closed_until = Some(until);
        let process = ProcessId { host, life: it.life };
        self.tally.blocks += 1;
        self.schedule(until, Happening::Unblock { process, until });
    }

    /// How long a process on this host that was blocked takes over each input that has waited. Default none: it takes all at once.
    pub fn set_catch_up(&mut self, host: HostId, each: Duration) {
        self.hosts[host.index()].catch_up_each = each;
    }

    /// Whether the process on a host is blocked.
    pub fn is_blocked(&self, host: HostId) -> bool {
        self.hosts[host.index()].gate.as_ref().is_some_and(|gate| gate.closed_until.is_some())
    }

    pub(crate) fn unblock(&mut self, process: ProcessId, until: Time) {
        if !self.is_current(process) {
            return;
        }
        let it = &mut self.hosts[process.host.index()];
        let paused_until = it.paused_until;
        let Some(gate) = it.gate.as_mut().filter(|gate| gate.closed_until == Some(until)) else { return };
        if let Some(until) = paused_until {
            // A process that does nothing notices no end of a block either.
            gate.closed_until = Some(until);
            self.schedule(until, Happening::Unblock { process, until });
            return;
        }
        gate.closed_until = None;
        let catching_up = gate.catching_up;
        let (out, streams) = (std::mem::take(&mut gate.out), std::mem::take(&mut gate.streams));
        for (_, output) in out {
            self.put_on_the_wire(process, output);
        }
        for input in streams {
            if self.is_current(process) {
                self.take(process.host, input);
            }
        }
        if !self.is_current(process) {
            return;
        }
        let it = &mut self.hosts[process.host.index()];
        if let Some(node) = it.node.as_mut() {
            node.handle_sends_resumed(it.clock.shows(self.now));
            self.tally.inputs += 1;
            self.drain(process.host);
        }
        if !catching_up {
            self.catch_up(process);
        }
    }

    /// Takes up the next input that has waited. The gate is gone when none is left.
    pub(crate) fn catch_up(&mut self, process: ProcessId) {
        loop {
            if !self.is_current(process) {
                return;
            }
            let it = &mut self.hosts[process.host.index()];
            let Some(gate) = &mut it.gate else { return };
            gate.catching_up = false;
            if let Some(until) = it.paused_until {
                gate.catching_up = true;
                self.schedule(until, Happening::CatchUp { process });
                return;
            }
            if gate.closed_until.is_some() {
                return;
            }
            let Some(input) = gate.packets.pop_front() else {
                it.gate = None;
                return;
            };
            if let Input::Packet { bytes, .. } = &input {
                gate.buffered -= buffered(bytes);
            }
            let each = it.catch_up_each;
            self.take(process.host, input);
            if !each.is_zero() {
                break;
            }
        }
        let it = &mut self.hosts[process.host.index()];
        let each = it.catch_up_each;
        if let Some(gate) = &mut it.gate
            && !std::mem::replace(&mut gate.catching_up, true)
        {
            self.schedule(self.now + each, Happening::CatchUp { process });
        }
    }
}
