//! C14: what is declared is true. Each wall is tried from inside and judged from outside; where a backend
//! declares that there is no wall, the same attempt must succeed, which shows that it is a real attempt.

use abyme_core::{Access, Isolation};

use crate::{
    case::cases,
    machine,
    result::{fail, skip},
    session::SessionUnderTest,
};

cases! {
    theme c14_capabilities, clause 14;

    /// C14: a session declares what its factory declares, from the first moment to the last.
    async fn the_declaration_does_not_change(s) {
        let declared = s.declared().clone();
        for moment in ["before the start", "after a cell", "after the end"] {
            if *s.capabilities() != declared {
                fail(format!("{moment} the session declares {:?}, not {declared:?}", s.capabilities()));
            }
            match moment {
                "before the start" => drop(s.run("1").await),
                _ => s.shutdown_promptly().await,
            }
        }
    }

    /// C14: the host's environment variables are seen if the environment is declared open, and not otherwise:
    /// neither in the session's own, nor in what the system tells of the processes above it.
    async fn the_environment_is_as_declared(s) {
        let secret = host_variable();
        let cell = s.cell(
            r#"
                import os
                found = [f'{k}={v}' for k, v in os.environ.items()]
                for process in ('self', str(os.getppid()) if hasattr(os, 'getppid') else '0', '1'):
                    path = f'/proc/{process}/environ'
                    try: found.append(open(path, 'rb').read().decode('utf-8', 'replace'))
                    except OSError: pass
                print(*found, sep=chr(10))
            "#,
        );
        let observed = s.run(cell.max_output_chars(1_000_000)).await;
        let visible = observed.ok().stdout.to_string().contains(&secret);
        agrees(s, s.declared().environment, visible, "the host's environment variables");
    }

    /// C14: other processes can be started if that is declared, and not otherwise.
    async fn processes_are_as_declared(s) {
        let before = machine::descendants().unwrap_or_default().len();
        let observed = s
            .run(
                r#"
                    import os, sys
                    tried = {}
                    def attempt(name, action):
                        try: tried[name] = action()
                        except BaseException as error: tried[name] = None
                    def fork():
                        pid = os.fork()
                        if pid == 0: os._exit(7)
                        return os.waitpid(pid, 0)[1] >> 8 == 7
                    def spawn():
                        command = [sys.executable, '-c', 'raise SystemExit(7)']
                        pid = os.posix_spawn(sys.executable, command, {})
                        return os.waitpid(pid, 0)[1] >> 8 == 7
                    def run():
                        import subprocess
                        return subprocess.run(['/bin/sh', '-c', 'exit 7']).returncode == 7
                    attempt('fork', fork)
                    attempt('spawn', spawn)
                    attempt('run', run)
                    [name for name, worked in tried.items() if worked]
                "#,
            )
            .await;
        let possible = observed.value.as_ref().is_some_and(|value| value.head != "[]");
        let how = observed.value.as_ref().map_or("nothing", |value| &value.head);
        let what = format!("starting processes (by {how})");
        agrees(s, s.declared().processes, possible, &what);
        if s.declared().processes == Access::Denied
            && machine::descendants().unwrap_or_default().len() > before + 3
        {
            fail("processes were started although that is declared as denied");
        }
    }

    /// C14: threads run if they are declared; if not, starting one raises.
    async fn threads_are_as_declared(s) {
        let observed = s
            .run(
                r#"
                    import threading
                    ran = []
                    try:
                        t = threading.Thread(target=ran.append, args=(threading.get_ident(),))
                        t.start()
                        t.join()
                    except Exception: pass
                    ran and ran[0]
                "#,
            )
            .await;
        if s.declared().threads {
            observed.expect(
                observed.value.as_ref().is_some_and(|value| value.head != "[]"),
                "expected the thread to run",
            );
        }
        s.in_step().await;
    }

    /// C14: allocating beyond the memory limit raises `MemoryError` or ends the session, and does not cost
    /// the host.
    #[needs(MemoryLimit)]
    #[alone = "fills the memory up to the session's limit"]
    #[limit(120)]
    async fn the_memory_limit_holds(s) {
        let limit = s.declared().memory_limit_bytes.unwrap_or_default();
        if limit > 8 << 30 {
            skip("the limit is more than this case dares to fill");
        }
        let before = machine::resident_bytes();
        let pieces = 2 * limit / (16 << 20);
        let code = format!(
            r#"
                kept = 'here'
                hoard = []
                for _ in range({pieces}): hoard.append(b'x' * (16 << 20))
                len(hoard)
            "#
        );
        match s.try_run(code.as_str()).await {
            Ok(observed) if observed.session_ended.is_none() && observed.restored.is_none() => {
                observed.raises("MemoryError");
                s.run("hoard = None\nkept").await.value_is("'here'");
            }
            Ok(_) => s.is_over_or_back().await,
            Err(error) if error.is_session_lost() => s.has_ended().await,
            Err(error) => fail(format!("expected MemoryError or the session's end, not {error:?}")),
        }
        if s.declared().isolation != Isolation::Wasm
            && let (Some(before), Some(after)) = (before, machine::resident_bytes())
            && after > before + (256 << 20)
        {
            fail(format!("the host grew by {} MB", (after - before) >> 20));
        }
    }

    /// C14: a single allocation beyond the limit raises `MemoryError`, and the session goes on.
    #[needs(MemoryLimit)]
    async fn a_huge_allocation_is_refused(s) {
        let limit = s.declared().memory_limit_bytes.unwrap_or_default();
        let size = limit.saturating_add(limit / 2);
        s.run(format!("kept = 1\nx = bytearray({size})")).await.raises("MemoryError");
        s.run("kept").await.value_is("1");
    }
}

/// A variable, with its value, that cargo sets for every test and no allow-list has a reason to name.
fn host_variable() -> String {
    const NAME: &str = "CARGO_MANIFEST_DIR";
    match std::env::var(NAME) {
        Ok(value) if value.len() > 4 => format!("{NAME}={value}"),
        _ => skip("not run by cargo: there is no variable to look for"),
    }
}

/// What was seen is what is declared. An open declaration of a session on another machine says nothing of
/// this one.
#[track_caller]
fn agrees(s: &SessionUnderTest, declared: Access, reached: bool, what: &str) {
    let local = matches!(s.declared().isolation, Isolation::None | Isolation::Process);
    match declared {
        Access::Open if !reached && local => fail(format!("{what}: declared open, but out of reach")),
        Access::Open => {}
        _ if reached => fail(format!("{what}: declared {declared:?}, but within reach")),
        _ => {}
    }
}
