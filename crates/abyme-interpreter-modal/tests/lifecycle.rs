//! Nothing is left, on whatever path a session ends, and what is asked for arrives.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test may panic")]

mod common;

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use abyme_core::{
    Cell, CodeInterpreter, ErrorKind, InterpreterFactory, InterpreterFactoryExt, NoHostFunctions, Pool,
    PoolConfig, Session, Value,
};
use abyme_interpreter_modal::{BuildProgress, Modal, Network};
use common::{FakeModal, eventually, value};
use serde_json::json;

/// Makes this program a host to be killed, with sessions at this address.
const HOST: &str = "ABYME_TEST_MODAL";

fn main() -> std::process::ExitCode {
    if let Ok(url) = std::env::var(HOST) {
        return host_to_be_killed(&url);
    }
    run![
        shutdown_leaves_nothing,
        a_drop_leaves_nothing,
        a_drop_in_a_cell_leaves_nothing,
        a_drop_at_any_moment_of_the_start_leaves_nothing,
        a_killed_host_is_swept_after,
        what_is_asked_for_arrives,
        images_are_built_once_and_their_log_is_reported,
        secrets_and_variables_arrive,
        sessions_can_share_a_sandbox,
        the_driver_is_compiled_once,
        a_pool_starts_ahead,
        fifty_sessions_at_once,
        a_hundred_megabytes_go_in_and_out,
        a_cell_costs_one_round_trip,
        a_saved_session_leaves_nothing_and_each_copy_is_tagged,
        what_cannot_be_saved_goes_on,
        a_driver_that_can_be_saved_ends_as_others_do,
    ]
}

async fn shutdown_leaves_nothing() {
    let fake = FakeModal::start();
    let mut session = fake.session().await;
    assert_eq!(value(&mut session, "6 * 7").await, "42");
    assert_eq!(fake.running().len(), 1);
    session.shutdown().await.unwrap();
    assert_eq!(fake.running().len(), 0, "it is gone when shutdown returns");
    session.shutdown().await.unwrap();
    assert_eq!(session.run_code("1").await.unwrap_err().kind(), ErrorKind::SessionEnded);
}

async fn a_drop_leaves_nothing() {
    let fake = FakeModal::start();
    let modal = fake.modal();
    drop(modal.session().await.unwrap());
    modal.shutdown().await;
    assert_eq!(fake.running().len(), 0);
    // The last handle waits for the termination, outside of any runtime too.
    let session = modal.session().await.unwrap();
    std::thread::spawn(move || drop((session, modal))).join().unwrap();
    fake.nothing_is_left().await;
}

async fn a_drop_in_a_cell_leaves_nothing() {
    let fake = FakeModal::start();
    let mut session = fake.session().await;
    let cell = session.run_code("import signal\nsignal.signal(2, signal.SIG_IGN)\nwhile True: pass");
    assert!(tokio::time::timeout(Duration::from_millis(300), cell).await.is_err());
    drop(session);
    fake.nothing_is_left().await;
}

async fn a_drop_at_any_moment_of_the_start_leaves_nothing() {
    let fake = FakeModal::start();
    for modal in [fake.modal(), fake.modal().sessions_per_sandbox(2)] {
        for round in 0..16 {
            let mut session = modal.create().await.unwrap();
            let _ = tokio::time::timeout(Duration::from_millis(round * 12), session.start()).await;
        }
        drop(modal);
        fake.nothing_is_left().await;
    }
}

fn host_to_be_killed(url: &str) -> std::process::ExitCode {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let modal = Modal::new().server_url(url).token("ak-test", "as-test");
        let mut session = modal.session().await.unwrap();
        value(&mut session, "6 * 7").await;
        println!("ready");
        let _ = session.run_code("while True: pass").await;
    });
    std::process::ExitCode::FAILURE
}

