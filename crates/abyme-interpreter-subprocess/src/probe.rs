//! Finds the real Python behind a name.
//!
//! This is done once, because a version manager's `python3` is a shell script that costs tens of milliseconds
//! at every start.

use std::{
    io::{self, ErrorKind as IoErrorKind},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use abyme_core::{Error, ErrorKind, Result};
use abyme_driver::python::{self, BundleKind};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe,
};

use crate::process::ChildProcess;

/// The oldest Python that the driver runs on.
const OLDEST: (u32, u32) = (3, 9);
/// How long Python may take to answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

/// How often it is looked whether a Python that has said all has exited.
const EXIT_POLL: Duration = Duration::from_millis(1);

/// A Python, and the driver compiled for it.
#[derive(Debug)]
pub(crate) struct Python {
    /// The real executable.
    pub(crate) executable: PathBuf,
    /// What it reads: itself, its library and its packages.
    pub(crate) reads: Vec<PathBuf>,
    /// What the driver's bootstrap reads first.
    pub(crate) bundle: Vec<u8>,
}

#[derive(Deserialize)]
struct About {
    executable: PathBuf,
    version: (u32, u32, u32),
    reads: Vec<PathBuf>,
}

impl Python {
    /// Asks `program` what it is.
    pub(crate) async fn find(program: &Path, driver: &[(&str, &str)]) -> Result<Self> {
        let unusable =
            |what: String| Error::new(ErrorKind::Unavailable, what).with("python", program.display());
        let name = program.display();
        let asked = ProbedPython::start(program).map_err(|error| {
            let what = match error.kind() {
                IoErrorKind::NotFound => format!(
                    "there is no `{name}` here: install Python {}.{} or later, or name another one as the \
                     `python` to use",
                    OLDEST.0, OLDEST.1
                ),
                _ => format!("`{name}` cannot be started: {error}"),
            };
            unusable(what).with_source(error)
        })?;
        let output =
            tokio::time::timeout(PROBE_TIMEOUT, asked.answer(&python::sources_json(driver))).await.map_err(
                |_| unusable(format!("`{name}` did not answer within {} s", PROBE_TIMEOUT.as_secs())),
            )?;
        let answer = output.stdout.iter().position(|&byte| byte == b'\n').and_then(|end| {
            let about: About = serde_json::from_slice(&output.stdout[..end]).ok()?;
            Some((about, &output.stdout[end + 1..]))
        });
        let Some((about, code)) = answer.filter(|_| output.succeeded) else {
            let words = String::from_utf8_lossy(&output.stderr);
            let words = words.trim().lines().last().unwrap_or("it said nothing").to_owned();
            return Err(unusable(format!("`{name}` is not a Python that Abyme can use: {words}")));
        };
        let (major, minor, patch) = about.version;
        if (major, minor) < OLDEST {
            return Err(unusable(format!(
                "`{name}` is Python {major}.{minor}.{patch}, but Abyme needs {}.{} or later: name another \
                 one as the `python` to use",
                OLDEST.0, OLDEST.1
            )));
        }
        let executable =
            if about.executable.as_os_str().is_empty() { program.to_owned() } else { about.executable };
        let mut reads = about.reads;
        reads.push(executable.clone());
        Ok(Self { executable, reads, bundle: python::bundle(BundleKind::Compiled, code) })
    }
}

/// A Python that is asked what it is. It is killed and reaped when this is dropped, here and now: tokio
/// leaves that to its runtime, which may have ended.
struct ProbedPython {
    child: ChildProcess,
    input: pipe::Sender,
    output: pipe::Receiver,
    errors: pipe::Receiver,
}

/// What it answered.
struct ProbeOutput {
    succeeded: bool,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl ProbedPython {
    fn start(program: &Path) -> io::Result<Self> {
        let ((stdin, input), (output, stdout), (errors, stderr)) = (io::pipe()?, io::pipe()?, io::pipe()?);
        let mut command = Command::new(program);
        // A version manager may start Python as a child of its own.
        command.args(["-I", "-c", python::PROBE]).process_group(0);
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        Ok(Self {
            input: pipe::Sender::from_owned_fd(input.into())?,
            output: pipe::Receiver::from_owned_fd(output.into())?,
            errors: pipe::Receiver::from_owned_fd(errors.into())?,
            child: ChildProcess::start(command, None).map_err(|error| error.error)?,
        })
    }

    async fn answer(self, sources: &[u8]) -> ProbeOutput {
        let Self { child, mut input, mut output, mut errors } = self;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let ask = async {
            // A Python that ends early says why on stderr.
            let _ = input.write_all(sources).await;
            drop(input);
        };
        let _ = tokio::join!(ask, output.read_to_end(&mut stdout), errors.read_to_end(&mut stderr));
        let ended = || child.status().map(|status| status.exit_status() == Some(0));
        let succeeded = loop {
            let ended = ended();
            if let Some(succeeded) = ended {
                break succeeded;
            }
            tokio::time::sleep(EXIT_POLL).await;
        };
        ProbeOutput { succeeded, stdout, stderr }
    }
}
