//! What the agent was asked to be: the flags and files, checked. (Serf: `config.go` and `command.go`, readConfig and
//! setupAgent.)
//!
//! [`Settings::read`] is what a start and a reload have in common. [`Settings::place`] is what only a start needs:
//! addresses, which have to be looked up, and keys.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use thane::{Detector, NAME_BYTES_MAX, NETWORKS_MAX, Network, Profile, Tags, USER_EVENT_BYTES_MAX};

use super::config::{self, Layer};
use super::tags_file::TagsFile;
use super::{address, base64_key, host};
use crate::goflags::{FlagSet, GoDuration, Parsed};
use crate::handlers::HandlerSpec;
use crate::hostport;
use crate::metrics::MetricsConfig;

/// Least interval between two attempts to join, and least time that a broadcast is given.
const DURATION_MIN: Duration = Duration::from_secs(1);

/// Longest name that `validate_node_names` lets pass, in bytes. (Serf: `serf.go`, `MaxNodeNameLength`.)
const VALID_NAME_BYTES_MAX: usize = 128;

/// What the agent was asked to be.
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own, as operators know it")]
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    /// `None` for the host name.
    pub(super) node_name: Option<String>,
    bind: String,
    interface: Option<String>,
    advertise: Option<String>,
    /// Name and address, if it is not the advertised one. The node resolves them: their port is the one that it listens on.
    pub(super) networks: Vec<(String, Option<String>)>,
    encrypt_key: Option<String>,
    profile: String,
    pub(super) keyring_file: Option<PathBuf>,
    pub(super) snapshot_path: Option<PathBuf>,
    pub(super) rejoin_after_leave: bool,
    /// Where to record, and the size in bytes at which that ends, if it is not the default.
    pub(super) record: Option<(PathBuf, Option<u64>)>,
    pub(super) handlers: Vec<HandlerSpec>,
    /// Longest run of a handler's script; `None` for no limit.
    pub(super) handler_timeout: Option<Duration>,
    pub(super) start_join: Vec<String>,
    pub(super) retry_join: Vec<String>,
    pub(super) dns_servers: Vec<String>,
    pub(super) replay_on_join: bool,
    pub(super) retry_interval: Duration,
    /// Attempts beyond the first one; 0 for no limit.
    pub(super) retry_max: u64,
    /// As given: it is checked after the warnings.
    pub(super) log_level: String,
    /// The facility, if the system's log is to have the lines as well.
    pub(super) syslog: Option<String>,
    pub(super) protocol: i64,
    pub(super) tags: Tags,
    pub(super) tags_file: Option<TagsFile>,
    pub(super) rpc_addr: String,
    pub(super) rpc_auth: Option<String>,
    pub(super) compression: bool,
    pub(super) broadcast_timeout: Duration,
    pub(super) leave_on_terminate: bool,
    pub(super) skip_leave_on_interrupt: bool,
    pub(super) discovery: Option<Discovery>,
    pub(super) tuning: Tuning,
    pub(super) statsite_addr: Option<String>,
    pub(super) statsd_addr: Option<String>,
    pub(super) metrics_addr: Option<String>,
    config: Layer,
    /// To be shown before the agent starts, and on each reload.
    pub(super) warnings: Vec<String>,
}

/// Settings that the node takes as they are; `None` for its defaults.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Tuning {
    pub(super) detector: Detector,
    pub(super) reconnect_interval: Option<Duration>,
    pub(super) reconnect_timeout: Option<Duration>,
    pub(super) tombstone_timeout: Option<Duration>,
    pub(super) user_event_size_limit: Option<usize>,
    pub(super) query_size_limit: Option<usize>,
    pub(super) query_response_size_limit: Option<usize>,
    pub(super) disable_name_resolution: bool,
    pub(super) disable_coordinates: bool,
}

