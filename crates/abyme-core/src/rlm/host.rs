//! Serves the calls of a cell: sub-calls to the model, and the user's tools.

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::time::Instant;
use tracing::Instrument;

use super::{
    builtins::{LLM_BATCH, LLM_QUERY, LLM_QUERY_BATCHED},
    caller::{CANCELLED, ModelCaller},
    guard::OnDrop,
};
use crate::{
    interpreter::{HostCall, HostError, HostFunctions},
    tool::Tool,
    trajectory::{CallOutcome, Event},
    value::Value,
};

/// The host functions of one cell.
pub(super) struct CellHost<'a> {
    caller: &'a ModelCaller<'a>,
    tools: &'a [Tool],
    turn: u32,
}

impl<'a> CellHost<'a> {
    pub(super) fn new(caller: &'a ModelCaller<'a>, tools: &'a [Tool], turn: u32) -> Self {
        Self { caller, tools, turn }
    }

    async fn llm_query(&self, call: &HostCall) -> Result<Value, HostError> {
        let prompt = match call.kwargs.get("prompt") {
            Some(Value::Text(prompt)) => prompt.as_str(),
            other => return Err(wrong_prompt(LLM_QUERY, "prompt", "a str", other)),
        };
        check_prompt(prompt)?;
        let model = self.caller.sub_model(model_argument(call)?)?;
        self.caller.reserve_sub_calls(1)?;
        Ok(self.caller.sub_call(self.turn, LLM_QUERY, prompt, model).await?.into())
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
        let model = self.caller.sub_model(model_argument(call)?)?;
        let valid = texts.iter().filter(|prompt| check_prompt(prompt).is_ok()).count();
        self.caller.reserve_sub_calls(u32::try_from(valid).unwrap_or(u32::MAX))?;
        let replies = texts.into_iter().map(|prompt| async {
            check_prompt(prompt).map_err(|error| error.message)?;
            let reply = self.caller.sub_call(self.turn, LLM_QUERY_BATCHED, prompt, model).await;
            reply.map_err(|error| error.to_string())
        });
        let replies = join_all(replies).await.into_iter();
        Ok(Value::list(
            replies
                .map(|reply: Result<_, String>| reply.unwrap_or_else(|message| format!("[ERROR] {message}"))),
        ))
    }

    async fn tool(&self, call: HostCall) -> Result<Value, HostError> {
        let Some(tool) = self.tools.iter().find(|tool| tool.name() == call.name) else {
            return Err(HostError::new("NameError", format!("the host has no function `{}`", call.name)));
        };
        let arguments = tool.arguments(call);
        let (recorder, turn, number) = (self.caller.recorder(), self.turn, self.caller.next_host_call());
        recorder.record(Event::ToolCallStarted {
            turn,
            call: number,
            tool: tool.name().to_owned(),
            arguments: arguments.clone(),
        });
        let started = Instant::now();
        let finished = |outcome| {
            let seconds = started.elapsed().as_secs_f64();
            recorder.record(Event::ToolCallFinished { turn, call: number, outcome, seconds });
        };
        let unfinished = OnDrop::new(|| finished(CallOutcome::Error(CANCELLED.to_owned())));
        let result = tool.call(arguments).await;
        unfinished.disarm();
        finished(match &result {
            Ok(value) => CallOutcome::Result(value.clone()),
            Err(error) => CallOutcome::Error(error.to_string()),
        });
        result
    }
}

#[async_trait]
impl HostFunctions for CellHost<'_> {
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

fn wrong_prompt(function: &str, parameter: &str, needed: &str, given: Option<&Value>) -> HostError {
    let given = given.map_or("nothing", Value::type_name);
    HostError::type_error(format!("{function}() needs {needed} as `{parameter}`, not {given}"))
}

fn check_prompt(prompt: &str) -> Result<(), HostError> {
    match prompt.trim() {
        "" => Err(HostError::value_error("the prompt is empty")),
        _ => Ok(()),
    }
}

fn model_argument(call: &HostCall) -> Result<Option<&str>, HostError> {
    match call.kwargs.get("model") {
        None | Some(Value::None) => Ok(None),
        Some(Value::Text(name)) => Ok(Some(name.as_str())),
        Some(other) => Err(HostError::type_error(format!(
            "{}() needs a model's name as `model`, not {}",
            call.name,
            other.type_name()
        ))),
    }
}
