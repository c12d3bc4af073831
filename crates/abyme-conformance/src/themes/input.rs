//! C12: nobody sits at the keyboard, and code that asks is told so.

use std::time::Duration;

use crate::{case::cases, session::SessionUnderTest};

cases! {
    theme c12_input, clause 12;

    /// C12: `input()` raises.
    async fn input_raises(s) {
        asks(s, "input()").await.raises("EOFError").message_has("nobody can type here");
        asks(s, "input('name? ')").await.raises("EOFError").traceback_has("nobody can type here");
        s.in_step().await;
    }

    /// C12: `sys.stdin` is at its end, as an empty file is.
    async fn stdin_is_at_its_end(s) {
        for (code, value) in [
            ("import sys\nsys.stdin.read()", "''"),
            ("sys.stdin.readline()", "''"),
            ("[line for line in sys.stdin]", "[]"),
            ("sys.stdin.readlines()", "[]"),
            ("sys.stdin.buffer.read()", "b''"),
        ] {
            asks(s, code).await.value_is(value);
        }
        s.in_step().await;
    }

    /// C12: reading descriptor 0 takes no message away.
    async fn descriptor_0_is_no_channel(s) {
        asks(
            s,
            r#"
                import os
                try: data = os.read(0, 100_000)
                except OSError: data = b''
                len(data)
            "#,
        )
        .await
        .value_is("0");
        s.in_step().await;
    }

    /// C12: reading descriptor 0 as a file takes no message away.
    #[needs(Separate)]
    async fn descriptor_0_may_be_opened(s) {
        asks(
            s,
            r#"
                try: data = open(0, closefd=False).read()
                except OSError: data = ''
                len(data)
            "#,
        )
        .await
        .value_is("0");
        asks(
            s,
            r#"
                import sys
                sys.stdin = open(0, closefd=False)
                try: input()
                except (EOFError, OSError): pass
            "#,
        )
        .await;
        s.in_step().await;
    }

    /// C12: tampering with `input` or `sys.stdin` does not last.
    async fn tampering_does_not_last(s) {
        s.run(
            r#"
                import sys, io, builtins
                sys.stdin = io.StringIO('forged')
                builtins.input = lambda *a: 'forged'
                input()
            "#,
        )
        .await
        .value_is("'forged'");
        asks(s, "input()").await.raises("EOFError");
    }

    /// C12: `getpass`, `breakpoint` and `pdb` do not wait for anyone either.
    async fn the_debugger_does_not_wait(s) {
        asks(s, "import pdb\npdb.set_trace()\nx = 1").await;
        s.in_step().await;
        asks(s, "breakpoint()\nx = 1").await;
        s.in_step().await;
    }
}

/// Runs a cell that could hang. The time limit must not be what ends it.
#[track_caller]
fn asks<'a>(
    s: &'a mut SessionUnderTest,
    code: &str,
) -> impl Future<Output = crate::observed::Observed> + Send + 'a {
    let cell = s.cell(code).timeout(Duration::from_secs(8));
    let running = s.run(cell);
    async move {
        let observed = running.await;
        observed.expect(observed.interruption.is_none(), "asking for input should not hang");
        observed
    }
}
