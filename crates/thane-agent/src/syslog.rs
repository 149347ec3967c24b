//! The agent's log lines for the system's log, in Serf's form (RFC 3164, local socket).
//!
//! A line is sent at once where it is written, and the socket never blocks. What it does not take waits in a bounded
//! queue, from which a task tries again until it is empty: a system log that is slow, restarted or gone costs the agent
//! that queue, and some lines, which are counted and reported once it is back. (Serf: `syslog.go`, and
//! hashicorp/go-syslog, which blocks.)

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::logging::LogLevel;

/// Where a system's log listens; the first one that answers is used. (Go: `log/syslog`, `syslog_unix.go`.)
const PATHS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// The program's name in each message. It is Serf's, which is what the filters of those who come from Serf look for.
const TAG: &str = "serf";

/// Messages that wait for the socket. The oldest ones make room, and are counted.
const QUEUE_MAX: usize = 256;

/// Pause between two attempts to empty the queue.
const RETRY: Duration = Duration::from_millis(100);

/// Facilities by name; the position is the number. (RFC 3164, section 4.1.1; Serf takes these.)
const FACILITIES: [(&str, u8); 20] = [
    ("KERN", 0),
    ("USER", 1),
    ("MAIL", 2),
    ("DAEMON", 3),
    ("AUTH", 4),
    ("SYSLOG", 5),
    ("LPR", 6),
    ("NEWS", 7),
    ("UUCP", 8),
    ("CRON", 9),
    ("AUTHPRIV", 10),
    ("FTP", 11),
    ("LOCAL0", 16),
    ("LOCAL1", 17),
    ("LOCAL2", 18),
    ("LOCAL3", 19),
    ("LOCAL4", 20),
    ("LOCAL5", 21),
    ("LOCAL6", 22),
    ("LOCAL7", 23),
];

/// Severities as syslog numbers them, one step below what the words suggest, as Serf maps them.
fn severity(level: LogLevel) -> u8 {
    match level {
        LogLevel::Trace => 7,
        LogLevel::Debug => 6,
        LogLevel::Info => 5,
        LogLevel::Warn => 4,
        LogLevel::Err => 3,
    }
}

/// An open system log. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct SyslogSink {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    facility: u8,
    paths: Vec<PathBuf>,
    time_zone: TimeZone,
    runtime: Option<Handle>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    link: Option<Link>,
    queue: VecDeque<Vec<u8>>,
    dropped: u64,
    flushing: bool,
}

#[derive(Debug)]
enum Link {
    Datagram(UnixDatagram),
    Stream(UnixStream),
}

impl SyslogSink {
    /// Opens the system's log. Called within a tokio runtime, it empties its queue from a task there; otherwise only
    /// when the next line is written.
    ///
    /// # Errors
    /// Serf's sentence, if the facility is unknown or no system log answers.
    pub(crate) fn open(facility: &str) -> Result<Self, String> {
        Self::open_at(facility, PATHS.iter().map(PathBuf::from).collect())
    }

