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

    /// `text` without secrets and control characters, cut to `most` characters.
    pub fn clean(&self, text: &str, most: usize) -> String {
        let mut text = text.to_owned();
        for secret in self.0.iter() {
            if text.contains(secret.expose()) {
                text = text.replace(secret.expose(), MASK);
            }
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
    }
}
