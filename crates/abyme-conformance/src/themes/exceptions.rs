//! C4: every exception is an observation, and the session is in step after it.

use crate::{case::cases, result::skip, session::SessionUnderTest};

cases! {
    theme c04_exceptions, clause 4;

    /// C4: class and message of an exception arrive.
    async fn a_builtin_exception_is_observed(s) {
        s.run("1 / 0").await.raises("ZeroDivisionError").message_is("division by zero");
        s.run("int('a')").await.raises("ValueError").message_has("'a'");
        s.in_step().await;
    }

    /// C4: exceptions of the cell's own classes arrive, with their arguments.
    async fn an_own_exception_is_observed(s) {
        s.run("class Broken(Exception): pass\nraise Broken('code', 7)")
            .await
            .raises("Broken")
            .message_is("('code', 7)");
        s.in_step().await;
    }

    /// C4: an exception without a message has an empty one.
    async fn an_exception_may_have_no_message(s) {
        s.run("raise ValueError").await.raises("ValueError").message_is("");
    }

    /// C4: `SystemExit` does not end the session.
    async fn system_exit_is_observed(s) {
        s.run("x = 1").await.ok();
        s.run("raise SystemExit(3)").await.raises("SystemExit");
        s.run("import sys\nsys.exit()").await.raises("SystemExit");
        s.run("sys.exit('bye')").await.raises("SystemExit");
        s.run("x").await.value_is("1");
    }

    /// C4: `KeyboardInterrupt` raised by the code is an exception like any other, and no time limit.
    async fn keyboard_interrupt_is_observed(s) {
        let observed = s.run("raise KeyboardInterrupt('mine')").await;
        let is_limit = observed.interruption.is_some();
        observed.raises("KeyboardInterrupt").expect(!is_limit, "no time limit was involved");
        s.in_step().await;
    }

    /// C4: anything else that is derived from `BaseException` is an exception like any other.
    async fn any_base_exception_is_observed(s) {
        s.run("raise GeneratorExit").await.raises("GeneratorExit");
        s.run("class Odd(BaseException): pass\nraise Odd('odd')").await.raises("Odd").message_is("odd");
        s.run("raise StopIteration(1)").await.raises("StopIteration");
        s.in_step().await;
    }

    /// C4: an exception class named like a failure of the session is not taken for one.
    async fn a_name_does_not_make_a_failure(s) {
        for name in ["SessionEnded", "ProtocolError", "Submitted", "CodeInterpreterError", "Timeout"] {
            s.run(format!("class {name}(Exception): pass\nraise {name}('not really')"))
                .await
                .raises(name)
                .message_is("not really")
                .nothing_submitted();
        }
        s.in_step().await;
    }

    /// C4: failing asynchronous code is observed.
    async fn a_coroutine_may_fail(s) {
        s.run(
            r#"
                import asyncio
                async def f():
                    await asyncio.sleep(0)
                    raise LookupError('gone')
                asyncio.run(f())
            "#,
        )
        .await
        .raises("LookupError")
        .message_is("gone");
        s.in_step().await;
    }

    /// C4: infinite recursion is observed.
    async fn recursion_is_observed(s) {
        s.run("def f(): return f()\nf()").await.raises("RecursionError");
        s.in_step().await;
        s.run(
            r#"
                class C:
                    def __getattr__(self, name): return getattr(self, name)
                C().x
            "#,
        )
        .await
        .raises("RecursionError");
        s.in_step().await;
    }

    /// C4: an exception that cannot be shown is still one.
    async fn a_broken_exception_is_observed(s) {
        s.run(
            r#"
                class Mute(Exception):
                    def __str__(self): raise RuntimeError('no words')
                    __repr__ = __str__
                raise Mute
            "#,
        )
        .await
        .raises("Mute");
        s.run(
            r#"
                class Exits(Exception):
                    def __str__(self): raise SystemExit
                    __repr__ = __str__
                raise Exits
            "#,
        )
        .await
        .raises("Exits");
        s.run(
            r#"
                class Wrong(Exception):
                    def __str__(self): return 5
                raise Wrong
            "#,
        )
        .await
        .raises("Wrong");
        s.in_step().await;
    }

    /// C4: messages may be long, hold any character, or no character at all.
    async fn messages_may_be_anything(s) {
        s.run("raise ValueError('naïve 🦀\\nsecond line')").await.message_is("naïve 🦀\nsecond line");
        s.run(r"raise ValueError('a\x00b')").await.raises("ValueError").message_has("a");
        s.run(r"raise ValueError('half \ud83e pair')").await.raises("ValueError").message_has("half");
        let observed = s.run("raise ValueError('x' * 5_000_000)").await;
        observed.raises("ValueError").message_has("xxxx");
        observed.expect(observed.exception().traceback.len() < 1_000_000, "a traceback should stay readable");
        s.in_step().await;
    }

    /// C4: an exception group is observed, with its members.
    async fn an_exception_group_is_observed(s) {
        if !has_groups(s).await {
            skip("this Python has no exception groups");
        }
        s.run("raise ExceptionGroup('two', [ValueError('first'), KeyError('second')])")
            .await
            .raises("ExceptionGroup")
            .traceback_has("first")
            .traceback_has("second");
        s.in_step().await;
    }

    /// C4: an exception in a finaliser belongs to nobody, and does not end the cell.
    async fn a_finaliser_may_fail(s) {
        s.run(
            r#"
                class D:
                    def __del__(self): raise ValueError('late')
                d = D()
                del d
                'went on'
            "#,
        )
        .await
        .value_is("'went on'");
        s.in_step().await;
    }

    /// C4: an exception in another thread does not end the cell.
    #[needs(ConcurrentCalls)]
    async fn a_thread_may_fail(s) {
        s.run(
            r#"
                import threading
                t = threading.Thread(target=lambda: 1 / 0)
                t.start()
                t.join()
                'went on'
            "#,
        )
        .await
        .value_is("'went on'");
        s.in_step().await;
    }

    /// C4: an exit in a thread ends that thread alone.
    #[needs(ConcurrentCalls)]
    async fn a_thread_may_exit(s) {
        s.run(
            r#"
                import threading, sys
                t = threading.Thread(target=sys.exit)
                t.start()
                t.join()
                'went on'
            "#,
        )
        .await
        .value_is("'went on'");
        s.in_step().await;
    }

    /// C4: the interpreter's own interrupt function is an exception like any other.
    async fn interrupt_main_is_observed(s) {
        s.run(
            r#"
                import _thread
                try:
                    _thread.interrupt_main()
                    for _ in range(1000): pass
                except KeyboardInterrupt: pass
            "#,
        )
        .await;
        s.in_step().await;
    }

    /// C4: a caught exception is no exception.
    async fn a_caught_exception_is_none(s) {
        s.run(
            r#"
                try:
                    1 / 0
                except ZeroDivisionError as error:
                    seen = str(error)
                seen
            "#,
        )
        .await
        .ok()
        .value_is("'division by zero'");
    }
}

async fn has_groups(s: &mut SessionUnderTest) -> bool {
    s.run("'ExceptionGroup' in dir(__builtins__)").await.whole_value() == Some("True")
}
