//! The label header: a marker byte, a length, the label. (Serf: memberlist's `label.go`.)

use crate::gossip::kind;
use crate::packet::{CodecConfig, PacketError};

/// Bytes that the header takes.
pub(crate) fn header_len(label: &str) -> usize {
    if label.is_empty() { 0 } else { 2 + label.len() }
}

/// Appends the header, nothing for the empty label.
pub(crate) fn write(label: &str, out: &mut Vec<u8>) {
    if !label.is_empty() {
        out.extend_from_slice(&[kind::HAS_LABEL, label.len() as u8]);
        out.extend_from_slice(label.as_bytes());
    }
}

/// Checks the header at the start of `bytes` against the settings and gives its length (0 where there is none), or
/// `None` when the bytes end inside it.
pub(crate) fn check(config: &CodecConfig, bytes: &[u8]) -> Result<Option<usize>, PacketError> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    if first != kind::HAS_LABEL {
        let missing = !config.label.is_empty() && !config.skip_inbound_label_check;
        return if missing { Err(mismatch(config, b"")) } else { Ok(Some(0)) };
    }
    if config.skip_inbound_label_check {
        return Err(PacketError::LabelUnexpected);
    }
    let Some(&length) = bytes.get(1) else { return Ok(None) };
    if length == 0 {
        return Err(PacketError::LabelHeader);
    }
    let end = 2 + usize::from(length);
    match bytes.get(2..end) {
        None => Ok(None),
        Some(found) if found == config.label.as_bytes() => Ok(Some(end)),
        Some(found) => Err(mismatch(config, found)),
    }
}

fn mismatch(config: &CodecConfig, found: &[u8]) -> PacketError {
    PacketError::LabelMismatch {
        found: String::from_utf8_lossy(found).into_owned(),
        ours: config.label.clone(),
    }
}
