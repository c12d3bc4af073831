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

    /// C7: after a rebinding the special dict is back.
    async fn it_is_restored(s) {
        s.run("answer = 'just text'").await.nothing_submitted();
        s.run("answer['content'] = 'special'\nanswer['ready'] = True")
            .await
            .submitted_value(Via::Answer, "special");
        s.run("del answer").await.ok();
        s.run("answer['content'] = 'again'\nanswer['ready'] = True")
            .await
            .submitted_value(Via::Answer, "again");
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
