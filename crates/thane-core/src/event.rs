//! What the application is told, and why it came to that.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::member::Member;
use crate::query::QueryEvent;
use crate::time::Time;

/// Something that happened in the cluster, in the order in which this node saw it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A member joined, or came back. The first event of all is our own.
    Joined(Change),
    /// A member left of its own accord, or was told to (force-leave).
    Left(Change),
    /// A member failed.
    Failed(Change),
    /// A member's tags or versions changed. (A new address comes with [`Event::Joined`]: only who was gone may move.)
    Updated(Change),
    /// A member was forgotten.
    Reaped(Change),
    /// A member is suspected to have failed. Serf tells no such event.
    Suspected(Change),
    /// A suspected member answered. Serf tells no such event.
    Refuted(Change),
    /// A user event.
    User(UserEvent),
    /// A query for the application, to be answered with [`crate::Node::respond`].
    Query(QueryEvent),
}

/// A member and why it changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The member after the change.
    pub member: Member,
    /// The evidence.
    pub cause: Cause,
}

/// A user event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserEvent {
    /// Lamport time on the event clock.
    pub ltime: u64,
    /// Name.
    pub name: Arc<str>,
    /// Payload, possibly empty.
    pub payload: Bytes,
    /// Whether receivers may merge it with others of its name.
    pub coalesce: bool,
}

/// How a piece of news reached us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// In a packet from this address (which need not be the author's).
    Packet(SocketAddr),
    /// In a full state exchange with this address.
    PushPull(SocketAddr),
    /// From ourselves.
    Local,
}

/// Why a member is in the state it is in: the evidence that design rule 4 asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// It is ourselves, starting.
    Started,
    /// An alive message.
    Announced {
        /// Incarnation announced.
        incarnation: u32,
        /// How it came.
        via: Path,
    },
    /// It is ourselves, answering what somebody says of us.
    Refuted {
        /// Who says it; `None` for an announcement in our name that we did not make.
        by: Option<Arc<str>>,
        /// Incarnation that it is about; ours is above it from then on.
        incarnation: u32,
        /// How it came.
        via: Path,
    },
    /// Our own probe got no answer.
    ProbeFailed(ProbeFailure),
    /// Another member accuses it.
    Accused {
        /// The accuser.
        by: Arc<str>,
        /// Incarnation accused.
        incarnation: u32,
        /// How it came.
        via: Path,
    },
    /// It did not refute its suspicion in time.
    SuspicionExpired {
        /// All who accused it, the first one first.
        accusers: Vec<Arc<str>>,
        /// When it became suspect.
        since: Time,
        /// How long it was given in the end.
        timeout: Duration,
    },
    /// It refuses connections, again and again, and others accuse it too: its process is gone, its machine is not.
    Refused {
        /// How many connections of ours it refused, some time apart, with no ping answered in between.
        refusals: u32,
        /// When the first of them was.
        since: Time,
        /// The first who accused it; this node does too, even if it is not among them.
        accusers: Vec<Arc<str>>,
    },
    /// It answers only few pings: several members found so, each for itself.
    Unsteady {
        /// Who.
        by: Vec<Arc<str>>,
    },
    /// It had answered only few pings, and answers again.
    Steady {
        /// How long it was held for failed.
        after: Duration,
    },
    /// Another member declared it dead.
    DeclaredDead {
        /// Who.
        by: Arc<str>,
        /// Incarnation declared dead.
        incarnation: u32,
        /// How it came.
        via: Path,
    },
    /// It said itself that it leaves.
    SaidGoodbye {
        /// How it came.
        via: Path,
    },
    /// A leave intent: its own, or a force-leave by somebody.
    LeaveIntent {
        /// Lamport time of the intent.
        ltime: u64,
        /// How it came.
        via: Path,
    },
    /// A join intent: it is back, or refutes a leave intent.
    JoinIntent {
        /// Lamport time of the intent.
        ltime: u64,
        /// How it came.
        via: Path,
    },
    /// Force-leave with prune.
    Pruned,
    /// It was failed or left for longer than the time it is remembered.
    TimedOut {
        /// How long.
        after: Duration,
    },
}

/// What our own probe tried before it gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeFailure {
    /// When the ping left.
    pub sent: Time,
    /// The members that were asked to probe for us; [`crate::Config::indirect_checks`] at most.
    pub relays: Vec<Relay>,
    /// How many said that they got no answer either.
    pub nacks: u32,
    /// What came of the ping over TCP.
    pub tcp: TcpProbe,
    /// Our own health score at the time, 0 for healthy.
    pub health: u32,
}

/// A member that was asked to probe another for us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// Its name.
    pub name: Arc<str>,
    /// It was asked to say so if it gets no answer either. If not, that it said nothing says nothing about it: members of old
    /// versions cannot say so, and after a refused connection there is no time to wait for it.
    pub asked_to_nack: bool,
    /// It said, from the address at which it was asked, that it got no answer either.
    pub nacked: bool,
}

/// What came of a ping over TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpProbe {
    /// Not tried.
    NotTried,
    /// The connection was refused: the host lives, the process does not.
    Refused,
    /// No connection or no answer.
    NoAnswer,
}

/// A member's last answer to a probe of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastAnswer {
    /// When it came.
    pub at: Time,
    /// The round trip in whole microseconds, if it came directly.
    pub rtt: Option<Duration>,
    /// How it came.
    pub way: AnswerWay,
}

/// How an answer to a probe came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerWay {
    /// To a direct ping.
    Direct,
    /// After others had been asked to ping for us, or we had pinged twice; directly and late, or through one of them.
    Relayed,
    /// Over TCP, to a ping that went both ways at the same moment. That says nothing about UDP.
    Tcp,
    /// Only over TCP: UDP does not come through.
    TcpOnly,
}
