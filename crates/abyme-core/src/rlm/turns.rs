//! The loop of one run: turns until a submission, a limit, or an error.

mod asking;
mod cells;
mod sessions;

use std::{borrow::Cow, future::pending, pin::pin, sync::Arc};

use abyme_python_syntax::visible_text;
use tracing::Instrument;

use super::{
    budget::{Budget, Reservation},
    caller::ModelCaller,
    calls::builtins,
    config::RlmConfig,
    guard::unless,
    kept_session::{KeptSession, SessionHolder},
    reply::{Reply, read_reply, read_whole_reply},
    resume::{
        answers::Answers,
        same_task::{check_task, policy_name, replay_notes, tool_notes, tool_sources},
    },
    session_snapshots::SessionFiles,
    start::{Outputs, RunParts, StartRun},
    submitted::{outputs_of, outputs_of_answer},
    transcript::Transcript,
};
use crate::{
    error::{Error, ErrorKind, Result},
    inputs::Inputs,
    interpreter::{Cell, CodeInterpreter, FunctionSpec, Observation, Stage, render_observation},
    limits::Limits,
    model::{FinishReason, Message, Response},
    prompt::{self, FirstMessages, Profile, TextAlone},
    status::{Limit, Status},
    trajectory::{Event, Past, Purpose, Record, Recorder, name_of, unix_ms},
};

/// How often a session may die before the run gives up.
const MAX_SESSIONS_LOST: u32 = 2;
/// Replies that hold no cell that could run, before a run begins anew with the prompts for small models.
const MAX_LOST_REPLIES: u32 = 3;
/// Summaries in a row that failed before none is asked for any more.
const MAX_FAILED_SUMMARIES: u32 = 2;
/// Replies in a row that a content filter stopped, or that the length limit cut before their first word,
/// before the run's turns end.
const MAX_EMPTY_REPLIES: u32 = 3;

const ASKED: &str = "the run was asked to answer with what is known";

/// The state of one run: its transcript, and what it counts.
pub(super) struct Turns<'a> {
    parts: RunParts<'a>,
    config: &'a RlmConfig,
    inputs: &'a Inputs,
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
    profile: Profile,
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
    /// The cells that the record answered, and that the session of the run has yet to run.
    missed: Vec<MissedCell>,
    /// Where the session is kept.
    session_files: Option<SessionFiles>,
    /// The turn of the snapshot that the session began with, until that is recorded.
    restored_turn: Option<u32>,
    /// The tools that the record's cells had and that there are no more.
    missing_tools: Vec<FunctionSpec>,
}

/// A cell that the record answered.
struct MissedCell {
    turn: u32,
    cell: Cell,
    calls: Vec<Arc<Record>>,
    observation: Observation,
}

/// What a reply or a cell means for the run.
enum Step {
    /// Go on, with this as the next user message.
    Continue(String),
    /// The run is over.
    Done(Outputs),
    /// No further turn is possible. The outputs come from what there is.
    Extract(EndReason),
}

/// Why there are no further turns.
enum EndReason {
    Limit(Limit),
    /// Something failed for good that is not the root model.
    CutShort(Error),
    /// The run was asked from elsewhere to end with what it knows.
    Asked,
}

impl<'a> Turns<'a> {
    pub(super) fn new(parts: RunParts<'a>, caller: ModelCaller<'a>, start: &'a dyn StartRun) -> Self {
        let RunParts { config, inputs, budget, recorder, .. } = parts;
        Self {
            parts,
            config,
            inputs,
            budget,
            recorder,
            transcript: Transcript::new(
                recorder,
                config.profile.conventions().is_some_and(|of| of.is_one_message),
            ),
            caller,
            start,
            turn: 0,
            sessions_lost: 0,
            replies_without_code: 0,
            filtered: 0,
            cut_empty: 0,
            repairing: false,
            profile: config.profile,
            refuses_prefill: false,
            lost_replies: Some(0),
            last_code: String::new(),
            failed_summaries: 0,
            history_due: false,
            missed: Vec::new(),
            session_files: parts.snapshots.cloned().map(SessionFiles::new),
            restored_turn: None,
            missing_tools: Vec::new(),
        }
    }

