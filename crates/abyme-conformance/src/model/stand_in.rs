//! A model that does in process what a server does on the wire.

use std::{collections::VecDeque, time::Duration};

use abyme_core::{
    Error, ErrorKind, LanguageModel, Request, Response, Result,
    model::{Delta, ResponseStream, collect},
};
use async_trait::async_trait;
use futures_util::stream;
use tokio::time::{Instant, sleep_until};

use super::{
    provider::{Answering, Provider},
    scenario::{Reply, Scenario},
};

/// A model without a wire, whose provider does what a [`Scenario`] says. It keeps the whole contract, so a
/// wrapper around it is to blame for what is wrong. Clones have the same provider.
#[derive(Clone, Debug)]
pub struct StandInModel {
    provider: Provider,
}

/// One thing that the provider does: it sends this, or says nothing more.
type Step = Option<Result<Delta>>;

impl StandInModel {
    /// A model of this provider.
    pub fn new(provider: Provider) -> Self {
        Self { provider }
    }

    /// Its provider.
    pub fn provider(&self) -> &Provider {
        &self.provider
    }

    fn steps(&self, request: &Request) -> VecDeque<Step> {
        let fails = |kind| Some(Err(Error::new(kind, "the stand-in fails as it was asked to")));
        let first = |reply: &Reply| Some(Ok(pieces(reply).next().unwrap_or(Delta::Text(String::new()))));
        match self.provider.scenario() {
            Scenario::Reply(reply) => whole(reply),
            Scenario::Echo => whole(&Reply::new(request.messages.last().map(|message| &*message.content))),
            Scenario::Fail(kind) => [fails(*kind)].into(),
            Scenario::FailMidway(reply, kind) => [first(reply), fails(*kind)].into(),
            Scenario::Silent => [None].into(),
            Scenario::Stall(reply) => [first(reply), None].into(),
            Scenario::Cut(reply) => [first(reply), fails(ErrorKind::Connection)].into(),
            Scenario::HangUp => [fails(ErrorKind::Connection)].into(),
            Scenario::Garbage => [fails(ErrorKind::MalformedReply)].into(),
            Scenario::Wire(_) => [fails(ErrorKind::Unsupported)].into(),
        }
    }
}

/// The reasoning and the text of a reply.
fn pieces(reply: &Reply) -> impl Iterator<Item = Delta> {
    let reasoning = reply.reasoning.iter().cloned().map(Delta::Reasoning);
    reasoning.chain(reply.text.iter().cloned().map(Delta::Text))
}

fn whole(reply: &Reply) -> VecDeque<Step> {
    let response = Response::new(reply.text.concat())
        .reasoning(reply.reasoning.concat())
        .usage(reply.told_usage())
        .finish_reason(reply.finish_reason.clone())
        .native_call(reply.native_call.clone());
    let usage = Delta::Usage(response.usage);
    pieces(reply).chain([usage, Delta::Done(response)]).map(|delta| Some(Ok(delta))).collect()
}

#[async_trait]
impl LanguageModel for StandInModel {
    fn name(&self) -> &str {
        "stand-in"
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        collect(self.stream(request)).await
    }

    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        struct Call {
            answering: Option<Answering>,
            steps: VecDeque<Step>,
            timeout: Option<(Instant, Duration)>,
        }
        Box::pin(stream::unfold(None, move |call: Option<Call>| async move {
            let mut call = call.unwrap_or_else(|| Call {
                answering: Some(self.provider.received(request.clone())),
                steps: self.steps(request),
                timeout: request.timeout.map(|limit| (Instant::now() + limit, limit)),
            });
            let sent = match (call.steps.pop_front()?, call.timeout) {
                (Some(sent), _) => sent,
                (None, None) => std::future::pending().await,
                (None, Some((deadline, limit))) => {
                    sleep_until(deadline).await;
                    let message = format!("the stand-in was not done within {limit:?}");
                    return Some((Err(Error::new(ErrorKind::ModelTimeout, message)), Some(call)));
                }
            };
            if call.steps.is_empty()
                && let Some(answering) = call.answering.take()
            {
                answering.done();
            }
            Some((sent, Some(call)))
        }))
    }
}
