//! One run: turns until a submission, a limit, or an error.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use indexmap::IndexMap;
use tracing::Instrument;

use super::{Inputs, Prediction, Shared, Status, budget::Budget, builtins, host::RunHost};
use crate::{
    Cell, CodeInterpreter, Error, ErrorKind, Event, FinishReason, Message, NoHostFunctions, Observation,
    Request, Response, Result, Role, Session, Submission, Submitted, Value,
    prompt::{
        self, Opening, render_observation,
        reply::{self, Reply},
    },
    trajectory::{InputSummary, Purpose, Recorder},
};

/// How often a session may die before the run gives up.
const MAX_SESSIONS_LOST: u32 = 2;

/// The state of one run.
pub(super) struct Run<'a> {
    pub(super) shared: &'a Shared,
    inputs: &'a Inputs,
    pub(super) recorder: Recorder,
    pub(super) budget: Budget,
    pub(super) messages: Vec<Message>,
    pub(super) turn: u32,
    sessions_lost: u32,
    replies_without_code: u32,
    /// What the next request adds as the user's message. Not sent yet, so an extract call may still add to it.
    pub(super) pending: String,
    /// Whether the reply in progress repairs a cell that did not compile.
    repairing: bool,
}

/// What a reply or a cell means for the run.
enum Step {
    /// Go on, with this as the next user message.
    Continue(String),
    /// The run is over.
    Done(IndexMap<String, Value>, Status),
    /// A limit was reached in the middle of a turn.
    Exhausted(Status),
}

impl<'a> Run<'a> {
    pub(super) fn new(shared: &'a Shared, inputs: &'a Inputs) -> Self {
        Self {
            shared,
            inputs,
            recorder: Recorder::new(shared.sinks.clone()),
            budget: Budget::new(&shared.limits),
            messages: Vec::new(),
            turn: 0,
            sessions_lost: 0,
            replies_without_code: 0,
            pending: String::new(),
            repairing: false,
        }
    }

    /// Runs to the end, and closes the record whatever that end is.
    pub(super) async fn finish(mut self) -> Result<Prediction> {
        self.open();
        let ended = self.turns().await;
        let usage = self.budget.usage();
        match ended {
            Ok((outputs, status)) => {
                self.recorder.record(Event::RunFinished {
                    status,
                    outputs: outputs.clone(),
                    usage,
                    turns: self.turn,
                });
                Ok(Prediction::new(outputs, status, usage, self.recorder.trajectory()))
            }
            Err(error) => {
                self.recorder.record(Event::RunFailed { error: error.to_string(), usage, turns: self.turn });
                Err(error.with_trajectory(self.recorder.trajectory()))
            }
        }
    }

