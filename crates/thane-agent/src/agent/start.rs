//! From settings to a running agent, in Serf's order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use thane::{Events, Key, Node, StartError, Tags};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::banner::{self, Row};
use super::delivery::deliver_events;
use super::operations::{Agent, PROTOCOL_MAX, check_tags};
use super::settings::{Place, Settings};
use super::{host, keyring_file};
use crate::handlers::Handlers;
use crate::hostport;
use crate::logging::{Console, Log};
use crate::mdns::{self, MdnsConfig, MdnsHandle};
use crate::metrics::Metrics;
use crate::rpc_server::{AuthKey, RpcServer};

/// Room that the leave's time limit has beyond what the node itself may take.
const LEAVE_MARGIN: Duration = Duration::from_secs(2);

/// An agent that is up, and what keeps it so.
pub(super) struct Running {
    pub(super) agent: Arc<Agent>,
    /// Longest time that a leave can honestly take.
    pub(super) leave_limit: Duration,
    /// The RPC server with its clients; ends when dropped.
    pub(super) server: JoinSet<()>,
    /// Finds others; ends when dropped.
    pub(super) discovery: Option<MdnsHandle>,
    /// Delivers events. It ends by itself when the node has stopped.
    pub(super) events: JoinSet<()>,
    /// Those that run; replaced on a reload.
    pub(super) handlers: watch::Sender<Handlers>,
    /// The handlers' lanes. They end by themselves after the events and the handlers.
    pub(super) lanes: JoinSet<()>,
}

/// Starts the node and the RPC server and shows the banner.
///
/// # Errors
/// What is to be shown. Nothing is left running then.
pub(super) async fn start(
    console: &Console,
    log: &Log,
    metrics: &Metrics,
    settings: &Settings,
    place: &Place,
) -> Result<Running, String> {
    console.output("Starting Serf agent...");
    let protocol = checked_protocol(settings.protocol);
    let tags = set_up(settings).map_err(|reason| format!("Failed to setup the Serf agent: {reason}"))?;
    info!(target: "agent", "Serf agent starting");
    let (node, events) = start_node(settings, place, tags)
        .await
        .map_err(|reason| format!("Failed to start the Serf agent: {reason}"))?;
    let protocol = protocol.ok().flatten().unwrap_or(PROTOCOL_MAX);
    let agent = Agent::new(node, log.clone(), settings.handlers.clone());
    let agent = agent.with_tags_file(settings.tags_file.clone(), protocol).with_metrics(metrics.clone());
    let agent = Arc::new(agent);
    let listening = match discover(settings, &agent) {
        Ok(discovery) => {
            let auth = AuthKey::required(settings.rpc_auth.as_deref().unwrap_or_default());
            let server = RpcServer::bind(&settings.rpc_addr, auth).await;
            server
                .map(|server| (discovery, server))
                .map_err(|reason| format!("Error starting RPC listener: {reason}"))
        }
        Err(reason) => Err(format!("Error starting mDNS listener: {reason}")),
    };
    let (discovery, server) = match listening {
        Ok(listening) => listening,
        Err(reason) => {
            agent.node.shutdown().await;
            return Err(reason);
        }
    };
    console.output("Starting Serf agent RPC...");
    let mut lanes = JoinSet::new();
    let handlers =
        watch::Sender::new(Handlers::start(&settings.handlers, settings.handler_timeout, &agent, &mut lanes));
    let mut delivery = JoinSet::new();
    delivery.spawn(deliver_events(events, Arc::clone(&agent), handlers.subscribe()));
    let rpc_addr = shown_rpc_addr(&settings.rpc_addr, &server);
    let mut serving = JoinSet::new();
    serving.spawn(server.run(Arc::clone(&agent)));
    console.output("Serf agent running!");
    banner::show(console, &rows(settings, &agent, rpc_addr));
    if let Some(warning) = &place.warning {
        warn!(target: "agent", "{warning}");
    }
    let leave_limit = leave_limit(settings, place);
    Ok(Running { agent, leave_limit, server: serving, discovery, events: delivery, handlers, lanes })
}

