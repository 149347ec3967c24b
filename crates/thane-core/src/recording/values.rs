//! Values to bytes and back: numbers in 7-bit groups, texts and lists with their length before them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thane_wire::{Key, Keyring};

use crate::networks::Network;
use crate::output::StreamId;
use crate::query::{QueryId, QueryToken};
use crate::snapshot::{Marks, Peer, Restored, SeenEvent};

/// Something that does not decode, as the end of "entry 5 is not understood: ...".
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) String);

pub(super) type Taken<T> = Result<T, Malformed>;

pub(super) fn malformed<T>(what: &str) -> Taken<T> {
    Err(Malformed(what.to_owned()))
}

/// Takes values off the front of some bytes.
#[derive(Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> Taken<u8> {
        let Some((first, rest)) = self.0.split_first() else { return malformed("it ends early") };
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn take(&mut self, count: usize) -> Taken<&'a [u8]> {
        let Some((taken, rest)) = self.0.split_at_checked(count) else { return malformed("it ends early") };
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Taken<[u8; N]> {
        let Some((taken, rest)) = self.0.split_first_chunk() else { return malformed("it ends early") };
        self.0 = rest;
        Ok(*taken)
    }

    /// A length and as many bytes.
    pub(super) fn slice(&mut self) -> Taken<&'a [u8]> {
        let count = usize::get(self)?;
        self.take(count)
    }

    /// All must have been taken.
    pub(super) fn end(self) -> Taken<()> {
        if self.0.is_empty() { Ok(()) } else { malformed("more follows than belongs there") }
    }
}

pub(super) fn put_slice(bytes: &[u8], out: &mut Vec<u8>) {
    bytes.len().put(out);
    out.extend_from_slice(bytes);
}

/// A value of a recording.
pub(super) trait Value: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn get(from: &mut Reader<'_>) -> Taken<Self>;
}

impl Value for u64 {
    fn put(&self, out: &mut Vec<u8>) {
        let mut rest = *self;
        while rest >= 0x80 {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }

    fn get(from: &mut Reader<'_>) -> Taken<Self> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = from.byte()?;
            let bits = Self::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        malformed("a number is too large")
    }
}

/// Numbers that are written as the widest one.
macro_rules! narrower {
    ($($number:ty),*) => {$(
        impl Value for $number {
            fn put(&self, out: &mut Vec<u8>) {
                u64::from(*self).put(out);
            }

            fn get(from: &mut Reader<'_>) -> Taken<Self> {
                let wide = u64::get(from)?;
                Self::try_from(wide).or_else(|_| malformed("a number is too large"))
            }
        }
    )*};
}
narrower!(u8, u16, u32);

impl Value for usize {
    fn put(&self, out: &mut Vec<u8>) {
        (*self as u64).put(out);
    }

    fn get(from: &mut Reader<'_>) -> Taken<Self> {
        Self::try_from(u64::get(from)?).or_else(|_| malformed("a number is too large"))
    }
}

impl Value for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn get(from: &mut Reader<'_>) -> Taken<Self> {
        match from.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => malformed("something is neither yes nor no"),
        }
    }
}

impl Value for f64 {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.to_bits().to_le_bytes());
    }

    fn get(from: &mut Reader<'_>) -> Taken<Self> {
        from.array().map(|bytes| Self::from_bits(u64::from_le_bytes(bytes)))
    }
}

impl Value for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_slice(self.as_bytes(), out);
    }

    fn get(from: &mut Reader<'_>) -> Taken<Self> {
        str::from_utf8(from.slice()?).map(str::to_owned).or_else(|_| malformed("a text is not UTF-8"))
    }
}

impl Value for Arc<str> {
    fn put(&self, out: &mut Vec<u8>) {
        put_slice(self.as_bytes(), out);
    }

    fn get(from: &mut Reader<'_>) -> Taken<Self> {
        String::get(from).map(Self::from)
    }
}

impl Value for Bytes {
    fn put(&self, out: &mut Vec<u8>) {
        put_slice(self, out);
    }

    fn get(from: &mut Reader<'_>) -> Taken<Self> {
        from.slice().map(Self::copy_from_slice)
    }
}

impl Value for Duration {
    fn put(&self, out: &mut Vec<u8>) {
        self.as_secs().put(out);
        self.subsec_nanos().put(out);
    }

