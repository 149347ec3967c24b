//! A client of an agent's RPC: one connection, one request at a time, and the records of any number of streams.
//!
//! It blocks, because everyone who uses it waits for the answer anyway: the commands, the demonstration, the tests.

mod dial;

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::time::{Duration, Instant};

use thane_wire::DecodeError;
pub(crate) use thane_wire::coordinate::Coordinate;
pub(crate) use thane_wire::rpc::{
    EventName, EvidenceRecord, Explanation, KeyReply, Member, Query, QueryRecord, QueryRecordKind, Record,
    Stats,
};
use thane_wire::rpc::{Incoming, Request, Response, ResponseBody, ResponseDecoder, VERSION};
use thiserror::Error;

use crate::hostport;

/// How long a connection may take to come about, as in Serf's client.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the agent may take to accept our bytes, as in Serf's client.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the agent may take to answer what it can answer at once.
///
/// Differs from Serf, whose client waits for ever: an agent that hangs would hang every script that asks it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Records that are kept while the answer to another request is awaited. An agent keeps no more for a stream either.
const PENDING_RECORDS_MAX: usize = 1024;

/// Why there is no connection.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    /// Nobody answers at the address, in the words of Go's dialer.
    #[error("{0}")]
    Dial(String),
    /// The agent does not let us in: another version of the RPC, or a wrong token.
    #[error("{0}")]
    Refused(String),
    /// Somebody answered, and then the conversation broke off.
    #[error("{0}")]
    Lost(RpcError),
}

/// Why a request failed.
#[derive(Debug, Error)]
pub(crate) enum RpcError {
    /// The agent says so.
    #[error("{0}")]
    Agent(String),
    /// The agent closed the connection; these are the words of Serf's client.
    #[error("client closed")]
    Closed,
    /// The agent holds the connection open and does not answer.
    #[error("the agent does not answer: waited {} seconds", .0.as_secs())]
    Silent(Duration),
    /// The connection broke.
    #[error("{0}")]
    Io(String),
    /// What came is no answer of an agent.
    #[error("cannot understand the agent's answer: {0}")]
    Malformed(#[from] DecodeError),
    /// The answer belongs to another request.
    #[error("the agent answered something else than was asked")]
    Unexpected,
}

/// Which members are asked for; each non-empty part is a regular expression.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemberFilter {
    /// Expressions by tag.
    pub(crate) tags: BTreeMap<String, String>,
    /// For the status.
    pub(crate) status: String,
    /// For the name.
    pub(crate) name: String,
}

/// What to do with the keys of all members. A key is in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyAction<'a> {
    /// Count who has which.
    List,
    /// Add one, unused so far.
    Install(&'a str),
    /// Make one that all have the one to seal with.
    Use(&'a str),
    /// Forget one that is not used.
    Remove(&'a str),
}

/// A member's address, or `None` if the agent gave none that is 4 or 16 bytes long.
pub(crate) fn ip_of(member: &Member) -> Option<IpAddr> {
    let bytes = member.addr.as_deref()?;
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|bytes| IpAddr::from(Ipv6Addr::from(bytes)).to_canonical())
}

/// How long a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// The agent answers from what it knows.
    Short,
    /// The agent first waits for other members; how long depends on its configuration.
    Endless,
}

/// A connection to an agent, past handshake and authentication.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    decoder: ResponseDecoder,
    /// The number of the last request.
    seq: u64,
    /// Records that arrived while an answer was awaited, the oldest first.
    pending: VecDeque<Record>,
    /// How long an answer may take that the agent can give at once: [`ANSWER_TIMEOUT`], less in tests.
    answer_timeout: Duration,
}

impl Client {
    /// Connects to the agent at `address` (`host:port`); an empty `token` sends none.
    ///
    /// # Errors
    ///
    /// Nobody answers there, or whoever does is no agent, or it wants another token.
    pub(crate) fn connect(address: &str, token: &str) -> Result<Self, ConnectError> {
        Self::connect_within(address, token, ANSWER_TIMEOUT)
    }

