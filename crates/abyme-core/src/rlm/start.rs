//! What one run of a tree is made of, and how a cell starts one.
//!
//! The loop serves the calls that start children, and a child is run by the loop: so it is handed to the
//! calls as a [`StartRun`].

use std::sync::Arc;

use async_trait::async_trait;
use indexmap::IndexMap;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    budget::Budget,
    cancel::CancelHandle,
    config::RlmConfig,
    kept_session::SessionHolder,
    resume::{effects::Effects, forks::ForkServer},
    session_snapshots::SessionSnapshots,
};
use crate::{
    error::Result,
    inputs::Inputs,
    signature::Field,
    status::Status,
    tool::ToolUses,
    trajectory::{ForkOrigin, ParentCall, Recorder},
    value::Value,
};

/// What one run of a tree is made of.
#[derive(Clone, Copy)]
pub(super) struct RunParts<'a> {
    pub(super) config: &'a RlmConfig,
    pub(super) inputs: &'a Inputs,
    pub(super) budget: &'a Arc<Budget>,
    pub(super) recorder: &'a Recorder,
    /// How often the tree has used each tool.
    pub(super) tool_uses: &'a ToolUses,
    pub(super) label: Option<&'a str>,
    /// Where its session comes from and stays, if it is one run of a conversation. All others open one of
    /// their own and shut it down.
    pub(super) session: Option<&'a SessionHolder>,
    /// What of its inputs is of earlier questions.
    pub(super) earlier: Option<&'a EarlierInputs>,
    /// The forks that are asked of it.
    pub(super) forks: Option<&'a ForkServer>,
    /// The call that starts it, if a cell does.
    pub(super) parent: Option<&'a ParentCall>,
    /// What the random numbers of its sessions begin with, where they have a seed.
    pub(super) seed: Option<u64>,
    /// The time of day that its sessions begin with, in milliseconds since 1970, where they are
    /// deterministic.
    pub(super) session_unix_ms: Option<u64>,
    /// Where its session is kept.
    pub(super) snapshots: Option<&'a SessionSnapshots>,
    /// What becomes of effects that the record of the tree has.
    pub(super) effects: &'a Effects,
    /// The run that it is a fork of, if it is one.
    pub(super) forked_from: Option<&'a ForkOrigin>,
    /// What may ask it to end with what it knows. A child ends with the cell that waits for it.
    pub(super) finish: Option<&'a CancelHandle>,
}

/// What of a run's inputs is of earlier questions of its conversation.
#[derive(Debug, Default)]
pub(super) struct EarlierInputs {
    /// How the model is told of them.
    pub(super) text: String,
    /// Those that the text describes.
    pub(super) names: Vec<String>,
    /// What each of them is that is no input of the signature.
    pub(super) fields: Vec<(String, Field)>,
}

/// The outputs of a run and how it ended.
pub(super) type Outputs = (IndexMap<String, Value>, Status);

/// Runs a child to its end.
#[async_trait]
pub(super) trait StartRun: Send + Sync {
    /// Records its beginning, its turns and its end. Dropping the future ends it.
    async fn start(&self, parts: RunParts<'_>) -> Result<Outputs>;
}

/// A seed, made at random. It fits the numbers of JSON.
pub(super) fn random_seed() -> u64 {
    rand::rng().random::<u64>() >> 11
}

/// The seed of a child that a host call of this number starts.
pub(super) fn child_seed(seed: u64, call: u32) -> u64 {
    StdRng::seed_from_u64(seed.wrapping_add(u64::from(call))).random::<u64>() >> 11
}

/// The id of a new run, made at random.
pub(super) fn run_id() -> String {
    format!("{:016x}", rand::rng().random::<u64>())
}
