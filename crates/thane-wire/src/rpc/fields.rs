//! Reading and writing the values inside bodies.
//!
//! An agent refuses text that is not UTF-8: no name or tag of ours can hold it. A client repairs it, because an agent
//! of another make may have such names, and the rest of its answer is still good.

use std::collections::BTreeMap;

use crate::DecodeError;
use crate::msgpack::{Reader, Writer};
use crate::serf::check_count;

/// Most entries of a list or map that are read: an entry may take a byte on the wire and a hundred in memory.
pub const LIST_ENTRIES_MAX: usize = 1 << 17;

/// Text of another agent, repaired.
pub(super) fn lossy(reader: &mut Reader<'_>, field: &'static str) -> Result<String, DecodeError> {
    Ok(String::from_utf8_lossy(reader.text(field)?).into_owned())
}

/// Text of a client.
pub(super) fn strict(reader: &mut Reader<'_>, field: &'static str) -> Result<String, DecodeError> {
    reader.str(field).map(str::to_owned)
}

/// Bytes: str, bin, or an array of small numbers.
pub(super) fn bytes(reader: &mut Reader<'_>, field: &'static str) -> Result<Option<Vec<u8>>, DecodeError> {
    Ok(reader.bytes_cow(field)?.map(Vec::from))
}

pub(super) fn strict_list(
    reader: &mut Reader<'_>,
    field: &'static str,
) -> Result<Option<Vec<String>>, DecodeError> {
    crate::serf::list(reader, field, LIST_ENTRIES_MAX, |r| strict(r, field))
}

/// A map with text as keys.
pub(super) fn map<'a, T>(
    reader: &mut Reader<'a>,
    field: &'static str,
    key: fn(&mut Reader<'a>, &'static str) -> Result<String, DecodeError>,
    value: fn(&mut Reader<'a>, &'static str) -> Result<T, DecodeError>,
) -> Result<Option<BTreeMap<String, T>>, DecodeError> {
    let Some(count) = reader.map(field)? else { return Ok(None) };
    check_count(field, count, LIST_ENTRIES_MAX)?;
    (0..count)
        .map(|_entry| Ok((key(reader, field)?, value(reader, field)?)))
        .collect::<Result<_, _>>()
        .map(Some)
}

pub(super) fn write_list(w: &mut Writer<'_>, list: Option<&[String]>) {
    let Some(list) = list else {
        w.nil();
        return;
    };
    w.array(list.len());
    for text in list {
        w.str(text);
    }
}

pub(super) fn write_map(w: &mut Writer<'_>, map: Option<&BTreeMap<String, String>>) {
    let Some(map) = map else {
        w.nil();
        return;
    };
    w.map(map.len());
    for (key, value) in map {
        w.str(key).str(value);
    }
}
