//! M7: a stream is the reply in pieces.

use abyme_core::{ErrorKind, FinishReason, LanguageModel, NativeCall, Request, Response, model::Delta};
use futures_util::StreamExt;

use crate::{
    model::{
        case::model_cases,
        exam::{Exam, Way, check, check_eq},
        scenario::{Reply, Scenario},
    },
    result::fail,
};

fn request() -> Request {
    Request::prompt("?")
}

/// Replies of all kinds.
fn replies() -> Vec<Reply> {
    vec![
        Reply::new(["one ", "two ", "three"]),
        Reply::new(["日", "本", "🦀"]).usage(None),
        Reply::new(["one "]).finish_reason(FinishReason::Length),
        Reply::new(Vec::<String>::new()),
    ]
}

/// The texts of the pieces, and of the response at the end.
async fn texts(exam: &Exam, reply: Reply, of: fn(&Delta) -> Option<&str>) -> (String, Response) {
    let subject = exam.of(Scenario::Reply(reply)).await;
    let (pieces, response) = subject.pieces(&request()).await;
    (pieces.iter().filter_map(of).collect(), response)
}

/// A response without what differs from call to call.
fn lasting(mut response: Response) -> Response {
    response.request_id = None;
    response.rate_limits = None;
    response
}

model_cases! {
    theme m7_streams, clause 7;

    /// M7: the pieces of the text are the text of the response.
    async fn pieces_add_up(exam) {
        for reply in replies() {
            let text = reply.text.concat();
            let (sum, response) = texts(exam, reply, text_of).await;
            check_eq("the sum of the pieces", &sum, &text);
            check_eq("the text of the response", response.text, text);
        }
    }

    /// M7: the pieces of the reasoning are the reasoning of the response.
    #[needs(Reasoning)]
    async fn pieces_of_reasoning_add_up(exam) {
        let reply = Reply::new(["four"]).reasoning(["two ", "and ", "two"]);
        let (sum, response) = texts(exam, reply, reasoning_of).await;
        check_eq("the sum of the pieces", sum.as_str(), "two and two");
        check_eq("the reasoning of the response", response.reasoning, sum);
        check_eq("the text of the response", response.text.as_str(), "four");
    }

    /// M7: the response comes once, and nothing comes after it.
    async fn the_response_is_the_last(exam) {
        for reply in replies() {
            let subject = exam.of(Scenario::Reply(reply)).await;
            let deltas = subject.deltas(&request()).await;
            let dones = deltas.iter().filter(|delta| matches!(delta, Ok(Delta::Done(_)))).count();
            check_eq("the number of responses", dones, 1);
            check(
                matches!(deltas.last(), Some(Ok(Delta::Done(_)))),
                format!("the response is not the last: {deltas:?}"),
            );
        }
    }

    /// M7: a stream ends with what a call returns.
    async fn a_stream_ends_with_what_a_call_returns(exam) {
        let mut all = replies();
        all.push(Reply::new(["four"]).reasoning(["two and two"]));
        all.push(Reply::new(Vec::<String>::new()).native_call(NativeCall::new("python", r#"{"code":"1"}"#)));
        for reply in all {
            let subject = exam.of(Scenario::Reply(reply)).await;
            let (_, streamed) = subject.pieces(&request()).await;
            let called = subject.answer(Way::Complete, &request()).await;
            check_eq("the response of a stream", lasting(streamed), lasting(called));
        }
    }

    /// M7: the pieces come as the provider sends them, and not at the end.
    #[needs(Pieces)]
    async fn pieces_come_before_the_end(exam) {
        let subject = exam.of(Scenario::Stall(Reply::new(["one ", "two"]))).await;
        let request = request();
        let mut stream = subject.model.stream(&request);
        let first = async {
            loop {
                match stream.next().await {
                    Some(Ok(Delta::Text(text))) if !text.is_empty() => break text,
                    Some(Ok(Delta::Text(_) | Delta::Usage(_))) => {}
                    other => fail(format!("expected a piece, got {other:?}")),
                }
            }
        };
        check_eq("the first piece", subject.in_time("the first piece", first).await.as_str(), "one ");
    }

    /// M7: an error ends a stream. Nothing comes after it, and no response before it.
    async fn an_error_ends_a_stream(exam) {
        let reply = Reply::new(["one ", "two"]);
        for scenario in [
            Scenario::Fail(ErrorKind::Server),
            Scenario::FailMidway(reply.clone(), ErrorKind::Server),
            Scenario::Cut(reply),
            Scenario::HangUp,
            Scenario::Garbage,
        ] {
            let subject = exam.of(scenario.clone()).await;
            let deltas = subject.deltas(&request()).await;
            let errors = deltas.iter().filter(|delta| delta.is_err()).count();
            let is_last = deltas.last().is_some_and(Result::is_err);
            let has_response = deltas.iter().any(|delta| matches!(delta, Ok(Delta::Done(_))));
            check(
                errors == 1 && is_last && !has_response,
                format!("expected one error at the end for {scenario:?}, got {deltas:?}"),
            );
        }
    }

    /// M7: what a stream says that was used until now is no more than it says at its end.
    async fn usage_grows(exam) {
        for reply in replies() {
            let told = reply.told_usage();
            let subject = exam.of(Scenario::Reply(reply)).await;
            let (pieces, response) = subject.pieces(&request()).await;
            for piece in pieces {
                if let Delta::Usage(usage) = piece {
                    let (now, end) = (usage.total_tokens(), response.usage.total_tokens());
                    check(now <= end && usage.calls <= 1, format!("{usage:?} before {:?}", response.usage));
                }
            }
            check_eq("tokens of the request", response.usage.input_tokens, told.input_tokens);
            check_eq("tokens of the reply", response.usage.output_tokens, told.output_tokens);
        }
    }

    /// M7: two streams of one model, read in turns, do not mix.
    async fn streams_side_by_side_do_not_mix(exam) {
        let subject = exam.of(Scenario::Echo).await;
        let requests = [Request::prompt("first"), Request::prompt("second")];
        let mut streams = [subject.model.stream(&requests[0]), subject.model.stream(&requests[1])];
        let mut texts = [String::new(), String::new()];
        let reading = async {
            let mut open = [true, true];
            while open != [false, false] {
                for (index, stream) in streams.iter_mut().enumerate() {
                    match stream.next().await {
                        Some(Ok(Delta::Text(text))) => texts[index] += &text,
                        Some(Ok(_)) => {}
                        Some(Err(error)) => fail(format!("{error:?}")),
                        None => open[index] = false,
                    }
                }
            }
        };
        subject.in_time("two streams", reading).await;
        check_eq("the texts", texts, ["first".to_owned(), "second".to_owned()]);
    }
}

fn text_of(delta: &Delta) -> Option<&str> {
    match delta {
        Delta::Text(text) => Some(text),
        _ => None,
    }
}

fn reasoning_of(delta: &Delta) -> Option<&str> {
    match delta {
        Delta::Reasoning(text) => Some(text),
        _ => None,
    }
}
