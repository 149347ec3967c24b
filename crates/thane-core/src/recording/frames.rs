//! The file: entries, each with its length before it and a checksum behind it that covers the one before as well.

use std::time::Duration;

use crc32fast::Hasher;

use super::values::{Malformed, Reader, Value, malformed};
use super::{End, Header, MAGIC, RecordingError};
use crate::config::Config;
use crate::input::Input;
use crate::output::Output;
use crate::output_hash::OutputHash;
use crate::rng::Seed;
use crate::time::Time;

/// Kinds of entries.
const HEADER: u8 = 0;
const INPUT: u8 = 1;
const OUTPUTS: u8 = 2;
const END: u8 = 3;

const CHECKSUM_BYTES: usize = 4;
/// No node runs longer. Far below the end of the clock, where what is due a while from now would be due at once, again and again.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The node was given this.
    Input {
        /// When.
        at: Time,
        /// What.
        input: Input,
    },
    /// What it did since the last such entry.
    Outputs {
        /// How many outputs there were.
        count: u64,
        /// The hash of all outputs since its start.
        hash: u64,
    },
    /// The recording ends, and why.
    End(End),
}

/// Writes down what a node is told and does. The bytes of entries are appended to the vector that is given each time.
#[derive(Debug)]
pub struct Recorder {
    chain: u32,
    last: Time,
    hash: OutputHash,
    /// Outputs that no entry tells of yet.
    outputs: u64,
    body: Vec<u8>,
}

impl Recorder {
    /// Begins a recording.
    pub fn new(header: &Header, file: &mut Vec<u8>) -> Self {
        file.extend_from_slice(MAGIC);
        let mut recorder = Self {
            chain: crc32fast::hash(MAGIC),
            last: Time::ZERO,
            hash: OutputHash::default(),
            outputs: 0,
            body: Vec::new(),
        };
        recorder.entry(file, |body| {
            body.push(HEADER);
            header.version.put(body);
            header.started_unix_ns.put(body);
            body.extend(header.seed.0);
            header.config.put(body);
        });
        recorder
    }

    /// Writes down an input, and before it what the node has done since the last one.
    pub fn input(&mut self, now: Time, input: &Input, file: &mut Vec<u8>) {
        self.settle(file);
        let since = now.since(self.last).as_nanos() as u64;
        self.last = self.last.max(now);
        self.entry(file, |body| {
            body.push(INPUT);
            since.put(body);
            input.put(body);
        });
    }

    /// Takes note of an output.
    pub fn output(&mut self, output: &Output) {
        self.hash.output(output);
        self.outputs += 1;
    }

    /// Writes down what the node has done since the last input.
    pub fn settle(&mut self, file: &mut Vec<u8>) {
        let count = std::mem::take(&mut self.outputs);
        if count > 0 {
            let hash = self.hash.value();
            self.entry(file, |body| {
                body.push(OUTPUTS);
                count.put(body);
                body.extend(hash.to_le_bytes());
            });
        }
    }

    /// Writes down that nothing more follows, and why.
    pub fn end(&mut self, end: End, file: &mut Vec<u8>) {
        self.entry(file, |body| {
            body.push(END);
            body.push(match end {
                End::Stopped => 0,
                End::SizeLimit => 1,
                End::Behind => 2,
            });
        });
    }

    #[cfg(test)]
    pub(super) fn entry_for_test(&mut self, count: u64, hash: u64, file: &mut Vec<u8>) {
        self.entry(file, |body| {
            body.push(OUTPUTS);
            count.put(body);
            body.extend(hash.to_le_bytes());
        });
    }

    fn entry(&mut self, file: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        self.body.clear();
        write(&mut self.body);
        self.body.len().put(file);
        file.extend_from_slice(&self.body);
        self.chain = chained(self.chain, &self.body);
        file.extend(self.chain.to_le_bytes());
    }
}

/// The checksum of an entry: CRC-32 over that of the one before and its own bytes, so that none can be left out or swapped.
fn chained(before: u32, body: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&before.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

/// Reads a recording, entry by entry.
#[derive(Debug)]
pub struct Recording<'a> {
    file: &'a [u8],
    at: usize,
    entries: u64,
    chain: u32,
    last: Time,
    header: Header,
    torn: Option<usize>,
    end: Option<End>,
}

