//! What goes to a model and what comes back.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{rate_limit::RateLimits, usage::Usage};

/// The author of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// The task and its rules.
    System,
    /// The person, or here: what a cell produced.
    User,
    /// The model.
    Assistant,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        })
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Message {
    /// Its author.
    pub role: Role,
    /// Its text.
    pub content: String,
}

impl Message {
    /// A message of the system.
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: Role::System, content: content.into() }
    }

    /// A message of the user.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    /// A message of the model.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: content.into() }
    }
}

/// A request to a model. The model's own configuration decides on everything that is not set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Request {
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// Most tokens of the reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Sampling temperature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Another model of the same provider, by name, for this request only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The JSON Schema of the reply, for models that can be held to one. The messages say it in words, so a
    /// model that ignores this field is asked for the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<serde_json::Value>,
    /// Where the parts end that later requests will repeat: indices of messages, each the last of its part.
    /// A provider that keeps a prompt only when asked is asked to keep it up to these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cache_points: Vec<usize>,
    /// How long this try may take. The loop sets it: see [`LanguageModel`](crate::LanguageModel), M5.
    #[serde(skip_serializing_if = "Option::is_none", with = "crate::seconds::option")]
    pub timeout: Option<Duration>,
}

impl Request {
    /// A request of these messages.
    pub fn new(messages: Vec<Message>) -> Self {
        Self { messages, ..Self::default() }
    }

    /// A request of one user message.
    pub fn prompt(text: impl Into<String>) -> Self {
        Self::new(vec![Message::user(text)])
    }

    /// Sets the most tokens of the reply.
    pub fn max_tokens(mut self, tokens: impl Into<Option<u32>>) -> Self {
        self.max_tokens = tokens.into();
        self
    }

    /// Sets the sampling temperature.
    pub fn temperature(mut self, temperature: impl Into<Option<f64>>) -> Self {
        self.temperature = temperature.into();
        self
    }

    /// Asks another model of the same provider.
    pub fn model(mut self, model: impl Into<Option<String>>) -> Self {
        self.model = model.into();
        self
    }

    /// Sets the JSON Schema of the reply.
    pub fn schema(mut self, schema: impl Into<Option<serde_json::Value>>) -> Self {
        self.schema = schema.into();
        self
    }

    /// Sets where the parts end that later requests will repeat.
    pub fn cache_points(mut self, messages: impl Into<Vec<usize>>) -> Self {
        self.cache_points = messages.into();
        self
    }

    /// Sets how long this try may take.
    pub fn timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.timeout = limit.into();
        self
    }

    /// What decides about the answer: all but the time and where a provider keeps the prompt.
    pub(super) fn question(&self) -> Self {
        Self { timeout: None, cache_points: Vec::new(), ..self.clone() }
    }
}

/// A model's answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Response {
    /// The text.
    pub text: String,
    /// What the model thought before it answered, where the provider tells it apart from the text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reasoning: String,
    /// What the call used.
    pub usage: Usage,
    /// Why the model stopped.
    pub finish_reason: FinishReason,
    /// The model that answered, as the provider names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The first function that the model called in the provider's own form, although it was offered none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native_call: Option<NativeCall>,
    /// The provider's own name of this call, to ask it about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What the provider said of its limits.
    #[serde(skip)]
    pub rate_limits: Option<Box<RateLimits>>,
}

/// A function call in the provider's own form (`tool_calls`), beside or in place of a text. Abyme offers no
/// functions this way, but models make such calls all the same; the loop runs the code in the arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct NativeCall {
    /// The function's name.
    pub name: String,
    /// Its arguments, as the model wrote them: as a rule a JSON object.
    pub arguments: String,
}

impl NativeCall {
    /// A call of the function `name`.
    pub fn new(name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self { name: name.into(), arguments: arguments.into() }
    }
}

impl Response {
    /// An answer of unknown usage.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Sets what the model thought before it answered.
    pub fn reasoning(mut self, reasoning: impl Into<String>) -> Self {
        self.reasoning = reasoning.into();
        self
    }

    /// Sets what the call used.
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// Sets why the model stopped.
    pub fn finish_reason(mut self, reason: FinishReason) -> Self {
        self.finish_reason = reason;
        self
    }

    /// Sets the model that answered.
    pub fn model(mut self, model: impl Into<Option<String>>) -> Self {
        self.model = model.into();
        self
    }

    /// Sets the function that the model called in the provider's own form.
    pub fn native_call(mut self, call: impl Into<Option<NativeCall>>) -> Self {
        self.native_call = call.into();
        self
    }

    /// Sets the provider's own name of this call.
    pub fn request_id(mut self, id: impl Into<Option<String>>) -> Self {
        self.request_id = id.into();
        self
    }

    /// Sets what the provider said of its limits.
    pub fn rate_limits(mut self, limits: impl Into<Option<RateLimits>>) -> Self {
        self.rate_limits = limits.into().map(Box::new);
        self
    }
}

impl<T: Into<String>> From<T> for Response {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

/// Why a model stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// It was done.
    #[default]
    Stop,
    /// The length limit cut it off.
    Length,
    /// A content filter cut it off.
    ContentFilter,
    /// Another reason, as the provider names it.
    Other(String),
}
