//! A reply of the root model, read: its text, or else the call that it made in the provider's own form.

pub(super) use abyme_python_syntax::Reply;
use abyme_python_syntax::{code_in_arguments, parse_reply, python_blocks, visible_text, with_fence};

use crate::{model::Response, value::Value};

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

/// Reads a reply whose blocks all run, as one cell. With `has_final_in_text` a `FINAL` or `FINAL_VAR` in its
/// text runs after them.
pub(super) fn read_whole_reply(response: &Response, has_final_in_text: bool) -> Reply {
    let last_word = |text: &str| if has_final_in_text { final_in_text(text) } else { None };
    match read_reply(response) {
        Reply::Code { kept, reasoning, code, .. } => {
            let blocks = python_blocks(&response.text);
            let last_word = last_word(&reasoning);
            let is_more = blocks.len() > 1 || last_word.is_some();
            let kept = if is_more { visible_text(&response.text) } else { kept };
            let code = if blocks.len() > 1 { blocks.join("\n\n") } else { code };
            let code = code + &last_word.map_or_else(String::new, |call| format!("\n{call}"));
            Reply::Code { kept, reasoning, code, ignored_blocks: 0 }
        }
        Reply::Text(text) | Reply::Markup { text, .. } if last_word(&text).is_some() => {
            let code = last_word(&text).unwrap_or_default();
            Reply::Code { kept: text.clone(), reasoning: text, code, ignored_blocks: 0 }
        }
        other => other,
    }
}

/// The call that a line of a text begins with: `FINAL(any words)` or `FINAL_VAR(name)`, up to the text's last
/// parenthesis.
fn final_in_text(text: &str) -> Option<String> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        // A call that a later line begins is found there.
        let rest = text[at..].trim_start_matches(|char: char| char.is_whitespace() && char != '\n');
        at += line.len();
        let (name, given) = match (rest.strip_prefix("FINAL("), rest.strip_prefix("FINAL_VAR(")) {
            (Some(given), _) => ("FINAL", given),
            (_, Some(given)) => ("FINAL_VAR", given),
            _ => continue,
        };
        let given = given[..given.rfind(')')?].trim();
        let given = match name {
            "FINAL" => given,
            _ => given.trim_matches(['"', '\'', '`']),
        };
        return Some(format!("{name}({})", Value::from(given).repr(usize::MAX)));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(reply: &str, has_final_in_text: bool) -> Option<String> {
        match read_whole_reply(&Response::new(reply), has_final_in_text) {
            Reply::Code { code, .. } => Some(code),
            _ => None,
        }
    }

    #[test]
    fn all_blocks_run_and_then_what_the_text_ends_with() {
        let blocks = "One\n```repl\na = 1\n```\nand\n```repl\nprint(a)\n```\n";
        assert_eq!(code(blocks, false).unwrap(), "a = 1\n\nprint(a)");
        assert_eq!(
            code(&format!("{blocks}FINAL_VAR(a)"), true).unwrap(),
            "a = 1\n\nprint(a)\nFINAL_VAR('a')"
        );
        assert_eq!(code(&format!("{blocks}FINAL_VAR(a)"), false).unwrap(), "a = 1\n\nprint(a)");
        assert_eq!(code("I have it.\nFINAL(It is 4 (four).)", true).unwrap(), "FINAL('It is 4 (four).')");
        assert_eq!(code("FINAL_VAR(\"total\")", true).unwrap(), "FINAL_VAR(\"total\")");
        assert_eq!(code("Later I say FINAL(x) in text, and go on.", true), None);
        assert_eq!(code("No code.", true), None);
    }
}
