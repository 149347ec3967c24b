//! From the tree of a file to its keys, with the complaints that Serf has about wrong ones. (Serf: `config.go`,
//! `DecodeConfig`, whose complaints are those of the mapstructure package.)

use std::collections::BTreeMap;

use super::keys::{KEYS, Key, Kind};
use super::layer::{Layer, Setting};
use super::tree::{Entry, Tree, Value};
use crate::goflags::{nearest, parse_duration};

/// What is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// In Serf's words.
    pub(super) message: String,
    /// Where, as a byte of the file, and what to do about it.
    pub(super) remedies: Vec<(usize, String)>,
}

/// All that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The file as a whole is of the wrong kind, or a value that has the right type cannot be read.
    One(Fault),
    /// Keys and types, sorted by message.
    Many(Vec<Fault>),
}

/// Reads the keys.
///
/// # Errors
/// All unknown keys and wrong types, or the first duration that is none.
pub(super) fn decode(tree: &Tree) -> Result<Layer, Refusal> {
    let mut decoder = Decoder { layer: Layer::default(), faults: Vec::new(), late_faults: Vec::new() };
    match &tree.value {
        Value::Null => {}
        Value::Map(entries) => decoder.group("", entries),
        other => {
            return Err(Refusal::One(Fault {
                message: format!("'' expected a map, got '{}'", other.kind_name()),
                remedies: vec![(
                    tree.at,
                    "the file must be one JSON object, { \"KEY\": VALUE, ... }".to_owned(),
                )],
            }));
        }
    }
    decoder.faults.sort_by(|a, b| a.message.cmp(&b.message));
    if !decoder.faults.is_empty() {
        return Err(Refusal::Many(decoder.faults));
    }
    match decoder.late_faults.into_iter().next() {
        Some(fault) => Err(Refusal::One(fault)),
        None => Ok(decoder.layer),
    }
}

struct Decoder {
    layer: Layer,
    faults: Vec<Fault>,
    /// Of values whose type is right.
    late_faults: Vec<Fault>,
}

impl Decoder {
    /// The keys of a group, or those of none.
    fn group(&mut self, group: &str, entries: &[Entry]) {
        let mut taken: Vec<&str> = Vec::new();
        for key in KEYS.iter().filter(|key| split(key.name).0 == group) {
            if let Some(entry) = choose(entries, split(key.name).1) {
                taken.push(&entry.name);
                self.key(key, &entry.tree);
            }
        }
        if group.is_empty() {
            for name in groups() {
                if let Some(entry) = choose(entries, name) {
                    taken.push(&entry.name);
                    match &entry.tree.value {
                        Value::Null => {}
                        Value::Map(entries) => self.group(name, entries),
                        other => self.wrong(
                            &entry.tree,
                            format!("'{name}' expected a map, got '{}'", other.kind_name()),
                            "a map of keys and values",
                        ),
                    }
                }
            }
        }
        self.unknown(group, entries.iter().filter(|entry| !taken.contains(&&*entry.name)));
    }

