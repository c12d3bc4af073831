//! Serves `llm_query` and its batched form: the model calls that a cell makes.

use futures_util::future::join_all;

use super::{
    builtins::{LLM_QUERY, LLM_QUERY_BATCHED},
    caller::{ModelCaller, SubCall},
};
use crate::{
    error::Result,
    interpreter::{HostCall, HostError},
    model::{LanguageModel, Request},
    value::Value,
};

/// The sub-calls of one cell.
pub(super) struct SubCalls<'a> {
    caller: &'a ModelCaller<'a>,
    turn: u32,
}

impl<'a> SubCalls<'a> {
    pub(super) fn new(caller: &'a ModelCaller<'a>, turn: u32) -> Self {
        Self { caller, turn }
    }

    pub(super) async fn llm_query(&self, call: &HostCall) -> Result<Value, HostError> {
        let prompt = match call.kwargs.get("prompt") {
            Some(Value::Text(prompt)) => prompt.as_str(),
            other => return Err(wrong_prompt(LLM_QUERY, "prompt", "a str", other)),
        };
        check_prompt(prompt)?;
        let model = self.caller.sub_model(model_argument(call)?)?;
        self.caller.reserve_sub_calls(1)?;
        Ok(self.ask(LLM_QUERY, prompt, model).await?.into())
    }

    async fn ask(&self, function: &str, prompt: &str, model: &dyn LanguageModel) -> Result<String> {
        let request = Request::prompt(prompt);
        let call = SubCall { function, model, request, timeout: None, repairs: None };
        self.caller.sub_call(self.turn, &call).await.map(|answer| answer.text)
    }

    pub(super) async fn llm_query_batched(&self, call: &HostCall) -> Result<Value, HostError> {
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
            let reply = self.ask(LLM_QUERY_BATCHED, prompt, model).await;
            reply.map_err(|error| error.to_string())
        });
        let replies = join_all(replies).await.into_iter();
        Ok(Value::list(
            replies
                .map(|reply: Result<_, String>| reply.unwrap_or_else(|message| format!("[ERROR] {message}"))),
        ))
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
