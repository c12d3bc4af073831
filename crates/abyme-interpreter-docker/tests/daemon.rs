//! An engine that ends, comes back, or has no room left. Needs root and `dockerd`, for an engine of its own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use abyme_core::{
    CodeInterpreter, ErrorKind, InterpreterFactoryExt, Pool, PoolConfig, Rlm, Tool, inputs,
    testing::ScriptedModel,
};
use abyme_interpreter_docker::{Docker, Pull};
use common::{BeginSignal, value};
use tempfile::TempDir;

fn main() -> std::process::ExitCode {
    run![
        an_engine_that_is_restarted unless no_engine_of_its_own(),
        an_engine_without_room unless no_engine_of_its_own(),
        several_engines_share_the_sessions unless no_engine_of_its_own(),
        a_run_outlives_the_engine_of_its_session unless no_engine_of_its_own(),
    ]
}

/// An engine in a directory of its own, ended when dropped.
struct Daemon {
    dir: TempDir,
    process: Option<Child>,
}

/// Why this machine cannot run an engine of its own.
fn no_engine_of_its_own() -> Option<String> {
    let runs = |program: &str, argument: &str| Command::new(program).arg(argument).output();
    let possible =
        runs("id", "-u").is_ok_and(|id| id.stdout == b"0\n") && runs("dockerd", "--version").is_ok();
    (!possible).then(|| "it needs root and `dockerd`, for an engine of its own".to_owned())
}

fn shell(script: &str) {
    let status = Command::new("sh").args(["-ec", script]).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{script}");
}

