//! Settings of a node, their presets and their limits.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thane_wire::keyring::Keyring;
use thane_wire::limits;
use thane_wire::tags::{self, Tags};
use thiserror::Error;

use crate::delegate::Delegate;
use crate::detector::Detector;
use crate::interner::Interner;
use crate::networks::{NETWORKS_MAX, Network, announced_tags, is_reachable};

/// Everything a [`crate::Node`] is told before it starts. Begin with a preset ([`Config::lan`], [`Config::wan`],
/// [`Config::local`]) and change what you must; [`crate::Node::new`] checks the whole and reports all problems together.
///
/// The presets are memberlist's and Serf's; the comment of each field gives LAN / WAN / local where they differ.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own in Serf's configuration too")]
pub struct Config {
    /// The member's name, its identity in the cluster. Not empty; at most [`NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// The address that other members are told to use. Its IP must not be unspecified.
    pub advertise: SocketAddr,
    /// The networks that we are on, with our address on each; those that we would rather use first. At most [`NETWORKS_MAX`]. Members that
    /// name one of them are sent to at their address on it, the others at the address that they advertise. None by default.
    pub networks: Vec<Network>,
    /// The port we listen on. It stands in for the port in messages of peers that speak protocol 1.
    pub bind_port: u16,
    /// Our tags; encoded at most 512 bytes.
    pub tags: Tags,
    /// Serf protocol version spoken, 2 to 5. Below 3 only the tag `role` travels.
    pub protocol: u8,

    /// Label of the cluster, empty for none; at most 255 bytes. Peers with another label are refused.
    pub label: String,
    /// For proxies that strip labels. Default false.
    pub skip_inbound_label_check: bool,
    /// Keys; an empty ring turns encryption off.
    pub keyring: Keyring,
    /// Refuse plaintext while there are keys. Default true; false while encryption is being introduced.
    pub verify_incoming: bool,
    /// Encrypt while there are keys. Default true; false in the first stage of introducing encryption.
    pub verify_outgoing: bool,
    /// Compress what we send. Default true.
    pub compression: bool,

    /// How long a stream may take: to connect, to deliver its request, to deliver its reply. 10 s / 30 s / 1 s.
    pub tcp_timeout: Duration,
    /// How many members are asked to probe for us when a direct probe gets no answer. 3 / 3 / 1.
    pub indirect_checks: usize,
    /// A broadcast is sent `retransmit_mult × ceil(log10(n + 1))` times. More spreads surer and costs bytes. 4 / 4 / 2.
    pub retransmit_mult: u32,
    /// The shortest suspicion is `suspicion_mult × log10(n) × probe_interval`. More gives an accused member longer to
    /// speak up, and a dead one longer to be found. 4 / 6 / 3.
    pub suspicion_mult: u32,
    /// The longest suspicion, as a multiple of the shortest; it shrinks as others confirm (Lifeguard). 6.
    pub suspicion_max_timeout_mult: u32,
    /// Time between full exchanges with a random member, stretched in clusters over 32. Zero turns them off. 30 s / 60 s / 15 s.
    pub push_pull_interval: Duration,
    /// Time between probes. Zero turns failure detection off. 1 s / 5 s / 1 s.
    pub probe_interval: Duration,
    /// How long a direct ping may take before others are asked. Less than the interval. 500 ms / 3 s / 200 ms.
    pub probe_timeout: Duration,
    /// Try a ping over TCP when a probe fails, against networks that lose only UDP. Default true.
    pub tcp_pings: bool,
    /// By which rules others are taken for failed. Default [`Detector::thane`].
    pub detector: Detector,
    /// One more than the worst health score (Lifeguard's local health multiplier). 8.
    pub awareness_max_multiplier: u32,
    /// How many members a gossip round goes to. 3 / 4 / 3.
    pub gossip_nodes: usize,
    /// Time between gossip rounds. Zero turns gossip off. 200 ms / 500 ms / 100 ms.
    pub gossip_interval: Duration,
    /// How long a dead member is still gossiped to, so that it may refute, and remembered by the detector. 30 s / 60 s / 15 s.
    pub gossip_to_the_dead_time: Duration,
    /// After how long a dead member's name may be taken over from another address. Zero: never while remembered.
    pub dead_node_reclaim_time: Duration,
    /// Bytes that a packet may have before the operating system splits it. 1400.
    pub udp_buffer_size: usize,

