//! Playing a recording: a node of the same settings and seed is told the same again.

use std::fmt;

use thiserror::Error;

use super::{End, Entry, Header, Recording, RecordingError};
use crate::config::ConfigError;
use crate::input::{Answer, Input};
use crate::node::Node;
use crate::output::Output;
use crate::output_hash::OutputHash;
use crate::time::Time;

/// A recording that is being played.
#[derive(Debug)]
pub struct Replay<'a> {
    recording: Recording<'a>,
    node: Node,
    hash: OutputHash,
    /// Outputs since the last comparison, and in all comparisons before.
    outputs: u64,
    checked: u64,
    inputs: u64,
    /// What the start gave, until the first step takes it.
    start: Option<Vec<Output>>,
    /// The next input, if it has been looked at.
    next: Option<(Time, Input)>,
    /// The last step, for the report of a difference.
    last: Option<(Time, String)>,
}

/// One input and what came of it.
#[derive(Debug)]
pub struct Step {
    /// When.
    pub at: Time,
    /// What; `None` for the start of the node.
    pub input: Option<Input>,
    /// What the command returned, if it was one.
    pub answer: Answer,
    /// What the node did.
    pub outputs: Vec<Output>,
}

/// Why a recording cannot be played, or not on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file is at fault.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// Its settings are not accepted.
    #[error("the settings in the recording are not accepted: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Config(Vec<ConfigError>),
    /// Other decisions than recorded.
    #[error("{0}")]
    Difference(Box<Difference>),
}

/// Where the decisions first differ from those recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Number of the input, from 1; 0 is the start.
    pub input: u64,
    /// When it was.
    pub at: Time,
    /// What it was.
    pub what: String,
    /// How many outputs were recorded for it.
    pub recorded: u64,
    /// How many there are now.
    pub replayed: u64,
    /// Version of the program that recorded.
    pub version: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, at, what, recorded, replayed, version } = self;
        write!(f, "the decisions differ from input {input} on, {at} after the start ({what}): ")?;
        if recorded == replayed {
            write!(f, "as many outputs as recorded ({recorded}), but not the same")?;
        } else {
            write!(f, "{recorded} outputs were recorded, and there are {replayed} now")?;
        }
        let here = env!("CARGO_PKG_VERSION");
        if *version == here {
            write!(
                f,
                ". It was recorded by this version, {version}; if by this very program, please report it"
            )
        } else {
            write!(f, ". It was recorded by version {version}, and this is {here}: replay it with that one")
        }
    }
}

impl<'a> Replay<'a> {
    /// Starts a node as the recorded one was started.
    ///
    /// # Errors
    /// When the file is no recording or its settings are not accepted.
    pub fn new(file: &'a [u8]) -> Result<Self, ReplayError> {
        let recording = Recording::open(file)?;
        let header = recording.header();
        let node = Node::new(header.config.clone(), header.seed, Time::ZERO).map_err(ReplayError::Config)?;
        let mut replay = Self {
            hash: OutputHash::default(),
            outputs: 0,
            checked: 0,
            inputs: 0,
            start: None,
            next: None,
            last: None,
            recording,
            node,
        };
        replay.start = Some(replay.drain());
        Ok(replay)
    }

    /// When the next step is; `None` at the end. Nothing is played.
    ///
    /// # Errors
    /// As [`Replay::step`].
    pub fn next_at(&mut self) -> Result<Option<Time>, ReplayError> {
        if self.start.is_some() {
            return Ok(Some(Time::ZERO));
        }
        if self.next.is_none() {
            self.next = self.next_input()?;
        }
        Ok(self.next.as_ref().map(|(at, _input)| *at))
    }

    /// Reads on to the next input, and compares on the way what came of the last one.
    fn next_input(&mut self) -> Result<Option<(Time, Input)>, ReplayError> {
        loop {
            match self.recording.next_entry()? {
                None => return Ok(None),
                Some(Entry::End(_)) => {}
                Some(Entry::Outputs { count, hash }) => self.compare(count, hash)?,
                Some(Entry::Input { at, input }) => return Ok(Some((at, input))),
            }
        }
    }

