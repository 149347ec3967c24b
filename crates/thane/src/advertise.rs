//! Which of the machine's addresses to listen on and to announce.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use if_addrs::Interface;

use crate::error::StartError;

/// The IP to announce when none is given: the one we listen on; for `0.0.0.0` a private address of this machine,
/// preferably that of the interface with the default route. (memberlist: `net_transport.go`, `FinalAdvertiseAddr`.)
pub(crate) fn ip_for(listening: IpAddr) -> Result<IpAddr, StartError> {
    if !listening.is_unspecified() {
        return Ok(listening);
    }
    let no_address = |problem| StartError::NoAdvertiseAddress { bind: listening, problem };
    if listening.is_ipv6() {
        return Err(no_address("an IPv6 wildcard cannot be announced".to_owned()));
    }
    let interfaces = if_addrs::get_if_addrs()
        .map_err(|error| no_address(format!("the network interfaces cannot be read ({error})")))?;
    private_ip(&interfaces, default_route_ip())
        .map(IpAddr::V4)
        .ok_or_else(|| no_address("No private IP address found, and explicit IP not provided".to_owned()))
}

/// The address of this machine that a text chooses: `10.0.0.0/8` the first one in that network, `eth1` the first usable one of
/// that interface. `None` if the text is neither a network nor the name of an interface.
///
/// # Errors
/// If the network cannot be read, or the machine has no such address; the text says which it has.
pub fn machine_ip(text: &str) -> Result<Option<IpAddr>, String> {
    if text.is_empty() || text.parse::<IpAddr>().is_ok() {
        return Ok(None);
    }
    let interfaces = match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces,
        // It may be the name of a host, for which they are not needed.
        Err(_unreadable) if !text.contains('/') => return Ok(None),
        Err(error) => return Err(format!("the network interfaces cannot be read: {error}")),
    };
    choose_of_machine(&interfaces, text)
}

fn choose_of_machine(interfaces: &[Interface], text: &str) -> Result<Option<IpAddr>, String> {
    if let Some((network, prefix)) = text.split_once('/') {
        let wrong = || format!("{text} is no network; write one as 10.0.0.0/8 or fd00::/8");
        let network: IpAddr = network.parse().map_err(|_no_ip| wrong())?;
        let bits = if network.is_ipv4() { 32 } else { 128 };
        let prefix: u32 = prefix.parse().ok().filter(|prefix| *prefix <= bits).ok_or_else(wrong)?;
        let own = || interfaces.iter().map(Interface::ip);
        return own().find(|ip| is_within(*ip, network, prefix)).map(Some).ok_or_else(|| {
            let list = own().map(|ip| ip.to_string()).collect::<Vec<_>>().join(", ");
            format!("no address of this machine is in {text}; it has {list}")
        });
    }
    if interfaces.iter().all(|interface| interface.name != text) {
        return Ok(None);
    }
    choose_on_interface(interfaces, text, (Ipv4Addr::UNSPECIFIED, 0).into()).map(|addr| Some(addr.ip()))
}

/// Whether an address begins with the same bits.
fn is_within(ip: IpAddr, network: IpAddr, prefix: u32) -> bool {
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => {
            let differing = ip.to_bits() ^ network.to_bits();
            differing.checked_shr(32 - prefix).unwrap_or(0) == 0
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) => {
            let differing = ip.to_bits() ^ network.to_bits();
            differing.checked_shr(128 - prefix).unwrap_or(0) == 0
        }
        _ => false,
    }
}

fn private_ip(interfaces: &[Interface], default_route: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
    let candidates = || {
        interfaces.iter().filter(|interface| !interface.is_loopback()).filter_map(|interface| match interface
            .ip()
        {
            IpAddr::V4(ip) if is_private(ip) => Some((interface, ip)),
            _ => None,
        })
    };
    // The address that the default route would use; else another one of its interface (which may also have a public one).
    let interface = default_route
        .and_then(|route| interfaces.iter().find(|interface| interface.ip() == IpAddr::V4(route)))
        .map(|interface| interface.name.as_str());
    candidates()
        .find(|(_, ip)| Some(*ip) == default_route)
        .or_else(|| candidates().find(|(candidate, _)| Some(candidate.name.as_str()) == interface))
        .or_else(|| candidates().next())
        .map(|(_, ip)| ip)
}

