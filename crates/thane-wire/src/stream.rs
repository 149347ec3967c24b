//! TCP streams: one request and at most one reply a connection.

use bytes::Bytes;
use thiserror::Error;

use crate::compress::{self, Expander};
use crate::gossip::{NodeState, PushPullHeader, count, kind};
use crate::limits::{
    STREAM_BYTES_MAX, STREAM_EXPANDED_BYTES_MAX, STREAM_FRAME_BYTES_MAX, STREAM_VALUE_BYTES_MAX,
};
use crate::msgpack::{Reader, Skipper, Writer};
use crate::packet::{Codec, PacketError};
use crate::{DecodeError, envelope, label};

/// Bytes before an encrypted envelope: the type and the envelope's length.
const FRAME_HEADER_BYTES: usize = 5;

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
    /// A message for the layer above. An empty one ends the exchange, but memberlist does not deliver it.
    User(Bytes),
    /// A ping's body, after the type byte: decode it with [`crate::gossip::Ping::decode`].
    Ping(Bytes),
    /// An ack's body, after the type byte: decode it with [`crate::gossip::Ack::decode`].
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
    /// A push/pull of `count` encoded [`NodeState`]s, one after the other, and a state of the layer above.
    pub fn new(join: bool, count: usize, records: Bytes, user_state: Bytes) -> Self {
        let header = PushPullHeader { nodes: count, user_state_len: user_state.len(), join };
        Self { header, nodes: records, user_state }
    }

    /// The records in order. One that cannot be read is an error of its own and does not end the iteration.
    pub fn nodes(&self) -> impl Iterator<Item = Result<NodeState<'_>, DecodeError>> {
        let mut records = &self.nodes[..];
        std::iter::from_fn(move || {
            if records.is_empty() {
                return None;
            }
            let mut reader = Reader::new(records);
            let node = NodeState::read(&mut reader);
            if node.is_err() {
                // The stream's decoder has found the end of each record before, so this finds it again.
                reader = Reader::new(records);
                if reader.skip().is_err() {
                    records = &[];
                    return Some(node);
                }
            }
            records = reader.rest();
            Some(node)
        })
    }

    /// Appends a whole push/pull message, type byte first. `records` are encoded [`NodeState`]s, one after the other.
    pub fn encode(join: bool, count: usize, records: &[u8], user_state: &[u8], out: &mut Vec<u8>) {
        out.push(kind::PUSH_PULL);
        PushPullHeader { nodes: count, user_state_len: user_state.len(), join }.encode(out);
        out.extend_from_slice(records);
        out.extend_from_slice(user_state);
    }
}

/// Appends a user message for a stream: type byte, header, payload.
pub fn encode_user(payload: &[u8], out: &mut Vec<u8>) {
    out.push(kind::USER);
    Writer::gossip(out).map(1).str("UserMsgLen").uint(payload.len() as u64);
    out.extend_from_slice(payload);
}

/// Appends an error reply, type byte first.
pub fn encode_error(text: &str, out: &mut Vec<u8>) {
    out.push(kind::ERROR);
    Writer::gossip(out).map(1).str("Error").str(text);
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
        use PacketError::{LabelHeader, LabelMismatch, LabelUnexpected};
        match self {
            Self::Layer(fault) => !matches!(fault, LabelHeader | LabelMismatch { .. } | LabelUnexpected),
            Self::Encryption(_) => true,
            Self::Message(_) | Self::Ended(_) => false,
        }
    }
}

/// Collects the bytes of one direction of a stream until its message is whole.
///
/// Memory grows with what has arrived, never with what was announced: see [`crate::limits::STREAM_MEMORY_FIXED`].
/// The work for n bytes is O(n), however they are cut up.
#[derive(Debug)]
pub struct StreamDecoder {
    role: Role,
    /// What has arrived and still matters; once a layer is opened, what was in it.
    buffer: Vec<u8>,
    /// Whether `buffer` came out of a layer, so that nothing can follow.
    whole: bool,
    stage: Stage,
}

/// What `buffer` begins with.
#[derive(Debug)]
enum Stage {
    /// A label header, or none.
    Label,
    /// An encrypted frame, or none.
    Frame,
    /// A compress message, or none. The skipper looks for the end of its map.
    Compress(Skipper),
    /// The message.
    Message(Progress),
    /// The stream has been decoded or given up.
    Over,
}

impl StreamDecoder {
    /// A decoder for what the peer sends; `role` is ours.
    pub fn new(role: Role) -> Self {
        let stage = match role {
            Role::Dialer => Stage::Frame,
            Role::Acceptor => Stage::Label,
        };
        Self { role, buffer: Vec::new(), whole: false, stage }
    }

