//! A string that is never printed, and the mask that removes secrets from what providers answer.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize, Serializer};

/// A key or another string that must not be seen: `Debug` and `Display` show `***`, serialising gives `null`.
///
/// ```
/// use abyme_model_http::Secret;
///
/// let key = Secret::new("sk-123");
/// assert_eq!(format!("{key} {key:?}"), "*** ***");
/// assert_eq!(key.expose(), "sk-123");
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a string.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The string itself, which must be sent only, never printed.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(secret: T) -> Self {
        Self::new(secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_none()
    }
}

/// Takes secrets out of text that came from outside and makes it fit for one line of an error.
#[derive(Clone, Debug)]
pub struct Mask(Arc<[Secret]>);

impl Mask {
    /// A mask of these secrets. Shorter ones than four characters are placeholders, and would mask half of
    /// any text.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        Self(secrets.into_iter().filter(|secret| secret.0.len() >= 4).collect())
    }

    /// A mask for replies, of those of these secrets that are certainly keys. A server on one's own machine
    /// is given any word as a key (`ollama`, `not-needed`), and a reply may have that word.
    pub(crate) fn of_keys(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let is_key = |secret: &Secret| {
            let has_digit = secret.0.bytes().any(|byte| byte.is_ascii_digit());
            secret.0.len() >= 20 || secret.0.len() >= 8 && has_digit
        };
        Self(secrets.into_iter().filter(is_key).collect())
    }

    /// The secrets themselves.
    pub(crate) fn secrets(&self) -> &[Secret] {
        &self.0
    }

    /// `text` without secrets. The beginning of one at its end, where it was cut, is none either.
    pub(crate) fn text(&self, text: &str) -> String {
        self.masked(text, true).0
    }

    /// `text` without secrets. Unless it is whole, up to what may be the beginning of a secret: that is the
    /// rest.
    pub(crate) fn masked<'t>(&self, text: &'t str, is_whole: bool) -> (String, &'t str) {
        let secrets = || self.0.iter().map(Secret::expose);
        let (mut masked, mut rest) = (String::with_capacity(text.len()), text);
        while let Some(at) = rest.find(|char| secrets().any(|secret| secret.starts_with(char))) {
            masked.push_str(&rest[..at]);
            rest = &rest[at..];
            let begun = secrets().filter(|secret| secret.len() > rest.len() && secret.starts_with(rest));
            let begun = begun.map(str::len).min();
            if begun.is_some() && !is_whole {
                return (masked, rest);
            }
            let tells = |whole: &usize| rest.len() >= MIN_PART.max(whole / 2);
            let found = secrets().filter(|secret| rest.starts_with(secret)).map(str::len).max();
            let end = match found.or_else(|| begun.filter(tells).map(|_| rest.len())) {
                Some(end) => {
                    masked.push_str(MASK);
                    end
                }
                None => {
                    let end = rest.chars().next().map_or(0, char::len_utf8);
                    masked.push_str(&rest[..end]);
                    end
                }
            };
            rest = &rest[end..];
        }
        masked.push_str(rest);
        (masked, "")
    }

    /// `text` without secrets and control characters, cut to `most` characters.
    pub fn clean(&self, text: &str, most: usize) -> String {
        let mut text = self.text(text);
        for secret in self.0.iter() {
            text = without_hints(&text, secret.expose());
        }
        let mut chars = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
        let mut cut: String = chars.by_ref().take(most).collect();
        if chars.next().is_some() {
            cut.push('…');
        }
        cut
    }
}

/// Masks what providers show of a key to help recognise it, as in `sk-ab*****yz`.
fn without_hints(text: &str, secret: &str) -> String {
    let Some(start) = secret.get(..3) else { return text.to_owned() };
    let end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ',');
    text.split_inclusive(end)
        .map(|piece| {
            let word = piece.trim_end_matches(end);
            let hint =
                word.find(start).filter(|at| ["***", "...", "…"].iter().any(|m| word[*at..].contains(m)));
            match hint {
                Some(at) => format!("{}{MASK}{}", &word[..at], &piece[word.len()..]),
                None => piece.to_owned(),
            }
        })
        .collect()
}

const MASK: &str = "***";

/// The least that is kept secret of a secret. Less of it is what all keys of its provider begin with.
const MIN_PART: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_serialised() {
        assert_eq!(serde_json::to_string(&Secret::new("sk-canary")).unwrap(), "null");
        assert_eq!(serde_json::from_str::<Secret>("\"sk-canary\"").unwrap().expose(), "sk-canary");
    }

    #[test]
    fn keys_and_hints_of_keys_are_masked() {
        let mask = Mask::new([Secret::new("sk-canary-0123456789")]);
        assert_eq!(
            mask.clean("bad key: sk-canary-0123456789. (\"sk-canar****6789\", say)\nBye", 500),
            "bad key: ***. (\"***\", say) Bye"
        );
        assert_eq!(mask.clean("Bearer=sk-canary-0123456789", 500), "Bearer=***");
        assert_eq!(mask.clean("sk-learn is fine...", 500), "sk-learn is fine...");
        assert_eq!(mask.clean("déjà vu", 4), "déjà…");
        assert_eq!(Mask::new([Secret::new("x")]).clean("example", 500), "example");
        assert_eq!(mask.clean("it was cut in sk-canary-0123", 500), "it was cut in ***");
        assert_eq!(mask.clean("they begin with sk-", 500), "they begin with sk-");
    }

    #[test]
    fn of_several_secrets_the_longest_is_masked() {
        let mask = Mask::new(["sk-1234", "sk-1234-more", "1234"].map(Secret::new));
        assert_eq!(mask.text("sk-1234-more, sk-1234-less, sk-123"), "***, ***-less, sk-123");
    }

    #[test]
    fn a_word_in_place_of_a_key_may_be_in_a_reply() {
        let words = ["ollama", "lm-studio", "not-needed", "sk-1234"];
        let keys = ["hunter2-hunter2", "sk-canary-without-digit"];
        let mask = Mask::of_keys(words.into_iter().chain(keys).map(Secret::new));
        assert_eq!(mask.secrets(), keys.map(Secret::new));
    }
}
