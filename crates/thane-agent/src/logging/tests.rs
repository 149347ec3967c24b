use std::sync::atomic::AtomicBool;

use super::*;

#[derive(Default)]
struct Kept {
    lines: Mutex<Vec<String>>,
    room: usize,
    gone: AtomicBool,
}

impl Kept {
    fn with_room(room: usize) -> Arc<Self> {
        Arc::new(Self { room, ..Self::default() })
    }

    fn texts(&self) -> Vec<String> {
        // Without the time, which is 20 characters with its space.
        self.lines.lock().unwrap().iter().map(|line| line[20..].to_owned()).collect()
    }
}

impl LogSink for Kept {
    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    fn take(&self, line: &Arc<str>) -> Taken {
        let mut lines = self.lines.lock().unwrap();
        if lines.len() == self.room {
            return Taken::DroppedAndDue("Dropping logs to ipc.client: test".to_owned());
        }
        lines.push(line.to_string());
        Taken::Queued
    }
}

fn log() -> (Log, Arc<Mutex<Vec<u8>>>) {
    struct Shared(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let written = Arc::new(Mutex::new(Vec::new()));
    let console = Console::start(Shared(Arc::clone(&written))).unwrap();
    (Log::new(LogLevel::Info, console), written)
}

fn shown(log: &Log, written: &Mutex<Vec<u8>>) -> String {
    log.shared.console.flush(std::time::Duration::from_secs(10));
    String::from_utf8(written.lock().unwrap().clone()).unwrap()
}

#[test]
fn lines_have_serfs_form() {
    let now = "2026-11-21T19:56:01.9[UTC]".parse::<jiff::Zoned>().unwrap();
    assert_eq!(
        format_line(&now, LogLevel::Err, "agent", "leave failed\n"),
        "2026/11/21 19:56:01 [ERR] agent: leave failed"
    );
    assert_eq!(
        format_line(&now, LogLevel::Warn, "serf", "a\u{1b}[31m\u{202e}b\r\n\tc"),
        "2026/11/21 19:56:01 [WARN] serf: a\\x1b[31m\\u202eb\\x0d\n\tc"
    );
    let long = format_line(&now, LogLevel::Info, "agent", &"é".repeat(LINE_BYTES_MAX));
    assert!(long.len() <= LINE_BYTES_MAX + 3 && long.ends_with("é..."), "{} bytes", long.len());
}

#[test]
fn levels_are_read_in_any_case() {
    assert_eq!(LogLevel::parse("WaRn"), Ok(LogLevel::Warn));
    assert_eq!(LogLevel::parse("err"), Ok(LogLevel::Err));
    assert_eq!(LogLevel::parse("loud"), Err("LOUD".to_owned()));
    assert_eq!(LogLevel::parse(""), Err(String::new()));
}

#[test]
fn lines_are_held_back_until_the_gate_opens_and_filtered_by_level() {
    let (log, written) = log();
    log.write(LogLevel::Info, "agent", "first");
    log.write(LogLevel::Debug, "agent", "detail");
    assert_eq!(shown(&log, &written), "");
    log.open_gate();
    log.write(LogLevel::Warn, "serf", "second");
    log.set_level(LogLevel::Err);
    log.write(LogLevel::Warn, "serf", "third");
    let text = shown(&log, &written);
    let lines: Vec<&str> = text.lines().map(|line| &line[24..]).collect();
    assert_eq!(lines, ["[INFO] agent: first", "[WARN] serf: second"]);
    assert!(text.starts_with("    2"), "{text}");
}

#[test]
fn a_monitor_gets_the_backlog_at_its_own_level_and_then_what_comes() {
    let (log, _written) = log();
    for number in 0..RING_LINES + 2 {
        log.write(LogLevel::Debug, "agent", &number.to_string());
    }
    log.write(LogLevel::Warn, "agent", "bad");
    let (all, warnings) = (Kept::with_room(usize::MAX), Kept::with_room(usize::MAX));
    log.monitor(LogLevel::Debug, Arc::clone(&all) as Arc<dyn LogSink>);
    log.monitor(LogLevel::Warn, Arc::clone(&warnings) as Arc<dyn LogSink>);
    log.write(LogLevel::Err, "agent", "worse");
    let all = all.texts();
    assert_eq!(all.len(), RING_LINES + 1);
    assert_eq!(all[0], "[DEBUG] agent: 3");
    assert_eq!(warnings.texts(), ["[WARN] agent: bad", "[ERR] agent: worse"]);
}

#[test]
fn a_monitor_that_is_behind_costs_one_notice_and_no_flood() {
    let (log, _written) = log();
    let (behind, other) = (Kept::with_room(1), Kept::with_room(usize::MAX));
    log.monitor(LogLevel::Trace, Arc::clone(&behind) as Arc<dyn LogSink>);
    log.monitor(LogLevel::Trace, Arc::clone(&other) as Arc<dyn LogSink>);
    log.write(LogLevel::Info, "agent", "one");
    log.write(LogLevel::Info, "agent", "two");
    assert_eq!(behind.texts(), ["[INFO] agent: one"]);
    assert_eq!(
        other.texts(),
        ["[INFO] agent: one", "[INFO] agent: two", "[WARN] agent.ipc: Dropping logs to ipc.client: test"],
        "the notice about a drop must not beget another"
    );
}

#[test]
fn monitors_that_are_gone_are_forgotten_though_no_line_is_for_them() {
    let (log, _written) = log();
    for _client in 0..100 {
        let monitor = Kept::with_room(usize::MAX);
        log.monitor(LogLevel::Err, Arc::clone(&monitor) as Arc<dyn LogSink>);
        log.write(LogLevel::Info, "agent.ipc", "Accepted client");
        monitor.gone.store(true, Ordering::Relaxed);
    }
    assert_eq!(log.lock().monitors.len(), 1, "only the last, until the next one comes");
}
