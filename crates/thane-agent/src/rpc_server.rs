//! The agent's RPC server. (Serf: `ipc.go`.)
//!
//! Each client has a task of its own, which takes its requests one after the other, and an [`outbox::Outbox`], from
//! which another future writes to its socket. Whatever the agent has to say to a client goes through its outbox without
//! waiting, so no client can hold up the agent or another client.
//!
//! Everything that a client can make grow is bounded here: clients, bytes of an unfinished request, streams of a client,
//! responses that it has not taken, records that it has not taken, and how long it may take nothing.

mod client;
mod commands;
pub(crate) mod diagnose;
pub(crate) mod explain;
mod history;
mod monitor;
mod outbox;
mod pending;
mod queries;
pub(crate) mod streams;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::agent::Agent;
use crate::hostport;
use crate::losses::NoticeLimit;

/// Clients connected at a time. A further one is closed at once.
const CLIENTS_MAX: usize = 256;

/// How long to wait after a connection could not be accepted: file descriptors may have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What a client must present, if anything. Its `Debug` does not show it.
#[derive(Clone, Default)]
pub(crate) struct AuthKey(Option<String>);

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "AuthKey(set)" } else { "AuthKey(none)" })
    }
}

impl AuthKey {
    /// A key that clients must present; the empty one means none.
    pub(crate) fn required(key: &str) -> Self {
        Self((!key.is_empty()).then(|| key.to_owned()))
    }

    fn is_required(&self) -> bool {
        self.0.is_some()
    }

    /// Whether `presented` is the key. Takes as long for a nearly right one as for a wrong one of the same length.
    fn accepts(&self, presented: &str) -> bool {
        let (ours, theirs) = (self.0.as_deref().unwrap_or_default().as_bytes(), presented.as_bytes());
        let difference = ours.iter().zip(theirs).fold(0, |difference, (a, b)| difference | (a ^ b));
        ours.len() == theirs.len() && difference == 0
    }
}

/// A listening server.
#[derive(Debug)]
pub(crate) struct RpcServer {
    listener: TcpListener,
    auth: AuthKey,
}

