//! C10: every cell ends at its time limit, interrupted if possible, killed if not.

use std::time::Duration;

use crate::{case::cases, host::Host, result::skip, session::SessionUnderTest};

/// Long enough to be about the limit on a loaded machine, short enough to wait for.
const LIMIT: Duration = Duration::from_millis(700);

/// The same for a cell that must have done something by then, on a machine that stalls too.
const LONG_LIMIT: Duration = Duration::from_secs(2);

/// The loop is in a function of its own because some versions of Python raise what arrives in `while True:
/// pass` outside of the `try` around it.
pub(super) const CATCHES_EVERYTHING: &str =
    "def spin():\n    while True: pass\nwhile True:\n    try: spin()\n    except BaseException: pass";

cases! {
    theme c10_time_limits, clause 10;

    /// C10: a loop that computes is interrupted; the exception is a `KeyboardInterrupt`, and the state is
    /// kept.
    #[needs(Interrupt)]
    async fn a_loop_is_interrupted(s) {
        let cell = s.cell("count = 0\nwhile True: count += 1").timeout(LONG_LIMIT);
        s.run(cell).await.interrupted_within(LONG_LIMIT).raises("KeyboardInterrupt").line_is(2);
        s.run("count > 0").await.value_is("True");
    }

    /// C10: a sleep is interrupted.
    #[needs(Interrupt)]
    async fn a_sleep_is_interrupted(s) {
        let cell = s.cell("import time\nx = 1\ntime.sleep(60)\nx = 2").timeout(LONG_LIMIT);
        s.run(cell).await.interrupted_within(LONG_LIMIT).raises("KeyboardInterrupt");
        s.run("x").await.value_is("1");
    }

    /// C10: what was printed before the limit arrives.
    #[needs(Interrupt)]
    async fn output_before_the_limit_arrives(s) {
        let cell = s
            .cell(
                r#"
                    import sys
                    print('begun')
                    print('warned', file=sys.stderr)
                    while True: pass
                "#,
            )
            .timeout(LONG_LIMIT);
        s.run(cell).await.interrupted_within(LONG_LIMIT).stdout_is("begun\n").stderr_is("warned\n");
    }

    /// C10: a regular expression that backtracks for ever ends.
    #[needs(CrashIsolated)]
    async fn a_regular_expression_is_stopped(s) {
        let cell = s.cell("import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')").timeout(LIMIT);
        stopped(s, cell).await;
    }

    /// C10: a loop in C that never looks at signals ends.
    #[needs(CrashIsolated)]
    async fn a_loop_in_c_is_stopped(s) {
        let cell = s.cell("sum(range(10**13))").timeout(LIMIT);
        stopped(s, cell).await;
    }

    /// C10: a loop that catches every exception ends.
    #[needs(CrashIsolated)]
    async fn a_loop_that_catches_everything_is_stopped(s) {
        let cell = s.cell(CATCHES_EVERYTHING).timeout(LIMIT);
        stopped(s, cell).await;
    }

    /// C10: a loop that ignores the signal ends.
    #[needs(CrashIsolated)]
    async fn a_cell_that_ignores_signals_is_stopped(s) {
        let code = r#"
            try:
                import signal
                for n in (signal.SIGINT, signal.SIGTERM): signal.signal(n, signal.SIG_IGN)
            except Exception: pass
            while True: pass
        "#;
        let cell = s.cell(code).timeout(LIMIT);
        stopped(s, cell).await;
    }

    /// C10: a wait for a lock that is never released ends, or is refused where nothing could release it.
    #[needs(CrashIsolated)]
    async fn a_deadlock_is_stopped(s) {
        let cell = s
            .cell(
                r#"
                    import threading
                    lock = threading.Lock()
                    lock.acquire()
                    lock.acquire()
                "#,
            )
            .timeout(LIMIT);
        let observed = s.run(cell).await;
        let refused = observed.error.as_ref().is_some_and(|error| error.type_name == "RuntimeError");
        if s.declared().threads || !refused {
            observed.stopped_within(LIMIT);
        }
        s.usable_or_ended().await;
    }

    /// C10: the clock stands still during host calls that stop it, and goes on after them.
    #[needs(Interrupt)]
    async fn a_host_call_can_stop_the_clock(s) {
        s.serve(&Host::new().rest().stopping_the_clock());
        let cell = s.cell("rest(1.5); rest(1.5); 'rested'").timeout(LONG_LIMIT);
        s.run(cell).await.value_is("'rested'");
        let cell = s.cell("rest(1.5)\nwhile True: pass").timeout(LIMIT);
        s.run(cell).await.interrupted_within(LIMIT + Duration::from_millis(1_500)).line_is(2);
    }

    /// C10: the total limit counts while the clock stands still.
    #[needs(Interrupt)]
    async fn the_total_limit_counts_while_the_clock_stands_still(s) {
        s.serve(&Host::new().wait_forever().stopping_the_clock());
        let cell = s.cell("wait_forever()").timeout(LONG_LIMIT).total_timeout(LIMIT);
        s.run(cell).await.interrupted_within(LIMIT).raises("KeyboardInterrupt");
    }

    /// C10: a host call that is never answered ends with its cell, and is dropped on the host.
    #[needs(Interrupt)]
    async fn a_host_call_is_stopped(s) {
        let host = Host::new().wait_forever();
        s.serve(&host);
        let cell = s.cell("x = 1\nwait_forever()").timeout(LONG_LIMIT);
        s.run(cell).await.stopped_within(LONG_LIMIT);
        if !host.dropped_within(1, Duration::from_secs(3)).await {
            crate::result::fail("the host's future should be dropped with the cell it served");
        }
        s.usable_or_ended().await;
    }

    /// C10: calls in flight from threads end, and so does the cell that waits for them.
    #[needs(ConcurrentCalls, CrashIsolated)]
    async fn host_calls_of_threads_are_stopped(s) {
        let host = Host::new().wait_forever();
        s.serve(&host);
        let code = r#"
            from concurrent.futures import ThreadPoolExecutor
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda n: wait_forever(), range(4)))
        "#;
        let cell = s.cell(code).timeout(LONG_LIMIT);
        stopped(s, cell).await;
        if !host.dropped_within(4, Duration::from_secs(3)).await {
            crate::result::fail("the host's futures should be dropped with the cell they served");
        }
    }

    /// C10: a child process that runs on and on ends with its cell.
    #[needs(Processes)]
    async fn a_child_process_does_not_hold_it(s) {
        if s.run("import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'pass'])")
            .await
            .error
            .is_some()
        {
            skip("no Python can be started from inside");
        }
        let cell =
            s.cell("subprocess.run([sys.executable, '-c', 'import time; time.sleep(20)'])").timeout(LIMIT);
        stopped(s, cell).await;
    }

    /// C10: code may clean up when it is interrupted.
    #[needs(Interrupt)]
    async fn an_interrupted_cell_may_clean_up(s) {
        let cell = s
            .cell(
                r#"
                    import time
                    cleaned = False
                    try:
                        time.sleep(60)
                    finally:
                        cleaned = True
                "#,
            )
            .timeout(LONG_LIMIT);
        s.run(cell).await.interrupted_within(LONG_LIMIT);
        s.run("cleaned").await.value_is("True");
    }

    /// C10: code that catches the interrupt and ends by itself keeps what it has; the observation still says
    /// so.
    #[needs(Interrupt)]
    async fn a_caught_interrupt_is_still_one(s) {
        let cell = s
            .cell(
                r#"
                    import time
                    try:
                        time.sleep(60)
                    except KeyboardInterrupt:
                        best = 'so far'
                "#,
            )
            .timeout(LONG_LIMIT);
        s.run(cell).await.interrupted_within(LONG_LIMIT);
        s.run("best").await.value_is("'so far'");
    }

    /// C10: a cell that is done in time is not touched by its limit, nor is the next one.
    async fn a_fast_cell_is_not_touched(s) {
        let cell = s.cell("1 + 1").timeout(LONG_LIMIT);
        s.run(cell).await.ok().value_is("2");
        s.run("import time\ntime.sleep(2.5)\n'slept'").await.ok().value_is("'slept'");
    }

    /// C10: an interrupt that comes too late for its cell never hits the next.
    #[needs(Interrupt)]
    async fn a_late_interrupt_hits_nobody(s) {
        s.run("import time").await.ok();
        for round in 0..15_u64 {
            let limit = Duration::from_millis(50);
            let cell = s.cell(&format!("time.sleep(0.0{})", 45 + round % 10)).timeout(limit);
            s.run(cell).await;
            s.in_step().await;
        }
    }

    /// C10: a cell without a limit may take its time.
    async fn no_limit_is_no_limit(s) {
        let cell = s.cell("import time\ntime.sleep(0.3)\n'done'").timeout(None);
        s.run(cell).await.ok().value_is("'done'");
    }

    /// C10: after a kill, the observation says so and the session has ended.
    #[needs(CrashIsolated)]
    async fn a_kill_ends_the_session(s) {
        let cell = s.cell(&format!("print('begun')\n{CATCHES_EVERYTHING}")).timeout(LONG_LIMIT);
        let observed = s.run(cell).await;
        observed.stopped_within(LONG_LIMIT).stdout_is("begun\n");
        if observed.interruption == Some(abyme_core::Interruption::Killed) {
            let reason = observed.session_ended.as_ref().or(observed.restored.as_ref());
            let has_reason = reason.is_some_and(|reason| !reason.is_empty());
            observed.expect(has_reason, "expected the reason of the end");
            s.is_over_or_back().await;
            s.shutdown_promptly().await;
        } else {
            s.in_step().await;
        }
    }
}

/// The limit ends the cell, one way or the other, and the session knows where it stands.
async fn stopped(s: &mut SessionUnderTest, cell: abyme_core::Cell) {
    let limit = cell.timeout.unwrap_or_default();
    s.run(cell).await.stopped_within(limit);
    s.usable_or_ended().await;
}