    /// How long leave, force-leave and a tag update wait for their message to have been sent out. 5 s.
    pub broadcast_timeout: Duration,
    /// How long a leaving member stays to let its leave spread. 1 s.
    pub leave_propagate_delay: Duration,
    /// Time between passes of the reaper. 15 s.
    pub reap_interval: Duration,
    /// Time between attempts to reach a failed member. 30 s.
    pub reconnect_interval: Duration,
    /// How long a failed member is remembered and tried. 24 h.
    pub reconnect_timeout: Duration,
    /// How long a member that left is remembered. 24 h.
    pub tombstone_timeout: Duration,
    /// A member that comes back within this time counts as flapping. 60 s.
    pub flap_timeout: Duration,
    /// How long an intent about an unknown member is kept. 5 min.
    pub recent_intent_timeout: Duration,
    /// How many Lamport times of user events are remembered against repetition. 512.
    pub event_buffer_size: usize,
    /// How many Lamport times of queries are remembered against repetition. 512.
    pub query_buffer_size: usize,
    /// A query lives `gossip_interval × query_timeout_mult × ceil(log10(n + 1))`. 16.
    pub query_timeout_mult: u32,
    /// Largest encoded query, in bytes. 1024.
    pub query_size_limit: usize,
    /// Largest encoded query response, in bytes. 1024.
    pub query_response_size_limit: usize,
    /// Largest encoded user event, in bytes; at most [`USER_EVENT_BYTES_MAX`]. 512.
    pub user_event_size_limit: usize,
    /// Time between checks of the queues' depth. 30 s.
    pub queue_check_interval: Duration,
    /// Depth of a Serf queue at which a notice is given. 128.
    pub queue_depth_warning: usize,
    /// Depth over which a Serf queue loses its most transmitted messages. 4096.
    pub max_queue_depth: usize,
    /// When over zero, the limit is `max(min_queue_depth, 2 × members)` instead. 0.
    pub min_queue_depth: usize,
    /// Write the key ring after each change that a member asks for, before it is answered. Default false.
    pub persist_keyring: bool,
    /// Vote with the cluster when another node claims our name, and stop if we lose. Default true.
    pub name_conflict_resolution: bool,
    /// Learn our place in the network from probes, and tell it in acks: 130 bytes each. Default true.
    pub coordinates: bool,
    /// The application's say in who is admitted and how long the gone are remembered. Default none.
    pub delegate: Option<Arc<dyn Delegate>>,
    /// Where several nodes of one process keep what members announce, once for all. It shows in memory only. Default none.
    pub interner: Option<Interner>,
}

/// Largest user event limit that may be configured, in bytes. (Serf: `serf.go`, `UserEventSizeLimit`.)
pub const USER_EVENT_BYTES_MAX: usize = 9216;
/// The longest span of time in the settings, about 292 years: what Serf's own can hold. Products of spans and factors stay
/// far below what a [`Duration`] holds.
const SPAN_MAX: Duration = Duration::from_nanos(i64::MAX as u64);
/// The most that a multiplier, or a number of members to turn to at once, may be.
const FACTOR_MAX: u64 = 10_000;
/// Longest name, in bytes: it must fit several times into one packet.
pub const NAME_BYTES_MAX: usize = 255;

impl Config {
    /// Settings for one data centre: memberlist's LAN profile and Serf's defaults.
    pub fn lan(name: impl Into<String>, advertise: SocketAddr) -> Self {
        Self {
            name: name.into(),
            advertise,
            networks: Vec::new(),
            bind_port: advertise.port(),
            tags: Tags::new(),
            protocol: 5,
            label: String::new(),
            skip_inbound_label_check: false,
            keyring: Keyring::default(),
            verify_incoming: true,
            verify_outgoing: true,
            compression: true,
            tcp_timeout: Duration::from_secs(10),
            indirect_checks: 3,
            retransmit_mult: 4,
            suspicion_mult: 4,
            suspicion_max_timeout_mult: 6,
            push_pull_interval: Duration::from_secs(30),
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            tcp_pings: true,
            detector: Detector::thane(),
            awareness_max_multiplier: 8,
            gossip_nodes: 3,
            gossip_interval: Duration::from_millis(200),
            gossip_to_the_dead_time: Duration::from_secs(30),
            dead_node_reclaim_time: Duration::ZERO,
            udp_buffer_size: 1400,
            broadcast_timeout: Duration::from_secs(5),
            leave_propagate_delay: Duration::from_secs(1),
            reap_interval: Duration::from_secs(15),
            reconnect_interval: Duration::from_secs(30),
            reconnect_timeout: Duration::from_secs(24 * 3600),
            tombstone_timeout: Duration::from_secs(24 * 3600),
            flap_timeout: Duration::from_secs(60),
            recent_intent_timeout: Duration::from_secs(300),
            event_buffer_size: 512,
            query_buffer_size: 512,
            query_timeout_mult: 16,
            query_size_limit: 1024,
            query_response_size_limit: 1024,
            user_event_size_limit: 512,
            queue_check_interval: Duration::from_secs(30),
            queue_depth_warning: 128,
            max_queue_depth: 4096,
            min_queue_depth: 0,
            persist_keyring: false,
            name_conflict_resolution: true,
            coordinates: true,
            delegate: None,
            interner: None,
        }
    }

