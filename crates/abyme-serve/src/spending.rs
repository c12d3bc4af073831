//! What a key used today, and what its runs may still use.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use abyme_core::{Limits, Usage};
use serde::{Deserialize, Serialize};

use crate::key::KeyLimits;

const DAY_SECONDS: u64 = 24 * 3600;

/// Tokens and US dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Spending {
    pub(crate) tokens: u64,
    pub(crate) cost: f64,
}

/// The budget of a key for a day of UTC.
#[derive(Debug)]
pub(crate) struct DayBudget {
    max_tokens: Option<u64>,
    max_cost: Option<f64>,
    state: Mutex<DayState>,
}

#[derive(Debug, Default)]
struct DayState {
    /// Days since 1970.
    day: u64,
    used: Spending,
    /// What runs at work hold.
    reserved: Spending,
    /// How many these are.
    runs: usize,
}

/// Which budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UsedUp {
    Tokens,
    Cost,
}

/// What a run holds of the budget of its key until it has ended.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<DayBudget>,
    tokens: Option<u64>,
    cost: Option<f64>,
}

impl DayBudget {
    /// A budget of which `used` was used on `day`.
    pub(crate) fn new(limits: &KeyLimits, day: u64, used: Spending) -> Self {
        Self {
            max_tokens: limits.max_tokens_per_day,
            max_cost: limits.max_cost_per_day,
            state: Mutex::new(DayState { day, used, ..DayState::default() }),
        }
    }

    /// What was used on this day.
    pub(crate) fn used(&self, day: u64) -> Spending {
        self.on(day).used
    }

    /// Whether a request makes sense.
    pub(crate) fn check(&self, day: u64) -> Result<(), UsedUp> {
        let used = self.used(day);
        if self.max_tokens.is_some_and(|max| used.tokens >= max) {
            return Err(UsedUp::Tokens);
        }
        if self.max_cost.is_some_and(|max| used.cost >= max) {
            return Err(UsedUp::Cost);
        }
        Ok(())
    }

    /// Holds a run's share of what is left: as much as each of the runs gets that there may be at once. So
    /// they keep to the budget together, whatever each of them does, but for the last call of each: what a
    /// call uses is known when it is over.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        day: u64,
        max_runs: usize,
        own: &Limits,
    ) -> Result<Reservation, UsedUp> {
        let mut state = self.on(day);
        let free = max_runs.saturating_sub(state.runs).max(1);
        let tokens = self.max_tokens.map(|max| {
            let left = max.saturating_sub(state.used.tokens + state.reserved.tokens) / free as u64;
            own.max_tokens.map_or(left, |own| own.min(left))
        });
        let cost = self.max_cost.map(|max| {
            let left = (max - state.used.cost - state.reserved.cost).max(0.0) / free as f64;
            own.max_cost.map_or(left, |own| own.min(left))
        });
        if tokens == Some(0) {
            return Err(UsedUp::Tokens);
        }
        if cost == Some(0.0) {
            return Err(UsedUp::Cost);
        }
        state.runs += 1;
        state.reserved.tokens += tokens.unwrap_or(0);
        state.reserved.cost += cost.unwrap_or(0.0);
        drop(state);
        Ok(Reservation { budget: self.clone(), tokens, cost })
    }

    /// The state, without what an earlier day used.
    fn on(&self, day: u64) -> MutexGuard<'_, DayState> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A caller may have read the clock before midnight, and come after one that read it later.
        if state.day < day {
            (state.day, state.used) = (day, Spending::default());
        }
        state
    }
}

impl Reservation {
    /// The limits of the run.
    pub(crate) fn limited(&self, limits: Limits) -> Limits {
        let limits = match self.tokens {
            Some(tokens) => limits.max_tokens(tokens),
            None => limits,
        };
        match self.cost {
            Some(cost) => limits.max_cost(cost),
            None => limits,
        }
    }

    /// Counts what the run used. Dropping the reservation gives the rest back.
    pub(crate) fn settle(self, day: u64, usage: &Usage) {
        let mut state = self.budget.on(day);
        state.used.tokens += usage.total_tokens().unwrap_or(0);
        state.used.cost += usage.cost.unwrap_or(0.0);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.budget.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.runs -= 1;
        state.reserved.tokens -= self.tokens.unwrap_or(0);
        // Sums of floats are not exact: the last one gives back what is there.
        let left = (state.reserved.cost - self.cost.unwrap_or(0.0)).max(0.0);
        state.reserved.cost = if state.runs == 0 { 0.0 } else { left };
    }
}

/// Seconds since 1970.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Days since 1970, of UTC.
pub(crate) fn today() -> u64 {
    unix_seconds() / DAY_SECONDS
}

/// How long it is until the next day.
pub(crate) fn until_tomorrow() -> Duration {
    Duration::from_secs(DAY_SECONDS - unix_seconds() % DAY_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(limits: KeyLimits) -> Arc<DayBudget> {
        Arc::new(DayBudget::new(&limits, 7, Spending::default()))
    }

    #[test]
    fn runs_at_once_share_what_is_left() {
        let budget = budget(KeyLimits::default().max_tokens_per_day(900).max_cost_per_day(3.0));
        let own = Limits::default().max_cost(0.5);
        let first = budget.reserve(7, 3, &own).unwrap();
        let second = budget.reserve(7, 3, &own).unwrap();
        let third = budget.reserve(7, 3, &own).unwrap();
        let of = |reservation: &Reservation| (reservation.tokens, reservation.cost);
        assert_eq!([of(&first), of(&second), of(&third)], [(Some(300), Some(0.5)); 3]);
        let limits = first.limited(Limits::default());
        assert_eq!((limits.max_tokens, limits.max_cost), (Some(300), Some(0.5)));

        first.settle(7, &Usage::tokens(200, 90).cost(0.4));
        drop(second);
        third.settle(7, &Usage::tokens(0, 10));
        assert_eq!(budget.used(7), Spending { tokens: 300, cost: 0.4 });
        let whole = budget.reserve(7, 1, &Limits::default()).unwrap();
        assert_eq!(of(&whole), (Some(600), Some(2.6)));
        // The last call of a run may exceed its limit.
        whole.settle(7, &Usage::tokens(601, 0));
        assert_eq!(budget.check(7), Err(UsedUp::Tokens));
        assert_eq!(budget.reserve(7, 1, &Limits::default()).unwrap_err(), UsedUp::Tokens);
        // The next day begins anew.
        assert_eq!((budget.check(8), budget.used(8)), (Ok(()), Spending::default()));
    }

    #[test]
    fn a_budget_of_nothing_lets_nothing_through() {
        let none = budget(KeyLimits::default().max_cost_per_day(0.0));
        assert_eq!(none.check(7), Err(UsedUp::Cost));
        let open = budget(KeyLimits::default());
        let reservation = open.reserve(7, 4, &Limits::default()).unwrap();
        assert_eq!(reservation.limited(Limits::default()), Limits::default());
    }
}
