//! What goes wrong: `crash 10 at 10s`, `partition 30% at 10s for 1m`, `pause 5 at 10s for 8s every 30s`.

use std::fmt;
use std::time::Duration;

use super::values::{share, time, time_over_zero};
use crate::byzantine::Lie;
use crate::span;

/// A fault and its times, counted from when the cluster has formed.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// What happens.
    pub kind: FaultKind,
    /// To whom.
    pub target: Target,
    /// When.
    pub at: Duration,
    /// For how long; for good if there is none.
    pub lasting: Option<Duration>,
    /// How often: again and again until the end, each time to others; for a rolling restart and for flapping, the time from one
    /// turn to the next.
    pub every: Option<Duration>,
}

/// What a fault does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FaultKind {
    /// Processes end without a word; their hosts refuse connections. With a time they start again after it, knowing nothing.
    Crash,
    /// Machines go down with all that is on them: nobody gets any answer from there.
    PowerLoss,
    /// Members leave gracefully. With a time they come back after it.
    Leave,
    /// Processes stand still: stopped, swapped out or starved.
    Pause,
    /// One member after the other leaves, and comes back after the time given.
    RollingRestart,
    /// These members are split off from all others. Within each part all goes on.
    Partition,
    /// Each of these members is cut off from everybody and connected again, by turns.
    Flapping,
    /// Nothing that others send arrives at these members; what they send does.
    Deaf,
    /// Nothing that these members send arrives anywhere; what others send them does.
    Mute,
    /// A share of what these members send and receive is lost.
    Loss(f64),
    /// What these members send and receive takes longer by this much.
    Delay(Duration),
    /// These machines are slow: each message and each timer keeps the process busy for this long, one after the other.
    Slow(Duration),
    /// Whatever these processes exchange with others waits, while their timers go on.
    Block,
    /// The disks of these members have no room left. They keep snapshots, or it would mean nothing.
    DiskFull,
    /// Half of all writes to the disks of these members fail.
    DiskFailing,
    /// New members join.
    Join,
    /// Hosts on which no member runs but somebody who sends what no member would.
    Byzantine {
        /// What it sends, each as often as the others.
        lies: Lies,
        /// Whether it has the cluster's key.
        has_key: bool,
    },
}

/// Some kinds of lies, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lies([bool; 4]);

/// Each kind of lie and its word.
const LIES: [(Lie, &str); 4] = [
    (Lie::Malformed, "malformed"),
    (Lie::Replayed, "replayed"),
    (Lie::Forged, "forged"),
    (Lie::Impersonating, "impersonating"),
];

impl Lies {
    /// Reads `forged`, or several kinds: `forged+replayed`.
    fn parse(text: &str) -> Result<Self, String> {
        let mut lies = Self([false; 4]);
        for word in text.split('+') {
            let known = LIES.iter().position(|(_, known)| *known == word);
            let index = known.ok_or_else(|| {
                let all = LIES.map(|(_, word)| word).join(", ");
                format!(
                    "'{word}' is no kind of lie; there are {all}; several are written with + between them"
                )
            })?;
            lies.0[index] = true;
        }
        Ok(lies)
    }

    /// The kinds.
    pub fn kinds(self) -> impl Iterator<Item = Lie> {
        LIES.into_iter().zip(self.0).filter(|(_, told)| *told).map(|((lie, _), _)| lie)
    }
}

impl fmt::Display for Lies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = LIES.iter().zip(self.0).filter(|(_, told)| *told);
        let words: Vec<&str> = told.map(|((_, word), _)| *word).collect();
        f.write_str(&words.join("+"))
    }
}

/// Whom a fault hits.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// This many, drawn by chance.
    Count(usize),
    /// This share of the cluster, drawn by chance, rounded up.
    Share(f64),
    /// Exactly this member, by its number from 1: `node-3`.
    Node(usize),
    /// All of them.
    All,
}

/// Byzantine peers that are too many for a cluster that anybody runs.
const LIARS_MAX: usize = 101;

/// How the words of a kind are to be used.
struct Words {
    word: &'static str,
    /// Without an end it makes no sense.
    needs_span: bool,
    /// Without a beat it makes no sense.
    needs_beat: bool,
}

