//! A network coordinate, as probe acknowledgements and the RPC carry it. (Serf: `ping_delegate.go`,
//! `coordinate/coordinate.go`.)

use crate::DecodeError;
use crate::msgpack::{Reader, Writer};
use crate::serf::list;

/// First byte of an acknowledgement's payload.
pub const PING_VERSION: u8 = 1;

/// Most dimensions that are read. Serf has 8; another number is the receiver's to refuse, this is to bound memory.
pub const DIMENSIONS_MAX: usize = 64;

/// A point in Vivaldi's space. Whether the numbers are finite, and the dimensions ours, is for the receiver to check.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Coordinate {
    /// Position, in seconds. Empty is nil on the wire.
    pub vec: Vec<f64>,
    /// Confidence in the position: 0 is certain, 1.5 the start.
    pub error: f64,
    /// Added to a distance, in seconds.
    pub adjustment: f64,
    /// Length of the access link, in seconds.
    pub height: f64,
}

impl Coordinate {
    /// Reads the payload of an acknowledgement. An empty one is `None`: the peer has no coordinates. Unknown keys and
    /// bytes after the coordinate are ignored.
    ///
    /// # Errors
    /// [`DecodeError::UnknownType`] for another version byte, and whatever is wrong with the coordinate.
    pub fn decode_ack(payload: &[u8]) -> Result<Option<Self>, DecodeError> {
        match payload.split_first() {
            None => Ok(None),
            Some((&PING_VERSION, body)) => Self::read(&mut Reader::new(body)).map(Some),
            Some((&version, _)) => Err(DecodeError::UnknownType(version)),
        }
    }

    /// Appends the payload of an acknowledgement.
    pub fn encode_ack(&self, out: &mut Vec<u8>) {
        out.push(PING_VERSION);
        self.write(&mut Writer::gossip(out));
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut coordinate = Self::default();
        reader.fields("coordinate", &["Vec", "Error", "Adjustment", "Height"], |index, r| {
            match index {
                0 => coordinate.vec = list(r, "Vec", DIMENSIONS_MAX, |r| r.f64("Vec"))?.unwrap_or_default(),
                1 => coordinate.error = r.f64("Error")?,
                2 => coordinate.adjustment = r.f64("Adjustment")?,
                _ => coordinate.height = r.f64("Height")?,
            }
            Ok(())
        })?;
        Ok(coordinate)
    }

    pub(crate) fn write(&self, writer: &mut Writer<'_>) {
        writer.map(4).str("Adjustment").f64(self.adjustment).str("Error").f64(self.error);
        writer.str("Height").f64(self.height).str("Vec");
        if self.vec.is_empty() {
            writer.nil();
            return;
        }
        writer.array(self.vec.len());
        for axis in &self.vec {
            writer.f64(*axis);
        }
    }
}
