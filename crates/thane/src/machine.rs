//! The core as the driver has it: told things in one way only, so that all of it can be recorded.

use std::ops::Deref;

use thane_core::{
    Answer, CommandError, Config, Input, Measurements, Node as Core, OpId, Output, QueryId, RespondError,
    Seed, StreamId, Time,
};

use crate::error::StartError;
use crate::recorder::{Opened, Recorder};

/// A core, and the recorder of what it is told. It can be read like a core.
#[derive(Debug)]
pub(crate) struct Machine {
    core: Core,
    recorder: Option<Recorder>,
}

impl Machine {
    pub(crate) fn new(config: Config, seed: Seed, recording: Option<Opened>) -> Result<Self, StartError> {
        let recorder = recording.map(|opened| opened.start(&config, seed)).transpose()?;
        let core = Core::new(config, seed, Time::ZERO).map_err(StartError::Config)?;
        Ok(Self { core, recorder })
    }

    /// Tells the core something. Its outputs must be taken next.
    pub(crate) fn handle(&mut self, now: Time, input: Input) -> Answer {
        if let Some(recorder) = &mut self.recorder {
            recorder.input(now, &input);
        }
        self.core.handle(now, input)
    }

    /// As [`Machine::handle`], for commands that take time.
    pub(crate) fn begin(&mut self, now: Time, command: Input) -> Result<OpId, CommandError> {
        match self.handle(now, command) {
            Answer::Op(begun) => begun,
            other => unreachable!("a command that takes time answered {other:?}"),
        }
    }

    /// As [`Machine::handle`], for [`Input::StreamAccepted`].
    pub(crate) fn accept(&mut self, now: Time, input: Input) -> Option<StreamId> {
        match self.handle(now, input) {
            Answer::Stream(stream) => stream,
            other => unreachable!("a stream was answered with {other:?}"),
        }
    }

    /// As [`Machine::handle`], for [`Input::UserEvent`].
    pub(crate) fn user_event(&mut self, now: Time, input: Input) -> Result<u64, CommandError> {
        match self.handle(now, input) {
            Answer::UserEvent(ltime) => ltime,
            other => unreachable!("a user event answered {other:?}"),
        }
    }

    /// As [`Machine::handle`], for [`Input::Query`].
    pub(crate) fn query(&mut self, now: Time, input: Input) -> Result<QueryId, CommandError> {
        match self.handle(now, input) {
            Answer::Query(begun) => begun,
            other => unreachable!("a query answered {other:?}"),
        }
    }

    /// As [`Machine::handle`], for [`Input::Respond`].
    pub(crate) fn respond(&mut self, now: Time, input: Input) -> Result<(), RespondError> {
        match self.handle(now, input) {
            Answer::Respond(result) => result,
            other => unreachable!("an answer to a query answered {other:?}"),
        }
    }

    /// What the driver must do next, if anything.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        let output = self.core.poll_output();
        if let (Some(recorder), Some(output)) = (&mut self.recorder, &output) {
            recorder.output(output);
        }
        output
    }

    /// See [`Core::take_measurements`]; they decide nothing and are not recorded.
    pub(crate) fn take_measurements(&mut self) -> Measurements {
        self.core.take_measurements()
    }

    /// How many inputs came after the recording had ended, if there was one.
    pub(crate) fn unrecorded(&self) -> u64 {
        self.recorder.as_ref().map_or(0, Recorder::unrecorded)
    }

    /// The core alone, when all that was recorded is on the disk.
    pub(crate) async fn finish(self) -> Core {
        if let Some(recorder) = self.recorder {
            recorder.finish().await;
        }
        self.core
    }
}

impl Deref for Machine {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}
