//! Frames: a JSON header and raw blobs, so that large texts and bytes cross without being escaped. All
//! lengths are big endian.
//!
//! ```text
//! "ABY1" | u32 header length | u32 number of blobs | u64 length of each blob | header | blobs
//! ```

use std::{collections::VecDeque, fmt, io};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The first bytes of every frame.
pub const MAGIC: [u8; 4] = *b"ABY1";

/// Bytes of a frame's prefix before the blob lengths.
const PREFIX: usize = 12;
/// How much is read at once, and the most that is reserved before the bytes of a blob arrive.
const CHUNK: usize = 1 << 20;

/// One frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// A JSON object in UTF-8.
    pub header: Vec<u8>,
    /// Large texts and bytes that the header refers to by index.
    pub blobs: Vec<Bytes>,
}

/// What a reader accepts. Anything else ends the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameLimits {
    /// Bytes of a header. Default 1 GiB.
    pub max_header_bytes: usize,
    /// Number of blobs. Default 4 194 304.
    pub max_blobs: usize,
    /// Bytes of a header and its blobs together. Default 4 GiB.
    pub max_total_bytes: u64,
}

impl FrameLimits {
    /// Checks that a frame keeps to the limits.
    ///
    /// # Errors
    /// What is too large.
    pub fn check(&self, frame: &Frame) -> Result<(), String> {
        let total = frame.blobs.iter().map(|blob| blob.len() as u64).sum::<u64>() + frame.header.len() as u64;
        if frame.header.len() > self.max_header_bytes {
            return Err(format!(
                "its lists, dicts and short texts take more than {} bytes",
                self.max_header_bytes
            ));
        }
        if frame.blobs.len() > self.max_blobs {
            return Err(format!("it holds more than {} long texts or bytes", self.max_blobs));
        }
        if total > self.max_total_bytes {
            return Err(format!("it is larger than {} bytes", self.max_total_bytes));
        }
        Ok(())
    }
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self { max_header_bytes: 1 << 30, max_blobs: 1 << 22, max_total_bytes: 4 << 30 }
    }
}

