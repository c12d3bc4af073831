//! Calls the models of one run: within its budget and its time, tried again as its policy says, and recorded.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use abyme_python_syntax::visible_text;
use tokio::time::{Instant, timeout};

use super::{
    budget::{Budget, CallSize, Reservation},
    calls::call_numbers::CallNumbers,
    config::RlmConfig,
    guard::OnDrop,
    reply_stream::{Received, ReplyStream},
};
use crate::{
    error::{Error, ErrorKind, Result},
    interpreter::HostError,
    limits::Limits,
    model::{
        FinishReason, LanguageModel, Request, Response, Retries, Usage, complete_once, limits_each_try,
        stream_once, timed_out,
    },
    telemetry,
    trajectory::{CallOutcome, Event, Past, PastReply, Purpose, Recorder, StoppedEarly, usage_of},
};

/// What the record says of a call that was dropped with its cell or its run.
pub(super) const CANCELLED: &str = "the call was cancelled";

/// Calls the models of one run. The one place that limits a call's time and tries it again.
pub(super) struct ModelCaller<'a> {
    config: &'a RlmConfig,
    budget: &'a Arc<Budget>,
    recorder: &'a Recorder,
    host_calls: AtomicU32,
}

/// A model call that a cell asks for.
pub(super) struct SubCall<'r> {
    pub(super) function: &'r str,
    pub(super) model: &'r dyn LanguageModel,
    pub(super) request: Request,
    /// How long all its tries may take together.
    pub(super) timeout: Option<Duration>,
    /// The number of the call whose reply it asks to correct.
    pub(super) repairs: Option<u32>,
    /// Takes note of the number of the call.
    pub(super) made: &'r CallNumbers,
}

/// What a sub-call gave.
#[derive(Clone, Debug)]
pub(super) struct SubCallAnswer {
    /// The number of the call.
    pub(super) call: u32,
    /// The reply, without thoughts.
    pub(super) text: String,
    /// Whether the length limit cut it.
    pub(super) is_cut: bool,
}

/// What a model answered, and whether the loop ended its generation.
type ModelReply = (Response, Option<StoppedEarly>);

/// Which call a try belongs to, for the record, and when it has to be over.
#[derive(Clone, Copy)]
struct CallOf<'a> {
    turn: u32,
    call: Option<u32>,
    /// How the reply is read as it comes; a sub-call's is waited for.
    stream: Option<ReplyStream<'a>>,
    model: &'a dyn LanguageModel,
    /// When the run, or its turns, have to be over.
    deadline: Option<Instant>,
    /// When the call has to be over, and the time that it was given, where it has a limit of its own.
    own: Option<(Instant, Duration)>,
}

