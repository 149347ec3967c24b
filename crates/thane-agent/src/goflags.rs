//! Command line flags with the rules and the messages of Go's `flag` package, which Serf's users and scripts know.
//!
//! `-name value`, `-name=value`, `--name value` and `--name=value` mean the same. Reading stops at the first argument
//! that is no flag, at a lone `-`, and after `--`; what is left are positional arguments, even if they look like
//! flags. A boolean takes a value only after `=`. Giving a flag again replaces its value, except that a list grows.
//!
//! Why not one of the argument parsers that everybody uses: each of these rules contradicts them (flags after
//! arguments, one dash for long names, `-flag value` where the value begins with a dash, the wording of errors), so a
//! parser behind a translation layer would be left with nothing to do but the layout of the help text. This module is
//! the whole job.
//!
//! A flag is defined once, with its default and its help; [`FlagSet::help`] prints what [`FlagSet::parse`] accepts.
//!
//! ```text
//! let flags = FlagSet::new("greet", "greet [flags] NAME", "Greets somebody.").int("times", 1, "How often.");
//! let parsed = flags.parse(&args)?;
//! for _ in 0..parsed.int("times") { .. parsed.args() .. }
//! ```

mod duration;
mod suggest;
mod value;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;

pub(crate) use duration::{GoDuration, parse_duration};
pub(crate) use suggest::nearest;
use thiserror::Error;
use value::Value;

use crate::format::go_quote;

/// Why arguments were not understood. Except for [`FlagError::Help`], `Display` is Go's message, which goes to
/// standard error.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum FlagError {
    /// `-h` or `-help` was given: print the help and succeed.
    #[error("flag: help requested")]
    Help,
    /// No such flag; carries its name.
    #[error("flag provided but not defined: -{0}")]
    Undefined(String),
    /// The flag needs a value and nothing followed it; carries its name.
    #[error("flag needs an argument: -{0}")]
    MissingValue(String),
    /// A value that is no boolean.
    #[error("invalid boolean value {} for -{name}: {reason}", go_quote(.value))]
    InvalidBool {
        /// The flag's name.
        name: String,
        /// What was given.
        value: String,
        /// `parse error`.
        reason: &'static str,
    },
    /// A value that the flag's type cannot hold.
    #[error("invalid value {} for flag -{name}: {reason}", go_quote(.value))]
    InvalidValue {
        /// The flag's name.
        name: String,
        /// What was given.
        value: String,
        /// `parse error` or `value out of range`.
        reason: &'static str,
    },
    /// Three dashes, or a dash without a name; carries the whole argument.
    #[error("bad flag syntax: {0}")]
    Syntax(String),
}

/// The definition of one flag.
#[derive(Debug, Clone)]
struct Flag {
    name: &'static str,
    help: &'static str,
    default: Value,
    /// The flag whose value this one gives; itself unless made by [`FlagSet::list_into`].
    target: &'static str,
}

/// What help, completion and manual pages say of a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FlagInfo {
    /// The name, without a dash.
    pub(crate) name: &'static str,
    /// `-name=KIND`.
    pub(crate) title: String,
    /// What it is for.
    pub(crate) help: &'static str,
    /// The same with the default, if that says anything.
    pub(crate) help_and_default: String,
    /// Whether it stands alone, without a value.
    pub(crate) is_switch: bool,
}

/// The flags of one command, with what its help says.
#[derive(Debug, Clone)]
pub(crate) struct FlagSet {
    command: &'static str,
    usage_line: &'static str,
    about: &'static str,
    examples: Vec<&'static str>,
    flags: Vec<Flag>,
    is_mixed: bool,
}

impl FlagSet {
    /// A command without flags so far. `usage_line` is what follows `Usage: thane `, `about` says in a sentence or
    /// more what the command does.
    pub(crate) fn new(command: &'static str, usage_line: &'static str, about: &'static str) -> Self {
        Self { command, usage_line, about, examples: Vec::new(), flags: Vec::new(), is_mixed: false }
    }

    /// Lets flags stand behind positional arguments too, up to a `--`. Serf's commands do not.
    pub(crate) fn mixed(mut self) -> Self {
        self.is_mixed = true;
        self
    }

    /// Adds a line to the examples of the help.
    pub(crate) fn example(mut self, line: &'static str) -> Self {
        self.examples.push(line);
        self
    }

    /// Adds a flag with a text value.
    pub(crate) fn string(self, name: &'static str, default: &str, help: &'static str) -> Self {
        self.flag(name, Value::Text(default.to_owned()), help)
    }

    /// Adds a switch, which takes a value only as `-name=VALUE`.
    pub(crate) fn bool(self, name: &'static str, default: bool, help: &'static str) -> Self {
        self.flag(name, Value::Bool(default), help)
    }

    /// Adds a flag that may be given more than once; its values keep their order. Empty by default.
    pub(crate) fn list(self, name: &'static str, help: &'static str) -> Self {
        self.flag(name, Value::List(Vec::new()), help)
    }

