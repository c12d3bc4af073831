//! The budget of a tree of runs: reserved before a call, settled after it, shared by a run and its children.
//!
//! A model call that is not a turn of the root run is a sub-call: a prompt of `llm_query`, a turn of a child.
//! So `max_llm_calls` bounds the tree, however deep and wide it grows.

mod slot;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use self::slot::{Slot, SlotLoan};
use super::{calls::in_flight::SubCallsInFlight, input_limits::InputLimits};
use crate::{
    error::{Error, ErrorKind},
    interpreter::HostError,
    limits::{Limits, Remaining},
    model::{Amount, Estimates, LanguageModel, Message, Request, Usage, bytes_of},
    status::Limit,
    trajectory::{Purpose, RunClock, RunTerms},
    value::Value,
};

/// What all runs of a tree share.
#[derive(Debug)]
struct TreeBudget {
    /// Model calls in flight.
    calls: Arc<Semaphore>,
    /// Child runs at work.
    slots: Arc<Semaphore>,
    used: Mutex<TreeUsed>,
    /// Sub-calls that others of the tree may share.
    in_flight: SubCallsInFlight,
    input_limits: InputLimits,
}

#[derive(Debug, Default)]
struct TreeUsed {
    sub_calls: u32,
    usage: Usage,
    /// What is held for calls in flight.
    held: Amount,
    estimates: Estimates,
    /// The first model that did not report how many tokens a call used, if one did not.
    without_tokens: Option<String>,
    /// The first one that did not report what a call costs.
    without_cost: Option<String>,
}

impl TreeUsed {
    /// What a call of this size will use, where that matters.
    fn estimate(&self, limits: &Limits, model: &dyn LanguageModel, size: CallSize) -> Amount {
        match limits.max_tokens.is_some() || limits.max_cost.is_some() {
            true => self.estimates.of(model.name(), size.bytes, size.max_output_tokens, model.price()),
            false => Amount::default(),
        }
    }

    /// Which limit so much more would exceed.
    fn exceeded(&self, limits: &Limits, more: Amount) -> Option<Limit> {
        let tokens = self.usage.total_tokens().unwrap_or_default() + self.held.tokens + more.tokens;
        let cost = self.usage.cost.unwrap_or_default() + self.held.cost + more.cost;
        if limits.max_tokens.is_some_and(|limit| tokens > limit) {
            Some(Limit::Tokens)
        } else if limits.max_cost.is_some_and(|limit| cost > limit) {
            Some(Limit::Cost)
        } else {
            None
        }
    }

    /// A limit that cannot be kept, and the model that does not report what counts towards it.
    fn unmetered(&self, limits: &Limits) -> Option<(Limit, &str)> {
        let cost = self.without_cost.as_deref().filter(|_| limits.max_cost.is_some());
        let tokens = self.without_tokens.as_deref().filter(|_| limits.max_tokens.is_some());
        let cost = cost.map(|model| (Limit::Cost, model));
        cost.or_else(|| tokens.map(|model| (Limit::Tokens, model)))
    }

    fn tokens_left(&self, limits: &Limits) -> Option<u64> {
        let used = self.usage.total_tokens().unwrap_or_default() + self.held.tokens;
        Some(limits.max_tokens?.saturating_sub(used))
    }

    fn cost_left(&self, limits: &Limits) -> Option<f64> {
        let used = self.usage.cost.unwrap_or_default() + self.held.cost;
        Some((limits.max_cost? - used).max(0.0))
    }
}

/// The budget of one run of a tree.
#[derive(Debug)]
pub(super) struct Budget {
    tree: Arc<TreeBudget>,
    parent: Option<Arc<Budget>>,
    /// The slot of a child run; the root needs none.
    slot: Option<Slot>,
    depth: u32,
    terms: RunTerms,
    clock: RunClock,
    /// When it began, by its clock.
    started: Duration,
    used: Mutex<RunUsed>,
}