/// Addresses of RFC 6890 that are forwarded but not global: private use, shared (carrier NAT), benchmarking.
fn is_private(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    ip.is_private() || (a == 100 && (64..128).contains(&b)) || (a == 198 && (b & !1) == 18)
}

/// Whether anybody on the internet may reach this address.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            !(is_private(ip)
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_documentation()
                || ip.is_unspecified())
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local() || ip.is_unspecified())
        }
    }
}

/// The source address that the default route would give a packet. Nothing is sent: connecting a UDP socket only asks the
/// routing table. The destination is a documentation address (RFC 5737), which only a default route leads to.
fn default_route_ip() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(ip) if !ip.is_unspecified() => Some(ip),
        _ => None,
    }
}

/// The address to listen on when an interface is asked for: its first usable one for `0.0.0.0`, else `bind`, which must
/// be one of the interface's. (Serf: `agent/command.go`, setupAgent.)
pub(crate) fn on_interface(name: &str, bind: SocketAddr) -> Result<SocketAddr, StartError> {
    let failed = |problem| StartError::Interface { interface: name.to_owned(), problem };
    let interfaces = if_addrs::get_if_addrs()
        .map_err(|error| failed(format!("the network interfaces cannot be read: {error}")))?;
    choose_on_interface(&interfaces, name, bind).map_err(failed)
}

