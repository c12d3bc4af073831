//! Lines from a connection, of a limited length.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

const MAX_LINE_BYTES: usize = 1 << 16;

/// Lines from a connection. A dropped `next_line` loses nothing.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    from: R,
    buffered: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, buffered: Vec::new() }
    }

    /// The next line.
    pub(crate) async fn next_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffered.iter().position(|&byte| byte == b'\n') {
                let line = self.buffered.drain(..=end).collect();
                return String::from_utf8(line)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
            }
            if self.buffered.len() > MAX_LINE_BYTES {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long"));
            }
            if self.from.read_buf(&mut self.buffered).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The connection for writing.
    pub(crate) fn connection(&mut self) -> &mut R {
        &mut self.from
    }

    /// The connection. `None` if more was read from it than the lines.
    pub(crate) fn into_inner(self) -> Option<R> {
        self.buffered.is_empty().then_some(self.from)
    }
}
