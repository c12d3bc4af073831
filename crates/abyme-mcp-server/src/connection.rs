//! One client for as long as it is connected.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rmcp::{RoleServer, service::RequestContext};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::sync::CancellationToken;

use crate::{clients::session_of, shared::Shared};

/// How long calls may go on after the end of the stream that they came on. Clients wait about 2 s for the end
/// of a program that they started.
const END_GRACE: Duration = Duration::from_secs(1);

/// A client. When it goes, what is its own goes with it: tasks are cancelled, sessions are closed.
pub(crate) struct Connection {
    pub(crate) id: u64,
    /// Cancelled when the client is gone, or the server closes.
    pub(crate) gone: CancellationToken,
    /// Cancelled at the end of the stream that its messages come on.
    ended: CancellationToken,
    shared: Arc<Shared>,
    over: Over,
}

/// What a client is connected by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Stream,
    Http,
}

impl Connection {
    pub(crate) fn new(shared: &Arc<Shared>, over: Over) -> Self {
        Self {
            id: shared.next_id(),
            gone: shared.stop.child_token(),
            ended: CancellationToken::new(),
            shared: shared.clone(),
            over,
        }
    }

    /// The stream that its messages come on, whose end is noted.
    pub(crate) fn watch<R>(&self, read: R) -> WatchedStream<R> {
        WatchedStream { read, ended: self.ended.clone() }
    }

    /// Waits until its stream has ended, and a grace has passed.
    pub(crate) async fn left(&self) {
        self.ended.cancelled().await;
        tokio::time::sleep(END_GRACE).await;
    }

    /// Whether the client of this request stays connected after it. In newer versions of the protocol each
    /// request over HTTP stands for itself.
    pub(crate) fn stays(&self, context: &RequestContext<RoleServer>) -> bool {
        self.over == Over::Stream || session_of(context).is_some()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.gone.cancel();
        if let Some(sessions) = &self.shared.sessions {
            sessions.abandon(self.id);
        }
    }
}

/// A stream whose end is noted.
pub(crate) struct WatchedStream<R> {
    read: R,
    ended: CancellationToken,
}

impl<R: AsyncRead + Unpin> AsyncRead for WatchedStream<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.read).poll_read(context, buffer));
        if read.is_err() || buffer.filled().len() == before {
            self.ended.cancel();
        }
        Poll::Ready(read)
    }
}