    /// Connects to an agent that has `answer_timeout` for each answer that it can give at once.
    fn connect_within(address: &str, token: &str, answer_timeout: Duration) -> Result<Self, ConnectError> {
        let stream = dial::dial(address, CONNECT_TIMEOUT).map_err(ConnectError::Dial)?;
        let prepared = stream.set_write_timeout(Some(WRITE_TIMEOUT)).and_then(|()| stream.set_nodelay(true));
        prepared.map_err(|error| ConnectError::Lost(RpcError::io(&error)))?;
        let (decoder, pending) = (ResponseDecoder::new(), VecDeque::new());
        let mut client = Self { stream, decoder, seq: 0, pending, answer_timeout };
        client.greet(&Request::Handshake { version: VERSION })?;
        if !token.is_empty() {
            client.greet(&Request::Auth { key: token.to_owned() })?;
        }
        Ok(client)
    }

    fn greet(&mut self, request: &Request) -> Result<(), ConnectError> {
        self.ask(request, Patience::Short).map_err(|error| match error {
            RpcError::Agent(text) => ConnectError::Refused(text),
            other => ConnectError::Lost(other),
        })?;
        Ok(())
    }

    /// Sends a user event to the cluster.
    pub(crate) fn event(
        &mut self,
        name: &str,
        payload: Option<&[u8]>,
        coalesce: bool,
    ) -> Result<(), RpcError> {
        let payload = payload.map(<[u8]>::to_vec);
        self.ask(&Request::Event { name: name.to_owned(), payload, coalesce }, Patience::Short)?;
        Ok(())
    }

    /// Makes a failed member one that left; with `prune` it is forgotten.
    pub(crate) fn force_leave(&mut self, node: &str, prune: bool) -> Result<(), RpcError> {
        self.ask(&Request::ForceLeave { node: node.to_owned(), prune }, Patience::Endless)?;
        Ok(())
    }

    /// Joins through the addresses and tells how many of them answered.
    pub(crate) fn join(&mut self, addresses: &[String], replay: bool) -> Result<i32, RpcError> {
        let request = Request::Join { existing: Some(addresses.to_vec()), replay };
        match self.ask(&request, Patience::Endless)? {
            Some(ResponseBody::Join { contacted }) => Ok(contacted),
            _ => Err(RpcError::Unexpected),
        }
    }

    /// All members that the agent knows, in no particular order.
    pub(crate) fn members(&mut self) -> Result<Vec<Member>, RpcError> {
        self.ask_for_members(&Request::Members)
    }

    /// The members that match.
    pub(crate) fn members_filtered(&mut self, filter: &MemberFilter) -> Result<Vec<Member>, RpcError> {
        let MemberFilter { tags, status, name } = filter.clone();
        self.ask_for_members(&Request::MembersFiltered { tags: Some(tags), status, name })
    }

    fn ask_for_members(&mut self, request: &Request) -> Result<Vec<Member>, RpcError> {
        match self.ask(request, Patience::Short)? {
            Some(ResponseBody::Members(members)) => Ok(members),
            _ => Err(RpcError::Unexpected),
        }
    }

    /// Makes the agent leave the cluster and stop.
    pub(crate) fn leave(&mut self) -> Result<(), RpcError> {
        self.ask(&Request::Leave, Patience::Endless)?;
        Ok(())
    }

    /// Sets and deletes tags of the agent.
    pub(crate) fn tags(&mut self, set: &BTreeMap<String, String>, delete: &[String]) -> Result<(), RpcError> {
        let request = Request::Tags { tags: Some(set.clone()), delete: Some(delete.to_vec()) };
        self.ask(&request, Patience::Endless)?;
        Ok(())
    }

