//! Base URLs: which are taken, and how they are shown.

use std::net::IpAddr;

use abyme_core::{Error, ErrorKind, Result};
use reqwest::Url;

/// The base URL that a user gave.
///
/// # Errors
/// `Config` if it is no URL of HTTP, or holds a user or a password. The URL is not in the message.
pub fn base_url(text: &str) -> Result<Url> {
    // The URL itself is not shown: it may hold a password.
    let wrong = |why: &str| Error::new(ErrorKind::Config, format!("the base URL {why}"));
    let mut url = Url::parse(text.trim()).map_err(|error| wrong(&format!("is not a URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(&format!("has to begin with http:// or https://, not `{}:`", url.scheme())));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("must not hold a user or a password: set the API key instead"));
    }
    url.set_fragment(None);
    Ok(url)
}

/// The host of a URL, with its port if it has one, for messages.
pub fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Scheme, host and port of a URL: what redirections that are followed stay at.
pub(crate) fn origin_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// A URL as it may be shown: a query can hold a key, and what comes before an `@` a password.
pub fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, host)| format!("***@{host}"))
}

/// Whether a URL names this machine, also by the address that stands for all of its own.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_own = |address: IpAddr| address.to_canonical().is_loopback() || address.is_unspecified();
    host == "localhost" || host.ends_with(".localhost") || host.parse().is_ok_and(is_own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_by_all_its_names() {
        for host in [
            "localhost",
            "a.localhost",
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(is_loopback(&Url::parse(&format!("http://{host}:1/v1")).unwrap()), "{host}");
        }
        for host in ["10.0.0.1", "example.com", "localhost.example.com", "[2001:db8::1]"] {
            assert!(!is_loopback(&Url::parse(&format!("http://{host}/v1")).unwrap()), "{host}");
        }
    }

    #[test]
    fn what_is_no_base_url() {
        for wrong in
            ["", "localhost:8000/v1", "api.openai.com/v1", "ftp://x.example", "https://me:canary@x.example"]
        {
            let error = base_url(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{wrong}");
            assert!(!format!("{error:?}").contains("canary"));
        }
        assert_eq!(shown("https://me:canary@x.example/v1?key=canary"), "***@x.example/v1");
    }
}
