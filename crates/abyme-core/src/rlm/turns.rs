//! The loop of one run: turns until a submission, a limit, or an error.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use abyme_python_syntax::visible_text;
use indexmap::IndexMap;
use tracing::Instrument;

use super::{
    budget::{Budget, CallSize, Reservation},
    builtins,
    caller::ModelCaller,
    compact::Compactor,
    config::RlmConfig,
    extract::read_outputs,
    guard::unless,
    host::CellHost,
    kept_session::{KeptSession, SessionSlot},
    objects,
    reply::{Reply, read_reply},
    start::{Outputs, RunParts, StartRun},
    transcript::Transcript,
};
use crate::{
    error::{Error, ErrorKind, Result},
    inputs::Inputs,
    interpreter::{
        Cell, CodeInterpreter, NoHostFunctions, Observation, Session, Stage, Submission, Submitted,
        render_observation,
    },
    limits::Limits,
    model::{FinishReason, Message, Response},
    prompt::{self, FirstMessages, PromptProfile},
    status::{Limit, Status},
    telemetry,
    trajectory::{Event, Purpose, Recorder},
    value::Value,
};

/// How often a session may die before the run gives up.
const MAX_SESSIONS_LOST: u32 = 2;
/// Extract calls before the run gives up: one, and one with the problems of the first.
const MAX_EXTRACT_CALLS: u32 = 2;
/// Replies that hold no cell that could run, before a run begins anew with the prompts for small models.
const MAX_LOST_REPLIES: u32 = 3;
/// Summaries in a row that failed before none is asked for any more.
const MAX_FAILED_SUMMARIES: u32 = 2;
/// Replies in a row that a content filter stopped, or that the length limit cut before their first word,
/// before the run's turns end.
const MAX_EMPTY_REPLIES: u32 = 3;

/// The state of one run: its transcript, and what it counts.
pub(super) struct Turns<'a> {
    parts: RunParts<'a>,
    config: &'a RlmConfig,
    inputs: &'a Inputs,
    limits: &'a Limits,
    caller: ModelCaller<'a>,
    start: &'a dyn StartRun,
    budget: &'a Arc<Budget>,
    recorder: &'a Recorder,
    transcript: Transcript<'a>,
    turn: u32,
    sessions_lost: u32,
    replies_without_code: u32,
    /// Replies in a row that a content filter stopped.
    filtered: u32,
    /// Replies in a row that the length limit cut before their first word.
    cut_empty: u32,
    /// Whether the reply in progress repairs a cell that did not compile.
    repairing: bool,
    /// The prompts that the transcript began with.
    profile: PromptProfile,
    /// Whether the model's server refuses requests that end with the beginning of a reply.
    refuses_prefill: bool,
    /// Replies so far without a cell that could run; `None` once one ran.
    lost_replies: Option<u32>,
    /// The last cell that ran.
    last_code: String,
    /// How often in a row the model was to summarise its turns, and did not.
    failed_summaries: u32,
    /// Whether the next cell has to bring the summarised turns into the session.
    history_due: bool,
}

/// What a reply or a cell means for the run.
enum Step {
    /// Go on, with this as the next user message.
    Continue(String),
    /// The run is over.
    Done(Outputs),
    /// No further turn is possible. The outputs come from what there is.
    Extract(End),
}

/// Why there are no further turns.
enum End {
    Limit(Limit),
    /// Something failed for good that is not the root model.
    CutShort(Error),
}

impl<'a> Turns<'a> {
    pub(super) fn new(parts: RunParts<'a>, caller: ModelCaller<'a>, start: &'a dyn StartRun) -> Self {
        let RunParts { config, inputs, limits, budget, recorder, .. } = parts;
        Self {
            parts,
            config,
            inputs,
            limits,
            budget,
            recorder,
            transcript: Transcript::new(recorder),
            caller,
            start,
            turn: 0,
            sessions_lost: 0,
            replies_without_code: 0,
            filtered: 0,
            cut_empty: 0,
            repairing: false,
            profile: config.prompt_profile,
            refuses_prefill: false,
            lost_replies: Some(0),
            last_code: String::new(),
            failed_summaries: 0,
            history_due: false,
        }
    }

