//! `thane keys`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::connection::{connect, remedy, with_connection};
use super::encoding::{Format, as_json, with_format};
use super::progress::Progress;
use super::{Failure, Output, complain};
use crate::client::{Client, KeyAction, KeyReply, MemberFilter, RpcError};
use crate::format::table;
use crate::goflags::{FlagSet, Parsed};
use crate::terminal::Style;

pub(super) fn flags() -> FlagSet {
    with_format(with_connection(FlagSet::new(
        "keys",
        "keys [flags]",
        "Manages the encryption keys of all members. To change the key of a cluster: install the new one, use it, then\n\
         remove the old one, each when the step before has succeeded on all members. A key that a live member does\n\
         not have is not used: that member could no longer understand the others. Nor is a key removed that a live\n\
         member still seals with: the others could no longer understand it.",
    )))
    .string("install", "", "Add a key, in base64, that is not used yet.")
    .string("use", "", "Seal with a key that is installed everywhere.")
    .string("remove", "", "Forget a key that is not used.")
    .bool("list", false, "Show the keys, and how many members have each.")
    .example("thane keys -install \"$(thane keygen | tee new.key)\"")
    .example("thane keys -use \"$(cat new.key)\"")
    .example("thane keys -list")
}

/// The words of an action. (Serf: `command/keys.go`.)
struct Words {
    begin: &'static str,
    success: &'static str,
    failure: &'static str,
    /// What it means for members that have failed, and were not asked; nothing if empty.
    absent: &'static str,
}

const LIST: Words = Words {
    begin: "==> Asking all members for installed keys...",
    success: "==> Keys gathered, listing cluster keys...",
    failure: "Failed to gather member keys",
    absent: "",
};
const INSTALL: Words = Words {
    begin: "==> Installing key on all members...",
    success: "==> Successfully installed key!",
    failure: "Error installing key",
    absent: "Unless they get this key before they come back, they stay out once it is used",
};
const USE: Words = Words {
    begin: "==> Changing primary key on all members...",
    success: "==> Successfully changed primary key!",
    failure: "Error changing primary key",
    absent: "They cannot come back without this key",
};
const REMOVE: Words = Words {
    begin: "==> Removing key on all members...",
    success: "==> Successfully removed key!",
    failure: "Error removing key",
    absent: "With no key but this one they cannot come back",
};

pub(super) fn run(parsed: &Parsed, output: &mut Output) -> Result<(), Failure> {
    let mut actions = Vec::new();
    for (flag, action) in [
        ("install", KeyAction::Install as fn(_) -> _),
        ("use", KeyAction::Use),
        ("remove", KeyAction::Remove),
    ] {
        let key = parsed.string(flag);
        if !key.is_empty() {
            actions.push(action(key));
        }
    }
    if parsed.bool("list") {
        actions.push(KeyAction::List);
    }
    let action = match actions[..] {
        [action] => action,
        [] => return Err(Failure::NothingToDo),
        _ => {
            return Err(Failure::mendable(
                "Only one of -install, -use, -remove, or -list allowed",
                "Run it once for each step: install, then use, then remove.",
            ));
        }
    };
    let format = Format::of(parsed)?;
    let mut client = connect(parsed)?;
    let words = match action {
        KeyAction::List => LIST,
        KeyAction::Install(_) => INSTALL,
        KeyAction::Use(_) => USE,
        KeyAction::Remove(_) => REMOVE,
    };
    if format == Format::Text {
        output.line(words.begin)?;
    }
    let progress = Progress::start("waiting for all members to answer");
    let result = perform(&mut client, action);
    let absent =
        if matches!(result, Ok((_, None))) { absent_members(&mut client, &words) } else { Vec::new() };
    drop(progress);
    match format {
        Format::Text => tell(&result, &words, output)?,
        Format::Json => document(&result, &words, &absent, output)?,
    }
    if !absent.is_empty() {
        complain(&absent_note(&absent, &words));
    }
    Ok(())
}

/// What the members said, and what was wrong if anything.
type Reported = Result<(KeyReply, Option<String>), RpcError>;

/// Most names of failed members in one note.
const ABSENT_SHOWN: usize = 8;

