//! What each command does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use thane::{Member, Pattern, QueryReplies};
use thane_wire::rpc::{self, Command, Request, Response, ResponseBody, VERSION, error_text};
use thane_wire::tags;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::AuthKey;
use super::monitor::MonitorSink;
use super::outbox::{Outbox, Source};
use super::pending::PendingQueries;
use super::queries::{self, QUERIES_MAX};
use super::streams::Timing;
use crate::agent::Agent;
use crate::agent::event::{respond, rpc_member};
use crate::agent::filter::EventFilter;
use crate::agent::keys::KeyRequest;
use crate::logging::{LogLevel, LogSink};

/// Event streams of one client.
const STREAMS_MAX: usize = 64;

/// What a connection has said so far.
pub(super) struct Session {
    agent: Arc<Agent>,
    auth: Arc<AuthKey>,
    outbox: Arc<Outbox>,
    has_shaken_hands: bool,
    is_authenticated: bool,
    /// By the sequence number that began it.
    streams: BTreeMap<u64, Source>,
    monitor: Option<Arc<MonitorSink>>,
    /// The queries of others that it may answer.
    pending: Arc<PendingQueries>,
    /// Its own queries. They end with the connection.
    queries: JoinSet<()>,
    sources: u64,
}

/// What becomes of the connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Continue,
    Close,
}

impl Session {
    pub(super) fn new(agent: Arc<Agent>, auth: Arc<AuthKey>, outbox: Arc<Outbox>) -> Self {
        Self {
            agent,
            auth,
            outbox,
            has_shaken_hands: false,
            is_authenticated: false,
            streams: BTreeMap::new(),
            monitor: None,
            pending: Arc::default(),
            queries: JoinSet::new(),
            sources: 0,
        }
    }

    /// Who it is.
    pub(super) fn client(&self) -> SocketAddr {
        self.outbox.client
    }

    /// Whether the command is not even looked at.
    pub(super) fn turns_away(&self, command: &Command) -> bool {
        !self.has_shaken_hands && *command != Command::Handshake
    }

    /// Answers a request that ends the connection.
    pub(super) fn refuse_and_close(&self, refusal: &Response, command: &Command) {
        error!(target: "agent.ipc", "Failed to evaluate request: {} (command '{command}')", refusal.error);
        self.respond(refusal);
    }

    /// Waits until the client can have its answers, so that it cannot ask for more than it takes.
    pub(super) async fn responses_written(&self) {
        self.outbox.responses_written().await;
    }

    /// The connection has ended.
    pub(super) fn end(&mut self) {
        self.agent.streams.remove_client(&self.outbox);
        if let Some(monitor) = self.monitor.take() {
            monitor.stop();
        }
    }

    /// Answers a request.
    pub(super) async fn handle(&mut self, seq: u64, request: Request) -> Next {
        let command = request.command();
        if let Some(metrics) = &self.agent.metrics {
            metrics.ipc_command();
        }
        if self.turns_away(&command) {
            self.refuse_and_close(&Response::new(seq, error_text::HANDSHAKE_REQUIRED), &command);
            return Next::Close;
        }
        let needs_auth = self.auth.is_required() && !self.is_authenticated;
        if needs_auth && !matches!(command, Command::Handshake | Command::Auth) {
            warn!(target: "agent.ipc", "Client sending commands before auth");
            self.respond(&Response::new(seq, error_text::AUTH_REQUIRED));
            return Next::Continue;
        }
        match request {
            Request::Unknown { .. } => {
                self.refuse_and_close(&Response::new(seq, error_text::UNSUPPORTED_COMMAND), &command);
                return Next::Close;
            }
            // These begin after their answer.
            Request::Stream { filter, immediate } => self.stream(seq, &filter, Timing::of_stream(immediate)),
            Request::Monitor { log_level } => self.monitor(seq, &log_level),
            Request::Query(query) => self.query(seq, query).await,
            Request::Leave => self.leave(seq).await,
            request => {
                let response = self.answer(seq, request).await;
                self.respond(&response);
            }
        }
        Next::Continue
    }

