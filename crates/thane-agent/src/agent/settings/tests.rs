use super::*;

fn parsed(arguments: &[&str]) -> Parsed {
    let arguments: Vec<String> = arguments.iter().copied().map(String::from).collect();
    flags().parse(&arguments).unwrap()
}

fn settings(arguments: &[&str]) -> Settings {
    Settings::read(&parsed(arguments)).unwrap()
}

async fn refusal(arguments: &[&str]) -> String {
    match Settings::read(&parsed(arguments)) {
        Ok(settings) => settings.place().await.unwrap_err(),
        Err(reason) => reason,
    }
}

#[tokio::test]
async fn defaults_are_serfs() {
    let found = settings(&[]);
    let place = found.place().await.unwrap();
    assert_eq!((place.bind, place.profile), ("0.0.0.0:7946".parse().unwrap(), Profile::Lan));
    assert_eq!(found.rpc_addr, "127.0.0.1:7373");
    assert_eq!((found.retry_interval, found.retry_max), (Duration::from_secs(30), 0));
    assert_eq!(found.broadcast_timeout, Duration::from_secs(5));
    assert_eq!((found.log_level.as_str(), found.syslog.as_deref()), ("INFO", None));
    assert!(found.compression && !found.replay_on_join && found.tags.is_empty() && !found.is_encrypted());
    assert!(found.warnings.is_empty() && found.node_name.is_none() && found.rpc_auth.is_none());
    assert_eq!((found.tuning, found.discovery), (Tuning::default(), None));
}

#[tokio::test]
async fn what_cannot_be_is_refused_in_serfs_words_with_a_remedy() {
    for (argument, message, remedy) in [
        ("-tag=x", "Error: Invalid tag: 'x'", "KEY=VALUE"),
        ("-tag==x", "Error: Invalid tag: '=x'", "KEY=VALUE"),
        ("-retry-interval=5", "Error: time: missing unit in duration \"5\"", "-retry-interval with a unit"),
        ("-broadcast-timeout=x", "Error: time: invalid duration \"x\"", "-broadcast-timeout with a unit"),
        ("-event-handler=bogus=x.sh", "Invalid event script: Event 'bogus' invoking 'x.sh'", "member-join"),
        ("-bind=::1", "Invalid bind address: address ::1: too many colons in address", "-bind=HOST:PORT"),
        ("-bind=127.0.0.1:x", "Invalid bind address: lookup tcp/x: unknown port", "-bind=HOST:PORT"),
        ("-bind=nosuchhost.invalid", "Invalid bind address: lookup nosuchhost.invalid: ", "-bind=HOST:PORT"),
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
        ("-detector=quick", "Invalid detector: 'quick' is no detector", "eager, steady, serf"),
        ("-mdns-iface=lo", "mDNS interface specified without enabling mDNS discovery", "-discover"),
    ] {
        let found = refusal(&[argument]).await;
        assert!(found.starts_with(message) && found.contains(remedy), "{argument}: {found}");
    }
    let found = refusal(&["-discover=x", "-mdns-iface=nosuch0"]).await;
    assert!(
        found.starts_with("Invalid mDNS network interface: route ip+net: no such network interface"),
        "{found}"
    );
    let found = refusal(&["-discover=x", "-mdns-disable-ipv4", "-mdns-disable-ipv6"]).await;
    assert!(found.starts_with("Invalid mDNS configuration: both IPv4 and IPv6 are disabled"), "{found}");
}

#[test]
fn arguments_that_are_no_flags_are_ignored_with_a_warning() {
    let found = settings(&["-node=a", "join=10.0.0.1", "-tag=x=y"]);
    assert_eq!(
        found.warnings,
        ["Warning: ignoring 'join=10.0.0.1' and what follows: the agent takes only flags"]
    );
    assert!(found.tags.is_empty());
}

#[test]
fn small_durations_are_raised_with_a_warning() {
    let found =
        settings(&["-retry-interval=10ms", "-broadcast-timeout=-5s", "-role=web", "-tag=role=db", "-rejoin"]);
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
    assert!(settings(&["-rejoin", "-snapshot=x"]).warnings.is_empty());
}

