//! The marks in a reply that are not code: tags around thoughts, the field markers of DSPy's chat format, and
//! the tokens with which chat templates separate messages.

/// A tag such as `<think>` or `</think>`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ThoughtTag {
    /// Index into [`NAMES`].
    pub(super) name: usize,
    pub(super) closing: bool,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl ThoughtTag {
    /// Whether a closing tag without an opening one still ends a thought, as it does where the chat template
    /// has already written the opening one. `<reasoning>` is also the name of an answer's field, so it needs
    /// both.
    pub(super) fn may_stand_alone(&self) -> bool {
        NAMES[self.name] != "reasoning"
    }
}

/// The first tag within `from..to` of `text`. A tag between quotation marks or backticks is a mention, not a
/// tag.
pub(super) fn next_tag(text: &str, from: usize, to: usize) -> Option<ThoughtTag> {
    let bytes = text.as_bytes();
    let mut at = from;
    while let Some(found) = text[at..to].find('<') {
        let start = at + found;
        let closing = bytes.get(start + 1) == Some(&b'/');
        let word = start + 1 + usize::from(closing);
        at = start + 1;
        for (name, spelling) in NAMES.iter().enumerate() {
            let end = word + spelling.len() + 1;
            let is_tag = bytes.get(word..end).is_some_and(|bytes| {
                bytes[..spelling.len()].eq_ignore_ascii_case(spelling.as_bytes())
                    && bytes[spelling.len()] == b'>'
            });
            if is_tag && end <= to && !is_mentioned(bytes, start, end) {
                return Some(ThoughtTag { name, closing, start, end });
            }
        }
    }
    None
}

/// The first closing tag of that name in the rest of the text.
pub(super) fn closing_tag(text: &str, from: usize, name: usize) -> Option<ThoughtTag> {
    let mut at = from;
    while let Some(tag) = next_tag(text, at, text.len()) {
        if tag.closing && tag.name == name {
            return Some(tag);
        }
        at = tag.end;
    }
    None
}

/// Whether what stands between `start` and `end` is between quotation marks or backticks: a mention of it.
pub(super) fn is_mentioned(bytes: &[u8], start: usize, end: usize) -> bool {
    let before = start.checked_sub(1).and_then(|at| bytes.get(at));
    matches!(before, Some(b'`' | b'"' | b'\'')) && bytes.get(end) == before
}

/// The field's name if `line` starts with a field marker such as `[[ ## code ## ]]`, and where the marker
/// ends.
pub(super) fn marker(line: &str) -> Option<(&str, usize)> {
    let start = line.len() - line.trim_start().len();
    let rest = line[start..].strip_prefix("[[")?.trim_start().strip_prefix("##")?;
    let end = rest.find("##")?;
    let name = rest[..end].trim();
    let after = rest[end + 2..].trim_start().strip_prefix("]]")?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some((name, line.len() - after.len()))
}

/// Names of the tags, in lower case.
pub(super) const NAMES: [&str; 4] = ["think", "thinking", "thought", "reasoning"];

/// Where a chat template's token ends the model's message in `line`, if one does. A token between quotation
/// marks or backticks is a mention. Of those that are texts of other things too, only one at an end of the
/// line counts.
pub(super) fn message_end(line: &str) -> Option<usize> {
    if !line.contains(['<', '[']) {
        return None;
    }
    let found = |token: &&str| {
        let mut at = 0;
        while let Some(start) = line.get(at..)?.find(*token).map(|start| at + start) {
            at = start + token.len();
            if !is_mentioned(line.as_bytes(), start, at) {
                return Some(start);
            }
        }
        None
    };
    let sure = MESSAGE_TOKENS.iter().filter_map(found).min();
    let doubtful = DOUBTFUL_TOKENS.iter().filter_map(found).min().filter(|start| {
        let token = DOUBTFUL_TOKENS.iter().find(|token| line[*start..].starts_with(**token));
        let after = token.map_or("", |token| &line[start + token.len()..]);
        line[..*start].trim().is_empty() || after.trim().is_empty()
    });
    sure.into_iter().chain(doubtful).min()
}

/// `text` without the tokens that open the model's own message, where it begins with them.
pub(super) fn strip_role(text: &str) -> &str {
    let mut text = text;
    while let Some(rest) = OPENINGS.iter().find_map(|token| text.trim_start().strip_prefix(token)) {
        text = rest.trim_start();
        if let Some(rest) = ["assistant", "model"].iter().find_map(|role| text.strip_prefix(role))
            && rest.starts_with(['\n', '\r', '<', ' '])
        {
            text = rest.trim_start_matches([' ', '\r', '\n']);
        }
    }
    text
}

/// Tokens that open the model's own message.
const OPENINGS: &[&str] = &[
    "<|im_start|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|assistant|>",
    "<|start|>",
    "<start_of_turn>",
    "<｜Assistant｜>",
    "<|START_OF_TURN_TOKEN|>",
    "<|CHATBOT_TOKEN|>",
];

/// Tokens that end a message, or open the next.
const MESSAGE_TOKENS: &[&str] = &[
    "<|im_end|>",
    "<|im_start|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|eot|>",
    "<|start_header_id|>",
    "<|end|>",
    "<|user|>",
    "<|system|>",
    "<|observation|>",
    "<|end_of_turn|>",
    "<|return|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|START_OF_TURN_TOKEN|>",
    "<end_of_turn>",
    "<start_of_turn>",
    "<｜end▁of▁sentence｜>",
    "<｜User｜>",
];

/// Tokens that are texts of other things too.
const DOUBTFUL_TOKENS: &[&str] = &["</s>", "[INST]", "[/INST]"];
