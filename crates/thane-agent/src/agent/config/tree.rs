//! What a configuration file says, before it is known what the keys mean: values, and where in the file they stand.

use std::fmt;

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tree {
    /// Byte in the file at which it begins.
    pub(super) at: usize,
    pub(super) value: Value,
}

/// A value as JSON and TOML have it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// Every number of JSON.
    Float(f64),
    /// Whole numbers of TOML.
    Integer(i64),
    Text(String),
    /// A date or time of TOML, which no key takes.
    Date(String),
    List(Vec<Tree>),
    /// In the order of the file; a name may come twice.
    Map(Vec<Entry>),
}

/// One name of a map and what it stands for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// Byte in the file at which the name begins.
    pub(super) at: usize,
    pub(super) name: String,
    pub(super) tree: Tree,
}

impl Value {
    /// The type's name in messages about wrong types, which is Go's.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "nil",
            Self::Bool(_) => "bool",
            Self::Float(_) => "float64",
            Self::Integer(_) => "int64",
            Self::Text(_) => "string",
            Self::Date(_) => "time.Time",
            Self::List(_) => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
        }
    }

    /// The kind of the type, which some of the messages have in its place.
    pub(super) fn kind_name(&self) -> &'static str {
        match self {
            Self::List(_) => "slice",
            Self::Map(_) => "map",
            other => other.type_name(),
        }
    }
}

/// As Go prints it: without quotes, maps sorted by name.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<nil>"),
            Self::Bool(on) => write!(f, "{on}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Text(text) | Self::Date(text) => f.write_str(text),
            Self::List(elements) => {
                let elements: Vec<String> =
                    elements.iter().map(|element| element.value.to_string()).collect();
                write!(f, "[{}]", elements.join(" "))
            }
            Self::Map(entries) => {
                let mut pairs: Vec<String> =
                    entries.iter().map(|entry| format!("{}:{}", entry.name, entry.tree.value)).collect();
                pairs.sort_unstable();
                write!(f, "map[{}]", pairs.join(" "))
            }
        }
    }
}

/// The line and column of a byte, each from 1, as editors count them.
pub(super) fn position(text: &[u8], at: usize) -> (usize, usize) {
    let before = &text[..at.min(text.len())];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    (
        before.split(|byte| *byte == b'\n').count(),
        String::from_utf8_lossy(&before[line_start..]).chars().count() + 1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text = "a\nüb\n".as_bytes();
        let found = [0, 1, 2, 4, 5, 6, 99].map(|at| position(text, at));
        assert_eq!(found, [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 1), (3, 1)]);
    }

    #[test]
    fn values_print_as_in_go() {
        let tree = |value| Tree { at: 0, value };
        let entry = |name: &str, value| Entry { at: 0, name: name.to_owned(), tree: tree(value) };
        let map = Value::Map(vec![entry("b", Value::Bool(true)), entry("a", Value::Float(1.0))]);
        let list = Value::List(vec![tree(map), tree(Value::Text("x y".to_owned())), tree(Value::Null)]);
        assert_eq!(list.to_string(), "[map[a:1 b:true] x y <nil>]");
        assert_eq!(
            (Value::Float(4.7).to_string(), Value::Integer(5).to_string()),
            ("4.7".into(), "5".into())
        );
    }
}
