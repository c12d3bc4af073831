//! The body of a request: read within limits of size and time, and of memory together with all others.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
};
use http_body_util::BodyExt;

use crate::{config::ServeConfig, refusal::Refusal};

/// How long the rest of a refused body is read, so that the client comes to read the refusal.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// What is reserved for a body at once. Its length is only what the client says.
const FIRST_BYTES: u64 = 64 << 10;

/// The bytes of all bodies together.
#[derive(Debug)]
pub(crate) struct BodyMemory {
    max: u64,
    used: AtomicU64,
}

/// What one body holds of them.
#[derive(Debug)]
pub(crate) struct HeldBytes {
    memory: Arc<BodyMemory>,
    bytes: u64,
}

impl BodyMemory {
    pub(crate) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { max, used: AtomicU64::new(0) })
    }
}

impl HeldBytes {
    /// Holds more, if there is more.
    fn grow(&mut self, bytes: u64) -> bool {
        let used = self.memory.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.bytes += bytes;
        used <= self.memory.max
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The body of a request that was not read yet.
#[derive(Debug)]
pub(crate) struct IncomingBody {
    body: Body,
    /// What the client says.
    length: Option<u64>,
    /// Whether the client sends it only when asked to.
    waits_to_send: bool,
}

impl IncomingBody {
    pub(crate) fn new(body: Body, headers: &HeaderMap) -> Self {
        let length =
            headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Self { body, length, waits_to_send: headers.contains_key(header::EXPECT) }
    }

    /// The whole body.
    pub(crate) async fn read(
        &mut self,
        config: &ServeConfig,
        memory: &Arc<BodyMemory>,
    ) -> Result<(Vec<u8>, HeldBytes), Refusal> {
        let late = || {
            Refusal::invalid("the body did not come in time")
                .status(StatusCode::REQUEST_TIMEOUT, "body_timeout")
        };
        if self.length.is_some_and(|length| length > config.max_body_bytes) {
            return Err(too_large(config));
        }
        tokio::time::timeout(config.body_timeout, async {
            let mut held = HeldBytes { memory: memory.clone(), bytes: 0 };
            let mut bytes = Vec::with_capacity(self.length.unwrap_or(0).min(FIRST_BYTES) as usize);
            loop {
                let frame = tokio::time::timeout(config.body_idle_timeout, self.body.frame()).await;
                let Some(frame) = frame.map_err(|_| late())? else { return Ok((bytes, held)) };
                let frame = frame.map_err(|_| Refusal::invalid("the body ended in the middle"))?;
                let Some(piece) = frame.data_ref() else { continue };
                if (bytes.len() + piece.len()) as u64 > config.max_body_bytes {
                    return Err(too_large(config));
                }
                if !held.grow(piece.len() as u64) {
                    let message = "the server holds as many bytes of requests as it may";
                    return Err(Refusal::later("server_busy", message, Duration::from_secs(10)));
                }
                bytes.extend_from_slice(piece);
            }
        })
        .await
        .unwrap_or_else(|_| Err(late()))
    }

    /// Reads what the client still sends, and drops it: one that is cut off while it writes would see a
    /// broken connection in place of the refusal.
    pub(crate) async fn drain(mut self, config: &ServeConfig) {
        if self.waits_to_send {
            return;
        }
        let mut left = config.max_body_bytes;
        let read = async {
            while let Some(Ok(frame)) = self.body.frame().await {
                left = left.saturating_sub(frame.data_ref().map_or(0, |piece| piece.len() as u64));
                if left == 0 {
                    break;
                }
            }
        };
        tokio::time::timeout(DRAIN_TIMEOUT, read).await.ok();
    }
}

fn too_large(config: &ServeConfig) -> Refusal {
    let message = format!("the body has more than {} bytes, which is the most here", config.max_body_bytes);
    Refusal::invalid(message).status(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large")
}
