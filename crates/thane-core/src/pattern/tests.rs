//! Expressions and what they match in Go. Go's own answers are in `tests/vectors/serf/filters.json`, run through in `filter.rs`.

use proptest::prelude::*;

use super::names::{CATEGORIES, SCRIPTS};
use super::*;

fn matches(expression: &str, text: &str) -> bool {
    Pattern::new(expression)
        .unwrap_or_else(|error| panic!("{expression:?}: {error}"))
        .is_match(text.as_bytes())
}

#[track_caller]
fn check(cases: &[(&str, &str, bool)]) {
    for (expression, text, expected) in cases {
        assert_eq!(matches(expression, text), *expected, "{expression:?} on {text:?}");
    }
}

#[test]
fn classes_know_only_ascii() {
    check(&[
        (r"^\d+$", "42", true),
        (r"\d", "٤٢", false),
        (r"^\w+$", "größe", false),
        (r"^\W+$", "öß", true),
        (r"a\sb", "a\u{a0}b", false),
        (r"a\sb", "a\x0bb", false),
        (r"a[[:space:]]b", "a\x0bb", true),
        (r"^[\d-]+$", "4-2", true),
        (r"^[^\d]+$", "ab", true),
        (r"^[^\W]+$", "a_1", true),
        (r"^[\W]+$", "ö", true),
        (r"\bb", "öb", true),
        (r"\Bb", "öb", false),
        // Not a place inside of a character.
        (r"\B", "aéb", false),
        (r"^[[:^alpha:]]+$", "1ö", true),
        (r"[[:word:]]", "ö", false),
    ]);
}

#[test]
fn case_folds_as_in_unicode() {
    check(&[
        ("(?i)ALPHA", "alpha", true),
        ("(?i)k", "\u{212a}", true),
        (r"(?i)\w", "\u{17f}", true),
        (r"(?i)\W", "\u{17f}", false),
        ("(?i)[[:lower:]]", "A", true),
        ("(?i)[^a]", "A", false),
        (r"(?i)\p{Lu}", "a", true),
        (r"(?i)\P{Lu}", "a", false),
        ("a(?i)b|c", "C", true),
        ("(a(?i)b)c", "aBC", false),
        ("(?i:a)b", "Ab", true),
        ("(?i:a)b", "AB", false),
        ("(?i)a(?-i)b", "AB", false),
        ("(?i-s:A).", "a\n", false),
    ]);
}