impl<'a> Recording<'a> {
    /// Reads how it begins.
    ///
    /// # Errors
    /// When it is no recording, one of another format, or damaged from the start.
    pub fn open(file: &'a [u8]) -> Result<Self, RecordingError> {
        let Some(magic) = file.first_chunk::<10>() else { return Err(RecordingError::NotARecording) };
        let [.., low, high] = *magic;
        if magic[..8] != MAGIC[..8] {
            return Err(RecordingError::NotARecording);
        }
        if magic != MAGIC {
            return Err(RecordingError::Format(u16::from_le_bytes([low, high])));
        }
        let config = Config::lan("", std::net::SocketAddr::from(([0, 0, 0, 0], 0)));
        let mut recording = Self {
            file,
            at: MAGIC.len(),
            entries: 0,
            chain: crc32fast::hash(MAGIC),
            last: Time::ZERO,
            header: Header::new(config, Seed([0; 32]), 0),
            torn: None,
            end: None,
        };
        let begun = recording.at;
        let Some(body) = recording.body()? else { return Err(RecordingError::Empty) };
        recording.header = read_header(body).map_err(|what| recording.malformed(begun, what))?;
        Ok(recording)
    }

    /// How the life began.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next entry; `None` at the end. What was cut off in the middle of the last one, as by a power cut, is passed over.
    ///
    /// # Errors
    /// When the recording is damaged. Nothing more can be read then.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, RecordingError> {
        if self.end.is_some() {
            return Ok(None);
        }
        let begun = self.at;
        let Some(body) = self.body()? else { return Ok(None) };
        let entry = read_entry(body, self.last).map_err(|what| self.malformed(begun, what))?;
        match entry {
            Entry::Input { at, .. } => self.last = at,
            Entry::End(end) => self.end = Some(end),
            Entry::Outputs { .. } => {}
        }
        Ok(Some(entry))
    }

    /// How many bytes at the end belong to an entry that was not written to its end. Known when all has been read.
    pub fn torn_bytes(&self) -> usize {
        self.torn.unwrap_or(0)
    }

    /// Why it ends, if it says so: not if the process was killed. Known when all has been read.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// How many entries have been read.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Where the next entry begins.
    #[cfg(test)]
    pub(super) fn position(&self) -> usize {
        self.at
    }

    fn malformed(&self, at: usize, what: Malformed) -> RecordingError {
        RecordingError::Malformed { at, entry: self.entries - 1, what: what.0 }
    }

    fn body(&mut self) -> Result<Option<&'a [u8]>, RecordingError> {
        let left = &self.file[self.at..];
        // Some file systems leave zeros where the last bytes did not reach the disk. No entry is empty.
        if left.iter().all(|byte| *byte == 0) {
            self.torn = Some(left.len());
            return Ok(None);
        }
        let mut reader = Reader(left);
        let whole = |reader: &mut Reader<'a>| {
            let body = reader.slice().ok()?;
            let checksum = reader.array::<CHECKSUM_BYTES>().ok()?;
            Some((body, u32::from_le_bytes(checksum)))
        };
        let Some((body, checksum)) = whole(&mut reader) else {
            self.torn = Some(left.len());
            return Ok(None);
        };
        let chain = chained(self.chain, body);
        if chain != checksum {
            return Err(RecordingError::Damaged { at: self.at, entry: self.entries });
        }
        self.chain = chain;
        self.at = self.file.len() - reader.0.len();
        self.entries += 1;
        Ok(Some(body))
    }
}

fn read_header(body: &[u8]) -> Result<Header, Malformed> {
    let mut reader = Reader(body);
    if reader.byte()? != HEADER {
        return malformed("it should tell how the node began");
    }
    let header = Header {
        version: Value::get(&mut reader)?,
        started_unix_ns: Value::get(&mut reader)?,
        seed: Seed(reader.array()?),
        config: Value::get(&mut reader)?,
    };
    reader.end()?;
    Ok(header)
}

fn read_entry(body: &[u8], last: Time) -> Result<Entry, Malformed> {
    let mut reader = Reader(body);
    let entry = match reader.byte()? {
        INPUT => {
            let since = u64::get(&mut reader)?;
            let at = last + Duration::from_nanos(since);
            if at.since_start() > LONGEST {
                return malformed("it is more than a hundred years after the start");
            }
            Entry::Input { at, input: Input::get(&mut reader)? }
        }
        OUTPUTS => {
            let count = u64::get(&mut reader)?;
            Entry::Outputs { count, hash: u64::from_le_bytes(reader.array()?) }
        }
        END => Entry::End(match reader.byte()? {
            0 => End::Stopped,
            1 => End::SizeLimit,
            2 => End::Behind,
            _ => return malformed("it ends for an unknown reason"),
        }),
        _ => return malformed("it is of an unknown kind"),
    };
    reader.end()?;
    Ok(entry)
}
