//! A gate between a process and the network: the fault of the Lifeguard paper.
//!
//! While a host is blocked, its process runs and its timers go off, but whatever it exchanges with others waits: "immediately before
//! sending or after receiving any protocol message" (Dadgar, Phillips, Currey, DSN 2018, section 5). What it wants to send, or write, or
//! dial, stays at the gate in order, and the core is told that its packets do not leave ([`Node::handle_sends_held`]), as any driver
//! would whose socket is full. What arrives waits in the socket's buffer, which can overflow.
//!
//! When the block ends, what waited to go out goes, and the core goes on. What waited to come in is taken up one by one, each taking
//! [`World::set_catch_up`]; the first one at once, because the process had it in hand. The next block stops that wherever it is. So
//! somebody who is blocked again and again, with little time in between, falls behind and lives on old news, as the paper's members
//! do.
//!
//! [`Node::handle_sends_held`]: thane_core::Node::handle_sends_held

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use thane_core::{Output, Time};

use crate::drive::Input;
use crate::world::{Happening, Host, HostId, Observer, ProcessId, World};

/// What a socket keeps for a process that does not read, as [`buffered`] counts it: what Linux gives, unless its administrator allows more,
/// to a process that asks for more, as memberlist does.
const SOCKET_BUFFER_BYTES: usize = 2 * 212_992;

/// What waits on both sides.
#[derive(Debug)]
pub(crate) struct Gate {
    /// When it opens; `None` when it is open, and what waited is being taken up.
    closed_until: Option<Time>,
    /// What is to go out.
    out: VecDeque<Output>,
    /// What has come in.
    back: VecDeque<Input>,
    /// What the packets among it take of the socket's buffer.
    buffered: usize,
    /// Whether taking up the next one is scheduled.
    catching_up: bool,
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

    /// Gives the input back if nothing keeps it; otherwise it waits behind the others.
    pub(crate) fn admit(&mut self, input: Input) -> Option<Input> {
        match &mut self.gate {
            Some(gate) => {
                if let Input::Packet { bytes, .. } = &input {
                    gate.buffered += buffered(bytes);
                }
                gate.back.push_back(input);
                None
            }
            None => Some(input),
        }
    }

    /// Whether anything waits to go out.
    pub(crate) fn holds_outputs(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| !gate.out.is_empty())
    }

    /// Gives the output back if nothing keeps it.
    pub(crate) fn hold(&mut self, output: Output) -> Option<Output> {
        match &mut self.gate {
            Some(gate) if gate.closed_until.is_some() => {
                gate.out.push_back(output);
                None
            }
            _ => Some(output),
        }
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
        let gate = it.gate.get_or_insert_with(|| {
            let (out, back) = (VecDeque::new(), VecDeque::new());
            Box::new(Gate { closed_until: None, out, back, buffered: 0, catching_up: false })
        });
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
        for output in std::mem::take(&mut gate.out) {
            self.put_on_the_wire(process, output);
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
            let Some(input) = gate.back.pop_front() else {
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
