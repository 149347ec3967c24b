//! msgpack as memberlist and Serf speak it: a tolerant reader and an exact writer.
//!
//! Two dialects meet on the wire. The *gossip* dialect is the oldest msgpack: one "raw" family for text and bytes
//! alike, no `str8`, no `bin`. The *RPC* dialect is today's: `str8` for text, the `bin` family for bytes. The
//! [`Reader`] reads both everywhere, as current Go peers do; the [`Writer`] is told which one to write.
//!
//! Nothing is allocated while reading: text and bytes are borrowed, and each announced length is checked against
//! the bytes that are there. [`DecodeError::Truncated`] always means "more bytes could make this good", so that a
//! stream can try again later; [`Skipper`] finds the end of a value that arrives in pieces without starting over.

use std::borrow::Cow;

use crate::DecodeError;
use crate::limits::NESTING_MAX;

/// What kind of value comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Go's zero value of whatever was meant.
    Nil,
    /// True or false.
    Bool,
    /// Any integer, signed or not.
    Integer,
    /// 32 or 64 bits.
    Float,
    /// The raw family, today called str. In the gossip dialect it carries bytes too.
    Text,
    /// The bin family.
    Binary,
    /// A list.
    Array,
    /// Keys and values.
    Map,
    /// An application's type. Nothing in Serf uses one, but an unknown field may.
    Extension,
}

impl Kind {
    /// The kind with its article, as error texts show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool => "a boolean",
            Self::Integer => "an integer",
            Self::Float => "a floating-point number",
            Self::Text => "a string",
            Self::Binary => "binary data",
            Self::Array => "an array",
            Self::Map => "a map",
            Self::Extension => "an extension",
        }
    }
}

/// The first bytes of a value: what it is and what follows them.
#[derive(Debug, Clone, Copy)]
struct Head {
    kind: Kind,
    /// Bytes of the head itself: the marker, and the length or number behind it.
    size: usize,
    /// Text, binary, extension: bytes that follow. Array and map: elements or entries that follow.
    count: usize,
    /// The number, for integers and booleans (0 or 1).
    integer: i128,
    /// The number, for floats.
    float: f64,
}

/// Reads the head at the start of `bytes`.
fn head(bytes: &[u8]) -> Result<Head, DecodeError> {
    let marker = *bytes.first().ok_or(DecodeError::Truncated)?;
    let fixed = |kind, count| Head { kind, size: 1, count, integer: 0, float: 0.0 };
    let number = |integer| Head { integer, ..fixed(Kind::Integer, 0) };
    // The big-endian number of `width` bytes behind the marker.
    let unsigned = |width: usize| -> Result<u64, DecodeError> {
        let digits = bytes.get(1..=width).ok_or(DecodeError::Truncated)?;
        Ok(digits.iter().fold(0, |sum, &digit| sum << 8 | u64::from(digit)))
    };
    let sized = |kind, width| -> Result<Head, DecodeError> {
        Ok(Head { size: 1 + width, count: unsigned(width)? as usize, ..fixed(kind, 0) })
    };
    let integer = |integer: i128, width: usize| Head { size: 1 + width, ..number(integer) };
    let float = |float, width: usize| Head { size: 1 + width, float, ..fixed(Kind::Float, 0) };
    Ok(match marker {
        0x00..=0x7f => number(i128::from(marker)),
        0x80..=0x8f => fixed(Kind::Map, usize::from(marker & 0x0f)),
        0x90..=0x9f => fixed(Kind::Array, usize::from(marker & 0x0f)),
        0xa0..=0xbf => fixed(Kind::Text, usize::from(marker & 0x1f)),
        0xc0 => fixed(Kind::Nil, 0),
        0xc1 => return Err(DecodeError::Malformed("the reserved byte c1 begins no value")),
        0xc2 | 0xc3 => Head { integer: i128::from(marker & 1), ..fixed(Kind::Bool, 0) },
        0xc4 => sized(Kind::Binary, 1)?,
        0xc5 => sized(Kind::Binary, 2)?,
        0xc6 => sized(Kind::Binary, 4)?,
        // An extension's type byte follows its length; it counts as part of the data.
        0xc7 => sized(Kind::Extension, 1).map(Head::with_type_byte)?,
        0xc8 => sized(Kind::Extension, 2).map(Head::with_type_byte)?,
        0xc9 => sized(Kind::Extension, 4).map(Head::with_type_byte)?,
        0xca => float(f64::from(f32::from_bits(unsigned(4)? as u32)), 4),
        0xcb => float(f64::from_bits(unsigned(8)?), 8),
        0xcc => integer(i128::from(unsigned(1)?), 1),
        0xcd => integer(i128::from(unsigned(2)?), 2),
        0xce => integer(i128::from(unsigned(4)?), 4),
        0xcf => integer(i128::from(unsigned(8)?), 8),
        0xd0 => integer(i128::from(unsigned(1)? as i8), 1),
        0xd1 => integer(i128::from(unsigned(2)? as i16), 2),
        0xd2 => integer(i128::from(unsigned(4)? as i32), 4),
        0xd3 => integer(i128::from(unsigned(8)? as i64), 8),
        0xd4..=0xd8 => fixed(Kind::Extension, (1 << (marker - 0xd4)) + 1),
        0xd9 => sized(Kind::Text, 1)?,
        0xda => sized(Kind::Text, 2)?,
        0xdb => sized(Kind::Text, 4)?,
        0xdc => sized(Kind::Array, 2)?,
        0xdd => sized(Kind::Array, 4)?,
        0xde => sized(Kind::Map, 2)?,
        0xdf => sized(Kind::Map, 4)?,
        0xe0..=0xff => number(i128::from(marker as i8)),
    })
}

