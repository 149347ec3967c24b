//! The two sockets of a node: UDP and TCP, on one port.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};

use crate::error::StartError;

/// How often a free port is looked for that is free for UDP and TCP alike. (memberlist: `memberlist.go`, newMemberlist.)
const PORT_ATTEMPTS_MAX: usize = 10;
/// The receive buffer we ask the kernel for, in bytes: a burst of gossip must survive while we are busy.
/// (memberlist: `net_transport.go`, udpRecvBufSize.)
const RECEIVE_BUFFER_BYTES: usize = 2 * 1024 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Open sockets. Dropping them frees the port.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) udp: UdpSocket,
    pub(crate) tcp: TcpListener,
    /// Where they listen, with the real port.
    pub(crate) addr: SocketAddr,
}

/// Listens on this address. Port 0 takes one that is free for both.
pub(crate) fn listen(addr: SocketAddr) -> Result<Sockets, StartError> {
    let mut attempts = if addr.port() == 0 { PORT_ATTEMPTS_MAX } else { 1 };
    loop {
        attempts -= 1;
        match listen_once(addr) {
            Err(StartError::Listen { error, .. })
                if attempts > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            done => return done,
        }
    }
}

fn listen_once(wanted: SocketAddr) -> Result<Sockets, StartError> {
    let failed = |addr, protocol| move |error| StartError::Listen { addr, protocol, error };
    let tcp = listen_tcp(wanted).map_err(failed(wanted, "TCP"))?;
    let addr = tcp.local_addr().map_err(failed(wanted, "TCP"))?;
    let udp = listen_udp(addr).map_err(failed(addr, "UDP"))?;
    Ok(Sockets { udp, tcp, addr })
}

fn listen_tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // Elsewhere than on Windows this only lets a restart take the port over from connections that are just ending.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    bind(&socket, addr)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn listen_udp(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    bind(&socket, addr)?;
    enlarge_receive_buffer(&socket);
    UdpSocket::from_std(socket.into())
}

fn bind(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
    if addr.ip().is_unspecified() && addr.is_ipv6() {
        // "Every address" means the IPv4 ones too, whatever the system's default is.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())
}

/// Asks for a large buffer, and for half as much until the kernel agrees. A small one is no reason not to start.
fn enlarge_receive_buffer(socket: &Socket) {
    let mut bytes = RECEIVE_BUFFER_BYTES;
    while let Err(error) = socket.set_recv_buffer_size(bytes) {
        bytes /= 2;
        if bytes == 0 {
            tracing::debug!(target: "thane::driver", kind = "receive_buffer", %error, "the UDP receive buffer stays as it is");
            return;
        }
    }
}

/// The address as a socket bound to `local` must be given it: one that is bound to IPv6 reaches IPv4 in mapped form.
pub(crate) fn as_seen_by(local: SocketAddr, to: SocketAddr) -> SocketAddr {
    match (local, to.ip()) {
        (SocketAddr::V6(_), IpAddr::V4(ip)) => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
        _ => to,
    }
}

/// The address without the mapping.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), addr.port()),
        // Kept whole: a link-local address means nothing without its scope.
        IpAddr::V6(_) => addr,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn port_zero_gives_one_port_for_both() {
        let sockets = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        assert_ne!(sockets.addr.port(), 0);
        assert_eq!(sockets.udp.local_addr().unwrap(), sockets.addr);
        assert_eq!(sockets.tcp.local_addr().unwrap(), sockets.addr);
    }

    #[tokio::test]
    async fn a_port_that_only_udp_has_taken_is_taken() {
        let mut others = Vec::new();
        // A port that is free for UDP may be taken for TCP.
        let error = loop {
            let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let error = listen(other.local_addr().unwrap()).unwrap_err();
            if matches!(error, StartError::Listen { protocol: "UDP", .. }) || others.len() == 20 {
                break error;
            }
            others.push(other);
        };
        assert!(matches!(error, StartError::Listen { protocol: "UDP", .. }), "{error}");
    }

    #[test]
    fn mapped_addresses_are_a_matter_of_the_socket() {
        let wildcard = "[::]:1".parse().unwrap();
        let v4 = "10.0.0.1:2".parse().unwrap();
        let v6 = "[fe80::1%3]:2".parse().unwrap();
        assert_eq!(as_seen_by(wildcard, v4), "[::ffff:10.0.0.1]:2".parse().unwrap());
        assert_eq!(canonical(as_seen_by(wildcard, v4)), v4);
        assert_eq!(as_seen_by("0.0.0.0:1".parse().unwrap(), v4), v4);
        assert_eq!(canonical(as_seen_by(wildcard, v6)), v6);
    }
}