    /// The messages that the transcript begins with.
    fn first_messages(&self) -> Vec<Message> {
        let tools: Vec<_> = self.config.tools.iter().map(|tool| tool.spec().clone()).collect();
        self.first_messages_of(&self.recorder.terms().limits_as_recorded(), &tools)
    }

    fn first_messages_of(&self, limits: &Limits, tools: &[FunctionSpec]) -> Vec<Message> {
        let config = self.config;
        let named_models: Vec<_> = config.named_models.keys().map(String::as_str).collect();
        let is_told = |name: &str| {
            self.parts.earlier.is_some_and(|earlier| earlier.names.iter().any(|told| told == name))
        };
        let inputs = match self.inputs.names().any(is_told) {
            false => Cow::Borrowed(self.inputs),
            true => {
                let untold = self.inputs.iter().filter(|(name, _)| !is_told(name));
                Cow::Owned(untold.map(|(name, value)| (name, value.clone())).collect())
            }
        };
        let given = FirstMessages {
            signature: &config.signature,
            inputs: &inputs,
            earlier: self.parts.earlier.map_or("", |earlier| &earlier.text),
            builtins: &builtins::described(
                &named_models,
                self.budget.depth() < limits.max_depth,
                config.offers_budget(),
            ),
            tools,
            python_tools: &config.python_tools,
            capabilities: config.factory.capabilities(),
            limits,
        };
        prompt::first_messages(&given, self.profile)
    }

    /// Writes the first messages.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the record of the run is of another task.
    pub(super) fn open(&mut self) -> Result<()> {
        let config = self.config;
        let is_root = self.parts.parent.is_none();
        let terms = self.recorder.terms();
        let summaries = terms.summaries();
        let begun = |limits: &Limits, tools: Vec<FunctionSpec>, messages: Vec<Message>| Event::RunStarted {
            abyme: env!("CARGO_PKG_VERSION").to_owned(),
            unix_ms: unix_ms(),
            label: self.parts.label.map(str::to_owned),
            parent: self.parts.parent.cloned(),
            forked_from: self.parts.forked_from.cloned(),
            seed: self.parts.seed,
            session_unix_ms: self.parts.session_unix_ms,
            signature: config.signature.clone(),
            inputs: self.inputs.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect(),
            tools,
            effects: config.effects(),
            model: config.model.name().to_owned(),
            sub_model: config.sub_model.name().to_owned(),
            interpreter: config.factory.name().to_owned(),
            profile: is_root.then(|| name_of(&config.profile)),
            policy: config.policy.as_deref().filter(|_| is_root).map(policy_name),
            python_tools: if is_root { tool_sources(&config.scope.modules) } else { Vec::new() },
            guarantees: config.factory.capabilities().guarantees.clone(),
            limits: limits.clone(),
            compaction: Some(summaries.compaction.clone()),
            max_input_tokens: summaries.max_input_tokens,
            messages,
        };
        let past = self.recorder.past();
        if let Some(past) = past.filter(|past| !past.is_replay())
            && let Some(first) = past.first()
            && let Event::RunStarted { limits, tools, .. } = &first.event
        {
            if is_root {
                // What changed on purpose is not another prompt.
                let now = begun(limits, tools.clone(), self.first_messages_of(limits, tools));
                check_task(self.recorder, &first.event, &now)?;
                tool_notes(tools, &config.tools).into_iter().for_each(|note| self.recorder.note(note));
            }
            let is_missing = |spec: &&FunctionSpec| config.tools.iter().all(|tool| tool.name() != spec.name);
            self.missing_tools = tools.iter().filter(is_missing).cloned().collect();
        }
        let tools = config.tools.iter().map(|tool| tool.spec().clone()).collect();
        let now = begun(&terms.limits(), tools, self.first_messages());
        if let Some(first) = past.filter(|past| is_root && past.is_replay()).and_then(Past::first) {
            let notes = replay_notes(&first.event, &now, &config.tools);
            notes.into_iter().for_each(|note| self.recorder.note(note));
        }
        let messages = self.recorder.started(now);
        self.transcript.open(messages);
        Ok(())
    }

