//! Snapshots: sessions as bytes, for another process or a later time.
//!
//! ```text
//! magic (19 bytes)   version (4)   key of the interpreter (32)   xxh3 of the rest (8)
//! size of the memory (8)   number of pages (4)   pages: number (4), 4096 bytes   the files, to the end
//! ```
//!
//! Integers are little-endian. The pages are the difference from the base image, so a snapshot can only be
//! restored with the very same image, which the key names.

use std::{
    hash::Hasher as _,
    io::{self, Read},
    sync::Arc,
};

use abyme_core::{Error, ErrorKind, Result};
use abyme_wasi::WasiCheckpoint;
use tokio::task::{spawn_blocking, yield_now};
use twox_hash::XxHash3_64;

use crate::{
    image::cache::ImageKey,
    memory::{
        checkpoint::{Checkpoint, PageCopies},
        page::{BATCH, PAGE},
    },
};

const MAGIC: &[u8; 19] = b"abyme-wasm-session\n";
const VERSION: u32 = 3;
const KEY: usize = 32;
const SUM: usize = 8;

/// The size of the header; the checksum is of what follows it.
const HEADER: usize = MAGIC.len() + 4 + KEY + SUM;

/// A page with its number.
const RECORD: usize = 4 + PAGE;
/// How many of them are read before they are copied: they are in the processor's cache still.
const READ: usize = (512 << 10) / PAGE;

/// Writes a session. Other tasks have their turn in between.
pub(crate) async fn write(checkpoint: &Checkpoint, key: &ImageKey) -> Result<Vec<u8>> {
    let files = checkpoint.wasi.to_bytes().map_err(|error| {
        Error::new(ErrorKind::Internal, format!("the files of the session cannot be written down: {error}"))
    })?;
    let mut bytes = Vec::with_capacity(HEADER + checkpoint.pages.len() * (PAGE + 4) + files.len() + 12);
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(key.to_string().bytes());
    bytes.extend([0; SUM]);
    bytes.extend((checkpoint.len as u64).to_le_bytes());
    bytes.extend((checkpoint.pages.len() as u32).to_le_bytes());
    for pages in checkpoint.pages.chunks(BATCH) {
        for (number, page) in pages {
            bytes.extend(number.to_le_bytes());
            bytes.extend_from_slice(page);
        }
        yield_now().await;
    }
    bytes.extend(files);
    let sum = checksum(&bytes[HEADER..]).await;
    bytes[HEADER - SUM..HEADER].copy_from_slice(&sum);
    Ok(bytes)
}

async fn checksum(bytes: &[u8]) -> [u8; SUM] {
    let mut hasher = XxHash3_64::new();
    for part in bytes.chunks(BATCH * PAGE) {
        hasher.write(part);
        yield_now().await;
    }
    hasher.finish().to_le_bytes()
}

/// Reads a session. The bytes may be anything. Other tasks have their turn in between.
pub(crate) async fn read(bytes: &[u8], key: &ImageKey) -> Result<Checkpoint> {
    let read = async {
        let mut session = UnreadSession::open(bytes, key)?;
        while session.read_pages()? {
            yield_now().await;
        }
        session.finish()
    };
    read.await.map_err(Error::from)
}

/// Reads a session as it comes, on a thread that may block.
pub(crate) async fn read_from(source: Box<dyn Read + Send>, key: ImageKey) -> Result<Checkpoint> {
    let read = spawn_blocking(move || {
        let mut session = UnreadSession::open(source, &key)?;
        while session.read_pages()? {}
        session.finish()
    });
    let read = read
        .await
        .map_err(|error| Error::new(ErrorKind::Internal, "the session was not read").with_source(error))?;
    read.map_err(Error::from)
}

/// Why a session is not read.
enum ReadProblem {
    Io(io::Error),
    /// What is wrong with the bytes.
    Content(String),
}

impl From<io::Error> for ReadProblem {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Content("it ends early".to_owned()),
            _ => Self::Io(error),
        }
    }
}

impl From<String> for ReadProblem {
    fn from(problem: String) -> Self {
        Self::Content(problem)
    }
}

impl From<ReadProblem> for Error {
    fn from(problem: ReadProblem) -> Self {
        let (kind, problem, source) = match problem {
            ReadProblem::Io(error) => (ErrorKind::Io, error.to_string(), Some(error)),
            ReadProblem::Content(problem) => (ErrorKind::InvalidInput, problem, None),
        };
        let error = Self::new(kind, format!("the session cannot be restored: {problem}"));
        match source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }
}

