//! Addresses as people write them.

use std::net::{Ipv6Addr, SocketAddr};

use thane_core::JoinFailure;
use tokio::task::JoinSet;

use crate::advertise;
use crate::error::StartError;
use crate::resolve::{self, Place, Resolver};
use crate::sockets;

/// Serf's port. (Serf: `agent/config.go`, `DefaultBindPort`.)
pub const DEFAULT_PORT: u16 = 7946;

/// The field of an address to listen on.
pub(crate) const BIND: &str = "bind";

/// How many names are looked up at the same time: each may occupy a thread.
const LOOKUPS_MAX: usize = 16;

/// The host name, which is the default name of a node.
pub(crate) fn host_name() -> Result<String, StartError> {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let names = [kernel.ok(), std::env::var("HOSTNAME").ok(), std::env::var("COMPUTERNAME").ok()];
    names
        .into_iter()
        .flatten()
        .map(|name| name.trim().to_owned())
        .find(|name| !name.is_empty())
        .ok_or_else(|| StartError::NoName { problem: "neither the kernel nor HOSTNAME tells it".to_owned() })
}

/// Reads an address to listen on or to announce, `host`, `host:port`, `[v6]` or `[v6]:port`, and resolves its host. One to
/// announce may also choose among those of the machine ([`advertise::machine_ip`]). An empty host is `0.0.0.0`. Of several addresses an IPv4 one is preferred, as in Go.
pub(crate) async fn resolve_listen(
    field: &'static str,
    text: &str,
    default_port: u16,
) -> Result<SocketAddr, StartError> {
    let wrong = |problem: String| StartError::Address { field, value: text.to_owned(), problem };
    let (host, port) = split_listen(text, default_port).map_err(wrong)?;
    if field != BIND
        && let Some(ip) = advertise::machine_ip(&host).map_err(wrong)?
    {
        return Ok(SocketAddr::new(ip, port));
    }
    if host.is_empty() {
        return Ok(SocketAddr::from(([0, 0, 0, 0], port)));
    }
    let found = resolve::system(&host, port).await.map_err(|problem| wrong(problem.to_string()))?;
    let addrs: Vec<SocketAddr> = found.into_iter().map(sockets::canonical).collect();
    let ipv4 = addrs.iter().find(|addr| addr.is_ipv4());
    ipv4.or(addrs.first()).copied().ok_or_else(|| wrong(format!("the name {host} has no address")))
}

fn split_listen(text: &str, default_port: u16) -> Result<(String, u16), String> {
    if !text.starts_with('[') && text.matches(':').count() > 1 {
        return Err(format!(
            "address {text}: too many colons in address; write IPv6 addresses in brackets: [{text}]"
        ));
    }
    let (host, port) = split_port(text)?;
    Ok((host, port.unwrap_or(default_port)))
}

/// Splits `host[:port]`. Text that begins with a bracket has a port if a colon follows the last closing one; other text
/// has one if there is exactly one colon. (memberlist: `util.go`, hasPort and ensurePort.)
fn split_port(text: &str) -> Result<(String, Option<u16>), String> {
    let colon = match text.strip_prefix('[') {
        Some(_) => text.rfind(']').and_then(|end| text[end..].find(':').map(|colon| end + colon)),
        None if text.matches(':').count() == 1 => text.find(':'),
        None => None,
    };
    let (host, port) = match colon {
        None => (text, None),
        Some(colon) => {
            let port = &text[colon + 1..];
            let read = port.parse().map_err(|_no_port| format!("{port:?} is no port; it must be 0 to 65535"));
            (&text[..colon], Some(read?))
        }
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.contains(['[', ']']) {
        return Err(format!("address {text}: brackets belong around an IPv6 address and nowhere else"));
    }
    Ok((host.to_owned(), port))
}

/// One address to join, and which of the given texts it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinTarget {
    pub(crate) addr: SocketAddr,
    pub(crate) given: String,
}

impl JoinTarget {
    /// The failures of a join under the texts that the user gave.
    pub(crate) fn blame(targets: &[Self], failures: &[JoinFailure]) -> Vec<(String, String)> {
        // Two texts may stand for one address: each failure takes the next text that is left.
        let mut left: Vec<&Self> = targets.iter().collect();
        let mut blamed = Vec::with_capacity(failures.len());
        for failure in failures {
            let at = left.iter().position(|target| target.addr == failure.addr);
            let given = at.map_or_else(|| failure.addr.to_string(), |at| left.remove(at).given.clone());
            blamed.push((given, failure.to_string()));
        }
        blamed
    }
}

/// Resolves what a join was given, in order: the addresses, and what could not be resolved with the reason.
pub(crate) async fn resolve_join(
    resolver: &Resolver,
    given: &[String],
    default_port: u16,
) -> (Vec<JoinTarget>, Vec<(String, String)>) {
    let mut targets = Vec::new();
    let mut failed = Vec::new();
    for some in given.chunks(LOOKUPS_MAX) {
        let mut lookups = JoinSet::new();
        for (i, text) in some.iter().enumerate() {
            let place = split_join(text, default_port);
            let resolver = resolver.clone();
            lookups.spawn(async move {
                let found = match place {
                    Ok(place) => resolver.addresses(&place).await.map_err(|problem| problem.to_string()),
                    Err(problem) => Err(problem),
                };
                (i, found)
            });
        }
        let mut found: Vec<_> = some.iter().map(|_| Err("the lookup was cut off".to_owned())).collect();
        while let Some(ended) = lookups.join_next().await {
            match ended {
                Ok((i, addrs)) => found[i] = addrs,
                Err(error) => {
                    tracing::error!(target: "thane::driver", kind = "lookup_failed", %error, "a lookup has stopped: a bug in thane, please report it");
                }
            }
        }
        for (given, found) in some.iter().zip(found) {
            match found {
                Ok(addrs) => {
                    targets.extend(addrs.into_iter().map(|addr| JoinTarget { addr, given: given.clone() }));
                }
                Err(problem) => failed.push((given.clone(), format!("Failed to resolve {given}: {problem}"))),
            }
        }
    }
    (targets, failed)
}

/// Reads `[name/]host[:port]`. The name is for transports that route by name; ours does not. (memberlist: `memberlist.go`,
/// resolveAddr.)
fn split_join(text: &str, default_port: u16) -> Result<Place, String> {
    let host_port = match text.split_once('/') {
        Some(("", _)) => return Err("the node name before the slash is empty".to_owned()),
        Some((_name, host_port)) => host_port,
        None => text,
    };
    let (host, port) = split_port(host_port)?;
    if host.is_empty() {
        return Err("the host is empty; give an address or a name".to_owned());
    }
    if host.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_unicast_link_local()) {
        return Err(format!(
            "{host} is link-local: name the interface that it is on, as in [{host}%eth0]:7946"
        ));
    }
    Ok(Place::new(host, port, default_port))
}

#[cfg(test)]
mod tests;
