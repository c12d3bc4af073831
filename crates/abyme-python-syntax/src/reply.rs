//! A model's reply, parsed: its code, or why there is none.

mod final_call;
mod harmony;
mod layout;
mod lines;
mod marks;
mod markup;
mod search;
mod settled;
mod strings;
#[cfg(test)]
mod tests;

use std::ops::Range;

use serde::Deserialize;

pub use self::{
    final_call::submitted_literals,
    markup::code_in_arguments,
    settled::{ReplyWatch, is_settled},
};
use self::{
    final_call::{ProseCall, prose_call},
    harmony::HarmonyMessage,
    layout::{Block, Kind, ReplyLayout, layout},
    marks::strip_role,
    markup::Call,
};
use crate::parse;

/// What a model's reply asks for. A closed set: the loop handles each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A cell to run.
    Code {
        /// The reply up to the end of the cell, as the model wrote it, without the thoughts that it begins
        /// with. A conversation that keeps this and no more hits providers' prompt caches, and holds nothing
        /// that the model made up about what its cell would print.
        kept: String,
        /// The text around the cell, without thoughts.
        reasoning: String,
        /// The cell, with LF newlines and without the last one.
        code: String,
        /// How many further blocks of Python the reply holds. They do not run.
        ignored_blocks: usize,
    },
    /// Text without any code, without thoughts. Empty if there was nothing but thoughts.
    Text(String),
    /// Markup for a call, or a submission in prose, that holds no code that can be read. It is no answer.
    Markup {
        /// What it is, for messages.
        name: String,
        /// The whole reply without thoughts.
        text: String,
    },
    /// Fences in other languages and none in Python: nothing to run.
    OtherLanguage {
        /// The first such fence's tag, as the model wrote it.
        tag: String,
        /// The whole reply without thoughts.
        text: String,
    },
}

/// Finds the cell in a model's reply.
///
/// The first block of Python runs: a fence of three or more backticks or tildes, tagged `python`, `py`,
/// `python3`, `py3`, `ipython`, `repl` or `tool_code` in any case, attributes allowed, indented, quoted or in
/// a list. It ends where Python's strings let it end, so a cell may hold fences in its own strings; a fence
/// that is never closed runs to the end. Also taken for code, in this order:
///
/// - a reply that as a whole is a Python program. A word, a number, `yes, no` or `Answer: 42` is not one;
/// - a JSON object with the texts `reasoning` and `code`, on its own or in a fence, or one that is a call;
/// - the `[[ ## code ## ]]` field of DSPy's chat format, fenced or not;
/// - a fence without a tag, if no fence has a Python tag and its content is valid Python and more than data;
/// - the code of a call in the markup that other tools use: `<invoke>` and `<parameter>`, `<tool_call>`,
///   `<execute>`, `<code>`, the tokens of Llama, Mistral, DeepSeek and Kimi, Harmony's `to=python`,
///   `Action Input:`. A call in which no code can be read is [`Reply::Markup`];
/// - `SUBMIT(...)`, `FINAL(...)` or `FINAL_VAR(...)` in prose, where it is the reply's last word, has a line
///   of its own, or spells everything out. Otherwise the reply is [`Reply::Markup`].
///
/// Thoughts (`<think>`, `<thinking>`, `<thought>`, and `<reasoning>` where closed and at the start of a line)
/// are taken out first, except within code:
///
/// - a closing tag without an opening one ends a thought that began in the prompt: all before it is dropped.
///   Amid a line of prose that holds only if no code came before it, and never if nothing follows it;
/// - an opening tag that starts a line and is never closed drops everything after it, unless the reply ends
///   in a complete Python fence: then it was not cut off, and that fence is the cell;
/// - tags in quotation marks or backticks are mentions.
///
/// A reply ends at the first token of a chat template (`<|im_end|>`, `<end_of_turn>`) outside of Python's
/// strings.
///
/// It takes time linear in the length of the text, whatever the text is.
#[must_use]
pub fn parse_reply(text: &str) -> Reply {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(messages) = harmony::messages(text) {
        return harmony_reply(&messages);
    }
    parse_message(strip_role(text), true)
}

