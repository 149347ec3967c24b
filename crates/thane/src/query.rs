//! Questions to the members: asking them, and answering those of others.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use thane_core::{QueryEnd, QueryEvent, QueryParams, QueryReply, QueryToken, Time};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::driver::Command;
use crate::error::{QueryError, RespondError};
use crate::node::Node;

/// How many replies to one query wait for whoever asked; more are dropped and counted ([`QueryReplies::dropped`]).
pub const REPLY_QUEUE_MAX: usize = 4096;

/// A question to some or all members of the cluster.
///
/// ```
/// use std::time::Duration;
///
/// let query = thane::Query::new("load")
///     .payload("1m")
///     .to_tag("role", "^web")
///     .acks()
///     .timeout(Duration::from_secs(5));
/// # _ = query;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a query does nothing until it is given to Node::query"]
pub struct Query {
    pub(crate) name: String,
    pub(crate) payload: Bytes,
    pub(crate) params: QueryParams,
}

impl Query {
    /// A question of this name to all members, without a payload. It ends as soon as all live members have answered, and at
    /// the latest after a time that grows with the cluster. Names that begin with `_serf_` are the members' own.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), payload: Bytes::new(), params: QueryParams::default() }
    }

    /// What comes with the name. Encoded, the whole query may have 1024 bytes.
    pub fn payload(mut self, payload: impl Into<Bytes>) -> Self {
        self.payload = payload.into();
        self
    }

    /// Asks only members of these names, and of those given before.
    pub fn to_nodes<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.params.filter_nodes.extend(names.into_iter().map(Into::into));
        self
    }

    /// Asks only members whose tag matches this regular expression, in RE2's syntax and not anchored. Given several times, all
    /// must match. A member that does not have the tag is taken as having it empty.
    pub fn to_tag(mut self, key: impl Into<String>, expression: impl Into<String>) -> Self {
        self.params.filter_tags.push((key.into(), expression.into()));
        self
    }

    /// Has each member acknowledge the query when it arrives, before it answers.
    pub fn acks(mut self) -> Self {
        self.params.request_ack = true;
        self
    }

    /// Has up to this many other members pass on a copy of each reply, against lossy paths. Default: none.
    pub fn relay_factor(mut self, copies: u8) -> Self {
        self.params.relay_factor = copies;
        self
    }

    /// How long replies are taken. Zero stands for the default: `gossip_interval × query_timeout_mult × ceil(log10(n + 1))`,
    /// 3.2 s for up to 9 members with the LAN profile.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.params.timeout = Some(timeout);
        self
    }

    /// Takes replies until the time is up, even when all members that are known have answered, as Serf does.
    pub fn until_deadline(mut self) -> Self {
        self.params.end = QueryEnd::AtDeadline;
        self
    }
}

/// One reply to a query. Each member replies at most once in each kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// The query has arrived at a member.
    Ack {
        /// The member's name.
        from: Arc<str>,
    },
    /// A member's answer.
    Response {
        /// The member's name.
        from: Arc<str>,
        /// What it said.
        payload: Bytes,
    },
}

/// The replies to a query, as they come. Dropping this ends the wait for more; the query itself cannot be taken back.
pub struct QueryReplies {
    replies: mpsc::Receiver<Reply>,
    dropped: Arc<AtomicU64>,
    /// Tells the driver that somebody no longer listens.
    abandoned: Arc<Notify>,
}

impl QueryReplies {
    /// The next reply, in order of arrival. `None` when the query is over: all have answered, or the time is up, or the node
    /// has stopped.
    ///
    /// Cancel-safe: a future that is dropped has taken nothing.
    pub async fn next(&mut self) -> Option<Reply> {
        self.replies.recv().await
    }

    /// How many replies were dropped because [`REPLY_QUEUE_MAX`] others waited to be read.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for QueryReplies {
    fn drop(&mut self) {
        self.replies.close();
        self.abandoned.notify_one();
    }
}

impl fmt::Debug for QueryReplies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryReplies")
            .field("waiting", &self.replies.len())
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

/// The driver's end of [`QueryReplies`]. The query is over when this is dropped.
#[derive(Debug)]
pub(crate) struct Asker {
    replies: mpsc::Sender<Reply>,
    dropped: Arc<AtomicU64>,
}

