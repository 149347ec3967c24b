//! Names of members, looked up anew each time somebody is to be joined.
//!
//! A host name stands for all its A and AAAA records. A service name (its first label begins with an underscore, as in
//! `_serf._tcp.example.com`, or it is written `dnssrv+NAME`) stands for the hosts and ports of its SRV records. Host names go
//! to the system's resolver, which knows the hosts file too; services, which it cannot look up, go to the DNS servers that
//! the system is configured with. With DNS servers of our own, these are asked for both, but for names without a dot.

mod dns;
mod problem;
mod servers;

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

pub(crate) use self::problem::Problem;
use self::servers::Servers;
pub(crate) use self::servers::{SERVERS_MAX, parse_server};

/// Marks a name as a service's: for those that have SRV records though none of their labels begins with an underscore, such
/// as Consul's. Other programs that gossip have the same word (Thanos, Loki).
const SERVICE_PREFIX: &str = "dnssrv+";
/// Most addresses that one name may stand for; the rest is not tried.
const ADDRESSES_MAX: usize = 64;
/// Longest time that one name may take, with all servers and all hosts of a service.
const LOOKUP_TIME_MAX: Duration = Duration::from_secs(10);
/// A little before that, hosts of a service that have not been found are done without, if others have.
const TARGETS_TIME_MAX: Duration = Duration::from_millis(9_500);
/// Threads that the system's look-ups may hold in a process, also those that nobody waits for any more: files are written by
/// blocking threads too, and must not queue behind names of a dead server.
const SYSTEM_LOOKUPS_MAX: usize = 3;

static SYSTEM_LOOKUPS: Semaphore = Semaphore::const_new(SYSTEM_LOOKUPS_MAX);

/// Where a member may be found, as somebody wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// An address, or a host name.
    Host { host: String, port: u16 },
    /// The name of a service. The port is that of its records unless one was written.
    Service { name: String, port: Option<u16> },
}

impl Place {
    /// What a host and a port say, with the port to assume if there is none.
    pub(crate) fn new(host: String, port: Option<u16>, default_port: u16) -> Self {
        match host.strip_prefix(SERVICE_PREFIX) {
            Some(name) => Self::Service { name: name.to_owned(), port },
            None if host.starts_with('_') => Self::Service { name: host, port },
            None => Self::Host { host, port: port.unwrap_or(default_port) },
        }
    }
}

/// Looks names up. It keeps no answers: each question is asked anew.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resolver {
    /// DNS servers to ask instead of the system; empty for none.
    servers: Vec<SocketAddr>,
}

impl Resolver {
    /// One that asks these servers, in this order; none for the system.
    pub(crate) fn new(servers: Vec<SocketAddr>) -> Self {
        Self { servers }
    }

    /// The addresses of a place, at least one.
    pub(crate) async fn addresses(&self, place: &Place) -> Result<Vec<SocketAddr>, Problem> {
        let until = Instant::now() + TARGETS_TIME_MAX;
        let found = async {
            match place {
                Place::Host { host, port } => self.host(host, *port).await,
                Place::Service { name, port } => {
                    dns::service(&self.service_servers().await, name, *port, until).await
                }
            }
        };
        let mut addrs = timeout(LOOKUP_TIME_MAX, found).await.unwrap_or_else(|_elapsed| {
            let name = match place {
                Place::Host { host, .. } => host,
                Place::Service { name, .. } => name,
            };
            Err(Problem::TooLong { name: name.clone(), limit: LOOKUP_TIME_MAX })
        })?;
        addrs.truncate(ADDRESSES_MAX);
        Ok(addrs)
    }

    async fn host(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Problem> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        // A single label is a name of this machine or of its network: `localhost` first of all. (memberlist does not ask a
        // DNS server for these either: `memberlist.go`, resolveAddr.)
        if self.servers.is_empty() || !host.contains('.') {
            return system(host, port).await;
        }
        let ips = dns::host(&Servers::named(self.servers.clone()), host).await?;
        Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }

    async fn service_servers(&self) -> Servers {
        if self.servers.is_empty() {
            Servers::of_the_system().await
        } else {
            Servers::named(self.servers.clone())
        }
    }
}

/// Asks the operating system, which has a hosts file, search domains and more.
pub(crate) async fn system(host: &str, port: u16) -> Result<Vec<SocketAddr>, Problem> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let permit = SYSTEM_LOOKUPS.acquire().await;
    let name = host.to_owned();
    let looked_up = spawn_blocking(move || -> io::Result<Vec<SocketAddr>> {
        // Until the system is done, whoever still waits for it.
        let _permit = permit;
        Ok((name.as_str(), port).to_socket_addrs()?.take(ADDRESSES_MAX).collect())
    });
    match looked_up.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
        Ok(addrs) if addrs.is_empty() => Err(Problem::no_host(host, None)),
        Ok(addrs) => Ok(addrs),
        Err(error) => Err(Problem::of_the_system(host, &error)),
    }
}

#[cfg(test)]
mod tests;
