//! UDP packets: label, encryption, checksum, compression and compound framing around messages.

use bytes::Bytes;
use thiserror::Error;

use crate::compress::{self, Expander};
use crate::envelope::{self, Version};
use crate::gossip::kind;
use crate::limits::{
    COMPOUND_PARTS_MAX, LABEL_BYTES_MAX, PACKET_COMPRESSED_MAX, PACKET_EXPANDED_BYTES_MAX,
    PACKET_NESTING_MAX, PACKET_PARTS_MAX,
};
use crate::{DecodeError, Keyring, label};

/// Bytes of the checksum header: the type and the CRC-32.
const CHECKSUM_BYTES: usize = 5;

/// What all packets and streams of one node have in common on the wire.
#[derive(Debug, Clone, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one switch of memberlist's configuration, under its name"
)]
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
    /// A label header where the settings say that a proxy has removed it.
    #[error("there is a label header, although the inbound label check is left to a proxy that removes it")]
    LabelUnexpected,
    /// Another cluster's packet.
    #[error("the label is {found:?}, ours is {ours:?}")]
    LabelMismatch {
        /// The label found, lossily as text.
        found: String,
        /// The configured one.
        ours: String,
    },
    /// Something else than an encrypted envelope, or one that was tampered with.
    #[error("the encrypted envelope is malformed: {0}")]
    Envelope(&'static str),
    /// None of our keys opens it.
    #[error("none of our {keys} keys opens the envelope; compare the key rings of both nodes")]
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
    /// A codec with these settings.
    ///
    /// # Errors
    /// [`DecodeError::TooLarge`] when the label is longer than [`LABEL_BYTES_MAX`] bytes.
    pub fn new(config: CodecConfig) -> Result<Self, DecodeError> {
        if config.label.len() > LABEL_BYTES_MAX {
            return Err(DecodeError::TooLarge {
                what: "label length",
                found: config.label.len() as u64,
                limit: LABEL_BYTES_MAX as u64,
            });
        }
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
        let encryption = if self.config.keyring.is_empty() { 0 } else { self.envelope_version().overhead() };
        label::header_len(&self.config.label) + encryption
    }

    /// Removes all layers and gives the single messages. What their bodies hold is not looked at; an unknown type
    /// shows when the message is decoded.
    ///
    /// Memory stays within [`crate::limits::PACKET_MEMORY_FIXED`] + [`crate::limits::PACKET_MEMORY_PER_BYTE`] times
    /// the packet's length.
    ///
    /// # Errors
    /// When nothing of the packet can be used. A compound of no parts is no error.
    pub fn open_packet(&self, mut packet: Bytes) -> Result<OpenedPacket, PacketError> {
        if packet.is_empty() {
            return Err(PacketError::Empty);
        }
        let labelled = label::check(&self.config, &packet)?.ok_or(PacketError::LabelHeader)?;
        let sealed = packet.split_off(labelled);
        let checked = strip_checksum(self.open_envelope(sealed)?)?;
        let mut opener = Opener::default();
        opener.open(checked, 0);
        let mut opened = opener.opened;
        if opened.messages.is_empty() && !opened.dropped.is_empty() {
            return Err(opened.dropped.swap_remove(0));
        }
        Ok(opened)
    }

    /// The plaintext; also what is no envelope, when we do not insist on one.
    fn open_envelope(&self, sealed: Bytes) -> Result<Bytes, PacketError> {
        if self.config.keyring.is_empty() {
            return Ok(sealed);
        }
        match envelope::open(&self.config.keyring, self.config.label.as_bytes(), &sealed) {
            Ok(plaintext) => Ok(plaintext.into()),
            Err(_) if !self.config.verify_incoming => Ok(sealed),
            Err(error) => Err(error),
        }
    }

    /// Puts messages (each type byte first) into one packet: a single one bare, several as a compound, at most
    /// [`crate::limits::COMPOUND_PARTS_MAX`]. `nonce` must never repeat under one key; it is used only when encrypting.
    ///
    /// # Panics
    /// If `messages` is empty, has more than the allowed parts, or a part is longer than 65,535 bytes: a bug of the caller.
    pub fn seal_packet<M: AsRef<[u8]>>(
        &self,
        messages: &[M],
        checksum: Checksum,
        nonce: [u8; 12],
    ) -> Vec<u8> {
        // Room for the checksum comes first, so that nothing moves when it is known.
        let header = if checksum == Checksum::Add { CHECKSUM_BYTES } else { 0 };
        let mut body = pack(messages, header);
        if self.config.compression && body.len() - header >= COMPRESSION_BYTES_MIN {
            let compressed = compress::compress(&body[header..]);
            if compressed.len() < body.len() - header {
                body.truncate(header);
                body.extend_from_slice(&compressed);
            }
        }
        if checksum == Checksum::Add {
            let crc = crc32fast::hash(&body[CHECKSUM_BYTES..]);
            body[0] = kind::HAS_CRC;
            body[1..CHECKSUM_BYTES].copy_from_slice(&crc.to_be_bytes());
        }
        if !self.seals() && self.config.label.is_empty() {
            return body;
        }
        let mut out = Vec::with_capacity(self.packet_overhead() + body.len());
        label::write(&self.config.label, &mut out);
        if self.seals() {
            let associated = self.config.label.as_bytes();
            envelope::seal(&self.config.keyring, self.envelope_version(), nonce, associated, &body, &mut out);
        } else {
            out.append(&mut body);
        }
        out
    }

    /// Whether what we send is encrypted.
    pub(crate) fn seals(&self) -> bool {
        self.config.verify_outgoing && !self.config.keyring.is_empty()
    }

    pub(crate) fn envelope_version(&self) -> Version {
        if self.config.padded_envelopes { Version::Padded } else { Version::Plain }
    }
}

