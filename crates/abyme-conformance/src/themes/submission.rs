//! C7: the ways to submit, and that nothing can lose a submission.

use std::time::Duration;

use abyme_core::{Submitted, Value, Via};
use serde_json::json;

use super::time_limits::CATCHES_EVERYTHING;
use crate::{
    case::cases,
    host::Host,
    observed::{assert_same, plain},
};

cases! {
    theme c07_submission, clause 7;

    /// C7: `SUBMIT` takes values in the order of the outputs.
    async fn submit_takes_positions(s) {
        s.outputs("answer: str, score: float, tags: list[str]");
        s.run("SUBMIT('yes', 0.5, ['a'])")
            .await
            .ok()
            .submitted_fields(json!({"answer": "yes", "score": 0.5, "tags": ["a"]}));
    }

    /// C7: `SUBMIT` takes values by name, in any order.
    async fn submit_takes_names(s) {
        s.outputs("answer: str, score: float");
        s.run("SUBMIT(score=1.0, answer='yes')")
            .await
            .ok()
            .submitted_fields(json!({"answer": "yes", "score": 1.0}));
    }

    /// C7: `SUBMIT` takes some values in order and others by name, and variables as values.
    async fn submit_takes_both(s) {
        s.outputs("answer: str, score: float");
        s.run("found = 'yes'\nSUBMIT(found, score=2)")
            .await
            .submitted_fields(json!({"answer": "yes", "score": 2}));
    }

    /// C7: `None` is a value, and a list is one value.
    async fn submit_takes_none_and_lists(s) {
        s.outputs("items: list");
        s.run("SUBMIT([1, 2])").await.submitted_fields(json!({"items": [1, 2]}));
        s.run("SUBMIT(None)").await.submitted_fields(json!({"items": null}));
    }

    /// C7: outputs may be called like builtins or like the session's own parts.
    async fn outputs_may_have_any_name(s) {
        s.outputs("type: str, self: str, Submitted: str, args: str, value: str");
        s.run("SUBMIT(type='a', self='b', Submitted='c', args='d', value='e')")
            .await
            .submitted_fields(json!({"type": "a", "self": "b", "Submitted": "c", "args": "d", "value": "e"}));
    }

    /// C7: `SUBMIT` takes one dict of all outputs, as `FINAL` does; of one output, unless that may be a dict.
    async fn submit_takes_a_dict(s) {
        s.outputs("answer: str, score: float");
        s.run("SUBMIT({'score': 1.0, 'answer': 'yes'})")
            .await
            .ok()
            .submitted_fields(json!({"answer": "yes", "score": 1.0}));
        s.run("SUBMIT({'score': 1.0})").await.raises("TypeError").message_has("missing: answer");
        s.outputs("answer: int");
        s.run("SUBMIT({'answer': 1})").await.submitted_fields(json!({"answer": 1}));
        s.outputs("answer: dict");
        s.run("SUBMIT({'answer': 1})").await.submitted_fields(json!({"answer": {"answer": 1}}));
    }

    /// C7: without declared outputs `SUBMIT` takes a value.
    async fn submit_works_without_outputs(s) {
        let observed = s.run("SUBMIT(5)").await;
        let found = match &observed.submitted().submitted {
            Submitted::Value(value) => Some(value),
            Submitted::Fields(fields) => fields.values().next(),
        };
        observed.expect(found == Some(&Value::from(5)), "expected 5 to be submitted");
    }

    /// C7: an unknown name, a missing or a surplus value raises a `TypeError` that names the outputs.
    /// The next try counts.
    async fn wrong_calls_name_the_outputs(s) {
        s.outputs("answer: str, score: float");
        for call in [
            "SUBMIT(wrong=1)",
            "SUBMIT('yes')",
            "SUBMIT()",
            "SUBMIT('yes', 1, 2)",
            "SUBMIT('yes', answer='no', score=1)",
        ] {
            s.run(call)
                .await
                .raises("TypeError")
                .message_has("answer")
                .message_has("score")
                .nothing_submitted();
        }
        s.run(
            r#"
                try:
                    SUBMIT('yes')
                except TypeError:
                    SUBMIT('yes', 1.0)
            "#,
        )
        .await
        .submitted_fields(json!({"answer": "yes", "score": 1.0}));
    }

    /// C7: `FINAL` submits a value, and text is not taken for a name.
    async fn final_takes_a_value(s) {
        s.run("x = 1\nFINAL('x')").await.ok().submitted_value(Via::Final, "x");
        s.run("FINAL({'a': [1, None]})").await.submitted_value(Via::Final, plain(json!({"a": [1, null]})));
    }

    /// C7: `FINAL_VAR` submits the variable of that name.
    async fn final_var_takes_a_name(s) {
        s.run("report = 'long text'").await.ok();
        s.run("FINAL_VAR('report')").await.ok().submitted_value(Via::FinalVar, "long text");
        s.run("local = [1]\nFINAL_VAR(\"local\")").await.submitted_value(Via::FinalVar, plain(json!([1])));
    }

    /// C7: where the quotes are missing, the value itself is meant, or an error says so.
    async fn final_var_without_quotes(s) {
        s.run("result = 'The total is 42.'\nFINAL_VAR(result)")
            .await
            .submitted_value(Via::FinalVar, "The total is 42.");
        s.run("result = 'yes'\nFINAL_VAR(result)").await.submitted_value(Via::FinalVar, "yes");
        s.run("other = 5\nresult = 'other'\nFINAL_VAR(result)")
            .await
            .raises("TypeError")
            .message_has("FINAL_VAR('result')")
            .nothing_submitted();
    }

    /// C7: `FINAL_VAR` of a name that is no variable raises, and submits nothing.
    async fn final_var_needs_a_variable(s) {
        let observed = s.run("FINAL_VAR('missing')").await;
        observed.nothing_submitted().message_has("missing");
        s.in_step().await;
    }

    /// C7: a submission ends its cell, with no error.
    async fn a_submission_stops_the_cell(s) {
        s.run("print('before')\nFINAL(1)\nprint('after')")
            .await
            .ok()
            .stdout_is("before\n")
            .submitted_value(Via::Final, 1);
        s.run(
            r#"
                def f():
                    FINAL(2)
                    print('after')
                f()
                print('after')
            "#,
        )
        .await
        .ok()
        .stdout_is("");
    }

    /// C7: the first submission of a cell wins.
    async fn the_first_one_wins(s) {
        s.run(
            r#"
                try:
                    FINAL('first')
                except BaseException:
                    FINAL('second')
            "#,
        )
        .await
        .submitted_value(Via::Final, "first");
        s.run(
            r#"
                x = 'late'
                try:
                    FINAL('early')
                finally:
                    FINAL_VAR('x')
            "#,
        )
        .await
        .submitted_value(Via::Final, "early");
        s.run(
            r#"
                try:
                    FINAL('early')
                except BaseException:
                    answer['value'] = 'late'
                    answer['ready'] = True
            "#,
        )
        .await
        .submitted_value(Via::Final, "early");
    }

    /// C7: a bare `except:` cannot swallow a submission.
    async fn a_bare_except_cannot_swallow_it(s) {
        s.run("try:\n    FINAL('kept')\nexcept:\n    pass").await.submitted_value(Via::Final, "kept");
        s.run(
            r#"
                try:
                    FINAL('kept')
                except BaseException as e:
                    print(type(e))
                x = 1
            "#,
        )
        .await
        .submitted_value(Via::Final, "kept");
        s.run(
            r#"
                import contextlib
                with contextlib.suppress(BaseException):
                    FINAL('kept')
            "#,
        )
        .await
        .submitted_value(Via::Final, "kept");
    }

    /// C7: `finally` cannot swallow a submission.
    async fn finally_cannot_swallow_it(s) {
        s.run(
            r#"
                def f():
                    try:
                        FINAL('kept')
                    finally:
                        return 1
                f()
            "#,
        )
        .await
        .submitted_value(Via::Final, "kept");
        s.run(
            r#"
                while True:
                    try:
                        FINAL('kept')
                    finally:
                        break
            "#,
        )
        .await
        .submitted_value(Via::Final, "kept");
    }

    /// C7: an exception that follows cannot swallow a submission; it is reported beside it.
    async fn a_later_error_cannot_swallow_it(s) {
        s.run(
            r#"
                try:
                    FINAL('kept')
                except BaseException:
                    raise ValueError('after all')
            "#,
        )
        .await
        .submitted_value(Via::Final, "kept")
        .raises("ValueError")
        .message_is("after all");
    }

    /// C7: a redefinition cannot swallow a submission, before or after it.
    async fn a_redefinition_cannot_swallow_it(s) {
        s.run(
            r#"
                try:
                    FINAL('kept')
                except BaseException: pass
                FINAL = SUBMIT = answer = None
            "#,
        )
        .await
        .submitted_value(Via::Final, "kept");
        s.run("submit = FINAL\ndef FINAL(value): pass\nsubmit('kept')")
            .await
            .submitted_value(Via::Final, "kept");
        s.run(
            r#"
                import builtins
                builtins.BaseException = builtins.Exception = int
                FINAL('kept')
            "#,
        )
        .await
        .submitted_value(Via::Final, "kept");
    }

    /// C7: a thread cannot swallow a submission.
    #[needs(ConcurrentCalls)]
    async fn a_thread_cannot_swallow_it(s) {
        s.run(
            r#"
                import threading
                t = threading.Thread(target=FINAL, args=('kept',))
                t.start()
                t.join()
            "#,
        )
        .await
        .submitted_value(Via::Final, "kept");
        s.run(
            r#"
                from concurrent.futures import ThreadPoolExecutor
                with ThreadPoolExecutor() as pool:
                    f = pool.submit(FINAL, 'kept')
                try: f.result()
                except BaseException: pass
            "#,
        )
        .await
        .submitted_value(Via::Final, "kept");
        s.in_step().await;
    }

    /// C7: a submission counts from inside functions of other cells, comprehensions, generators and
    /// coroutines.
    async fn it_counts_from_anywhere(s) {
        s.run("def finish(value): FINAL(value)").await.ok();
        s.run("finish('function')").await.submitted_value(Via::Final, "function");
        s.run("[finish(n) for n in [1, 2]]").await.submitted_value(Via::Final, 1);
        s.run("def g():\n    yield 1\n    FINAL('generator')\nlist(g())")
            .await
            .submitted_value(Via::Final, "generator");
        s.run(
            r#"
                import asyncio
                async def c(): FINAL('coroutine')
                asyncio.run(c())
            "#,
        )
        .await
        .submitted_value(Via::Final, "coroutine");
        s.run("exec(\"FINAL('exec')\")").await.submitted_value(Via::Final, "exec");
    }

    /// C7: a submission is recorded when it is made: a cell that must be stopped afterwards has submitted.
    #[needs(Interrupt)]
    async fn a_stopped_cell_has_submitted(s) {
        let limit = Duration::from_millis(1500);
        let cell = s
            .cell(
                r#"
                    try:
                        FINAL('kept')
                    except BaseException: pass
                    while True: pass
                "#,
            )
            .timeout(limit);
        s.run(cell).await.stopped_within(limit).submitted_value(Via::Final, "kept");
    }

    /// C7: a cell whose session had to be killed afterwards has submitted.
    #[needs(CrashIsolated)]
    async fn a_killed_cell_has_submitted(s) {
        let code = format!("try:\n    FINAL('kept')\nexcept BaseException: pass\n{CATCHES_EVERYTHING}");
        let limit = Duration::from_millis(1500);
        let cell = s.cell(&code).timeout(limit);
        s.run(cell).await.stopped_within(limit).submitted_value(Via::Final, "kept");
    }

    /// C7: no host call is made after a submission: it stops the cell again.
    async fn nothing_is_called_after_it(s) {
        let host = Host::new().echo();
        s.serve(&host);
        for submit in ["FINAL('kept')", "answer['value'] = 'kept'; answer['ready'] = True"] {
            let code = format!("try:\n    {submit}\nexcept BaseException: pass\necho(1)\nprint('on')");
            s.run(code).await.ok().stdout_is("").submitted();
            s.run(
                r#"
                    from concurrent.futures import ThreadPoolExecutor
                    def call():
                        try: FINAL('kept')
                        except BaseException: pass
                        return echo(2)
                    with ThreadPoolExecutor(1) as pool: f = pool.submit(call)
                "#,
            )
            .await
            .submitted_value(Via::Final, "kept");
        }
        assert_same(&Value::from(host.calls().len()), &Value::from(0), "the number of calls");
        s.run("echo(3)").await.value_is("3");
    }

    /// C7: the submission of one cell is not that of the next, and the session goes on.
    async fn it_belongs_to_its_cell(s) {
        s.run("x = 1\nFINAL('first')").await.submitted_value(Via::Final, "first");
        s.run("x += 1\nx").await.nothing_submitted().value_is("2");
        s.run("FINAL('second')").await.submitted_value(Via::Final, "second");
    }
}
