//! Code in other markup than a fence: calls in the forms that models are trained on for other tools. The one
//! place that knows them.

use std::ops::Range;

use serde_json::Value as Json;

use super::{lines::is_python_tag, marks::is_mentioned};
use crate::parse;

/// A call in some markup.
#[derive(Debug)]
pub(super) struct Call {
    /// What it is called, for messages: the name of its outermost tag.
    pub(super) name: String,
    /// The call with its tags, and those of the tags around it that close right after it.
    pub(super) outer: Range<usize>,
    /// Its code, if any can be read.
    pub(super) code: Option<String>,
}

/// The calls in `text`, in order, but for those that begin within `skipped`: thoughts and fences. At most
/// [`MAX_CALLS`].
pub(super) fn calls(text: &str, skipped: &[Range<usize>]) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut at = 0;
    // What is read again and again would take quadratic time.
    let mut budget = 16 * text.len() + (1 << 16);
    while calls.len() < MAX_CALLS
        && budget > 0
        && let Some(opening) = Opening::next(text, at)
    {
        at = opening.body;
        if let Some(range) = skipped.iter().find(|range| range.contains(&opening.start)) {
            at = at.max(range.end);
            budget = budget.saturating_sub(skipped.len());
            continue;
        }
        let (body, end) = opening.extent(text);
        budget = budget.saturating_sub(body.len() + 64);
        let code = read(&text[body.clone()], &opening);
        // A tag of HTML in prose is no call.
        if opening.is_call || code.is_some() || opening.stands_alone(text, end) {
            at = end.max(opening.body);
            calls.push(Call { name: opening.name, outer: opening.start..end, code });
        }
    }
    if calls.is_empty() {
        calls.extend(action(text, skipped));
    }
    calls
}

/// Whether a call begins in `text`, whether or not it ends.
pub(super) fn begins(text: &str) -> bool {
    Opening::next(text, 0).is_some() || text.lines().any(|line| line.starts_with("Action:"))
}

/// A call in lines of words: `Action: python`, and later `Action Input: print(1)`.
fn action(text: &str, skipped: &[Range<usize>]) -> Option<Call> {
    let line = |word: &str, from: usize| {
        let mut at = from;
        loop {
            let start = at + text.get(at..)?.find(word)?;
            at = start + word.len();
            if start == 0 || text[..start].ends_with('\n') {
                return Some(start..at);
            }
        }
    };
    let action = line("Action:", 0)?;
    let input = line("Action Input:", action.end)?;
    if skipped.iter().any(|range| range.contains(&action.start)) {
        return None;
    }
    let end = line("Observation:", input.end).map_or(text.len(), |range| range.start);
    Some(Call {
        name: "`Action Input:`".to_owned(),
        outer: action.start..end,
        code: code_in_arguments(&text[input.end..end]),
    })
}

/// The code in the arguments of a call, as providers deliver them: a JSON object, or code alone.
///
/// ```
/// use abyme_python_syntax::code_in_arguments;
///
/// assert_eq!(code_in_arguments(r#"{"code": "print(1)"}"#).as_deref(), Some("print(1)"));
/// assert_eq!(code_in_arguments("print(1)").as_deref(), Some("print(1)"));
/// assert_eq!(code_in_arguments(r#"{"query": "a word"}"#), None);
/// ```
#[must_use]
pub fn code_in_arguments(arguments: &str) -> Option<String> {
    let arguments = arguments.trim();
    match json(arguments) {
        Some((value, _)) => code_in_json(&value, 0),
        None => cleaned(arguments).filter(|code| parse::looks_like_program(code)),
    }
}

/// Whether a JSON object that is a whole reply is a call, and the code in it.
pub(super) fn call_in_object(text: &str) -> Option<Call> {
    let text = text.trim();
    let (value, length) = json(text)?;
    let object = value.as_object().filter(|_| length == text.len())?;
    if let [(field, Json::String(code))] = object.iter().collect::<Vec<_>>()[..]
        && ["code", "python", "python_code"].contains(&field.as_str())
        && parse::looks_like_program(code)
    {
        return Some(Call { name: format!("`{field}`"), outer: 0..text.len(), code: cleaned(code) });
    }
    let named = |fields: &[&str]| fields.iter().find_map(|field| object.get(*field));
    let name = named(&["name", "function", "tool", "tool_name"])?;
    let name = name.as_str().map_or_else(|| "a function".to_owned(), |name| format!("`{name}`"));
    named(ARGUMENTS)?;
    Some(Call { name: format!("a call of {name}"), outer: 0..text.len(), code: code_in_json(&value, 0) })
}