impl FaultKind {
    /// Its word, and what else must be said.
    fn words(self) -> Words {
        let words = |word, needs_span, needs_beat| Words { word, needs_span, needs_beat };
        match self {
            Self::Crash => words("crash", false, false),
            Self::PowerLoss => words("power-loss", false, false),
            Self::Leave => words("leave", false, false),
            Self::Pause => words("pause", true, false),
            Self::RollingRestart => words("rolling-restart", true, true),
            Self::Partition => words("partition", false, false),
            Self::Flapping => words("flapping", true, true),
            Self::Deaf => words("deaf", false, false),
            Self::Mute => words("mute", false, false),
            Self::Loss(_) => words("loss", false, false),
            Self::Delay(_) => words("delay", false, false),
            Self::Slow(_) => words("slow", false, false),
            Self::Block => words("block", true, false),
            Self::DiskFull => words("disk-full", false, false),
            Self::DiskFailing => words("disk-failing", false, false),
            Self::Join => words("join", false, false),
            Self::Byzantine { .. } => words("byzantine", false, false),
        }
    }

    /// Whether it brings hosts of its own, where others happen to some that are there.
    pub(super) fn brings_hosts(self) -> bool {
        matches!(self, Self::Join | Self::Byzantine { .. })
    }

    /// Whether `every` says how it goes, and not that it happens again.
    pub(super) fn has_own_beat(self) -> bool {
        matches!(self, Self::RollingRestart | Self::Flapping | Self::Byzantine { .. })
    }

    /// Whether it is about files, which members only have if they keep snapshots.
    pub(super) fn is_of_disks(self) -> bool {
        matches!(self, Self::DiskFull | Self::DiskFailing)
    }
}

/// What can go wrong: an example of each, and what it does, in a line.
pub const FAULT_KINDS: &[(&str, &str)] = &[
    ("crash 10 at 10s", "Processes end without a word; with 'for TIME' they start again after it."),
    ("power-loss node-3 at 10s for 1m", "Machines go down, and nobody gets any answer from there."),
    ("leave 2 at 10s", "Members leave gracefully."),
    ("rolling-restart all at 10s for 3s every 5s", "One leaves every 5 s and is back 3 s later."),
    ("pause 5 at 10s for 8s every 30s", "Processes stand still."),
    ("slow 50ms of 5 at 10s for 1m", "Each message and each timer keeps these busy for so long."),
    ("block 5 at 10s for 8s", "What these exchange with others waits, while their timers go on."),
    ("partition 30% at 10s for 1m", "These are split off from the others."),
    ("flapping 1 at 10s for 1m every 5s", "Cut off from everybody and connected, by turns."),
    ("deaf 1% at 10s", "Nothing arrives at these."),
    ("mute 1% at 10s", "Nothing that these send arrives."),
    ("loss 80% of 10 at 10s", "These lose a share of what they send and receive."),
    ("delay 200ms of 5 at 10s for 1m", "What these send and receive takes longer."),
    ("disk-full 5 at 10s for 1m", "No room for snapshots; for snapshots=true."),
    ("disk-failing 5 at 10s for 1m", "Half of all writes of snapshots fail; for snapshots=true."),
    ("join 20 at 10s", "New members join."),
    (
        "byzantine forged of 1 at 10s for 1m",
        "A peer with the cluster's key lies: malformed, replayed, forged, impersonating.",
    ),
    (
        "byzantine malformed+replayed of 2 without key at 10s for 1m every 50ms",
        "Somebody without it, each 20 times a second; for encrypted=true.",
    ),
];

/// From one message of a byzantine peer to its next on average, if nothing is said.
pub(super) const LIES_EVERY: Duration = Duration::from_millis(100);

