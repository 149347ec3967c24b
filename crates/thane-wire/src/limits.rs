//! Every bound of the wire, named. Sizes are in bytes.

/// Largest payload a UDP datagram can carry, and our receive buffer.
pub const PACKET_BYTES_MAX: usize = 65_536;
/// Largest number of messages in one compound that every generation of memberlist reads correctly.
pub const COMPOUND_PARTS_MAX: usize = 127;
/// Largest expansion of a compressed packet. (memberlist allows 40 MiB; a datagram has no honest use for that.)
pub const PACKET_EXPANDED_BYTES_MAX: usize = 1 << 20;
/// Largest expansion of a compressed stream. memberlist's own limit.
pub const STREAM_EXPANDED_BYTES_MAX: usize = 40 << 20;
/// Largest encrypted frame on a stream, and largest user state and user message. memberlist's own limit.
pub const STREAM_FRAME_BYTES_MAX: usize = 20 << 20;
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