/// Multicast DNS.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Discovery {
    /// The cluster's name.
    pub(super) cluster: String,
    /// The interface to use, if not the system's choice.
    pub(super) interface: Option<String>,
    pub(super) disable_ipv4: bool,
    pub(super) disable_ipv6: bool,
}

/// Where the agent listens, what it announces, and how it speaks.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) bind: SocketAddr,
    /// The interface that chose the address in `bind`.
    pub(super) interface: Option<String>,
    pub(super) advertise: Option<SocketAddr>,
    /// As given: base64, decoded. Its size is checked when the node starts, where Serf checks it.
    pub(super) encrypt_key: Option<Vec<u8>>,
    pub(super) profile: Profile,
    /// For the log, once there is one.
    pub(super) warning: Option<String>,
}

/// The flags of `thane agent`.
pub(crate) fn flags() -> FlagSet {
    let set = FlagSet::new(
        "agent",
        "agent [flags]",
        "Runs an agent: a member of a cluster that answers the other commands. It runs\n\
         until it is interrupted, and then leaves the cluster. A hangup (HUP) makes it\n\
         read its files again.",
    );
    config::add_flags(set)
        .example("thane agent -node=web-1 -bind=10.0.0.1 -join=10.0.0.2 -tag role=web")
        .example("thane agent -event-handler='member-failed=./page-somebody.sh'")
        .example("thane agent -config-dir=/etc/serf.d")
}

impl Settings {
    /// Reads flags and files and checks what they say, in Serf's order.
    ///
    /// # Errors
    /// The first problem, as it is to be shown.
    pub(super) fn read(given: &Parsed) -> Result<Self, String> {
        let config = config::read(given)?;
        let handlers = config.list("event_handlers").iter().map(|spec| HandlerSpec::parse(spec));
        let handlers = handlers.collect::<Result<_, _>>().map_err(|invalid| invalid.to_string())?;
        let discovery = discovery(&config)?;

        let mut warnings = Vec::new();
        let mut tags = config.map("tags");
        if let Some(role) = config.text("role") {
            warnings.push("Deprecation warning: 'Role' has been replaced with 'Tags'".to_owned());
            tags.insert("role".to_owned(), role.to_owned());
        }
        let mut raised = |key: &str, serfs_name: &str| {
            let (duration, is_low) = at_least_the_minimum(config.duration(key).unwrap_or_default());
            if is_low {
                warnings.push(format!("Warning: '{serfs_name}' is too low. Setting to 1s"));
            }
            duration
        };
        let retry_interval = raised("retry_interval", "RetryInterval");
        let broadcast_timeout = raised("broadcast_timeout", "BroadcastTimeout");
        let snapshot_path = config.text("snapshot_path").map(PathBuf::from);
        let rejoin_after_leave = config.bool("rejoin_after_leave");
        if rejoin_after_leave && snapshot_path.is_none() {
            warnings.push("Warning: 'RejoinAfterLeave' enabled without snapshot file".to_owned());
        }
        // Serf ignores them without a word, and whoever forgot a dash wonders why.
        if let Some(first) = given.args().first() {
            warnings
                .push(format!("Warning: ignoring '{first}' and what follows: the agent takes only flags"));
        }
        let node_name = owned(config.text("node_name"));
        if config.bool("validate_node_names") {
            validate_name(node_name.as_deref())?;
        }
        let facility = config.text("syslog_facility").unwrap_or_default();
        Ok(Self {
            node_name,
            bind: config.text("bind").unwrap_or_default().to_owned(),
            interface: owned(config.text("interface")),
            advertise: owned(config.text("advertise")),
            networks: networks(config.list("advertise_networks"))?,
            encrypt_key: owned(config.text("encrypt_key")),
            profile: config.text("profile").unwrap_or_default().to_owned(),
            keyring_file: config.text("keyring_file").map(PathBuf::from),
            snapshot_path,
            rejoin_after_leave,
            record: config.text("record").map(|path| (PathBuf::from(path), record_limit(&config))),
            handlers,
            handler_timeout: span(&config, "event_handler_timeout")?.filter(|limit| !limit.is_zero()),
            start_join: config.list("start_join").to_vec(),
            retry_join: config.list("retry_join").to_vec(),
            dns_servers: config.list("dns_servers").to_vec(),
            replay_on_join: config.bool("replay_on_join"),
            retry_interval,
            retry_max: u64::try_from(config.int("retry_max_attempts")).unwrap_or(0),
            log_level: config.text("log_level").unwrap_or_default().to_owned(),
            syslog: config.bool("enable_syslog").then(|| facility.to_owned()),
            protocol: config.int("protocol"),
            tags,
            tags_file: config.text("tags_file").map(TagsFile::new),
            rpc_addr: config.text("rpc_addr").unwrap_or_default().to_owned(),
            rpc_auth: owned(config.text("rpc_auth")),
            compression: config.bool("enable_compression"),
            broadcast_timeout,
            leave_on_terminate: config.bool("leave_on_terminate"),
            skip_leave_on_interrupt: config.bool("skip_leave_on_interrupt"),
            discovery,
            tuning: tuning(&config)?,
            statsite_addr: owned(config.text("statsite_addr")),
            statsd_addr: owned(config.text("statsd_addr")),
            metrics_addr: owned(config.text("metrics_addr")),
            warnings,
            config,
        })
    }

