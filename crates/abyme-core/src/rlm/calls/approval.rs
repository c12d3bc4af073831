//! Approval of calls of tools that change something or send something to others.

use std::{fmt, future::Future, panic::AssertUnwindSafe, pin::Pin, sync::Arc};

use futures_util::FutureExt;
use indexmap::IndexMap;

use crate::{
    interpreter::HostError,
    tool::{Effect, Tool},
    trajectory::Approval,
    value::Value,
};

/// A call of a tool that waits for approval.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ApprovalRequest {
    /// The id of the run whose cell makes the call; a child has an id of its own.
    pub run: String,
    /// The turn that the cell belongs to.
    pub turn: u32,
    /// The tool's name.
    pub tool: String,
    /// What the call does outside of the run.
    pub effects: Vec<Effect>,
    /// The arguments of the call. The author of the cell chose them.
    pub arguments: IndexMap<String, Value>,
}

type ApprovalFuture = Pin<Box<dyn Future<Output = Approval> + Send>>;

/// Who approves calls of tools.
#[derive(Clone)]
pub(in crate::rlm) struct Approver(Arc<dyn Fn(ApprovalRequest) -> ApprovalFuture + Send + Sync>);

impl Approver {
    pub(in crate::rlm) fn new<F, Fut>(approve: F) -> Self
    where
        F: Fn(ApprovalRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Approval> + Send + 'static,
    {
        Self(Arc::new(move |request| Box::pin(approve(request))))
    }

    /// Whether calls of this tool wait for approval.
    pub(in crate::rlm) fn judges(tool: &Tool) -> bool {
        tool.effects().iter().any(|effect| effect.needs_approval())
    }

    /// Asks. A panic is a denial.
    pub(in crate::rlm) async fn ask(&self, request: ApprovalRequest) -> Approval {
        let asked = AssertUnwindSafe(async { (self.0)(request).await }).catch_unwind().await;
        asked.unwrap_or_else(|_| Approval::Denied("asking for approval failed".to_owned()))
    }
}

impl fmt::Debug for Approver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Approver")
    }
}

/// What a denied call raises in its cell.
pub(in crate::rlm) fn denied(tool: &str, reason: &str) -> HostError {
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let message = format!(
        "`{tool}` was not called, because approval was denied{reason}. The same call will be denied again: \
         go on without it."
    );
    HostError::new("PermissionError", message)
}
