//! Every key of a configuration file: its type and merge rule, its flag, its default and what it does. Flags, their
//! help and the reading of files all follow this one table. (Serf: `config.go`, type `Config`, and `MergeConfig`.)

/// The type of a key, which also says how a later source changes what an earlier one said. Nothing empty, zero or `null`
/// changes anything; a later value replaces an earlier one unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text.
    Text,
    /// A text that nobody should see: messages leave it out.
    Secret,
    /// A boolean that can be turned on, and never off again.
    Bool,
    /// A boolean that the last one decides who mentions it.
    Switch,
    /// A whole number.
    Int,
    /// A whole number; negative ones are ignored like zero.
    PositiveInt,
    /// A time span in Go's syntax.
    Duration,
    /// Texts; those of later sources follow those of earlier ones.
    List,
    /// Texts by name; of two for one name the later one counts.
    Map,
    /// A boolean that Serf takes and does nothing with; neither do we.
    Ignored,
}

/// How a flag gives the value of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As the key has it.
    Same,
    /// The opposite of it.
    Opposite,
    /// As `KEY=VALUE`, once for each pair.
    Pairs,
}

/// The flag of a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) form: Form,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// Its name, that of its group before a dot.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) flag: Option<Flag>,
    /// As one would write it; empty for none.
    pub(super) default: &'static str,
    /// Whether a reload changes it in a running agent.
    pub(super) reloads: bool,
    pub(super) help: &'static str,
}

impl Key {
    const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, kind, flag: None, default: "", reloads: false, help }
    }

    const fn flag(mut self, name: &'static str) -> Self {
        self.flag = Some(Flag { name, form: Form::Same });
        self
    }

    const fn flag_as(mut self, name: &'static str, form: Form) -> Self {
        self.flag = Some(Flag { name, form });
        self
    }

    const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    const fn reloads(mut self) -> Self {
        self.reloads = true;
        self
    }
}

/// The key of this name.
///
/// # Panics
/// If there is none: the name is a constant of this program.
pub(super) fn key(name: &str) -> &'static Key {
    KEYS.iter().find(|key| key.name == name).unwrap_or_else(|| panic!("no key {name} is defined"))
}

