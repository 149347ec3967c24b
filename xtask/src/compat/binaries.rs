//! The test binaries of the workspace, and the tests in each.

use crate::process::{cargo, line_of, output_of};
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// One program that Cargo built from tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TestBinary {
    pub(super) package: String,
    /// `lib`, the program's name, or that of the file or folder in `tests`.
    pub(super) target: String,
    /// Where the package lies; the tests expect to run there.
    pub(super) folder: PathBuf,
    /// The file that the compiler was given.
    pub(super) root: PathBuf,
    pub(super) executable: PathBuf,
    /// The tests in it, as `--list` names them.
    pub(super) tests: Vec<String>,
}

impl TestBinary {
    /// How a topic names a test of this binary.
    pub(super) fn full_name(&self, test: &str) -> String {
        format!("{}/{}::{test}", self.package, self.target)
    }

    /// A command that runs the binary where its tests expect it.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder);
        command
    }

    /// The beginning of the names of the tests in this source file, if it belongs to the binary: `a::b::` or nothing.
    pub(super) fn module_of(&self, file: &Path) -> Option<String> {
        if file == self.root {
            return Some(String::new());
        }
        // `tests/name.rs` is alone; `lib.rs` and `main.rs` stand for their folders.
        if !["lib", "main"].contains(&self.root.file_stem()?.to_str()?) {
            return None;
        }
        let inside = file.strip_prefix(self.root.parent()?).ok()?.with_extension("");
        let mut segments = inside.iter().filter_map(|part| part.to_str()).collect::<Vec<_>>();
        segments.pop_if(|last| *last == "mod");
        Some(segments.into_iter().flat_map(|segment| [segment, "::"]).collect())
    }
}

/// Builds all tests and lists them.
pub(super) fn build() -> Result<Vec<TestBinary>> {
    let mut command = cargo();
    // What the compiler says, and how far it is, goes to the person who waits.
    command.args(["test", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]);
    let output = command.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("`{}` failed: the tests do not build", line_of(&command));
    }
    let messages = String::from_utf8(output.stdout).context("cargo did not print text")?;
    let mut binaries = messages.lines().filter_map(artifact).collect::<Vec<_>>();
    binaries.sort_by(|a, b| (&a.package, &a.target).cmp(&(&b.package, &b.target)));
    for binary in &mut binaries {
        binary.tests = listed(&output_of(binary.command().arg("--list"))?);
    }
    Ok(binaries)
}

/// The test binary of which one line of Cargo's output tells, if it does.
fn artifact(line: &str) -> Option<TestBinary> {
    let message: Value = serde_json::from_str(line).ok()?;
    let executable = message["executable"].as_str().filter(|_| message["profile"]["test"] == true)?;
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
    let target = &message["target"];
    let of_library = target["kind"].as_array()?.iter().any(|kind| kind == "lib");
    Some(TestBinary {
        package: folder.file_name()?.to_str()?.to_owned(),
        target: if of_library { "lib".to_owned() } else { target["name"].as_str()?.to_owned() },
        folder: folder.to_owned(),
        root: target["src_path"].as_str()?.into(),
        executable: executable.into(),
        tests: Vec::new(),
    })
}

/// The names of the tests in what a test binary prints for `--list`.
fn listed(listing: &str) -> Vec<String> {
    listing.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(root: &str) -> TestBinary {
        TestBinary {
            package: "thane".to_owned(),
            target: "lib".to_owned(),
            folder: "/r/crates/thane".into(),
            root: root.into(),
            executable: PathBuf::new(),
            tests: Vec::new(),
        }
    }

    #[test]
    fn artifacts_of_tests_are_told_from_others() {
        let line = r#"{"reason":"compiler-artifact","manifest_path":"/r/crates/thane-core/Cargo.toml",
            "target":{"kind":["KIND"],"name":"NAME","src_path":"/r/crates/thane-core/src/lib.rs"},
            "profile":{"test":true},"executable":"/r/target/x"}"#
            .replace('\n', "");
        let of =
            |kind: &str, name: &str| artifact(&line.replace("KIND", kind).replace("NAME", name)).unwrap();
        assert_eq!(of("lib", "thane_core").full_name("a::b"), "thane-core/lib::a::b");
        assert_eq!(of("test", "node").full_name("a"), "thane-core/node::a");
        assert_eq!(artifact(&line.replace("true", "false")), None, "an ordinary build");
        assert_eq!(artifact("{\"reason\":\"build-finished\"}"), None);
    }

    #[test]
    fn files_have_the_module_that_the_compiler_gives_them() {
        let library = binary("/r/crates/thane/src/lib.rs");
        let module = |file: &str| library.module_of(Path::new(file));
        assert_eq!(module("/r/crates/thane/src/lib.rs").as_deref(), Some(""));
        assert_eq!(module("/r/crates/thane/src/a/b.rs").as_deref(), Some("a::b::"));
        assert_eq!(module("/r/crates/thane/src/a/mod.rs").as_deref(), Some("a::"));
        assert_eq!(module("/r/crates/thane/tests/a.rs"), None);
        let alone = binary("/r/crates/thane/tests/a.rs");
        assert_eq!(alone.module_of(Path::new("/r/crates/thane/tests/a.rs")).as_deref(), Some(""));
        assert_eq!(alone.module_of(Path::new("/r/crates/thane/tests/b.rs")), None);
    }

    #[test]
    fn a_listing_has_tests_and_a_sum() {
        assert_eq!(listed("a::b: test\nc: test\nd: benchmark\n\n2 tests, 1 benchmark\n"), ["a::b", "c"]);
    }
}
