//! Names of metrics, and the cap on those that others choose.

use std::collections::BTreeSet;
use std::sync::Arc;

/// What all names begin with. (Serf: `command.go`, the service name it gives to go-metrics.)
pub(super) const PREFIX: &str = "serf-agent.";

/// Names of user events and queries told apart. Serf tells all apart, and so keeps whatever anybody on the network
/// makes up.
const EVENT_NAMES_MAX: usize = 64;

/// Scripts told apart.
const SCRIPTS_MAX: usize = 64;

/// Longest such name, in bytes.
const PART_BYTES_MAX: usize = 128;

/// What stands for the names beyond.
const OTHER: &str = "other";

/// A name without the common prefix: a fixed part, and possibly one that somebody chose.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    /// Put before everything: a host name with its dot.
    host: Option<Arc<str>>,
    pub(super) fixed: &'static str,
    pub(super) chosen: Option<Arc<str>>,
}

impl Name {
    pub(super) fn plain(fixed: &'static str) -> Self {
        Self { host: None, fixed, chosen: None }
    }

    /// The name of a gauge, under its host.
    pub(super) fn under(&self, host: &str) -> Self {
        Self { host: Some(host.into()), ..self.clone() }
    }

    /// The whole name, as memory keeps it. (armon/go-metrics: `inmem.go`, flattenKey: no spaces.)
    pub(super) fn text(&self) -> String {
        let host = self.host.as_deref().unwrap_or_default();
        let chosen = self.chosen.as_deref();
        let (dot, chosen) = chosen.map_or(("", ""), |chosen| (".", chosen));
        format!("{PREFIX}{host}{}{dot}{chosen}", self.fixed).replace(' ', "_")
    }

    /// The whole name on the wire of statsd. (armon/go-metrics: `statsd.go`, flattenKey: neither colons nor spaces.)
    /// What would end the line or the value is replaced too.
    pub(super) fn wire_text(&self) -> String {
        self.text().replace([':', '|', '@', '\n', '\r'], "_")
    }
}

/// Which names have a cap of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Event,
    Script,
}

/// Names seen so far.
#[derive(Debug, Default)]
pub(super) struct Known {
    events: BTreeSet<Name>,
    scripts: BTreeSet<Name>,
}

impl Known {
    /// The name of a metric with a part that somebody chose; `other` once there are too many.
    pub(super) fn name(&mut self, family: Family, fixed: &'static str, chosen: &str) -> Name {
        let (known, limit) = match family {
            Family::Event => (&mut self.events, EVENT_NAMES_MAX),
            Family::Script => (&mut self.scripts, SCRIPTS_MAX),
        };
        let name = Name { host: None, fixed, chosen: Some(chosen.into()) };
        if let Some(known) = known.get(&name) {
            return known.clone();
        }
        if known.len() >= limit || chosen.len() > PART_BYTES_MAX {
            return Name { chosen: Some(OTHER.into()), ..name };
        }
        known.insert(name.clone());
        name
    }
}
