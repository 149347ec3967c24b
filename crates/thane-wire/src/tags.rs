//! Tags in memberlist's node metadata. (Serf: `serf.go`, encodeTags and decodeTags.)

use std::collections::BTreeMap;

/// A member's tags, by key.
pub type Tags = BTreeMap<String, String>;

/// Encodes tags as node metadata: a magic byte and a msgpack map. The caller checks the length against
/// [`crate::limits::META_BYTES_MAX`].
pub fn encode(tags: &Tags) -> Vec<u8> {
    let _ = tags;
    todo!()
}

/// Decodes node metadata; never fails. Metadata without the magic byte is the value of the tag `role`, as Serf reads it;
/// a map that breaks off gives the entries read so far. Text that is not UTF-8 is repaired with U+FFFD.
pub fn decode(meta: &[u8]) -> Tags {
    let _ = meta;
    todo!()
}
