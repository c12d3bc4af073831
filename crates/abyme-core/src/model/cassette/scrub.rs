//! Takes secrets out of what a cassette holds.

use std::borrow::Cow;

use regex::Regex;

use crate::error::{Error, ErrorKind, Result};

/// What stands in place of a secret.
const SCRUBBED: &str = "[secret]";
/// A shorter secret is none, and would be found in too many texts.
const MIN_SECRET_LENGTH: usize = 8;
/// What keys of well-known providers look like. None has a character that JSON writes otherwise.
const PATTERN: &str = r"(?x)
    \b (?: sk | pk | rk | xai | gsk | pplx | r8 | hf ) [-_] [A-Za-z0-9_-]{16,}
    | \b AIza [A-Za-z0-9_-]{30,}
    | \b (?: gh[pousr] | github_pat ) _ [A-Za-z0-9_]{20,}
    | \b xox[abeprs] - [A-Za-z0-9-]{10,}
    | \b A(?: KI | SI )A [A-Z0-9]{16} \b
    | \b eyJ [A-Za-z0-9_-]{10,} \. eyJ [A-Za-z0-9_-]{10,} \. [A-Za-z0-9_-]{10,}
    | \b [Bb]earer\ [A-Za-z0-9._~+/=-]{16,}
";

/// Takes out what looks like a key, and what it was told.
#[derive(Debug)]
pub(super) struct Scrubber {
    keys: Regex,
    secrets: Vec<String>,
}

impl Scrubber {
    pub(super) fn new() -> Result<Self> {
        let keys = Regex::new(PATTERN).map_err(|error| {
            Error::new(ErrorKind::Internal, "the pattern of keys is wrong").with_source(error)
        })?;
        Ok(Self { keys, secrets: Vec::new() })
    }

    pub(super) fn secret(&mut self, secret: String) {
        if secret.len() < MIN_SECRET_LENGTH {
            return;
        }
        // As it stands inside of JSON too.
        let quoted = serde_json::Value::from(secret.as_str()).to_string();
        self.secrets.push(quoted[1..quoted.len() - 1].to_owned());
        self.secrets.push(secret);
    }

    /// A line of JSON without secrets.
    pub(super) fn scrub<'t>(&self, json: &'t str) -> Cow<'t, str> {
        let mut text = self.keys.replace_all(json, SCRUBBED);
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = Cow::Owned(text.replace(secret.as_str(), SCRUBBED));
            }
        }
        text
    }
}
