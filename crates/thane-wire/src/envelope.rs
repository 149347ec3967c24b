//! The encrypted envelope: version, nonce, AES-GCM ciphertext, tag. (Serf: memberlist's `security.go`.)

use aws_lc_rs::aead::{Aad, Nonce};

use crate::Keyring;
use crate::packet::PacketError;

const VERSION_BYTES: usize = 1;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// Padding of version 0 fills blocks of this size, and adds a whole one to a plaintext that fills its last.
const BLOCK_BYTES: usize = 16;

/// Which envelope is written. Both are read, whatever is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// 0, of protocol version 1: the plaintext is padded.
    Padded,
    /// 1.
    Plain,
}

impl Version {
    fn byte(self) -> u8 {
        match self {
            Self::Padded => 0,
            Self::Plain => 1,
        }
    }

    /// The most bytes that sealing adds; what memberlist subtracts from a packet's budget.
    pub(crate) fn overhead(self) -> usize {
        let padding = if self == Self::Padded { BLOCK_BYTES } else { 0 };
        VERSION_BYTES + NONCE_BYTES + TAG_BYTES + padding
    }

    /// Length of the envelope around a plaintext.
    pub(crate) fn sealed_len(self, plaintext_len: usize) -> usize {
        VERSION_BYTES + NONCE_BYTES + TAG_BYTES + plaintext_len + self.padding(plaintext_len)
    }

    fn padding(self, plaintext_len: usize) -> usize {
        match self {
            Self::Padded => BLOCK_BYTES - plaintext_len % BLOCK_BYTES,
            Self::Plain => 0,
        }
    }
}

/// Appends the envelope around `plaintext`, sealed with the primary key.
///
/// # Panics
/// Without a key, which the callers have ruled out, and for plaintexts of more than 64 GiB.
pub(crate) fn seal(
    keyring: &Keyring,
    version: Version,
    nonce: [u8; 12],
    associated: &[u8],
    plaintext: &[u8],
    out: &mut Vec<u8>,
) {
    let key = keyring.primary().expect("the callers seal only when there is a key");
    let padding = version.padding(plaintext.len());
    out.reserve(version.sealed_len(plaintext.len()));
    out.push(version.byte());
    out.extend_from_slice(&nonce);
    let start = out.len();
    out.extend_from_slice(plaintext);
    out.resize(out.len() + padding, padding as u8);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key
        .cipher()
        .seal_in_place_separate_tag(nonce, Aad::from(associated), &mut out[start..])
        .expect("AES-GCM fails on nothing but absurd lengths");
    out.extend_from_slice(tag.as_ref());
}

/// Opens an envelope with the first key of the ring that fits. The plaintext may be empty.
pub(crate) fn open(keyring: &Keyring, associated: &[u8], envelope: &[u8]) -> Result<Vec<u8>, PacketError> {
    let version = match envelope.first() {
        None => return Err(PacketError::Empty),
        Some(0) => Version::Padded,
        Some(1) => Version::Plain,
        Some(_) => return Err(PacketError::Envelope("its first byte is no known version; is it encrypted?")),
    };
    if envelope.len() < version.overhead() {
        return Err(PacketError::Envelope("it is too short; is it encrypted?"));
    }
    let (nonce, sealed) = envelope[VERSION_BYTES..].split_at(NONCE_BYTES);
    let (ciphertext, tag) = sealed.split_at(sealed.len() - TAG_BYTES);
    let mut plaintext = vec![0; ciphertext.len()];
    let opened = keyring.keys().iter().any(|key| {
        let Ok(nonce) = Nonce::try_assume_unique_for_key(nonce) else { return false };
        let associated = Aad::from(associated);
        key.cipher().open_separate_gather(nonce, associated, ciphertext, tag, &mut plaintext).is_ok()
    });
    if !opened {
        return Err(PacketError::Decrypt { keys: keyring.keys().len() });
    }
    if version == Version::Padded {
        let length = unpadded_len(&plaintext)?;
        plaintext.truncate(length);
    }
    Ok(plaintext)
}

/// The version byte is not authenticated, so even a genuine plaintext may come without the padding it should have.
fn unpadded_len(plaintext: &[u8]) -> Result<usize, PacketError> {
    let wrong = PacketError::Envelope("its padding is wrong");
    let Some(&padding) = plaintext.last() else { return Err(wrong) };
    let Some(length) = plaintext.len().checked_sub(usize::from(padding)) else { return Err(wrong) };
    let right = (1..=BLOCK_BYTES).contains(&usize::from(padding))
        && plaintext[length..].iter().all(|&byte| byte == padding);
    if right { Ok(length) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Key;

    #[test]
    fn every_padding_length_round_trips() {
        let ring = Keyring::new([Key::new(&[7; 24]).unwrap()]);
        for version in [Version::Padded, Version::Plain] {
            for length in 0..=64 {
                let plaintext = vec![16; length];
                let mut out = vec![0xee];
                seal(&ring, version, [9; 12], b"label", &plaintext, &mut out);
                assert_eq!(out.len() - 1, version.sealed_len(length));
                assert_eq!(open(&ring, b"label", &out[1..]), Ok(plaintext));
                assert!(open(&ring, b"labe", &out[1..]).is_err());
            }
        }
    }

    #[test]
    fn lengths_are_memberlists() {
        let rows: serde_json::Value =
            serde_json::from_str(include_str!("../tests/vectors/gossip/envelope_length.json")).unwrap();
        let rows = rows.as_array().unwrap();
        assert!(!rows.is_empty());
        for row in rows {
            let number = |name: &str| usize::try_from(row[name].as_u64().unwrap()).unwrap();
            let version = if number("version") == 0 { Version::Padded } else { Version::Plain };
            assert_eq!(version.sealed_len(number("plaintext_len")), number("envelope_len"), "{row}");
        }
        eprintln!("compat: lengths of encrypted envelopes | cases={0} same={0} listed=0", rows.len());
    }

    #[test]
    fn padding_is_one_to_sixteen_equal_bytes() {
        for (plaintext, length) in [
            (&[16; 16][..], Some(0)),
            (&[9, 2, 2], Some(1)),
            (&[1], Some(0)),
            (&[9, 1, 2], None),
            (&[0], None),
        ] {
            assert_eq!(unpadded_len(plaintext).ok(), length, "{plaintext:?}");
        }
        assert!(unpadded_len(&[]).is_err());
        assert!(unpadded_len(&[3, 3]).is_err());
        assert!(unpadded_len(&[17; 32]).is_err());
    }
}
