//! Standard output of the agent, in the three styles of Serf's agent.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Lines waiting to be written. Beyond that further lines are dropped and counted.
const QUEUE_LINES_MAX: usize = 1024;

/// Pause between two attempts to flush a full queue.
const FLUSH_RETRY: Duration = Duration::from_millis(5);

/// The writer's stack, in bytes. It formats nothing and calls `write`.
const STACK_BYTES: usize = 64 * 1024;

/// Writes lines to standard output from a thread of its own.
///
/// A terminal that is paused, or a pipe that nobody reads, blocks whoever writes to it. The agent must not stop
/// answering probes for that, so only this thread waits; what does not fit the queue meanwhile is dropped and counted.
///
/// Differs from Serf: when the reader of standard output has gone, Serf dies of SIGPIPE at its next line, without
/// leaving. Here the agent goes on without an output.
#[derive(Clone, Debug)]
pub(crate) struct Console {
    queue: SyncSender<Job>,
    dropped: Arc<AtomicU64>,
}

enum Job {
    Line { prefix: &'static str, text: Arc<str> },
    Flush { done: SyncSender<()> },
}

impl Console {
    /// A console that writes to standard output.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn stdout() -> io::Result<Self> {
        Self::start(io::stdout())
    }

    /// A console that writes to `out`.
    pub(super) fn start(mut out: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE_LINES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        thread::Builder::new()
            .name("stdout".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || run(&jobs, &counter, &mut out))?;
        Ok(Self { queue, dropped })
    }

    /// A line of the program itself, after `==> `.
    pub(crate) fn output(&self, text: &str) {
        self.send("==> ", text.into());
    }

    /// A line of information, indented.
    pub(crate) fn info(&self, text: &str) {
        self.send("    ", text.into());
    }

    /// An empty line.
    pub(crate) fn blank(&self) {
        self.send("", "".into());
    }

    /// A line of the log, indented.
    pub(super) fn log_line(&self, line: &Arc<str>) {
        self.send("    ", Arc::clone(line));
    }

    fn send(&self, prefix: &'static str, text: Arc<str>) {
        match self.queue.try_send(Job::Line { prefix, text }) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Waits until everything said so far is written, but not longer than `limit`.
    pub(crate) fn flush(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let (done, is_done) = sync_channel(1);
        let mut job = Job::Flush { done };
        while let Err(TrySendError::Full(refused)) = self.queue.try_send(job) {
            if Instant::now() >= deadline {
                return;
            }
            job = refused;
            thread::sleep(FLUSH_RETRY);
        }
        // Whether it was written in time or not, there is nothing more to do.
        _ = is_done.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

fn run(jobs: &Receiver<Job>, dropped: &AtomicU64, out: &mut impl Write) {
    let mut buffer = Vec::new();
    let mut has_reader = true;
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Line { prefix, text } => {
                buffer.clear();
                // Only the first of several lines in one message carries the prefix, as with Serf.
                for part in [prefix, &text, "\n"] {
                    buffer.extend_from_slice(part.as_bytes());
                }
                let lost = dropped.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    let notice = format!("    ({lost} lines left out: standard output does not keep up)\n");
                    buffer.extend_from_slice(notice.as_bytes());
                }
                has_reader = has_reader && out.write_all(&buffer).and_then(|()| out.flush()).is_ok();
                buffer.shrink_to(LARGEST_BUFFER_KEPT_BYTES);
            }
            // The caller may have given up waiting.
            Job::Flush { done } => _ = done.send(()),
        }
    }
}

/// A larger line is written, but its buffer is not kept.
const LARGEST_BUFFER_KEPT_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;

    /// Writes to a shared buffer, after waiting for the test's permission once.
    struct Paused {
        go: Option<Receiver<()>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Paused {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(go) = self.go.take() {
                go.recv().unwrap();
            }
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_three_styles_are_those_of_serf() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let console = Console::start(Paused { go: None, written: Arc::clone(&written) }).unwrap();
        console.output("Starting");
        console.info("first\nsecond");
        console.blank();
        console.flush(Duration::from_secs(10));
        assert_eq!(String::from_utf8_lossy(&written.lock().unwrap()), "==> Starting\n    first\nsecond\n\n");
    }

    #[test]
    fn a_blocked_reader_costs_lines_but_never_blocks_the_agent() {
        let (permit, go) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let console = Console::start(Paused { go: Some(go), written: Arc::clone(&written) }).unwrap();
        for number in 0..3 * QUEUE_LINES_MAX {
            console.info(&number.to_string());
        }
        permit.send(()).unwrap();
        console.flush(Duration::from_secs(10));
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let lines = text.lines().count();
        assert!((QUEUE_LINES_MAX..2 * QUEUE_LINES_MAX).contains(&lines), "{lines} lines");
        assert!(text.starts_with("    0\n"), "the oldest lines are kept");
        assert!(text.contains("lines left out: standard output does not keep up"), "{}", &text[..200]);
    }
}