    /// As [`open`](Self::open), with other sockets.
    fn open_at(facility: &str, paths: Vec<PathBuf>) -> Result<Self, String> {
        let upper = facility.to_uppercase();
        let Some((_name, facility)) = FACILITIES.iter().find(|(name, _)| *name == upper) else {
            return Err(format!("Syslog setup failed: invalid syslog facility: {facility}"));
        };
        let Some(link) = connect(&paths) else {
            return Err("Syslog setup failed: Unix syslog delivery error".to_owned());
        };
        let state = State { link: Some(link), queue: VecDeque::new(), dropped: 0, flushing: false };
        let shared = Shared {
            facility: *facility,
            paths,
            time_zone: TimeZone::system(),
            runtime: Handle::try_current().ok(),
            state: Mutex::new(state),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Sends a line of the log; never waits. What comes before its `[LEVEL]` is left out, for the system's log has a
    /// time and a severity of its own. It must not be called for lines about this sink.
    pub(crate) fn write(&self, level: LogLevel, line: &str) {
        let shared = &self.shared;
        let message = shared.message(severity(level), text_of(line));
        let mut state = shared.lock();
        if state.queue.len() >= QUEUE_MAX {
            // Of the very first one a part may have been written already.
            state.queue.remove(1);
            state.dropped += 1;
        }
        state.queue.push_back(message);
        if shared.flush(&mut state) || state.flushing {
            return;
        }
        if let Some(runtime) = &shared.runtime {
            state.flushing = true;
            runtime.spawn(flush_until_empty(Arc::clone(shared)));
        }
    }
}

async fn flush_until_empty(shared: Arc<Shared>) {
    loop {
        sleep(RETRY).await;
        let mut state = shared.lock();
        if shared.flush(&mut state) {
            state.flushing = false;
            return;
        }
    }
}

impl Shared {
    fn message(&self, severity: u8, text: &str) -> Vec<u8> {
        let priority = self.facility * 8 + severity;
        let time = Timestamp::now().to_zoned(self.time_zone.clone()).strftime("%b %e %H:%M:%S").to_string();
        let pid = std::process::id();
        format!("<{priority}>{time} {TAG}[{pid}]: {}\n", text.trim_end_matches('\n')).into_bytes()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what waits, as far as the socket takes it; whether nothing waits any more. A connection that is broken is
    /// made anew, once in each call.
    fn flush(&self, state: &mut State) -> bool {
        let mut reconnected = false;
        while let Some(message) = state.queue.front() {
            let sent = match &mut state.link {
                Some(link) => link.send(message),
                None => Err(ErrorKind::NotConnected.into()),
            };
            match sent {
                Ok(bytes) if bytes < message.len() => {
                    let rest = message[bytes..].to_vec();
                    state.queue[0] = rest;
                }
                Ok(_all) => {
                    state.queue.pop_front();
                    if state.dropped > 0 && state.queue.is_empty() {
                        let lost = std::mem::take(&mut state.dropped);
                        let text = format!("agent: {lost} lines were lost on their way to syslog");
                        state.queue.push_back(self.message(severity(LogLevel::Warn), &text));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Larger than the system takes (EMSGSIZE): no later attempt helps.
                Err(error) if error.raw_os_error() == Some(MESSAGE_TOO_LONG) => {
                    state.queue.pop_front();
                    state.dropped += 1;
                }
                Err(_broken) if reconnected => return false,
                Err(_broken) => {
                    reconnected = true;
                    state.link = connect(&self.paths);
                }
            }
        }
        true
    }
}

/// `EMSGSIZE`, which the standard library has no kind for.
const MESSAGE_TOO_LONG: i32 = if cfg!(target_os = "linux") { 90 } else { 40 };

/// What follows the level in a line of the log.
fn text_of(line: &str) -> &str {
    line.split_once("] ").map_or(line, |(_time_and_level, text)| text)
}

/// The first of these that listens: for datagrams, or else for a stream.
fn connect(paths: &[PathBuf]) -> Option<Link> {
    let datagram = |path: &PathBuf| connect_as(Type::DGRAM, path).map(|socket| Link::Datagram(socket.into()));
    let stream = |path: &PathBuf| connect_as(Type::STREAM, path).map(|socket| Link::Stream(socket.into()));
    paths
        .iter()
        .find_map(|path| datagram(path).ok())
        .or_else(|| paths.iter().find_map(|path| stream(path).ok()))
}

fn connect_as(kind: Type, path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket)
}

impl Link {
    fn send(&mut self, message: &[u8]) -> io::Result<usize> {
        match self {
            Self::Datagram(socket) => socket.send(message),
            Self::Stream(socket) => match socket.write(message) {
                Ok(0) => Err(ErrorKind::WriteZero.into()),
                other => other,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::net::UnixListener;

    use serde_json::Value;

    use super::*;

    const RECORDED: [&str; 2] = [
        include_str!("../tests/vectors/syslog/syslog-0.9.4.json"),
        include_str!("../tests/vectors/syslog/syslog-0.10.1.json"),
    ];

    /// A folder that goes away with its sockets.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("thane-syslog-{name}-{}", std::process::id()));
            _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn socket(&self) -> PathBuf {
            self.0.join("log")
        }

        fn listen(&self) -> UnixDatagram {
            let listener = UnixDatagram::bind(self.socket()).unwrap();
            listener.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            listener
        }

        fn open(&self, facility: &str) -> Result<SyslogSink, String> {
            SyslogSink::open_at(facility, vec![self.0.join("nothing"), self.socket()])
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn receive(listener: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = loop {
            match listener.recv(&mut buffer) {
                // A machine that was suspended interrupts what has a time limit.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => break outcome.unwrap(),
            }
        };
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// `<PRI>`, the time, and the rest without the process's number.
    fn parts(message: &str) -> (String, String, String) {
        let (priority, rest) = message.split_once('>').unwrap();
        let (time, rest) = rest.split_at(15);
        let (tag, rest) = rest.split_once('[').unwrap();
        let (pid, text) = rest.split_once(']').unwrap();
        assert!(pid.chars().all(|digit| digit.is_ascii_digit()), "{message}");
        (priority.to_owned(), time.to_owned(), format!("{tag}{text}"))
    }

    #[test]
    fn messages_are_those_that_serf_sends() {
        let place = Place::new("recorded");
        let listener = place.listen();
        let mut cases = 0;
        for json in RECORDED {
            let document: Value = serde_json::from_str(json).unwrap();
            for (facility, group) in
                [("local0", "debug_local0"), ("LOCAL4", "info_local4"), ("Local0", "warn_local0")]
            {
                let sink = place.open(facility).unwrap();
                for message in document[group].as_array().unwrap() {
                    cases += 1;
                    let (priority, time, rest) = parts(message.as_str().unwrap());
                    let level = match priority.trim_start_matches('<').parse::<u8>().unwrap() & 7 {
                        6 => LogLevel::Debug,
                        5 => LogLevel::Info,
                        4 => LogLevel::Warn,
                        _ => LogLevel::Err,
                    };
                    let text = rest.strip_prefix(" serf: ").unwrap().trim_end();
                    sink.write(level, &format!("2026/11/21 19:49:36 [{level}] {text}"));
                    let ours = parts(&receive(&listener));
                    assert_eq!((&ours.0, &ours.2), (&priority, &rest));
                    let shape = |time: &str| {
                        time.chars()
                            .map(|c| if c.is_ascii_digit() { '0' } else { c })
                            .skip(3)
                            .collect::<String>()
                    };
                    assert_eq!(shape(&ours.1).replace("  0", " 00"), shape(&time));
                }
            }
        }
        eprintln!("compat: messages to the system's log | cases={cases} same={cases} listed=0");
    }

    #[test]
    fn setup_fails_in_serfs_words() {
        let place = Place::new("setup");
        let document: Value = serde_json::from_str(RECORDED[1]).unwrap();
        let refusal = place.open("NOPE").unwrap_err();
        assert_eq!(format!("==> {refusal}\n"), document["bad_facility_stdout"].as_str().unwrap());
        assert_eq!(place.open("LOCAL0").unwrap_err(), "Syslog setup failed: Unix syslog delivery error");
    }

    #[test]
    fn a_stream_will_do_where_there_are_no_datagrams() {
        let place = Place::new("stream");
        let listener = UnixListener::bind(place.socket()).unwrap();
        let sink = place.open("daemon").unwrap();
        sink.write(LogLevel::Err, "2026/11/21 19:49:36 [ERR] agent: [odd] text");
        sink.write(LogLevel::Trace, "no level");
        let mut lines = BufReader::new(listener.accept().unwrap().0).lines();
        let first = parts(&lines.next().unwrap().unwrap());
        assert_eq!((first.0.as_str(), first.2.as_str()), ("<27", " serf: agent: [odd] text"));
        let second = parts(&lines.next().unwrap().unwrap());
        assert_eq!((second.0.as_str(), second.2.as_str()), ("<31", " serf: no level"));
    }

    #[tokio::test]
    async fn a_log_that_does_not_read_costs_a_bounded_queue_and_gets_the_newest_lines() {
        let place = Place::new("slow");
        let listener = place.listen();
        let sink = place.open("USER").unwrap();
        for number in 0..2_000 {
            sink.write(LogLevel::Info, &format!("line {number}"));
        }
        assert_eq!(sink.shared.lock().queue.len(), QUEUE_MAX);
        let reading = tokio::task::spawn_blocking(move || {
            let mut lines = Vec::new();
            while !lines.last().is_some_and(|line: &String| line.contains("lines were lost")) {
                lines.push(receive(&listener));
            }
            lines
        });
        let lines = reading.await.unwrap();
        let before_last = &lines[lines.len() - 2];
        assert!(before_last.ends_with(": line 1999\n"), "{before_last}");
        let lost = 2_000 - (lines.len() - 1);
        let last = lines.last().unwrap();
        assert!(
            last.ends_with(&format!(
                "serf[{}]: agent: {lost} lines were lost on their way to syslog\n",
                std::process::id()
            )),
            "{last}"
        );
    }

    #[tokio::test]
    async fn a_log_that_was_restarted_gets_what_was_said_meanwhile() {
        let place = Place::new("restart");
        let sink = {
            let _first = place.listen();
            place.open("USER").unwrap()
        };
        std::fs::remove_file(place.socket()).unwrap();
        sink.write(LogLevel::Info, "said while nobody listened");
        assert_eq!(sink.shared.lock().queue.len(), 1);
        let listener = place.listen();
        let said = tokio::task::spawn_blocking(move || receive(&listener)).await.unwrap();
        assert!(said.ends_with(": said while nobody listened\n"));
    }
}
