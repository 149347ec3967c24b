//! Keys and key rings. (Serf: memberlist's `keyring.go`.)

use std::sync::Arc;

use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, LessSafeKey, UnboundKey};
use base64::alphabet::STANDARD;
use base64::engine::{Engine, GeneralPurpose, GeneralPurposeConfig};
use thiserror::Error;

/// Go's `base64.StdEncoding`: padding is required, left-over bits need not be zero.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// An AES key of 16, 24 or 32 bytes. Its `Debug` never shows the bytes.
#[derive(Clone)]
pub struct Key {
    bytes: Vec<u8>,
    /// The key schedule, computed once and shared by all clones.
    cipher: Arc<LessSafeKey>,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Key {}

/// Why a key or a change of the ring was refused. The texts of the first three are Serf's: they travel to its users.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not 16, 24 or 32 bytes.
    #[error("key size must be 16, 24 or 32 bytes")]
    Length(usize),
    /// `use` of a key that is not installed.
    #[error("requested key is not in the keyring")]
    NotInRing,
    /// `remove` of the primary key.
    #[error("removing the primary key is not allowed")]
    RemovesPrimary,
    /// Not base64.
    #[error("the key is not standard base64: {0}")]
    Base64(String),
}

impl Key {
    /// Takes the raw bytes of a key.
    ///
    /// # Errors
    /// [`KeyError::Length`] unless there are 16, 24 or 32.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        let length = KeyError::Length(bytes.len());
        let algorithm = match bytes.len() {
            16 => &AES_128_GCM,
            24 => &AES_192_GCM,
            32 => &AES_256_GCM,
            _ => return Err(length),
        };
        // The provider refuses a key for its length alone, and that fits here.
        let key = UnboundKey::new(algorithm, bytes).map_err(|_unspecified| length)?;
        Ok(Self { bytes: bytes.to_vec(), cipher: Arc::new(LessSafeKey::new(key)) })
    }

    /// Reads standard base64 with padding, as config files and the command line carry keys. Like Go, it skips line
    /// breaks and does not mind bits beyond the last byte.
    ///
    /// # Errors
    /// [`KeyError::Base64`] or [`KeyError::Length`].
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        let unbroken: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        let bytes = BASE64.decode(unbroken).map_err(|error| KeyError::Base64(error.to_string()))?;
        Self::new(&bytes)
    }

    /// Standard base64 with padding.
    pub fn to_base64(&self) -> String {
        BASE64.encode(&self.bytes)
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn cipher(&self) -> &LessSafeKey {
        &self.cipher
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({} bits)", self.bytes.len() * 8)
    }
}

/// An ordered list of distinct keys, the primary first. Sending uses the primary, receiving tries all.
/// An empty ring means "encryption is off".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keyring {
    keys: Vec<Key>,
}

impl Keyring {
    /// A ring of these keys, in this order without repetitions, the first one primary.
    pub fn new(keys: impl IntoIterator<Item = Key>) -> Self {
        let mut ring = Self::default();
        for key in keys {
            ring.install(key);
        }
        ring
    }

    /// Whether encryption is off.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key that seals.
    pub fn primary(&self) -> Option<&Key> {
        self.keys.first()
    }

    /// All keys, the primary first.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Appends a key unless it is there already. The first key of an empty ring becomes the primary.
    pub fn install(&mut self, key: Key) {
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
    }

    /// Makes an installed key the primary; the others keep their order.
    ///
    /// # Errors
    /// [`KeyError::NotInRing`]; the ring is unchanged.
    pub fn use_key(&mut self, key: &Key) -> Result<(), KeyError> {
        let at = self.keys.iter().position(|k| k == key).ok_or(KeyError::NotInRing)?;
        let key = self.keys.remove(at);
        self.keys.insert(0, key);
        Ok(())
    }

    /// Removes a key; one that is not installed is no change.
    ///
    /// # Errors
    /// [`KeyError::RemovesPrimary`]; the ring is unchanged.
    pub fn remove(&mut self, key: &Key) -> Result<(), KeyError> {
        if self.primary() == Some(key) {
            return Err(KeyError::RemovesPrimary);
        }
        self.keys.retain(|k| k != key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key::new(&[byte; 16]).unwrap()
    }

    #[test]
    fn only_three_lengths_are_keys() {
        for length in 0..40 {
            let made = Key::new(&vec![1; length]).map(|key| key.as_bytes().len());
            let wanted =
                if [16, 24, 32].contains(&length) { Ok(length) } else { Err(KeyError::Length(length)) };
            assert_eq!(made, wanted);
        }
    }

    #[test]
    fn base64_is_read_as_go_reads_it() {
        let text = "AQEBAQEBAQEBAQEBAQEBAQ==";
        assert_eq!(key(1).to_base64(), text);
        assert_eq!(Key::from_base64(text), Ok(key(1)));
        assert_eq!(Key::from_base64("AQEBAQEBAQEB\r\nAQEBAQEBAQ==\n"), Ok(key(1)));
        assert_eq!(Key::from_base64("AQEBAQEBAQEBAQEBAQEBAf=="), Ok(key(1)), "left-over bits");
        for bad in ["AQEBAQEBAQEBAQEBAQEBAQ", "AQEBAQEBAQEBAQEBAQEBA_==", " AQEBAQEBAQEBAQEBAQEBAQ==", "!"] {
            assert!(matches!(Key::from_base64(bad), Err(KeyError::Base64(_))), "{bad}");
        }
        assert_eq!(Key::from_base64("AQE="), Err(KeyError::Length(2)));
    }

    #[test]
    fn debug_output_hides_the_key() {
        assert_eq!(format!("{:?}", key(7)), "Key(128 bits)");
    }

    #[test]
    fn the_primary_moves_and_stays_put() {
        let mut ring = Keyring::new([key(1), key(2), key(1)]);
        assert_eq!(ring.keys(), [key(1), key(2)]);
        ring.install(key(3));
        ring.install(key(2));
        assert_eq!(ring.keys(), [key(1), key(2), key(3)]);
        assert_eq!(ring.use_key(&key(4)), Err(KeyError::NotInRing));
        assert_eq!(ring.remove(&key(1)), Err(KeyError::RemovesPrimary));
        assert_eq!(ring.use_key(&key(3)), Ok(()));
        assert_eq!(ring.keys(), [key(3), key(1), key(2)]);
        assert_eq!(ring.remove(&key(1)), Ok(()));
        assert_eq!(ring.remove(&key(9)), Ok(()));
        assert_eq!(ring.keys(), [key(3), key(2)]);
    }
}
