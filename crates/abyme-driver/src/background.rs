//! A thread for what must not end with its caller.
//!
//! What creates a container or a sandbox must receive the answer even when the session's future was dropped,
//! and what removes it must run when a session is dropped outside of any runtime. So a thread does both.

use std::{
    future::Future,
    sync::{Mutex, PoisonError, mpsc},
    thread::{self, ThreadId},
    time::Duration,
};

use abyme_core::{Error, ErrorKind, Result};
use tokio::{runtime::Handle, sync::oneshot, task::JoinHandle, time::timeout};

use crate::pending::Pending;

/// How long the drop of the last handle blocks for tracked work. A program that ends right after the drop
/// would leave containers running. [`BackgroundThread::settled`] waits without blocking.
const DROP_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the thread goes on with tracked work after the last handle was dropped.
const FINISH_TIMEOUT: Duration = Duration::from_secs(30);

/// A handle on a thread that runs futures. The thread lives as long as the handle and its tracked work.
#[derive(Debug)]
pub struct BackgroundThread {
    runtime: Handle,
    /// Work that is to be done before the thread ends.
    tracked: Pending,
    thread: ThreadId,
    stop: Option<oneshot::Sender<()>>,
    ended: Mutex<mpsc::Receiver<()>>,
}

impl BackgroundThread {
    /// Starts the thread, with the name of a backend.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the system has no thread or descriptor left.
    pub fn start(backend: &str) -> Result<Self> {
        let failed = |error: std::io::Error| {
            let what = format!("cannot start a thread for the {backend} backend: {error}");
            Error::new(ErrorKind::Unavailable, what).with_source(error)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let tracked = Pending::default();
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = mpsc::channel();
        let work = {
            let tracked = tracked.clone();
            move || {
                runtime.block_on(async {
                    let _ = stopped.await;
                    let _ = timeout(FINISH_TIMEOUT, tracked.settled()).await;
                });
                // The look-up of a host's name may block a thread of the runtime; it is not waited for.
                runtime.shutdown_background();
                let _ = end.send(());
            }
        };
        let thread = thread::Builder::new().name(format!("abyme-{backend}")).spawn(work).map_err(failed)?;
        Ok(Self {
            runtime: handle,
            tracked,
            thread: thread.thread().id(),
            stop: Some(stop),
            ended: Mutex::new(ended),
        })
    }

    /// Does `work` in the background.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }

    /// Does `work` in the background. The end of this thread and [`settled`](Self::settled) wait for it.
    pub fn spawn_tracked(&self, work: impl Future<Output = ()> + Send + 'static) {
        let pending = self.tracked.begin();
        self.runtime.spawn(async move {
            let _pending = pending;
            work.await;
        });
    }

    /// Does `work`, from now on. The returned future waits for it; `work` is given up when that is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if `work` panicked.
    pub fn run<T, F>(&self, work: F) -> impl Future<Output = Result<T>> + Send + 'static + use<T, F>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let mut task = AbortOnDrop(self.runtime.spawn(work));
        async move { (&mut task.0).await.map_err(|error| interrupted().with_source(error)) }
    }

    /// Does `work` and waits for it. `work` goes on to its end when the returned future is dropped, and its
    /// result is dropped then.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if `work` panicked.
    pub async fn run_to_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        let (send, receive) = oneshot::channel();
        self.spawn_tracked(async move {
            let _ = send.send(work.await);
        });
        receive.await.map_err(|error| interrupted().with_source(error))
    }

    /// Waits until all tracked work is done.
    pub async fn settled(&self) {
        self.tracked.settled().await;
    }
}

fn interrupted() -> Error {
    Error::new(ErrorKind::Internal, "the work of the background thread was broken off")
}

impl Drop for BackgroundThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The thread cannot wait for itself.
        if thread::current().id() != self.thread && !self.tracked.is_none() {
            let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = ended.recv_timeout(DROP_TIMEOUT);
        }
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use super::*;

    /// Tracked work that takes a while, and whether it is done.
    fn slow_work(thread: &BackgroundThread) -> Arc<AtomicBool> {
        let done = Arc::new(AtomicBool::new(false));
        let flag = done.clone();
        thread.spawn_tracked(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            flag.store(true, Ordering::SeqCst);
        });
        done
    }

    #[test]
    fn the_drop_of_the_last_handle_waits_for_tracked_work() {
        let thread = BackgroundThread::start("test").unwrap();
        let done = slow_work(&thread);
        drop(thread);
        assert!(done.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn tracked_work_can_be_awaited() {
        let thread = BackgroundThread::start("test").unwrap();
        let done = slow_work(&thread);
        thread.settled().await;
        assert!(done.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn what_runs_to_its_end_outlives_its_caller() {
        let thread = BackgroundThread::start("test").unwrap();
        let (go_on, leave) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        let call = thread.run_to_end(async move {
            leave.await.unwrap();
            end.send(()).unwrap();
        });
        assert!(timeout(Duration::from_millis(1), call).await.is_err());
        go_on.send(()).unwrap();
        timeout(Duration::from_secs(10), ended).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_is_run_is_given_up_with_its_caller() {
        let thread = BackgroundThread::start("test").unwrap();
        let (held, dropped) = oneshot::channel::<()>();
        let call = thread.run(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        assert!(timeout(Duration::from_millis(1), call).await.is_err());
        assert!(timeout(Duration::from_secs(10), dropped).await.unwrap().is_err());
    }
}
