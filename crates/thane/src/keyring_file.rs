//! The key ring's file: read at the start, written anew after each change.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thane_core::Keyring;
use thane_wire::keyring_file;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::error::StartError;
use crate::files;
use crate::streams::describe;

/// Rings that wait to be written; the core keeps no more changes waiting.
const WAITING_MAX: usize = 64;
/// First and longest pause before a ring that the disk did not take is tried again.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Reads the file, which must exist and hold at least one key.
pub(crate) fn load(path: &Path) -> Result<Keyring, StartError> {
    let failed = |problem: String| StartError::KeyringFile { path: path.to_owned(), problem };
    let content = fs::read(path).map_err(|error| {
        let action = if error.kind() == std::io::ErrorKind::NotFound { "stat" } else { "open" };
        failed(format!("{action} {}: {}", path.display(), file_error(&error)))
    })?;
    keyring_file::parse(&content).map_err(|error| failed(error.to_string()))
}

/// The operating system's error in Go's words, where Serf's users know them.
pub(crate) fn file_error(error: &std::io::Error) -> String {
    use std::io::ErrorKind::{FileTooLarge, IsADirectory, NotFound, ReadOnlyFilesystem, StorageFull};
    match error.kind() {
        NotFound => "no such file or directory".to_owned(),
        IsADirectory => "is a directory".to_owned(),
        StorageFull => "no space left on device".to_owned(),
        ReadOnlyFilesystem => "read-only file system".to_owned(),
        FileTooLarge => "file too large".to_owned(),
        _ => describe(error),
    }
}

/// The task that writes the file, one ring after the other and away from the driver.
///
/// The keys in use follow the cluster even when the disk does not take them: a member that kept to its old ones would be
/// locked out. So a ring that could not be written is tried again until it is, or a later one takes its place.
#[derive(Debug)]
pub(crate) struct KeyringWriter {
    to_write: mpsc::Sender<(u64, Keyring)>,
    written: mpsc::Receiver<(u64, Result<(), String>)>,
    task: tokio::task::JoinHandle<()>,
}

impl KeyringWriter {
    pub(crate) fn start(path: PathBuf) -> Self {
        let (to_write, waiting) = mpsc::channel(WAITING_MAX);
        let (done, written) = mpsc::channel(WAITING_MAX);
        let writer = Writer { path, unwritten: None, pause: RETRY_MIN };
        Self { to_write, written, task: tokio::spawn(writer.run(waiting, done)) }
    }

    /// Has a ring written. An error comes back at once if too many wait, which the core does not let happen.
    pub(crate) fn write(&self, token: u64, ring: Keyring) -> Result<(), String> {
        self.to_write
            .try_send((token, ring))
            .map_err(|_full| "too many key rings wait to be written".to_owned())
    }

    /// The next ring that has been written, or could not be.
    pub(crate) async fn written(&mut self) -> Option<(u64, Result<(), String>)> {
        self.written.recv().await
    }

    /// Waits until everything is written, or has been tried once more.
    pub(crate) async fn finish(self) {
        drop(self.to_write);
        drop(self.written);
        // It ends by itself; it cannot panic but by a bug that was reported as such.
        _ = self.task.await;
    }
}

/// The task's state.
struct Writer {
    path: PathBuf,
    /// The latest ring, if the disk did not take it.
    unwritten: Option<Keyring>,
    /// Until it is tried again.
    pause: Duration,
}

impl Writer {
    async fn run(
        mut self,
        mut waiting: mpsc::Receiver<(u64, Keyring)>,
        done: mpsc::Sender<(u64, Result<(), String>)>,
    ) {
        loop {
            let next = match &self.unwritten {
                None => waiting.recv().await,
                Some(ring) => match timeout(self.pause, waiting.recv()).await {
                    Ok(next) => next,
                    Err(_elapsed) => {
                        let ring = ring.clone();
                        // Who asked for it was told that it did not work at first.
                        _ = self.write(ring).await;
                        continue;
                    }
                },
            };
            let Some((token, ring)) = next else { break };
            let result = self.write(ring).await;
            // When the driver is gone, what waits is still written, and nobody is told.
            _ = done.send((token, result)).await;
        }
        if let Some(ring) = self.unwritten.take() {
            _ = self.write(ring).await;
        }
    }

