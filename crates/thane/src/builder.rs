//! From settings to a running node.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use thane_core::{Config, Delegate, Key, Keyring, Network, Seed, Tags};

use crate::addr;
use crate::advertise;
use crate::driver::{self, Files, Names};
use crate::error::StartError;
use crate::events::Events;
use crate::keyring_file;
use crate::node::Node;
use crate::recorder;
use crate::resolve::{Resolver, SERVERS_MAX, parse_server};
use crate::snapshot;
use crate::sockets;

/// memberlist's presets: how fast, and how patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// One data centre: [`Config::lan`].
    #[default]
    Lan,
    /// Members far apart: [`Config::wan`].
    Wan,
    /// One machine: [`Config::local`].
    Local,
}

/// Settings for a node. Everything has a default; in most machines `Node::builder().start()` works.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), thane::StartError> {
/// use std::time::Duration;
///
/// let node = thane::Node::builder()
///     .name("web-1")
///     .bind("127.0.0.1:0")
///     .tag("role", "web")
///     .profile(thane::Profile::Local)
///     .configure(|config| config.reconnect_timeout = Duration::from_secs(3600))
///     .start()
///     .await?;
/// assert_eq!(node.tags().await["role"], "web");
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
#[must_use = "a builder does nothing until it is started"]
pub struct Builder {
    name: Option<String>,
    bind: Option<String>,
    advertise: Option<String>,
    interface: Option<String>,
    networks: Vec<(String, Option<String>)>,
    tags: Tags,
    profile: Profile,
    keyring: Keyring,
    keyring_file: Option<PathBuf>,
    snapshot_path: Option<PathBuf>,
    rejoin_after_leave: bool,
    record: Option<PathBuf>,
    record_limit: Option<u64>,
    seeds: Vec<String>,
    dns_servers: Vec<String>,
    label: String,
    protocol: Option<u8>,
    compression: Option<bool>,
    delegate: Option<Arc<dyn Delegate>>,
    configure: Vec<Configure>,
}

type Configure = Box<dyn FnOnce(&mut Config) + Send>;

impl Builder {
    /// The node's name, its identity in the cluster: unique, and the same after a restart. Default: the host name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Where to listen: `host`, `host:port`, `[v6]` or `[v6]:port`. Port 0 takes a port that is free for both UDP and TCP.
    /// Default: `0.0.0.0:7946`.
    pub fn bind(mut self, addr: impl Into<String>) -> Self {
        self.bind = Some(addr.into());
        self
    }

    /// Where the others reach us, in the same forms; the port defaults to the bound one. `10.0.0.0/8` is the machine's address in that
    /// network, `eth1` that of this interface. Default: the address we listen on, or a private address of the machine if that is
    /// `0.0.0.0`.
    pub fn advertise(mut self, addr: impl Into<String>) -> Self {
        self.advertise = Some(addr.into());
        self
    }

    /// Names a network that we are on. Members that name it as well send to this address; all others, Serf's agents among
    /// them, to the one that is advertised. `addr` has the forms of [`Builder::advertise`]; `None` is the advertised address,
    /// for a node that has no other. Of several networks that we share with a member the one that was named first is
    /// used. At most [`crate::NETWORKS_MAX`]; they are announced in a tag ([`crate::NETWORKS_TAG`]).
    ///
    /// To be reached on all of them a node listens on `0.0.0.0`, or its addresses are mapped to the one it listens on.
    pub fn network(mut self, name: impl Into<String>, addr: Option<String>) -> Self {
        self.networks.push((name.into(), addr));
        self
    }

    /// Listens on this network interface: on its first address if `bind` is `0.0.0.0`, else `bind` must be one of its
    /// addresses.
    pub fn interface(mut self, name: impl Into<String>) -> Self {
        self.interface = Some(name.into());
        self
    }

    /// Adds a tag, or replaces it.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// Replaces all tags. Encoded they may have 512 bytes.
    pub fn tags(mut self, tags: Tags) -> Self {
        self.tags = tags;
        self
    }