/// Bytes that go into a checksum as they are read.
struct Summed<R> {
    source: R,
    sum: XxHash3_64,
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(bytes)?;
        self.sum.write(&bytes[..read]);
        Ok(read)
    }
}

/// A session of which not all is read yet.
struct UnreadSession<R> {
    source: Summed<R>,
    /// What the checksum must be at the end.
    expected: u64,
    /// The size of the memory.
    len: usize,
    /// How many pages are to come.
    left: usize,
    numbers: Vec<u32>,
    copies: PageCopies,
    /// Some pages with their numbers, as they come.
    buffer: Vec<u8>,
    /// What is wrong with the pages: it counts if the checksum is right.
    problem: Option<&'static str>,
}

impl<R: Read> UnreadSession<R> {
    /// Reads the header.
    fn open(mut source: R, key: &ImageKey) -> Result<Self, ReadProblem> {
        let mut magic = [0; MAGIC.len()];
        let read = source.read_exact(&mut magic).map_err(ReadProblem::from);
        match read {
            Err(ReadProblem::Io(error)) => return Err(error.into()),
            Ok(()) if magic == *MAGIC => {}
            _ => return Err("this is not a snapshot of a wasm session".to_owned().into()),
        }
        let version = u32::from_le_bytes(take(&mut source)?);
        if version != VERSION {
            let problem =
                format!("it has version {version} of the format, and this program reads version {VERSION}");
            return Err(problem.into());
        }
        if take::<KEY>(&mut source)? != key.to_string().as_bytes() {
            let problem = "it was made by another build of Abyme's Python, or for another processor";
            return Err(problem.to_owned().into());
        }
        let expected = u64::from_le_bytes(take::<SUM>(&mut source)?);
        let mut source = Summed { source, sum: XxHash3_64::new() };
        let len = u64::from_le_bytes(take(&mut source)?);
        let left = u32::from_le_bytes(take(&mut source)?) as usize;
        let (copies, numbers, buffer) = (PageCopies::of(left), Vec::new(), vec![0; READ * RECORD]);
        // One that does not fit into this system's memory has no page inside of it.
        let len = usize::try_from(len).unwrap_or_default();
        Ok(Self { source, expected, len, left, numbers, copies, buffer, problem: None })
    }

    /// Reads some pages. Says whether there are more.
    fn read_pages(&mut self) -> Result<bool, ReadProblem> {
        let count = self.left.min(READ);
        self.left -= count;
        let records = &mut self.buffer[..count * RECORD];
        match self.source.read_exact(records).map_err(ReadProblem::from) {
            Err(ReadProblem::Content(_)) => self.problem = Some("it ends early"),
            read => read?,
        }
        let mut pages = Vec::with_capacity(count);
        for record in records.chunks_exact(RECORD) {
            let Some((number, page)) = record.split_first_chunk() else { continue };
            let number = u32::from_le_bytes(*number);
            if (number as usize + 1).checked_mul(PAGE).is_none_or(|end| end > self.len) {
                self.problem.get_or_insert("it has a page outside of its memory");
            }
            if self.numbers.last().is_some_and(|last| *last >= number) {
                self.problem.get_or_insert("its pages are out of order");
            }
            self.numbers.push(number);
            pages.push(page);
        }
        if self.problem.is_none() {
            self.copies.add(&pages)?;
        } else {
            self.left = 0;
        }
        Ok(self.left > 0)
    }

    /// Reads the rest, and compares the checksum of all of it.
    fn finish(mut self) -> Result<Checkpoint, ReadProblem> {
        let mut files = Vec::new();
        self.source.read_to_end(&mut files)?;
        if self.source.sum.finish() != self.expected {
            return Err("it is damaged: its checksum is wrong".to_owned().into());
        }
        if let Some(problem) = self.problem {
            return Err(problem.to_owned().into());
        }
        let wasi = WasiCheckpoint::from_bytes(&files)?;
        let pages = self.copies.finish()?;
        let (own, pages) = (pages.len(), Arc::new(self.numbers.into_iter().zip(pages).collect()));
        Ok(Checkpoint { len: self.len, pages, own, wasi })
    }
}

fn take<const N: usize>(source: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}
