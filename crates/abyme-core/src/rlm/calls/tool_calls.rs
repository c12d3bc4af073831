//! Serves the calls of the user's tools, and records them.

use indexmap::IndexMap;
use tokio::time::Instant;

use super::approval::{ApprovalRequest, Approver, denied};
use crate::{
    interpreter::{HostCall, HostError},
    rlm::{
        caller::{CANCELLED, ModelCaller},
        guard::OnDrop,
        resume::{
            answers::{Answers, named},
            effects::Effects,
        },
    },
    tool::{Tool, ToolUses},
    trajectory::{Approval, CallOutcome, Event},
    value::Value,
};

/// The tool calls of one cell.
pub(in crate::rlm) struct ToolCalls<'a> {
    caller: &'a ModelCaller<'a>,
    tools: &'a [Tool],
    uses: &'a ToolUses,
    effects: &'a Effects,
    turn: u32,
    /// What the record knows of the cell's calls.
    answers: &'a Answers,
}

impl<'a> ToolCalls<'a> {
    pub(in crate::rlm) fn new(
        caller: &'a ModelCaller<'a>,
        uses: &'a ToolUses,
        effects: &'a Effects,
        turn: u32,
        answers: &'a Answers,
    ) -> Self {
        Self { caller, tools: &caller.config().tools, uses, effects, turn, answers }
    }

    pub(in crate::rlm) async fn call(&self, call: HostCall) -> Result<Value, HostError> {
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
        let arguments = tool.arguments(call)?;
        if let Some(past) = self.answers.host_call(tool.name(), &arguments) {
            return past.result;
        }
        self.answers.check_open(self.turn, tool.name(), || arguments.clone())?;
        if tool.writes() {
            self.effects.check_call(self.answers, tool.name(), &arguments).await;
        }
        let admitted = self.uses.admit(tool.name()).await;
        let approval = match &admitted {
            Ok(_) => self.approval(tool, &arguments).await,
            Err(_) => None,
        };
        let (recorder, turn, number) = (self.caller.recorder(), self.turn, self.caller.next_host_call());
        recorder.record(Event::ToolCallStarted {
            turn,
            call: number,
            tool: tool.name().to_owned(),
            arguments: arguments.clone(),
            approval: approval.clone(),
        });
        let started = Instant::now();
        let finished = |outcome| {
            let seconds = started.elapsed().as_secs_f64();
            recorder.record(Event::ToolCallFinished { turn, call: number, outcome, seconds });
        };
        // The clock of the cell stands still then, so its limit holds for the call by itself.
        let limit = if self.may_ask(tool) { self.caller.limits().cell_timeout } else { None };
        let unfinished = OnDrop::new(|| finished(CallOutcome::Cancelled(CANCELLED.to_owned())));
        let result = match (admitted, approval) {
            (Err(error), _) => Err(error),
            (Ok(_), Some(Approval::Denied(reason))) => Err(denied(tool.name(), &reason)),
            (Ok(_at_work), _) => match self.written(tool).await {
                Err(error) => Err(error),
                Ok(()) => tool.call_within(limit, arguments).await,
            },
        };
        unfinished.disarm();
        finished(CallOutcome::of(&result));
        result
    }

    /// Whether somebody may be asked before this tool is called.
    pub(in crate::rlm) fn waits_for_somebody(&self, name: &str) -> bool {
        self.tools.iter().find(|tool| tool.name() == name).is_some_and(|tool| self.may_ask(tool))
    }

    fn may_ask(&self, tool: &Tool) -> bool {
        let is_judged = self.caller.config().approver.is_some() && Approver::judges(tool);
        is_judged || (tool.writes() && self.answers.has_effect(tool.name()))
    }

    /// Waits until the record has all up to the start of a call that changes something. A run that goes on
    /// asks about calls that its record has begun: one that it lacks would be made twice without asking.
    async fn written(&self, tool: &Tool) -> Result<(), HostError> {
        if !tool.writes() {
            return Ok(());
        }
        self.caller.recorder().written().await.map_err(|reason| {
            let message = format!(
                "`{}` was not called, because it changes something, and the record of this run, which has to \
                 say so first, cannot be written: {reason}",
                tool.name()
            );
            HostError::new("OSError", message)
        })
    }

    /// Whether the call may be made; `None` where nobody is asked.
    async fn approval(&self, tool: &Tool, arguments: &IndexMap<String, Value>) -> Option<Approval> {
        if let Some(past) = self.answers.approval(tool.name(), arguments) {
            return Some(past);
        }
        let approver = self.caller.config().approver.as_ref().filter(|_| Approver::judges(tool))?;
        let request = ApprovalRequest {
            run: self.caller.recorder().run().to_owned(),
            turn: self.turn,
            tool: tool.name().to_owned(),
            effects: tool.effects().to_vec(),
            arguments: arguments.clone(),
        };
        Some(approver.ask(request).await)
    }
}
