//! Everything that can be set, by name.

use std::time::Duration;

use thane_core::{Config, Keyring, UnknownDetector};

use super::setup::{End, NODES_MAX, Setup, SetupError, Start};
use super::values::{bytes_per_second, rate, share, switch, time, time_over_zero, whole};
use crate::network::{Bandwidth, Bursts, Latency, Loss, Matrix, Topology, Zone, Zones};
use crate::span;

/// Before the name of a setting it means the members that are told apart by `other_share`.
pub(super) const OTHER: &str = "other.";
/// The key that may be given again and again, and what it may be called in a file.
pub(super) const FAULTS: [&str; 2] = ["fault", "faults"];

/// The most that a clock may go wrong.
const DRIFT_MAX: f64 = 0.5;

/// Something that can be set.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// The table of a file that it may stand in, and the heading under which it is explained.
    pub group: &'static str,
    /// What it is.
    pub help: &'static str,
    /// Whether `thane sim` has a flag of this name.
    pub has_flag: bool,
    set: Set,
}

#[derive(Debug, Clone, Copy)]
enum Set {
    Setup(fn(&mut Setup, &str) -> Result<(), String>),
    Config(fn(&mut Config, &str) -> Result<(), String>),
}

impl Key {
    /// Whether it is a setting of a member, as an agent has it.
    pub fn is_setting(&self) -> bool {
        matches!(self.set, Set::Config(_))
    }

    pub(super) fn set(&self, setup: &mut Setup, value: &str) -> Result<(), String> {
        match self.set {
            Set::Setup(set) => set(setup, value),
            Set::Config(set) => set(&mut setup.config, value),
        }
    }
}

const fn key(
    group: &'static str,
    name: &'static str,
    help: &'static str,
    set: fn(&mut Setup, &str) -> Result<(), String>,
) -> Key {
    Key { name, group, help, has_flag: false, set: Set::Setup(set) }
}

const fn flag(
    group: &'static str,
    name: &'static str,
    help: &'static str,
    set: fn(&mut Setup, &str) -> Result<(), String>,
) -> Key {
    Key { has_flag: true, ..key(group, name, help, set) }
}

/// A field of [`Config`] with a value of one of the kinds in [`super::values`].
macro_rules! setting {
    ($field:ident, $read:expr, $help:expr) => {
        Key {
            name: stringify!($field),
            group: "settings",
            help: $help,
            has_flag: false,
            set: Set::Config(|config, text| {
                config.$field = $read(text)?;
                Ok(())
            }),
        }
    };
}

