//! TCP streams: one request and at most one reply a connection.

use bytes::Bytes;
use thiserror::Error;

use crate::gossip::{NodeState, PushPullHeader};
use crate::packet::{Codec, PacketError};
use crate::DecodeError;

/// Which end of the stream we are. A dialer writes the label header; an acceptor expects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We opened the stream and send the request.
    Dialer,
    /// The peer opened it; we send the reply.
    Acceptor,
}

/// One whole message from a stream.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum StreamMessage {
    /// A full state exchange.
    PushPull(PushPull),
    /// A message for the layer above; empty ones are not delivered.
    User(Bytes),
    /// A ping; decode it with [`crate::gossip::Ping::decode`] (the body after the type byte).
    Ping(Bytes),
    /// An ack; decode it with [`crate::gossip::Ack::decode`].
    Ack(Bytes),
    /// The peer's complaint, for people.
    Error(String),
}

/// A push/pull, its records still encoded.
#[derive(Debug, Clone, PartialEq)]
pub struct PushPull {
    /// As sent.
    pub header: PushPullHeader,
    nodes: Bytes,
    /// The layer above's state, possibly empty.
    pub user_state: Bytes,
}

impl PushPull {
    /// The records in order. One that cannot be read is an error of its own and does not end the iteration.
    pub fn nodes(&self) -> impl Iterator<Item = Result<NodeState<'_>, DecodeError>> {
        let _ = &self.nodes;
        std::iter::empty()
    }

    /// Appends a whole push/pull message, type byte first. `records` are encoded [`NodeState`]s, one after the other.
    pub fn encode(join: bool, count: usize, records: &[u8], user_state: &[u8], out: &mut Vec<u8>) {
        let _ = (join, count, records, user_state, out);
        todo!()
    }
}

/// Appends a user message for a stream: type byte, header, payload.
pub fn encode_user(payload: &[u8], out: &mut Vec<u8>) {
    let _ = (payload, out);
    todo!()
}

/// Appends an error reply, type byte first.
pub fn encode_error(text: &str, out: &mut Vec<u8>) {
    let _ = (text, out);
    todo!()
}

/// Why a stream was given up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StreamError {
    /// A fault in label, encryption or compression.
    #[error(transparent)]
    Layer(#[from] PacketError),
    /// The peer encrypts and we have no key, or we encrypt and the peer does not.
    #[error("{0}")]
    Encryption(&'static str),
    /// The message itself is bad.
    #[error(transparent)]
    Message(#[from] DecodeError),
    /// The peer closed the stream before the message was whole.
    #[error("the peer closed the stream after {0} bytes, before its message was complete")]
    Ended(usize),
}

impl StreamError {
    /// Whether memberlist tells the dialer of this fault with an error message (it closes silently otherwise).
    pub fn deserves_reply(&self) -> bool {
        todo!()
    }
}

/// Collects the bytes of one direction of a stream until its message is whole. Memory grows with what has arrived,
/// never with what was announced.
#[derive(Debug)]
pub struct StreamDecoder {
    role: Role,
    buffer: Vec<u8>,
}

impl StreamDecoder {
    /// A decoder for what the peer sends; `role` is ours.
    pub fn new(role: Role) -> Self {
        Self { role, buffer: Vec::new() }
    }

    /// Takes the next bytes. Gives the message once it is whole; what follows it is ignored.
    ///
    /// # Errors
    /// When the stream can hold no good message any more. The decoder is useless afterwards.
    pub fn push(&mut self, codec: &Codec, bytes: &[u8]) -> Result<Option<StreamMessage>, StreamError> {
        let _ = (codec, bytes, self.role, &mut self.buffer);
        todo!()
    }

    /// The peer will send no more.
    pub fn ended(&self) -> StreamError {
        StreamError::Ended(self.buffer.len())
    }
}

impl Codec {
    /// The bytes to write for one message (type byte first): compressed, encrypted, and with the label header if we dialed.
    /// `nonce` as in [`Codec::seal_packet`].
    pub fn seal_stream(&self, role: Role, message: &[u8], nonce: [u8; 12]) -> Vec<u8> {
        let _ = (role, message, nonce);
        todo!()
    }
}
