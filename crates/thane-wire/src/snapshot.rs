//! The lines of a snapshot file, and what a replay of the whole file gives.
//!
//! A snapshot is a text log: a node appends a line when a member joins or goes and when a clock advances, and reads the
//! file back at its next start, to rejoin the members it knew and to leave old events alone. Here are only the bytes;
//! who reads and writes the file is elsewhere. (Serf: `snapshot.go`, processLine and replay.)
//!
//! ```
//! use thane_wire::snapshot::{Line, replay};
//!
//! let mut file = Vec::new();
//! Line::Alive { name: "web-1", addr: "10.0.0.1:7946" }.encode(&mut file)?;
//! Line::EventClock(7).encode(&mut file)?;
//! assert_eq!(file, b"alive: web-1 10.0.0.1:7946\nevent-clock: 7\n");
//!
//! let state = replay(&file, false);
//! assert_eq!(state.alive["web-1"], "10.0.0.1:7946");
//! assert_eq!(state.event_clock, 7);
//! # Ok::<(), thane_wire::snapshot::LineError>(())
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use thiserror::Error;

/// How many of the lines that a replay passes over it describes; of the others it tells only the number.
pub const SKIPPED_KEPT_MAX: usize = 16;

/// One line, without its newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Line<'a> {
    /// `alive: NAME ADDRESS`: a member joined.
    Alive {
        /// Its name, spaces included.
        name: &'a str,
        /// Its address as text, see [`address_text`]. Not checked when read.
        addr: &'a str,
    },
    /// `not-alive: NAME`: a member left or failed.
    NotAlive {
        /// Its name.
        name: &'a str,
    },
    /// `clock: N`: the newest time seen on the member clock.
    Clock(u64),
    /// `event-clock: N`: the newest time of a user event.
    EventClock(u64),
    /// `query-clock: N`: the newest time of a query.
    QueryClock(u64),
    /// `leave`: the node left the cluster on purpose.
    Leave,
    /// `coordinate: ...`, which Serf 0.7 and 0.8 wrote. Passed over by all readers.
    Coordinate(&'a str),
    /// `#...`. Passed over by all readers.
    Comment(&'a str),
}

/// Why a line could not be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LineError {
    /// Not one of the lines of a snapshot.
    #[error("the line is none that a snapshot holds")]
    Unknown,
    /// An `alive` line without a space between name and address.
    #[error("the alive line has no address")]
    NoAddress,
    /// A clock that is not a decimal number of 64 bits.
    #[error("the clock is not a number from 0 to 18446744073709551615")]
    Clock,
    /// Bytes that are not UTF-8, which no name can be.
    #[error("the line is not UTF-8")]
    NotUtf8,
    /// A name, an address or a remark that would end the line early.
    #[error("a name with a line break cannot be kept in a snapshot; rename the member")]
    LineBreak,
    /// An address with a space, which would be read back as part of the name.
    #[error("an address with a space cannot be kept in a snapshot")]
    AddressSpace,
}

impl<'a> Line<'a> {
    /// Reads a line, given without its newline.
    ///
    /// # Errors
    /// When Serf would warn about the line and pass over it, and when it is not UTF-8.
    pub fn parse(line: &'a [u8]) -> Result<Self, LineError> {
        let line = std::str::from_utf8(line).map_err(|_not_utf8| LineError::NotUtf8)?;
        if let Some(rest) = line.strip_prefix("alive: ") {
            let (name, addr) = rest.rsplit_once(' ').ok_or(LineError::NoAddress)?;
            Ok(Self::Alive { name, addr })
        } else if let Some(name) = line.strip_prefix("not-alive: ") {
            Ok(Self::NotAlive { name })
        } else if let Some(rest) = line.strip_prefix("clock: ") {
            Ok(Self::Clock(parse_clock(rest)?))
        } else if let Some(rest) = line.strip_prefix("event-clock: ") {
            Ok(Self::EventClock(parse_clock(rest)?))
        } else if let Some(rest) = line.strip_prefix("query-clock: ") {
            Ok(Self::QueryClock(parse_clock(rest)?))
        } else if let Some(rest) = line.strip_prefix("coordinate: ") {
            Ok(Self::Coordinate(rest))
        } else if line == "leave" {
            Ok(Self::Leave)
        } else if let Some(rest) = line.strip_prefix('#') {
            Ok(Self::Comment(rest))
        } else {
            Err(LineError::Unknown)
        }
    }

