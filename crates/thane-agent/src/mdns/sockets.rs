//! Interfaces and sockets for multicast.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tracing::debug;

use super::MdnsError;

/// The groups of multicast DNS. (RFC 6762, section 3.)
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

/// Interfaces used. A machine that runs containers can have hundreds, which would be asked one by one.
const INTERFACES_MAX: usize = 16;

/// Questions do not leave the link.
const HOPS: u32 = 1;

/// An interface that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    name: String,
    index: Option<u32>,
    v4: Option<Ipv4Addr>,
    v6: bool,
    loopback: bool,
}

/// The interface of this name, or all that are up without loopback; loopback if there is nothing else.
pub(super) fn interfaces(wanted: Option<&str>) -> Result<Vec<Interface>, MdnsError> {
    let mut all: Vec<Interface> = Vec::new();
    for address in if_addrs::get_if_addrs().map_err(MdnsError::Interfaces)? {
        if wanted.is_some_and(|wanted| wanted != address.name) {
            continue;
        }
        let position = all.iter().position(|known| known.name == address.name).unwrap_or_else(|| {
            all.push(Interface {
                name: address.name.clone(),
                index: address.index,
                v4: None,
                v6: false,
                loopback: address.is_loopback(),
            });
            all.len() - 1
        });
        match address.ip() {
            IpAddr::V4(ip) => all[position].v4 = all[position].v4.or(Some(ip)),
            IpAddr::V6(_) => all[position].v6 = true,
        }
    }
    match wanted {
        Some(name) if all.is_empty() => return Err(MdnsError::Interface(name.to_owned())),
        None if all.iter().any(|interface| !interface.loopback) => {
            all.retain(|interface| !interface.loopback);
        }
        _ => {}
    }
    all.truncate(INTERFACES_MAX);
    Ok(all)
}

/// Whether an address is one of this machine: a socket can be bound to no other. (The list of interfaces leaves out
/// link-local addresses, which is where answers over IPv6 come from.)
pub(super) fn is_ours(address: SocketAddr) -> bool {
    let mut any_port = address;
    any_port.set_port(0);
    std::net::UdpSocket::bind(any_port).is_ok()
}

/// Listens for questions on all interfaces. One socket will do.
///
/// The sockets are bound to the groups, not to all addresses: who is not on the link cannot put a question then, nor
/// have the answer sent to somebody else.
pub(super) fn listen(interfaces: &[Interface], port: u16) -> io::Result<Vec<UdpSocket>> {
    let mut sockets = Vec::new();
    let mut failure = None;
    let mut add = |result: io::Result<UdpSocket>, what: &str| match result {
        Ok(socket) => sockets.push(socket),
        Err(error) => {
            debug!(target: "agent.mdns", "No mDNS questions over {what}: {error}");
            failure.get_or_insert(error);
        }
    };
    if interfaces.iter().any(|interface| interface.v4.is_some()) {
        add(listen_v4(interfaces, port), "IPv4");
    }
    for interface in interfaces.iter().filter(|interface| interface.v6) {
        if let Some(index) = interface.index {
            add(listen_v6(index, port), &format!("IPv6 on {}", interface.name));
        }
    }
    if sockets.is_empty() {
        return Err(failure.unwrap_or_else(|| io::Error::other("no interface has an address")));
    }
    Ok(sockets)
}

/// One socket for all interfaces: the system hands what comes for the group to each socket that is bound to it,
/// whichever interface that socket joined on, so several would each answer everything.
fn listen_v4(interfaces: &[Interface], port: u16) -> io::Result<UdpSocket> {
    let socket = shared_socket(Domain::IPV4)?;
    socket.bind(&SocketAddr::from((GROUP_V4, port)).into())?;
    let mut joined = Err(io::Error::other("no interface has an IPv4 address"));
    for ip in interfaces.iter().filter_map(|interface| interface.v4) {
        let result = socket.join_multicast_v4(&GROUP_V4, &ip);
        if joined.is_err() {
            joined = result;
        }
    }
    joined?;
    UdpSocket::from_std(socket.into())
}

