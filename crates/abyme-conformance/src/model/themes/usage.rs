//! M3: unknown usage is unknown, never 0.

use abyme_core::{Request, Usage};

use crate::model::{
    case::model_cases,
    exam::{Exam, WAYS, check_eq},
    scenario::{Reply, Scenario, TokenCounts},
};

/// What calls use according to the model, each way, beside its way.
async fn told(
    exam: &Exam,
    reply: &Reply,
    field: fn(&Usage) -> Option<u64>,
    expected: Option<u64>,
    what: &str,
) {
    for way in WAYS {
        let subject = exam.of(Scenario::Reply(reply.clone())).await;
        let usage = subject.answer(way, &Request::prompt("?")).await.usage;
        check_eq(format!("{way:?}: {what}"), field(&usage), expected);
    }
}

fn reply() -> Reply {
    Reply::new(["fine"])
}

model_cases! {
    theme m3_usage, clause 3;

    /// M3: the tokens of request and reply are those that the provider counted, cached and reasoning tokens
    /// included.
    async fn tokens_are_counted(exam) {
        told(exam, &reply(), |usage| usage.input_tokens, Some(19), "tokens of the request").await;
        told(exam, &reply(), |usage| usage.output_tokens, Some(7), "tokens of the reply").await;
    }

    /// M3: what came from the provider's cache is told.
    #[needs(CachedTokens)]
    async fn cached_tokens_are_counted(exam) {
        told(exam, &reply(), |usage| usage.cached_tokens, Some(8), "tokens from a cache").await;
    }

    /// M3: what the model thought is told.
    #[needs(ReasoningTokens)]
    async fn reasoning_tokens_are_counted(exam) {
        told(exam, &reply(), |usage| usage.reasoning_tokens, Some(3), "tokens of reasoning").await;
    }

    /// M3: a call is one call.
    async fn a_call_is_one_call(exam) {
        told(exam, &reply(), |usage| Some(usage.calls), Some(1), "calls").await;
    }

    /// M3: what a provider does not say is unknown. The call counts all the same.
    async fn what_is_not_said_is_unknown(exam) {
        for way in WAYS {
            let subject = exam.of(Scenario::Reply(reply().usage(None))).await;
            let usage = subject.answer(way, &Request::prompt("?")).await.usage;
            check_eq(format!("{way:?}: usage"), usage, Usage::call());
        }
    }

    /// M3: counts that cannot be true are unknown, and cost neither the reply nor the call.
    #[needs(Wire)]
    async fn absurd_counts_are_unknown(exam) {
        for way in WAYS {
            let subject = exam.of(Scenario::Reply(reply().usage(TokenCounts::absurd()))).await;
            let response = subject.answer(way, &Request::prompt("?")).await;
            let mut usage = response.usage;
            usage.cache_write_tokens = None;
            check_eq(format!("{way:?}: usage"), usage, Usage::call());
            check_eq(format!("{way:?}: the text"), response.text.as_str(), "fine");
        }
    }
}
