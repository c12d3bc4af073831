//! M5: a call ends within the time that its request gives it.

use std::time::Duration;

use abyme_core::{ErrorKind, LanguageModel, Request};
use futures_util::StreamExt;

use crate::model::{
    case::model_cases,
    exam::{Exam, WAYS, check, check_eq},
    scenario::{Reply, Scenario, WireFault},
};

const LIMIT: Duration = Duration::from_millis(300);

/// Checks that a call in which this happens runs out of time.
async fn times_out(exam: &Exam, scenario: Scenario) {
    for way in WAYS {
        let subject = exam.of(scenario.clone()).await;
        let error = subject.error(way, &Request::prompt("?").timeout(LIMIT)).await;
        check_eq(format!("{way:?}: the kind of {error:?}"), error.kind(), ErrorKind::ModelTimeout);
    }
}

model_cases! {
    theme m5_time_limits, clause 5;

    /// M5: a provider that says nothing.
    async fn a_silent_provider(exam) {
        times_out(exam, Scenario::Silent).await;
    }

    /// M5: a provider that stops in the middle of its reply.
    async fn a_provider_that_stalls(exam) {
        times_out(exam, Scenario::Stall(Reply::new(["one ", "two"]))).await;
    }

    /// M5: a provider that keeps the connection busy and says nothing.
    #[needs(Wire)]
    async fn a_provider_that_only_keeps_alive(exam) {
        times_out(exam, Scenario::Wire(WireFault::EndlessSpace)).await;
    }

    /// M5: a failure whose body does not end is told by its status, or runs out of time.
    #[needs(Wire)]
    async fn a_failure_without_an_end(exam) {
        for way in WAYS {
            let subject = exam.of(Scenario::Wire(WireFault::EndlessFailure)).await;
            let error = subject.error(way, &Request::prompt("?").timeout(LIMIT)).await;
            let in_time = matches!(error.kind(), ErrorKind::Server | ErrorKind::ModelTimeout);
            check(in_time, format!("{way:?}: {error:?}"));
        }
    }

    /// M5: a limit that is not reached changes nothing.
    async fn a_limit_that_is_not_reached(exam) {
        for way in WAYS {
            let subject = exam.of(Scenario::Echo).await;
            let request = Request::prompt("in time").timeout(Duration::from_secs(3600));
            let response = subject.answer(way, &request).await;
            check_eq(format!("{way:?}: the text"), response.text.as_str(), "in time");
        }
    }

    /// M5: the time of a stream counts however slowly it is read.
    async fn the_time_of_a_stream_is_one(exam) {
        let subject = exam.of(Scenario::Stall(Reply::new(["one ", "two"]))).await;
        let request = Request::prompt("?").timeout(LIMIT);
        let mut stream = subject.model.stream(&request);
        let error = subject.in_time("a stream that stalls", async {
            loop {
                match stream.next().await {
                    Some(Ok(_)) => tokio::time::sleep(LIMIT).await,
                    other => break other,
                }
            }
        });
        match error.await {
            Some(Err(error)) => check_eq("the kind", error.kind(), ErrorKind::ModelTimeout),
            _ => crate::result::fail("the stream ended without an error"),
        }
    }
}
