//! Regular expressions of `members-filtered`, in the syntax of Go's RE2 package, run by the `regex` crate.
//!
//! The two agree except in what [`translate`] changes: Go's `\d`, `\w`, `\s` and `\b` know only ASCII, `\Q..\E` quotes,
//! and inside brackets `[`, `&&`, `--` and `~~` have no meaning.

use regex::{Regex, RegexBuilder};

/// Memory that one compiled expression may take, in bytes. Nested repetitions would otherwise take megabytes.
const COMPILED_BYTES_MAX: usize = 256 << 10;

/// Nesting of an expression; the parser recurses.
const NESTING_MAX: u32 = 64;

/// Compiles an expression anchored as Serf anchors it: `^` before and `$` behind, as text. An alternation at the top
/// level is therefore anchored at its ends only; that is how Serf's users know it. (Serf: `ipc.go`, handleMembersFiltered.)
///
/// # Errors
/// Which expression, and what is wrong with it, in one line.
pub(super) fn compile_anchored(expression: &str) -> Result<Regex, String> {
    let translated = translate(&format!("^{expression}$"));
    let compiled =
        RegexBuilder::new(&translated).size_limit(COMPILED_BYTES_MAX).nest_limit(NESTING_MAX).build();
    compiled.map_err(|reason| {
        // The crate's message has the expression with a marker below it, and the reason last.
        let reason = reason.to_string();
        let reason = reason.lines().next_back().unwrap_or_default();
        let reason = reason.trim().trim_start_matches("error: ");
        format!("Failed to compile regex: {expression:?}: {reason}")
    })
}

/// Go's syntax in, the crate's syntax out, with the same meaning.
fn translate(expression: &str) -> String {
    let mut out = String::with_capacity(expression.len());
    let mut rest = expression;
    let mut in_brackets = false;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\\' => translate_escape(after, in_brackets, &mut out),
            '[' if in_brackets && after.starts_with(':') => copy_class_name(after, &mut out),
            '[' if in_brackets => {
                out.push_str("\\[");
                after
            }
            '[' => {
                in_brackets = true;
                open_brackets(after, &mut out)
            }
            ']' if in_brackets => {
                in_brackets = false;
                out.push(c);
                after
            }
            // An escape takes the double meaning away from the second one.
            '&' | '~' if in_brackets => {
                out.extend(['\\', c]);
                after
            }
            '-' if in_brackets && after.starts_with('-') => {
                out.push_str("\\-");
                after
            }
            _ => {
                out.push(c);
                after
            }
        };
    }
    out
}

/// Copies `[`, `[^` and a `]` right behind it, which stands for itself.
fn open_brackets<'a>(after: &'a str, out: &mut String) -> &'a str {
    out.push('[');
    let after = match after.strip_prefix('^') {
        Some(after) => {
            out.push('^');
            after
        }
        None => after,
    };
    match after.strip_prefix(']') {
        Some(after) => {
            out.push_str("\\]");
            after
        }
        None => after,
    }
}

/// Copies `[:name:]`, or a bracket that stands for itself where that does not end.
fn copy_class_name<'a>(after: &'a str, out: &mut String) -> &'a str {
    match after.find(":]") {
        Some(end) if end > 0 => {
            out.push('[');
            out.push_str(&after[..end + 2]);
            &after[end + 2..]
        }
        _ => {
            out.push_str("\\[");
            after
        }
    }
}

/// Translates what follows a backslash; returns what follows that.
fn translate_escape<'a>(after: &'a str, in_brackets: bool, out: &mut String) -> &'a str {
    let Some(c) = after.chars().next() else {
        out.push('\\');
        return after;
    };
    let rest = &after[c.len_utf8()..];
    if c == 'Q' && !in_brackets {
        let (quoted, rest) = rest.split_once("\\E").unwrap_or((rest, ""));
        out.push_str(&regex::escape(quoted));
        return rest;
    }
    let ascii = match (c, in_brackets) {
        ('d', false) => "[0-9]",
        ('d', true) => "0-9",
        ('D', _) => "[^0-9]",
        ('w', false) => "[0-9A-Za-z_]",
        ('w', true) => "0-9A-Za-z_",
        ('W', _) => "[^0-9A-Za-z_]",
        ('s', false) => "[\\t\\n\\f\\r ]",
        ('s', true) => "\\t\\n\\f\\r ",
        ('S', _) => "[^\\t\\n\\f\\r ]",
        ('b', false) => "(?-u:\\b)",
        _ => {
            out.extend(['\\', c]);
            return rest;
        }
    };
    out.push_str(ascii);
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(expression: &str, text: &str) -> bool {
        compile_anchored(expression).unwrap_or_else(|reason| panic!("{reason}")).is_match(text)
    }

    #[test]
    fn anchors_stand_outside_without_a_group() {
        for (expression, text, expected) in [
            ("web", "web", true),
            ("w", "web", false),
            ("w.*", "web", true),
            ("alp|eta", "alpha", true),
            ("alp|eta", "beta", true),
            ("(alp|eta)", "alpha", false),
            ("", "", true),
            ("", "x", false),
            (".+", "", false),
            ("ALPHA", "alpha", false),
            ("(?i)ALPHA", "alpha", true),
        ] {
            assert_eq!(matches(expression, text), expected, "{expression:?} on {text:?}");
        }
    }

    #[test]
    fn classes_know_only_ascii_as_in_go() {
        for (expression, text, expected) in [
            (r"\d+", "42", true),
            (r"\d+", "٤٢", false),
            (r"\w+", "größe", false),
            (r"\W+", "öß", true),
            (r"a\sb", "a b", true),
            (r"a\sb", "a\u{a0}b", false),
            (r"[\d-]+", "4-2", true),
            (r"[^\d]+", "ab", true),
            (r"[\W]+", "ö", true),
            (r".*\bb.*", "a b", true),
        ] {
            assert_eq!(matches(expression, text), expected, "{expression:?} on {text:?}");
        }
    }

    #[test]
    fn brackets_hold_what_they_hold_in_go() {
        for (expression, text, expected) in [
            ("[[a]+", "[a[", true),
            ("[a&&b]+", "a&b", true),
            ("[]a]+", "]a", true),
            ("[^]a]+", "bc", true),
            ("[^]a]+", "]", false),
            ("[[:alpha:]]+", "abc", true),
            ("[[:alpha:]]+", "a1", false),
            ("[a~~b]+", "~", true),
            ("[a--]+", "a-", true),
            (r"\Qa.b|c\E", "a.b|c", true),
            (r"\Qa.b\E.", "a.bx", true),
            (r"\Qa.b\E.", "axbx", false),
        ] {
            assert_eq!(matches(expression, text), expected, "{expression:?} on {text:?}");
        }
    }

    #[test]
    fn what_cannot_be_compiled_is_named_in_one_line() {
        for bad in ["[", "(", "a{2,1}", "(?P<n>", "((((a{50}){50}){50}){50})", &"(".repeat(500)] {
            let message = compile_anchored(bad).unwrap_err();
            assert!(message.starts_with("Failed to compile regex: "), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }
}
