//! The handle: what an application does with a running node.
//!
//! A handle owns no state of the protocol. Each call is one message to the driver's task and one answer; nobody waits
//! for a lock that gossip needs.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use thane_core::{
    BroadcastTimeout, CommandError, Config, Coordinate, Counters, DroppedPacket, Evidence, LastAnswer,
    LifeState, Measurements, Member, Network, Node as Core, Prune, Replay, Stats, Tags, Time, vivaldi,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::addr::JoinTarget;
use crate::builder::Builder;
use crate::driver::{Command, IoCounters, JoinOutcome};
use crate::error::{ForceLeaveError, JoinError, LeaveError, SetTagsError};
use crate::events::{Events, Hub};
use crate::resolve::Resolver;

/// A running member of a cluster. This is a handle: cloning it is cheap, and when the last clone is dropped the node
/// stops, without leaving.
///
/// Several nodes may run in one process; they share nothing.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let web = thane::Node::builder().name("web").bind("127.0.0.1:0").start().await?;
/// let db = thane::Node::builder().name("db").bind("127.0.0.1:0").tag("role", "db").start().await?;
/// let report = web.join([db.local_addr().to_string()]).await?;
/// assert_eq!(report.contacted, 1);
/// assert_eq!(web.member("db").await.expect("we have just met").tags()["role"], "db");
/// db.leave().await?;
/// db.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

/// What all handles of one node share. It goes with the last handle, and the driver, whose channels end, with it.
pub(crate) struct Inner {
    pub(crate) name: String,
    pub(crate) local_addr: SocketAddr,
    pub(crate) advertise_addr: SocketAddr,
    pub(crate) networks: Vec<Network>,
    pub(crate) start: Instant,
    /// How the node looked when it started: the answer about itself if it fails before it can give a better one.
    pub(crate) first_self: Member,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) stopped: watch::Receiver<Option<Stopped>>,
    /// The core at its end: what it knew can still be read.
    pub(crate) last: Arc<OnceLock<Last>>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) resolver: Resolver,
}

/// What is left of a stopped node.
pub(crate) struct Last {
    pub(crate) core: Core,
    pub(crate) io: IoCounters,
}

/// How and why a node stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stopped {
    /// [`Node::shutdown`] was called.
    Requested,
    /// The last handle was dropped.
    Dropped,
    /// The cluster voted that the node's name belongs to another node: the outcome of the vote.
    NameConflict(String),
    /// A bug of ours, or the tokio runtime went away: the reason. The others will see the node fail.
    Failed(String),
}

/// What came of a join that reached somebody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct JoinReport {
    /// How many addresses we synchronised with. A name with several addresses counts once for each.
    pub contacted: usize,
    /// The others: the address as it was given, and a sentence that says why.
    pub failed: Vec<(String, String)>,
}

/// Whether receivers may merge a user event with others of its name that they have not handled yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coalesce {
    /// Only the latest one of this name matters.
    Yes,
    /// Each one matters.
    No,
}

