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
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, error, warn};

use super::group::Group;
use crate::agent::event::{AgentEvent, respond};

/// Output kept, in bytes: the last ones. (Serf: `invoke.go`, maxBufSize.)
const OUTPUT_BYTES_MAX: usize = 8 * 1024;

/// After this long the log says once that a script is slow. (Serf: `invoke.go`, slowScriptWarning.)
const SLOW: Duration = Duration::from_secs(1);

/// How long a script that has run for too long has to end in good order before it is killed.
const TERMINATE_GRACE: Duration = Duration::from_secs(5);
/// How often it is looked meanwhile whether any of them is left.
const GROUP_CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// How long the output of a script that was killed may stay open. What holds it then has left the script's group, and is
/// not waited for.
const KILL_GRACE: Duration = Duration::from_secs(1);

/// What became of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    /// It has ended by itself, or could not be started.
    Over,
    /// It took longer than it may, and was ended.
    OutOfTime,
}

/// Runs a script for an event and logs what came of it. Waits until the script has ended and everything that holds its
/// output has closed it: a child in the background must redirect its output, as with Serf. With a `limit` the script and
/// all that it has started are ended after that time, and its output is not used.
pub(super) async fn run(
    script: &str,
    event: &AgentEvent,
    own_name: &str,
    own_tags: &Tags,
    limit: Option<Duration>,
) -> Run {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script).envs(environment(event, own_name, own_tags));
    let input = standard_input(event);
    let run = run_command(command, &input, limit);
    tokio::pin!(run);
    let ended = match timeout(SLOW, &mut run).await {
        Ok(ended) => ended,
        Err(_still_running) => {
            warn!(target: "agent", "Script '{script}' slow, execution exceeding {}s", SLOW.as_secs());
            run.await
        }
    };
    match ended {
        Ok(Some(ended)) => {
            conclude(script, event, &ended).await;
            Run::Over
        }
        Ok(None) => Run::OutOfTime,
        Err(reason) => {
            error!(target: "agent", "Error invoking script '{script}': {reason}");
            Run::Over
        }
    }
}