impl CallOf<'_> {
    /// The time left for the call.
    fn left(&self) -> Option<Duration> {
        let ends = self.deadline.into_iter().chain(self.own.map(|(at, _)| at));
        ends.min().map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Whether no time is left for the call.
    fn is_over(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// The limit of the call itself, if that is over before the run's.
    fn own_timeout(&self) -> Option<Duration> {
        let (at, limit) = self.own?;
        self.deadline.is_none_or(|deadline| at < deadline).then_some(limit)
    }
}

impl<'a> ModelCaller<'a> {
    pub(super) fn new(config: &'a RlmConfig, budget: &'a Arc<Budget>, recorder: &'a Recorder) -> Self {
        let last_call = recorder.past().map_or(0, Past::last_call);
        Self { config, budget, recorder, host_calls: AtomicU32::new(last_call) }
    }

    pub(super) fn budget(&self) -> &'a Arc<Budget> {
        self.budget
    }

    pub(super) fn config(&self) -> &'a RlmConfig {
        self.config
    }

    /// The limits that the run goes by now.
    pub(super) fn limits(&self) -> Limits {
        self.recorder.terms().limits()
    }

    pub(super) fn recorder(&self) -> &'a Recorder {
        self.recorder
    }

    /// A number for the next sub-call, child or tool call.
    pub(super) fn next_host_call(&self) -> u32 {
        self.host_calls.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A number for the next sub-call or child that a host call makes.
    pub(super) fn next_made(&self, made: &CallNumbers) -> u32 {
        let call = self.next_host_call();
        made.add(call);
        call
    }

    /// Asks the root model and records its reply, which is shown as it comes. `prefill` is what the request
    /// ends with for the model to go on from.
    ///
    /// # Errors
    /// [`ErrorKind::LimitReached`] if the run's time is the reason; else the model's error.
    pub(super) async fn root(
        &self,
        turn: u32,
        purpose: Purpose,
        request: Request,
        prefill: &str,
    ) -> Result<Response> {
        if let Some(answer) = self.past_reply(turn, purpose, &request)? {
            return answer;
        }
        self.recorder.check_live(turn)?;
        let deadline = match purpose {
            Purpose::Extract => self.budget.deadline(),
            _ => self.budget.turns_deadline(),
        };
        // A child's turns are sub-calls.
        let _permit = match self.budget.depth() {
            0 => None,
            _ => self.budget.call_permit().await,
        };
        let started = Instant::now();
        let model = &*self.config.model;
        let stream = ReplyStream {
            recorder: self.recorder,
            turn,
            purpose,
            prefill,
            may_stop: matches!(purpose, Purpose::Act | Purpose::Repair) && self.may_stop(model),
            may_be_thought: !self.config.plain_models.contains(model.name()),
        };
        let of = CallOf { turn, call: None, stream: Some(stream), model, deadline, own: None };
        let (response, stopped) = self.call(of, request).await?;
        if stopped.is_none() {
            self.config.plain_models.learn(model.name(), &response);
        }
        self.recorder.record(Event::ModelReplied {
            turn,
            purpose,
            text: response.text.clone(),
            reasoning: response.reasoning.clone(),
            native_call: response.native_call.clone(),
            finish_reason: response.finish_reason.clone(),
            stopped,
            usage: response.usage,
            seconds: started.elapsed().as_secs_f64(),
        });
        Ok(response)
    }

    /// What the record of the run answers. What it used is settled again.
    ///
    /// # Errors
    /// Those of a replay that differs.
    fn past_reply(&self, turn: u32, purpose: Purpose, request: &Request) -> Result<Option<Result<Response>>> {
        self.recorder.check_same()?;
        let set_aside = || {
            let used = self.recorder.past().map(Past::take_set_aside).unwrap_or_default();
            if used != Usage::default() {
                self.budget.recall(used, 0);
                self.recorder.say_set_aside(used);
            }
        };
        set_aside();
        let Some(PastReply { failed, answer }) = self.recorder.past_reply(turn, purpose) else {
            return Ok(None);
        };
        set_aside();
        self.recorder.check_same()?;
        failed.iter().for_each(|record| self.budget.settle_unfinished(usage_of(record)));
        let Some((record, answer)) = answer else { return Ok(None) };
        let model = &*self.config.model;
        Ok(Some(match answer {
            Ok((response, true)) => {
                self.budget.settle_unfinished(response.usage);
                Ok(response)
            }
            Ok((response, false)) => {
                self.budget.settle(model.name(), CallSize::of(request), response.usage);
                self.config.plain_models.learn(model.name(), &response);
                Ok(response)
            }
            Err(error) => {
                self.budget.settle_unfinished(usage_of(&record));
                Err(error)
            }
        }))
    }

    /// Whether a generation may end early: then the provider does not say what it cost.
    fn may_stop(&self, model: &dyn LanguageModel) -> bool {
        let conventions = self.config.profile.conventions();
        let reads_to_the_end = conventions.is_some_and(|conventions| conventions.reads_to_the_end());
        self.config.stop_early && !reads_to_the_end && (model.price().is_some() || !model.reports_cost())
    }

    /// Reserves these requests to a sub-model at once, so that a batch runs whole or not at all.
    pub(super) fn reserve_sub_calls(
        &self,
        model: &dyn LanguageModel,
        requests: &[Request],
    ) -> Result<Vec<Reservation>, HostError> {
        let sizes: Vec<_> = requests.iter().map(CallSize::of).collect();
        self.budget.reserve_sub_calls(model, &sizes)
    }

    /// Reserves one request to a sub-model.
    pub(super) fn reserve_sub_call(
        &self,
        model: &dyn LanguageModel,
        request: &Request,
    ) -> Result<Reservation, HostError> {
        let mut reserved = self.reserve_sub_calls(model, std::slice::from_ref(request))?;
        Ok(reserved.swap_remove(0))
    }

    /// Shows to those who watch the run how many calls a cell asks for.
    pub(super) fn show_asked(&self, turn: u32, count: usize, are_children: bool) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if count > 0 {
            self.recorder.show(|| Event::CallsAsked { turn, count, are_children });
        }
    }

    /// The model that a cell asks for by name, among those it may use. Without a name: the sub-model.
    pub(super) fn sub_model(&self, name: Option<&str>) -> Result<&'a Arc<dyn LanguageModel>, HostError> {
        let config = self.config;
        let Some(name) = name else { return Ok(&config.sub_model) };
        if let Some(model) = config.named_models.get(name) {
            return Ok(model);
        }
        if name == config.sub_model.name() {
            return Ok(&config.sub_model);
        }
        let known = match config.named_models.is_empty() {
            true => "this run has one model for sub-calls: leave `model` out".to_owned(),
            false => {
                let names: Vec<_> = config.named_models.keys().map(|name| format!("{name:?}")).collect();
                format!("there is {}; or leave `model` out", names.join(", "))
            }
        };
        Err(HostError::value_error(format!("no model is called {name:?}: {known}")))
    }

    /// One call of a sub-model: its answer, without thoughts. Its outcome is recorded, also if the cell ends
    /// first.
    pub(super) async fn sub_call(
        &self,
        turn: u32,
        asked: &SubCall<'_>,
        _reserved: Reservation,
    ) -> Result<SubCallAnswer, HostError> {
        let SubCall { model, request, .. } = asked;
        let _permit = self.budget.call_permit().await;
        self.budget.check()?;
        let call = self.next_made(asked.made);
        self.recorder.record(Event::SubCallStarted {
            turn,
            call,
            function: asked.function.to_owned(),
            model: model.name().to_owned(),
            prompt: request.messages.last().map(|message| message.content.clone()).unwrap_or_default(),
            max_tokens: request.max_tokens,
            temperature: request.temperature,
            repairs: asked.repairs,
        });
        let started = Instant::now();
        let finished = |outcome, is_cut, usage| {
            let seconds = started.elapsed().as_secs_f64();
            self.recorder.record(Event::SubCallFinished {
                turn,
                call,
                outcome,
                is_cut,
                usage,
                seconds,
                answered_by: None,
            });
        };
        let cancelled = || CallOutcome::Cancelled(CANCELLED.to_owned());
        let unfinished = OnDrop::new(|| finished(cancelled(), false, Usage::default()));
        let own = asked.timeout.and_then(|limit| Some((started.checked_add(limit)?, limit)));
        let of = CallOf {
            turn,
            call: Some(call),
            stream: None,
            model: *model,
            deadline: self.budget.turns_deadline(),
            own,
        };
        let result = self.call(of, request.clone()).await.map(|(response, _)| response);
        unfinished.disarm();
        let (usage, is_cut) = match &result {
            Ok(response) => (response.usage, response.finish_reason == FinishReason::Length),
            Err(_) => (Usage::default(), false),
        };
        let answer = result.and_then(|response| answer(*model, response));
        let answer = answer.map_err(|error| self.failure(&error, asked));
        finished(CallOutcome::of(&answer), is_cut, usage);
        answer.map(|text| SubCallAnswer { call, text, is_cut })
    }

    /// What a call that failed raises in the cell.
    fn failure(&self, error: &Error, asked: &SubCall<'_>) -> HostError {
        match error.kind() {
            ErrorKind::ContextTooLong => {
                let advice = self.budget.learn_too_long(asked.model, &asked.request);
                raised(error.kind(), &format!("{}. {advice}", error.message()))
            }
            kind => raised(kind, error.message()),
        }
    }

    /// Calls a model until it answers, fails for good, or the time is over, pauses between tries included.
    async fn call(&self, of: CallOf<'_>, mut request: Request) -> Result<ModelReply> {
        let mut retries = Retries::new(&self.config.retry);
        loop {
            let started = Instant::now();
            let failed = |error: &Error, backoff: Option<Duration>| {
                let usage = metered(of.model, error.usage().copied().unwrap_or_default());
                self.budget.settle_unfinished(usage);
                self.recorder.record(Event::ModelCallFailed {
                    turn: of.turn,
                    call: of.call,
                    model: of.model.name().to_owned(),
                    kind: error.kind(),
                    error: error.to_string(),
                    usage,
                    seconds: started.elapsed().as_secs_f64(),
                    retry_seconds: backoff.map(|backoff| backoff.as_secs_f64()),
                });
            };
            let cancelled = OnDrop::new(|| failed(&Error::new(ErrorKind::Cancelled, CANCELLED), None));
            let content = self.config.span_content;
            let span = telemetry::chat(of.model, &request, content);
            let result = telemetry::within(&span, self.call_once(of, &mut request)).await;
            cancelled.disarm();
            result.iter().for_each(|(response, _)| telemetry::answered(&span, response, content));
            let error = match result {
                Ok(answered) => return Ok(answered),
                Err(error) => error,
            };
            let backoff = retries.backoff_after(&error);
            match (backoff, of.left()) {
                (Some(backoff), Some(left)) if backoff >= left => {
                    // A run that is resumed does what this error leads to.
                    let error = no_time_to_retry(of, &retries.give_up(error), left);
                    failed(&error, None);
                    return Err(error);
                }
                (Some(backoff), _) => {
                    failed(&error, Some(backoff));
                    tracing::debug!(%error, backoff_seconds = backoff.as_secs_f64(), "trying again");
                    tokio::time::sleep(backoff).await;
                }
                (None, _) => {
                    failed(&error, None);
                    return Err(retries.give_up(error));
                }
            }
        }
    }

    /// One try: gives the model its time limit, drops the call a moment after it, and settles what it used.
    async fn call_once(&self, of: CallOf<'_>, request: &mut Request) -> Result<ModelReply> {
        let (model, left, asked) = (of.model, of.left(), Instant::now());
        let most = self.limits().model_timeout;
        let limit = left.map_or(most, |left| left.min(most));
        let is_short = limit < most;
        request.timeout = Some(limit);
        let request = &*request;
        let mut said = None;
        let call = Box::pin(async {
            match of.stream {
                Some(stream) => stream.receive(stream_once(model, request), &mut said).await,
                None => {
                    complete_once(model, request).await.map(|response| Received::Whole(Box::new(response)))
                }
            }
        });
        // A model that waits for its turn, or tries again, may take longer than one try, but no longer than
        // the run.
        let answer = match left {
            Some(left) if limits_each_try(model) => {
                timeout(left, call).await.unwrap_or_else(|_| Err(timed_out(model, left)))
            }
            _ => call.await,
        };
        let answer = answer.map_err(|error| match said {
            Some(said) if error.usage().is_none() => error.with_usage(said),
            _ => error,
        });
        let size = CallSize::of(request);
        match answer {
            Ok(Received::Whole(mut response)) => {
                response.usage = metered(model, response.usage);
                self.budget.settle(model.name(), size, response.usage);
                Ok((*response, None))
            }
            Ok(Received::Stopped { text, reasoning, is_counted }) => {
                let usage = match said {
                    Some(said) if is_counted => said,
                    said => self.budget.estimate_used(model.name(), size, text.len() + reasoning.len(), said),
                };
                let usage = metered(model, usage);
                self.budget.settle_unfinished(usage);
                let received = text.chars().count() + reasoning.chars().count();
                let stopped = StoppedEarly { received_chars: received as u64, is_estimated: !is_counted };
                let response = Response::new(text).reasoning(reasoning).usage(usage);
                model.stopped_early(request, &response).await;
                Ok((response, Some(stopped)))
            }
            Err(error) if error.kind() == ErrorKind::ModelTimeout && (is_short || of.is_over()) => {
                if let Some(own) = of.own_timeout() {
                    return Err(timed_out(model, own).with_source(error).permanent());
                }
                // The run's time cut the call off: that is no failure of the model.
                let message = format!(
                    "the time of the run was over {:.1} s after model `{}` was asked, before it answered",
                    asked.elapsed().as_secs_f64(),
                    model.name()
                );
                Err(Error::new(ErrorKind::LimitReached, message).with_source(error))
            }
            Err(error) => Err(error),
        }
    }
}

