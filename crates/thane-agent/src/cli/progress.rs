//! One line on a terminal that says how far a command is which takes longer than a second.

use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::terminal::is_dumb;

/// How long a command may take without a word, and how often the line is renewed.
const INTERVAL: Duration = Duration::from_secs(1);

/// Moves to the start of the line and erases it.
const ERASE: &[u8] = b"\r\x1b[K";

/// The line, on standard error. It is gone when this is dropped; if that is no terminal, or one that can erase nothing, it never shows.
pub(super) struct Progress {
    shared: Option<Arc<Shared>>,
}

struct Shared {
    line: Mutex<Line>,
    over: Condvar,
}

struct Line {
    out: Box<dyn Write + Send>,
    /// What is known so far.
    text: String,
    is_shown: bool,
    is_over: bool,
}

impl Progress {
    /// Begins to tell `text`, from a second on.
    pub(super) fn start(text: &str) -> Self {
        if !io::stderr().is_terminal() || is_dumb() {
            return Self { shared: None };
        }
        Self::on(Box::new(io::stderr()), text, INTERVAL)
    }

    fn on(out: Box<dyn Write + Send>, text: &str, interval: Duration) -> Self {
        let line = Line { out, text: text.to_owned(), is_shown: false, is_over: false };
        let shared = Arc::new(Shared { line: Mutex::new(line), over: Condvar::new() });
        let telling = Arc::clone(&shared);
        thread::spawn(move || tell(&telling, interval));
        Self { shared: Some(shared) }
    }

    /// What is known now; shown with the next renewal.
    pub(super) fn note(&self, text: &str) {
        if let Some(shared) = &self.shared {
            text.clone_into(&mut shared.lock().text);
        }
    }

    /// Makes room for a line of the command itself: standard output may be the same terminal.
    pub(super) fn clear(&self) {
        if let Some(shared) = &self.shared {
            shared.lock().erase();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            let mut line = shared.lock();
            line.erase();
            line.is_over = true;
            drop(line);
            shared.over.notify_all();
        }
    }
}

fn tell(shared: &Shared, interval: Duration) {
    let start = Instant::now();
    let mut line = shared.lock();
    loop {
        let waited = shared.over.wait_timeout_while(line, interval, |line| !line.is_over);
        (line, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if line.is_over {
            return;
        }
        line.erase();
        let text = format!("{} ({} s)", line.text, start.elapsed().as_secs());
        // A terminal that is gone is no reason to fail.
        _ = line.out.write_all(text.as_bytes()).and_then(|()| line.out.flush());
        line.is_shown = true;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn erase(&mut self) {
        if self.is_shown {
            _ = self.out.write_all(ERASE).and_then(|()| self.out.flush());
            self.is_shown = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Screen {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }

        fn wait_for(&self, part: &str) {
            let deadline = Instant::now() + Duration::from_secs(60);
            while !self.text().contains(part) {
                assert!(Instant::now() < deadline, "{part:?} does not come: {:?}", self.text());
                thread::yield_now();
            }
        }
    }

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_line_is_renewed_with_the_news_and_erased_in_the_end() {
        let screen = Screen::default();
        let progress = Progress::on(Box::new(screen.clone()), "waiting", Duration::from_millis(1));
        screen.wait_for("waiting (0 s)");
        progress.note("2 answers");
        screen.wait_for("\r\x1b[K2 answers (0 s)");
        drop(progress);
        assert!(screen.text().ends_with("\r\x1b[K"), "{:?}", screen.text());
    }

    #[test]
    fn what_is_over_soon_shows_nothing() {
        let screen = Screen::default();
        drop(Progress::on(Box::new(screen.clone()), "waiting", Duration::from_secs(3600)));
        assert_eq!(screen.text(), "");
    }
}
