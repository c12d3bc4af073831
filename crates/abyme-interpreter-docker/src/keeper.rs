//! One thread that talks to the engine.
//!
//! What creates a container must get to know the answer, even when nobody waits for the session any more, and what
//! removes one must be able to do so when a session is dropped outside of any runtime. So both happen here.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, ThreadId},
    time::Duration,
};

use abyme_core::{Error, ErrorKind, Result};
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
};

/// How long the last handle waits for containers that were dropped and not shut down. A program that ends right after
/// would leave them running.
const LAST_WAIT: Duration = Duration::from_secs(3);

/// A handle on the thread. The thread lives as long as the handle.
#[derive(Debug)]
pub(crate) struct Keeper {
    runtime: Handle,
    owed: Arc<Owed>,
    thread: ThreadId,
    stop: Option<oneshot::Sender<()>>,
    ended: Mutex<mpsc::Receiver<()>>,
}

/// Work that must be done before the thread ends.
#[derive(Debug, Default)]
struct Owed {
    count: AtomicUsize,
    none: Notify,
}

/// A piece of owed work, paid when dropped.
struct Debt(Arc<Owed>);

impl Debt {
    fn new(owed: &Arc<Owed>) -> Self {
        owed.count.fetch_add(1, Ordering::SeqCst);
        Self(owed.clone())
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.none.notify_one();
        }
    }
}

impl Keeper {
    /// Starts the thread.
    pub(crate) fn start() -> Result<Arc<Self>> {
        let failed = |error: std::io::Error| {
            let what = format!("cannot start a thread that talks to the Docker engine: {error}");
            Error::new(ErrorKind::Unavailable, what).with_source(error)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let owed = Arc::new(Owed::default());
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = mpsc::channel();
        let work = {
            let owed = owed.clone();
            move || {
                runtime.block_on(async {
                    let _ = stopped.await;
                    let _ = tokio::time::timeout(LAST_WAIT, owed.wait()).await;
                });
                // Looking up a host's name may block a thread of its own; nobody waits for that.
                runtime.shutdown_background();
                let _ = end.send(());
            }
        };
        let thread = thread::Builder::new().name("abyme-docker".to_owned()).spawn(work).map_err(failed)?;
        let keeper = Self {
            runtime: handle,
            owed,
            thread: thread.thread().id(),
            stop: Some(stop),
            ended: Mutex::new(ended),
        };
        Ok(Arc::new(keeper))
    }

    /// Does something in the background.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }

    /// Does something in the background that the end of this thread waits for.
    pub(crate) fn owe(&self, work: impl Future<Output = ()> + Send + 'static) {
        let debt = Debt::new(&self.owed);
        self.runtime.spawn(async move {
            let _debt = debt;
            work.await;
        });
    }

    /// Does something and waits for it; given up when the caller is.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        let mut task = AbortOnDrop(self.runtime.spawn(work));
        (&mut task.0).await.map_err(|error| interrupted().with_source(error))
    }

    /// Does something and waits for it; done to its end also when the caller is given up. Its result is dropped then.
    pub(crate) async fn see_through<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        let (send, receive) = oneshot::channel();
        self.owe(async move {
            let _ = send.send(work.await);
        });
        receive.await.map_err(|error| interrupted().with_source(error))
    }
}

fn interrupted() -> Error {
    Error::new(ErrorKind::Internal, "talking to the Docker engine was broken off")
}

impl Owed {
    async fn wait(&self) {
        while self.count.load(Ordering::SeqCst) > 0 {
            self.none.notified().await;
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The thread cannot wait for itself; and where nothing is owed, there is nothing to wait for.
        if thread::current().id() != self.thread && self.owed.count.load(Ordering::SeqCst) > 0 {
            let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = ended.recv_timeout(LAST_WAIT);
        }
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn the_last_handle_waits_for_what_is_owed() {
        let done = Arc::new(AtomicBool::new(false));
        let keeper = Keeper::start().unwrap();
        let flag = done.clone();
        keeper.owe(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            flag.store(true, Ordering::SeqCst);
        });
        drop(keeper);
        assert!(done.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn what_is_seen_through_outlives_its_caller() {
        let keeper = Keeper::start().unwrap();
        let (go_on, leave) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        let call = keeper.see_through(async move {
            leave.await.unwrap();
            end.send(()).unwrap();
        });
        assert!(tokio::time::timeout(Duration::from_millis(1), call).await.is_err());
        go_on.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_is_run_is_given_up_with_its_caller() {
        let keeper = Keeper::start().unwrap();
        let (held, dropped) = oneshot::channel::<()>();
        let call = keeper.run(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        assert!(tokio::time::timeout(Duration::from_millis(1), call).await.is_err());
        assert!(tokio::time::timeout(Duration::from_secs(10), dropped).await.unwrap().is_err());
    }
}