/// All keys but `scenario` and `fault`. They are applied in this order. A value that makes no sense without another key is no error here:
/// [`Setup::complete`] judges the whole.
pub const KEYS: &[Key] = &[
    // First: it sets all settings.
    flag("cluster", "profile", "Serf's profile: lan, wan or local.", |setup, text| {
        let (name, addr) = (setup.config.name.clone(), setup.config.advertise);
        setup.config = match text {
            "lan" => Config::lan(name, addr),
            "wan" => Config::wan(name, addr),
            "local" => Config::local(name, addr),
            other => return Err(format!("'{other}' is no profile; there are lan, wan and local")),
        };
        Ok(())
    }),
    flag("cluster", "nodes", "How many members.", |setup, text| {
        setup.nodes = whole(text, 1, NODES_MAX)?;
        Ok(())
    }),
    key(
        "cluster",
        "start",
        "formed: all know each other when the clock starts; together: all start with it; one-by-one.",
        |setup, text| {
            setup.start = match text {
                "formed" => Start::Formed,
                "together" => Start::Together,
                "one-by-one" => Start::OneByOne(Duration::from_millis(100)),
                other => {
                    return Err(format!("'{other}' is no start; there are formed, together and one-by-one"));
                }
            };
            Ok(())
        },
    ),
    key("cluster", "start_every", "With one-by-one: from one start to the next.", |setup, text| {
        let every = time_over_zero(text)?;
        if matches!(setup.start, Start::OneByOne(_)) {
            setup.start = Start::OneByOne(every);
        }
        Ok(())
    }),
    key(
        "cluster",
        "other_share",
        "Which share of the members has settings of its own, given as other.KEY.",
        |_, text| share(text).map(|_checked| ()),
    ),
    flag("cluster", "duration", "How long it runs, in virtual time.", |setup, text| {
        setup.duration = time_over_zero(text)?;
        Ok(())
    }),
    key(
        "cluster",
        "end",
        "time: when the duration is over; agreed: as soon as all views are right again.",
        |setup, text| {
            setup.end = match text {
                "time" => End::Time,
                "agreed" => End::Agreed,
                other => return Err(format!("'{other}' is no end; there are time and agreed")),
            };
            Ok(())
        },
    ),
    key(
        "cluster",
        "snapshots",
        "true: members keep a snapshot, and one that returns looks for the others of its snapshot.",
        |setup, text| {
            setup.snapshots = switch(text)?;
            Ok(())
        },
    ),
    key(
        "cluster",
        "encrypted",
        "true: the members have a key, and seal with it what they send.",
        |setup, text| {
            let key = switch(text)?.then(|| thane_core::Key::new(&[7; 32])).transpose();
            setup.config.keyring = Keyring::new(key.map_err(|wrong| wrong.to_string())?);
            Ok(())
        },
    ),
    key(
        "cluster",
        "rules",
        "true: every step is held against the rules of the protocol, as in thane sim sweep; slow for many members.",
        |setup, text| {
            setup.rules = switch(text)?;
            Ok(())
        },
    ),
    key(
        "cluster",
        "clock_drift",
        "The members' clocks go up to this share too fast or too slow, each by its own: 1%.",
        |setup, text| {
            setup.clock_drift = share(text)?;
            if setup.clock_drift > DRIFT_MAX {
                return Err(format!("{text:?} is more than any clock errs; half is the most"));
            }
            Ok(())
        },
    ),
    flag("cluster", "watch", "The member whose suspicions are told in full, as node-7.", |setup, text| {
        let number = text.strip_prefix("node-").unwrap_or(text);
        setup.watch = Some(whole(number, 1, NODES_MAX)?);
        Ok(())
    }),
    flag(
        "network",
        "latency",
        "How long a packet takes one way: 20ms, 10ms..30ms, normal 20ms 5ms, lognormal 20ms 0.5, pareto 10ms 2.",
        |setup, text| {
            setup.quality.latency = latency(text)?;
            Ok(())
        },
    ),
    flag(
        "network",
        "jitter",
        "Up to this much is added to the latency, if that is a single time.",
        |setup, text| {
            let jitter = time(text)?;
            if let Latency::Constant(from) | Latency::Uniform { from, .. } = setup.quality.latency {
                setup.quality.latency = Latency::Uniform { from, to: from + jitter };
            }
            Ok(())
        },
    ),
    flag("network", "loss", "The share of packets that are lost: 0.05 or 5%.", |setup, text| {
        setup.quality.loss = Loss::Uniform(share(text)?);
        Ok(())
    }),
    key(
        "network",
        "loss_bursts",
        "Loss in bursts between each two hosts: 1s every 20s. What loss says is lost between them.",
        |setup, text| {
            let Some((lasting, every)) = text.split_once(" every ") else {
                return Err(format!("{text:?} is no burst; write how long and how often: 1s every 20s"));
            };
            let between = setup.quality.loss.mean();
            let (lasting, every) = (time_over_zero(lasting)?, time_over_zero(every)?);
            setup.quality.loss = Loss::Bursts(Bursts { every, lasting, within: 1.0, between });
            Ok(())
        },
    ),
    key("network", "duplication", "The share of packets that arrive twice.", |setup, text| {
        setup.quality.duplication = share(text)?;
        Ok(())
    }),
    key("network", "reordering", "The share of packets that are held back.", |setup, text| {
        setup.quality.reordering = share(text)?;
        if setup.quality.reordering_delay.is_zero() {
            setup.quality.reordering_delay = Duration::from_millis(50);
        }
        Ok(())
    }),
    key("network", "reordering_delay", "The longest time that they are held back.", |setup, text| {
        setup.quality.reordering_delay = time(text)?;
        Ok(())
    }),
    key(
        "network",
        "stream_breaks",
        "The share of writes to a TCP stream during which it breaks.",
        |setup, text| {
            setup.quality.stream_breaks = share(text)?;
            Ok(())
        },
    ),
    key("network", "mtu", "The largest IP packet in bytes; larger ones are lost.", |setup, text| {
        setup.quality.mtu = Some(whole(text, 576, 65_535)?);
        Ok(())
    }),
    key(
        "network",
        "bandwidth",
        "What each member's line out carries: 10MB/s, 500kB/s, 100Mbit/s.",
        |setup, text| {
            let bytes_per_second = bytes_per_second(text)?;
            // A tenth of a second's worth, as a home router keeps; at least some packets.
            let queue_bytes = (bytes_per_second / 10).max(16 * 1500);
            setup.quality.bandwidth = Some(Bandwidth { bytes_per_second, queue_bytes });
            Ok(())
        },
    ),
    key("network", "zones", "The members are spread evenly over this many zones.", |setup, text| {
        let count = whole(text, 2, 1000_usize)?;
        let zone = |number: usize| Zone { name: format!("zone-{number}"), hosts: 1 };
        let zones = (1..=count).map(zone).collect();
        let apart = Latency::Constant(Duration::from_millis(20));
        setup.topology = Topology::Zones(Zones { zones, links: Vec::new(), latency: apart });
        Ok(())
    }),
    key(
        "network",
        "zone_latency",
        "What is added one way between two zones; 20ms if nothing is said.",
        |setup, text| {
            let apart = latency(text)?;
            if let Topology::Zones(zones) = &mut setup.topology {
                zones.latency = apart;
            }
            Ok(())
        },
    ),
    key(
        "network",
        "matrix",
        "Round trips between places: azure, which is built in, or a CSV file in milliseconds.",
        |setup, text| {
            let rtt = if let Some(matrix) = Matrix::built_in(text) {
                matrix
            } else {
                let csv =
                    (setup.read)(text).map_err(|why| format!("the file {text} cannot be read: {why}"))?;
                Matrix::from_csv(&csv).map_err(|wrong| format!("{text}: {wrong}"))?
            };
            setup.topology = Topology::Matrix { rtt, spread: 0.0 };
            Ok(())
        },
    ),
    key("load", "events", "User events a second, in the whole cluster.", |setup, text| {
        setup.load.events = rate(text)?;
        Ok(())
    }),
    key("load", "event_bytes", "Bytes of payload of each.", |setup, text| {
        setup.load.event_bytes = whole(text, 0, 400)?;
        Ok(())
    }),
    key("load", "tag_updates", "Tag updates a second.", |setup, text| {
        setup.load.tags = rate(text)?;
        Ok(())
    }),
    key("load", "queries", "Queries a second, which all members acknowledge.", |setup, text| {
        setup.load.queries = rate(text)?;
        Ok(())
    }),
    key("load", "churn", "Members a second that crash or leave, by turns, and come back.", |setup, text| {
        setup.load.churn = rate(text)?;
        Ok(())
    }),
    key("load", "away", "How long each of those is away.", |setup, text| {
        setup.load.away = time_over_zero(text)?;
        Ok(())
    }),
    Key {
        name: "detector",
        group: "settings",
        help: "The rules by which members are taken for failed: thane, eager (silent ones soon), steady (without those that answer now and then), serf (which is lifeguard), swim, lha-probe, lha-suspicion, buddy.",
        has_flag: true,
        set: Set::Config(|config, text| {
            config.detector = text.parse().map_err(|unknown: UnknownDetector| unknown.to_string())?;
            Ok(())
        }),
    },
    setting!(probe_interval, time, "From one probe to the next."),
    setting!(probe_timeout, time, "How long a direct ping may take."),
    setting!(indirect_checks, |text| whole(text, 0, 100), "How many members are asked to probe for us."),
    setting!(tcp_pings, switch, "Ping over TCP when a probe fails."),
    setting!(suspicion_mult, |text| whole(text, 1, 1000), "Scales the shortest suspicion."),
    setting!(
        suspicion_max_timeout_mult,
        |text| whole(text, 1, 1000),
        "The longest suspicion, in shortest ones."
    ),
    setting!(awareness_max_multiplier, |text| whole(text, 1, 1000), "One more than the worst health score."),
    setting!(gossip_interval, time, "From one round of gossip to the next."),
    setting!(gossip_nodes, |text| whole(text, 0, 1000), "How many members a round goes to."),
    setting!(gossip_to_the_dead_time, time, "How long the dead are still gossiped to."),
    setting!(retransmit_mult, |text| whole(text, 1, 1000), "Scales how often a message is sent."),
    setting!(push_pull_interval, time, "From one full exchange to the next."),
    setting!(udp_buffer_size, |text| whole(text, 512, 65_000), "Bytes in a packet."),
    setting!(tcp_timeout, time, "How long a stream may take."),
    setting!(compression, switch, "Compress what is sent."),
    setting!(coordinates, switch, "Learn places in the network."),
    setting!(reconnect_interval, time, "From one attempt to reach the failed to the next."),
    setting!(reconnect_timeout, time, "How long the failed are remembered."),
    setting!(tombstone_timeout, time, "How long those that left are remembered."),
    setting!(reap_interval, time, "From one pass of the reaper to the next."),
    setting!(broadcast_timeout, time, "How long a leave waits for its message to be sent."),
    setting!(leave_propagate_delay, time, "How long a leaving member stays."),
    setting!(max_queue_depth, |text| whole(text, 1, 1_000_000), "Depth over which queues lose messages."),
    setting!(query_timeout_mult, |text| whole(text, 1, 1000), "Scales how long a query lives."),
    setting!(protocol, |text| whole(text, 2, 5), "Serf's protocol version."),
];

