//! Serves the calls of a run's cells: sub-calls to the model, and the user's tools.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures_util::future::join_all;
use tracing::Instrument;

use super::{
    Shared, Status,
    budget::Budget,
    builtins::{LLM_BATCH, LLM_QUERY, LLM_QUERY_BATCHED},
};
use crate::{
    Error, ErrorKind, Event, HostCall, HostError, HostFunctions, LanguageModel, ParameterKind, Request,
    Response, Result, Usage, Value,
    trajectory::{Outcome, Recorder},
};

/// How long the extract call may take when the time of the run is over.
const EXTRACT_TIME: Duration = Duration::from_secs(60);

/// The host functions of one run.
pub(super) struct RunHost<'a> {
    shared: &'a Shared,
    budget: &'a Budget,
    recorder: &'a Recorder,
    turn: AtomicU32,
}

impl<'a> RunHost<'a> {
    pub(super) fn new(shared: &'a Shared, budget: &'a Budget, recorder: &'a Recorder) -> Self {
        Self { shared, budget, recorder, turn: AtomicU32::new(0) }
    }

    /// Sets the turn that events belong to.
    pub(super) fn set_turn(&self, turn: u32) {
        self.turn.store(turn, Ordering::Relaxed);
    }

    fn turn(&self) -> u32 {
        self.turn.load(Ordering::Relaxed)
    }

    async fn llm_query(&self, call: &HostCall) -> Result<Value, HostError> {
        let prompt = match call.kwargs.get("prompt") {
            Some(Value::Text(prompt)) => prompt.as_str(),
            other => return Err(wrong_prompt(LLM_QUERY, "prompt", "a str", other)),
        };
        check_prompt(prompt)?;
        let model = model_argument(call)?;
        self.budget.reserve_sub_calls(1)?;
        let response = self.sub_call(LLM_QUERY, prompt, model.as_deref()).await?;
        Ok(response.text.into())
    }

    async fn llm_query_batched(&self, call: &HostCall) -> Result<Value, HostError> {
        // A text is a sequence too: taken for a list it would become one call for each of its characters.
        let prompts = match call.kwargs.get("prompts") {
            Some(Value::List(prompts)) => prompts,
            other => return Err(wrong_prompt(&call.name, "prompts", "a list of str", other)),
        };
        let mut texts = Vec::with_capacity(prompts.len());
        for (index, prompt) in prompts.iter().enumerate() {
            match prompt {
                Value::Text(prompt) => texts.push(prompt.as_str()),
                other => {
                    let message = format!(
                        "{}() needs a list of str, but prompts[{index}] is of type {}",
                        call.name,
                        other.type_name()
                    );
                    return Err(HostError::type_error(message));
                }
            }
        }
        let model = model_argument(call)?;
        let asked = texts.iter().filter(|prompt| check_prompt(prompt).is_ok()).count();
        self.budget.reserve_sub_calls(u32::try_from(asked).unwrap_or(u32::MAX))?;
        let replies = texts.into_iter().map(|prompt| async {
            check_prompt(prompt).map_err(|error| error.message)?;
            let reply = self.sub_call(LLM_QUERY_BATCHED, prompt, model.as_deref()).await;
            reply.map_err(|error| error.to_string())
        });
        let replies =
            join_all(replies).await.into_iter().map(|reply: Result<Response, String>| match reply {
                Ok(response) => response.text,
                Err(message) => format!("[ERROR] {message}"),
            });
        Ok(Value::list(replies))
    }

    /// One call of the sub-model, already reserved. What becomes of it is recorded, also if the cell ends first.
    async fn sub_call(&self, function: &str, prompt: &str, model: Option<&str>) -> Result<Response> {
        let _flight = self.budget.flight().await;
        self.budget.check()?;
        let mut record =
            SubCallRecord { host: self, function, model, prompt, started: Instant::now(), done: false };
        let request = Request::prompt(prompt).model(model.map(str::to_owned));
        let result = self.ask(&*self.shared.sub_model, &request).await;
        record.done(&result);
        result
    }

    /// Asks a model within the run's time, tries again as the policy says, and settles what it used.
    pub(super) async fn ask(&self, model: &dyn LanguageModel, request: &Request) -> Result<Response> {
        self.ask_within(model, request, self.budget.within_run(None)).await
    }

    /// Asks the root model for the outputs, at the end of a run. Where its time is over already, this call has
    /// [`EXTRACT_TIME`] with all its retries: who sets a limit does not want to wait for long after it.
    pub(super) async fn ask_at_the_end(&self, request: &Request) -> Result<Response> {
        let is_late = self.budget.exhausted_now() == Some(Status::MaxTime);
        self.ask_within(&*self.shared.model, request, is_late.then_some(EXTRACT_TIME)).await
    }