#[test]
fn brackets_hold_what_they_hold_in_go() {
    check(&[
        ("^[[a]+$", "[a[", true),
        ("^[a&&b]+$", "a&b", true),
        ("^[]a]+$", "]a", true),
        ("^[^]a]+$", "]", false),
        ("^[^^]+$", "^", false),
        ("^[a-]+$", "a-", true),
        ("^[-a]+$", "a-", true),
        (r"^[\d-z]+$", "1-z", true),
        ("^[+--]+$", "+,-", true),
        ("^[[:alpha:]]+$", "a1", false),
        ("[[:alpha]", ":", true),
        (r"^[\]\-\\]+$", r"]-\", true),
        (r"^[\pN\p{Greek}]+$", "1Ω", true),
        (r"^[^\n]$", "\n", false),
        ("^[^a]$", "\n", true),
        ("^[ #]+$", "# ", true),
        (r"^[\x{d000}-\x{e000}]$", "\u{d7ff}", true),
        (r"[\x{d800}-\x{dfff}]|\x{d800}", "\u{fffd}a", false),
        (r"^[^\x{d800}]$", "a", true),
    ]);
}

#[test]
fn names_of_characters_are_gos() {
    check(&[
        (r"^\pL\p{Nd}\PL$", "é٣3", true),
        (r"^\p{^Han}$", "a", true),
        (r"^\P{^Han}$", "漢", true),
        (r"^\p{Any}$", "\n", true),
        (r"\P{Any}", "a", false),
        (r"^\p{Old_Italic}$", "\u{10300}", true),
        // Not assigned: no "other" to Go.
        (r"\p{C}", "\u{378}", false),
        (r"\p{C}", "\x07", true),
        (r"\p{Cs}", "\u{fffd}", false),
    ]);
    for name in CATEGORIES.iter().chain(&SCRIPTS) {
        assert!(!matches(&format!(r"\p{{{name}}}"), ""), "{name}");
    }
    assert!(CATEGORIES.is_sorted() && SCRIPTS.is_sorted());
    for bad in
        ["greek", "Grek", "L ", "Letter", "Uppercase_Letter", "sc=Greek", "Alphabetic", "", "^", "Garay"]
    {
        Pattern::new(&format!(r"\p{{{bad}}}")).unwrap_err();
    }
}

#[test]
fn escapes_and_quotes_stand_for_characters() {
    check(&[
        (r"^\Qa.b|c\E.$", "a.b|cx", true),
        (r"^\Qa.b\E$", "axb", false),
        (r"^\Qab\E*$", "abb", true),
        (r"\Qa(", "a(", true),
        (r"a*\Q\E*", "", true),
        (r"^\<\>\_\-\ \!$", "<>_- !", true),
        (r"^\141\0\08$", "a\0\x008", true),
        (r"^\x41\x{e9}\x{1F600}$", "Aé\u{1f600}", true),
        (r"^\a\f\n\r\t\v$", "\x07\x0c\n\r\t\x0b", true),
        ("^a b#c$", "a b#c", true),
        ("~&", "~&", true),
        (r"\Aa\z", "a\n", false),
    ]);
}

#[test]
fn braces_that_count_nothing_are_literal() {
    check(&[
        ("^a{$", "a{", true),
        ("^a{,5}$", "a{,5}", true),
        ("^a{01}$", "a{01}", true),
        ("^a{1$", "a{1", true),
        ("^{}$", "{}", true),
        ("^a{b}$", "a{b}", true),
        ("^a{2}$", "aa", true),
        ("^a{2,}?$", "aaa", true),
        ("^a{0,1}$", "aa", false),
        ("^(?:a{30}){30}$", "a", false),
        ("^(?:(?:a{1000}){0}b{1000}){0}$", "", true),
        ("^a{1000}$", &"a".repeat(1000), true),
    ]);
}

#[test]
fn repetitions_repeat_what_they_do_in_go() {
    check(&[
        ("^*a", "ba", true),
        (r"\b+a", "a", true),
        ("^(|a)*$", "aa", true),
        ("^()*$", "", true),
        ("^a(?i)*$", "aA", false),
        ("^a*(?i)*$", "aaa", true),
        ("^a??$", "a", true),
        ("(?U)^a*?$", "aa", true),
        ("zzz|", "a", true),
        ("^(a|b)+$", "abba", true),
        ("(?)a", "a", true),
        ("(?P<x>a)(?<y>b)", "ab", true),
    ]);
}

#[test]
fn bytes_that_are_no_text_are_one_character_each() {
    for (expression, text, expected) in [
        ("^a.b$", &b"a\xffb"[..], true),
        ("^..$", b"\xe2\x82", true),
        ("^.{3}$", b"\xed\xa0\x80", true),
        (r"^\x{fffd}$", b"\xff", true),
        ("^[^a]b$", b"\x80b", true),
        ("^é$", "é".as_bytes(), true),
    ] {
        assert_eq!(Pattern::new(expression).unwrap().is_match(text), expected, "{expression:?} on {text:?}");
    }
}

#[test]
fn errors_name_the_spot_and_the_remedy() {
    for (bad, spot) in [
        ("we**b", "character 3, `**`: "),
        ("a+*?", "character 2, `+*?`: "),
        ("a{2}{3}", "character 2, `{2}{3}`: "),
        ("é(b", "character 2, `(`: "),
        ("a)b", "character 2, `)`: "),
        ("a|*b", "character 3, `*`: "),
        ("(*)", "character 2, `*`: "),
        ("a[b", "character 2, `[`: "),
        ("[]", "character 1, `[`: "),
        ("[b-a]", "character 2, `b-a`: "),
        ("[a--w]", "character 2, `a--`: "),
        (r"[a-\d]", r"character 4, `\\d`: "),
        ("[[:alph:]]", "character 2, `[:alph:]`: "),
        ("a{1001}", "character 2, `{1001}`: "),
        ("a{99999999999}", "character 2, `{99999999999}`: "),
        ("a{2,1}", "character 2, `{2,1}`: "),
        ("(a{50}){50}", "character 8, `{50}`: "),
        ("(?x)a", "character 1, `(?x`: "),
        ("(?=a)", "character 1, `(?=`: "),
        ("(?i-)a", "character 1, `(?i-)`: "),
        ("(?<!a)", "character 1, `(?<`: "),
        ("(?P<n a>b)", "character 1, `(?P<n a>`: "),
        ("(?P<n>a)(?P<n>b)", "character 9, `(?P<n>`: "),
        (r"(a)\1", r"character 4, `\\1`: "),
        (r"a\C", r"character 2, `\\C`: "),
        (r"a\Z", r"character 2, `\\Z`: "),
        (r"\é", r"character 1, `\\é`: "),
        (r"\xg1", r"character 1, `\\xg`: "),
        (r"\x{110000}", r"character 1, `\\x{110000`: "),
        (r"\x{}", r"character 1, `\\x{}`: "),
        ("a\\", r"character 2, `\\`: "),
        (r"\p{Greek", r"character 1, `\\p`: "),
        (r"\p", r"character 1, `\\p`: "),
    ] {
        let error = Pattern::new(bad).expect_err(bad).to_string();
        let (_, remedy) = error.strip_prefix(spot).map(|rest| ("", rest)).expect(&error);
        assert!(!remedy.is_empty() && !error.contains('\n'), "{error}");
    }
}

#[test]
fn size_has_limits() {
    for bad in [
        &"a".repeat(EXPRESSION_BYTES_MAX + 1),
        &format!("{}{}", "(".repeat(41), ")".repeat(41)),
        &format!("a*{}", "(?i)*".repeat(200)),
        r"(?:\pL{30}){30}",
    ] {
        Pattern::new(bad).unwrap_err();
    }
    // What is nested as deep as it may be compiles, and does not take the stack.
    let deep = format!("{}{}", "(?i:[a]+|b".repeat(40), ")*".repeat(40));
    assert!(matches(&deep, "A"));
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
    ] {
        let pattern = Pattern::anchored(expression).unwrap();
        assert_eq!(pattern.is_match(text.as_bytes()), expected, "{expression:?} on {text:?}");
    }
    assert_eq!(Pattern::anchored("a**").unwrap_err().character(), Some(2));
    // The anchor may be repeated.
    assert!(Pattern::anchored("*").unwrap().is_match(b""));
    assert_eq!(Pattern::anchored("a|*").unwrap_err().character(), Some(3));
}

