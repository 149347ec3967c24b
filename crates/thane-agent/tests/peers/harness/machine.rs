//! A machine that somebody looks after: an agent with all its settings, its keys, tags and snapshot in files, which outlive the
//! program that uses them.

use super::{Agent, Cluster, Kind};
use serde_json::{Map, Value, json};
use std::{
    ffi::OsString,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

/// Notes each user event and each member of each member event as one line. All of it is built into the shell, so that many
/// events cost little, and each line is one write, so that handlers may run at the same time. All input is read, because Serf
/// complains of handlers that leave some.
const SCRIPT: &str = r#"
while read -r name _; do
    case "$SERF_EVENT" in member-*) printf '%s %s\n' "$SERF_EVENT" "$name" ;; esac
done >> "$1"
[ "$SERF_EVENT" != user ] || printf 'user %s\n' "$SERF_USER_EVENT" >> "$1"
"#;

/// A machine before its agent is started.
pub(crate) struct Machine<'a> {
    cluster: &'a Cluster,
    kind: Kind,
    name: String,
    ip: Ipv4Addr,
    directory: PathBuf,
    settings: Map<String, Value>,
    prefix: Vec<OsString>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(
        cluster: &'a Cluster,
        kind: Kind,
        name: &str,
        ip: Ipv4Addr,
        directory: PathBuf,
        is_local: bool,
    ) -> Self {
        fs::create_dir_all(directory.join("serf.d")).expect("the machine's directory can be made");
        let script = directory.join("note.sh");
        fs::write(&script, SCRIPT).expect("the script can be written");
        let journal = directory.join("journal");
        fs::write(&journal, "").expect("the journal can be made");
        let mut machine = Self {
            cluster,
            kind,
            name: name.to_owned(),
            ip,
            directory,
            settings: Map::new(),
            prefix: Vec::new(),
        };
        machine.put("node_name", json!(name));
        machine.put("bind", json!(ip));
        machine.put("rpc_addr", json!(format!("{ip}:7373")));
        machine.put("log_level", json!("debug"));
        if is_local {
            machine.put("profile", json!("local"));
        }
        let handlers = [
            format!("*=sh '{}' '{}'", script.display(), journal.display()),
            format!("query:who=cat > /dev/null; echo {name}"),
        ];
        machine.put("event_handlers", json!(handlers));
        machine
    }

    fn put(&mut self, key: &str, value: Value) {
        self.settings.insert(key.to_owned(), value);
    }

    /// Adds a setting.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.put(key, value.into());
        self
    }

    /// Runs its agent, and the commands that ask it, by this command line.
    pub(crate) fn within(mut self, prefix: Vec<OsString>) -> Self {
        self.prefix = prefix;
        self
    }

    /// Keeps keys in a file, with these to begin with.
    pub(crate) fn keyring(self, keys: &[&str]) -> Self {
        let path = self.directory.join("keyring.json");
        fs::write(&path, json!(keys).to_string()).expect("the key ring can be written");
        self.with("keyring_file", path.to_string_lossy())
    }

    /// Keeps tags in a file.
    pub(crate) fn tags_file(self) -> Self {
        let path = self.directory.join("tags.json");
        self.with("tags_file", path.to_string_lossy())
    }

    /// Keeps a snapshot.
    pub(crate) fn snapshot(self) -> Self {
        let path = self.directory.join("snapshot");
        self.with("snapshot_path", path.to_string_lossy())
    }

    /// Its agent, not yet started.
    pub(crate) fn build(self) -> Agent {
        let text = Value::Object(self.settings).to_string();
        let configuration = self.directory.join("serf.d");
        fs::write(configuration.join("agent.json"), text).expect("the settings can be written");
        let flag = format!("-config-dir={}", configuration.display());
        let files = self.directory.join("agent");
        let agent = Agent::within(self.prefix, self.kind, self.name, self.ip, files, vec![flag.into()]);
        self.cluster.adopt(&agent);
        agent
    }

    /// Its agent, running.
    #[track_caller]
    pub(crate) fn start(self) -> Agent {
        let agent = self.build();
        agent.start();
        agent
    }
}

/// What the agent of a [`Machine`] has in its files.
impl Agent {
    /// The names of all user events that the handlers were given, in order, over all starts.
    pub(crate) fn noted_user_events(&self) -> Vec<String> {
        self.notes().lines().filter_map(|line| Some(line.strip_prefix("user ")?.to_owned())).collect()
    }

    /// Kind and member of all member events that the handlers were given, in order, over all starts.
    pub(crate) fn noted_member_events(&self) -> Vec<(String, String)> {
        let notes = self.notes();
        let events = notes.lines().filter(|line| line.starts_with("member-"));
        events.filter_map(|line| line.split_once(' ')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
    }

    fn notes(&self) -> String {
        fs::read_to_string(self.machine_file("journal")).expect("the agent is that of a machine")
    }

    /// Where the snapshot is.
    pub(crate) fn snapshot_path(&self) -> PathBuf {
        self.machine_file("snapshot")
    }

    /// The text of the snapshot.
    pub(crate) fn snapshot(&self) -> String {
        let bytes = fs::read(self.snapshot_path()).expect("the machine keeps a snapshot");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether the snapshot names all of `others` as alive, so that the agent's next life looks for them.
    pub(crate) fn remembers(&self, others: &[&Self]) -> Result<(), String> {
        let snapshot = self.snapshot();
        for other in others {
            let alive = format!("alive: {} {}", other.name(), other.gossip_address());
            let gone = format!("not-alive: {}", other.name());
            if snapshot.lines().rfind(|line| *line == alive || *line == gone) != Some(&alive) {
                return Err(format!("{alive:?} does not hold in {snapshot}"));
            }
        }
        Ok(())
    }

    /// The keys in the key ring file, the one in use first.
    pub(crate) fn keyring(&self) -> Vec<String> {
        let bytes = fs::read(self.machine_file("keyring.json")).expect("the machine keeps its keys");
        serde_json::from_slice(&bytes).expect("a key ring file is a list of texts")
    }

    /// Puts these keys into the key ring file, the one to use first, as an operator would.
    pub(crate) fn write_keyring(&self, keys: &[&str]) {
        fs::write(self.machine_file("keyring.json"), json!(keys).to_string())
            .expect("the key ring can be written");
    }

    fn machine_file(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    fn directory(&self) -> &Path {
        self.files().parent().expect("files are in a directory")
    }
}
