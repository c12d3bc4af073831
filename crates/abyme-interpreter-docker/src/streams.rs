//! The standard streams of a container: one connection, on which the engine marks which piece is of which stream.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bollard::{container::LogOutput, errors::Error as DockerError};
use bytes::{Buf, Bytes};
use futures_util::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
};

/// How much of what a container said before it failed is shown.
const LAST_WORDS: usize = 4096;

/// What the streams and the power over the container know together.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// Whether the container's output has ended.
    ended: AtomicBool,
    /// Why the connection broke, if it did.
    broken: Mutex<Option<String>>,
    words: Mutex<Vec<u8>>,
    /// How many interrupts were asked for and may not have arrived.
    interrupts: watch::Sender<usize>,
}

impl Link {
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// What the container wrote to its stderr before the driver took that over.
    pub(crate) fn last_words(&self) -> String {
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&words).trim().to_owned()
    }

    /// Why the connection broke, if it did.
    pub(crate) fn broken(&self) -> Option<String> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An interrupt is on its way until the answer is dropped.
    pub(crate) fn interrupt(self: &Arc<Self>) -> OnItsWay {
        self.interrupts.send_modify(|count| *count += 1);
        OnItsWay(self.clone())
    }

    /// Waits until no interrupt is on its way.
    pub(crate) async fn settled(&self) {
        // The sender is ours, so it is not gone.
        let _ = self.interrupts.subscribe().wait_for(|count| *count == 0).await;
    }

    fn hear(&self, words: &[u8]) {
        let mut heard = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let room = LAST_WORDS.saturating_sub(heard.len()).min(words.len());
        heard.extend_from_slice(&words[..room]);
    }
}

/// An interrupt on its way.
#[derive(Debug)]
pub(crate) struct OnItsWay(Arc<Link>);

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.interrupts.send_modify(|count| *count = count.saturating_sub(1));
    }
}

type Pieces = Pin<Box<dyn Stream<Item = Result<LogOutput, DockerError>> + Send>>;

/// The container's stdout. It takes from the engine what is read, and no more.
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
                Some(Ok(LogOutput::StdErr { message })) => self.link.hear(&message),
                Some(Ok(LogOutput::StdIn { .. })) => {}
                Some(Err(error)) => {
                    let why = crate::problem::chain(&error);
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
    use std::time::Duration;

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

    #[tokio::test]
    async fn interrupts_are_waited_for() {
        let link = Arc::new(Link::default());
        link.settled().await;
        let (one, other) = (link.interrupt(), link.interrupt());
        let waiting = tokio::spawn({
            let link = link.clone();
            async move { link.settled().await }
        });
        drop(one);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished());
        drop(other);
        waiting.await.unwrap();
    }
}
