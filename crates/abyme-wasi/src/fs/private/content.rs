//! The bytes of one file, in chunks that copies share until one of them writes.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes per chunk: the most that a first write after a checkpoint copies.
const CHUNK: usize = 64 * 1024;

/// A file's bytes. Bytes that were never written read as zeros and take no memory.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Content {
    len: u64,
    /// Each holds at most [`CHUNK`] bytes; a shorter one stands for zeros at its end. There are exactly as
    /// many as `len` needs.
    chunks: Vec<Chunk>,
}

/// Shared, and copied when it is written. Serialised as bytes, not as a sequence of numbers.
#[derive(Clone, Default)]
struct Chunk(Arc<Vec<u8>>);

impl Content {
    /// The file's size.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Reads into `buffer` from `offset` on. Returns how many bytes it read.
    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let available = self.len.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let mut done = 0;
        while done < available {
            let (index, start) = position(offset + done as u64);
            let target = &mut buffer[done..available];
            let count = target.len().min(CHUNK - start);
            let have = self.chunks.get(index).map_or(&[][..], |chunk| chunk.0.get(start..).unwrap_or(&[]));
            let copied = have.len().min(count);
            target[..copied].copy_from_slice(&have[..copied]);
            target[copied..count].fill(0);
            done += count;
        }
        available
    }

    /// Writes `bytes` at `offset`, and grows as needed. The caller has checked that `offset + bytes.len()` is
    /// within the quota.
    pub(super) fn write_at(&mut self, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.set_len(self.len.max(offset + bytes.len() as u64));
        let mut done = 0;
        while done < bytes.len() {
            let (index, start) = position(offset + done as u64);
            let count = (bytes.len() - done).min(CHUNK - start);
            if let Some(chunk) = self.chunks.get_mut(index) {
                chunk.write(start, &bytes[done..done + count]);
            }
            done += count;
        }
    }

    /// Truncates the file, or appends zeros.
    pub(super) fn set_len(&mut self, len: u64) {
        let count = chunk_count(len);
        self.chunks.truncate(count);
        // All holes share one empty chunk.
        self.chunks.resize(count, Chunk::default());
        if len < self.len
            && let (_, end @ 1..) = position(len)
            && let Some(last) = self.chunks.last_mut()
        {
            last.truncate(end);
        }
        self.len = len;
    }

    /// Whether the chunks fit the length. A deserialised value may hold anything.
    pub(super) fn is_sound(&self) -> bool {
        let (_, rest) = position(self.len);
        let in_last = if rest == 0 { CHUNK } else { rest };
        self.len <= usize::MAX as u64
            && self.chunks.len() == chunk_count(self.len)
            && self.chunks.iter().all(|chunk| chunk.0.len() <= CHUNK)
            && self.chunks.last().is_none_or(|chunk| chunk.0.len() <= in_last)
    }
}

impl Chunk {
    fn write(&mut self, start: usize, bytes: &[u8]) {
        if bytes.len() == CHUNK && Arc::get_mut(&mut self.0).is_none() {
            // No old byte remains, so a shared chunk need not be copied first.
            self.0 = Arc::new(bytes.to_vec());
            return;
        }
        let own = Arc::make_mut(&mut self.0);
        let end = start + bytes.len();
        if end > own.capacity() {
            // Doubles, but never beyond a chunk, so that a file takes about its size in memory.
            let room = end.max((own.len() * 2).min(CHUNK));
            own.reserve_exact(room - own.len());
        }
        if end > own.len() {
            let overlap = own.len().saturating_sub(start);
            if own.len() < start {
                own.resize(start, 0);
            }
            own[start..start + overlap].copy_from_slice(&bytes[..overlap]);
            own.extend_from_slice(&bytes[overlap..]);
        } else {
            own[start..end].copy_from_slice(bytes);
        }
    }

