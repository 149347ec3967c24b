//! The types a flag's value can have, and how Go's `strconv` reads them.

use super::{GoDuration, parse_duration};

const PARSE_ERROR: &str = "parse error";
const RANGE_ERROR: &str = "value out of range";

/// The value of a flag; the variant is the flag's type and never changes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Bool(bool),
    List(Vec<String>),
    Int(i64),
    Duration(GoDuration),
}

impl Value {
    /// Takes `text` as the new value, or as one more value of a list. On an error the value is as before, and the
    /// error is the last part of Go's message.
    pub(super) fn set(&mut self, text: &str) -> Result<(), &'static str> {
        match self {
            Self::Text(value) => text.clone_into(value),
            Self::Bool(value) => *value = parse_bool(text).ok_or(PARSE_ERROR)?,
            Self::List(values) => values.push(text.to_owned()),
            Self::Int(value) => *value = parse_int(text)?,
            // Go tells no more of what is wrong with a duration.
            Self::Duration(value) => *value = parse_duration(text).map_err(|_message| PARSE_ERROR)?,
        }
        Ok(())
    }

    /// What the help shows after the flag's name.
    pub(super) fn placeholder(&self) -> &'static str {
        match self {
            Self::Text(_) => "=TEXT",
            Self::Bool(_) => "",
            Self::List(_) => "=TEXT ...",
            Self::Int(_) => "=NUMBER",
            Self::Duration(_) => "=DURATION",
        }
    }

    /// The default as the help mentions it; nothing for a default that says nothing.
    pub(super) fn describe_default(&self) -> String {
        match self {
            Self::Text(text) if !text.is_empty() => format!(" (default {text})"),
            Self::Bool(true) => " (default true)".to_owned(),
            Self::Int(number) if *number != 0 => format!(" (default {number})"),
            Self::Duration(span) if *span != GoDuration::ZERO => format!(" (default {span})"),
            _ => String::new(),
        }
    }

    /// What the type takes, for who gave something else; `name` is the flag's.
    pub(super) fn rule(&self, name: &str) -> String {
        match self {
            Self::Bool(_) => format!("Write -{name}, -{name}=true or -{name}=false."),
            Self::Int(_) => format!("-{name} takes a whole number of at most 63 bits, as in -{name}=5."),
            Self::Duration(_) => {
                format!("-{name} takes a number with a unit, as in -{name}=500ms, 5s, 1m30s or 2h.")
            }
            Self::Text(_) | Self::List(_) => format!("Write -{name}=VALUE or -{name} VALUE."),
        }
    }
}

/// The spellings that Go's `strconv.ParseBool` takes.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A number as Go's `strconv.ParseInt(text, 0, 64)` reads it: a sign, a base prefix (`0x`, `0o`, `0b`, or `0` for
/// octal), and single underscores between digits or after the prefix.
fn parse_int(text: &str) -> Result<i64, &'static str> {
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (base, digits) = split_base(unsigned);
    // Underscores are allowed where Go's own number literals allow them: between digits, or after a base prefix.
    let has_prefix = digits.len() != unsigned.len();
    let mut previous_is_digit = has_prefix;
    let mut seen_digit = false;
    let mut overflow = false;
    let mut magnitude: u64 = 0;
    for c in digits.chars() {
        if c == '_' {
            if !previous_is_digit {
                return Err(PARSE_ERROR);
            }
            previous_is_digit = false;
            continue;
        }
        let digit = c.to_digit(base).ok_or(PARSE_ERROR)?;
        (previous_is_digit, seen_digit) = (true, true);
        match magnitude.checked_mul(u64::from(base)).and_then(|value| value.checked_add(u64::from(digit))) {
            Some(value) => magnitude = value,
            None => overflow = true,
        }
    }
    // A lone `0` has its only digit in what looks like the octal prefix.
    if !previous_is_digit || !(seen_digit || unsigned == "0") {
        return Err(PARSE_ERROR);
    }
    let value = if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() };
    value.filter(|_value| !overflow).ok_or(RANGE_ERROR)
}

/// The base that a prefix names, and the digits after it.
fn split_base(text: &str) -> (u32, &str) {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'0') {
        return (10, text);
    }
    match bytes.get(1).map(u8::to_ascii_lowercase) {
        Some(b'x') => (16, &text[2..]),
        Some(b'o') => (8, &text[2..]),
        Some(b'b') => (2, &text[2..]),
        _ => (8, &text[1..]),
    }
}
