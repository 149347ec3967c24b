//! The compress message: LZW as Go's `compress/lzw` writes it (least significant bit first, literals of 8 bits).

use std::borrow::Cow;

use weezl::decode::Decoder;
use weezl::encode::Encoder;
use weezl::{BitOrder, LzwStatus};

use crate::DecodeError;
use crate::gossip::kind;
use crate::msgpack::{Reader, Writer};
use crate::packet::PacketError;

const LITERAL_BITS: u8 = 8;
/// Smallest first buffer for what a message expands to. Longer ones begin at twice the length of the LZW data.
const FIRST_BYTES_MIN: usize = 64;

/// The whole compress message around `message`, type byte first.
pub(crate) fn compress(message: &[u8]) -> Vec<u8> {
    let lzw = Encoder::new(BitOrder::Lsb, LITERAL_BITS)
        .encode(message)
        .expect("each byte has a code when literals have eight bits");
    let mut out = Vec::with_capacity(lzw.len() + 16);
    out.push(kind::COMPRESS);
    Writer::gossip(&mut out).map(2).str("Algo").uint(0_u8).str("Buf").bytes(&lzw);
    out
}

/// Reads the body of a compress message and gives its LZW data.
pub(crate) fn decode(body: &[u8]) -> Result<Cow<'_, [u8]>, PacketError> {
    let (mut algorithm, mut lzw) = (0, None);
    Reader::new(body)
        .fields("compress", &["Algo", "Buf"], |index, r| {
            match index {
                0 => algorithm = r.u8("Algo")?,
                _ => lzw = r.bytes_cow("Buf")?,
            }
            Ok(())
        })
        .map_err(PacketError::Message)?;
    if algorithm != 0 {
        return Err(PacketError::Compression("its algorithm is not LZW"));
    }
    Ok(lzw.unwrap_or_default())
}

/// Expands LZW data. Its tables are allocated once and used again for the next data.
#[derive(Default)]
pub(crate) struct Expander {
    decoder: Option<Decoder>,
}

impl Expander {
    /// Expands to 1 to `limit` bytes, and stops as soon as there are more. What follows the end code is ignored.
    pub(crate) fn expand(&mut self, mut lzw: &[u8], limit: usize) -> Result<Vec<u8>, PacketError> {
        let decoder = self.decoder.get_or_insert_with(|| Decoder::new(BitOrder::Lsb, LITERAL_BITS));
        decoder.reset();
        let mut out = vec![0; (2 * lzw.len()).max(FIRST_BYTES_MIN).min(limit + 1)];
        let mut filled = 0;
        loop {
            let step = decoder.decode_bytes(lzw, &mut out[filled..]);
            lzw = &lzw[step.consumed_in..];
            filled += step.consumed_out;
            let stuck = step.consumed_in == 0 && step.consumed_out == 0;
            match step.status {
                // One byte of room was left beyond the limit to notice it.
                _ if filled > limit => {
                    return Err(PacketError::Message(DecodeError::TooLarge {
                        what: "expanded size",
                        found: filled as u64,
                        limit: limit as u64,
                    }));
                }
                Ok(LzwStatus::Done) => break,
                Err(_invalid_code) => {
                    return Err(PacketError::Compression("it holds a code that has no meaning"));
                }
                Ok(_) if filled == out.len() => {
                    let length = (2 * filled).min(limit + 1);
                    // Growing by itself, the vector would take twice its size, over the limit.
                    out.reserve_exact(length - filled);
                    out.resize(length, 0);
                }
                Ok(_) if stuck => return Err(PacketError::Compression("it ends before its end code")),
                Ok(_) => {}
            }
        }
        if filled == 0 {
            return Err(PacketError::Compression("it expands to nothing"));
        }
        out.truncate(filled);
        if out.capacity() / 2 > filled {
            out.shrink_to_fit();
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn hex(text: &Value) -> Vec<u8> {
        let text = text.as_str().unwrap();
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// What Go's compressor wrote, for lengths around each change of the code width and each reset of the table.
    #[test]
    fn what_go_compressed_expands_to_its_input() {
        let pairs: Vec<Value> =
            serde_json::from_str(include_str!("../tests/vectors/gossip/lzw.json")).unwrap();
        let mut expander = Expander::default();
        for pair in &pairs {
            let lzw = hex(&pair["lzw_hex"]);
            let input = match &pair["input_hex"] {
                Value::Null => vec![0; 20_000],
                input => hex(input),
            };
            let name = format!("{} of {} bytes", pair["name"], input.len());
            if input.is_empty() {
                assert!(expander.expand(&lzw, 100).is_err(), "{name}");
                continue;
            }
            let expanded = expander.expand(&lzw, input.len());
            assert_eq!(expanded.as_ref(), Ok(&input), "{name}");
            assert!(expander.expand(&lzw, input.len() - 1).is_err(), "{name}");
            let trailed = [&lzw[..], b"trailing bytes"].concat();
            assert_eq!(expander.expand(&trailed, input.len()).as_ref(), Ok(&input), "{name}");
            let message = compress(&input);
            let ours = decode(&message[1..]).unwrap();
            assert_eq!(expander.expand(&ours, input.len()).as_ref(), Ok(&input), "{name}");
        }
        assert_eq!(pairs.len(), 34);
        eprintln!("compat: LZW as Go compresses | cases={0} same={0} listed=0", pairs.len());
    }

    #[test]
    fn data_without_an_end_code_is_refused_wherever_it_breaks_off() {
        let message = compress(&b"suspicion ".repeat(50));
        let lzw = decode(&message[1..]).unwrap();
        let mut expander = Expander::default();
        // The last byte may hold nothing but padding.
        for length in 0..lzw.len() - 1 {
            assert!(expander.expand(&lzw[..length], 1 << 20).is_err(), "{length} of {}", lzw.len());
        }
    }
}