    fn unknown<'a>(&mut self, group: &str, unknown: impl Iterator<Item = &'a Entry>) {
        let mut unknown: Vec<&Entry> = unknown.collect();
        if unknown.is_empty() {
            return;
        }
        unknown.sort_by(|a, b| a.name.cmp(&b.name));
        let names: Vec<&str> = unknown.iter().map(|entry| &*entry.name).collect();
        let known = || {
            let names = KEYS.iter().filter(|key| split(key.name).0 == group).map(|key| split(key.name).1);
            names.chain(groups().into_iter().filter(|_group| group.is_empty()))
        };
        let remedies = unknown.iter().map(|entry| {
            let name = &entry.name;
            let meant = nearest(&name.to_lowercase(), known())
                .map_or_else(|| format!("there is no key {name}"), |near| format!("did you mean {near}?"));
            (entry.at, meant)
        });
        self.faults.push(Fault {
            message: format!("'{group}' has invalid keys: {}", names.join(", ")),
            remedies: remedies.collect(),
        });
    }

    fn key(&mut self, key: &'static Key, tree: &Tree) {
        let setting = match key.kind {
            _ if tree.value == Value::Null => None,
            Kind::Text | Kind::Secret => self.text(key, key.name, tree).map(Setting::Text),
            Kind::Bool | Kind::Switch | Kind::Ignored => match tree.value {
                Value::Bool(on) => Some(Setting::Bool(on)),
                _ => self.wrong_type(key, key.name, tree, "bool"),
            },
            Kind::Int | Kind::PositiveInt => match tree.value {
                // Serf cuts off what is behind the point.
                Value::Float(number) => Some(Setting::Int(number as i64)),
                Value::Integer(number) => Some(Setting::Int(number)),
                _ => self.wrong_type(key, key.name, tree, "int"),
            },
            Kind::Duration => self.text(key, key.name, tree).and_then(|text| self.duration(tree, &text)),
            Kind::List => self.list(key, tree),
            Kind::Map => self.map(key, tree),
        };
        if let Some(setting) = setting {
            self.layer.set(key.name, setting);
        }
    }

    fn text(&mut self, key: &Key, path: &str, tree: &Tree) -> Option<String> {
        match &tree.value {
            Value::Text(text) => Some(text.clone()),
            // Of an element: a whole value that is null was skipped before.
            Value::Null => Some(String::new()),
            _ => self.wrong_type(key, path, tree, "string"),
        }
    }

    fn duration(&mut self, tree: &Tree, text: &str) -> Option<Setting> {
        if text.is_empty() {
            return None;
        }
        match parse_duration(text) {
            Ok(duration) => Some(Setting::Duration(duration)),
            Err(message) => {
                let remedy = "write a number with its unit, such as 30s, 1m30s or 24h".to_owned();
                self.late_faults.push(Fault { message, remedies: vec![(tree.at, remedy)] });
                None
            }
        }
    }

    fn list(&mut self, key: &Key, tree: &Tree) -> Option<Setting> {
        let Value::List(elements) = &tree.value else {
            let message = format!(
                "'{}': source data must be an array or slice, got {}",
                key.name,
                tree.value.kind_name()
            );
            self.wrong(tree, message, "a list of texts, [\"...\"]");
            return None;
        };
        let texts = elements.iter().enumerate();
        let texts =
            texts.filter_map(|(index, element)| self.text(key, &format!("{}[{index}]", key.name), element));
        Some(Setting::List(texts.collect()))
    }

    fn map(&mut self, key: &Key, tree: &Tree) -> Option<Setting> {
        let Value::Map(entries) = &tree.value else {
            let message = format!("'{}' expected a map, got '{}'", key.name, tree.value.kind_name());
            self.wrong(tree, message, "a map of texts, {\"KEY\": \"VALUE\"}");
            return None;
        };
        let pairs = entries.iter().filter_map(|entry| {
            let text = self.text(key, &format!("{}[{}]", key.name, entry.name), &entry.tree)?;
            Some((entry.name.clone(), text))
        });
        Some(Setting::Map(pairs.collect::<BTreeMap<_, _>>()))
    }

    /// Complains about a type; gives `None`, for who has no value now.
    fn wrong_type<T>(&mut self, key: &Key, path: &str, tree: &Tree, expected: &str) -> Option<T> {
        let (found, value) = (tree.value.type_name(), &tree.value);
        let value = if key.kind == Kind::Secret { "(not shown)".to_owned() } else { value.to_string() };
        let wanted = match expected {
            "bool" => "true or false",
            "int" => "a number without quotes",
            _ if key.kind == Kind::Duration => "a time with its unit in quotes, such as \"30s\"",
            _ => "a text in quotes",
        };
        let message = format!(
            "'{path}' expected type '{expected}', got unconvertible type '{found}', value: '{value}'"
        );
        self.wrong(tree, message, wanted);
        None
    }

    fn wrong(&mut self, tree: &Tree, message: String, wanted: &str) {
        self.faults.push(Fault { message, remedies: vec![(tree.at, format!("here belongs {wanted}"))] });
    }
}

/// The group of a key, empty for most, and its name there.
fn split(name: &'static str) -> (&'static str, &'static str) {
    name.split_once('.').unwrap_or(("", name))
}

/// The groups of keys.
fn groups() -> Vec<&'static str> {
    let mut groups: Vec<&str> =
        KEYS.iter().map(|key| split(key.name).0).filter(|group| !group.is_empty()).collect();
    groups.dedup();
    groups
}