impl Head {
    fn with_type_byte(self) -> Self {
        Self { count: self.count + 1, ..self }
    }
}

/// Reads values one after the other from a slice, borrowing what it can.
///
/// Copying a reader is the way to look ahead or to come back. After an error the position means nothing.
/// `field` arguments name the value in errors.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The bytes that have not been read.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Whether all bytes have been read.
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The kind of the next value, which stays unread.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end of the bytes or inside the value's head; [`DecodeError::Malformed`] for
    /// a byte that begins no value.
    pub fn kind(&self) -> Result<Kind, DecodeError> {
        Ok(head(self.rest())?.kind)
    }

    /// Reads past a nil if one is next, and says whether it was.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end of the bytes.
    pub fn nil(&mut self) -> Result<bool, DecodeError> {
        let nil = *self.rest().first().ok_or(DecodeError::Truncated)? == 0xc0;
        self.at += usize::from(nil);
        Ok(nil)
    }

    /// Reads past the next value, whatever it is.
    ///
    /// # Errors
    /// When it is cut short or malformed, or holds containers nested deeper than [`NESTING_MAX`].
    pub fn skip(&mut self) -> Result<(), DecodeError> {
        self.at += Skipper::new().advance(self.rest())?;
        Ok(())
    }

    /// Reads an integer of any family; nil is 0.
    ///
    /// # Errors
    /// [`DecodeError::WrongType`] for anything else, [`DecodeError::OutOfRange`] for a number over 255 or below 0.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.integer(field)
    }

    /// As [`Reader::u8`], up to 65,535.
    ///
    /// # Errors
    /// As [`Reader::u8`].
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.integer(field)
    }

    /// As [`Reader::u8`], up to 2³² - 1.
    ///
    /// # Errors
    /// As [`Reader::u8`].
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.integer(field)
    }

    /// As [`Reader::u8`], up to 2⁶⁴ - 1.
    ///
    /// # Errors
    /// As [`Reader::u8`].
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.integer(field)
    }

    /// As [`Reader::u8`], from -2⁶³ to 2⁶³ - 1.
    ///
    /// # Errors
    /// As [`Reader::u8`].
    pub fn i64(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        self.integer(field)
    }

    fn integer<T: TryFrom<i128>>(&mut self, field: &'static str) -> Result<T, DecodeError> {
        if let Some(number) = self.small_unsigned() {
            return T::try_from(number.into()).map_err(|_too_large| DecodeError::OutOfRange { field });
        }
        let head = self.head(field, "an integer", &[Kind::Integer])?;
        T::try_from(head.integer).map_err(|_too_large| DecodeError::OutOfRange { field })
    }

    /// Reads a boolean; the integers 0 and 1 stand for false and true, and nil is false.
    ///
    /// # Errors
    /// [`DecodeError::WrongType`] for anything else, [`DecodeError::OutOfRange`] for another integer.
    pub fn bool(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.head(field, "a boolean", &[Kind::Bool, Kind::Integer])?.integer {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::OutOfRange { field }),
        }
    }

    /// Reads a floating-point number of either width or an integer; nil is 0.
    ///
    /// # Errors
    /// [`DecodeError::WrongType`] for anything else.
    pub fn f64(&mut self, field: &'static str) -> Result<f64, DecodeError> {
        let head = self.head(field, "a floating-point number", &[Kind::Float, Kind::Integer])?;
        Ok(if head.kind == Kind::Integer { head.integer as f64 } else { head.float })
    }

    /// Reads text of either dialect (binary data too, as current Go does); nil is empty.
    ///
    /// # Errors
    /// [`DecodeError::WrongType`], or [`DecodeError::NotUtf8`]: Go allows any bytes in a string, Thane does not.
    pub fn str(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.text(field)?).map_err(|_not_text| DecodeError::NotUtf8 { field })
    }

    /// Reads text as [`Reader::str`] does, without asking that it be UTF-8.
    ///
    /// # Errors
    /// [`DecodeError::WrongType`].
    pub fn text(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        if let Some(text) = self.short_text() {
            return Ok(text);
        }
        let head = self.head(field, "a string", &[Kind::Text, Kind::Binary])?;
        self.take(head.count)
    }

    /// Reads bytes of either dialect; nil is `None`.
    ///
    /// Go also takes an array of small integers here. Such an array is borrowed as long as each number is encoded in
    /// one byte (0 to 127), because then the numbers stand there as the bytes they mean. [`Reader::bytes_cow`] reads
    /// the rest of them.
    ///
    /// # Errors
    /// [`DecodeError::WrongType`] for anything else.
    pub fn bytes(&mut self, field: &'static str) -> Result<Option<&'a [u8]>, DecodeError> {
        if let Some(bytes) = self.short_text() {
            return Ok(Some(bytes));
        }
        match self.bytes_cow(field)? {
            None => Ok(None),
            Some(Cow::Borrowed(bytes)) => Ok(Some(bytes)),
            Some(Cow::Owned(_)) => Err(DecodeError::WrongType { field, found: "an array", wanted: "bytes" }),
        }
    }

    /// Reads bytes as [`Reader::bytes`] does, from any array of numbers up to 255 too.
    ///
    /// # Errors
    /// [`DecodeError::WrongType`], or [`DecodeError::OutOfRange`] for an element over 255.
    pub fn bytes_cow(&mut self, field: &'static str) -> Result<Option<Cow<'a, [u8]>>, DecodeError> {
        if let Some(bytes) = self.short_text() {
            return Ok(Some(Cow::Borrowed(bytes)));
        }
        let head = self.head(field, "bytes", &[Kind::Text, Kind::Binary, Kind::Array])?;
        match head.kind {
            Kind::Nil => Ok(None),
            Kind::Array => {
                // Each element takes at least a byte, so this also checks that the count is possible.
                let plain = self.rest().get(..head.count).ok_or(DecodeError::Truncated)?;
                if plain.iter().all(|&byte| byte < 0x80) {
                    self.at += head.count;
                    return Ok(Some(Cow::Borrowed(plain)));
                }
                let numbers = (0..head.count).map(|_element| self.u8(field));
                Ok(Some(Cow::Owned(numbers.collect::<Result<_, _>>()?)))
            }
            _ => self.take(head.count).map(Cow::Borrowed).map(Some),
        }
    }

    /// Reads the head of an array and gives the number of its elements, never more than there are bytes left;
    /// nil is `None`.
    ///
    /// # Errors
    /// [`DecodeError::WrongType`], or [`DecodeError::Truncated`] when the elements cannot all be there.
    pub fn array(&mut self, field: &'static str) -> Result<Option<usize>, DecodeError> {
        let head = self.head(field, "an array", &[Kind::Array])?;
        self.counted(head, 1)
    }

    /// Reads the head of a map and gives the number of its entries, never more than half the bytes left; nil is `None`.
    ///
    /// # Errors
    /// [`DecodeError::WrongType`], or [`DecodeError::Truncated`] when the entries cannot all be there.
    pub fn map(&mut self, field: &'static str) -> Result<Option<usize>, DecodeError> {
        let head = self.head(field, "a map", &[Kind::Map])?;
        self.counted(head, 2)
    }

    fn counted(&self, head: Head, bytes_each: usize) -> Result<Option<usize>, DecodeError> {
        if head.kind == Kind::Nil {
            return Ok(None);
        }
        if head.count > self.rest().len() / bytes_each {
            return Err(DecodeError::Truncated);
        }
        Ok(Some(head.count))
    }

    /// Reads a Go struct: calls `read` with the index in `names` of each field that is there.
    ///
    /// A struct is a map with the names as keys in any order; unknown keys are skipped, and of a repeated key `read`
    /// sees each value, so that the last one wins. It may also be an array of the values in the order of `names`
    /// (Go's declaration order), where missing ones keep their zero and surplus ones are skipped, or nil, which is
    /// a struct of zeros. `read` must read exactly the field's value.
    ///
    /// # Errors
    /// [`DecodeError::WrongType`] for any other value or for a key that is not text, and whatever `read` returns.
    pub fn fields(
        &mut self,
        what: &'static str,
        names: &[&str],
        mut read: impl FnMut(usize, &mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let (is_array, count) = if let Some(count) = self.short_map() {
            (false, count)
        } else {
            let head = self.head(what, "a map", &[Kind::Map, Kind::Array])?;
            (head.kind == Kind::Array, head.count)
        };
        for position in 0..count {
            let index = if is_array {
                Some(position).filter(|&position| position < names.len())
            } else {
                let key = self.text("map key")?;
                names.iter().position(|name| is_key(name.as_bytes(), key))
            };
            match index {
                Some(index) => read(index, self)?,
                None => self.skip()?,
            }
        }
        Ok(())
    }

    // ---- the commonest values, without the general case's detour; `None` leaves the reader where it is ----

    /// Text or bytes whose marker holds their length.
    #[inline]
    fn short_text(&mut self) -> Option<&'a [u8]> {
        let marker = *self.bytes.get(self.at)?;
        if marker & 0xe0 != 0xa0 {
            return None;
        }
        let start = self.at + 1;
        let end = start + usize::from(marker & 0x1f);
        let text = self.bytes.get(start..end)?;
        self.at = end;
        Some(text)
    }

    /// A map whose marker holds the number of its entries.
    #[inline]
    fn short_map(&mut self) -> Option<usize> {
        let marker = *self.bytes.get(self.at)?;
        if marker & 0xf0 != 0x80 {
            return None;
        }
        self.at += 1;
        Some(usize::from(marker & 0x0f))
    }

    /// An unsigned number of up to 32 bits.
    #[inline]
    fn small_unsigned(&mut self) -> Option<u32> {
        let (number, size) = match *self.rest() {
            [marker @ 0..=0x7f, ..] => (marker.into(), 1),
            [0xcc, a, ..] => (a.into(), 2),
            [0xcd, a, b, ..] => (u16::from_be_bytes([a, b]).into(), 3),
            [0xce, a, b, c, d, ..] => (u32::from_be_bytes([a, b, c, d]), 5),
            _ => return None,
        };
        self.at += size;
        Some(number)
    }

    /// Reads the head of a value that must be nil or of one of the kinds.
    fn head(
        &mut self,
        field: &'static str,
        wanted: &'static str,
        kinds: &[Kind],
    ) -> Result<Head, DecodeError> {
        let head = head(self.rest())?;
        if head.kind != Kind::Nil && !kinds.contains(&head.kind) {
            return Err(DecodeError::WrongType { field, found: head.kind.name(), wanted });
        }
        self.at += head.size;
        Ok(head)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let taken = self.rest().get(..count).ok_or(DecodeError::Truncated)?;
        self.at += count;
        Ok(taken)
    }
}

/// Whether a key of a map is this field's name. Names of one length mostly differ in their first letter.
#[inline]
fn is_key(name: &[u8], key: &[u8]) -> bool {
    name.len() == key.len() && name.first() == key.first() && name == key
}

/// Finds the end of one value whose bytes arrive in pieces.
///
/// It remembers how far it came: a value of n bytes costs O(n) however it is cut up.
#[derive(Debug, Clone)]
pub struct Skipper {
    /// Bytes of the value that lie behind us.
    at: usize,
    /// Values still to come at each open level; level 0 is the value itself.
    open: [u64; NESTING_MAX + 1],
    level: usize,
}

impl Default for Skipper {
    fn default() -> Self {
        Self::new()
    }
}

impl Skipper {
    /// A skipper before the value's first byte.
    pub fn new() -> Self {
        let mut open = [0; NESTING_MAX + 1];
        open[0] = 1;
        Self { at: 0, open, level: 0 }
    }

    /// Takes all bytes of the value that have arrived, from its first one on (not only the new ones; what lies beyond
    /// the value does not matter), and gives its length once it is whole.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] until the value is whole: call again with more. [`DecodeError::TooDeep`] and
    /// [`DecodeError::Malformed`] are final.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, DecodeError> {
        loop {
            while self.open[self.level] == 0 {
                if self.level == 0 {
                    return Ok(self.at);
                }
                self.level -= 1;
            }
            let rest = bytes.get(self.at..).ok_or(DecodeError::Truncated)?;
            // Most values end with their marker, or with the few bytes whose number it holds.
            let short = match rest {
                [0..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff, ..] => Some(1),
                [marker @ 0xa0..=0xbf, ..] => Some(1 + usize::from(marker & 0x1f)),
                _ => None,
            };
            if let Some(size) = short.filter(|size| *size <= rest.len()) {
                self.at += size;
                self.open[self.level] -= 1;
                continue;
            }
            let head = head(rest)?;
            let inside = match head.kind {
                Kind::Array => head.count as u64,
                Kind::Map => 2 * head.count as u64,
                Kind::Text | Kind::Binary | Kind::Extension => {
                    if rest.len() - head.size < head.count {
                        return Err(DecodeError::Truncated);
                    }
                    self.at += head.count;
                    0
                }
                _ => 0,
            };
            self.at += head.size;
            self.open[self.level] -= 1;
            if inside > 0 {
                if self.level == NESTING_MAX {
                    return Err(DecodeError::TooDeep);
                }
                self.level += 1;
                self.open[self.level] = inside;
            }
        }
    }
}

