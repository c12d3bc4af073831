//! The form of a trajectory in a file: JSON Lines under a header, long texts once, and a checksum in each
//! line that covers all before it. `TRAJECTORY.md` describes it for other programs.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest, Sha256};

use super::event::Record;
use crate::error::{Error, ErrorKind, Result};

/// The version of the format. A change that a reader of this version would misread is a new one; a field that
/// may be absent is not.
const VERSION: u64 = 1;

/// Texts of so many bytes have a line of their own, once, and events refer to it by its hash.
const MIN_BLOB_BYTES: usize = 4096;

/// The one key of an object that stands for a blob.
const REFERENCE: &str = "$blob";

/// What a line with a blob begins with.
const BLOB_LINE: &str = "{\"blob\":";

/// What comes before the checksum, which ends a line.
const SUM: &str = ",\"sum\":\"";

/// Hexadecimal digits of a checksum.
const SUM_DIGITS: usize = 16;

/// The first line.
#[derive(Serialize, Deserialize)]
struct TrajectoryHeader {
    abyme_trajectory: u64,
}

/// A long text, before the first event that holds it.
#[derive(Serialize, Deserialize)]
struct Blob {
    blob: String,
    text: String,
}

/// Makes lines of records. What it knows is what the lines before have said.
#[derive(Debug)]
pub(super) struct Encoder {
    sum: String,
    blobs: HashSet<String>,
}

impl Encoder {
    /// An encoder and the line that its file begins with.
    pub(super) fn new() -> (Self, String) {
        let header = json!(TrajectoryHeader { abyme_trajectory: VERSION }).to_string();
        (Self::after(&header), header + "\n")
    }

    fn after(header: &str) -> Self {
        Self { sum: sum("", header), blobs: HashSet::new() }
    }

    /// The lines that a record adds: its own, and before it those of texts that no line had yet.
    pub(super) fn encode(&mut self, record: &Record) -> String {
        let (mut lines, line) = (String::new(), record.to_line());
        let is_plain = line.len() < MIN_BLOB_BYTES && !line.contains(REFERENCE);
        match (!is_plain).then(|| serde_json::to_value(record)) {
            Some(Ok(mut event)) => {
                self.take_blobs(&mut event, &mut lines);
                self.push(&mut lines, &event.to_string());
            }
            _ => self.push(&mut lines, line.trim_end()),
        }
        lines
    }

    /// Puts references in the place of long texts, and gives a key that looks like one another `$`.
    fn take_blobs(&mut self, json: &mut Json, lines: &mut String) {
        match json {
            Json::String(text) if text.len() >= MIN_BLOB_BYTES => {
                let (hash, text) = (hash(&*text), std::mem::take(text));
                *json = json!({ REFERENCE: hash });
                if self.blobs.insert(hash.clone()) {
                    // Two texts are written without fail.
                    let blob = serde_json::to_string(&Blob { blob: hash, text }).unwrap_or_default();
                    self.push(lines, &blob);
                }
            }
            Json::Array(items) => items.iter_mut().for_each(|item| self.take_blobs(item, lines)),
            Json::Object(fields) => {
                fields.values_mut().for_each(|value| self.take_blobs(value, lines));
                rename(fields, |key| looks_like_a_reference(key).then(|| format!("${key}")));
            }
            _ => {}
        }
    }

    /// Adds the line of an object.
    fn push(&mut self, lines: &mut String, object: &str) {
        let body = object.strip_suffix('}').unwrap_or(object);
        self.sum = sum(&self.sum, body);
        for part in [body, SUM, &self.sum, "\"}\n"] {
            lines.push_str(part);
        }
    }
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) records: Vec<Arc<Record>>,
    /// Goes on after the last whole line.
    pub(super) encoder: Encoder,
    /// Bytes of the whole lines. What follows them is a line that a crash cut short.
    pub(super) whole_bytes: usize,
}

/// Reads a file.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] with the number of the line that cannot be read.
pub(super) fn decode(bytes: &[u8]) -> Result<Decoded> {
    let whole_bytes = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let mut lines = bytes[..whole_bytes].split_inclusive(|byte| *byte == b'\n').enumerate();
    let Some((_, header)) = lines.next() else {
        return Err(invalid("holds no whole line: its first one was still to be written".to_owned()));
    };
    let mut reader = TrajectoryReader {
        encoder: Encoder::after(header_line(header)?),
        texts: HashMap::new(),
        records: Vec::new(),
    };
    for (index, line) in lines {
        let read = std::str::from_utf8(line).map_err(|_| "is not UTF-8".to_owned());
        if let Err(problem) = read.and_then(|line| reader.read(line.trim_end_matches('\n'))) {
            return Err(invalid(format!("is damaged: its line {} {problem}", index + 1)));
        }
    }
    Ok(Decoded { records: reader.records, encoder: reader.encoder, whole_bytes })
}

