//! Replies that are kept, in memory and on disk, for requests that come again.

mod disk;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::disk::Disk;
use super::{
    message::{FinishReason, Request, Response},
    usage::Usage,
};
use crate::error::{Error, Result};

/// What a [`ResponseCache`] keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ResponseCacheConfig {
    /// Most memory of the replies in memory. Default 64 MiB.
    pub max_memory_bytes: u64,
    /// Where replies are kept on disk, for later runs and other processes, which may use it at the same time.
    /// Default: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// Most size of the directory; the oldest replies leave it first. Each process that writes to it may
    /// exceed it by a sixteenth for a moment. Default 1 GiB.
    pub max_disk_bytes: u64,
    /// How old a reply may be. Default: any age.
    #[serde(skip_serializing_if = "Option::is_none", with = "crate::seconds::option")]
    pub max_age: Option<Duration>,
    /// Whether to keep replies to requests with a temperature above 0 as well, each of which asks for a draw
    /// of its own. Default false.
    pub draws: bool,
    /// What sets models of one name apart, whose settings differ: an address, a temperature. Default: empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

impl Default for ResponseCacheConfig {
    fn default() -> Self {
        Self {
            max_memory_bytes: 64 << 20,
            directory: None,
            max_disk_bytes: 1 << 30,
            max_age: None,
            draws: false,
            namespace: String::new(),
        }
    }
}

impl ResponseCacheConfig {
    /// Sets the most memory of the replies in memory.
    pub fn max_memory_bytes(mut self, bytes: u64) -> Self {
        self.max_memory_bytes = bytes;
        self
    }

    /// Sets where replies are kept on disk.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Sets the most size of the directory.
    pub fn max_disk_bytes(mut self, bytes: u64) -> Self {
        self.max_disk_bytes = bytes;
        self
    }

    /// Sets how old a reply may be.
    pub fn max_age(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.max_age = age.into();
        self
    }

    /// Sets whether to keep replies to requests with a temperature above 0.
    pub fn draws(mut self, draws: bool) -> Self {
        self.draws = draws;
        self
    }

    /// Sets what keeps models of one name apart.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }
}

/// Replies that are kept for requests that come again. A handle: its clones share them. Give it to models by
/// [`with_cache`](crate::LanguageModelExt::with_cache).
///
/// A request is known by all of it that decides about the answer, and by the model's name. Kept are whole
/// replies: none that a limit or a filter cut, and no errors. A turn's reply that a run stopped after its
/// cell is kept for turns alone. A reply from the cache says that it used nothing: no calls, 0 tokens, 0
/// dollars ([`Usage::nothing`]), so budgets do not count it; it is a sub-call for
/// [`Limits::max_llm_calls`](crate::Limits::max_llm_calls) all the same. The same request in flight goes out
/// once. A disk that fails costs the reuse, never a call.
#[derive(Clone)]
pub struct ResponseCache(Arc<Inner>);

struct Inner {
    config: ResponseCacheConfig,
    memory: moka::future::Cache<String, Arc<Response>>,
    disk: Option<Disk>,
}

/// Why an answer is not kept; shared by all that wait for it.
enum KeepRefusal {
    Cut(Box<Response>),
    Failed(Error),
}

impl fmt::Debug for ResponseCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ResponseCache").field(&self.0.config).finish()
    }
}

impl ResponseCache {
    /// A cache with replies of its own, or those of its directory.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if the directory cannot be made.
    pub fn new(config: ResponseCacheConfig) -> Result<Self> {
        let directory = config.directory.as_deref();
        let disk = directory.map(|path| Disk::open(path, config.max_disk_bytes, config.max_age));
        let disk = disk.transpose()?;
        Ok(Self::with(config, disk))
    }

    fn with(config: ResponseCacheConfig, disk: Option<Disk>) -> Self {
        let memory = moka::future::Cache::builder().max_capacity(config.max_memory_bytes).weigher(
            |key: &String, response: &Arc<Response>| {
                let texts = key.len() + response.text.len() + response.reasoning.len();
                u32::try_from(texts + size_of::<Response>()).unwrap_or(u32::MAX)
            },
        );
        let memory = config.max_age.into_iter().fold(memory, |memory, age| memory.time_to_live(age)).build();
        Self(Arc::new(Inner { config, memory, disk }))
    }

