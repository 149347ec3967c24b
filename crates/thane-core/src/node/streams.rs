//! TCP exchanges: one request and at most one reply, from dial or accept to close.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thane_wire::gossip::{Ack, Ping};
use thane_wire::stream::{self, PushPull, Role, StreamDecoder, StreamError, StreamMessage};

use super::{Node, StreamFailure};
use crate::event::{AnswerWay, Path};
use crate::measure::Measure;
use crate::notice::{Layer, Level};
use crate::output::{ExchangeError, OpId, Output, StreamId};
use crate::shared_state::SharedMessage;
use crate::time::Time;
use crate::timers::{Timer, TimerKey};

/// Most streams that others may have open to us at one time. memberlist refuses the 128th; a seed of a large cluster that starts
/// all at once meets more, and a stream costs little here.
pub(crate) const INBOUND_STREAMS_MAX: usize = 512;

/// What a stream is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Somebody else's request.
    Inbound,
    /// A full state exchange of ours, as part of a join, of a reconnect (`join` without `op`), or just so.
    PushPull { join: bool, op: Option<OpId> },
    /// The TCP half of a probe.
    Ping { seq: u32, target: Arc<str> },
    /// The TCP half of a look at a member.
    Look { seq: u32, target: Arc<str> },
}

/// One open, or opening, stream.
#[derive(Debug)]
pub(super) struct Stream {
    peer: SocketAddr,
    purpose: Purpose,
    decoder: StreamDecoder,
    connected: bool,
    deadline: TimerKey,
    /// How long the present stage may take, for the error text.
    allowed: Duration,
    begun: Time,
    bytes_received: usize,
    /// A message of a node of the same process whose bytes have arrived so far, and how many of them.
    followed: Option<(Arc<SharedMessage>, usize)>,
}

impl Stream {
    pub(super) fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.connected || self.purpose != Purpose::Inbound, "an accepted stream is connected");
    }
}

impl Node {
    // ---- outbound ----

    pub(super) fn dial(&mut self, to: SocketAddr, purpose: Purpose, allowed: Duration) -> StreamId {
        self.counters.streams_dialed += 1;
        let id = self.add_stream(to, purpose, Role::Dialer, allowed);
        self.outputs.push_back(Output::Dial { stream: id, to, timeout: allowed });
        id
    }

    /// Closes a stream of ours that is not open yet; others go on.
    pub(super) fn give_up_dialing(&mut self, id: StreamId) {
        if self.streams.get(&id).is_some_and(|stream| !stream.connected) {
            self.take_stream(id);
            self.close(id);
        }
    }

    fn add_stream(&mut self, peer: SocketAddr, purpose: Purpose, role: Role, allowed: Duration) -> StreamId {
        let id = StreamId(self.next_stream);
        self.next_stream += 1;
        let deadline = self.timers.set(self.now + allowed, Timer::StreamDeadline { stream: id });
        let connected = role == Role::Acceptor;
        let decoder = StreamDecoder::new(role);
        let begun = self.now;
        self.streams.insert(
            id,
            Stream {
                peer,
                purpose,
                decoder,
                connected,
                deadline,
                allowed,
                begun,
                bytes_received: 0,
                followed: None,
            },
        );
        id
    }

    pub(super) fn stream_connected(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if std::mem::replace(&mut stream.connected, true) {
            return;
        }
        let purpose = stream.purpose.clone();
        let message = match &purpose {
            Purpose::PushPull { join, .. } => {
                self.rearm(id, self.config.tcp_timeout);
                return self.write_state(id, Role::Dialer, *join);
            }
            // A probe's deadline does not move.
            Purpose::Ping { seq, target } | Purpose::Look { seq, target } => self.encode_ping(*seq, target),
            Purpose::Inbound => return,
        };
        self.write(id, Role::Dialer, &message);
    }

    fn rearm(&mut self, id: StreamId, allowed: Duration) {
        if let Some(stream) = self.streams.get_mut(&id) {
            self.timers.cancel(stream.deadline);
            stream.deadline = self.timers.set(self.now + allowed, Timer::StreamDeadline { stream: id });
            stream.allowed = allowed;
        }
    }

