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
/// How much is read at once, and the most that is reserved before the bytes of a long piece arrive.
const CHUNK: usize = 1 << 20;
/// What a blob takes of the host's memory besides its bytes.
const BLOB: u64 = 80;
/// How much is kept of the header of a frame that is too large: enough to tell what it is.
const HEAD: usize = 4 << 10;

/// One frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// A JSON object in UTF-8.
    pub header: Vec<u8>,
    /// Large texts and bytes that the header refers to by index.
    pub blobs: Vec<Bytes>,
}

impl Frame {
    /// The bytes that the frame takes of the host's memory.
    pub(crate) fn size(&self) -> u64 {
        let blobs = self.blobs.iter().map(|blob| blob.len() as u64 + BLOB).sum::<u64>();
        self.header.len() as u64 + blobs
    }
}

/// How large a frame may be. A [`FrameReader`] reads past a larger one without keeping it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameLimits {
    /// Bytes of a header.
    pub max_header_bytes: u64,
    /// Number of blobs.
    pub max_blobs: u32,
    /// Bytes of a header and its blobs together, and 80 bytes for each blob.
    pub max_total_bytes: u64,
}

impl FrameLimits {
    /// What a driver takes from a host: a header of 1 GiB, 4 194 304 blobs, and 4 GiB together.
    pub const TO_DRIVER: FrameLimits =
        FrameLimits { max_header_bytes: 1 << 30, max_blobs: 1 << 22, max_total_bytes: 4 << 30 };

    /// What a host takes from a driver: a header of 64 MiB, 1 048 576 blobs, and `max_message_bytes`
    /// together.
    pub const fn to_host(max_message_bytes: u64) -> FrameLimits {
        let max_header_bytes = if max_message_bytes < 64 << 20 { max_message_bytes } else { 64 << 20 };
        FrameLimits { max_header_bytes, max_blobs: 1 << 20, max_total_bytes: max_message_bytes }
    }

    /// Checks that a frame keeps to the limits.
    ///
    /// # Errors
    /// What is too large.
    pub fn check(&self, frame: &Frame) -> Result<(), String> {
        self.check_counts(frame.header.len() as u64, frame.blobs.len() as u64)?;
        self.check_total(frame.size())
    }

    fn check_counts(&self, header: u64, blobs: u64) -> Result<(), String> {
        if header > self.max_header_bytes {
            return Err(format!(
                "its lists, dicts and short texts take more than {}",
                size(self.max_header_bytes)
            ));
        }
        if blobs > u64::from(self.max_blobs) {
            return Err(format!("it holds more than {} long texts or bytes", self.max_blobs));
        }
        Ok(())
    }

    fn check_total(&self, total: u64) -> Result<(), String> {
        if total > self.max_total_bytes {
            return Err(format!("it is larger than {}", size(self.max_total_bytes)));
        }
        Ok(())
    }
}

/// A size in words.
fn size(bytes: u64) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{bytes} bytes") }
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
    /// A frame was over the limits. It was read through and not kept: the next frame can be read.
    TooLarge {
        /// The beginning of its header.
        head: Vec<u8>,
        /// What was too large.
        problem: String,
    },
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
            FrameError::TooLarge { problem, .. } => write!(f, "a message is too large: {problem}"),
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

/// A frame that has begun.
#[derive(Debug)]
enum PartialFrame {
    Kept(KeptFrame),
    Skipped(SkippedFrame),
}

/// A frame within the limits, whose prefix is read.
#[derive(Debug)]
struct KeptFrame {
    /// The lengths of what is missing: the header if nothing is there, and blobs.
    lengths: VecDeque<u64>,
    /// What is there: the header, then blobs.
    pieces: Vec<Vec<u8>>,
    /// The piece that is being read. Large ones are read straight into their own memory.
    current: Vec<u8>,
}

/// A frame over the limits.
#[derive(Debug)]
struct SkippedFrame {
    problem: String,
    /// How many lengths of blobs follow.
    lengths: u32,
    /// How many bytes follow the lengths.
    rest: u64,
    head: Vec<u8>,
    missing_head: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads frames from `input`.
    pub fn new(input: R, limits: FrameLimits) -> Self {
        Self { input, limits, buffer: BytesMut::new(), partial: None }
    }