    /// Takes the next bytes. Gives the message once it is whole; what follows it is ignored.
    ///
    /// # Errors
    /// When the stream can hold no good message any more. The decoder is useless afterwards.
    pub fn push(&mut self, codec: &Codec, bytes: &[u8]) -> Result<Option<StreamMessage>, StreamError> {
        if matches!(self.stage, Stage::Over) {
            return Ok(None);
        }
        self.buffer.extend_from_slice(bytes);
        let result = self.advance(codec);
        if !matches!(result, Ok(None)) {
            self.stage = Stage::Over;
            self.buffer = Vec::new();
        }
        result
    }

    /// Goes through as many stages as the bytes allow.
    fn advance(&mut self, codec: &Codec) -> Result<Option<StreamMessage>, StreamError> {
        loop {
            let opened = match &mut self.stage {
                Stage::Label => self.open_label(codec)?,
                Stage::Frame => self.open_frame(codec)?,
                Stage::Compress(_) => self.open_compress()?,
                Stage::Message(progress) => match progress.advance(self.role, &self.buffer) {
                    Ok(()) => return self.take_message().map(Some),
                    Err(DecodeError::Truncated) if !self.whole => false,
                    Err(error) => return Err(error.into()),
                },
                Stage::Over => return Ok(None),
            };
            if !opened {
                return match self.buffer.len() {
                    0..=STREAM_BYTES_MAX => Ok(None),
                    found => Err(too_large("stream", found, STREAM_BYTES_MAX).into()),
                };
            }
        }
    }

    /// Removes the label header; false when it may still be coming.
    fn open_label(&mut self, codec: &Codec) -> Result<bool, StreamError> {
        let Some(header) = label::check(codec.config(), &self.buffer)? else { return Ok(false) };
        self.buffer.drain(..header);
        self.stage = Stage::Frame;
        Ok(true)
    }

    /// Opens the encrypted frame if there is one, and insists on it if the settings do; false when bytes are missing.
    fn open_frame(&mut self, codec: &Codec) -> Result<bool, StreamError> {
        let Some(&first) = self.buffer.first() else { return Ok(false) };
        let config = codec.config();
        if first == kind::ENCRYPT {
            if config.keyring.is_empty() {
                return Err(StreamError::Encryption("the peer encrypts its stream, and we have no key"));
            }
            let Some(header) = self.buffer.first_chunk::<FRAME_HEADER_BYTES>() else { return Ok(false) };
            let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
            if length > STREAM_FRAME_BYTES_MAX {
                let error = too_large("encrypted frame", length, STREAM_FRAME_BYTES_MAX);
                return Err(PacketError::Message(error).into());
            }
            let end = FRAME_HEADER_BYTES + length;
            let Some(sealed) = self.buffer.get(FRAME_HEADER_BYTES..end) else { return Ok(false) };
            let associated = [&header[..], config.label.as_bytes()].concat();
            let plaintext = envelope::open(&config.keyring, &associated, sealed)?;
            self.replace_buffer(plaintext)?;
        } else if config.verify_incoming && !config.keyring.is_empty() {
            return Err(StreamError::Encryption("the peer does not encrypt its stream, and we insist on it"));
        }
        self.stage = Stage::Compress(Skipper::new());
        Ok(true)
    }

    /// Expands the compress message if there is one; false when bytes are missing.
    fn open_compress(&mut self) -> Result<bool, StreamError> {
        let Some((&first, body)) = self.buffer.split_first() else { return Ok(false) };
        if let (kind::COMPRESS, Stage::Compress(skipper)) = (first, &mut self.stage) {
            match skipper.advance(body) {
                Err(DecodeError::Truncated) if !self.whole => return Ok(false),
                other => other.map_err(PacketError::Message)?,
            };
            let expanded = Expander::default().expand(&compress::decode(body)?, STREAM_EXPANDED_BYTES_MAX)?;
            self.replace_buffer(expanded)?;
        }
        self.stage = Stage::Message(Progress::default());
        Ok(true)
    }

    fn replace_buffer(&mut self, opened: Vec<u8>) -> Result<(), PacketError> {
        if opened.is_empty() {
            return Err(PacketError::Empty);
        }
        self.buffer = opened;
        self.whole = true;
        Ok(())
    }

