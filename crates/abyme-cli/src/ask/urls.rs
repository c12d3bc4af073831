//! What URLs name, fetched where `--urls` asks for it.

use std::{ffi::OsStr, time::Duration};

use abyme_model_http::{Url, http_client};

/// How long a page may take in all.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Whether a word is a URL that can be fetched.
pub(super) fn is_url(word: &OsStr) -> bool {
    word.to_str().is_some_and(|word| word.starts_with("https://") || word.starts_with("http://"))
}

/// What is said of a URL, and what the file is called: without the parts that may hold a key.
pub(super) fn shown(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return url.to_owned() };
    // A URL that takes no user has none.
    let _ = (url.set_username(""), url.set_password(None));
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// The body of the answer, decompressed, of at most so many bytes.
pub(super) async fn fetch(url: &str, most: u64) -> Result<Vec<u8>, String> {
    let url = Url::parse(url).map_err(|error| format!("this is no URL: {error}"))?;
    // A page of http leads to one of https more often than not, which a client of http could not trust.
    let mut secure = url.clone();
    let _ = secure.set_scheme("https");
    let client = http_client(&secure, |client| client.timeout(TIMEOUT));
    let client = client.or_else(|_| http_client(&url, |client| client.timeout(TIMEOUT)));
    let client = client.map_err(|error| error.to_string())?;
    let sent = client.get(url).send().await.and_then(|answer| answer.error_for_status());
    let mut answer = sent.map_err(|error| problem(&error))?;
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| problem(&error))? {
        if (body.len() + piece.len()) as u64 > most {
            return Err(format!("larger than the {} MB that all files may have", most >> 20));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// What went wrong, without the URL, which may hold a key.
fn problem(error: &reqwest::Error) -> String {
    match error.status() {
        Some(status) => format!("the server answers {status}"),
        None if error.is_timeout() => format!("no whole answer within {} s", TIMEOUT.as_secs()),
        None if error.is_connect() => "the server cannot be reached".to_owned(),
        None => "the answer cannot be read".to_owned(),
    }
}