/// A reply as a reader who has no session wants it: without thoughts, and without what follows the first
/// token of a chat template. Trailing and leading white space is gone too, if something was taken out.
///
/// ```
/// use abyme_python_syntax::visible_text;
///
/// assert_eq!(visible_text("<think>France...</think>\n\nParis<|im_end|>"), "Paris");
/// ```
#[must_use]
pub fn visible_text(text: &str) -> String {
    if let Some(messages) = harmony::messages(text) {
        return harmony_text(&messages);
    }
    let text = strip_role(text);
    let found = layout(text);
    if found.thoughts.is_empty() && found.message_end.is_none() {
        return text.to_owned();
    }
    let text = &text[..found.message_end.unwrap_or(text.len())];
    without(text, found.thoughts.iter().cloned()).trim().to_owned()
}

/// All blocks of Python in a reply, in order, for conventions in which each of them runs. [`parse_reply`]
/// gives the first.
///
/// ```
/// use abyme_python_syntax::python_blocks;
///
/// let reply = "First\n```repl\na = 1\n```\nthen\n```repl\nprint(a)\n```";
/// assert_eq!(python_blocks(reply), ["a = 1", "print(a)"]);
/// ```
#[must_use]
pub fn python_blocks(text: &str) -> Vec<String> {
    let text = strip_role(text);
    let found = layout(text);
    let end = found.message_end.unwrap_or(text.len());
    let runs = |block: &&Block<'_>| is_tagged(block) && !block.is_blank(text) && block.outer.start < end;
    found.blocks.iter().filter(runs).map(|block| block.code(text)).collect()
}

/// Reads one message. `may_be_cut`: whether a token of a chat template may end it.
fn parse_message(text: &str, may_be_cut: bool) -> Reply {
    if let Some(reply) = undivided(text) {
        return reply;
    }
    let found = layout(text);
    if may_be_cut && let Some(end) = found.message_end {
        return parse_message(&text[..end], false);
    }
    let after_thoughts = lead(text, &found.thoughts);
    if after_thoughts > 0
        && let Some(reply) = undivided(&text[after_thoughts..])
    {
        return reply;
    }
    let kept = |end: usize| text[after_thoughts..end.max(after_thoughts)].trim().to_owned();
    let skipped: Vec<_> =
        found.thoughts.iter().cloned().chain(found.blocks.iter().map(|block| block.outer.clone())).collect();
    let calls = markup::calls(text, &skipped);
    let chosen = chosen_block(text, &found);
    let call = calls.iter().position(|call| call.code.is_some()).filter(|&index| {
        let Call { outer, code, .. } = &calls[index];
        chosen.is_none_or(|block| {
            // The fence comes later, or it is part of a string of the call's code.
            let block = &found.blocks[block].outer;
            outer.end <= block.start
                || (outer.start <= block.start
                    && outer.end >= block.end
                    && code.as_deref().is_some_and(parse::is_valid))
        })
    });
    if let Some(index) = call
        && let Some(code) = calls[index].code.clone()
    {
        let Range { start, end } = calls[index].outer;
        let around = found.thoughts.iter().cloned().chain(std::iter::once(start..end));
        return Reply::Code {
            kept: kept(end),
            reasoning: without(text, around).trim().to_owned(),
            code,
            ignored_blocks: calls[index + 1..].iter().filter(|call| call.code.is_some()).count(),
        };
    }
    if let Some(index) = chosen {
        return Reply::Code {
            kept: kept(found.blocks[index].outer.end),
            reasoning: reasoning(text, &found, index),
            code: found.blocks[index].code(text),
            ignored_blocks: ignored_blocks(text, &found, index),
        };
    }
    let mut fenced =
        found.blocks.iter().filter(|block| !matches!(block.kind, Kind::Python { .. })).take(BARE_ATTEMPTS);
    if let Some(reply) = fenced.find_map(|block| object(&block.code(text), &kept(block.outer.end))) {
        return reply;
    }
    let visible = without(text, found.thoughts.iter().cloned()).trim().to_owned();
    if let Some(call) = calls.into_iter().next() {
        return Reply::Markup { name: call.name, text: visible };
    }
    let tag = found.blocks.iter().find_map(|block| match block.kind {
        Kind::Other { tag, .. } => Some(tag.to_owned()),
        _ => None,
    });
    if let Some(tag) = tag {
        return Reply::OtherLanguage { tag, text: visible };
    }
    match prose_call(&visible) {
        Some(ProseCall::Meant { code, end }) => Reply::Code {
            kept: visible[..end].to_owned(),
            reasoning: visible[..end - code.len()].trim().to_owned(),
            code,
            ignored_blocks: 0,
        },
        Some(ProseCall::Unclear(name)) => {
            Reply::Markup { name: format!("`{name}(...)` outside of a block"), text: visible }
        }
        None => Reply::Text(visible),
    }
}