    /// Cuts the message out of the buffer once `progress` has found its end.
    fn take_message(&mut self) -> Result<StreamMessage, StreamError> {
        let Stage::Message(progress) = std::mem::replace(&mut self.stage, Stage::Over) else {
            unreachable!("only a message in progress is taken");
        };
        let bytes = Bytes::from(std::mem::take(&mut self.buffer));
        let body = bytes.slice(progress.parts_at..progress.at);
        Ok(match bytes[0] {
            kind::PUSH_PULL => {
                let records_len = body.len() - progress.header.user_state_len;
                let (nodes, user_state) = (body.slice(..records_len), body.slice(records_len..));
                StreamMessage::PushPull(PushPull { header: progress.header, nodes, user_state })
            }
            kind::USER => StreamMessage::User(body),
            kind::PING => StreamMessage::Ping(body),
            kind::ACK => StreamMessage::Ack(body),
            _ => StreamMessage::Error(decode_error(&body)?),
        })
    }
}

/// How far a message has been read.
#[derive(Debug, Default)]
struct Progress {
    step: Step,
    /// Everything before this has been read.
    at: usize,
    /// Where the part that is handed out begins.
    parts_at: usize,
    /// Finds the end of the value that begins at `at`.
    skipper: Skipper,
    header: PushPullHeader,
    /// Node records that have not been read.
    records: usize,
}

/// What is read next.
#[derive(Debug, Default, Clone, Copy)]
enum Step {
    #[default]
    Type,
    /// A message that is one msgpack value.
    Value,
    PushPullHeader,
    Records,
    UserHeader,
    /// Raw bytes, and how many.
    Raw(usize),
    Done,
}

impl Progress {
    /// Finds the end of the message; [`DecodeError::Truncated`] while it is not there.
    fn advance(&mut self, role: Role, bytes: &[u8]) -> Result<(), DecodeError> {
        loop {
            self.step = match self.step {
                Step::Type => {
                    let &first = bytes.first().ok_or(DecodeError::Truncated)?;
                    (self.at, self.parts_at) = (1, 1);
                    first_step(role, first)?
                }
                Step::Value => {
                    self.value(bytes)?;
                    Step::Done
                }
                Step::PushPullHeader => {
                    self.header = PushPullHeader::decode(self.value(bytes)?)?;
                    self.parts_at = self.at;
                    self.records = self.header.nodes;
                    Step::Records
                }
                Step::Records if self.records > 0 => {
                    self.value(bytes)?;
                    self.records -= 1;
                    Step::Records
                }
                Step::Records => Step::Raw(self.header.user_state_len),
                Step::UserHeader => {
                    let length = decode_user_header(self.value(bytes)?)?;
                    self.parts_at = self.at;
                    Step::Raw(length)
                }
                Step::Raw(length) => {
                    if bytes.len() - self.at < length {
                        return Err(DecodeError::Truncated);
                    }
                    self.at += length;
                    Step::Done
                }
                Step::Done => return Ok(()),
            };
        }
    }

    /// Reads past one msgpack value and gives its bytes.
    fn value<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], DecodeError> {
        let rest = &bytes[self.at..];
        let length = match self.skipper.advance(rest) {
            Err(DecodeError::Truncated) if rest.len() > STREAM_VALUE_BYTES_MAX => {
                return Err(too_large("value on a stream", rest.len(), STREAM_VALUE_BYTES_MAX));
            }
            other => other?,
        };
        if length > STREAM_VALUE_BYTES_MAX {
            return Err(too_large("value on a stream", length, STREAM_VALUE_BYTES_MAX));
        }
        self.skipper = Skipper::new();
        self.at += length;
        Ok(&rest[..length])
    }
}

/// What follows a type byte that may begin a stream in this direction.
fn first_step(role: Role, first: u8) -> Result<Step, DecodeError> {
    match (role, first) {
        (_, kind::PUSH_PULL) => Ok(Step::PushPullHeader),
        (Role::Acceptor, kind::USER) => Ok(Step::UserHeader),
        (Role::Acceptor, kind::PING) | (Role::Dialer, kind::ACK | kind::ERROR) => Ok(Step::Value),
        (_, other) => Err(DecodeError::UnknownType(other)),
    }
}

fn decode_user_header(header: &[u8]) -> Result<usize, DecodeError> {
    let mut length = 0;
    Reader::new(header).fields("user message header", &["UserMsgLen"], |_length, r| {
        length = count(r, "UserMsgLen", STREAM_FRAME_BYTES_MAX)?;
        Ok(())
    })?;
    Ok(length)
}

fn decode_error(body: &[u8]) -> Result<String, DecodeError> {
    let mut text = String::new();
    Reader::new(body).fields("error", &["Error"], |_text, r| {
        text = String::from_utf8_lossy(r.text("Error")?).into_owned();
        Ok(())
    })?;
    Ok(text)
}