    /// The agent's counters and settings.
    pub(crate) fn stats(&mut self) -> Result<Stats, RpcError> {
        match self.ask(&Request::Stats, Patience::Short)? {
            Some(ResponseBody::Stats(stats)) => Ok(stats),
            _ => Err(RpcError::Unexpected),
        }
    }

    /// Whether the agent is one of Thane's; it is not if it does not say.
    pub(crate) fn is_thane(&mut self) -> bool {
        let stats = self.stats().unwrap_or_default();
        let version = stats.get("runtime").and_then(|runtime| runtime.get("version"));
        version.is_some_and(|version| version.starts_with("thane-"))
    }

    /// Starts a query; its acknowledgements and answers come out of [`Client::next_record`], up to a last record.
    pub(crate) fn query(&mut self, query: &Query) -> Result<(), RpcError> {
        self.ask(&Request::Query(query.clone()), Patience::Short)?;
        Ok(())
    }

    /// Manages the keys of all members, and gives their report with the error, if the agent tells one.
    pub(crate) fn keys(&mut self, action: KeyAction<'_>) -> Result<(KeyReply, Option<String>), RpcError> {
        let request = match action {
            KeyAction::List => Request::ListKeys,
            KeyAction::Install(key) => Request::InstallKey { key: key.to_owned() },
            KeyAction::Use(key) => Request::UseKey { key: key.to_owned() },
            KeyAction::Remove(key) => Request::RemoveKey { key: key.to_owned() },
        };
        let response = self.exchange(&request, Patience::Endless)?;
        let error = Some(response.error).filter(|error| !error.is_empty());
        match (response.body, error) {
            (Some(ResponseBody::Keys(report)), error) => Ok((report, error)),
            // Nobody was asked.
            (_, Some(error)) => Err(RpcError::Agent(error)),
            (_, None) => Err(RpcError::Unexpected),
        }
    }

    /// Where the agent believes a member to be; `None` if it does not know.
    pub(crate) fn coordinate(&mut self, node: &str) -> Result<Option<Coordinate>, RpcError> {
        match self.ask(&Request::GetCoordinate { node: node.to_owned() }, Patience::Short)? {
            Some(ResponseBody::Coordinate(coordinate)) => Ok(coordinate),
            _ => Err(RpcError::Unexpected),
        }
    }

    /// Why a member is in the state it is in. Only Thane's agent knows.
    pub(crate) fn explain(&mut self, name: &str) -> Result<Explanation, RpcError> {
        match self.ask(&Request::Explain { node: name.to_owned() }, Patience::Short)? {
            Some(ResponseBody::Explanation(explanation)) => Ok(*explanation),
            _ => Err(RpcError::Unexpected),
        }
    }

    /// What an agent knows of its own health. Only Thane's agent tells; with encryption it asks all members for their keys.
    pub(crate) fn diagnose(&mut self) -> Result<Stats, RpcError> {
        match self.ask(&Request::Diagnose, Patience::Endless)? {
            Some(ResponseBody::Diagnosis(diagnosis)) => Ok(diagnosis),
            _ => Err(RpcError::Unexpected),
        }
    }

    /// Starts a stream of the events that `filter` names (`*` for all); they come out of [`Client::next_record`].
    pub(crate) fn stream(&mut self, filter: &str) -> Result<(), RpcError> {
        self.ask(&Request::Stream { filter: filter.to_owned(), immediate: false }, Patience::Short)?;
        Ok(())
    }

    /// Starts a stream as [`Client::stream`], but of each event as soon as the agent knows it. Serf's agent does not know of that.
    pub(crate) fn stream_at_once(&mut self, filter: &str) -> Result<(), RpcError> {
        self.ask(&Request::Stream { filter: filter.to_owned(), immediate: true }, Patience::Short)?;
        Ok(())
    }

    /// Starts a stream of the agent's log lines, the last ones first.
    pub(crate) fn monitor(&mut self, log_level: &str) -> Result<(), RpcError> {
        self.ask(&Request::Monitor { log_level: log_level.to_owned() }, Patience::Short)?;
        Ok(())
    }

