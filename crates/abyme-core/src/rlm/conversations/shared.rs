//! What the handle of a conversation and its runs share: its questions, its session, and whose turn it is.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use indexmap::IndexMap;
use tokio::{
    sync::{Mutex as AsyncMutex, Notify, OwnedMutexGuard},
    task::spawn_blocking,
    time::Instant,
};

use super::{
    file::{self, FileContent, OpenFile, SessionBytes, SessionReader},
    limits::ConversationLimits,
    questions::{PastQuestion, Questions},
};
use crate::{
    error::{Error, ErrorKind, Result},
    inputs::Inputs,
    interpreter::CodeInterpreter,
    limits::Limits,
    model::Usage,
    rlm::{
        budget::Budget,
        config::RlmConfig,
        kept_session::{KeptSession, SessionHolder},
        start::{EarlierInputs, Outputs},
    },
    trajectory::Trajectory,
    value::Value,
};

/// A conversation.
#[derive(Debug)]
pub(in crate::rlm) struct SharedConversation {
    config: Arc<RlmConfig>,
    /// Held while a question is answered, and while the conversation is put to sleep or woken.
    in_use: Arc<AsyncMutex<()>>,
    session: SessionHolder,
    memory: Mutex<Memory>,
    last_used: Mutex<Instant>,
    /// Told whenever the conversation has come to rest.
    at_rest: Option<Arc<Notify>>,
}

/// Where the questions of a conversation are.
#[derive(Debug)]
enum Memory {
    Awake(Questions),
    /// In this file, with the session.
    Asleep(PathBuf),
}

/// The right to use a conversation. When it is dropped, the conversation has come to rest.
#[derive(Debug)]
pub(super) struct InUse {
    held: Option<OwnedMutexGuard<()>>,
    /// What is told then.
    at_rest: Option<Arc<Notify>>,
}

impl Drop for InUse {
    fn drop(&mut self) {
        // What hears of it may want to use the conversation.
        drop(self.held.take());
        self.at_rest.iter().for_each(|at_rest| at_rest.notify_one());
    }
}

/// How a conversation was written to a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) bytes: u64,
    /// Whether all that there is of the session is in the file.
    pub(super) is_whole: bool,
}

impl SharedConversation {
    /// A conversation without a question so far, or one that sleeps in a file.
    pub(super) fn new(config: Arc<RlmConfig>, asleep: Option<PathBuf>, at_rest: Option<Arc<Notify>>) -> Self {
        let memory = asleep.map_or_else(|| Memory::Awake(Questions::default()), Memory::Asleep);
        Self {
            config,
            in_use: Arc::default(),
            session: SessionHolder::default(),
            memory: Mutex::new(memory),
            last_used: Mutex::new(Instant::now()),
            at_rest,
        }
    }

    pub(in crate::rlm) fn config(&self) -> &Arc<RlmConfig> {
        &self.config
    }

    /// Begins a question, once the one before has ended.
    ///
    /// # Errors
    /// Those of waking up, of inputs that do not fit, and of used-up limits. The question does not count
    /// then.
    pub(in crate::rlm) async fn begin(
        self: Arc<Self>,
        inputs: &Inputs,
        own_limits: &Limits,
        limits: ConversationLimits,
        max_preview_chars: usize,
    ) -> Result<OpenQuestion> {
        let in_use = self.lock().await;
        self.used_now();
        self.wake(&in_use).await?;
        let has_session = {
            let mut holder = self.session.lock().await;
            holder.take_if(|kept| kept.session.ended().is_some());
            holder.is_some()
        };
        let (next, own_limits) = self.with_questions(|questions| {
            if !has_session {
                questions.lose();
            }
            let own_limits = limits.left_of(questions, own_limits.clone())?;
            let earlier = limits.max_earlier_chars;
            Ok((questions.next(&self.config, inputs, max_preview_chars, earlier)?, own_limits))
        })?;
        Ok(OpenQuestion {
            shared: self,
            given: next.given,
            inputs: next.inputs,
            earlier: next.earlier,
            limits: own_limits,
            budget: None,
            _in_use: in_use,
        })
    }

    /// Waits until nothing uses the conversation.
    pub(super) async fn lock(&self) -> InUse {
        let held = Some(self.in_use.clone().lock_owned().await);
        InUse { held, at_rest: self.at_rest.clone() }
    }

