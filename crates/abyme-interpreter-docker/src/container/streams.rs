//! The standard streams of a container: one connection, on which the engine marks the stream of each piece.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use abyme_driver::Pending;
use bollard::{container::LogOutput, errors::Error as DockerError};
use bytes::{Buf, Bytes};
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::engine::chain;

/// How many bytes that a container wrote to its stderr are reported when it fails.
const LAST_WORDS: usize = 4096;

/// What a container's streams and the control over it share.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// Whether the container's output has ended.
    ended: AtomicBool,
    /// Why the connection broke, if it did.
    broken: Mutex<Option<String>>,
    last_words: Mutex<Vec<u8>>,
    /// Interrupts that were requested and may not have arrived.
    pub(crate) interrupts: Pending,
}

impl Link {
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// What the container wrote to its stderr before the driver took that over.
    pub(crate) fn last_words(&self) -> String {
        let words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&words).trim().to_owned()
    }

    /// Why the connection broke, if it did.
    pub(crate) fn broken(&self) -> Option<String> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep_words(&self, words: &[u8]) {
        let mut kept = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        let room = LAST_WORDS.saturating_sub(kept.len()).min(words.len());
        kept.extend_from_slice(&words[..room]);
    }
}

type Pieces = Pin<Box<dyn Stream<Item = Result<LogOutput, DockerError>> + Send>>;

/// The container's stdout. It takes from the engine only what is read.
pub(crate) struct Output {
    pieces: Pieces,
    piece: Bytes,
    link: Arc<Link>,
}

impl Output {
    pub(crate) fn new(pieces: Pieces, link: Arc<Link>) -> Self {
        Self { pieces, piece: Bytes::new(), link }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("link", &self.link).finish_non_exhaustive()
    }
}

impl AsyncRead for Output {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.piece.is_empty() {
            match ready!(self.pieces.as_mut().poll_next(context)) {
                Some(Ok(LogOutput::StdOut { message } | LogOutput::Console { message })) => {
                    self.piece = message
                }
                Some(Ok(LogOutput::StdErr { message })) => self.link.keep_words(&message),
                Some(Ok(LogOutput::StdIn { .. })) => {}
                Some(Err(error)) => {
                    let why = chain(&error);
                    *self.link.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.clone());
                    self.link.ended.store(true, Ordering::Release);
                    return Poll::Ready(Err(io::Error::other(why)));
                }
                None => {
                    self.link.ended.store(true, Ordering::Release);
                    return Poll::Ready(Ok(()));
                }
            }
        }
        let length = self.piece.len().min(into.remaining());
        into.put_slice(&self.piece[..length]);
        self.piece.advance(length);
        Poll::Ready(Ok(()))
    }
}

/// The container's stdin.
pub(crate) type Input = Pin<Box<dyn AsyncWrite + Send>>;

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tokio::io::AsyncReadExt;

    use super::*;

    fn output(pieces: Vec<Result<LogOutput, DockerError>>, link: &Arc<Link>) -> Output {
        Output::new(Box::pin(stream::iter(pieces)), link.clone())
    }

    fn out(text: &'static str) -> Result<LogOutput, DockerError> {
        Ok(LogOutput::StdOut { message: text.into() })
    }

    #[tokio::test]
    async fn stdout_is_read_and_stderr_is_kept() {
        let link = Arc::new(Link::default());
        let words = Bytes::from(vec![b'w'; 5000]);
        let pieces = vec![out("ab"), Ok(LogOutput::StdErr { message: words }), out(""), out("cd")];
        let mut text = String::new();
        output(pieces, &link).read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "abcd");
        assert_eq!(link.last_words().len(), LAST_WORDS);
        assert!(link.has_ended() && link.broken().is_none());
    }

    #[tokio::test]
    async fn a_broken_connection_is_remembered() {
        let link = Arc::new(Link::default());
        let mut output = output(vec![out("a"), Err(DockerError::RequestTimeoutError)], &link);
        assert!(output.read_to_end(&mut Vec::new()).await.is_err());
        assert!(link.has_ended() && link.broken().is_some());
    }
}
