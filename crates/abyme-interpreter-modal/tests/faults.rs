//! What goes wrong at Modal or on the way there: it is overcome, or said in words; nothing is left running.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::time::Duration;

use abyme_core::{
    Cell, CodeInterpreter, Error, ErrorKind, InterpreterFactoryExt, Interruption, NoHostFunctions,
};
use abyme_interpreter_modal::{Api, Modal};
use common::{FakeModal, value};
use serde_json::json;

fn main() -> std::process::ExitCode {
    run![
        router_tokens_that_expire_are_renewed,
        auth_tokens_are_renewed,
        a_wrong_clock_does_not_matter,
        dropped_streams_are_resumed,
        lost_answers_do_not_repeat_a_write,
        throttling_is_waited_for,
        a_create_whose_answer_is_lost_makes_one_sandbox,
        a_create_that_fails_leaves_nothing,
        a_server_without_the_second_kind,
        the_first_kind_has_gpus,
        a_sandbox_that_is_terminated_in_a_cell,
        a_sandbox_that_is_terminated_between_cells,
        no_cell_is_cut_by_the_end_of_the_sandbox,
        a_build_that_fails_shows_its_last_lines,
        what_is_not_there,
        tokens_that_are_refused_are_not_shown,
        quotas_and_servers_that_are_down_or_slow,
        an_image_without_python,
    ]
}

async fn refused(modal: Modal) -> Error {
    let error = modal.session().await.unwrap_err();
    let shown = format!("{error} {error:?} {modal:?}");
    assert!(!shown.contains("as-test") && !shown.contains("as-wrong"), "{shown}");
    error
}

#[track_caller]
fn says(error: &Error, kind: ErrorKind, words: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.message().contains(word), "`{word}` is not in: {error}");
    }
}

async fn router_tokens_that_expire_are_renewed() {
    for api in [Api::V1, Api::V2] {
        let fake = FakeModal::start();
        fake.set(json!({ "jwt_seconds": 0.4 }));
        let mut session = fake.modal().api(api).session().await.unwrap();
        for round in 0..3 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert_eq!(value(&mut session, &format!("{round} + 1")).await, (round + 1).to_string());
        }
        let renewals = fake.calls("SandboxGetCommandRouterAccess") + fake.calls("TaskGetCommandRouterAccess");
        assert!(renewals >= 3, "{renewals}");
    }
}

async fn auth_tokens_are_renewed() {
    let fake = FakeModal::start();
    fake.set(json!({ "auth_seconds": 1.0 }));
    let modal = fake.modal();
    for _ in 0..3 {
        let mut session = modal.session().await.unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
        session.shutdown().await.unwrap();
    }
    assert!(fake.calls("AuthTokenGet") >= 3, "{}", fake.calls("AuthTokenGet"));
    // One that the server does not take before its time is fetched anew too.
    fake.set(json!({ "auth_seconds": 1000.0 }));
    let mut session = modal.session().await.unwrap();
    fake.tell(&json!({ "revoke": true }));
    assert_eq!(value(&mut session, "1 + 1").await, "2");
    session.shutdown().await.unwrap();
    assert!(fake.running().is_empty());
}

async fn a_wrong_clock_does_not_matter() {
    for offset in [-400_000_000.0, 400_000_000.0] {
        let fake = FakeModal::start();
        fake.set(json!({ "clock_offset": offset }));
        let mut session = fake.session().await;
        assert_eq!(value(&mut session, "1 + 1").await, "2");
        session.shutdown().await.unwrap();
        assert!(fake.calls("AuthTokenGet") <= 2, "no token is fetched for each call");
    }
}

async fn dropped_streams_are_resumed() {
    let fake = FakeModal::start();
    let mut session = fake.session().await;
    fake.set(json!({ "drop_streams": 0.3, "cut_streams": 1500 }));
    for round in 0..5 {
        let cell = Cell::new("text = ''.join(map(str, range(n)))").variable("n", 6000 + round).read("text");
        let mut observation = session.execute(cell, &NoHostFunctions).await.unwrap();
        let text = observation.variables.swap_remove("text").unwrap();
        let expected: String = (0..6000 + round).map(|number| number.to_string()).collect();
        assert_eq!(text, abyme_core::Value::from(expected));
    }
    assert!(fake.calls("TaskExecStdioRead") > 10, "{}", fake.calls("TaskExecStdioRead"));
}

