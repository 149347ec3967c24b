//! Streams between processes: opened or refused, delivered in order and in any pieces, broken in the middle.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use thane_core::{StreamFailure, StreamId, Time};

use crate::drive::Input;
use crate::network::HEADER_BYTES;
use crate::world::{Crash, Ending, Happening, HostId, Observer, ProcessId, World};

/// A piece that cannot get through is tried again after this long, then twice as long, up to [`RETRY_MAX`].
const RETRY: Duration = Duration::from_millis(200);
/// The longest wait between two tries of a stream that is cut.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Time between connection requests that get no answer: this long, then twice as long, and so on, as Linux does.
const SYN_RETRY: Duration = Duration::from_secs(1);
/// Connections that a kernel accepts for a process that does not.
const BACKLOG: usize = 128;
/// The kernel gives up on a connection that both programs have closed after this many tries.
const ORPHAN_TRIES: u32 = 8;

/// A connection in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnId(u64);

/// One of its two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Dialer,
    Acceptor,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Acceptor,
            Self::Acceptor => Self::Dialer,
        }
    }

    fn index(self) -> usize {
        self as usize
    }
}

#[derive(Debug)]
struct End {
    process: ProcessId,
    /// The node's name for the stream; an acceptor has none until it has accepted.
    stream: Option<StreamId>,
    /// Whether the node still wants to hear of it.
    open: bool,
}

/// One piece on its way.
#[derive(Debug)]
enum Segment {
    /// The acceptor's kernel says yes.
    Accepted,
    Bytes(Bytes),
    /// What is left of bytes that were cut in two.
    Rest(Bytes),
    /// Nothing more follows.
    End,
    /// The other end is gone, or does not know the connection.
    Reset,
}

/// One direction.
#[derive(Debug, Default)]
struct Pipe {
    waiting: VecDeque<Segment>,
    /// Whether the delivery of the first piece is scheduled.
    moving: bool,
    /// Tries of the first piece so far.
    tries: u32,
}

#[derive(Debug)]
pub(crate) struct Connection {
    /// Indexed by [`Side`]; there is no acceptor until the connection request has arrived.
    ends: [Option<End>; 2],
    /// Indexed by the sending side.
    pipes: [Pipe; 2],
    hosts: [HostId; 2],
    dial_deadline: Time,
}

/// A node's name for its end of a connection, if it still wants to hear of it.
pub(crate) fn open_stream(
    streams: &BTreeMap<StreamId, (ConnId, Side)>,
    stream: Option<StreamId>,
    conn: ConnId,
) -> Option<StreamId> {
    match stream {
        Some(stream) => streams.contains_key(&stream).then_some(stream),
        None => streams.iter().find(|(_, (known, _))| *known == conn).map(|(stream, _)| *stream),
    }
}

impl<O: Observer> World<O> {
    // ---- what nodes ask for ----

    pub(crate) fn dial(&mut self, process: ProcessId, stream: StreamId, to: SocketAddr, timeout: Duration) {
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        let deadline = self.now + timeout;
        self.hosts[process.host.index()].streams.insert(stream, (conn, Side::Dialer));
        // An address where no machine is: nobody ever answers, as from a machine that is down.
        let target = self.addrs.find(to);
        let end = End { process, stream: Some(stream), open: true };
        self.conns.insert(
            conn,
            Connection {
                ends: [Some(end), None],
                pipes: [Pipe::default(), Pipe::default()],
                hosts: [process.host, target.unwrap_or(process.host)],
                dial_deadline: deadline,
            },
        );
        self.schedule(deadline, Happening::DialDeadline { conn });
        if let Some(target) = target {
            let delay = self.network.delay(&mut self.rng, process.host, target);
            self.schedule(self.now + delay, Happening::Syn { conn, attempt: 0 });
        }
    }

    pub(crate) fn write(&mut self, host: HostId, stream: StreamId, bytes: Bytes) {
        if let Some(&(conn, side)) = self.hosts[host.index()].streams.get(&stream) {
            self.push(conn, side, Segment::Bytes(bytes));
        }
    }

    pub(crate) fn close(&mut self, host: HostId, stream: StreamId) {
        let Some((conn, side)) = self.hosts[host.index()].streams.remove(&stream) else { return };
        if let Some(end) = self.conns.get_mut(&conn).and_then(|it| it.ends[side.index()].as_mut()) {
            end.open = false;
        }
        self.push(conn, side, Segment::End);
        self.forget_if_over(conn);
    }

