//! Recordings: everything that a node was told in one life, so that its decisions can be made again, and looked into.
//!
//! A recording holds the settings, the seed, and every [`Input`] with its time: all that decides what a [`crate::Node`] does. After each
//! input that made the node do something it also holds a hash of what was done, so that [`Replay`] can say that the decisions are the
//! same, or where they first differ.
//!
//! This module knows the bytes; who records brings the file, and who replays reads it. The format is described in `docs/recording.md`.
//!
//! ```
//! use thane_core::recording::{Header, Recorder, Replay, Step};
//! use thane_core::{Config, Input, Node, Seed, Time};
//!
//! let config = Config::lan("a", "127.0.0.1:7946".parse().unwrap());
//! let header = Header::new(config.clone(), Seed::from(7), 1_790_000_000_000_000_000);
//! let mut file = Vec::new();
//! let mut recorder = Recorder::new(&header, &mut file);
//! let mut node = Node::new(config, Seed::from(7), Time::ZERO).unwrap();
//! for input in [Input::Timeout, Input::Leave] {
//!     recorder.input(node.poll_timeout(), &input, &mut file);
//!     node.handle(node.poll_timeout(), input);
//!     while let Some(output) = node.poll_output() {
//!         recorder.output(&output);
//!     }
//! }
//! recorder.settle(&mut file);
//!
//! let mut replay = Replay::new(&file).unwrap();
//! while let Some(Step { outputs, .. }) = replay.step().unwrap() {
//!     println!("{outputs:?}");
//! }
//! assert!(replay.checked() > 0);
//! ```

mod config;
mod frames;
mod input;
mod replay;
#[cfg(test)]
mod tests;
mod values;

use thiserror::Error;

pub use self::frames::{Entry, Recorder, Recording};
pub use self::replay::{Difference, Replay, ReplayError, Step};
use crate::config::Config;
#[cfg(doc)]
use crate::input::Input;
use crate::rng::Seed;

/// What every recording begins with. The number is that of the format.
pub const MAGIC: &[u8; 10] = b"THANEREC\x01\x00";

/// How a life began.
#[derive(Debug, Clone)]
pub struct Header {
    /// Version of the program that recorded. Another one may decide otherwise.
    pub version: String,
    /// [`crate::Time::ZERO`] on the wall clock, in nanoseconds since 1970.
    pub started_unix_ns: u64,
    /// Where its randomness began. Whoever knows it knows all nonces of that life.
    pub seed: Seed,
    /// Its settings, with the key ring. A delegate cannot be recorded: there is none.
    pub config: Config,
}

impl Header {
    /// Of a life that begins now, run by this version.
    pub fn new(config: Config, seed: Seed, started_unix_ns: u64) -> Self {
        Self { version: env!("CARGO_PKG_VERSION").to_owned(), started_unix_ns, seed, config }
    }
}

/// Why a recording ends where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The node stopped.
    Stopped,
    /// The file has reached the size that it may have.
    SizeLimit,
    /// The disk was too slow: what came next could not be kept.
    Behind,
}

/// What is wrong with a recording.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// It does not begin as recordings do.
    #[error("this is not a recording: it does not begin with THANEREC")]
    NotARecording,
    /// Of another format.
    #[error(
        "the recording has format {0}, and this version of Thane reads format 1; use the version that recorded it"
    )]
    Format(u16),
    /// It ends before the node began.
    #[error("the recording is empty: nothing was written after its first bytes")]
    Empty,
    /// A checksum does not fit: something was changed, removed or damaged.
    #[error(
        "the recording is damaged at byte {at}: the checksum of entry {entry} does not fit; what comes before it is good"
    )]
    Damaged {
        /// Where in the file.
        at: usize,
        /// Which entry, from 0.
        entry: u64,
    },
    /// The checksum fits and the content makes no sense: written by a newer version, or made up.
    #[error(
        "entry {entry} of the recording, at byte {at}, is not understood: {what}; was it recorded by a newer version of Thane?"
    )]
    Malformed {
        /// Where in the file.
        at: usize,
        /// Which entry, from 0.
        entry: u64,
        /// What is not understood.
        what: String,
    },
}