    /// The messages that the transcript begins with.
    fn first_messages(&self) -> Vec<Message> {
        let config = self.config;
        let tools: Vec<_> = config.tools.iter().map(|tool| tool.spec().clone()).collect();
        let named_models: Vec<_> = config.named_models.keys().map(String::as_str).collect();
        let is_told = |name: &str| {
            self.parts.earlier.is_some_and(|earlier| earlier.names.iter().any(|told| told == name))
        };
        let inputs = self.inputs.iter().filter(|(name, _)| !is_told(name));
        let inputs: Inputs = inputs.map(|(name, value)| (name, value.clone())).collect();
        let given = FirstMessages {
            signature: &config.signature,
            inputs: &inputs,
            earlier: self.parts.earlier.map_or("", |earlier| &earlier.text),
            builtins: &builtins::described(
                &named_models,
                self.budget.may_have_children(),
                config.offers_budget(),
            ),
            tools: &tools,
            python_tools: &config.python_tools,
            capabilities: config.factory.capabilities(),
            limits: self.limits,
        };
        prompt::first_messages(&given, self.profile)
    }

    /// Writes the first messages.
    pub(super) fn open(&mut self) {
        let config = self.config;
        let messages = self.first_messages();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.recorder.record(Event::RunStarted {
            abyme: env!("CARGO_PKG_VERSION").to_owned(),
            unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX),
            label: self.parts.label.map(str::to_owned),
            parent: self.parts.parent.cloned(),
            forked_from: self.parts.forked_from.cloned(),
            seed: self.parts.seed,
            signature: config.signature.clone(),
            inputs: self.inputs.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect(),
            tools: config.tools.iter().map(|tool| tool.spec().clone()).collect(),
            model: config.model.name().to_owned(),
            sub_model: config.sub_model.name().to_owned(),
            interpreter: config.factory.name().to_owned(),
            limits: self.limits.clone(),
            messages: messages.clone(),
        });
        self.transcript.open(messages);
    }

    /// Opens a session, or goes on in that of the conversation; takes turns in it until the run ends or is
    /// `cancelled`; and shuts it down on every path, or leaves it to the conversation. (A dropped future drops
    /// the session, which releases everything: C1.)
    pub(super) async fn take(&mut self, cancelled: impl Future<Output = ()>) -> Result<Outputs> {
        let mut cancelled = pin!(cancelled);
        self.budget.take_slot().await;
        let own = SessionSlot::default();
        let mut slot = self.parts.session.unwrap_or(&own).lock().await;
        let goes_on = match slot.as_mut() {
            Some(kept) => unless(cancelled.as_mut(), self.go_on_in(kept)).await?,
            None => false,
        };
        let kept = match slot.as_mut() {
            Some(kept) if goes_on => kept,
            _ => slot.insert(unless(cancelled.as_mut(), self.open_session()).await?),
        };
        let ended = unless(cancelled, self.take_in(kept)).await;
        if self.parts.session.is_none()
            && let Err(error) = kept.session.shutdown().await
        {
            tracing::warn!(%error, "the session did not shut down cleanly");
        }
        ended
    }

    async fn take_in(&mut self, kept: &mut KeptSession) -> Result<Outputs> {
        loop {
            self.budget.take_slot().await;
            let (model, size) = (&*self.config.model, self.transcript.size());
            // A repair takes no iteration, but the run's time, tokens and money count for it too.
            let reserved = match self.repairing {
                true => self.budget.reserve_reply(model, size),
                false => self.budget.reserve_turn(model, size),
            };
            let reserved = match reserved {
                Ok(reserved) => reserved,
                Err(limit) => return self.extract(End::Limit(limit)).await,
            };
            self.turn += u32::from(!self.repairing);
            let span = tracing::info_span!("turn", number = self.turn);
            match Box::pin(self.take_turn(kept, reserved).instrument(span)).await? {
                Step::Continue(message) if !self.begin_anew() => self.transcript.add(message),
                Step::Continue(_) => {}
                Step::Done(outputs) => return Ok(outputs),
                Step::Extract(end) => return self.extract(end).await,
            }
        }
    }

    /// Begins anew with the prompts for small models, if the model does not get along with the others. Says
    /// whether it did.
    fn begin_anew(&mut self) -> bool {
        let is_lost = self.lost_replies.is_some_and(|lost| lost >= MAX_LOST_REPLIES);
        if self.profile != PromptProfile::Auto || !is_lost {
            return false;
        }
        self.profile = PromptProfile::Small;
        self.repairing = false;
        let messages = self.first_messages();
        let reason = "the first replies held no cell that could run; the task is put anew, with an example";
        self.transcript.reopen(self.turn, messages, reason);
        true
    }

    /// One turn: asks the root model for a cell and acts on its reply.
    async fn take_turn(&mut self, kept: &mut KeptSession, reserved: Reservation) -> Result<Step> {
        let purpose = if self.repairing { Purpose::Repair } else { Purpose::Act };
        match self.ask(purpose, reserved).await {
            Ok(response) => {
                if self.turn == 1 {
                    // Nothing is lost yet. Later, what there is makes the outputs.
                    self.budget.check_metered()?;
                }
                self.act_on(kept, purpose, response).await
            }
            Err(error) if error.kind() == ErrorKind::ContentRefused => {
                self.repairing = false;
                Ok(self.after_filter(purpose, error.to_string()))
            }
            // The run's own time cut off the call or its retries. That is a limit, not the model's failure.
            Err(error) if error.kind() == ErrorKind::LimitReached && self.turn > 0 => {
                let limit = self.budget.exhausted_now().unwrap_or(Limit::Time);
                Ok(Step::Extract(End::Limit(limit)))
            }
            Err(error) => Err(error),
        }
    }

    /// Sends the transcript to the root model. One that is long for the model's context is compacted before,
    /// and one that turns out too long is compacted, or else cut, and sent again.
    async fn ask(&mut self, purpose: Purpose, _reserved: Reservation) -> Result<Response> {
        self.transcript.send_pending(self.turn);
        let mut may_compact = self.config.compaction.enabled && self.failed_summaries < MAX_FAILED_SUMMARIES;
        // A summary that failed is asked for again once the model refuses what it should have shortened.
        let may_be_due = purpose != Purpose::Extract && self.failed_summaries == 0;
        if may_compact && may_be_due && self.compactor().is_due() {
            may_compact = false;
            self.compact().await;
        }
        let (mut prefill, temperature, schema) = match purpose {
            Purpose::Extract => ("", None, Some(self.config.signature.json_schema())),
            _ if self.refuses_prefill => ("", self.profile.temperature(), None),
            _ => (self.profile.prefill(), self.profile.temperature(), None),
        };
        loop {
            let request = self.transcript.request(prefill).temperature(temperature).schema(schema.clone());
            let CallSize { bytes, .. } = CallSize::of(&request);
            match Box::pin(self.caller.root(self.turn, purpose, request, prefill)).await {
                Err(error) if error.kind() == ErrorKind::ContextTooLong => {
                    self.transcript.learn_too_long();
                    let is_compacted = std::mem::take(&mut may_compact) && self.compact().await;
                    if !is_compacted && !self.transcript.cut_half(self.turn, error.message()) {
                        return Err(error);
                    }
                }
                // Some servers want the user to have the last word, and none says so in the same way.
                Err(error) if error.kind() == ErrorKind::BadRequest && !prefill.is_empty() => {
                    self.refuses_prefill = true;
                    prefill = "";
                }
                answered => {
                    answered.iter().for_each(|response| self.transcript.learn(bytes, &response.usage));
                    return answered;
                }
            }
        }
    }

    fn compactor(&mut self) -> Compactor<'_, 'a> {
        Compactor { transcript: &mut self.transcript, caller: &self.caller, turn: self.turn }
    }

    /// Has the model summarise its earlier turns. Says whether it did.
    async fn compact(&mut self) -> bool {
        match self.compactor().compact().await {
            Some(true) => (self.failed_summaries, self.history_due) = (0, true),
            Some(false) => self.failed_summaries += 1,
            None => return false,
        }
        self.failed_summaries == 0
    }

    /// Asks the model for the outputs as JSON, because there are no further turns.
    ///
    /// The extract call is not subject to the limit that led to it. Time is kept for it.
    async fn extract(&mut self, end: End) -> Result<Outputs> {
        let signature = &self.config.signature;
        let reason = match &end {
            End::Limit(limit) => self.budget.describe(*limit),
            End::CutShort(error) => error.message().to_owned(),
        };
        self.transcript.add(prompt::extract(&reason, signature));
        let mut failure = String::new();
        let mut model_error = None;
        for _ in 0..MAX_EXTRACT_CALLS {
            let reserved = match self.budget.reserve_extract(&*self.config.model, self.transcript.size()) {
                Ok(reserved) => reserved,
                Err(limit) => {
                    failure = format!("no extract call can be made: {}", self.budget.describe(limit));
                    break;
                }
            };
            let response = match self.ask(Purpose::Extract, reserved).await {
                Ok(response) => response,
                Err(error) => {
                    failure = format!("the extract call failed: {error}");
                    let is_refused = error.kind() == ErrorKind::ContentRefused;
                    let problem = error.message().to_owned();
                    model_error = Some(error);
                    if is_refused && self.transcript.replace_last(self.turn, prompt::LEFT_OUT, &problem) {
                        self.transcript.add(prompt::extract(&reason, signature));
                        continue;
                    }
                    break;
                }
            };
            model_error = None;
            let outputs = read_outputs(signature, &response);
            self.transcript.replied(self.turn, &visible_text(&response.text));
            let problems = match outputs {
                Ok(outputs) => {
                    let status = match end {
                        End::Limit(limit) => Status::LimitReached(limit),
                        End::CutShort(_) => Status::CutShort,
                    };
                    return Ok((outputs, status));
                }
                Err(problems) => problems,
            };
            self.refused(Purpose::Extract, problems.trim_end().to_owned());
            failure = match is_cut_empty(&response) {
                true => format!("the model gave no outputs: {REASONED_TO_ITS_LIMIT}"),
                false => format!("the model gave no outputs that fit: {}", problems.trim_end()),
            };
            self.transcript.add(prompt::extract_again(&problems));
        }
        let message = format!("{reason}, and {failure}");
        Err(match (end, model_error) {
            (End::CutShort(error), _) => Error::new(error.kind(), message).with_source(error),
            (End::Limit(limit), Some(error)) => {
                Error::new(error.kind(), message).with("limit", limit).with_source(error).permanent()
            }
            (End::Limit(limit), None) => Error::new(ErrorKind::LimitReached, message).with("limit", limit),
        }
        .operation("Rlm::run"))
    }

    /// Acts on a reply of the root model.
    async fn act_on(
        &mut self,
        session: &mut KeptSession,
        purpose: Purpose,
        response: Response,
    ) -> Result<Step> {
        let repairing = std::mem::take(&mut self.repairing);
        let reply = read_reply(&response);
        let is_empty = matches!(&reply, Reply::Text(text) if text.trim().is_empty());
        if is_empty && response.finish_reason == FinishReason::ContentFilter {
            self.transcript.replied(self.turn, "");
            return Ok(self.after_filter(purpose, "the content filter left nothing of the reply".to_owned()));
        }
        self.filtered = 0;
        self.cut_empty = if is_empty && is_cut_empty(&response) { self.cut_empty + 1 } else { 0 };
        if self.cut_empty >= MAX_EMPTY_REPLIES {
            self.transcript.replied(self.turn, "");
            let message = format!("{} replies in a row were empty: {REASONED_TO_ITS_LIMIT}", self.cut_empty);
            return Ok(Step::Extract(End::CutShort(Error::new(ErrorKind::MalformedReply, message))));
        }
        let remaining = self.budget.remaining();
        let signature = &self.config.signature;
        let is_cut = response.finish_reason == FinishReason::Length;
        let imitated = match &reply {
            Reply::Code { code, .. } => prompt::imitation_of(code),
            Reply::Text(text) => prompt::imitation(text),
            _ => None,
        };
        let (problem, message) = match (reply, imitated) {
            (Reply::Code { kept: text, .. } | Reply::Text(text), Some(line)) => {
                self.transcript.replied(self.turn, &text);
                let problem = format!("the reply holds `{line}`, which the session writes, and no code");
                (problem, prompt::imitated(&line, &remaining))
            }
            (Reply::Code { kept, reasoning, code, ignored_blocks }, _) => {
                self.replies_without_code = 0;
                self.transcript.replied(self.turn, &kept);
                self.recorder.record(Event::CellStarted { turn: self.turn, reasoning, code: code.clone() });
                let mut step = self.run_cell(session, code, repairing, is_cut).await?;
                if let Step::Continue(message) = &mut step
                    && ignored_blocks > 0
                {
                    message.push_str(
                        "\n(Only the first code block of a reply runs; the later ones were left out.)",
                    );
                }
                return Ok(step);
            }
            (Reply::Text(answer), _) => {
                self.transcript.replied(self.turn, &answer);
                self.replies_without_code += 1;
                let is_whole = !is_empty
                    && !matches!(response.finish_reason, FinishReason::Length | FinishReason::ContentFilter);
                match self.replies_without_code {
                    1 => ("the reply holds no code".to_owned(), prompt::nudge(signature, &remaining)),
                    _ if prompt::takes_prose(signature) && is_whole => {
                        match signature.coerce_single(Value::from(answer)) {
                            Ok(outputs) => return Ok(Step::Done((outputs, Status::Answered))),
                            Err(problems) => {
                                let problems = problems.to_string();
                                let message = prompt::refused(&problems, signature);
                                (problems, prompt::after_cell(&message, &remaining))
                            }
                        }
                    }
                    _ => ("the reply holds no code".to_owned(), prompt::no_code(signature, &remaining)),
                }
            }
            (Reply::Markup { name, text }, _) => {
                self.transcript.replied(self.turn, &text);
                let problem =
                    format!("the reply holds {name} in place of code, and none can be read from it");
                (problem, prompt::markup(&name, &remaining))
            }
            (Reply::OtherLanguage { tag, text }, _) => {
                self.transcript.replied(self.turn, &text);
                (
                    format!("the reply holds {tag} in place of Python"),
                    prompt::other_language(&tag, &remaining),
                )
            }
        };
        self.refused(purpose, problem);
        self.count_lost(is_cut || is_empty);
        Ok(Step::Continue(if is_cut { prompt::after_cut(&message) } else { message }))
    }

    /// Goes on after a reply that a content filter stopped: asks for other words, then without what the last
    /// cell printed, and in the end for the outputs.
    fn after_filter(&mut self, purpose: Purpose, problem: String) -> Step {
        self.filtered += 1;
        self.refused(purpose, problem.clone());
        if self.filtered > 1 {
            self.transcript.replace_last(self.turn, prompt::LEFT_OUT, &problem);
        }
        if self.filtered >= MAX_EMPTY_REPLIES {
            return Step::Extract(End::CutShort(Error::new(ErrorKind::ContentRefused, problem)));
        }
        Step::Continue(prompt::filtered(&self.budget.remaining()))
    }

    /// Counts a reply without a cell that could run, unless it would have had one with more room.
    fn count_lost(&mut self, lacked_room: bool) {
        self.lost_replies = self.lost_replies.map(|lost| lost + u32::from(!lacked_room));
    }

    /// Records that a reply was not acted on.
    fn refused(&self, purpose: Purpose, problem: String) {
        self.recorder.record(Event::ReplyRefused { turn: self.turn, purpose, problem });
    }

    /// Runs a cell and decides what its observation means for the run.
    async fn run_cell(
        &mut self,
        session: &mut KeptSession,
        code: String,
        repairing: bool,
        is_cut: bool,
    ) -> Result<Step> {
        let limits = self.limits;
        let cell = Cell::new(code.clone())
            .variables(self.history_due.then(|| self.transcript.history()).flatten())
            .scope(self.config.scope.clone())
            .timeout(limits.cell_timeout)
            .total_timeout(self.budget.time_left())
            .max_output_chars(limits.max_output_chars);
        let (mut observation, notes) = match self.execute(&mut session.session, cell).await {
            Ok(executed) => executed,
            Err(error) => return Ok(Step::Extract(End::CutShort(error))),
        };
        let ended_before = observation.error.as_ref().is_some_and(|error| error.stage == Stage::Policy);
        self.history_due &= ended_before || observation.restored.is_some();
        if observation.is_syntax_error() && !repairing {
            self.repairing = true;
            self.count_lost(is_cut);
            let mut traceback = observation.error.map(|error| error.traceback).unwrap_or_default();
            if let Some(line) = prompt::imitation(&code) {
                traceback = format!("{}\n{}", traceback.trim_end(), prompt::imitated_in_cell(&line));
            }
            return Ok(Step::Continue(match is_cut {
                true => prompt::cut_cell(&traceback),
                false => prompt::syntax_error(&traceback),
            }));
        }
        let is_repeated = code == self.last_code;
        self.lost_replies = None;
        let mut refused = None;
        if let Some(submission) = observation.submission.take() {
            let via = submission.via;
            match self.coerce(submission) {
                Ok(outputs) => return Ok(Step::Done((outputs, Status::Submitted))),
                Err(problems) => {
                    self.recorder.record(Event::SubmissionRefused {
                        turn: self.turn,
                        via,
                        problems: problems.clone(),
                    });
                    refused = Some(prompt::refused(&problems, &self.config.signature));
                }
            }
        }
        let mut observed = render_observation(&observation, limits.max_output_chars);
        notes.iter().for_each(|note| observed.push_str(&format!("\n{note}")));
        let asks = observation.error.as_ref().is_some_and(|error| error.type_name == "EOFError");
        if asks && code.contains("input(") && !self.config.signature.inputs().is_empty() {
            observed.push_str(&format!("\n{}", prompt::no_input(&self.config.signature)));
        }
        if is_repeated {
            observed.push_str(&format!("\n{}", prompt::repeated(&self.config.signature)));
        }
        self.last_code = code;
        if let Some(refused) = refused {
            observed = match observation
                == (Observation { duration: observation.duration, ..Observation::default() })
            {
                // A cell that only submits has no output to speak of.
                true => refused,
                false => format!("{observed}\n{refused}"),
            };
        }
        if is_cut {
            observed = prompt::after_cut(&observed);
        }
        if let Some(reason) = observation.session_ended {
            self.recorder.record(Event::SessionLost { turn: self.turn, reason: reason.clone() });
            self.sessions_lost += 1;
            let end = match self.budget.exhausted_now() {
                // The run needs no other session.
                Some(limit) => Some(End::Limit(limit)),
                None if self.sessions_lost > MAX_SESSIONS_LOST => {
                    let times = self.sessions_lost;
                    let message = format!("the session died {times} times; the last time: {reason}");
                    Some(End::CutShort(Error::new(ErrorKind::SessionEnded, message)))
                }
                None => match self.open_session().await {
                    Ok(opened) => {
                        *session = opened;
                        self.history_due = true;
                        None
                    }
                    Err(error) if error.kind() == ErrorKind::LimitReached => Some(End::Limit(Limit::Time)),
                    Err(error) => Some(End::CutShort(error)),
                },
            };
            if let Some(end) = end {
                self.transcript.add(observed);
                return Ok(Step::Extract(end));
            }
            observed = format!("{observed}\n{}", prompt::session_lost(&reason));
        }
        Ok(Step::Continue(prompt::after_cell(&observed, &self.budget.remaining())))
    }

    /// Runs a cell. If the session dies in it, that is an observation too: the model reads of it. Gives also
    /// what the host has to say about the cell.
    async fn execute(&mut self, session: &mut Session, cell: Cell) -> Result<(Observation, Vec<String>)> {
        let host = CellHost::new(&self.caller, self.start, self.parts.tool_uses, self.turn);
        let span = telemetry::cell(self.turn, &cell.code, self.config.span_content);
        let started = Instant::now();
        let mut observation = match telemetry::within(&span, session.execute(cell, &host)).await {
            Ok(observation) => observation,
            Err(error) if error.is_session_lost() => Observation {
                session_ended: Some(error.message().to_owned()),
                duration: started.elapsed(),
                ..Observation::default()
            },
            Err(error) => return Err(error),
        };
        telemetry::observed(&span, &observation);
        // Rounded as it is written, so that a record reads back equal.
        observation.duration =
            Duration::from_micros(observation.duration.as_micros().try_into().unwrap_or(u64::MAX));
        let notes = host.notes();
        self.recorder.record(Event::CellFinished {
            turn: self.turn,
            observation: observation.clone(),
            notes: notes.clone(),
            sub_calls: self.budget.sub_calls(),
        });
        Ok((observation, notes))
    }

    /// A session with the inputs and the user's Python tools in it.
    async fn open_session(&self) -> Result<KeptSession> {
        let mut session = Session::new(self.config.factory.create().await?);
        session.start().await?;
        let mut kept = KeptSession { session, inputs: Inputs::new() };
        self.put_in(&mut kept).await?;
        Ok(kept)
    }

    /// Puts what an earlier run did not into its session. Says whether it is still alive.
    async fn go_on_in(&mut self, kept: &mut KeptSession) -> Result<bool> {
        let put = self.put_in(kept).await;
        if let (Err(_), Some(reason)) = (&put, kept.session.ended()) {
            let reason = reason.to_owned();
            self.transcript.add(prompt::session_lost(&reason));
            self.recorder.record(Event::SessionLost { turn: self.turn, reason });
            return Ok(false);
        }
        put.map(|()| true)
    }

    /// Puts those inputs into a session that are not in it.
    async fn put_in(&self, kept: &mut KeptSession) -> Result<()> {
        let config = self.config;
        let inputs: Inputs = self
            .inputs
            .iter()
            .filter(|(name, value)| kept.inputs.get(name) != Some(*value))
            .map(|(name, value)| (name, value.clone()))
            .collect();
        let earlier = self.parts.earlier.map_or(&[][..], |earlier| &earlier.fields);
        let fields = inputs.names().filter_map(|name| {
            let earlier = || earlier.iter().find(|(earlier, _)| earlier == name).map(|(_, field)| field);
            Some((name, config.signature.input(name).or_else(earlier)?))
        });
        let cell = Cell::new(objects::setup(fields))
            .variables(inputs.iter().map(|(name, value)| (name.to_owned(), value.clone())))
            .scope(config.scope.clone())
            .timeout(self.limits.cell_timeout)
            .total_timeout(self.budget.time_left());
        // The policy is for the model's code.
        kept.session.set_policy(None);
        let observation = kept.session.execute(cell, &NoHostFunctions).await?;
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
        kept.session.set_policy(config.policy.clone());
        kept.inputs = self.inputs.clone();
        Ok(())
    }

    /// The outputs of a submission, or what does not fit.
    fn coerce(&self, submission: Submission) -> Result<IndexMap<String, Value>, String> {
        let signature = &self.config.signature;
        match submission.submitted {
            Submitted::Fields(fields) => signature.coerce_outputs(fields),
            Submitted::Value(value) => signature.coerce_single(value),
        }
        .map_err(|problems| problems.to_string())
    }
}

/// What a model does whose replies are empty and cut.
const REASONED_TO_ITS_LIMIT: &str = "the model reasoned until the length limit cut it off, before its first \
    word; raise its most tokens (`max_tokens`), or have it reason less";

/// Whether the length limit cut a reply before its first word.
fn is_cut_empty(response: &Response) -> bool {
    response.finish_reason == FinishReason::Length && visible_text(&response.text).trim().is_empty()
}
