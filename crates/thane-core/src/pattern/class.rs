//! Sets of characters: brackets, `\d` and its like, `[:alpha:]`, `\p{Greek}`.
//!
//! All of them are written as brackets of ranges. Inside brackets, a set within a set is its own pair of brackets.

use super::PatternError;
use super::cursor::Cursor;
use super::escape;
use super::names::{CATEGORIES, SCRIPTS};

/// A set without any character.
pub(super) const NOTHING: &str = r"[^\x{0}-\x{10ffff}]";
/// A set of all characters.
const ANYTHING: &str = r"[\x{0}-\x{10ffff}]";

const DIGIT: &str = "0-9";
const SPACE: &str = r"\x{9}\x{a}\x{c}\x{d}\x{20}";
const WORD: &str = "0-9A-Za-z_";

/// Appends a character so that it stands for itself, inside brackets and outside.
pub(super) fn push_char(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || !c.is_ascii() {
        out.push(c);
    } else {
        let number = format!("{:x}", u32::from(c));
        out.extend(["\\x{", &number, "}"]);
    }
}

/// Appends a range without the surrogates in it, which are no characters.
fn push_range(out: &mut String, low: u32, high: u32) {
    let low = if (0xd800..0xe000).contains(&low) { 0xe000 } else { low };
    let high = if (0xd800..0xe000).contains(&high) { 0xd7ff } else { high };
    let (Some(low_char), Some(high_char)) = (char::from_u32(low), char::from_u32(high)) else { return };
    if low <= high {
        push_char(out, low_char);
        out.push('-');
        push_char(out, high_char);
    }
}

/// Reads brackets.
pub(super) fn brackets(cursor: &mut Cursor<'_>, out: &mut String) -> Result<(), PatternError> {
    let open = cursor.rest;
    cursor.eat("[");
    let negated = cursor.eat("^");
    let mut items = String::new();
    let mut first = true;
    while first || !cursor.rest.starts_with(']') {
        first = false;
        if !named(cursor, &mut items)? && !group(cursor, &mut items)? {
            range(cursor, open, &mut items)?;
        }
    }
    cursor.eat("]");
    match (items.is_empty(), negated) {
        (true, false) => out.push_str(NOTHING),
        (true, true) => out.push_str(ANYTHING),
        (false, _) => push_set(out, &items, negated),
    }
    Ok(())
}

fn push_set(out: &mut String, items: &str, negated: bool) {
    out.push_str(if negated { "[^" } else { "[" });
    out.push_str(items);
    out.push(']');
}

/// A character inside brackets, or a range of them.
fn range(cursor: &mut Cursor<'_>, open: &str, out: &mut String) -> Result<(), PatternError> {
    let before = cursor.rest;
    let low = bracket_char(cursor, open)?;
    let mut high = low;
    let mut after_dash = cursor.rest.chars();
    if after_dash.next() == Some('-') && after_dash.next().is_some_and(|c| c != ']') {
        cursor.eat("-");
        high = bracket_char(cursor, open)?;
        if high < low {
            return Err(cursor.error(
                before,
                "a range that ends before it begins; exchange its ends, or write \\- for a dash",
            ));
        }
    }
    push_range(out, low, high);
    Ok(())
}

fn bracket_char(cursor: &mut Cursor<'_>, open: &str) -> Result<u32, PatternError> {
    if cursor.rest.starts_with('\\') {
        return escape::character(cursor);
    }
    let unclosed = || cursor.error_at(open, "never closed; add a ], or write \\[ for a literal bracket");
    cursor.peek().ok_or_else(unclosed)?;
    Ok(cursor.next().map_or(0, u32::from))
}

/// `[:alpha:]` and its like. False if something else comes.
fn named(cursor: &mut Cursor<'_>, out: &mut String) -> Result<bool, PatternError> {
    let Some(end) = cursor.rest.strip_prefix("[:").and_then(|rest| rest.find(":]")) else {
        return Ok(false);
    };
    let before = cursor.rest;
    let whole = cursor.take(end + 4);
    let name = &whole[2..whole.len() - 2];
    let (name, negated) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
    let ranges = match name {
        "alnum" => "0-9A-Za-z",
        "alpha" => "A-Za-z",
        "ascii" => r"\x{0}-\x{7f}",
        "blank" => r"\x{9}\x{20}",
        "cntrl" => r"\x{0}-\x{1f}\x{7f}",
        "digit" => DIGIT,
        "graph" => r"\x{21}-\x{7e}",
        "lower" => "a-z",
        "print" => r"\x{20}-\x{7e}",
        "punct" => r"\x{21}-\x{2f}\x{3a}-\x{40}\x{5b}-\x{60}\x{7b}-\x{7e}",
        "space" => r"\x{9}-\x{d}\x{20}",
        "upper" => "A-Z",
        "word" => WORD,
        "xdigit" => "0-9A-Fa-f",
        _ => return Err(cursor.error(before, "no such set of characters; write the characters themselves")),
    };
    push_set(out, ranges, negated);
    Ok(true)
}

/// `\d` and `\p{Greek}` and their like. False if something else comes.
pub(super) fn group(cursor: &mut Cursor<'_>, out: &mut String) -> Result<bool, PatternError> {
    let mut ahead = cursor.rest.chars();
    let (Some('\\'), Some(letter)) = (ahead.next(), ahead.next()) else { return Ok(false) };
    let ranges = match letter {
        'd' | 'D' => DIGIT,
        's' | 'S' => SPACE,
        'w' | 'W' => WORD,
        'p' | 'P' => return unicode(cursor, out).map(|()| true),
        _ => return Ok(false),
    };
    cursor.take(2);
    push_set(out, ranges, letter.is_ascii_uppercase());
    Ok(true)
}

/// `\pL`, `\p{Greek}`, `\P{^Greek}`.
fn unicode(cursor: &mut Cursor<'_>, out: &mut String) -> Result<(), PatternError> {
    let before = cursor.rest;
    let mut negated = cursor.take(2) == r"\P";
    let name = if cursor.rest.starts_with('{') {
        let Some(end) = cursor.rest.find('}') else {
            return Err(cursor.error(before, "a name without its closing brace; add a }"));
        };
        &cursor.take(end + 1)[1..end]
    } else {
        cursor.take(cursor.peek().map_or(0, char::len_utf8))
    };
    let name = match name.strip_prefix('^') {
        Some(name) => {
            negated = !negated;
            name
        }
        None => name,
    };
    match name {
        "Any" => out.push_str(if negated { NOTHING } else { ANYTHING }),
        // Surrogates are no characters.
        "Cs" => out.push_str(if negated { ANYTHING } else { NOTHING }),
        // In Go, what is not assigned is not part of "other".
        "C" => push_set(out, r"\p{gc=Cc}\p{gc=Cf}\p{gc=Co}", negated),
        name if CATEGORIES.binary_search(&name).is_ok() => {
            push_set(out, &format!("\\p{{gc={name}}}"), negated);
        }
        name if SCRIPTS.binary_search(&name).is_ok() => push_set(out, &format!("\\p{{sc={name}}}"), negated),
        _ => {
            return Err(cursor.error(
                before,
                "no such category or script; write a name of Unicode's, such as \\p{Lu} or \\p{Greek}",
            ));
        }
    }
    Ok(())
}
