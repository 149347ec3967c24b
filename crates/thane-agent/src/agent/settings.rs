//! The agent's flags, and what they mean. (Serf: `config.go` and `command.go`, readConfig.)

use std::net::SocketAddr;
use std::time::Duration;

use thane::{Profile, Tags};

use super::{address, base64_key};
use crate::goflags::{FlagSet, Parsed, parse_duration};
use crate::handlers::HandlerSpec;

/// Least interval between two attempts to join, and least time that a broadcast is given.
const DURATION_MIN: Duration = Duration::from_secs(1);

const DEFAULT_RETRY_INTERVAL: Duration = Duration::from_secs(30);
const DEFAULT_BROADCAST_TIMEOUT: Duration = Duration::from_secs(5);

/// Flags of Serf's agent that this version does not have. Ignoring one silently would run an agent that its operator
/// did not ask for.
const MISSING: [&str; 10] = [
    "config-file",
    "config-dir",
    "discover",
    "mdns-iface",
    "mdns-disable-ipv4",
    "mdns-disable-ipv6",
    "keyring-file",
    "snapshot",
    "tags-file",
    "syslog",
];

/// What the agent was asked to be, checked.
#[derive(Debug)]
pub(super) struct Settings {
    /// `None` for the host name.
    pub(super) node_name: Option<String>,
    pub(super) bind: SocketAddr,
    /// The interface that chose the address in `bind`.
    pub(super) interface: Option<String>,
    pub(super) advertise: Option<SocketAddr>,
    /// As given: base64, decoded. Its size is checked when the node starts, where Serf checks it.
    pub(super) encrypt_key: Option<Vec<u8>>,
    pub(super) handlers: Vec<HandlerSpec>,
    pub(super) start_join: Vec<String>,
    pub(super) retry_join: Vec<String>,
    pub(super) replay_on_join: bool,
    pub(super) retry_interval: Duration,
    /// Attempts beyond the first one; 0 for no limit.
    pub(super) retry_max: u64,
    /// As given: it is checked after the warnings.
    pub(super) log_level: String,
    pub(super) profile: Profile,
    pub(super) profile_name: String,
    pub(super) protocol: i64,
    pub(super) tags: Tags,
    pub(super) rpc_addr: String,
    pub(super) compression: bool,
    pub(super) broadcast_timeout: Duration,
    /// To be shown before the agent starts.
    pub(super) warnings: Vec<String>,
}

/// The flags of `thane agent`.
pub(crate) fn flags() -> FlagSet {
    let set = FlagSet::new(
        "agent",
        "agent [flags]",
        "Runs an agent: a member of a cluster that answers the other commands. It runs\n\
         until it is interrupted, and then leaves the cluster.",
    );
    let set = set
        .string("bind", "0.0.0.0", "Address to listen on, HOST or HOST:PORT; the port is 7946 unless given.")
        .string("iface", "", "Network interface to listen on.")
        .string(
            "advertise",
            "",
            "Address that the other members reach this one at, if not the one listened on.",
        )
        .string("node", "", "Name of this node, unique in the cluster; the host name unless given.")
        .string(
            "encrypt",
            "",
            "Key for all traffic between members: 16, 24 or 32 bytes in base64, see 'keygen'.",
        )
        .list("event-handler", "Command to run on events: 'COMMAND' or 'EVENT[,EVENT...]=COMMAND'.")
        .list("join", "Member to join at start; without an answer the agent does not start.")
        .list("retry-join", "Member to join, tried again and again.")
        .string("retry-interval", "", "Time between two attempts to join (default 30s).")
        .int("retry-max", 0, "Attempts after the first before the agent gives up; 0 for no limit.")
        .bool("replay", false, "Deliver user events from before the join as well.")
        .string("log-level", "INFO", "Least level to log: TRACE, DEBUG, INFO, WARN or ERR.")
        .string("profile", "lan", "Timing: 'lan', 'wan' or 'local', the same for all members.")
        .int("protocol", 0, "Serf protocol to speak, 2 to 5 (default 5).")
        .string("role", "", "Value of the tag 'role' (old; use -tag role=VALUE).")
        .list("tag", "Tag of this node, KEY=VALUE.")
        .string("rpc-addr", "127.0.0.1:7373", "Address for the commands, HOST:PORT.")
        .bool("rejoin", false, "Rejoin after a leave; does nothing without -snapshot.")
        .bool("disable-compression", false, "Send nothing compressed.")
        .string("broadcast-timeout", "", "Time that a message to all members is given (default 5s).");
    let set = set
        .list("config-file", "Not available in this version.")
        .list("config-dir", "Not available in this version.")
        .string("discover", "", "Not available in this version.")
        .string("mdns-iface", "", "Not available in this version.")
        .bool("mdns-disable-ipv4", false, "Not available in this version.")
        .bool("mdns-disable-ipv6", false, "Not available in this version.")
        .string("keyring-file", "", "Not available in this version.")
        .string("snapshot", "", "Not available in this version.")
        .string("tags-file", "", "Not available in this version.")
        .bool("syslog", false, "Not available in this version.");
    set.example("thane agent -node=web-1 -bind=10.0.0.1 -join=10.0.0.2 -tag role=web")
        .example("thane agent -event-handler='member-failed=./page-somebody.sh'")
}

