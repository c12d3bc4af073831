//! Calls of tools that write, which the record of a run has: whether they may be made once more is asked.
//!
//! Before the first cell runs again it is asked about calls that have no recorded end, in the run and in
//! those below it. While a cell runs again it is asked about calls with a recorded end that the cell does not
//! make again, where it does something else in their place: nothing says whether that is the same once more.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use indexmap::IndexMap;
use tokio::sync::Notify;

use super::answers::{Answers, ToolUse};
use crate::{
    error::{Error, ErrorKind, Result},
    runtime::off_the_runtime,
    tool::Tool,
    value::Value,
};

/// How much of an argument is shown.
const SHOWN_CHARS: usize = 200;

/// A call of a tool that [writes](crate::Effect::Write), which the record of a run has, and which may be made
/// once more when the run goes on. What it displays says why that is not known.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct UnfinishedEffect {
    /// The tool's name.
    pub tool: String,
    /// The arguments of the call, as the record has them.
    pub arguments: IndexMap<String, Value>,
    /// Whether the record has the end of the call, or of the child that made it: then the cell that runs
    /// again does something else in place of the call or of that child. If it has none, it is not known
    /// whether the call took effect.
    pub has_ended: bool,
    /// The arguments of the call that the cell makes in place of one that has ended; none if it starts a
    /// child in its place, which may call any tool.
    pub now: Option<IndexMap<String, Value>>,
}

impl fmt::Display for UnfinishedEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = |arguments: &IndexMap<String, Value>| {
            let shown = arguments.iter().map(|(name, value)| format!("{name}={}", value.repr(SHOWN_CHARS)));
            format!("`{}({})`", self.tool, shown.collect::<Vec<_>>().join(", "))
        };
        let recorded = call(&self.arguments);
        match &self.now {
            _ if !self.has_ended => {
                write!(f, "{recorded} had begun when the run ended, and whether it took effect is not known")
            }
            Some(now) => {
                let now = call(now);
                write!(
                    f,
                    "{recorded} was made before, and the cell, which runs again, makes {now} in its place"
                )
            }
            None => write!(
                f,
                "{recorded} was made before by a child, and the cell, which runs again, starts another child \
                 in its place"
            ),
        }
    }
}

/// Whether the tool of this name changes something outside.
fn writes(tools: &[Tool], name: &str) -> bool {
    tools.iter().any(|tool| tool.name() == name && tool.writes())
}

/// What becomes of an [`UnfinishedEffect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EffectDecision {
    /// It is made again: the call itself, or what the cell does in its place.
    Repeat,
    /// The run does not go on.
    Stop,
}

/// Decides about such calls.
type DecideEffect = dyn Fn(&UnfinishedEffect) -> EffectDecision + Send + Sync;

/// What a run asks about them.
#[derive(Clone)]
pub(in crate::rlm) struct EffectDecider(pub(in crate::rlm) Arc<DecideEffect>);

impl fmt::Debug for EffectDecider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EffectDecider")
    }
}

/// The recorded effects of a tree of runs: what decides about them, and whether that ends the tree.
pub(in crate::rlm) struct Effects {
    decide: Option<EffectDecider>,
    /// Held while it is asked, so that no other call is made that waits for the same answer.
    asking: tokio::sync::Mutex<()>,
    refusal: Mutex<Option<Error>>,
    refused: Notify,
}

impl Effects {
    pub(in crate::rlm) fn new(decide: Option<EffectDecider>) -> Self {
        Self { decide, asking: Default::default(), refusal: Mutex::default(), refused: Notify::new() }
    }

    /// Asks about calls that had begun and of which it is not known how they ended.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] with the call, if one is not to be made again.
    pub(in crate::rlm) async fn check_unfinished(&self, calls: Vec<ToolUse>, tools: &[Tool]) -> Result<()> {
        for ToolUse { tool, arguments } in calls {
            if writes(tools, &tool) {
                self.ask(UnfinishedEffect { tool, arguments, has_ended: false, now: None }).await?;
            }
        }
        Ok(())
    }

    /// Asks, before a cell that runs again calls a tool that writes, about a recorded call of it that the
    /// cell has not made again. If the answer is no, the tree of runs ends, and this waits for that.
    pub(in crate::rlm) async fn check_call(
        &self,
        answers: &Answers,
        tool: &str,
        now: &IndexMap<String, Value>,
    ) {
        if !answers.has_effect(tool) {
            return;
        }
        let _asking = self.asking.lock().await;
        if let Some(ToolUse { tool, arguments }) = answers.next_effect(tool) {
            let now = Some(now.clone());
            self.ask_or_end(UnfinishedEffect { tool, arguments, has_ended: true, now }).await;
        }
    }

    /// Asks, before a cell that runs again starts a child that its record does not have, about the recorded
    /// calls of children that the cell has not started again. Ends as [`check_call`](Self::check_call) does.
    pub(in crate::rlm) async fn check_child(&self, answers: &Answers, tools: &[Tool]) {
        if !answers.has_effects_of_children() {
            return;
        }
        let _asking = self.asking.lock().await;
        let is_effect = |made: &ToolUse| writes(tools, &made.tool);
        while let Some(ToolUse { tool, arguments }) = answers.next_effect_of_child(is_effect) {
            self.ask_or_end(UnfinishedEffect { tool, arguments, has_ended: true, now: None }).await;
        }
    }

    async fn ask(&self, effect: UnfinishedEffect) -> Result<()> {
        if let Some(EffectDecider(decide)) = &self.decide {
            // A person may be asked, who takes a while.
            let (decide, asked) = (decide.clone(), effect.clone());
            if off_the_runtime(move || decide(&asked)).await == Some(EffectDecision::Repeat) {
                return Ok(());
            }
        }
        let message = format!("{effect}: the run goes on once it is said that this may be done again");
        let error = Error::new(ErrorKind::InvalidInput, message).operation("Rlm::resume");
        Err(error.with("tool", effect.tool).with("hint", "`Run::on_unfinished_effect` says it"))
    }

    async fn ask_or_end(&self, effect: UnfinishedEffect) {
        if let Err(error) = self.ask(effect).await {
            self.end(error).await;
        }
    }

    /// Ends the tree of runs with this error: what asks is dropped. No cell sees it, which could catch it.
    pub(in crate::rlm) async fn end(&self, error: Error) {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.refused.notify_one();
        std::future::pending().await
    }

    /// Waits until the tree of runs has to end.
    pub(in crate::rlm) async fn refused(&self) {
        self.refused.notified().await;
    }

    /// Why the tree of runs had to end, if it had.
    pub(in crate::rlm) fn take_refusal(&self) -> Option<Error> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
