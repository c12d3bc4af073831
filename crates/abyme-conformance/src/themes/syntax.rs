//! C4: what the compiler refuses has not run.

use abyme_core::Stage;

use crate::{case::cases, observed::Observed};

cases! {
    theme c04_syntax, clause 4;

    /// C4: of a cell with a syntax error, nothing ran: no output, no assignment.
    async fn nothing_of_it_ran(s) {
        let observed = s.run("print('early')\nx = 1\nif x\n    pass").await;
        refused(&observed).raises("SyntaxError").stdout_is("");
        s.run("x").await.raises("NameError");
    }

    /// C4: a syntax error has its line, the line's text, and a caret under the place.
    async fn it_points_at_the_place(s) {
        let observed = s.run("a = 1\nb = 2\nc = = 3\nd = 4").await;
        refused(&observed).line_is(3).traceback_has("c = = 3").traceback_has("^");
    }

    /// C4: the kinds of syntax errors keep their names.
    async fn indentation_and_tabs_have_their_own_errors(s) {
        refused(&s.run("def f():\nreturn 1").await).raises("IndentationError");
        refused(&s.run("if True:\n        a = 1\n\tb = 2").await).raises("TabError");
    }

    /// C4: what only the second pass of the compiler finds is refused before anything runs, too.
    async fn the_symbol_table_counts(s) {
        for code in [
            "print('ran')\nreturn 5",
            "print('ran')\nbreak",
            "print('ran')\ndef f(a, a): pass",
            "print('ran')\nnonlocal x",
        ] {
            refused(&s.run(code).await).raises("SyntaxError").stdout_is("");
        }
    }

    /// C4: an unclosed bracket or text is refused.
    async fn what_is_unfinished_is_refused(s) {
        refused(&s.run("print('ran'").await).raises("SyntaxError");
        refused(&s.run("x = '''open").await).raises("SyntaxError");
    }

    /// C4: a NUL in the source is refused, not cut off.
    async fn a_nul_is_refused(s) {
        let observed = s.run("x = 1\n\0\nprint('ran')").await;
        observed.expect(observed.error.is_some(), "expected an exception").stdout_is("");
        s.in_step().await;
    }

    /// C4: nesting beyond the compiler's limits is refused.
    async fn nesting_has_limits(s) {
        let observed = s.run(format!("{}1{}", "(".repeat(3000), ")".repeat(3000))).await;
        observed.expect(observed.error.is_some(), "expected an exception");
        s.in_step().await;
    }

    /// C4: text that is no Python at all is refused.
    async fn prose_is_refused(s) {
        refused(&s.run("I think we should look at the first lines.").await).raises("SyntaxError");
        refused(&s.run("```python\nprint(1)\n```").await).raises("SyntaxError");
        s.in_step().await;
    }

    /// C4: a warning of the compiler is no error.
    async fn a_syntax_warning_is_no_error(s) {
        s.run(r"'\d'").await.ok().value_is(r"'\\d'");
    }

    /// C4: a `SyntaxError` that running code raises is an exception of that code.
    async fn a_syntax_error_at_run_time_is_no_compile_error(s) {
        let observed = s.run("print('ran')\nexec('1 +')").await;
        observed.raises("SyntaxError").stdout_is("ran\n").line_is(2);
        observed.expect(observed.exception().stage == Stage::Run, "the stage should be Run");
    }

    /// C4: after a refused cell the session is as it was.
    async fn the_session_is_as_before(s) {
        s.run("x = 1").await.ok();
        refused(&s.run("x = 2 +").await);
        s.run("x").await.value_is("1");
    }
}

#[track_caller]
fn refused(observed: &Observed) -> &Observed {
    observed.expect(observed.is_syntax_error(), "expected the compiler to refuse this").no_value()
}
