//! Forks that are asked of a run that is under way, and that it makes between two turns.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::{rlm::kept_session::KeptSession, trajectory::Trajectory};

/// What a fork begins with: the record up to then, and a copy of the session where the backend can make one.
#[derive(Debug)]
pub(in crate::rlm) struct ForkPoint {
    pub(in crate::rlm) trajectory: Trajectory,
    pub(in crate::rlm) session: Option<KeptSession>,
}

/// A fork that is waited for.
#[derive(Debug)]
pub(in crate::rlm) struct ForkRequest {
    pub(in crate::rlm) turn: u32,
    answer: oneshot::Sender<ForkPoint>,
}

/// The forks that are asked of one run. The run closes them when it ends or is dropped.
#[derive(Debug, Default)]
pub(in crate::rlm) struct ForkServer(Arc<ForkRequests>);

/// What those who ask and the run share.
#[derive(Debug, Default)]
pub(in crate::rlm) struct ForkRequests(Mutex<PendingForks>);

#[derive(Debug, Default)]
struct PendingForks {
    requests: Vec<ForkRequest>,
    is_over: bool,
    /// The record of a run that is over.
    ended: Option<Trajectory>,
}

impl ForkRequest {
    pub(in crate::rlm) fn answer(self, point: ForkPoint) {
        // Fails if nobody waits any more.
        self.answer.send(point).ok();
    }
}

impl ForkServer {
    pub(in crate::rlm) fn requests(&self) -> &Arc<ForkRequests> {
        &self.0
    }

    /// Takes the requests for turns up to this one.
    pub(in crate::rlm) fn due(&self, turn: u32) -> Vec<ForkRequest> {
        self.0.waiting().requests.extract_if(.., |request| request.turn <= turn).collect()
    }

    /// The run is over: what is asked of it from now on comes from its record.
    pub(in crate::rlm) fn end(&self, trajectory: Trajectory) {
        let mut waiting = self.0.waiting();
        for request in std::mem::take(&mut waiting.requests) {
            request.answer(ForkPoint { trajectory: trajectory.clone(), session: None });
        }
        waiting.ended = Some(trajectory);
    }
}

impl Drop for ForkServer {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.is_over = true;
        waiting.requests.clear();
    }
}

impl ForkRequests {
    /// Asks for the fork that the run makes when it has come to the end of `turn`. It is not answered if the
    /// run was dropped before.
    pub(in crate::rlm) fn fork_at(&self, turn: u32) -> oneshot::Receiver<ForkPoint> {
        let (answer, point) = oneshot::channel();
        let request = ForkRequest { turn, answer };
        let mut waiting = self.waiting();
        match waiting.ended.clone() {
            Some(trajectory) => request.answer(ForkPoint { trajectory, session: None }),
            None if waiting.is_over => {}
            None => waiting.requests.push(request),
        }
        point
    }

    fn waiting(&self) -> MutexGuard<'_, PendingForks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
