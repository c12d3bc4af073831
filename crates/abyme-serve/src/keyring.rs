//! The keys of a server while it runs: who is let in, and what each key has left.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use abyme_core::{Error, ErrorKind, Limits, Result, replace_whole};
use abyme_listen::{Token, bearer};
use axum::http::{HeaderMap, StatusCode, header, uri::Authority};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::{
    key::{Key, KeyLimits},
    rate::RequestRate,
    refusal::Refusal,
    spending::{DayBudget, Reservation, Spending, UsedUp, today, until_tomorrow},
};

/// The name of the key that a server without keys counts under.
const OPEN_NAME: &str = "local";

/// All keys.
#[derive(Debug)]
pub(crate) struct Keyring {
    keys: Vec<Arc<KeyState>>,
    /// Whether requests need no token.
    is_open: bool,
    usage_file: Option<Mutex<PathBuf>>,
}

/// A key, and what its clients did.
#[derive(Debug)]
pub(crate) struct KeyState {
    name: String,
    /// None where requests need none.
    token: Option<Token>,
    reads_metrics: bool,
    max_concurrent: Option<usize>,
    concurrent: Option<Arc<Semaphore>>,
    rate: Option<RequestRate>,
    budget: Arc<DayBudget>,
}

/// What the keys used on a day, as the file holds it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct UsageOfDay {
    day: u64,
    keys: BTreeMap<String, Spending>,
}

impl Keyring {
    /// The keys with what the file says that they used today. Without keys, every request of this machine is
    /// let in.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if two keys have one name or one token; [`ErrorKind::Io`] and
    /// [`ErrorKind::Config`] for a file that cannot be read.
    pub(crate) fn new(keys: Vec<Key>, usage_file: Option<PathBuf>) -> Result<Self> {
        let is_open = keys.is_empty();
        for (index, key) in keys.iter().enumerate() {
            key.limits.check(key.name())?;
            let same = |other: &&Key| other.name() == key.name() || other.token == key.token;
            if let Some(other) = keys[..index].iter().find(same) {
                let message =
                    format!("keys `{}` and `{}` have the same name or token", other.name(), key.name());
                return Err(Error::new(ErrorKind::Config, message));
            }
        }
        let used = usage_file.as_deref().map(read_usage).transpose()?.unwrap_or_default();
        let state = |key: Key| {
            let spent = used.keys.get(key.name()).copied().unwrap_or_default();
            Arc::new(KeyState::new(key, used.day, spent))
        };
        let mut states: Vec<_> = keys.into_iter().map(state).collect();
        if is_open {
            states.push(Arc::new(KeyState::open()));
        }
        Ok(Self { keys: states, is_open, usage_file: usage_file.map(Mutex::new) })
    }

    /// The key of a request.
    pub(crate) fn authorize(&self, headers: &HeaderMap) -> Result<Arc<KeyState>, Refusal> {
        if self.is_open {
            return match (is_of_this_machine(headers), self.keys.first()) {
                (true, Some(key)) => Ok(key.clone()),
                // A page of another site that had its name point here would send that name.
                _ => Err(Refusal::invalid("without tokens this server is for the machine that it runs on")
                    .status(StatusCode::FORBIDDEN, "wrong_host")),
            };
        }
        let Some(token) = bearer(headers) else { return Err(Refusal::wrong_token(true)) };
        let given = Token::of(token);
        // Every key is compared, each in a time that does not tell where it differs.
        let mut matching = None;
        for key in &self.keys {
            if key.token == Some(given) {
                matching = Some(key);
            }
        }
        matching.cloned().ok_or_else(|| Refusal::wrong_token(false))
    }

    /// Writes what the keys used today, if there is a file for it. May wait for the disk.
    pub(crate) fn save(&self) {
        let Some(file) = &self.usage_file else { return };
        // The newest figures are written last.
        let path = file.lock().unwrap_or_else(PoisonError::into_inner);
        let day = today();
        let keys = self.keys.iter().map(|key| (key.name.clone(), key.budget.used(day))).collect();
        if let Err(error) = write_usage(&path, &UsageOfDay { day, keys }) {
            tracing::warn!(path = %path.display(), %error, "what the keys used today cannot be kept");
        }
    }

    pub(crate) fn keeps_usage(&self) -> bool {
        self.usage_file.is_some()
    }
}

/// Whether the request names this machine as the server.
fn is_of_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    host.is_some_and(|host| {
        let name = host.host();
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    })
}

fn read_usage(path: &Path) -> Result<UsageOfDay> {
    let wrong = |kind, error: &dyn std::fmt::Display| {
        Error::new(kind, format!("cannot read `{}`, which has what keys used: {error}", path.display()))
    };
    let usage: UsageOfDay = match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| wrong(ErrorKind::Config, &error))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => UsageOfDay::default(),
        Err(error) => return Err(wrong(ErrorKind::Io, &error)),
    };
    // A file that cannot be written is an error now, and not after the first run.
    write_usage(path, &usage).map_err(|error| {
        Error::new(ErrorKind::Io, format!("cannot write `{}`: {error}", path.display())).with_source(error)
    })?;
    Ok(usage)
}

/// In the place of the file in one step, so that it is whole whenever the server ends.
fn write_usage(path: &Path, usage: &UsageOfDay) -> io::Result<()> {
    let text = serde_json::to_vec(usage)?;
    replace_whole(path, |file| file.write_all(&text))
}