    fn truncate(&mut self, end: usize) {
        if self.0.len() > end {
            let own = Arc::make_mut(&mut self.0);
            own.truncate(end);
            own.shrink_to_fit();
        }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

impl Serialize for Chunk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Chunk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl<'de> de::Visitor<'de> for Bytes {
            type Value = Chunk;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Chunk, E> {
                self.visit_byte_buf(bytes.to_vec())
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Chunk, E> {
                Ok(Chunk(Arc::new(bytes)))
            }

            // Formats without a notion of bytes, such as JSON, have them as numbers.
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut numbers: A) -> Result<Chunk, A::Error> {
                let mut bytes = Vec::with_capacity(numbers.size_hint().unwrap_or(0).min(CHUNK));
                while let Some(byte) = numbers.next_element()? {
                    bytes.push(byte);
                }
                self.visit_byte_buf(bytes)
            }
        }

        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// In which chunk `offset` is, and where in it.
fn position(offset: u64) -> (usize, usize) {
    ((offset / CHUNK as u64) as usize, (offset % CHUNK as u64) as usize)
}

fn chunk_count(len: u64) -> usize {
    len.div_ceil(CHUNK as u64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(content: &Content) -> Vec<u8> {
        let mut bytes = vec![7; content.len() as usize + 3];
        let count = content.read_at(0, &mut bytes);
        bytes.truncate(count);
        bytes
    }

    #[test]
    fn a_copy_shares_its_chunks() {
        let mut one = Content::default();
        one.write_at(0, &vec![1; CHUNK * 3]);
        let two = one.clone();
        one.write_at(CHUNK as u64 + 5, b"x");
        let shared: Vec<bool> =
            one.chunks.iter().zip(&two.chunks).map(|(a, b)| Arc::ptr_eq(&a.0, &b.0)).collect();
        assert_eq!(shared, [true, false, true]);
        assert_eq!(all(&two), vec![1; CHUNK * 3]);
    }

    #[test]
    fn a_hole_takes_no_memory() {
        let mut content = Content::default();
        content.write_at(10 * CHUNK as u64, b"end");
        assert_eq!(content.len(), 10 * CHUNK as u64 + 3);
        assert_eq!(content.chunks.iter().map(|chunk| chunk.0.capacity()).sum::<usize>(), 3);
        let mut bytes = [1; 4];
        assert_eq!(content.read_at(10 * CHUNK as u64 - 1, &mut bytes), 4);
        assert_eq!(&bytes, b"\0end");
    }

    #[test]
    fn memory_stays_near_the_size() {
        let mut content = Content::default();
        for index in 0..200_000_u64 {
            content.write_at(index, b"x");
        }
        let held: usize = content.chunks.iter().map(|chunk| chunk.0.capacity()).sum();
        assert!(held <= 200_000 + CHUNK, "{held}");
    }

    #[test]
    fn reading_past_the_end_gives_nothing() {
        let mut content = Content::default();
        content.write_at(0, b"abc");
        assert_eq!(content.read_at(3, &mut [0; 4]), 0);
        assert_eq!(content.read_at(u64::MAX, &mut [0; 4]), 0);
    }

    #[test]
    fn an_unsound_one_is_recognised() {
        let mut content = Content::default();
        content.write_at(0, b"abc");
        assert!(content.is_sound());
        for len in [0, 2, CHUNK as u64 + 1, u64::MAX] {
            assert!(!Content { len, ..content.clone() }.is_sound(), "{len}");
        }
    }

    #[test]
    fn survives_serde_with_and_without_bytes() {
        let mut content = Content::default();
        content.write_at(CHUNK as u64 + 1, b"abc");
        let json = serde_json::to_string(&content).unwrap();
        assert_eq!(all(&serde_json::from_str(&json).unwrap()), all(&content));
        let binary = postcard::to_allocvec(&content).unwrap();
        assert!(binary.len() < 20);
        assert_eq!(all(&postcard::from_bytes(&binary).unwrap()), all(&content));
    }

    proptest! {
        #[test]
        fn behaves_like_a_vector(
            steps in prop::collection::vec(
                (0..3_usize, 0..200_000_usize, 0..100_000_usize, any::<u8>()),
                1..20,
            )
        ) {
            let (mut content, mut model) = (Content::default(), Vec::new());
            let mut copies = Vec::new();
            for (what, offset, len, byte) in steps {
                match what {
                    0 => {
                        content.set_len(offset as u64);
                        model.resize(offset, 0);
                    }
                    1 => copies.push((content.clone(), model.clone())),
                    _ => {
                        content.write_at(offset as u64, &vec![byte; len]);
                        if len > 0 && model.len() < offset + len {
                            model.resize(offset + len, 0);
                        }
                        model.get_mut(offset..offset + len).unwrap_or_default().fill(byte);
                    }
                }
                prop_assert!(content.is_sound());
                prop_assert!(all(&content) == model);
            }
            for (content, model) in copies {
                prop_assert!(all(&content) == model);
            }
        }
    }
}
