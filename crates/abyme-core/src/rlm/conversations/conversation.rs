//! One conversation, as a program holds it.

use std::{fmt, marker::PhantomData, path::Path, sync::Arc};

use indexmap::IndexMap;
use tokio::task::spawn_blocking;

use super::{
    file,
    limits::ConversationLimits,
    questions::PastQuestion,
    shared::{SharedConversation, Written},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::Usage,
    rlm::{
        config::RlmConfig,
        resume::begin::{Begin, GivenRecord, How},
        run::Run,
        start::run_id,
    },
    signature::{Signature, TaskSignature, Untyped},
    trajectory::{Trajectory, TrajectoryWriter},
    value::Value,
};

/// Several questions over one session: what earlier ones put in, made and answered stays there as variables.
/// Made by [`Rlm::conversation`](crate::Rlm::conversation).
///
/// ```no_run
/// # async fn example(rlm: abyme_core::Rlm) -> abyme_core::Result<()> {
/// use abyme_core::inputs;
///
/// // The signature is `report, question -> answer`.
/// let talk = rlm.conversation().limits(|limits| limits.max_cost(5.0));
/// let first = talk.ask(inputs! { report: "a very long text", question: "Who signed it?" }).await?;
/// // `report` stays as it is. The answer above is `answer_1` for the model, the question `question_1`.
/// let second = talk.ask(inputs! { question: "And when?" }).label("follow-up").await?;
/// talk.save("report.conversation").await?;
/// # Ok(()) }
/// ```
///
/// **Each question is a run of its own**: [`ask`](Self::ask) gives a [`Run`], with limits, a trace and a
/// record of its own. It begins a new transcript, in which the model is told of all earlier questions: their
/// inputs, their results, and the variables that their cells made. What the model said on the way is not
/// repeated. Questions are answered one after the other; one that is asked while another is answered waits.
///
/// **Names.** An input has its own name. Once a later question gives an input of that name, the earlier one
/// is called as before with the number of its question at the end, as results always are: `question_1`,
/// `answer_1`. Where that name is taken, `_` is added. An input that a question leaves out, or gives again
/// unchanged, stays what cells made of it.
///
/// **Failures.** A question that failed, was cancelled or dropped leaves the conversation usable: what its
/// cells did until then stays. A session that died is replaced: inputs and results are put in again, and the
/// model is told that all else is gone.
///
/// Dropping the conversation drops its session, as far as no run of it goes on.
pub struct Conversation<S = Untyped> {
    shared: Arc<SharedConversation>,
    limits: ConversationLimits,
    signature: PhantomData<fn() -> S>,
}

/// What [`Conversation::save`] and [`Conversation::sleep`] wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavedConversation {
    /// The size of the file.
    pub bytes: u64,
    /// Whether the session is in the file as it is. Where it is not, because the backend has no
    /// [snapshots](crate::Capabilities::snapshot) or the session is dead, the file has the inputs and
    /// results: they are put into a new session, and what cells made beside them is lost.
    pub is_whole: bool,
}

impl From<Written> for SavedConversation {
    fn from(Written { bytes, is_whole }: Written) -> Self {
        Self { bytes, is_whole }
    }
}

impl Conversation {
    /// The signature of the conversation that [`save`](Self::save) wrote to a file, without instructions and
    /// descriptions: what an [`Rlm`](crate::Rlm) needs to load it, for a program that does not know.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] and [`ErrorKind::InvalidInput`] for a file that cannot be read.
    pub async fn saved_signature(path: impl AsRef<Path>) -> Result<TaskSignature> {
        let path = path.as_ref().to_owned();
        let read = spawn_blocking(move || file::read_signature(&path)).await.map_err(|error| {
            Error::new(ErrorKind::Internal, "the file of a conversation was not read").with_source(error)
        })?;
        read?.parse()
    }
}

impl<S: Signature> Conversation<S> {
    pub(in crate::rlm) fn new(config: Arc<RlmConfig>) -> Self {
        Self::of(Arc::new(SharedConversation::new(config, None, None)))
    }

    /// Another handle to a conversation.
    pub(super) fn of(shared: Arc<SharedConversation>) -> Self {
        Self { shared, limits: ConversationLimits::default(), signature: PhantomData }
    }

    pub(in crate::rlm) async fn load(config: Arc<RlmConfig>, path: &Path) -> Result<Self> {
        let conversation = Self::of(Arc::new(SharedConversation::new(config, Some(path.to_owned()), None)));
        conversation.wake().await?;
        Ok(conversation)
    }

    /// Changes what all questions together may use, as in `.limits(|limits| limits.max_cost(5.0))`.
    pub fn limits(mut self, change: impl FnOnce(ConversationLimits) -> ConversationLimits) -> Self {
        self.limits = change(self.limits);
        self
    }

    /// A run that answers the next question. It starts when it is awaited, after the questions before it.
    ///
    /// Inputs that were given before may be left out: they stay as they are. (A typed signature has all of
    /// them, and one that is the same as before is not put in again.)
    ///
    /// # Errors
    /// Those of a [`Run`], and of kind
    /// - [`LimitReached`](ErrorKind::LimitReached) if the conversation has used what it
    ///   [may](ConversationLimits);
    /// - those of [`wake`](Self::wake), if it sleeps.
    pub fn ask(&self, inputs: S::Inputs) -> Run<S::Outputs> {
        let inputs = inputs.try_into().map_err(Into::into);
        Run::new(self.shared.config().clone(), Begin::New(inputs), run_id())
            .in_conversation(self.shared.clone(), self.limits)
    }

