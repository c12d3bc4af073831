//! What every run of an `Rlm` starts from.

use std::sync::Arc;

use abyme_python_syntax::{CodePolicy, Function};
use indexmap::IndexMap;

use crate::{
    interpreter::{InterpreterFactory, Scope},
    limits::Limits,
    model::{LanguageModel, RetryPolicy},
    signature::TaskSignature,
    tool::Tool,
    trajectory::EventSink,
};

/// What every run of an `Rlm` starts from. Nothing of it changes.
#[derive(Debug)]
pub(super) struct RlmConfig {
    pub(super) signature: TaskSignature,
    pub(super) model: Arc<dyn LanguageModel>,
    pub(super) sub_model: Arc<dyn LanguageModel>,
    pub(super) named_models: IndexMap<String, Arc<dyn LanguageModel>>,
    pub(super) factory: Arc<dyn InterpreterFactory>,
    pub(super) tools: Vec<Tool>,
    pub(super) python_tools: Vec<Function>,
    pub(super) scope: Arc<Scope>,
    pub(super) policy: Option<Arc<CodePolicy>>,
    pub(super) limits: Limits,
    pub(super) retry: RetryPolicy,
    pub(super) sinks: Vec<Arc<dyn EventSink>>,
}