impl Asker {
    /// Both ends. `abandoned` is notified when the replies are dropped.
    pub(crate) fn new(abandoned: &Arc<Notify>) -> (Self, QueryReplies) {
        let (sender, replies) = mpsc::channel(REPLY_QUEUE_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let asker = Self { replies: sender, dropped: Arc::clone(&dropped) };
        (asker, QueryReplies { replies, dropped, abandoned: Arc::clone(abandoned) })
    }

    /// Passes a reply on; false at the last one, which says only that there are no more.
    pub(crate) fn tell(&self, reply: QueryReply) -> bool {
        let reply = match reply {
            QueryReply::Ack { from } => Reply::Ack { from },
            QueryReply::Response { from, payload } => Reply::Response { from, payload },
            QueryReply::Done => return false,
        };
        if let Err(mpsc::error::TrySendError::Full(_)) = self.replies.try_send(reply) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// Whether nobody listens any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.replies.is_closed()
    }
}

/// A query of another member, or of this one, that asks for an answer. It may be cloned and answered from anywhere, also
/// after a while; one answer is taken. Not to answer is fine.
#[derive(Clone)]
pub struct IncomingQuery {
    /// Its name.
    pub name: Arc<str>,
    /// What came with it, possibly empty.
    pub payload: Bytes,
    /// The name of the member that asks.
    pub source: Arc<str>,
    /// Lamport time on the query clock.
    pub ltime: u64,
    /// Until when an answer is taken, on the clock of [`Node::now`].
    pub deadline: Time,
    token: QueryToken,
    commands: mpsc::Sender<Command>,
}

impl IncomingQuery {
    pub(crate) fn new(event: QueryEvent, commands: mpsc::Sender<Command>) -> Self {
        let QueryEvent { token, ltime, name, payload, source, deadline } = event;
        Self { name, payload, source, ltime, deadline, token, commands }
    }

    /// Sends the answer to whoever asked. It goes out once, unacknowledged.
    ///
    /// If the future is dropped the answer may or may not be sent.
    ///
    /// # Errors
    /// When it was answered before, or too late, or the answer is too large (1024 bytes encoded), or the node has stopped.
    /// After [`RespondError::TooLarge`] a shorter answer may be tried.
    pub async fn respond(&self, payload: impl Into<Bytes>) -> Result<(), RespondError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Respond { query: self.token, payload: payload.into(), reply };
        self.commands.send(command).await.map_err(|_gone| RespondError::Stopped)?;
        answer.await.map_err(|_gone| RespondError::Stopped)?.map_err(RespondError::from)
    }
}

/// The same query, seen by the same node.
impl PartialEq for IncomingQuery {
    fn eq(&self, other: &Self) -> bool {
        self.token == other.token && self.commands.same_channel(&other.commands)
    }
}

impl fmt::Debug for IncomingQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingQuery")
            .field("name", &self.name)
            .field("payload", &self.payload)
            .field("source", &self.source)
            .field("ltime", &self.ltime)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl Node {
    /// Asks a question of some or all members; this node is one of them. It reaches others through gossip, within a second or
    /// so. Whoever has enough answers drops the replies.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use thane::{Event, Node, Query, Reply};
    ///
    /// let (node, mut events) = Node::builder().name("web").bind("127.0.0.1:0").start_with_events().await?;
    /// let mut replies = node.query(Query::new("load").acks()).await?;
    ///
    /// // Any member answers what it knows to answer.
    /// while let Some(event) = events.next().await {
    ///     if let Event::Query(query) = event {
    ///         query.respond("0.42").await?;
    ///         break;
    ///     }
    /// }
    ///
    /// assert!(matches!(replies.next().await, Some(Reply::Ack { .. })));
    /// let Some(Reply::Response { from, payload }) = replies.next().await else { panic!("an answer") };
    /// assert_eq!((&*from, &*payload), ("web", b"0.42".as_slice()));
    /// assert_eq!(replies.next().await, None, "all have answered");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When it is too large (1024 bytes encoded), or 1024 queries of this node are under way; nothing is sent then.
    pub async fn query(&self, query: Query) -> Result<QueryReplies, QueryError> {
        Ok(self.ask(|reply| Command::Query { query, reply }).await.ok_or(QueryError::Stopped)??)
    }
}
