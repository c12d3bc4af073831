//! C12: a cell may break any part of Python it can reach; the next cell works.

use abyme_core::Via;

use crate::{case::cases, host::Host, observed::plain, result::fail, session::SessionUnderTest};

cases! {
    theme c12_monkeypatches, clause 12;

    /// C12: `json` may be broken.
    async fn json_may_be_broken(s) {
        survives(
            s,
            r#"
                import json, json.decoder, json.encoder
                json.dumps = json.loads = json.JSONEncoder = json.JSONDecoder = None
                json.encoder.c_make_encoder = json.decoder.scanner = None
            "#,
        )
        .await;
    }

    /// C12: the functions of `os` may be broken.
    async fn os_may_be_broken(s) {
        survives(
            s,
            r#"
                import os
                def broken(*a, **k): raise OSError('broken')
                names = 'read write readv writev open close dup dup2 pipe poll getpid fstat fsencode'
                for name in names.split():
                    if hasattr(os, name): setattr(os, name, broken)
            "#,
        )
        .await;
    }

    /// C12: the functions of `time`, `select`, `threading`, `signal` and `struct` may be broken.
    async fn time_and_threads_may_be_broken(s) {
        survives(
            s,
            r#"
                import time, threading, struct, select, signal, io, traceback, linecache
                for m in (time, threading, struct, select, signal, io, traceback, linecache):
                    for name in dir(m):
                        if not name.startswith('_'):
                            try: setattr(m, name, None)
                            except Exception: pass
            "#,
        )
        .await;
    }

    /// C12: builtin functions may be rebound; they are back in the next cell.
    async fn builtins_may_be_rebound(s) {
        survives(
            s,
            r#"
                import builtins
                names = 'print len isinstance type str repr open range list dict set tuple int getattr'
                for name in names.split() + 'hasattr callable compile exec eval id iter next'.split():
                    setattr(builtins, name, None)
            "#,
        )
        .await;
        s.run("len(str([1, 2]))").await.value_is("6");
    }

    /// C12: exceptions may be rebound.
    async fn exceptions_may_be_rebound(s) {
        survives(s, r#"
            import builtins
            names = 'BaseException Exception KeyboardInterrupt SystemExit ValueError TypeError RuntimeError'
            for name in names.split() + ['OSError']: setattr(builtins, name, int)
        "#).await;
        s.run("1 / 0").await.raises("ZeroDivisionError");
    }

    /// C12: builtins may be deleted, `__import__` and `__build_class__` included.
    async fn builtins_may_be_deleted(s) {
        survives(
            s,
            r#"
                import builtins
                for name in 'len print __import__ __build_class__ Exception'.split(): delattr(builtins, name)
            "#,
        )
        .await;
        s.run("import string\nclass C: n = len('abc')\nC.n").await.value_is("3");
    }

    /// C12: `sys.stdout` and `sys.stderr` may be closed, replaced or deleted.
    async fn the_streams_may_be_broken(s) {
        for code in [
            "import sys\nsys.stdout.close(); sys.stderr.close()",
            "sys.stdout = sys.stderr = None",
            "sys.stdout = open(__import__('os').devnull, 'w')",
            "del sys.stdout, sys.stderr",
            "sys.__stdout__ = sys.__stderr__ = None",
            "sys.stdout.write = None",
            "sys.stdout = 5",
        ] {
            let _ = s.run(code).await;
            s.run("import sys\nprint('heard')\nprint('too', file=sys.stderr)")
                .await
                .stdout_is("heard\n")
                .stderr_is("too\n");
        }
        survives(s, "").await;
    }

    /// C12: the hooks of `sys` may be broken.
    async fn the_hooks_may_be_broken(s) {
        survives(s, "import sys\nsys.excepthook = sys.displayhook = sys.unraisablehook = None").await;
        survives(s, "sys.path.clear(); sys.meta_path.clear(); sys.path_hooks.clear()").await;
        survives(s, "sys.exit = sys.exc_info = sys.getrecursionlimit = sys.setrecursionlimit = None").await;
        s.run("1 / 0").await.raises("ZeroDivisionError").line_is(1);
    }

    /// C12: Python removes no audit hook. One that lets no code run any more ends the session, which says so.
    #[needs(CrashIsolated)]
    async fn audit_hooks_that_raise_end_the_session(s) {
        // The driver's own code fails with the first hook, before it can look why.
        let some = [("event == 'compile'", "audit hook"), ("event == 'exec'", "audit hook")];
        for (events, said) in [("True", "")].into_iter().chain(some) {
            let mut session = s.another().await;
            let code = format!(
                "import sys\n\
                 def hook(event, args):\n    \
                     if {events}: raise RuntimeError('no')\n\
                 sys.addaudithook(hook)"
            );
            let reason = session.ends(code).await;
            if !reason.contains(said) {
                fail(format!("the reason should name the hook: {reason}"));
            }
            session.is_over_or_back().await;
        }
        let harmless = "import sys\nsys.addaudithook(lambda event, args: None)";
        survives(s, harmless).await;
    }

    /// C12: tracing and profiling functions may be left behind.
    async fn tracing_may_be_left_on(s) {
        survives(
            s,
            r#"
                import sys
                def tracer(*a): raise RuntimeError('traced')
                sys.setprofile(tracer)
            "#,
        )
        .await;
        survives(s, "sys.setprofile(None)\nsys.settrace(tracer)").await;
    }

    /// C12: the recursion limit may be left too low, or too high.
    async fn the_recursion_limit_may_be_moved(s) {
        let _ = s.run("import sys\nsys.setrecursionlimit(60)").await;
        survives(s, "").await;
        survives(s, "sys.setrecursionlimit(20_000)").await;
    }

    /// C12: the module table may lose entries, `__main__` included.
    async fn modules_may_be_deleted(s) {
        survives(
            s,
            r#"
                import sys
                for name in '__main__ builtins os io json traceback linecache re threading'.split():
                    sys.modules.pop(name, None)
            "#,
        )
        .await;
        s.run("import __main__\n__main__.__name__").await.value_is("'__main__'");
        survives(s, "import sys\nsys.modules.clear()").await;
        survives(
            s,
            r#"
                for name in 'traceback linecache asyncio enum'.split(): sys.modules[name] = 5
            "#,
        )
        .await;
        s.run("1 / 0").await.raises("ZeroDivisionError");
    }

    /// C12: warnings may be errors, the collector off, the locale odd, and the working directory gone.
    async fn settings_may_be_odd(s) {
        survives(
            s,
            r#"
                import warnings, gc
                warnings.simplefilter('error')
                gc.disable()
            "#,
        )
        .await;
        survives(
            s,
            r#"
                import os, tempfile
                try:
                    d = tempfile.mkdtemp()
                    os.chdir(d)
                    os.rmdir(d)
                except OSError: pass
            "#,
        )
        .await;
        survives(s, "import os\nos.environ.clear()").await;
        survives(
            s,
            r#"
                import decimal, random
                decimal.getcontext().prec = 1
                random.seed(0)
            "#,
        )
        .await;
    }

    /// C12: what a thread breaks does not matter: the session's own functions keep working.
    async fn host_functions_keep_working(s) {
        s.serve(&Host::new().echo());
        let _ = s
            .run(
                r#"
                    import json, os, sys, builtins
                    json.dumps = os.write = os.read = os.writev = None
                    builtins.isinstance = builtins.dict = builtins.type = None
                "#,
            )
            .await;
        s.run("echo({'a': [1, b'x']})").await.value_is("{'a': [1, b'x']}");
        s.run(
            r#"
                builtins.len = builtins.str = builtins.list = None
                x = echo([1])
                x
            "#,
        )
        .await
        .value_is("[1]");
        s.run("del builtins.ValueError, builtins.TypeError, builtins.RuntimeError\necho(2)")
            .await
            .value_is("2");
    }

    /// C12: submissions keep working in the very cell that broke everything.
    async fn submissions_keep_working(s) {
        let code = r#"
            import json, builtins, sys
            json.dumps = None
            for name in 'len isinstance list dict type str'.split(): setattr(builtins, name, None)
            sys.modules.pop('json')
            FINAL({'a': (1, 2)})
        "#;
        s.run(code)
            .await
            .submitted_value(Via::Final, plain(serde_json::json!({"a": [1, 2]})));
        s.in_step().await;
    }
}

/// After a cell that breaks something, whatever it says itself, the next ones work in every respect.
async fn survives(s: &mut SessionUnderTest, code: &str) {
    let _ = s.run(code).await;
    s.in_step().await;
    let cell = s.cell("y = [x, {'k': 1.5}]\ny").variable("x", "é").read("y");
    s.run(cell).await.ok().value_is("['é', {'k': 1.5}]");
}
