//! What the model of a run writes on its way to the answer, for those who watch a stream.

use std::sync::{Arc, Mutex, PoisonError};

use abyme_core::{Event, EventSink, Record};
use tokio::sync::Notify;

/// Most bytes that wait for a client that reads slowly. What comes then is left out.
const MAX_PENDING_BYTES: usize = 256 << 10;

/// The text that was not sent yet.
#[derive(Debug)]
pub(crate) struct Thoughts {
    /// Children think aloud too, all at the same time; only the run itself is shown.
    run: String,
    pending: Mutex<PendingText>,
    news: Notify,
}

#[derive(Debug, Default)]
struct PendingText {
    text: String,
    is_cut: bool,
}

impl Thoughts {
    pub(crate) fn of(run: &str) -> Self {
        Self { run: run.to_owned(), pending: Mutex::default(), news: Notify::new() }
    }

    /// Waits for text.
    pub(crate) async fn next(&self) -> String {
        loop {
            {
                let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
                let PendingText { mut text, is_cut } = std::mem::take(&mut *pending);
                if is_cut {
                    text.push_str("\n[...]\n");
                }
                if !text.is_empty() {
                    return text;
                }
            }
            self.news.notified().await;
        }
    }

    fn push(&self, piece: &str) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.is_cut || pending.text.len() + piece.len() > MAX_PENDING_BYTES {
            pending.is_cut = true;
        } else {
            pending.text.push_str(piece);
        }
        self.news.notify_one();
    }
}

impl EventSink for Thoughts {
    fn record(&self, record: &Arc<Record>) {
        if record.run == self.run && matches!(record.event, Event::ModelReplied { .. }) {
            self.push("\n\n");
        }
    }

    fn piece(&self, piece: &Arc<Record>) {
        if let (true, Event::ModelText { text, .. }) = (piece.run == self.run, &piece.event) {
            self.push(text);
        }
    }

    fn wants_pieces(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_reader_costs_bounded_memory() {
        let thoughts = Thoughts::of("r");
        thoughts.push("a");
        thoughts.push("b");
        assert_eq!(thoughts.next().await, "ab");
        let piece = "x".repeat(100 << 10);
        (0..100).for_each(|_| thoughts.push(&piece));
        let text = thoughts.next().await;
        assert!(text.len() < 300 << 10 && text.ends_with("\n[...]\n"), "{}", text.len());
        thoughts.push("c");
        assert_eq!(thoughts.next().await, "c");
    }
}