/// The members that have failed and may come back: they were not asked. Nothing of it is a failure, and nobody waits for it long.
fn absent_members(client: &mut Client, words: &Words) -> Vec<String> {
    if words.absent.is_empty() {
        return Vec::new();
    }
    let failed = MemberFilter { status: "failed".to_owned(), ..MemberFilter::default() };
    let mut names: Vec<String> =
        client.members_filtered(&failed).unwrap_or_default().into_iter().map(|member| member.name).collect();
    names.sort();
    names
}

fn absent_note(absent: &[String], words: &Words) -> String {
    let shown = absent[..absent.len().min(ABSENT_SHOWN)].join(", ");
    let more = match absent.len().saturating_sub(ABSENT_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "Not asked, because they have failed: {shown}{more}. {}: put the key that the cluster uses first into the key ring \
         file there before the agent starts.\n",
        words.absent
    )
}

fn perform(client: &mut Client, action: KeyAction<'_>) -> Reported {
    let refusal: Option<fn(&KeyReply, &str) -> Option<String>> = match action {
        // Thane's agents refuse by themselves, and name the members that it is about.
        _ if client.is_thane() => None,
        KeyAction::Use(_) => Some(would_lock_out),
        KeyAction::Remove(_) => Some(would_deafen),
        KeyAction::Install(_) | KeyAction::List => None,
    };
    if let (Some(refusal), KeyAction::Use(key) | KeyAction::Remove(key)) = (refusal, &action) {
        let (report, _error) = client.keys(KeyAction::List)?;
        // Line breaks, which Serf's agents skip, are not in its lists.
        let key: String = key.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        if let Some(refusal) = refusal(&report, &key) {
            return Ok((KeyReply::default(), Some(refusal)));
        }
    }
    client.keys(action)
}

/// Why the key is not to be removed: some live members are silent, or have no other that all have, so that they must be sealing with this one or
/// with one that others cannot read. Who seals with what, Serf's lists do not say: a key that somebody seals with although all have
/// another goes unnoticed.
fn would_deafen(report: &KeyReply, key: &str) -> Option<String> {
    let KeyReply { nodes, responses, .. } = *report;
    if responses < nodes {
        let silent = nodes - responses;
        return Some(format!(
            "{silent} of {nodes} live members did not answer and may seal with the key; nothing was changed"
        ));
    }
    let keys = report.keys.as_ref()?;
    // A key that nobody has does no harm, and the members say so themselves.
    let is_there = keys.get(key).is_some_and(|count| *count > 0);
    let has_successor = keys.iter().any(|(other, count)| other != key && *count >= nodes);
    (is_there && !has_successor).then(|| {
        format!(
            "no other key is known to be on all {nodes} live members, so some may seal with this one; nothing was changed"
        )
    })
}

/// Why the key is not to be used: some live members lack it, or are silent and may lack it. Serf's agents would go on, and cut
/// these off. If all have answered and nobody has the key, no harm is done, and the refusal is left to the members.
fn would_lock_out(report: &KeyReply, key: &str) -> Option<String> {
    let KeyReply { nodes, responses, .. } = *report;
    let having = report.keys.as_ref().and_then(|keys| keys.get(key)).copied().unwrap_or(0);
    if having >= nodes || (having == 0 && responses >= nodes) {
        return None;
    }
    let silent = match nodes.saturating_sub(responses) {
        0 => String::new(),
        silent => format!(", {silent} did not answer"),
    };
    Some(format!("{having} of {nodes} live members are known to have the key{silent}; nothing was changed"))
}

fn tell(result: &Reported, words: &Words, output: &mut Output) -> Result<(), Failure> {
    let error = match result {
        Ok((report, None)) => {
            output.line(words.success)?;
            if let Some(keys) = &report.keys {
                let total = report.nodes;
                let rows: Vec<[String; 2]> =
                    keys.iter().map(|(key, count)| [key.clone(), format!("[{count}/{total}]")]).collect();
                output.line(&format!("\n{}", table(&rows)))?;
            }
            return Ok(());
        }
        Ok((report, Some(error))) => {
            if !report.messages.is_empty() {
                let row = |(name, message): (&String, &String)| {
                    ["failed: ".to_owned(), name.clone(), message.clone()]
                };
                let rows: Vec<[String; 3]> = report.messages.iter().map(row).collect();
                output.table(&rows, 2, |column, _cell| (column == 0).then_some(Style::Bad))?;
            }
            RpcError::Agent(error.clone())
        }
        Err(error) => RpcError::Agent(error.to_string()),
    };
    output.line("")?;
    Err(Failure::Told { message: format!("{}: {error}", words.failure), hint: Some(hint(&error)) })
}