/// The entry for a key: one of exactly this name, else one that differs in case. Of several the last counts.
fn choose<'a>(entries: &'a [Entry], name: &str) -> Option<&'a Entry> {
    let exact = entries.iter().rfind(|entry| entry.name == name);
    exact.or_else(|| entries.iter().rfind(|entry| entry.name.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::*;

    fn read(text: &str) -> Result<Layer, Refusal> {
        decode(&json::first_value(text.as_bytes()).unwrap())
    }

    fn messages(text: &str) -> Vec<String> {
        match read(text).unwrap_err() {
            Refusal::One(fault) => vec![fault.message],
            Refusal::Many(faults) => faults.into_iter().map(|fault| fault.message).collect(),
        }
    }

    #[test]
    fn every_key_is_read_in_any_case() {
        for key in KEYS {
            let value = match key.kind {
                Kind::Text | Kind::Secret => "\"x\"",
                Kind::Bool | Kind::Switch | Kind::Ignored => "true",
                Kind::Int | Kind::PositiveInt => "7.9",
                Kind::Duration => "\"1h30m\"",
                Kind::List => "[\"x\"]",
                Kind::Map => "{\"a\": \"x\"}",
            };
            for name in [key.name.to_owned(), key.name.to_uppercase()] {
                let text = match name.split_once('.') {
                    Some((group, name)) => format!("{{\"{group}\": {{\"{name}\": {value}}}}}"),
                    None => format!("{{\"{name}\": {value}}}"),
                };
                let mut layer = Layer::default();
                layer.set(
                    key.name,
                    match key.kind {
                        Kind::Text | Kind::Secret => Setting::Text("x".to_owned()),
                        Kind::Bool | Kind::Switch | Kind::Ignored => Setting::Bool(true),
                        Kind::Int | Kind::PositiveInt => Setting::Int(7),
                        Kind::Duration => Setting::Duration(parse_duration("90m").unwrap()),
                        Kind::List => Setting::List(vec!["x".to_owned()]),
                        Kind::Map => Setting::Map([("a".to_owned(), "x".to_owned())].into()),
                    },
                );
                assert_eq!(read(&text), Ok(layer), "{text}");
            }
        }
    }

    #[test]
    fn every_type_is_strict() {
        for key in KEYS {
            let wrong = match key.kind {
                Kind::Text | Kind::Secret | Kind::Duration => ["5", "true", "[]"],
                Kind::Bool | Kind::Switch | Kind::Ignored => ["\"true\"", "1", "{}"],
                Kind::Int | Kind::PositiveInt => ["\"5\"", "true", "[5]"],
                Kind::List => ["\"x\"", "[1]", "{}"],
                Kind::Map => ["\"a=b\"", "[]", "{\"a\": true}"],
            };
            for value in wrong {
                let text = match key.name.split_once('.') {
                    Some((group, name)) => format!("{{\"{group}\": {{\"{name}\": {value}}}}}"),
                    None => format!("{{\"{}\": {value}}}", key.name),
                };
                let found = messages(&text);
                assert!(found.len() == 1 && found[0].contains(key.name), "{text}: {found:?}");
            }
        }
    }

    #[test]
    fn all_faults_are_told_sorted() {
        assert_eq!(
            messages(r#"{"zz": 1, "node_name": 5, "aa": 2, "bind": [], "mdns": {"x": 1}}"#),
            [
                "'' has invalid keys: aa, zz",
                "'bind' expected type 'string', got unconvertible type '[]interface {}', value: '[]'",
                "'mdns' has invalid keys: x",
                "'node_name' expected type 'string', got unconvertible type 'float64', value: '5'",
            ]
        );
        assert_eq!(messages(r#"{"mdns": "x"}"#), ["'mdns' expected a map, got 'string'"]);
    }

    #[test]
    fn secrets_do_not_get_into_messages() {
        assert_eq!(
            messages(r#"{"rpc_auth": 12345}"#),
            ["'rpc_auth' expected type 'string', got unconvertible type 'float64', value: '(not shown)'"]
        );
    }

    #[test]
    fn slips_are_recognised_where_they_are() {
        let Err(Refusal::Many(faults)) = read(r#"{"nod_name": "x", "leave_on_interrupt": true}"#) else {
            panic!()
        };
        assert_eq!(
            faults[0].remedies,
            [
                (18, "there is no key leave_on_interrupt".to_owned()),
                (1, "did you mean node_name?".to_owned()),
            ]
        );
    }

    #[test]
    fn null_says_nothing_and_the_exact_name_wins() {
        let empty = read("null").unwrap();
        assert_eq!(read(r#"{"node_name": null, "tags": null, "mdns": null}"#).unwrap(), empty);
        assert_eq!(read(r#"{"node_name": "a", "node_name": "b"}"#).unwrap().text("node_name"), Some("b"));
        assert_eq!(messages(r#"{"node_name": "a", "Node_Name": "b"}"#), ["'' has invalid keys: Node_Name"]);
    }
}