    /// Writes the first messages.
    fn open(&mut self) {
        let shared = self.shared;
        let tools: Vec<_> = shared.tools.iter().map(|tool| tool.spec().clone()).collect();
        self.messages = prompt::opening(&Opening {
            signature: &shared.signature,
            inputs: self.inputs,
            builtins: &builtins::described(),
            tools: &tools,
            python_tools: &shared.python_tools,
            capabilities: shared.factory.capabilities(),
            limits: &shared.limits,
        });
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.recorder.record(Event::RunStarted {
            abyme: env!("CARGO_PKG_VERSION").to_owned(),
            unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX),
            signature: shared.signature.clone(),
            inputs: self.inputs.iter().map(|(name, value)| summary(name, value)).collect(),
            model: shared.model.name().to_owned(),
            sub_model: shared.sub_model.name().to_owned(),
            interpreter: shared.factory.name().to_owned(),
            limits: shared.limits.clone(),
            messages: self.messages.clone(),
        });
    }

    /// Opens a session, takes turns in it, and shuts it down on every path. (A dropped future drops the session,
    /// which releases everything: C1.)
    async fn turns(&mut self) -> Result<(IndexMap<String, Value>, Status)> {
        let mut session = self.open_session().await?;
        let ended = self.turns_in(&mut session).await;
        if let Err(error) = session.shutdown().await {
            tracing::warn!(%error, "the session did not shut down cleanly");
        }
        ended
    }

    async fn turns_in(&mut self, session: &mut Session) -> Result<(IndexMap<String, Value>, Status)> {
        loop {
            // A repair takes no iteration, but the run's time, tokens and money count for it too.
            let reserved = match self.repairing {
                true => self.budget.exhausted_now().map_or(Ok(()), Err),
                false => self.budget.reserve_iteration(),
            };
            if let Err(limit) = reserved {
                return self.extract(limit).await;
            }
            self.turn += u32::from(!self.repairing);
            let span = tracing::info_span!("turn", number = self.turn);
            match self.take_turn(session).instrument(span).await? {
                Step::Continue(message) => self.pending = message,
                Step::Done(outputs, status) => return Ok((outputs, status)),
                Step::Exhausted(limit) => return self.extract(limit).await,
            }
        }
    }

    /// One turn: asks the root model for a cell and acts on its reply.
    async fn take_turn(&mut self, session: &mut Session) -> Result<Step> {
        let purpose = if self.repairing { Purpose::Repair } else { Purpose::Act };
        match self.ask(purpose).await {
            Ok(response) => self.act_on(session, response).await,
            // The run's own time cut the call or its retries off; that is a limit, not the model's failure.
            Err(error) => match self.budget.exhausted_now() {
                Some(limit) if error.kind().is_temporary() => Ok(Step::Exhausted(limit)),
                _ => Err(error),
            },
        }
    }

    /// Sends the conversation to the root model and records its reply.
    pub(super) async fn ask(&mut self, purpose: Purpose) -> Result<Response> {
        self.send_pending();
        let host = RunHost::new(self.shared, &self.budget, &self.recorder);
        let request = Request::new(self.messages.clone());
        let started = Instant::now();
        let response = match purpose {
            Purpose::Extract => host.ask_at_the_end(&request).await?,
            _ => host.ask(&*self.shared.model, &request).await?,
        };
        self.recorder.record(Event::ModelReplied {
            turn: self.turn,
            purpose,
            text: response.text.clone(),
            finish_reason: response.finish_reason.clone(),
            usage: response.usage,
            seconds: started.elapsed().as_secs_f64(),
        });
        Ok(response)
    }

    /// Acts on a reply of the root model.
    async fn act_on(&mut self, session: &mut Session, response: Response) -> Result<Step> {
        let Response { text, finish_reason, .. } = response;
        let repairing = std::mem::take(&mut self.repairing);
        match reply::parse_reply(&text) {
            Reply::Code { reasoning, code, ignored_blocks } => {
                self.replies_without_code = 0;
                let shown = match reasoning.trim() {
                    "" => reply::fence(&code),
                    reasoning => format!("{reasoning}\n\n{}", reply::fence(&code)),
                };
                self.say(Message::assistant(shown));
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
                let signature = &self.shared.signature;
                let is_whole = !answer.trim().is_empty() && finish_reason != FinishReason::Length;
                let mut message = match self.replies_without_code {
                    1 => prompt::nudge(signature, &remaining),
                    _ if prompt::takes_prose(signature) && is_whole => {
                        let name = signature.outputs()[0].name().to_owned();
                        return Ok(Step::Done(
                            IndexMap::from([(name, Value::from(answer))]),
                            Status::Answered,
                        ));
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

    /// Runs a cell and says what comes of it.
    async fn run_cell(&mut self, session: &mut Session, code: String, repairing: bool) -> Result<Step> {
        let limits = &self.shared.limits;
        let cell = Cell::new(code)
            .scope(self.shared.scope.clone())
            .timeout(self.budget.within_run(limits.cell_timeout))
            .max_output_chars(limits.max_output_chars);
        let observation = self.execute(session, cell).await?;
        if observation.is_syntax_error() && !repairing {
            self.repairing = true;
            let traceback = observation.error.map(|error| error.traceback).unwrap_or_default();
            return Ok(Step::Continue(prompt::syntax_error(&traceback)));
        }
        let mut shown = render_observation(&observation, limits.max_output_chars);
        if let Some(submission) = observation.submission {
            match self.coerce(&submission) {
                Ok(outputs) => return Ok(Step::Done(outputs, Status::Submitted)),
                Err(problems) => {
                    self.recorder.record(Event::SubmissionRefused {
                        turn: self.turn,
                        via: submission.via,
                        problems: problems.clone(),
                    });
                    shown = format!("{shown}\n{}", prompt::refused(&problems, &self.shared.signature));
                }
            }
        }
        if let Some(reason) = observation.session_ended {
            match self.replace_session(session, &reason).await? {
                Some(note) => shown = format!("{shown}\n{note}"),
                None => {
                    self.pending = shown;
                    return Ok(Step::Exhausted(self.budget.exhausted_now().unwrap_or(Status::MaxTime)));
                }
            }
        }
        Ok(Step::Continue(prompt::after_cell(&shown, &self.budget.remaining())))
    }

    /// Runs a cell; a session that dies in it becomes an observation, as far as the model is concerned.
    async fn execute(&mut self, session: &mut Session, cell: Cell) -> Result<Observation> {
        let host = RunHost::new(self.shared, &self.budget, &self.recorder);
        host.set_turn(self.turn);
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
        // As exact as it is written, so that a record reads back as it was.
        observation.duration =
            Duration::from_micros(observation.duration.as_micros().try_into().unwrap_or(u64::MAX));
        self.recorder.record(Event::CellFinished { turn: self.turn, observation: observation.clone() });
        Ok(observation)
    }

    /// A fresh session in place of one that died, with the inputs put in again; `None` if the run is at a limit and
    /// needs no other.
    async fn replace_session(&mut self, session: &mut Session, reason: &str) -> Result<Option<String>> {
        self.recorder.record(Event::SessionLost { turn: self.turn, reason: reason.to_owned() });
        self.sessions_lost += 1;
        if self.sessions_lost > MAX_SESSIONS_LOST {
            let message = format!("the session died {} times; the last time: {reason}", self.sessions_lost);
            return Err(Error::new(ErrorKind::SessionEnded, message).operation("Rlm::run"));
        }
        if self.budget.exhausted_now().is_some() {
            return Ok(None);
        }
        *session = self.open_session().await?;
        Ok(Some(prompt::session_lost(reason)))
    }

    /// A session with the inputs and the user's Python tools in it.
    async fn open_session(&self) -> Result<Session> {
        let shared = self.shared;
        let mut session = Session::new(shared.factory.create().await?).with_policy(shared.policy.clone());
        session.start().await?;
        let inputs = self.inputs.iter().map(|(name, value)| (name.to_owned(), value.clone()));
        let cell = Cell::new("")
            .variables(inputs)
            .scope(shared.scope.clone())
            .timeout(self.budget.within_run(shared.limits.cell_timeout));
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
        let signature = &self.shared.signature;
        match &submission.submitted {
            Submitted::Fields(fields) => signature.coerce_outputs(fields.clone()),
            Submitted::Value(value) => signature.coerce_single(value.clone()),
        }
        .map_err(|problems| problems.to_string())
    }

    /// Sends what is pending along with the next request.
    ///
    /// Two messages of the user in a row are made one, because many chat templates take no others: after a failed
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

    /// Appends a message to the conversation. Nothing is ever changed or taken out.
    pub(super) fn say(&mut self, message: Message) {
        self.recorder.record(Event::MessageAppended { turn: self.turn, message: message.clone() });
        self.messages.push(message);
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
