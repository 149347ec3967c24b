//! The key ring file: a JSON array of keys in base64, the primary first.
//!
//! A node with a key ring file starts with its keys and writes the file anew after each change of the ring. (Serf:
//! `keymanager.go` writes it, `cmd/serf/command/agent/agent.go` reads it.)
//!
//! ```
//! use thane_wire::keyring_file;
//!
//! let text = "[\n  \"WbL6oaTPom+7RG7Q/INbJWKy09OLar/Hf2SuOAdoQE4=\"\n]";
//! let ring = keyring_file::parse(text.as_bytes())?;
//! assert_eq!(ring.keys().len(), 1);
//! assert_eq!(keyring_file::encode(&ring), text);
//! # Ok::<(), keyring_file::KeyringFileError>(())
//! ```

use serde_json::Value;
use thiserror::Error;

use crate::{Key, KeyError, Keyring};

/// Why a key ring file was refused. The texts begin as Serf's do, and never show a key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyringFileError {
    /// Not JSON.
    #[error("Failed to decode keyring file: {0}")]
    Json(String),
    /// JSON, but something else than an array of strings.
    #[error("Failed to decode keyring file: {found} stands where {wanted} belongs")]
    Shape {
        /// What was found, for example "an object".
        found: &'static str,
        /// What belongs there.
        wanted: &'static str,
    },
    /// An empty array.
    #[error("Keyring file contains no keys")]
    NoKeys,
    /// A string that is not base64.
    #[error("Failed to decode key from keyring: key {number}: {error}")]
    Base64 {
        /// Which key, from 1.
        number: usize,
        /// What is wrong with it.
        error: KeyError,
    },
    /// A key of the wrong length.
    #[error("Failed to restore keyring: {error} (key {number})")]
    Length {
        /// Which key, from 1.
        number: usize,
        /// What is wrong with it.
        error: KeyError,
    },
}

/// Reads a key ring file. Repeated keys count once.
///
/// # Errors
/// When the file is not a JSON array of strings, has no key, or has one that is not the base64 of 16, 24 or 32 bytes.
pub fn parse(file: &[u8]) -> Result<Keyring, KeyringFileError> {
    // Through a `Value`, because the errors of a typed parse would quote the offending string: perhaps a key.
    let value: Value =
        serde_json::from_slice(file).map_err(|error| KeyringFileError::Json(error.to_string()))?;
    let entries = match &value {
        Value::Array(entries) => entries.as_slice(),
        // Go reads `null` as an empty list.
        Value::Null => &[],
        other => {
            return Err(KeyringFileError::Shape {
                found: kind_of(other),
                wanted: "an array of keys in base64",
            });
        }
    };
    if entries.is_empty() {
        return Err(KeyringFileError::NoKeys);
    }
    let keys = entries.iter().enumerate().map(|(index, entry)| parse_key(index + 1, entry));
    Ok(Keyring::new(keys.collect::<Result<Vec<_>, _>>()?))
}

fn parse_key(number: usize, entry: &Value) -> Result<Key, KeyringFileError> {
    let Value::String(text) = entry else {
        return Err(KeyringFileError::Shape { found: kind_of(entry), wanted: "a key in base64" });
    };
    Key::from_base64(text).map_err(|error| match error {
        KeyError::Length(_) => KeyringFileError::Length { number, error },
        error => KeyringFileError::Base64 { number, error },
    })
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Writes a key ring file: one key a line, indented by two spaces, without a newline at the end. An empty ring gives
/// `[]`, which [`parse`] refuses.
pub fn encode(ring: &Keyring) -> String {
    if ring.is_empty() {
        return "[]".to_owned();
    }
    // Base64 holds no character that JSON would escape.
    let lines: Vec<String> = ring.keys().iter().map(|key| format!("  \"{}\"", key.to_base64())).collect();
    format!("[\n{}\n]", lines.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "[\n  \"5K9OtfP7efFrNKe5WCQvXvnaXJ5cWP0SvXiwe0kkjM4=\",\n  \
                       \"WbL6oaTPom+7RG7Q/INbJWKy09OLar/Hf2SuOAdoQE4=\"\n]";

    fn refusal(text: &str) -> String {
        parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_file_that_serf_wrote_comes_back_as_it_was() {
        let ring = parse(TWO.as_bytes()).unwrap();
        assert_eq!(ring.keys().len(), 2);
        assert_eq!(ring.primary().unwrap().to_base64(), "5K9OtfP7efFrNKe5WCQvXvnaXJ5cWP0SvXiwe0kkjM4=");
        assert_eq!(encode(&ring), TWO);
    }

    #[test]
    fn any_json_layout_is_read() {
        let ring = parse(br#" ["Zm9vYmFyYmF6cXV1eDEyMw\u003d=" , "Zm9vYmFyYmF6cXV1eDEyMw=="] "#).unwrap();
        assert_eq!(ring.keys(), [Key::new(b"foobarbazquux123").unwrap()]);
    }

    #[test]
    fn refusals_say_what_and_which() {
        assert_eq!(refusal("[]"), "Keyring file contains no keys");
        assert_eq!(refusal("null"), "Keyring file contains no keys");
        assert!(refusal("[").starts_with("Failed to decode keyring file: EOF"));
        assert!(refusal("").starts_with("Failed to decode keyring file: "));
        assert_eq!(
            refusal("{}"),
            "Failed to decode keyring file: an object stands where an array of keys in base64 belongs"
        );
        assert_eq!(
            refusal("[1]"),
            "Failed to decode keyring file: a number stands where a key in base64 belongs"
        );
        assert_eq!(
            refusal(r#"["Zm9vYmFyYmF6cXV1eDEyMw==", "Zm9v"]"#),
            "Failed to restore keyring: key size must be 16, 24 or 32 bytes (key 2)"
        );
        assert!(refusal(r#"["!"]"#).starts_with("Failed to decode key from keyring: key 1: "));
    }

    #[test]
    fn refusals_never_show_a_key() {
        let secret = "5K9OtfP7efFrNKe5WCQvXvnaXJ5cWP0SvXiwe0kkjM4=";
        for text in [
            format!("\"{secret}\""),
            format!("[\"{secret}\""),
            format!("[[\"{secret}\"]]"),
            format!("[\"{secret}x\"]"),
        ] {
            assert!(!refusal(&text).contains("5K9O"), "{text}");
        }
    }
}
