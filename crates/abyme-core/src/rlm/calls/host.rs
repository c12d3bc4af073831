//! Serves the calls of a cell: sub-calls to models, children, and the user's tools.

use async_trait::async_trait;

use super::{
    builtins::{
        BUDGET, LLM_BATCH, LLM_QUERY, LLM_QUERY_BATCHED, RESERVED_FUNCTIONS, RLM_QUERY, RLM_QUERY_BATCHED,
    },
    call_numbers::CallNumbers,
    children::Children,
    sub_calls::SubCalls,
    tool_calls::ToolCalls,
};
use crate::{
    interpreter::{HostCall, HostError, HostFunctions},
    rlm::{
        caller::ModelCaller,
        resume::{answers::Answers, effects::Effects},
        start::StartRun,
    },
    telemetry,
    tool::ToolUses,
    trajectory::{CallOutcome, Event},
    value::Value,
};

/// The host functions of one cell.
pub(in crate::rlm) struct CellHost<'a> {
    caller: &'a ModelCaller<'a>,
    sub_calls: SubCalls<'a>,
    children: Children<'a>,
    turn: u32,
    answers: &'a Answers,
    tool_calls: ToolCalls<'a>,
}

impl<'a> CellHost<'a> {
    pub(in crate::rlm) fn new(
        caller: &'a ModelCaller<'a>,
        start: &'a dyn StartRun,
        tool_uses: &'a ToolUses,
        effects: &'a Effects,
        turn: u32,
        answers: &'a Answers,
    ) -> Self {
        Self {
            caller,
            sub_calls: SubCalls::new(caller, turn, answers),
            children: Children::new(caller, start, tool_uses, effects, turn, answers),
            turn,
            answers,
            tool_calls: ToolCalls::new(caller, tool_uses, effects, turn, answers),
        }
    }

    /// What the model should read of the calls beside what they returned.
    pub(in crate::rlm) fn notes(&self) -> Vec<String> {
        [self.sub_calls.take_notes(), self.children.take_notes()].concat()
    }

    /// Serves a call of a built-in function, and records what it returned.
    async fn built_in(&self, call: HostCall) -> Result<Value, HostError> {
        let past = self.answers.host_call(&call.name, &call.kwargs);
        match &past {
            Some(past) if !(past.has_children && self.answers.is_replay()) => return past.result.clone(),
            Some(_) => {}
            None => self.answers.check_open(self.turn, &call.name, || call.kwargs.clone())?,
        }
        // A call that is replayed is served as it was.
        let limits = past.and_then(|past| past.limits).unwrap_or_else(|| self.caller.limits());
        let made = CallNumbers::default();
        let result = match call.name.as_str() {
            LLM_QUERY => self.sub_calls.llm_query(&call, &made).await,
            LLM_QUERY_BATCHED | LLM_BATCH => self.sub_calls.llm_query_batched(&call, &made).await,
            RLM_QUERY => self.children.rlm_query(&call, &limits, &made).await,
            RLM_QUERY_BATCHED => self.children.rlm_query_batched(&call, &limits, &made).await,
            _ => Ok(self.caller.budget().to_value()),
        };
        self.caller.recorder().record(Event::HostCallReturned {
            turn: self.turn,
            function: call.name,
            arguments: call.kwargs,
            calls: made.calls(),
            outcome: CallOutcome::of(&result),
        });
        result
    }
}

#[async_trait]
impl HostFunctions for CellHost<'_> {
    async fn call(&self, call: HostCall) -> Result<Value, HostError> {
        let content = self.caller.config().span_content;
        let span = telemetry::host_call(&call, content);
        let served = async {
            let is_budget = call.name == BUDGET && self.caller.config().offers_budget();
            match is_budget || RESERVED_FUNCTIONS.contains(&call.name.as_str()) {
                true => self.built_in(call).await,
                false => self.tool_calls.call(call).await,
            }
        };
        let result = telemetry::within(&span, served).await;
        result.iter().for_each(|value| telemetry::returned(&span, value, content));
        result
    }

    /// Models and children have time limits of their own, and so have tools that somebody is asked about.
    fn stops_clock(&self, call: &HostCall) -> bool {
        RESERVED_FUNCTIONS.contains(&call.name.as_str()) || self.tool_calls.waits_for_somebody(&call.name)
    }
}
