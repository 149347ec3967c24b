//! What operators and clients can ask of a running agent, with the log lines and error texts of Serf's agent.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use thane::{
    Coalesce, ForceLeaveError, Network, Prune, Query, QueryReplies, Replay, SetTagsError, Tags,
    announced_tags,
};
use thane_wire::rpc;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tracing::{debug, error, info, warn};

use super::tags_file::TagsFile;
use crate::format::go_quote;
use crate::handlers::HandlerSpec;
use crate::logging::Log;
use crate::metrics::Metrics;
use crate::rpc_server::diagnose::Diagnostics;
use crate::rpc_server::streams::Streams;

/// Largest metadata of a node, in bytes: its tags, encoded.
const TAGS_BYTES_MAX: usize = thane_wire::limits::META_BYTES_MAX;

/// The latest version of the protocol, which an agent speaks unless told otherwise.
pub(super) const PROTOCOL_MAX: u8 = 5;

/// What a second leave is told while the first is under way.
const LEAVE_IN_PROGRESS: &str = "Leave already in progress";

/// A running agent, shared by all that serve it.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) node: thane::Node,
    pub(crate) log: Log,
    pub(crate) streams: Streams,
    pub(crate) diagnostics: Diagnostics,
    /// For the stats; the handlers themselves are where events are delivered.
    handlers: Mutex<Vec<HandlerSpec>>,
    /// What counts; none in tests.
    pub(crate) metrics: Option<Metrics>,
    tags_file: Option<TagsFile>,
    /// What the node speaks, which says what its tags may be.
    protocol: u8,
    /// Held while tags change, so that no change is lost to another one that began before.
    tags_change: tokio::sync::Mutex<()>,
    leaving: watch::Sender<Leaving>,
    shutdown: watch::Sender<bool>,
}

/// How far the agent's own leave has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It is a member.
    NotYet,
    /// The others are being told.
    UnderWay,
    /// It has left.
    Done,
}

impl Agent {
    pub(crate) fn new(node: thane::Node, log: Log, handlers: Vec<HandlerSpec>) -> Self {
        Self {
            node,
            log,
            streams: Streams::default(),
            diagnostics: Diagnostics::default(),
            handlers: Mutex::new(handlers),
            metrics: None,
            tags_file: None,
            protocol: PROTOCOL_MAX,
            tags_change: tokio::sync::Mutex::new(()),
            leaving: watch::Sender::new(Leaving::NotYet),
            shutdown: watch::Sender::new(false),
        }
    }

    /// Counts here what it does.
    pub(super) fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Keeps tags that change in this file, if they fit into what this version of the protocol announces.
    pub(super) fn with_tags_file(mut self, file: Option<TagsFile>, protocol: u8) -> Self {
        self.tags_file = file;
        self.protocol = protocol;
        self
    }

    /// Lists other handlers in the stats.
    pub(super) fn list_handlers(&self, handlers: &[HandlerSpec]) {
        *lock(&self.handlers) = handlers.to_vec();
    }

    /// Joins a cluster; the number of addresses that answered. One is enough.
    ///
    /// # Errors
    /// All failures, as Serf lists them.
    pub(crate) async fn join(&self, addresses: &[String], replay: bool) -> Result<usize, String> {
        info!(target: "agent", "joining: [{}] replay: {replay}", addresses.join(" "));
        let replay = if replay { Replay::Old } else { Replay::Ignore };
        match self.node.join_with(addresses, replay).await {
            Ok(report) => {
                info!(target: "agent", "joined: {} nodes", report.contacted);
                for (_address, reason) in &report.failed {
                    warn!(target: "agent", "error joining: {reason}");
                }
                Ok(report.contacted)
            }
            Err(failure) => {
                warn!(target: "agent", "error joining: {failure}");
                Err(failure.to_string())
            }
        }
    }

