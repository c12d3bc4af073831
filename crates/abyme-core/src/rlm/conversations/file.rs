//! A conversation in a file: what was asked and answered, and its session, where that can be written.
//!
//! ```text
//! magic (19 bytes)   version (4)   xxh3 of the rest (8)   size of the header (8)   header, as JSON
//! values of inputs and results, in the header's order   the session's snapshot, to the end
//! ```
//!
//! Integers are little-endian. A text is written as UTF-8 and bytes as they are, so that large ones are read
//! at the speed of the disk; other values as JSON, without loss. The checksum finds damage. It is no
//! signature: a file is as trustworthy as the directory that it lies in.

use std::{
    io::{self, BufWriter, Write},
    path::Path,
};

use bytes::Bytes;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::questions::{EarlierQuestions, PastQuestion, Questions};
use crate::{
    error::{Error, ErrorKind, Result},
    interpreter::ChangedVariable,
    model::Usage,
    signature::TaskSignature,
    status::Status,
    value::Value,
    whole_file::replace_whole,
};

const MAGIC: &[u8; 19] = b"abyme-conversation\n";
const VERSION: u32 = 1;
/// Where the checksum lies.
const SUM_AT: usize = MAGIC.len() + 4;
/// Where what it covers begins.
const BODY_AT: usize = SUM_AT + 8;

/// What a file holds.
#[derive(Debug, PartialEq)]
pub(super) struct FileContent {
    pub(super) questions: Questions,
    pub(super) session: Option<SessionBytes>,
}

/// A session as bytes, and what is in it.
#[derive(Debug, PartialEq)]
pub(super) struct SessionBytes {
    /// The inputs and results that it holds, by name.
    pub(super) holds: Vec<String>,
    pub(super) snapshot: Bytes,
}

#[derive(Serialize, Deserialize)]
struct ConversationHeader {
    /// Version of Abyme, for people who look.
    abyme: String,
    signature: String,
    told: EarlierQuestions,
    usage: Usage,
    questions: Vec<QuestionHeader>,
    /// What the session holds; absent without a snapshot.
    holds: Option<Vec<String>>,
}

#[derive(Serialize, Deserialize)]
struct QuestionHeader {
    inputs: Vec<ValueHeader>,
    outputs: Option<Vec<ValueHeader>>,
    status: Option<Status>,
    usage: Usage,
    made: Vec<ChangedVariable>,
}

#[derive(Serialize, Deserialize)]
struct ValueHeader {
    name: String,
    form: ValueForm,
    bytes: u64,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ValueForm {
    Text,
    Bytes,
    Json,
}

/// Writes a file that only its owner may read, and puts it in the place of one of that name once it is whole
/// and on the disk. Gives its size.
pub(super) fn write(path: &Path, signature: &TaskSignature, content: &FileContent) -> Result<u64> {
    let encoded = encode(signature, content).map_err(|error| {
        Error::new(ErrorKind::Internal, format!("the conversation cannot be written down: {error}"))
            .with_source(error)
    })?;
    let mut size = 0;
    let written = replace_whole(path, |file| {
        let mut out = BufWriter::new(file);
        size = write_to(&mut out, &encoded)?;
        out.flush()
    });
    written.map(|()| size).map_err(|error| {
        Error::new(ErrorKind::Io, format!("cannot write the conversation to {}: {error}", path.display()))
            .with_source(error)
    })
}

/// The parts of a file after its checksum.
struct EncodedFile<'a> {
    header: Vec<u8>,
    values: Vec<EncodedValue<'a>>,
    snapshot: &'a [u8],
}

enum EncodedValue<'a> {
    Raw(&'a [u8]),
    Json(Vec<u8>),
}

impl EncodedValue<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Raw(bytes) => bytes,
            Self::Json(bytes) => bytes,
        }
    }
}