    /// Adds a flag whose values go into the list of another one, so that the order of both is known.
    pub(crate) fn list_into(mut self, name: &'static str, target: &'static str, help: &'static str) -> Self {
        self = self.list(name, help);
        if let Some(flag) = self.flags.last_mut() {
            flag.target = target;
        }
        self
    }

    /// Adds a flag with a whole number.
    pub(crate) fn int(self, name: &'static str, default: i64, help: &'static str) -> Self {
        self.flag(name, Value::Int(default), help)
    }

    /// Adds a flag with a span of time in Go's syntax. Zero by default.
    pub(crate) fn duration(self, name: &'static str, help: &'static str) -> Self {
        self.flag(name, Value::Duration(GoDuration::ZERO), help)
    }

    fn flag(mut self, name: &'static str, default: Value, help: &'static str) -> Self {
        assert!(
            self.flags.iter().all(|flag| flag.name != name),
            "flag -{name} of {} is defined twice",
            self.command
        );
        self.flags.push(Flag { name, help, default, target: name });
        self
    }

    /// Reads `arguments`, which begin after the command's name.
    ///
    /// # Errors
    ///
    /// The first argument that breaks a rule, as Go's package reports it.
    pub(crate) fn parse(&self, arguments: &[String]) -> Result<Parsed, FlagError> {
        let mut entries: Vec<Entry> = self
            .flags
            .iter()
            .map(|flag| Entry { name: flag.name, value: flag.default.clone(), is_set: false })
            .collect();
        let mut rest = arguments;
        let mut between = Vec::new();
        while let Some((argument, after)) = rest.split_first() {
            let Some(dashed) = argument.strip_prefix('-').filter(|name| !name.is_empty()) else {
                if self.is_mixed {
                    between.push(argument.clone());
                    rest = after;
                    continue;
                }
                break;
            };
            rest = after;
            if dashed == "-" {
                break;
            }
            let body = dashed.strip_prefix('-').unwrap_or(dashed);
            if body.starts_with(['-', '=']) {
                return Err(FlagError::Syntax(argument.clone()));
            }
            let (name, attached) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (body, None),
            };
            let target = self.flags.iter().find(|flag| flag.name == name).map(|flag| flag.target);
            let Some(entry) = entries.iter_mut().find(|entry| Some(entry.name) == target) else {
                return Err(match name {
                    "h" | "help" => FlagError::Help,
                    _ => FlagError::Undefined(name.to_owned()),
                });
            };
            let value = match (attached, &entry.value) {
                (Some(value), _) => value,
                (None, Value::Bool(_)) => "true",
                (None, _) => {
                    let (value, after) =
                        rest.split_first().ok_or_else(|| FlagError::MissingValue(name.to_owned()))?;
                    rest = after;
                    value
                }
            };
            entry.set(value)?;
        }
        between.extend_from_slice(rest);
        Ok(Parsed { entries, arguments: between, raw_arguments: Vec::new() })
    }

    /// What to do about a mistake, where that takes more than the help; goes behind it.
    pub(crate) fn hint(&self, mistake: &FlagError) -> Option<String> {
        match mistake {
            FlagError::Help => None,
            FlagError::Undefined(name) => {
                let names = self.flags.iter().map(|flag| flag.name);
                nearest(name, names).map(|near| format!("There is no flag -{name}; did you mean -{near}?"))
            }
            FlagError::MissingValue(name) => Some(format!("Write -{name}=VALUE or -{name} VALUE.")),
            FlagError::InvalidBool { name, .. } | FlagError::InvalidValue { name, .. } => {
                let flag = self.flags.iter().find(|flag| flag.name == name)?;
                Some(flag.default.rule(name))
            }
            FlagError::Syntax(_) => Some("Write -name=VALUE or --name=VALUE.".to_owned()),
        }
    }

    /// The flags, in the order of their definition.
    pub(crate) fn infos(&self) -> impl Iterator<Item = FlagInfo> {
        self.flags.iter().map(|flag| FlagInfo {
            name: flag.name,
            title: flag.title(),
            help: flag.help,
            help_and_default: format!("{}{}", flag.help, flag.default.describe_default()),
            is_switch: matches!(flag.default, Value::Bool(_)),
        })
    }

    /// The command's name, with that of the group it is in.
    pub(crate) fn command(&self) -> &'static str {
        self.command
    }

    /// What follows `Usage: thane `.
    pub(crate) fn usage_line(&self) -> &'static str {
        self.usage_line
    }

    /// What the command does.
    pub(crate) fn about(&self) -> &'static str {
        self.about
    }

    /// The examples, one line each.
    pub(crate) fn examples(&self) -> &[&'static str] {
        &self.examples
    }

    /// The help text: usage, what the command does, its flags in a column, examples. Ends with a newline.
    pub(crate) fn help(&self) -> String {
        let mut help = format!("Usage: thane {}\n\n", self.usage_line);
        for line in self.about.lines() {
            push_line(&mut help, "  ", line);
        }
        if !self.flags.is_empty() {
            help.push_str("\nFlags:\n\n");
            let titles: Vec<String> = self.flags.iter().map(Flag::title).collect();
            let width = titles.iter().map(|title| title.chars().count()).max().unwrap_or(0);
            for (flag, title) in self.flags.iter().zip(&titles) {
                let default = flag.default.describe_default();
                push_line(&mut help, "  ", &format!("{title:<width$}  {}{default}", flag.help));
            }
        }
        if !self.examples.is_empty() {
            help.push_str("\nExamples:\n\n");
            for example in &self.examples {
                push_line(&mut help, "  ", example);
            }
        }
        help
    }
}