fn choose_on_interface(interfaces: &[Interface], name: &str, bind: SocketAddr) -> Result<SocketAddr, String> {
    let own: Vec<IpAddr> =
        interfaces.iter().filter(|interface| interface.name == name).map(Interface::ip).collect();
    if own.is_empty() {
        let mut names: Vec<&str> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let names = names.join(", ");
        return Err(format!(
            "Invalid network interface: no interface '{name}' with an address; those with one are: {names}"
        ));
    }
    if bind.ip() != IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
        return if own.contains(&bind.ip()) {
            Ok(bind)
        } else {
            let list = own.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            Err(format!("Interface '{name}' has no '{}' address; it has {list}", bind.ip()))
        };
    }
    let usable = own.iter().find(|ip| match ip {
        IpAddr::V4(ip) => !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    });
    usable.map(|ip| SocketAddr::new(*ip, bind.port())).ok_or_else(|| {
        format!("Failed to find usable address for interface '{name}': it has only link-local ones; name one with Builder::bind")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, ip: &str) -> Interface {
        let addr = match ip.parse().unwrap() {
            IpAddr::V4(ip) => if_addrs::IfAddr::V4(if_addrs::Ifv4Addr {
                ip,
                netmask: Ipv4Addr::new(255, 255, 255, 0),
                prefixlen: 24,
                broadcast: None,
            }),
            IpAddr::V6(ip) => if_addrs::IfAddr::V6(if_addrs::Ifv6Addr {
                ip,
                netmask: std::net::Ipv6Addr::UNSPECIFIED,
                prefixlen: 64,
                broadcast: None,
            }),
        };
        Interface {
            name: name.to_owned(),
            addr,
            index: None,
            oper_status: if_addrs::IfOperStatus::Up,
            is_p2p: false,
        }
    }

    #[test]
    fn a_private_address_is_chosen_near_the_default_route() {
        let lo = interface("lo", "127.0.0.1");
        let docker = interface("docker0", "172.17.0.1");
        let eth = interface("eth0", "10.1.2.3");
        let public = interface("eth0", "203.0.113.9");
        let v6 = interface("eth0", "2001:db8::1");
        let ip = |text: &str| Some(text.parse::<Ipv4Addr>().unwrap());
        for (case, interfaces, route, chosen) in [
            ("default route wins", vec![&lo, &docker, &eth], ip("10.1.2.3"), ip("10.1.2.3")),
            ("no default route: the first", vec![&lo, &docker, &eth], None, ip("172.17.0.1")),
            (
                "public route, private on the same interface",
                vec![&docker, &public, &eth],
                ip("203.0.113.9"),
                ip("10.1.2.3"),
            ),
            ("only public", vec![&lo, &public, &v6], ip("203.0.113.9"), None),
            ("only loopback", vec![&lo], None, None),
        ] {
            let interfaces: Vec<Interface> = interfaces.into_iter().cloned().collect();
            assert_eq!(private_ip(&interfaces, route), chosen, "{case}");
        }
    }

    #[test]
    fn private_is_what_rfc_6890_forwards_and_does_not_call_global() {
        for (ip, private) in [
            ("10.0.0.1", true),
            ("172.31.255.255", true),
            ("172.32.0.1", false),
            ("192.168.1.1", true),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("198.19.0.1", true),
            ("198.20.0.1", false),
            ("169.254.1.1", false),
            ("127.0.0.1", false),
            ("8.8.8.8", false),
        ] {
            assert_eq!(is_private(ip.parse().unwrap()), private, "{ip}");
        }
    }

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for (ip, public) in [
            ("8.8.8.8", true),
            ("2606:4700::1", true),
            ("10.0.0.1", false),
            ("127.0.0.1", false),
            ("169.254.0.1", false),
            ("::1", false),
            ("fe80::1", false),
            ("fd00::1", false),
        ] {
            assert_eq!(is_public(ip.parse().unwrap()), public, "{ip}");
        }
    }

    #[test]
    fn an_interface_gives_its_first_usable_address_or_checks_ours() {
        let interfaces = [
            interface("lo", "127.0.0.1"),
            interface("eth0", "fe80::1"),
            interface("eth0", "10.1.2.3"),
            interface("bad0", "169.254.3.4"),
        ];
        let choose = |name: &str, bind: &str| choose_on_interface(&interfaces, name, bind.parse().unwrap());
        assert_eq!(choose("eth0", "0.0.0.0:7"), Ok("10.1.2.3:7".parse().unwrap()));
        assert_eq!(choose("lo", "127.0.0.1:7"), Ok("127.0.0.1:7".parse().unwrap()));
        for (name, bind, part) in [
            ("eth0", "127.0.0.1:7", "Interface 'eth0' has no '127.0.0.1' address"),
            ("bad0", "0.0.0.0:7", "Failed to find usable address for interface 'bad0'"),
            ("eth9", "0.0.0.0:7", "those with one are: bad0, eth0, lo"),
        ] {
            let problem = choose(name, bind);
            assert!(problem.as_ref().is_err_and(|problem| problem.contains(part)), "{name}: {problem:?}");
        }
    }

    #[test]
    fn a_network_or_an_interface_chooses_an_address_of_the_machine() {
        let interfaces = [
            interface("lo", "127.0.0.1"),
            interface("eth0", "fe80::1"),
            interface("eth0", "10.1.2.3"),
            interface("eth1", "192.168.7.9"),
            interface("eth1", "fd00::9"),
        ];
        let ip = |text: &str| Ok(Some(text.parse().unwrap()));
        for (text, expected) in [
            ("10.0.0.0/8", ip("10.1.2.3")),
            ("192.168.7.0/24", ip("192.168.7.9")),
            ("192.168.7.9/32", ip("192.168.7.9")),
            ("0.0.0.0/0", ip("127.0.0.1")),
            ("fd00::/8", ip("fd00::9")),
            ("::/0", ip("fe80::1")),
            ("eth1", ip("192.168.7.9")),
            ("eth0", ip("10.1.2.3")),
            ("web-1", Ok(None)),
            ("web-1.example", Ok(None)),
        ] {
            assert_eq!(choose_of_machine(&interfaces, text), expected, "{text}");
        }
        for (text, part) in [
            ("192.168.8.0/24", "no address of this machine is in 192.168.8.0/24; it has 127.0.0.1, fe80::1"),
            ("10.0.0.0/33", "is no network; write one as 10.0.0.0/8"),
            ("fd00::/129", "is no network"),
            ("web/8", "is no network"),
            ("10.0.0.0/", "is no network"),
        ] {
            let problem = choose_of_machine(&interfaces, text);
            assert!(problem.as_ref().is_err_and(|problem| problem.contains(part)), "{text}: {problem:?}");
        }
        assert_eq!(machine_ip("10.0.0.1"), Ok(None), "an address is no choice");
    }

    #[test]
    fn a_specific_address_is_announced_as_it_is_and_an_ipv6_wildcard_not_at_all() {
        let own: IpAddr = "127.0.0.1".parse().unwrap();
        assert_eq!(ip_for(own).unwrap(), own);
        let text = ip_for("::".parse().unwrap()).unwrap_err().to_string();
        assert!(text.contains("with Builder::advertise"), "{text}");
    }
}
