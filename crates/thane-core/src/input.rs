//! Everything that can be told to a node, as one value, so that it can be kept, sent, drawn at random and told again.
//!
//! [`Node::handle`] is the whole way in: there is one [`Input`] for each method of [`Node`] that changes what it decides. A driver that
//! uses nothing else can be recorded without a gap, and what was recorded gives the same decisions.
//! ([`Node::take_measurements`] has no input: what is measured decides nothing.)

use std::net::SocketAddr;

use bytes::Bytes;

use crate::node::{Node, Prune, Replay, StreamFailure};
use crate::output::{CommandError, OpId, StreamId};
use crate::query::{KeyCommand, QueryId, QueryParams, QueryToken, RespondError};
use crate::snapshot::Restored;
use crate::time::Time;
use thane_wire::tags::Tags;

/// One thing that the world did or that the application wants. Each stands for the method that its description names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// [`Node::handle_timeout`].
    Timeout,
    /// [`Node::handle_packet`].
    Packet {
        /// Its source.
        from: SocketAddr,
        /// The whole payload.
        packet: Bytes,
    },
    /// [`Node::handle_send_failed`].
    SendFailed {
        /// Where the packet was to go.
        to: SocketAddr,
        /// The operating system's words.
        error: String,
    },
    /// [`Node::handle_sends_held`].
    SendsHeld,
    /// [`Node::handle_sends_resumed`].
    SendsResumed,
    /// [`Node::handle_stream_accepted`].
    StreamAccepted {
        /// Who opened it.
        from: SocketAddr,
    },
    /// [`Node::handle_stream_connected`].
    StreamConnected {
        /// Which.
        stream: StreamId,
    },
    /// [`Node::handle_stream_data`].
    StreamData {
        /// On which stream.
        stream: StreamId,
        /// What arrived.
        bytes: Bytes,
    },
    /// [`Node::handle_stream_ended`].
    StreamEnded {
        /// Which.
        stream: StreamId,
    },
    /// [`Node::handle_stream_failed`].
    StreamFailed {
        /// Which.
        stream: StreamId,
        /// Why.
        failure: StreamFailure,
    },
    /// [`Node::handle_keyring_persisted`].
    KeyringPersisted {
        /// Which writing.
        token: u64,
        /// What came of it.
        result: Result<(), String>,
    },
    /// [`Node::handle_seeds_looked_up`].
    SeedsLookedUp {
        /// What the names stand for.
        addrs: Vec<SocketAddr>,
    },
    /// [`Node::seeds_changed`].
    SeedsChanged {
        /// How many names there are.
        count: usize,
    },
    /// [`Node::restore`].
    Restore(Restored),
    /// [`Node::join`].
    Join {
        /// Whom to synchronise with.
        addrs: Vec<SocketAddr>,
        /// Whether events from before are wanted.
        replay: Replay,
    },
    /// [`Node::leave`].
    Leave,
    /// [`Node::force_leave`].
    ForceLeave {
        /// The member.
        name: String,
        /// Whether to forget it at once.
        prune: Prune,
    },
    /// [`Node::user_event`].
    UserEvent {
        /// Its name.
        name: String,
        /// Its payload.
        payload: Bytes,
        /// Whether receivers may merge it with others of its name.
        coalesce: bool,
    },
    /// [`Node::set_tags`].
    SetTags(Tags),
    /// [`Node::query`].
    Query {
        /// Its name.
        name: String,
        /// Its payload.
        payload: Bytes,
        /// Whom to ask, and how.
        params: QueryParams,
    },
    /// [`Node::cancel_query`].
    CancelQuery(QueryId),
    /// [`Node::respond`].
    Respond {
        /// Which query.
        query: QueryToken,
        /// The answer.
        payload: Bytes,
    },
    /// [`Node::keys`].
    Keys {
        /// What to do with them.
        command: KeyCommand,
        /// As in [`QueryParams::relay_factor`].
        relay_factor: u8,
    },
}

/// What the method behind an [`Input`] returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The method returns nothing.
    Nothing,
    /// Of [`Input::StreamAccepted`].
    Stream(Option<StreamId>),
    /// Of the commands that take time.
    Op(Result<OpId, CommandError>),
    /// Of [`Input::UserEvent`]: its Lamport time.
    UserEvent(Result<u64, CommandError>),
    /// Of [`Input::Query`].
    Query(Result<QueryId, CommandError>),
    /// Of [`Input::Respond`].
    Respond(Result<(), RespondError>),
}

impl Node {
    /// Gives the node one input, by calling the method that it stands for. As after every such call, outputs must be taken next.
    ///
    /// ```
    /// use thane_core::{Answer, Config, Input, Node, Seed, Time};
    ///
    /// let config = Config::lan("a", "127.0.0.1:7946".parse().unwrap());
    /// let mut node = Node::new(config, Seed::from(7), Time::ZERO).unwrap();
    /// let leave = node.handle(Time::ZERO, Input::Leave);
    /// assert!(matches!(leave, Answer::Op(Ok(_))));
    /// ```
    pub fn handle(&mut self, now: Time, input: Input) -> Answer {
        match input {
            Input::Timeout => self.handle_timeout(now),
            Input::Packet { from, packet } => self.handle_packet(now, from, packet),
            Input::SendFailed { to, error } => self.handle_send_failed(now, to, &error),
            Input::SendsHeld => self.handle_sends_held(now),
            Input::SendsResumed => self.handle_sends_resumed(now),
            Input::StreamAccepted { from } => return Answer::Stream(self.handle_stream_accepted(now, from)),
            Input::StreamConnected { stream } => self.handle_stream_connected(now, stream),
            Input::StreamData { stream, bytes } => self.handle_stream_data(now, stream, &bytes),
            Input::StreamEnded { stream } => self.handle_stream_ended(now, stream),
            Input::StreamFailed { stream, failure } => self.handle_stream_failed(now, stream, failure),
            Input::KeyringPersisted { token, result } => self.handle_keyring_persisted(now, token, result),
            Input::SeedsLookedUp { addrs } => self.handle_seeds_looked_up(now, &addrs),
            Input::SeedsChanged { count } => self.seeds_changed(now, count),
            Input::Restore(restored) => self.restore(now, restored),
            Input::Join { addrs, replay } => return Answer::Op(self.join(now, &addrs, replay)),
            Input::Leave => return Answer::Op(self.leave(now)),
            Input::ForceLeave { name, prune } => return Answer::Op(self.force_leave(now, &name, prune)),
            Input::UserEvent { name, payload, coalesce } => {
                return Answer::UserEvent(self.user_event(now, &name, &payload, coalesce));
            }
            Input::SetTags(tags) => return Answer::Op(self.set_tags(now, tags)),
            Input::Query { name, payload, params } => {
                return Answer::Query(self.query(now, &name, &payload, &params));
            }
            Input::CancelQuery(query) => self.cancel_query(now, query),
            Input::Respond { query, payload } => return Answer::Respond(self.respond(now, query, &payload)),
            Input::Keys { command, relay_factor } => {
                return Answer::Op(self.keys(now, &command, relay_factor));
            }
        }
        Answer::Nothing
    }
}