async fn a_killed_host_is_swept_after() {
    let fake = FakeModal::start();
    let mut host = Command::new(std::env::current_exe().unwrap())
        .env(HOST, &fake.url)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(host.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let modal = fake.modal();
    let mut other = modal.session().await.unwrap();
    assert_eq!(modal.sweep().await.unwrap(), 0, "what lives is left alone");
    host.kill().unwrap();
    host.wait().unwrap();
    assert_eq!(fake.running().len(), 2);
    assert_eq!(modal.sweep().await.unwrap(), 1);
    assert_eq!(fake.running().len(), 1);
    assert_eq!(value(&mut other, "6 * 7").await, "42");
}

async fn what_is_asked_for_arrives() {
    let fake = FakeModal::start();
    let modal = fake.modal().memory_limit_bytes(512 << 20).cpus(2.0).region("us-east").name("one");
    let modal = modal.network(Network::Domains(vec!["pypi.org".to_owned()])).tag("team", "red");
    let modal = modal.timeout(Duration::from_secs(500)).idle_timeout(Duration::from_secs(60)).workdir("/srv");
    let mut session = modal.session().await.unwrap();
    assert_eq!(value(&mut session, "import os; os.getcwd()").await, "/srv");
    let sandbox = fake.sandboxes().into_values().next().unwrap();
    for (name, expected) in [
        ("memory_mb", json!([512, 512])),
        ("milli_cpu", json!(2000)),
        ("regions", json!(["us-east"])),
        ("name", json!("one")),
        ("network", json!(3)),
        ("domains", json!(["pypi.org"])),
        ("timeout", json!(500)),
        ("idle_timeout", json!(60)),
    ] {
        assert_eq!(sandbox[name], expected, "{name}");
    }
    assert_eq!(sandbox["tags"]["team"], "red");
    let error = modal.session().await.unwrap_err();
    assert!(error.message().contains("named `one`, which only one at a time can be"), "{error}");
}

async fn images_are_built_once_and_their_log_is_reported() {
    let fake = FakeModal::start();
    let log = Arc::new(Mutex::new(Vec::new()));
    let report = log.clone();
    let modal =
        fake.modal().image("python:3.12-slim").apt_packages(["git"]).pip_packages(["numpy", "pandas>=2"]);
    let modal = modal.on_progress(move |progress| report.lock().unwrap().push(progress));
    let account = modal.prepare().await.unwrap();
    assert!(account.to_string().contains("takes the token from the configuration"), "{account}");
    let built = log.lock().unwrap().iter().filter(|step| matches!(step, BuildProgress::Built { .. })).count();
    let lines = log.lock().unwrap().iter().filter(|step| matches!(step, BuildProgress::Log(_))).count();
    assert_eq!((built, lines), (3, 9));
    let images = &fake.tell(&json!({}))["images"];
    assert_eq!(images["im-0"], json!(["FROM python:3.12-slim"]));
    assert_eq!(images["im-2"][1], json!("RUN python3 -m pip install --no-cache-dir 'numpy' 'pandas>=2'"));
    let joins = fake.calls("ImageJoinStreaming");
    let again =
        fake.modal().image("python:3.12-slim").apt_packages(["git"]).pip_packages(["numpy", "pandas>=2"]);
    assert_eq!(again.prepare().await.unwrap().image_id, account.image_id);
    assert_eq!(fake.calls("ImageJoinStreaming"), joins, "what is built is not built again");
    let mut session = fake.modal().image_id(account.image_id).session().await.unwrap();
    assert_eq!(value(&mut session, "1 + 1").await, "2");
}

async fn secrets_and_variables_arrive() {
    let fake = FakeModal::start();
    fake.set(json!({ "secrets": { "LITELLM": { "DSPY_LM_MODEL": "openai/x" } } }));
    let mut session = fake.modal().secret("LITELLM").env("STAGE", "test").session().await.unwrap();
    let seen = value(&mut session, "import os; os.environ['DSPY_LM_MODEL'] + os.environ['STAGE']").await;
    assert_eq!(seen, "openai/xtest");
}

async fn sessions_can_share_a_sandbox() {
    let fake = FakeModal::start();
    let modal = fake.modal().sessions_per_sandbox(3);
    let starting: Vec<_> = (0..4).map(|_| modal.session()).collect();
    let mut sessions: Vec<Session> =
        futures_util::future::join_all(starting).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(fake.running().len(), 2, "three in one, and one in another");
    for (index, session) in sessions.iter_mut().enumerate() {
        value(session, &format!("x = {index}; open('mine', 'x').write('{index}')")).await;
    }
    for (index, session) in sessions.iter_mut().enumerate() {
        assert_eq!(value(session, "str(x) + open('mine').read()").await, format!("{index}{index}"));
    }
    let first = sessions.remove(0);
    drop(first);
    let alone = sessions.remove(0);
    let processes = |fake: &FakeModal| -> u64 {
        fake.sandboxes().values().map(|sandbox| sandbox["processes"].as_u64().unwrap()).sum()
    };
    assert!(eventually(|| processes(&fake) == 3).await, "the driver of the dropped session is killed");
    drop(alone);
    for session in &mut sessions {
        session.shutdown().await.unwrap();
    }
    drop(sessions);
    modal.shutdown().await;
    fake.nothing_is_left().await;
}

/// What the bundles of all drivers were, by sandbox: `C` for sources whose code comes back, `M` for code.
fn bundles(fake: &FakeModal) -> Vec<String> {
    let first_bytes = |sandbox: &serde_json::Value| -> String {
        sandbox["first_bytes"].as_array().unwrap().iter().map(|byte| byte.as_str().unwrap()).collect()
    };
    let mut bundles: Vec<_> = fake.sandboxes().values().map(first_bytes).collect();
    bundles.sort();
    bundles
}

async fn the_driver_is_compiled_once() {
    let fake = FakeModal::start();
    // The code is larger than what a message may take otherwise.
    let modal = fake.modal().max_message_bytes(100_000);
    for _ in 0..3 {
        let mut session = modal.session().await.unwrap();
        assert_eq!(value(&mut session, "6 * 7").await, "42");
        let error = session.run_code("1 / 0").await.unwrap().error.unwrap();
        assert_eq!(error.type_name, "ZeroDivisionError");
        assert!(!error.traceback.contains("<abyme>"), "{}", error.traceback);
        session.shutdown().await.unwrap();
    }
    assert_eq!(bundles(&fake), ["C", "M", "M"]);
    // Nothing is taken from a sandbox where cells of another session have run, but for that sandbox.
    let fake = FakeModal::start();
    let modal = fake.modal().sessions_per_sandbox(2);
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(modal.session().await.unwrap());
        assert_eq!(value(sessions.last_mut().unwrap(), "6 * 7").await, "42");
    }
    assert_eq!(bundles(&fake), ["CM", "CM"]);
}