impl Fault {
    /// Reads a fault: its kind and whom it hits, then `at TIME`, `for TIME` and `every TIME` in any order. Without `at` it happens at 10 s.
    ///
    /// # Errors
    /// What is wrong, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: String| {
            let examples: Vec<&str> = FAULT_KINDS.iter().map(|(example, _)| *example).collect();
            format!("{text:?}: {what}. Examples: {}", examples.join("; "))
        };
        let mut words = text.split_whitespace();
        let word = words.next().ok_or_else(|| wrong("it names no fault".to_owned()))?;
        let kind = match word {
            "crash" => FaultKind::Crash,
            "power-loss" => FaultKind::PowerLoss,
            "leave" => FaultKind::Leave,
            "pause" => FaultKind::Pause,
            "rolling-restart" => FaultKind::RollingRestart,
            "partition" => FaultKind::Partition,
            "flapping" => FaultKind::Flapping,
            "deaf" => FaultKind::Deaf,
            "mute" => FaultKind::Mute,
            "join" => FaultKind::Join,
            "block" => FaultKind::Block,
            "disk-full" => FaultKind::DiskFull,
            "disk-failing" => FaultKind::DiskFailing,
            "loss" | "delay" | "slow" | "byzantine" => {
                let what = if word == "byzantine" { "a kind of lies" } else { "an amount" };
                let amount = words.next().ok_or_else(|| wrong(format!("'{word}' needs {what}")))?;
                if words.next() != Some("of") {
                    return Err(wrong(format!("after '{word} {amount}' belongs 'of', and of whom")));
                }
                match word {
                    "loss" => FaultKind::Loss(share(amount).map_err(wrong)?),
                    "slow" => FaultKind::Slow(time_over_zero(amount).map_err(wrong)?),
                    "byzantine" => {
                        FaultKind::Byzantine { lies: Lies::parse(amount).map_err(wrong)?, has_key: true }
                    }
                    _ => FaultKind::Delay(time_over_zero(amount).map_err(wrong)?),
                }
            }
            other => return Err(wrong(format!("'{other}' is no fault that I know"))),
        };
        let whom = words.next().ok_or_else(|| wrong(format!("'{word}' does not say whom it hits")))?;
        let mut fault = Self {
            kind,
            target: Target::parse(whom).map_err(wrong)?,
            at: Duration::from_secs(10),
            lasting: None,
            every: None,
        };
        while let Some(when) = words.next() {
            let Some(span) = words.next() else {
                return Err(wrong(format!("'{when}' needs a time after it")));
            };
            if let ("without", "key", FaultKind::Byzantine { has_key, .. }) = (when, span, &mut fault.kind) {
                *has_key = false;
                continue;
            }
            match when {
                "at" => fault.at = time(span).map_err(wrong)?,
                "for" => fault.lasting = Some(time_over_zero(span).map_err(wrong)?),
                "every" => fault.every = Some(time_over_zero(span).map_err(wrong)?),
                other => return Err(wrong(format!("'{other}' stands where at, for or every belongs"))),
            }
        }
        fault.check().map_err(wrong)?;
        Ok(fault)
    }

    fn check(&self) -> Result<(), String> {
        let Words { word, needs_span, needs_beat } = self.kind.words();
        if needs_span && self.lasting.is_none() {
            return Err(format!("'{word}' needs 'for TIME'"));
        }
        if needs_beat && self.every.is_none() {
            return Err(format!("'{word}' needs 'every TIME'"));
        }
        if self.every.is_some_and(|every| every < Duration::from_millis(10)) {
            return Err("every 10 ms is as often as it may be".to_owned());
        }
        if self.kind.brings_hosts() && !matches!(self.target, Target::Count(_)) {
            let whose = if self.kind == FaultKind::Join { "members" } else { "peers" };
            return Err(format!("'{word}' needs the number of new {whose}"));
        }
        if let (FaultKind::Byzantine { .. }, Target::Count(LIARS_MAX..)) = (self.kind, &self.target) {
            return Err(format!("fewer than {LIARS_MAX} byzantine peers are as many as there may be"));
        }
        if self.kind == FaultKind::Join && self.lasting.is_some() {
            return Err("'join' has no end; who should go again can 'leave'".to_owned());
        }
        if self.kind == FaultKind::Partition && self.target == Target::All {
            return Err("'partition all' splits nobody off".to_owned());
        }
        Ok(())
    }

    /// How long one time of it takes in a cluster of this size; `None` if it has no end.
    pub(super) fn over_after(&self, nodes: usize) -> Option<Duration> {
        match (self.kind, self.every) {
            (FaultKind::RollingRestart, Some(every)) => {
                let turns = u32::try_from(self.target.count(nodes)).unwrap_or(u32::MAX);
                Some(every.saturating_mul(turns) + self.lasting?)
            }
            _ => self.lasting,
        }
    }

    /// What the fault is, without its times.
    pub fn title(&self) -> String {
        let word = self.kind.words().word;
        match self.kind {
            FaultKind::Byzantine { lies, has_key } => {
                let without = if has_key { "" } else { " without key" };
                format!("{word} {lies} of {}{without}", self.target)
            }
            FaultKind::Loss(share) => format!("{word} {} of {}", percent(share), self.target),
            FaultKind::Delay(by) | FaultKind::Slow(by) => {
                format!("{word} {} of {}", span::text(by), self.target)
            }
            _ => format!("{word} {}", self.target),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.title(), span::text(self.at))?;
        if let Some(lasting) = self.lasting {
            write!(f, " for {}", span::text(lasting))?;
        }
        if let Some(every) = self.every {
            write!(f, " every {}", span::text(every))?;
        }
        Ok(())
    }
}

