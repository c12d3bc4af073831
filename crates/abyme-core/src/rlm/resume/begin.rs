//! How a run begins: anew, or with a record that it goes on from or does again.

use std::{path::Path, sync::Arc};

use crate::{
    error::{Error, ErrorKind, Result},
    inputs::Inputs,
    limits::Limits,
    rlm::{config::RlmConfig, kept_session::KeptSession, start::random_seed},
    trajectory::{Event, EventSink, ForkOrigin, Recorder, Terms, Trajectory, TrajectoryWriter, unix_ms},
};

/// How a run begins.
#[derive(Debug)]
pub(in crate::rlm) enum Begin {
    /// With these inputs.
    New(Result<Inputs>),
    /// With a record.
    Recorded(Result<GivenRecord>),
}

/// A record that a run begins with.
#[derive(Debug)]
pub(in crate::rlm) struct GivenRecord {
    pub(in crate::rlm) trajectory: Trajectory,
    pub(in crate::rlm) how: How,
}

/// What a run does with its record.
#[derive(Debug)]
pub(in crate::rlm) enum How {
    /// It goes on where the record ends, and in the file that it was read from.
    Resume {
        file: Option<TrajectoryWriter>,
        /// A session in the state at the end of the record.
        session: Option<Box<KeptSession>>,
    },
    /// It does the same again. With `live`, it goes on from the first difference.
    Replay { live: bool },
}

/// What a run begins with, checked.
pub(in crate::rlm) struct Beginning {
    pub(in crate::rlm) inputs: Inputs,
    pub(in crate::rlm) seed: Option<u64>,
    /// The time of day that its sessions begin with, where they are deterministic.
    pub(in crate::rlm) session_unix_ms: Option<u64>,
    pub(in crate::rlm) forked_from: Option<ForkOrigin>,
    recorded: Option<GivenRecord>,
}

impl Begin {
    /// The limits and the label of the run that the record is of.
    pub(in crate::rlm) fn recorded(&self) -> Option<(&Limits, Option<&str>)> {
        let Begin::Recorded(Ok(GivenRecord { trajectory, .. })) = self else { return None };
        let Event::RunStarted { label, .. } = trajectory.events().next()? else { return None };
        Some((trajectory.limits()?, label.as_deref()))
    }

