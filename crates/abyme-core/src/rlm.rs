//! The loop: a model writes cells, a session runs them, until typed outputs are submitted.

mod budget;
mod builder;
mod builtins;
mod extract;
mod host;
mod inputs;
mod limits;
mod prediction;
mod run;

pub(crate) use self::{budget::Remaining, builtins::RESERVED_FUNCTIONS};
pub use self::{
    builder::RlmBuilder,
    inputs::Inputs,
    limits::Limits,
    prediction::{Prediction, Status},
};

use std::sync::Arc;

use tracing::Instrument;

use crate::{
    CodePolicy, EventSink, FunctionSpec, InterpreterFactory, LanguageModel, Result, RetryPolicy, Scope,
    Signature, TaskSignature, Tool, signature::IntoSignature,
};

/// A Recursive Language Model: a signature, models, a backend, tools and limits, ready to run any number of times,
/// also at the same time.
///
/// ```no_run
/// # async fn example(model: impl abyme_core::LanguageModel + 'static,
/// #                  backend: impl abyme_core::InterpreterFactory + 'static) -> abyme_core::Result<()> {
/// use abyme_core::{Rlm, inputs};
///
/// let rlm = Rlm::builder("docs, query -> modules: list[str], total: int")
///     .instructions("Find names in the API reference first; confirm each with a sub-call.")
///     .model(model)
///     .interpreter(backend)
///     .build()?;
/// let answer = rlm.run(inputs! { docs: "a very long text", query: "modules" }).await?;
/// let modules: Vec<String> = answer.get("modules")?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Rlm {
    shared: Arc<Shared>,
}

/// What every run of an [`Rlm`] shares. Nothing of it changes.
#[derive(Debug)]
struct Shared {
    signature: TaskSignature,
    model: Arc<dyn LanguageModel>,
    sub_model: Arc<dyn LanguageModel>,
    factory: Arc<dyn InterpreterFactory>,
    tools: Vec<Tool>,
    python_tools: Vec<FunctionSpec>,
    scope: Arc<Scope>,
    policy: Option<Arc<CodePolicy>>,
    limits: Limits,
    retry: RetryPolicy,
    sinks: Vec<Arc<dyn EventSink>>,
}

impl Rlm {
    /// Begins with a signature: its string form, or a [`TaskSignature`]. Every mistake surfaces in
    /// [`build`](RlmBuilder::build).
    pub fn builder(signature: impl IntoSignature) -> RlmBuilder {
        RlmBuilder::new(signature.into_signature())
    }

    /// Begins with a typed signature.
    pub fn of<S: Signature>() -> RlmBuilder {
        RlmBuilder::new(Ok(S::signature()))
    }

    /// The task.
    pub fn signature(&self) -> &TaskSignature {
        &self.shared.signature
    }

    /// The limits of every run.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Runs the task over `inputs`: turns until a submission, a limit, or an error.
    ///
    /// Dropping the future stops everything: the model call, the cell with its host calls, and the session.
    ///
    /// # Errors
    /// - [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) before anything starts, naming all inputs that
    ///   are missing or unknown.
    /// - [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if no session starts.
    /// - [`ErrorKind::SessionEnded`](crate::ErrorKind::SessionEnded) if sessions keep dying.
    /// - The model's error if it fails for good.
    /// - [`ErrorKind::LimitReached`](crate::ErrorKind::LimitReached) if a limit is reached and the extract call gives
    ///   no outputs that fit.
    ///
    /// All but the first carry the run's [trajectory](crate::Error::trajectory).
    pub async fn run(&self, inputs: impl Into<Inputs>) -> Result<Prediction> {
        let inputs = self.checked(inputs.into())?;
        let span = tracing::info_span!("run", signature = %self.shared.signature);
        run::Run::new(&self.shared, &inputs).finish().instrument(span).await
    }

    /// The inputs as their declared types, in the signature's order.
    fn checked(&self, inputs: Inputs) -> Result<Inputs> {
        let signature = &self.shared.signature;
        signature.check_inputs(inputs.names())?;
        let coerced = signature.inputs().iter().filter_map(|field| {
            let value = inputs.get(field.name())?.clone();
            Some(signature.coerce_input(field.name(), value).map(|value| (field.name().to_owned(), value)))
        });
        coerced.collect()
    }
}
