//! A running hash over outputs: two runs made the same decisions, with the same evidence, if their hashes are the same.

use std::net::SocketAddr;

use crate::event::{Cause, Change, Event, Path};
use crate::output::Output;

/// The hash so far. Its value means nothing by itself and may change between versions; it is for comparing runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputHash(u64);

impl Default for OutputHash {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl OutputHash {
    /// The hash as a number.
    pub fn value(self) -> u64 {
        self.0
    }

    /// Takes in one output with all its bytes.
    pub fn output(&mut self, output: &Output) {
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
            Event::Joined(change) => self.change(1, change),
            Event::Left(change) => self.change(2, change),
            Event::Failed(change) => self.change(3, change),
            Event::Updated(change) => self.change(4, change),
            Event::Reaped(change) => self.change(5, change),
            Event::Suspected(change) => self.change(6, change),
            Event::Refuted(change) => self.change(7, change),
            Event::User(user) => {
                self.word(8);
                self.word(user.ltime);
                self.bytes(user.name.as_bytes());
                self.bytes(&user.payload);
                self.word(u64::from(user.coalesce));
            }
            other @ Event::Query(_) => self.bytes(format!("{other:?}").as_bytes()),
        }
    }

    fn change(&mut self, kind: u64, change: &Change) {
        let member = &change.member;
        self.word(kind);
        self.bytes(member.name.as_bytes());
        self.addr(member.addr);
        self.bytes(&member.meta);
        self.word(member.status as u64);
        self.word(member.state as u64);
        self.word(u64::from(member.incarnation));
        self.word(member.status_ltime);
        self.word(member.state_since.since_start().as_nanos() as u64);
        let it = member.versions;
        let (detector, delegate) = (
            [it.protocol_min, it.protocol_max, it.protocol_current, 0],
            [it.delegate_min, it.delegate_max, it.delegate_current, 0],
        );
        self.word(u64::from(u32::from_le_bytes(detector)) << 32 | u64::from(u32::from_le_bytes(delegate)));
        if let Some(route) = &member.route {
            self.addr(**route);
        }
        match &change.cause {
            // A cluster that is learnt gives one a member, in large simulations very many.
            Cause::Announced { incarnation, via } => {
                self.word(u64::from(*incarnation));
                match via {
                    Path::Packet(from) => self.addr(*from),
                    Path::PushPull(with) => {
                        self.word(1);
                        self.addr(*with);
                    }
                    Path::Local => self.word(2),
                }
            }
            cause => self.bytes(format!("{cause:?}").as_bytes()),
        }
    }

    fn addr(&mut self, addr: SocketAddr) {
        match addr {
            SocketAddr::V4(v4) => self.word(u64::from(v4.ip().to_bits()) << 16 | u64::from(v4.port())),
            SocketAddr::V6(v6) => {
                self.bytes(&v6.ip().octets());
                self.word(u64::from(v6.port()) << 32 | u64::from(v6.flowinfo()));
                self.word(u64::from(v6.scope_id()));
            }
        }
    }

    /// Takes in some bytes and their length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(last));
    }

    /// Takes in a number. Multiply and fold: each bit of it reaches each bit of the hash within two steps.
    pub fn word(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word) * 0xa076_1d64_78bd_642f_u128;
        self.0 = ((wide >> 64) as u64) ^ (wide as u64) ^ word.rotate_left(29);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(port: u16, packet: &[u8]) -> u64 {
        let mut hash = OutputHash::default();
        let to = SocketAddr::from(([10, 0, 0, 1], port));
        hash.output(&Output::Send { to, packet: packet.to_vec() });
        hash.value()
    }

    #[test]
    fn every_part_of_an_output_counts() {
        let base = hash_of(1, b"abcdefghi");
        assert_eq!(base, hash_of(1, b"abcdefghi"));
        assert_ne!(base, hash_of(2, b"abcdefghi"));
        assert_ne!(base, hash_of(1, b"abcdefghj"));
        assert_ne!(base, hash_of(1, b"abcdefghi\0"));
    }
}
