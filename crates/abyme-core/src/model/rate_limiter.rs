//! Keeps the calls of many models and runs within what a provider allows, together.

mod accounts;
mod config;
mod pace;
mod reported;
mod state;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

pub use self::config::RateLimiterConfig;
use self::{
    accounts::Accounts,
    state::{Sent, State, Wait},
};
use super::{
    message::{Request, Response},
    stream::Delta,
};
use crate::error::{Error, ErrorKind, Result};

/// Lets calls out no faster than a provider takes them, in the order in which they came.
///
/// A handle: its clones share one account. Give it to all that a provider counts together, which as a rule is
/// one model under one key, in all runs of the process, by
/// [`with_rate_limit`](crate::LanguageModelExt::with_rate_limit). A thousand prompts at once then wait for
/// their turn, in place of failing. The wait is not the model's time: [`Request::timeout`] begins with the
/// turn, and only the run's own time ends the wait.
///
/// What it keeps to is given, and learnt:
///
/// - limits that are given are spread evenly, so that they hold for each minute, however it is cut;
/// - what a provider says is left with each reply, and when there will be more, is what goes out;
/// - a refusal (429) makes all calls wait once, for as long as it says or ever longer. Where the provider's
///   own count does not explain it, the rate is halved: what was used of late, or what was kept to, if that
///   is less. Then it rises again step by step, as in TCP. The refused call itself is not tried again here:
///   that is its caller's to decide ([`RetryPolicy`](crate::RetryPolicy)), as of any call;
/// - as long as nothing is known, a few calls go out first, and one more with each that comes back
///   ([`RateLimiterConfig::first_calls`]); so it is after a refusal;
/// - a reply that is stopped before its end counts as what came of it until then.
///
/// Without one, calls of a run go out at once until the provider refuses some: the clients of this workspace
/// have one for each [account](Self::of_account), which only learns.
///
/// ```
/// use abyme_core::{
///     LanguageModel, LanguageModelExt, RateLimiter, RateLimiterConfig, testing::ScriptedModel,
/// };
///
/// let limiter = RateLimiter::new(RateLimiterConfig::default().requests_per_minute(600));
/// let plans = ScriptedModel::replies(["Paris"]).with_rate_limit(&limiter);
/// let answers = ScriptedModel::replies(["Paris"]).with_rate_limit(&limiter);
/// assert!(plans.check().is_ok() && answers.check().is_ok());
/// ```
#[derive(Clone)]
pub struct RateLimiter(Arc<Shared>);

struct Shared {
    config: RateLimiterConfig,
    /// Held by the call that is next. Those behind it wait for the lock, which goes to them in turn.
    queue: tokio::sync::Mutex<()>,
    /// Wakes the call that is next.
    changed: Notify,
    state: Mutex<State>,
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RateLimiter").field(&self.0.config).finish()
    }
}

impl Default for RateLimiter {
    fn default() -> Self {
        Self::new(RateLimiterConfig::default())
    }
}

/// Whether both keep one account.
impl PartialEq for RateLimiter {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for RateLimiter {}

/// Those that this process shares. A provider counts by account, and not by caller.
static ACCOUNTS: Accounts<Shared> = Accounts::new();

impl RateLimiter {
    /// A limiter with an account of its own.
    pub fn new(config: RateLimiterConfig) -> Self {
        Self(Arc::new(Shared::new(config)))
    }

    /// The limiter of what a provider counts together, such as its host, a key and a model: the same for all
    /// of this process that ask with an equal `account`, as long as one of them has it.
    ///
    /// It knows no limit until a refusal or a reply teaches one; until then all calls go out at once.
    ///
    /// ```
    /// use abyme_core::RateLimiter;
    ///
    /// let limiter = RateLimiter::of_account(&("api.example.com", "sk-123", "large"));
    /// assert_eq!(limiter, RateLimiter::of_account(&("api.example.com", "sk-123", "large")));
    /// assert_ne!(limiter, RateLimiter::of_account(&("api.example.com", "sk-456", "large")));
    /// ```
    pub fn of_account(account: &(impl Hash + ?Sized)) -> Self {
        Self(ACCOUNTS.get(account, || Shared::new(RateLimiterConfig::default().first_calls(None))))
    }

    /// Refuses a limit that lets nothing through.
    pub(super) fn check(&self) -> Result<()> {
        let config = &self.0.config;
        match (config.requests_per_minute, config.tokens_per_minute) {
            (Some(0), _) | (_, Some(0)) => {
                Err(Error::new(ErrorKind::Config, "a rate limit of 0 a minute lets no call through"))
            }
            _ if config.first_calls == Some(0) => {
                Err(Error::new(ErrorKind::Config, "a rate limiter with 0 first calls lets no call through"))
            }
            _ => Ok(()),
        }
    }

    /// Waits until this request may go out.
    pub(super) async fn admission(&self, model: &str, request: &Request) -> Admission {
        let arrived = Instant::now();
        let _next = self.0.queue.lock().await;
        loop {
            let wait = match self.0.state().admit(model, request, arrived) {
                Ok(sent) => return Admission { shared: self.0.clone(), sent },
                Err(wait) => wait,
            };
            match wait {
                Wait::Until(at) => tokio::select! {
                    () = sleep_until(at) => {}
                    () = self.0.changed.notified() => {}
                },
                Wait::Change => self.0.changed.notified().await,
            }
        }
    }
}

impl Shared {
    fn new(config: RateLimiterConfig) -> Self {
        let state = Mutex::new(State::new(config.clone()));
        Self { config, queue: tokio::sync::Mutex::default(), changed: Notify::new(), state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that has its turn. Ends when it is dropped.
pub(super) struct Admission {
    shared: Arc<Shared>,
    sent: Sent,
}

impl Admission {
    /// Learns what came of the call.
    pub(super) fn learn(&self, outcome: Result<&Response, &Error>) {
        let mut state = self.shared.state();
        match outcome {
            Ok(response) => state.answered(&self.sent, response, Instant::now()),
            Err(error) => state.failed(&self.sent, error, Instant::now()),
        }
    }
}

/// A call whose reply comes in pieces. One that is dropped before its end teaches what was seen of it.
pub(super) struct Streamed {
    admission: Admission,
    /// What came so far, if anything did and the end did not.
    seen: Option<Response>,
    /// Bytes of the reply that the provider has not counted yet.
    uncounted: usize,
}

impl From<Admission> for Streamed {
    fn from(admission: Admission) -> Self {
        Self { admission, seen: None, uncounted: 0 }
    }
}

impl Streamed {
    /// Sees the next piece.
    pub(super) fn see(&mut self, piece: &Result<Delta>) {
        let seen = self.seen.get_or_insert_default();
        match piece {
            Ok(Delta::Text(text) | Delta::Reasoning(text)) => self.uncounted += text.len(),
            Ok(Delta::Usage(usage)) => {
                seen.usage = *usage;
                if usage.output_tokens.is_some() {
                    self.uncounted = 0;
                }
            }
            Ok(Delta::RateLimits(limits)) => seen.rate_limits = Some(limits.clone()),
            Ok(Delta::Done(response)) => {
                self.seen = None;
                self.admission.learn(Ok(response));
            }
            Err(error) => {
                self.seen = None;
                self.admission.learn(Err(error));
            }
        }
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        if let Some(seen) = self.seen.take() {
            let mut state = self.admission.shared.state();
            state.stopped(&self.admission.sent, seen, self.uncounted, Instant::now());
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.shared.state().ended(&self.sent);
        self.shared.changed.notify_one();
    }
}
