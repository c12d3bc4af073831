//! M4: what is left of a reply is returned, with the reason of its end.

use abyme_core::{FinishReason, NativeCall, Request};

use crate::model::{
    case::model_cases,
    exam::{Exam, WAYS, check, check_eq},
    scenario::{Reply, Scenario},
};

async fn ends_with(exam: &Exam, reason: FinishReason) {
    for pieces in [vec!["one ", "two"], vec![]] {
        for way in WAYS {
            let reply = Reply::new(pieces.clone()).finish_reason(reason.clone());
            let subject = exam.of(Scenario::Reply(reply)).await;
            let response = subject.answer(way, &Request::prompt("?")).await;
            check_eq(format!("{way:?}: the text"), response.text, pieces.concat());
            check_eq(format!("{way:?}: the reason of the end"), response.finish_reason, reason.clone());
        }
    }
}

model_cases! {
    theme m4_cut_replies, clause 4;

    /// M4: a reply that the model ended is that, also one of nothing.
    async fn an_end_of_its_own(exam) {
        ends_with(exam, FinishReason::Stop).await;
    }

    /// M4: a reply that the length limit cut is returned, also where nothing is left of it.
    async fn a_length_limit_cuts(exam) {
        ends_with(exam, FinishReason::Length).await;
    }

    /// M4: a reply that a content filter cut is returned, also where nothing is left of it.
    async fn a_content_filter_cuts(exam) {
        ends_with(exam, FinishReason::ContentFilter).await;
    }

    /// M4: thoughts are no part of the text, and a reply of thoughts alone is one.
    #[needs(Reasoning)]
    async fn thoughts_are_kept_apart(exam) {
        for text in [vec!["four"], vec![]] {
            for way in WAYS {
                let reply = Reply::new(text.clone()).reasoning(["two and ", "two"]);
                let subject = exam.of(Scenario::Reply(reply)).await;
                let response = subject.answer(way, &Request::prompt("?")).await;
                check_eq(format!("{way:?}: the text"), response.text, text.concat());
                check_eq(format!("{way:?}: the reasoning"), response.reasoning.as_str(), "two and two");
            }
        }
    }

    /// M4: a call in the provider's own form is returned, with or without a text.
    #[needs(NativeCalls)]
    async fn a_native_call_is_returned(exam) {
        let call = NativeCall::new("python", r#"{"code":"1"}"#);
        for text in [vec![], vec!["I will call."]] {
            for way in WAYS {
                let reply = Reply::new(text.clone()).native_call(call.clone());
                let subject = exam.of(Scenario::Reply(reply)).await;
                let response = subject.answer(way, &Request::prompt("?")).await;
                check_eq(format!("{way:?}: the call"), response.native_call.as_ref(), Some(&call));
                check_eq(format!("{way:?}: the text"), response.text, text.concat());
            }
        }
    }

    /// M4: a megabyte of reply is not cut by the model.
    async fn a_long_reply_is_whole(exam) {
        let pieces: Vec<String> = (0..2_000).map(|number| format!("{number:0>500}")).collect();
        for way in WAYS {
            let subject = exam.of(Scenario::Reply(Reply::new(pieces.clone()))).await;
            let response = subject.answer(way, &Request::prompt("?")).await;
            check(response.text == pieces.concat(), format!("{way:?}: the text is another"));
        }
    }
}
