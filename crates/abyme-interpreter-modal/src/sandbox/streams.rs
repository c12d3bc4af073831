//! The standard streams of a program in a sandbox: read and written at byte offsets, so that a connection
//! that breaks loses nothing and repeats nothing.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use abyme_core::Error;
use abyme_driver::BackgroundThread;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::{Code, Status, Streaming};

use crate::api::{
    Router, is_temporary,
    messages::{TaskExecStdioFileDescriptor, TaskExecStdioReadResponse},
};

/// The most bytes of one write: as much as Modal's own client sends at once.
const MAX_WRITE_BYTES: usize = 16 << 20;
/// How often in a row a stream is opened again that brings nothing, and the first pause: as in Modal's
/// clients.
const REOPENS: u32 = 10;
const REOPEN_BACKOFF: Duration = Duration::from_millis(10);

/// What a program's streams and the control over it share.
#[derive(Debug, Default)]
pub(crate) struct Link {
    ended: AtomicBool,
    broken: Mutex<Option<String>>,
}

impl Link {
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Why the connection broke, if it did.
    pub(crate) fn broken(&self) -> Option<String> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn end(&self, why: Option<&Status>) {
        if let Some(status) = why {
            let said = format!("{:?}: {}", status.code(), status.message());
            *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(said);
        }
        self.ended.store(true, Ordering::Release);
    }
}

/// A program's output. It takes from the sandbox only what is read, and a window of the connection more.
pub(crate) struct Output {
    router: Arc<Router>,
    exec_id: String,
    descriptor: TaskExecStdioFileDescriptor,
    state: Reading,
    piece: Bytes,
    /// How many bytes have arrived.
    offset: u64,
    /// How often in a row the stream was opened and brought nothing.
    failures: u32,
    link: Arc<Link>,
}

enum Reading {
    Opening(BoxFuture<'static, Result<Streaming<TaskExecStdioReadResponse>, Status>>),
    Open(Box<Streaming<TaskExecStdioReadResponse>>),
    Ended,
}

impl Output {
    pub(crate) fn new(
        router: Arc<Router>,
        exec_id: &str,
        descriptor: TaskExecStdioFileDescriptor,
        link: Arc<Link>,
    ) -> Self {
        let mut output = Self {
            router,
            exec_id: exec_id.to_owned(),
            descriptor,
            state: Reading::Ended,
            piece: Bytes::new(),
            offset: 0,
            failures: 0,
            link,
        };
        output.open(Duration::ZERO);
        output
    }

    /// Opens the stream now, and not when something is read from it. A failure is found by reading.
    pub(crate) async fn opened(&mut self) {
        if let Reading::Opening(opening) = &mut self.state {
            let opened = opening.await;
            self.take(opened);
        }
    }

    fn open(&mut self, pause: Duration) {
        let (router, exec_id) = (self.router.clone(), self.exec_id.clone());
        let (descriptor, offset) = (self.descriptor, self.offset);
        self.state = Reading::Opening(
            async move {
                tokio::time::sleep(pause).await;
                router.read(&exec_id, descriptor, offset).await
            }
            .boxed(),
        );
    }

    fn take(&mut self, opened: Result<Streaming<TaskExecStdioReadResponse>, Status>) {
        match opened {
            Ok(stream) => self.state = Reading::Open(Box::new(stream)),
            Err(status) => self.fail(&status),
        }
    }

    /// Opens the stream again after a failure that passes, and ends it after others.
    fn fail(&mut self, status: &Status) {
        let passes = is_temporary(status.code()) || status.code() == Code::Unauthenticated;
        if passes && self.failures < REOPENS {
            let pause = REOPEN_BACKOFF * 2_u32.pow(self.failures);
            self.failures += 1;
            let (code, offset) = (status.code(), self.offset);
            tracing::debug!(?code, offset, "a stream from Modal broke and is resumed");
            return self.open(if self.failures == 1 { Duration::ZERO } else { pause });
        }
        self.link.end(Some(status));
        self.state = Reading::Ended;
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("offset", &self.offset)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl AsyncRead for Output {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.piece.is_empty() {
            match &mut self.state {
                Reading::Opening(opening) => {
                    let opened = ready!(opening.poll_unpin(context));
                    self.take(opened);
                }
                Reading::Open(stream) => match ready!(stream.poll_next_unpin(context)) {
                    Some(Ok(message)) => {
                        self.offset += message.data.len() as u64;
                        self.failures = 0;
                        self.piece = message.data;
                    }
                    Some(Err(status)) => self.fail(&status),
                    None => {
                        self.link.end(None);
                        self.state = Reading::Ended;
                    }
                },
                Reading::Ended => {
                    return Poll::Ready(match self.link.broken() {
                        Some(why) => Err(io::Error::other(why)),
                        None => Ok(()),
                    });
                }
            }
        }
        let length = self.piece.len().min(into.remaining());
        into.put_slice(&self.piece[..length]);
        self.piece.advance(length);
        Poll::Ready(Ok(()))
    }
}

/// A program's stdin. One write is under way at a time, because only its answer says that the next one cannot
/// overtake it; what comes meanwhile goes out together. The thread of the connection waits for the answer,
/// and a flush does not: the task of a cell is not woken for it.
pub(crate) struct Input {
    router: Arc<Router>,
    thread: Arc<BackgroundThread>,
    exec_id: String,
    /// How many bytes were sent.
    offset: u64,
    waiting: BytesMut,
    /// Whether its end was sent.
    closed: bool,
    sending: Option<BoxFuture<'static, Result<Result<(), Status>, Error>>>,
}

impl Input {
    pub(crate) fn new(router: Arc<Router>, thread: Arc<BackgroundThread>, exec_id: &str) -> Self {
        let (waiting, exec_id) = (BytesMut::new(), exec_id.to_owned());
        Self { router, thread, exec_id, offset: 0, waiting, closed: false, sending: None }
    }

    fn send(&mut self, eof: bool) {
        let data = self.waiting.split().freeze();
        let (router, exec_id, offset) = (self.router.clone(), self.exec_id.clone(), self.offset);
        self.offset += data.len() as u64;
        let writing = async move { router.write(&exec_id, offset, data, eof).await };
        self.sending = Some(self.thread.run(writing).boxed());
    }

    /// Waits until the write that is under way is done.
    fn poll_sent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(sending) = &mut self.sending {
            let sent = ready!(sending.poll_unpin(context));
            self.sending = None;
            let sent = sent.map_err(io::Error::other)?;
            sent.map_err(|status| io::Error::other(format!("{:?}: {}", status.code(), status.message())))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl AsyncWrite for Input {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.waiting.len() >= MAX_WRITE_BYTES {
            ready!(self.poll_sent(context))?;
            self.send(false);
        }
        let length = bytes.len().min(MAX_WRITE_BYTES - self.waiting.len());
        self.waiting.extend_from_slice(&bytes[..length]);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.waiting.is_empty() {
            ready!(self.poll_sent(context))?;
            self.send(false);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(context))?;
        ready!(self.poll_sent(context))?;
        if !std::mem::replace(&mut self.closed, true) {
            self.send(true);
        }
        self.poll_sent(context)
    }
}