    /// The preset to begin with. All members of a cluster should use the same. Default: [`Profile::Lan`].
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Encrypts with this key and accepts nothing else. Replaces a keyring given before.
    pub fn key(mut self, key: Key) -> Self {
        self.keyring = Keyring::new([key]);
        self
    }

    /// Encrypts with the ring's primary key and accepts all its keys. An empty ring turns encryption off, the default.
    pub fn keyring(mut self, keyring: Keyring) -> Self {
        self.keyring = keyring;
        self
    }

    /// Encrypts with the keys in this file, the first one the primary, and writes it anew whenever a member changes the cluster's
    /// keys ([`Node::install_key`]). It is a JSON array of keys in base64, as Serf has it, and must exist and hold a key. It
    /// replaces [`Builder::key`] and [`Builder::keyring`], which must not be given beside it.
    pub fn keyring_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.keyring_file = Some(path.into());
        self
    }

    /// Keeps a snapshot in this file, in Serf's format: the members that are alive, and how far we have come. Started again with it,
    /// the node looks for those members until it finds one, takes no event or query that it has seen, and is heard at once by
    /// those who hold it for dead. After a [`Node::leave`] it starts alone. The file is made if there is none. Default: none.
    ///
    /// A file that cannot be written while the node runs is told in the log, and tried again.
    pub fn snapshot_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.snapshot_path = Some(path.into());
        self
    }

    /// Whether to look for the members in the snapshot even if the node left them on purpose. Default: no.
    pub fn rejoin_after_leave(mut self, on: bool) -> Self {
        self.rejoin_after_leave = on;
        self
    }

    /// Records all that this node is told, with the time, in this file, so that a replay makes the same decisions again and shows why
    /// ([`crate::recording`], `thane sim replay`). The file is for its owner alone, and should stay so: it holds the keys, the seed of
    /// all nonces, and every message. A recording that is there already is kept, with `.1` at the end of its name. Default: none.
    ///
    /// The node never waits for the disk. If that does not keep up, or fails, or the file has reached its limit, the
    /// recording ends with a line in the log, and the node goes on. A node with a [`Builder::delegate`] cannot be recorded.
    pub fn record(mut self, path: impl Into<PathBuf>) -> Self {
        self.record = Some(path.into());
        self
    }

    /// The size in bytes at which a recording ends. Default: 256 MiB, which lasts a quiet cluster of a hundred for days.
    pub fn record_limit(mut self, bytes: u64) -> Self {
        self.record_limit = Some(bytes);
        self
    }

    /// Names to find the cluster by, in the forms of [`Node::join`]. They are tried from the start until somebody answers, and
    /// again whenever the node knows of no other live member: looked up anew each time, with pauses from 1 s to 2 min, for
    /// ever. So a node that was cut off finds a cluster that has moved meanwhile. Default: none.
    pub fn seeds<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.seeds = names.into_iter().map(|name| name.as_ref().to_owned()).collect();
        self
    }

    /// DNS servers for the names of members, instead of the system's: IP addresses, with a port if it is not 53, such as
    /// Consul's `127.0.0.1:8600`; at most 8. The first is asked first, the others if it does not help. They are not asked for names
    /// without a dot (`localhost`), and the system's hosts file and search domains do not count for the others.
    ///
    /// Default: none, which leaves host names to the system's resolver, and asks the servers in `/etc/resolv.conf` for
    /// services.
    pub fn dns_servers<I>(mut self, servers: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.dns_servers = servers.into_iter().map(|server| server.as_ref().to_owned()).collect();
        self
    }

    /// The cluster's label: packets of clusters with another one are refused. Default: none.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// The Serf protocol version to speak, 2 to 5. Default: 5.
    pub fn protocol(mut self, version: u8) -> Self {
        self.protocol = Some(version);
        self
    }

    /// Whether to compress what we send. Default: yes.
    pub fn compression(mut self, on: bool) -> Self {
        self.compression = Some(on);
        self
    }

    /// Gives the application a say: who may be in one cluster with us, who is told of a name that two claim, how long members that
    /// failed or left are remembered. (Serf: `MergeDelegate` and `ReconnectTimeoutOverride`.) Default: none.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), thane::StartError> {
    /// use std::time::Duration;
    /// use thane::{Candidate, Delegate, Member, Node, Veto};
    ///
    /// #[derive(Debug)]
    /// struct Production;
    ///
    /// impl Delegate for Production {
    ///     // Nobody merges the test cluster into this one by joining a wrong address.
    ///     fn admit_member(&self, member: &Candidate<'_>) -> Result<(), Veto> {
    ///         if member.tags().get("env").is_some_and(|env| env == "production") {
    ///             return Ok(());
    ///         }
    ///         Err(Veto::new(format!("{} is not a production member", member.name)))
    ///     }
    ///
    ///     // Spot instances do not come back.
    ///     fn forget_after(&self, member: &Member, default: Duration) -> Duration {
    ///         if member.tags().contains_key("spot") { Duration::from_secs(600) } else { default }
    ///     }
    /// }
    ///
    /// let builder = |name: &str, env: &str| Node::builder().name(name).bind("127.0.0.1:0").tag("env", env);
    /// let node = builder("db-1", "production").delegate(Production).start().await?;
    /// let test = builder("db-test", "test").start().await?;
    /// let refused = node.join([test.local_addr().to_string()]).await.unwrap_err();
    /// assert!(refused.to_string().contains("db-test is not a production member"), "{refused}");
    /// assert_eq!(node.members().await.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn delegate(mut self, delegate: impl Delegate + 'static) -> Self {
        self.delegate = Some(Arc::new(delegate));
        self
    }

    /// Changes anything else of the settings. This is applied last, in the order given, when all the rest is known.
    pub fn configure(mut self, change: impl FnOnce(&mut Config) + Send + 'static) -> Self {
        self.configure.push(Box::new(change));
        self
    }

    /// Opens the sockets and starts the node, alone in a cluster of its own. It runs on the tokio runtime that this is
    /// called in, which needs its time and I/O drivers enabled.
    ///
    /// If the future is dropped nothing is left behind.
    ///
    /// # Errors
    /// When a setting cannot be used or an address is taken; the error says which, and what to do.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn start(self) -> Result<Node, StartError> {
        // The first subscription ends here, before anybody could read from it.
        self.start_with_events().await.map(|(node, _events)| node)
    }

    /// As [`Builder::start`], with a subscription that misses nothing: it begins with the node's own join.
    ///
    /// # Errors
    /// As [`Builder::start`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn start_with_events(mut self) -> Result<(Node, Events), StartError> {
        let name = match self.name.take() {
            Some(name) => name,
            None => addr::host_name()?,
        };
        let bind =
            addr::resolve_listen(addr::BIND, self.bind.as_deref().unwrap_or("0.0.0.0"), addr::DEFAULT_PORT)
                .await?;
        let bind = match &self.interface {
            Some(interface) => advertise::on_interface(interface, bind)?,
            None => bind,
        };
        let resolver = self.resolver()?;
        self.load_keyring().await?;
        let sockets = sockets::listen(bind)?;
        let advertise = self.advertise_addr(sockets.addr).await?;
        let networks = self.resolve_networks(advertise, sockets.addr.port()).await?;
        let snapshot = self.open_snapshot().await?;
        let keyring = self.keyring_file.take();
        let (record, record_limit) = (self.record.take(), self.record_limit);
        let seeds = std::mem::take(&mut self.seeds);
        let mut config = self.config(name, advertise, networks, sockets.addr.port());
        config.persist_keyring |= keyring.is_some();
        // Before an earlier recording is moved out of the way for nothing.
        config.validate().map_err(StartError::Config)?;
        if let Some(path) = &record {
            recorder::check(path, &config)?;
        }
        let recording = open_recording(record, record_limit).await?;
        let files = Files { keyring, snapshot, recording };
        driver::start(config, seed()?, sockets, files, Names { resolver, seeds })
    }

    fn resolver(&mut self) -> Result<Resolver, StartError> {
        let given = std::mem::take(&mut self.dns_servers);
        if given.len() > SERVERS_MAX {
            let problem = format!("there are {}, and {SERVERS_MAX} is the most", given.len());
            return Err(StartError::Address {
                field: "DNS server",
                value: given[SERVERS_MAX].clone(),
                problem,
            });
        }
        let servers = given.into_iter().map(|text| {
            parse_server(&text).map_err(|problem| StartError::Address {
                field: "DNS server",
                value: text,
                problem,
            })
        });
        servers.collect::<Result<_, _>>().map(Resolver::new)
    }

    /// Takes the key ring from its file, if it has one.
    async fn load_keyring(&mut self) -> Result<(), StartError> {
        let Some(path) = self.keyring_file.clone() else { return Ok(()) };
        if !self.keyring.is_empty() {
            let problem = "Encryption key not allowed while using a keyring".to_owned();
            return Err(StartError::KeyringFile { path, problem });
        }
        self.keyring = blocking(move || keyring_file::load(&path)).await?;
        Ok(())
    }

    async fn open_snapshot(&mut self) -> Result<Option<snapshot::Opened>, StartError> {
        let Some(path) = self.snapshot_path.take() else { return Ok(None) };
        let rejoin_after_leave = self.rejoin_after_leave;
        blocking(move || snapshot::open(path, rejoin_after_leave)).await.map(Some)
    }

    /// The address to announce, given the one we listen on.
    async fn advertise_addr(&self, listening: SocketAddr) -> Result<SocketAddr, StartError> {
        match &self.advertise {
            Some(text) => addr::resolve_listen("advertise", text, listening.port()).await,
            None => Ok(SocketAddr::new(advertise::ip_for(listening.ip())?, listening.port())),
        }
    }

    async fn resolve_networks(&self, advertise: SocketAddr, port: u16) -> Result<Vec<Network>, StartError> {
        let mut networks = Vec::with_capacity(self.networks.len());
        for (name, addr) in &self.networks {
            let addr = match addr {
                Some(text) => addr::resolve_listen("network", text, port).await?,
                None => advertise,
            };
            networks.push(Network { name: name.clone(), addr });
        }
        Ok(networks)
    }

    fn config(self, name: String, advertise: SocketAddr, networks: Vec<Network>, bind_port: u16) -> Config {
        let preset = match self.profile {
            Profile::Lan => Config::lan,
            Profile::Wan => Config::wan,
            Profile::Local => Config::local,
        };
        let mut config = preset(name, advertise);
        config.networks = networks;
        config.bind_port = bind_port;
        config.tags = self.tags;
        config.keyring = self.keyring;
        config.label = self.label;
        config.protocol = self.protocol.unwrap_or(config.protocol);
        config.compression = self.compression.unwrap_or(config.compression);
        config.delegate = self.delegate;
        for change in self.configure {
            change(&mut config);
        }
        config
    }
}

