//! Serves the calls of a run's cells: sub-calls to the model, and the user's tools.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Instant,
};

use async_trait::async_trait;
use futures_util::future::join_all;
use tracing::Instrument;

use super::{
    Shared,
    budget::Budget,
    builtins::{LLM_BATCH, LLM_QUERY, LLM_QUERY_BATCHED},
};
use crate::{
    Error, ErrorKind, Event, HostCall, HostError, HostFunctions, LanguageModel, Request, Response, Result,
    Usage, Value,
    trajectory::{Outcome, Recorder},
};

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
        self.budget.reserve_sub_calls(u32::try_from(texts.len()).unwrap_or(u32::MAX))?;
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

    /// One call of the sub-model, already reserved.
    async fn sub_call(&self, function: &str, prompt: &str, model: Option<&str>) -> Result<Response> {
        let _flight = self.budget.flight().await;
        let started = Instant::now();
        let request = Request::prompt(prompt).model(model.map(str::to_owned));
        let result = self.ask(&*self.shared.sub_model, &request).await;
        let usage = match &result {
            Ok(response) => response.usage,
            Err(_) => Usage::call(),
        };
        self.recorder.record(Event::SubCall {
            turn: self.turn(),
            function: function.to_owned(),
            model: model.unwrap_or(self.shared.sub_model.name()).to_owned(),
            prompt: prompt.to_owned(),
            outcome: match &result {
                Ok(response) => Outcome::Result(response.text.clone()),
                Err(error) => Outcome::Error(error.to_string()),
            },
            usage,
            seconds: started.elapsed().as_secs_f64(),
        });
        result
    }

    /// Asks a model within the run's time, tries again as the policy says, and settles what it used.
    pub(super) async fn ask(&self, model: &dyn LanguageModel, request: &Request) -> Result<Response> {
        let limit = self.shared.limits.model_time;
        self.ask_within(model, request, self.budget.within_run(Some(limit)).unwrap_or(limit)).await
    }

    /// Asks a model with a time limit for each try.
    pub(super) async fn ask_within(
        &self,
        model: &dyn LanguageModel,
        request: &Request,
        limit: std::time::Duration,
    ) -> Result<Response> {
        let span = tracing::info_span!("model_call", model = model.name());
        let attempt = |_| async {
            let answer = tokio::time::timeout(limit, model.complete(request)).await;
            answer.unwrap_or_else(|_| Err(timed_out(model, limit)))
        };
        let mut response = self.shared.retry.run(attempt).instrument(span).await?;
        response.usage.calls = response.usage.calls.max(1);
        self.budget.settle(response.usage);
        Ok(response)
    }

    async fn tool(&self, call: HostCall) -> Result<Value, HostError> {
        let Some(tool) = self.shared.tools.iter().find(|tool| tool.name() == call.name) else {
            return Err(HostError::new("NameError", format!("the host has no function `{}`", call.name)));
        };
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

fn timed_out(model: &dyn LanguageModel, limit: std::time::Duration) -> Error {
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