#[test]
fn the_cache_keeps_what_was_used_last_and_nothing_large() {
    let mut cache = PatternCache::default();
    for number in 0..CACHE_ENTRIES_MAX {
        assert!(cache.is_match(&format!("^{number}$"), number.to_string().as_bytes()));
    }
    assert!(cache.is_match("^0$", b"0"));
    assert!(cache.is_match("new", b"new"));
    assert_eq!(cache.entries.len(), CACHE_ENTRIES_MAX);
    let kept = |cache: &PatternCache, expression: &str| {
        cache.entries.iter().any(|(known, _)| **known == *expression)
    };
    assert!(kept(&cache, "^0$") && kept(&cache, "new") && !kept(&cache, "^1$"));

    assert!(cache.is_match(r"^(\pL{5}){2}$", b"abcdefghij"));
    assert!(!kept(&cache, r"^(\pL{5}){2}$"));
    assert!(!cache.is_match("(", b"("));
    assert!(!kept(&cache, "("));
}

proptest! {
    /// What is valid by Go's rules is understood by the crate, and whatever comes in is answered.
    #[test]
    fn every_translation_compiles(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "a", "(", ")", "(?i)", "(?U:", "(?P<n>", "|", "*", "+", "?", "{2}", "{,", "{1,3}", "[", "]", "[^", "^", "$", ".", "-", "&&",
                "\\", "\\d", "\\pL", "\\P{Han}", "\\b", "\\B", "\\Q", "\\E", "\\x{d800}", "[:alpha:]", "[:", ":]", "é", " ", "#", "\n", "~~",
            ]),
            0..24,
        )
    ) {
        let expression = parts.concat();
        if let Err(error) = Pattern::new(&expression) {
            let too_large = error.what.contains("too much memory");
            prop_assert!(error.character.is_some() || too_large, "{expression:?}: {error}");
        }
    }

    #[test]
    fn any_text_is_answered(expression in ".{0,40}", text in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(pattern) = Pattern::new(&expression) {
            pattern.is_match(&text);
        }
    }

    /// A quoted text matches itself and nothing else.
    #[test]
    fn quoted_text_is_itself(text in ".{0,20}", other in ".{0,20}") {
        prop_assume!(!text.contains('\\'));
        let pattern = Pattern::new(&format!(r"\A\Q{text}\E\z")).unwrap();
        prop_assert!(pattern.is_match(text.as_bytes()));
        prop_assert_eq!(pattern.is_match(other.as_bytes()), text == other);
    }
}
