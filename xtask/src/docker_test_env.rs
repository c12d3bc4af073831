//! `cargo xtask docker-test-env`: a Docker engine of its own for the tests, with an image made from Debian packages.
//!
//! Everything is below `target/docker-test-env`: socket, data, log, downloads. No network, no registry and no engine of
//! the machine is touched. Starting twice is fine, and so is what an aborted start left behind.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    command::{self, Result, exists, root},
    docker_test_image::{self, IMAGE},
};

/// What to do with the engine.
#[derive(clap::Subcommand)]
pub(crate) enum Action {
    /// Start it, and print the variables that make tests use it: eval "$(cargo xtask docker-test-env start)".
    Start,
    /// Remove its containers and stop it. Its image stays for the next start.
    Stop,
    /// Say whether it runs.
    Status,
}

/// How tests find the engine and its image.
pub(crate) struct Env {
    /// For `DOCKER_HOST`.
    pub(crate) docker_host: String,
    /// For `ABYME_DOCKER_IMAGE`.
    pub(crate) image: String,
}

impl Env {
    /// The variables to set.
    pub(crate) fn variables(&self) -> [(&'static str, &str); 2] {
        [("DOCKER_HOST", &self.docker_host), ("ABYME_DOCKER_IMAGE", &self.image)]
    }
}

/// How long the engine may take to answer after it was started.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn run(action: &Action) -> Result<()> {
    match action {
        Action::Start => {
            for (name, value) in start()?.variables() {
                println!("export {name}={value}");
            }
        }
        Action::Stop => stop()?,
        Action::Status => {
            let state = if Engine::here().answers() { "runs" } else { "does not run" };
            println!("the test engine {state}: {}", Engine::here().host());
        }
    }
    Ok(())
}

/// Makes the engine run and the image be there.
pub(crate) fn start() -> Result<Env> {
    let engine = Engine::here();
    if engine.answers() {
        say("the engine runs already");
    } else {
        if !is_root() {
            return Err("the test engine needs root; or start an engine yourself, and set DOCKER_HOST and \
                        ABYME_DOCKER_IMAGE"
                .to_owned());
        }
        install()?;
        engine.clean_up()?;
        engine.launch()?;
    }
    if engine.docker(&["image", "inspect", IMAGE]).is_ok() {
        say(&format!("the image {IMAGE} is there already"));
    } else {
        let started = Instant::now();
        docker_test_image::import(&engine)?;
        say(&format!("the image {IMAGE} was made in {:.1} s", started.elapsed().as_secs_f64()));
    }
    Ok(Env { docker_host: engine.host(), image: IMAGE.to_owned() })
}

/// Removes the containers and ends the engine. Fine when it does not run.
pub(crate) fn stop() -> Result<()> {
    let engine = Engine::here();
    if engine.answers() {
        let containers = engine.docker(&["ps", "--all", "--quiet"])?;
        let ids: Vec<&str> = containers.split_whitespace().collect();
        if !ids.is_empty() {
            say(&format!("removing {} containers", ids.len()));
            engine.docker(&[&["rm", "--force", "--volumes"], ids.as_slice()].concat())?;
        }
    }
    engine.clean_up()?;
    say("the engine is stopped");
    Ok(())
}

pub(crate) fn say(what: &str) {
    eprintln!("docker-test-env: {what}");
}

/// The engine, running or not.
pub(crate) struct Engine {
    /// Where everything of it is.
    pub(crate) dir: PathBuf,
}

impl Engine {
    fn here() -> Self {
        Self { dir: root().join("target/docker-test-env") }
    }

    fn host(&self) -> String {
        format!("unix://{}", self.dir.join("docker.sock").display())
    }

    fn answers(&self) -> bool {
        self.dir.join("docker.sock").exists() && self.docker(&["version"]).is_ok()
    }

    /// A command of the client for this engine, and for no other.
    pub(crate) fn client(&self) -> Command {
        let mut command = Command::new("docker");
        command.args(["--host", &self.host()]).env_remove("DOCKER_CONTEXT").env_remove("DOCKER_TLS_VERIFY");
        command
    }

    /// What the client says.
    fn docker(&self, arguments: &[&str]) -> Result<String> {
        output(self.client().args(arguments))
    }

    /// Starts the engine and waits until it answers.
    fn launch(&self) -> Result<()> {
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
            if ended.is_some() || started.elapsed() > START_PATIENCE {
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

    /// Ends what runs of this engine and removes what only a running one may have: sockets, pid files, mounts.
    fn clean_up(&self) -> Result<()> {
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

/// Ends a process: asks first.
fn end(pid: u32, program: &str) -> Result<()> {
    say(&format!("ending {program} (process {pid})"));
    let started = Instant::now();
    let runs = || fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
    for (signal, patience) in [("-TERM", STOP_PATIENCE), ("-KILL", STOP_PATIENCE * 2)] {
        // It may be gone already.
        let _ = Command::new("kill").args([signal, &pid.to_string()]).output();
        while runs() && started.elapsed() < patience {
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

fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// Installs the engine from Debian where it is missing.
fn install() -> Result<()> {
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

/// What a command writes; its own words if it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let Output { status, stdout, stderr } = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("`{name}` cannot be started: {error}"))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    Err(format!("`{name}` failed ({status}): {}", String::from_utf8_lossy(&stderr).trim()))
}
