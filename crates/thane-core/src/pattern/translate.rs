//! From Go's syntax to that of the `regex` crate, with the same meaning.
//!
//! The translation spells out what Go implies: each part is written with the flags that hold for it, groups do not capture, and a
//! character that could mean something is written by its number. So nothing depends on what the crate takes some text for.

use std::collections::BTreeSet;

use super::PatternError;
use super::class::{self, NOTHING, push_char};
use super::cursor::Cursor;
use super::escape;

/// Most groups within one another.
pub(super) const NESTING_MAX: usize = 40;
/// Most often that something is repeated by counting, through all counts around it.
const REPEAT_MAX: u32 = 1000;

/// Upper and lower case are the same.
const FOLD: u8 = 1;
/// `^` and `$` match at lines.
const LINES: u8 = 2;
/// `.` matches a line feed.
const DOT_ALL: u8 = 4;
/// `*` and `*?` change places.
const UNGREEDY: u8 = 8;

/// Reads an expression by Go's rules.
pub(super) fn translate(expression: &str) -> Result<String, PatternError> {
    let mut translator = Translator {
        cursor: Cursor::new(expression),
        out: String::with_capacity(expression.len() * 2),
        level: Level::default(),
        outer: Vec::new(),
        flags: 0,
        names: BTreeSet::new(),
        repetition: None,
    };
    while let Some(c) = translator.cursor.peek() {
        translator.part(c)?;
    }
    match translator.outer.last() {
        Some((_, _, open)) => Err(translator
            .cursor
            .error_at(open, "never closed; add a ), or write \\( for a literal parenthesis")),
        None => Ok(translator.out),
    }
}

/// The last part of a sequence: what a repetition would repeat.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// Where it begins in the translation.
    start: usize,
    /// How often what is within it is repeated by counting, at most.
    count: u32,
    /// How many repetitions it ends with.
    repetitions: usize,
}

/// What is inside a group, or outside of all.
#[derive(Debug, Default)]
struct Level {
    start: usize,
    part: Option<Part>,
    /// The highest count of the parts before.
    count: u32,
}

impl Level {
    fn end_part(&mut self) {
        self.count = self.count.max(self.part.take().map_or(1, |part| part.count));
    }
}

struct Translator<'a> {
    cursor: Cursor<'a>,
    out: String,
    level: Level,
    /// The levels around, with the flags that come back at their return, and where each group begins.
    outer: Vec<(Level, u8, &'a str)>,
    flags: u8,
    names: BTreeSet<&'a str>,
    /// Where the part before this one begins, if that was a repetition.
    repetition: Option<&'a str>,
}

impl<'a> Translator<'a> {
    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Translates the next part, which begins with `c`.
    fn part(&mut self, c: char) -> Result<(), PatternError> {
        let before = self.cursor.rest;
        let last_repetition = self.repetition.take();
        match c {
            '(' if before.starts_with("(?") => self.group_with_flags()?,
            '(' => {
                self.cursor.next();
                self.open(before, self.flags)?;
            }
            ')' => self.close()?,
            '|' => {
                self.cursor.next();
                self.level.end_part();
                self.out.push('|');
            }
            '^' => self.symbol(1, if self.has(LINES) { "(?m:^)" } else { r"\A" }),
            '$' => self.symbol(1, if self.has(LINES) { "(?m:$)" } else { r"\z" }),
            '.' => self.symbol(1, if self.has(DOT_ALL) { "(?s:.)" } else { r"[^\x{a}]" }),
            '[' => {
                let mut set = String::new();
                class::brackets(&mut self.cursor, &mut set)?;
                self.push(&set);
            }
            '*' | '+' | '?' => {
                self.cursor.next();
                self.repeat(before, last_repetition, c.encode_utf8(&mut [0; 4]))?;
            }
            '{' => match counts(&mut self.cursor) {
                Some((low, high)) => self.repeat_counted(before, last_repetition, low, high)?,
                None => self.literal('{'),
            },
            '\\' => self.escape()?,
            c => self.literal(c),
        }
        Ok(())
    }