    /// Opens a session, or goes on in that of the conversation; takes turns in it until the run ends or is
    /// `cancelled`; and shuts it down on every path, or leaves it to the conversation. (A dropped future
    /// drops the session, which releases everything: C1.)
    pub(super) async fn take(&mut self, cancelled: impl Future<Output = ()>) -> Result<Outputs> {
        let mut cancelled = pin!(cancelled);
        self.budget.take_slot().await;
        let own = SessionHolder::default();
        let mut holder = self.parts.session.unwrap_or(&own).lock().await;
        if let Some(kept) = holder.as_mut()
            && !unless(cancelled.as_mut(), self.go_on_in(kept)).await?
        {
            *holder = None;
        }
        let ended = unless(cancelled, async {
            let ended = self.take_in(&mut holder).await;
            self.catch_up(&mut holder).await;
            ended
        });
        let ended = ended.await;
        let had_saved = || self.recorder.past().is_some_and(|past| !past.saved_sessions().is_empty());
        if let (Ok(_), Some(files)) = (&ended, &self.session_files)
            && (files.has_saved() || had_saved())
        {
            // The run has its outputs.
            files.remove_others(None).await;
        }
        if self.parts.session.is_none()
            && let Some(kept) = holder.as_mut()
            && let Err(error) = kept.session.shutdown().await
        {
            tracing::warn!(%error, "the session did not shut down cleanly");
        }
        ended
    }

    /// Takes turns until the run ends, or is asked to end with what it knows: that drops the turn.
    async fn take_in(&mut self, holder: &mut Option<KeptSession>) -> Result<Outputs> {
        let finish = self.parts.finish;
        let asked = async {
            match finish {
                Some(handle) => handle.finish_asked().await,
                None => pending().await,
            }
        };
        let ended = tokio::select! {
            biased;
            () = asked => Err(EndReason::Asked),
            ended = self.take_turns(holder) => ended?,
        };
        match ended {
            Ok(outputs) => Ok(outputs),
            Err(end) => self.extract(end).await,
        }
    }

    /// Takes turns until the run has its outputs, or no further turn is possible.
    async fn take_turns(&mut self, holder: &mut Option<KeptSession>) -> Result<Result<Outputs, EndReason>> {
        loop {
            self.recorder.check_same()?;
            if self.was_asked_to_end(|said, ask| said.ends_with(ask)) {
                return Ok(Err(EndReason::Asked));
            }
            if !self.recorder.is_following() {
                // Before the model is asked, which costs something.
                self.session(holder, self.turn + u32::from(!self.repairing)).await?;
            }
            self.keep_session(holder).await;
            self.make_forks(holder).await;
            self.budget.take_slot().await;
            let (model, size) = (&*self.config.model, self.transcript.size());
            // A repair takes no iteration, but the run's time, tokens and money count for it too.
            let reserved = match self.repairing {
                true => self.budget.reserve_reply(model, size, Purpose::Repair),
                false => self.budget.reserve_turn(model, size),
            };
            let reserved = match reserved {
                Ok(reserved) => reserved,
                Err(limit) => return Ok(Err(EndReason::Limit(limit))),
            };
            self.turn += u32::from(!self.repairing);
            let span = tracing::info_span!("turn", number = self.turn);
            let step = match Box::pin(self.take_turn(holder, reserved).instrument(span)).await {
                // The record has a turn that was dropped, because the run was asked to end.
                Err(error)
                    if error.kind() == ErrorKind::Cancelled
                        && self.recorder.past().is_some_and(Past::goes_on_with_outputs) =>
                {
                    return Ok(Err(EndReason::Asked));
                }
                step => step?,
            };
            match step {
                // The turn was dropped before it told the model what came of it.
                Step::Continue(_) if self.was_asked_to_end(|said, ask| said == ask) => {
                    return Ok(Err(EndReason::Asked));
                }
                Step::Continue(message) if !self.begin_anew() => self.transcript.add(message),
                Step::Continue(_) => {}
                Step::Done(outputs) => return Ok(Ok(outputs)),
                Step::Extract(end) => return Ok(Err(end)),
            }
        }
    }