impl KeyState {
    fn new(key: Key, day: u64, used: Spending) -> Self {
        let max_concurrent = key.limits.max_concurrent.map(|most| most.min(Semaphore::MAX_PERMITS));
        Self {
            token: Some(key.token),
            reads_metrics: key.reads_metrics,
            max_concurrent,
            concurrent: max_concurrent.map(|most| Arc::new(Semaphore::new(most))),
            rate: key.limits.requests_per_minute.map(RequestRate::new),
            budget: Arc::new(DayBudget::new(&key.limits, day, used)),
            name: key.name().to_owned(),
        }
    }

    /// What requests without a token count under.
    fn open() -> Self {
        Self {
            name: OPEN_NAME.to_owned(),
            token: None,
            reads_metrics: true,
            max_concurrent: None,
            concurrent: None,
            rate: None,
            budget: Arc::new(DayBudget::new(&KeyLimits::default(), 0, Spending::default())),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn reads_metrics(&self) -> bool {
        self.reads_metrics
    }

    /// Lets a request in, unless there are too many of this key.
    pub(crate) fn enter(&self) -> Result<Option<OwnedSemaphorePermit>, Refusal> {
        let Some(concurrent) = &self.concurrent else { return Ok(None) };
        concurrent.clone().try_acquire_owned().map(Some).map_err(|_| {
            let most = self.max_concurrent.unwrap_or_default();
            let message = format!("the key may have {most} requests at once, and has them");
            Refusal::later("too_many_requests_at_once", message, std::time::Duration::from_secs(2))
        })
    }

    /// Counts a request, unless there were too many in the last minute.
    pub(crate) fn count(&self) -> Result<(), Refusal> {
        let Some(rate) = &self.rate else { return Ok(()) };
        rate.take(Instant::now()).map_err(|after| {
            Refusal::later("rate_limit_exceeded", "the key has no requests left in this minute", after)
        })
    }

    /// Refuses a request that could use nothing.
    pub(crate) fn check_budget(&self) -> Result<(), Refusal> {
        self.budget.check(today()).map_err(used_up)
    }

    /// Holds what a run may use.
    pub(crate) fn reserve(&self, max_runs: usize, own: &Limits) -> Result<Reservation, Refusal> {
        let max_runs = self.max_concurrent.map_or(max_runs, |most| most.min(max_runs));
        self.budget.reserve(today(), max_runs, own).map_err(used_up)
    }
}

fn used_up(budget: UsedUp) -> Refusal {
    let what = match budget {
        UsedUp::Tokens => "tokens",
        UsedUp::Cost => "money",
    };
    Refusal::budget(
        format!("the key has no {what} left today; a new day begins at midnight UTC"),
        until_tomorrow(),
    )
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_token_is_whole_or_wrong() {
        let key = |name: &str, token: &str| Key::new(name, token).unwrap();
        let keyring =
            Keyring::new(vec![key("a", "0123456789abcdef"), key("b", "fedcba9876543210")], None).unwrap();
        let name = |value: &str| {
            keyring.authorize(&headers(header::AUTHORIZATION, value)).map(|key| key.name().to_owned())
        };
        assert_eq!(name("Bearer 0123456789abcdef"), Ok("a".to_owned()));
        assert_eq!(name("bearer  fedcba9876543210 "), Ok("b".to_owned()));
        for wrong in
            ["", "Bearer", "Bearer ", "Basic 0123456789abcdef", "Bearer 0123456789abcde", "0123456789abcdef"]
        {
            assert_eq!(name(wrong).unwrap_err().status, StatusCode::UNAUTHORIZED, "{wrong}");
        }
        assert!(
            Keyring::new(vec![key("a", "0123456789abcdef"), key("a", "fedcba9876543210")], None).is_err()
        );
        assert!(
            Keyring::new(vec![key("a", "0123456789abcdef"), key("b", "0123456789abcdef")], None).is_err()
        );
    }

    #[test]
    fn without_keys_the_name_of_the_server_has_to_be_this_machine() {
        let keyring = Keyring::new(Vec::new(), None).unwrap();
        let lets_in = |host: &str| keyring.authorize(&headers(header::HOST, host)).is_ok();
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "127.1.2.3", "[::1]:80", "[::1]"] {
            assert!(lets_in(host), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:80", "10.0.0.1", "127.0.0.1.evil.example", ""] {
            assert!(!lets_in(host), "{host}");
        }
        assert!(keyring.authorize(&HeaderMap::new()).is_err());
    }

    #[test]
    fn what_was_used_today_outlives_the_server() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("usage.json");
        let open = || {
            let limits = KeyLimits::default().max_tokens_per_day(100);
            let key = Key::new("a", "0123456789abcdef").unwrap().limits(limits);
            Keyring::new(vec![key], Some(path.clone()))
        };
        let keyring = open().unwrap();
        let reservation = keyring.keys[0].reserve(1, &Limits::default()).unwrap();
        reservation.settle(today(), &abyme_core::Usage::tokens(60, 60));
        keyring.save();
        assert!(open().unwrap().keys[0].check_budget().is_err());
        std::fs::write(&path, r#"{"day": 1, "keys": {"a": {"tokens": 120}}}"#).unwrap();
        open().unwrap().keys[0].check_budget().unwrap();
        std::fs::write(&path, "nonsense").unwrap();
        assert_eq!(open().unwrap_err().kind(), ErrorKind::Config);
    }
}
