//! Opening a TCP connection, with the error texts of Go's dialer, which people search for and scripts match.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// Connects to `address`, which must be `host:port`. A name with several addresses is tried at each of them.
///
/// # Errors
///
/// Go's words for what went wrong at the first address.
pub(super) fn dial(address: &str, timeout: Duration) -> Result<TcpStream, String> {
    let (host, port) = split_host_port(address).map_err(|problem| format!("dial tcp: {problem}"))?;
    let candidates = resolve(host, port).map_err(|problem| format!("dial tcp: {problem}"))?;
    let mut first_error = None;
    for candidate in candidates {
        match TcpStream::connect_timeout(&candidate, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                let text = match error.kind() {
                    io::ErrorKind::TimedOut => format!("dial tcp {candidate}: i/o timeout"),
                    _ => format!("dial tcp {candidate}: connect: {}", go_text(&error)),
                };
                first_error.get_or_insert(text);
            }
        }
    }
    Err(first_error.unwrap_or_else(|| format!("dial tcp: lookup {host}: no such host")))
}

/// Splits as Go's `net.SplitHostPort`, with its complaints.
fn split_host_port(address: &str) -> Result<(&str, &str), String> {
    let complain = |what: &str| Err(format!("address {address}: {what}"));
    if address.is_empty() {
        return Err("missing address".to_owned());
    }
    let Some((host, port)) = address.rsplit_once(':') else {
        return complain("missing port in address");
    };
    if let Some(bracketed) = address.strip_prefix('[') {
        return match bracketed.split_once(']') {
            None => complain("missing ']' in address"),
            Some((_, "")) => complain("missing port in address"),
            Some((inner, rest)) => match rest.strip_prefix(':') {
                Some(port) if !port.contains(':') => Ok((inner, port)),
                Some(_) => complain("too many colons in address"),
                None => complain("missing port in address"),
            },
        };
    }
    if host.contains(':') {
        return complain("too many colons in address");
    }
    Ok((host, port))
}

/// The addresses of a host; an empty one is this machine.
fn resolve(host: &str, port: &str) -> Result<Vec<SocketAddr>, String> {
    let port = match port.parse::<u16>() {
        Ok(port) => port,
        Err(_) if port.is_empty() => 0,
        Err(_) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            return Err(format!("address {port}: invalid port"));
        }
        Err(_) => return Err(format!("lookup tcp/{port}: unknown port")),
    };
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    match (host, port).to_socket_addrs() {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => {
            let text = error.to_string();
            // The resolver's own words are kept where they say more than that there is no such name.
            let reason = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
            let reason = if reason.contains("not known") { "no such host" } else { reason };
            Err(format!("lookup {host}: {reason}"))
        }
    }
}

/// The text of an I/O error without Rust's number behind it, and with a small first letter, as Go has it.
pub(super) fn go_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default();
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn bad_addresses_are_told_as_go_tells_them() {
        for (address, message) in [
            ("", "dial tcp: missing address"),
            ("127.0.0.1", "dial tcp: address 127.0.0.1: missing port in address"),
            ("[::1]", "dial tcp: address [::1]: missing port in address"),
            ("[::1", "dial tcp: address [::1: missing ']' in address"),
            ("::1", "dial tcp: address ::1: too many colons in address"),
            ("a:b:1", "dial tcp: address a:b:1: too many colons in address"),
            ("127.0.0.1:x", "dial tcp: lookup tcp/x: unknown port"),
            ("127.0.0.1:70000", "dial tcp: address 70000: invalid port"),
        ] {
            assert_eq!(dial(address, Duration::from_secs(1)).unwrap_err(), message, "dialling {address:?}");
        }
    }

    #[test]
    fn a_closed_port_refuses_in_gos_words() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = dial(&address.to_string(), Duration::from_secs(1)).unwrap_err();
        assert_eq!(error, format!("dial tcp {address}: connect: connection refused"));
    }

    #[test]
    fn an_open_port_connects_with_and_without_a_host() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for address in [address.to_string(), format!(":{}", address.port())] {
            let stream = dial(&address, Duration::from_secs(1)).unwrap();
            assert_eq!(stream.peer_addr().unwrap(), listener.local_addr().unwrap());
        }
    }
}
