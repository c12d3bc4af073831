//! Finds the real Python behind a name.
//!
//! This is done once, because a version manager's `python3` is a shell script that costs tens of milliseconds
//! at every start.

use std::{
    io::ErrorKind as IoErrorKind,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use abyme_core::{Error, ErrorKind, Result};
use abyme_driver::python::{self, BundleKind};
use serde::Deserialize;
use tokio::{io::AsyncWriteExt, process::Command};

/// The oldest Python that the driver runs on.
const OLDEST: (u32, u32) = (3, 9);
/// How long Python may take to answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

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
        let mut command = Command::new(program);
        command.args(["-I", "-c", python::PROBE]).kill_on_drop(true);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(
                |error| {
                    let what = match error.kind() {
                        IoErrorKind::NotFound => format!(
                            "there is no `{name}` here: install Python {}.{} or later, or name another one \
                         as the `python` to use",
                            OLDEST.0, OLDEST.1
                        ),
                        _ => format!("`{name}` cannot be started: {error}"),
                    };
                    unusable(what).with_source(error)
                },
            )?;
        let sources = python::sources_json(driver);
        let stdin = child.stdin.take();
        let talk = async {
            if let Some(mut stdin) = stdin {
                // A Python that ends early says why on stderr.
                let _ = stdin.write_all(&sources).await;
            }
            child.wait_with_output().await
        };
        let output = tokio::time::timeout(PROBE_TIMEOUT, talk)
            .await
            .map_err(|_| unusable(format!("`{name}` did not answer within {} s", PROBE_TIMEOUT.as_secs())))?
            .map_err(|error| unusable(format!("`{name}` failed: {error}")).with_source(error))?;
        let answer = output.stdout.iter().position(|&byte| byte == b'\n').and_then(|end| {
            let about: About = serde_json::from_slice(&output.stdout[..end]).ok()?;
            Some((about, &output.stdout[end + 1..]))
        });
        let Some((about, code)) = answer.filter(|_| output.status.success()) else {
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
