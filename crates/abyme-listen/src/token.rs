//! Tokens that let clients in.

use std::fmt;

use hyper::{HeaderMap, header::AUTHORIZATION};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A token that is shorter could be guessed.
const MIN_CHARS: usize = 16;

/// What lets a client in. Its hash alone is kept, and `Debug` shows nothing of it.
///
/// ```
/// use abyme_listen::Token;
///
/// let token = Token::new(" a-token-of-32-characters-or-more\n")?;
/// assert!(token.is("a-token-of-32-characters-or-more") && !token.is("another"));
/// assert!(Token::new("short").is_err());
/// # Ok::<(), abyme_listen::TokenError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Token([u8; 32]);

/// Why a text is no token. `Display` completes "the token".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenError {
    /// It has less than 16 characters.
    TooShort,
    /// It has a character that a header cannot hold, or that is not in ASCII.
    NotPlain,
}

impl Token {
    /// A token of at least 16 letters, digits and signs of ASCII. The space around it is no part of it, as
    /// the line end of a file is not.
    ///
    /// # Errors
    /// [`TokenError`] for any other text.
    pub fn new(token: &str) -> Result<Self, TokenError> {
        let token = token.trim();
        if token.len() < MIN_CHARS {
            return Err(TokenError::TooShort);
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::NotPlain);
        }
        Ok(Self::of(token))
    }

    /// The token that a variable holds. One that is not set and one that is empty are none.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn given(variable: Option<&str>) -> Result<Option<&str>, TokenError> {
        let token = variable.map(str::trim).filter(|token| !token.is_empty());
        token.map(|token| Self::new(token).map(|_| token)).transpose()
    }

    /// Whether a client gave this very token.
    #[must_use]
    pub fn is(&self, given: impl AsRef<[u8]>) -> bool {
        *self == Self::of(given)
    }

    /// The token that any bytes would be: what a client gave may be no token at all.
    #[must_use]
    pub fn of(given: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(given).into())
    }
}

/// What a client gave in its header `Authorization: Bearer`.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token.trim_ascii())
}

/// In a time that does not tell where they differ.
impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").finish_non_exhaustive()
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "has less than 16 characters; `openssl rand -hex 32` makes a good one",
            Self::NotPlain => "has a character that is no letter, digit or sign of ASCII",
        })
    }
}

impl std::error::Error for TokenError {}

/// A token of 128 random bits, in hexadecimal digits.
///
/// # Errors
/// If the system has no random numbers.
pub fn random_token() -> std::io::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_may_have_a_token() {
        let given = |value: &str| {
            let headers = [(AUTHORIZATION, value.parse().unwrap())].into_iter().collect();
            bearer(&headers).map(<[u8]>::to_vec)
        };
        assert_eq!(given("Bearer abc "), Some(b"abc".to_vec()));
        assert_eq!(given("bearer  abc"), Some(b"abc".to_vec()));
        assert_eq!(given("Bearer "), Some(Vec::new()));
        for other in ["Basic abc", "Bearer", "abc", ""] {
            assert_eq!(given(other), None, "{other}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }

    #[test]
    fn one_rule_for_all_tokens() {
        assert_eq!(Token::new("0123456789abcde").unwrap_err(), TokenError::TooShort);
        assert_eq!(Token::new("0123456789abcd ef").unwrap_err(), TokenError::NotPlain);
        let token = Token::new("\t0123456789abcdef\n").unwrap();
        assert!(token.is("0123456789abcdef") && !token.is("0123456789abcdeF") && !token.is(""));
        assert!(!format!("{token:?}").contains("01"));
        assert_eq!(Token::given(None), Ok(None));
        assert_eq!(Token::given(Some(" \n")), Ok(None));
        assert_eq!(Token::given(Some("short")), Err(TokenError::TooShort));
        assert_eq!(Token::given(Some(" 0123456789abcdef\n")), Ok(Some("0123456789abcdef")));
        let random = random_token().unwrap();
        assert!(Token::new(&random).is_ok() && random != random_token().unwrap());
    }
}
