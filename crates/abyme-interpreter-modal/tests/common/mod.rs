//! A Modal on loopback for the tests: `fake/fake_modal.py`, over the generated code of Modal's own wheel.
//!
//! It needs a virtual environment under `target/venvs`. Without it the tests show as ignored with the command
//! that makes it; with `modal` in `ABYME_REQUIRE` they fail then.
#![allow(dead_code, reason = "no target uses all of it")]

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use abyme_conformance::Harness;
use abyme_core::{Capabilities, CodeInterpreter, InterpreterFactory, InterpreterFactoryExt, Session};
use abyme_interpreter_modal::Modal;
use async_trait::async_trait;
use serde_json::{Value, json};

/// The directory that tells that this version of the wheel is installed, and what pip installs.
const INSTALLED: &str = "modal-1.6.4.dist-info";
const PACKAGES: &str = "modal==1.6.4 grpcio";
const NO_NAMESPACES: &str =
    "no sandbox can be made here (`setpriv --pdeathsig KILL unshare -n -m -p --fork true` fails)";
/// How long a server may take to end its sandboxes.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);
// By its text, since tests of another package start it too.
const PROGRAM: &str = include_str!("../fake/fake_modal.py");

/// A server, which ends with this value.
pub(crate) struct FakeModal {
    process: Child,
    /// Its sandboxes' directories. It removes them itself, unless it is killed.
    _directory: tempfile::TempDir,
    lines: Mutex<Option<(ChildStdin, BufReader<ChildStdout>)>>,
    pub(crate) url: String,
    /// Whether a sandbox can be kept from the network here.
    pub(crate) isolates: bool,
}

