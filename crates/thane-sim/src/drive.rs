//! The driver of one node in virtual time. It keeps the core's contract to the letter: after every input it takes
//! outputs until there are none, then waits for input or for the node's deadline.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use thane_core::{Node, Output, StreamFailure, StreamId, Time};

use crate::network::Fate;
use crate::streams::{ConnId, open_stream};
use crate::world::{Ending, Happening, HostId, Observer, ProcessId, World};

/// A real clock wakes a process up to this much late.
const TIMER_SLACK: Duration = Duration::from_millis(1);
/// Packets that a socket keeps for a process that does not read; about what Linux keeps by default.
const SOCKET_BUFFER_PACKETS: usize = 256;
/// A node that asks to be woken at one and the same moment more often than this would hang a real driver.
const SPINS_MAX: u32 = 1000;
/// Reordering is counted in worlds of up to this many hosts: the count needs a number for each pair.
const REORDER_WATCH_HOSTS_MAX: usize = 256;

/// What the world has for a process.
#[derive(Debug)]
pub(crate) enum Input {
    Packet { from: SocketAddr, bytes: Bytes },
    Accept { conn: ConnId, from: SocketAddr },
    Connected { stream: StreamId },
    Data { stream: Option<StreamId>, conn: ConnId, bytes: Bytes },
    Ended { stream: Option<StreamId>, conn: ConnId },
    Failed { stream: Option<StreamId>, conn: ConnId, failure: StreamFailure },
    KeyringWritten { token: u64, result: Result<(), String> },
}

impl<O: Observer> World<O> {
    pub(crate) fn happen(&mut self, what: Happening) {
        match what {
            Happening::Wake { process, deadline } => self.wake(process, deadline),
            Happening::Packet { to, from, bytes, number } => self.packet_arrives(to, from, bytes, number),
            Happening::Resume { process, until } => self.resume(process, until),
            Happening::Syn { conn, attempt } => self.syn_arrives(conn, attempt),
            Happening::DialDeadline { conn } => self.dial_deadline(conn),
            Happening::Pipe { conn, from } => self.pipe_moves(conn, from),
            Happening::Unblock { process, until } => self.unblock(process, until),
            Happening::CatchUp { process } => self.catch_up(process),
            Happening::Lie { peer } => self.lie(peer),
            Happening::LieOnStream { peer, stream, bytes, closes } => {
                self.lie_on_stream(peer, stream, bytes, closes);
            }
            Happening::Flush { process, due } => self.flush(process, due),
            Happening::KeyringWritten { process, token, result } => {
                self.keyring_written(process, token, result);
            }
            Happening::DiskMended { host, number } => self.disk_mended(host, number),
            Happening::Work { process } => self.work_done(process),
            Happening::SlowEnds { host, number } => self.slow_ends(host, number),
            Happening::Flap { fault } => self.flap(fault),
            Happening::FaultEnds { fault } => {
                self.end_fault(fault);
            }
        }
    }

    pub(crate) fn is_current(&self, process: ProcessId) -> bool {
        self.process(process.host) == Some(process)
    }

    fn wake(&mut self, process: ProcessId, deadline: Time) {
        if !self.is_current(process) {
            return;
        }
        let it = &mut self.hosts[process.host.index()];
        if it.wake != Some(deadline) {
            return;
        }
        it.wake = None;
        if it.paused_until.is_some() {
            return;
        }
        if it.is_slow() {
            self.begin_work(process.host);
        } else {
            self.due_timers(process.host);
        }
    }

    /// Lets the node handle its deadline if it is reached; it may have moved away since the wake-up was scheduled.
    pub(crate) fn due_timers(&mut self, host: HostId) {
        let it = &mut self.hosts[host.index()];
        let now = it.clock.shows(self.now);
        let Some(node) = it.node.as_mut() else { return };
        if node.poll_timeout() <= now {
            node.handle_timeout(now);
            self.tally.inputs += 1;
            self.drain(host);
        } else {
            self.schedule_wake(host);
        }
    }

    fn packet_arrives(&mut self, to: HostId, from: HostId, bytes: Bytes, number: u64) {
        let from_addr = self.addr(from);
        let watch = self.hosts.len() <= REORDER_WATCH_HOSTS_MAX;
        let it = &mut self.hosts[to.index()];
        if it.node.is_none() {
            self.tally.packets_unheard += 1;
            return;
        }
        if it.deferred.len() >= SOCKET_BUFFER_PACKETS || it.gate_overflows() {
            self.tally.packets_unheard += 1;
            return;
        }
        if watch {
            if it.heard.len() <= from.index() {
                it.heard.resize(from.index() + 1, 0);
            }
            let greatest = &mut it.heard[from.index()];
            self.tally.packets_reordered += u64::from(number < *greatest);
            *greatest = number.max(*greatest);
        }
        self.tally.packets_delivered += 1;
        self.give(to, Input::Packet { from: from_addr, bytes });
    }