/// A tag or token that opens a call.
#[derive(Debug)]
struct Opening {
    name: String,
    start: usize,
    /// Where its content begins.
    body: usize,
    /// What closes it; none for tokens that run to the end.
    close: Option<String>,
    /// Whether it is never anything but a call. Others are tags of HTML too.
    is_call: bool,
    /// Whether its content is code, where it is not marked any further.
    holds_code: bool,
}

impl Opening {
    /// The next one from `at` on.
    fn next(text: &str, at: usize) -> Option<Self> {
        let mut at = at;
        loop {
            let start = at + text.get(at..)?.find(['<', '['])?;
            at = start + 1;
            let rest = &text[start..];
            let found = Self::token(rest, start).or_else(|| Self::tag(rest, start));
            if let Some(opening) = found
                && !is_mentioned(text.as_bytes(), opening.start, opening.body)
            {
                return Some(opening);
            }
        }
    }

    fn token(rest: &str, start: usize) -> Option<Self> {
        let (token, close) = TOKENS.iter().find(|(token, _)| rest.starts_with(token))?;
        Some(Self {
            name: format!("`{token}`"),
            start,
            body: start + token.len(),
            close: close.map(str::to_owned),
            is_call: true,
            holds_code: *token == "<|python_tag|>",
        })
    }

    fn tag(rest: &str, start: usize) -> Option<Self> {
        let tag = Tag::read(rest)?;
        if tag.is_empty_element {
            return None;
        }
        let name = tag.local.as_str();
        let is_function = name == "function" && !tag.value.is_empty();
        let is_call = CALLS.contains(&name) || is_function;
        let holds_code = CODE_TAGS.contains(&name);
        (is_call || holds_code).then(|| Self {
            name: format!("`<{}>`", tag.name),
            start,
            body: start + tag.length,
            close: Some(format!("</{}>", tag.name)),
            is_call: is_call || name.starts_with("execute") || name.starts_with("run_"),
            holds_code,
        })
    }

    /// The content, and where the call ends.
    fn extent(&self, text: &str) -> (Range<usize>, usize) {
        let rest = &text[self.body..];
        let Some(close) = &self.close else { return (self.body..text.len(), text.len()) };
        // Code may hold the closing tag in a string: the first end after which it is valid counts.
        let mut first = None;
        let mut at = 0;
        for _ in 0..MAX_ENDS {
            let Some(found) = rest.get(at..).and_then(|rest| rest.find(close.as_str())) else { break };
            let (end, next) = (self.body + at + found, self.body + at + found + close.len());
            first = first.or(Some((self.body..end, next)));
            if !self.holds_code || parse::is_valid(unwrapped(&text[self.body..end])) {
                return (self.body..end, next);
            }
            at += found + close.len();
        }
        first.unwrap_or((self.body..text.len(), text.len()))
    }

    /// Whether a call that ends at `end` has lines of its own.
    fn stands_alone(&self, text: &str, end: usize) -> bool {
        let before = text[..self.start].rsplit('\n').next().unwrap_or_default();
        let after = text[end..].split('\n').next().unwrap_or_default();
        before.trim().is_empty() && after.trim().is_empty()
    }
}

/// An opening tag of XML, or what models make of it: `<parameter=code>`.
struct Tag {
    /// The name as it is written.
    name: String,
    /// The name in lower case, without its namespace.
    local: String,
    /// What its attribute `name`, or `=`, says, in lower case.
    value: String,
    length: usize,
    is_empty_element: bool,
}