    /// A part that goes to the translation as it is, for the next `bytes` bytes of the expression.
    fn symbol(&mut self, bytes: usize, translation: &str) {
        self.cursor.take(bytes);
        self.begin();
        self.out.push_str(translation);
    }

    fn begin(&mut self) {
        self.level.end_part();
        self.level.part = Some(Part { start: self.out.len(), count: 1, repetitions: 0 });
    }

    /// A part whose case may not matter.
    fn push(&mut self, part: &str) {
        self.begin();
        if self.has(FOLD) {
            self.out.extend(["(?i:", part, ")"]);
        } else {
            self.out.push_str(part);
        }
    }

    /// The character that comes next, for itself.
    fn literal(&mut self, c: char) {
        self.cursor.next();
        self.push_literal(c);
    }

    fn push_literal(&mut self, c: char) {
        let mut part = String::new();
        push_char(&mut part, c);
        self.push(&part);
    }

    fn escape(&mut self) -> Result<(), PatternError> {
        let before = self.cursor.rest;
        match before.as_bytes().get(1) {
            Some(b'A') => self.symbol(2, r"\A"),
            Some(b'z') => self.symbol(2, r"\z"),
            Some(b'b') => self.symbol(2, r"(?-u:\b)"),
            Some(b'B') => self.symbol(2, r"(?-u:\B)"),
            Some(b'Q') => {
                let quoted = &before[2..];
                let end = quoted.find(r"\E");
                for c in quoted[..end.unwrap_or(quoted.len())].chars() {
                    self.push_literal(c);
                }
                self.cursor.take(end.map_or(before.len(), |end| end + 4));
            }
            _ => {
                let mut set = String::new();
                if class::group(&mut self.cursor, &mut set)? {
                    self.push(&set);
                } else {
                    match char::from_u32(escape::character(&mut self.cursor)?) {
                        Some(c) => self.push_literal(c),
                        None => self.push(NOTHING),
                    }
                }
            }
        }
        Ok(())
    }

    // ---- groups ----

    fn open(&mut self, before: &'a str, flags_inside: u8) -> Result<(), PatternError> {
        if self.outer.len() == NESTING_MAX {
            return Err(self
                .cursor
                .error(before, "more than 40 groups within one another; write it flatter"));
        }
        self.level.end_part();
        let inside = Level { start: self.out.len(), ..Level::default() };
        self.outer.push((std::mem::replace(&mut self.level, inside), self.flags, before));
        self.flags = flags_inside;
        self.out.push_str("(?:");
        Ok(())
    }

    fn close(&mut self) -> Result<(), PatternError> {
        let before = self.cursor.rest;
        self.cursor.next();
        let Some((level, flags, _)) = self.outer.pop() else {
            let what = "closes nothing; leave it out, or write \\) for a literal parenthesis";
            return Err(self.cursor.error(before, what));
        };
        let mut inside = std::mem::replace(&mut self.level, level);
        inside.end_part();
        self.flags = flags;
        self.out.push(')');
        self.level.part = Some(Part { start: inside.start, count: inside.count, repetitions: 0 });
        Ok(())
    }

    /// `(?P<name>`, `(?<name>`, `(?flags:`, `(?flags)`.
    fn group_with_flags(&mut self) -> Result<(), PatternError> {
        let before = self.cursor.rest;
        self.cursor.take(2);
        // A look-behind begins as a name does, and cannot be one.
        if self.cursor.eat("P<") || self.cursor.eat("<") {
            return self.named_group(before);
        }
        let mut flags = self.flags;
        let mut on = true;
        let mut any_since_sign = true;
        loop {
            let flag = match self.cursor.next() {
                Some('i') => FOLD,
                Some('m') => LINES,
                Some('s') => DOT_ALL,
                Some('U') => UNGREEDY,
                Some('-') if on => {
                    on = false;
                    any_since_sign = false;
                    continue;
                }
                Some(':') if any_since_sign => return self.open(before, flags),
                Some(')') if any_since_sign => {
                    self.flags = flags;
                    return Ok(());
                }
                _ => {
                    let what = "no such group; there are (?:..), (?P<name>..) and the flags i, m, s and U";
                    return Err(self.cursor.error(before, what));
                }
            };
            any_since_sign = true;
            flags = if on { flags | flag } else { flags & !flag };
        }
    }

