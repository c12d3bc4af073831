//! The transcript of one run: what was said, and what is said next.
//!
//! It only grows at its end, so that providers' prompt caches hit. There are two exceptions: earlier turns
//! whose place a summary takes, and a transcript that the model or its provider refuses as it is, whose
//! earlier messages are cut, or left out.

use abyme_python_syntax::{Reply, parse_reply};

use super::budget::CallSize;
use crate::{
    model::{BYTES_PER_TOKEN, Message, Request, Role, Usage, bytes_of},
    prompt,
    trajectory::{Event, Purpose, Recorder},
    value::Value,
};

/// What is kept of a message that is cut, at each of its ends, in characters.
const KEPT_CHARS: usize = 200;

/// In the place of a summary of turns that are left out.
const NOT_SUMMARISED: &str = "(What is not summarised here is left out to save space.)";

/// The least share of the messages that a summary has to take the place of.
const LEAST_COMPACTED: usize = 8;

/// The messages of one run.
pub(super) struct Transcript<'a> {
    recorder: &'a Recorder,
    messages: Vec<Message>,
    /// How many of them every run of the task begins with: the rules and the task.
    first: usize,
    /// Whether a request has all turns in the message of the task.
    is_one_message: bool,
    /// The user's message of the next request. Not sent yet, so an extract call may still add to it.
    pending: String,
    /// All turns, whole.
    turns: Vec<WholeTurn>,
    /// How many of them the summary stands for, which is the message after the first ones.
    summarised: usize,
    /// The variable of the session that holds these.
    variable: Option<String>,
    /// Bytes of the last request that was counted, for each of its tokens.
    bytes_per_token: Option<f64>,
    /// Bytes of the shortest request that the model refused as too long.
    refused_bytes: Option<usize>,
}

/// A turn as it was: what the model said, and what it read then.
struct WholeTurn {
    turn: u32,
    reply: String,
    output: String,
}

/// Which messages a summary takes the place of.
pub(super) struct CompactionPlan {
    /// The index of the last one: what the model said in the last turn that is summarised.
    last: usize,
    /// How many turns there are until then, from the first one of the run.
    turns: usize,
}

impl<'a> Transcript<'a> {
    pub(super) fn new(recorder: &'a Recorder, is_one_message: bool) -> Self {
        Self {
            recorder,
            messages: Vec::new(),
            first: 0,
            is_one_message,
            pending: String::new(),
            turns: Vec::new(),
            summarised: 0,
            variable: None,
            bytes_per_token: None,
            refused_bytes: None,
        }
    }

    /// Begins with these messages.
    pub(super) fn open(&mut self, messages: Vec<Message>) {
        self.first = messages.len();
        self.messages = messages;
    }

    /// Begins anew with these messages: nothing that was said counts.
    pub(super) fn reopen(&mut self, turn: u32, messages: Vec<Message>, reason: &str) {
        self.pending.clear();
        self.turns.clear();
        self.summarised = 0;
        self.open(messages);
        self.record_cut(turn, reason);
    }

    /// The next request. It ends with `prefill`, where that is not empty.
    ///
    /// Later requests repeat all of it. Those of other tasks repeat what comes before the task.
    pub(super) fn request(&self, prefill: &str) -> Request {
        let mut messages = self.in_shape(self.messages.clone());
        let shared = self.first.saturating_sub(2);
        let said = messages.len().saturating_sub(1);
        if !prefill.is_empty() {
            messages.push(Message::assistant(prefill));
        }
        Request::new(messages).cache_points(vec![shared, said])
    }

    /// The messages as a request has them.
    fn in_shape(&self, mut messages: Vec<Message>) -> Vec<Message> {
        if !self.is_one_message {
            return messages;
        }
        let turns = messages.split_off(self.first.min(messages.len()));
        let Some(task) = messages.last_mut() else { return turns };
        let mut step = 0;
        for message in turns {
            if message.role == Role::Assistant {
                step += 1;
                task.content.push_str(&format!("\n\n=== Step {step} ==="));
            }
            task.content.push_str(&format!("\n{}", message.content));
        }
        messages
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
        self.turns.push(WholeTurn { turn, reply: text.to_owned(), output: String::new() });
        self.say(turn, Message::assistant(text));
    }

    /// Appends the pending text as the user's message, for a request of this purpose.
    ///
    /// Two messages of the user in a row become one, because many chat templates refuse them: after a failed
    /// call the last message is the user's, and grows at its end.
    pub(super) fn send_pending(&mut self, turn: u32, purpose: Purpose) {
        self.recorder.expect(purpose, &self.pending);
        let text = std::mem::take(&mut self.pending);
        if text.is_empty() {
            return;
        }
        let said = self.recorder.say(turn, Message::user(text));
        if let Some(last) = self.turns.last_mut() {
            let gap = if last.output.is_empty() { "" } else { "\n\n" };
            last.output.push_str(&format!("{gap}{}", said.content));
        }
        match self.messages.last_mut() {
            Some(last) if last.role == Role::User && turn > 0 => {
                last.content.push_str("\n\n");
                last.content.push_str(&said.content);
            }
            _ => self.messages.push(said),
        }
    }

