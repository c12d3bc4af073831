//! The budget of a run: reserved before a call, settled after it, shared by all calls of the run.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use crate::{
    error::{Error, ErrorKind},
    interpreter::HostError,
    limits::{Limits, Remaining},
    model::Usage,
    status::Limit,
};

/// The budget of one run.
#[derive(Debug)]
pub(super) struct Budget {
    limits: Limits,
    /// When the run has to be over.
    deadline: Option<Instant>,
    /// When its turns have to be over, so that time is left for the extract call.
    turns_deadline: Option<Instant>,
    in_flight: Semaphore,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    iterations: u32,
    sub_calls: u32,
    usage: Usage,
    /// A limit that cannot be kept, because this model does not report what counts towards it.
    unmetered: Option<(Limit, String)>,
}

/// The most time that is kept for the extract call.
const MAX_EXTRACT_TIME: Duration = Duration::from_secs(60);

impl Budget {
    pub(super) fn new(limits: &Limits) -> Self {
        let now = Instant::now();
        let after = |limit: Duration| now.checked_add(limit);
        let turns = |limit: Duration| limit - (limit / 4).min(MAX_EXTRACT_TIME);
        Self {
            limits: limits.clone(),
            deadline: limits.run_timeout.and_then(after),
            turns_deadline: limits.run_timeout.map(turns).and_then(after),
            in_flight: Semaphore::new(limits.max_concurrent_calls),
            used: Mutex::default(),
        }
    }

    /// Reserves an iteration. Fails with the limit that ends the run.
    pub(super) fn reserve_iteration(&self) -> Result<(), Limit> {
        let mut used = self.used();
        if used.iterations >= self.limits.max_iterations {
            return Err(Limit::Iterations);
        }
        if let Some(limit) = self.exhausted(&used) {
            return Err(limit);
        }
        used.iterations += 1;
        Ok(())
    }

    /// Reserves `count` sub-calls at once, so that a batch runs whole or not at all.
    pub(super) fn reserve_sub_calls(&self, count: u32) -> Result<(), HostError> {
        self.check()?;
        let mut used = self.used();
        let total = used.sub_calls.saturating_add(count);
        if total > self.limits.max_llm_calls {
            let left = self.limits.max_llm_calls - used.sub_calls;
            return Err(HostError::runtime_error(format!(
                "sub-call limit: {count} more asked for, {left} of {} left, so none was made. \
                 Work with what you have, in Python, or with fewer and larger prompts.",
                self.limits.max_llm_calls
            )));
        }
        used.sub_calls = total;
        Ok(())
    }

    /// Whether time, tokens and cost allow another call.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.exhausted_now() {
            Some(limit) => {
                let message = format!("the run's budget is used up: {}", self.describe(limit));
                Err(Error::new(ErrorKind::LimitReached, message))
            }
            None => Ok(()),
        }
    }

    /// Waits until one more call may be in flight.
    pub(super) async fn call_permit(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed; a closed one would only mean that nothing is limited.
        self.in_flight.acquire().await.ok()
    }

    /// Settles what an answered call of `model` used.
    pub(super) fn settle(&self, model: &str, usage: Usage) {
        let limits = &self.limits;
        let unmetered = if limits.max_cost.is_some() && usage.cost.is_none() {
            Some(Limit::Cost)
        } else if limits.max_tokens.is_some() && usage.total_tokens().is_none() {
            Some(Limit::Tokens)
        } else {
            None
        };
        let mut used = self.used();
        used.usage += usage;
        if let Some(limit) = unmetered {
            used.unmetered.get_or_insert_with(|| (limit, model.to_owned()));
        }
    }

    /// Settles a call that failed or was cancelled. What it used is not known.
    pub(super) fn settle_failed(&self) {
        self.used().usage += Usage::call();
    }

    /// Fails if a limit cannot be kept, because a model does not report what counts towards it.
    pub(super) fn check_metered(&self) -> Result<(), Error> {
        let limit = self.used().unmetered.as_ref().map(|(limit, _)| *limit);
        limit.map_or(Ok(()), |limit| Err(Error::new(ErrorKind::Config, self.describe(limit))))
    }

    /// What was used so far.
    pub(super) fn usage(&self) -> Usage {
        self.used().usage
    }

    /// Which limit on time, tokens or cost is used up.
    pub(super) fn exhausted_now(&self) -> Option<Limit> {
        self.exhausted(&self.used())
    }

    /// How many iterations were taken.
    pub(super) fn iterations(&self) -> u32 {
        self.used().iterations
    }

    /// When a call for a turn has to be over.
    pub(super) fn turns_deadline(&self) -> Option<Instant> {
        self.turns_deadline
    }

    /// When the run, its extract call included, has to be over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// `limit`, or the time left for turns if that is less.
    pub(super) fn within_run(&self, limit: Option<Duration>) -> Option<Duration> {
        let left = self.turns_deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match (limit, left) {
            (Some(limit), Some(left)) => Some(limit.min(left)),
            (limit, None) => limit,
            (None, left) => left,
        }
    }

    /// What is left, for the model to read.
    pub(super) fn remaining(&self) -> Remaining {
        let used = self.used();
        Remaining {
            turn: used.iterations,
            max_iterations: self.limits.max_iterations,
            sub_calls_left: self.limits.max_llm_calls.saturating_sub(used.sub_calls),
            max_llm_calls: self.limits.max_llm_calls,
            time_left: self.within_run(None),
        }
    }

    /// A limit in words.
    pub(super) fn describe(&self, limit: Limit) -> String {
        let limits = &self.limits;
        if let Some((unmetered, model)) = &self.used().unmetered
            && *unmetered == limit
        {
            let (what, instead) = match limit {
                Limit::Cost => ("what a call costs", "give it a price (`with_price`)"),
                _ => ("how many tokens a call uses", "limit `max_iterations` and `max_llm_calls`"),
            };
            return format!("{limit} cannot be kept: model `{model}` does not say {what}; {instead}");
        }
        match limit {
            Limit::Iterations => format!("no turn is left of {}", limits.max_iterations),
            Limit::Time => {
                format!("the time of {:.0} s is over", limits.run_timeout.unwrap_or_default().as_secs_f64())
            }
            Limit::Tokens => format!("the {} tokens are used", limits.max_tokens.unwrap_or_default()),
            Limit::Cost => format!("the {} dollars are used", limits.max_cost.unwrap_or_default()),
        }
    }

    fn exhausted(&self, used: &Used) -> Option<Limit> {
        let usage = &used.usage;
        let over = |limit: Option<u64>, used: Option<u64>| {
            limit.zip(used).is_some_and(|(limit, used)| used >= limit)
        };
        if self.turns_deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            Some(Limit::Time)
        } else if over(self.limits.max_tokens, usage.total_tokens()) {
            Some(Limit::Tokens)
        } else if self.limits.max_cost.zip(usage.cost).is_some_and(|(limit, used)| used >= limit) {
            Some(Limit::Cost)
        } else {
            used.unmetered.as_ref().map(|(limit, _)| *limit)
        }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
