//! Watching events: a handler script that keeps what it is given, and a running `monitor`.

use super::{Agent, Kind};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

/// Keeps each invocation as two files, whole or not at all: they are made under a name that the reader ignores and
/// get their final one at the end. Names begin with the time, so they sort in order.
const SCRIPT: &str = r#"
record="$1/$(date +%s%N)-$$"
env | grep '^SERF_' > "$record.env.part"
cat > "$record.stdin"
mv "$record.env.part" "$record.env"
"#;

/// One invocation of the recording handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// The variables that begin with `SERF_`.
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) input: Vec<u8>,
}

impl Recorded {
    /// The type of the event.
    pub(crate) fn event(&self) -> &str {
        self.variable("SERF_EVENT")
    }

    /// The value of a variable, empty if it is not set.
    pub(crate) fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }

    /// The lines of a member event.
    pub(crate) fn lines(&self) -> Vec<String> {
        String::from_utf8_lossy(&self.input).lines().map(str::to_owned).collect()
    }
}

/// Writes the script and gives the `-event-handler` value that records events of `filter` for the agent with these
/// files.
pub(crate) fn handler_in(files: &Path, filter: &str) -> String {
    let script = files.with_extension("sh");
    fs::write(&script, SCRIPT).expect("the script can be written");
    let records = files.with_extension("events");
    fs::create_dir_all(&records).expect("the directory of records can be made");
    format!("{filter}=sh '{}' '{}'", script.display(), records.display())
}

#[track_caller]
pub(crate) fn records_in(directory: &Path) -> Vec<Recorded> {
    let entries = fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("no events are recorded in {}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the directory can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "env"))
        .collect();
    paths.sort();
    paths.iter().map(|path| record_at(path)).collect()
}

fn record_at(path: &Path) -> Recorded {
    let variables = String::from_utf8_lossy(&fs::read(path).expect("the record can be read")).into_owned();
    let variables = variables.lines().filter_map(|line| line.split_once('='));
    Recorded {
        variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        input: fs::read(path.with_extension("stdin")).expect("the record can be read"),
    }
}

/// A running `monitor` command; it ends with this value.
#[derive(Debug)]
pub(crate) struct Monitor {
    child: Child,
    output: PathBuf,
}

impl Monitor {
    /// Starts `monitor` of `kind`'s command line against `agent`, with its output in `output`.
    pub(crate) fn start(kind: Kind, agent: &Agent, output: PathBuf) -> Self {
        let file = File::create(&output).expect("the monitor's output can be made");
        let mut command = kind.command();
        command.args(["monitor", "-log-level=DEBUG", &format!("-rpc-addr={}", agent.rpc_address())]);
        command.stdout(file).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self { child, output }
    }

    /// What it has printed so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// The blocks that it has printed, one an event: field to value in Go's syntax.
    pub(crate) fn events(&self) -> Vec<BTreeMap<String, String>> {
        let text = self.text();
        let mut blocks = Vec::new();
        for block in text.split("Event Info:\n").skip(1) {
            let fields = block.lines().map_while(|line| line.strip_prefix('\t')?.split_once(": "));
            blocks.push(fields.map(|(key, value)| (key.to_owned(), value.to_owned())).collect());
        }
        blocks
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
