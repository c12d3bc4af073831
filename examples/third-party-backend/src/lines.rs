//! Lines from a connection, none of them longer than it needs to be.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

const LONGEST: usize = 1 << 16;

/// Lines from a connection. A dropped `next` loses nothing.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    from: R,
    waiting: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, waiting: Vec::new() }
    }

    /// The next line.
    pub(crate) async fn next(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.waiting.iter().position(|&byte| byte == b'\n') {
                let line = self.waiting.drain(..=end).collect();
                return String::from_utf8(line)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
            }
            if self.waiting.len() > LONGEST {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long"));
            }
            if self.from.read_buf(&mut self.waiting).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The connection for writing.
    pub(crate) fn connection(&mut self) -> &mut R {
        &mut self.from
    }

    /// The connection, if nothing more was read from it than the lines.
    pub(crate) fn into_inner(self) -> Option<R> {
        self.waiting.is_empty().then_some(self.from)
    }
}
