//! Finding other agents by multicast DNS, as Serf's agent does with `-discover`.
//!
//! Every agent answers questions for the service `_serf_CLUSTER._tcp.local.` with its own address, and asks for that
//! service at its start and once a minute. Who answers is joined. (Serf: `mdns.go`; its answers and questions come from
//! hashicorp/mdns.)
//!
//! Differs from Serf, all of it invisible to a Serf agent on the same network: names with spaces, backslashes and the
//! like work, since labels are compared as bytes; an address that could not be joined is tried again, ever more rarely;
//! the agent does not join itself; every interface is asked, not only the one of the default route; and addresses that
//! only make sense on the machine that told them are not taken from another machine.
//!
//! What a stranger can make grow is bounded: bytes of a packet, entries gathered in one round, addresses remembered,
//! addresses joined at once.

mod candidates;
mod collect;
mod joiner;
mod names;
mod querier;
mod records;
mod responder;
mod sockets;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::warn;

use names::Names;

/// Where multicast DNS takes place. (RFC 6762, section 3.)
const PORT: u16 = 5353;

/// Time between two rounds of questions. (Serf: `mdns.go`, `mdnsPollInterval`.)
const POLL_INTERVAL: Duration = Duration::from_secs(60);

/// How long answers are gathered after a question. (hashicorp/mdns: `client.go`, `DefaultParams`.)
const POLL_WINDOW: Duration = Duration::from_secs(1);

/// Addresses that wait to be joined. Those beyond are found again in the next round.
const OFFERS_MAX: usize = 64;

/// What an agent tells and asks by multicast DNS.
#[derive(Debug, Clone)]
pub(crate) struct MdnsConfig {
    /// The name behind `-discover`: who names the same cluster finds each other.
    pub(crate) cluster: String,
    /// The node's name.
    pub(crate) node: String,
    /// The machine's host name.
    pub(crate) host: String,
    /// Where others are to join: the address that the node advertises.
    pub(crate) advertise: SocketAddr,
    /// The only interface to use; otherwise all that are up, and loopback only if there is no other.
    pub(crate) interface: Option<String>,
    /// Not to ask over IPv4. As with Serf, questions that come over IPv4 are answered all the same.
    pub(crate) disable_ipv4: bool,
    /// Not to ask over IPv6. As with Serf, questions that come over IPv6 are answered all the same.
    pub(crate) disable_ipv6: bool,
}

/// Why discovery cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MdnsError {
    /// The name does not fit into DNS.
    #[error("cluster name \"{name}\" cannot be used with mDNS: {reason}; choose a shorter one")]
    Cluster {
        /// The cluster's name.
        name: String,
        /// What is wrong with it.
        reason: names::NameProblem,
    },
    /// There is no such interface, or it has no address.
    #[error("interface '{0}' does not exist or has no address; check mdns.interface and interface")]
    Interface(String),
    /// Neither IPv4 nor IPv6 is to be used.
    #[error("mDNS over IPv4 and over IPv6 are both turned off; turn one of them on, or leave out discover")]
    NothingToAsk,
    /// The operating system does not tell its interfaces.
    #[error("the network interfaces cannot be listed: {0}")]
    Interfaces(io::Error),
    /// Nothing can listen for questions.
    #[error("cannot listen for mDNS questions on port {port}: {error}")]
    Listen {
        /// The port.
        port: u16,
        /// The first failure.
        error: io::Error,
    },
}

/// Discovery under way. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct MdnsHandle {
    _tasks: JoinSet<()>,
}

/// What the tests change.
#[derive(Debug, Clone, Copy)]
struct Pace {
    port: u16,
    poll_interval: Duration,
    poll_window: Duration,
}

/// Answers and asks from now on. `join` gets addresses to join, each with its port, and returns how many of them could
/// be joined, or why none could. It must be called within a tokio runtime.
///
/// A node or host name that does not fit into DNS is no reason not to start: the node can find others then, but not be
/// found, and the log says so.
///
/// # Errors
/// When nobody could be found this way: see [`MdnsError`].
pub(crate) fn start<J, F>(config: MdnsConfig, join: J) -> Result<MdnsHandle, MdnsError>
where
    J: Fn(Vec<String>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<usize, String>> + Send + 'static,
{
    start_at(Pace { port: PORT, poll_interval: POLL_INTERVAL, poll_window: POLL_WINDOW }, config, join)
}

fn start_at<J, F>(pace: Pace, config: MdnsConfig, join: J) -> Result<MdnsHandle, MdnsError>
where
    J: Fn(Vec<String>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<usize, String>> + Send + 'static,
{
    if config.disable_ipv4 && config.disable_ipv6 {
        return Err(MdnsError::NothingToAsk);
    }
    let service = names::service(&config.cluster)
        .map_err(|reason| MdnsError::Cluster { name: config.cluster.clone(), reason })?;
    let interfaces = sockets::interfaces(config.interface.as_deref())?;
    let mut tasks = JoinSet::new();
    match Names::new(&config.cluster, &config.node, &config.host) {
        Ok(names) => {
            let identity = records::Identity::new(names, &config.cluster, config.advertise);
            let listeners = sockets::listen(&interfaces, pace.port)
                .map_err(|error| MdnsError::Listen { port: pace.port, error })?;
            for socket in listeners {
                tasks.spawn(responder::run(socket, identity.clone()));
            }
        }
        Err(reason) => {
            warn!(target: "agent.mdns", "Others cannot find this node by mDNS: {reason}; give it a shorter name");
        }
    }
    let (offers_in, offers) = mpsc::channel(OFFERS_MAX);
    tasks.spawn(joiner::run(config.advertise, offers, join));
    tasks.spawn(querier::run(pace, config, service, offers_in));
    Ok(MdnsHandle { _tasks: tasks })
}

/// What multicast DNS makes of packets, for those who throw bytes at it.
pub(crate) mod readers {
    use std::net::SocketAddr;

    use super::collect::Collector;
    use super::names::{self, Names};
    use super::records::Identity;

    /// The addresses that these packets of one host offer.
    pub(crate) fn offers(packets: &[&[u8]]) -> Vec<SocketAddr> {
        let Ok(service) = names::service("c") else { return Vec::new() };
        let from = SocketAddr::from(([10, 0, 0, 2], 5353));
        let mut collector = Collector::new(service, |_addr| false);
        let mut offers = Vec::new();
        for packet in packets {
            offers.extend(collector.take(from, packet));
            // Whatever is still to be asked must be a question that can be written.
            for (name, types) in collector.next_questions() {
                drop(super::records::question(7, &name, types));
            }
        }
        offers
    }

    /// The packets that answer this one.
    pub(crate) fn answers(packet: &[u8]) -> Vec<Vec<u8>> {
        let Ok(names) = Names::new("c", "n", "h") else { return Vec::new() };
        Identity::new(names, "c", SocketAddr::from(([10, 0, 0, 1], 7946))).answers(packet)
    }
}

#[cfg(test)]
mod tests;