/// All keys, in the order of the help.
pub(super) const KEYS: &[Key] = &[
    Key::new("node_name", Kind::Text, "Name of this node, unique in the cluster; the host name unless given.")
        .flag("node"),
    Key::new("bind", Kind::Text, "Address to listen on, HOST or HOST:PORT; the port is 7946 unless given.")
        .flag("bind")
        .default("0.0.0.0"),
    Key::new("interface", Kind::Text, "Network interface to listen on.").flag("iface"),
    Key::new(
        "advertise",
        Kind::Text,
        "Address that the others reach this node at, if not the one listened on; the port is 7946 unless given. Also a network \
         (10.0.0.0/8) or an interface (eth1) that this machine has an address on.",
    )
    .flag("advertise"),
    Key::new(
        "advertise_networks",
        Kind::List,
        "Network that this node is on: NAME=ADDRESS, or NAME if its address is the advertised one. Members on a network of the \
         same name use that address, the others the advertised one. Thane only.",
    )
    .flag("advertise-network"),
    Key::new("rpc_addr", Kind::Text, "Address for the commands, HOST:PORT.")
        .flag("rpc-addr")
        .default("127.0.0.1:7373"),
    Key::new("rpc_auth", Kind::Secret, "Token that the commands must present."),
    Key::new("start_join", Kind::List, "Member to join at start, by address or DNS name; without an answer the agent does not start.")
        .flag("join"),
    Key::new("retry_join", Kind::List, "Member to join, tried again and again; names are looked up anew each time.").flag("retry-join"),
    Key::new("retry_interval", Kind::Duration, "Time between two attempts to join, 1s or more.")
        .flag("retry-interval")
        .default("30s"),
    Key::new(
        "retry_max_attempts",
        Kind::Int,
        "Attempts after the first before the agent gives up; 0 for no limit.",
    )
    .flag("retry-max"),
    Key::new("replay_on_join", Kind::Bool, "Deliver user events from before the join as well.").flag("replay"),
    Key::new(
        "dns_servers",
        Kind::List,
        "DNS server for names to join, ADDR or ADDR:PORT; the system's unless given. Thane only.",
    )
    .flag("dns-server"),
    Key::new("discover", Kind::Text, "Name of a cluster to find and join by multicast DNS.").flag("discover"),
    Key::new("mdns.interface", Kind::Text, "Network interface for multicast DNS.").flag("mdns-iface"),
    Key::new("mdns.disable_ipv4", Kind::Bool, "Ask nobody by multicast DNS over IPv4.").flag("mdns-disable-ipv4"),
    Key::new("mdns.disable_ipv6", Kind::Bool, "Ask nobody by multicast DNS over IPv6.").flag("mdns-disable-ipv6"),
    Key::new("tags", Kind::Map, "Tag of this node, KEY=VALUE.").flag_as("tag", Form::Pairs).reloads(),
    Key::new("tags_file", Kind::Text, "File that keeps the tags set while the agent runs.").flag("tags-file"),
    Key::new("role", Kind::Text, "Value of the tag 'role' (old; use -tag role=VALUE).").flag("role").reloads(),
    Key::new("event_handlers", Kind::List, "Command to run on events: 'COMMAND' or 'EVENT[,EVENT...]=COMMAND'.")
        .flag("event-handler")
        .reloads(),
    Key::new(
        "event_handler_timeout",
        Kind::Duration,
        "Longest time that a handler may run before it is ended; no limit unless given. Thane only.",
    )
    .flag("event-handler-timeout")
    .reloads(),
    Key::new(
        "encrypt_key",
        Kind::Secret,
        "Key for all traffic between members: 16, 24 or 32 bytes in base64, see 'keygen'.",
    )
    .flag("encrypt"),
    Key::new("keyring_file", Kind::Text, "File with the keys, the primary one first; key changes are kept in it.")
        .flag("keyring-file"),
    Key::new("snapshot_path", Kind::Text, "File that remembers the members and what was delivered.").flag("snapshot"),
    Key::new(
        "record",
        Kind::Text,
        "File to record in all that this node is told, for 'thane sim replay'. It holds the keys. Thane only.",
    )
    .flag("record"),
    Key::new("record_limit", Kind::PositiveInt, "Size in MiB at which a recording ends (default 256). Thane only.")
        .flag("record-limit"),
    Key::new("rejoin_after_leave", Kind::Bool, "Rejoin after a leave; does nothing without -snapshot.")
        .flag("rejoin"),
    Key::new("log_level", Kind::Text, "Least level to log: TRACE, DEBUG, INFO, WARN or ERR.")
        .flag("log-level")
        .default("INFO")
        .reloads(),
    Key::new("enable_syslog", Kind::Bool, "Log to the system's log as well.").flag("syslog"),
    Key::new("syslog_facility", Kind::Text, "Facility of lines in the system's log.").default("LOCAL0"),
    Key::new("profile", Kind::Text, "Timing: 'lan', 'wan' or 'local', the same for all members.")
        .flag("profile")
        .default("lan"),
    Key::new(
        "detector",
        Kind::Text,
        "Rules by which members are taken for failed: 'thane', 'eager' (a silent machine after two seconds, and who is only paused for \
         so long as well), 'steady' (also who answers only now and then), or 'serf'. Members may differ in it. Thane only.",
    )
    .flag("detector")
    .default("thane"),
    Key::new("protocol", Kind::PositiveInt, "Serf protocol to speak, 2 to 5 (default 5).").flag("protocol"),
    Key::new("broadcast_timeout", Kind::Duration, "Time that a message to all members is given, 1s or more.")
        .flag("broadcast-timeout")
        .default("5s"),
    Key::new("enable_compression", Kind::Switch, "Send nothing compressed.")
        .flag_as("disable-compression", Form::Opposite)
        .default("true"),
    Key::new("leave_on_terminate", Kind::Bool, "Leave the cluster on TERM as on INT.").reloads(),
    Key::new("skip_leave_on_interrupt", Kind::Bool, "End on INT without leaving.").reloads(),
    Key::new("reconnect_interval", Kind::Duration, "Time between two attempts to reach a failed member."),
    Key::new("reconnect_timeout", Kind::Duration, "How long a failed member is remembered."),
    Key::new("tombstone_timeout", Kind::Duration, "How long a member that left is remembered."),
    Key::new("disable_name_resolution", Kind::Bool, "Take no vote when two members have one name."),
    Key::new("disable_coordinates", Kind::Bool, "Estimate no round trip times."),
    Key::new("validate_node_names", Kind::Bool, "Refuse a node name that is no host name."),
    Key::new("user_event_size_limit", Kind::Int, "Longest user event in bytes, at most 9216."),
    Key::new("query_size_limit", Kind::Int, "Longest query in bytes."),
    Key::new("query_response_size_limit", Kind::Int, "Longest answer to a query in bytes."),
    Key::new("statsite_addr", Kind::Text, "Address of a statsite server to send metrics to."),
    Key::new("statsd_addr", Kind::Text, "Address of a statsd server to send metrics to."),
    Key::new("metrics_addr", Kind::Text, "Address to serve Prometheus' text on at /metrics, HOST:PORT. Thane only.")
        .flag("metrics-addr"),
    Key::new("MsgpackUseNewTimeFormat", Kind::Ignored, "Known to the newest Serf; nothing depends on it."),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_flags_are_unique_whatever_their_case() {
        let names: BTreeSet<String> = KEYS.iter().map(|key| key.name.to_lowercase()).collect();
        assert_eq!(names.len(), KEYS.len());
        let flags: Vec<&str> = KEYS.iter().filter_map(|key| Some(key.flag?.name)).collect();
        assert_eq!(flags.iter().collect::<BTreeSet<_>>().len(), flags.len());
    }

    #[test]
    fn these_are_reloaded() {
        let reloaded: Vec<&str> = KEYS.iter().filter(|key| key.reloads).map(|key| key.name).collect();
        assert_eq!(
            reloaded,
            [
                "tags",
                "role",
                "event_handlers",
                "event_handler_timeout",
                "log_level",
                "leave_on_terminate",
                "skip_leave_on_interrupt"
            ]
        );
    }
}
