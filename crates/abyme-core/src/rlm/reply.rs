//! A reply of the root model, read: its text, or else the call that it made in the provider's own form.

pub(super) use abyme_python_syntax::Reply;
use abyme_python_syntax::{code_in_arguments, parse_reply, with_fence};

use crate::model::Response;

/// Reads a reply. The code of a call in the provider's own form is kept in a fence, because the conversation
/// holds texts alone.
pub(super) fn read_reply(response: &Response) -> Reply {
    let reply = parse_reply(&response.text);
    let (Some(call), false) = (&response.native_call, matches!(reply, Reply::Code { .. })) else {
        return reply;
    };
    let text = match reply {
        Reply::Text(text) | Reply::OtherLanguage { text, .. } | Reply::Markup { text, .. } => text,
        Reply::Code { kept, .. } => kept,
    };
    match code_in_arguments(&call.arguments) {
        Some(code) => {
            Reply::Code { kept: with_fence(&text, &code), reasoning: text, code, ignored_blocks: 0 }
        }
        None => {
            let name = format!("a call of `{}`", call.name);
            let text = if text.is_empty() { format!("({name})") } else { text };
            Reply::Markup { name, text }
        }
    }
}
