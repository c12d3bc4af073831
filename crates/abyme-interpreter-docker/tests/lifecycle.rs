//! Nothing is left, on whatever path a session ends; and what cannot work says why.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test may panic")]

mod common;

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use abyme_core::{
    CodeInterpreter, ErrorKind, InterpreterFactory, InterpreterFactoryExt, Pool, PoolConfig, Session,
};
use abyme_interpreter_docker::Pull;
use bollard::query_parameters::{CreateImageOptionsBuilder, KillContainerOptionsBuilder, RemoveImageOptions};
use common::{
    BeginSignal, containers, containers_of, docker, engine, eventually, nothing_is_left, session, value,
};

/// Makes this program a host to be killed: `a_killed_host_is_swept_after` starts it so.
const HOST: &str = "ABYME_TEST_HOST";
/// How many sessions that host has.
const SESSIONS: usize = 8;
/// Makes this program one that does nothing but look at the engine, and ends.
const SHORT: &str = "ABYME_TEST_SHORT";
/// Makes this program a user who may not use the engine.
const STRANGER: &str = "ABYME_TEST_STRANGER";
/// How long the drop of the last handle waits for the removal of containers. A busy engine takes longer.
const DROP_TIMEOUT: Duration = Duration::from_secs(1);

fn main() -> std::process::ExitCode {
    if std::env::var_os(HOST).is_some() {
        return host_to_be_killed();
    }
    if std::env::var_os(SHORT).is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async { docker().engine().await.unwrap() });
        return std::process::ExitCode::SUCCESS;
    }
    if std::env::var_os(STRANGER).is_some() {
        return stranger();
    }
    run![
        the_engine_says_what_it_is,
        shutdown_leaves_nothing,
        a_drop_leaves_nothing,
        a_drop_in_a_cell_leaves_nothing,
        a_drop_at_any_moment_of_the_start_leaves_nothing,
        a_panic_leaves_nothing,
        dropping_the_last_handle_waits,
        shutting_the_backend_down_waits,
        a_killed_host_is_swept_after,
        a_kill_from_outside_is_named,
        a_kill_between_cells_is_noticed,
        a_pool_drops_what_died,
        twenty_sessions_leave_no_descriptor,
        compiled_drivers_work,
        many_start_at_once,
        a_hundred_megabytes_go_in_and_out,
        it_works_without_an_init,
        an_image_that_is_missing,
        an_image_without_python,
        an_image_for_another_processor,
        limits_that_cannot_be,
        a_user_who_may_not unless nobody_else_to_be(),
    ]
}

async fn the_engine_says_what_it_is() {
    let engine = docker().engine().await.unwrap();
    assert!(engine.image_id.is_some() && !engine.version.is_empty(), "{engine:?}");
    assert!(engine.to_string().contains(" has the image "), "{engine}");
    let engine = docker().image("abyme-test-none").engine().await.unwrap();
    assert!(engine.to_string().contains(" does not have the image abyme-test-none"), "{engine}");
}

async fn shutdown_leaves_nothing() {
    let mut session = session(docker()).await;
    assert_eq!(value(&mut session, "6 * 7").await, "42");
    assert_eq!(containers().await.len(), 1);
    session.shutdown().await.unwrap();
    assert_eq!(containers().await, Vec::<String>::new(), "it is gone when shutdown returns");
    session.shutdown().await.unwrap();
}

async fn a_drop_leaves_nothing() {
    let mut dropped = session(docker()).await;
    value(&mut dropped, "6 * 7").await;
    drop(dropped);
    nothing_is_left().await;
}

async fn a_drop_in_a_cell_leaves_nothing() {
    let docker = docker();
    let mut dropped = docker.session().await.unwrap();
    let cell = dropped.run_code("import signal\nsignal.signal(2, signal.SIG_IGN)\nwhile True: pass");
    assert!(tokio::time::timeout(Duration::from_millis(300), cell).await.is_err());
    drop(dropped);
    nothing_is_left().await;
}

async fn a_drop_at_any_moment_of_the_start_leaves_nothing() {
    let docker = docker();
    for round in 0..24 {
        let mut session = docker.create().await.unwrap();
        let limit = Duration::from_millis(round * 15);
        let _ = tokio::time::timeout(limit, session.start()).await;
    }
    nothing_is_left().await;
}

async fn a_panic_leaves_nothing() {
    let task = tokio::spawn(async {
        let mut session = session(docker()).await;
        value(&mut session, "6 * 7").await;
        panic!("on purpose");
    });
    assert!(task.await.unwrap_err().is_panic());
    nothing_is_left().await;
}

async fn dropping_the_last_handle_waits() {
    let mut dropped = session(docker()).await;
    let cell =
        dropped.run_code("while True:\n    try:\n        while True: pass\n    except BaseException: pass");
    assert!(tokio::time::timeout(Duration::from_millis(200), cell).await.is_err());
    let began = Instant::now();
    tokio::task::spawn_blocking(move || drop(dropped)).await.unwrap();
    if began.elapsed() < DROP_TIMEOUT {
        assert_eq!(containers().await, Vec::<String>::new());
    }
    nothing_is_left().await;
}