impl Target {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("'{text}' names nobody; write how many (10), a share (5%), one of them (node-3), or all")
        };
        if text == "all" {
            return Ok(Self::All);
        }
        if text.ends_with('%') {
            return match share(text)? {
                share if share > 0.0 => Ok(Self::Share(share)),
                _nobody => Err(wrong()),
            };
        }
        if let Some(number) = text.strip_prefix("node-") {
            return number.parse().ok().filter(|number| *number > 0).map(Self::Node).ok_or_else(wrong);
        }
        text.parse().ok().filter(|count| *count > 0).map(Self::Count).ok_or_else(wrong)
    }

    /// How many of `nodes` it is.
    pub fn count(&self, nodes: usize) -> usize {
        match self {
            Self::Count(count) => *count,
            // Seven per cent of 100 are 7, whatever 0.07 is in binary.
            Self::Share(share) => (share * nodes as f64 - 1e-9).ceil() as usize,
            Self::Node(_) => 1,
            Self::All => nodes,
        }
    }
}

/// A share as people write it.
fn percent(share: f64) -> String {
    format!("{}%", (share * 1e8).round() / 1e6)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Share(share) => f.write_str(&percent(*share)),
            Self::Node(number) => write!(f, "node-{number}"),
            Self::All => f.write_str("all"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_read_and_written_again() {
        for (example, _) in FAULT_KINDS {
            let fault = Fault::parse(example).unwrap_or_else(|why| panic!("{why}"));
            assert_eq!(fault.to_string(), *example);
        }
        assert_eq!(Fault::parse("crash 3").map(|fault| fault.to_string()), Ok("crash 3 at 10s".to_owned()));
    }

    #[test]
    fn shares_hit_as_many_as_people_count_and_read_as_they_were_written() {
        for (text, nodes, count) in [
            ("7%", 100, 7),
            ("55%", 100, 55),
            ("1%", 100, 1),
            ("1%", 101, 2),
            ("33.3%", 10, 4),
            ("0.1%", 10, 1),
        ] {
            let fault = Fault::parse(&format!("crash {text} at 10s")).unwrap_or_else(|why| panic!("{why}"));
            assert_eq!((fault.target.count(nodes), fault.title()), (count, format!("crash {text}")));
        }
        let loss = Fault::parse("loss 7% of 14% at 10s").unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(loss.to_string(), "loss 7% of 14% at 10s");
    }

    #[test]
    fn what_is_missing_or_wrong_is_said() {
        for (text, what) in [
            ("", "names no fault"),
            ("explode 3", "'explode' is no fault"),
            ("crash", "does not say whom"),
            ("crash -1", "'-1' names nobody"),
            ("crash 0", "'0' names nobody"),
            ("crash 0%", "'0%' names nobody"),
            ("crash node-0", "names nobody"),
            ("crash 3 at", "'at' needs a time"),
            ("crash 3 at noon", "no span of time"),
            ("crash 3 on 5s", "'on' stands where"),
            ("pause 3 at 5s", "needs 'for TIME'"),
            ("flapping 3 at 5s for 10s", "needs 'every TIME'"),
            ("pause 3 for 1s every 1ms", "every 10 ms"),
            ("loss 80% 10", "belongs 'of'"),
            ("slow 10 at 5s", "belongs 'of'"),
            ("slow 0s of 10", "no time at all"),
            ("block 10", "needs 'for TIME'"),
            ("loss 180% of 10", "is no share"),
            ("join 10%", "number of new members"),
            ("byzantine", "needs a kind of lies"),
            ("byzantine 2 at 10s", "belongs 'of'"),
            ("byzantine white of 2", "'white' is no kind of lie"),
            ("byzantine forged of 10%", "number of new peers"),
            ("byzantine forged of 1000", "fewer than"),
            ("byzantine forged of 1 without at 5s", "'without' stands where"),
            ("crash 1 without key", "'without' stands where"),
            ("partition all", "splits nobody off"),
        ] {
            let why = Fault::parse(text).expect_err(text);
            assert!(why.contains(what), "{text}: {why}");
        }
    }
}
