//! UDP packets: label, encryption, checksum, compression and compound framing around messages.

use bytes::Bytes;
use thiserror::Error;

use crate::{DecodeError, Keyring};

/// What all packets and streams of one node have in common on the wire.
#[derive(Debug, Clone, Default)]
pub struct CodecConfig {
    /// The cluster's label, at most [`crate::limits::LABEL_BYTES_MAX`] bytes; empty for none.
    pub label: String,
    /// Keys; empty for no encryption.
    pub keyring: Keyring,
    /// Whether plaintext is refused while there are keys.
    pub verify_incoming: bool,
    /// Whether what we send is encrypted while there are keys.
    pub verify_outgoing: bool,
    /// Whether what we send is compressed.
    pub compression: bool,
    /// Protocol version 1 seals with the padded envelope version 0; all later ones with version 1.
    pub padded_envelopes: bool,
    /// For proxies that strip the label: inbound label headers are refused, and their absence is accepted.
    pub skip_inbound_label_check: bool,
}

/// Seals and opens packets, and frames streams (see [`crate::stream`]).
#[derive(Debug, Clone)]
pub struct Codec {
    config: CodecConfig,
}

/// What was in a packet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OpenedPacket {
    /// Single messages in the order in which they stand in the packet, type byte first; each is a slice of one buffer.
    pub messages: Vec<Bytes>,
    /// Parts that had to be dropped while others were kept.
    pub dropped: Vec<PacketError>,
}

/// Why a packet, or a part of one, was dropped.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PacketError {
    /// A label header that is cut short or empty.
    #[error("the label header is malformed")]
    LabelHeader,
    /// Another cluster's packet.
    #[error("the packet's label is {found:?}, ours is {ours:?}")]
    LabelMismatch {
        /// The label found, lossily as text.
        found: String,
        /// The configured one.
        ours: String,
    },
    /// None of our keys opens it.
    #[error("none of our {keys} keys opens the packet; compare the key rings of both nodes")]
    Decrypt {
        /// How many keys were tried.
        keys: usize,
    },
    /// The checksum differs.
    #[error("the checksum is wrong: found {found:08x}, computed {computed:08x}")]
    Checksum {
        /// The sender's.
        found: u32,
        /// Ours.
        computed: u32,
    },
    /// Compressed data that does not expand, expands to nothing or expands over the limit.
    #[error("the compressed message cannot be expanded: {0}")]
    Compression(&'static str),
    /// A compound that is cut short; says how many parts were lost.
    #[error("{0} parts of the compound message are missing")]
    CompoundTruncated(usize),
    /// More layers than [`crate::limits::PACKET_NESTING_MAX`].
    #[error("compound and compressed messages are nested too deeply")]
    TooDeep,
    /// A packet or part without a byte.
    #[error("an empty message")]
    Empty,
    /// A message that could not be read.
    #[error(transparent)]
    Message(#[from] DecodeError),
}

/// Whether a checksum header goes around a packet: only for peers whose maximum protocol version is 5 or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// Add it.
    Add,
    /// Leave it out.
    Omit,
}

impl Codec {
    /// # Errors
    /// [`DecodeError::TooLarge`] when the label is longer than [`crate::limits::LABEL_BYTES_MAX`] bytes.
    pub fn new(config: CodecConfig) -> Result<Self, DecodeError> {
        Ok(Self { config })
    }

    /// The settings.
    pub fn config(&self) -> &CodecConfig {
        &self.config
    }

    /// The keys, for rotation.
    pub fn keyring_mut(&mut self) -> &mut Keyring {
        &mut self.config.keyring
    }

    /// Bytes that label and encryption take from every packet (memberlist counts encryption as soon as there are keys).
    pub fn packet_overhead(&self) -> usize {
        todo!()
    }

    /// Removes all layers and gives the single messages.
    ///
    /// # Errors
    /// When nothing of the packet can be used.
    pub fn open_packet(&self, packet: Bytes) -> Result<OpenedPacket, PacketError> {
        let _ = packet;
        todo!()
    }

    /// Puts messages (each type byte first) into one packet: a single one bare, several as a compound, at most
    /// [`crate::limits::COMPOUND_PARTS_MAX`]. `nonce` must never repeat under one key; it is used only when encrypting.
    ///
    /// # Panics
    /// If `messages` is empty, has more than the allowed parts, or a part is longer than 65,535 bytes: a bug of the caller.
    pub fn seal_packet<M: AsRef<[u8]>>(&self, messages: &[M], checksum: Checksum, nonce: [u8; 12]) -> Vec<u8> {
        let _ = (messages, checksum, nonce);
        todo!()
    }
}