    /// A node has answered a connection: with its name for it, or with "too many".
    pub(crate) fn accepted(&mut self, host: HostId, conn: ConnId, stream: Option<StreamId>) {
        let Some(end) = self.conns.get_mut(&conn).and_then(|it| it.ends[Side::Acceptor.index()].as_mut())
        else {
            // Broken before the process came round to it: it learns so by the failure that follows in its queue.
            if let Some(stream) = stream {
                self.hosts[host.index()].streams.insert(stream, (conn, Side::Acceptor));
            }
            return;
        };
        end.stream = stream;
        if let Some(stream) = stream {
            self.hosts[host.index()].streams.insert(stream, (conn, Side::Acceptor));
        } else {
            end.open = false;
            self.push(conn, Side::Acceptor, Segment::End);
        }
    }

    // ---- what the network does ----

    pub(crate) fn syn_arrives(&mut self, conn: ConnId, attempt: u32) {
        let Some(it) = self.conns.get(&conn) else { return };
        let [dialer, target] = it.hosts;
        let deadline = it.dial_deadline;
        let lost = self.network.loses(&mut self.rng, self.now, dialer, target).is_some();
        if lost || !self.network.connects(dialer, target) {
            let next = self.now + SYN_RETRY * 2_u32.pow(attempt.min(10));
            if next < deadline {
                self.schedule(next, Happening::Syn { conn, attempt: attempt + 1 });
            }
            return;
        }
        let host = &self.hosts[target.index()];
        if host.machine_down {
            return;
        }
        let Some(process) = self.process(target) else {
            self.tally.streams_refused += 1;
            self.fail(conn, Side::Dialer, StreamFailure::Refused("connect: connection refused".into()));
            self.conns.remove(&conn);
            return;
        };
        if host.deferred.len() >= BACKLOG && host.paused_until.is_some() {
            return;
        }
        self.tally.streams_opened += 1;
        // The dialer's end of a connection has a port of its own, which says nothing about the member.
        let mut from = self.addr(dialer);
        from.set_port(32_768 + (conn.0 % 28_000) as u16);
        if let Some(it) = self.conns.get_mut(&conn) {
            it.ends[Side::Acceptor.index()] = Some(End { process, stream: None, open: true });
        }
        self.push(conn, Side::Acceptor, Segment::Accepted);
        self.give(target, Input::Accept { conn, from });
    }

    pub(crate) fn dial_deadline(&mut self, conn: ConnId) {
        let Some(it) = self.conns.get(&conn) else { return };
        if it.ends[Side::Acceptor.index()].is_some() {
            return;
        }
        self.tally.streams_timed_out += 1;
        self.fail(conn, Side::Dialer, StreamFailure::TimedOut("i/o timeout".into()));
        self.conns.remove(&conn);
    }

    /// Delivers the first piece of a direction, or a part of it, or tries again later.
    pub(crate) fn pipe_moves(&mut self, conn: ConnId, from: Side) {
        let Some(it) = self.conns.get_mut(&conn) else { return };
        let [dialer, acceptor] = it.hosts;
        let orphan = it.ends.iter().flatten().all(|end| !end.open);
        let pipe = &mut it.pipes[from.index()];
        pipe.moving = false;
        if !self.network.connects(dialer, acceptor) {
            pipe.tries += 1;
            let tries = pipe.tries;
            if orphan && tries > ORPHAN_TRIES {
                self.conns.remove(&conn);
            } else {
                pipe.moving = true;
                let wait = (RETRY * 2_u32.pow(tries.min(10))).min(RETRY_MAX);
                self.schedule(self.now + wait, Happening::Pipe { conn, from });
            }
            return;
        }
        pipe.tries = 0;
        let Some(segment) = pipe.waiting.pop_front() else { return };
        if let Segment::Bytes(bytes) = &segment
            && self.rng.chance(self.network.quality.stream_breaks)
        {
            self.break_in_the_middle(conn, from, bytes);
            return;
        }
        self.deliver(conn, from, segment);
        self.keep_moving(conn, from, Duration::from_millis(1));
        self.forget_if_over(conn);
    }

    fn deliver(&mut self, conn: ConnId, from: Side, segment: Segment) {
        let to = from.other();
        let Some(it) = self.conns.get_mut(&conn) else { return };
        let host = it.hosts[to.index()];
        let Some(end) = it.ends[to.index()].as_ref() else { return };
        let (process, stream, open) = (end.process, end.stream, end.open);
        if self.hosts[host.index()].machine_down {
            return;
        }
        if !open || self.process(host) != Some(process) {
            // Bytes for an end that is closed: its kernel says so.
            if matches!(segment, Segment::Bytes(_) | Segment::Rest(_)) {
                self.push(conn, to, Segment::Reset);
            }
            return;
        }
        match segment {
            Segment::Accepted => {
                if let Some(stream) = stream {
                    self.give(host, Input::Connected { stream });
                }
            }
            Segment::Bytes(mut bytes) | Segment::Rest(mut bytes) => {
                if bytes.len() > 1 && self.rng.chance(self.network.quality.stream_splits) {
                    let first = bytes.split_to(self.rng.between(1, bytes.len() - 1));
                    self.tally.streams_split += 1;
                    let rest = std::mem::replace(&mut bytes, first);
                    if let Some(it) = self.conns.get_mut(&conn) {
                        it.pipes[from.index()].waiting.push_front(Segment::Rest(rest));
                    }
                }
                self.give(host, Input::Data { stream, conn, bytes });
            }
            Segment::End => self.give(host, Input::Ended { stream, conn }),
            Segment::Reset => {
                self.tally.streams_broken += 1;
                self.fail(conn, to, StreamFailure::Other("connection reset by peer".into()));
                self.conns.remove(&conn);
            }
        }
    }