fn listen_v6(interface: u32, port: u16) -> io::Result<UdpSocket> {
    let socket = shared_socket(Domain::IPV6)?;
    socket.set_only_v6(true)?;
    socket.bind(&SocketAddrV6::new(GROUP_V6, port, 0, interface).into())?;
    socket.join_multicast_v6(&GROUP_V6, interface)?;
    UdpSocket::from_std(socket.into())
}

/// A socket that shares its port with other programs that speak multicast DNS.
fn shared_socket(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    // The BSDs share a port only if both ask for this; Linux takes the other option for it.
    #[cfg(all(unix, not(any(target_os = "linux", target_os = "solaris", target_os = "illumos"))))]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The sockets of one round of questions, each on a port of its own.
#[derive(Debug)]
pub(super) struct Asker {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    v4_interfaces: Vec<Ipv4Addr>,
    v6_interfaces: Vec<u32>,
    port: u16,
}

impl Asker {
    /// # Errors
    /// If no socket can be opened at all.
    pub(super) fn open(interfaces: &[Interface], v4: bool, v6: bool, port: u16) -> io::Result<Self> {
        let v4_interfaces: Vec<Ipv4Addr> =
            interfaces.iter().filter_map(|interface| interface.v4).filter(|_ip| v4).collect();
        let v6_interfaces: Vec<u32> = interfaces
            .iter()
            .filter(|interface| v6 && interface.v6)
            .filter_map(|interface| interface.index)
            .collect();
        let open_v4 = || {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_multicast_ttl_v4(HOPS)?;
            socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
            socket.set_nonblocking(true)?;
            UdpSocket::from_std(socket.into())
        };
        let open_v6 = || {
            let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_only_v6(true)?;
            socket.set_multicast_hops_v6(HOPS)?;
            socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())?;
            socket.set_nonblocking(true)?;
            UdpSocket::from_std(socket.into())
        };
        let v4 = (!v4_interfaces.is_empty()).then(open_v4);
        let v6 = (!v6_interfaces.is_empty()).then(open_v6);
        let (v4, v6) = match (v4, v6) {
            (None, None) => return Err(io::Error::other("no interface has an address that may be used")),
            (Some(Err(error)), None | Some(Err(_))) | (None, Some(Err(error))) => return Err(error),
            (v4, v6) => (v4.and_then(Result::ok), v6.and_then(Result::ok)),
        };
        Ok(Self { v4, v6, v4_interfaces, v6_interfaces, port })
    }

    pub(super) fn v4(&self) -> Option<&UdpSocket> {
        self.v4.as_ref()
    }

    pub(super) fn v6(&self) -> Option<&UdpSocket> {
        self.v6.as_ref()
    }

    /// Sends a question on every interface.
    ///
    /// # Errors
    /// If it could not be sent on any: the first failure.
    pub(super) async fn ask(&self, question: &[u8]) -> io::Result<()> {
        let mut outcome = Err(io::Error::other("there is no interface to ask on"));
        let mut failure = None;
        let mut note = |result: io::Result<usize>| match result {
            Ok(_bytes) => outcome = Ok(()),
            Err(error) => _ = failure.get_or_insert(error),
        };
        if let Some(socket) = &self.v4 {
            for interface in &self.v4_interfaces {
                let chosen = SockRef::from(socket).set_multicast_if_v4(interface);
                note(match chosen {
                    Ok(()) => socket.send_to(question, (GROUP_V4, self.port)).await,
                    Err(error) => Err(error),
                });
            }
        }
        if let Some(socket) = &self.v6 {
            for interface in &self.v6_interfaces {
                let group = SocketAddrV6::new(GROUP_V6, self.port, 0, *interface);
                note(socket.send_to(question, group).await);
            }
        }
        outcome.map_err(|nowhere| failure.unwrap_or(nowhere))
    }
}
