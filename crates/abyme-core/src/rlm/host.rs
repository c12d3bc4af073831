//! Serves the calls of a cell: sub-calls to models, and the user's tools.

use async_trait::async_trait;
use tracing::Instrument;

use super::{
    builtins::{LLM_BATCH, LLM_QUERY, LLM_QUERY_BATCHED},
    caller::ModelCaller,
    sub_calls::SubCalls,
    tool_calls::ToolCalls,
};
use crate::{
    interpreter::{HostCall, HostError, HostFunctions},
    tool::{Tool, ToolUses},
    value::Value,
};

/// The host functions of one cell.
pub(super) struct CellHost<'a> {
    sub_calls: SubCalls<'a>,
    tool_calls: ToolCalls<'a>,
}

impl<'a> CellHost<'a> {
    pub(super) fn new(
        caller: &'a ModelCaller<'a>,
        tools: &'a [Tool],
        tool_uses: &'a ToolUses,
        turn: u32,
    ) -> Self {
        let tool_calls = ToolCalls::new(caller, tools, tool_uses, turn);
        Self { sub_calls: SubCalls::new(caller, turn), tool_calls }
    }
}

#[async_trait]
impl HostFunctions for CellHost<'_> {
    async fn call(&self, call: HostCall) -> Result<Value, HostError> {
        let span = tracing::info_span!("host_call", function = call.name);
        async {
            match call.name.as_str() {
                LLM_QUERY => self.sub_calls.llm_query(&call).await,
                LLM_QUERY_BATCHED | LLM_BATCH => self.sub_calls.llm_query_batched(&call).await,
                _ => self.tool_calls.call(call).await,
            }
        }
        .instrument(span)
        .await
    }
}
