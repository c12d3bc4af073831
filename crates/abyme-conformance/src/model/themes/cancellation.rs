//! M5 and M7: dropping a call ends it at the provider, too.

use std::{pin::pin, task::Poll, time::Duration};

use abyme_core::{LanguageModel, Request, model::Delta};
use futures_util::{StreamExt, future, poll};

use crate::{
    model::{
        case::model_cases,
        exam::{WAYS, Way, check, check_eq},
        scenario::{Reply, Scenario},
    },
    result::fail,
};

model_cases! {
    theme m5_cancellation, clause 5;

    /// M5: a call that is dropped while the provider is silent ends there.
    async fn a_dropped_call_ends(exam) {
        for way in WAYS {
            let subject = exam.of(Scenario::Silent).await;
            let request = Request::prompt("?");
            {
                let mut call = pin!(subject.ask(way, &request));
                let arrived = pin!(subject.provider.until_received(1));
                let select = future::select(&mut call, arrived);
                if let future::Either::Left((answer, _)) = subject.in_time(way, select).await {
                    fail(format!("{way:?}: the call ended by itself: {answer:?}"));
                }
            }
            subject.in_time("the end at the provider", subject.provider.until_abandoned(1)).await;
        }
    }

    /// M5: a call that is dropped in the middle of its reply ends at the provider.
    async fn a_call_dropped_in_its_reply_ends(exam) {
        let subject = exam.of(Scenario::Stall(Reply::new(["one ", "two"]))).await;
        let request = Request::prompt("?");
        {
            let mut call = pin!(subject.model.complete(&request));
            let wait = pin!(async {
                subject.provider.until_received(1).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            });
            let select = future::select(&mut call, wait);
            if let future::Either::Left((answer, _)) = subject.in_time(Way::Complete, select).await {
                fail(format!("the call ended by itself: {answer:?}"));
            }
        }
        subject.in_time("the end at the provider", subject.provider.until_abandoned(1)).await;
    }

    /// M5: a call that is never polled sends nothing.
    async fn a_call_that_is_not_polled_sends_nothing(exam) {
        let subject = exam.of(Scenario::Echo).await;
        let request = Request::prompt("?");
        drop(subject.model.complete(&request));
        drop(subject.model.stream(&request));
        let unpolled = (subject.model.complete(&request), subject.model.stream(&request));
        tokio::time::sleep(Duration::from_millis(100)).await;
        check_eq("the number of requests", subject.provider.count(), 0);
        drop(unpolled);
    }

    /// M5: calls that were dropped do no harm to those that follow, nor to those beside them.
    async fn a_dropped_call_harms_no_other(exam) {
        let subject = exam.of(Scenario::Echo).await;
        for way in WAYS {
            let request = Request::prompt("kept");
            let mut kept = pin!(future::maybe_done(subject.ask(way, &request)));
            for _ in 0..5 {
                let dropped = Request::prompt("dropped");
                let mut call = pin!(subject.ask(way, &dropped));
                // As far as it comes by itself: to its connection, as a rule.
                let _: Poll<_> = poll!(call.as_mut());
                let _: Poll<_> = poll!(kept.as_mut());
                tokio::task::yield_now().await;
            }
            subject.in_time(way, kept.as_mut()).await;
            match kept.take_output() {
                Some(Ok(response)) => check_eq(format!("{way:?}: the text"), response.text.as_str(), "kept"),
                other => fail(format!("{way:?}: expected an answer, got {other:?}")),
            }
            let answer = subject.answer(way, &Request::prompt("after")).await;
            check_eq(format!("{way:?}: the text"), answer.text.as_str(), "after");
        }
    }

    /// M5: a stream that is dropped after its first piece ends the generation.
    #[needs(Pieces)]
    async fn a_dropped_stream_ends_the_generation(exam) {
        let subject = exam.of(Scenario::Stall(Reply::new(["one ", "two"]))).await;
        let request = Request::prompt("?");
        let mut stream = subject.model.stream(&request);
        let first = subject.in_time("the first piece", async {
            loop {
                match stream.next().await {
                    Some(Ok(Delta::Text(text))) if !text.is_empty() => break text,
                    Some(Ok(Delta::Done(_))) | Some(Err(_)) | None => fail("the stream ended by itself"),
                    _ => {}
                }
            }
        });
        check_eq("the first piece", first.await.as_str(), "one ");
        check_eq("the calls that ended", subject.provider.abandoned(), 0);
        drop(stream);
        subject.in_time("the end at the provider", subject.provider.until_abandoned(1)).await;
        check(subject.provider.count() == 1, "the request was repeated");
    }
}
