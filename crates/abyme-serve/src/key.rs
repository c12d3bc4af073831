//! A key: a token that lets a client in, and what the client may do.

use std::{fmt, path::Path};

use abyme_core::{Error, ErrorKind, Result, Text};
use abyme_listen::Token;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A token that lets clients in, the name that it has in metrics and records, and what its clients may do.
///
/// The token itself is not kept, only its hash; `Debug` shows neither.
///
/// ```
/// use abyme_serve::{Key, KeyLimits};
///
/// let key = Key::new("alice", "a-token-of-32-characters-or-more")?
///     .limits(KeyLimits::default().max_concurrent(2).max_cost_per_day(5.0));
/// assert_eq!(key.name(), "alice");
/// # Ok::<(), abyme_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Key {
    name: String,
    pub(crate) token: Token,
    pub(crate) limits: KeyLimits,
    pub(crate) reads_metrics: bool,
}

/// What the clients of one key may do, all together. `None` is no limit, which is the default of each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct KeyLimits {
    /// Requests at once, those that wait included.
    pub max_concurrent: Option<usize>,
    /// Requests in any minute.
    pub requests_per_minute: Option<u32>,
    /// Tokens of requests to models and of their replies, in a day of UTC.
    pub max_tokens_per_day: Option<u64>,
    /// US dollars in a day of UTC. Needs models whose price is known.
    pub max_cost_per_day: Option<f64>,
}

impl KeyLimits {
    /// Sets how many requests there may be at once.
    #[must_use]
    pub fn max_concurrent(mut self, requests: impl Into<Option<usize>>) -> Self {
        self.max_concurrent = requests.into();
        self
    }

    /// Sets how many requests there may be in any minute.
    #[must_use]
    pub fn requests_per_minute(mut self, requests: impl Into<Option<u32>>) -> Self {
        self.requests_per_minute = requests.into();
        self
    }

    /// Sets how many tokens may be used in a day.
    #[must_use]
    pub fn max_tokens_per_day(mut self, tokens: impl Into<Option<u64>>) -> Self {
        self.max_tokens_per_day = tokens.into();
        self
    }

    /// Sets how many US dollars may be used in a day.
    #[must_use]
    pub fn max_cost_per_day(mut self, dollars: impl Into<Option<f64>>) -> Self {
        self.max_cost_per_day = dollars.into();
        self
    }

    /// Refuses what lets nothing through by mistake.
    pub(crate) fn check(&self, name: &str) -> Result<()> {
        let wrong = match self {
            Self { max_concurrent: Some(0), .. } => "max_concurrent is 0",
            Self { requests_per_minute: Some(0), .. } => "requests_per_minute is 0",
            Self { max_cost_per_day: Some(cost), .. } if !(cost.is_finite() && *cost >= 0.0) => {
                "max_cost_per_day is no amount"
            }
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::Config, format!("key `{name}`: {wrong}")))
    }
}

impl Key {
    /// A key without limits.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a token that has less than 16 characters or one that no header can hold.
    pub fn new(name: impl Into<String>, token: &str) -> Result<Self> {
        let name = name.into();
        let token = Token::new(token)
            .map_err(|wrong| Error::new(ErrorKind::Config, format!("key `{name}`: its token {wrong}")))?;
        Ok(Self { token, name, limits: KeyLimits::default(), reads_metrics: false })
    }