    /// Whether the run was asked to end here, by what its record says next.
    fn was_asked_to_end(&self, is_asked: impl FnOnce(&str, &str) -> bool) -> bool {
        let said = self.recorder.past().and_then(Past::next_said);
        said.is_some_and(|said| is_asked(&said, &self.extract_request(ASKED)))
    }

    /// Begins anew with the prompts for small models, if the model does not get along with the others. Says
    /// whether it did.
    fn begin_anew(&mut self) -> bool {
        let is_lost = self.lost_replies.is_some_and(|lost| lost >= MAX_LOST_REPLIES);
        if self.profile != Profile::Abyme || !is_lost {
            return false;
        }
        self.profile = Profile::Small;
        self.repairing = false;
        let messages = self.first_messages();
        let reason = "the first replies held no cell that could run; the task is put anew, with an example";
        self.transcript.reopen(self.turn, messages, reason);
        true
    }

    /// One turn: asks the root model for a cell and acts on its reply.
    async fn take_turn(&mut self, holder: &mut Option<KeptSession>, reserved: Reservation) -> Result<Step> {
        let purpose = if self.repairing { Purpose::Repair } else { Purpose::Act };
        match self.ask(purpose, reserved).await {
            Ok(response) => {
                if self.turn == 1 {
                    // Nothing is lost yet. Later, what there is makes the outputs.
                    self.budget.check_metered()?;
                }
                self.act_on(holder, purpose, response).await
            }
            Err(error) if error.kind() == ErrorKind::ContentRefused => {
                self.repairing = false;
                Ok(self.after_filter(purpose, error.to_string()))
            }
            // The run's own time cut off the call or its retries. That is a limit, not the model's failure.
            Err(error) if error.kind() == ErrorKind::LimitReached && self.turn > 0 => {
                let limit = self.budget.exhausted_then().unwrap_or(Limit::Time);
                Ok(Step::Extract(EndReason::Limit(limit)))
            }
            // Nothing more could be left out for another cell. What is known may still fit.
            Err(error) if error.kind() == ErrorKind::ContextTooLong && self.turn > 1 => {
                Ok(Step::Extract(EndReason::CutShort(error)))
            }
            Err(error) => Err(error),
        }
    }