/// The exception in a cell that stands for a failure of this kind.
pub(super) fn raised(kind: ErrorKind, message: &str) -> HostError {
    let type_name = match kind {
        ErrorKind::ModelTimeout => "TimeoutError",
        ErrorKind::ContextTooLong => "ValueError",
        _ => "RuntimeError",
    };
    HostError::new(type_name, message)
}

/// What a call used: one call at least, unless a cache answered, and what its tokens cost where the provider
/// does not say it.
fn metered(model: &dyn LanguageModel, mut usage: Usage) -> Usage {
    if usage == Usage::nothing() {
        return usage;
    }
    usage.calls = usage.calls.max(1);
    usage.cost = usage.cost.or_else(|| model.price()?.of(&usage));
    usage
}

/// What a sub-model's response says to the cell that asked.
fn answer(model: &dyn LanguageModel, response: Response) -> Result<String> {
    let text = visible_text(&response.text);
    if !text.trim().is_empty() {
        return Ok(text);
    }
    let failed = |kind, why: &str| Err(Error::new(kind, format!("model `{}` {why}", model.name())));
    match (response.finish_reason, response.native_call) {
        (FinishReason::Length, _) => failed(
            ErrorKind::MalformedReply,
            "was cut off by its length limit before it answered; ask for less in one prompt",
        ),
        (FinishReason::ContentFilter, _) => {
            failed(ErrorKind::ContentRefused, "answered nothing that its content filter let pass")
        }
        (_, Some(call)) => failed(
            ErrorKind::MalformedReply,
            &format!("called a function, `{}`, in place of an answer; it has none", call.name),
        ),
        _ => Ok(text),
    }
}

fn no_time_to_retry(of: CallOf<'_>, error: &Error, left: Duration) -> Error {
    let usage = error.usage().copied().unwrap_or_default();
    if let Some(own) = of.own_timeout() {
        let message = format!("{}; its last try failed: {error}", timed_out(of.model, own));
        return Error::new(ErrorKind::ModelTimeout, message).with_usage(usage).permanent();
    }
    let wait = error.retry_after().map_or_else(String::new, |wait| {
        format!(
            " (the provider asks to wait {:.0} s, {:.0} s are left)",
            wait.as_secs_f64(),
            left.as_secs_f64()
        )
    });
    let message = format!("the run has no time left for another try{wait}: {error}");
    Error::new(ErrorKind::LimitReached, message).with_usage(usage)
}
