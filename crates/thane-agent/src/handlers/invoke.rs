//! One run of one script.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use thane::{Member, Tags};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::process::Command;
use tracing::{debug, error, warn};

use crate::agent::event::{AgentEvent, respond};

/// Output kept, in bytes: the last ones. (Serf: `invoke.go`, maxBufSize.)
const OUTPUT_BYTES_MAX: usize = 8 * 1024;

/// After this long the log says once that a script is slow. (Serf: `invoke.go`, slowScriptWarning.)
const SLOW: Duration = Duration::from_secs(1);

/// Runs a script for an event and logs what came of it. Waits until the script has ended and everything that holds its
/// output has closed it: a child in the background must redirect its output, as with Serf.
pub(super) async fn run(script: &str, event: &AgentEvent, own_name: &str, own_tags: &Tags) {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script).envs(environment(event, own_name, own_tags));
    let input = standard_input(event);
    let run = run_command(command, &input);
    tokio::pin!(run);
    let ended = match tokio::time::timeout(SLOW, &mut run).await {
        Ok(ended) => ended,
        Err(_still_running) => {
            warn!(target: "agent", "Script '{script}' slow, execution exceeding {}s", SLOW.as_secs());
            run.await
        }
    };
    let ended = match ended {
        Ok(ended) => ended,
        Err(reason) => {
            error!(target: "agent", "Error invoking script '{script}': {reason}");
            return;
        }
    };
    let output = &ended.output;
    if output.total_bytes > OUTPUT_BYTES_MAX as u64 {
        let total = output.total_bytes;
        warn!(target: "agent", "Script '{script}' generated {total} bytes of output, truncated to {OUTPUT_BYTES_MAX}");
    }
    debug!(target: "agent", "Event '{}' script output: {}", event.kind(), output.text());
    if !ended.status.success() {
        error!(target: "agent", "Error invoking script '{script}': {}", describe_status(ended.status));
        return;
    }
    if let AgentEvent::Query(query) = event
        && output.total_bytes > 0
        && let Err(reason) = respond(query, output.bytes()).await
    {
        let query = event.describe();
        warn!(target: "agent", "Failed to respond to query '{query}': {reason}");
    }
}

#[derive(Debug)]
struct Ended {
    status: ExitStatus,
    output: Tail,
}

async fn run_command(mut command: Command, input: &[u8]) -> io::Result<Ended> {
    // One pipe for both, so that what the script wrote to either stays in order.
    let (output, output_end) = io::pipe()?;
    let mut output = pipe::Receiver::from_owned_fd(OwnedFd::from(output))?;
    command.stdin(Stdio::piped()).stdout(output_end.try_clone()?).stderr(output_end);
    let mut child = command.spawn()?;
    // It holds our copies of the pipe's writing end; as long as they are open the output does not end.
    drop(command);
    let stdin = child.stdin.take();
    let feed = async {
        let Some(mut stdin) = stdin else { return };
        // A script need not read its input; the pipe then breaks, which is no failure.
        if let Err(reason) = stdin.write_all(input).await {
            debug!(target: "agent", "Error writing payload: {reason}");
        }
    };
    let collect = async {
        let mut tail = Tail::default();
        let mut chunk = vec![0; 1024];
        loop {
            match output.read(&mut chunk).await {
                Ok(0) => return Ok(tail),
                Ok(bytes) => tail.push(&chunk[..bytes]),
                Err(reason) => return Err(reason),
            }
        }
    };
    let ((), status, output) = tokio::join!(feed, child.wait(), collect);
    Ok(Ended { status: status?, output: output? })
}

