//! Replies as models write them.

mod endings;
mod fields;
mod markup;
mod measured;
mod properties;
mod settled;
mod thoughts;
mod time;

use super::{Reply, parse_reply};

#[track_caller]
fn code(reply: &str) -> String {
    match parse_reply(reply) {
        Reply::Code { code, .. } => code,
        other => panic!("expected code in {reply:?}, got {other:?}"),
    }
}

#[track_caller]
fn kept(reply: &str) -> String {
    match parse_reply(reply) {
        Reply::Code { kept, .. } => kept,
        other => panic!("expected code in {reply:?}, got {other:?}"),
    }
}

#[track_caller]
fn markup(reply: &str) -> String {
    match parse_reply(reply) {
        Reply::Markup { name, .. } => name,
        other => panic!("expected markup in {reply:?}, got {other:?}"),
    }
}

#[track_caller]
fn parts(reply: &str) -> (String, String, usize) {
    match parse_reply(reply) {
        Reply::Code { reasoning, code, ignored_blocks, .. } => (reasoning, code, ignored_blocks),
        other => panic!("expected code in {reply:?}, got {other:?}"),
    }
}

#[track_caller]
fn text(reply: &str) -> String {
    match parse_reply(reply) {
        Reply::Text(text) => text,
        other => panic!("expected text in {reply:?}, got {other:?}"),
    }
}

#[track_caller]
fn other_language(reply: &str) -> String {
    match parse_reply(reply) {
        Reply::OtherLanguage { tag, .. } => tag,
        other => panic!("expected another language in {reply:?}, got {other:?}"),
    }
}
