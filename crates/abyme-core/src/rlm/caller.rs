//! Calls the models of one run: within its budget and its time, tried again as its policy says, and recorded.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::Instrument;

use super::{budget::Budget, config::RlmConfig};
use crate::{
    error::{Error, ErrorKind, Result},
    interpreter::HostError,
    limits::Limits,
    model::{LanguageModel, Message, Request, Response, Usage},
    status::Limit,
    trajectory::{CallOutcome, Event, Purpose, Recorder},
};

/// How long the extract call may take when the time of the run is over.
const EXTRACT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long after its time limit a model may still answer, before the call is dropped. Models keep the limit
/// themselves, and their errors say more.
const ANSWER_GRACE: Duration = Duration::from_millis(250);

/// Calls the models of one run. The one place that limits a call's time and tries it again.
pub(super) struct ModelCaller<'a> {
    config: &'a RlmConfig,
    limits: &'a Limits,
    budget: &'a Budget,
    recorder: &'a Recorder,
}

impl<'a> ModelCaller<'a> {
    pub(super) fn new(
        config: &'a RlmConfig,
        limits: &'a Limits,
        budget: &'a Budget,
        recorder: &'a Recorder,
    ) -> Self {
        Self { config, limits, budget, recorder }
    }

    pub(super) fn budget(&self) -> &'a Budget {
        self.budget
    }

    pub(super) fn recorder(&self) -> &'a Recorder {
        self.recorder
    }

    /// Asks the root model and records its reply.
    ///
    /// At the end of a run whose time is over, it has [`EXTRACT_TIMEOUT`] for all its tries: a caller who
    /// sets a limit does not want to wait for long after it.
    pub(super) async fn root(&self, turn: u32, purpose: Purpose, messages: &[Message]) -> Result<Response> {
        let total = match (purpose, self.budget.exhausted_now()) {
            (Purpose::Extract, Some(Limit::Time)) => Some(EXTRACT_TIMEOUT),
            (Purpose::Extract, _) => None,
            _ => self.budget.within_run(None),
        };
        let started = Instant::now();
        let response = self.call(&*self.config.model, total, || Request::new(messages.to_vec())).await?;
        self.recorder.record(Event::ModelReplied {
            turn,
            purpose,
            text: response.text.clone(),
            finish_reason: response.finish_reason.clone(),
            usage: response.usage,
            seconds: started.elapsed().as_secs_f64(),
        });
        Ok(response)
    }

    /// Reserves `count` sub-calls at once, so that a batch runs whole or not at all.
    pub(super) fn reserve_sub_calls(&self, count: u32) -> Result<(), HostError> {
        self.budget.reserve_sub_calls(count)
    }

    /// One call of the sub-model, already reserved. Its outcome is recorded, also if the cell ends first.
    pub(super) async fn sub_call(
        &self,
        turn: u32,
        function: &str,
        prompt: &str,
        model: Option<&str>,
    ) -> Result<Response> {
        let _permit = self.budget.call_permit().await;
        self.budget.check()?;
        let sub_model = &*self.config.sub_model;
        let mut record = SubCallRecord {
            recorder: self.recorder,
            turn,
            function,
            model: model.unwrap_or(sub_model.name()),
            prompt,
            started: Instant::now(),
            is_recorded: false,
        };
        let request = || Request::prompt(prompt).model(model.map(str::to_owned));
        let result = self.call(sub_model, self.budget.within_run(None), request).await;
        record.done(&result);
        result
    }

    /// Calls a model until it answers, fails for good, or `total` is over, the pauses between tries included.
    async fn call(
        &self,
        model: &dyn LanguageModel,
        total: Option<Duration>,
        request: impl Fn() -> Request,
    ) -> Result<Response> {
        let deadline = total.and_then(|total| Instant::now().checked_add(total));
        let span = tracing::info_span!("model_call", model = model.name());
        let calls = self.config.retry.run(|_| self.call_once(model, deadline, &request)).instrument(span);
        match total {
            None => calls.await,
            Some(total) => timeout(total.saturating_add(ANSWER_GRACE), calls)
                .await
                .unwrap_or_else(|_| Err(timed_out(model, total))),
        }
    }

    /// One try: gives the model its time limit, drops the call a moment after it, and settles what it used.
    async fn call_once(
        &self,
        model: &dyn LanguageModel,
        deadline: Option<Instant>,
        request: impl Fn() -> Request,
    ) -> Result<Response> {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let limit = left.map_or(self.limits.model_timeout, |left| left.min(self.limits.model_timeout));
        let request = request().timeout(limit);
        let answer = timeout(limit.saturating_add(ANSWER_GRACE), model.complete(&request)).await;
        match answer.unwrap_or_else(|_| Err(timed_out(model, limit))) {
            Ok(mut response) => {
                response.usage.calls = response.usage.calls.max(1);
                self.budget.settle(response.usage);
                Ok(response)
            }
            Err(error) => {
                self.budget.settle(Usage::call());
                // No time is left for another try.
                let is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
                Err(if is_late { error.permanent() } else { error })
            }
        }
    }
}

/// Records a sub-call when it is over: answered, failed, or dropped with its cell.
struct SubCallRecord<'a> {
    recorder: &'a Recorder,
    turn: u32,
    function: &'a str,
    model: &'a str,
    prompt: &'a str,
    started: Instant,
    is_recorded: bool,
}

impl SubCallRecord<'_> {
    fn done(&mut self, result: &Result<Response>) {
        match result {
            Ok(response) => self.record(CallOutcome::Result(response.text.clone()), response.usage),
            Err(error) => self.record(CallOutcome::Error(error.to_string()), Usage::default()),
        }
    }

    fn record(&mut self, outcome: CallOutcome<String>, usage: Usage) {
        self.is_recorded = true;
        self.recorder.record(Event::SubCall {
            turn: self.turn,
            function: self.function.to_owned(),
            model: self.model.to_owned(),
            prompt: self.prompt.to_owned(),
            outcome,
            usage,
            seconds: self.started.elapsed().as_secs_f64(),
        });
    }
}

impl Drop for SubCallRecord<'_> {
    fn drop(&mut self) {
        if !self.is_recorded {
            self.record(CallOutcome::Error("the call was cancelled".to_owned()), Usage::default());
        }
    }
}

fn timed_out(model: &dyn LanguageModel, limit: Duration) -> Error {
    let message = format!("model `{}` did not answer within {:.1} s", model.name(), limit.as_secs_f64());
    Error::new(ErrorKind::ModelTimeout, message)
}
