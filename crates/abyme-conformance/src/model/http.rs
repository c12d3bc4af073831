//! HTTP as a server needs it to be wrong on purpose: requests are read, and answers are bytes.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The connection of a client.
pub(crate) struct Connection {
    stream: TcpStream,
    /// What was read and belongs to the next request.
    read: Vec<u8>,
}

/// A request as it came.
pub(crate) struct HttpRequest {
    /// The path, with its query.
    pub(crate) path: String,
    /// The lines of its head.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// The client went away.
#[derive(Debug)]
pub(crate) struct ClientGone;

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Self {
        // A few bytes at a time should go out as such.
        let _ = stream.set_nodelay(true);
        Self { stream, read: Vec::new() }
    }

    /// The next request; `None` if there is none.
    pub(crate) async fn request(&mut self) -> Option<HttpRequest> {
        let end = loop {
            match self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) => break end,
                None => self.read_more().await.ok()?,
            }
        };
        let head = String::from_utf8_lossy(&self.read[..end]).into_owned();
        self.read.drain(..end + 4);
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        while self.read.len() < length.unwrap_or(0) {
            self.read_more().await.ok()?;
        }
        let body = self.read.drain(..length.unwrap_or(0)).collect();
        let path = head.split(' ').nth(1)?.to_owned();
        Some(HttpRequest { path, head, body })
    }

    async fn read_more(&mut self) -> Result<(), ClientGone> {
        match self.stream.read_buf(&mut self.read).await {
            Ok(0) | Err(_) => Err(ClientGone),
            Ok(_) => Ok(()),
        }
    }

    /// Waits until the client goes away.
    pub(crate) async fn until_gone(&mut self) -> ClientGone {
        while self.read_more().await.is_ok() {}
        ClientGone
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), ClientGone> {
        self.stream.write_all(bytes.as_ref()).await.map_err(|_| ClientGone)
    }

    /// Writes bytes one by one, each on its way before the next.
    pub(crate) async fn drip(&mut self, bytes: &[u8]) -> Result<(), ClientGone> {
        for byte in bytes {
            self.write([*byte]).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// A whole answer, after which the connection can be used again.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let length = body.as_ref().len().to_string();
    let headers = [headers, &[("content-length", &length)]].concat();
    [head(status, &headers).as_bytes(), body.as_ref()].concat()
}

/// The head of an answer. Without a length, the body ends with the connection.
pub(crate) fn head(status: u16, headers: &[(&str, &str)]) -> String {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status} Stand-In\r\n{headers}\r\n")
}

/// A part of a body that comes in chunks.
pub(crate) fn chunk(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// What ends a body that comes in chunks.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
