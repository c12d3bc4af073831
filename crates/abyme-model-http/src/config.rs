//! The settings that every client has.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// How requests are sent, whatever the provider. The configuration of each client holds one, and
/// [`http_settings!`](crate::http_settings) gives the client its setters, which say what each field is for.
///
/// `Debug` hides secrets and serialising leaves them out; deserialising reads them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct HttpConfig {
    /// Headers that are added to each request. Default: none.
    #[serde(skip_serializing)]
    pub headers: BTreeMap<String, Secret>,
    /// The proxy's URL, or `none` for no proxy. Default: what the environment says.
    #[serde(skip_serializing)]
    pub proxy: Option<Secret>,
    /// Certificates (PEM) of authorities that count beside those of the machine. Default: none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub certificate_authorities: String,
    /// Longest wait for a connection. Default 10 s.
    #[serde(with = "abyme_core::seconds")]
    pub connect_timeout: Duration,
    /// Longest time of one call. Default: the request's, or 300 s.
    #[serde(with = "abyme_core::seconds::option", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Longest wait for the first byte. Default: as long as the call may take.
    #[serde(with = "abyme_core::seconds::option", skip_serializing_if = "Option::is_none")]
    pub first_byte_timeout: Option<Duration>,
    /// Longest silence once an answer has begun. Default 60 s.
    #[serde(with = "abyme_core::seconds")]
    pub idle_timeout: Duration,
    /// Largest answer in bytes, after decompression. Default 8 MiB.
    pub max_body_bytes: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            headers: BTreeMap::new(),
            proxy: None,
            certificate_authorities: String::new(),
            connect_timeout: Duration::from_secs(10),
            timeout: None,
            first_byte_timeout: None,
            idle_timeout: Duration::from_secs(60),
            max_body_bytes: 8 << 20,
        }
    }
}

impl HttpConfig {
    /// Whether one of the headers carries a key.
    pub fn has_key(&self) -> bool {
        let is_key = |name: &String| KEY_HEADERS.iter().any(|header| name.eq_ignore_ascii_case(header));
        self.headers.keys().any(is_key)
    }

    /// What the headers hold that are for secrets by their names: each whole, and without the scheme before
    /// it.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Secret> {
        let is_secret = |name: &str| {
            let name = name.to_lowercase();
            SECRET_HEADERS.iter().any(|part| name.contains(part))
        };
        let values = self.headers.iter().filter(move |(name, _)| is_secret(name)).map(|(_, value)| value);
        values.flat_map(|value| {
            let last = value.expose().split_whitespace().next_back().unwrap_or_default();
            [value.clone(), Secret::new(last)]
        })
    }
}

/// Headers that carry a key, so that none has to be configured besides.
const KEY_HEADERS: &[&str] = &["authorization", "api-key", "x-api-key", "x-goog-api-key"];

/// Parts of the names of headers that hold a secret.
const SECRET_HEADERS: &[&str] = &["auth", "key", "token", "secret", "password", "cookie"];

/// The setters of [`HttpConfig`] for a client, the same in each. The client is a struct with one unnamed
/// field, a [`ModelClient`](crate::ModelClient), and its file has [`Secret`] in scope.
#[macro_export]
macro_rules! http_settings {
    ($client:ty) => {
        /// The settings of its connections.
        impl $client {
            /// Adds a header to each request.
            pub fn header(self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
                Self(self.0.with(|config| drop(config.http.headers.insert(name.into(), value.into()))))
            }

            /// Sets the proxy: its URL, or `none` for no proxy. Default: what `HTTPS_PROXY`, `HTTP_PROXY`,
            /// `ALL_PROXY` and `NO_PROXY` say, and none for servers on this machine.
            pub fn proxy(self, url: impl Into<Secret>) -> Self {
                Self(self.0.with(|config| config.http.proxy = Some(url.into())))
            }

            /// Sets certificates of authorities that count beside those of this machine: the text of a PEM
            /// file. A server or a proxy with a certificate of one's own needs that.
            pub fn certificate_authorities(self, pem: impl Into<String>) -> Self {
                Self(self.0.with(|config| config.http.certificate_authorities = pem.into()))
            }

            /// Sets the longest wait for a connection. Default 10 s.
            pub fn connect_timeout(self, limit: ::std::time::Duration) -> Self {
                Self(self.0.with(|config| config.http.connect_timeout = limit))
            }

            /// Sets the longest time of one call; a request's own limit counts if it is less. Default: the
            /// request's limit, or 300 s for a request without one.
            pub fn timeout(self, limit: ::std::time::Duration) -> Self {
                Self(self.0.with(|config| config.http.timeout = Some(limit)))
            }

            /// Sets the longest wait for the first byte of the answer. Default: as long as the whole call may
            /// take.
            pub fn first_byte_timeout(self, limit: impl Into<Option<::std::time::Duration>>) -> Self {
                Self(self.0.with(|config| config.http.first_byte_timeout = limit.into()))
            }

            /// Sets the longest silence once an answer has begun. Default 60 s.
            pub fn idle_timeout(self, limit: ::std::time::Duration) -> Self {
                Self(self.0.with(|config| config.http.idle_timeout = limit))
            }

            /// Sets the largest answer in bytes, after decompression. Default 8 MiB, which is more than a
            /// million tokens, or some 30 000 that come as a stream of events. Nothing is read beyond that.
            /// Of a larger answer that was streamed, the text that came until then is a response with
            /// [`FinishReason::Length`](::abyme_core::FinishReason). Where no text came it is an error, of
            /// kind [`MalformedReply`](::abyme_core::ErrorKind::MalformedReply) and permanent.
            pub fn max_body_bytes(self, bytes: usize) -> Self {
                Self(self.0.with(|config| config.http.max_body_bytes = bytes))
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned_and_secrets_never_written() {
        let defaults = serde_json::json!({
            "connect_timeout": 10.0, "idle_timeout": 60.0, "max_body_bytes": 8_388_608,
        });
        assert_eq!(serde_json::to_value(HttpConfig::default()).unwrap(), defaults);
        assert_eq!(serde_json::from_str::<HttpConfig>("{}").unwrap(), HttpConfig::default());

        let secrets =
            serde_json::json!({"headers": {"X-Api-Key": "sk-canary"}, "proxy": "http://a:canary@b:1"});
        let config: HttpConfig = serde_json::from_value(secrets).unwrap();
        assert!(config.has_key());
        let shown = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
        assert!(!shown.contains("canary"), "{shown}");
    }
}
