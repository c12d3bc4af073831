//! M2: whatever a server does, a call ends in time, in bounded memory, and with the right kind.

use std::time::Duration;

use abyme_core::{ErrorKind, FinishReason, Request};

use crate::{
    machine::PeakMemory,
    model::{
        case::model_cases,
        exam::{Exam, WAYS, Way, check, check_eq},
        scenario::{Reply, Scenario, WireFault},
    },
};

/// More than a client may take into memory for one reply, however it decodes it.
const MOST_BYTES: u64 = 96 << 20;

fn reply() -> Reply {
    Reply::new(["one ", "two ", "three"])
}

/// Checks that this fault ends in an error of this kind, after one request.
async fn fails_as(exam: &Exam, fault: WireFault, ways: &[Way], kinds: &[ErrorKind]) {
    for way in ways {
        let subject = exam.of(Scenario::Wire(fault.clone())).await;
        let error = subject.error(*way, &Request::prompt("?")).await;
        check(
            kinds.contains(&error.kind()),
            format!("{way:?}: expected {kinds:?}, got {error:?} for {fault:?}"),
        );
        check_eq(format!("{way:?}: requests for {fault:?}"), subject.provider.count(), 1);
    }
}

/// Checks that the reply is read all the same.
async fn is_read(exam: &Exam, fault: WireFault) {
    for way in WAYS {
        let subject = exam.of(Scenario::Wire(fault.clone())).await;
        let response = subject.answer(way, &Request::prompt("?")).await;
        check_eq(format!("{way:?}: the text"), response.text.as_str(), "one two three");
        check_eq(format!("{way:?}: the reason of the end"), response.finish_reason, FinishReason::Stop);
        check_eq(format!("{way:?}: tokens of the reply"), response.usage.output_tokens, Some(7));
    }
}

/// Checks that a reply which is too large ends as one that was cut, or fails for good where no text came, and
/// takes little memory. An empty text that was cut would be asked for again, and paid for.
async fn is_bounded(exam: &Exam, fault: WireFault) {
    for way in WAYS {
        let subject = exam.of(Scenario::Wire(fault.clone())).await;
        let peak = PeakMemory::start();
        match subject.ask(way, &Request::prompt("?").timeout(Duration::from_secs(9))).await {
            Ok(response) => {
                let reason = response.finish_reason;
                check_eq(format!("{way:?}: the reason of the end"), reason, FinishReason::Length);
                check(!response.text.is_empty(), format!("{way:?}: a text of nothing for {fault:?}"));
            }
            Err(error) => check(!error.is_temporary(), format!("{way:?}: {error:?} would be tried again")),
        }
        let grown = peak.and_then(|peak| peak.grown_bytes()).unwrap_or(0);
        check(grown < MOST_BYTES, format!("{way:?}: it took {grown} bytes of memory for {fault:?}"));
        check_eq(format!("{way:?}: requests"), subject.provider.count(), 1);
    }
}

