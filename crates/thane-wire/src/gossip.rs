//! memberlist's messages: one struct a message, borrowing from the packet.
//!
//! Source: memberlist `net.go`; field names on the wire are Go's.

use std::net::IpAddr;

use crate::DecodeError;

/// First byte of each message.
pub mod kind {
    #![allow(missing_docs, reason = "each constant is the message of that name")]
    pub const PING: u8 = 0;
    pub const INDIRECT_PING: u8 = 1;
    pub const ACK: u8 = 2;
    pub const SUSPECT: u8 = 3;
    pub const ALIVE: u8 = 4;
    pub const DEAD: u8 = 5;
    pub const PUSH_PULL: u8 = 6;
    pub const COMPOUND: u8 = 7;
    pub const USER: u8 = 8;
    pub const COMPRESS: u8 = 9;
    pub const ENCRYPT: u8 = 10;
    pub const NACK: u8 = 11;
    pub const HAS_CRC: u8 = 12;
    pub const ERROR: u8 = 13;
    pub const HAS_LABEL: u8 = 244;
}

/// One message of a packet, its type byte removed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Message<'a> {
    /// Type 0.
    Ping(Ping<'a>),
    /// Type 1.
    IndirectPing(IndirectPing<'a>),
    /// Type 2.
    Ack(Ack<'a>),
    /// Type 3.
    Suspect(Suspect<'a>),
    /// Type 4.
    Alive(Alive<'a>),
    /// Type 5.
    Dead(Dead<'a>),
    /// Type 8: the bytes after the type byte, meant for the layer above.
    User(&'a [u8]),
    /// Type 11.
    Nack(Nack),
}

impl<'a> Message<'a> {
    /// Reads one whole message, type byte first. Bytes after it are ignored, as memberlist does.
    ///
    /// # Errors
    /// When the type is not one of a packet's messages or its body is malformed.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let _ = bytes;
        todo!()
    }
}

/// "Are you there?" The answer is an [`Ack`] with the same sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ping<'a> {
    /// Chosen by the sender.
    pub seq: u32,
    /// Who is meant; empty for "anyone".
    pub node: &'a str,
    /// Sender's advertised address: 4 or 16 bytes, empty from very old senders.
    pub source_addr: &'a [u8],
    /// Sender's advertised port, 0 if not told.
    pub source_port: u16,
    /// Sender's name, empty if not told.
    pub source_node: &'a str,
}

/// "Ping that one for me."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndirectPing<'a> {
    /// The requester's sequence number.
    pub seq: u32,
    /// Address of the target, 4 or 16 bytes.
    pub target: &'a [u8],
    /// Port of the target.
    pub port: u16,
    /// Name of the target.
    pub node: &'a str,
    /// Whether the requester wants a [`Nack`] when the target stays silent.
    pub nack: bool,
    /// Requester's advertised address, may be empty.
    pub source_addr: &'a [u8],
    /// Requester's advertised port, may be 0.
    pub source_port: u16,
    /// Requester's name, may be empty.
    pub source_node: &'a str,
}

/// Answer to a ping, direct or relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ack<'a> {
    /// Copied from the ping.
    pub seq: u32,
    /// What the layer above adds (Serf: the coordinate). `None` is nil on the wire.
    pub payload: Option<&'a [u8]>,
}

/// A relay's "no answer so far".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Nack {
    /// The requester's sequence number.
    pub seq: u32,
}

/// "I suspect that one."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Suspect<'a> {
    /// The incarnation that is accused.
    pub incarnation: u32,
    /// The accused.
    pub node: &'a str,
    /// The accuser.
    pub from: &'a str,
}

/// "That one is dead", or, when `node` equals `from`, "I am leaving".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dead<'a> {
    /// The incarnation that is declared dead.
    pub incarnation: u32,
    /// The dead member.
    pub node: &'a str,
    /// Who says so.
    pub from: &'a str,
}

/// "That one is alive, here, with this metadata."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Alive<'a> {
    /// The incarnation.
    pub incarnation: u32,
    /// Name of the member.
    pub node: &'a str,
    /// Advertised address exactly as its owner wrote it: 4 or 16 bytes; anything else is for the receiver to refuse.
    pub addr: &'a [u8],
    /// Advertised port.
    pub port: u16,
    /// Metadata; `None` is nil on the wire.
    pub meta: Option<&'a [u8]>,
    /// Version bytes: memberlist's and the delegate's minimum, maximum and current. Usually six; kept as they came.
    pub versions: &'a [u8],
}

/// State of a member in a push/pull record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeStateKind {
    /// 0.
    Alive,
    /// 1.
    Suspect,
    /// 2.
    Dead,
    /// 3.
    Left,
    /// A number without a meaning; the record is to be ignored.
    Unknown(i64),
}

/// One record of a push/pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeState<'a> {
    /// Name of the member. (The field is `Name` here and `Node` in [`Alive`].)
    pub name: &'a str,
    /// As in [`Alive::addr`].
    pub addr: &'a [u8],
    /// As in [`Alive::port`].
    pub port: u16,
    /// As in [`Alive::meta`].
    pub meta: Option<&'a [u8]>,
    /// The incarnation.
    pub incarnation: u32,
    /// What the sender believes.
    pub state: NodeStateKind,
    /// As in [`Alive::versions`].
    pub versions: &'a [u8],
}

/// Header of a push/pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PushPullHeader {
    /// Number of node records that follow.
    pub nodes: usize,
    /// Bytes of user state after them.
    pub user_state_len: usize,
    /// Whether this exchange is part of a join.
    pub join: bool,
}

macro_rules! encodes {
    ($($name:ident $(<$l:lifetime>)? => $decode_doc:literal),* $(,)?) => {$(
        impl<'a> $name $(<$l>)? {
            #[doc = $decode_doc]
            ///
            /// # Errors
            /// When the bytes are no such map.
            pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> { let _ = body; todo!() }

            /// Appends the whole message, type byte first where it has one.
            pub fn encode(&self, out: &mut Vec<u8>) { let _ = out; todo!() }
        }
    )*};
}
encodes! {
    Ping<'a> => "Reads the body after the type byte.",
    IndirectPing<'a> => "Reads the body after the type byte.",
    Ack<'a> => "Reads the body after the type byte.",
    Nack => "Reads the body after the type byte.",
    Suspect<'a> => "Reads the body after the type byte.",
    Dead<'a> => "Reads the body after the type byte.",
    Alive<'a> => "Reads the body after the type byte.",
    NodeState<'a> => "Reads one record (it has no type byte).",
}

/// Appends a user message for a packet: the type byte and the payload as it is.
pub fn encode_user(payload: &[u8], out: &mut Vec<u8>) {
    let _ = (payload, out);
    todo!()
}

/// The address in four or sixteen raw bytes, or `None` for any other length. An IPv4 address in mapped form stays
/// [`IpAddr::V6`], so that [`ip_bytes`] gives back the very bytes.
pub fn ip_from_bytes(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Raw bytes of an address and how many of them count (4 or 16).
pub fn ip_bytes(ip: IpAddr) -> ([u8; 16], usize) {
    match ip {
        IpAddr::V4(v4) => {
            let mut all = [0; 16];
            all[..4].copy_from_slice(&v4.octets());
            (all, 4)
        }
        IpAddr::V6(v6) => (v6.octets(), 16),
    }
}
