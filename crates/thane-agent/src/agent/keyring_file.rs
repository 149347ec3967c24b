//! The key ring file before the node reads it: whether it can be used, in the words that Serf has for what is wrong.

use std::io;
use std::path::Path;

use thane::Key;

use super::base64_key;
use super::config::{contents, text_list};
use crate::hostport::error_text;

/// Largest file. Keys have at most 44 characters.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The number of keys in a file. (Serf: `agent.go`, loadKeyringFile.)
///
/// # Errors
/// If there is no such file, or what is in it is no list of keys.
pub(super) fn count(path: &Path) -> Result<usize, String> {
    let shown = path.display();
    let content = contents(path, FILE_BYTES_MAX).map_err(|error| {
        let action = if error.kind() == io::ErrorKind::NotFound { "stat" } else { "open" };
        format!(
            "{action} {shown}: {}; -keyring-file must name a file with a JSON list of keys",
            error_text(&error)
        )
    })?;
    let remedy =
        format!("{shown} must be a JSON list of keys as 'thane keygen' makes them, the primary one first");
    let keys =
        text_list(&content).map_err(|reason| format!("Failed to decode keyring file: {reason}; {remedy}"))?;
    for (number, text) in keys.iter().enumerate() {
        let number = number + 1;
        let bytes = base64_key::decode(text).map_err(|reason| {
            format!("Failed to decode key from keyring: {reason}; it is key {number}: {remedy}")
        })?;
        Key::new(&bytes)
            .map_err(|reason| format!("Failed to restore keyring: {reason}; it is key {number}: {remedy}"))?;
    }
    if keys.is_empty() {
        return Err(format!("Keyring file contains no keys; {remedy}"));
    }
    Ok(keys.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::test_directory::TestDirectory;

    #[test]
    fn files_are_refused_in_serfs_words_with_a_remedy() {
        let directory = TestDirectory::new("keyring");
        let path = directory.path("k.json");
        assert!(
            count(&path)
                .unwrap_err()
                .starts_with(&format!("stat {}: no such file or directory; ", path.display()))
        );
        for (text, message) in [
            ("{", "Failed to decode keyring file: unexpected end of JSON input; "),
            (
                "{}",
                "Failed to decode keyring file: json: cannot unmarshal object into Go value of type []string; ",
            ),
            (
                "[5]",
                "Failed to decode keyring file: json: cannot unmarshal number into Go value of type string; ",
            ),
            (
                "[\"%%\"]",
                "Failed to decode key from keyring: illegal base64 data at input byte 0; it is key 1: ",
            ),
            ("[\"YWJj\"]", "Failed to restore keyring: key size must be 16, 24 or 32 bytes; it is key 1: "),
            ("[]", "Keyring file contains no keys; "),
        ] {
            std::fs::write(&path, text).unwrap();
            let found = count(&path).unwrap_err();
            assert!(found.starts_with(message) && found.contains("thane keygen"), "{text}: {found}");
        }
        std::fs::write(&path, "[\"MDEyMzQ1Njc4OWFiY2RlZg==\"]\n").unwrap();
        assert_eq!(count(&path), Ok(1));
    }
}
