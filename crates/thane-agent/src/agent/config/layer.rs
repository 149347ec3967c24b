//! What one source said, and how several become one. (Serf: `config.go`, `MergeConfig`.)

use std::collections::BTreeMap;

use super::keys::{KEYS, Kind, key};
use crate::goflags::{GoDuration, parse_duration};

/// The value of a key. The variant follows from the key's kind.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Setting {
    Text(String),
    Bool(bool),
    Int(i64),
    Duration(GoDuration),
    List(Vec<String>),
    Map(BTreeMap<String, String>),
}

impl Setting {
    /// Whether it says nothing, as far as merging is concerned.
    fn is_empty(&self, kind: Kind) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Bool(on) => !on && kind == Kind::Bool,
            Self::Int(number) => *number == 0 || (*number < 0 && kind == Kind::PositiveInt),
            Self::Duration(duration) => *duration == GoDuration::ZERO,
            Self::List(elements) => elements.is_empty(),
            Self::Map(pairs) => pairs.is_empty(),
        }
    }
}

/// Keys and their values: what one source said, or what all together say. The getters take the name of a key of that
/// kind; any other name is a mistake in this program, and panics.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::agent) struct Layer {
    settings: BTreeMap<&'static str, Setting>,
}

impl Layer {
    /// What holds if nobody says anything.
    pub(super) fn defaults() -> Self {
        let settings = KEYS.iter().filter(|key| !key.default.is_empty()).map(|key| {
            let text = key.default;
            let setting = match key.kind {
                Kind::Text => Setting::Text(text.to_owned()),
                Kind::Switch => Setting::Bool(text == "true"),
                Kind::Duration => Setting::Duration(
                    parse_duration(text).unwrap_or_else(|error| panic!("default of {}: {error}", key.name)),
                ),
                other => panic!("key {} of kind {other:?} cannot have a default", key.name),
            };
            (key.name, setting)
        });
        Self { settings: settings.collect() }
    }

    /// Adds the value of a key that this source has said nothing about.
    pub(super) fn set(&mut self, name: &'static str, setting: Setting) {
        self.settings.insert(name, setting);
    }

    /// Adds what a later source says.
    pub(super) fn merge(&mut self, later: Self) {
        for (name, setting) in later.settings {
            let kind = key(name).kind;
            if setting.is_empty(kind) || kind == Kind::Ignored {
                continue;
            }
            match (self.settings.get_mut(name), setting) {
                (Some(Setting::List(elements)), Setting::List(more)) => elements.extend(more),
                (Some(Setting::Map(pairs)), Setting::Map(more)) => pairs.extend(more),
                (_, setting) => {
                    self.settings.insert(name, setting);
                }
            }
        }
    }

    /// Keys whose values differ in `new`, but that a reload does not change.
    pub(in crate::agent) fn changed_for_later(&self, new: &Self) -> Vec<&'static str> {
        let keys = KEYS.iter().filter(|key| !key.reloads);
        keys.filter(|key| self.settings.get(key.name) != new.settings.get(key.name))
            .map(|key| key.name)
            .collect()
    }

    /// A text; `None` for an empty one.
    pub(in crate::agent) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name, &[Kind::Text, Kind::Secret]) {
            Some(Setting::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// A boolean.
    pub(in crate::agent) fn bool(&self, name: &str) -> bool {
        matches!(self.get(name, &[Kind::Bool, Kind::Switch]), Some(Setting::Bool(true)))
    }

    /// A number, 0 if nobody gave one.
    pub(in crate::agent) fn int(&self, name: &str) -> i64 {
        match self.get(name, &[Kind::Int, Kind::PositiveInt]) {
            Some(Setting::Int(number)) => *number,
            _ => 0,
        }
    }

    /// A duration, if somebody gave one.
    pub(in crate::agent) fn duration(&self, name: &str) -> Option<GoDuration> {
        match self.get(name, &[Kind::Duration]) {
            Some(Setting::Duration(duration)) => Some(*duration),
            _ => None,
        }
    }

    /// The elements of a list.
    pub(in crate::agent) fn list(&self, name: &str) -> &[String] {
        match self.get(name, &[Kind::List]) {
            Some(Setting::List(elements)) => elements,
            _ => &[],
        }
    }

    /// The pairs of a map.
    pub(in crate::agent) fn map(&self, name: &str) -> BTreeMap<String, String> {
        match self.get(name, &[Kind::Map]) {
            Some(Setting::Map(pairs)) => pairs.clone(),
            _ => BTreeMap::new(),
        }
    }

    fn get(&self, name: &str, kinds: &[Kind]) -> Option<&Setting> {
        let key = key(name);
        assert!(kinds.contains(&key.kind), "key {name} is of another kind than asked for: {:?}", key.kind);
        self.settings.get(key.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(settings: &[(&'static str, Setting)]) -> Layer {
        Layer { settings: settings.iter().cloned().collect() }
    }

    fn texts(list: &[&str]) -> Setting {
        Setting::List(list.iter().copied().map(String::from).collect())
    }

    fn pairs(list: &[(&str, &str)]) -> Setting {
        Setting::Map(list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    /// The rules of 3.4, each with what an earlier source said, a later one says, and what holds then.
    #[test]
    fn each_kind_merges_by_its_rule() {
        let (text, int) = (|text: &str| Setting::Text(text.to_owned()), Setting::Int);
        let duration = |nanos| Setting::Duration(GoDuration::from_nanos(nanos));
        for (name, earlier, later, expected) in [
            ("node_name", text("a"), text("b"), text("b")),
            ("node_name", text("a"), text(""), text("a")),
            ("replay_on_join", Setting::Bool(true), Setting::Bool(false), Setting::Bool(true)),
            ("replay_on_join", Setting::Bool(false), Setting::Bool(true), Setting::Bool(true)),
            ("enable_compression", Setting::Bool(true), Setting::Bool(false), Setting::Bool(false)),
            ("enable_compression", Setting::Bool(false), Setting::Bool(true), Setting::Bool(true)),
            ("protocol", int(4), int(-3), int(4)),
            ("protocol", int(4), int(2), int(2)),
            ("retry_max_attempts", int(4), int(0), int(4)),
            ("retry_max_attempts", int(4), int(-1), int(-1)),
            ("retry_interval", duration(5), duration(0), duration(5)),
            ("retry_interval", duration(5), duration(-1), duration(-1)),
            ("start_join", texts(&["a"]), texts(&["b", "a"]), texts(&["a", "b", "a"])),
            (
                "tags",
                pairs(&[("a", "1"), ("b", "1")]),
                pairs(&[("b", "2")]),
                pairs(&[("a", "1"), ("b", "2")]),
            ),
        ] {
            let mut merged = layer(&[(name, earlier)]);
            merged.merge(layer(&[(name, later)]));
            assert_eq!(merged, layer(&[(name, expected)]), "{name}");
        }
    }

    #[test]
    fn defaults_hold_until_somebody_says_otherwise() {
        let mut config = Layer::defaults();
        assert_eq!((config.text("bind"), config.text("log_level")), (Some("0.0.0.0"), Some("INFO")));
        assert_eq!(
            config.duration("retry_interval").map(|interval| interval.to_string()),
            Some("30s".to_owned())
        );
        assert!(config.bool("enable_compression") && !config.bool("enable_syslog"));
        config.merge(layer(&[("bind", Setting::Text("127.0.0.1".to_owned()))]));
        assert_eq!(config.text("bind"), Some("127.0.0.1"));
        assert_eq!((config.int("protocol"), config.list("start_join").len()), (0, 0));
    }
}
