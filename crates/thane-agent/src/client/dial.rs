//! Opening a TCP connection, with the error texts of Go's dialer, which people search for and scripts match.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use crate::hostport;

/// Connects to `address`, which must be `host:port`. A name with several addresses is tried at each of them.
///
/// # Errors
///
/// Go's words for what went wrong at the first address.
pub(super) fn dial(address: &str, timeout: Duration) -> Result<TcpStream, String> {
    if address.is_empty() {
        return Err("dial tcp: missing address".to_owned());
    }
    let candidates = hostport::split_with_port(address)
        .and_then(|(host, port)| resolve(host, port).map(|candidates| (host, candidates)));
    let (host, candidates) = candidates.map_err(|problem| format!("dial tcp: {problem}"))?;
    let mut first_error = None;
    for candidate in candidates {
        match TcpStream::connect_timeout(&candidate, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                let text = match error.kind() {
                    io::ErrorKind::TimedOut => format!("dial tcp {candidate}: i/o timeout"),
                    _ => format!("dial tcp {candidate}: connect: {}", hostport::error_text(&error)),
                };
                first_error.get_or_insert(text);
            }
        }
    }
    Err(first_error.unwrap_or_else(|| format!("dial tcp: lookup {host}: no such host")))
}

/// The addresses of a host; an empty one is this machine.
fn resolve(host: &str, port: &str) -> Result<Vec<SocketAddr>, String> {
    let port = hostport::port(port)?;
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    match (host, port).to_socket_addrs() {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(hostport::lookup_failure(host, &error)),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use socket2::{Domain, Socket, Type};

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
        // Held, so that nobody else gets the port, and nobody listens.
        let held = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        held.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = held.local_addr().unwrap().as_socket().unwrap();
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