    /// Acts on a reply of the root model.
    async fn act_on(
        &mut self,
        holder: &mut Option<KeptSession>,
        purpose: Purpose,
        response: Response,
    ) -> Result<Step> {
        let repairing = std::mem::take(&mut self.repairing);
        let reply = match self.profile.conventions() {
            Some(of) if of.runs_all_blocks => read_whole_reply(&response, of.has_final_in_text),
            _ => read_reply(&response),
        };
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
            return Ok(Step::Extract(EndReason::CutShort(Error::new(ErrorKind::MalformedReply, message))));
        }
        let remaining = self.remaining();
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
                let mut step = self.run_cell(holder, code, repairing, is_cut).await?;
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
                let text_alone = self.profile.conventions().map_or(TextAlone::Nudged, |of| of.text_alone);
                let is_whole = !is_empty
                    && !matches!(response.finish_reason, FinishReason::Length | FinishReason::ContentFilter);
                match self.replies_without_code {
                    _ if text_alone == TextAlone::GoesOn => {
                        ("the reply holds no code".to_owned(), prompt::after_cell("", &remaining))
                    }
                    1 if text_alone == TextAlone::Nudged => {
                        ("the reply holds no code".to_owned(), prompt::nudge(signature, &remaining))
                    }
                    _ if prompt::takes_prose(signature) && is_whole => {
                        match outputs_of_answer(signature, answer).await {
                            Ok(outputs) => return Ok(Step::Done((outputs, Status::Answered))),
                            Err(problems) => {
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
            return Step::Extract(EndReason::CutShort(Error::new(ErrorKind::ContentRefused, problem)));
        }
        Step::Continue(prompt::filtered(&self.remaining()))
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
        holder: &mut Option<KeptSession>,
        code: String,
        repairing: bool,
        is_cut: bool,
    ) -> Result<Step> {
        let limits = self.recorder.terms().limits_as_recorded();
        // A session keeps the first and the last half.
        let keeps_head = self.profile.conventions().is_some_and(|of| of.keeps_head);
        let cell = Cell::new(code.clone())
            .variables(self.history_due.then(|| self.transcript.history()).flatten())
            .scope(self.config.scope.clone())
            .timeout(limits.cell_timeout)
            .total_timeout(self.budget.time_left())
            .max_output_chars(limits.max_output_chars.saturating_mul(if keeps_head { 2 } else { 1 }));
        let past = self.recorder.past_cell();
        let is_recorded = past.is_some();
        let executed = match past {
            Some(past) => self.execute_again(holder, cell, past).await,
            None => {
                let session = &mut self.session(holder, self.turn).await?.session;
                self.execute(session, cell, &Answers::default()).await
            }
        };
        if let (Ok((observation, _)), Some(_), Some(files)) = (&executed, &holder, &mut self.session_files) {
            files.spent(observation.duration);
        }
        let (mut observation, notes) = match executed {
            Ok(executed) => executed,
            // That the record cannot be followed is no result of the run.
            Err(error)
                if is_recorded
                    && matches!(
                        error.kind(),
                        ErrorKind::Differs | ErrorKind::InvalidInput | ErrorKind::Cancelled
                    ) =>
            {
                return Err(error);
            }
            Err(error) => return Ok(Step::Extract(EndReason::CutShort(error))),
        };
        let ended_before = observation.error.as_ref().is_some_and(|error| error.stage == Stage::Policy);
        self.history_due &= ended_before || observation.restored.is_some();
        let conventions = self.profile.conventions();
        if observation.is_syntax_error() && !repairing && conventions.is_none() {
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
        let max_output_chars = self.recorder.terms().limits().max_output_chars;
        self.lost_replies = None;
        let mut refused = None;
        if let Some(submission) = observation.submission.take() {
            let via = submission.via;
            match outputs_of(&self.config.signature, submission).await {
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
        let mut observed = match conventions {
            Some(of) => of.observed(&observation, &code, max_output_chars),
            None => render_observation(&observation, max_output_chars),
        };
        notes.iter().for_each(|note| observed.push_str(&format!("\n{note}")));
        let asks = observation.error.as_ref().is_some_and(|error| error.type_name == "EOFError");
        if asks && code.contains("input(") && !self.config.signature.inputs().is_empty() {
            observed.push_str(&format!("\n{}", prompt::no_input(&self.config.signature)));
        }
        if is_repeated && conventions.is_none() {
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
            self.missed.clear();
            if !self.is_resuming() {
                *holder = None;
            }
            let end = match self.budget.exhausted_then() {
                // The run needs no other session.
                Some(limit) => Some(EndReason::Limit(limit)),
                None if self.sessions_lost > MAX_SESSIONS_LOST => {
                    let times = self.sessions_lost;
                    let message = format!("the session died {times} times; the last time: {reason}");
                    Some(EndReason::CutShort(Error::new(ErrorKind::SessionEnded, message)))
                }
                // It is opened once the record has ended.
                None if self.recorder.is_following() => {
                    self.history_due = true;
                    None
                }
                None => match self.open_session(self.turn + 1).await {
                    Ok(opened) => {
                        *holder = Some(opened);
                        self.history_due = true;
                        None
                    }
                    Err(error) if error.kind() == ErrorKind::LimitReached => {
                        Some(EndReason::Limit(Limit::Time))
                    }
                    Err(error) => Some(EndReason::CutShort(error)),
                },
            };
            if let Some(end) = end {
                self.transcript.add(observed);
                return Ok(Step::Extract(end));
            }
            observed = format!("{observed}\n{}", prompt::session_lost(&reason));
        }
        Ok(Step::Continue(prompt::after_cell(&observed, &self.remaining())))
    }
}

/// What a model does whose replies are empty and cut.
const REASONED_TO_ITS_LIMIT: &str = "the model reasoned until the length limit cut it off, before its first \
    word; raise its most tokens (`max_tokens`), or have it reason less";

/// Whether the length limit cut a reply before its first word.
fn is_cut_empty(response: &Response) -> bool {
    response.finish_reason == FinishReason::Length && visible_text(&response.text).trim().is_empty()
}
