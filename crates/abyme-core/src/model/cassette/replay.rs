//! Replays the calls of models.

use std::{
    collections::BTreeSet,
    fmt, fs,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};

use super::{
    difference,
    entry::{self, Entry, Facts, Outcome},
    scrub::Scrubber,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{
        language_model::LanguageModel,
        message::{Request, Response},
        price::Price,
        rate_limiter::RateLimiter,
        stream::{Delta, ResponseStream, pieces},
    },
};

/// A cassette that is replayed: models that answer as those did that a [`Recording`](crate::Recording) heard.
///
/// Each model's calls have to come as they were recorded: the same requests in the order in which they began,
/// or with [`unordered`](Self::unordered) in any order. The first request that differs is an error that shows
/// how, and so is every call after it, so that no program can miss it. A call whose answer nobody waited for
/// is replayed as one that never ends.
///
/// All calls have to be asked for: [`finish`](Self::finish) is an error where some were not, and where it was
/// not called, the last handle or model that is dropped panics. [`allow_unused`](Self::allow_unused) lets a
/// part be enough. Requests are compared without secrets, as they were recorded.
#[derive(Clone)]
pub struct Replay(Arc<Mutex<ReplayedTape>>);

struct ReplayedTape {
    name: String,
    entries: Vec<Entry>,
    used: Vec<bool>,
    scrubber: Scrubber,
    ordered: bool,
    /// Whether calls that were not asked for are no mistake.
    excused: bool,
    /// The first request that differed, in a line and at length.
    differed: Option<(String, String)>,
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Replay").field(&self.tape().name).finish()
    }
}

impl Replay {
    /// Reads a cassette.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file cannot be read, is no cassette, or is damaged, with the line.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|error| {
            let message = format!("cannot read the cassette {}: {error}", path.display());
            Error::new(ErrorKind::Io, message).with_source(error)
        })?;
        Self::from_jsonl(&path.display().to_string(), &text)
    }

    /// Reads a cassette from its text; `name` is for messages.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it is no cassette, or damaged, with the line.
    pub fn from_jsonl(name: &str, text: &str) -> Result<Self> {
        let entries = entry::read(name, text)?;
        let (used, name) = (vec![false; entries.len()], name.to_owned());
        let scrubber = Scrubber::new()?;
        let tape =
            ReplayedTape { name, entries, used, scrubber, ordered: true, excused: false, differed: None };
        Ok(Self(Arc::new(Mutex::new(tape))))
    }

    /// Lets the calls come in any order: for sub-calls that start as others end.
    pub fn unordered(self) -> Self {
        self.tape().ordered = false;
        self
    }

    /// Compares requests without this text, as the recording was told to keep it out. One that was not told
    /// is compared without it too.
    pub fn secret(self, secret: impl Into<String>) -> Self {
        let mut tape = self.tape();
        let ReplayedTape { scrubber, entries, .. } = &mut *tape;
        // Several models have the same keys as a rule.
        if scrubber.secret(secret.into()) {
            for entry in entries {
                entry.request = scrubber.scrub_request(&entry.request);
            }
        }
        drop(tape);
        self
    }

    /// Lets a part of the calls be enough.
    pub fn allow_unused(self) -> Self {
        self.tape().excused = true;
        self
    }

    /// The names of the recorded models.
    pub fn models(&self) -> BTreeSet<String> {
        self.tape().entries.iter().map(|entry| entry.model.clone()).collect()
    }

    /// The model that answers as the recorded one of this name did.
    pub fn model(&self, name: impl Into<String>) -> Replayed {
        Replayed { name: name.into(), replay: self.clone() }
    }

    /// Whether every request was the recorded one, and every recorded call was asked for.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] with the first difference, or the first call that was not asked for.
    pub fn finish(&self) -> Result<()> {
        let mut tape = self.tape();
        let problem = tape.problem();
        tape.excused = true;
        tape.differed = None;
        problem.map_or(Ok(()), Err)
    }

    /// What is known of a model, from the first of its calls.
    fn facts(&self, model: &str) -> Facts {
        let tape = self.tape();
        tape.entries.iter().find(|entry| entry.model == model).map(|entry| entry.facts).unwrap_or_default()
    }

    fn tape(&self) -> MutexGuard<'_, ReplayedTape> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReplayedTape {
    /// The answer to this request.
    fn take(&mut self, model: &str, request: &Request) -> Result<Entry> {
        if let Some(differed) = &self.differed {
            return Err(self.error(differed));
        }
        let asked = self.scrubber.scrub_request(&request.question());
        let left = || {
            let all = self.entries.iter().enumerate();
            all.filter(|(at, entry)| !self.used[*at] && entry.model == model)
        };
        let differs = |entry: &Entry| difference::between(&entry.request, &asked);
        let found = match self.ordered {
            true => left().next().filter(|(_, entry)| differs(entry).is_none()),
            false => left().find(|(_, entry)| differs(entry).is_none()),
        };
        if let Some((at, entry)) = found {
            let entry = entry.clone();
            self.used[at] = true;
            return Ok(entry);
        }
        let alike = |entry: &Entry| {
            let both = entry.request.messages.iter().zip(&asked.messages);
            both.take_while(|(old, new)| old == new).count()
        };
        // Of several, the one that is most like it; the first of those.
        let nearest = match self.ordered {
            true => left().next(),
            false => left().rev().max_by_key(|(_, entry)| alike(entry)),
        };
        let differed = match nearest {
            Some((_, entry)) => {
                let (short, long) = differs(entry).unwrap_or_default();
                (format!("call {} of model `{model}` is not the recorded one: {short}", entry.call), long)
            }
            None => {
                let all = self.entries.iter().filter(|entry| entry.model == model).count();
                let last = asked.messages.last().map(|message| message.content.clone()).unwrap_or_default();
                (format!("model `{model}` is asked more than the {all} recorded times"), last)
            }
        };
        let error = self.error(&differed);
        self.differed = Some(differed);
        Err(error)
    }

    fn error(&self, (short, long): &(String, String)) -> Error {
        let error = Error::new(ErrorKind::Config, format!("{short} (cassette {})", self.name));
        if long.is_empty() { error } else { error.with("difference", format!("\n{long}")) }
    }

    /// What a test has to know at the end.
    fn problem(&self) -> Option<Error> {
        if let Some(differed) = &self.differed {
            return Some(self.error(differed));
        }
        let mut unused =
            self.entries.iter().zip(&self.used).filter(|(_, used)| !**used).map(|(entry, _)| entry);
        let first = unused.next().filter(|_| !self.excused)?;
        let message = format!(
            "{} of {} recorded calls were not asked for, the first of them call {} of model `{}` \
             (cassette {})",
            unused.count() + 1,
            self.entries.len(),
            first.call,
            first.model,
            self.name
        );
        Some(Error::new(ErrorKind::Config, message))
    }
}

