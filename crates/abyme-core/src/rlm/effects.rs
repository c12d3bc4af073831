//! Calls of tools that write, which began and have no recorded end: whether they are made again is asked.

use std::{fmt, sync::Arc};

use indexmap::IndexMap;

use super::answers::{Answers, ToolUse};
use crate::{
    error::{Error, ErrorKind, Result},
    runtime::off_the_runtime,
    tool::{Effect, Tool},
    value::Value,
};

/// How much of an argument an error shows.
const SHOWN_CHARS: usize = 200;

/// A call of a tool that [writes](Effect::Write), which a run had begun when it ended. Whether it took effect
/// is not known.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct UnfinishedEffect {
    /// The tool's name.
    pub tool: String,
    /// The arguments of the call.
    pub arguments: IndexMap<String, Value>,
}

/// What becomes of an [`UnfinishedEffect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EffectDecision {
    /// It is made again.
    Repeat,
    /// The run does not go on.
    Stop,
}

/// Decides about the unfinished calls of effects.
type DecideEffect = dyn Fn(&UnfinishedEffect) -> EffectDecision + Send + Sync;

/// What a run asks about them.
#[derive(Clone)]
pub(super) struct EffectDecider(pub(super) Arc<DecideEffect>);

impl fmt::Debug for EffectDecider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EffectDecider")
    }
}

/// Asks about the unfinished calls of effects before a cell runs again.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] with the tool, its arguments and what to do, if one is not to be made again.
pub(super) async fn check_effects(
    answers: &Answers,
    tools: &[Tool],
    decide: Option<&EffectDecider>,
) -> Result<()> {
    for ToolUse { tool, arguments } in answers.unfinished() {
        if !tools.iter().any(|one| one.name() == tool && one.effects().contains(&Effect::Write)) {
            continue;
        }
        let effect = UnfinishedEffect { tool, arguments };
        if let Some(EffectDecider(decide)) = decide {
            // A person may be asked, who takes a while.
            let (decide, asked) = (decide.clone(), effect.clone());
            if off_the_runtime(move || decide(&asked)).await == Some(EffectDecision::Repeat) {
                continue;
            }
        }
        let UnfinishedEffect { tool, arguments } = effect;
        let arguments: Vec<_> =
            arguments.iter().map(|(name, value)| format!("{name}={}", value.repr(SHOWN_CHARS))).collect();
        let message = format!(
            "`{tool}({})` had begun when the run ended, and whether it took effect is not known: look after \
             it, and resume the run with `on_unfinished_effect`, which says whether the call is made again",
            arguments.join(", ")
        );
        return Err(Error::new(ErrorKind::InvalidInput, message).operation("Rlm::resume").with("tool", tool));
    }
    Ok(())
}