    async fn answer(&mut self, seq: u64, request: Request) -> Response {
        match request {
            Request::Handshake { version } => Response::new(seq, self.handshake(version)),
            Request::Auth { key } => Response::new(seq, self.authenticate(&key)),
            Request::Stop { stop } => {
                self.stop(stop);
                Response::new(seq, "")
            }
            Request::Event { name, payload, coalesce } => {
                without_body(seq, self.agent.user_event(&name, payload.unwrap_or_default(), coalesce).await)
            }
            Request::ForceLeave { node, prune } => {
                without_body(seq, self.agent.force_leave(&node, prune).await)
            }
            Request::Join { existing, replay } => {
                let joined = self.agent.join(&existing.unwrap_or_default(), replay).await;
                let contacted = i32::try_from(*joined.as_ref().unwrap_or(&0)).unwrap_or(i32::MAX);
                with_body(seq, joined.map(drop), ResponseBody::Join { contacted })
            }
            Request::Members => {
                let members = self.agent.node.members().await;
                let members = members.iter().map(rpc_member).collect();
                with_body(seq, Ok(()), ResponseBody::Members(members))
            }
            Request::MembersFiltered { tags, status, name } => {
                self.members_filtered(seq, &tags.unwrap_or_default(), &status, &name).await
            }
            Request::Tags { tags, delete } => {
                let (set, delete) = (tags.unwrap_or_default(), delete.unwrap_or_default());
                without_body(seq, self.agent.change_tags(set, &delete).await)
            }
            Request::GetCoordinate { node } => {
                let coordinate = self.agent.node.cached_coordinate(&node).await;
                with_body(seq, Ok(()), ResponseBody::Coordinate(coordinate))
            }
            Request::Explain { node } => match super::explain::explain(&self.agent.node, &node).await {
                Ok(why) => with_body(seq, Ok(()), ResponseBody::Explanation(Box::new(why))),
                Err(unknown) => Response::new(seq, unknown),
            },
            Request::Diagnose => {
                let diagnosis = self.agent.diagnostics.diagnose(&self.agent.node).await;
                with_body(seq, Ok(()), ResponseBody::Diagnosis(diagnosis))
            }
            Request::Stats => with_body(seq, Ok(()), ResponseBody::Stats(self.agent.stats().await)),
            Request::InstallKey { key } => self.keys(seq, KeyRequest::Install(&key)).await,
            Request::UseKey { key } => self.keys(seq, KeyRequest::Use(&key)).await,
            Request::RemoveKey { key } => self.keys(seq, KeyRequest::Remove(&key)).await,
            Request::ListKeys => self.keys(seq, KeyRequest::List).await,
            Request::Respond { id, payload } => {
                without_body(seq, self.answer_query(id, payload.unwrap_or_default()).await)
            }
            other => unreachable!("invariant: {} is answered elsewhere", other.command()),
        }
    }

    async fn keys(&self, seq: u64, request: KeyRequest<'_>) -> Response {
        let (report, result) = self.agent.keys(request).await;
        with_body(seq, result, ResponseBody::Keys(report))
    }

    /// Answers a query of somebody, of which this connection was told.
    async fn answer_query(&self, id: u64, payload: Vec<u8>) -> Result<(), String> {
        let query = self.pending.find(id, self.agent.node.now()).ok_or(error_text::INVALID_QUERY_ID)?;
        respond(&query, payload).await
    }

    /// Starts a query, whose replies come as records.
    async fn query(&mut self, seq: u64, request: rpc::Query) {
        while self.queries.try_join_next().is_some() {}
        let replies = if self.queries.len() >= QUERIES_MAX {
            Err(format!("This connection has {QUERIES_MAX} queries under way; wait until some of them end"))
        } else {
            self.start_query(request).await
        };
        match replies {
            Err(refusal) => self.respond(&Response::new(seq, refusal)),
            Ok(replies) => {
                self.respond(&Response::new(seq, ""));
                let source = self.next_source();
                self.queries.spawn(queries::forward(replies, seq, source, Arc::clone(&self.outbox)));
            }
        }
    }

