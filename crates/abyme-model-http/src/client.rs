//! One pool of connections to one host, and the headers that go with each request.

use std::{fmt, sync::Arc, time::Duration};

use abyme_core::{Error, ErrorKind, Result};
use reqwest::{
    Client, ClientBuilder, Proxy, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect,
};

use crate::{
    allowance::Allowance,
    config::HttpConfig,
    secret::{Mask, Secret},
    tls,
    url::{host_of, is_loopback, origin_of},
};

/// What a client of a provider sends with each request, before the user's own headers.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    map: HeaderMap,
    secrets: Vec<Secret>,
}

impl Headers {
    /// Adds a header that holds the key, after `scheme`: `("authorization", "Bearer ", key)`.
    ///
    /// # Errors
    /// `Config` if the key is empty, or holds what no key does.
    pub fn key(mut self, name: &'static str, scheme: &str, key: &Secret) -> Result<Self> {
        let message = "the API key holds a line break, a space or another character that no key has";
        let text = key.expose();
        let sendable = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let value = sendable.then(|| secret_value(&format!("{scheme}{text}"))).flatten();
        let value = value.ok_or_else(|| Error::new(ErrorKind::Config, message))?;
        self.map.insert(name, value);
        self.secrets.push(key.clone());
        Ok(self)
    }

    /// Adds a key that goes elsewhere than into a header, so that no error shows it.
    pub fn masking(mut self, key: &Secret) -> Self {
        self.secrets.push(key.clone());
        self
    }

    /// Adds a header.
    ///
    /// # Errors
    /// `Config` if it cannot be sent. Its value is not in the message.
    pub fn add(mut self, name: &str, value: &str) -> Result<Self> {
        let wrong =
            || Error::new(ErrorKind::Config, format!("header `{}` cannot be sent", name.escape_debug()));
        let name = HeaderName::try_from(name).map_err(|_| wrong())?;
        self.map.insert(name, secret_value(value).ok_or_else(wrong)?);
        Ok(self)
    }
}

fn secret_value(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// One pool of connections to one host. Clones share it.
#[derive(Clone)]
pub struct HttpClient(Arc<Inner>);

struct Inner {
    client: Client,
    config: HttpConfig,
    host: String,
    origin: String,
    has_key: bool,
    /// Whether what the environment says of proxies counts.
    may_be_proxied: bool,
    mask: Mask,
    /// The mask of replies.
    keys: Mask,
}

impl HttpClient {
    /// A client for requests to the host of `url`. Sends nothing.
    ///
    /// # Errors
    /// `Config` if a header, the proxy or a certificate cannot be used; `Unavailable` if this machine has no
    /// root certificates.
    pub fn new(url: &Url, config: &HttpConfig, headers: Headers) -> Result<Self> {
        Self::built(url, config, headers, Client::builder())
    }

    /// Like [`new`](Self::new), for libraries that send on their own and do not bound what they read: no
    /// answer is decompressed, so none is larger than what was sent.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn uncompressed(url: &Url, config: &HttpConfig, headers: Headers) -> Result<Self> {
        let builder = Client::builder().no_gzip().no_brotli().no_zstd().no_deflate();
        Self::built(url, config, headers, builder)
    }

    fn built(url: &Url, config: &HttpConfig, headers: Headers, builder: ClientBuilder) -> Result<Self> {
        let mut headers = headers;
        for (name, value) in &config.headers {
            headers = headers.add(name, value.expose())?;
        }
        let keys: Vec<_> = headers.secrets.iter().cloned().chain(config.keys()).collect();
        let mut builder = builder
            .user_agent(concat!("abyme/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(config.connect_timeout)
            .tcp_nodelay(true)
            .redirect(same_origin())
            .tls_backend_preconfigured(tls::encryption(url, &config.certificate_authorities)?);
        let mut may_be_proxied = false;
        match config.proxy.as_ref().map(Secret::expose) {
            Some("none") => builder = builder.no_proxy(),
            Some(proxy) => builder = builder.proxy(self::proxy(proxy)?),
            None if is_loopback(url) => builder = builder.no_proxy(),
            None => may_be_proxied = true,
        }
        let has_key = !headers.secrets.is_empty() || config.has_key();
        let secrets = config.headers.values().chain(&config.proxy).cloned();
        let mask = Mask::new(secrets.chain(keys.iter().cloned()));
        let keys = Mask::of_keys(keys);
        let builder = builder.default_headers(headers.map);
        let client = builder.build().map_err(|error| tls::not_set_up(error.without_url()))?;
        let (host, origin) = (host_of(url), origin_of(url));
        let config = config.clone();
        Ok(Self(Arc::new(Inner { client, config, host, origin, has_key, may_be_proxied, mask, keys })))
    }

    /// The host that requests go to, with its port if its URL has one.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Where requests go: scheme, host and port.
    pub(crate) fn origin(&self) -> &str {
        &self.0.origin
    }

    /// Whether requests carry a key.
    pub fn has_key(&self) -> bool {
        self.0.has_key
    }

    /// The mask of every secret that requests carry.
    pub fn mask(&self) -> &Mask {
        &self.0.mask
    }

    /// The mask of the keys that requests carry, for replies.
    pub(crate) fn keys(&self) -> &Mask {
        &self.0.keys
    }

    /// What one call may take, in however many exchanges: within `timeout` and the configured limits. Its
    /// time begins now.
    pub fn allow(&self, timeout: Option<Duration>) -> Allowance {
        Allowance::new(&self.0.config, timeout)
    }

    /// The most that is read of an answer.
    pub(crate) fn max_body_bytes(&self) -> usize {
        self.0.config.max_body_bytes
    }

    /// The pool itself, for libraries that send on their own. The headers, the rules and the key of this
    /// client go with each of their requests; its limits do not.
    pub fn reqwest(&self) -> &Client {
        &self.0.client
    }

    pub(crate) fn may_be_proxied(&self) -> bool {
        self.0.may_be_proxied
    }
}

/// Without the settings of the connections, which may name a proxy with its password.
impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("host", &self.0.host).finish_non_exhaustive()
    }
}

fn proxy(url: &str) -> Result<Proxy> {
    // The error of the library would show the URL, with its password.
    Proxy::all(url).map_err(|_| Error::new(ErrorKind::Config, "the proxy is no URL"))
}

/// Follows only what repeats the request at the same origin. The key and the prompt go nowhere else.
fn same_origin() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let repeats = matches!(attempt.status().as_u16(), 307 | 308);
        let first = attempt.previous().first();
        let stays = first.is_some_and(|first| first.origin() == attempt.url().origin());
        if repeats && stays && attempt.previous().len() <= 5 { attempt.follow() } else { attempt.stop() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(headers: Result<Headers>) -> String {
        let error = headers.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        error.to_string()
    }

    #[test]
    fn errors_do_not_show_the_key() {
        for key in ["sk-canary\n", "sk canary", " sk-canary", "sk-canary\u{e9}", "\u{feff}sk-canary", ""] {
            let headers = Headers::default().key("authorization", "Bearer ", &Secret::new(key));
            assert!(wrong(headers).contains("API key"));
        }
        assert!(wrong(Headers::default().add("a b", "c")).contains("`a b`"));
        assert!(wrong(Headers::default().add("X-Key", "canary\r\nHost: x")).contains("`X-Key`"));
        let config = HttpConfig { proxy: Some("http://a:canary@b:port".into()), ..Default::default() };
        let error = HttpClient::new(&Url::parse("http://x.test").unwrap(), &config, Headers::default());
        assert!(wrong(error.map(|_| Headers::default())).contains("proxy"));
    }
}