impl Node {
    /// Settings for a new node; [`Builder::start`] starts it.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// The node's name, its identity in the cluster.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The address it listens on, UDP and TCP alike. The IP may be a wildcard; the port is the real one.
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local_addr
    }

    /// The address at which the others are told to reach it.
    pub fn advertise_addr(&self) -> SocketAddr {
        self.inner.advertise_addr
    }

    /// The networks that it is on, with its address on each; see [`crate::Builder::network`].
    pub fn networks(&self) -> &[Network] {
        &self.inner.networks
    }

    /// Now, on the clock of [`Member::state_since`] and of the times in [`Evidence`] and [`crate::Cause`]. It starts with
    /// the node.
    pub fn now(&self) -> Time {
        Time::from_start(self.inner.start.elapsed())
    }

    /// Joins the cluster that these addresses belong to, from now on: user events of the past are not delivered.
    ///
    /// Each is `[name/]host[:port]`; the port defaults to our own. A host name stands for all its addresses (at most 64). A
    /// name whose first label begins with an underscore (`_serf._tcp.example.com`), or that is written `dnssrv+NAME`, is a
    /// service: it stands for the hosts and ports of its SRV records, best priority first. Names are looked up anew at each
    /// call, see [`Builder::dns_servers`]. One address that answers is enough; all are tried all the same. An empty list
    /// succeeds.
    ///
    /// If the future is dropped the join goes on, once the names are resolved.
    ///
    /// # Errors
    /// [`JoinError::NoneContacted`] with every reason, [`JoinError::AfterLeave`], [`JoinError::Stopped`].
    pub async fn join<I>(&self, addrs: I) -> Result<JoinReport, JoinError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.join_with(addrs, Replay::Ignore).await
    }

    /// As [`Node::join`], with the choice of hearing the user events that the peers still remember.
    ///
    /// # Errors
    /// As [`Node::join`].
    pub async fn join_with<I>(&self, addrs: I, replay: Replay) -> Result<JoinReport, JoinError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let given: Vec<String> = addrs.into_iter().map(|addr| addr.as_ref().to_owned()).collect();
        self.join_given(given, replay).await
    }

    async fn join_given(&self, given: Vec<String>, replay: Replay) -> Result<JoinReport, JoinError> {
        let (targets, mut failed) =
            crate::addr::resolve_join(&self.inner.resolver, &given, self.inner.local_addr.port()).await;
        let addrs = targets.iter().map(|target| target.addr).collect();
        let outcome = self
            .ask(|reply| Command::Join { addrs, replay, reply })
            .await
            .ok_or(JoinError::Stopped)?
            .map_err(|refused| match refused {
                CommandError::JoinAfterLeave => JoinError::AfterLeave,
                _ => JoinError::Stopped,
            })?;
        let JoinOutcome { contacted, failed: not_contacted } = outcome;
        failed.extend(JoinTarget::blame(&targets, &not_contacted));
        if contacted == 0 && !failed.is_empty() {
            return Err(JoinError::NoneContacted(failed));
        }
        Ok(JoinReport { contacted, failed })
    }

    /// Replaces the names to find the cluster by, as [`Builder::seeds`] gives them at the start. With none, the node looks for
    /// nobody by name. It does so at once if it knows of no other live member.
    ///
    /// If the future is dropped it happens all the same. A node that has stopped takes no notice.
    pub async fn set_seeds<I>(&self, names: I)
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let names = names.into_iter().map(|name| name.as_ref().to_owned()).collect();
        // `None`: it has stopped.
        _ = self.ask(|reply| Command::SetSeeds { names, reply }).await;
    }

    /// Leaves the cluster in good order: tells everybody and waits until the word has spread. The node still runs
    /// afterwards, to answer probes and questions; end it with [`Node::shutdown`]. It cannot join again.
    ///
    /// Does nothing if the node has left already. If the future is dropped the leave goes on.
    ///
    /// # Errors
    /// [`LeaveError::InProgress`] while another leave is under way, [`LeaveError::Stopped`].
    pub async fn leave(&self) -> Result<(), LeaveError> {
        match self.ask(|reply| Command::Leave { reply }).await {
            Some(Ok(())) => Ok(()),
            Some(Err(CommandError::LeaveInProgress)) => Err(LeaveError::InProgress),
            Some(Err(_)) | None => Err(LeaveError::Stopped),
        }
    }

    /// Tells the cluster that a failed member has left for good, and with [`Prune::Erase`] to forget it at once.
    ///
    /// If the future is dropped it happens all the same.
    ///
    /// # Errors
    /// When it is refused, or the word could not be spread in time.
    pub async fn force_leave(&self, name: &str, prune: Prune) -> Result<(), ForceLeaveError> {
        let name = name.to_owned();
        settle(self.ask(|reply| Command::ForceLeave { name, prune, reply }).await)
    }

    /// Tells every member of a user event, this one included, and gives its Lamport time.
    ///
    /// If the future is dropped the event may or may not be sent.
    ///
    /// # Errors
    /// When it is too large, or the node has stopped; nothing is sent then.
    pub async fn user_event(
        &self,
        name: &str,
        payload: impl Into<Bytes>,
        coalesce: Coalesce,
    ) -> Result<u64, CommandError> {
        let (name, payload) = (name.to_owned(), payload.into());
        self.ask(|reply| Command::UserEvent { name, payload, coalesce, reply })
            .await
            .unwrap_or(Err(CommandError::Stopped))
    }

    /// Replaces the node's tags and tells the cluster.
    ///
    /// If the future is dropped it happens all the same.
    ///
    /// # Errors
    /// When they are too large (512 bytes encoded), or the word could not be spread in time.
    pub async fn set_tags(&self, tags: Tags) -> Result<(), SetTagsError> {
        settle(self.ask(|reply| Command::SetTags { tags, reply }).await)
    }

    /// The node's own tags.
    ///
    /// This and the other questions below are answered from what the node knew last once it has stopped. Dropping their
    /// futures has no effect.
    pub async fn tags(&self) -> Tags {
        self.read(|core| core.config().tags.clone()).await.unwrap_or_else(|| self.inner.first_self.tags())
    }

    /// All members that are known, in any status, ordered by name; this node included.
    pub async fn members(&self) -> Vec<Member> {
        self.read(|core| core.members().collect()).await.unwrap_or_default()
    }

    /// One member by name.
    pub async fn member(&self, name: &str) -> Option<Member> {
        let name = name.to_owned();
        self.read(move |core| core.member(&name)).await.flatten()
    }

    /// This node itself.
    pub async fn local_member(&self) -> Member {
        self.read(Core::local).await.unwrap_or_else(|| self.inner.first_self.clone())
    }

    /// A reading of its numbers.
    pub async fn stats(&self) -> Stats {
        self.read(Core::stats).await.unwrap_or_default()
    }

    /// Its counters.
    pub async fn counters(&self) -> Counters {
        self.read(Core::counters).await.unwrap_or_default()
    }

    /// Counters of its sockets: what was lost on the way between the operating system and the protocol.
    pub async fn io_counters(&self) -> IoCounters {
        match self.ask(|reply| Command::ReadIo { reply }).await {
            Some(counters) => counters,
            None => self.inner.last.get().map(|last| last.io).unwrap_or_default(),
        }
    }

    /// What was measured since the last call: times and sizes of single things, for metrics that need more than a sum. The
    /// first call is what begins it. Empty once the node has stopped.
    ///
    /// One reader takes them; another would get what the first has left. If the future is dropped they may be lost.
    pub async fn take_measurements(&self) -> Measurements {
        self.ask(|reply| Command::TakeMeasurements { reply }).await.unwrap_or_default()
    }

    /// Why a member is in the state it is in: the last changes of its life as this node saw them, the oldest first. At
    /// most eight are kept.
    pub async fn evidence(&self, name: &str) -> Vec<Evidence> {
        let name = name.to_owned();
        self.read(move |core| core.evidence(&name)).await.unwrap_or_default()
    }

    /// A member's last answer to a probe of this node. `None` if there was none.
    pub async fn last_answer(&self, name: &str) -> Option<LastAnswer> {
        let name = name.to_owned();
        self.read(move |core| core.last_answer(&name)).await.flatten()
    }

    /// When a suspect will be declared dead if it does not refute and nobody else accuses it; on the clock of [`Node::now`].
    /// `None` for members that are not suspect.
    pub async fn suspicion_ends(&self, name: &str) -> Option<Time> {
        let name = name.to_owned();
        self.read(move |core| core.suspicion_ends(&name)).await.flatten()
    }

    /// The last packet that could not be used: who sends with another key or label, or something else than gossip.
    pub async fn last_dropped_packet(&self) -> Option<DroppedPacket> {
        self.read(|core| core.last_dropped_packet().cloned()).await.flatten()
    }

    /// The settings it runs with, its present tags and keys among them. `None` if it failed before it could tell.
    pub async fn config(&self) -> Option<Config> {
        self.read(|core| core.config().clone()).await
    }

    /// Where the node lies in the network's space, in which distance is round trip time. `None` when coordinates are turned
    /// off ([`crate::Config::coordinates`]).
    pub async fn coordinate(&self) -> Option<Coordinate> {
        self.read(Core::coordinate).await.flatten()
    }

    /// A member's coordinate, as it told it with its last answer to a probe of this node. `None` for a member that is not
    /// known or has not been probed yet.
    pub async fn cached_coordinate(&self, name: &str) -> Option<Coordinate> {
        let name = name.to_owned();
        self.read(move |core| core.cached_coordinate(&name)).await.flatten()
    }

    /// The estimated round trip between two members, of which this node may be one. `None` until both have a coordinate.
    ///
    /// Each member measures one round trip a probe interval, so an estimate takes some dozens of these to become good.
    pub async fn rtt(&self, a: &str, b: &str) -> Option<Duration> {
        let (a, b) = (a.to_owned(), b.to_owned());
        let both = self.read(move |core| Some((core.cached_coordinate(&a)?, core.cached_coordinate(&b)?)));
        let (a, b) = both.await.flatten()?;
        vivaldi::distance(&a, &b)
    }

    /// Whether the node is alive, leaving or has left.
    pub async fn life_state(&self) -> LifeState {
        self.read(Core::life_state).await.unwrap_or(LifeState::Alive)
    }

    /// Subscribes to what happens from now on. For what happened before, [`Builder::start_with_events`] subscribes
    /// before the first event, and [`Node::members`], called after this, gives the present.
    pub fn events(&self) -> Events {
        self.inner.hub.subscribe()
    }

    /// Stops the node at once, without leaving: the others will see it fail, unless [`Node::leave`] came before. When it
    /// returns all its tasks have ended and its ports are free. Calling it again does nothing.
    ///
    /// If the future is dropped the node stops all the same.
    pub async fn shutdown(&self) {
        self.inner.stop.send_replace(true);
        self.stopped().await;
    }

    /// Waits until the node has stopped, and says why it did. Cancel-safe.
    pub async fn stopped(&self) -> Stopped {
        let mut stopped = self.inner.stopped.clone();
        match stopped.wait_for(Option::is_some).await.map(|stopped| stopped.clone()) {
            Ok(Some(stopped)) => stopped,
            Ok(None) | Err(_) => Stopped::Failed("the tokio runtime that ran the node has ended".to_owned()),
        }
    }

    /// Sends a command and waits for its answer; `None` if the node has stopped.
    pub(crate) async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.inner.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Hands the driver a command of a test's own.
    #[cfg(test)]
    pub(crate) async fn inject(&self, command: Command) {
        self.inner.commands.send(command).await.unwrap_or_else(|_stopped| panic!("the node has stopped"));
    }

    /// Reads something from the core, or from what is left of it; `None` if nothing is.
    async fn read<T, F>(&self, read: F) -> Option<T>
    where
        T: Send + 'static,
        F: FnOnce(&Core) -> T + Clone + Send + 'static,
    {
        let remote = read.clone();
        let answer = self
            .ask(|reply| {
                // Nobody is there to hear it if the caller has given up, which is fine.
                Command::Read(Box::new(move |core| drop(reply.send(remote(core)))))
            })
            .await;
        if answer.is_some() {
            return answer;
        }
        self.stopped().await;
        self.inner.last.get().map(|last| read(&last.core))
    }
}

/// The end of a command that is refused, or is done and may not have been spread.
fn settle<E>(answer: Option<Result<Result<(), BroadcastTimeout>, CommandError>>) -> Result<(), E>
where
    E: From<CommandError> + From<BroadcastTimeout>,
{
    Ok(answer.unwrap_or(Err(CommandError::Stopped))??)
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("name", &self.inner.name)
            .field("local_addr", &self.inner.local_addr)
            .field("advertise_addr", &self.inner.advertise_addr)
            .finish_non_exhaustive()
    }
}
