//! Runs that begin with a record: what it answers, what may be done once more, and forks from it.

pub(super) mod answers;
pub(super) mod begin;
pub(super) mod effects;
pub(super) mod fork_handle;
pub(super) mod forks;
pub(super) mod same_task;
