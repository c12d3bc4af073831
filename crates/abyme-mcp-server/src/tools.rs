//! The tools, as clients see them: names, arguments and results.

use rmcp::{
    handler::server::tool::{schema_for_input, schema_for_output},
    model::{JsonObject, Tool, ToolAnnotations},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

pub(crate) const ASK: &str = "ask";
pub(crate) const SESSION_OPEN: &str = "session_open";
pub(crate) const SESSION_RUN: &str = "session_run";
pub(crate) const SESSION_CLOSE: &str = "session_close";

/// The arguments of `ask`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskArguments {
    /// What is asked
    pub(crate) question: String,
    /// What the answer is to be found in: texts and other values of any size, by name. A name is one that
    /// Python takes for a variable
    #[serde(default)]
    pub(crate) inputs: Option<JsonObject>,
    /// Files of the server's machine that the answer is to be found in. The server allows some folders, or
    /// none
    #[serde(default)]
    pub(crate) paths: Option<Vec<String>>,
    /// Names of the answer's parts, with types as in Python: "modules: list[str], total: int". Without it the
    /// answer is one text
    #[serde(default)]
    pub(crate) outputs: Option<String>,
}

/// What `ask` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Answer {
    /// The parts of the answer, by name; one part `answer` unless others were asked for
    pub(crate) outputs: JsonObject,
    /// How the run ended: `submitted`, `answered`, `cut_short`, or the limit that was reached
    pub(crate) status: String,
    /// How many turns the model took
    pub(crate) turns: usize,
    /// What the run used: calls, tokens, and the cost where it is known
    pub(crate) usage: Json,
    /// The URI of the run's record, if it is kept
    pub(crate) record: Option<String>,
}

/// The arguments of `session_open`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenArguments {
    /// Values that the session begins with, by the names of their variables
    #[serde(default)]
    pub(crate) inputs: Option<JsonObject>,
    /// Files of the server's machine that the session begins with. The server allows some folders, or none
    #[serde(default)]
    pub(crate) paths: Option<Vec<String>>,
}

/// What `session_open` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct OpenReply {
    /// What the other tools know the session by
    pub(crate) session: String,
    /// The variables that it has
    pub(crate) variables: Vec<String>,
    /// Where its Python runs
    pub(crate) interpreter: String,
    /// After how many seconds without a cell it is closed
    pub(crate) idle_seconds: f64,
}

/// The arguments of `session_run`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunArguments {
    /// The session, as `session_open` named it
    pub(crate) session: String,
    /// Python. Variables, functions and imports of earlier calls are there
    pub(crate) code: String,
    /// The most seconds it may take, if that is less than the server allows
    #[serde(default)]
    pub(crate) timeout_seconds: Option<f64>,
}

/// What `session_run` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RunReply {
    /// `repr` of the last expression, unless it was `None`
    pub(crate) value: Option<String>,
    /// What was printed. A long text has a note in place of its middle, here and in the other texts
    pub(crate) stdout: String,
    /// What was written to stderr
    pub(crate) stderr: String,
    /// The exception that ended the code
    pub(crate) error: Option<Exception>,
    /// Whether the session goes on
    pub(crate) is_open: bool,
}

/// An exception of Python.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Exception {
    /// Its class
    #[serde(rename = "type")]
    pub(crate) type_name: String,
    /// Its text
    pub(crate) message: String,
    /// Its traceback
    pub(crate) traceback: String,
}

/// The arguments of `session_close`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CloseArguments {
    /// The session, as `session_open` named it
    pub(crate) session: String,
}

/// What `session_close` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CloseReply {
    /// The session that was closed
    pub(crate) session: String,
}

/// The tools of a server that can do this.
pub(crate) fn tools(asks: bool, has_sessions: bool) -> Vec<Tool> {
    let mut tools = Vec::new();
    if asks {
        tools.push(tool::<AskArguments, Answer>(
            ASK,
            "Ask about long inputs",
            "Answers a question over inputs that may be far larger than a context window: a language model \
             writes Python over them, in a sandbox, and calls models on the parts that matter. It takes \
             seconds to minutes and costs what its model calls cost.",
            ToolAnnotations::new().open_world(true),
        ));
    }
    if has_sessions {
        let closed = || ToolAnnotations::new().open_world(false);
        tools.push(tool::<OpenArguments, OpenReply>(
            SESSION_OPEN,
            "Open a Python session",
            "Opens a Python session in a sandbox. It keeps its variables from one session_run to the next.",
            closed().destructive(false),
        ));
        tools.push(tool::<RunArguments, RunReply>(
            SESSION_RUN,
            "Run Python in a session",
            "Runs Python in an open session and answers what it printed, the value of its last expression, \
             and its exception.",
            closed(),
        ));
        tools.push(tool::<CloseArguments, CloseReply>(
            SESSION_CLOSE,
            "Close a Python session",
            "Ends a session, and what runs in it.",
            closed().idempotent(true),
        ));
    }
    tools
}

fn tool<Arguments: JsonSchema + 'static, Output: JsonSchema + 'static>(
    name: &'static str,
    title: &str,
    description: &'static str,
    annotations: ToolAnnotations,
) -> Tool {
    // Fails for a type that is no struct.
    let input = schema_for_input::<Arguments>().unwrap_or_default();
    Tool::new(name, description, input)
        .with_title(title)
        .with_raw_output_schema(schema_for_output::<Output>())
        .with_annotations(annotations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_described_and_the_required_ones_named() {
        let required = |tool: &Tool| tool.input_schema.get("required").cloned().unwrap_or_default();
        let tools = tools(true, true);
        let described: Vec<_> = tools.iter().map(|tool| (&*tool.name, required(tool))).collect();
        let expected = [
            (ASK, serde_json::json!(["question"])),
            (SESSION_OPEN, Json::Null),
            (SESSION_RUN, serde_json::json!(["session", "code"])),
            (SESSION_CLOSE, serde_json::json!(["session"])),
        ];
        assert_eq!(described, expected);
        for tool in &tools {
            let properties = tool.input_schema["properties"].as_object().unwrap();
            assert!(properties.values().all(|property| property["description"].is_string()), "{tool:?}");
            assert_eq!(tool.input_schema["type"], "object");
            assert!(tool.output_schema.is_some());
        }
        assert_eq!(super::tools(false, true).len(), 3);
    }
}
