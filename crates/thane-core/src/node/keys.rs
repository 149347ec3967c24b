//! Key management over the cluster: asking all members to change their key rings, and doing what others ask.
//!
//! Source: Serf `keymanager.go`, `internal_query.go` (handleInstallKey and its neighbours).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thane_wire::serf::{KeyRequest, KeyResponse, Query, QueryResponse, SerfMessage};
use thane_wire::{Key, KeyError};

use super::asking::{Purpose, QUERY_PROTOCOL_MIN, Question};
use super::queries::ReplyTo;
use super::{Node, OpId};
use crate::notice::{Layer, Level};
use crate::output::{CommandError, Outcome, Output};
use crate::query::{KeyCommand, KeyReport, QueryEnd, QueryParams};

/// Bytes that the shortest key takes in a list, in base64. (Serf: `internal_query.go`, minEncodedKeyLength.)
const KEY_TEXT_BYTES_MIN: usize = 25;
/// Most key ring changes that wait to be written at one time.
pub(super) const PERSISTING_MAX: usize = 64;

/// What stands for the answer of a member that gave none to a check.
const SILENT: &str = "no answer, so it may be locked out: nothing was changed";
/// What is said of a member that has too many keys to show them all.
const NOT_SHOWN: &str =
    "its list of keys is cut short and does not show this one: remove keys that are not used any more";

/// One question to all members about their key rings.
#[derive(Debug)]
pub(super) struct KeyRound {
    op: OpId,
    command: KeyCommand,
    relay_factor: u8,
    /// A look at the rings before a key is put to use or removed.
    is_check: bool,
    /// Those who were live when they were asked.
    asked: BTreeSet<Arc<str>>,
    report: KeyReport,
    /// What each who answered said of its ring; only of a check.
    rings: BTreeMap<Arc<str>, Ring>,
}

/// What a member says of its key ring.
#[derive(Debug)]
enum Ring {
    /// Its keys in base64, perhaps not all of them, and the one it seals with.
    Told { keys: Vec<String>, primary: String, is_cut: bool },
    /// Nothing that helps: why not.
    Untold(String),
}

/// A change that is made and waits to be written.
#[derive(Debug)]
pub(super) struct Persisting {
    reply_to: ReplyTo,
}

/// Changes that wait to be written, by the token that the driver gives back.
pub(super) type PersistingTable = BTreeMap<u64, Persisting>;

impl KeyRound {
    /// Takes one member's answer.
    pub(super) fn count(&mut self, from: &Arc<str>, payload: &[u8]) {
        self.report.responses += 1;
        let Ok(SerfMessage::KeyResponse(response)) = SerfMessage::decode(payload) else {
            self.report.errors += 1;
            let remark = "the member's answer cannot be read; see the versions with members -detailed";
            self.report.messages.insert(from.to_string(), remark.into());
            if self.is_check {
                self.rings.insert(from.clone(), Ring::Untold(remark.into()));
            }
            return;
        };
        if !response.result {
            self.report.errors += 1;
        }
        if !response.result || !response.message.is_empty() {
            self.report.messages.insert(from.to_string(), response.message.to_owned());
        }
        for key in response.keys.iter().flatten() {
            *self.report.keys.entry((*key).to_owned()).or_default() += 1;
        }
        // Differs from Serf: an empty text, as other commands send it, is no primary key.
        if !response.primary_key.is_empty() {
            *self.report.primary_keys.entry(response.primary_key.to_owned()).or_default() += 1;
        }
        if self.is_check {
            self.rings.insert(from.clone(), Ring::told_by(&response));
        }
    }

    /// A report that names the members that the change would lock out, or may lock out because they do not tell; none if all is
    /// well. `live` are those who are live now.
    ///
    /// Differs from Serf: it changes the others, who then cannot talk to these any more.
    fn who_would_be_locked_out(&self, live: BTreeSet<Arc<str>>) -> Option<KeyReport> {
        let complaints: BTreeMap<String, String> = self
            .rings
            .iter()
            .filter_map(|(name, ring)| Some((name.to_string(), ring.complaint(&self.command)?)))
            .collect();
        // Who has failed meanwhile is silent too: it may be back in a moment.
        let mut silent = live;
        silent.extend(self.asked.iter().cloned());
        silent.retain(|name| !self.rings.contains_key(name));
        if complaints.is_empty() && silent.is_empty() {
            return None;
        }
        let errors = complaints.len();
        let mut messages = complaints;
        messages.extend(silent.iter().map(|name| (name.to_string(), SILENT.to_owned())));
        Some(KeyReport {
            nodes: self.report.nodes.max(self.rings.len() + silent.len()),
            responses: self.rings.len(),
            errors,
            messages,
            ..KeyReport::default()
        })
    }
}

