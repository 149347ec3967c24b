//! Bytes to messages and back, exactly as memberlist and Serf write them.
//!
//! This crate keeps no state, opens no socket and reads no clock. What it decodes borrows from the bytes that
//! arrived; what it encodes is appended to a buffer of the caller.
//!
//! A packet's way in: [`Codec::open_packet`] removes label, encryption, checksum, compression and compound
//! framing and leaves the single messages as slices of one buffer; [`gossip::Message::decode`] reads each.
//! A stream's way in: [`stream::StreamDecoder`] takes bytes in any pieces and gives a message when one is whole.
//!
//! | module | what |
//! | --- | --- |
//! | [`msgpack`] | the msgpack reader (both dialects) and writer (the one every released Serf accepts) |
//! | [`gossip`] | memberlist's messages |
//! | [`packet`] | UDP packets: the layers around messages, and [`Codec`], which knows label and keys |
//! | [`stream`] | TCP streams: push/pull, user messages, pings, error replies |
//! | [`keyring`] | keys, key rings, sealing and opening of encrypted envelopes |
//! | [`serf`] | Serf's messages, carried as memberlist user messages and push/pull user state |
//! | [`tags`], [`filter`], [`coordinate`] | what travels inside them |
//! | [`rpc`] | the agent's RPC: headers, bodies, records |
//! | [`snapshot`], [`keyring_file`] | lines and files that Serf leaves on disk |
//! | [`limits`] | every bound, named |

mod compress;
pub mod coordinate;
mod envelope;
mod error;
pub mod filter;
pub mod gossip;
pub mod keyring;
pub mod keyring_file;
mod label;
pub mod limits;
pub mod msgpack;
pub mod packet;
pub mod rpc;
pub mod serf;
pub mod snapshot;
pub mod stream;
pub mod tags;

pub use error::DecodeError;
pub use keyring::{Key, KeyError, Keyring};
pub use packet::{Codec, CodecConfig, PacketError};
