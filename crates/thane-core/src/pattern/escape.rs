//! What a backslash stands for.

use super::PatternError;
use super::cursor::Cursor;

/// Reads an escape that stands for one character, backslash first. The number may be that of a surrogate, which no text holds.
pub(super) fn character(cursor: &mut Cursor<'_>) -> Result<u32, PatternError> {
    let before = cursor.rest;
    cursor.eat("\\");
    let Some(c) = cursor.next() else {
        return Err(cursor.error(before, "a backslash at the end; write \\\\ for a literal one"));
    };
    let value = match c {
        'a' => Some(0x07),
        'f' => Some(0x0c),
        'n' => Some(0x0a),
        'r' => Some(0x0d),
        't' => Some(0x09),
        'v' => Some(0x0b),
        'x' => hexadecimal(cursor),
        '0' => Some(octal(cursor, 0)),
        '1'..='7' if cursor.peek().is_some_and(|c| c.is_digit(8)) => Some(octal(cursor, c as u32 - 0x30)),
        '1'..='9' => return Err(cursor.error(before, "there are no back-references; write the text again")),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(c as u32),
        _ => None,
    };
    value.ok_or_else(|| {
        cursor.error(before, "no such escape; leave out the backslash, or write \\\\ for a literal one")
    })
}

/// Up to two more octal digits.
fn octal(cursor: &mut Cursor<'_>, mut value: u32) -> u32 {
    for _ in 0..2 {
        let Some(digit) = cursor.peek().and_then(|c| c.to_digit(8)) else { break };
        cursor.next();
        value = value * 8 + digit;
    }
    value
}

/// Two digits, or any number of them in braces.
fn hexadecimal(cursor: &mut Cursor<'_>) -> Option<u32> {
    if !cursor.eat("{") {
        let high = cursor.next()?.to_digit(16)?;
        return Some(high * 16 + cursor.next()?.to_digit(16)?);
    }
    let mut value: Option<u32> = None;
    loop {
        match cursor.next()? {
            '}' => return value,
            c => {
                let sum = value.unwrap_or(0) * 16 + c.to_digit(16)?;
                value = (sum <= char::MAX as u32).then_some(sum);
                value?;
            }
        }
    }
}
