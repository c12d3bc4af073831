//! The terms of one run of a tree: see [`terms`](super::terms).

use std::sync::Arc;

use super::{
    event::Purpose,
    past::Past,
    terms::{Summaries, Terms},
};
use crate::limits::Limits;
use crate::status::Limit;

/// The terms of one run of a tree: in what its record answers those of the record, then its own.
#[derive(Clone, Debug)]
pub(crate) struct RunTerms {
    live: Arc<Terms>,
    past: Option<Arc<Past>>,
    /// Most turns that the cells above gave it.
    max_iterations: Option<u32>,
}

impl RunTerms {
    pub(crate) fn new(live: Terms) -> Self {
        Self { live: Arc::new(live), past: None, max_iterations: None }
    }

    pub(super) fn with_past(self, past: Option<Arc<Past>>) -> Self {
        Self { past, ..self }
    }

    /// The terms of a child to which a cell gives so many turns, and whose model reads so much.
    pub(crate) fn child(&self, max_iterations: Option<u32>, max_input_tokens: Option<u64>) -> Self {
        let given = self.max_iterations.into_iter().chain(max_iterations).min();
        let mut live = (*self.live).clone();
        live.summaries.max_input_tokens = max_input_tokens;
        live.limits = capped(live.limits, given);
        Self { live: Arc::new(live), past: None, max_iterations: given }
    }

    /// The terms that the run goes on with once its record has ended.
    pub(crate) fn live(&self) -> &Terms {
        &self.live
    }

    /// The limits by which the run decides what comes next. A run that goes on decides by its own, since
    /// other limits may lead it elsewhere than its record.
    pub(crate) fn limits(&self) -> Limits {
        let replayed = self.past.as_ref().filter(|past| past.is_replay());
        match replayed.and_then(|past| past.terms()) {
            Some(part) => capped(part.followed.clone(), self.max_iterations),
            None => self.live.limits.clone(),
        }
    }

    /// The limits of what a run that goes on does again as it was, whatever it goes on with: of a cell in its
    /// record, and of first messages that were said.
    pub(crate) fn limits_as_recorded(&self) -> Limits {
        let resumed = self.past.as_ref().filter(|past| !past.is_replay());
        match resumed.and_then(|past| past.terms()) {
            Some(part) => part.recorded.clone(),
            None => self.limits(),
        }
    }

    /// When the run's turns are summarised, as it decides next.
    pub(crate) fn summaries(&self) -> Summaries {
        let part = self.past.as_ref().and_then(|past| past.terms());
        part.and_then(|part| part.summaries.clone()).unwrap_or_else(|| self.live.summaries.clone())
    }

    /// Whether the record has the request of this purpose that comes next. Fails with the one of these
    /// limits, as it is described, that refused it then; a run that goes on may be given more than it had.
    pub(crate) fn recorded(
        &self,
        purpose: Purpose,
        limits: &[Limit],
        described: impl Fn(Limit) -> String,
    ) -> Result<bool, Limit> {
        let Some(past) = &self.past else { return Ok(false) };
        match past.answers(purpose) {
            Some(false) if past.is_replay() => {
                let refused = limits.iter().find(|limit| past.says(&described(**limit)));
                refused.map_or(Ok(false), |limit| Err(*limit))
            }
            answered => Ok(answered == Some(true)),
        }
    }

    /// What the run went by when it did what it has done again last.
    pub(super) fn then(&self) -> Option<Terms> {
        let part = self.past.as_ref()?.terms_then()?;
        Some(Terms {
            limits: capped(part.followed.clone(), self.max_iterations),
            summaries: part.summaries.clone().unwrap_or_else(|| self.live.summaries.clone()),
        })
    }
}

fn capped(limits: Limits, max_iterations: Option<u32>) -> Limits {
    let own = limits.max_iterations;
    limits.max_iterations(max_iterations.map_or(own, |most| most.min(own)))
}
