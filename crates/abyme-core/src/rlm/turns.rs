//! The loop of one run: turns until a submission, a limit, or an error.

use std::{
    pin::{Pin, pin},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use abyme_python_syntax::{Reply, fence, parse_reply};
use indexmap::IndexMap;
use tracing::Instrument;

use super::{
    budget::Budget, builtins, caller::ModelCaller, config::RlmConfig, extract::read_outputs, host::CellHost,
};
use crate::{
    error::{Error, ErrorKind, Result},
    inputs::Inputs,
    interpreter::{
        Cell, CodeInterpreter, NoHostFunctions, Observation, Session, Submission, Submitted,
        render_observation,
    },
    limits::Limits,
    model::{FinishReason, Message, Response, Role},
    prompt::{self, FirstMessages},
    status::{Limit, Status},
    trajectory::{Event, InputSummary, Purpose, Recorder},
    value::Value,
};

/// How often a session may die before the run gives up.
const MAX_SESSIONS_LOST: u32 = 2;
/// Extract calls before the run gives up: one, and one with the problems of the first.
const MAX_EXTRACT_CALLS: u32 = 2;

/// The outputs of a run and how it ended.
type Outputs = (IndexMap<String, Value>, Status);

/// The state of one run: its conversation, and what it counts.
pub(super) struct Turns<'a> {
    config: &'a RlmConfig,
    inputs: &'a Inputs,
    limits: &'a Limits,
    caller: ModelCaller<'a>,
    budget: &'a Budget,
    recorder: &'a Recorder,
    messages: Vec<Message>,
    turn: u32,
    sessions_lost: u32,
    replies_without_code: u32,
    /// The user's message of the next request. Not sent yet, so an extract call may still add to it.
    pending: String,
    /// Whether the reply in progress repairs a cell that did not compile.
    repairing: bool,
}

/// What a reply or a cell means for the run.
enum Step {
    /// Go on, with this as the next user message.
    Continue(String),
    /// The run is over.
    Done(Outputs),
    /// A limit was reached in the middle of a turn.
    LimitReached(Limit),
}

impl<'a> Turns<'a> {
    pub(super) fn new(
        config: &'a RlmConfig,
        inputs: &'a Inputs,
        limits: &'a Limits,
        caller: ModelCaller<'a>,
    ) -> Self {
        Self {
            config,
            inputs,
            limits,
            budget: caller.budget(),
            recorder: caller.recorder(),
            caller,
            messages: Vec::new(),
            turn: 0,
            sessions_lost: 0,
            replies_without_code: 0,
            pending: String::new(),
            repairing: false,
        }
    }

    /// How many turns were taken.
    pub(super) fn number(&self) -> u32 {
        self.turn
    }

