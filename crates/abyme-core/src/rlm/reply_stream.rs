//! A reply of the root model as it comes: its pieces are shown, and its generation ends where the rest would
//! be dropped.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use abyme_python_syntax::ReplyWatch;
use futures_util::{FutureExt, StreamExt};

use crate::{
    error::{Error, ErrorKind, Result},
    model::{Delta, FinishReason, Response, ResponseStream, Usage},
    trajectory::{Event, Purpose, Recorder, ReplyPart},
};

/// How one reply is read.
#[derive(Clone, Copy)]
pub(super) struct ReplyStream<'a> {
    pub(super) recorder: &'a Recorder,
    pub(super) turn: u32,
    pub(super) purpose: Purpose,
    /// What the request ends with, for the model to go on from. It is part of the reply.
    pub(super) prefill: &'a str,
    /// Whether the generation may end before the model ends it.
    pub(super) may_stop: bool,
    /// Whether the text may turn out to be a thought.
    pub(super) may_be_thought: bool,
}

/// What came of a reply.
pub(super) enum Received {
    /// All of it.
    Whole(Box<Response>),
    /// As much as there is use for. The stream was dropped, which ends the generation.
    Stopped {
        text: String,
        reasoning: String,
        /// Whether the provider's last word on the usage counts all of it.
        is_counted: bool,
    },
}

impl ReplyStream<'_> {
    /// Reads a stream to its end, or until the rest of the reply would be dropped. `said` becomes what the
    /// provider says of the usage meanwhile.
    pub(super) async fn receive(
        self,
        mut stream: ResponseStream<'_>,
        said: &mut Option<Usage>,
    ) -> Result<Received> {
        let mut watch = ReplyWatch::new(self.may_be_thought);
        let mut reasoning = String::new();
        let (mut is_counted, mut is_settled) = (false, false);
        loop {
            let delta = match is_settled {
                false => stream.next().await,
                // What is there already costs nothing, and may be the usage.
                true => stream.next().now_or_never().flatten(),
            };
            match delta {
                Some(Ok(Delta::Done(response))) => {
                    let text = self.whole_text(&response.text, true);
                    return Ok(Received::Whole(Box::new(Response { text, ..response })));
                }
                Some(Ok(Delta::Text(piece))) => {
                    let piece = self.whole_text(&piece, watch.text().is_empty());
                    self.show(ReplyPart::Text, &piece);
                    is_settled = watch.push(&piece) && self.may_stop || is_settled;
                    is_counted = false;
                }
                Some(Ok(Delta::Reasoning(piece))) => {
                    self.show(ReplyPart::Reasoning, &piece);
                    watch.thoughts_come_apart();
                    reasoning.push_str(&piece);
                    is_counted = false;
                }
                Some(Ok(Delta::Usage(usage))) => {
                    *said = Some(usage);
                    is_counted = usage.output_tokens.is_some();
                }
                Some(Ok(Delta::RateLimits(_))) => {}
                _ if is_settled => {
                    let text = watch.text().to_owned();
                    return Ok(Received::Stopped { text, reasoning, is_counted });
                }
                Some(Err(error)) => return Err(error),
                None => {
                    let message = "the reply's stream ended before the reply did";
                    return Err(Error::new(ErrorKind::MalformedReply, message));
                }
            }
        }
    }

    fn show(&self, part: ReplyPart, piece: &str) {
        let (turn, purpose) = (self.turn, self.purpose);
        if !piece.is_empty() {
            self.recorder.show(|| Event::ModelText { turn, purpose, part, text: piece.to_owned() });
        }
    }

    /// A text of the reply, after what the request ended with where it is the beginning. A server that does
    /// not go on from there begins anew, and opens a block of its own.
    fn whole_text(&self, text: &str, is_beginning: bool) -> String {
        let opens = text.split_once("```").is_some_and(|(_, rest)| rest.starts_with(char::is_alphabetic));
        let is_anew = text.trim().is_empty() || text.trim_start().starts_with('`') || opens;
        match is_beginning && !is_anew {
            true => format!("{}{text}", self.prefill),
            false => text.to_owned(),
        }
    }
}

/// The models whose replies are known to begin with no thought that only a closing tag tells: one was
/// received whole, and it had none.
#[derive(Debug, Default)]
pub(super) struct PlainModels(Mutex<HashSet<String>>);

impl PlainModels {
    pub(super) fn contains(&self, model: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(model)
    }

    /// Learns from a whole reply.
    pub(super) fn learn(&self, model: &str, response: &Response) {
        let text = response.text.to_ascii_lowercase();
        let mut plain = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ["</think", "</thought"].iter().any(|tag| text.contains(tag)) {
            plain.remove(model);
        } else if response.finish_reason == FinishReason::Stop && !text.trim().is_empty() {
            plain.insert(model.to_owned());
        }
    }
}