    /// Writes a ring, and tells the first failure and the end of the trouble.
    async fn write(&mut self, ring: Keyring) -> Result<(), String> {
        let path = self.path.clone();
        let writing = tokio::task::spawn_blocking(move || (write(&path, &ring), ring)).await;
        let (result, ring) = match writing {
            Ok((result, ring)) => (result, Some(ring)),
            // A bug, or the end of the runtime.
            Err(error) => (Err(error.to_string()), self.unwritten.clone()),
        };
        match &result {
            Ok(()) => {
                if self.unwritten.take().is_some() {
                    tracing::info!(target: "thane::serf", kind = "keyring_file_recovered", "the key ring file {} is written again, with the keys in use", self.path.display());
                }
                self.pause = RETRY_MIN;
            }
            Err(reason) => {
                if self.unwritten.is_none() {
                    tracing::error!(target: "thane::serf", kind = "keyring_file_error", "Failed to write keyring file: {reason}; make room, or make the file and its directory writable. The new keys are in use all the same and are tried to be written again; if the node stops before that works, it starts with the old ones");
                } else {
                    self.pause = (self.pause * 2).min(RETRY_MAX);
                }
                self.unwritten = ring;
            }
        }
        result
    }
}

fn write(path: &Path, ring: &Keyring) -> Result<(), String> {
    files::replace(path, keyring_file::encode(ring).as_bytes())
        .map_err(|error| format!("open {}: {}", path.display(), file_error(&error)))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;

    use thane_core::Key;

    use super::*;
    use crate::killed::{Victim, moments, orders, tell};

    /// The ring of one step: all its keys are of that step.
    fn ring_of(step: u64) -> Keyring {
        let key = |n: u8| {
            let mut bytes = [n; 32];
            bytes[..8].copy_from_slice(&step.to_be_bytes());
            Key::new(&bytes).unwrap()
        };
        Keyring::new((0..20 + (step % 7) as u8).map(key))
    }

    /// The step of a ring, if it is one of ours and whole.
    fn step_of(ring: &Keyring) -> Option<u64> {
        let first: [u8; 8] = ring.keys().first()?.as_bytes()[..8].try_into().ok()?;
        let step = u64::from_be_bytes(first);
        (ring_of(step).keys() == ring.keys()).then_some(step)
    }

    #[test]
    fn victim() {
        let Some((path, from)) = orders() else { return };
        for step in from.. {
            write(&path, &ring_of(step)).unwrap();
            tell(step);
        }
    }

    /// Whenever a node is killed, its file holds a ring as a whole: the last one that was answered for, or the next.
    #[test]
    fn a_key_ring_is_replaced_whole_even_by_a_node_that_is_killed() {
        let path = std::env::temp_dir().join(format!("thane-keyring-killed-{}", std::process::id()));
        let mut last = 0;
        for wait in moments(12, Duration::from_millis(200)) {
            let victim = Victim::start("keyring_file::tests::victim", &path, last + 1);
            let (_, begun) = victim.first_step();
            while begun.elapsed() < wait {
                step_of(&load(&path).unwrap()).expect("a whole ring at any moment");
            }
            let (said, _) = victim.kill();
            let told = said.steps.last().map_or(last, |(step, _)| *step);
            let found = step_of(&load(&path).unwrap()).expect("a whole ring");
            // The first step was taken out by `first_step`; it is no later than any other.
            assert!(
                found == told || found == told + 1 || (said.steps.is_empty() && found > last),
                "{found}, told {told}"
            );
            last = found;
        }
        fs::remove_file(&path).unwrap();
        drop(fs::remove_file(files::with_suffix(&path, ".tmp")));
    }
}
