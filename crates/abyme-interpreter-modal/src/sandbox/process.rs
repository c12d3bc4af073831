//! A driver that runs in a sandbox: how it is interrupted and killed, and how it ended.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use abyme_driver::{Control, Pending, exited, killed_by, protocol::Ready};
use async_trait::async_trait;
use tokio::{io::AsyncReadExt, sync::watch, time::timeout};
use tonic::Status;

use super::{
    Sandbox,
    streams::{Link, Output},
};
use crate::api::{
    messages::{GenericResult, GenericStatus, StringMap, TaskExecStdioFileDescriptor, TaskExecWaitResponse},
    random_id,
};

/// How long a program whose output ended may take to be reported as ended.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a session waits for the end of its sandbox. The termination goes on after that.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for a cell that ran over its time limit. With the grace of 1.2 s this is within the 2 s of clause
/// C10.
const OVERTIME_KILL_TIMEOUT: Duration = Duration::from_millis(750);
/// How long an interrupt may take to arrive. After that the session goes on as if it had.
const INTERRUPT_TIMEOUT: Duration = Duration::from_secs(5);
/// How many bytes that a program wrote to its stderr are reported when it fails.
const LAST_WORDS: u64 = 4096;
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(2);

/// How a program ended.
#[derive(Clone, Debug)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
    /// Modal does not say, for this reason.
    Unknown(String),
}

/// A driver that runs. It is killed when this is dropped, and its sandbox ends with its last driver.
#[derive(Debug)]
pub(crate) struct Process {
    sandbox: Arc<Sandbox>,
    exec_id: String,
    python: String,
    link: Arc<Link>,
    exit: watch::Receiver<Option<Exit>>,
    pid: OnceLock<u32>,
    /// Interrupts that were requested and may not have arrived.
    interrupts: Pending,
    /// Whether a cell was interrupted and no other has begun since.
    interrupted: AtomicBool,
    killed: AtomicBool,
}

impl Process {
    /// The control over a program that was started, whose end is waited for in the background.
    pub(crate) fn new(sandbox: Arc<Sandbox>, exec_id: String, python: String, link: Arc<Link>) -> Self {
        let (sender, exit) = watch::channel(None);
        let (router, id) = (sandbox.router.clone(), exec_id.clone());
        sandbox.thread.spawn(async move {
            let answer = tokio::select! {
                answer = router.wait(&id) => answer,
                // All receivers were dropped.
                () = sender.closed() => return,
            };
            let _ = sender.send(Some(match answer {
                Ok(TaskExecWaitResponse { signal: Some(signal), .. }) => Exit::Signal(signal),
                Ok(TaskExecWaitResponse { code, .. }) => Exit::Code(code.unwrap_or_default()),
                Err(status) => Exit::Unknown(said(&status)),
            }));
        });
        let (interrupted, killed) = (AtomicBool::new(false), AtomicBool::new(false));
        let (pid, interrupts) = (OnceLock::new(), Pending::default());
        Self { sandbox, exec_id, python, link, exit, pid, interrupts, interrupted, killed }
    }

    /// Sends the program a signal, by another program in the sandbox: Modal has no call for it.
    fn signal(&self, program: &str) -> impl Future<Output = ()> + Send + use<> {
        let program = match self.pid.get() {
            Some(pid) => format!("import os\npid = {pid}\n{program}"),
            // It is not ready yet. Its arguments name it.
            None => [
                "import os".to_owned(),
                "for pid in map(int, filter(str.isdigit, os.listdir('/proc'))):".to_owned(),
                "    try:".to_owned(),
                format!("        named = b'{}' in open(f'/proc/{{pid}}/cmdline', 'rb').read()", self.exec_id),
                "        if named and pid != os.getpid():".to_owned(),
                format!("            {program}"),
                "    except OSError: pass".to_owned(),
            ]
            .join("\n"),
        };
        let command = [&self.python, "-I", "-S", "-c", &program].map(str::to_owned).to_vec();
        let (router, exec_id) = (self.sandbox.router.clone(), random_id());
        async move {
            let sent = async {
                router.start(&exec_id, command, StringMap::default(), false).await?;
                router.wait(&exec_id).await
            };
            if let Err(status) = sent.await {
                tracing::debug!(code = ?status.code(), "a signal was not sent");
            }
        }
    }

    /// The work that ends this program; `None` if that has begun already. A sandbox of its own ends with it.
    fn ending(&self) -> Option<impl Future<Output = ()> + Send + 'static> {
        if self.killed.swap(true, Ordering::AcqRel) {
            return None;
        }
        let killing = match self.sandbox.is_shared && self.exit.borrow().is_none() {
            true => Some(self.signal("os.killpg(pid, 9) if os.getpgid(pid) == pid else os.kill(pid, 9)")),
            false => None,
        };
        let sandbox = self.sandbox.clone();
        Some(async move {
            match killing {
                Some(killing) => {
                    let _ = timeout(INTERRUPT_TIMEOUT, killing).await;
                }
                None if !sandbox.is_shared => sandbox.terminate().await,
                None => {}
            }
        })
    }

    async fn end_within(&self, limit: Duration) {
        if let Some(ending) = self.ending() {
            let _ = timeout(limit, self.sandbox.thread.run_to_end(ending)).await;
        }
    }

    /// Leaves the sandbox to another program: waits for the end of this one, which was told to end, and does
    /// not end the sandbox with it.
    pub(crate) async fn part(&self) -> Option<Arc<Sandbox>> {
        if self.killed.swap(true, Ordering::AcqRel) {
            return None;
        }
        let mut exit = self.exit.clone();
        let _ = timeout(EXIT_TIMEOUT, exit.wait_for(Option::is_some)).await;
        Some(self.sandbox.clone())
    }

    async fn last_words(&self) -> String {
        let descriptor = TaskExecStdioFileDescriptor::Stderr;
        let stderr = Output::new(self.sandbox.router.clone(), &self.exec_id, descriptor, Arc::default());
        let mut words = Vec::new();
        let _ = timeout(LAST_WORDS_TIMEOUT, stderr.take(LAST_WORDS).read_to_end(&mut words)).await;
        String::from_utf8_lossy(&words).trim().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.sandbox.drivers.fetch_sub(1, Ordering::AcqRel);
        if let Some(ending) = self.ending() {
            self.sandbox.thread.spawn_tracked(ending);
        }
    }
}