    /// Changes how large the next frames may be.
    pub(crate) fn set_limits(&mut self, limits: FrameLimits) {
        self.limits = limits;
    }

    /// The next frame.
    ///
    /// # Errors
    /// [`FrameError`]. After one, nothing more can be read, except after [`FrameError::TooLarge`].
    pub async fn next_frame(&mut self) -> Result<Frame, FrameError> {
        loop {
            if let Some(frame) = self.parse()? {
                return Ok(frame);
            }
            let read = match &mut self.partial {
                Some(PartialFrame::Kept(frame)) if frame.missing() > 0 => {
                    let missing = frame.missing();
                    // Not all at once: a length is only a claim.
                    frame.current.reserve_exact(missing.min(CHUNK.max(frame.current.len() / 4)));
                    (&mut self.input).take(missing as u64).read_buf(&mut frame.current).await
                }
                _ => {
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
        match &mut self.partial {
            None => Ok(None),
            Some(PartialFrame::Kept(frame)) => {
                if !frame.take(&mut self.buffer) {
                    return Ok(None);
                }
                let mut pieces = std::mem::take(&mut frame.pieces).into_iter();
                self.partial = None;
                let header = pieces.next().unwrap_or_default();
                Ok(Some(Frame { header, blobs: pieces.map(Bytes::from).collect() }))
            }
            Some(PartialFrame::Skipped(frame)) => {
                if !frame.skip(&mut self.buffer)? {
                    return Ok(None);
                }
                let (head, problem) = (std::mem::take(&mut frame.head), std::mem::take(&mut frame.problem));
                self.partial = None;
                Err(FrameError::TooLarge { head, problem })
            }
        }
    }
}

impl KeptFrame {
    /// How many bytes the current piece lacks.
    fn missing(&self) -> usize {
        // Lengths were checked against the limits, so they are small enough.
        self.lengths.front().map_or(0, |&length| length as usize - self.current.len())
    }

    /// Takes what the buffer has of the frame. Returns whether the frame is complete.
    fn take(&mut self, buffer: &mut BytesMut) -> bool {
        while !self.lengths.is_empty() {
            let buffered = buffer.len().min(self.missing());
            self.current.reserve_exact(buffered);
            self.current.put_slice(&buffer[..buffered]);
            buffer.advance(buffered);
            if self.missing() > 0 {
                return false;
            }
            self.lengths.pop_front();
            self.pieces.push(std::mem::take(&mut self.current));
        }
        true
    }
}

impl SkippedFrame {
    fn new(problem: String, header: u32, lengths: u32, blobs: u64) -> Self {
        let missing_head = HEAD.min(header as usize);
        let rest = u64::from(header).saturating_add(blobs);
        Self { problem, lengths, rest, head: Vec::new(), missing_head }
    }

    /// Drops what the buffer has of the frame. Returns whether all of it is dropped.
    fn skip(&mut self, buffer: &mut BytesMut) -> Result<bool, FrameError> {
        while self.lengths > 0 && buffer.len() >= size_of::<u64>() {
            self.lengths -= 1;
            let sum = self.rest.checked_add(buffer.get_u64());
            self.rest = sum.ok_or_else(|| FrameError::Invalid("its lengths are absurd".to_owned()))?;
        }
        if self.lengths > 0 {
            return Ok(false);
        }
        let head = buffer.len().min(self.missing_head);
        self.head.extend_from_slice(&buffer[..head]);
        self.missing_head -= head;
        let dropped = buffer.len().min(usize::try_from(self.rest).unwrap_or(usize::MAX));
        buffer.advance(dropped);
        self.rest -= dropped as u64;
        Ok(self.rest == 0)
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
    let (header, blobs) = (prefix.get_u32(), prefix.get_u32());
    if let Err(problem) = limits.check_counts(header.into(), blobs.into()) {
        buffer.advance(PREFIX);
        return Ok(Some(PartialFrame::Skipped(SkippedFrame::new(problem, header, blobs, 0))));
    }
    if buffer.len() < PREFIX + blobs as usize * size_of::<u64>() {
        return Ok(None);
    }
    buffer.advance(PREFIX);
    let lengths: VecDeque<u64> = (0..blobs).map(|_| buffer.get_u64()).collect();
    let sum = lengths.iter().try_fold(0_u64, |sum, &length| sum.checked_add(length));
    let sum = sum.ok_or_else(|| FrameError::Invalid("its lengths are absurd".to_owned()))?;
    let total = sum.saturating_add(u64::from(header)).saturating_add(u64::from(blobs) * BLOB);
    if let Err(problem) = limits.check_total(total) {
        return Ok(Some(PartialFrame::Skipped(SkippedFrame::new(problem, header, 0, sum))));
    }
    let lengths = std::iter::once(u64::from(header)).chain(lengths).collect();
    Ok(Some(PartialFrame::Kept(KeptFrame { lengths, pieces: Vec::new(), current: Vec::new() })))
}

/// Writes frames in order. A future of [`flush`](Self::flush) may be dropped at any point, and `flush` called
/// again.
#[derive(Debug)]
pub struct FrameWriter<W> {
    output: W,
    queue: VecDeque<Part>,
    /// How many frames, and bytes of them, are not written.
    frames: usize,
    bytes: u64,
    /// Whether something was pushed since the last flush that came to its end.
    dirty: bool,
}

/// A part of a frame that is not written.
#[derive(Debug)]
struct Part {
    bytes: Bytes,
    is_last: bool,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// Writes frames to `output`.
    pub fn new(output: W) -> Self {
        Self { output, queue: VecDeque::new(), frames: 0, bytes: 0, dirty: false }
    }

    /// Queues a frame behind those that are not written yet. Blobs are shared, not copied.
    pub fn push(&mut self, frame: Frame) {
        let joined = if frame.header.len() < CHUNK { frame.header.len() } else { 0 };
        let mut prefix = BytesMut::with_capacity(PREFIX + 8 * frame.blobs.len() + joined);
        prefix.put_slice(&MAGIC);
        // Frames are checked against the limits when they are made, so neither number is cut.
        prefix.put_u32(u32::try_from(frame.header.len()).unwrap_or(u32::MAX));
        prefix.put_u32(u32::try_from(frame.blobs.len()).unwrap_or(u32::MAX));
        for blob in &frame.blobs {
            prefix.put_u64(blob.len() as u64);
        }
        // A small header goes out with its prefix, a large one is not copied.
        prefix.put_slice(&frame.header[..joined]);
        let header = if joined == 0 { Bytes::from(frame.header) } else { Bytes::new() };
        self.dirty = true;
        self.frames += 1;
        let last = frame.blobs.len() + 1;
        for (index, bytes) in [prefix.freeze(), header].into_iter().chain(frame.blobs).enumerate() {
            self.bytes += bytes.len() as u64;
            self.queue.push_back(Part { bytes, is_last: index == last });
        }
    }

    /// Queues bytes that are no frame.
    pub(crate) fn push_bytes(&mut self, bytes: Bytes) {
        self.dirty = true;
        self.bytes += bytes.len() as u64;
        self.queue.push_back(Part { bytes, is_last: false });
    }

    /// How many frames are not written, and how many bytes of them.
    pub(crate) fn queued(&self) -> (usize, u64) {
        (self.frames, self.bytes)
    }

    /// Whether everything is written and flushed.
    pub fn is_flushed(&self) -> bool {
        !self.dirty
    }

    /// Writes everything that was pushed, and ends the stream.
    ///
    /// # Errors
    /// Those of the stream.
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.output.shutdown().await
    }

    /// Writes everything that was pushed.
    ///
    /// # Errors
    /// Those of the stream.
    pub async fn flush(&mut self) -> io::Result<()> {
        while let Some(Part { bytes, is_last }) = self.queue.front_mut() {
            if !bytes.is_empty() {
                let written = self.output.write(bytes).await?;
                if written == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                bytes.advance(written);
                self.bytes -= written as u64;
            }
            if bytes.is_empty() {
                self.frames -= usize::from(*is_last);
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
