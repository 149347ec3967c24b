//! From settings to a running agent, in Serf's order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use thane::{Events, Key, Node, StartError};
use tokio::task::JoinSet;
use tracing::info;

use super::banner::{self, Row};
use super::delivery::deliver_events;
use super::operations::Agent;
use super::settings::Settings;
use crate::handlers::Handlers;
use crate::hostport;
use crate::logging::{Console, Log};
use crate::rpc_server::{AuthKey, RpcServer};

/// Largest metadata of a node, in bytes: its tags, encoded.
const TAGS_BYTES_MAX: usize = thane_wire::limits::META_BYTES_MAX;

/// Room that the leave's time limit has beyond what the node itself may take.
const LEAVE_MARGIN: Duration = Duration::from_secs(2);

/// An agent that is up, and what keeps it so.
pub(super) struct Running {
    pub(super) agent: Arc<Agent>,
    /// Longest time that a leave can honestly take.
    pub(super) leave_limit: Duration,
    /// The RPC server with its clients; ends when dropped.
    pub(super) server: JoinSet<()>,
    /// Delivers events. It ends by itself when the node has stopped.
    pub(super) events: JoinSet<()>,
    /// The handlers' lanes. They end by themselves after the events.
    pub(super) lanes: JoinSet<()>,
}

/// Starts the node and the RPC server and shows the banner.
///
/// # Errors
/// What is to be shown. Nothing is left running then.
pub(super) async fn start(console: &Console, log: &Log, settings: &Settings) -> Result<Running, String> {
    console.output("Starting Serf agent...");
    info!(target: "agent", "Serf agent starting");
    let (node, events) =
        start_node(settings).await.map_err(|reason| format!("Failed to start the Serf agent: {reason}"))?;
    let server = match RpcServer::bind(&settings.rpc_addr, AuthKey::default()).await {
        Ok(server) => server,
        Err(reason) => {
            node.shutdown().await;
            return Err(format!("Error starting RPC listener: {reason}"));
        }
    };
    console.output("Starting Serf agent RPC...");
    let agent = Arc::new(Agent::new(node, log.clone(), settings.handlers.clone()));
    let mut lanes = JoinSet::new();
    let handlers = Handlers::start(&settings.handlers, &agent.node, &mut lanes);
    let mut delivery = JoinSet::new();
    delivery.spawn(deliver_events(events, Arc::clone(&agent), handlers));
    let rpc_addr = shown_rpc_addr(&settings.rpc_addr, &server);
    let mut serving = JoinSet::new();
    serving.spawn(server.run(Arc::clone(&agent)));
    console.output("Serf agent running!");
    banner::show(console, &rows(settings, &agent, rpc_addr));
    Ok(Running { agent, leave_limit: leave_limit(settings), server: serving, events: delivery, lanes })
}

async fn start_node(settings: &Settings) -> Result<(Node, Events), String> {
    let mut builder = Node::builder()
        .bind(settings.bind.to_string())
        .tags(settings.tags.clone())
        .profile(settings.profile)
        .compression(settings.compression);
    if let Some(name) = &settings.node_name {
        builder = builder.name(name);
    }
    if let Some(advertise) = settings.advertise {
        builder = builder.advertise(advertise.to_string());
    }
    if let Some(protocol) = checked_protocol(settings.protocol)? {
        builder = builder.protocol(protocol);
    }
    // Protocol 2 sends nothing but the role, so only the node knows whether the tags fit.
    if settings.protocol != 2 && thane_wire::tags::encode(&settings.tags).len() > TAGS_BYTES_MAX {
        return Err(format!(
            "Error creating Serf: Encoded length of tags exceeds limit of {TAGS_BYTES_MAX} bytes; all tags share \
             them, so shorten some of -tag or leave some out"
        ));
    }
    if let Some(bytes) = &settings.encrypt_key {
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
    builder = builder.configure(move |config| config.broadcast_timeout = broadcast_timeout);
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
    if settings.advertise.is_some() {
        rows.push(Row::quoted("Advertise addr", node.advertise_addr()));
    }
    rows.extend([
        Row::quoted("RPC addr", rpc_addr),
        Row::new("Encrypted", settings.encrypt_key.is_some().to_string()),
        Row::new("Snapshot", "false"),
        Row::new("Profile", &settings.profile_name),
        Row::new("Message Compression Enabled", settings.compression.to_string()),
    ]);
    rows
}

/// What a leave may take: two broadcasts and the time that the node gives the word to spread. Differs from Serf, which
/// gives up after 3 s, before its own broadcasts do.
fn leave_limit(settings: &Settings) -> Duration {
    // Only the propagation delay is asked of it; the address plays no part.
    let config = thane::Config::lan("", settings.bind);
    2 * settings.broadcast_timeout + config.leave_propagate_delay + LEAVE_MARGIN
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