impl Flag {
    /// The flag as the help's first column shows it: `-name=KIND`.
    fn title(&self) -> String {
        format!("-{}{}", self.name, self.default.placeholder())
    }
}

fn push_line(text: &mut String, indent: &str, line: &str) {
    let indent = if line.is_empty() { "" } else { indent };
    writeln!(text, "{indent}{}", line.trim_end()).expect("invariant: writing to a String cannot fail");
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    name: &'static str,
    value: Value,
    is_set: bool,
}

impl Entry {
    fn set(&mut self, text: &str) -> Result<(), FlagError> {
        let is_bool = matches!(self.value, Value::Bool(_));
        self.is_set = true;
        self.value.set(text).map_err(|reason| {
            let (name, value) = (self.name.to_owned(), text.to_owned());
            if is_bool {
                FlagError::InvalidBool { name, value, reason }
            } else {
                FlagError::InvalidValue { name, value, reason }
            }
        })
    }
}

/// What the arguments said. The getters take the name of a flag that the [`FlagSet`] defines with that type; any
/// other name is a mistake in this program, and panics.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parsed {
    entries: Vec<Entry>,
    arguments: Vec<String>,
    /// The same as they were given, where that is known.
    raw_arguments: Vec<OsString>,
}

impl Parsed {
    /// With the positional arguments as they were given, of which they are but the text: `arguments` ends with them.
    pub(crate) fn with_raw(mut self, arguments: &[OsString]) -> Self {
        let start = arguments.len().saturating_sub(self.arguments.len());
        self.raw_arguments = arguments[start..].to_vec();
        self
    }

    /// The value of a text flag.
    pub(crate) fn string(&self, name: &str) -> &str {
        match self.value(name) {
            Value::Text(text) => text,
            other => wrong_type(name, other),
        }
    }

    /// The value of a text flag that not every command has.
    pub(crate) fn optional_string(&self, name: &str) -> Option<&str> {
        self.entries.iter().any(|entry| entry.name == name).then(|| self.string(name))
    }

    /// The value of a switch.
    pub(crate) fn bool(&self, name: &str) -> bool {
        match self.value(name) {
            Value::Bool(on) => *on,
            other => wrong_type(name, other),
        }
    }

    /// The values of a list flag, in the order given.
    pub(crate) fn list(&self, name: &str) -> &[String] {
        match self.value(name) {
            Value::List(values) => values,
            other => wrong_type(name, other),
        }
    }

    /// The values of a list flag as tags, each split at its first `=`; of a repeated key the last value counts.
    ///
    /// # Errors
    /// The first that is not `KEY=VALUE` with a key, in Serf's words.
    pub(crate) fn tags(&self, name: &str) -> Result<BTreeMap<String, String>, String> {
        let pairs = self.list(name).iter().map(|text| match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(format!("Error: Invalid tag: '{text}'")),
        });
        pairs.collect()
    }

    /// The value of a number flag.
    pub(crate) fn int(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Int(number) => *number,
            other => wrong_type(name, other),
        }
    }

    /// The value of a flag with a span of time.
    pub(crate) fn duration(&self, name: &str) -> GoDuration {
        match self.value(name) {
            Value::Duration(span) => *span,
            other => wrong_type(name, other),
        }
    }

    /// Whether the flag was given at all, be it with its default value.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.entry(name).is_set
    }

    /// Whether there was nothing at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.arguments.is_empty() && self.entries.iter().all(|entry| !entry.is_set)
    }

    /// The same flags without positional arguments.
    pub(crate) fn without_args(&self) -> Self {
        Self { arguments: Vec::new(), raw_arguments: Vec::new(), ..self.clone() }
    }

    /// The positional arguments.
    pub(crate) fn args(&self) -> &[String] {
        &self.arguments
    }

    /// The bytes of a positional argument as it was given, be they text or not.
    pub(crate) fn arg_bytes(&self, index: usize) -> &[u8] {
        match self.raw_arguments.get(index) {
            Some(raw) => raw.as_encoded_bytes(),
            None => self.arguments[index].as_bytes(),
        }
    }

    fn value(&self, name: &str) -> &Value {
        &self.entry(name).value
    }

    fn entry(&self, name: &str) -> &Entry {
        self.entries
            .iter()
            .find(|entry| entry.name == name)
            .unwrap_or_else(|| panic!("no flag -{name} is defined"))
    }
}

fn wrong_type(name: &str, value: &Value) -> ! {
    panic!("flag -{name} is of another type than asked for: {value:?}")
}

#[cfg(test)]
mod tests;