    /// Appends the line and its newline.
    ///
    /// # Errors
    /// [`LineError::LineBreak`] or [`LineError::AddressSpace`] when the line would not be read back as it is; `out` is
    /// then unchanged.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), LineError> {
        let (text, addr) = match *self {
            Self::Alive { name, addr } => (name, addr),
            Self::NotAlive { name } => (name, ""),
            Self::Coordinate(text) | Self::Comment(text) => (text, ""),
            Self::Clock(_) | Self::EventClock(_) | Self::QueryClock(_) | Self::Leave => ("", ""),
        };
        if text.contains('\n') || addr.contains('\n') {
            return Err(LineError::LineBreak);
        }
        if addr.contains(' ') {
            return Err(LineError::AddressSpace);
        }
        out.extend_from_slice(self.to_string().as_bytes());
        out.push(b'\n');
        Ok(())
    }
}

/// The line without its newline, names as they are. To write a file, use [`Line::encode`], which checks them.
impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alive { name, addr } => write!(f, "alive: {name} {addr}"),
            Self::NotAlive { name } => write!(f, "not-alive: {name}"),
            Self::Clock(time) => write!(f, "clock: {time}"),
            Self::EventClock(time) => write!(f, "event-clock: {time}"),
            Self::QueryClock(time) => write!(f, "query-clock: {time}"),
            Self::Leave => f.write_str("leave"),
            Self::Coordinate(rest) => write!(f, "coordinate: {rest}"),
            Self::Comment(rest) => write!(f, "#{rest}"),
        }
    }
}

/// Digits only: Rust would take a `+`, Serf does not.
fn parse_clock(text: &str) -> Result<u64, LineError> {
    if text.starts_with('+') {
        return Err(LineError::Clock);
    }
    text.parse().map_err(|_not_a_number| LineError::Clock)
}

/// An address as an `alive` line holds it: an IPv4 address mapped into IPv6 appears as IPv4, and a scope is left out.
///
/// ```
/// use thane_wire::snapshot::address_text;
/// assert_eq!(address_text("[::ffff:10.1.2.3]:1".parse()?), "10.1.2.3:1");
/// assert_eq!(address_text("[2001:db8::1]:7946".parse()?), "[2001:db8::1]:7946");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub fn address_text(addr: SocketAddr) -> String {
    SocketAddr::new(addr.ip().to_canonical(), addr.port()).to_string()
}

/// What a snapshot file remembers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replay {
    /// Address (as text, unchecked) of each member that was alive, by name.
    pub alive: BTreeMap<String, String>,
    /// Newest time on the member clock; the clock goes on after it. Any value of 64 bits, the largest included, can
    /// stand in a damaged file: check it before counting on.
    pub clock: u64,
    /// Newest time of a user event. The same warning holds.
    pub event_clock: u64,
    /// Newest time of a query. The same warning holds.
    pub query_clock: u64,
    /// Length in bytes of the file up to its last newline. What follows was cut off in the middle of a line: remove it
    /// before appending, or the next line is glued to it.
    pub whole_bytes: usize,
    /// The first [`SKIPPED_KEPT_MAX`] lines that could not be read.
    pub skipped: Vec<SkippedLine>,
    /// How many lines could not be read.
    pub skipped_count: usize,
}

/// A line that a replay could not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkippedLine {
    /// Its number, from 1.
    pub number: usize,
    /// What is wrong with it.
    pub error: LineError,
}

/// Replays a file from its start. A last line without a newline is not read. A line that cannot be read is passed over.
///
/// A `leave` line forgets everything before it, unless `rejoin_after_leave`. (Serf: snapshot.go, replay.)
pub fn replay(file: &[u8], rejoin_after_leave: bool) -> Replay {
    let mut state = Replay::default();
    for (index, line) in file.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let Some((b'\n', line)) = line.split_last() else { break };
        state.whole_bytes += line.len() + 1;
        match Line::parse(line) {
            Ok(line) => state.apply(line, rejoin_after_leave),
            Err(error) => state.skip(SkippedLine { number: index + 1, error }),
        }
    }
    state
}