#[derive(Debug, Default)]
struct RunUsed {
    iterations: u32,
    /// Whether a turn was paid for when the run was asked for.
    is_first_paid: bool,
    /// Of this run and its children.
    usage: Usage,
}

/// What is held for a call until it is settled, or dropped without an answer.
#[derive(Debug)]
#[must_use = "it is given back when it is dropped"]
pub(super) struct Reservation {
    tree: Arc<TreeBudget>,
    amount: Amount,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut used = self.tree.used();
        used.held.tokens = used.held.tokens.saturating_sub(self.amount.tokens);
        used.held.cost = (used.held.cost - self.amount.cost).max(0.0);
    }
}

/// The most time that is kept for the extract call.
const MAX_EXTRACT_TIME: Duration = Duration::from_secs(60);

impl TreeBudget {
    fn new(limits: &Limits) -> Self {
        Self {
            calls: Arc::new(Semaphore::new(limits.max_concurrent_calls)),
            slots: Arc::new(Semaphore::new(limits.max_concurrent_calls)),
            used: Mutex::default(),
            in_flight: SubCallsInFlight::default(),
            input_limits: InputLimits::default(),
        }
    }

    fn hold(self: &Arc<Self>, used: &mut TreeUsed, amount: Amount) -> Reservation {
        used.held.tokens += amount.tokens;
        used.held.cost += amount.cost;
        Reservation { tree: self.clone(), amount }
    }

    fn used(&self) -> MutexGuard<'_, TreeUsed> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The size of a call, as far as it is known before it is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallSize {
    /// Of the request's messages.
    pub(super) bytes: usize,
    pub(super) max_output_tokens: Option<u32>,
}

impl CallSize {
    pub(super) fn of(request: &Request) -> Self {
        Self { bytes: bytes_of(&request.messages), max_output_tokens: request.max_tokens }
    }

    /// The size of a request with these messages, and no limit on its reply.
    pub(super) fn of_messages(messages: &[Message]) -> Self {
        Self { bytes: bytes_of(messages), max_output_tokens: None }
    }
}

impl Budget {
    /// The budget of the run that all others of the tree come from.
    pub(super) fn root(terms: &RunTerms, clock: &RunClock) -> Arc<Self> {
        Self::new(Arc::new(TreeBudget::new(&terms.live().limits)), None, terms, clock)
    }

    /// The budget of a child run, whose first turn is paid for. It has to be over when the turns of its
    /// parent have to be.
    pub(super) fn child(self: &Arc<Self>, terms: &RunTerms, clock: &RunClock) -> Arc<Self> {
        Self::new(self.tree.clone(), Some(self.clone()), terms, clock)
    }

    fn new(
        tree: Arc<TreeBudget>,
        parent: Option<Arc<Budget>>,
        terms: &RunTerms,
        clock: &RunClock,
    ) -> Arc<Self> {
        Arc::new(Self {
            slot: parent.as_ref().map(|parent| Slot::new(tree.slots.clone(), parent.slot.as_ref())),
            depth: parent.as_ref().map_or(0, |parent| parent.depth + 1),
            used: Mutex::new(RunUsed { is_first_paid: parent.is_some(), ..RunUsed::default() }),
            tree,
            parent,
            terms: terms.clone(),
            clock: clock.clone(),
            started: clock.last(),
        })
    }

    /// When the run has to be over under these limits, by its clock.
    fn deadline_in(&self, limits: &Limits) -> Option<Duration> {
        match &self.parent {
            None => limits.run_timeout,
            Some(parent) => parent.turns_deadline_in(limits),
        }
    }

    /// When its turns have to be over, so that time is left for the extract call.
    fn turns_deadline_in(&self, limits: &Limits) -> Option<Duration> {
        let deadline = self.deadline_in(limits)?;
        let left = deadline.saturating_sub(self.started);
        Some(deadline - (left / 4).min(MAX_EXTRACT_TIME))
    }

