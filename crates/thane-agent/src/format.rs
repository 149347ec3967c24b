//! Text forms that scripts rely on: Go's quoted strings, the column tables and what a terminal may be shown.

use std::fmt::Write as _;

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
}
