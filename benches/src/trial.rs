//! A trial: a system that is ready to do the work of a scenario.

use async_trait::async_trait;

/// A system that is ready to be measured.
#[async_trait]
pub(crate) trait Trial: Send {
    /// Does the work once, checks that it was done, and returns what is measured, in the scenario's unit.
    ///
    /// # Errors
    /// What went wrong; the system takes no further part in this scenario.
    async fn sample(&mut self) -> Result<f64, String>;
}
