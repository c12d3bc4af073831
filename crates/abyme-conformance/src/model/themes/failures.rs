//! M2: a failure has the kind that it is of, and one call is one try.

use std::time::Duration;

use abyme_core::{ErrorKind, Request};

use crate::model::{
    case::model_cases,
    exam::{Exam, WAYS, check, check_eq},
    scenario::{Reply, Scenario},
};

/// Checks that this scenario ends in errors of one of these kinds, in both ways.
async fn fails_as(exam: &Exam, scenario: Scenario, kinds: &[ErrorKind]) {
    for way in WAYS {
        let subject = exam.of(scenario.clone()).await;
        let error = subject.error(way, &Request::prompt("?")).await;
        let expected = kinds.contains(&error.kind());
        check(expected, format!("{way:?}: expected {kinds:?}, got {error:?}"));
    }
}

async fn fails_as_told(exam: &Exam, kind: ErrorKind) {
    fails_as(exam, Scenario::Fail(kind), &[kind]).await;
}

/// What a connection that breaks may be taken for.
const BROKEN: [ErrorKind; 2] = [ErrorKind::Connection, ErrorKind::MalformedReply];

fn reply() -> Reply {
    Reply::new(["one ", "two ", "three"])
}

model_cases! {
    theme m2_failures, clause 2;

    /// M2: too many requests are that, with the wait that the provider asks for.
    async fn a_rate_limit_with_a_wait(exam) {
        fails_as_told(exam, ErrorKind::RateLimited { retry_after: Some(Duration::from_secs(7)) }).await;
    }

    /// M2: too many requests are that, also where the provider names no wait.
    async fn a_rate_limit_without_a_wait(exam) {
        fails_as_told(exam, ErrorKind::RateLimited { retry_after: None }).await;
    }

    /// M2: a quota that is used up is no rate limit: waiting does not help.
    async fn a_quota(exam) {
        fails_as_told(exam, ErrorKind::QuotaExceeded).await;
    }

    /// M2: a key that the provider does not take.
    async fn a_wrong_key(exam) {
        fails_as_told(exam, ErrorKind::Auth).await;
    }

    /// M2: a request that is longer than the model's context.
    async fn a_context_that_is_too_long(exam) {
        fails_as_told(exam, ErrorKind::ContextTooLong).await;
    }

    /// M2: a request that the provider does not accept.
    async fn a_bad_request(exam) {
        fails_as_told(exam, ErrorKind::BadRequest).await;
    }

    /// M2: a content that the provider refuses.
    async fn a_refused_content(exam) {
        fails_as_told(exam, ErrorKind::ContentRefused).await;
    }

    /// M2: a failure of the provider's own.
    async fn a_failed_server(exam) {
        fails_as_told(exam, ErrorKind::Server).await;
    }

    /// M2: a connection that is closed before the answer.
    async fn a_connection_closed_before_the_answer(exam) {
        fails_as(exam, Scenario::HangUp, &[ErrorKind::Connection]).await;
    }

    /// M2: a connection that is closed in the middle of the answer. What came is not taken for all of it.
    async fn a_connection_closed_in_the_answer(exam) {
        fails_as(exam, Scenario::Cut(reply()), &BROKEN).await;
    }

    /// M2: an answer that is no reply.
    async fn an_answer_that_is_no_reply(exam) {
        fails_as(exam, Scenario::Garbage, &[ErrorKind::MalformedReply]).await;
    }

    /// M2: a failure in the middle of a stream has its kind, as one at its beginning.
    async fn a_failure_in_a_stream(exam) {
        for kind in [ErrorKind::Server, ErrorKind::RateLimited { retry_after: None }] {
            for way in WAYS {
                let subject = exam.of(Scenario::FailMidway(reply(), kind)).await;
                let error = subject.error(way, &Request::prompt("?")).await;
                let same = std::mem::discriminant(&error.kind()) == std::mem::discriminant(&kind);
                check(same, format!("{way:?}: expected {kind:?}, got {error:?}"));
            }
        }
    }

    /// M2: one call is one try, whatever comes of it. A model that tries again by itself marks the error as
    /// permanent, or the caller would multiply the tries.
    async fn one_call_is_one_try(exam) {
        for scenario in [
            Scenario::Fail(ErrorKind::Server),
            Scenario::Fail(ErrorKind::RateLimited { retry_after: None }),
            Scenario::Fail(ErrorKind::Auth),
            Scenario::HangUp,
            Scenario::Cut(reply()),
            Scenario::Garbage,
        ] {
            for way in WAYS {
                let subject = exam.of(scenario.clone()).await;
                let error = subject.error(way, &Request::prompt("?")).await;
                let count = subject.provider.count();
                check(
                    count == 1 || count > 1 && !error.is_temporary(),
                    format!("{way:?}: {count} requests and a temporary error for {scenario:?}"),
                );
            }
        }
    }

    /// M2: whether another try may help is what the kind says, and all that failed for good is final.
    async fn what_is_final_is_not_temporary(exam) {
        for kind in [
            ErrorKind::QuotaExceeded,
            ErrorKind::Auth,
            ErrorKind::ContextTooLong,
            ErrorKind::BadRequest,
            ErrorKind::ContentRefused,
        ] {
            for way in WAYS {
                let subject = exam.of(Scenario::Fail(kind)).await;
                let error = subject.error(way, &Request::prompt("?")).await;
                check(!error.is_temporary(), format!("{way:?}: {error:?} would be tried again"));
                check_eq(format!("{way:?}: requests after {kind:?}"), subject.provider.count(), 1);
            }
        }
    }

    /// M2: a model that failed answers the next call.
    async fn a_failure_leaves_nothing_behind(exam) {
        for way in WAYS {
            let subject = exam.of(Scenario::Fail(ErrorKind::Server)).await;
            for _ in 0..3 {
                let error = subject.error(way, &Request::prompt("?")).await;
                check_eq(format!("{way:?}: the kind"), error.kind(), ErrorKind::Server);
            }
        }
    }
}