impl Ring {
    fn told_by(response: &KeyResponse<'_>) -> Self {
        if !response.result {
            return Self::Untold(response.message.to_owned());
        }
        let keys: Vec<String> = response.keys.iter().flatten().map(|key| (*key).to_owned()).collect();
        // An old Serf does not name its primary key, but has it in front, as all versions do.
        let primary = match response.primary_key {
            "" => keys.first().cloned().unwrap_or_default(),
            primary => primary.to_owned(),
        };
        Self::Told { keys, primary, is_cut: response.message.starts_with("truncated") }
    }

    /// What speaks against the change at this member.
    fn complaint(&self, command: &KeyCommand) -> Option<String> {
        let (keys, primary, is_cut) = match self {
            Self::Untold(reason) => return Some(reason.clone()),
            Self::Told { keys, primary, is_cut } => (keys, primary, *is_cut),
        };
        match command {
            // The others could read nothing that it sends.
            KeyCommand::Remove(key) => {
                (*primary == key.to_base64()).then(|| KeyError::RemovesPrimary.to_string())
            }
            // It could read nothing that the others send.
            KeyCommand::Use(key) if !keys.contains(&key.to_base64()) => {
                // The key may be among those left out, or may not be there: nobody is locked out on a guess.
                Some(if is_cut { NOT_SHOWN.to_owned() } else { KeyError::NotInRing.to_string() })
            }
            KeyCommand::Use(_) | KeyCommand::Install(_) | KeyCommand::List => None,
        }
    }
}

impl Node {
    // ---- asking ----

    pub(super) fn start_keys(
        &mut self,
        command: &KeyCommand,
        relay_factor: u8,
    ) -> Result<OpId, CommandError> {
        if self.config.protocol < QUERY_PROTOCOL_MIN {
            return Err(CommandError::NotSupported);
        }
        let op = self.new_keys_op();
        let is_check = matches!(command, KeyCommand::Use(_) | KeyCommand::Remove(_));
        match self.ask_keys(op, command, relay_factor, is_check) {
            Ok(()) => Ok(op),
            Err(error) => {
                self.drop_op(op);
                Err(error)
            }
        }
    }

    fn ask_keys(
        &mut self,
        op: OpId,
        command: &KeyCommand,
        relay_factor: u8,
        is_check: bool,
    ) -> Result<(), CommandError> {
        let (name, key): (&str, &[u8]) = match command {
            _ if is_check => ("_serf_list-keys", &[]),
            KeyCommand::Install(key) => ("_serf_install-key", key.as_bytes()),
            KeyCommand::Use(key) => ("_serf_use-key", key.as_bytes()),
            KeyCommand::Remove(key) => ("_serf_remove-key", key.as_bytes()),
            KeyCommand::List => ("_serf_list-keys", &[]),
        };
        let mut payload = Vec::new();
        SerfMessage::KeyRequest(KeyRequest { key }).encode(&mut payload);
        let params = QueryParams { relay_factor, end: QueryEnd::WhenAnswered, ..QueryParams::default() };
        let report = KeyReport { nodes: self.table.live(), ..KeyReport::default() };
        let round = KeyRound {
            op,
            command: command.clone(),
            relay_factor,
            is_check,
            asked: if is_check { self.live_names() } else { BTreeSet::new() },
            report,
            rings: BTreeMap::new(),
        };
        self.ask(&Question { name, payload: Some(&payload), params }, Purpose::Keys(round))
    }

    pub(super) fn key_round_over(&mut self, round: KeyRound) {
        if round.is_check {
            match round.who_would_be_locked_out(self.live_names()) {
                None => {
                    let KeyRound { op, command, relay_factor, mut report, .. } = round;
                    if let Err(error) = self.ask_keys(op, &command, relay_factor, false) {
                        // The members were looked at and not changed: this is no success.
                        report = KeyReport { nodes: report.nodes, errors: 1, ..KeyReport::default() };
                        report.messages.insert(self.own_name().to_string(), error.to_string());
                        self.finish(op, Outcome::Keys(report));
                    }
                }
                Some(refused) => self.finish(round.op, Outcome::Keys(refused)),
            }
            return;
        }
        self.finish(round.op, Outcome::Keys(round.report));
    }