    /// Waits for the next record of any stream, until `deadline` if there is one; `None` when that has passed.
    ///
    /// # Errors
    ///
    /// The connection is over; what was received before comes out first.
    pub(crate) fn next_record(&mut self, deadline: Option<Instant>) -> Result<Option<Record>, RpcError> {
        loop {
            if let Some(record) = self.pending.pop_front() {
                return Ok(Some(record));
            }
            match self.decoder.next_incoming()? {
                Some(Incoming::Record { record, .. }) => return Ok(Some(record)),
                // A late answer to a request that was given up.
                Some(_) => {}
                None => {
                    if self.receive(deadline)? == Received::Nothing {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Sends a request and waits for its answer, which is to be no error.
    fn ask(&mut self, request: &Request, patience: Patience) -> Result<Option<ResponseBody>, RpcError> {
        let response = self.exchange(request, patience)?;
        if response.error.is_empty() { Ok(response.body) } else { Err(RpcError::Agent(response.error)) }
    }

    /// Sends a request and waits for its answer.
    fn exchange(&mut self, request: &Request, patience: Patience) -> Result<Response, RpcError> {
        self.seq += 1;
        let mut bytes = Vec::new();
        request.encode(self.seq, &mut bytes);
        self.decoder.expect(self.seq, request.command());
        // An agent that refuses us says why and closes; its words matter more than that our bytes went nowhere.
        let sent = self.stream.write_all(&bytes);
        match self.answer(patience) {
            Err(RpcError::Closed) => sent.map_err(|error| RpcError::io(&error)).and(Err(RpcError::Closed)),
            answer => answer,
        }
    }

    /// Waits for the answer to the last request; records that come before it are kept.
    fn answer(&mut self, patience: Patience) -> Result<Response, RpcError> {
        let deadline = (patience == Patience::Short).then(|| Instant::now() + self.answer_timeout);
        loop {
            match self.decoder.next_incoming()? {
                Some(Incoming::Response(response)) if response.seq == self.seq => return Ok(response),
                Some(Incoming::Record { record, .. }) => {
                    // The newest are dropped, as an agent does with a client that does not read.
                    if self.pending.len() < PENDING_RECORDS_MAX {
                        self.pending.push_back(record);
                    }
                }
                Some(_) => {}
                None => {
                    if self.receive(deadline)? == Received::Nothing {
                        return Err(RpcError::Silent(self.answer_timeout));
                    }
                }
            }
        }
    }

    /// Takes what has arrived, or waits for it until the deadline.
    fn receive(&mut self, deadline: Option<Instant>) -> Result<Received, RpcError> {
        let timeout = match deadline {
            None => None,
            Some(deadline) => match deadline.saturating_duration_since(Instant::now()) {
                // A timeout of zero would mean none.
                Duration::ZERO => return Ok(Received::Nothing),
                left => Some(left),
            },
        };
        self.stream.set_read_timeout(timeout).map_err(|error| RpcError::io(&error))?;
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(RpcError::Closed),
            Ok(count) => {
                self.decoder.push(&buffer[..count]);
                Ok(Received::Bytes)
            }
            Err(error) => match error.kind() {
                // Unix says that a timeout passed with the first, Windows with the second.
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut if timeout.is_some() => {
                    Ok(Received::Nothing)
                }
                io::ErrorKind::Interrupted => Ok(Received::Bytes),
                io::ErrorKind::ConnectionReset => Err(RpcError::Closed),
                _ => Err(RpcError::io(&error)),
            },
        }
    }
}

/// What waiting for bytes gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Received {
    Bytes,
    Nothing,
}

impl RpcError {
    fn io(error: &io::Error) -> Self {
        Self::Io(hostport::error_text(error))
    }
}

#[cfg(test)]
mod tests;