fn encode<'a>(signature: &TaskSignature, content: &'a FileContent) -> serde_json::Result<EncodedFile<'a>> {
    let mut values = Vec::new();
    let mut headers = |named: &'a IndexMap<String, Value>| -> serde_json::Result<Vec<ValueHeader>> {
        let mut headers = Vec::new();
        for (name, value) in named {
            let (form, encoded) = match value {
                Value::Text(text) => (ValueForm::Text, EncodedValue::Raw(text.as_bytes())),
                Value::Bytes(bytes) => (ValueForm::Bytes, EncodedValue::Raw(bytes)),
                other => (ValueForm::Json, EncodedValue::Json(serde_json::to_vec(other)?)),
            };
            headers.push(ValueHeader { name: name.clone(), form, bytes: encoded.bytes().len() as u64 });
            values.push(encoded);
        }
        Ok(headers)
    };
    let mut questions = Vec::new();
    for question in &content.questions.past {
        questions.push(QuestionHeader {
            inputs: headers(&question.inputs)?,
            outputs: question.outputs.as_ref().map(&mut headers).transpose()?,
            status: question.status,
            usage: question.usage,
            made: question.made.clone(),
        });
    }
    let header = ConversationHeader {
        abyme: env!("CARGO_PKG_VERSION").to_owned(),
        signature: signature.to_string(),
        told: content.questions.told,
        usage: content.questions.usage,
        questions,
        holds: content.session.as_ref().map(|session| session.holds.clone()),
    };
    let snapshot = content.session.as_ref().map_or(&[][..], |session| &session.snapshot);
    Ok(EncodedFile { header: serde_json::to_vec(&header)?, values, snapshot })
}

fn write_to(out: &mut impl Write, encoded: &EncodedFile<'_>) -> io::Result<u64> {
    let len = (encoded.header.len() as u64).to_le_bytes();
    let values = encoded.values.iter().map(EncodedValue::bytes);
    let body: Vec<&[u8]> =
        [&len[..], &encoded.header].into_iter().chain(values).chain([encoded.snapshot]).collect();
    let mut sum = Xxh3::new();
    body.iter().for_each(|part| sum.update(part));
    let sum = sum.digest().to_le_bytes();
    let mut size = 0;
    for part in [&MAGIC[..], &VERSION.to_le_bytes(), &sum].into_iter().chain(body) {
        out.write_all(part)?;
        size += part.len() as u64;
    }
    Ok(size)
}

/// Reads a file of a conversation over `signature`.
pub(super) fn read(path: &Path, signature: &TaskSignature) -> Result<FileContent> {
    let signature = signature.to_string();
    read_by(path, |bytes| parse(bytes, &signature))
}

/// The signature of the conversation in a file, as a text.
pub(super) fn read_signature(path: &Path) -> Result<String> {
    read_by(path, |bytes| Ok(open(bytes)?.0.signature))
}

fn read_by<T>(path: &Path, parse: impl FnOnce(&Bytes) -> Result<T, String>) -> Result<T> {
    // Reading a device or a pipe might not end.
    if path.metadata().is_ok_and(|status| !status.is_file() && !status.is_dir()) {
        let message = format!("the conversation {} cannot be read: it is no regular file", path.display());
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    let bytes = std::fs::read(path).map_err(|error| {
        Error::new(ErrorKind::Io, format!("cannot read the conversation {}: {error}", path.display()))
            .with_source(error)
    })?;
    parse(&Bytes::from(bytes)).map_err(|problem| {
        let message = format!("the conversation {} cannot be read: {problem}", path.display());
        Error::new(ErrorKind::InvalidInput, message)
    })
}

fn early() -> String {
    "it ends early".to_owned()
}

/// The header of a file whose checksum is right, and what follows it.
fn open(bytes: &[u8]) -> Result<(ConversationHeader, &[u8]), String> {
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return Err("this is no conversation of Abyme".to_owned());
    };
    let (version, rest) = rest.split_first_chunk::<4>().ok_or_else(early)?;
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Err(format!(
            "it has version {version} of the format, and this program reads version {VERSION}"
        ));
    }
    let (sum, _) = rest.split_first_chunk::<8>().ok_or_else(early)?;
    let mut rest = &bytes[BODY_AT..];
    if xxh3_64(rest) != u64::from_le_bytes(*sum) {
        return Err("it is damaged: its checksum is wrong".to_owned());
    }
    let len = u64::from_le_bytes(*take(&mut rest, 8).and_then(|len| len.first_chunk()).ok_or_else(early)?);
    let header = take(&mut rest, len).ok_or_else(early)?;
    let header: ConversationHeader =
        serde_json::from_slice(header).map_err(|error| format!("its header is not readable: {error}"))?;
    Ok((header, rest))
}