    /// Settings for members far apart: memberlist's WAN profile.
    pub fn wan(name: impl Into<String>, advertise: SocketAddr) -> Self {
        Self {
            tcp_timeout: Duration::from_secs(30),
            suspicion_mult: 6,
            push_pull_interval: Duration::from_secs(60),
            probe_timeout: Duration::from_secs(3),
            probe_interval: Duration::from_secs(5),
            gossip_nodes: 4,
            gossip_interval: Duration::from_millis(500),
            gossip_to_the_dead_time: Duration::from_secs(60),
            ..Self::lan(name, advertise)
        }
    }

    /// Settings for one machine: memberlist's local profile.
    pub fn local(name: impl Into<String>, advertise: SocketAddr) -> Self {
        Self {
            tcp_timeout: Duration::from_secs(1),
            indirect_checks: 1,
            retransmit_mult: 2,
            suspicion_mult: 3,
            push_pull_interval: Duration::from_secs(15),
            probe_timeout: Duration::from_millis(200),
            probe_interval: Duration::from_secs(1),
            gossip_interval: Duration::from_millis(100),
            gossip_to_the_dead_time: Duration::from_secs(15),
            ..Self::lan(name, advertise)
        }
    }

    /// Checks the whole and reports every problem.
    ///
    /// # Errors
    /// One [`ConfigError`] a problem.
    pub fn validate(&self) -> Result<(), Vec<ConfigError>> {
        let mut wrong = Vec::new();
        let mut check = |ok: bool, field: &'static str, value: String, rule: &'static str| {
            if !ok {
                wrong.push(ConfigError { field, value, rule });
            }
        };
        let name = &self.name;
        check(
            (1..=NAME_BYTES_MAX).contains(&name.len()),
            "name",
            format!("{} bytes", name.len()),
            "must have 1 to 255 bytes",
        );
        check(
            !name.chars().any(char::is_control),
            "name",
            format!("{name:?}"),
            "must not contain control characters",
        );
        let advertise = self.advertise;
        check(
            !advertise.ip().is_unspecified() && advertise.port() != 0,
            "advertise",
            advertise.to_string(),
            "must name an address and a port that others can reach",
        );
        self.check_networks(&mut check);
        let encoded = self.encode_meta(&self.tags).len();
        check(
            encoded <= limits::META_BYTES_MAX,
            "tags",
            format!("{encoded} bytes encoded"),
            "must have at most 512 bytes encoded",
        );
        check(
            (2..=5).contains(&self.protocol),
            "protocol",
            self.protocol.to_string(),
            "must be in the range 2 to 5",
        );
        check(
            self.label.len() <= limits::LABEL_BYTES_MAX,
            "label",
            format!("{} bytes", self.label.len()),
            "must have at most 255 bytes",
        );
        check(
            self.user_event_size_limit <= USER_EVENT_BYTES_MAX,
            "user_event_size_limit",
            self.user_event_size_limit.to_string(),
            "must be at most 9216 bytes",
        );
        let at_least_one: [(&'static str, u64); 8] = [
            ("retransmit_mult", self.retransmit_mult.into()),
            ("suspicion_mult", self.suspicion_mult.into()),
            ("suspicion_max_timeout_mult", self.suspicion_max_timeout_mult.into()),
            ("awareness_max_multiplier", self.awareness_max_multiplier.into()),
            ("event_buffer_size", self.event_buffer_size as u64),
            ("query_buffer_size", self.query_buffer_size as u64),
            ("query_timeout_mult", self.query_timeout_mult.into()),
            ("max_queue_depth", self.max_queue_depth as u64),
        ];
        for (field, value) in at_least_one {
            check(value >= 1, field, value.to_string(), "must be at least 1");
        }
        for (field, value) in self.factors() {
            check(value <= FACTOR_MAX, field, value.to_string(), "must be at most 10000");
        }
        check(
            (512..=65_000).contains(&self.udp_buffer_size),
            "udp_buffer_size",
            self.udp_buffer_size.to_string(),
            "must be 512 to 65000 bytes",
        );
        check(
            self.probe_interval.is_zero() || self.probe_timeout <= self.probe_interval,
            "probe_timeout",
            format!("{:?}", self.probe_timeout),
            "must not be longer than probe_interval",
        );
        for (field, span) in [
            ("tcp_timeout", self.tcp_timeout),
            ("reap_interval", self.reap_interval),
            ("reconnect_interval", self.reconnect_interval),
            ("queue_check_interval", self.queue_check_interval),
        ] {
            check(!span.is_zero(), field, format!("{span:?}"), "must be longer than zero");
        }
        for (field, span) in self.spans() {
            check(span <= SPAN_MAX, field, format!("{span:?}"), "must be at most 292 years");
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// All settings by which something else is multiplied, and numbers of members to turn to.
    fn factors(&self) -> [(&'static str, u64); 7] {
        [
            ("retransmit_mult", self.retransmit_mult.into()),
            ("suspicion_mult", self.suspicion_mult.into()),
            ("suspicion_max_timeout_mult", self.suspicion_max_timeout_mult.into()),
            ("awareness_max_multiplier", self.awareness_max_multiplier.into()),
            ("query_timeout_mult", self.query_timeout_mult.into()),
            ("indirect_checks", self.indirect_checks as u64),
            ("gossip_nodes", self.gossip_nodes as u64),
        ]
    }

    /// All settings that are spans of time.
    fn spans(&self) -> [(&'static str, Duration); 16] {
        [
            ("tcp_timeout", self.tcp_timeout),
            ("push_pull_interval", self.push_pull_interval),
            ("probe_interval", self.probe_interval),
            ("probe_timeout", self.probe_timeout),
            ("gossip_interval", self.gossip_interval),
            ("gossip_to_the_dead_time", self.gossip_to_the_dead_time),
            ("dead_node_reclaim_time", self.dead_node_reclaim_time),
            ("broadcast_timeout", self.broadcast_timeout),
            ("leave_propagate_delay", self.leave_propagate_delay),
            ("reap_interval", self.reap_interval),
            ("reconnect_interval", self.reconnect_interval),
            ("reconnect_timeout", self.reconnect_timeout),
            ("tombstone_timeout", self.tombstone_timeout),
            ("flap_timeout", self.flap_timeout),
            ("recent_intent_timeout", self.recent_intent_timeout),
            ("queue_check_interval", self.queue_check_interval),
        ]
    }

    fn check_networks(&self, check: &mut impl FnMut(bool, &'static str, String, &'static str)) {
        check(
            self.networks.len() <= NETWORKS_MAX,
            "networks",
            self.networks.len().to_string(),
            "must be at most 16",
        );
        for (i, network) in self.networks.iter().enumerate() {
            let Network { name, addr } = network;
            let is_new = self.networks[..i].iter().all(|other| other.name != *name);
            check(
                Network::is_name(name) && is_new,
                "networks",
                format!("{name:?}"),
                "must have names of 1 to 32 letters, digits, dots, dashes and underscores, each once",
            );
            check(
                is_reachable(*addr),
                "networks",
                format!("{name}={addr}"),
                "must name an address and a port that the others on the network can reach",
            );
        }
    }

    /// Node metadata for these tags. Serf protocol 2 knows only the role, without a frame.
    pub(crate) fn encode_meta(&self, own: &Tags) -> Vec<u8> {
        if self.protocol < 3 {
            own.get("role").map(|role| role.clone().into_bytes()).unwrap_or_default()
        } else {
            tags::encode(&announced_tags(own, &self.networks))
        }
    }

    /// The six version bytes that we announce: memberlist's minimum, maximum and current, then Serf's.
    pub fn version_bytes(&self) -> [u8; 6] {
        [1, 5, 2, 2, 5, self.protocol]
    }
}

/// One setting that cannot be used, always the operator's to mend.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field} is {value}, but it {rule}")]
pub struct ConfigError {
    /// The field of [`Config`].
    pub field: &'static str,
    /// What it holds.
    pub value: String,
    /// What it must hold, as the end of a sentence.
    pub rule: &'static str,
}
