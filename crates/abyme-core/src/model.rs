//! Language models: what a request holds, what comes back, and how failed calls are tried again.

mod message;
mod retry;
mod usage;

pub use self::{
    message::{FinishReason, Message, Request, Response, Role},
    retry::RetryPolicy,
    usage::Usage,
};

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use crate::Result;

/// A language model behind any API.
///
/// # Contract
/// - **M1** One call answers one request; the model keeps no conversation.
/// - **M2** Errors carry a kind that says who is to blame; [`Error::is_temporary`](crate::Error::is_temporary) says
///   whether the same call may succeed later. A model that retries by itself marks what it gave up on as
///   [`permanent`](crate::Error::permanent).
/// - **M3** Unknown usage is unknown, never 0.
/// - **M4** A text cut by the length limit is returned with [`FinishReason::Length`], not as an error.
/// - **M5** Dropping the future cancels the call.
/// - **M6** No key appears in an error, in `Debug` or in a log.
#[async_trait]
pub trait LanguageModel: Send + Sync + fmt::Debug {
    /// The model's name, for trajectories and messages.
    fn name(&self) -> &str;

    /// Whether the model could be asked at all: a key is there, the address is one. Asks nobody. `Rlm`'s builder
    /// calls it, so that a mistake surfaces before a run.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) or [`ErrorKind::Auth`](crate::ErrorKind::Auth).
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Answers a request.
    ///
    /// # Errors
    /// With the kinds of the provider's group: see [`ErrorKind`](crate::ErrorKind).
    async fn complete(&self, request: &Request) -> Result<Response>;
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: LanguageModel + ?Sized> LanguageModel for Arc<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn check(&self) -> Result<()> {
        (**self).check()
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        (**self).complete(request).await
    }
}
