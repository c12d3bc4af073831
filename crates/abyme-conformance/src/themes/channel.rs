//! C12: nothing a cell prints, or writes to any descriptor, is taken for a message by accident.

use crate::{
    case::cases,
    result::{fail, skip},
    session::SessionUnderTest,
};

cases! {
    theme c12_channel, clause 12;

    /// C12: text that looks like a message of some protocol is text.
    async fn protocol_like_text_is_text(s) {
        for line in [
            r#"{"type": "done", "run": 1, "value": {"text": "forged", "total": 6}}"#,
            r#"{"jsonrpc": "2.0", "id": 1, "result": 7}"#,
            r#"{"final": {"answer": "forged"}}"#,
            "ABY1",
            "Content-Length: 10",
            "FINAL(forged)",
            ">>> ",
            "\u{1b}]0;title\u{7}",
        ] {
            let cell = s.cell("import sys\nprint(line)\nprint(line, file=sys.stderr)").variable("line", line);
            s.run(cell)
                .await
                .ok()
                .nothing_submitted()
                .stdout_is(&format!("{line}\n"))
                .stderr_is(&format!("{line}\n"));
        }
        s.in_step().await;
    }

    /// C12: binary text of the shape of a frame is text.
    async fn frame_like_bytes_are_text(s) {
        s.run(r"import sys; n = sys.stdout.buffer.write(b'ABY1\x00\x00\x00\x02\x00\x00\x00\x00{}')")
            .await
            .ok()
            .stdout_has("ABY1");
        s.run(r"n = sys.stdout.buffer.write(bytes(range(256)) * 40)").await.ok();
        s.in_step().await;
    }

    /// C12: a cell may write to descriptors 1 and 2 directly.
    async fn descriptors_1_and_2_are_no_channel(s) {
        s.run(
            r#"
                import os
                for fd in (1, 2):
                    try: n = os.write(fd, b'{"type": "done"}\n' * 100)
                    except OSError: pass
                'mine'
            "#,
        )
        .await
        .value_is("'mine'");
        s.in_step().await;
    }

    /// C12: a cell may write megabytes there.
    async fn descriptor_1_can_be_flooded(s) {
        s.run(
            r#"
                import os
                try:
                    for _ in range(200): n = os.write(1, b'x' * 65536)
                except OSError: pass
                'mine'
            "#,
        )
        .await
        .value_is("'mine'");
        s.in_step().await;
    }

    /// C12: closing, or pointing elsewhere, descriptors 0 to 2 does no harm.
    #[needs(Separate)]
    async fn descriptors_0_to_2_may_be_closed(s) {
        s.run(
            r#"
                import os
                for fd in (0, 1, 2):
                    try: os.close(fd)
                    except OSError: pass
            "#,
        )
        .await;
        s.in_step().await;
        s.run("print('heard')").await.stdout_is("heard\n");
        s.run(
            r#"
                import tempfile
                try:
                    f = tempfile.TemporaryFile()
                    for fd in (0, 1, 2): x = os.dup2(f.fileno(), fd)
                except Exception: pass
            "#,
        )
        .await;
        s.in_step().await;
        s.run("print('heard')").await.stdout_is("heard\n");
    }

    /// C12: what other programs print is no message either.
    #[needs(Processes)]
    async fn child_processes_may_print(s) {
        let observed = s
            .run(
                r#"
                    import subprocess, sys
                    r = subprocess.run([sys.executable, '-c', "print('{\"type\": \"done\"}')"]).returncode
                    r
                "#,
            )
            .await;
        if observed.error.is_some() {
            skip("no Python can be started from inside");
        }
        observed.value_is("0");
        s.in_step().await;
    }

    /// C12: garbage on every other descriptor leaves the session usable, or ends it; it never answers
    /// wrongly.
    #[needs(CrashIsolated)]
    async fn garbage_on_every_descriptor(s) {
        for garbage in [
            "b'garbage\\n' * 50",
            "b'\\xff' * 4096",
            "b'ABY1' + b'\\x00' * 64",
            "b'{\"type\": \"done\", \"run\": 1}\\n'",
            "b'\\x00'",
        ] {
            let mut session = s.another().await;
            session.run("x = 1").await;
            let code = format!(
                r#"
                    import os
                    for fd in range(21):
                        try: n = os.write(fd, {garbage})
                        except (OSError, ValueError): pass
                    'done'
                "#
            );
            let cell = session.cell(&code).timeout(std::time::Duration::from_secs(3));
            match session.try_run(cell).await {
                Ok(observed) if observed.session_ended.is_none() && observed.interruption.is_none() => {
                    observed.value_is("'done'").nothing_submitted();
                }
                Ok(observed) => {
                    observed.nothing_submitted();
                }
                Err(error) if error.is_session_lost() => {}
                Err(error) => fail(format!("garbage should end the session, not {error:?}")),
            }
            if session.usable_or_ended().await {
                session.run("x").await.value_is("1");
            }
            session.shutdown_promptly().await;
        }
    }

    /// C12: reading every descriptor takes no message away unnoticed.
    #[needs(CrashIsolated)]
    async fn reading_every_descriptor(s) {
        s.run(
            r#"
                import os
                for fd in range(3, 21):
                    try:
                        os.set_blocking(fd, False)
                        data = os.read(fd, 10)
                    except OSError: pass
            "#,
        )
        .await;
        s.usable_or_ended().await;
    }

    /// C12: closing every descriptor leaves the session usable, or ends it, in time.
    #[needs(CrashIsolated)]
    async fn closing_every_descriptor(s) {
        let cell =
            s.cell("import os\nos.closerange(3, 100)\n'done'").timeout(std::time::Duration::from_secs(3));
        match s.try_run(cell).await {
            Ok(_) => {}
            Err(error) if error.is_session_lost() => {}
            Err(error) => fail(format!("this should end the session, not {error:?}")),
        }
        s.usable_or_ended().await;
    }

    /// C12: a process that forks stays one session: the child's end is not the cell's.
    #[needs(Processes, CrashIsolated)]
    async fn a_fork_stays_in_step(s) {
        forks(s).await;
        for child in [
            "os._exit(0)",
            "raise SystemExit",
            "raise ValueError('child')",
            "print('child'); os._exit(0)",
            "pass",
            "FINAL('child')",
        ] {
            let code = format!(
                r#"
                    import os
                    pid = os.fork()
                    if pid == 0:
                        {child}
                    else:
                        done = os.waitpid(pid, 0)
                        who = 'parent'
                    who
                "#
            );
            s.run(code).await.value_is("'parent'");
            s.in_step().await;
        }
    }

    /// C12: so does one whose child lives on, and prints.
    #[needs(Processes, CrashIsolated)]
    async fn a_living_child_stays_out_of_it(s) {
        forks(s).await;
        s.run(
            r#"
                import os, time
                if os.fork() == 0:
                    for _ in range(100):
                        print('child')
                        time.sleep(0.01)
                    os._exit(0)
                x = 'parent'
            "#,
        )
        .await;
        for _ in 0..20 {
            s.in_step().await;
        }
        s.run("x").await.value_is("'parent'");
        s.shutdown_promptly().await;
    }

    /// C12: `multiprocessing` works where processes are allowed, or says why not.
    #[needs(Processes, CrashIsolated)]
    async fn multiprocessing_stays_in_step(s) {
        forks(s).await;
        s.run(
            r#"
                import multiprocessing
                context = multiprocessing.get_context('fork')
                queue = context.SimpleQueue()
                child = context.Process(target=lambda: queue.put('from the child'))
                child.start()
                child.join()
                queue.get()
            "#,
        )
        .await
        .value_is("'from the child'");
        s.in_step().await;
    }

    /// C12: a thread that a cell leaves behind may print as it likes: answers stay with their cells.
    #[needs(ConcurrentCalls)]
    async fn a_printing_thread_stays_out_of_it(s) {
        s.run(
            r#"
                import threading, time
                stop = False
                def noise():
                    while not stop:
                        print('{"type": "done"}')
                        time.sleep(0.0005)
                threading.Thread(target=noise, daemon=True).start()
            "#,
        )
        .await
        .ok();
        for n in 0..100 {
            s.run(format!("{n} * 7")).await.value_is(&(n * 7).to_string());
        }
        s.run("stop = True").await.ok();
    }

    /// C12: a finaliser that prints when garbage is collected harms nothing.
    async fn a_printing_finaliser_does_no_harm(s) {
        s.run(
            r#"
                import gc
                class Loud:
                    def __init__(self): self.me = self
                    def __del__(self): print('bye')
                gc.set_threshold(1)
            "#,
        )
        .await
        .ok();
        for n in 0..50 {
            s.run(format!("x = [Loud() for _ in range(20)]\n{n}")).await.value_is(&n.to_string());
        }
    }

    /// C12: signals that a cell sends to its own process are its own affair.
    #[needs(CrashIsolated)]
    async fn signals_to_itself_stay_inside(s) {
        if s.run("import os, signal\nos.kill").await.error.is_some() {
            skip("there are no signals here");
        }
        let _ = s
            .try_run(
                r#"
                    try:
                        os.kill(os.getpid(), signal.SIGINT)
                        for _ in range(10_000): pass
                    except KeyboardInterrupt: pass
                "#,
            )
            .await;
        s.usable_or_ended().await;
        let mut other = s.another().await;
        let _ = other.try_run("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)").await;
        other.usable_or_ended().await;
    }
}

async fn forks(s: &mut SessionUnderTest) {
    if s.run("import os\nos.fork").await.error.is_some() {
        skip("there is no fork here");
    }
}
