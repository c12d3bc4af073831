//! What every run of an `Rlm` starts from.

use std::sync::Arc;

use abyme_python_syntax::{CodePolicy, Function};
use indexmap::IndexMap;

use super::{
    calls::{
        approval::Approver,
        builtins::{self, BUDGET},
    },
    reply_stream::PlainModels,
};
use crate::{
    compaction::Compaction,
    error::{Error, ErrorKind, Result},
    interpreter::{InterpreterFactory, ModuleSource, Scope},
    limits::Limits,
    model::{LanguageModel, RetryPolicy},
    prompt::Profile,
    signature::TaskSignature,
    telemetry::SpanContent,
    tool::{Effect, Tool},
    trajectory::{EventSink, Summaries},
};

/// What every run of an `Rlm` starts from. Nothing of it changes.
#[derive(Clone, Debug)]
pub(super) struct RlmConfig {
    pub(super) signature: TaskSignature,
    pub(super) model: Arc<dyn LanguageModel>,
    pub(super) sub_model: Arc<dyn LanguageModel>,
    pub(super) named_models: IndexMap<String, Arc<dyn LanguageModel>>,
    pub(super) factory: Arc<dyn InterpreterFactory>,
    pub(super) tools: Arc<[Tool]>,
    /// Who approves calls of tools with effects, if somebody does.
    pub(super) approver: Option<Approver>,
    pub(super) python_tools: Arc<[Function]>,
    pub(super) scope: Arc<Scope>,
    pub(super) policy: Option<Arc<CodePolicy>>,
    pub(super) limits: Limits,
    pub(super) retry: RetryPolicy,
    pub(super) compaction: Compaction,
    /// Whether a generation ends with its cell.
    pub(super) stop_early: bool,
    /// What the random numbers of every run begin with, if that is fixed.
    pub(super) seed: Option<u64>,
    /// Whether sessions see the same world each time.
    pub(super) deterministic: bool,
    /// The prompts that the run begins with.
    pub(super) profile: Profile,
    /// What all runs have learned about their models.
    pub(super) plain_models: Arc<PlainModels>,
    pub(super) span_content: SpanContent,
    pub(super) sinks: Vec<Arc<dyn EventSink>>,
}

impl RlmConfig {
    /// What a child run starts from: the same models, backend and tools, for another task.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if an input has the name of a tool.
    pub(super) fn for_child(&self, signature: TaskSignature, model: Arc<dyn LanguageModel>) -> Result<Self> {
        check_inputs(&signature, &self.tools, &self.python_tools)?;
        let scope = scope_of(&signature, &self.tools, &self.python_tools, self.scope.modules.clone());
        Ok(Self { signature, model, scope: Arc::new(scope), ..self.clone() })
    }

    /// Refuses a limit on cost where nothing says what the calls of a model cost.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with the model and what to do.
    pub(super) fn check_prices(&self, limits: &Limits) -> Result<()> {
        if limits.max_cost.is_none() {
            return Ok(());
        }
        let mut models = [&self.model, &self.sub_model].into_iter().chain(self.named_models.values());
        match models.find(|model| model.price().is_none() && !model.reports_cost()) {
            None => Ok(()),
            Some(model) => {
                let message = format!(
                    "max_cost is set, and nothing says what a call of model `{}` costs: its provider does \
                     not report it, and its price is not known; give it one (`with_price` in Rust, `--price` \
                     or `--prices` on the command line)",
                    model.name()
                );
                Err(Error::new(ErrorKind::Config, message))
            }
        }
    }

    /// When the turns of its runs are summarised.
    pub(super) fn summaries(&self) -> Summaries {
        let (compaction, max_input_tokens) = (self.compaction.clone(), self.model.max_input_tokens());
        Summaries { compaction, max_input_tokens }
    }

    /// The effects of the user's tools, by the names of those that have any.
    pub(super) fn effects(&self) -> IndexMap<String, Vec<Effect>> {
        let tools = self.tools.iter().filter(|tool| !tool.effects().is_empty());
        tools.map(|tool| (tool.name().to_owned(), tool.effects().to_vec())).collect()
    }

    /// The names of the user's tools.
    pub(super) fn tool_names(&self) -> impl Iterator<Item = &str> {
        tool_names(&self.tools, &self.python_tools)
    }

    /// Whether the sessions offer `budget()`.
    pub(super) fn offers_budget(&self) -> bool {
        offers_budget(&self.signature, &self.tools, &self.python_tools)
    }
}

/// The names that the sessions of a task offer.
pub(super) fn scope_of(
    signature: &TaskSignature,
    tools: &[Tool],
    python_tools: &[Function],
    modules: Vec<ModuleSource>,
) -> Scope {
    let mut scope = Scope::new();
    scope.functions = builtins::built_in_functions();
    if !offers_budget(signature, tools, python_tools) {
        scope.functions.retain(|function| function.name != BUDGET);
    }
    scope.functions.extend(tools.iter().map(|tool| tool.spec().clone()));
    scope.modules = modules;
    signature.outputs().iter().fold(scope, |scope, field| scope.output(field.name(), field.ty().to_string()))
}

fn offers_budget(signature: &TaskSignature, tools: &[Tool], python_tools: &[Function]) -> bool {
    signature.input(BUDGET).is_none() && tool_names(tools, python_tools).all(|name| name != BUDGET)
}

/// The names of the user's tools.
pub(super) fn tool_names<'a>(
    tools: &'a [Tool],
    python_tools: &'a [Function],
) -> impl Iterator<Item = &'a str> {
    tools.iter().map(Tool::name).chain(python_tools.iter().map(|function| function.name.as_str()))
}

/// An input and a tool are variables of one session.
pub(super) fn check_inputs(
    signature: &TaskSignature,
    tools: &[Tool],
    python_tools: &[Function],
) -> Result<()> {
    match tool_names(tools, python_tools).find(|name| signature.input(name).is_some()) {
        None => Ok(()),
        Some(name) => {
            let message = format!("`{name}` is both an input and a tool: rename one of them");
            Err(Error::new(ErrorKind::InvalidInput, message))
        }
    }
}
