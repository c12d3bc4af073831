//! C14: with crash isolation, a crash ends the session with its reason, and nothing else.

use crate::{
    case::cases,
    host::Host,
    machine,
    outcome::{fail, skip},
    subject::Subject,
};

cases! {
    theme c14_crashes, clause 14;

    /// C14: `os._exit` ends the session.
    #[needs(CrashIsolated)]
    async fn an_exit_ends_the_session(s) {
        crashes(s, "import os\nos._exit(3)").await;
        crashes(s, "import os\nos._exit(0)").await;
    }

    /// C14: so does a segmentation fault.
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

    /// C14: so does `os.abort`.
    #[needs(CrashIsolated)]
    async fn an_abort_ends_the_session(s) {
        crashes(s, "import os\nos.abort()").await;
    }

    /// C14: so does a signal that kills.
    #[needs(CrashIsolated)]
    async fn a_kill_from_inside_ends_the_session(s) {
        if s.run("import os, signal\nos.kill, signal.SIGKILL").await.error.is_some() {
            skip("there are no signals here");
        }
        crashes(s, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)").await;
    }

    /// C14: so does an overflow of the C stack, unless Python sees it coming.
    #[needs(CrashIsolated)]
    async fn a_stack_overflow_stays_inside(s) {
        let mut session = s.another().await;
        let _ = session
            .try_run(
                r#"
                    import sys
                    sys.setrecursionlimit(10**8)
                    def f(): return f()
                    f()
                "#,
            )
            .await;
        session.usable_or_ended().await;
        s.in_step().await;
    }

    /// C14: a crash in the middle of a call of the host drops the call.
    #[needs(CrashIsolated, Threads)]
    async fn a_crash_drops_calls_in_flight(s) {
        let host = Host::new().wait_forever();
        s.serve(&host);
        let code = r#"
            import os, threading, time
            threading.Thread(target=wait_forever, daemon=True).start()
            time.sleep(0.3)
            os._exit(1)
        "#;
        s.ends(code).await;
        if !host.dropped_within(1, std::time::Duration::from_secs(3)).await {
            fail("the call in flight should be dropped with the session");
        }
    }

    /// C14: a crash between two cells is noticed by the next one.
    #[needs(CrashIsolated, Threads)]
    async fn a_crash_between_cells_is_noticed(s) {
        s.run("import os, threading\nthreading.Timer(0.2, os._exit, args=(9,)).start()").await.ok();
        tokio::time::sleep(std::time::Duration::from_millis(800)).await;
        // Whether the death was noticed before the cell was sent is a matter of luck.
        s.ends("1 + 1").await;
        s.has_ended().await;
    }

    /// C14: a session that crashed is shut down like any other, and leaves no process.
    #[needs(CrashIsolated)]
    #[alone = "counts the children of the process"]
    async fn a_crash_leaves_nothing_behind(s) {
        let before = machine::descendants();
        s.ends("import os\nos._exit(1)").await;
        s.shutdown_promptly().await;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        if let (Some(before), Some(after)) = (before, machine::descendants()) {
            let left: Vec<u32> = after.into_iter().filter(|process| !before.contains(process)).collect();
            if !left.is_empty() {
                fail(format!("the processes {left:?} are left behind"));
            }
        }
    }
}

/// The cell ends a session with a reason; that session stays over, and others are as before.
async fn crashes(s: &mut Subject, code: &str) {
    s.run("x = 'untouched'").await.ok();
    let mut session = s.another().await;
    session.run("1").await.value_is("1");
    session.ends(code).await;
    session.has_ended().await;
    s.run("x").await.value_is("'untouched'");
}