    /// Asks a model with a limit on all its tries together.
    async fn ask_within(
        &self,
        model: &dyn LanguageModel,
        request: &Request,
        limit: Option<Duration>,
    ) -> Result<Response> {
        let asking = self.ask_freely(model, request);
        match limit {
            None => asking.await,
            Some(limit) => {
                tokio::time::timeout(limit, asking).await.unwrap_or_else(|_| Err(timed_out(model, limit)))
            }
        }
    }

    /// Asks a model without regard to the time of the run.
    async fn ask_freely(&self, model: &dyn LanguageModel, request: &Request) -> Result<Response> {
        let limit = self.shared.limits.model_timeout;
        let span = tracing::info_span!("model_call", model = model.name());
        let attempt = |_| async {
            let answer = tokio::time::timeout(limit, model.complete(request)).await;
            let mut answer = answer.unwrap_or_else(|_| Err(timed_out(model, limit)));
            match &mut answer {
                Ok(response) => {
                    response.usage.calls = response.usage.calls.max(1);
                    self.budget.settle(response.usage);
                }
                Err(_) => self.budget.settle(Usage::call()),
            }
            answer
        };
        self.shared.retry.run(attempt).instrument(span).await
    }

    async fn tool(&self, call: HostCall) -> Result<Value, HostError> {
        let Some(tool) = self.shared.tools.iter().find(|tool| tool.name() == call.name) else {
            return Err(HostError::new("NameError", format!("the host has no function `{}`", call.name)));
        };
        let mut call = call;
        if let Some(rest) =
            tool.spec().parameters.iter().find(|given| given.kind == ParameterKind::VarPositional)
        {
            // Tools take their arguments by name, so what `*args` took comes under its name.
            call.kwargs.insert(rest.name.clone(), Value::List(std::mem::take(&mut call.args)));
        }
        let started = Instant::now();
        let result = tool.call(call.kwargs.clone()).await;
        self.recorder.record(Event::ToolCall {
            turn: self.turn(),
            tool: call.name,
            arguments: call.kwargs,
            outcome: match &result {
                Ok(value) => Outcome::Result(value.clone()),
                Err(error) => Outcome::Error(error.to_string()),
            },
            seconds: started.elapsed().as_secs_f64(),
        });
        result
    }
}

/// Records a sub-call when it is over: answered, failed, or dropped with its cell.
struct SubCallRecord<'a> {
    host: &'a RunHost<'a>,
    function: &'a str,
    model: Option<&'a str>,
    prompt: &'a str,
    started: Instant,
    done: bool,
}

impl SubCallRecord<'_> {
    fn done(&mut self, result: &Result<Response>) {
        self.done = true;
        match result {
            Ok(response) => self.record(Outcome::Result(response.text.clone()), response.usage),
            Err(error) => self.record(Outcome::Error(error.to_string()), Usage::default()),
        }
    }

    fn record(&self, outcome: Outcome<String>, usage: Usage) {
        self.host.recorder.record(Event::SubCall {
            turn: self.host.turn(),
            function: self.function.to_owned(),
            model: self.model.unwrap_or(self.host.shared.sub_model.name()).to_owned(),
            prompt: self.prompt.to_owned(),
            outcome,
            usage,
            seconds: self.started.elapsed().as_secs_f64(),
        });
    }
}

impl Drop for SubCallRecord<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.record(Outcome::Error("the call was cancelled".to_owned()), Usage::default());
        }
    }
}

#[async_trait]
impl HostFunctions for RunHost<'_> {
    async fn call(&self, call: HostCall) -> Result<Value, HostError> {
        let span = tracing::info_span!("host_call", function = call.name);
        async {
            match call.name.as_str() {
                LLM_QUERY => self.llm_query(&call).await,
                LLM_QUERY_BATCHED | LLM_BATCH => self.llm_query_batched(&call).await,
                _ => self.tool(call).await,
            }
        }
        .instrument(span)
        .await
    }
}

fn timed_out(model: &dyn LanguageModel, limit: Duration) -> Error {
    let message = format!("model `{}` did not answer within {:.1} s", model.name(), limit.as_secs_f64());
    Error::new(ErrorKind::ModelTimeout, message)
}

fn wrong_prompt(function: &str, parameter: &str, wanted: &str, came: Option<&Value>) -> HostError {
    let came = came.map_or("nothing", Value::type_name);
    HostError::type_error(format!("{function}() needs {wanted} as `{parameter}`, not {came}"))
}

fn check_prompt(prompt: &str) -> Result<(), HostError> {
    match prompt.trim() {
        "" => Err(HostError::value_error("the prompt is empty")),
        _ => Ok(()),
    }
}

fn model_argument(call: &HostCall) -> Result<Option<String>, HostError> {
    match call.kwargs.get("model") {
        None | Some(Value::None) => Ok(None),
        Some(Value::Text(name)) => Ok(Some(name.as_str().to_owned())),
        Some(other) => Err(HostError::type_error(format!(
            "{}() needs a model's name as `model`, not {}",
            call.name,
            other.type_name()
        ))),
    }
}