    /// Leaves the cluster. It cannot join again; [`request_shutdown`](Self::request_shutdown) is what follows.
    ///
    /// # Errors
    /// If a leave is under way already, or the node has stopped.
    pub(crate) async fn leave(&self) -> Result<(), String> {
        let begins = self.leaving.send_if_modified(|leaving| {
            let begins = *leaving == Leaving::NotYet;
            if begins {
                *leaving = Leaving::UnderWay;
            }
            begins
        });
        if !begins {
            return Err(LEAVE_IN_PROGRESS.to_owned());
        }
        info!(target: "agent", "requesting graceful leave from Serf");
        let left = self.node.leave().await;
        let state = if left.is_ok() { Leaving::Done } else { Leaving::NotYet };
        self.leaving.send_replace(state);
        left.map_err(|failure| failure.to_string())
    }

    /// Leaves the cluster, or waits for the leave that is under way.
    ///
    /// # Errors
    /// If the node has stopped.
    pub(super) async fn leave_or_wait(&self) -> Result<(), String> {
        loop {
            match self.leave().await {
                Err(reason) if reason == LEAVE_IN_PROGRESS => {
                    let mut leaving = self.leaving.subscribe();
                    match leaving.wait_for(|leaving| *leaving != Leaving::UnderWay).await.map(|state| *state)
                    {
                        Ok(Leaving::Done) => return Ok(()),
                        Ok(_failed) => {}
                        Err(gone) => return Err(gone.to_string()),
                    }
                }
                ended => return ended,
            }
        }
    }

    /// Whether the agent has left, or is about to.
    pub(super) fn leaving(&self) -> Leaving {
        *self.leaving.borrow()
    }

    /// Ends the agent; returns at once.
    pub(crate) fn request_shutdown(&self) {
        self.shutdown.send_replace(true);
    }

    /// Waits until somebody asks for the agent's end.
    pub(super) async fn shutdown_requested(&self) {
        // The sender is ours, so it cannot be gone.
        _ = self.shutdown.subscribe().wait_for(|requested| *requested).await;
    }

    /// Declares a failed member gone, and forgets it with `prune`.
    ///
    /// # Errors
    /// In Serf's words.
    pub(crate) async fn force_leave(&self, name: &str, prune: bool) -> Result<(), String> {
        let (mode, note) = if prune { (Prune::Erase, " (prune)") } else { (Prune::Keep, "") };
        info!(target: "agent", "Force leaving node{note}: {name}");
        let result = self.node.force_leave(name, mode).await.map_err(|failure| match failure {
            ForceLeaveError::NotSpread(_) => "timed out broadcasting node removal".to_owned(),
            refused => refused.to_string(),
        });
        if let Err(reason) = &result {
            warn!(target: "agent", "failed to remove node: {reason}");
        }
        result
    }

    /// Sends a user event.
    ///
    /// # Errors
    /// In Serf's words, if it is too large.
    pub(crate) async fn user_event(
        &self,
        name: &str,
        payload: Vec<u8>,
        coalesce: bool,
    ) -> Result<(), String> {
        let shown = go_quote(&String::from_utf8_lossy(&payload));
        debug!(target: "agent", "Requesting user event send: {name}. Coalesced: {coalesce}. Payload: {shown}");
        let mode = if coalesce { Coalesce::Yes } else { Coalesce::No };
        let result = self.node.user_event(name, payload, mode).await;
        result.map(drop).map_err(|refusal| {
            warn!(target: "agent", "failed to send user event: {refusal}");
            refusal.to_string()
        })
    }

    /// Asks the members a question.
    ///
    /// # Errors
    /// In Serf's words, if it is too large.
    pub(crate) async fn query(
        &self,
        query: Query,
        name: &str,
        payload: &[u8],
    ) -> Result<QueryReplies, String> {
        let shown = go_quote(&String::from_utf8_lossy(payload));
        debug!(target: "agent", "Requesting query send: {name}. Payload: {shown}");
        self.node.query(query).await.map_err(|refusal| {
            warn!(target: "agent", "failed to start user query: {refusal}");
            refusal.to_string()
        })
    }

    /// Deletes tags, then sets tags: one in both is set.
    ///
    /// # Errors
    /// In Serf's words, if they are too large or could not be announced.
    pub(crate) async fn change_tags(&self, set: Tags, delete: &[String]) -> Result<(), String> {
        let _change = self.tags_change.lock().await;
        let mut tags = self.node.tags().await;
        tags.retain(|key, _value| !delete.contains(key));
        tags.extend(set);
        self.replace_tags(tags).await
    }

