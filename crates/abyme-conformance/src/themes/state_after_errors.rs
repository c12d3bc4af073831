//! C3: what was done before an exception stays.

use crate::case::cases;

cases! {
    theme c03_state_after_errors, clause 3;

    /// C3: assignments made before the exception stay.
    async fn assignments_stay(s) {
        s.run("a = 1\nb = [a]\nb.append(2)\n1 / 0\nc = 3").await.raises("ZeroDivisionError");
        s.run("(a, b, 'c' in globals())").await.value_is("(1, [1, 2], False)");
    }

    /// C3: functions, classes and imports made before the exception stay.
    async fn definitions_stay(s) {
        s.run(
            r#"
                import fractions
                def f(): return 1
                class C: pass
                raise ValueError('no')
            "#,
        )
        .await
        .raises("ValueError");
        s.run("(f(), C.__name__, str(fractions.Fraction(1, 2)))").await.value_is("(1, 'C', '1/2')");
    }

    /// C3: a loop keeps the rounds it finished.
    async fn a_loop_keeps_its_progress(s) {
        s.run("done = []\nfor n in [1, 2, 0, 4]:\n    done.append(4 // n)").await.raises("ZeroDivisionError");
        s.run("(done, n)").await.value_is("([4, 2], 0)");
    }

    /// C3: output printed before the exception arrives, with the exception.
    async fn stdout_stays(s) {
        s.run("print('before')\nprint('half', end='')\nboom\nprint('after')")
            .await
            .raises("NameError")
            .stdout_is("before\nhalf");
    }

    /// C3: what was written to stderr before the exception arrives, with the exception.
    async fn stderr_stays(s) {
        s.run("import sys\nprint('careful', file=sys.stderr)\n[][1]")
            .await
            .raises("IndexError")
            .stderr_is("careful\n");
    }

    /// C3: an exception in the last expression leaves the statements before it done, and there is no value.
    async fn the_last_expression_may_fail(s) {
        s.run("x = 7\nx + 'a'").await.raises("TypeError").no_value();
        s.run("x").await.value_is("7");
    }

    /// C3: variables are read after an exception too.
    async fn reads_follow_an_exception(s) {
        let cell = s.cell("x = 7\n1 / 0").read("x");
        s.run(cell).await.raises("ZeroDivisionError").variable_is("x", 7);
    }

    /// C3: variables set by the cell stay, whatever its code does.
    async fn set_variables_stay(s) {
        let cell = s.cell("1 / 0").variable("given", "kept");
        s.run(cell).await.raises("ZeroDivisionError");
        s.run("given").await.value_is("'kept'");
    }

    /// C3: a hundred failing cells in a row leave the session as it was.
    async fn many_errors_do_no_harm(s) {
        s.run("count = 0").await.ok();
        for _ in 0..100 {
            s.run("count += 1\nraise RuntimeError(count)").await.raises("RuntimeError");
        }
        s.run("count").await.value_is("100");
    }
}
