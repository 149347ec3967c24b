//! Replaying what was recorded of Serf: running the tests that do, and counting what they say.
//!
//! A test that replays a recording prints one line, on standard error:
//!
//! ```text
//! compat: <name of the set> | cases=<in the recording> same=<replayed and equal> listed=<differ on purpose>
//! ```

use super::{binaries::TestBinary, scan};
use crate::process::line_of;
use anyhow::{Context as _, Result};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// What one test found when it replayed one set of recorded cases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) name: String,
    /// How many cases the recording has.
    pub(super) cases: usize,
    /// How many of them Thane answers as it was recorded.
    pub(super) same: usize,
    /// How many differ on purpose, with a reason in `COMPATIBILITY.md` or in the list of the test.
    pub(super) listed: usize,
}

/// The sets and what is wrong with them.
pub(super) type Replayed = (Vec<Set>, Vec<String>);

/// Runs the tests that replay recordings.
///
/// # Errors
/// A source cannot be read, or a test binary cannot be started. Tests that fail are among the complaints.
pub(super) fn replay(binaries: &[TestBinary]) -> Result<Replayed> {
    let mut complaints = Vec::new();
    let mut sets: Vec<Set> = Vec::new();
    for (at, tests) in chosen(binaries, &mut complaints)? {
        let binary = &binaries[at];
        let mut command = binary.command();
        command.arg("--exact").args(&tests).arg("--nocapture");
        let output = command.output().with_context(|| format!("cannot start `{}`", line_of(&command)))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            eprint!("{}{errors}", String::from_utf8_lossy(&output.stdout));
            let target = format!("{}/{}", binary.package, binary.target);
            complaints.push(format!("{target}: not all of these tests pass: {}", tests.join(", ")));
        }
        let found = errors.lines().filter_map(|line| line.strip_prefix("compat: ")).collect::<Vec<_>>();
        if found.len() < tests.len() {
            let (tests, lines) = (tests.join(", "), found.len());
            complaints.push(format!("{}: {lines} lines came of {tests}", binary.package));
        }
        for line in found {
            match parse(line) {
                Ok(set) if sets.iter().any(|other| other.name == set.name) => {
                    complaints.push(format!("two tests call their recording `{}`", set.name));
                }
                Ok(set) => sets.push(set),
                Err(complaint) => complaints.push(complaint),
            }
        }
    }
    sets.sort_by(|a, b| a.name.cmp(&b.name));
    complaints.extend(sets.iter().filter_map(wrong));
    Ok((sets, complaints))
}

/// The tests to run, by the place of their binary.
fn chosen(binaries: &[TestBinary], complaints: &mut Vec<String>) -> Result<BTreeMap<usize, Vec<String>>> {
    let mut folders: Vec<&Path> = binaries.iter().map(|binary| binary.folder.as_path()).collect();
    folders.dedup();
    let mut chosen: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for folder in folders {
        let mut files = Vec::new();
        for part in ["src", "tests"] {
            sources(&folder.join(part), &mut files)?;
        }
        let texts = files.iter().map(fs::read_to_string).collect::<Result<Vec<_>, _>>()?;
        for (file, text) in files.iter().zip(&texts) {
            let what = "says how many cases there are without having counted them";
            let lines = scan::uncounted(text).into_iter();
            complaints.extend(lines.map(|line| format!("{}:{line}: {what}", file.display())));
        }
        for (file, names) in files.iter().zip(scan::printing_tests(&texts)) {
            for name in names {
                let Some((at, test)) = find(binaries, file, &name) else {
                    complaints.push(format!("{}: no test binary has the test `{name}`", file.display()));
                    continue;
                };
                chosen.entry(at).or_default().push(test);
            }
        }
    }
    Ok(chosen)
}

/// The binary with the test `name` of this file, and the name that the test has there.
fn find(binaries: &[TestBinary], file: &Path, name: &str) -> Option<(usize, String)> {
    binaries.iter().enumerate().find_map(|(at, binary)| {
        let module = binary.module_of(file)?;
        let ours = |test: &&String| {
            test.strip_prefix(&module)
                .is_some_and(|inside| inside == name || inside.ends_with(&format!("::{name}")))
        };
        Some((at, binary.tests.iter().find(ours)?.clone()))
    })
}

/// Collects the Rust files below `folder`, if there is one, in order.
fn sources(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    let unreadable = || format!("cannot read the folder {}", folder.display());
    let mut entries = fs::read_dir(folder).with_context(unreadable)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for path in entries.iter().map(fs::DirEntry::path) {
        if path.is_dir() {
            sources(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Reads what follows `compat: `.
fn parse(line: &str) -> Result<Set, String> {
    let unreadable = || format!("`compat: {line}` is not of the form `SET | cases=N same=N listed=N`");
    let (name, counts) = line.split_once(" | ").ok_or_else(unreadable)?;
    let words = counts.split_whitespace().collect::<Vec<_>>();
    let [cases, same, listed] = words[..] else { return Err(unreadable()) };
    let number = |word: &str, what: &str| {
        word.strip_prefix(what).and_then(|number| number.parse().ok()).ok_or_else(unreadable)
    };
    Ok(Set {
        name: name.to_owned(),
        cases: number(cases, "cases=")?,
        same: number(same, "same=")?,
        listed: number(listed, "listed=")?,
    })
}

/// What is wrong with the counts of a set.
fn wrong(set: &Set) -> Option<String> {
    let Set { name, cases, same, listed } = set;
    if *cases == 0 {
        return Some(format!("`{name}`: the recording is empty"));
    }
    (same + listed != *cases)
        .then(|| format!("`{name}`: of {cases} cases {same} are the same and {listed} are listed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_name_and_three_counts() {
        let set = parse("agent start and signals | cases=146 same=137 listed=9").unwrap();
        assert_eq!(set.name, "agent start and signals");
        assert_eq!((set.cases, set.same, set.listed), (146, 137, 9));
        for line in ["", "x", "x | cases=1", "x | cases=1 same=1 listed=-1", "x | same=1 cases=1 listed=0"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn counts_that_do_not_add_up_are_complained_of() {
        let set = |line| parse(line).unwrap();
        assert_eq!(wrong(&set("x | cases=3 same=2 listed=1")), None);
        assert!(wrong(&set("x | cases=3 same=2 listed=0")).is_some());
        assert!(wrong(&set("x | cases=0 same=0 listed=0")).is_some());
    }

    #[test]
    fn tests_are_found_by_file_and_name() {
        let binary = |root: &str, tests: &[&str]| TestBinary {
            package: "p".to_owned(),
            target: "t".to_owned(),
            folder: "/r".into(),
            root: root.into(),
            executable: PathBuf::new(),
            tests: tests.iter().map(|&test| test.to_owned()).collect(),
        };
        let binaries = [
            binary("/r/src/lib.rs", &["a::other::x", "b::tests::x", "c::x"]),
            binary("/r/tests/b.rs", &["x", "inner::y"]),
        ];
        let found = |file: &str, name: &str| find(&binaries, Path::new(file), name);
        assert_eq!(found("/r/src/b.rs", "x"), Some((0, "b::tests::x".to_owned())));
        assert_eq!(found("/r/tests/b.rs", "y"), Some((1, "inner::y".to_owned())));
        assert_eq!(found("/r/tests/b.rs", "z"), None);
    }
}