/// How a [`Writer`] writes text and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Gossip,
    Rpc,
}

/// Appends values to a buffer, each in its shortest form. Keys of a map are the caller's to sort.
///
/// # Panics
/// Text, bytes and containers of 2³² or more bytes or elements cannot be expressed: a bug of the caller.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut Vec<u8>,
    dialect: Dialect,
}

impl<'o> Writer<'o> {
    /// Writes what every released memberlist and Serf reads: the raw family for text and bytes, never `str8` or `bin`.
    pub fn gossip(out: &'o mut Vec<u8>) -> Self {
        Self { out, dialect: Dialect::Gossip }
    }

    /// Writes today's msgpack: the `str` family with `str8` for text, the `bin` family for bytes.
    pub fn rpc(out: &'o mut Vec<u8>) -> Self {
        Self { out, dialect: Dialect::Rpc }
    }

    /// Writes nil.
    pub fn nil(&mut self) -> &mut Self {
        self.out.push(0xc0);
        self
    }

    /// Writes a boolean.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.out.push(0xc2 | u8::from(value));
        self
    }

    /// Writes an unsigned integer.
    pub fn uint(&mut self, value: impl Into<u64>) -> &mut Self {
        let value = value.into();
        match value {
            0..=0x7f => self.out.push(value as u8),
            0x80..=0xff => self.marked(0xcc, &[value as u8]),
            0x100..=0xffff => self.marked(0xcd, &(value as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => self.marked(0xce, &(value as u32).to_be_bytes()),
            _ => self.marked(0xcf, &value.to_be_bytes()),
        }
        self
    }

    /// Writes a signed integer; one that is not negative takes the unsigned form, which old peers write as well.
    pub fn int(&mut self, value: i64) -> &mut Self {
        if let Ok(value) = u64::try_from(value) {
            return self.uint(value);
        }
        if value >= -32 {
            self.out.push(value as u8);
        } else if let Ok(value) = i8::try_from(value) {
            self.marked(0xd0, &value.to_be_bytes());
        } else if let Ok(value) = i16::try_from(value) {
            self.marked(0xd1, &value.to_be_bytes());
        } else if let Ok(value) = i32::try_from(value) {
            self.marked(0xd2, &value.to_be_bytes());
        } else {
            self.marked(0xd3, &value.to_be_bytes());
        }
        self
    }

    /// Writes a floating-point number, always in 64 bits.
    pub fn f64(&mut self, value: f64) -> &mut Self {
        self.marked(0xcb, &value.to_be_bytes());
        self
    }

    /// Writes text; also a map's key.
    pub fn str(&mut self, value: &str) -> &mut Self {
        self.text(value.as_bytes())
    }

    /// Writes text that need not be UTF-8.
    pub fn text(&mut self, value: &[u8]) -> &mut Self {
        let marker8 = (self.dialect == Dialect::Rpc).then_some(0xd9);
        self.length(value.len(), Some((0xa0, 31)), marker8, 0xda, 0xdb);
        self.out.extend_from_slice(value);
        self
    }

    /// Writes bytes.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        if self.dialect == Dialect::Gossip {
            return self.text(value);
        }
        self.length(value.len(), None, Some(0xc4), 0xc5, 0xc6);
        self.out.extend_from_slice(value);
        self
    }

    /// Writes bytes, or nil for `None`.
    pub fn opt_bytes(&mut self, value: Option<&[u8]>) -> &mut Self {
        match value {
            Some(value) => self.bytes(value),
            None => self.nil(),
        }
    }

    /// Writes the head of an array; its elements follow.
    pub fn array(&mut self, elements: usize) -> &mut Self {
        self.length(elements, Some((0x90, 15)), None, 0xdc, 0xdd);
        self
    }

    /// Writes the head of a map; its keys and values follow in turn.
    pub fn map(&mut self, entries: usize) -> &mut Self {
        self.length(entries, Some((0x80, 15)), None, 0xde, 0xdf);
        self
    }

    /// Writes a length: in the marker itself up to `fix`'s limit, else behind the shortest marker that there is.
    fn length(
        &mut self,
        length: usize,
        fix: Option<(u8, usize)>,
        marker8: Option<u8>,
        marker16: u8,
        marker32: u8,
    ) {
        match (fix, marker8) {
            (Some((marker, limit)), _) if length <= limit => self.out.push(marker | length as u8),
            (_, Some(marker)) if length <= 0xff => self.marked(marker, &[length as u8]),
            _ => match (u16::try_from(length), u32::try_from(length)) {
                (Ok(length), _) => self.marked(marker16, &length.to_be_bytes()),
                (_, Ok(length)) => self.marked(marker32, &length.to_be_bytes()),
                _ => panic!("a msgpack value of {length} bytes or elements cannot be expressed"),
            },
        }
    }

    fn marked(&mut self, marker: u8, digits: &[u8]) {
        self.out.push(marker);
        self.out.extend_from_slice(digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut Writer::gossip(&mut out));
        out
    }

    #[test]
    fn integers_take_the_shortest_form_and_read_back() {
        for (value, hex_head, size) in [
            (0_i64, 0x00, 1),
            (127, 0x7f, 1),
            (128, 0xcc, 2),
            (256, 0xcd, 3),
            (65_536, 0xce, 5),
            (1 << 32, 0xcf, 9),
            (-1, 0xff, 1),
            (-32, 0xe0, 1),
            (-33, 0xd0, 2),
            (-129, 0xd1, 3),
            (-32_769, 0xd2, 5),
            (i64::MIN, 0xd3, 9),
        ] {
            let bytes = written(|w| {
                w.int(value);
            });
            assert_eq!((bytes[0], bytes.len()), (hex_head, size), "{value}");
            assert_eq!(Reader::new(&bytes).i64("n"), Ok(value));
        }
    }

    #[test]
    fn numbers_must_fit_their_field() {
        let bytes = written(|w| {
            w.uint(256_u64);
        });
        assert_eq!(Reader::new(&bytes).u8("n"), Err(DecodeError::OutOfRange { field: "n" }));
        assert_eq!(Reader::new(&bytes).u16("n"), Ok(256));
        assert_eq!(Reader::new(&[0xff]).u64("n"), Err(DecodeError::OutOfRange { field: "n" }));
        assert_eq!(Reader::new(&[0x02]).bool("b"), Err(DecodeError::OutOfRange { field: "b" }));
        assert_eq!(Reader::new(&[0x01]).bool("b"), Ok(true));
    }

    #[test]
    fn the_dialects_differ_in_text_and_bytes_alone() {
        for length in [0, 31, 32, 255, 256, 65_535, 65_536] {
            let text = "x".repeat(length);
            let (mut gossip, mut rpc) = (Vec::new(), Vec::new());
            Writer::gossip(&mut gossip).str(&text).bytes(text.as_bytes());
            Writer::rpc(&mut rpc).str(&text).bytes(text.as_bytes());
            let marker = |bytes: &[u8]| (bytes[0], bytes[bytes.len() / 2]);
            match length {
                0..=31 => assert_eq!(marker(&gossip).0 & 0xe0, 0xa0),
                32..=65_535 => assert_eq!(marker(&gossip), (0xda, 0xda)),
                _ => assert_eq!(marker(&gossip), (0xdb, 0xdb)),
            }
            match length {
                32..=255 => assert_eq!(marker(&rpc), (0xd9, 0xc4)),
                256..=65_535 => assert_eq!(marker(&rpc), (0xda, 0xc5)),
                65_536.. => assert_eq!(marker(&rpc), (0xdb, 0xc6)),
                _ => assert_eq!(rpc[length + 1], 0xc4),
            }
            for bytes in [gossip, rpc] {
                let mut reader = Reader::new(&bytes);
                assert_eq!(reader.str("s"), Ok(text.as_str()));
                assert_eq!(reader.bytes("b"), Ok(Some(text.as_bytes())));
                assert!(reader.is_empty());
            }
        }
    }

    #[test]
    fn nil_is_the_zero_of_every_type_and_differs_from_empty_bytes() {
        let nil = [0xc0];
        assert_eq!(Reader::new(&nil).u32(""), Ok(0));
        assert_eq!(Reader::new(&nil).bool(""), Ok(false));
        assert_eq!(Reader::new(&nil).f64(""), Ok(0.0));
        assert_eq!(Reader::new(&nil).str(""), Ok(""));
        assert_eq!(Reader::new(&nil).bytes(""), Ok(None));
        assert_eq!(Reader::new(&nil).map(""), Ok(None));
        assert_eq!(Reader::new(&[0xa0]).bytes(""), Ok(Some(&[][..])));
    }

    #[test]
    fn arrays_of_small_numbers_are_bytes() {
        let low = [0x94, 0x7f, 0, 0, 2];
        assert_eq!(Reader::new(&low).bytes("ip"), Ok(Some(&[127, 0, 0, 2][..])));
        let high = [0x94, 0xcc, 192, 0xcc, 168, 0, 0xd1, 0, 7];
        assert!(matches!(Reader::new(&high).bytes("ip"), Err(DecodeError::WrongType { .. })));
        assert_eq!(Reader::new(&high).bytes_cow("ip"), Ok(Some(Cow::Owned(vec![192, 168, 0, 7]))));
        assert_eq!(
            Reader::new(&[0x91, 0xcd, 1, 0]).bytes_cow("ip"),
            Err(DecodeError::OutOfRange { field: "ip" })
        );
    }

    #[test]
    fn structs_are_read_from_maps_arrays_and_nil() {
        let read = |bytes: &[u8]| -> Result<(u64, String), DecodeError> {
            let (mut n, mut s) = (0, "");
            let mut reader = Reader::new(bytes);
            reader.fields("pair", &["N", "S"], |index, r| {
                match index {
                    0 => n = r.u64("N")?,
                    _ => s = r.str("S")?,
                }
                Ok(())
            })?;
            assert!(reader.is_empty());
            Ok((n, s.to_owned()))
        };
        let map =
            [0x84, 0xa1, b'S', 0xa1, b'x', 0xa1, b'?', 0x91, 0xc7, 1, 5, 9, 0xa1, b'N', 3, 0xa1, b'N', 4];
        assert_eq!(read(&map), Ok((4, "x".into())));
        assert_eq!(read(&[0x91, 7]), Ok((7, String::new())));
        assert_eq!(read(&[0x93, 7, 0xa1, b'y', 0xcb, 0, 0, 0, 0, 0, 0, 0, 0]), Ok((7, "y".into())));
        assert_eq!(read(&[0xc0]), Ok((0, String::new())));
        assert!(matches!(read(&[0x05]), Err(DecodeError::WrongType { .. })));
        assert!(matches!(read(&[0x81, 0x05, 0x05]), Err(DecodeError::WrongType { .. })));
    }

    #[test]
    fn lying_lengths_are_truncation_and_cost_nothing() {
        for bytes in [
            &[0xdb, 0xff, 0xff, 0xff, 0xff][..],
            &[0xc6, 0xff, 0xff, 0xff, 0xff],
            &[0xdd, 0xff, 0xff, 0xff, 0xff],
            &[0xdf, 0xff, 0xff, 0xff, 0xff],
            &[0xc9, 0xff, 0xff, 0xff, 0xff, 1],
        ] {
            assert_eq!(Reader::new(bytes).skip(), Err(DecodeError::Truncated));
        }
        assert_eq!(Reader::new(&[0xdd, 0xff, 0xff, 0xff, 0xff]).array(""), Err(DecodeError::Truncated));
        assert_eq!(Reader::new(&[0xdf, 0, 0, 0, 2, 0, 0, 0]).map(""), Err(DecodeError::Truncated));
        assert_eq!(Reader::new(&[0xdd, 0xff, 0xff, 0xff, 0xff]).bytes_cow(""), Err(DecodeError::Truncated));
    }

    #[test]
    fn nesting_is_bounded_and_empty_containers_do_not_count() {
        let nested = |levels: usize| [vec![0x91; levels], vec![0xc0]].concat();
        assert_eq!(Reader::new(&nested(NESTING_MAX)).skip(), Ok(()));
        assert_eq!(Reader::new(&nested(NESTING_MAX + 1)).skip(), Err(DecodeError::TooDeep));
        assert_eq!(Reader::new(&nested(10_000)).skip(), Err(DecodeError::TooDeep));
        assert_eq!(Reader::new(&[0x93, 0x90, 0x80, 0x90]).skip(), Ok(()));
    }

    #[test]
    fn a_skipper_resumes_at_every_byte() {
        let bytes = [0x82, 0xa1, b'a', 0x92, 0xcd, 1, 2, 0xc0, 0xa1, b'b', 0xc4, 3, 9, 9, 9, 0x55];
        let mut skipper = Skipper::new();
        for end in 0..15 {
            assert_eq!(skipper.advance(&bytes[..end]), Err(DecodeError::Truncated), "{end}");
        }
        assert_eq!(skipper.advance(&bytes[..15]), Ok(15));
        assert_eq!(skipper.advance(&bytes), Ok(15));
    }
}