    fn say(&mut self, turn: u32, message: Message) {
        let said = self.recorder.say(turn, message);
        self.messages.push(said);
    }

    /// Cuts the oldest messages until half of what can be cut is gone. Says whether there was anything.
    pub(super) fn cut_half(&mut self, turn: u32, reason: &str) -> bool {
        let fixed = self.fixed();
        let Some(later) = self.messages.get_mut(fixed..) else { return false };
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
        let fixed = self.fixed();
        let later = self.messages.iter_mut().skip(fixed);
        let Some(last) = later.rev().find(|message| message.role == Role::User) else { return false };
        if last.content == note {
            return false;
        }
        note.clone_into(&mut last.content);
        self.record_cut(turn, reason);
        true
    }

    /// How many messages are never cut: the first ones, and the summary where there is one.
    fn fixed(&self) -> usize {
        self.first + usize::from(self.summarised > 0)
    }

    /// Learns how many bytes a token has, from what a request of so many bytes used.
    pub(super) fn learn(&mut self, bytes: usize, usage: &Usage) {
        // A reply from a cache says that it used nothing.
        if let Some(tokens) = usage.input_tokens.filter(|&tokens| tokens > 0) {
            self.bytes_per_token = Some(bytes as f64 / tokens as f64);
        }
    }

    /// Learns that the model refuses a request of this size.
    pub(super) fn learn_too_long(&mut self) {
        let bytes = bytes_of(&self.messages);
        self.refused_bytes = Some(self.refused_bytes.map_or(bytes, |before| before.min(bytes)));
    }

    /// About how many bytes the model can read, which takes so many tokens, as far as that is known.
    pub(super) fn limit_bytes(&self, max_input_tokens: Option<u64>) -> Option<f64> {
        let bytes_per_token = self.bytes_per_token.unwrap_or(BYTES_PER_TOKEN);
        let known = max_input_tokens.map(|tokens| tokens as f64 * bytes_per_token);
        let learnt = self.refused_bytes.map(|bytes| bytes as f64);
        known.into_iter().chain(learnt).reduce(f64::min)
    }

    /// What a summary would take the place of: all turns but the last ones. At most `most_kept` turns stay,
    /// and no more of them than leave the messages within `kept_bytes`. `None` where that is not worth a
    /// call.
    pub(super) fn plan_compaction(
        &self,
        most_kept: usize,
        kept_bytes: Option<f64>,
    ) -> Option<CompactionPlan> {
        let fixed = self.fixed();
        let replies = self.replies();
        let bytes = |range: std::ops::Range<usize>| bytes_of(&self.messages[range]);
        let all = self.messages.len();
        let fits = |last: usize| {
            kept_bytes.is_none_or(|most| (bytes(0..self.first) + bytes(last + 1..all)) as f64 <= most)
        };
        let kept = (0..=most_kept.min(replies.len().checked_sub(1)?)).rev();
        let mut lasts = kept.map(|kept| replies.len() - 1 - kept).filter(|&at| replies[at] + 1 < all);
        let at = lasts.clone().find(|&at| fits(replies[at])).or_else(|| lasts.next_back())?;
        let last = replies[at];
        let is_worth_it = bytes(fixed..last + 1) * LEAST_COMPACTED >= bytes(0..all);
        is_worth_it.then_some(CompactionPlan { last, turns: self.summarised + at + 1 })
    }

    /// The older half of the turns of a plan; `None` where there is but one.
    pub(super) fn older_half(&self, plan: &CompactionPlan) -> Option<CompactionPlan> {
        let replies = self.replies();
        let count = replies.iter().filter(|&&index| index <= plan.last).count() / 2;
        let last = *replies.get(count.checked_sub(1)?)?;
        Some(CompactionPlan { last, turns: self.summarised + count })
    }

    /// Leaves out the older half of the turns, or all of them where that is not shorter. Says whether it did.
    /// They are in the variable alone then. Names that are `taken` are not those of the variable.
    pub(super) fn leave_out(&mut self, turn: u32, taken: &[&str]) -> bool {
        let replies = self.replies();
        // The user's last message answers the last reply, and is always sent.
        let sent = replies.iter().filter(|&&index| index + 1 < self.messages.len()).count();
        let summary = self.messages.get(self.first).filter(|_| self.summarised > 0);
        let before =
            summary.map_or("", |summary| summary.content.trim_end_matches(NOT_SUMMARISED).trim_end());
        let summary = format!("{before}\n\n{NOT_SUMMARISED}").trim_start().to_owned();
        [sent.div_ceil(2), sent].into_iter().filter(|&count| count > 0).any(|count| {
            let plan = CompactionPlan { last: replies[count - 1], turns: self.summarised + count };
            self.compact(turn, plan, &summary, taken)
        })
    }

