//! What calls of all tools have in common: arguments that are read, results that are written.

use abyme_core::{Error, ErrorKind, Result};
use rmcp::model::{CallToolResult, ContentBlock, JsonObject};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value as Json;

/// How a call ended.
pub(crate) enum CallEnd {
    /// With a result, also one that says what went wrong.
    Answered(CallToolResult),
    /// Its client wants no answer any more, or the server closes.
    Cancelled,
}

/// The arguments of a tool. What is wrong with them is for the model that wrote them, which can do better.
pub(crate) fn arguments<T: DeserializeOwned>(tool: &str, given: Option<JsonObject>) -> Result<T> {
    serde_json::from_value(Json::Object(given.unwrap_or_default())).map_err(|error| {
        Error::new(ErrorKind::InvalidInput, format!("{tool}: wrong arguments: {error}")).with_source(error)
    })
}

/// The result of a call that came to nothing.
pub(crate) fn failed(text: impl Into<String>) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text)])
}

/// A result as a text for models, and in full for programs.
pub(crate) fn result(text: impl Into<String>, structured: &impl Serialize) -> CallToolResult {
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.structured_content = serde_json::to_value(structured).ok();
    result
}
