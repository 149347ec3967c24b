//! Taking bytes from a socket in any pieces and giving whole requests, responses and records.

use std::collections::VecDeque;

use super::{Command, Record, Request, RequestHeader, Response, ResponseBody, ResponseHeader};
use crate::DecodeError;
use crate::limits::RPC_BODY_BYTES_MAX;
use crate::msgpack::Skipper;

/// Buffers longer than this are given back once they are empty.
const IDLE_BUFFER_BYTES: usize = 64 << 10;

/// Cuts a stream of bytes into msgpack values.
///
/// The work is proportional to the bytes, however they are cut up, and the memory to the bytes that have arrived and
/// were not yet taken. Take all values after each [`push`](Self::push).
#[derive(Debug, Default)]
pub struct ValueDecoder {
    buffer: Vec<u8>,
    /// Where the next value begins.
    start: usize,
    /// How far the next value has been looked at.
    skipper: Skipper,
    failure: Option<DecodeError>,
}

impl ValueDecoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes that have arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.buffer.shrink_to(IDLE_BUFFER_BYTES);
            self.start = 0;
        } else if self.start > self.buffer.len() / 2 {
            // Moves fewer bytes than were taken since the last move.
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes the next value, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// When the bytes cannot be a value, or the value is larger than [`RPC_BODY_BYTES_MAX`]. Nothing can be read behind
    /// that: every later call returns the same error.
    pub fn next_value(&mut self) -> Result<Option<&[u8]>, DecodeError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let arrived = self.buffer.len() - self.start;
        let (size, whole) = match self.skipper.advance(&self.buffer[self.start..]) {
            Ok(size) => (size, true),
            Err(DecodeError::Truncated) => (arrived, false),
            Err(failure) => return Err(self.failure.insert(failure).clone()),
        };
        if size > RPC_BODY_BYTES_MAX {
            let failure = DecodeError::TooLarge {
                what: "an RPC value",
                found: size as u64,
                limit: RPC_BODY_BYTES_MAX as u64,
            };
            return Err(self.failure.insert(failure).clone());
        }
        if !whole {
            return Ok(None);
        }
        let value = self.start..self.start + size;
        self.start = value.end;
        self.skipper = Skipper::new();
        Ok(Some(&self.buffer[value]))
    }
}

/// Reads the requests of one connection: the agent's side.
#[derive(Debug, Default)]
pub struct RequestDecoder {
    values: ValueDecoder,
    header: RequestHeader,
    body_due: bool,
}

impl RequestDecoder {
    /// A decoder at the start of a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes that have arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.values.push(bytes);
    }

    /// Takes the next request with its sequence number, or `None` until more bytes arrive. An unknown command is a
    /// request too, [`Request::Unknown`].
    ///
    /// # Errors
    /// When the bytes are no request. An agent then closes the connection without an answer.
    pub fn next_request(&mut self) -> Result<Option<(u64, Request)>, DecodeError> {
        if !self.body_due {
            let Some(header) = self.values.next_value()? else { return Ok(None) };
            self.header.read_over(header)?;
            if !self.header.command.has_body() {
                return Ok(Some((self.header.seq, Request::decode(&self.header.command, &[])?)));
            }
            self.body_due = true;
        }
        let Some(body) = self.values.next_value()? else { return Ok(None) };
        self.body_due = false;
        Ok(Some((self.header.seq, Request::decode(&self.header.command, body)?)))
    }

    /// The header of a request whose body has not arrived. An agent that will refuse the request need not wait for it.
    pub fn pending_header(&self) -> Option<&RequestHeader> {
        self.body_due.then_some(&self.header)
    }
}

/// Something from an agent.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Incoming {
    /// The answer to a request.
    Response(Response),
    /// A record of a stream, a monitor or a query.
    Record {
        /// Sequence number of the request that asked for it.
        seq: u64,
        /// The record.
        record: Record,
    },
}

/// Reads responses and records of one connection: the client's side.
///
/// What a header means depends on what was asked, so each request must be announced with
/// [`expect`](Self::expect) before its answer arrives.
#[derive(Debug, Default)]
pub struct ResponseDecoder {
    values: ValueDecoder,
    /// Requests without an answer, the oldest first.
    expected: VecDeque<(u64, Command)>,
    /// A header that was read, and what follows it.
    header: Option<(ResponseHeader, Follows)>,
}

#[derive(Debug)]
enum Follows {
    Body(Command),
    Record,
}

impl ResponseDecoder {
    /// A decoder at the start of a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Announces that a request was sent.
    pub fn expect(&mut self, seq: u64, command: Command) {
        self.expected.push_back((seq, command));
    }

    /// Adds bytes that have arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.values.push(bytes);
    }

    /// Takes the next response or record, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// When the bytes are neither. The connection is then of no more use.
    pub fn next_incoming(&mut self) -> Result<Option<Incoming>, DecodeError> {
        if self.header.is_none() {
            let Some(header) = self.values.next_value()? else { return Ok(None) };
            let header = ResponseHeader::decode(header)?;
            match self.what_follows(&header) {
                Some(follows) => self.header = Some((header, follows)),
                None => return Ok(Some(Incoming::Response(Response::new(header.seq, header.error)))),
            }
        }
        let Some(value) = self.values.next_value()? else { return Ok(None) };
        // There is one: it was put there above, now or in an earlier call.
        let Some((header, follows)) = self.header.take() else { return Ok(None) };
        Ok(Some(match follows {
            Follows::Record => Incoming::Record { seq: header.seq, record: Record::decode(value)? },
            Follows::Body(command) => Incoming::Response(Response {
                seq: header.seq,
                error: header.error,
                body: Some(ResponseBody::decode(&command, value)?),
            }),
        }))
    }

    /// What follows a header: the body of a response, a record, or nothing.
    fn what_follows(&mut self, header: &ResponseHeader) -> Option<Follows> {
        let asked = self.expected.iter().position(|(seq, _)| *seq == header.seq);
        if let Some((_, command)) = asked.and_then(|index| self.expected.remove(index)) {
            return command.has_response_body(&header.error).then_some(Follows::Body(command));
        }
        // Only records come unasked, and their headers never hold an error. Go agents refuse a request before `auth`
        // twice, the second time for its body.
        header.error.is_empty().then_some(Follows::Record)
    }
}