    /// A fault: only the beginning of these bytes arrives, perhaps nothing of them; then both ends find the stream broken.
    fn break_in_the_middle(&mut self, conn: ConnId, from: Side, bytes: &Bytes) {
        let arrive = self.rng.below(bytes.len().max(1));
        if arrive > 0 {
            self.tally.streams_cut_short += 1;
            self.deliver(conn, from, Segment::Rest(bytes.slice(..arrive)));
        }
        if !self.conns.contains_key(&conn) {
            return;
        }
        self.tally.streams_broken += 1;
        for side in [Side::Dialer, Side::Acceptor] {
            self.fail(conn, side, StreamFailure::Other("connection reset by peer".into()));
        }
        self.conns.remove(&conn);
    }

    /// Tells one end that the stream could not be opened, or broke.
    fn fail(&mut self, conn: ConnId, side: Side, failure: StreamFailure) {
        let Some(end) = self.conns.get_mut(&conn).and_then(|it| it.ends[side.index()].as_mut()) else {
            return;
        };
        if !std::mem::replace(&mut end.open, false) {
            return;
        }
        let (process, stream) = (end.process, end.stream);
        if self.process(process.host) == Some(process) {
            self.give(process.host, Input::Failed { stream, conn, failure });
        }
    }

    /// All connections of a process that ended. A kernel that lives tells the other ends; a machine that is down does not.
    pub(crate) fn drop_streams(&mut self, host: HostId, ending: Ending) {
        self.hosts[host.index()].streams.clear();
        let machine_down = ending == Ending::Crashed(Crash::Machine);
        let mine: Vec<(ConnId, Side)> = self
            .conns
            .iter()
            .flat_map(|(conn, it)| {
                [Side::Dialer, Side::Acceptor].map(|side| (*conn, side, it.ends[side.index()].as_ref()))
            })
            .filter(|(_, _, end)| end.is_some_and(|end| end.process.host == host && end.open))
            .map(|(conn, side, _)| (conn, side))
            .collect();
        for (conn, side) in mine {
            let Some(it) = self.conns.get_mut(&conn) else { continue };
            if let Some(end) = it.ends[side.index()].as_mut() {
                end.open = false;
            }
            if machine_down {
                it.pipes[side.index()].waiting.clear();
            } else {
                self.push(conn, side, Segment::Reset);
            }
            self.forget_if_over(conn);
        }
    }

    // ---- pipes ----

    fn push(&mut self, conn: ConnId, from: Side, segment: Segment) {
        let Some(it) = self.conns.get_mut(&conn) else { return };
        let bytes = match &segment {
            Segment::Bytes(bytes) | Segment::Rest(bytes) => bytes.len(),
            Segment::Accepted | Segment::End | Segment::Reset => 0,
        };
        it.pipes[from.index()].waiting.push_back(segment);
        // A dialer that closes early has nobody yet to tell.
        if it.ends[Side::Acceptor.index()].is_some() {
            let (here, there) = (it.hosts[from.index()], it.hosts[from.other().index()]);
            let bytes = bytes + HEADER_BYTES;
            let delay = self.network.stream_delay(&mut self.rng, self.now, here, there, bytes);
            self.keep_moving(conn, from, delay);
        }
    }

    fn keep_moving(&mut self, conn: ConnId, from: Side, delay: Duration) {
        let Some(it) = self.conns.get_mut(&conn) else { return };
        let pipe = &mut it.pipes[from.index()];
        if !pipe.moving && !pipe.waiting.is_empty() {
            pipe.moving = true;
            self.schedule(self.now + delay, Happening::Pipe { conn, from });
        }
    }

    /// Forgets a connection that nobody wants to hear of and on which nothing is under way.
    fn forget_if_over(&mut self, conn: ConnId) {
        let Some(it) = self.conns.get(&conn) else { return };
        let nobody = it.ends.iter().flatten().all(|end| !end.open);
        let nothing =
            it.ends[Side::Acceptor.index()].is_none() || it.pipes.iter().all(|pipe| pipe.waiting.is_empty());
        if nobody && nothing {
            self.conns.remove(&conn);
        }
    }
}
