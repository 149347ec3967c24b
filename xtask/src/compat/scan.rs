//! Which functions of our sources print the line of a recording, read from the sources themselves.
//!
//! The sources are formatted by `rustfmt`, so that a function ends at the first line that is indented as it is and
//! holds nothing but a brace.

use std::collections::BTreeSet;

/// What the lines of recordings begin with, as it stands in a source. Joined here so that this file does not find itself.
const PRINTED: &str = concat!("\"compat", ": ");

/// The lines, from 1, that say of a recording how many cases it has without having counted them.
pub(super) fn uncounted(source: &str) -> Vec<usize> {
    let is_uncounted = |line: &str| {
        let Some((_, counts)) = line.split_once(PRINTED).and_then(|(_, said)| said.split_once("cases="))
        else {
            return false;
        };
        counts.starts_with(|c: char| c.is_ascii_digit())
    };
    source.lines().enumerate().filter(|(_, line)| is_uncounted(line)).map(|(at, _)| at + 1).collect()
}

/// One function of a source file.
#[derive(Debug)]
struct Function<'a> {
    name: &'a str,
    is_test: bool,
    /// Whether other files can call it.
    is_public: bool,
    body: String,
}

/// For each of a package's sources the names of the tests in it that print the line of a recording, by themselves or
/// through a function that they call. Functions of other files count if they are public.
pub(super) fn printing_tests(sources: &[String]) -> Vec<Vec<String>> {
    let files: Vec<Vec<Function<'_>>> = sources.iter().map(|source| functions(source)).collect();
    let mut shared = BTreeSet::new();
    loop {
        let known = shared.len();
        let printing: Vec<Vec<&Function<'_>>> = files.iter().map(|file| printing_in(file, &shared)).collect();
        let public = printing.iter().flatten().filter(|function| function.is_public && !function.is_test);
        shared.extend(public.map(|function| function.name));
        if shared.len() == known {
            let names = |functions: &Vec<&Function<'_>>| {
                functions.iter().filter(|function| function.is_test).map(|f| f.name.to_owned()).collect()
            };
            return printing.iter().map(names).collect();
        }
    }
}

/// The functions of one file that print, given those that it can call elsewhere.
fn printing_in<'f, 'a>(file: &'f [Function<'a>], shared: &BTreeSet<&'a str>) -> Vec<&'f Function<'a>> {
    let mut printing = shared.clone();
    loop {
        let found: Vec<&Function<'_>> = file
            .iter()
            .filter(|function| {
                let mut callees = printing.iter().filter(|name| **name != function.name);
                function.body.contains(PRINTED) || callees.any(|name| calls(&function.body, name))
            })
            .collect();
        let known = printing.len();
        printing.extend(found.iter().filter(|function| !function.is_test).map(|function| function.name));
        if printing.len() == known {
            return found;
        }
    }
}

fn calls(body: &str, name: &str) -> bool {
    body.match_indices(name).any(|(at, _)| {
        let before = body[..at].chars().next_back();
        body[at + name.len()..].starts_with('(')
            && !before.is_some_and(|before| before.is_alphanumeric() || before == '_')
    })
}

fn functions(source: &str) -> Vec<Function<'_>> {
    let lines: Vec<&str> = source.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let Some(name) = function_name(code) else { continue };
        let indentation = &line[..line.len() - code.len()];
        let end = format!("{indentation}}}");
        let length = if line.ends_with('}') {
            1
        } else {
            lines[at..].iter().position(|line| *line == end).map_or(lines.len() - at, |last| last + 1)
        };
        let attributes = lines[..at].iter().rev().map(|line| line.trim_start());
        let mut attributes = attributes.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        found.push(Function {
            name,
            is_test: attributes.any(|line| line == "#[test]" || line.starts_with("#[tokio::test")),
            is_public: code.starts_with("pub"),
            // The signature would look like a call.
            body: lines[at..at + length].join("\n").replacen(&format!("fn {name}"), "", 1),
        });
    }
    found
}

/// The name in the first line of a function.
fn function_name(code: &str) -> Option<&str> {
    let (before, rest) = code.split_once("fn ")?;
    let plain = |word: &str| word.is_empty() || word == "async" || word == "const" || word.starts_with("pub");
    if !before.split(' ').all(plain) {
        return None;
    }
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (end > 0 && rest[end..].starts_with(['(', '<'])).then(|| &rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECT: &str = "\
#[test]
fn replays() {
    fn inner() -> u8 {
        7
    }
    eprintln!(\"compat\": set | cases=1 same={} listed=0\", inner());
}

#[test]
fn says_nothing() {
    let replays = 3;
}
";

    /// The texts above and below must not be found in this very file.
    fn printing(sources: &[&str]) -> Vec<Vec<String>> {
        let sources: Vec<String> = sources.iter().map(|text| text.replace("\"compat\": ", PRINTED)).collect();
        printing_tests(&sources)
    }

    #[test]
    fn a_test_that_prints_is_found_and_others_are_not() {
        assert_eq!(printing(&[DIRECT]), [["replays"]]);
    }

    #[test]
    fn a_line_printed_by_a_helper_counts_for_the_tests_that_call_it() {
        let helped = "\
#[test]
/// Why.
#[ignore = \"slow\"]
fn first() {
    middle(1);
}

#[tokio::test]
async fn second() {
    unmiddle(2);
}

fn middle(n: u8) {
    say::<u8>();
    tell(n)
}

fn tell(n: u8) {
    eprintln!(\"compat\": set | cases={n} same={n} listed=0\");
}
";
        assert_eq!(printing(&[helped]), [["first"]]);
        let support = "pub(super) fn tell() {\n    eprintln!(\"compat\": x | cases=1\");\n}\n";
        let caller = "#[test]\nfn a() {\n    support::tell();\n}\n\n#[test]\nfn b() {}\n";
        let expected: [&[&str]; 2] = [&[], &["a"]];
        assert_eq!(printing(&[support, caller]), expected);
        assert_eq!(printing(&[&support.replace("pub(super) ", ""), caller]), [[""; 0], [""; 0]]);
    }

    #[test]
    fn counts_must_have_been_counted() {
        let source = format!(
            "fn f() {{\n    eprintln!({PRINTED}x | cases=3 same=3\");\n    g({PRINTED}x | cases={{n}}\");\n}}"
        );
        assert_eq!(uncounted(&source), [2]);
    }

    #[test]
    fn prose_and_types_are_no_functions() {
        for code in ["// a fn of ours", "let f: fn (u8) = g;", "type F = fn(u8);", "the fn x does"] {
            assert_eq!(function_name(code), None, "{code}");
        }
        for code in ["fn f() {", "pub(super) async fn f<T>(", "const fn f() {}"] {
            assert_eq!(function_name(code), Some("f"), "{code}");
        }
    }
}
