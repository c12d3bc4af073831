//! The options of a sub-call, as Python gives them.

use std::time::Duration;

use super::{
    arguments::{self, given, wrong_argument},
    call_numbers::CallNumbers,
    in_flight::Question,
    reply_type::ReplyType,
};
use crate::{
    interpreter::{HostCall, HostError},
    model::{LanguageModel, Request},
    rlm::caller::ModelCaller,
    value::{Text, Value},
};

/// The highest temperature that a provider takes.
const MAX_TEMPERATURE: f64 = 2.0;

/// How a sub-call is made.
pub(in crate::rlm) struct Options<'a> {
    pub(in crate::rlm) model: &'a dyn LanguageModel,
    /// What the reply has to be, if it is more than a text.
    pub(in crate::rlm) reply_type: Option<ReplyType>,
    pub(in crate::rlm) max_tokens: Option<u32>,
    pub(in crate::rlm) temperature: Option<f64>,
    pub(in crate::rlm) timeout: Option<Duration>,
    /// Takes note of the calls that are made.
    pub(in crate::rlm) made: &'a CallNumbers,
}

impl<'a> Options<'a> {
    /// A call of `model` that leaves everything to it.
    pub(in crate::rlm) fn new(model: &'a dyn LanguageModel, made: &'a CallNumbers) -> Self {
        Self { model, reply_type: None, max_tokens: None, temperature: None, timeout: None, made }
    }

    /// The options in the arguments of a call.
    pub(in crate::rlm) fn of(
        call: &HostCall,
        caller: &ModelCaller<'a>,
        made: &'a CallNumbers,
    ) -> Result<Self, HostError> {
        let reply_type = match given(call, "schema") {
            None => None,
            Some(schema) => ReplyType::from_value(schema).map_err(|error| {
                HostError::value_error(format!(
                    "{}() needs a type as `schema`, such as list[str], a dict of types, or a JSON Schema: {}",
                    call.name,
                    error.message()
                ))
            })?,
        };
        let conventions = caller.config().profile.conventions();
        Ok(Self {
            model: &**caller.sub_model(arguments::model(call)?)?,
            reply_type,
            max_tokens: max_tokens(call)?.or_else(|| conventions?.sub_call_max_tokens),
            temperature: temperature(call)?.or_else(|| conventions?.sub_call_temperature),
            timeout: timeout(call)?,
            made,
        })
    }

    /// The request that asks for `prompt`.
    pub(in crate::rlm) fn request(&self, prompt: &str) -> Request {
        let prompt = match &self.reply_type {
            Some(reply_type) => reply_type.prompt(prompt),
            None => prompt.to_owned(),
        };
        let schema = self.reply_type.as_ref().map(|reply_type| reply_type.json_schema().clone());
        Request::prompt(prompt).max_tokens(self.max_tokens).temperature(self.temperature).schema(schema)
    }

    /// What the call shares its answer by; `None` if it asks for a draw of its own, with a temperature above
    /// 0.
    pub(in crate::rlm) fn question(&self, prompt: &Text) -> Option<Question> {
        if self.temperature.is_some_and(|temperature| temperature > 0.0) {
            return None;
        }
        Some(Question {
            prompt: prompt.clone(),
            model: std::ptr::from_ref(self.model).cast::<()>().addr(),
            reply_type: self.reply_type.as_ref().map(ToString::to_string),
            max_tokens: self.max_tokens,
            is_cold: self.temperature.is_some(),
            timeout: self.timeout,
        })
    }
}

fn max_tokens(call: &HostCall) -> Result<Option<u32>, HostError> {
    match given(call, "max_tokens") {
        None => Ok(None),
        Some(Value::Int(count)) if (1..=i64::from(u32::MAX)).contains(count) => {
            Ok(u32::try_from(*count).ok())
        }
        Some(value @ (Value::Int(_) | Value::BigInt(_))) => {
            Err(out_of_range(call, "max_tokens", "from 1 to 4294967295", value))
        }
        other => Err(wrong_argument(&call.name, "max_tokens", "an int", other)),
    }
}

fn temperature(call: &HostCall) -> Result<Option<f64>, HostError> {
    let Some(value) = given(call, "temperature") else { return Ok(None) };
    let number = number(call, "temperature", value)?;
    match (0.0..=MAX_TEMPERATURE).contains(&number) {
        true => Ok(Some(number)),
        false => Err(out_of_range(call, "temperature", "from 0 to 2", value)),
    }
}

fn timeout(call: &HostCall) -> Result<Option<Duration>, HostError> {
    let Some(value) = given(call, "timeout") else { return Ok(None) };
    let number = number(call, "timeout", value)?;
    match Duration::try_from_secs_f64(number) {
        Ok(limit) if !limit.is_zero() => Ok(Some(limit)),
        _ => Err(out_of_range(call, "timeout", "above 0, in seconds", value)),
    }
}

fn number(call: &HostCall, parameter: &str, value: &Value) -> Result<f64, HostError> {
    match value {
        Value::Int(number) => Ok(*number as f64),
        Value::Float(number) => Ok(*number),
        Value::BigInt(_) => Ok(f64::INFINITY),
        other => Err(wrong_argument(&call.name, parameter, "a number", Some(other))),
    }
}

fn out_of_range(call: &HostCall, parameter: &str, range: &str, value: &Value) -> HostError {
    HostError::value_error(format!("{}() needs a `{parameter}` {range}, not {}", call.name, value.repr(60)))
}
