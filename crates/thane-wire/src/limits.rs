//! Every bound of the wire, named. Sizes are in bytes.

/// Largest payload a UDP datagram can carry, and our receive buffer.
pub const PACKET_BYTES_MAX: usize = 65_536;
/// Largest number of messages in one compound that every generation of memberlist reads correctly.
pub const COMPOUND_PARTS_MAX: usize = 127;
/// Largest expansion of a compressed packet. (memberlist allows 40 MiB; a datagram has no honest use for that.)
pub const PACKET_EXPANDED_BYTES_MAX: usize = 1 << 20;
/// Parts of all compounds of one packet together, and so most messages of a packet. (One honest compound has up to 255.)
pub const PACKET_PARTS_MAX: usize = 4096;
/// Compressed messages in one packet. Honest packets have one; each costs time to set up, however little it holds.
pub const PACKET_COMPRESSED_MAX: usize = 16;
/// Opening a packet of n bytes never holds more memory than this and [`PACKET_MEMORY_PER_BYTE`] times n: twice the
/// expansion while its buffer grows, the LZW tables, and the lists of messages and faults.
pub const PACKET_MEMORY_FIXED: usize = 3 << 20;
/// See [`PACKET_MEMORY_FIXED`]. A plaintext is as long as its packet.
pub const PACKET_MEMORY_PER_BYTE: usize = 2;
/// Largest expansion of a compressed stream. memberlist's own limit.
pub const STREAM_EXPANDED_BYTES_MAX: usize = 40 << 20;
/// Largest encrypted frame on a stream, and largest user state and user message. memberlist's own limit.
pub const STREAM_FRAME_BYTES_MAX: usize = 20 << 20;
/// Most bytes of a stream that is not encrypted: a peer may send no more this way than by compressing.
pub const STREAM_BYTES_MAX: usize = STREAM_EXPANDED_BYTES_MAX;
/// Largest single msgpack value on a stream: a push/pull's header or record, a ping, an ack, an error. An honest
/// record fits into a packet many times.
pub const STREAM_VALUE_BYTES_MAX: usize = 65_536;
/// Decoding a stream of which n bytes have arrived never holds more memory than this and [`STREAM_MEMORY_PER_BYTE`]
/// times n, unless it is compressed.
pub const STREAM_MEMORY_FIXED: usize = 64 << 10;
/// See [`STREAM_MEMORY_FIXED`]: the buffer and, while it grows, its old self.
pub const STREAM_MEMORY_PER_BYTE: usize = 4;
/// A compressed stream may hold this much more: [`STREAM_EXPANDED_BYTES_MAX`] twice while the buffer grows.
pub const STREAM_MEMORY_EXPANSION: usize = 2 * STREAM_EXPANDED_BYTES_MAX + (1 << 20);
/// Most node records in one push/pull. memberlist's own limit.
pub const PUSH_PULL_NODES_MAX: usize = 1 << 20;
/// Layers of compound and compress inside one packet.
pub const PACKET_NESTING_MAX: usize = 4;
/// Levels of msgpack containers inside one value.
pub const NESTING_MAX: usize = 16;
/// Longest label.
pub const LABEL_BYTES_MAX: usize = 255;
/// Longest encoded tags (memberlist's node metadata).
pub const META_BYTES_MAX: usize = 512;
/// Largest RPC request or response body that is read.
pub const RPC_BODY_BYTES_MAX: usize = 20 << 20;