    /// Writes the first messages.
    pub(super) fn open(&mut self, label: Option<String>) {
        let config = self.config;
        let tools: Vec<_> = config.tools.iter().map(|tool| tool.spec().clone()).collect();
        self.messages = prompt::first_messages(&FirstMessages {
            signature: &config.signature,
            inputs: self.inputs,
            builtins: &builtins::described(),
            tools: &tools,
            python_tools: &config.python_tools,
            capabilities: config.factory.capabilities(),
            limits: self.limits,
        });
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.recorder.record(Event::RunStarted {
            abyme: env!("CARGO_PKG_VERSION").to_owned(),
            unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX),
            label,
            signature: config.signature.clone(),
            inputs: self.inputs.iter().map(|(name, value)| summary(name, value)).collect(),
            model: config.model.name().to_owned(),
            sub_model: config.sub_model.name().to_owned(),
            interpreter: config.factory.name().to_owned(),
            limits: self.limits.clone(),
            messages: self.messages.clone(),
        });
    }

    /// Opens a session, takes turns in it until the run ends or is `cancelled`, and shuts it down on every
    /// path. (A dropped future drops the session, which releases everything: C1.)
    pub(super) async fn take(&mut self, cancelled: impl Future<Output = ()>) -> Result<Outputs> {
        let mut cancelled = pin!(cancelled);
        let mut session = unless(cancelled.as_mut(), self.open_session()).await?;
        let ended = unless(cancelled, self.take_in(&mut session)).await;
        if let Err(error) = session.shutdown().await {
            tracing::warn!(%error, "the session did not shut down cleanly");
        }
        ended
    }

    async fn take_in(&mut self, session: &mut Session) -> Result<Outputs> {
        loop {
            // A repair takes no iteration, but the run's time, tokens and money count for it too.
            let limit = match self.repairing {
                true => self.budget.exhausted_now(),
                false => self.budget.reserve_iteration().err(),
            };
            if let Some(limit) = limit {
                return self.extract(limit).await;
            }
            self.turn += u32::from(!self.repairing);
            let span = tracing::info_span!("turn", number = self.turn);
            match self.take_turn(session).instrument(span).await? {
                Step::Continue(message) => self.pending = message,
                Step::Done(outputs) => return Ok(outputs),
                Step::LimitReached(limit) => return self.extract(limit).await,
            }
        }
    }

    /// One turn: asks the root model for a cell and acts on its reply.
    async fn take_turn(&mut self, session: &mut Session) -> Result<Step> {
        let purpose = if self.repairing { Purpose::Repair } else { Purpose::Act };
        match self.ask(purpose).await {
            Ok(response) => self.act_on(session, response).await,
            // The run's own time cut off the call or its retries. That is a limit, not the model's failure.
            Err(error) => match self.budget.exhausted_now() {
                Some(limit) if error.kind().is_temporary() => Ok(Step::LimitReached(limit)),
                _ => Err(error),
            },
        }
    }

    /// Sends the conversation to the root model.
    async fn ask(&mut self, purpose: Purpose) -> Result<Response> {
        self.send_pending();
        self.caller.root(self.turn, purpose, &self.messages).await
    }

    /// Asks the model for the outputs as JSON, because `limit` is reached.
    ///
    /// The extract call is not subject to the limit that led to it. If the time is over, it has a minute.
    async fn extract(&mut self, limit: Limit) -> Result<Outputs> {
        let signature = &self.config.signature;
        let reason = self.budget.describe(limit);
        let mut ask = prompt::extract(&reason, signature);
        let mut problems = String::new();
        for _ in 0..MAX_EXTRACT_CALLS {
            self.pending = match std::mem::take(&mut self.pending) {
                earlier if earlier.is_empty() => ask,
                earlier => format!("{earlier}\n\n{ask}"),
            };
            let reply = self.ask(Purpose::Extract).await;
            let Response { text, .. } =
                reply.map_err(|error| error.context(format!("{reason}, and the extract call failed")))?;
            let outputs = read_outputs(signature, &text);
            self.say(Message::assistant(text));
            match outputs {
                Ok(outputs) => return Ok((outputs, Status::LimitReached(limit))),
                Err(misfits) => problems = misfits,
            }
            ask = prompt::extract_again(&problems);
        }
        let message = format!("{reason}, and the model gave no outputs that fit: {}", problems.trim_end());
        Err(Error::new(ErrorKind::LimitReached, message).operation("Rlm::run").with("limit", limit))
    }

    /// Acts on a reply of the root model.
    async fn act_on(&mut self, session: &mut Session, response: Response) -> Result<Step> {
        let Response { text, finish_reason, .. } = response;
        let repairing = std::mem::take(&mut self.repairing);
        match parse_reply(&text) {
            Reply::Code { reasoning, code, ignored_blocks } => {
                self.replies_without_code = 0;
                let message = match reasoning.trim() {
                    "" => fence(&code),
                    reasoning => format!("{reasoning}\n\n{}", fence(&code)),
                };
                self.say(Message::assistant(message));
                self.recorder.record(Event::CellStarted { turn: self.turn, reasoning, code: code.clone() });
                let mut step = self.run_cell(session, code, repairing).await?;
                if let Step::Continue(message) = &mut step {
                    if ignored_blocks > 0 {
                        message.push_str(
                            "\n(Only the first code block of a reply runs; the later ones were left out.)",
                        );
                    }
                    note_cut(message, &finish_reason);
                }
                Ok(step)
            }
            Reply::Text(answer) => {
                // Some servers refuse a message without content.
                self.say(Message::assistant(if answer.is_empty() { "(no reply)" } else { &answer }));
                self.replies_without_code += 1;
                let remaining = self.budget.remaining();
                let signature = &self.config.signature;
                let is_whole = !answer.trim().is_empty() && finish_reason != FinishReason::Length;
                let mut message = match self.replies_without_code {
                    1 => prompt::nudge(signature, &remaining),
                    _ if prompt::takes_prose(signature) && is_whole => {
                        let name = signature.outputs()[0].name().to_owned();
                        let outputs = IndexMap::from([(name, Value::from(answer))]);
                        return Ok(Step::Done((outputs, Status::Answered)));
                    }
                    _ => prompt::no_code(signature, &remaining),
                };
                note_cut(&mut message, &finish_reason);
                Ok(Step::Continue(message))
            }
            Reply::OtherLanguage { tag, .. } => {
                self.say(Message::assistant(text));
                Ok(Step::Continue(prompt::other_language(&tag, &self.budget.remaining())))
            }
        }
    }

    /// Runs a cell and decides what its observation means for the run.
    async fn run_cell(&mut self, session: &mut Session, code: String, repairing: bool) -> Result<Step> {
        let limits = self.limits;
        let cell = Cell::new(code)
            .scope(self.config.scope.clone())
            .timeout(self.budget.within_run(limits.cell_timeout))
            .max_output_chars(limits.max_output_chars);
        let observation = self.execute(session, cell).await?;
        if observation.is_syntax_error() && !repairing {
            self.repairing = true;
            let traceback = observation.error.map(|error| error.traceback).unwrap_or_default();
            return Ok(Step::Continue(prompt::syntax_error(&traceback)));
        }
        let mut observed = render_observation(&observation, limits.max_output_chars);
        if let Some(submission) = observation.submission {
            match self.coerce(&submission) {
                Ok(outputs) => return Ok(Step::Done((outputs, Status::Submitted))),
                Err(problems) => {
                    self.recorder.record(Event::SubmissionRefused {
                        turn: self.turn,
                        via: submission.via,
                        problems: problems.clone(),
                    });
                    observed = format!("{observed}\n{}", prompt::refused(&problems, &self.config.signature));
                }
            }
        }
        if let Some(reason) = observation.session_ended {
            self.count_lost_session(&reason)?;
            if let Some(limit) = self.budget.exhausted_now() {
                // The run needs no other session.
                self.pending = observed;
                return Ok(Step::LimitReached(limit));
            }
            *session = self.open_session().await?;
            observed = format!("{observed}\n{}", prompt::session_lost(&reason));
        }
        Ok(Step::Continue(prompt::after_cell(&observed, &self.budget.remaining())))
    }

    /// Runs a cell. If the session dies in it, that is an observation too: the model reads of it.
    async fn execute(&mut self, session: &mut Session, cell: Cell) -> Result<Observation> {
        let host = CellHost::new(&self.caller, &self.config.tools, self.turn);
        let span = tracing::info_span!("cell", turn = self.turn);
        let started = Instant::now();
        let mut observation = match session.execute(cell, &host).instrument(span).await {
            Ok(observation) => observation,
            Err(error) if error.is_session_lost() => Observation {
                session_ended: Some(error.message().to_owned()),
                duration: started.elapsed(),
                ..Observation::default()
            },
            Err(error) => return Err(error),
        };
        // Rounded as it is written, so that a record reads back equal.
        observation.duration =
            Duration::from_micros(observation.duration.as_micros().try_into().unwrap_or(u64::MAX));
        self.recorder.record(Event::CellFinished { turn: self.turn, observation: observation.clone() });
        Ok(observation)
    }

    /// Records that a session died. Fails if that was one too many.
    fn count_lost_session(&mut self, reason: &str) -> Result<()> {
        self.recorder.record(Event::SessionLost { turn: self.turn, reason: reason.to_owned() });
        self.sessions_lost += 1;
        if self.sessions_lost <= MAX_SESSIONS_LOST {
            return Ok(());
        }
        let message = format!("the session died {} times; the last time: {reason}", self.sessions_lost);
        Err(Error::new(ErrorKind::SessionEnded, message).operation("Rlm::run"))
    }

    /// A session with the inputs and the user's Python tools in it.
    async fn open_session(&self) -> Result<Session> {
        let config = self.config;
        let mut session = Session::new(config.factory.create().await?).policy(config.policy.clone());
        session.start().await?;
        let inputs = self.inputs.iter().map(|(name, value)| (name.to_owned(), value.clone()));
        let cell = Cell::new("")
            .variables(inputs)
            .scope(config.scope.clone())
            .timeout(self.budget.within_run(self.limits.cell_timeout));
        let observation = session.execute(cell, &NoHostFunctions).await?;
        if observation.interruption.is_some() {
            let (kind, limit) = match self.budget.exhausted_now() {
                Some(limit) => (ErrorKind::LimitReached, self.budget.describe(limit)),
                None => (ErrorKind::Unavailable, "it took longer than a cell may".to_owned()),
            };
            let message = format!("the session could not be set up with its inputs and tools: {limit}");
            return Err(Error::new(kind, message).operation("Rlm::run"));
        }
        if let Some(error) = observation.error {
            let message = format!("the session could not be set up: {}", error.traceback.trim_end());
            return Err(Error::new(ErrorKind::Config, message).operation("Rlm::run"));
        }
        if let Some(reason) = observation.session_ended.or(observation.restored) {
            let message = format!("the session could not be set up: {reason}");
            return Err(Error::new(ErrorKind::Unavailable, message).operation("Rlm::run"));
        }
        Ok(session)
    }

    /// The outputs of a submission, or what does not fit.
    fn coerce(&self, submission: &Submission) -> Result<IndexMap<String, Value>, String> {
        let signature = &self.config.signature;
        match &submission.submitted {
            Submitted::Fields(fields) => signature.coerce_outputs(fields.clone()),
            Submitted::Value(value) => signature.coerce_single(value.clone()),
        }
        .map_err(|problems| problems.to_string())
    }

    /// Appends the pending text to the conversation as the user's message.
    ///
    /// Two messages of the user in a row become one, because many chat templates refuse them: after a failed
    /// call the last message is the user's, and grows at its end.
    fn send_pending(&mut self) {
        let text = std::mem::take(&mut self.pending);
        if text.is_empty() {
            return;
        }
        match self.messages.last_mut() {
            Some(last) if last.role == Role::User && self.turn > 0 => {
                last.content.push_str("\n\n");
                last.content.push_str(&text);
                self.recorder
                    .record(Event::MessageAppended { turn: self.turn, message: Message::user(text) });
            }
            _ => self.say(Message::user(text)),
        }
    }

    /// Appends a message to the conversation. Earlier messages never change.
    fn say(&mut self, message: Message) {
        self.recorder.record(Event::MessageAppended { turn: self.turn, message: message.clone() });
        self.messages.push(message);
    }
}

/// Waits for `work`, unless the run is cancelled first: that drops the work.
async fn unless<T>(
    cancelled: Pin<&mut impl Future<Output = ()>>,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        biased;
        () = cancelled => {
            Err(Error::new(ErrorKind::Cancelled, "the run was cancelled").operation("Rlm::run"))
        }
        done = work => done,
    }
}

fn note_cut(message: &mut String, finish_reason: &FinishReason) {
    if *finish_reason == FinishReason::Length {
        message.push_str("\n(Your reply was cut off by its length limit.)");
    }
}

fn summary(name: &str, value: &Value) -> InputSummary {
    let len = match value {
        Value::Text(text) => Some(text.chars_len()),
        Value::Bytes(bytes) => Some(bytes.len()),
        Value::List(items) => Some(items.len()),
        Value::Dict(entries) => Some(entries.len()),
        _ => None,
    };
    InputSummary { name: name.to_owned(), type_name: value.type_name().to_owned(), len }
}
