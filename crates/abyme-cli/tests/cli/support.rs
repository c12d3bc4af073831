//! Runs the command in an empty directory, with an environment that has nothing of the machine's settings.

use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::Once,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Where the prepared Python of all these tests is kept.
pub(crate) const CACHE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/cache");

/// An empty directory to run commands in.
pub(crate) struct TestDir {
    pub(crate) temp: TempDir,
}

impl TestDir {
    pub(crate) fn new() -> Self {
        let dir = Self { temp: tempfile::tempdir().unwrap() };
        // So that no test meets what the first use on a machine says.
        static PREPARED: Once = Once::new();
        PREPARED.call_once(|| {
            let prepared = dir.command(&["prepare"]).output().unwrap();
            assert!(prepared.status.success(), "{prepared:?}");
        });
        dir
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.temp.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_abyme"));
        command.args(args).current_dir(self.temp.path()).env_clear();
        for name in ["PATH", "HOME", "PYENV_ROOT", "PYENV_VERSION"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("ABYME_CACHE_DIR", CACHE);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> CommandEnd {
        self.command(args).output().unwrap().into()
    }

    pub(crate) fn run_with_stdin(&self, args: &[&str], stdin: &[u8]) -> CommandEnd {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin).unwrap();
        child.wait_with_output().unwrap().into()
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct CommandEnd {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for CommandEnd {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let ended = Self {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        assert!(!ended.stderr.contains("panicked"), "{ended:?}");
        ended
    }
}

impl CommandEnd {
    /// The one object on stdout.
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.stdout.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Fails unless the command failed with this code and one clear line that says `parts`.
    pub(crate) fn failed(&self, code: i32, parts: &[&str]) {
        assert_eq!((self.code, self.stdout.as_str()), (code, ""), "{self:?}");
        let errors: Vec<_> = self.stderr.lines().filter(|line| line.starts_with("abyme: error: ")).collect();
        assert_eq!(errors.len(), 1, "{self:?}");
        assert_eq!(self.stderr.lines().last(), Some(errors[0]), "{self:?}");
        for part in parts {
            assert!(errors[0].contains(part), "`{part}` is not in: {}", errors[0]);
        }
    }
}

/// The exit code of a child that has to end within a time.
pub(crate) fn exit_within(child: &mut Child, limit: Duration) -> i32 {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or(-1);
        }
        if started.elapsed() > limit {
            child.kill().unwrap();
            panic!("the command did not end within {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a signal, such as `INT`.
pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Whether a process is still there, and not only waits to be reaped.
pub(crate) fn is_alive(pid: i64) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

/// Waits until a condition holds.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(10), "never came true: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