/// The last bytes of an output.
#[derive(Debug, Default)]
struct Tail {
    kept: VecDeque<u8>,
    total_bytes: u64,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.total_bytes += bytes.len() as u64;
        self.kept.extend(bytes);
        let surplus = self.kept.len().saturating_sub(OUTPUT_BYTES_MAX);
        self.kept.drain(..surplus);
    }

    fn bytes(&self) -> Vec<u8> {
        let (front, back) = self.kept.as_slices();
        [front, back].concat()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

/// The variables that a script gets on top of the agent's own. A later one replaces an earlier one of its name.
fn environment(event: &AgentEvent, own_name: &str, own_tags: &Tags) -> Vec<(String, String)> {
    let role = own_tags.get("role").cloned().unwrap_or_default();
    let mut variables = vec![
        ("SERF_EVENT".to_owned(), event.kind().to_owned()),
        ("SERF_SELF_NAME".to_owned(), own_name.to_owned()),
        ("SERF_SELF_ROLE".to_owned(), role),
    ];
    variables.extend(own_tags.iter().map(|(key, value)| (tag_variable(key), value.clone())));
    let (kind, name, ltime) = match event {
        AgentEvent::Members { .. } => return variables,
        AgentEvent::User(user) => ("SERF_USER_EVENT", &user.name, ("SERF_USER_LTIME", user.ltime)),
        AgentEvent::Query(query) => ("SERF_QUERY_NAME", &query.name, ("SERF_QUERY_LTIME", query.ltime)),
    };
    variables.push((kind.to_owned(), name.to_string()));
    variables.push((ltime.0.to_owned(), ltime.1.to_string()));
    variables
}

/// `SERF_TAG_` and the tag's key in upper case, with `_` for everything that a shell does not take in a name.
fn tag_variable(key: &str) -> String {
    let name = key.to_uppercase();
    let name = name.chars().map(|c| if c.is_ascii_uppercase() || c.is_ascii_digit() { c } else { '_' });
    format!("SERF_TAG_{}", name.collect::<String>())
}

/// What a script reads: a line a member, or the payload of a user event or a query.
fn standard_input(event: &AgentEvent) -> Vec<u8> {
    match event {
        AgentEvent::Members { members, .. } => {
            members.iter().map(member_line).collect::<String>().into_bytes()
        }
        AgentEvent::User(user) => with_newline(&user.payload),
        AgentEvent::Query(query) => with_newline(&query.payload),
    }
}

fn with_newline(payload: &[u8]) -> Vec<u8> {
    let mut input = payload.to_vec();
    if input.last().is_some_and(|last| *last != b'\n') {
        input.push(b'\n');
    }
    input
}

/// Name, address, role and tags with tabs between. Tabs and line breaks inside are written `\t` and `\n`; nothing else
/// is escaped, not even a backslash. (Serf: `invoke.go`, eventClean.)
fn member_line(member: &Member) -> String {
    let clean = |text: &str| text.replace('\t', "\\t").replace('\n', "\\n");
    let tags = member.tags();
    let role = tags.get("role").map(String::as_str).unwrap_or_default();
    let mut all = String::new();
    for (key, value) in &tags {
        let comma = if all.is_empty() { "" } else { "," };
        // Writing to a String cannot fail.
        _ = write!(all, "{comma}{key}={value}");
    }
    format!("{}\t{}\t{}\t{}\n", clean(&member.name), member.addr.ip(), clean(role), clean(&all))
}

/// How a script ended, in Go's words.
fn describe_status(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return format!("exit status {}", status.code().unwrap_or_default());
    };
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        6 => "aborted",
        8 => "floating point exception",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        other => return format!("signal: signal {other}"),
    };
    let core = if status.core_dumped() { " (core dumped)" } else { "" };
    format!("signal: {name}{core}")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use thane::UserEvent;
    use thane_wire::rpc::EventName;

    use super::*;
    use crate::agent::event::tests::member;

    fn user(payload: &'static [u8]) -> AgentEvent {
        let payload = Bytes::from_static(payload);
        AgentEvent::User(UserEvent { ltime: 7, name: "deploy".into(), payload, coalesce: true })
    }

    async fn shell(script: &str, input: &[u8]) -> Ended {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        run_command(command, input).await.unwrap()
    }

    #[test]
    fn members_come_as_lines_with_tabs_escaped() {
        let members = vec![
            member(
                "be ta",
                "127.0.0.1",
                &[("role", "d\tb"), ("note", "line1\nline2\tx"), ("comma", "a,b=c\\")],
            ),
            member("gamma", "127.0.0.1", &[]),
        ];
        let event = AgentEvent::Members { event: EventName::MemberJoin, members, by: None };
        let lines = String::from_utf8(standard_input(&event)).unwrap();
        assert_eq!(
            lines,
            "be ta\t127.0.0.1\td\\tb\tcomma=a,b=c\\,note=line1\\nline2\\tx,role=d\\tb\ngamma\t127.0.0.1\t\t\n"
        );
    }

    #[test]
    fn payloads_get_one_newline_and_nothing_else() {
        for (payload, input) in [
            (&b"v1"[..], &b"v1\n"[..]),
            (b"v1\n", b"v1\n"),
            (b"", b""),
            (b"a\tb\nc", b"a\tb\nc\n"),
            (b"\0\xff", b"\0\xff\n"),
        ] {
            assert_eq!(standard_input(&user(payload)), input);
        }
    }

    #[test]
    fn the_environment_names_event_self_and_tags() {
        let own = [("my-tag.x", "v 1"), ("role", "web"), ("Dc", "east=1"), ("1st", "y")];
        let own = own.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let variables = environment(&user(b"x"), "alpha", &own);
        for expected in [
            ("SERF_EVENT", "user"),
            ("SERF_SELF_NAME", "alpha"),
            ("SERF_SELF_ROLE", "web"),
            ("SERF_TAG_MY_TAG_X", "v 1"),
            ("SERF_TAG_ROLE", "web"),
            ("SERF_TAG_DC", "east=1"),
            ("SERF_TAG_1ST", "y"),
            ("SERF_USER_EVENT", "deploy"),
            ("SERF_USER_LTIME", "7"),
        ] {
            assert!(
                variables.iter().any(|(name, value)| (name.as_str(), value.as_str()) == expected),
                "{expected:?} is missing in {variables:?}"
            );
        }
        let joined = AgentEvent::Members { event: EventName::MemberJoin, members: Vec::new(), by: None };
        let variables = environment(&joined, "alpha", &Tags::new());
        assert!(variables.iter().all(|(name, _)| !name.starts_with("SERF_USER")), "{variables:?}");
    }

    #[tokio::test]
    async fn both_outputs_are_kept_in_order_and_input_reaches_the_script() {
        let ended = shell("cat; echo out; echo err >&2; echo again; exit 7", b"in\n").await;
        assert_eq!(ended.output.text(), "in\nout\nerr\nagain\n");
        assert_eq!(describe_status(ended.status), "exit status 7");
    }

    #[tokio::test]
    async fn only_the_last_bytes_of_a_long_output_are_kept() {
        let ended = shell("seq 1 3000", b"").await;
        assert_eq!(ended.output.kept.len(), OUTPUT_BYTES_MAX);
        assert_eq!(ended.output.total_bytes, 13_893);
        assert!(ended.output.text().starts_with("2\n1363\n") && ended.output.text().ends_with("\n3000\n"));
    }

    #[tokio::test]
    async fn input_that_nobody_reads_is_no_failure() {
        let ended = shell("exec <&-; exit 0", &vec![b'x'; 1 << 20]).await;
        assert!(ended.status.success());
    }

    #[tokio::test]
    async fn a_signal_is_named() {
        let ended = shell("kill -9 $$", b"").await;
        assert_eq!(describe_status(ended.status), "signal: killed");
    }
}
