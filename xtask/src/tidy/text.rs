//! Checks of one file's text.

use super::Source;
use std::path::Path;

/// Leftovers that must not be committed. They are joined here so that this file does not complain of itself.
const MARKERS: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
];

/// Beginnings of paths that exist on one machine only.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/ro", "ot/"), concat!("/wo", "rk/")];

/// A home that is nobody's, for examples.
const EXAMPLE_HOME: &str = concat!("/ho", "me/me/");

/// The crates whose same inputs must give the same outputs, and what would break that or do input and output. The
/// method bans in their `clippy.toml` see through aliases; this also sees what is never called.
const DETERMINISTIC: [&str; 3] = ["crates/thane-wire/src", "crates/thane-core/src", "crates/thane-sim/src"];
const NOT_DETERMINISTIC: [&str; 8] = [
    "Instant::now",
    "SystemTime",
    "tokio",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "thread::sleep",
    "std::fs",
];

/// Where every crate must come from.
const REGISTRY: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

pub(super) fn check(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut complain = |line: usize, what: String| {
        complaints.push(format!("{}:{}: {what}", source.path.display(), line + 1));
    };
    let lock = source.path.ends_with("Cargo.lock");
    let cargo_config = source.path.starts_with(".cargo");
    let deterministic = DETERMINISTIC.iter().any(|folder| source.path.starts_with(folder));
    for (number, line) in source.text.lines().enumerate() {
        for marker in MARKERS.iter().filter(|marker| line.contains(**marker)) {
            complain(number, format!("`{marker}` is left over; do it now or open an issue"));
        }
        let line_without_example = line.replace(EXAMPLE_HOME, "");
        for path in MACHINE_PATHS.iter().filter(|path| line_without_example.contains(**path)) {
            complain(number, format!("`{path}` is a path of one machine; say it in another way"));
        }
        if lock && line.starts_with("source = ") && line != REGISTRY {
            complain(number, "this crate does not come from crates.io".to_owned());
        }
        if cargo_config && line.trim_start().starts_with("[source") {
            complain(number, "sources of crates belong into the user's own configuration".to_owned());
        }
        if deterministic && !is_comment(line) && !is_test(&source.path) {
            for name in NOT_DETERMINISTIC.iter().filter(|name| line.contains(**name)) {
                complain(number, format!("`{name}` has no place in a deterministic crate; make it an input"));
            }
        }
    }
    complaints
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// A child module of tests, which may read vectors from files.
fn is_test(path: &Path) -> bool {
    path.components().any(|component| component.as_os_str() == "tests") || path.ends_with("tests.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> Vec<String> {
        check(&Source { path: path.into(), text: text.to_owned() })
    }

    #[test]
    fn leftovers_and_machine_paths_are_found_with_their_line() {
        let text = format!(
            "fine\n// {}: later\nlet x = \"{}me/x\";\nlet y = \"{EXAMPLE_HOME}y\";\n",
            concat!("TO", "DO"),
            "/ho"
        );
        let found = complaints("crates/thane/src/lib.rs", &text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("crates/thane/src/lib.rs:2: "));
        assert!(found[1].starts_with("crates/thane/src/lib.rs:3: "));
    }

    #[test]
    fn clocks_are_refused_in_deterministic_crates_only() {
        let text = "// The tokio driver gives the time.\nlet now = Instant::now();\n";
        assert_eq!(complaints("crates/thane-core/src/node.rs", text).len(), 1);
        assert_eq!(complaints("crates/thane/src/driver.rs", text).len(), 0);
    }

    #[test]
    fn a_crate_from_elsewhere_is_refused() {
        let good = format!("{REGISTRY}\n");
        assert_eq!(complaints("Cargo.lock", &good).len(), 0);
        assert_eq!(complaints("Cargo.lock", "source = \"git+https://example.org/x\"\n").len(), 1);
    }
}