impl Replay {
    fn apply(&mut self, line: Line<'_>, rejoin_after_leave: bool) {
        match line {
            Line::Alive { name, addr } => {
                self.alive.insert(name.to_owned(), addr.to_owned());
            }
            Line::NotAlive { name } => {
                self.alive.remove(name);
            }
            // The last line counts, even where an earlier one was higher: so does Serf.
            Line::Clock(time) => self.clock = time,
            Line::EventClock(time) => self.event_clock = time,
            Line::QueryClock(time) => self.query_clock = time,
            Line::Leave if rejoin_after_leave => {}
            Line::Leave => {
                self.alive.clear();
                (self.clock, self.event_clock, self.query_clock) = (0, 0, 0);
            }
            Line::Coordinate(_) | Line::Comment(_) => {}
        }
    }

    fn skip(&mut self, line: SkippedLine) {
        self.skipped_count += 1;
        if self.skipped.len() < SKIPPED_KEPT_MAX {
            self.skipped.push(line);
        }
    }

    /// Appends the lines of a compacted file: the members alive, then the three clocks, even those at 0. Returns how
    /// many members were left out because their name or address cannot be written.
    pub fn encode_compacted(&self, out: &mut Vec<u8>) -> usize {
        let mut left_out = 0;
        for (name, addr) in &self.alive {
            if (Line::Alive { name, addr }).encode(out).is_err() {
                left_out += 1;
            }
        }
        for line in
            [Line::Clock(self.clock), Line::EventClock(self.event_clock), Line::QueryClock(self.query_clock)]
        {
            // Clock lines hold no text that could be refused.
            out.extend_from_slice(line.to_string().as_bytes());
            out.push(b'\n');
        }
        left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_would_not_be_read_back_are_refused() {
        let mut out = Vec::new();
        let refused = |line: Line<'_>, out: &mut Vec<u8>| line.encode(out).unwrap_err();
        assert_eq!(
            refused(Line::Alive { name: "a\nleave", addr: "1.2.3.4:5" }, &mut out),
            LineError::LineBreak
        );
        assert_eq!(refused(Line::NotAlive { name: "\n" }, &mut out), LineError::LineBreak);
        assert_eq!(refused(Line::Comment("a\nleave"), &mut out), LineError::LineBreak);
        assert_eq!(refused(Line::Alive { name: "a", addr: "1.2.3.4:5\n" }, &mut out), LineError::LineBreak);
        assert_eq!(refused(Line::Alive { name: "a", addr: "1.2.3.4:5 " }, &mut out), LineError::AddressSpace);
        assert!(out.is_empty());
    }

    #[test]
    fn every_line_is_read_back() {
        for line in [
            Line::Alive { name: "with two spaces", addr: "[2001:db8::1]:7946" },
            Line::Alive { name: "", addr: "" },
            Line::NotAlive { name: "x y" },
            Line::Clock(0),
            Line::EventClock(u64::MAX),
            Line::QueryClock(1),
            Line::Leave,
            Line::Coordinate("{}"),
            Line::Comment(" remark"),
        ] {
            let mut out = Vec::new();
            line.encode(&mut out).unwrap();
            assert_eq!(out.pop(), Some(b'\n'));
            assert_eq!(Line::parse(&out), Ok(line));
        }
    }

    #[test]
    fn clocks_are_plain_digits() {
        for text in [
            "clock: +1",
            "clock: -1",
            "clock: ",
            "clock:  1",
            "clock: 1 ",
            "clock: 0x1",
            "clock: 18446744073709551616",
        ] {
            assert_eq!(Line::parse(text.as_bytes()), Err(LineError::Clock), "{text}");
        }
    }

    #[test]
    fn skipped_lines_are_counted_but_not_hoarded() {
        let state = replay("what is this\n".repeat(1000).as_bytes(), false);
        assert_eq!(state.skipped_count, 1000);
        assert_eq!(state.skipped.len(), SKIPPED_KEPT_MAX);
        assert_eq!(state.skipped[15], SkippedLine { number: 16, error: LineError::Unknown });
    }
}