    fn resume(&mut self, process: ProcessId, until: Time) {
        if !self.is_current(process) {
            return;
        }
        let host = process.host;
        let it = &mut self.hosts[host.index()];
        if it.paused_until != Some(until) {
            return;
        }
        it.paused_until = None;
        if it.is_slow() {
            self.begin_work(host);
            return;
        }
        let waiting = std::mem::take(&mut it.deferred);
        // A real event loop may look at its timers or at its sockets first, so both must be fine.
        let timers_first = self.rng.chance(0.5);
        if timers_first {
            self.timers_late(process);
        }
        for input in waiting {
            // A process may end itself while it catches up.
            if self.is_current(process) {
                self.give(host, input);
            }
        }
        if !timers_first {
            self.timers_late(process);
        }
    }

    /// Handles the deadline that passed during a pause.
    fn timers_late(&mut self, process: ProcessId) {
        if !self.is_current(process) {
            return;
        }
        let it = &mut self.hosts[process.host.index()];
        let now = it.clock.shows(self.now);
        if let Some(node) = it.node.as_mut() {
            node.handle_timeout(now);
            self.tally.inputs += 1;
            self.drain(process.host);
        }
    }

    /// Gives an input to the process on a host: now, or when its pause ends.
    pub(crate) fn give(&mut self, host: HostId, input: Input) {
        let it = &mut self.hosts[host.index()];
        if it.paused_until.is_some() {
            it.deferred.push_back(input);
            return;
        }
        if it.is_slow() {
            self.queue_for_slow(host, input);
            return;
        }
        let Some(input) = it.admit(input) else { return };
        self.take(host, input);
    }

    /// Gives an input to the process on a host, now.
    pub(crate) fn take(&mut self, host: HostId, input: Input) {
        let it = &mut self.hosts[host.index()];
        let now = it.clock.shows(self.now);
        let Some(node) = it.node.as_mut() else { return };
        self.tally.inputs += 1;
        match input {
            Input::Packet { from, mut bytes } => {
                let process = ProcessId { host, life: it.life };
                let heard =
                    it.saboteur.as_mut().is_none_or(|it| it.hears(self.now, process, from, &mut bytes));
                if heard {
                    node.handle_packet(now, from, bytes);
                }
            }
            Input::Accept { conn, from } => {
                let accepted = node.handle_stream_accepted(now, from);
                self.accepted(host, conn, accepted);
            }
            Input::Connected { stream } => {
                if it.streams.contains_key(&stream) {
                    node.handle_stream_connected(now, stream);
                }
            }
            // Streams accepted during a pause get their number only when the pause is over; until then the connection's
            // number stands for it.
            Input::Data { stream, conn, bytes } => {
                if let Some(stream) = open_stream(&it.streams, stream, conn) {
                    node.handle_stream_data(now, stream, &bytes);
                }
            }
            Input::Ended { stream, conn } => {
                if let Some(stream) = open_stream(&it.streams, stream, conn) {
                    node.handle_stream_ended(now, stream);
                }
            }
            Input::KeyringWritten { token, result } => node.handle_keyring_persisted(now, token, result),
            Input::Failed { stream, conn, failure } => {
                if let Some(stream) = open_stream(&it.streams, stream, conn) {
                    it.streams.remove(&stream);
                    node.handle_stream_failed(now, stream, failure);
                }
            }
        }
        self.drain(host);
    }

