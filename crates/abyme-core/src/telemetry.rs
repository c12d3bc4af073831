//! The `tracing` spans of a run, by the names of OpenTelemetry's GenAI conventions, written down once.
//!
//! | span | is |
//! |---|---|
//! | `invoke_workflow` | a run |
//! | `invoke_agent` | a child run |
//! | `execute_tool` with the tool `python` | a cell |
//! | `execute_tool` with another | a call of a host function |
//! | `chat` | one try of a model call |
//!
//! What a span cannot know when it begins (`gen_ai.usage.*`, `otel.status_code`, ...) is recorded at its end.
//! Texts of people and models are in no span, unless [`SpanContent::Shown`] asks for them.

use serde_json::json;
use tracing::{Instrument, Span, field::Empty};

use crate::{
    error::{Error, Result},
    interpreter::{HostCall, HostError, Observation},
    model::{FinishReason, LanguageModel, Request, Response, Usage},
    signature::TaskSignature,
    value::Value,
};

/// Whether the `tracing` spans of a run hold what people and models wrote. Set by
/// [`span_content`](crate::RlmBuilder::span_content).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpanContent {
    /// Numbers and names only.
    #[default]
    Hidden,
    /// Messages, code, arguments and results too.
    Shown,
}

impl SpanContent {
    fn of(self, text: impl FnOnce() -> String) -> Option<String> {
        (self == SpanContent::Shown).then(text)
    }
}

/// The span of a run.
pub(crate) fn run(id: &str, label: Option<&str>, signature: &TaskSignature) -> Span {
    tracing::info_span!(
        "invoke_workflow",
        otel.name = match label {
            Some(label) => format!("invoke_workflow {label}"),
            None => "invoke_workflow".to_owned(),
        },
        otel.kind = "internal",
        otel.status_code = Empty,
        "error.type" = Empty,
        gen_ai.operation.name = "invoke_workflow",
        gen_ai.workflow.name = label,
        gen_ai.conversation.id = id,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.cache_read.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        gen_ai.usage.reasoning.output_tokens = Empty,
        abyme.cost = Empty,
        abyme.signature = %signature,
    )
}

/// The span of a child run.
pub(crate) fn child(id: &str, depth: u32, signature: &TaskSignature) -> Span {
    tracing::info_span!(
        "invoke_agent",
        otel.name = "invoke_agent child",
        otel.kind = "internal",
        otel.status_code = Empty,
        "error.type" = Empty,
        gen_ai.operation.name = "invoke_agent",
        gen_ai.agent.name = "child",
        gen_ai.agent.id = id,
        abyme.depth = depth,
        abyme.signature = %signature,
    )
}

/// The span of a cell.
pub(crate) fn cell(turn: u32, code: &str, content: SpanContent) -> Span {
    tracing::info_span!(
        "execute_tool",
        otel.name = "execute_tool python",
        otel.kind = "internal",
        otel.status_code = Empty,
        "error.type" = Empty,
        gen_ai.operation.name = "execute_tool",
        gen_ai.tool.name = "python",
        gen_ai.tool.call.arguments = content.of(|| json!({"code": code}).to_string()),
        abyme.turn = turn,
    )
}

/// The span of a call of a host function.
pub(crate) fn host_call(call: &HostCall, content: SpanContent) -> Span {
    let arguments = || {
        let arguments = call.kwargs.iter().map(|(name, value)| (name.clone(), value.to_json()));
        serde_json::Value::Object(arguments.collect()).to_string()
    };
    tracing::info_span!(
        "execute_tool",
        otel.name = format!("execute_tool {}", call.name),
        otel.kind = "internal",
        otel.status_code = Empty,
        "error.type" = Empty,
        gen_ai.operation.name = "execute_tool",
        gen_ai.tool.name = call.name,
        gen_ai.tool.call.arguments = content.of(arguments),
        gen_ai.tool.call.result = Empty,
    )
}