    /// Replaces all tags.
    ///
    /// # Errors
    /// As [`change_tags`](Self::change_tags).
    pub(super) async fn set_tags(&self, tags: Tags) -> Result<(), String> {
        let _change = self.tags_change.lock().await;
        self.replace_tags(tags).await
    }

    /// Keeps the tags in their file and announces them. Tags that do not fit get into neither.
    async fn replace_tags(&self, tags: Tags) -> Result<(), String> {
        if let Some(file) = self.tags_file.clone() {
            if let Err(reason) = check_tags(self.protocol, &tags, self.node.networks()) {
                error!(target: "agent", "Failed to set tags: {reason}");
                return Err(reason);
            }
            let saved = tags.clone();
            let saved = spawn_blocking(move || file.save(&saved)).await;
            if let Err(reason) = saved.unwrap_or_else(|failure| Err(failure.to_string())) {
                error!(target: "agent", "{reason}");
                return Err(reason);
            }
        }
        self.node.set_tags(tags).await.map_err(|failure| {
            let reason = match failure {
                SetTagsError::NotSpread(_) => "timeout waiting for update broadcast".to_owned(),
                refused => refused.to_string(),
            };
            error!(target: "agent", "Failed to set tags: {reason}");
            reason
        })
    }

    /// The five sections of Serf's stats, all of them text. (Serf: `agent.go`, Stats, and `serf.go`, Stats.)
    pub(crate) async fn stats(&self) -> rpc::Stats {
        let node = self.node.stats().await;
        let handlers: BTreeMap<String, String> =
            lock(&self.handlers).iter().flat_map(HandlerSpec::listing).collect();
        let mut serf = section([
            ("members", node.members.to_string()),
            ("failed", node.failed.to_string()),
            ("left", node.left.to_string()),
            ("health_score", node.health_score.to_string()),
            ("member_time", node.member_time.to_string()),
            ("event_time", node.event_time.to_string()),
            ("query_time", node.query_time.to_string()),
            ("intent_queue", node.intent_queue.to_string()),
            ("event_queue", node.event_queue.to_string()),
            ("query_queue", node.query_queue.to_string()),
            ("encrypted", node.encrypted.to_string()),
        ]);
        if let Some(resets) = node.coordinate_resets {
            serf.insert("coordinate_resets".to_owned(), resets.to_string());
        }
        BTreeMap::from([
            ("agent".to_owned(), section([("name", self.node.name().to_owned())])),
            ("runtime".to_owned(), runtime_section()),
            ("serf".to_owned(), serf),
            ("tags".to_owned(), self.node.tags().await),
            ("event_handlers".to_owned(), handlers),
        ])
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether tags fit into what a member can announce. Protocol 2 announces nothing but the role.
///
/// # Errors
/// In Serf's words.
pub(super) fn check_tags(protocol: u8, tags: &Tags, networks: &[Network]) -> Result<(), String> {
    let bytes = match protocol {
        2 => tags.get("role").map_or(0, String::len),
        _ => thane_wire::tags::encode(&announced_tags(tags, networks)).len(),
    };
    if bytes > TAGS_BYTES_MAX {
        return Err(format!("Encoded length of tags exceeds limit of {TAGS_BYTES_MAX} bytes"));
    }
    Ok(())
}

fn section<const N: usize>(entries: [(&str, String); N]) -> BTreeMap<String, String> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The section that describes Go's runtime, with what corresponds to it here: tasks for goroutines, and one thread that
/// runs them.
fn runtime_section() -> BTreeMap<String, String> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        other => other,
    };
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    section([
        ("os", os.to_owned()),
        ("arch", arch.to_owned()),
        ("version", concat!("thane-", env!("CARGO_PKG_VERSION")).to_owned()),
        ("max_procs", "1".to_owned()),
        ("goroutines", tasks.to_string()),
        ("cpu_count", cpus.to_string()),
    ])
}