    fn get(from: &mut Reader<'_>) -> Taken<Self> {
        let (seconds, nanoseconds) = (u64::get(from)?, u32::get(from)?);
        if nanoseconds >= 1_000_000_000 {
            return malformed("a span has more than a second's nanoseconds");
        }
        Ok(Self::new(seconds, nanoseconds))
    }
}

impl Value for SocketAddr {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::V4(v4) => {
                out.push(4);
                out.extend(v4.ip().octets());
                v4.port().put(out);
            }
            Self::V6(v6) => {
                out.push(6);
                out.extend(v6.ip().octets());
                v6.port().put(out);
                v6.flowinfo().put(out);
                v6.scope_id().put(out);
            }
        }
    }

    fn get(from: &mut Reader<'_>) -> Taken<Self> {
        match from.byte()? {
            4 => Ok(Self::new(Ipv4Addr::from(from.array::<4>()?).into(), u16::get(from)?)),
            6 => {
                let ip = Ipv6Addr::from(from.array::<16>()?);
                let v6 = SocketAddrV6::new(ip, u16::get(from)?, u32::get(from)?, u32::get(from)?);
                Ok(Self::V6(v6))
            }
            _ => malformed("an address is of an unknown kind"),
        }
    }
}

impl<T: Value> Value for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.len().put(out);
        for item in self {
            item.put(out);
        }
    }

    fn get(from: &mut Reader<'_>) -> Taken<Self> {
        let count = usize::get(from)?;
        // Grows with what is there, not with what is announced.
        let mut items = Self::new();
        for _ in 0..count {
            items.push(T::get(from)?);
        }
        Ok(items)
    }
}

impl<T: Value> Value for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn get(from: &mut Reader<'_>) -> Taken<Self> {
        if bool::get(from)? { T::get(from).map(Some) } else { Ok(None) }
    }
}

impl<A: Value, B: Value> Value for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn get(from: &mut Reader<'_>) -> Taken<Self> {
        Ok((A::get(from)?, B::get(from)?))
    }
}

/// Nothing, or what went wrong.
impl Value for Result<(), String> {
    fn put(&self, out: &mut Vec<u8>) {
        self.as_ref().err().cloned().put(out);
    }

    fn get(from: &mut Reader<'_>) -> Taken<Self> {
        Ok(Option::get(from)?.map_or(Ok(()), Err))
    }
}

impl Value for BTreeMap<String, String> {
    fn put(&self, out: &mut Vec<u8>) {
        self.len().put(out);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }

    fn get(from: &mut Reader<'_>) -> Taken<Self> {
        Ok(Vec::<(String, String)>::get(from)?.into_iter().collect())
    }
}

impl Value for Key {
    fn put(&self, out: &mut Vec<u8>) {
        put_slice(self.as_bytes(), out);
    }

    fn get(from: &mut Reader<'_>) -> Taken<Self> {
        Self::new(from.slice()?).or_else(|_| malformed("a key has a length that no key has"))
    }
}

impl Value for Keyring {
    fn put(&self, out: &mut Vec<u8>) {
        self.keys().len().put(out);
        for key in self.keys() {
            key.put(out);
        }
    }

    fn get(from: &mut Reader<'_>) -> Taken<Self> {
        Vec::get(from).map(Self::new)
    }
}

/// Types that are their fields, one after the other. A field that is added is a compile error here until it is written too; then the
/// format gets a new number in `MAGIC`.
macro_rules! fields {
    ($($name:ident { $($field:ident),* })*) => {$(
        impl Value for $name {
            fn put(&self, out: &mut Vec<u8>) {
                let Self { $($field),* } = self;
                $($field.put(out);)*
            }

            fn get(from: &mut Reader<'_>) -> Taken<Self> {
                Ok(Self { $($field: Value::get(from)?),* })
            }
        }
    )*};
}
fields! {
    Network { name, addr }
    Marks { member, event, declined, query, incarnation }
    Peer { name, addr }
    SeenEvent { ltime, digest }
    Restored { marks, alive, failed, lost, seen }
}

macro_rules! numbers {
    ($($name:ident),*) => {$(
        impl Value for $name {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }

            fn get(from: &mut Reader<'_>) -> Taken<Self> {
                u64::get(from).map(Self)
            }
        }
    )*};
}
numbers!(StreamId, QueryId, QueryToken);
