//! Regular expressions as Serf's users know them: the syntax and meaning of Go's `regexp` package (RE2), run by the `regex` crate.
//!
//! The two agree in most things, and where they do not, a query would be answered by other members than the sender means. An
//! expression is therefore read by Go's rules (`translate`) and written anew in those parts of the crate's syntax that mean the
//! same. Both match in linear time, whatever the expression.

mod class;
mod cursor;
mod escape;
mod names;
#[cfg(test)]
mod tests;
mod translate;

use std::borrow::Cow;
use std::fmt;

use regex::{Regex, RegexBuilder};

use translate::{NESTING_MAX, translate};

/// Longest expression, in bytes. One inside a query is shorter by far.
const EXPRESSION_BYTES_MAX: usize = 8 << 10;
/// Memory that a compiled expression may take, in bytes. Nested repetitions would otherwise take any amount.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Memory that a compiled expression in the [`PatternCache`] may take, in bytes.
const CACHED_BYTES_MAX: usize = 64 << 10;
/// Memory that the search may use to remember what it has worked out, in bytes.
const SEARCH_BYTES_MAX: usize = 128 << 10;
/// Nesting that the crate must allow: a group may be repeated, in a sequence, in an alternation, in a group.
const CRATE_NESTING_MAX: u32 = 4 * NESTING_MAX as u32 + 8;
/// Most expressions in a [`PatternCache`].
const CACHE_ENTRIES_MAX: usize = 64;

/// A compiled regular expression, in the syntax of Go's `regexp` package.
///
/// ```
/// use thane_core::Pattern;
///
/// let pattern = Pattern::new(r"^web\d+$").unwrap();
/// assert!(pattern.is_match(b"web12"));
/// assert!(!pattern.is_match("web١٢".as_bytes()), r"\d knows only ASCII digits");
///
/// let error = Pattern::new("we**b").unwrap_err();
/// assert!(error.to_string().starts_with("character 3, `**`: "), "{error}");
/// ```
#[derive(Debug, Clone)]
pub struct Pattern {
    regex: Regex,
}

impl Pattern {
    /// Compiles an expression that may match anywhere in a text.
    ///
    /// # Errors
    /// When the expression is not valid in Go (the error says where and what to do), longer than 8 KiB, nested deeper than 40
    /// groups, or larger than 1 MiB once compiled.
    pub fn new(expression: &str) -> Result<Self, PatternError> {
        Self::compile(expression, COMPILED_BYTES_MAX)
    }

    /// Compiles an expression anchored as Serf anchors those of `members-filtered`: `^` before it and `$` behind it, as text. An
    /// alternation at the top level is therefore anchored at its ends only. (Serf: `ipc.go`, handleMembersFiltered.)
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub fn anchored(expression: &str) -> Result<Self, PatternError> {
        Self::new(&format!("^{expression}$"))
            .map_err(|error| PatternError { character: error.character.map(|at| (at - 1).max(1)), ..error })
    }

    /// Whether the expression matches somewhere in the text. Each byte that is not UTF-8 counts as one U+FFFD, as in Go.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.regex.is_match(&repair(text))
    }

    fn compile(expression: &str, bytes_max: usize) -> Result<Self, PatternError> {
        if expression.len() > EXPRESSION_BYTES_MAX {
            return Err(PatternError::whole(
                "the expression is longer than 8192 bytes; use several shorter ones",
            ));
        }
        let compiled = RegexBuilder::new(&translate(expression)?)
            .size_limit(bytes_max)
            .dfa_size_limit(SEARCH_BYTES_MAX)
            .nest_limit(CRATE_NESTING_MAX)
            .build();
        match compiled {
            Ok(regex) => Ok(Self { regex }),
            Err(regex::Error::CompiledTooBig(_)) => Err(PatternError::whole(
                "the expression takes too much memory; repeat less, or smaller parts",
            )),
            Err(_) => {
                Err(PatternError::whole("the expression is nested too deep; write it with fewer groups"))
            }
        }
    }
}

/// The text with one U+FFFD for each byte that is not UTF-8. (`String::from_utf8_lossy` takes several bytes together.)
fn repair(text: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(text) {
        return Cow::Borrowed(text);
    }
    let mut repaired = String::with_capacity(text.len() * 3);
    for chunk in text.utf8_chunks() {
        repaired.push_str(chunk.valid());
        repaired.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(repaired)
}

/// Why an expression was refused: where, what is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError {
    /// Counted from 1; none for what concerns the whole expression.
    character: Option<usize>,
    spot: String,
    what: &'static str,
}

impl PatternError {
    /// Most characters of the expression that an error quotes.
    const SPOT_CHARACTERS_MAX: usize = 32;

    fn whole(what: &'static str) -> Self {
        Self { character: None, spot: String::new(), what }
    }

    /// About `source`, from where `before` is left of it to where `after` is.
    fn between(source: &str, before: &str, after: &str, what: &'static str) -> Self {
        let start = source.len() - before.len();
        let spot = &source[start..source.len() - after.len()];
        Self {
            character: Some(source[..start].chars().count() + 1),
            spot: spot.chars().take(Self::SPOT_CHARACTERS_MAX).collect(),
            what,
        }
    }

    /// Which character of the expression, counted from 1, is wrong. `None`: the expression as a whole is too large.
    pub fn character(&self) -> Option<usize> {
        self.character
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.character {
            Some(at) => write!(f, "character {at}, `{}`: {}", self.spot.escape_debug(), self.what),
            None => f.write_str(self.what),
        }
    }
}

impl std::error::Error for PatternError {}

/// The expressions used last, compiled. Queries of one kind tend to come again.
#[derive(Debug, Default)]
pub(crate) struct PatternCache {
    /// The one used last at the end.
    entries: Vec<(Box<str>, Pattern)>,
}

impl PatternCache {
    /// Whether the expression is valid and matches somewhere in the text.
    pub(crate) fn is_match(&mut self, expression: &str, text: &[u8]) -> bool {
        if let Some(index) = self.entries.iter().position(|(known, _)| **known == *expression) {
            // The newest is at the end, so what is at the front is dropped first.
            self.entries[index..].rotate_left(1);
            return self.entries.last().is_some_and(|(_, pattern)| pattern.is_match(text));
        }
        // Large expressions are compiled each time, so that the cache stays small whatever comes in.
        let Ok(pattern) = Pattern::compile(expression, CACHED_BYTES_MAX) else {
            return Pattern::new(expression).is_ok_and(|pattern| pattern.is_match(text));
        };
        let matches = pattern.is_match(text);
        if self.entries.len() == CACHE_ENTRIES_MAX {
            self.entries.remove(0);
        }
        self.entries.push((expression.into(), pattern));
        matches
    }
}
