//! The loop: a model writes cells, a session runs them, until typed outputs are submitted.

mod budget;
mod builder;
mod caller;
mod calls;
mod cancel;
mod compact;
mod config;
mod conversations;
mod execute;
mod extract;
mod guard;
mod input_limits;
mod kept_session;
mod objects;
mod prediction;
mod reply;
mod reply_stream;
mod resume;
mod run;
mod session_snapshots;
mod start;
mod submitted;
mod transcript;
mod turns;

#[cfg(feature = "testing")]
pub(crate) use self::budget::round_trips;
pub use self::{
    builder::RlmBuilder,
    calls::{approval::ApprovalRequest, builtins::built_in_functions},
    cancel::CancelHandle,
    conversations::{
        Conversation, ConversationLimits, Conversations, ConversationsConfig, PastQuestion, SavedConversation,
    },
    prediction::Prediction,
    resume::{
        effects::{EffectDecision, UnfinishedEffect},
        fork_handle::ForkHandle,
    },
    run::{EventStream, Run, RunFuture},
    session_snapshots::SessionSnapshots,
};

use std::{fmt, marker::PhantomData, path::Path, sync::Arc};

use self::{
    config::RlmConfig,
    resume::{
        begin::{Begin, GivenRecord, How},
        fork_handle::fork,
    },
    start::run_id,
};
use crate::{
    error::Result,
    limits::Limits,
    signature::{IntoSignature, Signature, TaskSignature, Untyped},
    trajectory::{Trajectory, TrajectoryWriter},
};

/// A Recursive Language Model: a signature, models, a backend, tools and limits, ready to run any number of
/// times, also at the same time.
///
/// [`Rlm::of`] begins with a type, from which the inputs and outputs of each run are typed; [`Rlm::builder`]
/// with a text, and inputs and outputs go by name:
///
/// ```no_run
/// # async fn example(model: impl abyme_core::LanguageModel + 'static,
/// #                  backend: impl abyme_core::InterpreterFactory + 'static) -> abyme_core::Result<()> {
/// use abyme_core::{Rlm, inputs};
///
/// let rlm = Rlm::builder("docs, query -> modules: list[str], total: int")
///     .instructions("Find names in the API reference first; confirm each with a sub-call.")
///     .model(model)
///     .interpreter(backend)
///     .build()?;
/// let answer = rlm.run(inputs! { docs: "a very long text", query: "modules" }).await?;
/// let modules: Vec<String> = answer.get("modules")?;
/// # Ok(()) }
/// ```
pub struct Rlm<S = Untyped> {
    config: Arc<RlmConfig>,
    signature: PhantomData<fn() -> S>,
}

impl Rlm {
    /// Begins with a signature: its string form, or a [`TaskSignature`]. Every mistake surfaces in
    /// [`build`](RlmBuilder::build).
    pub fn builder(signature: impl IntoSignature) -> RlmBuilder {
        RlmBuilder::new(signature.into_signature())
    }

    /// Begins with a typed signature: a struct with `#[derive(Signature)]`. A run takes the signature's
    /// [`Inputs`](Signature::Inputs), and its prediction has an `output` of its
    /// [`Outputs`](Signature::Outputs). A submission that is none goes back to the model. Every mistake
    /// surfaces in [`build`](RlmBuilder::build).
    pub fn of<S: Signature>() -> RlmBuilder<S> {
        RlmBuilder::new(S::signature().map(TaskSignature::outputs_as::<S::Outputs>))
    }

    /// The same models, backend, tools and limits for another task, such as one whose inputs have other
    /// names. What was learned of the models is shared.
    ///
    /// # Errors
    /// [`ErrorKind::Signature`](crate::ErrorKind::Signature) for a signature that does not parse, and
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if an input has the name of a tool.
    pub fn with_signature(&self, signature: impl IntoSignature) -> Result<Self> {
        let config = self.config.for_child(signature.into_signature()?, self.config.model.clone())?;
        Ok(Self { config: Arc::new(config), signature: PhantomData })
    }
}

