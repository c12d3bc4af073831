//! One run as a value: what is set for it alone, the future that it becomes, and the handles to watch and
//! cancel it.

use std::{
    marker::PhantomData,
    path::{Path, PathBuf},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::Stream;
use indexmap::IndexMap;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::{
    budget::Budget,
    calls::approval::{ApprovalRequest, Approver},
    cancel::CancelHandle,
    config::RlmConfig,
    conversations::{
        ConversationLimits,
        shared::{OpenQuestion, SharedConversation},
    },
    execute::execute,
    guard::{OnDrop, unless},
    kept_session::SessionHolder,
    prediction::Prediction,
    resume::{
        begin::{Begin, Beginning, GivenRecord, How},
        effects::{EffectDecider, EffectDecision, Effects, UnfinishedEffect},
        forks::ForkServer,
    },
    session_snapshots::SessionSnapshots,
    start::RunParts,
};
use crate::{
    error::{Error, ErrorKind, Result},
    interpreter::CodeInterpreter,
    limits::Limits,
    runtime::HomeRuntime,
    telemetry, tool,
    trajectory::{Approval, EventSink, Record, Terms, TrajectoryWriter},
    value::Value,
};

/// One run of an [`Rlm`](crate::Rlm). It starts when it is awaited; what is set on it is for this run alone.
///
/// ```no_run
/// # async fn example(rlm: abyme_core::Rlm) -> abyme_core::Result<()> {
/// use abyme_core::inputs;
///
/// let run = rlm
///     .run(inputs! { docs: "a very long text", query: "modules" })
///     .limits(|limits| limits.max_iterations(5).max_cost(0.5))
///     .label("nightly")
///     .trace("run.jsonl");
/// let handle = run.cancel_handle(); // to end it from elsewhere
/// let answer = run.await?;
/// # Ok(()) }
/// ```
///
/// Dropping the future stops everything: the model call, the cell with its host calls, and the session.
///
/// # Errors
/// The run ends with an error of kind
/// - [`InvalidInput`](ErrorKind::InvalidInput), before anything starts, if inputs are missing or unknown (all
///   are named) or do not fit their types; [`Config`](ErrorKind::Config) for limits that cannot work and
///   outside of a tokio runtime, and [`Io`](ErrorKind::Io) if the trace cannot be written;
/// - [`Unavailable`](ErrorKind::Unavailable) if no session starts;
/// - [`SessionEnded`](ErrorKind::SessionEnded) if sessions keep dying and the extract call gives no outputs
///   that fit;
/// - the model's error if it fails for good;
/// - [`LimitReached`](ErrorKind::LimitReached) if a limit is reached and the extract call gives no outputs
///   that fit;
/// - [`Cancelled`](ErrorKind::Cancelled) if a [`CancelHandle`] ended it.
///
/// All but the first carry the run's [trajectory](Error::trajectory), and with it what was done and what it
/// [used](crate::Trajectory::usage); their `Debug` names the trace, where there is one. A run that is dropped
/// records its end too.
#[derive(Debug)]
#[must_use = "a run does nothing until it is awaited"]
pub struct Run<O = IndexMap<String, Value>> {
    output: PhantomData<fn() -> O>,
    pub(super) config: Arc<RlmConfig>,
    begin: Begin,
    limits: Limits,
    sinks: Vec<Arc<dyn EventSink>>,
    trace: Option<PathBuf>,
    /// Where its session is kept. None if that was not said.
    snapshots: Option<Option<SessionSnapshots>>,
    label: Option<String>,
    id: String,
    cancel: CancelHandle,
    /// The conversation that it is a question of.
    conversation: Option<(Arc<SharedConversation>, ConversationLimits)>,
    decide_effect: Option<EffectDecider>,
    pub(super) forks: ForkServer,
}

/// The future of a [`Run`].
pub type RunFuture<O = IndexMap<String, Value>> = Pin<Box<dyn Future<Output = Result<Prediction<O>>> + Send>>;

impl<O> Run<O> {
    pub(super) fn new(config: Arc<RlmConfig>, begin: Begin, id: String) -> Self {
        let (limits, label) = begin.recorded().unwrap_or((&config.limits, None));
        Self {
            output: PhantomData,
            limits: limits.clone(),
            sinks: config.sinks.clone(),
            trace: None,
            snapshots: None,
            label: label.map(str::to_owned),
            decide_effect: None,
            forks: ForkServer::default(),
            begin,
            id,
            cancel: CancelHandle::new(),
            conversation: None,
            config,
        }
    }

    /// Makes the run a question of a conversation.
    pub(super) fn in_conversation(
        mut self,
        conversation: Arc<SharedConversation>,
        limits: ConversationLimits,
    ) -> Self {
        self.conversation = Some((conversation, limits));
        self
    }

    /// Lets a replay go on live from the first difference, so that a changed prompt costs only what is new.
    /// Other runs are live anyway.
    pub fn live(mut self) -> Self {
        if let Begin::Recorded(Ok(GivenRecord { how: How::Replay { live }, .. })) = &mut self.begin {
            *live = true;
        }
        self
    }

    /// Decides about calls of tools that [write](crate::Effect::Write), which the record of this run has and
    /// which may be made once more when it goes on: those that had begun when the record ended, of which it
    /// is not known whether they took effect; and those that a cell, which runs again, does not make again
    /// while it makes others in their place. Without it such a run does not go on.
    pub fn on_unfinished_effect(
        mut self,
        decide: impl Fn(&UnfinishedEffect) -> EffectDecision + Send + Sync + 'static,
    ) -> Self {
        self.decide_effect = Some(EffectDecider(Arc::new(decide)));
        self
    }

    /// Has this run ask `approve` before it calls a tool with an effect: see
    /// [`RlmBuilder::approve_tools`](crate::RlmBuilder::approve_tools), in whose place it is.
    pub fn approve_tools<F, Fut>(mut self, approve: F) -> Self
    where
        F: Fn(ApprovalRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Approval> + Send + 'static,
    {
        let approver = Some(Approver::new(approve));
        self.config = Arc::new(RlmConfig { approver, ..(*self.config).clone() });
        self
    }

    /// Changes the limits of this run. They start as those of the [`Rlm`](crate::Rlm), or as those that the
    /// run it goes on from, or does again, had last.
    ///
    /// A record says from where on which limits held, and a replay goes by them there; what is changed here
    /// holds for all of it. A run that goes on decides by the limits that it has now, also in its record, and
    /// may be led elsewhere by them.
    pub fn limits(mut self, change: impl FnOnce(Limits) -> Limits) -> Self {
        self.limits = change(self.limits);
        self
    }

    /// Writes the trajectory of this run to a file as it happens: see [`TrajectoryWriter`]. The file is made
    /// when the run starts, and replaces one of that name.
    pub fn trace(mut self, path: impl Into<PathBuf>) -> Self {
        self.trace = Some(path.into());
        self
    }

    /// Sets where and how often the session of this run is kept, or that it is not. Default: beside its
    /// [`trace`](Self::trace) or the file that it goes on in, where there is one, as [`SessionSnapshots`] has
    /// it. A question of a conversation has no session of its own to keep.
    pub fn snapshots(mut self, snapshots: impl Into<Option<SessionSnapshots>>) -> Self {
        self.snapshots = Some(snapshots.into());
        self
    }

    /// Shows every event of this run to `sink`, as it happens.
    pub fn on_event(mut self, sink: impl EventSink + 'static) -> Self {
        self.sinks.push(Arc::new(sink));
        self
    }

    /// Names this run: in its [`RunStarted`](crate::Event::RunStarted) event and in its tracing span.
    pub fn label(mut self, text: impl Into<String>) -> Self {
        self.label = Some(text.into());
        self
    }

    /// The id of this run, 16 hexadecimal digits: the one that all its [records](Record::run) carry. It is
    /// made at random.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The events of this run as a stream. It ends when the run's future is done or dropped. Beside the
    /// events that are recorded it gives the replies of the model as they come, in pieces
    /// ([`Event::ModelText`](crate::Event::ModelText)).
    ///
    /// ```no_run
    /// # async fn example(rlm: abyme_core::Rlm) -> abyme_core::Result<()> {
    /// use abyme_core::inputs;
    ///
    /// let mut run = rlm.run(inputs! { docs: "a very long text" });
    /// let mut events = run.events();
    /// let run = tokio::spawn(run.into_future());
    /// while let Some(record) = events.next_record().await {
    ///     println!("{:6.1} s  {:?}", record.at, record.event);
    /// }
    /// let answer = run.await.expect("the run does not panic")?;
    /// # Ok(()) }
    /// ```
    pub fn events(&mut self) -> EventStream {
        let (sender, records) = mpsc::unbounded_channel();
        self.sinks.push(Arc::new(StreamSink(sender)));
        EventStream { records }
    }

    /// A handle that ends this run from elsewhere, at once or with what it knows.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.cancel.clone()
    }

    async fn finish(self) -> Result<Prediction<()>> {
        let Self {
            output: _,
            config,
            begin,
            limits,
            mut sinks,
            trace,
            snapshots,
            label,
            id,
            cancel,
            decide_effect,
            forks,
            conversation,
        } = self;
        HomeRuntime::current()?;
        let (mut beginning, mut question, limits) = match conversation {
            None => (begin.checked(&config, trace.is_some())?, None, limits),
            Some((conversation, of_all)) => {
                let mut beginning = begin.asked(&config)?;
                let given = beginning.given(&config);
                let preview = beginning.max_preview_chars(&limits);
                let begun = conversation.begin(&given, &limits, of_all, preview);
                let question = unless(pin!(cancel.cancelled()), begun).await?;
                beginning.complete(&question.inputs)?;
                let limits = question.limits.clone();
                (beginning, Some(question), limits)
            }
        };
        let is_recorded = beginning.is_recorded();
        let snapshots = snapshots.unwrap_or_else(|| {
            let record = trace.clone().or_else(|| beginning.file().map(Path::to_owned));
            record.map(SessionSnapshots::beside)
        });
        let snapshots = snapshots.filter(|_| question.is_none());
        limits.check()?;
        config.check_prices(&limits)?;
        if let Some(path) = &trace {
            let file = create_trace(path.clone()).await?;
            beginning.show_past(&file);
            sinks.push(Arc::new(file));
        }
        let given = beginning.take_session();
        let is_given = given.is_some();
        let holder = SessionHolder::new(given);
        let summaries = config.summaries();
        let recorder = beginning.recorder(id, sinks, Terms { limits, summaries });
        let Beginning { inputs, seed, session_unix_ms, forked_from, .. } = beginning;
        let budget = Budget::root(recorder.terms(), recorder.clock());
        if let Some(question) = &mut question {
            question.start(&budget);
        }
        let effects = Effects::new(decide_effect);
        let parts = RunParts {
            config: &config,
            inputs: &inputs,
            budget: &budget,
            recorder: &recorder,
            tool_uses: &tool::unused(&config.tools),
            label: label.as_deref(),
            session: question.as_ref().map(OpenQuestion::session).or(is_given.then_some(&holder)),
            earlier: question.as_ref().map(|question| &question.earlier),
            forks: Some(&forks),
            parent: None,
            seed,
            session_unix_ms,
            snapshots: snapshots.as_ref(),
            effects: &effects,
            forked_from: forked_from.as_ref(),
            finish: Some(&cancel),
        };
        let usage = || budget.usage();
        let over = OnDrop::new(|| forks.end(recorder.trajectory()));
        let stopped = async {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = effects.refused() => {}
            }
        };
        let ended = execute(parts, stopped).await;
        drop(over);
        if let Some(question) = question {
            match &ended {
                // What it goes on from was refused, before anything was asked.
                Err(error)
                    if is_recorded && error.kind() == ErrorKind::InvalidInput && recorder.is_following() =>
                {
                    question.withdraw();
                }
                _ => question.end(ended.as_ref().ok(), &recorder.trajectory()),
            }
        }
        if let Some(mut kept) = holder.lock().await.take()
            && let Err(error) = kept.session.shutdown().await
        {
            tracing::warn!(%error, "the session did not shut down cleanly");
        }
        let ended = match ended.and_then(|ended| recorder.check_same().map(|()| ended)) {
            Ok((outputs, status)) => {
                let difference = recorder.past().and_then(|past| past.tree().difference());
                let prediction = Prediction::new(outputs, status, usage(), recorder.trajectory());
                Ok(prediction.with_difference(difference))
            }
            Err(error) => {
                let turns = budget.iterations();
                let error = error.with("run", recorder.run()).with("turns", turns).with("used", usage());
                let error = match advice(error.kind()) {
                    Some(advice) => error.with("hint", advice),
                    None => error,
                };
                let error = match &trace {
                    Some(path) => error.with("trace", path.display()),
                    None => error,
                };
                Err(error.with_trajectory(recorder.trajectory()))
            }
        };
        recorder.flush().await;
        ended
    }
}