impl Tag {
    fn read(rest: &str) -> Option<Self> {
        let inner = rest.strip_prefix('<')?;
        let first = inner.bytes().next()?;
        if !first.is_ascii_alphabetic() && first != b'_' {
            return None;
        }
        let head = &inner.as_bytes()[..inner.len().min(MAX_TAG)];
        let end = head.iter().position(|byte| matches!(byte, b'>' | b'<' | b'\n'))?;
        if head[end] != b'>' {
            return None;
        }
        let content = &inner[..end];
        let is_empty_element = content.ends_with('/');
        let content = content.trim_end_matches('/');
        let name_end = content
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.')))
            .unwrap_or(content.len());
        let (name, attributes) = content.split_at(name_end);
        let value = match attributes.strip_prefix('=') {
            Some(value) => value,
            None => attributes.split_once("name=").map_or("", |(_, value)| value),
        };
        let value = value.trim_start_matches(['"', '\'']);
        let value = value.split(['"', '\'', ' ']).next().unwrap_or_default();
        Some(Self {
            name: name.to_owned(),
            local: name.rsplit(':').next().unwrap_or(name).to_ascii_lowercase(),
            value: value.to_ascii_lowercase(),
            length: end + 2,
            is_empty_element,
        })
    }
}

/// The code in the content of a call.
fn read(content: &str, opening: &Opening) -> Option<String> {
    if let Some(code) = parameter(content) {
        return cleaned(code);
    }
    if let Some(start) = content.find(['{', '['])
        && let Some((value, _)) = json(&content[start..])
        && let Some(code) = code_in_json(&value, 0)
    {
        return Some(code);
    }
    let code = cleaned(content)?;
    (parse::looks_like_program(&code) || (opening.holds_code && opening.is_call)).then_some(code)
}

/// The content of the element that holds the code among the parameters of a call: the one whose name says so,
/// or else the only one.
fn parameter(content: &str) -> Option<&str> {
    let mut only = None;
    let mut count = 0;
    let mut at = 0;
    let mut next_is_code = false;
    while let Some(found) = content.get(at..).and_then(|rest| rest.find('<')) {
        let start = at + found;
        at = start + 1;
        let Some(tag) = Tag::read(&content[start..]) else { continue };
        let body = start + tag.length;
        let end = || {
            let close = format!("</{}>", tag.name);
            let mut at = body;
            let mut first = None;
            for _ in 0..MAX_ENDS {
                let Some(found) = content[at..].find(&close) else { break };
                first = first.or(Some(at + found));
                if parse::is_valid(unwrapped(&content[body..at + found])) {
                    return at + found;
                }
                at += found + close.len();
            }
            first.unwrap_or(content.len())
        };
        match tag.local.as_str() {
            "arg_key" => {
                let end = end();
                next_is_code = CODE_FIELDS.contains(&content[body..end].trim().to_ascii_lowercase().as_str());
                at = end;
            }
            "parameter" | "param" | "argument" | "arg" | "arg_value" => {
                let end = end();
                if next_is_code || CODE_FIELDS.contains(&tag.value.as_str()) {
                    return Some(&content[body..end]);
                }
                count += 1;
                only = Some(&content[body..end]);
                at = end;
            }
            local if CODE_FIELDS.contains(&local) => return Some(&content[body..end()]),
            _ => {}
        }
    }
    only.filter(|code| count == 1 && parse::looks_like_program(unwrapped(code)))
}

/// The code in a call that is JSON: a field named for it, or the only text among the arguments if that is
/// code.
fn code_in_json(value: &Json, depth: usize) -> Option<String> {
    if depth > 4 {
        return None;
    }
    match value {
        Json::Array(calls) => calls.iter().find_map(|call| code_in_json(call, depth + 1)),
        Json::String(text) => json(text.trim()).and_then(|(value, _)| code_in_json(&value, depth + 1)),
        Json::Object(fields) => {
            let coded = CODE_FIELDS.iter().find_map(|field| match fields.get(*field) {
                Some(Json::String(code)) => cleaned(code),
                _ => None,
            });
            let inner = || {
                ARGUMENTS.iter().chain(&["function"]).find_map(|field| match fields.get(*field)? {
                    Json::String(text) if parse::looks_like_program(text) => cleaned(text),
                    value => code_in_json(value, depth + 1),
                })
            };
            let only = || match fields.values().collect::<Vec<_>>()[..] {
                [Json::String(text)] if parse::looks_like_program(text) => cleaned(text),
                _ => None,
            };
            coded.or_else(inner).or_else(only)
        }
        _ => None,
    }
}