/// What a file holds. The values are copies, and the snapshot, which is most of it and not kept for long, is
/// a part of `bytes`.
fn parse(bytes: &Bytes, signature: &str) -> Result<FileContent, String> {
    let (header, mut rest) = open(bytes)?;
    if header.signature != signature {
        return Err(format!(
            "it is of a task with the signature `{}`, and this one has `{signature}`",
            header.signature
        ));
    }
    let mut values = |headers: Vec<ValueHeader>| -> Result<IndexMap<String, Value>, String> {
        let value = |header: ValueHeader| {
            let bytes = take(&mut rest, header.bytes).ok_or_else(early)?;
            let value = match header.form {
                ValueForm::Text => {
                    String::from_utf8(bytes.to_vec()).map(Value::from).map_err(|e| e.to_string())
                }
                ValueForm::Bytes => Ok(Value::Bytes(bytes.to_vec().into())),
                ValueForm::Json => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
            };
            let value =
                value.map_err(|error| format!("the value of `{}` is not readable: {error}", header.name));
            Ok((header.name, value?))
        };
        headers.into_iter().map(value).collect()
    };
    let mut past = Vec::new();
    for question in header.questions {
        past.push(PastQuestion {
            inputs: values(question.inputs)?,
            outputs: question.outputs.map(&mut values).transpose()?,
            status: question.status,
            usage: question.usage,
            made: question.made,
        });
    }
    let questions = Questions { past, told: header.told, usage: header.usage };
    let session = header.holds.map(|holds| SessionBytes { holds, snapshot: bytes.slice_ref(rest) });
    Ok(FileContent { questions, session })
}

fn take<'a>(rest: &mut &'a [u8], len: u64) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signature() -> TaskSignature {
        "docs, rows -> answer".parse().unwrap()
    }

    fn content() -> FileContent {
        let inputs = IndexMap::from([
            ("docs".to_owned(), Value::from("naïve\n".repeat(100))),
            ("rows".to_owned(), Value::list([Value::from(1), Value::Float(f64::INFINITY), Value::None])),
        ]);
        let outputs = IndexMap::from([("answer".to_owned(), Value::Bytes(Bytes::from_static(b"\0\xff")))]);
        let answered = PastQuestion {
            inputs,
            outputs: Some(outputs),
            status: Some(Status::Submitted),
            usage: Usage::tokens(3, 4),
            made: vec![ChangedVariable::new("n", "int", "int")],
        };
        let past = vec![answered, PastQuestion::default()];
        let questions =
            Questions { past, told: EarlierQuestions { unlisted: 1, lost: 0 }, usage: Usage::tokens(3, 4) };
        let session = SessionBytes { holds: vec!["docs".into()], snapshot: Bytes::from_static(b"a session") };
        FileContent { questions, session: Some(session) }
    }

    fn written() -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.conversation");
        write(&path, &signature(), &content()).unwrap();
        (directory, path)
    }

    #[test]
    fn what_is_written_reads_back_and_is_its_owners_alone() {
        let (directory, path) = written();
        assert_eq!(read(&path, &signature()).unwrap(), content());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        // It is replaced as a whole, and nothing else is left.
        let without = FileContent { session: None, ..content() };
        write(&path, &signature(), &without).unwrap();
        assert_eq!(read(&path, &signature()).unwrap(), without);
        assert_eq!(directory.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let (directory, path) = written();
        let bytes = std::fs::read(&path).unwrap();
        let refused = |bytes: &[u8], why: &str| {
            let path = directory.path().join("b");
            std::fs::write(&path, bytes).unwrap();
            let error = read(&path, &signature()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.message().contains(why), "{why}: {error}");
        };
        let mut newer = bytes.clone();
        newer[MAGIC.len()] = 2;
        refused(&newer, "version 2 of the format");
        refused(b"something else", "no conversation of Abyme");
        refused(&bytes[..bytes.len() - 1], "damaged");
        refused(&bytes[..MAGIC.len() + 2], "ends early");
        let other: TaskSignature = "docs -> answer".parse().unwrap();
        let error = read(&path, &other).unwrap_err();
        assert!(error.message().contains("`docs, rows -> answer`"), "{error}");
        assert_eq!(read(&directory.path().join("none"), &other).unwrap_err().kind(), ErrorKind::Io);
    }

    proptest! {
        #[test]
        fn no_damage_is_taken_for_a_conversation(at in 0usize..1 << 16, to in any::<u8>(), repaired: bool) {
            let mut bytes = Vec::new();
            write_to(&mut bytes, &encode(&signature(), &content()).unwrap()).unwrap();
            let at = at % bytes.len();
            let was = std::mem::replace(&mut bytes[at], to);
            if repaired {
                // What a hostile file would do.
                let sum = xxh3_64(&bytes[BODY_AT..]);
                bytes[SUM_AT..BODY_AT].copy_from_slice(&sum.to_le_bytes());
            }
            let parsed = parse(&Bytes::from(bytes), &signature().to_string());
            prop_assert!(repaired || was == to || parsed.is_err());
        }
    }
}
