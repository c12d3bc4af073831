//! What stands between a run and its models: rate limits, a stand-in, kept replies, a cassette.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use abyme::{
    LanguageModel, LanguageModelExt, RateLimiter, RateLimiterConfig, Recording, Replay, ResponseCache,
    ResponseCacheConfig, Result,
};

use crate::{
    args::{ModelArgs, WrapArgs},
    exit::{Exit, Failure},
};

/// What the flags put around models.
pub(crate) struct Wrapped {
    rates: Option<RateLimiterConfig>,
    /// One for each model: providers count them apart.
    limiters: HashMap<String, RateLimiter>,
    /// Where replies are kept.
    cache: Option<PathBuf>,
    /// One for each way in which models are asked: what else decides about an answer.
    caches: HashMap<String, ResponseCache>,
    recording: Option<Recording>,
    replay: Option<Replay>,
}

impl Wrapped {
    /// Opens what the flags name.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](abyme::ErrorKind::Io) if a file or directory cannot be used.
    pub(crate) fn new(args: &WrapArgs, models: &ModelArgs) -> Result<Self> {
        let rates = (args.rpm.is_some() || args.tpm.is_some())
            .then(|| RateLimiterConfig::default().requests_per_minute(args.rpm).tokens_per_minute(args.tpm));
        let recording = args.record.as_ref().map(Recording::create).transpose()?;
        let replay = args.replay.as_ref().map(Replay::open).transpose()?.map(Replay::unordered);
        let mut wrapped = Self {
            rates,
            limiters: HashMap::new(),
            cache: args.cache.clone(),
            caches: HashMap::new(),
            recording: recording.map(|recording| secrets().fold(recording, Recording::secret)),
            replay: replay.map(|replay| secrets().fold(replay, Replay::secret)),
        };
        wrapped.cache(models)?;
        Ok(wrapped)
    }

    /// The replies that are kept of models that are asked so.
    fn cache(&mut self, models: &ModelArgs) -> Result<Option<ResponseCache>> {
        let Some(directory) = &self.cache else { return Ok(None) };
        let settings = format!("{models:?}");
        if let Some(cache) = self.caches.get(&settings) {
            return Ok(Some(cache.clone()));
        }
        let config = ResponseCacheConfig::default().directory(directory).namespace(&settings);
        let cache = ResponseCache::new(config)?;
        self.caches.insert(settings, cache.clone());
        Ok(Some(cache))
    }

    /// A model that is asked as `models` says with all of that, and `fallback` in its place while it cannot
    /// answer.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](abyme::ErrorKind::Io) if the directory of kept replies cannot be used.
    pub(crate) fn around(
        &mut self,
        model: Arc<dyn LanguageModel>,
        fallback: Option<Arc<dyn LanguageModel>>,
        models: &ModelArgs,
    ) -> Result<Arc<dyn LanguageModel>> {
        if let Some(replay) = &self.replay {
            // As a recording does by itself. A key that is not set has nothing to be kept out of.
            let models = [Some(&model), fallback.as_ref()].into_iter().flatten();
            models.flat_map(|model| model.secrets()).fold(replay.clone(), Replay::secret);
            return Ok(Arc::new(replay.model(model.name())));
        }
        let mut model = self.limited(model);
        if let Some(other) = fallback {
            model = Arc::new(model.with_fallback(self.limited(other)));
        }
        if let Some(cache) = self.cache(models)? {
            model = Arc::new(model.with_cache(&cache));
        }
        Ok(match &self.recording {
            Some(recording) => Arc::new(model.with_recording(recording)),
            None => model,
        })
    }

    fn limited(&mut self, model: Arc<dyn LanguageModel>) -> Arc<dyn LanguageModel> {
        let Some(rates) = &self.rates else { return model };
        let limiter = self.limiters.entry(model.name().to_owned());
        let limiter = limiter.or_insert_with(|| RateLimiter::new(rates.clone()));
        Arc::new(model.with_rate_limit(limiter))
    }

    /// Whether all was replayed. To be asked before the answer is given.
    ///
    /// # Errors
    /// Those of [`Replay::finish`].
    pub(crate) fn finish_replay(&self) -> Result<()> {
        self.replay.as_ref().map_or(Ok(()), Replay::finish)
    }

    /// Whether all was recorded. To be asked after the answer was given, which a full disk does not take
    /// back.
    ///
    /// # Errors
    /// That of [`Recording::finish`].
    pub(crate) fn finish_recording(&self) -> Result<(), Failure> {
        let finished = self.recording.as_ref().map_or(Ok(()), Recording::finish);
        finished.map_err(|error| Failure::new(Exit::Output, error.to_string()))
    }
}

/// What the environment holds that a cassette should not, beside the keys of the models that are asked.
fn secrets() -> impl Iterator<Item = String> {
    let is_secret = |name: &str| ["_KEY", "_TOKEN", "_SECRET"].iter().any(|end| name.ends_with(end));
    let secrets = std::env::vars_os().filter(move |(name, _)| is_secret(&name.to_string_lossy()));
    secrets.filter_map(|(_, value)| value.into_string().ok())
}

impl Drop for Wrapped {
    /// A run that failed has said why.
    fn drop(&mut self) {
        let _ = self.finish_replay();
        let _ = self.finish_recording();
    }
}