impl Settings {
    /// Checks what the flags said, in Serf's order.
    ///
    /// # Errors
    /// The first problem, as it is to be shown.
    pub(super) async fn from_flags(given: &Parsed) -> Result<Self, String> {
        if let Some(missing) = MISSING.into_iter().find(|name| given.is_set(name)) {
            return Err(format!(
                "Error: -{missing} is not available in this version of Thane yet; start the agent without it"
            ));
        }
        let mut warnings = Vec::new();
        let mut tags = given.tags("tag").map_err(|invalid| format!("{invalid}; write KEY=VALUE"))?;
        let (retry_interval, retry_is_low) = read_duration(given, "retry-interval", DEFAULT_RETRY_INTERVAL)?;
        let (broadcast_timeout, broadcast_is_low) =
            read_duration(given, "broadcast-timeout", DEFAULT_BROADCAST_TIMEOUT)?;
        let handlers = given.list("event-handler").iter().map(|spec| HandlerSpec::parse(spec));
        let handlers = handlers.collect::<Result<_, _>>().map_err(|invalid| invalid.to_string())?;

        let role = given.string("role");
        if !role.is_empty() {
            warnings.push("Deprecation warning: 'Role' has been replaced with 'Tags'".to_owned());
            tags.insert("role".to_owned(), role.to_owned());
        }
        if retry_is_low {
            warnings.push("Warning: 'RetryInterval' is too low. Setting to 1s".to_owned());
        }
        if broadcast_is_low {
            warnings.push("Warning: 'BroadcastTimeout' is too low. Setting to 1s".to_owned());
        }
        if given.bool("rejoin") {
            warnings.push("Warning: 'RejoinAfterLeave' enabled without snapshot file".to_owned());
        }
        // Serf ignores them without a word, and whoever forgot a dash wonders why.
        if let Some(first) = given.args().first() {
            warnings
                .push(format!("Warning: ignoring '{first}' and what follows: the agent takes only flags"));
        }

        let bind = non_empty(given.string("bind")).unwrap_or("0.0.0.0");
        let bind = address::resolve(bind).await.map_err(|reason| {
            format!("Invalid bind address: {reason}; write -bind=HOST:PORT with an address of this machine")
        })?;
        let (bind, interface) = match non_empty(given.string("iface")) {
            None => (bind, None),
            Some(interface) => {
                let (bind, chose) = address::on_interface(interface, bind)?;
                (bind, chose.then(|| interface.to_owned()))
            }
        };
        let advertise = match non_empty(given.string("advertise")) {
            None => None,
            Some(text) => {
                let resolved = address::resolve(text).await;
                Some(resolved.map_err(|reason| {
                    format!(
                        "Invalid advertise address: {reason}; write -advertise=HOST:PORT with an address at which \
                         the other members reach this one"
                    )
                })?)
            }
        };
        let encrypt_key = match non_empty(given.string("encrypt")) {
            None => None,
            Some(text) => {
                let key = base64_key::decode(text);
                Some(key.map_err(|reason| {
                    format!("Invalid encryption key: {reason}; make a key for -encrypt with 'thane keygen'")
                })?)
            }
        };
        let profile_name = non_empty(given.string("profile")).unwrap_or("lan").to_owned();
        Ok(Self {
            node_name: non_empty(given.string("node")).map(str::to_owned),
            bind,
            interface,
            advertise,
            encrypt_key,
            handlers,
            start_join: given.list("join").to_vec(),
            retry_join: given.list("retry-join").to_vec(),
            replay_on_join: given.bool("replay"),
            retry_interval,
            retry_max: u64::try_from(given.int("retry-max")).unwrap_or(0),
            log_level: non_empty(given.string("log-level")).unwrap_or("INFO").to_owned(),
            profile: read_profile(&profile_name)?,
            profile_name,
            protocol: given.int("protocol"),
            tags,
            rpc_addr: non_empty(given.string("rpc-addr")).unwrap_or("127.0.0.1:7373").to_owned(),
            compression: !given.bool("disable-compression"),
            broadcast_timeout,
            warnings,
        })
    }
}

/// An empty value never overrides a default, as in Serf.
fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn read_profile(name: &str) -> Result<Profile, String> {
    match name {
        "lan" => Ok(Profile::Lan),
        "wan" => Ok(Profile::Wan),
        "local" => Ok(Profile::Local),
        other => Err(format!("Unknown profile: {other}; -profile is lan, wan or local")),
    }
}