impl RpcServer {
    /// Listens on `address`, `HOST:PORT`; an empty host means all addresses.
    ///
    /// # Errors
    /// In Go's words, which scripts know (`listen tcp 127.0.0.1:7373: bind: address already in use`), and what to do.
    pub(crate) async fn bind(address: &str, auth: AuthKey) -> Result<Self, String> {
        let parts = hostport::split_with_port(address)
            .and_then(|(host, port)| hostport::port(port).map(|port| (host, port)));
        let (host, port) =
            parts.map_err(|problem| format!("listen tcp: {problem}; write -rpc-addr=HOST:PORT"))?;
        let listener = match host {
            // One socket for both families where the system has IPv6.
            "" => match TcpListener::bind(("::", port)).await {
                Ok(listener) => Ok(listener),
                Err(_no_ipv6) => TcpListener::bind(("0.0.0.0", port)).await,
            },
            host => TcpListener::bind((host, port)).await,
        };
        match listener {
            Ok(listener) => Ok(Self { listener, auth }),
            Err(error) => Err(format!("listen tcp {address}: {}", bind_failure(host, &error))),
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves clients until dropped, which closes all connections.
    pub(crate) async fn run(self, agent: Arc<Agent>) {
        let auth = Arc::new(self.auth);
        let mut clients = JoinSet::new();
        let mut notices = NoticeLimit::default();
        let mut readings = tokio::time::interval(history::INTERVAL);
        readings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = readings.tick() => {
                    agent.diagnostics.sample(&agent.node).await;
                    continue;
                }
                Some(_ended) = clients.join_next() => continue,
            };
            match accepted {
                Ok((stream, peer)) if clients.len() < CLIENTS_MAX => {
                    info!(target: "agent.ipc", "Accepted client: {peer}");
                    if let Some(metrics) = &agent.metrics {
                        metrics.ipc_accepted();
                    }
                    clients.spawn(serve(stream, peer, Arc::clone(&agent), Arc::clone(&auth)));
                }
                Ok((_refused, peer)) => {
                    if notices.is_due(Instant::now()) {
                        warn!(target: "agent.ipc", "Refused client {peer}: {CLIENTS_MAX} clients are connected already");
                    }
                }
                Err(reason) => {
                    if notices.is_due(Instant::now()) {
                        error!(target: "agent.ipc", "Failed to accept client: {reason}");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, agent: Arc<Agent>, auth: Arc<AuthKey>) {
    // Answers are small and each is awaited by somebody.
    _ = stream.set_nodelay(true);
    client::serve(stream, peer, agent, auth).await;
}

/// Why a socket could not be bound, as Go says it, and what to do.
fn bind_failure(host: &str, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "is another agent running? choose another address with -rpc-addr".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("'{host}' is no address of this machine: choose one with -rpc-addr")
        }
        io::ErrorKind::PermissionDenied => "choose a port from 1024 up with -rpc-addr".to_owned(),
        _ => {
            let failure = hostport::lookup_failure(host, error);
            return format!("{failure}; name an address of this machine with -rpc-addr");
        }
    };
    format!("bind: {}; {remedy}", hostport::error_text(error))
}

#[cfg(test)]
mod tests {
    use thane_wire::rpc::{Request, ResponseHeader, ValueDecoder};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::logging::{Console, Log, LogLevel};

    #[test]
    fn the_key_must_be_the_same_throughout() {
        let key = AuthKey::required("sesame");
        assert!(key.is_required() && key.accepts("sesame"));
        for wrong in ["", "sesam", "sesame ", "tesame", "sesamf"] {
            assert!(!key.accepts(wrong), "{wrong:?}");
        }
        // Without a key only the empty one is right, as with Serf.
        let none = AuthKey::required("");
        assert!(!none.is_required() && none.accepts("") && !none.accepts("x"));
        assert_eq!(format!("{key:?}"), "AuthKey(set)");
    }

    /// Replays a conversation: what the client sends, and the errors of the answers that must come.
    async fn check(key: &str, conversation: &[(Request, &[&str])]) {
        let node = thane::Node::builder().name("alpha").bind("127.0.0.1:0").start().await.unwrap();
        let console = Console::stdout().unwrap();
        let agent = Arc::new(Agent::new(node, Log::new(LogLevel::Err, console), Vec::new()));
        let server = RpcServer::bind("127.0.0.1:0", AuthKey::required(key)).await.unwrap();
        let mut client = TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
        let serving = tokio::spawn(server.run(agent));
        let mut values = ValueDecoder::new();
        for (seq, (request, errors)) in (1..).zip(conversation) {
            let mut bytes = Vec::new();
            request.encode(seq, &mut bytes);
            client.write_all(&bytes).await.unwrap();
            for error in *errors {
                let header = loop {
                    if let Some(value) = values.next_value().unwrap() {
                        break ResponseHeader::decode(value).unwrap();
                    }
                    let mut chunk = Vec::new();
                    let count = client.read_buf(&mut chunk).await.unwrap();
                    assert_ne!(count, 0, "closed before the answer to {request:?}");
                    values.push(&chunk);
                };
                assert_eq!((header.seq, header.error.as_str()), (seq, *error), "{request:?}");
            }
        }
        serving.abort();
    }

    #[tokio::test]
    async fn without_the_key_each_command_is_refused_once_and_the_connection_goes_on() {
        let auth = |key: &str| Request::Auth { key: key.to_owned() };
        let event = || Request::Event { name: "deploy".to_owned(), payload: None, coalesce: false };
        let required = &["Authentication required"][..];
        let invalid = &["Invalid authentication token"][..];
        check(
            "sesame",
            &[
                (Request::Handshake { version: 1 }, &[""]),
                (Request::Members, required),
                // Its body is taken with it. Serf refuses the body once more.
                (event(), required),
                (Request::Unknown { command: "bogus".to_owned() }, required),
                (auth(""), invalid),
                (auth("simsalabim"), invalid),
                (event(), required),
                (auth("sesame"), &[""]),
                (event(), &[""]),
                (auth("wrong"), invalid),
                (event(), &[""]),
            ],
        )
        .await;
    }

    #[tokio::test]
    async fn without_a_key_on_our_side_only_the_empty_one_is_right() {
        let auth = |key: &str| Request::Auth { key: key.to_owned() };
        check(
            "",
            &[
                (Request::Handshake { version: 1 }, &[""]),
                (auth(""), &[""]),
                (auth("sesame"), &["Invalid authentication token"]),
                (Request::Stop { stop: 0 }, &[""]),
            ],
        )
        .await;
    }

    #[tokio::test]
    async fn addresses_that_cannot_be_listened_on_are_named() {
        let taken = RpcServer::bind("127.0.0.1:0", AuthKey::default()).await.unwrap();
        let address = taken.local_addr().unwrap();
        for (text, message) in [
            (address.to_string(), format!("listen tcp {address}: bind: address already in use; is another agent running? choose another \
                     address with -rpc-addr")),
            (
                "127.0.0.1".to_owned(),
                "listen tcp: address 127.0.0.1: missing port in address; write -rpc-addr=HOST:PORT".to_owned(),
            ),
            (
                "127.0.0.1:99999".to_owned(),
                "listen tcp: address 99999: invalid port; write -rpc-addr=HOST:PORT".to_owned(),
            ),
            (
                "::1:7373".to_owned(),
                "listen tcp: address ::1:7373: too many colons in address; write -rpc-addr=HOST:PORT".to_owned(),
            ),
            (
                "192.0.2.1:7373".to_owned(),
                "listen tcp 192.0.2.1:7373: bind: cannot assign requested address; '192.0.2.1' is no address of \
                 this machine: choose one with -rpc-addr"
                    .to_owned(),
            ),
        ] {
            assert_eq!(RpcServer::bind(&text, AuthKey::default()).await.unwrap_err(), message);
        }
    }
}
