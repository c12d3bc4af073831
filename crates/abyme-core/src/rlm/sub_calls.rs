//! Serves `llm_query` and its batched form: the model calls that a cell makes.

use futures_util::future::join_all;

use super::{
    arguments::{self, check_prompt, wrong_argument},
    budget::Reservation,
    builtins::{LLM_QUERY, LLM_QUERY_BATCHED},
    caller::{ModelCaller, SubCall},
};
use crate::{
    error::Result,
    interpreter::{HostCall, HostError},
    model::{LanguageModel, Request},
    signature::TaskSignature,
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
            other => return Err(wrong_argument(LLM_QUERY, "prompt", "a str", other)),
        };
        check_prompt(prompt)?;
        let model = &**self.caller.sub_model(arguments::model(call)?)?;
        let request = Request::prompt(prompt);
        let reserved = self.caller.reserve_sub_call(model, &request)?;
        Ok(self.ask(LLM_QUERY, model, request, reserved).await?.into())
    }

    async fn ask(
        &self,
        function: &str,
        model: &dyn LanguageModel,
        request: Request,
        reserved: Reservation,
    ) -> Result<String> {
        let call = SubCall { function, model, request, timeout: None, repairs: None };
        self.caller.sub_call(self.turn, &call, reserved).await.map(|answer| answer.text)
    }

    pub(super) async fn llm_query_batched(&self, call: &HostCall) -> Result<Value, HostError> {
        let texts = arguments::texts(call, "prompts")?;
        let model = &**self.caller.sub_model(arguments::model(call)?)?;
        let prompts = texts.iter().map(|text| text.as_str()).filter(|prompt| check_prompt(prompt).is_ok());
        let requests: Vec<_> = prompts.map(Request::prompt).collect();
        let reserved = self.caller.reserve_sub_calls(model, &requests)?;
        let mut calls = requests.into_iter().zip(reserved);
        let replies = texts.into_iter().map(|prompt| {
            let call = check_prompt(prompt.as_str()).map(|()| calls.next());
            async {
                let Some((request, reserved)) = call.map_err(|error| error.message)? else {
                    return Err("the prompt was not sent".to_owned());
                };
                let reply = self.ask(LLM_QUERY_BATCHED, model, request, reserved).await;
                reply.map_err(|error| error.to_string())
            }
        });
        let replies = join_all(replies).await.into_iter();
        Ok(Value::list(
            replies
                .map(|reply: Result<_, String>| reply.unwrap_or_else(|message| format!("[ERROR] {message}"))),
        ))
    }

    /// Answers in the place of a run that cannot be started here: the model's reply, as the only output of
    /// `signature` or a JSON object of all.
    pub(super) async fn answer(
        &self,
        function: &str,
        model: &dyn LanguageModel,
        prompt: String,
        signature: TaskSignature,
    ) -> Result<Value, HostError> {
        let request = Request::prompt(prompt);
        let reserved = self.caller.reserve_sub_call(model, &request)?;
        let reply = self.ask(function, model, request, reserved).await?;
        let _ = signature;
        Ok(reply.into())
    }
}
