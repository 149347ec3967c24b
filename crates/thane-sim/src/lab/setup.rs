//! A setup: which cluster, on which network, under which load, with which faults, for how long.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use thane_core::Config;
use toml::de::{DeTable, DeValue};

use super::fault::{Fault, FaultKind, Target};
use super::gallery;
use super::keys::{self, FAULTS, KEYS, Key, OTHER};
use crate::byzantine::can_forge;
use crate::network::{Quality, Topology};
use crate::span;

/// More nodes than this do not fit into anybody's memory.
pub const NODES_MAX: usize = 50_000;
/// A cluster that runs longer than this in virtual time is a slip.
pub(super) const DURATION_MAX: Duration = Duration::from_secs(31 * 24 * 3600);

/// When the cluster starts, seen from when the clock starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Before: everybody knows everybody when the clock starts, and the network was in order until then.
    Formed,
    /// With it: all processes start in the same second and join through the first one.
    Together,
    /// From then on, one every so often, through the first one.
    OneByOne(Duration),
}

/// When a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// When its time is up.
    Time,
    /// As soon as the last fault is over and all views are right, and at the latest when its time is up.
    Agreed,
}

/// What the members' applications do, each a rate a second for the whole cluster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// User events sent, by members drawn by chance.
    pub events: f64,
    /// Bytes of payload that each has.
    pub event_bytes: usize,
    /// Tag updates.
    pub tags: f64,
    /// Queries to all members, which they acknowledge.
    pub queries: f64,
    /// Members that crash or leave, by turns, and come back.
    pub churn: f64,
    /// How long each of those is away.
    pub away: Duration,
}

/// Some of the members run with other settings.
#[derive(Debug, Clone)]
pub struct Other {
    /// Which share of the members, 0 to 1. They are spread evenly; the first member is never one of them.
    pub share: f64,
    /// Their settings.
    pub config: Config,
}

/// A cluster, its network, its load and its faults. Made of keys and values ([`KEYS`]), from flags, a TOML file or a name of the
/// gallery; two setups of the same keys and values are the same, whatever the order in which they were given.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How a file is read that a value names. This crate itself reads none.
    pub(super) read: ReadFile,
    /// The name of the gallery that it began with.
    scenario: Option<&'static str>,
    /// What was set besides, in one order.
    given: BTreeMap<String, String>,
    /// The faults that were given; those of the gallery only until others are.
    given_faults: Vec<String>,

    /// How many members.
    pub nodes: usize,
    /// The settings of all members. Name and address are each member's own.
    pub config: Config,
    /// The members with other settings.
    pub other: Option<Other>,
    /// The network once the clock runs.
    pub quality: Quality,
    /// How far apart the hosts are.
    pub topology: Topology,
    /// How the cluster comes to be.
    pub start: Start,
    /// Whether members keep a snapshot, with which they start again.
    pub snapshots: bool,
    /// Whether every step is held against the rules of the protocol.
    pub rules: bool,
    /// How far their clocks go wrong at most, as a share of the time: 0.01 is a second in a hundred.
    pub clock_drift: f64,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// What the applications do.
    pub load: Load,
    /// How long it runs.
    pub duration: Duration,
    /// Whether it may end earlier.
    pub end: End,
    /// The member whose suspicions are told in full, by its number from 1.
    pub watch: Option<usize>,
}

/// Reads a file's text, or says why not.
pub type ReadFile = fn(&str) -> Result<String, String>;

/// Why a setup cannot be: where it says so, what is wrong and what would be right, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupError(pub(super) String);

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SetupError {}