    /// A cache in memory.
    pub fn in_memory() -> Self {
        Self::with(ResponseCacheConfig::default(), None)
    }

    /// A cache in memory, and on disk in `directory`.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn on_disk(directory: impl Into<PathBuf>) -> Result<Self> {
        Self::new(ResponseCacheConfig::default().directory(directory))
    }

    /// What a request is known by. `None` if it asks for a draw of its own.
    pub(super) fn key(&self, model: &str, request: &Request) -> Option<String> {
        if !self.0.config.draws && request.temperature.is_some_and(|temperature| temperature > 0.0) {
            return None;
        }
        let known_by = ("abyme response 1", &self.0.config.namespace, model, request.question());
        let mut hash = Sha256::new();
        serde_json::to_writer(&mut hash, &known_by).ok()?;
        Some(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The reply that is kept.
    pub(super) async fn get(&self, key: &str) -> Option<Response> {
        if let Some(response) = self.0.memory.get(key).await {
            return Some(reused(&response));
        }
        let response = Arc::new(self.0.disk.as_ref()?.read(key).await?);
        self.0.memory.insert(key.to_owned(), response.clone()).await;
        Some(reused(&response))
    }

    /// Keeps a reply.
    pub(super) async fn put(&self, key: &str, response: &Response) {
        if !is_whole(response) {
            return;
        }
        self.0.memory.insert(key.to_owned(), Arc::new(response.clone())).await;
        if let Some(disk) = &self.0.disk {
            disk.write(key, response).await;
        }
    }

    /// The reply that is kept, or else that of `ask`, for all that want it at the same time.
    pub(super) async fn get_or_ask(
        &self,
        key: String,
        ask: impl Future<Output = Result<Response>>,
    ) -> Result<Response> {
        let mut own = None;
        let asked = async {
            if let Some(disk) = &self.0.disk
                && let Some(response) = disk.read(&key).await
            {
                return Ok(Arc::new(response));
            }
            match own.insert(ask.await) {
                Ok(response) if is_whole(response) => {
                    if let Some(disk) = &self.0.disk {
                        disk.write(&key, response).await;
                    }
                    Ok(Arc::new(response.clone()))
                }
                Ok(response) => Err(KeepRefusal::Cut(Box::new(response.clone()))),
                Err(error) => Err(KeepRefusal::Failed(error.told())),
            }
        };
        let shared = self.0.memory.try_get_with_by_ref(key.as_str(), asked).await;
        // The call that asked has paid, and the others have not.
        match (own, shared) {
            (Some(own), _) => own,
            (None, Ok(response)) => Ok(reused(&response)),
            (None, Err(unkept)) => match &*unkept {
                KeepRefusal::Cut(response) => Ok(reused(response)),
                KeepRefusal::Failed(error) => Err(error.told()),
            },
        }
    }
}

/// Whether a reply is one to be had again.
fn is_whole(response: &Response) -> bool {
    let says_something = !response.text.trim().is_empty() || response.native_call.is_some();
    response.finish_reason == FinishReason::Stop && says_something
}

fn reused(response: &Response) -> Response {
    Response { usage: Usage::nothing(), rate_limits: None, ..response.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_pinned() {
        let json = serde_json::to_value(ResponseCacheConfig::default()).unwrap();
        let expected = serde_json::json!({
            "max_memory_bytes": 67_108_864, "max_disk_bytes": 1_073_741_824, "draws": false,
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn a_request_is_known_by_what_decides_about_its_answer() {
        let cache = ResponseCache::in_memory();
        let key = |model: &str, request: &Request| cache.key(model, request);
        let request = Request::prompt("?").temperature(0.0);
        let same = request.clone().timeout(Duration::from_secs(1)).cache_points([0]);
        assert_eq!(key("a", &request), key("a", &same));
        let others = [
            key("b", &request),
            key("a", &request.clone().max_tokens(5)),
            key("a", &request.clone().schema(serde_json::json!({}))),
            key("a", &request.clone().model("c".to_owned())),
            key("a", &Request::prompt("?")),
        ];
        assert!(others.iter().all(|other| other.is_some() && *other != key("a", &request)));
        assert_eq!(key("a", &Request::prompt("?").temperature(0.5)), None);
    }
}
