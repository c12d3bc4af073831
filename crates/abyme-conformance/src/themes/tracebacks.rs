//! C5: the traceback shows the cell's own lines, and none of the session's.

use crate::{case::cases, result::skip};

cases! {
    theme c05_tracebacks, clause 5;

    /// C5: the traceback has the line number in the cell, and the line.
    async fn it_has_number_and_source(s) {
        s.run("a = 1\nb = 0\n\nc = a / b  # here")
            .await
            .raises("ZeroDivisionError")
            .line_is(4)
            .traceback_has("line 4")
            .traceback_has("c = a / b  # here")
            .traceback_has("ZeroDivisionError: division by zero");
    }

    /// C5: the traceback shows the frames of functions, with their names.
    async fn it_shows_the_functions_called(s) {
        s.run(
            r#"
                def outer():
                    inner()
                def inner():
                    raise KeyError('k')
                outer()
            "#,
        )
        .await
        .traceback_has("line 5")
        .traceback_has("in outer")
        .traceback_has("in inner")
        .traceback_has("raise KeyError('k')");
    }

    /// C5: a function of an earlier cell shows the source of that cell.
    async fn it_shows_the_source_of_earlier_cells(s) {
        s.run("# first\ndef risky(n):\n    return 10 // n  # the culprit").await.ok();
        s.run("x = 1").await.ok();
        s.run("y = 2\nrisky(0)").await.traceback_has("the culprit").traceback_has("risky(0)").line_is(2);
    }

    /// C5: none of the session's own frames are in the traceback.
    async fn it_hides_the_session(s) {
        let observed = s.run("raise ValueError('one frame')").await;
        let frames = observed.exception().traceback.matches("File \"").count();
        observed.expect(frames == 1, "expected the frame of the cell, and no other");
    }

    /// C5: an exception in a library shows the library's frames below the cell's.
    async fn it_shows_libraries(s) {
        s.run("import json\njson.loads('{')")
            .await
            .raises("JSONDecodeError")
            .line_is(2)
            .traceback_has("json.loads('{')");
    }

    /// C5: causes and contexts are shown.
    async fn it_shows_the_cause(s) {
        s.run(
            r#"
                try:
                    {}['k']
                except KeyError as e:
                    raise ValueError('bad') from e
            "#,
        )
        .await
        .traceback_has("KeyError: 'k'")
        .traceback_has("direct cause")
        .traceback_has("ValueError: bad");
        s.run("try:\n    {}['k']\nfinally:\n    1 / 0")
            .await
            .traceback_has("KeyError")
            .traceback_has("During handling");
    }

    /// C5: the line is that of the statement, also in one that spans several.
    async fn a_line_of_a_long_statement_is_inside_it(s) {
        let observed = s.run("x = [\n    1,\n    2 / 0,\n]").await;
        let line = observed.exception().line.unwrap_or_default();
        observed.expect((1..=3).contains(&line), "expected a line of the statement");
    }

    /// C5: the traceback of endless recursion is short.
    async fn recursion_is_folded(s) {
        let observed = s.run("def f(): f()\nf()").await;
        observed.raises("RecursionError");
        observed.expect(
            observed.exception().traceback.lines().count() < 200,
            "expected repeated frames to be folded",
        );
    }

    /// C5: of deep recursion the first and the last frames are shown, and the cell's time is its own.
    #[limit(60)]
    async fn deep_recursion_is_short(s) {
        let code = "import sys\nsys.setrecursionlimit(20_000)\ndef f(n):\n    return f(n + 1)\nf(0)";
        let observed = s.run(s.cell(code).timeout(std::time::Duration::from_secs(20))).await;
        if observed.session_ended.is_some() || observed.restored.is_some() {
            skip("this Python has no room for such a stack");
        }
        observed.raises("RecursionError").traceback_has("line 5, in <module>").line_is(4);
        observed.traceback_has("frames omitted");
    }
}
