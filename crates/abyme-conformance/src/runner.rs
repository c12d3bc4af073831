//! Runs one case: its own thread, its own runtime, its own session, its own time limit.

use std::{
    any::Any,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc},
    thread,
    time::Duration,
};

use futures_util::future::{self, Either};

use crate::{case::Case, harness::AnyHarness, outcome, outcome::Outcome, subject::Subject};

/// Process-wide, since what it keeps apart is use of this process: its memory, its descriptors, its children.
static STAGE: RwLock<()> = RwLock::new(());

/// How long a hung case may take to let go before its thread is left behind.
const LETTING_GO: Duration = Duration::from_secs(2);

/// Runs a case and waits for it, at most its limit and a little. The wait for other cases does not count.
pub(crate) fn run(harness: Arc<dyn AnyHarness>, case: &'static Case, limit: Duration) -> Outcome {
    if let Some(need) = case.lacking(harness.capabilities()) {
        return Outcome::Skipped(format!("{} lacks {need}", harness.name()));
    }
    let _place = Place::take(case);
    let (send, outcome) = mpsc::channel();
    let (give_up, given_up) = tokio::sync::oneshot::channel();
    let spawned = thread::Builder::new().name(case.name.to_owned()).spawn(move || {
        // Nobody listens any more once the case was given up.
        let _ = send.send(on_runtime(harness, case, given_up));
    });
    if let Err(error) = spawned {
        return Outcome::Failed(format!("no thread for the case: {error}"));
    }
    if let Ok(outcome) = outcome.recv_timeout(limit) {
        return outcome;
    }
    let _ = give_up.send(());
    let freed = outcome.recv_timeout(LETTING_GO).is_ok();
    let rest = if freed { "" } else { "; it blocks its thread, which is left behind" };
    Outcome::Failed(format!("hung: not done after {limit:?}{rest}"))
}

/// The case on a runtime of its own. A case that is given up is dropped in the middle, with its session.
fn on_runtime(
    harness: Arc<dyn AnyHarness>,
    case: &'static Case,
    given_up: tokio::sync::oneshot::Receiver<()>,
) -> Outcome {
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(case.name)
        .enable_all()
        .build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => return Outcome::Failed(format!("no runtime for the case: {error}")),
    };
    let ended = runtime.block_on(async {
        let mut task = tokio::spawn(async move {
            let mut subject = Subject::open(harness).await;
            (case.run)(&mut subject).await;
        });
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
        Some(Ok(())) => Outcome::Passed,
        Some(Err(error)) => outcome::of_panic(reason(error)),
        None => Outcome::Failed("given up".to_owned()),
    }
}

fn reason(error: tokio::task::JoinError) -> Box<dyn Any + Send> {
    match error.try_into_panic() {
        Ok(payload) => payload,
        Err(error) => Box::new(error.to_string()),
    }
}

/// A case's place on the stage, shared or not.
#[expect(dead_code, reason = "held, not read")]
enum Place {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

impl Place {
    fn take(case: &Case) -> Self {
        match case.alone() {
            Some(_) => Self::Alone(STAGE.write().unwrap_or_else(PoisonError::into_inner)),
            None => Self::Shared(STAGE.read().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}