async fn lost_answers_do_not_repeat_a_write() {
    let fake = FakeModal::start();
    let mut session = fake.session().await;
    value(&mut session, "seen = []; 0").await;
    fake.set(json!({ "lose_write_answers": 0.5 }));
    for round in 0..20 {
        assert_eq!(
            value(&mut session, &format!("seen.append({round}); len(seen)")).await,
            (round + 1).to_string()
        );
    }
    fake.set(json!({ "lose_write_answers": 0.0 }));
    assert_eq!(value(&mut session, "seen == list(range(20))").await, "True");
    assert!(fake.tell(&json!({}))["duplicates"].as_u64().unwrap() > 0);
}

async fn throttling_is_waited_for() {
    let fake = FakeModal::start();
    fake.set(json!({ "throttle": { "SandboxCreateV2": [2, 0.2], "TaskExecStart": [1, 0.1] } }));
    let mut session = fake.session().await;
    assert_eq!(value(&mut session, "1 + 1").await, "2");
    assert_eq!(fake.calls("SandboxCreateV2"), 3);
    assert_eq!(fake.running().len(), 1);
}

async fn a_create_whose_answer_is_lost_makes_one_sandbox() {
    let fake = FakeModal::start();
    fake.set(json!({ "late": { "SandboxCreateV2": [2, "UNAVAILABLE", "lost"] } }));
    let mut session = fake.session().await;
    assert_eq!(value(&mut session, "1 + 1").await, "2");
    assert_eq!((fake.calls("SandboxCreateV2"), fake.sandboxes().len()), (3, 1));
}

async fn a_create_that_fails_leaves_nothing() {
    let fake = FakeModal::start();
    fake.set(json!({ "late": { "SandboxCreateV2": [99, "UNAVAILABLE", "lost"] } }));
    says(
        &refused(fake.modal()).await,
        ErrorKind::Unavailable,
        &["cannot make a sandbox", "status.modal.com"],
    );
    assert_eq!(fake.sandboxes().len(), 1, "one was made");
    assert!(fake.running().is_empty(), "and terminated, although its id was never told");
    // A machine that cannot be reached ends its sandbox too.
    fake.set(json!({ "late": {}, "fail": { "TaskExecStart": [99, "UNAVAILABLE", "no machine"] } }));
    says(&refused(fake.modal()).await, ErrorKind::Unavailable, &["cannot run `python3`"]);
    fake.nothing_is_left().await;
}

async fn a_server_without_the_second_kind() {
    let fake = FakeModal::start();
    fake.set(json!({ "without_v2": true }));
    let modal = fake.modal();
    for _ in 0..2 {
        let mut session = modal.session().await.unwrap();
        assert_eq!(value(&mut session, "1 + 1").await, "2");
        session.shutdown().await.unwrap();
    }
    assert!(fake.calls("SandboxCreateV2") <= 1 && fake.calls("SandboxCreate") == 2);
    assert!(fake.running().is_empty());
    says(&refused(fake.modal().api(Api::V2)).await, ErrorKind::Unavailable, &["does not know this call"]);
}

async fn the_first_kind_has_gpus() {
    let fake = FakeModal::start();
    let mut session = fake.modal().gpu("t4").session().await.unwrap();
    assert_eq!(value(&mut session, "1 + 1").await, "2");
    let sandbox = fake.sandboxes().into_values().next().unwrap();
    assert_eq!((&sandbox["gpu"], fake.calls("SandboxCreate")), (&json!("T4"), 1));
    session.shutdown().await.unwrap();
    assert!(fake.running().is_empty());
}

async fn a_sandbox_that_is_terminated_in_a_cell() {
    let fake = FakeModal::start();
    let mut session = fake.session().await;
    let id = fake.running().remove(0);
    let killing = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        fake.tell(&json!({ "kill": id }));
    };
    let cell = "import time\nprint('so far', flush=True)\ntime.sleep(30)";
    let (observation, ()) = tokio::join!(session.run_code(cell), killing);
    let observation = observation.unwrap();
    assert_eq!(observation.stdout.to_string(), "so far\n");
    let reason = observation.session_ended.unwrap();
    assert!(reason.contains("terminated from outside"), "{reason}");
    says(&session.run_code("1").await.unwrap_err(), ErrorKind::SessionEnded, &["terminated from outside"]);
}

