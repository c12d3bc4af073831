//! Replies in the Harmony format: messages on channels, each with a header, whose tokens a server left in.

use super::{marks::strip_role, markup::code_in_arguments};

/// One message of a reply.
#[derive(Debug)]
pub(super) struct HarmonyMessage<'a> {
    /// What stands before its text: channel, recipient, form.
    header: &'a str,
    pub(super) text: &'a str,
}

/// The messages of a reply in that format; `None` if it is not in it.
pub(super) fn messages(reply: &str) -> Option<Vec<HarmonyMessage<'_>>> {
    let mut rest = reply;
    let mut messages = Vec::new();
    while messages.len() < MAX_MESSAGES
        && let Some((header, after)) = rest.split_once(MESSAGE)
    {
        let end = ENDS.iter().filter_map(|end| after.find(end)).min().unwrap_or(after.len());
        // A later turn than the model's own ends the reply.
        let header = ENDS.iter().fold(header, |header, end| header.strip_prefix(end).unwrap_or(header));
        if ["user", "system", "developer", "tool"].iter().any(|role| header.trim().starts_with(role)) {
            break;
        }
        messages.push(HarmonyMessage { header: strip_role(header), text: after[..end].trim() });
        rest = &after[end..];
    }
    (!messages.is_empty()).then_some(messages)
}

/// Whether a reply is in that format, or may be once more of it has come.
pub(super) fn begins(reply: &str) -> bool {
    [MESSAGE, "<|channel|>", "<|start|>"].iter().any(|token| reply.contains(token))
}

impl HarmonyMessage<'_> {
    /// Whom it is addressed to, if it is a call.
    pub(super) fn recipient(&self) -> Option<&str> {
        let (_, recipient) = self.header.split_once("to=")?;
        recipient.split(|c: char| c.is_whitespace() || c == '<').next()
    }

    /// Whether it is a thought.
    pub(super) fn is_thought(&self) -> bool {
        self.header.contains("analysis")
    }

    /// Its code, if it is a call with any.
    pub(super) fn code(&self) -> Option<String> {
        let recipient = self.recipient()?;
        let is_python = ["python", "repl", "code", "ipython"].iter().any(|name| recipient.contains(name));
        code_in_arguments(self.text)
            .or_else(|| (is_python && !self.text.starts_with('{')).then(|| self.text.to_owned()))
            .filter(|code| !code.trim().is_empty())
    }
}

/// Messages that are read. It bounds how often one long text is searched.
const MAX_MESSAGES: usize = 64;

const MESSAGE: &str = "<|message|>";

const ENDS: &[&str] = &["<|end|>", "<|call|>", "<|return|>", "<|start|>", "<|channel|>"];