async fn shutting_the_backend_down_waits() {
    let docker = docker();
    let dropped = docker.session().await.unwrap();
    let mut kept = docker.session().await.unwrap();
    drop(dropped);
    docker.shutdown().await;
    assert!(containers().await.len() <= 2, "the kept session's, and the one that compiles the driver");
    assert_eq!(value(&mut kept, "6 * 7").await, "42");
    drop(kept);
    docker.shutdown().await;
    nothing_is_left().await;
}

fn host_to_be_killed() -> std::process::ExitCode {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let docker = docker();
        for _ in 0..SESSIONS {
            let mut session = docker.session().await.unwrap();
            value(&mut session, "6 * 7").await;
            // It does not look whether its host is there.
            tokio::spawn(async move { session.run_code("import time\ntime.sleep(600)").await });
        }
        println!("ready");
        std::future::pending::<()>().await;
    });
    std::process::ExitCode::FAILURE
}

async fn a_killed_host_is_swept_after() {
    let mut host =
        Command::new(std::env::current_exe().unwrap()).env(HOST, "1").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(host.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let docker = docker();
    let mut other = docker.session().await.unwrap();
    docker.sweep().await.unwrap();
    assert_eq!(containers_of(host.id()).await.len(), SESSIONS, "what lives is left alone");
    host.kill().unwrap();
    host.wait().unwrap();
    // A program that ends at once sweeps all of them. Tests that run at the same time leave containers and
    // sweep too, so how many this one finds is a matter of luck.
    let short = Command::new(std::env::current_exe().unwrap()).env(SHORT, "1").status().unwrap();
    assert!(short.success());
    assert!(eventually(|| async { containers_of(host.id()).await.is_empty() }).await);
    assert_eq!(value(&mut other, "6 * 7").await, "42");
}

async fn a_kill_from_outside_is_named() {
    let mut session = session(docker()).await;
    let container = containers().await.remove(0);
    let begun = BeginSignal::default();
    let killer = async {
        begun.heard().await;
        let options = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
        engine().kill_container(&container, Some(options)).await.unwrap();
    };
    let cell = BeginSignal::cell("import time\nprint('so far', flush=True)\nbegun()\ntime.sleep(30)");
    let (observation, ()) = tokio::join!(session.execute(cell, &begun), killer);
    let observation = observation.unwrap();
    assert_eq!(observation.stdout.to_string(), "so far\n");
    let reason = observation.session_ended.unwrap();
    assert!(reason.contains("signal 9") && reason.contains("memory"), "{reason}");
    let error = session.run_code("1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded);
    assert!(error.message().contains("signal 9"), "{error}");
    nothing_is_left().await;
}

async fn a_kill_between_cells_is_noticed() {
    let mut session = session(docker()).await;
    let container = containers().await.remove(0);
    let options = KillContainerOptionsBuilder::default().signal("SIGKILL").build();
    engine().kill_container(&container, Some(options)).await.unwrap();
    assert!(eventually(|| async { containers().await.is_empty() }).await);
    let began = Instant::now();
    while session.start().await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(10), "nobody notices that the container is gone");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let error = session.run_code("1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded);
}

async fn a_pool_drops_what_died() {
    let docker = docker();
    let pool = Pool::new(docker.clone(), PoolConfig::default().size(1));
    pool.fill().await.unwrap();
    let mut session = Session::new(pool.create().await.unwrap());
    assert_eq!(value(&mut session, "1 + 1").await, "2");
    session.shutdown().await.unwrap();
    assert!(eventually(|| async { pool.ready() == 1 && containers().await.len() == 1 }).await);
    common::remove(&containers().await[0]).await;
    // One thread hears the engine out, in turn: after the whole life of another session it knows of that end.
    docker.session().await.unwrap().shutdown().await.unwrap();
    let mut session = Session::new(pool.create().await.unwrap());
    assert_eq!(value(&mut session, "2 + 2").await, "4");
    drop((session, pool));
    nothing_is_left().await;
}

async fn twenty_sessions_leave_no_descriptor() {
    let docker = docker();
    for _ in 0..3 {
        docker.session().await.unwrap().shutdown().await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for _ in 0..20 {
        let mut session = docker.session().await.unwrap();
        session.shutdown().await.unwrap();
    }
    assert!(eventually(|| async { open() <= before }).await, "{before} descriptors before, {} after", open());
}

async fn compiled_drivers_work() {
    let docker = docker();
    for _ in 0..3 {
        let mut session = docker.session().await.unwrap();
        assert_eq!(value(&mut session, "6 * 7").await, "42");
        let trace = session.run_code("import traceback\n1 / 0").await.unwrap().error.unwrap();
        assert_eq!(trace.type_name, "ZeroDivisionError");
    }
    assert_eq!(format!("{docker:?}").matches("compiled: true").count(), 1, "{docker:?}");
}

async fn many_start_at_once() {
    let docker = docker();
    let starts = (0..12).map(|n: u32| {
        let docker = docker.clone();
        tokio::spawn(async move {
            let mut session = docker.session().await.unwrap();
            assert_eq!(value(&mut session, &format!("{n} + 1")).await, (n + 1).to_string());
            session.shutdown().await.unwrap();
        })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.unwrap();
    }
    drop(docker);
    nothing_is_left().await;
}

async fn a_hundred_megabytes_go_in_and_out() {
    let mut session = session(docker()).await;
    let text = "żółw\n".repeat(100_000_000 / 9);
    session.set_variable("text", text.clone()).await.unwrap();
    assert_eq!(value(&mut session, "len(text)").await, text.chars().count().to_string());
    value(&mut session, "text = text[:-1] + '!'\n1").await;
    let back = session.get_variable("text").await.unwrap().unwrap();
    assert!(back.as_text().is_some_and(|back| back.len() == text.len() && back.ends_with('!')));
}

async fn it_works_without_an_init() {
    let mut session = session(docker().init(false)).await.cell_timeout(Duration::from_millis(500));
    let observation = session.run_code("kept = 1\nwhile True: pass").await.unwrap();
    assert_eq!(observation.error.unwrap().type_name, "KeyboardInterrupt");
    assert_eq!(value(&mut session, "kept").await, "1");
    let reason = session.run_code("import os\nos._exit(3)").await.unwrap().session_ended.unwrap();
    assert!(reason.contains("exited with code 3"), "{reason}");
}

/// An image of these programs, all the same.
async fn import(name: &str, programs: &[&str], content: &[u8]) {
    use futures_util::StreamExt;

    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    archive.append_data(&mut header, "usr/", &[][..]).unwrap();
    for path in programs {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, path, content).unwrap();
    }
    let archive = bollard::body_full(archive.into_inner().unwrap().into());
    let options = CreateImageOptionsBuilder::default().from_src("-").repo(name).tag("latest").build();
    let engine = engine();
    let mut steps = engine.create_image(Some(options), Some(archive), None);
    while let Some(step) = steps.next().await {
        step.unwrap();
    }
}

async fn an_image_that_is_missing() {
    let never = docker().image("abyme-test-none").pull(Pull::Never);
    let error = never.session().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("does not have the image `abyme-test-none`"), "{error}");
    assert!(error.message().contains("docker pull abyme-test-none"), "{error}");

    let (told, heard) = std::sync::mpsc::channel();
    let docker = docker().image("registry.invalid/abyme-test-none:1");
    let missing = docker.on_progress(move |progress| {
        let _ = told.send(progress.to_string());
    });
    let error = missing.session().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("`registry.invalid/abyme-test-none:1` cannot be fetched"), "{error}");
    assert_eq!(heard.recv().unwrap(), "fetching the image registry.invalid/abyme-test-none:1");
    nothing_is_left().await;
}

async fn an_image_without_python() {
    import("abyme-test-empty", &[], &[]).await;
    for init in [true, false] {
        let docker = docker().image("abyme-test-empty").init(init);
        let error = docker.session().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("the image `abyme-test-empty` has no `python3`"), "{error}");
    }
    engine().remove_image("abyme-test-empty", None::<RemoveImageOptions>, None).await.unwrap();
    nothing_is_left().await;
}

