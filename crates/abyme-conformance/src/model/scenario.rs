//! What a provider is to do with the requests that come.

use abyme_core::{ErrorKind, FinishReason, NativeCall, Usage};
use serde_json::{Value, json};

/// What a provider does with each request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Scenario {
    /// It answers with this.
    Reply(Reply),
    /// It answers with the text of the request's last message.
    Echo,
    /// It answers with a failure that is of this kind. Of the kinds that providers tell:
    /// [`RateLimited`](ErrorKind::RateLimited), [`QuotaExceeded`](ErrorKind::QuotaExceeded),
    /// [`Auth`](ErrorKind::Auth), [`ContextTooLong`](ErrorKind::ContextTooLong),
    /// [`BadRequest`](ErrorKind::BadRequest), [`ContentRefused`](ErrorKind::ContentRefused) and
    /// [`Server`](ErrorKind::Server).
    Fail(ErrorKind),
    /// It says after the first piece of a stream that it fails. A request for a whole reply fails at once.
    FailMidway(Reply, ErrorKind),
    /// It takes the request and says nothing.
    Silent,
    /// It sends the first piece of its reply, and nothing more.
    Stall(Reply),
    /// It sends the first piece of its reply, and closes the connection.
    Cut(Reply),
    /// It takes the request and closes the connection.
    HangUp,
    /// It answers with something that is no reply.
    Garbage,
    /// It does something that only a server on a wire can do.
    Wire(WireFault),
}

/// What only a server on a wire can do. Where it concerns the events of a stream, a request for a whole reply
/// is answered with the reply.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WireFault {
    /// A page in HTML, with this status.
    Page(u16),
    /// This body, said to be JSON, with status 200.
    Body(String),
    /// A failure of this kind, with status 200.
    ErrorInSuccess(ErrorKind),
    /// The reply, with bytes in the middle of its text that are no UTF-8.
    BrokenText(Reply),
    /// A stream that ends in order, in the middle of an event.
    BrokenEvent(Reply),
    /// A stream that ends in order, without the events that say so.
    NoFinish(Reply),
    /// A stream whose last events come twice.
    TwoFinishes(Reply),
    /// A stream with comments, ids and empty lines between its events, whose lines end as in Windows.
    Comments(Reply),
    /// The reply, one byte at a time.
    Drip(Reply),
    /// A reply that has begun and of which a byte of white space comes now and then, without end.
    EndlessSpace,
    /// A failure (500) whose body does not end.
    EndlessFailure,
    /// A redirection to another server, which would answer.
    RedirectElsewhere,
    /// A redirection to itself, each time.
    RedirectLoop,
    /// A body that is small as it is sent, and large once it is decompressed.
    Bomb,
    /// A text without end: in pieces where a stream was asked for, in one piece otherwise.
    EndlessText,
    /// An event, or a body, that does not come to its end.
    EndlessLine,
    /// Too many requests (429), with this text as `Retry-After`.
    RetryAfter(String),
}

/// A reply as a provider gives it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Reply {
    /// The pieces of its reasoning.
    pub reasoning: Vec<String>,
    /// The pieces of its text.
    pub text: Vec<String>,
    /// Why it ended. [`FinishReason::Stop`], [`Length`](FinishReason::Length),
    /// [`ContentFilter`](FinishReason::ContentFilter), or another reason where the format has a place for it.
    pub finish_reason: FinishReason,
    /// What the provider says that it used. `None`: it does not say.
    pub usage: Option<TokenCounts>,
    /// A function that it calls.
    pub native_call: Option<NativeCall>,
}

/// Counts of tokens as a provider writes them, which need not be numbers that make sense.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TokenCounts {
    /// Of the request, what was cached included.
    pub input: Value,
    /// Of the request, as far as they came from a cache.
    pub cached: Value,
    /// Of the reply, reasoning included.
    pub output: Value,
    /// Of the reply's reasoning.
    pub reasoning: Value,
}

impl Reply {
    /// A reply of these pieces, with the usual counts of tokens.
    pub fn new<T: Into<String>>(pieces: impl IntoIterator<Item = T>) -> Self {
        let text = pieces.into_iter().map(Into::into).collect();
        Self { text, usage: Some(TokenCounts::usual()), ..Self::default() }
    }

    /// Sets the pieces of its reasoning.
    pub fn reasoning<T: Into<String>>(mut self, pieces: impl IntoIterator<Item = T>) -> Self {
        self.reasoning = pieces.into_iter().map(Into::into).collect();
        self
    }

    /// Sets why it ended.
    pub fn finish_reason(mut self, reason: FinishReason) -> Self {
        self.finish_reason = reason;
        self
    }

    /// Sets what the provider says that it used.
    pub fn usage(mut self, counts: impl Into<Option<TokenCounts>>) -> Self {
        self.usage = counts.into();
        self
    }

    /// Sets the function that it calls.
    pub fn native_call(mut self, call: NativeCall) -> Self {
        self.native_call = Some(call);
        self
    }

    /// What its counts say of one call.
    pub fn told_usage(&self) -> Usage {
        let mut usage = Usage::call();
        if let Some(counts) = &self.usage {
            usage.input_tokens = counts.input.as_u64();
            usage.cached_tokens = counts.cached.as_u64();
            usage.output_tokens = counts.output.as_u64();
            usage.reasoning_tokens = counts.reasoning.as_u64();
        }
        usage
    }
}

impl TokenCounts {
    /// 19 of the request, 8 of them cached, and 7 of the reply, 3 of them reasoning.
    pub fn usual() -> Self {
        Self { input: json!(19), cached: json!(8), output: json!(7), reasoning: json!(3) }
    }

    /// Numbers that count nothing: below 0, a fraction, more than there are.
    pub fn absurd() -> Self {
        Self { input: json!(-19), cached: json!(0.5), output: json!(1e300), reasoning: json!(-3) }
    }
}