/// Starts to find others by multicast DNS, if that is wanted.
fn discover(settings: &Settings, agent: &Arc<Agent>) -> Result<Option<MdnsHandle>, String> {
    let Some(wanted) = settings.discovery.clone() else { return Ok(None) };
    if let Some(interface) = &wanted.interface {
        info!(target: "agent", "Starting mDNS listener on interface {interface}");
    }
    let config = MdnsConfig {
        cluster: wanted.cluster,
        node: agent.node.name().to_owned(),
        host: host::name(),
        advertise: agent.node.advertise_addr(),
        interface: wanted.interface,
        disable_ipv4: wanted.disable_ipv4,
        disable_ipv6: wanted.disable_ipv6,
    };
    let (agent, replay) = (Arc::clone(agent), settings.replay_on_join);
    let join = move |addresses: Vec<String>| {
        let agent = Arc::clone(&agent);
        async move { agent.join(&addresses, replay).await }
    };
    mdns::start(config, join).map(Some).map_err(|reason| reason.to_string())
}

/// Reads the tags and checks the keys that are kept in files; the tags to begin with.
fn set_up(settings: &Settings) -> Result<Tags, String> {
    let mut tags = settings.tags.clone();
    if let Some(file) = &settings.tags_file {
        if !tags.is_empty() {
            return Err("Tags config not allowed while using tag files; leave out -tags-file, or -tag, -role and the \
                        tags of configuration files"
                .to_owned());
        }
        if let Some(kept) = file.load()? {
            info!(target: "agent", "Restored {} tag(s) from {}", kept.len(), file.path().display());
            tags = kept;
        }
    }
    if let Some(file) = &settings.keyring_file {
        if settings.is_keyed() {
            return Err(
                "Encryption key not allowed while using a keyring; leave out -encrypt or -keyring-file"
                    .to_owned(),
            );
        }
        let keys = keyring_file::count(file)?;
        info!(target: "agent", "Restored keyring with {keys} keys from {}", file.display());
    }
    Ok(tags)
}

async fn start_node(settings: &Settings, place: &Place, tags: Tags) -> Result<(Node, Events), String> {
    let protocol = checked_protocol(settings.protocol)?;
    check_tags(protocol.unwrap_or(PROTOCOL_MAX), &tags, &[]).map_err(|reason| {
        format!(
            "Error creating Serf: {reason}; all tags share them, so shorten some of -tag or leave some out"
        )
    })?;
    settings.tuning.check().map_err(|reason| format!("Error creating Serf: {reason}"))?;
    let mut builder = Node::builder()
        .bind(place.bind.to_string())
        .tags(tags)
        .profile(place.profile)
        .compression(settings.compression)
        .dns_servers(&settings.dns_servers);
    if let Some(name) = &settings.node_name {
        builder = builder.name(name);
    }
    if let Some(advertise) = place.advertise {
        builder = builder.advertise(advertise.to_string());
    }
    for (name, addr) in &settings.networks {
        builder = builder.network(name, addr.clone());
    }
    if let Some(protocol) = protocol {
        builder = builder.protocol(protocol);
    }
    if let Some(file) = &settings.keyring_file {
        builder = builder.keyring_file(file);
    }
    if let Some(path) = &settings.snapshot_path {
        builder = builder.snapshot_path(path).rejoin_after_leave(settings.rejoin_after_leave);
    }
    if let Some((path, limit)) = &settings.record {
        builder = builder.record(path);
        if let Some(limit) = limit {
            builder = builder.record_limit(*limit);
        }
    }
    if let Some(bytes) = &place.encrypt_key {
        let key = Key::new(bytes).map_err(|reason| {
            let found = bytes.len();
            format!(
                "Error creating Serf: Failed to create memberlist: {reason}; -encrypt has {found}: make a key with \
                 'thane keygen'"
            )
        })?;
        builder = builder.key(key);
    }
    let broadcast_timeout = settings.broadcast_timeout;
    let tuning = settings.tuning.clone();
    builder = builder.configure(move |config| {
        config.broadcast_timeout = broadcast_timeout;
        tuning.apply(config);
    });
    let started = builder.start_with_events().await;
    started.map_err(|failure| format!("Error creating Serf: {}", describe(&failure)))
}

/// Why the node did not start: in Serf's words where it has some, and with the flag to change.
fn describe(failure: &StartError) -> String {
    match failure {
        StartError::Listen { addr, protocol, error } => {
            let (ip, port) = (addr.ip(), addr.port());
            let remedy = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "is another agent running? choose another port with -bind=HOST:PORT".to_owned()
                }
                io::ErrorKind::AddrNotAvailable => {
                    format!("{ip} is no address of this machine: choose one with -bind")
                }
                io::ErrorKind::PermissionDenied => {
                    "choose a port from 1024 up with -bind=HOST:PORT".to_owned()
                }
                _ => "choose another address with -bind".to_owned(),
            };
            format!(
                "Failed to create memberlist: Could not set up network transport: failed to obtain an address: \
                 Failed to start {protocol} listener on \"{ip}\" port {port}: listen {} {addr}: bind: {}; {remedy}",
                protocol.to_lowercase(),
                hostport::error_text(error)
            )
        }
        StartError::NoAdvertiseAddress { bind, problem } => format!(
            "Failed to create memberlist: Failed to get final advertise address: {problem}; the agent listens on \
             {bind}, so name the address that the other members reach it at with -advertise, or listen on one \
             address with -bind"
        ),
        StartError::Address { field: "DNS server", value, problem } => {
            format!("Invalid DNS server '{value}': {problem}; write -dns-server=ADDR:PORT")
        }
        StartError::NoName { problem } => {
            format!(
                "the host name of this machine cannot be determined ({problem}); name the node with -node"
            )
        }
        StartError::Recording { problem, .. } => format!("{problem} (-record)"),
        other => other.to_string(),
    }
}