impl Daemon {
    /// `room` is the size of its disk, if that is to be small.
    fn new(room: Option<&str>) -> Self {
        let dir = tempfile::Builder::new().prefix("abyme-dockerd-").tempdir().unwrap();
        let mut daemon = Self { dir, process: None };
        if let Some(room) = room {
            std::fs::create_dir(daemon.path("data")).unwrap();
            shell(&format!("mount -t tmpfs -o size={room} none {}", daemon.path("data").display()));
        }
        daemon.start();
        let (image, host) = (common::image(), daemon.host());
        shell(&format!("docker save {image} | docker -H {host} load"));
        daemon
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn host(&self) -> String {
        format!("unix://{}", self.path("sock").display())
    }

    fn start(&mut self) {
        let log = std::fs::File::create(self.path("log")).unwrap();
        let mut command = Command::new("dockerd");
        command.args(["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--bridge=none"]);
        command.args(["--host", &self.host()]).stdout(log.try_clone().unwrap()).stderr(log);
        for (flag, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            command.arg(flag).arg(self.path(name));
        }
        self.process = Some(command.spawn().unwrap());
        let started = Instant::now();
        let answers = || Command::new("docker").args(["-H", &self.host(), "version"]).output().unwrap();
        while !answers().status.success() {
            let log = std::fs::read_to_string(self.path("log")).unwrap();
            assert!(started.elapsed() < Duration::from_secs(30), "{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = Command::new("kill").arg(process.id().to_string()).status();
            let _ = process.wait();
        }
    }

    fn docker(&self) -> Docker {
        common::docker().host(self.host()).pull(Pull::Never)
    }

    fn containers(&self) -> String {
        let output = Command::new("docker").args(["-H", &self.host(), "ps", "-aq"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
        let _ = Command::new("umount").arg("-l").arg(self.path("data")).stderr(Stdio::null()).status();
    }
}

async fn an_engine_that_is_restarted() {
    let mut daemon = Daemon::new(None);
    let docker = daemon.docker();
    let mut busy = docker.session().await.unwrap();
    let mut idle = docker.session().await.unwrap();
    assert_eq!(value(&mut idle, "6 * 7").await, "42");
    let begun = Arc::new(BeginSignal::default());
    let host = begun.clone();
    let cell = tokio::spawn(async move {
        let cell = BeginSignal::cell("import time\nprint('so far', flush=True)\nbegun()\ntime.sleep(60)");
        let seen = busy.execute(cell, &*host).await;
        (busy, seen)
    });
    begun.heard().await;
    let mut daemon = tokio::task::spawn_blocking(move || {
        daemon.stop();
        daemon
    })
    .await
    .unwrap();
    let (mut busy, seen) = cell.await.unwrap();
    let seen = seen.unwrap();
    assert_eq!(seen.stdout.to_string(), "so far\n");
    assert!(seen.session_ended.is_some(), "{seen:?}");
    for session in [&mut busy, &mut idle] {
        let error = session.run_code("1").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SessionEnded, "{error}");
    }
    let error = docker.session().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("no Docker engine answers"), "{error}");

    daemon.start();
    assert_eq!(daemon.containers(), "");
    let mut session = docker.session().await.unwrap();
    assert_eq!(value(&mut session, "6 * 7").await, "42");
    session.shutdown().await.unwrap();
    assert_eq!(daemon.containers(), "");
}

async fn an_engine_without_room() {
    let daemon = Daemon::new(Some("150m"));
    let docker = daemon.docker();
    docker.prepare().await.unwrap();
    let fill = daemon.path("data/fill");
    shell(&format!("dd if=/dev/zero of={} bs=64k 2>/dev/null || true", fill.display()));
    let error = docker.session().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains("the engine's disk is full"), "{error}");
    std::fs::remove_file(fill).unwrap();
    assert_eq!(daemon.containers(), "");
    let mut session = docker.session().await.unwrap();
    assert_eq!(value(&mut session, "6 * 7").await, "42");
}

/// How many sessions each engine has.
fn sessions(daemons: &[Daemon]) -> Vec<usize> {
    daemons.iter().map(|daemon| daemon.containers().lines().count()).collect()
}

/// Waits until each engine has so many sessions. The container that compiles the driver goes by itself.
async fn await_sessions(daemons: &[Daemon], expected: [usize; 2]) {
    for _ in 0..100 {
        if sessions(daemons) == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(sessions(daemons), expected);
}

fn both(daemons: &[Daemon]) -> Docker {
    common::docker().hosts(daemons.iter().map(Daemon::host)).pull(Pull::Never)
}

async fn several_engines_share_the_sessions() {
    let daemons = [Daemon::new(None), Daemon::new(None)];
    let docker = both(&daemons);
    docker.prepare().await.unwrap();
    let engines = docker.engines().await.unwrap();
    assert!(engines.iter().all(|engine| engine.as_ref().is_ok_and(|engine| engine.image_id.is_some())));

    let pool = Pool::new(docker.clone(), PoolConfig::default().size(4));
    pool.fill().await.unwrap();
    await_sessions(&daemons, [2, 2]).await;
    drop(pool);
    docker.shutdown().await;

    // Another program's sessions count too.
    await_sessions(&daemons, [0, 0]).await;
    let first = common::docker().host(daemons[0].host()).pull(Pull::Never);
    let elsewhere = [first.session().await.unwrap(), first.session().await.unwrap()];
    let docker = both(&daemons);
    let ours = [docker.session().await.unwrap(), docker.session().await.unwrap()];
    await_sessions(&daemons, [2, 2]).await;
    drop((elsewhere, ours));
    docker.shutdown().await;
    first.shutdown().await;
    assert_eq!(sessions(&daemons), [0, 0]);
}

async fn a_run_outlives_the_engine_of_its_session() {
    let daemons = Arc::new(Mutex::new([Daemon::new(None), Daemon::new(None)]));
    let docker = both(&*daemons.lock().unwrap());
    docker.prepare().await.unwrap();
    let engines = daemons.clone();
    let mut stopped = false;
    let stop_engine = move || {
        let mut daemons = engines.lock().unwrap();
        let at = sessions(&*daemons).iter().position(|count| *count == 1).unwrap();
        if !std::mem::replace(&mut stopped, true) {
            daemons[at].stop();
        }
        at
    };
    let stop_engine = Mutex::new(stop_engine);
    let stop = Tool::new("stop_engine", "Stops the engine that runs this session.", move || {
        stop_engine.lock().unwrap()() as u64
    });
    let model =
        ScriptedModel::replies(["```python\nstop_engine()\n```", "```python\nSUBMIT(len(docs))\n```"]);
    let rlm = Rlm::builder("docs -> length: int")
        .model(model)
        .interpreter(docker.clone())
        .tool(stop)
        .build()
        .unwrap();
    let prediction = rlm.run(inputs! { docs: "twelve chars" }).await.unwrap();
    assert_eq!(prediction.get::<u64>("length").unwrap(), 12);
    let answering = docker.engines().await.unwrap().iter().filter(|engine| engine.is_ok()).count();
    assert_eq!(answering, 1);
    docker.shutdown().await;
}
