//! Text forms that scripts rely on: Go's quoted strings, the column tables and what a terminal may be shown.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

/// `text` as Go's `%q` verb writes it: double quotes, `\n`-style escapes, `\x`, `\u` and `\U` for the rest.
pub(crate) fn go_quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            c if is_printable(c) => quoted.push(c),
            c => push_escape(&mut quoted, c),
        }
    }
    quoted.push('"');
    quoted
}

fn push_escape(quoted: &mut String, c: char) {
    let code = c as u32;
    let written = match code {
        0..=0x7f => write!(quoted, "\\x{code:02x}"),
        0x80..=0xffff => write!(quoted, "\\u{code:04x}"),
        _ => write!(quoted, "\\U{code:08x}"),
    };
    written.expect("invariant: writing to a String cannot fail");
}

/// Whether a person can see `c`; near enough to Go's `unicode.IsPrint`, which knows another Unicode version.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // A leading letter keeps combining marks unescaped, so that only characters without a picture are.
    !format!("a{c}").escape_debug().eq(['a'].into_iter().chain(c.escape_unicode()))
}

/// `text` with each character escaped that could move a terminal's cursor, change its colours or hide text. Line
/// feeds and tabs stay: log lines and error messages are laid out with them.
pub(crate) fn for_terminal(text: &str) -> Cow<'_, str> {
    let is_harmless = |c: char| c == '\n' || c == '\t' || c == ' ' || is_printable(c);
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_harmless(c) {
            safe.push(c);
        } else {
            push_escape(&mut safe, c);
        }
    }
    Cow::Owned(safe)
}

/// Lines up `rows` in columns: each cell trimmed and padded to the widest of its column, two spaces between columns,
/// nothing after the last cell of a row. Widths count characters, as Serf's tables do.
///
/// Differs from Serf: a `|` in a cell is just a character, where Serf would break the cell in two.
pub(crate) fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.trim().chars().count());
        }
    }
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let cell = cell.trim();
            text.push_str(cell);
            if column + 1 < COLUMNS {
                text.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
            }
        }
    }
    text
}

/// A span for people: `0.4ms`, `850ms`, `4.2s`, `12s`, `3m`, `5h`, `2d`.
pub(crate) fn span(span: Duration) -> String {
    let (millis, secs) = (span.as_secs_f64() * 1e3, span.as_secs());
    match secs {
        0 if millis < 9.95 => format!("{millis:.1}ms"),
        0 => format!("{millis:.0}ms"),
        1..10 => format!("{:.1}s", span.as_secs_f64()),
        10..120 => format!("{secs}s"),
        120..7200 => format!("{}m", secs / 60),
        7200..172_800 => format!("{}h", secs / 3600),
        _ => format!("{}d", secs / 86_400),
    }
}

/// `text` in lines of at most `width` characters, broken at spaces; each but the first begins with `indent` spaces.
pub(crate) fn wrap(text: &str, width: usize, indent: usize) -> String {
    let mut wrapped = String::with_capacity(text.len() + 16);
    let mut column = 0;
    for (index, word) in text.split(' ').enumerate() {
        let chars = word.chars().count();
        if column > indent && column + 1 + chars > width {
            wrapped.push('\n');
            wrapped.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if index > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += chars;
    }
    wrapped
}

/// `value` as Go's `json.MarshalIndent` writes it for Serf: two spaces, and `<`, `>`, `&` and the two separators of
/// Unicode as escapes.
pub(crate) fn json(value: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(escape_html(&serde_json::to_string_pretty(value)?))
}

/// The same on a single line, as for one of many documents.
pub(crate) fn json_line(value: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(escape_html(&serde_json::to_string(value)?))
}

/// None of these characters occurs outside of a string, so replacing them in the finished text is exact.
fn escape_html(plain: &str) -> String {
    let mut escaped = String::with_capacity(plain.len());
    for c in plain.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                write!(escaped, "\\u{:04x}", c as u32).expect("invariant: writing to a String cannot fail");
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_follows_gos_rules() {
        for (text, quoted) in [
            ("plain", r#""plain""#),
            ("", r#""""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("tab\tnl\ncr\rbell\u{7}", r#""tab\tnl\ncr\rbell\a""#),
            ("\u{1b}[31m\u{7f}", r#""\x1b[31m\x7f""#),
            ("größe 日本", r#""größe 日本""#),
            ("e\u{301}", "\"e\u{301}\""),
            ("\u{a0}\u{200b}\u{85}", r#""\u00a0\u200b\u0085""#),
            ("\u{10ffff}", r#""\U0010ffff""#),
        ] {
            assert_eq!(go_quote(text), quoted, "quoting {text:?}");
        }
    }

    #[test]
    fn a_terminal_sees_no_control_characters() {
        for (text, shown) in [
            ("web-1", "web-1"),
            ("größe 日本", "größe 日本"),
            ("a\tb\nc", "a\tb\nc"),
            ("\u{1b}[2Jx", "\\x1b[2Jx"),
            ("a\rb\u{9b}c\u{7f}", "a\\x0db\\u009bc\\x7f"),
            ("abc\u{202e}cba", "abc\\u202ecba"),
        ] {
            assert_eq!(for_terminal(text), shown, "showing {text:?}");
        }
    }

    fn rows<const N: usize>(cells: &[[&str; N]]) -> Vec<[String; N]> {
        cells.iter().map(|row| row.map(String::from)).collect()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let text =
            table(&rows(&[["alpha", "1.2.3.4:1", "x=1"], ["ü", "1.2.3.45:12", ""], [" c ", "", " y=a|b "]]));
        assert_eq!(text, "alpha  1.2.3.4:1    x=1\nü      1.2.3.45:12  \nc                   y=a|b");
        assert_eq!(table::<3>(&[]), "");
    }

    #[test]
    fn spans_are_as_exact_as_people_want_them() {
        for (millis, text) in [
            (0, "0.0ms"),
            (4, "4.0ms"),
            (850, "850ms"),
            (4_210, "4.2s"),
            (12_900, "12s"),
            (119_000, "119s"),
            (180_000, "3m"),
            (7_200_000, "2h"),
            (172_800_000, "2d"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
        assert_eq!(span(Duration::from_micros(412)), "0.4ms");
    }

    #[test]
    fn long_lines_are_broken_at_spaces() {
        assert_eq!(wrap("one two three four", 9, 2), "one two\n  three\n  four");
        assert_eq!(wrap("unbreakable-word x", 5, 2), "unbreakable-word\n  x");
        assert_eq!(wrap("", 5, 2), "");
        assert_eq!(wrap("  -> a b", 6, 5), "  -> a\n     b", "spaces at the start stay");
    }

    #[test]
    fn json_looks_as_go_writes_it() {
        let value = serde_json::json!({"b": "<a&b>\u{2028}", "a": {}, "c": null, "d": [1, "é\t"]});
        let expected = "{\n  \"a\": {},\n  \"b\": \"\\u003ca\\u0026b\\u003e\\u2028\",\n  \"c\": null,\n  \"d\": \
                        [\n    1,\n    \"é\\t\"\n  ]\n}";
        assert_eq!(json(&value).unwrap(), expected);
        let line = "{\"a\":{},\"b\":\"\\u003ca\\u0026b\\u003e\\u2028\",\"c\":null,\"d\":[1,\"é\\t\"]}";
        assert_eq!(json_line(&value).unwrap(), line);
    }
}