/// A number that is not positive means the default, as in Serf.
fn checked_protocol(given: i64) -> Result<Option<u8>, String> {
    let refused = |word: &str| {
        Err(format!("Error creating Serf: Protocol version '{given}' too {word}. Must be in range: [2, 5]"))
    };
    match given {
        ..=0 => Ok(None),
        1 => refused("low"),
        2..=5 => Ok(Some(given as u8)),
        6.. => refused("high"),
    }
}

/// The address as given, but with the port that was found where 0 asked for a free one.
fn shown_rpc_addr(given: &str, server: &RpcServer) -> String {
    match (given.strip_suffix(":0"), server.local_addr()) {
        (Some(host), Ok(found)) => format!("{host}:{}", found.port()),
        _ => given.to_owned(),
    }
}

fn rows(settings: &Settings, agent: &Agent, rpc_addr: String) -> Vec<Row> {
    let node = &agent.node;
    let mut rows = vec![Row::quoted("Node name", node.name()), Row::quoted("Bind addr", node.local_addr())];
    if settings.is_advertised() {
        rows.push(Row::quoted("Advertise addr", node.advertise_addr()));
    }
    if !node.networks().is_empty() {
        let networks = node.networks().iter().map(|network| format!("{}={}", network.name, network.addr));
        rows.push(Row::new("Networks", networks.collect::<Vec<_>>().join(", ")));
    }
    rows.extend([
        Row::quoted("RPC addr", rpc_addr),
        Row::new("Encrypted", settings.is_encrypted().to_string()),
        Row::new("Snapshot", settings.snapshot_path.is_some().to_string()),
        Row::new("Profile", settings.profile_name()),
    ]);
    if let Some(detector) = settings.other_detector() {
        rows.push(Row::new("Detector", detector));
    }
    rows.extend([Row::new("Message Compression Enabled", settings.compression.to_string())]);
    if let Some(discovery) = &settings.discovery {
        rows.push(Row::new("mDNS cluster", &discovery.cluster));
    }
    rows
}

/// What a leave may take: two broadcasts and the time that the node gives the word to spread. Differs from Serf, which
/// gives up after 3 s, before its own broadcasts do.
fn leave_limit(settings: &Settings, place: &Place) -> Duration {
    // Only the propagation delay is asked of it; the address plays no part.
    let config = thane::Config::lan("", place.bind);
    2 * settings.broadcast_timeout + config.leave_propagate_delay + LEAVE_MARGIN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::settings::flags;

    #[test]
    fn protocols_out_of_range_are_refused_in_serfs_words() {
        for (given, expected) in [
            (-1, Ok(None)),
            (0, Ok(None)),
            (1, Err("Error creating Serf: Protocol version '1' too low. Must be in range: [2, 5]")),
            (2, Ok(Some(2))),
            (5, Ok(Some(5))),
            (6, Err("Error creating Serf: Protocol version '6' too high. Must be in range: [2, 5]")),
        ] {
            assert_eq!(checked_protocol(given), expected.map_err(str::to_owned), "{given}");
        }
    }

    #[tokio::test]
    async fn a_leave_is_given_two_broadcasts_the_time_to_spread_and_a_margin() {
        // The word of a leave spreads for 1 s, and the margin is 2 s.
        for (argument, seconds) in [("", 13), ("-broadcast-timeout=1s", 5), ("-broadcast-timeout=1m", 123)] {
            let arguments: Vec<String> =
                [argument].map(String::from).into_iter().filter(|a| !a.is_empty()).collect();
            let settings = Settings::read(&flags().parse(&arguments).unwrap()).unwrap();
            let place = settings.place().await.unwrap();
            assert_eq!(leave_limit(&settings, &place), Duration::from_secs(seconds), "{argument}");
        }
    }
}