    /// Finds addresses and reads what follows them in Serf's order.
    ///
    /// # Errors
    /// The first problem, as it is to be shown.
    pub(super) async fn place(&self) -> Result<Place, String> {
        let bind = address::resolve(&self.bind).await.map_err(|reason| {
            format!("Invalid bind address: {reason}; write -bind=HOST:PORT with an address of this machine")
        })?;
        let (bind, interface) = match &self.interface {
            None => (bind, None),
            Some(interface) => {
                let (bind, chose) = address::on_interface(interface, bind)?;
                (bind, chose.then(|| interface.clone()))
            }
        };
        let advertise = match &self.advertise {
            None => None,
            Some(text) => {
                let resolved = address::resolve_own(text).await;
                Some(resolved.map_err(|reason| {
                    format!(
                        "Invalid advertise address: {reason}; write -advertise=HOST:PORT with an address at which \
                         the other members reach this one"
                    )
                })?)
            }
        };
        let encrypt_key = match &self.encrypt_key {
            None => None,
            Some(text) => {
                let key = base64_key::decode(text);
                Some(key.map_err(|reason| {
                    format!("Invalid encryption key: {reason}; make a key for -encrypt with 'thane keygen'")
                })?)
            }
        };
        let warning = advertise.and_then(|advertise| self.port_warning(bind, advertise));
        Ok(Place { bind, interface, advertise, encrypt_key, profile: read_profile(&self.profile)?, warning })
    }

    /// An address to advertise gets Serf's port, not the one listened on, which is seldom what was meant.
    fn port_warning(&self, bind: SocketAddr, advertise: SocketAddr) -> Option<String> {
        let (_host, port) = hostport::split(self.advertise.as_deref()?).ok()?;
        (port.is_none() && bind.port() != advertise.port()).then(|| {
            format!(
                "the others are told to use port {}, while this agent listens on {}: write -advertise={} if that is \
                 not meant",
                advertise.port(),
                bind.port(),
                SocketAddr::new(advertise.ip(), bind.port())
            )
        })
    }

    /// The profile's name, for the banner.
    pub(super) fn profile_name(&self) -> &str {
        &self.profile
    }

    /// The name of the detector's rules if they are not the default, for the banner.
    pub(super) fn other_detector(&self) -> Option<&str> {
        self.config.text("detector").filter(|_| self.tuning.detector != Detector::default())
    }

    /// Where metrics go.
    pub(super) fn metrics(&self) -> MetricsConfig {
        MetricsConfig {
            host: host::name(),
            statsd_addr: self.statsd_addr.clone(),
            statsite_addr: self.statsite_addr.clone(),
            metrics_addr: self.metrics_addr.clone(),
        }
    }

