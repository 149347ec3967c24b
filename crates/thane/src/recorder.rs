//! The recording's file: everything that the core is told, for a replay.
//!
//! As with the snapshot a thread of its own does the writing. The core's task makes entries and hands them over in pieces, and never
//! waits: if the disk does not keep up, what waits grows up to a limit, and then the recording ends in good order. It has no gaps: a gap
//! would make everything behind it worthless.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thane_core::recording::{self, End, Header, MAGIC};
use thane_core::{Config, Input, Output, Seed, Time};
use tokio::sync::oneshot;

use crate::error::StartError;
use crate::files;
use crate::keyring_file::file_error;

/// Size that a recording may have unless another is given, in bytes.
pub(crate) const LIMIT_DEFAULT: u64 = 256 << 20;
/// Pieces that wait for the disk.
const PIECES_MAX: usize = 64;
/// A piece is handed over when it has this many bytes, or is this old.
const PIECE_BYTES: usize = 16 << 10;
const PIECE_AGE: Duration = Duration::from_millis(200);
/// While the disk is slow, what waits on our side of the queue may grow to this size.
const WAITING_BYTES_MAX: usize = 8 << 20;
/// How long a node that stops waits for the disk.
const FINISH_MAX: Duration = Duration::from_secs(5);

/// A file that has been opened for a recording.
#[derive(Debug)]
pub(crate) struct Opened {
    path: PathBuf,
    file: File,
    limit: u64,
}

/// Says why a node with these settings cannot be recorded, if so. Asked before an earlier recording is moved out of the way.
pub(crate) fn check(path: &Path, config: &Config) -> Result<(), StartError> {
    if config.delegate.is_none() {
        return Ok(());
    }
    let problem = "an application's delegate decides about members in this node, and what it decides cannot be recorded; \
                   leave out Builder::record or Builder::delegate"
        .to_owned();
    Err(StartError::Recording { path: path.to_owned(), problem })
}

/// Makes the file, for its owner's eyes only: a recording holds the keys. An earlier recording is kept, with `.1` at the end of its name.
pub(crate) fn open(path: PathBuf, limit: u64) -> Result<Opened, StartError> {
    match make(&path) {
        Ok(file) => Ok(Opened { path, file, limit }),
        Err(problem) => Err(StartError::Recording { path, problem }),
    }
}

fn make(path: &Path) -> Result<File, String> {
    let failed = |error: io::Error| format!("{}: {}", path.display(), file_error(&error));
    if path.try_exists().map_err(failed)? {
        let earlier = files::with_suffix(path, ".1");
        for taken in [path, &earlier] {
            if taken.try_exists().map_err(failed)? && !is_recording(taken).map_err(failed)? {
                return Err(format!(
                    "{} exists and is no recording; name another file, or remove it",
                    taken.display()
                ));
            }
        }
        files::rename(path, &earlier).map_err(failed)?;
        tracing::info!(target: "thane::driver", kind = "recording_kept", "the earlier recording is kept as {}", earlier.display());
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    files::set_mode(&mut options, 0o600);
    options.open(path).map_err(failed)
}

/// Whether there is a recording, perhaps one that has not even begun.
fn is_recording(path: &Path) -> io::Result<bool> {
    if !path.metadata()?.is_file() {
        return Ok(false);
    }
    let mut begin = Vec::new();
    File::open(path)?.take(8).read_to_end(&mut begin)?;
    Ok(MAGIC.starts_with(&begin))
}

impl Opened {
    /// Starts the thread and the recording. `Time::ZERO` is now.
    pub(crate) fn start(self, config: &Config, seed: Seed) -> Result<Recorder, StartError> {
        let Self { path, file, limit } = self;
        let (pieces, received) = sync_channel(PIECES_MAX);
        let (done, finished) = oneshot::channel();
        let failed = Arc::new(AtomicBool::new(false));
        let writer = Writer { path: path.clone(), file, failed: Arc::clone(&failed) };
        let body = move || {
            writer.run(&received);
            // Nobody waits if the runtime is gone.
            _ = done.send(());
        };
        std::thread::Builder::new().name("thane-recorder".to_owned()).spawn(body).map_err(|error| {
            StartError::Recording { path: path.clone(), problem: format!("no thread for it: {error}") }
        })?;
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let header = Header::new(config.clone(), seed, u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX));
        let mut piece = Vec::new();
        let entries = recording::Recorder::new(&header, &mut piece);
        tracing::info!(target: "thane::driver", kind = "recording", "recording to {}: it holds the keys and all messages of this node, keep it to yourself", path.display());
        let state = State { path, entries, piece, piece_since: Time::ZERO, bytes: 0, limit, pieces, failed };
        Ok(Recorder { state: Some(state), ending: None, finished, unrecorded: 0 })
    }
}