impl<O: DeserializeOwned + 'static> Run<O> {
    /// Awaits the run, and cancels it when `stop` is done: then it ends its session and its record, for which
    /// it has the `grace`, or as long as it takes.
    ///
    /// ```no_run
    /// # async fn example(rlm: abyme_core::Rlm, gone: impl Future<Output = ()>) -> abyme_core::Result<()> {
    /// use std::time::Duration;
    ///
    /// use abyme_core::inputs;
    ///
    /// // `gone` ends with the client that asked.
    /// let answer = rlm.run(inputs! { docs: "a very long text" }).until(gone, Duration::from_secs(5)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`] after `stop`, with the record unless the grace is over; and those of any run.
    pub async fn until(
        self,
        stop: impl Future<Output = ()>,
        grace: impl Into<Option<Duration>>,
    ) -> Result<Prediction<O>> {
        let handle = self.cancel_handle();
        let mut running = self.into_future();
        tokio::select! {
            ended = &mut running => return ended,
            () = stop => handle.cancel(),
        }
        match grace.into() {
            None => running.await,
            Some(grace) => tokio::time::timeout(grace, running).await.unwrap_or_else(|_| {
                let message = "the run was cancelled, and did not end in time";
                Err(Error::new(ErrorKind::Cancelled, message))
            }),
        }
    }
}