/// Why no frame could be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum FrameError {
    /// The stream failed.
    Io(io::Error),
    /// The stream ended, between frames or in the middle of one.
    Ended {
        /// Whether a frame had begun.
        in_frame: bool,
    },
    /// The bytes that arrived are not a frame.
    Invalid(String),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Io(error) => write!(f, "the connection failed: {error}"),
            FrameError::Ended { in_frame: false } => f.write_str("the connection ended"),
            FrameError::Ended { in_frame: true } => {
                f.write_str("the connection ended in the middle of a message")
            }
            FrameError::Invalid(what) => write!(f, "not a message of the protocol: {what}"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Reads frames. A future of [`next_frame`](Self::next_frame) may be dropped at any point without losing a
/// byte.
#[derive(Debug)]
pub struct FrameReader<R> {
    input: R,
    limits: FrameLimits,
    buffer: BytesMut,
    partial: Option<PartialFrame>,
}

/// A frame whose prefix is read.
#[derive(Debug)]
struct PartialFrame {
    header: Option<Vec<u8>>,
    header_len: usize,
    lengths: VecDeque<u64>,
    blobs: Vec<Bytes>,
    /// The blob that is being read. Large ones are read straight into their own memory.
    current: Option<Vec<u8>>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads frames from `input`.
    pub fn new(input: R, limits: FrameLimits) -> Self {
        Self { input, limits, buffer: BytesMut::new(), partial: None }
    }

    /// The next frame.
    ///
    /// # Errors
    /// [`FrameError`]. After one, nothing more can be read.
    pub async fn next_frame(&mut self) -> Result<Frame, FrameError> {
        loop {
            if let Some(frame) = self.parse()? {
                return Ok(frame);
            }
            let read = match self.partial.as_mut().and_then(PartialFrame::filling) {
                Some((blob, missing)) => {
                    blob.reserve(missing.min(CHUNK));
                    (&mut self.input).take(missing as u64).read_buf(blob).await
                }
                None => {
                    self.buffer.reserve(64 << 10);
                    self.input.read_buf(&mut self.buffer).await
                }
            };
            if read.map_err(FrameError::Io)? == 0 {
                return Err(FrameError::Ended {
                    in_frame: self.partial.is_some() || !self.buffer.is_empty(),
                });
            }
        }
    }

    /// Takes what it can use out of the buffer. Returns a frame once it is complete.
    fn parse(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.partial.is_none() {
            self.partial = parse_prefix(&mut self.buffer, &self.limits)?;
        }
        let Some(partial) = &mut self.partial else { return Ok(None) };
        if partial.header.is_none() {
            if self.buffer.len() < partial.header_len {
                return Ok(None);
            }
            partial.header = Some(self.buffer.split_to(partial.header_len).to_vec());
        }
        while let Some(&length) = partial.lengths.front() {
            let length =
                usize::try_from(length).map_err(|_| FrameError::Invalid("a blob is too large".into()))?;
            let blob = partial.current.get_or_insert_default();
            let buffered = self.buffer.len().min(length - blob.len());
            blob.put_slice(&self.buffer[..buffered]);
            self.buffer.advance(buffered);
            if blob.len() < length {
                return Ok(None);
            }
            partial.lengths.pop_front();
            partial.blobs.push(partial.current.take().unwrap_or_default().into());
        }
        let done = self.partial.take();
        Ok(done.map(|partial| Frame { header: partial.header.unwrap_or_default(), blobs: partial.blobs }))
    }
}

impl PartialFrame {
    /// The blob that is being read and the number of bytes that it lacks.
    fn filling(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let length = usize::try_from(*self.lengths.front()?).ok()?;
        let blob = self.current.as_mut()?;
        let missing = length - blob.len();
        Some((blob, missing))
    }
}

/// Reads the prefix once it is complete. Anything that cannot become a frame is refused at its first byte.
fn parse_prefix(buffer: &mut BytesMut, limits: &FrameLimits) -> Result<Option<PartialFrame>, FrameError> {
    let begun = buffer.len().min(MAGIC.len());
    if buffer[..begun] != MAGIC[..begun] {
        let excerpt = String::from_utf8_lossy(&buffer[..buffer.len().min(200)]).escape_debug().to_string();
        return Err(FrameError::Invalid(format!("it begins with \"{excerpt}\"")));
    }
    if buffer.len() < PREFIX {
        return Ok(None);
    }
    let mut prefix = &buffer[MAGIC.len()..PREFIX];
    let (header_len, blobs) = (prefix.get_u32() as usize, prefix.get_u32() as usize);
    if header_len > limits.max_header_bytes || blobs > limits.max_blobs {
        let what = format!("a header of {header_len} bytes and {blobs} blobs is over the limit");
        return Err(FrameError::Invalid(what));
    }
    let whole = PREFIX + blobs * size_of::<u64>();
    if buffer.len() < whole {
        return Ok(None);
    }
    buffer.advance(PREFIX);
    let lengths: VecDeque<u64> = (0..blobs).map(|_| buffer.get_u64()).collect();
    let total = lengths.iter().try_fold(header_len as u64, |total, &length| total.checked_add(length));
    match total {
        Some(total) if total <= limits.max_total_bytes => {
            Ok(Some(PartialFrame { header: None, header_len, lengths, blobs: Vec::new(), current: None }))
        }
        _ => Err(FrameError::Invalid(format!("it is larger than {} bytes", limits.max_total_bytes))),
    }
}

/// Writes frames in order. A future of [`flush`](Self::flush) may be dropped at any point, and `flush` called
/// again.
#[derive(Debug)]
pub struct FrameWriter<W> {
    output: W,
    queue: VecDeque<Bytes>,
    /// Whether something was pushed since the last flush that came to its end.
    dirty: bool,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// Writes frames to `output`.
    pub fn new(output: W) -> Self {
        Self { output, queue: VecDeque::new(), dirty: false }
    }

    /// Queues a frame behind those that are not written yet. Blobs are shared, not copied.
    pub fn push(&mut self, frame: Frame) {
        let mut prefix = BytesMut::with_capacity(PREFIX + 8 * frame.blobs.len() + frame.header.len());
        prefix.put_slice(&MAGIC);
        // Frames are checked against the limits when they are made, so neither number is cut.
        prefix.put_u32(u32::try_from(frame.header.len()).unwrap_or(u32::MAX));
        prefix.put_u32(u32::try_from(frame.blobs.len()).unwrap_or(u32::MAX));
        for blob in &frame.blobs {
            prefix.put_u64(blob.len() as u64);
        }
        prefix.put_slice(&frame.header);
        self.dirty = true;
        self.queue.push_back(prefix.freeze());
        self.queue.extend(frame.blobs);
    }

    /// Whether everything is written and flushed.
    pub fn is_flushed(&self) -> bool {
        !self.dirty
    }

    /// Writes everything that was pushed.
    ///
    /// # Errors
    /// Those of the stream.
    pub async fn flush(&mut self) -> io::Result<()> {
        while let Some(front) = self.queue.front_mut() {
            if !front.is_empty() {
                let written = self.output.write(front).await?;
                if written == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                front.advance(written);
            }
            if front.is_empty() {
                self.queue.pop_front();
            }
        }
        self.output.flush().await?;
        self.dirty = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
