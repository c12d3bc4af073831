//! Serves the calls of the user's tools, and records them.

use tokio::time::Instant;

use super::{
    answers::{Answers, named},
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
    /// What the record knows of the cell's calls.
    answers: &'a Answers,
}

impl<'a> ToolCalls<'a> {
    pub(super) fn new(
        caller: &'a ModelCaller<'a>,
        tools: &'a [Tool],
        uses: &'a ToolUses,
        turn: u32,
        answers: &'a Answers,
    ) -> Self {
        Self { caller, tools, uses, turn, answers }
    }

    pub(super) async fn call(&self, call: HostCall) -> Result<Value, HostError> {
        let Some(tool) = self.tools.iter().find(|tool| tool.name() == call.name) else {
            return match self.answers.host_call(&call.name, &named(&call)) {
                Some(past) => past.result,
                None => {
                    self.answers.check_open(self.turn, &call.name, || call.kwargs.clone())?;
                    let message = format!("the host has no function `{}`", call.name);
                    Err(HostError::new("NameError", message))
                }
            };
        };
        let arguments = tool.arguments(call);
        if let Some(past) = self.answers.host_call(tool.name(), &arguments) {
            return past.result;
        }
        self.answers.check_open(self.turn, tool.name(), || arguments.clone())?;
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
