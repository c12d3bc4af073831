//! The marks in a reply that are not code: tags around thoughts, and the field markers of DSPy's chat format.

/// A tag such as `<think>` or `</think>`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tag {
    /// Index into [`NAMES`].
    pub(super) name: usize,
    pub(super) closing: bool,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Tag {
    /// Whether a closing tag without an opening one still ends a thought, as it does where the chat template
    /// has already written the opening one. `<reasoning>` is also the name of an answer's field, so it needs
    /// both.
    pub(super) fn may_stand_alone(&self) -> bool {
        NAMES[self.name] != "reasoning"
    }
}

/// The first tag within `from..to` of `text`. A tag between quotation marks or backticks is a mention, not a
/// tag.
pub(super) fn next_tag(text: &str, from: usize, to: usize) -> Option<Tag> {
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
                return Some(Tag { name, closing, start, end });
            }
        }
    }
    None
}

/// The first closing tag of that name in the rest of the text.
pub(super) fn closing_tag(text: &str, from: usize, name: usize) -> Option<Tag> {
    let mut at = from;
    while let Some(tag) = next_tag(text, at, text.len()) {
        if tag.closing && tag.name == name {
            return Some(tag);
        }
        at = tag.end;
    }
    None
}

fn is_mentioned(bytes: &[u8], start: usize, end: usize) -> bool {
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
