//! The command router of a sandbox: starts programs in it, and carries their streams.

use std::{fmt, sync::Arc, time::Duration};

use abyme_core::{Error, Result};
use bytes::Bytes;
use prost::Message;
use tokio::sync::Mutex;
use tonic::{Code, Request, Status, Streaming, transport::Channel};

use super::{
    channel,
    control_plane::{ControlPlane, SandboxHandle, insert, random_id},
    messages::*,
    retry::{self, Tries},
};

const SERVICE: &str = "modal.task_command_router.TaskCommandRouter";

/// As in Modal's clients.
const TRIES: Tries = Tries {
    retries: 10,
    backoff: Duration::from_millis(10),
    timeout: Duration::from_secs(60),
    total_timeout: Duration::from_secs(180),
};

/// How long it may take to save a sandbox, as in Modal's client.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(300);

/// How long one question after the end of a program waits for it.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection to the command router of one sandbox.
pub(crate) struct Router {
    channel: Channel,
    control_plane: Arc<ControlPlane>,
    handle: SandboxHandle,
    jwt: Mutex<String>,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl Router {
    pub(crate) async fn connect(control_plane: Arc<ControlPlane>, handle: SandboxHandle) -> Result<Self> {
        let channel = channel::connect("a sandbox's machine at Modal", &handle.access.url).await?;
        let jwt = Mutex::new(handle.access.jwt.clone());
        Ok(Self { channel, control_plane, handle, jwt })
    }

    /// A failure of a call, as one of Abyme's errors. `what` could not be done.
    pub(crate) fn failed(&self, what: &str, status: &Status) -> Error {
        self.control_plane.failed(what, status)
    }

    /// Starts a program. The id is the caller's: a start that is tried again starts nothing twice.
    pub(crate) async fn start(
        &self,
        exec_id: &str,
        command: Vec<String>,
        env: StringMap,
        keep_output: bool,
    ) -> Result<(), Status> {
        let (stdout, stderr) = match keep_output {
            true => (TaskExecStdoutConfig::Pipe, TaskExecStderrConfig::Pipe),
            false => (TaskExecStdoutConfig::Devnull, TaskExecStderrConfig::Devnull),
        };
        let env = (!env.contents.is_empty()).then_some(SecretSource { secret_id: None, env: Some(env) });
        let request = TaskExecStartRequest {
            task_id: self.handle.task_id.clone(),
            exec_id: exec_id.to_owned(),
            command_args: command,
            stdout_config: stdout.into(),
            stderr_config: stderr.into(),
            timeout_secs: None,
            secret_sources: env.into_iter().collect(),
        };
        let _: TaskExecStartResponse = self.call(TRIES, "TaskExecStart", request).await?;
        Ok(())
    }

    /// Writes to a program's stdin. `offset` is how many bytes were written before: what comes again after a
    /// lost answer is not delivered twice.
    pub(crate) async fn write(
        &self,
        exec_id: &str,
        offset: u64,
        data: Bytes,
        eof: bool,
    ) -> Result<(), Status> {
        let (task_id, exec_id) = (self.handle.task_id.clone(), exec_id.to_owned());
        let request = TaskExecStdinWriteRequest { task_id, exec_id, offset, data, eof };
        let _: TaskExecStdinWriteResponse = self.call(TRIES, "TaskExecStdinWrite", request).await?;
        Ok(())
    }

    /// Reads a program's output from an offset on. One try; the stream may end with a failure that passes.
    pub(crate) async fn read(
        &self,
        exec_id: &str,
        descriptor: TaskExecStdioFileDescriptor,
        offset: u64,
    ) -> Result<Streaming<TaskExecStdioReadResponse>, Status> {
        let message = TaskExecStdioReadRequest {
            task_id: self.handle.task_id.clone(),
            exec_id: exec_id.to_owned(),
            offset,
            file_descriptor: descriptor.into(),
        };
        for _ in 0..2 {
            let (request, jwt) = self.request(message.clone()).await?;
            match channel::server_streaming(&self.channel, SERVICE, "TaskExecStdioRead", request).await {
                Err(status) if status.code() == Code::Unauthenticated => self.renew(&jwt).await?,
                answer => return answer,
            }
        }
        Err(Status::unauthenticated("a token that was just made is refused"))
    }

    /// Waits for a program's end.
    pub(crate) async fn wait(&self, exec_id: &str) -> Result<TaskExecWaitResponse, Status> {
        let (task_id, exec_id) = (self.handle.task_id.clone(), exec_id.to_owned());
        let request = TaskExecWaitRequest { task_id, exec_id };
        let tries = Tries { retries: u32::MAX, timeout: WAIT_TIMEOUT, total_timeout: WAIT_TIMEOUT, ..TRIES };
        loop {
            match self.call(tries, "TaskExecWait", request.clone()).await {
                Err(status) if status.code() == Code::DeadlineExceeded => {}
                answer => return answer,
            }
        }
    }

    /// Saves the memory of the sandbox, which ends with it. Returns the id of the snapshot.
    pub(crate) async fn snapshot_memory(&self) -> Result<String, Status> {
        let (task_id, idempotency_key) = (self.handle.task_id.clone(), random_id());
        let request = TaskSnapshotMemoryRequest { task_id, idempotency_key };
        let tries = Tries { timeout: SNAPSHOT_TIMEOUT, total_timeout: SNAPSHOT_TIMEOUT, ..TRIES };
        let saved: TaskSnapshotMemoryResponse = self.call(tries, "TaskSnapshotMemory", request).await?;
        Ok(saved.snapshot_id)
    }

    async fn call<Q, A>(&self, tries: Tries, method: &'static str, request: Q) -> Result<A, Status>
    where
        Q: Message + Default + Clone + 'static,
        A: Message + Default + 'static,
    {
        let one_try = |_| {
            let request = request.clone();
            async move {
                let (message, jwt) = self.request(request.clone()).await?;
                match channel::unary(&self.channel, SERVICE, method, message).await {
                    Err(status) if status.code() == Code::Unauthenticated => {
                        self.renew(&jwt).await?;
                        let (message, _) = self.request(request).await?;
                        channel::unary(&self.channel, SERVICE, method, message).await
                    }
                    answer => answer,
                }
            }
        };
        retry::call(tries, one_try).await
    }

    /// A request, and the token in it.
    async fn request<Q>(&self, message: Q) -> Result<(Request<Q>, String), Status> {
        let jwt = self.jwt.lock().await.clone();
        let mut request = Request::new(message);
        insert(&mut request, "authorization", &format!("Bearer {jwt}"), true)?;
        Ok((request, jwt))
    }

    /// Fetches a new token in place of one that was refused, unless another call has done so.
    async fn renew(&self, refused: &str) -> Result<(), Status> {
        let mut jwt = self.jwt.lock().await;
        if *jwt == refused {
            *jwt = self.control_plane.router_access(&self.handle).await?.jwt;
        }
        Ok(())
    }
}
