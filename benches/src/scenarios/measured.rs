//! Samples that a goal is made of: "50 µs more than what a bare client takes here".

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::trial::Trial;

/// The samples of one system, shared with the scenario whose goal follows from them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured(Arc<Mutex<Vec<f64>>>);

impl Measured {
    /// The median so far.
    pub(crate) fn median(&self) -> Option<f64> {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        samples.sort_by(f64::total_cmp);
        samples.get(samples.len() / 2).copied()
    }

    /// The same trial, with its samples noted here.
    pub(crate) fn note(&self, trial: impl Trial + 'static) -> RecordedTrial {
        RecordedTrial { trial: Box::new(trial), samples: self.clone() }
    }
}

/// A trial whose samples are noted.
pub(crate) struct RecordedTrial {
    trial: Box<dyn Trial>,
    samples: Measured,
}

#[async_trait]
impl Trial for RecordedTrial {
    async fn sample(&mut self) -> Result<f64, String> {
        let sample = self.trial.sample().await?;
        self.samples.0.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
        Ok(sample)
    }
}
