//! Snapshots: sessions as bytes, for another process or a later time.
//!
//! ```text
//! magic (19 bytes)   version (4)   key of the interpreter (32)   xxh3 of the rest (8)
//! size of the memory (8)   number of pages (4)   pages: number (4), 4096 bytes   the files, to the end
//! ```
//!
//! Integers are little-endian. The pages are the difference from the base image, so a snapshot can only be
//! restored with the very same image, which the key names.

use std::{hash::Hasher as _, sync::Arc};

use abyme_core::{Error, ErrorKind, Result};
use abyme_wasi::WasiCheckpoint;
use tokio::task::yield_now;
use twox_hash::XxHash3_64;

use crate::{
    image::cache::ImageKey,
    memory::{
        checkpoint::{Checkpoint, Page},
        page::{BATCH, PAGE},
    },
};

const MAGIC: &[u8; 19] = b"abyme-wasm-session\n";
const VERSION: u32 = 3;
const KEY: usize = 32;
const SUM: usize = 8;

/// The size of the header; the checksum is of what follows it.
const HEADER: usize = MAGIC.len() + 4 + KEY + SUM;

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
    parse(bytes, key).await.map_err(|problem| {
        Error::new(ErrorKind::InvalidInput, format!("the session cannot be restored: {problem}"))
    })
}

async fn parse(bytes: &[u8], key: &ImageKey) -> Result<Checkpoint, String> {
    let mut rest = bytes;
    if take(&mut rest, MAGIC.len()) != Some(MAGIC) {
        return Err("this is not a snapshot of a wasm session".to_owned());
    }
    let early = "it ends early";
    let version = take_u32(&mut rest).ok_or(early)?;
    if version != VERSION {
        return Err(format!(
            "it has version {version} of the format, and this program reads version {VERSION}"
        ));
    }
    if take(&mut rest, KEY).ok_or(early)? != key.to_string().as_bytes() {
        return Err("it was made by another build of Abyme's Python, or for another processor".to_owned());
    }
    let sum = take(&mut rest, SUM).ok_or(early)?;
    if checksum(rest).await != *sum {
        return Err("it is damaged: its checksum is wrong".to_owned());
    }
    let len =
        take(&mut rest, 8).and_then(|len| usize::try_from(u64::from_le_bytes(len.try_into().ok()?)).ok());
    let (len, count) = (len.ok_or(early)?, take_u32(&mut rest).ok_or(early)?);
    let (mut numbers, mut pages) = (Vec::new(), Vec::new());
    for number in 0..count as usize {
        if number % BATCH == BATCH - 1 {
            yield_now().await;
        }
        let number = take_u32(&mut rest).ok_or(early)?;
        let page = take(&mut rest, PAGE).ok_or(early)?;
        if (number as usize + 1).checked_mul(PAGE).is_none_or(|end| end > len) {
            return Err("it has a page outside of its memory".to_owned());
        }
        if numbers.last().is_some_and(|last| *last >= number) {
            return Err("its pages are out of order".to_owned());
        }
        numbers.push(number);
        pages.push(page);
    }
    let wasi = WasiCheckpoint::from_bytes(rest)?;
    let (own, pages) = (pages.len(), Page::copies(&pages).await);
    let pages = Arc::new(numbers.into_iter().zip(pages).collect());
    Ok(Checkpoint { len, pages, own, wasi })
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(taken)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?))
}