/// Reads a duration flag: the default if it was not given or is zero, [`DURATION_MIN`] if it is less than that or
/// negative. The second value says that it had to be raised.
fn read_duration(given: &Parsed, flag: &str, default: Duration) -> Result<(Duration, bool), String> {
    let text = given.string(flag);
    if text.is_empty() {
        return Ok((default, false));
    }
    let duration = parse_duration(text)
        .map_err(|reason| format!("Error: {reason}; write -{flag} with a unit, such as 30s or 1m30s"))?;
    Ok(match duration.to_std() {
        Some(Duration::ZERO) => (default, false),
        Some(long_enough) if long_enough >= DURATION_MIN => (long_enough, false),
        Some(_) | None => (DURATION_MIN, true),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn settings(arguments: &[&str]) -> Result<Settings, String> {
        let arguments: Vec<String> = arguments.iter().copied().map(String::from).collect();
        Settings::from_flags(&flags().parse(&arguments).unwrap()).await
    }

    #[tokio::test]
    async fn defaults_are_serfs() {
        let found = settings(&[]).await.unwrap();
        assert_eq!(found.bind, "0.0.0.0:7946".parse().unwrap());
        assert_eq!(found.rpc_addr, "127.0.0.1:7373");
        assert_eq!((found.retry_interval, found.retry_max), (Duration::from_secs(30), 0));
        assert_eq!(found.broadcast_timeout, Duration::from_secs(5));
        assert_eq!((found.log_level.as_str(), found.profile), ("INFO", Profile::Lan));
        assert!(found.compression && !found.replay_on_join && found.tags.is_empty());
        assert!(found.warnings.is_empty() && found.node_name.is_none());
    }

    #[tokio::test]
    async fn what_cannot_be_is_refused_in_serfs_words_with_a_remedy() {
        for (argument, message, remedy) in [
            ("-tag=x", "Error: Invalid tag: 'x'", "KEY=VALUE"),
            ("-tag==x", "Error: Invalid tag: '=x'", "KEY=VALUE"),
            (
                "-retry-interval=5",
                "Error: time: missing unit in duration \"5\"",
                "-retry-interval with a unit",
            ),
            ("-broadcast-timeout=x", "Error: time: invalid duration \"x\"", "-broadcast-timeout with a unit"),
            (
                "-event-handler=bogus=x.sh",
                "Invalid event script: Event 'bogus' invoking 'x.sh'",
                "member-join",
            ),
            ("-bind=::1", "Invalid bind address: address ::1: too many colons in address", "-bind=HOST:PORT"),
            ("-bind=127.0.0.1:x", "Invalid bind address: lookup tcp/x: unknown port", "-bind=HOST:PORT"),
            (
                "-bind=nosuchhost.invalid",
                "Invalid bind address: lookup nosuchhost.invalid: ",
                "-bind=HOST:PORT",
            ),
            (
                "-advertise=1.2.3.4:99999",
                "Invalid advertise address: address 99999: invalid port",
                "-advertise=HOST:PORT",
            ),
            (
                "-iface=nosuch0",
                "Invalid network interface: route ip+net: no such network interface",
                "'nosuch0' is none of ",
            ),
            ("-encrypt=%%%", "Invalid encryption key: illegal base64 data at input byte 0", "'thane keygen'"),
            ("-profile=moon", "Unknown profile: moon", "lan, wan or local"),
        ] {
            let found = settings(&[argument]).await.unwrap_err();
            assert!(found.starts_with(message) && found.contains(remedy), "{argument}: {found}");
        }
    }

    #[tokio::test]
    async fn arguments_that_are_no_flags_are_ignored_with_a_warning() {
        let found = settings(&["-node=a", "join=10.0.0.1", "-tag=x=y"]).await.unwrap();
        assert_eq!(
            found.warnings,
            ["Warning: ignoring 'join=10.0.0.1' and what follows: the agent takes only flags"]
        );
        assert!(found.tags.is_empty());
    }

    #[tokio::test]
    async fn flags_of_later_versions_are_refused_and_never_ignored() {
        for name in MISSING {
            let argument = if flags().parse(&[format!("-{name}")]).is_ok() {
                format!("-{name}")
            } else {
                format!("-{name}=x")
            };
            let message = settings(&[&argument]).await.unwrap_err();
            assert!(message.contains(&format!("-{name} is not available")), "{message}");
        }
    }

    #[tokio::test]
    async fn small_durations_are_raised_with_a_warning() {
        let found = settings(&[
            "-retry-interval=10ms",
            "-broadcast-timeout=-5s",
            "-role=web",
            "-tag=role=db",
            "-rejoin",
        ])
        .await
        .unwrap();
        assert_eq!((found.retry_interval, found.broadcast_timeout), (DURATION_MIN, DURATION_MIN));
        assert_eq!(
            found.warnings,
            [
                "Deprecation warning: 'Role' has been replaced with 'Tags'",
                "Warning: 'RetryInterval' is too low. Setting to 1s",
                "Warning: 'BroadcastTimeout' is too low. Setting to 1s",
                "Warning: 'RejoinAfterLeave' enabled without snapshot file",
            ]
        );
        assert_eq!(found.tags["role"], "web", "the role wins");
    }
}
