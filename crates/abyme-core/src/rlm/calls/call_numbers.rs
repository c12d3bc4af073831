//! The numbers of the sub-calls and children that one host call makes, for its record.

use std::sync::{Mutex, PoisonError};

/// What one call of a built-in host function has made so far.
#[derive(Debug, Default)]
pub(in crate::rlm) struct CallNumbers(Mutex<Vec<u32>>);

impl CallNumbers {
    pub(in crate::rlm) fn add(&self, call: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }

    /// The numbers, in order.
    pub(in crate::rlm) fn calls(self) -> Vec<u32> {
        let mut calls = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        calls.sort_unstable();
        calls
    }
}