async fn open_recording(
    path: Option<PathBuf>,
    limit: Option<u64>,
) -> Result<Option<recorder::Opened>, StartError> {
    let Some(path) = path else { return Ok(None) };
    let limit = limit.unwrap_or(recorder::LIMIT_DEFAULT);
    blocking(move || recorder::open(path, limit)).await.map(Some)
}

/// Does file work where it holds nobody up.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only the end of the runtime cancels it, and then nobody polls this any more.
            Err(_cancelled) => std::future::pending().await,
        },
    }
}

fn seed() -> Result<Seed, StartError> {
    let mut bytes = [0; 32];
    // The library's error says nothing but that it is one.
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_unspecified| StartError::NoRandomness)?;
    Ok(Seed(bytes))
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("bind", &self.bind)
            .field("advertise", &self.advertise)
            .field("interface", &self.interface)
            .field("networks", &self.networks)
            .field("tags", &self.tags)
            .field("profile", &self.profile)
            .field("keyring", &self.keyring)
            .field("keyring_file", &self.keyring_file)
            .field("snapshot_path", &self.snapshot_path)
            .field("rejoin_after_leave", &self.rejoin_after_leave)
            .field("record", &self.record)
            .field("record_limit", &self.record_limit)
            .field("seeds", &self.seeds)
            .field("dns_servers", &self.dns_servers)
            .field("label", &self.label)
            .field("protocol", &self.protocol)
            .field("compression", &self.compression)
            .field("delegate", &self.delegate)
            .finish_non_exhaustive()
    }
}
