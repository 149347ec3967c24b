//! Which crate may know which, and which foreign crates are used directly.

use crate::process::{cargo, output_of};
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::{collections::BTreeSet, fs};

/// Each of our crates, and those of ours that its own code may know. A crate that is not here is complained of, so
/// that a new one is placed on purpose.
const MAY_KNOW: [(&str, &[&str]); 7] = [
    ("thane-wire", &[]),
    ("thane-core", &["thane-wire"]),
    ("thane", &["thane-core", "thane-wire"]),
    // The agent knows the core only through the library; `thane-wire` is for its RPC, `thane-sim` for `thane sim`.
    ("thane-agent", &["thane", "thane-sim", "thane-wire"]),
    ("thane-sim", &["thane-core", "thane-wire"]),
    ("thane-fuzz", &["thane-agent", "thane-core", "thane-sim", "thane-wire"]),
    ("xtask", &["thane", "thane-agent", "thane-core", "thane-sim", "thane-wire"]),
];

/// Tests may also know this one.
const FOR_TESTS: &str = "thane-sim";

/// The list of direct dependencies, so that a new one is a line in review.
const LIST: &str = "xtask/dependencies.txt";

/// One line of a crate's manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    from: String,
    to: String,
    /// `normal`, `build` or `dev`.
    kind: String,
}

pub(super) fn check() -> Result<Vec<String>> {
    let edges = edges()?;
    let mut complaints: Vec<_> = edges.iter().filter_map(forbidden).collect();
    let expected = fs::read_to_string(LIST).with_context(|| format!("cannot read {LIST}"))?;
    complaints.extend(differences(&expected, &list(&edges)));
    Ok(complaints)
}

/// Writes the list of direct dependencies as it is now.
pub(super) fn bless() -> Result<()> {
    fs::write(LIST, list(&edges()?)).with_context(|| format!("cannot write {LIST}"))
}

fn edges() -> Result<BTreeSet<Edge>> {
    let metadata = output_of(cargo().args(["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
    let text = |value: &Value, key: &str| value[key].as_str().map(str::to_owned);
    let mut edges = BTreeSet::new();
    for package in metadata["packages"].as_array().context("cargo metadata has no packages")? {
        let from = text(package, "name").context("a package without a name")?;
        for dependency in package["dependencies"].as_array().context("a package without dependencies")? {
            let to = text(dependency, "name").context("a dependency without a name")?;
            let kind = text(dependency, "kind").unwrap_or_else(|| "normal".to_owned());
            edges.insert(Edge { from: from.clone(), to, kind });
        }
    }
    Ok(edges)
}

fn is_ours(name: &str) -> bool {
    name == "xtask" || name == "thane" || name.starts_with("thane-")
}

/// Why this edge must not be.
fn forbidden(edge: &Edge) -> Option<String> {
    let Edge { from, to, kind } = edge;
    let Some((_, allowed)) = MAY_KNOW.iter().find(|(name, _)| name == from) else {
        return Some(format!("{from}: a new crate; say in xtask's tidy/crates.rs what it may know"));
    };
    let fine = !is_ours(to) || allowed.contains(&to.as_str()) || (kind == "dev" && to == FOR_TESTS);
    (!fine).then(|| format!("{from}: must know nothing of {to} (a {kind} dependency)"))
}

/// Foreign dependencies, one a line.
fn list(edges: &BTreeSet<Edge>) -> String {
    let heading =
        "# The crates that each crate of ours uses directly. `cargo xtask tidy --bless` writes this list.\n";
    let lines = edges.iter().filter(|edge| !is_ours(&edge.to)).map(|Edge { from, to, kind }| {
        let note = if kind == "normal" { String::new() } else { format!(" ({kind})") };
        format!("{from}: {to}{note}\n")
    });
    [heading.to_owned()].into_iter().chain(lines).collect()
}

fn differences(expected: &str, found: &str) -> Vec<String> {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (expected, found) = (lines(expected), lines(found));
    let new = found.difference(&expected).map(|line| format!("{LIST}: `{line}` is new"));
    let gone = expected.difference(&found).map(|line| format!("{LIST}: `{line}` is no longer used"));
    let mut complaints: Vec<_> = new.chain(gone).collect();
    if !complaints.is_empty() {
        complaints
            .push(format!("{LIST}: if that is meant, run `cargo xtask tidy --bless` and commit the list"));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, to: &str, kind: &str) -> Edge {
        Edge { from: from.to_owned(), to: to.to_owned(), kind: kind.to_owned() }
    }

    #[test]
    fn edges_against_the_direction_are_forbidden() {
        for (case, allowed) in [
            (edge("thane-core", "thane-wire", "normal"), true),
            (edge("thane-wire", "thane-core", "normal"), false),
            (edge("thane-wire", "thane-core", "dev"), false),
            (edge("thane-core", "thane", "normal"), false),
            (edge("thane-agent", "thane-core", "normal"), false),
            (edge("thane", "thane-sim", "normal"), false),
            (edge("thane", "thane-sim", "dev"), true),
            (edge("thane-core", "bytes", "normal"), true),
            (edge("thane-new", "bytes", "normal"), false),
        ] {
            assert_eq!(forbidden(&case).is_none(), allowed, "{case:?}");
        }
    }

    #[test]
    fn a_new_and_a_gone_dependency_are_told_apart() {
        let complaints = differences("a: b\na: c\n", "a: b\na: d\n");
        assert!(complaints[0].contains("`a: d` is new"), "{complaints:?}");
        assert!(complaints[1].contains("`a: c` is no longer used"), "{complaints:?}");
        assert!(differences("a: b\n", "a: b\n").is_empty());
    }
}