    /// The limits that the run goes by now.
    fn limits(&self) -> Limits {
        self.terms.limits()
    }

    /// How many runs are above this one.
    pub(super) fn depth(&self) -> u32 {
        self.depth
    }

    /// Reserves a turn. Fails with the limit that ends the run.
    pub(super) fn reserve_turn(
        &self,
        model: &dyn LanguageModel,
        size: CallSize,
    ) -> Result<Reservation, Limit> {
        if self.used().iterations >= self.limits().max_iterations {
            return Err(Limit::Iterations);
        }
        let reservation = self.reserve_reply(model, size, Purpose::Act)?;
        self.used().iterations += 1;
        Ok(reservation)
    }

    /// Reserves a reply of the run's own model that takes no iteration.
    ///
    /// The root's replies come one at a time: none is asked for once a limit is used up, so the last one may
    /// exceed it. A child's must fit.
    pub(super) fn reserve_reply(
        &self,
        model: &dyn LanguageModel,
        size: CallSize,
        purpose: Purpose,
    ) -> Result<Reservation, Limit> {
        let recorded = self.recorded(purpose)?;
        let (limits, mut used) = (self.limits(), self.tree.used());
        match self.exhausted(&limits, &used, self.clock.last()) {
            Some(limit) if limit == Limit::Time || !recorded => Err(limit),
            _ => self.pay_reply(&limits, &mut used, model, size, recorded),
        }
    }

    /// Reserves the extract call. The root's is not subject to the limits that led to it, but for the time
    /// that is kept for it. A child's is a sub-call as any other.
    pub(super) fn reserve_extract(
        &self,
        model: &dyn LanguageModel,
        size: CallSize,
    ) -> Result<Reservation, Limit> {
        let recorded = self.recorded(Purpose::Extract)?;
        let (limits, mut used) = (self.limits(), self.tree.used());
        match self.exhausted(&limits, &used, self.clock.last()) {
            Some(limit) if limit != Limit::Time && self.parent.is_some() && !recorded => Err(limit),
            _ => self.pay_reply(&limits, &mut used, model, size, recorded),
        }
    }

    /// Whether the record has this reply of a child, so that it is paid for. Fails with the limit by which it
    /// was refused then: what is left for a child depends on what others do at the same time, and when that
    /// was, the record alone knows.
    fn recorded(&self, purpose: Purpose) -> Result<bool, Limit> {
        const SHARED: [Limit; 3] = [Limit::SubCalls, Limit::Tokens, Limit::Cost];
        if self.parent.is_none() {
            return Ok(false);
        }
        self.terms.recorded(purpose, &SHARED, |limit| self.describe(limit))
    }

    fn pay_reply(
        &self,
        limits: &Limits,
        used: &mut TreeUsed,
        model: &dyn LanguageModel,
        size: CallSize,
        is_paid: bool,
    ) -> Result<Reservation, Limit> {
        let amount = used.estimate(limits, model, size);
        if self.parent.is_some() {
            let mut own = self.used();
            if !is_paid && !own.is_first_paid && used.sub_calls >= limits.max_llm_calls {
                return Err(Limit::SubCalls);
            }
            if let Some(limit) = used.exceeded(limits, amount).filter(|_| !is_paid) {
                return Err(limit);
            }
            used.sub_calls += u32::from(!std::mem::take(&mut own.is_first_paid));
        }
        Ok(self.tree.hold(used, amount))
    }

