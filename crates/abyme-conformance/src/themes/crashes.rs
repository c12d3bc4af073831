//! C14: with crash isolation, a crash ends the session with its reason, and nothing else.

use std::time::Duration;

use abyme_core::{FunctionSpec, Value};

use crate::{
    case::cases,
    host::Host,
    machine,
    result::{fail, skip},
    session::SessionUnderTest,
};

/// Of a recursion that would go on for as long as it may.
const TIME_LIMIT: Duration = Duration::from_secs(3);

cases! {
    theme c14_crashes, clause 14;

    /// C14: `os._exit` ends the session.
    #[needs(CrashIsolated)]
    async fn an_exit_ends_the_session(s) {
        crashes(s, "import os\nos._exit(3)").await;
        crashes(s, "import os\nos._exit(0)").await;
    }

    /// C14: a segmentation fault ends the session.
    #[needs(CrashIsolated)]
    async fn a_segfault_ends_the_session(s) {
        crashes(
            s,
            r#"
                try:
                    import ctypes
                    ctypes.string_at(0)
                except ImportError:
                    pass
                import faulthandler
                faulthandler._sigsegv()
            "#,
        )
        .await;
    }

    /// C14: `os.abort` ends the session.
    #[needs(CrashIsolated)]
    async fn an_abort_ends_the_session(s) {
        crashes(s, "import os\nos.abort()").await;
    }

    /// C14: a signal that kills ends the session.
    #[needs(CrashIsolated)]
    async fn a_kill_from_inside_ends_the_session(s) {
        if s.run("import os, signal\nos.kill, signal.SIGKILL").await.error.is_some() {
            skip("there are no signals here");
        }
        crashes(s, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)").await;
    }

    /// C14: an overflow of the C stack ends the session, unless Python sees it coming.
    #[needs(CrashIsolated)]
    async fn a_stack_overflow_stays_inside(s) {
        // Since Python 3.11 a function in Python that calls itself takes no C stack, and goes on to its time
        // limit. One that C calls takes both.
        for body in ["max([0], key=f)", "f(0)"] {
            let mut session = s.another().await;
            let code = format!("import sys\nsys.setrecursionlimit(10**8)\ndef f(_): return {body}\nf(0)");
            let _ = session.try_run(session.cell(&code).timeout(TIME_LIMIT)).await;
            session.usable_or_ended().await;
        }
        s.in_step().await;
    }

    /// C14: a crash in the middle of a call of the host drops the call.
    #[needs(ConcurrentCalls, CrashIsolated, Threads)]
    async fn a_crash_drops_calls_in_flight(s) {
        let host = Host::new().wait_forever();
        let waiting = host.clone();
        let spec = FunctionSpec::new("until_it_waits", "Answers once `wait_forever` was entered.");
        s.serve(&host.clone().asynchronous(spec, move |_| {
            let waiting = waiting.clone();
            async move {
                waiting.entered(1).await;
                Ok(Value::None)
            }
        }));
        let code = r#"
            import os, threading
            threading.Thread(target=wait_forever, daemon=True).start()
            until_it_waits()
            os._exit(1)
        "#;
        s.ends(code).await;
        if !host.dropped_within(1, Duration::from_secs(3)).await {
            fail("the call in flight should be dropped with the session");
        }
    }

    /// C14: a crash between two cells is noticed by the next one.
    #[needs(CrashIsolated, Threads)]
    async fn a_crash_between_cells_is_noticed(s) {
        s.run("import os, threading\nthreading.Timer(0.5, os._exit, args=(9,)).start()").await.ok();
        tokio::time::sleep(Duration::from_millis(800)).await;
        // Whether the death was noticed before the cell was sent is a matter of luck. A late timer ends it
        // half-way.
        s.ends("import time\ntime.sleep(10)").await;
        s.is_over_or_back().await;
    }

    /// C14: where sessions are brought back (C4), a crash undoes what its cell did to variables and files,
    /// keeps its output and its submission, and the cells after it go on.
    #[needs(Restores)]
    async fn a_crash_undoes_its_cell(s) {
        let code = "import os\nrows = [1]\ndef total(): return sum(rows)\nopen('kept', 'w').write('a')";
        s.run(code).await.ok();
        let observed = s
            .run(
                r#"
                    rows.append(2)
                    del total
                    new = 1
                    open('kept', 'w').write('b')
                    open('other', 'w').write('c')
                    print('printed', flush=True)
                    answer['value'] = 5
                    answer['ready'] = True
                    os._exit(3)
                "#,
            )
            .await;
        observed.stdout_is("printed\n").submitted();
        observed.expect(observed.session_ended.is_none(), "expected the session to go on");
        let reason = observed.restored.clone().unwrap_or_default();
        observed.expect(reason.contains('3'), "expected the reason to name the exit code");
        s.run("rows, total(), 'new' in globals(), sorted(os.listdir()), open('kept').read()")
            .await
            .value_is("([1], 1, False, ['kept'], 'a')");
        s.run("rows.append(3)\nrows").await.value_is("[1, 3]");
        s.ends("import os\nos._exit(4)").await;
        s.run("rows").await.value_is("[1, 3]");
    }

    /// C14: where sessions are brought back, a kill by the time limit undoes what its cell did, as a crash
    /// does.
    #[needs(Restores)]
    async fn a_kill_undoes_its_cell(s) {
        s.run("rows = [1]").await.ok();
        let code = r#"
            rows.append(2)
            while True:
                try:
                    while True: pass
                except BaseException: pass
        "#;
        let cell = s.cell(code).timeout(Duration::from_secs(2));
        let observed = s.run(cell).await;
        observed.expect(observed.interruption == Some(abyme_core::Interruption::Killed), "expected a kill");
        observed.expect(observed.restored.is_some(), "expected the session to be brought back");
        s.run("rows").await.value_is("[1]");
        s.in_step().await;
    }

    /// C14: a session that crashed is shut down like any other, and leaves no process.
    #[needs(CrashIsolated)]
    #[alone = "counts the children of the process"]
    async fn a_crash_leaves_nothing_behind(s) {
        let before = machine::descendants();
        s.ends("import os\nos._exit(1)").await;
        s.shutdown_promptly().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        if let (Some(before), Some(after)) = (before, machine::descendants()) {
            let left: Vec<u32> = after.into_iter().filter(|process| !before.contains(process)).collect();
            if !left.is_empty() {
                fail(format!("the processes {left:?} are left behind"));
            }
        }
    }
}

/// The cell ends a session with a reason; that session stays over, and others are as before.
async fn crashes(s: &mut SessionUnderTest, code: &str) {
    s.run("x = 'untouched'").await.ok();
    let mut session = s.another().await;
    session.run("1").await.value_is("1");
    session.ends(code).await;
    session.is_over_or_back().await;
    s.run("x").await.value_is("'untouched'");
}