    /// The right to put it to sleep, unless it is in use. Nothing is told afterwards.
    pub(super) fn try_lock(&self) -> Option<InUse> {
        let held = Some(self.in_use.clone().try_lock_owned().ok()?);
        Some(InUse { held, at_rest: None })
    }

    /// Has the questions in memory, and the session alive, if it can be brought back.
    pub(super) async fn wake(&self, _in_use: &InUse) -> Result<()> {
        let Some(path) = self.asleep() else { return Ok(()) };
        let config = self.config.clone();
        let opened = spawn_blocking(move || file::open(&path, &config.signature)).await;
        let OpenFile { questions, session } = opened.map_err(unwritten)??;
        // Both parts can be large, and neither needs the other until the end.
        let questions = spawn_blocking(move || questions.read());
        let (session, holds) = session.reader();
        let restored = self.restore(session, holds.is_some()).await?.zip(holds);
        let questions = questions.await.map_err(unwritten)??;
        let kept = match restored {
            Some((restored, holds)) => Some(self.keep(restored, holds, &questions).await?),
            None => None,
        };
        *self.session.lock().await = kept;
        *self.memory() = Memory::Awake(questions);
        Ok(())
    }

    /// Restores the session, if there is one. One that cannot be read here, because it is of another backend
    /// or build, is as one that died: its inputs and results are put in again.
    async fn restore(
        &self,
        session: SessionReader,
        is_there: bool,
    ) -> Result<Option<Box<dyn CodeInterpreter>>> {
        let restored = match is_there && self.config.factory.capabilities().snapshot {
            true => self.config.factory.restore_from(Box::new(session.clone())).await.map(Some),
            false => Ok(None),
        };
        // That the file is damaged says more than what the backend made of that.
        spawn_blocking(move || session.finish()).await.map_err(unwritten)??;
        match restored {
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
                tracing::warn!(%error, "the session of a conversation is started anew");
                Ok(None)
            }
            restored => restored,
        }
    }

    /// A session that was restored, with what it holds.
    async fn keep(
        &self,
        restored: Box<dyn CodeInterpreter>,
        holds: Vec<String>,
        questions: &Questions,
    ) -> Result<KeptSession> {
        let mut values = questions.values(&self.config);
        let holds = holds.into_iter();
        let inputs = holds.filter_map(|name| values.swap_remove(&name).map(|value| (name, value))).collect();
        let (seed, is_deterministic) = (self.config.seed, self.config.deterministic);
        // Its random numbers go on where they were.
        KeptSession::restored(restored, inputs, seed, is_deterministic, &self.config).await
    }

    /// Writes the conversation to a file.
    pub(super) async fn write(&self, path: &Path, _in_use: &InUse) -> Result<Written> {
        let content = match self.asleep() {
            Some(asleep) => self.read(asleep).await?,
            None => {
                let session = self.snapshot().await?;
                FileContent { questions: self.with_questions(|questions| Ok(questions.clone()))?, session }
            }
        };
        let is_whole = content.session.is_some() || content.questions.past.is_empty();
        let (path, config) = (path.to_path_buf(), self.config.clone());
        let written = spawn_blocking(move || file::write(&path, &config.signature, &content)).await;
        Ok(Written { bytes: written.map_err(unwritten)??, is_whole })
    }

    /// The session as bytes, where there is one and its backend can.
    async fn snapshot(&self) -> Result<Option<SessionBytes>> {
        let mut holder = self.session.lock().await;
        let Some(kept) = holder.as_mut() else { return Ok(None) };
        if kept.session.ended().is_some() || !kept.session.capabilities().snapshot {
            return Ok(None);
        }
        match kept.snapshot(self.config.deterministic, &self.config).await {
            Ok(snapshot) => {
                let holds = kept.inputs.names().map(str::to_owned).collect();
                Ok(Some(SessionBytes { holds, snapshot: snapshot.into() }))
            }
            Err(error) if error.is_session_lost() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts the conversation to sleep in a file: nothing of it stays in memory.
    pub(super) async fn sleep(&self, path: &Path, in_use: &InUse) -> Result<Option<Written>> {
        if self.asleep().is_some() {
            return Ok(None);
        }
        let written = self.write(path, in_use).await?;
        let kept = self.session.lock().await.take();
        *self.memory() = Memory::Asleep(path.to_path_buf());
        end(kept).await;
        Ok(Some(written))
    }

    /// Ends the session, if there is one.
    pub(super) async fn shutdown(&self, _in_use: &InUse) -> Result<()> {
        let kept = self.session.lock().await.take();
        match kept {
            Some(mut kept) => kept.session.shutdown().await,
            None => Ok(()),
        }
    }

    /// Begins anew.
    pub(super) async fn forget(&self, _in_use: &InUse) {
        let kept = self.session.lock().await.take();
        *self.memory() = Memory::Awake(Questions::default());
        end(kept).await;
    }

    /// The questions, from memory or from the file.
    pub(super) async fn questions(&self) -> Result<Questions> {
        match self.asleep() {
            Some(path) => Ok(self.read(path).await?.questions),
            None => self.with_questions(|questions| Ok(questions.clone())),
        }
    }

    pub(super) fn asleep(&self) -> Option<PathBuf> {
        match &*self.memory() {
            Memory::Awake(_) => None,
            Memory::Asleep(path) => Some(path.clone()),
        }
    }

    /// Whether nothing was asked in it yet.
    pub(super) fn is_new(&self) -> bool {
        matches!(&*self.memory(), Memory::Awake(questions) if questions.past.is_empty())
    }

    /// Whether it takes memory: it is in use, or has questions there.
    pub(super) fn is_awake(&self) -> bool {
        self.asleep().is_none() && (!self.is_new() || self.in_use.try_lock().is_err())
    }

    /// When it was used last.
    pub(super) fn last_used(&self) -> Instant {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that it is used.
    pub(super) fn used_now(&self) {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    async fn read(&self, path: PathBuf) -> Result<FileContent> {
        let config = self.config.clone();
        spawn_blocking(move || file::read(&path, &config.signature)).await.map_err(unwritten)?
    }

    fn with_questions<T>(&self, use_them: impl FnOnce(&mut Questions) -> Result<T>) -> Result<T> {
        match &mut *self.memory() {
            Memory::Awake(questions) => use_them(questions),
            Memory::Asleep(_) => {
                Err(Error::new(ErrorKind::Internal, "a question met a sleeping conversation"))
            }
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a session that is needed no longer.
async fn end(kept: Option<KeptSession>) {
    if let Some(mut kept) = kept
        && let Err(error) = kept.session.shutdown().await
    {
        tracing::warn!(%error, "the session of a conversation did not shut down cleanly");
    }
}

fn unwritten(error: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Internal, "the file of a conversation was not dealt with").with_source(error)
}

/// A question that is being answered. However its run ends, also when it is dropped, the conversation knows
/// of it afterwards.
#[derive(Debug)]
pub(in crate::rlm) struct OpenQuestion {
    shared: Arc<SharedConversation>,
    given: IndexMap<String, Value>,
    /// All inputs of its run.
    pub(in crate::rlm) inputs: Inputs,
    /// The inputs that are of earlier questions.
    pub(in crate::rlm) earlier: EarlierInputs,
    pub(in crate::rlm) limits: Limits,
    /// From the moment from which the question counts.
    budget: Option<Arc<Budget>>,
    /// Given back after all else is done.
    _in_use: InUse,
}

impl OpenQuestion {
    /// Counts the question. What it uses is read from the `budget`.
    pub(in crate::rlm) fn start(&mut self, budget: &Arc<Budget>) {
        self.budget = Some(budget.clone());
    }

    pub(in crate::rlm) fn session(&self) -> &SessionHolder {
        &self.shared.session
    }

    /// Has it not count after all: nothing was asked.
    pub(in crate::rlm) fn withdraw(mut self) {
        self.budget = None;
    }

    /// Notes how the run ended.
    pub(in crate::rlm) fn end(mut self, ended: Option<&Outputs>, trajectory: &Trajectory) {
        let usage = self.budget.take().map(|budget| budget.usage()).unwrap_or_default();
        self.note(ended, usage, Some(trajectory));
    }

    fn note(&mut self, ended: Option<&Outputs>, usage: Usage, trajectory: Option<&Trajectory>) {
        let (outputs, status) = ended.cloned().unzip();
        let inputs = std::mem::take(&mut self.given);
        let question = PastQuestion { inputs, outputs, status, usage, made: Vec::new() };
        // It is awake while it is in use.
        let noted = self.shared.with_questions(|questions| {
            questions.add(question, trajectory);
            Ok(())
        });
        if let Err(error) = noted {
            tracing::error!(%error, "a question is not noted");
        }
    }
}

impl Drop for OpenQuestion {
    fn drop(&mut self) {
        if let Some(budget) = self.budget.take() {
            self.note(None, budget.usage(), None);
        }
        self.shared.used_now();
    }
}
