//! C7: the `answer` dict, the way to submit without a call.

use abyme_core::Via;
use serde_json::json;

use crate::{case::cases, observed::plain};

cases! {
    theme c07_answer, clause 7;

    /// C7: `answer` starts empty and not ready, and being there submits nothing.
    async fn it_starts_not_ready(s) {
        s.run("(bool(answer['ready']), answer['content'])").await.value_is("(False, '')").nothing_submitted();
    }

    /// C7: `value` or `content`, then `ready`, submits.
    async fn ready_submits(s) {
        s.run("answer['content'] = 'text'\nanswer['ready'] = True")
            .await
            .submitted_value(Via::Answer, "text");
        s.run("answer['value'] = [1, 2]\nanswer['ready'] = True")
            .await
            .submitted_value(Via::Answer, plain(json!([1, 2])));
    }

    /// C7: the order of the two does not matter.
    async fn ready_may_come_first(s) {
        s.run("answer['ready'] = True\nanswer['content'] = 'text'")
            .await
            .submitted_value(Via::Answer, "text");
    }

    /// C7: an empty text is an answer.
    async fn an_empty_text_is_an_answer(s) {
        s.run("answer['content'] = ''\nanswer['ready'] = True").await.submitted_value(Via::Answer, "");
    }

    /// C7: without `ready` nothing is submitted, and what was filled in stays for the next cell.
    async fn without_ready_it_is_a_draft(s) {
        s.run("answer['content'] = 'draft'").await.ok().nothing_submitted();
        s.run("answer['ready'] = False").await.nothing_submitted();
        s.run("answer['content'] += ' two'\nanswer['ready'] = True")
            .await
            .submitted_value(Via::Answer, "draft two");
    }

    /// C7: `update` and rebinding the name work as well.
    async fn it_may_be_updated_or_rebound(s) {
        s.run("answer.update(content='updated', ready=True)").await.submitted_value(Via::Answer, "updated");
        s.run("answer = {'content': 'rebound', 'ready': True}").await.submitted_value(Via::Answer, "rebound");
        s.run("answer = {'value': 7, 'ready': True}").await.submitted_value(Via::Answer, 7);
        s.run("answer = {'value': 7, 'ready': False}").await.nothing_submitted();
    }

    /// C7: the special dict is back after the name was deleted, or bound to another dict with `ready`.
    async fn it_is_restored(s) {
        s.run("answer = {'content': 'draft', 'ready': False}").await.nothing_submitted();
        s.run("answer['content'] += ' two'\nanswer['ready'] = True")
            .await
            .submitted_value(Via::Answer, "draft two");
        s.run("del answer").await.ok();
        s.run("answer['content'] = 'again'\nanswer['ready'] = True")
            .await
            .submitted_value(Via::Answer, "again");
    }

    /// C7: what is no dict with `ready` keeps the name, across cells, like any other variable.
    async fn a_cell_may_use_the_name(s) {
        s.run("answer = 17").await.ok().nothing_submitted();
        s.run("answer += 25").await.ok();
        s.run("(answer, f'{answer}', answer == 42)").await.value_is("(42, '42', True)");
        s.run("FINAL_VAR('answer')").await.submitted_value(Via::FinalVar, 42);
        s.run("answer = []").await.ok();
        s.run("answer.append(1)\nlen(answer)").await.value_is("1");
        s.run("answer = {}").await.ok();
        s.run("answer['total'] = 3").await.ok();
        s.run("answer").await.value_is("{'total': 3}");
        let observed = s.run("SHOW_VARS()").await;
        let listed = observed.whole_value().is_some_and(|text| text.contains("answer: dict[1]"));
        observed.expect(listed, "`answer` is a variable of the cell's");
        s.run("answer = {'value': 5, 'ready': True}").await.submitted_value(Via::Answer, 5);
        s.run("answer['content'] = 'special'\nanswer['ready'] = True")
            .await
            .submitted_value(Via::Answer, "special");
    }

    /// C7: a variable of that name takes the place of the special dict, whatever it holds.
    async fn an_input_may_have_the_name(s) {
        s.outputs("grade: int");
        s.set("answer", "of a student").await;
        s.run("answer.upper()").await.value_is("'OF A STUDENT'");
        s.run("SUBMIT(len(answer))").await.submitted_fields(json!({"grade": 12}));
        s.set("answer", plain(json!({"value": 1, "ready": true}))).await;
        s.run("answer['value'] += 1").await.ok().nothing_submitted();
        s.run("answer").await.value_is("{'value': 2, 'ready': True}");
    }

    /// C7: `ready` without a truth value, as of an array, is an error of its cell and of no other.
    async fn ready_may_have_no_truth_value(s) {
        s.run(
            r#"
                class Array:
                    def __bool__(self): raise ValueError('ambiguous')
                class Exit:
                    def __bool__(self): raise SystemExit
            "#,
        )
        .await
        .ok();
        for (name, problem) in [("Array", "ValueError"), ("Exit", "SystemExit")] {
            s.run(format!("answer['value'] = 1\nanswer['ready'] = {name}()")).await.raises(problem);
            s.in_step().await;
            s.run(format!("answer = {{'value': 1, 'ready': {name}()}}"))
                .await
                .raises(problem)
                .nothing_submitted();
            s.in_step().await;
            s.run("answer['value'] = 2\nanswer['ready'] = True").await.submitted_value(Via::Answer, 2);
        }
    }

    /// C7: an answer that was submitted is not submitted again by the next cell.
    async fn it_is_not_submitted_twice(s) {
        s.run("answer['content'] = 'once'\nanswer['ready'] = True")
            .await
            .submitted_value(Via::Answer, "once");
        s.run("1 + 1").await.value_is("2").nothing_submitted();
    }

    /// C7: an exception after `ready` does not take it back.
    async fn a_later_error_does_not_take_it_back(s) {
        s.run("answer['content'] = 'kept'\nanswer['ready'] = True\n1 / 0")
            .await
            .submitted_value(Via::Answer, "kept")
            .raises("ZeroDivisionError");
    }
}