    /// Reserves sub-calls of these sizes at once, so that a batch runs whole or not at all.
    pub(super) fn reserve_sub_calls(
        &self,
        model: &dyn LanguageModel,
        sizes: &[CallSize],
    ) -> Result<Vec<Reservation>, HostError> {
        self.check()?;
        let (limits, mut used) = (self.limits(), self.tree.used());
        let count = u32::try_from(sizes.len()).unwrap_or(u32::MAX);
        check_sub_calls(&limits, &used, count)?;
        let amounts: Vec<_> = sizes.iter().map(|size| used.estimate(&limits, model, *size)).collect();
        let total = Amount {
            tokens: amounts.iter().map(|amount| amount.tokens).sum(),
            cost: amounts.iter().map(|amount| amount.cost).sum(),
        };
        if let Some(limit) = used.exceeded(&limits, total) {
            let (asked, left) = match limit {
                Limit::Cost => {
                    let left = used.cost_left(&limits).unwrap_or_default();
                    (format!("about ${:.4}", total.cost), format!("${left:.4}"))
                }
                _ => {
                    let left = used.tokens_left(&limits).unwrap_or_default();
                    (format!("about {} tokens", total.tokens), left.to_string())
                }
            };
            return Err(HostError::runtime_error(format!(
                "{limit}: this needs {asked} and {left} are left, so no call was made. Work with what you \
                 have, in Python, or with fewer and shorter prompts."
            )));
        }
        used.sub_calls += count;
        Ok(amounts.into_iter().map(|amount| self.tree.hold(&mut used, amount)).collect())
    }

    /// Reserves the first turns of `count` children at once.
    pub(super) fn reserve_children(&self, count: u32) -> Result<(), HostError> {
        self.check()?;
        let (limits, mut used) = (self.limits(), self.tree.used());
        check_sub_calls(&limits, &used, count)?;
        used.sub_calls += count;
        Ok(())
    }

    /// The sub-calls of the tree that are in flight.
    pub(super) fn in_flight(&self) -> &SubCallsInFlight {
        &self.tree.in_flight
    }

    /// Refuses a request that is clearly longer than what the model takes.
    pub(super) fn check_input(&self, model: &dyn LanguageModel, request: &Request) -> Result<(), HostError> {
        let tokens_per_byte = self.tree.used().estimates.tokens_per_byte(model.name());
        self.tree.input_limits.check(model, &request.messages, tokens_per_byte)
    }

    /// Learns that a request was too long for its model. Gives advice for the cell that asked.
    pub(super) fn learn_too_long(&self, model: &dyn LanguageModel, request: &Request) -> String {
        self.tree.input_limits.learn_too_long(model, &request.messages)
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

    /// Waits until one more model call may be in flight.
    pub(super) async fn call_permit(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed; a closed one would only mean that nothing is limited.
        self.tree.calls.clone().acquire_owned().await.ok()
    }

    /// Waits until a child run may be at work. The root always may.
    pub(super) async fn take_slot(&self) {
        if let Some(slot) = &self.slot {
            slot.take().await;
        }
    }

    /// Lets children be at work in this run's slot until the guard is dropped.
    pub(super) fn lend_slot(&self) -> Option<SlotLoan<'_>> {
        self.slot.as_ref().map(Slot::lend)
    }

    /// Settles what an answered call of `model` used, whose request had this size.
    pub(super) fn settle(&self, model: &str, size: CallSize, usage: Usage) {
        let mut used = self.tree.used();
        used.usage += usage;
        used.estimates.learn(model, size.bytes, &usage);
        if usage.cost.is_none() {
            used.without_cost.get_or_insert_with(|| model.to_owned());
        }
        if usage.total_tokens().is_none() {
            used.without_tokens.get_or_insert_with(|| model.to_owned());
        }
        drop(used);
        self.add(usage);
    }

    /// What a call used that was stopped while it replied: as the provider said until then, and for the rest
    /// by the size of the request and of so many bytes of the reply.
    pub(super) fn estimate_used(
        &self,
        model: &str,
        size: CallSize,
        reply_bytes: usize,
        said: Option<Usage>,
    ) -> Usage {
        let used = self.tree.used();
        let tokens = |bytes| used.estimates.tokens(model, bytes);
        let said = said.unwrap_or_else(Usage::call);
        Usage {
            input_tokens: said.input_tokens.or_else(|| Some(tokens(size.bytes))),
            output_tokens: Some(said.output_tokens.unwrap_or_default().max(tokens(reply_bytes))),
            cost: None,
            ..said
        }
    }

