//! C1 and C6 as the core's `Session` enforces them around this backend.

use std::time::Duration;

use abyme_core::{ErrorKind, Session, Value};

use crate::{
    case::cases,
    observed::{assert_same, plain},
    result::fail,
};

cases! {
    theme c01_session, clause 1;

    /// C1: the wrapper runs code, and keeps state.
    async fn a_session_is_a_plain_repl(s) {
        let mut repl = s.wrapped();
        done(repl.set_variable("context", "a very long text").await);
        let observed = done(repl.run_code("len(context)").await);
        check(observed.value.is_some_and(|value| value.head == "16"), "len(context) should be 16");
    }

    /// C1: after `shutdown` every method of the wrapper answers `SessionEnded`.
    async fn a_session_knows_its_end(s) {
        let mut repl = s.wrapped();
        let _ = done(repl.run_code("x = 1").await);
        done(abyme_core::CodeInterpreter::shutdown(&mut repl).await);
        check(repl.ended().is_some(), "the session should say why it ended");
        ended(repl.run_code("x").await.map(drop));
        ended(repl.set_variable("y", 1).await);
        ended(repl.get_variable("x").await.map(drop));
        ended(abyme_core::CodeInterpreter::start(&mut repl).await);
    }

    /// C1: a crash ends the wrapper's session as well, and it remembers the reason.
    #[needs(CrashIsolated)]
    async fn a_session_remembers_a_crash(s) {
        let restores = s.declared().restores;
        let mut repl = s.wrapped();
        let _ = repl.run_code("import os\nos._exit(3)").await;
        if restores {
            check(repl.ended().is_none(), "the session should not think that it is over");
            check(repl.run_code("1").await.is_ok(), "the session should go on");
            return;
        }
        check(
            repl.ended().is_some_and(|reason| !reason.is_empty()),
            "the session should know that it crashed",
        );
        ended(repl.run_code("1").await.map(drop));
    }

    /// C1: a submission ends the task, not the session.
    async fn a_session_remembers_its_submission(s) {
        let mut repl = s.wrapped();
        check(!repl.is_terminated(), "nothing was submitted yet");
        let observed = done(repl.run_code("FINAL('done')").await);
        check(repl.is_terminated() && observed.submission.is_some(), "FINAL should terminate");
        let observed = done(repl.run_code("1 + 1").await);
        check(observed.value.is_some_and(|value| value.head == "2"), "the session should go on");
    }

    /// C1: variables go in and come out as they are.
    async fn a_session_gives_back_variables(s) {
        let mut repl = s.wrapped();
        let value = plain(serde_json::json!({"a": [1, 2.5, null, true, "é"]}));
        done(repl.set_variable("data", value.clone()).await);
        assert_same(&done(repl.get_variable("data").await).unwrap_or_default(), &value, "data");
        check(done(repl.get_variable("missing").await).is_none(), "there is no such variable");
    }

    /// C1: a variable that cannot be converted is an error of the caller's, and the session goes on.
    async fn a_session_refuses_to_read_what_contains_itself(s) {
        let mut repl = s.wrapped();
        let _ = done(repl.run_code("x = []\nx.append(x)").await);
        match repl.get_variable("x").await {
            Err(error) if error.kind() == ErrorKind::InvalidInput => {}
            other => fail(format!("expected InvalidInput, got {other:?}")),
        }
        done(repl.set_variable("y", 1).await);
    }

    /// C1: names that are none, or are taken, never reach the interpreter.
    async fn a_session_refuses_bad_names(s) {
        let mut repl = s.wrapped();
        for name in [
            "",
            "1x",
            "a b",
            "x; import os",
            "class",
            "None",
            "SUBMIT",
            "llm_query",
            "a.b",
            "é\u{200b}",
        ] {
            match repl.set_variable(name, Value::from(1)).await {
                Err(error) if error.kind() == ErrorKind::InvalidInput => {}
                other => fail(format!("setting {name:?} should be InvalidInput, got {other:?}")),
            }
        }
        for name in ["naïve", "answer"] {
            done(repl.set_variable(name, 1).await);
        }
    }

    /// C1: the wrapper's own time limit reaches the cells.
    #[needs(Interrupt)]
    async fn a_session_has_a_time_limit(s) {
        let mut repl = s.wrapped().cell_timeout(Duration::from_millis(500));
        let observed = done(repl.run_code("while True: pass").await);
        check(observed.interruption.is_some(), "the time limit should end the cell");
    }
}

#[track_caller]
fn done<T>(result: abyme_core::Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => fail(format!("the session refused: {error:?}")),
    }
}

#[track_caller]
fn ended(result: abyme_core::Result<()>) {
    match result {
        Err(error) if error.kind() == ErrorKind::SessionEnded => {}
        other => fail(format!("expected SessionEnded, got {other:?}")),
    }
}

#[track_caller]
fn check(holds: bool, what: &str) {
    if !holds {
        fail(what);
    }
}

/// The wrapper is what most callers hold: it must be possible to send it elsewhere.
const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<Session>();
};
