//! A small reader of options: `--name`, `--name VALUE` or `--name=VALUE`.

use anyhow::{Context as _, Result, bail};
use std::{collections::VecDeque, fmt::Display, str::FromStr};

/// The arguments that no chore has taken yet.
#[derive(Debug)]
pub(crate) struct Arguments(VecDeque<String>);

impl Arguments {
    pub(crate) fn new(arguments: impl Iterator<Item = String>) -> Self {
        Self(arguments.collect())
    }

    /// Takes the first argument, the name of the chore.
    pub(crate) fn chore(&mut self) -> Option<String> {
        self.0.pop_front()
    }

    /// Takes `--name`; whether it was there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|argument| argument != name);
        self.0.len() < before
    }

    /// Takes the value of `--name`, or `default` if the option is not there.
    pub(crate) fn value<T: FromStr<Err: Display>>(&mut self, name: &str, default: T) -> Result<T> {
        let text = if let Some(at) = self.0.iter().position(|argument| argument == name) {
            self.0.remove(at);
            self.0.remove(at).with_context(|| format!("{name} needs a value"))?
        } else {
            let prefix = format!("{name}=");
            let Some(at) = self.0.iter().position(|argument| argument.starts_with(&prefix)) else {
                return Ok(default);
            };
            self.0.remove(at).unwrap_or_default().split_off(prefix.len())
        };
        match text.parse() {
            Ok(value) => Ok(value),
            Err(error) => bail!("`{text}` is no value for {name}: {error}"),
        }
    }

    /// Refuses whatever is left.
    pub(crate) fn finish(self) -> Result<()> {
        match self.0.front() {
            None => Ok(()),
            Some(unknown) => bail!("this chore has no option `{unknown}`; see `cargo xtask help`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Arguments {
        Arguments::new(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_taken_in_any_order_and_both_spellings() {
        let mut arguments = arguments("swarm --agents=7 --bless --seconds 9");
        assert_eq!(arguments.chore().as_deref(), Some("swarm"));
        assert_eq!(arguments.value("--seconds", 60).unwrap(), 9);
        assert_eq!(arguments.value("--agents", 200).unwrap(), 7);
        assert_eq!(arguments.value("--patience", 5).unwrap(), 5);
        assert!(arguments.flag("--bless"));
        assert!(!arguments.flag("--bless"));
        arguments.finish().unwrap();
    }

    #[test]
    fn what_is_left_and_what_does_not_parse_is_refused() {
        assert!(arguments("--agents many").value("--agents", 1).is_err());
        assert!(arguments("--agents").value("--agents", 1).is_err());
        assert!(arguments("--unknown").finish().is_err());
    }
}