    /// Settles a call that failed, was cancelled or was stopped, and used this as far as it is known.
    pub(super) fn settle_unfinished(&self, usage: Usage) {
        self.tree.used().usage += usage;
        self.add(usage);
    }

    /// Adds to what this run and those above it have used.
    fn add(&self, usage: Usage) {
        self.used().usage += usage;
        if let Some(parent) = &self.parent {
            parent.add(usage);
        }
    }

    /// Fails if a limit cannot be kept, because a model does not report what counts towards it.
    pub(super) fn check_metered(&self) -> Result<(), Error> {
        let limit = self.tree.used().unmetered(&self.limits()).map(|(limit, _)| limit);
        limit.map_or(Ok(()), |limit| Err(Error::new(ErrorKind::Config, self.describe(limit))))
    }

    /// What this run and its children have used so far.
    pub(super) fn usage(&self) -> Usage {
        self.used().usage
    }

    /// How many sub-calls the tree has taken.
    pub(super) fn sub_calls(&self) -> u32 {
        self.tree.used().sub_calls
    }

    /// Which limit on time, tokens or cost is used up.
    pub(super) fn exhausted_now(&self) -> Option<Limit> {
        self.exhausted(&self.limits(), &self.tree.used(), self.clock.now())
    }

    /// Which limit on time, tokens or cost was used up at the run's last event.
    pub(super) fn exhausted_then(&self) -> Option<Limit> {
        self.exhausted(&self.limits(), &self.tree.used(), self.clock.last())
    }

    /// Counts what the run did before it went on.
    pub(super) fn recall(&self, usage: Usage, sub_calls: u32) {
        let mut used = self.tree.used();
        used.usage += usage;
        used.sub_calls = used.sub_calls.saturating_add(sub_calls);
        drop(used);
        self.add(usage);
    }

    /// Counts so many sub-calls at least.
    pub(super) fn recall_sub_calls(&self, in_all: u32) {
        let mut used = self.tree.used();
        used.sub_calls = used.sub_calls.max(in_all);
    }

    /// How many iterations were taken.
    pub(super) fn iterations(&self) -> u32 {
        self.used().iterations
    }

    /// When a call for a turn has to be over.
    pub(super) fn turns_deadline(&self) -> Option<Instant> {
        self.instant(self.turns_deadline_in(&self.limits()))
    }

