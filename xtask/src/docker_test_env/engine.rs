//! The Docker engine of the tests: started, used and ended by its own socket and directory.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::command::{self, Result, exists, output, root};

/// How long the engine may take to answer after it was started.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the engine may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn say(what: &str) {
    eprintln!("docker-test-env: {what}");
}

/// The engine, running or not.
pub(super) struct Engine {
    /// The directory of all its files.
    pub(super) dir: PathBuf,
}

impl Engine {
    pub(super) fn here() -> Self {
        Self { dir: root().join("target/docker-test-env") }
    }

    pub(super) fn host(&self) -> String {
        format!("unix://{}", self.dir.join("docker.sock").display())
    }

    pub(super) fn answers(&self) -> bool {
        self.dir.join("docker.sock").exists() && self.docker(&["version"]).is_ok()
    }

    /// A command of the client for this engine, and for no other.
    pub(super) fn client(&self) -> Command {
        let mut command = Command::new("docker");
        command.args(["--host", &self.host()]).env_remove("DOCKER_CONTEXT").env_remove("DOCKER_TLS_VERIFY");
        command
    }

    /// What the client says.
    pub(super) fn docker(&self, arguments: &[&str]) -> Result<String> {
        output(self.client().args(arguments))
    }

    /// Starts the engine and waits until it answers.
    pub(super) fn launch(&self) -> Result<()> {
        let made = |error| format!("cannot write to {}: {error}", self.dir.display());
        fs::create_dir_all(&self.dir).map_err(made)?;
        let log = File::create(self.dir.join("dockerd.log")).map_err(made)?;
        let started = Instant::now();
        // A session of its own, so that Ctrl-C does not end it half-way.
        let mut command = Command::new("setsid");
        command.arg("dockerd").args(["--host", &self.host()]);
        command.args(["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--bridge=none"]);
        for (flag, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            command.arg(flag).arg(self.dir.join(name));
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(made)?).stderr(log);
        let mut daemon = command.spawn().map_err(|error| format!("cannot start dockerd: {error}"))?;
        while !self.answers() {
            let ended = daemon.try_wait().ok().flatten();
            if ended.is_some() || started.elapsed() > START_TIMEOUT {
                let what = ended.map_or("does not answer".to_owned(), |status| format!("ended ({status})"));
                self.clean_up()?;
                return Err(format!("the engine {what}; its last words:\n{}", self.last_words()));
            }
            sleep(Duration::from_millis(50));
        }
        say(&format!("the engine answers after {:.1} s", started.elapsed().as_secs_f64()));
        Ok(())
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.dir.join("dockerd.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    /// Ends the engine's processes and removes what only a running engine has: sockets, pid files, mounts.
    pub(super) fn clean_up(&self) -> Result<()> {
        for (name, program) in [("pid", "dockerd"), ("exec/containerd/containerd.pid", "containerd")] {
            let file = self.dir.join(name);
            if let Some(pid) = self.process(&file, program) {
                end(pid, program)?;
            }
            remove(&file)?;
        }
        remove(&self.dir.join("docker.sock"))?;
        for mount in self.mounts().iter().rev() {
            say(&format!("unmounting {}", mount.display()));
            command::run(Command::new("umount").arg("--lazy").arg(mount))?;
        }
        Ok(())
    }

    /// The process that a pid file names, if it is this engine's and not one that got its number later.
    fn process(&self, file: &Path, program: &str) -> Option<u32> {
        let pid = fs::read_to_string(file).ok()?.trim().parse().ok()?;
        let line = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).ok()?).into_owned();
        let own = self.dir.display().to_string();
        (line.split('\0').next()?.ends_with(program) && line.contains(&own)).then_some(pid)
    }

    /// What is mounted below the engine's directory, outer before inner.
    fn mounts(&self) -> Vec<PathBuf> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
        points.filter(|point| point.starts_with(&self.dir)).collect()
    }
}

/// Ends a process: by SIGTERM, and by SIGKILL if that takes too long.
fn end(pid: u32, program: &str) -> Result<()> {
    say(&format!("ending {program} (process {pid})"));
    let started = Instant::now();
    let runs = || fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
    for (signal, timeout) in [("-TERM", STOP_TIMEOUT), ("-KILL", STOP_TIMEOUT * 2)] {
        // The process may have ended already.
        let _ = Command::new("kill").args([signal, &pid.to_string()]).output();
        while runs() && started.elapsed() < timeout {
            sleep(Duration::from_millis(50));
        }
        if !runs() {
            return Ok(());
        }
    }
    Err(format!("{program} (process {pid}) does not end"))
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", file.display()))
        }
        _ => Ok(()),
    }
}

/// Installs the engine from Debian where it is missing.
pub(super) fn install() -> Result<()> {
    if !exists("dockerd", &["--version"]) {
        if !exists("apt-get", &["--version"]) {
            return Err(
                "there is no `dockerd` here, and no apt to install it: install a Docker engine".to_owned()
            );
        }
        say("installing docker.io");
        apt(&["update"])?;
        apt(&["install", "--yes", "--no-install-recommends", "docker.io"])?;
    }
    if !exists("docker", &["--version"]) {
        // From Debian 13 on the client is a package of its own.
        apt(&["install", "--yes", "--no-install-recommends", "docker-cli"])?;
    }
    Ok(())
}

fn apt(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.arg("--quiet").args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    // Standard output is for the variables.
    output(&mut command).map(|_| ())
}