    fn write(&mut self, id: StreamId, role: Role, message: &[u8]) {
        let nonce = self.rng.nonce();
        let bytes = self.codec.seal_stream(role, message, nonce);
        self.write_sealed(id, bytes.into());
    }

    /// Writes all that we know.
    fn write_state(&mut self, id: StreamId, role: Role, join: bool) {
        let nonce = self.rng.nonce();
        let bytes = self.sealed_state(role, join, nonce);
        self.local_state_bytes = bytes.len();
        self.write_sealed(id, bytes);
    }

    fn write_sealed(&mut self, id: StreamId, bytes: Bytes) {
        self.counters.stream_bytes_sent += bytes.len() as u64;
        self.outputs.push_back(Output::Write { stream: id, bytes });
    }

    // ---- inbound ----

    pub(super) fn inbound_streams(&self) -> usize {
        self.streams.values().filter(|stream| stream.purpose == Purpose::Inbound).count()
    }

    pub(super) fn stream_accepted(&mut self, from: SocketAddr) -> Option<StreamId> {
        if self.inbound_streams() >= INBOUND_STREAMS_MAX {
            self.counters.streams_refused += 1;
            self.notice(Level::Warn, Layer::Memberlist, "stream_refused", None, || {
                format!("refused a stream from {from}: {INBOUND_STREAMS_MAX} are open already")
            });
            return None;
        }
        self.counters.streams_accepted += 1;
        Some(self.add_stream(from, Purpose::Inbound, Role::Acceptor, self.config.tcp_timeout))
    }

    pub(super) fn stream_data(&mut self, id: StreamId, bytes: &[u8]) {
        self.counters.stream_bytes_received += bytes.len() as u64;
        let pushed = self.take_in(id, bytes);
        match pushed {
            Ok(None) => {}
            Ok(Some(message)) => {
                if let Some(stream) = self.take_stream(id) {
                    self.stream_message(id, &stream, message);
                }
            }
            Err(error) => self.stream_bad(id, error),
        }
    }

