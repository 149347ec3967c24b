//! Ports that nobody uses.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where ports are looked for: above the well-known ones, below those that Linux and macOS give to outgoing
/// connections, so that a stopped agent finds its port free when it is started again.
const RANGE: std::ops::Range<u16> = 15_000..32_000;

/// The ports of one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    /// UDP and TCP.
    pub(super) gossip: u16,
    /// TCP.
    pub(super) rpc: u16,
}

/// Finds ports for `count` agents by binding them for a moment. Two demonstrations that start together begin their
/// search at different places.
///
/// # Errors
///
/// No port is free, or 127.0.0.1 is not there.
pub(super) fn find(count: usize) -> io::Result<Vec<Ports>> {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    let offset = (nanos / 1000).wrapping_add(std::process::id().wrapping_mul(613));
    let length = u32::from(RANGE.end - RANGE.start);
    let mut candidates = (0..length).map(|step| RANGE.start + (offset.wrapping_add(step) % length) as u16);
    // All are held until the last one is found, so that none is found twice.
    let mut held = Vec::new();
    let mut next = || -> io::Result<u16> {
        let mut last_error = io::Error::from(io::ErrorKind::AddrInUse);
        for port in candidates.by_ref() {
            let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
                .and_then(|tcp| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).map(|udp| (tcp, udp)));
            match bound {
                Ok(sockets) => {
                    held.push(sockets);
                    return Ok(port);
                }
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    };
    (0..count).map(|_agent| Ok(Ports { gossip: next()?, rpc: next()? })).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn all_ports_differ_and_are_free() {
        let found = find(5).unwrap();
        let distinct: BTreeSet<u16> = found.iter().flat_map(|ports| [ports.gossip, ports.rpc]).collect();
        assert_eq!(distinct.len(), 10);
        for port in distinct {
            assert!(RANGE.contains(&port));
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }
}
