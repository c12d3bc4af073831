//! Starts a server as a process of its own.

use std::{
    collections::VecDeque,
    io,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rmcp::transport::TokioChildProcess;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{ChildStderr, Command},
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

/// Starts the command. The process ends with the transport.
pub(crate) fn start(server: &McpServer, program: &str) -> io::Result<(TokioChildProcess, LastLines)> {
    let mut command = Command::new(program);
    let inherited = INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    command.args(&server.args).env_clear().envs(inherited).envs(&server.env).kill_on_drop(true);
    if let Some(path) = &server.working_dir {
        command.current_dir(path);
    }
    let (transport, stderr) = TokioChildProcess::builder(command).stderr(Stdio::piped()).spawn()?;
    let mut lines = LastLines::default();
    if let Some(stderr) = stderr {
        let (open, receiver) = watch::channel(());
        tokio::spawn(keep_last(stderr, server.name(), lines.clone(), open));
        lines.open = Some(receiver);
    }
    Ok((transport, lines))
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
