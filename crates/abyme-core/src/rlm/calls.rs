//! What a cell may call: how its sub-calls, children and tool calls are read, allowed, made and answered.

pub(super) mod approval;
pub(super) mod arguments;
pub(super) mod batch;
pub(super) mod builtins;
pub(super) mod call_numbers;
pub(super) mod children;
pub(super) mod host;
pub(super) mod in_flight;
pub(super) mod options;
pub(super) mod reply_type;
pub(super) mod reply_values;
pub(super) mod sub_calls;
pub(super) mod tool_calls;