impl<O: DeserializeOwned + 'static> IntoFuture for Run<O> {
    type Output = Result<Prediction<O>>;
    type IntoFuture = RunFuture<O>;

    fn into_future(self) -> RunFuture<O> {
        let span = telemetry::run(&self.id, self.label.as_deref(), &self.config.signature);
        Box::pin(async move {
            let prediction = telemetry::within(&span, Box::pin(self.finish())).await?;
            telemetry::used(&span, prediction.usage());
            prediction.typed()
        })
    }
}

/// What to do about the error that a run ended in.
fn advice(kind: ErrorKind) -> Option<&'static str> {
    use ErrorKind::*;
    Some(match kind {
        LimitReached => {
            "raise the limit that was reached, or ask for less; the trajectory has what was found"
        }
        RateLimited { .. } => {
            "run it later, or with a smaller `max_concurrent_calls` or a larger `max_total_backoff`"
        }
        QuotaExceeded => "the account needs credit, or a higher quota",
        ModelTimeout => "raise `model_timeout`, or use a faster model",
        Auth => "check the key, and that it may use this model",
        ContextTooLong => {
            "use a model with a longer context, or lower `max_output_chars` and `max_preview_chars`"
        }
        BadRequest => "check the model's name and its settings; this server may want others",
        ContentRefused => "use another model, or leave out of the inputs what its filter refuses",
        Server | Connection => "check that the server is there, and run it again",
        MalformedReply => "check that the model's address is that of a chat completions API",
        SessionEnded | Protocol => {
            "the trajectory's last cell ended the session; more memory or another backend may help"
        }
        Unavailable => "check that the backend has what it needs on this machine, and run it again",
        Cancelled => "the trajectory has what was found until then",
        _ => return None,
    })
}

