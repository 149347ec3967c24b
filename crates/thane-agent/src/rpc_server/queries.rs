//! A client's own queries: what comes back goes to the client as records.

use std::sync::Arc;
use std::time::Duration;

use thane::{Query, QueryReplies, Reply};
use thane_wire::rpc::{self, QueryRecord, QueryRecordKind, Record};

use super::outbox::{Outbox, Source};

/// Queries of one client under way at a time.
pub(super) const QUERIES_MAX: usize = 256;

/// Names that begin so are the members' own. (Serf: `internal_query.go`.)
const INTERNAL_PREFIX: &str = "_serf_";

/// The one of them that clients may ask, without a payload: all acknowledge it and none answers.
const PING: &str = "_serf_ping";

/// What a client asks. `None` for a query whose time is up before it begins: nobody is asked.
///
/// # Errors
/// In Serf's words, if it is not for clients to ask.
pub(super) fn to_ask(request: rpc::Query) -> Result<Option<Query>, String> {
    let payload = request.payload.unwrap_or_default();
    if request.name.starts_with(INTERNAL_PREFIX) && (request.name != PING || !payload.is_empty()) {
        return Err(format!("Queries cannot contain the '{INTERNAL_PREFIX}' prefix"));
    }
    let Ok(timeout) = u64::try_from(request.timeout_ns) else { return Ok(None) };
    let mut query = Query::new(request.name)
        .payload(payload)
        .to_nodes(request.filter_nodes.unwrap_or_default())
        .relay_factor(request.relay_factor)
        .timeout(Duration::from_nanos(timeout));
    for (tag, expression) in request.filter_tags.unwrap_or_default() {
        query = query.to_tag(tag, expression);
    }
    if request.request_ack {
        query = query.acks();
    }
    if !request.end_when_answered {
        query = query.until_deadline();
    }
    Ok(Some(query))
}

/// Sends the replies to the client, and that there are no more. Waits for a client that does not take them, which holds up
/// nobody else.
pub(super) async fn forward(
    mut replies: Option<QueryReplies>,
    seq: u64,
    source: Source,
    outbox: Arc<Outbox>,
) {
    if let Some(replies) = &mut replies {
        while let Some(reply) = replies.next().await {
            if let Some(record) = to_record(reply)
                && !outbox.record_when_room(source, encoded(record, seq)).await
            {
                return;
            }
        }
    }
    let done = QueryRecord { kind: QueryRecordKind::Done, from: String::new(), payload: None };
    outbox.record_when_room(source, encoded(done, seq)).await;
}

fn encoded(record: QueryRecord, seq: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    Record::Result(record).encode(seq, &mut bytes);
    bytes
}

fn to_record(reply: Reply) -> Option<QueryRecord> {
    match reply {
        Reply::Ack { from } => {
            Some(QueryRecord { kind: QueryRecordKind::Ack, from: from.to_string(), payload: None })
        }
        Reply::Response { from, payload } => {
            let payload = (!payload.is_empty()).then(|| payload.to_vec());
            Some(QueryRecord { kind: QueryRecordKind::Response, from: from.to_string(), payload })
        }
        // Kinds that the library may have later mean nothing to Serf's clients.
        _ => None,
    }
}