fn too_large(what: &'static str, found: usize, limit: usize) -> DecodeError {
    DecodeError::TooLarge { what, found: found as u64, limit: limit as u64 }
}

impl Codec {
    /// The bytes to write for one message (type byte first): compressed, encrypted, and with the label header if we dialed.
    /// `nonce` as in [`Codec::seal_packet`].
    ///
    /// Peers refuse an encrypted message that is longer than [`STREAM_FRAME_BYTES_MAX`] in its envelope.
    ///
    /// # Panics
    /// If the message is encrypted and has 4 GiB or more: a bug of the caller.
    pub fn seal_stream(&self, role: Role, message: &[u8], nonce: [u8; 12]) -> Vec<u8> {
        let label = if role == Role::Dialer { self.config().label.as_str() } else { "" };
        // memberlist compresses streams even when that makes them longer.
        let compressed = self.config().compression.then(|| compress::compress(message));
        let message = compressed.as_deref().unwrap_or(message);
        let sealed_len = self.envelope_version().sealed_len(message.len());
        let mut out = Vec::with_capacity(label::header_len(label) + FRAME_HEADER_BYTES + sealed_len);
        label::write(label, &mut out);
        if !self.seals() {
            out.extend_from_slice(message);
            return out;
        }
        let frame_at = out.len();
        out.push(kind::ENCRYPT);
        let length = u32::try_from(sealed_len).expect("a frame's length has 32 bits");
        out.extend_from_slice(&length.to_be_bytes());
        let associated = [&out[frame_at..], self.config().label.as_bytes()].concat();
        envelope::seal(
            &self.config().keyring,
            self.envelope_version(),
            nonce,
            &associated,
            message,
            &mut out,
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gossip::NodeStateKind;
    use crate::packet::CodecConfig;

    fn push(bytes: &[u8]) -> Result<Option<StreamMessage>, StreamError> {
        let codec = Codec::new(CodecConfig::default()).unwrap();
        StreamDecoder::new(Role::Acceptor).push(&codec, bytes)
    }

    #[test]
    fn a_record_that_cannot_be_read_does_not_hide_the_others() {
        let node = |name| NodeState {
            name,
            addr: &[127, 0, 0, 1],
            port: 7946,
            meta: None,
            incarnation: 1,
            state: NodeStateKind::Alive,
            versions: &[1, 5, 2, 0, 0, 0],
        };
        let mut records = Vec::new();
        node("first").encode(&mut records);
        // A name that is not UTF-8, a port that is too large, something else than a map.
        records.extend_from_slice(b"\x81\xa4Name\xa1\xff\x81\xa4Port\xce\0\x01\0\0\x07");
        node("last").encode(&mut records);
        let mut message = Vec::new();
        PushPull::encode(false, 5, &records, b"state", &mut message);
        let Ok(Some(StreamMessage::PushPull(exchange))) = push(&message) else { panic!("no push/pull") };
        let nodes: Vec<_> = exchange.nodes().collect();
        assert_eq!(nodes[0], Ok(node("first")));
        assert_eq!(nodes[1], Err(DecodeError::NotUtf8 { field: "Name" }));
        assert_eq!(nodes[2], Err(DecodeError::OutOfRange { field: "Port" }));
        assert!(matches!(nodes[3], Err(DecodeError::WrongType { .. })));
        assert_eq!(nodes[4..], [Ok(node("last"))]);
        assert_eq!(&exchange.user_state[..], b"state");
    }

    #[test]
    fn a_stream_is_decoded_once() {
        let codec = Codec::new(CodecConfig::default()).unwrap();
        let mut decoder = StreamDecoder::new(Role::Acceptor);
        let mut message = Vec::new();
        encode_user(b"once", &mut message);
        message.extend_from_slice(b"what follows");
        let once = StreamMessage::User(Bytes::from_static(b"once"));
        assert_eq!(decoder.push(&codec, &message), Ok(Some(once)));
        assert_eq!(decoder.push(&codec, &message), Ok(None));
    }

    #[test]
    fn each_end_takes_its_own_messages() {
        for kind in 0..=255 {
            let refused = Err(DecodeError::UnknownType(kind));
            let acceptor = first_step(Role::Acceptor, kind).map(|_step| ());
            assert_eq!(acceptor, if matches!(kind, 0 | 6 | 8) { Ok(()) } else { refused.clone() });
            let dialer = first_step(Role::Dialer, kind).map(|_step| ());
            assert_eq!(dialer, if matches!(kind, 2 | 6 | 13) { Ok(()) } else { refused });
        }
    }
}
