//! A running hash over everything that every node put out: two runs are the same if their hashes are.

use thane_core::{Event, Member, Output, Time};

/// The hash so far. Its value means nothing by itself and may change between versions; it is for comparing runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceHash(u64);

impl Default for TraceHash {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl TraceHash {
    /// The hash as a number.
    pub fn value(self) -> u64 {
        self.0
    }

    /// Takes in one output: when, by whom, what, with all its bytes.
    pub(crate) fn output(&mut self, at: Time, host: u32, output: &Output) {
        self.word(at.since_start().as_nanos() as u64);
        self.word(u64::from(host));
        match output {
            Output::Send { to, packet } => {
                self.word(1);
                self.addr(*to);
                self.bytes(packet);
            }
            Output::Dial { stream, to, timeout } => {
                self.word(2);
                self.word(stream.0);
                self.addr(*to);
                self.word(timeout.as_nanos() as u64);
            }
            Output::Write { stream, bytes } => {
                self.word(3);
                self.word(stream.0);
                self.bytes(bytes);
            }
            Output::Close { stream } => {
                self.word(4);
                self.word(stream.0);
            }
            Output::Event(event) => {
                self.word(5);
                self.event(event);
            }
            Output::Notice(notice) => {
                self.word(6);
                self.bytes(notice.kind.as_bytes());
                self.bytes(notice.text.as_bytes());
                self.word(notice.suppressed);
            }
            // Rare ones: their text holds everything.
            other => {
                self.word(7);
                self.bytes(format!("{other:?}").as_bytes());
            }
        }
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Joined(change) => self.member(1, &change.member),
            Event::Left(change) => self.member(2, &change.member),
            Event::Failed(change) => self.member(3, &change.member),
            Event::Updated(change) => self.member(4, &change.member),
            Event::Reaped(change) => self.member(5, &change.member),
            Event::Suspected(change) => self.member(6, &change.member),
            Event::Refuted(change) => self.member(7, &change.member),
            Event::User(user) => {
                self.word(8);
                self.word(user.ltime);
                self.bytes(user.name.as_bytes());
                self.bytes(&user.payload);
            }
            other => self.bytes(format!("{other:?}").as_bytes()),
        }
    }

    fn member(&mut self, kind: u64, member: &Member) {
        self.word(kind);
        self.bytes(member.name.as_bytes());
        self.addr(member.addr);
        self.bytes(&member.meta);
        self.word(member.status as u64);
        self.word(member.state as u64);
        self.word(u64::from(member.incarnation));
        self.word(member.status_ltime);
    }

    fn addr(&mut self, addr: std::net::SocketAddr) {
        match addr {
            std::net::SocketAddr::V4(v4) => {
                self.word(u64::from(v4.ip().to_bits()) << 16 | u64::from(v4.port()));
            }
            std::net::SocketAddr::V6(v6) => {
                self.bytes(&v6.ip().octets());
                self.word(u64::from(v6.port()));
            }
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(last));
    }

    /// Multiply and fold: each bit of the word reaches each bit of the hash within two steps.
    fn word(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word) * 0xa076_1d64_78bd_642f_u128;
        self.0 = ((wide >> 64) as u64) ^ (wide as u64) ^ word.rotate_left(29);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(at: Time, host: u32, packet: &[u8]) -> u64 {
        let mut hash = TraceHash::default();
        let to = "10.0.0.1:7946".parse().unwrap();
        hash.output(at, host, &Output::Send { to, packet: packet.to_vec() });
        hash.value()
    }

    #[test]
    fn every_part_of_an_output_counts() {
        let later = Time::ZERO + std::time::Duration::from_nanos(1);
        let base = hash_of(Time::ZERO, 0, b"abcdefghi");
        assert_eq!(base, hash_of(Time::ZERO, 0, b"abcdefghi"));
        assert_ne!(base, hash_of(later, 0, b"abcdefghi"));
        assert_ne!(base, hash_of(Time::ZERO, 1, b"abcdefghi"));
        assert_ne!(base, hash_of(Time::ZERO, 0, b"abcdefghj"));
        assert_ne!(base, hash_of(Time::ZERO, 0, b"abcdefghi\0"));
    }
}
