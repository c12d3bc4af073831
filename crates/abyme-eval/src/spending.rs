//! What an evaluation has cost, its unfinished runs included, and whether it may go on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use abyme_core::{Event, EventSink, LanguageModel, Record, Usage};
use tokio::sync::watch;

/// The money of an evaluation.
#[derive(Debug)]
pub(crate) struct Spending {
    limit: Option<f64>,
    amounts: Mutex<Amounts>,
    used_up: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Amounts {
    /// What is over.
    ended: f64,
    /// What each try in progress has used so far, or is expected to use at least.
    live: HashMap<u64, f64>,
    next: u64,
    /// Whether a call was made of which nobody knows what it cost.
    has_unknown: bool,
}

impl Spending {
    /// Begins with what was spent before. `has_unknown` says that nobody knows what some of that was.
    pub(crate) fn new(limit: Option<f64>, before: f64, has_unknown: bool) -> Arc<Self> {
        let amounts = Mutex::new(Amounts { ended: before, has_unknown, ..Amounts::default() });
        Arc::new(Self { limit, amounts, used_up: watch::Sender::new(false) })
    }

    /// A try that will use `least` at least. `None` if that is no longer there.
    pub(crate) fn begin(self: &Arc<Self>, least: f64) -> Option<Meter> {
        let mut amounts = self.lock();
        let sum = amounts.sum();
        if self.limit.is_some_and(|limit| sum >= limit || sum + least > limit) {
            return None;
        }
        let number = amounts.next;
        amounts.next += 1;
        amounts.live.insert(number, least);
        drop(amounts);
        Some(Meter { spending: self.clone(), number, calls: Mutex::default() })
    }

    /// Whether a limit is to be kept, and it is not known what was spent.
    pub(crate) fn is_unknown(&self) -> bool {
        self.limit.is_some() && self.lock().has_unknown
    }

    /// Waits until nothing is left, or it is not known what is.
    pub(crate) async fn used_up(&self) {
        // The sender is this value's own.
        let _ = self.used_up.subscribe().wait_for(|used_up| *used_up).await;
    }

    fn set(&self, number: u64, usage: &Usage, is_over: bool) {
        let mut amounts = self.lock();
        let cost = usage.cost.unwrap_or_default();
        if is_over {
            amounts.live.remove(&number);
            amounts.ended += cost;
        } else {
            amounts.live.insert(number, cost);
        }
        self.tell(amounts);
    }

    /// Notes that a call was made of which nobody knows what it cost.
    fn set_unknown(&self) {
        let mut amounts = self.lock();
        amounts.has_unknown = true;
        self.tell(amounts);
    }

    /// Ends what waits for the end of the money.
    fn tell(&self, amounts: MutexGuard<'_, Amounts>) {
        let is_used_up = self.limit.is_some_and(|limit| amounts.has_unknown || amounts.sum() >= limit);
        drop(amounts);
        if is_used_up {
            self.used_up.send_replace(true);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Amounts> {
        self.amounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Amounts {
    fn sum(&self) -> f64 {
        self.ended + self.live.values().sum::<f64>()
    }
}

/// What one try uses. As a sink of its run it counts the calls as they end.
#[derive(Debug)]
pub(crate) struct Meter {
    spending: Arc<Spending>,
    number: u64,
    calls: Mutex<Usage>,
}

impl Meter {
    /// Waits until the evaluation has nothing left.
    pub(crate) async fn used_up(&self) {
        self.spending.used_up().await;
    }

    /// What the try used in all, and what each of its replies used, which has to be known: a sum hides what
    /// is not. What failed calls cost may never be known, and is nothing as a rule.
    pub(crate) fn end(&self, replies: &[Usage], all: &Usage) {
        if replies.iter().any(is_unknown) {
            self.spending.set_unknown();
        }
        self.spending.set(self.number, all, true);
    }
}

impl EventSink for Meter {
    fn record(&self, record: &Arc<Record>) {
        let (Event::ModelReplied { usage, .. }
        | Event::ModelCallFailed { usage, .. }
        | Event::SubCallFinished { usage, .. }) = &record.event
        else {
            return;
        };
        // What a failed call cost may never be known, and is nothing as a rule.
        if is_unknown(usage) && !matches!(record.event, Event::ModelCallFailed { .. }) {
            self.spending.set_unknown();
        }
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        *calls += *usage;
        self.spending.set(self.number, &calls, false);
    }
}

/// Whether calls were made of which nobody knows what they cost.
pub(crate) fn is_unknown(usage: &Usage) -> bool {
    usage.calls > 0 && usage.cost.is_none()
}

/// What a call used, with its cost by the price of its model where the provider does not tell it.
pub(crate) fn priced(model: &dyn LanguageModel, mut used: Usage) -> Usage {
    used.cost = used.cost.or_else(|| model.price().and_then(|price| price.of(&used)));
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_spent_is_counted_as_it_comes() {
        let spending = Spending::new(Some(1.0), 0.25, false);
        let first = spending.begin(0.5).unwrap();
        assert!(spending.begin(0.5).is_none(), "0.75 are spoken for");
        let second = spending.begin(0.0).unwrap();
        let used = Usage::tokens(1, 1).cost(0.25);
        first.end(&[used], &used);
        spending.set(second.number, &Usage::tokens(1, 1).cost(0.49), false);
        assert!(spending.begin(0.0).is_some());
        assert!(!*spending.used_up.borrow());
        spending.set(second.number, &Usage::tokens(1, 1).cost(0.5), false);
        second.used_up().await;
        assert!(spending.begin(0.0).is_none() && !spending.is_unknown());
    }

    #[tokio::test]
    async fn a_limit_needs_known_costs() {
        let spending = Spending::new(Some(1.0), 0.0, false);
        spending.begin(0.0).unwrap().end(&[], &Usage::call());
        assert!(!spending.is_unknown());
        let (known, unknown) = (Usage::tokens(1, 1).cost(0.1), Usage::tokens(1, 1));
        spending.begin(0.0).unwrap().end(&[known, unknown], &(known + unknown));
        spending.used_up().await;
        assert!(spending.is_unknown());
        assert!(Spending::new(Some(1.0), 0.0, true).is_unknown());
        let free = Spending::new(None, 0.0, true);
        free.begin(0.0).unwrap().end(&[Usage::call()], &Usage::call());
        assert!(!free.is_unknown() && free.begin(9.0).is_some());
    }
}
