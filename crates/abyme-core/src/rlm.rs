//! The loop: a model writes cells, a session runs them, until typed outputs are submitted.

mod arguments;
mod batch;
mod budget;
mod builder;
mod builtins;
mod caller;
mod children;
mod compact;
mod config;
mod conversations;
mod execute;
mod extract;
mod guard;
mod host;
mod in_flight;
mod input_limits;
mod kept_session;
mod made;
mod objects;
mod options;
mod prediction;
mod reply;
mod reply_stream;
mod reply_type;
mod reply_values;
mod run;
mod start;
mod sub_calls;
mod tool_calls;
mod transcript;
mod turns;

#[cfg(feature = "testing")]
pub(crate) use self::budget::round_trips;
pub use self::{
    builder::RlmBuilder,
    conversations::{
        Conversation, ConversationLimits, Conversations, ConversationsConfig, PastQuestion, SavedConversation,
    },
    prediction::Prediction,
    run::{CancelHandle, EventStream, Run, RunFuture},
};

use std::{fmt, marker::PhantomData, path::Path, sync::Arc};

use self::config::RlmConfig;
use crate::{
    error::Result,
    limits::Limits,
    signature::{IntoSignature, Signature, TaskSignature, Untyped},
};

/// A Recursive Language Model: a signature, models, a backend, tools and limits, ready to run any number of
/// times, also at the same time.
///
/// [`Rlm::of`] begins with a type, from which the inputs and outputs of each run are typed; [`Rlm::builder`]
/// with a text, and inputs and outputs go by name:
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
pub struct Rlm<S = Untyped> {
    config: Arc<RlmConfig>,
    signature: PhantomData<fn() -> S>,
}

impl Rlm {
    /// Begins with a signature: its string form, or a [`TaskSignature`]. Every mistake surfaces in
    /// [`build`](RlmBuilder::build).
    pub fn builder(signature: impl IntoSignature) -> RlmBuilder {
        RlmBuilder::new(signature.into_signature())
    }

    /// Begins with a typed signature: a struct with `#[derive(Signature)]`. A run takes the signature's
    /// [`Inputs`](Signature::Inputs), and its prediction has an `output` of its
    /// [`Outputs`](Signature::Outputs). A submission that is none goes back to the model. Every mistake
    /// surfaces in [`build`](RlmBuilder::build).
    pub fn of<S: Signature>() -> RlmBuilder<S> {
        RlmBuilder::new(S::signature().map(TaskSignature::outputs_as::<S::Outputs>))
    }
}

impl<S: Signature> Rlm<S> {
    /// The task.
    pub fn signature(&self) -> &TaskSignature {
        &self.config.signature
    }

    /// The limits that every run starts from.
    pub fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// A run of the task over `inputs`: turns until a submission, a limit, or an error. It starts when it is
    /// awaited; before that, it can be given limits, a trace, a label and more: see [`Run`].
    pub fn run(&self, inputs: S::Inputs) -> Run<S::Outputs> {
        Run::new(self.config.clone(), inputs.try_into().map_err(Into::into))
    }

    /// Several questions over one session: see [`Conversation`].
    pub fn conversation(&self) -> Conversation<S> {
        Conversation::new(self.config.clone())
    }

    /// Goes on with a conversation that [`Conversation::save`] wrote. Its session is restored from the file.
    /// Where the file has none, or one that this backend cannot restore, the next question opens a new one,
    /// puts inputs and results in again, and tells the model that all else is gone.
    ///
    /// # Errors
    /// Those of [`Conversation::wake`].
    pub async fn load_conversation(&self, path: impl AsRef<Path>) -> Result<Conversation<S>> {
        Conversation::load(self.config.clone(), path.as_ref()).await
    }

    /// The conversations of many users, in a directory: see [`Conversations`].
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if the directory cannot be used, or is in use.
    pub fn conversations(&self, config: ConversationsConfig) -> Result<Conversations<S>> {
        Conversations::new(self.config.clone(), config)
    }
}

/// Another handle to the same.
impl<S> Clone for Rlm<S> {
    fn clone(&self) -> Self {
        Self { config: self.config.clone(), signature: PhantomData }
    }
}

impl<S> fmt::Debug for Rlm<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rlm").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<S: Signature> RlmBuilder<S> {
    /// Checks everything and puts the [`Rlm`] together.
    ///
    /// # Errors
    /// The first mistake, by name: [`ErrorKind::Signature`](crate::ErrorKind::Signature) for a signature that
    /// does not parse, [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a name that cannot be
    /// used, [`ErrorKind::Config`](crate::ErrorKind::Config) for the rest.
    pub fn build(self) -> Result<Rlm<S>> {
        Ok(Rlm { config: Arc::new(self.into_config()?), signature: PhantomData })
    }
}