/// The end of the one who tells the core.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// `None` once it has ended.
    state: Option<State>,
    /// The last of it, which is still to be handed over.
    ending: Option<(Vec<u8>, SyncSender<Vec<u8>>)>,
    finished: oneshot::Receiver<()>,
    unrecorded: u64,
}

#[derive(Debug)]
struct State {
    path: PathBuf,
    entries: recording::Recorder,
    /// Entries that are not handed over yet.
    piece: Vec<u8>,
    piece_since: Time,
    /// Bytes that were handed over.
    bytes: u64,
    limit: u64,
    pieces: SyncSender<Vec<u8>>,
    /// The writer cannot write.
    failed: Arc<AtomicBool>,
}

impl Recorder {
    /// Takes note of what the core is about to be told.
    pub(crate) fn input(&mut self, now: Time, input: &Input) {
        let Some(state) = &mut self.state else {
            self.unrecorded += 1;
            self.hand_over_the_end();
            return;
        };
        state.entries.input(now, input, &mut state.piece);
        if state.failed.load(Ordering::Relaxed) {
            // The writer has said why.
            self.state = None;
            self.unrecorded = 1;
        } else if state.bytes + state.piece.len() as u64 >= state.limit {
            let (path, limit) = (state.path.display(), state.limit);
            tracing::warn!(target: "thane::driver", kind = "recording_full", "the recording {path} has reached its limit of {limit} bytes and ends here; the node goes on");
            self.end(End::SizeLimit);
        } else if !state.hand_over(now) {
            let path = state.path.display();
            tracing::error!(target: "thane::driver", kind = "recording_behind", "the disk does not keep up with the recording {path}, which ends here; the node goes on");
            self.end(End::Behind);
        }
    }

    /// Takes note of what the core did.
    pub(crate) fn output(&mut self, output: &Output) {
        if let Some(state) = &mut self.state {
            state.entries.output(output);
        }
    }

    /// How many inputs came after the recording had ended.
    pub(crate) fn unrecorded(&self) -> u64 {
        self.unrecorded
    }

    fn end(&mut self, why: End) {
        if let Some(mut state) = self.state.take() {
            state.entries.settle(&mut state.piece);
            state.entries.end(why, &mut state.piece);
            self.ending = Some((state.piece, state.pieces));
        }
        self.hand_over_the_end();
    }

    fn hand_over_the_end(&mut self) {
        if let Some((piece, pieces)) = self.ending.take()
            && let Err(TrySendError::Full(piece)) = pieces.try_send(piece)
        {
            self.ending = Some((piece, pieces));
        }
    }

    /// Ends the recording and waits, within a limit, until all is on the disk.
    pub(crate) async fn finish(mut self) {
        self.end(End::Stopped);
        if let Some((piece, pieces)) = self.ending.take() {
            // The disk is slow; it gets the time that is left. A task of the runtime's would keep that from ending.
            std::thread::spawn(move || pieces.send(piece));
        }
        let finished = std::mem::replace(&mut self.finished, oneshot::channel().1);
        if tokio::time::timeout(FINISH_MAX, finished).await.is_err() {
            tracing::error!(target: "thane::driver", kind = "recording_error", "the disk does not take the recording within {FINISH_MAX:?}; its end may be missing");
        }
    }
}

/// If the core panics, what led to it is worth most.
impl Drop for Recorder {
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            // The queue may be full; nothing can be done about it here.
            drop(state.pieces.try_send(state.piece));
        }
    }
}

impl State {
    /// Hands over what waits, if it is much or old; false if too much waits.
    fn hand_over(&mut self, now: Time) -> bool {
        if self.piece.len() < PIECE_BYTES && now.since(self.piece_since) < PIECE_AGE {
            return true;
        }
        let bytes = self.piece.len();
        match self.pieces.try_send(std::mem::take(&mut self.piece)) {
            Ok(()) => {
                self.bytes += bytes as u64;
                self.piece_since = now;
                true
            }
            Err(TrySendError::Full(piece)) => {
                self.piece = piece;
                self.piece.len() < WAITING_BYTES_MAX
            }
            // The writer has ended and said why.
            Err(TrySendError::Disconnected(_)) => true,
        }
    }
}

/// The thread's state.
struct Writer {
    path: PathBuf,
    file: File,
    failed: Arc<AtomicBool>,
}

impl Writer {
    fn run(mut self, pieces: &Receiver<Vec<u8>>) {
        let written = pieces.iter().try_for_each(|piece| self.file.write_all(&piece));
        if let Err(error) = written.and_then(|()| self.file.sync_all()) {
            self.failed.store(true, Ordering::Relaxed);
            tracing::error!(target: "thane::driver", kind = "recording_error", "the recording {} cannot be written: {}; it ends here, and the node goes on", self.path.display(), file_error(&error));
        }
    }
}

#[cfg(test)]
mod tests;
