//! A place in an expression.

use super::PatternError;

/// What is left to read of an expression.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    source: &'a str,
    pub(super) rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        Self { source, rest: source }
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    /// Goes past `text`, if it comes next.
    pub(super) fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Goes past the next `bytes` bytes, which must end with a character.
    pub(super) fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }

    /// An error about what lies between `before`, what was once left to read, and here.
    pub(super) fn error(&self, before: &str, what: &'static str) -> PatternError {
        PatternError::between(self.source, before, self.rest, what)
    }

    /// An error about the one character that `before` begins with.
    pub(super) fn error_at(&self, before: &str, what: &'static str) -> PatternError {
        let mut after = before.chars();
        after.next();
        PatternError::between(self.source, before, after.as_str(), what)
    }
}