/// Packets below this size are sent as they are: LZW saves nothing on a ping or an ack, and trying costs more than all the rest.
/// Differs from Serf: it always tries. Receivers accept both.
const COMPRESSION_BYTES_MIN: usize = 128;

/// One message as it is, several as a compound, behind room for a header.
fn pack<M: AsRef<[u8]>>(messages: &[M], header: usize) -> Vec<u8> {
    if let [message] = messages {
        let message = message.as_ref();
        assert!(u16::try_from(message.len()).is_ok(), "a message is longer than a packet");
        let mut out = Vec::with_capacity(header + message.len());
        out.resize(header, 0);
        out.extend_from_slice(message);
        return out;
    }
    assert!(
        (1..=COMPOUND_PARTS_MAX).contains(&messages.len()),
        "{} messages do not make a packet",
        messages.len()
    );
    let bytes: usize = messages.iter().map(|message| 2 + message.as_ref().len()).sum();
    let mut out = Vec::with_capacity(header + 2 + bytes);
    out.resize(header, 0);
    out.extend_from_slice(&[kind::COMPOUND, messages.len() as u8]);
    for message in messages {
        let length = u16::try_from(message.as_ref().len()).expect("a part's length has sixteen bits");
        out.extend_from_slice(&length.to_be_bytes());
    }
    for message in messages {
        out.extend_from_slice(message.as_ref());
    }
    out
}

/// Checks and removes the checksum header. Without one, or with one that is cut short, the bytes stay as they are.
fn strip_checksum(mut bytes: Bytes) -> Result<Bytes, PacketError> {
    let header = match bytes.first_chunk::<CHECKSUM_BYTES>() {
        Some(header) if header[0] == kind::HAS_CRC => header,
        _ => return Ok(bytes),
    };
    let found = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
    let body = bytes.split_off(CHECKSUM_BYTES);
    let computed = crc32fast::hash(&body);
    if found != computed {
        return Err(PacketError::Checksum { found, computed });
    }
    Ok(body)
}

/// Takes compounds and compressed messages apart, in order and depth first.
struct Opener {
    opened: OpenedPacket,
    expander: Expander,
    /// Compressed messages that may still be expanded.
    compressed: usize,
    /// Bytes that they may still expand to, all together.
    expandable: usize,
    /// Parts of compounds that may still be looked at, all together.
    parts: usize,
}

impl Default for Opener {
    fn default() -> Self {
        Self {
            opened: OpenedPacket::default(),
            expander: Expander::default(),
            compressed: PACKET_COMPRESSED_MAX,
            expandable: PACKET_EXPANDED_BYTES_MAX,
            parts: PACKET_PARTS_MAX,
        }
    }
}

impl Opener {
    /// Opens what lies inside `layers` compounds and compressed messages.
    fn open(&mut self, bytes: Bytes, layers: usize) {
        let kind = bytes.first().copied();
        let layered = matches!(kind, Some(kind::COMPOUND | kind::COMPRESS));
        let result = match kind {
            None => Err(PacketError::Empty),
            Some(_) if layered && layers == PACKET_NESTING_MAX => Err(PacketError::TooDeep),
            Some(kind::COMPOUND) => self.open_compound(&bytes, layers + 1),
            Some(kind::COMPRESS) => self.open_compressed(&bytes, layers + 1),
            Some(_message) => {
                self.opened.messages.push(bytes);
                Ok(())
            }
        };
        if let Err(error) = result {
            self.opened.dropped.push(error);
        }
    }

    fn open_compound(&mut self, compound: &Bytes, layers: usize) -> Result<(), PacketError> {
        let &count = compound.get(1).ok_or(PacketError::Message(DecodeError::Truncated))?;
        let count = usize::from(count);
        let lengths = compound.get(2..2 + 2 * count).ok_or(PacketError::CompoundTruncated(count))?;
        let mut at = 2 + lengths.len();
        for (index, length) in lengths.chunks_exact(2).enumerate() {
            let end = at + usize::from(u16::from_be_bytes([length[0], length[1]]));
            if end > compound.len() || self.parts == 0 {
                return Err(PacketError::CompoundTruncated(count - index));
            }
            self.parts -= 1;
            self.open(compound.slice(at..end), layers);
            at = end;
        }
        Ok(())
    }

    fn open_compressed(&mut self, message: &Bytes, layers: usize) -> Result<(), PacketError> {
        if self.compressed == 0 {
            return Err(PacketError::Compression("the packet holds too many compressed messages"));
        }
        self.compressed -= 1;
        let lzw = compress::decode(&message[1..])?;
        let expanded = self.expander.expand(&lzw, self.expandable)?;
        self.expandable -= expanded.len();
        self.open(expanded.into(), layers);
        Ok(())
    }
}