model_cases! {
    theme m2_bad_input, clause 2;

    /// M2: a page in HTML is no reply, and its status says what failed.
    #[needs(Wire)]
    async fn a_page_in_html(exam) {
        for (status, kind) in [
            (200, ErrorKind::MalformedReply),
            (401, ErrorKind::Auth),
            (404, ErrorKind::BadRequest),
            (500, ErrorKind::Server),
            (502, ErrorKind::Server),
            (503, ErrorKind::Server),
            (504, ErrorKind::Server),
        ] {
            fails_as(exam, WireFault::Page(status), &WAYS, &[kind]).await;
        }
    }

    /// M2: JSON that is no reply, or no JSON, is malformed.
    #[needs(Wire)]
    async fn a_body_of_something_else(exam) {
        let deep = "[".repeat(200_000);
        for body in ["", "null", "5", "[]", "{}", "\"text\"", "{\"a\": ", "\u{feff}", "hello", &deep] {
            fails_as(exam, WireFault::Body(body.to_owned()), &WAYS, &[ErrorKind::MalformedReply]).await;
        }
    }

    /// M2: a failure that comes with status 200 has its kind.
    #[needs(Wire)]
    async fn a_failure_with_status_200(exam) {
        let limited = ErrorKind::RateLimited { retry_after: None };
        for kind in [ErrorKind::ContextTooLong, ErrorKind::Auth, limited] {
            fails_as(exam, WireFault::ErrorInSuccess(kind), &WAYS, &[kind]).await;
        }
    }

    /// M2: bytes that are no UTF-8 do not cost the reply, or it is malformed. Nothing panics.
    #[needs(Wire)]
    async fn bytes_that_are_no_text(exam) {
        for way in WAYS {
            let fault = WireFault::BrokenText(Reply::new(["replaced"]));
            let subject = exam.of(Scenario::Wire(fault)).await;
            match subject.ask(way, &Request::prompt("?")).await {
                Ok(response) => check_eq(format!("{way:?}: the text"), response.text.as_str(), "\u{fffd}"),
                Err(error) => {
                    check_eq(format!("{way:?}: {error:?}"), error.kind(), ErrorKind::MalformedReply);
                }
            }
        }
    }

    /// M2: a stream that ends in the middle of an event is no reply.
    #[needs(Wire, Pieces)]
    async fn a_stream_that_ends_in_an_event(exam) {
        let kinds = [ErrorKind::MalformedReply, ErrorKind::Connection];
        fails_as(exam, WireFault::BrokenEvent(reply()), &[Way::Stream], &kinds).await;
    }

    /// M2: a stream that ends without saying so is not taken for a reply: a part of it may be missing.
    #[needs(Wire, Pieces)]
    async fn a_stream_without_its_last_events(exam) {
        let kinds = [ErrorKind::MalformedReply, ErrorKind::Connection];
        fails_as(exam, WireFault::NoFinish(reply()), &[Way::Stream], &kinds).await;
    }

    /// M2: last events that come twice are read once.
    #[needs(Wire)]
    async fn last_events_that_come_twice(exam) {
        is_read(exam, WireFault::TwoFinishes(reply())).await;
    }

    /// M2: comments, ids, empty lines and other line ends are no part of a reply.
    #[needs(Wire)]
    async fn comments_in_a_stream(exam) {
        is_read(exam, WireFault::Comments(reply())).await;
    }

    /// M2: a reply that comes byte by byte is read, also where that splits characters and events.
    #[needs(Wire)]
    async fn a_reply_byte_by_byte(exam) {
        is_read(exam, WireFault::Drip(reply())).await;
        let split = Reply::new(["日本 🦀"]);
        for way in WAYS {
            let subject = exam.of(Scenario::Wire(WireFault::Drip(split.clone()))).await;
            let response = subject.answer(way, &Request::prompt("?")).await;
            check_eq(format!("{way:?}: the text"), response.text.as_str(), "日本 🦀");
        }
    }

    /// M2: a redirection to another host is not followed: neither prompt nor key goes there.
    #[needs(Wire)]
    async fn a_redirection_elsewhere(exam) {
        fails_as(exam, WireFault::RedirectElsewhere, &WAYS, &[ErrorKind::BadRequest]).await;
    }

    /// M2: a redirection without an end ends.
    #[needs(Wire)]
    async fn a_redirection_without_an_end(exam) {
        for way in WAYS {
            let subject = exam.of(Scenario::Wire(WireFault::RedirectLoop)).await;
            let error = subject.error(way, &Request::prompt("?")).await;
            check_eq(format!("{way:?}: the kind of {error:?}"), error.kind(), ErrorKind::BadRequest);
            let count = subject.provider.count();
            check(count <= 20, format!("{way:?}: followed {count} times"));
        }
    }

    /// M2: a body that grows without bounds when it is decompressed is not read to its end.
    #[needs(Wire)]
    #[alone = "it measures memory"]
    async fn a_compressed_bomb(exam) {
        is_bounded(exam, WireFault::Bomb).await;
    }

    /// M2: a text without an end is not read for ever.
    #[needs(Wire)]
    #[alone = "it measures memory"]
    async fn a_text_without_an_end(exam) {
        is_bounded(exam, WireFault::EndlessText).await;
    }

    /// M2: an event without an end is not read for ever.
    #[needs(Wire, EventBound)]
    #[alone = "it measures memory"]
    async fn an_event_without_an_end(exam) {
        is_bounded(exam, WireFault::EndlessLine).await;
    }

    /// M2: a wait that makes no sense is none, or one that the caller can bound. The failure keeps its kind.
    #[needs(Wire)]
    async fn a_wait_that_makes_no_sense(exam) {
        for wait in ["-7", "soon", "1e300", "99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT", ""] {
            for way in WAYS {
                let subject = exam.of(Scenario::Wire(WireFault::RetryAfter(wait.to_owned()))).await;
                let error = subject.error(way, &Request::prompt("?")).await;
                check(
                    matches!(error.kind(), ErrorKind::RateLimited { .. }),
                    format!("{way:?}: {error:?} for `Retry-After: {wait}`"),
                );
            }
        }
    }
}