    /// Plays the next input; `None` at the end.
    ///
    /// # Errors
    /// When the recording is damaged, or the node decides otherwise than it did. Before that, all steps are good.
    pub fn step(&mut self) -> Result<Option<Step>, ReplayError> {
        if let Some(outputs) = self.start.take() {
            return Ok(Some(Step { at: Time::ZERO, input: None, answer: Answer::Nothing, outputs }));
        }
        let next = match self.next.take() {
            Some(next) => Some(next),
            None => self.next_input()?,
        };
        let Some((at, input)) = next else { return Ok(None) };
        self.inputs += 1;
        self.last = Some((at, describe(&input)));
        let answer = self.node.handle(at, input.clone());
        let outputs = self.drain();
        Ok(Some(Step { at, input: Some(input), answer, outputs }))
    }

    fn drain(&mut self) -> Vec<Output> {
        let outputs: Vec<Output> = std::iter::from_fn(|| self.node.poll_output()).collect();
        for output in &outputs {
            self.hash.output(output);
        }
        self.outputs += outputs.len() as u64;
        outputs
    }

    fn compare(&mut self, count: u64, hash: u64) -> Result<(), ReplayError> {
        let replayed = std::mem::take(&mut self.outputs);
        if replayed == count && self.hash.value() == hash {
            self.checked += replayed;
            return Ok(());
        }
        let (at, what) = self.last.clone().unwrap_or_else(|| (Time::ZERO, "the start".to_owned()));
        Err(ReplayError::Difference(Box::new(Difference {
            input: self.inputs,
            at,
            what,
            recorded: count,
            replayed,
            version: self.recording.header().version.clone(),
        })))
    }

    /// The node as it is after the last step.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// How the life began.
    pub fn header(&self) -> &Header {
        self.recording.header()
    }

    /// How many inputs have been played.
    pub fn inputs(&self) -> u64 {
        self.inputs
    }

    /// How many outputs were the same as recorded.
    pub fn checked(&self) -> u64 {
        self.checked
    }

    /// See [`Recording::torn_bytes`].
    pub fn torn_bytes(&self) -> usize {
        self.recording.torn_bytes()
    }

    /// See [`Recording::end`].
    pub fn end(&self) -> Option<End> {
        self.recording.end()
    }
}

/// An input in a few words.
fn describe(input: &Input) -> String {
    match input {
        Input::Timeout => "time passed".to_owned(),
        Input::Packet { from, packet } => format!("a packet of {} bytes from {from}", packet.len()),
        Input::SendFailed { to, error } => format!("a packet to {to} could not be sent: {error}"),
        Input::SendsHeld => "packets cannot be sent for now".to_owned(),
        Input::SendsResumed => "packets can be sent again".to_owned(),
        Input::StreamAccepted { from } => format!("a stream from {from}"),
        Input::StreamConnected { stream } => format!("stream {} connected", stream.0),
        Input::StreamData { stream, bytes } => format!("{} bytes on stream {}", bytes.len(), stream.0),
        Input::StreamEnded { stream } => format!("stream {} ended", stream.0),
        Input::StreamFailed { stream, failure } => format!("stream {} failed: {failure:?}", stream.0),
        Input::KeyringPersisted { .. } => "the key ring was written".to_owned(),
        Input::SeedsLookedUp { addrs } => format!("the seeds stand for {} addresses", addrs.len()),
        Input::SeedsChanged { count } => format!("there are {count} seeds"),
        Input::Restore(_) => "the snapshot of an earlier life".to_owned(),
        Input::Join { addrs, .. } => format!("join {addrs:?}"),
        Input::Leave => "leave".to_owned(),
        Input::ForceLeave { name, .. } => format!("force-leave {name:?}"),
        Input::UserEvent { name, .. } => format!("user event {name:?}"),
        Input::SetTags(_) => "new tags".to_owned(),
        Input::Query { name, .. } => format!("query {name:?}"),
        Input::CancelQuery(_) => "no more answers wanted".to_owned(),
        Input::Respond { .. } => "the answer to a query".to_owned(),
        Input::Keys { .. } => "a command about keys".to_owned(),
    }
}