/// The header's text, if it is one of this version.
fn header_line(line: &[u8]) -> Result<&str> {
    let line = std::str::from_utf8(line).unwrap_or_default().trim_end_matches('\n');
    match serde_json::from_str(line) {
        Ok(TrajectoryHeader { abyme_trajectory: VERSION }) => Ok(line),
        Ok(TrajectoryHeader { abyme_trajectory: other }) => Err(invalid(format!(
            "is of version {other} of the format, and this Abyme reads version {VERSION}: a newer \
             Abyme can read it"
        ))),
        Err(_) => Err(invalid(format!(
            "is no trajectory: its first line is not {{\"abyme_trajectory\":{VERSION}}}"
        ))),
    }
}

struct TrajectoryReader {
    encoder: Encoder,
    texts: HashMap<String, String>,
    records: Vec<Arc<Record>>,
}

impl TrajectoryReader {
    /// Reads a line, or says what is wrong with it.
    fn read(&mut self, line: &str) -> Result<(), String> {
        self.check_sum(line)?;
        if line.starts_with(BLOB_LINE) {
            let Blob { blob, text } =
                serde_json::from_str(line).map_err(|error| format!("is no blob: {error}"))?;
            if hash(&text) != blob {
                return Err(format!("holds a text whose hash is not {blob}"));
            }
            self.encoder.blobs.insert(blob.clone());
            self.texts.insert(blob, text);
            return Ok(());
        }
        let no_event = |error| format!("is no event that this Abyme knows: {error}");
        let record: Record = if line.contains(REFERENCE) {
            let mut json = serde_json::from_str(line).map_err(no_event)?;
            self.put_blobs(&mut json)?;
            serde_json::from_value(json).map_err(no_event)?
        } else {
            serde_json::from_str(line).map_err(no_event)?
        };
        self.records.push(Arc::new(record));
        Ok(())
    }

    fn check_sum(&mut self, line: &str) -> Result<(), String> {
        let parts = line.rsplit_once(SUM).and_then(|(body, end)| Some((body, end.strip_suffix("\"}")?)));
        let Some((body, given)) = parts.filter(|(_, given)| given.len() == SUM_DIGITS) else {
            return Err("does not end with a checksum".to_owned());
        };
        self.encoder.sum = sum(&self.encoder.sum, body);
        match self.encoder.sum == given {
            true => Ok(()),
            false => {
                Err("does not have its checksum: it was changed, or a line before it is missing".to_owned())
            }
        }
    }

    /// Undoes [`Encoder::take_blobs`].
    fn put_blobs(&self, json: &mut Json) -> Result<(), String> {
        match json {
            Json::Array(items) => items.iter_mut().try_for_each(|item| self.put_blobs(item)),
            Json::Object(fields) => {
                if let (1, Some(Json::String(hash))) = (fields.len(), fields.get(REFERENCE)) {
                    let text = self.texts.get(hash);
                    let text =
                        text.ok_or_else(|| format!("refers to a blob that no line before it holds: {hash}"))?;
                    *json = Json::String(text.clone());
                    return Ok(());
                }
                fields.values_mut().try_for_each(|value| self.put_blobs(value))?;
                rename(fields, |key| {
                    key.strip_prefix('$').filter(|key| looks_like_a_reference(key)).map(str::to_owned)
                });
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Whether a key is that of a reference, or one that was given more `$` not to be.
fn looks_like_a_reference(key: &str) -> bool {
    key.ends_with(REFERENCE) && key.trim_start_matches('$') == REFERENCE.trim_start_matches('$')
}

/// Gives the keys other names, in their places.
fn rename(fields: &mut Map<String, Json>, name: impl Fn(&str) -> Option<String>) {
    if fields.keys().any(|key| name(key).is_some()) {
        let renamed = std::mem::take(fields).into_iter();
        *fields = renamed.map(|(key, value)| (name(&key).unwrap_or(key), value)).collect();
    }
}

/// SHA-256, in hexadecimal digits.
pub(crate) fn hash(bytes: impl AsRef<[u8]>) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// The checksum of a line, which covers those before it.
fn sum(before: &str, body: &str) -> String {
    let mut sum = format!("{:x}", Sha256::new().chain_update(before).chain_update(body).finalize());
    sum.truncate(SUM_DIGITS);
    sum
}

/// An error that says of the trajectory what is wrong.
fn invalid(problem: String) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("the trajectory {problem}"))
}

#[cfg(test)]
mod tests;
