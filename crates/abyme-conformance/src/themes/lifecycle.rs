//! C1: start, end, and nothing in between that starts again.

use std::time::{Duration, Instant};

use crate::{
    case::cases,
    machine,
    result::{fail, skip},
};

cases! {
    theme c01_lifecycle, clause 1;

    /// C1: `execute` starts the session by itself.
    async fn start_is_optional(s) {
        s.run("6 * 7").await.value_is("42");
    }

    /// C1: an explicit start works, and the first cell follows.
    async fn start_comes_before_the_first_cell(s) {
        started(s.start().await);
        s.run("6 * 7").await.value_is("42");
    }

    /// C1: starting again changes nothing.
    async fn start_is_idempotent(s) {
        started(s.start().await);
        s.run("x = 1").await.ok();
        started(s.start().await);
        started(s.start().await);
        s.run("x").await.value_is("1");
    }

    /// C1: after `shutdown`, `execute` and `start` answer `SessionEnded` with a reason; nothing restarts.
    async fn shutdown_is_the_end(s) {
        s.run("x = 1").await.ok();
        s.shutdown_promptly().await;
        s.has_ended().await;
    }

    /// C1: shutting down twice is fine.
    async fn shutdown_twice_is_fine(s) {
        s.run("x = 1").await.ok();
        s.shutdown_promptly().await;
        s.shutdown_promptly().await;
        s.shutdown_promptly().await;
    }

    /// C1: a session can be shut down before it was ever used, and is over then.
    async fn shutdown_before_start_is_the_end_too(s) {
        s.shutdown_promptly().await;
        s.has_ended().await;
    }

    /// C1: a session without limits on time or output is as good as any.
    async fn many_cells_keep_working(s) {
        s.run("total = 0").await.ok();
        for index in 0..500 {
            s.run(format!("total += {index}\n{index}")).await.value_is(&index.to_string());
        }
        s.run("total").await.value_is("124750");
    }

    /// C1: dropping sessions gives back descriptors and child processes, used ones and unused ones.
    #[alone = "counts the descriptors and children of the process"]
    #[limit(60)]
    async fn dropping_releases_everything(s) {
        s.run("x = 1").await.ok();
        let (Some(descriptors), Some(children)) = (machine::open_descriptors(), machine::descendants())
        else {
            skip("this system does not show the descriptors of a process");
        };
        for round in 0..10 {
            let mut other = s.another().await;
            if round % 2 == 0 {
                other.run("data = list(range(1000))").await.ok();
            }
            other.drop_session();
        }
        let begun = Instant::now();
        loop {
            let left = machine::open_descriptors().unwrap_or_default().saturating_sub(descriptors);
            let mut alive = machine::descendants().unwrap_or_default();
            alive.retain(|child| !children.contains(child));
            // A descriptor or two may belong to what the host keeps for all sessions.
            if left <= 3 && alive.is_empty() {
                break;
            }
            if begun.elapsed() > Duration::from_secs(5) {
                fail(format!(
                    "10 dropped sessions left {left} descriptors and the processes {alive:?} behind"
                ));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        s.in_step().await;
    }

    /// C1: shutting down leaves no process.
    #[alone = "counts the children of the process"]
    async fn shutdown_leaves_no_process(s) {
        let Some(children) = machine::descendants() else { skip("this system does not show processes") };
        s.run("x = 1").await.ok();
        s.shutdown_promptly().await;
        let begun = Instant::now();
        loop {
            let mut alive = machine::descendants().unwrap_or_default();
            alive.retain(|child| !children.contains(child));
            if alive.is_empty() {
                break;
            }
            if begun.elapsed() > Duration::from_secs(3) {
                fail(format!("shutdown left the processes {alive:?} behind"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// C1: a thread that a cell left behind does not hold up the shutdown.
    #[needs(ConcurrentCalls)]
    async fn shutdown_does_not_wait_for_threads(s) {
        s.run(
            "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=False).start()",
        )
        .await
        .ok();
        s.in_step().await;
        s.shutdown_promptly().await;
    }

    /// C1: exit handlers and finalisers that never end do not hold up the shutdown.
    async fn shutdown_does_not_wait_for_exit_handlers(s) {
        s.run(
            r#"
                import atexit, time
                class Forever:
                    def __del__(self, sleep=time.sleep):
                        sleep(60)
                kept = Forever()
                _ = atexit.register(time.sleep, 60)
            "#,
        )
        .await
        .ok();
        s.shutdown_promptly().await;
    }
}

#[track_caller]
fn started(result: abyme_core::Result<()>) {
    if let Err(error) = result {
        fail(format!("start failed: {error:?}"));
    }
}
