//! Replies in JSON: an object with `reasoning` and `code`.

use serde::Deserialize;

/// The two fields of a reply in JSON; others are ignored.
#[derive(Debug, Deserialize)]
pub(super) struct Fields {
    pub(super) reasoning: String,
    pub(super) code: String,
}

/// The fields, if `text` is such an object and nothing else.
pub(super) fn fields(text: &str) -> Option<Fields> {
    let text = text.trim();
    if !text.starts_with('{') || !text.ends_with('}') {
        return None;
    }
    serde_json::from_str(text).ok()
}