/// The JSON value that `text` begins with, and its length. Newlines within its strings are let pass, because
/// models write them.
fn json(text: &str) -> Option<(Json, usize)> {
    if !text.starts_with(['{', '[', '"']) {
        return None;
    }
    let first = |text: &str| {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<Json>();
        let value = values.next()?.ok()?;
        Some((value, values.byte_offset()))
    };
    first(text).or_else(|| first(&with_escaped_newlines(text)).map(|(value, _)| (value, text.len())))
}

fn with_escaped_newlines(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    let (mut inside, mut after_backslash) = (false, false);
    for char in text.chars() {
        match char {
            '\n' if inside => escaped.push_str("\\n"),
            '\r' if inside => escaped.push_str("\\r"),
            '\t' if inside => escaped.push_str("\\t"),
            other => escaped.push(other),
        }
        inside ^= char == '"' && !after_backslash;
        after_backslash = char == '\\' && !after_backslash;
    }
    escaped
}

/// Code without the blank lines, the fence and the CDATA around it.
fn unwrapped(code: &str) -> &str {
    let mut code = code.trim_matches(['\r', '\n']).trim_end();
    let trimmed = code.trim_start();
    if let Some(inner) = trimmed.strip_prefix("<![CDATA[") {
        code = inner.strip_suffix("]]>").unwrap_or(inner).trim_matches(['\r', '\n']).trim_end();
    }
    let fenced = code.trim_start().strip_prefix("```").and_then(|rest| {
        let (tag, body) = rest.split_once('\n')?;
        let body = body.trim_end().strip_suffix("```")?;
        (is_python_tag(tag.trim()) || tag.trim().is_empty()).then_some(body.trim_end())
    });
    fenced.unwrap_or(code)
}

/// Code as it runs: without what is around it, with LF newlines and without entities; `None` if it is blank.
fn cleaned(code: &str) -> Option<String> {
    let code = unescaped(unwrapped(code));
    (!code.trim().is_empty()).then_some(code)
}

/// Code in which `<`, `>`, `&` and quotation marks are written as entities, if it is valid only without them.
fn unescaped(code: &str) -> String {
    let code = code.replace("\r\n", "\n");
    if code.contains('&') && !parse::is_valid(&code) {
        let plain = ENTITIES.iter().fold(code.clone(), |code, (entity, char)| code.replace(entity, char));
        if parse::is_valid(&plain) {
            return plain;
        }
    }
    code
}

/// Entities of XML; `&amp;` comes last, so that nothing is unescaped twice.
const ENTITIES: &[(&str, &str)] =
    &[("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&amp;", "&")];

/// Tags that are calls, whatever is in them.
const CALLS: &[&str] = &[
    "function_calls",
    "function_call",
    "invoke",
    "tool_call",
    "tool_calls",
    "tool_use",
    "tool_code",
    "code_interpreter",
    "code_execution",
];

/// Tags around code. Some of them are tags of HTML, or words that a model uses as tags in prose.
const CODE_TAGS: &[&str] = &[
    "tool_code",
    "code_interpreter",
    "code_execution",
    "execute",
    "execute_python",
    "execute_ipython",
    "execute_code",
    "run_python",
    "run_code",
    "code",
    "python",
    "py",
    "ipython",
    "repl",
    "cell",
];

/// Tokens that open calls, and what closes them.
const TOKENS: &[(&str, Option<&str>)] = &[
    ("<|python_tag|>", None),
    ("<|tool_call|>", Some("<|/tool_call|>")),
    ("<|tool_calls_section_begin|>", Some("<|tool_calls_section_end|>")),
    ("<|tool_call_begin|>", Some("<|tool_call_end|>")),
    ("<｜tool▁calls▁begin｜>", Some("<｜tool▁calls▁end｜>")),
    ("<｜tool▁call▁begin｜>", Some("<｜tool▁call▁end｜>")),
    ("[TOOL_CALLS]", None),
];

/// Names of the argument that holds code.
const CODE_FIELDS: &[&str] =
    &["code", "python", "python_code", "source", "script", "cell", "snippet", "command", "cmd", "input"];

/// Names of the field that holds a call's arguments.
const ARGUMENTS: &[&str] = &["arguments", "parameters", "params", "args", "kwargs", "input", "tool_input"];

/// Calls that are looked for in one reply.
const MAX_CALLS: usize = 16;
/// Ends that are tried for one call. It bounds how often a text is parsed.
const MAX_ENDS: usize = 4;
/// Longest opening tag.
const MAX_TAG: usize = 300;
