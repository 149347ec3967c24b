//! Addresses as the agent's flags have them. (Serf: `config.go`, `AddrParts`, and `command.go`,
//! `setupAgent`.)

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Serf's port, for `-bind` and for `-advertise` alike.
const DEFAULT_PORT: u16 = 7946;

/// Splits `HOST[:PORT]` by Go's rules: an IPv6 address with or without a port stands in brackets.
///
/// # Errors
/// In Go's words: `address ::1: too many colons in address`.
pub(crate) fn split_host_port(text: &str) -> Result<(String, Option<String>), String> {
    let wrong = |reason: &str| Err(format!("address {text}: {reason}"));
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let Some((host, after)) = bracketed.split_once(']') else {
                return wrong("missing ']' in address");
            };
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return wrong("unexpected text after ']' in address"),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if port.is_some_and(|port| port.contains(':')) {
        return wrong("too many colons in address");
    }
    if host.contains(['[', ']']) || port.is_some_and(|port| port.contains(['[', ']'])) {
        return wrong("unexpected bracket in address");
    }
    Ok((host.to_owned(), port.map(str::to_owned)))
}

/// Reads and resolves an address to listen on or to announce. Without a port it is Serf's, without a host all addresses.
///
/// # Errors
/// In Go's words where it has some.
pub(super) async fn resolve(text: &str) -> Result<SocketAddr, String> {
    let (host, port) = split_host_port(text)?;
    let port = match port.as_deref() {
        None => DEFAULT_PORT,
        Some("") => 0,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse().map_err(|_too_large| format!("address {port}: invalid port"))?
        }
        Some(port) => return Err(format!("lookup tcp/{port}: unknown port")),
    };
    if host.is_empty() {
        return Ok(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port));
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    let found = tokio::net::lookup_host((host.as_str(), port)).await;
    let found: Vec<SocketAddr> = found.map_err(|reason| format!("lookup {host}: {reason}"))?.collect();
    let ipv4 = found.iter().find(|addr| addr.is_ipv4());
    ipv4.or(found.first()).copied().ok_or_else(|| format!("lookup {host}: no such host"))
}

/// The address to listen on when an interface is named: with a wildcard `bind` the interface's first address that is not
/// link-local, else `bind` itself, which must be one of them. The second value says whether the interface chose.
///
/// # Errors
/// In Serf's words.
pub(super) fn on_interface(interface: &str, bind: SocketAddr) -> Result<(SocketAddr, bool), String> {
    let all = if_addrs::get_if_addrs().map_err(|reason| format!("Invalid network interface: {reason}"))?;
    let own: Vec<IpAddr> =
        all.iter().filter(|addr| addr.name == interface).map(if_addrs::Interface::ip).collect();
    if own.is_empty() {
        // The system lists only interfaces with an address.
        let exists = std::path::Path::new("/sys/class/net").join(interface).exists();
        return Err(if exists {
            format!("Interface '{interface}' has no addresses")
        } else {
            "Invalid network interface: route ip+net: no such network interface".to_owned()
        });
    }
    choose(interface, &own, bind)
}

fn choose(interface: &str, own: &[IpAddr], bind: SocketAddr) -> Result<(SocketAddr, bool), String> {
    if !bind.ip().is_unspecified() {
        return if own.contains(&bind.ip()) {
            Ok((bind, false))
        } else {
            Err(format!("Interface '{interface}' has no '{}' address", bind.ip()))
        };
    }
    let is_link_local = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let usable = own.iter().find(|ip| !is_link_local(ip));
    let ip = usable.ok_or_else(|| format!("Failed to find usable address for interface '{interface}'"))?;
    Ok((SocketAddr::new(*ip, bind.port()), true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_split_by_gos_rules() {
        for (text, host, port) in [
            ("127.0.0.1", "127.0.0.1", None),
            ("127.0.0.1:7950", "127.0.0.1", Some("7950")),
            (":7950", "", Some("7950")),
            ("[::1]", "::1", None),
            ("[::1]:7946", "::1", Some("7946")),
            ("host:", "host", Some("")),
            ("", "", None),
        ] {
            assert_eq!(split_host_port(text), Ok((host.to_owned(), port.map(str::to_owned))), "{text}");
        }
        for (text, message) in [
            ("::1", "address ::1: too many colons in address"),
            ("[::1", "address [::1: missing ']' in address"),
            ("a:b:c", "address a:b:c: too many colons in address"),
        ] {
            assert_eq!(split_host_port(text), Err(message.to_owned()));
        }
    }

    #[tokio::test]
    async fn addresses_get_serfs_port_and_gos_errors() {
        for (text, expected) in [
            ("127.0.0.1", Ok("127.0.0.1:7946")),
            ("127.0.0.1:0", Ok("127.0.0.1:0")),
            (":7950", Ok("0.0.0.0:7950")),
            ("[::1]", Ok("[::1]:7946")),
            ("127.0.0.1:x", Err("lookup tcp/x: unknown port")),
            ("127.0.0.1:99999", Err("address 99999: invalid port")),
            ("::1", Err("address ::1: too many colons in address")),
        ] {
            let expected = expected.map(|addr| addr.parse().unwrap()).map_err(str::to_owned);
            assert_eq!(resolve(text).await, expected, "{text}");
        }
    }

    #[test]
    fn an_interface_chooses_for_a_wildcard_and_checks_an_address() {
        let own: Vec<IpAddr> = ["169.254.0.9", "10.0.0.5", "fe80::1"].map(|ip| ip.parse().unwrap()).to_vec();
        let chosen = |bind: &str| choose("v0", &own, bind.parse().unwrap());
        assert_eq!(chosen("0.0.0.0:7999"), Ok(("10.0.0.5:7999".parse().unwrap(), true)));
        assert_eq!(chosen("10.0.0.5:1"), Ok(("10.0.0.5:1".parse().unwrap(), false)));
        assert_eq!(chosen("127.0.0.1:1"), Err("Interface 'v0' has no '127.0.0.1' address".to_owned()));
        let none = choose("v0", &own[..1], "0.0.0.0:1".parse().unwrap());
        assert_eq!(none, Err("Failed to find usable address for interface 'v0'".to_owned()));
    }
}
