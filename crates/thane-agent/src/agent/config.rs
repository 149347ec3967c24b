//! The agent's configuration: flags and files, which say the same things in different forms.
//!
//! [`keys::KEYS`] has every key once, with its flag, type, merge rule, default and help. A source (the defaults, a file,
//! the flags) becomes a [`Layer`]; [`read`] puts the layers on top of each other: defaults, then files in the order given, then
//! flags. What the values mean together is for [`super::settings`].

mod decode;
mod files;
mod json;
mod keys;
mod layer;
mod toml;
mod tree;

pub(super) use files::{contents, understand};
use keys::{Form, KEYS, Kind};
pub(super) use layer::Layer;
use layer::Setting;
use tree::Value;

use std::collections::BTreeMap;

use crate::goflags::{FlagSet, Parsed, parse_duration};

/// The flag that takes files and directories alike, in order.
const FILES_FLAG: &str = "config-file";

/// Adds the flag of each key that has one, and those that name files.
pub(super) fn add_flags(set: FlagSet) -> FlagSet {
    let set = set
        .list(FILES_FLAG, "File with settings, JSON or TOML by its name; or a directory, as for -config-dir.")
        .list_into(
            "config-dir",
            FILES_FLAG,
            "Directory; its files *.json and *.toml are read in order of their names.",
        );
    KEYS.iter().filter_map(|key| Some((key, key.flag?))).fold(set, |set, (key, flag)| {
        match (key.kind, flag.form) {
            (Kind::List, _) | (Kind::Map, Form::Pairs) => set.list(flag.name, key.help),
            (Kind::Bool, _) | (Kind::Switch, Form::Opposite) => set.bool(flag.name, false, key.help),
            (Kind::Int | Kind::PositiveInt, _) => set.int(flag.name, 0, key.help),
            _ => set.string(flag.name, key.default, key.help),
        }
    })
}

/// Reads the flags and the files that they name.
///
/// # Errors
/// The first problem, as it is to be shown.
pub(super) fn read(given: &Parsed) -> Result<Layer, String> {
    let flags = from_flags(given)?;
    let mut config = Layer::defaults();
    for file in files::read(given.list(FILES_FLAG))? {
        config.merge(file);
    }
    config.merge(flags);
    Ok(config)
}

/// What the flags say, without those that were not given.
fn from_flags(given: &Parsed) -> Result<Layer, String> {
    let mut layer = Layer::default();
    for (key, flag) in KEYS.iter().filter_map(|key| Some((key, key.flag?))) {
        if !given.is_set(flag.name) {
            continue;
        }
        let setting = match (key.kind, flag.form) {
            (Kind::List, _) => Setting::List(given.list(flag.name).to_vec()),
            (Kind::Map, _) => Setting::Map(pairs(given, flag.name)?),
            (Kind::Bool | Kind::Switch | Kind::Ignored, form) => {
                Setting::Bool(given.bool(flag.name) != (form == Form::Opposite))
            }
            (Kind::Int | Kind::PositiveInt, _) => Setting::Int(given.int(flag.name)),
            (Kind::Duration, _) => match given.string(flag.name) {
                "" => continue,
                text => Setting::Duration(parse_duration(text).map_err(|reason| {
                    format!("Error: {reason}; write -{} with a unit, such as 30s or 1m30s", flag.name)
                })?),
            },
            (Kind::Text | Kind::Secret, _) => Setting::Text(given.string(flag.name).to_owned()),
        };
        layer.set(key.name, setting);
    }
    Ok(layer)
}

fn pairs(given: &Parsed, flag: &str) -> Result<BTreeMap<String, String>, String> {
    given.tags(flag).map_err(|invalid| format!("{invalid}; write KEY=VALUE"))
}

/// Reads a JSON file that is one map of texts, as a tags file is.
///
/// # Errors
/// In Go's words.
pub(super) fn text_map(file: &[u8]) -> Result<BTreeMap<String, String>, String> {
    match only_value(file)? {
        Value::Null => Ok(BTreeMap::new()),
        Value::Map(entries) => {
            entries.into_iter().map(|entry| Ok((entry.name, text_of(entry.tree.value)?))).collect()
        }
        other => Err(cannot_be(&other, "map[string]string")),
    }
}

/// Reads a JSON file that is one list of texts, as a key ring file is.
///
/// # Errors
/// In Go's words.
pub(super) fn text_list(file: &[u8]) -> Result<Vec<String>, String> {
    match only_value(file)? {
        Value::Null => Ok(Vec::new()),
        Value::List(elements) => elements.into_iter().map(|element| text_of(element.value)).collect(),
        other => Err(cannot_be(&other, "[]string")),
    }
}

fn only_value(file: &[u8]) -> Result<Value, String> {
    match json::only_value(file) {
        Ok(tree) => Ok(tree.value),
        Err(json::Fault::End { .. }) => Err("unexpected end of JSON input".to_owned()),
        Err(json::Fault::Syntax { message, .. }) => Err(message),
    }
}

/// A text; `null` is an empty one.
fn text_of(value: Value) -> Result<String, String> {
    match value {
        Value::Text(text) => Ok(text),
        Value::Null => Ok(String::new()),
        other => Err(cannot_be(&other, "string")),
    }
}

fn cannot_be(value: &Value, wanted: &str) -> String {
    let found = match value {
        Value::Float(_) | Value::Integer(_) => "number",
        Value::List(_) => "array",
        Value::Map(_) => "object",
        other => other.type_name(),
    };
    format!("json: cannot unmarshal {found} into Go value of type {wanted}")
}

#[cfg(test)]
mod tests;
