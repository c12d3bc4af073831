//! Serves the calls of the user's tools, and records them.

use tokio::time::Instant;

use super::{
    caller::{CANCELLED, ModelCaller},
    guard::OnDrop,
};
use crate::{
    interpreter::{HostCall, HostError},
    tool::{Tool, ToolUses},
    trajectory::{CallOutcome, Event},
    value::Value,
};

/// The tool calls of one cell.
pub(super) struct ToolCalls<'a> {
    caller: &'a ModelCaller<'a>,
    tools: &'a [Tool],
    uses: &'a ToolUses,
    turn: u32,
}

impl<'a> ToolCalls<'a> {
    pub(super) fn new(caller: &'a ModelCaller<'a>, tools: &'a [Tool], uses: &'a ToolUses, turn: u32) -> Self {
        Self { caller, tools, uses, turn }
    }

    pub(super) async fn call(&self, call: HostCall) -> Result<Value, HostError> {
        let Some(tool) = self.tools.iter().find(|tool| tool.name() == call.name) else {
            return Err(HostError::new("NameError", format!("the host has no function `{}`", call.name)));
        };
        let arguments = tool.arguments(call);
        let admitted = self.uses.admit(tool.name()).await;
        let (recorder, turn, number) = (self.caller.recorder(), self.turn, self.caller.next_host_call());
        recorder.record(Event::ToolCallStarted {
            turn,
            call: number,
            tool: tool.name().to_owned(),
            arguments: arguments.clone(),
        });
        let started = Instant::now();
        let finished = |outcome| {
            let seconds = started.elapsed().as_secs_f64();
            recorder.record(Event::ToolCallFinished { turn, call: number, outcome, seconds });
        };
        let unfinished = OnDrop::new(|| finished(CallOutcome::Cancelled(CANCELLED.to_owned())));
        let result = match admitted {
            Ok(_at_work) => tool.call(arguments).await,
            Err(error) => Err(error),
        };
        unfinished.disarm();
        finished(CallOutcome::of(&result));
        result
    }
}
