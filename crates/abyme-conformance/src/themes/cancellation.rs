//! C13: a dropped `execute` leaves the session usable or ended, never out of step.

use std::time::Duration;

use futures_util::FutureExt;

use super::time_limits::CATCHES_EVERYTHING;
use crate::{case::cases, host::Host, result::fail, session::SessionUnderTest};

cases! {
    theme c13_cancellation, clause 13;

    /// C13: a cell can be dropped when it was polled once, before anything could happen.
    async fn dropped_at_once(s) {
        s.run("x = 'kept'").await.ok();
        s.abandon("y = 'dropped'\ny", async {}.boxed()).await;
        steady(s).await;
    }

    /// C13: a cell can be dropped before the session was started.
    async fn dropped_while_starting(s) {
        s.abandon("'dropped'", async {}.boxed()).await;
        steady(s).await;
    }

    /// C13: a `start` can be dropped.
    async fn a_dropped_start(s) {
        let _ = tokio::time::timeout(Duration::from_micros(200), s.start()).await;
        steady(s).await;
    }

    /// C13: a cell can be dropped while it computes.
    async fn dropped_while_computing(s) {
        s.abandon("n = 0\nwhile n < 10**9: n += 1\n'dropped'", after(150)).await;
        steady(s).await;
    }

    /// C13: a cell can be dropped while it sleeps.
    async fn dropped_while_sleeping(s) {
        s.abandon("import time\nprint('dropped')\ntime.sleep(20)\n'dropped'", after(150)).await;
        steady(s).await;
    }

    /// C13: a cell can be dropped while it floods its output.
    async fn dropped_in_a_flood(s) {
        s.abandon("while True: print('dropped' * 1000)", after(150)).await;
        steady(s).await;
    }

    /// C13: a cell can be dropped while its variables go in.
    async fn dropped_while_sending(s) {
        s.run("1").await.ok();
        let cell = s.cell("len(big)").variable("big", "é".repeat(10_000_000));
        s.abandon(cell, after(2)).await;
        steady(s).await;
    }

    /// C13: a cell can be dropped while its results come out.
    async fn dropped_while_receiving(s) {
        s.run("big = 'é' * 10_000_000").await.ok();
        for pause in [1, 5, 10, 20] {
            let cell = s.cell("").read("big");
            s.abandon(cell, after(pause)).await;
            if !steady(s).await {
                break;
            }
        }
    }

    /// C13: a cell can be dropped while the host serves its call, which is dropped with it.
    async fn dropped_in_a_host_call(s) {
        let host = Host::new().wait_forever();
        s.serve(&host);
        s.abandon("wait_forever()\n'dropped'", host.entered(1).boxed()).await;
        if !host.dropped_within(1, Duration::from_secs(3)).await {
            fail("the call in flight should be dropped with the cell");
        }
        steady(s).await;
    }

    /// C13: a cell can be dropped while four of its calls are in flight.
    #[needs(ConcurrentCalls)]
    async fn dropped_in_four_host_calls(s) {
        let host = Host::new().wait_forever();
        s.serve(&host);
        let code = r#"
            import threading
            ts = [threading.Thread(target=wait_forever, daemon=True) for _ in range(4)]
            for t in ts: t.start()
            for t in ts: t.join()
        "#;
        s.abandon(code, host.entered(4).boxed()).await;
        if !host.dropped_within(4, Duration::from_secs(3)).await {
            fail("the calls in flight should be dropped with the cell");
        }
        steady(s).await;
    }

    /// C13: the submission of a cell that is dropped after it is not credited to the next cell.
    async fn dropped_after_a_submission(s) {
        let host = Host::new().wait_forever();
        s.serve(&host);
        let code = r#"
            try: FINAL('stale')
            except BaseException: pass
            print('stale')
            wait_forever()
        "#;
        s.abandon(code, host.entered(1).boxed()).await;
        steady(s).await;
    }

    /// C13: the changes and reads of a dropped cell do not show up later.
    async fn dropped_with_variables(s) {
        let host = Host::new().wait_forever();
        s.serve(&host);
        let cell = s.cell("stale = given\nwait_forever()").variable("given", "stale").read("stale");
        s.abandon(cell, host.entered(1).boxed()).await;
        if let Ok(observed) = s.try_run("'own'").await
            && observed.session_ended.is_none()
        {
            observed.value_is("'own'").stdout_is("");
            observed.expect(observed.variables.is_empty(), "expected no variables: none were asked for");
        }
    }

    /// C13: a cell can be dropped whose code catches every exception and goes on.
    #[needs(CrashIsolated)]
    async fn dropped_in_a_loop_that_catches_everything(s) {
        s.abandon(CATCHES_EVERYTHING, after(150)).await;
        steady(s).await;
    }

    /// C13: a short cell can be dropped at any moment.
    #[limit(60)]
    async fn dropped_at_any_moment(s) {
        s.serve(&Host::new().echo());
        let mut session = s.another().await;
        session.serve(&Host::new().echo());
        for round in 0..40_u64 {
            let code = format!(
                r#"
                    print('dropped')
                    x = [echo(n) for n in range({round})]
                    'dropped'
                "#
            );
            session.abandon(code, micros(round * 60)).await;
            if !steady(&mut session).await {
                session = s.another().await;
                session.serve(&Host::new().echo());
            }
        }
    }

    /// C13: dropped again and again while the session cleans up after a cell that holds on for a while: what
    /// that prints and calls reaches no other cell.
    async fn dropped_while_cleaning_up(s) {
        let host = Host::new().wait_forever().echo();
        s.serve(&host);
        let code = r#"
            import time
            for n in range(20):
                try:
                    if n: time.sleep(0.02)
                    else: wait_forever()
                except BaseException: pass
                try: print('stale'); echo('stale')
                except BaseException: pass
        "#;
        s.abandon(code, host.entered(1).boxed()).await;
        let calls = host.calls().len();
        for _ in 0..4 {
            let _ = tokio::time::timeout(Duration::from_millis(10), s.start()).await;
            s.abandon("'dropped'", after(10)).await;
        }
        if let Ok(observed) = s.try_run("'own'").await
            && observed.session_ended.is_none()
        {
            observed.value_is("'own'").stdout_is("");
        }
        if host.calls().len() != calls {
            fail("the dropped cell should not call the host any more");
        }
        steady(s).await;
    }

    /// C13: after a dropped cell, shutting down is prompt.
    async fn shutdown_after_a_drop_is_prompt(s) {
        s.abandon("import time\ntime.sleep(30)", after(150)).await;
        s.shutdown_promptly().await;
        s.has_ended().await;
    }
}

/// The session is usable, and several cells in a row get their own answers; or it has ended. Answers which.
async fn steady(s: &mut SessionUnderTest) -> bool {
    for _ in 0..3 {
        if !s.usable_or_ended().await {
            return false;
        }
    }
    true
}

fn after(millis: u64) -> futures_util::future::BoxFuture<'static, ()> {
    micros(millis * 1000)
}

fn micros(micros: u64) -> futures_util::future::BoxFuture<'static, ()> {
    tokio::time::sleep(Duration::from_micros(micros)).boxed()
}
