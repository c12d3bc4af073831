//! The transcript of one run: what was said, and what is said next.
//!
//! It only grows at its end, so that providers' prompt caches hit. The one exception is a transcript that
//! the model or its provider refuses as it is: then earlier messages are cut.

use super::budget::CallSize;
use crate::{
    model::{Message, Request, Role},
    trajectory::{Event, Recorder},
};

/// What is kept of a message that is cut, at each of its ends, in characters.
const KEPT_CHARS: usize = 200;

/// The messages of one run.
pub(super) struct Transcript<'a> {
    recorder: &'a Recorder,
    messages: Vec<Message>,
    /// How many of them are never cut: the rules and the task.
    first: usize,
    /// The user's message of the next request. Not sent yet, so an extract call may still add to it.
    pending: String,
}

impl<'a> Transcript<'a> {
    pub(super) fn new(recorder: &'a Recorder) -> Self {
        Self { recorder, messages: Vec::new(), first: 0, pending: String::new() }
    }

    /// Begins with these messages.
    pub(super) fn open(&mut self, messages: Vec<Message>) {
        self.first = messages.len();
        self.messages = messages;
    }

    /// Begins anew with these messages: nothing that was said counts.
    pub(super) fn reopen(&mut self, turn: u32, messages: Vec<Message>, reason: &str) {
        self.pending.clear();
        self.open(messages);
        self.record_cut(turn, reason);
    }

    /// The next request. It ends with `prefill`, where that is not empty.
    ///
    /// Later requests repeat all of it. Those of other tasks repeat what comes before the task.
    pub(super) fn request(&self, prefill: &str) -> Request {
        let mut messages = self.messages.clone();
        let shared = self.first.saturating_sub(2);
        let said = messages.len().saturating_sub(1);
        if !prefill.is_empty() {
            messages.push(Message::assistant(prefill));
        }
        Request::new(messages).cache_points(vec![shared, said])
    }

    #[cfg(test)]
    fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The size of the next request.
    pub(super) fn size(&self) -> CallSize {
        let mut size = CallSize::of_messages(&self.messages);
        size.bytes += self.pending.len();
        size
    }

    /// Adds to the user's next message.
    pub(super) fn add(&mut self, text: String) {
        if !self.pending.is_empty() {
            self.pending.push_str("\n\n");
        }
        self.pending.push_str(&text);
    }

    /// Appends what the model said. Some servers refuse a message without content.
    pub(super) fn replied(&mut self, turn: u32, text: &str) {
        let text = if text.trim().is_empty() { "(no reply)" } else { text };
        self.say(turn, Message::assistant(text));
    }

    /// Appends the pending text as the user's message.
    ///
    /// Two messages of the user in a row become one, because many chat templates refuse them: after a failed
    /// call the last message is the user's, and grows at its end.
    pub(super) fn send_pending(&mut self, turn: u32) {
        let text = std::mem::take(&mut self.pending);
        if text.is_empty() {
            return;
        }
        match self.messages.last_mut() {
            Some(last) if last.role == Role::User && turn > 0 => {
                last.content.push_str("\n\n");
                last.content.push_str(&text);
                self.recorder.record(Event::MessageAppended { turn, message: Message::user(text) });
            }
            _ => self.say(turn, Message::user(text)),
        }
    }

    fn say(&mut self, turn: u32, message: Message) {
        self.recorder.record(Event::MessageAppended { turn, message: message.clone() });
        self.messages.push(message);
    }

    /// Cuts the oldest messages until half of what can be cut is gone. Says whether there was anything.
    pub(super) fn cut_half(&mut self, turn: u32, reason: &str) -> bool {
        let Some(later) = self.messages.get_mut(self.first..) else { return false };
        let spare =
            |message: &Message| message.content.chars().count().saturating_sub(2 * KEPT_CHARS + NOTE_CHARS);
        let all: usize = later.iter().map(spare).sum();
        let mut gone = 0;
        for message in later {
            if gone * 2 >= all {
                break;
            }
            let chars = spare(message);
            if chars > 0 {
                message.content = ends(&message.content);
                gone += chars;
            }
        }
        if gone > 0 {
            self.record_cut(turn, reason);
        }
        gone > 0
    }

    /// Puts `note` in the place of the last message of the user that a cell led to. Says whether there was
    /// one.
    pub(super) fn replace_last(&mut self, turn: u32, note: &str, reason: &str) -> bool {
        let later = self.messages.iter_mut().skip(self.first);
        let Some(last) = later.rev().find(|message| message.role == Role::User) else { return false };
        if last.content == note {
            return false;
        }
        note.clone_into(&mut last.content);
        self.record_cut(turn, reason);
        true
    }

    fn record_cut(&self, turn: u32, reason: &str) {
        let (reason, messages) = (reason.to_owned(), self.messages.clone());
        self.recorder.record(Event::TranscriptCut { turn, reason, messages });
    }
}

/// About as long as the note in the place of what was cut.
const NOTE_CHARS: usize = 100;

/// The beginning and the end of a text, and how much is missing.
fn ends(text: &str) -> String {
    let total = text.chars().count();
    let head: String = text.chars().take(KEPT_CHARS).collect();
    let tail: String = text.chars().skip(total - KEPT_CHARS).collect();
    let left_out = total - 2 * KEPT_CHARS;
    format!(
        "{head}\n... ({left_out} characters left out to save space; variables are as they were) ...\n{tail}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_messages_are_cut_first_and_the_task_never() {
        let recorder = Recorder::new(String::new(), Vec::new());
        let mut transcript = Transcript::new(&recorder);
        let long = |what: &str| what.repeat(2_000);
        transcript.open(vec![Message::system(long("s")), Message::user(long("t"))]);
        assert!(!transcript.cut_half(1, "too long"));
        for turn in 1..=4 {
            transcript.replied(turn, "short");
            transcript.add(long("x"));
            transcript.send_pending(turn);
        }
        assert!(transcript.cut_half(5, "too long"));
        let lengths: Vec<_> = transcript.messages().iter().map(|message| message.content.len()).collect();
        assert!(lengths[3] < 500 && lengths[5] < 500, "{lengths:?}");
        assert_eq!((lengths[0], lengths[1], lengths[7], lengths[9]), (2_000, 2_000, 2_000, 2_000));
        assert!(transcript.cut_half(5, "too long") && transcript.cut_half(5, "too long"));
        assert!(!transcript.cut_half(5, "too long"), "nothing is left to cut");
        assert_eq!(recorder.trajectory().events().count(), 8 + 3);
    }
}
