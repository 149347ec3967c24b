//! The key ring's file: read at the start, written anew after each change.

use std::fs;
use std::path::{Path, PathBuf};

use thane_core::Keyring;
use thane_wire::keyring_file;
use tokio::sync::mpsc;

use crate::error::StartError;
use crate::files;
use crate::streams::describe;

/// Rings that wait to be written; the core keeps no more changes waiting.
const WAITING_MAX: usize = 64;

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
    use std::io::ErrorKind::{IsADirectory, NotFound, ReadOnlyFilesystem, StorageFull};
    match error.kind() {
        NotFound => "no such file or directory".to_owned(),
        IsADirectory => "is a directory".to_owned(),
        StorageFull => "no space left on device".to_owned(),
        ReadOnlyFilesystem => "read-only file system".to_owned(),
        _ => describe(error),
    }
}

/// The task that writes the file, one ring after the other and away from the driver.
#[derive(Debug)]
pub(crate) struct KeyringWriter {
    to_write: mpsc::Sender<(u64, Keyring)>,
    written: mpsc::Receiver<(u64, Result<(), String>)>,
    task: tokio::task::JoinHandle<()>,
}

impl KeyringWriter {
    pub(crate) fn start(path: PathBuf) -> Self {
        let (to_write, mut waiting) = mpsc::channel::<(u64, Keyring)>(WAITING_MAX);
        let (done, written) = mpsc::channel(WAITING_MAX);
        let task = tokio::spawn(async move {
            while let Some((token, ring)) = waiting.recv().await {
                let path = path.clone();
                let writing = tokio::task::spawn_blocking(move || write(&path, &ring));
                let result = writing.await.unwrap_or_else(|error| Err(error.to_string()));
                // When the driver is gone, what waits is still written, and nobody is told.
                _ = done.send((token, result)).await;
            }
        });
        Self { to_write, written, task }
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

    /// Waits until everything is written.
    pub(crate) async fn finish(self) {
        drop(self.to_write);
        drop(self.written);
        // It ends by itself; it cannot panic but by a bug that was reported as such.
        _ = self.task.await;
    }
}

fn write(path: &Path, ring: &Keyring) -> Result<(), String> {
    files::replace(path, keyring_file::encode(ring).as_bytes())
        .map_err(|error| format!("{}: {}", path.display(), file_error(&error)))
}