/// The key of this name; with `other.` before it, a setting.
pub(super) fn find(name: &str) -> Result<&'static Key, SetupError> {
    let (wanted, only_settings) = match name.strip_prefix(OTHER) {
        Some(rest) => (rest, true),
        None => (name, false),
    };
    KEYS.iter().find(|key| key.name == wanted && (key.is_setting() || !only_settings)).ok_or_else(|| {
        let near = nearest(wanted);
        let meant = near.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
        let what = if only_settings { "setting of a member" } else { "key" };
        SetupError(format!("there is no {what} '{wanted}'{meant}"))
    })
}

/// Whether a key may stand in the table of this name.
pub(super) fn in_group(group: &str, name: &str) -> Result<(), SetupError> {
    let mut groups: Vec<&str> = KEYS.iter().map(|key| key.group).collect();
    groups.dedup();
    if !groups.contains(&group) {
        let groups = groups.join(", ");
        return Err(SetupError(format!("there is no table '{group}'; there are {groups} and other")));
    }
    let key = find(name)?;
    if key.group == group {
        Ok(())
    } else {
        Err(SetupError(format!("'{name}' belongs into the table '{}', not into '{group}'", key.group)))
    }
}

/// The key that somebody may have meant: the one that takes the fewest letters to change, at most two or a third of them.
fn nearest(name: &str) -> Option<&'static str> {
    let distance = |key: &str| {
        let (a, b): (Vec<char>, Vec<char>) = (name.chars().take(64).collect(), key.chars().collect());
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for (i, letter) in a.iter().enumerate() {
            let mut diagonal = std::mem::replace(&mut row[0], i + 1);
            for (j, other) in b.iter().enumerate() {
                let changed = diagonal + usize::from(letter != other);
                diagonal = row[j + 1];
                row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
            }
        }
        row[b.len()]
    };
    let names = KEYS.iter().map(|key| key.name).chain(["fault", "scenario"]);
    let near = names.map(|key| (distance(key), key)).min()?;
    (near.0 <= (name.chars().count() / 3).max(2)).then_some(near.1)
}