#[async_trait]
impl Control for Process {
    fn is_alive(&self) -> bool {
        !self.killed.load(Ordering::Acquire) && !self.link.has_ended() && self.exit.borrow().is_none()
    }

    fn ready(&self, ready: &Ready) {
        let _ = self.pid.set(ready.pid);
    }

    fn time_left(&self) -> Option<Duration> {
        Some(self.sandbox.time_left())
    }

    fn interrupt(&self) -> bool {
        if !self.is_alive() || self.pid.get().is_none() {
            return false;
        }
        let signal = self.signal("os.kill(pid, 2)");
        self.interrupted.store(true, Ordering::Release);
        let pending = self.interrupts.begin();
        self.sandbox.thread.spawn(async move {
            let _pending = pending;
            let _ = timeout(INTERRUPT_TIMEOUT, signal).await;
        });
        true
    }

    async fn settle(&self) {
        self.interrupts.settled().await;
        self.interrupted.store(false, Ordering::Release);
    }

    async fn kill(&self) {
        let overtime = self.interrupted.load(Ordering::Acquire);
        self.end_within(if overtime { OVERTIME_KILL_TIMEOUT } else { KILL_TIMEOUT }).await;
    }

    async fn how_it_ended(&self) -> String {
        let mut exit = self.exit.clone();
        let exit = timeout(EXIT_TIMEOUT, exit.wait_for(Option::is_some)).await;
        let exit = exit.ok().and_then(|exit| exit.ok().and_then(|exit| exit.clone()));
        let of_sandbox = match exit {
            Some(Exit::Code(_)) => None,
            _ => self.sandbox.result().await,
        };
        let words = match of_sandbox {
            None => self.last_words().await,
            Some(_) => String::new(),
        };
        self.end_within(KILL_TIMEOUT).await;
        if let Some(result) = of_sandbox {
            return format!(
                "ended with its sandbox, {}",
                how_a_sandbox_ended(&result, self.sandbox.lifetime)
            );
        }
        let how = match exit {
            Some(Exit::Code(127)) if words.is_empty() => {
                format!("could not be run: the image has no `{}`", self.python)
            }
            Some(Exit::Code(code)) => exited(code.into()),
            Some(Exit::Signal(signal)) => {
                let cause = self.sandbox.memory_limit_bytes.filter(|_| signal == 9);
                let cause =
                    cause.map(|bytes| format!("probably because memory ran out (limit {} MB)", bytes >> 20));
                killed_by(signal.into(), cause.as_deref())
            }
            Some(Exit::Unknown(why)) => format!("was lost with its connection to Modal: {why}"),
            None => match self.link.broken() {
                Some(why) => format!("was lost with its connection to Modal: {why}"),
                None => "closed its connection and was killed".to_owned(),
            },
        };
        if words.is_empty() { how } else { format!("{how}; its last words: {words}") }
    }
}

fn said(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

/// How a sandbox ended, as the rest of a sentence.
fn how_a_sandbox_ended(result: &GenericResult, lifetime: Duration) -> String {
    let how = match GenericStatus::try_from(result.status) {
        Ok(GenericStatus::Timeout) => {
            format!("whose life of {:.0} s was over: raise `timeout`", lifetime.as_secs_f64())
        }
        Ok(GenericStatus::IdleTimeout) => "which was idle for too long: raise `idle_timeout`".to_owned(),
        Ok(GenericStatus::Terminated) => "which was terminated from outside".to_owned(),
        Ok(GenericStatus::InitFailure) => "which did not come up".to_owned(),
        Ok(GenericStatus::InternalFailure) => "which Modal lost".to_owned(),
        _ if result.exitcode == 137 => "which was killed, perhaps because memory ran out".to_owned(),
        _ => format!("whose own program ended (status {}, exit code {})", result.status, result.exitcode),
    };
    match result.exception.trim() {
        "" => how,
        why => format!("{how} ({why})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_sandboxes_in_words() {
        let ended = |status: i32| {
            let result = GenericResult { status, exception: String::new(), exitcode: 1 };
            how_a_sandbox_ended(&result, Duration::from_secs(600))
        };
        assert_eq!(ended(4), "whose life of 600 s was over: raise `timeout`");
        assert_eq!(ended(3), "which was terminated from outside");
        assert!(ended(99).contains("status 99"));
    }
}