/// Reads a reply of several messages: the first call with code, or else what the rest says. Its tokens are
/// not kept, because a server that reads them as tokens would take the conversation apart.
fn harmony_reply(messages: &[HarmonyMessage<'_>]) -> Reply {
    let text = harmony_text(messages);
    if let Some(code) = messages.iter().find_map(HarmonyMessage::code) {
        return Reply::Code { kept: with_fence(&text, &code), reasoning: text, code, ignored_blocks: 0 };
    }
    match messages.iter().find_map(HarmonyMessage::recipient) {
        Some(recipient) => Reply::Markup { name: format!("a call of `{recipient}`"), text },
        None => parse_message(&text, true),
    }
}

fn harmony_text(messages: &[HarmonyMessage<'_>]) -> String {
    let said = messages.iter().filter(|message| !message.is_thought() && message.recipient().is_none());
    said.map(|message| message.text).collect::<Vec<_>>().join("\n\n")
}

/// Wraps code in a fence that [`parse_reply`] reads back, whatever fences the code holds itself.
#[must_use]
pub fn fence(code: &str) -> String {
    let mut longest = 0;
    let mut run = 0;
    for byte in code.bytes() {
        run = if byte == b'`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let ticks = "`".repeat((longest + 1).max(3));
    let newline = if code.is_empty() || code.ends_with('\n') { "" } else { "\n" };
    format!("{ticks}python\n{code}{newline}{ticks}")
}

/// A text with code in a [`fence`] after it: how a conversation keeps a cell that was called in a form that
/// no later request can hold.
#[must_use]
pub fn with_fence(text: &str, code: &str) -> String {
    format!("{text}\n\n{}", fence(code)).trim_start().to_owned()
}

/// A reply that is code as a whole: a program without a fence, or an object with a field for it.
fn undivided(text: &str) -> Option<Reply> {
    let body = text.trim_end();
    // Only blank lines are taken off the front: the indentation of the first line belongs to the code.
    let start = body.len() - body.trim_start().len();
    let start = body[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let body = &body[start..];
    if parse::is_program(body) {
        return Some(Reply::Code {
            kept: body.to_owned(),
            reasoning: String::new(),
            code: body.replace("\r\n", "\n"),
            ignored_blocks: 0,
        });
    }
    object(body, text)
}

/// The code of a JSON object: of its field for it, or of the call that it is. The code itself may be fenced.
fn object(text: &str, kept: &str) -> Option<Reply> {
    let kept = kept.trim().to_owned();
    let Some(JsonFields { reasoning, code }) = json_fields(text) else {
        let Call { name, code, .. } = markup::call_in_object(text)?;
        return Some(match code {
            Some(code) => Reply::Code { kept, reasoning: String::new(), code, ignored_blocks: 0 },
            None => Reply::Markup { name, text: kept },
        });
    };
    let reasoning = reasoning.trim().to_owned();
    if !parse::is_valid(&code) {
        let found = layout(&code);
        if let Some(index) = chosen_block(&code, &found) {
            let ignored_blocks = ignored_blocks(&code, &found, index);
            let code = found.blocks[index].code(&code);
            return Some(Reply::Code { kept, reasoning, code, ignored_blocks });
        }
    }
    let code = code.replace("\r\n", "\n").trim_end_matches('\n').to_owned();
    (!code.trim().is_empty()).then_some(Reply::Code { kept, reasoning, code, ignored_blocks: 0 })
}

/// The two fields of a reply in JSON; others are ignored.
#[derive(Debug, Deserialize)]
struct JsonFields {
    reasoning: String,
    code: String,
}

/// The fields, if `text` is such an object and nothing else.
fn json_fields(text: &str) -> Option<JsonFields> {
    let text = text.trim();
    if !text.starts_with('{') || !text.ends_with('}') {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// The block to run: a field named `code` before all else, then Python by its tag, then Python by its looks.
fn chosen_block(text: &str, found: &ReplyLayout<'_>) -> Option<usize> {
    let field = found.code_field.unwrap_or(0);
    let runs = |block: &Block<'_>| is_tagged(block) && !block.is_blank(text);
    let within = |block: &Block<'_>| {
        runs(block)
            || (found.code_field.is_some()
                && matches!(block.kind, Kind::Bare { .. })
                && !block.is_blank(text))
    };
    let blocks = &found.blocks;
    blocks
        .iter()
        .position(|block| block.outer.start >= field && within(block))
        .or_else(|| blocks.iter().position(runs))
        .or_else(|| {
            let bare = blocks.iter().enumerate().filter(|(_, block)| matches!(block.kind, Kind::Bare { .. }));
            let mut attempts = bare.filter(|(_, block)| !block.is_blank(text)).take(BARE_ATTEMPTS);
            attempts.find(|(_, block)| parse::looks_like_code(&block.code(text))).map(|(index, _)| index)
        })
}

fn is_tagged(block: &Block<'_>) -> bool {
    matches!(block.kind, Kind::Python { .. } | Kind::Field)
}

fn ignored_blocks(text: &str, found: &ReplyLayout<'_>, chosen: usize) -> usize {
    found.blocks[chosen + 1..].iter().filter(|block| is_tagged(block) && !block.is_blank(text)).count()
}

/// The text around the code, with neither thoughts nor markers nor blocks of Python that did not run.
fn reasoning(text: &str, found: &ReplyLayout<'_>, chosen: usize) -> String {
    let blocks = found.blocks.iter().enumerate();
    let mut left_out: Vec<_> = blocks
        .filter(|(index, block)| *index == chosen || is_tagged(block) || block.is_blank(text))
        .map(|(_, block)| block.outer.clone())
        .collect();
    left_out.extend(found.thoughts.iter().chain(&found.decoration).cloned());
    left_out.sort_by_key(|range| range.start);
    without(text, left_out.into_iter()).trim().to_owned()
}

/// The text without ranges, which come in order.
fn without(text: &str, ranges: impl Iterator<Item = Range<usize>>) -> String {
    let mut kept = String::new();
    let mut at = 0;
    for range in ranges {
        kept.push_str(text.get(at..range.start).unwrap_or_default());
        at = at.max(range.end);
    }
    kept.push_str(text.get(at..).unwrap_or_default());
    kept
}

/// Where the thoughts end that the text begins with.
fn lead(text: &str, thoughts: &[Range<usize>]) -> usize {
    let mut end = 0;
    for thought in thoughts {
        if !text.get(end..thought.start).unwrap_or_default().trim().is_empty() {
            break;
        }
        end = thought.end;
    }
    end
}

/// How many fences without a Python tag are looked into.
const BARE_ATTEMPTS: usize = 32;