    // ---- answering ----

    /// Somebody asks us to change or show our key ring.
    pub(super) fn answer_keys(&mut self, query: &Query<'_>, what: &str) {
        self.notice(Level::Info, Layer::Serf, "key_query", None, || format!("Received {what} query"));
        let is_encrypted = !self.codec.config().keyring.is_empty();
        if what == "list-keys" {
            self.answer_key_list(query, is_encrypted);
            return;
        }
        let response = match requested_key(query) {
            None => Err(String::new()),
            Some(_) if !is_encrypted => Err("No keyring to modify (encryption not enabled)".into()),
            Some(key) => self.change_keyring(what, key).map_err(|error| error.to_string()),
        };
        match response {
            Ok(()) if self.config.persist_keyring => self.persist_keyring(query),
            Ok(()) => self.answer_key_change(&ReplyTo::new(query), Ok(())),
            Err(text) => self.answer_key_change(&ReplyTo::new(query), Err(&text)),
        }
    }

    fn change_keyring(&mut self, what: &str, key: &[u8]) -> Result<(), KeyError> {
        let key = Key::new(key);
        let ring = self.codec.keyring_mut();
        match what {
            "install-key" => ring.install(key?),
            // A key of a wrong length cannot be installed, so it is not there.
            "use-key" => ring.use_key(&key.map_err(|_length| KeyError::NotInRing)?)?,
            _ => {
                if let Ok(key) = key {
                    ring.remove(&key)?;
                }
            }
        }
        // Who forgets it at the next start is then a member that was down during a rotation.
        let kept = if self.config.persist_keyring {
            ""
        } else {
            "; no file keeps it, so that the next start begins with the old keys"
        };
        self.notice(Level::Info, Layer::Serf, "keyring_changed", None, || {
            format!("the key ring was changed at a member's request: {what}{kept}")
        });
        Ok(())
    }

    /// The change is made; the answer waits until it is on disk.
    fn persist_keyring(&mut self, query: &Query<'_>) {
        if self.persisting.len() >= PERSISTING_MAX {
            let text = "too many key ring changes wait to be written";
            self.answer_key_change(&ReplyTo::new(query), Err(text));
            return;
        }
        let token = self.next_persist;
        self.next_persist += 1;
        self.persisting.insert(token, Persisting { reply_to: ReplyTo::new(query) });
        let keyring = self.codec.config().keyring.clone();
        self.outputs.push_back(Output::PersistKeyring { token, keyring });
    }

    pub(super) fn keyring_persisted(&mut self, token: u64, result: Result<(), String>) {
        if let Some(waiting) = self.persisting.remove(&token) {
            let result = result.map_err(|error| format!("Failed to write keyring file: {error}"));
            self.answer_key_change(&waiting.reply_to, result.as_ref().copied().map_err(String::as_str));
        }
    }

    fn answer_key_change(&mut self, reply_to: &ReplyTo, result: Result<(), &str>) {
        let message = result.err().unwrap_or_default();
        let response = KeyResponse { result: result.is_ok(), message, ..KeyResponse::default() };
        let mut payload = Vec::new();
        SerfMessage::KeyResponse(response).encode(&mut payload);
        self.reply(reply_to, 0, Some(&payload));
    }

    fn answer_key_list(&mut self, query: &Query<'_>, is_encrypted: bool) {
        if !is_encrypted {
            let text = "Keyring is empty (encryption not enabled)";
            self.answer_key_change(&ReplyTo::new(query), Err(text));
            return;
        }
        let keys: Vec<String> = self.codec.config().keyring.keys().iter().map(Key::to_base64).collect();
        let primary = keys.first().map_or("", String::as_str);
        let limit = self.config.query_response_size_limit;
        match fit_key_list(&keys, primary, query, &self.own_name(), limit) {
            Some(payload) => self.reply(&ReplyTo::new(query), 0, Some(&payload)),
            None => self.notice(Level::Error, Layer::Serf, "key_list_too_large", None, || {
                format!("not even one key fits an answer of {limit} bytes; the list is not sent")
            }),
        }
    }
}