    /// The message, once it is whole. What a node of the same process has made need not be decoded (see `shared_state`).
    fn take_in(&mut self, id: StreamId, bytes: &[u8]) -> Result<Option<StreamMessage>, StreamError> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(None) };
        let (followed, is_first) = (stream.followed.take(), stream.bytes_received == 0);
        stream.bytes_received += bytes.len();
        let role = if stream.purpose == Purpose::Inbound { Role::Acceptor } else { Role::Dialer };
        let known =
            if is_first { self.shared_message(role, bytes).map(|message| (message, 0)) } else { followed };
        let mut before: &[u8] = &[];
        if let Some((message, at)) = &known {
            let end = at + bytes.len();
            if message.has_at(*at, bytes) {
                if end < message.bytes.len()
                    && let Some(stream) = self.streams.get_mut(&id)
                {
                    stream.followed = Some((message.clone(), end));
                    return Ok(None);
                }
                if let Some(state) = self.news_of(message) {
                    return Ok(Some(StreamMessage::PushPull(state)));
                }
            }
            before = &message.bytes[..*at];
        }
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(None) };
        if !before.is_empty()
            && let Some(message) = stream.decoder.push(&self.codec, before)?
        {
            return Ok(Some(message));
        }
        stream.decoder.push(&self.codec, bytes)
    }

    pub(super) fn stream_ended(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get(&id) {
            let error = StreamError::Ended(stream.bytes_received);
            self.stream_bad(id, error);
        }
    }

    fn take_stream(&mut self, id: StreamId) -> Option<Stream> {
        let stream = self.streams.remove(&id)?;
        self.timers.cancel(stream.deadline);
        Some(stream)
    }

    fn close(&mut self, id: StreamId) {
        self.outputs.push_back(Output::Close { stream: id });
    }

    /// A whole message: each stream carries one from the other side, so this is its end.
    fn stream_message(&mut self, id: StreamId, stream: &Stream, message: StreamMessage) {
        if matches!(message, StreamMessage::PushPull(_)) {
            self.measure(Measure::RemoteState, stream.bytes_received as f64);
        }
        match (&stream.purpose, message) {
            (Purpose::Inbound, StreamMessage::PushPull(remote)) => {
                if let Err(veto) = self.admit_exchange(&remote, remote.header.join) {
                    // Differs from Serf: it replies with its state all the same, and the other side takes the join for a success.
                    let mut message = Vec::new();
                    stream::encode_error(veto.reason(), &mut message);
                    self.write(id, Role::Acceptor, &message);
                    self.close(id);
                    self.exchange_failed(stream.peer, &veto.into());
                    return;
                }
                // The reply comes first: it shows our table as it was before the merge, as memberlist does.
                self.write_state(id, Role::Acceptor, remote.header.join);
                self.close(id);
                if let Err(error) = self.merge(stream.peer, &remote, None) {
                    self.exchange_failed(stream.peer, &error);
                }
            }
            (Purpose::Inbound, StreamMessage::Ping(body)) => self.stream_ping(id, stream.peer, &body),
            (Purpose::Inbound, StreamMessage::User(payload)) => {
                self.close(id);
                if !payload.is_empty() {
                    self.measure(Measure::MessageReceived, payload.len() as f64);
                    self.serf_message(&payload, Path::PushPull(stream.peer));
                }
            }
            (Purpose::PushPull { op, .. }, StreamMessage::PushPull(remote)) => {
                self.close(id);
                let merged = self.merge_reply(stream, &remote);
                self.exchange_over(stream, *op, merged);
            }
            (Purpose::PushPull { op, .. }, StreamMessage::Error(text)) => {
                self.close(id);
                self.exchange_over(stream, *op, Err(ExchangeError::Remote(text)));
            }
            (Purpose::Ping { seq, .. } | Purpose::Look { seq, .. }, answer) => {
                self.close(id);
                self.tcp_ping_over(stream, *seq, &answer);
            }
            (Purpose::PushPull { op, .. }, _) => {
                self.close(id);
                self.exchange_over(stream, *op, Err(ExchangeError::Unexpected));
            }
            (Purpose::Inbound, _) => {
                self.close(id);
                self.exchange_failed(stream.peer, &ExchangeError::Unexpected);
            }
        }
    }

    /// Something came back for a ping of ours over TCP.
    fn tcp_ping_over(&mut self, stream: &Stream, seq: u32, answer: &StreamMessage) {
        let is_ack = |body: &Bytes| Ack::decode(body).is_ok_and(|ack| ack.seq == seq);
        if !matches!(answer, StreamMessage::Ack(body) if is_ack(body)) {
            self.counters.tcp_pings_failed += 1;
            let what = match answer {
                StreamMessage::Error(text) => text,
                _ => "something else than its ack",
            };
            let peer = stream.peer;
            self.drop_message(Layer::Memberlist, "message_dropped", || {
                format!("{peer} answers a ping over TCP with: {what}")
            });
        } else if matches!(stream.purpose, Purpose::Look { .. }) {
            self.look_answered(seq, AnswerWay::Tcp);
        } else {
            self.tcp_ping_answered(seq);
        }
    }

    fn stream_ping(&mut self, id: StreamId, peer: SocketAddr, body: &Bytes) {
        match Ping::decode(body) {
            Ok(ping) if ping.node.is_empty() || *ping.node == *self.own_name() => {
                let mut message = Vec::new();
                Ack { seq: ping.seq, payload: None }.encode(&mut message);
                self.write(id, Role::Acceptor, &message);
            }
            Ok(ping) => {
                let node = ping.node.to_owned();
                self.drop_message(Layer::Memberlist, "ping_for_another", || {
                    format!("{peer} pings {node} here over TCP; is an old address still in use?")
                });
            }
            Err(error) => self.drop_message(Layer::Memberlist, "message_dropped", || {
                format!("dropped a ping over TCP from {peer}: {error}")
            }),
        }
        self.close(id);
    }

    fn merge_reply(&mut self, stream: &Stream, remote: &PushPull) -> Result<(), ExchangeError> {
        let Purpose::PushPull { join, op } = &stream.purpose else { return Ok(()) };
        self.admit_exchange(remote, *join)?;
        self.merge(stream.peer, remote, *op)
    }

    // ---- ends ----

    /// What arrived is unusable, or not all of it arrived.
    fn stream_bad(&mut self, id: StreamId, error: StreamError) {
        let Some(stream) = self.take_stream(id) else { return };
        if stream.purpose == Purpose::Inbound {
            // A peer that opens a stream and closes it without a word is looking whether somebody listens; that is no fault.
            let said_nothing = error == StreamError::Ended(0);
            if error.deserves_reply() {
                let mut message = Vec::new();
                stream::encode_error(&error.to_string(), &mut message);
                self.write(id, Role::Acceptor, &message);
            }
            self.close(id);
            if !said_nothing {
                self.exchange_failed(stream.peer, &error.into());
            }
        } else {
            self.close(id);
            self.outbound_over(&stream, error.into());
        }
    }

    pub(super) fn stream_failed(&mut self, id: StreamId, failure: StreamFailure) {
        let Some(stream) = self.take_stream(id) else { return };
        let refused = matches!(failure, StreamFailure::Refused(_));
        let (StreamFailure::Refused(text) | StreamFailure::TimedOut(text) | StreamFailure::Other(text)) =
            failure;
        match &stream.purpose {
            Purpose::Ping { seq, .. } if refused => return self.tcp_ping_refused(*seq),
            Purpose::Look { seq, .. } if refused => return self.look_refused(*seq),
            _ => {}
        }
        let error = if stream.connected {
            ExchangeError::Broken(text)
        } else {
            ExchangeError::Dial { addr: stream.peer, error: text }
        };
        if stream.purpose == Purpose::Inbound {
            self.exchange_failed(stream.peer, &error);
        } else {
            self.outbound_over(&stream, error);
        }
    }

    pub(super) fn stream_deadline(&mut self, id: StreamId) {
        let Some(stream) = self.take_stream(id) else { return };
        self.close(id);
        let error = ExchangeError::TimedOut(stream.allowed);
        if stream.purpose == Purpose::Inbound {
            self.exchange_failed(stream.peer, &error);
        } else {
            self.outbound_over(&stream, error);
        }
    }

    fn outbound_over(&mut self, stream: &Stream, error: ExchangeError) {
        match &stream.purpose {
            Purpose::PushPull { op, .. } => self.exchange_over(stream, *op, Err(error)),
            // A probe's silence is judged at its deadline, a look's not at all.
            Purpose::Ping { .. } | Purpose::Look { .. } => self.counters.tcp_pings_failed += 1,
            Purpose::Inbound => {}
        }
    }

    /// A state exchange of ours is over.
    fn exchange_over(&mut self, stream: &Stream, op: Option<OpId>, result: Result<(), ExchangeError>) {
        self.measure(Measure::StateExchange, self.now.since(stream.begun).as_secs_f64());
        match (&result, op) {
            (Err(error), None) => self.exchange_failed(stream.peer, error),
            (Err(_), Some(_)) => self.counters.streams_failed += 1,
            (Ok(()), _) => {}
        }
        let reconnected =
            matches!(stream.purpose, Purpose::PushPull { join: true, op: None }) && result.is_ok();
        if let Some(op) = op {
            self.join_exchange_over(op, stream.peer, result);
        } else if reconnected {
            // Differs from Serf: it sends no join intent after a reconnect, so that peers may go on holding the member as left.
            self.send_join_intent();
        }
    }

    pub(super) fn exchange_failed(&mut self, peer: SocketAddr, error: &ExchangeError) {
        self.counters.streams_failed += 1;
        self.notice(Level::Warn, Layer::Memberlist, "stream_failed", None, || {
            format!("a stream with {peer} failed: {error}")
        });
    }
}