    /// Sets what the clients of the key may do.
    #[must_use]
    pub fn limits(mut self, limits: KeyLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Lets the key read `/metrics`, which tells of all keys. Default: it may not.
    #[must_use]
    pub fn reads_metrics(mut self, reads: bool) -> Self {
        self.reads_metrics = reads;
        self
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads keys from a file: a JSON object whose `keys` are objects by name, each with a `token`, any of
    /// the fields of [`KeyLimits`], and `"metrics": true` where it may read these. What is left out is as in
    /// `defaults`; `null` is no limit.
    ///
    /// ```json
    /// {"keys": {"alice": {"token": "...", "max_concurrent": 2, "max_cost_per_day": 5.0},
    ///           "prometheus": {"token": "...", "metrics": true}}}
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file cannot be read, [`ErrorKind::Config`] with the name of the key that is
    /// not as it has to be. No error shows a token.
    pub fn load(path: impl AsRef<Path>, defaults: &KeyLimits) -> Result<Vec<Self>> {
        let path = path.as_ref();
        Self::read(&Text::from_file(path)?, defaults).map_err(|error| error.context(path.display()))
    }

    fn read(text: &str, defaults: &KeyLimits) -> Result<Vec<Self>> {
        let config = |message: String| Error::new(ErrorKind::Config, message);
        // Its errors of syntax quote nothing.
        let file: Value = serde_json::from_str(text).map_err(|error| config(format!("no JSON: {error}")))?;
        let Some(Value::Object(keys)) = file.get("keys") else {
            return Err(config(
                "has no object `keys`, such as {\"keys\": {\"alice\": {\"token\": \"...\"}}}".into(),
            ));
        };
        let keys = keys.iter().map(|(name, entry)| {
            let wrong = |what: String| config(format!("key `{name}`: {what}"));
            let Value::Object(entry) = entry else { return Err(wrong("is no object".to_owned())) };
            let Some(Value::String(token)) = entry.get("token") else {
                return Err(wrong("has no `token` that is a text".to_owned()));
            };
            let reads_metrics = match entry.get("metrics") {
                None | Some(Value::Bool(false)) => false,
                Some(Value::Bool(true)) => true,
                Some(_) => return Err(wrong("`metrics` is neither true nor false".to_owned())),
            };
            let mut limits = match serde_json::to_value(defaults) {
                Ok(Value::Object(limits)) => limits,
                _ => Map::new(),
            };
            let given = entry.iter().filter(|(field, _)| !matches!(field.as_str(), "token" | "metrics"));
            limits.extend(given.map(|(field, value)| (field.clone(), value.clone())));
            let limits: KeyLimits =
                serde_json::from_value(Value::Object(limits)).map_err(|error| wrong(error.to_string()))?;
            limits.check(name)?;
            Ok(Self::new(name, token)?.limits(limits).reads_metrics(reads_metrics))
        });
        let keys = keys.collect::<Result<Vec<_>>>()?;
        if keys.is_empty() {
            return Err(config("has no key".to_owned()));
        }
        Ok(keys)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("name", &self.name).field("limits", &self.limits).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "tok-0123456789abcdef";

    #[test]
    fn a_file_has_keys_with_limits_of_their_own() {
        let defaults = KeyLimits::default().max_concurrent(3).requests_per_minute(9);
        let text = format!(
            r#"{{"keys": {{"a": {{"token": "{TOKEN}", "max_concurrent": null, "max_cost_per_day": 2}},
                          "b": {{"token": "{TOKEN}b", "metrics": true}}}}}}"#
        );
        let keys = Key::read(&text, &defaults).unwrap();
        let expected = KeyLimits::default().requests_per_minute(9).max_cost_per_day(2.0);
        assert_eq!((keys[0].name(), &keys[0].limits, keys[0].reads_metrics), ("a", &expected, false));
        assert_eq!((keys[1].name(), &keys[1].limits, keys[1].reads_metrics), ("b", &defaults, true));
        assert!(!format!("{keys:?}").contains("0123"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_token() {
        let key = |entry: &str| format!(r#"{{"keys": {{"a": {entry}}}}}"#);
        for (text, part) in [
            (String::new(), "no JSON"),
            (format!("[\"{TOKEN}\"]"), "no object `keys`"),
            (r#"{"keys": {}}"#.to_owned(), "has no key"),
            (key(&format!("\"{TOKEN}\"")), "key `a`: is no object"),
            (key(&format!(r#"{{"tokens": "{TOKEN}"}}"#)), "has no `token`"),
            (key(r#"{"token": "short"}"#), "less than 16"),
            (key(r#"{"token": "0123456789 abcdef"}"#), "a character"),
            (key(&format!(r#"{{"token": "{TOKEN}", "rpm": 3}}"#)), "unknown field `rpm`"),
            (key(&format!(r#"{{"token": "{TOKEN}", "max_concurrent": 0}}"#)), "max_concurrent is 0"),
            (key(&format!(r#"{{"token": "{TOKEN}", "max_cost_per_day": -1}}"#)), "no amount"),
            (key(&format!(r#"{{"token": "{TOKEN}", "metrics": 1}}"#)), "`metrics`"),
        ] {
            let error = Key::read(&text, &KeyLimits::default()).unwrap_err();
            assert!(error.message().contains(part), "{text}: {error}");
            assert!(!format!("{error:?}").contains(TOKEN), "{error:?}");
        }
    }
}
