//! What Ctrl-C does to a command that waits.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, mpsc};
use std::{process, thread};

use super::Output;
use crate::exit::Exit;

/// From now on an interrupt ends the program in this way, with these last words on standard output. In force when this
/// returns.
pub(super) fn when_interrupted(exit: Exit, last_words: Option<&'static str>) {
    listen(move || {
        if let Some(words) = last_words {
            // There is nowhere to tell that standard output is closed.
            _ = Output::stdout().line(words);
        }
        let _closed = io::stdout().flush();
        process::exit(exit as i32);
    });
}

/// From now on the first interrupt is only noted, for a command that can end in good order; the second ends the program.
pub(super) fn note_interrupts() -> &'static AtomicBool {
    static NOTED: OnceLock<&'static AtomicBool> = OnceLock::new();
    NOTED.get_or_init(|| {
        static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);
        listen(|| {
            if IS_INTERRUPTED.swap(true, Ordering::Relaxed) {
                process::exit(Exit::Failure as i32);
            }
        });
        &IS_INTERRUPTED
    })
}

/// Does something at each interrupt. In force when this returns.
fn listen(then: impl Fn() + Send + 'static) {
    let (listening, is_listening) = mpsc::channel();
    // Without a runtime or the signal the system's default remains: the program dies of it.
    thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        let mut listening = Some(listening);
        loop {
            let interrupted = runtime.block_on(async {
                tokio::select! {
                    biased;
                    interrupted = tokio::signal::ctrl_c() => interrupted,
                    // Looked at second, when the signal is listened to.
                    never = async {
                        drop(listening.take());
                        std::future::pending().await
                    } => never,
                }
            });
            if interrupted.is_err() {
                return;
            }
            then();
        }
    });
    // Nothing is ever sent: the other end goes away, in one way or the other.
    let _gone: Result<(), mpsc::RecvError> = is_listening.recv();
}