/// Makes the file on a thread that may wait for the disk.
async fn create_trace(path: PathBuf) -> Result<TrajectoryWriter> {
    let created = tokio::task::spawn_blocking(move || TrajectoryWriter::create(path)).await;
    created.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Internal, "the trace could not be created").with_source(error))
    })
}

/// The events of one run, as they happen. Made by [`Run::events`].
///
/// Events that were not read yet are kept, so a slow reader misses none.
#[derive(Debug)]
pub struct EventStream {
    records: mpsc::UnboundedReceiver<Arc<Record>>,
}

impl EventStream {
    /// The next event, or `None` at the end: what [`Stream`] gives, for programs without stream combinators.
    pub async fn next_record(&mut self) -> Option<Arc<Record>> {
        self.records.recv().await
    }
}

impl Stream for EventStream {
    type Item = Arc<Record>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Arc<Record>>> {
        self.get_mut().records.poll_recv(context)
    }
}

/// Sends events to an [`EventStream`].
#[derive(Debug)]
struct StreamSink(mpsc::UnboundedSender<Arc<Record>>);

#[async_trait]
impl EventSink for StreamSink {
    fn record(&self, record: &Arc<Record>) {
        // Fails if nobody reads the events any more.
        self.0.send(record.clone()).ok();
    }

    fn piece(&self, piece: &Arc<Record>) {
        self.record(piece);
    }

    fn wants_pieces(&self) -> bool {
        true
    }
}