async fn an_image_for_another_processor() {
    // The head of a program for a processor that no engine here has: m68k.
    let mut program = vec![0; 64];
    program[..20].copy_from_slice(b"\x7fELF\x01\x02\x01\0\0\0\0\0\0\0\0\0\0\x02\0\x04");
    // Its shell is what is tried for a program that the kernel does not know.
    import("abyme-test-other", &["usr/bin/python3", "bin/sh"], &program).await;
    for init in [true, false] {
        let docker = docker().image("abyme-test-other").init(init);
        let error = docker.session().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let said = error.message();
        assert!(said.contains("`abyme-test-other` is for another kind of processor"), "{error}");
    }
    engine().remove_image("abyme-test-other", None::<RemoveImageOptions>, None).await.unwrap();
    nothing_is_left().await;
}

async fn limits_that_cannot_be() {
    let error = docker().memory_limit_bytes(1 << 20).session().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().to_lowercase().contains("memory"), "{error}");
    let error = docker().runtime("nonsense").session().await.unwrap_err();
    assert!(error.message().contains("nonsense"), "{error}");
    nothing_is_left().await;
}

fn stranger() -> std::process::ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("{}", runtime.block_on(docker().engine()).unwrap_err());
    std::process::ExitCode::SUCCESS
}

/// Why this program cannot become a user who may not use the engine.
fn nobody_else_to_be() -> Option<String> {
    if std::env::var("DOCKER_HOST").is_ok_and(|host| !host.starts_with("unix://")) {
        return Some("the engine is on another machine, where it is not the user that counts".to_owned());
    }
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    (!is_root).then(|| "only root can become another user".to_owned())
}

async fn a_user_who_may_not() {
    use std::os::unix::process::CommandExt;

    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).env(STRANGER, "1").uid(65534).gid(65534).output();
    let Ok(output) = output else { return }; // The program is where others do not get to.
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("may not use the Docker engine") && said.contains("group `docker`"), "{said}");
}