/// The span of one try of a model call.
pub(crate) fn chat(model: &dyn LanguageModel, request: &Request, content: SpanContent) -> Span {
    let name = request.model.as_deref().unwrap_or(model.name());
    let messages = || serde_json::to_string(&request.messages).unwrap_or_default();
    tracing::info_span!(
        "chat",
        otel.name = format!("chat {name}"),
        otel.kind = "client",
        otel.status_code = Empty,
        "error.type" = Empty,
        gen_ai.operation.name = "chat",
        gen_ai.request.model = name,
        gen_ai.request.max_tokens = request.max_tokens,
        gen_ai.request.temperature = request.temperature,
        gen_ai.response.model = Empty,
        gen_ai.response.finish_reasons = Empty,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.cache_read.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        gen_ai.usage.reasoning.output_tokens = Empty,
        gen_ai.input.messages = content.of(messages),
        gen_ai.output.messages = Empty,
        abyme.cost = Empty,
    )
}

/// Runs `future` in a span, which says at its end whether it failed.
pub(crate) async fn within<T, E: Failure>(
    span: &Span,
    future: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let result = future.instrument(span.clone()).await;
    if let Err(error) = &result {
        failed(span, &error.type_name());
    }
    result
}

/// What ended an operation.
pub(crate) trait Failure {
    /// Its kind, of which there are few.
    fn type_name(&self) -> String;
}

impl Failure for Error {
    fn type_name(&self) -> String {
        // Without what a kind may carry, such as the time to wait.
        let kind = format!("{:?}", self.kind());
        kind.split(' ').next().unwrap_or_default().to_owned()
    }
}

impl Failure for HostError {
    fn type_name(&self) -> String {
        self.type_name.clone()
    }
}

/// Records that the span's operation failed.
fn failed(span: &Span, type_name: &str) {
    span.record("otel.status_code", "ERROR").record("error.type", type_name);
}

/// Records what an answer says of itself.
pub(crate) fn answered(span: &Span, response: &Response, content: SpanContent) {
    let reason = match &response.finish_reason {
        FinishReason::Other(reason) => reason.clone(),
        reason => json!(reason).as_str().unwrap_or_default().to_owned(),
    };
    span.record("gen_ai.response.finish_reasons", json!([reason]).to_string());
    if let Some(model) = &response.model {
        span.record("gen_ai.response.model", model);
    }
    used(span, &response.usage);
    if let Some(text) = content.of(|| json!([{"role": "assistant", "content": response.text}]).to_string()) {
        span.record("gen_ai.output.messages", text);
    }
}

/// Records what an operation used, as far as it is known.
pub(crate) fn used(span: &Span, usage: &Usage) {
    let tokens = [
        ("gen_ai.usage.input_tokens", usage.input_tokens),
        ("gen_ai.usage.cache_read.input_tokens", usage.cached_tokens),
        ("gen_ai.usage.output_tokens", usage.output_tokens),
        ("gen_ai.usage.reasoning.output_tokens", usage.reasoning_tokens),
    ];
    for (field, tokens) in tokens {
        if let Some(tokens) = tokens {
            span.record(field, tokens);
        }
    }
    if let Some(cost) = usage.cost {
        span.record("abyme.cost", cost);
    }
}

/// Records what a host function returned.
pub(crate) fn returned(span: &Span, value: &Value, content: SpanContent) {
    if let Some(text) = content.of(|| value.to_json().to_string()) {
        span.record("gen_ai.tool.call.result", text);
    }
}

/// Records how a cell ended.
pub(crate) fn observed(span: &Span, observation: &Observation) {
    if let Some(error) = &observation.error {
        failed(span, &error.type_name);
    } else if observation.session_ended.is_some() || observation.restored.is_some() {
        failed(span, "SessionEnded");
    } else if observation.interruption.is_some() {
        failed(span, "TimeoutError");
    }
}