impl Default for Setup {
    fn default() -> Self {
        // Each member gets its own name and address.
        let config = Config::lan("node", SocketAddr::new(Ipv4Addr::new(10, 0, 0, 1).into(), 7946));
        Self {
            read: |_| Err("no files are read here".to_owned()),
            scenario: None,
            given: BTreeMap::new(),
            given_faults: Vec::new(),
            nodes: 100,
            config,
            other: None,
            quality: Quality::good(),
            topology: Topology::Flat,
            start: Start::Formed,
            snapshots: false,
            rules: false,
            clock_drift: 0.0,
            faults: Vec::new(),
            load: Load {
                events: 0.0,
                event_bytes: 64,
                tags: 0.0,
                queries: 0.0,
                churn: 0.0,
                away: Duration::from_secs(10),
            },
            duration: Duration::ZERO,
            end: End::Time,
            watch: None,
        }
        .with_duration()
    }
}

impl Setup {
    /// The defaults, and whatever names a file may read one.
    pub fn reading(read: ReadFile) -> Self {
        Self { read, ..Self::default() }
    }

    /// One of the gallery.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn named(name: &str) -> Result<Self, SetupError> {
        let found = gallery::find(name).ok_or_else(|| {
            let names: Vec<&str> = gallery::GALLERY.iter().map(|named| named.name).collect();
            SetupError(format!("there is no scenario '{name}'; there are {}", names.join(", ")))
        })?;
        Self { scenario: Some(found.name), ..Self::default() }.resolved()
    }

    /// Reads a list of keys and values, the first of which may be a name of the gallery: `crash, nodes=50, fault=crash 2 at 5s`.
    ///
    /// # Errors
    /// The first thing that cannot be.
    pub fn parse(text: &str) -> Result<Self, SetupError> {
        let mut setup = Self::default();
        for (index, item) in text.split(',').map(str::trim).enumerate() {
            match item.split_once('=') {
                Some((key, value)) => setup = setup.with(key.trim(), value.trim())?,
                None if index == 0 && !item.is_empty() => setup = Self::named(item)?,
                None if item.is_empty() => {}
                None => {
                    return Err(SetupError(format!("'{item}' is no setting; write KEY=VALUE, as loss=5%")));
                }
            }
        }
        setup.complete()?;
        Ok(setup)
    }

    /// The same with what a TOML file's text says: the keys as they are, or in tables named for their groups.
    ///
    /// # Errors
    /// The first thing that cannot be, whatever else is said, with its line.
    pub fn with_toml(self, text: &str) -> Result<Self, SetupError> {
        let line = |start: usize| text[..start].matches('\n').count() + 1;
        let table = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line(span.start));
            SetupError(format!("line {line}: {}", error.message()))
        })?;
        let mut entries = Vec::new();
        collect(table.get_ref(), None, &mut entries);
        entries.sort_by_key(|entry| (entry.key != "scenario", entry.at));
        let mut setup = self;
        for Entry { group, key, value, at } in entries {
            let told = |wrong: SetupError| SetupError(format!("line {}: {wrong}", line(at)));
            let value = value.map_err(|wrong| told(SetupError(format!("{key} {wrong}"))))?;
            setup = match group.as_deref() {
                None => setup.with(&key, &value),
                Some("other") => setup.with(&format!("{OTHER}{key}"), &value),
                Some(group) => keys::in_group(group, &key).and_then(|()| setup.with(&key, &value)),
            }
            .map_err(told)?;
        }
        Ok(setup)
    }

    /// The same with one thing set. `fault` adds a fault to those that were added before; the first takes the place of the gallery's.
    /// Whether the whole can be is only known once all is said: see [`Setup::complete`].
    ///
    /// # Errors
    /// When there is no such key, or when the value is not of its kind.
    pub fn with(mut self, key: &str, value: &str) -> Result<Self, SetupError> {
        if key == "scenario" {
            let given = std::mem::take(&mut self.given);
            let given_faults = std::mem::take(&mut self.given_faults);
            let (named, read) = (Self::named(value)?, self.read);
            return Self { read, given, given_faults, ..named }.resolved();
        }
        if FAULTS.contains(&key) {
            if value == "none" {
                self.given_faults = vec!["none".to_owned()];
            } else {
                let fault = Fault::parse(value).map_err(SetupError)?;
                self.given_faults.retain(|known| known != "none");
                self.given_faults.push(fault.to_string());
            }
            return self.resolved();
        }
        let known = keys::find(key)?;
        let name = if key.starts_with(OTHER) { key.to_owned() } else { known.name.to_owned() };
        self.given.insert(name, value.to_owned());
        self.resolved()
    }

    /// Whether all that was said can be together, and nothing is missing. Ask when all is said.
    ///
    /// # Errors
    /// The first thing that cannot be.
    pub fn complete(&self) -> Result<(), SetupError> {
        let wrong = |what: &str| Err(SetupError(what.to_owned()));
        let theirs = self.given.keys().find(|name| name.starts_with(OTHER));
        if let Some(name) = theirs.filter(|_| self.other.is_none()) {
            return Err(SetupError(format!(
                "{name} is for some of the members; say for which share: other_share=50%"
            )));
        }
        if self.says("start_every") && !matches!(self.start, Start::OneByOne(_)) {
            return wrong("start_every is for start=one-by-one");
        }
        if self.says("jitter") && !self.value("latency").is_none_or(keys::is_single_latency) {
            return wrong(
                "jitter is for a latency that is a single time; the latency is a distribution already",
            );
        }
        if self.says("reordering_delay") && !self.says("reordering") {
            return wrong(
                "reordering_delay does nothing without reordering, the share of packets that are held back",
            );
        }
        if self.says("zones") && self.says("matrix") {
            return wrong("zones and matrix both say how far apart the members are; give one of them");
        }
        if self.says("zone_latency") && !self.says("zones") {
            return wrong("zone_latency: there are no zones; set zones as well");
        }
        self.check_settings()?;
        self.check_sizes()?;
        self.faults.iter().try_for_each(|fault| self.check_fault(fault))
    }

    /// What was said of a key, by the gallery or since.
    fn value(&self, name: &str) -> Option<&str> {
        // Who gives a matrix means it in place of the scenario's zones.
        let is_replaced = matches!(name, "zones" | "zone_latency") && self.given.contains_key("matrix");
        let of_base = || {
            let sets = self.scenario.and_then(gallery::find).filter(|_| !is_replaced)?.sets;
            sets.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| *value)
        };
        self.given.get(name).map(String::as_str).or_else(of_base)
    }

    fn says(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Applies what was given in the order of [`KEYS`], so that it does not matter in which order it was.
    fn resolved(self) -> Result<Self, SetupError> {
        let base = self.scenario.and_then(gallery::find);
        let sets = base.into_iter().flat_map(|named| named.sets);
        let mut faults: Vec<&str> =
            sets.filter(|(key, _)| *key == "fault").map(|(_, fault)| *fault).collect();
        if !self.given_faults.is_empty() {
            faults = self.given_faults.iter().map(String::as_str).filter(|fault| *fault != "none").collect();
        }
        let mut setup = Self::reading(self.read);
        for key in KEYS {
            if let Some(value) = self.value(key.name) {
                key.apply(&mut setup, value)?;
            }
        }
        for fault in faults {
            setup.faults.push(Fault::parse(fault).map_err(SetupError)?);
        }
        if let Some(share) = self.value("other_share") {
            setup.other = Some(self.other_config(setup.clone(), share)?);
        }
        let setup = Self {
            scenario: self.scenario,
            given: self.given.clone(),
            given_faults: self.given_faults.clone(),
            ..setup
        };
        Ok(if setup.says("duration") { setup } else { setup.with_duration() })
    }

    /// The settings of the others: those of all, and what was said of theirs.
    fn other_config(&self, mut theirs: Self, share: &str) -> Result<Other, SetupError> {
        for key in KEYS.iter().filter(|key| key.is_setting()) {
            if let Some(value) = self.value(&format!("{OTHER}{}", key.name)) {
                key.apply(&mut theirs, value)?;
            }
        }
        let share =
            super::values::share(share).map_err(|wrong| SetupError(format!("other_share: {wrong}")))?;
        Ok(Other { share, config: theirs.config })
    }

    /// Long enough to see what the last fault does: as long as a suspicion may last in such a cluster, and a little.
    fn with_duration(mut self) -> Self {
        let over =
            self.faults.iter().map(|fault| fault.at + fault.over_after(self.nodes).unwrap_or_default());
        let over = over.max();
        let rest = if self.config.probe_interval > Duration::from_secs(2) { 240 } else { 60 };
        self.duration = over.unwrap_or_default() + Duration::from_secs(rest);
        self
    }

    fn check_settings(&self) -> Result<(), SetupError> {
        for (whose, config) in
            std::iter::once(("", &self.config)).chain(self.other.iter().map(|other| (OTHER, &other.config)))
        {
            if let Err(problems) = config.validate() {
                let told: Vec<String> = problems.iter().map(|problem| format!("{whose}{problem}")).collect();
                return Err(SetupError(told.join("; ")));
            }
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<(), SetupError> {
        let wrong = |what: String| Err(SetupError(what));
        if self.duration > DURATION_MAX {
            return wrong(format!("duration is {}; at most 31 days can be run", span::text(self.duration)));
        }
        let joining = self.joining();
        if self.nodes + joining > NODES_MAX {
            return wrong(format!("{} nodes are more than {NODES_MAX}", self.nodes + joining));
        }
        if self.watch.is_some_and(|node| node > self.nodes + joining) {
            return wrong(format!("watch names a member that is not there; there are {} nodes", self.nodes));
        }
        Ok(())
    }

    fn check_fault(&self, fault: &Fault) -> Result<(), SetupError> {
        let wrong = |what: String| Err(SetupError(what));
        let (nodes, known) = (self.nodes, self.nodes + self.joining());
        match fault.target {
            _ if fault.kind.brings_hosts() => {}
            Target::Count(count) if count > nodes => {
                return wrong(format!("'{fault}' hits {count} of {nodes} nodes"));
            }
            Target::Node(number) if number > known => {
                return wrong(format!("'{fault}' hits a node that is not there; there are {known} nodes"));
            }
            _ => {}
        }
        if fault.kind == FaultKind::Partition && fault.target.count(nodes) >= known {
            return wrong(format!("'{fault}' splits all {known} nodes off from nobody"));
        }
        if fault.kind.is_of_disks() && !self.snapshots {
            return wrong(format!("'{fault}' means nothing to members without files; set snapshots=true"));
        }
        if let FaultKind::Byzantine { has_key: false, .. } = fault.kind
            && self.config.keyring.is_empty()
        {
            return wrong(format!("'{fault}': there is no key that it could be without; set encrypted=true"));
        }
        if fault.at >= self.duration {
            return wrong(format!("'{fault}' begins after the end at {}", span::text(self.duration)));
        }
        Ok(())
    }

    /// How many byzantine peers there will be.
    pub(super) fn liars(&self) -> usize {
        let liars = self.faults.iter().filter(|fault| matches!(fault.kind, FaultKind::Byzantine { .. }));
        liars.map(|fault| fault.target.count(self.nodes)).sum()
    }

    /// Whether there will be byzantine peers whose lies members believe.
    pub(super) fn is_forged(&self) -> bool {
        let encrypted = !self.config.keyring.is_empty();
        self.faults.iter().any(|fault| match fault.kind {
            FaultKind::Byzantine { lies, has_key } => can_forge(has_key, encrypted, lies.kinds()),
            _ => false,
        })
    }

    /// How many join beyond the first ones.
    pub(super) fn joining(&self) -> usize {
        let joins = self.faults.iter().filter(|fault| fault.kind == FaultKind::Join);
        joins
            .map(|fault| {
                let turns = match fault.every {
                    Some(every) => {
                        let left = self.duration.saturating_sub(fault.at);
                        1 + (left.as_nanos() / every.as_nanos().max(1)) as usize
                    }
                    None => 1,
                };
                fault.target.count(self.nodes).saturating_mul(turns)
            })
            .fold(0, usize::saturating_add)
    }

    /// The settings of a member, by its index from 0, at its address.
    pub(super) fn config_of(&self, index: usize, addr: SocketAddr) -> Config {
        let is_other = self.other.as_ref().filter(|other| {
            // Evenly: the whole number of others up to here grows at this member.
            let up_to = |count: usize| (other.share * count as f64 + 1e-9).floor();
            index > 0 && up_to(index + 1) > up_to(index)
        });
        let config = is_other.map_or(&self.config, |other| &other.config);
        Config { name: name_of(index), advertise: addr, bind_port: addr.port(), ..config.clone() }
    }

    /// The name of the gallery that it began with.
    pub fn scenario(&self) -> Option<&'static str> {
        self.scenario
    }

    /// What was set, besides what the gallery sets.
    pub fn given(&self) -> impl Iterator<Item = (&str, &str)> {
        let keys = self.given.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        keys.chain(self.given_faults.iter().map(|fault| ("fault", fault.as_str())))
    }

    /// In one line: what was set, for headings.
    pub fn title(&self) -> String {
        let given = self.given().map(|(key, value)| format!("{key}={value}"));
        let parts: Vec<String> = self.scenario.map(str::to_owned).into_iter().chain(given).collect();
        if parts.is_empty() { "the defaults".to_owned() } else { parts.join(", ") }
    }

    /// The same as arguments of `thane sim`, from which a shell makes this setup again.
    pub fn arguments(&self) -> String {
        let quoted = |text: &str| {
            let is_plain = |it: char| it.is_ascii_alphanumeric() || "-_.=%/:".contains(it);
            if text.chars().all(is_plain) {
                text.to_owned()
            } else {
                format!("'{}'", text.replace('\'', r"'\''"))
            }
        };
        let scenario = self.scenario.map(|name| format!("-scenario {name}"));
        let given = self.given().map(|(key, value)| match keys::find(key) {
            _ if key == "fault" => format!("-fault {}", quoted(value)),
            Ok(known) if known.has_flag && !key.starts_with(OTHER) => format!("-{key} {}", quoted(value)),
            _ => format!("-set {}", quoted(&format!("{key}={value}"))),
        });
        scenario.into_iter().chain(given).collect::<Vec<_>>().join(" ")
    }
}

/// The name of the member with this index.
pub(super) fn name_of(index: usize) -> String {
    format!("node-{}", index + 1)
}

/// The index of the member of this name.
pub(super) fn index_of(name: &str) -> Option<usize> {
    name.strip_prefix("node-")?.parse::<usize>().ok()?.checked_sub(1)
}

/// A value of a TOML file.
struct Entry {
    group: Option<String>,
    key: String,
    value: Result<String, &'static str>,
    at: usize,
}

fn collect(table: &DeTable<'_>, group: Option<&str>, entries: &mut Vec<Entry>) {
    for (key, value) in table {
        let (at, name) = (key.span().start, key.get_ref().to_string());
        let mut add = |value: Result<String, &'static str>| {
            entries.push(Entry { group: group.map(str::to_owned), key: name.clone(), value, at });
        };
        match value.get_ref() {
            DeValue::Table(inner) if group.is_none() => collect(inner, Some(key.get_ref()), entries),
            DeValue::Array(items) => {
                for item in items {
                    add(scalar(item.get_ref()).ok_or("takes texts in its list"));
                }
            }
            other => add(scalar(other).ok_or("is of a kind that no setting has")),
        }
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.as_str().replace('_', "")),
        DeValue::Float(number) => Some(number.as_str().replace('_', "")),
        DeValue::Boolean(on) => Some(on.to_string()),
        _ => None,
    }
}

impl Key {
    /// Sets it.
    fn apply(&self, setup: &mut Setup, value: &str) -> Result<(), SetupError> {
        self.set(setup, value).map_err(|wrong| SetupError(format!("{}: {wrong}", self.name)))
    }
}