    /// Takes all outputs of a node and does them, then schedules its next wake-up.
    pub(crate) fn drain(&mut self, host: HostId) {
        let Some(mut node) = self.hosts[host.index()].node.take() else { return };
        let process = ProcessId { host, life: self.hosts[host.index()].life };
        let mut saboteur = self.hosts[host.index()].saboteur.take();
        if let Some(saboteur) = saboteur.as_mut() {
            saboteur.meddles(self.now, process, &mut node);
        }
        let mut ending = None;
        let mut held = false;
        while let Some(output) = node.poll_output() {
            match saboteur.as_mut() {
                None => self.act_on(process, output, &mut ending),
                Some(saboteur) => {
                    for output in saboteur.puts_out(self.now, process, output) {
                        self.act_on(process, output, &mut ending);
                    }
                }
            }
            if !held && self.hosts[host.index()].holds_outputs() {
                held = true;
                node.handle_sends_held(self.hosts[host.index()].clock.shows(self.now));
            }
        }
        self.hosts[host.index()].saboteur = saboteur;
        self.observer.settled(self.now, process, &node);
        self.catch_up_on_disk(process, &node);
        self.put_back(host, node);
        match ending {
            Some(ending) => self.end(host, ending),
            None => self.schedule_wake(host),
        }
    }

    /// Does what a node asks for.
    fn act_on(&mut self, process: ProcessId, output: Output, ending: &mut Option<Ending>) {
        let host = process.host;
        self.trace.output(self.now, host.0, &output);
        self.observer.output(self.now, process, &output);
        self.note_on_disk(process, &output);
        match output {
            Output::Send { .. } | Output::Dial { .. } | Output::Write { .. } | Output::Close { .. } => {
                if let Some(output) = self.hosts[host.index()].hold(self.now, output) {
                    self.put_on_the_wire(process, output);
                }
            }
            Output::Done { op, .. } if self.hosts[host.index()].last_leave == Some(op) => {
                *ending = Some(Ending::Left);
            }
            Output::Stop(_) => *ending = Some(Ending::Stopped),
            // For the application and the operator, who look on as the observer.
            _ => {}
        }
    }

    /// Does what a node wants the network to do.
    pub(crate) fn put_on_the_wire(&mut self, process: ProcessId, output: Output) {
        let host = process.host;
        match output {
            Output::Send { to, packet } => self.send(host, to, packet),
            Output::Dial { stream, to, timeout } => self.dial(process, stream, to, timeout),
            Output::Write { stream, bytes } => self.write(host, stream, bytes),
            Output::Close { stream } => self.close(host, stream),
            // For the application and the operator, who look on as the observer.
            _ => {}
        }
    }

    fn put_back(&mut self, host: HostId, node: Box<Node>) {
        self.hosts[host.index()].node = Some(node);
    }

    fn send(&mut self, host: HostId, to: SocketAddr, packet: Vec<u8>) {
        let Some(target) = self.addrs.find(to) else {
            self.tally.packets_unheard += 1;
            return;
        };
        self.overhear(&packet);
        match self.network.packet_fate(&mut self.rng, self.now, host, target, packet.len()) {
            Fate::Cut => self.tally.packets_cut += 1,
            Fate::Lost { burst } => {
                self.tally.packets_lost += 1;
                self.tally.packets_lost_in_bursts += u64::from(burst);
            }
            Fate::Oversized => self.tally.packets_oversized += 1,
            Fate::Overflow => self.tally.packets_overflowed += 1,
            Fate::Arrives { after, again, .. } => {
                let bytes = Bytes::from(packet);
                let number = self.schedule.next_number();
                if let Some(again) = again {
                    self.tally.packets_duplicated += 1;
                    let bytes = bytes.clone();
                    self.schedule(
                        self.now + again,
                        Happening::Packet { to: target, from: host, bytes, number },
                    );
                }
                self.schedule(self.now + after, Happening::Packet { to: target, from: host, bytes, number });
            }
        }
    }

    /// Sees to it that a wake-up is scheduled for the node's deadline. One that is scheduled for earlier is kept: when it
    /// comes, the deadline is looked at again. So the queue never fills with wake-ups that nobody needs.
    fn schedule_wake(&mut self, host: HostId) {
        let now = self.now;
        let it = &mut self.hosts[host.index()];
        let Some(node) = it.node.as_ref() else { return };
        let deadline = it.clock.when(node.poll_timeout());
        if deadline == Time::NEVER || it.paused_until.is_some() {
            return;
        }
        if deadline > now {
            it.spins = 0;
        } else {
            it.spins += 1;
            assert!(
                it.spins <= SPINS_MAX,
                "{} spins: its deadline {deadline} stays in the past at {now}",
                it.config.name
            );
        }
        if it.wake.is_some_and(|scheduled| scheduled <= deadline) {
            return;
        }
        it.wake = Some(deadline);
        let process = ProcessId { host, life: it.life };
        let slack = self.rng.span(Duration::ZERO, TIMER_SLACK);
        self.schedule(deadline.max(now) + slack, Happening::Wake { process, deadline });
    }
}
