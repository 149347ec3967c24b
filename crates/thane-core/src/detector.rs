//! Which rules the failure detector follows: each part of it is a switch.

use std::str::FromStr;

/// The rules by which a node takes others for failed. Begin with a constructor and change what you must.
///
/// Every combination speaks the same protocol, and members with different rules work together in one cluster: a rule only says when this
/// node looks, what it believes, and when it speaks. The default is [`Detector::thane`].
///
/// SWIM is Das, Gupta, Motivala (DSN 2002); Lifeguard is Dadgar, Phillips, Currey (DSN 2018), whose section 4 gives the three
/// parts their names. How long suspicions last is set by [`crate::Config::suspicion_mult`] (Lifeguard's alpha) and
/// [`crate::Config::suspicion_max_timeout_mult`] (its beta).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a rule of its own, and all combinations make sense"
)]
pub struct Detector {
    /// Lifeguard's LHA-Probe: a node keeps a health score of its own, asks relays to say when they hear nothing either, and takes
    /// longer over a probe while it is unhealthy. Off: the score stays 0, and no nacks are asked for.
    pub lha_probe: bool,
    /// Lifeguard's LHA-Suspicion: a suspicion begins long and becomes shorter as others confirm it. Off: as in SWIM, it lasts
    /// `suspicion_mult × log10(n) × probe_interval` and no confirmation is awaited or passed on.
    pub lha_suspicion: bool,
    /// Lifeguard's Buddy System: a suspect that is pinged hears in the same packet that it is accused. Off: it hears of it by gossip,
    /// as everybody does.
    pub buddy: bool,
    /// A node that was not woken when it asked to be takes itself for paused: it drops the probe under way, gives suspects the lost
    /// time back and asks for a fresh view before it accuses anybody. One whose packets cannot leave accuses and buries nobody for what
    /// it missed meanwhile. Thane's own.
    pub pause_doubt: bool,
    /// A relay says after 80 % of the probe timeout that it hears nothing, as the Lifeguard paper has it (section 4.1). Off: after all
    /// of it, as memberlist does, which is too late with the usual settings.
    pub early_nacks: bool,
    /// A process that is gone while its machine lives refuses connections. A ping that is not answered within a few round trips is
    /// followed by one over TCP at once, a refusal makes an accusation at once, and refusals that are repeated and confirmed by others make a
    /// verdict without waiting for the suspicion to end. Needs [`crate::Config::tcp_pings`]. Thane's own.
    pub refusals: bool,
    /// Who hears an accusation looks for itself, by packet and over TCP, and tells the accused. Needs [`crate::Config::tcp_pings`].
    /// Thane's own.
    pub look_for_yourself: bool,
    /// Who looks at an accused member and finds it silent (no answer by packet, through others or over TCP) accuses it too, and four who do
    /// make a verdict at once. Only those count who need not doubt themselves: their health score is 0, or a relay that they asked has just
    /// told them that it hears nothing either. Who hears an accusation also pings one other member out of turn, and relays that are silent
    /// while others are not are looked at. Silent members are failed within some two seconds, those that are only paused for
    /// so long among them, and come back when they speak. Needs [`Self::look_for_yourself`]. Thane's own, and off by default.
    pub silent_witnesses: bool,
    /// A member that answers only now and then (it loses most of its packets, or hears nothing for half of the time) is told as failed once five others
    /// have each lost four of five pings to it while it lived, and this node three of five (two, if eight have), and as back a minute after they no longer do; its refutations
    /// do not count meanwhile. Needs a dozen members. Thane's own, and off by default.
    pub unsteady: bool,
    /// News of a death, and its refutation, go out in an extra round of gossip at once instead of with the next one. Thane's own.
    pub spread_at_once: bool,
}

impl Detector {
    /// SWIM with suspicion: fixed timeouts, no health score.
    pub const fn swim() -> Self {
        Self {
            lha_probe: false,
            lha_suspicion: false,
            buddy: false,
            pause_doubt: false,
            early_nacks: false,
            refusals: false,
            look_for_yourself: false,
            silent_witnesses: false,
            unsteady: false,
            spread_at_once: false,
        }
    }

    /// SWIM, and of Lifeguard only the health score and what it does to probes.
    pub const fn lha_probe() -> Self {
        Self { lha_probe: true, ..Self::swim() }
    }

    /// SWIM, and of Lifeguard only the suspicions that shrink.
    pub const fn lha_suspicion() -> Self {
        Self { lha_suspicion: true, ..Self::swim() }
    }

    /// SWIM, and of Lifeguard only the accusation that goes along with a ping.
    pub const fn buddy() -> Self {
        Self { buddy: true, ..Self::swim() }
    }

    /// All of Lifeguard and nothing else: what memberlist, and so Serf, does.
    pub const fn lifeguard() -> Self {
        Self { lha_probe: true, lha_suspicion: true, buddy: true, ..Self::swim() }
    }

    /// Lifeguard, and Thane's own rules.
    pub const fn thane() -> Self {
        Self {
            pause_doubt: true,
            early_nacks: true,
            refusals: true,
            look_for_yourself: true,
            spread_at_once: true,
            ..Self::lifeguard()
        }
    }

    /// [`Detector::thane`] for clusters that would rather fail a paused member than wait for a dead one.
    pub const fn eager() -> Self {
        Self { silent_witnesses: true, ..Self::thane() }
    }

    /// [`Detector::thane`] for clusters that would rather do without a member than with one that is reached only now and then.
    pub const fn steady() -> Self {
        Self { unsteady: true, ..Self::thane() }
    }
}

/// A set of rules with a name.
type Named = (&'static str, Detector);

/// The names by which flags and files call the sets of rules, those for users first.
const NAMED: [Named; 9] = [
    ("thane", Detector::thane()),
    ("eager", Detector::eager()),
    ("steady", Detector::steady()),
    ("serf", Detector::lifeguard()),
    ("lifeguard", Detector::lifeguard()),
    ("swim", Detector::swim()),
    ("lha-probe", Detector::lha_probe()),
    ("lha-suspicion", Detector::lha_suspicion()),
    ("buddy", Detector::buddy()),
];

/// No set of rules has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no detector; there are {names}", names = NAMED.map(|(name, _)| name).join(", "))]
pub struct UnknownDetector(String);

/// By name: `thane`, `eager`, `steady`, `serf` or `lifeguard`, and for comparison `swim`, `lha-probe`, `lha-suspicion`, `buddy`.
///
/// ```
/// # use thane_core::Detector;
/// assert_eq!("serf".parse(), Ok(Detector::lifeguard()));
/// assert!("quick".parse::<Detector>().is_err());
/// ```
impl FromStr for Detector {
    type Err = UnknownDetector;

    fn from_str(name: &str) -> Result<Self, UnknownDetector> {
        let found = NAMED.into_iter().find(|(known, _)| *known == name);
        found.map(|(_, detector)| detector).ok_or_else(|| UnknownDetector(name.to_owned()))
    }
}

impl Default for Detector {
    fn default() -> Self {
        Self::thane()
    }
}
