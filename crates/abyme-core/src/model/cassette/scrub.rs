//! Takes secrets out of what a cassette holds.

use std::{borrow::Cow, ops::Range};

use regex::{Captures, Regex};

use super::entry::Piece;
use crate::{
    error::{Error, ErrorKind, Result},
    model::message::Request,
};

/// What stands in place of a secret.
const SCRUBBED: &str = "[secret]";
/// Shorter texts are not removed: they occur by chance.
const MIN_SECRET_LENGTH: usize = 8;
/// What keys of well-known providers look like. Before one may be a line break as JSON writes it: the
/// arguments of a call are JSON in a text.
const PATTERN: &str = r"(?x)
    (?: \b | \\[bfnrt] )
    (?<key>
        (?: sk | pk | rk | xai | gsk | pplx | r8 | hf ) [-_] [A-Za-z0-9_-]{16,}
        | AIza [A-Za-z0-9_-]{30,}
        | (?: gh[pousr] | github_pat ) _ [A-Za-z0-9_]{20,}
        | xox[abeprs] - [A-Za-z0-9-]{10,}
        | A(?: KI | SI )A [A-Z0-9]{16} \b
        | eyJ [A-Za-z0-9_-]{10,} \. eyJ [A-Za-z0-9_-]{10,} \. [A-Za-z0-9_-]{10,}
        | [Bb]earer\ [A-Za-z0-9._~+/=-]{16,}
    )
";
/// A text in JSON.
const STRING: &str = r#""(?:[^"\\]|\\.)*""#;

/// Takes out what looks like a key, and what it was told.
#[derive(Debug)]
pub(super) struct Scrubber {
    keys: Regex,
    strings: Regex,
    secrets: Vec<String>,
}

impl Scrubber {
    pub(super) fn new() -> Result<Self> {
        let regex = |pattern| {
            Regex::new(pattern).map_err(|error| {
                Error::new(ErrorKind::Internal, "a pattern of the cassette is wrong").with_source(error)
            })
        };
        Ok(Self { keys: regex(PATTERN)?, strings: regex(STRING)?, secrets: Vec::new() })
    }

    /// Says whether the text was not known yet.
    pub(super) fn secret(&mut self, secret: String) -> bool {
        if secret.len() < MIN_SECRET_LENGTH || self.secrets.contains(&secret) {
            return false;
        }
        // As it stands in a text that is JSON, too.
        let quoted = serde_json::Value::from(secret.as_str()).to_string();
        for secret in [quoted[1..quoted.len() - 1].to_owned(), secret] {
            if !self.secrets.contains(&secret) {
                self.secrets.push(secret);
            }
        }
        true
    }

    /// A line of JSON whose texts hold no secret.
    pub(super) fn scrub_json<'t>(&self, json: &'t str) -> Cow<'t, str> {
        self.strings.replace_all(json, |found: &Captures<'_>| {
            let written = &found[0];
            // Each text is looked at as it is: in JSON, the `n` of a line break would stand before a key.
            let text: String = serde_json::from_str(written).unwrap_or_default();
            match self.places(&text)[..] {
                [] => written.to_owned(),
                ref places => serde_json::Value::from(scrubbed(&text, places, 0..text.len())).to_string(),
            }
        })
    }

    /// A request without secrets.
    pub(super) fn scrub_request(&self, request: &Request) -> Request {
        let json = serde_json::to_string(request).unwrap_or_default();
        serde_json::from_str(&self.scrub_json(&json)).unwrap_or_default()
    }

    /// Takes secrets out of the pieces of a stream, also those that are split. The pieces add up to the reply
    /// without secrets: the mark is in the piece in which its secret begins, and a piece of which nothing is
    /// left is none.
    pub(super) fn scrub_pieces(&self, pieces: &mut Vec<Piece>) {
        self.scrub_parts(pieces.iter_mut().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text),
            _ => None,
        }));
        self.scrub_parts(pieces.iter_mut().filter_map(|piece| match piece {
            Piece::Reasoning(text) => Some(text),
            _ => None,
        }));
        pieces
            .retain(|piece| !matches!(piece, Piece::Text(text) | Piece::Reasoning(text) if text.is_empty()));
    }

    /// Takes secrets out of the parts of one text.
    fn scrub_parts<'p>(&self, parts: impl Iterator<Item = &'p mut String>) {
        let mut parts: Vec<_> = parts.collect();
        let whole: String = parts.iter().map(|part| part.as_str()).collect();
        let places = self.places(&whole);
        let mut end = 0;
        for part in &mut parts {
            let start = end;
            end += part.len();
            **part = scrubbed(&whole, &places, start..end);
        }
        // A part can look like a key that the whole has not, and would be scrubbed: `ta` and `sk-...`.
        if parts.iter().any(|part| !self.places(part).is_empty())
            && let Some((first, others)) = parts.split_first_mut()
        {
            **first = scrubbed(&whole, &places, 0..whole.len());
            others.iter_mut().for_each(|part| part.clear());
        }
    }

    /// Where secrets are in a text, in its order and apart from each other.
    fn places(&self, text: &str) -> Vec<Range<usize>> {
        let like_keys = self.keys.captures_iter(text).filter_map(|found| Some(found.name("key")?.range()));
        let told = self.secrets.iter().flat_map(|secret| text.match_indices(secret.as_str()));
        let told = told.map(|(at, secret)| at..at + secret.len());
        let mut found: Vec<_> = like_keys.chain(told).collect();
        found.sort_by_key(|place| place.start);
        let mut places: Vec<Range<usize>> = Vec::new();
        for place in found {
            match places.last_mut().filter(|last| place.start < last.end) {
                Some(last) => last.end = last.end.max(place.end),
                None => places.push(place),
            }
        }
        places
    }
}

/// A part of a text, with a mark in place of each secret that begins in it.
fn scrubbed(text: &str, places: &[Range<usize>], part: Range<usize>) -> String {
    let (mut scrubbed, mut at) = (String::new(), part.start);
    for place in places.iter().filter(|place| place.end > part.start && place.start < part.end) {
        if place.start >= part.start {
            scrubbed.push_str(&text[at..place.start]);
            scrubbed.push_str(SCRUBBED);
        }
        at = place.end.min(part.end);
    }
    scrubbed.push_str(&text[at..part.end]);
    scrubbed
}