impl Drop for ReplayedTape {
    #[expect(clippy::panic, reason = "a test that replays too little must not pass")]
    fn drop(&mut self) {
        if let Some(problem) = self.problem()
            && !std::thread::panicking()
        {
            panic!("{problem:?}");
        }
    }
}

/// A model that answers as a recorded one did. Made by [`Replay::model`].
///
/// A call that was recorded as a stream can be asked for as a whole, and the other way round.
#[derive(Clone, Debug)]
pub struct Replayed {
    name: String,
    replay: Replay,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl LanguageModel for Replayed {
    fn name(&self) -> &str {
        &self.name
    }

    fn check(&self) -> Result<()> {
        let models = self.replay.models();
        if models.contains(&self.name) {
            return Ok(());
        }
        let names: Vec<_> = models.iter().map(|name| format!("`{name}`")).collect();
        let message = format!("no call of model `{}` is recorded, only of {}", self.name, names.join(", "));
        Err(Error::new(ErrorKind::Config, message))
    }

    fn price(&self) -> Option<Price> {
        self.replay.facts(&self.name).price
    }

    fn reports_cost(&self) -> bool {
        self.replay.facts(&self.name).reports_cost
    }

    fn max_input_tokens(&self) -> Option<u64> {
        self.replay.facts(&self.name).max_input_tokens
    }

    fn limits_each_try(&self) -> bool {
        false
    }

    fn rate_limiter(&self) -> Option<RateLimiter> {
        None
    }

    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        let entry = self.replay.tape().take(&self.name, request)?;
        match entry.outcome {
            Outcome::Response(response) => Ok(*response),
            Outcome::Error(failure) => Err(failure.into()),
            Outcome::Dropped {} => Err(never_answered(request).await),
        }
    }

    async fn stopped_early(&self, _: &Request, _: &Response) {}

    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        let answer = stream::once(async { self.replay.tape().take(&self.name, request) });
        let pieces = answer.flat_map(|entry| {
            let Entry { pieces: recorded, outcome, .. } = match entry {
                Ok(entry) => entry,
                Err(error) => return stream::iter([Err(error)]).boxed(),
            };
            let is_stream = recorded.is_some();
            let before = stream::iter(recorded.unwrap_or_default()).map(|piece| Ok(Delta::from(piece)));
            match outcome {
                Outcome::Response(response) if is_stream => {
                    before.chain(stream::iter([Ok(Delta::Done(*response))])).boxed()
                }
                Outcome::Response(response) => stream::iter(pieces(*response).map(Ok)).boxed(),
                Outcome::Error(failure) => before.chain(stream::iter([Err(failure.into())])).boxed(),
                Outcome::Dropped {} => {
                    before.chain(stream::once(async { Err(never_answered(request).await) })).boxed()
                }
            }
        });
        pieces.boxed()
    }
}

/// What comes of a call that was dropped when it was recorded, and is not now: nothing, as long as it may
/// take.
async fn never_answered(request: &Request) -> Error {
    match request.timeout {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
    Error::new(ErrorKind::ModelTimeout, "the recorded call was dropped before it was answered")
}