async fn a_pool_starts_ahead() {
    let fake = FakeModal::start();
    let pool = Pool::new(fake.modal(), PoolConfig::default().size(2));
    pool.fill().await.unwrap();
    assert_eq!(fake.running().len(), 2);
    let mut session = Session::new(pool.create().await.unwrap());
    assert_eq!(value(&mut session, "1 + 1").await, "2");
    assert!(eventually(|| pool.ready() == 2).await);
    // One that died while it waited is not handed out.
    for id in fake.running() {
        fake.tell(&json!({ "kill": id }));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut session = Session::new(pool.create().await.unwrap());
    assert_eq!(value(&mut session, "2 + 2").await, "4");
    drop((session, pool));
    fake.nothing_is_left().await;
}

async fn fifty_sessions_at_once() {
    let fake = FakeModal::start();
    let modal = fake.modal();
    let sessions = (0..50).map(|index| {
        let modal = modal.clone();
        async move {
            let mut session = modal.session().await.unwrap();
            assert_eq!(value(&mut session, &format!("{index} * 2")).await, (index * 2).to_string());
            session
        }
    });
    let sessions = futures_util::future::join_all(sessions).await;
    assert_eq!(fake.running().len(), 50);
    drop(sessions);
    fake.nothing_is_left().await;
}

async fn a_hundred_megabytes_go_in_and_out() {
    let fake = FakeModal::start();
    let mut session = fake.modal().max_message_bytes(1 << 30).session().await.unwrap();
    let text = "0123456789".repeat(10 << 20);
    let cell = abyme_core::Cell::new("text = text[::-1]").variable("text", text.clone()).read("text");
    let mut observation = session.execute(cell, &abyme_core::NoHostFunctions).await.unwrap();
    assert!(observation.is_ok(), "{:?}", observation.error);
    let back = observation.variables.swap_remove("text").unwrap();
    let reversed: String = text.chars().rev().collect();
    assert!(back == abyme_core::Value::from(reversed));
}

async fn a_cell_costs_one_round_trip() {
    let fake = FakeModal::start();
    let mut session = fake.session().await;
    value(&mut session, "1").await;
    let writes = fake.calls("TaskExecStdinWrite");
    let reads = fake.calls("TaskExecStdioRead");
    for _ in 0..5 {
        value(&mut session, "1").await;
    }
    assert_eq!(fake.calls("TaskExecStdinWrite") - writes, 5, "one write, whose answer nobody waits for");
    assert_eq!(fake.calls("TaskExecStdioRead"), reads, "one stream for all answers");
    // A cell whose write is not answered ends all the same: it waits for its result, and for nothing before
    // it.
    fake.set(json!({ "hold_write_answers": true }));
    let held = tokio::time::timeout(Duration::from_secs(60), value(&mut session, "2 * 3")).await;
    assert_eq!(held.expect("the cell waits for the answer to its write"), "6");
    fake.set(json!({ "hold_write_answers": false }));
    assert_eq!(value(&mut session, "3 * 3").await, "9");
}

async fn a_saved_session_leaves_nothing_and_each_copy_is_tagged() {
    let fake = FakeModal::start();
    let modal = fake.modal().snapshots(true).tag("team", "red");
    let mut session = modal.session().await.unwrap();
    let long = "line\n".repeat(1 << 19);
    session.set_variable("docs", Value::from(long.as_str())).await.unwrap();
    session.run_code("x = 1").await.unwrap().check().unwrap();
    let saved = session.snapshot().await.unwrap();
    assert_eq!(fake.running().len(), 1, "the saved sandbox ends, and the session goes on in a copy");
    assert_eq!(value(&mut session, "x + len(docs)").await, (1 + long.len()).to_string());
    // In another program, as it were.
    let other = fake.modal().snapshots(true).tag("team", "red");
    let mut copy = Session::new(other.restore(&saved).await.unwrap());
    assert_eq!(value(&mut copy, "x + len(docs)").await, (1 + long.len()).to_string());
    // Its copy would have the network that was open.
    for changed in [other.clone().network(Network::Open), other.clone().timeout(Duration::from_secs(60))] {
        let error = changed.restore(&saved).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().contains("other settings"), "{error}");
    }
    let sandboxes = fake.sandboxes();
    assert_eq!(sandboxes.len(), 3);
    for sandbox in sandboxes.values() {
        assert_eq!((&sandbox["tags"]["team"], &sandbox["tags"]["abyme"]), (&json!("red"), &json!("sandbox")));
    }
    copy.shutdown().await.unwrap();
    drop(session);
    other.shutdown().await;
    modal.shutdown().await;
    fake.nothing_is_left().await;
}

