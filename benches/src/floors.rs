//! The least that a piece of work can cost on this machine: bare processes, pipes and containers, without any
//! system around them.

pub(crate) mod container;
pub(crate) mod pipe;
pub(crate) mod python;

use std::fmt::Display;

/// An error as a row's reason: what could not be done, and why.
pub(crate) fn because<E: Display>(what: &'static str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error}")
}
