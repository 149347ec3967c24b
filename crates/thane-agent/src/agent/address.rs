//! Addresses as the agent's flags have them. (Serf: `config.go`, `AddrParts`, and `command.go`,
//! `setupAgent`.)

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::hostport;

/// Serf's port, for `-bind` and for `-advertise` alike.
const DEFAULT_PORT: u16 = 7946;

/// Reads and resolves an address to listen on or to announce. Without a port it is Serf's, without a host all addresses.
///
/// # Errors
/// In Go's words where it has some.
pub(super) async fn resolve(text: &str) -> Result<SocketAddr, String> {
    let (host, port) = hostport::split(text)?;
    let port = port.map_or(Ok(DEFAULT_PORT), hostport::port)?;
    if host.is_empty() {
        return Ok(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port));
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    let found = tokio::net::lookup_host((host, port)).await;
    let found: Vec<SocketAddr> = found.map_err(|error| hostport::lookup_failure(host, &error))?.collect();
    let ipv4 = found.iter().find(|addr| addr.is_ipv4());
    ipv4.or(found.first()).copied().ok_or_else(|| format!("lookup {host}: no such host"))
}

/// Reads an address to announce, which may also be a network or an interface that this machine has an address on.
///
/// # Errors
/// As [`resolve`], and if the machine has no such address.
pub(super) async fn resolve_own(text: &str) -> Result<SocketAddr, String> {
    let (host, port) = hostport::split(text)?;
    match thane::machine_ip(host)? {
        Some(ip) => Ok(SocketAddr::new(ip, port.map_or(Ok(DEFAULT_PORT), hostport::port)?)),
        None => resolve(text).await,
    }
}

/// The address to listen on when an interface is named: with a wildcard `bind` the interface's first address that is not
/// link-local, else `bind` itself, which must be one of them. The second value says whether the interface chose.
///
/// # Errors
/// In Serf's words.
pub(super) fn on_interface(interface: &str, bind: SocketAddr) -> Result<(SocketAddr, bool), String> {
    let invalid = |reason| format!("Invalid network interface: {reason}");
    let own = addresses_of(interface).map_err(invalid)?;
    if own.is_empty() {
        return Err(format!(
            "Interface '{interface}' has no addresses; give it one, or name another one with -iface"
        ));
    }
    choose(interface, &own, bind)
}

/// Whether there is such an interface.
///
/// # Errors
/// In Go's words if there is none, with the names of those that are.
pub(super) fn check_interface(interface: &str) -> Result<(), String> {
    addresses_of(interface).map(drop)
}

fn addresses_of(interface: &str) -> Result<Vec<IpAddr>, String> {
    let all = if_addrs::get_if_addrs().map_err(|reason| reason.to_string())?;
    let own: Vec<IpAddr> =
        all.iter().filter(|addr| addr.name == interface).map(if_addrs::Interface::ip).collect();
    // The system lists only interfaces with an address.
    if own.is_empty() && !is_interface(interface) {
        let names: BTreeSet<String> = all.into_iter().map(|addr| addr.name).collect();
        let names = Vec::from_iter(names).join(", ");
        return Err(format!("route ip+net: no such network interface; '{interface}' is none of {names}"));
    }
    Ok(own)
}

/// Whether an interface without an address has this name. (Linux: `/proc/net/dev`; elsewhere none is known.)
fn is_interface(name: &str) -> bool {
    let table = std::fs::read_to_string("/proc/net/dev").unwrap_or_default();
    table.lines().any(|line| line.split_once(':').is_some_and(|(listed, _numbers)| listed.trim() == name))
}

fn choose(interface: &str, own: &[IpAddr], bind: SocketAddr) -> Result<(SocketAddr, bool), String> {
    if !bind.ip().is_unspecified() {
        return if own.contains(&bind.ip()) {
            Ok((bind, false))
        } else {
            Err(format!(
                "Interface '{interface}' has no '{}' address; -bind must be one of its own: {}",
                bind.ip(),
                listed(own)
            ))
        };
    }
    let is_link_local = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let usable = own.iter().find(|ip| !is_link_local(ip));
    let ip = usable.ok_or_else(|| {
        format!(
            "Failed to find usable address for interface '{interface}'; it has only link-local ones: {}",
            listed(own)
        )
    })?;
    Ok((SocketAddr::new(*ip, bind.port()), true))
}

fn listed(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(chosen("127.0.0.1:1"), Err(
                "Interface 'v0' has no '127.0.0.1' address; -bind must be one of its own: 169.254.0.9, 10.0.0.5, fe80::1"
                    .to_owned()
            ));
        let none = choose("v0", &own[..1], "0.0.0.0:1".parse().unwrap());
        assert_eq!(
            none,
            Err("Failed to find usable address for interface 'v0'; it has only link-local ones: 169.254.0.9"
                .to_owned())
        );
    }
}
