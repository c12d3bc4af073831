//! Reads one file: within its bound, decompressed, and noticing where it changes meanwhile.

use std::{
    cell::Cell,
    fs::{File, Metadata},
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

use crate::kind::{HEAD_BYTES, Kind, Packing, unpacked_name};

/// A file that was opened, of which the beginning is known.
pub(crate) struct Opened<R> {
    input: R,
    /// What the file is called, without the ending of a compression.
    name: String,
    head: Vec<u8>,
    pub(crate) packing: Option<Packing>,
}

impl<'a> Opened<Box<dyn Read + 'a>> {
    /// Begins to read a file called `name`, decompressing it.
    ///
    /// # Errors
    /// Those of reading, and of what is compressed wrongly.
    pub(crate) fn new(name: &str, input: impl Read + 'a) -> io::Result<Self> {
        let mut input: Box<dyn Read + 'a> = Box::new(input);
        let mut head = first_bytes(&mut input)?;
        let packing = Packing::of(&head);
        let mut name = name;
        if let Some(packing) = packing {
            let packed = BufReader::new(io::Cursor::new(head).chain(input));
            input = match packing {
                Packing::Gzip => Box::new(MultiGzDecoder::new(packed)),
                Packing::Zstd => Box::new(ZstdFrames { input: Some(packed), frame: None }),
            };
            name = unpacked_name(name);
            head = first_bytes(&mut input)?;
        }
        Ok(Self { input, name: name.to_owned(), head, packing })
    }

    /// The same, where the rest of it takes part of this work.
    pub(crate) fn within(self, work: &'a Work) -> Self {
        Self { input: Box::new(work.limit(self.input)), ..self }
    }
}

impl<R: Read> Opened<R> {
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    pub(crate) fn kind(&self) -> Kind {
        Kind::of(&self.name, &self.head)
    }

    /// All of it, as it is read.
    #[cfg(feature = "archives")]
    pub(crate) fn reader(self) -> impl Read {
        io::Cursor::new(self.head).chain(self.input)
    }

    /// All of it; `None` if that is more than `most` bytes.
    ///
    /// # Errors
    /// Those of reading.
    pub(crate) fn whole(self, most: u64) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = self.head;
        let rest = most.saturating_add(1).saturating_sub(bytes.len() as u64);
        self.input.take(rest).read_to_end(&mut bytes)?;
        Ok((bytes.len() as u64 <= most).then_some(bytes))
    }
}

/// How many bytes may still be unpacked, by all readers together that it limits.
#[derive(Debug)]
#[cfg_attr(not(feature = "archives"), allow(dead_code, reason = "only that feature opens archives"))]
pub(crate) struct Work(Cell<u64>);

impl Work {
    #[cfg(feature = "archives")]
    pub(crate) fn new(bytes: u64) -> Self {
        Self(Cell::new(bytes))
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.0.get() == 0
    }

    /// A reader that fails once the work is used up: what was read until then is not all of it.
    pub(crate) fn limit<R: Read>(&self, input: R) -> impl Read + use<'_, R> {
        Limited { input, work: self }
    }
}

struct Limited<'w, R> {
    input: R,
    work: &'w Work,
}

impl<R: Read> Read for Limited<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.work.is_used_up() {
            return Err(io::Error::other("too much to unpack"));
        }
        let left = self.work.0.get();
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.input.read(&mut buffer[..most])?;
        self.work.0.set(left.saturating_sub(read as u64));
        Ok(read)
    }
}

fn first_bytes(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    input.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Whether the file is another one than `before`, or not as long as what was read of it.
pub(crate) fn has_changed(path: &Path, before: &Metadata, read: Option<usize>) -> bool {
    let Ok(now) = path.metadata() else { return true };
    let is_same = now.len() == before.len() && now.modified().ok() == before.modified().ok();
    !is_same || read.is_some_and(|read| read as u64 != before.len())
}

/// Opens a file for reading. A pipe without a writer is waited for, as every program does.
pub(crate) fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let file = File::open(path)?;
    let status = file.metadata()?;
    Ok((file, status))
}

/// All frames of a zstd file, one after the other.
struct ZstdFrames<R: Read> {
    /// `None` while a frame has it.
    input: Option<BufReader<R>>,
    frame: Option<Box<Frame<R>>>,
}

type Frame<R> = StreamingDecoder<BufReader<R>, ruzstd::decoding::FrameDecoder>;

impl<R: Read> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                let read = frame.read(buffer)?;
                if read > 0 || buffer.is_empty() {
                    return Ok(read);
                }
                self.input = self.frame.take().map(|frame| frame.into_inner());
            }
            let Some(mut input) = self.input.take() else { return Ok(0) };
            if input.fill_buf()?.is_empty() {
                return Ok(0);
            }
            let frame = StreamingDecoder::new(input).map_err(io::Error::other)?;
            self.frame = Some(Box::new(frame));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn files_are_decompressed_frame_by_frame() {
        for (ending, pack) in [("gz", gzip as fn(&[u8]) -> Vec<u8>), ("zst", zstd)] {
            let packed = [pack(b"{\"a\":"), pack(&b" 1}\n".repeat(5_000))].concat();
            let opened = Opened::new(&format!("x.jsonl.{ending}"), io::Cursor::new(packed)).unwrap();
            assert_eq!(opened.kind(), Kind::JsonLines, "{ending}");
            assert_eq!(opened.whole(1 << 20).unwrap().unwrap().len(), 5 + 4 * 5_000, "{ending}");
        }
    }

    #[test]
    fn a_bomb_is_read_to_its_bound() {
        let opened = Opened::new("x.gz", io::Cursor::new(gzip(&vec![b'x'; 10 << 20]))).unwrap();
        assert_eq!(opened.whole(1 << 20).unwrap(), None);
        let broken = gzip(&b"abc".repeat(100_000));
        let opened = Opened::new("x.gz", io::Cursor::new(broken[..broken.len() / 2].to_vec()));
        assert!(opened.and_then(|opened| opened.whole(1 << 30)).is_err());
    }
}