    /// When the run, its extract call included, has to be over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.instant(self.deadline_in(&self.limits()))
    }

    fn instant(&self, deadline: Option<Duration>) -> Option<Instant> {
        Instant::now().checked_add(deadline?.saturating_sub(self.clock.now()))
    }

    /// The time left for turns.
    pub(super) fn time_left(&self) -> Option<Duration> {
        Some(self.turns_deadline_in(&self.limits())?.saturating_sub(self.clock.now()))
    }

    /// What is left at the run's last event, for the model to read.
    pub(super) fn remaining(&self) -> Remaining {
        let (limits, used) = (self.limits(), self.tree.used());
        let deadline = self.turns_deadline_in(&limits);
        Remaining {
            turn: self.used().iterations,
            max_iterations: limits.max_iterations,
            sub_calls_left: limits.max_llm_calls.saturating_sub(used.sub_calls),
            max_llm_calls: limits.max_llm_calls,
            tokens_left: used.tokens_left(&limits),
            cost_left: used.cost_left(&limits),
            time_left: deadline.map(|deadline| deadline.saturating_sub(self.clock.last())),
            words: None,
        }
    }

    /// What is left, for a cell to compute with.
    pub(super) fn to_value(&self) -> Value {
        let left = self.remaining();
        let optional = |value: Option<Value>| value.unwrap_or(Value::None);
        let entries = [
            ("turns_left", Value::from(left.max_iterations.saturating_sub(left.turn))),
            ("sub_calls_left", left.sub_calls_left.into()),
            ("tokens_left", optional(left.tokens_left.map(Value::from))),
            ("dollars_left", optional(left.cost_left.map(Value::from))),
            ("seconds_left", optional(self.time_left().map(|left| left.as_secs_f64().into()))),
            ("depth", self.depth.into()),
            ("max_depth", self.limits().max_depth.into()),
        ];
        Value::Dict(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// A limit in words.
    pub(super) fn describe(&self, limit: Limit) -> String {
        let limits = self.limits();
        if let Some((unmetered, model)) = self.tree.used().unmetered(&limits)
            && unmetered == limit
        {
            let (what, instead) = match limit {
                Limit::Cost => ("what a call costs", "give it a price (`with_price`)"),
                _ => ("how many tokens a call uses", "limit `max_iterations` and `max_llm_calls`"),
            };
            return format!("{limit} cannot be kept: model `{model}` does not say {what}; {instead}");
        }
        match limit {
            Limit::Iterations => format!("no turn is left of {}", limits.max_iterations),
            Limit::SubCalls => format!("no sub-call is left of {}", limits.max_llm_calls),
            Limit::Time => {
                format!("the time of {:.0} s is over", limits.run_timeout.unwrap_or_default().as_secs_f64())
            }
            Limit::Tokens => format!("the {} tokens are used", limits.max_tokens.unwrap_or_default()),
            Limit::Cost => format!("the {} dollars are used", limits.max_cost.unwrap_or_default()),
        }
    }

    fn exhausted(&self, limits: &Limits, used: &TreeUsed, at: Duration) -> Option<Limit> {
        let usage = &used.usage;
        let over = |limit: Option<u64>, used: Option<u64>| {
            limit.zip(used).is_some_and(|(limit, used)| used >= limit)
        };
        if self.turns_deadline_in(limits).is_some_and(|deadline| at >= deadline) {
            Some(Limit::Time)
        } else if over(limits.max_tokens, usage.total_tokens()) {
            Some(Limit::Tokens)
        } else if limits.max_cost.zip(usage.cost).is_some_and(|(limit, used)| used >= limit) {
            Some(Limit::Cost)
        } else {
            used.unmetered(limits).map(|(limit, _)| limit)
        }
    }

    fn used(&self) -> MutexGuard<'_, RunUsed> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_sub_calls(limits: &Limits, used: &TreeUsed, count: u32) -> Result<(), HostError> {
    let limit = limits.max_llm_calls;
    if used.sub_calls.saturating_add(count) <= limit {
        return Ok(());
    }
    let left = limit.saturating_sub(used.sub_calls);
    Err(HostError::runtime_error(format!(
        "sub-call limit: {count} more asked for, {left} of {limit} left, so none was made. \
         Work with what you have, in Python, or with fewer and larger prompts."
    )))
}

/// Reserves and settles so many sub-calls in a budget with every limit, two levels below its root.
#[cfg(feature = "testing")]
pub(crate) fn round_trips(model: &dyn LanguageModel, count: u32) {
    let limits = Limits::default().max_llm_calls(u32::MAX).max_tokens(u64::MAX / 2).max_cost(1e12);
    let (clock, terms) =
        (RunClock::started(), RunTerms::new(crate::trajectory::Terms { limits, ..Default::default() }));
    let budget = Budget::root(&terms, &clock).child(&terms, &clock).child(&terms, &clock);
    let size = CallSize { bytes: 3_000, max_output_tokens: None };
    for _ in 0..count {
        let reserved = budget.reserve_sub_calls(model, &[size]);
        budget.settle(model.name(), size, Usage::tokens(1_000, 100).cost(0.001));
        drop(reserved);
    }
}