/// The key in a request. The first byte is skipped unseen, as Serf does.
fn requested_key<'a>(query: &Query<'a>) -> Option<&'a [u8]> {
    match SerfMessage::decode(query.payload?) {
        Ok(SerfMessage::KeyRequest(request)) => Some(request.key),
        _ => None,
    }
}

/// The list of keys, cut until the whole response fits the limit. (Serf: `internal_query.go`, keyListResponseWithCorrectSize.)
fn fit_key_list(
    keys: &[String],
    primary: &str,
    query: &Query<'_>,
    own_name: &str,
    limit: usize,
) -> Option<Vec<u8>> {
    let encode = |shown: usize| {
        let message = if shown == keys.len() {
            String::new()
        } else {
            format!("truncated key list response, showing first {shown} of {} keys", keys.len())
        };
        let response = KeyResponse {
            result: true,
            message: &message,
            keys: Some(keys[..shown].iter().map(String::as_str).collect()),
            primary_key: primary,
        };
        let mut payload = Vec::new();
        SerfMessage::KeyResponse(response).encode(&mut payload);
        payload
    };
    let fits = |payload: &[u8]| {
        let whole = QueryResponse {
            ltime: query.ltime,
            id: query.id,
            from: own_name,
            flags: 0,
            payload: Some(payload),
        };
        let mut message = Vec::new();
        SerfMessage::QueryResponse(whole).encode(&mut message);
        message.len() <= limit
    };
    let all = encode(keys.len());
    if fits(&all) {
        return Some(all);
    }
    let most = (limit / KEY_TEXT_BYTES_MIN).min(keys.len().saturating_sub(1));
    (1..=most).rev().map(encode).find(|payload| fits(payload))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// What a real Serf made of so many copies of one key.
    #[test]
    fn lists_of_keys_are_cut_as_recorded() {
        let all: Value =
            serde_json::from_str(include_str!("../../tests/vectors/serf/key_list_truncation.json")).unwrap();
        let key = all["key"].as_str().unwrap();
        let cases = all["cases"].as_array().unwrap();
        for case in cases {
            let number = |field: &str| case[field].as_u64().unwrap();
            let keys = vec![key.to_owned(); number("keys_in") as usize];
            let primary = if case["has_primary"] == true { key } else { "" };
            let own_name = "n".repeat(number("node_name_len") as usize);
            let query = asked(number("query_ltime"), number("query_id") as u32);
            let limit = number("limit") as usize;
            let payload = fit_key_list(&keys, primary, &query, &own_name, limit).unwrap();
            let Ok(SerfMessage::KeyResponse(list)) = SerfMessage::decode(&payload) else { panic!("{case}") };
            assert!(list.result, "{case}");
            assert_eq!(list.primary_key, primary, "{case}");
            assert_eq!(list.message, case["message"].as_str().unwrap(), "{case}");
            assert_eq!(list.keys.as_ref().map_or(0, Vec::len) as u64, number("keys_out"), "{case}");
            let whole = QueryResponse {
                ltime: query.ltime,
                id: query.id,
                from: &own_name,
                flags: 0,
                payload: Some(&payload),
            };
            let mut message = Vec::new();
            SerfMessage::QueryResponse(whole).encode(&mut message);
            assert_eq!(message.len() as u64, number("encoded_len"), "{case}");
        }
        assert_eq!(cases.len(), 156);
        eprintln!("compat: lists of keys that do not fit | cases={0} same={0} listed=0", cases.len());
    }

    #[test]
    fn a_list_of_which_not_even_one_key_fits_is_not_sent() {
        let keys = vec!["KfCPZAKdgHUOdb202afZfE8EbdZqj4+ReTbfJUkfKsg=".to_owned(); 3];
        assert_eq!(fit_key_list(&keys, &keys[0], &asked(5, 1), "node", 150), None);
    }

    fn asked(ltime: u64, id: u32) -> Query<'static> {
        Query {
            ltime,
            id,
            addr: &[127, 0, 0, 1],
            port: 7946,
            source_node: "a",
            filters: None,
            flags: 0,
            relay_factor: 0,
            timeout_ns: 0,
            name: "_serf_list-keys",
            payload: None,
        }
    }
}