async fn what_cannot_be_saved_goes_on() {
    let fake = FakeModal::start();
    let mut plain = fake.session().await;
    plain.run_code("x = 1").await.unwrap().check().unwrap();
    assert_eq!(plain.snapshot().await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(value(&mut plain, "x").await, "1");

    let modal = fake.modal().snapshots(true);
    let mut session = modal.session().await.unwrap();
    session.run_code("x = 1").await.unwrap().check().unwrap();
    let refused =
        json!({ "TaskSnapshotMemory": [1, "FAILED_PRECONDITION", "this account has no VM runtime"] });
    fake.set(json!({ "fail": refused }));
    let error = session.snapshot().await.unwrap_err();
    assert!(error.message().contains("this account has no VM runtime"), "{error}");
    assert_eq!(value(&mut session, "x").await, "1", "it is connected again");
    let saved = session.snapshot().await.unwrap();
    fake.set(json!({ "fail": { "SandboxRestoreV2": [1, "NOT_FOUND", "the snapshot has expired"] } }));
    let error = modal.restore(&saved).await.unwrap_err();
    assert!(error.message().contains("the snapshot has expired"), "{error}");
    assert_eq!(value(&mut session, "x").await, "1");
    drop(session);
    drop(plain);
    fake.nothing_is_left().await;
}

async fn a_driver_that_can_be_saved_ends_as_others_do() {
    let fake = FakeModal::start();
    let modal = fake.modal().snapshots(true);
    for (code, how) in [
        ("import os; os._exit(7)", "exited with code 7"),
        ("import os; os.kill(os.getpid(), 9)", "killed by signal 9"),
    ] {
        let mut session = modal.session().await.unwrap();
        let observation = session.run_code(code).await.unwrap();
        let ended = observation.session_ended.unwrap();
        assert!(ended.contains(how), "{ended}");
    }
    let mut session = modal.session().await.unwrap();
    let cell = Cell::new("while True: pass").timeout(Duration::from_millis(300));
    let observation = session.execute(cell, &NoHostFunctions).await.unwrap();
    assert!(observation.interruption.is_some() && observation.session_ended.is_none(), "{observation:?}");
    assert_eq!(value(&mut session, "6 * 7").await, "42");
}
