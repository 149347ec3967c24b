//! The keys of the cluster, as RPC clients manage them. (Serf: `agent.go`, `InstallKey` and its neighbours, `keymanager.go`.)

use std::collections::BTreeMap;

use thane::{Key, KeyCommand, KeyReport, Status};
use thane_wire::rpc::KeyReply;
use tracing::info;

use super::base64_key;
use super::operations::Agent;

/// What a member without keys says to a list and to a change. A change that lists first has the first.
const NOTHING_TO_LIST: &str = "Keyring is empty (encryption not enabled)";
const NOTHING_TO_CHANGE: &str = "No keyring to modify (encryption not enabled)";

/// What a client asks for; keys are in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyRequest<'a> {
    Install(&'a str),
    Use(&'a str),
    Remove(&'a str),
    List,
}

impl KeyRequest<'_> {
    /// The line that the log has of it, which never shows the key.
    fn log_line(&self) -> &'static str {
        match self {
            Self::Install(_) => "Initiating key installation",
            Self::Use(_) => "Initiating primary key change",
            Self::Remove(_) => "Initiating key removal",
            Self::List => "Initiating key listing",
        }
    }

    /// What to ask of the members, or the length of a key that cannot be one.
    fn command(&self) -> Result<Result<KeyCommand, usize>, String> {
        let (text, command): (_, fn(Key) -> KeyCommand) = match self {
            Self::List => return Ok(Ok(KeyCommand::List)),
            Self::Install(text) => (text, KeyCommand::Install),
            Self::Use(text) => (text, KeyCommand::Use),
            Self::Remove(text) => (text, KeyCommand::Remove),
        };
        let bytes = base64_key::decode(text)?;
        Ok(Key::new(&bytes).map(command).map_err(|_length| bytes.len()))
    }
}

impl Agent {
    /// Asks all members; their report and, if not all did what was asked, Serf's sentence about it.
    pub(crate) async fn keys(&self, request: KeyRequest<'_>) -> (KeyReply, Result<(), String>) {
        info!(target: "agent", "{}", request.log_line());
        let report = match request.command() {
            Err(reason) => return (KeyReply::default(), Err(reason)),
            Ok(Err(_length)) => self.refuse_for_all(request).await,
            Ok(Ok(command)) => match self.node.keys(command, 0).await {
                Ok(report) => report,
                Err(reason) => return (KeyReply::default(), Err(reason.to_string())),
            },
        };
        let result = report.result();
        (to_reply(report, request), result)
    }

    /// What the members would say to a key that is of no possible length. They are not asked: the core knows no such key.
    async fn refuse_for_all(&self, request: KeyRequest<'_>) -> KeyReport {
        let is_encrypted = self.node.stats().await.encrypted;
        let complaint = match request {
            _ if !is_encrypted => Some(NOTHING_TO_CHANGE),
            KeyRequest::Install(_) => Some("key size must be 16, 24 or 32 bytes"),
            KeyRequest::Use(_) => Some("requested key is not in the keyring"),
            // It is nowhere, as it should be.
            KeyRequest::Remove(_) | KeyRequest::List => None,
        };
        let live: Vec<String> = self
            .node
            .members()
            .await
            .into_iter()
            .filter(|member| matches!(member.status, Status::Alive | Status::Leaving))
            .map(|member| member.name.to_string())
            .collect();
        let nodes = live.len();
        let messages: BTreeMap<String, String> = complaint
            .iter()
            .flat_map(|text| live.iter().map(|name| (name.clone(), (*text).to_owned())))
            .collect();
        KeyReport { nodes, responses: nodes, errors: messages.len(), messages, ..KeyReport::default() }
    }
}

fn to_reply(mut report: KeyReport, request: KeyRequest<'_>) -> KeyReply {
    if request != KeyRequest::List {
        for message in report.messages.values_mut().filter(|message| *message == NOTHING_TO_LIST) {
            NOTHING_TO_CHANGE.clone_into(message);
        }
    }
    let count = |count: usize| count as u64;
    let keys = report.keys.iter().map(|(key, holders)| (key.clone(), count(*holders))).collect();
    KeyReply {
        keys: (request == KeyRequest::List).then_some(keys),
        messages: report.messages,
        nodes: count(report.nodes),
        responses: count(report.responses),
        errors: count(report.errors),
    }
}