    /// Whether an address to announce was given.
    pub(super) fn is_advertised(&self) -> bool {
        self.advertise.is_some()
    }

    /// Whether a key was given, other than in a key ring file.
    pub(super) fn is_keyed(&self) -> bool {
        self.encrypt_key.is_some()
    }

    /// Keys whose values differ in `new`, but that a reload does not change.
    pub(super) fn changed_for_later(&self, new: &Self) -> Vec<&'static str> {
        self.config.changed_for_later(&new.config)
    }

    /// Whether traffic is encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        self.encrypt_key.is_some() || self.keyring_file.is_some()
    }
}

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

/// Bytes, from MiB; `None` for the default.
fn record_limit(config: &Layer) -> Option<u64> {
    let limit = u64::try_from(config.int("record_limit")).ok()?;
    (limit > 0).then(|| limit.saturating_mul(1 << 20))
}

fn discovery(config: &Layer) -> Result<Option<Discovery>, String> {
    let interface = owned(config.text("mdns.interface"));
    let (disable_ipv4, disable_ipv6) = (config.bool("mdns.disable_ipv4"), config.bool("mdns.disable_ipv6"));
    let Some(cluster) = config.text("discover") else {
        return match interface {
            Some(_) => Err(
                "mDNS interface specified without enabling mDNS discovery; name the cluster with -discover, \
                            or leave -mdns-iface out"
                    .to_owned(),
            ),
            None => Ok(None),
        };
    };
    if let Some(interface) = &interface {
        address::check_interface(interface)
            .map_err(|reason| format!("Invalid mDNS network interface: {reason}"))?;
    }
    if disable_ipv4 && disable_ipv6 {
        return Err("Invalid mDNS configuration: both IPv4 and IPv6 are disabled; leave one of -mdns-disable-ipv4 and \
                    -mdns-disable-ipv6 out, or -discover"
            .to_owned());
    }
    // Without an interface of its own it is on the one that the agent listens on.
    let interface = interface.or_else(|| owned(config.text("interface")));
    Ok(Some(Discovery { cluster: cluster.to_owned(), interface, disable_ipv4, disable_ipv6 }))
}

fn networks(given: &[String]) -> Result<Vec<(String, Option<String>)>, String> {
    let mut networks: Vec<(String, Option<String>)> = Vec::new();
    for text in given {
        let (name, addr) = match text.split_once('=') {
            Some((name, addr)) => (name, Some(addr.to_owned())),
            None => (text.as_str(), None),
        };
        if !Network::is_name(name) || addr.as_deref() == Some("") {
            return Err(format!(
                "Invalid network: '{text}'; write -advertise-network=NAME=ADDRESS, with a name of letters, digits, '.', '-' \
                 and '_'"
            ));
        }
        if networks.iter().any(|(other, _addr)| other == name) {
            return Err(format!("Invalid network: '{name}' is named twice; a node has one address on each"));
        }
        networks.push((name.to_owned(), addr));
    }
    if networks.len() > NETWORKS_MAX {
        return Err(format!("Invalid networks: {} are too many; at most {NETWORKS_MAX}", networks.len()));
    }
    Ok(networks)
}

/// A time that is not negative; `None` if it was not given.
fn span(config: &Layer, key: &str) -> Result<Option<Duration>, String> {
    match config.duration(key) {
        None => Ok(None),
        Some(duration) => duration
            .to_std()
            .map(Some)
            .ok_or_else(|| format!("Invalid {key}: {duration} is negative; write a time such as 30s or 24h")),
    }
}