    /// A run that goes on with a question where its record ends, under the id of the run that it is of: what
    /// [`Rlm::resume_from`] is for other runs. Then the question counts, as if it had never been interrupted.
    ///
    /// The conversation has to be as it was when the question was asked, which its record does not hold:
    /// [load](crate::Rlm::load_conversation) it from a file that was saved after the question before. The
    /// session that comes with it runs the recorded cells again, without a call of a model or a tool. So a
    /// program that saves a conversation now and then, and traces its questions, loses nothing of it: it
    /// resumes those that followed, in order.
    ///
    /// ```no_run
    /// # async fn example(rlm: abyme_core::Rlm) -> abyme_core::Result<()> {
    /// // The process was killed while the question with `.trace("question-8.jsonl")` was answered.
    /// let talk = rlm.load_conversation("after-7.conversation").await?;
    /// let answer = talk.resume("question-8.jsonl").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// With a backend without [snapshots](crate::Capabilities::snapshot), what cells had made before was lost
    /// with the process. Only a question that had been told so can go on then: the first one that was asked
    /// after the conversation was loaded.
    ///
    /// [`Rlm::resume_from`]: crate::Rlm::resume_from
    ///
    /// # Errors
    /// When it is awaited: [`InvalidInput`](ErrorKind::InvalidInput) if the conversation is not as it was,
    /// with what differs; then nothing counts. Those of [`Rlm::resume_from`], and of [`ask`](Self::ask).
    pub fn resume_from(&self, trajectory: Trajectory) -> Run<S::Outputs> {
        self.go_on(Ok(GivenRecord { trajectory, how: How::Resume { file: None, session: None } }))
    }

    /// [`resume_from`](Self::resume_from) with the record in a file, which the run goes on writing. The file
    /// is read here, and stays in use by the run. That blocks the thread, for up to 1 s more while an earlier
    /// run still closes the file. Where other tasks share it:
    /// `tokio::task::spawn_blocking(move || talk.resume(path)).await?.await?`.
    ///
    /// # Errors
    /// When it is awaited: those of [`TrajectoryWriter::append`], and of [`resume_from`](Self::resume_from).
    pub fn resume(&self, path: impl AsRef<Path>) -> Run<S::Outputs> {
        self.go_on(TrajectoryWriter::append(path).map(|(trajectory, file)| GivenRecord {
            trajectory,
            how: How::Resume { file: Some(file), session: None },
        }))
    }

    fn go_on(&self, recorded: Result<GivenRecord>) -> Run<S::Outputs> {
        let id = recorded.as_ref().map_or_else(|_| run_id(), |given| given.trajectory.run().to_owned());
        Run::new(self.shared.config().clone(), Begin::Recorded(recorded), id)
            .in_conversation(self.shared.clone(), self.limits)
    }

    /// All questions so far, the oldest first, without one that is being answered.
    ///
    /// # Errors
    /// Those of reading the file, if the conversation sleeps.
    pub async fn questions(&self) -> Result<Vec<PastQuestion>> {
        Ok(self.shared.questions().await?.past)
    }

    /// The inputs and results of all questions, by the names that they have in the session.
    ///
    /// # Errors
    /// Those of reading the file, if the conversation sleeps.
    pub async fn variables(&self) -> Result<IndexMap<String, Value>> {
        Ok(self.shared.questions().await?.values(self.shared.config()))
    }

    /// What all questions used.
    ///
    /// # Errors
    /// Those of reading the file, if the conversation sleeps.
    pub async fn usage(&self) -> Result<Usage> {
        Ok(self.shared.questions().await?.usage)
    }

    /// Writes the conversation to a file, and goes on. [`Rlm::load_conversation`] reads it, in this program
    /// or another, with the same signature.
    ///
    /// Where the backend has snapshots, the file has the session as it is. The file can be read by its owner
    /// alone, and takes the place of one of that name once it is complete and on the disk. It waits for a
    /// question that is being answered.
    ///
    /// [`Rlm::load_conversation`]: crate::Rlm::load_conversation
    ///
    /// # Errors
    /// [`ErrorKind::Io`] with the path if the file cannot be written; then the one before is as it was.
    pub async fn save(&self, path: impl AsRef<Path>) -> Result<SavedConversation> {
        let in_use = self.shared.lock().await;
        Ok(self.shared.write(path.as_ref(), &in_use).await?.into())
    }

    /// [Saves](Self::save) the conversation and frees the memory that it takes: its session, its inputs, its
    /// results. The next question wakes it. `None` if it slept already, in the file of that time.
    ///
    /// # Errors
    /// Those of [`save`](Self::save); then it stays awake.
    pub async fn sleep(&self, path: impl AsRef<Path>) -> Result<Option<SavedConversation>> {
        let in_use = self.shared.lock().await;
        Ok(self.shared.sleep(path.as_ref(), &in_use).await?.map(Into::into))
    }

    /// Brings a sleeping conversation back, so that the next question does not wait for it. Its file stays.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file is gone,
    /// [`ErrorKind::InvalidInput`] if it is damaged, of another version or of
    /// another signature, and those of [`InterpreterFactory::restore`](crate::InterpreterFactory::restore).
    /// A session of another backend or build is none: it is started anew.
    pub async fn wake(&self) -> Result<()> {
        let in_use = self.shared.lock().await;
        self.shared.used_now();
        self.shared.wake(&in_use).await
    }

    /// Whether the conversation sleeps in a file.
    pub fn is_asleep(&self) -> bool {
        self.shared.asleep().is_some()
    }

    /// Ends the session, cleanly. A later question opens a new one.
    ///
    /// # Errors
    /// Those of [`CodeInterpreter::shutdown`](crate::CodeInterpreter::shutdown).
    pub async fn shutdown(&self) -> Result<()> {
        let in_use = self.shared.lock().await;
        self.shared.shutdown(&in_use).await
    }
}

impl<S> fmt::Debug for Conversation<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation")
            .field("asleep", &self.shared.asleep())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