/// Serf's port is advertised whatever port is listened on (7, no. 26): that stays, because port mappings rely on it, but
/// it is told.
#[tokio::test]
async fn an_advertised_address_without_a_port_gets_serfs_and_a_warning() {
    let place = settings(&["-bind=127.0.0.1:7950", "-advertise=10.1.2.3"]).place().await.unwrap();
    assert_eq!(place.advertise, Some("10.1.2.3:7946".parse().unwrap()));
    let warning = place.warning.unwrap();
    assert!(warning.contains("7946") && warning.contains("-advertise=10.1.2.3:7950"), "{warning}");
    for flags in
        [["-bind=127.0.0.1", "-advertise=10.1.2.3"], ["-bind=127.0.0.1:1", "-advertise=10.1.2.3:7946"]]
    {
        assert_eq!(settings(&flags).place().await.unwrap().warning, None, "{flags:?}");
    }
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn sf_256_a_network_or_an_interface_of_the_machine_can_be_advertised() {
    for (given, expected) in [
        ("lo", "127.0.0.1:7946"),
        ("lo:7950", "127.0.0.1:7950"),
        ("127.0.0.0/8", "127.0.0.1:7946"),
        ("127.0.0.0/8:7950", "127.0.0.1:7950"),
    ] {
        let place = settings(&["-bind=127.0.0.1", &format!("-advertise={given}")]).place().await.unwrap();
        assert_eq!(place.advertise, Some(expected.parse().unwrap()), "{given}");
    }
    let found = refusal(&["-advertise=198.51.100.0/24"]).await;
    assert!(
        found.starts_with("Invalid advertise address: no address of this machine is in 198.51"),
        "{found}"
    );
}

#[tokio::test]
async fn sf_256_networks_have_names_and_one_address_each() {
    let found = settings(&["-advertise-network=lan=10.0.0.1:7", "-advertise-network=wan"]);
    assert_eq!(found.networks, [("lan".to_owned(), Some("10.0.0.1:7".to_owned())), ("wan".to_owned(), None)]);
    for (given, message) in [
        ("=10.0.0.1", "Invalid network: '=10.0.0.1'; write -advertise-network=NAME=ADDRESS"),
        ("lan=", "Invalid network: 'lan='"),
        ("a b", "Invalid network: 'a b'"),
    ] {
        let found = refusal(&[&format!("-advertise-network={given}")]).await;
        assert!(found.starts_with(message), "{given}: {found}");
    }
    let twice = refusal(&["-advertise-network=lan=10.0.0.1", "-advertise-network=lan"]).await;
    assert!(twice.starts_with("Invalid network: 'lan' is named twice"), "{twice}");
    let many: Vec<String> = (0..=NETWORKS_MAX).map(|n| format!("-advertise-network=n{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(refusal(&many).await.starts_with("Invalid networks: 17 are too many; at most 16"));
}

fn from_file(text: &str) -> Result<Settings, String> {
    let directory = crate::agent::test_directory::TestDirectory::new("settings");
    let path = directory.path("c.json");
    std::fs::write(&path, text).unwrap();
    Settings::read(&parsed(&[&format!("-config-file={}", path.display())]))
}

#[test]
fn what_only_files_can_say_arrives() {
    let found = from_file(
        r#"{"rpc_auth": "token", "reconnect_interval": "2s", "reconnect_timeout": "3h", "tombstone_timeout": "4m",
            "user_event_size_limit": 1, "query_size_limit": 2, "query_response_size_limit": 3,
            "disable_name_resolution": true, "disable_coordinates": true, "leave_on_terminate": true,
            "skip_leave_on_interrupt": true, "enable_syslog": true, "syslog_facility": "DAEMON", "keyring_file": "k",
            "statsd_addr": "a:1", "statsite_addr": "b:2", "detector": "eager"}"#,
    )
    .unwrap();
    assert_eq!(found.rpc_auth.as_deref(), Some("token"));
    assert!(found.leave_on_terminate && found.skip_leave_on_interrupt && found.is_encrypted());
    assert_eq!(found.syslog.as_deref(), Some("DAEMON"));
    assert_eq!((found.statsd_addr.as_deref(), found.statsite_addr.as_deref()), (Some("a:1"), Some("b:2")));
    let mut config = thane::Config::lan("x", "127.0.0.1:1".parse().unwrap());
    found.tuning.apply(&mut config);
    assert_eq!(config.reconnect_interval, Duration::from_secs(2));
    assert_eq!(config.reconnect_timeout, Duration::from_secs(3 * 3600));
    assert_eq!(config.tombstone_timeout, Duration::from_secs(240));
    assert_eq!(
        (config.user_event_size_limit, config.query_size_limit, config.query_response_size_limit),
        (1, 2, 3)
    );
    assert!(!config.name_conflict_resolution && !config.coordinates);
    assert_eq!(config.detector, Detector::eager());
    settings(&["-detector=serf"]).tuning.apply(&mut config);
    assert_eq!(config.detector, Detector::lifeguard());
}

#[test]
fn sizes_and_times_that_cannot_be_are_refused() {
    for (text, message) in [
        (r#"{"reconnect_timeout": "-5s"}"#, "Invalid reconnect_timeout: -5s is negative"),
        (r#"{"query_size_limit": -1}"#, "Invalid query_size_limit: -1 is negative"),
        (
            r#"{"validate_node_names": true, "node_name": "bad name!"}"#,
            "Invalid node name: 'bad name!' contains invalid characters",
        ),
    ] {
        let found = from_file(text).unwrap_err();
        assert!(found.starts_with(message), "{text}: {found}");
    }
    let long = "x".repeat(129);
    let found = from_file(&format!(r#"{{"validate_node_names": true, "node_name": "{long}"}}"#)).unwrap_err();
    assert!(found.contains("129 characters. Valid length is"), "{found}");
    assert!(from_file(r#"{"validate_node_names": true, "node_name": "web-1.example"}"#).is_ok());
    assert!(from_file(r#"{"node_name": "bad name!"}"#).is_ok());
    let large = from_file(r#"{"user_event_size_limit": 20000}"#).unwrap();
    assert!(
        large.tuning.check().unwrap_err().starts_with("user event size limit exceeds limit of 9216 bytes")
    );
}
