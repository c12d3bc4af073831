//! Starts a server as a process of its own.

use std::{
    collections::VecDeque,
    io,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use abyme_core::WithoutLoneSurrogates;
use rmcp::{
    RoleClient,
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
    transport::{Transport, async_rw::AsyncRwTransport},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    sync::watch,
    time::timeout,
};

use crate::server::McpServer;

/// The variables of the host's environment that a server gets.
#[cfg(not(windows))]
const INHERITED: &[&str] = &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "LC_ALL", "TMPDIR"];
#[cfg(windows)]
const INHERITED: &[&str] = &[
    "PATH",
    "PATHEXT",
    "SYSTEMROOT",
    "SYSTEMDRIVE",
    "TEMP",
    "TMP",
    "APPDATA",
    "LOCALAPPDATA",
    "USERPROFILE",
    "USERNAME",
    "HOMEDRIVE",
    "HOMEPATH",
    "PROGRAMFILES",
    "PROCESSOR_ARCHITECTURE",
    "COMSPEC",
];

/// How many of the last lines of a server's stderr are kept for error messages.
const KEPT_LINES: usize = 5;
/// How much of each.
const KEPT_CHARS: usize = 200;

/// How long the last words of a server are waited for, whose stdout is closed already.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a server may take to end, each time that it is asked to.
const END_GRACE: Duration = Duration::from_secs(3);

/// The last lines of a server's stderr; none, where there is no process.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastLines {
    lines: Arc<Mutex<VecDeque<String>>>,
    /// Closes with stderr.
    open: Option<watch::Receiver<()>>,
}

impl LastLines {
    fn add(&self, line: &str) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line.chars().take(KEPT_CHARS).collect());
    }

    /// As the end of a message about a server that failed.
    pub(crate) async fn shown(&self) -> String {
        if let Some(mut open) = self.open.clone() {
            timeout(LAST_WORDS_TIMEOUT, async { while open.changed().await.is_ok() {} }).await.ok();
        }
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        match lines.is_empty() {
            true => String::new(),
            false => format!("; its stderr ends with: {}", Vec::from_iter(lines.iter().cloned()).join(" | ")),
        }
    }
}

/// A process, and the messages that go in and come out. It is killed when this is dropped.
pub(crate) struct ChildTransport {
    child: Child,
    stream: AsyncRwTransport<RoleClient, WithoutLoneSurrogates<ChildStdout>, ChildStdin>,
}

impl Transport<RoleClient> for ChildTransport {
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        self.stream.send(message)
    }

    fn receive(&mut self) -> impl Future<Output = Option<RxJsonRpcMessage<RoleClient>>> + Send {
        self.stream.receive()
    }

    /// As the protocol says: its stdin ends, then it is asked to end, then it is killed.
    async fn close(&mut self) -> io::Result<()> {
        self.stream.close().await?;
        if timeout(END_GRACE, self.child.wait()).await.is_ok() {
            return Ok(());
        }
        #[cfg(unix)]
        if let Some(pid) = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
            // One that became another user's cannot be asked.
            if rustix::process::kill_process(pid, rustix::process::Signal::TERM).is_ok()
                && timeout(END_GRACE, self.child.wait()).await.is_ok()
            {
                return Ok(());
            }
        }
        self.child.kill().await
    }
}

/// Starts the command. The process ends with the transport.
pub(crate) fn start(server: &McpServer, program: &str) -> io::Result<(ChildTransport, LastLines)> {
    let mut command = Command::new(program);
    let inherited = INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    command.args(&server.args).env_clear().envs(inherited).envs(&server.env).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(path) = &server.working_dir {
        command.current_dir(path);
    }
    let mut child = command.spawn()?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("the process has no stdin or no stdout"));
    };
    let mut lines = LastLines::default();
    if let Some(stderr) = child.stderr.take() {
        let (open, receiver) = watch::channel(());
        tokio::spawn(keep_last(stderr, server.name(), lines.clone(), open));
        lines.open = Some(receiver);
    }
    let stream = AsyncRwTransport::new_client(WithoutLoneSurrogates::new(stdout), stdin);
    Ok((ChildTransport { child, stream }, lines))
}

/// Reads stderr to its end, so that the server never waits for a reader.
async fn keep_last(stderr: ChildStderr, server: String, lines: LastLines, _open: watch::Sender<()>) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line).await, Ok(read) if read > 0) {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if !text.is_empty() {
            tracing::debug!(server, "{text}");
            lines.add(text);
        }
        line.clear();
    }
}