    /// `None` is the query whose time is up already.
    async fn start_query(&self, request: rpc::Query) -> Result<Option<QueryReplies>, String> {
        let (name, payload) = (request.name.clone(), request.payload.clone().unwrap_or_default());
        match queries::to_ask(request)? {
            Some(query) => self.agent.query(query, &name, &payload).await.map(Some),
            None => Ok(None),
        }
    }

    fn handshake(&mut self, version: i32) -> &'static str {
        if version != VERSION {
            return error_text::UNSUPPORTED_VERSION;
        }
        if self.has_shaken_hands {
            return error_text::DUPLICATE_HANDSHAKE;
        }
        self.has_shaken_hands = true;
        ""
    }

    /// A wrong key after the right one takes nothing away.
    fn authenticate(&mut self, key: &str) -> &'static str {
        if self.auth.accepts(key) {
            self.is_authenticated = true;
            ""
        } else {
            error_text::INVALID_AUTH_TOKEN
        }
    }

    /// A bad expression is answered, and the connection goes on. Differs from Serf, which closes it without a word.
    async fn members_filtered(
        &self,
        seq: u64,
        tags: &BTreeMap<String, String>,
        status: &str,
        name: &str,
    ) -> Response {
        let filter = match MemberFilter::compile(tags, status, name) {
            Ok(filter) => filter,
            Err(reason) => {
                error!(target: "agent.ipc", "Failed to evaluate request: {reason}");
                return with_body(seq, Err(reason), ResponseBody::Members(Vec::new()));
            }
        };
        let members = self.agent.node.members().await;
        let members = members.iter().filter(|member| filter.matches(member)).map(rpc_member).collect();
        with_body(seq, Ok(()), ResponseBody::Members(members))
    }

    fn stream(&mut self, seq: u64, filter: &str, timing: Timing) {
        let refusal = match EventFilter::parse_list(filter) {
            Err(_bad_part) => error_text::INVALID_FILTER.to_owned(),
            Ok(_) if self.streams.contains_key(&seq) => error_text::STREAM_EXISTS.to_owned(),
            Ok(_) if self.streams.len() >= STREAMS_MAX => {
                format!(
                    "This connection has {STREAMS_MAX} streams already; stop one or open another connection"
                )
            }
            Ok(filters) => {
                self.respond(&Response::new(seq, ""));
                let source = self.next_source();
                self.streams.insert(seq, source);
                let (outbox, pending) = (Arc::clone(&self.outbox), Arc::clone(&self.pending));
                self.agent.streams.add(filters, timing, seq, source, outbox, pending);
                return;
            }
        };
        self.respond(&Response::new(seq, refusal));
    }

    fn monitor(&mut self, seq: u64, log_level: &str) {
        let level = match LogLevel::parse(log_level) {
            Err(unknown) => {
                self.respond(&Response::new(seq, format!("Unknown log level: {unknown}")));
                return;
            }
            Ok(level) => level,
        };
        if self.monitor.is_some() {
            self.respond(&Response::new(seq, error_text::MONITOR_EXISTS));
            return;
        }
        self.respond(&Response::new(seq, ""));
        let sink = Arc::new(MonitorSink::new(Arc::clone(&self.outbox), seq, self.next_source()));
        self.monitor = Some(Arc::clone(&sink));
        self.agent.log.monitor(level, sink as Arc<dyn LogSink>);
    }

    /// Ends the stream and the monitor of a sequence number, whichever there are.
    fn stop(&mut self, seq: u64) {
        if let Some(source) = self.streams.remove(&seq) {
            self.agent.streams.remove(source, &self.outbox);
        }
        if let Some(monitor) = self.monitor.take_if(|monitor| monitor.seq() == seq) {
            monitor.stop();
        }
    }

    /// Leaves, answers, and ends the agent once the answer is written. All of it happens even if the client goes away.
    async fn leave(&mut self, seq: u64) {
        info!(target: "agent.ipc", "Graceful leave triggered");
        let agent = Arc::clone(&self.agent);
        let (left, has_left) = oneshot::channel();
        let (answered, is_answered) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let result = agent.leave().await;
            let ends = result.is_ok();
            // Nobody waits for either if the client is gone.
            _ = left.send(result);
            if ends {
                _ = is_answered.await;
                agent.request_shutdown();
            }
        });
        let result = has_left.await.unwrap_or_else(|_stopped| Err("the agent is stopping".to_owned()));
        if let Err(reason) = &result {
            error!(target: "agent.ipc", "leave failed: {reason}");
        }
        self.respond(&without_body(seq, result));
        self.outbox.responses_written().await;
        drop(answered);
    }

    fn next_source(&mut self) -> Source {
        self.sources += 1;
        Source(self.sources)
    }

    fn respond(&self, response: &Response) {
        let mut bytes = Vec::new();
        response.encode(&mut bytes);
        self.outbox.respond(bytes);
    }
}

