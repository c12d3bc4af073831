//! Runs one case: its own thread, its own runtime, its own subject, its own time limit.

use std::{
    any::Any,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc},
    thread,
    time::Duration,
};

use futures_util::future::{self, Either};

use crate::{
    job::Job,
    result::{self, CaseResult},
};

/// Cases hold it while they run; cases that run alone hold it exclusively. It is a static because it guards
/// the memory, the descriptors and the children of this process, also between several suites.
static RUNNING: RwLock<()> = RwLock::new(());

/// How long a hung case may take to be dropped before its thread is left behind.
const DROP_GRACE: Duration = Duration::from_secs(2);

/// Runs a case and waits for it, at most for its limit and a grace. The wait for other cases does not count.
pub(crate) fn run(job: &Arc<Job>, limit: Duration) -> CaseResult {
    if let Some(need) = &job.lacks {
        return CaseResult::Skipped(format!("{} lacks {need}", job.of));
    }
    let _permit = RunPermit::acquire(job);
    let case = job.clone();
    let (send, result) = mpsc::channel();
    let (give_up, given_up) = tokio::sync::oneshot::channel();
    let spawned = thread::Builder::new().name(job.name.to_owned()).spawn(move || {
        // Fails if the case was given up, because the receiver is dropped then.
        let _ = send.send(on_runtime(&case, given_up));
    });
    if let Err(error) = spawned {
        return CaseResult::Failed(format!("no thread for the case: {error}"));
    }
    if let Ok(result) = result.recv_timeout(limit) {
        return result;
    }
    let _ = give_up.send(());
    let freed = result.recv_timeout(DROP_GRACE).is_ok();
    let blocked = if freed { "" } else { "; it blocks its thread, which is left behind" };
    CaseResult::Failed(format!("hung: not done after {limit:?}{blocked}"))
}

/// Runs the case on a runtime of its own. A case that is given up is dropped in the middle, with its session.
fn on_runtime(case: &Job, given_up: tokio::sync::oneshot::Receiver<()>) -> CaseResult {
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(case.name)
        .enable_all()
        .build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => return CaseResult::Failed(format!("no runtime for the case: {error}")),
    };
    let ended = runtime.block_on(async {
        let mut task = tokio::spawn((case.run)());
        match future::select(&mut task, given_up).await {
            Either::Left((ended, _)) => Some(ended),
            Either::Right(_) => {
                task.abort();
                let _ = task.await;
                None
            }
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    match ended {
        Some(Ok(())) => CaseResult::Passed,
        Some(Err(error)) => result::of_panic(reason(error)),
        None => CaseResult::Failed("given up".to_owned()),
    }
}

fn reason(error: tokio::task::JoinError) -> Box<dyn Any + Send> {
    match error.try_into_panic() {
        Ok(payload) => payload,
        Err(error) => Box::new(error.to_string()),
    }
}

/// The permit of a case to run, beside others or alone.
#[expect(dead_code, reason = "held, not read")]
enum RunPermit {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

impl RunPermit {
    fn acquire(case: &Job) -> Self {
        match case.is_alone {
            true => Self::Alone(RUNNING.write().unwrap_or_else(PoisonError::into_inner)),
            false => Self::Shared(RUNNING.read().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}
