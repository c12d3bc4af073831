//! A reply as a stream of events: what the model writes on its way, signs of life, the answer in pieces.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};

use crate::{job::Job, refusal::Refusal, reply::Answer};

/// Most bytes of the answer in one event. Some clients read lines of a bounded length.
const MAX_PIECE_BYTES: usize = 4 << 10;

/// What is left of a stream.
#[derive(Debug)]
struct EventQueue {
    events: VecDeque<Bytes>,
    /// Until the run has ended.
    job: Option<Job>,
    include_usage: bool,
    keep_alive: Duration,
}

/// The stream of a job, as the body of a response. Dropping it cancels the run.
pub(crate) fn body(job: Job, include_usage: bool, keep_alive: Duration) -> Body {
    let role = job.head.piece(&json!({"role": "assistant", "content": ""}), None);
    let queue = EventQueue { events: [event(&role)].into(), job: Some(job), include_usage, keep_alive };
    Body::from_stream(stream::unfold(queue, |mut queue| async {
        let event = queue.next().await?;
        Some((Ok::<_, Infallible>(event), queue))
    }))
}

impl EventQueue {
    /// The next event, or `None` after the last one.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let job = self.job.as_mut()?;
            let thoughts = job.thoughts.clone();
            tokio::select! {
                // All thoughts come before the answer.
                biased;
                text = thoughts.next() => {
                    let piece = |text| event(&job.head.piece(&json!({"reasoning_content": text}), None));
                    self.events.extend(pieces(&text).map(piece));
                }
                ended = job.ended() => {
                    self.end(ended);
                    self.job = None;
                }
                () = tokio::time::sleep(self.keep_alive) => {
                    self.events.push_back(Bytes::from_static(b": still at work\n\n"));
                }
            }
        }
    }

    /// The events after the end of the run.
    fn end(&mut self, ended: Result<Answer, Refusal>) {
        let Some(Job { head, .. }) = &self.job else { return };
        match ended {
            Ok(answer) => {
                let delta = |text: &str| json!({"content": text});
                let text = pieces(&answer.text).map(|piece| event(&head.piece(&delta(piece), None)));
                self.events.extend(text);
                self.events.push_back(event(&head.piece(&json!({}), Some(&answer))));
                if self.include_usage {
                    self.events.push_back(event(&head.usage(&answer)));
                }
                self.events.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
            }
            // The status is sent already; clients raise what comes as an error.
            Err(refusal) => self.events.push_back(event(&refusal.object())),
        }
    }
}

fn event(data: &Value) -> Bytes {
    // JSON is one line.
    Bytes::from(format!("data: {data}\n\n"))
}

/// The text in pieces that are short enough, none of which ends within a character.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut left = text;
    std::iter::from_fn(move || {
        let (piece, rest) = left.split_at(left.floor_char_boundary(MAX_PIECE_BYTES));
        left = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_add_up_and_are_short() {
        let text = "aé漢👩‍🚀".repeat(3_000);
        let all: Vec<_> = pieces(&text).collect();
        assert_eq!(all.concat(), text);
        assert!(all.len() > 5 && all.iter().all(|piece| piece.len() <= MAX_PIECE_BYTES));
        assert_eq!(pieces("").count(), 0);
    }
}
