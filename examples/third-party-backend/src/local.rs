//! An agent on this machine, for the demonstration and the tests.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use abyme_core::{Error, ErrorKind, Result};

use crate::{
    interpreter::Remote,
    secret::{self, Secret},
};

/// The program; `agent.py` beside this crate's `Cargo.toml`.
const AGENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/agent.py");
/// How long the agent may take to clean up, for which it gives its sessions 5 s.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(10);

/// An agent on this machine's loopback, with a secret of its own. It ends with this value, and also when this
/// program is killed.
#[derive(Debug)]
pub struct LocalAgent {
    process: Child,
    address: String,
    secret: Secret,
}

impl LocalAgent {
    /// Starts an agent with the `python3` on `PATH`.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if there is none, or none that can be used.
    pub fn start() -> Result<Self> {
        let unavailable = |what: String| Error::new(ErrorKind::Unavailable, what);
        let nonce = || secret::nonce().map_err(|error| unavailable(format!("no random numbers: {error}")));
        let secret = Secret::from(nonce()? + &nonce()?);
        let mut process = Command::new("python3")
            .args([AGENT, "--listen", "127.0.0.1:0", "--with-stdin"])
            .env("ABYME_AGENT_SECRET", secret.expose())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| {
                unavailable(format!("the agent needs a `python3`: {error}")).with_source(error)
            })?;
        let mut line = String::new();
        if let Some(output) = process.stdout.take() {
            let _ = BufReader::new(output).read_line(&mut line);
        }
        match line.strip_prefix("agent listening on ") {
            Some(address) => Ok(Self { process, address: address.trim().to_owned(), secret }),
            None => {
                let _ = process.kill();
                let _ = process.wait();
                Err(unavailable("the agent did not start; what it wrote says why".to_owned()))
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The backend that uses it.
    pub fn remote(&self) -> Remote {
        Remote::new(self.address.clone(), self.secret.clone())
    }

    /// Kills the agent without letting it clean up, as a crash of its machine would.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for LocalAgent {
    fn drop(&mut self) {
        // The agent ends with its standard input, and cleans up first.
        drop(self.process.stdin.take());
        let start = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) && start.elapsed() < CLEANUP_TIMEOUT {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
    }
}