    /// Where the replies are that no summary stands for.
    fn replies(&self) -> Vec<usize> {
        let all = self.fixed()..self.messages.len();
        all.filter(|&index| self.messages[index].role == Role::Assistant).collect()
    }

    /// The request for the summary: it begins as the requests before it did, and ends with `ask`.
    pub(super) fn summary_request(&self, plan: &CompactionPlan, ask: &str) -> Request {
        let mut messages = self.messages[..=plan.last].to_vec();
        messages.push(Message::user(ask));
        let messages = self.in_shape(messages);
        Request::new(messages).cache_points(vec![self.first.saturating_sub(2), plan.last.saturating_sub(1)])
    }

    /// Puts a summary in the place of the turns of a plan. Says whether it did: only where that is shorter.
    /// Names that are `taken` are not those of the variable that holds the turns.
    pub(super) fn compact(&mut self, turn: u32, plan: CompactionPlan, summary: &str, taken: &[&str]) -> bool {
        let Some(summarised) = self.turns.get(..plan.turns) else { return false };
        let numbers = summarised.first().zip(summarised.last());
        let Some((first, through)) = numbers.map(|(first, last)| (first.turn, last.turn)) else {
            return false;
        };
        let variable = self.variable.clone().unwrap_or_else(|| self.free_name(taken));
        let mut kept = self.messages[plan.last + 1..].to_vec();
        let Some(next) = kept.first_mut() else { return false };
        next.content = format!("{}\n\n{}", prompt::compacted(first, through, &variable), next.content);
        let mut messages = self.messages[..self.first].to_vec();
        messages.push(Message::assistant(summary));
        messages.append(&mut kept);
        if bytes_of(&messages) >= bytes_of(&self.messages) {
            return false;
        }
        self.messages = messages;
        self.summarised = plan.turns;
        self.variable = Some(variable.clone());
        let messages = self.messages.clone();
        self.recorder.record(Event::TranscriptCompacted { turn, through, variable, messages });
        true
    }

    /// A name for the variable that holds the summarised turns, which the task and the cells do not use.
    fn free_name(&self, taken: &[&str]) -> String {
        let is_word = |char: char| char.is_alphanumeric() || char == '_';
        let is_free = |name: &String| {
            let mut words = self.turns.iter().flat_map(|turn| turn.reply.split(|char| !is_word(char)));
            !taken.contains(&name.as_str()) && words.all(|word| word != name)
        };
        let numbered = (2..).map(|number| format!("history_{number}"));
        std::iter::once("history".to_owned()).chain(numbered).find(is_free).unwrap_or_default()
    }

    /// The variable that holds the summarised turns, and its value; `None` where there are none.
    pub(super) fn history(&self) -> Option<(String, Value)> {
        let turns = self.turns.get(..self.summarised).filter(|turns| !turns.is_empty())?;
        Some((self.variable.clone()?, turns.iter().map(WholeTurn::to_value).collect()))
    }

    fn record_cut(&self, turn: u32, reason: &str) {
        let (reason, messages) = (reason.to_owned(), self.messages.clone());
        self.recorder.record(Event::TranscriptCut { turn, reason, messages });
    }
}

impl WholeTurn {
    fn to_value(&self) -> Value {
        let (reasoning, code) = match parse_reply(&self.reply) {
            Reply::Code { reasoning, code, .. } => (reasoning, code),
            _ => (self.reply.clone(), String::new()),
        };
        let entries = [
            ("turn", Value::from(self.turn)),
            ("reasoning", reasoning.into()),
            ("code", code.into()),
            ("output", Value::from(&self.output)),
        ];
        Value::Dict(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
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
    use crate::trajectory::Terms;

    #[test]
    fn the_oldest_messages_are_cut_first_and_the_task_never() {
        let recorder = Recorder::new(String::new(), Vec::new(), Terms::default());
        let mut transcript = Transcript::new(&recorder, false);
        let long = |what: &str| what.repeat(2_000);
        transcript.open(vec![Message::system(long("s")), Message::user(long("t"))]);
        assert!(!transcript.cut_half(1, "too long"));
        for turn in 1..=4 {
            transcript.replied(turn, "short");
            transcript.add(long("x"));
            transcript.send_pending(turn, Purpose::Act);
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