    fn named_group(&mut self, before: &'a str) -> Result<(), PatternError> {
        let Some(end) = self.cursor.rest.find('>') else {
            return Err(self.cursor.error(
                before,
                "a group's name without its >; add it, or leave out the look-behind, which there is not",
            ));
        };
        let name = self.cursor.take(end);
        self.cursor.next();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            let what = "a group's name has only letters, digits and _; there is no look-around";
            return Err(self.cursor.error(before, what));
        }
        if !self.names.insert(name) {
            return Err(self.cursor.error(before, "a second group of this name; choose another"));
        }
        self.open(before, self.flags)
    }

    // ---- repetitions ----

    fn repeat_counted(
        &mut self,
        before: &'a str,
        last_repetition: Option<&'a str>,
        low: u32,
        high: Option<u32>,
    ) -> Result<(), PatternError> {
        if low > REPEAT_MAX || high.is_some_and(|high| high > REPEAT_MAX) {
            return Err(self.cursor.error(before, "repeats more than 1000 times; repeat less"));
        }
        if high.is_some_and(|high| high < low) {
            return Err(self
                .cursor
                .error(before, "repeats at most less often than at least; exchange the two"));
        }
        let operator = match high {
            Some(high) => format!("{{{low},{high}}}"),
            None => format!("{{{low},}}"),
        };
        self.repeat(before, last_repetition, &operator)?;
        let Some(part) = &mut self.level.part else { return Ok(()) };
        // How often the whole may repeat something: Go multiplies the counts, and stops at one that is 0.
        part.count = match high.unwrap_or(low) {
            0 => 1,
            most => part.count.saturating_mul(most),
        };
        if (low >= 2 || high.is_some_and(|high| high >= 2)) && part.count > REPEAT_MAX {
            let what = "repeats more than 1000 times, together with the counts inside; repeat less";
            return Err(self.cursor.error(before, what));
        }
        Ok(())
    }

    /// Repeats the last part. The cursor is behind the operator, but for a `?` that makes it ungreedy.
    fn repeat(
        &mut self,
        before: &'a str,
        last_repetition: Option<&'a str>,
        operator: &str,
    ) -> Result<(), PatternError> {
        let ungreedy = self.cursor.eat("?") != self.has(UNGREEDY);
        if let Some(last) = last_repetition {
            let what = "a repetition of a repetition; put the first one into a group, as in (?:a*)*";
            return Err(self.cursor.error(last, what));
        }
        let Some(part) = &mut self.level.part else {
            let what = "nothing to repeat; put it behind something, or a \\ before it for a literal one";
            return Err(self.cursor.error(before, what));
        };
        // A setting of flags may stand between two repetitions; then the second one repeats the first.
        if part.repetitions > 0 {
            if part.repetitions == NESTING_MAX {
                return Err(self.cursor.error(before, "too many repetitions of one part; leave some out"));
            }
            self.out.insert_str(part.start, "(?:");
            self.out.push(')');
        }
        part.repetitions += 1;
        self.out.push_str(operator);
        if ungreedy {
            self.out.push('?');
        }
        self.repetition = Some(before);
        Ok(())
    }
}

/// Reads `{3}`, `{3,}` or `{3,5}`: how often at least and at most. Anything else is not a repetition, and nothing is read.
fn counts(cursor: &mut Cursor<'_>) -> Option<(u32, Option<u32>)> {
    let mut ahead = *cursor;
    ahead.eat("{");
    let low = count(&mut ahead)?;
    let high = if !ahead.eat(",") {
        Some(low)
    } else if ahead.rest.starts_with('}') {
        None
    } else {
        Some(count(&mut ahead)?)
    };
    if !ahead.eat("}") {
        return None;
    }
    *cursor = ahead;
    Some((low, high))
}

/// A number without leading zeros. One too large for its type is larger than any that is allowed.
fn count(cursor: &mut Cursor<'_>) -> Option<u32> {
    let digits = cursor.rest.bytes().take_while(u8::is_ascii_digit).count();
    let digits = cursor.take(digits);
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    Some(digits.parse().unwrap_or(u32::MAX))
}
