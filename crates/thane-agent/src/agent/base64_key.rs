//! The key as `-encrypt` has it: base64, with faults named as Go names them, which is what Serf's users see.

/// Decodes standard base64 with padding; line breaks do not count.
///
/// # Errors
/// In Go's words, with the position of the fault.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

    let engine = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    let unbroken: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    engine
        .decode(unbroken)
        .map_err(|_fault| format!("illegal base64 data at input byte {}", fault_position(text)))
}

/// Where Go's decoder stops: at the first byte that does not belong there, or at the start of an unfinished group.
fn fault_position(text: &str) -> usize {
    let mut group = 0;
    let mut group_start = 0;
    let mut bytes = text.bytes().enumerate().filter(|(_, byte)| !matches!(byte, b'\r' | b'\n'));
    while let Some((position, byte)) = bytes.next() {
        if group == 0 {
            group_start = position;
        }
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => group = (group + 1) % 4,
            b'=' if group == 3 => return bytes.next().map_or(text.len(), |(position, _)| position),
            b'=' if group == 2 => {
                return match bytes.next() {
                    Some((_, b'=')) => bytes.next().map_or(text.len(), |(position, _)| position),
                    // Go names the byte before the one that should have been padding.
                    Some((position, _)) => position - 1,
                    None => text.len(),
                };
            }
            _ => return position,
        }
    }
    if group == 0 { text.len() } else { group_start }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_in_base64_are_found_where_go_finds_them() {
        for (text, position) in
            [("%%%", 0), ("YWJj*", 4), ("YWJ", 0), ("YWJjYW", 4), ("YW=x", 2), ("Y===", 1), ("YWJjYQ==x", 8)]
        {
            let message = format!("illegal base64 data at input byte {position}");
            assert_eq!(decode(text), Err(message), "{text}");
        }
        assert_eq!(decode("MDEyMzQ1Njc4OWFiY2RlZg=="), Ok(b"0123456789abcdef".to_vec()));
        assert_eq!(decode("YW\nJj"), Ok(b"abc".to_vec()));
    }
}
