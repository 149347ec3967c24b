//! Keys, key rings, and the encrypted envelope.

use thiserror::Error;

/// An AES key of 16, 24 or 32 bytes. Its `Debug` never shows the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    bytes: Vec<u8>,
}

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
        if !matches!(bytes.len(), 16 | 24 | 32) {
            return Err(KeyError::Length(bytes.len()));
        }
        Ok(Self { bytes: bytes.to_vec() })
    }

    /// Reads standard base64 with padding, as config files and the command line carry keys.
    ///
    /// # Errors
    /// [`KeyError::Base64`] or [`KeyError::Length`].
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        let _ = text;
        todo!()
    }

    /// Standard base64 with padding.
    pub fn to_base64(&self) -> String {
        todo!()
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
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