impl<S: Signature> Rlm<S> {
    /// The task.
    pub fn signature(&self) -> &TaskSignature {
        &self.config.signature
    }

    /// The limits that every run starts from.
    pub fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// A run of the task over `inputs`: turns until a submission, a limit, or an error. It starts when it is
    /// awaited; before that, it can be given limits, a trace, a label and more: see [`Run`].
    pub fn run(&self, inputs: S::Inputs) -> Run<S::Outputs> {
        Run::new(self.config.clone(), Begin::New(inputs.try_into().map_err(Into::into)), run_id())
    }

    /// A run that goes on where a record ends, under the id of the run that it is of.
    ///
    /// No recorded call of a model or of a tool is made again, and what was used counts: the run goes on as
    /// if it had never ended, with the limits that it had, unless they are changed. Time in between does not
    /// count. A run that failed goes on from its last good point; one that had ended well gives its
    /// prediction again. Sessions are brought up to date once the record has ended: by running their cells
    /// again, with the recorded answers of all that these called. What cannot be the same is said, in
    /// [`RunResumed`](crate::Event::RunResumed) and [`SessionRebuilt`](crate::Event::SessionRebuilt).
    ///
    /// ```no_run
    /// # async fn example(rlm: abyme_core::Rlm) -> abyme_core::Result<()> {
    /// use abyme_core::inputs;
    ///
    /// let prediction = match rlm.run(inputs! { docs: "a very long text" }).await {
    ///     Ok(prediction) => prediction,
    ///     Err(error) if error.is_temporary() => match error.trajectory() {
    ///         Some(so_far) => rlm.resume_from(so_far.clone()).await?,
    ///         None => return Err(error),
    ///     },
    ///     Err(error) => return Err(error),
    /// };
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When it is awaited: [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the record is of
    /// another task, prompt, profile, policy or backend, with what differs, if it is of a later question of a
    /// conversation (see [`Conversation::resume_from`]), and if a call of a tool that
    /// [writes](crate::Effect::Write) may be made once more (see [`Run::on_unfinished_effect`]); and those of
    /// any run.
    pub fn resume_from(&self, trajectory: Trajectory) -> Run<S::Outputs> {
        let id = trajectory.run().to_owned();
        let how = How::Resume { file: None, session: None };
        self.recorded(Ok(GivenRecord { trajectory, how }), id)
    }

    /// [`resume_from`](Self::resume_from) with the record in a file, which the run goes on writing. The file
    /// is read here, and stays in use by the run.
    ///
    /// ```no_run
    /// # async fn example(rlm: abyme_core::Rlm) -> abyme_core::Result<()> {
    /// // The process that had begun it, with `.trace("run.jsonl")`, was killed.
    /// let prediction = rlm.resume("run.jsonl").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Reading blocks the thread, for up to 1 s more while an earlier run still closes the file. Where other
    /// tasks share the thread:
    ///
    /// ```no_run
    /// # async fn example(rlm: abyme_core::Rlm) -> Result<(), Box<dyn std::error::Error>> {
    /// let run = tokio::task::spawn_blocking(move || rlm.resume("run.jsonl")).await?;
    /// let prediction = run.await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When it is awaited: those of [`TrajectoryWriter::append`], and of [`resume_from`](Self::resume_from).
    pub fn resume(&self, path: impl AsRef<Path>) -> Run<S::Outputs> {
        let recorded = TrajectoryWriter::append(path).map(|(trajectory, file)| {
            let how = How::Resume { file: Some(file), session: None };
            GivenRecord { trajectory, how }
        });
        let id = recorded.as_ref().map_or_else(|_| run_id(), |given| given.trajectory.run().to_owned());
        self.recorded(recorded, id)
    }

    /// [`replay_from`](Self::replay_from) with the record in a file. The file is read here, which blocks the
    /// thread.
    pub fn replay(&self, path: impl AsRef<Path>) -> Run<S::Outputs> {
        let how = How::Replay { live: false };
        self.recorded(Trajectory::load(path).map(|trajectory| GivenRecord { trajectory, how }), run_id())
    }

    /// [`fork_from`](Self::fork_from) with the record in a file, which stays as it is. The file is read here,
    /// which blocks the thread.
    pub fn fork(&self, path: impl AsRef<Path>, turn: u32) -> Run<S::Outputs> {
        match Trajectory::load(path) {
            Ok(trajectory) => self.fork_from(&trajectory, turn),
            Err(error) => self.recorded(Err(error), run_id()),
        }
    }

    /// A run that does again what a record says, without a model, tools or the network: its cells run, in
    /// sessions of their own, those of children too. It has an id of its own.
    ///
    /// Where the model would read something else than it did, or a cell produces something else, it ends with
    /// the first difference ([`Error::difference`](crate::Error::difference)), or goes on live from there
    /// ([`Run::live`]). A run that had ended in an error ends in the same.
    ///
    /// # Errors
    /// When it is awaited: [`ErrorKind::Differs`](crate::ErrorKind::Differs) at the first difference;
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) where the record ends before its run did; the
    /// error that the recorded run ended in; and those of any run.
    pub fn replay_from(&self, trajectory: Trajectory) -> Run<S::Outputs> {
        self.recorded(Ok(GivenRecord { trajectory, how: How::Replay { live: false } }), run_id())
    }