fn without_body(seq: u64, result: Result<(), String>) -> Response {
    Response::new(seq, result.err().unwrap_or_default())
}

/// Clients read the body whether there is an error or not.
fn with_body(seq: u64, result: Result<(), String>, body: ResponseBody) -> Response {
    Response { seq, error: result.err().unwrap_or_default(), body: Some(body) }
}

/// What `members-filtered` asks for. All of it must match.
struct MemberFilter {
    name: Option<Pattern>,
    status: Option<Pattern>,
    tags: Vec<(String, Pattern)>,
}

impl MemberFilter {
    fn compile(tags: &BTreeMap<String, String>, status: &str, name: &str) -> Result<Self, String> {
        let compile = |expression: &str| {
            Pattern::anchored(expression)
                .map_err(|error| format!("Failed to compile regex: {expression:?}: {error}"))
        };
        let unless_empty = |expression: &str| match expression {
            "" => Ok(None),
            expression => compile(expression).map(Some),
        };
        let tags = tags.iter().map(|(key, expression)| Ok((key.clone(), compile(expression)?)));
        Ok(Self {
            name: unless_empty(name)?,
            status: unless_empty(status)?,
            tags: tags.collect::<Result<_, String>>()?,
        })
    }

    fn matches(&self, member: &Member) -> bool {
        let passes = |pattern: &Option<Pattern>, text: &str| {
            pattern.as_ref().is_none_or(|pattern| pattern.is_match(text.as_bytes()))
        };
        if !passes(&self.name, &member.name) || !passes(&self.status, &member.status.to_string()) {
            return false;
        }
        // A tag that the member does not have is taken as empty.
        self.tags
            .iter()
            .all(|(key, pattern)| pattern.is_match(tags::raw_value(&member.meta, key).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::event::tests::member;

    #[test]
    fn all_filters_must_match_and_a_missing_tag_is_empty() {
        let web = member("alpha", "127.0.0.1", &[("role", "web"), ("dc", "east")]);
        for (tags, status, name, expected) in [
            (&[][..], "", "", true),
            (&[("role", "web")], "", "", true),
            (&[("role", "w")], "", "", false),
            (&[("role", "w.*")], "alive", "al.*", true),
            (&[("role", "web"), ("dc", "west")], "", "", false),
            (&[("nosuch", "")], "", "", true),
            (&[("role", "")], "", "", false),
            (&[("nosuch", ".+")], "", "", false),
            (&[], "alive|left", "", true),
            (&[], "failed", "", false),
        ] {
            let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let filter = MemberFilter::compile(&tags, status, name).unwrap();
            assert_eq!(filter.matches(&web), expected, "{tags:?} {status} {name}");
        }
    }

    #[test]
    fn a_bad_expression_is_named_in_one_line() {
        let error = MemberFilter::compile(&BTreeMap::new(), "", "we**b").err().unwrap();
        assert!(error.starts_with(r#"Failed to compile regex: "we**b": character 3, `**`: "#), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
