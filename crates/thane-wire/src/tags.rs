//! Tags in memberlist's node metadata. (Serf: `serf.go`, encodeTags and decodeTags.)
//!
//! ```
//! use thane_wire::tags::{self, Tags};
//!
//! let set = Tags::from([("role".to_owned(), "web".to_owned())]);
//! let meta = tags::encode(&set);
//! assert_eq!(meta, b"\xff\x81\xa4role\xa3web");
//! assert_eq!(tags::decode(&meta), set);
//! ```

use std::collections::BTreeMap;

use crate::DecodeError;
use crate::msgpack::{Reader, Writer};

/// A member's tags, by key.
pub type Tags = BTreeMap<String, String>;

/// First byte of metadata that holds a map. Metadata of Serf's second protocol version has no such byte: it is the
/// value of the tag `role` and nothing else.
const MAGIC: u8 = 0xff;

/// Encodes tags as node metadata: a magic byte and a msgpack map. The caller checks the length against
/// [`crate::limits::META_BYTES_MAX`].
pub fn encode(tags: &Tags) -> Vec<u8> {
    let mut out = vec![MAGIC];
    let mut writer = Writer::gossip(&mut out);
    writer.map(tags.len());
    for (key, value) in tags {
        writer.str(key).str(value);
    }
    out
}

/// Decodes node metadata; never fails. Metadata without the magic byte is the value of the tag `role`, as Serf reads it;
/// a map that breaks off gives the entries read so far. Text that is not UTF-8 is repaired with U+FFFD.
pub fn decode(meta: &[u8]) -> Tags {
    let mut tags = Tags::new();
    match meta.split_first() {
        // Serf keeps what it read before the error, and so do we: the caller wants the tags, not the reason.
        Some((&MAGIC, map)) => {
            _ = read_entries(map, |key, value| {
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                tags.insert(text(key), text(value));
            });
        }
        _ => _ = tags.insert("role".to_owned(), String::from_utf8_lossy(meta).into_owned()),
    }
    tags
}

/// The value of one tag exactly as it came, UTF-8 or not; of several with this key the last one.
pub fn raw_value<'a>(meta: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let mut found = None;
    match meta.split_first() {
        Some((&MAGIC, map)) => {
            _ = read_entries(map, |entry, value| {
                if entry == key.as_bytes() {
                    found = Some(value);
                }
            });
        }
        _ if key == "role" => found = Some(meta),
        _ => {}
    }
    found
}

fn read_entries<'a>(map: &'a [u8], mut take: impl FnMut(&'a [u8], &'a [u8])) -> Result<(), DecodeError> {
    // The head is read by hand, because `Reader::map` refuses a map whose entries cannot all be there.
    let (entries, rest) = match map {
        [head @ 0x80..=0x8f, rest @ ..] => (u32::from(head & 0x0f), rest),
        [0xde, a, b, rest @ ..] => (u32::from_be_bytes([0, 0, *a, *b]), rest),
        [0xdf, a, b, c, d, rest @ ..] => (u32::from_be_bytes([*a, *b, *c, *d]), rest),
        [0xc0, ..] => return Ok(()),
        _ => return Err(DecodeError::Malformed("the tags are not a map")),
    };
    let mut reader = Reader::new(rest);
    for _entry in 0..entries {
        take(reader.text("tag key")?, reader.text("tag value")?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_that_breaks_off_gives_what_came_before() {
        let read = Tags::from([("a".to_owned(), "b".to_owned())]);
        for meta in
            [&b"\xff\x82\xa1a\xa1b"[..], b"\xff\x8f\xa1a\xa1b", b"\xff\xdf\xff\xff\xff\xff\xa1a\xa1b\xa1"]
        {
            assert_eq!(decode(meta), read);
        }
        assert_eq!(decode(b"\xff"), Tags::new());
        assert_eq!(decode(b"\xff\x05"), Tags::new());
        assert_eq!(decode(b"\xff\xde\x00"), Tags::new());
    }

    #[test]
    fn text_that_is_not_utf8_is_repaired() {
        assert_eq!(decode(b"\xff\x81\xa1a\xa2b\xfe")["a"], "b\u{fffd}");
        assert_eq!(decode(b"\xfe")["role"], "\u{fffd}");
    }
}