async fn a_sandbox_that_is_terminated_between_cells() {
    let fake = FakeModal::start();
    let mut session = fake.session().await;
    assert_eq!(value(&mut session, "1 + 1").await, "2");
    fake.tell(&json!({ "kill": fake.running().remove(0) }));
    tokio::time::sleep(Duration::from_millis(500)).await;
    says(&session.run_code("1").await.unwrap_err(), ErrorKind::SessionEnded, &["terminated from outside"]);
}

async fn no_cell_is_cut_by_the_end_of_the_sandbox() {
    let fake = FakeModal::start();
    let modal = fake.modal().timeout(Duration::from_secs(10));
    let mut session = modal.session().await.unwrap();
    let cell = Cell::new("1").timeout(Duration::from_secs(9));
    let error = session.execute(cell, &NoHostFunctions).await.unwrap_err();
    says(&error, ErrorKind::SessionEnded, &["is there for", "may take 9 s", "longer life"]);
    assert!(fake.running().is_empty(), "nobody pays for what cannot be used");
    // Without a time limit it has what is left, and is interrupted before the end.
    let mut session = modal.session().await.unwrap();
    let cell = Cell::new("kept = 1\nwhile True: pass").timeout(None);
    let observation = session.execute(cell, &NoHostFunctions).await.unwrap();
    assert_eq!(observation.interruption, Some(Interruption::Interrupted), "{observation:?}");
    assert!(observation.session_ended.is_none());
}

async fn a_build_that_fails_shows_its_last_lines() {
    let fake = FakeModal::start();
    let error = refused(fake.modal().pip_packages(["FAIL"])).await;
    says(
        &error,
        ErrorKind::Config,
        &["cannot build the image", "pip install", "No matching distribution found"],
    );
    assert!(fake.sandboxes().is_empty());
}

async fn what_is_not_there() {
    let fake = FakeModal::start();
    let missing = ErrorKind::Config;
    says(
        &refused(fake.modal().secret("NONE")).await,
        missing,
        &["secret `NONE`", "modal secret create NONE"],
    );
    says(&refused(fake.modal().app("none").create_app(false)).await, missing, &["app `none`", "not found"]);
    says(&refused(fake.modal().environment("none")).await, missing, &["environment `none`", "not found"]);
    says(&refused(fake.modal().image_id("im-none")).await, missing, &["im-none not found"]);
    says(&refused(fake.modal().region("moon")).await, missing, &["unknown region moon"]);
    assert!(fake.sandboxes().is_empty());
}

async fn tokens_that_are_refused_are_not_shown() {
    let fake = FakeModal::start();
    let words = ["does not take the token", "modal token new"];
    says(&refused(fake.modal().token("ak-wrong", "as-wrong")).await, ErrorKind::Unavailable, &words);
    fake.set(json!({ "token_secret": "as-changed" }));
    let error = refused(fake.modal()).await;
    says(&error, ErrorKind::Unavailable, &words);
    assert!(!error.message().contains("ak-test"), "{error}");
    let error = refused(fake.modal().token("ak-x", "")).await;
    says(&error, ErrorKind::Unavailable, &["is none", "modal setup"]);
}

async fn quotas_and_servers_that_are_down_or_slow() {
    let fake = FakeModal::start();
    fake.set(json!({ "fail": { "SandboxCreateV2": [99, "RESOURCE_EXHAUSTED", "too many sandboxes"] } }));
    says(
        &refused(fake.modal()).await,
        ErrorKind::Unavailable,
        &["limit of the account", "too many sandboxes"],
    );
    fake.set(json!({ "fail": {}, "hang": ["SandboxCreateV2"] }));
    let slow = fake.modal().start_timeout(Duration::from_millis(500));
    says(&refused(slow).await, ErrorKind::Unavailable, &["did not answer in time"]);
    assert!(fake.running().is_empty());
    let url = fake.url.clone();
    drop(fake);
    let down = Modal::new().server_url(url).token("ak-test", "as-test");
    says(&refused(down).await, ErrorKind::Unavailable, &["was not reached"]);
}

async fn an_image_without_python() {
    let fake = FakeModal::start();
    let error = refused(fake.modal().python("python-none")).await;
    says(&error, ErrorKind::Unavailable, &["cannot run `python-none`", "image python:3.13-slim"]);
    let error = refused(fake.modal().python("false")).await;
    says(&error, ErrorKind::Unavailable, &["did not start", "exited with code 1"]);
    fake.nothing_is_left().await;
}
