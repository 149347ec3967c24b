//! What Ctrl-C does to a command that waits.

use std::io::{self, Write as _};
use std::sync::mpsc;
use std::{process, thread};

use super::Output;
use crate::exit::Exit;

/// From now on an interrupt ends the program in this way, with these last words on standard output. In force when this
/// returns.
pub(super) fn when_interrupted(exit: Exit, last_words: Option<&'static str>) {
    let (listening, is_listening) = mpsc::channel();
    // Without a runtime or the signal the system's default remains: the program dies of it.
    thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        let interrupted = runtime.block_on(async {
            tokio::select! {
                biased;
                interrupted = tokio::signal::ctrl_c() => interrupted,
                // Looked at second, when the signal is listened to.
                never = async {
                    drop(listening);
                    std::future::pending().await
                } => never,
            }
        });
        if interrupted.is_ok() {
            if let Some(words) = last_words {
                // There is nowhere to tell that standard output is closed.
                _ = Output::stdout().line(words);
            }
            let _closed = io::stdout().flush();
            process::exit(exit as i32);
        }
    });
    // Nothing is ever sent: the other end goes away, in one way or the other.
    let _gone: Result<(), mpsc::RecvError> = is_listening.recv();
}