    /// Finds what is wrong with it before anything begins. A run that keeps its record in a file has a seed.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for inputs that do not fit, and for a record that is of another task, of a
    /// later question of a conversation, or does not begin with the beginning of a run; those of reading the
    /// record.
    pub(in crate::rlm) fn checked(self, config: &RlmConfig, is_kept: bool) -> Result<Beginning> {
        let recorded = match self {
            Begin::New(inputs) => {
                let inputs = config.signature.checked_inputs(&inputs?)?;
                let seed = config.seed.or_else(|| (is_kept || config.deterministic).then(random_seed));
                return Ok(Beginning::new(inputs, seed, config));
            }
            Begin::Recorded(recorded) => recorded?,
        };
        let beginning = Beginning::recorded(recorded, config)?;
        if let Some(name) = beginning.inputs.names().find(|name| config.signature.input(name).is_none()) {
            let message = format!(
                "the record is of a question of a conversation, and needs what was there before it, such as \
                 `{name}`: go on with it by `Conversation::resume`"
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        Ok(beginning)
    }

    /// The beginning of a question of a conversation, which checks its inputs.
    ///
    /// # Errors
    /// Those of [`checked`](Self::checked), but of the inputs.
    pub(in crate::rlm) fn asked(self, config: &RlmConfig) -> Result<Beginning> {
        match self {
            Begin::New(inputs) => {
                let seed = config.seed.or_else(|| config.deterministic.then(random_seed));
                Ok(Beginning::new(inputs?, seed, config))
            }
            Begin::Recorded(recorded) => Beginning::recorded(recorded?, config),
        }
    }
}

impl Beginning {
    /// A run that begins anew with these inputs.
    fn new(inputs: Inputs, seed: Option<u64>, config: &RlmConfig) -> Self {
        let session_unix_ms = config.deterministic.then(unix_ms);
        Self { inputs, seed, session_unix_ms, forked_from: None, recorded: None }
    }

    fn recorded(recorded: GivenRecord, config: &RlmConfig) -> Result<Self> {
        let Some(Event::RunStarted {
            signature,
            inputs,
            seed,
            session_unix_ms,
            forked_from,
            parent: None,
            ..
        }) = recorded.trajectory.events().next()
        else {
            let message = "the record does not begin with the start of a run";
            return Err(Error::new(ErrorKind::InvalidInput, message));
        };
        if signature.to_string() != config.signature.to_string() {
            let message = format!(
                "the record is of another task: its signature is `{signature}`, and not `{}`",
                config.signature
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let inputs = inputs.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        if session_unix_ms.is_some() && !config.factory.capabilities().deterministic {
            let backend = config.factory.name();
            let message = format!(
                "the record is of a deterministic run, whose sessions `{backend}` cannot make: use a backend \
                 that declares `deterministic`, such as wasm"
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let (seed, session_unix_ms) = (*seed, *session_unix_ms);
        let forked_from = forked_from.clone();
        Ok(Self { inputs, seed, session_unix_ms, forked_from, recorded: Some(recorded) })
    }

    /// The file that the run goes on in.
    pub(in crate::rlm) fn file(&self) -> Option<&Path> {
        match &self.recorded.as_ref()?.how {
            How::Resume { file, .. } => file.as_ref().map(TrajectoryWriter::path),
            How::Replay { .. } => None,
        }
    }

    pub(in crate::rlm) fn is_recorded(&self) -> bool {
        self.recorded.is_some()
    }

    /// How many characters of an input the first message shows: as it was, where the run has been told.
    pub(in crate::rlm) fn max_preview_chars(&self, limits: &Limits) -> usize {
        let first = self.recorded.as_ref().and_then(|recorded| recorded.trajectory.events().next());
        match first {
            Some(Event::RunStarted { limits, .. }) => limits.max_preview_chars,
            _ => limits.max_preview_chars,
        }
    }

    /// The inputs that a question gives, without those that its conversation had before.
    pub(in crate::rlm) fn given(&self, config: &RlmConfig) -> Inputs {
        let is_given = |name: &str| !self.is_recorded() || config.signature.input(name).is_some();
        let given = self.inputs.iter().filter(|(name, _)| is_given(name));
        given.map(|(name, value)| (name.to_owned(), value.clone())).collect()
    }

    /// Has all inputs of a question, with those that its conversation had before.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the record has others: the conversation is not as it was then.
    pub(in crate::rlm) fn complete(&mut self, inputs: &Inputs) -> Result<()> {
        let is_other = |name: &&str| match (self.inputs.get(name), inputs.get(name)) {
            (Some(then), Some(now)) => !then.is_same(now),
            _ => true,
        };
        if self.is_recorded()
            && let Some(name) = self.inputs.names().chain(inputs.names()).find(is_other)
        {
            let message = format!(
                "the conversation is not as it was when this question was asked: `{name}` is not what the \
                 record has; load it from a file that was saved after the question before this one"
            );
            return Err(Error::new(ErrorKind::InvalidInput, message).operation("Conversation::resume"));
        }
        self.inputs = inputs.clone();
        Ok(())
    }

    /// Has a new file hold what the run did before, so that it can be gone on from too.
    pub(in crate::rlm) fn show_past(&self, file: &TrajectoryWriter) {
        if let Some(GivenRecord { trajectory, how: How::Resume { .. } }) = &self.recorded {
            trajectory.shared().for_each(|record| file.record(record));
        }
    }

    /// The session that it goes on in, if it is given one.
    pub(in crate::rlm) fn take_session(&mut self) -> Option<KeptSession> {
        match &mut self.recorded.as_mut()?.how {
            How::Resume { session, .. } => session.take().map(|session| *session),
            How::Replay { .. } => None,
        }
    }

    /// The recorder of the run `id`, which goes by these terms.
    pub(in crate::rlm) fn recorder(
        &mut self,
        id: String,
        mut sinks: Vec<Arc<dyn EventSink>>,
        terms: Terms,
    ) -> Recorder {
        match self.recorded.take() {
            None => Recorder::new(id, sinks, terms),
            Some(GivenRecord { trajectory, how: How::Resume { file, .. } }) => {
                sinks.extend(file.map(|file| Arc::new(file) as Arc<dyn EventSink>));
                Recorder::resumed(&trajectory, sinks, terms)
            }
            Some(GivenRecord { trajectory, how: How::Replay { live } }) => {
                Recorder::replayed(id, &trajectory, sinks, live, terms)
            }
        }
    }
}