/// Logs how a script ended, and answers the query that it ran for.
async fn conclude(script: &str, event: &AgentEvent, ended: &Ended) {
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

/// Runs a command to its end; `None` if it had to be ended.
async fn run_command(
    mut command: Command,
    input: &[u8],
    limit: Option<Duration>,
) -> io::Result<Option<Ended>> {
    // One pipe for both, so that what the script wrote to either stays in order.
    let (output, output_end) = io::pipe()?;
    let mut output = pipe::Receiver::from_owned_fd(OwnedFd::from(output))?;
    command.stdin(Stdio::piped()).stdout(output_end.try_clone()?).stderr(output_end);
    if limit.is_some() {
        // Without a limit it stays in the agent's own group, as with Serf, and shares the signals of its terminal.
        command.process_group(0);
    }
    let mut child = command.spawn()?;
    let mut group = Group::new(child.id().filter(|_id| limit.is_some()));
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
    let finished = async {
        let ((), status, output) = tokio::join!(feed, child.wait(), collect);
        Ok(Some(Ended { status: status?, output: output? }))
    };
    let Some(limit) = limit else { return finished.await };
    tokio::pin!(finished);
    if let Ok(ended) = timeout(limit, &mut finished).await {
        group.is_over();
        return ended;
    }
    group.terminate().await;
    let grace_ends = Instant::now() + TERMINATE_GRACE;
    let is_finished = timeout_at(grace_ends, &mut finished).await.is_ok();
    // Those of its processes that closed its output may still be there.
    while group.is_alive().await {
        if Instant::now() >= grace_ends {
            group.kill().await;
            break;
        }
        sleep(GROUP_CHECK_INTERVAL).await;
    }
    if !is_finished {
        // Whether its output is closed by now or not, nobody reads it any more.
        _ = timeout(KILL_GRACE, &mut finished).await;
    }
    group.is_over();
    Ok(None)
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
    use std::io::{BufRead as _, Read as _, Write as _};

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
        run_command(command, input, None).await.unwrap().unwrap()
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

    /// A named pipe that is removed with the test.
    struct Fifo(std::path::PathBuf);

    impl Fifo {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("thane-invoke-{name}-{}", std::process::id()));
            let made = std::process::Command::new("mkfifo").arg(&path).status();
            assert!(made.unwrap().success());
            Self(path)
        }

        /// What is written to it, read until nobody has it open any more.
        fn read_to_end(&self) -> tokio::task::JoinHandle<String> {
            let path = self.0.clone();
            tokio::task::spawn_blocking(move || std::fs::read_to_string(path).unwrap())
        }
    }

    impl Drop for Fifo {
        fn drop(&mut self) {
            _ = std::fs::remove_file(&self.0);
        }
    }

    /// Long enough for a script to begin on a busy machine.
    const LIMIT: Duration = Duration::from_secs(6);

    async fn limited(script: &str, limit: Duration) -> Option<Ended> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        timeout(Duration::from_secs(30), run_command(command, b"", Some(limit))).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_script_out_of_time_ends_with_all_that_it_started() {
        let fifo = Fifo::new("children");
        let held = fifo.read_to_end();
        // A child in the background, and one that the shell waits for.
        let script = format!("exec 3>{}; echo up >&3; sleep 600 & sleep 600", fifo.0.display());
        assert!(limited(&script, LIMIT).await.is_none());
        assert_eq!(timeout(Duration::from_secs(30), held).await.unwrap().unwrap(), "up\n");
    }

    #[tokio::test]
    async fn a_script_that_does_not_want_to_end_is_killed() {
        let fifo = Fifo::new("stubborn");
        let held = fifo.read_to_end();
        let script = format!("trap '' TERM; exec 3>{}; echo up >&3; sleep 600", fifo.0.display());
        assert!(limited(&script, LIMIT).await.is_none());
        assert_eq!(timeout(Duration::from_secs(30), held).await.unwrap().unwrap(), "up\n");
    }

    #[tokio::test]
    async fn a_script_that_ends_in_time_is_as_one_without_a_limit() {
        let ended = limited("echo out; exit 3", Duration::from_secs(60)).await.unwrap();
        assert_eq!((ended.output.text().as_str(), ended.status.code()), ("out\n", Some(3)));
    }

    #[tokio::test]
    async fn a_script_that_nobody_waits_for_any_more_ends_only_if_it_had_a_limit() {
        for limit in [Some(Duration::from_secs(600)), None] {
            let fifo = Fifo::new(&format!("dropped-{}", limit.is_some()));
            let path = fifo.0.clone();
            let first_line = tokio::task::spawn_blocking(move || {
                let mut lines = io::BufReader::new(std::fs::File::open(path).unwrap());
                let mut said = String::new();
                lines.read_line(&mut said).unwrap();
                (lines, said)
            });
            let go = Fifo::new(&format!("go-{}", limit.is_some()));
            // Open both ways, so that neither side waits for the other.
            let mut opened = std::fs::OpenOptions::new().read(true).write(true).open(&go.0).unwrap();
            let mut command = Command::new("/bin/sh");
            let script =
                format!("exec 3>{}; echo up >&3; read go <{}; echo on >&3", fifo.0.display(), go.0.display());
            command.arg("-c").arg(script);
            let running = tokio::spawn(async move { run_command(command, b"", limit).await });
            let (mut lines, mut said) = timeout(Duration::from_secs(30), first_line).await.unwrap().unwrap();
            running.abort();
            assert!(running.await.unwrap_err().is_cancelled());
            opened.write_all(b"go\n").unwrap();
            let rest =
                tokio::task::spawn_blocking(move || lines.read_to_string(&mut said).map(|_bytes| said));
            let said = timeout(Duration::from_secs(30), rest).await.unwrap().unwrap().unwrap();
            assert_eq!(said, if limit.is_some() { "up\n" } else { "up\non\n" });
        }
    }

    #[tokio::test]
    async fn a_signal_is_named() {
        let ended = shell("kill -9 $$", b"").await;
        assert_eq!(describe_status(ended.status), "signal: killed");
    }
}