/// Whether this is one time, to which jitter can be added.
pub(super) fn is_single_latency(text: &str) -> bool {
    latency(text).is_ok_and(|it| matches!(it, Latency::Constant(_)))
}

fn latency(text: &str) -> Result<Latency, String> {
    let number = |text: &str| match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 100.0 => Ok(number),
        _ => Err(format!("{text:?} is no number over 0")),
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        ["normal", mean, deviation] => {
            Ok(Latency::Normal { mean: span::parse(mean)?, deviation: span::parse(deviation)? })
        }
        ["lognormal", median, sigma] => {
            Ok(Latency::Lognormal { median: span::parse(median)?, sigma: number(sigma)? })
        }
        ["pareto", least, shape] => Ok(Latency::Pareto { least: span::parse(least)?, shape: number(shape)? }),
        [single] => match single.split_once("..") {
            Some((from, to)) => {
                let (from, to) = (span::parse(from)?, span::parse(to)?);
                if from <= to {
                    Ok(Latency::Uniform { from, to })
                } else {
                    Err(format!("{text:?} ends before it begins"))
                }
            }
            None => span::parse(single).map(Latency::Constant),
        },
        _ => Err(format!(
            "{text:?} is no latency; write 20ms, 10ms..30ms, normal 20ms 5ms, lognormal 20ms 0.5 or pareto 10ms 2"
        )),
    }
}