fn hint(error: &RpcError) -> String {
    if let Some(remedy) = remedy(error) {
        return remedy.to_owned();
    }
    let RpcError::Agent(text) = error else { return "Look at the agent's log.".to_owned() };
    let words = if text.contains("base64") {
        "A key is 16, 24 or 32 bytes in base64; 'thane keygen' makes one."
    } else if text.contains("seal with") {
        "Install another key on all and use it first; 'thane keys -list' counts who has which, 'thane reachability' who answers."
    } else if text.contains("have the key") {
        "Install the key on all first; 'thane keys -list' counts who has it, 'thane reachability' who answers."
    } else if text.contains("nodes reported success") {
        "Not all answered: 'thane reachability' tells who does. The step may be repeated when all do."
    } else {
        "What the members say tells what to mend; the step may be repeated then."
    };
    words.to_owned()
}

#[derive(Serialize)]
struct Document<'a> {
    /// `null` unless they were asked for.
    keys: Option<&'a BTreeMap<String, u64>>,
    messages: &'a BTreeMap<String, String>,
    nodes: u64,
    responses: u64,
    errors: u64,
    /// Members that have failed, and were not asked to change anything.
    not_asked: &'a [String],
    /// `null` if all went well.
    error: Option<&'a str>,
}

fn document(result: &Reported, words: &Words, absent: &[String], output: &mut Output) -> Result<(), Failure> {
    let (report, error) = match result {
        Ok(report) => report,
        Err(error) => {
            return Err(Failure::Told {
                message: format!("{}: {error}", words.failure),
                hint: Some(hint(error)),
            });
        }
    };
    output.line(&as_json(&Document {
        keys: report.keys.as_ref(),
        messages: &report.messages,
        nodes: report.nodes,
        responses: report.responses,
        errors: report.errors,
        not_asked: absent,
        error: error.as_deref(),
    })?)?;
    match error {
        Some(error) => Err(Failure::Aside(hint(&RpcError::Agent(error.clone())))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a list of three members says of the key `k`.
    fn refusal(having: u64, responses: u64) -> Option<String> {
        let keys = Some(BTreeMap::from([("k".to_owned(), having), ("other".to_owned(), responses)]));
        would_lock_out(&KeyReply { keys, nodes: 3, responses, ..KeyReply::default() }, "k")
    }

    #[test]
    fn a_key_without_a_successor_everywhere_is_not_removed() {
        let refusal = |k: u64, other: u64, responses: u64| {
            let keys = Some(BTreeMap::from([("k".to_owned(), k), ("other".to_owned(), other)]));
            would_deafen(&KeyReply { keys, nodes: 3, responses, ..KeyReply::default() }, "k")
        };
        assert_eq!(refusal(3, 3, 3), None);
        assert_eq!(refusal(1, 3, 3), None);
        assert_eq!(refusal(0, 2, 3), None, "the members refuse it themselves");
        let words = |text: Option<String>| text.expect("a refusal");
        assert!(words(refusal(3, 2, 3)).starts_with("no other key is known to be on all 3 live members, "));
        assert!(words(refusal(3, 0, 3)).starts_with("no other key is known to be on all 3 live members, "));
        assert!(words(refusal(2, 2, 2)).starts_with("1 of 3 live members did not answer "));
    }

    #[test]
    fn a_live_member_that_lacks_the_key_or_is_silent_keeps_it_from_use() {
        assert_eq!(refusal(3, 3), None);
        assert_eq!(refusal(0, 3), None, "the members refuse it themselves");
        let words = |text: Option<String>| text.expect("a refusal");
        assert!(words(refusal(2, 3)).starts_with("2 of 3 live members are known to have the key; "));
        for having in 0..3 {
            let start = format!("{having} of 3 live members are known to have the key, 1 did not answer; ");
            assert!(words(refusal(having, 2)).starts_with(&start));
        }
    }
}