impl FakeModal {
    /// Starts a server.
    pub(crate) fn start() -> Self {
        Self::try_start().unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// The Python of the environment with the wheel.
    fn python() -> Result<PathBuf, String> {
        let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("venvs").join("modal");
        let versions = environment.join("lib").read_dir().into_iter().flatten().flatten();
        let is_there = versions
            .map(|version| version.path().join("site-packages").join(INSTALLED))
            .any(|path| path.is_dir());
        let path = environment.display();
        if !is_there {
            return Err(format!(
                "not installed; `python3 -m venv {path} && {path}/bin/pip install {PACKAGES}`"
            ));
        }
        Ok(environment.join("bin/python"))
    }

    fn try_start() -> Result<Self, String> {
        let problem = |error: std::io::Error| format!("the server of the tests does not start: {error}");
        let directory = tempfile::Builder::new().prefix("fake-modal-").tempdir().map_err(problem)?;
        let mut process = Command::new(Self::python()?)
            .args(["-I", "-B", "-c", PROGRAM])
            .arg(directory.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(problem)?;
        let stdin = process.stdin.take().ok_or("no stdin")?;
        let mut stdout = BufReader::new(process.stdout.take().ok_or("no stdout")?);
        let mut ready = String::new();
        stdout.read_line(&mut ready).map_err(problem)?;
        let words: Vec<_> = ready.split_whitespace().collect();
        let ["READY", control, _, isolates] = words[..] else {
            return Err(format!("the server of the tests does not start: it says {ready:?}"));
        };
        let (url, isolates) = (format!("http://127.0.0.1:{control}"), isolates == "1");
        Ok(Self { process, _directory: directory, lines: Mutex::new(Some((stdin, stdout))), url, isolates })
    }

    /// The backend over this server.
    pub(crate) fn modal(&self) -> Modal {
        Modal::new().server_url(&self.url).token("ak-test", "as-test")
    }

    pub(crate) async fn session(&self) -> Session {
        self.modal().session().await.unwrap()
    }

    /// Tells the server something, and returns how things are there.
    pub(crate) fn tell(&self, command: &Value) -> Value {
        let mut lines = self.lines.lock().unwrap();
        let lines = lines.as_mut().unwrap();
        writeln!(lines.0, "{command}").unwrap();
        let mut answer = String::new();
        lines.1.read_line(&mut answer).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert!(answer.get("error").is_none(), "{answer}");
        answer
    }

    /// Makes the server do something wrong from now on.
    pub(crate) fn set(&self, faults: Value) {
        self.tell(&json!({ "set": faults }));
    }

    /// How often a method was called.
    pub(crate) fn calls(&self, method: &str) -> u64 {
        self.tell(&json!({}))["calls"][method].as_u64().unwrap_or(0)
    }

    /// All sandboxes, by their ids.
    pub(crate) fn sandboxes(&self) -> serde_json::Map<String, Value> {
        self.tell(&json!({}))["sandboxes"].as_object().unwrap().clone()
    }

    /// The ids of the sandboxes that run.
    pub(crate) fn running(&self) -> Vec<String> {
        let running = self.sandboxes().into_iter().filter(|(_, sandbox)| sandbox["alive"] == true);
        running.map(|(id, _)| id).collect()
    }

    /// Waits until no sandbox runs.
    pub(crate) async fn nothing_is_left(&self) {
        if !eventually(|| self.running().is_empty()).await {
            panic!("left behind: {:?}", self.running());
        }
    }
}

impl Drop for FakeModal {
    fn drop(&mut self) {
        // Without its input it ends its sandboxes, removes their directories and exits.
        drop(self.lines.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        let start = Instant::now();
        while start.elapsed() < EXIT_TIMEOUT && matches!(self.process.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until something holds, for at most ten seconds.
pub(crate) async fn eventually(what: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !what() {
        if start.elapsed() > Duration::from_secs(10) {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

/// What a piece of code comes to.
pub(crate) async fn value(session: &mut Session, code: &str) -> String {
    let observation = session.run_code(code).await.unwrap();
    assert!(observation.is_ok(), "{observation:?}");
    observation.value.as_ref().unwrap().to_string().trim_matches('\'').to_owned()
}

/// The suite's harness: one server for all cases, started by the first question after it.
#[derive(Default)]
pub(crate) struct FakeHarness {
    server: OnceLock<Result<(FakeModal, Modal), String>>,
    declared: Modal,
    change: Option<fn(Modal) -> Modal>,
}

impl FakeHarness {
    /// The same with a configuration of its own.
    pub(crate) fn with(change: fn(Modal) -> Modal) -> Self {
        Self { declared: change(Modal::new()), change: Some(change), ..Self::default() }
    }

    fn server(&self) -> Result<&Modal, String> {
        let start = || {
            let server = FakeModal::try_start()?;
            if !server.isolates {
                return Err(NO_NAMESPACES.to_owned());
            }
            let modal = server.modal();
            let modal = self.change.map_or(modal.clone(), |change| change(modal));
            Ok((server, modal))
        };
        self.server.get_or_init(start).as_ref().map(|(_, modal)| modal).map_err(Clone::clone)
    }
}

#[async_trait]
impl Harness for FakeHarness {
    type Guard = ();

    fn name(&self) -> &str {
        "modal"
    }

    fn capabilities(&self) -> &Capabilities {
        self.declared.capabilities()
    }

    async fn prerequisite(&self) -> Result<(), String> {
        FakeModal::python()?;
        // Each case may be a process of its own, so what is asked here has to be cheap.
        let mut unshare = Command::new("setpriv");
        unshare.args(["--pdeathsig", "KILL", "unshare", "-n", "-m", "-p", "--fork", "true"]);
        let isolates = unshare.stderr(Stdio::null()).status();
        isolates.is_ok_and(|status| status.success()).then_some(()).ok_or_else(|| NO_NAMESPACES.to_owned())
    }

    async fn session(&self) -> abyme_core::Result<((), Box<dyn CodeInterpreter>)> {
        Ok(((), self.server().map_err(unavailable)?.create().await?))
    }

    async fn restore(&self, snapshot: &[u8]) -> abyme_core::Result<((), Box<dyn CodeInterpreter>)> {
        Ok(((), self.server().map_err(unavailable)?.restore(snapshot).await?))
    }
}

fn unavailable(problem: String) -> abyme_core::Error {
    abyme_core::Error::new(abyme_core::ErrorKind::Unavailable, problem)
}

/// The `main` of a target with tests that each start servers of their own.
#[macro_export]
macro_rules! run {
    ($($name:ident),* $(,)?) => {{
        let tests = abyme_conformance::BackendTests::new(common::FakeHarness::default());
        $(let tests = tests.test(stringify!($name), $name);)*
        tests.main()
    }};
}
