//! A peer's Python process, which takes one request and gives one reply at a time. `benches/peers/common.py`
//! is the other side.

use std::{fs, io, process::Stdio};

use async_trait::async_trait;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::spec::InstalledPeer;
use crate::trial::Trial;

/// A process that ends when this is dropped, and its children with it, as their input ends.
pub(super) struct Process {
    child: Child,
    requests: ChildStdin,
    replies: Lines<BufReader<ChildStdout>>,
    /// Its temporary files, and what it wrote to stderr. A peer that is killed leaves them.
    temp: TempDir,
}

#[derive(Deserialize)]
struct Hello {
    version: String,
}

#[derive(Deserialize)]
struct Prepared {
    ready: bool,
}

#[derive(Deserialize)]
struct Sampled {
    seconds: f64,
}

#[derive(Deserialize)]
struct Failed {
    error: String,
}

impl Process {
    /// The process, and the versions it says.
    pub(super) async fn start(peer: &InstalledPeer) -> Result<(Self, String), String> {
        let failed = |error: io::Error| format!("cannot start {}: {error}", peer.program.display());
        let temp = TempDir::new().map_err(failed)?;
        let stderr = fs::File::create(temp.path().join("stderr")).map_err(failed)?;
        let mut child = Command::new(&peer.program)
            .arg(&peer.script)
            .envs([("PYTHONUTF8", "1"), ("PYTHONDONTWRITEBYTECODE", "1")])
            // Neither asked for over the network nor kept in the user's home directory.
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
            .env("DSPY_CACHEDIR", temp.path().join("dspy"))
            .env("DENO_DIR", peer.home.join("deno"))
            .env("NO_COLOR", "1")
            .env("TMPDIR", temp.path())
            .current_dir(temp.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let (Some(requests), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("its streams are not connected".to_owned());
        };
        let mut process = Self { child, requests, replies: BufReader::new(stdout).lines(), temp };
        let hello: Hello = process.reply().await?;
        Ok((process, hello.version))
    }

    /// Prepares a scenario, with the samples that are not counted. `false`: the peer has no such thing.
    pub(super) async fn prepare(&mut self, scenario: &str, at: Option<u64>) -> Result<bool, String> {
        let prepared: Prepared = self.ask(&json!({ "scenario": scenario, "at": at })).await?;
        Ok(prepared.ready)
    }

    async fn ask<T: DeserializeOwned>(&mut self, request: &Value) -> Result<T, String> {
        // A process that ended says so when it is read from.
        let _ = self.requests.write_all(format!("{request}\n").as_bytes()).await;
        self.reply().await
    }

    async fn reply<T: DeserializeOwned>(&mut self) -> Result<T, String> {
        let line = match self.replies.next_line().await {
            Ok(Some(line)) => line,
            Ok(None) => return Err(self.end().await),
            Err(error) => return Err(format!("cannot read its reply: {error}")),
        };
        if let Ok(failed) = serde_json::from_str::<Failed>(&line) {
            return Err(failed.error);
        }
        serde_json::from_str(&line).map_err(|error| format!("its reply is not understood ({error}): {line}"))
    }

    /// How the process ended.
    async fn end(&mut self) -> String {
        let status = match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let stderr = fs::read(self.temp.path().join("stderr")).unwrap_or_default();
        match String::from_utf8_lossy(&stderr).lines().rfind(|line| !line.trim().is_empty()) {
            Some(line) => format!("its process ended ({status}): {line}"),
            None => format!("its process ended ({status})"),
        }
    }
}

#[async_trait]
impl Trial for Process {
    async fn sample(&mut self) -> Result<f64, String> {
        let sampled: Sampled = self.ask(&json!({ "sample": true })).await?;
        Ok(sampled.seconds)
    }
}