    /// A run that goes on from the end of `turn` of a record, under an id of its own; 0 is before the first
    /// turn. The record stays as it is, and can be forked any number of times.
    ///
    /// # Errors
    /// When it is awaited: [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if there is no such
    /// turn or the run ended in it, and those of [`resume_from`](Self::resume_from).
    pub fn fork_from(&self, trajectory: &Trajectory, turn: u32) -> Run<S::Outputs> {
        fork(self.config.clone(), trajectory, turn, None)
    }

    /// A run that begins with a record.
    fn recorded(&self, recorded: Result<GivenRecord>, id: String) -> Run<S::Outputs> {
        Run::new(self.config.clone(), Begin::Recorded(recorded), id)
    }

    /// Several questions over one session: see [`Conversation`].
    pub fn conversation(&self) -> Conversation<S> {
        Conversation::new(self.config.clone())
    }

    /// Goes on with a conversation that [`Conversation::save`] wrote. Its session is restored from the file.
    /// Where the file has none, or one that this backend cannot restore, the next question opens a new one,
    /// puts inputs and results in again, and tells the model that all else is gone.
    ///
    /// # Errors
    /// Those of [`Conversation::wake`].
    pub async fn load_conversation(&self, path: impl AsRef<Path>) -> Result<Conversation<S>> {
        Conversation::load(self.config.clone(), path.as_ref()).await
    }

    /// The conversations of many users, in a directory: see [`Conversations`].
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if the directory cannot be used, or is in use.
    pub fn conversations(&self, config: ConversationsConfig) -> Result<Conversations<S>> {
        Conversations::new(self.config.clone(), config)
    }
}

/// Another handle to the same.
impl<S> Clone for Rlm<S> {
    fn clone(&self) -> Self {
        Self { config: self.config.clone(), signature: PhantomData }
    }
}

impl<S> fmt::Debug for Rlm<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rlm").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<S: Signature> RlmBuilder<S> {
    /// Checks everything and puts the [`Rlm`] together.
    ///
    /// # Errors
    /// The first mistake, by name: [`ErrorKind::Signature`](crate::ErrorKind::Signature) for a signature that
    /// does not parse, [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a name that cannot be
    /// used, [`ErrorKind::Config`](crate::ErrorKind::Config) for the rest.
    pub fn build(self) -> Result<Rlm<S>> {
        Ok(Rlm { config: Arc::new(self.into_config()?), signature: PhantomData })
    }
}