fn tuning(config: &Layer) -> Result<Tuning, String> {
    // Serf would take a negative one, and forget members at once, or never pause.
    let span = |key: &str| span(config, key);
    let size = |key: &str| match config.int(key) {
        0 => Ok(None),
        number => usize::try_from(number)
            .map(Some)
            .map_err(|_negative| format!("Invalid {key}: {number} is negative; write a number of bytes")),
    };
    let detector = config.text("detector").unwrap_or_default();
    let detector = detector.parse().map_err(|unknown| format!("Invalid detector: {unknown} (-detector)"))?;
    Ok(Tuning {
        detector,
        reconnect_interval: span("reconnect_interval")?,
        reconnect_timeout: span("reconnect_timeout")?,
        tombstone_timeout: span("tombstone_timeout")?,
        user_event_size_limit: size("user_event_size_limit")?,
        query_size_limit: size("query_size_limit")?,
        query_response_size_limit: size("query_response_size_limit")?,
        disable_name_resolution: config.bool("disable_name_resolution"),
        disable_coordinates: config.bool("disable_coordinates"),
    })
}

impl Tuning {
    /// Whether the node can have these.
    ///
    /// # Errors
    /// In Serf's words.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.user_event_size_limit.is_some_and(|limit| limit > USER_EVENT_BYTES_MAX) {
            return Err(format!(
                "user event size limit exceeds limit of {USER_EVENT_BYTES_MAX} bytes; lower user_event_size_limit"
            ));
        }
        Ok(())
    }

    /// Sets what was given.
    pub(super) fn apply(&self, config: &mut thane::Config) {
        fn set<T: Copy>(field: &mut T, given: Option<T>) {
            *field = given.unwrap_or(*field);
        }
        set(&mut config.reconnect_interval, self.reconnect_interval);
        set(&mut config.reconnect_timeout, self.reconnect_timeout);
        set(&mut config.tombstone_timeout, self.tombstone_timeout);
        set(&mut config.user_event_size_limit, self.user_event_size_limit);
        set(&mut config.query_size_limit, self.query_size_limit);
        set(&mut config.query_response_size_limit, self.query_response_size_limit);
        config.detector = self.detector;
        config.name_conflict_resolution = !self.disable_name_resolution;
        config.coordinates = !self.disable_coordinates;
    }
}

/// A name that `validate_node_names` lets pass has letters, digits, dashes and dots, and is not too long. (Serf:
/// `serf.go`, `ValidateNodeName`; its agent accepts the key and does not look.) The host name is what it is.
fn validate_name(name: Option<&str>) -> Result<(), String> {
    const { assert!(VALID_NAME_BYTES_MAX <= NAME_BYTES_MAX, "a valid name is one that can be announced") }
    let Some(name) = name else { return Ok(()) };
    if name.len() > VALID_NAME_BYTES_MAX {
        return Err(format!(
            "Invalid node name: '{name}' has {} characters. Valid length is between 1 and {VALID_NAME_BYTES_MAX}; choose \
             another -node, or leave out validate_node_names",
            name.len()
        ));
    }
    if name.chars().any(|character| !(character.is_ascii_alphanumeric() || matches!(character, '-' | '.'))) {
        return Err(format!(
            "Invalid node name: '{name}' contains invalid characters: only letters, digits, '-' and '.' are valid; \
             choose another -node, or leave out validate_node_names"
        ));
    }
    Ok(())
}

fn read_profile(name: &str) -> Result<Profile, String> {
    match name {
        "lan" => Ok(Profile::Lan),
        "wan" => Ok(Profile::Wan),
        "local" => Ok(Profile::Local),
        other => Err(format!("Unknown profile: {other}; -profile is lan, wan or local")),
    }
}

/// The duration, or [`DURATION_MIN`] if it is less than that or negative. The second value says that it had to be raised.
fn at_least_the_minimum(duration: GoDuration) -> (Duration, bool) {
    match duration.to_std() {
        Some(long_enough) if long_enough >= DURATION_MIN => (long_enough, false),
        Some(_) | None => (DURATION_MIN, true),
    }
}

#[cfg(test)]
mod tests;
