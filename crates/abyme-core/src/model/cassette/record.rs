//! Records the calls of models.

use std::{
    fmt, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use serde::Serialize;

use super::{
    entry::{CassetteHeader, Entry, Facts, Outcome, Piece},
    scrub::Scrubber,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{
        forward::forward,
        language_model::LanguageModel,
        message::{Request, Response},
        stream::{Delta, ResponseStream},
    },
};

/// A cassette that is being recorded. A handle: give it to all models of a run by
/// [`with_recording`](crate::LanguageModelExt::with_recording), and replay it with [`Replay`](crate::Replay).
///
/// What looks like a key of a well-known provider, the keys of the models that are recorded, and what
/// [`secret`](Self::secret) names are not written: a mark stands in their place. Nothing else is left out, so
/// a cassette is as secret as the texts in it.
///
/// A call is written where it ends, on its caller's thread, which waits for the disk: cassettes are for tests
/// and single commands.
///
/// ```
/// use abyme_core::{LanguageModel, LanguageModelExt, Recording, Replay, Request, testing::ScriptedModel};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> abyme_core::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("capital.jsonl");
/// let request = Request::prompt("The capital of France?");
/// let recording = Recording::create(&path)?;
/// let model = ScriptedModel::replies(["Paris"]).with_name("small").with_recording(&recording);
/// model.complete(&request).await?;
/// recording.finish()?;
///
/// let replay = Replay::open(&path)?;
/// assert_eq!(replay.model("small").complete(&request).await?.text, "Paris");
/// replay.finish()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Recording(Arc<Mutex<RecordedTape>>);

struct RecordedTape {
    path: PathBuf,
    file: fs::File,
    scrubber: Scrubber,
    calls: u64,
    failure: Option<String>,
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recording").field(&self.tape().path).finish()
    }
}

impl Recording {
    /// Records into a new file, which its owner alone may read; or replaces one of that name. Its first line
    /// is written at once, so that a file that cannot be written is known before a call is paid for.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] with the path.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let not_writable = |error: io::Error| {
            let message = format!("cannot write the cassette {}: {error}", path.display());
            Error::new(ErrorKind::Io, message).with_source(error)
        };
        let file = options.open(path).map_err(not_writable)?;
        let scrubber = Scrubber::new()?;
        let mut tape = RecordedTape { path: path.to_owned(), file, scrubber, calls: 0, failure: None };
        tape.write(&CassetteHeader::new()).map_err(not_writable)?;
        Ok(Self(Arc::new(Mutex::new(tape))))
    }

    /// Keeps a text of eight bytes or more out of the cassette.
    pub fn secret(self, secret: impl Into<String>) -> Self {
        self.tape().scrubber.secret(secret.into());
        self
    }

    /// Whether all calls until now are in the file.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] with what kept one from being written. The call itself was answered all the same.
    pub fn finish(&self) -> Result<()> {
        let tape = self.tape();
        match &tape.failure {
            None => Ok(()),
            Some(why) => {
                let message = format!("the cassette {} is not complete: {why}", tape.path.display());
                Err(Error::new(ErrorKind::Io, message))
            }
        }
    }

    fn tape(&self) -> MutexGuard<'_, RecordedTape> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins.
    fn begin(&self, model: &dyn LanguageModel, request: &Request, pieces: Option<Vec<Piece>>) -> OpenCall {
        // Nothing of the model is asked while the tape is held.
        let (name, facts) = (model.name().to_owned(), Facts::of(model));
        let mut tape = self.tape();
        tape.calls += 1;
        let entry = Entry {
            call: tape.calls,
            model: name,
            facts,
            request: request.question(),
            pieces,
            outcome: Outcome::Dropped {},
        };
        OpenCall { recording: self.clone(), entry }
    }
}

impl RecordedTape {
    /// Adds a call. After the first that cannot be added there is none: half a line may be the last.
    fn add(&mut self, entry: &mut Entry) {
        if self.failure.is_some() {
            return;
        }
        if let Some(pieces) = &mut entry.pieces {
            self.scrubber.scrub_pieces(pieces);
        }
        if let Err(error) = self.write(entry) {
            tracing::warn!(%error, "a call cannot be recorded, and none after it is");
            self.failure = Some(error.to_string());
        }
    }

    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut line = self.scrubber.scrub_json(&serde_json::to_string(line)?).into_owned();
        line.push('\n');
        self.file.write_all(line.as_bytes())
    }
}

/// A call that is being recorded. It is written when it is dropped, whatever came of it.
struct OpenCall {
    recording: Recording,
    entry: Entry,
}

impl OpenCall {
    fn ended(&mut self, outcome: Result<&Response, &Error>) {
        self.entry.outcome = match outcome {
            Ok(response) => Outcome::Response(Box::new(response.clone())),
            Err(error) => Outcome::Error(error.into()),
        };
    }

    fn came(&mut self, piece: &Result<Delta>) {
        let piece = match piece {
            Ok(Delta::Text(text)) => Piece::Text(text.clone()),
            Ok(Delta::Reasoning(text)) => Piece::Reasoning(text.clone()),
            Ok(Delta::Usage(usage)) => Piece::Usage(*usage),
            // They are of the time of the recording.
            Ok(Delta::RateLimits(_)) => return,
            Ok(Delta::Done(response)) => return self.ended(Ok(response)),
            Err(error) => return self.ended(Err(error)),
        };
        self.entry.pieces.get_or_insert_default().push(piece);
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.recording.tape().add(&mut self.entry);
    }
}

/// A model whose calls are recorded. Made by [`with_recording`](crate::LanguageModelExt::with_recording).
#[derive(Clone, Debug)]
pub struct Recorded<M> {
    model: M,
    recording: Recording,
}

impl<M: LanguageModel> Recorded<M> {
    pub(in crate::model) fn new(model: M, recording: Recording) -> Self {
        let recording = model.secrets().into_iter().fold(recording, Recording::secret);
        Self { model, recording }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<M: LanguageModel> LanguageModel for Recorded<M> {
    forward!(this => this.model;
        name check price reports_cost max_input_tokens limits_each_try rate_limiter secrets stopped_early);

    async fn complete(&self, request: &Request) -> Result<Response> {
        let mut open = self.recording.begin(&self.model, request, None);
        let result = self.model.complete(request).await;
        open.ended(result.as_ref());
        result
    }

    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        let begun = async move { self.recording.begin(&self.model, request, Some(Vec::new())) };
        let pieces = stream::once(begun)
            .flat_map(move |mut open| self.model.stream(request).inspect(move |piece| open.came(piece)));
        pieces.boxed()
    }
}
